/* SPDX-License-Identifier: Apache-2.0 */
/* See leaf.h. What no honest CA would sign is put together by hand here, and nowhere else. */
#include "fleet/leaf.h"

#include "base/clock.h"
#include "base/file.h"
#include "pki/subject.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

enum { DAY_S = 86400, SERIAL_BYTES = 15 };

static X509 *
x509_of(const struct pki_cert *c)
{
    struct span der = pki_cert_der(c);
    const unsigned char *at = der.ptr;

    return d2i_X509(NULL, &at, (long)der.len);
}

/* ---- certificates by hand ---- */

struct wish {
    const X509_NAME *subject;
    X509_NAME *issuer;
    EVP_PKEY *key; /* the public half counts */
    EVP_PKEY *by;
    long from_s; /* from now on */
    long until_s;
    bool ca;
};

static bool
add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;
    bool added;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    added = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return added;
}

static bool
set_serial(X509 *x)
{
    unsigned char random[SERIAL_BYTES];
    BIGNUM *n =
        RAND_bytes(random, sizeof random) == 1 ? BN_bin2bn(random, sizeof random, NULL) : NULL;
    bool done = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

    BN_free(n);
    return done;
}

static X509 *
by_hand(const struct wish *w)
{
    X509 *x = X509_new();

    if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        X509_set_subject_name(x, w->subject) == 1 && X509_set_issuer_name(x, w->issuer) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(x), w->from_s) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(x), w->until_s) != NULL &&
        X509_set_pubkey(x, w->key) == 1 &&
        add_extension(x, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
        add_extension(x, NID_key_usage,
            w->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
        X509_sign(x, w->by, EVP_sha256()) > 0)
        return x;
    ERR_clear_error();
    X509_free(x);
    return NULL;
}

/* ---- the CA ---- */

enum bm_err
fleet_ca_init(struct fleet_ca *ca, const struct pki_signer *signer, const struct pki_cert *cert,
    struct bm_msg *msg)
{
    X509_NAME *name = NULL;
    enum bm_err err;

    *ca = (struct fleet_ca){ .signer = signer, .cert = cert };
    if (!pki_cert_has_key(cert, pki_signer_public(signer)))
        return bm_fail(msg, BM_ERR_INPUT, "the CA's certificate is not for the CA's key");
    err = subject_parse("/O=Fleet/CN=A CA that nobody knows", &name, msg);
    ca->x509 = x509_of(cert);
    ca->other_key = EVP_EC_gen("P-256");
    if (err == BM_OK && ca->other_key != NULL)
        ca->other = by_hand(&(struct wish){
            name, name, ca->other_key, ca->other_key, -DAY_S, FLEET_LEAF_DAYS * DAY_S, true });
    X509_NAME_free(name);
    if (err == BM_OK && (ca->x509 == NULL || ca->other == NULL))
        err = bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL made no certificate");
    if (err != BM_OK)
        fleet_ca_fini(ca);
    return err;
}

void
fleet_ca_fini(struct fleet_ca *ca)
{
    X509_free(ca->x509);
    X509_free(ca->other);
    EVP_PKEY_free(ca->other_key);
    *ca = (struct fleet_ca){ 0 };
}

/* ---- leaves ---- */

static enum bm_err
issue(const struct fleet_ca *ca, const X509_NAME *subject, EVP_PKEY *key, struct fleet_leaf *out,
    struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_DEVICE,
        .subject = subject,
        .path_len = PKI_NO_PATH_LEN,
        .not_before_ms = pki_not_before(now, ca->cert),
        .not_after_ms = pki_not_after(now, FLEET_LEAF_DAYS, ca->cert) };
    struct pki_cert *c = NULL;
    enum bm_err err = pki_issue(ca->signer, ca->cert, key, &p, &c, msg);

    if (err == BM_OK)
        out->x509 = x509_of(c);
    pki_cert_free(c);
    return err;
}

static enum bm_err
make_odd(const struct fleet_ca *ca, enum fleet_identity identity, const X509_NAME *subject,
    EVP_PKEY *public, EVP_PKEY *key, struct fleet_leaf *out, struct bm_msg *msg)
{
    struct wish w = { .subject = subject,
        .issuer = X509_get_subject_name(ca->x509),
        .key = public,
        .by = pki_signer_public(ca->signer),
        .from_s = -DAY_S,
        .until_s = FLEET_LEAF_DAYS * (long)DAY_S };

    if (identity == FLEET_NOT_YET)
        w.from_s = DAY_S;
    if (identity == FLEET_EXPIRED) {
        w.from_s = -2 * DAY_S;
        w.until_s = -DAY_S;
    }
    if (identity == FLEET_OTHER_CA)
        w.issuer = X509_get_subject_name(ca->other);
    if (identity == FLEET_OTHER_CA || identity == FLEET_FORGED)
        w.by = ca->other_key;
    if (identity == FLEET_SELF_SIGNED) {
        w.issuer = (X509_NAME *)(uintptr_t)subject;
        w.by = key;
    }
    if (w.by == pki_signer_public(ca->signer) && pki_signer_is_elsewhere(ca->signer))
        return bm_fail(msg, BM_ERR_ARG,
            "the identity \"%s\" wants the CA's key in a file, and this one is in a chip",
            fleet_identity_name(identity));
    out->x509 = by_hand(&w);
    return BM_OK;
}

/* What the device sends behind its own certificate. */
static X509 *
issuer_of(const struct fleet_ca *ca, enum fleet_identity identity)
{
    X509 *x = identity == FLEET_OTHER_CA ? ca->other : ca->x509;

    return identity != FLEET_SELF_SIGNED && X509_up_ref(x) == 1 ? x : NULL;
}

enum bm_err
fleet_leaf_make(const struct fleet_ca *ca, enum fleet_identity identity, const char *subject,
    const uint8_t point[PKI_POINT_LEN], EVP_PKEY *key, struct fleet_leaf *out, struct bm_msg *msg)
{
    X509_NAME *name = NULL;
    EVP_PKEY *public = pki_point_key(point);
    enum bm_err err = subject_parse(subject, &name, msg);

    *out = (struct fleet_leaf){ 0 };
    if (err == BM_OK && public == NULL)
        err = bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL does not take the chip's public key");
    if (err == BM_OK)
        err = identity == FLEET_OWN || identity == FLEET_CLONE
                  ? issue(ca, name, public, out, msg)
                  : make_odd(ca, identity, name, public, key, out, msg);
    if (err == BM_OK && out->x509 == NULL)
        err = bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL made no certificate");
    if (err == BM_OK)
        out->issuer = issuer_of(ca, identity);
    EVP_PKEY_free(public);
    X509_NAME_free(name);
    return err;
}

void
fleet_leaf_fini(struct fleet_leaf *leaf)
{
    X509_free(leaf->x509);
    X509_free(leaf->issuer);
    *leaf = (struct fleet_leaf){ 0 };
}

/* ---- files ---- */

enum bm_err
fleet_leaf_write(const struct fleet_leaf *leaf, const char *path, struct bm_msg *msg)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len = 0;
    enum bm_err err;

    if (bio != NULL && PEM_write_bio_X509(bio, leaf->x509) == 1 &&
        (leaf->issuer == NULL || PEM_write_bio_X509(bio, leaf->issuer) == 1))
        len = BIO_get_mem_data(bio, &text);
    err = len > 0 ? file_write(path, span_of(text, (size_t)len), 0644, msg)
                  : bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate");
    BIO_free(bio);
    return err;
}

enum bm_err
fleet_leaf_read(const char *path, EVP_PKEY *key, struct fleet_leaf *out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    BIO *bio = NULL;
    enum bm_err err = BM_OK;

    *out = (struct fleet_leaf){ 0 };
    if (access(path, F_OK) != 0)
        return BM_ERR_NOT_FOUND;
    err = file_read(path, PKI_PEM_MAX, &text, msg);
    if (err == BM_OK)
        bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    if (bio != NULL) {
        out->x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        out->issuer = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    }
    if (err == BM_OK && (out->x509 == NULL || X509_check_private_key(out->x509, key) != 1))
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "%s is no certificate for the chip beside it; remove the device's folder", path);
    ERR_clear_error();
    BIO_free(bio);
    buf_fini(&text);
    if (err != BM_OK)
        fleet_leaf_fini(out);
    return err;
}
