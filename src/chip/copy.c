/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the chip, see chip.h. A snapshot is a file of the memory's own format, sealed under the
 * same file key, so whatever reads one reads the other, and checks it as hard.
 */
#include "base/file.h"
#include "chip/chip.h"
#include "chip/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char suffix[] = ".nvm";

static bool
is_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);

    return len >= 1 && len <= CHIP_NAME_MAX && name[0] != '.' && strspn(name, allowed) == len;
}

static enum bm_err
check_name(const char *name, struct bm_msg *msg)
{
    if (!is_name(name))
        return bm_fail(msg, BM_ERR_ARG,
            "a snapshot's name has 1 to %d letters, digits, dots, - and _, and begins with no dot",
            CHIP_NAME_MAX);
    return BM_OK;
}

/* The snapshots' folder, or with a name the file in it. */
static enum bm_err
path_of(const struct chip *c, const char *name, char out[PATH_MAX], struct bm_msg *msg)
{
    int n;

    if (c->dir == NULL)
        return bm_fail(msg, BM_ERR_CONFLICT, "this chip has no folder for snapshots");
    n = snprintf(out, PATH_MAX, "%s/snapshots%s%s%s", c->dir, name != NULL ? "/" : "",
        name != NULL ? name : "", name != NULL ? suffix : "");
    return n < PATH_MAX ? BM_OK : bm_fail(msg, BM_ERR_ARG, "path too long: %s", c->dir);
}

enum bm_err
chip_snapshot(struct chip *c, const char *name, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct buf file = { 0 };
    enum bm_err err = check_name(name, msg);

    if (err == BM_OK && chip_save(c) != BM_OK)
        err = bm_fail(msg, BM_ERR_IO, "cannot write the chip's counts; is there space?");
    if (err == BM_OK)
        err = path_of(c, NULL, path, msg);
    if (err == BM_OK)
        err = dir_make(path, 0700, msg);
    if (err == BM_OK)
        err = path_of(c, name, path, msg);
    if (err == BM_OK && nvm_export(c->nvm, &file) != BM_OK)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK)
        err = file_write(path, buf_span(&file), 0600, msg);
    buf_fini(&file);
    return err;
}

/* A chip in memory as the snapshot describes it: everything is looked at before anything changes.
 */
static enum bm_err
open_snapshot(
    struct chip *c, const char *path, struct nvm_mem *mem, struct chip **out, struct bm_msg *msg)
{
    struct bm_msg why = { "" };
    enum bm_err err = file_read(path, NVM_FILE_MAX, &mem->bytes, msg);

    if (err != BM_OK)
        return err;
    err = nvm_key(c->nvm, mem->key, msg);
    if (err != BM_OK)
        return err;
    mem->has_key = true;
    err = chip_open_store_shared(nvm_store_mem(mem), c->lib, out, &why);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "%s: %s", path, why.text);
}

static void
swap_keys(struct ec_key *a, struct ec_key *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ec_key k = a[i];

        a[i] = b[i];
        b[i] = k;
    }
}

/* Take over what `from` is, durably. */
static enum bm_err
become(struct chip *c, struct chip *from, struct bm_msg *msg)
{
    enum bm_err err = nvm_set_image(c->nvm, nvm_read(from->nvm, 0, IMG_LEN));

    if (err != BM_OK)
        return bm_fail(msg, err, "cannot write the chip's memory; is there space?");
    swap_keys(c->pairs, from->pairs, CHIP_PAIRS);
    swap_keys(c->pubs, from->pubs, CHIP_PUBS);
    c->stats = c->saved = from->stats;
    c->power_cycles++;
    return BM_OK;
}

enum bm_err
chip_restore(struct chip *c, const char *name, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct nvm_mem mem = { 0 };
    struct chip *from = NULL;
    struct stat st;
    enum bm_err err = check_name(name, msg);

    if (err == BM_OK)
        err = path_of(c, name, path, msg);
    if (err == BM_OK && stat(path, &st) != 0 && errno == ENOENT)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "there is no snapshot %s", name);
    if (err == BM_OK)
        err = open_snapshot(c, path, &mem, &from, msg);
    if (err == BM_OK)
        err = become(c, from, msg);
    chip_close(from);
    buf_fini(&mem.bytes);
    bm_wipe(mem.key, sizeof mem.key);
    return err;
}

enum bm_err
chip_fork(struct chip *c, const char *dir, struct bm_msg *msg)
{
    struct nvm_store store;
    struct nvm *to = NULL;
    struct bm_msg why = { "" };
    enum bm_err err = nvm_store_dir(dir, NULL, &store, msg);

    if (err != BM_OK)
        return err;
    err = nvm_open(store, c->lib, IMG_LEN, &to, &why);
    if (err == BM_ERR_INPUT || (err == BM_OK && !nvm_fresh(to)))
        err = bm_fail(msg, BM_ERR_EXISTS, "%s holds a chip already; name a new folder", dir);
    else if (err != BM_OK)
        err = bm_fail(msg, err, "%s: %s", dir, why.text);
    if (err == BM_OK && nvm_set_image(to, nvm_read(c->nvm, 0, IMG_LEN)) != BM_OK)
        err = bm_fail(msg, BM_ERR_IO, "cannot write %s/nvm; is there space?", dir);
    nvm_close(to);
    return err;
}

static int
compare(const void *a, const void *b)
{
    return strcmp(((const struct chip_copy *)a)->name, ((const struct chip_copy *)b)->name);
}

enum bm_err
chip_snapshots(const struct chip *c, struct chip_copy **out, size_t *count, struct bm_msg *msg)
{
    char path[PATH_MAX];
    struct buf all = { 0 };
    struct dirent *e;
    DIR *list;
    enum bm_err err = path_of(c, NULL, path, msg);

    *out = NULL;
    *count = 0;
    if (err != BM_OK)
        return err;
    list = opendir(path);
    if (list == NULL)
        return errno == ENOENT
                   ? BM_OK
                   : bm_fail(msg, BM_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    while ((e = readdir(list)) != NULL) {
        size_t len = strlen(e->d_name);
        size_t end = sizeof suffix - 1;
        struct chip_copy copy = { 0 };
        struct stat st;

        if (len <= end || len - end > CHIP_NAME_MAX || strcmp(&e->d_name[len - end], suffix) != 0)
            continue;
        memcpy(copy.name, e->d_name, len - end);
        if (!is_name(copy.name) || fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        copy.made = st.st_mtime;
        buf_add(&all, &copy, sizeof copy);
    }
    (void)closedir(list);
    if (all.failed) {
        buf_fini(&all);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    *out = (struct chip_copy *)(void *)all.ptr;
    *count = all.len / sizeof **out;
    if (*count > 0)
        qsort(*out, *count, sizeof **out, compare);
    return BM_OK;
}
