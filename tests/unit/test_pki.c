/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/pki. Certificates made by the openssl program (tests/vectors/pem, named by
 * their defect) are read here, and what the authority makes is checked with OpenSSL's own chain
 * verification, so that neither side is only tested against itself.
 */
#include "base/clock.h"
#include "base/file.h"
#include "pki/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ASSERT_HAS(text, part) assert_non_null(strstr((text), (part)))

static struct buf
vector(const char *name)
{
    char path[512];
    struct buf text = { 0 };
    struct bm_msg msg;

    (void)snprintf(path, sizeof path, "%s/tests/vectors/pem/%s.pem", SOURCE_DIR, name);
    if (file_read(path, PKI_PEM_MAX, &text, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return text;
}

static struct pki_cert *
cert(const char *name)
{
    struct buf text = vector(name);
    struct pki_cert *c;
    struct bm_msg msg;

    if (pki_cert_from_pem(buf_span(&text), &c, &msg) != BM_OK)
        fail_msg("%s: %s", name, msg.text);
    buf_fini(&text);
    return c;
}

static void
id_is_sha256_of_the_der(void **state)
{
    struct pki_cert *c = cert("spec-id-vector");
    uint8_t id[PKI_ID_LEN];
    char hex[PKI_ID_TEXT];
    char text[PKI_CN_MAX];

    (void)state;
    pki_cert_id(c, id);
    hex_encode(hex, id, sizeof id);
    /* SPEC aws-iot 3.1 */
    assert_string_equal(hex, "578abfd3553f7c6c52cff3aa148d8aa4eca7f03911fca04c4057843dbea629e4");
    assert_true(pki_cert_common_name(c, text, sizeof text));
    assert_string_equal(text, "IoT device");
    pki_cert_issuer_text(c, text, sizeof text);
    assert_string_equal(text, "CN=Demo CA NXP");
    assert_false(pki_cert_is_ca(c)); /* X.509 v1: no extensions at all */
    pki_cert_free(c);
}

static void
add_attribute(void *arg, const char *name, struct span value)
{
    buf_addf(arg, "%s=%.*s\n", name, (int)value.len, value.ptr);
}

/* SPEC aws-iot 7.3 */
static void
attributes_are_told_by_the_names_that_policies_use(void **state)
{
    static const char *const told[] = { "Subject.Country=DE\n",
        "Subject.Organization=Acme\nSubject.Organization=West\n", "Subject.State=Bayern\n",
        "Subject.CommonName=Lampe Gr\xc3\xbcn\n", "Subject.SerialNumber=SN-9\n",
        "Subject.Title=Dr\n", "Subject.Surname=Muster\n", "Subject.GivenName=Max\n",
        "Subject.Initials=MM\n", "Subject.Pseudonym=mux\n", "Subject.GenerationQualifier=III\n",
        "Subject.DistinguishedNameQualifier=dq\n", "Subject.OrganizationalUnit=Lab\n",
        "Issuer.CommonName=Lampe Gr\xc3\xbcn\n", "Issuer.OrganizationalUnit=Lab\n",
        "AlternativeName.RFC822Name=a@example.com\n",
        "AlternativeName.DNSName=one.example\nAlternativeName.DNSName=two.example\n",
        "AlternativeName.UniformResourceIdentifier=urn:x:y\n",
        "AlternativeName.IPAddress=192.0.2.7\nAlternativeName.IPAddress=2001:db8::1\n",
        "AlternativeName.DirectoryName=CN=Dir Name,O=Dir Org\n", "\nSerialNumber=4711\n" };
    struct pki_cert *c = cert("attributes");
    struct buf text = { 0 };

    (void)state;
    pki_cert_attributes(c, add_attribute, &text);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        if (strstr(buf_cstr(&text), told[i]) == NULL)
            fail_msg("no %s in:\n%s", told[i], buf_cstr(&text));
    }
    buf_fini(&text);
    pki_cert_free(c);
}

static void
pem_text_around_and_crlf_do_not_change_the_id(void **state)
{
    static const char *const names[] = { "ca-p256", "ca-with-text", "ca-crlf" };
    uint8_t first[PKI_ID_LEN];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pki_cert *c = cert(names[i]);
        uint8_t id[PKI_ID_LEN];

        pki_cert_id(c, id);
        if (i == 0)
            memcpy(first, id, sizeof first);
        assert_memory_equal(id, first, sizeof id);
        assert_true(pki_cert_is_ca(c));
        pki_cert_free(c);
    }
}

static void
anything_but_one_whole_certificate_is_refused(void **state)
{
    static const struct {
        const char *name;
        const char *says;
    } cases[] = {
        { "two-certificates", "more than one CERTIFICATE" },
        { "certificate-and-key", "PRIVATE KEY, which should never leave its owner" },
        { "key-instead", "PRIVATE KEY" },
        { "csr-good", "CERTIFICATE REQUEST" },
        { "path-instead", "begin 'crlf.pem" },
        { "empty", "no '-----BEGIN CERTIFICATE-----' in the 0 bytes" },
        { "truncated", "damaged" },
        { "bad-base64", "damaged" },
        { "not-der", "not one X.509 certificate" },
        { "trailing-bytes", "something follows" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf text = vector(cases[i].name);
        struct pki_cert *c;
        struct bm_msg msg = { "" };

        if (pki_cert_from_pem(buf_span(&text), &c, &msg) != BM_ERR_INPUT ||
            strstr(msg.text, cases[i].says) == NULL)
            fail_msg("%s: '%s'", cases[i].name, msg.text);
        assert_null(c);
        buf_fini(&text);
    }
}

static void
every_prefix_of_a_certificate_is_refused(void **state)
{
    struct pki_cert *whole = cert("ca-p256");
    struct span der = pki_cert_der(whole);
    struct pki_cert *c;

    (void)state;
    for (size_t len = 0; len < der.len; len++)
        assert_int_equal(pki_cert_from_der(span_of(der.ptr, len), &c, NULL), BM_ERR_INPUT);
    pki_cert_free(whole);
}

static void
oversized_pem_is_refused(void **state)
{
    struct buf text = vector("ca-p256");
    struct pki_cert *c;
    struct bm_msg msg;

    (void)state;
    while (text.len <= PKI_PEM_MAX)
        buf_add(&text, "\n", 1);
    assert_int_equal(pki_cert_from_pem(buf_span(&text), &c, &msg), BM_ERR_INPUT);
    ASSERT_HAS(msg.text, "65537 bytes");
    buf_fini(&text);
}

static void
weak_keys_and_hashes_are_named(void **state)
{
    static const struct {
        const char *name;
        const char *says; /* NULL: accepted */
    } cases[] = {
        { "ca-p256", NULL },
        { "ca-p384", NULL },
        { "ca-p521", NULL },
        { "ca-rsa2048", NULL },
        { "leaf-v1", NULL },
        { "weak-rsa1024", "RSA of 1024 bits" },
        { "weak-sha1", "SHA1" },
        { "curve-secp256k1", "secp256k1" },
        { "key-ed25519", "ED25519" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pki_cert *c = cert(cases[i].name);
        struct bm_msg msg = { "" };
        enum bm_err err = pki_cert_acceptable(c, &msg);

        if (cases[i].says == NULL ? err != BM_OK
                                  : err != BM_ERR_INPUT || strstr(msg.text, cases[i].says) == NULL)
            fail_msg("%s: %s '%s'", cases[i].name, bm_err_name(err), msg.text);
        pki_cert_free(c);
    }
}

static void
signer_is_told_from_a_namesake_and_a_stranger(void **state)
{
    struct pki_cert *leaf = cert("leaf-v1");
    struct pki_cert *ca = cert("ca-p256");
    struct pki_cert *twin = cert("ca-same-name-other-key");
    struct pki_cert *other = cert("ca-other-name");
    struct bm_msg msg;

    (void)state;
    assert_int_equal(pki_cert_signed_by(leaf, ca, &msg), BM_OK);
    assert_int_equal(pki_cert_signed_by(ca, ca, &msg), BM_OK);
    assert_true(span_eq(pki_cert_issuer(leaf), pki_cert_subject(ca)));
    assert_true(span_eq(pki_cert_subject(twin), pki_cert_subject(ca)));
    assert_int_equal(pki_cert_signed_by(leaf, twin, &msg), BM_ERR_DENIED);
    ASSERT_HAS(msg.text, "did not sign it");
    assert_int_equal(pki_cert_signed_by(leaf, other, &msg), BM_ERR_DENIED);
    ASSERT_HAS(msg.text, "its issuer is 'CN=Demo CA NXP', but the CA's subject is 'CN=Other CA'");
    pki_cert_free(leaf);
    pki_cert_free(ca);
    pki_cert_free(twin);
    pki_cert_free(other);
}

static void
any_flipped_bit_breaks_the_signature(void **state)
{
    struct pki_cert *leaf = cert("leaf-v1");
    struct pki_cert *ca = cert("ca-p256");
    struct span der = pki_cert_der(leaf);
    uint8_t copy[2048];
    int read = 0;

    (void)state;
    assert_true(der.len < sizeof copy);
    for (size_t bit = 0; bit < 8 * der.len; bit++) {
        struct pki_cert *c;

        memcpy(copy, der.ptr, der.len);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (pki_cert_from_der(span_of(copy, der.len), &c, NULL) != BM_OK)
            continue;
        read++;
        assert_int_equal(pki_cert_signed_by(c, ca, NULL), BM_ERR_DENIED);
        pki_cert_free(c);
    }
    assert_true(read > 1000); /* else nothing was tried */
    pki_cert_free(leaf);
    pki_cert_free(ca);
}

static void
constraints_and_names_are_read(void **state)
{
    struct pki_cert *c = cert("not-a-ca");
    char text[PKI_CN_MAX];

    (void)state;
    assert_false(pki_cert_is_ca(c));
    assert_true(pki_cert_common_name(c, text, sizeof text));
    assert_false(pki_cert_common_name(c, text, 5)); /* no room: no half name */
    pki_cert_free(c);
    c = cert("subject-without-cn");
    assert_false(pki_cert_common_name(c, text, sizeof text));
    pki_cert_subject_text(c, text, sizeof text);
    assert_string_equal(text, "O=No common name");
    pki_cert_subject_text(c, text, 5);
    assert_string_equal(text, "O=No");
    pki_cert_free(c);
}

static void
validity_has_two_ends(void **state)
{
    struct pki_cert *c = cert("ca-p256");
    int64_t from = pki_cert_not_before_ms(c);
    int64_t to = pki_cert_not_after_ms(c);
    struct bm_msg msg;

    (void)state;
    assert_int_equal((to - from) / 86400000, 36500);
    assert_int_equal(pki_cert_valid_at(c, from, &msg), BM_OK);
    assert_int_equal(pki_cert_valid_at(c, to, &msg), BM_OK);
    assert_int_equal(pki_cert_valid_at(c, from - 1, &msg), BM_ERR_DENIED);
    ASSERT_HAS(msg.text, "not valid yet");
    assert_int_equal(pki_cert_valid_at(c, to + 1, &msg), BM_ERR_DENIED);
    ASSERT_HAS(msg.text, "expired");
    pki_cert_free(c);
}

static void
pem_round_trip_keeps_the_der(void **state)
{
    struct pki_cert *c = cert("leaf-v1");
    struct buf pem = { 0 };
    struct pki_cert *again;

    (void)state;
    assert_int_equal(pki_cert_to_pem(c, &pem), BM_OK);
    assert_int_equal(pki_cert_from_pem(buf_span(&pem), &again, NULL), BM_OK);
    assert_true(span_eq(pki_cert_der(c), pki_cert_der(again)));
    pki_cert_free(again);
    pki_cert_free(c);
    buf_fini(&pem);
}

/* ---- the authority ---- */

struct place {
    char dir[64];
    struct pki_authority *a;
};

static const char *const NAMES[] = { "localhost", "127.0.0.1", "::1" };

static int
setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/bm-pki.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *p = *state;

    pki_authority_close(p->a);
    assert_int_equal(dir_remove(p->dir, NULL), BM_OK);
    free(p);
    return 0;
}

static void
open_with(struct place *p, const char *const *names, size_t count)
{
    struct bm_msg msg;

    pki_authority_close(p->a);
    if (pki_authority_open(p->dir, names, count, &p->a, &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

static struct buf
content(const struct place *p, const char *name)
{
    struct buf text = { 0 };

    assert_int_equal(file_read(pki_authority_file(p->a, name), PKI_PEM_MAX, &text, NULL), BM_OK);
    return text;
}

static X509 *
x509_of(struct span pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    assert_non_null(x);
    return x;
}

static bool
chain_holds(struct span leaf_pem, struct span root_pem, int purpose)
{
    X509 *leaf = x509_of(leaf_pem);
    X509 *root = x509_of(root_pem);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool holds;

    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    holds = X509_verify_cert(ctx) == 1;
    if (!holds)
        print_message("%s\n", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(leaf);
    X509_free(root);
    return holds;
}

static void
server_certificate_passes_a_strict_client(void **state)
{
    struct place *p = *state;
    struct buf root;
    struct buf server;
    X509 *x;

    open_with(p, NAMES, 3);
    root = content(p, "root-ca.pem");
    server = content(p, "server.pem");
    assert_true(chain_holds(buf_span(&server), buf_span(&root), X509_PURPOSE_SSL_SERVER));
    x = x509_of(buf_span(&server));
    assert_int_equal(X509_check_host(x, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
    assert_int_equal(X509_check_host(x, "example.com", 0, 0, NULL), 0);
    X509_free(x);
    buf_fini(&root);
    buf_fini(&server);
}

static void
keys_are_private_and_paths_absolute(void **state)
{
    static const char *const keys[] = { "root-ca.key", "server.key", "issuing-ca.key" };
    struct place *p = *state;
    struct stat st;

    open_with(p, NAMES, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(pki_authority_file(p->a, keys[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_true(pki_authority_file(p->a, "root-ca.pem")[0] == '/');
    assert_null(pki_authority_file(p->a, "../root-ca.pem"));
}

static void
second_open_keeps_what_is_there(void **state)
{
    struct place *p = *state;
    struct buf before[2];
    struct buf after[2];

    open_with(p, NAMES, 3);
    before[0] = content(p, "root-ca.pem");
    before[1] = content(p, "server.pem");
    open_with(p, NAMES, 3);
    after[0] = content(p, "root-ca.pem");
    after[1] = content(p, "server.pem");
    for (size_t i = 0; i < 2; i++) {
        assert_true(span_eq(buf_span(&before[i]), buf_span(&after[i])));
        buf_fini(&before[i]);
        buf_fini(&after[i]);
    }
}

static void
other_names_make_a_new_server_certificate_of_the_same_root(void **state)
{
    static const char *const names[] = { "localhost", "gateway.local" };
    struct place *p = *state;
    struct buf before;
    struct buf after;
    struct buf server;
    X509 *x;

    open_with(p, NAMES, 3);
    before = content(p, "root-ca.pem");
    open_with(p, names, 2);
    after = content(p, "root-ca.pem");
    server = content(p, "server.pem");
    assert_true(span_eq(buf_span(&before), buf_span(&after)));
    assert_true(chain_holds(buf_span(&server), buf_span(&after), X509_PURPOSE_SSL_SERVER));
    x = x509_of(buf_span(&server));
    assert_int_equal(X509_check_host(x, "gateway.local", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 0);
    X509_free(x);
    buf_fini(&before);
    buf_fini(&after);
    buf_fini(&server);
}

static void
name_that_would_smuggle_an_extension_is_refused(void **state)
{
    static const char *const bad[] = { "a,DNS:evil", "", "copy:x", "a b" };
    struct place *p = *state;

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pki_authority_open(p->dir, &bad[i], 1, &p->a, NULL), BM_ERR_ARG);
}

static void
lost_root_key_is_told_and_root_is_kept(void **state)
{
    struct place *p = *state;
    char path[128];
    struct bm_msg msg;

    open_with(p, NAMES, 3);
    pki_authority_close(p->a);
    p->a = NULL;
    (void)snprintf(path, sizeof path, "%s/root-ca.key", p->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pki_authority_open(p->dir, NAMES, 3, &p->a, &msg), BM_ERR_IO);
    ASSERT_HAS(msg.text, "root-ca.key");
    (void)snprintf(path, sizeof path, "%s/root-ca.pem", p->dir);
    assert_int_equal(access(path, F_OK), 0);
}

static void
damaged_server_files_are_made_again(void **state)
{
    struct place *p = *state;
    struct buf root;
    struct buf server;

    open_with(p, NAMES, 3);
    assert_int_equal(
        file_write(pki_authority_file(p->a, "server.key"), span_str("zzz"), 0600, NULL), BM_OK);
    open_with(p, NAMES, 3);
    root = content(p, "root-ca.pem");
    server = content(p, "server.pem");
    assert_true(chain_holds(buf_span(&server), buf_span(&root), X509_PURPOSE_SSL_SERVER));
    buf_fini(&root);
    buf_fini(&server);
}

static void
names_are_found_without_reading_the_rest(void **state)
{
    static const char *const files[] = { "spec-id-vector", "not-a-ca", "subject-without-cn" };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct pki_cert *c = cert(files[i]);
        struct span der = pki_cert_der(c);
        struct span subject;
        struct span issuer;
        char text[2][PKI_CN_MAX];

        assert_true(pki_names_find(der, &subject, &issuer));
        assert_true(span_eq(subject, pki_cert_subject(c)));
        assert_true(span_eq(issuer, pki_cert_issuer(c)));
        pki_name_text(subject, text[0], sizeof text[0]);
        pki_cert_subject_text(c, text[1], sizeof text[1]);
        assert_string_equal(text[0], text[1]);
        assert_int_equal(pki_name_common_name(subject, text[0], sizeof text[0]),
            pki_cert_common_name(c, text[1], sizeof text[1]));
        assert_string_equal(text[0], text[1]);
        for (size_t len = 0; len < der.len; len++) /* nothing is read beyond what is there */
            assert_false(pki_names_find(span_of(der.ptr, len), &subject, &issuer));
        pki_cert_free(c);
    }
}

/* SPEC aws-iot 3.4 */
static void
assert_made_by_service(struct place *p, struct span pem)
{
    struct buf ca = content(p, "issuing-ca.pem");
    struct pki_cert *c;
    char text[200];

    assert_int_equal(pki_cert_from_pem(pem, &c, NULL), BM_OK);
    pki_cert_subject_text(c, text, sizeof text);
    assert_string_equal(text, "CN=AWS IoT Certificate");
    pki_cert_issuer_text(c, text, sizeof text);
    ASSERT_HAS(text, "OU=Amazon Web Services");
    clock_text(text, pki_cert_not_after_ms(c));
    assert_string_equal(text, "2049-12-31T23:59:59.000Z");
    assert_false(pki_cert_is_ca(c));
    assert_int_equal(pki_cert_acceptable(c, NULL), BM_OK);
    assert_true(chain_holds(pem, buf_span(&ca), X509_PURPOSE_SSL_CLIENT));
    pki_cert_free(c);
    buf_fini(&ca);
}

static void
new_key_fits_its_certificate(void **state)
{
    struct place *p = *state;
    struct buf pem = { 0 };
    struct buf public_pem = { 0 };
    struct buf private_pem = { 0 };
    BIO *bio;
    EVP_PKEY *key;
    EVP_PKEY *public_key;
    X509 *x;

    open_with(p, NAMES, 3);
    assert_int_equal(pki_issue_with_new_key(p->a, &pem, &public_pem, &private_pem, NULL), BM_OK);
    assert_made_by_service(p, buf_span(&pem));
    ASSERT_HAS(buf_cstr(&private_pem), "-----BEGIN RSA PRIVATE KEY-----");
    bio = BIO_new_mem_buf(private_pem.ptr, (int)private_pem.len);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(public_pem.ptr, (int)public_pem.len);
    public_key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    x = x509_of(buf_span(&pem));
    assert_int_equal(EVP_PKEY_get_bits(key), 2048);
    assert_int_equal(X509_check_private_key(x, key), 1);
    assert_int_equal(EVP_PKEY_eq(key, public_key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
    EVP_PKEY_free(public_key);
    buf_fini(&pem);
    buf_fini(&public_pem);
    buf_fini(&private_pem);
}

static void
each_use_of_a_csr_gives_another_certificate(void **state)
{
    struct place *p = *state;
    struct buf csr = vector("csr-good");
    struct buf one = { 0 };
    struct buf two = { 0 };

    open_with(p, NAMES, 3);
    assert_int_equal(pki_issue_from_csr(p->a, buf_span(&csr), &one, NULL), BM_OK);
    assert_int_equal(pki_issue_from_csr(p->a, buf_span(&csr), &two, NULL), BM_OK);
    assert_made_by_service(p, buf_span(&one));
    assert_made_by_service(p, buf_span(&two));
    assert_false(span_eq(buf_span(&one), buf_span(&two)));
    buf_fini(&csr);
    buf_fini(&one);
    buf_fini(&two);
}

static void
bad_csr_is_refused_with_its_cause(void **state)
{
    static const struct {
        const char *name;
        const char *says;
    } cases[] = {
        { "csr-bad-signature", "signature does not verify" },
        { "csr-weak-rsa1024", "RSA of 1024 bits" },
        { "ca-p256", "want one CERTIFICATE REQUEST" },
        { "key-instead", "PRIVATE KEY" },
        { "empty", "no '-----BEGIN CERTIFICATE REQUEST-----'" },
    };
    struct place *p = *state;

    open_with(p, NAMES, 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf csr = vector(cases[i].name);
        struct buf pem = { 0 };
        struct bm_msg msg = { "" };

        if (pki_issue_from_csr(p->a, buf_span(&csr), &pem, &msg) != BM_ERR_INPUT ||
            strstr(msg.text, cases[i].says) == NULL)
            fail_msg("%s: '%s'", cases[i].name, msg.text);
        assert_int_equal(pem.len, 0);
        buf_fini(&csr);
        buf_fini(&pem);
    }
}

int
main(void)
{
#define IN_PLACE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_is_sha256_of_the_der),
        cmocka_unit_test(names_are_found_without_reading_the_rest),
        cmocka_unit_test(attributes_are_told_by_the_names_that_policies_use),
        cmocka_unit_test(pem_text_around_and_crlf_do_not_change_the_id),
        cmocka_unit_test(anything_but_one_whole_certificate_is_refused),
        cmocka_unit_test(every_prefix_of_a_certificate_is_refused),
        cmocka_unit_test(oversized_pem_is_refused),
        cmocka_unit_test(weak_keys_and_hashes_are_named),
        cmocka_unit_test(signer_is_told_from_a_namesake_and_a_stranger),
        cmocka_unit_test(any_flipped_bit_breaks_the_signature),
        cmocka_unit_test(constraints_and_names_are_read),
        cmocka_unit_test(validity_has_two_ends),
        cmocka_unit_test(pem_round_trip_keeps_the_der),
        IN_PLACE(server_certificate_passes_a_strict_client),
        IN_PLACE(keys_are_private_and_paths_absolute),
        IN_PLACE(second_open_keeps_what_is_there),
        IN_PLACE(other_names_make_a_new_server_certificate_of_the_same_root),
        IN_PLACE(name_that_would_smuggle_an_extension_is_refused),
        IN_PLACE(lost_root_key_is_told_and_root_is_kept),
        IN_PLACE(damaged_server_files_are_made_again),
        IN_PLACE(new_key_fits_its_certificate),
        IN_PLACE(each_use_of_a_csr_gives_another_certificate),
        IN_PLACE(bad_csr_is_refused_with_its_cause),
    };

    return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
