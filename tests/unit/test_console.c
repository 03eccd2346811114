/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the console's guard and sessions: who may ask, and until when. */
#include "console/guard.h"
#include "console/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = { "localhost", "127.0.0.1", "::1", "cloud.test" };

static bool
host(const char *text)
{
    return guard_host(text, names, sizeof names / sizeof names[0]);
}

static void
addresses_and_own_names_are_hosts(void **state)
{
    static const char *const good[] = { "127.0.0.1", "127.0.0.1:4567", "10.1.2.3:80", "[::1]",
        "[::1]:4567", "localhost", "LocalHost:1", "cloud.test", "CLOUD.TEST:4567" };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(host(good[i]));
}

static void
a_name_that_was_made_to_point_here_is_no_host(void **state)
{
    static const char *const bad[] = { "evil.example", "evil.example:4567",
        "localhost.evil.example", "127.0.0.1.evil.example", "", ":4567",
        "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:4567/", "127.0.0.1:123456", "[::1", "[::1]x",
        "[evil]:80", "[]", "::1", "1", "user@127.0.0.1" };

    (void)state;
    assert_false(host(NULL));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (host(bad[i]))
            fail_msg("'%s' is taken", bad[i]);
    }
}

static void
only_the_own_origin_may_ask(void **state)
{
    const char *h = "127.0.0.1:4567";

    (void)state;
    assert_true(guard_origin(h, NULL, NULL));
    assert_true(guard_origin(h, "http://127.0.0.1:4567", "same-origin"));
    assert_true(guard_origin(h, "https://127.0.0.1:4567", NULL)); /* a proxy with TLS */
    assert_true(guard_origin(h, NULL, "none"));
    assert_false(
        guard_origin(h, "http://127.0.0.1:3000", NULL)); /* another server of this machine */
    assert_false(guard_origin(h, "http://127.0.0.1:45678", NULL));
    assert_false(guard_origin(h, "http://127.0.0.1", NULL));
    assert_false(guard_origin(h, "null", NULL));
    assert_false(guard_origin(h, "", NULL));
    assert_false(guard_origin(NULL, "http://127.0.0.1:4567", NULL));
    assert_false(guard_origin(h, NULL, "same-site"));
    assert_false(guard_origin(h, NULL, "cross-site"));
    assert_false(guard_origin(h, "http://127.0.0.1:4567", "cross-site"));
}

static void
assert_cookie(const char *header, const char *want)
{
    struct span got = { NULL, 0 };
    bool found = guard_cookie(header, "name", &got);

    assert_int_equal(found, want != NULL);
    if (want != NULL)
        assert_true(span_eq(got, span_str(want)));
}

static void
a_cookie_is_found_among_others(void **state)
{
    (void)state;
    assert_cookie("name=x", "x");
    assert_cookie("a=b; name=x; c=d", "x");
    assert_cookie("a=b;name=;c=d", "");
    assert_cookie("name=x=y", "x=y");
    assert_cookie("nam=x", NULL);
    assert_cookie("xname=x", NULL);
    assert_cookie("name2=x", NULL);
    assert_cookie("a=name=x", NULL);
    assert_cookie("name", NULL);
    assert_cookie("; ; ;", NULL);
    assert_cookie("", NULL);
    assert_cookie(NULL, NULL);
}

static void
an_event_id_is_a_row_number(void **state)
{
    int64_t id = -1;

    (void)state;
    assert_true(guard_event_id("0", &id) && id == 0);
    assert_true(guard_event_id("123456789012345678", &id) && id == 123456789012345678);
    assert_false(guard_event_id("1234567890123456789", &id));
    assert_false(guard_event_id("-1", &id));
    assert_false(guard_event_id("1 ", &id));
    assert_false(guard_event_id("", &id));
    assert_false(guard_event_id(NULL, &id));
}

static void
a_session_is_found_by_its_cookie_only(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    struct session *a = sessions_begin(s, 0, 0);
    struct session *b = sessions_begin(s, 0, 0);
    char wrong[SESSION_TEXT];

    (void)state;
    assert_true(a != NULL && b != NULL && a != b);
    assert_string_not_equal(a->cookie, b->cookie);
    assert_string_not_equal(a->cookie, a->token);
    assert_ptr_equal(sessions_find(s, span_str(a->cookie), 1), a);
    assert_ptr_equal(sessions_find(s, span_str(b->cookie), 1), b);
    memcpy(wrong, a->cookie, sizeof wrong);
    wrong[63] = wrong[63] == '0' ? '1' : '0';
    assert_null(sessions_find(s, span_str(wrong), 1));
    assert_null(sessions_find(s, span_str(""), 1));
    assert_null(sessions_find(s, span_of(a->cookie, 63), 1));
    session_end(a);
    assert_null(sessions_find(s, span_str(wrong), 1));
    assert_non_null(sessions_find(s, span_str(b->cookie), 1));
    free(s);
}

static void
an_ended_session_has_no_cookie(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    char zeros[SESSION_TEXT - 1] = { 0 };

    (void)state;
    session_end(sessions_begin(s, 0, 0));
    assert_null(sessions_find(s, span_of(zeros, sizeof zeros), 0));
    assert_false(sessions_any(s, 0));
    free(s);
}

static void
a_token_is_compared_whole(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    struct session *a = sessions_begin(s, 0, 0);

    (void)state;
    assert_true(session_token_fits(a, a->token));
    assert_false(session_token_fits(a, NULL));
    assert_false(session_token_fits(a, ""));
    assert_false(session_token_fits(a, a->cookie));
    assert_false(session_token_fits(a, a->token + 1));
    free(s);
}

static void
sessions_end_when_idle_and_when_old(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    struct session *a = sessions_begin(s, 0, 0);
    char cookie[SESSION_TEXT];

    (void)state;
    memcpy(cookie, a->cookie, sizeof cookie);
    assert_non_null(sessions_find(s, span_str(cookie), SESSION_IDLE_MS - 1));
    assert_non_null(sessions_find(s, span_str(cookie), 2 * SESSION_IDLE_MS - 2));
    assert_null(sessions_find(s, span_str(cookie), 3 * (int64_t)SESSION_IDLE_MS));
    a = sessions_begin(s, 0, 0);
    memcpy(cookie, a->cookie, sizeof cookie);
    for (int64_t t = 0; t < SESSION_LIFE_MS; t += SESSION_IDLE_MS / 2)
        assert_non_null(sessions_find(s, span_str(cookie), t));
    assert_null(sessions_find(s, span_str(cookie), SESSION_LIFE_MS));
    free(s);
}

static void
the_longest_unused_makes_room(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    char first[SESSION_TEXT];
    char second[SESSION_TEXT];

    (void)state;
    memcpy(first, sessions_begin(s, 0, 0)->cookie, sizeof first);
    memcpy(second, sessions_begin(s, 0, 1)->cookie, sizeof second);
    for (int i = 2; i < SESSIONS_MAX; i++)
        assert_non_null(sessions_begin(s, 0, i));
    assert_non_null(sessions_find(s, span_str(first), 1000));
    assert_non_null(sessions_begin(s, 0, 1001));
    assert_non_null(sessions_find(s, span_str(first), 1002));
    assert_null(sessions_find(s, span_str(second), 1002));
    free(s);
}

static void
guessing_keys_has_to_wait(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);

    (void)state;
    for (int i = 0; i < LOGINS_FAILED_MAX; i++) {
        assert_true(sessions_may_try(s, "a", 100));
        sessions_tried_wrong(s, "a", 100);
    }
    assert_false(sessions_may_try(s, "a", 100));
    assert_true(sessions_may_try(s, "b", 100)); /* others are not kept out by that */
    assert_false(sessions_may_try(s, "a", 60099));
    assert_true(sessions_may_try(s, "a", 60100));
    sessions_tried_wrong(s, "a", 60100);
    assert_true(sessions_may_try(s, "a", 60100));
    free(s);
}

static void
guessing_from_many_addresses_has_to_wait_too(void **state)
{
    struct sessions *s = calloc(1, sizeof *s);
    char who[LOGIN_WHO];
    unsigned tried = 0;

    (void)state;
    for (unsigned i = 0; i < 10 * LOGINS_FAILED_ALL; i++) {
        (void)snprintf(who, sizeof who, "%u", i % (2 * LOGINS_FAILED_ALL));
        if (sessions_may_try(s, who, 100 + i)) {
            sessions_tried_wrong(s, who, 100 + i);
            tried++;
        }
    }
    assert_int_equal(tried, LOGINS_FAILED_ALL);
    assert_false(sessions_may_try(s, "another", 60099));
    assert_true(sessions_may_try(s, "another", 60100));
    for (unsigned i = 0; i < LOGINS_FAILED_MAX; i++) { /* there is room for it */
        sessions_tried_wrong(s, "another", 60100);
    }
    assert_false(sessions_may_try(s, "another", 60100));
    free(s);
}

static bool
is_one(const char *a, const char *b)
{
    char of_a[LOGIN_WHO];
    char of_b[LOGIN_WHO];

    login_who(of_a, a, 0);
    login_who(of_b, b, 0);
    return strcmp(of_a, of_b) == 0;
}

static void
who_tries_is_an_address_with_an_access_key(void **state)
{
    char first[LOGIN_WHO];
    char second[LOGIN_WHO];

    (void)state;
    login_who(first, "127.0.0.1:40122", 0);
    login_who(second, "127.0.0.1:40122", 1);
    assert_string_not_equal(first, second);
    assert_true(is_one("127.0.0.1:40122", "127.9.9.9:1"));
    assert_true(is_one("127.0.0.1:40122", "[::1]:40122"));
    assert_true(is_one("127.0.0.1:40122", "[::ffff:127.0.0.1]:40122"));
    assert_true(is_one("192.0.2.1:1", "192.0.2.1:65535"));
    assert_true(is_one("192.0.2.1:1", "[::ffff:192.0.2.1]:1"));
    assert_true(is_one("[2001:db8::1]:1", "[2001:db8::ffff:0:0:2]:9"));
    assert_false(is_one("192.0.2.1:1", "192.0.2.2:1"));
    assert_false(is_one("192.0.2.1:1", "127.0.0.1:1"));
    assert_false(is_one("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"));
    assert_false(is_one("[2001:db8::1]:1", "[::1]:1"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_own_names_are_hosts),
        cmocka_unit_test(a_name_that_was_made_to_point_here_is_no_host),
        cmocka_unit_test(only_the_own_origin_may_ask),
        cmocka_unit_test(a_cookie_is_found_among_others),
        cmocka_unit_test(an_event_id_is_a_row_number),
        cmocka_unit_test(a_session_is_found_by_its_cookie_only),
        cmocka_unit_test(an_ended_session_has_no_cookie),
        cmocka_unit_test(a_token_is_compared_whole),
        cmocka_unit_test(sessions_end_when_idle_and_when_old),
        cmocka_unit_test(the_longest_unused_makes_room),
        cmocka_unit_test(guessing_keys_has_to_wait),
        cmocka_unit_test(guessing_from_many_addresses_has_to_wait_too),
        cmocka_unit_test(who_tries_is_an_address_with_an_access_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
