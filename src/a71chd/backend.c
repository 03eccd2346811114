/* SPDX-License-Identifier: Apache-2.0 */
/* See backend.h: the queue that all kinds of chip share. */
#include "a71chd/backend.h"

#include "a71chd/trace.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void
unlink_request(struct backend *b, const struct backend_session *s)
{
    struct backend_session *last = NULL;

    for (struct backend_session **at = &b->head; *at != NULL;) {
        if (*at == s) {
            *at = s->next;
        } else {
            last = *at;
            at = &last->next;
        }
    }
    b->tail = last;
}

/* Whose turn it is: the first in the queue, or the first that the holder of the lease asked for. */
static struct backend_session *
next_request(struct backend *b)
{
    struct backend_session *s = b->head;

    while (s != NULL && b->lease.holder != NULL && s != b->lease.holder)
        s = s->next;
    return s;
}

static void grant(struct backend_session *s);

static void
pump(struct backend *b)
{
    struct backend_session *s;

    if (b->pumping)
        return;
    b->pumping = true;
    while (!b->busy && (s = next_request(b)) != NULL) {
        unlink_request(b, s);
        s->next = NULL;
        if (s->request == BACKEND_LEASE) {
            grant(s);
            continue;
        }
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

    if (b->running == s)
        b->running = NULL;
    if (s->request == BACKEND_LEASE) {
        loop_cancel(b->loop, s->lease.wait);
        s->lease.wait = NULL;
        b->lease.waiting--;
    }
    unlink_request(b, s);
    s->next = NULL;
    s->request = BACKEND_NONE;
    bm_wipe(s->command, s->command_len);
    s->command_len = 0;
}

static void
end_lease(struct backend *b)
{
    loop_cancel(b->loop, b->lease.end);
    b->lease.end = NULL;
    b->lease.holder->lease.depth = 0;
    b->lease.holder = NULL;
}

static void
on_lease_over(void *arg)
{
    struct backend *b = arg;
    struct backend_session *s = b->lease.holder;

    b->lease.end = NULL;
    b->lease.expired++;
    log_warn(
        "client=%u has leased the chip for %u ms, which are over", s->client, s->lease.hold_ms);
    s->lease.lost = true;
    end_lease(b);
    pump(b);
}

/* The end of a request that the chip has nothing to do with. */
static void
finish_lease(struct backend_session *s, enum bm_err err, const char *cause)
{
    withdraw(s);
    s->done(s->arg, &(struct backend_answer){ .err = err, .cause = cause });
}

static void
grant(struct backend_session *s)
{
    struct backend *b = s->backend;

    b->lease.end = loop_after(b->loop, s->lease.hold_ms, on_lease_over, b);
    if (b->lease.end == NULL) {
        finish_lease(s, BM_ERR_MEM, "a71chd is out of memory");
        return;
    }
    b->lease.holder = s;
    b->lease.since_ms = clock_mono_ms();
    b->lease.granted++;
    s->lease.depth = 1;
    s->lease.lost = false;
    finish_lease(s, BM_OK, NULL);
}

static void
on_wait_over(void *arg)
{
    struct backend_session *s = arg;
    const struct backend *b = s->backend;
    char cause[128];

    s->lease.wait = NULL;
    if (b->lease.holder != NULL)
        (void)snprintf(cause, sizeof cause,
            "the chip is leased: client %u has it, for %lld ms already; try again later",
            b->lease.holder->client, (long long)(clock_mono_ms() - b->lease.since_ms));
    else
        (void)snprintf(
            cause, sizeof cause, "the chip is busy with other commands; try again later");
    finish_lease(s, BM_ERR_TIMEOUT, cause);
}

void
backend_lease(struct backend_session *s, unsigned wait_ms, unsigned hold_ms)
{
    struct backend *b = s->backend;

    s->lease.lost = false;
    if (b->lease.holder == s) {
        s->lease.depth++;
        s->done(s->arg, &(struct backend_answer){ .err = BM_OK });
        return;
    }
    b->lease.waiting++;
    s->request = BACKEND_LEASE;
    if (b->lease.waiting > BACKEND_LEASES_MAX) {
        finish_lease(s, BM_ERR_LIMIT,
            "too many clients wait for a lease of the chip already; try again later");
        return;
    }
    s->lease.hold_ms = hold_ms;
    s->lease.wait = loop_after(b->loop, wait_ms, on_wait_over, s);
    if (s->lease.wait == NULL)
        finish_lease(s, BM_ERR_MEM, "a71chd is out of memory");
    else
        enqueue(s, BACKEND_LEASE);
}

enum bm_err
backend_release(struct backend_session *s)
{
    struct backend *b = s->backend;

    s->lease.lost = false;
    if (b->lease.holder != s)
        return BM_ERR_CONFLICT;
    if (--s->lease.depth > 0)
        return BM_OK;
    end_lease(b);
    pump(b);
    return BM_OK;
}

void
backend_leases(const struct backend *b, struct buf *out)
{
    const char *comma = "";

    buf_addf(
        out, "{\"granted\":%lu,\"expired\":%lu,\"holder\":", b->lease.granted, b->lease.expired);
    if (b->lease.holder != NULL)
        buf_addf(out, "{\"client\":%u,\"held_ms\":%lld,\"hold_ms\":%u}", b->lease.holder->client,
            (long long)(clock_mono_ms() - b->lease.since_ms), b->lease.holder->lease.hold_ms);
    else
        buf_addf(out, "null");
    buf_addf(out, ",\"waiting\":[");
    for (const struct backend_session *s = b->head; s != NULL; s = s->next) {
        if (s->request != BACKEND_LEASE)
            continue;
        buf_addf(out, "%s%u", comma, s->client);
        comma = ",";
    }
    buf_addf(out, "]}");
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
    struct backend *b = s != NULL ? s->backend : NULL;

    if (s == NULL)
        return;
    withdraw(s);
    if (b->lease.holder == s)
        end_lease(b);
    b->ops->session_free(s);
    pump(b);
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

    if (s->lease.lost) {
        s->lease.lost = false;
        s->done(s->arg,
            &(struct backend_answer){ .err = BM_ERR_TIMEOUT,
                .cause = "the time of your lease of the chip is over, and others may have used it; "
                         "begin the sequence again" });
        return;
    }
    wr_span(&w, command);
    s->command_len = wr_len(&w);
    enqueue(s, BACKEND_APDU);
}

void
backend_reset(struct backend_session *s)
{
    withdraw(s);
    s->lease.lost = false;
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
    trace(
        b, &(struct backend_answer){ .err = BM_ERR_TIMEOUT, .cause = "no answer", .fault = fault });
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
