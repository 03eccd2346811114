/* SPDX-License-Identifier: Apache-2.0 */
/* See broker.h. */
#include "birthmark/broker.h"

#include "base/log.h"

#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { RETRY_MS = 100, MISC_MS = 1000, KEEP_ALIVE_S = 30 };

struct broker {
    struct broker_options options;
    struct mosquitto *mosq;
    struct loop_watch *watch;
    uint32_t watched; /* events of `watch` */
    struct loop_timer *timer;
    bool up; /* CONNACK received */
};

static void on_timer(void *arg);

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
    arm(b, RETRY_MS);
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

static void
try_connect(struct broker *b)
{
    /* port 0: the "host" is the path of a Unix socket */
    if (mosquitto_connect(b->mosq, b->options.path, 0, KEEP_ALIVE_S) != MOSQ_ERR_SUCCESS) {
        arm(b, RETRY_MS);
        return;
    }
    b->watched = EPOLLIN;
    b->watch = loop_add(b->options.loop, mosquitto_socket(b->mosq), EPOLLIN, on_socket, b);
    want_write(b);
    arm(b, MISC_MS);
}

static void
on_timer(void *arg)
{
    struct broker *b = arg;

    b->timer = NULL;
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
    b->options.acknowledged(b->options.arg, packet_id);
}

enum bm_err
broker_open(const struct broker_options *options, struct broker **out, struct bm_msg *msg)
{
    struct broker *b = calloc(1, sizeof *b);

    *out = NULL;
    if (b == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    b->options = *options;
    (void)mosquitto_lib_init();
    b->mosq = mosquitto_new(NULL, true, b);
    if (b->mosq == NULL) {
        free(b);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    mosquitto_connect_callback_set(b->mosq, on_connect);
    mosquitto_publish_callback_set(b->mosq, on_publish);
    try_connect(b);
    *out = b;
    return BM_OK;
}

void
broker_close(struct broker *b)
{
    if (b == NULL)
        return;
    loop_cancel(b->options.loop, b->timer);
    loop_remove(b->options.loop, b->watch);
    (void)mosquitto_disconnect(b->mosq);
    mosquitto_destroy(b->mosq);
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
    char name[65536];
    int id = 0;

    if (!b->up)
        return BM_ERR_IO;
    if (topic.len >= sizeof name)
        return BM_ERR_ARG;
    memcpy(name, topic.ptr, topic.len);
    name[topic.len] = '\0';
    if (mosquitto_publish(b->mosq, &id, name, (int)payload.len, payload.ptr, qos, retain) !=
        MOSQ_ERR_SUCCESS)
        return BM_ERR_IO;
    if (packet_id != NULL)
        *packet_id = id;
    want_write(b);
    return BM_OK;
}
