/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's socket: handshake, packets in, bytes out, and when it is read at all. What packets
 * mean is in hello.c and relay.c; the other socket is broker.c's.
 *
 * Backpressure: while more than HOLD_MAX waits for one side, the other is not read, nor a client
 * that does not read itself. Input that was left in OpenSSL or in `in` at that time is marked by
 * `stalled`, because epoll will not tell of it (SPEC endpoint 10.3); conn_settle takes it up again.
 * The same holds while a client is over a rate, or a 3.1.1 client has as many messages in flight as
 * it may.
 */
#include "base/clock.h"
#include "endpoint/inside.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

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

bool
client_reads(const struct conn *c)
{
    switch (c->state) {
    case CONN_TLS:
    case CONN_HELLO:
        return true;
    case CONN_RELAY:
        return c->up.fd >= 0 && c->up_out.len < HOLD_MAX && c->out.len < HOLD_MAX &&
               c->pause == NULL && !has_enough_in_flight(c) && !control_congested(c->w);
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
        conn_end(c, CAUSE_OUT_OF_MEMORY, "at=client");
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
        if (!address_enter(
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
        conn_end(c, CAUSE_OUT_OF_MEMORY, "at=client");
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
        if (rd_left(&r) < c->out.len) {
            slow_took(c);
        }
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
    slow_watch(c);
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

enum bm_err
client_attach(struct conn *c)
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
