/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic rules. SPEC aws-iot 1.3.5. The request's body is the payload; it is stored as it is and
 * checked by the rules room, which refuses what it could not carry out.
 */
#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

enum { RULES_PAGE_MAX = 10000 };

/* The service says this of a rule that does not exist. SPEC aws-iot 1.3.5 */
static void
refuse_missing(struct call *c, const char *name)
{
    call_refuse(c, UNAUTHORIZED,
        "Access to topic rule '%s' was denied, because there is no rule of this name.", name);
}

static void
finish(struct call *c, const char *name, enum bm_err err, struct bm_msg *msg)
{
    if (err == BM_ERR_NOT_FOUND) {
        refuse_missing(c, name);
        return;
    }
    if (err != BM_OK) {
        call_refuse_err(c, err, msg);
        return;
    }
    if (!call_commit(c))
        return;
    err = rules_reload(c->account->rules, msg);
    if (err != BM_OK)
        call_refuse(c, INTERNAL_FAILURE,
            "The rule '%s' is stored, but the rules could not be read again: %s", name, msg->text);
    else
        call_reply_empty(c, 200);
}

/* ---- create and replace ---- */

static enum bm_err
store(struct call *c, const char *name, bool disabled, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_rule_create(c->registry, name, disabled, http_body(c->rq), msg);
    if (err == BM_OK)
        err = rules_make_destinations(c->account->rules, http_body(c->rq), msg);
    if (err == BM_OK)
        err = call_tag(c, iot_arn(c, "rule", name).text, msg);
    return group_end(c, err, msg);
}

static enum bm_err
replace(struct call *c, const char *name, bool disabled, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_rule_replace(c->registry, name, disabled, http_body(c->rq), msg);
    if (err == BM_OK)
        err = rules_make_destinations(c->account->rules, http_body(c->rq), msg);
    return group_end(c, err, msg);
}

static enum bm_err
remove_rule(struct call *c, const char *name, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_rule_delete(c->registry, name, msg);
    if (err == BM_OK)
        err = registry_tag_clear(c->registry, iot_arn(c, "rule", name).text, msg);
    return group_end(c, err, msg);
}

static bool
check_payload(struct call *c, bool *disabled)
{
    struct buf filter = { 0 };
    struct bm_msg msg;
    enum bm_err err = rules_check(c->account->rules, http_body(c->rq), &filter, disabled, &msg);

    buf_fini(&filter);
    if (err == BM_ERR_PROTO)
        call_refuse(c, SQL_PARSE, "%s", msg.text);
    else if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    return err == BM_OK;
}

void
api_create_topic_rule(struct call *c)
{
    const char *name = call_rule_name(c);
    bool disabled = false;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL || !check_payload(c, &disabled))
        return;
    err = store(c, name, disabled, &msg);
    if (err == BM_ERR_EXISTS)
        call_refuse_exists(c, name, iot_arn(c, "rule", name).text, msg.text);
    else
        finish(c, name, err, &msg);
}

void
api_replace_topic_rule(struct call *c)
{
    const char *name = call_rule_name(c);
    bool disabled = false;
    struct bm_msg msg = { "" };

    if (name == NULL || !check_payload(c, &disabled))
        return;
    finish(c, name, replace(c, name, disabled, &msg), &msg);
}

/* ---- read ---- */

static json_t *
payload_of(const struct registry_rule *rule)
{
    json_t *payload = json_loadb((const char *)rule->payload.ptr, rule->payload.len, 0, NULL);

    if (payload != NULL)
        (void)json_object_set_new(payload, "ruleDisabled", json_boolean(rule->disabled));
    return payload;
}

void
api_get_topic_rule(struct call *c)
{
    const char *name = call_rule_name(c);
    struct registry_rule rule = { 0 };
    struct bm_msg msg;
    enum bm_err err;
    json_t *body;

    if (name == NULL)
        return;
    err = registry_rule_get(c->registry, name, &rule, &msg);
    if (err == BM_OK) {
        body = payload_of(&rule);
        (void)json_object_set_new(body, "ruleName", json_string(name));
        (void)json_object_set_new(body, "createdAt", json_time(rule.created_ms));
        call_reply_json(
            c, 200, json_pack("{s:s,s:o}", "ruleArn", iot_arn(c, "rule", name).text, "rule", body));
    } else if (err == BM_ERR_NOT_FOUND) {
        refuse_missing(c, name);
    } else {
        call_refuse_err(c, err, &msg);
    }
    registry_rule_fini(&rule);
}

struct listing {
    struct call *c;
    json_t *items;
    size_t limit;
    const char *after; /* nextToken: the last name of the page before; NULL at the start */
    const char *topic; /* only rules with this FROM filter, or NULL */
    const bool *disabled;
    char next[REGISTRY_NAME_MAX + 1];
    char last[REGISTRY_NAME_MAX + 1];
};

static bool
wanted(const struct listing *l, const struct registry_rule *rule, const char *filter)
{
    return (l->after == NULL || strcmp(rule->name, l->after) > 0) &&
           (l->topic == NULL || strcmp(l->topic, filter) == 0) &&
           (l->disabled == NULL || *l->disabled == rule->disabled);
}

static void
add_rule(void *arg, const struct registry_rule *rule)
{
    struct listing *l = arg;
    struct buf filter = { 0 };
    bool disabled;
    bool read = rules_check(l->c->account->rules, buf_span(&rule->payload), &filter, &disabled,
                    NULL) == BM_OK;
    const char *pattern = read && buf_cstr(&filter) != NULL ? (const char *)filter.ptr : "";

    if (wanted(l, rule, pattern)) {
        if (json_array_size(l->items) == l->limit) {
            memcpy(l->next, l->last, sizeof l->next);
        } else {
            memcpy(l->last, rule->name, sizeof l->last);
            (void)json_array_append_new(
                l->items, json_pack("{s:s,s:s,s:s,s:o,s:b}", "ruleArn",
                              iot_arn(l->c, "rule", rule->name).text, "ruleName", rule->name,
                              "topicPattern", pattern, "createdAt", json_time(rule->created_ms),
                              "ruleDisabled", rule->disabled));
        }
    }
    buf_fini(&filter);
}

static void
reply_list(struct call *c, struct listing *l)
{
    struct bm_msg msg;
    enum bm_err err = registry_rule_list(c->registry, add_rule, l, &msg);
    json_t *body = json_pack("{s:O}", "rules", l->items);

    if (l->next[0] != '\0')
        (void)json_object_set_new(body, "nextToken", json_string(l->next));
    if (err == BM_OK) {
        call_reply_json(c, 200, body);
    } else {
        json_decref(body);
        call_refuse_err(c, err, &msg);
    }
}

void
api_list_topic_rules(struct call *c)
{
    struct listing l = { .c = c,
        .limit = (size_t)param_number(c, "maxResults", RULES_PAGE_MAX),
        .topic = param_text(c, "topic"),
        .after = param_text(c, "nextToken") };
    bool disabled = param_bool(c, "ruleDisabled", false);

    l.disabled = param_text(c, "ruleDisabled") != NULL ? &disabled : NULL;
    l.items = json_array();
    reply_list(c, &l);
    json_decref(l.items);
}

/* ---- change ---- */

void
api_delete_topic_rule(struct call *c)
{
    const char *name = call_rule_name(c);
    struct bm_msg msg = { "" };

    if (name != NULL)
        finish(c, name, remove_rule(c, name, &msg), &msg);
}

static enum bm_err
set_disabled(struct call *c, const char *name, bool disabled, struct bm_msg *msg)
{
    struct registry_rule rule = { 0 };
    enum bm_err err = registry_rule_get(c->registry, name, &rule, msg);
    json_t *payload = NULL;
    char *text = NULL;

    if (err == BM_OK) {
        rule.disabled = disabled;
        payload = payload_of(&rule);
        text = payload != NULL ? json_dumps(payload, JSON_COMPACT) : NULL;
        err = text != NULL
                  ? registry_rule_replace(c->registry, name, disabled, span_str(text), msg)
                  : bm_fail(msg, BM_ERR_INTERNAL, "the stored rule '%s' cannot be read", name);
    }
    free(text);
    json_decref(payload);
    registry_rule_fini(&rule);
    return err;
}

static void
switch_rule(struct call *c, bool disabled)
{
    const char *name = call_rule_name(c);
    struct bm_msg msg = { "" };

    if (name != NULL)
        finish(c, name, set_disabled(c, name, disabled, &msg), &msg);
}

void
api_enable_topic_rule(struct call *c)
{
    switch_rule(c, false);
}

void
api_disable_topic_rule(struct call *c)
{
    switch_rule(c, true);
}
