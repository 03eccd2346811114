/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes for programs: the chip's XOR the operating system's, so that neither a poor chip nor
 * a young kernel alone makes them guessable. Both the provider's seed and the engine's RAND draw
 * here. SPEC openssl 4.
 *
 * Without the chip the system's bytes alone are given, unless `strict`: then there are none, and a
 * program that asks for randomness fails. After a failure the chip is not tried again for
 * RANDOM_PAUSE_MS: some programs draw hundreds of times and each try may cost a time-out.
 */
#ifndef BM_OPENSSL_RANDOM_H
#define BM_OPENSSL_RANDOM_H

#include "openssl/core/shared_chip.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RANDOM_PAUSE_MS = 10000 };

struct mixed_random {
    struct shared_chip *chip; /* borrowed */
    _Atomic bool strict;
    _Atomic int64_t retry_at; /* monotonic ms; before it the chip is not asked. 0: ask */
};

/*
 * Fill `out`. BM_OK also when the chip gave nothing and not `strict`. Else as shared_chip_do(), and
 * BM_ERR_IO when the operating system gives no randomness. After a failure `out` is zero. Any
 * thread, any process.
 */
enum bm_err mixed_random_fill(struct mixed_random *r, uint8_t *out, size_t len, struct bm_msg *msg);

#endif
