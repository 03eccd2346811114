/* SPDX-License-Identifier: Apache-2.0 */
/* See topic.h. */
#include "wire/topic.h"

#include <string.h>

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

static bool
has_byte(struct span s, uint8_t byte)
{
    return s.len > 0 && memchr(s.ptr, byte, s.len) != NULL;
}

bool
mqtt_has_wildcard(struct span s)
{
    return has_byte(s, '+') || has_byte(s, '#');
}

bool
mqtt_topic_valid(struct span topic)
{
    return topic.len >= 1 && topic.len <= MQTT_TOPIC_MAX && !mqtt_has_wildcard(topic) &&
           mqtt_string_valid(topic);
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

    if (filter.len < 1 || filter.len > MQTT_TOPIC_MAX || !mqtt_string_valid(filter)) {
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
mqtt_share_valid(struct span filter)
{
    struct span plain = mqtt_plain_filter(filter);
    struct span name = span_of(filter.ptr, filter.len - plain.len);

    return name.len == 0 || (name.len > sizeof "$share//" - 1 && !mqtt_has_wildcard(name));
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
