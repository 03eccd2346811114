/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process: registry writer, API, rules, functions, event outbox, timeline. Design 9.
 *
 * The master forks it first and hands it one end of a SOCK_SEQPACKET pair. Over that pair control
 * says "up" with its API port once it serves, and the master passes the control end of each
 * worker's link (SCM_RIGHTS), also of workers that replace dead ones.
 */
#ifndef BM_BIRTHMARK_CONTROL_H
#define BM_BIRTHMARK_CONTROL_H

#include "api/api.h"
#include "endpoint/metrics.h"
#include "endpoint/worker.h"
#include "lambda/lambda.h"

enum { CONTROL_NAMES_MAX = 16 + ACCOUNTS_MAX, CONTROL_KEYS_MAX = 64 };

struct control_options {
    const char *dir; /* state folder, absolute */
    const char *runtime_dir;
    enum lambda_sandbox sandbox; /* of functions */
    unsigned processes;          /* of functions at a time; 0: the standard */
    const char *api_host;
    uint16_t api_port;         /* 0: any */
    const char *metrics_host;  /* NULL: metrics are not served */
    uint16_t metrics_port;     /* 0: any */
    const char *console_host;  /* NULL: no console */
    uint16_t console_port;     /* 0: any */
    bool console_port_is_wish; /* when it is taken, any */
    const char *mqtt_host;     /* where the endpoint listens, for the console to show */
    uint16_t mqtt_port;
    const struct metrics *metrics;
    size_t metrics_count;
    size_t timeline_max; /* of each account; 0: all */
    const struct limits *limits;
    const char *region;
    struct account_place accounts[ACCOUNTS_MAX]; /* the first one's dir is not always `dir` */
    const char *endpoints[ACCOUNTS_MAX];         /* their MQTT endpoints' host names */
    size_t account_count;
    struct api_key keys[CONTROL_KEYS_MAX]; /* at least one of each account */
    size_t key_count;
    const char *names[CONTROL_NAMES_MAX]; /* of the server certificate */
    size_t name_count;
    int master_fd;
};

/* Returns on SIGTERM or when the master is gone; everything acknowledged is durable. */
enum bm_err control_run(const struct control_options *options, struct bm_msg *msg);

/* What control sends on master_fd when it serves. */
struct control_up {
    uint16_t api_port;
    uint16_t metrics_port;
    uint16_t console_port;
};

#endif
