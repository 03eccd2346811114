/* SPDX-License-Identifier: Apache-2.0 */
/* See sim.h. */
#include "host/sim.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { CHILD_FD = 3, END_TIMEOUT_MS = 5000 };

/* The a71chd in the folder of this program; false: there is none. */
static bool
beside_us(char out[PATH_MAX])
{
    static const char name[] = "a71chd";
    ssize_t len = readlink("/proc/self/exe", out, PATH_MAX - sizeof name);
    char *slash;

    if (len <= 0)
        return false;
    out[len] = '\0';
    slash = strrchr(out, '/');
    if (slash == NULL)
        return false;
    memcpy(&slash[1], name, sizeof name);
    return access(out, X_OK) == 0;
}

static const char *
program(char room[PATH_MAX])
{
    const char *named = secure_getenv("A71CHD");

    if (named != NULL && named[0] != '\0')
        return named;
    return beside_us(room) ? room : "a71chd";
}

/* Its end of the pair is descriptor 3; nothing else of ours reaches it, no signal of a terminal. */
static int
spawn(const char *path, const char *dir, int fd, pid_t *pid)
{
    char folder[PATH_MAX];
    char name[] = "a71chd";
    char sim[] = "--sim";
    char client[] = "--client";
    char number[] = "3";
    char *const argv[] = { name, sim, folder, client, number, NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    int rc;

    (void)snprintf(folder, sizeof folder, "%s", dir);
    (void)sigemptyset(&none);
    if (posix_spawn_file_actions_init(&files) != 0 || posix_spawnattr_init(&attr) != 0)
        return ENOMEM;
    rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, fd, CHILD_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, CHILD_FD + 1);
    if (rc == 0)
        rc = posix_spawnp(pid, path, &files, &attr, argv, environ);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

enum bm_err
sim_open(struct link *l, const char *dir, struct bm_msg *msg)
{
    char room[PATH_MAX];
    const char *path = program(room);
    int pair[2];
    int rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        l->sys_errno = errno;
        return bm_fail(msg, BM_ERR_IO, "cannot make a socket pair: %s", strerror(errno));
    }
    if (pair[1] == CHILD_FD) { /* dup2 to itself would leave it closed on exec */
        int other = fcntl(pair[1], F_DUPFD_CLOEXEC, CHILD_FD + 1);

        (void)close(pair[1]);
        pair[1] = other;
    }
    rc = spawn(path, dir, pair[1], &l->server);
    if (pair[1] >= 0)
        (void)close(pair[1]);
    l->fd = pair[0];
    if (rc == 0 && fd_prepare(l->fd) == BM_OK)
        return BM_OK;
    l->server = rc == 0 ? l->server : 0;
    l->sys_errno = rc;
    link_close(l);
    return bm_fail(msg, BM_ERR_IO,
        "cannot start %s for %s (%s); install it, or set A71CHD to where it is", path, l->name,
        strerror(rc));
}

void
sim_end(struct link *l)
{
    int64_t deadline = clock_mono_ms() + END_TIMEOUT_MS;
    pid_t pid = l->server;
    pid_t rc;

    l->server = 0;
    while ((rc = waitpid(pid, NULL, WNOHANG)) == 0 || (rc < 0 && errno == EINTR)) {
        if (clock_mono_ms() >= deadline)
            (void)kill(pid, SIGKILL); /* a chip that hangs on purpose */
        (void)poll(NULL, 0, 2);
    }
}
