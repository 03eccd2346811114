/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SUBSCRIBE and UNSUBSCRIBE of an admitted client. SPEC aws-iot 6.4, 6.7, 7.2.
 *
 * A filter `x/#` goes to the broker as `x/+/#`: the service does not match it with `x` (SPEC
 * aws-iot 6.4), a broker by the standard does, and `x/+/#` of the standard is exactly the
 * service's `x/#`.
 */
#include "endpoint/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPIC_FACT = 120, PARTIALS_MAX = 16, NO_LOCAL = 4 };

static bool
check_filter(struct conn *c, struct span whole)
{
    struct span filter = mqtt_plain_filter(whole);
    char text[TOPIC_FACT];

    fact_text(text, sizeof text, whole);
    if (filter.len != whole.len && !topics_share(broker_topics(c))) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_SHARED,
            "filter=\"%s\" error=\"no shared subscriptions\" broker=%s", text,
            broker_topics(c)->name);
        return false;
    }
    if (mqtt_filter_valid(filter) && relay_depth_fits(filter) && mqtt_share_valid(whole)) {
        return broker_takes(c, filter, REASON_FILTER_INVALID);
    }
    if (filter.len > MQTT_TOPIC_MAX || !relay_depth_fits(filter)) {
        conn_dismiss(c, CAUSE_TOO_LARGE, REASON_FILTER_INVALID,
            "filter=\"%s\" filter_bytes=%zu max=%d slashes_max=%d", text, filter.len,
            MQTT_TOPIC_MAX, SLASHES_MAX);
    } else {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_FILTER_INVALID,
            "filter=\"%s\" error=\"not a topic filter\"", text);
    }
    return false;
}

/* Level 5 grants less than was asked; 3.1.1 gets no SUBACK from the service. SPEC aws-iot 6.4 */
static bool
check_subscribe(struct conn *c, struct mqtt_subscribe *s)
{
    struct rd list = rd_of(s->properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_SUBSCRIPTION_ID) {
            conn_dismiss(
                c, CAUSE_PROTOCOL, REASON_SUBSCRIPTION_ID, "field=\"subscription identifier\"");
            return false;
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        char text[TOPIC_FACT];

        if (!check_filter(c, s->filters[i].filter)) {
            return false;
        }
        if ((s->filters[i].options & NO_LOCAL) != 0 &&
            span_begins(s->filters[i].filter, "$share/")) { /* OASIS MQTT 5.0, 3.8.3.1 */
            conn_dismiss(c, CAUSE_PROTOCOL, REASON_PROTOCOL,
                "field=\"no local\" error=\"of a shared subscription\"");
            return false;
        }
        if (s->filters[i].qos == 2 && c->level == 4) {
            fact_text(text, sizeof text, s->filters[i].filter);
            conn_dismiss(c, CAUSE_QOS2, REASON_QOS, "filter=\"%s\"", text);
            return false;
        }
        if (s->filters[i].qos == 2) {
            s->filters[i].qos = 1;
            s->filters[i].options = (uint8_t)((s->filters[i].options & ~3u) | 1);
        }
    }
    return true;
}

/* False: denied, and the record is written. */
static bool
filter_allowed(struct conn *c, struct span whole)
{
    struct span filter = mqtt_plain_filter(whole);
    bool reserved = (span_begins(filter, "$") && !span_begins(filter, "$aws/")) ||
                    span_begins(filter, "$aws/rules/"); /* SPEC aws-iot 6.7 */
    enum policy_verdict v =
        reserved ? POLICY_DENIED_EXPLICIT : relay_decide(c, POLICY_SUBSCRIBE, filter);
    char text[TOPIC_FACT];
    char decision[DECISION_FACT] = "reserved_topic";

    if (v == POLICY_ALLOWED) {
        return true;
    }
    if (!reserved) {
        relay_decision(c, v, decision, sizeof decision);
    }
    fact_text(text, sizeof text, filter);
    if (c->level == 5) {
        if (c->denials++ < DENIALS_RECORDED) {
            conn_record(c, CAUSE_SUBSCRIBE_DENIED,
                "action=iot:Subscribe resource=\"topicfilter/%s\" decision=%s", text, decision);
        }
    } else {
        conn_dismiss(c, CAUSE_SUBSCRIBE_DENIED, REASON_NOT_AUTHORIZED,
            "action=iot:Subscribe resource=\"topicfilter/%s\" decision=%s", text, decision);
    }
    return false;
}

/* The Reason String of the SUBACK: the first of the denied filters. Its codes tell which they are.
 */
static char *
denied_text(const struct conn *c, const struct mqtt_subscribe *s, uint8_t denied)
{
    char filter[TOPIC_FACT];
    char what[TOPIC_FACT + 80];
    char more[32] = "";
    unsigned count = 0;
    size_t first = 0;

    for (size_t i = 0; i < s->count; i++) {
        if ((denied >> i & 1) != 0 && count++ == 0) {
            first = i;
        }
    }
    if (count > 1) {
        (void)snprintf(more, sizeof more, " and %u more", count - 1);
    }
    fact_text(filter, sizeof filter, mqtt_plain_filter(s->filters[first].filter));
    (void)snprintf(
        what, sizeof what, "action=iot:Subscribe resource=\"topicfilter/%s\"%s", filter, more);
    return reason_text(c, REASON_STAYS, CAUSE_SUBSCRIBE_DENIED, what);
}

/* Forget which filters were denied before; for a SUBSCRIBE the broker did not get in full. */
static bool
note_partial(struct conn *c, const struct mqtt_subscribe *s, uint8_t denied)
{
    struct partial_sub *p;
    size_t held = 0;

    for (p = c->partials; p != NULL; p = p->next) {
        held++;
    }
    p = held < PARTIALS_MAX ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        return false;
    }
    *p = (struct partial_sub){ c->partials, s->packet_id, (uint8_t)s->count, denied,
        denied_text(c, s, denied) };
    c->partials = p;
    return true;
}

/*
 * Note the filters that go to the broker, by hash: false when they are more than a connection may
 * have, which ends it. SPEC aws-iot 6.4
 */
static bool
note_subscriptions(struct conn *c, const struct mqtt_subscribe *s, uint8_t denied)
{
    uint32_t max = limit(c->w, LIMIT_SUBSCRIPTIONS);

    for (size_t i = 0; i < s->count; i++) {
        uint64_t key = index_hash(c->w->seed, s->filters[i].filter);
        size_t at = 0;

        while (at < c->subscription_count && c->subscriptions[at] != key) {
            at++;
        }
        if ((denied >> i & 1) != 0 || at < c->subscription_count) {
            continue;
        }
        if (c->subscriptions == NULL) {
            c->subscriptions = calloc(max, sizeof *c->subscriptions);
        }
        if (c->subscriptions == NULL || at == max) {
            conn_dismiss(c, CAUSE_SUBSCRIPTIONS, REASON_QUOTA, "subscriptions_max=%u", max);
            return false;
        }
        c->subscriptions[c->subscription_count++] = key;
    }
    return true;
}

static void
forget_subscriptions(struct conn *c, const struct mqtt_subscribe *s)
{
    for (size_t i = 0; i < s->count; i++) {
        uint64_t key = index_hash(c->w->seed, s->filters[i].filter);

        for (size_t at = 0; at < c->subscription_count; at++) {
            if (c->subscriptions[at] == key) {
                c->subscriptions[at] = c->subscriptions[--c->subscription_count];
                break;
            }
        }
    }
}

/* Takes `why` over. */
static void
give_suback(struct conn *c, struct mqtt_suback a, char *why)
{
    struct buf properties = { 0 };

    if (why != NULL) {
        reason_property(why, &properties);
        a.properties = buf_span(&properties);
    }
    mqtt_build_suback(&c->out, c->level, &a);
    buf_fini(&properties);
    free(why);
}

static void
suback_denied(struct conn *c, const struct mqtt_subscribe *s, uint8_t denied)
{
    uint8_t codes[MQTT_FILTERS_MAX];
    struct mqtt_suback a = { .packet_id = s->packet_id, .codes = span_of(codes, s->count) };

    memset(codes, REASON_NOT_AUTHORIZED, sizeof codes);
    give_suback(c, a, denied_text(c, s, denied));
}

/*
 * The filter as the broker must get it (see the head of this file), from `room`, which must not
 * move while the result is used.
 */
static struct span
by_the_standard(struct span filter, struct wr *room)
{
    struct span plain = mqtt_plain_filter(filter);
    uint8_t *start = room->pos;

    if (plain.len < 3 || !span_eq(span_of(plain.ptr + plain.len - 2, 2), span_str("/#"))) {
        return filter;
    }
    wr_bytes(room, filter.ptr, filter.len - 1);
    wr_bytes(room, "+/#", 3);
    return room->failed ? filter : span_of(start, filter.len + 2);
}

/*
 * Stored messages are for exact filters only (SPEC aws-iot 6.5). Level 5 can tell the broker so:
 * retain handling 2; at level 4 they are dropped on the way back, see retained_unasked.
 */
static uint8_t
broker_options(const struct conn *c, struct span filter, uint8_t options)
{
    bool wildcard =
        memchr(filter.ptr, '+', filter.len) != NULL || memchr(filter.ptr, '#', filter.len) != NULL;

    return c->level == 5 && wildcard ? (uint8_t)((options & ~0x30u) | 0x20) : options;
}

/* Send on what is not denied, with the filters as the broker must get them. */
static void
forward_filters(struct conn *c, enum mqtt_type type, const struct mqtt_subscribe *s, uint8_t denied)
{
    uint8_t space[MQTT_FILTERS_MAX * (1024 + BROKER_TOPIC_ROOM)];
    struct wr room = wr_of(space, sizeof space);
    struct mqtt_subscribe up = { .packet_id = s->packet_id, .properties = s->properties };

    for (size_t i = 0; i < s->count; i++) {
        if ((denied >> i & 1) == 0) {
            up.filters[up.count] = s->filters[i];
            (void)topics_to_broker(broker_topics(c), by_the_standard(s->filters[i].filter, &room),
                &room, &up.filters[up.count].filter);
            up.filters[up.count].options =
                broker_options(c, s->filters[i].filter, s->filters[i].options);
            up.count++;
        }
        if ((denied >> i & 1) == 0 && type == MQTT_SUBSCRIBE) {
            kept_add(
                c->w->accounts[c->account].kept, mqtt_plain_filter(s->filters[i].filter), c->kept);
        }
    }
    mqtt_build_subscribe(&c->up_out, type, c->level, &up);
}

static bool
parse(struct conn *c, const struct mqtt_packet *p, struct mqtt_subscribe *s)
{
    struct bm_msg msg = { "" };
    enum bm_err err = mqtt_parse_subscribe(p, c->level, s, &msg);
    bool many = err == BM_ERR_LIMIT;

    if (err != BM_OK) {
        conn_dismiss(c, many ? CAUSE_TOO_LARGE : CAUSE_PROTOCOL,
            many ? REASON_QUOTA : REASON_MALFORMED, "error=\"%.200s\"", msg.text);
    }
    return err == BM_OK;
}

void
subscribe_packet(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_subscribe s;
    uint8_t denied = 0;

    if (!parse(c, p, &s) || !check_subscribe(c, &s)) {
        return;
    }
    for (size_t i = 0; i < s.count; i++) {
        if (!filter_allowed(c, s.filters[i].filter)) {
            denied |= (uint8_t)(1u << i);
        }
        if (c->state != CONN_RELAY) {
            return;
        }
    }
    if (!note_subscriptions(c, &s, denied)) {
        return;
    }
    if (denied == (1u << s.count) - 1) {
        suback_denied(c, &s, denied);
    } else if (denied != 0 && !note_partial(c, &s, denied)) {
        conn_dismiss(
            c, CAUSE_TOO_LARGE, REASON_ADMINISTRATIVE, "subscribes_in_flight=%d", PARTIALS_MAX);
    } else {
        forward_filters(c, MQTT_SUBSCRIBE, &s, denied);
        presence_subscriptions(c, "subscribed", &s, denied);
    }
}

void
subscribe_undo(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_subscribe s;

    if (!parse(c, p, &s)) {
        return;
    }
    for (size_t i = 0; i < s.count; i++) {
        if (!check_filter(c, s.filters[i].filter)) {
            return;
        }
    }
    forget_subscriptions(c, &s);
    forward_filters(c, MQTT_UNSUBSCRIBE, &s, 0);
    presence_subscriptions(c, "unsubscribed", &s, 0);
}

/* Put the denied filters' codes back among those the broker gave. */
void
subscribe_answer(struct conn *c, const struct mqtt_packet *p)
{
    struct partial_sub **at = &c->partials;
    struct partial_sub *held;
    struct mqtt_suback a;
    uint8_t codes[MQTT_FILTERS_MAX];
    struct rd given;

    if (mqtt_parse_suback(p, c->level, &a) != BM_OK) {
        conn_end(c, CAUSE_BROKER_DOWN, "broker=\"sent a malformed SUBACK\"");
        return;
    }
    while (*at != NULL && (*at)->packet_id != a.packet_id) {
        at = &(*at)->next;
    }
    held = *at;
    if (held == NULL) {
        buf_add(&c->out, p->whole.ptr, p->whole.len);
        return;
    }
    *at = held->next;
    given = rd_of(a.codes);
    for (size_t i = 0; i < held->count; i++) {
        codes[i] = (held->denied >> i & 1) != 0 ? REASON_NOT_AUTHORIZED : rd_u8(&given);
    }
    a.codes = span_of(codes, held->count);
    give_suback(c, a, held->why);
    free(held);
}
