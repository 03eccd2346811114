/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS worker: accepts, admits by the table, authorises, relays to the broker. Design 9; SPEC
 * endpoint 9, 10, 11.
 *
 * worker_run is the whole life of a forked process: it takes over the listening socket and its end
 * of the control link and returns when told to end. Losing control closes newcomers with
 * CAUSE_CONTROL_DOWN and keeps serving known certificates whose policy set is in the cache.
 */
#ifndef BM_ENDPOINT_WORKER_H
#define BM_ENDPOINT_WORKER_H

#include "base/bytes.h"
#include "broker/upstream.h"
#include "endpoint/limit.h"
#include "endpoint/metrics.h"
#include "endpoint/throttle.h"

enum { ACCOUNTS_MAX = 16 };

/*
 * One account's part of the state: its certificates and its broker are its own, so devices of two
 * accounts share no topic, client id or policy. A certificate may be in several accounts; which one
 * a connection belongs to is told by its server name or, without one, by the certificate. SPEC
 * aws-iot 3.6
 */
struct account_place {
    const char *number; /* 12 digits */
    const char *dir;    /* state folder of the account: table_attach, registry_open */
    const struct upstream *broker;
};

struct worker_options {
    int listen_fd;                        /* bound, listening, SO_REUSEPORT, non-blocking */
    int control_fd;                       /* SOCK_SEQPACKET */
    const struct account_place *accounts; /* 1..ACCOUNTS_MAX */
    size_t account_count;
    const char *server_cert; /* PEM: leaf, then chain */
    const char *server_key;
    const char *region;
    struct metrics *metrics; /* this worker's block */
    const struct limits *limits;
    struct throttle *throttle; /* of all workers */
    size_t index;              /* this worker's among them */
    unsigned keep_alive_min_s; /* shorter wishes are raised to it; 0: 30, as the service */
};

/*
 * Returns on SIGTERM (open connections are closed, queued records sent) or when it cannot start.
 * Ends by SIGTERM when its parent dies. Ignores SIGINT and SIGPIPE.
 */
enum bm_err worker_run(const struct worker_options *options, struct bm_msg *msg);

/* Can a worker serve with this certificate (PEM, leaf first) and key? BM_ERR_INPUT: why not. */
enum bm_err worker_check_certificate(const char *cert, const char *key, struct bm_msg *msg);

#endif
