/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of an admitted client, both ways: what it publishes, subscribes to and gets is decided
 * here. SPEC aws-iot 6.3 to 6.7, 7.2; SPEC endpoint 9.
 *
 * A filter `x/#` goes to the broker as `x/+/#`: the service does not match it with `x` (SPEC
 * aws-iot 6.4), a broker by the standard does, and `x/+/#` of the standard is exactly the
 * service's `x/#`. Denials close a 3.1.1 client; a level 5 client is told where the protocol has a
 * place for it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"
#include "pki/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPIC_FACT = 120, PARTIALS_MAX = 16, DISCONNECT_WITH_WILL = 4 };

/* What the policies may ask of the leaf; read only when one asks, most never do. */
static bool
know_certificate(struct conn *c)
{
    struct pki_cert *leaf = NULL;
    bool whole;

    if (c->certificate != NULL) {
        return true;
    }
    c->certificate = policy_certificate_new();
    if (c->certificate == NULL) {
        return false;
    }
    whole = pki_cert_from_der(buf_span(&c->leaf), &leaf, NULL) == BM_OK;
    if (whole) {
        pki_cert_attributes(leaf, policy_certificate_add, c->certificate);
        whole = policy_certificate_whole(c->certificate);
    }
    pki_cert_free(leaf);
    if (!whole) {
        policy_certificate_free(c->certificate);
        c->certificate = NULL;
    }
    return whole;
}

enum policy_verdict
relay_decide(struct conn *c, enum policy_action action, struct span name)
{
    struct policy_subject who = {
        .region = c->w->o->region,
        .account = c->w->o->accounts[c->account].number,
        .client_id = span_str(c->client_id),
        .cert_id = c->cert_hex,
        .source_ip = c->source_ip,
        .persistent = c->persistent,
        .last_will = c->last_will,
    };

    c->decider = (struct policy_decider){ 0 };
    if (c->policies == NULL || c->policies->state != SET_READY ||
        (c->policies->uses_certificate && !know_certificate(c))) {
        return POLICY_DENIED_IMPLICIT;
    }
    who.certificate = c->certificate;
    who.thing = c->thing;
    return policy_decide_by((const struct policy *const *)c->policies->list, c->policies->count,
        action, name, &who, &c->decider);
}

void
relay_decision(const struct conn *c, enum policy_verdict v, char *out, size_t cap)
{
    const struct policy_decider *by = &c->decider;
    bool denied = v == POLICY_DENIED_EXPLICIT;

    (void)snprintf(out, cap, "%s", denied ? "explicit_deny" : "no_allow");
    if (by->found && c->policies != NULL && by->policy < c->policies->count) {
        (void)snprintf(out, cap, "%s policy=%s statement=%zu %s",
            denied ? "explicit_deny" : "no_allow", c->policies->names[by->policy],
            by->statement + 1, denied ? "effect=Deny" : "effect=Allow condition=false");
    }
}

static bool
begins(struct span s, const char *with)
{
    struct span w = span_str(with);

    return s.len >= w.len && memcmp(s.ptr, w.ptr, w.len) == 0;
}

const char *
relay_topic_reserved(struct span topic)
{
    if (!begins(topic, "$") || begins(topic, "$aws/things/") || begins(topic, "$aws/rules/")) {
        return NULL;
    }
    return begins(topic, "$aws/events/") ? "events are published by the service only"
                                         : "a reserved topic";
}

/* At most 7 slashes, not counting the three levels of Basic Ingest. SPEC aws-iot 6.3 */
bool
relay_depth_fits(struct span topic)
{
    size_t max = SLASHES_MAX + (begins(topic, "$aws/rules/") ? 3 : 0);
    size_t slashes = 0;

    for (size_t i = 0; i < topic.len; i++) {
        slashes += topic.ptr[i] == '/';
    }
    return slashes <= max;
}

/* ---- PUBLISH from the client ---- */

static bool
check_publish(struct conn *c, const struct mqtt_publish *m)
{
    char topic[TOPIC_FACT];
    const char *why = NULL;

    fact_text(topic, sizeof topic, m->topic);
    if (m->topic_alias != 0) { /* CONNACK offered none */
        conn_dismiss(
            c, CAUSE_PROTOCOL, REASON_ALIAS_INVALID, "field=\"topic alias\" topic=\"%s\"", topic);
        return false;
    }
    if (m->qos == 2) {
        conn_dismiss(c, CAUSE_QOS2, REASON_QOS, "topic=\"%s\"", topic);
        return false;
    }
    if (m->topic.len > MQTT_TOPIC_MAX || !relay_depth_fits(m->topic)) {
        conn_dismiss(c, CAUSE_TOO_LARGE, REASON_TOPIC_INVALID,
            "topic=\"%s\" topic_bytes=%zu max=%d slashes_max=%d", topic, m->topic.len,
            MQTT_TOPIC_MAX, SLASHES_MAX);
        return false;
    }
    if (m->payload.len > MQTT_PAYLOAD_MAX) {
        conn_dismiss(c, CAUSE_TOO_LARGE, REASON_QUOTA, "topic=\"%s\" payload_bytes=%zu max=%d",
            topic, m->payload.len, MQTT_PAYLOAD_MAX);
        return false;
    }
    why = mqtt_topic_valid(m->topic) ? NULL : "wildcards in a topic name";
    if (why != NULL) {
        conn_dismiss(
            c, CAUSE_PROTOCOL, REASON_TOPIC_INVALID, "topic=\"%s\" error=\"%s\"", topic, why);
    }
    return why == NULL;
}

static void
deny_publish(struct conn *c, const struct mqtt_publish *m, const char *action, const char *decision)
{
    char topic[TOPIC_FACT];

    fact_text(topic, sizeof topic, m->topic);
    if (c->level == 5 && m->qos == 1) { /* SPEC aws-iot 6.3: the client is told and stays */
        if (c->denials++ < DENIALS_RECORDED) {
            conn_record(c, CAUSE_PUBLISH_DENIED, "action=%s resource=\"topic/%s\" decision=%s",
                action, topic, decision);
        }
        acks_refuse(c, m->packet_id, REASON_NOT_AUTHORIZED);
        return;
    }
    conn_dismiss(c, CAUSE_PUBLISH_DENIED, REASON_NOT_AUTHORIZED,
        "action=%s resource=\"topic/%s\" decision=%s", action, topic, decision);
}

static bool
publish_allowed(struct conn *c, const struct mqtt_publish *m)
{
    const char *reserved = relay_topic_reserved(m->topic);
    enum policy_action action = POLICY_PUBLISH;
    enum policy_verdict v;
    char decision[DECISION_FACT];

    if (reserved != NULL) {
        deny_publish(c, m, "iot:Publish", "reserved_topic");
        return false;
    }
    v = relay_decide(c, action, m->topic);
    if (v == POLICY_ALLOWED && m->retain) {
        action = POLICY_RETAIN_PUBLISH;
        v = relay_decide(c, action, m->topic);
    }
    if (v != POLICY_ALLOWED) {
        relay_decision(c, v, decision, sizeof decision);
        deny_publish(c, m, policy_action_name(action), decision);
    }
    return v == POLICY_ALLOWED;
}

/* Send w->tx; `stored`: control shall say when it is on disk. The number of that, else 0. */
static enum bm_err
tell(struct conn *c, bool stored, uint32_t *number)
{
    struct worker *w = c->w;
    struct worker_account *a = &w->accounts[c->account];
    uint32_t next = a->told == UINT32_MAX ? 1 : a->told + 1;
    enum bm_err err;

    w->tx.request = stored ? next : 0;
    w->tx.account = c->account;
    err = control_send(w);
    if (err == BM_OK && stored) {
        a->told = next;
        *number = next;
    }
    return err;
}

/* False: control is gone or its queue is full. Only QoS 0 is lost then; see refuse. */
static bool
send_to_rules(struct conn *c, const struct mqtt_publish *m, uint32_t *number)
{
    struct worker *w = c->w;

    w->tx.type = LINK_INGRESS;
    memcpy(w->tx.u.ingress.cert_id, c->cert_id, sizeof c->cert_id);
    w->tx.u.ingress.client_id = span_str(c->client_id);
    w->tx.u.ingress.topic = m->topic;
    w->tx.u.ingress.payload = m->payload;
    if (tell(c, m->qos == 1, number) == BM_OK) {
        return true;
    }
    if (m->qos == 0 && count(w, METRIC_INGRESS_LOST, 1) % 1000 == 1) {
        log_warn("a message for the rules was lost, and others of the next 1000: control is gone "
                 "or its queue is full client=%s",
            c->client_id);
    }
    return false;
}

/*
 * Control keeps a list of the topics that may have a retained message: the broker gives none.
 * False: it could not be told what it shall store.
 */
static bool
tell_retained(struct conn *c, struct span topic, bool empty, bool stored, uint32_t *number)
{
    struct worker *w = c->w;

    w->tx.type = LINK_RETAINED;
    w->tx.u.retained.topic = topic;
    w->tx.u.retained.empty = empty;
    if (tell(c, stored, number) == BM_OK) {
        return true;
    }
    if (!stored) {
        log_warn("control is gone or its queue is full: ListRetainedMessages may lack a topic");
    }
    return !stored;
}

void
relay_will(struct conn *c)
{
    if (c->retained_will != NULL) {
        uint32_t number;

        (void)tell_retained(c, span_str(c->retained_will), false, false, &number);
    }
}

bool
relay_rules_see(const struct conn *c, struct span topic)
{
    const struct worker_account *a = &c->w->accounts[c->account];

    for (size_t i = 0; i < a->filter_count; i++) {
        if (mqtt_match(a->filters[i], topic)) {
            return true;
        }
    }
    return false;
}

/*
 * QoS 1 that control can not take: not acknowledged, and to nobody, so that the client sends it
 * again. Level 4 can only be told by an end.
 */
static void
refuse(struct conn *c, const struct mqtt_publish *m)
{
    if (c->level == 5) {
        conn_note(c, CAUSE_CONTROL_DOWN, "rules=\"cannot take a message\"");
        acks_refuse(c, m->packet_id, REASON_QUOTA);
    } else {
        conn_end(c, CAUSE_CONTROL_DOWN, "rules=\"cannot take a message\"");
    }
}

/* For one rule and nobody else; acknowledged when it is stored for it. SPEC aws-iot 6.3, 8 */
static void
basic_ingest(struct conn *c, const struct mqtt_publish *m)
{
    uint32_t number = 0;
    bool taken = send_to_rules(c, m, &number);

    if (m->qos == 1 && taken) {
        acks_expect(c, m->packet_id, number, true, false);
    } else if (m->qos == 1) {
        refuse(c, m);
    }
}

/*
 * SPEC aws-iot 4.3, 6.3: what is over the rate is discarded; level 5 is told so. QoS 1 of level 4
 * cannot be told, so it is sent on and the client is not read for as long as it takes.
 */
static bool
within_rate(struct conn *c, const struct mqtt_publish *m)
{
    uint32_t max = limit(c->w, LIMIT_PUBLISH_RATE);
    int64_t now = c->heard_ms * 1000;
    bool waits = c->level == 4 && m->qos == 1;
    int64_t wait;

    if (max == 0) {
        return true;
    }
    wait = rate_wait(c->sent_us, now, 1, max);
    if (wait == 0 || waits) {
        rate_add(&c->sent_us, now, 1, max);
    }
    if (wait == 0) {
        return true;
    }
    conn_note(c, CAUSE_PUBLISH_RATE, "from=client %s messages_per_second=%u",
        waits ? "delayed" : "discarded", max);
    if (waits) {
        conn_pause(c, &c->pause, wait);
    } else if (m->qos == 1) {
        acks_refuse(c, m->packet_id, REASON_QUOTA);
    }
    return waits;
}

/* Level 5 was told its receive maximum; who sends more breaks the protocol. SPEC aws-iot 6.6 */
static bool
within_flight(struct conn *c)
{
    uint32_t max = limit(c->w, LIMIT_IN_FLIGHT);

    if (c->level == 5 && max != 0 && c->in_flight >= max) {
        conn_dismiss(c, CAUSE_IN_FLIGHT, REASON_RECEIVE_MAXIMUM, "in_flight_max=%u", max);
        return false;
    }
    return true;
}

static void
client_publish(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_publish m;
    struct bm_msg msg = { "" };
    uint32_t number = 0;
    bool taken;

    if (mqtt_parse_publish(p, c->level, &m, &msg) != BM_OK) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_MALFORMED, "error=\"%.200s\"", msg.text);
        return;
    }
    if (!check_publish(c, &m) || (m.qos == 1 && !within_flight(c)) || !publish_allowed(c, &m) ||
        !within_rate(c, &m)) {
        return;
    }
    count(c->w, METRIC_PUBLISHED, 1);
    if (begins(m.topic, "$aws/rules/")) {
        basic_ingest(c, &m);
        return;
    }
    taken = (!m.retain || tell_retained(c, m.topic, m.payload.len == 0, m.qos == 1, &number)) &&
            (!relay_rules_see(c, m.topic) || send_to_rules(c, &m, &number));
    if (m.qos == 1 && !taken) {
        refuse(c, &m);
        return;
    }
    buf_add(&c->up_out, p->whole.ptr, p->whole.len);
    if (m.qos == 1) {
        acks_expect(c, m.packet_id, number, false,
            m.retain || kept_may(c->w->accounts[c->account].kept, m.topic));
    }
}

/* ---- SUBSCRIBE and UNSUBSCRIBE ---- */

static bool
check_filter(struct conn *c, struct span whole)
{
    struct span filter = mqtt_plain_filter(whole);
    char text[TOPIC_FACT];

    if (mqtt_filter_valid(filter) && relay_depth_fits(filter)) {
        return true;
    }
    fact_text(text, sizeof text, whole);
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
    bool reserved = (begins(filter, "$") && !begins(filter, "$aws/")) ||
                    begins(filter, "$aws/rules/"); /* SPEC aws-iot 6.7 */
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
    *p = (struct partial_sub){ c->partials, s->packet_id, (uint8_t)s->count, denied };
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

static void
suback_denied(struct conn *c, const struct mqtt_subscribe *s)
{
    uint8_t codes[MQTT_FILTERS_MAX];
    struct mqtt_suback a = { .packet_id = s->packet_id, .codes = span_of(codes, s->count) };

    memset(codes, REASON_NOT_AUTHORIZED, sizeof codes);
    mqtt_build_suback(&c->out, c->level, &a);
}

/*
 * The filter as the broker must get it (see the head of this file), from `room`, which must not
 * move while the result is used.
 */
static struct span
broker_filter(struct span filter, struct wr *room)
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
    uint8_t space[MQTT_FILTERS_MAX * 1024];
    struct wr room = wr_of(space, sizeof space);
    struct mqtt_subscribe up = { .packet_id = s->packet_id, .properties = s->properties };

    for (size_t i = 0; i < s->count; i++) {
        if ((denied >> i & 1) == 0) {
            up.filters[up.count] = s->filters[i];
            up.filters[up.count].filter = broker_filter(s->filters[i].filter, &room);
            up.filters[up.count].options =
                broker_options(c, s->filters[i].filter, s->filters[i].options);
            up.count++;
        }
        if ((denied >> i & 1) == 0 && type == MQTT_SUBSCRIBE) {
            kept_add(c->w->accounts[c->account].kept, mqtt_plain_filter(s->filters[i].filter), c->kept);
        }
    }
    mqtt_build_subscribe(&c->up_out, type, c->level, &up);
}

static void
client_subscribe(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_subscribe s;
    struct bm_msg msg = { "" };
    uint8_t denied = 0;
    enum bm_err err = mqtt_parse_subscribe(p, c->level, &s, &msg);

    if (err != BM_OK) {
        bool many = err == BM_ERR_LIMIT;

        conn_dismiss(c, many ? CAUSE_TOO_LARGE : CAUSE_PROTOCOL,
            many ? REASON_QUOTA : REASON_MALFORMED, "error=\"%.200s\"", msg.text);
        return;
    }
    if (!check_subscribe(c, &s)) {
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
        suback_denied(c, &s);
    } else if (denied != 0 && !note_partial(c, &s, denied)) {
        conn_dismiss(
            c, CAUSE_TOO_LARGE, REASON_ADMINISTRATIVE, "subscribes_in_flight=%d", PARTIALS_MAX);
    } else {
        forward_filters(c, MQTT_SUBSCRIBE, &s, denied);
        presence_subscriptions(c, "subscribed", &s, denied);
    }
}

static void
client_unsubscribe(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_subscribe s;
    struct bm_msg msg = { "" };

    if (mqtt_parse_subscribe(p, c->level, &s, &msg) != BM_OK) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_MALFORMED, "error=\"%.200s\"", msg.text);
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

/* ---- the rest from the client ---- */

static void
client_disconnect(struct conn *c, const struct mqtt_packet *p)
{
    buf_add(&c->up_out, p->whole.ptr, p->whole.len);
    if (p->body.len > 0 && p->body.ptr[0] == DISCONNECT_WITH_WILL) {
        relay_will(c);
    }
    conn_record(c, CAUSE_DISCONNECTED, "by=client how=DISCONNECT");
    c->ended_by = CAUSE_DISCONNECTED;
    c->left = LEFT_CLIENT;
    conn_go(c, EV_FLUSH);
}

void
relay_packet(struct conn *c, const struct mqtt_packet *p)
{
    c->heard_ms = clock_mono_ms();
    switch (p->type) {
    case MQTT_PUBLISH:
        client_publish(c, p);
        return;
    case MQTT_SUBSCRIBE:
        client_subscribe(c, p);
        return;
    case MQTT_UNSUBSCRIBE:
        client_unsubscribe(c, p);
        return;
    case MQTT_PUBACK:
        buf_add(&c->up_out, p->whole.ptr, p->whole.len);
        return;
    case MQTT_PINGREQ: /* keep-alive is the endpoint's; see broker.c */
        buf_add(&c->out, "\xd0\x00", 2);
        return;
    case MQTT_DISCONNECT:
        client_disconnect(c, p);
        return;
    case MQTT_PUBREC: /* QoS 2 is neither taken nor delivered */
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
    case MQTT_CONNECT: /* a second one */
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP:
    case MQTT_AUTH:
        break;
    }
    conn_dismiss(
        c, CAUSE_PROTOCOL, REASON_PROTOCOL, "error=\"packet type %u from a client\"", p->type);
}

/* ---- from the broker ---- */

/*
 * A stored message (RETAIN is 0 in what is sent on live) for a wildcard. What a kept session still
 * had to get before this connection subscribed to anything passes.
 */
static bool
retained_unasked(const struct conn *c, const struct mqtt_publish *m)
{
    uint64_t key = index_hash(c->w->seed, m->topic);

    for (size_t i = 0; i < c->subscription_count; i++) {
        if (c->subscriptions[i] == key) {
            return false;
        }
    }
    return c->subscription_count > 0;
}

static void
broker_publish(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_publish m;
    char topic[TOPIC_FACT];

    if (mqtt_parse_publish(p, c->level, &m, NULL) != BM_OK || m.qos == 2) {
        conn_end(c, CAUSE_BROKER_DOWN, "broker=\"sent a malformed or QoS 2 message\"");
        return;
    }
    if (m.retain && c->level == 4 && retained_unasked(c, &m)) {
        if (m.qos == 1) {
            mqtt_build_puback(&c->up_out, c->level, m.packet_id, 0);
        }
        return;
    }
    if (relay_decide(c, POLICY_RECEIVE, m.topic) == POLICY_ALLOWED) {
        count(c->w, METRIC_DELIVERED, 1);
        buf_add(&c->out, p->whole.ptr, p->whole.len);
        return;
    }
    if (c->denials++ < DENIALS_RECORDED) {
        fact_text(topic, sizeof topic, m.topic);
        conn_record(c, CAUSE_RECEIVE_DENIED, "action=iot:Receive resource=\"topic/%s\"", topic);
    }
    if (m.qos == 1) { /* dropped silently: the broker must not wait for it */
        mqtt_build_puback(&c->up_out, c->level, m.packet_id, 0);
    }
}

/* Put the denied filters' codes back among those the broker gave. */
static void
broker_suback(struct conn *c, const struct mqtt_packet *p)
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
    mqtt_build_suback(&c->out, c->level, &a);
    free(held);
}

static void
broker_puback(struct conn *c, const struct mqtt_packet *p)
{
    struct rd r = rd_of(p->body);
    uint16_t packet_id = rd_u16(&r);

    acks_answer(c, packet_id, rd_left(&r) > 0 ? rd_u8(&r) : 0);
}

/* Only why it ended the connection counts; that it ends is seen on the socket, too. */
static void
broker_disconnect(struct conn *c, const struct mqtt_packet *p)
{
    if (p->body.len > 0 && p->body.ptr[0] == REASON_TAKEN_OVER) {
        c->superseded = true;
        return;
    }
    buf_add(&c->out, p->whole.ptr, p->whole.len);
    conn_record(c, CAUSE_DISCONNECTED, "by=broker how=DISCONNECT");
    c->ended_by = CAUSE_DISCONNECTED;
    conn_go(c, EV_FLUSH);
}

void
relay_delivery(struct conn *c, const struct mqtt_packet *p)
{
    switch (p->type) {
    case MQTT_PUBLISH:
        broker_publish(c, p);
        return;
    case MQTT_SUBACK:
        broker_suback(c, p);
        acks_save(c);
        return;
    case MQTT_PUBACK:
        broker_puback(c, p);
        return;
    case MQTT_UNSUBACK:
        buf_add(&c->out, p->whole.ptr, p->whole.len);
        acks_save(c);
        return;
    case MQTT_DISCONNECT:
        broker_disconnect(c, p);
        return;
    case MQTT_PINGRESP:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
    case MQTT_CONNECT:
    case MQTT_CONNACK:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
    case MQTT_PINGREQ:
    case MQTT_AUTH:
        break;
    }
    conn_end(c, CAUSE_BROKER_DOWN, "broker=\"sent packet type %u\"", p->type);
}
