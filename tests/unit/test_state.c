/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the table of a connection's states. */
#include "endpoint/inside.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
every_state_can_end_and_nothing_leaves_the_end(void **state)
{
    enum conn_state to;

    (void)state;
    for (int from = 0; from < CONN_STATES; from++) {
        for (int event = 0; event < CONN_EVENTS; event++) {
            bool legal = conn_next((enum conn_state)from, (enum conn_event)event, &to);

            if (from == CONN_CLOSED) {
                assert_false(legal);
            }
            if (event == EV_END && from != CONN_CLOSED) {
                assert_true(legal);
                assert_int_equal(to, CONN_CLOSED);
            }
            if (legal) { /* only forward: no event leads back */
                assert_true((int)to > from);
            }
        }
    }
}

static void
relaying_is_reached_only_through_identity_policy_and_broker(void **state)
{
    static const enum conn_event path[] = { EV_TLS_DONE, EV_ASK, EV_KNOWN, EV_ALLOWED, EV_SENT,
        EV_ACCEPTED };
    enum conn_state at = CONN_TLS;
    enum conn_state to;

    (void)state;
    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        assert_true(conn_next(at, path[i], &at));
    }
    assert_int_equal(at, CONN_RELAY);
    for (int from = 0; from < CONN_STATES; from++) {
        for (int event = 0; event < CONN_EVENTS; event++) {
            if (conn_next((enum conn_state)from, (enum conn_event)event, &to)) {
                assert_true(to != CONN_RELAY || from == CONN_CONNACK);
                assert_true(to != CONN_BROKER || from == CONN_POLICY);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_can_end_and_nothing_leaves_the_end),
        cmocka_unit_test(relaying_is_reached_only_through_identity_policy_and_broker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
