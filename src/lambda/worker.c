/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process of a function and the Runtime API it speaks. SPEC aws-iot 5.5.
 *
 *   phase      `next`           answer of the current id   deadline passes      process ends
 *   STARTING   -> READY         400                        kill, head fails     head of queue fails
 *   READY      403 (has one)    400                        end: it was idle     start anew when
 * needed BUSY       403              -> ANSWERED                kill, it failed      it failed
 *   ANSWERED   -> READY         400                        kill                 start anew when
 * needed
 *
 * Ending: the worker leaves its function (which may start another at once), gets a signal and is
 * freed when its process is gone. What it still asks is answered with 403.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "lambda/code.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RUNTIME_PATH "/2018-06-01/runtime/"

enum { BODY_MAX = LAMBDA_PAYLOAD_SYNC_MAX + 1024 * 1024, ENV_MAX = 2100 };
/* Data that a runtime takes for itself, beside the function; V8 and its threads take much. */
enum { OWN_MB = 128, NODE_OWN_MB = 1024 };

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
            function_failed(w->lambda, inv, process_tail(w->process), "Sandbox.Timedout",
                "Init timed out after %.2f seconds: the program did not ask for its first event",
                init_s);
        break;
    case PHASE_BUSY:
        inv = w->now;
        w->now = NULL;
        process_note(w->process, "%s Task timed out after %u.00 seconds\n\n", inv->request_id,
            w->config.timeout_s);
        worker_end(w, SIGKILL);
        function_failed(w->lambda, inv, process_tail(w->process), "Sandbox.Timedout",
            "Task timed out after %u.00 seconds", w->config.timeout_s);
        break;
    }
    function_kick(w->lambda);
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
    w->phase = PHASE_READY;
    w->poll = rq;
    http_on_gone(rq, on_poll_gone, w);
    set_deadline(w, w->lambda->options.idle_ms);
    function_kick(w->lambda);
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
    w->phase = PHASE_BUSY;
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
    w->phase = PHASE_ANSWERED;
    set_deadline(w, w->lambda->options.init_ms);
    result.log_tail = close_log(w, inv);
    if (result.payload.len > LAMBDA_PAYLOAD_SYNC_MAX) {
        function_failed(w->lambda, inv, result.log_tail, "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (%d bytes).",
            LAMBDA_PAYLOAD_SYNC_MAX);
        reply_error(rq, 413, "RequestEntityTooLarge", "the response is larger than 6 MB");
        return;
    }
    function_answered(w->lambda, inv, &result);
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
        function_answered(w->lambda, inv, &said);
    else if (why[0] != '\0')
        function_failed(w->lambda, inv, said.log_tail, "Runtime.ExitError",
            "Runtime exited with error: %s", why);
    else
        function_failed(w->lambda, inv, said.log_tail, "Runtime.ExitError",
            "Runtime exited without providing a reason");
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
    function_kick(l);
}

void
worker_end(struct worker *w, int signo)
{
    if (w->function == NULL)
        return;
    w->function->worker = NULL;
    w->function->retire = false;
    w->function = NULL;
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
        w->function->worker = NULL;
        w->function->retire = false;
        return;
    }
    while (*at != NULL && *at != w)
        at = &(*at)->next;
    if (*at == w)
        *at = w->next;
}

void
worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    unlink_worker(w);
    loop_cancel(w->lambda->options.loop, w->timer);
    process_free(w->process);
    http_close(w->api);
    invocation_free(w->now);
    buf_fini(&w->init_error);
    config_fini(&w->config);
    free(w);
}

/* ---- start ---- */

/* NAME=VALUE texts; `ok` turns false when one could not be added. */
struct env {
    char *vars[ENV_MAX + 1];
    size_t count;
    bool ok;
};

static void env_add(struct env *e, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
env_add(struct env *e, const char *name, const char *fmt, ...)
{
    struct buf value = { 0 };
    char text[PATH_MAX + 256];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_addf(&value, "%s=%s", name, text);
    if (n < 0 || n >= (int)sizeof text || e->count == ENV_MAX || buf_cstr(&value) == NULL) {
        buf_fini(&value);
        e->ok = false;
        return;
    }
    e->vars[e->count++] = (char *)value.ptr;
    e->vars[e->count] = NULL;
}

static void
env_fini(struct env *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->vars[i]);
}

static void
env_of_user(struct env *e, const struct config *c)
{
    const char *name;
    json_t *value;

    json_object_foreach(c->variables, name, value)
    {
        env_add(e, name, "%s", json_string_value(value));
    }
}

static void
env_of_service(struct env *e, const struct worker *w, const char *task_root)
{
    const struct lambda_options *o = &w->lambda->options;

    env_add(e, "AWS_LAMBDA_RUNTIME_API", "127.0.0.1:%u", http_port(w->api));
    env_add(e, "_HANDLER", "%s", w->config.handler);
    env_add(e, "LAMBDA_TASK_ROOT", "%s", task_root);
    env_add(e, "LAMBDA_RUNTIME_DIR", "%s", o->runtime_dir);
    env_add(e, "AWS_REGION", "%s", o->region);
    env_add(e, "AWS_DEFAULT_REGION", "%s", o->region);
    env_add(e, "AWS_ACCESS_KEY_ID", "%s", o->access_key);
    env_add(e, "AWS_SECRET_ACCESS_KEY", "%s", o->secret_key);
    env_add(e, "AWS_ENDPOINT_URL", "%s", w->lambda->endpoint);
    env_add(e, "AWS_ENDPOINT_URL_IOT", "%s", w->lambda->endpoint);
    env_add(e, "AWS_LAMBDA_FUNCTION_NAME", "%s", w->name);
    env_add(e, "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    env_add(e, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "%u", w->config.memory_mb);
    env_add(e, "AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/%s", w->name);
    env_add(e, "AWS_LAMBDA_LOG_STREAM_NAME", "%s.log", w->name);
    env_add(e, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    if (w->config.runtime != RUNTIME_PROVIDED)
        env_add(e, "AWS_EXECUTION_ENV", "AWS_Lambda_%s", w->config.runtime_name);
    env_add(e, "TZ", ":UTC");
    env_add(e, "LANG", "C.UTF-8");
    env_add(e, "PATH", "/usr/local/bin:/usr/bin:/bin");
    env_add(e, "LD_LIBRARY_PATH", "%s:%s/lib", task_root, task_root);
    /* Not the service's: the person's own ~/.aws and a cloud machine's roles stay out of reach. */
    env_add(e, "HOME", "%s/functions/home", o->dir);
    /* The service gives each function a /tmp of its own; here what asks the usual way gets one. */
    env_add(e, "TMPDIR", "%s/functions/home/tmp", o->dir);
    env_add(e, "AWS_EC2_METADATA_DISABLED", "true");
}

/* The first that names a variable wins. */
static void
env_drop_doubles(struct env *e)
{
    for (size_t i = 0; i < e->count; i++) {
        size_t name = strcspn(e->vars[i], "=") + 1;

        for (size_t k = i + 1; k < e->count;) {
            if (strncmp(e->vars[i], e->vars[k], name) != 0) {
                k++;
                continue;
            }
            free(e->vars[k]);
            e->vars[k] = e->vars[--e->count];
            e->vars[e->count] = NULL;
        }
    }
}

static enum bm_err
start_process(struct worker *w, const char *task_root, struct bm_msg *msg)
{
    const struct lambda_options *o = &w->lambda->options;
    char program[PATH_MAX];
    char client[PATH_MAX];
    char log_path[PATH_MAX];
    char heap[48];
    char *argv[4] = { program, NULL, NULL, NULL };
    struct env env = { .ok = true };
    struct process_options po = { .loop = o->loop,
        .argv = argv,
        .envp = env.vars,
        .cwd = task_root,
        .log_path = log_path,
        .exited = on_exited,
        .arg = w };
    enum bm_err err;

    (void)snprintf(log_path, sizeof log_path, "%s/functions/log/%s.log", o->dir, w->name);
    switch (w->config.runtime) {
    case RUNTIME_PROVIDED:
        (void)snprintf(program, sizeof program, "%s/bootstrap", task_root);
        break;
    case RUNTIME_PYTHON:
        (void)snprintf(program, sizeof program, "%s", o->python);
        (void)snprintf(client, sizeof client, "%s/python3/bootstrap.py", o->runtime_dir);
        argv[1] = client;
        break;
    case RUNTIME_NODE:
        (void)snprintf(program, sizeof program, "%s", o->node);
        (void)snprintf(heap, sizeof heap, "--max-old-space-size=%u", w->config.memory_mb);
        (void)snprintf(client, sizeof client, "%s/nodejs/bootstrap.mjs", o->runtime_dir);
        argv[1] = heap;
        argv[2] = client;
        break;
    }
    po.memory_mb = w->config.memory_mb + (w->config.runtime == RUNTIME_NODE ? NODE_OWN_MB : OWN_MB);
    env_of_user(&env, &w->config); /* these may replace PATH or LANG; reserved names are refused */
    env_of_service(&env, w, task_root);
    env_drop_doubles(&env);
    err = env.ok
              ? process_start(&po, &w->process, msg)
              : bm_fail(msg, BM_ERR_LIMIT, "the environment of function %s is too large", w->name);
    env_fini(&env);
    return err;
}

/* Read what is stored now, open the API, start the program. */
static enum bm_err
bring_up(struct worker *w, struct bm_msg *msg)
{
    const struct lambda_options *o = &w->lambda->options;
    struct http_options ho = {
        .loop = o->loop, .host = "127.0.0.1", .body_max = BODY_MAX, .handler = on_request, .arg = w
    };
    struct registry_function stored = { 0 };
    struct buf root = { 0 };
    enum bm_err err = registry_function_get(o->registry, w->name, &stored, msg);

    if (err == BM_OK)
        err = config_parse(buf_span(&stored.config), &w->config, msg);
    if (err == BM_OK)
        err = code_folder(o->dir, stored.code_sha256, &root, msg);
    if (err == BM_OK)
        err = http_open(&ho, &w->api, msg);
    if (err == BM_OK)
        err = start_process(w, buf_cstr(&root), msg);
    buf_fini(&root);
    registry_function_fini(&stored);
    return err;
}

enum bm_err
worker_start(struct function *f, struct bm_msg *msg)
{
    struct worker *w = calloc(1, sizeof *w);
    enum bm_err err;

    if (w == NULL)
        return BM_ERR_MEM;
    w->lambda = f->lambda;
    w->function = f;
    w->phase = PHASE_STARTING;
    (void)snprintf(w->name, sizeof w->name, "%s", f->name);
    f->worker = w;
    err = bring_up(w, msg);
    if (err != BM_OK) {
        worker_free(w);
        return err;
    }
    set_deadline(w, w->lambda->options.init_ms);
    return BM_OK;
}
