/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: policies and what they are attached to. */
#include "api_world.h"

#define CERT_ARN "arn:aws:iot:eu-west-1:" ACCOUNT ":cert/"

static void
put_policy(struct world *w, const char *name)
{
    char target[200];

    (void)snprintf(target, sizeof target, "/policies/%s", name);
    expect_body(w, "POST", target, body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL),
        200, NULL, NULL);
}

static void
policy_is_made_read_and_deleted(void **state)
{
    struct world *w = *state;

    put_policy(w, "p_1.%2C%40%3D%2B-");
    assert_string_equal(text_of(w, NULL, "policyName"), "p_1.,@=+-");
    assert_string_equal(text_of(w, NULL, "policyVersionId"), "1");
    expect_ok(w, "GET", "/policies/p_1.%2C%40%3D%2B-", "");
    assert_string_equal(text_of(w, NULL, "policyDocument"), OPEN_POLICY);
    assert_string_equal(text_of(w, NULL, "defaultVersionId"), "1");
    expect_body(w, "POST", "/policies/p_1.%2C%40%3D%2B-",
        body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL), 409,
        "ResourceAlreadyExistsException", NULL);
    ASSERT_HAS(text_of(w, NULL, "resourceArn"), ":policy/p_1");
    expect_ok(w, "GET", "/policies", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 1);
    expect_ok(w, "DELETE", "/policies/p_1.%2C%40%3D%2B-", "");
    expect(w, "DELETE", "/policies/p_1.%2C%40%3D%2B-", "", 404, "ResourceNotFoundException", NULL);
    expect(w, "GET", "/policies/a%20b", "", 400, "InvalidRequestException", "'a b'");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"{}\"}", 400, "MalformedPolicyException",
        NULL);
}

static void
policy_is_attached_by_either_operation(void **state)
{
    struct world *w = *state;
    char arn[160];
    char target[300];
    char id[65];

    expect_ok(w, "POST", "/keys-and-certificate", "");
    (void)snprintf(id, sizeof id, "%s", text_of(w, NULL, "certificateId"));
    (void)snprintf(arn, sizeof arn, CERT_ARN "%s", id);
    put_policy(w, "one");
    put_policy(w, "two");
    expect_body(w, "PUT", "/target-policies/one", body_of("target", json_string(arn), NULL, NULL),
        200, NULL, NULL);
    w->extra_name = "x-amzn-iot-principal";
    w->extra_value = arn;
    expect_ok(w, "PUT", "/principal-policies/two", "");
    expect_ok(w, "PUT", "/principal-policies/two", "");
    expect_ok(w, "GET", "/principal-policies", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 2);
    w->extra_name = NULL;
    (void)snprintf(target, sizeof target,
        "/attached-policies/arn%%3Aaws%%3Aiot%%3Aeu-west-1%%3A" ACCOUNT "%%3Acert%%2F%s", id);
    expect_ok(w, "POST", target, "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 2);
    expect_ok(w, "POST", "/policy-targets/one", "");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(w->reply.json, "targets"), 0)), arn);
    expect(w, "DELETE", "/policies/one", "", 409, "DeleteConflictException", NULL);
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect(w, "DELETE", target, "", 409, "DeleteConflictException", NULL);
    expect_body(w, "POST", "/target-policies/one", body_of("target", json_string(arn), NULL, NULL),
        200, NULL, NULL);
    expect_ok(w, "DELETE", "/policies/one", "");
    (void)snprintf(target, sizeof target, "/certificates/%s?forceDelete=true", id);
    expect_ok(w, "DELETE", target, "");
}

static void
attaching_refuses_what_is_no_certificate_here(void **state)
{
    struct world *w = *state;

    put_policy(w, "p");
    expect(w, "PUT", "/target-policies/p", "{\"target\":\"" CERT_ARN NO_ID "\"}", 404,
        "ResourceNotFoundException", NO_ID);
    expect(w, "PUT", "/target-policies/q", "{\"target\":\"" CERT_ARN NO_ID "\"}", 404,
        "ResourceNotFoundException", "\"q\"");
    expect(w, "PUT", "/target-policies/p",
        "{\"target\":\"arn:aws:iot:us-east-1:" ACCOUNT ":cert/" NO_ID "\"}", 400,
        "InvalidRequestException", CERT_ARN);
    expect(w, "PUT", "/target-policies/p", "{\"target\":\"" CERT_ARN "12\"}", 400,
        "InvalidRequestException", NULL);
    expect(w, "PUT", "/target-policies/p",
        "{\"target\":\"arn:aws:iot:eu-west-1:" ACCOUNT ":thinggroup/g\"}", 404,
        "ResourceNotFoundException", "\"g\"");
    expect(w, "PUT", "/principal-policies/p", "", 400, "InvalidRequestException",
        "x-amzn-iot-principal");
}

static void
targets_of_a_policy_come_in_pages(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    size_t seen = 0;
    char target[200] = "/policy-targets/p?pageSize=2";

    put_policy(w, "p");
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    for (int i = 0; i < 5; i++) {
        char id[65];
        char body[200];

        register_leaf(w, &ca, "ACTIVE", id);
        (void)snprintf(body, sizeof body, "{\"target\":\"" CERT_ARN "%s\"}", id);
        expect_ok(w, "PUT", "/target-policies/p", body);
    }
    for (int page = 0; page < 3; page++) {
        expect_ok(w, "POST", target, "");
        seen += json_array_size(json_object_get(w->reply.json, "targets"));
        (void)snprintf(target, sizeof target, "/policy-targets/p?marker=%s&pageSize=2",
            text_of(w, NULL, "nextMarker"));
    }
    assert_int_equal(seen, 5);
    assert_null(json_object_get(w->reply.json, "nextMarker"));
    expect(w, "POST", "/policy-targets/p?marker=zz", "", 400, "InvalidRequestException", "\"zz\"");
    party_fini(&ca);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(policy_is_made_read_and_deleted),
        CLAIM(policy_is_attached_by_either_operation),
        CLAIM(attaching_refuses_what_is_no_certificate_here),
        CLAIM(targets_of_a_policy_come_in_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
