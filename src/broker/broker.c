/* SPDX-License-Identifier: Apache-2.0 */
/* See broker.h. */
#include "broker/broker.h"

#include "base/log.h"
#include "broker/transport.h"

#include <mosquitto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RETRY_MS = 100,
    REFUSED_RETRY_MS = 5000,
    REACH_MS = 3000, /* for a network address to accept */
    MISC_MS = 1000,
    KEEP_ALIVE_S = 30,
    FETCH_BATCH = 50, /* of QoS 1: fewer than the broker keeps in flight */
    FETCH_WAIT_MS = 10000,
    SAVE_WAIT_MS = 30000,
    TOPIC_ROOM = 65536,
};

/* One question for retained messages; the first of the list is under way. */
struct fetch {
    struct fetch *next;
    char **topics;
    size_t count;
    size_t asked; /* of the batch under way: from here */
    size_t batch;
    int packet_id; /* of its SUBSCRIBE, then of its UNSUBSCRIBE */
    bool *seen;
    broker_retained_fn each;
    broker_done_fn done;
    void *arg;
};

/* One save: two questions, because what is written, is written between two rounds of the broker. */
struct save {
    broker_done_fn done; /* NULL: none is under way */
    void *arg;
    int packet_id; /* of the UNSUBSCRIBE under way */
    bool second;
    struct stat before; /* of the file; all 0: there was none */
    struct loop_timer *timer;
};

struct broker {
    struct broker_options options;
    struct mosquitto *mosq;
    struct loop_watch *watch;
    uint32_t watched; /* events of `watch` */
    struct loop_timer *timer;
    size_t address; /* the one in use */
    int reaching;   /* a socket on its way to it, to be tried before libmosquitto waits for it; -1 */
    SSL_CTX *tls;   /* NULL: plain */
    bool up;        /* CONNACK received */
    bool refused;   /* it has said why */
    struct fetch *fetches;
    struct loop_timer *fetch_timer;
    struct save save;
};

static void on_timer(void *arg);
static void fetch_fail_all(struct broker *b);
static void save_end(struct broker *b, enum bm_err err);

static void
arm(struct broker *b, int64_t delay_ms)
{
    loop_cancel(b->options.loop, b->timer);
    b->timer = loop_after(b->options.loop, delay_ms, on_timer, b);
}

static void
gone(struct broker *b)
{
    if (b->up)
        log_warn("the broker closed the control connection; connecting again");
    b->up = false;
    loop_remove(b->options.loop, b->watch);
    b->watch = NULL;
    (void)mosquitto_disconnect(b->mosq);
    b->address++;
    arm(b, b->refused ? REFUSED_RETRY_MS : RETRY_MS);
    b->refused = false;
    fetch_fail_all(b);
    save_end(b, BM_ERR_IO);
    if (b->options.lost != NULL)
        b->options.lost(b->options.arg);
}

/* libmosquitto writes when asked; watch for room only while it has something left. */
static void
want_write(struct broker *b)
{
    uint32_t events = EPOLLIN | (mosquitto_want_write(b->mosq) ? EPOLLOUT : 0);

    if (b->watch == NULL || events == b->watched)
        return;
    b->watched = events;
    loop_modify(b->options.loop, b->watch, events);
}

static void
on_socket(void *arg, uint32_t events)
{
    struct broker *b = arg;
    int rc = MOSQ_ERR_SUCCESS;

    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        rc = mosquitto_loop_read(b->mosq, 16);
    if (rc == MOSQ_ERR_SUCCESS && (events & EPOLLOUT) != 0)
        rc = mosquitto_loop_write(b->mosq, 16);
    if (rc != MOSQ_ERR_SUCCESS)
        gone(b);
    else
        want_write(b);
}

/* libmosquitto's only word of a TLS failure: its newest error is the last part of the line. */
static void
on_log(struct mosquitto *mosq, void *arg, int level, const char *text)
{
    struct broker *b = arg;
    const struct upstream *u = b->options.upstream;
    const char *words = strrchr(text, ':');

    if (level != MOSQ_LOG_ERR || strncmp(text, "OpenSSL Error", 13) != 0)
        return;
    if (!b->refused)
        log_error("no TLS between control and the broker at %s:%u: %s",
            u->addresses[b->address % u->count].name, u->addresses[b->address % u->count].port,
            transport_tls_words(mosquitto_ssl_get(mosq), words != NULL ? words + 1 : text));
    b->refused = true;
}

static void
connect_to(struct broker *b, const char *host, uint16_t port)
{
    if ((b->tls != NULL && !transport_aim(b->tls, b->options.upstream, b->address)) ||
        mosquitto_connect(b->mosq, host, port, KEEP_ALIVE_S) != MOSQ_ERR_SUCCESS) {
        b->address++;
        arm(b, b->refused ? REFUSED_RETRY_MS : RETRY_MS);
        b->refused = false;
        return;
    }
    b->watched = EPOLLIN;
    b->watch = loop_add(b->options.loop, mosquitto_socket(b->mosq), EPOLLIN, on_socket, b);
    want_write(b);
    arm(b, MISC_MS);
}

static void
reach_end(struct broker *b)
{
    loop_remove(b->options.loop, b->watch);
    b->watch = NULL;
    if (b->reaching >= 0)
        (void)close(b->reaching);
    b->reaching = -1;
}

static void
on_reached(void *arg, uint32_t events)
{
    struct broker *b = arg;
    const struct upstream *u = b->options.upstream;
    size_t which = b->address % u->count;
    int cause = 0;
    socklen_t len = sizeof cause;

    (void)events;
    (void)getsockopt(b->reaching, SOL_SOCKET, SO_ERROR, &cause, &len);
    reach_end(b);
    if (cause == 0) {
        connect_to(b, u->addresses[which].host, u->addresses[which].port);
        return;
    }
    b->address++;
    arm(b, RETRY_MS);
}

/* libmosquitto waits for a connect, and control must not: to a network address it goes second. */
static void
try_connect(struct broker *b)
{
    const struct upstream *u = b->options.upstream;

    if (upstream_is_ours(u)) {
        connect_to(b, u->path, 0); /* port 0: the "host" is the path of a Unix socket */
        return;
    }
    b->reaching = upstream_open(u, b->address);
    b->watch = b->reaching < 0
                   ? NULL
                   : loop_add(b->options.loop, b->reaching, EPOLLOUT, on_reached, b);
    if (b->watch == NULL) {
        reach_end(b);
        b->address++;
    }
    arm(b, b->watch != NULL ? REACH_MS : RETRY_MS);
}

static void
on_timer(void *arg)
{
    struct broker *b = arg;

    b->timer = NULL;
    if (b->reaching >= 0) {
        reach_end(b);
        b->address++;
    }
    if (b->watch == NULL) {
        try_connect(b);
        return;
    }
    if (mosquitto_loop_misc(b->mosq) != MOSQ_ERR_SUCCESS) {
        gone(b);
        return;
    }
    want_write(b);
    arm(b, MISC_MS);
}

static void
on_connect(struct mosquitto *mosq, void *arg, int rc)
{
    struct broker *b = arg;

    (void)mosq;
    if (rc != 0) {
        log_error("the broker refused the control connection: %s", mosquitto_connack_string(rc));
        b->refused = true;
        return;
    }
    b->up = true;
    b->options.connected(b->options.arg);
}

static void
on_publish(struct mosquitto *mosq, void *arg, int packet_id)
{
    struct broker *b = arg;

    (void)mosq;
    if (b->options.acknowledged != NULL)
        b->options.acknowledged(b->options.arg, packet_id);
}

/* ---- topics ---- */

static bool
terminate(const struct span *s, bool ok, char out[TOPIC_ROOM])
{
    if (!ok || s->len >= TOPIC_ROOM)
        return false;
    memmove(out, s->ptr, s->len);
    out[s->len] = '\0';
    return true;
}

/* A topic or filter as the broker has to get it. False: too long. */
static bool
to_broker(const struct broker *b, struct span topic, char out[TOPIC_ROOM])
{
    struct wr room = wr_of(out, TOPIC_ROOM);
    bool ok = topics_to_broker(b->options.upstream->topics, topic, &room, &topic);

    return terminate(&topic, ok, out);
}

static bool
from_broker(const struct broker *b, const char *topic, char out[TOPIC_ROOM])
{
    struct wr room = wr_of(out, TOPIC_ROOM);
    struct span s = span_str(topic);
    bool ok = topics_from_broker(b->options.upstream->topics, s, &room, &s);

    return terminate(&s, ok, out);
}

/* ---- retained messages ---- */

static void
fetch_free(struct fetch *f)
{
    for (size_t i = 0; f->topics != NULL && i < f->count; i++)
        free(f->topics[i]);
    free(f->topics);
    free(f->seen);
    free(f);
}

static void fetch_next(struct broker *b);

static void
fetch_end(struct broker *b, enum bm_err err)
{
    struct fetch *f = b->fetches;

    b->fetches = f->next;
    loop_cancel(b->options.loop, b->fetch_timer);
    b->fetch_timer = NULL;
    f->done(f->arg, err);
    fetch_free(f);
}

static void
fetch_fail_all(struct broker *b)
{
    while (b->fetches != NULL)
        fetch_end(b, BM_ERR_IO);
}

static void
on_fetch_timer(void *arg)
{
    struct broker *b = arg;

    b->fetch_timer = NULL;
    log_error("the broker does not answer a question for retained messages");
    fetch_end(b, BM_ERR_IO);
    fetch_next(b);
}

/* Ask for the next batch of the first in the list. */
static void
fetch_next(struct broker *b)
{
    struct fetch *f = b->fetches;

    if (f == NULL)
        return;
    f->batch = f->count - f->asked < FETCH_BATCH ? f->count - f->asked : FETCH_BATCH;
    loop_cancel(b->options.loop, b->fetch_timer);
    b->fetch_timer = loop_after(b->options.loop,
        mosquitto_subscribe_multiple(b->mosq, &f->packet_id, (int)f->batch, &f->topics[f->asked], 1,
            0, NULL) == MOSQ_ERR_SUCCESS
            ? FETCH_WAIT_MS
            : 0, /* in vain: `done` is called from the loop */
        on_fetch_timer, b);
    want_write(b);
}

static void
on_subscribe(struct mosquitto *mosq, void *arg, int packet_id, int count, const int *granted)
{
    struct broker *b = arg;
    struct fetch *f = b->fetches;

    (void)count;
    (void)granted;
    if (f == NULL || f->packet_id != packet_id)
        return;
    if (mosquitto_unsubscribe_multiple(
            mosq, &f->packet_id, (int)f->batch, &f->topics[f->asked], NULL) != MOSQ_ERR_SUCCESS)
        log_error("cannot end a question for retained messages"); /* the timer does */
}

/* ---- sessions to disk ---- */

static void
save_end(struct broker *b, enum bm_err err)
{
    struct save s = b->save;

    if (s.done == NULL)
        return;
    loop_cancel(b->options.loop, s.timer);
    b->save = (struct save){ 0 };
    s.done(s.arg, err);
}

static void
on_save_timer(void *arg)
{
    struct broker *b = arg;

    b->save.timer = NULL;
    log_error("the broker does not write its sessions to disk");
    save_end(b, BM_ERR_IO);
}

static struct stat
look_at(const char *path)
{
    struct stat st = { 0 };

    return stat(path, &st) == 0 ? st : (struct stat){ 0 };
}

/* It writes another file and gives it the name: mosquitto does so only when all of it is written.
 */
static bool
is_another(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_ctim.tv_sec != b->st_ctim.tv_sec ||
           a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

/* A question that changes nothing: nobody has subscribed to this. */
static bool
ask(struct broker *b, int *packet_id)
{
    bool sent = mosquitto_unsubscribe(b->mosq, packet_id, "birthmark/save") == MOSQ_ERR_SUCCESS;

    want_write(b);
    return sent;
}

static void
save_answered(struct broker *b)
{
    struct stat now;

    if (!b->save.second) {
        b->save.second = true;
        if (!ask(b, &b->save.packet_id))
            save_end(b, BM_ERR_IO);
        return;
    }
    now = look_at(b->options.sessions);
    if (is_another(&now, &b->save.before)) {
        save_end(b, BM_OK);
        return;
    }
    log_error("the broker could not write its sessions to %s (disk full?)", b->options.sessions);
    save_end(b, BM_ERR_IO);
}

/*
 * The signal comes before the first question is sent, so at the latest the round of the broker's
 * loop that answers it ends with writing; a later round answers the second.
 */
enum bm_err
broker_save(struct broker *b, broker_done_fn done, void *arg)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (!b->up || b->options.sessions == NULL || b->save.done != NULL ||
        getsockopt(mosquitto_socket(b->mosq), SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        peer.pid <= 0)
        return BM_ERR_IO;
    b->save.before = look_at(b->options.sessions);
    if (kill(peer.pid, SIGUSR1) != 0 || !ask(b, &b->save.packet_id))
        return BM_ERR_IO;
    b->save.second = false;
    b->save.done = done;
    b->save.arg = arg;
    b->save.timer = loop_after(b->options.loop, SAVE_WAIT_MS, on_save_timer, b);
    return BM_OK;
}

static void
on_unsubscribe(struct mosquitto *mosq, void *arg, int packet_id)
{
    struct broker *b = arg;
    struct fetch *f = b->fetches;

    if (b->save.done != NULL && b->save.packet_id == packet_id) {
        save_answered(b);
        return;
    }
    if (f == NULL || f->packet_id != packet_id) {
        on_publish(mosq, arg, packet_id); /* the question behind a QoS 0 publish */
        return;
    }
    f->asked += f->batch;
    if (f->asked == f->count)
        fetch_end(b, BM_OK);
    fetch_next(b);
}

static void
on_message(struct mosquitto *mosq, void *arg, const struct mosquitto_message *m)
{
    struct broker *b = arg;
    struct fetch *f = b->fetches;
    char topic[TOPIC_ROOM];

    (void)mosq;
    if (!from_broker(b, m->topic, topic))
        return;
    if (b->options.message != NULL)
        b->options.message(
            b->options.arg, topic, span_of(m->payload, (size_t)m->payloadlen), m->qos, m->retain);
    if (f == NULL || !m->retain) /* published while we ask: no answer to us */
        return;
    for (size_t i = f->asked; i < f->asked + f->batch; i++) {
        if (strcmp(f->topics[i], m->topic) != 0 || f->seen[i])
            continue;
        f->seen[i] = true;
        f->each(f->arg, topic, span_of(m->payload, (size_t)m->payloadlen), m->qos);
    }
}

enum bm_err
broker_retained(struct broker *b, const char *const *topics, size_t count, broker_retained_fn each,
    broker_done_fn done, void *arg)
{
    struct fetch *f = b->up && count > 0 ? calloc(1, sizeof *f) : NULL;
    struct fetch **end = &b->fetches;
    bool whole;

    if (f == NULL)
        return BM_ERR_IO;
    *f = (struct fetch){ .count = count, .each = each, .done = done, .arg = arg };
    f->topics = calloc(count, sizeof *f->topics);
    f->seen = calloc(count, sizeof *f->seen);
    whole = f->topics != NULL && f->seen != NULL;
    for (size_t i = 0; whole && i < count; i++) {
        char there[TOPIC_ROOM];

        f->topics[i] = to_broker(b, span_str(topics[i]), there) ? strdup(there) : NULL;
        whole = f->topics[i] != NULL;
    }
    if (!whole) {
        fetch_free(f);
        return BM_ERR_MEM;
    }
    while (*end != NULL)
        end = &(*end)->next;
    *end = f;
    if (b->fetches == f)
        fetch_next(b);
    return BM_OK;
}

static enum bm_err
log_in(struct broker *b)
{
    const struct upstream *u = b->options.upstream;

    return u->username[0] == '\0' ||
                   mosquitto_username_pw_set(b->mosq, u->username,
                       u->password[0] != '\0' ? u->password : NULL) == MOSQ_ERR_SUCCESS
               ? BM_OK
               : BM_ERR_MEM;
}

enum bm_err
broker_open(const struct broker_options *options, struct broker **out, struct bm_msg *msg)
{
    struct broker *b = calloc(1, sizeof *b);
    enum bm_err err;

    *out = NULL;
    if (b == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    b->options = *options;
    b->reaching = -1;
    (void)mosquitto_lib_init();
    b->mosq = mosquitto_new(options->client_id, true, b);
    err = b->mosq == NULL || log_in(b) != BM_OK ? bm_fail(msg, BM_ERR_MEM, "out of memory")
                                                : transport_context(options->upstream, &b->tls, msg);
    if (err == BM_OK && b->tls != NULL &&
        mosquitto_void_option(b->mosq, MOSQ_OPT_SSL_CTX, b->tls) != MOSQ_ERR_SUCCESS)
        err = bm_fail(msg, BM_ERR_IO, "libmosquitto takes no TLS settings");
    if (err != BM_OK) {
        mosquitto_destroy(b->mosq);
        SSL_CTX_free(b->tls);
        free(b);
        return err;
    }
    (void)mosquitto_int_option(b->mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    mosquitto_log_callback_set(b->mosq, on_log);
    mosquitto_connect_callback_set(b->mosq, on_connect);
    mosquitto_publish_callback_set(b->mosq, on_publish);
    mosquitto_subscribe_callback_set(b->mosq, on_subscribe);
    mosquitto_unsubscribe_callback_set(b->mosq, on_unsubscribe);
    mosquitto_message_callback_set(b->mosq, on_message);
    try_connect(b);
    *out = b;
    return BM_OK;
}

void
broker_close(struct broker *b)
{
    if (b == NULL)
        return;
    while (b->fetches != NULL) {
        struct fetch *f = b->fetches;

        b->fetches = f->next;
        fetch_free(f);
    }
    loop_cancel(b->options.loop, b->save.timer);
    loop_cancel(b->options.loop, b->fetch_timer);
    loop_cancel(b->options.loop, b->timer);
    reach_end(b);
    (void)mosquitto_disconnect(b->mosq);
    mosquitto_destroy(b->mosq);
    SSL_CTX_free(b->tls);
    (void)mosquitto_lib_cleanup();
    free(b);
}

bool
broker_up(const struct broker *b)
{
    return b->up;
}

enum bm_err
broker_publish(
    struct broker *b, struct span topic, struct span payload, int qos, bool retain, int *packet_id)
{
    char name[TOPIC_ROOM];
    int id = 0;
    int rc;

    if (!b->up)
        return BM_ERR_IO;
    if (!to_broker(b, topic, name))
        return BM_ERR_ARG;
    rc = mosquitto_publish(b->mosq, &id, name, (int)payload.len, payload.ptr, qos, retain);
    if (rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_MALFORMED_UTF8)
        return BM_ERR_ARG;
    if (rc != MOSQ_ERR_SUCCESS)
        return BM_ERR_IO;
    if (qos == 0 && packet_id != NULL && !ask(b, &id))
        return BM_ERR_IO;
    if (packet_id != NULL)
        *packet_id = id;
    want_write(b);
    return BM_OK;
}

static enum bm_err
asked(struct broker *b, int rc)
{
    if (rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_MALFORMED_UTF8)
        return BM_ERR_INPUT;
    if (rc != MOSQ_ERR_SUCCESS)
        return BM_ERR_IO;
    want_write(b);
    return BM_OK;
}

enum bm_err
broker_subscribe(struct broker *b, const char *filter)
{
    char there[TOPIC_ROOM];

    if (!to_broker(b, span_str(filter), there))
        return BM_ERR_INPUT;
    return b->up ? asked(b, mosquitto_subscribe(b->mosq, NULL, there, 1)) : BM_ERR_IO;
}

enum bm_err
broker_unsubscribe(struct broker *b, const char *filter)
{
    char there[TOPIC_ROOM];

    if (!to_broker(b, span_str(filter), there))
        return BM_ERR_INPUT;
    return b->up ? asked(b, mosquitto_unsubscribe(b->mosq, NULL, there)) : BM_ERR_IO;
}
