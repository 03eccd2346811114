/* SPDX-License-Identifier: Apache-2.0 */
/* See sym.h. */
#include "chip/sym.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

enum bm_err
sym_encrypt_block(const EVP_CIPHER *cipher, struct span key, const uint8_t in[SYM_BLOCK_LEN],
    uint8_t out[SYM_BLOCK_LEN])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;
    bool ok = ctx != NULL && key.len == SYM_BLOCK_LEN &&
              EVP_EncryptInit_ex2(ctx, cipher, key.ptr, NULL, NULL) > 0 &&
              EVP_CIPHER_CTX_set_padding(ctx, 0) > 0 &&
              EVP_EncryptUpdate(ctx, out, &len, in, SYM_BLOCK_LEN) > 0 && len == SYM_BLOCK_LEN;

    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok ? BM_OK : BM_ERR_INTERNAL;
}

enum bm_err
sym_unwrap(const EVP_CIPHER *cipher, struct span key, struct span wrapped, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx;
    enum bm_err err = BM_ERR_INTERNAL;
    int len = 0;

    if (wrapped.len < 3 * (size_t)SYM_WRAP_EXTRA || wrapped.len % SYM_WRAP_EXTRA != 0)
        return BM_ERR_INPUT;
    ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL && key.len == SYM_BLOCK_LEN) {
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        if (EVP_DecryptInit_ex2(ctx, cipher, key.ptr, NULL, NULL) > 0)
            err = EVP_DecryptUpdate(ctx, out, &len, wrapped.ptr, (int)wrapped.len) > 0 &&
                          (size_t)len == wrapped.len - SYM_WRAP_EXTRA
                      ? BM_OK
                      : BM_ERR_INPUT;
    }
    if (err != BM_OK)
        bm_wipe(out, wrapped.len - SYM_WRAP_EXTRA);
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

EVP_MAC_CTX *
sym_hmac_begin(EVP_MAC *hmac, struct span key)
{
    static char sha256[] = "SHA256";
    static const uint8_t none[1]; /* libcrypto takes NULL for "the key it had" */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);

    if (ctx == NULL || EVP_MAC_init(ctx, key.len > 0 ? key.ptr : none, key.len, params) <= 0) {
        EVP_MAC_CTX_free(ctx);
        ERR_clear_error();
        return NULL;
    }
    return ctx;
}

enum bm_err
sym_hmac_end(EVP_MAC_CTX *ctx, uint8_t out[SYM_HASH_LEN])
{
    size_t len = 0;

    return EVP_MAC_final(ctx, out, &len, SYM_HASH_LEN) > 0 && len == SYM_HASH_LEN ? BM_OK
                                                                                  : BM_ERR_INTERNAL;
}

enum bm_err
sym_hmac(EVP_MAC *hmac, struct span key, const struct span *parts, size_t count,
    uint8_t out[SYM_HASH_LEN])
{
    EVP_MAC_CTX *ctx = sym_hmac_begin(hmac, key);
    enum bm_err err = ctx != NULL ? BM_OK : BM_ERR_INTERNAL;

    for (size_t i = 0; err == BM_OK && i < count; i++) {
        if (parts[i].len > 0 && EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) <= 0)
            err = BM_ERR_INTERNAL;
    }
    if (err == BM_OK)
        err = sym_hmac_end(ctx, out);
    EVP_MAC_CTX_free(ctx);
    return err;
}

enum bm_err
sym_hkdf_expand(EVP_MAC *hmac, struct span prk, struct span info, size_t len, struct wr *out)
{
    uint8_t block[SYM_HASH_LEN];
    struct span last = { 0 };
    enum bm_err err = len <= 255 * (size_t)SYM_HASH_LEN ? BM_OK : BM_ERR_ARG;

    for (uint8_t i = 1; err == BM_OK && len > 0; i++) {
        const struct span parts[] = { last, info, span_of(&i, 1) };
        size_t n = len < sizeof block ? len : sizeof block;

        err = sym_hmac(hmac, prk, parts, 3, block);
        if (err == BM_OK)
            wr_bytes(out, block, n);
        last = SPAN(block);
        len -= n;
    }
    bm_wipe(block, sizeof block);
    return err;
}

enum bm_err
sym_tls_master(EVP_MAC *hmac, struct span premaster, const struct span seed[3], struct wr *out)
{
    uint8_t a[SYM_HASH_LEN];
    uint8_t block[SYM_HASH_LEN];
    enum bm_err err = sym_hmac(hmac, premaster, seed, 3, a);

    for (size_t left = SYM_MASTER_LEN; err == BM_OK && left > 0;) {
        const struct span parts[] = { SPAN(a), seed[0], seed[1], seed[2] };
        size_t n = left < sizeof block ? left : sizeof block;

        err = sym_hmac(hmac, premaster, parts, 4, block);
        if (err == BM_OK)
            wr_bytes(out, block, n);
        left -= n;
        if (err == BM_OK && left > 0)
            err = sym_hmac(hmac, premaster, parts, 1, a);
    }
    bm_wipe(a, sizeof a);
    bm_wipe(block, sizeof block);
    return err;
}
