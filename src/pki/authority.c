/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local authority: its files, the server certificate, and the certificates the service makes.
 * See pki.h.
 *
 * A key is written before its certificate. So a certificate without its key is damage, told and
 * never repaired silently (devices trust the root), while a key alone is a start that was cut off
 * before anybody saw a certificate, and is made again.
 */
#include "pki/internal.h"

#include "base/clock.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CA_DAYS = 7300,
    SERVER_DAYS = 397, /* what common TLS clients take at most */
    RENEW_DAYS = 30,
    RSA_BITS = 2048,
    DAY_MS = 86400000,
    BACKDATE_S = 120, /* a device's clock may be a little behind */
};

/*
 * SPEC aws-iot 3.4: what the certificates made by the service say. The unit is longer than the 64
 * characters of X.520, as the service's own; set_subject therefore gives a type that is not
 * checked.
 */
static const char ISSUING_OU[] =
    "Amazon Web Services O=Amazon.com Inc. L=Seattle ST=Washington C=US";
static const char DEVICE_CN[] = "AWS IoT Certificate";
static const char DEVICE_NOT_AFTER[] = "20491231235959Z";

static const char *const FILES[] = { "root-ca.pem", "root-ca.key", "server.pem", "server.key",
    "issuing-ca.pem", "issuing-ca.key" };
enum file { ROOT_PEM, ROOT_KEY, SERVER_PEM, SERVER_KEY, ISSUING_PEM, ISSUING_KEY, FILE_COUNT };

struct signer {
    X509 *cert;
    EVP_PKEY *key;
};

struct pki_authority {
    char *paths[FILE_COUNT];
    struct signer root;
    struct signer issuing;
};

static void
signer_fini(struct signer *s)
{
    X509_free(s->cert);
    EVP_PKEY_free(s->key);
    *s = (struct signer){ 0 };
}

/* ---- making a certificate ---- */

struct recipe {
    const char *common_name; /* or: */
    const char *unit;
    const char *not_after; /* GeneralizedTime; NULL: days from now */
    int days;
    const char *extensions[8][2]; /* name and value as in openssl.cnf, NULL at the end */
};

static bool
set_subject(X509 *x, const struct recipe *r)
{
    X509_NAME *name = X509_get_subject_name(x);
    const char *field = r->common_name != NULL ? "CN" : "OU";
    const char *text = r->common_name != NULL ? r->common_name : r->unit;

    return X509_NAME_add_entry_by_txt(
               name, field, V_ASN1_UTF8STRING, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool
set_dates(X509 *x, const struct recipe *r)
{
    if (X509_gmtime_adj(X509_getm_notBefore(x), -BACKDATE_S) == NULL)
        return false;
    if (r->not_after != NULL)
        return ASN1_TIME_set_string_X509(X509_getm_notAfter(x), r->not_after) == 1;
    return X509_time_adj_ex(X509_getm_notAfter(x), r->days, 0, NULL) != NULL;
}

static bool
add_extensions(X509 *x, X509 *issuer, const struct recipe *r)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    for (size_t i = 0; r->extensions[i][0] != NULL; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf(NULL, &ctx, r->extensions[i][0], r->extensions[i][1]);
        bool added = e != NULL && X509_add_ext(x, e, -1) == 1;

        X509_EXTENSION_free(e);
        if (!added)
            return false;
    }
    return true;
}

/* by->cert NULL: signed by itself. NULL on failure. */
static X509 *
make_cert(EVP_PKEY *key, const struct signer *by, const struct recipe *r)
{
    X509 *x = X509_new();
    X509 *issuer = by->cert != NULL ? by->cert : x;

    if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && pki_set_serial(x) &&
        set_subject(x, r) && X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
        set_dates(x, r) && X509_set_pubkey(x, key) == 1 && add_extensions(x, issuer, r) &&
        X509_sign(x, by->key, EVP_sha256()) > 0)
        return x;
    X509_free(x);
    return NULL;
}

static enum bm_err
cert_pem(X509 *x, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio != NULL && PEM_write_bio_X509(bio, x) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    return pki_take_bio(bio, out);
}

static enum bm_err
key_pem(EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());

    if (bio != NULL &&
        PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    return pki_take_bio(bio, out);
}

/* ---- files ---- */

static enum bm_err
save(const char *cert_path, const char *key_path, const struct signer *s, struct bm_msg *msg)
{
    struct buf cert = { 0 };
    struct buf key = { 0 };
    enum bm_err err = key_pem(s->key, &key);

    if (err == BM_OK)
        err = cert_pem(s->cert, &cert);
    if (err != BM_OK)
        err = bm_fail(msg, err, "%s: cannot be written: out of memory", cert_path);
    if (err == BM_OK)
        err = file_write(key_path, buf_span(&key), 0600, msg);
    if (err == BM_OK)
        err = file_write(cert_path, buf_span(&cert), 0644, msg);
    bm_wipe(key.ptr, key.len);
    buf_fini(&key);
    buf_fini(&cert);
    return err;
}

static enum bm_err
load_key(const char *path, EVP_PKEY **out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    enum bm_err err = file_read(path, PKI_PEM_MAX, &text, msg);
    BIO *bio;

    *out = NULL;
    if (err == BM_OK) {
        bio = BIO_new_mem_buf(text.ptr, (int)text.len);
        *out = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
        ERR_clear_error();
        if (*out == NULL)
            err = bm_fail(msg, BM_ERR_INPUT, "%s: no private key in PEM; restore the file", path);
    }
    bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return err;
}

static enum bm_err
load_cert(const char *path, X509 **out, struct bm_msg *msg)
{
    struct buf text = { 0 };
    struct pki_cert *c = NULL;
    struct bm_msg why;
    enum bm_err err = file_read(path, PKI_PEM_MAX, &text, msg);

    *out = NULL;
    if (err == BM_OK) {
        err = pki_cert_from_pem(buf_span(&text), &c, &why);
        if (err != BM_OK)
            err = bm_fail(msg, err, "%s: %.400s", path, why.text);
    }
    if (err == BM_OK) {
        const unsigned char *at = pki_cert_der(c).ptr;

        *out = d2i_X509(NULL, &at, (long)pki_cert_der(c).len);
        if (*out == NULL)
            err = bm_fail(msg, BM_ERR_MEM, "%s: out of memory", path);
    }
    pki_cert_free(c);
    buf_fini(&text);
    return err;
}

static enum bm_err
load(const char *cert_path, const char *key_path, struct signer *out, struct bm_msg *msg)
{
    enum bm_err err = load_cert(cert_path, &out->cert, msg);

    if (err == BM_OK)
        err = load_key(key_path, &out->key, msg);
    if (err == BM_OK && X509_check_private_key(out->cert, out->key) != 1) {
        ERR_clear_error();
        err = bm_fail(msg, BM_ERR_INPUT,
            "%s is not the certificate of the key in %s; restore the pair, or remove both to begin "
            "anew (devices must then get the new root)",
            cert_path, key_path);
    }
    if (err != BM_OK)
        signer_fini(out);
    return err;
}

static bool
exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- the two CAs ---- */

static enum bm_err
make_ca(struct signer *out, const struct recipe *r)
{
    out->key = EVP_EC_gen("P-256");
    if (out->key != NULL)
        out->cert = make_cert(out->key, &(struct signer){ NULL, out->key }, r);
    ERR_clear_error();
    return out->cert != NULL ? BM_OK : BM_ERR_INTERNAL;
}

static enum bm_err
open_ca(struct pki_authority *a, enum file cert, enum file key, const struct recipe *r,
    struct signer *out, struct bm_msg *msg)
{
    enum bm_err err;

    if (exists(a->paths[cert]))
        return load(a->paths[cert], a->paths[key], out, msg);
    err = make_ca(out, r);
    if (err != BM_OK)
        return bm_fail(msg, err, "%s: the certificate could not be made", a->paths[cert]);
    return save(a->paths[cert], a->paths[key], out, msg);
}

/* ---- the server certificate ---- */

static bool
is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* Letters that could end a list item in OpenSSL's extension syntax never get there. */
static bool
name_is_sound(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= 253 &&
           (is_address(name) ||
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*_") ==
                   len);
}

static enum bm_err
alt_names(const char *const *names, size_t count, struct buf *out, struct bm_msg *msg)
{
    for (size_t i = 0; i < count; i++) {
        if (!name_is_sound(names[i]))
            return bm_fail(msg, BM_ERR_ARG,
                "'%.100s' cannot stand in a server certificate; give a host name or an IP address",
                names[i]);
        buf_addf(out, "%s%s:%s", i > 0 ? "," : "", is_address(names[i]) ? "IP" : "DNS", names[i]);
    }
    return out->failed || buf_cstr(out) == NULL
               ? bm_fail(msg, BM_ERR_MEM, "out of memory for the server's names")
               : BM_OK;
}

/* Does the certificate say exactly these names? Compared as encoded extension values. */
static bool
has_names(X509 *x, const char *wanted)
{
    X509_EXTENSION *want = X509V3_EXT_conf(NULL, NULL, "subjectAltName", wanted);
    int at = X509_get_ext_by_NID(x, NID_subject_alt_name, -1);
    bool same = want != NULL && at >= 0 &&
                ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(want),
                    X509_EXTENSION_get_data(X509_get_ext(x, at))) == 0;

    X509_EXTENSION_free(want);
    ERR_clear_error();
    return same;
}

static bool
server_is_good(struct pki_authority *a, const char *names)
{
    struct signer s = { 0 };
    bool good;

    if (!exists(a->paths[SERVER_PEM]))
        return false;
    if (load(a->paths[SERVER_PEM], a->paths[SERVER_KEY], &s, NULL) != BM_OK)
        return false;
    good = X509_verify(s.cert, a->root.key) == 1 &&
           X509_NAME_cmp(X509_get_issuer_name(s.cert), X509_get_subject_name(a->root.cert)) == 0 &&
           X509_cmp_timeframe(NULL, X509_get0_notBefore(s.cert), NULL) == 0 &&
           X509_cmp_time(X509_get0_notAfter(s.cert),
               &(time_t){ time(NULL) + (time_t)RENEW_DAYS * 86400 }) > 0 &&
           has_names(s.cert, names);
    ERR_clear_error();
    signer_fini(&s);
    return good;
}

static enum bm_err
make_server(struct pki_authority *a, const char *first_name, const char *names, struct bm_msg *msg)
{
    const struct recipe r = {
        .common_name = strlen(first_name) <= 64 ? first_name : "birthmark",
        .days = SERVER_DAYS,
        .extensions = { { "basicConstraints", "critical,CA:FALSE" },
            { "keyUsage", "critical,digitalSignature" }, { "extendedKeyUsage", "serverAuth" },
            { "subjectKeyIdentifier", "hash" }, { "authorityKeyIdentifier", "keyid" },
            { "subjectAltName", names } },
    };
    struct signer s = { .key = EVP_EC_gen("P-256") };
    enum bm_err err;

    if (s.key != NULL)
        s.cert = make_cert(s.key, &a->root, &r);
    if (s.cert == NULL) {
        char words[120];

        pki_openssl_words(words, sizeof words);
        err = bm_fail(msg, BM_ERR_INTERNAL, "%s: the certificate could not be made: %s",
            a->paths[SERVER_PEM], words);
    } else {
        err = save(a->paths[SERVER_PEM], a->paths[SERVER_KEY], &s, msg);
    }
    signer_fini(&s);
    return err;
}

static enum bm_err
open_server(struct pki_authority *a, const char *const *names, size_t count, struct bm_msg *msg)
{
    struct buf list = { 0 };
    enum bm_err err;

    if (count == 0)
        return bm_fail(msg, BM_ERR_ARG, "the server certificate needs at least one name");
    err = alt_names(names, count, &list, msg);
    if (err == BM_OK && !server_is_good(a, buf_cstr(&list)))
        err = make_server(a, names[0], buf_cstr(&list), msg);
    buf_fini(&list);
    return err;
}

/* ---- opening ---- */

static enum bm_err
set_paths(struct pki_authority *a, const char *dir, struct bm_msg *msg)
{
    char *real = realpath(dir, NULL);
    bool done = true;

    if (real == NULL)
        return bm_fail(msg, BM_ERR_IO, "%s: %s", dir, strerror(errno));
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (asprintf(&a->paths[i], "%s/%s", real, FILES[i]) < 0) {
            a->paths[i] = NULL;
            done = false;
        }
    }
    free(real);
    return done ? BM_OK : bm_fail(msg, BM_ERR_MEM, "%s: out of memory", dir);
}

enum bm_err
pki_authority_open(const char *dir, const char *const *names, size_t name_count,
    struct pki_authority **out, struct bm_msg *msg)
{
    static const struct recipe root = {
        .common_name = "Birthmark Root CA",
        .days = CA_DAYS,
        .extensions = { { "basicConstraints", "critical,CA:TRUE" },
            { "keyUsage", "critical,keyCertSign,cRLSign" }, { "subjectKeyIdentifier", "hash" } },
    };
    static const struct recipe issuing = {
        .unit = ISSUING_OU,
        .days = CA_DAYS,
        .extensions = { { "basicConstraints", "critical,CA:TRUE,pathlen:0" },
            { "keyUsage", "critical,keyCertSign,cRLSign" }, { "subjectKeyIdentifier", "hash" } },
    };
    struct pki_authority *a = calloc(1, sizeof *a);
    enum bm_err err;

    *out = NULL;
    if (a == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the authority");
    err = dir_make(dir, 0700, msg);
    if (err == BM_OK)
        err = set_paths(a, dir, msg);
    if (err == BM_OK)
        err = open_ca(a, ROOT_PEM, ROOT_KEY, &root, &a->root, msg);
    if (err == BM_OK)
        err = open_ca(a, ISSUING_PEM, ISSUING_KEY, &issuing, &a->issuing, msg);
    if (err == BM_OK)
        err = open_server(a, names, name_count, msg);
    if (err != BM_OK) {
        pki_authority_close(a);
        return err;
    }
    *out = a;
    return BM_OK;
}

void
pki_authority_close(struct pki_authority *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < FILE_COUNT; i++)
        free(a->paths[i]);
    signer_fini(&a->root);
    signer_fini(&a->issuing);
    free(a);
}

const char *
pki_authority_file(const struct pki_authority *a, const char *name)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (strcmp(name, FILES[i]) == 0)
            return a->paths[i];
    }
    return NULL;
}

/* ---- certificates made by the service; SPEC aws-iot 3.4 ---- */

static enum bm_err
issue(struct pki_authority *a, EVP_PKEY *key, struct buf *pem, struct bm_msg *msg)
{
    const struct recipe r = {
        .common_name = DEVICE_CN,
        .not_after = DEVICE_NOT_AFTER,
        .extensions = { { "basicConstraints", "critical,CA:FALSE" },
            { "keyUsage", "critical,digitalSignature" }, { "subjectKeyIdentifier", "hash" },
            { "authorityKeyIdentifier", "keyid" } },
    };
    X509 *x = make_cert(key, &a->issuing, &r);
    char words[120];
    enum bm_err err;

    if (x == NULL) {
        pki_openssl_words(words, sizeof words);
        return bm_fail(msg, BM_ERR_INTERNAL, "the certificate could not be made: %s", words);
    }
    err = cert_pem(x, pem);
    X509_free(x);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "out of memory for a certificate");
}

static enum bm_err
public_pem(EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio != NULL && PEM_write_bio_PUBKEY(bio, key) != 1) {
        BIO_free(bio);
        bio = NULL;
    }
    return pki_take_bio(bio, out);
}

enum bm_err
pki_issue_with_new_key(struct pki_authority *a, struct buf *cert, struct buf *public_text,
    struct buf *private_text, struct bm_msg *msg)
{
    EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
    enum bm_err err;

    if (key == NULL) {
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INTERNAL, "the RSA key could not be made");
    }
    err = issue(a, key, cert, msg);
    if (err == BM_OK)
        err = public_pem(key, public_text);
    if (err == BM_OK)
        err = key_pem(key, private_text);
    EVP_PKEY_free(key);
    return err;
}

enum bm_err
pki_csr_read(struct span csr_pem, X509_REQ **out, struct bm_msg *msg)
{
    static const char *const kinds[] = { PEM_STRING_X509_REQ, PEM_STRING_X509_REQ_OLD, NULL };
    uint8_t *der = NULL;
    long len = 0;
    const unsigned char *at;
    enum bm_err err = pki_pem_one(csr_pem, kinds, "the CSR", &der, &len, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    at = der;
    *out = d2i_X509_REQ(NULL, &at, len);
    OPENSSL_free(der);
    if (*out == NULL)
        err = bm_fail(msg, BM_ERR_INPUT, "The CSR is damaged: its DER cannot be read.");
    if (err == BM_OK)
        err = pki_key_acceptable(X509_REQ_get0_pubkey(*out), "the CSR", msg);
    if (err == BM_OK && X509_REQ_verify(*out, X509_REQ_get0_pubkey(*out)) != 1)
        err = bm_fail(msg, BM_ERR_INPUT,
            "The CSR's signature does not verify with the public key in it; make the CSR anew with "
            "the matching private key.");
    ERR_clear_error();
    if (err != BM_OK) {
        X509_REQ_free(*out);
        *out = NULL;
    }
    return err;
}

enum bm_err
pki_issue_from_csr(
    struct pki_authority *a, struct span csr_pem, struct buf *cert, struct bm_msg *msg)
{
    X509_REQ *req;
    enum bm_err err = pki_csr_read(csr_pem, &req, msg);

    if (err == BM_OK)
        err = issue(a, X509_REQ_get0_pubkey(req), cert, msg);
    X509_REQ_free(req);
    return err;
}
