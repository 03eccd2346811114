/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: failures around the worker: control, broker, descriptors, slow peers. The stage is
 * worker_world.h. */
#include "worker_world.h"

static void
without_control_only_known_devices_are_served(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in(f, &f->other, "before");
    struct device newcomer;
    struct device known;

    (void)close(f->control);
    f->control = -1;
    expect_ping(&d);
    known = device_in(f, &f->other, "after"); /* its policy set is cached */
    newcomer = device_open(f, &f->ca);
    say_connect(&newcomer, 4, "new", span_of(NULL, 0));
    expect_unavailable(&newcomer);
    say_publish(&d, 4, 1, "t/x", "still");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    device_free(&d);
    device_free(&known);
    device_free(&newcomer);
}

static void
control_that_dies_while_asked_refuses_who_waits(void **state)
{
    struct fixture *f = *state;
    struct device a = device_open(f, &f->device);
    struct device b = device_open(f, &f->other);
    struct device c = device_open(f, &f->other);
    int64_t end = clock_mono_ms() + WAIT_MS;

    f->silent = true;
    say_connect(&a, 4, "a", span_of(NULL, 0)); /* unknown: waits for a verdict */
    say_connect(&b, 4, "b", span_of(NULL, 0)); /* known: waits for its policies */
    say_connect(&c, 5, "c", span_of(NULL, 0));
    while ((f->admits == 0 || f->policies == 0) && clock_mono_ms() < end) {
        pump(f, -1, 0, 20);
    }
    (void)close(f->control);
    f->control = -1;
    expect_unavailable(&a);
    expect_unavailable(&b);
    expect_connack5(&c, REASON_UNAVAILABLE);
    expect_closed(&c);
    device_free(&a);
    device_free(&b);
    device_free(&c);
}

/* In place of the C library's, for the worker too. */
char *
strndup(const char *s, size_t max)
{
    size_t len = strnlen(s, max);
    char *copy = len == 6 && memcmp(s, "nobody", 6) == 0 ? NULL : malloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

static void
device_that_there_is_no_memory_for_is_told_to_come_again(void **state)
{
    struct fixture *f = *state;
    struct device four = device_open(f, &f->other);
    struct device five = device_open(f, &f->other);

    say_connect(&four, 4, "nobody", span_of(NULL, 0));
    expect_unavailable(&four);
    assert_fact(wait_record(f, 0, CAUSE_OUT_OF_MEMORY), "at=CONNECT");
    say_connect(&five, 5, "nobody", span_of(NULL, 0));
    expect_connack5(&five, REASON_UNAVAILABLE);
    expect_closed(&five);
    device_free(&four);
    device_free(&five);
}

/* Whoever stands still: devices are not told that they are not wanted. */
static void
device_that_the_broker_does_not_answer_is_told_to_come_again(void **state)
{
    struct fixture *f = *state;
    struct device a = device_open(f, &f->device);
    struct device b = device_open(f, &f->device);

    (void)kill(f->mosquitto, SIGSTOP);
    say_connect(&a, 4, "a", span_of(NULL, 0));
    say_connect(&b, 5, "b", span_of(NULL, 0));
    expect_unavailable(&a);
    expect_connack5(&b, REASON_UNAVAILABLE);
    (void)kill(f->mosquitto, SIGCONT);
    assert_fact(wait_record(f, 0, CAUSE_BROKER_DOWN), "waiting_for=connack");
    wait_metric(f, "\nbirthmark_causes_total{cause=\"cloud.broker_down\"} 2\n");
    device_free(&a);
    device_free(&b);
}

static void
device_is_not_blamed_for_a_worker_that_stood_still(void **state)
{
    struct fixture *f = *state;
    struct device d = device_start(f, &(struct tls_choice){ .cert = &f->device });
    int64_t until;

    wait_metric(f, "\nbirthmark_accepted_total 1\n"); /* its time runs */
    until = clock_mono_ms() + f->limits.v[LIMIT_HANDSHAKE_MS] + 1000;
    (void)kill(f->worker, SIGSTOP);
    while (clock_mono_ms() < until) {
        pump(f, -1, 0, 20);
    }
    (void)kill(f->worker, SIGCONT);
    assert_true(device_handshake(&d));
    say_connect(&d, 4, "a", span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_free(&d);
}

static void
device_waits_for_a_broker_that_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);
    int64_t end = clock_mono_ms() + 3 * WAIT_MS;
    size_t from;
    int status;

    end_child(&f->mosquitto, &status);
    say_connect(&d, 4, "a", span_of(NULL, 0));
    while (f->policies == 0) {
        pump(f, -1, 0, 20);
    }
    pump(f, -1, 0, 100);
    start_mosquitto(f);
    expect(&d, LIT("\x20\x02\x00\x00"));
    end_child(&f->mosquitto, &status);
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_DISCONNECTED), "by=broker");
    device_free(&d);
    d = device_open(f, &f->device);
    say_connect(&d, 4, "a", span_of(NULL, 0));
    expect_unavailable(&d);
    assert_fact(wait_record(f, 0, CAUSE_BROKER_DOWN), "waiting_for=socket");
    device_free(&d);
    from = f->record_count;
    d = device_start(f, &(struct tls_choice){ .cert = &f->device });
    assert_false(device_handshake(&d)); /* it was waited for in vain: refused at once */
    assert_fact(wait_record(f, from, CAUSE_BROKER_DOWN), "at=accept");
    device_free(&d);
    start_mosquitto(f);
    for (;;) {
        assert_true(clock_mono_ms() < end);
        d = device_start(f, &(struct tls_choice){ .cert = &f->device });
        if (device_handshake(&d)) {
            break;
        }
        device_free(&d);
    }
    say_connect(&d, 4, "a", span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    device_free(&d);
}

/* Not all at once, so that they do not come back all at once: SPEC endpoint 10.6 */
static void
devices_of_a_lost_broker_are_closed_over_a_time(void **state)
{
    enum {
        MANY = 60
    }; /* over 60 ms: that nobody draws the last 40 of them has a chance of 1e-28 */
    struct fixture *f = *state;
    struct device d[MANY];
    char id[16];
    int64_t from;
    int64_t last = 0;

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(id, sizeof id, "dev-%d", i);
        d[i] = device_in(f, &f->device, id);
    }
    from = clock_wall_ms();
    (void)kill(f->mosquitto, SIGKILL);
    (void)waitpid(f->mosquitto, NULL, 0);
    f->mosquitto = 0;
    for (int i = 0; i < MANY; i++) {
        expect_closed(&d[i]);
        device_free(&d[i]);
    }
    for (size_t i = 0; i < f->record_count; i++) {
        const struct timeline_record *r = &f->records[i];

        assert_int_not_equal(r->cause, CAUSE_TAKEN_OVER); /* although it listened to the last */
        if (r->cause == CAUSE_DISCONNECTED) {
            assert_fact(r, "by=broker");
            last = r->time_ms > last ? r->time_ms : last;
        }
    }
    assert_true(last - from >= 20);
    assert_int_equal(f->admits, 0);
}

/* mosquitto's Unix listener has a backlog of 10: SPEC endpoint 10.1 */
static void
many_devices_at_once_are_all_admitted(void **state)
{
    enum { MANY = 100 };
    struct fixture *f = *state;
    struct device d[MANY];
    char id[16];

    for (int i = 0; i < MANY; i++) {
        d[i] = device_start(f, &(struct tls_choice){ .cert = &f->device });
    }
    for (int i = 0; i < MANY; i++) {
        assert_true(device_handshake(&d[i]));
    }
    (void)kill(f->mosquitto, SIGSTOP); /* so that the backlog fills up for certain */
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(id, sizeof id, "dev-%d", i);
        say_connect(&d[i], 4, id, span_of(NULL, 0));
    }
    pump(f, -1, 0, 200);
    (void)kill(f->mosquitto, SIGCONT);
    for (int i = 0; i < MANY; i++) {
        expect(&d[i], LIT("\x20\x02\x00\x00"));
    }
    for (int i = 0; i < MANY; i++) {
        device_free(&d[i]);
    }
}

static void
device_that_says_nothing_for_too_long_is_ended(void **state)
{
    static const uint8_t hello[] = "\x10\x1b\x00\x04MQTT\x04\x06\x00\x01\x00\x03"
                                   "dev\x00\x06t/will\x00\x02"
                                   "by";
    struct fixture *f = *state;
    struct device watcher = device_in(f, &f->other, "watcher");
    struct device d = device_open(f, &f->device);
    int64_t began;

    say_subscribe(&watcher, 4, "t/will", 0);
    expect(&watcher, LIT("\x90\x03\x00\x14\x00"));
    device_send(&d, span_of(hello, sizeof hello - 1));
    expect(&d, LIT("\x20\x02\x00\x00"));
    pump(f, d.fd, POLLIN, 800);
    expect_ping(&d); /* which counts as a sign of life */
    began = clock_mono_ms();
    expect_closed(&d);
    assert_in_range(clock_mono_ms() - began, 1400, WAIT_MS); /* 1.5 times the second it asked for */
    assert_fact(wait_record(f, 0, CAUSE_KEEP_ALIVE), "keep_alive_s=1");
    wait_event(f, "presence/disconnected/dev", "\"MQTT_KEEP_ALIVE_TIMEOUT\"");
    expect(&watcher, LIT("\x30\x0a\x00\x06t/willby"));
    device_free(&d);
    device_free(&watcher);
}

static void
without_descriptors_newcomers_wait_until_somebody_leaves(void **state)
{
    enum { ROOM = 48 };
    struct fixture *f = *state;
    struct device in[ROOM];
    struct device waits;
    char id[16];

    for (int i = 0; i < ROOM; i++) {
        (void)snprintf(id, sizeof id, "dev-%d", i);
        in[i] = device_in(f, &f->device, id);
    }
    waits = device_start(f, &(struct tls_choice){ .cert = &f->device });
    assert_int_not_equal(SSL_do_handshake(waits.ssl), 1);
    pump(f, waits.fd, POLLIN, 300);
    assert_int_not_equal(SSL_do_handshake(waits.ssl), 1);
    expect_ping(&in[0]);
    device_free(&in[1]);
    assert_true(device_handshake(&waits));
    say_connect(&waits, 4, "patient", span_of(NULL, 0));
    expect(&waits, LIT("\x20\x02\x00\x00"));
    device_free(&waits);
    for (int i = 0; i < ROOM; i++) {
        device_free(&in[i]);
    }
}

/* A subscriber that does not read must cost bounded memory and lose nothing of QoS 1. */
static void
slow_subscriber_gets_everything_in_order_later(void **state)
{
    enum { MESSAGES = 200, SIZE = 60000 };
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    uint8_t *payload = calloc(1, SIZE);
    struct mqtt_publish m = { .qos = 1, .packet_id = 10, .topic = LIT("t/big") };
    struct buf out = { 0 };
    struct mqtt_packet p;

    say_subscribe(&b, 4, "t/big", 1);
    expect(&b, LIT("\x90\x03\x00\x14\x01"));
    m.payload = span_of(payload, SIZE);
    for (int i = 0; i < MESSAGES; i++) {
        payload[0] = (uint8_t)i;
        out.len = 0;
        mqtt_build_publish(&out, 4, &m);
        device_send(&a, buf_span(&out));
        expect(&a, LIT("\x40\x02\x00\x0a"));
    }
    for (int i = 0; i < MESSAGES; i++) {
        struct mqtt_publish got;
        struct buf ack = { 0 };

        assert_true(device_next(&b, &p));
        assert_int_equal(mqtt_parse_publish(&p, 4, &got, NULL), BM_OK);
        assert_int_equal(got.payload.ptr[0], (uint8_t)i);
        mqtt_build_puback(&ack, 4, got.packet_id, 0, span_of(NULL, 0));
        device_send(&b, buf_span(&ack));
        buf_fini(&ack);
    }
    expect_ping(&b);
    buf_fini(&out);
    free(payload);
    device_free(&a);
    device_free(&b);
}

/* Publish 60,000 bytes at QoS 0, `count` times, and make sure that the broker has them. */
static void
publish_large(struct device *a, unsigned count)
{
    enum { SIZE = 60000 };
    uint8_t *payload = calloc(1, SIZE);
    struct mqtt_publish m = { .topic = LIT("t/big"), .payload = span_of(payload, SIZE) };
    struct buf out = { 0 };

    assert_non_null(payload);
    for (unsigned i = 0; i < count; i++) {
        out.len = 0;
        mqtt_build_publish(&out, 4, &m);
        device_send(a, buf_span(&out));
    }
    say_publish(a, 4, 1, "t/end", "x");
    expect(a, LIT("\x40\x02\x00\x0a"));
    buf_fini(&out);
    free(payload);
}

static void
who_does_not_read_loses_qos_0_and_is_ended(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    size_t from = f->record_count;

    say_subscribe(&b, 4, "t/big", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    publish_large(&a, 400); /* more than sockets hold */
    assert_fact(wait_record(f, from, CAUSE_SLOW), "discarded=\"QoS 0\" behind_ms=");
    for (;;) { /* the second record of this cause is its end */
        const struct timeline_record *r = wait_record(f, from, CAUSE_SLOW);

        if (strstr(r->facts, "took_nothing_ms=") != NULL) {
            break;
        }
        from = (size_t)(r - f->records) + 1;
    }
    (void)wait_event(f, "presence/disconnected/b", "CLIENT_ERROR");
    expect_ping(&a);
    device_free(&a);
    device_free(&b);
}

static bool
has_record(const struct fixture *f, enum cause cause)
{
    for (size_t i = 0; i < f->record_count; i++) {
        if (f->records[i].cause == cause) {
            return true;
        }
    }
    return false;
}

/* Keep-alive is 1 s here. The client is not read for longer, because the broker takes nothing. */
static void
device_is_not_blamed_for_a_broker_that_stands_still(void **state)
{
    enum { SIZE = 100000, QUIET_MS = 2500 };
    struct fixture *f = *state;
    struct mqtt_connect c = { .level = 4, .clean = true, .client_id = span_str("d") };
    struct mqtt_publish m = { .topic = LIT("t/x") };
    struct device d = device_open(f, &f->device);
    uint8_t *payload = calloc(1, SIZE);
    struct buf out = { 0 };
    int64_t until;
    size_t at = 0;

    assert_non_null(payload);
    assert_int_equal(mqtt_build_connect(&out, &c, span_of(NULL, 0), 1), BM_OK);
    device_send(&d, buf_span(&out));
    expect(&d, LIT("\x20\x02\x00\x00"));
    m.payload = span_of(payload, SIZE);
    out.len = 0;
    for (int i = 0; i < 200; i++) { /* more than sockets and buffers hold */
        mqtt_build_publish(&out, 4, &m);
    }
    assert_int_equal(kill(f->mosquitto, SIGSTOP), 0);
    until = clock_mono_ms() + QUIET_MS;
    while (clock_mono_ms() < until) {
        int ret = SSL_write(d.ssl, out.ptr + at, (int)(out.len - at));

        at += ret > 0 ? (size_t)ret : 0;
        pump(f, d.fd, POLLOUT, ret > 0 ? 0 : 50);
    }
    assert_true(at < out.len);
    assert_int_equal(kill(f->mosquitto, SIGCONT), 0);
    device_send(&d, span_of(out.ptr + at, out.len - at));
    expect_ping(&d);
    buf_fini(&out);
    free(payload);
    device_free(&d);
}

/* The answers to its PINGREQs would wait here without bound. */
static void
client_that_does_not_read_is_not_read(void **state)
{
    static uint8_t pings[1 << 14];
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "d");
    const char *unsent;
    size_t taken = 0;

    for (size_t i = 0; i < sizeof pings; i += 2) {
        pings[i] = 0xc0;
    }
    while (!has_record(f, CAUSE_SLOW) && taken < (size_t)1 << 28) {
        int ret = SSL_write(d.ssl, pings, sizeof pings);

        taken += ret > 0 ? (size_t)ret : 0;
        pump(f, d.fd, POLLOUT, ret > 0 ? 0 : 50);
    }
    unsent = strstr(wait_record(f, 0, CAUSE_SLOW)->facts, "unsent_bytes=");
    assert_non_null(unsent);
    assert_in_range(strtoul(unsent + strlen("unsent_bytes="), NULL, 10), HOLD_MAX, 2 * HOLD_MAX);
    device_free(&d);
}

static void
what_is_over_the_rate_for_long_is_discarded_at_qos_0(void **state)
{
    enum { PUBLISHERS = 200, EACH = 15 };
    struct fixture *f = *state;
    struct device b = device_in(f, &f->other, "b");

    say_subscribe(&b, 4, "t/x", 0);
    expect(&b, LIT("\x90\x03\x00\x14\x00"));
    for (int i = 0; i < PUBLISHERS && !has_record(f, CAUSE_SLOW); i++) {
        char id[16];
        struct device a;

        (void)snprintf(id, sizeof id, "a%d", i); /* each has a rate of its own */
        a = device_in(f, &f->device, id);
        for (int n = 0; n < EACH; n++) {
            say_publish(&a, 4, 0, "t/x", "hello");
        }
        expect_ping(&a);
        device_free(&a);
    }
    assert_true(has_record(f, CAUSE_SLOW));
    device_free(&b);
}

/* A burst beyond one read's budget and beyond what the broker takes at once. */
static void
burst_of_publishes_is_relayed_whole(void **state)
{
    enum { BURST = 3000 };
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct buf out = { 0 };
    char payload[1001];
    unsigned acks = 0;
    struct mqtt_packet p;

    memset(payload, 'x', 1000);
    payload[1000] = '\0';
    for (int i = 0; i < BURST; i++) {
        struct mqtt_publish m = { .qos = 1,
            .packet_id = (uint16_t)(i + 1),
            .topic = LIT("t/burst"),
            .payload = span_str(payload) };

        mqtt_build_publish(&out, 4, &m);
    }
    device_send(&a, buf_span(&out));
    while (acks < BURST && device_next(&a, &p)) {
        assert_int_equal(p.type, MQTT_PUBACK);
        acks++;
    }
    assert_int_equal(acks, BURST);
    buf_fini(&out);
    device_free(&a);
}

/* Writing to who is gone raises SIGPIPE, and leaves errors that are not the next one's: SPEC
 * endpoint 10.2 */
static void
clients_that_vanish_while_they_are_written_to_harm_nobody(void **state)
{
    enum { ROUNDS = 20, BURST = 50, SIZE = 20000 };
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    uint8_t *payload = calloc(1, SIZE);
    struct mqtt_publish m = { .topic = LIT("t/x"), .payload = span_of(payload, SIZE) };
    struct buf burst = { 0 };

    for (int i = 0; i < BURST; i++) {
        mqtt_build_publish(&burst, 4, &m);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct device b = device_in(f, &f->other, "b");
        struct device c = { .f = f, .fd = -1 };

        say_subscribe(&b, 4, "t/x", 0);
        expect(&b, LIT("\x90\x03\x00\x14\x00"));
        tcp_connect(&c); /* its error must not be met by another's call of OpenSSL */
        assert_int_equal(send(c.fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
        device_send(&a, buf_span(&burst));
        (void)setsockopt(b.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        device_free(&b);
        device_free(&c);
        expect_ping(&a);
    }
    wait_event(f, "presence/disconnected/b", "\"CONNECTION_LOST\"");
    buf_fini(&burst);
    free(payload);
    device_free(&a);
}

/* It ended its side and then broke off, both while the worker stood still: the answer to its ping
 * meets EPIPE, not ECONNRESET, and so SIGPIPE. */
static void
answer_to_a_client_that_broke_off_does_not_end_the_worker(void **state)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    struct fixture *f = *state;
    struct device stays = device_in(f, &f->other, "stays");
    struct device d = device_in(f, &f->device, "d");
    int status;

    assert_int_equal(kill(f->worker, SIGSTOP), 0);
    assert_int_equal(waitpid(f->worker, &status, WUNTRACED), f->worker);
    device_send(&d, LIT("\xc0\x00"));
    assert_int_equal(shutdown(d.fd, SHUT_WR), 0);
    assert_int_equal(setsockopt(d.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    device_free(&d);
    assert_int_equal(kill(f->worker, SIGCONT), 0);
    wait_event(f, "presence/disconnected/d", "\"CONNECTION_LOST\"");
    expect_ping(&stays);
    device_free(&stays);
}

/*
 * While the broker reads nothing, what a client sends backs up to the client; when it reads again,
 * what waits inside of OpenSSL has no event of its own: SPEC endpoint 10.3
 */
static void
nothing_is_left_in_tls_when_the_broker_reads_again(void **state)
{
    enum { SIZE = 1000, MESSAGES_MAX = 60000 };
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    uint8_t *payload = calloc(1, SIZE);
    int64_t blocked_ms = 0;
    unsigned sent = 0;
    unsigned acks = 0;
    struct mqtt_packet p;
    struct buf out = { 0 };

    (void)kill(f->mosquitto, SIGSTOP);
    while (sent < MESSAGES_MAX) {
        struct mqtt_publish m = { .qos = 1,
            .packet_id = (uint16_t)(sent + 1),
            .topic = LIT("t/x"),
            .payload = span_of(payload, SIZE) };
        int ret;

        if (out.len == 0) {
            mqtt_build_publish(&out, 4, &m);
        }
        ERR_clear_error();
        ret = SSL_write(a.ssl, out.ptr, (int)out.len);
        if (ret > 0) {
            assert_int_equal(ret, out.len);
            out.len = 0;
            sent++;
            blocked_ms = 0;
            continue;
        }
        assert_int_equal(SSL_get_error(a.ssl, ret), SSL_ERROR_WANT_WRITE);
        if (blocked_ms > 500) {
            break; /* the last one is half on its way */
        }
        pump(f, a.fd, POLLOUT, 50);
        blocked_ms += 50;
    }
    assert_true(sent < MESSAGES_MAX);
    (void)kill(f->mosquitto, SIGCONT);
    device_send(&a, buf_span(&out));
    sent++;
    while (acks < sent && device_next(&a, &p)) {
        assert_int_equal(p.type, MQTT_PUBACK);
        acks++;
    }
    assert_int_equal(acks, sent);
    expect_ping(&a);
    buf_fini(&out);
    free(payload);
    device_free(&a);
}

/* More QoS 1 than may be in flight, read by the worker at once: the rest waits in its own buffer when
 * it came in one TLS record, inside of OpenSSL when each came in its own. Neither has an event. */
static void
what_waits_for_acknowledgements_is_taken_up_again(void **state)
{
    enum { MESSAGES = 150 };
    struct fixture *f = *state;
    struct device d = device_in(f, &f->device, "d");

    for (int round = 0; round < 2; round++) {
        struct buf out = { 0 };
        struct mqtt_packet p;
        int status;

        assert_int_equal(kill(f->worker, SIGSTOP), 0);
        assert_int_equal(waitpid(f->worker, &status, WUNTRACED), f->worker);
        for (int i = 0; i < MESSAGES; i++) {
            struct mqtt_publish m = { .qos = 1,
                .packet_id = (uint16_t)(i + 1),
                .topic = LIT("t/x"),
                .payload = LIT("x") };

            mqtt_build_publish(&out, 4, &m);
            if (round == 1 || i == MESSAGES - 1) {
                device_send(&d, buf_span(&out));
                out.len = 0;
            }
        }
        assert_int_equal(kill(f->worker, SIGCONT), 0);
        for (int i = 0; i < MESSAGES; i++) {
            assert_true(device_next(&d, &p));
            assert_int_equal(p.type, MQTT_PUBACK);
        }
        buf_fini(&out);
    }
    device_free(&d);
}

static void
end_of_the_worker_tells_clients_and_sends_its_records(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in5(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    int status = -1;

    end_child(&f->worker, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_disconnect5(&a, 0x8b, CAUSE_DISCONNECTED);
    expect_closed(&a);
    expect_closed(&b);
    assert_fact(wait_record(f, 0, CAUSE_DISCONNECTED), "by=service");
    wait_event(f, "presence/disconnected/a", "\"SERVER_INITIATED_DISCONNECT\"");
    device_free(&a);
    device_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNKNOWN(without_control_only_known_devices_are_served),
        KNOWN(device_that_there_is_no_memory_for_is_told_to_come_again),
        UNKNOWN(control_that_dies_while_asked_refuses_who_waits),
        KNOWN(device_that_the_broker_does_not_answer_is_told_to_come_again),
        KNOWN(device_is_not_blamed_for_a_worker_that_stood_still),
        KNOWN(device_waits_for_a_broker_that_is_not_there_yet),
        KNOWN(devices_of_a_lost_broker_are_closed_over_a_time),
        KNOWN(many_devices_at_once_are_all_admitted),
        cmocka_unit_test_setup_teardown(
            device_that_says_nothing_for_too_long_is_ended, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(
            without_descriptors_newcomers_wait_until_somebody_leaves, set_up_poor, tear_down),
        LIFTED(slow_subscriber_gets_everything_in_order_later),
        cmocka_unit_test_setup_teardown(
            who_does_not_read_loses_qos_0_and_is_ended, set_up_lagging, tear_down),
        cmocka_unit_test_setup_teardown(
            device_is_not_blamed_for_a_broker_that_stands_still, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(
            client_that_does_not_read_is_not_read, set_up_lagging, tear_down),
        cmocka_unit_test_setup_teardown(
            what_is_over_the_rate_for_long_is_discarded_at_qos_0, set_up_paced, tear_down),
        LIFTED(burst_of_publishes_is_relayed_whole),
        LIFTED(clients_that_vanish_while_they_are_written_to_harm_nobody),
        KNOWN(what_waits_for_acknowledgements_is_taken_up_again),
        KNOWN(answer_to_a_client_that_broke_off_does_not_end_the_worker),
        LIFTED(nothing_is_left_in_tls_when_the_broker_reads_again),
        KNOWN(end_of_the_worker_tells_clients_and_sends_its_records),
    };

    return worker_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
