/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that nobody knows, all at once: each has a certificate of its own, comes again until it
 * is let in, publishes one message of QoS 1 until it is acknowledged, and leaves. For
 * tests/scenario/storm.sh, which kills the server meanwhile.
 *
 * Prints a line for each device that is done: its certificate id, which is also in its message.
 * What the server does to a connection is never an error here, only no progress for two minutes is.
 */
#include "load.h"

#include <getopt.h>
#include <openssl/ec.h>
#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 1500, STUCK_MS = 120000 };

struct storm;

struct device {
    struct storm *s;
    unsigned number;
    unsigned tries;
    X509 *cert;
    char id[65];
};

struct storm {
    struct load load; /* first: tell_state */
    struct load_ca ca;
    EVP_PKEY *key; /* of all devices: making keys is not what is tried here */
    struct device *devices;
    unsigned count;
    unsigned in_flight;
    unsigned backoff_max_ms;
    unsigned running;
    unsigned next; /* that has not begun */
    unsigned done;
    unsigned dropped; /* connections that ended after their CONNECT had left */
    unsigned lost;    /* before */
};

static void begin(struct device *d);

static void
start_more(struct storm *s)
{
    while (s->running < s->in_flight && s->next < s->count) {
        s->running++;
        begin(&s->devices[s->next++]);
    }
}

static void
say_message(const struct device *d, struct load_conn *c)
{
    char topic[32];
    char payload[128];
    struct mqtt_publish m = { .qos = 1, .packet_id = 1 };
    struct buf out = { 0 };

    (void)snprintf(topic, sizeof topic, "storm/%u", d->number);
    (void)snprintf(payload, sizeof payload, "{\"from\":\"%s\"}", d->id);
    m.topic = span_str(topic);
    m.payload = span_str(payload);
    mqtt_build_publish(&out, 4, &m);
    load_send(c, buf_span(&out));
    buf_fini(&out);
}

static void
finish(struct device *d, struct load_conn *c)
{
    struct storm *s = d->s;

    printf("%s\n", d->id);
    (void)fflush(stdout);
    load_close(c, true);
    load_progress(&s->load);
    s->running--;
    if (++s->done == s->count) {
        loop_stop(s->load.loop);
    }
    start_more(s);
}

static void
on_again(void *arg)
{
    begin(arg);
}

static void
come_again(struct device *d, bool greeted)
{
    int64_t most = (int64_t)BACKOFF_MIN_MS << (d->tries < 10 ? d->tries : 10);
    int64_t max = d->s->backoff_max_ms;

    *(greeted ? &d->s->dropped : &d->s->lost) += 1;
    d->tries++;
    if (loop_after(d->s->load.loop, BACKOFF_MIN_MS + random() % (most < max ? most : max), on_again,
            d) == NULL) {
        load_die("memory");
    }
}

static void
on_event(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct device *d = load_arg(c);

    if (e == LOAD_UP) {
        say_message(d, c);
    } else if (e == LOAD_PACKET && p->type == MQTT_PUBACK) {
        finish(d, c);
    } else if (e == LOAD_DOWN) {
        come_again(d, load_greeted(c));
    }
}

static void
begin(struct device *d)
{
    char client_id[32];

    (void)snprintf(client_id, sizeof client_id, "storm-%u", d->number);
    (void)load_dial(&d->s->load,
        &(struct load_hello){ client_id, d->cert, d->s->key, d->s->ca.cert }, on_event, d);
}

static void
tell_state(struct load *l)
{
    const struct storm *s = (const struct storm *)(const void *)l; /* its first member */

    (void)fprintf(stderr, "storm: %u of %u are done, and for two minutes none was added\n", s->done,
        s->count);
}

static void
make_devices(struct storm *s)
{
    s->key = EVP_EC_gen("P-256");
    s->devices = calloc(s->count, sizeof *s->devices);
    if (s->key == NULL || s->devices == NULL) {
        load_die("memory");
    }
    for (unsigned i = 0; i < s->count; i++) {
        struct device *d = &s->devices[i];
        uint8_t id[32];

        *d = (struct device){ .s = s, .number = i, .cert = load_leaf(&s->ca, s->key, "storm") };
        if (X509_digest(d->cert, EVP_sha256(), id, NULL) != 1) {
            load_die("digest");
        }
        hex_encode(d->id, id, sizeof id);
    }
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "count", required_argument, NULL, 'n' },
        { "in-flight", required_argument, NULL, 'k' },
        { "ca", required_argument, NULL, 'c' },
        { "ca-key", required_argument, NULL, 'y' },
        { "backoff", required_argument, NULL, 'b' },
        { "seed", required_argument, NULL, 's' },
        { 0 },
    };
    struct storm s = { .backoff_max_ms = BACKOFF_MAX_MS };
    const char *ca = NULL;
    const char *key = NULL;
    uint16_t port = 0;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == '?') {
            return 2;
        }
        ca = o == 'c' ? optarg : ca;
        key = o == 'y' ? optarg : key;
        port = o == 'p' ? (uint16_t)strtoul(optarg, NULL, 10) : port;
        s.count = o == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : s.count;
        s.in_flight = o == 'k' ? (unsigned)strtoul(optarg, NULL, 10) : s.in_flight;
        s.backoff_max_ms = o == 'b' ? (unsigned)strtoul(optarg, NULL, 10) : s.backoff_max_ms;
        if (o == 's') {
            srandom((unsigned)strtoul(optarg, NULL, 10));
        }
    }
    if (port == 0 || s.count == 0 || s.in_flight == 0 || s.backoff_max_ms == 0 || ca == NULL ||
        key == NULL) {
        (void)fprintf(stderr,
            "usage: storm --port N --count N --in-flight K --ca FILE --ca-key FILE [--seed N] "
            "[--backoff MAX_MS]\n");
        return 2;
    }
    load_open(&s.load, port, 0);
    load_ca_read(&s.ca, ca, key);
    make_devices(&s);
    s.load.on_stuck = tell_state;
    start_more(&s);
    load_run(&s.load, STUCK_MS);
    (void)fprintf(stderr, "storm: %u devices, %u connections dropped after CONNECT, %u before\n",
        s.done, s.dropped, s.lost);
    for (unsigned i = 0; i < s.count; i++) {
        X509_free(s.devices[i].cert);
    }
    free(s.devices);
    EVP_PKEY_free(s.key);
    EVP_PKEY_free(s.ca.key);
    X509_free(s.ca.cert);
    load_shut(&s.load);
    return 0;
}
