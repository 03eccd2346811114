/* SPDX-License-Identifier: Apache-2.0 */
/* Every MQTT parser on one stream of packets, at both levels; what parses must build again. */
#include "wire/mqtt.h"
#include "wire/topic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_packet(const struct mqtt_packet *p, uint8_t level)
{
    struct mqtt_connect c;
    struct mqtt_publish m;
    struct mqtt_subscribe s;
    struct mqtt_suback a;
    struct mqtt_connack k;
    struct mqtt_disconnect d;
    struct mqtt_puback b;
    struct buf out = { 0 };
    struct bm_msg msg;

    if (mqtt_parse_connect(p, &c, &msg) == BM_OK &&
        mqtt_build_connect(&out, &c, span_of(NULL, 0), c.keep_alive_s) != BM_OK) {
        abort();
    }
    if (mqtt_parse_publish(p, level, &m, &msg) == BM_OK) {
        (void)mqtt_match(span_str("a/+/#"), m.topic);
        (void)mqtt_topic_valid(m.topic);
        out.len = 0;
        mqtt_build_publish(&out, level, &m);
        if (level == 5 && out.len >= m.properties.len + m.payload.len) {
            mqtt_bound_expiry(
                out.ptr + out.len - m.payload.len - m.properties.len, m.properties.len);
        }
        struct rd r = rd_of(buf_span(&out));
        struct mqtt_packet again;
        if (mqtt_next(&r, MQTT_REMAINING_MAX, &again) != BM_OK || again.body.len != p->body.len) {
            abort();
        }
    }
    if (mqtt_parse_subscribe(p, level, &s, &msg) == BM_OK) {
        for (size_t i = 0; i < s.count; i++) {
            (void)(mqtt_filter_valid(s.filters[i].filter) &&
                   mqtt_match(s.filters[i].filter, span_str("$aws/x/y")));
        }
        mqtt_build_subscribe(&out, p->type, level, &s);
    }
    (void)mqtt_parse_puback(p, level, &b, &msg);
    (void)mqtt_parse_suback(p, level, &a);
    (void)mqtt_parse_connack(p, level, &k);
    (void)mqtt_parse_disconnect(p, level, &d);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_of(span_of(data, size));
    struct mqtt_packet p;

    while (mqtt_next(&r, MQTT_REMAINING_MAX, &p) == BM_OK) {
        try_packet(&p, 4);
        try_packet(&p, 5);
    }
    return 0;
}
