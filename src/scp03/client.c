/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. SPEC a71ch 4.2 to 4.7. */
#include "scp03/client.h"

#include <string.h>

#include <openssl/rand.h>

enum {
    KEY_VERSION = 0x21, /* what NXP's host always sends, SPEC 4.2 */
    LE_ANY = 256,
    COUNTER_LEN = 3, /* of the option with pseudo-random challenges, which may stand at the end */
    CARD_CHALLENGE_AT = 13,
};

enum bm_err
scp03_client_init(struct scp03_client *c, bool strict)
{
    *c = (struct scp03_client){ .lib = OSSL_LIB_CTX_new(), .strict = strict };
    if (c->lib != NULL && scp03_aes_init(&c->aes, c->lib) == BM_OK)
        return BM_OK;
    scp03_client_fini(c);
    return BM_ERR_INTERNAL;
}

void
scp03_client_fini(struct scp03_client *c)
{
    scp03_aes_fini(&c->aes);
    OSSL_LIB_CTX_free(c->lib);
    bm_wipe(c, sizeof *c);
}

void
scp03_client_close(struct scp03_client *c)
{
    bm_wipe(&c->channel, sizeof c->channel);
    c->state = SCP03_CLOSED;
}

static void
break_channel(struct scp03_client *c)
{
    bm_wipe(&c->channel, sizeof c->channel);
    if (c->state == SCP03_UP)
        c->state = SCP03_BROKEN;
}

enum bm_err
scp03_client_begin(struct scp03_client *c, struct wr *out)
{
    const struct apdu cmd = { SCP03_CLA_PLAIN, INS_INIT_UPDATE, KEY_VERSION, 0,
        span_of(c->context, SCP03_CHALLENGE_LEN), LE_ANY };

    break_channel(c);
    if (RAND_bytes_ex(c->lib, c->context, SCP03_CHALLENGE_LEN, 0) <= 0)
        return BM_ERR_INTERNAL;
    return apdu_build(out, &cmd);
}

/* The chip's cryptogram, and ours into `out`. */
static enum bm_err
exchange_cryptograms(struct scp03_client *c, const struct scp03_keys *keys, struct span theirs,
    uint8_t out[SCP03_CRYPTOGRAM_LEN])
{
    uint8_t want[SCP03_CRYPTOGRAM_LEN];
    enum bm_err err = scp03_start(&c->channel, &c->aes, keys, c->context);

    if (err == BM_OK)
        err = scp03_cryptogram(&c->channel, &c->aes, SCP03_CARD, c->context, want);
    if (err == BM_OK)
        err = scp03_cryptogram(&c->channel, &c->aes, SCP03_HOST, c->context, out);
    if (err != BM_OK)
        return err;
    return bm_equal_ct(want, theirs.ptr, sizeof want) ? BM_OK : BM_ERR_DENIED;
}

enum bm_err
scp03_client_prove(
    struct scp03_client *c, const struct scp03_keys *keys, struct span rsp, struct wr *out)
{
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];
    uint8_t room[SCP03_WRAPPED_MAX];
    struct apdu cmd = { SCP03_CLA_PLAIN, INS_EXT_AUTH, SCP03_LEVEL, 0, SPAN(cryptogram), -1 };
    struct span data;
    uint16_t sw;
    struct rd r;
    enum bm_err err = apdu_split(rsp, &data, &sw);

    if (err != BM_OK)
        return err;
    if (sw != SW_OK)
        return BM_ERR_STATUS;
    if (data.len != SCP03_INIT_LEN && data.len != SCP03_INIT_LEN + COUNTER_LEN)
        return BM_ERR_PROTO;
    r = rd_of(data);
    (void)rd_span(&r, CARD_CHALLENGE_AT);
    memcpy(&c->context[SCP03_CHALLENGE_LEN], rd_span(&r, SCP03_CHALLENGE_LEN).ptr,
        SCP03_CHALLENGE_LEN);
    err = exchange_cryptograms(c, keys, rd_span(&r, SCP03_CRYPTOGRAM_LEN), cryptogram);
    if (err == BM_OK)
        err = scp03_protect_command(&c->channel, &c->aes, &cmd, room, &cmd);
    if (err == BM_OK)
        err = apdu_build(out, &cmd);
    if (err != BM_OK)
        break_channel(c);
    return err;
}

enum bm_err
scp03_client_finish(struct scp03_client *c, struct span rsp)
{
    struct span data;
    uint16_t sw;
    enum bm_err err = apdu_split(rsp, &data, &sw);

    if (err == BM_OK && data.len != 0)
        err = BM_ERR_PROTO;
    if (err == BM_OK && sw != SW_OK)
        err = BM_ERR_STATUS;
    if (err != BM_OK) {
        break_channel(c);
        return err;
    }
    scp03_next(&c->channel);
    c->state = SCP03_UP;
    return BM_OK;
}

enum bm_err
scp03_client_wrap(struct scp03_client *c, const struct apdu *cmd, struct wr *out)
{
    uint8_t room[SCP03_WRAPPED_MAX];
    struct apdu wrapped;
    enum bm_err err;

    if (c->state != SCP03_UP)
        return BM_ERR_CONFLICT;
    err = scp03_protect_command(&c->channel, &c->aes, cmd, room, &wrapped);
    if (err == BM_ERR_ARG)
        return err;
    if (err == BM_OK)
        err = apdu_build(out, &wrapped);
    if (err != BM_OK)
        break_channel(c); /* the chain has moved on */
    return err;
}

/* A bare status word: an error, whose word nobody vouches for. */
static enum bm_err
take_bare(struct scp03_client *c, struct span rsp, struct wr *out)
{
    struct rd r = rd_of(rsp);
    uint16_t sw = rd_u16(&r);

    if (c->strict || sw < 0x6400 || sw > 0x6fff)
        return BM_ERR_DENIED;
    if (sw == SW_SECURITY_STATUS)
        break_channel(c);
    wr_u16(out, sw);
    return BM_OK;
}

enum bm_err
scp03_client_unwrap(struct scp03_client *c, struct span rsp, struct wr *out)
{
    uint8_t room[SCP03_CRYPT_MAX];
    struct span data;
    uint16_t sw;
    enum bm_err err;

    if (c->state != SCP03_UP)
        return BM_ERR_CONFLICT;
    if (rsp.len == 2) {
        err = take_bare(c, rsp, out);
    } else {
        err = scp03_open_response(&c->channel, &c->aes, rsp, room, &data, &sw);
        if (err == BM_OK) {
            wr_span(out, data);
            wr_u16(out, sw);
        }
        bm_wipe(room, sizeof room);
    }
    if (err == BM_OK && out->failed)
        err = BM_ERR_SPACE;
    if (err == BM_OK)
        scp03_next(&c->channel);
    else
        break_channel(c);
    return err;
}

enum bm_err
scp03_client_save(const struct scp03_client *c, struct wr *out)
{
    const struct scp03_channel *ch = &c->channel;

    if (c->state != SCP03_UP)
        return BM_ERR_CONFLICT;
    wr_u8(out, c->strict ? 1 : 0);
    wr_bytes(out, ch->enc, sizeof ch->enc);
    wr_bytes(out, ch->mac, sizeof ch->mac);
    wr_bytes(out, ch->rmac, sizeof ch->rmac);
    wr_bytes(out, ch->chain, sizeof ch->chain);
    wr_u64(out, ch->counter);
    return out->failed ? BM_ERR_SPACE : BM_OK;
}

static void
read_block(struct rd *in, uint8_t out[SCP03_BLOCK_LEN])
{
    struct span block = rd_span(in, SCP03_BLOCK_LEN);

    if (block.len == SCP03_BLOCK_LEN)
        memcpy(out, block.ptr, SCP03_BLOCK_LEN);
}

enum bm_err
scp03_client_load(struct scp03_client *c, struct rd *in)
{
    struct scp03_channel ch = { .counter = 0 };
    uint8_t strict = rd_u8(in);

    read_block(in, ch.enc);
    read_block(in, ch.mac);
    read_block(in, ch.rmac);
    read_block(in, ch.chain);
    ch.counter = rd_u64(in);
    if (!in->failed && strict <= 1 && ch.counter > 0) {
        c->channel = ch;
        c->strict = strict == 1;
        c->state = SCP03_UP;
    }
    bm_wipe(&ch, sizeof ch);
    return c->state == SCP03_UP ? BM_OK : BM_ERR_INPUT;
}
