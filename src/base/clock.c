/* SPDX-License-Identifier: Apache-2.0 */
/* See clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t
now_us(clockid_t which)
{
    struct timespec t;

    (void)clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

int64_t
clock_mono_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t
clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

void
clock_text(char out[CLOCK_TEXT_LEN], int64_t wall_ms)
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[24];

    (void)gmtime_r(&s, &tm);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, CLOCK_TEXT_LEN, "%s.%03dZ", date, (int)(wall_ms % 1000));
}
