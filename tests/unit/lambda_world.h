/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cloud's state for tests of functions and rules: a private folder, a real registry, a loop whose
 * rounds end in a commit as the control process's do, and the lambda room on top. Waiting is for a
 * fact with a deadline.
 */
#ifndef BM_TESTS_LAMBDA_WORLD_H
#define BM_TESTS_LAMBDA_WORLD_H

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "lambda/lambda.h"
#include "registry/registry.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

#define RUNTIMES SOURCE_DIR "/share/birthmark/runtimes"
#define EXAMPLES SOURCE_DIR "/examples"

enum { DEADLINE_MS = 60 * 1000 }; /* long: a loaded machine under a sanitizer is slow */

struct world {
    char dir[64];
    struct loop *loop;
    struct registry *registry;
    struct lambda *lambda;
    struct loop_timer *deadline;
    struct loop_timer *tick;
    bool (*fact)(struct world *w);
    bool late;
    const char *endpoint;
    struct lambda_options options;
    /* the last synchronous result */
    int done;
    char error[32];
    struct buf payload;
    struct buf tail;
    void *extra;
    void *storing;
    char keep[80]; /* a folder that functions may write to and that stays, as $KEEP */
};

static void
world_settle(void *arg)
{
    struct world *w = arg;
    struct bm_msg msg;

    if (registry_commit(w->registry, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    if (w->fact != NULL && w->fact(w))
        loop_stop(w->loop);
}

static void
world_late(void *arg)
{
    struct world *w = arg;

    w->deadline = NULL;
    w->late = true;
    loop_stop(w->loop);
}

/* Some facts are not the loop's (a process is gone): look at them from time to time. */
static void
world_tick(void *arg)
{
    struct world *w = arg;

    w->tick = loop_after(w->loop, 10, world_tick, w);
}

/* Run the loop until the fact holds. */
static void
world_until(struct world *w, bool (*fact)(struct world *w), const char *what)
{
    w->fact = fact;
    w->late = false;
    if (!fact(w)) {
        w->deadline = loop_after(w->loop, DEADLINE_MS, world_late, w);
        world_tick(w);
        assert_int_equal(loop_run(w->loop), BM_OK);
        loop_cancel(w->loop, w->deadline);
        loop_cancel(w->loop, w->tick);
        w->deadline = w->tick = NULL;
    }
    w->fact = NULL;
    if (w->late)
        fail_msg("not within %d ms: %s", DEADLINE_MS, what);
}

#define UNTIL(world, fact) world_until(world, fact, #fact)

/* Start, or start again on the same state. */
static void
world_up(struct world *w)
{
    struct registry_options ro = { .dir = w->dir };
    struct bm_msg msg = { 0 };

    assert_int_equal(loop_new(&w->loop), BM_OK);
    assert_int_equal(loop_settle(w->loop, world_settle, w), BM_OK);
    if (registry_open(&ro, &w->registry, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    w->options.loop = w->loop;
    w->options.registry = w->registry;
    w->options.dir = w->dir;
    w->options.runtime_dir = RUNTIMES;
    w->options.region = "us-east-1";
    w->options.account = "000000000000";
    w->options.access_key = "test";
    w->options.secret_key = "test";
    if (lambda_open(&w->options, &w->lambda, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    lambda_set_endpoint(w->lambda, w->endpoint);
}

static void
world_down(struct world *w)
{
    lambda_close(w->lambda);
    registry_close(w->registry);
    loop_free(w->loop);
}

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    log_setup("test", LOG_ERROR);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/birthmark-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->keep, sizeof w->keep, "%s/keep", w->dir);
    assert_int_equal(mkdir(w->keep, 0700), 0);
    w->endpoint = "http://127.0.0.1:1";
    w->options.sandbox = LAMBDA_SANDBOX_NONE; /* the others have tests of their own */
    w->options.retry_ms[0] = 20;
    w->options.retry_ms[1] = 40;
    world_up(w);
    *state = w;
    return 0;
}

static int
world_close(void **state)
{
    struct world *w = *state;

    world_down(w);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    buf_fini(&w->payload);
    buf_fini(&w->tail);
    free(w);
    return 0;
}

/* ---- packages ---- */

struct zip_file_in {
    const char *name;
    mode_t mode; /* 0: packed where there are no modes */
    const char *content;
};

static void
zip_make(const char *path, const struct zip_file_in *files, size_t count)
{
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);

    assert_non_null(z);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *s = zip_source_buffer(z, files[i].content, strlen(files[i].content), 0);
        zip_int64_t at = zip_file_add(z, files[i].name, s, ZIP_FL_ENC_UTF_8);
        zip_uint8_t system = files[i].mode != 0 ? ZIP_OPSYS_UNIX : ZIP_OPSYS_DOS;

        assert_true(at >= 0);
        assert_int_equal(zip_file_set_external_attributes(
                             z, (zip_uint64_t)at, 0, system, (zip_uint32_t)files[i].mode << 16),
            0);
    }
    assert_int_equal(zip_close(z), 0);
}

static void
zip_bytes(struct world *w, const struct zip_file_in *files, size_t count, struct buf *out)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/made.zip", w->dir);
    zip_make(path, files, count);
    assert_int_equal(file_read(path, LAMBDA_ZIP_MAX, out, NULL), BM_OK);
    assert_int_equal(unlink(path), 0);
}

/* ---- functions ---- */

struct stored {
    bool there;
    enum bm_err err;
    struct bm_msg msg;
    struct lambda_code code;
};

static void
on_stored(void *arg, enum bm_err err, const struct bm_msg *msg, const struct lambda_code *code)
{
    struct stored *s = arg;

    *s = (struct stored){ true, err, *msg, *code };
}

static bool
code_is_stored(struct world *w)
{
    return ((struct stored *)w->storing)->there;
}

/* Check and store a package, or when it is empty a changed configuration; waits for it. */
static enum bm_err
put_code(struct world *w, const char *config, struct span zip, struct registry_function *f,
    struct bm_msg *msg)
{
    struct stored s = { 0 };
    struct buf text = { 0 };
    enum bm_err err;

    f->config.len = f->permissions.len = 0;
    buf_addf(&f->config, "%s", config);
    buf_addf(&f->permissions, "[]");
    assert_int_equal(base64_encode(&text, zip), BM_OK);
    err = lambda_put_code(
        w->lambda, buf_span(&f->config), buf_span(&text), f->code_sha256, on_stored, &s, msg);
    buf_fini(&text);
    if (err != BM_OK)
        return err;
    w->storing = &s;
    UNTIL(w, code_is_stored);
    memcpy(f->code_sha256, s.code.sha256, sizeof f->code_sha256);
    if (msg != NULL)
        *msg = s.msg;
    return s.err;
}

/* One file, stored and known to the registry. */
static void
create(struct world *w, const char *name, const char *config, const struct zip_file_in *file)
{
    struct registry_function f = { 0 };
    struct buf zip = { 0 };
    struct bm_msg msg = { 0 };

    (void)snprintf(f.name, sizeof f.name, "%s", name);
    zip_bytes(w, file, 1, &zip);
    if (put_code(w, config, buf_span(&zip), &f, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    if (registry_function_create(w->registry, &f, &msg) != BM_OK &&
        registry_function_replace(w->registry, &f, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(registry_commit(w->registry, &msg), BM_OK);
    registry_function_fini(&f);
    buf_fini(&zip);
}

#define KEEP "\"Timeout\":30,\"Environment\":{\"Variables\":{\"KEEP\":\"%s\"}}}"

[[maybe_unused]] static void
create_shell(struct world *w, const char *name, const char *script)
{
    char config[256];

    (void)snprintf(
        config, sizeof config, "{\"Runtime\":\"provided.al2\",\"Handler\":\"x\"," KEEP, w->keep);
    create(w, name, config, &(struct zip_file_in){ "bootstrap", S_IFREG | 0755, script });
}

[[maybe_unused]] static void
create_python(struct world *w, const char *name, const char *code)
{
    char config[256];

    (void)snprintf(config, sizeof config,
        "{\"Runtime\":\"python3.11\",\"Handler\":\"f.handler\"," KEEP, w->keep);
    create(w, name, config, &(struct zip_file_in){ "f.py", S_IFREG | 0644, code });
}

[[maybe_unused]] static bool
is_done(struct world *w)
{
    return w->done > 0;
}

[[maybe_unused]] static void
on_done(void *arg, const struct lambda_result *result)
{
    struct world *w = arg;

    w->done++;
    (void)snprintf(w->error, sizeof w->error, "%s", result->error != NULL ? result->error : "");
    w->payload.len = w->tail.len = 0;
    buf_add(&w->payload, result->payload.ptr, result->payload.len);
    buf_add(&w->tail, result->log_tail.ptr, result->log_tail.len);
}

/* Invoke and wait; the answer, terminated, and w->error, w->tail. */
[[maybe_unused]] static const char *
invoke(struct world *w, const char *name, const char *payload)
{
    struct bm_msg msg = { 0 };

    w->done = 0;
    if (lambda_invoke(w->lambda, name, span_str(payload), on_done, w, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    UNTIL(w, is_done);
    (void)buf_cstr(&w->tail);
    return buf_cstr(&w->payload);
}

static void
assert_contains(const char *text, const char *part)
{
    assert_non_null(text);
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in: %s", part, text);
}

/* ---- what the registry holds ---- */

static void
count_row(void *arg, const struct registry_invocation *i)
{
    size_t *n = arg;

    (void)i;
    ++*n;
}

[[maybe_unused]] static size_t
waiting(struct world *w)
{
    size_t n = 0;

    assert_int_equal(registry_invocation_list(w->registry, 1000, count_row, &n, NULL), BM_OK);
    return n;
}

[[maybe_unused]] static bool
nothing_waits(struct world *w)
{
    return waiting(w) == 0;
}

struct record_count {
    enum cause cause;
    size_t count;
    struct timeline_record last;
};

static void
count_record(void *arg, const struct timeline_record *rec)
{
    struct record_count *c = arg;

    if (rec->cause != c->cause)
        return;
    c->count++;
    c->last = *rec;
}

[[maybe_unused]] static struct record_count
records(struct world *w, enum cause cause)
{
    struct record_count c = { .cause = cause };
    enum bm_err err = registry_timeline_recent(w->registry, 1000, count_record, &c, NULL);

    assert_true(err == BM_OK || err == BM_ERR_NOT_FOUND);
    return c;
}

/* ---- runtimes, and what several files look at ---- */

#define PROVIDED "{\"Runtime\":\"provided.al2\",\"Handler\":\"x\"}"
#define PYTHON "{\"Runtime\":\"python3.11\",\"Handler\":\"f.handler\"}"

/* A shell runtime: the loop, with `work` run for each event, its output being the answer. */
#define SHELL_RUNTIME(work)                                                                        \
    "#!/bin/sh\n"                                                                                  \
    "api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime\n"                                      \
    "while event=$(curl -sS -D \"$HOME/$$.h\" \"$api/invocation/next\"); do\n"                     \
    "  id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([0-9a-f-]*\\).*/\\1/Ip' "                \
    "\"$HOME/$$.h\")\n"                                                                            \
    "  { " work "\n  } >\"$HOME/$$.o\"\n"                                                          \
    "  curl -sS -o /dev/null --data-binary @\"$HOME/$$.o\" \"$api/invocation/$id/response\"\n"     \
    "done\n"

[[maybe_unused]] static size_t
count_files(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

[[maybe_unused]] static bool
is_gone(pid_t pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

[[maybe_unused]] static bool
extra_pid_is_gone(struct world *w)
{
    return is_gone(*(pid_t *)w->extra);
}

[[maybe_unused]] static void
restart_with(struct world *w, unsigned processes, enum lambda_sandbox sandbox)
{
    world_down(w);
    w->options.processes = processes;
    w->options.sandbox = sandbox;
    world_up(w);
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

#endif
