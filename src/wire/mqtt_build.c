/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder of mqtt.h. Section numbers are those of OASIS MQTT 3.1.1; the level 5 parts name
 * theirs.
 *
 * Builders reserve the whole packet before they write, so a packet is in the buffer whole or not at
 * all (`failed` then says so).
 */
#include "wire/mqtt.h"

enum { VARINT_BYTES_MAX = 4, VARINT_MAX = 268435455 };

static size_t
varint_len(uint32_t v)
{
    return v < 128 ? 1 : v < 16384 ? 2 : v < 2097152 ? 3 : 4;
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

void
mqtt_put_number(struct buf *out, uint8_t id, uint32_t v, size_t len)
{
    put_u8(out, id);
    for (size_t i = len; i > 0; i--) {
        put_u8(out, (uint8_t)(v >> (8 * (i - 1))));
    }
}

void
mqtt_put_text(struct buf *out, uint8_t id, struct span text)
{
    put_u8(out, id);
    put_string(out, text);
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
    unsigned flags = (c->clean ? MQTT_CONNECT_CLEAN : 0);

    if (c->has_will) {
        flags |= MQTT_CONNECT_WILL | (unsigned)c->will_qos << 3;
        flags |= c->will_retain ? MQTT_CONNECT_WILL_RETAIN : 0;
    }
    flags |= (c->has_username ? MQTT_CONNECT_USERNAME : 0) |
             (c->has_password ? MQTT_CONNECT_PASSWORD : 0);
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
