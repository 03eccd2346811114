/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: rules, the endpoint's address, Publish. */
#include "api_world.h"

#define RULE                                                                                       \
    "{\"sql\":\"SELECT * FROM 'a/+'\",\"actions\":[{\"lambda\":{\"functionArn\":\"" FUNCTION_ARN   \
    "\"}}]}"

static void
rule_is_made_switched_and_deleted(void **state)
{
    struct world *w = *state;
    json_t *item;

    expect_ok(w, "POST", "/rules/r_1", RULE);
    assert_int_equal(rules_filter_count(w->rules), 1);
    expect(w, "POST", "/rules/r_1", RULE, 409, "ResourceAlreadyExistsException", NULL);
    expect_ok(w, "GET", "/rules/r_1", "");
    assert_string_equal(text_of(w, "rule", "ruleName"), "r_1");
    assert_string_equal(text_of(w, "rule", "sql"), "SELECT * FROM 'a/+'");
    assert_string_equal(text_of(w, NULL, "ruleArn"), "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r_1");
    assert_true(
        json_is_number(json_object_get(json_object_get(w->reply.json, "rule"), "createdAt")));
    expect_ok(w, "POST", "/rules/r_1/disable", "");
    assert_int_equal(rules_filter_count(w->rules), 0);
    expect_ok(w, "GET", "/rules?ruleDisabled=true", "");
    item = json_array_get(json_object_get(w->reply.json, "rules"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "topicPattern")), "a/+");
    assert_true(json_is_true(json_object_get(item, "ruleDisabled")));
    expect_ok(w, "GET", "/rules?ruleDisabled=false", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 0);
    expect_ok(w, "POST", "/rules/r_1/enable", "");
    assert_int_equal(rules_filter_count(w->rules), 1);
    expect_ok(w, "PATCH", "/rules/r_1", RULE);
    expect_ok(w, "DELETE", "/rules/r_1", "");
    assert_int_equal(rules_filter_count(w->rules), 0);
    expect(w, "GET", "/rules/r_1", "", 401, "UnauthorizedException",
        "Access to topic rule 'r_1' was denied");
    expect(w, "POST", "/rules/r_1/enable", "", 401, "UnauthorizedException", NULL);
}

static void
rules_that_could_not_run_are_refused(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/rules/r-1", RULE, 400, "InvalidRequestException", "'r-1'");
    expect(w, "POST", "/rules/r", "{\"sql\":\"SELECT\",\"actions\":[]}", 400, "SqlParseException",
        NULL);
    expect(w, "POST", "/rules/r", "{\"actions\":[]}", 400, "InvalidRequestException", "sql");
    expect(w, "POST", "/rules/r",
        "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[{\"s3\":{\"bucketName\":\"b\"}}]}", 400,
        "InvalidRequestException", NULL);
    w->extra_name = "x-amz-tagging";
    w->extra_value = "k=v";
    expect(w, "POST", "/rules/r", RULE, 200, "", NULL);
    w->extra_name = NULL;
    expect(w, "GET", "/tags?resourceArn=arn%3Aaws%3Aiot%3Aeu-west-1%3A" ACCOUNT "%3Arule%2Fr", "",
        200, "", NULL);
    ASSERT_HAS((const char *)w->reply.body.ptr, "{\"Key\":\"k\",\"Value\":\"v\"}");
    w->extra_name = "x-amz-tagging";
    w->extra_value = "=v";
    expect(w, "POST", "/rules/r2", RULE, 400, "InvalidRequestException", "x-amz-tagging");
}

static void
rules_are_listed_in_pages_by_name(void **state)
{
    struct world *w = *state;

    expect_ok(w, "POST", "/rules/a", RULE);
    expect_ok(w, "POST", "/rules/b", RULE);
    expect_ok(w, "POST", "/rules/c", RULE);
    expect_ok(w, "GET", "/rules?maxResults=2", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 2);
    assert_string_equal(text_of(w, NULL, "nextToken"), "b");
    expect_ok(w, "GET", "/rules?maxResults=2&nextToken=b", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 1);
    assert_null(json_object_get(w->reply.json, "nextToken"));
    expect_ok(w, "GET", "/rules?topic=other", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 0);
}

static void
endpoint_types_are_told_apart(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/endpoint", "");
    assert_string_equal(text_of(w, NULL, "endpointAddress"), "localhost");
    expect_ok(w, "GET", "/endpoint?endpointType=iot%3AData-ATS", "");
    expect(w, "GET", "/endpoint?endpointType=iot%3AData", "", 400, "InvalidRequestException",
        "retired");
    expect(w, "GET", "/endpoint?endpointType=iot%3ACredentialProvider", "", 501,
        "NotImplementedException", NULL);
    expect(w, "GET", "/endpoint?endpointType=x", "", 400, "InvalidRequestException", "'x'");
}

static void
publish_hands_topic_and_payload_on(void **state)
{
    struct world *w = *state;

    w->service = "iotdata";
    expect_ok(w, "POST", "/topics/foo%2Fbar%20baz?qos=1&retain=true", "Hello");
    assert_string_equal(buf_cstr(&w->published), "foo/bar baz\nHello\n1 1");
    expect_ok(w, "POST", "/topics/t", "");
    assert_string_equal(buf_cstr(&w->published), "t\n\n0 0");
}

static void
publish_is_answered_when_the_message_is_stored(void **state)
{
    struct world *w = *state;

    w->service = "iotdata";
    w->broker_late = true;
    expect_ok(w, "POST", "/topics/t?qos=1", "x");
    w->broker_dies = true;
    expect(w, "POST", "/topics/t?qos=1", "x", 503, "ServiceUnavailableException", "broker");
    w->broker_dies = false;
    w->commit_fails = true;
    expect(w, "POST", "/topics/t?qos=1", "x", 503, "ServiceUnavailableException", "registry");
}

static void
publish_keeps_the_limits(void **state)
{
    struct world *w = *state;
    char *big = malloc(131074);

    w->service = "iotdata";
    memset(big, 'x', 131073);
    big[131073] = '\0';
    expect(w, "POST", "/topics/t", big, 413, "RequestEntityTooLargeException", "131073");
    big[131072] = '\0';
    expect_ok(w, "POST", "/topics/t", big);
    free(big);
    w->published.len = 0;
    expect(w, "POST", "/topics/%24aws%2Fevents%2Fx", "x", 403, "ForbiddenException", "'$'");
    expect(w, "POST", "/topics/a%2F%2B", "x", 400, "InvalidRequestException", "wildcard");
    expect(w, "POST", "/topics/%FF", "x", 400, "InvalidRequestException", "UTF-8");
    expect(w, "POST", "/topics/1%2F2%2F3%2F4%2F5%2F6%2F7%2F8%2F9", "x", 400,
        "InvalidRequestException", "8 slashes");
    expect(w, "POST", "/topics/t?qos=2", "x", 400, "InvalidRequestException", "qos is '2'");
    expect(w, "POST", "/topics/t?messageExpiry=5", "x", 501, "NotImplementedException",
        "messageExpiry");
    w->broker_down = true;
    expect(w, "POST", "/topics/t", "x", 503, "ServiceUnavailableException", "broker");
    assert_int_equal(w->published.len, 0);
}

#define DESTINATION(url)                                                                           \
    "{\"destinationConfiguration\":{\"httpUrlConfiguration\":{\"confirmationUrl\":\"" url "\"}}}"
#define DESTINATION_ARN "arn:aws:iot:eu-west-1:" ACCOUNT ":ruledestination/http/"

static void
update_destination(struct world *w, const char *arn, const char *to, int status, const char *says)
{
    char body[400];

    (void)snprintf(body, sizeof body, "{\"arn\":\"%s\",\"status\":\"%s\"}", arn, to);
    expect(w, "PATCH", "/destinations", body, status,
        status == 200 ? NULL : "InvalidRequestException", says);
}

static void
expect_status(struct world *w, const char *path, const char *status)
{
    expect_ok(w, "GET", path, "");
    assert_string_equal(text_of(w, "topicRuleDestination", "status"), status);
}

static void
destination_is_made_confirmed_switched_and_deleted(void **state)
{
    struct world *w = *state;
    struct registry_destination d;
    char arn[256];
    char path[512];
    char confirm[128];

    expect_ok(w, "POST", "/destinations", DESTINATION("https://h.example/a"));
    assert_string_equal(text_of(w, "topicRuleDestination", "status"), "IN_PROGRESS");
    (void)snprintf(arn, sizeof arn, "%s", text_of(w, "topicRuleDestination", "arn"));
    assert_memory_equal(arn, DESTINATION_ARN, strlen(DESTINATION_ARN));
    (void)snprintf(path, sizeof path, "/destinations/%s", arn);
    expect(w, "POST", "/destinations", DESTINATION("https://h.example/a"), 409,
        "ResourceAlreadyExistsException", NULL);
    assert_string_equal(text_of(w, NULL, "resourceArn"), arn);
    update_destination(w, arn, "ENABLED", 400, "not confirmed yet");
    update_destination(w, arn, "DISABLED", 400, "not confirmed yet");
    update_destination(w, arn, "DELETING", 400, "cannot be set");
    assert_int_equal(
        registry_destination_of_url(w->registry, "https://h.example/a", &d, NULL), BM_OK);
    expect_status(w, path, "IN_PROGRESS");
    assert_null(memmem(w->reply.body.ptr, w->reply.body.len, d.token, strlen(d.token)));
    (void)snprintf(confirm, sizeof confirm, "/confirmdestination/%s", d.token);
    update_destination(w, arn, "IN_PROGRESS", 200, NULL); /* another token */
    w->unsigned_request = true;                           /* as the receiver opens it */
    expect(w, "GET", confirm, "", 400, "InvalidRequestException", "confirmation token");
    expect(w, "GET", "/confirmdestination/", "", 403, "MissingAuthenticationTokenException", NULL);
    expect(w, "GET", path, "", 403, "MissingAuthenticationTokenException", NULL);
    assert_int_equal(
        registry_destination_of_url(w->registry, "https://h.example/a", &d, NULL), BM_OK);
    (void)snprintf(confirm, sizeof confirm, "/confirmdestination/%s", d.token);
    expect_ok(w, "GET", confirm, "");
    expect(w, "GET", confirm, "", 400, "InvalidRequestException", "it was used");
    w->unsigned_request = false;
    expect_status(w, path, "ENABLED");
    update_destination(w, arn, "DISABLED", 200, NULL);
    expect_status(w, path, "DISABLED");
    update_destination(w, arn, "ENABLED", 200, NULL);
    expect_status(w, path, "ENABLED");
    expect_ok(w, "POST", "/destinations", DESTINATION("https://h.example/b"));
    expect_ok(w, "GET", "/destinations?maxResults=1", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "destinationSummaries")), 1);
    (void)snprintf(
        confirm, sizeof confirm, "/destinations?nextToken=%s", text_of(w, NULL, "nextToken"));
    expect_ok(w, "GET", confirm, "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "destinationSummaries")), 1);
    assert_null(json_object_get(w->reply.json, "nextToken"));
    expect_ok(w, "DELETE", path, "");
    expect(w, "GET", path, "", 401, "UnauthorizedException", "none of this ARN");
    expect(w, "DELETE", path, "", 401, "UnauthorizedException", "none of this ARN");
    expect(w, "GET", "/destinations/" DESTINATION_ARN "x", "", 401, "UnauthorizedException", NULL);
}

static void
destinations_that_could_not_work_are_refused(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/destinations",
        "{\"destinationConfiguration\":{\"vpcConfiguration\":{\"vpcId\":\"v\",\"subnetIds\":[],"
        "\"roleArn\":\"arn:aws:iam::000000000000:role/r\"}}}",
        501, "NotImplementedException", "vpcConfiguration");
    expect(w, "POST", "/destinations", "{\"destinationConfiguration\":{}}", 400,
        "InvalidRequestException", "httpUrlConfiguration");
    expect(w, "POST", "/destinations", DESTINATION("ftp://h/"), 400, "InvalidRequestException",
        "no http or https URL");
    expect(w, "POST", "/destinations", DESTINATION("https://h/?a"), 400, "InvalidRequestException",
        "without '?'");
}

static void
a_rule_makes_the_destination_that_it_needs(void **state)
{
    static const char rule[] =
        "{\"sql\":\"SELECT * FROM "
        "'a'\",\"actions\":[{\"http\":{\"url\":\"https://h.example/in?q=1\"}},"
        "{\"http\":{\"url\":\"http://127.0.0.1:1/\"}},{\"http\":{\"url\":\"https://h.example/"
        "${topic()}\"}}]}";
    struct world *w = *state;
    json_t *items;

    expect_ok(w, "POST", "/rules/r", rule);
    expect_ok(w, "GET", "/destinations", "");
    items = json_object_get(w->reply.json, "destinationSummaries");
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(
        json_string_value(json_object_get(
            json_object_get(json_array_get(items, 0), "httpUrlSummary"), "confirmationUrl")),
        "https://h.example/in");
    expect_ok(w, "PATCH", "/rules/r", rule);
    expect_ok(w, "GET", "/destinations", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "destinationSummaries")), 1);
    expect(w, "POST", "/rules/r2",
        "{\"sql\":\"SELECT * FROM "
        "'a'\",\"actions\":[{\"http\":{\"url\":\"https://h.example/${topic()}\","
        "\"confirmationUrl\":\"h.example\"}}]}",
        400, "InvalidRequestException", "'h.example' is no http or https URL");
    expect(w, "GET", "/rules/r2", "", 401, "UnauthorizedException", NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(rule_is_made_switched_and_deleted),
        CLAIM(rules_that_could_not_run_are_refused),
        CLAIM(rules_are_listed_in_pages_by_name),
        CLAIM(destination_is_made_confirmed_switched_and_deleted),
        CLAIM(destinations_that_could_not_work_are_refused),
        CLAIM(a_rule_makes_the_destination_that_it_needs),
        CLAIM(endpoint_types_are_told_apart),
        CLAIM(publish_hands_topic_and_payload_on),
        CLAIM(publish_is_answered_when_the_message_is_stored),
        CLAIM(publish_keeps_the_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
