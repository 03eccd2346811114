/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What functions take of the machine is looked at from time to time: memory of all processes of
 * each, and the size of its scratch folder. Who takes too much is killed, and what it worked on
 * fails with the cause.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "lambda/tasks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
kill_excess(struct worker *w, const char *type, const char *why)
{
    struct invocation *inv = w->now;

    process_note(w->process, "%s\n", why);
    log_warn("function is killed function=%s cause=\"%s\"", w->name, why);
    if (w->phase == PHASE_STARTING)
        inv = function_take(w->function);
    w->now = NULL;
    worker_end(w, SIGKILL);
    if (inv != NULL)
        invocation_failed(inv, process_tail(w->process), type, "the process was killed: %s", why);
}

/* So that looking takes at most one part in LOOK_SHARE of the time, even at a fork bomb. */
static int64_t
pause_after(int64_t begun_ms)
{
    int64_t pause = (clock_mono_ms() - begun_ms) * LOOK_SHARE;

    return pause < LOOK_MS ? LOOK_MS : pause > LOOK_MAX_MS ? LOOK_MAX_MS : pause;
}

/* ---- memory ---- */

static uint64_t
memory_limit(const struct worker *w)
{
    return (uint64_t)w->seat.memory_mb * 1024 * 1024;
}

static enum bm_err
divide_memory(void *arg, struct buf *out, struct bm_msg *msg)
{
    uint64_t bytes = tasks_divided(arg);

    (void)msg;
    buf_add(out, &bytes, sizeof bytes);
    return BM_OK;
}

static void
on_divided(void *arg, enum bm_err err, const struct bm_msg *msg, struct span out)
{
    struct worker *w = arg;
    uint64_t bytes = 0;
    char why[128];

    (void)msg;
    w->dividing = NULL;
    w->divide_ms = clock_mono_ms() + pause_after(w->divide_ms);
    if (err == BM_OK && out.len == sizeof bytes)
        memcpy(&bytes, out.ptr, sizeof bytes);
    if (w->function == NULL || bytes <= memory_limit(w))
        return;
    (void)snprintf(
        why, sizeof why, "its processes use more than %u MB of memory together", w->seat.memory_mb);
    kill_excess(w, "Runtime.OutOfMemory", why);
    pool_kick(w->lambda);
}

/* The upper bound is cheap to know; what is shared, a process of its own finds out. */
static void
look_at_memory(struct worker *w, struct task_group *group)
{
    int64_t now = clock_mono_ms();

    if (group->bytes <= memory_limit(w) || w->dividing != NULL || now < w->divide_ms)
        return;
    w->divide_ms = now;
    (void)job_start(
        w->lambda->options.loop, divide_memory, group, on_divided, w, &w->dividing, NULL);
}

/* ---- all of them ---- */

static void
look_at_folder(struct worker *w)
{
    char why[128];

    if (seat_excess(&w->seat, why) != NULL)
        kill_excess(w, "Sandbox.DiskFull", why);
}

/* Every worker that is not ending. */
static size_t
all_workers(const struct lambda *l, struct worker **out)
{
    size_t n = 0;

    for (struct function *f = l->functions; f != NULL; f = f->next) {
        for (struct worker *w = f->workers; w != NULL; w = w->next)
            out[n++] = w;
    }
    return n;
}

static void
look_at_all(struct lambda *l, bool folders)
{
    struct worker **workers = calloc(l->worker_count, sizeof(struct worker *));
    struct task_group *groups = calloc(l->worker_count, sizeof *groups);
    size_t n = workers != NULL && groups != NULL ? all_workers(l, workers) : 0;

    for (size_t i = 0; i < n; i++)
        groups[i] = (struct task_group){ .uid = workers[i]->seat.uid,
            .session = workers[i]->seat.leader,
            .scratch = workers[i]->seat.scratch };
    tasks_measure(groups, n);
    for (size_t i = 0; i < n; i++) {
        look_at_memory(workers[i], &groups[i]);
        if (folders && workers[i]->function != NULL)
            look_at_folder(workers[i]);
    }
    free(workers);
    free(groups);
}

static bool
any_is_busy(const struct lambda *l)
{
    for (struct function *f = l->functions; f != NULL; f = f->next) {
        for (const struct worker *w = f->workers; w != NULL; w = w->next) {
            if (w->phase != PHASE_READY)
                return true;
        }
    }
    return false;
}

/* Folders, and processes while nothing is asked of them, every LOOKS_REST-th time. */
static void
on_look(void *arg)
{
    struct lambda *l = arg;
    bool rest = ++l->looks % LOOKS_REST == 0;
    int64_t begun = clock_mono_ms();

    l->look = NULL;
    if (l->worker_count > 0 && (rest || any_is_busy(l)))
        look_at_all(l, rest);
    if (l->worker_count > 0)
        l->look = loop_after(l->options.loop, pause_after(begun), on_look, l);
    pool_kick(l);
}

void
excess_watch(struct lambda *l)
{
    if (l->look == NULL)
        l->look = loop_after(l->options.loop, LOOK_MS, on_look, l);
}
