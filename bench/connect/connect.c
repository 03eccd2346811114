/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load generator: N times a full mutual TLS handshake, CONNECT, CONNACK, DISCONNECT, with K in
 * flight, and the CPU time that the server's processes spent on it: tests/load/load.h.
 *
 * --unknown: each connection brings a certificate of its own, made beforehand, and is expected to
 * be closed without CONNACK. --vary STEP: each brings the certificate of --cert with another serial
 * number, as bench_api_fill has registered them. --hold: they stay, and memory is told, too.
 */
#include "base/clock.h"
#include "load.h"

#include <getopt.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STUCK_MS = 30000, DER_MAX = 4096 };

struct bench {
    struct load load;
    struct load_server server;
    struct load_ca ca;
    EVP_PKEY *key; /* of all leaves */
    X509 **leaves; /* NULL: all show --cert */
    uint16_t port;
    int tls;
    unsigned count;
    unsigned in_flight;
    unsigned long step; /* of the serial numbers; 0: no --vary */
    const char *cert;
    const char *key_file;
    bool unknown;
    bool leaf_only; /* --unknown without the issuer's certificate behind the leaf */
    bool hold;
    unsigned started;
    unsigned done;
    unsigned failed;
};

/* ---- certificates ---- */

static void
new_leaves(struct bench *b)
{
    b->key = EVP_EC_gen("P-256");
    load_ca_read(&b->ca, b->cert, b->key_file);
    for (unsigned i = 0; i < b->count; i++) {
        b->leaves[i] = load_leaf(&b->ca, b->key, "bench device");
    }
}

/* The serial number is 1122334455667788; its last four bytes count. */
static void
registered_leaves(struct bench *b)
{
    static const uint8_t serial[8] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 };
    uint8_t der[DER_MAX];
    struct load_ca self;
    unsigned char *to = der;
    int len;
    uint8_t *at;

    load_ca_read(&self, b->cert, b->key_file);
    len = i2d_X509(self.cert, NULL);
    if (len <= 0 || len > DER_MAX || i2d_X509(self.cert, &to) != len) {
        load_die("--cert");
    }
    at = memmem(der, (size_t)len, serial, sizeof serial);
    if (at == NULL) {
        load_die("--cert has not the serial number 1122334455667788");
    }
    for (unsigned i = 0; i < b->count; i++) {
        const unsigned char *from = der;
        unsigned long n = i * b->step;

        for (unsigned k = 0; k < 4; k++) {
            at[4 + k] = (uint8_t)(n >> (24 - 8 * k));
        }
        b->leaves[i] = d2i_X509(NULL, &from, len);
    }
    b->key = self.key;
    X509_free(self.cert);
}

static void
make_identities(struct bench *b)
{
    if (!b->unknown && b->step == 0) {
        load_identity(&b->load, b->cert, b->key_file);
        return;
    }
    b->leaves = calloc(b->count, sizeof(X509 *));
    if (b->leaves == NULL) {
        load_die("memory");
    }
    (b->unknown ? new_leaves : registered_leaves)(b);
}

/* ---- one connection ---- */

static void start_one(struct bench *b);

static void
finish(struct bench *b, bool good)
{
    b->done++;
    b->failed += good ? 0 : 1;
    load_progress(&b->load);
    if (b->started < b->count) {
        start_one(b);
    } else if (b->done == b->count) {
        loop_stop(b->load.loop);
    }
}

static void
on_event(struct load_conn *c, enum load_event e, const struct mqtt_packet *p)
{
    struct bench *b = load_arg(c);

    (void)p;
    if (e == LOAD_UP && !b->hold) {
        load_close(c, true);
    }
    if (e != LOAD_PACKET) {
        finish(b, e == LOAD_UP ? !b->unknown : b->unknown && load_greeted(c));
    }
}

static void
start_one(struct bench *b)
{
    char id[32];
    struct load_hello h = { .client_id = id };

    (void)snprintf(id, sizeof id, "bench-%08x%08x", (unsigned)getpid(), b->started);
    if (b->leaves != NULL) {
        h.cert = b->leaves[b->started];
        h.key = b->key;
        h.issuer = b->unknown && !b->leaf_only ? b->ca.cert : NULL;
    }
    b->started++;
    (void)load_dial(&b->load, &h, on_event, b);
}

/* ---- the program ---- */

static _Noreturn void
usage(void)
{
    (void)fprintf(stderr,
        "usage: bench_connect --port N --count N --in-flight K --cert FILE --key FILE --pids A,B\n"
        "       --tls 1.2|1.3   instead of 1.3\n"
        "       --sni NAME\n"
        "       --unknown       --cert and --key are a CA's; each connection brings a new leaf,\n"
        "                       and the CA's certificate behind it unless --leaf-only\n"
        "       --vary STEP     each brings --cert with the serial number raised by STEP\n"
        "       --hold          keep them open and print the server's memory for each\n");
    exit(2);
}

static void
parse(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "count", required_argument, NULL, 'n' },
        { "in-flight", required_argument, NULL, 'k' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'y' },
        { "pids", required_argument, NULL, 'i' },
        { "tls", required_argument, NULL, 't' },
        { "sni", required_argument, NULL, 's' },
        { "vary", required_argument, NULL, 'v' },
        { "unknown", no_argument, NULL, 'u' },
        { "leaf-only", no_argument, NULL, 'l' },
        { "hold", no_argument, NULL, 'h' },
        { 0 },
    };

    b->tls = TLS1_3_VERSION;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        unsigned long n = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;

        switch (o) {
        case 'p':
            b->port = (uint16_t)n;
            break;
        case 'n':
            b->count = (unsigned)n;
            break;
        case 'k':
            b->in_flight = (unsigned)n;
            break;
        case 'c':
            b->cert = optarg;
            break;
        case 'y':
            b->key_file = optarg;
            break;
        case 'i':
            load_server_parse(&b->server, optarg);
            break;
        case 't':
            b->tls = strcmp(optarg, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
            break;
        case 's':
            b->load.sni = optarg;
            break;
        case 'v':
            b->step = n;
            break;
        case 'u':
            b->unknown = true;
            break;
        case 'l':
            b->leaf_only = true;
            break;
        case 'h':
            b->hold = true;
            break;
        default:
            usage();
        }
    }
    if (b->port == 0 || b->count == 0 || b->in_flight == 0 || b->cert == NULL ||
        b->key_file == NULL || b->server.count == 0) {
        usage();
    }
}

int
main(int argc, char **argv)
{
    struct bench b = { 0 };
    int64_t cpu[2][LOAD_PIDS_MAX];
    int64_t memory[2][LOAD_PIDS_MAX];
    int64_t spent;
    int64_t grown;
    int64_t wall_ms;

    parse(&b, argc, argv);
    load_open(&b.load, b.port, b.tls);
    make_identities(&b);
    spent = -load_cpu_at_rest_ns(&b.server, cpu[0]);
    grown = -load_rss(&b.server, memory[0]);
    wall_ms = -clock_mono_ms();
    while (b.started < b.count && b.started < b.in_flight) {
        start_one(&b);
    }
    load_run(&b.load, STUCK_MS);
    wall_ms += clock_mono_ms();
    spent += load_cpu_at_rest_ns(&b.server, cpu[1]);
    grown += load_rss(&b.server, memory[1]);
    if (b.hold) {
        printf("bytes_per_connection=%lld", (long long)grown / b.count);
        load_print_each(&b.server, memory[0], memory[1], b.count);
        printf(" ");
    }
    printf("us_per_connect=%.1f connects=%u failed=%u wall_ms=%lld", (double)spent / 1000 / b.count,
        b.count, b.failed, (long long)wall_ms);
    load_print_each(&b.server, cpu[0], cpu[1], 1000.0 * b.count);
    printf("\n");
    return b.failed == 0 ? 0 : 1;
}
