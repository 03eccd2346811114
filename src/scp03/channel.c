/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of scp03.h: cryptograms, commands and responses. SPEC a71ch 4.3 to 4.6. */
#include "base/ct.h"
#include "scp03/aes.h"

#include <string.h>

/* SPEC 4.3: derivation constants and output lengths in bits. */
enum {
    CONST_ENC = 4,
    CONST_MAC = 6,
    CONST_RMAC = 7,
    KEY_BITS = 128,
    CRYPTOGRAM_BITS = 64,
};

static enum bm_err
derive(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], uint8_t constant, uint8_t bits,
    const uint8_t context[SCP03_CONTEXT_LEN], uint8_t out[SCP03_BLOCK_LEN])
{
    const uint8_t before[15] = { [11] = constant, [14] = bits };

    return scp03_kdf(a, key, SPAN(before), span_of(context, SCP03_CONTEXT_LEN), out);
}

enum bm_err
scp03_start(struct scp03_channel *ch, const struct scp03_aes *a, const struct scp03_keys *keys,
    const uint8_t context[SCP03_CONTEXT_LEN])
{
    enum bm_err err;

    *ch = (struct scp03_channel){ 0 };
    err = derive(a, keys->enc, CONST_ENC, KEY_BITS, context, ch->enc);
    if (err == BM_OK)
        err = derive(a, keys->mac, CONST_MAC, KEY_BITS, context, ch->mac);
    if (err == BM_OK)
        err = derive(a, keys->mac, CONST_RMAC, KEY_BITS, context, ch->rmac);
    if (err != BM_OK)
        bm_wipe(ch, sizeof *ch);
    return err;
}

enum bm_err
scp03_cryptogram(const struct scp03_channel *ch, const struct scp03_aes *a, enum scp03_side side,
    const uint8_t context[SCP03_CONTEXT_LEN], uint8_t out[SCP03_CRYPTOGRAM_LEN])
{
    uint8_t block[SCP03_BLOCK_LEN];
    enum bm_err err = derive(a, ch->mac, (uint8_t)side, CRYPTOGRAM_BITS, context, block);

    if (err == BM_OK)
        memcpy(out, block, SCP03_CRYPTOGRAM_LEN);
    bm_wipe(block, sizeof block);
    return err;
}

void
scp03_next(struct scp03_channel *ch)
{
    ch->counter++;
}

/* The vector of one exchange: the counter as a block, encrypted; marked when it is the answer's. */
static enum bm_err
make_iv(const struct scp03_channel *ch, const struct scp03_aes *a, bool response,
    uint8_t out[SCP03_BLOCK_LEN])
{
    uint8_t block[SCP03_BLOCK_LEN];
    struct wr w = wr_of(block, sizeof block);

    wr_u64(&w, response ? UINT64_C(1) << 63 : 0);
    wr_u64(&w, ch->counter);
    return aes_crypt(a->ecb, AES_ENCRYPT_WAY, ch->enc, NULL, SPAN(block), out);
}

/* Pad into `out`, encrypt in place; the length of the whole blocks. */
static enum bm_err
encrypt(const struct scp03_channel *ch, const struct scp03_aes *a, bool response, struct span plain,
    uint8_t out[SCP03_CRYPT_MAX], size_t *len)
{
    uint8_t iv[SCP03_BLOCK_LEN];
    uint8_t padded[SCP03_CRYPT_MAX] = { 0 };
    enum bm_err err = make_iv(ch, a, response, iv);

    *len = plain.len + SCP03_BLOCK_LEN - plain.len % SCP03_BLOCK_LEN;
    memcpy(padded, plain.ptr, plain.len);
    padded[plain.len] = 0x80;
    if (err == BM_OK)
        err = aes_crypt(a->cbc, AES_ENCRYPT_WAY, ch->enc, iv, span_of(padded, *len), out);
    bm_wipe(padded, sizeof padded);
    return err;
}

/* BM_ERR_INPUT: no whole blocks, too many, or not padded as it must be. */
static enum bm_err
decrypt(const struct scp03_channel *ch, const struct scp03_aes *a, bool response, struct span in,
    uint8_t out[SCP03_CRYPT_MAX], size_t *len)
{
    uint8_t iv[SCP03_BLOCK_LEN];
    enum bm_err err;

    if (in.len > SCP03_CRYPT_MAX || in.len % SCP03_BLOCK_LEN != 0)
        return BM_ERR_INPUT;
    err = make_iv(ch, a, response, iv);
    if (err == BM_OK)
        err = aes_crypt(a->cbc, AES_DECRYPT_WAY, ch->enc, iv, in, out);
    if (err == BM_OK)
        err = scp03_unpad(span_of(out, in.len), len);
    if (err != BM_OK)
        bm_wipe(out, in.len);
    return err;
}

/* All ones when a byte is the one wanted, else 0; without a branch. */
static uint32_t
mask_of(uint8_t byte, uint8_t wanted)
{
    return 0 - (((uint32_t)(byte ^ wanted) - 1) >> 31);
}

enum bm_err
scp03_unpad(struct span padded, size_t *len)
{
    uint32_t found = 0; /* all ones: the 80 has been seen */
    uint32_t wrong = 0;
    uint32_t zeros = 0; /* behind the 80 */
    uint32_t ok;

    if (padded.len == 0 || padded.len % SCP03_BLOCK_LEN != 0)
        return BM_ERR_INPUT;
    for (uint32_t i = 0; i < SCP03_BLOCK_LEN; i++) {
        uint8_t byte = padded.ptr[padded.len - 1 - i];
        uint32_t mark = mask_of(byte, 0x80);

        wrong |= ~found & ~mark & ~mask_of(byte, 0x00);
        zeros |= ~found & mark & i;
        found |= mark;
    }
    ok = found & ~wrong;
    CT_PUBLIC(&ok, sizeof ok);
    CT_PUBLIC(&zeros, sizeof zeros); /* the length of an answer is no secret to who asked */
    if (ok == 0 || zeros + 1 >= padded.len)
        return BM_ERR_INPUT;
    *len = padded.len - 1 - zeros;
    return BM_OK;
}

/* The next chaining value; its first 8 bytes are the MAC. `lc` counts them. SPEC 4.4, 4.5. */
static enum bm_err
command_mac(const struct scp03_channel *ch, const struct scp03_aes *a, const struct apdu *cmd,
    struct span data, uint8_t out[SCP03_BLOCK_LEN])
{
    const uint8_t header[] = { SCP03_CLA_SECURE, cmd->ins, cmd->p1, cmd->p2,
        (uint8_t)(data.len + SCP03_MAC_LEN) };
    const struct span parts[] = { SPAN(ch->chain), SPAN(header), data };

    return scp03_cmac(a, ch->mac, parts, 3, out);
}

enum bm_err
scp03_protect_command(struct scp03_channel *ch, const struct scp03_aes *a, const struct apdu *cmd,
    uint8_t room[SCP03_WRAPPED_MAX], struct apdu *out)
{
    size_t len = cmd->data.len;
    uint8_t mac[SCP03_BLOCK_LEN];
    enum bm_err err = BM_OK;

    if (len > SCP03_DATA_MAX)
        return BM_ERR_ARG;
    if (len > 0 && ch->counter > 0)
        err = encrypt(ch, a, false, cmd->data, room, &len);
    else if (len > 0)
        memcpy(room, cmd->data.ptr, len);
    if (err == BM_OK)
        err = command_mac(ch, a, cmd, span_of(room, len), mac);
    if (err != BM_OK)
        return err;
    memcpy(&room[len], mac, SCP03_MAC_LEN);
    memcpy(ch->chain, mac, sizeof mac);
    *out = *cmd;
    out->cla = SCP03_CLA_SECURE;
    out->data = span_of(room, len + SCP03_MAC_LEN);
    return BM_OK;
}

enum bm_err
scp03_open_command(struct scp03_channel *ch, const struct scp03_aes *a, const struct apdu *cmd,
    uint8_t room[SCP03_WRAPPED_MAX], struct apdu *out)
{
    struct rd r = rd_of(cmd->data);
    struct span body;
    struct span given;
    uint8_t mac[SCP03_BLOCK_LEN];
    size_t len;
    enum bm_err err;

    if (cmd->data.len < SCP03_MAC_LEN || cmd->data.len > SCP03_WRAPPED_MAX)
        return BM_ERR_DENIED;
    body = rd_span(&r, cmd->data.len - SCP03_MAC_LEN);
    given = rd_rest(&r);
    err = command_mac(ch, a, cmd, body, mac);
    if (err != BM_OK)
        return err;
    if (!bm_equal_ct(mac, given.ptr, SCP03_MAC_LEN))
        return BM_ERR_DENIED;
    memcpy(ch->chain, mac, sizeof mac);
    len = body.len;
    if (len > 0 && ch->counter > 0)
        err = decrypt(ch, a, false, body, room, &len);
    else if (len > 0)
        memcpy(room, body.ptr, len);
    if (err != BM_OK)
        return err == BM_ERR_INPUT ? BM_ERR_DENIED : err;
    *out = *cmd;
    out->cla = SCP03_CLA_PLAIN;
    out->data = span_of(room, len);
    return BM_OK;
}

static enum bm_err
response_mac(const struct scp03_channel *ch, const struct scp03_aes *a, struct span data,
    uint16_t sw, uint8_t out[SCP03_BLOCK_LEN])
{
    const uint8_t words[] = { (uint8_t)(sw >> 8), (uint8_t)sw };
    const struct span parts[] = { SPAN(ch->chain), data, SPAN(words) };

    return scp03_cmac(a, ch->rmac, parts, 3, out);
}

enum bm_err
scp03_protect_response(const struct scp03_channel *ch, const struct scp03_aes *a, struct span data,
    uint16_t sw, struct wr *out)
{
    struct wr w = *out;
    uint8_t body[SCP03_CRYPT_MAX];
    uint8_t mac[SCP03_BLOCK_LEN];
    size_t len = 0;
    enum bm_err err = BM_OK;

    if (data.len > SCP03_DATA_MAX)
        return BM_ERR_ARG;
    if (data.len > 0)
        err = encrypt(ch, a, true, data, body, &len);
    if (err == BM_OK)
        err = response_mac(ch, a, span_of(body, len), sw, mac);
    if (err != BM_OK)
        return err;
    wr_bytes(&w, body, len);
    wr_bytes(&w, mac, SCP03_MAC_LEN);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
scp03_open_response(const struct scp03_channel *ch, const struct scp03_aes *a, struct span rsp,
    uint8_t room[SCP03_CRYPT_MAX], struct span *data, uint16_t *sw)
{
    struct rd r = rd_of(rsp);
    struct span body;
    struct span given;
    uint8_t mac[SCP03_BLOCK_LEN];
    size_t len = 0;
    uint16_t word;
    enum bm_err err;

    if (rsp.len < SCP03_MAC_LEN + 2)
        return BM_ERR_DENIED;
    body = rd_span(&r, rsp.len - SCP03_MAC_LEN - 2);
    given = rd_span(&r, SCP03_MAC_LEN);
    word = rd_u16(&r);
    err = response_mac(ch, a, body, word, mac);
    if (err != BM_OK)
        return err;
    if (!bm_equal_ct(mac, given.ptr, SCP03_MAC_LEN))
        return BM_ERR_DENIED;
    if (body.len > 0)
        err = decrypt(ch, a, true, body, room, &len);
    if (err != BM_OK)
        return err == BM_ERR_INPUT ? BM_ERR_PROTO : err;
    *data = span_of(room, len);
    *sw = word;
    return BM_OK;
}
