/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into mosquitto by sessions.sh: time() is later by the seconds in the file that
 * SHIFT_TIME names, so that an hour need not be waited for. Sessions expire by time(); all else
 * there goes by the monotonic clock. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

time_t
time(time_t *out)
{
    struct timespec now;
    long shift = 0;
    FILE *f = fopen(getenv("SHIFT_TIME"), "r");

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (f != NULL) {
        if (fscanf(f, "%ld", &shift) != 1) {
            shift = 0;
        }
        (void)fclose(f);
    }
    now.tv_sec += shift;
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
