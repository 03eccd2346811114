/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of an admitted client, both ways: what it publishes and gets is decided here, what it
 * subscribes to in subscribe.c. SPEC aws-iot 6.3 to 6.7, 7.2; SPEC endpoint 9. Denials close
 * a 3.1.1 client; a level 5 client is told where the protocol has a place for it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"
#include "pki/pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a broker may say of success in more words, and the service does not. SPEC aws-iot 6.6 */
enum { NO_SUBSCRIBERS = 0x10, NO_SUBSCRIPTION = 0x11 };

enum { TOPIC_FACT = 120, DISCONNECT_WITH_WILL = 4, DUP = 8 };
enum { FOREIGN_TOPIC_MAX = 4096 }; /* of what clients of a cluster that are none of ours send */

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

const char *
relay_topic_reserved(struct span topic, bool retain)
{
    if (!span_begins(topic, "$")) {
        return NULL;
    }
    if (span_begins(topic, "$aws/things/") || span_begins(topic, "$aws/rules/")) {
        return retain ? "none is retained on a reserved topic" : NULL; /* SPEC aws-iot 6.5 */
    }
    return span_begins(topic, "$aws/events/") ? "events are published by the service only"
                                              : "a reserved topic";
}

/* At most 7 slashes, not counting the three levels of Basic Ingest. SPEC aws-iot 6.3 */
bool
relay_depth_fits(struct span topic)
{
    size_t max = SLASHES_MAX + (span_begins(topic, "$aws/rules/") ? 3 : 0);
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
    if (m->has_subscription_id) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_PROTOCOL,
            "field=\"subscription identifier\" topic=\"%s\" error=\"of a client's PUBLISH\"",
            topic);
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
    if (!broker_takes(c, m->topic, REASON_TOPIC_INVALID)) {
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
    char what[TOPIC_FACT + 64];

    fact_text(topic, sizeof topic, m->topic);
    if (c->level == 5 && m->qos == 1) { /* SPEC aws-iot 6.3: the client is told and stays */
        if (c->denials++ < DENIALS_RECORDED) {
            conn_record(c, CAUSE_PUBLISH_DENIED, "action=%s resource=\"topic/%s\" decision=%s",
                action, topic, decision);
        }
        (void)snprintf(what, sizeof what, "action=%s resource=\"topic/%s\"", action, topic);
        acks_refuse(c, m->packet_id, REASON_NOT_AUTHORIZED, CAUSE_PUBLISH_DENIED, what);
        return;
    }
    conn_dismiss(c, CAUSE_PUBLISH_DENIED, REASON_NOT_AUTHORIZED,
        "action=%s resource=\"topic/%s\" decision=%s", action, topic, decision);
}

static bool
publish_allowed(struct conn *c, const struct mqtt_publish *m)
{
    const char *reserved = relay_topic_reserved(m->topic, m->retain);
    enum policy_action action = POLICY_PUBLISH;
    enum policy_verdict v;
    char decision[DECISION_FACT];

    if (reserved != NULL) {
        deny_publish(c, m, m->retain ? "iot:RetainPublish" : "iot:Publish", "reserved_topic");
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
send_to_rules(struct conn *c, const struct mqtt_publish *m, uint32_t delay_s, uint32_t *number)
{
    struct worker *w = c->w;

    w->tx.type = LINK_INGRESS;
    memcpy(w->tx.u.ingress.cert_id, c->cert_id, sizeof c->cert_id);
    w->tx.u.ingress.client_id = span_str(c->client_id);
    w->tx.u.ingress.topic = m->topic;
    w->tx.u.ingress.payload = m->payload;
    w->tx.u.ingress.delay_s = delay_s;
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

/* The delay ends with the session, OASIS MQTT 5.0, 3.1.3.2.2. */
static uint32_t
will_delay(const struct conn *c, struct span properties)
{
    uint32_t session_s = 3600 * limit(c->w, LIMIT_SESSION_HOURS);
    struct rd list = rd_of(properties);
    struct mqtt_property p;
    uint32_t delay_s = 0;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        delay_s = p.id == MQTT_PROP_WILL_DELAY ? p.number : delay_s;
    }
    session_s = session_s == 0 || c->session_asked_s < session_s ? c->session_asked_s : session_s;
    return delay_s < session_s ? delay_s : session_s;
}

enum bm_err
relay_note_will(struct conn *c, const struct mqtt_connect *m)
{
    size_t topic_len = m->will_topic.len;
    size_t payload_len = m->will_payload.len;

    c->will = malloc(sizeof *c->will + topic_len + payload_len);
    if (c->will == NULL) {
        return BM_ERR_MEM;
    }
    *c->will = (struct will){ m->will_retain, will_delay(c, m->will_properties),
        (uint16_t)topic_len, (uint16_t)payload_len };
    memcpy(c->will->bytes, m->will_topic.ptr, topic_len);
    if (payload_len > 0) {
        memcpy(c->will->bytes + topic_len, m->will_payload.ptr, payload_len);
    }
    return BM_OK;
}

/* The rules are told at most once: the broker has the will, and does not tell. */
void
relay_will(struct conn *c)
{
    const struct will *will = c->will;
    struct mqtt_publish m = { 0 };
    uint32_t number = 0;

    if (will == NULL || (will->delay_s != 0 && c->ended_by == CAUSE_TAKEN_OVER)) {
        return; /* a client that came back within the delay */
    }
    m.topic = span_of(will->bytes, will->topic_len);
    m.payload = span_of(will->bytes + will->topic_len, will->payload_len);
    if (will->retain) {
        (void)tell_retained(c, m.topic, will->payload_len == 0, false, &number);
    }
    if (relay_rules_see(c, m.topic) || span_begins(m.topic, "$aws/rules/")) {
        (void)send_to_rules(c, &m, will->delay_s, &number);
    }
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
        acks_refuse(c, m->packet_id, REASON_QUOTA, CAUSE_CONTROL_DOWN, "");
    } else {
        conn_end(c, CAUSE_CONTROL_DOWN, "rules=\"cannot take a message\"");
    }
}

/* For one rule and nobody else; acknowledged when it is stored for it. SPEC aws-iot 6.3, 8 */
static void
basic_ingest(struct conn *c, const struct mqtt_publish *m)
{
    uint32_t number = 0;
    bool taken = send_to_rules(c, m, 0, &number);

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
    char most[40];
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
        (void)snprintf(most, sizeof most, "messages_per_second=%u", max);
        acks_refuse(c, m->packet_id, REASON_QUOTA, CAUSE_PUBLISH_RATE, most);
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
forward_publish(struct conn *c, const struct mqtt_packet *p, const struct mqtt_publish *m)
{
    uint8_t space[BROKER_TOPIC_ROOM];
    struct wr room = wr_of(space, sizeof space);
    struct mqtt_publish up = *m;
    size_t behind = p->whole.len - (size_t)(m->properties.ptr - p->whole.ptr);

    if (broker_topics(c) == NULL) {
        buf_add(&c->up_out, p->whole.ptr, p->whole.len);
    } else {
        (void)topics_to_broker(broker_topics(c), m->topic, &room, &up.topic);
        mqtt_build_publish(&c->up_out, c->level, &up);
    }
    if (m->properties.len > 0 && !c->up_out.failed) {
        mqtt_bound_expiry(c->up_out.ptr + c->up_out.len - behind, m->properties.len);
    }
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
    if (span_begins(m.topic, "$aws/rules/")) {
        basic_ingest(c, &m);
        return;
    }
    taken = (!m.retain || tell_retained(c, m.topic, m.payload.len == 0, m.qos == 1, &number)) &&
            (!relay_rules_see(c, m.topic) || send_to_rules(c, &m, 0, &number));
    if (m.qos == 1 && !taken) {
        refuse(c, &m);
        return;
    }
    forward_publish(c, p, &m);
    if (m.qos == 1) {
        acks_expect(c, m.packet_id, number, false,
            upstream_is_ours(c->w->o->accounts[c->account].broker) &&
                (m.retain || kept_may(c->w->accounts[c->account].kept, m.topic)));
    }
}

/* ---- the rest from the client ---- */

/* What the broker would end the connection for is judged here, where there is a cause to give. */
static void
client_puback(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_puback a;
    struct bm_msg msg = { "" };

    if (mqtt_parse_puback(p, c->level, &a, &msg) != BM_OK) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_MALFORMED, "error=\"%.200s\"", msg.text);
        return;
    }
    buf_add(&c->up_out, p->whole.ptr, p->whole.len);
}

/* OASIS MQTT 5.0, 3.14.2.2.2: what was 0 at CONNECT stays 0. */
static bool
asks_for_a_session(const struct conn *c, struct span properties)
{
    struct rd list = rd_of(properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_SESSION_EXPIRY && p.number != 0 && c->session_asked_s == 0) {
            return true;
        }
    }
    return false;
}

static void
client_disconnect(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_disconnect d;

    if (mqtt_parse_disconnect(p, c->level, &d) != BM_OK) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_MALFORMED, "packet=DISCONNECT");
        return;
    }
    if (asks_for_a_session(c, d.properties)) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_PROTOCOL,
            "field=\"session expiry interval\" packet=DISCONNECT error=\"0 at CONNECT\"");
        return;
    }
    buf_add(&c->up_out, p->whole.ptr, p->whole.len);
    /* OASIS MQTT 5.0, 3.14.4: then the will is published; mosquitto does it for one code only */
    if (d.reason != 0) {
        if (!c->up_out.failed) {
            c->up_out.ptr[c->up_out.len - p->body.len] = DISCONNECT_WITH_WILL;
        }
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
        subscribe_packet(c, p);
        return;
    case MQTT_UNSUBSCRIBE:
        subscribe_undo(c, p);
        return;
    case MQTT_PUBACK:
        client_puback(c, p);
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
    size_t at = c->out.len;
    uint8_t space[FOREIGN_TOPIC_MAX];
    struct wr room = wr_of(space, sizeof space);
    bool ours;

    if (mqtt_parse_publish(p, c->level, &m, NULL) != BM_OK || m.qos == 2) {
        conn_end(c, CAUSE_BROKER_DOWN, "broker=\"sent a malformed or QoS 2 message\"");
        return;
    }
    ours = topics_from_broker(broker_topics(c), m.topic, &room, &m.topic);
    if (m.retain && c->level == 4 && retained_unasked(c, &m)) {
        if (m.qos == 1) {
            mqtt_build_puback(&c->up_out, c->level, m.packet_id, 0, span_of(NULL, 0));
        }
        return;
    }
    if (slow_discards(c, &m)) {
        return;
    }
    if (ours && relay_decide(c, POLICY_RECEIVE, m.topic) == POLICY_ALLOWED) {
        count(c->w, METRIC_DELIVERED, 1);
        if (broker_topics(c) == NULL) {
            buf_add(&c->out, p->whole.ptr, p->whole.len);
        } else {
            mqtt_build_publish(&c->out, c->level, &m);
        }
        if (m.dup && !c->out.failed) { /* SPEC aws-iot 6.3 */
            c->out.ptr[at] &= (uint8_t)~DUP;
        }
        return;
    }
    if (ours && c->denials++ < DENIALS_RECORDED) {
        fact_text(topic, sizeof topic, m.topic);
        conn_record(c, CAUSE_RECEIVE_DENIED, "action=iot:Receive resource=\"topic/%s\"", topic);
    }
    if (m.qos == 1) { /* dropped silently: the broker must not wait for it */
        mqtt_build_puback(&c->up_out, c->level, m.packet_id, 0, span_of(NULL, 0));
    }
}

static void
broker_puback(struct conn *c, const struct mqtt_packet *p)
{
    struct rd r = rd_of(p->body);
    uint16_t packet_id = rd_u16(&r);
    uint8_t code = rd_left(&r) > 0 ? rd_u8(&r) : 0;

    acks_answer(c, packet_id, code == NO_SUBSCRIBERS ? 0 : code);
}

static void
broker_unsuback(struct conn *c, const struct mqtt_packet *p)
{
    size_t at = c->out.len;
    struct mqtt_suback a;

    buf_add(&c->out, p->whole.ptr, p->whole.len);
    if (c->level != 5 || c->out.failed || mqtt_parse_suback(p, 5, &a) != BM_OK) {
        return;
    }
    at += (size_t)(a.codes.ptr - p->whole.ptr);
    for (size_t i = 0; i < a.codes.len; i++) {
        c->out.ptr[at + i] = c->out.ptr[at + i] == NO_SUBSCRIPTION ? 0 : c->out.ptr[at + i];
    }
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
        subscribe_answer(c, p);
        acks_save(c);
        return;
    case MQTT_PUBACK:
        broker_puback(c, p);
        return;
    case MQTT_UNSUBACK:
        broker_unsuback(c, p);
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
