/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See process.h. A pidfd tells the loop that the child ended; before it is reaped its group is
 * killed (the zombie still holds the number, so the signal cannot hit a stranger). A failed exec
 * comes back over a pipe that closes when exec succeeds, so process_start knows the cause at once.
 */
#include "lambda/process.h"

#include "base/file.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_MAX = 512 * 1024 * 1024, FILES_MAX = 1024 }; /* as the service: 512 MB of /tmp */
enum { EXEC_FD = 3, READ_CHUNK = 16384, NOTE_MAX = 512 };

struct process {
    struct loop *loop;
    pid_t pid;
    int pid_fd;
    int out_fd;
    int log_fd;
    size_t log_len;
    struct loop_watch *pid_watch;
    struct loop_watch *out_watch;
    struct buf tail;
    char log_path[PATH_MAX];
    void (*exited)(void *arg, int wait_status);
    void *arg;
};

/* ---- the child's side, between fork and exec: only async-signal-safe calls ---- */

static void
child_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool
child_descriptors(int out, int exec_fd)
{
    int null = open("/dev/null", O_RDONLY);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0)
        return false;
    if (exec_fd != EXEC_FD && dup3(exec_fd, EXEC_FD, O_CLOEXEC) < 0)
        return false;
    return close_range(EXEC_FD + 1, ~0U, 0) == 0;
}

/* When memory is short on the machine, functions go before services. Only upwards needs no right.
 */
static void
child_goes_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    (void)!write(fd, "500", 3);
    (void)close(fd);
}

static void
child_limits(const struct process_options *o)
{
    rlim_t data = o->memory_mb > 0 ? (rlim_t)o->memory_mb * 1024 * 1024 : RLIM_INFINITY;

    if (o->tasks_max > 0)
        (void)setrlimit(RLIMIT_NPROC, &(struct rlimit){ o->tasks_max, o->tasks_max });
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)setrlimit(RLIMIT_FSIZE, &(struct rlimit){ FILE_MAX, FILE_MAX });
    (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){ FILES_MAX, FILES_MAX });
    (void)setrlimit(RLIMIT_DATA, &(struct rlimit){ data, data });
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

_Noreturn static void
child_main(const struct process_options *o, pid_t parent, int out, int exec_fd)
{
    bool good;
    int cause;

    (void)setsid(); /* and with it a group */
    child_signals();
    child_goes_first();
    child_limits(o);
    good = mounts_enter(o->mounts, o->scratch);
    if (good && o->uid != 0)
        good = setgroups(0, NULL) == 0 && setresgid(o->gid, o->gid, o->gid) == 0 &&
               setresuid(o->uid, o->uid, o->uid) == 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user would take it back */
    if (getppid() != parent)
        _exit(126); /* it died before the line above */
    if (good && child_descriptors(out, exec_fd)) {
        exec_fd = EXEC_FD;
        if (chdir(o->cwd) == 0)
            (void)execve(
                o->argv[0], (char *const *)(uintptr_t)o->argv, o->envp); /* writes to none */
    }
    cause = errno;
    (void)!write(exec_fd, &cause, sizeof cause);
    _exit(126);
}

/* ---- output ---- */

static void
open_log(struct process *p)
{
    struct stat st;

    p->log_fd = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    p->log_len = p->log_fd >= 0 && fstat(p->log_fd, &st) == 0 ? (size_t)st.st_size : 0;
    if (p->log_fd < 0)
        log_warn("cannot open the function's log path=%s cause=%s", p->log_path, strerror(errno));
}

static void
rotate_log(struct process *p)
{
    char old[PATH_MAX + 2];

    (void)snprintf(old, sizeof old, "%s.1", p->log_path);
    if (p->log_fd >= 0)
        (void)close(p->log_fd);
    (void)rename(p->log_path, old);
    open_log(p);
}

static void
take_output(struct process *p, struct span data)
{
    if (p->log_len + data.len > PROCESS_LOG_MAX)
        rotate_log(p);
    if (p->log_fd >= 0 && fd_write_all(p->log_fd, data) == BM_OK)
        p->log_len += data.len;
    buf_add(&p->tail, data.ptr, data.len);
    if (p->tail.failed)
        buf_fini(&p->tail); /* without memory the tail is what is lost */
    if (p->tail.len > PROCESS_TAIL_MAX)
        buf_drop(&p->tail, p->tail.len - PROCESS_TAIL_MAX);
}

/* One read; false when there is nothing now or never again. */
static bool
read_output(struct process *p)
{
    uint8_t chunk[READ_CHUNK];
    ssize_t n;

    if (p->out_fd < 0)
        return false;
    n = read(p->out_fd, chunk, sizeof chunk);
    if (n > 0) {
        take_output(p, span_of(chunk, (size_t)n));
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    loop_remove(p->loop, p->out_watch);
    p->out_watch = NULL;
    (void)close(p->out_fd);
    p->out_fd = -1;
    return false;
}

/* Bounded, because a process may write faster than we read. */
static void
drain(struct process *p)
{
    for (int i = 0; i < 64 && read_output(p); i++)
        continue;
}

static void
on_output(void *arg, uint32_t events)
{
    (void)events;
    (void)read_output(arg);
}

void
process_tail_reset(struct process *p)
{
    drain(p);
    p->tail.len = 0;
}

void
process_note(struct process *p, const char *fmt, ...)
{
    char line[NOTE_MAX];
    va_list ap;
    int n;

    drain(p);
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0)
        take_output(p, span_of(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1));
}

struct span
process_tail(struct process *p)
{
    drain(p);
    return buf_span(&p->tail);
}

/* ---- end ---- */

void
process_status_text(int wait_status, char *out, size_t cap)
{
    if (WIFSIGNALED(wait_status)) {
        const char *name = sigdescr_np(WTERMSIG(wait_status));

        if (name == NULL)
            name = "unknown";
        (void)snprintf(out, cap, "signal: %c%s", tolower((unsigned char)*name), &name[1]);
    } else if (WEXITSTATUS(wait_status) != 0) {
        (void)snprintf(out, cap, "exit status %d", WEXITSTATUS(wait_status));
    } else {
        out[0] = '\0';
    }
}

static int
reap(struct process *p)
{
    int status = 0;

    (void)kill(-p->pid, SIGKILL);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    p->pid = -1;
    return status;
}

static void
on_exit_event(void *arg, uint32_t events)
{
    struct process *p = arg;
    int status = reap(p);

    (void)events;
    loop_remove(p->loop, p->pid_watch);
    p->pid_watch = NULL;
    drain(p);
    p->exited(p->arg, status); /* may free p */
}

pid_t
process_id(const struct process *p)
{
    return p->pid;
}

void
process_signal(const struct process *p, int signo)
{
    if (p->pid > 0)
        (void)kill(-p->pid, signo);
}

bool
process_wait(struct process *p, int64_t timeout_ms)
{
    struct pollfd pfd = { .fd = p->pid_fd, .events = POLLIN };

    return p->pid < 0 || poll(&pfd, 1, (int)timeout_ms) == 1;
}

void
process_free(struct process *p)
{
    if (p == NULL)
        return;
    if (p->pid > 0)
        (void)reap(p);
    loop_remove(p->loop, p->pid_watch);
    loop_remove(p->loop, p->out_watch);
    if (p->pid_fd >= 0)
        (void)close(p->pid_fd);
    if (p->out_fd >= 0)
        (void)close(p->out_fd);
    if (p->log_fd >= 0)
        (void)close(p->log_fd);
    buf_fini(&p->tail);
    free(p);
}

/* ---- start ---- */

static enum bm_err
fork_child(struct process *p, const struct process_options *o, struct bm_msg *msg)
{
    int out[2] = { -1, -1 };
    int exec[2] = { -1, -1 };
    pid_t parent = getpid();
    int cause = 0;
    ssize_t n;
    enum bm_err err = BM_OK;

    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(exec, O_CLOEXEC) != 0) {
        err = bm_fail(msg, BM_ERR_IO, "cannot make a pipe: %s", strerror(errno));
        goto out;
    }
    p->pid = fork();
    if (p->pid < 0) {
        err = bm_fail(msg, BM_ERR_IO, "cannot start a process: %s", strerror(errno));
        goto out;
    }
    if (p->pid == 0)
        child_main(o, parent, out[1], exec[1]);
    (void)close(exec[1]);
    exec[1] = -1;
    while ((n = read(exec[0], &cause, sizeof cause)) < 0 && errno == EINTR)
        continue;
    if (n > 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot run %s: %s", o->argv[0], strerror(cause));
    p->out_fd = out[0];
    out[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        if (out[i] >= 0)
            (void)close(out[i]);
        if (exec[i] >= 0)
            (void)close(exec[i]);
    }
    return err;
}

enum bm_err
process_start(const struct process_options *options, struct process **out, struct bm_msg *msg)
{
    struct process *p = calloc(1, sizeof *p);
    enum bm_err err;

    *out = NULL;
    if (p == NULL)
        return BM_ERR_MEM;
    p->loop = options->loop;
    p->exited = options->exited;
    p->arg = options->arg;
    p->pid = p->pid_fd = p->out_fd = p->log_fd = -1;
    (void)snprintf(p->log_path, sizeof p->log_path, "%s", options->log_path);
    open_log(p);
    err = fork_child(p, options, msg);
    if (err != BM_OK)
        goto fail;
    p->pid_fd = pidfd_open(p->pid, 0);
    if (p->pid_fd < 0 || fd_prepare(p->out_fd) != BM_OK) {
        err = bm_fail(msg, BM_ERR_IO, "cannot watch the process: %s", strerror(errno));
        goto fail;
    }
    p->pid_watch = loop_add(p->loop, p->pid_fd, EPOLLIN, on_exit_event, p);
    p->out_watch = loop_add(p->loop, p->out_fd, EPOLLIN, on_output, p);
    if (p->pid_watch == NULL || p->out_watch == NULL) {
        err = BM_ERR_MEM;
        goto fail;
    }
    *out = p;
    return BM_OK;
fail:
    process_free(p);
    return err;
}
