/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upstream side of a connection: one Unix socket to the broker for each admitted client.
 *
 * mosquitto's Unix listener has a backlog of 10, and a full one answers EAGAIN at once without an
 * event to wait for (SPEC endpoint 10.1): such a client tries again by timer. The socket closes
 * without DISCONNECT unless the client sent one, so that wills fire.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RETRY_MIN_MS = 1, RETRY_MAX_MS = 64 };

void
broker_drop(struct conn *c)
{
    if (c->up_fd < 0) {
        return;
    }
    loop_remove(c->w->loop, c->up_watch);
    (void)close(c->up_fd);
    c->up_watch = NULL;
    c->up_fd = -1;
    buf_fini(&c->up_out);
    buf_fini(&c->up_in);
}

/* Level 5: aliases towards the client would hide the topic from iot:Receive, so none are asked for.
 */
static void
connect_properties(struct span from, struct buf *out)
{
    struct rd list = rd_of(from);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id != MQTT_PROP_TOPIC_ALIAS_MAX) {
            buf_add(out, p.whole.ptr, p.whole.len);
        }
    }
}

/* Keep-alive is kept by the endpoint alone: the broker gets 0, and PINGREQ goes no further. */
static enum bm_err
write_connect(struct conn *c)
{
    struct mqtt_packet p = { .type = MQTT_CONNECT, .body = buf_span(&c->connect) };
    struct mqtt_connect m;
    struct buf properties = { 0 };
    enum bm_err err = mqtt_parse_connect(&p, &m, NULL);

    if (err == BM_OK) {
        connect_properties(m.properties, &properties);
        m.properties = buf_span(&properties);
        err = properties.failed ? BM_ERR_MEM
                                : mqtt_build_connect(&c->up_out, &m, span_str(c->client_id), 0);
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
        if (strcmp(o->client_id, c->client_id) == 0) {
            o->superseded = true;
        }
    }
    return index_add(&w->by_client, c, key);
}

static void
broker_gone(struct conn *c, const char *how)
{
    if (c->state == CONN_CLOSING) {
        broker_drop(c);
    } else if (c->state != CONN_RELAY) {
        conn_end(c, CAUSE_BROKER_DOWN, "broker=\"%s\" before=connack", how);
    } else if (c->superseded) {
        conn_dismiss(c, CAUSE_TAKEN_OVER, REASON_TAKEN_OVER, "by=\"newer connection\"");
    } else {
        conn_end(c, CAUSE_DISCONNECTED, "by=broker how=\"%s\"", how);
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
    if (c->up_fd < 0) {
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
        log_error("out of memory: connection of %s ended", c->source_ip);
        conn_drop(c);
    }
}

static void
broker_read(struct conn *c)
{
    ssize_t len = recv(c->up_fd, c->w->scratch, SCRATCH_LEN, 0);

    if (len > 0) {
        broker_bytes(c, span_of(c->w->scratch, (size_t)len));
    } else if (len == 0) {
        broker_gone(c, "closed");
    } else if (errno != EAGAIN && errno != EINTR) {
        broker_gone(c, strerror(errno));
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

    if (c->up_fd < 0 || (c->up_out.len == 0 && !c->up_out.failed)) {
        return;
    }
    if (c->up_out.failed) {
        log_error("out of memory: connection of %s ended", c->source_ip);
        conn_drop(c);
        return;
    }
    while (rd_left(&r) > 0) {
        ssize_t len = send(c->up_fd, r.pos, rd_left(&r), MSG_NOSIGNAL);

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
    bool reads = (c->state == CONN_CONNACK || c->state == CONN_RELAY) && c->out.len < HOLD_MAX;
    uint32_t events =
        (reads ? (uint32_t)EPOLLIN : 0) | (c->up_out.len > 0 ? (uint32_t)EPOLLOUT : 0);

    if (c->up_fd >= 0 && events != c->up_events) {
        c->up_events = events;
        loop_modify(c->w->loop, c->up_watch, events);
    }
}

static void
on_retry_connect(void *arg)
{
    struct conn *c = arg;

    c->retry = NULL;
    broker_connect(c);
    conn_settle(c);
}

/* Full backlog, or nobody there yet: again soon. The deadline of the state ends it. */
static void
try_later(struct conn *c, int cause)
{
    unsigned shift = c->broker_tries < 6 ? c->broker_tries : 6;
    int64_t delay_ms = cause == EAGAIN ? RETRY_MIN_MS << shift : RETRY_MAX_MS;

    c->broker_tries++;
    c->retry = loop_after(c->w->loop, delay_ms, on_retry_connect, c);
    if (c->retry == NULL) {
        conn_end(c, CAUSE_BROKER_DOWN, "error=\"out of memory\"");
    }
}

static int
open_socket(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        int cause = errno;

        (void)close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

void
broker_connect(struct conn *c)
{
    int fd = open_socket(c->w->o->broker_path);

    if (fd < 0 && (errno == EAGAIN || errno == ECONNREFUSED || errno == ENOENT)) {
        try_later(c, errno);
        return;
    }
    if (fd < 0) {
        conn_end(c, CAUSE_BROKER_DOWN, "error=\"%s\"", strerror(errno));
        return;
    }
    c->up_fd = fd;
    c->up_events = EPOLLIN;
    c->up_watch = loop_add(c->w->loop, fd, c->up_events, on_broker, c);
    if (c->up_watch == NULL || write_connect(c) != BM_OK || take_over(c) != BM_OK) {
        conn_end(c, CAUSE_BROKER_DOWN, "error=\"out of memory\"");
        return;
    }
    conn_go(c, EV_SENT);
}
