/* SPDX-License-Identifier: Apache-2.0 */
/* See csr.h. */
#include "pki/csr.h"

#include "pki/internal.h"

#include <openssl/err.h>
#include <string.h>

EVP_PKEY *
pki_point_key(const uint8_t point[PKI_POINT_LEN])
{
    /* SubjectPublicKeyInfo of P-256 up to the point */
    static const uint8_t head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
        0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42,
        0x00 };
    uint8_t der[sizeof head + PKI_POINT_LEN];
    const unsigned char *at = der;
    EVP_PKEY *key;

    memcpy(der, head, sizeof head);
    memcpy(der + sizeof head, point, PKI_POINT_LEN);
    key = d2i_PUBKEY(NULL, &at, sizeof der);
    ERR_clear_error();
    return key;
}

/* Subject and public key: what is signed. */
static X509_REQ *
build(const X509_NAME *subject, EVP_PKEY *key)
{
    X509_REQ *req = X509_REQ_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    bool ok =
        req != NULL && algorithm != NULL && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_subject_name(req, subject) == 1 && X509_REQ_set_pubkey(req, key) == 1 &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_ecdsa_with_SHA256), V_ASN1_UNDEF, NULL) == 1 &&
        X509_REQ_set1_signature_algo(req, algorithm) == 1;

    X509_ALGOR_free(algorithm);
    if (ok)
        return req;
    X509_REQ_free(req);
    return NULL;
}

static bool
hash_request(X509_REQ *req, uint8_t out[PKI_HASH_LEN])
{
    unsigned char *der = NULL;
    int len = i2d_re_X509_REQ_tbs(req, &der);
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1;

    OPENSSL_free(der);
    return ok;
}

static bool
put_signature(X509_REQ *req, struct span signature)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();

    if (bits == NULL || ASN1_STRING_set(bits, signature.ptr, (int)signature.len) != 1) {
        ASN1_BIT_STRING_free(bits);
        return false;
    }
    bits->flags = (bits->flags & ~7) | ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits */
    X509_REQ_set0_signature(req, bits);
    return true;
}

static enum bm_err
sign_request(X509_REQ *req, EVP_PKEY *key, pki_sign_fn sign, void *arg, struct bm_msg *msg)
{
    uint8_t hash[PKI_HASH_LEN];
    uint8_t signature[PKI_SIGNATURE_MAX];
    size_t len = 0;
    enum bm_err err;

    if (!hash_request(req, hash))
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate request");
    err = sign(arg, hash, signature, &len, msg);
    if (err != BM_OK)
        return err;
    if (!put_signature(req, span_of(signature, len)))
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate request");
    if (X509_REQ_verify(req, key) != 1)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "the signature does not fit the public half of the key pair: the two halves that were "
            "set do not belong together; set or make the pair again");
    return BM_OK;
}

enum bm_err
pki_csr_make(const X509_NAME *subject, const uint8_t point[PKI_POINT_LEN], pki_sign_fn sign,
    void *arg, X509_REQ **out, struct bm_msg *msg)
{
    EVP_PKEY *key = pki_point_key(point);
    X509_REQ *req = key != NULL ? build(subject, key) : NULL;
    enum bm_err err;

    *out = NULL;
    if (key == NULL)
        err = bm_fail(msg, BM_ERR_INPUT, "the public key is no point of P-256");
    else if (req == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate request");
    else
        err = sign_request(req, key, sign, arg, msg);
    ERR_clear_error();
    EVP_PKEY_free(key);
    if (err != BM_OK)
        X509_REQ_free(req);
    else
        *out = req;
    return err;
}
