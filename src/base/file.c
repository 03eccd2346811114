/* SPDX-License-Identifier: Apache-2.0 */
/* See file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum bm_err
file_read(const char *path, size_t max, struct buf *out, struct bm_msg *msg)
{
    size_t had = out->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    enum bm_err err = BM_OK;

    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    do {
        uint8_t *to = buf_reserve(out, 16384);

        if (to == NULL) {
            err = bm_fail(msg, BM_ERR_MEM, "%s: out of memory", path);
            break;
        }
        n = read(fd, to, 16384);
        if (n > 0)
            out->len += (size_t)n;
        if (n < 0 && errno != EINTR)
            err = bm_fail(msg, BM_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (out->len - had > max)
            err = bm_fail(msg, BM_ERR_LIMIT, "%s is longer than %zu bytes", path, max);
    } while (err == BM_OK && n != 0);
    (void)close(fd);
    return err;
}

enum bm_err
fd_write_all(int fd, struct span data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return BM_ERR_IO;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return BM_OK;
}

static enum bm_err
sync_folder_of(const char *path)
{
    char dir[PATH_MAX];
    char *slash;
    int fd;
    int rc;

    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir)
        return BM_ERR_IO;
    slash = strrchr(dir, '/');
    if (slash == NULL)
        (void)snprintf(dir, sizeof dir, ".");
    else
        slash[slash == dir ? 1 : 0] = '\0';
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return BM_ERR_IO;
    rc = fsync(fd);
    (void)close(fd);
    return rc == 0 ? BM_OK : BM_ERR_IO;
}

/* Put the temporary file in its place: over what is there, or only when nothing is. */
static bool
put_in_place(const char *tmp, const char *path, bool replace)
{
    if (replace)
        return rename(tmp, path) == 0;
    if (link(tmp, path) != 0)
        return false;
    (void)unlink(tmp);
    return true;
}

static enum bm_err
write_whole(const char *path, struct span data, mode_t mode, bool replace, struct bm_msg *msg)
{
    char tmp[PATH_MAX];
    int fd;
    bool ok;

    if (snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid()) >= (int)sizeof tmp)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", path);
    /* a file planted under this name would keep its owner and mode: make ours or fail */
    (void)unlink(tmp);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot create %s: %s", tmp, strerror(errno));
    ok = fd_write_all(fd, data) == BM_OK && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && put_in_place(tmp, path, replace) && sync_folder_of(path) == BM_OK;
    if (!ok) {
        int cause = errno;

        (void)unlink(tmp);
        if (cause == EEXIST)
            return bm_fail(msg, BM_ERR_EXISTS, "%s is there already, and is left as it is", path);
        return bm_fail(msg, BM_ERR_IO, "cannot write %s: %s", path, strerror(cause));
    }
    return BM_OK;
}

enum bm_err
file_write(const char *path, struct span data, mode_t mode, struct bm_msg *msg)
{
    return write_whole(path, data, mode, true, msg);
}

enum bm_err
file_create(const char *path, struct span data, mode_t mode, struct bm_msg *msg)
{
    return write_whole(path, data, mode, false, msg);
}

static enum bm_err
make_one(const char *path, mode_t mode, struct bm_msg *msg)
{
    if (mkdir(path, mode) != 0)
        return errno == EEXIST
                   ? BM_OK
                   : bm_fail(msg, BM_ERR_IO, "cannot make folder %s: %s", path, strerror(errno));
    if (sync_folder_of(path) != BM_OK)
        return bm_fail(
            msg, BM_ERR_IO, "cannot sync the folder above %s: %s", path, strerror(errno));
    return BM_OK;
}

enum bm_err
dir_make(const char *path, mode_t mode, struct bm_msg *msg)
{
    char part[PATH_MAX];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", path);
    for (char *p = part + 1; *p != '\0'; p++) {
        enum bm_err err;

        if (*p != '/')
            continue;
        *p = '\0';
        err = make_one(part, mode, msg);
        if (err != BM_OK)
            return err;
        *p = '/';
    }
    return make_one(part, mode, msg);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

enum bm_err
dir_remove(const char *path, struct bm_msg *msg)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return bm_fail(msg, BM_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    return BM_OK;
}

enum bm_err
fd_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return BM_ERR_IO;
    return BM_OK;
}
