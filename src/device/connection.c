/* SPDX-License-Identifier: Apache-2.0 */
/* See connection.h. */
#include "device/connection.h"

#include "base/clock.h"
#include "wire/mqtt.h"
#include "wire/topic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 16, KEEP_ALIVE_S = 60, READ_MAX = 16384, PROP_SESSION_EXPIRY = 0x11 };

struct connection {
    struct connection_options o;
    struct attempt attempt;
    int fd;
    SSL *ssl;
    struct loop_watch *watch;
    uint32_t watched;
    struct loop_timer *timer;    /* deadline until CONNACK, then keep-alive */
    struct loop_timer *end_soon; /* tells the end from the loop */
    struct loop_timer *tell_written;
    struct buf in;
    struct buf out;
    struct sockaddr_storage address;
    socklen_t address_len;
    int64_t began_at;   /* monotonic */
    uint16_t packet;    /* the last number given out */
    unsigned unwritten; /* publishes of QoS 0 that may still be in `out` */
    int64_t keep_alive_ms;
    int64_t sent_at;   /* monotonic */
    int64_t pinged_at; /* 0: no answer is awaited */
    unsigned unacked;  /* publishes of QoS 1 */
    int64_t acked_at;  /* of the last PUBACK, or of the first publish that waits for one */
    bool want_out;     /* TLS waits for room */
    unsigned depth;    /* callbacks under way: nothing is freed */
    bool over;
    bool closed;
};

static void
reach(struct connection *c, enum attempt_phase phase)
{
    c->attempt.phase = phase;
    c->attempt.ms[phase] = (int)(clock_mono_ms() - c->began_at);
    if (c->o.reached != NULL && (phase == PHASE_TLS || phase == PHASE_CONNECT))
        c->o.reached(c->o.arg, phase);
}

static uint8_t
level(const struct connection *c)
{
    return c->o.mqtt5 ? 5 : 4;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void
on_end(void *arg)
{
    struct connection *c = arg;
    struct attempt a = c->attempt;

    c->end_soon = NULL;
    c->o.ended(c->o.arg, &a);
}

static void
stop(struct connection *c)
{
    loop_remove(c->o.loop, c->watch);
    c->watch = NULL;
    loop_cancel(c->o.loop, c->timer);
    c->timer = NULL;
    loop_cancel(c->o.loop, c->tell_written);
    c->tell_written = NULL;
}

/* After a callback, which may have closed the connection. */
static void
leave(struct connection *c)
{
    if (--c->depth == 0 && c->closed)
        connection_close(c);
}

/* Told from the loop, never from within a call of the caller's. */
static void
over(struct connection *c, int why_errno)
{
    if (c->over || c->closed)
        return;
    c->over = true;
    c->attempt.sys_errno = why_errno;
    tls_facts(c->o.seen, &c->attempt);
    stop(c);
    c->end_soon = loop_after(c->o.loop, 0, on_end, c);
}

/* TLS says that it cannot go on: the peer closed, or broke the protocol. */
static void
tls_over(struct connection *c, int result)
{
    int saved = errno;
    int why = SSL_get_error(c->ssl, result);

    tls_note(c->o.seen);
    ERR_clear_error();
    over(c, why == SSL_ERROR_SYSCALL ? saved : 0);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Listen for what TLS waits for. */
static void
mind(struct connection *c)
{
    uint32_t events = EPOLLIN | (c->want_out ? EPOLLOUT : 0);

    if (c->watch == NULL || events == c->watched)
        return;
    c->watched = events;
    loop_modify(c->o.loop, c->watch, events);
}

/* True: go on. Else it waits, or it is over. */
static bool
done(struct connection *c, int result)
{
    if (result > 0)
        return true;
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_WANT_WRITE:
        c->want_out = true;
        break;
    default:
        tls_over(c, result);
    }
    return false;
}

static void on_written(void *arg);

static void
flush(struct connection *c)
{
    c->want_out = false;
    while (c->out.len > 0 && !c->over) {
        int n;

        ERR_clear_error();
        n = SSL_write(c->ssl, c->out.ptr, (int)c->out.len);
        if (!done(c, n))
            break;
        buf_drop(&c->out, (size_t)n);
        c->sent_at = clock_mono_ms();
    }
    if (c->out.failed)
        over(c, ENOMEM);
    if (c->out.len == 0 && c->unwritten > 0 && c->tell_written == NULL)
        c->tell_written = loop_after(c->o.loop, 0, on_written, c);
    mind(c);
}

/* What has QoS 0 is as good as acknowledged when the socket has it. */
static void
on_written(void *arg)
{
    struct connection *c = arg;
    unsigned count = c->unwritten;

    c->tell_written = NULL;
    c->unwritten = 0;
    c->depth++;
    while (count-- > 0 && connection_up(c))
        c->o.acknowledged(c->o.arg, 0, 0);
    leave(c);
}

/* --- packets ---------------------------------------------------------------------------------- */

static void
on_keep_alive(void *arg)
{
    static const uint8_t ping[] = { MQTT_PINGREQ << 4, 0 };
    struct connection *c = arg;
    int64_t now = clock_mono_ms();

    c->timer = NULL;
    if (c->unacked > 0 &&
        now - c->acked_at >= (c->o.ack_ms != 0 ? (int64_t)c->o.ack_ms : CONNECTION_ACK_MS)) {
        c->attempt.no_puback = true;
        over(c, 0);
        return;
    }
    if (c->pinged_at != 0 && now - c->pinged_at >= c->keep_alive_ms / 2) {
        c->attempt.timed_out = true;
        over(c, ETIMEDOUT);
        return;
    }
    if (c->pinged_at == 0 && now - c->sent_at >= c->keep_alive_ms * 3 / 4) {
        c->pinged_at = now;
        buf_add(&c->out, ping, sizeof ping);
        flush(c);
    }
    if (!c->over)
        c->timer = loop_after(c->o.loop, c->keep_alive_ms / 4, on_keep_alive, c);
}

static void
take_keep_alive(struct connection *c, struct span properties)
{
    struct rd list = rd_of(properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_SERVER_KEEP_ALIVE && p.number > 0)
            c->keep_alive_ms = (int64_t)p.number * 1000;
    }
}

/* A terminal is to show it, so nothing but printable ASCII. */
static void
take_words(struct connection *c, struct span properties)
{
    struct rd list = rd_of(properties);
    struct mqtt_property p;
    char *words = c->attempt.words;

    words[0] = '\0';
    while (mqtt_next_property(&list, &p) == BM_OK) {
        size_t len =
            p.data.len < sizeof c->attempt.words ? p.data.len : sizeof c->attempt.words - 1;

        if (p.id != MQTT_PROP_REASON_STRING)
            continue;
        for (size_t i = 0; i < len; i++)
            words[i] = (char)(p.data.ptr[i] >= ' ' && p.data.ptr[i] < 0x7f ? p.data.ptr[i] : '?');
        words[len] = '\0';
    }
}

static enum bm_err
take_connack(struct connection *c, const struct mqtt_packet *p)
{
    struct mqtt_connack ack;
    enum bm_err err = mqtt_parse_connack(p, level(c), &ack);

    if (err != BM_OK || c->attempt.phase != PHASE_CONNECT)
        return BM_ERR_PROTO;
    take_words(c, ack.properties);
    if (ack.code != 0) {
        c->attempt.connack = ack.code;
        over(c, 0);
        return BM_OK;
    }
    take_keep_alive(c, ack.properties);
    reach(c, PHASE_CONNECTED);
    loop_cancel(c->o.loop, c->timer);
    c->timer = loop_after(c->o.loop, c->keep_alive_ms / 4, on_keep_alive, c);
    c->o.connected(c->o.arg, ack.session_present);
    return BM_OK;
}

static enum bm_err
take_puback(struct connection *c, const struct mqtt_packet *p)
{
    struct mqtt_puback ack;

    if (mqtt_parse_puback(p, level(c), &ack, NULL) != BM_OK)
        return BM_ERR_PROTO;
    take_words(c, ack.properties);
    c->acked_at = clock_mono_ms();
    if (c->unacked > 0)
        c->unacked--;
    c->o.acknowledged(c->o.arg, ack.packet_id, ack.reason >= 0x80 ? ack.reason : 0);
    return BM_OK;
}

static void
take_disconnect(struct connection *c, const struct mqtt_packet *p)
{
    struct mqtt_disconnect d = { .reason = p->body.len > 0 ? p->body.ptr[0] : 0 };

    (void)mqtt_parse_disconnect(p, level(c), &d); /* however it is made, it is the end */
    take_words(c, d.properties);
    c->attempt.disconnect = d.reason;
    over(c, 0);
}

static enum bm_err
take_suback(struct connection *c, const struct mqtt_packet *p)
{
    struct mqtt_suback ack;
    int codes[MQTT_FILTERS_MAX];

    if (mqtt_parse_suback(p, level(c), &ack) != BM_OK || ack.codes.len > MQTT_FILTERS_MAX)
        return BM_ERR_PROTO;
    for (size_t i = 0; i < ack.codes.len; i++)
        codes[i] = ack.codes.ptr[i];
    take_words(c, ack.properties);
    if (c->o.subscribed != NULL)
        c->o.subscribed(c->o.arg, ack.packet_id, codes, ack.codes.len);
    return BM_OK;
}

static enum bm_err
take_publish(struct connection *c, const struct mqtt_packet *p)
{
    char topic[MQTT_TOPIC_MAX + 1];
    struct mqtt_publish m;

    if (mqtt_parse_publish(p, level(c), &m, NULL) != BM_OK || m.qos > 1 || m.topic.len == 0 ||
        m.topic.len > MQTT_TOPIC_MAX)
        return BM_ERR_PROTO;
    memcpy(topic, m.topic.ptr, m.topic.len);
    topic[m.topic.len] = '\0';
    if (c->o.message != NULL)
        c->o.message(c->o.arg, topic, m.payload, m.retain);
    if (m.qos == 1 && !c->over && !c->closed)
        mqtt_build_puback(&c->out, level(c), m.packet_id, 0, span_of(NULL, 0));
    return BM_OK;
}

static enum bm_err
take_packet(struct connection *c, const struct mqtt_packet *p)
{
    if (c->attempt.phase == PHASE_CONNECT && p->type != MQTT_CONNACK)
        return BM_ERR_PROTO;
    switch (p->type) {
    case MQTT_CONNACK:
        return take_connack(c, p);
    case MQTT_PUBACK:
        return take_puback(c, p);
    case MQTT_SUBACK:
        return take_suback(c, p);
    case MQTT_PUBLISH:
        return take_publish(c, p);
    case MQTT_PINGRESP:
        c->pinged_at = 0;
        return BM_OK;
    case MQTT_DISCONNECT:
        take_disconnect(c, p);
        return BM_OK;
    default:
        return BM_ERR_PROTO;
    }
}

static void
take_packets(struct connection *c)
{
    while (!c->over && !c->closed) {
        struct rd in = rd_of(buf_span(&c->in));
        struct mqtt_packet p;
        enum bm_err err = mqtt_next(&in, MQTT_REMAINING_MAX, &p);

        if (err == BM_ERR_MORE)
            return;
        if (err == BM_OK)
            err = take_packet(c, &p);
        if (err != BM_OK) {
            over(c, EPROTO);
            return;
        }
        buf_drop(&c->in, p.whole.len);
    }
}

static void
receive(struct connection *c)
{
    while (!c->over && !c->closed) {
        uint8_t *room = buf_reserve(&c->in, READ_MAX);
        int n;

        if (room == NULL) {
            over(c, ENOMEM);
            return;
        }
        ERR_clear_error();
        n = SSL_read(c->ssl, room, READ_MAX);
        if (!done(c, n))
            return;
        c->in.len += (size_t)n;
        take_packets(c);
    }
}

/* --- the attempt ------------------------------------------------------------------------------ */

static bool
tcp_is_up(struct connection *c)
{
    int error = 0;
    socklen_t len = sizeof error;

    (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        over(c, error);
        return false;
    }
    reach(c, PHASE_TLS);
    c->ssl = SSL_new(c->o.tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 || !tls_prepare(c->ssl)) {
        over(c, ENOMEM);
        return false;
    }
    (void)SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_connect_state(c->ssl);
    return true;
}

static bool
tls_is_up(struct connection *c)
{
    /* MQTT 5 ends a session with its connection unless asked: as long as the service keeps one by
     * default, SPEC aws-iot 6.5 */
    static const uint8_t expiry[] = { PROP_SESSION_EXPIRY, 0, 0, 3600 >> 8, 3600 & 0xff };
    struct mqtt_connect hello = {
        .level = level(c), .clean = !c->o.keep_session, .client_id = span_str(c->o.client_id)
    };

    if (c->o.keep_session)
        hello.properties = SPAN(expiry);
    c->want_out = false;
    ERR_clear_error();
    if (!done(c, SSL_do_handshake(c->ssl))) {
        mind(c);
        return false;
    }
    reach(c, PHASE_CONNECT);
    if (mqtt_build_connect(&c->out, &hello, hello.client_id, (uint16_t)(c->keep_alive_ms / 1000)) !=
        BM_OK) {
        over(c, ENOMEM);
        return false;
    }
    return true;
}

static void
on_socket(void *arg, uint32_t events)
{
    struct connection *c = arg;

    (void)events;
    c->depth++;
    if ((c->attempt.phase != PHASE_TCP || tcp_is_up(c)) &&
        (c->attempt.phase != PHASE_TLS || tls_is_up(c))) {
        flush(c);
        receive(c);
        if (!c->over && !c->closed)
            flush(c);
    }
    leave(c);
}

static void
on_deadline(void *arg)
{
    struct connection *c = arg;

    c->timer = NULL;
    c->attempt.timed_out = true;
    over(c, 0);
}

static bool
resolve(struct connection *c)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    struct addrinfo *at;
    char port[8];
    char text[INET6_ADDRSTRLEN + 16]; /* with a scope */

    (void)snprintf(port, sizeof port, "%u", c->o.port);
    if (getaddrinfo(c->o.host, port, &hints, &list) != 0)
        return false;
    for (at = list; at != NULL && c->attempt.addresses < ADDRESSES_MAX; at = at->ai_next)
        c->attempt.addresses++;
    at = list;
    for (unsigned i = 0; i < c->o.address % c->attempt.addresses; i++)
        at = at->ai_next;
    memcpy(&c->address, at->ai_addr, at->ai_addrlen);
    c->address_len = at->ai_addrlen;
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
        (void)snprintf(c->attempt.peer, sizeof c->attempt.peer,
            at->ai_family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, c->o.port);
    freeaddrinfo(list);
    return true;
}

/* The port is chosen when it connects, so that one source address serves many servers. */
static bool
bind_source(const struct connection *c)
{
    struct addrinfo hints = { .ai_family = c->address.ss_family,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST | AI_PASSIVE };
    struct addrinfo *from = NULL;
    int on = 1;
    bool bound;

    if (c->o.from == NULL)
        return true;
    if (getaddrinfo(c->o.from, NULL, &hints, &from) != 0) {
        errno = EADDRNOTAVAIL;
        return false;
    }
    (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    bound = bind(c->fd, from->ai_addr, from->ai_addrlen) == 0;
    freeaddrinfo(from);
    return bound;
}

static bool
start(struct connection *c)
{
    int on = 1;

    *c->o.seen = (struct tls_seen){ 0 };
    c->began_at = clock_mono_ms();
    reach(c, PHASE_NAME);
    if (!resolve(c))
        return false;
    reach(c, PHASE_TCP);
    c->fd = socket(c->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || !bind_source(c) ||
        (connect(c->fd, (struct sockaddr *)&c->address, c->address_len) != 0 &&
            errno != EINPROGRESS)) {
        c->attempt.sys_errno = errno;
        return false;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->watched = EPOLLIN | EPOLLOUT;
    c->watch = loop_add(c->o.loop, c->fd, c->watched, on_socket, c);
    c->timer = loop_after(
        c->o.loop, c->o.timeout_ms != 0 ? c->o.timeout_ms : CONNECTION_TIMEOUT_MS, on_deadline, c);
    return c->watch != NULL && c->timer != NULL;
}

enum bm_err
connection_open(const struct connection_options *o, struct connection **out, struct attempt *a,
    struct bm_msg *msg)
{
    struct connection *c = calloc(1, sizeof *c);

    *out = NULL;
    *a = (struct attempt){ 0 };
    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a connection");
    c->o = *o;
    c->fd = -1;
    c->keep_alive_ms = (o->keep_alive_s != 0 ? (int64_t)o->keep_alive_s : KEEP_ALIVE_S) * 1000;
    if (!start(c)) {
        *a = c->attempt;
        connection_close(c);
        return bm_fail(msg, BM_ERR_IO, "no connection to %s", o->host);
    }
    *out = c;
    return BM_OK;
}

/* DISCONNECT, as far as there is room for it; nothing of the caller's is touched any more. */
static void
say_goodbye(struct connection *c)
{
    bool up = connection_up(c);

    c->closed = true;
    stop(c);
    loop_cancel(c->o.loop, c->end_soon);
    c->end_soon = NULL;
    if (c->ssl == NULL)
        return;
    if (up) {
        mqtt_build_disconnect(&c->out, level(c), 0, span_of(NULL, 0));
        ERR_clear_error();
        if (SSL_write(c->ssl, c->out.ptr, (int)c->out.len) > 0)
            (void)SSL_shutdown(c->ssl);
        ERR_clear_error();
    }
    SSL_set_info_callback(c->ssl, NULL);
    SSL_set_msg_callback(c->ssl, NULL);
}

void
connection_close(struct connection *c)
{
    if (c == NULL)
        return;
    if (!c->closed)
        say_goodbye(c);
    if (c->depth > 0)
        return;
    SSL_free(c->ssl);
    if (c->fd >= 0)
        (void)close(c->fd);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

void
connection_cut(struct connection *c)
{
    if (c != NULL)
        c->over = true;
    connection_close(c);
}

bool
connection_up(const struct connection *c)
{
    return c != NULL && c->attempt.phase == PHASE_CONNECTED && !c->over && !c->closed;
}

const char *
connection_peer(const struct connection *c)
{
    return c->attempt.peer;
}

const struct attempt *
connection_attempt(const struct connection *c)
{
    return &c->attempt;
}

/* --- use -------------------------------------------------------------------------------------- */

static uint16_t
next_packet(struct connection *c)
{
    c->packet = c->packet == UINT16_MAX ? 1 : (uint16_t)(c->packet + 1);
    return c->packet;
}

enum bm_err
connection_publish(
    struct connection *c, const char *topic, struct span payload, int qos, bool retain, int *packet)
{
    struct mqtt_publish m = {
        .qos = (uint8_t)qos, .retain = retain, .topic = span_str(topic), .payload = payload
    };

    if (!connection_up(c))
        return BM_ERR_IO;
    if (!mqtt_topic_valid(m.topic) || payload.len > MQTT_PAYLOAD_MAX)
        return BM_ERR_ARG;
    if (qos == 0) {
        c->unwritten++;
    } else {
        m.packet_id = next_packet(c);
        if (c->unacked++ == 0)
            c->acked_at = clock_mono_ms();
    }
    *packet = m.packet_id;
    mqtt_build_publish(&c->out, level(c), &m);
    if (c->depth == 0)
        flush(c);
    return c->over ? BM_ERR_IO : BM_OK;
}

enum bm_err
connection_subscribe(
    struct connection *c, const char *const *filters, size_t count, int qos, int *packet)
{
    struct mqtt_subscribe s = { .count = count };

    if (!connection_up(c))
        return BM_ERR_IO;
    if (count == 0 || count > CONNECTION_FILTERS_MAX)
        return BM_ERR_ARG;
    for (size_t i = 0; i < count; i++) {
        s.filters[i].filter = span_str(filters[i]);
        s.filters[i].qos = s.filters[i].options = (uint8_t)qos;
        if (!mqtt_filter_valid(s.filters[i].filter))
            return BM_ERR_ARG;
    }
    s.packet_id = next_packet(c);
    *packet = s.packet_id;
    mqtt_build_subscribe(&c->out, MQTT_SUBSCRIBE, level(c), &s);
    if (c->depth == 0)
        flush(c);
    return c->over ? BM_ERR_IO : BM_OK;
}
