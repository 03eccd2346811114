/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the signature verifier. Input: lines of method, path, query, then headers `name:value` up to
 * an empty line, then the body. Nobody but the holder of the secret may ever get SIGV4_OK, so the
 * secret here is one that no corpus file was signed with.
 */
#include "api/sigv4.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *
line(char **at)
{
    char *start = *at;
    char *end = strchr(start, '\n');

    if (end != NULL)
        *end++ = '\0';
    *at = end != NULL ? end : strchr(start, '\0');
    return start;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    char *at = text;
    struct sigv4_header headers[32];
    struct sigv4_request rq = { .headers = headers };
    struct sigv4_result result;

    rq.method = line(&at);
    rq.path = line(&at);
    rq.query = line(&at);
    while (*at != '\0' && rq.header_count < 32) {
        char *name = line(&at);
        char *value = strchr(name, ':');

        if (value == NULL)
            break;
        *value++ = '\0';
        headers[rq.header_count++] = (struct sigv4_header){ name, value };
    }
    rq.body = span_str(at);
    /* 2026-01-02T03:04:05Z */
    sigv4_verify(&rq, "AKIDEXAMPLE", "a secret that signed nothing", 1767323045000, &result);
    if (result.verdict == SIGV4_OK || result.message.text[0] == '\0')
        abort();
    free(text);
    return 0;
}
