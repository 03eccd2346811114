/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See issue.h.
 *
 * A key that is elsewhere signs a hash. So the certificate is signed by a key of the moment first,
 * which writes the algorithm into it, and then put together again from the same signed part and the
 * real signature.
 */
#include "pki/issue.h"

#include "pki/internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECOND_MS = 1000, DAY_MS = 86400000, BACKDATE_MS = 120000 };

bool
pki_set_serial(X509 *x)
{
    unsigned char random[PKI_SERIAL_LEN];
    BIGNUM *n = NULL;
    bool done = false;

    if (RAND_bytes(random, sizeof random) == 1) {
        random[0] = (unsigned char)((random[0] & 0x3f) | 0x40); /* positive, full length */
        n = BN_bin2bn(random, sizeof random, NULL);
        done = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    }
    BN_free(n);
    return done;
}

int64_t
pki_not_before(int64_t now_ms, const struct pki_cert *issuer)
{
    int64_t from = (now_ms / SECOND_MS) * SECOND_MS - BACKDATE_MS;

    if (issuer != NULL && from < pki_cert_not_before_ms(issuer))
        from = pki_cert_not_before_ms(issuer);
    return from;
}

int64_t
pki_not_after(int64_t now_ms, unsigned days, const struct pki_cert *issuer)
{
    int64_t end = (now_ms / SECOND_MS) * SECOND_MS + (int64_t)days * DAY_MS;

    if (issuer != NULL && end > pki_cert_not_after_ms(issuer))
        end = pki_cert_not_after_ms(issuer);
    return end;
}

static bool
set_dates(X509 *x, const struct pki_profile *p)
{
    return ASN1_TIME_adj(X509_getm_notBefore(x), (time_t)(p->not_before_ms / SECOND_MS), 0, 0) !=
               NULL &&
           ASN1_TIME_adj(X509_getm_notAfter(x), (time_t)(p->not_after_ms / SECOND_MS), 0, 0) !=
               NULL;
}

static bool
add_text(X509 *x, X509V3_CTX *ctx, const char *name, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf(NULL, ctx, name, value);
    bool added = e != NULL && X509_add_ext(x, e, -1) == 1;

    X509_EXTENSION_free(e);
    return added;
}

static bool
add_extensions(X509 *x, X509 *issuer, const struct pki_profile *p)
{
    bool ca = p->kind == PKI_ROOT || p->kind == PKI_INTERMEDIATE;
    char basic[48];
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    (void)snprintf(basic, sizeof basic, "critical,CA:%s", ca ? "TRUE" : "FALSE");
    if (ca && p->path_len >= 0)
        (void)snprintf(basic, sizeof basic, "critical,CA:TRUE,pathlen:%d", p->path_len);
    return add_text(x, &ctx, "basicConstraints", basic) &&
           add_text(x, &ctx, "keyUsage",
               ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
           (p->kind != PKI_DEVICE || add_text(x, &ctx, "extendedKeyUsage", "clientAuth")) &&
           add_text(x, &ctx, "subjectKeyIdentifier", "hash") &&
           (issuer == x || add_text(x, &ctx, "authorityKeyIdentifier", "keyid")) &&
           (!ca || pki_add_permits(x, p));
}

/* What everything signed ends with: ecdsa-with-SHA256 and the signature's bits. */
static enum bm_err
assemble(const uint8_t *tbs, int tbs_len, struct span signature, struct buf *out)
{
    static const uint8_t algorithm[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04,
        0x03, 0x02 };
    int bits = (int)signature.len + 1;
    int inside = tbs_len + (int)sizeof algorithm + ASN1_object_size(0, bits, V_ASN1_BIT_STRING);
    int total = ASN1_object_size(1, inside, V_ASN1_SEQUENCE);
    uint8_t *at = buf_reserve(out, (size_t)total);

    if (at == NULL)
        return BM_ERR_MEM;
    ASN1_put_object(&at, 1, inside, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    memcpy(at, tbs, (size_t)tbs_len);
    at += tbs_len;
    memcpy(at, algorithm, sizeof algorithm);
    at += sizeof algorithm;
    ASN1_put_object(&at, 0, bits, V_ASN1_BIT_STRING, V_ASN1_UNIVERSAL);
    *at++ = 0; /* no unused bits */
    memcpy(at, signature.ptr, signature.len);
    out->len += (size_t)total;
    return BM_OK;
}

static enum bm_err
sign_elsewhere(
    const struct pki_signer *by, const uint8_t *tbs, int len, struct buf *out, struct bm_msg *msg)
{
    uint8_t signature[PKI_SIGNATURE_MAX];
    size_t signature_len = 0;
    enum bm_err err;

    if (len <= 0)
        return bm_fail(msg, BM_ERR_INTERNAL, "what is to be signed could not be encoded");
    err = pki_sign_bytes(by, span_of(tbs, (size_t)len), signature, &signature_len, msg);
    return err == BM_OK ? assemble(tbs, len, span_of(signature, signature_len), out) : err;
}

static enum bm_err
failed(const char *what, struct bm_msg *msg)
{
    char words[120];

    pki_openssl_words(words, sizeof words);
    return bm_fail(msg, BM_ERR_INTERNAL, "%s could not be made: %s", what, words);
}

/* The signature's hash: as long as the key is strong. */
static const EVP_MD *
hash_for(EVP_PKEY *key)
{
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384()
                                                                                    : EVP_sha256();
}

static enum bm_err
sign_cert(X509 *x, const struct pki_signer *by, struct buf *der, struct bm_msg *msg)
{
    EVP_PKEY *key = pki_signer_public(by);
    bool here = !pki_signer_is_elsewhere(by);
    EVP_PKEY *moment = here ? NULL : EVP_EC_gen("P-256");
    unsigned char *bytes = NULL;
    enum bm_err err = BM_OK;
    int len;

    if ((here || moment != NULL) &&
        X509_sign(x, here ? key : moment, here ? hash_for(key) : EVP_sha256()) > 0) {
        len = here ? i2d_X509(x, &bytes) : i2d_re_X509_tbs(x, &bytes);
        if (!here)
            err = sign_elsewhere(by, bytes, len, der, msg);
        else if (len > 0)
            buf_add(der, bytes, (size_t)len);
        if (err == BM_OK && (len <= 0 || der->failed))
            err = bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    } else {
        err = failed("the certificate", msg);
    }
    OPENSSL_free(bytes);
    EVP_PKEY_free(moment);
    return err;
}

enum bm_err
pki_issue(const struct pki_signer *by, const struct pki_cert *issuer, EVP_PKEY *key,
    const struct pki_profile *profile, struct pki_cert **out, struct bm_msg *msg)
{
    X509 *x = X509_new();
    X509 *above = issuer != NULL ? pki_cert_x509(issuer) : x;
    struct buf der = { 0 };
    enum bm_err err;

    *out = NULL;
    if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && pki_set_serial(x) &&
        X509_set_subject_name(x, profile->subject) == 1 &&
        X509_set_issuer_name(x, X509_get_subject_name(above)) == 1 && set_dates(x, profile) &&
        X509_set_pubkey(x, key) == 1 && add_extensions(x, above, profile))
        err = sign_cert(x, by, &der, msg);
    else
        err = pki_permits_sound(profile->permit, msg);
    if (err == BM_OK && der.len == 0)
        err = failed("the certificate", msg);
    if (err == BM_OK)
        err = pki_cert_from_der(buf_span(&der), out, msg);
    if (err == BM_OK)
        err = pki_profile_check(*out, issuer != NULL ? issuer : *out, profile, msg);
    if (err != BM_OK) {
        pki_cert_free(*out);
        *out = NULL;
    }
    X509_free(x);
    buf_fini(&der);
    ERR_clear_error();
    return err;
}

/* ---- revocation list ---- */

static bool
add_revoked(X509_CRL *crl, const struct pki_revoked *r)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)(r->when_ms / SECOND_MS));
    bool done =
        entry != NULL && when != NULL &&
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(pki_cert_x509(r->cert))) == 1 &&
        X509_REVOKED_set_revocationDate(entry, when) == 1 && X509_CRL_add0_revoked(crl, entry) == 1;

    ASN1_TIME_free(when);
    if (!done)
        X509_REVOKED_free(entry);
    return done;
}

static bool
fill_crl(
    X509_CRL *crl, const struct pki_cert *issuer, uint64_t number, int64_t now_ms, unsigned days)
{
    X509 *x = pki_cert_x509(issuer);
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now_ms / SECOND_MS));
    ASN1_TIME *to = ASN1_TIME_adj(NULL, (time_t)(now_ms / SECOND_MS), (int)days, 0);
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    X509V3_CTX ctx;
    X509_EXTENSION *e;
    bool done;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, NULL, NULL, crl, 0);
    e = X509V3_EXT_conf(NULL, &ctx, "authorityKeyIdentifier", "keyid");
    done = from != NULL && to != NULL && n != NULL && e != NULL &&
           ASN1_INTEGER_set_uint64(n, number) == 1 &&
           X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
           X509_CRL_set_issuer_name(crl, X509_get_subject_name(x)) == 1 &&
           X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, to) == 1 &&
           X509_CRL_add_ext(crl, e, -1) == 1 &&
           X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
    X509_EXTENSION_free(e);
    ASN1_INTEGER_free(n);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return done;
}

static enum bm_err
crl_pem(X509_CRL *crl, struct buf *pem)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio != NULL && PEM_write_bio_X509_CRL(bio, crl) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    return pki_take_bio(bio, pem);
}

static enum bm_err
sign_crl(X509_CRL *crl, const struct pki_signer *by, struct buf *pem, struct bm_msg *msg)
{
    EVP_PKEY *key = pki_signer_public(by);
    EVP_PKEY *moment;
    unsigned char *tbs = NULL;
    const unsigned char *at;
    struct buf der = { 0 };
    X509_CRL *whole = NULL;
    enum bm_err err;

    if (!pki_signer_is_elsewhere(by))
        return X509_CRL_sign(crl, key, hash_for(key)) > 0 ? crl_pem(crl, pem)
                                                          : failed("the revocation list", msg);
    moment = EVP_EC_gen("P-256");
    if (moment == NULL || X509_CRL_sign(crl, moment, EVP_sha256()) <= 0) {
        err = failed("the revocation list", msg);
    } else {
        int len = i2d_re_X509_CRL_tbs(crl, &tbs);

        err = sign_elsewhere(by, tbs, len, &der, msg);
    }
    at = der.ptr;
    if (err == BM_OK)
        whole = d2i_X509_CRL(NULL, &at, (long)der.len);
    if (err == BM_OK)
        err = whole != NULL ? crl_pem(whole, pem) : failed("the revocation list", msg);
    X509_CRL_free(whole);
    EVP_PKEY_free(moment);
    OPENSSL_free(tbs);
    buf_fini(&der);
    return err;
}

enum bm_err
pki_crl(const struct pki_signer *by, const struct pki_cert *issuer,
    const struct pki_revoked *revoked, size_t count, uint64_t number, int64_t now_ms, unsigned days,
    struct buf *pem, struct bm_msg *msg)
{
    X509_CRL *crl = X509_CRL_new();
    bool done = crl != NULL && fill_crl(crl, issuer, number, now_ms, days);
    enum bm_err err;

    for (size_t i = 0; done && i < count; i++)
        done = add_revoked(crl, &revoked[i]);
    err = done ? sign_crl(crl, by, pem, msg) : failed("the revocation list", msg);
    X509_CRL_free(crl);
    ERR_clear_error();
    return err;
}
