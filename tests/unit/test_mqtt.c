/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the MQTT codec. Packets are written by hand from OASIS MQTT 3.1.1 and 5.0. */
#include "wire/mqtt.h"
#include "wire/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A string literal with its inner zeros as a span. */
#define LIT(text) span_of(text, sizeof(text) - 1)

/* CONNECT, level 4, clean, keep-alive 60, client id "dev" */
#define CONNECT4                                                                                   \
    "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03"                                                 \
    "dev"
/* CONNECT, level 5: will with QoS 1 and retain, user name, password, session expiry 10 */
#define CONNECT5                                                                                   \
    "\x10\x27\x00\x04MQTT\x05\xee\x00\x0a\x05\x11\x00\x00\x00\x0a\x00\x01"                         \
    "d"                                                                                            \
    "\x02\x01\x01\x00\x03"                                                                         \
    "w/t"                                                                                          \
    "\x00\x02"                                                                                     \
    "by"                                                                                           \
    "\x00\x02"                                                                                     \
    "me"                                                                                           \
    "\x00\x02"                                                                                     \
    "pw"
/* PUBLISH QoS 1, topic "a/b", id 10, payload "hi", level 4 */
#define PUBLISH4                                                                                   \
    "\x32\x09\x00\x03"                                                                             \
    "a/b"                                                                                          \
    "\x00\x0a"                                                                                     \
    "hi"
/* the same at level 5 with topic alias 3 */
#define PUBLISH5                                                                                   \
    "\x32\x0d\x00\x03"                                                                             \
    "a/b"                                                                                          \
    "\x00\x0a\x03\x23\x00\x03"                                                                     \
    "hi"
#define SUBSCRIBE4                                                                                 \
    "\x82\x0e\x00\x0a\x00\x03"                                                                     \
    "a/b"                                                                                          \
    "\x01\x00\x03"                                                                                 \
    "c/#"                                                                                          \
    "\x00"
#define SUBSCRIBE5                                                                                 \
    "\x82\x0b\x00\x0a\x02\x0b\x07\x00\x03"                                                         \
    "a/b"                                                                                          \
    "\x2d"
#define UNSUBSCRIBE4                                                                               \
    "\xa2\x07\x00\x0b\x00\x03"                                                                     \
    "a/b"
#define CONNACK5 "\x20\x09\x01\x00\x06\x22\x00\x0a\x21\x00\x14"
#define SUBACK4 "\x90\x04\x00\x0a\x01\x80"

static const struct {
    struct span bytes;
    enum mqtt_type type;
} good[] = {
    { { (const uint8_t *)CONNECT4, sizeof CONNECT4 - 1 }, MQTT_CONNECT },
    { { (const uint8_t *)CONNECT5, sizeof CONNECT5 - 1 }, MQTT_CONNECT },
    { { (const uint8_t *)PUBLISH4, sizeof PUBLISH4 - 1 }, MQTT_PUBLISH },
    { { (const uint8_t *)PUBLISH5, sizeof PUBLISH5 - 1 }, MQTT_PUBLISH },
    { { (const uint8_t *)SUBSCRIBE4, sizeof SUBSCRIBE4 - 1 }, MQTT_SUBSCRIBE },
    { { (const uint8_t *)SUBSCRIBE5, sizeof SUBSCRIBE5 - 1 }, MQTT_SUBSCRIBE },
    { { (const uint8_t *)UNSUBSCRIBE4, sizeof UNSUBSCRIBE4 - 1 }, MQTT_UNSUBSCRIBE },
    { { (const uint8_t *)CONNACK5, sizeof CONNACK5 - 1 }, MQTT_CONNACK },
    { { (const uint8_t *)SUBACK4, sizeof SUBACK4 - 1 }, MQTT_SUBACK },
    { { (const uint8_t *)"\xc0\x00", 2 }, MQTT_PINGREQ },
    { { (const uint8_t *)"\x40\x02\x00\x0a", 4 }, MQTT_PUBACK },
    { { (const uint8_t *)"\xe0\x00", 2 }, MQTT_DISCONNECT },
};

static struct mqtt_packet
packet_of(struct span bytes)
{
    struct rd r = rd_of(bytes);
    struct mqtt_packet p;

    assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_OK);
    assert_true(rd_done(&r));
    return p;
}

#define assert_span(actual, text) assert_true(span_eq(actual, LIT(text)))

static void
a_whole_packet_is_taken_and_nothing_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct buf two = { 0 };
        struct rd r;
        struct mqtt_packet p;

        buf_add(&two, good[i].bytes.ptr, good[i].bytes.len);
        buf_add(&two, "\xc0\x00", 2);
        r = rd_of(buf_span(&two));
        assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_OK);
        assert_int_equal(p.type, good[i].type);
        assert_true(span_eq(p.whole, good[i].bytes));
        assert_int_equal(rd_left(&r), 2);
        buf_fini(&two);
    }
}

static void
every_prefix_is_more_and_takes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (size_t cut = 0; cut < good[i].bytes.len; cut++) {
            struct rd r = rd_of(span_of(good[i].bytes.ptr, cut));
            struct mqtt_packet p;

            assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_ERR_MORE);
            assert_int_equal(rd_left(&r), cut);
        }
    }
}

static void
bad_headers_are_refused_at_the_first_byte_that_shows_it(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        { "\x00", 1 },                 /* type 0 */
        { "\x11", 1 },                 /* CONNECT with a flag */
        { "\x36", 1 },                 /* PUBLISH with QoS 3 */
        { "\x38", 1 },                 /* a duplicate at QoS 0 */
        { "\x80", 1 },                 /* SUBSCRIBE must carry 2 */
        { "\x60", 1 },                 /* PUBREL too */
        { "\xc1", 1 },                 /* PINGREQ with a flag */
        { "\x30\xff\xff\xff\xff", 5 }, /* a fifth length byte would follow */
        { "\x30\xff\xff\xff\x7f", 5 }, /* 268435455, above the limit */
        { "\x30\x81\xa0\x08", 4 },     /* one above MQTT_REMAINING_MAX: 135169 */
    };

    (void)state;
    assert_int_equal(MQTT_REMAINING_MAX, 135168);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rd r = rd_of(span_of(bad[i].bytes, bad[i].len));
        struct mqtt_packet p;

        assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_ERR_PROTO);
    }
}

static void
connect_of_level_4_gives_its_fields(void **state)
{
    struct mqtt_packet p = packet_of(LIT(CONNECT4));
    struct mqtt_connect c;

    (void)state;
    assert_int_equal(mqtt_parse_connect(&p, &c, NULL), BM_OK);
    assert_int_equal(c.level, 4);
    assert_true(c.clean);
    assert_int_equal(c.keep_alive_s, 60);
    assert_span(c.client_id, "dev");
    assert_false(c.has_will);
    assert_false(c.has_username);
}

static void
connect_of_level_5_gives_will_and_properties(void **state)
{
    struct mqtt_packet p = packet_of(LIT(CONNECT5));
    struct mqtt_connect c;

    (void)state;
    assert_int_equal(mqtt_parse_connect(&p, &c, NULL), BM_OK);
    assert_int_equal(c.level, 5);
    assert_true(c.has_will && c.will_retain);
    assert_int_equal(c.will_qos, 1);
    assert_span(c.will_topic, "w/t");
    assert_span(c.will_payload, "by");
    assert_span(c.will_properties, "\x01\x01");
    assert_span(c.properties, "\x11\x00\x00\x00\x0a");
    assert_span(c.username, "me");
}

static void
malformed_connects_are_refused_with_the_field_named(void **state)
{
    static const struct {
        struct span bytes;
        const char *word;
    } bad[] = {
        { { (const uint8_t *)"\xc0\x00", 2 }, "type 12" },
        { { (const uint8_t *)"\x10\x0c\x00\x06MQIsdp\x03\x02\x00\x3c", 14 }, "protocol name" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01"
                             "d",
              15 },
            "level 3" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01"
                             "d",
              15 },
            "reserved" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x3c\x00\x01"
                             "d",
              15 },
            "will bits" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01"
                             "d",
              15 },
            "will bits" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x42\x00\x3c\x00\x01"
                             "d",
              15 },
            "password" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x02"
                             "d",
              15 },
            "client id" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00", 15 },
            "client id" },
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x06\x00\x3c\x00\x01"
                             "d",
              15 },
            "will" },
        { { (const uint8_t *)"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x01"
                             "dx",
              16 },
            "follows" },
        { { (const uint8_t *)"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x01\x7f\x00\x01"
                             "d",
              17 },
            "properties" },
        { { (const uint8_t *)"\x10\x00", 2 }, "protocol name" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mqtt_packet p = packet_of(bad[i].bytes);
        struct mqtt_connect c;
        struct bm_msg msg = { "" };

        assert_int_equal(mqtt_parse_connect(&p, &c, &msg), BM_ERR_PROTO);
        if (strstr(msg.text, bad[i].word) == NULL) {
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, msg.text, bad[i].word);
        }
    }
}

static void
rebuilt_connect_has_the_credentials_it_is_given(void **state)
{
    struct mqtt_packet p = packet_of(LIT(CONNECT5));
    struct mqtt_connect c;
    struct mqtt_connect again;
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(mqtt_parse_connect(&p, &c, NULL), BM_OK);
    assert_true(c.has_username && !c.has_password);
    c.username = LIT("gateway");
    c.has_password = true;
    c.password = LIT("secret");
    assert_int_equal(mqtt_build_connect(&out, &c, LIT("chosen"), 30), BM_OK);
    assert_memory_equal(out.ptr + out.len - 17, "\0\7gateway\0\6secret", 17);
    p = packet_of(buf_span(&out));
    assert_int_equal(mqtt_parse_connect(&p, &again, NULL), BM_OK);
    assert_span(again.client_id, "chosen");
    assert_int_equal(again.keep_alive_s, 30);
    assert_true(span_eq(again.username, c.username));
    assert_true(span_eq(again.will_topic, c.will_topic));
    assert_true(span_eq(again.will_payload, c.will_payload));
    assert_true(span_eq(again.will_properties, c.will_properties));
    assert_true(span_eq(again.properties, c.properties));
    assert_true(again.will_qos == 1 && again.will_retain && again.clean);
    buf_fini(&out);
}

static void
publish_gives_its_fields_at_both_levels(void **state)
{
    struct mqtt_packet p4 = packet_of(LIT(PUBLISH4));
    struct mqtt_packet p5 = packet_of(LIT(PUBLISH5));
    struct mqtt_publish m;

    (void)state;
    assert_int_equal(mqtt_parse_publish(&p4, 4, &m, NULL), BM_OK);
    assert_span(m.topic, "a/b");
    assert_span(m.payload, "hi");
    assert_int_equal(m.packet_id, 10);
    assert_int_equal(m.qos, 1);
    assert_int_equal(mqtt_parse_publish(&p5, 5, &m, NULL), BM_OK);
    assert_int_equal(m.topic_alias, 3);
    assert_span(m.payload, "hi");
    /* at level 4 the properties are payload */
    assert_int_equal(mqtt_parse_publish(&p5, 4, &m, NULL), BM_OK);
    assert_span(m.payload, "\x03\x23\x00\x03hi");
}

static void
malformed_publishes_are_refused(void **state)
{
    static const struct {
        struct span bytes;
        uint8_t level;
    } bad[] = {
        { { (const uint8_t *)"\x30\x00", 2 }, 4 },
        { { (const uint8_t *)"\x30\x02\x00\x00", 4 }, 4 }, /* empty topic */
        { { (const uint8_t *)"\x30\x03\x00\x02"
                             "a",
              5 },
            4 }, /* topic cut */
        { { (const uint8_t *)"\x32\x05\x00\x01"
                             "a"
                             "\x00\x00",
              7 },
            4 }, /* packet id 0 */
        { { (const uint8_t *)"\x32\x04\x00\x01"
                             "a"
                             "\x00",
              6 },
            4 },                                                           /* packet id cut */
        { { (const uint8_t *)"\x30\x04\x00\x02\xc0\x80", 6 }, 4 },         /* overlong UTF-8 */
        { { (const uint8_t *)"\x30\x05\x00\x03\xed\xa0\x80", 7 }, 4 },     /* a surrogate */
        { { (const uint8_t *)"\x30\x06\x00\x04\xf4\x90\x80\x80", 8 }, 4 }, /* above U+10FFFF */
        { { (const uint8_t *)"\x30\x04\x00\x02"
                             "a\x00",
              6 },
            4 }, /* U+0000 */
        { { (const uint8_t *)"\x30\x03\x00\x01"
                             "a",
              5 },
            5 }, /* no property length */
        { { (const uint8_t *)"\x30\x04\x00\x01"
                             "a"
                             "\x01",
              6 },
            5 }, /* properties cut */
        { { (const uint8_t *)"\x30\x07\x00\x01"
                             "a"
                             "\x03\x23\x00\x00",
              9 },
            5 }, /* alias 0 */
        { { (const uint8_t *)"\x30\x0a\x00\x01"
                             "a"
                             "\x06\x23\x00\x01\x23\x00\x01",
              12 },
            5 },
        { { (const uint8_t *)"\x30\x05\x00\x01"
                             "a\x80\x00",
              7 },
            5 }, /* a property length not in its shortest form */
        { { (const uint8_t *)"\x30\x03\x00\x00\x00", 5 }, 5 }, /* neither topic nor alias */
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mqtt_packet p;
        struct rd r = rd_of(bad[i].bytes);
        struct mqtt_publish m;

        assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_OK);
        if (mqtt_parse_publish(&p, bad[i].level, &m, NULL) != BM_ERR_PROTO) {
            fail_msg("case %zu was taken", i);
        }
    }
}

static void
built_publish_is_the_packet_that_was_parsed(void **state)
{
    static const struct {
        struct span bytes;
        uint8_t level;
    } cases[] = {
        { { (const uint8_t *)PUBLISH4, sizeof PUBLISH4 - 1 }, 4 },
        { { (const uint8_t *)PUBLISH5, sizeof PUBLISH5 - 1 }, 5 },
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct mqtt_packet p = packet_of(cases[i].bytes);
        struct mqtt_publish m;
        struct buf out = { 0 };

        assert_int_equal(mqtt_parse_publish(&p, cases[i].level, &m, NULL), BM_OK);
        mqtt_build_publish(&out, cases[i].level, &m);
        assert_true(span_eq(buf_span(&out), cases[i].bytes));
        buf_fini(&out);
    }
}

static void
a_long_publish_has_a_length_of_three_bytes(void **state)
{
    uint8_t *payload = calloc(1, MQTT_PAYLOAD_MAX);
    struct mqtt_publish m = { .topic = LIT("t"), .payload = span_of(payload, MQTT_PAYLOAD_MAX) };
    struct buf out = { 0 };
    struct mqtt_packet p;

    (void)state;
    assert_non_null(payload);
    mqtt_build_publish(&out, 4, &m);
    assert_int_equal(out.len, 1 + 3 + 2 + 1 + MQTT_PAYLOAD_MAX);
    p = packet_of(buf_span(&out));
    assert_int_equal(mqtt_parse_publish(&p, 4, &m, NULL), BM_OK);
    assert_int_equal(m.payload.len, MQTT_PAYLOAD_MAX);
    buf_fini(&out);
    free(payload);
}

static void
subscribe_gives_filters_and_options(void **state)
{
    struct mqtt_packet p = packet_of(LIT(SUBSCRIBE4));
    struct mqtt_subscribe s;

    (void)state;
    assert_int_equal(mqtt_parse_subscribe(&p, 4, &s, NULL), BM_OK);
    assert_int_equal(s.packet_id, 10);
    assert_int_equal(s.count, 2);
    assert_span(s.filters[0].filter, "a/b");
    assert_int_equal(s.filters[0].qos, 1);
    assert_span(s.filters[1].filter, "c/#");
    p = packet_of(LIT(SUBSCRIBE5));
    assert_int_equal(mqtt_parse_subscribe(&p, 5, &s, NULL), BM_OK);
    assert_int_equal(s.filters[0].options, 0x2d);
    assert_int_equal(s.filters[0].qos, 1);
    assert_span(s.properties, "\x0b\x07");
    p = packet_of(LIT(UNSUBSCRIBE4));
    assert_int_equal(mqtt_parse_subscribe(&p, 4, &s, NULL), BM_OK);
    assert_int_equal(s.count, 1);
}

static void
built_subscribe_is_the_packet_that_was_parsed(void **state)
{
    static const struct {
        struct span bytes;
        uint8_t level;
    } cases[] = {
        { { (const uint8_t *)SUBSCRIBE4, sizeof SUBSCRIBE4 - 1 }, 4 },
        { { (const uint8_t *)SUBSCRIBE5, sizeof SUBSCRIBE5 - 1 }, 5 },
        { { (const uint8_t *)UNSUBSCRIBE4, sizeof UNSUBSCRIBE4 - 1 }, 4 },
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct mqtt_packet p = packet_of(cases[i].bytes);
        struct mqtt_subscribe s;
        struct buf out = { 0 };

        assert_int_equal(mqtt_parse_subscribe(&p, cases[i].level, &s, NULL), BM_OK);
        mqtt_build_subscribe(&out, p.type, cases[i].level, &s);
        assert_true(span_eq(buf_span(&out), cases[i].bytes));
        buf_fini(&out);
    }
}

static void
malformed_subscribes_are_refused(void **state)
{
    static const struct {
        struct span bytes;
        uint8_t level;
        enum bm_err want;
    } bad[] = {
        { { (const uint8_t *)"\x82\x02\x00\x0a", 4 }, 4, BM_ERR_PROTO }, /* no filter */
        { { (const uint8_t *)"\x82\x06\x00\x00\x00\x01"
                             "a\x01",
              8 },
            4, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x06\x00\x0a\x00\x01"
                             "a\x03",
              8 },
            4, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x06\x00\x0a\x00\x01"
                             "a\x05",
              8 },
            4, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x05\x00\x0a\x00\x01"
                             "a",
              7 },
            4, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x06\x00\x0a\x00\x05"
                             "a\x01",
              8 },
            4, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x07\x00\x0a\x00\x00\x01"
                             "a\x30",
              9 },
            5, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x07\x00\x0a\x00\x00\x01"
                             "a\x40",
              9 },
            5, BM_ERR_PROTO },
        { { (const uint8_t *)"\x82\x26\x00\x0a"
                             "\x00\x01"
                             "a\x01\x00\x01"
                             "b\x01\x00\x01"
                             "c\x01\x00\x01"
                             "d\x01"
                             "\x00\x01"
                             "e\x01\x00\x01"
                             "f\x01\x00\x01"
                             "g\x01\x00\x01"
                             "h\x01"
                             "\x00\x01"
                             "i\x01",
              40 },
            4, BM_ERR_LIMIT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rd r = rd_of(bad[i].bytes);
        struct mqtt_packet p;
        struct mqtt_subscribe s;

        assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, &p), BM_OK);
        assert_int_equal(mqtt_parse_subscribe(&p, bad[i].level, &s, NULL), bad[i].want);
    }
}

static void
connack_and_suback_give_their_codes(void **state)
{
    struct mqtt_packet p = packet_of(LIT(CONNACK5));
    struct mqtt_connack k;
    struct mqtt_suback a;
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    assert_true(k.session_present);
    assert_span(k.properties, "\x22\x00\x0a\x21\x00\x14");
    mqtt_build_connack(&out, 5, &k);
    assert_true(span_eq(buf_span(&out), LIT(CONNACK5)));
    p = packet_of(LIT("\x20\x02\x00\x05"));
    assert_int_equal(mqtt_parse_connack(&p, 4, &k), BM_OK);
    assert_int_equal(k.code, 5);
    p = packet_of(LIT("\x20\x03\x00\x05\x00"));
    assert_int_equal(mqtt_parse_connack(&p, 4, &k), BM_ERR_PROTO);
    p = packet_of(LIT(SUBACK4));
    assert_int_equal(mqtt_parse_suback(&p, 4, &a), BM_OK);
    assert_span(a.codes, "\x01\x80");
    out.len = 0;
    mqtt_build_suback(&out, 4, &a);
    assert_true(span_eq(buf_span(&out), LIT(SUBACK4)));
    buf_fini(&out);
}

static void
small_packets_are_built_as_their_level_wants(void **state)
{
    struct buf out = { 0 };

    (void)state;
    mqtt_build_puback(&out, 4, 10, 0x87, LIT("\x1f\x00\x02no"));
    mqtt_build_puback(&out, 5, 10, 0, LIT(""));
    mqtt_build_puback(&out, 5, 10, 0x87, LIT(""));
    mqtt_build_puback(&out, 5, 10, 0x87, LIT("\x1f\x00\x02no"));
    mqtt_build_disconnect(&out, 4, 0x87, LIT(""));
    mqtt_build_disconnect(&out, 5, 0x8e, LIT(""));
    mqtt_build_disconnect(&out, 5, 0x87, LIT("\x1f\x00\x02no"));
    assert_span(buf_span(&out), "\x40\x02\x00\x0a\x40\x02\x00\x0a\x40\x03\x00\x0a\x87"
                                "\x40\x09\x00\x0a\x87\x05\x1f\x00\x02no\xe0\x00\xe0\x01\x8e"
                                "\xe0\x07\x87\x05\x1f\x00\x02no");
    buf_fini(&out);
}

static void
disconnect_has_reason_and_properties_at_level_5_only(void **state)
{
    static const struct {
        struct span packet;
        uint8_t level;
        enum bm_err want;
        uint8_t reason;
        size_t properties;
    } cases[] = {
        { { (const uint8_t *)"\xe0\x00", 2 }, 4, BM_OK, 0, 0 },
        { { (const uint8_t *)"\xe0\x01\x04", 3 }, 4, BM_ERR_PROTO, 0, 0 },
        { { (const uint8_t *)"\xe0\x00", 2 }, 5, BM_OK, 0, 0 },
        { { (const uint8_t *)"\xe0\x01\x04", 3 }, 5, BM_OK, 4, 0 },
        { { (const uint8_t *)"\xe0\x07\x00\x05\x11\x00\x00\x00\x64", 9 }, 5, BM_OK, 0, 5 },
        { { (const uint8_t *)"\xe0\x06\x00\x05\x11\x00\x00\x00", 8 }, 5, BM_ERR_PROTO, 0, 0 },
        { { (const uint8_t *)"\xe0\x08\x00\x05\x11\x00\x00\x00\x64\x00", 10 }, 5, BM_ERR_PROTO, 0,
            0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mqtt_packet p = packet_of(cases[i].packet);
        struct mqtt_disconnect d = { 0 };

        assert_int_equal(mqtt_parse_disconnect(&p, cases[i].level, &d), cases[i].want);
        assert_int_equal(d.reason, cases[i].reason);
        assert_int_equal(d.properties.len, cases[i].properties);
    }
}

static void
properties_are_walked_one_by_one(void **state)
{
    struct rd list = rd_of(LIT("\x24\x01\x26\x00\x01k\x00\x01v\x13\x00\x1e\x0b\x80\x01"));
    struct rd bad;
    struct mqtt_property p;

    (void)state;
    assert_int_equal(mqtt_next_property(&list, &p), BM_OK);
    assert_true(p.id == MQTT_PROP_MAXIMUM_QOS && p.number == 1);
    assert_int_equal(mqtt_next_property(&list, &p), BM_OK);
    assert_span(p.data, "k");
    assert_span(p.whole, "\x26\x00\x01k\x00\x01v");
    assert_int_equal(mqtt_next_property(&list, &p), BM_OK);
    assert_true(p.id == MQTT_PROP_SERVER_KEEP_ALIVE && p.number == 30);
    assert_int_equal(mqtt_next_property(&list, &p), BM_OK);
    assert_int_equal(p.number, 128);
    assert_int_equal(mqtt_next_property(&list, &p), BM_ERR_NOT_FOUND);
    bad = rd_of(LIT("\x04\x01"));
    assert_int_equal(mqtt_next_property(&bad, &p), BM_ERR_PROTO);
    bad = rd_of(LIT("\x11\x00\x00"));
    assert_int_equal(mqtt_next_property(&bad, &p), BM_ERR_PROTO);
}

/* MQTT 5.0, 2.2.2.2: where a property may stand, how often, with which value. */
static void
properties_are_taken_only_where_they_belong_once_and_in_range(void **state)
{
#define PUBLISH_BODY(p) "\x00\x01t" p "x"
#define CONNECT_BODY(p) "\x00\x04MQTT\x05\x02\x00\x3c" p "\x00\x01i"
#define WILL_BODY(p) "\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01i" p "\x00\x01w\x00\x01m"
#define CASE(type, text, want)                                                                     \
    {                                                                                              \
        type, { (const uint8_t *)(text), sizeof(text) - 1 }, want                                  \
    }
    static const struct {
        enum mqtt_type type;
        struct span body;
        const char *want; /* NULL: it is taken */
    } cases[] = {
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x02\x01\x01"), NULL),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x02\x01\x02"), "0x01 has a value"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x04\x01\x01\x01\x01"), "0x01 stands there twice"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x0e\x26\0\1k\0\1v\x26\0\1k\0\1v"), NULL),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x04\x0b\x01\x0b\x02"), NULL), /* from a server */
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x02\x0b\x00"), "0x0b has a value"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x06\x08\0\3r/x"), NULL),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x06\x08\0\3r/#"), "0x08 has a value"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x05\x11\0\0\0\1"), "0x11 does not belong there"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x02\x7f\0"), "0x7f is unknown"),
        CASE(MQTT_PUBLISH, PUBLISH_BODY("\x0a\x02\0\0\0\1\x02\0\0\0\1"), "0x02 stands there twice"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x05\x11\0\0\0\1"), NULL),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x0a\x11\0\0\0\1\x11\0\0\0\1"),
            "properties: property 0x11 stands there twice"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x03\x21\0\0"), "0x21 has a value"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x05\x27\0\0\0\0"), "0x27 has a value"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x03\x23\0\1"), "0x23 does not belong there"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x05\x18\0\0\0\1"), "0x18 does not belong there"),
        CASE(MQTT_CONNECT, CONNECT_BODY("\x02\x17\2"), "0x17 has a value"),
        CASE(MQTT_CONNECT, WILL_BODY("\x05\x18\0\0\0\1"), NULL),
        CASE(MQTT_CONNECT, WILL_BODY("\x05\x11\0\0\0\1"),
            "will: property 0x11 does not belong there"),
        CASE(MQTT_SUBSCRIBE, "\0\1\x02\x0b\x05\0\1t\1", NULL),
        CASE(MQTT_SUBSCRIBE, "\0\1\x04\x0b\x05\x0b\x05\0\1t\1", "0x0b stands there twice"),
        CASE(MQTT_UNSUBSCRIBE, "\0\1\x02\x0b\x05\0\1t",
            "UNSUBSCRIBE: property 0x0b does not belong there"),
        CASE(MQTT_SUBSCRIBE, "\0\1\x00", "SUBSCRIBE: there is no filter"),
        CASE(MQTT_SUBSCRIBE, "\0\1\x05\x26", "length of the properties"),
        CASE(MQTT_PUBACK, "\0\1", NULL),
        CASE(MQTT_PUBACK, "\0\1\0\x04\x1f\0\1x", NULL),
        CASE(MQTT_PUBACK, "\0\1\0\x08\x1f\0\1x\x1f\0\1x",
            "PUBACK: property 0x1f stands there twice"),
        CASE(MQTT_PUBACK, "\0\0", "PUBACK: packet id"),
        CASE(MQTT_PUBACK, "\0", "PUBACK: packet id"),
        CASE(MQTT_PUBACK, "\0\1\0\0\0", "PUBACK: packet id, or what follows"),
    };
#undef CASE
#undef WILL_BODY
#undef CONNECT_BODY
#undef PUBLISH_BODY

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mqtt_packet p = { .type = cases[i].type, .body = cases[i].body };
        struct bm_msg msg = { "" };
        struct mqtt_connect c;
        struct mqtt_publish m;
        struct mqtt_subscribe s;
        struct mqtt_puback a;
        enum bm_err err = p.type == MQTT_CONNECT   ? mqtt_parse_connect(&p, &c, &msg)
                          : p.type == MQTT_PUBLISH ? mqtt_parse_publish(&p, 5, &m, &msg)
                          : p.type == MQTT_PUBACK  ? mqtt_parse_puback(&p, 5, &a, &msg)
                                                   : mqtt_parse_subscribe(&p, 5, &s, &msg);

        if (err != (cases[i].want == NULL ? BM_OK : BM_ERR_PROTO) ||
            (cases[i].want != NULL && strstr(msg.text, cases[i].want) == NULL)) {
            fail_msg("case %zu: %s \"%s\"", i, bm_err_name(err), msg.text);
        }
    }
}

static void
message_expiry_is_brought_into_its_bounds(void **state)
{
    uint8_t list[] = { 0x01, 1, 0x02, 0, 0, 0, 0, 0x03, 0, 1, 't' };
    uint8_t large[] = { 0x02, 0xff, 0xff, 0xff, 0xff };
    uint8_t fine[] = { 0x02, 0, 0, 0, 90 };

    (void)state;
    mqtt_bound_expiry(list, sizeof list);
    assert_memory_equal(list, "\x01\x01\x02\0\0\0\1\x03\0\1t", sizeof list);
    mqtt_bound_expiry(large, sizeof large);
    assert_memory_equal(large, "\x02\x00\x09\x3a\x80", sizeof large); /* 604800 */
    mqtt_bound_expiry(fine, sizeof fine);
    assert_memory_equal(fine, "\x02\0\0\0\x5a", sizeof fine);
}

static void
filters_match_as_the_service_does(void **state)
{
    static const struct {
        const char *filter;
        const char *topic;
        bool want;
    } cases[] = {
        { "a/b", "a/b", true },
        { "a/b", "a/B", false },
        { "a/b", "a/b/c", false },
        { "a/b/c", "a/b", false },
        { "a/+", "a/b", true },
        { "a/+", "a/", true },
        { "a/+", "a", false },
        { "a/+", "a/b/c", false },
        { "+/b", "a/b", true },
        { "+", "a", true },
        { "+", "/a", false },
        { "+/+", "/a", true },
        { "a/#", "a/b", true },
        { "a/#", "a/b/c", true },
        { "a/#", "a/", true },
        { "a/#", "a", false }, /* unlike OASIS 4.7.1.2; SPEC aws-iot 6.4 */
        { "#", "a", true },
        { "#", "a/b/c", true },
        { "#", "/", true },
        { "+/#", "a", false },
        { "+/#", "a/b", true },
        { "#", "$aws/x", false },
        { "+/x", "$aws/x", false },
        { "+/#", "$aws/x", false },
        { "$aws/#", "$aws/x", true },
        { "$aws/+", "$aws/x", true },
        { "a/+/c", "a/b/c", true },
        { "a//c", "a//c", true },
        { "a/+/c", "a//c", true },
        { "", "a", false },
        { "a", "", false },
        { "ab", "a", false },
        { "a", "ab", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (mqtt_match(span_str(cases[i].filter), span_str(cases[i].topic)) != cases[i].want) {
            fail_msg("%s against %s", cases[i].filter, cases[i].topic);
        }
    }
}

static void
topics_and_filters_are_checked(void **state)
{
    static const struct {
        const char *text;
        bool topic;
        bool filter;
    } cases[] = {
        { "a", true, true },
        { "/", true, true },
        { "a/b c/d", true, true },
        { "$aws/x", true, true },
        { "gr\xc3\xbc\xc3\x9f", true, true },
        { "gr\xfc", false, false },
        { "", false, false },
        { "a/+", false, true },
        { "+/b/#", false, true },
        { "#", false, true },
        { "a/b+", false, false },
        { "a/+b", false, false },
        { "a#", false, false },
        { "a/#/b", false, false },
        { "#/", false, false },
    };
    char at_limit[MQTT_TOPIC_MAX + 2] = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (mqtt_topic_valid(span_str(cases[i].text)) != cases[i].topic ||
            mqtt_filter_valid(span_str(cases[i].text)) != cases[i].filter) {
            fail_msg("%s", cases[i].text);
        }
    }
    memset(at_limit, 'x', MQTT_TOPIC_MAX + 1);
    assert_false(mqtt_topic_valid(span_of(at_limit, MQTT_TOPIC_MAX + 1)));
    assert_true(mqtt_topic_valid(span_of(at_limit, MQTT_TOPIC_MAX)));
    assert_false(mqtt_filter_valid(span_of(at_limit, MQTT_TOPIC_MAX + 1)));
}

static void
plain_filter_is_what_follows_the_share_s_name(void **state)
{
    static const char *const cases[][2] = { { "a/b", "a/b" }, { "$share/g/a/b", "a/b" },
        { "$share/g/$aws/events/#", "$aws/events/#" }, { "$share/g", "" }, { "$share", "$share" },
        { "", "" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span plain = mqtt_plain_filter(span_str(cases[i][0]));

        assert_int_equal(plain.len, strlen(cases[i][1]));
        assert_memory_equal(plain.ptr, cases[i][1], plain.len);
    }
}

static void
name_of_a_share_is_not_empty_and_no_wildcard(void **state)
{
    (void)state;
    assert_true(mqtt_share_valid(LIT("t/+")));
    assert_true(mqtt_share_valid(LIT("$share/g/t/+")));
    assert_false(mqtt_share_valid(LIT("$share//t")));
    assert_false(mqtt_share_valid(LIT("$share/g+/t")));
    assert_false(mqtt_share_valid(LIT("$share/#/t")));
    assert_false(mqtt_share_valid(LIT("$share/g")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_packet_is_taken_and_nothing_more),
        cmocka_unit_test(every_prefix_is_more_and_takes_nothing),
        cmocka_unit_test(bad_headers_are_refused_at_the_first_byte_that_shows_it),
        cmocka_unit_test(connect_of_level_4_gives_its_fields),
        cmocka_unit_test(connect_of_level_5_gives_will_and_properties),
        cmocka_unit_test(malformed_connects_are_refused_with_the_field_named),
        cmocka_unit_test(rebuilt_connect_has_the_credentials_it_is_given),
        cmocka_unit_test(publish_gives_its_fields_at_both_levels),
        cmocka_unit_test(malformed_publishes_are_refused),
        cmocka_unit_test(built_publish_is_the_packet_that_was_parsed),
        cmocka_unit_test(a_long_publish_has_a_length_of_three_bytes),
        cmocka_unit_test(subscribe_gives_filters_and_options),
        cmocka_unit_test(built_subscribe_is_the_packet_that_was_parsed),
        cmocka_unit_test(malformed_subscribes_are_refused),
        cmocka_unit_test(connack_and_suback_give_their_codes),
        cmocka_unit_test(small_packets_are_built_as_their_level_wants),
        cmocka_unit_test(disconnect_has_reason_and_properties_at_level_5_only),
        cmocka_unit_test(properties_are_walked_one_by_one),
        cmocka_unit_test(properties_are_taken_only_where_they_belong_once_and_in_range),
        cmocka_unit_test(message_expiry_is_brought_into_its_bounds),
        cmocka_unit_test(name_of_a_share_is_not_empty_and_no_wildcard),
        cmocka_unit_test(filters_match_as_the_service_does),
        cmocka_unit_test(topics_and_filters_are_checked),
        cmocka_unit_test(plain_filter_is_what_follows_the_share_s_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
