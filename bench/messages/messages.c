/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load generator: N publishers, one subscriber to all of them, COUNT messages of SIZE bytes with
 * QoS 1; the CPU time that the server's processes spent on a delivered message: tests/load/load.h.
 *
 * Without --rate the publishers are kept busy: each has as many messages on the way as --window
 * allows, all together no more than WAITING_MAX that are not delivered, because a broker drops what
 * exceeds its queue. With --rate so many a second are sent by all together, each by the next
 * publisher. Every message must arrive. Its first bytes are the time at which it was sent.
 */
#include "base/clock.h"
#include "load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STUCK_MS = 30000, WAITING_MAX = 500, SIZE_MAX_BYTES = 65536, IN_FLIGHT_CONNECTS = 32 };

struct bench;

struct publisher {
    struct bench *b;
    struct load_conn *conn;
    unsigned number;
    unsigned in_flight;
    uint16_t last_id;
    bool queued; /* in the ring */
};

struct bench {
    struct load load; /* first: tell_state */
    struct load_server server;
    uint16_t port;
    int tls;
    const char *cert;
    const char *key;
    unsigned publishers;
    unsigned long count;
    unsigned rate;
    unsigned window;
    unsigned size;

    struct load_conn *subscriber;
    struct publisher *all;
    unsigned dialled;
    unsigned up;
    struct publisher **ring; /* who may send */
    unsigned ring_first;
    unsigned ring_len;
    unsigned long sent;
    unsigned long acked;
    unsigned long delivered;
    int64_t *took_ns;
    int64_t begin_ms;
    struct buf out;
    uint8_t *payload;
};

static int64_t
now_ns(void)
{
    return clock_mono_us() * 1000;
}

/* ---- publishing ---- */

static void
publish(struct publisher *p)
{
    struct bench *b = p->b;
    struct mqtt_publish m = { .qos = 1 };
    char topic[32];
    int64_t now = now_ns();

    p->last_id = p->last_id == UINT16_MAX ? 1 : (uint16_t)(p->last_id + 1);
    m.packet_id = p->last_id;
    (void)snprintf(topic, sizeof topic, "bench/%u", p->number);
    m.topic = span_str(topic);
    memcpy(b->payload, &now, sizeof now);
    m.payload = span_of(b->payload, b->size);
    b->out.len = 0;
    mqtt_build_publish(&b->out, 4, &m);
    p->in_flight++;
    b->sent++;
    load_send(p->conn, buf_span(&b->out));
}

static void
enqueue(struct publisher *p)
{
    struct bench *b = p->b;

    if (!p->queued && p->in_flight < b->window) {
        p->queued = true;
        b->ring[(b->ring_first + b->ring_len++) % b->publishers] = p;
    }
}

static void
pump(struct bench *b)
{
    while (b->rate == 0 && b->ring_len > 0 && b->sent < b->count &&
           b->sent - b->delivered < WAITING_MAX) {
        struct publisher *p = b->ring[b->ring_first];

        b->ring_first = (b->ring_first + 1) % b->publishers;
        b->ring_len--;
        p->queued = false;
        publish(p);
        enqueue(p);
    }
}

static void
on_tick(void *arg)
{
    struct bench *b = arg;
    int64_t due = (clock_mono_ms() - b->begin_ms) * b->rate / 1000;

    while (b->sent < b->count && (int64_t)b->sent < due) {
        publish(&b->all[b->sent % b->publishers]);
    }
    if (b->sent < b->count && loop_after(b->load.loop, 1, on_tick, b) == NULL) {
        load_die("memory");
    }
}

static void
look_done(struct bench *b)
{
    load_progress(&b->load);
    if (b->delivered == b->count && b->acked == b->count) {
        loop_stop(b->load.loop);
    }
}

/* ---- connections ---- */

static void dial_next(struct bench *b);

static void
on_publisher(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct publisher *me = load_arg(c);
    struct bench *b = me->b;

    if (e == LOAD_DOWN) {
        load_die("a publisher lost its connection");
    }
    if (e == LOAD_UP) {
        load_progress(&b->load);
        if (++b->up == b->publishers) {
            loop_stop(b->load.loop);
        }
        dial_next(b);
        return;
    }
    if (p->type == MQTT_PUBACK) {
        me->in_flight--;
        b->acked++;
        enqueue(me);
        pump(b);
        look_done(b);
    }
}

static void
dial_next(struct bench *b)
{
    char id[48];
    struct publisher *p;

    if (b->dialled == b->publishers) {
        return;
    }
    p = &b->all[b->dialled];
    *p = (struct publisher){ .b = b, .number = b->dialled++ };
    (void)snprintf(id, sizeof id, "bench-%d-%u", (int)getpid(), p->number);
    p->conn = load_dial(&b->load, &(struct load_hello){ .client_id = id }, on_publisher, p);
}

static void
on_subscriber(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct bench *b = load_arg(c);
    struct mqtt_subscribe s = { .packet_id = 1, .count = 1 };
    struct mqtt_publish m;
    struct buf out = { 0 };

    if (e == LOAD_DOWN) {
        load_die("the subscriber lost its connection");
    }
    if (e == LOAD_UP) {
        s.filters[0].filter = span_str("bench/#");
        s.filters[0].options = 1;
        mqtt_build_subscribe(&out, MQTT_SUBSCRIBE, 4, &s);
        load_send(c, buf_span(&out));
    } else if (p->type == MQTT_SUBACK) {
        for (unsigned i = 0; i < IN_FLIGHT_CONNECTS; i++) {
            dial_next(b);
        }
    } else if (p->type == MQTT_PUBLISH && mqtt_parse_publish(p, 4, &m, NULL) == BM_OK) {
        int64_t at;

        memcpy(&at, m.payload.ptr, sizeof at);
        b->took_ns[b->delivered++] = now_ns() - at;
        mqtt_build_puback(&out, 4, m.packet_id, 0, span_of(NULL, 0));
        load_send(c, buf_span(&out));
        pump(b);
        look_done(b);
    }
    buf_fini(&out);
}

/* ---- the program ---- */

static _Noreturn void
usage(void)
{
    (void)fprintf(stderr,
        "usage: bench_messages --port N --cert FILE --key FILE --pids A,B --publishers N\n"
        "       --count N [--rate PER_SECOND | --window N] [--size 100] [--tls 1.2|1.3]\n");
    exit(2);
}

static void
parse(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'y' },
        { "pids", required_argument, NULL, 'i' },
        { "publishers", required_argument, NULL, 'P' },
        { "count", required_argument, NULL, 'n' },
        { "rate", required_argument, NULL, 'r' },
        { "window", required_argument, NULL, 'w' },
        { "size", required_argument, NULL, 's' },
        { "tls", required_argument, NULL, 't' },
        { 0 },
    };

    b->tls = TLS1_3_VERSION;
    b->window = 1;
    b->size = 100;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        unsigned long n = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;

        switch (o) {
        case 'p':
            b->port = (uint16_t)n;
            break;
        case 'c':
            b->cert = optarg;
            break;
        case 'y':
            b->key = optarg;
            break;
        case 'i':
            load_server_parse(&b->server, optarg);
            break;
        case 'P':
            b->publishers = (unsigned)n;
            break;
        case 'n':
            b->count = n;
            break;
        case 'r':
            b->rate = (unsigned)n;
            break;
        case 'w':
            b->window = (unsigned)n;
            break;
        case 's':
            b->size = (unsigned)n;
            break;
        case 't':
            b->tls = strcmp(optarg, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
            break;
        default:
            usage();
        }
    }
    if (b->port == 0 || b->cert == NULL || b->key == NULL || b->server.count == 0 ||
        b->publishers == 0 || b->count == 0 || b->window == 0 || b->size < sizeof(int64_t) ||
        b->size > SIZE_MAX_BYTES) {
        usage();
    }
}

static void
tell_state(struct load *l)
{
    const struct bench *b = (const struct bench *)(const void *)l; /* its first member */

    (void)fprintf(stderr, "%u publishers up, %lu messages sent, %lu acknowledged, %lu delivered\n",
        b->up, b->sent, b->acked, b->delivered);
}

static void
prepare(struct bench *b)
{
    b->all = calloc(b->publishers, sizeof *b->all);
    b->ring = calloc(b->publishers, sizeof(struct publisher *));
    b->took_ns = calloc(b->count, sizeof *b->took_ns);
    b->payload = calloc(1, b->size);
    if (b->all == NULL || b->ring == NULL || b->took_ns == NULL || b->payload == NULL) {
        load_die("memory");
    }
    load_open(&b->load, b->port, b->tls);
    b->load.on_stuck = tell_state;
    load_identity(&b->load, b->cert, b->key);
    b->subscriber =
        load_dial(&b->load, &(struct load_hello){ .client_id = "bench-sub" }, on_subscriber, b);
    load_run(&b->load, STUCK_MS);
}

int
main(int argc, char **argv)
{
    struct bench b = { 0 };
    int64_t each[2][LOAD_PIDS_MAX];
    int64_t spent;
    int64_t wall_ms;

    parse(&b, argc, argv);
    prepare(&b);
    spent = -load_cpu_at_rest_ns(&b.server, each[0]);
    b.begin_ms = clock_mono_ms();
    for (unsigned i = 0; i < b.publishers; i++) {
        enqueue(&b.all[i]);
    }
    if (b.rate != 0) {
        on_tick(&b);
    }
    pump(&b);
    load_run(&b.load, STUCK_MS);
    wall_ms = clock_mono_ms() - b.begin_ms;
    spent += load_cpu_at_rest_ns(&b.server, each[1]);
    printf("us_per_message=%.2f messages=%lu wall_ms=%lld p50_ms=%.2f p99_ms=%.2f",
        (double)spent / 1000 / (double)b.count, b.count, (long long)wall_ms,
        (double)load_quantile(b.took_ns, b.count, 0.5) / 1e6,
        (double)load_quantile(b.took_ns, b.count, 0.99) / 1e6);
    load_print_each(&b.server, each[0], each[1], 1000.0 * (double)b.count);
    printf("\n");
    return 0;
}
