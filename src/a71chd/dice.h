/* SPDX-License-Identifier: Apache-2.0 */
/* Chance that can be repeated: splitmix64 from a seed. Not for secrets. */
#ifndef BM_A71CHD_DICE_H
#define BM_A71CHD_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state; /* the seed at first */
};

static inline uint64_t
dice_roll(struct dice *d)
{
    uint64_t z = d->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* 0 to count - 1; count > 0. Its bias does not matter here. */
static inline uint64_t
dice_below(struct dice *d, uint64_t count)
{
    return dice_roll(d) % count;
}

#endif
