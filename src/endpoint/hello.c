/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONNECT: from the packet to the broker's CONNACK. SPEC aws-iot 4.1, 6.2; design 5.4.
 *
 * The packet is held while the questions are asked: who is it (the shared table, else control), may
 * it connect and leave this will (its policies), is the broker there. Refusals of the certificate
 * close without CONNACK at both levels, as the service does; refusals of what CONNECT asks for give
 * a level 5 client a reason; that we cannot serve it now is told at both levels, so that a device
 * does not take it for a refusal.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"
#include "registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { ID_FACT = 140, TOPIC_FACT = 120 };

/* ---- what the packet says ---- */

/* SPEC aws-iot 6.2: ids with `$` belong to the service; it makes one for a client that has none. */
static bool
choose_id(struct conn *c, const struct mqtt_connect *m)
{
    uint8_t random[16];
    char hex[2 * sizeof random + 1];
    char id[8 + sizeof hex];

    if (m->client_id.len > 0) {
        c->client_id = strndup((const char *)m->client_id.ptr, m->client_id.len);
        return c->client_id != NULL;
    }
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    hex_encode(hex, random, sizeof random);
    (void)snprintf(id, sizeof id, "$GEN/%s", hex);
    c->assigned_id = true;
    c->client_id = strdup(id);
    return c->client_id != NULL;
}

static uint16_t
keep_alive(const struct conn *c, uint16_t asked_s)
{
    unsigned set_s = c->w->o->keep_alive_min_s;
    uint16_t min_s = set_s != 0 && set_s < KEEP_ALIVE_MIN_S ? (uint16_t)set_s : KEEP_ALIVE_MIN_S;

    if (asked_s == 0 || asked_s > KEEP_ALIVE_MAX_S) {
        return KEEP_ALIVE_MAX_S;
    }
    return asked_s < min_s ? min_s : asked_s;
}

static bool
check_id(struct conn *c, const struct mqtt_connect *m)
{
    if (m->client_id.len > MQTT_CLIENT_ID_MAX) {
        conn_dismiss(c, CAUSE_TOO_LARGE, REASON_CLIENT_ID, "client_id_bytes=%zu max=%d",
            m->client_id.len, MQTT_CLIENT_ID_MAX);
        return false;
    }
    if (m->client_id.len > 0 && m->client_id.ptr[0] == '$') {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_CLIENT_ID,
            "field=\"client id\" error=\"ids that begin with $ are reserved\"");
        return false;
    }
    if (m->client_id.len == 0 && m->level == 4 && !m->clean) { /* OASIS 3.1.1, 3.1.3.1 */
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_CLIENT_ID,
            "field=\"client id\" error=\"empty with clean session 0\"");
        return false;
    }
    return true;
}

static bool
check_will(struct conn *c, const struct mqtt_connect *m)
{
    char topic[TOPIC_FACT];
    const char *why = NULL;

    if (!m->has_will) {
        return true;
    }
    if (m->will_qos == 2) {
        conn_dismiss(c, CAUSE_QOS2, REASON_QOS, "field=will");
        return false;
    }
    why = !mqtt_topic_valid(m->will_topic)   ? "not a topic name"
          : !relay_depth_fits(m->will_topic) ? "too many levels"
                                             : relay_topic_reserved(m->will_topic, m->will_retain);
    if (why != NULL) {
        fact_text(topic, sizeof topic, m->will_topic);
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_TOPIC_INVALID,
            "field=will topic=\"%s\" error=\"%s\"", topic, why);
    }
    return why == NULL && broker_takes(c, m->will_topic, REASON_TOPIC_INVALID);
}

static void
note_properties(struct conn *c, const struct mqtt_connect *m)
{
    struct rd list = rd_of(m->properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_SESSION_EXPIRY) {
            c->session_asked_s = p.number;
        }
        if (p.id == MQTT_PROP_MAXIMUM_PACKET) {
            c->packet_max = p.number;
        }
        if (p.id == MQTT_PROP_REQUEST_PROBLEMS) {
            c->no_problems = p.number == 0;
        }
    }
}

static bool
check_properties(struct conn *c, const struct mqtt_connect *m)
{
    struct rd list = rd_of(m->properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_AUTH_METHOD || p.id == MQTT_PROP_AUTH_DATA) { /* SPEC aws-iot 6.6 */
            conn_dismiss(c, CAUSE_PROTOCOL, REASON_UNSPECIFIED,
                "field=\"authentication method\" error=\"AUTH is not supported\"");
            return false;
        }
    }
    return true;
}

/* ---- who is it ---- */

static enum cause
cause_of(const struct table_entry *e)
{
    switch ((enum cert_status)e->status) {
    case CERT_ACTIVE:
        return e->not_after_ms < clock_wall_ms() ? CAUSE_LEAF_EXPIRED : CAUSE_ADMITTED;
    case CERT_REVOKED:
        return CAUSE_REVOKED;
    case CERT_PENDING_ACTIVATION:
        return CAUSE_PENDING;
    case CERT_INACTIVE:
    case CERT_PENDING_TRANSFER:
    case CERT_REGISTER_INACTIVE:
        return CAUSE_INACTIVE;
    }
    return CAUSE_INACTIVE;
}

static void
end_expired(struct conn *c, const struct table_entry *e)
{
    char to[CLOCK_TEXT_LEN];

    clock_text(to, e->not_after_ms);
    conn_end(c, CAUSE_LEAF_EXPIRED, "notAfter=%s", to);
}

static void
ask_control(struct conn *c)
{
    struct worker *w = c->w;
    char peer[PEER_TEXT];
    enum bm_err err = BM_ERR_LIMIT;
    uint32_t request = control_request(w);

    conn_go(c, EV_ASK);
    address_text(c, peer);
    if (w->control.admits < ADMITS_MAX) {
        w->tx.type = LINK_ADMIT;
        w->tx.request = request;
        w->tx.account = c->account;
        w->tx.u.admit.sni = (uint8_t)c->sni;
        w->tx.u.admit.client_id = span_str(c->client_id);
        w->tx.u.admit.peer = span_str(peer);
        w->tx.u.admit.leaf_der = buf_span(&c->leaf);
        err = control_send(w);
    }
    if (err != BM_OK || index_add(&w->by_request, c, request) != BM_OK) {
        conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_UNAVAILABLE, "asked=admission error=%s",
            bm_err_name(err));
        return;
    }
    w->control.admits++;
    c->admitting = true;
    c->asked_ms = clock_mono_ms();
    conn_deadline(c, CONTROL_WAIT_MS);
}

static void
ask_policies(struct conn *c, uint32_t set)
{
    char id[ID_FACT];
    enum bm_err err;

    if (set == 0) { /* SPEC aws-iot 4.1: closed at CONNECT */
        fact_text(id, sizeof id, span_str(c->client_id));
        conn_end(c, CAUSE_NO_POLICY, "action=iot:Connect resource=\"client/%s\"", id);
        return;
    }
    err = policies_get(c->w, c->account, set, &c->policies);
    if (err != BM_OK) {
        conn_dismiss(
            c, CAUSE_CONTROL_DOWN, REASON_UNAVAILABLE, "asked=policies error=%s", bm_err_name(err));
        return;
    }
    if (c->policies->state != SET_LOADING) {
        hello_policies_ready(c);
        return;
    }
    policies_wait(c->policies, c);
    conn_deadline(c, CONTROL_WAIT_MS);
}

/*
 * The account that the server name says, else the first that has the certificate. Without a name of
 * its own, an account's certificates of mode SNI_ONLY are not found. SPEC aws-iot 3.6
 */
static bool
find_entry(struct conn *c, struct table_entry *e)
{
    if (c->sni == SNI_ACCOUNT) {
        return table_get(c->w->accounts[c->account].table, c->cert_id, e);
    }
    for (size_t i = 0; i < c->w->o->account_count; i++) {
        if (table_get(c->w->accounts[i].table, c->cert_id, e) &&
            (i == 0 || e->mode == MODE_DEFAULT)) {
            c->account = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* SPEC aws-iot 4.3. After who it is: strangers use up nothing. */
static bool
check_account_rate(struct conn *c)
{
    uint32_t rate = limit(c->w, LIMIT_ACCOUNT_CONNECT_RATE);

    _Static_assert((int)THROTTLE_ACCOUNTS == (int)ACCOUNTS_MAX, "one rate for each account");
    if (rate == 0 || throttle_account(c->w->o->throttle, c->account, clock_mono_us(), rate)) {
        return true;
    }
    conn_dismiss(c, CAUSE_CONNECT_RATE, REASON_QUOTA, "of=account connects_per_second=%u", rate);
    return false;
}

/* ACTIVE by the table: no chain is verified, that was done when it was registered. */
static void
identify(struct conn *c)
{
    struct table_entry e = { 0 };
    enum cause cause;

    if (!find_entry(c, &e)) {
        ask_control(c);
        return;
    }
    c->status = e.status;
    if (e.mode == MODE_SNI_ONLY && c->sni == SNI_NONE) {
        conn_end(c, CAUSE_SNI_REQUIRED, "mode=SNI_ONLY");
        return;
    }
    cause = cause_of(&e);
    if (cause == CAUSE_LEAF_EXPIRED) {
        end_expired(c, &e);
    } else if (cause != CAUSE_ADMITTED) {
        ask_control(c);
    } else if (check_account_rate(c)) {
        conn_go(c, EV_KNOWN);
        ask_policies(c, e.policy_set);
    }
}

void
hello_verdict(struct worker *w, uint32_t request, uint8_t account, enum cause cause)
{
    struct table_entry e = { 0 };
    struct conn *c = index_first(&w->by_request, request);

    if (c == NULL || !c->admitting) {
        return; /* it left meanwhile */
    }
    index_remove(&w->by_request, c);
    w->control.admits--;
    c->admitting = false;
    metrics_latency(w->o->metrics, LATENCY_ADMISSION, 1000 * (clock_mono_ms() - c->asked_ms));
    if (cause != CAUSE_ADMITTED) {
        if (cause == CAUSE_CONTROL_DOWN) {
            conn_dismiss(c, cause, REASON_UNAVAILABLE, "error=\"the registry failed\"");
            conn_settle(c);
        } else {
            metrics_add(&w->o->metrics->causes[cause], 1);
            conn_drop(c); /* control wrote the record together with the decision */
        }
        return;
    }
    c->account = account;
    if (!table_get(w->accounts[account].table, c->cert_id, &e) || cause_of(&e) != CAUSE_ADMITTED) {
        conn_end(c, CAUSE_INACTIVE, "changed=\"while it was admitted\"");
        return;
    }
    c->status = e.status;
    conn_go(c, EV_KNOWN);
    ask_policies(c, e.policy_set);
    conn_settle(c);
}

void
hello_control_down(struct worker *w)
{
    struct conn *next;

    for (struct conn *c = w->conns; c != NULL; c = next) {
        next = c->next;
        if (c->state == CONN_VERDICT) {
            conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_UNAVAILABLE, "asked=admission");
            conn_settle(c);
        } else {
            thing_control_down(c);
        }
    }
}

/* SPEC aws-iot 4.3. By certificate, too: a stranger must not use up what a device may. */
static bool
check_rate(struct conn *c)
{
    struct throttle *t = c->w->o->throttle;
    uint32_t rate = limit(c->w, LIMIT_CONNECT_RATE);
    uint32_t burst = limit(c->w, LIMIT_CONNECT_BURST);
    uint64_t key;

    if (rate == 0 || c->assigned_id) {
        return true;
    }
    key = throttle_key(t, c->cert_id, sizeof c->cert_id, c->client_id, strlen(c->client_id));
    if (throttle_connect(t, key, clock_mono_ms(), rate, burst)) {
        return true;
    }
    conn_dismiss(
        c, CAUSE_CONNECT_RATE, REASON_QUOTA, "connects_per_second=%u at_once=%u", rate, burst);
    return false;
}

static void
no_memory(struct conn *c)
{
    conn_dismiss(c, CAUSE_OUT_OF_MEMORY, REASON_UNAVAILABLE, "at=CONNECT");
}

void
hello_packet(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_connect m = { 0 };
    struct bm_msg msg = { "" };

    if (mqtt_parse_connect(p, &m, &msg) != BM_OK) {
        c->level = m.level;
        if (c->level == 5) { /* of the codes in SPEC aws-iot 6.2 none is nearer */
            conn_dismiss(c, CAUSE_PROTOCOL, REASON_UNSPECIFIED, "error=\"%.200s\"", msg.text);
        } else {
            conn_end(c, CAUSE_PROTOCOL, "error=\"%.200s\"", msg.text);
        }
        return;
    }
    c->level = m.level;
    note_properties(c, &m);
    if (!check_id(c, &m)) {
        return;
    }
    if (!choose_id(c, &m)) {
        no_memory(c);
        return;
    }
    if (!check_rate(c) || !check_properties(c, &m) || !check_will(c, &m)) {
        return;
    }
    c->persistent = !m.clean;
    c->last_will = m.has_will;
    c->keep_alive_asked_s = m.keep_alive_s;
    c->keep_alive_s = keep_alive(c, m.keep_alive_s);
    buf_add(&c->connect, p->body.ptr, p->body.len);
    if (c->connect.failed ||
        index_add(&c->w->by_cert, c, index_hash(c->w->seed, SPAN(c->cert_id))) != BM_OK) {
        no_memory(c);
        return;
    }
    identify(c);
}

/* ---- may it ---- */

static bool
will_allowed(struct conn *c)
{
    struct mqtt_packet p = { .type = MQTT_CONNECT, .body = buf_span(&c->connect) };
    struct mqtt_connect m;
    enum policy_action action = POLICY_PUBLISH;
    enum policy_verdict v;
    char topic[TOPIC_FACT];
    char decision[DECISION_FACT];

    if (mqtt_parse_connect(&p, &m, NULL) != BM_OK) {
        no_memory(c); /* it was parsed before */
        return false;
    }
    if (!m.has_will) {
        return true;
    }
    v = relay_decide(c, action, m.will_topic);
    if (v == POLICY_ALLOWED && m.will_retain) {
        action = POLICY_RETAIN_PUBLISH;
        v = relay_decide(c, action, m.will_topic);
    }
    if (v == POLICY_ALLOWED) {
        return true;
    }
    fact_text(topic, sizeof topic, m.will_topic);
    relay_decision(c, v, decision, sizeof decision);
    conn_dismiss(c, CAUSE_CONNECT_DENIED, REASON_NOT_AUTHORIZED,
        "action=%s resource=\"topic/%s\" of=will decision=%s", policy_action_name(action), topic,
        decision);
    return false;
}

static void
decide_connect(struct conn *c)
{
    char id[ID_FACT];
    char decision[DECISION_FACT];
    enum policy_verdict v;

    if (c->policies->state == SET_MISSING) {
        conn_end(c, CAUSE_NO_POLICY, "set=%u is not usable", c->policies->number);
        return;
    }
    v = relay_decide(c, POLICY_CONNECT, span_str(c->client_id));
    if (v != POLICY_ALLOWED) {
        fact_text(id, sizeof id, span_str(c->client_id));
        relay_decision(c, v, decision, sizeof decision);
        conn_dismiss(c, CAUSE_CONNECT_DENIED, REASON_NOT_AUTHORIZED,
            "action=iot:Connect resource=\"client/%s\" decision=%s", id, decision);
        return;
    }
    if (!will_allowed(c)) {
        return;
    }
    conn_go(c, EV_ALLOWED);
    conn_deadline(c, BROKER_WAIT_MS);
    if (c->state != CONN_CLOSED) {
        broker_connect(c);
    }
}

void
hello_policies_ready(struct conn *c)
{
    if (!thing_ready(c, c->state == CONN_POLICY ? c->policies : c->next_policies)) {
        return;
    }
    if (c->state == CONN_POLICY) {
        decide_connect(c);
        return;
    }
    policies_put(c->policies); /* an admitted client whose policies changed */
    c->policies = c->next_policies;
    c->next_policies = NULL;
}

/* ---- the certificate changed under a connection ---- */

static void
change_policies(struct conn *c, uint32_t set)
{
    policies_stop_waiting(c);
    policies_put(c->next_policies);
    c->next_policies = NULL;
    if (c->state == CONN_POLICY) {
        policies_put(c->policies);
        c->policies = NULL;
        ask_policies(c, set);
        return;
    }
    if (set == 0) { /* nothing is allowed from here on */
        policies_put(c->policies);
        c->policies = NULL;
        return;
    }
    if (policies_get(c->w, c->account, set, &c->next_policies) != BM_OK) {
        conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_NOT_AUTHORIZED, "asked=policies");
        return;
    }
    if (c->next_policies->state == SET_LOADING) {
        policies_wait(c->next_policies, c);
    } else {
        hello_policies_ready(c);
    }
}

static void
look_again(struct conn *c)
{
    struct table_entry e = { 0 };
    bool there = table_get(c->w->accounts[c->account].table, c->cert_id, &e);
    enum cause cause = there ? cause_of(&e) : CAUSE_INACTIVE;
    uint32_t now = c->policies != NULL ? c->policies->number : 0;

    c->status = there ? e.status : 0;
    if (c->state == CONN_VERDICT || c->state == CONN_CLOSING) {
        return; /* the answer to come knows more; or it is over */
    }
    if (cause != CAUSE_ADMITTED && c->state != CONN_RELAY) {
        conn_end(c, cause, "changed=\"while it was admitted\""); /* without CONNACK, SPEC 4.1 */
    } else if (cause != CAUSE_ADMITTED) {
        conn_dismiss(c, cause, REASON_ADMINISTRATIVE, "changed=\"while connected\"%s",
            there ? "" : " certificate=deleted");
    } else {
        c->thing_known = false;
        if (e.policy_set != now || c->next_policies != NULL) {
            change_policies(c, e.policy_set);
        }
        thing_changed(c);
    }
}

void
hello_changed(struct worker *w, uint8_t account, const uint8_t cert_id[32])
{
    uint64_t key = index_hash(w->seed, span_of(cert_id, 32));
    struct conn *c = index_first(&w->by_cert, key);

    while (c != NULL) {
        struct conn *next = index_again(&w->by_cert, c);

        if (c->account == account && memcmp(c->cert_id, cert_id, 32) == 0) {
            look_again(c);
            conn_settle(c);
        }
        c = next;
    }
}

/* ---- the broker's answer ---- */

/* What the broker offers, in the service's limits. SPEC aws-iot 6.6 */
static void
connack_properties(const struct conn *c, struct span from, struct buf *out)
{
    uint32_t in_flight = limit(c->w, LIMIT_IN_FLIGHT);
    uint32_t session_s = 3600 * limit(c->w, LIMIT_SESSION_HOURS); /* the broker keeps to it */
    struct rd list = rd_of(from);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        switch (p.id) {
        case MQTT_PROP_TOPIC_ALIAS_MAX: /* absent is 0: policies decide on topics they can see */
        case MQTT_PROP_MAXIMUM_QOS:
        case MQTT_PROP_MAXIMUM_PACKET:
        case MQTT_PROP_RECEIVE_MAXIMUM:
        case MQTT_PROP_SESSION_EXPIRY:
        case MQTT_PROP_SERVER_KEEP_ALIVE:
        case MQTT_PROP_ASSIGNED_CLIENT_ID:
        case MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE:
            break;
        default:
            buf_add(out, p.whole.ptr, p.whole.len);
        }
    }
    mqtt_put_number(out, MQTT_PROP_MAXIMUM_QOS, 1, 1);
    mqtt_put_number(out, MQTT_PROP_MAXIMUM_PACKET, MQTT_PAYLOAD_MAX, 4);
    if (in_flight != 0) {
        mqtt_put_number(out, MQTT_PROP_RECEIVE_MAXIMUM, in_flight, 2);
    }
    mqtt_put_number(out, MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE, 0, 1);
    if (session_s != 0 && c->session_asked_s > session_s) {
        mqtt_put_number(out, MQTT_PROP_SESSION_EXPIRY, session_s, 4);
    }
    if (c->keep_alive_s != c->keep_alive_asked_s) {
        mqtt_put_number(out, MQTT_PROP_SERVER_KEEP_ALIVE, c->keep_alive_s, 2);
    }
    if (c->assigned_id) {
        mqtt_put_text(out, MQTT_PROP_ASSIGNED_CLIENT_ID, span_str(c->client_id));
    }
}

/*
 * The broker behind us speaks 3.1.1 only. It may say so in either form, because 3.1.1 has no other;
 * translating would lose what level 5 promises, its properties, in silence.
 */
static bool
refuses_level_5(const struct conn *c, const struct mqtt_packet *p)
{
    return c->level == 5 && p->type == MQTT_CONNACK && p->body.len >= 2 &&
           (p->body.ptr[1] == REASON_VERSION || (p->body.len == 2 && p->body.ptr[1] == 1));
}

void
hello_connack(struct conn *c, const struct mqtt_packet *p)
{
    struct mqtt_connack k;
    struct buf properties = { 0 };

    if (refuses_level_5(c, p)) {
        conn_dismiss(c, CAUSE_PROTOCOL, REASON_VERSION,
            "field=\"protocol level\" level=5 broker=\"speaks MQTT 3.1.1 only\"");
        return;
    }
    if (p->type == MQTT_DISCONNECT || mqtt_parse_connack(p, c->level, &k) != BM_OK) {
        conn_dismiss(c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE,
            "broker=\"answered CONNECT with packet type %u\"", p->type);
        return;
    }
    if (k.code != 0) {
        conn_dismiss(
            c, CAUSE_BROKER_DOWN, REASON_UNAVAILABLE, "broker=\"refused CONNECT\" code=%u", k.code);
        return;
    }
    if (c->level == 5) {
        connack_properties(c, k.properties, &properties);
        k.properties = buf_span(&properties);
        c->out.failed = c->out.failed || properties.failed;
    }
    mqtt_build_connack(&c->out, c->level, &k);
    buf_fini(&properties);
    conn_go(c, EV_ACCEPTED);
    c->heard_ms = clock_mono_ms();
    conn_deadline(c, 1500 * (int64_t)c->keep_alive_s);
    conn_record(c, CAUSE_ADMITTED, "level=%u keep_alive_s=%u tls=%s", c->level, c->keep_alive_s,
        SSL_get_version(c->ssl));
    metrics_latency(c->w->o->metrics, LATENCY_CONNECT, 1000 * (c->heard_ms - c->opened_ms));
    presence_connected(c);
}
