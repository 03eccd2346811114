/* SPDX-License-Identifier: Apache-2.0 */
/* See job.h. The way back is a pipe: a struct head, then what the work made. */
#include "lambda/job.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAY_BACK = 3, READ_CHUNK = 4096 };

struct head {
    enum bm_err err;
    struct bm_msg msg;
};

struct job {
    struct loop *loop;
    pid_t pid;
    int fd;
    struct loop_watch *watch;
    struct buf answer;
    job_done_fn done;
    void *arg;
};

_Noreturn static void
child_main(pid_t parent, int fd, job_work_fn work, void *arg)
{
    struct head head = { BM_ERR_INTERNAL, { "" } };
    struct buf out = { 0 };

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || (fd != WAY_BACK && dup2(fd, WAY_BACK) < 0) ||
        close_range(WAY_BACK + 1, ~0U, 0) != 0)
        _exit(1);
    (void)umask(022); /* packages say who may read; the folders above say who may reach them */
    head.err = work(arg, &out, &head.msg);
    if (out.failed)
        head.err = BM_ERR_MEM;
    if (fd_write_all(WAY_BACK, span_of((const uint8_t *)&head, sizeof head)) != BM_OK ||
        (out.len > 0 && fd_write_all(WAY_BACK, buf_span(&out)) != BM_OK))
        _exit(1);
    _exit(0);
}

static void
job_free(struct job *j)
{
    loop_remove(j->loop, j->watch);
    if (j->fd >= 0)
        (void)close(j->fd);
    while (j->pid > 0 && waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    buf_fini(&j->answer);
    free(j);
}

/* The other end is closed: all that the child said is here, and it is at its end. */
static void
finish(struct job *j)
{
    struct head head = { BM_ERR_INTERNAL, { "" } };
    job_done_fn done = j->done;
    void *arg = j->arg;
    struct buf answer = j->answer;
    struct span out = { 0 };

    j->answer = (struct buf){ 0 };
    job_free(j);
    if (!answer.failed && answer.len >= sizeof head) {
        memcpy(&head, answer.ptr, sizeof head);
        out = span_of(answer.ptr + sizeof head, answer.len - sizeof head);
    } else {
        (void)bm_fail(&head.msg, BM_ERR_INTERNAL, "the process for it died; see the log");
    }
    done(arg, head.err, &head.msg, out);
    buf_fini(&answer);
}

static void
on_answer(void *arg, uint32_t events)
{
    struct job *j = arg;
    uint8_t chunk[READ_CHUNK];
    ssize_t n = read(j->fd, chunk, sizeof chunk);

    (void)events;
    if (n > 0)
        buf_add(&j->answer, chunk, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        finish(j);
}

enum bm_err
job_start(struct loop *loop, job_work_fn work, void *work_arg, job_done_fn done, void *done_arg,
    struct job **out, struct bm_msg *msg)
{
    struct job *j = calloc(1, sizeof *j);
    int fds[2] = { -1, -1 };
    pid_t parent = getpid();

    *out = NULL;
    if (j == NULL)
        return BM_ERR_MEM;
    *j = (struct job){ .loop = loop, .pid = -1, .fd = -1, .done = done, .arg = done_arg };
    if (pipe2(fds, O_CLOEXEC) == 0)
        j->pid = fork();
    if (j->pid == 0)
        child_main(parent, fds[1], work, work_arg);
    if (fds[1] >= 0)
        (void)close(fds[1]);
    j->fd = fds[0];
    if (j->pid > 0 && fd_prepare(j->fd) == BM_OK)
        j->watch = loop_add(loop, j->fd, EPOLLIN, on_answer, j);
    if (j->watch == NULL) {
        enum bm_err err = bm_fail(msg, BM_ERR_IO, "cannot start a process: %s", strerror(errno));

        job_cancel(j);
        return err;
    }
    *out = j;
    return BM_OK;
}

void
job_cancel(struct job *j)
{
    if (j == NULL)
        return;
    if (j->pid > 0)
        (void)kill(j->pid, SIGKILL);
    job_free(j);
}
