/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: its sockets, buffers and deadlines; what its packets mean is in hello.c and
 * relay.c.
 *
 * Backpressure: while more than HOLD_MAX waits for one side, the other is not read. Input that was
 * left in OpenSSL or in `in` at that time is marked by `stalled`, because epoll will not tell of
 * it (SPEC endpoint 10.3); conn_settle takes it up again. The same holds while a client is over a
 * rate, or a 3.1.1 client has as many messages in flight as it may.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include "registry/registry.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { STALLED_MS = 500 }; /* a deadline that comes so late is none */

/* ---- records ---- */

void
conn_peer(const struct conn *c, char out[PEER_TEXT])
{
    bool v6 = strchr(c->source_ip, ':') != NULL;

    (void)snprintf(out, PEER_TEXT, v6 ? "[%s]:%u" : "%s:%u", c->source_ip, c->source_port);
}

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
    conn_peer(c, peer);
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

/* An IPv6 network of /64 is one customer. */
static uint64_t
address_key(const struct conn *c)
{
    uint8_t v6[16];

    if (inet_pton(AF_INET6, c->source_ip, v6) == 1) {
        return throttle_key(c->w->o->throttle, v6, 8, NULL, 0);
    }
    return throttle_key(c->w->o->throttle, c->source_ip, strlen(c->source_ip), NULL, 0);
}

/* False when its address has too many, which ends it. */
static bool
enter_address(struct conn *c, enum throttle_of kind, enum limit which, enum cause cause)
{
    uint32_t max = limit(c->w, which);
    unsigned have;

    if (max == 0) {
        return true;
    }
    have = throttle_enter(c->w->o->throttle, c->w->o->index, kind, address_key(c));
    c->of_address[kind] = true;
    if (have > max) {
        conn_end(c, cause, "limit=%s max=%u", limit_row(which)->name, max);
        return false;
    }
    return true;
}

static void
leave_address(struct conn *c, enum throttle_of kind)
{
    if (c->of_address[kind]) {
        throttle_leave(c->w->o->throttle, c->w->o->index, kind, address_key(c));
    }
    c->of_address[kind] = false;
}

static void
release(struct conn *c)
{
    struct worker *w = c->w;

    loop_remove(w->loop, c->watch);
    loop_cancel(w->loop, c->deadline);
    loop_cancel(w->loop, c->retry);
    loop_cancel(w->loop, c->pause);
    loop_cancel(w->loop, c->up_pause);
    broker_drop(c);
    leave_address(c, THROTTLE_CONNECTIONS);
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
    free(c->retained_will);
    free(c->subscriptions);
    c->client_id = NULL;
    c->retained_will = NULL;
    c->subscriptions = NULL;
    c->subscription_count = 0;
    c->policies = NULL;
    c->next_policies = NULL;
    c->watch = NULL;
    c->deadline = NULL;
    c->retry = NULL;
    c->pause = NULL;
    c->up_pause = NULL;
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
        if (c->up_fd < 0) {
            broker_lost(c);
            return;
        }
        /* 1.5 times the interval without a packet; SPEC aws-iot 6.2 */
        quiet_ms = clock_mono_ms() - c->heard_ms;
        if (quiet_ms >= 1500 * (int64_t)c->keep_alive_s) {
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
        leave_address(c, THROTTLE_HANDSHAKES);
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

/* ---- client side ---- */

static void
client_gone(struct conn *c, const char *how)
{
    if (c->state == CONN_TLS) {
        conn_end(c, CAUSE_TLS, "error=\"%s\"", how);
        return;
    }
    c->left = LEFT_LOST;
    conn_end(c, CAUSE_DISCONNECTED, "by=client how=\"%s\"%s", how,
        c->state == CONN_RELAY ? "" : " before=connack");
}

/* Level 5 was told its receive maximum, and is ended for more: see relay.c. SPEC aws-iot 6.3 */
static bool
has_enough_in_flight(const struct conn *c)
{
    uint32_t max = limit(c->w, LIMIT_IN_FLIGHT);

    return (c->level == 4 && max != 0 && c->in_flight >= max) || acks_full(c);
}

static bool
client_reads(const struct conn *c)
{
    switch (c->state) {
    case CONN_TLS:
    case CONN_HELLO:
        return true;
    case CONN_RELAY:
        return c->up_fd >= 0 && c->up_out.len < HOLD_MAX && c->pause == NULL &&
               !has_enough_in_flight(c) && !control_congested(c->w);
    case CONN_VERDICT:
    case CONN_POLICY:
    case CONN_BROKER:
    case CONN_CONNACK:
    case CONN_CLOSING:
    case CONN_CLOSED:
        return false;
    }
    return false;
}

static void
client_packet(struct conn *c, const struct mqtt_packet *p)
{
    if (c->state == CONN_HELLO) {
        hello_packet(c, p);
    } else {
        relay_packet(c, p);
    }
}

static void
client_malformed(struct conn *c, struct rd at, uint32_t limit)
{
    struct mqtt_packet p;
    enum bm_err err = mqtt_next(&at, 268435455, &p);

    if (err == BM_OK || err == BM_ERR_MORE) { /* only its size is wrong */
        conn_dismiss(c, CAUSE_TOO_LARGE, REASON_QUOTA, "packet_max=%u", limit);
    } else {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_MALFORMED, "field=\"fixed header\"");
    }
}

/* Handle the whole packets in `in` and `chunk`, keep the rest. `chunk` is not part of `in`. */
static void
client_bytes(struct conn *c, struct span chunk)
{
    bool kept = c->in.len > 0;
    struct mqtt_packet p;
    struct rd r;
    enum bm_err err = BM_OK;

    if (kept) {
        buf_add(&c->in, chunk.ptr, chunk.len);
    }
    r = rd_of(kept ? buf_span(&c->in) : chunk);
    while (c->state == CONN_HELLO || (c->state == CONN_RELAY && client_reads(c))) {
        uint32_t max = c->state == CONN_HELLO ? CONNECT_MAX : MQTT_REMAINING_MAX;

        err = mqtt_next(&r, max, &p);
        if (err == BM_ERR_PROTO) {
            client_malformed(c, r, max);
        }
        if (err != BM_OK) {
            break;
        }
        client_packet(c, &p);
    }
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (kept) {
        buf_drop(&c->in, c->in.len - rd_left(&r));
    } else {
        buf_add(&c->in, r.pos, rd_left(&r));
    }
    if (c->in.len == 0) {
        buf_fini(&c->in);
    }
    if (c->in.failed) {
        log_error("out of memory: connection of %s ended", c->source_ip);
        conn_drop(c);
    }
}

/* SPEC aws-iot 6.3: what is over the throughput is delayed. */
static void
count_bytes(struct conn *c, size_t len)
{
    uint32_t max = limit(c->w, LIMIT_THROUGHPUT);
    int64_t now = clock_mono_us();
    int64_t wait;

    if (max == 0 || c->state != CONN_RELAY) {
        return;
    }
    rate_add(&c->sent_bytes_us, now, (uint32_t)len, max);
    wait = rate_wait(c->sent_bytes_us, now, 0, max);
    if (wait > 0) {
        conn_note(c, CAUSE_THROUGHPUT, "from=client bytes_per_second=%u", max);
        conn_pause(c, &c->pause, wait);
    }
}

/* Is there input that epoll does not tell of? Part of a packet alone is none: its rest is to come.
 */
static bool
has_stalled(const struct conn *c)
{
    return c->state != CONN_CLOSED &&
           (SSL_has_pending(c->ssl) != 0 || (c->in.len > 0 && !client_reads(c)));
}

static void on_retry_read(void *arg);

/* Read until OpenSSL has no more, the other side holds us back, or others must have their turn. */
static void
client_read(struct conn *c)
{
    size_t budget = READ_BUDGET;

    if (c->in.len > 0 && c->stalled) {
        client_bytes(c, span_of(NULL, 0));
        c->stalled = has_stalled(c);
    }
    while (client_reads(c)) {
        size_t len = 0;
        enum tls_io io;

        if (budget == 0) {
            c->stalled = true;
            c->retry = loop_after(c->w->loop, 0, on_retry_read, c);
            return;
        }
        io = tls_read(c, c->w->scratch, SCRATCH_LEN, &len);
        if (io == TLS_AGAIN) {
            c->stalled = false;
            return;
        }
        if (io != TLS_OK) {
            client_gone(c, io == TLS_CLOSED ? "connection closed" : "TLS error");
            return;
        }
        count(c->w, METRIC_BYTES_IN, len);
        count_bytes(c, len);
        budget -= len < budget ? len : budget;
        client_bytes(c, span_of(c->w->scratch, len));
        if (c->state == CONN_CLOSED) {
            return;
        }
        c->stalled = has_stalled(c);
        if (SSL_has_pending(c->ssl) == 0) {
            return; /* epoll tells of what is still in the socket */
        }
    }
}

static void
on_retry_read(void *arg)
{
    struct conn *c = arg;

    c->retry = NULL;
    if (client_reads(c)) {
        client_read(c);
    }
    conn_settle(c);
}

static void
handshake(struct conn *c)
{
    char facts[TIMELINE_FACTS_MAX + 1] = "";
    enum cause cause = CAUSE_TLS;
    enum tls_io io;

    if (!c->handshaking) { /* its first bytes: who only connects takes no place from others */
        c->handshaking = true;
        c->w->handshakes++;
        worker_accepting(c->w);
        if (!enter_address(
                c, THROTTLE_HANDSHAKES, LIMIT_ADDRESS_HANDSHAKES, CAUSE_ADDRESS_HANDSHAKES)) {
            return;
        }
    }
    io = tls_accept(c, &cause, facts, sizeof facts);
    if (io == TLS_AGAIN) {
        return;
    }
    if (io != TLS_OK) {
        if (BIO_number_read(SSL_get_rbio(c->ssl)) == 0) {
            conn_drop(c); /* not one byte came: a port check, nothing to tell */
        } else {
            conn_end(c, cause, "%s", facts);
        }
        return;
    }
    if (!tls_peer(c)) {
        conn_end(c, CAUSE_NO_CERTIFICATE, "version=%s", SSL_get_version(c->ssl));
        return;
    }
    c->has_cert = true;
    hex_encode(c->cert_hex, c->cert_id, sizeof c->cert_id);
    c->sni = tls_sni(c, &c->account);
    lean_make(c);
    count(c->w, METRIC_HANDSHAKES, 1);
    conn_go(c, EV_TLS_DONE);
}

static void
flush_client(struct conn *c)
{
    struct rd r = rd_of(buf_span(&c->out));
    enum tls_io io = TLS_OK;

    if (c->out.failed) {
        log_error("out of memory: connection of %s ended", c->source_ip);
        conn_drop(c);
        return;
    }
    while (rd_left(&r) > 0 && io == TLS_OK) {
        size_t len = 0;

        io = tls_write(c, span_of(r.pos, rd_left(&r)), &len);
        count(c->w, METRIC_BYTES_OUT, len);
        (void)rd_span(&r, len);
    }
    if (io == TLS_CLOSED || io == TLS_FAILED) {
        client_gone(c, "cannot write");
        return;
    }
    if (rd_left(&r) == 0) {
        buf_fini(&c->out);
    } else {
        buf_drop(&c->out, c->out.len - rd_left(&r));
    }
}

static void
client_watch(struct conn *c)
{
    uint32_t events = (client_reads(c) && !c->stalled ? (uint32_t)EPOLLIN : 0) |
                      (c->out.len > 0 || c->ssl_wants_write ? (uint32_t)EPOLLOUT : 0);

    if (events != c->events) {
        c->events = events;
        loop_modify(c->w->loop, c->watch, events);
    }
}

static void
on_pause(void *arg)
{
    struct conn *c = arg;

    c->pause = NULL;
    conn_settle(c);
}

static void
on_up_pause(void *arg)
{
    struct conn *c = arg;

    c->up_pause = NULL;
    conn_settle(c);
}

void
conn_pause(struct conn *c, struct loop_timer **timer, int64_t wait_us)
{
    if (*timer == NULL) {
        *timer = loop_after(
            c->w->loop, wait_us / 1000 + 1, timer == &c->pause ? on_pause : on_up_pause, c);
    }
}

void
conn_resume(struct conn *c)
{
    if (c->stalled && c->retry == NULL) {
        c->retry = loop_after(c->w->loop, 0, on_retry_read, c);
    }
    client_watch(c);
}

void
conn_settle(struct conn *c)
{
    bool again = true;

    while (again && c->state != CONN_CLOSED) {
        if (c->out.len > 0 || c->out.failed) {
            flush_client(c);
        }
        if (c->state != CONN_CLOSED) {
            broker_flush(c);
        }
        again = c->stalled && c->retry == NULL && client_reads(c);
        if (again) {
            client_read(c);
        }
    }
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (c->state == CONN_CLOSING && c->out.len == 0 && c->up_out.len == 0) {
        conn_drop(c);
        return;
    }
    client_watch(c);
    broker_watch(c);
}

static void
on_client(void *arg, uint32_t events)
{
    struct conn *c = arg;

    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (c->events & EPOLLIN) == 0) {
        client_gone(c, "connection closed");
        return;
    }
    if (c->state == CONN_TLS) {
        handshake(c);
        events |= EPOLLIN; /* CONNECT may have come with the last flight */
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && c->state != CONN_TLS &&
        client_reads(c)) {
        client_read(c);
    }
    conn_settle(c);
}

static void
note_address(struct conn *c, const struct sockaddr_storage *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->ss_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, c->source_ip, sizeof c->source_ip);
        c->source_port = ntohs(v4.sin_port);
    } else {
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, c->source_ip, sizeof c->source_ip);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) { /* policies speak of the IPv4 form */
            (void)inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], c->source_ip, sizeof c->source_ip);
        }
        c->source_port = ntohs(v6.sin6_port);
    }
}

static enum bm_err
set_up(struct conn *c)
{
    const int on = 1;

    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->ssl = SSL_new(c->w->tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        return BM_ERR_MEM;
    }
    c->events = EPOLLIN;
    c->watch = loop_add(c->w->loop, c->fd, c->events, on_client, c);
    return c->watch == NULL ? BM_ERR_MEM : BM_OK;
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
    c->up_fd = -1;
    note_address(c, address);
    c->next = w->conns;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    w->conns = c;
    c->opened_ms = clock_mono_ms();
    count(w, METRIC_CONNECTIONS, 1);
    count(w, METRIC_ACCEPTED, 1);
    w->conn_count++;
    if (set_up(c) != BM_OK) {
        conn_drop(c);
        return BM_ERR_MEM;
    }
    if (broker_all_away(w)) { /* a handshake would be in vain */
        conn_end(c, CAUSE_BROKER_DOWN, "at=accept");
        return BM_OK;
    }
    if (enter_address(
            c, THROTTLE_CONNECTIONS, LIMIT_ADDRESS_CONNECTIONS, CAUSE_ADDRESS_CONNECTIONS)) {
        conn_deadline(c, limit(w, LIMIT_HANDSHAKE_MS));
    }
    return BM_OK;
}
