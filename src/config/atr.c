/* SPDX-License-Identifier: Apache-2.0 */
/* See atr.h. */
#include "config/atr.h"

enum { TAG_LINK = 0xb8, TAG_FIRST = 0xb8, TAG_NAME = 0xbb, TAG_LAST = 0xbc, LINK_WITH_CLOCK = 4 };

static void
take_name(struct span value, char out[ATR_NAME_LEN])
{
    struct rd r = rd_of(value);
    size_t len = 0;

    while (rd_left(&r) > 0 && len < ATR_NAME_LEN - 1) {
        uint8_t c = rd_u8(&r);

        out[len++] = c > ' ' && c <= '~' ? (char)c : '?';
    }
    out[len] = '\0';
}

enum bm_err
atr_parse(struct span in, struct atr *out)
{
    struct rd r = rd_of(in);
    struct atr a = { .clock = -1 };

    while (rd_left(&r) > 0) {
        uint8_t tag = rd_u8(&r);
        struct span value = rd_span(&r, rd_u8(&r));
        struct rd v = rd_of(value);

        if (r.failed || tag < TAG_FIRST || tag > TAG_LAST)
            return BM_ERR_INPUT;
        if (tag == TAG_NAME)
            take_name(value, a.name);
        if (tag != TAG_LINK)
            continue;
        a.protocol = rd_u8(&v);
        (void)rd_span(&v, 2); /* error detection, frame waiting */
        if (value.len == LINK_WITH_CLOCK)
            a.clock = rd_u8(&v);
    }
    *out = a;
    return in.len > 0 ? BM_OK : BM_ERR_INPUT;
}
