/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: rules, functions, and what waits: events, invocations, dead letters.
 */
#include "registry_world.h"

struct seen_letters {
    size_t count;
    int64_t newest;
    int64_t oldest;
};

static void
see_letter(void *arg, const struct registry_letter *l)
{
    struct seen_letters *s = arg;

    if (s->count++ == 0)
        s->newest = l->id;
    s->oldest = l->id;
}

static void
dead_letters_are_kept_whole_and_the_oldest_go(void **state)
{
    struct fixture *f = *state;
    struct registry_letter l = { .kind = "function",
        .target = "f",
        .request_id = "r",
        .cause = "why \"so\"",
        .attempts = 3,
        .has_cert = true,
        .cert_id = { 7 } };
    struct registry_letter got;
    struct seen_letters seen = { 0 };
    int64_t first;

    buf_add(&l.payload, "a\0b", 3);
    buf_addf(&l.detail, "{}");
    OK(f, registry_letter_add(f->r, &l, &f->msg));
    first = l.id;
    OK(f, registry_letter_get(f->r, first, &got, &f->msg));
    assert_string_equal(got.kind, "function");
    assert_string_equal(got.target, "f");
    assert_string_equal(got.cause, "why \"so\"");
    assert_int_equal(got.attempts, 3);
    assert_true(got.has_cert);
    assert_memory_equal(got.cert_id, l.cert_id, sizeof got.cert_id);
    assert_int_equal(got.payload.len, 3);
    assert_memory_equal(got.payload.ptr, "a\0b", 3);
    assert_true(got.created_ms > 0);
    registry_letter_fini(&got);
    for (int i = 0; i < REGISTRY_LETTERS_MAX; i++)
        OK(f, registry_letter_add(f->r, &l, &f->msg));
    OK(f, registry_letter_list(f->r, 10000, see_letter, &seen, &f->msg));
    assert_int_equal(seen.count, REGISTRY_LETTERS_MAX);
    assert_int_equal(seen.newest, l.id);
    assert_int_equal(seen.oldest, first + 1);
    assert_int_equal(registry_letter_get(f->r, first, &got, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_letter_delete(f->r, l.id, &f->msg));
    assert_int_equal(registry_letter_delete(f->r, l.id, &f->msg), BM_ERR_NOT_FOUND);
    registry_letter_fini(&l);
}

static void
see_resent(void *arg, const struct registry_invocation *i)
{
    struct registry_invocation *out = arg;

    out->id = i->id;
    out->attempt += 1 + i->attempt;
    out->cert_id[0] = i->cert_id[0];
    assert_string_equal(i->function, "f");
    assert_int_equal(i->payload.len, 2);
}

static void
a_letter_that_is_sent_again_becomes_an_invocation_or_stays(void **state)
{
    struct fixture *f = *state;
    struct registry_letter l = {
        .kind = "function", .target = "f", .has_cert = true, .cert_id = { 7 }
    };
    struct registry_letter other = { .kind = "http", .target = "http://127.0.0.1" };
    struct registry_function function = { .name = "f" };
    struct registry_invocation seen = { 0 };
    struct registry_letter got;
    int64_t id = 0;

    buf_addf(&l.payload, "{}");
    OK(f, registry_letter_add(f->r, &l, &f->msg));
    OK(f, registry_letter_add(f->r, &other, &f->msg));
    assert_int_equal(registry_letter_resend(f->r, l.id, &id, &f->msg), BM_ERR_NOT_FOUND);
    assert_non_null(strstr(f->msg.text, "the function f"));
    OK(f, registry_letter_get(f->r, l.id, &got, &f->msg)); /* it stays */
    registry_letter_fini(&got);
    buf_addf(&function.config, "{}");
    buf_addf(&function.permissions, "[]");
    OK(f, registry_function_create(f->r, &function, &f->msg));
    registry_function_fini(&function);
    assert_int_equal(registry_letter_resend(f->r, other.id, &id, &f->msg), BM_ERR_CONFLICT);
    OK(f, registry_letter_resend(f->r, l.id, &id, &f->msg));
    assert_int_equal(registry_letter_resend(f->r, l.id, &id, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_commit(f->r, &f->msg));
    OK(f, registry_invocation_list(f->r, 10, see_resent, &seen, &f->msg));
    assert_int_equal(seen.attempt, 1); /* one, at its first try */
    assert_int_equal(seen.id, id);
    assert_int_equal(seen.cert_id[0], 7);
    registry_letter_fini(&l);
}

static void
see_function_name(void *arg, const char *name)
{
    buf_addf(arg, "%s ", name);
}

static void
see_payload(void *arg, const struct registry_invocation *i)
{
    buf_addf(arg, "%.*s ", (int)i->payload.len, (const char *)i->payload.ptr);
}

static void
waiting_invocations_are_found_by_function_and_time(void **state)
{
    static const struct {
        const char *function;
        int64_t due_ms;
        const char *payload;
    } rows[] = { { "b", 20, "1" }, { "b", 10, "2" }, { "a", 10, "3" }, { "b", 50, "4" },
        { "c", 60, "5" } };
    struct fixture *f = *state;
    struct buf text = { 0 };
    int64_t next = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct registry_invocation row = { .due_ms = rows[i].due_ms };

        (void)snprintf(row.function, sizeof row.function, "%s", rows[i].function);
        buf_addf(&row.payload, "%s", rows[i].payload);
        OK(f, registry_invocation_add(f->r, &row, &f->msg));
        registry_invocation_fini(&row);
    }
    OK(f, registry_invocation_functions(f->r, see_function_name, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "a b c ");
    text.len = 0;
    OK(f, registry_invocation_due(f->r, "b", 40, 10, see_payload, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "2 1 ");
    text.len = 0;
    OK(f, registry_invocation_due(f->r, "b", 100, 1, see_payload, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "2 ");
    OK(f, registry_invocation_next(f->r, 20, &next, &f->msg));
    assert_int_equal(next, 50);
    OK(f, registry_invocation_next(f->r, 60, &next, &f->msg));
    assert_true(next == INT64_MAX);
    buf_fini(&text);
}

static void
count_name(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
}

static void
topics_of_retained_messages_have_the_time_of_the_last_one(void **state)
{
    struct fixture *f = *state;
    struct registry_page page = { .marker = "", .limit = 2 };
    size_t count = 0;
    int64_t time_ms = 0;

    OK(f, registry_retained_set(f->r, span_str("a"), 1, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("b"), 2, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("c"), 3, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("a"), 4, &f->msg));
    OK(f, registry_retained_time(f->r, "a", &time_ms, &f->msg));
    assert_int_equal(time_ms, 4);
    OK(f, registry_retained_list(f->r, &page, count_name, &count, &f->msg));
    assert_int_equal(count, 2);
    assert_string_not_equal(page.next_marker, "");
    OK(f, registry_retained_forget(f->r, span_str("a"), &f->msg));
    OK(f, registry_retained_forget(f->r, span_str("a"), &f->msg));
    assert_int_equal(registry_retained_time(f->r, "a", &time_ms, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_retained_set(f->r, span_str(""), 1, &f->msg), BM_ERR_ARG);
}

static void
see_rule(void *arg, const struct registry_rule *rule)
{
    add(arg, rule->name, rule->disabled ? "- " : "+ ");
}

static void
rule_is_created_replaced_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    struct registry_rule rule;

    OK(f, registry_rule_create(f->r, "z", false, span_str("{z}"), &f->msg));
    OK(f, registry_rule_create(f->r, "a", true, span_str("{a}"), &f->msg));
    assert_int_equal(registry_rule_create(f->r, "a", true, span_str("{}"), &f->msg), BM_ERR_EXISTS);
    assert_int_equal(
        registry_rule_replace(f->r, "b", true, span_str("{}"), &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_rule_list(f->r, see_rule, &names, &f->msg));
    assert_string_equal(names.text, "a- z+ ");
    OK(f, registry_rule_replace(f->r, "a", false, span_str("{A}"), &f->msg));
    OK(f, registry_rule_get(f->r, "a", &rule, &f->msg));
    assert_false(rule.disabled);
    assert_true(span_eq(buf_span(&rule.payload), span_str("{A}")));
    registry_rule_fini(&rule);
    OK(f, registry_rule_delete(f->r, "a", &f->msg));
    assert_int_equal(registry_rule_delete(f->r, "a", &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_rule_get(f->r, "a", &rule, &f->msg), BM_ERR_NOT_FOUND);
}

static void
see_function(void *arg, const struct registry_function *fn)
{
    add(arg, fn->name, "");
}

static void
function_is_created_replaced_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct registry_function fn = { .name = "fn", .code_sha256 = { 1, 2, 3 } };
    struct registry_function got;
    struct names names = { "" };

    buf_addf(&fn.config, "{\"Timeout\":3}");
    buf_addf(&fn.permissions, "[]");
    assert_int_equal(registry_function_replace(f->r, &fn, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_function_create(f->r, &fn, &f->msg));
    assert_int_equal(registry_function_create(f->r, &fn, &f->msg), BM_ERR_EXISTS);
    fn.code_sha256[0] = 9;
    OK(f, registry_function_replace(f->r, &fn, &f->msg));
    OK(f, registry_function_get(f->r, "fn", &got, &f->msg));
    assert_memory_equal(got.code_sha256, fn.code_sha256, 32);
    assert_true(span_eq(buf_span(&got.config), buf_span(&fn.config)));
    assert_true(span_eq(buf_span(&got.permissions), span_str("[]")));
    assert_true(got.modified_ms > 0);
    registry_function_fini(&got);
    OK(f, registry_function_list(f->r, see_function, &names, &f->msg));
    assert_string_equal(names.text, "fn");
    OK(f, registry_function_delete(f->r, "fn", &f->msg));
    assert_int_equal(registry_function_get(f->r, "fn", &got, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_function_delete(f->r, "fn", &f->msg), BM_ERR_NOT_FOUND);
    registry_function_fini(&fn);
}

static void
events_leave_in_order_and_a_number_never_comes_twice(void **state)
{
    struct fixture *f = *state;
    struct registry_event e;
    int64_t last = 0;
    uint8_t id[32];

    make_id(id, 4);
    assert_int_equal(registry_event_next(f->r, 0, &e, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_event_add(f->r, "t/1", span_str("one"), id, &f->msg));
    OK(f, registry_event_add(f->r, "t/2", span_of("\0\xff", 2), NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_event_next(f->r, 0, &e, &f->msg));
    assert_true(span_eq(buf_span(&e.topic), span_str("t/1")));
    assert_true(span_eq(buf_span(&e.payload), span_str("one")));
    assert_true(e.has_cert);
    assert_memory_equal(e.cert_id, id, 32);
    last = e.id;
    registry_event_fini(&e);
    OK(f, registry_event_next(f->r, last, &e, &f->msg));
    assert_false(e.has_cert);
    assert_true(span_eq(buf_span(&e.payload), span_of("\0\xff", 2)));
    OK(f, registry_event_done(f->r, last, &f->msg));
    OK(f, registry_event_done(f->r, e.id, &f->msg));
    assert_int_equal(registry_event_done(f->r, e.id, &f->msg), BM_ERR_NOT_FOUND);
    last = e.id;
    registry_event_fini(&e);
    OK(f, registry_event_add(f->r, "t/3", span_of(NULL, 0), NULL, &f->msg));
    OK(f,
        registry_event_next(f->r, last, &e, &f->msg)); /* above the last, though that one is gone */
    assert_int_equal(e.payload.len, 0);
    registry_event_fini(&e);
}

struct outgoing {
    char text[128];
    int64_t last;
};

static void
see_republished(void *arg, const struct registry_republished *m)
{
    struct outgoing *n = arg;
    size_t len = strlen(n->text);

    (void)snprintf(n->text + len, sizeof n->text - len, "%.*s=%.*s ", (int)m->topic.len,
        (const char *)m->topic.ptr, (int)m->payload.len, (const char *)m->payload.ptr);
    n->last = m->id;
}

static void
what_rules_publish_is_read_in_order_until_done(void **state)
{
    struct fixture *f = *state;
    struct outgoing n = { "", 0 };
    int64_t first;

    OK(f, registry_republished_add(f->r, span_str("t/1"), span_str("one"), &f->msg));
    OK(f, registry_republished_add(f->r, span_str("t/2"), span_of(NULL, 0), &f->msg));
    OK(f, registry_republished_add(f->r, span_str("t/3"), span_str("three"), &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_republished_list(f->r, 0, 1, see_republished, &n, &f->msg));
    assert_string_equal(n.text, "t/1=one ");
    first = n.last;
    n.text[0] = '\0';
    OK(f, registry_republished_list(f->r, first, 100, see_republished, &n, &f->msg));
    assert_string_equal(n.text, "t/2= t/3=three ");
    OK(f, registry_republished_done(f->r, n.last, &f->msg));
    assert_int_equal(registry_republished_done(f->r, n.last, &f->msg), BM_ERR_NOT_FOUND);
    n.text[0] = '\0';
    OK(f, registry_republished_list(f->r, first, 100, see_republished, &n, &f->msg));
    assert_string_equal(n.text, "t/2= ");
}

static void
see_invocation(void *arg, const struct registry_invocation *i)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    assert_int_equal(strlen(i->request_id), 36);
    (void)snprintf(n->text + len, sizeof n->text - len, "%s/%d@%lld:%.*s ", i->function, i->attempt,
        (long long)i->due_ms, (int)i->payload.len, (const char *)i->payload.ptr);
}

static void
invocations_wait_by_due_time_until_done(void **state)
{
    struct fixture *f = *state;
    struct registry_invocation late = { .due_ms = 200, .function = "late" };
    struct registry_invocation soon = { .due_ms = 100, .function = "soon", .has_cert = true };
    struct names names = { "" };

    buf_addf(&late.payload, "{}");
    buf_addf(&soon.payload, "[]");
    OK(f, registry_invocation_add(f->r, &late, &f->msg));
    OK(f, registry_invocation_add(f->r, &soon, &f->msg));
    assert_true(late.id > 0 && soon.id > late.id);
    assert_int_equal(soon.request_id[14], '4');
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_invocation_list(f->r, 10, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "soon/0@100:[] late/0@200:{} ");
    OK(f, registry_invocation_retry(f->r, soon.id, 300, &f->msg));
    names.text[0] = '\0';
    OK(f, registry_invocation_list(f->r, 1, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "late/0@200:{} ");
    OK(f, registry_invocation_done(f->r, late.id, &f->msg));
    assert_int_equal(registry_invocation_retry(f->r, late.id, 1, &f->msg), BM_ERR_NOT_FOUND);
    names.text[0] = '\0';
    OK(f, registry_invocation_list(f->r, 10, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "soon/1@300:[] ");
    registry_invocation_fini(&late);
    registry_invocation_fini(&soon);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(topics_of_retained_messages_have_the_time_of_the_last_one),
        TEST(dead_letters_are_kept_whole_and_the_oldest_go),
        TEST(a_letter_that_is_sent_again_becomes_an_invocation_or_stays),
        TEST(waiting_invocations_are_found_by_function_and_time),
        TEST(rule_is_created_replaced_listed_and_deleted),
        TEST(function_is_created_replaced_listed_and_deleted),
        TEST(events_leave_in_order_and_a_number_never_comes_twice),
        TEST(what_rules_publish_is_read_in_order_until_done),
        TEST(invocations_wait_by_due_time_until_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
