/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lifecycle events: who came, who left and why, who subscribed to what. SPEC aws-iot 8.
 *
 * The worker makes the message and hands it to control, which publishes it and shows it to the
 * rules; when no rule looks at such a topic and nobody has subscribed to one, none is made.
 * They are not stored: one that finds control's queue full, or control or the broker gone, is lost and
 * counted, and the device does not wait for it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TOPIC_SIZE = sizeof "$aws/events/subscriptions/unsubscribed/" + MQTT_CLIENT_ID_MAX };

/* To whom? False: to nobody. SPEC aws-iot 6.2: `#` in an id would be a wildcard in the topic. */
static bool
event_topic(const struct conn *c, const char *family, const char *type, char topic[TOPIC_SIZE])
{
    if (strpbrk(c->client_id, "#+") != NULL) {
        return false;
    }
    (void)snprintf(topic, TOPIC_SIZE, "$aws/events/%s/%s/%s", family, type, c->client_id);
    return !upstream_is_ours(c->w->o->accounts[c->account].broker) || /* who subscribes there, who knows */
           kept_hears(c->w->accounts[c->account].kept, span_str(topic)) ||
           relay_rules_see(c, span_str(topic));
}

/* Takes `event` over; NULL: out of memory. */
static void
send_event(struct conn *c, const char *topic, json_t *event)
{
    struct worker *w = c->w;
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    enum bm_err err = BM_ERR_MEM;

    if (text != NULL) {
        w->tx.type = LINK_EVENT;
        w->tx.request = 0;
        w->tx.account = c->account;
        memcpy(w->tx.u.ingress.cert_id, c->cert_id, sizeof c->cert_id);
        w->tx.u.ingress.client_id = span_of(NULL, 0); /* no device sent it */
        w->tx.u.ingress.topic = span_str(topic);
        w->tx.u.ingress.payload = span_str(text);
        w->tx.u.ingress.delay_s = 0;
        err = control_send(w);
    }
    if (err != BM_OK && count(w, METRIC_EVENTS_LOST, 1) % 1000 == 1) {
        log_warn(
            "lifecycle event lost (%s), and others of the next 1000: %s", bm_err_name(err), topic);
    }
    free(text);
    json_decref(event);
}

/* What all events have. */
static json_t *
new_event(const struct conn *c, const char *type)
{
    char session[37];
    char hex[33];

    hex_encode(hex, c->session, sizeof c->session);
    (void)snprintf(session, sizeof session, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
        hex + 16, hex + 20);
    return json_pack("{s:s,s:I,s:s,s:s,s:s}", "clientId", c->client_id, "timestamp",
        (json_int_t)clock_wall_ms(), "eventType", type, "sessionIdentifier", session,
        "principalIdentifier", c->cert_hex);
}

static json_t *
with(json_t *event, const char *name, json_t *value)
{
    if (json_object_set_new(event, name, value) == 0) {
        return event;
    }
    json_decref(event);
    return NULL;
}

void
presence_connected(struct conn *c)
{
    char topic[TOPIC_SIZE];
    json_t *event;

    if (getrandom(c->session, sizeof c->session, 0) != (ssize_t)sizeof c->session) {
        log_warn("no random numbers: a session has a poor identifier");
    }
    c->connected_ms = clock_wall_ms();
    if (!event_topic(c, "presence", "connected", topic)) {
        return;
    }
    event = with(new_event(c, "connected"), "ipAddress", json_string(c->source_ip));
    event = with(event, "versionNumber", json_integer((json_int_t)c->connected_ms));
    send_event(c, topic, event);
}

static const char *
reason_of(const struct conn *c)
{
    switch (c->ended_by) {
    case CAUSE_DISCONNECTED:
        return c->left == LEFT_CLIENT    ? "CLIENT_INITIATED_DISCONNECT"
               : c->left == LEFT_LOST    ? "CONNECTION_LOST"
               : c->left == LEFT_SERVICE ? "SERVER_INITIATED_DISCONNECT"
                                         : "SERVER_ERROR";
    case CAUSE_TAKEN_OVER:
        return "DUPLICATE_CLIENTID";
    case CAUSE_KEEP_ALIVE:
        return "MQTT_KEEP_ALIVE_TIMEOUT";
    case CAUSE_PUBLISH_DENIED:
    case CAUSE_SUBSCRIBE_DENIED:
        return "AUTH_ERROR";
    case CAUSE_PENDING:
    case CAUSE_INACTIVE:
    case CAUSE_REVOKED:
    case CAUSE_LEAF_EXPIRED:
        return "FORBIDDEN_ACCESS";
    case CAUSE_PROTOCOL:
    case CAUSE_QOS2:
    case CAUSE_TOO_LARGE:
    case CAUSE_IN_FLIGHT:
    case CAUSE_SUBSCRIPTIONS:
    case CAUSE_SLOW:
        return "CLIENT_ERROR";
    default:
        return "SERVER_ERROR";
    }
}

void
presence_disconnected(struct conn *c)
{
    bool client = c->ended_by == CAUSE_DISCONNECTED && c->left == LEFT_CLIENT;
    char topic[TOPIC_SIZE];
    json_t *event;

    if (!event_topic(c, "presence", "disconnected", topic)) {
        return;
    }
    event = with(new_event(c, "disconnected"), "clientInitiatedDisconnect", json_boolean(client));
    event = with(event, "disconnectReason", json_string(reason_of(c)));
    event = with(event, "versionNumber", json_integer((json_int_t)c->connected_ms));
    send_event(c, topic, event);
}

void
presence_subscriptions(
    struct conn *c, const char *type, const struct mqtt_subscribe *s, uint8_t denied)
{
    char topic[TOPIC_SIZE];
    json_t *topics;

    if (!event_topic(c, "subscriptions", type, topic)) {
        return;
    }
    topics = json_array();
    for (size_t i = 0; i < s->count; i++) {
        struct span f = s->filters[i].filter;

        if ((denied >> i & 1) == 0) {
            (void)json_array_append_new(topics, json_stringn((const char *)f.ptr, f.len));
        }
    }
    send_event(c, topic, with(new_event(c, type), "topics", topics));
}
