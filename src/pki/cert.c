/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and judging one certificate. See pki.h.
 *
 * The DER that came in is kept as it is, because the certificate's id is its hash; an encoding that
 * OpenSSL would write differently is refused, so that the endpoint, which hashes what OpenSSL
 * writes, finds the same id.
 */
#include "pki/internal.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RSA_BITS_MIN = 2048 };

struct pki_cert {
    X509 *x;
    struct buf der;
    struct buf subject;
    struct buf issuer;
    int64_t not_before_ms;
    int64_t not_after_ms;
};

X509 *
pki_cert_x509(const struct pki_cert *c)
{
    return c->x;
}

static bool
time_ms(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm = { 0 };

    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static bool
name_der(const X509_NAME *name, struct buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(name, &der);

    if (len > 0)
        buf_add(out, der, (size_t)len);
    OPENSSL_free(der);
    return len > 0 && !out->failed;
}

static bool
same_when_written(X509 *x, struct span der)
{
    unsigned char *again = NULL;
    int len = i2d_X509(x, &again);
    bool same = len > 0 && span_eq(span_of(again, (size_t)len), der);

    OPENSSL_free(again);
    return same;
}

enum bm_err
pki_cert_from_der(struct span der, struct pki_cert **out, struct bm_msg *msg)
{
    const unsigned char *at = der.ptr;
    struct pki_cert *c = calloc(1, sizeof *c);
    char words[120];

    *out = NULL;
    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    c->x = der.len > 0 && der.len <= PKI_PEM_MAX ? d2i_X509(NULL, &at, (long)der.len) : NULL;
    if (c->x == NULL || !same_when_written(c->x, der)) {
        pki_openssl_words(words, sizeof words);
        bool whole = c->x != NULL;

        pki_cert_free(c);
        return bm_fail(msg, BM_ERR_INPUT, "%zu bytes that are not one X.509 certificate in DER: %s",
            der.len, whole ? "something follows, or the encoding is not canonical" : words);
    }
    buf_add(&c->der, der.ptr, der.len);
    if (!time_ms(X509_get0_notBefore(c->x), &c->not_before_ms) ||
        !time_ms(X509_get0_notAfter(c->x), &c->not_after_ms)) {
        pki_cert_free(c);
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INPUT, "the certificate's validity dates cannot be read");
    }
    if (!name_der(X509_get_subject_name(c->x), &c->subject) ||
        !name_der(X509_get_issuer_name(c->x), &c->issuer) || c->der.failed) {
        pki_cert_free(c);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    }
    *out = c;
    return BM_OK;
}

enum bm_err
pki_cert_from_pem(struct span pem, struct pki_cert **out, struct bm_msg *msg)
{
    static const char *const kinds[] = { PEM_STRING_X509, PEM_STRING_X509_OLD, NULL };
    uint8_t *der = NULL;
    long len = 0;
    enum bm_err err;

    *out = NULL;
    err = pki_pem_one(pem, kinds, "the certificate", &der, &len, msg);
    if (err == BM_OK)
        err = pki_cert_from_der(span_of(der, (size_t)len), out, msg);
    OPENSSL_free(der);
    return err;
}

void
pki_cert_free(struct pki_cert *c)
{
    if (c == NULL)
        return;
    X509_free(c->x);
    buf_fini(&c->der);
    buf_fini(&c->subject);
    buf_fini(&c->issuer);
    free(c);
}

struct span
pki_cert_der(const struct pki_cert *c)
{
    return buf_span(&c->der);
}

struct span
pki_cert_subject(const struct pki_cert *c)
{
    return buf_span(&c->subject);
}

struct span
pki_cert_issuer(const struct pki_cert *c)
{
    return buf_span(&c->issuer);
}

void
pki_cert_id(const struct pki_cert *c, uint8_t id[PKI_ID_LEN])
{
    (void)SHA256(c->der.ptr, c->der.len, id);
}

int64_t
pki_cert_not_before_ms(const struct pki_cert *c)
{
    return c->not_before_ms;
}

int64_t
pki_cert_not_after_ms(const struct pki_cert *c)
{
    return c->not_after_ms;
}

bool
pki_cert_is_ca(const struct pki_cert *c)
{
    BASIC_CONSTRAINTS *bc = X509_get_ext_d2i(c->x, NID_basic_constraints, NULL, NULL);
    bool is_ca = bc != NULL && bc->ca != 0;

    BASIC_CONSTRAINTS_free(bc);
    ERR_clear_error();
    return is_ca;
}

bool
pki_cert_common_name(const struct pki_cert *c, char *out, size_t cap)
{
    return pki_x509_common_name(X509_get_subject_name(c->x), out, cap);
}

void
pki_cert_subject_text(const struct pki_cert *c, char *out, size_t cap)
{
    pki_x509_name_text(X509_get_subject_name(c->x), out, cap);
}

void
pki_cert_issuer_text(const struct pki_cert *c, char *out, size_t cap)
{
    pki_x509_name_text(X509_get_issuer_name(c->x), out, cap);
}

static bool
is_nist_curve(const char *name)
{
    static const char *const curves[] = { SN_X9_62_prime256v1, SN_secp384r1, SN_secp521r1 };

    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        if (strcmp(name, curves[i]) == 0)
            return true;
    }
    return false;
}

enum bm_err
pki_key_acceptable(EVP_PKEY *key, const char *what, struct bm_msg *msg)
{
    char curve[64] = "";

    if (key == NULL) {
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INPUT,
            "The key in %s is not valid: it cannot be read; use RSA or EC P-256, P-384 or P-521.",
            what);
    }
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
            return BM_OK;
        return bm_fail(msg, BM_ERR_INPUT,
            "The key in %s is not valid: RSA of %d bits; at least %d are needed.", what,
            EVP_PKEY_get_bits(key), RSA_BITS_MIN);
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL) == 1 && is_nist_curve(curve))
            return BM_OK;
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INPUT,
            "The key in %s is not valid: EC curve '%s'; use P-256, P-384 or P-521.", what,
            curve[0] != '\0' ? curve : "without a name");
    default:
        return bm_fail(msg, BM_ERR_INPUT,
            "The key in %s is not valid: type %s; use RSA (2048 bits or more) or EC P-256, P-384 "
            "or "
            "P-521.",
            what, OBJ_nid2sn(EVP_PKEY_get_base_id(key)));
    }
}

enum bm_err
pki_cert_acceptable(const struct pki_cert *c, struct bm_msg *msg)
{
    int hash = NID_undef;
    enum bm_err err = pki_key_acceptable(X509_get0_pubkey(c->x), "the certificate", msg);

    if (err != BM_OK)
        return err;
    (void)X509_get_signature_info(c->x, &hash, NULL, NULL, NULL);
    ERR_clear_error();
    if (hash == NID_sha256 || hash == NID_sha384 || hash == NID_sha512)
        return BM_OK;
    return bm_fail(msg, BM_ERR_INPUT,
        "The certificate's signature algorithm %s is not accepted; sign with SHA-256, SHA-384 or "
        "SHA-512.",
        OBJ_nid2sn(X509_get_signature_nid(c->x)));
}

enum bm_err
pki_cert_signed_by(const struct pki_cert *c, const struct pki_cert *issuer, struct bm_msg *msg)
{
    char named[120];
    char subject[120];
    EVP_PKEY *key = X509_get0_pubkey(issuer->x);
    char words[120];

    pki_cert_issuer_text(c, named, sizeof named);
    pki_cert_subject_text(issuer, subject, sizeof subject);
    if (X509_NAME_cmp(X509_get_issuer_name(c->x), X509_get_subject_name(issuer->x)) != 0)
        return bm_fail(msg, BM_ERR_DENIED,
            "the certificate says its issuer is '%s', but the CA's subject is '%s'", named,
            subject);
    if (key != NULL && X509_verify(c->x, key) == 1)
        return BM_OK;
    pki_openssl_words(words, sizeof words);
    return bm_fail(msg, BM_ERR_DENIED,
        "the certificate names '%s' as its issuer, but the key of this CA did not sign it (%s)",
        named, words);
}

int
pki_cert_dates(const struct pki_cert *c, int64_t now_ms)
{
    return now_ms < c->not_before_ms ? -1 : now_ms > c->not_after_ms;
}

enum bm_err
pki_cert_valid_at(const struct pki_cert *c, int64_t now_ms, struct bm_msg *msg)
{
    char from[CLOCK_TEXT_LEN];
    char to[CLOCK_TEXT_LEN];
    char now[CLOCK_TEXT_LEN];

    if (pki_cert_dates(c, now_ms) == 0)
        return BM_OK;
    clock_text(from, c->not_before_ms);
    clock_text(to, c->not_after_ms);
    clock_text(now, now_ms);
    return bm_fail(msg, BM_ERR_DENIED,
        "the certificate is %s: it is valid from %s to %s, and it is %s here",
        pki_cert_dates(c, now_ms) < 0 ? "not valid yet" : "expired", from, to, now);
}

enum bm_err
pki_cert_to_pem(const struct pki_cert *c, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio != NULL && PEM_write_bio_X509(bio, c->x) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    return pki_take_bio(bio, out);
}
