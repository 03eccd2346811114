/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the TLS worker as a process: a scripted control process on the other end of the link, a
 * real mosquitto behind it, devices that are plain OpenSSL with packets written by hand.
 *
 * One thread plays control and all devices: whatever a device waits for, `pump` serves the link
 * meanwhile. Waiting has a deadline, nothing sleeps.
 */
#include "base/clock.h"
#include "base/file.h"
#include "certs.h"
#include "endpoint/inside.h"
#include "registry/registry.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MOSQUITTO "/usr/sbin/mosquitto"
#define LIT(text) span_of(text, sizeof(text) - 1)

enum {
    WAIT_MS = 10000,
    RECORDS_MAX = 512,
    EVENTS_MAX = 512,
    SET = 7,
    SET_NARROW = 8,
    HANDSHAKES = 128, /* in flight, the default */
};

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
static const char narrow[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\","
    "\"Resource\":\"*\"}}";

struct fixture {
    char dir[64];
    char broker_path[96];
    struct table *table;
    struct metrics *metrics;
    struct made ca;
    struct made server;
    struct made device;
    struct made other;
    pid_t worker;
    pid_t mosquitto;
    int control; /* our end of the link */
    uint16_t port;
    /* the script */
    enum cause verdict;
    bool admit_puts_active;
    bool silent; /* control does not answer */
    bool set_missing;
    bool deaf; /* control does not read */
    unsigned keep_alive_min_s;
    struct limits limits;
    rlim_t descriptors; /* 0: as they are */
    /* what was seen */
    unsigned admits;
    unsigned policies;
    struct buf admit_der;
    char admit_client[160];
    struct timeline_record records[RECORDS_MAX];
    size_t record_count;
    unsigned ingresses;
    char ingress_topic[300];
    char ingress_payload[300];
    struct event {
        char topic[160];
        char payload[512];
    } events[EVENTS_MAX];
    size_t event_count;
    struct link_msg rx;
    struct link_msg tx;
    uint8_t packet[LINK_MESSAGE_MAX];
};

/* ---- control ---- */

static void
put_table(struct fixture *f, const struct made *m, enum cert_status status, uint32_t set)
{
    struct table_entry e = {
        .status = (uint8_t)status, .policy_set = set, .not_after_ms = clock_wall_ms() + 3600000
    };

    certs_id(m, e.id);
    assert_int_equal(table_put(f->table, &e, NULL), BM_OK);
}

static void
control_send_tx(struct fixture *f)
{
    struct buf out = { 0 };

    assert_int_equal(link_build(&out, &f->tx), BM_OK);
    assert_int_equal(send(f->control, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    buf_fini(&out);
}

static void
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
    const char *text = f->rx.u.policy.set == SET ? wide : narrow;

    f->policies++;
    if (f->silent) {
        return;
    }
    f->tx.type = LINK_DOCUMENTS;
    f->tx.request = f->rx.request;
    f->tx.u.documents.set = f->rx.u.policy.set;
    f->tx.u.documents.found = f->set_missing ? 0 : 1;
    f->tx.u.documents.count = f->set_missing ? 0 : 1;
    f->tx.u.documents.docs[0] = span_str(text);
    f->tx.u.documents.names[0] = span_str(text == wide ? "wide" : "narrow");
    control_send_tx(f);
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
control_message(struct fixture *f, struct span packet)
{
    assert_int_equal(link_parse(packet, &f->rx), BM_OK);
    if (f->rx.type == LINK_ADMIT) {
        answer_admit(f);
    } else if (f->rx.type == LINK_POLICY) {
        answer_policy(f);
    } else if (f->rx.type == LINK_INGRESS) {
        struct span t = f->rx.u.ingress.topic;
        struct span p = f->rx.u.ingress.payload;

        f->ingresses++;
        (void)snprintf(f->ingress_topic, sizeof f->ingress_topic, "%.*s", (int)t.len, t.ptr);
        (void)snprintf(f->ingress_payload, sizeof f->ingress_payload, "%.*s", (int)p.len, p.ptr);
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

/* Serve the link, and wait for it or `fd` at most `ms`. */
static void
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

/* Wait for the record number `from` or later of this cause. */
static const struct timeline_record *
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

/* Wait for the event with this topic below $aws/events/, with this part in its payload. */
static const struct event *
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

static void
assert_fact(const struct timeline_record *r, const char *part)
{
    if (strstr(r->facts, part) == NULL) {
        fail_msg("facts \"%s\" lack \"%s\"", r->facts, part);
    }
}

/* ---- devices ---- */

struct device {
    struct fixture *f;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool closed;
    struct buf in;
};

struct tls_choice {
    const struct made *cert; /* NULL: none */
    int version;             /* 0: any */
    const char *alpn;        /* wire form */
};

static void
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

/* One step that did not finish: false when it never will. */
static bool
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

static void
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

/* Start a TLS connection; finished by device_handshake. */
static struct device
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

static bool
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

static struct device
device_open(struct fixture *f, const struct made *cert)
{
    struct device d = device_start(f, &(struct tls_choice){ .cert = cert });

    assert_true(device_handshake(&d));
    return d;
}

static void
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

/* The next packet into `out`; it lives until the next call. False: the connection is closed. */
static bool
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

static void
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

/* Closed, and not one packet before. */
static void
expect_closed(struct device *d)
{
    struct mqtt_packet p;

    if (device_next(d, &p)) {
        fail_msg("packet of type %u instead of a close", p.type);
    }
}

static void
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

static void
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

static void
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

static void
expect_connack5(struct device *d, uint8_t code)
{
    struct mqtt_packet p;
    struct mqtt_connack k;

    assert_true(device_next(d, &p));
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    assert_int_equal(k.code, code);
}

/* An admitted device of level 4. */
static struct device
device_in(struct fixture *f, const struct made *cert, const char *id)
{
    struct device d = device_open(f, cert);

    say_connect(&d, 4, id, span_of(NULL, 0));
    expect(&d, LIT("\x20\x02\x00\x00"));
    return d;
}

static struct device
device_in5(struct fixture *f, const struct made *cert, const char *id)
{
    struct device d = device_open(f, cert);

    say_connect(&d, 5, id, span_of(NULL, 0));
    expect_connack5(&d, 0);
    return d;
}

static void
expect_ping(struct device *d)
{
    device_send(d, LIT("\xc0\x00"));
    expect(d, LIT("\xd0\x00"));
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

static void
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
        const struct account_place place = { "000000000000", f->dir, f->broker_path };
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

static int
set_up(void **state)
{
    struct fixture *f = new_fixture();

    set_up_with(f);
    *state = f;
    return 0;
}

static int
set_up_known(void **state)
{
    (void)set_up(state);
    put_table(*state, &((struct fixture *)*state)->device, CERT_ACTIVE, SET);
    return 0;
}

static int
set_up_impatient(void **state)
{
    struct fixture *f = new_fixture();

    f->keep_alive_min_s = 1;
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

static int
set_up_lifted(void **state)
{
    struct fixture *f = new_fixture();

    limits_lift(&f->limits);
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

static int
set_up_poor(void **state)
{
    struct fixture *f = new_fixture();

    f->descriptors = 160; /* 64 in reserve, two for each device: room for 48 */
    set_up_with(f);
    put_table(f, &f->device, CERT_ACTIVE, SET);
    *state = f;
    return 0;
}

static void
end_child(pid_t *pid, int *status)
{
    if (*pid > 0) {
        (void)kill(*pid, SIGTERM);
        (void)waitpid(*pid, status, 0);
        *pid = 0;
    }
}

static int
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

/* ---- admission ---- */

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

/* Wait until the one worker's numbers have this line: it may count what it did afterwards. */
static void
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
    say_publish(&a, 4, 0, "denied", "hi");
    expect_closed(&a);
    f->verdict = CAUSE_CA_UNKNOWN;
    stranger = device_open(f, &f->server);
    say_connect(&stranger, 4, "s", span_of(NULL, 0));
    expect_closed(&stranger);
    wait_metric(f, "\nbirthmark_connections 1\n");
    wait_metric(f, "\nbirthmark_accepted_total 3\n");
    wait_metric(f, "\nbirthmark_handshakes_total 3\n");
    wait_metric(f, "\nbirthmark_messages_published_total 1\n");
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
    expect(&d, LIT("\x20\x03\x00\x87\x00"));
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
        { TLS1_3_VERSION, "\x02h2\x04mqtt", "" },
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

/* ---- CONNECT ---- */

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

static void
short_keep_alive_is_raised_and_level_5_is_told(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);
    struct mqtt_packet p;
    struct mqtt_connack k;
    struct mqtt_property prop;
    struct rd list;
    uint32_t server_s = 0;

    device_send(&d, LIT("\x10\x10\x00\x04MQTT\x05\x02\x00\x05\x00\x00\x03"
                        "dev"));
    assert_true(device_next(&d, &p));
    assert_int_equal(mqtt_parse_connack(&p, 5, &k), BM_OK);
    list = rd_of(k.properties);
    while (mqtt_next_property(&list, &prop) == BM_OK) {
        server_s = prop.id == MQTT_PROP_SERVER_KEEP_ALIVE ? prop.number : server_s;
    }
    assert_int_equal(server_s, 30);
    assert_fact(wait_record(f, 0, CAUSE_ADMITTED), "keep_alive_s=30");
    device_free(&d);
}

/* ---- messages ---- */

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
    expect(&d, LIT("\x40\x03\x00\x0a\x87"));
    expect_ping(&d);
    say_publish(&d, 5, 0, "secret", "x");
    expect(&d, LIT("\xe0\x01\x87"));
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
    struct mqtt_packet p;
    struct mqtt_suback a;

    device_send(&d, LIT("\x82\x13\x00\x0a\x00\x00\x02no\x01\x00\x03t/a\x02\x00\x02no\x00"));
    assert_true(device_next(&d, &p));
    assert_int_equal(mqtt_parse_suback(&p, 5, &a), BM_OK);
    assert_int_equal(a.packet_id, 10);
    assert_true(span_eq(a.codes, LIT("\x87\x01\x87"))); /* QoS 2 is granted as 1 */
    device_send(&d, LIT("\x82\x08\x00\x0b\x00\x00\x02no\x01"));
    expect(&d, LIT("\x90\x04\x00\x0b\x00\x87"));
    device_free(&d);
}

static void
topic_alias_was_not_offered_and_is_refused(void **state)
{
    struct fixture *f = *state;
    struct device d = device_in5(f, &f->device, "a");

    device_send(&d, LIT("\x30\x0a\x00\x03t/x\x03\x23\x00\x01x"));
    expect(&d, LIT("\xe0\x01\x94"));
    expect_closed(&d);
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
    int64_t end = clock_mono_ms() + WAIT_MS;

    f->tx.type = LINK_FILTERS;
    f->tx.request = 0;
    f->tx.u.filters.count = 2;
    f->tx.u.filters.filters[0] = span_str("other/#");
    f->tx.u.filters.filters[1] = span_str("t/+/r");
    control_send_tx(f);
    expect_ping(&d); /* one round for the link */
    expect_ping(&d);
    say_publish(&d, 4, 0, "t/no", "1");
    say_publish(&d, 4, 1, "t/yes/r", "2");
    expect(&d, LIT("\x40\x02\x00\x0a"));
    while (f->ingresses == 0 && clock_mono_ms() < end) {
        pump(f, -1, 0, 20);
    }
    assert_int_equal(f->ingresses, 1);
    assert_string_equal(f->ingress_topic, "t/yes/r");
    assert_string_equal(f->ingress_payload, "2");
    device_free(&d);
}

/* Publishers wait for a control process that is slow; no message for a rule is lost. */
static void
basic_ingest_goes_to_control_and_not_to_the_broker(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in(f, &f->device, "a");
    struct device b = device_in5(f, &f->other, "b");
    int64_t end = clock_mono_ms() + WAIT_MS;

    say_publish(&a, 4, 1, "$aws/rules/r/t/x", "for the rule");
    expect(&a, LIT("\x40\x02\x00\x0a"));
    while (f->ingresses == 0) {
        assert_true(clock_mono_ms() < end);
        pump(f, -1, 0, 20);
    }
    assert_string_equal(f->ingress_topic, "$aws/rules/r/t/x");
    assert_string_equal(f->ingress_payload, "for the rule");
    say_subscribe(&b, 5, "$aws/rules/r/#", 1); /* nobody can */
    expect(&b, LIT("\x90\x04\x00\x14\x00\x87"));
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
    expect(&d, LIT("\xe0\x01\x97"));
    expect_closed(&d);
    assert_fact(wait_record(f, from, CAUSE_SUBSCRIPTIONS), "subscriptions_max=50");
    device_free(&d);
}

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

    f->tx.type = LINK_FILTERS;
    f->tx.request = 0;
    f->tx.u.filters.count = 1;
    f->tx.u.filters.filters[0] = span_str("t/#");
    control_send_tx(f);
    expect_ping(&d);
    expect_ping(&d);
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

/* ---- changes ---- */

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
    expect(&d, LIT("\xe0\x01\x98"));
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
    expect(&a, LIT("\xe0\x01\x8e"));
    expect_closed(&a);
    device_free(&a);
    device_free(&b);
}

/* ---- failures around it ---- */

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
    expect_closed(&newcomer);
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
    int64_t end = clock_mono_ms() + WAIT_MS;

    f->silent = true;
    say_connect(&a, 4, "a", span_of(NULL, 0)); /* unknown: waits for a verdict */
    say_connect(&b, 4, "b", span_of(NULL, 0)); /* known: waits for its policies */
    while ((f->admits == 0 || f->policies == 0) && clock_mono_ms() < end) {
        pump(f, -1, 0, 20);
    }
    (void)close(f->control);
    f->control = -1;
    expect_closed(&a);
    expect_closed(&b);
    device_free(&a);
    device_free(&b);
}

static void
device_waits_for_a_broker_that_is_not_there_yet(void **state)
{
    struct fixture *f = *state;
    struct device d = device_open(f, &f->device);
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
    expect_closed(&d);
    assert_fact(wait_record(f, 0, CAUSE_BROKER_DOWN), "waiting_for=socket");
    device_free(&d);
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
    assert_in_range(clock_mono_ms() - began, 1400, 5000); /* 1.5 times the second it asked for */
    assert_fact(wait_record(f, 0, CAUSE_KEEP_ALIVE), "keep_alive_s=1");
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
        mqtt_build_puback(&ack, 4, got.packet_id, 0);
        device_send(&b, buf_span(&ack));
        buf_fini(&ack);
    }
    expect_ping(&b);
    buf_fini(&out);
    free(payload);
    device_free(&a);
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

static void
end_of_the_worker_tells_clients_and_sends_its_records(void **state)
{
    struct fixture *f = *state;
    struct device a = device_in5(f, &f->device, "a");
    struct device b = device_in(f, &f->other, "b");
    int status = -1;

    end_child(&f->worker, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect(&a, LIT("\xe0\x01\x8b"));
    expect_closed(&a);
    expect_closed(&b);
    assert_fact(wait_record(f, 0, CAUSE_DISCONNECTED), "by=service");
    device_free(&a);
    device_free(&b);
}

/* ---- the table of states ---- */

static void
every_state_can_end_and_nothing_leaves_the_end(void **state)
{
    enum conn_state to;

    (void)state;
    for (int from = 0; from < CONN_STATES; from++) {
        for (int event = 0; event < CONN_EVENTS; event++) {
            bool legal = conn_next((enum conn_state)from, (enum conn_event)event, &to);

            if (from == CONN_CLOSED) {
                assert_false(legal);
            }
            if (event == EV_END && from != CONN_CLOSED) {
                assert_true(legal);
                assert_int_equal(to, CONN_CLOSED);
            }
            if (legal) { /* only forward: no event leads back */
                assert_true((int)to > from);
            }
        }
    }
}

static void
relaying_is_reached_only_through_identity_policy_and_broker(void **state)
{
    static const enum conn_event path[] = { EV_TLS_DONE, EV_ASK, EV_KNOWN, EV_ALLOWED, EV_SENT,
        EV_ACCEPTED };
    enum conn_state at = CONN_TLS;
    enum conn_state to;

    (void)state;
    for (size_t i = 0; i < sizeof path / sizeof path[0]; i++) {
        assert_true(conn_next(at, path[i], &at));
    }
    assert_int_equal(at, CONN_RELAY);
    for (int from = 0; from < CONN_STATES; from++) {
        for (int event = 0; event < CONN_EVENTS; event++) {
            if (conn_next((enum conn_state)from, (enum conn_event)event, &to)) {
                assert_true(to != CONN_RELAY || from == CONN_CONNACK);
                assert_true(to != CONN_BROKER || from == CONN_POLICY);
            }
        }
    }
}

int
main(void)
{
#define KNOWN(name) cmocka_unit_test_setup_teardown(name, set_up_known, tear_down)
#define UNKNOWN(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define LIFTED(name) cmocka_unit_test_setup_teardown(name, set_up_lifted, tear_down)
    const struct CMUnitTest tables[] = {
        cmocka_unit_test(every_state_can_end_and_nothing_leaves_the_end),
        cmocka_unit_test(relaying_is_reached_only_through_identity_policy_and_broker),
    };
    const struct CMUnitTest tests[] = {
        KNOWN(known_device_is_admitted_without_asking_who_it_is),
        KNOWN(events_tell_of_coming_subscribing_and_leaving),
        KNOWN(events_tell_why_a_device_is_gone),
        KNOWN(ids_that_look_like_wildcards_have_no_events),
        KNOWN(worker_counts_what_it_does),
        KNOWN(policies_are_fetched_once_for_all_who_share_them),
        UNKNOWN(unknown_device_is_asked_about_and_closed_without_connack),
        UNKNOWN(device_that_says_nothing_is_never_asked_about),
        UNKNOWN(device_is_admitted_when_control_made_it_active),
        UNKNOWN(device_that_is_not_active_is_refused_by_verdict),
        UNKNOWN(expired_device_is_refused),
        UNKNOWN(device_without_policy_is_closed_at_connect),
        KNOWN(policy_set_that_control_does_not_have_admits_nobody),
        KNOWN(denied_client_id_is_closed_or_told_by_level),
        UNKNOWN(no_certificate_ends_the_handshake_with_a_cause),
        UNKNOWN(bytes_that_are_not_tls_are_refused_with_a_cause),
        KNOWN(peers_that_only_connect_shut_nobody_out),
        KNOWN(half_done_handshakes_hold_newcomers_back_only_until_they_time_out),
        UNKNOWN(chain_beyond_32_kib_is_refused),
        KNOWN(both_tls_versions_and_any_alpn_offer_are_served),
        KNOWN(chain_of_ten_is_served_and_only_its_leaf_counts),
        KNOWN(renegotiation_is_not_followed),
        KNOWN(sessions_cannot_be_resumed_so_there_is_no_early_data),
        KNOWN(flood_of_alerts_ends_the_connection),
        KNOWN(connect_may_come_in_any_pieces),
        KNOWN(half_connect_times_out),
        UNKNOWN(half_handshake_times_out),
        KNOWN(garbage_after_tls_is_closed_with_a_cause),
        KNOWN(client_id_of_129_bytes_is_refused_and_of_128_taken),
        KNOWN(device_without_an_id_gets_one),
        KNOWN(short_keep_alive_is_raised_and_level_5_is_told),
        KNOWN(message_reaches_a_subscriber),
        KNOWN(denied_publish_closes_level_4_without_puback),
        KNOWN(variables_of_the_certificate_come_from_the_leaf),
        KNOWN(conditions_see_how_and_from_where_a_client_connects),
        KNOWN(denied_publish_tells_level_5_and_keeps_it_at_qos_1),
        KNOWN(retained_publish_needs_its_own_permission),
        LIFTED(publishes_outside_the_limits_are_closed_with_a_cause),
        KNOWN(payload_of_128_kib_passes_and_one_byte_more_does_not),
        KNOWN(delivery_without_permission_is_dropped_silently),
        KNOWN(level_5_suback_names_the_denied_filters),
        KNOWN(topic_alias_was_not_offered_and_is_refused),
        KNOWN(filter_with_hash_does_not_match_its_parent),
        KNOWN(message_for_a_rule_goes_to_control_too),
        KNOWN(basic_ingest_goes_to_control_and_not_to_the_broker),
        KNOWN(fifty_subscriptions_are_granted_and_one_more_ends_the_connection),
        LIFTED(slow_control_holds_publishers_back_and_misses_nothing),
        KNOWN(deactivated_device_is_kicked_and_its_will_fires),
        KNOWN(disconnect_fires_no_will_and_a_lost_connection_does),
        KNOWN(will_without_permission_is_refused_at_connect),
        KNOWN(deleted_certificate_ends_its_connections),
        KNOWN(changed_policies_decide_from_then_on),
        KNOWN(second_connection_with_the_id_takes_over),
        UNKNOWN(without_control_only_known_devices_are_served),
        UNKNOWN(control_that_dies_while_asked_refuses_who_waits),
        KNOWN(device_waits_for_a_broker_that_is_not_there_yet),
        KNOWN(many_devices_at_once_are_all_admitted),
        cmocka_unit_test_setup_teardown(
            device_that_says_nothing_for_too_long_is_ended, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(
            without_descriptors_newcomers_wait_until_somebody_leaves, set_up_poor, tear_down),
        LIFTED(slow_subscriber_gets_everything_in_order_later),
        LIFTED(burst_of_publishes_is_relayed_whole),
        LIFTED(clients_that_vanish_while_they_are_written_to_harm_nobody),
        LIFTED(nothing_is_left_in_tls_when_the_broker_reads_again),
        KNOWN(end_of_the_worker_tells_clients_and_sends_its_records),
    };
    int failed = cmocka_run_group_tests(tables, NULL, NULL);

    if (access(MOSQUITTO, X_OK) != 0) {
        (void)fprintf(stderr,
            "SKIPPED: all tests of the worker process, because %s is not there; "
            "install the package mosquitto\n",
            MOSQUITTO);
        return failed;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
