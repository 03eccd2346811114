/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of which topics may be for a kept session. */
#include "endpoint/kept.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char dir[] = "/tmp/birthmark-kept.XXXXXX";

static int
set_up(void **state)
{
    struct kept *k;

    (void)snprintf(dir, sizeof dir, "/tmp/birthmark-kept.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(kept_open(dir, &k, NULL), BM_OK);
    *state = k;
    return 0;
}

static int
tear_down(void **state)
{
    kept_close(*state);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
    return 0;
}

static bool
may(void *k, const char *topic)
{
    return kept_may(k, span_str(topic));
}

static void
topic_of_a_kept_filter_is_found_and_others_are_not(void **state)
{
    void *k = *state;

    assert_false(may(k, "a/b"));
    kept_add(k, span_str("a/b"), true);
    kept_add(k, span_str("c/+/d"), true);
    kept_add(k, span_str("e/#"), true);
    assert_true(may(k, "a/b"));
    assert_false(may(k, "a/b/"));
    assert_false(may(k, "a"));
    assert_true(may(k, "c/x/d"));
    assert_true(may(k, "c/x/other")); /* that may be: only what is before the wildcard counts */
    assert_false(may(k, "c"));
    assert_true(may(k, "e/f/g"));
    assert_false(may(k, "e"));
    assert_false(may(k, "x/e/f"));
}

static void
filter_that_begins_with_a_wildcard_is_for_all(void **state)
{
    void *k = *state;

    kept_add(k, span_str("+/x"), true);
    assert_true(may(k, "a"));
    assert_true(may(k, "a/b/c"));
}

/* What one process added, another finds; also when it has ended. */
static void
file_keeps_what_was_added_until_it_is_cleared(void **state)
{
    struct kept *other;

    assert_int_equal(kept_open(dir, &other, NULL), BM_OK);
    kept_add(*state, span_str("a/b"), true);
    assert_true(may(other, "a/b"));
    assert_int_equal(kept_sync(other), BM_OK);
    kept_close(other);
    kept_close(*state);
    assert_int_equal(kept_open(dir, &other, NULL), BM_OK);
    *state = other;
    assert_true(may(other, "a/b"));
    kept_begin(other, true);
    assert_true(may(other, "a/b"));
    kept_begin(other, false);
    assert_false(may(other, "a/b"));
}

/* 5,000 devices with a filter each: at most one other topic in a hundred is taken for one. */
static void
few_topics_are_taken_for_kept_ones(void **state)
{
    char text[64];
    unsigned wrong = 0;

    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof text, "cmd/device-%d/#", i);
        kept_add(*state, span_str(text), true);
    }
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof text, "cmd/device-%d/now", i);
        assert_true(may(*state, text));
        (void)snprintf(text, sizeof text, "dt/site/7/device-%d/temperature", i);
        wrong += may(*state, text);
    }
    assert_true(wrong <= 50);
}

static bool
hears(void *k)
{
    return kept_hears(k, span_str("$aws/events/presence/connected/x"));
}

static void
events_are_heard_once_somebody_subscribed_to_what_begins_with_aws(void **state)
{
    void *k = *state;

    kept_add(k, span_str("a/b"), false);
    kept_add(k, span_str("#"), false);
    kept_add(k, span_str("+/events/#"), false);
    assert_false(hears(k));
    kept_add(k, span_str("$aws/events/#"), false);
    assert_true(hears(k));
    assert_false(may(k, "$aws/events/presence/connected/x"));
}

/* Who subscribed without a session is gone when the cloud starts again; who has one is not. */
static void
events_are_heard_after_a_start_by_kept_sessions_only(void **state)
{
    void *k = *state;

    kept_add(k, span_str("$aws/events/#"), false);
    kept_begin(k, true);
    assert_false(hears(k));
    kept_add(k, span_str("$aws/events/presence/+/x"), true);
    kept_begin(k, true);
    assert_true(hears(k));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(topic_of_a_kept_filter_is_found_and_others_are_not),
        TEST(filter_that_begins_with_a_wildcard_is_for_all),
        TEST(file_keeps_what_was_added_until_it_is_cleared),
        TEST(events_are_heard_once_somebody_subscribed_to_what_begins_with_aws),
        TEST(events_are_heard_after_a_start_by_kept_sessions_only),
        TEST(few_topics_are_taken_for_kept_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
