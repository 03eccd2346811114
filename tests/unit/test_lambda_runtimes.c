/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the runtime clients for Python and Node.js, and of the sample with boto3. */
#include "http/http.h"

#include "lambda_world.h"

#include <signal.h>

static void
python_handler_gets_event_and_context(void **state)
{
    struct world *w = *state;
    const char *answer;

    create_python(w, "f",
        "import os, sys\n"
        "def handler(event, context):\n"
        "    print('hello from f')\n"
        "    return {'event': event, 'name': context.function_name, 'arn': "
        "context.invoked_function_arn, 'id': len(context.aws_request_id), 'left': 0 < "
        "context.get_remaining_time_in_millis() <= 30000, 'path': sys.path[0] == "
        "os.environ['LAMBDA_TASK_ROOT'], 'exec': os.environ['AWS_EXECUTION_ENV'], 'boto': "
        "'boto3' in sys.modules or 'botocore' in sys.modules}\n");
    answer = invoke(w, "f", "{\"a\":[1,\"\xc3\xa4\"]}");
    assert_string_equal(answer,
        "{\"event\": {\"a\": [1, \"\xc3\xa4\"]}, \"name\": \"f\", \"arn\": "
        "\"arn:aws:lambda:us-east-1:000000000000:function:f\", \"id\": 36, \"left\": true, "
        "\"path\": true, \"exec\": \"AWS_Lambda_python3.11\", \"boto\": false}");
    assert_string_equal(w->error, "");
    assert_contains((char *)w->tail.ptr, "hello from f\n");
}

static void
python_exception_is_reported_with_its_stack(void **state)
{
    struct world *w = *state;
    const char *answer;

    create_python(w, "f",
        "def inner():\n    raise KeyError('no such')\n"
        "def handler(event, context):\n    inner()\n");
    answer = invoke(w, "f", "{}");
    assert_string_equal(w->error, "Unhandled");
    assert_contains(answer, "\"errorType\": \"KeyError\"");
    assert_contains(answer, "'no such'");
    assert_contains(answer, "line 2, in inner");
    assert_null(strstr(answer, "bootstrap.py")); /* only what the author wrote */
}

static void
python_failures_have_names(void **state)
{
    static const struct {
        const char *code;
        const char *type;
        const char *message;
    } cases[] = {
        { "import sys\ndef handler(e, c):\n    sys.exit(3)\n", "Runtime.ExitError", "sys.exit(3)" },
        { "import nothing_like_it\n", "Runtime.ImportModuleError", "nothing_like_it" },
        { "def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error" },
        { "x = 1\n", "Runtime.HandlerNotFound", "'handler' missing" },
        { "1/0\n", "ZeroDivisionError", "division by zero" },
        { "def handler(e, c):\n    return {1, 2}\n", "Runtime.MarshalError", "set" },
        { "import os\ndef handler(e, c):\n    os._exit(4)\n", "Runtime.ExitError",
            "Runtime exited with error: exit status 4" },
        { "import os\ndef handler(e, c):\n    os._exit(0)\n", "Runtime.ExitError",
            "Runtime exited without providing a reason" },
        { "import os\ndef handler(e, c):\n    os.kill(os.getpid(), 9)\n", "Runtime.ExitError",
            "Runtime exited with error: signal: killed" },
        { "def handler(e, c):\n    return 'x' * 6500000\n", "Function.ResponseSizeTooLarge",
            "Response payload size exceeded" },
        { "def handler(e, c):\n    return 'x' * 9500000\n", "Function.ResponseSizeTooLarge",
            "it has 9500002" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer;

        create_python(w, "f", cases[i].code);
        lambda_forget(w->lambda, "f");
        answer = invoke(w, "f", "{}");
        assert_string_equal(w->error, "Unhandled");
        assert_contains(answer, cases[i].type);
        assert_contains(answer, cases[i].message);
    }
}

#define ID64 "aa11bb22cc33dd44aa11bb22cc33dd44aa11bb22cc33dd44aa11bb22cc33dd44"

struct calls {
    struct http_server *server;
    struct buf seen;
};

static void
on_api_call(void *arg, struct http_request *rq)
{
    struct calls *c = arg;

    buf_addf(&c->seen, "%s %s?%s\n", http_method(rq), http_path(rq), http_query(rq));
    http_reply(rq, 200, "application/json",
        span_str("{\"certificateDescription\":{\"status\":\"PENDING_ACTIVATION\"}}"));
}

static void
python_sample_activates_through_the_endpoint_from_the_environment(void **state)
{
    static const char event[] =
        "{\"certificateId\":\"" ID64 "\",\"awsAccountId\":\"000000000000\",\"timestamp\":1}";
    struct world *w = *state;
    struct calls c = { 0 };
    struct http_options ho = {
        .loop = w->loop, .host = "127.0.0.1", .body_max = 65536, .handler = on_api_call, .arg = &c
    };
    struct buf code = { 0 };
    char url[64];

    assert_int_equal(http_open(&ho, &c.server, NULL), BM_OK);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_port(c.server));
    lambda_set_endpoint(w->lambda, url);
    assert_int_equal(
        file_read(EXAMPLES "/jitr-activate/python/lambda_function.py", 65536, &code, NULL), BM_OK);
    create(w, "jitr",
        "{\"Runtime\":\"python3.11\",\"Handler\":\"lambda_function.lambda_handler\",\"Timeout\":"
        "60}",
        &(struct zip_file_in){ "lambda_function.py", S_IFREG | 0644, buf_cstr(&code) });
    assert_contains(invoke(w, "jitr", event), "\"status\": \"ACTIVE\"");
    assert_string_equal(buf_cstr(&c.seen), "GET /certificates/" ID64 "?\n"
                                           "POST /policies/jitr-device?\n"
                                           "PUT /target-policies/jitr-device?\n"
                                           "PUT /certificates/" ID64 "?newStatus=ACTIVE\n");
    lambda_forget(w->lambda, "jitr");
    http_close(c.server);
    buf_fini(&c.seen);
    buf_fini(&code);
}

#define NODE(handler) "{\"Runtime\":\"nodejs20.x\",\"Handler\":\"" handler "\",\"Timeout\":30}"

static bool
without_node(void)
{
    if (access("/usr/bin/node", X_OK) == 0)
        return false;
    print_message("skip - SKIPPED: there is no node on this machine\n");
    return true;
}

static void
node_handlers_of_every_form_answer(void **state)
{
    static const struct {
        const char *file;
        const char *code;
        const char *answer;
        const char *error;
    } cases[] = {
        { "index.js", "exports.handler = async (e, c) => ({ n: e.n + 1, name: c.functionName });",
            "{\"n\":8,\"name\":\"f\"}", "" },
        { "index.mjs", "export const handler = (e) => Promise.resolve([e.n]);", "[7]", "" },
        { "index.cjs", "exports.handler = (e, c, done) => setTimeout(() => done(null, 'late'), 5);",
            "\"late\"", "" },
        { "index.js", "exports.handler = () => {};", "null", "" },
        { "index.js", "exports.handler = (e, c, done) => done(new TypeError('no'));",
            "\"errorType\":\"TypeError\",\"errorMessage\":\"no\"", "Unhandled" },
        { "index.js", "exports.handler = async () => { throw 'text'; };",
            "\"errorMessage\":\"text\"", "Unhandled" },
        { "index.js",
            "exports.handler = async () => { setTimeout(() => { throw new Error('x'); }); "
            "await new Promise(() => {}); };",
            "Runtime.UncaughtException", "Unhandled" },
        { "index.js", "exports.other = 1;", "Runtime.HandlerNotFound", "Unhandled" },
        { "index.js", "require('nosuch');", "Runtime.ImportModuleError", "Unhandled" },
        { "index.js", "syntax error here", "Runtime.UserCodeSyntaxError", "Unhandled" },
    };
    struct world *w = *state;

    if (without_node())
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        create(w, "f", NODE("index.handler"),
            &(struct zip_file_in){ cases[i].file, S_IFREG | 0644, cases[i].code });
        assert_contains(invoke(w, "f", "{\"n\":7}"), cases[i].answer);
        assert_string_equal(w->error, cases[i].error);
        lambda_forget(w->lambda, "f");
        assert_int_equal(registry_function_delete(w->registry, "f", NULL), BM_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(python_handler_gets_event_and_context),
        IN_WORLD(python_exception_is_reported_with_its_stack),
        IN_WORLD(python_failures_have_names),
        IN_WORLD(node_handlers_of_every_form_answer),
        IN_WORLD(python_sample_activates_through_the_endpoint_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
