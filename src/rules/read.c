/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A topicRulePayload (SPEC aws-iot 1.3.5, 5.3) to a struct rule. The same code checks a rule when
 * it is created and reads it again when it is loaded.
 */
#include "rules/inside.h"

#include <stdlib.h>
#include <string.h>

static void
action_fini(struct action *a)
{
    sql_template_free(a->text);
    for (size_t i = 0; i < a->header_count; i++) {
        free(a->headers[i].key);
        sql_template_free(a->headers[i].value);
    }
    free(a->headers);
}

void
rule_drop(struct rule *rule)
{
    if (rule == NULL || --rule->refs > 0)
        return;
    for (size_t i = 0; i < rule->action_count; i++)
        action_fini(&rule->actions[i]);
    action_fini(&rule->error_action);
    sql_free(rule->sql);
    free(rule);
}

struct reading {
    struct rules *rules;
    enum sql_version version;
    struct bm_msg *msg;
};

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

/* A text of the action, which may have ${expressions}. */
static enum bm_err
read_template(struct reading *in, json_t *action, const char *what, const char *member,
    struct sql_template **out)
{
    const char *text = json_string_value(json_object_get(action, member));

    if (text == NULL || *text == '\0')
        return bm_fail(in->msg, BM_ERR_INPUT, "the %s action needs '%s', a text", what, member);
    return sql_template_parse(text, in->version, out, in->msg);
}

/* The function's ARN must be one that this cloud can have, or the action could never run. */
static enum bm_err
read_lambda(struct reading *in, json_t *action, struct action *out)
{
    static const char *const known[] = { "functionArn", NULL };
    struct rules *r = in->rules;
    const char *arn = json_string_value(json_object_get(action, "functionArn"));
    char prefix[160];
    enum bm_err err;

    if (arn == NULL)
        return bm_fail(in->msg, BM_ERR_INPUT, "the lambda action needs a functionArn");
    err = check_members(action, "the lambda action", known, in->msg);
    if (err != BM_OK)
        return err;
    (void)snprintf(prefix, sizeof prefix, "arn:aws:lambda:%s:%s:function:", r->region, r->account);
    if (strncmp(arn, prefix, strlen(prefix)) != 0 || !lambda_name_of(arn, out->function))
        return bm_fail(in->msg, BM_ERR_INPUT,
            "functionArn '%.160s' is none of this cloud's: it is %sNAME (versions and aliases are "
            "not built)",
            arn, prefix);
    return BM_OK;
}

static enum bm_err
read_republish(struct reading *in, json_t *action, struct action *out)
{
    static const char *const known[] = { "roleArn", "topic", "qos", NULL };
    json_t *qos = json_object_get(action, "qos");
    enum bm_err err = check_members(action, "the republish action", known, in->msg);

    if (err != BM_OK)
        return err;
    if (!json_is_string(json_object_get(action, "roleArn")))
        return bm_fail(in->msg, BM_ERR_INPUT, "the republish action needs a roleArn");
    out->qos = (int)json_integer_value(qos);
    if (qos != NULL && (!json_is_integer(qos) || out->qos < 0 || out->qos > 1))
        return bm_fail(in->msg, BM_ERR_INPUT, "the republish action's qos is 0 or 1");
    return read_template(in, action, "republish", "topic", &out->text);
}

static enum bm_err
read_header(struct reading *in, json_t *header, struct action *out)
{
    static const char *const known[] = { "key", "value", NULL };
    const char *key = json_string_value(json_object_get(header, "key"));
    struct header *h = &out->headers[out->header_count];
    enum bm_err err = check_members(header, "a header", known, in->msg);

    if (err != BM_OK)
        return err;
    if (key == NULL || *key == '\0' || strpbrk(key, ": \r\n") != NULL)
        return bm_fail(in->msg, BM_ERR_INPUT, "a header needs 'key', its name");
    h->key = strdup(key);
    if (h->key == NULL)
        return bm_fail(in->msg, BM_ERR_MEM, "out of memory");
    out->header_count++;
    return read_template(in, header, "http", "value", &h->value);
}

static enum bm_err
read_http(struct reading *in, json_t *action, struct action *out)
{
    static const char *const known[] = { "url", "confirmationUrl", "headers", NULL };
    json_t *headers = json_object_get(action, "headers");
    enum bm_err err;

    if (json_object_get(action, "auth") != NULL)
        return bm_fail(in->msg, BM_ERR_INPUT, "auth of the http action is not built here");
    err = check_members(action, "the http action", known, in->msg);
    if (err != BM_OK)
        return err;
    if (headers != NULL && (!json_is_array(headers) || json_array_size(headers) > HEADERS_MAX))
        return bm_fail(in->msg, BM_ERR_INPUT, "headers is a list of at most %d", HEADERS_MAX);
    out->headers = calloc(json_array_size(headers) + 1, sizeof *out->headers);
    if (out->headers == NULL)
        return bm_fail(in->msg, BM_ERR_MEM, "out of memory");
    for (size_t i = 0; i < json_array_size(headers) && err == BM_OK; i++)
        err = read_header(in, json_array_get(headers, i), out);
    return err == BM_OK ? read_template(in, action, "http", "url", &out->text) : err;
}

static enum bm_err
read_action(struct reading *in, json_t *action, struct action *out)
{
    static const struct {
        const char *name;
        enum action_kind kind;
        enum bm_err (*read)(struct reading *in, json_t *action, struct action *out);
    } kinds[] = { { "lambda", ACTION_LAMBDA, read_lambda },
        { "republish", ACTION_REPUBLISH, read_republish }, { "http", ACTION_HTTP, read_http } };
    void *first = json_object_iter(action);
    const char *name;
    json_t *value;

    if (json_object_size(action) != 1)
        return bm_fail(in->msg, BM_ERR_INPUT, "an action is an object with one member, its type");
    name = json_object_iter_key(first);
    value = json_object_iter_value(first);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        out->kind = kinds[i].kind;
        return json_is_object(value)
                   ? kinds[i].read(in, value, out)
                   : bm_fail(in->msg, BM_ERR_INPUT, "the %s action is no object", name);
    }
    return bm_fail(in->msg, BM_ERR_INPUT,
        "the action '%.40s' is not built here; built are: lambda, republish, http", name);
}

static enum bm_err
read_actions(struct reading *in, json_t *root, struct rule *rule)
{
    json_t *actions = json_object_get(root, "actions");
    json_t *error_action = json_object_get(root, "errorAction");
    enum bm_err err = BM_OK;

    if (!json_is_array(actions))
        return bm_fail(in->msg, BM_ERR_INPUT, "the rule needs 'actions', a list");
    if (json_array_size(actions) > RULES_ACTIONS_MAX)
        return bm_fail(in->msg, BM_ERR_INPUT, "the rule has %zu actions; at most %d are allowed",
            json_array_size(actions), RULES_ACTIONS_MAX);
    for (size_t i = 0; i < json_array_size(actions) && err == BM_OK; i++)
        err = read_action(in, json_array_get(actions, i), &rule->actions[rule->action_count++]);
    rule->has_error_action = error_action != NULL && !json_is_null(error_action);
    if (err == BM_OK && rule->has_error_action)
        err = read_action(in, error_action, &rule->error_action);
    return err;
}

static enum bm_err
read_sql(struct reading *in, json_t *root, struct rule *rule)
{
    json_t *sql = json_object_get(root, "sql");
    json_t *version = json_object_get(root, "awsIotSqlVersion");
    const char *v = version == NULL ? "2015-10-08" : json_string_value(version);

    if (!json_is_string(sql))
        return bm_fail(in->msg, BM_ERR_INPUT, "the rule needs 'sql', a text");
    if (v == NULL || !sql_version_of(v, &in->version))
        return bm_fail(in->msg, BM_ERR_INPUT,
            "awsIotSqlVersion '%.40s' is none of 2015-10-08, 2016-03-23, beta", v != NULL ? v : "");
    return sql_parse(
        span_of(json_string_value(sql), json_string_length(sql)), in->version, &rule->sql, in->msg);
}

static enum bm_err
read_members(struct reading *in, json_t *root, struct rule *rule)
{
    static const char *const known[] = { "sql", "description", "actions", "ruleDisabled",
        "awsIotSqlVersion", "errorAction", NULL };
    json_t *disabled = json_object_get(root, "ruleDisabled");
    json_t *description = json_object_get(root, "description");
    enum bm_err err = check_members(root, "the rule", known, in->msg);

    if (err != BM_OK)
        return err;
    if (disabled != NULL && !json_is_boolean(disabled))
        return bm_fail(in->msg, BM_ERR_INPUT, "ruleDisabled is true or false");
    if (description != NULL && !json_is_string(description))
        return bm_fail(in->msg, BM_ERR_INPUT, "description is a text");
    rule->disabled = json_is_true(disabled);
    err = read_sql(in, root, rule);
    return err != BM_OK ? err : read_actions(in, root, rule);
}

enum bm_err
rule_read(struct rules *r, struct span payload, struct rule **out, struct bm_msg *msg)
{
    struct reading in = { .rules = r, .msg = msg };
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
    if (*out != NULL)
        (*out)->refs = 1;
    err = *out != NULL ? read_members(&in, root, *out) : BM_ERR_MEM;
    json_decref(root);
    if (err != BM_OK) {
        rule_drop(*out);
        *out = NULL;
    }
    return err;
}
