/* SPDX-License-Identifier: Apache-2.0 */
/* See signature.h. */
#include "host/signature.h"

enum { TAG_SEQUENCE = 0x30, TAG_INTEGER = 0x02, NUMBER_MAX = 32, SHORT_LENGTH_MAX = 127 };

/* Take one INTEGER and give its value without leading zeros; empty when it is zero. */
static struct span
take_number(struct rd *in)
{
    struct rd value;

    if (rd_u8(in) != TAG_INTEGER)
        in->failed = true;
    value = rd_of(rd_span(in, rd_u8(in)));
    while (rd_left(&value) > 0 && *value.pos == 0)
        (void)rd_u8(&value);
    return rd_rest(&value);
}

static bool
needs_sign_octet(struct span number)
{
    return (number.ptr[0] & 0x80) != 0;
}

static size_t
encoded_len(struct span number)
{
    return 2 + number.len + (needs_sign_octet(number) ? 1 : 0);
}

static void
put_number(struct wr *out, struct span number)
{
    wr_u8(out, TAG_INTEGER);
    wr_u8(out, (uint8_t)(encoded_len(number) - 2));
    if (needs_sign_octet(number))
        wr_u8(out, 0);
    wr_span(out, number);
}

enum bm_err
signature_normalise(struct span in, struct wr *out)
{
    struct rd whole = rd_of(in);
    struct wr w = *out;
    struct rd body;
    struct span r;
    struct span s;
    size_t len;

    if (rd_u8(&whole) != TAG_SEQUENCE)
        return BM_ERR_INPUT;
    len = rd_u8(&whole);
    if (len > SHORT_LENGTH_MAX) /* two numbers of 33 bytes never need a long form */
        return BM_ERR_INPUT;
    body = rd_of(rd_span(&whole, len)); /* what follows is padding */
    r = take_number(&body);
    s = take_number(&body);
    if (whole.failed || !rd_done(&body))
        return BM_ERR_INPUT;
    if (r.len == 0 || r.len > NUMBER_MAX || s.len == 0 || s.len > NUMBER_MAX)
        return BM_ERR_INPUT;
    wr_u8(&w, TAG_SEQUENCE);
    wr_u8(&w, (uint8_t)(encoded_len(r) + encoded_len(s)));
    put_number(&w, r);
    put_number(&w, s);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}
