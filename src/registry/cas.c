/* SPDX-License-Identifier: Apache-2.0 */
/* Registration code and CA certificates. SPEC aws-iot 1.3.1, 3.1 to 3.3. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

enum { SAME_SUBJECT_MAX = 10 }; /* SPEC aws-iot 3.2 */

/* ---- registration code ---- */

static enum bm_err
code_read(struct registry *r, char out[65], struct bm_msg *msg)
{
    static const char sql[] = "SELECT value FROM meta WHERE key = 'registration_code'";
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        col_text(st, 0, out, 65);
    db_end(st);
    if (err == BM_OK && !row)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no registration code was made yet");
    return err;
}

static enum bm_err
code_make(struct registry *r, char out[65], struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO meta(key, value) VALUES('registration_code', ?1)";
    uint8_t code[32];
    enum bm_err err = store_random(code, sizeof code, msg);

    if (err != BM_OK)
        return err;
    hex_encode(out, code, sizeof code);
    return db_change(r, sql, ARGS(a_text(out)), NULL, msg);
}

enum bm_err
registry_code_get(struct registry *r, char out[65], struct bm_msg *msg)
{
    enum bm_err err = code_read(r, out, msg);

    return err == BM_ERR_NOT_FOUND && !r->read_only ? code_make(r, out, msg) : err;
}

enum bm_err
registry_code_delete(struct registry *r, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM meta WHERE key = 'registration_code'";
    int changes;
    enum bm_err err = db_change(r, sql, NULL, 0, &changes, msg);

    if (err == BM_OK && changes == 0)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "there is no registration code");
    return err;
}

/* ---- CA certificates ---- */

#define COLUMNS                                                                                    \
    "row, id, status, auto, mode, created, modified, not_before, not_after, version, generation"
#define WHOLE COLUMNS ", subject, der, config"

static void
ca_row(sqlite3_stmt *st, struct registry_ca *ca)
{
    *ca = (struct registry_ca){ 0 };
    col_id(st, 1, ca->id);
    ca->status = (enum cert_status)sqlite3_column_int(st, 2);
    ca->auto_registration = sqlite3_column_int(st, 3) != 0;
    ca->mode = (enum cert_mode)sqlite3_column_int(st, 4);
    ca->created_ms = sqlite3_column_int64(st, 5);
    ca->modified_ms = sqlite3_column_int64(st, 6);
    ca->not_before_ms = sqlite3_column_int64(st, 7);
    ca->not_after_ms = sqlite3_column_int64(st, 8);
    ca->version = sqlite3_column_int(st, 9);
    col_uuid(st, 10, ca->generation);
}

static enum bm_err
ca_row_whole(sqlite3_stmt *st, struct registry_ca *ca, struct bm_msg *msg)
{
    enum bm_err err;

    ca_row(st, ca);
    err = col_buf(st, 11, &ca->subject, msg);
    if (err == BM_OK)
        err = col_buf(st, 12, &ca->der, msg);
    if (err == BM_OK)
        err = col_buf(st, 13, &ca->registration_config, msg);
    if (err != BM_OK)
        registry_ca_fini(ca);
    return err;
}

void
registry_ca_fini(struct registry_ca *ca)
{
    buf_fini(&ca->subject);
    buf_fini(&ca->der);
    buf_fini(&ca->registration_config);
}

static enum bm_err
insert(struct registry *r, struct registry_ca *ca, struct bm_msg *msg)
{
    static const char sql_same[] = "SELECT count(*) FROM cas WHERE subject = ?1 AND id <> ?2";
    static const char sql[] =
        "INSERT INTO cas(id, status, auto, mode, created, modified, not_before, not_after, version,"
        " generation, subject, der, config)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, 1, ?8, ?9, ?10, ?11) ON CONFLICT(id) DO NOTHING";
    struct span subject = buf_span(&ca->subject);
    int64_t now = clock_wall_ms();
    uint8_t uuid[UUID_LEN];
    int64_t same = 0;
    int changes;
    char hex[65];
    enum bm_err err = db_number(r, sql_same, ARGS(a_blob(subject), a_id(ca->id)), &same, msg);

    if (err == BM_OK)
        err = store_uuid(uuid, msg);
    if (err == BM_OK && same >= SAME_SUBJECT_MAX)
        return bm_fail(msg, BM_ERR_LIMIT,
            "%d CA certificates with this subject name are registered; delete one first",
            SAME_SUBJECT_MAX);
    if (err == BM_OK)
        err = db_run(r, sql,
            ARGS(a_id(ca->id), a_int(ca->status), a_int(ca->auto_registration), a_int(ca->mode),
                a_int(now), a_int(ca->not_before_ms), a_int(ca->not_after_ms), a_blob(SPAN(uuid)),
                a_blob(subject), a_blob(buf_span(&ca->der)),
                a_body(buf_span(&ca->registration_config))),
            &changes, msg);
    if (err != BM_OK)
        return err;
    if (changes == 0)
        return bm_fail(msg, BM_ERR_EXISTS, "CA certificate %s is registered already",
            store_id_text(hex, ca->id));
    ca->created_ms = now;
    ca->modified_ms = now;
    ca->version = 1;
    uuid_text(ca->generation, uuid);
    return BM_OK;
}

enum bm_err
registry_ca_insert(struct registry *r, struct registry_ca *ca, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = insert(r, ca, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_ca_get(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct registry_ca *out,
    struct bm_msg *msg)
{
    static const char sql[] = "SELECT " WHOLE " FROM cas WHERE id = ?1";
    sqlite3_stmt *st;
    bool row = false;
    char hex[65];
    enum bm_err err = db_query(r, sql, ARGS(a_id(id)), &st, msg);

    *out = (struct registry_ca){ 0 };
    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        err = ca_row_whole(st, out, msg);
    db_end(st);
    if (err == BM_OK && !row)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no CA certificate %s", store_id_text(hex, id));
    return err;
}

enum bm_err
registry_ca_by_subject(struct registry *r, struct span subject, struct registry_ca out[10],
    size_t *count, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " WHOLE " FROM cas WHERE subject = ?1 ORDER BY row LIMIT ?2";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, ARGS(a_blob(subject), a_int(SAME_SUBJECT_MAX)), &st, msg);

    *count = 0;
    while (err == BM_OK) {
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = ca_row_whole(st, &out[*count], msg);
        if (err == BM_OK)
            ++*count;
    }
    db_end(st);
    while (err != BM_OK && *count > 0)
        registry_ca_fini(&out[--*count]);
    return err;
}

enum bm_err
registry_ca_update(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    const struct registry_ca_change *change, struct bm_msg *msg)
{
    static const char sql[] =
        "UPDATE cas SET status = coalesce(?2, status), auto = coalesce(?3, auto),"
        " modified = ?4, config = coalesce(?5, config), version = version + 1 WHERE id = ?1";
    const enum cert_status *status = change->status;
    struct arg none = { .kind = ARG_NULL };
    char hex[65];
    int changes;
    enum bm_err err;

    if (status != NULL && *status != CERT_ACTIVE && *status != CERT_INACTIVE)
        return bm_fail(msg, BM_ERR_ARG, "a CA certificate cannot be %s", cert_status_name(*status));
    err = db_change(r, sql,
        ARGS(a_id(id), status != NULL ? a_int(*status) : none,
            change->auto_registration != NULL ? a_int(*change->auto_registration) : none,
            a_int(clock_wall_ms()),
            change->registration_config != NULL ? a_body(*change->registration_config) : none),
        &changes, msg);
    if (err == BM_OK && changes == 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no CA certificate %s", store_id_text(hex, id));
    return err;
}

static enum bm_err
delete_ca(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    static const char sql_status[] = "SELECT status FROM cas WHERE id = ?1";
    static const char sql[] = "DELETE FROM cas WHERE id = ?1";
    int64_t status = 0;
    char hex[65];
    enum bm_err err = db_number(r, sql_status, ARGS(a_id(id)), &status, msg);

    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "no CA certificate %s", store_id_text(hex, id));
    if (err == BM_OK && status == CERT_ACTIVE)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "CA certificate %s is ACTIVE; set it INACTIVE before deleting it",
            store_id_text(hex, id));
    return err == BM_OK ? db_run(r, sql, ARGS(a_id(id)), NULL, msg) : err;
}

enum bm_err
registry_ca_delete(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = delete_ca(r, id, msg);
    return op_end(&op, err, msg);
}

struct list_to {
    registry_ca_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_ca ca;

    (void)msg;
    ca_row(st, &ca);
    to->fn(to->arg, &ca);
    return BM_OK;
}

enum bm_err
registry_ca_list(struct registry *r, struct registry_page *page, registry_ca_fn fn, void *arg,
    struct bm_msg *msg)
{
    static const char up[] = "SELECT " COLUMNS " FROM cas WHERE row > ?1 ORDER BY row LIMIT ?2";
    static const char down[] =
        "SELECT " COLUMNS " FROM cas WHERE row < ?1 ORDER BY row DESC LIMIT ?2";
    static const struct page_query query = { .list = 'a', .ascending = up, .descending = down };
    struct list_to to = { fn, arg };

    return page_run(r, page, &query, list_item, &to, msg);
}
