/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often and how many: rates of one connection, and what has to be counted over all workers, in
 * memory that they share.
 *
 * A rate is one number, the time at which everything so far would have come evenly ("theoretical
 * arrival time" of the generic cell rate algorithm); one second's worth may come at once.
 *
 * The shared part has no locks. CONNECTs are kept by a hash in a table of such numbers: who finds
 * its neighbourhood full of others passes. Addresses are counted by every worker in a sketch of its
 * own (two rows of counters, found by hash), and what all workers have is added up: two addresses
 * are taken for one only when they meet in both rows.
 */
#ifndef BM_ENDPOINT_THROTTLE_H
#define BM_ENDPOINT_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long until `n` more, at `per_second`, are within the rate: microseconds, 0: now. */
static inline int64_t
rate_wait(int64_t at_us, int64_t now_us, uint32_t n, uint32_t per_second)
{
    int64_t from = at_us > now_us ? at_us : now_us;
    int64_t wait = from + (int64_t)n * 1000000 / per_second - now_us - 1000000;

    return wait > 0 ? wait : 0;
}

static inline void
rate_add(int64_t *at_us, int64_t now_us, uint32_t n, uint32_t per_second)
{
    *at_us = (*at_us > now_us ? *at_us : now_us) + (int64_t)n * 1000000 / per_second;
}

/* Both at once: may it be now? If so it counts. */
static inline bool
rate_take(int64_t *at_us, int64_t now_us, uint32_t per_second)
{
    if (rate_wait(*at_us, now_us, 1, per_second) > 0)
        return false;
    rate_add(at_us, now_us, 1, per_second);
    return true;
}

struct throttle;

enum throttle_of { THROTTLE_CONNECTIONS, THROTTLE_HANDSHAKES };
enum { THROTTLE_KINDS = THROTTLE_HANDSHAKES + 1 };

/* Zeroed, shared with children. NULL: no memory. */
struct throttle *throttle_map(size_t workers);
/* Nothing is counted by this worker (any more): one that died took its connections along. */
void throttle_reset(struct throttle *t, size_t worker);
/* A hash that is the same in all workers and unknown outside. */
uint64_t throttle_key(
    const struct throttle *t, const void *a, size_t a_len, const void *b, size_t b_len);
/* May the client of this key connect now? If so it counts. Milliseconds of the monotonic clock. */
bool throttle_connect(
    struct throttle *t, uint64_t key, int64_t now_ms, uint32_t per_second, uint32_t burst);
/* May one more come in this account, of so many a second? If so it counts. */
enum { THROTTLE_ACCOUNTS = 16 };
bool throttle_account(struct throttle *t, size_t account, int64_t now_us, uint32_t per_second);
/* How many there are with the key, this one included. */
unsigned throttle_enter(struct throttle *t, size_t worker, enum throttle_of kind, uint64_t key);
void throttle_leave(struct throttle *t, size_t worker, enum throttle_of kind, uint64_t key);

#endif
