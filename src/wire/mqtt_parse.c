/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of mqtt.h: packets off a stream of bytes, and their fields. Section numbers are those
 * of OASIS MQTT 3.1.1; the level 5 parts name theirs.
 */
#include "wire/mqtt.h"

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

bool
mqtt_string_valid(struct span s)
{
    struct rd r = rd_of(s);

    while (rd_left(&r) > 0) {
        uint8_t b = rd_u8(&r);
        unsigned more = b < 0x80 ? 0 : (b & 0xe0) == 0xc0 ? 1 : (b & 0xf0) == 0xe0 ? 2 : 3;
        static const uint32_t least[] = { 1, 0x80, 0x800, 0x10000 };
        uint32_t v = more == 0 ? b : b & (0x3fu >> more);

        if ((b & 0xc0) == 0x80 || b >= 0xf8) {
            return false;
        }
        for (unsigned i = 0; i < more; i++) {
            uint8_t next = rd_u8(&r);

            if ((next & 0xc0) != 0x80) {
                return false;
            }
            v = v << 6 | (next & 0x3f);
        }
        if (v < least[more] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) {
            return false;
        }
    }
    return true;
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

static enum property_type
property_type(uint8_t id)
{
    static const uint8_t types[] = {
        [0x01] = PROP_U8,
        [0x02] = PROP_U32,
        [0x03] = PROP_TEXT,
        [0x08] = PROP_TEXT,
        [0x09] = PROP_BIN,
        [MQTT_PROP_SUBSCRIPTION_ID] = PROP_VAR,
        [0x11] = PROP_U32,
        [MQTT_PROP_ASSIGNED_CLIENT_ID] = PROP_TEXT,
        [MQTT_PROP_SERVER_KEEP_ALIVE] = PROP_U16,
        [MQTT_PROP_AUTH_METHOD] = PROP_TEXT,
        [0x16] = PROP_BIN,
        [0x17] = PROP_U8,
        [0x18] = PROP_U32,
        [0x19] = PROP_U8,
        [0x1a] = PROP_TEXT,
        [0x1c] = PROP_TEXT,
        [0x1f] = PROP_TEXT,
        [0x21] = PROP_U16,
        [MQTT_PROP_TOPIC_ALIAS_MAX] = PROP_U16,
        [MQTT_PROP_TOPIC_ALIAS] = PROP_U16,
        [MQTT_PROP_MAXIMUM_QOS] = PROP_U8,
        [0x25] = PROP_U8,
        [0x26] = PROP_PAIR,
        [MQTT_PROP_MAXIMUM_PACKET] = PROP_U32,
        [0x28] = PROP_U8,
        [MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE] = PROP_U8,
        [0x2a] = PROP_U8,
    };

    return id < sizeof types ? (enum property_type)types[id] : PROP_NONE;
}

static bool
property_value(struct rd *r, struct mqtt_property *p)
{
    switch (property_type(p->id)) {
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

/* Take a property list, length first, and check that every property in it can be read. */
static struct span
properties_read(struct rd *r)
{
    uint32_t len = 0;
    struct span s;
    struct rd list;
    struct mqtt_property p;
    enum bm_err err;

    if (short_varint_read(r, &len) != BM_OK) {
        r->failed = true;
        return span_of(NULL, 0);
    }
    s = rd_span(r, len);
    list = rd_of(s);
    do {
        err = mqtt_next_property(&list, &p);
    } while (err == BM_OK);
    if (err != BM_ERR_NOT_FOUND) {
        r->failed = true;
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
    if (len > max_remaining) {
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
connect_will(struct rd *r, struct mqtt_connect *c)
{
    if (c->level == 5) {
        c->will_properties = properties_read(r);
    }
    c->will_topic = string_read(r);
    c->will_payload = binary_read(r);
}

/* Payload in its fixed order, 3.1.3. `field` is the last one tried, for the message. */
static const char *
connect_payload(struct rd *r, uint8_t flags, struct mqtt_connect *c)
{
    if (c->level == 5) {
        c->properties = properties_read(r);
        if (r->failed) {
            return "properties";
        }
    }
    c->client_id = string_read(r);
    if (r->failed) {
        return "client id";
    }
    if (c->has_will) {
        connect_will(r, c);
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
    flags = rd_u8(&r);
    err = connect_flags(flags, &c, msg);
    if (err != BM_OK) {
        return err;
    }
    c.keep_alive_s = rd_u16(&r);
    field = connect_payload(&r, flags, &c);
    if (!rd_done(&r)) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT: %s is malformed", field);
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
        a.properties = properties_read(&r);
    }
    if (p->type != MQTT_CONNACK || !rd_done(&r) || flags > 1) {
        return BM_ERR_PROTO;
    }
    *out = a;
    return BM_OK;
}

/* 5.0, 3.3.2.3.4: an alias is not 0 and stands once. */
static bool
publish_alias(struct span properties, uint16_t *alias)
{
    struct rd list = rd_of(properties);
    struct mqtt_property p;

    while (mqtt_next_property(&list, &p) == BM_OK) {
        if (p.id != MQTT_PROP_TOPIC_ALIAS) {
            continue;
        }
        if (p.number == 0 || *alias != 0) {
            return false;
        }
        *alias = (uint16_t)p.number;
    }
    return true;
}

enum bm_err
mqtt_parse_publish(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_publish *out, struct bm_msg *msg)
{
    struct rd r = rd_of(p->body);
    struct mqtt_publish m = { 0 };

    m.qos = p->flags >> 1 & 3;
    m.retain = (p->flags & 1) != 0;
    m.dup = (p->flags & 8) != 0;
    m.topic = string_read(&r);
    m.packet_id = m.qos > 0 ? rd_u16(&r) : 0;
    if (p->type != MQTT_PUBLISH || r.failed || (m.qos > 0 && m.packet_id == 0)) {
        return bm_fail(msg, BM_ERR_PROTO, "PUBLISH: topic or packet id is malformed");
    }
    if (level == 5) {
        m.properties = properties_read(&r);
        if (r.failed || !publish_alias(m.properties, &m.topic_alias)) {
            return bm_fail(msg, BM_ERR_PROTO, "PUBLISH: properties are malformed");
        }
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
    struct mqtt_subscribe s = { 0 };

    s.packet_id = rd_u16(&r);
    if (level == 5) {
        s.properties = properties_read(&r);
    }
    if ((p->type != MQTT_SUBSCRIBE && p->type != MQTT_UNSUBSCRIBE) || r.failed ||
        s.packet_id == 0 || rd_left(&r) == 0) {
        return bm_fail(msg, BM_ERR_PROTO,
            "SUBSCRIBE: packet id or properties are malformed, or there is no filter");
    }
    while (rd_left(&r) > 0) {
        struct span filter;
        uint8_t options;

        if (s.count == MQTT_FILTERS_MAX) {
            return bm_fail(msg, BM_ERR_LIMIT,
                "SUBSCRIBE: more than %d filters in one packet; send several", MQTT_FILTERS_MAX);
        }
        filter = string_read(&r);
        options = p->type == MQTT_SUBSCRIBE ? rd_u8(&r) : 0;
        if (r.failed || !options_valid(options, level)) {
            return bm_fail(msg, BM_ERR_PROTO, "SUBSCRIBE: filter %zu is malformed", s.count + 1);
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
        a.properties = properties_read(&r);
    }
    a.codes = rd_rest(&r);
    if (p->type != MQTT_SUBACK || r.failed || a.codes.len == 0 || a.codes.len > MQTT_FILTERS_MAX) {
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
        d.properties = properties_read(&r);
    }
    if (p->type != MQTT_DISCONNECT || !rd_done(&r)) {
        return BM_ERR_PROTO;
    }
    *out = d;
    return BM_OK;
}
