/* SPDX-License-Identifier: Apache-2.0 */
/* See certs.h. */
#include "certs.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "certs: %s failed\n", what);
        abort();
    }
}

static void
set_times(X509 *x, const struct make *what)
{
    bool usual = what->from_s == 0 && what->to_s == 0;

    must(
        X509_gmtime_adj(X509_getm_notBefore(x), usual ? -3600 : what->from_s) != NULL, "notBefore");
    must(X509_gmtime_adj(X509_getm_notAfter(x), usual ? 86400 : what->to_s) != NULL, "notAfter");
}

static void
set_serial(X509 *x)
{
    BIGNUM *n = BN_new();

    must(n != NULL && BN_rand(n, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
             BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL,
        "serial");
    BN_free(n);
}

static EVP_PKEY *
make_key(const struct make *what)
{
    if (what->key_of != NULL) {
        return EVP_PKEY_up_ref(what->key_of->key) == 1 ? what->key_of->key : NULL;
    }
    if (what->rsa_bits != 0) {
        return EVP_RSA_gen(what->rsa_bits);
    }
    if (what->kind != NULL && strcmp(what->kind, "ED25519") == 0) {
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    }
    return EVP_EC_gen(what->kind != NULL ? what->kind : "P-256");
}

struct made
certs_make(const struct make *what)
{
    struct made m = { 0 };
    const struct made *issuer = what->issuer != NULL ? what->issuer : &m;
    X509_NAME *name;

    m.key = make_key(what);
    m.cert = X509_new();
    must(m.key != NULL && m.cert != NULL, "key");
    name = X509_get_subject_name(m.cert);
    must(X509_NAME_add_entry_by_txt(
             name, "CN", MBSTRING_UTF8, (const unsigned char *)what->name, -1, -1, 0) == 1,
        "name");
    if (what->serial != 0) {
        must(ASN1_INTEGER_set(X509_get_serialNumber(m.cert), what->serial) == 1, "serial");
    } else {
        set_serial(m.cert);
    }
    set_times(m.cert, what);
    must(X509_set_issuer_name(m.cert, X509_get_subject_name(issuer->cert)) == 1 &&
             X509_set_pubkey(m.cert, m.key) == 1,
        "certificate");
    if (what->ca) {
        X509_EXTENSION *e =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

        must(e != NULL && X509_set_version(m.cert, X509_VERSION_3) == 1 &&
                 X509_add_ext(m.cert, e, -1) == 1,
            "extension");
        X509_EXTENSION_free(e);
    }
    must(X509_sign(m.cert, issuer->key, what->sha1 ? EVP_sha1() : EVP_sha256()) > 0, "signature");
    return m;
}

void
certs_fini(struct made *m)
{
    EVP_PKEY_free(m->key);
    X509_free(m->cert);
    *m = (struct made){ 0 };
}

void
certs_der(const struct made *m, struct buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_X509(m->cert, &der);

    must(len > 0, "DER");
    buf_add(out, der, (size_t)len);
    OPENSSL_free(der);
}

void
certs_id(const struct made *m, uint8_t id[32])
{
    must(X509_digest(m->cert, EVP_sha256(), id, NULL) == 1, "digest");
}

void
certs_write(const struct made *m, const char *dir, const char *name)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s.pem", dir, name);
    f = fopen(path, "w");
    must(f != NULL && PEM_write_X509(f, m->cert) == 1 && fclose(f) == 0, path);
    (void)snprintf(path, sizeof path, "%s/%s.key", dir, name);
    f = fopen(path, "w");
    must(f != NULL && PEM_write_PrivateKey(f, m->key, NULL, NULL, 0, NULL, NULL) == 1 &&
             fclose(f) == 0,
        path);
}
