/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must still happen after a crash: events and messages of rules to publish, functions to run.
 * All at least once: a row goes only after its consequence is durable or sent.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

/* ---- events ---- */

void
registry_event_fini(struct registry_event *e)
{
    buf_fini(&e->topic);
    buf_fini(&e->payload);
}

enum bm_err
registry_event_add(struct registry *r, const char *topic, struct span payload,
    const uint8_t *cert_id, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO events(created, cert, topic, payload) VALUES(?1, ?2, ?3, ?4)";

    return db_change(r, sql,
        ARGS(a_int(clock_wall_ms()), a_id(cert_id), a_text(topic), a_blob(payload)), NULL, msg);
}

static enum bm_err
event_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_event *e = to;
    enum bm_err err;

    *e = (struct registry_event){ .id = sqlite3_column_int64(st, 0),
        .created_ms = sqlite3_column_int64(st, 1),
        .has_cert = sqlite3_column_type(st, 2) != SQLITE_NULL };
    col_id(st, 2, e->cert_id);
    err = col_buf(st, 3, &e->topic, msg);
    return err == BM_OK ? col_buf(st, 4, &e->payload, msg) : err;
}

enum bm_err
registry_event_next(
    struct registry *r, int64_t after, struct registry_event *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row, created, cert, topic, payload FROM events"
                              " WHERE row > ?1 ORDER BY row LIMIT 1";
    enum bm_err err;

    *out = (struct registry_event){ 0 };
    err = db_one(r, sql, ARGS(a_int(after)), event_row, out, msg);
    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "no event above %lld", (long long)after);
    return err;
}

static enum bm_err
change_row(struct registry *r, const char *sql, const struct arg *args, size_t count,
    const char *what, int64_t id, struct bm_msg *msg)
{
    int changes;
    enum bm_err err = db_change(r, sql, args, count, &changes, msg);

    if (err == BM_OK && changes == 0)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "no %s %lld", what, (long long)id);
    return err;
}

enum bm_err
registry_event_done(struct registry *r, int64_t id, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM events WHERE row = ?1";

    return change_row(r, sql, ARGS(a_int(id)), "event", id, msg);
}

/* ---- what rules publish ---- */

enum bm_err
registry_republished_add(
    struct registry *r, struct span topic, struct span payload, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO republished(topic, payload) VALUES(?1, ?2)";

    return db_change(r, sql, ARGS(a_blob(topic), a_blob(payload)), NULL, msg);
}

static struct span
column(sqlite3_stmt *st, int col)
{
    const void *bytes = sqlite3_column_blob(st, col);

    return span_of(bytes, (size_t)sqlite3_column_bytes(st, col));
}

enum bm_err
registry_republished_list(struct registry *r, int64_t after, size_t limit,
    registry_republished_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT row, topic, payload FROM republished WHERE row > ?1 ORDER BY row LIMIT ?2";
    sqlite3_stmt *st;
    enum bm_err err =
        db_query(r, sql, ARGS(a_int(after), a_int((int64_t)(limit & INT32_MAX))), &st, msg);
    bool row = true;

    while (err == BM_OK && row) {
        err = db_step(r, st, &row, msg);
        if (err == BM_OK && row) {
            const struct registry_republished m = { sqlite3_column_int64(st, 0), column(st, 1),
                column(st, 2) };

            fn(arg, &m);
        }
    }
    db_end(st);
    return err;
}

enum bm_err
registry_republished_done(struct registry *r, int64_t id, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM republished WHERE row = ?1";

    return change_row(r, sql, ARGS(a_int(id)), "republished message", id, msg);
}

/* ---- invocations ---- */

void
registry_invocation_fini(struct registry_invocation *i)
{
    buf_fini(&i->payload);
}

enum bm_err
registry_invocation_add(struct registry *r, struct registry_invocation *i, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO invocations(created, due, attempt, request, function, cert, payload)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    int64_t now = clock_wall_ms();
    uint8_t uuid[UUID_LEN];
    enum bm_err err = store_uuid(uuid, msg);

    if (err == BM_OK)
        err = db_change(r, sql,
            ARGS(a_int(now), a_int(i->due_ms), a_int(i->attempt), a_blob(SPAN(uuid)),
                a_text(i->function), a_id(i->has_cert ? i->cert_id : NULL),
                a_blob(buf_span(&i->payload))),
            NULL, msg);
    if (err == BM_OK) {
        i->id = sqlite3_last_insert_rowid(r->db);
        i->created_ms = now;
        uuid_text(i->request_id, uuid);
    }
    return err;
}

static enum bm_err
invocation_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_invocation *i = to;

    *i = (struct registry_invocation){ .id = sqlite3_column_int64(st, 0),
        .created_ms = sqlite3_column_int64(st, 1),
        .due_ms = sqlite3_column_int64(st, 2),
        .attempt = sqlite3_column_int(st, 3),
        .has_cert = sqlite3_column_type(st, 6) != SQLITE_NULL };
    col_uuid(st, 4, i->request_id);
    col_text(st, 5, i->function, sizeof i->function);
    col_id(st, 6, i->cert_id);
    return col_buf(st, 7, &i->payload, msg);
}

#define INVOCATION "row, created, due, attempt, request, function, cert, payload"

static enum bm_err
each_invocation(struct registry *r, const char *sql, const struct arg *args, size_t count,
    registry_invocation_fn fn, void *arg, struct bm_msg *msg)
{
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, args, count, &st, msg);

    while (err == BM_OK) {
        struct registry_invocation i;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = invocation_row(&i, st, msg);
        if (err == BM_OK)
            fn(arg, &i);
        registry_invocation_fini(&i);
    }
    db_end(st);
    return err;
}

enum bm_err
registry_invocation_list(
    struct registry *r, size_t limit, registry_invocation_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " INVOCATION " FROM invocations ORDER BY due, row LIMIT ?1";

    return each_invocation(r, sql, ARGS(a_int((int64_t)(limit & INT32_MAX))), fn, arg, msg);
}

enum bm_err
registry_invocation_due(struct registry *r, const char *function, int64_t now_ms, size_t limit,
    registry_invocation_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " INVOCATION " FROM invocations"
                              " WHERE function = ?1 AND due <= ?2 ORDER BY due, row LIMIT ?3";

    return each_invocation(r, sql,
        ARGS(a_text(function), a_int(now_ms), a_int((int64_t)(limit & INT32_MAX))), fn, arg, msg);
}

/* From name to name by the index, however many wait for one. */
enum bm_err
registry_invocation_functions(
    struct registry *r, registry_name_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "WITH RECURSIVE f(name) AS (SELECT min(function) FROM invocations UNION ALL"
        " SELECT (SELECT min(function) FROM invocations WHERE function > name) FROM f"
        " WHERE name IS NOT NULL) SELECT name FROM f WHERE name IS NOT NULL";
    char name[REGISTRY_NAME_MAX + 1];
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    while (err == BM_OK) {
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_text(st, 0, name, sizeof name);
        fn(arg, name);
    }
    db_end(st);
    return err;
}

enum bm_err
registry_invocation_next(struct registry *r, int64_t now_ms, int64_t *due_ms, struct bm_msg *msg)
{
    static const char sql[] = "SELECT due FROM invocations WHERE due > ?1 ORDER BY due LIMIT 1";
    enum bm_err err = db_number(r, sql, ARGS(a_int(now_ms)), due_ms, msg);

    if (err != BM_ERR_NOT_FOUND)
        return err;
    *due_ms = INT64_MAX;
    return BM_OK;
}

enum bm_err
registry_invocation_retry(struct registry *r, int64_t id, int64_t due_ms, struct bm_msg *msg)
{
    static const char sql[] =
        "UPDATE invocations SET attempt = attempt + 1, due = ?2 WHERE row = ?1";

    return change_row(r, sql, ARGS(a_int(id), a_int(due_ms)), "invocation", id, msg);
}

enum bm_err
registry_invocation_done(struct registry *r, int64_t id, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM invocations WHERE row = ?1";

    return change_row(r, sql, ARGS(a_int(id)), "invocation", id, msg);
}
