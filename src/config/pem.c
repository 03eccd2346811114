/* SPDX-License-Identifier: Apache-2.0 */
/* See pem.h. */
#include "config/pem.h"

#include "base/file.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 65536, FIELD_LEN = 32, SPKI_MAX = 128 };

/* An encrypted file is refused, never asked about: the tool runs in scripts. */
static int
no_pass_phrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

static EVP_PKEY *
decode(OSSL_LIB_CTX *context, struct span text, bool *is_private)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    EVP_PKEY *pkey = NULL;

    if (bio == NULL)
        return NULL;
    *is_private = true;
    pkey = PEM_read_bio_PrivateKey_ex(bio, NULL, no_pass_phrase, NULL, context, NULL);
    if (pkey == NULL && BIO_reset(bio) == 1) {
        *is_private = false;
        pkey = PEM_read_bio_PUBKEY_ex(bio, NULL, no_pass_phrase, NULL, context, NULL);
    }
    BIO_free(bio);
    return pkey;
}

static bool
on_p256(const EVP_PKEY *pkey)
{
    char group[64];
    size_t len;

    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, &len) == 1 &&
           strcmp(group, SN_X9_62_prime256v1) == 0;
}

static bool
get_number(const EVP_PKEY *pkey, const char *name, uint8_t out[FIELD_LEN])
{
    BIGNUM *n = NULL;
    bool ok =
        EVP_PKEY_get_bn_param(pkey, name, &n) == 1 && BN_bn2binpad(n, out, FIELD_LEN) == FIELD_LEN;

    BN_clear_free(n);
    return ok;
}

/* Do the two halves of the file belong together? The chip stores both and need not check. */
static bool
halves_match(OSSL_LIB_CTX *context, EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(context, pkey, NULL);
    bool ok = ctx != NULL && EVP_PKEY_pairwise_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static enum code
take_key(OSSL_LIB_CTX *context, const char *path, EVP_PKEY *pkey, bool is_private, struct key *out)
{
    struct refkey ref;

    if (!on_p256(pkey)) {
        fprintf(stderr, "%s holds no key on P-256; the chip knows this curve only\n", path);
        return CODE_CURVE;
    }
    out->point[0] = 0x04;
    if (!get_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &out->point[1]) ||
        !get_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &out->point[1 + FIELD_LEN])) {
        fprintf(stderr, "%s holds no usable public key\n", path);
        return CODE_PEM_READ;
    }
    out->has_scalar = is_private && get_number(pkey, OSSL_PKEY_PARAM_PRIV_KEY, out->scalar);
    if (!out->has_scalar)
        return CODE_OK;
    out->is_reference = refkey_from_scalar(SPAN(out->scalar), &ref);
    if (!out->is_reference && !halves_match(context, pkey)) {
        fprintf(stderr, "%s: the public key does not belong to the private key\n", path);
        return CODE_PEM_READ;
    }
    return CODE_OK;
}

enum code
pem_read(const char *path, struct key *out)
{
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    EVP_PKEY *pkey = NULL;
    struct buf text = { 0 };
    struct bm_msg msg;
    bool is_private = false;
    enum code code = CODE_PEM_READ;

    *out = (struct key){ 0 };
    if (file_read(path, FILE_MAX, &text, &msg) != BM_OK) {
        printf("failed to open %s\n", path);
        fprintf(stderr, "%s\n", msg.text);
        code = CODE_FILE_OPEN;
        goto out;
    }
    if (context == NULL) {
        code = CODE_MEMORY;
        goto out;
    }
    pkey = decode(context, buf_span(&text), &is_private);
    if (pkey == NULL)
        fprintf(stderr,
            "%s holds no key in PEM that can be read without a pass phrase; wanted is EC PRIVATE "
            "KEY, PRIVATE KEY or PUBLIC KEY\n",
            path);
    else
        code = take_key(context, path, pkey, is_private, out);
out:
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    OSSL_LIB_CTX_free(context);
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    return code;
}

static X509 *
decode_certificate(struct span text, enum form form)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    X509 *x = NULL;

    if (bio != NULL)
        x = form == FORM_PEM ? PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL)
                             : d2i_X509_bio(bio, NULL);
    BIO_free(bio);
    return x;
}

static enum code
take_certificate(const char *path, X509 *x, enum form form, struct buf *out)
{
    unsigned char *der = NULL;
    int len;

    if (x == NULL) {
        printf("%s is no valid certificate file\n", path);
        fprintf(stderr, "%s holds no X.509 certificate in %s; %s\n", path,
            form == FORM_PEM ? "PEM" : "DER", form == FORM_PEM ? "DER is for -c" : "PEM is for -p");
        return CODE_PEM_READ;
    }
    len = i2d_X509(x, &der);
    if (len > 0) {
        printf("Certificate Size (DER format) = %d byte\n", len);
        buf_add(out, der, (size_t)len);
    }
    OPENSSL_free(der);
    return len > 0 && !out->failed ? CODE_OK : CODE_MEMORY;
}

enum code
pem_read_certificate(const char *path, enum form form, struct buf *out)
{
    struct buf text = { 0 };
    struct bm_msg msg;
    X509 *x = NULL;
    enum code code;

    printf("Filename: %s\n", path);
    if (file_read(path, FILE_MAX, &text, &msg) == BM_OK) {
        x = decode_certificate(buf_span(&text), form);
        code = take_certificate(path, x, form, out);
    } else {
        printf("Unable to open the file: %s\n", path);
        fprintf(stderr, "%s\n", msg.text);
        code = CODE_FILE_OPEN;
    }
    X509_free(x);
    ERR_clear_error();
    buf_fini(&text);
    return code;
}

/* A mem BIO's text to a file. */
static enum code
write_bio(const char *path, BIO *bio, bool ok, mode_t mode)
{
    struct bm_msg msg = { "out of memory" };
    char *text = NULL;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;

    ok = ok && file_write(path, span_of(text, (size_t)len), mode, &msg) == BM_OK;
    BIO_free(bio);
    if (ok)
        return CODE_OK;
    fprintf(stderr, "%s\n", msg.text);
    return CODE_PEM_WRITE;
}

static enum code
write_pem(const char *path, const char *label, struct span der, mode_t mode)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return write_bio(
        path, bio, bio != NULL && PEM_write_bio(bio, label, "", der.ptr, (long)der.len) > 0, mode);
}

enum code
pem_write_request(const char *path, X509_REQ *req)
{
    BIO *bio = BIO_new(BIO_s_mem());

    return write_bio(path, bio, bio != NULL && PEM_write_bio_X509_REQ(bio, req) == 1, 0644);
}

static struct span
public_der(uint8_t der[SPKI_MAX], const uint8_t point[A71CH_POINT_LEN])
{
    /* RFC 5480: SubjectPublicKeyInfo, id-ecPublicKey, prime256v1, up to the point */
    static const uint8_t head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
        0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42,
        0x00 };
    struct wr w = wr_of(der, SPKI_MAX);

    wr_bytes(&w, head, sizeof head);
    wr_bytes(&w, point, A71CH_POINT_LEN);
    return span_of(der, wr_len(&w));
}

enum code
pem_write_public(const char *path, const uint8_t point[A71CH_POINT_LEN])
{
    uint8_t der[SPKI_MAX];

    return write_pem(path, "PUBLIC KEY", public_der(der, point), 0644);
}

enum code
pem_write_reference(const char *path, const struct refkey *key)
{
    uint8_t der[REFKEY_DER_MAX];
    struct wr w = wr_of(der, sizeof der);

    if (refkey_build_sec1(&w, key) != BM_OK)
        return CODE_PEM_WRITE;
    return write_pem(path, "EC PRIVATE KEY", span_of(der, wr_len(&w)), 0600);
}
