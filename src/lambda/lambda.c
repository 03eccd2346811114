/* SPDX-License-Identifier: Apache-2.0 */
/* See lambda.h; inside.h says which file does what. This one: invocations by request, and the
 * room's life. */
#include "lambda/lambda.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/uuid.h"
#include "lambda/inside.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    INIT_MS = 10 * 1000,
    IDLE_MS = 10 * 60 * 1000,
    RETRY_1_MS = 60 * 1000,
    RETRY_2_MS = 120 * 1000,
    PROCESSES_LOW = 8,
    PROCESSES_HIGH = 64,
};

/* ---- the room's header ---- */

/*
 * As the service: an invocation that would have to wait for a reserved place is refused. Without
 * reservation it waits for a process of this machine, which is not the service's limit.
 */
static enum bm_err
check_concurrency(const struct lambda *l, const struct function *f, struct bm_msg *msg)
{
    size_t running = f->queued;

    for (const struct worker *w = f->workers; w != NULL; w = w->next)
        running += w->now != NULL;
    if (f->reserved >= 0 && running >= (size_t)f->reserved)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "Rate Exceeded: function %s runs as often as its reserved concurrency (%d) allows",
            f->name, f->reserved);
    if (l->concurrent >= LAMBDA_CONCURRENT_MAX)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "Rate Exceeded: %d invocations run or wait already; try again later",
            LAMBDA_CONCURRENT_MAX);
    return BM_OK;
}

enum bm_err
lambda_invoke(struct lambda *l, const char *name, struct span payload, lambda_done_fn fn, void *arg,
    struct bm_msg *msg)
{
    struct registry_function stored = { 0 };
    struct invocation *inv;
    struct function *f;
    enum bm_err err;

    if (payload.len > LAMBDA_PAYLOAD_SYNC_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "the payload has %zu bytes; at most %d are taken",
            payload.len, LAMBDA_PAYLOAD_SYNC_MAX);
    err = registry_function_get(l->options.registry, name, &stored, msg);
    registry_function_fini(&stored);
    if (err != BM_OK)
        return err;
    f = pool_function(l, name);
    if (f == NULL)
        return BM_ERR_MEM;
    err = check_concurrency(l, f, msg);
    if (err != BM_OK)
        return err;
    inv = calloc(1, sizeof *inv);
    if (inv == NULL)
        return BM_ERR_MEM;
    uuid_new_text(inv->request_id);
    inv->fn = fn;
    inv->arg = arg;
    buf_add(&inv->payload, payload.ptr, payload.len);
    if (inv->payload.failed) {
        invocation_free(inv);
        return BM_ERR_MEM;
    }
    function_enqueue(f, inv);
    return BM_OK;
}

void
lambda_limit(struct lambda *l, const char *name)
{
    struct function *f = pool_find(l, name);

    if (f == NULL)
        return;
    function_read_limit(f);
    pool_kick(l);
}

void
lambda_forget(struct lambda *l, const char *name)
{
    struct function *f = pool_find(l, name);

    for (struct worker *w = f != NULL ? f->workers : NULL; w != NULL; w = w->next)
        w->retire = true;
    lambda_limit(l, name);
}

/* ---- life ---- */

static void
on_settled(void *arg)
{
    async_settled(arg);
}

void
lambda_set_endpoint(struct lambda *l, const char *url)
{
    free(l->endpoint);
    l->endpoint = strdup(url);
    if (!l->hooked && loop_settle(l->options.loop, on_settled, l) != BM_OK)
        log_error("the loop has no room for the functions' hook; asynchronous invocations wait");
    l->hooked = true;
    async_start(l);
    pool_kick(l);
}

/* The options' strings are ours, though their type says borrowed. */
static void
free_text(const char *text)
{
    union {
        const char *from;
        char *to;
    } u = { text };

    free(u.to);
}

static unsigned
standard_processes(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long count = 4 * (cores > 0 ? cores : 1);

    return (unsigned)(count < PROCESSES_LOW    ? PROCESSES_LOW
                      : count > PROCESSES_HIGH ? PROCESSES_HIGH
                                               : count);
}

/* Strings of the options are copied, missing values filled in. */
static enum bm_err
copy_options(struct lambda *l, const struct lambda_options *o)
{
    struct lambda_options *to = &l->options;

    *to = *o;
    l->first_uncommitted = INT64_MAX;
    to->dir = strdup(o->dir);
    to->runtime_dir = strdup(o->runtime_dir);
    to->python = strdup(o->python != NULL ? o->python : "/usr/bin/python3");
    to->node = strdup(o->node != NULL ? o->node : "/usr/bin/node");
    to->region = strdup(o->region);
    to->account = strdup(o->account);
    to->access_key = strdup(o->access_key);
    to->secret_key = strdup(o->secret_key);
    to->init_ms = o->init_ms > 0 ? o->init_ms : INIT_MS;
    to->idle_ms = o->idle_ms > 0 ? o->idle_ms : IDLE_MS;
    to->processes = o->processes > 0 ? o->processes : standard_processes();
    to->retry_ms[0] = o->retry_ms[0] > 0 ? o->retry_ms[0] : RETRY_1_MS;
    to->retry_ms[1] = o->retry_ms[1] > 0 ? o->retry_ms[1] : RETRY_2_MS;
    return to->dir && to->runtime_dir && to->python && to->node && to->region && to->account &&
                   to->access_key && to->secret_key
               ? BM_OK
               : BM_ERR_MEM;
}

static enum bm_err
make_folders(const char *dir, struct bm_msg *msg)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/functions/log", dir) >= (int)sizeof path)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    return dir_make(path, 0700, msg);
}

/* A process changes into the package's folder, so the paths it gets must not depend on ours. */
static enum bm_err
absolute(const char **path, struct bm_msg *msg)
{
    char *full = realpath(*path, NULL);

    if (full == NULL)
        return bm_fail(msg, BM_ERR_IO, "cannot find folder %s: %s", *path, strerror(errno));
    free_text(*path);
    *path = full;
    return BM_OK;
}

static enum bm_err
open_stores(struct lambda *l, struct bm_msg *msg)
{
    const struct lambda_options *o = &l->options;
    enum bm_err err;

    if (snprintf(l->store.zips, PATH_MAX, "%s/functions", o->dir) >= PATH_MAX)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", o->dir);
    err = sandbox_open(o->sandbox, l->store.zips, o->runtime_dir, &l->sandbox, msg);
    memcpy(l->store.folders, l->sandbox.place, sizeof l->store.folders);
    return err == BM_OK ? code_clean(&l->store, o->registry, msg) : err;
}

enum bm_err
lambda_open(const struct lambda_options *options, struct lambda **out, struct bm_msg *msg)
{
    struct lambda *l = calloc(1, sizeof *l);
    enum bm_err err = BM_ERR_MEM;

    *out = NULL;
    if (l != NULL)
        err = copy_options(l, options);
    if (err == BM_OK)
        err = make_folders(l->options.dir, msg);
    if (err == BM_OK)
        err = absolute(&l->options.dir, msg);
    if (err == BM_OK)
        err = absolute(&l->options.runtime_dir, msg);
    if (err == BM_OK)
        err = open_stores(l, msg);
    if (err != BM_OK) {
        lambda_close(l);
        return err;
    }
    *out = l;
    return BM_OK;
}

static void
end_processes(struct lambda *l)
{
    int64_t end = clock_mono_ms() + END_GRACE_MS;

    for (struct function *f = l->functions; f != NULL; f = f->next) {
        while (f->workers != NULL)
            worker_end(f->workers, SIGTERM);
    }
    for (struct worker *w = l->ending; w != NULL; w = w->next) {
        int64_t left = end - clock_mono_ms();

        (void)process_wait(w->process, left > 0 ? left : 0);
    }
    while (l->ending != NULL)
        worker_free(l->ending);
}

void
lambda_close(struct lambda *l)
{
    if (l == NULL)
        return;
    uploads_end(l);
    end_processes(l);
    removals_end(l);
    pool_end(l);
    sandbox_close(&l->sandbox);
    loop_cancel(l->options.loop, l->look);
    loop_cancel(l->options.loop, l->scan);
    free(l->endpoint);
    free_text(l->options.dir);
    free_text(l->options.runtime_dir);
    free_text(l->options.python);
    free_text(l->options.node);
    free_text(l->options.region);
    free_text(l->options.account);
    free_text(l->options.access_key);
    free_text(l->options.secret_key);
    free(l);
}
