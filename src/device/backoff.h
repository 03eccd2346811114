/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to try again: jittered exponential backoff, one schedule for each kind of failure.
 *
 * A wait is `least` plus a random part of min(cap, base * 2^(n / every)), where n counts the
 * failures of the same kind since the last connection that held. So ten thousand devices that lose
 * one server do not come back at one moment, and a device that fails now this way and now that one
 * does not get hasty. No device connects twice within a second (SPEC aws-iot 4.3). Pure: the caller
 * has the clock and the seed.
 */
#ifndef BM_DEVICE_BACKOFF_H
#define BM_DEVICE_BACKOFF_H

#include "device/outcome.h"

enum { BACKOFF_HELD_MS = 30000 }; /* a connection that lasted this long has held */

struct backoff {
    uint64_t random; /* state of the generator; never 0 */
    unsigned failures[RETRY_COUNT];
    unsigned in_row; /* failures of any kind since the last connection */
};

struct backoff_figures {
    int64_t least_ms;
    int64_t base_ms;
    int64_t cap_ms;
    unsigned every; /* failures until the window doubles */
};

/* Devices with different seeds spread; the same seed gives the same waits. */
void backoff_init(struct backoff *b, uint64_t seed);
/* Milliseconds to wait after this outcome; least_ms <= wait <= least_ms + cap_ms. */
int64_t backoff_wait(struct backoff *b, enum outcome o);
/* CONNACK came. What failed before is over, but for connections that do not hold. */
void backoff_connected(struct backoff *b);
/* A connection ended after `up_ms`; call before backoff_wait. */
void backoff_ended(struct backoff *b, int64_t up_ms);
const struct backoff_figures *backoff_figures(enum retry r);

#endif
