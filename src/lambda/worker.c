/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process of a function and the Runtime API it speaks. SPEC aws-iot 5.5.
 *
 *   phase      `next`           answer of the current id   deadline passes      process ends
 *   STARTING   -> READY         400                        kill, head fails     head of queue fails
 *   READY      403 (has one)    400                        end: it was idle     no matter
 *   BUSY       403              -> ANSWERED                kill, it failed      it failed
 *   ANSWERED   -> READY         400                        kill                 no matter
 *
 * Ending: the worker leaves its function (which may start another at once), gets a signal and is
 * freed when its process is gone. What it still asks is answered with 403. Its scratch folder is
 * removed by a process of its own, since it may be large.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RUNTIME_PATH "/2018-06-01/runtime/"

static const char *const content_type = "application/json";

/* ---- deadlines ---- */

static void on_deadline(void *arg);

static void
set_deadline(struct worker *w, int64_t delay_ms)
{
    struct loop *loop = w->lambda->options.loop;

    loop_cancel(loop, w->timer);
    w->timer = loop_after(loop, delay_ms, on_deadline, w);
}

static void
enter(struct worker *w, enum phase phase)
{
    if (w->phase == PHASE_STARTING && w->function != NULL)
        w->function->starting--;
    w->phase = phase;
}

static void
on_deadline(void *arg)
{
    struct worker *w = arg;
    struct function *f = w->function;
    struct invocation *inv;
    double init_s = (double)w->lambda->options.init_ms / 1000;

    w->timer = NULL;
    if (f == NULL) {
        process_signal(w->process, SIGKILL);
        return;
    }
    switch (w->phase) {
    case PHASE_READY:
        log_debug("function is idle, its process is ended function=%s", w->name);
        worker_end(w, SIGTERM);
        return;
    case PHASE_ANSWERED:
        log_warn(
            "function does not ask for its next event, its process is killed function=%s", w->name);
        worker_end(w, SIGKILL);
        break;
    case PHASE_STARTING:
        inv = function_take(f);
        process_note(w->process, "Init timed out after %.2f seconds\n", init_s);
        worker_end(w, SIGKILL);
        if (inv != NULL)
            invocation_failed(inv, process_tail(w->process), "Sandbox.Timedout",
                "Init timed out after %.2f seconds: the program did not ask for its first event",
                init_s);
        break;
    case PHASE_BUSY:
        inv = w->now;
        w->now = NULL;
        process_note(w->process, "%s Task timed out after %u.00 seconds\n\n", inv->request_id,
            w->config.timeout_s);
        worker_end(w, SIGKILL);
        invocation_failed(inv, process_tail(w->process), "Sandbox.Timedout",
            "Task timed out after %u.00 seconds", w->config.timeout_s);
        break;
    }
    pool_kick(w->lambda);
}

/* ---- the Runtime API ---- */

static void
reply_error(struct http_request *rq, unsigned status, const char *type, const char *text)
{
    struct buf body = { 0 };

    buf_addf(&body, "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}", text, type);
    http_reply(rq, status, content_type, buf_span(&body));
    buf_fini(&body);
}

static void
reply_accepted(struct http_request *rq)
{
    http_reply(rq, 202, content_type, span_str("{\"status\":\"OK\"}\n"));
}

static void
on_poll_gone(void *arg)
{
    struct worker *w = arg;

    w->poll = NULL; /* it may ask again, or end */
}

static void
on_next(struct worker *w, struct http_request *rq)
{
    if (w->phase == PHASE_BUSY || w->poll != NULL) {
        reply_error(rq, 403, "InvalidStateTransition",
            "answer the current event before you ask for the next");
        return;
    }
    enter(w, PHASE_READY);
    w->poll = rq;
    w->ready_ms = clock_mono_ms();
    http_on_gone(rq, on_poll_gone, w);
    set_deadline(w, w->lambda->options.idle_ms);
    pool_kick(w->lambda);
}

/* "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0" */
static void
trace_id(char out[96])
{
    uint8_t b[20] = { 0 };
    char hex[41];

    (void)!getrandom(b, sizeof b, 0);
    hex_encode(hex, b, sizeof b);
    (void)snprintf(out, 96, "Root=1-%08" PRIx64 "-%.24s;Parent=%.16s;Sampled=0",
        (uint64_t)(clock_wall_ms() / 1000), hex, &hex[24]);
}

void
worker_deliver(struct worker *w, struct invocation *inv)
{
    struct http_request *rq = w->poll;
    int64_t timeout_ms = (int64_t)w->config.timeout_s * 1000;
    struct buf arn = { 0 };
    char text[96];

    w->poll = NULL;
    enter(w, PHASE_BUSY);
    w->now = inv;
    inv->started_ms = clock_mono_ms();
    process_tail_reset(w->process);
    process_note(w->process, "START RequestId: %s Version: $LATEST\n", inv->request_id);
    function_arn(w->lambda, w->name, &arn);
    http_set_header(rq, "Lambda-Runtime-Aws-Request-Id", inv->request_id);
    (void)snprintf(text, sizeof text, "%" PRId64, clock_wall_ms() + timeout_ms);
    http_set_header(rq, "Lambda-Runtime-Deadline-Ms", text);
    http_set_header(rq, "Lambda-Runtime-Invoked-Function-Arn", buf_cstr(&arn));
    trace_id(text);
    http_set_header(rq, "Lambda-Runtime-Trace-Id", text);
    http_reply(rq, 200, content_type, buf_span(&inv->payload));
    buf_fini(&arn);
    set_deadline(w, timeout_ms);
    async_delivered(w->lambda, inv);
}

/* The lines that end an invocation in the log, as the service prints them. */
static struct span
close_log(struct worker *w, const struct invocation *inv)
{
    int64_t ms = clock_mono_ms() - inv->started_ms;

    process_note(w->process, "END RequestId: %s\n", inv->request_id);
    process_note(w->process,
        "REPORT RequestId: %s\tDuration: %" PRId64 " ms\tBilled Duration: %" PRId64
        " ms\tMemory Size: %u MB\n",
        inv->request_id, ms, ms, w->config.memory_mb);
    return process_tail(w->process);
}

static void
on_answer(struct worker *w, struct http_request *rq, const char *error)
{
    struct invocation *inv = w->now;
    struct lambda_result result = { .payload = http_body(rq), .error = error };

    w->now = NULL;
    enter(w, PHASE_ANSWERED);
    w->ready_ms = clock_mono_ms();
    set_deadline(w, w->lambda->options.init_ms);
    result.log_tail = close_log(w, inv);
    if (result.payload.len > LAMBDA_PAYLOAD_SYNC_MAX) {
        invocation_failed(inv, result.log_tail, "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (%d bytes).",
            LAMBDA_PAYLOAD_SYNC_MAX);
        reply_error(rq, 413, "RequestEntityTooLarge", "the response is larger than 6 MB");
        return;
    }
    invocation_answered(inv, &result);
    reply_accepted(rq);
}

static void
on_init_error(struct worker *w, struct http_request *rq)
{
    struct span body = http_body(rq);

    if (w->phase != PHASE_STARTING) {
        reply_error(rq, 403, "InvalidStateTransition", "init/error comes before the first next");
        return;
    }
    w->init_error.len = 0;
    buf_add(&w->init_error, body.ptr, body.len);
    reply_accepted(rq);
}

/* `invocation/<id>/response` and `invocation/<id>/error` */
static void
on_invocation(struct worker *w, struct http_request *rq, const char *rest)
{
    const char *verb = strchr(rest, '/');
    bool error = verb != NULL && strcmp(verb, "/error") == 0;

    if (!error && (verb == NULL || strcmp(verb, "/response") != 0)) {
        reply_error(rq, 404, "NotFound", "the Runtime API has no such path");
        return;
    }
    if (w->phase != PHASE_BUSY ||
        !span_eq(span_of(rest, (size_t)(verb - rest)), span_str(w->now->request_id))) {
        reply_error(rq, 400, "InvalidRequestID", "this is not the event that is being worked on");
        return;
    }
    on_answer(w, rq, error ? "Unhandled" : NULL);
}

static void
on_request(void *arg, struct http_request *rq)
{
    struct worker *w = arg;
    const char *path = http_path(rq);
    bool post = strcmp(http_method(rq), "POST") == 0;
    size_t prefix = strlen(RUNTIME_PATH);

    if (w->function == NULL) {
        reply_error(rq, 403, "Forbidden", "this process is being ended");
        return;
    }
    if (strncmp(path, RUNTIME_PATH, prefix) != 0) {
        reply_error(rq, 404, "NotFound", "the Runtime API has no such path");
        return;
    }
    path = &path[prefix];
    if (strcmp(path, "invocation/next") == 0 && strcmp(http_method(rq), "GET") == 0)
        on_next(w, rq);
    else if (strcmp(path, "init/error") == 0 && post)
        on_init_error(w, rq);
    else if (strncmp(path, "invocation/", 11) == 0 && post)
        on_invocation(w, rq, &path[11]);
    else
        reply_error(rq, 404, "NotFound", "the Runtime API has no such call");
}

/* ---- the end of a process ---- */

static void
fail_exited(struct worker *w, struct invocation *inv, int wait_status)
{
    char why[96];
    struct lambda_result said = { buf_span(&w->init_error), "Unhandled", process_tail(w->process) };

    process_status_text(wait_status, why, sizeof why);
    if (w->phase == PHASE_STARTING && said.payload.len > 0)
        invocation_answered(inv, &said);
    else if (why[0] != '\0')
        invocation_failed(
            inv, said.log_tail, "Runtime.ExitError", "Runtime exited with error: %s", why);
    else
        invocation_failed(
            inv, said.log_tail, "Runtime.ExitError", "Runtime exited without providing a reason");
}

static void
on_exited(void *arg, int wait_status)
{
    struct worker *w = arg;
    struct lambda *l = w->lambda;
    struct invocation *inv = w->now;

    w->now = NULL;
    if (w->function != NULL) {
        if (w->phase == PHASE_STARTING)
            inv = function_take(w->function);
        if (inv != NULL)
            fail_exited(w, inv, wait_status);
    }
    worker_free(w);
    pool_kick(l);
}

/* Out of its function's list; it takes no more events. */
static void
detach(struct worker *w)
{
    struct worker **at = &w->function->workers;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->function->worker_count--;
    w->function->starting -= w->phase == PHASE_STARTING;
    w->lambda->worker_count--;
    w->function = NULL;
}

void
worker_end(struct worker *w, int signo)
{
    if (w->function == NULL)
        return;
    detach(w);
    w->next = w->lambda->ending;
    w->lambda->ending = w;
    process_signal(w->process, signo);
    set_deadline(w, END_GRACE_MS);
}

static void
unlink_worker(struct worker *w)
{
    struct worker **at = &w->lambda->ending;

    if (w->function != NULL) {
        detach(w);
        return;
    }
    while (*at != NULL && *at != w)
        at = &(*at)->next;
    if (*at == w)
        *at = w->next;
}

bool
worker_is_idle(const struct worker *w)
{
    return w->phase == PHASE_READY && w->poll != NULL;
}

/* ---- scratch folders ---- */

struct removal {
    struct removal *next;
    struct lambda *lambda;
    struct job *job;
    char path[PATH_MAX];
};

static enum bm_err
remove_folder(void *arg, struct buf *out, struct bm_msg *msg)
{
    const struct removal *rm = arg;

    (void)out;
    return dir_remove(rm->path, msg);
}

static void
on_removed(void *arg, enum bm_err err, const struct bm_msg *msg, struct span out)
{
    struct removal *rm = arg;
    struct removal **at = &rm->lambda->removals;

    (void)out;
    if (err != BM_OK)
        log_warn("a function's scratch folder stays until the cloud ends: %s", msg->text);
    while (*at != rm)
        at = &(*at)->next;
    *at = rm->next;
    free(rm);
}

static void
remove_scratch(struct worker *w)
{
    struct removal *rm = w->seat.scratch[0] != '\0' ? calloc(1, sizeof *rm) : NULL;

    if (rm == NULL)
        return;
    rm->lambda = w->lambda;
    (void)snprintf(rm->path, sizeof rm->path, "%s", w->seat.scratch);
    if (job_start(w->lambda->options.loop, remove_folder, rm, on_removed, rm, &rm->job, NULL) !=
        BM_OK) {
        free(rm);
        return;
    }
    rm->next = w->lambda->removals;
    w->lambda->removals = rm;
}

void
removals_end(struct lambda *l)
{
    while (l->removals != NULL) {
        struct removal *rm = l->removals;

        job_cancel(rm->job);
        l->removals = rm->next;
        free(rm);
    }
}

void
worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    unlink_worker(w);
    loop_cancel(w->lambda->options.loop, w->timer);
    job_cancel(w->dividing);
    process_free(w->process);
    seat_leave(&w->seat);
    remove_scratch(w);
    http_close(w->api);
    invocation_free(w->now);
    buf_fini(&w->init_error);
    config_fini(&w->config);
    free(w);
}

/* ---- start ---- */

enum bm_err
worker_start(struct function *f, struct bm_msg *msg)
{
    struct worker *w = calloc(1, sizeof *w);
    struct lambda *l = f->lambda;
    enum bm_err err;

    if (w == NULL)
        return BM_ERR_MEM;
    w->lambda = l;
    w->function = f;
    w->phase = PHASE_STARTING;
    (void)snprintf(w->name, sizeof w->name, "%s", f->name);
    w->next = f->workers;
    f->workers = w;
    f->worker_count++;
    f->starting++;
    l->worker_count++;
    err = worker_bring_up(w, on_request, on_exited, msg);
    if (err != BM_OK) {
        worker_free(w);
        return err;
    }
    set_deadline(w, l->options.init_ms);
    excess_watch(l);
    return BM_OK;
}
