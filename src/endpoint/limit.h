/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the endpoint lets a client do at most, as options of `birthmark cloud --limit`. The defaults
 * are the service's where it has such a limit: SPEC aws-iot 4.3, 6.2 to 6.5. 0 is "no limit"
 * wherever a row allows it. Those of a whole account are not there unless asked for: the service's
 * are quotas that it raises on request, and a fleet that comes back at once is what one runs here.
 *
 *   throttle.h   the counters that all workers share: CONNECTs of a client, peers of an address
 */
#ifndef BM_ENDPOINT_LIMIT_H
#define BM_ENDPOINT_LIMIT_H

#include "base/err.h"

#include <stdint.h>

enum limit {
    LIMIT_PUBLISH_RATE,         /* messages per second of a connection, each way */
    LIMIT_THROUGHPUT,           /* bytes per second of a connection, each way */
    LIMIT_IN_FLIGHT,            /* unacknowledged QoS 1 messages of a connection, each way */
    LIMIT_SUBSCRIPTIONS,        /* of a connection */
    LIMIT_BEHIND_MS,            /* see slow.c */
    LIMIT_CONNECT_RATE,         /* CONNECTs per second of one certificate with one client id */
    LIMIT_CONNECT_BURST,        /* that many of them may come at once */
    LIMIT_ADDRESS_CONNECTIONS,  /* open connections of one address */
    LIMIT_ADDRESS_HANDSHAKES,   /* TLS handshakes in flight of one address */
    LIMIT_HANDSHAKES,           /* in flight in one worker; beyond, accepting waits */
    LIMIT_HANDSHAKE_MS,         /* for TLS and CONNECT together */
    LIMIT_DESCRIPTOR_RESERVE,   /* of one worker, not used for connections */
    LIMIT_SESSION_HOURS,        /* that a persistent session outlives its connection at most */
    LIMIT_ACCOUNT_CONNECT_RATE, /* CONNECTs per second of one account; this and the next: of all */
    LIMIT_REGISTER_RATE,        /* certificates registered per second, at CONNECT or by the API */
    LIMIT_UPDATE_CERTIFICATE_RATE, /* calls per second of the operation, so for those below */
    LIMIT_REGISTER_CA_RATE,
    LIMIT_CREATE_POLICY_RATE,
    LIMIT_ATTACH_POLICY_RATE,
    LIMIT_COUNT
};

struct limits {
    uint32_t v[LIMIT_COUNT];
};

struct limit_row {
    const char *name;
    uint32_t value; /* the default */
    uint32_t min;   /* 0: 0 is allowed and means no limit */
    uint32_t max;
    uint32_t service; /* what `--limit service` makes of it; 0: it stays */
    const char *help;
};

const struct limit_row *limit_row(enum limit which);
struct limits limits_default(void);
/* `NAME=NUMBER`, or `service`: an account has the service's quotas, too. BM_ERR_ARG: no such limit,
 * or not a number in its bounds; says which there are. */
enum bm_err limits_set(struct limits *l, const char *text, struct bm_msg *msg);
/* Lift what the service limits: rates, bytes, messages in flight. For load tests. */
void limits_lift(struct limits *l);

#endif
