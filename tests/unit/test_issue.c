/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of issuing: each kind of certificate says what its profile wants, an issuer that must
 * not issue is refused, a key that is elsewhere signs as one that is here, and OpenSSL's own chain
 * check agrees.
 */
#include "pki/issue.h"

#include "base/clock.h"
#include "pki/internal.h"
#include "pki/subject.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { YEAR = 365 };

struct ca {
    struct pki_signer *key;
    struct pki_cert *cert;
};

/* A key in this process that plays one elsewhere; counts what it signs. */
struct far {
    EVP_PKEY *key;
    unsigned signs;
    bool lies;
};

static enum bm_err
far_signs(void *arg, const uint8_t hash[PKI_HASH_LEN], uint8_t out[PKI_SIGNATURE_MAX],
    size_t *out_len, struct bm_msg *msg)
{
    struct far *f = arg;
    uint8_t other[PKI_HASH_LEN] = { 0 };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(f->key, NULL);

    (void)msg;
    f->signs++;
    *out_len = PKI_SIGNATURE_MAX;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, out, out_len, f->lies ? other : hash, PKI_HASH_LEN), 1);
    EVP_PKEY_CTX_free(ctx);
    return BM_OK;
}

static void
far_point(struct far *f, uint8_t point[PKI_POINT_LEN])
{
    size_t len = 0;

    f->key = EVP_EC_gen("P-256");
    assert_int_equal(
        EVP_PKEY_get_octet_string_param(f->key, "encoded-pub-key", point, PKI_POINT_LEN, &len), 1);
    assert_int_equal(len, PKI_POINT_LEN);
}

static X509_NAME *
name_of(const char *text)
{
    X509_NAME *name = NULL;

    assert_int_equal(subject_parse(text, &name, NULL), BM_OK);
    return name;
}

static enum bm_err
issue(const struct ca *by, EVP_PKEY *key, struct pki_profile p, const char *subject, unsigned days,
    struct pki_cert **out, struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    X509_NAME *name = name_of(subject);
    enum bm_err err;

    p.subject = name;
    p.not_before_ms = pki_not_before(now, by->cert);
    p.not_after_ms = pki_not_after(now, days, NULL);
    err = pki_issue(by->key, by->cert, key, &p, out, msg);
    X509_NAME_free(name);
    return err;
}

static void
make_root(struct ca *root, int path_len)
{
    *root = (struct ca){ 0 };
    assert_int_equal(pki_signer_new(&root->key, NULL), BM_OK);
    assert_int_equal(issue(root, pki_signer_public(root->key),
                         (struct pki_profile){ .kind = PKI_ROOT, .path_len = path_len }, "/CN=Root",
                         20 * YEAR, &root->cert, NULL),
        BM_OK);
}

static enum bm_err
make_below(const struct ca *root, struct pki_profile p, struct ca *out, struct bm_msg *msg)
{
    p.kind = PKI_INTERMEDIATE;
    *out = (struct ca){ 0 };
    assert_int_equal(pki_signer_new(&out->key, NULL), BM_OK);
    return issue(
        root, pki_signer_public(out->key), p, "/O=Acme/CN=Issuing", 5 * YEAR, &out->cert, msg);
}

static void
end(struct ca *ca)
{
    pki_cert_free(ca->cert);
    pki_signer_free(ca->key);
}

static int
openssl_says(const struct ca *root, const struct ca *below, const struct pki_cert *leaf)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    int rc;

    assert_int_equal(X509_STORE_add_cert(store, pki_cert_x509(root->cert)), 1);
    assert_true(sk_X509_push(between, pki_cert_x509(below->cert)) > 0);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, pki_cert_x509(leaf), between), 1);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT), 1);
    (void)X509_verify_cert(ctx);
    rc = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_free(between);
    return rc;
}

static void
chain_of_three_passes_openssls_strict_check(void **state)
{
    static const struct pki_profile device = { .kind = PKI_DEVICE };
    struct ca root, below;
    struct pki_signer *key;
    struct pki_cert *leaf;
    uint8_t serial[PKI_SERIAL_LEN];

    (void)state;
    make_root(&root, 1);
    assert_int_equal(make_below(&root, (struct pki_profile){ .path_len = 0 }, &below, NULL), BM_OK);
    assert_int_equal(pki_signer_new(&key, NULL), BM_OK);
    assert_int_equal(
        issue(&below, pki_signer_public(key), device, "/CN=d1", YEAR, &leaf, NULL), BM_OK);
    assert_int_equal(openssl_says(&root, &below, leaf), X509_V_OK);
    assert_int_equal(pki_cert_serial(leaf, serial, sizeof serial), PKI_SERIAL_LEN);
    assert_true(serial[0] >= 0x40 && serial[0] <= 0x7f);
    assert_false(pki_cert_is_ca(leaf));
    assert_int_equal(pki_cert_path_len(root.cert), 1);
    assert_int_equal(pki_cert_path_len(leaf), PKI_NO_PATH_LEN);
    assert_true(pki_cert_has_key(leaf, pki_signer_public(key)));
    assert_false(pki_cert_has_key(leaf, pki_signer_public(root.key)));
    pki_cert_free(leaf);
    pki_signer_free(key);
    end(&below);
    end(&root);
}

static void
issuer_that_must_not_issue_is_refused(void **state)
{
    struct ca root, below, deeper, strict;
    struct pki_cert *leaf;
    struct bm_msg msg;
    struct ca as_ca;

    (void)state;
    make_root(&root, 1);
    assert_int_equal(make_below(&root, (struct pki_profile){ .path_len = 0 }, &below, NULL), BM_OK);
    assert_int_equal(
        make_below(&below, (struct pki_profile){ .path_len = 0 }, &deeper, &msg), BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "path length"));
    assert_null(deeper.cert);
    end(&deeper);
    assert_int_equal(
        make_below(&root, (struct pki_profile){ .path_len = 1 }, &deeper, &msg), BM_ERR_DENIED);
    end(&deeper);

    assert_int_equal(
        issue(&below, pki_signer_public(root.key), (struct pki_profile){ .kind = PKI_DEVICE },
            "/CN=d", 6 * YEAR, &leaf, &msg),
        BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "dates"));

    assert_int_equal(issue(&below, pki_signer_public(below.key),
                         (struct pki_profile){ .kind = PKI_DEVICE }, "/CN=d", YEAR, &leaf, NULL),
        BM_OK);
    as_ca = (struct ca){ below.key, leaf };
    {
        struct pki_cert *other;

        assert_int_equal(issue(&as_ca, pki_signer_public(root.key),
                             (struct pki_profile){ .kind = PKI_DEVICE }, "/CN=e", 1, &other, &msg),
            BM_ERR_DENIED);
        assert_non_null(strstr(msg.text, "no CA"));
    }
    pki_cert_free(leaf);

    /* another key than the issuer's certificate has */
    as_ca = (struct ca){ root.key, below.cert };
    assert_int_equal(issue(&as_ca, pki_signer_public(root.key),
                         (struct pki_profile){ .kind = PKI_DEVICE }, "/CN=e", 1, &leaf, &msg),
        BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "did not sign"));

    assert_int_equal(
        make_below(&root,
            (struct pki_profile){ .permit = { "subject:/O=Acme", "dns:acme.example" } }, &strict,
            NULL),
        BM_OK);
    assert_int_equal(
        issue(&strict, pki_signer_public(root.key), (struct pki_profile){ .kind = PKI_DEVICE },
            "/O=Other/CN=d", 1, &leaf, &msg),
        BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "name constraints"));
    assert_int_equal(
        issue(&strict, pki_signer_public(root.key), (struct pki_profile){ .kind = PKI_DEVICE },
            "/O=Acme/CN=d", 1, &leaf, NULL),
        BM_OK);
    assert_int_equal(openssl_says(&root, &strict, leaf), X509_V_OK);
    pki_cert_free(leaf);
    assert_int_equal(
        make_below(&root, (struct pki_profile){ .permit = { "uri:x" } }, &deeper, &msg),
        BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "uri:x"));
    end(&deeper);
    end(&strict);
    end(&below);
    end(&root);
}

static void
key_elsewhere_signs_as_one_that_is_here(void **state)
{
    struct far f = { 0 };
    uint8_t point[PKI_POINT_LEN];
    uint8_t own[PKI_POINT_LEN];
    struct ca root, below = { 0 };
    struct pki_cert *leaf;
    struct buf crl = { 0 };
    struct bm_msg msg;
    int64_t now = clock_wall_ms();

    (void)state;
    make_root(&root, 1);
    far_point(&f, point);
    assert_int_equal(pki_signer_elsewhere(point, far_signs, &f, &below.key, NULL), BM_OK);
    assert_int_equal(
        issue(&root, pki_signer_public(below.key), (struct pki_profile){ .kind = PKI_INTERMEDIATE },
            "/CN=Chip CA", YEAR, &below.cert, NULL),
        BM_OK);
    assert_int_equal(f.signs, 0);
    assert_true(pki_cert_point(below.cert, own));
    assert_memory_equal(own, point, sizeof own);
    assert_int_equal(issue(&below, pki_signer_public(root.key),
                         (struct pki_profile){ .kind = PKI_DEVICE }, "/CN=d", 1, &leaf, NULL),
        BM_OK);
    assert_int_equal(f.signs, 1);
    assert_int_equal(openssl_says(&root, &below, leaf), X509_V_OK);
    assert_int_equal(pki_crl(below.key, below.cert, &(struct pki_revoked){ leaf, now }, 1, 7, now,
                         30, &crl, NULL),
        BM_OK);
    assert_int_equal(f.signs, 2);
    {
        BIO *bio = BIO_new_mem_buf(crl.ptr, (int)crl.len);
        X509_CRL *list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
        X509_REVOKED *entry;

        assert_int_equal(X509_CRL_verify(list, f.key), 1);
        assert_int_equal(X509_CRL_get0_by_cert(list, &entry, pki_cert_x509(leaf)), 1);
        assert_int_equal(X509_CRL_get0_by_cert(list, &entry, pki_cert_x509(root.cert)), 0);
        X509_CRL_free(list);
        BIO_free(bio);
    }
    pki_cert_free(leaf);
    f.lies = true;
    assert_int_equal(issue(&below, pki_signer_public(root.key),
                         (struct pki_profile){ .kind = PKI_DEVICE }, "/CN=d", 1, &leaf, &msg),
        BM_ERR_DENIED);
    assert_null(leaf);
    buf_fini(&crl);
    EVP_PKEY_free(f.key);
    end(&below);
    end(&root);
}

static void
request_of_a_key_elsewhere_proves_it(void **state)
{
    struct far f = { 0 };
    uint8_t point[PKI_POINT_LEN];
    X509_NAME *name = name_of("/CN=meter 7");
    X509_REQ *req;
    struct bm_msg msg;

    (void)state;
    far_point(&f, point);
    assert_int_equal(pki_csr_make(name, point, far_signs, &f, &req, NULL), BM_OK);
    assert_int_equal(X509_REQ_verify(req, f.key), 1);
    X509_REQ_free(req);
    f.lies = true;
    assert_int_equal(pki_csr_make(name, point, far_signs, &f, &req, &msg), BM_ERR_CONFLICT);
    assert_null(req);
    point[5] ^= 1;
    assert_int_equal(pki_csr_make(name, point, far_signs, &f, &req, &msg), BM_ERR_INPUT);
    X509_NAME_free(name);
    EVP_PKEY_free(f.key);
}

static void
encrypted_key_needs_its_passphrase(void **state)
{
    struct pki_signer *key, *again = NULL;
    struct buf pem = { 0 };
    struct bm_msg msg;

    (void)state;
    assert_int_equal(pki_signer_new(&key, NULL), BM_OK);
    assert_int_equal(pki_signer_to_pem(key, "correct horse", &pem, NULL), BM_OK);
    assert_non_null(strstr(buf_cstr(&pem), "BEGIN ENCRYPTED PRIVATE KEY"));
    assert_int_equal(pki_signer_from_pem(buf_span(&pem), NULL, &again, &msg), BM_ERR_DENIED);
    assert_non_null(strstr(msg.text, "no passphrase"));
    assert_int_equal(pki_signer_from_pem(buf_span(&pem), "wrong", &again, &msg), BM_ERR_DENIED);
    assert_int_equal(pki_signer_from_pem(buf_span(&pem), "correct horse", &again, NULL), BM_OK);
    assert_int_equal(EVP_PKEY_eq(pki_signer_public(key), pki_signer_public(again)), 1);
    pki_signer_free(again);
    assert_int_equal(pki_signer_from_pem(span_str("nothing"), "x", &again, &msg), BM_ERR_INPUT);
    assert_null(again);
    buf_fini(&pem);
    assert_int_equal(pki_signer_to_pem(key, NULL, &pem, NULL), BM_OK);
    assert_int_equal(pki_signer_from_pem(buf_span(&pem), NULL, &again, NULL), BM_OK);
    pki_signer_free(again);
    pki_signer_free(key);
    buf_fini(&pem);
}

static void
generations_have_names_of_their_own(void **state)
{
    struct ca root, below, next = { 0 };
    X509_NAME *name = NULL;
    X509_NAME *want = name_of("/O=Acme/CN=Issuing G2");
    struct pki_profile p = { .kind = PKI_INTERMEDIATE };
    struct pki_cert *leaf;

    (void)state;
    make_root(&root, 1);
    assert_int_equal(
        make_below(&root, (struct pki_profile){ .permit = { "subject:/O=Acme" } }, &below, NULL),
        BM_OK);
    assert_int_equal(pki_subject_of_generation(below.cert, 2, &name, NULL), BM_OK);
    assert_int_equal(X509_NAME_cmp(name, want), 0);
    p.permit_like = below.cert;
    assert_int_equal(pki_signer_new(&next.key, NULL), BM_OK);
    assert_int_equal(issue(&root, pki_signer_public(next.key), p, "/O=Acme/CN=Issuing G2", YEAR,
                         &next.cert, NULL),
        BM_OK);
    assert_int_equal(
        issue(&next, pki_signer_public(root.key), (struct pki_profile){ .kind = PKI_DEVICE },
            "/O=Other/CN=d", 1, &leaf, NULL),
        BM_ERR_DENIED);
    X509_NAME_free(name);
    X509_NAME_free(want);
    end(&next);
    end(&below);
    end(&root);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_of_three_passes_openssls_strict_check),
        cmocka_unit_test(issuer_that_must_not_issue_is_refused),
        cmocka_unit_test(key_elsewhere_signs_as_one_that_is_here),
        cmocka_unit_test(request_of_a_key_elsewhere_proves_it),
        cmocka_unit_test(encrypted_key_needs_its_passphrase),
        cmocka_unit_test(generations_have_names_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
