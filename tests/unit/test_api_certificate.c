/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: certificates, made or registered, and their lists. */
#include "api_world.h"

static void
certificate_walks_its_states(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    char id[65];
    char target[128];

    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    register_leaf(w, &ca, "INACTIVE", id);
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_int_equal(strlen(text_of(w, "certificateDescription", "caCertificateId")), 64);
    expect(w, "DELETE", target, "", 406, "CertificateStateException", NULL);
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=PENDING_ACTIVATION", id);
    expect(w, "PUT", target, "", 406, "CertificateStateException", "PENDING_ACTIVATION");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=REVOKED", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", id);
    expect(w, "PUT", target, "", 406, "CertificateStateException", "REVOKED");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ON", id);
    expect(w, "PUT", target, "", 400, "InvalidRequestException", "newStatus is 'ON'");
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect(w, "PUT", target, "", 400, "InvalidRequestException", "newStatus is missing");
    expect_ok(w, "DELETE", target, "");
    expect(w, "GET", target, "", 404, "ResourceNotFoundException", id);
    party_fini(&ca);
}

static void
register_certificate_wants_an_active_registered_signer(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    struct party leaf = make_party("leaf", &ca, 10);
    struct party old = make_party("old leaf", &ca, -1);

    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 400,
        "CertificateValidationException", "whose issuer is 'CN=CA'");
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 400,
        "CertificateValidationException", "caCertificatePem");
    register_ca(w, &ca, "", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 400,
        "CertificateValidationException", "is INACTIVE");
    party_fini(&ca);
    ca = make_party("CA", NULL, 100); /* the same name, another key; registered and ACTIVE */
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 400,
        "CertificateValidationException", "did not sign it");
    party_fini(&leaf);
    leaf = make_party("leaf", &ca, 10);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "status", json_string("PENDING_ACTIVATION")),
        406, "CertificateStateException",
        "Not allowed to register certificate with PENDING_ACTIVATION status");
    expect_body(w, "POST", "/certificate/register?setAsActive=true",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 200,
        NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 409,
        "ResourceAlreadyExistsException", NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(old.cert), NULL, NULL), 400,
        "CertificateValidationException", "expired");
    party_fini(&leaf);
    party_fini(&old);
    party_fini(&ca);
}

/* SPEC aws-iot 3.2: allowed to register, ambiguous later. */
static void
two_cas_with_one_name_and_key_conflict(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    struct party renewed = { X509_dup(ca.cert), ca.key };
    struct party leaf = make_party("leaf", &ca, 10);

    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(renewed.cert), 77), 1);
    assert_true(X509_sign(renewed.cert, renewed.key, EVP_sha256()) > 0);
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    register_ca(w, &renewed, "?setAsActive=true", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 409,
        "CertificateConflictException", "caCertificatePem");
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(renewed.cert)),
        200, NULL, NULL);
    X509_free(renewed.cert);
    party_fini(&leaf);
    party_fini(&ca);
}

static void
keys_and_csr_certificates_are_made(void **state)
{
    struct world *w = *state;
    char target[128];
    const char *private_key;

    expect_ok(w, "POST", "/keys-and-certificate?setAsActive=true", "");
    private_key = text_of(w, "keyPair", "PrivateKey");
    ASSERT_HAS(private_key, "BEGIN RSA PRIVATE KEY");
    ASSERT_HAS(text_of(w, "keyPair", "PublicKey"), "BEGIN PUBLIC KEY");
    ASSERT_HAS(text_of(w, NULL, "certificatePem"), "BEGIN CERTIFICATE");
    (void)snprintf(target, sizeof target, "/certificates/%s", text_of(w, NULL, "certificateId"));
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "caCertificateId"), "(absent)");
    assert_int_equal(
        json_integer_value(json_object_get(
            json_object_get(json_object_get(w->reply.json, "certificateDescription"), "validity"),
            "notAfter")),
        2524607999); /* 2049-12-31T23:59:59Z */
    expect_body(w, "POST", "/certificates",
        body_of("certificateSigningRequest", file_json("csr-good"), NULL, NULL), 200, NULL, NULL);
    expect_body(w, "POST", "/certificates",
        body_of("certificateSigningRequest", file_json("csr-bad-signature"), NULL, NULL), 400,
        "InvalidRequestException", "signature does not verify");
}

static void
lists_come_in_pages_newest_first(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    char ids[3][65];
    char ca_id[65];
    char target[256];
    json_t *list;

    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    for (size_t i = 0; i < 3; i++)
        register_leaf(w, &ca, "ACTIVE", ids[i]);
    expect_ok(w, "GET", "/certificates?pageSize=2", "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateId")), ids[2]);
    (void)snprintf(target, sizeof target, "/certificates?marker=%s&pageSize=2",
        text_of(w, NULL, "nextMarker"));
    expect_ok(w, "GET", target, "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 1);
    assert_null(json_object_get(w->reply.json, "nextMarker"));
    id_of(ca.cert, ca_id);
    (void)snprintf(target, sizeof target, "/certificates-by-ca/%s?isAscendingOrder=true", ca_id);
    expect_ok(w, "GET", target, "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateId")), ids[0]);
    expect_ok(w, "GET", "/cacertificates", "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 1);
    ASSERT_HAS(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateArn")), ":cacert/");
    expect(w, "GET", "/certificates?pageSize=0", "", 400, "InvalidRequestException", "1 to 250");
    expect(w, "GET", "/certificates?pageSize=251", "", 400, "InvalidRequestException", "'251'");
    expect(w, "GET", "/certificates?pageSize=2x", "", 400, "InvalidRequestException", "'2x'");
    expect(w, "GET", "/certificates?marker=nonsense", "", 400, "InvalidRequestException", NULL);
    party_fini(&ca);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(certificate_walks_its_states),
        CLAIM(register_certificate_wants_an_active_registered_signer),
        CLAIM(two_cas_with_one_name_and_key_conflict),
        CLAIM(keys_and_csr_certificates_are_made),
        CLAIM(lists_come_in_pages_newest_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
