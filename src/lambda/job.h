/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that would hold the event loop for long (unpacking a package, removing a large folder), done
 * in a child process of its own: it sees this process's memory as it was at the start, and what it
 * makes in memory is gone with it, but for the bytes that it hands back.
 */
#ifndef BM_LAMBDA_JOB_H
#define BM_LAMBDA_JOB_H

#include "base/bytes.h"
#include "base/loop.h"

struct job;

/* In the child. What it appends to `out` comes back. Only 0 to 2 and the way back are open. */
typedef enum bm_err (*job_work_fn)(void *arg, struct buf *out, struct bm_msg *msg);
/* From the loop, once; the job is gone afterwards. A child that died: BM_ERR_INTERNAL. */
typedef void (*job_done_fn)(void *arg, enum bm_err err, const struct bm_msg *msg, struct span out);

/* BM_ERR_IO: no process could be started; `done` is not called. */
enum bm_err job_start(struct loop *loop, job_work_fn work, void *work_arg, job_done_fn done,
    void *done_arg, struct job **out, struct bm_msg *msg);
/* Kill it; `done` is not called. Takes NULL. */
void job_cancel(struct job *j);

#endif
