/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rules.h. A rule's payload is checked by `read_rule` alone, when it is created and again when
 * it is loaded; what runs is the small struct that comes out of it.
 */
#include "rules/rules.h"

#include "base/log.h"
#include "rules/sql.h"
#include "wire/mqtt.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    struct rule *next;
    char name[REGISTRY_NAME_MAX + 1];
    struct buf filter; /* terminated */
    bool disabled;
    size_t action_count;
    char functions[RULES_ACTIONS_MAX][REGISTRY_NAME_MAX + 1];
};

struct rules {
    struct rules_options options;
    char *region;
    char *account;
    struct rule *rules;
    const char **filters; /* of the enabled rules, borrowed from them */
    size_t filter_count;
};

static void
rule_free(struct rule *rule)
{
    if (rule == NULL)
        return;
    buf_fini(&rule->filter);
    free(rule);
}

static void
free_list(struct rule *list)
{
    while (list != NULL) {
        struct rule *next = list->next;

        rule_free(list);
        list = next;
    }
}

/* ---- reading a topicRulePayload. SPEC aws-iot 1.3.5 ---- */

static enum bm_err
check_members(json_t *object, const char *what, const char *const *known, struct bm_msg *msg)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        const char *const *k = known;

        while (*k != NULL && strcmp(*k, name) != 0)
            k++;
        if (*k == NULL)
            return bm_fail(
                msg, BM_ERR_INPUT, "%s has a member '%.60s' that is not known", what, name);
    }
    return BM_OK;
}

/* The function's ARN must be one that this cloud can have, or the action could never run. */
static enum bm_err
read_lambda(struct rules *r, json_t *action, struct rule *rule, struct bm_msg *msg)
{
    static const char *const known[] = { "functionArn", NULL };
    const char *arn = json_string_value(json_object_get(action, "functionArn"));
    char prefix[160];
    enum bm_err err;

    if (!json_is_object(action) || arn == NULL)
        return bm_fail(msg, BM_ERR_INPUT, "the lambda action needs a functionArn");
    err = check_members(action, "the lambda action", known, msg);
    if (err != BM_OK)
        return err;
    (void)snprintf(prefix, sizeof prefix, "arn:aws:lambda:%s:%s:function:", r->region, r->account);
    if (strncmp(arn, prefix, strlen(prefix)) != 0 ||
        !lambda_name_of(arn, rule->functions[rule->action_count]))
        return bm_fail(msg, BM_ERR_INPUT,
            "functionArn '%.160s' is none of this cloud's: it is %sNAME (versions and aliases are "
            "not "
            "built)",
            arn, prefix);
    rule->action_count++;
    return BM_OK;
}

static enum bm_err
read_action(struct rules *r, json_t *action, struct rule *rule, struct bm_msg *msg)
{
    void *first = json_object_iter(action);

    if (json_object_size(action) != 1)
        return bm_fail(msg, BM_ERR_INPUT, "an action is an object with one member, its type");
    if (strcmp(json_object_iter_key(first), "lambda") != 0)
        return bm_fail(msg, BM_ERR_INPUT, "the action '%.40s' is not built here; built is: lambda",
            json_object_iter_key(first));
    return read_lambda(r, json_object_iter_value(first), rule, msg);
}

static enum bm_err
read_actions(struct rules *r, const json_t *root, struct rule *rule, struct bm_msg *msg)
{
    const json_t *actions = json_object_get(root, "actions");
    enum bm_err err;

    if (!json_is_array(actions))
        return bm_fail(msg, BM_ERR_INPUT, "the rule needs 'actions', a list");
    if (json_array_size(actions) > RULES_ACTIONS_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "the rule has %zu actions; at most %d are allowed",
            json_array_size(actions), RULES_ACTIONS_MAX);
    for (size_t i = 0; i < json_array_size(actions); i++) {
        err = read_action(r, json_array_get(actions, i), rule, msg);
        if (err != BM_OK)
            return err;
    }
    if (json_object_get(root, "errorAction") != NULL)
        return bm_fail(msg, BM_ERR_INPUT, "errorAction is not built here; leave it out");
    return BM_OK;
}

static enum bm_err
read_sql(const json_t *root, struct rule *rule, struct bm_msg *msg)
{
    const json_t *sql = json_object_get(root, "sql");
    const json_t *version = json_object_get(root, "awsIotSqlVersion");
    const char *v = version == NULL ? "2015-10-08" : json_string_value(version);
    enum bm_err err;

    if (!json_is_string(sql))
        return bm_fail(msg, BM_ERR_INPUT, "the rule needs 'sql', a text");
    /* SELECT * means the same in all of them */
    if (v == NULL ||
        (strcmp(v, "2015-10-08") != 0 && strcmp(v, "2016-03-23") != 0 && strcmp(v, "beta") != 0))
        return bm_fail(msg, BM_ERR_INPUT,
            "awsIotSqlVersion '%.40s' is none of 2015-10-08, 2016-03-23, beta", v != NULL ? v : "");
    err = sql_parse(span_of(json_string_value(sql), json_string_length(sql)), &rule->filter, msg);
    return err == BM_OK && buf_cstr(&rule->filter) == NULL ? BM_ERR_MEM : err;
}

static enum bm_err
read_members(struct rules *r, json_t *root, struct rule *rule, struct bm_msg *msg)
{
    static const char *const known[] = { "sql", "description", "actions", "ruleDisabled",
        "awsIotSqlVersion", "errorAction", NULL };
    const json_t *disabled = json_object_get(root, "ruleDisabled");
    const json_t *description = json_object_get(root, "description");
    enum bm_err err = check_members(root, "the rule", known, msg);

    if (err != BM_OK)
        return err;
    if (disabled != NULL && !json_is_boolean(disabled))
        return bm_fail(msg, BM_ERR_INPUT, "ruleDisabled is true or false");
    if (description != NULL && !json_is_string(description))
        return bm_fail(msg, BM_ERR_INPUT, "description is a text");
    rule->disabled = json_is_true(disabled);
    err = read_sql(root, rule, msg);
    return err != BM_OK ? err : read_actions(r, root, rule, msg);
}

static enum bm_err
read_rule(struct rules *r, struct span payload, struct rule **out, struct bm_msg *msg)
{
    json_error_t e;
    json_t *root;
    enum bm_err err;

    *out = NULL;
    if (payload.len > RULES_PAYLOAD_MAX)
        return bm_fail(msg, BM_ERR_INPUT, "the rule has %zu bytes; at most %d are taken",
            payload.len, RULES_PAYLOAD_MAX);
    root = json_loadb((const char *)payload.ptr, payload.len, JSON_REJECT_DUPLICATES, &e);
    if (!json_is_object(root)) {
        json_decref(root);
        return bm_fail(msg, BM_ERR_INPUT, "the rule is no JSON object: %.100s",
            root != NULL ? "it is a list" : e.text);
    }
    *out = calloc(1, sizeof **out);
    err = *out != NULL ? read_members(r, root, *out, msg) : BM_ERR_MEM;
    json_decref(root);
    if (err != BM_OK) {
        rule_free(*out);
        *out = NULL;
    }
    return err;
}

enum bm_err
rules_check(
    struct rules *r, struct span payload, struct buf *filter, bool *disabled, struct bm_msg *msg)
{
    struct rule *rule;
    enum bm_err err = read_rule(r, payload, &rule, msg);

    if (err != BM_OK)
        return err;
    *disabled = rule->disabled;
    buf_add(filter, rule->filter.ptr, rule->filter.len);
    rule_free(rule);
    return filter->failed ? BM_ERR_MEM : BM_OK;
}

/* ---- the set of rules ---- */

struct load {
    struct rules *rules;
    struct rule *first;
    struct rule **last;
    size_t enabled;
};

static void
load_rule(void *arg, const struct registry_rule *stored)
{
    struct load *load = arg;
    struct rule *rule;
    struct bm_msg msg = { 0 };

    if (read_rule(load->rules, buf_span(&stored->payload), &rule, &msg) != BM_OK) {
        log_error("rule is left out rule=%s cause=\"%s\"", stored->name, msg.text);
        return;
    }
    (void)snprintf(rule->name, sizeof rule->name, "%s", stored->name);
    rule->disabled = stored->disabled; /* Enable and Disable change it without the payload */
    load->enabled += !rule->disabled;
    *load->last = rule;
    load->last = &rule->next;
}

static bool
same_filters(const struct rules *r, const char *const *filters, size_t count)
{
    if (count != r->filter_count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(filters[i], r->filters[i]) != 0)
            return false;
    }
    return true;
}

enum bm_err
rules_reload(struct rules *r, struct bm_msg *msg)
{
    struct load load = { .rules = r };
    const char **filters;
    size_t count = 0;
    bool same;
    enum bm_err err;

    load.last = &load.first;
    err = registry_rule_list(r->options.registry, load_rule, &load, msg);
    filters = err == BM_OK ? calloc(load.enabled + 1, sizeof *filters) : NULL;
    if (filters == NULL) {
        free_list(load.first);
        return err == BM_OK ? BM_ERR_MEM : err;
    }
    for (const struct rule *rule = load.first; rule != NULL; rule = rule->next) {
        if (!rule->disabled)
            filters[count++] = (const char *)rule->filter.ptr;
    }
    same = same_filters(r, filters, count);
    free_list(r->rules);
    free(r->filters);
    r->rules = load.first;
    r->filters = filters;
    r->filter_count = count;
    if (!same && r->options.changed != NULL)
        r->options.changed(r->options.changed_arg);
    return BM_OK;
}

size_t
rules_filter_count(const struct rules *r)
{
    return r->filter_count;
}

const char *
rules_filter(const struct rules *r, size_t i)
{
    return r->filters[i];
}

enum bm_err
rules_open(const struct rules_options *options, struct rules **out, struct bm_msg *msg)
{
    struct rules *r = calloc(1, sizeof *r);

    *out = NULL;
    if (r == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    r->options = *options;
    r->region = strdup(options->region);
    r->account = strdup(options->account);
    if (r->region == NULL || r->account == NULL) {
        rules_close(r);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    *out = r;
    return BM_OK;
}

void
rules_close(struct rules *r)
{
    if (r == NULL)
        return;
    free_list(r->rules);
    free(r->filters);
    free(r->region);
    free(r->account);
    free(r);
}

/* ---- evaluation. SPEC aws-iot 5.1, 5.4 ---- */

static void
record(struct rules *r, const struct rules_message *m, enum cause cause, const char *facts)
{
    char client[TIMELINE_CLIENT_MAX + 1];
    struct timeline_record rec;
    struct bm_msg msg;

    (void)snprintf(client, sizeof client, "%.*s",
        (int)(m->client_id.len < sizeof client ? m->client_id.len : sizeof client - 1),
        m->client_id.len > 0 ? (const char *)m->client_id.ptr : "");
    timeline_fill(&rec, cause, m->cert_id, client, NULL, NULL, "%s", facts);
    if (registry_record(r->options.registry, &rec, &msg) != BM_OK)
        log_error("a timeline record is lost: %s", msg.text);
}

static void
record_failure(struct rules *r, const struct rule *rule, const struct rules_message *m,
    const char *function, const char *why)
{
    char facts[TIMELINE_FACTS_MAX + 1 + BM_MSG_LEN];

    (void)snprintf(
        facts, sizeof facts, "rule=%s function=%s cause=\"%s\"", rule->name, function, why);
    log_warn("rule's action failed %s", facts);
    record(r, m, CAUSE_RULE_FAILED, facts);
}

/* A JSON text, whatever its type. */
static bool
is_json(struct span payload)
{
    json_t *v = json_loadb((const char *)payload.ptr, payload.len, JSON_DECODE_ANY, NULL);
    bool is = v != NULL;

    json_decref(v);
    return is;
}

/* Payload of the invocation: the result of SELECT *, which is the message. */
static void
invoke(
    struct rules *r, const struct rule *rule, const struct rules_message *m, const char *function)
{
    char rule_arn[320];
    struct bm_msg msg = { 0 };
    enum bm_err err;

    (void)snprintf(
        rule_arn, sizeof rule_arn, "arn:aws:iot:%s:%s:rule/%s", r->region, r->account, rule->name);
    err = lambda_permitted(
        r->options.lambda, function, "iot.amazonaws.com", rule_arn, r->account, &msg);
    if (err == BM_OK)
        err = lambda_invoke_async(r->options.lambda, function, m->payload, m->cert_id, &msg);
    if (err != BM_OK)
        record_failure(r, rule, m, function, msg.text[0] != '\0' ? msg.text : bm_err_name(err));
}

static void
run_rule(struct rules *r, const struct rule *rule, const struct rules_message *m)
{
    char facts[TIMELINE_FACTS_MAX + 1];

    (void)snprintf(facts, sizeof facts, "rule=%s topic=%.*s", rule->name,
        (int)(m->topic.len < 160 ? m->topic.len : 160), (const char *)m->topic.ptr);
    record(r, m, CAUSE_RULE_MATCHED, facts);
    if (rule->action_count > 0 && !is_json(m->payload)) {
        record_failure(r, rule, m, rule->functions[0],
            "the message is not JSON, which is what a function gets; encode() in the SQL is not "
            "built");
        return;
    }
    for (size_t i = 0; i < rule->action_count; i++)
        invoke(r, rule, m, rule->functions[i]);
}

void
rules_evaluate(struct rules *r, const struct rules_message *m)
{
    for (const struct rule *rule = r->rules; rule != NULL; rule = rule->next) {
        if (!rule->disabled && mqtt_match(buf_span(&rule->filter), m->topic))
            run_rule(r, rule, m);
    }
}
