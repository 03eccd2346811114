/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of invocations of type Event, across failures and restarts. */
#include "lambda_world.h"

static const uint8_t cert[REGISTRY_ID_LEN] = { 0xce, 0x47 };

static void
add_async(struct world *w, const char *name, const char *payload)
{
    struct bm_msg msg = { 0 };

    if (lambda_invoke_async(w->lambda, name, span_str(payload), cert, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(registry_commit(w->registry, &msg), BM_OK);
}

static void
event_runs_once_and_the_timeline_tells(void **state)
{
    struct world *w = *state;
    struct record_count c;

    create_shell(w, "f", SHELL_RUNTIME("echo \"$event\" >>$KEEP/seen; cat $KEEP/seen"));
    add_async(w, "f", "{\"n\":1}");
    assert_int_equal(waiting(w), 1);
    UNTIL(w, nothing_waits);
    assert_string_equal(invoke(w, "f", "last"), "{\"n\":1}\nlast\n");
    c = records(w, CAUSE_FUNCTION_INVOKED);
    assert_int_equal(c.count, 1);
    assert_true(c.last.has_cert);
    assert_memory_equal(c.last.cert_id, cert, sizeof cert);
    assert_contains(c.last.facts, "function=f");
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 1);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
}

static void
take_letter(void *arg, const struct registry_letter *l)
{
    struct registry_letter *to = arg;

    *to = *l;
    to->payload = to->detail = (struct buf){ 0 };
    buf_add(&to->payload, l->payload.ptr, l->payload.len);
}

static void
failing_event_is_tried_three_times_and_then_given_up(void **state)
{
    struct world *w = *state;
    struct registry_letter letter = { 0 };
    struct record_count c;

    create_python(w, "f", "def handler(e, c):\n    raise ValueError('always')\n");
    add_async(w, "f", "{}");
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_INVOKED).count, 3);
    c = records(w, CAUSE_FUNCTION_FAILED);
    assert_int_equal(c.count, 3);
    assert_contains(c.last.facts, "try=3/3");
    assert_contains(c.last.facts, "given up");
    assert_contains(c.last.facts, "always");
    assert_int_equal(registry_letter_list(w->registry, 10, take_letter, &letter, NULL), BM_OK);
    assert_string_equal(letter.kind, "function");
    assert_string_equal(letter.target, "f");
    assert_contains(letter.cause, "always");
    assert_int_equal(letter.attempts, 3);
    assert_int_equal(strlen(letter.request_id), 36);
    assert_string_equal(buf_cstr(&letter.payload), "{}");
    assert_true(letter.has_cert);
    registry_letter_fini(&letter);
}

static void
second_try_may_succeed(void **state)
{
    struct world *w = *state;

    create_python(w, "f",
        "import os\n"
        "def handler(e, c):\n"
        "    path = os.environ['KEEP'] + '/tried'\n"
        "    if not os.path.exists(path):\n"
        "        open(path, 'w').close()\n"
        "        raise ValueError('first')\n");
    add_async(w, "f", "{}");
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 1);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 1);
}

static bool
home_has_started(struct world *w)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/keep/started", w->dir);
    return access(path, F_OK) == 0;
}

static void
event_that_was_running_at_the_end_runs_again_after_a_restart(void **state)
{
    struct world *w = *state;

    create_python(w, "f",
        "import os, time\n"
        "def handler(e, c):\n"
        "    path = os.environ['KEEP'] + '/started'\n"
        "    if not os.path.exists(path):\n"
        "        open(path, 'w').close()\n"
        "        time.sleep(1000)\n");
    add_async(w, "f", "{}");
    add_async(w, "f", "{}");
    UNTIL(w, home_has_started);
    world_down(w);
    world_up(w);
    assert_int_equal(waiting(w), 2);
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 2);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
}

static void
event_for_a_missing_function_is_refused(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    assert_int_equal(
        lambda_invoke_async(w->lambda, "none", span_str("{}"), NULL, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(waiting(w), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(event_runs_once_and_the_timeline_tells),
        IN_WORLD(failing_event_is_tried_three_times_and_then_given_up),
        IN_WORLD(second_try_may_succeed),
        IN_WORLD(event_that_was_running_at_the_end_runs_again_after_a_restart),
        IN_WORLD(event_for_a_missing_function_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
