/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted while a fleet runs, in memory that does not grow with the run: latencies in
 * buckets that widen with the value, a timeline whose steps double when it is full. Pure.
 */
#ifndef BM_FLEET_FIGURES_H
#define BM_FLEET_FIGURES_H

#include "device/outcome.h"

enum {
    SPREAD_PER_OCTAVE = 16, /* buckets until the value doubles: within 1/16 of the truth */
    SPREAD_BUCKETS = 36 * SPREAD_PER_OCTAVE, /* up to 19 hours in microseconds */
    TIMELINE_STEPS = 600,
    TIMELINE_FIRST_MS = 100,
    OUTAGES_MAX = 32,
    DETAIL_LEN = 200,
};

/* How long something took, over many times. Zero-initialise. */
struct spread {
    uint64_t count;
    int64_t max_us;
    uint32_t buckets[SPREAD_BUCKETS];
};
void spread_add(struct spread *s, int64_t us);
/* The value below which the fraction `at` (0.5) of all lie, to a sixteenth; 0: there are none. */
int64_t spread_at(const struct spread *s, double at);
/* What bucket `i` holds begins with this. */
int64_t spread_from(size_t i);

enum latency {
    LATENCY_TCP,     /* connect() until it is connected */
    LATENCY_TLS,     /* the handshake, the chip's signature included */
    LATENCY_CONNACK, /* CONNECT until its CONNACK */
    LATENCY_JOIN,    /* a device's first attempt until its first CONNACK */
    LATENCY_PUBACK,  /* PUBLISH of QoS 1 until its PUBACK */
    LATENCY_COUNT
};
const char *latency_name(enum latency l); /* "tls" */

struct timeline_step {
    unsigned connected; /* at its end */
    unsigned connects;  /* CONNACKs in it */
    unsigned failures;  /* attempts that failed, connections that were lost */
    unsigned messages;  /* acknowledged */
};

struct timeline {
    int64_t step_ms; /* 0: none yet */
    size_t count;
    struct timeline_step steps[TIMELINE_STEPS];
};
/* The step of this moment of the run; times never go back. */
struct timeline_step *timeline_at(struct timeline *t, int64_t ms);

/* From the moment when connections were lost until all were back. In milliseconds of the run. */
struct outage {
    int64_t at_ms;
    unsigned lost;      /* at its deepest */
    int64_t back_ms;    /* the first is connected again; -1: none */
    int64_t allowed_ms; /* the last wait that backoff had given out by then ends */
    int64_t settled_ms; /* all are; -1: not in this run */
};

struct outcome_count {
    unsigned attempts;
    unsigned devices;
    char detail[DETAIL_LEN]; /* what was seen the first time */
};

struct figures {
    uint64_t attempts;
    uint64_t handshakes; /* TLS complete */
    uint64_t connects;   /* CONNACK */
    uint64_t sent;       /* messages */
    uint64_t acknowledged;
    uint64_t refused; /* by a PUBACK of MQTT 5 */
    uint64_t lost;    /* without PUBACK when the connection ended; sent again */
    uint64_t received;
    uint64_t filters_refused;
    struct outcome_count outcomes[OUTCOME_COUNT];
    struct spread spreads[LATENCY_COUNT];
    struct timeline timeline;
    struct outage outages[OUTAGES_MAX];
    size_t outage_count; /* in all; only the first OUTAGES_MAX are kept */
};

#endif
