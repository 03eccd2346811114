/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: what an admitted client sends and gets. The stage is worker_world.h. */
#include "worker_world.h"

static void
message_reaches_a_subscriber(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");

    say_subscribe(&b, 4, "t/+", 1);
    expect(&b, LIT("\x90\x03\x00\x14\x01"));
    say_publish(&a, 4, 1, "t/x", "hello");
    expect(&a, LIT("\x40\x02\x00\x0a"));
    expect(&b, LIT("\x32\x0c\x00\x03t/x\x00\x01hello"));
    device_send(&b, LIT("\x40\x02\x00\x01"));
    expect_ping(&b);
    device_free(&a);
    device_free(&b);
}

static void
denied_publish_closes_level_4_without_puback(void **state)
{
    struct fixture *f = *state;

    for (uint8_t qos = 0; qos <= 1; qos++) {
        struct device d = device_in(f, &f->device, "a");
        size_t from = f->record_count;

        say_publish(&d, 4, qos, "secret", "x");
        expect_closed(&d);
        assert_fact(wait_record(f, from, CAUSE_PUBLISH_DENIED),
            "action=iot:Publish resource=\"topic/secret\" decision=no_allow");
        device_free(&d);
    }
}

static void
variables_of_the_certificate_come_from_the_leaf(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "a");
    size_t from = f->record_count;

    say_publish(&d, 4, 1, "cn/device", "x");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    say_publish(&d, 4, 1, "cn/other", "x");
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_PUBLISH_DENIED), "decision=no_allow");
    device_free(&d);
}

static void
conditions_see_how_and_from_where_a_client_connects(void **state)
{
    struct fixture *f = *state;
    struct mqtt_connect c = { .level = 4, .client_id = span_str("brief"), .keep_alive_s = 60 };
    struct device d = device_in(f, &f->device, "brief"); /* in a clean session */
    size_t from = f->record_count;
    struct buf out = { 0 };

    say_publish(&d, 4, 1, "far", "x");
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_PUBLISH_DENIED),
        "decision=no_allow policy=wide statement=7 effect=Allow condition=false");
    device_free(&d);
    d = device_open(f, &f->device);
    assert_int_equal(mqtt_build_connect(&out, &c, span_of(NULL, 0), 60), BM_OK);
    device_send(&d, buf_span(&out));
    buf_fini(&out);
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_CONNECT_DENIED),
        "decision=explicit_deny policy=wide statement=6 effect=Deny");
    device_free(&d);
}

static void
denied_publish_tells_level_5_and_keeps_it_at_qos_1(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    say_publish(&d, 5, 1, "secret", "x");
    expect_puback5(
        &d, 10, 0x87, CAUSE_PUBLISH_DENIED, "action=iot:Publish resource=\"topic/secret\"");
    expect_ping(&d);
    say_publish(&d, 5, 0, "secret", "x");
    expect_disconnect5(&d, 0x87, CAUSE_PUBLISH_DENIED);
    expect_closed(&d);
    device_free(&d);
}

static void
retained_publish_needs_its_own_permission(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "a");

    device_send(&d, LIT("\x31\x05\x00\x03t/xx"));
    (void)wait_record(f, 0, CAUSE_PUBLISH_DENIED);
    assert_fact(wait_record(f, 0, CAUSE_PUBLISH_DENIED), "action=iot:RetainPublish");
    expect_closed(&d);
    device_free(&d);
}

static void
nothing_is_retained_on_a_reserved_topic(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    device_send(&d, LIT("\x33\x12\x00\x0d$aws/things/x\x00\x0a\x00"));
    expect_puback5(&d, 10, 0x87, CAUSE_PUBLISH_DENIED,
        "action=iot:RetainPublish resource=\"topic/$aws/things/x\"");
    assert_fact(wait_record(f, 0, CAUSE_PUBLISH_DENIED), "decision=reserved_topic");
    device_send(&d, LIT("\x33\x13\x00\x0e$aws/rules/r/x\x00\x0b\x00"));
    expect_puback5(&d, 11, 0x87, CAUSE_PUBLISH_DENIED,
        "action=iot:RetainPublish resource=\"topic/$aws/rules/r/x\"");
    device_free(&d);
}

/* The service does not use DUP, and its clients cannot tell by it. SPEC aws-iot 6.3 */
static void
message_that_is_sent_again_is_no_duplicate(void **state)
{
    struct fixture *f = *state;
    struct mqtt_connect c = { .level = 4, .client_id = span_str("keeps"), .keep_alive_s = 60 };
    struct device a = device_in(f, &f->device, "a");
    struct buf connect = { 0 };

    assert_int_equal(mqtt_build_connect(&connect, &c, span_of(NULL, 0), 60), BM_OK);
    for (int again = 0; again < 2; again++) {
        struct device d = device_open(f, &f->other);

        device_send(&d, buf_span(&connect));
        if (again) {
            expect(&d, LIT("\x20\x02\x01\x00"));
        } else {
            expect(&d, LIT("\x20\x02\x00\x00"));
            say_subscribe(&d, 4, "t/x", 1);
            expect(&d, LIT("\x90\x03\x00\x14\x01"));
            say_publish(&a, 4, 1, "t/x", "hello");
        }
        expect(&d, LIT("\x32\x0c\x00\x03t/x\x00\x01hello"));
        device_free(&d);
    }
    buf_fini(&connect);
    device_free(&a);
}

static void
publishes_outside_the_limits_are_closed_with_a_cause(void **state)
{
    static const struct {
        struct span bytes;
        enum cause cause;
    } cases[] = {
        { { (const uint8_t *)"\x34\x07\x00\x03t/x\x00\x0a", 9 }, CAUSE_QOS2 },
        { { (const uint8_t *)"\x30\x05\x00\x03t/+", 7 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x30\x12\x00\x10t/2/3/4/5/6/7/8/", 20 }, CAUSE_TOO_LARGE },
        { { (const uint8_t *)"\x30\x16\x00\x14$aws/events/presence", 24 }, CAUSE_PUBLISH_DENIED },
        { { (const uint8_t *)"\x30\x06\x00\x04$SYS", 8 }, CAUSE_PUBLISH_DENIED },
        { { (const uint8_t *)"\x30\xff\xff\x7f", 4 }, CAUSE_TOO_LARGE },
        { { (const uint8_t *)"\x36\x00", 2 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x62\x02\x00\x01", 4 }, CAUSE_PROTOCOL }, /* PUBREL */
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x", 15 },
            CAUSE_PROTOCOL }, /* CONNECT again */
        { { (const uint8_t *)"\xf0\x00", 2 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x30\x05\x00\x03t/\xff", 7 }, CAUSE_PROTOCOL },    /* no UTF-8 */
        { { (const uint8_t *)"\x30\x05\x00\x03t\xc0\x80", 7 }, CAUSE_PROTOCOL }, /* overlong */
        { { (const uint8_t *)"\x30\x05\x00\x03t/\x00", 7 }, CAUSE_PROTOCOL },    /* U+0000 */
        { { (const uint8_t *)"\x30\x02\x00\x00", 4 }, CAUSE_PROTOCOL }, /* no topic at all */
        { { (const uint8_t *)"\x82\x08\x00\x0a\x00\x03t/\xff\x01", 10 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x82\x08\x00\x0a\x00\x03t/\x00\x01", 10 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x82\x08\x00\x0a\x00\x03t/x\x02", 10 }, CAUSE_QOS2 },
        { { (const uint8_t *)"\x82\x08\x00\x0a\x00\x03t#x\x01", 10 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x82\x0a\x00\x0a\x00\x05other\x01", 12 }, CAUSE_SUBSCRIBE_DENIED },
        { { (const uint8_t *)"\x82\x0b\x00\x0a\x00\x06$SYS/#\x01", 13 }, CAUSE_SUBSCRIBE_DENIED },
        { { (const uint8_t *)"\x82\x26\x00\x0a\x00\x01t\x01\x00\x01t\x01\x00\x01t\x01\x00\x01t\x01"
                             "\x00\x01t\x01\x00\x01t\x01\x00\x01t\x01\x00\x01t\x01\x00\x01t\x01",
              40 },
            CAUSE_TOO_LARGE }, /* nine filters */
        { { (const uint8_t *)"\x82\x16\x00\x0a\x00\x11t/+/+/+/+/+/+/+/+\x01", 24 },
            CAUSE_TOO_LARGE },                                               /* nine levels */
        { { (const uint8_t *)"\x82\xff\xff\xff\x7f", 5 }, CAUSE_TOO_LARGE }, /* 256 MB of filters */
        { { (const uint8_t *)"\x82\x02\x00\x0a", 4 }, CAUSE_PROTOCOL },      /* none */
        { { (const uint8_t *)"\x82\x0f\x00\x0a\x00\x0a$share//t/\x01", 17 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x82\x10\x00\x0a\x00\x0b$share/+/t/\x01", 18 }, CAUSE_PROTOCOL },
        { { (const uint8_t
                    *)"\xa2\x1d\x00\x0a\x00\x01t\x00\x01t\x00\x01t\x00\x01t\x00\x01t\x00\x01t"
                      "\x00\x01t\x00\x01t\x00\x01t",
              31 },
            CAUSE_TOO_LARGE }, /* nine filters to leave */
        /* what the broker would end the connection for, without a word */
        { { (const uint8_t *)"\x40\x00", 2 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x40\x02\x00\x00", 4 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\xc0\x01x", 3 }, CAUSE_PROTOCOL }, /* PINGREQ with a body */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device d = device_in(f, &f->device, "a");
        size_t from = f->record_count;

        device_send(&d, cases[i].bytes);
        expect_closed(&d);
        (void)wait_record(f, from, cases[i].cause);
        device_free(&d);
    }
}

/* A strict client would leave when it got such a message; mosquitto hands on all but the second. */
static void
properties_that_no_client_may_send_reach_nobody(void **state)
{
    static const struct span cases[] = {
        { (const uint8_t *)"\x30\x08\x00\x03t/x\x02\x0b\x05", 10 }, /* subscription identifier */
        { (const uint8_t *)"\x30\x0a\x00\x03t/x\x04\x01\x01\x01\x01", 12 }, /* twice */
        { (const uint8_t *)"\x30\x08\x00\x03t/x\x02\x01\x02", 10 },         /* payload format 2 */
        { (const uint8_t *)"\x30\x0a\x00\x03t/x\x04\x08\x00\x01#", 12 },    /* answer to # */
        { (const uint8_t *)"\x40\x07\x00\x01\x00\x03\x23\x00\x01", 9 }, /* PUBACK with an alias */
        { (const uint8_t *)"\x82\x0f\x00\x0a\x00\x00\x09$share/a/\x05", 17 },  /* no filter */
        { (const uint8_t *)"\x82\x10\x00\x0a\x00\x00\x0a$share/a/t\x05", 18 }, /* no local */
        { (const uint8_t *)"\x82\x09\x00\x0a\x02\x0b\x05\x00\x01t\x01", 11 },  /* an identifier */
    };
    static const uint8_t codes[] = { 0x82, 0x81, 0x81, 0x81, 0x81, 0x8f, 0x82, 0xa1 };
    struct fixture *f = *state;
    struct device hears = device_in5(f, &f->other, "hears");

    say_subscribe(&hears, 5, "t/x", 0);
    expect_suback5(&hears, 20, LIT("\0"), CAUSE_NONE, "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device d = device_in5(f, &f->device, "a");

        device_send(&d, cases[i]);
        expect_disconnect5(&d, codes[i], CAUSE_PROTOCOL);
        expect_closed(&d);
        device_free(&d);
    }
    expect_ping(&hears);
    device_free(&hears);
}

/* A broker takes 0 for: never. SPEC aws-iot 6.6 */
static void
message_expiry_of_0_is_raised_to_1(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in5(f, &f->device, "a");
    struct device b = device_in5(f, &f->other, "b");

    say_subscribe(&b, 5, "t/x", 0);
    expect_suback5(&b, 20, LIT("\0"), CAUSE_NONE, "");
    device_send(&a, LIT("\x30\x0c\x00\x03t/x\x05\x02\x00\x00\x00\x00x"));
    expect(&b, LIT("\x30\x0c\x00\x03t/x\x05\x02\x00\x00\x00\x01x"));
    device_free(&a);
    device_free(&b);
}

static void
topic_of_256_bytes_passes_and_of_257_does_not(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "a");
    char topic[258] = "t/";

    memset(topic + 2, 'x', 255);
    topic[256] = '\0';
    say_publish(&d, 4, 1, topic, "x");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    topic[256] = 'x';
    say_publish(&d, 4, 1, topic, "x");
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_TOO_LARGE), "topic_bytes=257 max=256");
    device_free(&d);
}

static void
payload_of_128_kib_passes_and_one_byte_more_does_not(void **state)
{
    struct fixture *f = *state;
    uint8_t *payload = calloc(1, MQTT_PAYLOAD_MAX + 1);
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    struct mqtt_publish m = { .topic = LIT("t/x"), .payload = span_of(payload, MQTT_PAYLOAD_MAX) };
    struct buf out = { 0 };
    struct mqtt_packet p;

    say_subscribe(&b, 4, "t/x", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    mqtt_build_publish(&out, 4, &m);
    device_send(&a, buf_span(&out));
    assert_true(device_next(&b, &p));
    assert_int_equal(p.whole.len, out.len);
    out.len = 0;
    m.payload.len++;
    mqtt_build_publish(&out, 4, &m);
    device_send(&a, buf_span(&out));
    expect_closed(&a);
    assert_fact(wait_record(f, 0, CAUSE_TOO_LARGE), "payload_bytes=131073");
    buf_fini(&out);
    free(payload);
    device_free(&a);
    device_free(&b);
}

static void
delivery_without_permission_is_dropped_silently(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");

    say_subscribe(&b, 4, "deaf", 1);
    expect(&b, LIT("\x90\x03\x00\x14\x01"));
    for (int i = 0; i < 200; i++) { /* more than the broker keeps in flight */
        say_publish(&a, 4, 1, "deaf", "x");
        expect(&a, LIT("\x40\x02\x00\x0a"));
    }
    say_subscribe(&b, 4, "t/y", 1);
    expect(&b, LIT("\x90\x03\x00\x14\x01"));
    say_publish(&a, 4, 1, "t/y", "z");
    (void)wait_record(f, 0, CAUSE_RECEIVE_DENIED);
    {
        struct mqtt_packet p;
        struct mqtt_publish m;

        assert_true(device_next(&b, &p));
        assert_int_equal(mqtt_parse_publish(&p, 4, &m, NULL), BM_OK);
        assert_true(span_eq(m.topic, span_str("t/y")));
    }
    device_free(&a);
    device_free(&b);
}

static void
level_5_suback_names_the_denied_filters(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    device_send(&d, LIT("\x82\x13\x00\x0a\x00\x00\x02no\x01\x00\x03t/a\x02\x00\x02no\x00"));
    expect_suback5(&d, 10, LIT("\x87\x01\x87"), CAUSE_SUBSCRIBE_DENIED, /* QoS 2 is granted as 1 */
        "action=iot:Subscribe resource=\"topicfilter/no\" and 1 more");
    device_send(&d, LIT("\x82\x08\x00\x0b\x00\x00\x02no\x01"));
    expect_suback5(&d, 11, LIT("\x87"), CAUSE_SUBSCRIBE_DENIED,
        "action=iot:Subscribe resource=\"topicfilter/no\"");
    device_free(&d);
}

/* OASIS MQTT 5.0, 3.1.2.11.4 and 3.1.2.11.7 */
static void
reason_strings_are_for_who_wants_them_and_has_room(void **state)
{
    static const struct {
        struct span properties;
        bool told;
    } cases[] = {
        { { (const uint8_t *)"\x17\x01", 2 }, true },
        { { (const uint8_t *)"\x17\x00", 2 }, false },
        { { (const uint8_t *)"\x27\x00\x00\x02\x00", 5 }, true },
        { { (const uint8_t *)"\x27\x00\x00\x00\x60", 5 }, false },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool told = cases[i].told;
        struct device d = device_open(f, &f->device);

        say_connect(&d, 5, "a", cases[i].properties);
        expect_connack5(&d, 0);
        say_publish(&d, 5, 1, "secret", "x");
        expect_puback5(&d, 10, 0x87, told ? CAUSE_PUBLISH_DENIED : CAUSE_NONE,
            "action=iot:Publish resource=\"topic/secret\"");
        device_send(&d, LIT("\x82\x0e\x00\x0a\x00\x00\x02no\x01\x00\x03t/a\x00"));
        expect_suback5(&d, 10, LIT("\x87\x00"), told ? CAUSE_SUBSCRIBE_DENIED : CAUSE_NONE,
            "action=iot:Subscribe resource=\"topicfilter/no\"");
        say_publish(&d, 5, 0, "secret", "x"); /* an end may be told for all that */
        expect_disconnect5(&d, 0x87, i < 3 ? CAUSE_PUBLISH_DENIED : CAUSE_NONE);
        device_free(&d);
    }
}

/* SPEC aws-iot 6.4: at both levels, and policies decide on the filter without its group. */
static void
members_of_a_shared_subscription_get_each_message_once(void **state)
{
    struct fixture *f = *state;
    struct device from = device_in(f, &f->other, "from");
    struct device member[] = { device_in(f, &f->device, "four"),
        device_in5(f, &f->device, "five") };
    unsigned seen = 0;

    say_subscribe(&member[0], 4, "$share/group/t/shared", 0);
    expect(&member[0], LIT("\x90\x03\x00\x14\x00"));
    say_subscribe(&member[1], 5, "$share/group/t/shared", 0);
    expect(&member[1], LIT("\x90\x04\x00\x14\x00\x00"));
    for (int i = 0; i < 6; i++) {
        say_publish(&from, 4, 1, "t/shared", (const char[]){ (char)('0' + i), '\0' });
        expect(&from, LIT("\x40\x02\x00\x0a"));
    }
    for (int i = 0; i < 6; i++) { /* mosquitto takes one after the other */
        struct mqtt_publish m;
        struct mqtt_packet p;

        assert_true(device_next(&member[i % 2], &p));
        assert_int_equal(mqtt_parse_publish(&p, i % 2 == 0 ? 4 : 5, &m, NULL), BM_OK);
        assert_int_equal(m.payload.len, 1);
        seen |= 1u << (m.payload.ptr[0] - '0');
    }
    assert_int_equal(seen, 63);
    say_subscribe(&member[1], 5, "$share/group/denied", 0);
    expect_suback5(&member[1], 20, LIT("\x87"), CAUSE_SUBSCRIBE_DENIED,
        "action=iot:Subscribe resource=\"topicfilter/denied\"");
    assert_fact(wait_record(f, 0, CAUSE_SUBSCRIBE_DENIED), "resource=\"topicfilter/denied\"");
    say_subscribe(&member[0], 4, "$share/group/denied", 0);
    expect_closed(&member[0]);
    device_free(&from);
    device_free(&member[0]);
    device_free(&member[1]);
}

static void
topic_alias_was_not_offered_and_is_refused(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    device_send(&d, LIT("\x30\x0a\x00\x03t/x\x03\x23\x00\x01x"));
    expect_disconnect5(&d, 0x94, CAUSE_PROTOCOL);
    expect_closed(&d);
    device_free(&d);
}

/* A broker says that nobody is subscribed; the service has no such codes. SPEC aws-iot 6.6 */
static void
acknowledgements_have_the_service_s_codes(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    say_publish(&d, 5, 1, "t/nobody", "x");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    device_send(&d, LIT("\xa2\x06\x00\x0b\x00\x00\x01t"));
    expect(&d, LIT("\xb0\x04\x00\x0b\x00\x00"));
    device_free(&d);
}

static void
filter_with_hash_does_not_match_its_parent(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");

    say_subscribe(&b, 4, "t/#", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    say_publish(&a, 4, 0, "t", "parent");
    say_publish(&a, 4, 0, "t/", "empty");
    say_publish(&a, 4, 0, "t/x/y", "below");
    expect(&b, LIT("\x30\x09\x00\x02t/empty"));
    expect(&b, LIT("\x30\x0c\x00\x05t/x/ybelow"));
    device_send(&b, LIT("\xa2\x07\x00\x15\x00\x03t/#"));
    expect(&b, LIT("\xb0\x02\x00\x15"));
    say_publish(&a, 4, 1, "t/z", "gone");
    expect(&a, LIT("\x40\x02\x00\x0a"));
    expect_ping(&b);
    device_free(&a);
    device_free(&b);
}

static void
message_for_a_rule_goes_to_control_too(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "a");

    give_filters(&d, "other/#", "t/+/r");
    say_publish(&d, 4, 0, "t/no", "1");
    say_publish(&d, 4, 1, "t/yes/r", "2");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    wait_ingress(f, 1);
    assert_string_equal(f->ingress_topic, "t/yes/r");
    assert_string_equal(f->ingress_payload, "2");
    device_free(&d);
}

static void
basic_ingest_goes_to_control_and_not_to_the_broker(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in5(f, &f->other, "b");

    f->stores_late = true;
    say_publish(&a, 4, 1, "$aws/rules/r/t/x", "for the rule");
    wait_ingress(f, 1);
    expect_ping(&a); /* and no PUBACK before */
    answer_stored(f, f->unstored, true);
    expect(&a, LIT("\x40\x02\x00\x0a"));
    assert_string_equal(f->ingress_topic, "$aws/rules/r/t/x");
    assert_string_equal(f->ingress_payload, "for the rule");
    f->stores_late = false; /* the first three levels do not count */
    say_publish(&a, 4, 1, "$aws/rules/r/1/2/3/4/5/6/7/8", "deep");
    expect(&a, LIT("\x40\x02\x00\x0a"));
    say_subscribe(&b, 5, "$aws/rules/r/#", 1); /* nobody can */
    expect_suback5(&b, 20, LIT("\x87"), CAUSE_SUBSCRIBE_DENIED,
        "action=iot:Subscribe resource=\"topicfilter/$aws/rules/r/#\"");
    say_publish(&a, 4, 1, "$aws/rules/r/1/2/3/4/5/6/7/8/9", "too deep");
    expect_closed(&a);
    (void)wait_record(f, 0, CAUSE_TOO_LARGE);
    device_free(&a);
    device_free(&b);
}

static void
fifty_subscriptions_are_granted_and_one_more_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "d");
    char filter[16];
    struct mqtt_packet p;
    size_t from;

    for (int i = 0; i < 50; i++) {
        (void)snprintf(filter, sizeof filter, "t/%d", i);
        say_subscribe(&d, 5, filter, 0);
        expect(&d, LIT("\x90\x04\x00\x14\x00\x00"));
    }
    say_subscribe(&d, 5, "t/49", 1); /* again is not one more */
    expect(&d, LIT("\x90\x04\x00\x14\x00\x01"));
    device_send(&d, LIT("\xa2\x09\x00\x15\x00\x00\x04t/49"));
    assert_true(device_next(&d, &p));
    assert_int_equal(p.type, MQTT_UNSUBACK);
    say_subscribe(&d, 5, "t/50", 1); /* in its place */
    expect(&d, LIT("\x90\x04\x00\x14\x00\x01"));
    from = f->record_count;
    say_subscribe(&d, 5, "t/51", 1);
    expect_disconnect5(&d, 0x97, CAUSE_SUBSCRIPTIONS);
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_SUBSCRIPTIONS), "subscriptions_max=50");
    device_free(&d);
}

/* Publishers wait for a control process that is slow; no message for a rule is lost. */
static void
slow_control_holds_publishers_back_and_misses_nothing(void **state)
{
    enum { MESSAGES = 200, SIZE = 100000 };
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "a");
    uint8_t *payload = calloc(1, SIZE);
    struct mqtt_publish m = { .topic = LIT("t/rule"), .payload = span_of(payload, SIZE) };
    struct buf out = { 0 };
    struct rd r;
    int64_t blocked_ms = 0;
    bool was_blocked = false;

    give_filters(&d, "t/#", NULL);
    for (int i = 0; i < MESSAGES; i++) {
        mqtt_build_publish(&out, 4, &m);
    }
    f->deaf = true;
    r = rd_of(buf_span(&out));
    while (rd_left(&r) > 0) {
        int ret = SSL_write(d.ssl, r.pos, (int)rd_left(&r));

        if (ret > 0) {
            (void)rd_span(&r, (size_t)ret);
            blocked_ms = 0;
            continue;
        }
        assert_int_equal(SSL_get_error(d.ssl, ret), SSL_ERROR_WANT_WRITE);
        pump(f, d.fd, POLLOUT, 50);
        blocked_ms += 50;
        if (blocked_ms > 500 && f->deaf) {
            was_blocked = true;
            f->deaf = false;
        }
        assert_true(blocked_ms < WAIT_MS);
    }
    assert_true(was_blocked);
    expect_ping(&d);
    while (f->ingresses < MESSAGES && blocked_ms < WAIT_MS) {
        pump(f, -1, 0, 20);
        blocked_ms += 20;
    }
    assert_int_equal(f->ingresses, MESSAGES);
    buf_fini(&out);
    free(payload);
    device_free(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        KNOWN(message_reaches_a_subscriber),
        KNOWN(denied_publish_closes_level_4_without_puback),
        KNOWN(variables_of_the_certificate_come_from_the_leaf),
        KNOWN(conditions_see_how_and_from_where_a_client_connects),
        KNOWN(denied_publish_tells_level_5_and_keeps_it_at_qos_1),
        KNOWN(retained_publish_needs_its_own_permission),
        LIFTED(publishes_outside_the_limits_are_closed_with_a_cause),
        LIFTED(properties_that_no_client_may_send_reach_nobody),
        KNOWN(acknowledgements_have_the_service_s_codes),
        KNOWN(topic_of_256_bytes_passes_and_of_257_does_not),
        LIFTED(message_expiry_of_0_is_raised_to_1),
        KNOWN(nothing_is_retained_on_a_reserved_topic),
        KNOWN(message_that_is_sent_again_is_no_duplicate),
        KNOWN(payload_of_128_kib_passes_and_one_byte_more_does_not),
        KNOWN(delivery_without_permission_is_dropped_silently),
        KNOWN(level_5_suback_names_the_denied_filters),
        KNOWN(reason_strings_are_for_who_wants_them_and_has_room),
        KNOWN(members_of_a_shared_subscription_get_each_message_once),
        KNOWN(topic_alias_was_not_offered_and_is_refused),
        KNOWN(filter_with_hash_does_not_match_its_parent),
        KNOWN(message_for_a_rule_goes_to_control_too),
        KNOWN(basic_ingest_goes_to_control_and_not_to_the_broker),
        KNOWN(fifty_subscriptions_are_granted_and_one_more_ends_the_connection),
        LIFTED(slow_control_holds_publishers_back_and_misses_nothing),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
