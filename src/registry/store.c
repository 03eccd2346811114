/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: open and close, groups and savepoints, statements.
 *
 * SQLite may throw away the whole transaction when the disk fails or is full. Then `lost` is set:
 * what follows in the group is refused, and registry_commit reports the loss, because callers
 * acknowledge on its word.
 */
#include "registry/store.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- statements ---- */

enum bm_err
db_fail(struct registry *r, struct bm_msg *msg, const char *what)
{
    if (r->in_group && sqlite3_get_autocommit(r->db) != 0)
        r->lost = true;
    return bm_fail(msg, BM_ERR_IO, "registry: %s: %s", what, sqlite3_errmsg(r->db));
}

static enum bm_err
prepare(struct registry *r, const char *sql, struct statement_slot *slot, struct bm_msg *msg)
{
    (void)sqlite3_finalize(slot->statement);
    *slot = (struct statement_slot){ .sql = sql };
    if (sqlite3_prepare_v3(r->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &slot->statement, NULL) ==
        SQLITE_OK)
        return BM_OK;
    slot->sql = NULL;
    return db_fail(r, msg, "cannot prepare a statement");
}

/* A prepared statement for `sql` that is not in the middle of a read. */
static enum bm_err
statement_for(struct registry *r, const char *sql, sqlite3_stmt **out, struct bm_msg *msg)
{
    struct statement_slot *room = NULL;
    enum bm_err err;

    for (size_t i = 0; i < STATEMENT_SLOTS; i++) {
        struct statement_slot *s = &r->slots[i];
        bool busy = s->statement != NULL && sqlite3_stmt_busy(s->statement) != 0;

        if (s->sql == sql && !busy) {
            *out = s->statement;
            return BM_OK;
        }
        if (!busy && (room == NULL || s->sql == NULL))
            room = s;
        if (s->sql == NULL)
            break; /* slots fill from the front */
    }
    if (room == NULL)
        return bm_fail(msg, BM_ERR_LIMIT, "registry: too many reads inside reads");
    err = prepare(r, sql, room, msg);
    *out = room->statement;
    return err;
}

static int
bind(sqlite3_stmt *st, int at, const struct arg *a)
{
    const void *ptr = a->bytes.ptr != NULL ? (const void *)a->bytes.ptr : "";

    switch (a->kind) {
    case ARG_INT:
        return sqlite3_bind_int64(st, at, a->number);
    case ARG_TEXT:
        return sqlite3_bind_text64(st, at, ptr, a->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    case ARG_BLOB:
        return sqlite3_bind_blob64(st, at, ptr, a->bytes.len, SQLITE_STATIC);
    case ARG_NULL:
        return sqlite3_bind_null(st, at);
    }
    return SQLITE_MISUSE;
}

enum bm_err
db_query(struct registry *r, const char *sql, const struct arg *args, size_t count,
    sqlite3_stmt **out, struct bm_msg *msg)
{
    sqlite3_stmt *st = NULL;
    enum bm_err err = statement_for(r, sql, &st, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    for (size_t i = 0; i < count; i++) {
        if (bind(st, (int)i + 1, &args[i]) != SQLITE_OK) {
            err = db_fail(r, msg, "cannot bind a value");
            db_end(st);
            return err;
        }
    }
    *out = st;
    return BM_OK;
}

enum bm_err
db_step(struct registry *r, sqlite3_stmt *st, bool *row, struct bm_msg *msg)
{
    int rc = sqlite3_step(st);

    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return BM_OK;
    return db_fail(r, msg, sqlite3_stmt_readonly(st) != 0 ? "cannot read" : "cannot write");
}

void
db_end(sqlite3_stmt *st)
{
    if (st == NULL)
        return;
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
}

enum bm_err
db_run(struct registry *r, const char *sql, const struct arg *args, size_t count, int *changes,
    struct bm_msg *msg)
{
    sqlite3_stmt *st;
    bool row = true;
    enum bm_err err = db_query(r, sql, args, count, &st, msg);

    while (err == BM_OK && row)
        err = db_step(r, st, &row, msg);
    db_end(st);
    if (changes != NULL)
        *changes = err == BM_OK ? sqlite3_changes(r->db) : 0;
    return err;
}

enum bm_err
db_one(struct registry *r, const char *sql, const struct arg *args, size_t count, db_row_fn fn,
    void *to, struct bm_msg *msg)
{
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, args, count, &st, msg);

    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        err = fn(to, st, msg);
    db_end(st);
    return err == BM_OK && !row ? BM_ERR_NOT_FOUND : err;
}

static enum bm_err
take_number(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    (void)msg;
    *(int64_t *)to = sqlite3_column_int64(st, 0);
    return BM_OK;
}

enum bm_err
db_number(struct registry *r, const char *sql, const struct arg *args, size_t count, int64_t *out,
    struct bm_msg *msg)
{
    return db_one(r, sql, args, count, take_number, out, msg);
}

/* ---- columns ---- */

void
col_id(sqlite3_stmt *st, int col, uint8_t out[REGISTRY_ID_LEN])
{
    const void *p = sqlite3_column_blob(st, col);

    memset(out, 0, REGISTRY_ID_LEN);
    if (p != NULL && sqlite3_column_bytes(st, col) == REGISTRY_ID_LEN)
        memcpy(out, p, REGISTRY_ID_LEN);
}

void
col_text(sqlite3_stmt *st, int col, char *out, size_t cap)
{
    const void *p = sqlite3_column_text(st, col);
    size_t len = p != NULL ? (size_t)sqlite3_column_bytes(st, col) : 0;

    if (len >= cap)
        len = cap - 1;
    if (len > 0)
        memcpy(out, p, len);
    out[len] = '\0';
}

void
col_uuid(sqlite3_stmt *st, int col, char out[37])
{
    static const uint8_t none[UUID_LEN];
    const void *p = sqlite3_column_blob(st, col);

    uuid_text(out, p != NULL && sqlite3_column_bytes(st, col) == UUID_LEN ? p : none);
}

enum bm_err
col_buf(sqlite3_stmt *st, int col, struct buf *out, struct bm_msg *msg)
{
    const void *p = sqlite3_column_blob(st, col);

    buf_add(out, p, p != NULL ? (size_t)sqlite3_column_bytes(st, col) : 0);
    return out->failed ? bm_fail(msg, BM_ERR_MEM, "registry: out of memory") : BM_OK;
}

/* ---- groups ---- */

static const char sql_begin[] = "BEGIN IMMEDIATE";
static const char sql_commit[] = "COMMIT";
static const char sql_rollback[] = "ROLLBACK";
static const char sql_op[] = "SAVEPOINT op";
static const char sql_op_keep[] = "RELEASE op";
static const char sql_op_undo[] = "ROLLBACK TO op";
static const char sql_many[] = "SAVEPOINT many";
static const char sql_many_keep[] = "RELEASE many";
static const char sql_many_undo[] = "ROLLBACK TO many";

static enum bm_err
group_need(struct registry *r, struct bm_msg *msg)
{
    enum bm_err err;

    if (r->read_only)
        return bm_fail(msg, BM_ERR_ARG, "registry: opened for reading only");
    if (r->lost)
        return bm_fail(msg, BM_ERR_IO, "registry: an earlier change of this group failed");
    if (r->in_group)
        return BM_OK;
    err = db_run(r, sql_begin, NULL, 0, NULL, msg);
    r->in_group = err == BM_OK;
    return err;
}

/* Forget the group; commit will report it. */
static void
group_lose(struct registry *r)
{
    if (sqlite3_get_autocommit(r->db) == 0)
        (void)sqlite3_exec(r->db, sql_rollback, NULL, NULL, NULL);
    r->lost = true;
}

enum bm_err
db_change(struct registry *r, const char *sql, const struct arg *args, size_t count, int *changes,
    struct bm_msg *msg)
{
    enum bm_err err = group_need(r, msg);

    if (changes != NULL)
        *changes = 0;
    return err == BM_OK ? db_run(r, sql, args, count, changes, msg) : err;
}

enum bm_err
op_begin(struct registry *r, struct op *op, struct bm_msg *msg)
{
    enum bm_err err = group_need(r, msg);

    *op = (struct op){ .r = r, .touched = r->touched.count };
    if (err == BM_OK)
        err = db_run(r, sql_op, NULL, 0, NULL, msg);
    op->open = err == BM_OK;
    return err;
}

enum bm_err
op_end(struct op *op, enum bm_err err, struct bm_msg *msg)
{
    struct registry *r = op->r;

    if (!op->open)
        return err;
    if (err == BM_OK)
        err = db_run(r, sql_op_keep, NULL, 0, NULL, msg);
    if (err == BM_OK)
        return BM_OK;
    if (!r->lost && (db_run(r, sql_op_undo, NULL, 0, NULL, NULL) != BM_OK ||
                        db_run(r, sql_op_keep, NULL, 0, NULL, NULL) != BM_OK))
        group_lose(r);
    r->touched.count = op->touched;
    return err;
}

enum bm_err
registry_begin(struct registry *r, struct bm_msg *msg)
{
    enum bm_err err;

    if (r->in_begin)
        return bm_fail(msg, BM_ERR_ARG, "registry_begin inside registry_begin");
    err = group_need(r, msg);
    if (err == BM_OK)
        err = db_run(r, sql_many, NULL, 0, NULL, msg);
    r->in_begin = err == BM_OK;
    r->begin_touched = r->touched.count;
    return err;
}

enum bm_err
registry_end(struct registry *r, bool keep, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    if (!r->in_begin)
        return bm_fail(msg, BM_ERR_ARG, "registry_end without registry_begin");
    r->in_begin = false;
    if (r->lost)
        return bm_fail(msg, BM_ERR_IO, "registry: an earlier change of this group failed");
    if (!keep) {
        err = db_run(r, sql_many_undo, NULL, 0, NULL, msg);
        r->touched.count = r->begin_touched;
    }
    if (err == BM_OK)
        err = db_run(r, sql_many_keep, NULL, 0, NULL, msg);
    if (err != BM_OK)
        group_lose(r);
    return err;
}

enum bm_err
store_touch(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    struct touched *t = &r->touched;

    if (t->count == t->cap) {
        size_t cap = t->cap != 0 ? 2 * t->cap : 64;
        uint8_t(*ids)[REGISTRY_ID_LEN] = realloc(t->ids, cap * sizeof *ids);

        if (ids == NULL)
            return bm_fail(msg, BM_ERR_MEM, "registry: out of memory");
        t->ids = ids;
        t->cap = cap;
    }
    memcpy(t->ids[t->count++], id, REGISTRY_ID_LEN);
    return BM_OK;
}

static int
compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, REGISTRY_ID_LEN);
}

static void
entry_of(sqlite3_stmt *st, struct table_entry *e)
{
    col_id(st, 0, e->id);
    e->status = (uint8_t)sqlite3_column_int(st, 1);
    e->policy_set = (uint32_t)sqlite3_column_int64(st, 2);
    e->not_after_ms = sqlite3_column_int64(st, 3);
    e->mode = (uint8_t)sqlite3_column_int(st, 4);
}

/* Bring the table entry of one certificate in line with the store. */
static enum bm_err
table_follow(struct registry *r, const uint8_t id[REGISTRY_ID_LEN])
{
    static const char sql[] =
        "SELECT id, status, policy_set, not_after, mode FROM certs WHERE id = ?1";
    struct table_entry e = { 0 };
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, ARGS(a_id(id)), &st, NULL);

    if (err == BM_OK)
        err = db_step(r, st, &row, NULL);
    if (err == BM_OK && row)
        entry_of(st, &e);
    db_end(st);
    if (err != BM_OK)
        return err;
    if (row)
        return table_put(r->table, &e, NULL);
    table_remove(r->table, id);
    return BM_OK;
}

/*
 * After a commit: table and `changed`, once per certificate. An entry that could not follow (no
 * room for a larger table) is tried again after the next commit; till then workers do not find a
 * new certificate and ask, and a known one has its place already.
 */
static void
publish_touched(struct registry *r)
{
    struct touched t = r->touched;

    r->touched = (struct touched){ 0 };
    if (t.count > 1)
        qsort(t.ids, t.count, sizeof *t.ids, compare_ids);
    for (size_t i = 0; i < t.count; i++) {
        if (i > 0 && compare_ids(t.ids[i - 1], t.ids[i]) == 0)
            continue;
        if (r->table != NULL && table_follow(r, t.ids[i]) != BM_OK)
            (void)store_touch(r, t.ids[i], NULL);
        if (r->changed != NULL)
            r->changed(r->changed_arg, t.ids[i]);
    }
    r->carried = r->touched.count;
    if (r->touched.ids == NULL) { /* keep the memory */
        t.count = 0;
        r->touched = t;
        return;
    }
    free(t.ids);
}

enum bm_err
registry_commit(struct registry *r, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    if (r->in_begin)
        return bm_fail(msg, BM_ERR_ARG, "registry_commit between registry_begin and registry_end");
    if (!r->in_group)
        return BM_OK;
    if (r->lost)
        err = bm_fail(msg, BM_ERR_IO,
            "registry: an earlier change of this group failed, so nothing of it was stored (disk "
            "full?)");
    else
        err = db_run(r, sql_commit, NULL, 0, NULL, msg);
    if (err != BM_OK)
        group_lose(r);
    r->in_group = false;
    r->lost = false;
    if (err == BM_OK)
        publish_touched(r);
    else
        r->touched.count = r->carried;
    return err;
}

/* ---- open and close ---- */

/*
 * A POSIX lock, which a fork does not inherit: workers that outlive their control process must not
 * keep the next one out.
 */
static enum bm_err
writer_lock(struct registry *r, const char *dir, struct bm_msg *msg)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/registry.lock", dir) >= (int)sizeof path)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fcntl(r->lock_fd, F_SETLK, &lock) != 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "another process writes to the registry in %s; stop it or use another --dir", dir);
    return BM_OK;
}

bool
registry_written(const char *dir)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char path[PATH_MAX];
    bool held;
    int fd;

    if (snprintf(path, sizeof path, "%s/registry.lock", dir) >= (int)sizeof path ||
        (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return false;
    held = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd);
    return held;
}

enum bm_err
registry_refresh(struct registry *r, struct bm_msg *msg)
{
    if (sqlite3_exec(r->db, "COMMIT; BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(r, msg, "cannot read anew");
    return BM_OK;
}

static enum bm_err
database_open(struct registry *r, const char *path, bool bulk, struct bm_msg *msg)
{
    /* A checkpoint holds everybody up while it syncs, and changes of millions of rows meet few pages
     * twice: every 16 MB of log is a quarter of the syncs that the usual 4 MB cost. */
    static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                  "PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;"
                                  "PRAGMA journal_size_limit = 67108864;"
                                  "PRAGMA wal_autocheckpoint = 4096;";
    int flags = r->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

    if (r->read_only && access(path, R_OK) != 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "cannot read %s: %s; is this the --dir of a cloud?",
            path, strerror(errno));
    if (sqlite3_open_v2(path, &r->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path,
            r->db != NULL ? sqlite3_errmsg(r->db) : "out of memory");
    (void)sqlite3_extended_result_codes(r->db, 1);
    (void)sqlite3_busy_timeout(r->db, 5000);
    if (!r->read_only && sqlite3_exec(r->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot set up %s: %s", path, sqlite3_errmsg(r->db));
    if (bulk && sqlite3_exec(r->db, "PRAGMA cache_size = -524288", NULL, NULL, NULL) != SQLITE_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot set up %s: %s", path, sqlite3_errmsg(r->db));
    if (r->read_only && sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot read %s: %s", path, sqlite3_errmsg(r->db));
    return schema_open(r, path, msg);
}

static enum bm_err
table_fill(struct registry *r, struct bm_msg *msg)
{
    static const char sql[] = "SELECT id, status, policy_set, not_after, mode FROM certs";
    sqlite3_stmt *st;
    bool row = true;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    while (err == BM_OK) {
        struct table_entry e = { 0 };

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        entry_of(st, &e);
        err = table_put(r->table, &e, msg);
    }
    db_end(st);
    return err;
}

static const char STAMP_KEY[] = "table_stamp";

/* The table from its snapshot when that is of this very state of the registry, else by a scan. */
static enum bm_err
table_start(struct registry *r, struct bm_msg *msg)
{
    static const char sql_most[] = "SELECT coalesce(max(row), 0) FROM certs";
    uint8_t stamp[TABLE_STAMP_LEN] = { 0 };
    struct buf text = { 0 };
    int64_t most = 0;
    bool known = registry_setting_get(r, STAMP_KEY, &text, NULL) == BM_OK &&
                 hex_decode(stamp, sizeof stamp, buf_span(&text)) == BM_OK;
    enum bm_err err;

    buf_fini(&text);
    if (known && table_is(r->table, stamp))
        return BM_OK;
    err = db_number(r, sql_most, NULL, 0, &most, msg);
    if (err == BM_OK)
        err = table_restart(r->table, (size_t)most, msg);
    return err == BM_OK ? table_fill(r, msg) : err;
}

/* From here on no snapshot is of this state, until registry_close makes one. */
static enum bm_err
stamp_new(struct registry *r, struct bm_msg *msg)
{
    char text[2 * TABLE_STAMP_LEN + 1];
    enum bm_err err = store_random(r->stamp, sizeof r->stamp, msg);

    hex_encode(text, r->stamp, sizeof r->stamp);
    if (err == BM_OK)
        err = registry_setting_put(r, STAMP_KEY, span_str(text), msg);
    return err == BM_OK ? registry_commit(r, msg) : err;
}

enum bm_err
registry_open(const struct registry_options *options, struct registry **out, struct bm_msg *msg)
{
    struct registry *r = calloc(1, sizeof *r);
    char path[PATH_MAX];
    enum bm_err err = BM_OK;

    if (r == NULL)
        return bm_fail(msg, BM_ERR_MEM, "registry: out of memory");
    *r = (struct registry){ .table = options->table,
        .read_only = options->read_only,
        .timeline_max = options->timeline_max,
        .changed = options->changed,
        .changed_arg = options->changed_arg,
        .lock_fd = -1 };
    if (snprintf(path, sizeof path, "%s/registry.db", options->dir) >= (int)sizeof path)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", options->dir);
    if (err == BM_OK && !r->read_only)
        err = dir_make(options->dir, 0700, msg);
    if (err == BM_OK && !r->read_only)
        err = writer_lock(r, options->dir, msg);
    if (err == BM_OK)
        err = database_open(r, path, options->bulk, msg);
    if (err == BM_OK && r->table != NULL)
        err = table_start(r, msg);
    if (err == BM_OK && !r->read_only)
        err = stamp_new(r, msg);
    if (err != BM_OK) {
        r->table = NULL; /* no snapshot of half a start */
        registry_close(r);
        return err;
    }
    *out = r;
    return BM_OK;
}

void
registry_close(struct registry *r)
{
    if (r == NULL)
        return;
    if (r->in_begin)
        (void)registry_end(r, false, NULL);
    if (r->in_group && registry_commit(r, NULL) != BM_OK)
        r->table = NULL;
    if (r->table != NULL && r->carried == 0)
        (void)table_mark(r->table, r->stamp, NULL);
    for (size_t i = 0; i < STATEMENT_SLOTS; i++)
        (void)sqlite3_finalize(r->slots[i].statement);
    (void)sqlite3_close_v2(r->db);
    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
    free(r->touched.ids);
    free(r);
}

/* ---- small things ---- */

enum bm_err
store_random(uint8_t *out, size_t len, struct bm_msg *msg)
{
    /* up to 256 bytes come whole, and it cannot fail once the kernel's pool is ready */
    if (getrandom(out, len, 0) != (ssize_t)len)
        return bm_fail(msg, BM_ERR_IO, "getrandom: %s", strerror(errno));
    return BM_OK;
}

enum bm_err
store_uuid(uint8_t out[UUID_LEN], struct bm_msg *msg)
{
    return uuid_make(out) == BM_OK ? BM_OK
                                   : bm_fail(msg, BM_ERR_IO, "getrandom: %s", strerror(errno));
}

const char *
store_id_text(char out[65], const uint8_t id[REGISTRY_ID_LEN])
{
    hex_encode(out, id, REGISTRY_ID_LEN);
    return out;
}
