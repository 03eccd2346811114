/* SPDX-License-Identifier: Apache-2.0 */
/* Thing types. SPEC aws-iot 1.3.4. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS "row, name, id, created, deprecated, description, searchable"

static enum bm_err
no_type(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no thing type \"%.128s\"", name);
}

void
registry_type_fini(struct registry_type *t)
{
    buf_fini(&t->description);
    buf_fini(&t->searchable);
}

static enum bm_err
type_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_type *t = to;
    enum bm_err err;

    *t = (struct registry_type){ 0 };
    col_text(st, 1, t->name, sizeof t->name);
    col_uuid(st, 2, t->id);
    t->created_ms = sqlite3_column_int64(st, 3);
    t->deprecated_ms = sqlite3_column_int64(st, 4);
    err = col_buf(st, 5, &t->description, msg);
    return err == BM_OK ? col_buf(st, 6, &t->searchable, msg) : err;
}

enum bm_err
registry_type_get(
    struct registry *r, const char *name, struct registry_type *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM thing_types WHERE name = ?1";
    enum bm_err err;

    *out = (struct registry_type){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), type_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_type(name, msg) : err;
}

/* It is there already: the same, or another? Fills `t` from what is there. */
static enum bm_err
same_type(struct registry *r, struct registry_type *t, struct bm_msg *msg)
{
    struct registry_type there;
    enum bm_err err = registry_type_get(r, t->name, &there, msg);

    if (err == BM_OK && (!span_eq(buf_span(&there.description), buf_span(&t->description)) ||
                            !span_eq(buf_span(&there.searchable), buf_span(&t->searchable))))
        err = bm_fail(msg, BM_ERR_EXISTS,
            "thing type \"%.128s\" exists already with other properties", t->name);
    memcpy(t->id, there.id, sizeof t->id);
    registry_type_fini(&there);
    return err;
}

enum bm_err
registry_type_create(struct registry *r, struct registry_type *t, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO thing_types(name, id, created, deprecated, description, searchable)"
        " VALUES(?1, ?2, ?3, 0, ?4, ?5) ON CONFLICT(name) DO NOTHING";
    uint8_t uuid[UUID_LEN];
    int changes = 0;
    enum bm_err err = store_uuid(uuid, msg);

    if (err == BM_OK)
        err = db_change(r, sql,
            ARGS(a_text(t->name), a_blob(SPAN(uuid)), a_int(clock_wall_ms()),
                a_body(buf_span(&t->description)), a_body(buf_span(&t->searchable))),
            &changes, msg);
    if (err == BM_OK && changes == 0)
        return same_type(r, t, msg);
    uuid_text(t->id, uuid);
    return err;
}

enum bm_err
registry_type_deprecate(struct registry *r, const char *name, bool undo, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE thing_types SET deprecated = ?2 WHERE name = ?1";
    int changes = 0;
    enum bm_err err =
        db_change(r, sql, ARGS(a_text(name), a_int(undo ? 0 : clock_wall_ms())), &changes, msg);

    return err == BM_OK && changes == 0 ? no_type(name, msg) : err;
}

enum bm_err
registry_type_delete(struct registry *r, const char *name, struct bm_msg *msg)
{
    static const char sql_state[] = "SELECT deprecated FROM thing_types WHERE name = ?1";
    static const char sql_used[] = "SELECT EXISTS (SELECT 1 FROM things WHERE type ="
                                   " (SELECT row FROM thing_types WHERE name = ?1))";
    static const char sql[] = "DELETE FROM thing_types WHERE name = ?1";
    int64_t deprecated = 0;
    int64_t used = 0;
    enum bm_err err = db_number(r, sql_state, ARGS(a_text(name)), &deprecated, msg);

    if (err == BM_ERR_NOT_FOUND)
        return no_type(name, msg);
    if (err == BM_OK && deprecated == 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "thing type \"%.128s\" is not deprecated; deprecate it before deleting it", name);
    if (err == BM_OK)
        err = db_number(r, sql_used, ARGS(a_text(name)), &used, msg);
    if (err == BM_OK && used != 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "thing type \"%.128s\" is used by things; give them another type first", name);
    return err == BM_OK ? db_change(r, sql, ARGS(a_text(name)), NULL, msg) : err;
}

struct list_to {
    registry_type_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_type t;
    enum bm_err err = type_row(&t, st, msg);

    if (err == BM_OK)
        to->fn(to->arg, &t);
    registry_type_fini(&t);
    return err;
}

enum bm_err
registry_type_list(struct registry *r, const char *name, struct registry_page *page,
    registry_type_fn fn, void *arg, struct bm_msg *msg)
{
    static const char all[] =
        "SELECT " COLUMNS " FROM thing_types WHERE row > ?1 ORDER BY row LIMIT ?2";
    static const char named[] =
        "SELECT " COLUMNS " FROM thing_types WHERE row > ?1 AND name = ?3 ORDER BY row LIMIT ?2";
    struct arg of = a_text(name != NULL ? name : "");
    const struct page_query query = { .list = 'y',
        .ascending = name != NULL ? named : all,
        .extra = &of,
        .extra_count = name != NULL ? 1 : 0 };
    struct list_to to = { fn, arg };

    page->ascending = true;
    return page_run(r, page, &query, list_item, &to, msg);
}
