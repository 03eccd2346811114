/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/rules: the payload's checks, what a message causes. The SQL: test_sql.c. */
#include "http/http.h"
#include "rules/rules.h"

#include "lambda_world.h"

#include <jansson.h>

#define LAMBDA_ARN(name) "arn:aws:lambda:us-east-1:000000000000:function:" name
#define ACTION(name) "{\"lambda\":{\"functionArn\":\"" LAMBDA_ARN(name) "\"}}"
#define RULE(filter, action) "{\"sql\":\"SELECT * FROM '" filter "'\",\"actions\":[" action "]}"

/* ---- rules in a world ---- */

struct rules_world {
    struct rules *rules;
    int changes;
    int published; /* by rules */
    bool broker_down;
    struct buf last; /* topic, newline, payload of the last one */
    int last_qos;
    bool last_durable;
    /* a server for the http action */
    struct http_server *server;
    unsigned status;
    int requests;
    struct buf request;   /* path, header X-Device, body of the last one */
    char destination[40]; /* whose confirmation is to fail */
};

static enum bm_err
on_publish(void *arg, struct span topic, struct span payload, int qos, bool durable)
{
    struct rules_world *rw = arg;

    rw->last_durable = durable;
    if (rw->broker_down)
        return BM_ERR_IO;
    rw->published++;
    rw->last_qos = qos;
    rw->last.len = 0;
    buf_addf(&rw->last, "%.*s\n%.*s", (int)topic.len, (const char *)topic.ptr, (int)payload.len,
        (const char *)payload.ptr);
    return BM_OK;
}

static void
on_request(void *arg, struct http_request *rq)
{
    struct rules_world *rw = arg;
    struct span body = http_body(rq);
    const char *device = http_header(rq, "X-Device");

    rw->requests++;
    rw->request.len = 0;
    buf_addf(&rw->request, "%s %s %s %.*s", http_method(rq), http_path(rq),
        device != NULL ? device : "-", (int)body.len, (const char *)body.ptr);
    http_reply(rq, rw->status, NULL, span_str(""));
}

static void
on_changed(void *arg)
{
    struct rules_world *rw = arg;

    rw->changes++;
}

static void
open_rules(struct world *w)
{
    struct rules_world *rw = w->extra;
    struct rules_options o = { .loop = w->loop,
        .registry = w->registry,
        .lambda = w->lambda,
        .region = "us-east-1",
        .account = "000000000000",
        .publish = on_publish,
        .publish_arg = rw,
        .changed = on_changed,
        .changed_arg = rw };

    assert_int_equal(rules_open(&o, &rw->rules, NULL), BM_OK);
}

static int
rules_world_open(void **state)
{
    struct rules_world *rw = calloc(1, sizeof *rw);
    struct world *w;

    assert_int_equal(world_open(state), 0);
    w = *state;
    w->extra = rw;
    rw->status = 200;
    open_rules(w);
    return 0;
}

static int
rules_world_close(void **state)
{
    struct rules_world *rw = ((struct world *)*state)->extra;

    rules_close(rw->rules);
    http_close(rw->server);
    buf_fini(&rw->last);
    buf_fini(&rw->request);
    free(rw);
    return world_close(state);
}

static struct rules *
rules_of(struct world *w)
{
    return ((struct rules_world *)w->extra)->rules;
}

static void
payload_is_checked_when_the_rule_is_made(void **state)
{
    static const struct {
        const char *payload;
        enum bm_err err;
        const char *says;
    } cases[] = {
        { RULE("a", ACTION("f")), BM_OK, NULL },
        { RULE("a", ""), BM_OK, NULL },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"awsIotSqlVersion\":\"2016-03-23\","
          "\"description\":\"d\",\"ruleDisabled\":false}",
            BM_OK, NULL },
        { "{\"sql\":\"SELECT a FROM a\",\"actions\":[]}", BM_ERR_PROTO, "character 15" },
        { "{\"actions\":[]}", BM_ERR_INPUT, "needs 'sql'" },
        { "{\"sql\":\"SELECT * FROM 'a'\"}", BM_ERR_INPUT, "needs 'actions'" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"awsIotSqlVersion\":\"2017-01-01\"}",
            BM_ERR_INPUT, "'2017-01-01' is none of" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"ruleDisabled\":\"no\"}", BM_ERR_INPUT,
            "ruleDisabled" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"surprise\":1}", BM_ERR_INPUT,
            "'surprise'" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"errorAction\":{}}", BM_ERR_INPUT,
            "one member" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"errorAction\":{\"sns\":{}}}",
            BM_ERR_INPUT, "'sns' is not built" },
        { RULE("a", "{\"republish\":{\"topic\":\"b\"}}"), BM_ERR_INPUT, "needs a roleArn" },
        { RULE("a", "{\"republish\":{\"roleArn\":\"r\"}}"), BM_ERR_INPUT, "needs 'topic'" },
        { RULE("a", "{\"republish\":{\"roleArn\":\"r\",\"topic\":\"b\",\"qos\":2}}"), BM_ERR_INPUT,
            "qos is 0 or 1" },
        { RULE("a", "{\"republish\":{\"roleArn\":\"r\",\"topic\":\"${nosuch()}\"}}"), BM_ERR_PROTO,
            "there is no function nosuch()" },
        { RULE("a", "{\"republish\":{\"roleArn\":\"r\",\"topic\":\"${topic(1)}/b\"}}"), BM_OK,
            NULL },
        { RULE("a", "{\"http\":{}}"), BM_ERR_INPUT, "needs 'url'" },
        { RULE("a", "{\"http\":{\"url\":\"https://h/\",\"auth\":{}}}"), BM_ERR_INPUT,
            "auth of the http action" },
        { RULE("a", "{\"http\":{\"url\":\"https://h/\",\"headers\":[{\"key\":\"a b\"}]}}"),
            BM_ERR_INPUT, "a header needs 'key'" },
        { RULE("a", "{\"sqs\":{\"queueUrl\":\"x\"}}"), BM_ERR_INPUT,
            "the action 'sqs' is not built here; built are: lambda, republish, http" },
        { RULE("a", "{\"lambda\":{}}"), BM_ERR_INPUT, "needs a functionArn" },
        { RULE("a", "{}"), BM_ERR_INPUT, "one member" },
        { RULE("a", "7"), BM_ERR_INPUT, "one member" },
        { RULE("a", "{\"lambda\":{\"functionArn\":\"f\"}}"), BM_ERR_INPUT, "none of this cloud's" },
        { RULE("a", "{\"lambda\":{\"functionArn\":\"arn:aws:lambda:us-east-1:111111111111:function:"
                    "f\"}}"),
            BM_ERR_INPUT, "none of this cloud's" },
        { RULE("a", "{\"lambda\":{\"functionArn\":\"" LAMBDA_ARN("f:prod") "\"}}"), BM_ERR_INPUT,
            "aliases are not built" },
        { RULE("a",
              ACTION("f") "," ACTION("f") "," ACTION("f") "," ACTION("f") "," ACTION("f") "," ACTION(
                  "f") "," ACTION("f") "," ACTION("f") "," ACTION("f") "," ACTION("f") "," ACTION("f")),
            BM_ERR_INPUT, "11 actions" },
        { "[]", BM_ERR_INPUT, "no JSON object" },
        { "{\"sql\":", BM_ERR_INPUT, "no JSON object" },
        { "", BM_ERR_INPUT, "no JSON object" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf filter = { 0 };
        struct bm_msg msg = { 0 };
        bool disabled = true;
        enum bm_err err =
            rules_check(rules_of(w), span_str(cases[i].payload), &filter, &disabled, &msg);

        if (err != cases[i].err)
            fail_msg("%s: %s: %s", cases[i].payload, bm_err_name(err), msg.text);
        if (cases[i].says != NULL)
            assert_contains(msg.text, cases[i].says);
        else
            assert_false(disabled);
        buf_fini(&filter);
    }
}

static void
add_rule(struct world *w, const char *name, const char *payload)
{
    struct buf filter = { 0 };
    struct bm_msg msg = { 0 };
    bool disabled;

    if (rules_check(rules_of(w), span_str(payload), &filter, &disabled, &msg) != BM_OK ||
        registry_rule_create(w->registry, name, disabled, span_str(payload), &msg) != BM_OK ||
        rules_reload(rules_of(w), &msg) != BM_OK)
        fail_msg("%s", msg.text);
    buf_fini(&filter);
}

static void
permit(struct world *w, const char *function, const char *rule)
{
    struct registry_function f = { 0 };

    assert_int_equal(registry_function_get(w->registry, function, &f, NULL), BM_OK);
    f.permissions.len = 0;
    buf_addf(&f.permissions,
        "[{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"iot.amazonaws.com\"},"
        "\"Action\":\"lambda:InvokeFunction\",\"Resource\":\"%s\",\"Condition\":{\"ArnLike\":{"
        "\"AWS:SourceArn\":\"arn:aws:iot:us-east-1:000000000000:rule/%s\"}}}]",
        LAMBDA_ARN("f"), rule);
    assert_int_equal(registry_function_replace(w->registry, &f, NULL), BM_OK);
    registry_function_fini(&f);
}

static const uint8_t cert[REGISTRY_ID_LEN] = { 0xce, 0x47 };

static void
send(struct world *w, const char *topic, const char *payload)
{
    struct rules_message m = { span_str(topic), span_str(payload), span_str("client"), cert,
        false };

    assert_true(rules_evaluate(rules_of(w), &m));
    assert_int_equal(registry_commit(w->registry, NULL), BM_OK);
}

static void
matching_message_reaches_the_function_as_it_is(void **state)
{
    static const char event[] = "{\"certificateId\" : \"aa\", \"timestamp\": 1.50}";
    struct world *w = *state;
    struct record_count c;
    struct buf seen = { 0 };
    char path[128];

    create_python(w, "f",
        "import os, json\n"
        "def handler(e, c):\n"
        "    open(os.environ['KEEP'] + '/seen', 'a').write(json.dumps(e))\n");
    permit(w, "f", "r");
    add_rule(w, "r", RULE("$aws/events/certificates/registered/+", ACTION("f")));
    send(w, "$aws/events/certificates/registered/ca", event);
    send(w, "$aws/events/certificates/registered", event);
    send(w, "$aws/events/certificates/registered/ca/x", event);
    assert_int_equal(waiting(w), 1);
    UNTIL(w, nothing_waits);
    (void)snprintf(path, sizeof path, "%s/keep/seen", w->dir);
    assert_int_equal(file_read(path, 1000, &seen, NULL), BM_OK);
    assert_string_equal(buf_cstr(&seen), "{\"certificateId\": \"aa\", \"timestamp\": 1.5}");
    buf_fini(&seen);
    c = records(w, CAUSE_RULE_MATCHED);
    assert_int_equal(c.count, 1);
    assert_memory_equal(c.last.cert_id, cert, sizeof cert);
    assert_string_equal(c.last.client_id, "client");
    assert_contains(c.last.facts, "rule=r");
    assert_int_equal(records(w, CAUSE_RULE_FAILED).count, 0);
    c = records(w, CAUSE_FUNCTION_SUCCEEDED);
    assert_int_equal(c.count, 1);
    assert_memory_equal(c.last.cert_id, cert, sizeof cert);
}

static void
without_permission_nothing_runs_and_the_record_has_the_command(void **state)
{
    struct world *w = *state;
    struct record_count c;

    create_python(w, "f", "def handler(e, c): pass\n");
    permit(w, "f", "another_rule");
    add_rule(w, "r", RULE("a", ACTION("f")));
    send(w, "a", "{}");
    assert_int_equal(waiting(w), 0);
    c = records(w, CAUSE_RULE_FAILED);
    assert_int_equal(c.count, 1);
    assert_contains(c.last.facts,
        "aws lambda add-permission --function-name f --statement-id iot --action "
        "lambda:InvokeFunction --principal iot.amazonaws.com --source-arn "
        "arn:aws:iot:us-east-1:000000000000:rule/r\"");
}

static void
action_that_cannot_run_is_recorded_and_the_next_one_runs(void **state)
{
    struct world *w = *state;
    struct record_count c;

    create_python(w, "f", "def handler(e, c): pass\n");
    permit(w, "f", "*");
    add_rule(w, "r", RULE("a", ACTION("missing") "," ACTION("f")));
    send(w, "a", "{}");
    assert_int_equal(waiting(w), 1);
    c = records(w, CAUSE_RULE_FAILED);
    assert_int_equal(c.count, 1);
    assert_contains(c.last.facts, "function=missing");
    assert_contains(c.last.facts, "does not exist");
    send(w, "a", "not JSON");
    assert_int_equal(waiting(w), 1);
    c = records(w, CAUSE_RULE_FAILED);
    assert_int_equal(c.count, 3);
    assert_contains(c.last.facts, "not JSON");
}

static void
disabled_rules_do_not_run_and_changes_are_told(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    static const char payload[] = RULE("b/#", "");

    add_rule(w, "r1", RULE("a", ""));
    add_rule(w, "r2", payload);
    assert_int_equal(rw->changes, 2);
    assert_int_equal(rules_filter_count(rw->rules), 2);
    assert_string_equal(rules_filter(rw->rules, 0), "a");
    assert_string_equal(rules_filter(rw->rules, 1), "b/#");
    assert_int_equal(rules_reload(rw->rules, NULL), BM_OK);
    assert_int_equal(rw->changes, 2); /* the same set again */
    assert_int_equal(
        registry_rule_replace(w->registry, "r2", true, span_str(payload), NULL), BM_OK);
    assert_int_equal(rules_reload(rw->rules, NULL), BM_OK);
    assert_int_equal(rw->changes, 3);
    assert_int_equal(rules_filter_count(rw->rules), 1);
    send(w, "b/c", "{}");
    assert_int_equal(records(w, CAUSE_RULE_MATCHED).count, 0);
    send(w, "a", "{}");
    assert_int_equal(records(w, CAUSE_RULE_MATCHED).count, 1);
}

/* ---- republish ---- */

#define SQL_RULE(sql, action, more)                                                                \
    "{\"sql\":\"" sql "\",\"awsIotSqlVersion\":\"2016-03-23\",\"actions\":[" action "]" more "}"
#define REPUBLISH(topic) "{\"republish\":{\"roleArn\":\"r\",\"topic\":\"" topic "\",\"qos\":1}}"

static void
basic_ingest_runs_the_named_rule_only(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    add_rule(w, "one", RULE("a/+", REPUBLISH("out/${topic()}")));
    add_rule(w, "two", RULE("b/#", REPUBLISH("wrong")));
    send(w, "$aws/rules/one/b/c", "{}");
    assert_int_equal(rw->published, 1);
    assert_string_equal(buf_cstr(&rw->last), "out/b/c\n{}");
    send(w, "$aws/rules/one", "{}"); /* nothing behind the name */
    assert_int_equal(rw->published, 2);
    assert_string_equal(buf_cstr(&rw->last), "out/\n{}");
    send(w, "$aws/rules/on/b", "{}");
    send(w, "$aws/rules/one2/b", "{}");
    send(w, "$aws/rules//b", "{}");
    assert_int_equal(rw->published, 2);
}

static void
rule_without_from_is_for_basic_ingest_only(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    add_rule(w, "bare", SQL_RULE("SELECT temp WHERE temp > 20", REPUBLISH("hot"), ""));
    assert_int_equal(rules_filter_count(rw->rules), 0);
    send(w, "a", "{\"temp\": 21}");
    assert_int_equal(rw->published, 0);
    send(w, "$aws/rules/bare/a", "{\"temp\": 20}");
    assert_int_equal(rw->published, 0);
    send(w, "$aws/rules/bare/a", "{\"temp\": 21}");
    assert_int_equal(rw->published, 1);
    assert_string_equal(buf_cstr(&rw->last), "hot\n{\"temp\":21}");
}

static void
republish_sends_what_select_made_and_other_rules_see_it(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct rules_count count;

    add_rule(w, "r1",
        SQL_RULE("SELECT temp, topic(2) AS device FROM 'dt/+/data' WHERE temp > 20",
            REPUBLISH("hot/${topic(2)}"), ""));
    add_rule(
        w, "r2", SQL_RULE("SELECT * FROM 'hot/+'", REPUBLISH("$$aws/things/x/shadow/update"), ""));
    send(w, "dt/7/data", "{\"temp\": 10}");
    assert_int_equal(rw->published, 0);
    send(w, "dt/7/data", "{\"temp\": 21.5, \"more\": 1}");
    assert_int_equal(rw->published, 2);
    assert_int_equal(rw->last_qos, 1);
    assert_string_equal(
        buf_cstr(&rw->last), "$aws/things/x/shadow/update\n{\"temp\":21.5,\"device\":\"7\"}");
    assert_true(rules_count_of(rw->rules, "r1", &count));
    assert_int_equal(count.matched, 1);
    assert_int_equal(count.failed, 0);
    assert_true(count.last_matched_ms > 0);
    assert_false(rules_count_of(rw->rules, "r3", &count));
}

/* Of a message that is acknowledged, and of what it causes: not with QoS 0. */
static void
what_is_republished_of_a_durable_message_is_stored_or_it_is_handed_in_again(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct rules_message m = { span_str("a"), span_str("{}"), span_str("client"), cert, true };

    add_rule(w, "r", SQL_RULE("SELECT * FROM 'a'", REPUBLISH("b"), ""));
    assert_true(rules_evaluate(rw->rules, &m));
    assert_true(rw->last_durable);
    rw->broker_down = true; /* of a durable one: the registry */
    assert_false(rules_evaluate(rw->rules, &m));
    rw->broker_down = false;
    add_rule(w, "r2", SQL_RULE("SELECT * FROM 'b'", REPUBLISH("c"), ""));
    assert_true(rules_evaluate(rw->rules, &m));
    assert_memory_equal(rw->last.ptr, "c\n", 2);
    assert_true(rw->last_durable);
    add_rule(w, "r3",
        SQL_RULE("SELECT * FROM 'c'", "{\"republish\":{\"roleArn\":\"r\",\"topic\":\"d\"}}", ""));
    assert_true(rules_evaluate(rw->rules, &m));
    assert_memory_equal(rw->last.ptr, "d\n", 2);
    assert_false(rw->last_durable);
    m.durable = false;
    m.topic = span_str("b");
    rw->broker_down = true;
    assert_true(rules_evaluate(rw->rules, &m)); /* at most once, as what caused it */
}

static void
rules_that_feed_each_other_end(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct rules_count count;

    add_rule(w, "r", SQL_RULE("SELECT * FROM 'a/#'", REPUBLISH("a/b"), ""));
    send(w, "a/x", "{}");
    assert_int_equal(rw->published, 8);
    assert_true(rules_count_of(rw->rules, "r", &count));
    assert_int_equal(count.failed, 1);
    assert_contains(records(w, CAUSE_RULE_FAILED).last.facts, "do rules feed each other");
}

static void
failures_of_one_message_reach_the_error_action_together(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    json_t *m;
    char *payload;

    add_rule(w, "r",
        SQL_RULE("SELECT * FROM 'a'",
            ACTION("missing") "," REPUBLISH("bad/+") "," REPUBLISH("$$aws/things/x/jobs/y/update"),
            ",\"errorAction\":" REPUBLISH("errors/${topic()}")));
    send(w, "a", "{\"x\":1}");
    assert_int_equal(rw->published, 1);
    payload = strchr(buf_cstr(&rw->last), '\n') + 1;
    assert_memory_equal(rw->last.ptr, "errors/a\n", 9);
    m = json_loads(payload, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(m, "ruleName")), "r");
    assert_string_equal(json_string_value(json_object_get(m, "topic")), "a");
    assert_string_equal(json_string_value(json_object_get(m, "clientId")), "client");
    assert_string_equal(
        json_string_value(json_object_get(m, "base64OriginalPayload")), "eyJ4IjoxfQ==");
    assert_int_equal(json_array_size(json_object_get(m, "failures")), 3);
    json_decref(m);
    /* the error action's own failure ends there */
    rw->broker_down = true;
    send(w, "a", "{\"x\":1}");
    assert_int_equal(rw->published, 1);
}

static void
binary_message_fails_where_the_statement_reads_a_name(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    add_rule(w, "r1", SQL_RULE("SELECT x FROM 'a'", REPUBLISH("b"), ""));
    send(w, "a", "not JSON");
    assert_int_equal(rw->published, 0);
    assert_contains(records(w, CAUSE_RULE_FAILED).last.facts, "the message is no JSON");
    add_rule(w, "r2", SQL_RULE("SELECT encode(*, 'base64') AS d FROM 'a'", REPUBLISH("b"), ""));
    send(w, "a", "not JSON");
    assert_int_equal(rw->published, 1);
    assert_string_equal(buf_cstr(&rw->last), "b\n{\"d\":\"bm90IEpTT04=\"}");
}

/* ---- aws_lambda() ---- */

static bool
was_published(struct world *w)
{
    return ((struct rules_world *)w->extra)->published > 0;
}

static void
function_in_the_statement_answers_and_the_rule_goes_on(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    create_python(w, "f", "def handler(e, c):\n    return {'double': e['n'] * 2}\n");
    permit(w, "f", "r");
    add_rule(w, "r",
        SQL_RULE("SELECT n, aws_lambda('" LAMBDA_ARN("f") "', {'n': n}).double AS d FROM 'a/+'",
            REPUBLISH("b/${topic(2)}"), ",\"errorAction\":" REPUBLISH("errors")));
    send(w, "a/7", "{\"n\":21}");
    assert_int_equal(rw->published, 0);
    UNTIL(w, was_published);
    assert_string_equal(buf_cstr(&rw->last), "b/7\n{\"n\":21,\"d\":42}");
}

static void
function_in_the_statement_that_fails_is_an_error(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    create_python(w, "f", "def handler(e, c):\n    raise Exception('no')\n");
    permit(w, "f", "r");
    add_rule(w, "r",
        SQL_RULE("SELECT * FROM 'a' WHERE aws_lambda('" LAMBDA_ARN("f") "', *)", REPUBLISH("b"),
            ",\"errorAction\":" REPUBLISH("errors")));
    send(w, "a", "{}");
    UNTIL(w, was_published);
    assert_memory_equal(rw->last.ptr, "errors\n", 7);
    assert_contains(buf_cstr(&rw->last), "the function failed");
    /* without permission it is not even asked */
    add_rule(w, "other",
        SQL_RULE("SELECT * FROM 'c' WHERE aws_lambda('" LAMBDA_ARN("f") "', *)", REPUBLISH("b"),
            ",\"errorAction\":" REPUBLISH("errors")));
    send(w, "c", "{}");
    assert_contains(buf_cstr(&rw->last), "aws lambda add-permission");
}

static void
function_in_the_statement_that_is_late_is_an_error(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;

    create_python(w, "f", "import time\ndef handler(e, c):\n    time.sleep(20)\n");
    permit(w, "f", "r");
    add_rule(w, "r",
        SQL_RULE("SELECT aws_lambda('" LAMBDA_ARN("f") "', *) AS a FROM 'a'", REPUBLISH("b"),
            ",\"errorAction\":" REPUBLISH("errors")));
    send(w, "a", "{}");
    UNTIL(w, was_published);
    assert_memory_equal(rw->last.ptr, "errors\n", 7);
    assert_contains(buf_cstr(&rw->last), "no answer to aws_lambda() within 2 s");
}

/* ---- http ---- */

static bool
was_requested(struct world *w)
{
    return ((struct rules_world *)w->extra)->requests > 0;
}

static void
serve(struct world *w, struct buf *rule, const char *path)
{
    struct rules_world *rw = w->extra;
    struct http_options o = {
        .loop = w->loop, .host = "127.0.0.1", .body_max = 65536, .handler = on_request, .arg = rw
    };

    if (rw->server == NULL)
        assert_int_equal(http_open(&o, &rw->server, NULL), BM_OK);
    buf_addf(rule,
        SQL_RULE("SELECT n FROM 'a/+'",
            "{\"http\":{\"url\":\"http://127.0.0.1:%u%s\",\"headers\":[{\"key\":\"X-Device\","
            "\"value\":\"${topic(2)}\"}]}}",
            ",\"errorAction\":" REPUBLISH("errors")),
        http_port(rw->server), path);
}

static void
http_posts_the_result_with_its_headers(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct buf rule = { 0 };

    serve(w, &rule, "/in/${clientid()}");
    add_rule(w, "r", buf_cstr(&rule));
    send(w, "a/7", "{\"n\":1,\"m\":2}");
    UNTIL(w, was_requested);
    assert_string_equal(buf_cstr(&rw->request), "POST /in/client 7 {\"n\":1}");
    assert_int_equal(rw->published, 0);
    buf_fini(&rule);
}

static void
http_that_is_refused_reaches_the_error_action(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct buf rule = { 0 };

    rw->status = 403;
    serve(w, &rule, "/");
    add_rule(w, "r", buf_cstr(&rule));
    send(w, "a/7", "{}");
    UNTIL(w, was_published);
    assert_contains(buf_cstr(&rw->last), "answer 403 after 1 attempts");
    assert_int_equal(rw->requests, 1);
    /* a value that would be a header more is not sent */
    rw->published = 0;
    buf_fini(&rule);
    serve(w, &rule, "/");
    add_rule(w, "r2",
        SQL_RULE("SELECT * FROM 'c'",
            "{\"http\":{\"url\":\"http://127.0.0.1:1/\",\"headers\":[{\"key\":\"a\",\"value\":"
            "\"${x}\"}]}}",
            ",\"errorAction\":" REPUBLISH("errors")));
    send(w, "c", "{\"x\":\"1\\r\\nb: 2\"}");
    assert_contains(buf_cstr(&rw->last), "has a line end");
    buf_fini(&rule);
}

/* ---- destinations ---- */

/* The server by an address that is not loopback, though it is this machine. */
static void
serve_afar(struct world *w, const char *path, char url[128])
{
    struct rules_world *rw = w->extra;
    struct http_options o = {
        .loop = w->loop, .host = "127.0.0.1", .body_max = 65536, .handler = on_request, .arg = rw
    };

    if (rw->server == NULL)
        assert_int_equal(http_open(&o, &rw->server, NULL), BM_OK);
    (void)snprintf(url, 128, "http://0.0.0.0:%u%s", http_port(rw->server), path);
}

static void
set_status(struct world *w, const char *id, enum destination_status status)
{
    assert_int_equal(registry_destination_set_status(w->registry, id, status, "", NULL), BM_OK);
    assert_int_equal(rules_reload(rules_of(w), NULL), BM_OK);
}

static bool
confirmation_failed(struct world *w)
{
    struct rules_world *rw = w->extra;
    struct registry_destination d;

    return registry_destination_get(w->registry, rw->destination, &d, NULL) == BM_OK &&
           d.status == DESTINATION_ERROR;
}

static void
http_beyond_loopback_waits_for_the_receiver_s_consent(void **state)
{
    struct world *w = *state;
    struct rules_world *rw = w->extra;
    struct registry_destination d;
    struct bm_msg msg = { 0 };
    char base[128];
    char url[128];
    char rule[512];
    char want[128];

    serve_afar(w, "/in", base);
    serve_afar(w, "/in/${topic(2)}?a=1", url);
    (void)snprintf(rule, sizeof rule,
        SQL_RULE("SELECT n FROM 'a/+'", "{\"http\":{\"url\":\"%s\",\"confirmationUrl\":\"%s\"}}",
            ",\"errorAction\":" REPUBLISH("errors")),
        url, base);
    add_rule(w, "r", rule);
    send(w, "a/7", "{\"n\":1}");
    assert_contains(buf_cstr(&rw->last), "no topic rule destination");
    assert_int_equal(rules_make_destinations(rules_of(w), span_str(rule), &msg), BM_OK);
    assert_int_equal(rules_make_destinations(rules_of(w), span_str(rule), &msg), BM_OK); /* once */
    assert_int_equal(registry_destination_of_url(w->registry, base, &d, &msg), BM_OK);
    assert_int_equal(strlen(d.token), DESTINATION_TOKEN_LEN);
    assert_int_equal(rules_reload(rules_of(w), &msg), BM_OK);
    assert_int_equal(rules_set_endpoint(rules_of(w), "http://api:1", &msg), BM_OK);
    UNTIL(w, was_requested);
    assert_contains(buf_cstr(&rw->request),
        "POST /in/ - {\"arn\":\"arn:aws:iot:us-east-1:000000000000:ruledestination/http/");
    assert_contains(buf_cstr(&rw->request), d.id);
    (void)snprintf(
        want, sizeof want, "\"enableUrl\":\"http://api:1/confirmdestination/%s\"", d.token);
    assert_contains(buf_cstr(&rw->request), want);
    assert_int_equal(rules_reload(rules_of(w), &msg), BM_OK); /* it is not sent again */
    send(w, "a/7", "{\"n\":1}");
    assert_contains(buf_cstr(&rw->last), "is IN_PROGRESS, not ENABLED");
    assert_int_equal(rw->requests, 1);
    /* the next start sends it again, with the same token */
    rules_close(rw->rules);
    open_rules(w);
    rw->requests = 0;
    assert_int_equal(rules_reload(rules_of(w), &msg), BM_OK);
    assert_int_equal(rules_set_endpoint(rules_of(w), "http://api:1", &msg), BM_OK);
    UNTIL(w, was_requested);
    assert_contains(buf_cstr(&rw->request), want);
    set_status(w, d.id, DESTINATION_ENABLED);
    rw->requests = 0;
    send(w, "a/7", "{\"n\":1}");
    UNTIL(w, was_requested);
    assert_string_equal(buf_cstr(&rw->request), "POST /in/7 - {\"n\":1}");
    assert_int_equal(/* what is used up finds nothing */
        registry_destination_of_token(w->registry, "", &d, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_destination_of_url(w->registry, base, &d, &msg), BM_OK);
    assert_string_equal(d.token, "");
    set_status(w, d.id, DESTINATION_DISABLED);
    send(w, "a/7", "{\"n\":1}");
    assert_contains(buf_cstr(&rw->last), "is DISABLED, not ENABLED");
    assert_int_equal(rw->requests, 1);
    /* a refused confirmation is an error, and the token still counts */
    rw->status = 500;
    (void)snprintf(rw->destination, sizeof rw->destination, "%s", d.id);
    set_status(w, d.id, DESTINATION_IN_PROGRESS);
    UNTIL(w, confirmation_failed);
    assert_int_equal(registry_destination_get(w->registry, rw->destination, &d, &msg), BM_OK);
    assert_contains(d.reason, "answered 500");
    assert_int_equal(strlen(d.token), DESTINATION_TOKEN_LEN);
}

static void
a_destination_covers_what_its_url_begins_at_a_boundary(void **state)
{
    static const struct {
        const char *url;
        bool allowed;
    } cases[] = { { "https://h.example/a", true }, { "https://h.example/a/b", true },
        { "https://h.example/a?b", true }, { "https://h.example/ab", false },
        { "https://h.example", false }, { "https://h.example.org/a", false },
        { "http://h.example/a", false }, { "http://127.0.0.1:1/x", true },
        { "http://127.9.9.9/", true }, { "http://[::1]:8/", true }, { "http://localhost/", true },
        { "http://127.0.0.1.example/", false }, { "http://127.0.0.1@h.example/", false },
        { "http://[::2]/", false }, { "http://0.0.0.0/", false } };
    struct world *w = *state;
    struct registry_destination d = { .url = "https://h.example/a", .status = DESTINATION_ENABLED };

    assert_int_equal(registry_destination_create(w->registry, &d, NULL), BM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rules_world *rw = w->extra;
        char rule[512];
        char name[16];

        (void)snprintf(name, sizeof name, "r%zu", i);
        (void)snprintf(rule, sizeof rule,
            SQL_RULE("SELECT * FROM 'c'",
                "{\"http\":{\"url\":\"%s\",\"headers\":[{\"key\":\"a\",\"value\":\"${x}\"}]}}",
                ",\"errorAction\":" REPUBLISH("errors")),
            cases[i].url);
        add_rule(w, name, rule);
        /* what is allowed ends at the header, which no request can have */
        send(w, "c", "{\"x\":\"1\\r\\nb: 2\"}");
        if (strstr(buf_cstr(&rw->last),
                cases[i].allowed ? "has a line end" : "no topic rule destination") == NULL)
            fail_msg("%s: %s", cases[i].url, buf_cstr(&rw->last));
        assert_int_equal(registry_rule_delete(w->registry, name, NULL), BM_OK);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rules_world_open, rules_world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(payload_is_checked_when_the_rule_is_made),
        TEST(matching_message_reaches_the_function_as_it_is),
        TEST(basic_ingest_runs_the_named_rule_only),
        TEST(rule_without_from_is_for_basic_ingest_only),
        TEST(without_permission_nothing_runs_and_the_record_has_the_command),
        TEST(action_that_cannot_run_is_recorded_and_the_next_one_runs),
        TEST(disabled_rules_do_not_run_and_changes_are_told),
        TEST(republish_sends_what_select_made_and_other_rules_see_it),
        TEST(what_is_republished_of_a_durable_message_is_stored_or_it_is_handed_in_again),
        TEST(rules_that_feed_each_other_end),
        TEST(failures_of_one_message_reach_the_error_action_together),
        TEST(binary_message_fails_where_the_statement_reads_a_name),
        TEST(function_in_the_statement_answers_and_the_rule_goes_on),
        TEST(function_in_the_statement_that_fails_is_an_error),
        TEST(function_in_the_statement_that_is_late_is_an_error),
        TEST(http_posts_the_result_with_its_headers),
        TEST(http_that_is_refused_reaches_the_error_action),
        TEST(http_beyond_loopback_waits_for_the_receiver_s_consent),
        TEST(a_destination_covers_what_its_url_begins_at_a_boundary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
