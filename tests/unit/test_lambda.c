/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/lambda: packages, the code store, real processes that speak the Runtime API
 * (shell scripts with curl, and Python), asynchronous invocations across failures and restarts.
 */
#include "http/http.h"
#include "lambda/lambda.h"
#include "lambda/package.h"

#include "lambda_world.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>

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

/* ---- packages ---- */

static size_t
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

static enum bm_err
unpack(struct world *w, const struct zip_file_in *files, size_t count, char out[128],
    struct bm_msg *msg)
{
    struct buf zip = { 0 };
    enum bm_err err;

    (void)snprintf(out, 128, "%s/unpacked", w->dir);
    assert_int_equal(dir_remove(out, NULL), BM_OK);
    assert_int_equal(mkdir(out, 0700), 0);
    zip_bytes(w, files, count, &zip);
    err = package_unpack(buf_span(&zip), out, msg);
    buf_fini(&zip);
    return err;
}

static mode_t
mode_of(const char *dir, const char *name)
{
    char path[256];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

static void
unpacking_keeps_executable_bits_and_drops_the_others(void **state)
{
    const struct zip_file_in files[] = {
        { "bootstrap", S_IFREG | 0755, "x" },
        { "lib/data", S_IFREG | 0644, "y" },
        { "lib/setuid", S_IFREG | 06755, "y" },
        { "./dotted", S_IFREG | 0600, "y" },
        { "lib/link", S_IFLNK | 0777, "../bootstrap" },
    };
    char dir[128];
    char path[256];
    struct bm_msg msg = { 0 };

    assert_int_equal(unpack(*state, files, 5, dir, &msg), BM_OK);
    assert_int_equal(mode_of(dir, "bootstrap"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "lib/data"), S_IFREG | 0644);
    assert_int_equal(mode_of(dir, "lib/setuid"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "dotted"), S_IFREG | 0644);
    assert_true(S_ISLNK(mode_of(dir, "lib/link")));
    (void)snprintf(path, sizeof path, "%s/lib/link", dir);
    assert_int_equal(access(path, X_OK), 0);
}

static void
bootstrap_packed_without_modes_becomes_executable(void **state)
{
    const struct zip_file_in files[] = { { "bootstrap", 0, "x" }, { "other", 0, "y" } };
    char dir[128];

    assert_int_equal(unpack(*state, files, 2, dir, NULL), BM_OK);
    assert_int_equal(mode_of(dir, "bootstrap"), S_IFREG | 0755);
    assert_int_equal(mode_of(dir, "other"), S_IFREG | 0644);
}

static void
what_would_leave_the_folder_is_refused_before_anything_is_written(void **state)
{
    static const struct zip_file_in bad[] = {
        { "../evil", S_IFREG | 0644, "x" },
        { "a/../../evil", S_IFREG | 0644, "x" },
        { "a/..", S_IFREG | 0644, "x" },
        { "/tmp/evil", S_IFREG | 0644, "x" },
        { "a//b", S_IFREG | 0644, "x" },
        { "..\\evil", S_IFREG | 0644, "x" },
        { "a\nb", S_IFREG | 0644, "x" },
        { "fifo", S_IFIFO | 0644, "" },
        { "device", S_IFCHR | 0644, "" },
        { "good/sub", S_IFREG | 0644, "a file is also used as a folder" },
    };
    char dir[128];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct zip_file_in files[] = { { "good", S_IFREG | 0644, "x" }, bad[i] };
        struct bm_msg msg = { 0 };

        if (unpack(*state, files, 2, dir, &msg) != BM_ERR_INPUT)
            fail_msg("accepted: %s", bad[i].name);
        assert_true(strlen(msg.text) > 20);
        assert_int_equal(count_files(dir), 0);
    }
}

static void
links_stay_inside(void **state)
{
    static const struct {
        const char *name;
        const char *target;
        bool good;
    } cases[] = {
        { "l", "a", true },
        { "d/l", "../a", true },
        { "d/e/l", "../../a", true },
        { "l", "d/a", true },
        { "l", "../a", false },
        { "d/l", "../../a", false },
        { "l", "/etc/passwd", false },
        { "l", "d/../a", false }, /* through another link this may climb too far */
        { "l", "..", false },
        { "l", "", false },
    };
    char dir[128];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct zip_file_in file = { cases[i].name, S_IFLNK | 0777, cases[i].target };
        enum bm_err err = unpack(*state, &file, 1, dir, NULL);

        if ((err == BM_OK) != cases[i].good)
            fail_msg("%s -> %s: %s", cases[i].name, cases[i].target, bm_err_name(err));
        assert_int_equal(package_target_ok(cases[i].name, cases[i].target), cases[i].good);
    }
}

static void
broken_archives_are_refused(void **state)
{
    static const char *const names[] = { "truncated", "bad-crc", "bad-stream", "size-lies", "empty",
        "not-a-zip", "twice", "file-as-folder", "link-then-file" };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct registry_function f = { .name = "f" };
        struct buf zip = { 0 };
        struct bm_msg msg = { 0 };
        char path[512];

        (void)snprintf(path, sizeof path, SOURCE_DIR "/tests/fuzz/corpus/zip/%s", names[i]);
        assert_int_equal(file_read(path, LAMBDA_ZIP_MAX, &zip, &msg), BM_OK);
        if (put_code(w, PYTHON, buf_span(&zip), &f, &msg) != BM_ERR_INPUT)
            fail_msg("accepted: %s", names[i]);
        buf_fini(&zip);
        registry_function_fini(&f);
        (void)snprintf(path, sizeof path, "%s/functions", w->dir);
        assert_int_equal(count_files(path), 2); /* scratch and log: nothing was left */
    }
}

static enum bm_err
ignore_name(void *arg, const char *name, struct bm_msg *msg)
{
    (void)arg;
    (void)name;
    (void)msg;
    return BM_OK;
}

static enum bm_err
ignore_file(void *arg, const char *name, bool executable, struct bm_msg *msg)
{
    (void)executable;
    return ignore_name(arg, name, msg);
}

static enum bm_err
count_data(void *arg, struct span data, struct bm_msg *msg)
{
    size_t *total = arg;

    (void)msg;
    *total += data.len;
    return BM_OK;
}

static enum bm_err
ignore_link(void *arg, const char *name, const char *target, struct bm_msg *msg)
{
    (void)target;
    return ignore_name(arg, name, msg);
}

/* Claims `size` for a stream of more than LAMBDA_UNZIPPED_MAX zeros. */
static void
bomb_is_stopped_by_what_comes_out_of_it(void **state)
{
    const struct zip_file_in file = { "zeros", S_IFREG | 0644, "" };
    size_t total = 0;
    const struct package_sink sink = { &total, ignore_name, ignore_file, count_data, ignore_link };
    struct buf zip = { 0 };
    struct bm_msg msg = { 0 };
    char path[128];
    zip_t *z;
    char *zeros = calloc(1, LAMBDA_UNZIPPED_MAX + 1);
    const uint8_t *central;

    assert_non_null(zeros);
    (void)snprintf(path, sizeof path, "%s/bomb.zip", ((struct world *)*state)->dir);
    zip_make(path, &file, 1);
    z = zip_open(path, 0, NULL);
    assert_non_null(z);
    assert_int_equal(
        zip_file_replace(z, 0, zip_source_buffer(z, zeros, LAMBDA_UNZIPPED_MAX + 1, 0), 0), 0);
    assert_int_equal(zip_set_file_compression(z, 0, ZIP_CM_DEFLATE, 1), 0);
    assert_int_equal(zip_close(z), 0);
    free(zeros);
    assert_int_equal(file_read(path, LAMBDA_ZIP_MAX, &zip, NULL), BM_OK);
    central = memmem(zip.ptr, zip.len, "PK\x01\x02", 4);
    assert_non_null(central);
    memset(&zip.ptr[(size_t)(central - zip.ptr) + 24], 1, 1); /* the header lies: a small size */
    memset(&zip.ptr[(size_t)(central - zip.ptr) + 25], 0, 3);
    assert_int_equal(package_read(buf_span(&zip), &sink, &msg), BM_ERR_INPUT);
    assert_true(total <= LAMBDA_UNZIPPED_MAX);
    buf_fini(&zip);
}

static void
too_many_entries_are_refused(void **state)
{
    struct world *w = *state;
    struct zip_file_in *files = calloc(PACKAGE_ENTRIES_MAX + 1, sizeof *files);
    char(*names)[16] = calloc(PACKAGE_ENTRIES_MAX + 1, sizeof *names);
    char dir[128];
    struct bm_msg msg = { 0 };

    assert_non_null(files);
    assert_non_null(names);
    for (size_t i = 0; i <= PACKAGE_ENTRIES_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%zu", i);
        files[i] = (struct zip_file_in){ names[i], S_IFREG | 0644, "" };
    }
    assert_int_equal(unpack(w, files, PACKAGE_ENTRIES_MAX + 1, dir, &msg), BM_ERR_INPUT);
    assert_contains(msg.text, "entries");
    free(files);
    free(names);
}

/* ---- the code store ---- */

static void
configuration_and_package_must_fit(void **state)
{
    static const struct {
        const char *config;
        struct zip_file_in file;
        const char *says; /* NULL: accepted */
    } cases[] = {
        { PROVIDED, { "bootstrap", S_IFREG | 0755, "x" }, NULL },
        { PROVIDED, { "bootstrap", S_IFREG | 0644, "x" },
            "bootstrap is not executable; chmod +x before zip" },
        { PROVIDED, { "folder/bootstrap", S_IFREG | 0755, "x" }, "no file 'bootstrap'" },
        { PYTHON, { "f.py", S_IFREG | 0644, "x" }, NULL },
        { PYTHON, { "f/__init__.py", S_IFREG | 0644, "x" }, NULL },
        { PYTHON, { "folder/f.py", S_IFREG | 0644, "x" }, "needs a file f.py" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"a/b.c.handler\"}",
            { "a/b/c.py", S_IFREG | 0644, "x" }, NULL },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"handler\"}", { "f.py", S_IFREG | 0644, "x" },
            "module.function" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"../f.h\"}", { "f.py", S_IFREG | 0644, "x" },
            "does not name a file" },
        { "{\"Runtime\":\"ruby3.2\",\"Handler\":\"f.h\"}", { "f.py", S_IFREG | 0644, "x" },
            "'ruby3.2' is not built here: use provided" },
        { "{\"Runtime\":\"python3.11\"}", { "f.py", S_IFREG | 0644, "x" }, "mandatory" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Timeout\":901}",
            { "f.py", S_IFREG | 0644, "x" }, "Timeout must be" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"MemorySize\":\"1\"}",
            { "f.py", S_IFREG | 0644, "x" }, "MemorySize must be" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Environment\":{\"Variables\":{"
          "\"AWS_REGION\":\"x\"}}}",
            { "f.py", S_IFREG | 0644, "x" }, "AWS_REGION is set by the service" },
        { "{\"Runtime\":\"python3.9\",\"Handler\":\"f.h\",\"Environment\":{\"Variables\":{"
          "\"A=B\":\"x\"}}}",
            { "f.py", S_IFREG | 0644, "x" }, "environment variable 'A=B'" },
        { "[]", { "f.py", S_IFREG | 0644, "x" }, "not a JSON object" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct registry_function f = { .name = "f" };
        struct buf zip = { 0 };
        struct bm_msg msg = { 0 };
        enum bm_err err;

        zip_bytes(w, &cases[i].file, 1, &zip);
        err = put_code(w, cases[i].config, buf_span(&zip), &f, &msg);
        if (err != (cases[i].says == NULL ? BM_OK : BM_ERR_INPUT))
            fail_msg("case %zu: %s: %s", i, bm_err_name(err), msg.text);
        if (cases[i].says != NULL)
            assert_contains(msg.text, cases[i].says);
        buf_fini(&zip);
        registry_function_fini(&f);
    }
}

static void
every_runtime_of_the_table_is_taken(void **state)
{
    static const char *const names[] = { "provided", "provided.al2", "provided.al2023", "python3.7",
        "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13",
        "nodejs18.x", "nodejs20.x", "nodejs22.x" };
    static const struct zip_file_in files[] = { { "bootstrap", S_IFREG | 0755, "x" },
        { "f.py", S_IFREG | 0644, "x" }, { "f.js", S_IFREG | 0644, "x" } };
    struct world *w = *state;
    struct buf zip = { 0 };

    zip_bytes(w, files, 3, &zip);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct registry_function f = { .name = "f" };
        struct bm_msg msg = { 0 };
        char config[100];

        (void)snprintf(
            config, sizeof config, "{\"Runtime\":\"%s\",\"Handler\":\"f.handler\"}", names[i]);
        if (put_code(w, config, buf_span(&zip), &f, &msg) != BM_OK)
            fail_msg("%s: %s", names[i], msg.text);
        registry_function_fini(&f);
    }
    buf_fini(&zip);
}

static void
changed_configuration_is_checked_against_the_stored_package(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    struct bm_msg msg = { 0 };

    create_python(w, "f", "def handler(e, c): pass\n");
    assert_int_equal(registry_function_get(w->registry, "f", &f, &msg), BM_OK);
    assert_int_equal(put_code(w, PYTHON, span_of(NULL, 0), &f, &msg), BM_OK);
    assert_int_equal(put_code(w, "{\"Runtime\":\"python3.11\",\"Handler\":\"other.handler\"}",
                         span_of(NULL, 0), &f, &msg),
        BM_ERR_INPUT);
    assert_contains(msg.text, "needs a file other.py");
    registry_function_fini(&f);
}

static void
opening_removes_packages_of_no_function_and_keeps_the_others(void **state)
{
    struct world *w = *state;
    struct registry_function f = { .name = "never-stored" };
    const struct zip_file_in file = { "bootstrap", S_IFREG | 0755, "never" };
    struct buf zip = { 0 };
    char path[128];

    create_shell(w, "kept", "kept");
    zip_bytes(w, &file, 1, &zip);
    assert_int_equal(put_code(w, PROVIDED, buf_span(&zip), &f, NULL), BM_OK);
    (void)snprintf(path, sizeof path, "%s/functions", w->dir);
    assert_int_equal(count_files(path), 2 + 4);
    world_down(w);
    world_up(w);
    assert_int_equal(count_files(path), 2 + 2);
    buf_fini(&zip);
    registry_function_fini(&f);
}

static void
unpacked_folder_is_made_again_from_the_zip(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    char hex[65];
    char path[256];

    create_shell(w, "f", SHELL_RUNTIME("echo yes"));
    assert_int_equal(registry_function_get(w->registry, "f", &f, NULL), BM_OK);
    hex_encode(hex, f.code_sha256, 32);
    (void)snprintf(path, sizeof path, "%s/functions/%s", w->dir, hex);
    assert_int_equal(dir_remove(path, NULL), BM_OK);
    assert_string_equal(invoke(w, "f", "{}"), "yes\n");
    registry_function_fini(&f);
}

/* ---- processes and the Runtime API ---- */

static void
shell_bootstrap_answers_and_its_log_is_kept(void **state)
{
    struct world *w = *state;
    struct buf log = { 0 };
    char path[128];

    create_shell(w, "f", SHELL_RUNTIME("echo \"working on it\" >&2; printf '[%s]' \"$event\""));
    assert_string_equal(invoke(w, "f", "{\"a\":1}"), "[{\"a\":1}]");
    assert_string_equal(w->error, "");
    assert_contains((char *)w->tail.ptr, "START RequestId: ");
    assert_contains((char *)w->tail.ptr, "working on it\n");
    assert_contains((char *)w->tail.ptr, "REPORT RequestId: ");
    (void)snprintf(path, sizeof path, "%s/functions/log/f.log", w->dir);
    assert_int_equal(file_read(path, 65536, &log, NULL), BM_OK);
    assert_contains(buf_cstr(&log), "working on it\n");
    buf_fini(&log);
}

static void
environment_is_the_specified_one_and_nothing_leaks_in(void **state)
{
    struct world *w = *state;
    const char *env;

    assert_int_equal(setenv("SECRET_OF_THE_PARENT", "1", 1), 0);
    create(w, "f",
        "{\"Runtime\":\"provided.al2\",\"Handler\":\"some.handler\",\"Timeout\":30,\"MemorySize\":"
        "256,\"Environment\":{\"Variables\":{\"OWN\":\"a b\"}}}",
        &(struct zip_file_in){
            "bootstrap", S_IFREG | 0755, SHELL_RUNTIME("env; ls -l /proc/$$/fd/; echo cwd=$PWD") });
    env = invoke(w, "f", "{}");
    assert_contains(env, "AWS_LAMBDA_RUNTIME_API=127.0.0.1:");
    assert_contains(env, "_HANDLER=some.handler\n");
    assert_contains(env, "AWS_REGION=us-east-1\n");
    assert_contains(env, "AWS_ACCESS_KEY_ID=test\n");
    assert_contains(env, "AWS_ENDPOINT_URL=http://127.0.0.1:1\n");
    assert_contains(env, "AWS_LAMBDA_FUNCTION_NAME=f\n");
    assert_contains(env, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256\n");
    assert_contains(env, "OWN=a b\n");
    assert_contains(env, "/functions/scratch/");
    assert_contains(env, "PATH=/usr/local/bin:/usr/bin:/bin\n");
    assert_null(strstr(env, "SECRET_OF_THE_PARENT"));
    assert_null(strstr(env, "AWS_EXECUTION_ENV")); /* not for custom runtimes */
    assert_contains(env, "LAMBDA_TASK_ROOT=/tmp/birthmark-test.");
    assert_contains(env, "cwd=/tmp/birthmark-test.");
    assert_contains(env, " 0 -> /dev/null\n");
    assert_null(strstr(env, "socket:"));     /* what the parent has open: its API's port, */
    assert_null(strstr(env, "anon_inode"));  /* its loop, */
    assert_null(strstr(env, "registry.db")); /* its store */
}

static void
misuse_of_the_runtime_api_is_refused_and_does_no_harm(void **state)
{
    static const char script[] =
        SHELL_RUNTIME("code() { curl -sS -o /dev/null -w '%{http_code} ' \"$@\"; }\n"
                      "code $api/invocation/next\n"
                      "code -d x $api/invocation/00000000-0000-0000-0000-000000000000/response\n"
                      "code -d x $api/invocation/$id/other\n"
                      "code -d x $api/init/error\n"
                      "code $api/nothing\n"
                      "code http://$AWS_LAMBDA_RUNTIME_API/\n"
                      "code -X PUT $api/invocation/next");
    struct world *w = *state;

    create_shell(w, "f", script);
    assert_string_equal(invoke(w, "f", "{}"), "403 400 404 403 404 404 404 ");
    assert_string_equal(invoke(w, "f", "{}"), "403 400 404 403 404 404 404 ");
}

/* The script has the status of its second answer and has put it into a file. */
static bool
second_status_is_there(struct world *w)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/keep/status", w->dir);
    return access(path, F_OK) == 0;
}

static void
answer_twice_is_refused(void **state)
{
    struct world *w = *state;
    struct buf status = { 0 };
    char path[128];

    create_shell(w, "f",
        SHELL_RUNTIME("url=$api/invocation/$id/response; curl -sS -d first $url >/dev/null; curl "
                      "-sS -o /dev/null -w '%{http_code}' -d again $url >$KEEP/s; mv $KEEP/s "
                      "$KEEP/status"));
    assert_string_equal(invoke(w, "f", "{}"), "first");
    UNTIL(w, second_status_is_there);
    (void)snprintf(path, sizeof path, "%s/keep/status", w->dir);
    assert_int_equal(file_read(path, 100, &status, NULL), BM_OK);
    assert_string_equal(buf_cstr(&status), "400");
    buf_fini(&status);
}

static void
python_handler_gets_event_and_context(void **state)
{
    struct world *w = *state;
    const char *answer;

    create_python(w, "f",
        "import os, sys\n"
        "def handler(event, context):\n"
        "    print('hello from f')\n"
        "    return {'event': event, 'name': context.function_name, 'arn': "
        "context.invoked_function_arn, 'id': len(context.aws_request_id), 'left': 0 < "
        "context.get_remaining_time_in_millis() <= 30000, 'path': sys.path[0] == "
        "os.environ['LAMBDA_TASK_ROOT'], 'exec': os.environ['AWS_EXECUTION_ENV'], 'boto': "
        "'boto3' in sys.modules or 'botocore' in sys.modules}\n");
    answer = invoke(w, "f", "{\"a\":[1,\"\xc3\xa4\"]}");
    assert_string_equal(answer,
        "{\"event\": {\"a\": [1, \"\xc3\xa4\"]}, \"name\": \"f\", \"arn\": "
        "\"arn:aws:lambda:us-east-1:000000000000:function:f\", \"id\": 36, \"left\": true, "
        "\"path\": true, \"exec\": \"AWS_Lambda_python3.11\", \"boto\": false}");
    assert_string_equal(w->error, "");
    assert_contains((char *)w->tail.ptr, "hello from f\n");
}

static void
python_exception_is_reported_with_its_stack(void **state)
{
    struct world *w = *state;
    const char *answer;

    create_python(w, "f",
        "def inner():\n    raise KeyError('no such')\n"
        "def handler(event, context):\n    inner()\n");
    answer = invoke(w, "f", "{}");
    assert_string_equal(w->error, "Unhandled");
    assert_contains(answer, "\"errorType\": \"KeyError\"");
    assert_contains(answer, "'no such'");
    assert_contains(answer, "line 2, in inner");
    assert_null(strstr(answer, "bootstrap.py")); /* only what the author wrote */
}

static void
python_failures_have_names(void **state)
{
    static const struct {
        const char *code;
        const char *type;
        const char *message;
    } cases[] = {
        { "import sys\ndef handler(e, c):\n    sys.exit(3)\n", "Runtime.ExitError", "sys.exit(3)" },
        { "import nothing_like_it\n", "Runtime.ImportModuleError", "nothing_like_it" },
        { "def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error" },
        { "x = 1\n", "Runtime.HandlerNotFound", "'handler' missing" },
        { "1/0\n", "ZeroDivisionError", "division by zero" },
        { "def handler(e, c):\n    return {1, 2}\n", "Runtime.MarshalError", "set" },
        { "import os\ndef handler(e, c):\n    os._exit(4)\n", "Runtime.ExitError",
            "Runtime exited with error: exit status 4" },
        { "import os\ndef handler(e, c):\n    os._exit(0)\n", "Runtime.ExitError",
            "Runtime exited without providing a reason" },
        { "import os\ndef handler(e, c):\n    os.kill(os.getpid(), 9)\n", "Runtime.ExitError",
            "Runtime exited with error: signal: killed" },
        { "def handler(e, c):\n    return 'x' * 6500000\n", "Function.ResponseSizeTooLarge",
            "Response payload size exceeded" },
        { "def handler(e, c):\n    return 'x' * 9500000\n", "Function.ResponseSizeTooLarge",
            "it has 9500002" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer;

        create_python(w, "f", cases[i].code);
        lambda_forget(w->lambda, "f");
        answer = invoke(w, "f", "{}");
        assert_string_equal(w->error, "Unhandled");
        assert_contains(answer, cases[i].type);
        assert_contains(answer, cases[i].message);
    }
}

static bool
is_gone(pid_t pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

static bool
extra_pid_is_gone(struct world *w)
{
    return is_gone(*(pid_t *)w->extra);
}

static void
timeout_ends_the_function_and_what_it_started(void **state)
{
    struct world *w = *state;
    struct buf pid_text = { 0 };
    char path[128];
    pid_t pid;
    const char *answer;

    char config[256];

    (void)snprintf(config, sizeof config,
        "{\"Runtime\":\"provided\",\"Handler\":\"x\",\"Timeout\":1,"
        "\"Environment\":{\"Variables\":{\"KEEP\":\"%s\"}}}",
        w->keep);
    create(w, "f", config,
        &(struct zip_file_in){ "bootstrap", S_IFREG | 0755,
            SHELL_RUNTIME("trap '' TERM; sleep 1000 & echo $! >$KEEP/pid; wait") });
    answer = invoke(w, "f", "{}");
    assert_string_equal(w->error, "Unhandled");
    assert_contains(answer, "Task timed out after 1.00 seconds");
    assert_contains((char *)w->tail.ptr, "Task timed out after 1.00 seconds");
    (void)snprintf(path, sizeof path, "%s/keep/pid", w->dir);
    assert_int_equal(file_read(path, 100, &pid_text, NULL), BM_OK);
    pid = (pid_t)strtol(buf_cstr(&pid_text), NULL, 10);
    assert_true(pid > 1);
    w->extra = &pid;
    UNTIL(w, extra_pid_is_gone);
    buf_fini(&pid_text);
}

static void
process_that_never_asks_for_work_fails_the_invocation(void **state)
{
    struct world *w = *state;

    world_down(w);
    w->options.init_ms = 300;
    world_up(w);
    create_shell(w, "f", "#!/bin/sh\necho here I am\nexec sleep 1000\n");
    assert_contains(invoke(w, "f", "{}"), "Init timed out after 0.30 seconds");
    assert_contains((char *)w->tail.ptr, "here I am\n");
}

static void
program_that_cannot_start_says_why(void **state)
{
    struct world *w = *state;
    const char *answer;

    create_shell(w, "f", "#!/no/such/interpreter\n");
    answer = invoke(w, "f", "{}");
    assert_contains(answer, "Runtime.InvalidEntrypoint");
    assert_contains(answer, "No such file");
    create_shell(w, "g", "#!/bin/sh\necho dying >&2\nexit 7\n");
    answer = invoke(w, "g", "{}");
    assert_contains(answer, "Runtime exited with error: exit status 7");
    assert_contains((char *)w->tail.ptr, "dying\n");
}

static void
process_stays_warm_until_it_is_forgotten(void **state)
{
    struct world *w = *state;
    char first[64];

    create_shell(w, "f", SHELL_RUNTIME("echo $$"));
    (void)snprintf(first, sizeof first, "%s", invoke(w, "f", "{}"));
    assert_string_equal(invoke(w, "f", "{}"), first);
    create_shell(w, "f", SHELL_RUNTIME("echo new $$"));
    lambda_forget(w->lambda, "f");
    assert_contains(invoke(w, "f", "{}"), "new ");
}

static void
idle_process_is_ended(void **state)
{
    struct world *w = *state;
    pid_t pid;

    world_down(w);
    w->options.idle_ms = 100;
    world_up(w);
    create_shell(w, "f", SHELL_RUNTIME("echo $$"));
    pid = (pid_t)strtol(invoke(w, "f", "{}"), NULL, 10);
    assert_true(pid > 1);
    w->extra = &pid;
    UNTIL(w, extra_pid_is_gone);
}

static bool
three_are_done(struct world *w)
{
    return w->done == 3;
}

static void
invocations_queue_in_order(void **state)
{
    struct world *w = *state;

    world_down(w);
    w->options.processes = 1;
    world_up(w);
    create_shell(w, "f", SHELL_RUNTIME("echo \"$event\" >>$KEEP/order; cat $KEEP/order"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(lambda_invoke(w->lambda, "f",
                             span_str(i == 0   ? "a"
                                      : i == 1 ? "b"
                                               : "c"),
                             on_done, w, NULL),
            BM_OK);
    UNTIL(w, three_are_done);
    assert_string_equal(buf_cstr(&w->payload), "a\nb\nc\n");
}

static void
queue_and_payload_are_bounded(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };
    uint8_t *large = calloc(1, LAMBDA_PAYLOAD_SYNC_MAX + 1);

    create_shell(w, "f", SHELL_RUNTIME("echo"));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_OK);
    assert_int_equal(
        lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_ERR_CONFLICT);
    assert_int_equal(lambda_invoke(w->lambda, "f", span_of(large, LAMBDA_PAYLOAD_SYNC_MAX + 1),
                         on_done, w, &msg),
        BM_ERR_LIMIT);
    assert_int_equal(lambda_invoke_async(
                         w->lambda, "f", span_of(large, LAMBDA_PAYLOAD_ASYNC_MAX + 1), NULL, &msg),
        BM_ERR_LIMIT);
    assert_int_equal(
        lambda_invoke(w->lambda, "none", span_str("{}"), on_done, w, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(w->done, 0); /* never from within the call */
    free(large);
}

static void
deleted_function_fails_what_waits_for_it(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    create_shell(w, "f", SHELL_RUNTIME("echo"));
    assert_int_equal(lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_OK);
    assert_int_equal(registry_function_delete(w->registry, "f", &msg), BM_OK);
    lambda_forget(w->lambda, "f");
    UNTIL(w, is_done);
    assert_string_equal(w->error, "Unhandled");
    assert_int_equal(w->done, 1);
}

static void
log_is_bounded_and_the_tail_is_its_end(void **state)
{
    struct world *w = *state;
    char path[128];
    struct stat st;

    create_python(w, "f",
        "def handler(e, c):\n"
        "    for n in range(9000):\n"
        "        print('%07d' % n + 'x' * 1016)\n");
    assert_string_equal(invoke(w, "f", "{}"), "null");
    assert_true(w->tail.len <= 4096);
    assert_contains((char *)w->tail.ptr, "0008999x");
    (void)snprintf(path, sizeof path, "%s/functions/log/f.log", w->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1, 8 * 1024 * 1024);
    (void)snprintf(path, sizeof path, "%s/functions/log/f.log.1", w->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1, 8 * 1024 * 1024);
}

static void
closing_ends_a_process_that_ignores_the_polite_signal(void **state)
{
    struct world *w = *state;
    pid_t pid;

    create_shell(w, "f", "#!/bin/sh\ntrap '' TERM\n" SHELL_RUNTIME("echo $$"));
    pid = (pid_t)strtol(invoke(w, "f", "{}"), NULL, 10);
    assert_true(pid > 1);
    assert_false(is_gone(pid));
    world_down(w);
    assert_true(is_gone(pid));
    world_up(w);
}

/* ---- side by side, and fair ---- */

static bool
all_are_done(struct world *w)
{
    return w->done == *(int *)w->extra;
}

static void
restart_with(struct world *w, unsigned processes, enum lambda_sandbox sandbox)
{
    world_down(w);
    w->options.processes = processes;
    w->options.sandbox = sandbox;
    world_up(w);
}

static void
invoke_times(struct world *w, const char *name, int times)
{
    struct bm_msg msg = { 0 };

    for (int i = 0; i < times; i++) {
        if (lambda_invoke(w->lambda, name, span_str("{}"), on_done, w, &msg) != BM_OK)
            fail_msg("%s", msg.text);
    }
}

/* Each answers only when three run. */
static void
invocations_run_side_by_side(void **state)
{
    struct world *w = *state;
    int three = 3;

    create_shell(w, "f",
        SHELL_RUNTIME(
            "touch $KEEP/at.$$; until [ $(ls $KEEP | grep -c ^at) -ge 3 ]; do sleep 0.02; "
            "done; echo together"));
    invoke_times(w, "f", 3);
    w->extra = &three;
    UNTIL(w, all_are_done);
    assert_string_equal(w->error, "");
    assert_string_equal(buf_cstr(&w->payload), "together\n");
}

static void
reserved_concurrency_refuses_calls_and_makes_events_wait(void **state)
{
    struct world *w = *state;
    struct registry_function f = { 0 };
    struct bm_msg msg = { 0 };
    int one = 1;

    create_shell(w, "f",
        SHELL_RUNTIME("mkdir $KEEP/busy && rmdir $KEEP/busy && echo \"$event\" >>$KEEP/seen && cat "
                      "$KEEP/seen"));
    assert_int_equal(registry_function_get(w->registry, "f", &f, NULL), BM_OK);
    buf_drop(&f.config, 1);
    {
        struct buf rest = f.config;

        f.config = (struct buf){ 0 };
        buf_addf(&f.config, "{\"ReservedConcurrentExecutions\":1,%s", buf_cstr(&rest));
        buf_fini(&rest);
    }
    assert_int_equal(registry_function_replace(w->registry, &f, NULL), BM_OK);
    lambda_limit(w->lambda, "f");
    invoke_times(w, "f", 1);
    assert_int_equal(
        lambda_invoke(w->lambda, "f", span_str("{}"), on_done, w, &msg), BM_ERR_CONFLICT);
    assert_contains(msg.text, "Rate Exceeded");
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            lambda_invoke_async(w->lambda, "f", span_str("{\"e\":1}"), NULL, &msg), BM_OK);
    w->extra = &one;
    UNTIL(w, all_are_done);
    UNTIL(w, nothing_waits); /* a second process at a time would have failed at mkdir */
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 5);
    registry_function_fini(&f);
}

static size_t
line_of(struct world *w, const char *word)
{
    char path[128];
    struct buf text = { 0 };
    const char *at;
    size_t lines = 0;

    (void)snprintf(path, sizeof path, "%s/order", w->keep);
    assert_int_equal(file_read(path, 65536, &text, NULL), BM_OK);
    at = strstr(buf_cstr(&text), word);
    assert_non_null(at);
    for (const char *c = (const char *)text.ptr; c < at; c++)
        lines += *c == '\n';
    buf_fini(&text);
    return lines;
}

/* Two processes and a long queue in front: the second function gets one of them soon. */
static void
function_with_a_long_queue_leaves_others_their_share(void **state)
{
    struct world *w = *state;
    int all = 41;

    restart_with(w, 2, LAMBDA_SANDBOX_NONE);
    create_shell(w, "many", SHELL_RUNTIME("echo many >>$KEEP/order"));
    create_shell(w, "one", SHELL_RUNTIME("echo one >>$KEEP/order"));
    invoke_times(w, "many", 40);
    invoke_times(w, "one", 1);
    w->extra = &all;
    UNTIL(w, all_are_done);
    assert_in_range(line_of(w, "one"), 0, 20);
}

static void
events_of_one_function_do_not_hold_up_those_of_another(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    restart_with(w, 2, LAMBDA_SANDBOX_NONE);
    create_shell(w, "many", SHELL_RUNTIME("echo many >>$KEEP/order"));
    create_shell(w, "one", SHELL_RUNTIME("echo one >>$KEEP/order"));
    for (int i = 0; i < 200; i++)
        assert_int_equal(lambda_invoke_async(w->lambda, "many", span_str("{}"), NULL, &msg), BM_OK);
    assert_int_equal(lambda_invoke_async(w->lambda, "one", span_str("{}"), NULL, &msg), BM_OK);
    assert_int_equal(registry_commit(w->registry, &msg), BM_OK);
    UNTIL(w, nothing_waits);
    assert_in_range(line_of(w, "one"), 0, 60);
}

/* ---- containment ---- */

static bool
no_scratch_is_left(struct world *w)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/functions/scratch", w->dir);
    return count_files(path) == 0;
}

static void
scratch_folder_goes_with_its_process(void **state)
{
    struct world *w = *state;

    create_shell(w, "f", SHELL_RUNTIME("echo x >$TMPDIR/kept; mkdir -p $HOME/a/b; echo $TMPDIR"));
    assert_contains(invoke(w, "f", "{}"), w->dir);
    assert_false(no_scratch_is_left(w));
    lambda_forget(w->lambda, "f");
    UNTIL(w, no_scratch_is_left);
}

static void
function_that_fills_its_scratch_folder_is_killed(void **state)
{
    static const struct {
        const char *code;
        const char *says;
    } cases[] = {
        { "    for n in range(4):\n"
          "        with open('%s/%d' % (d, n), 'wb') as f: os.posix_fallocate(f.fileno(), 0, 160 "
          "<< "
          "20)\n",
            "more than 512 MB" },
        { "    for n in range(10100): open('%s/%d' % (d, n), 'w').close()\n",
            "more than 10000 files" },
        { "    for n in range(80):\n        os.mkdir('d')\n        os.chdir('d')\n",
            "folders deep" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char code[512];
        char name[8];

        (void)snprintf(name, sizeof name, "f%zu", i);
        (void)snprintf(code, sizeof code,
            "import os, time\ndef handler(e, c):\n    d = os.environ['TMPDIR']\n    os.chdir(d)\n"
            "%s    time.sleep(1000)\n",
            cases[i].code);
        create_python(w, name, code);
        assert_contains(invoke(w, name, "{}"), cases[i].says);
        assert_string_equal(w->error, "Unhandled");
    }
}

static bool
not_root(void)
{
    if (geteuid() == 0)
        return false;
    print_message("skip - SKIPPED: only root can give functions a user of their own\n");
    return true;
}

static void
function_of_root_runs_as_a_user_of_its_own(void **state)
{
    struct world *w = *state;
    struct buf config = { 0 };
    const char *answer;
    long uid;

    if (not_root())
        skip();
    restart_with(w, 0, LAMBDA_SANDBOX_USERS);
    buf_addf(&config,
        "{\"Runtime\":\"provided.al2\",\"Handler\":\"x\",\"Timeout\":30,\"Environment\":{"
        "\"Variables\":{\"STATE\":\"%s\"}}}",
        w->dir);
    create(w, "f", buf_cstr(&config),
        &(struct zip_file_in){ "bootstrap", S_IFREG | 0755,
            SHELL_RUNTIME("id -u; id -G; touch $TMPDIR/own && echo writes; cat $STATE/registry.db "
                          ">/dev/null && echo reads; touch $LAMBDA_TASK_ROOT/x && echo changes; "
                          "cat $LAMBDA_TASK_ROOT/bootstrap >/dev/null && echo sees") });
    answer = invoke(w, "f", "{}");
    uid = strtol(answer, NULL, 10);
    assert_in_range(uid, 60800, 61183);
    assert_contains(answer, "\n60800\nwrites\nsees\n");
    buf_fini(&config);
}

static void
nothing_of_a_function_of_root_outlives_it(void **state)
{
    struct world *w = *state;
    pid_t pid;

    if (not_root())
        skip();
    restart_with(w, 0, LAMBDA_SANDBOX_USERS);
    create_shell(w, "f",
        SHELL_RUNTIME("setsid sh -c 'trap \"\" TERM HUP; echo $$ >$HOME/pid; exec sleep 1000' "
                      ">/dev/null 2>&1 & until [ -s $HOME/pid ]; do sleep 0.02; done; cat "
                      "$HOME/pid"));
    pid = (pid_t)strtol(invoke(w, "f", "{}"), NULL, 10);
    assert_true(pid > 1);
    assert_false(is_gone(pid));
    lambda_forget(w->lambda, "f");
    w->extra = &pid;
    UNTIL(w, extra_pid_is_gone);
}

static void
function_cannot_start_more_processes_than_its_limit(void **state)
{
    struct world *w = *state;
    const char *answer;
    long count;

    restart_with(w, 0, LAMBDA_SANDBOX_USERS);
    create_python(w, "f",
        "import os, time\n"
        "def handler(e, c):\n"
        "    for n in range(2000):\n"
        "        try:\n"
        "            if os.fork() == 0: time.sleep(1000)\n"
        "        except OSError as e:\n"
        "            return n\n"
        "    return 2000\n");
    answer = invoke(w, "f", "{}");
    count = strtol(answer, NULL, 10);
    assert_in_range(count, 1, geteuid() == 0 ? 256 : 1500);
}

static void
bubblewrap_shows_the_function_its_own_files_only(void **state)
{
    struct world *w = *state;
    const char *answer;

    if (system("bwrap --ro-bind / / --unshare-pid true >/dev/null 2>&1") != 0) {
        print_message("skip - SKIPPED: bubblewrap is not installed or may not make namespaces\n");
        skip();
    }
    restart_with(w, 0, LAMBDA_SANDBOX_BWRAP);
    create_shell(w, "f",
        SHELL_RUNTIME("ls -d $KEEP /root /home /var /srv 2>/dev/null; ls -d /proc/[0-9]* | wc -l; "
                      "touch /usr/x 2>/dev/null && echo changes; echo a >$TMPDIR/a; cat /tmp/a"));
    answer = invoke(w, "f", "{}");
    assert_null(strstr(answer, w->keep));
    assert_null(strstr(answer, "/root"));
    assert_null(strstr(answer, "/home"));
    assert_null(strstr(answer, "changes"));
    assert_true(strtol(answer, NULL, 10) < 10); /* processes that it sees */
    assert_contains(answer, "\na\n");
    create_python(w, "g", "def handler(e, c):\n    return e\n");
    assert_string_equal(invoke(w, "g", "{\"a\": 1}"), "{\"a\": 1}");
}

/* ---- asynchronous invocations ---- */

static const uint8_t cert[REGISTRY_ID_LEN] = { 0xce, 0x47 };

static void
add_async(struct world *w, const char *name, const char *payload)
{
    struct bm_msg msg = { 0 };

    if (lambda_invoke_async(w->lambda, name, span_str(payload), cert, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(registry_commit(w->registry, &msg), BM_OK);
}

static void
event_runs_once_and_the_timeline_tells(void **state)
{
    struct world *w = *state;
    struct record_count c;

    create_shell(w, "f", SHELL_RUNTIME("echo \"$event\" >>$KEEP/seen; cat $KEEP/seen"));
    add_async(w, "f", "{\"n\":1}");
    assert_int_equal(waiting(w), 1);
    UNTIL(w, nothing_waits);
    assert_string_equal(invoke(w, "f", "last"), "{\"n\":1}\nlast\n");
    c = records(w, CAUSE_FUNCTION_INVOKED);
    assert_int_equal(c.count, 1);
    assert_true(c.last.has_cert);
    assert_memory_equal(c.last.cert_id, cert, sizeof cert);
    assert_contains(c.last.facts, "function=f");
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 1);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
}

static void
take_letter(void *arg, const struct registry_letter *l)
{
    struct registry_letter *to = arg;

    *to = *l;
    to->payload = to->detail = (struct buf){ 0 };
    buf_add(&to->payload, l->payload.ptr, l->payload.len);
}

static void
failing_event_is_tried_three_times_and_then_given_up(void **state)
{
    struct world *w = *state;
    struct registry_letter letter = { 0 };
    struct record_count c;

    create_python(w, "f", "def handler(e, c):\n    raise ValueError('always')\n");
    add_async(w, "f", "{}");
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_INVOKED).count, 3);
    c = records(w, CAUSE_FUNCTION_FAILED);
    assert_int_equal(c.count, 3);
    assert_contains(c.last.facts, "try=3/3");
    assert_contains(c.last.facts, "given up");
    assert_contains(c.last.facts, "always");
    assert_int_equal(registry_letter_list(w->registry, 10, take_letter, &letter, NULL), BM_OK);
    assert_string_equal(letter.kind, "function");
    assert_string_equal(letter.target, "f");
    assert_contains(letter.cause, "always");
    assert_int_equal(letter.attempts, 3);
    assert_int_equal(strlen(letter.request_id), 36);
    assert_string_equal(buf_cstr(&letter.payload), "{}");
    assert_true(letter.has_cert);
    registry_letter_fini(&letter);
}

static void
second_try_may_succeed(void **state)
{
    struct world *w = *state;

    create_python(w, "f",
        "import os\n"
        "def handler(e, c):\n"
        "    path = os.environ['KEEP'] + '/tried'\n"
        "    if not os.path.exists(path):\n"
        "        open(path, 'w').close()\n"
        "        raise ValueError('first')\n");
    add_async(w, "f", "{}");
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 1);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 1);
}

static bool
home_has_started(struct world *w)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/keep/started", w->dir);
    return access(path, F_OK) == 0;
}

static void
event_that_was_running_at_the_end_runs_again_after_a_restart(void **state)
{
    struct world *w = *state;

    create_python(w, "f",
        "import os, time\n"
        "def handler(e, c):\n"
        "    path = os.environ['KEEP'] + '/started'\n"
        "    if not os.path.exists(path):\n"
        "        open(path, 'w').close()\n"
        "        time.sleep(1000)\n");
    add_async(w, "f", "{}");
    add_async(w, "f", "{}");
    UNTIL(w, home_has_started);
    world_down(w);
    world_up(w);
    assert_int_equal(waiting(w), 2);
    UNTIL(w, nothing_waits);
    assert_int_equal(records(w, CAUSE_FUNCTION_SUCCEEDED).count, 2);
    assert_int_equal(records(w, CAUSE_FUNCTION_FAILED).count, 0);
}

static void
event_for_a_missing_function_is_refused(void **state)
{
    struct world *w = *state;
    struct bm_msg msg = { 0 };

    assert_int_equal(
        lambda_invoke_async(w->lambda, "none", span_str("{}"), NULL, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(waiting(w), 0);
}

/* ---- boto3 and the sample ---- */

#define ID64 "aa11bb22cc33dd44aa11bb22cc33dd44aa11bb22cc33dd44aa11bb22cc33dd44"

struct calls {
    struct http_server *server;
    struct buf seen;
};

static void
on_api_call(void *arg, struct http_request *rq)
{
    struct calls *c = arg;

    buf_addf(&c->seen, "%s %s?%s\n", http_method(rq), http_path(rq), http_query(rq));
    http_reply(rq, 200, "application/json",
        span_str("{\"certificateDescription\":{\"status\":\"PENDING_ACTIVATION\"}}"));
}

static void
python_sample_activates_through_the_endpoint_from_the_environment(void **state)
{
    static const char event[] =
        "{\"certificateId\":\"" ID64 "\",\"awsAccountId\":\"000000000000\",\"timestamp\":1}";
    struct world *w = *state;
    struct calls c = { 0 };
    struct http_options ho = {
        .loop = w->loop, .host = "127.0.0.1", .body_max = 65536, .handler = on_api_call, .arg = &c
    };
    struct buf code = { 0 };
    char url[64];

    assert_int_equal(http_open(&ho, &c.server, NULL), BM_OK);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_port(c.server));
    lambda_set_endpoint(w->lambda, url);
    assert_int_equal(
        file_read(EXAMPLES "/jitr-python/lambda_function.py", 65536, &code, NULL), BM_OK);
    create(w, "jitr",
        "{\"Runtime\":\"python3.11\",\"Handler\":\"lambda_function.lambda_handler\",\"Timeout\":"
        "60}",
        &(struct zip_file_in){ "lambda_function.py", S_IFREG | 0644, buf_cstr(&code) });
    assert_contains(invoke(w, "jitr", event), "\"status\": \"ACTIVE\"");
    assert_string_equal(buf_cstr(&c.seen), "GET /certificates/" ID64 "?\n"
                                           "POST /policies/jitr-device?\n"
                                           "PUT /target-policies/jitr-device?\n"
                                           "PUT /certificates/" ID64 "?newStatus=ACTIVE\n");
    lambda_forget(w->lambda, "jitr");
    http_close(c.server);
    buf_fini(&c.seen);
    buf_fini(&code);
}

/* ---- Node.js ---- */

#define NODE(handler) "{\"Runtime\":\"nodejs20.x\",\"Handler\":\"" handler "\",\"Timeout\":30}"

static bool
without_node(void)
{
    if (access("/usr/bin/node", X_OK) == 0)
        return false;
    print_message("skip - SKIPPED: there is no node on this machine\n");
    return true;
}

static void
node_handlers_of_every_form_answer(void **state)
{
    static const struct {
        const char *file;
        const char *code;
        const char *answer;
        const char *error;
    } cases[] = {
        { "index.js", "exports.handler = async (e, c) => ({ n: e.n + 1, name: c.functionName });",
            "{\"n\":8,\"name\":\"f\"}", "" },
        { "index.mjs", "export const handler = (e) => Promise.resolve([e.n]);", "[7]", "" },
        { "index.cjs", "exports.handler = (e, c, done) => setTimeout(() => done(null, 'late'), 5);",
            "\"late\"", "" },
        { "index.js", "exports.handler = () => {};", "null", "" },
        { "index.js", "exports.handler = (e, c, done) => done(new TypeError('no'));",
            "\"errorType\":\"TypeError\",\"errorMessage\":\"no\"", "Unhandled" },
        { "index.js", "exports.handler = async () => { throw 'text'; };",
            "\"errorMessage\":\"text\"", "Unhandled" },
        { "index.js",
            "exports.handler = async () => { setTimeout(() => { throw new Error('x'); }); "
            "await new Promise(() => {}); };",
            "Runtime.UncaughtException", "Unhandled" },
        { "index.js", "exports.other = 1;", "Runtime.HandlerNotFound", "Unhandled" },
        { "index.js", "require('nosuch');", "Runtime.ImportModuleError", "Unhandled" },
        { "index.js", "syntax error here", "Runtime.UserCodeSyntaxError", "Unhandled" },
    };
    struct world *w = *state;

    if (without_node())
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        create(w, "f", NODE("index.handler"),
            &(struct zip_file_in){ cases[i].file, S_IFREG | 0644, cases[i].code });
        assert_contains(invoke(w, "f", "{\"n\":7}"), cases[i].answer);
        assert_string_equal(w->error, cases[i].error);
        lambda_forget(w->lambda, "f");
        assert_int_equal(registry_function_delete(w->registry, "f", NULL), BM_OK);
    }
}

static void
function_cannot_take_more_than_its_limits(void **state)
{
    struct world *w = *state;

    create_python(w, "f",
        "import os\n"
        "def handler(e, c):\n"
        "    if e['what'] == 'memory':\n"
        "        b = bytearray(1 << 30)\n"
        "    if e['what'] == 'file':\n"
        "        with open(os.environ['TMPDIR'] + '/big', 'wb') as f: f.truncate(600 << 20)\n"
        "    if e['what'] == 'privileges':\n"
        "        return [l for l in open('/proc/self/status') if l.startswith('NoNewPrivs')]\n");
    assert_contains(invoke(w, "f", "{\"what\":\"memory\"}"), "MemoryError");
    assert_contains(invoke(w, "f", "{\"what\":\"file\"}"), "rror");
    assert_contains(invoke(w, "f", "{\"what\":\"privileges\"}"), "NoNewPrivs:\\t1");
}

/* ---- names and permissions ---- */

static void
names_come_out_of_arns(void **state)
{
    static const struct {
        const char *in;
        const char *name; /* NULL: none */
    } cases[] = {
        { "f", "f" },
        { "My-func_1", "My-func_1" },
        { "f:$LATEST", "f" },
        { "function:f", "f" },
        { "000000000000:function:f", "f" },
        { "arn:aws:lambda:us-east-1:000000000000:function:f", "f" },
        { "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST", "f" },
        { "f:1", NULL },
        { "arn:aws:lambda:us-east-1:000000000000:function:f:prod", NULL },
        { "arn:aws:lambda:us-east-1:000000000000:layer:f", NULL },
        { "arn:aws:lambda:us-east-1", NULL },
        { "arn:aws:iot:us-east-1:000000000000:rule/f", NULL },
        { "", NULL },
        { "a/b", NULL },
        { "../f", NULL },
        { "a b", NULL },
        { "12345678901234567890123456789012345678901234567890123456789012345", NULL },
    };
    char name[REGISTRY_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool is = lambda_name_of(cases[i].in, name);

        if (is != (cases[i].name != NULL))
            fail_msg("%s", cases[i].in);
        if (is)
            assert_string_equal(name, cases[i].name);
    }
}

#define STATEMENT(principal, action, condition)                                                    \
    "[{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":" principal ",\"Action\":" action          \
    ",\"Resource\":\"*\"" condition "}]"
#define IOT "{\"Service\":\"iot.amazonaws.com\"}"
#define INVOKE "\"lambda:InvokeFunction\""
#define RULE "arn:aws:iot:us-east-1:000000000000:rule/r"

static void
permission_needs_a_statement_that_fits_in_every_part(void **state)
{
    static const struct {
        const char *permissions;
        bool allowed;
    } cases[] = {
        { STATEMENT(IOT, INVOKE, ",\"Condition\":{\"ArnLike\":{\"AWS:SourceArn\":\"" RULE "\"}}"),
            true },
        { STATEMENT(IOT, INVOKE, ""), true },
        { STATEMENT(IOT, INVOKE,
              ",\"Condition\":{\"ArnLike\":{\"AWS:SourceArn\":\"arn:aws:iot:*:*:rule/*\"}}"),
            true },
        { STATEMENT(IOT, INVOKE,
              ",\"Condition\":{\"StringEquals\":{\"AWS:SourceAccount\":\"000000000000\"},"
              "\"ArnLike\":{\"AWS:SourceArn\":\"" RULE "\"}}"),
            true },
        { "[]", false }, { "", false },
        { STATEMENT("{\"Service\":\"s3.amazonaws.com\"}", INVOKE, ""), false },
        { STATEMENT(IOT, "\"lambda:GetFunction\"", ""), false },
        { STATEMENT(IOT, INVOKE, ",\"Condition\":{\"ArnLike\":{\"AWS:SourceArn\":\"" RULE "2\"}}"),
            false },
        { STATEMENT(IOT, INVOKE,
              ",\"Condition\":{\"StringEquals\":{\"AWS:SourceAccount\":\"111111111111\"}}"),
            false },
        { STATEMENT(IOT, INVOKE, ",\"Condition\":{\"StringLike\":{\"x\":\"*\"}}"), false },
        { STATEMENT(IOT, INVOKE,
              ",\"Condition\":{\"ArnLike\":{\"AWS:SourceArn\":\"arn:aws:iot:us-east-1:*/r\"}}"),
            false }, /* a star does not cross a colon */
    };
    struct world *w = *state;
    struct registry_function f = { 0 };

    create_shell(w, "f", "x");
    assert_int_equal(registry_function_get(w->registry, "f", &f, NULL), BM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bm_msg msg = { 0 };
        enum bm_err err;

        f.permissions.len = 0;
        buf_addf(&f.permissions, "%s", cases[i].permissions);
        assert_int_equal(registry_function_replace(w->registry, &f, NULL), BM_OK);
        err = lambda_permitted(w->lambda, "f", "iot.amazonaws.com", RULE, "000000000000", &msg);
        if (err != (cases[i].allowed ? BM_OK : BM_ERR_DENIED))
            fail_msg("case %zu: %s", i, bm_err_name(err));
        if (!cases[i].allowed)
            assert_contains(msg.text, "aws lambda add-permission --function-name f ");
    }
    registry_function_fini(&f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unpacking_keeps_executable_bits_and_drops_the_others),
        TEST(bootstrap_packed_without_modes_becomes_executable),
        TEST(what_would_leave_the_folder_is_refused_before_anything_is_written),
        TEST(links_stay_inside),
        TEST(broken_archives_are_refused),
        TEST(bomb_is_stopped_by_what_comes_out_of_it),
        TEST(too_many_entries_are_refused),
        TEST(configuration_and_package_must_fit),
        TEST(every_runtime_of_the_table_is_taken),
        TEST(changed_configuration_is_checked_against_the_stored_package),
        TEST(opening_removes_packages_of_no_function_and_keeps_the_others),
        TEST(unpacked_folder_is_made_again_from_the_zip),
        TEST(shell_bootstrap_answers_and_its_log_is_kept),
        TEST(environment_is_the_specified_one_and_nothing_leaks_in),
        TEST(misuse_of_the_runtime_api_is_refused_and_does_no_harm),
        TEST(answer_twice_is_refused),
        TEST(python_handler_gets_event_and_context),
        TEST(python_exception_is_reported_with_its_stack),
        TEST(python_failures_have_names),
        TEST(timeout_ends_the_function_and_what_it_started),
        TEST(process_that_never_asks_for_work_fails_the_invocation),
        TEST(program_that_cannot_start_says_why),
        TEST(process_stays_warm_until_it_is_forgotten),
        TEST(idle_process_is_ended),
        TEST(invocations_queue_in_order),
        TEST(queue_and_payload_are_bounded),
        TEST(deleted_function_fails_what_waits_for_it),
        TEST(log_is_bounded_and_the_tail_is_its_end),
        TEST(closing_ends_a_process_that_ignores_the_polite_signal),
        TEST(invocations_run_side_by_side),
        TEST(reserved_concurrency_refuses_calls_and_makes_events_wait),
        TEST(function_with_a_long_queue_leaves_others_their_share),
        TEST(events_of_one_function_do_not_hold_up_those_of_another),
        TEST(scratch_folder_goes_with_its_process),
        TEST(function_that_fills_its_scratch_folder_is_killed),
        TEST(function_of_root_runs_as_a_user_of_its_own),
        TEST(nothing_of_a_function_of_root_outlives_it),
        TEST(function_cannot_start_more_processes_than_its_limit),
        TEST(bubblewrap_shows_the_function_its_own_files_only),
        TEST(event_runs_once_and_the_timeline_tells),
        TEST(failing_event_is_tried_three_times_and_then_given_up),
        TEST(second_try_may_succeed),
        TEST(event_that_was_running_at_the_end_runs_again_after_a_restart),
        TEST(event_for_a_missing_function_is_refused),
        TEST(node_handlers_of_every_form_answer),
        TEST(function_cannot_take_more_than_its_limits),
        TEST(python_sample_activates_through_the_endpoint_from_the_environment),
        TEST(names_come_out_of_arns),
        TEST(permission_needs_a_statement_that_fits_in_every_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
