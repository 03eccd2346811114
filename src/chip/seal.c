/* SPDX-License-Identifier: Apache-2.0 */
/* See seal.h. */
#include "chip/seal.h"

#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

static bool
make_id(uint8_t out[SEAL_ID_LEN], OSSL_LIB_CTX *lib, const uint8_t key[SEAL_KEY_LEN])
{
    static const char label[] = "a71chd file key";
    uint8_t in[sizeof label + SEAL_KEY_LEN];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    bool ok;

    memcpy(in, label, sizeof label);
    memcpy(&in[sizeof label], key, SEAL_KEY_LEN);
    ok = EVP_Q_digest(lib, "SHA256", NULL, in, sizeof in, digest, NULL) > 0;
    memcpy(out, digest, SEAL_ID_LEN);
    bm_wipe(in, sizeof in);
    return ok;
}

enum bm_err
seal_init(struct seal *s, OSSL_LIB_CTX *lib, const uint8_t key[SEAL_KEY_LEN])
{
    EVP_CIPHER *gcm = EVP_CIPHER_fetch(lib, "AES-256-GCM", NULL);
    bool ok;

    *s = (struct seal){ EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new(), lib, { 0 } };
    ok = gcm != NULL && s->enc != NULL && s->dec != NULL &&
         EVP_EncryptInit_ex2(s->enc, gcm, key, NULL, NULL) > 0 &&
         EVP_DecryptInit_ex2(s->dec, gcm, key, NULL, NULL) > 0 && make_id(s->id, lib, key);
    EVP_CIPHER_free(gcm); /* the contexts hold it */
    ERR_clear_error();
    if (ok)
        return BM_OK;
    seal_fini(s);
    return BM_ERR_INTERNAL;
}

void
seal_fini(struct seal *s)
{
    EVP_CIPHER_CTX_free(s->enc);
    EVP_CIPHER_CTX_free(s->dec);
    *s = (struct seal){ 0 };
}

enum bm_err
seal_close(const struct seal *s, struct span bound, struct span plain, struct wr *out)
{
    struct wr w = *out;
    uint8_t nonce[SEAL_NONCE_LEN];
    uint8_t tag[SEAL_TAG_LEN];
    int len = 0;
    bool ok;

    if (plain.len > INT_MAX || bound.len > INT_MAX)
        return BM_ERR_ARG;
    if ((size_t)(w.end - w.pos) < plain.len + SEAL_EXTRA)
        return BM_ERR_SPACE;
    ok = RAND_bytes_ex(s->lib, nonce, sizeof nonce, 0) > 0 &&
         EVP_EncryptInit_ex2(s->enc, NULL, NULL, nonce, NULL) > 0 &&
         EVP_EncryptUpdate(s->enc, NULL, &len, bound.ptr, (int)bound.len) > 0;
    wr_bytes(&w, nonce, sizeof nonce);
    ok = ok &&
         (plain.len == 0 || EVP_EncryptUpdate(s->enc, w.pos, &len, plain.ptr, (int)plain.len) > 0);
    w.pos += plain.len;
    ok = ok && EVP_EncryptFinal_ex(s->enc, w.pos, &len) > 0 &&
         EVP_CIPHER_CTX_ctrl(s->enc, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) > 0;
    wr_bytes(&w, tag, sizeof tag);
    ERR_clear_error();
    if (!ok)
        return BM_ERR_INTERNAL;
    *out = w;
    return BM_OK;
}

enum bm_err
seal_open(const struct seal *s, struct span bound, struct span sealed, uint8_t *plain)
{
    struct rd r = rd_of(sealed);
    struct span nonce = rd_span(&r, SEAL_NONCE_LEN);
    struct span body;
    uint8_t tag[SEAL_TAG_LEN];
    int len = 0;
    bool ok;

    if (sealed.len < SEAL_EXTRA || sealed.len > INT_MAX || bound.len > INT_MAX)
        return BM_ERR_INPUT;
    body = rd_span(&r, sealed.len - SEAL_EXTRA);
    memcpy(tag, r.pos, sizeof tag);
    ok = EVP_DecryptInit_ex2(s->dec, NULL, NULL, nonce.ptr, NULL) > 0 &&
         EVP_DecryptUpdate(s->dec, NULL, &len, bound.ptr, (int)bound.len) > 0 &&
         (body.len == 0 || EVP_DecryptUpdate(s->dec, plain, &len, body.ptr, (int)body.len) > 0) &&
         EVP_CIPHER_CTX_ctrl(s->dec, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) > 0 &&
         EVP_DecryptFinal_ex(s->dec, plain + body.len, &len) > 0;
    ERR_clear_error();
    if (ok)
        return BM_OK;
    bm_wipe(plain, body.len);
    return BM_ERR_INPUT;
}
