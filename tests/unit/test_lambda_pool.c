/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of queues: invocations side by side, in order, each function its share, within limits.
 */
#include "lambda_world.h"

static bool
three_are_done(struct world *w)
{
    return w->done == 3;
}

static void
invocations_queue_in_order(void **state)
{
    struct world *w = *state;

    world_down(w);
    w->options.processes = 1;
    world_up(w);
    create_shell(w, "f", SHELL_RUNTIME("echo \"$event\" >>$KEEP/order; cat $KEEP/order"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(lambda_invoke(w->lambda, "f",
                             span_str(i == 0   ? "a"
                                      : i == 1 ? "b"
                                               : "c"),
                             on_done, w, NULL),
            BM_OK);
    UNTIL(w, three_are_done);
    assert_string_equal(buf_cstr(&w->payload), "a\nb\nc\n");
}

static void
queue_and_payload_are_bounded(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };
    uint8_t *large = calloc(1, LAMBDA_PAYLOAD_SYNC_MAX + 1);

    create_shell(w, "f", SHELL_RUNTIME("echo"));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_OK);
    assert_int_equal(
        lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_ERR_CONFLICT);
    assert_int_equal(lambda_invoke(w->lambda, "f", span_of(large, LAMBDA_PAYLOAD_SYNC_MAX + 1),
                         on_done, w, &msg),
        BM_ERR_LIMIT);
    assert_int_equal(lambda_invoke_async(
                         w->lambda, "f", span_of(large, LAMBDA_PAYLOAD_ASYNC_MAX + 1), NULL, &msg),
        BM_ERR_LIMIT);
    assert_int_equal(
        lambda_invoke(w->lambda, "none", span_str("{}"), on_done, w, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(w->done, 0); /* never from within the call */
    free(large);
}

static void
deleted_function_fails_what_waits_for_it(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    create_shell(w, "f", SHELL_RUNTIME("echo"));
    assert_int_equal(lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_OK);
    assert_int_equal(registry_function_delete(w->registry, "f", &msg), BM_OK);
    lambda_forget(w->lambda, "f");
    UNTIL(w, is_done);
    assert_string_equal(w->error, "Unhandled");
    assert_int_equal(w->done, 1);
}

static bool
all_are_done(struct world *w)
{
    return w->done == *(int *)w->extra;
}

static void
invoke_times(struct world *w, const char *name, int times)
{
    struct bm_msg msg = { 0 };

    for (int i = 0; i < times; i++) {
        if (lambda_invoke(w->lambda, name, span_str("{}"), on_done, w, &msg) != BM_OK)
            fail_msg("%s", msg.text);
    }
}

/* Each answers only when three run. */
static void
invocations_run_side_by_side(void **state)
{
    struct world *w = *state;
    int three = 3;

    create_shell(w, "f",
        SHELL_RUNTIME(
            "touch $KEEP/at.$$; until [ $(ls $KEEP | grep -c ^at) -ge 3 ]; do sleep 0.02; "
            "done; echo together"));
    invoke_times(w, "f", 3);
    w->extra = &three;
    UNTIL(w, all_are_done);
    assert_string_equal(w->error, "");
    assert_string_equal(buf_cstr(&w->payload), "together\n");
}

static void
reserved_concurrency_refuses_calls_and_makes_events_wait(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    struct bm_msg msg = { 0 };
    int one = 1;

    create_shell(w, "f",
        SHELL_RUNTIME("mkdir $KEEP/busy && rmdir $KEEP/busy && echo \"$event\" >>$KEEP/seen && cat "
                      "$KEEP/seen"));
    assert_int_equal(registry_function_get(w->registry, "f", &f, NULL), BM_OK);
    buf_drop(&f.config, 1);
    {
        struct buf rest = f.config;

        f.config = (struct buf){ 0 };
        buf_addf(&f.config, "{\"ReservedConcurrentExecutions\":1,%s", buf_cstr(&rest));
        buf_fini(&rest);
    }
    assert_int_equal(registry_function_replace(w->registry, &f, NULL), BM_OK);
    lambda_limit(w->lambda, "f");
    invoke_times(w, "f", 1);
    assert_int_equal(
        lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_ERR_CONFLICT);
    assert_contains(msg.text, "Rate Exceeded");
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            lambda_invoke_async(w->lambda, "f", span_str("{\"e\":1}"), NULL, &msg), BM_OK);
    w->extra = &one;
    UNTIL(w, all_are_done);
    UNTIL(w, nothing_waits); /* a second process at a time would have failed at mkdir */
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 5);
    registry_function_fini(&f);
}

static size_t
line_of(struct world *w, const char *word)
{
    char path[128];
    struct buf text = { 0 };
    const char *at;
    size_t lines = 0;

    (void)snprintf(path, sizeof path, "%s/order", w->keep);
    assert_int_equal(file_read(path, 65536, &text, NULL), BM_OK);
    at = strstr(buf_cstr(&text), word);
    assert_non_null(at);
    for (const char *c = (const char *)text.ptr; c < at; c++)
        lines += *c == '\n';
    buf_fini(&text);
    return lines;
}

/* Two processes and a long queue in front: the second function gets one of them soon. */
static void
function_with_a_long_queue_leaves_others_their_share(void **state)
{
    struct world *w = *state;
    int all = 41;

    restart_with(w, 2, LAMBDA_SANDBOX_NONE);
    create_shell(w, "many", SHELL_RUNTIME("echo many >>$KEEP/order"));
    create_shell(w, "one", SHELL_RUNTIME("echo one >>$KEEP/order"));
    invoke_times(w, "many", 40);
    invoke_times(w, "one", 1);
    w->extra = &all;
    UNTIL(w, all_are_done);
    assert_in_range(line_of(w, "one"), 0, 20);
}

static void
events_of_one_function_do_not_hold_up_those_of_another(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    restart_with(w, 2, LAMBDA_SANDBOX_NONE);
    create_shell(w, "many", SHELL_RUNTIME("echo many >>$KEEP/order"));
    create_shell(w, "one", SHELL_RUNTIME("echo one >>$KEEP/order"));
    for (int i = 0; i < 200; i++)
        assert_int_equal(lambda_invoke_async(w->lambda, "many", span_str("{}"), NULL, &msg), BM_OK);
    assert_int_equal(lambda_invoke_async(w->lambda, "one", span_str("{}"), NULL, &msg), BM_OK);
    assert_int_equal(registry_commit(w->registry, &msg), BM_OK);
    UNTIL(w, nothing_waits);
    assert_in_range(line_of(w, "one"), 0, 60);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(invocations_queue_in_order),
        IN_WORLD(queue_and_payload_are_bounded),
        IN_WORLD(deleted_function_fails_what_waits_for_it),
        IN_WORLD(invocations_run_side_by_side),
        IN_WORLD(reserved_concurrency_refuses_calls_and_makes_events_wait),
        IN_WORLD(function_with_a_long_queue_leaves_others_their_share),
        IN_WORLD(events_of_one_function_do_not_hold_up_those_of_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
