/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: certificates and policies that change under a connection, and takeovers. The stage is
 * worker_world.h. */
#include "worker_world.h"

static void
deactivated_device_is_kicked_and_its_will_fires(void **state)
{
    struct fixture *f = *state;
    struct device watcher = device_in(f, &f->other, "watcher");
    struct device d = device_open(f, &f->device);

    say_subscribe(&watcher, 4, "t/will", 0);
    expect(&watcher, LIT("\x90\x03\x00\x14\x00"));
    device_send(&d, LIT("\x10\x1b\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                        "dev\x00\x06t/will\x00\x02"
                        "by"));
    expect(&d, LIT("\x20\x02\x00\x00"));
    put_table(f, &f->device, CERT_INACTIVE, SET);
    changed(f, &f->device);
    expect_closed(&d);
    expect(&watcher, LIT("\x30\x0a\x00\x06t/willby"));
    assert_string_equal(wait_record(f, 0, CAUSE_INACTIVE)->status, "INACTIVE");
    expect_ping(&watcher); /* nobody else is touched */
    device_free(&d);
    device_free(&watcher);
}

static void
disconnect_fires_no_will_and_a_lost_connection_does(void **state)
{
    static const uint8_t hello[] = "\x10\x1b\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                                   "dev\x00\x06t/will\x00\x02"
                                   "by";
    struct fixture *f = *state;
    struct device watcher = device_in(f, &f->other, "watcher");
    struct device d = device_open(f, &f->device);

    say_subscribe(&watcher, 4, "t/+", 0);
    expect(&watcher, LIT("\x90\x03\x00\x14\x00"));
    device_send(&d, LIT("\x10\x1b\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                        "dev\x00\x06t/will\x00\x02"
                        "no"));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_send(&d, LIT("\xe0\x00"));
    expect_closed(&d);
    device_free(&d);
    d = device_open(f, &f->device);
    device_send(&d, span_of(hello, sizeof hello - 1));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_free(&d);
    expect(&watcher, LIT("\x30\x0a\x00\x06t/willby"));
    device_free(&watcher);
}

static void
will_goes_before_the_rules_when_the_device_is_lost(void **state)
{
    struct fixture *f = *state;
    struct device sign = device_in(f, &f->other, "sign");
    struct device d = device_open(f, &f->device);

    give_filters(&sign, "t/will", NULL);
    device_send(&d, LIT("\x10\x1b\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                        "dev\x00\x06t/will\x00\x02"
                        "no"));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_send(&d, LIT("\xe0\x00"));
    expect_closed(&d);
    device_free(&d);
    d = device_open(f, &f->device);
    device_send(&d, LIT("\x10\x1b\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                        "dev\x00\x06t/will\x00\x02"
                        "by"));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_free(&d);
    wait_ingress(f, 1);
    assert_string_equal(f->ingress_topic, "t/will");
    assert_string_equal(f->ingress_payload, "by");
    device_free(&sign);
}

static void
will_without_permission_is_refused_at_connect(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    device_send(&d, LIT("\x10\x18\x00\x04MQTT\x04\x06\x00\x3c\x00\x03"
                        "dev\x00\x03x/y\x00\x02"
                        "by"));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_DENIED), "resource=\"topic/x/y\" of=will");
    device_free(&d);
}

static void
deleted_certificate_ends_its_connections(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");
    uint8_t id[32];

    certs_id(&f->device, id);
    table_remove(f->table, id);
    changed(f, &f->device);
    expect_disconnect5(&d, 0x98, CAUSE_INACTIVE);
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_INACTIVE), "certificate=deleted");
    device_free(&d);
}

static void
changed_policies_decide_from_then_on(void **state)
{
    static const uint32_t sets[] = { SET_NARROW, 0 };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        struct device d = device_in(f, &f->device, "a");
        size_t from = f->record_count;

        say_publish(&d, 4, 1, "t/x", "1");
        expect(&d, LIT("\x40\x02\x00\x0a"));
        put_table(f, &f->device, CERT_ACTIVE, sets[i]);
        changed(f, &f->device);
        expect_ping(&d); /* a round for LINK_CHANGED, one for the documents */
        while (i == 0 && f->policies < 2) {
            pump(f, -1, 0, 20);
        }
        expect_ping(&d);
        expect_ping(&d);
        say_publish(&d, 4, 1, "t/x", "2");
        expect_closed(&d);
        (void)wait_record(f, from, CAUSE_PUBLISH_DENIED);
        device_free(&d);
        put_table(f, &f->device, CERT_ACTIVE, SET);
    }
}

/* SPEC aws-iot 7.3 */
static void
facts_of_the_thing_are_asked_only_by_policies_that_use_them(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "lamp");

    assert_int_equal(f->things, 0);
    device_free(&d);
    put_table(f, &f->device, CERT_ACTIVE, SET_THING);
    changed(f, &f->device);
    d = device_open(f, &f->device); /* no thing: no way in */
    say_connect(&d, 4, "lamp", LIT(""));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_DENIED), "policy=of_thing statement=1");
    assert_int_equal(f->things, 1);
    assert_string_equal(f->thing_client, "lamp");
    device_free(&d);
    f->thing = "{\"room\":\"hall\"}";
    d = device_in(f, &f->device, "lamp");
    say_publish(&d, 4, 1, "t/hall", "1");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    say_publish(&d, 4, 1, "t/cellar", "1");
    expect_closed(&d);
    assert_int_equal(f->things, 2);
    device_free(&d);
}

static void
a_changed_thing_decides_from_then_on_and_the_old_one_until_then(void **state)
{
    struct fixture *f = *state;
    struct device d;

    put_table(f, &f->device, CERT_ACTIVE, SET_THING);
    f->thing = "{\"room\":\"hall\"}";
    d = device_in(f, &f->device, "lamp");
    f->thing_waits = true;
    f->thing = "{\"room\":\"cellar\"}";
    changed(f, &f->device);
    while (f->things < 2) {
        pump(f, -1, 0, 20);
    }
    changed(f, &f->device); /* the answer to come is new enough: no third question */
    say_publish(&d, 4, 1, "t/hall", "1");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    answer_thing(f);
    expect_ping(&d);
    say_publish(&d, 4, 1, "t/cellar", "1");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    assert_int_equal(f->things, 2);
    f->thing = NULL; /* detached: it may do nothing more, but nobody closes it for that */
    f->thing_waits = false;
    changed(f, &f->device);
    while (f->things < 3) {
        pump(f, -1, 0, 20);
    }
    expect_ping(&d);
    expect_ping(&d);
    say_publish(&d, 4, 1, "t/cellar", "1");
    expect_closed(&d);
    (void)wait_record(f, 0, CAUSE_PUBLISH_DENIED);
    device_free(&d);
}

/* A connection whose policies begin to ask for the thing: they count when it is known. */
static void
new_policies_wait_for_the_facts_they_use(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "lamp");

    f->thing = "{\"room\":\"hall\"}";
    f->thing_waits = true;
    put_table(f, &f->device, CERT_ACTIVE, SET_THING);
    changed(f, &f->device);
    while (f->things < 1) {
        pump(f, -1, 0, 20);
    }
    say_publish(&d, 4, 1, "t/old", "1");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    answer_thing(f);
    expect_ping(&d);
    say_publish(&d, 4, 1, "t/hall", "1");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    say_publish(&d, 4, 1, "t/old", "1");
    expect_closed(&d);
    device_free(&d);
}

static void
who_cannot_learn_its_thing_is_closed(void **state)
{
    struct fixture *f = *state;
    struct device d;
    struct device waiting;

    put_table(f, &f->device, CERT_ACTIVE, SET_THING);
    f->thing = "{\"room\":1}"; /* not what the registry holds */
    d = device_open(f, &f->device);
    say_connect(&d, 4, "lamp", LIT(""));
    expect_unavailable(&d);
    assert_fact(wait_record(f, 0, CAUSE_CONTROL_DOWN), "asked=thing");
    device_free(&d);
    f->thing = "{}";
    d = device_in5(f, &f->device, "lamp");
    f->thing_fails = true;
    changed(f, &f->device);
    expect_disconnect5(&d, 0x87, CAUSE_CONTROL_DOWN);
    expect_closed(&d);
    device_free(&d);
    f->thing_fails = false;
    d = device_in5(f, &f->device, "lamp");
    f->thing_waits = true;
    changed(f, &f->device);
    waiting = device_open(f, &f->device);
    say_connect(&waiting, 4, "other", LIT(""));
    while (f->things < 6) {
        pump(f, -1, 0, 20);
    }
    (void)close(f->control); /* and with it the hope of an answer */
    f->control = -1;
    expect_disconnect5(&d, 0x87, CAUSE_CONTROL_DOWN);
    expect_closed(&d);
    expect_unavailable(&waiting);
    device_free(&d);
    device_free(&waiting);
}

static void
second_connection_with_the_id_takes_over(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "same");
    struct device b = device_in(f, &f->device, "same");

    expect_closed(&a);
    assert_string_equal(wait_record(f, 0, CAUSE_TAKEN_OVER)->client_id, "same");
    expect_ping(&b);
    device_free(&a);
    a = device_in5(f, &f->device, "five");
    device_free(&b);
    b = device_in5(f, &f->device, "five");
    expect_disconnect5(&a, 0x8e, CAUSE_TAKEN_OVER);
    expect_closed(&a);
    device_free(&a);
    device_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        KNOWN(deactivated_device_is_kicked_and_its_will_fires),
        KNOWN(disconnect_fires_no_will_and_a_lost_connection_does),
        KNOWN(will_goes_before_the_rules_when_the_device_is_lost),
        KNOWN(will_without_permission_is_refused_at_connect),
        KNOWN(deleted_certificate_ends_its_connections),
        KNOWN(changed_policies_decide_from_then_on),
        KNOWN(facts_of_the_thing_are_asked_only_by_policies_that_use_them),
        KNOWN(a_changed_thing_decides_from_then_on_and_the_old_one_until_then),
        KNOWN(new_policies_wait_for_the_facts_they_use),
        KNOWN(who_cannot_learn_its_thing_is_closed),
        KNOWN(second_connection_with_the_id_takes_over),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
