/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GetRetainedMessage and ListRetainedMessages. SPEC aws-iot 1.3.7.
 *
 * The broker has the messages and is asked for each answer; the registry has the topics that may
 * have one, which the broker cannot list, and the time when each was published. What the broker
 * turns out not to have is forgotten there, what the registry did not know of is noted.
 */
#include "api/internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_MAX = 200, RETAINED_PAGE = 200 };

struct item {
    char topic[REGISTRY_TOPIC_MAX + 1];
    bool found;
    int qos;
    size_t size;
    int64_t modified_ms;
};

struct query {
    struct call *call;
    struct buf payload; /* of the one topic of GetRetainedMessage */
    bool one;
    char next[128]; /* token */
    size_t count;
    struct item items[PAGE_MAX];
};

static void
query_free(void *arg)
{
    struct query *q = arg;

    buf_fini(&q->payload);
    free(q);
}

/* From here on the query is the call's. */
static struct query *
query_new(struct call *c)
{
    struct query *q = calloc(1, sizeof *q);

    if (q == NULL) {
        call_refuse(c, UNAVAILABLE, "Out of memory for the question; try again.");
        return NULL;
    }
    q->call = c;
    c->waiting_for = q;
    c->forget = query_free;
    return q;
}

static void
on_retained(void *arg, const char *topic, struct span payload, int qos)
{
    struct query *q = arg;

    for (size_t i = 0; i < q->count; i++) {
        struct item *item = &q->items[i];

        if (strcmp(item->topic, topic) != 0)
            continue;
        item->found = true;
        item->qos = qos;
        item->size = payload.len;
    }
    if (q->one)
        buf_add(&q->payload, payload.ptr, payload.len);
}

/* Bring the registry in line with what the broker said, and get the times. */
static enum bm_err
settle_items(struct query *q, struct bm_msg *msg)
{
    struct call *c = q->call;
    bool changed = false;
    enum bm_err err = BM_OK;

    for (size_t i = 0; err == BM_OK && i < q->count; i++) {
        struct item *item = &q->items[i];
        enum bm_err known =
            registry_retained_time(c->registry, item->topic, &item->modified_ms, msg);

        if (item->found && known == BM_ERR_NOT_FOUND) {
            item->modified_ms = clock_wall_ms();
            err = registry_retained_set(c->registry, span_str(item->topic), item->modified_ms, msg);
        } else if (!item->found && known == BM_OK) {
            err = registry_retained_forget(c->registry, span_str(item->topic), msg);
        } else {
            err = known == BM_ERR_NOT_FOUND ? BM_OK : known;
            continue;
        }
        changed = true;
    }
    if (changed && c->api->options.commit_soon != NULL)
        c->api->options.commit_soon(c->account->arg);
    return err;
}

static void
reply_one(struct query *q)
{
    const struct item *item = &q->items[0];
    struct buf text = { 0 };

    if (!item->found)
        call_refuse(
            q->call, NOT_FOUND, "There is no retained message for the topic '%s'.", item->topic);
    else if (q->payload.failed || base64_encode(&text, buf_span(&q->payload)) != BM_OK)
        call_refuse(q->call, UNAVAILABLE, "Out of memory for the message; try again.");
    else
        call_reply_json(q->call, 200,
            json_pack("{s:s,s:o,s:i,s:I}", "topic", item->topic, "payload",
                json_span(buf_span(&text)), "qos", item->qos, "lastModifiedTime",
                (json_int_t)item->modified_ms));
    buf_fini(&text);
}

static void
reply_all(struct query *q)
{
    json_t *topics = json_array();
    json_t *body;

    for (size_t i = 0; i < q->count; i++) {
        const struct item *item = &q->items[i];

        if (item->found)
            (void)json_array_append_new(
                topics, json_pack("{s:s,s:I,s:i,s:I}", "topic", item->topic, "payloadSize",
                            (json_int_t)item->size, "qos", item->qos, "lastModifiedTime",
                            (json_int_t)item->modified_ms));
    }
    body = json_pack("{s:o}", "retainedTopics", topics);
    if (q->next[0] != '\0')
        (void)json_object_set_new(body, "nextToken", json_string(q->next));
    call_reply_json(q->call, 200, body);
}

static void
refuse_broker(struct call *c)
{
    call_refuse(c, UNAVAILABLE, "The broker behind the endpoint does not answer now; try again.");
}

static void
on_answer(void *arg, enum bm_err err)
{
    struct query *q = arg;
    struct call *c = q->call;
    struct bm_msg msg = { "" };

    if (err != BM_OK)
        refuse_broker(c);
    else if ((err = settle_items(q, &msg)) != BM_OK)
        call_refuse_err(c, err, &msg);
    else if (q->one)
        reply_one(q);
    else
        reply_all(q);
    call_end(c);
}

static void
ask(struct query *q)
{
    struct call *c = q->call;
    const char *topics[PAGE_MAX];

    for (size_t i = 0; i < q->count; i++)
        topics[i] = q->items[i].topic;
    if (c->api->options.retained(c->account->arg, topics, q->count, on_retained, on_answer, q) ==
        BM_OK)
        call_wait(c);
    else
        refuse_broker(c);
}

static void
add_topic(struct query *q, const char *topic)
{
    if (q->count < PAGE_MAX)
        (void)snprintf(q->items[q->count++].topic, REGISTRY_TOPIC_MAX + 1, "%s", topic);
}

void
api_get_retained_message(struct call *c)
{
    struct query *q;

    if (!call_check_topic(c, buf_span(&c->labels[0]), false) || (q = query_new(c)) == NULL)
        return;
    q->one = true;
    add_topic(q, call_label(c, 0));
    ask(q);
}

static void
on_topic(void *arg, const char *topic)
{
    add_topic(arg, topic);
}

void
api_list_retained_messages(struct call *c)
{
    const char *token = param_text(c, "nextToken");
    struct registry_page page = { .marker = token != NULL ? token : "",
        .limit = (size_t)param_number(c, "maxResults", RETAINED_PAGE) };
    struct bm_msg msg = { "" };
    struct query *q = query_new(c);
    enum bm_err err;

    if (q == NULL)
        return;
    err = registry_retained_list(c->registry, &page, on_topic, q, &msg);
    memcpy(q->next, page.next_marker, sizeof q->next);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else if (q->count == 0)
        reply_all(q);
    else
        ask(q);
}
