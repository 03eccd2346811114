/* SPDX-License-Identifier: Apache-2.0 */
/* See signer.h. */
#include "pki/signer.h"

#include "pki/internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { PBKDF2_ROUNDS = 200000 };

struct pki_signer {
    EVP_PKEY *key;    /* the public half only when `sign` is there */
    pki_sign_fn sign; /* NULL: in memory */
    void *arg;
};

static enum bm_err
take(EVP_PKEY *key, pki_sign_fn sign, void *arg, struct pki_signer **out, struct bm_msg *msg)
{
    struct pki_signer *s = calloc(1, sizeof *s);

    *out = s;
    if (s == NULL) {
        EVP_PKEY_free(key);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a key");
    }
    *s = (struct pki_signer){ key, sign, arg };
    return BM_OK;
}

enum bm_err
pki_signer_new(struct pki_signer **out, struct bm_msg *msg)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    *out = NULL;
    if (key == NULL) {
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL made no key");
    }
    return take(key, NULL, NULL, out, msg);
}

/* What OpenSSL asks for a passphrase with: it must never ask the terminal by itself. */
struct asked {
    const char *passphrase;
    bool was;
};

static int
give(char *buf, int cap, int writing, void *arg)
{
    struct asked *a = arg;
    size_t len = a->passphrase != NULL ? strlen(a->passphrase) : 0;

    (void)writing;
    a->was = true;
    if (len == 0 || len > (size_t)cap)
        return -1;
    memcpy(buf, a->passphrase, len);
    return (int)len;
}

enum bm_err
pki_signer_from_pem(
    struct span pem, const char *passphrase, struct pki_signer **out, struct bm_msg *msg)
{
    struct asked asked = { passphrase, false };
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? (const void *)pem.ptr : "", (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, give, &asked) : NULL;
    enum bm_err err;

    *out = NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (key == NULL)
        return asked.was
                   ? bm_fail(msg, BM_ERR_DENIED, "the key is encrypted, and %s",
                         passphrase != NULL ? "the passphrase is wrong" : "no passphrase was given")
                   : bm_fail(msg, BM_ERR_INPUT, "no private key in PEM");
    err = pki_key_acceptable(key, "the file", msg);
    if (err != BM_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    return take(key, NULL, NULL, out, msg);
}

enum bm_err
pki_signer_elsewhere(const uint8_t point[PKI_POINT_LEN], pki_sign_fn sign, void *arg,
    struct pki_signer **out, struct bm_msg *msg)
{
    EVP_PKEY *key = pki_point_key(point);

    *out = NULL;
    if (key == NULL)
        return bm_fail(msg, BM_ERR_INPUT, "the public key is no point of P-256");
    return take(key, sign, arg, out, msg);
}

void
pki_signer_free(struct pki_signer *s)
{
    if (s == NULL)
        return;
    EVP_PKEY_free(s->key);
    free(s);
}

static PKCS8_PRIV_KEY_INFO *
plain_pkcs8(const struct pki_signer *s)
{
    return EVP_PKEY2PKCS8(s->key);
}

/* As PEM_write_bio_PKCS8PrivateKey does it, but with more rounds than its 2048. */
static X509_SIG *
encrypted_pkcs8(PKCS8_PRIV_KEY_INFO *plain, const char *passphrase)
{
    X509_ALGOR *how =
        PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), PBKDF2_ROUNDS, NULL, 0, NULL, NID_hmacWithSHA256);
    X509_SIG *sealed =
        how != NULL ? PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, how) : NULL;

    if (sealed == NULL)
        X509_ALGOR_free(how);
    return sealed;
}

enum bm_err
pki_signer_to_pem(
    const struct pki_signer *s, const char *passphrase, struct buf *out, struct bm_msg *msg)
{
    PKCS8_PRIV_KEY_INFO *plain;
    BIO *bio;
    bool done;

    if (s->sign != NULL)
        return bm_fail(msg, BM_ERR_ARG, "the key is not here to be written");
    plain = plain_pkcs8(s);
    bio = BIO_new(BIO_s_secmem());
    if (passphrase == NULL) {
        done = plain != NULL && bio != NULL && PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio, plain) == 1;
    } else {
        X509_SIG *sealed = plain != NULL ? encrypted_pkcs8(plain, passphrase) : NULL;

        done = sealed != NULL && bio != NULL && PEM_write_bio_PKCS8(bio, sealed) == 1;
        X509_SIG_free(sealed);
    }
    PKCS8_PRIV_KEY_INFO_free(plain);
    if (!done) {
        BIO_free(bio);
        bio = NULL;
    }
    ERR_clear_error();
    return pki_take_bio(bio, out) == BM_OK
               ? BM_OK
               : bm_fail(msg, BM_ERR_INTERNAL, "the key could not be written as PEM");
}

EVP_PKEY *
pki_signer_public(const struct pki_signer *s)
{
    return s->key;
}

bool
pki_signer_is_elsewhere(const struct pki_signer *s)
{
    return s->sign != NULL;
}

static enum bm_err
sign_here(
    const struct pki_signer *s, struct span data, uint8_t *out, size_t *len, struct bm_msg *msg)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done;

    *len = PKI_SIGNATURE_MAX;
    done = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
           EVP_DigestSign(ctx, out, len, data.ptr, data.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return done ? BM_OK : bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL did not sign");
}

enum bm_err
pki_sign_bytes(const struct pki_signer *s, struct span data, uint8_t out[PKI_SIGNATURE_MAX],
    size_t *out_len, struct bm_msg *msg)
{
    uint8_t hash[PKI_HASH_LEN];

    if (EVP_PKEY_get_base_id(s->key) != EVP_PKEY_EC || EVP_PKEY_get_bits(s->key) != 256)
        return bm_fail(msg, BM_ERR_ARG, "this signature wants a P-256 key");
    if (s->sign == NULL)
        return sign_here(s, data, out, out_len, msg);
    if (EVP_Digest(data.ptr, data.len, hash, NULL, EVP_sha256(), NULL) != 1)
        return bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL made no hash");
    return s->sign(s->arg, hash, out, out_len, msg);
}
