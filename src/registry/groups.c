/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thing groups: a forest, with things as members. SPEC aws-iot 1.3.4. A group's policies count for
 * the certificates of the things in it and below it, so what moves a thing or a group refreshes
 * their policy sets. A parent is given once, when the group is made, so there is no way to a ring.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS                                                                                    \
    "g.row, g.name, g.id, parents.name, g.version, g.created, g.description, g.attributes"
#define FROM " FROM thing_groups AS g LEFT JOIN thing_groups AS parents ON parents.row = g.parent"

static enum bm_err
no_group(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no thing group \"%.128s\"", name);
}

enum bm_err
group_row_number(struct registry *r, const char *name, int64_t *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row FROM thing_groups WHERE name = ?1";
    enum bm_err err = db_number(r, sql, ARGS(a_text(name)), out, msg);

    return err == BM_ERR_NOT_FOUND ? no_group(name, msg) : err;
}

void
registry_group_fini(struct registry_group *g)
{
    buf_fini(&g->description);
    buf_fini(&g->attributes);
}

static enum bm_err
group_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_group *g = to;
    enum bm_err err;

    *g = (struct registry_group){ 0 };
    col_text(st, 1, g->name, sizeof g->name);
    col_uuid(st, 2, g->id);
    col_text(st, 3, g->parent, sizeof g->parent);
    g->version = sqlite3_column_int64(st, 4);
    g->created_ms = sqlite3_column_int64(st, 5);
    err = col_buf(st, 6, &g->description, msg);
    return err == BM_OK ? col_buf(st, 7, &g->attributes, msg) : err;
}

enum bm_err
registry_group_get(
    struct registry *r, const char *name, struct registry_group *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS FROM " WHERE g.name = ?1";
    enum bm_err err;

    *out = (struct registry_group){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), group_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_group(name, msg) : err;
}

/* It is there already: the same, or another? */
static enum bm_err
same_group(struct registry *r, struct registry_group *g, struct bm_msg *msg)
{
    struct registry_group there;
    enum bm_err err = registry_group_get(r, g->name, &there, msg);

    if (err == BM_OK && (strcmp(there.parent, g->parent) != 0 ||
                            !span_eq(buf_span(&there.description), buf_span(&g->description)) ||
                            !span_eq(buf_span(&there.attributes), buf_span(&g->attributes))))
        err = bm_fail(msg, BM_ERR_EXISTS,
            "thing group \"%.128s\" exists already with another parent or other properties",
            g->name);
    memcpy(g->id, there.id, sizeof g->id);
    registry_group_fini(&there);
    return err;
}

static enum bm_err
create(struct registry *r, struct registry_group *g, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO thing_groups(name, id, parent, version, created, description, attributes)"
        " VALUES(?1, ?2, ?3, 1, ?4, ?5, ?6) ON CONFLICT(name) DO NOTHING";
    struct arg parent = { .kind = ARG_NULL };
    uint8_t uuid[UUID_LEN];
    int changes = 0;
    enum bm_err err = store_uuid(uuid, msg);

    if (err == BM_OK && g->parent[0] != '\0') {
        parent.kind = ARG_INT;
        err = group_row_number(r, g->parent, &parent.number, msg);
    }
    if (err == BM_OK)
        err = db_run(r, sql,
            ARGS(a_text(g->name), a_blob(SPAN(uuid)), parent, a_int(clock_wall_ms()),
                a_body(buf_span(&g->description)), a_body(buf_span(&g->attributes))),
            &changes, msg);
    if (err == BM_OK && changes == 0)
        return same_group(r, g, msg);
    uuid_text(g->id, uuid);
    g->version = 1;
    return err;
}

enum bm_err
registry_group_create(struct registry *r, struct registry_group *g, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = create(r, g, msg);
    return op_end(&op, err, msg);
}

static enum bm_err
check_version(
    struct registry *r, int64_t group, const char *name, int64_t expected, struct bm_msg *msg)
{
    static const char sql[] = "SELECT version FROM thing_groups WHERE row = ?1";
    int64_t now = 0;
    enum bm_err err = db_number(r, sql, ARGS(a_int(group)), &now, msg);

    if (err == BM_OK && expected != 0 && expected != now)
        return bm_fail(msg, BM_ERR_STATUS, "thing group \"%.128s\" has version %lld, not %lld",
            name, (long long)now, (long long)expected);
    return err;
}

enum bm_err
registry_group_update(
    struct registry *r, struct registry_group *g, int64_t expected, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE thing_groups SET description = ?2, attributes = ?3,"
                              " version = version + 1 WHERE row = ?1";
    int64_t row = 0;
    enum bm_err err = group_row_number(r, g->name, &row, msg);

    if (err == BM_OK)
        err = check_version(r, row, g->name, expected, msg);
    if (err == BM_OK)
        err = db_change(r, sql,
            ARGS(a_int(row), a_body(buf_span(&g->description)), a_body(buf_span(&g->attributes))),
            NULL, msg);
    g->version++;
    return err;
}

/* Certificates of the things in it; none of a group below, since one that has them stays. */
static const char sql_certs_of[] =
    "SELECT certs.row, certs.id FROM group_members"
    " JOIN thing_principals ON thing_principals.thing = group_members.thing"
    " JOIN certs ON certs.row = thing_principals.cert WHERE group_members.grp = ?1";

static enum bm_err
delete_group(struct registry *r, const char *name, int64_t expected, struct bm_msg *msg)
{
    static const char sql_below[] = "SELECT count(*) FROM thing_groups WHERE parent = ?1";
    /* then it gives its things nothing any more, of its own or from above */
    static const char sql_policies[] = "DELETE FROM group_attachments WHERE grp = ?1";
    static const char sql_alone[] = "UPDATE thing_groups SET parent = NULL WHERE row = ?1";
    static const char sql[] = "DELETE FROM thing_groups WHERE row = ?1";
    int64_t row = 0;
    int64_t below = 0;
    enum bm_err err = group_row_number(r, name, &row, NULL);

    if (err == BM_ERR_NOT_FOUND)
        return BM_OK;
    if (err == BM_OK)
        err = check_version(r, row, name, expected, msg);
    if (err == BM_OK)
        err = db_number(r, sql_below, ARGS(a_int(row)), &below, msg);
    if (err == BM_OK && below > 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "%lld thing groups have a parent in \"%.128s\"; delete them first", (long long)below,
            name);
    if (err == BM_OK)
        err = db_run(r, sql_policies, ARGS(a_int(row)), NULL, msg);
    if (err == BM_OK)
        err = db_run(r, sql_alone, ARGS(a_int(row)), NULL, msg);
    if (err == BM_OK)
        err = policy_sets_refresh(r, sql_certs_of, row, msg);
    return err == BM_OK ? db_run(r, sql, ARGS(a_int(row)), NULL, msg) : err;
}

enum bm_err
registry_group_delete(struct registry *r, const char *name, int64_t expected, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = delete_group(r, name, expected, msg);
    return op_end(&op, err, msg);
}

/* ---- lists ---- */

struct list_to {
    registry_group_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_group g;
    enum bm_err err = group_row(&g, st, msg);

    if (err == BM_OK)
        to->fn(to->arg, &g);
    registry_group_fini(&g);
    return err;
}

enum bm_err
registry_group_list(struct registry *r, const char *parent, bool recursive, const char *prefix,
    struct registry_page *page, registry_group_fn fn, void *arg, struct bm_msg *msg)
{
#define LIST(condition)                                                                            \
    "SELECT " COLUMNS FROM " WHERE g.row > ?1 AND substr(g.name, 1, length(?3)) = ?3" condition    \
    " ORDER BY g.row LIMIT ?2"
    static const char all[] = LIST("");
    static const char top[] = LIST(" AND g.parent IS NULL");
    static const char children[] = LIST(" AND g.parent = ?4");
    static const char below[] =
        LIST(" AND g.row IN (WITH RECURSIVE down(grp) AS (SELECT row FROM thing_groups"
             " WHERE parent = ?4 UNION SELECT thing_groups.row FROM down"
             " JOIN thing_groups ON thing_groups.parent = down.grp) SELECT grp FROM down)");
    struct arg extra[2] = { a_text(prefix != NULL ? prefix : ""), a_int(0) };
    const struct page_query query = { .list = 'g',
        .ascending = parent != NULL ? (recursive ? below : children) : (recursive ? all : top),
        .extra = extra,
        .extra_count = parent != NULL ? 2 : 1 };
    struct list_to to = { fn, arg };
    enum bm_err err = BM_OK;

    if (parent != NULL)
        err = group_row_number(r, parent, &extra[1].number, msg);
    page->ascending = true;
    return err == BM_OK ? page_run(r, page, &query, list_item, &to, msg) : err;
}

/* ---- members ---- */

static enum bm_err
change_member(
    struct registry *r, const char *sql, const char *group, const char *thing, struct bm_msg *msg)
{
    static const char sql_certs[] =
        "SELECT certs.row, certs.id FROM thing_principals"
        " JOIN certs ON certs.row = thing_principals.cert WHERE thing_principals.thing = ?1";
    int64_t grp = 0;
    int64_t thing_row = 0;
    enum bm_err err = group_row_number(r, group, &grp, msg);

    if (err == BM_OK)
        err = thing_row_number(r, thing, &thing_row, msg);
    if (err == BM_OK)
        err = db_run(r, sql, ARGS(a_int(grp), a_int(thing_row)), NULL, msg);
    return err == BM_OK ? policy_sets_refresh(r, sql_certs, thing_row, msg) : err;
}

enum bm_err
registry_group_add(struct registry *r, const char *group, const char *thing, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO group_members(grp, thing) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_member(r, sql, group, thing, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_group_remove(struct registry *r, const char *group, const char *thing, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM group_members WHERE grp = ?1 AND thing = ?2";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_member(r, sql, group, thing, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_group_things(struct registry *r, const char *group, bool recursive,
    struct registry_page *page, registry_name_fn fn, void *arg, struct bm_msg *msg)
{
    static const char direct[] = "SELECT things.row, things.name FROM group_members"
                                 " JOIN things ON things.row = group_members.thing"
                                 " WHERE group_members.grp = ?3 AND group_members.thing > ?1"
                                 " ORDER BY group_members.thing LIMIT ?2";
    static const char deep[] =
        "SELECT row, name FROM things WHERE row > ?1 AND row IN (WITH RECURSIVE down(grp) AS"
        " (SELECT ?3 UNION SELECT thing_groups.row FROM down"
        " JOIN thing_groups ON thing_groups.parent = down.grp) SELECT group_members.thing"
        " FROM down JOIN group_members ON group_members.grp = down.grp) ORDER BY row LIMIT ?2";
    struct arg of = a_int(0);
    enum bm_err err = group_row_number(r, group, &of.number, msg);

    return err == BM_OK ? page_names(r, page, 'm', recursive ? deep : direct, &of, 1, fn, arg, msg)
                        : err;
}

enum bm_err
registry_groups_of(struct registry *r, const char *thing, struct registry_page *page,
    registry_name_fn fn, void *arg, struct bm_msg *msg)
{
    static const char up[] = "SELECT thing_groups.row, thing_groups.name FROM group_members"
                             " JOIN thing_groups ON thing_groups.row = group_members.grp"
                             " WHERE group_members.thing = ?3 AND group_members.grp > ?1"
                             " ORDER BY group_members.grp LIMIT ?2";
    struct arg of = a_int(0);
    enum bm_err err = thing_row_number(r, thing, &of.number, msg);

    return err == BM_OK ? page_names(r, page, 'o', up, &of, 1, fn, arg, msg) : err;
}
