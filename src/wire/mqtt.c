/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mqtt.h. Section numbers are those of OASIS MQTT 3.1.1; the level 5 parts name theirs.
 *
 * Builders reserve the whole packet before they write, so a packet is in the buffer whole or not at
 * all (`failed` then says so).
 */
#include "wire/mqtt.h"

#include <string.h>

enum { VARINT_BYTES_MAX = 4, VARINT_MAX = 268435455 };

/* ---- integers, strings, properties ---- */

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

static size_t
varint_len(uint32_t v)
{
    return v < 128 ? 1 : v < 16384 ? 2 : v < 2097152 ? 3 : 4;
}

/* 5.0, 1.5.5: the shortest form. Only level 5 says so, hence not in the fixed header. */
static enum bm_err
short_varint_read(struct rd *r, uint32_t *out)
{
    size_t before = rd_left(r);
    enum bm_err err = varint_read(r, out);

    return err == BM_OK && before - rd_left(r) != varint_len(*out) ? BM_ERR_PROTO : err;
}

static void
put_u8(struct buf *out, uint8_t v)
{
    buf_add(out, &v, 1);
}

static void
put_u16(struct buf *out, uint16_t v)
{
    put_u8(out, (uint8_t)(v >> 8));
    put_u8(out, (uint8_t)v);
}

static void
put_span(struct buf *out, struct span s)
{
    buf_add(out, s.ptr, s.len);
}

static void
put_varint(struct buf *out, size_t v)
{
    do {
        uint8_t b = v & 0x7f;

        v >>= 7;
        put_u8(out, v != 0 ? b | 0x80 : b);
    } while (v != 0);
}

static void
put_string(struct buf *out, struct span s)
{
    put_u16(out, (uint16_t)s.len);
    put_span(out, s);
}

static void
put_properties(struct buf *out, struct span properties)
{
    put_varint(out, properties.len);
    put_span(out, properties);
}

static size_t
properties_len(uint8_t level, struct span properties)
{
    return level == 5 ? varint_len((uint32_t)properties.len) + properties.len : 0;
}

/* Fixed header of a packet whose body has `len` bytes; false when there is no room for all of it.
 */
static bool
put_header(struct buf *out, enum mqtt_type type, uint8_t flags, size_t len)
{
    if (len > VARINT_MAX || buf_reserve(out, 1 + VARINT_BYTES_MAX + len) == NULL) {
        out->failed = true;
        return false;
    }
    put_u8(out, (uint8_t)((unsigned)type << 4 | flags));
    put_varint(out, len);
    return true;
}

/* Well-formed UTF-8 without U+0000 and surrogates, 1.5.3. */
static bool
utf8_valid(struct span s)
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

    if (!utf8_valid(s)) {
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

enum {
    CONNECT_RESERVED = 0x01,
    CONNECT_CLEAN = 0x02,
    CONNECT_WILL = 0x04,
    CONNECT_WILL_RETAIN = 0x20,
    CONNECT_PASSWORD = 0x40,
    CONNECT_USERNAME = 0x80,
};

static enum bm_err
connect_flags(uint8_t flags, struct mqtt_connect *c, struct bm_msg *msg)
{
    c->clean = (flags & CONNECT_CLEAN) != 0;
    c->has_will = (flags & CONNECT_WILL) != 0;
    c->will_qos = flags >> 3 & 3;
    c->will_retain = (flags & CONNECT_WILL_RETAIN) != 0;
    c->has_username = (flags & CONNECT_USERNAME) != 0;
    if ((flags & CONNECT_RESERVED) != 0) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT flags 0x%02x: bit 0 is reserved", flags);
    }
    if (c->will_qos == 3 || (!c->has_will && (c->will_qos != 0 || c->will_retain))) {
        return bm_fail(msg, BM_ERR_PROTO, "CONNECT flags 0x%02x: will bits contradict", flags);
    }
    if (c->level == 4 && !c->has_username && (flags & CONNECT_PASSWORD) != 0) {
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
    if ((flags & CONNECT_PASSWORD) != 0) {
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

static size_t
connect_len(const struct mqtt_connect *c, struct span client_id)
{
    size_t len = 10 + properties_len(c->level, c->properties) + 2 + client_id.len;

    if (c->has_will) {
        len += properties_len(c->level, c->will_properties) + 4 + c->will_topic.len +
               c->will_payload.len;
    }
    len += c->has_username ? 2 + c->username.len : 0;
    len += c->has_password ? 2 + c->password.len : 0;
    return len;
}

enum bm_err
mqtt_build_connect(
    struct buf *out, const struct mqtt_connect *c, struct span client_id, uint16_t keep_alive_s)
{
    struct span id = client_id.len > 0 ? client_id : c->client_id;
    unsigned flags = (c->clean ? CONNECT_CLEAN : 0);

    if (c->has_will) {
        flags |= CONNECT_WILL | (unsigned)c->will_qos << 3;
        flags |= c->will_retain ? CONNECT_WILL_RETAIN : 0;
    }
    flags |= (c->has_username ? CONNECT_USERNAME : 0) | (c->has_password ? CONNECT_PASSWORD : 0);
    if (!put_header(out, MQTT_CONNECT, 0, connect_len(c, id))) {
        return BM_ERR_MEM;
    }
    put_string(out, span_str("MQTT"));
    put_u8(out, c->level);
    put_u8(out, (uint8_t)flags);
    put_u16(out, keep_alive_s);
    if (c->level == 5) {
        put_properties(out, c->properties);
    }
    put_string(out, id);
    if (c->has_will) {
        if (c->level == 5) {
            put_properties(out, c->will_properties);
        }
        put_string(out, c->will_topic);
        put_string(out, c->will_payload);
    }
    if (c->has_username) {
        put_string(out, c->username);
    }
    if (c->has_password) {
        put_string(out, c->password);
    }
    return BM_OK;
}

/* ---- CONNACK, 3.2 ---- */

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

void
mqtt_build_connack(struct buf *out, uint8_t level, const struct mqtt_connack *ack)
{
    if (!put_header(out, MQTT_CONNACK, 0, 2 + properties_len(level, ack->properties))) {
        return;
    }
    put_u8(out, ack->session_present ? 1 : 0);
    put_u8(out, ack->code);
    if (level == 5) {
        put_properties(out, ack->properties);
    }
}

/* ---- PUBLISH, 3.3 ---- */

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

void
mqtt_build_publish(struct buf *out, uint8_t level, const struct mqtt_publish *pub)
{
    size_t len = 2 + pub->topic.len + (pub->qos > 0 ? 2 : 0) +
                 properties_len(level, pub->properties) + pub->payload.len;
    unsigned flags = (pub->dup ? 8u : 0) | (unsigned)pub->qos << 1 | (pub->retain ? 1u : 0);

    if (!put_header(out, MQTT_PUBLISH, (uint8_t)flags, len)) {
        return;
    }
    put_string(out, pub->topic);
    if (pub->qos > 0) {
        put_u16(out, pub->packet_id);
    }
    if (level == 5) {
        put_properties(out, pub->properties);
    }
    put_span(out, pub->payload);
}

void
mqtt_build_puback(
    struct buf *out, uint8_t level, uint16_t packet_id, uint8_t reason, struct span properties)
{
    bool with_reason = level == 5 && reason != 0; /* 5.0, 3.4.2.1: 2 bytes mean success */
    size_t len = with_reason && properties.len > 0 ? properties_len(level, properties) : 0;

    if (!put_header(out, MQTT_PUBACK, 0, (with_reason ? 3 : 2) + len)) {
        return;
    }
    put_u16(out, packet_id);
    if (with_reason) {
        put_u8(out, reason);
    }
    if (len > 0) {
        put_properties(out, properties);
    }
}

void
mqtt_build_disconnect(struct buf *out, uint8_t level, uint8_t reason, struct span properties)
{
    size_t len = properties.len > 0 ? properties_len(level, properties) : 0;

    if (!put_header(out, MQTT_DISCONNECT, 0, level == 5 ? 1 + len : 0) || level != 5) {
        return;
    }
    put_u8(out, reason);
    if (len > 0) {
        put_properties(out, properties);
    }
}

/* ---- SUBSCRIBE and UNSUBSCRIBE, 3.8, 3.10 ---- */

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

void
mqtt_build_subscribe(
    struct buf *out, enum mqtt_type type, uint8_t level, const struct mqtt_subscribe *s)
{
    size_t len = 2 + properties_len(level, s->properties);

    for (size_t i = 0; i < s->count; i++) {
        len += 2 + s->filters[i].filter.len + (type == MQTT_SUBSCRIBE ? 1 : 0);
    }
    if (!put_header(out, type, 2, len)) {
        return;
    }
    put_u16(out, s->packet_id);
    if (level == 5) {
        put_properties(out, s->properties);
    }
    for (size_t i = 0; i < s->count; i++) {
        put_string(out, s->filters[i].filter);
        if (type == MQTT_SUBSCRIBE) {
            put_u8(out, s->filters[i].options);
        }
    }
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

void
mqtt_build_suback(struct buf *out, uint8_t level, const struct mqtt_suback *ack)
{
    size_t len = 2 + properties_len(level, ack->properties) + ack->codes.len;

    if (!put_header(out, MQTT_SUBACK, 0, len)) {
        return;
    }
    put_u16(out, ack->packet_id);
    if (level == 5) {
        put_properties(out, ack->properties);
    }
    put_span(out, ack->codes);
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

/* ---- topics, 4.7 ---- */

static bool
has_byte(struct span s, uint8_t byte)
{
    return s.len > 0 && memchr(s.ptr, byte, s.len) != NULL;
}

bool
mqtt_topic_valid(struct span topic)
{
    return topic.len >= 1 && topic.len <= MQTT_TOPIC_MAX && !has_byte(topic, '+') &&
           !has_byte(topic, '#') && utf8_valid(topic);
}

/* Take the bytes up to the next `/`, which is taken too; *last says that there was none. */
static struct span
level_read(struct rd *r, bool *last)
{
    struct rd scan = *r;
    struct span level;
    size_t len = 0;

    *last = true;
    while (rd_left(&scan) > 0) {
        if (rd_u8(&scan) == '/') {
            *last = false;
            break;
        }
        len++;
    }
    level = rd_span(r, len);
    if (!*last) {
        (void)rd_u8(r);
    }
    return level;
}

bool
mqtt_filter_valid(struct span filter)
{
    struct rd r = rd_of(filter);
    bool last = false;

    if (filter.len < 1 || filter.len > MQTT_TOPIC_MAX || !utf8_valid(filter)) {
        return false;
    }
    while (!last) {
        struct span l = level_read(&r, &last);

        if (has_byte(l, '#') && (l.len != 1 || !last)) {
            return false;
        }
        if (has_byte(l, '+') && l.len != 1) {
            return false;
        }
    }
    return true;
}

static bool
level_is(struct span l, char wildcard)
{
    return l.len == 1 && l.ptr[0] == (uint8_t)wildcard;
}

struct span
mqtt_plain_filter(struct span filter)
{
    struct rd r = rd_of(filter);
    size_t slashes = 0;

    if (filter.len < 7 || memcmp(filter.ptr, "$share/", 7) != 0)
        return filter;
    while (rd_left(&r) > 0 && slashes < 2)
        slashes += rd_u8(&r) == '/';
    return rd_rest(&r);
}

bool
mqtt_match(struct span filter, struct span topic)
{
    struct rd f = rd_of(filter);
    struct rd t = rd_of(topic);
    bool filter_last = false;
    bool topic_last = false;

    if (filter.len == 0 || topic.len == 0) {
        return false;
    }
    if (topic.ptr[0] == '$' && (filter.ptr[0] == '+' || filter.ptr[0] == '#')) {
        return false; /* 4.7.2 */
    }
    for (;;) {
        struct span fl = level_read(&f, &filter_last);
        struct span tl = level_read(&t, &topic_last);

        if (level_is(fl, '#')) {
            return true;
        }
        if (!level_is(fl, '+') && !span_eq(fl, tl)) {
            return false;
        }
        if (filter_last || topic_last) {
            return filter_last && topic_last;
        }
    }
}
