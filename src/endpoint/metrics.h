/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers did, as counters in memory that all processes share: a worker writes its own
 * block, control adds them up as Prometheus text (exposition format 0.0.4).
 *
 * No locks: one writer for each number, relaxed atomics. Numbers of one reading may be some
 * operations apart. A worker that replaces a dead one goes on counting in the same block.
 */
#ifndef BM_ENDPOINT_METRICS_H
#define BM_ENDPOINT_METRICS_H

#include "base/bytes.h"
#include "timeline/timeline.h"

#include <stdatomic.h>

enum metric {
    METRIC_CONNECTIONS, /* now; the others only grow */
    METRIC_ACCEPTED,    /* TCP connections */
    METRIC_HANDSHAKES,  /* TLS, completed */
    METRIC_PUBLISHED,   /* messages from clients that were let through */
    METRIC_DELIVERED,   /* messages to clients */
    METRIC_BYTES_IN,    /* MQTT inside TLS, from clients */
    METRIC_BYTES_OUT,
    METRIC_INGRESS_LOST, /* QoS 0 messages for rules */
    METRIC_EVENTS_LOST,  /* lifecycle events */
    METRIC_RECORDS_LOST, /* of the timeline */
    METRIC_COUNT
};

enum latency {
    LATENCY_CONNECT,   /* from accept to CONNACK */
    LATENCY_ADMISSION, /* control's answer to who a certificate is */
    LATENCY_PUBLISH,   /* QoS 1: from the client's PUBLISH to its PUBACK */
    LATENCY_COUNT
};

enum { METRIC_BUCKETS = 15 }; /* the last one has no bound */

struct metrics_histogram {
    _Atomic uint64_t buckets[METRIC_BUCKETS]; /* each by itself, not cumulative */
    _Atomic uint64_t sum_us;
};

struct metrics {
    _Atomic uint64_t counts[METRIC_COUNT];
    _Atomic uint64_t causes[CAUSE_COUNT]; /* how often each happened to a connection */
    struct metrics_histogram latencies[LATENCY_COUNT];
};

/* One block for each of `count` workers, zeroed, shared with children. NULL: no memory. */
struct metrics *metrics_map(size_t count);

/* For the only writer of the number; the new value. */
static inline uint64_t
metrics_add(_Atomic uint64_t *number, uint64_t n)
{
    uint64_t sum = atomic_load_explicit(number, memory_order_relaxed) + n;

    atomic_store_explicit(number, sum, memory_order_relaxed);
    return sum;
}

void metrics_latency(struct metrics *m, enum latency which, int64_t us);

/* The sum of one number over `count` blocks. */
uint64_t metrics_sum(const struct metrics *m, size_t count, enum metric which);
uint64_t metrics_cause_sum(const struct metrics *m, size_t count, enum cause cause);

/* The sum of `count` blocks as text, appended. */
void metrics_text(const struct metrics *m, size_t count, struct buf *out);

#endif
