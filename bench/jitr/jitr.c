/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Just-in-time registration, one new device after another: from its first TCP connect until its
 * certificate is ACTIVE with a policy, as the workers see it in the shared table (looked up every
 * millisecond), and until it is connected.
 * usage: bench_jitr --port N --dir FOLDER --ca FILE --ca-key FILE --count N
 * FOLDER is the cloud's. The client id is the certificate id. Prints quantiles in milliseconds.
 */
#include "base/clock.h"
#include "load.h"
#include "registry/registry.h"
#include "registry/table.h"

#include <getopt.h>
#include <openssl/ec.h>
#include <stdio.h>
#include <stdlib.h>

enum { STUCK_MS = 60000, LOOK_MS = 1, AGAIN_MS = 5 };

struct bench {
    struct load load;
    struct load_ca ca;
    EVP_PKEY *key;
    struct table *table;
    unsigned count;
    unsigned done;
    X509 *cert; /* of the present device */
    uint8_t id[32];
    char hex[65];
    int64_t begin_us;
    bool active;
    int64_t *active_us;
    int64_t *connected_us;
};

static void next_device(struct bench *b);
static void on_event(struct load_conn *c, enum load_event e, const struct mqtt_packet *p);

static void
dial(void *arg)
{
    struct bench *b = arg;

    (void)load_dial(
        &b->load, &(struct load_hello){ b->hex, b->cert, b->key, b->ca.cert }, on_event, b);
}

static void
on_look(void *arg)
{
    struct bench *b = arg;
    struct table_entry e;

    if (table_get(b->table, b->id, &e) && e.status == CERT_ACTIVE && e.policy_set != 0) {
        b->active = true;
        b->active_us[b->done] = clock_mono_us() - b->begin_us;
        dial(b);
    } else if (loop_after(b->load.loop, LOOK_MS, on_look, b) == NULL) {
        load_die("memory");
    }
}

static void
on_event(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct bench *b = load_arg(c);

    (void)p;
    if (e == LOAD_UP && b->active) {
        load_close(c, true);
        b->connected_us[b->done++] = clock_mono_us() - b->begin_us;
        load_progress(&b->load);
        X509_free(b->cert);
        next_device(b);
    } else if (e == LOAD_UP) {
        load_die("a device of which nobody knew was let in");
    } else if (e == LOAD_DOWN && b->active) {
        (void)loop_after(b->load.loop, AGAIN_MS, dial, b);
    } else if (e == LOAD_DOWN && !load_greeted(c)) {
        load_die("the first connection was refused before CONNECT");
    }
}

static void
next_device(struct bench *b)
{
    if (b->done == b->count) {
        loop_stop(b->load.loop);
        return;
    }
    b->cert = load_leaf(&b->ca, b->key, "jitr");
    if (X509_digest(b->cert, EVP_sha256(), b->id, NULL) != 1) {
        load_die("digest");
    }
    hex_encode(b->hex, b->id, sizeof b->id);
    b->active = false;
    b->begin_us = clock_mono_us();
    dial(b);
    on_look(b);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "dir", required_argument, NULL, 'd' },
        { "ca", required_argument, NULL, 'c' },
        { "ca-key", required_argument, NULL, 'y' },
        { "count", required_argument, NULL, 'n' },
        { 0 },
    };
    struct bench b = { 0 };
    struct bm_msg msg = { "" };
    const char *dir = NULL;
    const char *ca = NULL;
    const char *key = NULL;
    uint16_t port = 0;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == '?') {
            return 2;
        }
        port = o == 'p' ? (uint16_t)strtoul(optarg, NULL, 10) : port;
        dir = o == 'd' ? optarg : dir;
        ca = o == 'c' ? optarg : ca;
        key = o == 'y' ? optarg : key;
        b.count = o == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : b.count;
    }
    if (port == 0 || dir == NULL || ca == NULL || key == NULL || b.count == 0) {
        (void)fprintf(
            stderr, "usage: bench_jitr --port N --dir FOLDER --ca FILE --ca-key FILE --count N\n");
        return 2;
    }
    load_open(&b.load, port, TLS1_3_VERSION);
    load_ca_read(&b.ca, ca, key);
    b.key = EVP_EC_gen("P-256");
    b.active_us = calloc(b.count, sizeof *b.active_us);
    b.connected_us = calloc(b.count, sizeof *b.connected_us);
    if (b.key == NULL || b.active_us == NULL || b.connected_us == NULL) {
        load_die("memory");
    }
    if (table_attach(dir, &b.table, &msg) != BM_OK) {
        (void)fprintf(stderr, "bench_jitr: %s\n", msg.text);
        return 1;
    }
    next_device(&b);
    load_run(&b.load, STUCK_MS);
    printf("active_p50_ms=%.1f active_p99_ms=%.1f connected_p50_ms=%.1f connected_p99_ms=%.1f "
           "devices=%u\n",
        (double)load_quantile(b.active_us, b.count, 0.5) / 1e3,
        (double)load_quantile(b.active_us, b.count, 0.99) / 1e3,
        (double)load_quantile(b.connected_us, b.count, 0.5) / 1e3,
        (double)load_quantile(b.connected_us, b.count, 0.99) / 1e3, b.count);
    return 0;
}
