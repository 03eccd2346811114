/* SPDX-License-Identifier: Apache-2.0 */
/* See worker_world.h. */
#include "worker_world.h"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MOSQUITTO "/usr/sbin/mosquitto"

/* All may connect and use t/; foo is deaf: it may publish and subscribe but receive nothing. */
static const char wide[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":["
    "{\"Effect\":\"Allow\",\"Action\":\"iot:*\",\"Resource\":["
    "\"arn:aws:iot:us-east-1:000000000000:client/*\","
    "\"arn:aws:iot:us-east-1:000000000000:topic/t*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/t*\","
    "\"arn:aws:iot:us-east-1:000000000000:topic/$aws/*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/$*\","
    "\"arn:aws:iot:us-east-1:000000000000:topicfilter/deaf\"]},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/deaf\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:Connect\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:client/banned\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:RetainPublish\",\"Resource\":\"*\"},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/cn/${iot:Certificate.Subject.CommonName}\"},"
    "{\"Effect\":\"Deny\",\"Action\":\"iot:Connect\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:client/brief\",\"Condition\":"
    "{\"StringEquals\":{\"iot:ConnectAttributes\":\"PersistentConnect\"}}},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/far\",\"Condition\":"
    "{\"NotIpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}}}]}";
static const char all[] = "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
                          "\"Action\":\"iot:*\",\"Resource\":\"*\"}}";
static const char narrow[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\","
    "\"Resource\":\"*\"}}";

static const char of_thing[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":["
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"*\",\"Condition\":"
    "{\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"true\"}}},"
    "{\"Effect\":\"Allow\",\"Action\":\"iot:Publish\",\"Resource\":"
    "\"arn:aws:iot:us-east-1:000000000000:topic/t/${iot:Connection.Thing.Attributes[room]}\"}]}";

static const struct {
    uint32_t set;
    const char *name;
    const char *text;
} documents[] = { { SET, "wide", wide }, { SET_NARROW, "narrow", narrow },
    { SET_RETAIN, "all", all }, { SET_THING, "of_thing", of_thing } };

/* ---- control ---- */

void
put_table(struct fixture *f, const struct made *m, enum cert_status status, uint32_t set)
{
    struct table_entry e = {
        .status = (uint8_t)status, .policy_set = set, .not_after_ms = clock_wall_ms() + 3600000
    };

    certs_id(m, e.id);
    assert_int_equal(table_put(f->table, &e, NULL), BM_OK);
}

void
control_send_tx(struct fixture *f)
{
    struct buf out = { 0 };

    assert_int_equal(link_build(&out, &f->tx), BM_OK);
    assert_int_equal(send(f->control, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    buf_fini(&out);
}

void
changed(struct fixture *f, const struct made *m)
{
    f->tx.type = LINK_CHANGED;
    f->tx.request = 0;
    certs_id(m, f->tx.u.changed.cert_id);
    control_send_tx(f);
}

static void
answer_policy(struct fixture *f)
{
    size_t i = 0;

    while (documents[i].set != f->rx.u.policy.set) {
        i++;
        assert_true(i < sizeof documents / sizeof *documents);
    }
    f->policies++;
    if (f->silent) {
        return;
    }
    f->tx.type = LINK_DOCUMENTS;
    f->tx.request = f->rx.request;
    f->tx.u.documents.set = f->rx.u.policy.set;
    f->tx.u.documents.found = f->set_missing ? 0 : 1;
    f->tx.u.documents.count = f->set_missing ? 0 : 1;
    f->tx.u.documents.docs[0] = span_str(documents[i].text);
    f->tx.u.documents.names[0] = span_str(documents[i].name);
    control_send_tx(f);
}

void
answer_thing(struct fixture *f)
{
    f->tx.type = LINK_FACTS;
    f->tx.request = f->thing_request;
    f->tx.u.facts.found = f->thing_fails     ? FACTS_FAILED
                          : f->thing != NULL ? FACTS_ATTACHED
                                             : FACTS_NONE;
    f->tx.u.facts.type = span_str("Lamp");
    f->tx.u.facts.attributes = span_str(f->thing != NULL ? f->thing : "");
    control_send_tx(f);
}

static void
take_thing(struct fixture *f)
{
    struct span id = f->rx.u.thing.client_id;

    f->things++;
    f->thing_request = f->rx.request;
    (void)snprintf(f->thing_client, sizeof f->thing_client, "%.*s", (int)id.len, id.ptr);
    if (!f->silent && !f->thing_waits) {
        answer_thing(f);
    }
}

static void
answer_admit(struct fixture *f)
{
    struct span id = f->rx.u.admit.client_id;

    f->admits++;
    f->admit_der.len = 0;
    buf_add(&f->admit_der, f->rx.u.admit.leaf_der.ptr, f->rx.u.admit.leaf_der.len);
    (void)snprintf(f->admit_client, sizeof f->admit_client, "%.*s", (int)id.len, id.ptr);
    if (f->silent) {
        return;
    }
    if (f->admit_puts_active) {
        put_table(f, &f->device, CERT_ACTIVE, SET);
    }
    f->tx.type = LINK_VERDICT;
    f->tx.request = f->rx.request;
    f->tx.u.verdict.cause = (uint16_t)f->verdict;
    control_send_tx(f);
}

static void
answer_number(struct fixture *f, uint32_t number, bool ok, bool saved)
{
    f->tx.type = LINK_STORED;
    f->tx.request = number;
    f->tx.u.stored.ok = ok;
    f->tx.u.stored.saved = saved;
    control_send_tx(f);
}

/* As control does it after a commit. */
void
answer_stored(struct fixture *f, uint32_t number, bool ok)
{
    answer_number(f, number, ok, false);
}

void
answer_saved(struct fixture *f, uint32_t number, bool ok)
{
    answer_number(f, number, ok, true);
}

static void
note_unstored(struct fixture *f)
{
    if (f->rx.request != 0) {
        f->unstored = f->rx.request;
    }
    if (f->rx.request != 0 && !f->stores_late) {
        answer_stored(f, f->rx.request, true);
    }
}

static void
note_ingress(struct fixture *f)
{
    struct span t = f->rx.u.ingress.topic;
    struct span p = f->rx.u.ingress.payload;

    f->ingresses++;
    (void)snprintf(f->ingress_topic, sizeof f->ingress_topic, "%.*s", (int)t.len, t.ptr);
    (void)snprintf(f->ingress_payload, sizeof f->ingress_payload, "%.*s", (int)p.len, p.ptr);
    note_unstored(f);
}

static void
control_message(struct fixture *f, struct span packet)
{
    assert_int_equal(link_parse(packet, &f->rx), BM_OK);
    if (f->rx.type == LINK_ADMIT) {
        answer_admit(f);
    } else if (f->rx.type == LINK_POLICY) {
        answer_policy(f);
    } else if (f->rx.type == LINK_THING) {
        take_thing(f);
    } else if (f->rx.type == LINK_INGRESS) {
        note_ingress(f);
    } else if (f->rx.type == LINK_RETAINED) {
        note_unstored(f);
    } else if (f->rx.type == LINK_SAVE) {
        f->saves++;
        f->unsaved = f->rx.request;
        if (!f->saves_late) {
            answer_saved(f, f->rx.request, true);
        }
    } else if (f->rx.type == LINK_EVENT) {
        struct event *e = &f->events[f->event_count % EVENTS_MAX];
        struct span t = f->rx.u.ingress.topic;
        struct span p = f->rx.u.ingress.payload;

        assert_int_equal(f->rx.u.ingress.client_id.len, 0);
        f->event_count++;
        (void)snprintf(e->topic, sizeof e->topic, "%.*s", (int)t.len, t.ptr);
        (void)snprintf(e->payload, sizeof e->payload, "%.*s", (int)p.len, p.ptr);
    } else {
        assert_int_equal(f->rx.type, LINK_RECORD);
        assert_true(f->record_count < RECORDS_MAX);
        f->records[f->record_count++] = f->rx.u.record;
    }
}

void
pump(struct fixture *f, int fd, short events, int ms)
{
    struct pollfd p[2] = { { .fd = f->deaf ? -1 : f->control, .events = POLLIN },
        { .fd = fd, .events = events } };

    (void)poll(p, 2, ms);
    while (f->control >= 0 && !f->deaf) {
        ssize_t len = recv(f->control, f->packet, sizeof f->packet, MSG_DONTWAIT);

        if (len <= 0) {
            return;
        }
        control_message(f, span_of(f->packet, (size_t)len));
    }
}

void
wait_ingress(struct fixture *f, unsigned count)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    while (f->ingresses < count) {
        assert_true(clock_mono_ms() < end);
        pump(f, -1, 0, 20);
    }
    assert_int_equal(f->ingresses, count);
}

const struct timeline_record *
wait_record(struct fixture *f, size_t from, enum cause cause)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    for (;;) {
        for (size_t i = from; i < f->record_count; i++) {
            if (f->records[i].cause == cause) {
                return &f->records[i];
            }
        }
        if (clock_mono_ms() > end) {
            for (size_t i = 0; i < f->record_count; i++) {
                (void)fprintf(stderr, "record %zu: %s %s\n", i, cause_info(f->records[i].cause)->id,
                    f->records[i].facts);
            }
            fail_msg("no record of %s", cause_info(cause)->id);
        }
        pump(f, -1, 0, 20);
    }
}

const struct event *
wait_event(struct fixture *f, const char *topic, const char *part)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    for (;;) {
        for (size_t i = 0; i < f->event_count && i < EVENTS_MAX; i++) {
            if (strcmp(f->events[i].topic + strlen("$aws/events/"), topic) == 0 &&
                strstr(f->events[i].payload, part) != NULL) {
                return &f->events[i];
            }
        }
        if (clock_mono_ms() > end) {
            for (size_t i = 0; i < f->event_count && i < EVENTS_MAX; i++) {
                (void)fprintf(stderr, "%s %s\n", f->events[i].topic, f->events[i].payload);
            }
            fail_msg("no event %s with %s", topic, part);
        }
        pump(f, -1, 0, 20);
    }
}

void
wait_metric(struct fixture *f, const char *line)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    struct buf text = { 0 };

    metrics_text(f->metrics, 1, &text);
    while (strstr(buf_cstr(&text), line) == NULL) {
        if (clock_mono_ms() > end) {
            fail_msg("no \"%s\" in\n%s", line, buf_cstr(&text));
        }
        pump(f, -1, 0, 20);
        text.len = 0;
        metrics_text(f->metrics, 1, &text);
    }
    buf_fini(&text);
}

void
assert_fact(const struct timeline_record *r, const char *part)
{
    if (strstr(r->facts, part) == NULL) {
        fail_msg("facts \"%s\" lack \"%s\"", r->facts, part);
    }
}

/* ---- devices ---- */

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
events_heard(struct fixture *f, bool heard)
{
    struct kept *k;

    assert_int_equal(kept_open(f->dir, &k, NULL), BM_OK);
    kept_begin(k, false);
    if (heard) {
        kept_add(k, span_str("$aws/events/#"), false);
    }
    kept_close(k);
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

/* ---- fixture ---- */

static bool
unix_answers(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool ok;

    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    ok = connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    (void)close(fd);
    return ok;
}

void
start_mosquitto(struct fixture *f)
{
    char conf[128];
    FILE *file;
    int64_t end = clock_mono_ms() + WAIT_MS;

    (void)snprintf(conf, sizeof conf, "%s/mosquitto.conf", f->dir);
    file = fopen(conf, "w");
    assert_non_null(file);
    (void)fprintf(file,
        "listener 0 %s\nallow_anonymous true\nuser root\nlog_type none\nmax_queued_messages 0\n",
        f->broker_path);
    (void)fclose(file);
    (void)fflush(NULL);
    f->mosquitto = fork();
    if (f->mosquitto == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) { /* it warns of running as root */
            _exit(126);
        }
        (void)execl(MOSQUITTO, "mosquitto", "-c", conf, (char *)NULL);
        _exit(127);
    }
    while (!unix_answers(f->broker_path)) {
        assert_true(clock_mono_ms() < end);
        (void)poll(NULL, 0, 5);
    }
}

static int
listen_loopback(uint16_t *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(fd_prepare(fd), BM_OK);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void
start_worker(struct fixture *f)
{
    char cert[96];
    char key[96];
    int pair[2];
    int fd = listen_loopback(&f->port);

    f->metrics = metrics_map(1);
    assert_non_null(f->metrics);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(cert, sizeof cert, "%s/server.pem", f->dir);
    (void)snprintf(key, sizeof key, "%s/server.key", f->dir);
    (void)fflush(NULL);
    f->worker = fork();
    if (f->worker == 0) {
        const struct upstream broker = { .path = f->broker_path };
        const struct account_place place = { "000000000000", f->dir, &broker };
        struct worker_options o = { .listen_fd = fd,
            .control_fd = pair[1],
            .accounts = &place,
            .account_count = 1,
            .server_cert = cert,
            .server_key = key,
            .region = "us-east-1",
            .metrics = f->metrics,
            .limits = &f->limits,
            .throttle = throttle_map(1),
            .keep_alive_min_s = f->keep_alive_min_s };
        struct rlimit few = { f->descriptors, f->descriptors };
        struct bm_msg msg = { "" };
        enum bm_err err;

        if (f->descriptors != 0) {
            (void)setrlimit(RLIMIT_NOFILE, &few);
        }

        (void)close(pair[0]);
        (void)fd_prepare(pair[1]);
        err = worker_run(&o, &msg);
        if (err != BM_OK) {
            (void)fprintf(stderr, "worker: %s\n", msg.text);
        }
        exit(err == BM_OK ? 0 : 1);
    }
    (void)close(pair[1]);
    (void)close(fd);
    f->control = pair[0];
}

static void
set_up_with(struct fixture *f)
{
    (void)strcpy(f->dir, "/tmp/birthmark-worker.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->broker_path, sizeof f->broker_path, "%s/broker.sock", f->dir);
    f->ca = certs_make(&(struct make){ .name = "Demo CA", .ca = true });
    f->server = certs_make(&(struct make){ .name = "localhost" });
    f->device = certs_make(&(struct make){ .name = "device", .issuer = &f->ca });
    f->other = certs_make(&(struct make){ .name = "other", .issuer = &f->ca });
    certs_write(&f->server, f->dir, "server");
    assert_int_equal(table_create(f->dir, 16, &f->table, NULL), BM_OK);
    put_table(f, &f->other, CERT_ACTIVE, SET);
    f->verdict = CAUSE_REGISTERED_JITR;
    events_heard(f, true);
    start_mosquitto(f);
    start_worker(f);
}

static struct fixture *
new_fixture(void)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->limits = limits_default();
    f->limits.v[LIMIT_HANDSHAKE_MS] = 2000;
    return f;
}

int
set_up(void **state)
{
    struct fixture *f = new_fixture();

    set_up_with(f);
    *state = f;
    return 0;
}

int
set_up_known(void **state)
{
    (void)set_up(state);
    put_table(*state, &((struct fixture *)*state)->device, CERT_ACTIVE, SET);
    return 0;
}

int
set_up_impatient(void **state)
{
    struct fixture *f = new_fixture();

    f->keep_alive_min_s = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_lifted(void **state)
{
    struct fixture *f = new_fixture();

    limits_lift(&f->limits);
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_slow(void **state)
{
    struct fixture *f = new_fixture();

    f->limits.v[LIMIT_ACCOUNT_CONNECT_RATE] = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

int
set_up_poor(void **state)
{
    struct fixture *f = new_fixture();

    f->descriptors = 160; /* 64 in reserve, two for each device: room for 48 */
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

void
end_child(pid_t *pid, int *status)
{
    if (*pid > 0) {
        /* A test that failed may have left it stopped. Not after SIGTERM: the sanitizer at the
         * end of the child waits for a SIGSTOP of its own, which SIGCONT would discard. */
        (void)kill(*pid, SIGCONT);
        (void)kill(*pid, SIGTERM);
        (void)waitpid(*pid, status, 0);
        *pid = 0;
    }
}

int
tear_down(void **state)
{
    struct fixture *f = *state;
    bool had_worker = f->worker > 0;
    int status = 0;

    end_child(&f->worker, &status);
    if (had_worker && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        (void)fprintf(stderr, "worker ended with status 0x%x\n", (unsigned)status);
        return -1;
    }
    end_child(&f->mosquitto, &status);
    if (f->control >= 0) {
        (void)close(f->control);
    }
    table_close(f->table);
    if (f->metrics != NULL) {
        (void)munmap(f->metrics, sizeof *f->metrics);
    }
    certs_fini(&f->ca);
    certs_fini(&f->server);
    certs_fini(&f->device);
    certs_fini(&f->other);
    buf_fini(&f->admit_der);
    assert_int_equal(dir_remove(f->dir, NULL), BM_OK);
    free(f);
    return 0;
}

bool
worker_can_run(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (access(MOSQUITTO, X_OK) == 0) {
        return true;
    }
    (void)fprintf(stderr,
        "SKIPPED: all tests of the worker process, because %s is not there; "
        "install the package mosquitto\n",
        MOSQUITTO);
    return false;
}
