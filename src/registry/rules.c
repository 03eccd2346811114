/* SPDX-License-Identifier: Apache-2.0 */
/* Topic rules: stored as given. SPEC aws-iot 1.3.5. */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#define COLUMNS "name, disabled, created, payload"

static enum bm_err
rule_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_rule *rule = to;
    *rule = (struct registry_rule){ 0 };
    col_text(st, 0, rule->name, sizeof rule->name);
    rule->disabled = sqlite3_column_int(st, 1) != 0;
    rule->created_ms = sqlite3_column_int64(st, 2);
    return col_buf(st, 3, &rule->payload, msg);
}

void
registry_rule_fini(struct registry_rule *rule)
{
    buf_fini(&rule->payload);
}

static enum bm_err
no_rule(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no rule \"%.128s\"", name);
}

enum bm_err
registry_rule_create(
    struct registry *r, const char *name, bool disabled, struct span payload, struct bm_msg *msg)
{
    static const char sql[] = "INSERT INTO rules(name, disabled, created, payload)"
                              " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(name) DO NOTHING";
    int changes;
    enum bm_err err;

    if (name[0] == '\0' || strlen(name) > REGISTRY_NAME_MAX)
        return bm_fail(msg, BM_ERR_ARG, "a rule name has 1 to %d characters", REGISTRY_NAME_MAX);
    err = db_change(r, sql,
        ARGS(a_text(name), a_int(disabled), a_int(clock_wall_ms()), a_body(payload)), &changes,
        msg);
    if (err == BM_OK && changes == 0)
        err = bm_fail(msg, BM_ERR_EXISTS, "rule \"%.128s\" exists already", name);
    return err;
}

enum bm_err
registry_rule_replace(
    struct registry *r, const char *name, bool disabled, struct span payload, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE rules SET disabled = ?2, payload = ?3 WHERE name = ?1";
    int changes;
    enum bm_err err =
        db_change(r, sql, ARGS(a_text(name), a_int(disabled), a_body(payload)), &changes, msg);

    if (err == BM_OK && changes == 0)
        err = no_rule(name, msg);
    return err;
}

enum bm_err
registry_rule_get(
    struct registry *r, const char *name, struct registry_rule *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM rules WHERE name = ?1";
    enum bm_err err;

    *out = (struct registry_rule){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), rule_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_rule(name, msg) : err;
}

enum bm_err
registry_rule_delete(struct registry *r, const char *name, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM rules WHERE name = ?1";
    int changes;
    enum bm_err err = db_change(r, sql, ARGS(a_text(name)), &changes, msg);

    if (err == BM_OK && changes == 0)
        err = no_rule(name, msg);
    return err;
}

enum bm_err
registry_rule_list(struct registry *r, registry_rule_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM rules ORDER BY name";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, NULL, 0, &st, msg);

    while (err == BM_OK) {
        struct registry_rule rule;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = rule_row(&rule, st, msg);
        if (err == BM_OK)
            fn(arg, &rule);
        registry_rule_fini(&rule);
    }
    db_end(st);
    return err;
}
