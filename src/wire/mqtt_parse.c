/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of mqtt.h: packets off a stream of bytes, and their fields. Section numbers are those
 * of OASIS MQTT 3.1.1; the level 5 parts name theirs.
 */
#include "wire/mqtt.h"

#include "wire/topic.h"

/* ---- integers, strings, properties ---- */

enum { VARINT_BYTES_MAX = 4 };

/* Variable byte integer, 2.2.3. BM_ERR_MORE: the last byte seen says that another follows. */
static enum bm_err
varint_read(struct rd *r, uint32_t *out)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t b;

        if (rd_left(r) == 0) {
            return BM_ERR_MORE;
        }
        b = rd_u8(r);
        v |= (uint32_t)(b & 0x7f) << (7 * i);
        if ((b & 0x80) == 0) {
            *out = v;
            return BM_OK;
        }
    }
    return BM_ERR_PROTO;
}

/* 5.0, 1.5.5: the shortest form. Only level 5 says so, hence not in the fixed header. */
static enum bm_err
short_varint_read(struct rd *r, uint32_t *out)
{
    size_t before = rd_left(r);
    enum bm_err err = varint_read(r, out);
    size_t len = before - rd_left(r);

    return err == BM_OK && len > 1 && *out >> (7 * (len - 1)) == 0 ? BM_ERR_PROTO : err;
}

static struct span
binary_read(struct rd *r)
{
    size_t len = rd_u16(r);

    return rd_span(r, len);
}

static struct span
string_read(struct rd *r)
{
    struct span s = binary_read(r);

    if (!mqtt_string_valid(s)) {
        r->failed = true;
    }
    return s;
}

/* Value types of MQTT 5.0 table 2-4. */
enum property_type {
    PROP_NONE,
    PROP_U8,
    PROP_U16,
    PROP_U32,
    PROP_VAR,
    PROP_TEXT,
    PROP_BIN,
    PROP_PAIR
};

/* In which packets it may stand; IN_WILL takes the place of packet type 0, which does not exist. */
enum {
    IN_WILL = 1,
    IN_CONNECT = 1 << MQTT_CONNECT,
    IN_CONNACK = 1 << MQTT_CONNACK,
    IN_PUBLISH = 1 << MQTT_PUBLISH,
    IN_SUBSCRIBE = 1 << MQTT_SUBSCRIBE,
    IN_DISCONNECT = 1 << MQTT_DISCONNECT,
    IN_MESSAGE = IN_PUBLISH | IN_WILL,
    IN_CONNECTING = IN_CONNECT | IN_CONNACK,
    IN_AUTHENTICATING = IN_CONNECTING | 1 << MQTT_AUTH,
    IN_ANSWER = IN_CONNACK | 1 << MQTT_PUBACK | 1 << MQTT_PUBREC | 1 << MQTT_PUBREL |
                1 << MQTT_PUBCOMP | 1 << MQTT_SUBACK | 1 << MQTT_UNSUBACK | IN_DISCONNECT |
                1 << MQTT_AUTH,
    IN_ANY = 0xffff,
};

/* Which values it takes; all, if neither. */
enum property_values { ANY_VALUE, FLAG, NOT_ZERO };

struct property_rule {
    uint8_t type;
    uint8_t values;
    uint16_t in;
};

static struct property_rule
property_rule(uint8_t id)
{
    static const struct property_rule rules[] = {
        [MQTT_PROP_PAYLOAD_FORMAT] = { PROP_U8, FLAG, IN_MESSAGE },
        [MQTT_PROP_MESSAGE_EXPIRY] = { PROP_U32, ANY_VALUE, IN_MESSAGE },
        [0x03] = { PROP_TEXT, ANY_VALUE, IN_MESSAGE },
        [MQTT_PROP_RESPONSE_TOPIC] = { PROP_TEXT, ANY_VALUE, IN_MESSAGE },
        [0x09] = { PROP_BIN, ANY_VALUE, IN_MESSAGE },
        [MQTT_PROP_SUBSCRIPTION_ID] = { PROP_VAR, NOT_ZERO, IN_PUBLISH | IN_SUBSCRIBE },
        [MQTT_PROP_SESSION_EXPIRY] = { PROP_U32, ANY_VALUE, IN_CONNECTING | IN_DISCONNECT },
        [MQTT_PROP_ASSIGNED_CLIENT_ID] = { PROP_TEXT, ANY_VALUE, IN_CONNACK },
        [MQTT_PROP_SERVER_KEEP_ALIVE] = { PROP_U16, ANY_VALUE, IN_CONNACK },
        [MQTT_PROP_AUTH_METHOD] = { PROP_TEXT, ANY_VALUE, IN_AUTHENTICATING },
        [MQTT_PROP_AUTH_DATA] = { PROP_BIN, ANY_VALUE, IN_AUTHENTICATING },
        [MQTT_PROP_REQUEST_PROBLEMS] = { PROP_U8, FLAG, IN_CONNECT },
        [MQTT_PROP_WILL_DELAY] = { PROP_U32, ANY_VALUE, IN_WILL },
        [0x19] = { PROP_U8, FLAG, IN_CONNECT },
        [0x1a] = { PROP_TEXT, ANY_VALUE, IN_CONNACK },
        [0x1c] = { PROP_TEXT, ANY_VALUE, IN_CONNACK | IN_DISCONNECT },
        [MQTT_PROP_REASON_STRING] = { PROP_TEXT, ANY_VALUE, IN_ANSWER },
        [MQTT_PROP_RECEIVE_MAXIMUM] = { PROP_U16, NOT_ZERO, IN_CONNECTING },
        [MQTT_PROP_TOPIC_ALIAS_MAX] = { PROP_U16, ANY_VALUE, IN_CONNECTING },
        [MQTT_PROP_TOPIC_ALIAS] = { PROP_U16, NOT_ZERO, IN_PUBLISH },
        [MQTT_PROP_MAXIMUM_QOS] = { PROP_U8, FLAG, IN_CONNACK },
        [0x25] = { PROP_U8, FLAG, IN_CONNACK },
        [MQTT_PROP_USER] = { PROP_PAIR, ANY_VALUE, IN_ANY },
        [MQTT_PROP_MAXIMUM_PACKET] = { PROP_U32, NOT_ZERO, IN_CONNECTING },
        [0x28] = { PROP_U8, FLAG, IN_CONNACK },
        [MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE] = { PROP_U8, FLAG, IN_CONNACK },
        [0x2a] = { PROP_U8, FLAG, IN_CONNACK },
    };

    return id < sizeof rules / sizeof rules[0] ? rules[id]
                                               : (struct property_rule){ .type = PROP_NONE };
}

static bool
property_value(struct rd *r, struct mqtt_property *p)
{
    switch ((enum property_type)property_rule(p->id).type) {
    case PROP_NONE:
        return false;
    case PROP_U8:
        p->number = rd_u8(r);
        return true;
    case PROP_U16:
        p->number = rd_u16(r);
        return true;
    case PROP_U32:
        p->number = rd_u32(r);
        return true;
    case PROP_VAR:
        return short_varint_read(r, &p->number) == BM_OK;
    case PROP_TEXT:
        p->data = string_read(r);
        return true;
    case PROP_BIN:
        p->data = binary_read(r);
        return true;
    case PROP_PAIR:
        p->data = string_read(r);
        (void)string_read(r);
        return true;
    }
    return false;
}

enum bm_err
mqtt_next_property(struct rd *list, struct mqtt_property *out)
{
    struct rd r = *list;
    struct mqtt_property p = { 0 };
    struct rd start = r;

    if (rd_left(&r) == 0) {
        return list->failed ? BM_ERR_PROTO : BM_ERR_NOT_FOUND;
    }
    p.id = rd_u8(&r);
    if (!property_value(&r, &p) || r.failed) {
        return BM_ERR_PROTO;
    }
    p.whole = rd_span(&start, rd_left(&start) - rd_left(&r));
    *list = r;
    *out = p;
    return BM_OK;
}

/* May it stand there, with this value? NULL when it may, else why not. `seen`: those before it. */
static const char *
property_fault(const struct mqtt_property *p, unsigned in, uint64_t seen)
{
    struct property_rule rule = property_rule(p->id);
    bool repeats = p->id == MQTT_PROP_USER || /* of each subscription that matches */
                   (p->id == MQTT_PROP_SUBSCRIPTION_ID && in == IN_PUBLISH);

    if ((rule.in & in) == 0) {
        return "does not belong there";
    }
    if (!repeats && (seen >> p->id & 1) != 0) {
        return "stands there twice";
    }
    if ((rule.values == FLAG && p->number > 1) || (rule.values == NOT_ZERO && p->number == 0) ||
        (p->id == MQTT_PROP_RESPONSE_TOPIC && mqtt_has_wildcard(p->data))) {
        return "has a value that it cannot have";
    }
    return NULL;
}

/*
 * Take a property list, length first, and check it against 5.0, 2.2.2.2. What is wrong makes `r`
 * fail, and `msg`, if any, names it behind what it says already.
 */
static struct span
properties_read(struct rd *r, unsigned in, struct bm_msg *msg)
{
    uint32_t len = 0;
    uint64_t seen = 0;
    const char *fault = NULL;
    struct span s;
    struct rd list;
    struct mqtt_property p = { 0 };
    enum bm_err err = BM_OK;

    if (short_varint_read(r, &len) != BM_OK || rd_left(r) < len) {
        r->failed = true;
        (void)bm_fail(msg, BM_ERR_PROTO, "the length of the properties is malformed");
        return span_of(NULL, 0);
    }
    s = rd_span(r, len);
    list = rd_of(s);
    while (fault == NULL && (err = mqtt_next_property(&list, &p)) == BM_OK) {
        fault = property_fault(&p, in, seen);
        seen |= (uint64_t)1 << p.id;
    }
    if (err != BM_ERR_NOT_FOUND) {
        r->failed = true;
        fault = fault != NULL ? fault : "is unknown or malformed";
        (void)bm_fail(
            msg, BM_ERR_PROTO, "property 0x%02x %s", err == BM_OK ? p.id : rd_u8(&list), fault);
    }
    return s;
}

/* ---- framing ---- */

static bool
header_valid(uint8_t first)
{
    uint8_t flags = first & 0x0f;
    uint8_t qos = flags >> 1 & 3;

    switch (first >> 4) {
    case 0:
        return false;
    case MQTT_PUBLISH: /* 3.3.1: qos 3 does not exist, a QoS 0 message is never a duplicate */
        return qos != 3 && (qos != 0 || (flags & 8) == 0);
    case MQTT_PUBREL:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return flags == 2; /* table 2.2 */
    }
    return flags == 0;
}

static bool
has_no_body(uint8_t first)
{
    return first >> 4 == MQTT_PINGREQ || first >> 4 == MQTT_PINGRESP;
}

enum bm_err
mqtt_next(struct rd *in, uint32_t max_remaining, struct mqtt_packet *out)
{
    struct rd r = *in;
    struct rd start = *in;
    uint32_t len = 0;
    uint8_t first;
    enum bm_err err;

    if (rd_left(&r) == 0) {
        return BM_ERR_MORE;
    }
    first = rd_u8(&r);
    if (!header_valid(first)) {
        return BM_ERR_PROTO;
    }
    err = varint_read(&r, &len);
    if (err != BM_OK) {
        return err;
    }
    if (len > max_remaining || (len > 0 && has_no_body(first))) {
        return BM_ERR_PROTO;
    }
    if (rd_left(&r) < len) {
        return BM_ERR_MORE;
    }
    out->type = (enum mqtt_type)(first >> 4);
    out->flags = first & 0x0f;
    out->body = rd_span(&r, len);
    out->whole = rd_span(&start, rd_left(&start) - rd_left(&r));
    *in = r;
    return BM_OK;
}

/* ---- CONNECT, 3.1 ---- */

static enum bm_err
connect_flags(uint8_t flags, struct mqtt_connect *c, struct bm_msg *msg)
{
    c->clean = (flags & MQTT_CONNECT_CLEAN) != 0;
    c->has_will = (flags & MQTT_CONNECT_WILL) != 0;
    c->will_qos = flags >> 3 & 3;
    c->will_retain = (flags & MQTT_CONNECT_WILL_RETAIN) != 0;
    c->has_username = (flags & MQTT_CONNECT_USERNAME) != 0;
    if ((flags & MQTT_CONNECT_RESERVED) != 0) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT flags 0x%02x: bit 0 is reserved", flags);
    }
    if (c->will_qos == 3 || (!c->has_will && (c->will_qos != 0 || c->will_retain))) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT flags 0x%02x: will bits contradict", flags);
    }
    if (c->level == 4 && !c->has_username && (flags & MQTT_CONNECT_PASSWORD) != 0) {
        return bm_fail(
            msg, BM_ERR_PROTO, "CONNECT flags 0x%02x: password without user name", flags);
    }
    return BM_OK;
}

static void
connect_will(struct rd *r, struct mqtt_connect *c, struct bm_msg *why)
{
    if (c->level == 5) {
        c->will_properties = properties_read(r, IN_WILL, why);
    }
    c->will_topic = string_read(r);
    c->will_payload = binary_read(r);
}

/* Payload in its fixed order, 3.1.3. Returns the last field tried; `why`: what is wrong in it. */
static const char *
connect_payload(struct rd *r, uint8_t flags, struct mqtt_connect *c, struct bm_msg *why)
{
    if (c->level == 5) {
        c->properties = properties_read(r, IN_CONNECT, why);
        if (r->failed) {
            return "properties";
        }
    }
    c->client_id = string_read(r);
    if (r->failed) {
        return "client id";
    }
    if (c->has_will) {
        connect_will(r, c, why);
        if (r->failed) {
            return "will";
        }
    }
    if (c->has_username) {
        c->username = string_read(r);
        if (r->failed) {
            return "user name";
        }
    }
    if ((flags & MQTT_CONNECT_PASSWORD) != 0) {
        (void)binary_read(r);
    }
    return "password or what follows it";
}

enum bm_err
mqtt_parse_connect(const struct mqtt_packet *p, struct mqtt_connect *out, struct bm_msg *msg)
{
    struct rd r = rd_of(p->body);
    struct mqtt_connect c = { 0 };
    struct bm_msg why = { "malformed" };
    const char *field;
    struct span name;
    uint8_t flags;
    enum bm_err err;

    if (p->type != MQTT_CONNECT) {
        return bm_fail(msg, BM_ERR_PROTO, "first packet has type %u, want CONNECT", p->type);
    }
    name = binary_read(&r);
    c.level = rd_u8(&r);
    if (r.failed || !span_eq(name, span_str("MQTT")) || (c.level != 4 && c.level != 5)) {
        return bm_fail(
            msg, BM_ERR_PROTO, "CONNECT: protocol name or level %u is not MQTT 4 or 5", c.level);
    }
    out->level = c.level;
    flags = rd_u8(&r);
    err = connect_flags(flags, &c, msg);
    if (err != BM_OK) {
        return err;
    }
    c.keep_alive_s = rd_u16(&r);
    field = connect_payload(&r, flags, &c, &why);
    if (!rd_done(&r)) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT: %s: %s", field, why.text);
    }
    *out = c;
    return BM_OK;
}

/* ---- the others ---- */

enum bm_err
mqtt_parse_connack(const struct mqtt_packet *p, uint8_t level, struct mqtt_connack *out)
{
    struct rd r = rd_of(p->body);
    struct mqtt_connack a = { 0 };
    uint8_t flags = rd_u8(&r);

    a.session_present = (flags & 1) != 0;
    a.code = rd_u8(&r);
    if (level == 5) {
        a.properties = properties_read(&r, IN_CONNACK, NULL);
    }
    if (p->type != MQTT_CONNACK || !rd_done(&r) || flags > 1) {
        return BM_ERR_PROTO;
    }
    *out = a;
    return BM_OK;
}

/* What the endpoint has to know of them. */
static void
note_publish(struct mqtt_publish *m)
{
    struct rd list = rd_of(m->properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_TOPIC_ALIAS) {
            m->topic_alias = (uint16_t)p.number;
        }
        m->has_subscription_id = m->has_subscription_id || p.id == MQTT_PROP_SUBSCRIPTION_ID;
    }
}

enum bm_err
mqtt_parse_publish(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_publish *out, struct bm_msg *msg)
{
    struct rd r = rd_of(p->body);
    struct mqtt_publish m = { 0 };
    struct bm_msg why = { "" };

    m.qos = p->flags >> 1 & 3;
    m.retain = (p->flags & 1) != 0;
    m.dup = (p->flags & 8) != 0;
    m.topic = string_read(&r);
    m.packet_id = m.qos > 0 ? rd_u16(&r) : 0;
    if (p->type != MQTT_PUBLISH || r.failed || (m.qos > 0 && m.packet_id == 0)) {
        return bm_fail(msg, BM_ERR_PROTO, "PUBLISH: topic or packet id is malformed");
    }
    if (level == 5) {
        m.properties = properties_read(&r, IN_PUBLISH, &why);
        if (r.failed) {
            return bm_fail(msg, BM_ERR_PROTO, "PUBLISH: %s", why.text);
        }
        note_publish(&m);
    }
    if (m.topic.len == 0 && m.topic_alias == 0) {
        return bm_fail(msg, BM_ERR_PROTO, "PUBLISH: empty topic");
    }
    m.payload = rd_rest(&r);
    *out = m;
    return BM_OK;
}

/* 3.8.3, 5.0 3.8.3.1 */
static bool
options_valid(uint8_t options, uint8_t level)
{
    if ((options & 3) == 3) {
        return false;
    }
    return level == 4 ? (options & 0xfc) == 0 : (options & 0xc0) == 0 && (options >> 4 & 3) != 3;
}

enum bm_err
mqtt_parse_subscribe(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_subscribe *out, struct bm_msg *msg)
{
    struct rd r = rd_of(p->body);
    const char *name = p->type == MQTT_SUBSCRIBE ? "SUBSCRIBE" : "UNSUBSCRIBE";
    struct mqtt_subscribe s = { 0 };
    struct bm_msg why = { "packet id" };

    s.packet_id = rd_u16(&r);
    if (level == 5 && !r.failed) {
        s.properties = properties_read(&r, 1u << p->type, &why);
    }
    if ((p->type != MQTT_SUBSCRIBE && p->type != MQTT_UNSUBSCRIBE) || r.failed ||
        s.packet_id == 0) {
        return bm_fail(msg, BM_ERR_PROTO, "%s: %s", name, why.text);
    }
    if (rd_left(&r) == 0) {
        return bm_fail(msg, BM_ERR_PROTO, "%s: there is no filter", name);
    }
    while (rd_left(&r) > 0) {
        struct span filter;
        uint8_t options;

        if (s.count == MQTT_FILTERS_MAX) {
            return bm_fail(msg, BM_ERR_LIMIT,
                "%s: more than %d filters in one packet; send several", name, MQTT_FILTERS_MAX);
        }
        filter = string_read(&r);
        options = p->type == MQTT_SUBSCRIBE ? rd_u8(&r) : 0;
        if (r.failed || !options_valid(options, level)) {
            return bm_fail(msg, BM_ERR_PROTO, "%s: filter %zu is malformed", name, s.count + 1);
        }
        s.filters[s.count].filter = filter;
        s.filters[s.count].options = options;
        s.filters[s.count].qos = options & 3;
        s.count++;
    }
    *out = s;
    return BM_OK;
}

enum bm_err
mqtt_parse_suback(const struct mqtt_packet *p, uint8_t level, struct mqtt_suback *out)
{
    struct rd r = rd_of(p->body);
    struct mqtt_suback a = { 0 };

    a.packet_id = rd_u16(&r);
    if (level == 5) {
        a.properties = properties_read(&r, 1u << p->type, NULL);
    }
    a.codes = rd_rest(&r);
    if ((p->type != MQTT_SUBACK && p->type != MQTT_UNSUBACK) || r.failed || a.codes.len == 0 || a.codes.len > MQTT_FILTERS_MAX) {
        return BM_ERR_PROTO;
    }
    *out = a;
    return BM_OK;
}

enum bm_err
mqtt_parse_disconnect(const struct mqtt_packet *p, uint8_t level, struct mqtt_disconnect *out)
{
    struct rd r = rd_of(p->body);
    struct mqtt_disconnect d = { 0 };

    if (level == 5 && rd_left(&r) > 0) {
        d.reason = rd_u8(&r);
    }
    if (level == 5 && rd_left(&r) > 0) {
        d.properties = properties_read(&r, IN_DISCONNECT, NULL);
    }
    if (p->type != MQTT_DISCONNECT || !rd_done(&r)) {
        return BM_ERR_PROTO;
    }
    *out = d;
    return BM_OK;
}

enum bm_err
mqtt_parse_puback(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_puback *out, struct bm_msg *msg)
{
    struct rd r = rd_of(p->body);
    struct mqtt_puback a = { .packet_id = rd_u16(&r) };
    struct bm_msg why = { "packet id, or what follows it" };

    if (level == 5 && rd_left(&r) > 0) {
        a.reason = rd_u8(&r);
    }
    if (level == 5 && rd_left(&r) > 0) {
        a.properties = properties_read(&r, 1u << MQTT_PUBACK, &why);
    }
    if (p->type != MQTT_PUBACK || !rd_done(&r) || a.packet_id == 0) {
        return bm_fail(msg, BM_ERR_PROTO, "PUBACK: %s", why.text);
    }
    *out = a;
    return BM_OK;
}

void
mqtt_bound_expiry(uint8_t *properties, size_t len)
{
    struct rd list = rd_of(span_of(properties, len));
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id == MQTT_PROP_MESSAGE_EXPIRY) {
            uint32_t v = p.number == 0                  ? 1
                         : p.number > MQTT_EXPIRY_MAX_S ? MQTT_EXPIRY_MAX_S
                                                        : p.number;
            struct wr at = wr_of(properties + (p.whole.ptr - properties) + 1, 4);

            wr_u32(&at, v);
        }
    }
}
