/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions, their queues, and the one place (look_at_all) that decides which of them gets an event
 * or a process next.
 *
 * A function that has more waiting than it has processes starting gets another process, as long as
 * its reserved concurrency and the limit of all allow. At that limit the share of each function
 * that has work is limit / functions: who has less than its share and no idle process takes the
 * place of an idle process, and of one above its share as soon as that has answered.
 *
 * Nothing here calls a caller's function from within the caller's own call: everything that may do
 * so runs from the kick timer, a request of a runtime or the end of a process.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOON_MS = 200 };

/* ---- functions and their queues ---- */

struct function *
pool_find(struct lambda *l, const char *name)
{
    struct function *f = l->functions;

    while (f != NULL && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

void
function_read_limit(struct function *f)
{
    struct registry_function stored = { 0 };
    struct config c = { .reserved = -1 };

    if (registry_function_get(f->lambda->options.registry, f->name, &stored, NULL) == BM_OK &&
        config_parse(buf_span(&stored.config), &c, NULL) != BM_OK)
        c.reserved = -1;
    f->reserved = c.reserved;
    config_fini(&c);
    registry_function_fini(&stored);
}

struct function *
pool_function(struct lambda *l, const char *name)
{
    struct function *f = pool_find(l, name);

    if (f != NULL)
        return f;
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->lambda = l;
    f->last = &f->first;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    function_read_limit(f);
    f->next = l->functions;
    l->functions = f;
    pool_kick(l); /* goes again when nothing comes of it */
    return f;
}

struct invocation *
function_take(struct function *f)
{
    struct invocation *inv = f->first;

    if (inv == NULL)
        return NULL;
    f->first = inv->next;
    if (f->first == NULL)
        f->last = &f->first;
    inv->next = NULL;
    f->queued--;
    return inv;
}

void
function_enqueue(struct function *f, struct invocation *inv)
{
    inv->lambda = f->lambda;
    (void)snprintf(inv->function, sizeof inv->function, "%s", f->name);
    *f->last = inv;
    f->last = &inv->next;
    f->queued++;
    f->lambda->concurrent++;
    pool_kick(f->lambda);
}

/* ---- the code's folder ---- */

struct unpack {
    struct code_store store;
    uint8_t sha256[32];
};

static enum bm_err
unpack_work(void *arg, struct buf *out, struct bm_msg *msg)
{
    const struct unpack *u = arg;

    (void)out;
    return code_unpack(&u->store, u->sha256, msg);
}

static void
cannot_start(struct function *f, const struct bm_msg *msg)
{
    struct invocation *inv = function_take(f);

    log_warn("function cannot start function=%s cause=\"%s\"", f->name, msg->text);
    if (inv != NULL)
        invocation_failed(inv, span_of(NULL, 0), "Runtime.InvalidEntrypoint", "%s", msg->text);
    pool_kick(f->lambda);
}

static void
on_unpacked(void *arg, enum bm_err err, const struct bm_msg *msg, struct span out)
{
    struct function *f = arg;

    (void)out;
    f->unpack = NULL;
    if (err != BM_OK)
        cannot_start(f, msg);
    pool_kick(f->lambda);
}

/* false: it is being made, or cannot be. A function that is gone is worker_start's to refuse. */
static bool
code_is_there(struct function *f)
{
    struct registry_function stored = { 0 };
    struct unpack u = { .store = f->lambda->store };
    char path[PATH_MAX];
    struct bm_msg msg = { "" };
    bool there =
        registry_function_get(f->lambda->options.registry, f->name, &stored, NULL) != BM_OK ||
        code_folder(&u.store, stored.code_sha256, path);

    memcpy(u.sha256, stored.code_sha256, sizeof u.sha256);
    registry_function_fini(&stored);
    if (!there && f->unpack == NULL &&
        job_start(f->lambda->options.loop, unpack_work, &u, on_unpacked, f, &f->unpack, &msg) !=
            BM_OK)
        cannot_start(f, &msg);
    return there;
}

/* ---- places ---- */

static struct worker *
idle_worker(const struct function *f)
{
    struct worker *w = f->workers;

    while (w != NULL && (!worker_is_idle(w) || w->retire))
        w = w->next;
    return w;
}

/* Those that have answered a moment ago ask again at once; the next tick looks when one does not.
 */
static size_t
on_their_way(const struct function *f)
{
    int64_t now_ms = clock_mono_ms();
    size_t count = f->starting;

    for (const struct worker *w = f->workers; w != NULL; w = w->next)
        count += w->phase == PHASE_ANSWERED && !w->retire && now_ms - w->ready_ms < SOON_MS;
    return count;
}

/* Work that no process of it, ready or on its way, is going to take; and it may have one more. */
static bool
needs_process(const struct function *f)
{
    return f->queued > on_their_way(f) && f->unpack == NULL && idle_worker(f) == NULL &&
           (f->reserved < 0 || f->worker_count < (size_t)f->reserved);
}

static bool
has_work(const struct function *f)
{
    if (f->first != NULL)
        return true;
    for (const struct worker *w = f->workers; w != NULL; w = w->next) {
        if (w->phase == PHASE_BUSY)
            return true;
    }
    return false;
}

/* Of the limit, for each function that has work; at least one. */
static size_t
share_of(const struct lambda *l)
{
    size_t count = 0;

    for (const struct function *f = l->functions; f != NULL; f = f->next)
        count += has_work(f);
    return count == 0 || count > l->options.processes ? 1 : l->options.processes / count;
}

static bool
someone_starves(const struct lambda *l, size_t share)
{
    if (l->worker_count < l->options.processes)
        return false;
    for (const struct function *f = l->functions; f != NULL; f = f->next) {
        if (f->worker_count < share && needs_process(f))
            return true;
    }
    return false;
}

/* The process that has been idle for longest goes. */
static bool
make_place(struct lambda *l)
{
    struct worker *oldest = NULL;

    if (l->worker_count < l->options.processes)
        return true;
    for (struct function *f = l->functions; f != NULL; f = f->next) {
        for (struct worker *w = f->workers; w != NULL; w = w->next) {
            if (worker_is_idle(w) && (oldest == NULL || w->ready_ms < oldest->ready_ms))
                oldest = w;
        }
    }
    if (oldest == NULL)
        return false;
    worker_end(oldest, SIGTERM);
    return true;
}

static bool
start_one(struct function *f, size_t share)
{
    struct lambda *l = f->lambda;
    struct bm_msg msg = { 0 };

    if (!needs_process(f) || !code_is_there(f))
        return false;
    if (l->worker_count >= l->options.processes && (f->worker_count >= share || !make_place(l)))
        return false;
    if (worker_start(f, &msg) != BM_OK)
        cannot_start(f, &msg);
    return true;
}

/* Events to idle processes; those that are not to go on, or that another needs, end instead. */
static void
hand_out(struct function *f, size_t share)
{
    for (struct worker *w = f->workers, *next; w != NULL; w = next) {
        next = w->next;
        if (w->retire && w->phase != PHASE_BUSY)
            worker_end(w, SIGTERM);
    }
    while (f->first != NULL) {
        struct worker *w = idle_worker(f);

        if (w == NULL)
            return;
        if (f->worker_count > share && someone_starves(f->lambda, share))
            worker_end(w, SIGTERM);
        else
            worker_deliver(w, function_take(f));
    }
}

static void
look_at_all(struct lambda *l)
{
    size_t share = share_of(l);
    bool started = true;

    for (struct function *f = l->functions; f != NULL; f = f->next)
        hand_out(f, share);
    while (started) { /* one each, in turns */
        started = false;
        for (struct function *f = l->functions; f != NULL; f = f->next)
            started = start_one(f, share) || started;
    }
}

static void
drop_functions(struct lambda *l, bool all)
{
    struct function **at = &l->functions;

    while (*at != NULL) {
        struct function *f = *at;
        struct invocation *inv;

        if (!all && (f->workers != NULL || f->first != NULL || f->unpack != NULL)) {
            at = &f->next;
            continue;
        }
        while ((inv = function_take(f)) != NULL)
            invocation_free(inv);
        job_cancel(f->unpack);
        *at = f->next;
        free(f);
    }
}

static void
on_kick(void *arg)
{
    struct lambda *l = arg;

    l->kick = NULL;
    if (l->endpoint != NULL)
        look_at_all(l);
    drop_functions(l, false);
}

void
pool_kick(struct lambda *l)
{
    if (l->kick == NULL)
        l->kick = loop_after(l->options.loop, 0, on_kick, l);
}

void
pool_end(struct lambda *l)
{
    loop_cancel(l->options.loop, l->kick);
    l->kick = NULL;
    drop_functions(l, true);
}
