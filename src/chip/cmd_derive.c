/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is computed from symmetric keys, SPEC a71ch 3.3 and 3.5: HKDF, HMAC-SHA-256, the master
 * secrets of TLS 1.2 with PSK; and plain SHA-256, 3.4.
 */
#include "chip/cmd.h"
#include "chip/sym.h"

#include <string.h>

#include <openssl/rand.h>

/* 1 to 4 keys in a row, `(n << 4) | index`; the lowest slot comes first. */
static uint16_t
gather_secret(const struct chip *c, uint8_t where, uint8_t out[CHIP_SECRET_MAX], size_t *len)
{
    size_t count = where >> 4;
    size_t first = where & 0x0f;

    if (count < 1 || count > CHIP_SECRET_MAX / CHIP_KEY_LEN || first + count > CHIP_SYM_KEYS)
        return quirk(c, QUIRK_BAD_INDEX);
    for (size_t i = 0; i < count; i++) {
        struct span key = slot_key(c, sym_at(first + i));

        if (key.len == 0)
            return SW_CONDITIONS;
        memcpy(&out[i * CHIP_KEY_LEN], key.ptr, CHIP_KEY_LEN);
    }
    *len = count * CHIP_KEY_LEN;
    return SW_OK;
}

/* With salt: RFC 5869 whole. Without: the secret is the PRK. */
static enum bm_err
derive(EVP_MAC *hmac, struct span secret, const struct span *salt, struct span info, size_t len,
    struct wr *out)
{
    uint8_t prk[SYM_HASH_LEN];
    enum bm_err err;

    if (salt == NULL)
        return sym_hkdf_expand(hmac, secret, info, len, out);
    err = sym_hmac(hmac, *salt, &secret, 1, prk);
    if (err == BM_OK)
        err = sym_hkdf_expand(hmac, SPAN(prk), info, len, out);
    bm_wipe(prk, sizeof prk);
    return err;
}

/* 45: one field is the info; two are salt and info. */
uint16_t
run_hkdf(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct rd r = rd_of(cmd->data);
    struct span first = rd_span(&r, rd_u8(&r));
    bool salted = rd_left(&r) > 0;
    struct span info = salted ? rd_span(&r, rd_u8(&r)) : first;
    uint8_t secret[CHIP_SECRET_MAX];
    size_t len = 0;
    uint16_t sw;

    if (cmd->p2 == 0)
        return SW_WRONG_P1P2;
    if (!rd_done(&r))
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    sw = gather_secret(s->chip, cmd->p1, secret, &len);
    if (sw == SW_OK && derive(s->chip->hmac, span_of(secret, len), salted ? &first : NULL, info,
                           cmd->p2, out) != BM_OK)
        sw = SW_INTERNAL;
    bm_wipe(secret, sizeof secret);
    return sw;
}

static void
hmac_forget(struct chip_session *s)
{
    EVP_MAC_CTX_free(s->mac);
    s->mac = NULL;
}

static uint16_t
hmac_begin(struct chip_session *s, uint8_t where)
{
    uint8_t secret[CHIP_SECRET_MAX];
    size_t len = 0;
    uint16_t sw = gather_secret(s->chip, where, secret, &len);

    hmac_forget(s);
    if (sw == SW_OK) {
        s->mac = sym_hmac_begin(s->chip->hmac, span_of(secret, len));
        s->mac_p1 = where;
        sw = s->mac != NULL ? SW_OK : SW_INTERNAL;
    }
    bm_wipe(secret, sizeof secret);
    return sw;
}

static uint16_t
hmac_final(struct chip_session *s, struct wr *out)
{
    uint8_t mac[SYM_HASH_LEN];
    bool ok = sym_hmac_end(s->mac, mac) == BM_OK;

    if (ok)
        wr_bytes(out, mac, sizeof mac);
    bm_wipe(mac, sizeof mac);
    hmac_forget(s);
    return ok ? SW_OK : SW_INTERNAL;
}

/* P2 of 47 and 96. */
enum { ONE_SHOT, INIT, UPDATE, FINAL };

/* 47 */
uint16_t
run_hmac(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint16_t sw;

    if (cmd->p2 > FINAL)
        return SW_WRONG_P1P2;
    if (cmd->p2 == ONE_SHOT || cmd->p2 == INIT) {
        sw = hmac_begin(s, cmd->p1);
        if (sw != SW_OK)
            return sw;
    }
    if (s->mac == NULL || s->mac_p1 != cmd->p1)
        return quirk(s->chip, QUIRK_NO_HASH);
    if (cmd->data.len > 0 && EVP_MAC_update(s->mac, cmd->data.ptr, cmd->data.len) <= 0)
        return SW_INTERNAL;
    return cmd->p2 == ONE_SHOT || cmd->p2 == FINAL ? hmac_final(s, out) : SW_OK;
}

static uint16_t
hash_final(struct chip_session *s, struct wr *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool ok = EVP_DigestFinal_ex(s->sha, digest, &len) > 0;

    wr_bytes(out, digest, ok ? len : 0);
    EVP_MD_CTX_free(s->sha);
    s->sha = NULL;
    return ok ? SW_OK : SW_INTERNAL;
}

/* 96, SPEC 3.4: one-shot, or init, update and final over several commands. */
uint16_t
run_sha256(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 != 0 || cmd->p2 > FINAL)
        return SW_WRONG_P1P2;
    if (cmd->p2 == ONE_SHOT || cmd->p2 == INIT) {
        EVP_MD_CTX_free(s->sha);
        s->sha = EVP_MD_CTX_new();
        if (s->sha == NULL || EVP_DigestInit_ex2(s->sha, s->chip->sha256, NULL) <= 0)
            return SW_INTERNAL;
    }
    if (s->sha == NULL)
        return quirk(s->chip, QUIRK_NO_HASH);
    if (EVP_DigestUpdate(s->sha, cmd->data.ptr, cmd->data.len) <= 0)
        return SW_INTERNAL;
    return cmd->p2 == ONE_SHOT || cmd->p2 == FINAL ? hash_final(s, out) : SW_OK;
}

/* 95 with P1 01: the random of a ClientHello, which arms the next command. */
uint16_t
run_client_hello(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (RAND_bytes_ex(s->chip->lib, s->hello, sizeof s->hello, 0) <= 0)
        return SW_INTERNAL;
    s->hello_armed = true;
    wr_bytes(out, s->hello, sizeof s->hello);
    return SW_OK;
}

static struct span
tls_label(const struct chip *c)
{
    size_t len = chip_byte(c, IMG_LABEL);

    return len == 0 ? span_str("master secret") : nvm_read(c->nvm, IMG_LABEL + 1, len);
}

/* `other` is the first half of the premaster secret: the shared point, or empty for N zeros. */
static uint16_t
master_secret(struct chip_session *s, uint8_t where, struct span other, struct span server_random,
    struct wr *out)
{
    static const uint8_t zeros[CHIP_SECRET_MAX];
    uint8_t premaster[2 + CHIP_SECRET_MAX + 2 + CHIP_SECRET_MAX];
    uint8_t psk[CHIP_SECRET_MAX];
    struct wr w = wr_of(premaster, sizeof premaster);
    const struct span seed[] = { tls_label(s->chip), SPAN(s->hello), server_random };
    size_t len = 0;
    uint16_t sw = gather_secret(s->chip, where, psk, &len);

    if (sw == SW_OK) {
        struct span half = other.len > 0 ? other : span_of(zeros, len);

        wr_u16(&w, (uint16_t)half.len);
        wr_span(&w, half);
        wr_u16(&w, (uint16_t)len);
        wr_bytes(&w, psk, len);
        if (sym_tls_master(s->chip->hmac, span_of(premaster, wr_len(&w)), seed, out) != BM_OK)
            sw = SW_INTERNAL;
    }
    bm_wipe(psk, sizeof psk);
    bm_wipe(premaster, sizeof premaster);
    return sw;
}

/* 46, RFC 4279 */
uint16_t
run_psk_master(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != CHIP_HELLO_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (!s->hello_fresh)
        return quirk(s->chip, QUIRK_NOT_ARMED);
    return master_secret(s, cmd->p1, (struct span){ 0 }, cmd->data, out);
}

/* 16, RFC 5489 */
uint16_t
run_pair_master(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    struct rd r = rd_of(cmd->data);
    struct span point = rd_span(&r, EC_POINT_LEN);
    struct span server_random = rd_span(&r, CHIP_HELLO_LEN);
    uint8_t shared[EC_SHARED_LEN];
    struct wr w = wr_of(shared, sizeof shared);
    uint16_t sw;

    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(c, QUIRK_BAD_INDEX);
    if (!rd_done(&r))
        return quirk(c, QUIRK_BAD_LENGTH);
    if (!s->hello_fresh)
        return quirk(c, QUIRK_NOT_ARMED);
    if (c->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    sw = sw_of_key(c, ec_derive(c->lib, &c->pairs[cmd->p1], point, &w));
    if (sw == SW_OK)
        sw = master_secret(s, cmd->p2, SPAN(shared), server_random, out);
    if (sw == SW_OK)
        c->stats.ecdh++;
    bm_wipe(shared, sizeof shared);
    return sw;
}
