/* SPDX-License-Identifier: Apache-2.0 */
/* See tester.h. */
#include "console/tester.h"

#include "base/clock.h"
#include "broker/broker.h"
#include "wire/topic.h"

#include <stdlib.h>
#include <string.h>

struct tester {
    struct broker *broker;
    tester_fn fn;
    void *arg;
    char *filters[TESTER_FILTERS_MAX];
    size_t count;
    uint64_t lost;
};

static void
on_connected(void *arg)
{
    struct tester *m = arg;

    for (size_t i = 0; i < m->count; i++)
        (void)!broker_subscribe(m->broker, m->filters[i]);
}

static json_t *
payload_json(struct span payload, const char **encoding)
{
    struct buf b = { 0 };
    json_t *text;

    if (payload.len > TESTER_SHOWN_MAX)
        payload.len = TESTER_SHOWN_MAX;
    *encoding = "utf-8";
    text = json_stringn(payload.len > 0 ? (const char *)payload.ptr : "", payload.len);
    if (text != NULL)
        return text;
    *encoding = "base64";
    if (base64_encode(&b, payload) == BM_OK)
        text = json_stringn((const char *)b.ptr, b.len);
    buf_fini(&b);
    return text;
}

static void
on_message(void *arg, const char *topic, struct span payload, int qos, bool retain)
{
    struct tester *m = arg;
    const char *encoding;
    json_t *text = payload_json(payload, &encoding);
    json_t *message = json_pack("{s:s,s:o,s:s,s:I,s:i,s:b,s:I,s:I}", "topic", topic, "payload",
        text, "encoding", encoding, "bytes", (json_int_t)payload.len, "qos", qos, "retain", retain,
        "timeMs", (json_int_t)clock_wall_ms(), "lost", (json_int_t)m->lost);

    if (message == NULL) {
        m->lost++;
        return;
    }
    m->lost = 0;
    m->fn(m->arg, message);
}

enum bm_err
tester_open(struct loop *loop, const struct upstream *upstream, tester_fn fn, void *arg,
    struct tester **out, struct bm_msg *msg)
{
    struct tester *m = calloc(1, sizeof *m);
    const struct broker_options o = { .loop = loop,
        .upstream = upstream,
        .connected = on_connected,
        .message = on_message,
        .arg = m };
    enum bm_err err;

    *out = NULL;
    if (m == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    m->fn = fn;
    m->arg = arg;
    err = broker_open(&o, &m->broker, msg);
    if (err != BM_OK) {
        free(m);
        return err;
    }
    *out = m;
    return BM_OK;
}

void
tester_close(struct tester *m)
{
    if (m == NULL)
        return;
    broker_close(m->broker);
    for (size_t i = 0; i < m->count; i++)
        free(m->filters[i]);
    free(m);
}

static size_t
find(const struct tester *m, const char *filter)
{
    size_t i = 0;

    while (i < m->count && strcmp(m->filters[i], filter) != 0)
        i++;
    return i;
}

enum bm_err
tester_subscribe(struct tester *m, const char *filter, struct bm_msg *msg)
{
    if (!mqtt_filter_valid(span_str(filter)))
        return bm_fail(msg, BM_ERR_INPUT,
            "This is no topic filter: levels are separated by '/', '+' stands for one level, '#' "
            "for all that follow and is the last.");
    if (find(m, filter) == m->count) {
        if (m->count == TESTER_FILTERS_MAX)
            return bm_fail(msg, BM_ERR_LIMIT, "At most %d subscriptions.", TESTER_FILTERS_MAX);
        m->filters[m->count] = strdup(filter);
        if (m->filters[m->count] == NULL)
            return bm_fail(msg, BM_ERR_MEM, "out of memory");
        m->count++;
    }
    (void)!broker_subscribe(m->broker, filter); /* else when it is connected */
    return BM_OK;
}

void
tester_unsubscribe(struct tester *m, const char *filter)
{
    size_t i = find(m, filter);

    if (i == m->count)
        return;
    (void)!broker_unsubscribe(m->broker, filter);
    free(m->filters[i]);
    m->filters[i] = m->filters[--m->count];
}

void
tester_lost(struct tester *m)
{
    m->lost++;
}
