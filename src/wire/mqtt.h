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
    MQTT_TOPIC_MAX = 256,
    MQTT_CLIENT_ID_MAX = 128,
    MQTT_FILTERS_MAX = 8,      /* per SUBSCRIBE, SPEC 6.4 */
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
};
/* BM_ERR_PROTO: not a CONNECT of level 4 or 5 in good order; `msg` names the field. */
enum bm_err mqtt_parse_connect(const struct mqtt_packet *p, struct mqtt_connect *out, struct bm_msg *msg);

/*
 * The CONNECT that goes to the broker: as parsed, with keep_alive_s replaced, user name and password left out
 * and, when `client_id` is not empty, that client id. Appends to `out`.
 */
enum bm_err mqtt_build_connect(struct buf *out, const struct mqtt_connect *c, struct span client_id, uint16_t keep_alive_s);

struct mqtt_publish {
    uint8_t qos;
    bool retain;
    bool dup;
    struct span topic; /* may be empty at level 5 with a topic alias */
    uint16_t packet_id; /* 0 at QoS 0 */
    uint16_t topic_alias; /* level 5, 0 = none */
    struct span properties;
    struct span payload;
};
enum bm_err mqtt_parse_publish(const struct mqtt_packet *p, uint8_t level, struct mqtt_publish *out, struct bm_msg *msg);

struct mqtt_subscribe {
    uint16_t packet_id;
    size_t count; /* 1..MQTT_FILTERS_MAX */
    struct {
        struct span filter;
        uint8_t qos; /* requested, 0..2 */
    } filters[MQTT_FILTERS_MAX];
};
/* BM_ERR_LIMIT: more than MQTT_FILTERS_MAX filters. */
enum bm_err mqtt_parse_subscribe(const struct mqtt_packet *p, uint8_t level, struct mqtt_subscribe *out, struct bm_msg *msg);

/* Session-present flag and return/reason code of a CONNACK. */
enum bm_err mqtt_parse_connack(const struct mqtt_packet *p, bool *session_present, uint8_t *code);

void mqtt_build_connack(struct buf *out, uint8_t level, bool session_present, uint8_t code);
void mqtt_build_puback(struct buf *out, uint8_t level, uint16_t packet_id, uint8_t reason);
void mqtt_build_disconnect(struct buf *out, uint8_t level, uint8_t reason); /* level 4: empty body */
void mqtt_build_publish(struct buf *out, uint8_t level, const struct mqtt_publish *pub);

/* Topic names and filters, OASIS 3.1.1 4.7: wildcards placed correctly, 1..MQTT_TOPIC_MAX bytes, UTF-8. */
bool mqtt_topic_valid(struct span topic);
bool mqtt_filter_valid(struct span filter);

/*
 * Does the filter match the topic? As AWS does it (SPEC aws-iot 6.4): `x/#` does not match `x`, and a wildcard
 * at the first level does not match a topic that begins with `$`.
 */
bool mqtt_match(struct span filter, struct span topic);

#endif
