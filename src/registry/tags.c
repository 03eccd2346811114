/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of resources, and the account's settings. SPEC aws-iot 1.3.6. */
#include "registry/store.h"

enum { ARN_MAX = 512, KEY_MAX = 4 * 128, VALUE_MAX = 4 * 256 }; /* bytes of so many characters */

static enum bm_err
set(struct registry *r, const char *arn, const char *key, const char *value, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO tags(resource, key, value) VALUES(?1, ?2, ?3)"
                              " ON CONFLICT(resource, key) DO UPDATE SET value = excluded.value";
    static const char sql_count[] = "SELECT count(*) FROM tags WHERE resource = ?1";
    int64_t count = 0;
    enum bm_err err = db_run(r, sql, ARGS(a_text(arn), a_text(key), a_text(value)), NULL, msg);

    if (err == BM_OK)
        err = db_number(r, sql_count, ARGS(a_text(arn)), &count, msg);
    if (err == BM_OK && count > REGISTRY_TAGS_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "a resource has at most %d tags", REGISTRY_TAGS_MAX);
    return err;
}

enum bm_err
registry_tag_set(
    struct registry *r, const char *arn, const char *key, const char *value, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = set(r, arn, key, value, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_tag_remove(struct registry *r, const char *arn, const char *key, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM tags WHERE resource = ?1 AND key = ?2";

    return db_change(r, sql, ARGS(a_text(arn), a_text(key)), NULL, msg);
}

enum bm_err
registry_tag_clear(struct registry *r, const char *arn, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM tags WHERE resource = ?1";

    return db_change(r, sql, ARGS(a_text(arn)), NULL, msg);
}

enum bm_err
registry_tag_list(
    struct registry *r, const char *arn, registry_tag_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT key, value FROM tags WHERE resource = ?1 ORDER BY key";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, ARGS(a_text(arn)), &st, msg);

    while (err == BM_OK) {
        char key[KEY_MAX + 1];
        char value[VALUE_MAX + 1];
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_text(st, 0, key, sizeof key);
        col_text(st, 1, value, sizeof value);
        fn(arg, key, value);
    }
    db_end(st);
    return err;
}

enum bm_err
registry_tag_each(struct registry *r, registry_tag_each_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT resource, key, value FROM tags ORDER BY resource, key";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    while (err == BM_OK) {
        char resource[ARN_MAX + 1];
        char key[KEY_MAX + 1];
        char value[VALUE_MAX + 1];
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_text(st, 0, resource, sizeof resource);
        col_text(st, 1, key, sizeof key);
        col_text(st, 2, value, sizeof value);
        fn(arg, resource, key, value);
    }
    db_end(st);
    return err;
}

enum bm_err
registry_setting_get(struct registry *r, const char *key, struct buf *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT value FROM meta WHERE key = ?1";
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, ARGS(a_text(key)), &st, msg);

    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        err = col_buf(st, 0, out, msg);
    db_end(st);
    return err == BM_OK && !row ? bm_fail(msg, BM_ERR_NOT_FOUND, "%s is not set", key) : err;
}

enum bm_err
registry_setting_put(struct registry *r, const char *key, struct span value, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO meta(key, value) VALUES(?1, ?2)"
                              " ON CONFLICT(key) DO UPDATE SET value = excluded.value";

    return db_change(r, sql, ARGS(a_text(key), a_body(value)), NULL, msg);
}
