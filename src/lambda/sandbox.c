/* SPDX-License-Identifier: Apache-2.0 */
/* See sandbox.h. */
#include "lambda/sandbox.h"

#include "base/file.h"
#include "base/log.h"
#include "lambda/tasks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACES "/var/tmp/birthmark-functions."
#define BWRAP "/usr/bin/bwrap"

enum { SCRATCH_DEPTH_MAX = 64, RUNTIME_MAX = 1024 * 1024 };

/* ---- the place below /var/tmp ---- */

static int
lock_of(const char *place)
{
    char path[PATH_MAX + 8];
    int fd;

    (void)snprintf(path, sizeof path, "%s/lock", place);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* Places of clouds that died. One that is being made has no lock yet and is empty for a moment. */
static void
remove_old_places(void)
{
    const char *base = strrchr(PLACES, '/') + 1;
    DIR *d = opendir("/var/tmp");

    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];
        char lock[PATH_MAX + 8];
        struct stat st;
        int fd;

        if (strncmp(e->d_name, base, strlen(base)) != 0)
            continue;
        (void)snprintf(path, sizeof path, "/var/tmp/%s", e->d_name);
        (void)snprintf(lock, sizeof lock, "%s/lock", path);
        if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
            access(lock, F_OK) != 0)
            continue;
        fd = lock_of(path);
        if (fd < 0)
            continue;
        (void)dir_remove(path, NULL);
        (void)close(fd);
    }
    if (d != NULL)
        (void)closedir(d);
}

/* Not durable: a place is made anew at each start. */
static enum bm_err
copy_runtime(const char *from, const char *to, const char *name, struct bm_msg *msg)
{
    char path[PATH_MAX + 32];
    struct buf text = { 0 };
    enum bm_err err;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", from, name);
    err = file_read(path, RUNTIME_MAX, &text, msg);
    if (err == BM_OK) {
        (void)snprintf(path, sizeof path, "%s/%s", to, name);
        *strrchr(path, '/') = '\0';
        (void)mkdir(to, 0755);
        (void)mkdir(path, 0755);
        path[strlen(path)] = '/';
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 || fd_write_all(fd, buf_span(&text)) != BM_OK || fchmod(fd, 0644) != 0)
            err = bm_fail(msg, BM_ERR_IO, "cannot write %s: %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
    }
    buf_fini(&text);
    return err;
}

/* Reachable for the users of functions, who are all of this group, and for nobody else. */
static enum bm_err
make_place(struct sandbox *s, const char *runtime_dir, struct bm_msg *msg)
{
    mode_t mask;
    enum bm_err err;

    remove_old_places();
    (void)snprintf(s->place, sizeof s->place, "%sXXXXXX", PLACES);
    if (mkdtemp(s->place) == NULL)
        return bm_fail(
            msg, BM_ERR_IO, "cannot make a folder for functions in /var/tmp: %s", strerror(errno));
    s->own_place = true;
    s->lock = lock_of(s->place);
    if (s->lock < 0 || chown(s->place, 0, SANDBOX_UID_FIRST) != 0 || chmod(s->place, 0710) != 0)
        return bm_fail(
            msg, BM_ERR_IO, "cannot give %s to functions: %s", s->place, strerror(errno));
    (void)snprintf(s->runtimes, sizeof s->runtimes, "%.*s/runtimes", PATH_MAX - 16, s->place);
    mask = umask(022);
    err = copy_runtime(runtime_dir, s->runtimes, "python3/bootstrap.py", msg);
    if (err == BM_OK)
        err = copy_runtime(runtime_dir, s->runtimes, "nodejs/bootstrap.mjs", msg);
    (void)umask(mask);
    return err;
}

/* Root in a container may lack the right. */
static bool
can_change_user(void)
{
    pid_t pid = geteuid() == 0 ? fork() : -1;
    int status = 1;

    if (pid == 0)
        _exit(setgroups(0, NULL) != 0 ||
              setresgid(SANDBOX_UID_FIRST, SANDBOX_UID_FIRST, SANDBOX_UID_FIRST) != 0 ||
              setresuid(SANDBOX_UID_FIRST, SANDBOX_UID_FIRST, SANDBOX_UID_FIRST) != 0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (geteuid() == 0 && status != 0)
        log_warn("functions run as root: this root may not become another user (CAP_SETUID)");
    return status == 0;
}

enum bm_err
sandbox_open(enum lambda_sandbox kind, const char *dir, const char *runtime_dir, struct sandbox *s,
    struct bm_msg *msg)
{
    char path[PATH_MAX + 16];
    enum bm_err err = BM_OK;

    *s = (struct sandbox){ .kind = kind == LAMBDA_SANDBOX_AUTO ? LAMBDA_SANDBOX_USERS : kind,
        .own_users = kind != LAMBDA_SANDBOX_NONE && can_change_user(),
        .lock = -1 };
    if (kind == LAMBDA_SANDBOX_BWRAP && access(BWRAP, X_OK) != 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "there is no %s; install the package bubblewrap, or leave --sandbox out", BWRAP);
    (void)snprintf(s->place, sizeof s->place, "%s", dir);
    (void)snprintf(s->runtimes, sizeof s->runtimes, "%s", runtime_dir);
    if (s->own_users)
        err = make_place(s, runtime_dir, msg);
    (void)snprintf(path, sizeof path, "%s/scratch", s->place);
    if (err == BM_OK)
        err = dir_remove(path, msg);
    if (err == BM_OK && (mkdir(path, 0711) != 0 || chmod(path, 0711) != 0))
        err = bm_fail(msg, BM_ERR_IO, "cannot make folder %s: %s", path, strerror(errno));
    if (err == BM_OK && s->kind == LAMBDA_SANDBOX_USERS) {
        s->mounts = mounts_probe(path);
        if (s->mounts == MOUNTS_SHARED)
            log_info("functions see the machine's files as they are, /tmp too: mount namespaces "
                     "are not allowed here");
    }
    return err;
}

void
sandbox_close(struct sandbox *s)
{
    char path[PATH_MAX + 16];

    if (s->place[0] == '\0')
        return;
    (void)snprintf(path, sizeof path, "%s/scratch", s->place);
    (void)dir_remove(s->own_place ? s->place : path, NULL);
    if (s->lock >= 0)
        (void)close(s->lock);
    *s = (struct sandbox){ 0 };
}

/* ---- user ids ---- */

/* As that user, kill(-1) reaches all of its processes at once, and no other's. */
static void
kill_user(uid_t uid)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) != 0 || setresuid(uid, uid, uid) != 0)
            _exit(1);
        (void)kill(-1, SIGKILL);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* The socket's name is taken as long as it is open, by whatever process on this machine. */
static int
claim_user(uid_t uid)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int len = snprintf(&a.sun_path[1], sizeof a.sun_path - 1, "birthmark-user-%u", (unsigned)uid);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 &&
        bind(fd, (const struct sockaddr *)&a,
            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)len) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static enum bm_err
take_user(struct seat *seat, struct bm_msg *msg)
{
    for (uid_t uid = SANDBOX_UID_FIRST; uid <= SANDBOX_UID_LAST; uid++) {
        seat->claim = claim_user(uid);
        if (seat->claim < 0)
            continue;
        kill_user(uid); /* what a cloud that died has left */
        if (tasks_of_user(uid) == 0) {
            seat->uid = uid;
            return BM_OK;
        }
        (void)close(seat->claim); /* killed, but nobody has reaped them yet: they count */
    }
    return bm_fail(msg, BM_ERR_LIMIT,
        "all user ids for functions (%d to %d) are in use; end other clouds on this machine, or "
        "start with --sandbox none",
        SANDBOX_UID_FIRST, SANDBOX_UID_LAST);
}

/* ---- seats ---- */

enum bm_err
seat_take(struct sandbox *s, struct seat *seat, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    *seat = (struct seat){ .claim = -1, .tasks_max = SANDBOX_TASKS_MAX };
    if (s->own_users)
        err = take_user(seat, msg);
    else if (geteuid() != 0)
        seat->tasks_max +=
            tasks_of_user(geteuid()) + SANDBOX_TASKS_MAX; /* the others come and go */
    if (err == BM_OK && snprintf(seat->scratch, sizeof seat->scratch, "%s/scratch/%u", s->place,
                            s->count++) >= (int)sizeof seat->scratch)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", s->place);
    if (err == BM_OK &&
        (mkdir(seat->scratch, 0700) != 0 ||
            (seat->uid != 0 && chown(seat->scratch, seat->uid, SANDBOX_UID_FIRST) != 0)))
        err = bm_fail(msg, BM_ERR_IO, "cannot make folder %s: %s", seat->scratch, strerror(errno));
    if (err != BM_OK)
        seat_leave(seat);
    return err;
}

void
seat_leave(struct seat *seat)
{
    if (seat->uid != 0) {
        kill_user(seat->uid);
        (void)close(seat->claim);
    } else if (seat->leader > 0) {
        tasks_kill(&(struct task_group){ .session = seat->leader, .scratch = seat->scratch });
    }
    seat->uid = 0;
    seat->leader = 0;
}

struct measure {
    size_t files;
    uint64_t blocks; /* of 512 bytes */
};

/* false: there is too much already. Other file systems, links and what vanishes are not followed.
 */
static bool
measure_folder(int parent, const char *name, int depth, struct measure *m)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    bool fits = true;

    if (d == NULL && fd >= 0)
        (void)close(fd);
    for (const struct dirent *e; fits && d != NULL && (e = readdir(d)) != NULL;) {
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        m->files++;
        m->blocks += (uint64_t)st.st_blocks;
        fits = m->files <= SANDBOX_FILES_MAX && m->blocks <= SANDBOX_SCRATCH_MB * 2048ULL;
        if (fits && S_ISDIR(st.st_mode))
            fits = depth < SCRATCH_DEPTH_MAX && measure_folder(fd, e->d_name, depth + 1, m);
    }
    if (d != NULL)
        (void)closedir(d);
    return fits;
}

const char *
seat_excess(const struct seat *seat, char out[128])
{
    struct measure m = { 0 };

    if (measure_folder(AT_FDCWD, seat->scratch, 0, &m))
        return NULL;
    if (m.blocks > SANDBOX_SCRATCH_MB * 2048ULL)
        (void)snprintf(out, 128, "its temporary folder has more than %d MB", SANDBOX_SCRATCH_MB);
    else if (m.files > SANDBOX_FILES_MAX)
        (void)snprintf(out, 128, "its temporary folder has more than %d files", SANDBOX_FILES_MAX);
    else
        (void)snprintf(
            out, 128, "its temporary folder is more than %d folders deep", SCRATCH_DEPTH_MAX);
    return out;
}

/* ---- bubblewrap ---- */

void
sandbox_wrap(const struct sandbox *s, const struct seat *seat, const char *task_root,
    char *const *argv, const char *out[SANDBOX_WRAP_MAX])
{
    /* clang-format off */
    const char *const wrap[] = { BWRAP, "--die-with-parent", "--unshare-pid", "--unshare-ipc",
        "--unshare-uts", "--unshare-cgroup-try", "--ro-bind", "/usr", "/usr",
        "--ro-bind-try", "/bin", "/bin", "--ro-bind-try", "/lib", "/lib",
        "--ro-bind-try", "/lib64", "/lib64", "--ro-bind", "/etc", "/etc",
        "--proc", "/proc", "--dev", "/dev", "--bind", seat->scratch, "/tmp",
        "--bind", seat->scratch, seat->scratch, "--ro-bind", task_root, task_root,
        "--ro-bind", s->runtimes, s->runtimes, "--chdir", task_root, "--" };
    /* clang-format on */
    size_t n = 0;

    for (size_t i = 0; s->kind == LAMBDA_SANDBOX_BWRAP && i < sizeof wrap / sizeof *wrap; i++)
        out[n++] = wrap[i];
    for (size_t i = 0; argv[i] != NULL && n + 1 < SANDBOX_WRAP_MAX; i++)
        out[n++] = argv[i];
    out[n] = NULL;
}
