/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may invoke a function: the statements of its resource policy. SPEC aws-iot 5.4, 5.5. They are
 * stored as IAM writes them, and read by lambda_permitted.
 */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

static json_t *
statements_of(const struct registry_function *f)
{
    json_t *list = json_loadb((const char *)f->permissions.ptr, f->permissions.len, 0, NULL);

    return list != NULL ? list : json_array();
}

/* Index of the statement with this id, or the size of the list. */
static size_t
find_statement(const json_t *list, const char *sid)
{
    size_t i = 0;

    for (; i < json_array_size(list); i++) {
        const char *have = json_string_value(json_object_get(json_array_get(list, i), "Sid"));

        if (have != NULL && strcmp(have, sid) == 0)
            break;
    }
    return i;
}

static bool
store(struct call *c, struct registry_function *f, const json_t *list)
{
    char *text = json_dumps(list, JSON_COMPACT);
    struct bm_msg msg = { "out of memory for the permissions; try again" };
    enum bm_err err = BM_ERR_MEM;

    if (text != NULL) {
        f->permissions.len = 0;
        buf_add(&f->permissions, text, strlen(text));
        err = registry_function_replace(c->registry, f, &msg);
    }
    free(text);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
        return false;
    }
    return call_commit(c);
}

/* ---- AddPermission ---- */

struct permission {
    const char *sid;
    const char *action;
    const char *principal;
    const char *source_arn;
    const char *source_account;
};

static bool
read_permission(struct call *c, struct permission *p)
{
    static const char *const not_built[] = { "EventSourceToken", "PrincipalOrgID",
        "FunctionUrlAuthType", "RevisionId", NULL };

    if (!call_text(c, "StatementId", true, 100, &p->sid) ||
        !call_text(c, "Action", true, 100, &p->action) ||
        !call_text(c, "Principal", true, 256, &p->principal) ||
        !call_text(c, "SourceArn", false, ARN_MAX, &p->source_arn) ||
        !call_text(c, "SourceAccount", false, 12, &p->source_account) ||
        !call_without(c, not_built))
        return false;
    if (strspn(p->sid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
        strlen(p->sid)) {
        call_refuse_input(
            c, "StatementId is '%s'; want 1 to 100 letters, digits, '-' and '_'.", p->sid);
        return false;
    }
    if (strncmp(p->action, "lambda:", 7) == 0 || strcmp(p->action, "*") == 0)
        return true;
    call_refuse_input(c, "Action is '%s'; want lambda:InvokeFunction.", p->action);
    return false;
}

/* NULL: it is none. */
static json_t *
principal_json(const char *text)
{
    char arn[64];

    if (strcmp(text, "*") == 0)
        return json_string(text);
    if (strlen(text) == 12 && strspn(text, "0123456789") == 12) {
        (void)snprintf(arn, sizeof arn, "arn:aws:iam::%s:root", text);
        return json_pack("{s:s}", "AWS", arn);
    }
    if (strncmp(text, "arn:", 4) == 0)
        return json_pack("{s:s}", "AWS", text);
    return strchr(text, '.') != NULL ? json_pack("{s:s}", "Service", text) : NULL;
}

static json_t *
statement_json(struct call *c, const struct permission *p, const char *name)
{
    json_t *principal = principal_json(p->principal);
    json_t *condition = json_object();
    json_t *s;

    if (p->source_account != NULL)
        (void)json_object_set_new(
            condition, "StringEquals", json_pack("{s:s}", "AWS:SourceAccount", p->source_account));
    if (p->source_arn != NULL)
        (void)json_object_set_new(
            condition, "ArnLike", json_pack("{s:s}", "AWS:SourceArn", p->source_arn));
    if (principal == NULL) {
        json_decref(condition);
        call_refuse_input(c,
            "The provided principal was invalid: '%s'; want a service such as iot.amazonaws.com, "
            "an "
            "account or *.",
            p->principal);
        return NULL;
    }
    s = json_pack("{s:s,s:s,s:o,s:s,s:s}", "Sid", p->sid, "Effect", "Allow", "Principal", principal,
        "Action", p->action, "Resource", call_function_arn(c, name).text);
    if (json_object_size(condition) > 0)
        (void)json_object_set(s, "Condition", condition);
    json_decref(condition);
    if (s == NULL)
        call_refuse(c, UNAVAILABLE, "Out of memory for the statement; try again.");
    return s;
}

static void
insert_statement(struct call *c, struct registry_function *f, const struct permission *p)
{
    json_t *list = statements_of(f);
    json_t *s = NULL;
    char *text;

    if (find_statement(list, p->sid) < json_array_size(list))
        call_refuse(c, RESOURCE_CONFLICT,
            "The statement id (%s) provided already exists. Please provide a new statement id, or "
            "remove the existing statement.",
            p->sid);
    else
        s = statement_json(c, p, f->name);
    if (s != NULL) {
        (void)json_array_append(list, s);
        if (store(c, f, list)) {
            text = json_dumps(s, JSON_COMPACT);
            call_reply_json(c, 201, json_pack("{s:s}", "Statement", text != NULL ? text : ""));
            free(text);
        }
    }
    json_decref(s);
    json_decref(list);
}

void
api_add_permission(struct call *c)
{
    struct registry_function f;
    struct permission p = { 0 };

    if (!read_permission(c, &p) || !call_function(c, &f))
        return;
    insert_statement(c, &f, &p);
    registry_function_fini(&f);
}

/* ---- RemovePermission, GetPolicy ---- */

void
api_remove_permission(struct call *c)
{
    const char *sid = call_label(c, 1);
    struct registry_function f;
    json_t *list;
    size_t at;

    if (!call_function(c, &f))
        return;
    list = statements_of(&f);
    at = find_statement(list, sid);
    if (at == json_array_size(list)) {
        call_refuse(c, NOT_FOUND, "Statement %.100s is not found in resource policy.", sid);
    } else {
        (void)json_array_remove(list, at);
        if (store(c, &f, list))
            call_reply_empty(c, 204);
    }
    json_decref(list);
    registry_function_fini(&f);
}

/* A UUID that changes with the policy. */
static json_t *
revision_of(const char *policy)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    char text[37];

    (void)SHA256((const uint8_t *)policy, strlen(policy), hash);
    hex_encode(hex, hash, sizeof hash);
    (void)snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", &hex[0], &hex[8], &hex[12],
        &hex[16], &hex[20]);
    return json_string(text);
}

void
api_get_function_policy(struct call *c)
{
    struct registry_function f;
    json_t *list;
    json_t *policy;
    char *text;

    if (!call_function(c, &f))
        return;
    list = statements_of(&f);
    if (json_array_size(list) == 0) {
        call_refuse(
            c, NOT_FOUND, "The resource you requested does not exist: %s has no policy.", f.name);
    } else {
        policy =
            json_pack("{s:s,s:s,s:O}", "Version", "2012-10-17", "Id", "default", "Statement", list);
        text = json_dumps(policy, JSON_COMPACT);
        call_reply_json(c, 200,
            text != NULL ? json_pack("{s:s,s:o}", "Policy", text, "RevisionId", revision_of(text))
                         : NULL);
        free(text);
        json_decref(policy);
    }
    json_decref(list);
    registry_function_fini(&f);
}
