/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT clients over TLS by the thousand, for benchmarks and the storm: one loop, one state machine
 * for each connection, and what the kernel says of the server's processes. Level 3.1.1.
 *
 * Everything that cannot go on ends the program with a sentence on stderr: it is a tool for tests.
 */
#ifndef BM_TESTS_LOAD_H
#define BM_TESTS_LOAD_H

#include "base/loop.h"
#include "wire/mqtt.h"

#include <openssl/ssl.h>
#include <sys/types.h>

_Noreturn void load_die(const char *what); /* with errno's words when it is set */

/* ---- connections ---- */

struct load {
    uint16_t port; /* of 127.0.0.1 */
    struct loop *loop;
    SSL_CTX *ctx;
    char *sni; /* NULL: none */
    int64_t progress_ms;
    int64_t stuck_ms;
    void (*on_stuck)(
        struct load *l); /* says how far it came before the program ends; may be NULL */
};

/* `tls`: TLS1_2_VERSION, TLS1_3_VERSION, 0 for both. Raises the limit of descriptors. */
void load_open(struct load *l, uint16_t port, int tls);
void load_shut(struct load *l); /* when every connection is closed */
/* Run the loop until loop_stop; the program ends when `stuck_ms` pass without load_progress. */
void load_run(struct load *l, int64_t stuck_ms);
void load_progress(struct load *l);
/* The certificate (chain) and key of every connection that brings none of its own. */
void load_identity(struct load *l, const char *cert, const char *key);

enum load_event {
    LOAD_UP,     /* CONNACK 0 */
    LOAD_PACKET, /* any later packet */
    LOAD_DOWN,   /* closed, refused or never reached; the connection is freed after the call */
};

struct load_conn;
typedef void (*load_fn)(struct load_conn *c, enum load_event e, const struct mqtt_packet *p);

struct load_hello {
    const char *client_id;
    X509 *cert; /* NULL: the one of load_identity */
    EVP_PKEY *key;
    X509 *issuer; /* sent behind cert; may be NULL */
};

struct load_conn *load_dial(struct load *l, const struct load_hello *h, load_fn fn, void *arg);
void *load_arg(const struct load_conn *c);
/* At LOAD_DOWN: did the CONNECT leave? Then the far side may have decided something. */
bool load_greeted(const struct load_conn *c);
void load_send(struct load_conn *c, struct span packet);
/* Without LOAD_DOWN; with a DISCONNECT first when `politely`. */
void load_close(struct load_conn *c, bool politely);

/* ---- certificates ---- */

struct load_ca {
    X509 *cert;
    EVP_PKEY *key;
};

void load_ca_read(struct load_ca *ca, const char *cert, const char *key); /* PEM files */
/* A leaf of a day, X.509 v1, random serial number; freed by the caller. */
X509 *load_leaf(const struct load_ca *ca, EVP_PKEY *key, const char *common_name);

/* ---- what the server's processes cost ---- */

enum { LOAD_PIDS_MAX = 64 };

struct load_server {
    pid_t pids[LOAD_PIDS_MAX];
    size_t count;
};

void load_server_parse(struct load_server *s, char *list); /* "12,13,14"; changes the text */
int64_t load_cpu_ns(
    const struct load_server *s, int64_t each[LOAD_PIDS_MAX]); /* each may be NULL */
/* The same once less than 1 % of a core is used over 0.1 s, so that work done later counts. */
int64_t load_cpu_at_rest_ns(const struct load_server *s, int64_t each[LOAD_PIDS_MAX]);
int64_t load_rss(const struct load_server *s, int64_t each[LOAD_PIDS_MAX]); /* bytes */
/* " by_process=A+B+C", each (after - before) / divisor. */
void load_print_each(const struct load_server *s, const int64_t before[LOAD_PIDS_MAX],
    const int64_t after[LOAD_PIDS_MAX], double divisor);

/* Value at the fraction `at` (0.99) of `n` samples, which are sorted. */
int64_t load_quantile(int64_t *samples, size_t n, double at);

#endif
