/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. */
#include "endpoint/metrics.h"

#include <sys/mman.h>

/* Upper bounds in microseconds, inclusive; connects in a storm may take seconds. */
static const unsigned bounds_us[METRIC_BUCKETS - 1] = { 100, 250, 500, 1000, 2000, 5000, 10000,
    25000, 50000, 100000, 250000, 1000000, 2500000, 10000000 };

static const struct {
    const char *name;
    const char *type;
    const char *help;
} names[METRIC_COUNT] = {
    [METRIC_CONNECTIONS] = { "birthmark_connections", "gauge", "Connections that are open." },
    [METRIC_ACCEPTED] = { "birthmark_accepted_total", "counter", "TCP connections taken." },
    [METRIC_HANDSHAKES] = { "birthmark_handshakes_total", "counter", "TLS handshakes completed." },
    [METRIC_PUBLISHED] = { "birthmark_messages_published_total", "counter",
        "Messages of clients that were let through." },
    [METRIC_DELIVERED] = { "birthmark_messages_delivered_total", "counter",
        "Messages delivered to clients." },
    [METRIC_BYTES_IN] = { "birthmark_received_bytes_total", "counter",
        "MQTT bytes of clients, without TLS." },
    [METRIC_BYTES_OUT] = { "birthmark_sent_bytes_total", "counter",
        "MQTT bytes to clients, without TLS." },
    [METRIC_INGRESS_LOST] = { "birthmark_rule_messages_lost_total", "counter",
        "QoS 0 messages that rules did not see because control could not take them." },
    [METRIC_EVENTS_LOST] = { "birthmark_lifecycle_events_lost_total", "counter",
        "Lifecycle events given up because control could not take them." },
    [METRIC_RECORDS_LOST] = { "birthmark_records_lost_total", "counter",
        "Timeline records given up because control could not take them." },
};

static const struct {
    const char *name;
    const char *help;
} histograms[LATENCY_COUNT] = {
    [LATENCY_CONNECT] = { "birthmark_connect_seconds", "From the TCP connection to CONNACK." },
    [LATENCY_ADMISSION] = { "birthmark_admission_seconds",
        "Until control said whether an unknown certificate may come in." },
    [LATENCY_PUBLISH] = { "birthmark_publish_seconds",
        "From a PUBLISH with QoS 1 to its PUBACK; one of a connection at a time is timed." },
};

struct metrics *
metrics_map(size_t count)
{
    void *at = mmap(NULL, count * sizeof(struct metrics), PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return at != MAP_FAILED ? at : NULL;
}

void
metrics_latency(struct metrics *m, enum latency which, int64_t us)
{
    size_t i = 0;

    while (i < METRIC_BUCKETS - 1 && us > (int64_t)bounds_us[i]) {
        i++;
    }
    metrics_add(&m->latencies[which].buckets[i], 1);
    metrics_add(&m->latencies[which].sum_us, us > 0 ? (uint64_t)us : 0);
}

/* The sum of the number at `offset` of each block. */
static unsigned long long
total(const struct metrics *m, size_t count, const _Atomic uint64_t *of_first)
{
    size_t offset = (uintptr_t)of_first - (uintptr_t)m;
    unsigned long long sum = 0;

    for (size_t i = 0; i < count; i++) {
        const void *at = (const uint8_t *)&m[i] + offset;

        sum += atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
    }
    return sum;
}

uint64_t
metrics_sum(const struct metrics *m, size_t count, enum metric which)
{
    return total(m, count, &m->counts[which]);
}

uint64_t
metrics_cause_sum(const struct metrics *m, size_t count, enum cause cause)
{
    return total(m, count, &m->causes[cause]);
}

static void
histogram_text(const struct metrics *m, size_t count, enum latency which, struct buf *out)
{
    const struct metrics_histogram *h = &m->latencies[which];
    const char *name = histograms[which].name;
    unsigned long long seen = 0;

    buf_addf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, histograms[which].help, name);
    for (size_t i = 0; i < METRIC_BUCKETS - 1; i++) {
        seen += total(m, count, &h->buckets[i]);
        buf_addf(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds_us[i] / 1e6, seen);
    }
    seen += total(m, count, &h->buckets[METRIC_BUCKETS - 1]);
    buf_addf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_count %llu\n", name, seen, name, seen);
    seen = total(m, count, &h->sum_us);
    buf_addf(out, "%s_sum %llu.%06llu\n", name, seen / 1000000, seen % 1000000);
}

void
metrics_text(const struct metrics *m, size_t count, struct buf *out)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", names[i].name, names[i].help,
            names[i].name, names[i].type, names[i].name, total(m, count, &m->counts[i]));
    }
    buf_addf(out, "# HELP birthmark_causes_total What happened to connections, by the ids of "
                  "birthmark explain.\n# TYPE birthmark_causes_total counter\n");
    for (size_t i = CAUSE_NONE + 1; i < CAUSE_COUNT; i++) {
        if (total(m, count, &m->causes[i]) > 0) {
            buf_addf(out, "birthmark_causes_total{cause=\"%s\"} %llu\n",
                cause_info((enum cause)i)->id, total(m, count, &m->causes[i]));
        }
    }
    for (size_t i = 0; i < LATENCY_COUNT; i++) {
        histogram_text(m, count, (enum latency)i, out);
    }
}
