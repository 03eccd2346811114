/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters: what was given up after its retries, kept so that a person can see why and send it
 * again. The newest REGISTRY_LETTERS_MAX; an invocation becomes one in the group that deletes it.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS "row, created, kind, target, rule, request, attempts, cause, cert, detail, payload"

void
registry_letter_fini(struct registry_letter *l)
{
    buf_fini(&l->detail);
    buf_fini(&l->payload);
}

enum bm_err
registry_letter_add(struct registry *r, struct registry_letter *l, struct bm_msg *msg)
{
    static const char insert[] =
        "INSERT INTO dead_letters(created, kind, target, rule, request, attempts, cause, cert,"
        " detail, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    /* by number: rows grow by one, so this is the newest N or fewer, without counting */
    static const char prune[] = "DELETE FROM dead_letters WHERE row <= ?1";
    enum bm_err err;

    l->created_ms = clock_wall_ms();
    err = db_change(r, insert,
        ARGS(a_int(l->created_ms), a_text(l->kind), a_text(l->target), a_text(l->rule),
            a_text(l->request_id), a_int(l->attempts), a_text(l->cause),
            a_id(l->has_cert ? l->cert_id : NULL), a_body(buf_span(&l->detail)),
            a_blob(buf_span(&l->payload))),
        NULL, msg);
    if (err != BM_OK)
        return err;
    l->id = sqlite3_last_insert_rowid(r->db);
    return db_change(r, prune, ARGS(a_int(l->id - REGISTRY_LETTERS_MAX)), NULL, msg);
}

static enum bm_err
letter_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_letter *l = to;
    enum bm_err err;

    *l = (struct registry_letter){ .id = sqlite3_column_int64(st, 0),
        .created_ms = sqlite3_column_int64(st, 1),
        .attempts = sqlite3_column_int(st, 6),
        .has_cert = sqlite3_column_type(st, 8) != SQLITE_NULL };
    col_text(st, 2, l->kind, sizeof l->kind);
    col_text(st, 3, l->target, sizeof l->target);
    col_text(st, 4, l->rule, sizeof l->rule);
    col_text(st, 5, l->request_id, sizeof l->request_id);
    col_text(st, 7, l->cause, sizeof l->cause);
    col_id(st, 8, l->cert_id);
    err = col_buf(st, 9, &l->detail, msg);
    return err == BM_OK ? col_buf(st, 10, &l->payload, msg) : err;
}

static enum bm_err
no_letter(int64_t id, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND,
        "there is no dead letter %lld; `birthmark dead-letters` lists them", (long long)id);
}

enum bm_err
registry_letter_get(struct registry *r, int64_t id, struct registry_letter *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM dead_letters WHERE row = ?1";
    enum bm_err err;

    *out = (struct registry_letter){ 0 };
    err = db_one(r, sql, ARGS(a_int(id)), letter_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_letter(id, msg) : err;
}

enum bm_err
registry_letter_delete(struct registry *r, int64_t id, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM dead_letters WHERE row = ?1";
    int changes;
    enum bm_err err = db_change(r, sql, ARGS(a_int(id)), &changes, msg);

    return err == BM_OK && changes == 0 ? no_letter(id, msg) : err;
}

static enum bm_err
invoke_again(struct registry *r, struct registry_letter *l, int64_t *invocation, struct bm_msg *msg)
{
    struct registry_function f = { 0 };
    struct registry_invocation i = { .due_ms = clock_wall_ms(), .has_cert = l->has_cert };
    enum bm_err err;

    if (strcmp(l->kind, "function") != 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "letter %" PRId64 " is what the action %s was to deliver, not a function's event; publish "
            "it again, or deliver it yourself: `birthmark dead-letters --payload %" PRId64 "`",
            l->id, l->kind, l->id);
    err = registry_function_get(r, l->target, &f, msg);
    registry_function_fini(&f);
    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, err, "letter %" PRId64 " is for the function %s, which is not there",
            l->id, l->target);
    if (err != BM_OK)
        return err;
    (void)snprintf(i.function, sizeof i.function, "%.*s", REGISTRY_NAME_MAX, l->target);
    memcpy(i.cert_id, l->cert_id, sizeof i.cert_id);
    i.payload = l->payload; /* borrowed */
    err = registry_invocation_add(r, &i, msg);
    if (err == BM_OK && invocation != NULL)
        *invocation = i.id;
    return err;
}

enum bm_err
registry_letter_resend(struct registry *r, int64_t id, int64_t *invocation, struct bm_msg *msg)
{
    struct registry_letter l = { 0 };
    enum bm_err err = registry_begin(r, msg);
    enum bm_err end;

    if (err != BM_OK)
        return err;
    err = registry_letter_get(r, id, &l, msg);
    if (err == BM_OK)
        err = invoke_again(r, &l, invocation, msg);
    if (err == BM_OK)
        err = registry_letter_delete(r, id, msg);
    registry_letter_fini(&l);
    end = registry_end(r, err == BM_OK, err == BM_OK ? msg : NULL);
    return err == BM_OK ? end : err;
}

enum bm_err
registry_letter_list(
    struct registry *r, size_t limit, registry_letter_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS " FROM dead_letters ORDER BY row DESC LIMIT ?1";
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, ARGS(a_int((int64_t)(limit & INT32_MAX))), &st, msg);

    while (err == BM_OK) {
        struct registry_letter l;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = letter_row(&l, st, msg);
        if (err == BM_OK)
            fn(arg, &l);
        registry_letter_fini(&l);
    }
    db_end(st);
    return err;
}
