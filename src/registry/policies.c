/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies, attachments, and policy sets. SPEC aws-iot 1.3.3.
 *
 * A set is found by a hash over names and documents of its members, so certificates with the same
 * policies share one number, and changed content can never keep its number.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

enum { DIGEST_LEN = 32, ROWS_FIRST = 64 };

#define COLUMNS                                                                                    \
    "policies.row, policies.name, policies.version, policies.created, policies.modified,"          \
    " policies.generation, documents.body"
#define FROM " FROM policies JOIN documents ON documents.row = policies.document"

static enum bm_err
digest_of(struct span in, uint8_t out[DIGEST_LEN], struct bm_msg *msg)
{
    unsigned len = DIGEST_LEN;

    if (EVP_Digest(in.ptr, in.len, out, &len, EVP_sha256(), NULL) != 1)
        return bm_fail(msg, BM_ERR_MEM, "SHA-256 failed; out of memory?");
    return BM_OK;
}

static enum bm_err
no_policy(const char *name, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "no policy \"%.128s\"", name);
}

static enum bm_err
policy_row_number(struct registry *r, const char *name, int64_t *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT row FROM policies WHERE name = ?1";
    enum bm_err err = db_number(r, sql, ARGS(a_text(name)), out, msg);

    return err == BM_ERR_NOT_FOUND ? no_policy(name, msg) : err;
}

/* The number of this document, which is stored when it is new. */
static enum bm_err
document_row(struct registry *r, struct span body, int64_t *out, struct bm_msg *msg)
{
    static const char find[] = "SELECT row FROM documents WHERE digest = ?1";
    static const char add[] = "INSERT INTO documents(digest, body) VALUES(?1, ?2)";
    uint8_t digest[DIGEST_LEN];
    enum bm_err err = digest_of(body, digest, msg);

    if (err == BM_OK)
        err = db_number(r, find, ARGS(a_blob(SPAN(digest))), out, msg);
    if (err != BM_ERR_NOT_FOUND)
        return err;
    err = db_run(r, add, ARGS(a_blob(SPAN(digest)), a_body(body)), NULL, msg);
    *out = sqlite3_last_insert_rowid(r->db);
    return err;
}

static enum bm_err
version_add(
    struct registry *r, int64_t policy, int64_t version, int64_t document, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO policy_versions(policy, version, created, document) VALUES(?1, ?2, ?3, ?4)";

    return db_run(r, sql,
        ARGS(a_int(policy), a_int(version), a_int(clock_wall_ms()), a_int(document)), NULL, msg);
}

static enum bm_err
create(struct registry *r, const char *name, struct span body, struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO policies(name, version, created, modified, generation, document)"
        " VALUES(?1, 1, ?2, ?2, ?3, ?4) ON CONFLICT(name) DO NOTHING";
    uint8_t uuid[UUID_LEN];
    int64_t document = 0;
    int changes = 0;
    enum bm_err err = store_uuid(uuid, msg);

    if (err == BM_OK && (name[0] == '\0' || strlen(name) > REGISTRY_NAME_MAX))
        return bm_fail(msg, BM_ERR_ARG, "a policy name has 1 to %d characters", REGISTRY_NAME_MAX);
    if (err == BM_OK)
        err = document_row(r, body, &document, msg);
    if (err == BM_OK)
        err = db_run(r, sql,
            ARGS(a_text(name), a_int(clock_wall_ms()), a_blob(SPAN(uuid)), a_int(document)),
            &changes, msg);
    if (err == BM_OK && changes == 0)
        return bm_fail(msg, BM_ERR_EXISTS, "policy \"%.128s\" exists already", name);
    return err == BM_OK ? version_add(r, sqlite3_last_insert_rowid(r->db), 1, document, msg) : err;
}

enum bm_err
registry_policy_create(
    struct registry *r, const char *name, struct span document, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = create(r, name, document, msg);
    return op_end(&op, err, msg);
}

static enum bm_err
policy_row(void *to, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct registry_policy *p = to;
    *p = (struct registry_policy){ 0 };
    col_text(st, 1, p->name, sizeof p->name);
    p->version = sqlite3_column_int(st, 2);
    p->is_default = true;
    p->created_ms = sqlite3_column_int64(st, 3);
    p->modified_ms = sqlite3_column_int64(st, 4);
    col_uuid(st, 5, p->generation);
    return col_buf(st, 6, &p->document, msg);
}

void
registry_policy_fini(struct registry_policy *p)
{
    buf_fini(&p->document);
}

enum bm_err
registry_policy_get(
    struct registry *r, const char *name, struct registry_policy *out, struct bm_msg *msg)
{
    static const char sql[] = "SELECT " COLUMNS FROM " WHERE policies.name = ?1";
    enum bm_err err;

    *out = (struct registry_policy){ 0 };
    err = db_one(r, sql, ARGS(a_text(name)), policy_row, out, msg);
    return err == BM_ERR_NOT_FOUND ? no_policy(name, msg) : err;
}

static enum bm_err
delete_policy(struct registry *r, const char *name, struct bm_msg *msg)
{
    static const char sql_targets[] =
        "SELECT (SELECT count(*) FROM attachments WHERE policy = ?1)"
        " + (SELECT count(*) FROM group_attachments WHERE policy = ?1)";
    static const char sql_versions[] = "SELECT count(*) FROM policy_versions WHERE policy = ?1";
    static const char sql[] = "DELETE FROM policies WHERE row = ?1";
    int64_t row = 0;
    int64_t targets = 0;
    int64_t versions = 0;
    enum bm_err err = policy_row_number(r, name, &row, msg);

    if (err == BM_OK)
        err = db_number(r, sql_targets, ARGS(a_int(row)), &targets, msg);
    if (err == BM_OK)
        err = db_number(r, sql_versions, ARGS(a_int(row)), &versions, msg);
    if (err == BM_OK && targets > 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "policy \"%.128s\" is attached to %lld targets; detach it first", name,
            (long long)targets);
    if (err == BM_OK && versions > 1)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "policy \"%.128s\" has %lld versions beside the default one; delete them first", name,
            (long long)versions - 1);
    return err == BM_OK ? db_run(r, sql, ARGS(a_int(row)), NULL, msg) : err;
}

enum bm_err
registry_policy_delete(struct registry *r, const char *name, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = delete_policy(r, name, msg);
    return op_end(&op, err, msg);
}

struct list_to {
    registry_policy_fn fn;
    void *arg;
};

static enum bm_err
list_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct list_to *to = arg;
    struct registry_policy p;
    enum bm_err err = policy_row(&p, st, msg);

    if (err == BM_OK)
        to->fn(to->arg, &p);
    registry_policy_fini(&p);
    return err;
}

enum bm_err
registry_policy_list(struct registry *r, struct registry_page *page, registry_policy_fn fn,
    void *arg, struct bm_msg *msg)
{
    static const char up[] =
        "SELECT " COLUMNS FROM " WHERE policies.row > ?1 ORDER BY policies.row LIMIT ?2";
    static const char down[] =
        "SELECT " COLUMNS FROM " WHERE policies.row < ?1 ORDER BY policies.row DESC LIMIT ?2";
    static const struct page_query query = { .list = 'p', .ascending = up, .descending = down };
    struct list_to to = { fn, arg };

    return page_run(r, page, &query, list_item, &to, msg);
}

/* ---- versions ---- */

static enum bm_err
no_version(const char *name, int version, struct bm_msg *msg)
{
    return bm_fail(msg, BM_ERR_NOT_FOUND, "policy \"%.128s\" has no version %d", name, version);
}

/* Also tells whether it is the default. */
static enum bm_err
version_document(struct registry *r, const char *name, int version, int64_t *policy,
    int64_t *document, bool *is_default, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT document FROM policy_versions WHERE policy = ?1 AND version = ?2";
    static const char sql_default[] = "SELECT version FROM policies WHERE row = ?1";
    int64_t now = 0;
    enum bm_err err = policy_row_number(r, name, policy, msg);

    if (err == BM_OK)
        err = db_number(r, sql_default, ARGS(a_int(*policy)), &now, msg);
    if (err != BM_OK)
        return err;
    *is_default = now == version;
    err = db_number(r, sql, ARGS(a_int(*policy), a_int(version)), document, msg);
    return err == BM_ERR_NOT_FOUND ? no_version(name, version, msg) : err;
}

/* All certificates that have the policy, directly or by a group of one of their things. */
static enum bm_err
refresh_users(struct registry *r, int64_t policy, struct bm_msg *msg)
{
    static const char sql[] =
        "WITH RECURSIVE down(grp) AS (SELECT grp FROM group_attachments WHERE policy = ?1 UNION"
        " SELECT thing_groups.row FROM down JOIN thing_groups ON thing_groups.parent = down.grp)"
        " SELECT row, id FROM certs WHERE row IN (SELECT cert FROM attachments WHERE policy = ?1"
        " UNION SELECT thing_principals.cert FROM down"
        " JOIN group_members ON group_members.grp = down.grp"
        " JOIN thing_principals ON thing_principals.thing = group_members.thing)";

    return policy_sets_refresh(r, sql, policy, msg);
}

static enum bm_err
set_default(struct registry *r, const char *name, int version, struct bm_msg *msg)
{
    static const char sql[] =
        "UPDATE policies SET version = ?2, document = ?3, modified = ?4 WHERE row = ?1";
    int64_t policy = 0;
    int64_t document = 0;
    bool is_default;
    enum bm_err err = version_document(r, name, version, &policy, &document, &is_default, msg);

    if (err != BM_OK || is_default)
        return err;
    err = db_run(r, sql,
        ARGS(a_int(policy), a_int(version), a_int(document), a_int(clock_wall_ms())), NULL, msg);
    return err == BM_OK ? refresh_users(r, policy, msg) : err;
}

static enum bm_err
create_version(struct registry *r, const char *name, struct span body, bool make_default,
    int *version, struct bm_msg *msg)
{
    static const char sql_count[] = "SELECT count(*) FROM policy_versions WHERE policy = ?1";
    static const char sql_next[] =
        "UPDATE policies SET last_version = last_version + 1 WHERE row = ?1";
    static const char sql_last[] = "SELECT last_version FROM policies WHERE row = ?1";
    int64_t policy = 0;
    int64_t document = 0;
    int64_t count = 0;
    int64_t last = 0;
    enum bm_err err = policy_row_number(r, name, &policy, msg);

    if (err == BM_OK)
        err = db_number(r, sql_count, ARGS(a_int(policy)), &count, msg);
    if (err == BM_OK && count >= REGISTRY_VERSIONS_MAX)
        return bm_fail(msg, BM_ERR_LIMIT,
            "policy \"%.128s\" has %d versions, which is the limit; delete one first", name,
            REGISTRY_VERSIONS_MAX);
    if (err == BM_OK)
        err = document_row(r, body, &document, msg);
    if (err == BM_OK)
        err = db_run(r, sql_next, ARGS(a_int(policy)), NULL, msg);
    if (err == BM_OK)
        err = db_number(r, sql_last, ARGS(a_int(policy)), &last, msg);
    if (err == BM_OK)
        err = version_add(r, policy, last, document, msg);
    *version = (int)last;
    return err == BM_OK && make_default ? set_default(r, name, *version, msg) : err;
}

enum bm_err
registry_policy_version_create(struct registry *r, const char *name, struct span document,
    bool make_default, int *version, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = create_version(r, name, document, make_default, version, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_policy_version_default(
    struct registry *r, const char *name, int version, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = set_default(r, name, version, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_policy_version_delete(
    struct registry *r, const char *name, int version, struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM policy_versions WHERE policy = ?1 AND version = ?2";
    int64_t policy = 0;
    int64_t document = 0;
    bool is_default;
    enum bm_err err = version_document(r, name, version, &policy, &document, &is_default, msg);

    if (err == BM_OK && is_default)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "version %d of policy \"%.128s\" is the default one; make another the default, or "
            "delete the policy",
            version, name);
    return err == BM_OK ? db_change(r, sql, ARGS(a_int(policy), a_int(version)), NULL, msg) : err;
}

#define VERSION_COLUMNS                                                                            \
    "policies.row, policies.name, policy_versions.version, policy_versions.created,"               \
    " policy_versions.created, policies.generation"
#define VERSION_FROM " FROM policy_versions JOIN policies ON policies.row = policy_versions.policy"

static void
version_row(sqlite3_stmt *st, struct registry_policy *p)
{
    *p = (struct registry_policy){ 0 };
    col_text(st, 1, p->name, sizeof p->name);
    p->version = sqlite3_column_int(st, 2);
    p->created_ms = sqlite3_column_int64(st, 3);
    p->modified_ms = sqlite3_column_int64(st, 4);
    col_uuid(st, 5, p->generation);
    p->is_default = sqlite3_column_int(st, 6) != 0;
}

enum bm_err
registry_policy_version_get(struct registry *r, const char *name, int version,
    struct registry_policy *out, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " VERSION_COLUMNS
        ", policy_versions.version = policies.version, documents.body" VERSION_FROM
        " JOIN documents ON documents.row = policy_versions.document"
        " WHERE policies.name = ?1 AND policy_versions.version = ?2";
    sqlite3_stmt *st = NULL;
    bool row = false;
    int64_t policy = 0;
    enum bm_err err;

    *out = (struct registry_policy){ 0 };
    err = policy_row_number(r, name, &policy, msg);
    if (err == BM_OK)
        err = db_query(r, sql, ARGS(a_text(name), a_int(version)), &st, msg);
    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row) {
        version_row(st, out);
        err = col_buf(st, 7, &out->document, msg);
    }
    db_end(st);
    return err == BM_OK && !row ? no_version(name, version, msg) : err;
}

enum bm_err
registry_policy_versions(
    struct registry *r, const char *name, registry_policy_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " VERSION_COLUMNS ", policy_versions.version = policies.version" VERSION_FROM
        " WHERE policies.row = ?1 ORDER BY policy_versions.version DESC";
    sqlite3_stmt *st = NULL;
    int64_t policy = 0;
    enum bm_err err = policy_row_number(r, name, &policy, msg);

    if (err == BM_OK)
        err = db_query(r, sql, ARGS(a_int(policy)), &st, msg);
    while (err == BM_OK) {
        struct registry_policy p;
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        version_row(st, &p);
        fn(arg, &p);
    }
    db_end(st);
    return err;
}

/* ---- sets ---- */

/* The policies that count for the certificate ?N: attached to it, or to a group above its things.
 */
#define EFFECTIVE(N)                                                                               \
    " policies.row IN (WITH RECURSIVE up(grp) AS (SELECT group_members.grp FROM thing_principals"  \
    " JOIN group_members ON group_members.thing = thing_principals.thing"                          \
    " WHERE thing_principals.cert = " N " UNION SELECT thing_groups.parent FROM up"                \
    " JOIN thing_groups ON thing_groups.row = up.grp WHERE thing_groups.parent IS NOT NULL)"       \
    " SELECT policy FROM attachments WHERE cert = " N " UNION SELECT group_attachments.policy"     \
    " FROM up JOIN group_attachments ON group_attachments.grp = up.grp)"

/*
 * The hash that names the set: for each member, by name, the name with its end and the document's.
 */
static enum bm_err
set_digest(
    struct registry *r, int64_t cert, uint8_t out[DIGEST_LEN], size_t *members, struct bm_msg *msg)
{
    static const char sql[] = "SELECT policies.name, documents.digest FROM policies"
                              " JOIN documents ON documents.row = policies.document"
                              " WHERE" EFFECTIVE("?1") " ORDER BY policies.name";
    struct buf text = { 0 };
    sqlite3_stmt *st;
    bool row = true;
    enum bm_err err = db_query(r, sql, ARGS(a_int(cert)), &st, msg);

    *members = 0;
    while (err == BM_OK) {
        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        ++*members;
        err = col_buf(st, 0, &text, msg);
        buf_add(&text, "", 1);
        if (err == BM_OK)
            err = col_buf(st, 1, &text, msg);
    }
    db_end(st);
    if (err == BM_OK)
        err = digest_of(buf_span(&text), out, msg);
    buf_fini(&text);
    return err;
}

static enum bm_err
set_row(struct registry *r, int64_t cert, int64_t *out, struct bm_msg *msg)
{
    static const char find[] = "SELECT row FROM policy_sets WHERE digest = ?1";
    static const char add[] = "INSERT INTO policy_sets(digest) VALUES(?1)";
    static const char fill[] = "INSERT INTO policy_set_members(policy_set, name, document)"
                               " SELECT ?1, policies.name, policies.document FROM policies"
                               " WHERE" EFFECTIVE("?2");
    uint8_t digest[DIGEST_LEN];
    size_t members = 0;
    enum bm_err err = set_digest(r, cert, digest, &members, msg);

    *out = 0;
    if (err != BM_OK || members == 0)
        return err;
    err = db_number(r, find, ARGS(a_blob(SPAN(digest))), out, msg);
    if (err != BM_ERR_NOT_FOUND)
        return err;
    err = db_run(r, add, ARGS(a_blob(SPAN(digest))), NULL, msg);
    *out = sqlite3_last_insert_rowid(r->db);
    if (err == BM_OK && *out > UINT32_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "registry: no policy set numbers are left");
    return err == BM_OK ? db_run(r, fill, ARGS(a_int(*out), a_int(cert)), NULL, msg) : err;
}

enum bm_err
policy_set_refresh(struct registry *r, int64_t cert, struct bm_msg *msg)
{
    static const char sql[] = "UPDATE certs SET policy_set = ?2 WHERE row = ?1";
    int64_t set = 0;
    enum bm_err err = set_row(r, cert, &set, msg);

    return err == BM_OK ? db_run(r, sql, ARGS(a_int(cert), a_int(set)), NULL, msg) : err;
}

struct cert_row {
    int64_t row;
    uint8_t id[REGISTRY_ID_LEN];
};

/* Takes all rows before the first change, which could disturb the reading. */
static enum bm_err
read_cert_rows(struct registry *r, const char *sql, int64_t of, struct cert_row **out,
    size_t *count, struct bm_msg *msg)
{
    sqlite3_stmt *st;
    size_t cap = 0;
    enum bm_err err = db_query(r, sql, ARGS(a_int(of)), &st, msg);

    *out = NULL;
    *count = 0;
    while (err == BM_OK) {
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        if (*count == cap) {
            struct cert_row *more;

            cap = cap == 0 ? ROWS_FIRST : 2 * cap;
            more = realloc(*out, cap * sizeof *more);
            if (more == NULL) {
                err = bm_fail(msg, BM_ERR_MEM, "registry: out of memory");
                break;
            }
            *out = more;
        }
        (*out)[*count].row = sqlite3_column_int64(st, 0);
        col_id(st, 1, (*out)[*count].id);
        ++*count;
    }
    db_end(st);
    return err;
}

enum bm_err
policy_sets_refresh(struct registry *r, const char *sql, int64_t of, struct bm_msg *msg)
{
    struct cert_row *rows;
    size_t count;
    enum bm_err err = read_cert_rows(r, sql, of, &rows, &count, msg);

    for (size_t i = 0; err == BM_OK && i < count; i++) {
        err = policy_set_refresh(r, rows[i].row, msg);
        if (err == BM_OK)
            err = store_touch(r, rows[i].id, msg);
    }
    free(rows);
    return err;
}

enum bm_err
registry_policy_set(
    struct registry *r, uint32_t set, registry_document_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT policy_set_members.name, documents.body FROM policy_set_members"
        " JOIN documents ON documents.row = policy_set_members.document"
        " WHERE policy_set_members.policy_set = ?1 ORDER BY policy_set_members.name";
    sqlite3_stmt *st;
    size_t members = 0;
    enum bm_err err;

    if (set == 0)
        return BM_OK;
    err = db_query(r, sql, ARGS(a_int(set)), &st, msg);
    for (; err == BM_OK; members++) {
        char name[REGISTRY_NAME_MAX + 1];
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_text(st, 0, name, sizeof name);
        fn(arg, name, span_of(sqlite3_column_text(st, 1), (size_t)sqlite3_column_bytes(st, 1)));
    }
    db_end(st);
    if (err == BM_OK && members == 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no policy set %u", (unsigned)set);
    return err;
}

/* ---- attachments ---- */

static enum bm_err
target_row_number(
    struct registry *r, const struct registry_target *t, int64_t *out, struct bm_msg *msg)
{
    return t->group != NULL ? group_row_number(r, t->group, out, msg)
                            : cert_row_number(r, t->cert_id, out, msg);
}

static enum bm_err
check_room(struct registry *r, const char *sql, int64_t target, struct bm_msg *msg)
{
    int64_t count = 0;
    enum bm_err err = db_number(r, sql, ARGS(a_int(target)), &count, msg);

    if (err == BM_OK && count > REGISTRY_ATTACHED_MAX)
        return bm_fail(msg, BM_ERR_LIMIT,
            "the target has %d policies attached, which is the limit; detach one first",
            REGISTRY_ATTACHED_MAX);
    return err;
}

/* Certificates of the things in a group or in one below it. */
static enum bm_err
refresh_group(struct registry *r, int64_t group, struct bm_msg *msg)
{
    static const char sql[] =
        "WITH RECURSIVE down(grp) AS (SELECT ?1 UNION"
        " SELECT thing_groups.row FROM down JOIN thing_groups ON thing_groups.parent = down.grp)"
        " SELECT row, id FROM certs WHERE row IN (SELECT thing_principals.cert FROM down"
        " JOIN group_members ON group_members.grp = down.grp"
        " JOIN thing_principals ON thing_principals.thing = group_members.thing)";

    return policy_sets_refresh(r, sql, group, msg);
}

struct attachment_sql {
    const char *change;
    const char *count;
};

static enum bm_err
change_attachment(struct registry *r, const struct attachment_sql *sql, const char *name,
    const struct registry_target *t, struct bm_msg *msg)
{
    int64_t policy = 0;
    int64_t target = 0;
    int changes = 0;
    enum bm_err err = policy_row_number(r, name, &policy, msg);

    if (err == BM_OK)
        err = target_row_number(r, t, &target, msg);
    if (err == BM_OK)
        err = db_run(r, sql->change, ARGS(a_int(target), a_int(policy)), &changes, msg);
    if (err == BM_OK && changes == 0)
        return BM_OK; /* was so already */
    if (err == BM_OK)
        err = check_room(r, sql->count, target, msg);
    if (err == BM_OK && t->group != NULL)
        return refresh_group(r, target, msg);
    if (err == BM_OK)
        err = policy_set_refresh(r, target, msg);
    return err == BM_OK ? store_touch(r, t->cert_id, msg) : err;
}

static const char sql_count_cert[] = "SELECT count(*) FROM attachments WHERE cert = ?1";
static const char sql_count_group[] = "SELECT count(*) FROM group_attachments WHERE grp = ?1";

static enum bm_err
change(struct registry *r, const struct attachment_sql *sql, const char *name,
    const struct registry_target *t, struct bm_msg *msg)
{
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_attachment(r, sql, name, t, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_policy_attach(
    struct registry *r, const char *name, const struct registry_target *target, struct bm_msg *msg)
{
    static const struct attachment_sql cert = {
        "INSERT INTO attachments(cert, policy) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
        sql_count_cert
    };
    static const struct attachment_sql group = {
        "INSERT INTO group_attachments(grp, policy) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
        sql_count_group
    };

    return change(r, target->group != NULL ? &group : &cert, name, target, msg);
}

enum bm_err
registry_policy_detach(
    struct registry *r, const char *name, const struct registry_target *target, struct bm_msg *msg)
{
    static const struct attachment_sql cert = {
        "DELETE FROM attachments WHERE cert = ?1 AND policy = ?2", sql_count_cert
    };
    static const struct attachment_sql group = {
        "DELETE FROM group_attachments WHERE grp = ?1 AND policy = ?2", sql_count_group
    };

    return change(r, target->group != NULL ? &group : &cert, name, target, msg);
}

/* `sql` has one argument, a row number. */
static enum bm_err
list_policies(struct registry *r, const char *sql, int64_t of, registry_policy_fn fn, void *arg,
    struct bm_msg *msg)
{
    struct list_to to = { fn, arg };
    sqlite3_stmt *st;
    enum bm_err err = db_query(r, sql, ARGS(a_int(of)), &st, msg);

    while (err == BM_OK) {
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        err = list_item(&to, st, msg);
    }
    db_end(st);
    return err;
}

enum bm_err
registry_policy_attached(struct registry *r, const struct registry_target *target, bool inherited,
    registry_policy_fn fn, void *arg, struct bm_msg *msg)
{
    static const char cert[] =
        "SELECT " COLUMNS FROM " JOIN attachments ON attachments.policy = policies.row"
        " WHERE attachments.cert = ?1 ORDER BY policies.name";
    static const char group[] =
        "SELECT " COLUMNS FROM " JOIN group_attachments ON group_attachments.policy = policies.row"
        " WHERE group_attachments.grp = ?1 ORDER BY policies.name";
    static const char groups[] =
        "SELECT " COLUMNS FROM " WHERE policies.row IN (WITH RECURSIVE up(grp) AS (SELECT ?1 UNION"
        " SELECT thing_groups.parent FROM up JOIN thing_groups ON thing_groups.row = up.grp"
        " WHERE thing_groups.parent IS NOT NULL) SELECT group_attachments.policy FROM up"
        " JOIN group_attachments ON group_attachments.grp = up.grp) ORDER BY policies.name";
    int64_t row = 0;
    enum bm_err err = target_row_number(r, target, &row, msg);

    if (err != BM_OK)
        return err;
    return list_policies(r,
        target->group == NULL ? cert
        : inherited           ? groups
                              : group,
        row, fn, arg, msg);
}

enum bm_err
registry_policy_effective(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    registry_policy_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " COLUMNS FROM " WHERE" EFFECTIVE("?1") " ORDER BY policies.name";
    int64_t row = 0;
    enum bm_err err = cert_row_number(r, cert_id, &row, msg);

    return err == BM_OK ? list_policies(r, sql, row, fn, arg, msg) : err;
}

struct targets_to {
    registry_target_fn fn;
    void *arg;
};

static enum bm_err
target_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct targets_to *to = arg;
    struct registry_target t = { 0 };
    char name[REGISTRY_NAME_MAX + 1];

    (void)msg;
    col_id(st, 1, t.cert_id);
    if (sqlite3_column_type(st, 2) != SQLITE_NULL) {
        col_text(st, 2, name, sizeof name);
        t.group = name;
    }
    to->fn(to->arg, &t);
    return BM_OK;
}

enum bm_err
registry_policy_targets(struct registry *r, const char *name, struct registry_page *page,
    registry_target_fn fn, void *arg, struct bm_msg *msg)
{
    /* groups get numbers above all certificates', so that one number is a place in both */
    static const char up[] =
        "SELECT attachments.cert AS place, certs.id, NULL FROM attachments"
        " JOIN certs ON certs.row = attachments.cert"
        " WHERE attachments.policy = ?3 AND attachments.cert > ?1"
        " UNION ALL SELECT (1 << 62) + thing_groups.row, NULL, thing_groups.name"
        " FROM group_attachments JOIN thing_groups ON thing_groups.row = group_attachments.grp"
        " WHERE group_attachments.policy = ?3 AND (1 << 62) + thing_groups.row > ?1"
        " ORDER BY place LIMIT ?2";
    struct targets_to to = { fn, arg };
    struct arg of = a_int(0);
    const struct page_query query = {
        .list = 'r', .ascending = up, .descending = up, .extra = &of, .extra_count = 1
    };
    enum bm_err err = policy_row_number(r, name, &of.number, msg);

    page->ascending = true;
    return err == BM_OK ? page_run(r, page, &query, target_item, &to, msg) : err;
}
