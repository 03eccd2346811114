/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of containment: what a function cannot do to the machine and to others. */
#include "lambda/tasks.h"
#include "lambda_world.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

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

/* Each child takes less than a process may, together they take more. */
static void
children_that_take_too_much_memory_together_are_killed(void **state)
{
    static const enum lambda_sandbox kinds[] = { LAMBDA_SANDBOX_NONE, LAMBDA_SANDBOX_USERS };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        restart_with(w, 0, kinds[i]);
        create_python(w, "f",
            "import os, time\n"
            "def handler(e, c):\n"
            "    for n in range(6):\n"
            "        if os.fork() == 0:\n"
            "            if n % 2: os.setsid()\n"
            "            mine = b'x' * (100 << 20)\n"
            "            time.sleep(1000)\n"
            "    time.sleep(1000)\n");
        assert_contains(invoke(w, "f", "{}"), "use more than 256 MB of memory together");
        assert_contains(buf_cstr(&w->payload), "Runtime.OutOfMemory");
        assert_string_equal(w->error, "Unhandled");
        assert_contains(invoke(w, "f", "{}"), "Runtime.OutOfMemory"); /* it is started again */
    }
}

static void
memory_that_children_share_counts_once(void **state)
{
    struct world *w = *state;

    restart_with(w, 0, LAMBDA_SANDBOX_USERS);
    create_python(w, "f",
        "import os, time\n"
        "def handler(e, c):\n"
        "    mine = b'x' * (100 << 20)\n"
        "    pids = []\n"
        "    for n in range(6):\n"
        "        pids.append(os.fork())\n"
        "        if pids[-1] == 0:\n"
        "            time.sleep(1)\n" /* some looks */
        "            os._exit(0)\n"
        "    for p in pids: os.waitpid(p, 0)\n"
        "    return 'held %d' % (len(mine) >> 20)\n");
    assert_contains(invoke(w, "f", "{}"), "held 100");
}

enum { MB = 1 << 20, SHARED_MB = 8, SHARERS = 200, OWN_MB = 64 };

static void
take(size_t size)
{
    (void)mmap(
        NULL, size * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

/* A session: children that share what their parent has, and then it takes something of its own. */
_Noreturn static void
share(int ready)
{
    pid_t parent = getpid();

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setsid();
    take(SHARED_MB);
    for (int i = 0; i < SHARERS; i++) {
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            while (getppid() == parent)
                (void)pause();
            _exit(0);
        }
    }
    take(OWN_MB);
    (void)!write(ready, "x", 1);
    for (;;)
        (void)pause();
}

/* The first, with the most, says nothing of how much the others share. */
static void
memory_of_one_does_not_count_for_those_that_share(void **state)
{
    struct task_group group = { .scratch = "/nowhere" };
    uint64_t divided;
    int ready[2];
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    group.session = fork();
    if (group.session == 0)
        share(ready[1]);
    assert_true(group.session > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    tasks_measure(&group, 1);
    divided = tasks_divided(&group);
    (void)kill(-group.session, SIGKILL);
    assert_int_equal(waitpid(group.session, NULL, 0), group.session);
    assert_in_range(group.bytes, (uint64_t)SHARERS * SHARED_MB * MB, UINT64_MAX);
    assert_in_range(divided, (SHARED_MB + OWN_MB) * MB, 2 * (SHARED_MB + OWN_MB) * MB);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* Where the kernel lets us make mounts; the place of functions of a plain user is below /tmp here.
 */
static void
tmp_is_the_scratch_folder_and_all_else_is_read_only(void **state)
{
    struct world *w = *state;
    const char *answer;

    if (not_root())
        skip();
    if (system("unshare -m true 2>/dev/null") != 0) {
        print_message("skip - SKIPPED: mount namespaces are not allowed here\n");
        skip();
    }
    restart_with(w, 0, LAMBDA_SANDBOX_USERS);
    create_shell(w, "f",
        SHELL_RUNTIME("echo a >/tmp/a; cat $TMPDIR/a; for d in /var/tmp /dev/shm; do echo b "
                      ">$d/birthmark-test && echo writes; done; ls -d $KEEP && echo sees; "
                      "echo c >/dev/null && echo devices"));
    answer = invoke(w, "f", "{}");
    assert_string_equal(answer, "a\ndevices\n");
    assert_int_equal(access("/tmp/a", F_OK), -1);
    create_python(w, "g",
        "import os, time\n"
        "def handler(e, c):\n"
        "    for n in range(4):\n"
        "        with open('/tmp/%d' % n, 'wb') as f: os.posix_fallocate(f.fileno(), 0, 160 << "
        "20)\n"
        "    time.sleep(1000)\n");
    assert_contains(invoke(w, "g", "{}"), "more than 512 MB");
}

static void
what_went_into_the_background_ends_with_its_function(void **state)
{
    struct world *w = *state;
    pid_t pid;

    restart_with(w, 0, LAMBDA_SANDBOX_NONE);
    create_shell(w, "f",
        SHELL_RUNTIME("(setsid sh -c 'trap \"\" TERM HUP; echo $$ >$HOME/pid; exec sleep 1000' "
                      ">/dev/null 2>&1 &); until [ -s $HOME/pid ]; do sleep 0.02; done; cat "
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(scratch_folder_goes_with_its_process),
        IN_WORLD(function_that_fills_its_scratch_folder_is_killed),
        IN_WORLD(function_of_root_runs_as_a_user_of_its_own),
        IN_WORLD(nothing_of_a_function_of_root_outlives_it),
        IN_WORLD(children_that_take_too_much_memory_together_are_killed),
        IN_WORLD(memory_that_children_share_counts_once),
        cmocka_unit_test(memory_of_one_does_not_count_for_those_that_share),
        IN_WORLD(tmp_is_the_scratch_folder_and_all_else_is_read_only),
        IN_WORLD(what_went_into_the_background_ends_with_its_function),
        IN_WORLD(function_cannot_start_more_processes_than_its_limit),
        IN_WORLD(bubblewrap_shows_the_function_its_own_files_only),
        IN_WORLD(function_cannot_take_more_than_its_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
