/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop on epoll: descriptors, timers and work to do before sleeping.
 *
 * A process has one loop and one thread. Callbacks run to completion and may add or remove
 * anything, themselves included: a removed watch or timer is not called again and its memory goes
 * only after the current round. A round is: ready descriptors, due timers, then the `settle` hooks
 * in the order in which they were added; the registry commits its group there, and replies that
 * wait for the commit leave after it.
 */
#ifndef BM_BASE_LOOP_H
#define BM_BASE_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch; /* one descriptor */
struct loop_timer;

typedef void (*loop_fd_fn)(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, ... */
typedef void (*loop_fn)(void *arg);

enum bm_err loop_new(struct loop **out);
void loop_free(struct loop *l); /* takes NULL; frees what is still watched, closes no descriptor */

/* Watch `fd` for `events`; the watch belongs to the loop. NULL when out of memory. */
struct loop_watch *loop_add(struct loop *l, int fd, uint32_t events, loop_fd_fn fn, void *arg);
void loop_modify(struct loop *l, struct loop_watch *w, uint32_t events);
void loop_remove(struct loop *l, struct loop_watch *w); /* before close(fd); takes NULL */

/* Call once after `delay_ms`; the timer is gone when it has fired or is cancelled. */
struct loop_timer *loop_after(struct loop *l, int64_t delay_ms, loop_fn fn, void *arg);
void loop_cancel(struct loop *l, struct loop_timer *t); /* takes NULL */

/* Call `fn` at the end of every round, before sleeping. */
enum bm_err loop_settle(struct loop *l, loop_fn fn, void *arg);

/* Call `fn` from the loop when the signal arrives (signalfd; the signal is blocked). */
enum bm_err loop_signal(struct loop *l, int signo, loop_fn fn, void *arg);

/* Run until loop_stop. BM_ERR_IO when epoll itself fails. */
enum bm_err loop_run(struct loop *l);
void loop_stop(struct loop *l);

#endif
