/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See wrap.h and a71ch_wrap_key(). Each call has a library context of its own: no configuration of
 * the process can put another AES in its place, and a provider that uses liba71ch is not entered
 * again.
 */
#include "host/wrap.h"

#include "base/bytes.h"

#include <openssl/evp.h>

enum { ENCRYPT = 1, DECRYPT = 0, WRAP_MIN = 16, WRAP_MAX = 64, WRAP_STEP = 8 };

static enum bm_err
aes(const char *name, int way, const uint8_t key[A71CH_KEY_LEN], struct span in, uint8_t *out,
    size_t want)
{
    OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
    EVP_CIPHER *cipher = lib != NULL ? EVP_CIPHER_fetch(lib, name, NULL) : NULL;
    EVP_CIPHER_CTX *ctx = cipher != NULL ? EVP_CIPHER_CTX_new() : NULL;
    uint8_t room[WRAP_MAX + 2 * A71CH_WRAP_EXTRA]; /* libcrypto may write a block more */
    struct wr w = wr_of(out, want);
    int len = 0;
    bool ok = ctx != NULL;

    if (ok)
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ok = ok && EVP_CipherInit_ex2(ctx, cipher, key, NULL, way, NULL) == 1 &&
         EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
         EVP_CipherUpdate(ctx, room, &len, in.ptr, (int)in.len) == 1 && (size_t)len == want;
    if (ok)
        wr_bytes(&w, room, want);
    bm_wipe(room, sizeof room);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    OSSL_LIB_CTX_free(lib);
    return ok ? BM_OK : BM_ERR_INTERNAL;
}

enum bm_err
wrap_decrypt_block(
    const uint8_t key[A71CH_KEY_LEN], const uint8_t in[A71CH_KEY_LEN], uint8_t out[A71CH_KEY_LEN])
{
    return aes("AES-128-ECB", DECRYPT, key, span_of(in, A71CH_KEY_LEN), out, A71CH_KEY_LEN);
}

a71ch_result
a71ch_wrap_key(const uint8_t wrapping[A71CH_KEY_LEN], const uint8_t *key, size_t len, uint8_t *out)
{
    if (len < WRAP_MIN || len > WRAP_MAX || len % WRAP_STEP != 0)
        return A71CH_ERR_ARG;
    if (aes("AES-128-WRAP", ENCRYPT, wrapping, span_of(key, len), out, len + A71CH_WRAP_EXTRA) !=
        BM_OK)
        return A71CH_ERR_MEMORY;
    return A71CH_OK;
}
