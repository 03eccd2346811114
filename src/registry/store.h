/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite store behind registry.h, for the files of this room.
 *
 * Statements are prepared once and found again by the address of their SQL text, so each text is
 * one string constant of its file. A read is db_one, or db_query, db_step until *row is
 * false, and always db_end. A mutation stands between op_begin and op_end, which make it a
 * savepoint in the open group.
 */
#ifndef BM_REGISTRY_STORE_H
#define BM_REGISTRY_STORE_H

#include "base/uuid.h"
#include "registry/registry.h"
#include "registry/table.h"

#include <sqlite3.h>

enum { STATEMENT_SLOTS = 224 };

struct statement_slot {
    const char *sql;
    sqlite3_stmt *statement;
};

/* Certificates whose table entry must follow the store at the next commit. */
struct touched {
    uint8_t (*ids)[REGISTRY_ID_LEN];
    size_t count;
    size_t cap;
};

struct registry {
    sqlite3 *db;
    struct statement_slot slots[STATEMENT_SLOTS];
    struct table *table;
    uint8_t stamp[TABLE_STAMP_LEN]; /* of this state of the registry, until it is opened again */
    registry_changed_fn changed;
    void *changed_arg;
    bool read_only;
    int lock_fd;
    bool in_group; /* a transaction is open */
    size_t timeline_max;
    size_t recorded; /* timeline records since the last look at their number */
    bool lost;       /* SQLite threw the group away; commit must say so */
    bool in_begin;   /* between registry_begin and registry_end */
    size_t begin_touched;
    struct touched touched;
    size_t carried; /* of those, left over from groups before: their table entry could not follow */
};

/* ---- values bound to a statement ---- */
enum arg_kind { ARG_INT, ARG_TEXT, ARG_BLOB, ARG_NULL };

struct arg {
    enum arg_kind kind;
    int64_t number;
    struct span bytes; /* borrowed until db_end */
};

static inline struct arg
a_int(int64_t v)
{
    return (struct arg){ .kind = ARG_INT, .number = v };
}

static inline struct arg
a_text(const char *v)
{
    return (struct arg){ .kind = ARG_TEXT, .bytes = span_str(v) };
}

static inline struct arg
a_blob(struct span v)
{
    return (struct arg){ .kind = ARG_BLOB, .bytes = v };
}

static inline struct arg
a_body(struct span text)
{
    return (struct arg){ .kind = ARG_TEXT, .bytes = text };
}

/* An id, or NULL. */
static inline struct arg
a_id(const uint8_t *id)
{
    if (id == NULL)
        return (struct arg){ .kind = ARG_NULL };
    return a_blob(span_of(id, REGISTRY_ID_LEN));
}

#define ARGS(...)                                                                                  \
    (struct arg[]){ __VA_ARGS__ }, sizeof((struct arg[]){ __VA_ARGS__ }) / sizeof(struct arg)

/* ---- statements ---- */
enum bm_err db_fail(struct registry *r, struct bm_msg *msg, const char *what);
enum bm_err db_query(struct registry *r, const char *sql, const struct arg *args, size_t count,
    sqlite3_stmt **out, struct bm_msg *msg);
enum bm_err db_step(struct registry *r, sqlite3_stmt *st, bool *row, struct bm_msg *msg);
void db_end(sqlite3_stmt *st); /* takes NULL */

/* Fill what `to` points at from the row where the statement stands. */
typedef enum bm_err (*db_row_fn)(void *to, sqlite3_stmt *st, struct bm_msg *msg);
/* The first row. BM_ERR_NOT_FOUND, without a message: there is none, and `fn` was not called. */
enum bm_err db_one(struct registry *r, const char *sql, const struct arg *args, size_t count,
    db_row_fn fn, void *to, struct bm_msg *msg);
/* Run to the end; *changes (may be NULL) gets the number of rows changed. */
enum bm_err db_run(struct registry *r, const char *sql, const struct arg *args, size_t count,
    int *changes, struct bm_msg *msg);
/* One number of the first row; BM_ERR_NOT_FOUND without message when there is no row. */
enum bm_err db_number(struct registry *r, const char *sql, const struct arg *args, size_t count,
    int64_t *out, struct bm_msg *msg);

/* ---- columns; what has another size than it must have reads as zeros ---- */
void col_id(sqlite3_stmt *st, int col, uint8_t out[REGISTRY_ID_LEN]);
void col_text(sqlite3_stmt *st, int col, char *out, size_t cap);
void col_uuid(sqlite3_stmt *st, int col, char out[37]);
enum bm_err col_buf(sqlite3_stmt *st, int col, struct buf *out, struct bm_msg *msg); /* appends */

/* ---- mutations ---- */
/* One statement that is a whole mutation: SQLite undoes it alone when it fails, no savepoint
 * needed. */
enum bm_err db_change(struct registry *r, const char *sql, const struct arg *args, size_t count,
    int *changes, struct bm_msg *msg);

struct op {
    struct registry *r;
    size_t touched;
    bool open;
};
enum bm_err op_begin(struct registry *r, struct op *op, struct bm_msg *msg);
/* Keep when err is BM_OK, else undo; returns the error to hand on. */
enum bm_err op_end(struct op *op, enum bm_err err, struct bm_msg *msg);
enum bm_err store_touch(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg);

/* ---- small things ---- */
enum bm_err store_random(uint8_t *out, size_t len, struct bm_msg *msg);
enum bm_err store_uuid(uint8_t out[UUID_LEN], struct bm_msg *msg);
const char *store_id_text(char out[65], const uint8_t id[REGISTRY_ID_LEN]);

/* Markers: base64 of a letter for the list and the row number of the last item shown. */
enum bm_err marker_read(
    const struct registry_page *page, char list, int64_t *out, struct bm_msg *msg);
void marker_write(struct registry_page *page, char list, int64_t row);

/*
 * Run a list query `sql` with the arguments (marker row, limit + 1, extra...). Calls item() for
 * each row of the page; column 0 is the row number.
 */
enum { PAGE_EXTRA_MAX = 4 };
typedef enum bm_err (*page_item_fn)(void *arg, sqlite3_stmt *st, struct bm_msg *msg);
struct page_query {
    char list; /* a letter of its own for each list */
    const char *ascending;
    const char *descending;
    const struct arg *extra;
    size_t extra_count;
};
enum bm_err page_run(struct registry *r, struct registry_page *page, const struct page_query *q,
    page_item_fn item, void *arg, struct bm_msg *msg);

/* A list whose column 1 is a name; upwards only. */
enum bm_err page_names(struct registry *r, struct registry_page *page, char list,
    const char *ascending, const struct arg *extra, size_t extra_count, registry_name_fn fn,
    void *arg, struct bm_msg *msg);

/* certificates.c */
enum bm_err cert_row_number(
    struct registry *r, const uint8_t id[REGISTRY_ID_LEN], int64_t *out, struct bm_msg *msg);

/* groups.c */
enum bm_err group_row_number(
    struct registry *r, const char *name, int64_t *out, struct bm_msg *msg);

/* things.c */
enum bm_err thing_row_number(
    struct registry *r, const char *name, int64_t *out, struct bm_msg *msg);

/*
 * policies.c: give the certificate the set of the policies that count for it; the same for all
 * certificates of the query `sql`, whose columns are row and id, and whose one argument is `of`.
 */
enum bm_err policy_set_refresh(struct registry *r, int64_t cert_row, struct bm_msg *msg);
enum bm_err policy_sets_refresh(
    struct registry *r, const char *sql, int64_t of, struct bm_msg *msg);

/* names.c. SPEC aws-iot 3.5 */
bool status_may_change(enum cert_status from, enum cert_status to);

/* schema.c: make or check the schema. */
enum bm_err schema_open(struct registry *r, const char *path, struct bm_msg *msg);

#endif
