/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The round trip of connected clients: each publishes to a topic of its own, to which it is
 * subscribed, every PERIOD_MS, whether or not the last message is back (so that a pause is seen by
 * all that fall into it). QoS 0, 100 bytes. Prints quantiles over SECONDS.
 * usage: bench_latency --port N --cert FILE --key FILE [--clients 8] [--seconds 5]
 */
#include "base/clock.h"
#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STUCK_MS = 30000, PERIOD_MS = 20, SETTLE_MS = 5000 };

struct bench;

struct client {
    struct bench *b;
    struct load_conn *conn;
    char topic[32];
};

struct bench {
    struct load load;
    struct client *clients;
    unsigned count;
    unsigned up;
    unsigned next;
    int64_t end_ms;
    size_t sent;
    size_t back;
    size_t cap;
    int64_t *took_us;
};

static void
send_one(struct client *c)
{
    struct bench *b = c->b;
    uint8_t payload[100] = { 0 };
    int64_t now = clock_mono_us();
    struct mqtt_publish m = { .topic = span_str(c->topic), .payload = SPAN(payload) };
    struct buf out = { 0 };

    memcpy(payload, &now, sizeof now);
    mqtt_build_publish(&out, 4, &m);
    load_send(c->conn, buf_span(&out));
    buf_fini(&out);
    b->sent++;
}

static void
on_tick(void *arg)
{
    struct bench *b = arg;

    if (clock_mono_ms() < b->end_ms && b->sent < b->cap) {
        for (unsigned i = 0; i < b->count; i++) {
            send_one(&b->clients[i]);
        }
        if (loop_after(b->load.loop, PERIOD_MS, on_tick, b) == NULL) {
            load_die("memory");
        }
    } else if (b->back == b->sent || clock_mono_ms() > b->end_ms + SETTLE_MS) {
        loop_stop(b->load.loop);
    } else {
        (void)loop_after(b->load.loop, PERIOD_MS, on_tick, b);
    }
}

static void dial_next(struct bench *b);

static void
on_event(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct client *me = load_arg(c);
    struct bench *b = me->b;
    struct mqtt_subscribe s = { .packet_id = 1, .count = 1 };
    struct mqtt_publish m;
    struct buf out = { 0 };

    load_progress(&b->load);
    if (e == LOAD_DOWN) {
        load_die("a client lost its connection");
    }
    if (e == LOAD_UP) {
        s.filters[0].filter = span_str(me->topic);
        mqtt_build_subscribe(&out, MQTT_SUBSCRIBE, 4, &s);
        load_send(c, buf_span(&out));
        buf_fini(&out);
    } else if (p->type == MQTT_SUBACK) {
        if (++b->up == b->count) {
            loop_stop(b->load.loop);
        }
        dial_next(b);
    } else if (p->type == MQTT_PUBLISH && mqtt_parse_publish(p, 4, &m, NULL) == BM_OK) {
        int64_t at;

        memcpy(&at, m.payload.ptr, sizeof at);
        b->took_us[b->back++] = clock_mono_us() - at;
    }
}

static void
dial_next(struct bench *b)
{
    struct client *c = &b->clients[b->next];
    char id[48];

    if (b->next == b->count) {
        return;
    }
    *c = (struct client){ .b = b };
    (void)snprintf(c->topic, sizeof c->topic, "latency/%u", b->next);
    (void)snprintf(id, sizeof id, "latency-%d-%u", (int)getpid(), b->next++);
    c->conn = load_dial(&b->load, &(struct load_hello){ .client_id = id }, on_event, c);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'y' },
        { "clients", required_argument, NULL, 'n' },
        { "seconds", required_argument, NULL, 's' },
        { 0 },
    };
    struct bench b = { .count = 8 };
    const char *cert = NULL;
    const char *key = NULL;
    unsigned seconds = 5;
    uint16_t port = 0;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == '?') {
            return 2;
        }
        port = o == 'p' ? (uint16_t)strtoul(optarg, NULL, 10) : port;
        cert = o == 'c' ? optarg : cert;
        key = o == 'y' ? optarg : key;
        b.count = o == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : b.count;
        seconds = o == 's' ? (unsigned)strtoul(optarg, NULL, 10) : seconds;
    }
    if (port == 0 || cert == NULL || key == NULL || b.count == 0 || seconds == 0) {
        (void)fprintf(stderr,
            "usage: bench_latency --port N --cert FILE --key FILE [--clients 8] [--seconds 5]\n");
        return 2;
    }
    b.cap = (size_t)b.count * seconds * (1000 / PERIOD_MS + 1);
    b.clients = calloc(b.count, sizeof *b.clients);
    b.took_us = calloc(b.cap + b.count, sizeof *b.took_us);
    if (b.clients == NULL || b.took_us == NULL) {
        load_die("memory");
    }
    load_open(&b.load, port, 0);
    load_identity(&b.load, cert, key);
    dial_next(&b);
    load_run(&b.load, STUCK_MS);
    b.end_ms = clock_mono_ms() + (int64_t)seconds * 1000;
    on_tick(&b);
    load_run(&b.load, STUCK_MS);
    printf("p50_ms=%.2f p90_ms=%.2f p99_ms=%.2f max_ms=%.2f samples=%zu lost=%zu\n",
        (double)load_quantile(b.took_us, b.back, 0.5) / 1e3,
        (double)load_quantile(b.took_us, b.back, 0.9) / 1e3,
        (double)load_quantile(b.took_us, b.back, 0.99) / 1e3,
        (double)load_quantile(b.took_us, b.back, 1) / 1e3, b.back, b.sent - b.back);
    return b.back > 0 ? 0 : 1;
}
