/* SPDX-License-Identifier: Apache-2.0 */
/* Functions: configuration and permissions as JSON; the code is a file of the lambda room. SPEC
 * aws-iot 5.5. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS "name, modified, code, config, permissions"

static enum bm_err
function_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_function *f = to;
    enum bm_err err;

    *f = (struct registry_function){ 0 };
    col_text(st, 0, f->name, sizeof f->name);
    f->modified_ms = sqlite3_column_int64(st, 1);
    col_id(st, 2, f->code_sha256);
    err = col_buf(st, 3, &f->config, msg);
    return err == BM_OK ? col_buf(st, 4, &f->permissions, msg) : err;
}

void
registry_function_fini(struct registry_function *f)
{
    buf_fini(&f->config);
    buf_fini(&f->permissions);
}

static enum bm_err
no_function(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no function \"%.128s\"", name);
}

static enum bm_err
write_function(struct registry *r, const char *sql, const struct registry_function *f, int *changes,
    struct bm_msg *msg)
{
    if (f->name[0] == '\0')
        return bm_fail(msg, BM_ERR_ARG, "a function needs a name");
    return db_change(r, sql,
        ARGS(a_text(f->name), a_int(clock_wall_ms()), a_blob(SPAN(f->code_sha256)),
            a_body(buf_span(&f->config)), a_body(buf_span(&f->permissions))),
        changes, msg);
}

enum bm_err
registry_function_create(struct registry *r, const struct registry_function *f, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO functions(" COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5)"
                              " ON CONFLICT(name) DO NOTHING";
    int changes = 0;
    enum bm_err err = write_function(r, sql, f, &changes, msg);

    if (err == BM_OK && changes == 0)
        return bm_fail(msg, BM_ERR_EXISTS, "function \"%.128s\" exists already", f->name);
    return err;
}

enum bm_err
registry_function_replace(struct registry *r, const struct registry_function *f, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE functions SET modified = ?2, code = ?3, config = ?4,"
                              " permissions = ?5 WHERE name = ?1";
    int changes = 0;
    enum bm_err err = write_function(r, sql, f, &changes, msg);

    return err == BM_OK && changes == 0 ? no_function(f->name, msg) : err;
}

enum bm_err
registry_function_get(
    struct registry *r, const char *name, struct registry_function *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM functions WHERE name = ?1";
    enum bm_err err;

    *out = (struct registry_function){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), function_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_function(name, msg) : err;
}

enum bm_err
registry_function_delete(struct registry *r, const char *name, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM functions WHERE name = ?1";
    int changes;
    enum bm_err err = db_change(r, sql, ARGS(a_text(name)), &changes, msg);

    if (err == BM_OK && changes == 0)
        err = no_function(name, msg);
    return err;
}

enum bm_err
registry_function_list(struct registry *r, registry_function_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM functions ORDER BY name";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    while (err == BM_OK) {
        struct registry_function f;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = function_row(&f, st, msg);
        if (err == BM_OK)
            fn(arg, &f);
        registry_function_fini(&f);
    }
    db_end(st);
    return err;
}
