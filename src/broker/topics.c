/* SPDX-License-Identifier: Apache-2.0 */
/* See topics.h. */
#include "broker/topics.h"

#include <string.h>

const struct topics *
topics_named(const char *name)
{
    static const struct topics all[] = {
        { "nats", 65535 },
        { "rabbitmq", 253 }, /* AMQP: 255 bytes, less the 2 that a filter ending in # may grow by */
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    }
    return NULL;
}

static bool
is_escaped(unsigned byte)
{
    return byte <= ' ' || byte == 0x7f || byte == '.' || byte == '*' || byte == '>' || byte == '%';
}

bool
topics_to_broker(const struct topics *t, struct span plain, struct wr *room, struct span *out)
{
    static const char digits[] = "0123456789ABCDEF";
    const uint8_t *start = room->pos;

    *out = plain;
    if (t == NULL)
        return true;
    wr_bytes(room, span_begins(plain, "$") ? "s/" : "t/", TOPICS_PREFIX);
    for (size_t i = 0; i < plain.len; i++) {
        uint8_t byte = plain.ptr[i];

        if (is_escaped(byte)) {
            wr_u8(room, '%');
            wr_u8(room, (uint8_t)digits[byte >> 4]);
            wr_u8(room, (uint8_t)digits[byte & 15]);
        } else {
            wr_u8(room, byte);
        }
    }
    if (room->failed)
        return false;
    *out = span_of(start, (size_t)(room->pos - start));
    return out->len <= t->max;
}

static int
digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that %XX at `at` stands for; 0: it is nothing of ours, and stands for itself. */
static uint8_t
unescaped(struct span s, size_t at)
{
    int high = s.ptr[at] == '%' && s.len - at > 2 ? digit(s.ptr[at + 1]) : -1;
    int low = high >= 0 ? digit(s.ptr[at + 2]) : -1;
    unsigned byte = low >= 0 ? (unsigned)(high << 4 | low) : 0;

    return byte != 0 && is_escaped(byte) ? (uint8_t)byte : 0;
}

bool
topics_from_broker(const struct topics *t, struct span topic, struct wr *room, struct span *out)
{
    const uint8_t *start = room->pos;

    *out = topic;
    if (t == NULL)
        return true;
    if (!span_begins(topic, "t/") && !span_begins(topic, "s/"))
        return false;
    for (size_t i = TOPICS_PREFIX; i < topic.len;) {
        uint8_t byte = unescaped(topic, i);

        wr_u8(room, byte != 0 ? byte : topic.ptr[i]);
        i += byte != 0 ? 3 : 1;
    }
    *out = span_of(start, (size_t)(room->pos - start));
    return !room->failed && out->len > 0 && span_begins(*out, "$") == (topic.ptr[0] == 's');
}
