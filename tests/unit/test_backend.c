/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the simulated backend: its queue, faults, power cuts, wear and clock. */
#include "a71chd/backend.h"
#include "base/clock.h"
#include "base/file.h"
#include "chip/chip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SELECT "00a4040005613731636800"
#define INFO "8091000300"
#define SET_COUNTER "80620000040000000500"
#define GET_COUNTER "8061000000"

/* A chip in a folder of its own, and two clients of it. */
struct bench {
    char dir[64];
    struct loop *loop;
    struct sim_options options;
    struct backend *backend;
    struct client {
        struct backend_session *session;
        struct bench *bench;
        unsigned answers;
        enum bm_err err;
        uint8_t bytes[300];
        size_t len;
    } clients[2];
};

static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct client *c = arg;
    struct wr w = wr_of(c->bytes, sizeof c->bytes);

    c->answers++;
    c->err = answer->err;
    if (answer->err == BM_OK)
        wr_span(&w, answer->bytes);
    else
        assert_true(strlen(answer->cause) > 10);
    c->len = wr_len(&w);
    loop_stop(c->bench->loop);
}

static void
ask(struct bench *b, unsigned client, const char *hex)
{
    uint8_t cmd[300];

    assert_int_equal(hex_decode(cmd, strlen(hex) / 2, span_str(hex)), BM_OK);
    backend_apdu(b->clients[client].session, span_of(cmd, strlen(hex) / 2));
}

/* Ask, and wait when it does not come at once; the response as hex, or "ERROR name". */
static const char *
run(struct bench *b, unsigned client, const char *hex)
{
    static char out[2 * 300 + 1];
    struct client *c = &b->clients[client];
    unsigned before = c->answers;

    ask(b, client, hex);
    while (c->answers == before)
        assert_int_equal(loop_run(b->loop), BM_OK);
    if (c->err != BM_OK)
        (void)snprintf(out, sizeof out, "ERROR %s", bm_err_name(c->err));
    else
        hex_encode(out, c->bytes, c->len);
    return out;
}

static void
fault(struct bench *b, const char *rule)
{
    struct bm_msg msg = { "" };

    b->options.faults.count = 0;
    if (faults_add(&b->options.faults, rule, &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

static void
profile(struct bench *b, const char *text)
{
    struct bm_msg msg = { "" };

    if (profile_parse(span_str(text), &b->options.profile, &b->options.quirks, &b->options.faults,
            &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

static int
setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    if (b == NULL)
        return -1;
    (void)strcpy(b->dir, "/tmp/birthmark-backend.XXXXXX");
    b->options.quirks = quirks_default();
    b->options.profile = profile_none();
    if (mkdtemp(b->dir) == NULL || loop_new(&b->loop) != BM_OK ||
        backend_sim_new(b->loop, b->dir, &b->options, &b->backend, NULL) != BM_OK)
        return -1;
    for (unsigned i = 0; i < 2; i++) {
        b->clients[i].bench = b;
        if (backend_session_open(
                b->backend, i + 1, on_answer, &b->clients[i], &b->clients[i].session) != BM_OK)
            return -1;
        assert_string_equal(run(b, i, SELECT), "01319000");
    }
    *state = b;
    return 0;
}

static int
teardown(void **state)
{
    struct bench *b = *state;

    for (unsigned i = 0; i < 2; i++)
        backend_session_close(b->clients[i].session);
    backend_free(b->backend);
    loop_free(b->loop);
    assert_int_equal(dir_remove(b->dir, NULL), BM_OK);
    free(b);
    return 0;
}

static void
power_lost_before_the_write_leaves_the_state_before(void **state)
{
    struct bench *b = *state;

    fault(b, "power-before:ins=62,nth=1");
    assert_string_equal(run(b, 0, SET_COUNTER), "ERROR io");
    assert_string_equal(run(b, 0, GET_COUNTER), "6985"); /* has to select again */
    assert_string_equal(run(b, 1, GET_COUNTER), "6985"); /* so has everybody */
    assert_string_equal(run(b, 0, SELECT), "01319000");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009000");
    assert_string_equal(run(b, 0, SET_COUNTER), "9000");
}

static void
power_lost_after_the_write_leaves_the_state_after(void **state)
{
    struct bench *b = *state;

    fault(b, "power-after:ins=62,nth=1");
    assert_string_equal(run(b, 0, SET_COUNTER), "ERROR io");
    assert_string_equal(run(b, 0, SELECT), "01319000");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000059000");
}

static void
power_lost_at_any_byte_of_the_write_leaves_before_or_after(void **state)
{
    struct bench *b = *state;
    unsigned whole = 0;

    for (unsigned byte = 0; byte < 200; byte += 3) {
        char rule[64];
        const char *got;

        (void)snprintf(rule, sizeof rule, "power-during:ins=62,nth=1,value=%u", byte);
        fault(b, rule);
        assert_string_equal(run(b, 0, SET_COUNTER), "ERROR io");
        assert_string_equal(run(b, 0, SELECT), "01319000");
        got = run(b, 0, GET_COUNTER);
        whole += strcmp(got, "000000059000") == 0;
        assert_string_equal(got, whole > 0 ? "000000059000" : "000000009000");
        assert_string_equal(run(b, 0, "8064000000"), "9000"); /* and it works on */
    }
    assert_in_range(whole, 1, 40); /* the last ones cut nothing: the write is shorter */
}

static void
reset_in_the_middle_runs_nothing_and_ends_all_sessions(void **state)
{
    struct bench *b = *state;

    fault(b, "reset:ins=62");
    assert_string_equal(run(b, 0, SET_COUNTER), "ERROR io");
    assert_string_equal(run(b, 1, GET_COUNTER), "6985");
    assert_string_equal(run(b, 1, SELECT), "01319000");
    assert_string_equal(run(b, 1, GET_COUNTER), "000000009000");
}

static void
status_and_damage_are_what_the_rule_says(void **state)
{
    struct bench *b = *state;

    fault(b, "status:ins=62,value=6F00,count=1");
    assert_string_equal(run(b, 0, SET_COUNTER), "6f00");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009000");
    fault(b, "flip:value=0,count=1");
    assert_string_equal(run(b, 0, GET_COUNTER), "010000009000");
    fault(b, "flip:value=41,count=1");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009002");
    fault(b, "truncate:value=3,count=1");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000");
    fault(b, "truncate:value=6,count=1"); /* all would be no fault: round the end */
    assert_string_equal(run(b, 0, GET_COUNTER), "");
    fault(b, "flip-command:value=16,count=1"); /* P1 */
    assert_string_equal(run(b, 0, SET_COUNTER), "9000");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009000");
    assert_string_equal(run(b, 0, "8061010000"), "000000059000");
    fault(b, "bad-rmac:value=0");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009000"); /* it has none */
    fault(b, "drop:count=1");
    assert_string_equal(run(b, 0, GET_COUNTER), "ERROR closed");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000009000");
}

static void
hang_ends_with_a_reset_and_disturbs_nobody_else(void **state)
{
    struct bench *b = *state;
    unsigned before = b->clients[0].answers;

    fault(b, "hang:ins=61,count=1");
    ask(b, 0, GET_COUNTER);
    assert_true(backend_waiting(b->clients[0].session));
    assert_string_equal(run(b, 1, GET_COUNTER), "000000009000");
    assert_int_equal(b->clients[0].answers, before);
    backend_reset(b->clients[0].session);
    assert_int_equal(b->clients[0].answers, before + 1);
    assert_int_equal(b->clients[0].len, CHIP_ATR_LEN);
    assert_string_equal(run(b, 0, SELECT), "01319000");
}

static void
worn_memory_refuses_writes_and_keeps_what_it_has(void **state)
{
    struct bench *b = *state;
    char text[64];

    (void)snprintf(text, sizeof text, "nvm-endurance %llu\n",
        (unsigned long long)chip_stats(backend_sim_chip(b->backend)).nvm_writes + 2);
    profile(b, text);
    assert_string_equal(run(b, 0, "8062000000"), "9000");
    assert_string_equal(run(b, 0, "8062000000"), "9000");
    assert_string_equal(run(b, 0, "8062000000"), "6581");
    assert_string_equal(run(b, 0, "8062000000"), "6581");
    assert_string_equal(run(b, 0, GET_COUNTER), "000000029000");
    backend_save(b->backend); /* the counts are the simulator's own */
    assert_string_equal(run(b, 0, "8062000000"), "6581");
}

static void
virtual_clock_counts_and_does_not_sleep(void **state)
{
    struct bench *b = *state;
    int64_t began = clock_mono_ms();
    struct buf out = { 0 };

    profile(b, "clock virtual\ncommand * 3600000\nreset 1.5\n");
    assert_string_equal(run(b, 0, INFO), "0131f32210009000");
    backend_reset(b->clients[0].session);
    backend_stats(b->backend, &out);
    assert_non_null(strstr(buf_cstr(&out), ",\"worked_us\":3600001500}"));
    assert_true(clock_mono_ms() - began < 1800000);
    buf_fini(&out);
}

static void
real_clock_answers_later_and_others_wait_their_turn(void **state)
{
    struct bench *b = *state;
    int64_t began = clock_mono_ms();

    profile(b, "command * 20\n");
    ask(b, 0, INFO);
    ask(b, 1, INFO);
    assert_true(backend_waiting(b->clients[0].session));
    while (backend_waiting(b->clients[1].session))
        assert_int_equal(loop_run(b->loop), BM_OK);
    assert_false(backend_waiting(b->clients[0].session));
    assert_true(clock_mono_ms() - began >= 39);
}

static void
session_may_be_closed_or_reset_while_it_waits(void **state)
{
    struct bench *b = *state;
    unsigned before = b->clients[0].answers;

    profile(b, "command * 5\n");
    ask(b, 0, INFO);
    ask(b, 1, INFO);
    backend_session_close(b->clients[1].session); /* in the queue */
    backend_reset(b->clients[0].session);         /* running: its answer is nobody's */
    assert_true(backend_waiting(b->clients[0].session));
    while (backend_waiting(b->clients[0].session))
        assert_int_equal(loop_run(b->loop), BM_OK);
    assert_int_equal(b->clients[0].answers, before + 1);
    assert_int_equal(b->clients[0].len, CHIP_ATR_LEN);
    ask(b, 0, INFO);
    backend_session_close(b->clients[0].session); /* running */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(backend_session_open(
                             b->backend, i + 1, on_answer, &b->clients[i], &b->clients[i].session),
            BM_OK);
    assert_string_equal(run(b, 0, SELECT), "01319000");
}

int
main(void)
{
#define with_bench(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        with_bench(power_lost_before_the_write_leaves_the_state_before),
        with_bench(power_lost_after_the_write_leaves_the_state_after),
        with_bench(power_lost_at_any_byte_of_the_write_leaves_before_or_after),
        with_bench(reset_in_the_middle_runs_nothing_and_ends_all_sessions),
        with_bench(status_and_damage_are_what_the_rule_says),
        with_bench(hang_ends_with_a_reset_and_disturbs_nobody_else),
        with_bench(worn_memory_refuses_writes_and_keeps_what_it_has),
        with_bench(virtual_clock_counts_and_does_not_sleep),
        with_bench(real_clock_answers_later_and_others_wait_their_turn),
        with_bench(session_may_be_closed_or_reset_while_it_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
