/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify AWS Signature Version 4 of a request, header form or query form (a presigned URL, good for
 * its X-Amz-Expires). SPEC aws-iot 2.
 *
 * Pure: bytes in, verdict out. Region and service come from the request's credential scope; any of
 * execute-api, iot, iotdata and lambda is verified, the router decides whether it fits the path.
 *
 * The path is signed as it is on the wire, without removing dot segments: what is routed is what
 * was signed. A header that is signed must be there once; an X-Amz-Content-Sha256 must be the
 * body's: UNSIGNED-PAYLOAD is none. The session token is signed like any other header but not
 * judged: there is one key.
 */
#ifndef BM_API_SIGV4_H
#define BM_API_SIGV4_H

#include "base/bytes.h"

enum {
    SIGV4_WINDOW_MS = 5 * 60 * 1000,
    SIGV4_EXPIRES_MAX_S = 7 * 24 * 3600,
    SIGV4_PARAMS_MAX = 64,
    SIGV4_SIGNED_MAX = 64,
};

struct sigv4_header {
    const char *name; /* any case */
    const char *value;
};

struct sigv4_request {
    const char *method;
    const char *path;  /* raw, as on the wire */
    const char *query; /* raw, "" when none */
    const struct sigv4_header *headers;
    size_t header_count;
    struct span body;
};

enum sigv4_verdict {
    SIGV4_OK,
    SIGV4_MISSING,     /* no Authorization: MissingAuthenticationTokenException */
    SIGV4_INCOMPLETE,  /* malformed or incomplete: IncompleteSignatureException */
    SIGV4_UNKNOWN_KEY, /* UnrecognizedClientException */
    SIGV4_EXPIRED,     /* outside the clock window: InvalidSignatureException */
    SIGV4_MISMATCH,    /* InvalidSignatureException */
};

struct sigv4_result {
    enum sigv4_verdict verdict;
    char service[32];
    char region[32];
    char access_key[129];
    struct bm_msg message; /* for a person; "" when OK */
};

/* `now_ms`: wall clock; the window is 5 minutes each way. Compares in constant time. */
void sigv4_verify(const struct sigv4_request *rq, const char *access_key, const char *secret_key,
    int64_t now_ms, struct sigv4_result *out);

#endif
