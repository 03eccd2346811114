/* SPDX-License-Identifier: Apache-2.0 */
/* See rules.h. The set of rules, and the way of a message through them. */
#include "rules/rules.h"

#include "rules/inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/topic.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_PER_SECOND = 10 };

static void
free_list(struct rule *list)
{
    while (list != NULL) {
        struct rule *next = list->next;

        rule_drop(list);
        list = next;
    }
}

enum bm_err
rules_check(
    struct rules *r, struct span payload, struct buf *filter, bool *disabled, struct bm_msg *msg)
{
    struct rule *rule;
    enum bm_err err = rule_read(r, payload, &rule, msg);

    if (err != BM_OK)
        return err;
    *disabled = rule->disabled;
    buf_addf(filter, "%s", sql_filter(rule->sql));
    rule_drop(rule);
    return filter->failed ? BM_ERR_MEM : BM_OK;
}

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

    if (rule_read(load->rules, buf_span(&stored->payload), &rule, &msg) != BM_OK) {
        log_error("rule is left out rule=%s cause=\"%s\"", stored->name, msg.text);
        return;
    }
    (void)snprintf(rule->name, sizeof rule->name, "%s", stored->name);
    (void)rules_count_of(load->rules, rule->name, &rule->count); /* it goes on counting */
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
        if (!rule->disabled && *sql_filter(rule->sql) != '\0')
            filters[count++] = sql_filter(rule->sql);
    }
    same = same_filters(r, filters, count);
    free_list(r->rules);
    free(r->filters);
    r->rules = load.first;
    r->filters = filters;
    r->filter_count = count;
    err = destinations_load(r, msg);
    if (!same && r->options.changed != NULL)
        r->options.changed(r->options.changed_arg);
    return err;
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

bool
rules_count_of(const struct rules *r, const char *name, struct rules_count *out)
{
    for (const struct rule *rule = r->rules; rule != NULL; rule = rule->next) {
        if (strcmp(rule->name, name) == 0) {
            *out = rule->count;
            return true;
        }
    }
    return false;
}

enum bm_err
rules_open(const struct rules_options *options, struct rules **out, struct bm_msg *msg)
{
    struct rules *r = calloc(1, sizeof *r);
    enum bm_err err;

    *out = NULL;
    if (r == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    r->options = *options;
    r->last = &r->first;
    r->region = strdup(options->region);
    r->account = strdup(options->account);
    if (r->region == NULL || r->account == NULL) {
        rules_close(r);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    err = http_client_open(options->loop, &r->http, msg);
    if (err != BM_OK) {
        rules_close(r);
        return err;
    }
    *out = r;
    return BM_OK;
}

void
rules_close(struct rules *r)
{
    if (r == NULL)
        return;
    http_client_close(r->http);
    waiting_end(r);
    destinations_end(r);
    free_list(r->rules);
    free(r->filters);
    free(r->region);
    free(r->account);
    free(r);
}

/* ---- evaluation. SPEC aws-iot 5.1, 5.4 ---- */

/* One of the first of this second. */
static bool
is_rationed(struct recorded *last, int64_t second)
{
    if (last->second != second)
        *last = (struct recorded){ second, 0 };
    return last->count++ < RECORDS_PER_SECOND;
}

/*
 * What happens to the cloud's own events is all recorded; of the other messages, which can be
 * thousands a second, some matches and some failures a rule and second. The counts have all.
 */
static bool
is_recorded(struct evaluation *e, struct recorded *last)
{
    static const char events[] = "$aws/";
    int64_t second = e->m.now_ms / 1000;

    if (e->m.topic.len >= sizeof events - 1 &&
        memcmp(e->m.topic.ptr, events, sizeof events - 1) == 0)
        return true;
    return is_rationed(last, second);
}

bool
rules_record(struct evaluation *e, enum cause cause, const char *facts)
{
    char client[TIMELINE_CLIENT_MAX + 1];
    struct timeline_record rec;
    struct bm_msg msg;

    if (!is_recorded(e, &e->rule->recorded[cause == CAUSE_RULE_FAILED]))
        return false;
    (void)snprintf(client, sizeof client, "%.*s",
        (int)(e->m.client_id.len < sizeof client ? e->m.client_id.len : sizeof client - 1),
        e->m.client_id.len > 0 ? (const char *)e->m.client_id.ptr : "");
    timeline_fill(&rec, cause, e->cert_id, client, NULL, NULL, "%s", facts);
    if (registry_record(e->rules->options.registry, &rec, &msg) != BM_OK)
        log_error("a timeline record is lost: %s", msg.text);
    return true;
}

static void
count_match(struct evaluation *e)
{
    char facts[TIMELINE_FACTS_MAX + 1];

    e->rule->count.matched++;
    e->rule->count.last_matched_ms = e->m.now_ms;
    (void)snprintf(facts, sizeof facts, "rule=%s topic=%.*s", e->rule->name,
        (int)(e->m.topic.len < 160 ? e->m.topic.len : 160), (const char *)e->m.topic.ptr);
    (void)rules_record(e, CAUSE_RULE_MATCHED, facts);
}

void
evaluation_run(struct evaluation *e)
{
    struct bm_msg msg = { 0 };
    bool matched = false;
    enum bm_err err;

    e->result.len = 0;
    err = sql_run(e->rule->sql, &e->m, &matched, &e->result, &msg);
    if (err == BM_ERR_MORE) {
        wait_for_function(e);
        return;
    }
    if (err == BM_OK && !matched)
        return;
    count_match(e);
    if (err == BM_OK) {
        actions_run(e);
        return;
    }
    e->result.len = 0;
    action_failed(e, "sql", e->rule->name, msg.text);
    error_action_run(e);
}

void
evaluation_fini(struct evaluation *e)
{
    sql_message_fini(&e->m);
    buf_fini(&e->result);
    json_decref(e->failures);
    e->failures = NULL;
}

static void
make_trace_id(char out[40])
{
    uint8_t b[16] = { 0 };
    char hex[33];

    (void)RAND_bytes(b, sizeof b);
    hex_encode(hex, b, sizeof b);
    (void)snprintf(
        out, 40, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

/*
 * Basic Ingest: `$aws/rules/NAME/rest` is for the rule NAME alone, whatever its FROM, and the rule
 * sees `rest`. SPEC aws-iot 5.2, 8. False: an ordinary topic.
 */
static bool
ingest_topic(struct span topic, struct span *name, struct span *rest)
{
    const struct span prefix = span_str("$aws/rules/");
    struct rd r = rd_of(topic);
    const uint8_t *slash;

    if (!span_eq(rd_span(&r, prefix.len), prefix))
        return false;
    slash = rd_left(&r) > 0 ? memchr(r.pos, '/', rd_left(&r)) : NULL;
    *name = rd_span(&r, slash != NULL ? (size_t)(slash - r.pos) : rd_left(&r));
    (void)rd_u8(&r); /* the slash, when there is one */
    *rest = slash != NULL ? rd_rest(&r) : span_str("");
    return true;
}

static bool
is_for(const struct rule *rule, const struct rules_message *m, const struct span *name)
{
    if (rule->disabled)
        return false;
    return name != NULL ? span_eq(span_str(rule->name), *name)
                        : *sql_filter(rule->sql) != '\0' &&
                              mqtt_match(span_str(sql_filter(rule->sql)), m->topic);
}

static void
say_unknown(struct rules *r, struct span name, int64_t now_ms)
{
    if (is_rationed(&r->ingest_unknown, now_ms / 1000))
        log_warn("a message for the rule '%.*s' is dropped: there is no such rule, or it is "
                 "disabled; see `aws iot list-topic-rules`",
            (int)(name.len < REGISTRY_NAME_MAX ? name.len : REGISTRY_NAME_MAX),
            (const char *)name.ptr);
}

static void
evaluate(struct rules *r, const struct rules_message *m, unsigned hops)
{
    struct evaluation e = {
        .rules = r, .cert_id = m->cert_id, .hops = hops, .durable = m->durable
    };
    struct span name;
    struct span rest;
    bool ingest = ingest_topic(m->topic, &name, &rest);
    bool found = false;

    e.m = (struct sql_message){ .topic = ingest ? rest : m->topic,
        .payload = m->payload.len > 0 ? m->payload : span_str(""),
        .client_id = m->client_id,
        .account = r->account,
        .trace_id = e.trace_id,
        .now_ms = clock_wall_ms() };
    if (m->cert_id != NULL && m->client_id.len > 0) {
        hex_encode(e.principal, m->cert_id, REGISTRY_ID_LEN);
        e.m.principal = e.principal;
    }
    for (struct rule *rule = r->rules; rule != NULL; rule = rule->next) {
        if (!is_for(rule, m, ingest ? &name : NULL))
            continue;
        found = true;
        e.rule = rule;
        if (e.trace_id[0] == '\0')
            make_trace_id(e.trace_id);
        evaluation_run(&e);
        sql_message_forget(&e.m);
    }
    if (ingest && !found)
        say_unknown(r, name, e.m.now_ms);
    evaluation_fini(&e);
}

/* ---- messages that rules made ---- */

struct republished {
    struct republished *next;
    unsigned hops;
    bool durable;
    size_t topic_len;
    size_t payload_len;
    uint8_t bytes[]; /* topic, payload */
};

static void
drain(struct rules *r)
{
    if (r->draining)
        return;
    r->draining = true;
    while (r->first != NULL) {
        struct republished *m = r->first;
        const struct rules_message in = { .topic = span_of(m->bytes, m->topic_len),
            .payload = span_of(&m->bytes[m->topic_len], m->payload_len),
            .durable = m->durable };

        r->first = m->next;
        if (r->first == NULL)
            r->last = &r->first;
        evaluate(r, &in, m->hops);
        free(m);
    }
    r->draining = false;
}

void
rules_republished(const struct evaluation *e, struct span topic)
{
    struct rules *r = e->rules;
    struct span payload = buf_span(&e->result);
    struct republished *m = malloc(sizeof *m + topic.len + payload.len);

    if (m == NULL) {
        log_error("out of memory: rules do not see a republished message");
        r->unstored = true;
        return;
    }
    *m = (struct republished){ .hops = e->hops + 1,
        .durable = e->durable,
        .topic_len = topic.len,
        .payload_len = payload.len };
    memcpy(m->bytes, topic.ptr, topic.len);
    if (payload.len > 0)
        memcpy(&m->bytes[topic.len], payload.ptr, payload.len);
    *r->last = m;
    r->last = &m->next;
    drain(r); /* when no message is being evaluated: what waited has come back */
}

bool
rules_evaluate(struct rules *r, const struct rules_message *m)
{
    r->unstored = false;
    r->draining = true; /* this message's rules first */
    evaluate(r, m, 0);
    r->draining = false;
    drain(r);
    return !r->unstored;
}
