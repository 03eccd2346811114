/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify AWS Signature Version 4 of a request, header form. SPEC aws-iot 2.
 *
 * Pure: bytes in, verdict out. The region and service come from the request's credential scope; the caller says which services it serves.
 */
#ifndef BM_API_SIGV4_H
#define BM_API_SIGV4_H

#include "base/bytes.h"

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
    SIGV4_MISSING,       /* no Authorization: MissingAuthenticationTokenException */
    SIGV4_INCOMPLETE,    /* malformed or incomplete: IncompleteSignatureException */
    SIGV4_UNKNOWN_KEY,   /* UnrecognizedClientException */
    SIGV4_EXPIRED,       /* outside the clock window: InvalidSignatureException, "Signature expired: ..." */
    SIGV4_MISMATCH,      /* InvalidSignatureException */
};

struct sigv4_result {
    enum sigv4_verdict verdict;
    char service[32];
    char region[32];
    char access_key[129];
    struct bm_msg message; /* for a person */
};

/* `now_ms`: wall clock; the window is 5 minutes each way. Compares in constant time. */
void sigv4_verify(const struct sigv4_request *rq, const char *access_key, const char *secret_key, int64_t now_ms, struct sigv4_result *out);

#endif
