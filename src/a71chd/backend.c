/* SPDX-License-Identifier: Apache-2.0 */
/* See backend.h: the queue that all kinds of chip share. */
#include "a71chd/backend.h"

#include "a71chd/trace.h"
#include "base/clock.h"

#include <string.h>

static void
pump(struct backend *b)
{
    if (b->pumping)
        return;
    b->pumping = true;
    while (!b->busy && b->head != NULL) {
        struct backend_session *s = b->head;

        b->head = s->next;
        if (b->head == NULL)
            b->tail = NULL;
        s->next = NULL;
        b->running = s;
        b->busy = true;
        b->started_us = trace_on(b->trace) ? clock_mono_us() : 0;
        b->ops->start(b, s);
    }
    b->pumping = false;
}

static void
enqueue(struct backend_session *s, enum backend_request request)
{
    struct backend *b = s->backend;

    s->request = request;
    if (b->tail != NULL)
        b->tail->next = s;
    else
        b->head = s;
    b->tail = s;
    pump(b);
}

/* Take back what was asked: from the queue, or from the chip, whose answer nobody will want. */
static void
withdraw(struct backend_session *s)
{
    struct backend *b = s->backend;
    struct backend_session *last = NULL;

    if (b->running == s)
        b->running = NULL;
    for (struct backend_session **at = &b->head; *at != NULL;) {
        if (*at == s) {
            *at = s->next;
        } else {
            last = *at;
            at = &last->next;
        }
    }
    b->tail = last;
    s->next = NULL;
    s->request = BACKEND_NONE;
    bm_wipe(s->command, s->command_len);
    s->command_len = 0;
}

enum bm_err
backend_session_open(
    struct backend *b, unsigned client, backend_fn done, void *arg, struct backend_session **out)
{
    struct backend_session *s = b->ops->session_new(b);

    *out = s;
    if (s == NULL)
        return BM_ERR_MEM;
    s->backend = b;
    s->client = client;
    s->done = done;
    s->arg = arg;
    return BM_OK;
}

void
backend_session_close(struct backend_session *s)
{
    if (s == NULL)
        return;
    withdraw(s);
    s->backend->ops->session_free(s);
}

void
backend_set_trace(struct backend *b, struct trace *trace)
{
    b->trace = trace;
}

bool
backend_shared(const struct backend *b)
{
    return b->shared;
}

void
backend_apdu(struct backend_session *s, struct span command)
{
    struct wr w = wr_of(s->command, sizeof s->command);

    wr_span(&w, command);
    s->command_len = wr_len(&w);
    enqueue(s, BACKEND_APDU);
}

void
backend_reset(struct backend_session *s)
{
    withdraw(s);
    enqueue(s, BACKEND_RESET);
}

bool
backend_waiting(const struct backend_session *s)
{
    return s->request != BACKEND_NONE;
}

/* The running request, when anybody still waits for it. */
static void
trace(const struct backend *b, const struct backend_answer *answer)
{
    const struct backend_session *s = b->running;

    if (s == NULL || !trace_on(b->trace))
        return;
    trace_write(b->trace,
        &(struct trace_exchange){ .chip = b->name,
            .client = s->client,
            .reset = s->request == BACKEND_RESET,
            .command = span_of(s->command, s->command_len),
            .answer = answer->bytes,
            .error = answer->err != BM_OK ? answer->cause : NULL,
            .fault = answer->fault,
            .took_us = answer->took_us != 0 ? answer->took_us : clock_mono_us() - b->started_us });
}

void
backend_finish(struct backend *b, const struct backend_answer *answer)
{
    struct backend_session *s = b->running;

    b->busy = false;
    if (s != NULL) {
        trace(b, answer);
        s->request = BACKEND_NONE;
        bm_wipe(s->command, s->command_len); /* may have been a private key */
        s->command_len = 0;
        b->running = NULL;
        s->done(s->arg, answer); /* may close the session */
    }
    pump(b);
}

void
backend_hang(struct backend *b, const char *fault)
{
    trace(b, &(struct backend_answer){ .err = BM_ERR_TIMEOUT, .cause = "none", .fault = fault });
    b->running = NULL; /* its session keeps waiting */
    b->busy = false;
    pump(b);
}

struct span
backend_atr(const struct backend *b)
{
    return b->ops->atr(b);
}

void
backend_stats(struct backend *b, struct buf *out)
{
    b->ops->stats(b, out);
}

void
backend_save(struct backend *b)
{
    if (b->ops->save != NULL)
        b->ops->save(b);
}

void
backend_free(struct backend *b)
{
    if (b != NULL)
        b->ops->free(b);
}
