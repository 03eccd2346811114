/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of one function's process and the Runtime API it speaks (shell scripts with curl), of
 * names and permissions. */
#include "http/http.h"

#include "lambda_world.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(shell_bootstrap_answers_and_its_log_is_kept),
        IN_WORLD(environment_is_the_specified_one_and_nothing_leaks_in),
        IN_WORLD(misuse_of_the_runtime_api_is_refused_and_does_no_harm),
        IN_WORLD(answer_twice_is_refused),
        IN_WORLD(timeout_ends_the_function_and_what_it_started),
        IN_WORLD(process_that_never_asks_for_work_fails_the_invocation),
        IN_WORLD(program_that_cannot_start_says_why),
        IN_WORLD(process_stays_warm_until_it_is_forgotten),
        IN_WORLD(idle_process_is_ended),
        IN_WORLD(log_is_bounded_and_the_tail_is_its_end),
        IN_WORLD(closing_ends_a_process_that_ignores_the_polite_signal),
        IN_WORLD(names_come_out_of_arns),
        IN_WORLD(permission_needs_a_statement_that_fits_in_every_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
