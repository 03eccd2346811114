/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: the registration code and CA certificates. */
#include "api_world.h"

static void
registration_code_is_stable_until_deleted(void **state)
{
    struct world *w = *state;
    char one[65];
    char two[65];

    expect(w, "DELETE", "/registrationcode", "", 404, "ResourceNotFoundException", NULL);
    registration_code(w, one);
    registration_code(w, two);
    assert_string_equal(one, two);
    expect_ok(w, "DELETE", "/registrationcode", "");
    registration_code(w, two);
    assert_string_not_equal(one, two);
}

static void
ca_is_registered_described_and_changed(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    char id[65];
    char target[128];
    json_t *d;

    register_ca(w, &ca, "", 200, NULL, NULL);
    id_of(ca.cert, id);
    assert_string_equal(text_of(w, NULL, "certificateId"), id);
    ASSERT_HAS(text_of(w, NULL, "certificateArn"), "arn:aws:iot:eu-west-1:" ACCOUNT ":cacert/");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "GET", target, "");
    d = json_object_get(w->reply.json, "certificateDescription");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "INACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "autoRegistrationStatus"), "DISABLE");
    assert_string_equal(text_of(w, "certificateDescription", "certificateMode"), "DEFAULT");
    assert_string_equal(text_of(w, "certificateDescription", "ownedBy"), ACCOUNT);
    assert_int_equal(json_integer_value(json_object_get(d, "customerVersion")), 1);
    assert_true(json_is_number(json_object_get(d, "creationDate"))); /* SPEC aws-iot 1.1 */
    assert_true(json_is_number(json_object_get(json_object_get(d, "validity"), "notAfter")));
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newStatus=ACTIVE", id);
    expect_ok(w, "PUT", target, "{}");
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newAutoRegistrationStatus=ENABLE", id);
    expect_ok(w, "PUT", target, "{\"removeAutoRegistration\":true}");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "autoRegistrationStatus"), "ENABLE");
    expect(w, "DELETE", target, "", 406, "CertificateStateException", NULL);
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newStatus=INACTIVE", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "DELETE", target, "");
    expect(w, "GET", target, "", 404, "ResourceNotFoundException", NULL);
    party_fini(&ca);
}

static void
ca_update_refuses_words_outside_the_enum(void **state)
{
    struct world *w = *state;

    expect(w, "PUT", "/cacertificate/" NO_ID "?newAutoRegistrationStatus=ENABLED", "{}", 400,
        "InvalidRequestException",
        "newAutoRegistrationStatus is 'ENABLED'; want ENABLE or DISABLE");
    expect(w, "PUT", "/cacertificate/" NO_ID "?newStatus=active", "{}", 400,
        "InvalidRequestException", "want ACTIVE or INACTIVE");
    expect(w, "PUT", "/cacertificate/" NO_ID "?newStatus=ACTIVE", "{}", 404,
        "ResourceNotFoundException", NULL);
    expect(w, "PUT", "/cacertificate/xyz?newStatus=ACTIVE", "{}", 400, "InvalidRequestException",
        "'xyz' is not 64 hexadecimal digits");
    expect(w, "PUT", "/cacertificate/" NO_ID,
        "{\"registrationConfig\":{\"roleArn\":\"arn:aws:iam::1:role/r-of-ca\"}}", 400,
        "InvalidRequestException", "templateBody is missing");
    expect(w, "PUT", "/cacertificate/" NO_ID, "{\"removeAutoRegistration\":\"yes\"}", 400,
        "InvalidRequestException", "'removeAutoRegistration' is a string");
}

static void
same_ca_twice_is_409_with_its_arn(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    char id[65];

    register_ca(w, &ca, "?allowAutoRegistration=true&setAsActive=true", 200, NULL, NULL);
    register_ca(w, &ca, "", 409, "ResourceAlreadyExistsException", NULL);
    id_of(ca.cert, id);
    assert_string_equal(text_of(w, NULL, "resourceId"), id);
    ASSERT_HAS(text_of(w, NULL, "resourceArn"), id);
    party_fini(&ca);
}

static void
eleventh_ca_with_one_subject_is_410(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 11; i++) {
        struct party ca = make_party("One name", NULL, 100);

        if (i < 10)
            register_ca(w, &ca, "", 200, NULL, NULL);
        else
            register_ca(w, &ca, "", 410, "LimitExceededException",
                "Limit reached for number of CA Certificates with same subject");
        party_fini(&ca);
    }
}

static void
ca_registration_is_refused_for_each_defect(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    struct party other = make_party("Other CA", NULL, 100);
    struct party twin = make_party("Demo CA NXP", NULL, 100);
    struct party expired = make_party("Expired CA", NULL, -1);
    struct party verification;
    char code[65];

    registration_code(w, code);
    verification = make_party("not the code", &ca, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "RegistrationCodeValidationException", "CN is 'not the code'");
    ASSERT_HAS(w->reply.message, code);
    party_fini(&verification);
    verification = make_party(code, &other, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException", "its issuer is 'CN=Other CA'");
    party_fini(&verification);
    verification = make_party(code, &twin, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException", "did not sign it");
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(verification.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException",
        "The CA certificate does not have the basicConstraints extension as true");
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), NULL, NULL), 400, "InvalidRequestException",
        "'verificationCertificate' is missing");
    register_ca(w, &expired, "", 400, "CertificateValidationException", "expired");
    party_fini(&verification);
    party_fini(&ca);
    party_fini(&other);
    party_fini(&twin);
    party_fini(&expired);
}

/* SPEC aws-iot 3.2, last row: whether the service judges its dates is not known. */
static void
dates_of_the_verification_certificate_do_not_count(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    struct party verification;
    char code[65];

    registration_code(w, code);
    verification = make_party(code, &ca, -1);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        200, NULL, NULL);
    party_fini(&verification);
    party_fini(&ca);
}

static void
unreadable_and_weak_ca_pem_is_400(void **state)
{
    static const struct {
        const char *name;
        const char *says;
    } cases[] = {
        { "path-instead", "begin 'crlf.pem" },
        { "two-certificates", "more than one" },
        { "bad-base64", "damaged" },
        { "not-der", "not one X.509 certificate" },
        { "key-instead", "PRIVATE KEY" },
        { "weak-rsa1024", "RSA of 1024 bits" },
        { "weak-sha1", "SHA1" },
        { "not-a-ca", "basicConstraints" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_body(w, "POST", "/cacertificate",
            body_of("caCertificate", file_json(cases[i].name), "verificationCertificate",
                file_json("leaf-v1")),
            400, "CertificateValidationException", cases[i].says);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", json_string(""), "verificationCertificate", file_json("leaf-v1")),
        400, "InvalidRequestException", "0 characters");
}

static void
modes_and_configs_are_checked(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/cacertificate",
        "{\"caCertificate\":\"x\",\"verificationCertificate\":\"x\",\"certificateMode\":\"SNI_"
        "ONLY\"}",
        400, "InvalidRequestException", "must not be there");
    expect(w, "POST", "/cacertificate", "{\"caCertificate\":\"x\",\"certificateMode\":\"BOTH\"}",
        400, "InvalidRequestException", "want DEFAULT or SNI_ONLY");
    expect(w, "POST", "/cacertificate", "{\"caCertificate\":\"x\",\"tags\":[{\"Value\":\"b\"}]}",
        400, "InvalidRequestException", "'tags[0].Key' is missing");
    expect(w, "POST", "/cacertificate?setAsActive=ACTIVE",
        "{\"caCertificate\":\"x\",\"verificationCertificate\":\"x\"}", 400,
        "InvalidRequestException", "setAsActive is 'ACTIVE'; want true or false");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(registration_code_is_stable_until_deleted),
        CLAIM(ca_is_registered_described_and_changed),
        CLAIM(ca_update_refuses_words_outside_the_enum),
        CLAIM(same_ca_twice_is_409_with_its_arn),
        CLAIM(eleventh_ca_with_one_subject_is_410),
        CLAIM(ca_registration_is_refused_for_each_defect),
        CLAIM(dates_of_the_verification_certificate_do_not_count),
        CLAIM(unreadable_and_weak_ca_pem_is_400),
        CLAIM(modes_and_configs_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
