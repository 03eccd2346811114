/* SPDX-License-Identifier: Apache-2.0 */
/* See queue.h. */
#include "device/queue.h"

#include "base/file.h"
#include "wire/mqtt.h"
#include "wire/topic.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { VERSION = 2, BUSY_MS = 10000, APPLICATION = 0x424d4451 /* BMDQ */ };

enum statement { PUT, OLDEST, DONE, REFUSE, RETRY, CLEAR_REFUSED, DROPPED, TOTALS, STATEMENTS };

struct queue {
    struct queue_options o;
    sqlite3 *db;
    sqlite3_stmt *st[STATEMENTS];
    bool open; /* a transaction is under way */
};

/* The totals are kept by triggers, so that they are right whichever program changes the queue. */
static const char schema[] =
    "CREATE TABLE message(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
    " topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL);"
    "CREATE TABLE refused(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, topic TEXT NOT NULL,"
    " payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, reason INTEGER NOT "
    "NULL);"
    "CREATE TABLE total(count INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL);"
    "INSERT INTO total VALUES(0, 0, 0);"
    "CREATE TRIGGER put AFTER INSERT ON message BEGIN UPDATE total SET count = count + 1,"
    " bytes = bytes + length(CAST(new.topic AS BLOB)) + length(new.payload); END;"
    "CREATE TRIGGER gone AFTER DELETE ON message BEGIN UPDATE total SET count = count - 1,"
    " bytes = bytes - length(CAST(old.topic AS BLOB)) - length(old.payload); END;"
    "PRAGMA application_id = 0x424d4451; PRAGMA user_version = 1;";

static const char schema_2[] = "ALTER TABLE refused ADD COLUMN words TEXT NOT NULL DEFAULT '';"
                               "PRAGMA user_version = 2;";

static const char *const texts[STATEMENTS] = {
    [PUT] = "INSERT INTO message(time, topic, payload, qos, retain) VALUES(?, ?, ?, ?, ?)",
    [OLDEST] = "DELETE FROM message WHERE id = (SELECT min(id) FROM message)",
    [DONE] = "DELETE FROM message WHERE id = ?",
    [REFUSE] = "INSERT OR REPLACE INTO refused SELECT id, time, topic, payload, qos, retain, ?2, ?3"
               " FROM message WHERE id = ?1",
    [RETRY] = "INSERT INTO message(time, topic, payload, qos, retain)"
              " SELECT time, topic, payload, qos, retain FROM refused ORDER BY id",
    [CLEAR_REFUSED] = "DELETE FROM refused",
    [DROPPED] = "UPDATE total SET dropped = dropped + 1",
    [TOTALS] = "SELECT count, bytes, dropped, (SELECT count(*) FROM refused) FROM total",
};

static enum bm_err
failed(struct queue *q, struct bm_msg *msg)
{
    int rc = sqlite3_errcode(q->db);

    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        return bm_fail(msg, BM_ERR_INPUT,
            "%s/queue.db is damaged (%s); move it away, and the device goes on with an empty queue",
            q->o.dir, sqlite3_errmsg(q->db));
    return bm_fail(msg, rc == SQLITE_NOMEM ? BM_ERR_MEM : BM_ERR_IO, "%s/queue.db: %s%s", q->o.dir,
        sqlite3_errmsg(q->db), rc == SQLITE_FULL ? "; make room on the disk" : "");
}

static enum bm_err
run(struct queue *q, const char *sql, struct bm_msg *msg)
{
    return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK ? BM_OK : failed(q, msg);
}

static enum bm_err
step(struct queue *q, sqlite3_stmt *st, struct bm_msg *msg)
{
    int rc = sqlite3_step(st);
    enum bm_err err = rc == SQLITE_DONE || rc == SQLITE_ROW ? BM_OK : failed(q, msg);

    (void)sqlite3_reset(st);
    return err;
}

static enum bm_err
number_of(struct queue *q, const char *sql, int64_t *out, struct bm_msg *msg)
{
    sqlite3_stmt *st = NULL;
    enum bm_err err = BM_OK;

    *out = 0;
    if (sqlite3_prepare_v2(q->db, sql, -1, &st, NULL) != SQLITE_OK)
        return failed(q, msg);
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        *out = sqlite3_column_int64(st, 0);
        break;
    case SQLITE_DONE:
        break;
    default:
        err = failed(q, msg);
    }
    (void)sqlite3_finalize(st);
    return err;
}

/* Another program may be making the same file at the same moment. */
static enum bm_err
make_schema(struct queue *q, struct bm_msg *msg)
{
    int64_t version = 0;
    enum bm_err err = run(q, "BEGIN IMMEDIATE", msg);

    if (err != BM_OK)
        return err;
    err = number_of(q, "PRAGMA user_version", &version, msg);
    if (err == BM_OK && version == 0)
        err = run(q, schema, msg);
    if (err == BM_OK && version < VERSION)
        err = run(q, schema_2, msg);
    if (err == BM_OK)
        return run(q, "COMMIT", msg);
    (void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

static enum bm_err
check_version(struct queue *q, struct bm_msg *msg)
{
    int64_t version = 0;
    int64_t application = 0;
    int64_t tables = 0;
    enum bm_err err = number_of(q, "PRAGMA user_version", &version, msg);

    if (err == BM_OK)
        err = number_of(q, "PRAGMA application_id", &application, msg);
    if (err == BM_OK)
        err = number_of(q, "SELECT count(*) FROM sqlite_master", &tables, msg);
    if (err != BM_OK || (version == 0 && tables == 0))
        return err;
    if (application != APPLICATION || version < 1 || version > VERSION)
        return bm_fail(msg, BM_ERR_INPUT,
            "%s/queue.db is of another program or version (%lld); move it away, or use the program "
            "that wrote it",
            q->o.dir, (long long)version);
    return BM_OK;
}

static enum bm_err
prepare(struct queue *q, struct bm_msg *msg)
{
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v2(q->db, texts[i], -1, &q->st[i], NULL) != SQLITE_OK)
            return failed(q, msg);
    }
    return BM_OK;
}

/*
 * Those who open the file for the first time do so one after another: SQLite does not wait for who
 * changes the journal's mode at that moment. Closing the descriptor ends it.
 */
static enum bm_err
take_turn(const char *dir, int *fd, struct bm_msg *msg)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return bm_fail(msg, BM_ERR_IO, "%s: %s", dir, strerror(errno));
    while (flock(*fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return bm_fail(msg, BM_ERR_IO, "cannot lock %s: %s", dir, strerror(errno));
    return BM_OK;
}

enum bm_err
queue_open(const struct queue_options *o, struct queue **out, struct bm_msg *msg)
{
    struct queue *q = calloc(1, sizeof *q);
    char path[PATH_MAX];
    enum bm_err err = BM_OK;
    int turn = -1;

    *out = NULL;
    if (q == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a queue");
    q->o = *o;
    if (q->o.max_count == 0)
        q->o.max_count = QUEUE_COUNT_DEFAULT;
    if (q->o.max_bytes == 0)
        q->o.max_bytes = QUEUE_BYTES_DEFAULT;
    if (snprintf(path, sizeof path, "%s/queue.db", o->dir) >= (int)sizeof path)
        err = bm_fail(msg, BM_ERR_ARG, "the path of the state folder is too long");
    if (err == BM_OK)
        err = dir_make(o->dir, 0700, msg);
    if (err == BM_OK)
        err = take_turn(o->dir, &turn, msg);
    if (err == BM_OK && sqlite3_open_v2(path, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            NULL) != SQLITE_OK)
        err = failed(q, msg);
    if (err == BM_OK) {
        (void)sqlite3_busy_timeout(q->db, BUSY_MS);
        /* a file that somebody else wrote runs no code of theirs */
        (void)sqlite3_db_config(q->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void)sqlite3_db_config(q->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        (void)sqlite3_limit(q->db, SQLITE_LIMIT_LENGTH, 2 * MQTT_PAYLOAD_MAX);
        err = check_version(q, msg);
    }
    if (err == BM_OK)
        err = run(q, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", msg);
    if (err == BM_OK)
        err = make_schema(q, msg);
    if (err == BM_OK)
        err = prepare(q, msg);
    if (turn >= 0)
        (void)close(turn);
    if (err != BM_OK) {
        queue_close(q);
        return err;
    }
    *out = q;
    return BM_OK;
}

enum bm_err
queue_put_away(const char *dir, int64_t now_ms, struct bm_msg *msg)
{
    static const char *const ends[] = { "", "-wal", "-shm" };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char from[PATH_MAX];
        char to[PATH_MAX];

        if (snprintf(from, sizeof from, "%s/queue.db%s", dir, ends[i]) >= (int)sizeof from ||
            snprintf(to, sizeof to, "%s/queue.db.damaged-%lld%s", dir, (long long)now_ms / 1000,
                ends[i]) >= (int)sizeof to)
            return bm_fail(msg, BM_ERR_ARG, "the path of the state folder is too long");
        if (access(from, F_OK) == 0 && rename(from, to) != 0)
            return bm_fail(msg, BM_ERR_IO, "cannot move %s away", from);
    }
    return BM_OK;
}

void
queue_close(struct queue *q)
{
    if (q == NULL)
        return;
    (void)!queue_settle(q, NULL);
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(q->st[i]);
    (void)sqlite3_close(q->db);
    free(q);
}

/* One transaction for everything until it is settled. */
static enum bm_err
begin(struct queue *q, struct bm_msg *msg)
{
    enum bm_err err;

    if (q->open)
        return BM_OK;
    err = run(q, "BEGIN IMMEDIATE", msg);
    q->open = err == BM_OK;
    return err;
}

enum bm_err
queue_settle(struct queue *q, struct bm_msg *msg)
{
    enum bm_err err;

    if (!q->open)
        return BM_OK;
    err = run(q, "COMMIT", msg);
    if (err != BM_OK)
        (void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
    q->open = false;
    return err;
}

enum bm_err
queue_count(struct queue *q, struct queue_counts *out, struct bm_msg *msg)
{
    sqlite3_stmt *st = q->st[TOTALS];
    enum bm_err err = BM_OK;

    *out = (struct queue_counts){ 0 };
    if (sqlite3_step(st) == SQLITE_ROW) {
        out->count = (uint64_t)sqlite3_column_int64(st, 0);
        out->bytes = (uint64_t)sqlite3_column_int64(st, 1);
        out->dropped = (uint64_t)sqlite3_column_int64(st, 2);
        out->refused = (uint64_t)sqlite3_column_int64(st, 3);
    } else {
        err = failed(q, msg);
    }
    (void)sqlite3_reset(st);
    return err;
}

static enum bm_err
make_room(struct queue *q, uint64_t bytes, struct bm_msg *msg)
{
    struct queue_counts have;
    enum bm_err err = queue_count(q, &have, msg);

    if (err == BM_OK && bytes > q->o.max_bytes)
        return bm_fail(msg, BM_ERR_LIMIT, "the message has %llu bytes, the queue has room for %llu",
            (unsigned long long)bytes, (unsigned long long)q->o.max_bytes);
    while (err == BM_OK && have.count > 0 &&
           (have.count >= q->o.max_count || have.bytes + bytes > q->o.max_bytes)) {
        if (q->o.drop_newest)
            return bm_fail(msg, BM_ERR_LIMIT,
                "the queue is full: %llu messages, %llu bytes; it empties once the device is "
                "connected",
                (unsigned long long)have.count, (unsigned long long)have.bytes);
        err = step(q, q->st[OLDEST], msg);
        if (err == BM_OK)
            err = step(q, q->st[DROPPED], msg);
        if (err == BM_OK)
            err = queue_count(q, &have, msg);
    }
    return err;
}

enum bm_err
queue_put(struct queue *q, const struct queue_message *m, struct bm_msg *msg)
{
    sqlite3_stmt *st = q->st[PUT];
    enum bm_err err = begin(q, msg);

    if (err == BM_OK)
        err = make_room(q, strlen(m->topic) + m->payload.len, msg);
    if (err != BM_OK)
        return err;
    (void)sqlite3_bind_int64(st, 1, m->time_ms);
    (void)sqlite3_bind_text(st, 2, m->topic, -1, SQLITE_STATIC);
    (void)sqlite3_bind_blob(st, 3, m->payload.len > 0 ? (const void *)m->payload.ptr : "",
        (int)m->payload.len, SQLITE_STATIC);
    (void)sqlite3_bind_int(st, 4, m->qos);
    (void)sqlite3_bind_int(st, 5, m->retain);
    return step(q, st, msg);
}

enum bm_err
queue_done(struct queue *q, int64_t id, struct bm_msg *msg)
{
    enum bm_err err = begin(q, msg);

    if (err != BM_OK)
        return err;
    (void)sqlite3_bind_int64(q->st[DONE], 1, id);
    return step(q, q->st[DONE], msg);
}

enum bm_err
queue_refuse(struct queue *q, int64_t id, int reason, const char *words, struct bm_msg *msg)
{
    enum bm_err err = begin(q, msg);

    if (err != BM_OK)
        return err;
    (void)sqlite3_bind_int64(q->st[REFUSE], 1, id);
    (void)sqlite3_bind_int(q->st[REFUSE], 2, reason);
    (void)sqlite3_bind_text(q->st[REFUSE], 3, words, -1, SQLITE_TRANSIENT);
    err = step(q, q->st[REFUSE], msg);
    return err == BM_OK ? queue_done(q, id, msg) : err;
}

enum bm_err
queue_retry(struct queue *q, struct bm_msg *msg)
{
    enum bm_err err = begin(q, msg);

    if (err == BM_OK)
        err = step(q, q->st[RETRY], msg);
    return err == BM_OK ? step(q, q->st[CLEAR_REFUSED], msg) : err;
}

enum bm_err
queue_read(struct queue *q, int64_t after, bool refused, queue_fn fn, void *arg, struct bm_msg *msg)
{
    sqlite3_stmt *st = NULL;
    enum bm_err err = BM_OK;
    int rc;

    if (sqlite3_prepare_v2(q->db,
            refused ? "SELECT id, time, topic, payload, qos, retain, reason, words FROM refused"
                      " WHERE id > ? ORDER BY id"
                    : "SELECT id, time, topic, payload, qos, retain, 0, '' FROM message"
                      " WHERE id > ? ORDER BY id",
            -1, &st, NULL) != SQLITE_OK)
        return failed(q, msg);
    (void)sqlite3_bind_int64(st, 1, after);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *topic = (const char *)sqlite3_column_text(st, 2);
        const void *bytes = sqlite3_column_blob(st, 3);
        const char *words = (const char *)sqlite3_column_text(st, 7);
        const struct queue_message m = { .id = sqlite3_column_int64(st, 0),
            .time_ms = sqlite3_column_int64(st, 1),
            .topic = topic != NULL ? topic : "",
            .payload = span_of(bytes, (size_t)sqlite3_column_bytes(st, 3)),
            .qos = sqlite3_column_int(st, 4) != 0,
            .retain = sqlite3_column_int(st, 5) != 0,
            .reason = sqlite3_column_int(st, 6),
            .words = words != NULL ? words : "" };

        if (!fn(arg, &m))
            break;
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        err = failed(q, msg);
    (void)sqlite3_finalize(st);
    return err;
}

enum bm_err
queue_line(struct span line, const char *topic, char room[QUEUE_TOPIC_ROOM],
    struct queue_message *out, struct bm_msg *msg)
{
    struct rd r = rd_of(line);
    size_t len = 0;

    *out = (struct queue_message){ .qos = 1, .topic = room };
    if (topic != NULL) {
        (void)snprintf(room, QUEUE_TOPIC_ROOM, "%s", topic);
    } else {
        while (len < rd_left(&r) && r.pos[len] != ' ' && r.pos[len] != '\t')
            len++;
        if (len >= QUEUE_TOPIC_ROOM || !mqtt_topic_valid(span_of(r.pos, len)))
            return bm_fail(msg, BM_ERR_INPUT,
                "a line begins with the topic, up to 256 bytes, without + and #; then a blank and "
                "the message");
        (void)snprintf(room, QUEUE_TOPIC_ROOM, "%.*s", (int)len, (const char *)r.pos);
        (void)rd_span(&r, len);
        while (rd_left(&r) > 0 && (r.pos[0] == ' ' || r.pos[0] == '\t'))
            (void)rd_u8(&r);
    }
    out->payload = rd_rest(&r);
    if (out->payload.len > MQTT_PAYLOAD_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "a message has at most %d bytes", MQTT_PAYLOAD_MAX);
    return BM_OK;
}
