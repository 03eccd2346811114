/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: a PUBACK is given when what was published is durable, and in its order. The stage is
 * worker_world.h.
 */
#include "worker_world.h"

/* QoS 1, with this packet identifier. */
static void
publish(struct device *d, uint8_t level, uint16_t id, const char *topic)
{
    struct mqtt_publish m = {
        .qos = 1, .packet_id = id, .topic = span_str(topic), .payload = LIT("x")
    };
    struct buf out = { 0 };

    mqtt_build_publish(&out, level, &m);
    device_send(d, buf_span(&out));
    buf_fini(&out);
}

/* The broker has had all that `from` published before, and its PUBACKs are on their way. */
static void
settle(struct device *from, struct device *subscriber)
{
    struct mqtt_packet p;
    struct mqtt_publish m;

    say_publish(from, 4, 0, "t/kept/mark", "x");
    do {
        assert_true(device_next(subscriber, &p));
        assert_int_equal(mqtt_parse_publish(&p, 4, &m, NULL), BM_OK);
    } while (!span_eq(m.topic, span_str("t/kept/mark")));
    expect_ping(from);
}

static void
puback_waits_for_the_rules_store_and_later_ones_behind_it(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");

    f->stores_late = true;
    give_filters(&a, "t/rule", NULL);
    say_subscribe(&b, 4, "t/#", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    publish(&a, 4, 1, "t/plain");
    expect(&a, LIT("\x40\x02\x00\x01")); /* no rule looks at it */
    say_publish(&a, 4, 0, "t/rule", "qos 0");
    wait_ingress(f, 1);
    assert_int_equal(f->unstored, 0);
    publish(&a, 4, 2, "t/rule");
    publish(&a, 4, 3, "t/plain");
    publish(&a, 4, 4, "t/rule");
    publish(&a, 4, 5, "t/plain");
    wait_ingress(f, 3);
    settle(&a, &b); /* PINGRESP, and no PUBACK before it */
    answer_stored(f, f->unstored - 1, true);
    expect(&a, LIT("\x40\x02\x00\x02"));
    expect(&a, LIT("\x40\x02\x00\x03"));
    expect_ping(&a);
    answer_stored(f, f->unstored, true);
    expect(&a, LIT("\x40\x02\x00\x04"));
    expect(&a, LIT("\x40\x02\x00\x05"));
    device_free(&a);
    device_free(&b);
}

static void
refusals_of_level_5_keep_their_place(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "d");
    struct mqtt_packet p;

    f->stores_late = true;
    give_filters(&d, "t/rule", NULL);
    publish(&d, 5, 1, "t/rule");
    publish(&d, 5, 2, "denied");
    wait_ingress(f, 1);
    expect_ping(&d);
    answer_stored(f, f->unstored, true);
    assert_true(device_next(&d, &p)); /* success, or 0x10: nobody subscribed */
    assert_int_equal(p.type, MQTT_PUBACK);
    assert_memory_equal(p.body.ptr, "\x00\x01", 2);
    expect_puback5(
        &d, 2, 0x87, CAUSE_PUBLISH_DENIED, "action=iot:Publish resource=\"topic/denied\"");
    device_free(&d);
}

/* MQTT 5, 4.6: the broker's PUBACK of a message that nothing else waits for comes first, too. */
static void
refusal_and_basic_ingest_wait_for_the_broker_s_pubacks(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "d");
    struct mqtt_packet p;

    assert_int_equal(kill(f->mosquitto, SIGSTOP), 0);
    publish(&d, 5, 1, "t/x");
    publish(&d, 5, 2, "denied");
    publish(&d, 5, 3, "$aws/rules/r/t");
    publish(&d, 5, 4, "t/x");
    wait_ingress(f, 1);
    expect_ping(&d); /* and no PUBACK before */
    assert_int_equal(kill(f->mosquitto, SIGCONT), 0);
    for (uint8_t i = 1; i <= 4; i++) {
        assert_true(device_next(&d, &p));
        assert_int_equal(p.type, MQTT_PUBACK);
        assert_int_equal(p.body.ptr[1], i);
        assert_int_equal(p.body.len > 2 && p.body.ptr[2] == 0x87, i == 2);
    }
    publish(&d, 5, 5, "denied"); /* nothing is in flight: at once */
    assert_true(device_next(&d, &p));
    assert_memory_equal(p.body.ptr, "\x00\x05\x87", 3);
    device_free(&d);
}

static void
retained_message_is_acknowledged_when_it_and_its_topic_are_stored(void **state)
{
    struct fixture *f = *state;
    struct device d;

    put_table(f, &f->device, CERT_ACTIVE, SET_RETAIN);
    d = device_in(f, &f->device, "d");
    f->stores_late = true;
    device_send(&d, LIT("\x33\x08\x00\x03t/k\x00\x07x")); /* QoS 1, RETAIN */
    while (f->unstored == 0) {
        expect_ping(&d);
    }
    expect_ping(&d);
    answer_stored(f, f->unstored, true);
    expect(&d, LIT("\x40\x02\x00\x07"));
    assert_int_equal(f->saves, 1);
    device_free(&d);
}

static void
what_could_not_be_stored_is_not_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    size_t from = f->record_count;

    f->stores_late = true;
    give_filters(&a, "t/rule", NULL);
    publish(&a, 4, 1, "t/rule");
    wait_ingress(f, 1);
    answer_stored(f, f->unstored, false);
    expect_closed(&a);
    assert_fact(wait_record(f, from, CAUSE_CONTROL_DOWN), "rules=");
    publish(&b, 4, 2, "t/rule"); /* what comes later is another matter */
    wait_ingress(f, 2);
    answer_stored(f, f->unstored, true);
    expect(&b, LIT("\x40\x02\x00\x02"));
    device_free(&a);
    device_free(&b);
}

static void
without_control_nothing_for_rules_is_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct device waiting = device_in(f, &f->device, "waiting");
    struct device level5 = device_in5(f, &f->device, "level5");
    struct device level4 = device_in(f, &f->device, "level4");

    f->stores_late = true;
    give_filters(&waiting, "t/rule", NULL);
    publish(&waiting, 4, 1, "t/rule");
    wait_ingress(f, 1);
    (void)close(f->control);
    f->control = -1;
    expect_closed(&waiting);
    publish(&level5, 5, 2, "t/rule");
    expect_puback5(&level5, 2, 0x97, CAUSE_CONTROL_DOWN, "");
    publish(&level4, 4, 3, "t/plain");
    expect(&level4, LIT("\x40\x02\x00\x03"));
    say_publish(&level4, 4, 0, "t/rule", "lost, and counted");
    wait_metric(f, "birthmark_rule_messages_lost_total 1\n");
    publish(&level4, 4, 4, "t/rule");
    expect_closed(&level4);
    device_free(&waiting);
    device_free(&level5);
    device_free(&level4);
}

/* Wait until control was asked so often to have sessions saved. */
static void
wait_saves(struct fixture *f, unsigned count)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    while (f->saves < count) {
        assert_true(clock_mono_ms() < end);
        pump(f, -1, 0, 20);
    }
    assert_int_equal(f->saves, count);
}

/* A device with a session that is kept and a subscription to t/kept/#, which is saved. */
static struct device
kept_subscriber(struct fixture *f)
{
    struct device d = device_open(f, &f->other);

    /* level 4, not clean, keep-alive 60 s, client id `kept` */
    device_send(&d, LIT("\x10\x10\x00\x04MQTT\x04\x00\x00\x3c\x00\x04kept"));
    expect(&d, LIT("\x20\x02\x00\x00"));
    say_subscribe(&d, 4, "t/kept/#", 0);
    expect(&d, LIT("\x90\x03\x00\x14\x00"));
    wait_saves(f, 1);
    return d;
}

static void
message_for_a_kept_session_waits_for_the_broker_s_disk(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b;

    publish(&a, 4, 1, "t/kept/x"); /* there is no such session yet */
    expect(&a, LIT("\x40\x02\x00\x01"));
    assert_int_equal(f->saves, 0);
    b = kept_subscriber(f);
    f->saves_late = true;
    publish(&a, 4, 2, "t/other");
    expect(&a, LIT("\x40\x02\x00\x02"));
    assert_int_equal(f->saves, 1);
    publish(&a, 4, 3, "t/kept/x");
    wait_saves(f, 2);
    publish(&a, 4, 4, "t/kept/y"); /* the broker gets it while the save is under way */
    publish(&a, 4, 5, "t/other");
    settle(&a, &b);
    answer_saved(f, f->unsaved, true);
    expect(&a, LIT("\x40\x02\x00\x03"));
    wait_saves(f, 3);
    expect_ping(&a);
    answer_saved(f, f->unsaved, true);
    expect(&a, LIT("\x40\x02\x00\x04"));
    expect(&a, LIT("\x40\x02\x00\x05"));
    say_publish(&a, 4, 0, "t/kept/x", "qos 0");
    expect_ping(&a);
    assert_int_equal(f->saves, 3);
    device_free(&a);
    device_free(&b);
}

static void
what_the_broker_can_not_write_is_not_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = kept_subscriber(f);
    size_t from = f->record_count;

    f->saves_late = true;
    publish(&a, 4, 1, "t/kept/x");
    wait_saves(f, 2);
    answer_saved(f, f->unsaved, false);
    expect_closed(&a);
    assert_fact(wait_record(f, from, CAUSE_BROKER_DOWN), "sessions=");
    device_free(&a);
    device_free(&b);
}

/* Many waiting: the client is read again when they are stored, and all get theirs, in order. */
static void
many_that_wait_are_bounded_and_all_released(void **state)
{
    enum { MESSAGES = ACKS_MAX + 500 };
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "d");
    struct buf out = { 0 };
    struct mqtt_packet p;

    f->stores_late = true;
    give_filters(&d, "t/rule", NULL);
    for (unsigned i = 1; i <= MESSAGES; i++) {
        struct mqtt_publish m = {
            .qos = 1, .packet_id = (uint16_t)i, .topic = LIT("t/rule"), .payload = LIT("x")
        };

        mqtt_build_publish(&out, 4, &m);
    }
    device_send(&d, buf_span(&out));
    wait_ingress(f, ACKS_MAX);
    f->stores_late = false;
    answer_stored(f, f->unstored, true);
    for (unsigned i = 1; i <= MESSAGES; i++) {
        assert_true(device_next(&d, &p));
        assert_int_equal(p.type, MQTT_PUBACK);
        assert_int_equal(p.body.ptr[0] << 8 | p.body.ptr[1], i);
    }
    wait_ingress(f, MESSAGES);
    buf_fini(&out);
    device_free(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        KNOWN(puback_waits_for_the_rules_store_and_later_ones_behind_it),
        KNOWN(refusals_of_level_5_keep_their_place),
        KNOWN(refusal_and_basic_ingest_wait_for_the_broker_s_pubacks),
        KNOWN(retained_message_is_acknowledged_when_it_and_its_topic_are_stored),
        KNOWN(what_could_not_be_stored_is_not_acknowledged),
        KNOWN(without_control_nothing_for_rules_is_acknowledged),
        KNOWN(message_for_a_kept_session_waits_for_the_broker_s_disk),
        KNOWN(what_the_broker_can_not_write_is_not_acknowledged),
        LIFTED(many_that_wait_are_bounded_and_all_released),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
