/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/rules: the SQL that is built, the payload's checks, what a message causes. */
#include "rules/rules.h"
#include "rules/sql.h"

#include "lambda_world.h"

#define LAMBDA_ARN(name) "arn:aws:lambda:us-east-1:000000000000:function:" name
#define ACTION(name) "{\"lambda\":{\"functionArn\":\"" LAMBDA_ARN(name) "\"}}"
#define RULE(filter, action) "{\"sql\":\"SELECT * FROM '" filter "'\",\"actions\":[" action "]}"

/* ---- SQL ---- */

static void
select_star_from_a_filter_is_all_that_is_built(void **state)
{
    static const struct {
        const char *sql;
        const char *filter; /* NULL: refused */
        const char *says;
    } cases[] = {
        { "SELECT * FROM 'a/b'", "a/b", NULL },
        { "select*from'a'", "a", NULL },
        { " SeLeCt\t*\r\nfrom \"a/+/#\"  ", "a/+/#", NULL },
        { "SELECT * FROM '$aws/events/certificates/registered/+'",
            "$aws/events/certificates/registered/+", NULL },
        { "SELECT * FROM \"it's\"", "it's", NULL },
        { "", NULL, "SQL ends at character 1 where SELECT must be" },
        { "DELETE FROM 'a'", NULL, "SQL, character 1: 'DELETE' where SELECT must be" },
        { "SELECTED * FROM 'a'", NULL, "character 1: 'SELECTED'" },
        { "SELECT temp FROM 'a'", NULL, "SQL, character 8: 'temp' where '*'" },
        { "SELECT *, topic() AS t FROM 'a'", NULL, "SQL, character 9: ',' where FROM" },
        { "SELECT *", NULL, "SQL ends at character 9 where FROM must be" },
        { "SELECT * FROM a/b", NULL, "SQL, character 15: 'a' where a quoted topic filter" },
        { "SELECT * FROM 'a", NULL, "SQL, character 15: the quote is not closed" },
        { "SELECT * FROM 'a\"", NULL, "the quote is not closed" },
        { "SELECT * FROM ''", NULL, "is no topic filter" },
        { "SELECT * FROM 'a/#/b'", NULL, "'a/#/b' is no topic filter" },
        { "SELECT * FROM 'a+/b'", NULL, "is no topic filter" },
        { "SELECT * FROM 'a' WHERE x = 1", NULL,
            "SQL, character 19: 'WHERE' where the end (WHERE is not built) must be" },
        { "SELECT * FROM 'a';", NULL, "SQL, character 18: ';' where the end must be" },
        { "SELECT * FROM 'a' 'b'", NULL, "where the end must be" },
        { "SELECT * FROM 'a' -- note", NULL, "SQL, character 19: '-'" },
        { "SELECT \xc3\xa4 FROM 'a'", NULL, "SQL, character 8: '?' where" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf filter = { 0 };
        struct bm_msg msg = { 0 };
        enum bm_err err = sql_parse(span_str(cases[i].sql), &filter, &msg);

        if (err != (cases[i].filter != NULL ? BM_OK : BM_ERR_PROTO))
            fail_msg("%s: %s: %s", cases[i].sql, bm_err_name(err), msg.text);
        if (cases[i].filter != NULL) {
            assert_string_equal(buf_cstr(&filter), cases[i].filter);
        } else {
            assert_contains(msg.text, cases[i].says);
            assert_int_equal(filter.len, 0);
        }
        buf_fini(&filter);
    }
}

static void
statement_with_a_zero_byte_is_refused(void **state)
{
    static const char sql[] = "SELECT * FROM 'a\0b'";
    struct buf filter = { 0 };

    (void)state;
    assert_int_equal(sql_parse(span_of(sql, sizeof sql - 1), &filter, NULL), BM_ERR_PROTO);
    buf_fini(&filter);
}

/* ---- rules in a world ---- */

struct rules_world {
    struct rules *rules;
    int changes;
};

static void
on_changed(void *arg)
{
    struct rules_world *rw = arg;

    rw->changes++;
}

static int
rules_world_open(void **state)
{
    struct rules_world *rw = calloc(1, sizeof *rw);
    struct rules_options o = {
        .region = "us-east-1", .account = "000000000000", .changed = on_changed, .changed_arg = rw
    };
    struct world *w;

    assert_int_equal(world_open(state), 0);
    w = *state;
    w->extra = rw;
    o.registry = w->registry;
    o.lambda = w->lambda;
    assert_int_equal(rules_open(&o, &rw->rules, NULL), BM_OK);
    return 0;
}

static int
rules_world_close(void **state)
{
    struct rules_world *rw = ((struct world *)*state)->extra;

    rules_close(rw->rules);
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
        { "{\"sql\":\"SELECT a FROM 'a'\",\"actions\":[]}", BM_ERR_PROTO, "character 8" },
        { "{\"actions\":[]}", BM_ERR_INPUT, "needs 'sql'" },
        { "{\"sql\":\"SELECT * FROM 'a'\"}", BM_ERR_INPUT, "needs 'actions'" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"awsIotSqlVersion\":\"2017-01-01\"}",
            BM_ERR_INPUT, "'2017-01-01' is none of" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"ruleDisabled\":\"no\"}", BM_ERR_INPUT,
            "ruleDisabled" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"surprise\":1}", BM_ERR_INPUT,
            "'surprise'" },
        { "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[],\"errorAction\":{}}", BM_ERR_INPUT,
            "errorAction is not built" },
        { RULE("a", "{\"sqs\":{\"queueUrl\":\"x\"}}"), BM_ERR_INPUT,
            "the action 'sqs' is not built here; built is: lambda" },
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
    struct rules_message m = { span_str(topic), span_str(payload), span_str("client"), cert };

    rules_evaluate(rules_of(w), &m);
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
        "    open(os.environ['HOME'] + '/seen', 'a').write(json.dumps(e))\n");
    permit(w, "f", "r");
    add_rule(w, "r", RULE("$aws/events/certificates/registered/+", ACTION("f")));
    send(w, "$aws/events/certificates/registered/ca", event);
    send(w, "$aws/events/certificates/registered", event);
    send(w, "$aws/events/certificates/registered/ca/x", event);
    assert_int_equal(waiting(w), 1);
    UNTIL(w, nothing_waits);
    (void)snprintf(path, sizeof path, "%s/functions/home/seen", w->dir);
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
    assert_int_equal(c.count, 2);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, rules_world_open, rules_world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_star_from_a_filter_is_all_that_is_built),
        cmocka_unit_test(statement_with_a_zero_byte_is_refused),
        TEST(payload_is_checked_when_the_rule_is_made),
        TEST(matching_message_reaches_the_function_as_it_is),
        TEST(without_permission_nothing_runs_and_the_record_has_the_command),
        TEST(action_that_cannot_run_is_recorded_and_the_next_one_runs),
        TEST(disabled_rules_do_not_run_and_changes_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
