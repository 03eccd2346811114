/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one connection: how it begins, its states and their deadlines, how it ends, and what
 * the timeline and the client are told of that.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include "registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STALLED_MS = 500, /* a deadline that comes so late is none */
    UNREAD_MS = 1000, /* for a client that is not read just then */
};

/* ---- records ---- */

/* Peers without a certificate cost nothing to be, so their records are rationed. SPEC 10.9 */
static bool
may_record(struct conn *c)
{
    struct worker *w = c->w;
    int64_t second = clock_mono_ms() / 1000;

    if (c->has_cert) {
        return true;
    }
    if (second != w->anonymous_second) {
        if (w->anonymous_count > ANONYMOUS_RECORDS) {
            log_warn("refusals of peers without a certificate not recorded: %u in one second",
                w->anonymous_count - ANONYMOUS_RECORDS);
        }
        w->anonymous_second = second;
        w->anonymous_count = 0;
    }
    return ++w->anonymous_count <= ANONYMOUS_RECORDS;
}

__attribute__((format(printf, 3, 0))) static void
record(struct conn *c, enum cause cause, const char *facts_fmt, va_list ap)
{
    struct timeline_record rec;
    char facts[TIMELINE_FACTS_MAX + 1];
    char peer[PEER_TEXT];

    metrics_add(&c->w->o->metrics->causes[cause], 1);
    if (!may_record(c)) {
        return;
    }
    (void)vsnprintf(facts, sizeof facts, facts_fmt, ap);
    address_text(c, peer);
    timeline_fill(&rec, cause, c->has_cert ? c->cert_id : NULL,
        c->client_id != NULL ? c->client_id : "", peer,
        c->status != 0 ? cert_status_name((enum cert_status)c->status) : "", "%s", facts);
    control_record(c->w, c->account, &rec);
}

void
conn_record(struct conn *c, enum cause cause, const char *facts_fmt, ...)
{
    va_list ap;

    va_start(ap, facts_fmt);
    record(c, cause, facts_fmt, ap);
    va_end(ap);
}

void
conn_note(struct conn *c, enum cause cause, const char *facts_fmt, ...)
{
    va_list ap;

    if (c->denials++ >= DENIALS_RECORDED) {
        metrics_add(&c->w->o->metrics->causes[cause], 1);
        return;
    }
    va_start(ap, facts_fmt);
    record(c, cause, facts_fmt, ap);
    va_end(ap);
}

void
conn_end(struct conn *c, enum cause cause, const char *facts_fmt, ...)
{
    va_list ap;

    if (c->state == CONN_CLOSED) {
        return;
    }
    if (c->state != CONN_CLOSING) { /* its cause is recorded already */
        c->ended_by = cause;
        va_start(ap, facts_fmt);
        record(c, cause, facts_fmt, ap);
        va_end(ap);
    }
    conn_go(c, EV_END);
}

void
conn_drop(struct conn *c)
{
    if (c->state != CONN_CLOSED) {
        conn_go(c, EV_END);
    }
}

enum { UNAVAILABLE_4 = 3 }; /* level 4, OASIS 3.1.1 3.2.2.3: the service is unavailable */

/* Nobody's answer is for it any more. */
static void
stop_waiting(struct conn *c)
{
    c->w->control.admits -= c->admitting ? 1 : 0;
    c->admitting = false;
    index_remove(&c->w->by_request, c);
    policies_stop_waiting(c);
    broker_stop_waiting(c);
}

void
conn_dismiss(struct conn *c, enum cause cause, enum reason reason, const char *facts_fmt, ...)
{
    struct mqtt_connack refusal = { .code = (uint8_t)reason };
    struct buf why = { 0 };
    char *text;
    va_list ap;

    if (c->state == CONN_CLOSED || c->state == CONN_CLOSING) {
        conn_drop(c);
        return;
    }
    c->ended_by = cause;
    va_start(ap, facts_fmt);
    record(c, cause, facts_fmt, ap);
    va_end(ap);
    if (c->level == 4 && reason == REASON_UNAVAILABLE && c->state != CONN_RELAY) {
        refusal.code = UNAVAILABLE_4;
    } else if (c->level != 5) {
        conn_go(c, EV_END);
        return;
    }
    stop_waiting(c);
    broker_drop(c);
    text = reason_text(c, REASON_ENDS, cause, "");
    reason_property(text, &why);
    free(text);
    refusal.properties = buf_span(&why);
    if (c->state == CONN_RELAY) {
        mqtt_build_disconnect(&c->out, 5, (uint8_t)reason, buf_span(&why));
    } else {
        mqtt_build_connack(&c->out, c->level, &refusal);
    }
    buf_fini(&why);
    conn_go(c, EV_FLUSH);
}

void
fact_text(char *out, size_t cap, struct span s)
{
    size_t len = s.len < cap ? s.len : cap - 1;

    while (len < s.len && len > 0 && (s.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t b = s.ptr[i];

        out[i] = b < 0x20 || b == 0x7f || b == '"' ? '?' : (char)b;
    }
    out[len] = '\0';
}

/* ---- life ---- */

static void
release(struct conn *c)
{
    struct worker *w = c->w;

    loop_remove(w->loop, c->watch);
    loop_cancel(w->loop, c->deadline);
    loop_cancel(w->loop, c->retry);
    loop_cancel(w->loop, c->pause);
    loop_cancel(w->loop, c->up_pause);
    loop_cancel(w->loop, c->behind);
    broker_drop(c);
    address_leave(c, THROTTLE_CONNECTIONS);
    SSL_free(c->ssl);
    (void)close(c->fd);
    index_remove(&w->by_client, c);
    index_remove(&w->by_cert, c);
    stop_waiting(c);
    acks_forget(c);
    policies_put(c->policies);
    policies_put(c->next_policies);
    policy_certificate_free(c->certificate);
    c->certificate = NULL;
    policy_thing_free(c->thing);
    c->thing = NULL;
    buf_fini(&c->in);
    buf_fini(&c->out);
    buf_fini(&c->up_in);
    buf_fini(&c->up_out);
    buf_fini(&c->connect);
    buf_fini(&c->leaf);
    while (c->partials != NULL) {
        struct partial_sub *p = c->partials;

        c->partials = p->next;
        free(p->why);
        free(p);
    }
    free(c->client_id);
    free(c->will);
    free(c->subscriptions);
    c->client_id = NULL;
    c->will = NULL;
    c->subscriptions = NULL;
    c->subscription_count = 0;
    c->policies = NULL;
    c->next_policies = NULL;
    c->watch = NULL;
    c->deadline = NULL;
    c->retry = NULL;
    c->pause = NULL;
    c->up_pause = NULL;
    c->behind = NULL;
    c->ssl = NULL;
}

static void
unlist(struct conn *c)
{
    struct worker *w = c->w;

    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        w->conns = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    c->next = w->closed;
    c->prev = NULL;
    w->closed = c;
    count(w, METRIC_CONNECTIONS, (uint64_t)-1);
    w->conn_count--;
}

void
conns_free_closed(struct worker *w)
{
    while (w->closed != NULL) {
        struct conn *c = w->closed;

        w->closed = c->next;
        free(c);
    }
}

static void
on_deadline(void *arg)
{
    struct conn *c = arg;
    int64_t late_ms = clock_mono_ms() - c->due_ms;
    int64_t quiet_ms;

    c->deadline = NULL;
    if (late_ms >= STALLED_MS) { /* we stood still: what came in time may not have been read yet */
        conn_deadline(c, late_ms);
        return;
    }
    switch (c->state) {
    case CONN_TLS:
    case CONN_HELLO:
        conn_end(c, CAUSE_CONNECT_TIMEOUT, "during=%s", c->state == CONN_TLS ? "tls" : "connect");
        return;
    case CONN_VERDICT:
    case CONN_POLICY:
        conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_UNAVAILABLE, "waited_ms=%d", CONTROL_WAIT_MS);
        conn_settle(c);
        return;
    case CONN_BROKER:
    case CONN_CONNACK:
        broker_silent(c);
        conn_dismiss(c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE,
            "waiting_for=%s tries=%u waited_ms=%d", c->state == CONN_BROKER ? "socket" : "connack",
            c->broker_tries, BROKER_WAIT_MS);
        conn_settle(c);
        return;
    case CONN_RELAY:
        if (c->up.fd < 0) {
            broker_lost(c);
            return;
        }
        /* 1.5 times the interval without a packet; SPEC aws-iot 6.2 */
        quiet_ms = clock_mono_ms() - c->heard_ms;
        if (quiet_ms >= 1500 * (int64_t)c->keep_alive_s && !client_reads(c)) {
            conn_deadline(c, UNREAD_MS); /* it may have spoken */
        } else if (quiet_ms >= 1500 * (int64_t)c->keep_alive_s) {
            conn_dismiss(
                c, CAUSE_KEEP_ALIVE, REASON_KEEP_ALIVE, "keep_alive_s=%u", c->keep_alive_s);
            conn_settle(c);
        } else {
            conn_deadline(c, 1500 * (int64_t)c->keep_alive_s - quiet_ms);
        }
        return;
    case CONN_CLOSING:
        conn_drop(c);
        return;
    case CONN_CLOSED:
        return;
    }
}

void
conn_deadline(struct conn *c, int64_t delay_ms)
{
    loop_cancel(c->w->loop, c->deadline);
    c->due_ms = clock_mono_ms() + delay_ms;
    c->deadline = loop_after(c->w->loop, delay_ms, on_deadline, c);
    if (c->deadline == NULL) {
        log_error("out of memory: connection ended because it would have no deadline");
        conn_drop(c);
    }
}

void
conn_go(struct conn *c, enum conn_event event)
{
    enum conn_state from = c->state;

    if (!conn_next(from, event, &c->state)) {
        log_error("connection: event %d cannot happen in state %d; closing it", event, from);
        c->state = CONN_CLOSED;
    }
    if (from == CONN_TLS && c->handshaking) {
        c->w->handshakes--;
        address_leave(c, THROTTLE_HANDSHAKES);
    }
    if (from == CONN_RELAY) {
        if (c->left != LEFT_CLIENT) {
            relay_will(c);
        }
        presence_disconnected(c);
    }
    if (c->state == CONN_CLOSING) {
        conn_deadline(c, FLUSH_WAIT_MS);
    }
    if (c->state == CONN_CLOSED && from != CONN_CLOSED) {
        release(c);
        unlist(c);
    }
    if (from == CONN_TLS || c->state == CONN_CLOSED) {
        worker_accepting(c->w);
    }
}

enum bm_err
conn_open(struct worker *w, int fd, const struct sockaddr_storage *address)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        (void)close(fd);
        return BM_ERR_MEM;
    }
    c->w = w;
    c->fd = fd;
    c->up.fd = -1;
    address_note(c, address);
    c->next = w->conns;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    w->conns = c;
    c->opened_ms = clock_mono_ms();
    count(w, METRIC_CONNECTIONS, 1);
    count(w, METRIC_ACCEPTED, 1);
    w->conn_count++;
    if (client_attach(c) != BM_OK) {
        conn_drop(c);
        return BM_ERR_MEM;
    }
    if (broker_all_away(w)) { /* a handshake would be in vain */
        conn_end(c, CAUSE_BROKER_DOWN, "at=accept");
        return BM_OK;
    }
    if (address_enter(
            c, THROTTLE_CONNECTIONS, LIMIT_ADDRESS_CONNECTIONS, CAUSE_ADDRESS_CONNECTIONS)) {
        conn_deadline(c, limit(w, LIMIT_HANDSHAKE_MS));
    }
    return BM_OK;
}
