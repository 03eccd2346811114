/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut at every write of the registry. SPEC endpoint 6; ARCHITECTURE "What is stored where".
 *
 * A SQLite VFS over the system's notes every write, truncation, deletion and fsync in order, and
 * the test notes between them which commits were answered. Afterwards each place of that history is
 * a power cut: what was written before the file's last fsync is on the disk; of what came later
 * none, all, a part that ends within a write, or a random choice of sectors. From what is left a
 * registry is opened again: every change that was answered must be there, the one under way whole
 * or not at all. Sectors of 512 bytes are written whole, others are not harmed, and a name stays
 * where it was put: that is what SQLite itself asks of a disk.
 */
#include "base/file.h"
#include "registry/store.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHANGES = 12, SECTOR = 512, FILES_MAX = 4, VARIANTS = 5 };

enum op_kind { OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_DELETE, OP_ANSWERED };

struct disk_op {
    enum op_kind kind;
    int file;
    int64_t offset; /* or size */
    uint8_t *bytes;
    size_t len;
};

struct history {
    char names[FILES_MAX][PATH_MAX];
    int name_count;
    struct disk_op *ops;
    size_t count;
    size_t cap;
};

/* ---- a VFS that takes notes ---- */

struct noting_vfs {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    struct history *history;
};

struct noting_file {
    sqlite3_file base;
    struct history *history;
    int name;           /* -1: not noted (shared memory is not durable) */
    sqlite3_file *real; /* behind this struct */
};

static struct disk_op *
note(struct history *h, enum op_kind kind, int file)
{
    if (h->count == h->cap) {
        h->cap = h->cap == 0 ? 1024 : 2 * h->cap;
        h->ops = realloc(h->ops, h->cap * sizeof *h->ops);
        assert_non_null(h->ops);
    }
    h->ops[h->count] = (struct disk_op){ .kind = kind, .file = file };
    return &h->ops[h->count++];
}

static int
name_of(struct history *h, const char *path)
{
    const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;

    for (int i = 0; i < h->name_count; i++) {
        if (strcmp(h->names[i], base) == 0)
            return i;
    }
    assert_true(h->name_count < FILES_MAX);
    (void)snprintf(h->names[h->name_count], PATH_MAX, "%s", base);
    return h->name_count++;
}

#define REAL(file) (((struct noting_file *)(file))->real)

static int
n_close(sqlite3_file *f)
{
    return REAL(f)->pMethods->xClose(REAL(f));
}

static int
n_read(sqlite3_file *f, void *to, int len, sqlite3_int64 at)
{
    return REAL(f)->pMethods->xRead(REAL(f), to, len, at);
}

static int
n_write(sqlite3_file *f, const void *from, int len, sqlite3_int64 at)
{
    struct noting_file *n = (struct noting_file *)f;
    struct disk_op *op;

    op = note(n->history, OP_WRITE, n->name);
    op->offset = at;
    op->len = (size_t)len;
    op->bytes = malloc((size_t)len);
    assert_non_null(op->bytes);
    memcpy(op->bytes, from, (size_t)len);
    return n->real->pMethods->xWrite(n->real, from, len, at);
}

static int
n_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct noting_file *n = (struct noting_file *)f;

    note(n->history, OP_TRUNCATE, n->name)->offset = size;
    return n->real->pMethods->xTruncate(n->real, size);
}

static int
n_sync(sqlite3_file *f, int flags)
{
    struct noting_file *n = (struct noting_file *)f;

    (void)note(n->history, OP_SYNC, n->name);
    return n->real->pMethods->xSync(n->real, flags);
}

static int
n_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return REAL(f)->pMethods->xFileSize(REAL(f), out);
}

static int
n_lock(sqlite3_file *f, int level)
{
    return REAL(f)->pMethods->xLock(REAL(f), level);
}

static int
n_unlock(sqlite3_file *f, int level)
{
    return REAL(f)->pMethods->xUnlock(REAL(f), level);
}

static int
n_reserved(sqlite3_file *f, int *out)
{
    return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}

static int
n_control(sqlite3_file *f, int op, void *arg)
{
    return REAL(f)->pMethods->xFileControl(REAL(f), op, arg);
}

static int
n_sector(sqlite3_file *f)
{
    return REAL(f)->pMethods->xSectorSize(REAL(f));
}

static int
n_device(sqlite3_file *f)
{
    return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}

static int
n_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, out);
}

static int
n_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return REAL(f)->pMethods->xShmLock(REAL(f), at, n, flags);
}

static void
n_shm_barrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}

static int
n_shm_unmap(sqlite3_file *f, int remove)
{
    return REAL(f)->pMethods->xShmUnmap(REAL(f), remove);
}

static const sqlite3_io_methods noting_methods = { 2, n_close, n_read, n_write, n_truncate, n_sync,
    n_size, n_lock, n_unlock, n_reserved, n_control, n_sector, n_device, n_shm_map, n_shm_lock,
    n_shm_barrier, n_shm_unmap, NULL, NULL };

static int
n_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct noting_vfs *v = (struct noting_vfs *)vfs;
    struct noting_file *n = (struct noting_file *)f;
    int rc;

    assert_non_null(name); /* a temporary file would not be noted */
    *n = (struct noting_file){ .history = v->history, .real = (sqlite3_file *)(void *)(n + 1) };
    rc = v->real->xOpen(v->real, name, n->real, flags, out_flags);
    if (rc == SQLITE_OK)
        n->base.pMethods = &noting_methods;
    n->name = name_of(v->history, name);
    return rc;
}

static int
n_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    struct noting_vfs *v = (struct noting_vfs *)vfs;

    (void)note(v->history, OP_DELETE, name_of(v->history, name));
    return v->real->xDelete(v->real, name, sync_dir);
}

static void
vfs_install(struct noting_vfs *v, struct history *h)
{
    v->real = sqlite3_vfs_find(NULL);
    assert_non_null(v->real);
    v->history = h;
    v->vfs = *v->real;
    v->vfs.zName = "noting";
    v->vfs.szOsFile = (int)sizeof(struct noting_file) + v->real->szOsFile;
    v->vfs.xOpen = n_open;
    v->vfs.xDelete = n_delete;
    assert_int_equal(sqlite3_vfs_register(&v->vfs, 1), SQLITE_OK);
}

static void
vfs_remove(struct noting_vfs *v)
{
    assert_int_equal(sqlite3_vfs_unregister(&v->vfs), SQLITE_OK);
    assert_int_equal(sqlite3_vfs_register(v->real, 1), SQLITE_OK);
}

/* ---- what is done to the registry ---- */

static void
id_of(uint8_t id[32], int n)
{
    memset(id, 0x5a, 32);
    id[0] = (uint8_t)n;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != BM_OK)                                                                       \
            fail_msg("%s: %s", #call, msg.text);                                                   \
    } while (0)

/* Change n: a newcomer with its event and a rule's message, and the one before it is revoked. As an
 * admission does it.
 */
static void
change(struct registry *r, int n)
{
    struct registry_cert c = { .status = CERT_PENDING_ACTIVATION, .mode = MODE_DEFAULT };
    struct bm_msg msg;
    char topic[32];
    uint8_t before[32];

    id_of(c.id, n);
    id_of(before, n - 1);
    (void)snprintf(topic, sizeof topic, "event/%d", n);
    for (int i = 0; i < 700; i++)
        buf_addf(&c.der, "%d", n);
    OK(registry_begin(r, &msg));
    OK(registry_cert_insert(r, &c, &msg));
    OK(registry_event_add(r, topic, span_str("{}"), c.id, &msg));
    OK(registry_republished_add(r, span_str(topic), span_str("{}"), &msg));
    if (n > 0)
        OK(registry_cert_set_status(r, before, CERT_REVOKED, NULL, &msg));
    OK(registry_end(r, true, &msg));
    registry_cert_fini(&c);
}

static void
record_history(struct history *h, const char *synchronous)
{
    struct noting_vfs vfs;
    struct registry *r = NULL;
    struct bm_msg msg = { "" };
    char dir[] = "/tmp/birthmark-cut.XXXXXX";

    assert_non_null(mkdtemp(dir));
    vfs_install(&vfs, h);
    OK(registry_open(&(struct registry_options){ .dir = dir }, &r, &msg));
    /* often, so that cuts fall into checkpoints, too */
    assert_int_equal(sqlite3_exec(r->db, "PRAGMA wal_autocheckpoint = 20", NULL, NULL, NULL), 0);
    assert_int_equal(sqlite3_exec(r->db, synchronous, NULL, NULL, NULL), SQLITE_OK);
    for (int n = 0; n < CHANGES; n++) {
        change(r, n);
        OK(registry_commit(r, &msg));
        (void)note(h, OP_ANSWERED, 0);
    }
    registry_close(r);
    vfs_remove(&vfs);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
history_fini(struct history *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->ops[i].bytes);
    free(h->ops);
}

/* ---- the disk after a cut ---- */

struct image {
    bool there;
    struct buf bytes;
};

static void
put(struct image *m, int64_t at, const uint8_t *bytes, size_t len)
{
    m->there = true;
    while (m->bytes.len < (size_t)at + len)
        buf_add(&m->bytes, "", 1);
    memcpy(&m->bytes.ptr[at], bytes, len);
}

/* Chosen by a fixed sequence, so that a failure comes again. */
static bool
coin(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 40 & 1) != 0;
}

static void
put_sectors(struct image *m, const struct disk_op *op, uint64_t *seed)
{
    for (size_t done = 0; done < op->len;) {
        size_t room = SECTOR - (size_t)(op->offset + (int64_t)done) % SECTOR;
        size_t len = op->len - done < room ? op->len - done : room;

        if (coin(seed))
            put(m, op->offset + (int64_t)done, &op->bytes[done], len);
        done += len;
    }
}

static size_t
last_sync(const struct history *h, int file, size_t cut)
{
    while (cut > 0 && (h->ops[cut - 1].kind != OP_SYNC || h->ops[cut - 1].file != file))
        cut--;
    return cut;
}

/* Variant 0: nothing unsynced is there; 1: all; 2: all but half of the last write; else random. */
static void
apply(struct image *m, const struct disk_op *op, bool durable, bool last, unsigned variant,
    uint64_t *seed)
{
    bool whole = durable || variant == 1 || (variant == 2 && !last);

    if (op->kind == OP_DELETE) { /* SQLite syncs the folder */
        m->bytes.len = 0;
        m->there = false;
    } else if (op->kind == OP_WRITE && whole) {
        put(m, op->offset, op->bytes, op->len);
    } else if (op->kind == OP_WRITE && variant == 2) {
        put(m, op->offset, op->bytes, op->len / 2);
    } else if (op->kind == OP_WRITE && variant > 2) {
        put_sectors(m, op, seed);
    } else if (op->kind == OP_TRUNCATE && (whole || (variant > 2 && coin(seed)))) {
        if (m->bytes.len > (size_t)op->offset)
            m->bytes.len = (size_t)op->offset;
    }
}

static void
write_disk(const struct history *h, size_t cut, unsigned variant, const char *dir)
{
    uint64_t seed = cut * 31 + variant;

    for (int file = 0; file < h->name_count; file++) {
        struct image m = { 0 };
        size_t synced = last_sync(h, file, cut);
        char path[PATH_MAX + 64];
        struct bm_msg msg;

        for (size_t i = 0; i < cut; i++) {
            if (h->ops[i].file == file && h->ops[i].kind != OP_ANSWERED)
                apply(&m, &h->ops[i], i < synced, i + 1 == cut, variant, &seed);
        }
        (void)snprintf(path, sizeof path, "%s/%s", dir, h->names[file]);
        if (m.there)
            OK(file_write(path, buf_span(&m.bytes), 0600, &msg));
        buf_fini(&m.bytes);
    }
}

/* ---- what must be true of it ---- */

static bool
has_event(struct registry *r, const char *topic)
{
    struct registry_event e = { 0 };
    int64_t after = 0;
    bool found = false;

    while (!found && registry_event_next(r, after, &e, NULL) == BM_OK) {
        after = e.id;
        found = span_eq(buf_span(&e.topic), span_str(topic));
        registry_event_fini(&e);
    }
    return found;
}

struct republished {
    struct span topic;
    bool found;
};

static void
see_republished(void *arg, const struct registry_republished *m)
{
    struct republished *want = arg;

    want->found = want->found || span_eq(m->topic, want->topic);
}

static bool
has_republished(struct registry *r, const char *topic)
{
    struct republished want = { span_str(topic), false };

    return registry_republished_list(r, 0, CHANGES, see_republished, &want, NULL) == BM_OK &&
           want.found;
}

/* NULL: all is well. */
static const char *
judge(struct registry *r, int answered)
{
    int there = 0;

    for (int n = 0; n < CHANGES; n++) {
        struct registry_cert c = { 0 };
        struct registry_cert before = { 0 };
        char topic[32];
        uint8_t id[32];
        bool cert;
        bool event;
        bool revoked;

        id_of(id, n);
        (void)snprintf(topic, sizeof topic, "event/%d", n);
        cert = registry_cert_get(r, id, &c, NULL) == BM_OK && c.der.len >= 700;
        event = has_event(r, topic);
        id_of(id, n - 1);
        revoked = n == 0 || (registry_cert_get(r, id, &before, NULL) == BM_OK &&
                                before.status == CERT_REVOKED);
        registry_cert_fini(&c);
        registry_cert_fini(&before);
        if (cert != event || cert != has_republished(r, topic) || (n > 0 && cert != revoked))
            return "a change is there in part";
        if (cert && there < n)
            return "a later change is there, an earlier one is not";
        there += cert;
    }
    if (there < answered)
        return "an answered change is lost";
    return there > answered + 1 ? "a change is there before it was made" : NULL;
}

static int
on_integrity(void *arg, int n, char **text, char **names)
{
    (void)names;
    *(bool *)arg = n == 1 && strcmp(text[0], "ok") == 0;
    return 0;
}

static const char *
after_cut(const struct history *h, size_t cut, unsigned variant, int answered)
{
    struct registry *r = NULL;
    const char *wrong;
    bool sound = false;
    char dir[] = "/tmp/birthmark-cut.XXXXXX";

    assert_non_null(mkdtemp(dir));
    write_disk(h, cut, variant, dir);
    if (registry_open(&(struct registry_options){ .dir = dir }, &r, NULL) != BM_OK)
        wrong = "it does not open";
    else if (sqlite3_exec(r->db, "PRAGMA integrity_check", on_integrity, &sound, NULL) != 0 ||
             !sound)
        wrong = "the file is damaged";
    else
        wrong = judge(r, answered);
    registry_close(r);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
    return wrong;
}

/* Every `step`-th place; the number of places where something was wrong, the first one printed. */
static size_t
sweep(const struct history *h, size_t step)
{
    size_t bad = 0;
    size_t tried = 0;
    int answered = 0;

    for (size_t cut = 0; cut <= h->count; cut++) {
        if (cut > 0 && h->ops[cut - 1].kind == OP_ANSWERED)
            answered++;
        for (unsigned v = 0; cut % step == 0 && v < VARIANTS; v++, tried++) {
            const char *wrong = after_cut(h, cut, v, answered);

            if (wrong != NULL && bad++ == 0)
                print_message("cut %zu of %zu, variant %u, %d answered: %s\n", cut, h->count, v,
                    answered, wrong);
        }
    }
    print_message("%zu cuts in %zu operations\n", tried, h->count);
    return bad;
}

static void
answered_changes_survive_a_power_cut_at_every_write(void **state)
{
    struct history h = { .name_count = 0 };

    (void)state;
    record_history(&h, "PRAGMA synchronous = FULL");
    assert_int_equal(sweep(&h, 1), 0);
    history_fini(&h);
}

/* The sweep itself is no good if it is content with this. */
static void
without_fsync_the_sweep_finds_losses(void **state)
{
    struct history h = { .name_count = 0 };

    (void)state;
    record_history(&h, "PRAGMA synchronous = OFF");
    assert_int_not_equal(sweep(&h, 16), 0);
    history_fini(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered_changes_survive_a_power_cut_at_every_write),
        cmocka_unit_test(without_fsync_the_sweep_finds_losses),
    };

    return cmocka_run_group_tests_name("powercut", tests, NULL, NULL);
}
