/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline's records. Causes are stored by their stable id, not by their number in the enum.
 *
 * The index over certificates holds the first 8 bytes of the id: enough to find the few rows, a
 * quarter of the size.
 */
#include "registry/store.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_EVERY = 256, DROP_MAX = 4 * LOOK_EVERY };

/*
 * Drop the oldest beyond timeline_max. A few at a time, so that no record waits long: more than
 * came since the last look, so that a smaller limit is reached, too.
 */
static enum bm_err
trim(struct registry *r, struct bm_msg *msg)
{
    static const char sql[] =
        "DELETE FROM timeline WHERE row <= (SELECT max(row) FROM timeline) - ?1"
        " AND row < (SELECT min(row) FROM timeline) + ?2";

    if (r->timeline_max == 0 || ++r->recorded < LOOK_EVERY)
        return BM_OK;
    r->recorded = 0;
    return db_change(r, sql, ARGS(a_int((int64_t)r->timeline_max), a_int(DROP_MAX)), NULL, msg);
}

enum bm_err
registry_record(struct registry *r, const struct timeline_record *rec, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO timeline(time, cause, cert, client, peer, status, facts)"
                              " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    enum bm_err err = trim(r, msg);

    if (err != BM_OK)
        return err;
    return db_change(r, sql,
        ARGS(a_int(rec->time_ms), a_text(cause_info(rec->cause)->id),
            a_id(rec->has_cert ? rec->cert_id : NULL), a_text(rec->client_id), a_text(rec->peer),
            a_text(rec->status), a_text(rec->facts)),
        NULL, msg);
}

static void
record_row(sqlite3_stmt *st, struct timeline_record *rec)
{
    char cause[64];

    *rec = (struct timeline_record){ .time_ms = sqlite3_column_int64(st, 1),
        .has_cert = sqlite3_column_type(st, 3) != SQLITE_NULL };
    col_text(st, 2, cause, sizeof cause);
    col_id(st, 3, rec->cert_id);
    col_text(st, 4, rec->client_id, sizeof rec->client_id);
    col_text(st, 5, rec->peer, sizeof rec->peer);
    col_text(st, 6, rec->status, sizeof rec->status);
    col_text(st, 7, rec->facts, sizeof rec->facts);
    if (!cause_by_id(cause, &rec->cause)) { /* of a newer program: show at least its id */
        char facts[sizeof rec->facts];

        (void)snprintf(facts, sizeof facts, "cause=%s %.180s", cause, rec->facts);
        (void)snprintf(rec->facts, sizeof rec->facts, "%s", facts);
    }
}

/* *seen counts them. */
static enum bm_err
read_rows(struct registry *r, const char *sql, const struct arg *args, size_t count,
    registry_row_fn fn, void *arg, size_t *seen, struct bm_msg *msg)
{
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, args, count, &st, msg);

    for (*seen = 0; err == BM_OK; ++*seen) {
        struct timeline_record rec;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        record_row(st, &rec);
        fn(arg, sqlite3_column_int64(st, 0), &rec);
    }
    db_end(st);
    return err;
}

struct records_to {
    registry_record_fn fn;
    void *arg;
};

static void
pass_record(void *arg, int64_t row, const struct timeline_record *rec)
{
    const struct records_to *to = arg;

    (void)row;
    to->fn(to->arg, rec);
}

static enum bm_err
read_records(struct registry *r, const char *sql, const struct arg *args, size_t count,
    registry_record_fn fn, void *arg, struct bm_msg *msg)
{
    struct records_to to = { fn, arg };
    size_t n = 0;
    enum bm_err err = read_rows(r, sql, args, count, pass_record, &to, &n, msg);

    return err == BM_OK && n == 0 ? bm_fail(msg, BM_ERR_NOT_FOUND, "nothing is recorded") : err;
}

#define COLUMNS "row, time, cause, cert, client, peer, status, facts"
/* the last ?2 of those chosen by WHERE, oldest first */
#define LAST(where)                                                                                \
    "SELECT * FROM (SELECT " COLUMNS " FROM timeline " where                                       \
    " ORDER BY row DESC LIMIT ?2) ORDER BY row"

static struct arg
a_limit(size_t limit)
{
    return a_int(limit < INT32_MAX ? (int64_t)limit : INT32_MAX);
}

enum bm_err
registry_timeline_cert(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN], size_t limit,
    registry_record_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        LAST("WHERE cert IS NOT NULL AND substr(cert, 1, 8) = substr(?1, 1, 8) AND cert = ?1");

    return read_records(r, sql, ARGS(a_id(cert_id), a_limit(limit)), fn, arg, msg);
}

enum bm_err
registry_timeline_client(struct registry *r, const char *client_id, size_t limit,
    registry_record_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        LAST("WHERE row IN (SELECT row FROM timeline WHERE client <> '' AND client = ?1"
             " UNION SELECT t.row FROM (SELECT DISTINCT cert AS id FROM timeline"
             " WHERE client <> '' AND client = ?1 AND cert IS NOT NULL) AS used"
             " JOIN timeline AS t ON t.cert IS NOT NULL"
             " AND substr(t.cert, 1, 8) = substr(used.id, 1, 8) AND t.cert = used.id)");

    if (client_id[0] == '\0')
        return bm_fail(msg, BM_ERR_ARG, "an empty client id");
    return read_records(r, sql, ARGS(a_text(client_id), a_limit(limit)), fn, arg, msg);
}

enum bm_err
registry_timeline_recent(
    struct registry *r, size_t limit, registry_record_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = LAST("WHERE ?1 IS NULL");

    return read_records(
        r, sql, ARGS((struct arg){ .kind = ARG_NULL }, a_limit(limit)), fn, arg, msg);
}

enum bm_err
registry_timeline_after(struct registry *r, int64_t after, size_t limit, registry_row_fn fn,
    void *arg, struct bm_msg *msg)
{
    static const char sql[] = LAST("WHERE row > ?1");
    size_t n;

    return read_rows(r, sql, ARGS(a_int(after), a_limit(limit)), fn, arg, &n, msg);
}

enum bm_err
registry_timeline_last(struct registry *r, int64_t *row, struct bm_msg *msg)
{
    static const char sql[] = "SELECT coalesce(max(row), 0) FROM timeline";

    return db_number(r, sql, NULL, 0, row, msg);
}

/*
 * There is no index over times, but records are written as they happen: by bisection. Where a clock
 * was set back in between, it is one of the places where the time passes `time_ms`.
 */
enum bm_err
registry_timeline_since(struct registry *r, int64_t time_ms, int64_t *row, struct bm_msg *msg)
{
    static const char first[] = "SELECT coalesce(min(row), 1) - 1 FROM timeline";
    static const char before[] = "SELECT coalesce((SELECT time < ?2 FROM timeline WHERE row > ?1"
                                 " ORDER BY row LIMIT 1), 0)";
    int64_t last = 0;
    int64_t is_before;
    enum bm_err err = db_number(r, first, NULL, 0, row, msg);

    if (err == BM_OK)
        err = registry_timeline_last(r, &last, msg);
    while (err == BM_OK && *row < last) { /* the answer is in *row..last */
        int64_t middle = *row + (last - *row) / 2;

        err = db_number(r, before, ARGS(a_int(middle), a_int(time_ms)), &is_before, msg);
        if (err == BM_OK && is_before != 0)
            *row = middle + 1;
        else
            last = middle;
    }
    return err;
}

enum bm_err
registry_timeline_clients(struct registry *r, const char *prefix, size_t limit,
    registry_client_fn fn, void *arg, struct bm_msg *msg)
{
    /* a client id may have any number of records: look at some thousand of them, not at all */
    static const char sql[] =
        "SELECT DISTINCT client, cert FROM (SELECT client, cert FROM timeline"
        " WHERE client <> '' AND client >= ?1 AND client < ?1 || char(1114111) LIMIT 5000)"
        " WHERE cert IS NOT NULL LIMIT ?2";
    sqlite3_stmt *st;
    bool row = true;
    enum bm_err err = db_query(r, sql, ARGS(a_text(prefix), a_limit(limit)), &st, msg);

    while (err == BM_OK && row) {
        char client[TIMELINE_CLIENT_MAX + 1];
        uint8_t id[REGISTRY_ID_LEN];

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_text(st, 0, client, sizeof client);
        col_id(st, 1, id);
        fn(arg, client, id);
    }
    db_end(st);
    return err;
}

/* The least and the greatest id that begin with these digits. */
static enum bm_err
prefix_range(const char *prefix, uint8_t least[REGISTRY_ID_LEN], uint8_t most[REGISTRY_ID_LEN])
{
    char low[2 * REGISTRY_ID_LEN];
    char high[2 * REGISTRY_ID_LEN];
    size_t len = strlen(prefix);

    if (len == 0 || len > sizeof low)
        return BM_ERR_INPUT;
    memset(low, '0', sizeof low);
    memset(high, 'f', sizeof high);
    memcpy(low, prefix, len);
    memcpy(high, prefix, len);
    if (hex_decode(least, REGISTRY_ID_LEN, span_of(low, sizeof low)) != BM_OK)
        return BM_ERR_INPUT;
    return hex_decode(most, REGISTRY_ID_LEN, span_of(high, sizeof high));
}

enum bm_err
registry_timeline_prefix(
    struct registry *r, const char *prefix, uint8_t out[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    /* the first and the last of each table: when all are the same, there is one */
#define SEEN                                                                                       \
    "SELECT cert FROM timeline WHERE cert IS NOT NULL"                                             \
    " AND substr(cert, 1, 8) BETWEEN substr(?1, 1, 8) AND substr(?2, 1, 8)"                        \
    " AND cert BETWEEN ?1 AND ?2 ORDER BY substr(cert, 1, 8)"
#define REGISTERED "SELECT id FROM certs WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
    static const char sql[] = "SELECT * FROM (" SEEN " LIMIT 1)"
                              " UNION SELECT * FROM (" SEEN " DESC LIMIT 1)"
                              " UNION SELECT * FROM (" REGISTERED " LIMIT 1)"
                              " UNION SELECT * FROM (" REGISTERED " DESC LIMIT 1)";
    uint8_t least[REGISTRY_ID_LEN];
    uint8_t most[REGISTRY_ID_LEN];
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum bm_err err;

    if (prefix_range(prefix, least, most) != BM_OK)
        return bm_fail(msg, BM_ERR_INPUT, "'%.80s' is not 1 to 64 hex digits", prefix);
    err = db_query(r, sql, ARGS(a_id(least), a_id(most)), &st, msg);
    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && !row)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "no certificate's id begins with %s", prefix);
    if (err == BM_OK) {
        col_id(st, 0, out);
        err = db_step(r, st, &row, msg);
        if (err == BM_OK && row)
            err = bm_fail(msg, BM_ERR_EXISTS,
                "the ids of several certificates begin with %s; give more digits", prefix);
    }
    db_end(st);
    return err;
}

#define AMONG_THE_NEWEST "row > (SELECT max(row) FROM timeline) - ?3"

enum bm_err
registry_timeline_peer(struct registry *r, const char *address, size_t limit, registry_record_fn fn,
    void *arg, struct bm_msg *msg)
{
    static const char sql[] = LAST(
        "WHERE " AMONG_THE_NEWEST " AND (peer = ?1 OR (substr(peer, 1, length(?1) + 1) = ?1 || ':'"
        " AND instr(substr(peer, length(?1) + 2), ':') = 0))");

    return read_records(
        r, sql, ARGS(a_text(address), a_limit(limit), a_int(REGISTRY_TIMELINE_SCAN)), fn, arg, msg);
}

enum bm_err
registry_timeline_newest(
    struct registry *r, enum cause_class kind, struct timeline_record *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM timeline ORDER BY row DESC LIMIT ?1";
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum bm_err err = db_query(r, sql, ARGS(a_int(REGISTRY_TIMELINE_SCAN)), &st, msg);

    while (err == BM_OK) {
        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        record_row(st, out);
        if (cause_info(out->cause)->kind == kind)
            break;
    }
    db_end(st);
    return err == BM_OK && !row ? bm_fail(msg, BM_ERR_NOT_FOUND, "nothing of it is recorded") : err;
}
