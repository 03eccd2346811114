/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cloud knows, durably: CAs, certificates, policies, things, rules, functions, the event
 * outbox and the timeline. One writer.
 *
 * Groups. Every mutating call runs in the open group (a transaction that the first mutation opens)
 * and is a savepoint of its own: it happens whole or not at all. registry_commit() makes the group
 * durable (SQLite WAL, synchronous=FULL), then brings the shared table (table.h) up to date and
 * calls `changed` once for each certificate touched. Nothing may be acknowledged before
 * registry_commit() returned BM_OK; when it fails the whole group is gone and every waiter must be
 * told so. Reads see the open group.
 *
 * Borrowing: a struct filled by a read owns its heap parts; free them with the matching _fini. Text
 * in, text out is UTF-8. Times are wall clock milliseconds. Errors: BM_ERR_NOT_FOUND,
 * BM_ERR_EXISTS, BM_ERR_CONFLICT (a state or an attachment forbids it), BM_ERR_LIMIT, BM_ERR_IO
 * (SQLite's words are in the message).
 */
#ifndef BM_REGISTRY_REGISTRY_H
#define BM_REGISTRY_REGISTRY_H

#include "base/bytes.h"
#include "timeline/timeline.h"

struct registry;
struct table;

enum { REGISTRY_ID_LEN = 32, REGISTRY_NAME_MAX = 128 };

typedef void (*registry_changed_fn)(void *arg, const uint8_t cert_id[REGISTRY_ID_LEN]);

/*
 * Open DIR/registry.db, made when missing. `table` (may be NULL: explain, tests) is that of
 * table_resume or table_create: filled from the store unless it is a snapshot of this very state,
 * and kept up to date after each commit; registry_close leaves it as a snapshot. `read_only` opens
 * beside a running cloud.
 */
struct registry_options {
    const char *dir;
    struct table *table;
    bool read_only;      /* all that is read is of one moment */
    bool bulk;           /* much is going to be written: more memory for it */
    size_t timeline_max; /* about so many records are kept, the newest; 0: all */
    registry_changed_fn changed;
    void *changed_arg;
};
enum bm_err registry_open(
    const struct registry_options *options, struct registry **out, struct bm_msg *msg);
/* Commits the open group; takes NULL. The table is closed after it. */
void registry_close(struct registry *r);
enum bm_err registry_commit(struct registry *r, struct bm_msg *msg);
/* Opened read_only: let the next read see what was committed by then, and hold nothing until it. */
enum bm_err registry_refresh(struct registry *r, struct bm_msg *msg);
/* Does a process, a cloud mostly, have the registry in `dir` open for writing? */
bool registry_written(const char *dir);
/* Group several mutations into one savepoint: all or none. Not nestable. */
enum bm_err registry_begin(struct registry *r, struct bm_msg *msg);
enum bm_err registry_end(struct registry *r, bool keep, struct bm_msg *msg);

/* ---- registration code: 64 hex characters, made at first use, stable until deleted. SPEC
 * aws-iot 3.1 ---- */
enum bm_err registry_code_get(struct registry *r, char out[65], struct bm_msg *msg);
enum bm_err registry_code_delete(struct registry *r, struct bm_msg *msg); /* BM_ERR_NOT_FOUND */

/* ---- status of CAs and certificates; SPEC aws-iot 3.3, 3.5 ---- */
enum cert_status {
    CERT_ACTIVE = 1,
    CERT_INACTIVE,
    CERT_REVOKED,
    CERT_PENDING_TRANSFER,
    CERT_REGISTER_INACTIVE,
    CERT_PENDING_ACTIVATION,
};
const char *cert_status_name(enum cert_status s); /* "PENDING_ACTIVATION" */
bool cert_status_parse(struct span text, enum cert_status *out);

enum cert_mode { MODE_DEFAULT = 1, MODE_SNI_ONLY };

struct registry_ca {
    uint8_t id[REGISTRY_ID_LEN];
    enum cert_status status; /* ACTIVE or INACTIVE */
    bool auto_registration;
    enum cert_mode mode;
    int64_t created_ms, modified_ms;
    int64_t not_before_ms, not_after_ms;
    int version;         /* customerVersion */
    char generation[37]; /* UUID */
    struct buf subject;  /* DER of the subject name */
    struct buf der;
    struct buf registration_config; /* JSON, empty when none */
};
void registry_ca_fini(struct registry_ca *ca);

/* Insert; fills created, modified, version 1, generation. BM_ERR_EXISTS; BM_ERR_LIMIT: an eleventh
 * CA with one subject. */
enum bm_err registry_ca_insert(struct registry *r, struct registry_ca *ca, struct bm_msg *msg);
enum bm_err registry_ca_get(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    struct registry_ca *out, struct bm_msg *msg);
/* All CAs with this subject name, at most 10, into out; *count. Free each. */
enum bm_err registry_ca_by_subject(struct registry *r, struct span subject,
    struct registry_ca out[10], size_t *count, struct bm_msg *msg);
/* What is not NULL changes; version + 1, modified = now. */
struct registry_ca_change {
    const enum cert_status *status;
    const bool *auto_registration;
    const struct span *registration_config; /* an empty one removes it */
};
enum bm_err registry_ca_update(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    const struct registry_ca_change *change, struct bm_msg *msg);
enum bm_err registry_ca_delete(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    struct bm_msg *msg); /* BM_ERR_CONFLICT while ACTIVE */

struct registry_cert {
    uint8_t id[REGISTRY_ID_LEN];
    enum cert_status status;
    enum cert_mode mode;
    bool has_ca;
    uint8_t ca_id[REGISTRY_ID_LEN];
    int64_t created_ms, modified_ms;
    int64_t not_before_ms, not_after_ms;
    int version;
    char generation[37];
    uint32_t policy_set; /* see below; 0 = no policy */
    struct buf der;
};
void registry_cert_fini(struct registry_cert *c);

/*
 * Insert; fills created, modified, version 1, generation. BM_ERR_EXISTS leaves the stored one as it
 * was.
 */
enum bm_err registry_cert_insert(struct registry *r, struct registry_cert *c, struct bm_msg *msg);
enum bm_err registry_cert_get(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    struct registry_cert *out, struct bm_msg *msg);
/*
 * Move along a legal arrow of SPEC 3.5 (same status again is fine and changes nothing but version
 * and date). BM_ERR_CONFLICT otherwise, with both names in the message. *old (may be NULL) gets the
 * status before.
 */
enum bm_err registry_cert_set_status(struct registry *r, const uint8_t id[REGISTRY_ID_LEN],
    enum cert_status to, enum cert_status *old, struct bm_msg *msg);
/*
 * BM_ERR_CONFLICT while ACTIVE (*attached false), with a thing attached or, unless force, with a
 * policy attached (*attached true; `attached` may be NULL).
 */
enum bm_err registry_cert_delete(struct registry *r, const uint8_t id[REGISTRY_ID_LEN], bool force,
    bool *attached, struct bm_msg *msg);

/*
 * Pages: items after `marker` ("" = from the start), newest first unless ascending, at most
 * `limit` (from 1); next_marker is "" at the end. Markers are opaque base64 text. The callback may
 * read other things but not mutate; the item is borrowed for the call. In lists of certificates and
 * CAs the item has its narrow part only: der, subject and registration_config are empty.
 */
struct registry_page {
    const char *marker;
    size_t limit;
    bool ascending;
    bool enough; /* set by the callback: none is wanted after this one */
    char next_marker[128];
};
typedef void (*registry_ca_fn)(void *arg, const struct registry_ca *ca);
typedef void (*registry_cert_fn)(void *arg, const struct registry_cert *cert);
enum bm_err registry_ca_list(struct registry *r, struct registry_page *page, registry_ca_fn fn,
    void *arg, struct bm_msg *msg);
/* ca_id NULL: all. BM_ERR_INPUT: not a marker of ours. */
enum bm_err registry_cert_list(struct registry *r, const uint8_t *ca_id, struct registry_page *page,
    registry_cert_fn fn, void *arg, struct bm_msg *msg);

/* The same, newest first, each with its DER: for who looks into certificates. */
typedef void (*registry_der_fn)(void *arg, const struct registry_cert *cert, struct span der);
enum bm_err registry_cert_read(struct registry *r, const uint8_t *ca_id, struct registry_page *page,
    registry_der_fn fn, void *arg, struct bm_msg *msg);

/* Those with an id from `low` to `high`, by id, at most `limit`; narrow as in lists. */
enum bm_err registry_cert_between(struct registry *r, const uint8_t low[REGISTRY_ID_LEN],
    const uint8_t high[REGISTRY_ID_LEN], size_t limit, registry_cert_fn fn, void *arg,
    struct bm_msg *msg);

/* ---- policies. SPEC aws-iot 1.3.3. Targets are certificates and thing groups. ---- */
enum { REGISTRY_VERSIONS_MAX = 5, REGISTRY_ATTACHED_MAX = 10 };

struct registry_policy {
    char name[REGISTRY_NAME_MAX + 1];
    int version; /* the default version, 1..; of registry_policy_version_get the one asked for */
    bool is_default;
    int64_t created_ms, modified_ms;
    char generation[37];
    struct buf document; /* JSON text of that version */
};
void registry_policy_fini(struct registry_policy *p);
typedef void (*registry_policy_fn)(void *arg, const struct registry_policy *policy);
enum bm_err registry_policy_create(
    struct registry *r, const char *name, struct span document, struct bm_msg *msg);
enum bm_err registry_policy_get(
    struct registry *r, const char *name, struct registry_policy *out, struct bm_msg *msg);
/* BM_ERR_CONFLICT: attached, or has versions beside the default one. */
enum bm_err registry_policy_delete(struct registry *r, const char *name, struct bm_msg *msg);
enum bm_err registry_policy_list(struct registry *r, struct registry_page *page,
    registry_policy_fn fn, void *arg, struct bm_msg *msg);

/*
 * Versions count from 1 and no number comes twice. BM_ERR_LIMIT: a sixth one. BM_ERR_CONFLICT: the
 * default version is not deleted alone. A new default reaches every certificate that has the
 * policy, which takes time in proportion to their number.
 */
enum bm_err registry_policy_version_create(struct registry *r, const char *name,
    struct span document, bool make_default, int *version, struct bm_msg *msg);
enum bm_err registry_policy_version_get(struct registry *r, const char *name, int version,
    struct registry_policy *out, struct bm_msg *msg);
enum bm_err registry_policy_version_default(
    struct registry *r, const char *name, int version, struct bm_msg *msg);
enum bm_err registry_policy_version_delete(
    struct registry *r, const char *name, int version, struct bm_msg *msg);
/* Newest first; without documents. */
enum bm_err registry_policy_versions(
    struct registry *r, const char *name, registry_policy_fn fn, void *arg, struct bm_msg *msg);

/* A certificate, or when `group` is not NULL that thing group. Borrowed. */
struct registry_target {
    const char *group;
    uint8_t cert_id[REGISTRY_ID_LEN];
};
/*
 * Attaching twice is fine, and so is detaching what is not attached. BM_ERR_NOT_FOUND names which;
 * BM_ERR_LIMIT: an eleventh policy on one target.
 */
enum bm_err registry_policy_attach(
    struct registry *r, const char *name, const struct registry_target *target, struct bm_msg *msg);
enum bm_err registry_policy_detach(
    struct registry *r, const char *name, const struct registry_target *target, struct bm_msg *msg);
/* By name. `inherited`: a group's also from the groups above it. */
enum bm_err registry_policy_attached(struct registry *r, const struct registry_target *target,
    bool inherited, registry_policy_fn fn, void *arg, struct bm_msg *msg);
/* All that count for a certificate: its own, and those of the groups of its things. */
enum bm_err registry_policy_effective(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    registry_policy_fn fn, void *arg, struct bm_msg *msg);
typedef void (*registry_target_fn)(void *arg, const struct registry_target *target);
/* Certificates first, then groups; pages go upwards only. */
enum bm_err registry_policy_targets(struct registry *r, const char *name,
    struct registry_page *page, registry_target_fn fn, void *arg, struct bm_msg *msg);

/*
 * Policy sets. The policies that count for a certificate, in their default versions, form a set
 * with a number that stands for exactly these documents for ever: other content gets another
 * number. Workers compile a set once and cache it by number.
 */
typedef void (*registry_document_fn)(void *arg, const char *policy_name, struct span document);
enum bm_err registry_policy_set(
    struct registry *r, uint32_t set, registry_document_fn fn, void *arg, struct bm_msg *msg);

/* ---- things, their types and groups. SPEC aws-iot 1.3.4 ---- */
struct registry_type {
    char name[REGISTRY_NAME_MAX + 1];
    char id[37]; /* UUID */
    int64_t created_ms;
    int64_t deprecated_ms; /* 0: it is not */
    struct buf description;
    struct buf searchable; /* JSON array of attribute names */
};
void registry_type_fini(struct registry_type *t);
typedef void (*registry_type_fn)(void *arg, const struct registry_type *t);
/* BM_ERR_EXISTS: with other properties. The same again is fine. */
enum bm_err registry_type_create(struct registry *r, struct registry_type *t, struct bm_msg *msg);
enum bm_err registry_type_get(
    struct registry *r, const char *name, struct registry_type *out, struct bm_msg *msg);
enum bm_err registry_type_deprecate(
    struct registry *r, const char *name, bool undo, struct bm_msg *msg);
/* BM_ERR_CONFLICT: not deprecated, or a thing is of this type. */
enum bm_err registry_type_delete(struct registry *r, const char *name, struct bm_msg *msg);
/* `name` NULL: all. */
enum bm_err registry_type_list(struct registry *r, const char *name, struct registry_page *page,
    registry_type_fn fn, void *arg, struct bm_msg *msg);

struct registry_thing {
    char name[REGISTRY_NAME_MAX + 1];
    char id[37];                      /* UUID */
    char type[REGISTRY_NAME_MAX + 1]; /* "" when none */
    int64_t version;                  /* grows with every change */
    struct buf attributes;            /* JSON object, values are strings */
};
void registry_thing_fini(struct registry_thing *t);
typedef void (*registry_thing_fn)(void *arg, const struct registry_thing *t);
/*
 * BM_ERR_EXISTS: with other content; the same again is fine. BM_ERR_NOT_FOUND: no such type.
 * BM_ERR_CONFLICT: the type is deprecated.
 */
enum bm_err registry_thing_create(struct registry *r, struct registry_thing *t, struct bm_msg *msg);
enum bm_err registry_thing_get(
    struct registry *r, const char *name, struct registry_thing *out, struct bm_msg *msg);
/*
 * Set type and attributes as `t` has them. `expected`, unless 0, must be the version (else
 * BM_ERR_STATUS); t->version gets the new one.
 */
enum bm_err registry_thing_update(
    struct registry *r, struct registry_thing *t, int64_t expected, struct bm_msg *msg);
/* Not there is fine. BM_ERR_CONFLICT: a certificate is attached. BM_ERR_STATUS: as above. */
enum bm_err registry_thing_delete(
    struct registry *r, const char *name, int64_t expected, struct bm_msg *msg);
/* Unset filters are NULL. */
struct registry_thing_filter {
    const char *type;
    const char *attribute;
    const char *value;
    bool prefix; /* of the value */
};
enum bm_err registry_thing_list(struct registry *r, const struct registry_thing_filter *filter,
    struct registry_page *page, registry_thing_fn fn, void *arg, struct bm_msg *msg);

/* Both must be there; twice is fine, and so is detaching what is not attached. */
enum bm_err registry_thing_attach(struct registry *r, const char *name,
    const uint8_t cert_id[REGISTRY_ID_LEN], struct bm_msg *msg);
enum bm_err registry_thing_detach(struct registry *r, const char *name,
    const uint8_t cert_id[REGISTRY_ID_LEN], struct bm_msg *msg);
/*
 * The thing of this name, when the certificate is attached to it: what a policy may know of a
 * connection whose client id is `name`. SPEC aws-iot 7.3. BM_ERR_NOT_FOUND: no such thing, or not
 * attached. What changes it touches the certificates attached (registry_options' `changed`).
 */
enum bm_err registry_thing_of(struct registry *r, const char *name,
    const uint8_t cert_id[REGISTRY_ID_LEN], struct registry_thing *out, struct bm_msg *msg);
typedef void (*registry_id_fn)(void *arg, const uint8_t id[REGISTRY_ID_LEN]);
typedef void (*registry_name_fn)(void *arg, const char *name);
enum bm_err registry_thing_principals(struct registry *r, const char *name,
    struct registry_page *page, registry_id_fn fn, void *arg, struct bm_msg *msg);
enum bm_err registry_principal_things(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    struct registry_page *page, registry_name_fn fn, void *arg, struct bm_msg *msg);

struct registry_group {
    char name[REGISTRY_NAME_MAX + 1];
    char id[37];                        /* UUID */
    char parent[REGISTRY_NAME_MAX + 1]; /* "" when none */
    int64_t version;
    int64_t created_ms;
    struct buf description;
    struct buf attributes; /* JSON object */
};
void registry_group_fini(struct registry_group *g);
typedef void (*registry_group_fn)(void *arg, const struct registry_group *g);
/* BM_ERR_EXISTS: with other content. BM_ERR_NOT_FOUND: no such parent. */
enum bm_err registry_group_create(struct registry *r, struct registry_group *g, struct bm_msg *msg);
enum bm_err registry_group_get(
    struct registry *r, const char *name, struct registry_group *out, struct bm_msg *msg);
enum bm_err registry_group_update(
    struct registry *r, struct registry_group *g, int64_t expected, struct bm_msg *msg);
/* Not there is fine. BM_ERR_CONFLICT: it has groups below it. Its policies are detached. */
enum bm_err registry_group_delete(
    struct registry *r, const char *name, int64_t expected, struct bm_msg *msg);
/* `parent` NULL: any; `recursive`: all below it, or without a parent all (else those at the top).
 */
enum bm_err registry_group_list(struct registry *r, const char *parent, bool recursive,
    const char *prefix, struct registry_page *page, registry_group_fn fn, void *arg,
    struct bm_msg *msg);
enum bm_err registry_group_add(
    struct registry *r, const char *group, const char *thing, struct bm_msg *msg);
enum bm_err registry_group_remove(
    struct registry *r, const char *group, const char *thing, struct bm_msg *msg);
enum bm_err registry_group_things(struct registry *r, const char *group, bool recursive,
    struct registry_page *page, registry_name_fn fn, void *arg, struct bm_msg *msg);
enum bm_err registry_groups_of(struct registry *r, const char *thing, struct registry_page *page,
    registry_name_fn fn, void *arg, struct bm_msg *msg);

/* ---- tags of a resource, by its ARN. SPEC aws-iot 1.3.6 ---- */
enum { REGISTRY_TAGS_MAX = 50 };
typedef void (*registry_tag_fn)(void *arg, const char *key, const char *value);
/* BM_ERR_LIMIT: more than REGISTRY_TAGS_MAX. */
enum bm_err registry_tag_set(
    struct registry *r, const char *arn, const char *key, const char *value, struct bm_msg *msg);
enum bm_err registry_tag_remove(
    struct registry *r, const char *arn, const char *key, struct bm_msg *msg);
enum bm_err registry_tag_clear(struct registry *r, const char *arn, struct bm_msg *msg);
enum bm_err registry_tag_list(
    struct registry *r, const char *arn, registry_tag_fn fn, void *arg, struct bm_msg *msg);
typedef void (*registry_tag_each_fn)(
    void *arg, const char *arn, const char *key, const char *value);
enum bm_err registry_tag_each(
    struct registry *r, registry_tag_each_fn fn, void *arg, struct bm_msg *msg);

/*
 * Topics that may have a retained message at the broker, which alone knows whether they do and what
 * it is, and when it was published last. A topic is at most 256 bytes of UTF-8.
 */
enum { REGISTRY_TOPIC_MAX = 256 };
enum bm_err registry_retained_set(
    struct registry *r, struct span topic, int64_t modified_ms, struct bm_msg *msg);
enum bm_err registry_retained_forget(struct registry *r, struct span topic, struct bm_msg *msg);
/* BM_ERR_NOT_FOUND, without a message. */
enum bm_err registry_retained_time(
    struct registry *r, const char *topic, int64_t *modified_ms, struct bm_msg *msg);
enum bm_err registry_retained_list(struct registry *r, struct registry_page *page,
    registry_name_fn fn, void *arg, struct bm_msg *msg);

/* ---- an account's settings (logging, event configurations): JSON text by a key of ours ---- */
enum bm_err registry_setting_get(/* appends; BM_ERR_NOT_FOUND */
    struct registry *r, const char *key, struct buf *out, struct bm_msg *msg);
enum bm_err registry_setting_put(
    struct registry *r, const char *key, struct span value, struct bm_msg *msg);

/* ---- topic rules: the payload object as given, checked by the caller ---- */
struct registry_rule {
    char name[REGISTRY_NAME_MAX + 1];
    bool disabled;
    int64_t created_ms;
    struct buf payload; /* JSON of the topicRulePayload */
};
void registry_rule_fini(struct registry_rule *rule);
typedef void (*registry_rule_fn)(void *arg, const struct registry_rule *rule);
enum bm_err registry_rule_create(
    struct registry *r, const char *name, bool disabled, struct span payload, struct bm_msg *msg);
enum bm_err registry_rule_replace(
    struct registry *r, const char *name, bool disabled, struct span payload, struct bm_msg *msg);
enum bm_err registry_rule_get(
    struct registry *r, const char *name, struct registry_rule *out, struct bm_msg *msg);
enum bm_err registry_rule_delete(struct registry *r, const char *name, struct bm_msg *msg);
/* By name. */
enum bm_err registry_rule_list(
    struct registry *r, registry_rule_fn fn, void *arg, struct bm_msg *msg);

/* ---- topic rule destinations: confirmation URLs of HTTP receivers. SPEC aws-iot 1.3.5, 5.3 ----
 */
enum { DESTINATION_URL_MAX = 2000, DESTINATION_TOKEN_LEN = 64 };
enum destination_status {
    DESTINATION_IN_PROGRESS, /* the receiver has not confirmed */
    DESTINATION_ENABLED,
    DESTINATION_DISABLED, /* confirmed, and switched off */
    DESTINATION_ERROR,    /* the confirmation did not reach it; its token still counts */
};
const char *destination_status_name(enum destination_status status); /* as in the API */
bool destination_status_of(const char *name, enum destination_status *out);
struct registry_destination {
    char id[37]; /* UUID, the end of its ARN */
    char url[DESTINATION_URL_MAX + 1];
    enum destination_status status;
    char token[DESTINATION_TOKEN_LEN + 1]; /* hex; "" when it was used. A secret of the receiver */
    char reason[200];                      /* of DESTINATION_ERROR */
    int64_t created_ms;
    int64_t modified_ms;
};
typedef void (*registry_destination_fn)(void *arg, const struct registry_destination *d);
/*
 * From url, status, reason and, unless "", id; fills the rest. BM_ERR_EXISTS: of this URL (or id)
 * there is one.
 */
enum bm_err registry_destination_create(
    struct registry *r, struct registry_destination *d, struct bm_msg *msg);
enum bm_err registry_destination_get(
    struct registry *r, const char *id, struct registry_destination *out, struct bm_msg *msg);
enum bm_err registry_destination_of_token(
    struct registry *r, const char *token, struct registry_destination *out, struct bm_msg *msg);
enum bm_err registry_destination_of_url(
    struct registry *r, const char *url, struct registry_destination *out, struct bm_msg *msg);
/* IN_PROGRESS makes a new token, ENABLED and DISABLED forget it. */
enum bm_err registry_destination_set_status(struct registry *r, const char *id,
    enum destination_status status, const char *reason, struct bm_msg *msg);
enum bm_err registry_destination_delete(struct registry *r, const char *id, struct bm_msg *msg);
enum bm_err registry_destination_list(struct registry *r, struct registry_page *page,
    registry_destination_fn fn, void *arg, struct bm_msg *msg);

/*
 * Functions: configuration as JSON (of SPEC aws-iot 5.5); the code is a file of the lambda room,
 * named by its SHA-256.
 */
struct registry_function {
    char name[REGISTRY_NAME_MAX + 1];
    int64_t modified_ms;
    uint8_t code_sha256[32];
    /* JSON: Runtime, Handler, Role, Timeout, MemorySize, Environment, Description, CodeSize */
    struct buf config;
    struct buf permissions; /* JSON array of statements, "[]" when none */
};
void registry_function_fini(struct registry_function *f);
typedef void (*registry_function_fn)(void *arg, const struct registry_function *f);
/*
 * Insert (BM_ERR_EXISTS) or replace (BM_ERR_NOT_FOUND) name, code, config and permissions as a
 * whole. `modified_ms` is the store's business.
 */
enum bm_err registry_function_create(
    struct registry *r, const struct registry_function *f, struct bm_msg *msg);
enum bm_err registry_function_replace(
    struct registry *r, const struct registry_function *f, struct bm_msg *msg);
enum bm_err registry_function_get(
    struct registry *r, const char *name, struct registry_function *out, struct bm_msg *msg);
enum bm_err registry_function_delete(struct registry *r, const char *name, struct bm_msg *msg);
enum bm_err registry_function_list(
    struct registry *r, registry_function_fn fn, void *arg, struct bm_msg *msg);

/* ---- outbox: events that must leave at least once, in order of id ---- */
struct registry_event {
    int64_t id;
    int64_t created_ms;
    bool has_cert;
    uint8_t cert_id[REGISTRY_ID_LEN];
    struct buf topic;
    struct buf payload;
};
void registry_event_fini(struct registry_event *e);
enum bm_err registry_event_add(struct registry *r, const char *topic, struct span payload,
    const uint8_t *cert_id, struct bm_msg *msg);
/* The first event with an id above `after`. BM_ERR_NOT_FOUND: none. */
enum bm_err registry_event_next(
    struct registry *r, int64_t after, struct registry_event *out, struct bm_msg *msg);
enum bm_err registry_event_done(struct registry *r, int64_t id, struct bm_msg *msg);

/* ---- outbox: what rules publish, at least once, in order of id ---- */
struct registry_republished {
    int64_t id;
    struct span topic; /* borrowed for the call */
    struct span payload;
};
typedef void (*registry_republished_fn)(void *arg, const struct registry_republished *m);
enum bm_err registry_republished_add(
    struct registry *r, struct span topic, struct span payload, struct bm_msg *msg);
/* The first `limit` with an id above `after`. */
enum bm_err registry_republished_list(struct registry *r, int64_t after, size_t limit,
    registry_republished_fn fn, void *arg, struct bm_msg *msg);
enum bm_err registry_republished_done(struct registry *r, int64_t id, struct bm_msg *msg);

/*
 * Asynchronous invocations, which must run at least once. SPEC aws-iot 4.3: two more tries after 1
 * and 2 minutes; when is the caller's business.
 */
struct registry_invocation {
    int64_t id;
    int64_t created_ms;
    int64_t due_ms;
    int attempt; /* 0 for the first */
    char request_id[37];
    char function[REGISTRY_NAME_MAX + 1];
    bool has_cert;
    uint8_t cert_id[REGISTRY_ID_LEN]; /* whose timeline it belongs to */
    struct buf payload;
};
void registry_invocation_fini(struct registry_invocation *i);
/* Insert; fills id, created, request_id (UUID). */
enum bm_err registry_invocation_add(
    struct registry *r, struct registry_invocation *i, struct bm_msg *msg);
/* All waiting ones, by due time, at most `limit`. */
typedef void (*registry_invocation_fn)(void *arg, const struct registry_invocation *i);
enum bm_err registry_invocation_list(
    struct registry *r, size_t limit, registry_invocation_fn fn, void *arg, struct bm_msg *msg);
/* Names of the functions for which invocations wait. */
enum bm_err registry_invocation_functions(
    struct registry *r, registry_name_fn fn, void *arg, struct bm_msg *msg);
/* Those of one function that are due at `now_ms`, by due time, at most `limit`. */
enum bm_err registry_invocation_due(struct registry *r, const char *function, int64_t now_ms,
    size_t limit, registry_invocation_fn fn, void *arg, struct bm_msg *msg);
/* When the first that is not due at `now_ms` becomes so; INT64_MAX: there is none. */
enum bm_err registry_invocation_next(
    struct registry *r, int64_t now_ms, int64_t *due_ms, struct bm_msg *msg);
/* Attempt + 1, due then. */
enum bm_err registry_invocation_retry(
    struct registry *r, int64_t id, int64_t due_ms, struct bm_msg *msg);
enum bm_err registry_invocation_done(struct registry *r, int64_t id, struct bm_msg *msg);

/*
 * Dead letters: what was given up after its retries, the newest REGISTRY_LETTERS_MAX.
 */
enum { REGISTRY_LETTERS_MAX = 1000, REGISTRY_LETTER_CAUSE_MAX = 500 };
struct registry_letter {
    int64_t id;
    int64_t created_ms; /* when it was given up */
    char kind[16];      /* "function" (asynchronous invocation), or the rule's action */
    char target[256];   /* function's name, topic, URL */
    char rule[REGISTRY_NAME_MAX + 1]; /* "" when no rule caused it, or none is known */
    char request_id[40]; /* of the invocation, or the trace id of the rule's evaluation */
    int attempts;
    char cause[REGISTRY_LETTER_CAUSE_MAX + 1];
    bool has_cert;
    uint8_t cert_id[REGISTRY_ID_LEN];
    struct buf detail;  /* JSON of what sending again needs beside, or empty */
    struct buf payload; /* what the function or the action was to get */
};
void registry_letter_fini(struct registry_letter *l);
/* Insert, fills id and created; the oldest go when there are too many. */
enum bm_err registry_letter_add(struct registry *r, struct registry_letter *l, struct bm_msg *msg);
enum bm_err registry_letter_get(
    struct registry *r, int64_t id, struct registry_letter *out, struct bm_msg *msg);
enum bm_err registry_letter_delete(struct registry *r, int64_t id, struct bm_msg *msg);
/*
 * Send the event of a letter of kind "function" again: a new invocation, due now, in the letter's
 * place. A savepoint of its own. *invocation (may be NULL) gets its id. BM_ERR_NOT_FOUND: no such
 * letter, or no such function; BM_ERR_CONFLICT: a letter of another kind.
 */
enum bm_err registry_letter_resend(
    struct registry *r, int64_t id, int64_t *invocation, struct bm_msg *msg);
/* Newest first, at most `limit`. */
typedef void (*registry_letter_fn)(void *arg, const struct registry_letter *l);
enum bm_err registry_letter_list(
    struct registry *r, size_t limit, registry_letter_fn fn, void *arg, struct bm_msg *msg);

/* ---- timeline ---- */
enum bm_err registry_record(
    struct registry *r, const struct timeline_record *rec, struct bm_msg *msg);
typedef void (*registry_record_fn)(void *arg, const struct timeline_record *rec);
/*
 * Records of one certificate, or of every certificate that used this client id, oldest first, the
 * last `limit`. BM_ERR_NOT_FOUND: none.
 */
enum bm_err registry_timeline_cert(struct registry *r, const uint8_t cert_id[REGISTRY_ID_LEN],
    size_t limit, registry_record_fn fn, void *arg, struct bm_msg *msg);
enum bm_err registry_timeline_client(struct registry *r, const char *client_id, size_t limit,
    registry_record_fn fn, void *arg, struct bm_msg *msg);
/* The newest `limit` records of all, oldest first. */
enum bm_err registry_timeline_recent(
    struct registry *r, size_t limit, registry_record_fn fn, void *arg, struct bm_msg *msg);
/*
 * The records after row `after`, oldest first; of more than `limit` only the last of them. Row
 * numbers grow with every record. None is BM_OK.
 */
typedef void (*registry_row_fn)(void *arg, int64_t row, const struct timeline_record *rec);
enum bm_err registry_timeline_after(struct registry *r, int64_t after, size_t limit,
    registry_row_fn fn, void *arg, struct bm_msg *msg);
/* The row of the newest record; 0: none. */
enum bm_err registry_timeline_last(struct registry *r, int64_t *row, struct bm_msg *msg);
/* The row before the first record of `time_ms` or later. */
enum bm_err registry_timeline_since(
    struct registry *r, int64_t time_ms, int64_t *row, struct bm_msg *msg);
/*
 * Client ids that begin with `prefix` and the certificates they came with, at most `limit` pairs,
 * found in the first of the records that have such a client id.
 */
typedef void (*registry_client_fn)(
    void *arg, const char *client_id, const uint8_t cert_id[REGISTRY_ID_LEN]);
enum bm_err registry_timeline_clients(struct registry *r, const char *prefix, size_t limit,
    registry_client_fn fn, void *arg, struct bm_msg *msg);
/*
 * The certificate, registered or only seen, whose id begins with these hex digits (1 to 64).
 * Through the indices, at any size. BM_ERR_NOT_FOUND: none; BM_ERR_EXISTS: several;
 * BM_ERR_INPUT: no hex digits.
 */
enum bm_err registry_timeline_prefix(
    struct registry *r, const char *prefix, uint8_t out[REGISTRY_ID_LEN], struct bm_msg *msg);
/*
 * What has no index, an address or a class, is looked for in the newest REGISTRY_TIMELINE_SCAN
 * records, so that the search ends soon in a timeline of any length.
 */
enum { REGISTRY_TIMELINE_SCAN = 100000 };
/* Records of a peer, "127.0.0.1:40122", or of all ports of "127.0.0.1"; as registry_timeline_cert.
 */
enum bm_err registry_timeline_peer(struct registry *r, const char *address, size_t limit,
    registry_record_fn fn, void *arg, struct bm_msg *msg);
/* The newest record of a class. BM_ERR_NOT_FOUND: none. */
enum bm_err registry_timeline_newest(
    struct registry *r, enum cause_class kind, struct timeline_record *out, struct bm_msg *msg);

#endif
