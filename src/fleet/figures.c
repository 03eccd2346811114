/* SPDX-License-Identifier: Apache-2.0 */
/* See figures.h. */
#include "fleet/figures.h"

#include <stddef.h>

const char *
latency_name(enum latency l)
{
    static const char *const names[LATENCY_COUNT] = { "tcp", "tls", "connack", "join", "puback" };

    return names[(unsigned)l < LATENCY_COUNT ? l : LATENCY_TCP];
}

/* Values below SPREAD_PER_OCTAVE have a bucket each; above, an octave has SPREAD_PER_OCTAVE. */
static size_t
bucket_of(int64_t us)
{
    uint64_t v = us > 0 ? (uint64_t)us : 0;
    unsigned octave = 0;
    size_t i;

    while (v >= 2 * SPREAD_PER_OCTAVE) {
        v >>= 1;
        octave++;
    }
    i = octave * SPREAD_PER_OCTAVE + (size_t)v;
    return i < SPREAD_BUCKETS ? i : SPREAD_BUCKETS - 1;
}

int64_t
spread_from(size_t i)
{
    size_t octave = i / SPREAD_PER_OCTAVE;

    if (octave < 2)
        return (int64_t)i;
    return (int64_t)(i % SPREAD_PER_OCTAVE + SPREAD_PER_OCTAVE) << (octave - 1);
}

void
spread_add(struct spread *s, int64_t us)
{
    s->count++;
    s->buckets[bucket_of(us)]++;
    if (us > s->max_us)
        s->max_us = us;
}

int64_t
spread_at(const struct spread *s, double at)
{
    uint64_t rank = (uint64_t)((double)s->count * at);
    uint64_t seen = 0;

    for (size_t i = 0; i < SPREAD_BUCKETS; i++) {
        seen += s->buckets[i];
        if (seen > rank) {
            int64_t end = spread_from(i + 1) - 1;

            return end < s->max_us ? end : s->max_us;
        }
    }
    return s->max_us;
}

/* Two steps become one. */
static void
halve(struct timeline *t)
{
    for (size_t i = 0; i < t->count; i += 2) {
        struct timeline_step *a = &t->steps[i];
        const struct timeline_step *b = i + 1 < t->count ? &t->steps[i + 1] : NULL;
        struct timeline_step sum = *a;

        if (b != NULL) {
            sum.connected = b->connected;
            sum.connects += b->connects;
            sum.failures += b->failures;
            sum.messages += b->messages;
        }
        t->steps[i / 2] = sum;
    }
    t->count = (t->count + 1) / 2;
    t->step_ms *= 2;
}

struct timeline_step *
timeline_at(struct timeline *t, int64_t ms)
{
    size_t i;

    if (t->step_ms == 0)
        t->step_ms = TIMELINE_FIRST_MS;
    while (ms / t->step_ms >= TIMELINE_STEPS)
        halve(t);
    i = (size_t)(ms > 0 ? ms / t->step_ms : 0);
    while (t->count <= i) { /* nothing happened meanwhile */
        t->steps[t->count] =
            (struct timeline_step){ .connected =
                                        t->count > 0 ? t->steps[t->count - 1].connected : 0 };
        t->count++;
    }
    return &t->steps[i];
}
