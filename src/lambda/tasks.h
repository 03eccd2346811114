/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of functions, found in /proc: which belong to a function's process, what memory they
 * use together, and their end.
 *
 * A process belongs to a seat when its user is the seat's own; of a cloud without users of their
 * own, when it is in the session of the function's process, or still has the seat's folder in the
 * environment that it was started with (one that made a session of its own).
 */
#ifndef BM_LAMBDA_TASKS_H
#define BM_LAMBDA_TASKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct task_group {
    uid_t uid;           /* 0: it has none of its own */
    pid_t session;       /* when uid is 0 */
    const char *scratch; /* when uid is 0; borrowed */
    uint64_t bytes;      /* result of tasks_measure */
};

/* Processes and threads that this user has now: RLIMIT_NPROC counts them all. */
unsigned tasks_of_user(uid_t uid);

/*
 * One look at all processes: how much anonymous and shared memory those of each group have,
 * resident or swapped out. Pages that a process shares with its parent are counted for both, so
 * this is an upper bound.
 */
void tasks_measure(struct task_group *groups, size_t count);
/*
 * The same of one group with such pages divided among those who share them. To read that waits for
 * a process that holds its own memory map; among those of a fork bomb it may take minutes.
 */
uint64_t tasks_divided(const struct task_group *group);

/* SIGKILL to all, until each has got it (a few looks). For groups without a user of their own. */
void tasks_kill(const struct task_group *group);

#endif
