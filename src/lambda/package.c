/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See package.h. Three passes: names and kinds of all entries (nothing is written before all of
 * them are fine), then folders and files, then links.
 */
#include "lambda/package.h"

#include "base/file.h"
#include "lambda/lambda.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { READ_CHUNK = 65536, TARGET_MAX = 1024, COMPONENT_MAX = 255 };

enum kind { KIND_FOLDER, KIND_FILE, KIND_LINK };

struct entry {
    char *name; /* without a leading "./" and without the slash that ends a folder's name */
    zip_uint64_t index;
    enum kind kind;
    bool executable;
};

struct reader {
    zip_t *zip;
    struct entry *entries;
    size_t count;
    size_t total; /* bytes unpacked so far */
    const struct package_sink *sink;
    struct bm_msg *msg;
};

static size_t
depth_of(const char *name)
{
    size_t depth = 0;

    for (; *name != '\0'; name++)
        depth += *name == '/';
    return depth;
}

/* One part between slashes: an ordinary file name. */
static bool
component_ok(struct span part)
{
    if (part.len == 0 || part.len > COMPONENT_MAX)
        return false;
    return !span_eq(part, span_str(".")) && !span_eq(part, span_str(".."));
}

bool
package_name_ok(const char *name)
{
    size_t len = strlen(name);
    size_t start = 0;

    if (len == 0 || len > PACKAGE_NAME_MAX || depth_of(name) >= PACKAGE_DEPTH_MAX)
        return false;
    for (size_t i = 0; i <= len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c == '/' || c == '\0') {
            if (!component_ok(span_of(&name[start], i - start)))
                return false;
            start = i + 1;
        } else if (c < 0x20 || c == 0x7f || c == '\\') {
            return false;
        }
    }
    return true;
}

bool
package_target_ok(const char *name, const char *target)
{
    size_t up = 0;

    while (strncmp(target, "../", 3) == 0) {
        target = &target[3];
        up++;
    }
    return up <= depth_of(name) && package_name_ok(target);
}

static enum bm_err
refuse(const struct reader *r, const char *name, const char *why)
{
    return bm_fail(r->msg, BM_ERR_INPUT, "zip entry '%.100s': %s", name, why);
}

/* ---- pass 1: what is in it ---- */

static enum bm_err
classify(const struct reader *r, struct entry *e, const char *raw)
{
    zip_uint8_t system = 0;
    zip_uint32_t attributes = 0;
    size_t len = strlen(raw);
    bool slash = len > 0 && raw[len - 1] == '/';
    mode_t mode;

    if (zip_file_get_external_attributes(
            r->zip, e->index, ZIP_FL_UNCHANGED, &system, &attributes) != 0)
        return refuse(r, raw, zip_strerror(r->zip));
    mode = system == ZIP_OPSYS_UNIX || system == ZIP_OPSYS_OS_X ? attributes >> 16 : 0;
    e->executable = (mode & 0111) != 0;
    if (mode == 0) /* packed where there are no modes: `bootstrap` has only one use */
        e->executable = strcmp(e->name, "bootstrap") == 0;
    if (slash || S_ISDIR(mode))
        e->kind = KIND_FOLDER;
    else if (S_ISLNK(mode))
        e->kind = KIND_LINK;
    else if (S_ISREG(mode) || (mode & S_IFMT) == 0)
        e->kind = KIND_FILE;
    else
        return refuse(r, raw, "is neither a file, a folder nor a link; leave it out");
    return BM_OK;
}

static enum bm_err
read_entry(struct reader *r, zip_uint64_t index)
{
    const char *raw = zip_get_name(r->zip, index, ZIP_FL_ENC_RAW);
    struct entry *e = &r->entries[r->count];
    size_t len;

    if (raw == NULL)
        return bm_fail(r->msg, BM_ERR_INPUT, "zip entry %llu has no readable name: %s",
            (unsigned long long)index, zip_strerror(r->zip));
    if (strcmp(raw, "./") == 0)
        return BM_OK; /* the package root itself: nothing to make */
    e->index = index;
    e->name = strdup(strncmp(raw, "./", 2) == 0 ? &raw[2] : raw);
    if (e->name == NULL)
        return BM_ERR_MEM;
    r->count++;
    len = strlen(e->name);
    if (len > 0 && e->name[len - 1] == '/')
        e->name[len - 1] = '\0';
    if (!package_name_ok(e->name))
        return refuse(r, raw,
            "names in a package are relative, with '/' between ordinary parts: "
            "no '..', no absolute path, no backslash, no control character");
    return classify(r, e, raw);
}

/* Order with '/' before every other character, so that what lies in a folder follows the folder. */
static int
compare_names(const void *a, const void *b)
{
    const char *x = ((const struct entry *)a)->name;
    const char *y = ((const struct entry *)b)->name;
    size_t i = 0;

    while (x[i] != '\0' && x[i] == y[i])
        i++;
    if (x[i] == y[i])
        return 0;
    if (x[i] == '\0' || y[i] == '\0')
        return x[i] == '\0' ? -1 : 1;
    if (x[i] == '/' || y[i] == '/')
        return x[i] == '/' ? -1 : 1;
    return (unsigned char)x[i] < (unsigned char)y[i] ? -1 : 1;
}

static enum bm_err
check_conflicts(const struct reader *r)
{
    for (size_t i = 1; i < r->count; i++) {
        const struct entry *a = &r->entries[i - 1];
        const struct entry *b = &r->entries[i];
        size_t len = strlen(a->name);

        if (strcmp(a->name, b->name) == 0)
            return refuse(r, a->name, "is in the package twice");
        if (a->kind != KIND_FOLDER && strncmp(a->name, b->name, len) == 0 && b->name[len] == '/')
            return refuse(r, b->name, "lies in something that is not a folder");
    }
    return BM_OK;
}

static enum bm_err
read_directory(struct reader *r)
{
    zip_int64_t n = zip_get_num_entries(r->zip, ZIP_FL_UNCHANGED);
    enum bm_err err;

    if (n <= 0)
        return bm_fail(r->msg, BM_ERR_INPUT, "the zip holds nothing; put the function's files in");
    if (n > PACKAGE_ENTRIES_MAX)
        return bm_fail(r->msg, BM_ERR_INPUT, "the zip has %lld entries; at most %d are unpacked",
            (long long)n, PACKAGE_ENTRIES_MAX);
    r->entries = calloc((size_t)n, sizeof *r->entries);
    if (r->entries == NULL)
        return BM_ERR_MEM;
    for (zip_int64_t i = 0; i < n; i++) {
        err = read_entry(r, (zip_uint64_t)i);
        if (err != BM_OK)
            return err;
    }
    qsort(r->entries, r->count, sizeof *r->entries, compare_names);
    return check_conflicts(r);
}

/* ---- passes 2 and 3: content ---- */

typedef enum bm_err (*data_fn)(void *arg, struct span data, struct bm_msg *msg);

/* Hand the entry's bytes to `fn`; they count against the total whatever the headers said. */
static enum bm_err
read_content(struct reader *r, const struct entry *e, data_fn fn, void *arg)
{
    uint8_t chunk[READ_CHUNK];
    zip_file_t *f = zip_fopen_index(r->zip, e->index, ZIP_FL_UNCHANGED);
    zip_int64_t n;
    enum bm_err err = BM_OK;

    if (f == NULL)
        return refuse(r, e->name, zip_strerror(r->zip));
    while (err == BM_OK && (n = zip_fread(f, chunk, sizeof chunk)) != 0) {
        if (n < 0) {
            err = refuse(r, e->name, zip_file_strerror(f)); /* CRC, broken or cut stream */
            break;
        }
        r->total += (size_t)n;
        if (r->total > LAMBDA_UNZIPPED_MAX)
            err = bm_fail(r->msg, BM_ERR_INPUT,
                "Unzipped size must be smaller than %d bytes; it passed that at '%.100s'",
                LAMBDA_UNZIPPED_MAX, e->name);
        else
            err = fn(arg, span_of(chunk, (size_t)n), r->msg);
    }
    (void)zip_fclose(f);
    return err;
}

static enum bm_err
collect(void *arg, struct span data, struct bm_msg *msg)
{
    struct buf *b = arg;

    if (b->len + data.len > TARGET_MAX)
        return bm_fail(
            msg, BM_ERR_INPUT, "a link in the zip has a target over %d bytes", TARGET_MAX);
    buf_add(b, data.ptr, data.len);
    return b->failed ? BM_ERR_MEM : BM_OK;
}

static enum bm_err
read_link(struct reader *r, const struct entry *e)
{
    struct buf target = { 0 };
    const char *text;
    enum bm_err err = read_content(r, e, collect, &target);

    if (err != BM_OK)
        goto out;
    text = buf_cstr(&target);
    if (text == NULL)
        err = BM_ERR_MEM;
    else if (strlen(text) != target.len || !package_target_ok(e->name, text))
        err = refuse(r, e->name,
            "is a link that may leave the package; a target is relative and stays inside, with "
            "'..' only at its head");
    else
        err = r->sink->link(r->sink->arg, e->name, text, r->msg);
out:
    buf_fini(&target);
    return err;
}

static enum bm_err
emit(struct reader *r, const struct entry *e)
{
    enum bm_err err;

    switch (e->kind) {
    case KIND_FOLDER:
        return r->sink->folder(r->sink->arg, e->name, r->msg);
    case KIND_FILE:
        err = r->sink->file(r->sink->arg, e->name, e->executable, r->msg);
        return err != BM_OK ? err : read_content(r, e, r->sink->data, r->sink->arg);
    case KIND_LINK:
        return read_link(r, e);
    }
    return BM_ERR_INTERNAL;
}

static enum bm_err
emit_all(struct reader *r)
{
    for (int links = 0; links <= 1; links++) {
        for (size_t i = 0; i < r->count; i++) {
            enum bm_err err = BM_OK;

            if ((r->entries[i].kind == KIND_LINK) == (links == 1))
                err = emit(r, &r->entries[i]);
            if (err != BM_OK)
                return err;
        }
    }
    return BM_OK;
}

static zip_t *
open_zip(struct span bytes, struct bm_msg *msg)
{
    zip_error_t e;
    zip_source_t *source;
    zip_t *zip = NULL;

    zip_error_init(&e);
    source = zip_source_buffer_create(bytes.ptr, bytes.len, 0, &e);
    if (source != NULL)
        zip = zip_open_from_source(source, ZIP_RDONLY, &e);
    if (zip == NULL) {
        (void)bm_fail(msg, BM_ERR_INPUT, "Could not unzip uploaded file: %s; make it with zip",
            zip_error_strerror(&e));
        zip_source_free(source);
    }
    zip_error_fini(&e);
    return zip;
}

enum bm_err
package_read(struct span zip, const struct package_sink *sink, struct bm_msg *msg)
{
    struct reader r = { .sink = sink, .msg = msg };
    enum bm_err err;

    if (zip.len == 0)
        return bm_fail(msg, BM_ERR_INPUT, "Could not unzip uploaded file: it is empty");
    r.zip = open_zip(zip, msg);
    if (r.zip == NULL)
        return BM_ERR_INPUT;
    err = read_directory(&r);
    if (err == BM_OK)
        err = emit_all(&r);
    for (size_t i = 0; i < r.count; i++)
        free(r.entries[i].name);
    free(r.entries);
    zip_discard(r.zip);
    return err;
}

/* ---- the folder on disk ---- */

struct disk {
    int root;
    int file;      /* the file being written, or -1 */
    size_t things; /* files and folders made, implied ones included */
};

static enum bm_err
count_thing(struct disk *d, struct bm_msg *msg)
{
    if (++d->things > PACKAGE_ENTRIES_MAX)
        return bm_fail(
            msg, BM_ERR_INPUT, "the zip makes more than %d files and folders", PACKAGE_ENTRIES_MAX);
    return BM_OK;
}

/* Make the folders above `name`, and `name` itself when it is one. */
static enum bm_err
make_folders(struct disk *d, const char *name, bool itself, struct bm_msg *msg)
{
    char part[PACKAGE_NAME_MAX + 1];
    size_t len = strlen(name);
    enum bm_err err;

    for (size_t i = 0; i <= len; i++) {
        part[i] = name[i];
        if (name[i] != '/' && !(itself && i == len))
            continue;
        part[i] = '\0';
        if (mkdirat(d->root, part, 0755) == 0) {
            err = count_thing(d, msg);
            if (err != BM_OK)
                return err;
        } else if (errno != EEXIST) {
            return bm_fail(msg, BM_ERR_IO, "cannot unpack folder %s: %s", part, strerror(errno));
        }
        part[i] = name[i];
    }
    return BM_OK;
}

static void
close_file(struct disk *d)
{
    if (d->file >= 0)
        (void)close(d->file);
    d->file = -1;
}

static enum bm_err
disk_folder(void *arg, const char *name, struct bm_msg *msg)
{
    return make_folders(arg, name, true, msg);
}

static enum bm_err
disk_file(void *arg, const char *name, bool executable, struct bm_msg *msg)
{
    struct disk *d = arg;
    enum bm_err err = make_folders(d, name, false, msg);

    if (err == BM_OK)
        err = count_thing(d, msg);
    if (err != BM_OK)
        return err;
    close_file(d);
    d->file = openat(d->root, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->file < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot unpack %s: %s", name, strerror(errno));
    if (fchmod(d->file, executable ? 0755 : 0644) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot set the mode of %s: %s", name, strerror(errno));
    return BM_OK;
}

static enum bm_err
disk_data(void *arg, struct span data, struct bm_msg *msg)
{
    struct disk *d = arg;

    if (fd_write_all(d->file, data) != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot write the unpacked package: %s", strerror(errno));
    return BM_OK;
}

static enum bm_err
disk_link(void *arg, const char *name, const char *target, struct bm_msg *msg)
{
    struct disk *d = arg;
    enum bm_err err = make_folders(d, name, false, msg);

    if (err == BM_OK)
        err = count_thing(d, msg);
    if (err == BM_OK && symlinkat(target, d->root, name) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot make link %s: %s", name, strerror(errno));
    return err;
}

enum bm_err
package_unpack(struct span zip, const char *dir, struct bm_msg *msg)
{
    struct disk d = { .root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .file = -1 };
    struct package_sink sink = { &d, disk_folder, disk_file, disk_data, disk_link };
    enum bm_err err;

    if (d.root < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open folder %s: %s", dir, strerror(errno));
    err = package_read(zip, &sink, msg);
    close_file(&d);
    if (err == BM_OK && syncfs(d.root) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot sync %s: %s", dir, strerror(errno));
    (void)close(d.root);
    return err;
}
