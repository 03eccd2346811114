/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a function's process: its environment, its program. SPEC aws-iot 5.5. */
#include "lambda/inside.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = LAMBDA_PAYLOAD_SYNC_MAX + 1024 * 1024, ENV_MAX = 2100 };
/* Data that a runtime takes for itself, beside the function; V8 and its threads take much. */
enum { OWN_MB = 128, NODE_OWN_MB = 1024 };

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
    env_add(e, "LAMBDA_RUNTIME_DIR", "%s", w->lambda->sandbox.runtimes);
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
    env_add(e, "HOME", "%s", w->seat.scratch);
    /* The service gives each process a /tmp of its own; here what asks the usual way gets one. */
    env_add(e, "TMPDIR", "%s", w->seat.scratch);
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
start_process(struct worker *w, const char *task_root, process_exited on_exited, struct bm_msg *msg)
{
    const struct lambda_options *o = &w->lambda->options;
    char program[PATH_MAX + 32];
    char client[PATH_MAX + 32];
    char log_path[PATH_MAX];
    char heap[48];
    const struct sandbox *sandbox = &w->lambda->sandbox;
    char *argv[4] = { program, NULL, NULL, NULL };
    const char *wrapped[SANDBOX_WRAP_MAX];
    struct env env = { .ok = true };
    struct process_options po = { .loop = o->loop,
        .argv = wrapped,
        .envp = env.vars,
        .cwd = task_root,
        .tasks_max = w->seat.tasks_max,
        .uid = w->seat.uid,
        .gid = SANDBOX_UID_FIRST,
        .mounts = sandbox->mounts,
        .scratch = w->seat.scratch,
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
        (void)snprintf(client, sizeof client, "%s/python3/bootstrap.py", sandbox->runtimes);
        argv[1] = client;
        break;
    case RUNTIME_NODE:
        (void)snprintf(program, sizeof program, "%s", o->node);
        (void)snprintf(heap, sizeof heap, "--max-old-space-size=%u", w->config.memory_mb);
        (void)snprintf(client, sizeof client, "%s/nodejs/bootstrap.mjs", sandbox->runtimes);
        argv[1] = heap;
        argv[2] = client;
        break;
    }
    po.memory_mb = w->config.memory_mb + (w->config.runtime == RUNTIME_NODE ? NODE_OWN_MB : OWN_MB);
    w->seat.memory_mb = po.memory_mb;
    env_of_user(&env, &w->config); /* these may replace PATH or LANG; reserved names are refused */
    env_of_service(&env, w, task_root);
    env_drop_doubles(&env);
    sandbox_wrap(sandbox, &w->seat, task_root, argv, wrapped);
    err = env.ok
              ? process_start(&po, &w->process, msg)
              : bm_fail(msg, BM_ERR_LIMIT, "the environment of function %s is too large", w->name);
    env_fini(&env);
    if (err == BM_OK)
        w->seat.leader = process_id(w->process);
    return err;
}

enum bm_err
worker_bring_up(
    struct worker *w, http_handler on_request, process_exited on_exited, struct bm_msg *msg)
{
    struct lambda *l = w->lambda;
    struct http_options ho = { .loop = l->options.loop,
        .host = "127.0.0.1",
        .body_max = BODY_MAX,
        .handler = on_request,
        .arg = w };
    struct registry_function stored = { 0 };
    char root[PATH_MAX];
    enum bm_err err = registry_function_get(l->options.registry, w->name, &stored, msg);

    if (err == BM_OK)
        err = config_parse(buf_span(&stored.config), &w->config, msg);
    if (err == BM_OK && !code_folder(&l->store, stored.code_sha256, root))
        err = bm_fail(msg, BM_ERR_INTERNAL, "the code of function %s is not unpacked", w->name);
    if (err == BM_OK)
        err = seat_take(&l->sandbox, &w->seat, msg);
    if (err == BM_OK)
        err = http_open(&ho, &w->api, msg);
    if (err == BM_OK)
        err = start_process(w, root, on_exited, msg);
    registry_function_fini(&stored);
    return err;
}
