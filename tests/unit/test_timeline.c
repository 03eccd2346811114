/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/timeline: the causes table, a record as text and as JSON. */
#include "timeline/timeline.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static const uint8_t some_id[32] = { 0x57, 0x8a, 0xbf };

static void
every_cause_has_id_and_sentence_and_every_refusal_a_cure(void **state)
{
    (void)state;
    for (int c = 1; c < CAUSE_COUNT; c++) {
        const struct cause_info *info = cause_info((enum cause)c);
        enum cause back = CAUSE_NONE;

        assert_non_null(info);
        assert_non_null(info->id);
        assert_non_null(info->cure);
        assert_non_null(strchr(info->id, '.'));
        for (const char *p = info->id; *p != '\0'; p++)
            assert_true(
                islower((unsigned char)*p) || *p == '.' || *p == '_' || isdigit((unsigned char)*p));
        assert_true(strlen(info->sentence) > 10);
        assert_int_equal(info->sentence[strlen(info->sentence) - 1], '.');
        if (info->kind == CAUSE_REFUSE)
            assert_true(strlen(info->cure) > 10);
        for (const char *p = strstr(info->cure, "`aws "); p != NULL; p = strstr(p + 1, "`aws "))
            assert_memory_equal(p, "`aws --endpoint-url ", 20); /* not the real service */
        if (info->kind == CAUSE_ACCEPT || info->kind == CAUSE_EFFECT)
            assert_string_equal(info->cure, "");
        assert_true(cause_by_id(info->id, &back)); /* also proves that ids are unique */
        assert_int_equal(back, c);
    }
}

static void
unknown_cause_id_is_not_found(void **state)
{
    enum cause c = CAUSE_QOS2;

    (void)state;
    assert_false(cause_by_id("connect.no_such_thing", &c));
    assert_false(cause_by_id("unknown", &c));
    assert_int_equal(c, CAUSE_QOS2);
}

static void
refusal_prints_its_cure_with_the_certificate_filled_in(void **state)
{
    struct timeline_record r;
    struct buf out = { 0 };
    const char *text;

    (void)state;
    timeline_fill(
        &r, CAUSE_NO_POLICY, some_id, "dev-1", "127.0.0.1:40122", "ACTIVE", "tls=%s", "1.3");
    r.time_ms = 1522306530253;
    timeline_text(&r, NULL, &out);
    text = buf_cstr(&out);
    assert_non_null(text);
    assert_memory_equal(text, "2018-03-29T06:55:30.253Z  ACTIVE ", 33);
    assert_non_null(strstr(text, " client=dev-1 peer=127.0.0.1:40122 tls=1.3\n    cure: `aws "
                                 "--endpoint-url API_URL iot attach-policy"));
    assert_non_null(strstr(text, ":cert/578abf0000"));
    assert_null(strstr(text, "CERT_ID"));
    buf_fini(&out);
}

static void
cures_are_commands_for_the_cloud_that_wrote_the_record(void **state)
{
    const struct timeline_place place = { "eu-west-1", "222222222222", "http://127.0.0.1:4566" };
    struct timeline_record r;
    struct buf out = { 0 };

    (void)state;
    timeline_fill(&r, CAUSE_NO_POLICY, some_id, "dev-1", NULL, NULL, NULL);
    timeline_verdict(&r, &place, &out);
    assert_non_null(buf_cstr(&out));
    assert_non_null(strstr(buf_cstr(&out), "aws --endpoint-url http://127.0.0.1:4566 iot attach-"));
    assert_non_null(strstr(buf_cstr(&out), " arn:aws:iot:eu-west-1:222222222222:cert/578abf0000"));
    buf_fini(&out);
}

static void
admission_prints_one_line(void **state)
{
    struct timeline_record r;
    struct buf out = { 0 };

    (void)state;
    timeline_fill(&r, CAUSE_ADMITTED, some_id, NULL, NULL, NULL, NULL);
    timeline_text(&r, NULL, &out);
    assert_int_equal(out.ptr[out.len - 1], '\n');
    assert_null(memchr(out.ptr, '\n', out.len - 1));
    buf_fini(&out);
}

static void
outside_bytes_neither_reach_the_terminal_nor_break_json(void **state)
{
    static const char *const bad[] = { "a\x1b[2Jb", "\302\23331m", "\xff\xfe", "\xc0\xaf",
        "\xed\xa0\x80", "\xf5\x80\x80\x80", "x\xe2\x80\xae", "cut\xe2\x82", "\x7f" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct timeline_record r;
        struct buf text = { 0 };
        struct buf json = { 0 };
        json_t *o;

        timeline_fill(&r, CAUSE_CONNECT_DENIED, some_id, bad[i], "peer", NULL, "topic=%s", bad[i]);
        timeline_text(&r, NULL, &text);
        assert_false(text.failed);
        for (size_t k = 0; k < text.len; k++)
            assert_true(text.ptr[k] == '\n' || (text.ptr[k] >= 0x20 && text.ptr[k] < 0x7f));
        timeline_json(&r, NULL, &json);
        assert_false(json.failed);
        o = json_loadb((const char *)json.ptr, json.len, 0, NULL);
        assert_non_null(o);
        assert_non_null(json_object_get(o, "clientId"));
        json_decref(o);
        buf_fini(&text);
        buf_fini(&json);
    }
}

static void
json_has_the_stable_members(void **state)
{
    struct timeline_record r;
    struct buf json = { 0 };
    json_t *o;

    (void)state;
    timeline_fill(
        &r, CAUSE_PENDING, some_id, "Ger\xc3\xa4t", "127.0.0.1:1", "PENDING_ACTIVATION", "a=%d", 1);
    r.time_ms = 1522306530253;
    timeline_json(&r, NULL, &json);
    o = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "time")), "2018-03-29T06:55:30.253Z");
    assert_true(json_integer_value(json_object_get(o, "timeMs")) == 1522306530253);
    assert_string_equal(json_string_value(json_object_get(o, "cause")), "connect.pending");
    assert_string_equal(json_string_value(json_object_get(o, "class")), "refused");
    assert_string_equal(json_string_value(json_object_get(o, "clientId")), "Ger\xc3\xa4t");
    assert_string_equal(json_string_value(json_object_get(o, "status")), "PENDING_ACTIVATION");
    assert_string_equal(json_string_value(json_object_get(o, "facts")), "a=1");
    assert_int_equal(strlen(json_string_value(json_object_get(o, "certificateId"))), 64);
    assert_non_null(
        strstr(json_string_value(json_object_get(o, "cure")), "--certificate-id 578abf"));
    json_decref(o);
    buf_fini(&json);
}

static void
long_text_is_cut_between_characters(void **state)
{
    struct timeline_record r;
    char name[400];

    (void)state;
    memset(name, 'a', sizeof name);
    memcpy(name + TIMELINE_CLIENT_MAX - 1, "\xe2\x82\xac",
        3); /* would end one byte into the euro sign */
    name[sizeof name - 1] = '\0';
    timeline_fill(&r, CAUSE_TLS, NULL, name, name, name, "%s%s", name, name);
    assert_int_equal(strlen(r.client_id), TIMELINE_CLIENT_MAX - 1);
    assert_true(strlen(r.facts) <= TIMELINE_FACTS_MAX);
    assert_int_equal(strlen(r.peer), TIMELINE_PEER_MAX);
    assert_false(r.has_cert);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cause_has_id_and_sentence_and_every_refusal_a_cure),
        cmocka_unit_test(unknown_cause_id_is_not_found),
        cmocka_unit_test(refusal_prints_its_cure_with_the_certificate_filled_in),
        cmocka_unit_test(cures_are_commands_for_the_cloud_that_wrote_the_record),
        cmocka_unit_test(admission_prints_one_line),
        cmocka_unit_test(outside_bytes_neither_reach_the_terminal_nor_break_json),
        cmocka_unit_test(json_has_the_stable_members),
        cmocka_unit_test(long_text_is_cut_between_characters),
    };

    return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}
