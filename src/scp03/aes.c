/* SPDX-License-Identifier: Apache-2.0 */
/* The primitives of scp03.h on libcrypto: CMAC, key derivation, key check values. */
#include "scp03/aes.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

enum bm_err
scp03_aes_init(struct scp03_aes *a, OSSL_LIB_CTX *lib)
{
    a->ecb = EVP_CIPHER_fetch(lib, "AES-128-ECB", NULL);
    a->cbc = EVP_CIPHER_fetch(lib, "AES-128-CBC", NULL);
    a->cmac = EVP_MAC_fetch(lib, "CMAC", NULL);
    if (a->ecb != NULL && a->cbc != NULL && a->cmac != NULL)
        return BM_OK;
    scp03_aes_fini(a);
    ERR_clear_error();
    return BM_ERR_INTERNAL;
}

void
scp03_aes_fini(struct scp03_aes *a)
{
    EVP_CIPHER_free(a->ecb);
    EVP_CIPHER_free(a->cbc);
    EVP_MAC_free(a->cmac);
    *a = (struct scp03_aes){ 0 };
}

enum bm_err
scp03_cmac(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], const struct span *parts,
    size_t count, uint8_t out[SCP03_BLOCK_LEN])
{
    static char cipher[] = "AES-128-CBC";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(a->cmac);
    size_t len = 0;
    bool ok = ctx != NULL && EVP_MAC_init(ctx, key, SCP03_KEY_LEN, params) > 0;

    for (size_t i = 0; ok && i < count; i++)
        ok = parts[i].len == 0 || EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) > 0;
    ok = ok && EVP_MAC_final(ctx, out, &len, SCP03_BLOCK_LEN) > 0 && len == SCP03_BLOCK_LEN;
    EVP_MAC_CTX_free(ctx);
    ERR_clear_error();
    return ok ? BM_OK : BM_ERR_INTERNAL;
}

enum bm_err
scp03_kdf(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], struct span before,
    struct span after, uint8_t out[SCP03_BLOCK_LEN])
{
    static const uint8_t counter[] = { 1 };
    const struct span parts[] = { before, SPAN(counter), after };

    return scp03_cmac(a, key, parts, 3, out);
}

enum bm_err
aes_crypt(const EVP_CIPHER *cipher, enum aes_way way, const uint8_t key[SCP03_KEY_LEN],
    const uint8_t *iv, struct span in, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    bool ok = ctx != NULL && EVP_CipherInit_ex2(ctx, cipher, key, iv, (int)way, NULL) > 0 &&
              EVP_CIPHER_CTX_set_padding(ctx, 0) > 0 &&
              EVP_CipherUpdate(ctx, out, &len, in.ptr, (int)in.len) > 0 && (size_t)len == in.len;

    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok ? BM_OK : BM_ERR_INTERNAL;
}

enum bm_err
scp03_kcv(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], uint8_t out[SCP03_KCV_LEN])
{
    static const uint8_t ones[SCP03_BLOCK_LEN] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    uint8_t block[SCP03_BLOCK_LEN];
    struct wr w = wr_of(out, SCP03_KCV_LEN);
    enum bm_err err = aes_crypt(a->ecb, AES_ENCRYPT_WAY, key, NULL, SPAN(ones), block);

    if (err == BM_OK)
        wr_bytes(&w, block, SCP03_KCV_LEN);
    bm_wipe(block, sizeof block);
    return err;
}

enum { KEY_TYPE_AES = 0x88 };

static enum bm_err
put_block(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], struct wr *w)
{
    uint8_t kcv[SCP03_KCV_LEN];
    enum bm_err err = scp03_kcv(a, key, kcv);

    wr_u8(w, KEY_TYPE_AES);
    wr_u8(w, SCP03_KEY_LEN + 1);
    wr_u8(w, SCP03_KEY_LEN);
    wr_bytes(w, key, SCP03_KEY_LEN);
    wr_u8(w, SCP03_KCV_LEN);
    wr_bytes(w, kcv, err == BM_OK ? sizeof kcv : 0);
    return err;
}

enum bm_err
scp03_put_key_build(const struct scp03_aes *a, uint8_t version, const struct scp03_keys *keys,
    uint8_t out[SCP03_PUT_KEY_LEN])
{
    struct wr w = wr_of(out, SCP03_PUT_KEY_LEN);
    enum bm_err err;

    wr_u8(&w, version);
    err = put_block(a, keys->enc, &w);
    if (err == BM_OK)
        err = put_block(a, keys->mac, &w);
    if (err == BM_OK)
        err = put_block(a, keys->dek, &w);
    return err;
}

static enum bm_err
take_block(const struct scp03_aes *a, struct rd *r, uint8_t out[SCP03_KEY_LEN])
{
    uint8_t kcv[SCP03_KCV_LEN];
    struct wr w = wr_of(out, SCP03_KEY_LEN);
    bool form = rd_u8(r) == KEY_TYPE_AES;
    struct span given;
    enum bm_err err;

    form = rd_u8(r) == SCP03_KEY_LEN + 1 && form;
    form = rd_u8(r) == SCP03_KEY_LEN && form;
    wr_span(&w, rd_span(r, SCP03_KEY_LEN));
    form = rd_u8(r) == SCP03_KCV_LEN && form;
    given = rd_span(r, SCP03_KCV_LEN);
    if (r->failed || !form)
        return BM_ERR_INPUT;
    err = scp03_kcv(a, out, kcv);
    if (err == BM_OK && !bm_equal_ct(kcv, given.ptr, sizeof kcv))
        err = BM_ERR_INPUT;
    return err;
}

enum bm_err
scp03_put_key_parse(
    const struct scp03_aes *a, struct span in, uint8_t *version, struct scp03_keys *keys)
{
    struct rd r = rd_of(in);
    enum bm_err err;

    *version = rd_u8(&r);
    err = take_block(a, &r, keys->enc);
    if (err == BM_OK)
        err = take_block(a, &r, keys->mac);
    if (err == BM_OK)
        err = take_block(a, &r, keys->dek);
    if (err == BM_OK && !rd_done(&r))
        err = BM_ERR_INPUT;
    return err;
}
