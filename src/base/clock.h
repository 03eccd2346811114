/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: wall clock for records, monotonic clock for deadlines. In milliseconds, but for
 * clock_mono_us.
 */
#ifndef BM_BASE_CLOCK_H
#define BM_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* since the epoch, UTC */
int64_t clock_mono_ms(void); /* for differences only */
int64_t clock_mono_us(void); /* the same in microseconds */

/* "2018-03-29T06:55:30.253Z"; `out` holds CLOCK_TEXT_LEN bytes. */
enum { CLOCK_TEXT_LEN = 32 };
void clock_text(char out[CLOCK_TEXT_LEN], int64_t wall_ms);

#endif
