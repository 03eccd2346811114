/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: TLS versions and tricks, CONNECT in all forms. The stage is worker_world.h. */
#include "worker_world.h"

static void
chain_of_ten_is_served_and_only_its_leaf_counts(void **state)
{
    struct fixture *f = *state;
    struct device d = device_start(f, &(struct tls_choice){ .cert = &f->device });
    struct made chain[10];

    for (size_t i = 0; i < 10; i++) {
        chain[i] = certs_make(
            &(struct make){ .name = "link", .issuer = i > 0 ? &chain[i - 1] : NULL, .ca = true });
        assert_int_equal(SSL_add1_chain_cert(d.ssl, chain[i].cert), 1);
    }
    assert_true(device_handshake(&d));
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_free(&d);
    for (size_t i = 0; i < 10; i++) {
        certs_fini(&chain[i]);
    }
}

/* A client's wish for new keys of TLS 1.2 is not followed, and what follows is read as MQTT. */
static void
renegotiation_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct device d =
        device_start(f, &(struct tls_choice){ .cert = &f->device, .version = TLS1_2_VERSION });
    int64_t end = clock_mono_ms() + WAIT_MS;
    struct device other;
    uint8_t byte;

    assert_true(device_handshake(&d));
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    assert_int_equal(SSL_renegotiate(d.ssl), 1);
    for (;;) {
        int ret;

        ERR_clear_error();
        ret = SSL_do_handshake(d.ssl);
        if (ret == 1 || SSL_get_error(d.ssl, ret) != SSL_ERROR_WANT_READ) {
            break;
        }
        ret = SSL_read(d.ssl, &byte, 1);
        if (!step(&d, ret, end)) {
            break;
        }
    }
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    other = device_in(f, &f->device, "other");
    expect_ping(&other); /* others do not notice */
    device_free(&other);
    device_free(&d);
}

/* Early data needs a ticket, and there are none: not for TLS 1.3, not for 1.2. */
static void
sessions_cannot_be_resumed_so_there_is_no_early_data(void **state)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        struct device d =
            device_start(f, &(struct tls_choice){ .cert = &f->device, .version = versions[i] });
        SSL_SESSION *s;

        assert_true(device_handshake(&d));
        say_connect(&d, 4, "dev-1", span_of(NULL, 0));
        expect(&d, LIT("\x20\x02\x00\x00")); /* a ticket would have come before */
        s = SSL_get0_session(d.ssl);
        assert_int_equal(SSL_SESSION_has_ticket(s), 0);
        assert_int_equal(SSL_SESSION_get_max_early_data(s), 0);
        device_free(&d);
    }
}

/* Warnings of TLS cost the sender its connection after a few, and nobody else anything. */
static void
flood_of_alerts_ends_the_connection(void **state)
{
    static const uint8_t alert[] = { 21, 3, 3, 0, 2, 1, 90 }; /* warning, user_canceled */
    struct fixture *f = *state;
    struct device d = { .f = f, .fd = -1 };
    struct pollfd p = { .events = POLLIN };
    struct device other;

    tcp_connect(&d);
    for (int i = 0; i < 100; i++) {
        (void)send(d.fd, alert, sizeof alert, MSG_NOSIGNAL);
    }
    p.fd = d.fd;
    assert_int_equal(poll(&p, 1, WAIT_MS), 1); /* ended, long before its deadline would */
    assert_non_null(wait_record(f, 0, CAUSE_TLS));
    other = device_in(f, &f->device, "other");
    expect_ping(&other);
    device_free(&other);
    (void)close(d.fd);
}

static void
connect_may_come_in_any_pieces(void **state)
{
    static const uint8_t bytes[] = "\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03"
                                   "dev\xc0\x00";
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    for (size_t i = 0; i + 1 < sizeof bytes; i++) {
        device_send(&d, span_of(&bytes[i], 1));
    }
    expect(&d, LIT("\x20\x02\x00\x00"));
    expect(&d, LIT("\xd0\x00")); /* the PINGREQ that did not wait for CONNACK */
    device_free(&d);
}

static void
half_connect_times_out(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    device_send(&d, LIT("\x10\x0f\x00\x04MQ"));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_TIMEOUT), "during=connect");
    device_free(&d);
}

static void
half_handshake_times_out(void **state)
{
    struct fixture *f = *state;
    struct device d = { .f = f, .fd = -1 };

    tcp_connect(&d);
    assert_int_equal(send(d.fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_TIMEOUT), "during=tls");
    device_free(&d);
}

static void
garbage_after_tls_is_closed_with_a_cause(void **state)
{
    static const struct {
        struct span bytes;
        enum cause cause;
    } cases[] = {
        { { (const uint8_t *)"\x00\x00", 2 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\xc0\x00", 2 }, CAUSE_PROTOCOL }, /* a PINGREQ first */
        { { (const uint8_t *)"\x10\xff\xff\xff\xff", 5 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x10\xff\xff\xff\x7f", 5 }, CAUSE_TOO_LARGE },
        { { (const uint8_t *)"\x10\x0c\x00\x06MQIsdp\x03\x02\x00\x3c", 14 }, CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04$dev", 18 },
            CAUSE_PROTOCOL },
        { { (const uint8_t *)"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", 14 },
            CAUSE_PROTOCOL }, /* empty id with a session to keep */
        { { (const uint8_t *)"\x10\x12\x00\x04MQTT\x04\x16\x00\x3c\x00\x01"
                             "d\x00\x01t\x00\x00",
              20 },
            CAUSE_QOS2 }, /* a will of QoS 2 */
        { { (const uint8_t *)"\x10\x12\x00\x04MQTT\x04\x0e\x00\x3c\x00\x01"
                             "d\x00\x01+\x00\x00",
              20 },
            CAUSE_PROTOCOL }, /* a will with a wildcard */
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\xff", 15 },
            CAUSE_PROTOCOL }, /* an id that is no UTF-8 */
        { { (const uint8_t *)"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00", 15 },
            CAUSE_PROTOCOL }, /* U+0000 in an id */
        { { (const uint8_t *)"\x10\x12\x00\x04MQTT\x04\x06\x00\x3c\x00\x01"
                             "d\x00\x01\x00\x00\x00",
              20 },
            CAUSE_PROTOCOL }, /* U+0000 in the topic of a will */
        { { (const uint8_t *)"\x10\x1e\x00\x04MQTT\x04\x06\x00\x3c\x00\x01"
                             "d\x00\x0d$aws/events/x\x00\x00",
              32 },
            CAUSE_PROTOCOL }, /* a will that speaks for the service */
        { { (const uint8_t *)"\x10\x1e\x00\x04MQTT\x04\x26\x00\x3c\x00\x01"
                             "d\x00\x0d$aws/things/x\x00\x00",
              32 },
            CAUSE_PROTOCOL }, /* one that is to be retained on a reserved topic */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device d = device_open(f, &f->device);
        size_t from = f->record_count;

        device_send(&d, cases[i].bytes);
        expect_closed(&d);
        (void)wait_record(f, from, cases[i].cause);
        device_free(&d);
    }
    assert_int_equal(f->admits, 0);
}

static void
client_id_of_129_bytes_is_refused_and_of_128_taken(void **state)
{
    struct fixture *f = *state;
    char id[130] = { 0 };
    struct device d = device_open(f, &f->device);

    memset(id, 'x', 129);
    say_connect(&d, 5, id, span_of(NULL, 0));
    expect_connack5(&d, REASON_CLIENT_ID);
    expect_closed(&d);
    (void)wait_record(f, 0, CAUSE_TOO_LARGE);
    device_free(&d);
    id[128] = '\0';
    d = device_in(f, &f->device, id);
    device_free(&d);
}

/* SPEC aws-iot 4.3: over all clients of an account; level 5 is told. */
static void
connects_of_an_account_beyond_its_rate_are_refused(void **state)
{
    struct fixture *f = *state;
    bool refused = false;

    for (int i = 0; i < 50 && !refused; i++) { /* two of them come within a second */
        struct device d = device_open(f, &f->device);
        struct mqtt_packet p;
        char id[16];

        (void)snprintf(id, sizeof id, "many-%d", i);
        say_connect(&d, 5, id, LIT(""));
        assert_true(device_next(&d, &p));
        assert_int_equal(p.type, MQTT_CONNACK);
        refused = p.body.ptr[1] == 0x97;
        assert_true(refused || p.body.ptr[1] == 0);
        device_free(&d);
    }
    assert_true(refused);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_RATE), "of=account connects_per_second=1");
}

/* It is the client's fault, not the broker's: it is told, and the broker does not see it. */
static void
connect_with_properties_it_can_not_have_is_told_so(void **state)
{
    static const struct span lists[] = {
        { (const uint8_t *)"\x21\x00\x00", 3 }, /* Receive Maximum 0 */
        { (const uint8_t *)"\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01", 10 },
        { (const uint8_t *)"\x23\x00\x01", 3 },  /* Topic Alias */
        { (const uint8_t *)"\x15\x00\x01x", 4 }, /* Authentication Method */
        { (const uint8_t *)"\x16\x00\x01x", 4 }, /* Authentication Data */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct device d = device_open(f, &f->device);
        size_t from = f->record_count;

        say_connect(&d, 5, "a", lists[i]);
        expect_connack5(&d, 0x80);
        expect_closed(&d);
        (void)wait_record(f, from, CAUSE_PROTOCOL);
        device_free(&d);
    }
}

static void
device_without_an_id_gets_one(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);
    struct mqtt_packet p;
    struct mqtt_connack k;
    struct mqtt_property prop;
    struct rd list;
    bool assigned = false;

    say_connect(&d, 5, "", span_of(NULL, 0));
    assert_true(device_next(&d, &p));
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    list = rd_of(k.properties);
    while (mqtt_next_property(&list, &prop) == BM_OK) {
        assert_int_not_equal(prop.id, MQTT_PROP_TOPIC_ALIAS_MAX);
        assert_true(prop.id != MQTT_PROP_MAXIMUM_QOS || prop.number == 1);
        assigned = assigned || prop.id == MQTT_PROP_ASSIGNED_CLIENT_ID;
    }
    assert_true(assigned);
    assert_int_equal(strncmp(wait_record(f, 0, CAUSE_ADMITTED)->client_id, "$GEN/", 5), 0);
    device_free(&d);
    d = device_in(f, &f->device, "");
    device_free(&d);
}

/* The Session Expiry Interval of CONNACK, or `none`. */
static uint32_t
told_expiry(struct fixture *f, struct span properties, uint32_t none)
{
    struct device d = device_open(f, &f->device);
    struct mqtt_packet p;
    struct mqtt_connack k;
    struct mqtt_property prop;
    struct rd list;

    say_connect(&d, 5, "dev", properties);
    assert_true(device_next(&d, &p));
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    list = rd_of(k.properties);
    while (mqtt_next_property(&list, &prop) == BM_OK) {
        none = prop.id == MQTT_PROP_SESSION_EXPIRY ? prop.number : none;
    }
    device_free(&d);
    return none;
}

/* SPEC aws-iot 6.5, 6.6: told when it is lowered. */
/* OASIS MQTT 5.0, 3.14.2.2.2 */
static void
disconnect_may_not_ask_for_a_session(void **state)
{
    static const char raises[] = "\xe0\x07\x00\x05\x11\x00\x00\x00\x64";
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "d");
    size_t from = f->record_count;

    device_send(&d, LIT(raises));
    expect_disconnect5(&d, 0x82, CAUSE_PROTOCOL);
    assert_fact(wait_record(f, from, CAUSE_PROTOCOL), "packet=DISCONNECT");
    device_free(&d);
    d = device_open(f, &f->device);
    say_connect(&d, 5, "d", LIT("\x11\x00\x00\x00\x0a"));
    expect_connack5(&d, 0);
    from = f->record_count;
    device_send(&d, LIT(raises));
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_DISCONNECTED), "by=client");
    device_free(&d);
    d = device_in5(f, &f->device, "d");
    device_send(&d, LIT("\xe0\x02\x00\x05"));
    expect_disconnect5(&d, 0x81, CAUSE_PROTOCOL);
    device_free(&d);
}

static void
session_that_shall_live_longer_than_allowed_is_lowered(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(told_expiry(f, LIT("\x11\x00\x00\x1c\x20"), 1), 3600); /* 7200 asked */
    assert_int_equal(told_expiry(f, LIT("\x11\xff\xff\xff\xff"), 1), 3600); /* for ever */
    assert_int_equal(told_expiry(f, LIT("\x11\x00\x00\x00\x3c"), 1), 1);
    assert_int_equal(told_expiry(f, LIT(""), 1), 1);
}

/* MQTT 5, 3.2.2.3.9: the cause in words, unless the client takes no packet that long. */
static void
refusal_of_level_5_comes_with_its_cause(void **state)
{
    static const struct {
        struct span properties;
        size_t min;
        size_t max;
    } cases[] = { { { NULL, 0 }, 40, 200 },
        { { (const uint8_t *)"\x27\x00\x00\x00\x20", 5 }, 0, 0 } };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        struct device d = device_open(f, &f->device);
        struct mqtt_packet p;
        struct mqtt_connack k;

        say_connect(&d, 5, "banned", cases[i].properties);
        assert_true(device_next(&d, &p));
        assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
        assert_int_equal(k.code, 0x87);
        assert_in_range(k.properties.len, cases[i].min, cases[i].max);
        expect_closed(&d);
        device_free(&d);
    }
}

/* 5.0, 3.2.2.3; SPEC aws-iot 6.2, 6.6: all that the service says, and nothing that the broker
 * offers beyond it. */
static void
connack_tells_level_5_the_service_s_bounds(void **state)
{
    static const struct {
        uint16_t asked;
        uint32_t given; /* 0: as asked, and not told */
    } keep_alive[] = { { 0, 1200 }, { 5, 30 }, { 29, 30 }, { 30, 0 }, { 1200, 0 }, { 1201, 1200 },
        { 65535, 1200 } };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof keep_alive / sizeof keep_alive[0]; i++) {
        struct mqtt_connect c = {
            .level = 5, .clean = true, .client_id = span_str("dev"), .properties = LIT("\x22\0\x0a")
        };
        struct device d = device_open(f, &f->device);
        uint32_t said[256] = { 0 };
        unsigned times[256] = { 0 };
        struct buf out = { 0 };
        struct mqtt_packet p;
        struct mqtt_connack k;
        struct mqtt_property prop;
        struct rd list;

        assert_int_equal(
            mqtt_build_connect(&out, &c, span_of(NULL, 0), keep_alive[i].asked), BM_OK);
        device_send(&d, buf_span(&out));
        buf_fini(&out);
        assert_true(device_next(&d, &p));
        assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
        list = rd_of(k.properties);
        while (mqtt_next_property(&list, &prop) == BM_OK) {
            said[prop.id] = prop.number;
            times[prop.id]++;
        }
        assert_int_equal(said[MQTT_PROP_SERVER_KEEP_ALIVE], keep_alive[i].given);
        assert_int_equal(times[MQTT_PROP_SERVER_KEEP_ALIVE], keep_alive[i].given != 0);
        assert_true(times[MQTT_PROP_MAXIMUM_QOS] == 1 && said[MQTT_PROP_MAXIMUM_QOS] == 1);
        assert_int_equal(said[MQTT_PROP_MAXIMUM_PACKET], MQTT_PAYLOAD_MAX);
        assert_int_equal(said[MQTT_PROP_RECEIVE_MAXIMUM], 100);
        assert_int_equal(times[MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE], 1);
        assert_int_equal(said[MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE], 0);
        assert_int_equal(said[MQTT_PROP_TOPIC_ALIAS_MAX], 0);
        device_free(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        KNOWN(chain_of_ten_is_served_and_only_its_leaf_counts),
        KNOWN(renegotiation_is_not_followed),
        KNOWN(sessions_cannot_be_resumed_so_there_is_no_early_data),
        KNOWN(flood_of_alerts_ends_the_connection),
        KNOWN(connect_may_come_in_any_pieces),
        KNOWN(half_connect_times_out),
        UNKNOWN(half_handshake_times_out),
        KNOWN(garbage_after_tls_is_closed_with_a_cause),
        KNOWN(client_id_of_129_bytes_is_refused_and_of_128_taken),
        cmocka_unit_test_setup_teardown(
            connects_of_an_account_beyond_its_rate_are_refused, set_up_slow, tear_down),
        KNOWN(connect_with_properties_it_can_not_have_is_told_so),
        KNOWN(device_without_an_id_gets_one),
        KNOWN(disconnect_may_not_ask_for_a_session),
        KNOWN(session_that_shall_live_longer_than_allowed_is_lowered),
        KNOWN(refusal_of_level_5_comes_with_its_cause),
        KNOWN(connack_tells_level_5_the_service_s_bounds),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
