/* SPDX-License-Identifier: Apache-2.0 */
/* See throttle.h. */
#include "endpoint/throttle.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
    CLIENTS = 1 << 16,
    NEIGHBOURS = 8,
    TIME_BITS = 40, /* of milliseconds: 34 years of uptime; the rest of a slot tells keys apart */
    ROWS = 2,
    ROW_LEN = 1 << 12,
};

struct sketch {
    _Atomic uint16_t counts[THROTTLE_KINDS][ROWS][ROW_LEN];
};

struct throttle {
    uint64_t seed;
    size_t workers;
    _Atomic int64_t accounts[THROTTLE_ACCOUNTS];
    _Atomic uint64_t clients[CLIENTS]; /* 0: free */
    struct sketch sketches[];          /* one for each worker, its only writer */
};

struct throttle *
throttle_map(size_t workers)
{
    struct throttle *t = mmap(NULL, sizeof *t + workers * sizeof(struct sketch),
        PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED || getrandom(&t->seed, sizeof t->seed, 0) != (ssize_t)sizeof t->seed) {
        return NULL;
    }
    t->workers = workers;
    return t;
}

void
throttle_reset(struct throttle *t, size_t worker)
{
    struct sketch *s = &t->sketches[worker];

    for (size_t kind = 0; kind < THROTTLE_KINDS; kind++) {
        for (size_t at = 0; at < ROWS * (size_t)ROW_LEN; at++) {
            if (atomic_load_explicit(&s->counts[kind][at / ROW_LEN][at % ROW_LEN],
                    memory_order_relaxed) != 0) { /* a page that nobody used stays unmapped */
                atomic_store_explicit(
                    &s->counts[kind][at / ROW_LEN][at % ROW_LEN], 0, memory_order_relaxed);
            }
        }
    }
}

static uint64_t
mix(uint64_t h, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

uint64_t
throttle_key(const struct throttle *t, const void *a, size_t a_len, const void *b, size_t b_len)
{
    return mix(mix(0xcbf29ce484222325u ^ t->seed, a, a_len), b, b_len);
}

static uint64_t
time_of(uint64_t slot)
{
    return slot & ((1ull << TIME_BITS) - 1);
}

/* The slot of the key, else one whose time is over; NULL: all are others'. */
static _Atomic uint64_t *
slot_of(struct throttle *t, uint64_t key, uint64_t now_ms)
{
    _Atomic uint64_t *idle = NULL;

    for (size_t i = 0; i < NEIGHBOURS; i++) {
        _Atomic uint64_t *at = &t->clients[(key + i) % CLIENTS];
        uint64_t slot = atomic_load_explicit(at, memory_order_relaxed);

        if (slot >> TIME_BITS == key >> TIME_BITS && slot != 0) {
            return at;
        }
        if (idle == NULL && time_of(slot) <= now_ms) {
            idle = at;
        }
    }
    return idle;
}

bool
throttle_connect(
    struct throttle *t, uint64_t key, int64_t now_ms, uint32_t per_second, uint32_t burst)
{
    uint64_t step = 1000 / per_second;
    uint64_t now = (uint64_t)now_ms;
    _Atomic uint64_t *at = slot_of(t, key, now);
    uint64_t old;
    uint64_t due;

    if (at == NULL) {
        return true;
    }
    old = atomic_load_explicit(at, memory_order_relaxed);
    do {
        due = old >> TIME_BITS == key >> TIME_BITS && time_of(old) > now ? time_of(old) : now;
        if (due + step > now + burst * step) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(at, &old,
        key >> TIME_BITS << TIME_BITS | (due + step), memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool
throttle_account(struct throttle *t, size_t account, int64_t now_us, uint32_t per_second)
{
    int64_t old = atomic_load_explicit(&t->accounts[account], memory_order_relaxed);
    int64_t due;

    do {
        due = old;
        if (!rate_take(&due, now_us, per_second)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &t->accounts[account], &old, due, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static size_t
column(uint64_t key, size_t row)
{
    return (size_t)(key >> (row * 16)) % ROW_LEN;
}

unsigned
throttle_enter(struct throttle *t, size_t worker, enum throttle_of kind, uint64_t key)
{
    unsigned least = UINT32_MAX;

    for (size_t row = 0; row < ROWS; row++) {
        size_t at = column(key, row);
        unsigned sum = 0;

        atomic_fetch_add_explicit(
            &t->sketches[worker].counts[kind][row][at], 1, memory_order_relaxed);
        for (size_t i = 0; i < t->workers; i++) {
            sum +=
                atomic_load_explicit(&t->sketches[i].counts[kind][row][at], memory_order_relaxed);
        }
        least = sum < least ? sum : least;
    }
    return least;
}

void
throttle_leave(struct throttle *t, size_t worker, enum throttle_of kind, uint64_t key)
{
    for (size_t row = 0; row < ROWS; row++) {
        atomic_fetch_sub_explicit(
            &t->sketches[worker].counts[kind][row][column(key, row)], 1, memory_order_relaxed);
    }
}
