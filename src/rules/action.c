/* SPDX-License-Identifier: Apache-2.0 */
/* What a matching rule does. SPEC aws-iot 5.3, 5.4. */
#include "rules/inside.h"

#include "base/log.h"
#include "wire/topic.h"

#include <stdlib.h>
#include <string.h>

/*
 * What no error action takes is kept, as many a second as the timeline tells of. What SELECT made;
 * where that failed, the message.
 */
static void
keep_letter(struct evaluation *e, const char *action, const char *resource, const char *why)
{
    struct span what = e->result.len > 0 ? buf_span(&e->result) : e->m.payload;
    struct registry_letter l = { .attempts = 1, .has_cert = e->cert_id != NULL };
    struct bm_msg msg;

    if (e->rule->has_error_action && !e->in_error_action)
        return;
    (void)snprintf(l.kind, sizeof l.kind, "%s", action);
    (void)snprintf(l.target, sizeof l.target, "%s", resource);
    (void)snprintf(l.rule, sizeof l.rule, "%s", e->rule->name);
    (void)snprintf(l.request_id, sizeof l.request_id, "%s", e->trace_id);
    (void)snprintf(l.cause, sizeof l.cause, "%s", why);
    if (e->cert_id != NULL)
        memcpy(l.cert_id, e->cert_id, sizeof l.cert_id);
    buf_add(&l.payload, what.ptr, what.len);
    if (l.payload.failed || registry_letter_add(e->rules->options.registry, &l, &msg) != BM_OK)
        log_error("a dead letter is lost rule=%s", e->rule->name);
    registry_letter_fini(&l);
}

/* One message a rule and message, with all that failed. SPEC aws-iot 5.3, error action. */
void
action_failed(struct evaluation *e, const char *action, const char *resource, const char *why)
{
    char facts[TIMELINE_FACTS_MAX + 1 + BM_MSG_LEN];
    json_t *failure = json_pack("{s:s, s:s%, s:s}", "failedAction", action, "failedResource",
        resource, strnlen(resource, 256), "errorMessage", why);

    (void)snprintf(facts, sizeof facts, "rule=%s %s=%.160s cause=\"%s\"", e->rule->name, action,
        resource, why);
    log_warn("rule's action failed %s", facts);
    if (rules_record(e, CAUSE_RULE_FAILED, facts))
        keep_letter(e, action, resource, why);
    if (e->failures == NULL) {
        e->failures = json_array();
        e->rule->count.failed++;
    }
    (void)json_array_append_new(e->failures, failure);
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

static void
run_lambda(struct evaluation *e, const struct action *a)
{
    struct rules *r = e->rules;
    char rule_arn[320];
    struct bm_msg msg = { 0 };
    enum bm_err err;

    if (!is_json(buf_span(&e->result))) {
        action_failed(e, "function", a->function,
            "what SELECT made is not JSON, which is what a function gets; `SELECT encode(*, "
            "'base64') AS data` (SQL version 2016-03-23) makes JSON of any message");
        return;
    }
    (void)snprintf(rule_arn, sizeof rule_arn, "arn:aws:iot:%s:%s:rule/%s", r->region, r->account,
        e->rule->name);
    err = lambda_permitted(
        r->options.lambda, a->function, "iot.amazonaws.com", rule_arn, r->account, &msg);
    if (err == BM_OK)
        err = lambda_invoke_async(
            r->options.lambda, a->function, buf_span(&e->result), e->cert_id, &msg);
    if (err == BM_ERR_IO || err == BM_ERR_MEM)
        r->unstored = true;
    if (err != BM_OK)
        action_failed(
            e, "function", a->function, msg.text[0] != '\0' ? msg.text : bm_err_name(err));
}

/* `$$aws/...` is the reserved topic `$aws/...`; a single `$` at the start is not for rules. */
static const char *
bad_topic(struct span topic)
{
    static const char jobs[] = "$aws/things/";

    if (!mqtt_topic_valid(topic) || memchr(topic.ptr, 0, topic.len) != NULL)
        return "it is no topic to publish to: empty, or with + or #";
    if (topic.len > sizeof jobs && memcmp(topic.ptr, jobs, sizeof jobs - 1) == 0 &&
        memmem(topic.ptr, topic.len, "/jobs/", 6) != NULL)
        return "job topics are not allowed";
    return NULL;
}

/* NULL, or why not. */
static const char *
publish(struct evaluation *e, struct span topic, int qos)
{
    const struct rules_options *o = &e->rules->options;
    bool durable = e->durable && qos == 1;

    if (o->publish(o->publish_arg, topic, buf_span(&e->result), qos, durable) == BM_OK)
        return NULL;
    if (!durable)
        return "the broker is down";
    e->rules->unstored = true;
    return "the message could not be stored";
}

static void
run_republish(struct evaluation *e, const struct action *a)
{
    struct buf topic = { 0 };
    struct bm_msg msg = { 0 };
    const char *why = NULL;
    struct span to;

    if (sql_template_run(a->text, &e->m, &topic, &msg) != BM_OK)
        why = msg.text;
    to = buf_span(&topic);
    if (to.len > 1 && to.ptr[0] == '$' && to.ptr[1] == '$')
        to = span_of(to.ptr + 1, to.len - 1);
    if (why == NULL)
        why = bad_topic(to);
    if (why == NULL && e->hops == HOPS_MAX)
        why = "republished messages caused republished messages 8 times: do rules feed each other?";
    if (why == NULL)
        why = publish(e, to, a->qos);
    if (why != NULL)
        action_failed(e, "republish", buf_cstr(&topic) != NULL ? buf_cstr(&topic) : "", why);
    else
        rules_republished(e, to);
    buf_fini(&topic);
}

static void
run_action(struct evaluation *e, const struct action *a)
{
    switch (a->kind) {
    case ACTION_LAMBDA:
        run_lambda(e, a);
        break;
    case ACTION_REPUBLISH:
        run_republish(e, a);
        break;
    case ACTION_HTTP:
        wait_for_http(e, a);
        break;
    }
}

void
actions_run(struct evaluation *e)
{
    for (size_t i = 0; i < e->rule->action_count; i++)
        run_action(e, &e->rule->actions[i]);
    error_action_run(e);
}

void
error_action_run(struct evaluation *e)
{
    json_t *failures = e->failures;
    struct buf payload = { 0 };
    json_t *all;
    char *text;

    e->failures = NULL;
    if (failures == NULL || !e->rule->has_error_action) {
        json_decref(failures);
        return;
    }
    (void)base64_encode(&payload, e->m.payload);
    all = json_pack("{s:s, s:s%, s:s, s:s%, s:s%, s:o}", "ruleName", e->rule->name, "topic",
        (const char *)e->m.topic.ptr, e->m.topic.len, "cloudwatchTraceId", e->trace_id, "clientId",
        e->m.client_id.len > 0 ? (const char *)e->m.client_id.ptr : "N/A",
        e->m.client_id.len > 0 ? e->m.client_id.len : 3, "base64OriginalPayload",
        payload.len > 0 ? (const char *)payload.ptr : "", payload.len, "failures", failures);
    text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
    buf_fini(&payload);
    json_decref(all);
    e->result.len = 0;
    if (text != NULL) {
        buf_add(&e->result, text, strlen(text));
        e->in_error_action = true;
        run_action(e, &e->rule->error_action);
        e->in_error_action = false;
    }
    free(text);
    json_decref(e->failures); /* the error action's own failure is in the timeline */
    e->failures = NULL;
}
