/* SPDX-License-Identifier: Apache-2.0 */
/* See backoff.h. */
#include "device/backoff.h"

static const struct backoff_figures figures[RETRY_COUNT] = {
    /* the first wait alone spreads a storm over its base */
    [RETRY_LOST] = { 1000, 4000, 60000, 1 },
    /* most newcomers are ACTIVE within seconds: slower at first */
    [RETRY_JITR] = { 1000, 1000, 300000, 2 },
    [RETRY_NETWORK] = { 1000, 2000, 60000, 1 },
    [RETRY_CHIP] = { 1000, 1000, 60000, 1 },
    [RETRY_CLOCK] = { 5000, 10000, 300000, 1 },
    [RETRY_FOREIGN] = { 5000, 10000, 600000, 1 },
    [RETRY_REFUSED] = { 60000, 240000, 3600000, 1 },
};

const struct backoff_figures *
backoff_figures(enum retry r)
{
    return &figures[(unsigned)r < RETRY_COUNT ? r : RETRY_REFUSED];
}

/* xorshift64*: enough to spread devices, and the same on every machine. */
static uint64_t
next_random(struct backoff *b)
{
    uint64_t x = b->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    b->random = x;
    return (x * 0x2545f4914f6cdd1dULL) >> 16;
}

void
backoff_init(struct backoff *b, uint64_t seed)
{
    *b = (struct backoff){ .random = seed ^ 0x9e3779b97f4a7c15ULL };
    if (b->random == 0)
        b->random = 1;
    for (int i = 0; i < 8; i++) /* neighbours among seeds give strangers */
        (void)next_random(b);
}

int64_t
backoff_wait(struct backoff *b, enum outcome o)
{
    enum retry r = outcome_info(o)->retry;
    const struct backoff_figures *f = &figures[r];
    int64_t window = f->base_ms;

    for (unsigned i = 0; i < b->failures[r] / f->every && window < f->cap_ms; i++)
        window *= 2;
    if (window > f->cap_ms)
        window = f->cap_ms;
    if (b->failures[r] < 1000)
        b->failures[r]++;
    b->in_row++;
    return f->least_ms + (int64_t)(next_random(b) % (uint64_t)(window + 1));
}

void
backoff_connected(struct backoff *b)
{
    for (unsigned r = 0; r < RETRY_COUNT; r++) {
        if (r != RETRY_LOST && r != RETRY_FOREIGN)
            b->failures[r] = 0;
    }
    b->in_row = 0;
}

void
backoff_ended(struct backoff *b, int64_t up_ms)
{
    if (up_ms < BACKOFF_HELD_MS)
        return;
    b->failures[RETRY_LOST] = 0;
    b->failures[RETRY_FOREIGN] = 0;
}
