/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/api: functions, their permissions and invocations. */
#include "api_world.h"

static void
put_function(struct world *w)
{
    struct registry_function f = { .name = "f" };

    buf_addf(&f.config, "{\"Runtime\":\"provided.al2\",\"Handler\":\"h\",\"Timeout\":3}");
    buf_addf(&f.permissions, "[]");
    OK(registry_function_create(w->registry, &f, &msg));
    registry_function_fini(&f);
}

static void
function_is_found_by_name_and_arn(void **state)
{
    struct world *w = *state;

    w->service = "lambda";
    put_function(w);
    expect_ok(w, "GET", FUNCTIONS "/f/configuration", "");
    assert_string_equal(text_of(w, NULL, "FunctionArn"), FUNCTION_ARN);
    assert_string_equal(text_of(w, NULL, "State"), "Active");
    ASSERT_HAS(text_of(w, NULL, "LastModified"), "+0000");
    expect_ok(
        w, "GET", FUNCTIONS "/arn%3Aaws%3Alambda%3Aeu-west-1%3A" ACCOUNT "%3Afunction%3Af", "");
    assert_string_equal(text_of(w, "Configuration", "FunctionName"), "f");
    expect_ok(w, "GET", FUNCTIONS "/", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "Functions")), 1);
    expect(w, "GET", FUNCTIONS "/g", "", 404, "ResourceNotFoundException", "Function not found: g");
    assert_string_equal(text_of(w, NULL, "Message"), "Function not found: g");
    expect(w, "GET", FUNCTIONS "/f?Qualifier=2", "", 404, "ResourceNotFoundException", "'2'");
    expect(w, "DELETE", FUNCTIONS "/f", "", 204, NULL, NULL);
    expect(w, "DELETE", FUNCTIONS "/f", "", 404, "ResourceNotFoundException", NULL);
}

static void
function_settings_not_built_are_refused(void **state)
{
    struct world *w = *state;

    w->service = "lambda";
    put_function(w);
#define FUNCTION "{\"FunctionName\":\"g\",\"Role\":\"arn:aws:iam::1:role/r\","
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{},\"Layers\":[\"x\"]}", 501,
        "NotImplementedException", "'Layers'");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{},\"PackageType\":\"Image\"}", 501,
        "NotImplementedException", "Image");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{\"S3Bucket\":\"bbb\"}}", 501,
        "NotImplementedException", "S3Bucket");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{}}", 400, "InvalidParameterValueException",
        "ZipFile");
    expect(w, "POST", FUNCTIONS,
        FUNCTION "\"Runtime\":\"provided\",\"Handler\":\"h\",\"Code\":{\"ZipFile\":\"???\"}}", 400,
        "InvalidParameterValueException", "base64");
    expect(w, "POST", FUNCTIONS,
        FUNCTION "\"Runtime\":\"provided\",\"Handler\":\"h\",\"Code\":{\"ZipFile\":\"UEsD\"}}", 400,
        "InvalidParameterValueException", NULL);
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":\"g\",\"Role\":\"r\",\"Code\":{}}", 400,
        "InvalidParameterValueException", "Role is 'r'");
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":\"a b\",\"Role\":\"r\",\"Code\":{}}", 400,
        "InvalidParameterValueException", "'a b'");
    expect(w, "PUT", FUNCTIONS "/f/code", "{\"S3Key\":\"k\"}", 501, "NotImplementedException",
        "'S3Key'");
    expect(w, "PUT", FUNCTIONS "/f/configuration", "{\"Environment\":[]}", 400,
        "InvalidParameterValueException", "'Environment' is an array");
}

static void
permissions_are_statements(void **state)
{
    static const char add[] =
        "{\"StatementId\":\"iot\",\"Action\":\"lambda:InvokeFunction\","
        "\"Principal\":\"iot.amazonaws.com\",\"SourceArn\":"
        "\"arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r\",\"SourceAccount\":\"" ACCOUNT "\"}";
    struct world *w = *state;
    struct bm_msg msg;
    json_t *s;

    w->service = "lambda";
    put_function(w);
    expect(w, "GET", FUNCTIONS "/f/policy", "", 404, "ResourceNotFoundException", NULL);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r", ACCOUNT, &msg),
        BM_ERR_DENIED);
    expect(w, "POST", FUNCTIONS "/f/policy", add, 201, NULL, NULL);
    s = json_loads(text_of(w, NULL, "Statement"), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(s, "Resource")), FUNCTION_ARN);
    json_decref(s);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r", ACCOUNT, &msg),
        BM_OK);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/s", ACCOUNT, &msg),
        BM_ERR_DENIED);
    expect(w, "POST", FUNCTIONS "/f/policy", add, 409, "ResourceConflictException", "(iot)");
    expect_ok(w, "GET", FUNCTIONS "/f/policy", "");
    ASSERT_HAS(text_of(w, NULL, "Policy"), "\"Sid\":\"iot\"");
    expect(w, "POST", FUNCTIONS "/f/policy",
        "{\"StatementId\":\"x\",\"Action\":\"lambda:InvokeFunction\",\"Principal\":\"me\"}", 400,
        "InvalidParameterValueException", "principal was invalid");
    expect(w, "DELETE", FUNCTIONS "/f/policy/no", "", 404, "ResourceNotFoundException", "no");
    expect(w, "DELETE", FUNCTIONS "/f/policy/iot", "", 204, NULL, NULL);
    expect(w, "GET", FUNCTIONS "/f/policy", "", 404, "ResourceNotFoundException", NULL);
}

static void
invocation_kinds_and_limits(void **state)
{
    struct world *w = *state;
    char *big = malloc(LAMBDA_PAYLOAD_ASYNC_MAX + 3);

    w->service = "lambda";
    put_function(w);
    expect(w, "POST", FUNCTIONS "/g/invocations", "{}", 404, "ResourceNotFoundException", NULL);
    expect(w, "POST", FUNCTIONS "/f/invocations", "{", 400, "InvalidRequestContentException", NULL);
    w->extra_name = "x-amz-invocation-type";
    w->extra_value = "DryRun";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 204, NULL, NULL);
    w->extra_value = "Sometime";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 400, "InvalidParameterValueException",
        "'Sometime'");
    w->extra_value = "Event";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 202, NULL, NULL);
    memset(big, ' ', LAMBDA_PAYLOAD_ASYNC_MAX + 2);
    memcpy(big, "{}", 2);
    big[LAMBDA_PAYLOAD_ASYNC_MAX + 1] = '\0';
    expect(w, "POST", FUNCTIONS "/f/invocations", big, 413, "RequestTooLargeException", NULL);
    w->extra_name = "x-amz-log-type";
    w->extra_value = "All";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 400, "InvalidParameterValueException",
        "'All'");
    free(big);
}

static void
reserved_concurrency_is_kept_and_keeps_calls_out(void **state)
{
    struct world *w = *state;
    json_t *body;

    w->service = "lambda";
    put_function(w);
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency",
        "{\"ReservedConcurrentExecutions\":901}", 400, "InvalidParameterValueException", "[100]");
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency", "{}", 400,
        "InvalidParameterValueException", NULL);
    expect(w, "PUT", "/2017-10-31/functions/g/concurrency", "{\"ReservedConcurrentExecutions\":1}",
        404, "ResourceNotFoundException", NULL);
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency", "{\"ReservedConcurrentExecutions\":0}",
        200, NULL, NULL);
    expect_ok(w, "GET", "/2019-09-30/functions/f/concurrency", "");
    body = w->reply.json;
    assert_int_equal(json_integer_value(json_object_get(body, "ReservedConcurrentExecutions")), 0);
    expect_ok(w, "GET", FUNCTIONS "/f", "");
    body = w->reply.json;
    assert_true(json_is_integer(
        json_object_get(json_object_get(body, "Concurrency"), "ReservedConcurrentExecutions")));
    assert_null(
        json_object_get(json_object_get(body, "Configuration"), "ReservedConcurrentExecutions"));
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 429, "TooManyRequestsException",
        "Rate Exceeded");
    expect(w, "DELETE", "/2017-10-31/functions/f/concurrency", "", 204, NULL, NULL);
    expect_ok(w, "GET", "/2019-09-30/functions/f/concurrency", "");
    body = w->reply.json;
    assert_null(json_object_get(body, "ReservedConcurrentExecutions"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CLAIM(function_is_found_by_name_and_arn),
        CLAIM(function_settings_not_built_are_refused),
        CLAIM(permissions_are_statements),
        CLAIM(invocation_kinds_and_limits),
        CLAIM(reserved_concurrency_is_kept_and_keeps_calls_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
