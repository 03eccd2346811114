/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things and the certificates attached to them. SPEC aws-iot 1.3.4.
 *
 * Certificates of a thing are touched with every change of it: workers keep its name, type and
 * attributes as values of policy variables.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define ATTRIBUTES                                                                                 \
    "(SELECT json_group_object(name, value) FROM (SELECT name, value FROM thing_attributes"        \
    " WHERE thing = things.row ORDER BY name))"
#define COLUMNS "things.row, things.name, things.id, thing_types.name, things.version, " ATTRIBUTES
#define FROM " FROM things LEFT JOIN thing_types ON thing_types.row = things.type"

static enum bm_err
no_thing(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no thing \"%.128s\"", name);
}

enum bm_err
thing_row_number(struct registry *r, const char *name, int64_t *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row FROM things WHERE name = ?1";
    enum bm_err err = db_number(r, sql, ARGS(a_text(name)), out, msg);

    return err == BM_ERR_NOT_FOUND ? no_thing(name, msg) : err;
}

void
registry_thing_fini(struct registry_thing *t)
{
    buf_fini(&t->attributes);
}

static enum bm_err
thing_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_thing *t = to;
    *t = (struct registry_thing){ 0 };
    col_text(st, 1, t->name, sizeof t->name);
    col_uuid(st, 2, t->id);
    col_text(st, 3, t->type, sizeof t->type);
    t->version = sqlite3_column_int64(st, 4);
    return col_buf(st, 5, &t->attributes, msg);
}

enum bm_err
registry_thing_get(
    struct registry *r, const char *name, struct registry_thing *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS FROM " WHERE things.name = ?1";
    enum bm_err err;

    *out = (struct registry_thing){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), thing_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_thing(name, msg) : err;
}

/* The row of a type that a thing may get, or NULL for "". */
static enum bm_err
type_arg(struct registry *r, const char *type, struct arg *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row FROM thing_types WHERE name = ?1";
    static const char sql_deprecated[] = "SELECT deprecated FROM thing_types WHERE row = ?1";
    int64_t deprecated = 0;
    enum bm_err err;

    *out = (struct arg){ .kind = ARG_NULL };
    if (type[0] == '\0')
        return BM_OK;
    *out = a_int(0);
    err = db_number(r, sql, ARGS(a_text(type)), &out->number, msg);
    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "no thing type \"%.128s\"", type);
    if (err == BM_OK)
        err = db_number(r, sql_deprecated, ARGS(*out), &deprecated, msg);
    if (err == BM_OK && deprecated != 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "thing type \"%.128s\" is deprecated; things cannot get it any more", type);
    return err;
}

static enum bm_err
put_attributes(struct registry *r, int64_t thing, struct span attributes, struct bm_msg *msg)
{
    static const char clear[] = "DELETE FROM thing_attributes WHERE thing = ?1";
    static const char add[] = "INSERT INTO thing_attributes(thing, name, value)"
                              " SELECT ?1, key, value FROM json_each(?2)";
    enum bm_err err = db_run(r, clear, ARGS(a_int(thing)), NULL, msg);

    if (err != BM_OK || attributes.len == 0)
        return err;
    return db_run(r, add, ARGS(a_int(thing), a_body(attributes)), NULL, msg);
}

/* It is there already: the same, or another? */
static enum bm_err
same_thing(struct registry *r, struct registry_thing *t, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " ATTRIBUTES " = (SELECT json_group_object(key, value) FROM"
        " (SELECT key, value FROM json_each(?2) ORDER BY key)) FROM things WHERE name = ?1";
    struct registry_thing there;
    int64_t same = 0;
    enum bm_err err = registry_thing_get(r, t->name, &there, msg);

    if (err == BM_OK)
        err = db_number(r, sql,
            ARGS(a_text(t->name),
                a_body(t->attributes.len > 0 ? buf_span(&t->attributes) : span_str("{}"))),
            &same, msg);
    if (err == BM_OK && (same == 0 || strcmp(there.type, t->type) != 0))
        err = bm_fail(msg, BM_ERR_EXISTS,
            "thing \"%.128s\" exists already with another type or other attributes", t->name);
    memcpy(t->id, there.id, sizeof t->id);
    registry_thing_fini(&there);
    return err;
}

static enum bm_err
create(struct registry *r, struct registry_thing *t, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO things(name, id, type, version, created)"
                              " VALUES(?1, ?2, ?3, 1, ?4)";
    struct arg type;
    uint8_t uuid[UUID_LEN];
    int64_t there = 0;
    enum bm_err err = thing_row_number(r, t->name, &there, NULL);

    if (err == BM_OK)
        return same_thing(r, t, msg);
    if (err == BM_ERR_NOT_FOUND)
        err = type_arg(r, t->type, &type, msg);
    if (err == BM_OK)
        err = store_uuid(uuid, msg);
    if (err == BM_OK)
        err = db_run(r, sql,
            ARGS(a_text(t->name), a_blob(SPAN(uuid)), type, a_int(clock_wall_ms())), NULL, msg);
    if (err != BM_OK)
        return err;
    uuid_text(t->id, uuid);
    t->version = 1;
    return put_attributes(r, sqlite3_last_insert_rowid(r->db), buf_span(&t->attributes), msg);
}

enum bm_err
registry_thing_create(struct registry *r, struct registry_thing *t, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = create(r, t, msg);
    return op_end(&op, err, msg);
}

static const char sql_certs_of[] =
    "SELECT certs.row, certs.id FROM thing_principals"
    " JOIN certs ON certs.row = thing_principals.cert WHERE thing_principals.thing = ?1";

/* Also the thing's version. */
static enum bm_err
check_version(struct registry *r, int64_t thing, const char *name, int64_t expected, int64_t *now,
    struct bm_msg *msg)
{
    static const char sql[] = "SELECT version FROM things WHERE row = ?1";
    enum bm_err err = db_number(r, sql, ARGS(a_int(thing)), now, msg);

    if (err == BM_OK && expected != 0 && expected != *now)
        return bm_fail(msg, BM_ERR_STATUS, "thing \"%.128s\" has version %lld, not %lld", name,
            (long long)*now, (long long)expected);
    return err;
}

static enum bm_err
update(struct registry *r, struct registry_thing *t, int64_t expected, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE things SET version = version + 1 WHERE row = ?1";
    static const char sql_type[] = "UPDATE things SET type = ?2 WHERE row = ?1";
    static const char sql_kept[] = "SELECT type IS (SELECT row FROM thing_types WHERE name = ?2)"
                                   " FROM things WHERE row = ?1";
    struct arg type;
    int64_t row = 0;
    int64_t kept = 0;
    enum bm_err err = thing_row_number(r, t->name, &row, msg);

    if (err == BM_OK)
        err = check_version(r, row, t->name, expected, &t->version, msg);
    if (err == BM_OK)
        err = db_number(r, sql_kept, ARGS(a_int(row), a_text(t->type)), &kept, msg);
    if (err == BM_OK && kept == 0) { /* it may keep a type that got deprecated */
        err = type_arg(r, t->type, &type, msg);
        if (err == BM_OK)
            err = db_run(r, sql_type, ARGS(a_int(row), type), NULL, msg);
    }
    if (err == BM_OK)
        err = db_run(r, sql, ARGS(a_int(row)), NULL, msg);
    if (err == BM_OK)
        err = put_attributes(r, row, buf_span(&t->attributes), msg);
    t->version++;
    return err == BM_OK ? policy_sets_refresh(r, sql_certs_of, row, msg) : err;
}

enum bm_err
registry_thing_update(
    struct registry *r, struct registry_thing *t, int64_t expected, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = update(r, t, expected, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_thing_delete(struct registry *r, const char *name, int64_t expected, struct bm_msg *msg)
{
    static const char sql_certs[] = "SELECT count(*) FROM thing_principals WHERE thing = ?1";
    static const char sql[] = "DELETE FROM things WHERE row = ?1"; /* and what hangs on the row */
    int64_t row = 0;
    int64_t certs = 0;
    int64_t version;
    enum bm_err err = thing_row_number(r, name, &row, NULL);

    if (err == BM_ERR_NOT_FOUND)
        return BM_OK;
    if (err == BM_OK)
        err = check_version(r, row, name, expected, &version, msg);
    if (err == BM_OK)
        err = db_number(r, sql_certs, ARGS(a_int(row)), &certs, msg);
    if (err == BM_OK && certs > 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "thing \"%.128s\" is attached to %lld principals; detach them before deleting it", name,
            (long long)certs);
    return err == BM_OK ? db_change(r, sql, ARGS(a_int(row)), NULL, msg) : err;
}

/* ---- lists ---- */

struct list_to {
    registry_thing_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_thing t;
    enum bm_err err = thing_row(&t, st, msg);

    if (err == BM_OK)
        to->fn(to->arg, &t);
    registry_thing_fini(&t);
    return err;
}

enum bm_err
registry_thing_list(struct registry *r, const struct registry_thing_filter *filter,
    struct registry_page *page, registry_thing_fn fn, void *arg, struct bm_msg *msg)
{
#define LIST(condition)                                                                            \
    "SELECT " COLUMNS FROM " WHERE things.row > ?1" condition " ORDER BY things.row LIMIT ?2"
#define TYPED " AND things.type = (SELECT row FROM thing_types WHERE name = ?3)"
#define ATTRIBUTE(value)                                                                           \
    " AND EXISTS (SELECT 1 FROM thing_attributes WHERE thing = things.row AND name = ?4" value ")"
#define VALUED                                                                                     \
    " AND things.row IN (SELECT thing FROM thing_attributes WHERE name = ?4 AND value = ?5"        \
    " AND thing > ?1)"
#define PREFIXED ATTRIBUTE(" AND substr(value, 1, length(?5)) = ?5")
    static const char *const sql[2][4] = {
        { LIST(""), LIST(ATTRIBUTE("")), LIST(VALUED), LIST(PREFIXED) },
        { LIST(TYPED), LIST(TYPED ATTRIBUTE("")), LIST(TYPED VALUED), LIST(TYPED PREFIXED) },
    };
    struct arg extra[3] = { { .kind = ARG_NULL }, { .kind = ARG_NULL }, { .kind = ARG_NULL } };
    size_t by = 0;
    struct list_to to = { fn, arg };
    struct page_query query = { .list = 't', .extra = extra };

    if (filter->type != NULL)
        extra[0] = a_text(filter->type);
    if (filter->attribute != NULL) {
        extra[1] = a_text(filter->attribute);
        by = 1;
        if (filter->value != NULL) {
            extra[2] = a_text(filter->value);
            by = filter->prefix ? 3 : 2;
        }
    }
    /* a statement knows the parameters up to its highest number */
    query.extra_count = by >= 2 ? 3 : by == 1 ? 2 : filter->type != NULL ? 1 : 0;
    query.ascending = sql[filter->type != NULL][by];
    page->ascending = true;
    return page_run(r, page, &query, list_item, &to, msg);
}

/* ---- certificates of things ---- */

static enum bm_err
change_principal(struct registry *r, const char *sql, const char *name,
    const uint8_t cert_id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    int64_t thing = 0;
    int64_t cert = 0;
    enum bm_err err = thing_row_number(r, name, &thing, msg);

    if (err == BM_OK)
        err = cert_row_number(r, cert_id, &cert, msg);
    if (err == BM_OK)
        err = db_run(r, sql, ARGS(a_int(thing), a_int(cert)), NULL, msg);
    if (err == BM_OK)
        err = policy_set_refresh(r, cert, msg);
    return err == BM_OK ? store_touch(r, cert_id, msg) : err;
}

enum bm_err
registry_thing_attach(struct registry *r, const char *name, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO thing_principals(thing, cert) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_principal(r, sql, name, cert_id, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_thing_detach(struct registry *r, const char *name, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM thing_principals WHERE thing = ?1 AND cert = ?2";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_principal(r, sql, name, cert_id, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_thing_of(struct registry *r, const char *name, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct registry_thing *out, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " COLUMNS FROM " JOIN thing_principals ON thing_principals.thing = things.row"
        " JOIN certs ON certs.row = thing_principals.cert"
        " WHERE things.name = ?1 AND certs.id = ?2";
    enum bm_err err;

    *out = (struct registry_thing){ 0 };
    err = db_one(r, sql, ARGS(a_text(name), a_id(cert_id)), thing_row, out, msg);
    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "no thing \"%.128s\" that the certificate is attached to", name);
    return err;
}

struct ids_to {
    registry_id_fn fn;
    void *arg;
};

static enum bm_err
id_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct ids_to *to = arg;
    uint8_t id[REGISTRY_ID_LEN];

    (void)msg;
    col_id(st, 1, id);
    to->fn(to->arg, id);
    return BM_OK;
}

enum bm_err
registry_thing_principals(struct registry *r, const char *name, struct registry_page *page,
    registry_id_fn fn, void *arg, struct bm_msg *msg)
{
    static const char up[] = "SELECT thing_principals.cert, certs.id FROM thing_principals"
                             " JOIN certs ON certs.row = thing_principals.cert"
                             " WHERE thing_principals.thing = ?3 AND thing_principals.cert > ?1"
                             " ORDER BY thing_principals.cert LIMIT ?2";
    struct arg of = a_int(0);
    const struct page_query query = {
        .list = 'n', .ascending = up, .extra = &of, .extra_count = 1
    };
    struct ids_to to = { fn, arg };
    enum bm_err err = thing_row_number(r, name, &of.number, msg);

    page->ascending = true;
    return err == BM_OK ? page_run(r, page, &query, id_item, &to, msg) : err;
}

enum bm_err
registry_principal_things(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct registry_page *page, registry_name_fn fn, void *arg, struct bm_msg *msg)
{
    static const char up[] = "SELECT things.row, things.name FROM thing_principals"
                             " JOIN things ON things.row = thing_principals.thing"
                             " WHERE thing_principals.cert = ?3 AND thing_principals.thing > ?1"
                             " ORDER BY thing_principals.thing LIMIT ?2";
    struct arg of = a_int(0);
    enum bm_err err = cert_row_number(r, cert_id, &of.number, msg);

    return err == BM_OK ? page_names(r, page, 'h', up, &of, 1, fn, arg, msg) : err;
}
