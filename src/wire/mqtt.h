/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT 3.1.1 and 5 packets as the endpoint needs them: framing of every packet, the fields of those
 * it decides on, and the few it sends itself. OASIS MQTT 3.1.1 and 5.0; limits of SPEC aws-iot 6.
 *
 * Pure functions on bytes. Parsed strings are borrowed from the input and are checked UTF-8 without
 * U+0000. Packets are version-aware: level 5 adds properties.
 */
#ifndef BM_WIRE_MQTT_H
#define BM_WIRE_MQTT_H

#include "base/bytes.h"

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
};

enum {
    MQTT_PAYLOAD_MAX = 131072, /* SPEC aws-iot 6.3 */
    MQTT_CLIENT_ID_MAX = 128,
    MQTT_EXPIRY_MAX_S = 604800, /* of a message, SPEC 6.6 */
    MQTT_FILTERS_MAX = 8,                         /* per SUBSCRIBE, SPEC 6.4 */
    MQTT_REMAINING_MAX = MQTT_PAYLOAD_MAX + 4096, /* largest packet body taken from a peer */
};

/* One whole packet; `body` is what follows the fixed header, `whole` the packet as received. */
struct mqtt_packet {
    enum mqtt_type type;
    uint8_t flags; /* low nibble of the first byte */
    struct span body;
    struct span whole;
};

/*
 * Take one packet off the front of `in`. BM_ERR_MORE: not all here yet, `in` unchanged.
 * BM_ERR_PROTO: type 0, a bad length encoding, flags not allowed for the type, or a body above
 * `max_remaining`: close the connection.
 */
enum bm_err mqtt_next(struct rd *in, uint32_t max_remaining, struct mqtt_packet *out);

/* Connect flags, 3.1.2.3; the QoS of the will is bits 3 and 4. */
enum {
    MQTT_CONNECT_RESERVED = 0x01,
    MQTT_CONNECT_CLEAN = 0x02,
    MQTT_CONNECT_WILL = 0x04,
    MQTT_CONNECT_WILL_RETAIN = 0x20,
    MQTT_CONNECT_PASSWORD = 0x40,
    MQTT_CONNECT_USERNAME = 0x80,
};

struct mqtt_connect {
    uint8_t level; /* 4 or 5 */
    bool clean;
    uint16_t keep_alive_s;
    struct span client_id; /* may be empty */
    bool has_will;
    uint8_t will_qos;
    bool will_retain;
    struct span will_topic;
    struct span will_payload;
    struct span will_properties; /* raw, level 5 */
    struct span properties;      /* raw, level 5 */
    bool has_username;
    struct span username; /* AWS SDKs send metrics here; never a reason to refuse */
    bool has_password;    /* never by mqtt_parse_connect: nobody is to see it */
    struct span password;
};
/*
 * BM_ERR_PROTO: not a CONNECT of level 4 or 5 in good order; `msg` names the field. Then only
 * `level` of `out` is set, if that was readable.
 */
enum bm_err mqtt_parse_connect(
    const struct mqtt_packet *p, struct mqtt_connect *out, struct bm_msg *msg);

/*
 * `c` with keep_alive_s replaced and, when `client_id` is not empty, that client id. Appends to
 * `out`.
 */
enum bm_err mqtt_build_connect(
    struct buf *out, const struct mqtt_connect *c, struct span client_id, uint16_t keep_alive_s);

struct mqtt_publish {
    uint8_t qos;
    bool retain;
    bool dup;
    struct span topic;    /* may be empty at level 5 with a topic alias */
    uint16_t packet_id;   /* 0 at QoS 0 */
    uint16_t topic_alias; /* level 5, 0 = none */
    bool has_subscription_id; /* only a server may send one */
    struct span properties;
    struct span payload;
};
enum bm_err mqtt_parse_publish(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_publish *out, struct bm_msg *msg);

/* SUBSCRIBE, and UNSUBSCRIBE with options and qos 0. */
struct mqtt_subscribe {
    uint16_t packet_id;
    struct span properties; /* raw, level 5 */
    size_t count;           /* 1..MQTT_FILTERS_MAX */
    struct {
        struct span filter;
        uint8_t qos;     /* requested, 0..2 */
        uint8_t options; /* the whole byte; its low two bits are qos */
    } filters[MQTT_FILTERS_MAX];
};
/* `p` is a SUBSCRIBE or an UNSUBSCRIBE. BM_ERR_LIMIT: more than MQTT_FILTERS_MAX filters. */
enum bm_err mqtt_parse_subscribe(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_subscribe *out, struct bm_msg *msg);
/* `type` is MQTT_SUBSCRIBE or MQTT_UNSUBSCRIBE. */
void mqtt_build_subscribe(
    struct buf *out, enum mqtt_type type, uint8_t level, const struct mqtt_subscribe *s);

/* SUBACK, and UNSUBACK of level 5: one code for each filter, at most MQTT_FILTERS_MAX. */
struct mqtt_suback {
    uint16_t packet_id;
    struct span properties; /* raw, level 5 */
    struct span codes;
};
enum bm_err mqtt_parse_suback(const struct mqtt_packet *p, uint8_t level, struct mqtt_suback *out);
void mqtt_build_suback(struct buf *out, uint8_t level, const struct mqtt_suback *ack);

/* Level 5 properties the endpoint reads or writes itself. OASIS MQTT 5.0, 2.2.2.2. */
enum mqtt_property_id {
    MQTT_PROP_PAYLOAD_FORMAT = 0x01,
    MQTT_PROP_MESSAGE_EXPIRY = 0x02,
    MQTT_PROP_RESPONSE_TOPIC = 0x08,
    MQTT_PROP_SUBSCRIPTION_ID = 0x0b,
    MQTT_PROP_SESSION_EXPIRY = 0x11,
    MQTT_PROP_ASSIGNED_CLIENT_ID = 0x12,
    MQTT_PROP_SERVER_KEEP_ALIVE = 0x13,
    MQTT_PROP_AUTH_METHOD = 0x15,
    MQTT_PROP_AUTH_DATA = 0x16,
    MQTT_PROP_REQUEST_PROBLEMS = 0x17,
    MQTT_PROP_WILL_DELAY = 0x18,
    MQTT_PROP_REASON_STRING = 0x1f,
    MQTT_PROP_RECEIVE_MAXIMUM = 0x21,
    MQTT_PROP_TOPIC_ALIAS_MAX = 0x22,
    MQTT_PROP_TOPIC_ALIAS = 0x23,
    MQTT_PROP_MAXIMUM_QOS = 0x24,
    MQTT_PROP_USER = 0x26,
    MQTT_PROP_MAXIMUM_PACKET = 0x27,
    MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE = 0x29,
};
struct mqtt_property {
    uint8_t id;
    uint32_t number;   /* of an integer property */
    struct span data;  /* of a string or binary property; the name of a user property */
    struct span whole; /* id and value as they stand */
};
/*
 * Take one property off the front of a property list. BM_ERR_PROTO: an unknown id or a value that
 * is cut short; BM_ERR_NOT_FOUND: the list is at its end.
 */
enum bm_err mqtt_next_property(struct rd *list, struct mqtt_property *out);
/* Append one to a list: an integer of `len` bytes, or a string. */
void mqtt_put_number(struct buf *out, uint8_t id, uint32_t v, size_t len);
void mqtt_put_text(struct buf *out, uint8_t id, struct span text);
/* Bring the Message Expiry Interval, if there is one, to 1..MQTT_EXPIRY_MAX_S. SPEC aws-iot 6.6 */
void mqtt_bound_expiry(uint8_t *properties, size_t len);

/* Session-present flag, return/reason code and, at level 5, raw properties of a CONNACK. */
struct mqtt_connack {
    bool session_present;
    uint8_t code;
    struct span properties;
};
enum bm_err mqtt_parse_connack(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_connack *out);

void mqtt_build_connack(struct buf *out, uint8_t level, const struct mqtt_connack *ack);
/* Level 4 has the packet id alone; level 5 may leave out the rest. */
struct mqtt_puback {
    uint16_t packet_id;
    uint8_t reason;
    struct span properties; /* raw */
};
enum bm_err mqtt_parse_puback(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_puback *out, struct bm_msg *msg);
/* Level 4 has neither; level 5 may leave out both. */
struct mqtt_disconnect {
    uint8_t reason;
    struct span properties; /* raw */
};
enum bm_err mqtt_parse_disconnect(
    const struct mqtt_packet *p, uint8_t level, struct mqtt_disconnect *out);

/* Level 4 has no reason and no properties: the body is empty but for what names the message. */
void mqtt_build_puback(
    struct buf *out, uint8_t level, uint16_t packet_id, uint8_t reason, struct span properties);
void mqtt_build_disconnect(struct buf *out, uint8_t level, uint8_t reason, struct span properties);
void mqtt_build_publish(struct buf *out, uint8_t level, const struct mqtt_publish *pub);

#endif
