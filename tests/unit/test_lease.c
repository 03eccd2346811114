/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of leases: sessions on the backend of a simulated chip, without sockets. What happened
 * is read from a journal of answers, in their order.
 */
#include "a71chd/backend.h"
#include "chip/chip.h"
#include "chip/nvm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SESSIONS = BACKEND_LEASES_MAX + 3, LONG = 60000, SHORT = 5 };

struct world;

struct client {
    struct world *world;
    struct backend_session *session;
    unsigned id;
    enum bm_err last;
    unsigned answers;
    char cause[200];
};

struct world {
    struct loop *loop;
    struct nvm_mem mem;
    struct backend *backend;
    struct client client[SESSIONS];
    struct buf journal; /* "1 2 5 ": ids of those who were answered */
    unsigned wanted;    /* answers to wait for */
};

static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct client *c = arg;
    struct world *w = c->world;

    c->last = answer->err;
    c->answers++;
    (void)snprintf(c->cause, sizeof c->cause, "%s", answer->err != BM_OK ? answer->cause : "");
    buf_addf(&w->journal, "%u ", c->id);
    if (w->wanted > 0 && --w->wanted == 0)
        loop_stop(w->loop);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct chip *chip;

    assert_non_null(w);
    assert_int_equal(loop_new(&w->loop), BM_OK);
    assert_int_equal(chip_open_store(nvm_store_mem(&w->mem), &chip, NULL), BM_OK);
    assert_int_equal(backend_sim_of(w->loop, chip, NULL, &w->backend), BM_OK);
    for (unsigned i = 0; i < SESSIONS; i++) {
        w->client[i] = (struct client){ .world = w, .id = i };
        assert_int_equal(
            backend_session_open(w->backend, i, on_answer, &w->client[i], &w->client[i].session),
            BM_OK);
    }
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < SESSIONS; i++)
        backend_session_close(w->client[i].session);
    backend_free(w->backend);
    loop_free(w->loop);
    buf_fini(&w->mem.bytes);
    buf_fini(&w->journal);
    free(w);
    return 0;
}

static void
command(struct world *w, unsigned id)
{
    static const uint8_t uid[] = { 0x80, 0x91, 0, 1, 0 };

    backend_apdu(w->client[id].session, SPAN(uid));
}

static void
lease(struct world *w, unsigned id)
{
    backend_lease(w->client[id].session, LONG, LONG);
}

static void
release(struct world *w, unsigned id)
{
    assert_int_equal(backend_release(w->client[id].session), BM_OK);
}

static void
wait_for_answers(struct world *w, unsigned count)
{
    w->wanted = count;
    assert_int_equal(loop_run(w->loop), BM_OK);
}

static void
expect(struct world *w, const char *journal)
{
    assert_string_equal(w->journal.len > 0 ? buf_cstr(&w->journal) : "", journal);
    w->journal.len = 0;
}

static void
others_wait_in_the_order_in_which_they_came(void **state)
{
    struct world *w = *state;

    lease(w, 0);
    command(w, 1);
    lease(w, 2);
    command(w, 3);
    lease(w, 4);
    expect(w, "0 ");
    command(w, 0);
    command(w, 0);
    expect(w, "0 0 ");
    release(w, 0);
    expect(w, "1 2 "); /* 2 has it now */
    command(w, 2);
    release(w, 2);
    expect(w, "2 3 4 ");
    lease(w, 2); /* at the end again */
    command(w, 4);
    expect(w, "4 ");
    release(w, 4);
    expect(w, "2 ");
}

static void
leases_nest(void **state)
{
    struct world *w = *state;

    lease(w, 0);
    lease(w, 0);
    command(w, 1);
    release(w, 0);
    expect(w, "0 0 ");
    release(w, 0);
    expect(w, "1 ");
    assert_int_equal(backend_release(w->client[0].session), BM_ERR_CONFLICT);
    assert_int_equal(backend_release(w->client[1].session), BM_ERR_CONFLICT);
}

/* A client that dies is closed by the server, whatever it was about. */
static void
closing_ends_a_lease_and_the_wait_for_one(void **state)
{
    struct world *w = *state;

    lease(w, 0);
    lease(w, 1);
    lease(w, 2);
    command(w, 3);
    backend_session_close(w->client[1].session);
    w->client[1].session = NULL;
    expect(w, "0 ");
    backend_session_close(w->client[0].session);
    w->client[0].session = NULL;
    expect(w, "2 ");
    backend_reset(w->client[3].session); /* takes the command's place, waits on */
    expect(w, "");
    backend_session_close(w->client[2].session);
    w->client[2].session = NULL;
    expect(w, "3 ");
}

static void
lease_is_taken_away_when_its_time_is_over(void **state)
{
    struct world *w = *state;

    backend_lease(w->client[0].session, LONG, SHORT);
    command(w, 1);
    expect(w, "0 ");
    wait_for_answers(w, 1);
    expect(w, "1 ");
    command(w, 0); /* it must know that others came between */
    assert_int_equal(w->client[0].last, BM_ERR_TIMEOUT);
    assert_non_null(strstr(w->client[0].cause, "begin the sequence again"));
    command(w, 0);
    assert_int_equal(w->client[0].last, BM_OK);

    backend_lease(w->client[0].session, LONG, SHORT);
    command(w, 1);
    wait_for_answers(w, 1);
    assert_int_equal(backend_release(w->client[0].session), BM_ERR_CONFLICT);
    command(w, 0); /* it has heard of it */
    assert_int_equal(w->client[0].last, BM_OK);

    backend_lease(w->client[0].session, LONG, SHORT);
    command(w, 1);
    wait_for_answers(w, 1);
    backend_reset(w->client[0].session); /* begins anew */
    assert_int_equal(w->client[0].last, BM_OK);
    command(w, 0);
    assert_int_equal(w->client[0].last, BM_OK);
}

static void
wait_ends_with_a_sentence_that_names_the_holder(void **state)
{
    struct world *w = *state;

    lease(w, 7);
    backend_lease(w->client[1].session, SHORT, LONG);
    lease(w, 2);
    wait_for_answers(w, 1);
    expect(w, "7 1 ");
    assert_int_equal(w->client[1].last, BM_ERR_TIMEOUT);
    assert_non_null(strstr(w->client[1].cause, "client 7 has it"));
    release(w, 7);
    expect(w, "2 ");
    command(w, 1);
    release(w, 2);
    assert_int_equal(w->client[1].last, BM_OK);
}

static void
queue_for_leases_is_bounded(void **state)
{
    struct world *w = *state;
    struct buf text = { 0 };

    for (unsigned i = 0; i <= BACKEND_LEASES_MAX; i++)
        lease(w, i);
    expect(w, "0 ");
    lease(w, SESSIONS - 1);
    assert_int_equal(w->client[SESSIONS - 1].last, BM_ERR_LIMIT);
    backend_leases(w->backend, &text);
    assert_non_null(strstr(buf_cstr(&text), "\"holder\":{\"client\":0,"));
    assert_non_null(strstr(buf_cstr(&text), "\"waiting\":[1,2,3,"));
    buf_fini(&text);
    release(w, 0);
    lease(w, SESSIONS - 1);
    for (unsigned i = 1; i <= BACKEND_LEASES_MAX; i++)
        release(w, i);
    assert_int_equal(w->client[SESSIONS - 1].last, BM_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            others_wait_in_the_order_in_which_they_came, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_ends_a_lease_and_the_wait_for_one, setup, teardown),
        cmocka_unit_test_setup_teardown(lease_is_taken_away_when_its_time_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(
            wait_ends_with_a_sentence_that_names_the_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(queue_for_leases_is_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
