/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lambda.h; inside.h says which file does what. This one: functions, their queues, and the one
 * place (`look_at`) that decides what a function needs next. Nothing here calls a caller's function
 * from within the caller's own call: everything that may do so runs from the kick timer, a request
 * of a runtime or the end of a process.
 */
#include "lambda/lambda.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/uuid.h"
#include "lambda/code.h"
#include "lambda/inside.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INIT_MS = 10 * 1000,
    IDLE_MS = 10 * 60 * 1000,
    RETRY_1_MS = 60 * 1000,
    RETRY_2_MS = 120 * 1000
};

/* ---- invocations ---- */

void
invocation_free(struct invocation *inv)
{
    if (inv == NULL)
        return;
    buf_fini(&inv->payload);
    free(inv);
}

void
function_answered(struct lambda *l, struct invocation *inv, const struct lambda_result *result)
{
    if (inv->fn != NULL)
        inv->fn(inv->arg, result);
    else
        async_answered(l, inv, result);
    invocation_free(inv);
}

void
function_failed(struct lambda *l, struct invocation *inv, struct span log_tail, const char *type,
    const char *fmt, ...)
{
    struct lambda_result result = { .error = "Unhandled", .log_tail = log_tail };
    char text[BM_MSG_LEN];
    char *dump = NULL;
    json_t *body;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    body = json_pack("{s:s, s:o}", "errorType", type, "errorMessage",
        json_sprintf("RequestId: %s Error: %s", inv->request_id, text));
    if (body != NULL)
        dump = json_dumps(body, JSON_COMPACT);
    result.payload = span_str(dump != NULL ? dump : "{\"errorType\":\"Runtime.Unknown\"}");
    function_answered(l, inv, &result);
    free(dump);
    json_decref(body);
}

/* ---- functions and their queues ---- */

static struct function *
function_of(struct lambda *l, const char *name)
{
    struct function *f = l->functions;

    while (f != NULL && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

static struct function *
function_make(struct lambda *l, const char *name)
{
    struct function *f = function_of(l, name);

    if (f != NULL)
        return f;
    f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->lambda = l;
    f->last = &f->first;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->next = l->functions;
    l->functions = f;
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

enum bm_err
function_enqueue(struct lambda *l, const char *name, struct invocation *inv, struct bm_msg *msg)
{
    struct function *f = function_make(l, name);

    if (f == NULL)
        return BM_ERR_MEM;
    if (f->queued >= FUNCTION_QUEUE_MAX)
        return bm_fail(msg, BM_ERR_LIMIT,
            "%d invocations of %s wait already; it runs one at a time, try again later",
            FUNCTION_QUEUE_MAX, name);
    (void)snprintf(inv->function, sizeof inv->function, "%s", name);
    *f->last = inv;
    f->last = &inv->next;
    f->queued++;
    function_kick(l);
    return BM_OK;
}

static void
start_worker(struct function *f)
{
    struct bm_msg msg = { 0 };
    struct invocation *inv;

    if (worker_start(f, &msg) == BM_OK)
        return;
    log_warn("function cannot start function=%s cause=\"%s\"", f->name, msg.text);
    inv = function_take(f);
    if (inv != NULL)
        function_failed(
            f->lambda, inv, span_of(NULL, 0), "Runtime.InvalidEntrypoint", "%s", msg.text);
    function_kick(f->lambda);
}

/* The next step of one function, if there is one. */
static void
look_at(struct function *f)
{
    struct worker *w = f->worker;

    if (w != NULL && f->retire && w->phase != PHASE_BUSY) {
        worker_end(w, SIGTERM);
        w = NULL;
    }
    if (w == NULL)
        f->retire = false;
    if (f->first == NULL || f->lambda->endpoint == NULL)
        return;
    if (w == NULL)
        start_worker(f);
    else if (w->phase == PHASE_READY && w->poll != NULL)
        worker_deliver(w, function_take(f));
}

static void
on_kick(void *arg)
{
    struct lambda *l = arg;
    struct function **at = &l->functions;

    l->kick = NULL;
    for (struct function *f = l->functions; f != NULL; f = f->next)
        look_at(f);
    while (*at != NULL) {
        struct function *f = *at;

        if (f->worker != NULL || f->first != NULL) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        free(f);
    }
}

void
function_kick(struct lambda *l)
{
    if (l->kick == NULL)
        l->kick = loop_after(l->options.loop, 0, on_kick, l);
}

/* ---- the room's header ---- */

enum bm_err
lambda_invoke(struct lambda *l, const char *name, struct span payload, lambda_done_fn fn, void *arg,
    struct bm_msg *msg)
{
    struct registry_function stored = { 0 };
    struct invocation *inv;
    enum bm_err err;

    if (payload.len > LAMBDA_PAYLOAD_SYNC_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "the payload has %zu bytes; at most %d are taken",
            payload.len, LAMBDA_PAYLOAD_SYNC_MAX);
    err = registry_function_get(l->options.registry, name, &stored, msg);
    registry_function_fini(&stored);
    if (err != BM_OK)
        return err;
    inv = calloc(1, sizeof *inv);
    if (inv == NULL)
        return BM_ERR_MEM;
    uuid_new_text(inv->request_id);
    inv->fn = fn;
    inv->arg = arg;
    buf_add(&inv->payload, payload.ptr, payload.len);
    err = inv->payload.failed ? BM_ERR_MEM : function_enqueue(l, name, inv, msg);
    if (err != BM_OK)
        invocation_free(inv);
    return err;
}

void
lambda_forget(struct lambda *l, const char *name)
{
    struct function *f = function_of(l, name);

    if (f == NULL || f->worker == NULL)
        return;
    f->retire = true;
    function_kick(l);
}

enum bm_err
lambda_check_config(struct lambda *l, const struct registry_function *f, struct bm_msg *msg)
{
    struct config c;
    enum bm_err err = config_parse(buf_span(&f->config), &c, msg);

    if (err == BM_OK)
        err = code_check(l->options.dir, &c, f->code_sha256, msg);
    config_fini(&c);
    return err;
}

enum bm_err
lambda_put_code(struct lambda *l, struct registry_function *f, struct span zip, struct bm_msg *msg)
{
    struct config c;
    enum bm_err err = config_parse(buf_span(&f->config), &c, msg);

    if (err == BM_OK)
        err = code_put(l->options.dir, &c, zip, f->code_sha256, msg);
    config_fini(&c);
    return err;
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
    function_kick(l);
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
    static const char *const names[] = { "log", "home/tmp" };
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum bm_err err;

        if (snprintf(path, sizeof path, "%s/functions/%s", dir, names[i]) >= (int)sizeof path)
            return bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
        err = dir_make(path, 0700, msg);
        if (err != BM_OK)
            return err;
    }
    return BM_OK;
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
        err = code_clean(l->options.dir, l->options.registry, msg);
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
        if (f->worker != NULL)
            worker_end(f->worker, SIGTERM);
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
    end_processes(l);
    while (l->functions != NULL) {
        struct function *f = l->functions;
        struct invocation *inv;

        while ((inv = function_take(f)) != NULL)
            invocation_free(inv);
        l->functions = f->next;
        free(f);
    }
    loop_cancel(l->options.loop, l->kick);
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
