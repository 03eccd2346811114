/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the limits' table and of the counters behind them: the clock is an argument, nothing
 * waits. */
#include "endpoint/limit.h"
#include "endpoint/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void
defaults_are_the_services(void **state)
{
    struct limits l = limits_default();

    (void)state;
    assert_int_equal(l.v[LIMIT_PUBLISH_RATE], 100); /* SPEC aws-iot 6.3 */
    assert_int_equal(l.v[LIMIT_THROUGHPUT], 524288);
    assert_int_equal(l.v[LIMIT_IN_FLIGHT], 100);
    assert_int_equal(l.v[LIMIT_SUBSCRIPTIONS], 50);
    assert_int_equal(l.v[LIMIT_CONNECT_RATE], 1); /* 4.3 */
}

static void
a_limit_is_set_by_name(void **state)
{
    struct limits l = limits_default();
    struct limits before;

    (void)state;
    assert_int_equal(limits_set(&l, "publish-rate=7", NULL), BM_OK);
    assert_int_equal(l.v[LIMIT_PUBLISH_RATE], 7);
    assert_int_equal(limits_set(&l, "publish-rate=0", NULL), BM_OK);
    before = l;
    limits_lift(&l);
    assert_int_equal(l.v[LIMIT_CONNECT_RATE], 0);
    assert_int_equal(l.v[LIMIT_SUBSCRIPTIONS], before.v[LIMIT_SUBSCRIPTIONS]);
}

static void
nonsense_is_refused_by_name(void **state)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = { { "", "publish-rate" }, { "publish-rate", "publish-rate" },
        { "=5", "throughput" }, { "publish=5", "connect-burst" }, { "publish-rate=", "from 0" },
        { "publish-rate=-1", "0: no" }, { "publish-rate=5x", "5x" },
        { "publish-rate=1000001", "1000000" },
        { "publish-rate=99999999999999999999999", "1000000" }, { "subscriptions=0", "from 1" } };
    struct limits l = limits_default();
    struct limits before = l;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bm_msg msg = { "" };

        assert_int_equal(limits_set(&l, cases[i].text, &msg), BM_ERR_ARG);
        if (strstr(msg.text, cases[i].part) == NULL) {
            fail_msg("%s: %s", cases[i].text, msg.text);
        }
    }
    assert_memory_equal(&l, &before, sizeof l);
}

static void
a_rate_gives_a_seconds_worth_at_once(void **state)
{
    const int64_t now = 5000000;
    int64_t at = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rate_wait(at, now, 1, 10), 0);
        rate_add(&at, now, 1, 10);
    }
    assert_int_equal(rate_wait(at, now, 1, 10), 100000);
    assert_int_equal(rate_wait(at, now + 99999, 1, 10), 1);
    assert_int_equal(rate_wait(at, now + 100000, 1, 10), 0);
    assert_int_equal(
        rate_wait(at, now + 3600000000, 11, 10), 100000); /* no more for having waited */
}

static void
connects_of_one_key_are_limited_over_processes(void **state)
{
    struct throttle *t = throttle_map(2);
    uint64_t key;
    uint64_t other;
    int status = 0;
    pid_t child;

    (void)state;
    assert_non_null(t);
    key = throttle_key(t, "cert", 4, "id", 2);
    other = throttle_key(t, "cert", 4, "ie", 2);
    assert_int_not_equal(key, other);
    (void)fflush(NULL);
    child = fork();
    if (child == 0) { /* uses up all but one */
        for (int i = 0; i < 9; i++) {
            if (!throttle_connect(t, key, 7000, 1, 10)) {
                _exit(1);
            }
        }
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_true(throttle_connect(t, key, 7000, 1, 10));
    assert_false(throttle_connect(t, key, 7000, 1, 10));
    assert_true(throttle_connect(t, other, 7000, 1, 10));
    assert_false(throttle_connect(t, key, 7999, 1, 10)); /* being refused costs nothing */
    assert_true(throttle_connect(t, key, 8000, 1, 10));
    assert_false(throttle_connect(t, key, 8000, 1, 10));
    for (int i = 0; i < 10; i++) {
        assert_true(throttle_connect(t, key, 100000, 1, 10));
    }
    assert_false(throttle_connect(t, key, 100000, 1, 10));
}

static void
connects_of_an_account_are_limited_over_processes(void **state)
{
    struct throttle *t = throttle_map(2);
    int status = 0;
    pid_t child;

    (void)state;
    assert_non_null(t);
    (void)fflush(NULL);
    child = fork();
    if (child == 0) { /* uses up all but one */
        for (int i = 0; i < 499; i++) {
            if (!throttle_account(t, 3, 7000000, 500)) {
                _exit(1);
            }
        }
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_true(throttle_account(t, 3, 7000000, 500));
    assert_false(throttle_account(t, 3, 7000000, 500));
    assert_true(throttle_account(t, 2, 7000000, 500)); /* another account's */
    assert_false(throttle_account(t, 3, 7001999, 500));
    assert_true(throttle_account(t, 3, 7002000, 500));
}

static void
service_means_the_quotas_of_an_account_too(void **state)
{
    struct limits l = limits_default();

    (void)state;
    assert_int_equal(l.v[LIMIT_ACCOUNT_CONNECT_RATE], 0);
    assert_int_equal(limits_set(&l, "publish-rate=7", NULL), BM_OK);
    assert_int_equal(limits_set(&l, "service", NULL), BM_OK);
    assert_int_equal(l.v[LIMIT_PUBLISH_RATE], 7); /* SPEC aws-iot 4.3 */
    assert_int_equal(l.v[LIMIT_ACCOUNT_CONNECT_RATE], 500);
    assert_int_equal(l.v[LIMIT_REGISTER_RATE], 15);
    assert_int_equal(l.v[LIMIT_UPDATE_CERTIFICATE_RATE], 10);
    assert_int_equal(l.v[LIMIT_REGISTER_CA_RATE], 10);
    assert_int_equal(l.v[LIMIT_CREATE_POLICY_RATE], 10);
    assert_int_equal(l.v[LIMIT_ATTACH_POLICY_RATE], 15);
    assert_int_equal(limits_set(&l, "register-rate=0", NULL), BM_OK);
    assert_int_equal(l.v[LIMIT_REGISTER_RATE], 0);
    assert_int_equal(limits_set(&l, "serviced", NULL), BM_ERR_ARG);
}

/* But for two keys that meet in a place and in the 24 bits that tell them apart: one in 10 runs. */
static void
more_keys_than_places_shut_nobody_out(void **state)
{
    struct throttle *t = throttle_map(1);
    unsigned refused = 0;

    (void)state;
    assert_non_null(t);
    for (uint32_t i = 0; i < 200000; i++) {
        refused += throttle_connect(t, throttle_key(t, &i, sizeof i, NULL, 0), 1000, 1, 1) ? 0 : 1;
    }
    assert_in_range(refused, 0, 4);
}

static void
peers_of_an_address_are_counted_over_workers(void **state)
{
    struct throttle *t = throttle_map(3);
    uint64_t a;
    uint64_t b;

    (void)state;
    assert_non_null(t);
    a = throttle_key(t, "192.0.2.1", 9, NULL, 0);
    b = throttle_key(t, "192.0.2.2", 9, NULL, 0);
    assert_int_equal(throttle_enter(t, 0, THROTTLE_CONNECTIONS, a), 1);
    assert_int_equal(throttle_enter(t, 1, THROTTLE_CONNECTIONS, a), 2);
    assert_int_equal(throttle_enter(t, 2, THROTTLE_HANDSHAKES, a), 1);
    assert_int_equal(throttle_enter(t, 2, THROTTLE_CONNECTIONS, b), 1);
    throttle_leave(t, 0, THROTTLE_CONNECTIONS, a);
    assert_int_equal(throttle_enter(t, 2, THROTTLE_CONNECTIONS, a), 2);
    throttle_reset(t, 1); /* it died */
    assert_int_equal(throttle_enter(t, 2, THROTTLE_CONNECTIONS, a), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_services),
        cmocka_unit_test(a_limit_is_set_by_name),
        cmocka_unit_test(nonsense_is_refused_by_name),
        cmocka_unit_test(a_rate_gives_a_seconds_worth_at_once),
        cmocka_unit_test(connects_of_one_key_are_limited_over_processes),
        cmocka_unit_test(connects_of_an_account_are_limited_over_processes),
        cmocka_unit_test(service_means_the_quotas_of_an_account_too),
        cmocka_unit_test(more_keys_than_places_shut_nobody_out),
        cmocka_unit_test(peers_of_an_address_are_counted_over_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
