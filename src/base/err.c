/* SPDX-License-Identifier: Apache-2.0 */
/* See err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

enum bm_err
bm_fail(struct bm_msg *msg, enum bm_err err, const char *fmt, ...)
{
    va_list ap;

    if (msg != NULL) {
        va_start(ap, fmt);
        (void)vsnprintf(msg->text, sizeof msg->text, fmt, ap);
        va_end(ap);
    }
    return err;
}

const char *
bm_err_name(enum bm_err err)
{
    switch (err) {
    case BM_OK:
        return "ok";
    case BM_ERR_ARG:
        return "arg";
    case BM_ERR_INPUT:
        return "input";
    case BM_ERR_MORE:
        return "more";
    case BM_ERR_SPACE:
        return "space";
    case BM_ERR_MEM:
        return "mem";
    case BM_ERR_LIMIT:
        return "limit";
    case BM_ERR_IO:
        return "io";
    case BM_ERR_TIMEOUT:
        return "timeout";
    case BM_ERR_CLOSED:
        return "closed";
    case BM_ERR_PROTO:
        return "proto";
    case BM_ERR_STATUS:
        return "status";
    case BM_ERR_DENIED:
        return "denied";
    case BM_ERR_NOT_FOUND:
        return "not_found";
    case BM_ERR_EXISTS:
        return "exists";
    case BM_ERR_CONFLICT:
        return "conflict";
    case BM_ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
