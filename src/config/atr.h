/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to reset of an A71CH on I2C, taken apart for `probe`. SPEC a71ch 1.2. Pure.
 */
#ifndef BM_CONFIG_ATR_H
#define BM_CONFIG_ATR_H

#include "base/bytes.h"

enum { ATR_NAME_LEN = 61 };

struct atr {
    unsigned protocol;       /* 0x11: SCI2C 1.1; 0: not told */
    int clock;               /* maximum clock code; -1: not told */
    char name[ATR_NAME_LEN]; /* of the operating system, printable; "" when not told */
};

/* BM_ERR_INPUT: not the TLV form, as the placeholder of the vendor's card server. */
enum bm_err atr_parse(struct span in, struct atr *out);

#endif
