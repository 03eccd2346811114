/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See code.h. A folder appears under its final name by one rename, after all its files are on disk,
 * so a folder that is there is whole.
 */
#include "lambda/code.h"

#include "base/file.h"
#include "lambda/lambda.h"
#include "lambda/package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "FOLDER/<sha256><suffix>" */
static enum bm_err
store_path(char out[PATH_MAX], const char *folder, const uint8_t sha256[32], const char *suffix,
    struct bm_msg *msg)
{
    char hex[65];

    hex_encode(hex, sha256, 32);
    if (snprintf(out, PATH_MAX, "%s/%s%s", folder, hex, suffix) < PATH_MAX)
        return BM_OK;
    return bm_fail(msg, BM_ERR_ARG, "path too long: %s", folder);
}

static bool
is_folder(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- cleaning ---- */

static void
note_used(void *arg, const struct registry_function *f)
{
    buf_add(arg, f->code_sha256, sizeof f->code_sha256);
}

/* Is this "<sha256>" or "<sha256>.zip" of a package that no function has, or a torn upload? */
static bool
is_waste(const char *name, const struct buf *used)
{
    uint8_t sha256[32];

    if (strncmp(name, "unpack.", 7) == 0)
        return true;
    if (strlen(name) != 64 && (strlen(name) < 68 || strncmp(&name[64], ".zip", 4) != 0))
        return false;
    if (hex_decode(sha256, sizeof sha256, span_of(name, 64)) != BM_OK)
        return false;
    if (strlen(name) > 68)
        return true; /* file_write's temporary file */
    for (size_t i = 0; i < used->len; i += sizeof sha256) {
        if (memcmp(&used->ptr[i], sha256, sizeof sha256) == 0)
            return false;
    }
    return true;
}

static enum bm_err
remove_waste(const char *path, const struct buf *used, struct bm_msg *msg)
{
    char name[PATH_MAX];
    DIR *d = opendir(path);
    const struct dirent *e;
    enum bm_err err = BM_OK;

    if (d == NULL)
        return bm_fail(msg, BM_ERR_IO, "cannot read folder %s: %s", path, strerror(errno));
    while (err == BM_OK && (e = readdir(d)) != NULL) {
        if (is_waste(e->d_name, used) &&
            snprintf(name, sizeof name, "%s/%s", path, e->d_name) < (int)sizeof name)
            err = dir_remove(name, msg);
    }
    (void)closedir(d);
    return err;
}

enum bm_err
code_clean(const struct code_store *s, struct registry *registry, struct bm_msg *msg)
{
    struct buf used = { 0 };
    enum bm_err err = registry_function_list(registry, note_used, &used, msg);

    if (err == BM_OK)
        err = used.failed ? BM_ERR_MEM : remove_waste(s->zips, &used, msg);
    if (err == BM_OK && strcmp(s->zips, s->folders) != 0)
        err = remove_waste(s->folders, &used, msg);
    buf_fini(&used);
    return err;
}

/* ---- storing ---- */

/* Unpack beside `folder` and rename; nothing is left behind when that fails. */
static enum bm_err
unpack_into(const struct code_store *s, struct span zip, const char *folder, struct bm_msg *msg)
{
    char tmp[PATH_MAX];
    enum bm_err err;

    if (snprintf(tmp, sizeof tmp, "%s/unpack.XXXXXX", s->folders) >= (int)sizeof tmp)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", s->folders);
    if (mkdtemp(tmp) == NULL)
        return bm_fail(msg, BM_ERR_IO, "cannot make folder %s: %s", tmp, strerror(errno));
    err = package_unpack(zip, tmp, msg);
    /* the folder above is what keeps others out, and a function may run as another user */
    if (err == BM_OK && chmod(tmp, 0755) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot set the mode of %s: %s", tmp, strerror(errno));
    /* another process may have been quicker with the same package */
    if (err == BM_OK && rename(tmp, folder) != 0 && !is_folder(folder))
        err = bm_fail(msg, BM_ERR_IO, "cannot rename %s: %s", tmp, strerror(errno));
    (void)dir_remove(tmp, NULL);
    return err;
}

/* ---- what the configuration asks of the package ---- */

static enum bm_err
check_bootstrap(int root, struct bm_msg *msg)
{
    struct stat st;

    if (fstatat(root, "bootstrap", &st, 0) != 0 || !S_ISREG(st.st_mode))
        return bm_fail(msg, BM_ERR_INPUT,
            "the package has no file 'bootstrap' in its root; zip the files, not their folder");
    if ((st.st_mode & 0100) == 0)
        return bm_fail(msg, BM_ERR_INPUT, "bootstrap is not executable; chmod +x before zip");
    return BM_OK;
}

static bool
is_file(int root, const char *base, const char *end)
{
    char path[CONFIG_HANDLER_MAX + 16];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s%s", base, end);
    return fstatat(root, path, &st, 0) == 0 && S_ISREG(st.st_mode);
}

/*
 * Handler `pkg/module.function`: one of the files pkg/module + `ends`. Python takes
 * pkg.module.function for it, too.
 */
static enum bm_err
check_handler(int root, const char *handler, bool python, struct bm_msg *msg)
{
    static const char *const python_ends[] = { ".py", "/__init__.py", NULL };
    static const char *const node_ends[] = { ".js", ".mjs", ".cjs", NULL };
    const char *const *ends = python ? python_ends : node_ends;
    char module[CONFIG_HANDLER_MAX + 1];
    char *dot;

    (void)snprintf(module, sizeof module, "%s", handler);
    dot = strrchr(module, '.');
    if (dot == NULL || dot == module || dot[1] == '\0' || strchr(dot, '/') != NULL)
        return bm_fail(msg, BM_ERR_INPUT, "Handler '%s': it is %s, as in %s", handler,
            python ? "module.function" : "file.function",
            python ? "lambda_function.lambda_handler" : "index.handler");
    *dot = '\0';
    for (char *c = module; python && *c != '\0'; c++) {
        if (*c == '.')
            *c = '/';
    }
    if (!package_name_ok(module))
        return bm_fail(
            msg, BM_ERR_INPUT, "Handler '%s' does not name a file in the package", handler);
    for (const char *const *end = ends; *end != NULL; end++) {
        if (is_file(root, module, *end))
            return BM_OK;
    }
    return bm_fail(msg, BM_ERR_INPUT,
        "Handler '%s' needs a file %s%s in the package root, and the zip has none; zip the files, "
        "not their folder",
        handler, module, ends[0]);
}

static enum bm_err
check_folder(const char *folder, const struct config *c, struct bm_msg *msg)
{
    int root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum bm_err err = BM_ERR_INTERNAL;

    if (root < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open folder %s: %s", folder, strerror(errno));
    switch (c->runtime) {
    case RUNTIME_PROVIDED:
        err = check_bootstrap(root, msg);
        break;
    case RUNTIME_PYTHON:
    case RUNTIME_NODE:
        err = check_handler(root, c->handler, c->runtime == RUNTIME_PYTHON, msg);
        break;
    }
    (void)close(root);
    return err;
}

/* ---- the store ---- */

enum bm_err
code_put(const struct code_store *s, const struct config *c, struct span zip, uint8_t sha256[32],
    struct bm_msg *msg)
{
    char folder[PATH_MAX];
    char file[PATH_MAX];
    bool had;
    enum bm_err err;

    if (zip.len > LAMBDA_ZIP_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "the zip has %zu bytes; at most %d are taken", zip.len,
            LAMBDA_ZIP_MAX);
    if (EVP_Digest(zip.ptr, zip.len, sha256, NULL, EVP_sha256(), NULL) != 1)
        return bm_fail(msg, BM_ERR_INTERNAL, "SHA-256 failed");
    err = store_path(folder, s->folders, sha256, "", msg);
    if (err == BM_OK)
        err = store_path(file, s->zips, sha256, ".zip", msg);
    if (err != BM_OK)
        return err;
    had = is_folder(folder);
    if (!had) {
        err = unpack_into(s, zip, folder, msg);
        if (err != BM_OK)
            return err;
    }
    err = check_folder(folder, c, msg);
    if (err == BM_OK)
        err = file_write(file, zip, 0600, msg);
    if (err != BM_OK && !had)
        (void)dir_remove(folder, NULL);
    return err;
}

bool
code_folder(const struct code_store *s, const uint8_t sha256[32], char path[PATH_MAX])
{
    return store_path(path, s->folders, sha256, "", NULL) == BM_OK && is_folder(path);
}

enum bm_err
code_unpack(const struct code_store *s, const uint8_t sha256[32], struct bm_msg *msg)
{
    char folder[PATH_MAX];
    char file[PATH_MAX];
    struct buf zip = { 0 };
    enum bm_err err;

    if (code_folder(s, sha256, folder))
        return BM_OK;
    err = store_path(folder, s->folders, sha256, "", msg);
    if (err == BM_OK)
        err = store_path(file, s->zips, sha256, ".zip", msg);
    if (err == BM_OK)
        err = file_read(file, LAMBDA_ZIP_MAX, &zip, msg);
    if (err == BM_OK)
        err = unpack_into(s, buf_span(&zip), folder, msg);
    buf_fini(&zip);
    return err;
}

enum bm_err
code_check(const struct code_store *s, const struct config *c, const uint8_t sha256[32],
    struct bm_msg *msg)
{
    char folder[PATH_MAX];
    enum bm_err err = code_unpack(s, sha256, msg);

    if (err == BM_OK)
        err = store_path(folder, s->folders, sha256, "", msg);
    return err == BM_OK ? check_folder(folder, c, msg) : err;
}
