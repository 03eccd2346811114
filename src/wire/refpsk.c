/* SPDX-License-Identifier: Apache-2.0 */
/* See refpsk.h. */
#include "wire/refpsk.h"

#include "wire/refkey.h"

static bool
fits(struct refpsk_secret s)
{
    if (s.blocks == 0)
        return s.index == 0;
    return s.blocks <= REFPSK_BLOCKS_MAX && s.index + s.blocks <= REFPSK_SLOTS;
}

static bool
sound(const struct refpsk *ref)
{
    if (!fits(ref->tls12) || !fits(ref->tls13))
        return false;
    if (ref->kind == REFPSK_NATIVE)
        return ref->tls12.blocks > 0 && ref->tls13.blocks == 0;
    return ref->kind == REFPSK_HMAC && ref->tls12.blocks + ref->tls13.blocks > 0;
}

bool
refpsk_claims(struct span psk)
{
    return psk.len >= REFKEY_MAGIC_LEN && /* it may be a real secret */
           bm_equal_ct(psk.ptr, refkey_magic, REFKEY_MAGIC_LEN);
}

enum bm_err
refpsk_parse(struct span psk, struct refpsk *out)
{
    struct rd r = rd_of(psk);
    struct refpsk ref;
    unsigned rest;

    if (!refpsk_claims(psk))
        return BM_ERR_NOT_FOUND;
    (void)rd_span(&r, REFKEY_MAGIC_LEN);
    ref.kind = rd_u8(&r);
    ref.tls12.index = rd_u8(&r);
    ref.tls12.blocks = rd_u8(&r);
    ref.tls13.index = rd_u8(&r);
    ref.tls13.blocks = rd_u8(&r);
    rest = rd_u16(&r);
    rest |= rd_u8(&r);
    if (!rd_done(&r) || rest != 0 || !sound(&ref))
        return BM_ERR_INPUT;
    *out = ref;
    return BM_OK;
}

enum bm_err
refpsk_build(uint8_t out[REFPSK_LEN], const struct refpsk *ref)
{
    struct wr w = wr_of(out, REFPSK_LEN);

    if (!sound(ref))
        return BM_ERR_ARG;
    wr_span(&w, SPAN(refkey_magic));
    wr_u8(&w, ref->kind);
    wr_u8(&w, ref->tls12.index);
    wr_u8(&w, ref->tls12.blocks);
    wr_u8(&w, ref->tls13.index);
    wr_u8(&w, ref->tls13.blocks);
    wr_u16(&w, 0);
    wr_u8(&w, 0);
    return BM_OK;
}
