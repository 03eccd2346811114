/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies, attachments, and policy sets. SPEC aws-iot 1.3.3.
 *
 * A set is found by a hash over names and documents of its members, so certificates with the same
 * policies share one number, and changed content can never keep its number.
 */
#include "registry/store.h"

#include "base/clock.h"

#include <string.h>

#include <openssl/evp.h>

enum { ATTACHED_MAX = 10, DIGEST_LEN = 32 }; /* SPEC aws-iot 1.3.3: policies per certificate */

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

static enum bm_err
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
    err = db_run(r, add,
        ARGS(a_blob(SPAN(digest)), (struct arg){ .kind = ARG_TEXT, .bytes = body }), NULL, msg);
    *out = sqlite3_last_insert_rowid(r->db);
    return err;
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
    return err;
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
policy_row(sqlite3_stmt *st, struct registry_policy *p, struct bm_msg *msg)
{
    *p = (struct registry_policy){ 0 };
    col_text(st, 1, p->name, sizeof p->name);
    p->version = sqlite3_column_int(st, 2);
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
    sqlite3_stmt *st;
    bool row = false;
    enum bm_err err = db_query(r, sql, ARGS(a_text(name)), &st, msg);

    *out = (struct registry_policy){ 0 };
    if (err == BM_OK)
        err = db_step(r, st, &row, msg);
    if (err == BM_OK && row)
        err = policy_row(st, out, msg);
    db_end(st);
    return err == BM_OK && !row ? no_policy(name, msg) : err;
}

static enum bm_err
delete_policy(struct registry *r, const char *name, struct bm_msg *msg)
{
    static const char sql_targets[] = "SELECT count(*) FROM attachments WHERE policy = ?1";
    static const char sql[] = "DELETE FROM policies WHERE row = ?1";
    int64_t row = 0;
    int64_t targets = 0;
    enum bm_err err = policy_row_number(r, name, &row, msg);

    if (err == BM_OK)
        err = db_number(r, sql_targets, ARGS(a_int(row)), &targets, msg);
    if (err == BM_OK && targets > 0)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "policy \"%.128s\" is attached to %lld certificates; detach it first", name,
            (long long)targets);
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
    enum bm_err err = policy_row(st, &p, msg);

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
    struct list_to to = { fn, arg };

    return page_run(r, page, 'p', up, down, NULL, list_item, &to, msg);
}

/* ---- sets ---- */

/* The hash that names the set: for each member, by name, the name with its end and the document's.
 */
static enum bm_err
set_digest(
    struct registry *r, int64_t cert, uint8_t out[DIGEST_LEN], size_t *members, struct bm_msg *msg)
{
    static const char sql[] = "SELECT policies.name, documents.digest FROM attachments"
                              " JOIN policies ON policies.row = attachments.policy"
                              " JOIN documents ON documents.row = policies.document"
                              " WHERE attachments.cert = ?1 ORDER BY policies.name";
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
                               " SELECT ?1, policies.name, policies.document FROM attachments"
                               " JOIN policies ON policies.row = attachments.policy"
                               " WHERE attachments.cert = ?2";
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
check_room(struct registry *r, int64_t cert, struct bm_msg *msg)
{
    static const char sql[] = "SELECT count(*) FROM attachments WHERE cert = ?1";
    int64_t count = 0;
    enum bm_err err = db_number(r, sql, ARGS(a_int(cert)), &count, msg);

    if (err == BM_OK && count > ATTACHED_MAX)
        return bm_fail(msg, BM_ERR_LIMIT,
            "the certificate has %d policies attached, which is the limit; detach one first",
            ATTACHED_MAX);
    return err;
}

static enum bm_err
change_attachment(struct registry *r, const char *sql, const char *name,
    const uint8_t cert_id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    int64_t policy = 0;
    int64_t cert = 0;
    int changes = 0;
    enum bm_err err = policy_row_number(r, name, &policy, msg);

    if (err == BM_OK)
        err = cert_row_number(r, cert_id, &cert, msg);
    if (err == BM_OK)
        err = db_run(r, sql, ARGS(a_int(cert), a_int(policy)), &changes, msg);
    if (err == BM_OK && changes == 0)
        return BM_OK; /* was so already */
    if (err == BM_OK)
        err = check_room(r, cert, msg);
    if (err == BM_OK)
        err = policy_set_refresh(r, cert, msg);
    return err == BM_OK ? store_touch(r, cert_id, msg) : err;
}

enum bm_err
registry_policy_attach(struct registry *r, const char *name, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct bm_msg *msg)
{
    static const char sql[] =
        "INSERT INTO attachments(cert, policy) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_attachment(r, sql, name, cert_id, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_policy_detach(struct registry *r, const char *name, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct bm_msg *msg)
{
    static const char sql[] = "DELETE FROM attachments WHERE cert = ?1 AND policy = ?2";
    struct op op;
    enum bm_err err = op_begin(r, &op, msg);

    if (err == BM_OK)
        err = change_attachment(r, sql, name, cert_id, msg);
    return op_end(&op, err, msg);
}

enum bm_err
registry_policy_attached(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    registry_policy_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] =
        "SELECT " COLUMNS FROM " JOIN attachments ON attachments.policy = policies.row"
        " WHERE attachments.cert = ?1 ORDER BY policies.name";
    struct list_to to = { fn, arg };
    sqlite3_stmt *st = NULL;
    int64_t cert = 0;
    enum bm_err err = cert_row_number(r, cert_id, &cert, msg);

    if (err == BM_OK)
        err = db_query(r, sql, ARGS(a_int(cert)), &st, msg);
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
registry_policy_targets(
    struct registry *r, const char *name, registry_id_fn fn, void *arg, struct bm_msg *msg)
{
    static const char sql[] = "SELECT certs.id FROM attachments"
                              " JOIN certs ON certs.row = attachments.cert"
                              " WHERE attachments.policy = ?1 ORDER BY certs.row";
    sqlite3_stmt *st = NULL;
    int64_t policy = 0;
    enum bm_err err = policy_row_number(r, name, &policy, msg);

    if (err == BM_OK)
        err = db_query(r, sql, ARGS(a_int(policy)), &st, msg);
    while (err == BM_OK) {
        uint8_t id[REGISTRY_ID_LEN];
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        col_id(st, 0, id);
        fn(arg, id);
    }
    db_end(st);
    return err;
}
