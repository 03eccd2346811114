/* SPDX-License-Identifier: Apache-2.0 */
/* Device certificates. SPEC aws-iot 1.3.2, 3.5. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS                                                                                    \
    "certs.row, certs.id, certs.status, certs.mode, issuers.id, certs.created, certs.modified,"    \
    " certs.not_before, certs.not_after, certs.version, certs.generation, certs.policy_set"
#define FROM " FROM certs LEFT JOIN issuers ON issuers.row = certs.issuer"

static void
cert_row(sqlite3_stmt *st, struct registry_cert *c)
{
    *c = (struct registry_cert){ 0 };
    col_id(st, 1, c->id);
    c->status = (enum cert_status)sqlite3_column_int(st, 2);
    c->mode = (enum cert_mode)sqlite3_column_int(st, 3);
    c->has_ca = sqlite3_column_type(st, 4) != SQLITE_NULL;
    col_id(st, 4, c->ca_id);
    c->created_ms = sqlite3_column_int64(st, 5);
    c->modified_ms = sqlite3_column_int64(st, 6);
    c->not_before_ms = sqlite3_column_int64(st, 7);
    c->not_after_ms = sqlite3_column_int64(st, 8);
    c->version = sqlite3_column_int(st, 9);
    col_uuid(st, 10, c->generation);
    c->policy_set = (uint32_t)sqlite3_column_int64(st, 11);
}

enum bm_err
cert_row_number(
    struct registry *r, const uint8_t id[REGISTRY_ID_LEN], int64_t *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row FROM certs WHERE id = ?1";
    char hex[65];
    enum bm_err err = db_number(r, sql, ARGS(a_id(id)), out, msg);

    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "no certificate %s", store_id_text(hex, id));
    return err;
}

void
registry_cert_fini(struct registry_cert *c)
{
    buf_fini(&c->der);
}

static enum bm_err
issuer_row(struct registry *r, const uint8_t *id, struct arg *out, struct bm_msg *msg)
{
    static const char find[] = "SELECT row FROM issuers WHERE id = ?1";
    static const char add[] = "INSERT INTO issuers(id) VALUES(?1)";
    int64_t row = 0;
    enum bm_err err = db_number(r, find, ARGS(a_id(id)), &row, msg);

    if (err == BM_ERR_NOT_FOUND) {
        err = db_run(r, add, ARGS(a_id(id)), NULL, msg);
        row = sqlite3_last_insert_rowid(r->db);
    }
    *out = a_int(row);
    return err;
}

static enum bm_err
insert(struct registry *r, struct registry_cert *c, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO certs(id, status, mode, issuer, created, modified, not_before, not_after,"
        " version, generation) VALUES(?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, 1, ?8)"
        " ON CONFLICT(id) DO NOTHING";
    static const char sql_der[] = "INSERT INTO cert_der(row, der) VALUES(?1, ?2)";
    struct arg issuer = { .kind = ARG_NULL };
    uint8_t uuid[UUID_LEN];
    int64_t now = clock_wall_ms();
    int changes;
    char hex[65];
    enum bm_err err = store_uuid(uuid, msg);

    if (err == BM_OK && c->has_ca)
        err = issuer_row(r, c->ca_id, &issuer, msg);
    if (err == BM_OK)
        err = db_run(r, sql,
            ARGS(a_id(c->id), a_int(c->status), a_int(c->mode), issuer, a_int(now),
                a_int(c->not_before_ms), a_int(c->not_after_ms), a_blob(SPAN(uuid))),
            &changes, msg);
    if (err != BM_OK)
        return err;
    if (changes == 0)
        return bm_fail(
            msg, BM_ERR_EXISTS, "certificate %s is registered already", store_id_text(hex, c->id));
    err = db_run(r, sql_der,
        ARGS(a_int(sqlite3_last_insert_rowid(r->db)), a_blob(buf_span(&c->der))), NULL, msg);
    c->created_ms = now;
    c->modified_ms = now;
    c->version = 1;
    c->policy_set = 0;
    uuid_text(c->generation, uuid);
    return err == BM_OK ? store_touch(r, c->id, msg) : err;
}

enum bm_err
registry_cert_insert(struct registry *r, struct registry_cert *c, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = insert(r, c, msg);
    return op_end(&op, err, msg);
}

/* One certificate, without its DER; *row is its number. */
static enum bm_err
cert_find(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct registry_cert *out,
    int64_t *row_number, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS FROM " WHERE certs.id = ?1";
    sqlite3_stmt *st;
    bool row = false;
    char hex[65];
    enum bm_err err = db_query(r, sql, ARGS(a_id(id)), &st, msg);

    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row) {
        *row_number = sqlite3_column_int64(st, 0);
        cert_row(st, out);
    }
    db_end(st);
    if (err == BM_OK && !row)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no certificate %s", store_id_text(hex, id));
    return err;
}

static enum bm_err
read_der(struct registry *r, int64_t row_number, struct buf *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT der FROM cert_der WHERE row = ?1";
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, ARGS(a_int(row_number)), &st, msg);

    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        err = col_buf(st, 0, out, msg);
    db_end(st);
    return err;
}

enum bm_err
registry_cert_get(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct registry_cert *out,
    struct bm_msg *msg)
{
    int64_t row = 0;
    enum bm_err err;

    *out = (struct registry_cert){ 0 };
    err = cert_find(r, id, out, &row, msg);
    if (err == BM_OK)
        err = read_der(r, row, &out->der, msg);
    if (err != BM_OK)
        registry_cert_fini(out);
    return err;
}

static enum bm_err
set_status(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], enum cert_status to,
    enum cert_status *old, struct bm_msg *msg)
{
    static const char sql[] =
        "UPDATE certs SET status = ?2, modified = ?3, version = version + 1 WHERE row = ?1";
    struct registry_cert c;
    int64_t row = 0;
    enum bm_err err = cert_find(r, id, &c, &row, msg);

    if (err != BM_OK)
        return err;
    if (old != NULL)
        *old = c.status;
    if (!status_may_change(c.status, to))
        return bm_fail(msg, BM_ERR_CONFLICT, "a certificate that is %s cannot become %s",
            cert_status_name(c.status), cert_status_name(to));
    err = db_run(r, sql, ARGS(a_int(row), a_int(to), a_int(clock_wall_ms())), NULL, msg);
    return err == BM_OK ? store_touch(r, id, msg) : err;
}

enum bm_err
registry_cert_set_status(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], enum cert_status to,
    enum cert_status *old, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = set_status(r, id, to, old, msg);
    return op_end(&op, err, msg);
}

static enum bm_err
delete_cert(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], bool force, bool *attached,
    struct bm_msg *msg)
{
    static const char sql_attached[] = "SELECT count(*) FROM attachments WHERE cert = ?1";
    static const char sql_things[] = "SELECT count(*) FROM thing_principals WHERE cert = ?1";
    static const char sql[] = "DELETE FROM certs WHERE row = ?1"; /* and what hangs on the row */
    struct registry_cert c;
    int64_t row = 0;
    int64_t policies = 0;
    int64_t things = 0;
    char hex[65];
    enum bm_err err = cert_find(r, id, &c, &row, msg);

    if (err == BM_OK)
        err = db_number(r, sql_attached, ARGS(a_int(row)), &policies, msg);
    if (err == BM_OK)
        err = db_number(r, sql_things, ARGS(a_int(row)), &things, msg);
    if (err != BM_OK)
        return err;
    if (c.status == CERT_ACTIVE)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "certificate %s is ACTIVE; set it INACTIVE before deleting it", store_id_text(hex, id));
    if (things > 0) { /* SPEC aws-iot 3.5: not even by force */
        *attached = true;
        return bm_fail(msg, BM_ERR_CONFLICT,
            "certificate %s has %lld things attached; detach them before deleting it",
            store_id_text(hex, id), (long long)things);
    }
    if (policies > 0 && !force) {
        *attached = true;
        return bm_fail(msg, BM_ERR_CONFLICT,
            "certificate %s has %lld policies attached; detach them, or force the deletion",
            store_id_text(hex, id), (long long)policies);
    }
    err = db_run(r, sql, ARGS(a_int(row)), NULL, msg);
    return err == BM_OK ? store_touch(r, id, msg) : err;
}

enum bm_err
registry_cert_delete(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], bool force,
    bool *attached, struct bm_msg *msg)
{
    struct op op;
    bool unused;
    enum bm_err err = op_begin(r, &op, msg);

    if (attached == NULL)
        attached = &unused;
    *attached = false;
    if (err == BM_OK)
        err = delete_cert(r, id, force, attached, msg);
    return op_end(&op, err, msg);
}

struct list_to {
    registry_cert_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_cert c;

    (void)msg;
    cert_row(st, &c);
    to->fn(to->arg, &c);
    return BM_OK;
}

enum bm_err
registry_cert_list(struct registry *r, const uint8_t *ca_id, struct registry_page *page,
    registry_cert_fn fn, void *arg, struct bm_msg *msg)
{
    static const char up[] =
        "SELECT " COLUMNS FROM " WHERE certs.row > ?1 ORDER BY certs.row LIMIT ?2";
    static const char down[] =
        "SELECT " COLUMNS FROM " WHERE certs.row < ?1 ORDER BY certs.row DESC LIMIT ?2";
    static const char ca_up[] =
        "SELECT " COLUMNS FROM " WHERE certs.issuer = (SELECT row FROM issuers WHERE id = ?3)"
        " AND certs.row > ?1 ORDER BY certs.row LIMIT ?2";
    static const char ca_down[] =
        "SELECT " COLUMNS FROM " WHERE certs.issuer = (SELECT row FROM issuers WHERE id = ?3)"
        " AND certs.row < ?1 ORDER BY certs.row DESC LIMIT ?2";
    struct list_to to = { fn, arg };
    struct arg ca = a_id(ca_id);

    const struct page_query query = { .list = 'c',
        .ascending = ca_id != NULL ? ca_up : up,
        .descending = ca_id != NULL ? ca_down : down,
        .extra = &ca,
        .extra_count = ca_id != NULL ? 1 : 0 };

    return page_run(r, page, &query, list_item, &to, msg);
}

struct read_to {
    registry_der_fn fn;
    void *arg;
};

static enum bm_err
read_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct read_to *to = arg;
    struct registry_cert c;

    (void)msg;
    cert_row(st, &c);
    to->fn(to->arg, &c,
        (struct span){ sqlite3_column_blob(st, 12), (size_t)sqlite3_column_bytes(st, 12) });
    return BM_OK;
}

enum bm_err
registry_cert_read(struct registry *r, const uint8_t *ca_id, struct registry_page *page,
    registry_der_fn fn, void *arg, struct bm_msg *msg)
{
    static const char all[] = "SELECT " COLUMNS ", cert_der.der" FROM
                              " JOIN cert_der ON cert_der.row = certs.row"
                              " WHERE certs.row < ?1 ORDER BY certs.row DESC LIMIT ?2";
    static const char of_ca[] =
        "SELECT " COLUMNS ", cert_der.der" FROM " JOIN cert_der ON cert_der.row = certs.row"
        " WHERE certs.issuer = (SELECT row FROM issuers WHERE id = ?3)"
        " AND certs.row < ?1 ORDER BY certs.row DESC LIMIT ?2";
    struct read_to to = { fn, arg };
    struct arg ca = a_id(ca_id);
    const struct page_query query = { .list = 'c',
        .descending = ca_id != NULL ? of_ca : all,
        .extra = &ca,
        .extra_count = ca_id != NULL ? 1 : 0 };

    return page_run(r, page, &query, read_item, &to, msg);
}

enum bm_err
registry_cert_between(struct registry *r, const uint8_t low[REGISTRY_ID_LEN],
    const uint8_t high[REGISTRY_ID_LEN], size_t limit, registry_cert_fn fn, void *arg,
    struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " COLUMNS FROM " WHERE certs.id BETWEEN ?1 AND ?2 ORDER BY certs.id LIMIT ?3";
    struct list_to to = { fn, arg };
    sqlite3_stmt *st;
    bool row = true;
    enum bm_err err =
        db_query(r, sql, ARGS(a_id(low), a_id(high), a_int((int64_t)limit)), &st, msg);

    while (err == BM_OK && row) {
        err = db_step(r, st, &row, msg);
        if (err == BM_OK && row)
            err = list_item(&to, st, msg);
    }
    db_end(st);
    return err;
}
