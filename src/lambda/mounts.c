/* SPDX-License-Identifier: Apache-2.0 */
/* See mounts.h. mount_setattr(2) is called by its number: C libraries before 2.36 do not have it.
 */
#include "lambda/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define TMP "/tmp"

enum { ATTR_RDONLY = 1, RECURSIVE = 0x8000 /* AT_RECURSIVE */ };

struct attributes { /* struct mount_attr of the kernel */
    uint64_t set, clear, propagation, user_fd;
};

static bool
set_read_only(const char *path, bool on)
{
    struct attributes a = { .set = on ? ATTR_RDONLY : 0, .clear = on ? 0 : ATTR_RDONLY };

#ifdef SYS_mount_setattr
    return syscall(SYS_mount_setattr, AT_FDCWD, path, on ? RECURSIVE : 0, &a, sizeof a) == 0;
#else
    (void)path;
    (void)a;
    errno = ENOSYS;
    return false;
#endif
}

static bool
write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        (void)close(fd);
    return written;
}

/* The user stays who it is: no right over the files of others comes with the namespace. */
static bool
enter_user_namespace(void)
{
    char users[48];
    char groups[48];

    (void)snprintf(users, sizeof users, "%u %u 1", geteuid(), geteuid());
    (void)snprintf(groups, sizeof groups, "%u %u 1", getegid(), getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/uid_map", users) &&
           write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", groups);
}

static bool
bind(const char *from, const char *to)
{
    return mount(from, to, NULL, MS_BIND, NULL) == 0;
}

bool
mounts_enter(enum mounts kind, const char *scratch)
{
    bool below_tmp = strncmp(scratch, TMP "/", strlen(TMP "/")) == 0;

    if (kind == MOUNTS_SHARED)
        return true;
    if (kind == MOUNTS_OWN_AS_USER ? !enter_user_namespace() : unshare(CLONE_NEWNS) != 0)
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && bind(scratch, scratch) &&
           bind(below_tmp ? TMP : scratch, TMP) && set_read_only("/", true) &&
           set_read_only(TMP, false) &&
           /* this path leads through the /tmp above, where it is not a mount of its own */
           (below_tmp || set_read_only(scratch, false));
}

static bool
works(enum mounts kind, const char *scratch)
{
    pid_t pid = fork();
    int status = 1;

    if (pid == 0)
        _exit(mounts_enter(kind, scratch) ? 0 : 1);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0;
}

enum mounts
mounts_probe(const char *scratch)
{
    if (geteuid() == 0)
        return works(MOUNTS_OWN, scratch) ? MOUNTS_OWN : MOUNTS_SHARED;
    return works(MOUNTS_OWN_AS_USER, scratch) ? MOUNTS_OWN_AS_USER : MOUNTS_SHARED;
}
