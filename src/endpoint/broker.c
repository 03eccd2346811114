/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upstream side of a connection: one socket to the broker for each admitted client.
 *
 * mosquitto's Unix listener has a backlog of 10, and a full one answers EAGAIN at once without an
 * event to wait for (SPEC endpoint 10.1). Who finds it full joins one queue for the whole worker;
 * a timer tries for the first in it, and goes on as long as there is room, so that a storm costs
 * one vain attempt a tick and nobody overtakes. The socket closes without DISCONNECT unless the
 * client sent one, so that wills fire.
 *
 * A broker that goes away takes all its connections at once. So that the devices do not come back
 * all at once, they are closed over a time that grows with their number (SPEC endpoint 10.6); until
 * then a client is not read. Newcomers wait a while for its return; when it has been away for that
 * long, they are refused at once until it is back.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    RETRY_MS = 1,
    RETRY_SHIFT_MAX = 5,
    ABSENT_MS = 64,
    PROBE_MS = 100,
    JUDGE_MS = 100,
    SPREAD_MAX_MS = 5000, /* over which those of a lost broker are closed, 1 ms each */
};

void
broker_drop(struct conn *c)
{
    if (c->up.fd < 0) {
        return;
    }
    loop_remove(c->w->loop, c->up_watch);
    transport_close(&c->up);
    c->up_watch = NULL;
    buf_fini(&c->up_out);
    buf_fini(&c->up_in);
}

static const struct upstream *
upstream_of(const struct conn *c)
{
    return c->w->o->accounts[c->account].broker;
}

/* ---- topics ---- */

const struct topics *
broker_topics(const struct conn *c)
{
    return upstream_of(c)->topics;
}

bool
broker_takes(struct conn *c, struct span topic, enum reason reason)
{
    uint8_t space[BROKER_TOPIC_ROOM];
    struct wr room = wr_of(space, sizeof space);
    const struct topics *t = broker_topics(c);
    struct span there;
    char text[80];

    if (topics_to_broker(t, topic, &room, &there)) {
        return true;
    }
    fact_text(text, sizeof text, topic);
    conn_dismiss(c, CAUSE_TOO_LARGE, reason,
        "topic=\"%s\" topic_bytes=%zu broker=%s broker_max=%zu", text, there.len, t->name, t->max);
    return false;
}

/*
 * Level 5: aliases towards the client would hide the topic from iot:Receive, so none are asked for.
 * A client may take less at a time than the service gives, not more; without a word of it the
 * configuration of a broker of ours has the same limit.
 */
static void
connect_properties(const struct conn *c, struct span from, struct buf *out)
{
    uint32_t max = limit(c->w, LIMIT_IN_FLIGHT);
    bool said = upstream_is_ours(upstream_of(c));
    struct rd list = rd_of(from);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        said = said || p.id == MQTT_PROP_RECEIVE_MAXIMUM;
        if (p.id == MQTT_PROP_RECEIVE_MAXIMUM && max != 0 && p.number > max) {
            mqtt_put_number(out, p.id, max, 2);
        } else if (p.id != MQTT_PROP_TOPIC_ALIAS_MAX) {
            buf_add(out, p.whole.ptr, p.whole.len);
        }
    }
    if (!said && max != 0) {
        mqtt_put_number(out, MQTT_PROP_RECEIVE_MAXIMUM, max, 2);
    }
}

/* Level 5: seconds that the session outlives its connection. */
static uint32_t
expiry_of(struct span properties)
{
    struct rd list = rd_of(properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_SESSION_EXPIRY) {
            return p.number;
        }
    }
    return 0;
}

/* What a device says of a user is between it and the service; to a cluster the service is one. */
static void
log_in(const struct conn *c, struct mqtt_connect *m)
{
    const struct upstream *u = upstream_of(c);

    m->has_username = u->username[0] != '\0';
    m->username = span_str(u->username);
    m->has_password = u->password[0] != '\0';
    m->password = span_str(u->password);
}

/* Keep-alive is kept by the endpoint alone: the broker gets 0, and PINGREQ goes no further. */
static enum bm_err
write_connect(struct conn *c)
{
    struct mqtt_packet p = { .type = MQTT_CONNECT, .body = buf_span(&c->connect) };
    struct mqtt_connect m;
    struct buf properties = { 0 };
    uint8_t space[BROKER_TOPIC_ROOM];
    struct wr room = wr_of(space, sizeof space);
    enum bm_err err = mqtt_parse_connect(&p, &m, NULL);

    if (err == BM_OK) {
        if (m.will_properties.len > 0) {
            mqtt_bound_expiry(
                c->connect.ptr + (m.will_properties.ptr - c->connect.ptr), m.will_properties.len);
        }
        if (c->level == 5) {
            connect_properties(c, m.properties, &properties);
        }
        m.properties = buf_span(&properties);
        log_in(c, &m);
        err = properties.failed ? BM_ERR_MEM : BM_OK;
    }
    c->kept = c->level == 5 ? expiry_of(m.properties) != 0 : !m.clean;
    if (err == BM_OK && m.has_will) {
        err = relay_note_will(c, &m);
    }
    if (err == BM_OK && m.has_will) {
        (void)topics_to_broker(broker_topics(c), m.will_topic, &room, &m.will_topic);
    }
    if (err == BM_OK) {
        err = mqtt_build_connect(&c->up_out, &m, span_str(c->client_id), 0);
    }
    buf_fini(&properties);
    buf_fini(&c->connect);
    return err;
}

/* The broker ends the older connection of a client id; mark it, to tell its cause. */
static enum bm_err
take_over(struct conn *c)
{
    struct worker *w = c->w;
    uint64_t key = index_hash(w->seed, span_str(c->client_id));

    for (struct conn *o = index_first(&w->by_client, key); o != NULL;
         o = index_again(&w->by_client, o)) {
        if (o->account == c->account && strcmp(o->client_id, c->client_id) == 0) {
            o->superseded = true;
        }
    }
    return index_add(&w->by_client, c, key);
}

static bool
answers(const struct worker *w, size_t account)
{
    return upstream_answers(
        w->o->accounts[account].broker, w->accounts[account].address, BROKER_ANSWER_MS);
}

/*
 * Is the process at the other end being killed? Then the kernel closes its sockets one after the
 * other, and the one it listens on may be the last, so that it seems to serve on. Field 9 of
 * /proc/PID/stat are the flags of the kernel's sched.h.
 */
static bool
is_dying(int fd)
{
    enum { EXITING = 4 };
    struct ucred peer;
    socklen_t len = sizeof peer;
    char text[512];
    unsigned flags = 0;
    const char *after;
    FILE *f;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0) {
        return false;
    }
    (void)snprintf(text, sizeof text, "/proc/%d/stat", (int)peer.pid);
    f = fopen(text, "re");
    if (f == NULL) {
        return false;
    }
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    after = strrchr(text, ')'); /* of the program's name */
    return after != NULL && sscanf(after, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
           (flags & EXITING) != 0;
}

/* ---- is it there? ---- */

static void
on_probe(void *arg)
{
    struct worker *w = arg;
    bool absent = false;

    w->probe = NULL;
    for (size_t i = 0; i < w->o->account_count; i++) {
        if (w->accounts[i].absent_ms != 0 && answers(w, i)) {
            w->accounts[i].absent_ms = 0;
        } else if (w->accounts[i].absent_ms != 0) {
            w->accounts[i].address++;
        }
        absent = absent || w->accounts[i].absent_ms != 0;
    }
    if (absent) {
        w->probe = loop_after(w->loop, PROBE_MS, on_probe, w);
    }
}

static void
note_absence(struct conn *c)
{
    struct worker *w = c->w;
    struct worker_account *a = &w->accounts[c->account];

    if (a->absent_ms == 0) {
        a->absent_ms = clock_mono_ms();
    }
    if (w->probe == NULL) {
        w->probe = loop_after(w->loop, PROBE_MS, on_probe, w);
    }
}

/* No CONNACK: of a cluster's addresses the next may be better; many may say so of one. */
void
broker_silent(struct conn *c)
{
    struct worker_account *a = &c->w->accounts[c->account];

    if (upstream_is_ours(upstream_of(c))) {
        return;
    }
    if (c->broker_address == a->address) {
        a->address++;
    }
    note_absence(c);
}

/* For so long, in ms, that waiting for it is in vain; 0: it is there, or may soon be. */
static int64_t
away(const struct worker *w, size_t account)
{
    int64_t since = w->accounts[account].absent_ms;
    int64_t ms = since != 0 ? clock_mono_ms() - since : 0;

    return ms >= BROKER_WAIT_MS ? ms : 0;
}

bool
broker_all_away(const struct worker *w)
{
    for (size_t i = 0; i < w->o->account_count; i++) {
        if (away(w, i) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- its end ---- */

/* Over a time that grows with their number; see above. */
static void
lose_in_turn(struct conn *c)
{
    uint32_t spread = c->w->conn_count < SPREAD_MAX_MS ? (uint32_t)c->w->conn_count : SPREAD_MAX_MS;
    uint32_t draw;

    memcpy(&draw, c->session, sizeof draw);
    note_absence(c);
    c->broker_lost = true;
    conn_deadline(c, 1 + draw % spread);
}

/*
 * A broker that ends the connection of a client in good order and serves on does it for a newer
 * connection with the client id, which may be another worker's. Asked a moment after the end, for
 * one that dies on another machine.
 */
void
broker_lost(struct conn *c)
{
    struct worker_account *a = &c->w->accounts[c->account];

    if (c->broker_lost) {
        conn_end(c, CAUSE_DISCONNECTED, "by=broker how=\"closed\"");
    } else if (a->absent_ms == 0 && answers(c->w, c->account)) {
        conn_dismiss(c, CAUSE_TAKEN_OVER, REASON_TAKEN_OVER, "by=\"newer connection\"");
        conn_settle(c);
    } else {
        lose_in_turn(c);
    }
}

static void
broker_gone(struct conn *c, const char *how)
{
    if (c->state == CONN_CLOSING) {
        broker_drop(c);
    } else if (c->state != CONN_RELAY) {
        broker_silent(c);
        conn_dismiss(c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE, "broker=\"%s\" before=connack", how);
    } else if (c->superseded) {
        conn_dismiss(c, CAUSE_TAKEN_OVER, REASON_TAKEN_OVER, "by=\"newer connection\"");
    } else {
        bool dying = is_dying(c->up.fd);

        broker_drop(c);
        if (dying) {
            lose_in_turn(c);
        } else {
            conn_deadline(c, JUDGE_MS);
        }
    }
}

static void
broker_packet(struct conn *c, const struct mqtt_packet *p)
{
    if (c->state == CONN_CONNACK) {
        hello_connack(c, p);
    } else {
        relay_delivery(c, p);
    }
}

static void
broker_bytes(struct conn *c, struct span chunk)
{
    bool kept = c->up_in.len > 0;
    struct mqtt_packet p;
    struct rd r;

    if (kept) {
        buf_add(&c->up_in, chunk.ptr, chunk.len);
    }
    r = rd_of(kept ? buf_span(&c->up_in) : chunk);
    while (c->state == CONN_CONNACK || c->state == CONN_RELAY) {
        enum bm_err err = mqtt_next(&r, MQTT_REMAINING_MAX, &p);

        if (err == BM_ERR_MORE) {
            break;
        }
        if (err != BM_OK) {
            conn_end(c, CAUSE_BROKER_DOWN, "broker=\"sent a packet too large or malformed\"");
            return;
        }
        broker_packet(c, &p);
    }
    if (c->up.fd < 0) {
        return; /* a handler ended the upstream side and with it the buffers */
    }
    if (kept) {
        buf_drop(&c->up_in, c->up_in.len - rd_left(&r));
    } else {
        buf_add(&c->up_in, r.pos, rd_left(&r));
    }
    if (c->up_in.len == 0) {
        buf_fini(&c->up_in);
    }
    if (c->up_in.failed) {
        conn_end(c, CAUSE_OUT_OF_MEMORY, "at=broker");
    }
}

/* What is more than a client may be given in a second waits at the broker. SPEC aws-iot 6.3 */
static void
count_given(struct conn *c, size_t bytes, uint64_t messages)
{
    uint32_t max_bytes = limit(c->w, LIMIT_THROUGHPUT);
    uint32_t max = limit(c->w, LIMIT_PUBLISH_RATE);
    int64_t now = clock_mono_us();
    int64_t wait = 0;
    int64_t wait_bytes = 0;

    if (c->state != CONN_RELAY) {
        return;
    }
    if (max != 0) {
        rate_add(&c->given_us, now, (uint32_t)messages, max);
        wait = rate_wait(c->given_us, now, 0, max);
    }
    if (max_bytes != 0) {
        rate_add(&c->given_bytes_us, now, (uint32_t)bytes, max_bytes);
        wait_bytes = rate_wait(c->given_bytes_us, now, 0, max_bytes);
    }
    if (wait > 0) {
        conn_note(c, CAUSE_PUBLISH_RATE, "to=client delayed messages_per_second=%u", max);
    } else if (wait_bytes > 0) {
        conn_note(c, CAUSE_THROUGHPUT, "to=client bytes_per_second=%u", max_bytes);
    }
    if (wait > 0 || wait_bytes > 0) {
        conn_pause(c, &c->up_pause, wait > wait_bytes ? wait : wait_bytes);
    }
}

static void
broker_read(struct conn *c)
{
    ssize_t len = transport_read(&c->up, c->w->scratch, SCRATCH_LEN);
    uint64_t before = count(c->w, METRIC_DELIVERED, 0);
    size_t unsent = c->out.len;

    if (len > 0) {
        broker_bytes(c, span_of(c->w->scratch, (size_t)len));
        count_given(c, c->out.len > unsent ? c->out.len - unsent : 0,
            count(c->w, METRIC_DELIVERED, 0) - before);
        if (len < SCRATCH_LEN) {
            slow_drained(c);
        }
    } else if (len == 0) {
        broker_gone(c, "closed");
    } else if (errno != EAGAIN && errno != EINTR) {
        broker_gone(c, transport_why(&c->up));
    }
}

static void
on_broker(void *arg, uint32_t events)
{
    struct conn *c = arg;

    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (c->up_events & EPOLLIN) == 0) {
        broker_gone(c, "closed");
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        broker_read(c);
    }
    conn_settle(c);
}

void
broker_flush(struct conn *c)
{
    struct rd r = rd_of(buf_span(&c->up_out));

    if (c->up.fd < 0 || (c->up_out.len == 0 && !c->up_out.failed)) {
        return;
    }
    if (c->up_out.failed) {
        conn_end(c, CAUSE_OUT_OF_MEMORY, "at=broker");
        return;
    }
    while (rd_left(&r) > 0) {
        ssize_t len = transport_write(&c->up, span_of(r.pos, rd_left(&r)));

        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0 && errno == EAGAIN) {
            buf_drop(&c->up_out, c->up_out.len - rd_left(&r));
            return;
        }
        if (len < 0) { /* what it still has to say can be read; the end comes from there */
            break;
        }
        (void)rd_span(&r, (size_t)len);
    }
    buf_fini(&c->up_out);
}

void
broker_watch(struct conn *c)
{
    bool reads = (c->state == CONN_CONNACK || c->state == CONN_RELAY) && slow_broker_is_read(c);
    uint32_t events = transport_events(
        &c->up, (reads ? (uint32_t)EPOLLIN : 0) | (c->up_out.len > 0 ? (uint32_t)EPOLLOUT : 0));

    if (c->up.fd >= 0 && events != c->up_events) {
        c->up_events = events;
        loop_modify(c->w->loop, c->up_watch, events);
    }
}

enum attempt { ATTEMPT_DONE, ATTEMPT_LATER };

/* Done: it has its socket, or has ended. */
static enum attempt
attempt(struct conn *c)
{
    struct worker_account *a = &c->w->accounts[c->account];
    bool opened = transport_open(&c->up, upstream_of(c), a->address, a->broker_tls);

    c->broker_tries++;
    if (!opened && errno == EAGAIN) {
        return ATTEMPT_LATER;
    }
    if (!opened && (errno == ECONNREFUSED || errno == ENOENT)) {
        int cause = errno;

        note_absence(c);
        errno = cause;
        return ATTEMPT_LATER;
    }
    if (!opened) {
        conn_dismiss(c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE, "error=\"%s\"", strerror(errno));
        return ATTEMPT_DONE;
    }
    if (upstream_is_ours(upstream_of(c))) { /* a cluster has still to take it */
        a->absent_ms = 0;
    }
    c->broker_address = a->address;
    c->up_events = EPOLLIN;
    c->up_watch = loop_add(c->w->loop, c->up.fd, c->up_events, on_broker, c);
    if (c->up_watch == NULL || write_connect(c) != BM_OK || take_over(c) != BM_OK) {
        conn_dismiss(c, CAUSE_OUT_OF_MEMORY, REASON_UNAVAILABLE, "at=broker");
        return ATTEMPT_DONE;
    }
    conn_go(c, EV_SENT);
    return ATTEMPT_DONE;
}

void
broker_stop_waiting(struct conn *c)
{
    struct worker *w = c->w;

    if (!c->queued) {
        return;
    }
    *(c->queue_prev != NULL ? &c->queue_prev->queue_next : &w->queue_first) = c->queue_next;
    *(c->queue_next != NULL ? &c->queue_next->queue_prev : &w->queue_last) = c->queue_prev;
    c->queued = false;
    c->queue_next = NULL;
    c->queue_prev = NULL;
}

static void
wait_in_queue(struct conn *c)
{
    struct worker *w = c->w;

    c->queued = true;
    c->queue_prev = w->queue_last;
    *(w->queue_last != NULL ? &w->queue_last->queue_next : &w->queue_first) = c;
    w->queue_last = c;
}

static void on_queue(void *arg);

/* Full: again in a moment, longer after each failure. Absent: it may be starting. */
static void
try_later(struct worker *w, int cause)
{
    unsigned shift =
        w->queue_failures < RETRY_SHIFT_MAX ? w->queue_failures : (unsigned)RETRY_SHIFT_MAX;

    w->queue_failures++;
    if (w->queue_timer == NULL) {
        w->queue_timer = loop_after(
            w->loop, cause == EAGAIN ? (int64_t)RETRY_MS << shift : ABSENT_MS, on_queue, w);
    }
    if (w->queue_timer == NULL) {
        log_error("out of memory: nobody tries the broker again; who waits will time out");
    }
}

static void
on_queue(void *arg)
{
    struct worker *w = arg;

    w->queue_timer = NULL;
    while (w->queue_first != NULL) {
        struct conn *c = w->queue_first;

        if (attempt(c) == ATTEMPT_LATER) {
            try_later(w, errno);
            return;
        }
        w->queue_failures = 0;
        broker_stop_waiting(c);
        conn_settle(c);
    }
}

void
broker_connect(struct conn *c)
{
    bool queue = c->w->queue_first != NULL;
    int64_t away_ms = away(c->w, c->account);

    if (away_ms != 0) {
        conn_dismiss(c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE, "away_ms=%lld", (long long)away_ms);
        return;
    }
    if (!queue && attempt(c) == ATTEMPT_DONE) {
        return;
    }
    wait_in_queue(c);
    if (!queue) {
        try_later(c->w, errno);
    }
}
