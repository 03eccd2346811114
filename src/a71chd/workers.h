/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many chips on several cores: this process starts workers, each of which serves every N-th chip,
 * and then only waits: for a signal, which it passes on, or for the end of a worker, which ends the
 * others. A worker ends with this process, however that ends.
 */
#ifndef BM_A71CHD_WORKERS_H
#define BM_A71CHD_WORKERS_H

#include <stddef.h>

enum { WORKERS_MAX = 256 };

/* A worker's life; it writes one byte to `ready_fd` when it serves. Returns its exit code. */
typedef int (*worker_fn)(void *arg, size_t index, int ready_fd);

/*
 * Run `count` workers and call `ready` once all are. Returns 0 after SIGTERM or SIGINT, 1 when
 * a worker could not be started or ended by itself; it has said why then.
 */
int workers_run(size_t count, worker_fn fn, void *arg, void (*ready)(void));

#endif
