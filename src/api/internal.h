/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share: one request on its way (struct call), what handlers read from
 * it, and the ways to answer it.
 *
 * The life of a call: api.c finds the operation (operations.c), verifies the signature, decodes
 * labels and body, and calls the handler. A handler answers exactly once, by one of the call_reply_
 * and call_refuse functions, which mark the call as answered; api.c frees it when the handler has
 * returned. Every reader that returns false has refused the call already. A handler that answers
 * later (Invoke) puts the call into the waiting list with call_wait and ends it with call_end.
 */
#ifndef BM_API_INTERNAL_H
#define BM_API_INTERNAL_H

#include "api/api.h"
#include "api/sigv4.h"

#include <jansson.h>

struct call;

enum service { SERVICE_IOT, SERVICE_DATA, SERVICE_LAMBDA };
enum body { BODY_NONE, BODY_JSON, BODY_RAW };
enum { LABELS_MAX = 3, ARN_MAX = 512 };

/*
 * What the service models say of a request (model.inc). `min` and `max` bound a number, or the
 * characters of a text, or the items of a list or map.
 */
enum kind {
    KIND_STRING,
    KIND_BLOB, /* base64 text */
    KIND_BOOLEAN,
    KIND_INTEGER,
    KIND_LONG,
    KIND_FLOAT,
    KIND_DOUBLE,
    KIND_TIMESTAMP,
    KIND_LIST,
    KIND_MAP,
    KIND_STRUCTURE,
    KIND_OPAQUE, /* checked by who reads it */
};

struct shape {
    enum kind kind;
    int64_t min, max;
    const char *const *words; /* what a text may be, or NULL */
    const struct member *members;
    const struct shape *element;
    const struct shape *key;
};

struct member {
    const char *name; /* as on the wire; NULL ends a list */
    enum { IN_BODY, IN_PATH, IN_QUERY, IN_HEADER, IN_PAYLOAD } where;
    bool required;
    const struct shape *shape;
};

struct operation {
    enum service service;
    const char *name;
    const char *method;
    /* {}: one segment, a label; {+}: one or more, the last label; ?a=b: is in the query */
    const char *path;
    enum body body;
    unsigned status;              /* of success */
    const struct member *members; /* NULL: not built */
};

typedef void (*operation_fn)(struct call *c);

struct api {
    struct api_options options;
    struct http_server *http;
    struct call *waiting;
    struct call *uncommitted; /* first asked, first answered */
    struct call **uncommitted_end;
};

enum { PARAMS_MAX = 8 };

struct call {
    struct api *api;
    const struct api_account *account; /* whose key signed it */
    const char *access_key;
    struct registry *registry; /* the account's */
    struct http_request *rq;
    const char *path; /* of the operation; the request's own, or a part of it */
    const struct operation *op;
    struct buf labels[LABELS_MAX]; /* decoded, terminated */
    json_t *body;                  /* an object when the operation's body is BODY_JSON */
    struct buf params[PARAMS_MAX]; /* of the query, decoded by param_text */
    size_t param_count;
    bool answered;
    bool want_log;          /* Invoke */
    unsigned commit_status; /* the answer when the group is committed */
    json_t *commit_value;   /* NULL: nothing */
    struct call *commit_next;
    void *waiting_for; /* of a handler that answers later, freed with the call by `forget` */
    void (*forget)(void *waiting_for);
    struct call *next;
    struct call *prev;
};

/* ---- operations.c ---- */

/*
 * The operation of a request, its labels appended to `labels` still percent-encoded. NULL: none;
 * *other is then an operation with that path and another method, or NULL.
 */
const struct operation *operation_find(const char *method, const char *path, const char *query,
    struct buf labels[LABELS_MAX], const struct operation **other);

/* NULL: not built. */
operation_fn operation_handler(const struct operation *op);
const char *operation_service(const struct operation *op); /* as in a credential's scope */

/* Are query, headers and body as the model has them? Refuses when not. shapes.c */
bool call_check(struct call *c);
/* The body alone; false: `why` has the sentence. */
struct refusal {
    char text[900];
};
bool body_check(const struct operation *op, json_t *body, struct refusal *why);

/* ---- refusals (reply.c); names and status codes are in one table there. SPEC aws-iot 1.2 ---- */

enum problem {
    INVALID_REQUEST,
    CERTIFICATE_VALIDATION,
    REGISTRATION_CODE,
    MALFORMED_POLICY,
    THROTTLED,
    SQL_PARSE,
    UNAUTHORIZED,
    MISSING_TOKEN,
    INCOMPLETE_SIGNATURE,
    UNKNOWN_KEY,
    INVALID_SIGNATURE,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    CERTIFICATE_STATE,
    ALREADY_EXISTS,
    CERTIFICATE_CONFLICT,
    DELETE_CONFLICT,
    VERSION_CONFLICT,
    VERSIONS_LIMIT,
    NOT_CONFIGURED,
    CONFLICT,
    LIMIT_EXCEEDED,
    ENTITY_TOO_LARGE,
    INVALID_PARAMETER, /* from here on: Lambda */
    INVALID_CONTENT,
    RESOURCE_CONFLICT,
    REQUEST_TOO_LARGE,
    TOO_MANY_REQUESTS,
    SERVICE_FAILURE,
    INTERNAL_FAILURE,
    NOT_BUILT,
    UNAVAILABLE,
    PROBLEM_COUNT
};

void call_refuse(struct call *c, enum problem problem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What the client sent is wrong, in the words of its service. */
void call_refuse_input(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "an object", "a number", ...: what a value is, for a sentence. Static storage. */
const char *json_type_name(const json_t *value);
/* The one mapping from our errors to the API's. */
void call_refuse_err(struct call *c, enum bm_err err, const struct bm_msg *msg);
/* 409 with the members resourceId and resourceArn. */
void call_refuse_exists(struct call *c, const char *id, const char *arn, const char *message);

/* ---- replies (reply.c) ---- */

void call_reply_empty(struct call *c, unsigned status);
/* Takes `value`; NULL (jansson had no memory, or text that is not UTF-8) becomes 503. */
void call_reply_json(struct call *c, unsigned status, json_t *value);
void call_reply_raw(struct call *c, unsigned status, const char *content_type, struct span body);

/*
 * End of a mutating operation: refuse when `err` says so, else reply when the group is committed:
 * 200 and nothing, or `status` and `value` (taken in any case).
 */
void call_finish(struct call *c, enum bm_err err, const struct bm_msg *msg);
void call_finish_json(
    struct call *c, enum bm_err err, const struct bm_msg *msg, unsigned status, json_t *value);
/* Make the open group durable now; refuses and returns false when that fails. */
bool call_commit(struct call *c);

void call_wait(struct call *c);
void call_resume(struct call *c); /* out of the waiting list; afterwards it is as in a handler */
void call_end(struct call *c); /* free; takes NULL */

/* ---- several mutations as one (reply.c) ---- */

enum bm_err group_begin(struct call *c, struct bm_msg *msg);
enum bm_err group_end(struct call *c, enum bm_err err, struct bm_msg *msg);
/* A timeline record of this call; `facts` begin with the operation's name. */
enum bm_err call_record(struct call *c, enum cause cause, const uint8_t id[REGISTRY_ID_LEN],
    const char *status, struct bm_msg *msg, const char *facts, ...)
    __attribute__((format(printf, 6, 7)));

/* ---- what the request says (params.c) ---- */

const char *call_label(const struct call *c, size_t i);
bool call_label_id(struct call *c, uint8_t id[REGISTRY_ID_LEN]); /* label 0: 64 hex */
/* Label 0 as the name of a policy, a rule, a thing, a thing type or group; NULL when it is none. */
const char *call_policy_name(struct call *c);
const char *call_rule_name(struct call *c);
const char *call_thing_name(struct call *c);

/*
 * Readers for what call_check has found to be of its type. Absent: NULL, or what is `otherwise`.
 * Texts live as long as the call.
 */
const char *body_text(const struct call *c, const char *name);
bool body_bool(const struct call *c, const char *name, bool otherwise);
int64_t body_number(const struct call *c, const char *name, int64_t otherwise);
const char *param_text(struct call *c, const char *name);
bool param_bool(struct call *c, const char *name, bool otherwise);
int64_t param_number(struct call *c, const char *name, int64_t otherwise);
const char *header_text(struct call *c, const char *name);

/* Absent: `out` as it was. A damaged or unfit value is refused. */
bool call_query_text(struct call *c, const char *name, struct buf *out, const char **text);

/* Members of the JSON body. Absent or null: *out is NULL, which is refused when required. */
bool call_text(struct call *c, const char *name, bool required, size_t max, const char **out);
bool call_bool(struct call *c, const char *name, bool *out);
bool call_object(struct call *c, const char *name, bool required, json_t **out);
/* Members that would change what happens but are not built: refused when they say something. */
bool call_without(struct call *c, const char *const *names);

/* A certificate ARN of this account and region. `what` names the parameter. */
bool call_cert_arn(struct call *c, const char *what, const char *arn, uint8_t id[REGISTRY_ID_LEN]);

/* An ARN of a certificate or a thing group here; the group's name is borrowed from `arn`. */
bool call_target(struct call *c, const char *what, const char *arn, struct registry_target *out);

struct page {
    struct registry_page registry;
    json_t *items;
    const char *next; /* the member that has the marker for the next page */
};
/* pageSize, marker, isAscendingOrder; or maxResults, nextToken. SPEC aws-iot 1.4. End with
 * page_reply. */
void page_read(struct call *c, struct page *p);
void page_read_tokens(struct call *c, struct page *p);
void page_reply(
    struct call *c, struct page *p, const char *member, enum bm_err err, const struct bm_msg *msg);
void page_fini(struct page *p);

/* ---- ids, ARNs, times as JSON (params.c) ---- */

struct arn {
    char text[ARN_MAX];
};
struct arn iot_arn(const struct call *c, const char *kind, const char *name); /* "cert", hex */
struct arn cert_arn(const struct call *c, const char *kind, const uint8_t id[REGISTRY_ID_LEN]);
json_t *json_id(const uint8_t id[REGISTRY_ID_LEN]);
json_t *json_time(int64_t ms); /* SPEC aws-iot 1.1: seconds, fraction of milliseconds */
json_t *json_pem(struct span der);
json_t *json_span(struct span text);
json_t *json_validity(int64_t not_before_ms, int64_t not_after_ms);

/* ---- handlers, one file per resource ---- */

void api_get_registration_code(struct call *c); /* ca.c */
void api_delete_registration_code(struct call *c);
void api_register_ca_certificate(struct call *c);
void api_describe_ca_certificate(struct call *c);
void api_update_ca_certificate(struct call *c);
void api_list_ca_certificates(struct call *c);
void api_delete_ca_certificate(struct call *c);

void api_list_certificates(struct call *c); /* certificate.c */
void api_list_certificates_by_ca(struct call *c);
void api_describe_certificate(struct call *c);
void api_update_certificate(struct call *c);
void api_delete_certificate(struct call *c);
void api_register_certificate(struct call *c); /* register.c */
void api_register_certificate_without_ca(struct call *c);
void api_create_keys_and_certificate(struct call *c);
void api_create_certificate_from_csr(struct call *c);

void api_create_policy(struct call *c); /* policy.c */
bool call_check_document(struct call *c, const char *document);
void api_get_policy(struct call *c);
void api_list_policies(struct call *c);
void api_delete_policy(struct call *c);
void api_attach_policy(struct call *c); /* attachment.c */
void api_detach_policy(struct call *c);
void api_list_attached_policies(struct call *c);
void api_list_targets_for_policy(struct call *c);
void api_attach_principal_policy(struct call *c);
void api_detach_principal_policy(struct call *c);
void api_list_principal_policies(struct call *c);
void api_list_policy_principals(struct call *c);
void api_create_policy_version(struct call *c); /* policy_version.c */
void api_get_policy_version(struct call *c);
void api_list_policy_versions(struct call *c);
void api_set_default_policy_version(struct call *c);
void api_delete_policy_version(struct call *c);
void api_get_effective_policies(struct call *c); /* authorization.c */
void api_test_authorization(struct call *c);

void api_create_thing(struct call *c); /* thing.c */
void api_describe_thing(struct call *c);
void api_list_things(struct call *c);
void api_update_thing(struct call *c);
void api_delete_thing(struct call *c);
void api_attach_thing_principal(struct call *c);
void api_detach_thing_principal(struct call *c);
void api_list_thing_principals(struct call *c);
void api_list_principal_things(struct call *c);
void api_create_thing_type(struct call *c); /* thing_type.c */
void api_describe_thing_type(struct call *c);
void api_list_thing_types(struct call *c);
void api_deprecate_thing_type(struct call *c);
void api_delete_thing_type(struct call *c);
void api_create_thing_group(struct call *c); /* thing_group.c */
void api_describe_thing_group(struct call *c);
void api_list_thing_groups(struct call *c);
void api_update_thing_group(struct call *c);
void api_delete_thing_group(struct call *c);
void api_add_thing_to_thing_group(struct call *c);
void api_remove_thing_from_thing_group(struct call *c);
void api_list_things_in_thing_group(struct call *c);
void api_list_thing_groups_for_thing(struct call *c);

void api_tag_resource(struct call *c); /* tag.c */
void api_untag_resource(struct call *c);
void api_list_tags_for_resource(struct call *c);
/* Give a new resource the tags of the member `tags`, or of the header x-amz-tagging, inside a
 * group. */
enum bm_err call_tag(struct call *c, const char *arn, struct bm_msg *msg);

void api_describe_event_configurations(struct call *c); /* setting.c */
void api_update_event_configurations(struct call *c);
void api_set_logging_options(struct call *c);
void api_get_logging_options(struct call *c);
void api_set_v2_logging_options(struct call *c);
void api_get_v2_logging_options(struct call *c);
void api_set_v2_logging_level(struct call *c);
void api_list_v2_logging_levels(struct call *c);
void api_delete_v2_logging_level(struct call *c);

/*
 * attributePayload of a thing or group: attributes as they will be, from those that are there (an
 * object, may be NULL) and those that the request gives (thing.c). NULL: refused.
 */
json_t *call_attributes(struct call *c, const json_t *payload, const json_t *there);
/* JSON with sorted keys, so that equal ones are equal texts. */
bool json_into(const json_t *value, struct buf *out);

void api_create_topic_rule(struct call *c); /* rule.c */
void api_get_topic_rule(struct call *c);
void api_replace_topic_rule(struct call *c);
void api_list_topic_rules(struct call *c);
void api_delete_topic_rule(struct call *c);
void api_enable_topic_rule(struct call *c);
void api_disable_topic_rule(struct call *c);

/* Its request comes without a signature too: a receiver opens the URL it was sent. */
void api_confirm_topic_rule_destination(struct call *c); /* destination.c */
void api_create_topic_rule_destination(struct call *c);
void api_get_topic_rule_destination(struct call *c);
void api_list_topic_rule_destinations(struct call *c);
void api_update_topic_rule_destination(struct call *c);
void api_delete_topic_rule_destination(struct call *c);

void api_describe_endpoint(struct call *c); /* endpoint.c */
void api_publish(struct call *c);
bool call_check_topic(struct call *c, struct span topic, bool publish);
void api_get_retained_message(struct call *c); /* retained.c */
void api_list_retained_messages(struct call *c);

void api_create_function(struct call *c); /* function.c */
void api_get_function(struct call *c);
void api_get_function_configuration(struct call *c);
void api_list_functions(struct call *c);
void api_update_function_code(struct call *c);
void api_update_function_configuration(struct call *c);
void api_delete_function(struct call *c);
void api_put_function_concurrency(struct call *c); /* concurrency.c */
void api_get_function_concurrency(struct call *c);
void api_delete_function_concurrency(struct call *c);
void api_invoke_function(struct call *c); /* invoke.c */
void api_invoke_async(struct call *c);
void api_add_permission(struct call *c); /* permission.c */
void api_remove_permission(struct call *c);
void api_get_function_policy(struct call *c);

/* The function that label 0 names; refused when there is none. End with registry_function_fini. */
bool call_function(struct call *c, struct registry_function *out);
/* Reserved concurrency, a number; NULL: none. `config` has it as the member RESERVED. */
#define RESERVED "ReservedConcurrentExecutions"
json_t *call_function_reserved(const struct registry_function *f);
struct arn call_function_arn(const struct call *c, const char *name);

#endif
