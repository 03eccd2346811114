/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master process of `birthmark cloud`: starts the broker, control and the TLS workers, replaces
 * what dies, ends all of it. It holds no state and touches no certificate. Design 9.
 */
#ifndef BM_BIRTHMARK_MASTER_H
#define BM_BIRTHMARK_MASTER_H

#include "birthmark/control.h"
#include "endpoint/limit.h"

enum { MASTER_WORKERS_MAX = 64 };

struct master_options {
    struct control_options control; /* master_fd is filled by the master */
    const char *mqtt_host;          /* IP literal */
    uint16_t mqtt_port;             /* 0: any */
    unsigned workers;               /* 1..MASTER_WORKERS_MAX */
    const char *server_cert;        /* absolute path; NULL, both: the local authority's */
    const char *server_key;
    struct limits limits;
    const char *broker_program; /* NULL: mosquitto from the usual folders */
};

/*
 * Run in the foreground until SIGTERM or SIGINT; prints the addresses and `ready` on stdout once
 * everything serves. BM_ERR_CONFLICT: another cloud has the folder. BM_ERR_IO and others: could not
 * start, or a part died that cannot be replaced.
 */
enum bm_err master_run(const struct master_options *options, struct bm_msg *msg);

#endif
