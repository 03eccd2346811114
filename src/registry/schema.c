/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of registry.db. The version stands in user_version; a file of an older version is
 * brought up to date step by step, one of a newer version is refused.
 *
 * Certificates: a narrow row that every JITR writes and every start reads, found by a unique index
 * over the SHA-256 (the one page at a random place that an insert dirties, SPEC endpoint 6); DER in
 * a table of its own with the same row number. Row numbers grow with time, so lists page by them
 * and new rows are appended. Ids of CAs in certificates are numbers into `issuers`, because a CA
 * may be deleted while its certificates stay.
 *
 * Documents of policies are stored once by their hash and never changed. A policy set is a row
 * of (policy name, document) pairs under the hash of them all; sets and documents are never
 * deleted, since a worker may still hold the number.
 */
#include "registry/store.h"

enum { SCHEMA_VERSION = 6 };

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE cas(row INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " status INTEGER NOT NULL, auto INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " created INTEGER NOT NULL, modified INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,"
    " version INTEGER NOT NULL, generation BLOB NOT NULL,"
    " subject BLOB NOT NULL, der BLOB NOT NULL, config TEXT NOT NULL);"
    "CREATE INDEX cas_subject ON cas(subject);"

    "CREATE TABLE issuers(row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);"

    "CREATE TABLE certs(row INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,"
    " status INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " issuer INTEGER REFERENCES issuers(row),"
    " created INTEGER NOT NULL, modified INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,"
    " version INTEGER NOT NULL, generation BLOB NOT NULL,"
    " policy_set INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX certs_issuer ON certs(issuer) WHERE issuer IS NOT NULL;"
    "CREATE TABLE cert_der(row INTEGER PRIMARY KEY REFERENCES certs(row) ON DELETE CASCADE,"
    " der BLOB NOT NULL);"

    "CREATE TABLE documents(row INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE,"
    " body TEXT NOT NULL);"
    "CREATE TABLE policies(row INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " version INTEGER NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL,"
    " generation BLOB NOT NULL, document INTEGER NOT NULL REFERENCES documents(row));"
    "CREATE TABLE attachments(cert INTEGER NOT NULL REFERENCES certs(row) ON DELETE CASCADE,"
    " policy INTEGER NOT NULL REFERENCES policies(row), PRIMARY KEY(cert, policy)) WITHOUT ROWID;"
    "CREATE INDEX attachments_policy ON attachments(policy);"
    "CREATE TABLE policy_sets(row INTEGER PRIMARY KEY AUTOINCREMENT,"
    " digest BLOB NOT NULL UNIQUE);"
    "CREATE TABLE policy_set_members(policy_set INTEGER NOT NULL REFERENCES policy_sets(row),"
    " name TEXT NOT NULL, document INTEGER NOT NULL REFERENCES documents(row),"
    " PRIMARY KEY(policy_set, name)) WITHOUT ROWID;"

    "CREATE TABLE rules(name TEXT PRIMARY KEY, disabled INTEGER NOT NULL,"
    " created INTEGER NOT NULL, payload TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE functions(name TEXT PRIMARY KEY, modified INTEGER NOT NULL,"
    " code BLOB NOT NULL, config TEXT NOT NULL, permissions TEXT NOT NULL) WITHOUT ROWID;"

    /* AUTOINCREMENT: no number twice, so a reader that asks for "above the last" misses nothing */
    "CREATE TABLE events(row INTEGER PRIMARY KEY AUTOINCREMENT, created INTEGER NOT NULL,"
    " cert BLOB, topic TEXT NOT NULL, payload BLOB NOT NULL);"
    "CREATE TABLE invocations(row INTEGER PRIMARY KEY AUTOINCREMENT, created INTEGER NOT NULL,"
    " due INTEGER NOT NULL, attempt INTEGER NOT NULL, request BLOB NOT NULL,"
    " function TEXT NOT NULL, cert BLOB, payload BLOB NOT NULL);"
    "CREATE INDEX invocations_due ON invocations(due);"

    "CREATE TABLE timeline(row INTEGER PRIMARY KEY, time INTEGER NOT NULL, cause TEXT NOT NULL,"
    " cert BLOB, client TEXT NOT NULL, peer TEXT NOT NULL, status TEXT NOT NULL,"
    " facts TEXT NOT NULL);"
    "CREATE INDEX timeline_cert ON timeline(substr(cert, 1, 8)) WHERE cert IS NOT NULL;"
    "CREATE INDEX timeline_client ON timeline(client) WHERE client <> '';"

    "PRAGMA user_version = 1;";

/*
 * Version 2: policies have versions, there are things. `documents` of a policy is its default
 * version's. A thing's attributes are rows, so that a list can be asked for a value of one.
 */
static const char schema_2[] =
    "ALTER TABLE policies ADD COLUMN last_version INTEGER NOT NULL DEFAULT 1;"
    "CREATE TABLE policy_versions(policy INTEGER NOT NULL REFERENCES policies(row) ON DELETE "
    "CASCADE,"
    " version INTEGER NOT NULL, created INTEGER NOT NULL,"
    " document INTEGER NOT NULL REFERENCES documents(row), PRIMARY KEY(policy, version))"
    " WITHOUT ROWID;"
    "INSERT INTO policy_versions SELECT row, version, created, document FROM policies;"

    "CREATE TABLE thing_types(row INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " id BLOB NOT NULL, created INTEGER NOT NULL, deprecated INTEGER NOT NULL,"
    " description TEXT NOT NULL, searchable TEXT NOT NULL);"
    "CREATE TABLE things(row INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " id BLOB NOT NULL, type INTEGER REFERENCES thing_types(row), version INTEGER NOT NULL,"
    " created INTEGER NOT NULL);"
    "CREATE INDEX things_type ON things(type) WHERE type IS NOT NULL;"
    "CREATE TABLE thing_attributes(thing INTEGER NOT NULL REFERENCES things(row) ON DELETE CASCADE,"
    " name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(thing, name)) WITHOUT ROWID;"
    "CREATE INDEX thing_attributes_value ON thing_attributes(name, value, thing);"
    "CREATE TABLE thing_principals(thing INTEGER NOT NULL REFERENCES things(row),"
    " cert INTEGER NOT NULL REFERENCES certs(row), PRIMARY KEY(thing, cert)) WITHOUT ROWID;"
    "CREATE INDEX thing_principals_cert ON thing_principals(cert);"

    "CREATE TABLE thing_groups(row INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " id BLOB NOT NULL, parent INTEGER REFERENCES thing_groups(row), version INTEGER NOT NULL,"
    " created INTEGER NOT NULL, description TEXT NOT NULL, attributes TEXT NOT NULL);"
    "CREATE INDEX thing_groups_parent ON thing_groups(parent);"
    "CREATE TABLE group_members(grp INTEGER NOT NULL REFERENCES thing_groups(row) ON DELETE "
    "CASCADE,"
    " thing INTEGER NOT NULL REFERENCES things(row) ON DELETE CASCADE, PRIMARY KEY(grp, thing))"
    " WITHOUT ROWID;"
    "CREATE INDEX group_members_thing ON group_members(thing);"
    "CREATE TABLE group_attachments(grp INTEGER NOT NULL REFERENCES thing_groups(row) ON DELETE "
    "CASCADE,"
    " policy INTEGER NOT NULL REFERENCES policies(row), PRIMARY KEY(grp, policy)) WITHOUT ROWID;"
    "CREATE INDEX group_attachments_policy ON group_attachments(policy);"

    "CREATE TABLE tags(resource TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY(resource, key)) WITHOUT ROWID;"
    "PRAGMA user_version = 2;";

/* Version 3: which topics may have a retained message, and since when. */
static const char schema_3[] =
    "CREATE TABLE retained(row INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL UNIQUE,"
    " modified INTEGER NOT NULL);"
    "PRAGMA user_version = 3;";

/*
 * Version 4: waiting invocations are found by their function, what was given up is kept
 * (dead_letters).
 */
static const char schema_4[] =
    "CREATE INDEX invocations_function ON invocations(function, due);"
    "CREATE TABLE dead_letters(row INTEGER PRIMARY KEY AUTOINCREMENT, created INTEGER NOT NULL,"
    " kind TEXT NOT NULL, target TEXT NOT NULL, rule TEXT NOT NULL, request TEXT NOT NULL,"
    " attempts INTEGER NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL, cert BLOB,"
    " payload BLOB NOT NULL);"
    "PRAGMA user_version = 4;";

/* Version 5: topic rule destinations. A token is "" when it was used. */
static const char schema_5[] =
    "CREATE TABLE destinations(row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " url TEXT NOT NULL UNIQUE, status INTEGER NOT NULL, token TEXT NOT NULL,"
    " created INTEGER NOT NULL, modified INTEGER NOT NULL, reason TEXT NOT NULL);"
    "CREATE INDEX destinations_token ON destinations(token) WHERE token <> '';"
    "PRAGMA user_version = 5;";

/* Version 6: what rules publish and the broker has not acknowledged. */
static const char schema_6[] =
    "CREATE TABLE republished(row INTEGER PRIMARY KEY AUTOINCREMENT, topic BLOB NOT NULL,"
    " payload BLOB NOT NULL);"
    "PRAGMA user_version = 6;";

static const char *const steps[SCHEMA_VERSION] = { schema, schema_2, schema_3, schema_4, schema_5,
    schema_6 };

static const char sql_version[] = "PRAGMA user_version";

/* From `version` to the newest, all or nothing. */
static enum bm_err
schema_make(struct registry *r, int64_t version, struct bm_msg *msg)
{
    enum bm_err err;
    bool made = true;

    if (sqlite3_exec(r->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(r, msg, "cannot start making the tables");
    for (; made && version < SCHEMA_VERSION; version++)
        made = sqlite3_exec(r->db, steps[version], NULL, NULL, NULL) == SQLITE_OK;
    if (made && sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return BM_OK;
    err = db_fail(r, msg, "cannot make the tables");
    (void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

enum bm_err
schema_open(struct registry *r, const char *path, struct bm_msg *msg)
{
    int64_t version = 0;
    enum bm_err err = db_number(r, sql_version, NULL, 0, &version, msg);

    if (err != BM_OK)
        return err;
    if (version > SCHEMA_VERSION)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "%s has version %lld, this program knows version %d; use the newer program", path,
            (long long)version, SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return BM_OK;
    if (r->read_only && version == 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "%s is empty; start `birthmark cloud` once", path);
    if (r->read_only) /* what is read of it, the timeline, was there from the first version */
        return BM_OK;
    return schema_make(r, version, msg);
}
