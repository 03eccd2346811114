/* SPDX-License-Identifier: Apache-2.0 */
/* See tasks.h; proc(5) for the files. What ends while it is looked at is not there. */
#include "lambda/tasks.h"

#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_MAX = 4096, ENVIRONMENT_MAX = 128 * 1024, LOOKS = 20, SIGKILL_BIT = 1 << (9 - 1) };

struct task {
    pid_t pid;
    uid_t uid;
    pid_t session;
    uint64_t bytes;
    bool dying; /* SIGKILL has reached it; on a busy machine it may take long to end */
};

typedef void (*task_fn)(void *arg, int proc, const struct task *task);

/* A small file below /proc, terminated; false when it cannot be read. */
static bool
read_file(int proc, pid_t pid, const char *name, char *out, size_t cap, size_t *len)
{
    char path[64];
    size_t at = 0;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof path, "%d/%s", pid, name);
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (at < cap - 1 && (n = read(fd, out + at, cap - 1 - at)) > 0)
        at += (size_t)n;
    (void)close(fd);
    out[at] = '\0';
    *len = at;
    return at > 0;
}

/* The number after "Name:" at the start of a line; 0 when there is none. */
static uint64_t
number_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static bool
read_task(int proc, pid_t pid, struct task *out)
{
    char text[STATUS_MAX];
    const char *pending;
    size_t len;

    if (!read_file(proc, pid, "status", text, sizeof text, &len) ||
        strstr(text, "\nState:\tZ") != NULL) /* it only waits to be reaped */
        return false;
    pending = strstr(text, "\nSigPnd:");
    *out = (struct task){ .pid = pid,
        .uid = (uid_t)number_of(text, "\nUid:"),
        .session = (pid_t)number_of(text, "\nNSsid:"),
        .dying = pending != NULL && (strtoull(pending + 8, NULL, 16) & SIGKILL_BIT) != 0,
        .bytes = 1024 * (number_of(text, "\nRssAnon:") + number_of(text, "\nRssShmem:") +
                            number_of(text, "\nVmSwap:")) };
    return true;
}

static void
each_task(task_fn fn, void *arg)
{
    DIR *d = opendir("/proc");

    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct task task;

        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
            read_task(dirfd(d), (pid_t)strtol(e->d_name, NULL, 10), &task))
            fn(arg, dirfd(d), &task);
    }
    if (d != NULL)
        (void)closedir(d);
}

/* ---- whose ---- */

/* TMPDIR is what we gave it, and what it starts inherits it. */
static bool
environment_names(const char *env, size_t len, const char *scratch)
{
    static const char name[] = "TMPDIR=";

    for (const char *at = env; at < env + len; at += strlen(at) + 1) {
        if (strncmp(at, name, strlen(name)) == 0)
            return strcmp(at + strlen(name), scratch) == 0;
    }
    return false;
}

static struct task_group *
group_of(struct task_group *groups, size_t count, int proc, const struct task *task)
{
    static char env[ENVIRONMENT_MAX]; /* one thread; too large for a stack */
    size_t len = 0;
    bool looked = false;

    for (size_t i = 0; i < count; i++) {
        struct task_group *g = &groups[i];

        if (g->uid != 0 ? task->uid == g->uid : g->session > 0 && task->session == g->session)
            return g;
    }
    if (task->uid != geteuid() || task->pid == getpid())
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (groups[i].uid != 0)
            continue;
        if (!looked && !read_file(proc, task->pid, "environ", env, sizeof env, &len))
            return NULL;
        looked = true;
        if (environment_names(env, len, groups[i].scratch))
            return &groups[i];
    }
    return NULL;
}

/* ---- memory ---- */

struct measuring {
    struct task_group *groups;
    size_t count;
};

static void
add_bytes(void *arg, int proc, const struct task *task)
{
    struct measuring *m = arg;
    struct task_group *g = group_of(m->groups, m->count, proc, task);

    if (g != NULL)
        g->bytes += task->bytes;
}

void
tasks_measure(struct task_group *groups, size_t count)
{
    struct measuring m = { groups, count };

    for (size_t i = 0; i < count; i++)
        groups[i].bytes = 0;
    if (count > 0)
        each_task(add_bytes, &m);
}

struct members {
    struct task_group group;
    struct buf pids;
};

static void
add_member(void *arg, int proc, const struct task *task)
{
    struct members *m = arg;

    if (group_of(&m->group, 1, proc, task) != NULL)
        buf_add(&m->pids, &task->pid, sizeof task->pid);
}

/* What has ended has nothing; what we may not read (root without CAP_SYS_PTRACE) counts in full. */
static uint64_t
divided_bytes(int proc, pid_t pid)
{
    struct task task;
    char text[STATUS_MAX];
    size_t len;

    if (read_file(proc, pid, "smaps_rollup", text, sizeof text, &len))
        return 1024 * (number_of(text, "\nPss_Anon:") + number_of(text, "\nPss_Shmem:") +
                          number_of(text, "\nSwapPss:"));
    return read_task(proc, pid, &task) ? task.bytes : 0;
}

uint64_t
tasks_divided(const struct task_group *group)
{
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct members m = { .group = *group };
    uint64_t sum = 0;
    pid_t pid;

    each_task(add_member, &m);
    for (size_t at = 0; proc >= 0 && at < m.pids.len; at += sizeof pid) {
        memcpy(&pid, m.pids.ptr + at, sizeof pid);
        sum += divided_bytes(proc, pid);
    }
    if (proc >= 0)
        (void)close(proc);
    buf_fini(&m.pids);
    return sum;
}

/* ---- the end ---- */

struct killing {
    struct task_group group;
    size_t found;
};

/* The descriptor first: what it means cannot become another process after the look. */
static void
kill_task(void *arg, int proc, const struct task *task)
{
    struct killing *k = arg;
    struct task now;
    int fd;

    if (task->dying || group_of(&k->group, 1, proc, task) == NULL)
        return;
    fd = pidfd_open(task->pid, 0);
    if (fd >= 0 && read_task(proc, task->pid, &now) && group_of(&k->group, 1, proc, &now) != NULL &&
        pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0)
        k->found++;
    if (fd >= 0)
        (void)close(fd);
}

void
tasks_kill(const struct task_group *group)
{
    struct killing k = { *group, 1 };

    for (int i = 0; i < LOOKS && k.found > 0; i++) {
        k.found = 0;
        each_task(kill_task, &k);
    }
}

unsigned
tasks_of_user(uid_t uid)
{
    DIR *d = opendir("/proc");
    unsigned count = 0;

    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[300];
        struct stat st;

        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        (void)snprintf(path, sizeof path, "%s/task", e->d_name);
        if (fstatat(dirfd(d), path, &st, 0) == 0 && st.st_uid == uid && st.st_nlink > 2)
            count += (unsigned)st.st_nlink - 2;
    }
    if (d != NULL)
        (void)closedir(d);
    return count;
}
