/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: whom the worker lets in: certificates, verdicts, policies, handshakes. The stage is
 * worker_world.h. */
#include "worker_world.h"

static void
known_device_is_admitted_without_asking_who_it_is(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "dev-1");
    const struct timeline_record *r = wait_record(f, 0, CAUSE_ADMITTED);

    assert_string_equal(r->client_id, "dev-1");
    assert_string_equal(r->status, "ACTIVE");
    assert_true(r->has_cert);
    assert_non_null(strstr(r->peer, "127.0.0.1:"));
    assert_int_equal(f->admits, 0);
    assert_int_equal(f->policies, 1);
    expect_ping(&d);
    device_send(&d, LIT("\xe0\x00"));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_DISCONNECTED), "by=client");
    device_free(&d);
}

/* The value of a member that both have is the same. */
static void
assert_same_member(const struct event *a, const struct event *b, const char *name)
{
    const char *in_a = strstr(a->payload, name);
    const char *in_b = strstr(b->payload, name);

    assert_non_null(in_a);
    assert_non_null(in_b);
    assert_int_equal(strncmp(in_a, in_b, strcspn(in_a, ",}")), 0);
}

static void
events_tell_of_coming_subscribing_and_leaving(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "dev \"1\"");
    const struct event *in =
        wait_event(f, "presence/connected/dev \"1\"", "\"clientId\":\"dev \\\"1\\\"\"");
    const struct event *out;
    char principal[128] = "\"principalIdentifier\":\"";
    uint8_t id[32];

    certs_id(&f->device, id);
    hex_encode(principal + strlen(principal), id, sizeof id);
    assert_non_null(strstr(in->payload, principal));
    assert_non_null(strstr(in->payload, "\"eventType\":\"connected\""));
    assert_non_null(strstr(in->payload, "\"ipAddress\":\"127.0.0.1\""));
    say_subscribe(&d, 5, "t/x", 1);
    wait_event(f, "subscriptions/subscribed/dev \"1\"", "\"topics\":[\"t/x\"]");
    say_subscribe(&d, 5, "denied", 1);
    device_send(&d, LIT("\xa2\x08\x00\x15\x00\x00\x03t/x"));
    wait_event(f, "subscriptions/unsubscribed/dev \"1\"", "\"topics\":[\"t/x\"]");
    device_send(&d, LIT("\xe0\x00"));
    out = wait_event(f, "presence/disconnected/dev \"1\"", "\"clientInitiatedDisconnect\":true");
    assert_non_null(strstr(out->payload, "\"disconnectReason\":\"CLIENT_INITIATED_DISCONNECT\""));
    assert_same_member(in, out, "\"sessionIdentifier\":");
    assert_same_member(in, out, "\"versionNumber\":");
    assert_int_equal(f->event_count, 4); /* a denied filter is no subscription */
    device_free(&d);
}

static void
events_that_nobody_hears_are_not_made(void **state)
{
    struct fixture *f = *state;
    struct device before;
    struct device by_rule;

    events_heard(f, false);
    before = device_in(f, &f->device, "before");
    by_rule = device_in(f, &f->device, "by-rule");
    say_subscribe(&before, 4, "t/x", 1);
    device_free(&before);
    wait_record(f, 0, CAUSE_DISCONNECTED);
    give_filters(&by_rule, "$aws/events/presence/disconnected/+", NULL);
    say_subscribe(&by_rule, 4, "t/x", 1);
    device_free(&by_rule);
    wait_event(f, "presence/disconnected/by-rule", "CONNECTION_LOST");
    assert_int_equal(f->event_count, 1);
}

static void
events_tell_why_a_device_is_gone(void **state)
{
    struct fixture *f = *state;
    struct device lost = device_in(f, &f->device, "lost");
    struct device first = device_in(f, &f->device, "same");
    struct device second = device_in(f, &f->device, "same");
    struct device denied = device_in(f, &f->device, "denied");
    struct device twice = device_in(f, &f->device, "twice");

    device_free(&lost);
    say_publish(&denied, 4, 0, "nowhere", "x");
    say_connect(&twice, 4, "twice", span_of(NULL, 0));
    wait_event(f, "presence/disconnected/lost", "\"CONNECTION_LOST\"");
    wait_event(f, "presence/disconnected/same", "\"DUPLICATE_CLIENTID\"");
    wait_event(f, "presence/disconnected/denied", "\"AUTH_ERROR\"");
    wait_event(f, "presence/disconnected/twice", "\"CLIENT_ERROR\"");
    put_table(f, &f->device, CERT_INACTIVE, SET);
    changed(f, &f->device);
    wait_event(f, "presence/disconnected/same", "\"FORBIDDEN_ACCESS\"");
    device_free(&first);
    device_free(&second);
    device_free(&denied);
    device_free(&twice);
}

static void
worker_counts_what_it_does(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    struct device stranger;

    say_subscribe(&b, 4, "t/x", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    say_publish(&a, 4, 0, "t/x", "hi");
    expect(&b, LIT("\x30\x07\x00\x03t/xhi"));
    wait_metric(f, "\nbirthmark_connections 2\n");
    for (int i = 0; i < 2; i++) {
        say_publish(&a, 4, 1, "t/y", "hi");
        expect(&a, LIT("\x40\x02\x00\x0a"));
    }
    say_publish(&a, 4, 0, "denied", "hi");
    expect_closed(&a);
    f->verdict = CAUSE_CA_UNKNOWN;
    stranger = device_open(f, &f->server);
    say_connect(&stranger, 4, "s", span_of(NULL, 0));
    expect_closed(&stranger);
    wait_metric(f, "\nbirthmark_connections 1\n");
    wait_metric(f, "\nbirthmark_accepted_total 3\n");
    wait_metric(f, "\nbirthmark_handshakes_total 3\n");
    wait_metric(f, "\nbirthmark_messages_published_total 3\n");
    wait_metric(f, "\nbirthmark_publish_seconds_count 2\n");
    wait_metric(f, "\nbirthmark_messages_delivered_total 1\n");
    wait_metric(f, "\nbirthmark_causes_total{cause=\"connect.admitted\"} 2\n");
    wait_metric(f, "\nbirthmark_causes_total{cause=\"publish.denied\"} 1\n");
    wait_metric(f, "\nbirthmark_causes_total{cause=\"connect.ca_unknown\"} 1\n");
    wait_metric(f, "\nbirthmark_connect_seconds_count 2\n");
    wait_metric(f, "\nbirthmark_admission_seconds_count 1\n");
    device_free(&a);
    device_free(&b);
    device_free(&stranger);
}

static void
ids_that_look_like_wildcards_have_no_events(void **state)
{
    struct fixture *f = *state;
    struct device odd = device_in(f, &f->device, "a+b");
    struct device plain = device_in(f, &f->device, "plain");

    wait_event(f, "presence/connected/plain", "connected");
    assert_int_equal(f->event_count, 1);
    device_free(&odd);
    device_free(&plain);
}

static void
policies_are_fetched_once_for_all_who_share_them(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");

    assert_int_equal(f->policies, 1);
    device_free(&a);
    device_free(&b);
}

static void
unknown_device_is_asked_about_and_closed_without_connack(void **state)
{
    struct fixture *f = *state;

    for (uint8_t level = 4; level <= 5; level++) {
        struct device d = device_open(f, &f->device);
        struct buf der = { 0 };

        say_connect(&d, level, "dev-1", span_of(NULL, 0));
        expect_closed(&d);
        assert_int_equal(f->admits, level - 3);
        assert_string_equal(f->admit_client, "dev-1");
        certs_der(&f->device, &der);
        assert_true(span_eq(buf_span(&der), buf_span(&f->admit_der)));
        buf_fini(&der);
        device_free(&d);
    }
}

static void
device_that_says_nothing_is_never_asked_about(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    device_free(&d);
    assert_fact(wait_record(f, 0, CAUSE_DISCONNECTED), "before=connack");
    assert_int_equal(f->admits, 0);
}

static void
device_is_admitted_when_control_made_it_active(void **state)
{
    struct fixture *f = *state;
    struct device d;

    f->verdict = CAUSE_ADMITTED;
    f->admit_puts_active = true;
    d = device_in(f, &f->device, "dev-1");
    assert_int_equal(f->admits, 1);
    device_free(&d);
}

static void
device_that_is_not_active_is_refused_by_verdict(void **state)
{
    static const enum cert_status statuses[] = { CERT_INACTIVE, CERT_REVOKED,
        CERT_PENDING_ACTIVATION };
    struct fixture *f = *state;

    f->verdict = CAUSE_INACTIVE;
    for (size_t i = 0; i < 3; i++) {
        struct device d = device_open(f, &f->device);

        put_table(f, &f->device, statuses[i], SET);
        say_connect(&d, 4, "dev-1", span_of(NULL, 0));
        expect_closed(&d);
        assert_int_equal(f->admits, i + 1);
        device_free(&d);
    }
}

static void
expired_device_is_refused(void **state)
{
    struct fixture *f = *state;
    struct table_entry e = {
        .status = CERT_ACTIVE, .policy_set = SET, .not_after_ms = clock_wall_ms() - 1
    };
    struct device d;

    certs_id(&f->device, e.id);
    assert_int_equal(table_put(f->table, &e, NULL), BM_OK);
    d = device_open(f, &f->device);
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_LEAF_EXPIRED), "notAfter=");
    device_free(&d);
}

/* SPEC aws-iot 3.6. These devices ask for no name. */
static void
certificate_of_mode_sni_only_wants_a_server_name(void **state)
{
    struct fixture *f = *state;
    struct table_entry e = { .status = CERT_ACTIVE,
        .policy_set = SET,
        .mode = MODE_SNI_ONLY,
        .not_after_ms = clock_wall_ms() + 3600000 };
    char elsewhere[] = "elsewhere.example";
    struct device d;

    certs_id(&f->device, e.id);
    assert_int_equal(table_put(f->table, &e, NULL), BM_OK);
    d = device_open(f, &f->device);
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect_closed(&d);
    (void)wait_record(f, 0, CAUSE_SNI_REQUIRED);
    device_free(&d);
    d = device_start(f, &(struct tls_choice){ .cert = &f->device });
    assert_int_equal(SSL_set_tlsext_host_name(d.ssl, elsewhere), 1);
    assert_true(device_handshake(&d));
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect_closed(&d);
    device_free(&d);
}

static void
device_without_policy_is_closed_at_connect(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    put_table(f, &f->device, CERT_ACTIVE, 0);
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect_closed(&d);
    assert_string_equal(wait_record(f, 0, CAUSE_NO_POLICY)->client_id, "dev-1");
    device_free(&d);
}

static void
policy_set_that_control_does_not_have_admits_nobody(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    f->set_missing = true;
    say_connect(&d, 4, "dev-1", span_of(NULL, 0));
    expect_closed(&d);
    (void)wait_record(f, 0, CAUSE_NO_POLICY);
    device_free(&d);
    f->set_missing = false; /* and it is asked for again */
    d = device_in(f, &f->device, "dev-1");
    device_free(&d);
}

static void
denied_client_id_is_closed_or_told_by_level(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);

    say_connect(&d, 4, "banned", span_of(NULL, 0));
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_DENIED),
        "action=iot:Connect resource=\"client/banned\" decision=explicit_deny "
        "policy=wide statement=3 effect=Deny");
    device_free(&d);
    d = device_open(f, &f->device);
    say_connect(&d, 5, "banned", span_of(NULL, 0));
    expect_connack5(&d, 0x87);
    expect_closed(&d);
    device_free(&d);
}

static void
no_certificate_ends_the_handshake_with_a_cause(void **state)
{
    struct fixture *f = *state;
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

    for (size_t i = 0; i < 2; i++) {
        struct device d = device_start(f, &(struct tls_choice){ .version = versions[i] });
        size_t from = f->record_count;
        const struct timeline_record *r;

        (void)device_handshake(&d); /* TLS 1.3 clients learn of it later */
        r = wait_record(f, from, CAUSE_NO_CERTIFICATE);
        assert_false(r->has_cert);
        expect_closed(&d);
        device_free(&d);
    }
}

static void
bytes_that_are_not_tls_are_refused_with_a_cause(void **state)
{
    struct fixture *f = *state;
    struct device d = { .f = f, .fd = -1 };

    tcp_connect(&d);
    assert_int_equal(send(d.fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    assert_fact(wait_record(f, 0, CAUSE_TLS), "error=\"http request\"");
    device_free(&d);
}

/* The bound of the handshakes in flight is for those who speak: SPEC endpoint 10.5, 10.9 */
static void
peers_that_only_connect_shut_nobody_out(void **state)
{
    enum { SILENT = HANDSHAKES + 72 };
    struct fixture *f = *state;
    struct device silent[SILENT];
    struct device d;

    for (int i = 0; i < SILENT; i++) {
        silent[i] = (struct device){ .f = f, .fd = -1 };
        tcp_connect(&silent[i]);
    }
    d = device_in(f, &f->device, "dev-1");
    assert_int_equal(f->record_count, 1); /* before the first of the silent ones timed out */
    device_free(&d);
    for (int i = 0; i < SILENT; i++) {
        device_free(&silent[i]);
    }
}

static void
half_done_handshakes_hold_newcomers_back_only_until_they_time_out(void **state)
{
    enum { HALF = HANDSHAKES + 10 };
    struct fixture *f = *state;
    struct device half[HALF];
    struct device d;

    for (int i = 0; i < HALF; i++) {
        half[i] = (struct device){ .f = f, .fd = -1 };
        tcp_connect(&half[i]);
        assert_int_equal(send(half[i].fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    }
    d = device_in(f, &f->device, "dev-1");
    assert_fact(wait_record(f, 0, CAUSE_CONNECT_TIMEOUT), "during=tls");
    device_free(&d);
    for (int i = 0; i < HALF; i++) {
        device_free(&half[i]);
    }
}

/* The worker serves what is ready in order: a ping's answer says that it saw what came before. */
static void
newcomers_wait_while_as_many_handshakes_as_allowed_are_half_done(void **state)
{
    enum { HALF = 2 };
    struct fixture *f = *state;
    struct device in = device_in(f, &f->other, "in");
    struct device half[HALF];
    struct device waits;

    for (int i = 0; i < HALF; i++) {
        half[i] = (struct device){ .f = f, .fd = -1 };
        tcp_connect(&half[i]);
        assert_int_equal(send(half[i].fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    }
    wait_metric(f, "\nbirthmark_accepted_total 3\n");
    expect_ping(&in);
    expect_ping(&in);
    waits = device_start(f, &(struct tls_choice){ .cert = &f->device });
    assert_int_not_equal(SSL_do_handshake(waits.ssl), 1);
    expect_ping(&in);
    expect_ping(&in);
    wait_metric(f, "\nbirthmark_accepted_total 3\n");
    assert_int_not_equal(SSL_do_handshake(waits.ssl), 1);
    device_free(&half[0]);
    assert_true(device_handshake(&waits));
    say_connect(&waits, 4, "patient", span_of(NULL, 0));
    expect(&waits, LIT("\x20\x02\x00\x00"));
    device_free(&waits);
    device_free(&half[1]);
    device_free(&in);
}

static void
chain_beyond_32_kib_is_refused(void **state)
{
    struct fixture *f = *state;
    struct device d = device_start(f, &(struct tls_choice){ .cert = &f->device });

    for (int i = 0; i < 120; i++) {
        assert_int_equal(SSL_add1_chain_cert(d.ssl, f->ca.cert), 1);
    }
    (void)device_handshake(&d);
    expect_closed(&d);
    (void)wait_record(f, 0, CAUSE_TLS);
    device_free(&d);
}

static void
both_tls_versions_and_any_alpn_offer_are_served(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int version;
        const char *alpn;
        const char *selected;
    } cases[] = {
        { TLS1_2_VERSION, NULL, "" },
        { TLS1_3_VERSION, NULL, "" },
        { TLS1_3_VERSION, "\x0ex-amzn-mqtt-ca", "x-amzn-mqtt-ca" },
        { TLS1_2_VERSION, "\x02h2\x0ex-amzn-mqtt-ca", "x-amzn-mqtt-ca" },
        { TLS1_3_VERSION, "\x02h2\x04mqtt", "mqtt" },
        { TLS1_2_VERSION, "\x04mqtt\x0ex-amzn-mqtt-ca", "x-amzn-mqtt-ca" },
        { TLS1_3_VERSION, "\x02h2\x08http/1.1", "" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device d =
            device_start(f, &(struct tls_choice){ &f->device, cases[i].version, cases[i].alpn });
        const unsigned char *selected = NULL;
        unsigned len = 0;

        assert_int_equal(SSL_add1_chain_cert(d.ssl, f->ca.cert), 1); /* as devices do */
        assert_true(device_handshake(&d));
        assert_int_equal(SSL_version(d.ssl), cases[i].version);
        SSL_get0_alpn_selected(d.ssl, &selected, &len);
        assert_true(span_eq(span_of(selected, len), span_str(cases[i].selected)));
        say_connect(&d, 4, "dev-1", span_of(NULL, 0));
        expect(&d, LIT("\x20\x02\x00\x00"));
        assert_int_equal(SSL_session_reused(d.ssl), 0);
        device_free(&d);
    }
}

/* The endpoint exchanges the session when the handshake is done (lean.c): nothing may be lost by
 * it.
 */
static void
keys_and_record_sizes_outlive_the_session(void **state)
{
    struct fixture *f = *state;
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    char payload[3000];

    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    for (size_t i = 0; i < 4; i++) {
        struct device d =
            device_start(f, &(struct tls_choice){ &f->device, versions[i % 2], NULL });
        struct mqtt_packet p;

        if (i >= 2) { /* a device with small buffers: a longer record would be an error here */
            assert_int_equal(
                SSL_set_tlsext_max_fragment_length(d.ssl, TLSEXT_max_fragment_length_512), 1);
        }
        assert_true(device_handshake(&d));
        say_connect(&d, 4, "dev-1", span_of(NULL, 0));
        expect(&d, LIT("\x20\x02\x00\x00"));
        say_subscribe(&d, 4, "t/big", 0);
        expect(&d, LIT("\x90\x03\x00\x14\x00"));
        if (versions[i % 2] == TLS1_3_VERSION) {
            assert_int_equal(SSL_key_update(d.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        }
        say_publish(&d, 4, 0, "t/big", payload);
        assert_true(device_next(&d, &p));
        assert_int_equal(p.type, MQTT_PUBLISH);
        assert_true(p.body.len > sizeof payload);
        expect_ping(&d);
        device_free(&d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        KNOWN(known_device_is_admitted_without_asking_who_it_is),
        KNOWN(events_tell_of_coming_subscribing_and_leaving),
        KNOWN(events_that_nobody_hears_are_not_made),
        KNOWN(events_tell_why_a_device_is_gone),
        KNOWN(ids_that_look_like_wildcards_have_no_events),
        KNOWN(worker_counts_what_it_does),
        KNOWN(policies_are_fetched_once_for_all_who_share_them),
        UNKNOWN(unknown_device_is_asked_about_and_closed_without_connack),
        UNKNOWN(device_that_says_nothing_is_never_asked_about),
        UNKNOWN(device_is_admitted_when_control_made_it_active),
        UNKNOWN(device_that_is_not_active_is_refused_by_verdict),
        UNKNOWN(expired_device_is_refused),
        UNKNOWN(certificate_of_mode_sni_only_wants_a_server_name),
        UNKNOWN(device_without_policy_is_closed_at_connect),
        KNOWN(policy_set_that_control_does_not_have_admits_nobody),
        KNOWN(denied_client_id_is_closed_or_told_by_level),
        UNKNOWN(no_certificate_ends_the_handshake_with_a_cause),
        UNKNOWN(bytes_that_are_not_tls_are_refused_with_a_cause),
        KNOWN(peers_that_only_connect_shut_nobody_out),
        KNOWN(half_done_handshakes_hold_newcomers_back_only_until_they_time_out),
        cmocka_unit_test_setup_teardown(
            newcomers_wait_while_as_many_handshakes_as_allowed_are_half_done, set_up_narrow,
            tear_down),
        UNKNOWN(chain_beyond_32_kib_is_refused),
        KNOWN(both_tls_versions_and_any_alpn_offer_are_served),
        KNOWN(keys_and_record_sizes_outlive_the_session),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
