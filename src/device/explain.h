/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one attempt to connect saw at each layer, from the chip to CONNACK, and what it comes to.
 */
#ifndef BM_DEVICE_EXPLAIN_H
#define BM_DEVICE_EXPLAIN_H

#include "device/connection.h"
#include "device/finding.h"

struct explain_facts {
    const struct connection_options *connection; /* host, port, mqtt5 */
    const struct tls_options *tls;
    const struct identity *id; /* NULL: it could not be read, `detail` says why */
    size_t pick;
    const struct clock_verdict *clock;
    int64_t system_ms; /* what the system's clock says */
    const struct tls_seen *seen;
    const struct attempt *attempt;
    const char *client_id;
    const char *detail; /* of a failure */
};

/* Layers that were not reached are left out. The last one is "result". Pure. */
void explain_attempt(const struct explain_facts *f, finding_fn fn, void *arg);

#endif
