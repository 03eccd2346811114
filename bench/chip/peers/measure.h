/* SPDX-License-Identifier: Apache-2.0 */
/* Repeat an operation for some seconds and print its rate, as bench_chip does. */
#ifndef BM_BENCH_MEASURE_H
#define BM_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

static inline double
seconds_on(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0) {
        perror("clock_gettime");
        exit(1);
    }
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* CPU time of this process and of `server`, 0 when there is none. */
static inline double
cpu_seconds(pid_t server)
{
    clockid_t clock;
    double sum = seconds_on(CLOCK_PROCESS_CPUTIME_ID);

    if (server != 0 && clock_getcpuclockid(server, &clock) == 0)
        sum += seconds_on(clock);
    return sum;
}

static inline void
measure(const char *op, bool (*once)(void *arg), void *arg, double seconds, pid_t server)
{
    unsigned long done = 0;
    double start;
    double cpu;
    double wall;

    for (int i = 0; i < 10; i++)
        (void)once(arg);
    start = seconds_on(CLOCK_MONOTONIC);
    cpu = cpu_seconds(server);
    do {
        if (!once(arg)) {
            (void)fprintf(stderr, "%s failed\n", op);
            exit(1);
        }
        done++;
        wall = seconds_on(CLOCK_MONOTONIC) - start;
    } while (wall < seconds);
    cpu = cpu_seconds(server) - cpu;
    printf("op=%s processes=1 per_second=%.0f per_cpu_second=%.0f\n", op, (double)done / wall,
        (double)done / cpu);
}

#endif
