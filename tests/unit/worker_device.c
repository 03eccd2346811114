/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices for the worker's tests (worker_world.h): plain OpenSSL, packets by hand, and what each
 * answer must be to the byte.
 */
#include "worker_world.h"

#include <arpa/inet.h>

void
device_free(struct device *d)
{
    if (d->f == NULL) {
        return; /* freed before */
    }
    SSL_free(d->ssl);
    SSL_CTX_free(d->ctx);
    if (d->fd >= 0) {
        (void)close(d->fd);
    }
    buf_fini(&d->in);
    *d = (struct device){ .fd = -1 };
}

bool
step(struct device *d, int ret, int64_t end)
{
    int err = SSL_get_error(d->ssl, ret);

    if (clock_mono_ms() > end) {
        fail_msg("a device waited too long");
    }
    if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
        d->closed = true;
        return false;
    }
    pump(d->f, d->fd, err == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, 50);
    return true;
}

void
tcp_connect(struct device *d)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(d->f->port) };
    const int on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(d->fd >= 0);
    assert_int_equal(connect(d->fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fd_prepare(d->fd), BM_OK);
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

struct device
device_start(struct fixture *f, const struct tls_choice *choice)
{
    struct device d = { .f = f, .fd = -1 };

    d.ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(d.ctx);
    if (choice->version != 0) {
        assert_int_equal(SSL_CTX_set_min_proto_version(d.ctx, choice->version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(d.ctx, choice->version), 1);
    }
    if (choice->cert != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(d.ctx, choice->cert->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(d.ctx, choice->cert->key), 1);
    }
    SSL_CTX_set_mode(d.ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    tcp_connect(&d);
    d.ssl = SSL_new(d.ctx);
    assert_non_null(d.ssl);
    if (choice->alpn != NULL) {
        assert_int_equal(SSL_set_alpn_protos(d.ssl, (const unsigned char *)choice->alpn,
                             (unsigned)strlen(choice->alpn)),
            0);
    }
    assert_int_equal(SSL_set_fd(d.ssl, d.fd), 1);
    SSL_set_connect_state(d.ssl);
    return d;
}

bool
device_handshake(struct device *d)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    int ret;

    for (;;) {
        ERR_clear_error();
        ret = SSL_do_handshake(d->ssl);
        if (ret == 1) {
            return true;
        }
        if (!step(d, ret, end)) {
            return false;
        }
    }
}

struct device
device_open(struct fixture *f, const struct made *cert)
{
    struct device d = device_start(f, &(struct tls_choice){ .cert = cert });

    assert_true(device_handshake(&d));
    return d;
}

void
device_send(struct device *d, struct span bytes)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    struct rd r = rd_of(bytes);

    while (rd_left(&r) > 0) {
        int ret;

        ERR_clear_error();
        ret = SSL_write(d->ssl, r.pos, (int)rd_left(&r));
        if (ret > 0) {
            (void)rd_span(&r, (size_t)ret);
        } else if (!step(d, ret, end)) {
            return; /* the next read shows that it is closed */
        }
    }
}

bool
device_next(struct device *d, struct mqtt_packet *out)
{
    static uint8_t held[MQTT_REMAINING_MAX + 8];
    int64_t end = clock_mono_ms() + WAIT_MS;
    uint8_t bytes[4096];

    for (;;) {
        struct rd r = rd_of(buf_span(&d->in));
        int ret;

        if (mqtt_next(&r, MQTT_REMAINING_MAX, out) == BM_OK) {
            size_t len = out->whole.len;

            memcpy(held, out->whole.ptr, len);
            buf_drop(&d->in, len);
            r = rd_of(span_of(held, len));
            assert_int_equal(mqtt_next(&r, MQTT_REMAINING_MAX, out), BM_OK);
            return true;
        }
        if (d->closed) {
            return false;
        }
        ERR_clear_error();
        ret = SSL_read(d->ssl, bytes, sizeof bytes);
        if (ret > 0) {
            buf_add(&d->in, bytes, (size_t)ret);
        } else if (!step(d, ret, end)) {
            continue;
        }
    }
}

void
expect(struct device *d, struct span bytes)
{
    struct mqtt_packet p;

    if (!device_next(d, &p)) {
        fail_msg("closed instead of a packet");
    }
    if (!span_eq(p.whole, bytes)) {
        char hex[257] = "";

        hex_encode(hex, p.whole.ptr, p.whole.len < 128 ? p.whole.len : 128);
        fail_msg("got %s", hex);
    }
}

void
expect_unavailable(struct device *d)
{
    expect(d, LIT("\x20\x02\x00\x03"));
    expect_closed(d);
}

void
expect_closed(struct device *d)
{
    struct mqtt_packet p;

    if (device_next(d, &p)) {
        fail_msg("packet of type %u instead of a close", p.type);
    }
}

void
say_connect(struct device *d, uint8_t level, const char *id, struct span properties)
{
    struct mqtt_connect c = { .level = level,
        .clean = true,
        .client_id = span_str(id),
        .keep_alive_s = 60,
        .properties = properties };
    struct buf out = { 0 };

    assert_int_equal(mqtt_build_connect(&out, &c, span_of(NULL, 0), 60), BM_OK);
    device_send(d, buf_span(&out));
    buf_fini(&out);
}

void
say_publish(struct device *d, uint8_t level, uint8_t qos, const char *topic, const char *payload)
{
    struct mqtt_publish m = { .qos = qos,
        .packet_id = qos > 0 ? 10 : 0,
        .topic = span_str(topic),
        .payload = span_str(payload) };
    struct buf out = { 0 };

    mqtt_build_publish(&out, level, &m);
    device_send(d, buf_span(&out));
    buf_fini(&out);
}

void
say_subscribe(struct device *d, uint8_t level, const char *filter, uint8_t qos)
{
    struct mqtt_subscribe s = { .packet_id = 20, .count = 1 };
    struct buf out = { 0 };

    s.filters[0].filter = span_str(filter);
    s.filters[0].options = qos;
    mqtt_build_subscribe(&out, MQTT_SUBSCRIBE, level, &s);
    device_send(d, buf_span(&out));
    buf_fini(&out);
}

void
expect_connack5(struct device *d, uint8_t code)
{
    struct mqtt_packet p;
    struct mqtt_connack k;

    assert_true(device_next(d, &p));
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    assert_int_equal(k.code, code);
}

/* Properties: the Reason String and nothing else. CAUSE_NONE: none at all. */
static void
expect_reason(struct rd *body, enum cause cause, const char *evidence)
{
    char text[512] = "";

    if (cause == CAUSE_NONE) {
        return;
    }
    (void)snprintf(text, sizeof text, "%s: %s%s%s", cause_info(cause)->id,
        cause_info(cause)->sentence, evidence[0] != '\0' ? " " : "", evidence);
    (void)rd_span(body, strlen(text) + 3 < 128 ? 1 : 2); /* length of the properties */
    assert_int_equal(rd_u8(body), MQTT_PROP_REASON_STRING);
    assert_int_equal(rd_u16(body), strlen(text));
    assert_true(span_eq(rd_span(body, strlen(text)), span_str(text)));
}

void
expect_disconnect5(struct device *d, uint8_t code, enum cause cause)
{
    struct mqtt_packet p;
    struct rd body;

    assert_true(device_next(d, &p));
    assert_int_equal(p.type, MQTT_DISCONNECT);
    body = rd_of(p.body);
    assert_int_equal(rd_u8(&body), code);
    expect_reason(&body, cause, "");
    assert_true(rd_done(&body));
}

void
expect_puback5(struct device *d, uint16_t id, uint8_t code, enum cause cause, const char *evidence)
{
    struct mqtt_packet p;
    struct rd body;

    assert_true(device_next(d, &p));
    assert_int_equal(p.type, MQTT_PUBACK);
    body = rd_of(p.body);
    assert_int_equal(rd_u16(&body), id);
    assert_int_equal(rd_u8(&body), code);
    expect_reason(&body, cause, evidence);
    assert_true(rd_done(&body));
}

void
expect_suback5(
    struct device *d, uint16_t id, struct span codes, enum cause cause, const char *evidence)
{
    struct mqtt_packet p;
    struct rd body;

    assert_true(device_next(d, &p));
    assert_int_equal(p.type, MQTT_SUBACK);
    body = rd_of(p.body);
    assert_int_equal(rd_u16(&body), id);
    if (cause == CAUSE_NONE) {
        assert_int_equal(rd_u8(&body), 0);
    }
    expect_reason(&body, cause, evidence);
    assert_true(span_eq(rd_rest(&body), codes));
}

struct device
device_in(struct fixture *f, const struct made *cert, const char *id)
{
    struct device d = device_open(f, cert);

    say_connect(&d, 4, id, span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    return d;
}

struct device
device_in5(struct fixture *f, const struct made *cert, const char *id)
{
    struct device d = device_open(f, cert);

    say_connect(&d, 5, id, span_of(NULL, 0));
    expect_connack5(&d, 0);
    return d;
}

void
expect_ping(struct device *d)
{
    device_send(d, LIT("\xc0\x00"));
    expect(d, LIT("\xd0\x00"));
}

void
give_filters(struct device *d, const char *first, const char *second)
{
    struct fixture *f = d->f;

    f->tx.type = LINK_FILTERS;
    f->tx.request = 0;
    f->tx.u.filters.count = second != NULL ? 2 : 1;
    f->tx.u.filters.filters[0] = span_str(first);
    f->tx.u.filters.filters[1] = span_str(second != NULL ? second : "");
    control_send_tx(f);
    expect_ping(d); /* rounds for the link */
    expect_ping(d);
}
