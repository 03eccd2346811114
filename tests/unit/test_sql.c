/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/sql: the table of cases (tests/vectors/sql), limits, templates, aws_lambda().
 */
#include "sql/sql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sql_message
message(const char *payload)
{
    return (struct sql_message){ .topic = span_str("things/myThings/thingOne"),
        .payload = span_str(payload),
        .client_id = span_str("device-7"),
        .principal = "ba67293af50bf2506f5f93469686da660c7c844e7b3950bfb16813e0d31e9373",
        .account = "123456789012",
        .trace_id = "12345678-1234-1234-1234-123456789012",
        .now_ms = 1481825251155 };
}

/* Run, with functions that answer {"echo": their input}. */
static enum bm_err
run(const struct sql *s, struct sql_message *m, bool *matched, struct buf *out, struct bm_msg *msg)
{
    enum bm_err err;

    while ((err = sql_run(s, m, matched, out, msg)) == BM_ERR_MORE) {
        struct sql_call *call = &m->calls[m->call_count - 1];

        assert_non_null(call->arn);
        call->answer = json_pack("{sO}", "echo", json_array_get(call->input, 1));
    }
    return err;
}

static const char *
text_of(json_t *line, const char *member)
{
    return json_string_value(json_object_get(line, member));
}

static bool
refusal_is_right(json_t *line, enum bm_err err, const struct bm_msg *msg)
{
    const char *refused = text_of(line, "refused");

    return refused != NULL ? err == BM_ERR_PROTO && strstr(msg->text, refused) != NULL
                           : err == BM_OK;
}

static bool
result_is_right(json_t *line, enum bm_err err, bool matched, struct buf *out)
{
    const char *want = text_of(line, "want");

    if (want == NULL)
        return err == BM_OK && !matched;
    if (strcmp(want, "BM_ERR_INPUT") == 0)
        return err == BM_ERR_INPUT;
    return err == BM_OK && matched && strcmp(buf_cstr(out), want) == 0;
}

static void
check_case(json_t *line)
{
    const char *version = text_of(line, "v");
    const char *hex = text_of(line, "payload_hex");
    const char *payload = text_of(line, "payload");
    struct sql_message m = message(payload != NULL ? payload : "{}");
    struct buf statement = { 0 };
    struct buf out = { 0 };
    struct bm_msg msg = { 0 };
    enum sql_version v = SQL_2016_03_23;
    uint8_t bytes[64];
    bool matched = true;
    struct sql *s;
    enum bm_err err;

    if (text_of(line, "e") != NULL)
        buf_addf(&statement, "SELECT VALUE %s FROM 'a/b'", text_of(line, "e"));
    else
        buf_addf(&statement, "%s", text_of(line, "sql"));
    if (hex != NULL) {
        assert_int_equal(hex_decode(bytes, strlen(hex) / 2, span_str(hex)), BM_OK);
        m.payload = span_of(bytes, strlen(hex) / 2);
    }
    assert_true(version == NULL || sql_version_of(version, &v));
    err = sql_parse(buf_span(&statement), v, &s, &msg);
    if (!refusal_is_right(line, err, &msg))
        fail_msg("%s: %s", buf_cstr(&statement), msg.text);
    if (err == BM_OK) {
        err = run(s, &m, &matched, &out, &msg);
        if (!result_is_right(line, err, matched, &out))
            fail_msg("%s: wanted %s, got %s (%s, %s)", buf_cstr(&statement), text_of(line, "want"),
                buf_cstr(&out), matched ? bm_err_name(err) : "no match", msg.text);
    }
    sql_free(s);
    sql_message_fini(&m);
    buf_fini(&statement);
    buf_fini(&out);
}

static void
every_case_of_the_table_has_its_result(void **state)
{
    FILE *f = fopen(SOURCE_DIR "/tests/vectors/sql/cases.jsonl", "r");
    char line[8192];
    size_t count = 0;

    (void)state;
    assert_non_null(f);
    for (; fgets(line, sizeof line, f) != NULL; count++) {
        json_t *c = json_loads(line, 0, NULL);

        assert_non_null(c);
        check_case(c);
        json_decref(c);
    }
    (void)fclose(f);
    assert_true(count >= 200);
}

/* ---- limits ---- */

static enum bm_err
evaluate(const char *statement, const char *payload, struct bm_msg *msg)
{
    struct sql_message m = message(payload);
    struct buf out = { 0 };
    bool matched;
    struct sql *s;
    enum bm_err err;

    err = sql_parse(span_str(statement), SQL_2016_03_23, &s, msg);
    assert_int_equal(err, BM_OK);
    err = sql_run(s, &m, &matched, &out, msg);
    assert_true(out.len <= 2 * SQL_RESULT_MAX);
    sql_free(s);
    sql_message_fini(&m);
    buf_fini(&out);
    return err;
}

static void
evaluation_is_bounded(void **state)
{
    struct buf sql = { 0 };
    struct bm_msg msg;

    (void)state;
    /* 1000 times 1000 times ... characters */
    buf_addf(&sql, "SELECT ");
    for (int i = 0; i < 12; i++)
        buf_addf(&sql, "replace(");
    buf_addf(&sql, "'aaaaaaaaaa'");
    for (int i = 0; i < 12; i++)
        buf_addf(&sql, ", 'a', 'aaaaaaaaaa')");
    buf_addf(&sql, " AS x FROM 'a'");
    assert_int_equal(evaluate(buf_cstr(&sql), "{}", &msg), BM_ERR_LIMIT);
    sql.len = 0;
    /* a loop in a loop in a loop over literals */
    buf_addf(&sql, "SELECT (SELECT VALUE (SELECT VALUE (SELECT VALUE (SELECT VALUE 1 FROM ");
    for (int level = 0; level < 4; level++) {
        buf_addf(&sql, "[1");
        for (int i = 0; i < 60; i++)
            buf_addf(&sql, ",1");
        buf_addf(&sql, "]) %s", level < 3 ? "FROM " : "AS x FROM 'a'");
    }
    assert_int_equal(evaluate(buf_cstr(&sql), "{}", &msg), BM_ERR_LIMIT);
    /* a pattern that backtracks for ever is Undefined, soon */
    assert_int_equal(
        evaluate("SELECT regexp_matches(a, '(a+)+$') AS x FROM 'a'",
            "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"}", &msg),
        BM_OK);
    buf_fini(&sql);
}

static void
depth_is_bounded(void **state)
{
    static const char *const openers[] = { "(", "NOT ", "-", "[", "abs(", "(SELECT " };

    (void)state;
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        struct buf sql = { 0 };
        struct bm_msg msg;
        struct sql *s;

        buf_addf(&sql, "SELECT ");
        for (int n = 0; n < 20000; n++)
            buf_addf(&sql, "%s", openers[i]);
        assert_int_equal(sql_parse(buf_span(&sql), SQL_2016_03_23, &s, &msg), BM_ERR_PROTO);
        assert_non_null(strstr(msg.text, "in each other"));
        buf_fini(&sql);
    }
}

/* ---- the rest ---- */

static void
random_functions_are_random_and_well_formed(void **state)
{
    struct sql_message m = message("{}");
    struct buf out = { 0 };
    bool matched;
    struct sql *s;
    json_t *v;

    (void)state;
    assert_int_equal(
        sql_parse(span_str("SELECT newuuid() AS a, newuuid() AS b, rand() AS r FROM 'a'"),
            SQL_2015_10_08, &s, NULL),
        BM_OK);
    assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_OK);
    v = json_loadb((const char *)out.ptr, out.len, 0, NULL);
    assert_int_equal(json_string_length(json_object_get(v, "a")), 36);
    assert_int_equal(json_string_value(json_object_get(v, "a"))[14], '4');
    assert_string_not_equal(text_of(v, "a"), text_of(v, "b"));
    assert_true(json_number_value(json_object_get(v, "r")) < 1);
    json_decref(v);
    buf_fini(&out);
    sql_free(s);
    sql_message_fini(&m);
}

static void
star_with_more_does_not_change_the_message(void **state)
{
    struct sql_message m = message("{\"a\":{\"b\":1,\"d\":{}}}");
    struct buf out = { 0 };
    bool matched;
    struct sql *s;

    (void)state;
    assert_int_equal(sql_parse(span_str("SELECT *, 2 AS a.d.c, a.b AS 'x y' FROM 'a'"),
                         SQL_2016_03_23, &s, NULL),
        BM_OK);
    for (int i = 0; i < 2; i++) {
        out.len = 0;
        assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_OK);
        assert_string_equal(buf_cstr(&out), "{\"a\":{\"b\":1,\"d\":{\"c\":2}},\"x y\":1}");
    }
    buf_fini(&out);
    sql_free(s);
    sql_message_fini(&m);
}

static void
calls_come_one_after_the_other_and_are_remembered(void **state)
{
    static const char sql[] =
        "SELECT aws_lambda('arn:1', {'x': 1}) AS a, aws_lambda('arn:2', a) AS b "
        "FROM 'a' WHERE aws_lambda('arn:0', *).ok";
    struct sql_message m = message("{\"a\":7}");
    struct buf out = { 0 };
    bool matched;
    struct sql *s;

    (void)state;
    assert_int_equal(sql_parse(span_str(sql), SQL_2016_03_23, &s, NULL), BM_OK);
    assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_ERR_MORE);
    assert_string_equal(m.calls[0].arn, "arn:0");
    m.calls[0].answer = json_pack("{sb}", "ok", 1);
    assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_ERR_MORE);
    /* calls are counted a phase: WHERE's is answered, SELECT's first is new */
    assert_string_equal(m.calls[1].arn, "arn:1");
    m.calls[1].answer = json_integer(1);
    assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_ERR_MORE);
    assert_string_equal(m.calls[2].arn, "arn:2");
    assert_int_equal(json_integer_value(json_array_get(m.calls[2].input, 1)), 7);
    m.calls[2].answer = json_null();
    out.len = 0;
    assert_int_equal(sql_run(s, &m, &matched, &out, NULL), BM_OK);
    assert_string_equal(buf_cstr(&out), "{\"a\":1,\"b\":null}");
    sql_message_forget(&m);
    assert_int_equal(m.call_count, 0);
    buf_fini(&out);
    sql_free(s);
    sql_message_fini(&m);
}

static void
templates_are_about_the_message(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: refused */
    } cases[] = { { "plain", "plain" }, { "", "" },
        { "${topic()}/republish", "things/myThings/thingOne/republish" },
        { "a${n}b${missing}c${NULL}d", "a5bcd" }, { "${'}'}${ {'a': n} }", "}{\"a\":5}" },
        { "$$aws/x", "$$aws/x" }, { "${", NULL }, { "${n", NULL }, { "${nosuch()}", NULL },
        { "${aws_lambda('a', n)}", NULL }, { "${}", NULL } };
    struct sql_message m = message("{\"n\":5}");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sql_template *t;
        struct buf out = { 0 };
        struct bm_msg msg = { 0 };
        enum bm_err err = sql_template_parse(cases[i].text, SQL_2016_03_23, &t, &msg);

        if (err != (cases[i].want != NULL ? BM_OK : BM_ERR_PROTO))
            fail_msg("%s: %s", cases[i].text, msg.text);
        if (err == BM_OK) {
            assert_int_equal(sql_template_run(t, &m, &out, &msg), BM_OK);
            assert_string_equal(buf_cstr(&out), cases[i].want);
        }
        sql_template_free(t);
        buf_fini(&out);
    }
    sql_message_fini(&m);
}

static void
statement_with_a_zero_byte_is_refused(void **state)
{
    static const char sql[] = "SELECT * FROM 'a\0b'";
    struct sql *s;

    (void)state;
    assert_int_equal(
        sql_parse(span_of(sql, sizeof sql - 1), SQL_2016_03_23, &s, NULL), BM_ERR_PROTO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_of_the_table_has_its_result),
        cmocka_unit_test(evaluation_is_bounded),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(random_functions_are_random_and_well_formed),
        cmocka_unit_test(star_with_more_does_not_change_the_message),
        cmocka_unit_test(calls_come_one_after_the_other_and_are_remembered),
        cmocka_unit_test(templates_are_about_the_message),
        cmocka_unit_test(statement_with_a_zero_byte_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
