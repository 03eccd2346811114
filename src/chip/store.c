/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two media of nvm.h. In a folder: `nvm` and `key` (mode 0600), with `.new` behind the name
 * while one is being written, and `lock`, which holds the owner's process number for the message to
 * a second opener.
 */
#include "chip/nvm.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many of `len` bytes still get written; fewer than all when power goes off in this write. */
static size_t
powered(struct nvm_cut *cut, size_t len)
{
    if (cut == NULL || !cut->armed)
        return len;
    if (cut->off)
        return 0;
    if (cut->write > 0) {
        cut->write--;
        return len;
    }
    cut->off = true;
    return cut->byte < len ? cut->byte : len;
}

static bool
power_off(const struct nvm_cut *cut)
{
    return cut != NULL && (cut->worn || (cut->armed && cut->off));
}

struct dir_store {
    char dir[PATH_MAX];
    int dir_fd;
    int lock_fd;
    int file_fd; /* `nvm` for appending, -1 until it exists */
    struct nvm_cut *cut;
};

static void
dir_close(void *arg)
{
    struct dir_store *d = arg;

    if (d->file_fd >= 0)
        (void)close(d->file_fd);
    if (d->lock_fd >= 0)
        (void)close(d->lock_fd);
    if (d->dir_fd >= 0)
        (void)close(d->dir_fd);
    free(d);
}

/* One allocation of the file's size: a growing buffer would leave copies of keys on the heap. */
static enum bm_err
read_whole(int fd, struct buf *out)
{
    struct stat st;
    uint8_t *to;
    ssize_t n;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return BM_ERR_IO;
    if (st.st_size > NVM_FILE_MAX)
        return BM_ERR_LIMIT;
    to = buf_reserve(out, (size_t)st.st_size + 1);
    if (to == NULL)
        return BM_ERR_MEM;
    n = pread(fd, to, (size_t)st.st_size, 0); /* regular file under our lock: never short */
    if (n != st.st_size)
        return BM_ERR_IO;
    out->len += (size_t)n;
    return BM_OK;
}

static enum bm_err
dir_load(void *arg, struct buf *out, struct bm_msg *msg)
{
    struct dir_store *d = arg;
    enum bm_err err;

    (void)unlinkat(d->dir_fd, "nvm.new", 0); /* replacements that were cut short */
    (void)unlinkat(d->dir_fd, "key.new", 0);
    d->file_fd = openat(d->dir_fd, "nvm", O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (d->file_fd < 0 && errno == ENOENT)
        return BM_ERR_NOT_FOUND;
    if (d->file_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open it: %s", strerror(errno));
    err = read_whole(d->file_fd, out);
    if (err == BM_ERR_LIMIT)
        return bm_fail(msg, BM_ERR_INPUT, "it is longer than a chip's memory can be");
    if (err != BM_OK)
        return bm_fail(msg, err, "cannot read it: %s", strerror(errno));
    return BM_OK;
}

static enum bm_err
dir_append(void *arg, struct span data)
{
    struct dir_store *d = arg;
    size_t len;

    if (power_off(d->cut) || d->file_fd < 0)
        return BM_ERR_IO;
    len = powered(d->cut, data.len);
    if (fd_write_all(d->file_fd, span_of(data.ptr, len)) != BM_OK || power_off(d->cut))
        return BM_ERR_IO;
    return fdatasync(d->file_fd) == 0 ? BM_OK : BM_ERR_IO;
}

/* Write NAME.new, sync, rename to NAME; `*fd` is the new file, open. */
static enum bm_err
replace_file(struct dir_store *d, const char *name, struct span data, int *fd)
{
    char tmp[16];
    size_t len;

    if (power_off(d->cut))
        return BM_ERR_IO;
    (void)snprintf(tmp, sizeof tmp, "%s.new", name);
    *fd = openat(
        d->dir_fd, tmp, O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return BM_ERR_IO;
    len = powered(d->cut, data.len);
    if (fd_write_all(*fd, span_of(data.ptr, len)) != BM_OK || len != data.len || fsync(*fd) != 0 ||
        renameat(d->dir_fd, tmp, d->dir_fd, name) != 0) {
        (void)close(*fd);
        *fd = -1;
        return BM_ERR_IO;
    }
    return BM_OK;
}

static enum bm_err
dir_replace(void *arg, struct span data)
{
    struct dir_store *d = arg;
    int fd;

    if (replace_file(d, "nvm", data, &fd) != BM_OK)
        return BM_ERR_IO;
    if (d->file_fd >= 0)
        (void)close(d->file_fd);
    d->file_fd = fd;
    return fsync(d->dir_fd) == 0 && !power_off(d->cut) ? BM_OK : BM_ERR_IO;
}

static enum bm_err
dir_key(void *arg, uint8_t key[SEAL_KEY_LEN], struct bm_msg *msg)
{
    struct dir_store *d = arg;
    struct stat st;
    int fd = openat(d->dir_fd, "key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok;

    if (fd < 0 && errno == ENOENT)
        return BM_ERR_NOT_FOUND;
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open the file key beside it: %s", strerror(errno));
    ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == SEAL_KEY_LEN &&
         read(fd, key, SEAL_KEY_LEN) == SEAL_KEY_LEN;
    (void)close(fd);
    return ok ? BM_OK
              : bm_fail(msg, BM_ERR_INPUT, "the file `key` beside it has not %d bytes",
                    (int)SEAL_KEY_LEN);
}

static enum bm_err
dir_put_key(void *arg, const uint8_t key[SEAL_KEY_LEN])
{
    struct dir_store *d = arg;
    int fd;

    if (replace_file(d, "key", span_of(key, SEAL_KEY_LEN), &fd) != BM_OK)
        return BM_ERR_IO;
    (void)close(fd);
    return fsync(d->dir_fd) == 0 && !power_off(d->cut) ? BM_OK : BM_ERR_IO;
}

static bool
ours(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lock") == 0 ||
           strcmp(name, "nvm.new") == 0 || strcmp(name, "key") == 0 || strcmp(name, "key.new") == 0;
}

/* A folder without `nvm` must be empty: nobody wants a chip in the home folder by a typing error.
 */
static enum bm_err
check_is_chip(const struct dir_store *d, struct bm_msg *msg)
{
    DIR *list;
    struct dirent *e;
    enum bm_err err = BM_OK;

    if (faccessat(d->dir_fd, "nvm", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return BM_OK;
    list = opendir(d->dir);
    if (list == NULL)
        return bm_fail(msg, BM_ERR_IO, "cannot read folder %s: %s", d->dir, strerror(errno));
    while (err == BM_OK && (e = readdir(list)) != NULL) {
        if (!ours(e->d_name))
            err = bm_fail(msg, BM_ERR_INPUT,
                "folder %s holds %s but no chip; name a new or empty folder", d->dir, e->d_name);
    }
    (void)closedir(list);
    return err;
}

static enum bm_err
take_lock(struct dir_store *d, struct bm_msg *msg)
{
    char owner[24] = { 0 };

    d->lock_fd = openat(d->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s/lock: %s", d->dir, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return bm_fail(msg, BM_ERR_IO, "cannot lock %s/lock: %s", d->dir, strerror(errno));
        if (pread(d->lock_fd, owner, sizeof owner - 1, 0) <= 0)
            owner[0] = '?';
        return bm_fail(msg, BM_ERR_CONFLICT,
            "the chip in %s is already open in process %.*s; stop that one or name another folder",
            d->dir, (int)strcspn(owner, "\n"), owner);
    }
    (void)snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, owner, strlen(owner), 0) < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot write %s/lock: %s", d->dir, strerror(errno));
    return BM_OK;
}

enum bm_err
nvm_store_dir(const char *dir, struct nvm_cut *cut, struct nvm_store *out, struct bm_msg *msg)
{
    struct dir_store *d;
    enum bm_err err = dir_make(dir, 0700, msg);

    if (err != BM_OK)
        return err;
    d = calloc(1, sizeof *d);
    if (d == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    d->lock_fd = d->file_fd = -1;
    d->cut = cut;
    (void)snprintf(d->dir, sizeof d->dir, "%s", dir); /* dir_make refused longer ones */
    d->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir_fd < 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot open folder %s: %s", dir, strerror(errno));
    if (err == BM_OK)
        err = check_is_chip(d, msg); /* before the lock file is put there */
    if (err == BM_OK)
        err = take_lock(d, msg);
    if (err != BM_OK) {
        dir_close(d);
        return err;
    }
    *out =
        (struct nvm_store){ d, dir_load, dir_append, dir_replace, dir_key, dir_put_key, dir_close };
    return BM_OK;
}

static enum bm_err
mem_load(void *arg, struct buf *out, struct bm_msg *msg)
{
    const struct nvm_mem *m = arg;

    if (m->bytes.len == 0)
        return BM_ERR_NOT_FOUND;
    buf_add(out, m->bytes.ptr, m->bytes.len);
    return out->failed ? bm_fail(msg, BM_ERR_MEM, "out of memory") : BM_OK;
}

static enum bm_err
mem_append(void *arg, struct span data)
{
    struct nvm_mem *m = arg;

    if (power_off(&m->cut))
        return BM_ERR_IO;
    buf_add(&m->bytes, data.ptr, powered(&m->cut, data.len));
    return power_off(&m->cut) ? BM_ERR_IO : m->bytes.failed ? BM_ERR_MEM : BM_OK;
}

static enum bm_err
mem_replace(void *arg, struct span data)
{
    struct nvm_mem *m = arg;

    if (power_off(&m->cut) || powered(&m->cut, data.len) < data.len)
        return BM_ERR_IO; /* the rename has not happened */
    m->bytes.len = 0;
    buf_add(&m->bytes, data.ptr, data.len);
    return power_off(&m->cut) ? BM_ERR_IO : m->bytes.failed ? BM_ERR_MEM : BM_OK;
}

static enum bm_err
mem_key(void *arg, uint8_t key[SEAL_KEY_LEN], struct bm_msg *msg)
{
    const struct nvm_mem *m = arg;

    (void)msg;
    memcpy(key, m->key, SEAL_KEY_LEN);
    return m->has_key ? BM_OK : BM_ERR_NOT_FOUND;
}

static enum bm_err
mem_put_key(void *arg, const uint8_t key[SEAL_KEY_LEN])
{
    struct nvm_mem *m = arg;

    if (power_off(&m->cut) || powered(&m->cut, SEAL_KEY_LEN) < SEAL_KEY_LEN)
        return BM_ERR_IO;
    memcpy(m->key, key, SEAL_KEY_LEN);
    m->has_key = true;
    return power_off(&m->cut) ? BM_ERR_IO : BM_OK;
}

static void
mem_close(void *arg)
{
    (void)arg;
}

struct nvm_store
nvm_store_mem(struct nvm_mem *mem)
{
    return (struct nvm_store){ mem, mem_load, mem_append, mem_replace, mem_key, mem_put_key,
        mem_close };
}
