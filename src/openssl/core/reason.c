/* SPDX-License-Identifier: Apache-2.0 */
/* See reason.h. */
#include "openssl/core/reason.h"

enum reason
reason_of(enum bm_err err)
{
    switch (err) {
    case BM_ERR_IO:
    case BM_ERR_TIMEOUT:
    case BM_ERR_CLOSED:
        return REASON_CHIP_ABSENT;
    case BM_ERR_DENIED:
        return REASON_PERMISSION;
    case BM_ERR_STATUS:
        return REASON_CHIP_REFUSED;
    case BM_ERR_PROTO:
    case BM_ERR_INPUT:
    case BM_ERR_MORE:
        return REASON_CHIP_ANSWER;
    case BM_ERR_MEM:
        return REASON_MEMORY;
    case BM_ERR_EXISTS:
        return REASON_SLOT_TAKEN;
    case BM_ERR_NOT_FOUND:
        return REASON_WRONG_SLOT;
    case BM_OK:
    case BM_ERR_ARG:
    case BM_ERR_SPACE:
    case BM_ERR_LIMIT:
    case BM_ERR_CONFLICT:
    case BM_ERR_INTERNAL:
        return REASON_INTERNAL;
    }
    return REASON_INTERNAL;
}
