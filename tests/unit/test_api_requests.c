/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: signatures, routing, bodies, and what the timeline has of a change. */
#include "api_world.h"

static void
unsigned_and_badly_signed_requests_are_403(void **state)
{
    struct world *w = *state;

    w->unsigned_request = true;
    expect(w, "GET", "/registrationcode", "", 403, "MissingAuthenticationTokenException", NULL);
    expect(w, "GET", "/no/such/path", "", 403, "MissingAuthenticationTokenException", NULL);
    w->unsigned_request = false;
    w->secret = "wrong";
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException", "does not match");
    w->service = "iotdata";
    expect(w, "POST", "/topics/a", "x", 403, "ForbiddenException", NULL);
    assert_string_not_equal(text_of(w, NULL, "traceId"), "(absent)");
    w->secret = "secret";
    w->skew_s = -3600;
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException", "expired");
}

static void
both_names_of_the_control_plane_are_taken_and_no_other(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/registrationcode", "");
    w->service = "iot";
    expect_ok(w, "GET", "/registrationcode", "");
    w->service = "lambda";
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException",
        "scoped to the service 'iot', not 'lambda'");
    w->service = "iot";
    expect(w, "GET", FUNCTIONS "/", "", 403, "InvalidSignatureException", "'lambda'");
}

static void
every_reply_has_date_request_id_and_length(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/registrationcode", "");
    ASSERT_HAS(w->reply.head, "\r\nDate: ");
    ASSERT_HAS(w->reply.head, "\r\nx-amzn-RequestId: ");
    ASSERT_HAS(w->reply.head, "\r\nContent-Type: application/json");
    expect_ok(w, "DELETE", "/registrationcode", "");
    ASSERT_HAS(w->reply.head, "\r\nContent-Length: 0");
    assert_int_equal(w->reply.body.len, 0);
}

/* SPEC aws-iot 4.3; what is refused for another reason does not count. */
static void
operations_beyond_their_rate_are_throttled(void **state)
{
    static const char policy[] =
        "{\"policyDocument\":\"{\\\"Version\\\":\\\"2012-10-17\\\","
        "\\\"Statement\\\":{\\\"Effect\\\":\\\"Allow\\\",\\\"Action\\\":\\\"*\\\","
        "\\\"Resource\\\":\\\"*\\\"}}\"}";
    struct world *w = *state;

    w->create_policy_max = 1;
    expect(w, "POST", "/policies/p", "{", 400, "InvalidRequestException", "not JSON");
    expect_ok(w, "POST", "/policies/p", policy);
    expect(w, "POST", "/policies/q", policy, 400, "ThrottlingException",
        "at most 1 calls of CreatePolicy a second");
    expect(w, "GET", "/policies/q", "", 404, "ResourceNotFoundException", NULL);
}

static void
operations_not_built_are_named(void **state)
{
    struct world *w = *state;

    expect(w, "GET", "/jobs", "", 501, "NotImplementedException", "ListJobs (GET /jobs)");
    expect(w, "POST", "/jobs/a/targets", "", 501, "NotImplementedException",
        "AssociateTargetsWithJob");
    expect(
        w, "GET", "/nonsense", "", 501, "NotImplementedException", "GET /nonsense is no operation");
    expect(w, "PATCH", "/certificates", "", 405, "MethodNotAllowedException",
        "PATCH is no method of /certificates");
}

static void
damaged_bodies_are_400(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/policies/p", "{", 400, "InvalidRequestException", "not JSON");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"\xff\"}", 400,
        "InvalidRequestException", "not JSON");
    expect(w, "POST", "/policies/p", "[]", 400, "InvalidRequestException", "not an object");
    expect(w, "POST", "/policies/p", "", 400, "InvalidRequestException",
        "'policyDocument' is missing");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":7}", 400, "InvalidRequestException",
        "'policyDocument' is a number; want a string");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":null}", 400, "InvalidRequestException",
        "missing");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"a\\u0000b\"}", 400,
        "InvalidRequestException", "not JSON");
    w->service = "lambda";
    expect(w, "POST", FUNCTIONS, "{", 400, "InvalidRequestContentException", "not JSON");
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":[]}", 400, "InvalidParameterValueException",
        "'FunctionName' is an array");
    assert_string_equal(text_of(w, NULL, "Type"), "User");
}

static void
failed_commit_is_503_and_says_why(void **state)
{
    struct world *w = *state;

    w->commit_fails = true;
    expect_body(w, "POST", "/policies/p",
        body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL), 503,
        "ServiceUnavailableException", "disk full");
    expect(w, "POST", "/keys-and-certificate", "", 503, "ServiceUnavailableException", NULL);
    assert_null(strstr(buf_cstr(&w->reply.body), "PRIVATE KEY"));
}

struct records {
    struct buf text;
};

static void
add_record(void *arg, const struct timeline_record *rec)
{
    struct records *r = arg;

    buf_addf(
        &r->text, "%s %s %s %s\n", cause_info(rec->cause)->id, rec->status, rec->facts, rec->peer);
}

static void
changes_are_in_the_timeline_with_request_and_operation(void **state)
{
    struct world *w = *state;
    struct records r = { 0 };
    uint8_t id[32];
    char hex[65];
    char target[128];
    const char *text;

    expect_ok(w, "POST", "/keys-and-certificate", "");
    (void)snprintf(hex, sizeof hex, "%s", text_of(w, NULL, "certificateId"));
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", hex);
    expect_ok(w, "PUT", target, "");
    assert_int_equal(hex_decode(id, 32, span_str(hex)), BM_OK);
    OK(registry_timeline_cert(w->registry, id, 10, add_record, &r, &msg));
    text = buf_cstr(&r.text);
    ASSERT_HAS(text, cause_info(CAUSE_REGISTERED_API)->id);
    ASSERT_HAS(text, "operation=CreateKeysAndCertificate");
    ASSERT_HAS(text, "ACTIVE operation=UpdateCertificate from=INACTIVE to=ACTIVE by=AKID api ");
    buf_fini(&r.text);
}

static void
refused_change_leaves_no_record(void **state)
{
    struct world *w = *state;
    struct records r = { 0 };

    expect(w, "PUT", "/certificates/" NO_ID "?newStatus=ACTIVE", "", 404,
        "ResourceNotFoundException", NULL);
    expect(w, "DELETE", "/cacertificate/" NO_ID, "", 404, "ResourceNotFoundException", NULL);
    (void)!registry_timeline_recent(w->registry, 10, add_record, &r, NULL);
    assert_int_equal(r.text.len, 0);
    buf_fini(&r.text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(unsigned_and_badly_signed_requests_are_403),
        CLAIM(both_names_of_the_control_plane_are_taken_and_no_other),
        CLAIM(every_reply_has_date_request_id_and_length),
        CLAIM(operations_beyond_their_rate_are_throttled),
        CLAIM(operations_not_built_are_named),
        CLAIM(damaged_bodies_are_400),
        CLAIM(failed_commit_is_503_and_says_why),
        CLAIM(changes_are_in_the_timeline_with_request_and_operation),
        CLAIM(refused_change_leaves_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
