/* SPDX-License-Identifier: Apache-2.0 */
/* See workers.h. */
#include "a71chd/workers.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct workers {
    pid_t pids[WORKERS_MAX]; /* 0: has ended */
    size_t left;
    size_t not_ready;
    bool ending;
    int code;
};

static void
end_all(struct workers *w)
{
    w->ending = true;
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (w->pids[i] > 0)
            (void)kill(w->pids[i], SIGTERM);
    }
}

static void
reap(struct workers *w)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < WORKERS_MAX; i++) {
            if (w->pids[i] == pid)
                w->pids[i] = 0;
        }
        w->left--;
        if (w->ending)
            continue;
        if (WIFSIGNALED(status))
            log_error("worker %ld was ended by signal %d; ending the others", (long)pid,
                WTERMSIG(status));
        w->code = 1;
        end_all(w);
    }
}

static void
on_signal(struct workers *w, int fd)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD)
        reap(w);
    else if (!w->ending)
        end_all(w);
}

/* Until all workers have ended. */
static void
watch(struct workers *w, int signals, int ready_fd, void (*ready)(void))
{
    while (w->left > 0) {
        struct pollfd fds[] = { { .fd = signals, .events = POLLIN },
            { .fd = w->not_ready > 0 ? ready_fd : -1, .events = POLLIN } };
        char bytes[WORKERS_MAX];
        ssize_t n;

        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            on_signal(w, signals);
        if (fds[1].revents == 0)
            continue;
        n = read(ready_fd, bytes, w->not_ready);
        if (n <= 0) { /* those that are not ready are ending */
            w->not_ready = 0;
            continue;
        }
        w->not_ready -= (size_t)n;
        if (w->not_ready == 0 && !w->ending)
            ready();
    }
}

static _Noreturn void
be_worker(pid_t parent, const sigset_t *mask, worker_fn fn, void *arg, size_t index, int ready_fd)
{
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        exit(1);
    exit(fn(arg, index, ready_fd));
}

int
workers_run(size_t count, worker_fn fn, void *arg, void (*ready)(void))
{
    struct workers w = { .not_ready = count };
    pid_t parent = getpid();
    sigset_t set;
    sigset_t old;
    int signals;
    int pipe_fds[2];

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, &old) != 0 ||
        (signals = signalfd(-1, &set, SFD_CLOEXEC)) < 0) {
        log_error("cannot wait for signals: %s", strerror(errno));
        return 1;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        log_error("cannot make a pipe: %s", strerror(errno));
        (void)close(signals);
        return 1;
    }
    for (size_t i = 0; i < count && w.code == 0; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            (void)close(signals);
            (void)close(pipe_fds[0]);
            be_worker(parent, &old, fn, arg, i, pipe_fds[1]);
        }
        if (pid < 0) {
            log_error("cannot start a worker: %s", strerror(errno));
            w.code = 1;
            end_all(&w);
        } else {
            w.pids[i] = pid;
            w.left++;
        }
    }
    (void)close(pipe_fds[1]);
    watch(&w, signals, pipe_fds[0], ready);
    (void)close(pipe_fds[0]);
    (void)close(signals);
    return w.code;
}
