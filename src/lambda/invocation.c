/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an invocation ends: who made it is told once, what the function answered or why it did not.
 */
#include "lambda/inside.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
invocation_free(struct invocation *inv)
{
    if (inv == NULL)
        return;
    buf_fini(&inv->payload);
    free(inv);
}

void
invocation_answered(struct invocation *inv, const struct lambda_result *result)
{
    inv->lambda->concurrent--;
    inv->fn(inv->arg, result);
    invocation_free(inv);
}

void
invocation_failed(
    struct invocation *inv, struct span log_tail, const char *type, const char *fmt, ...)
{
    struct lambda_result result = { .error = "Unhandled", .log_tail = log_tail };
    char text[BM_MSG_LEN];
    char *dump = NULL;
    json_t *body;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    body = json_pack("{s:s, s:o}", "errorType", type, "errorMessage",
        json_sprintf("RequestId: %s Error: %s", inv->request_id, text));
    if (body != NULL)
        dump = json_dumps(body, JSON_COMPACT);
    result.payload = span_str(dump != NULL ? dump : "{\"errorType\":\"Runtime.Unknown\"}");
    invocation_answered(inv, &result);
    free(dump);
    json_decref(body);
}
