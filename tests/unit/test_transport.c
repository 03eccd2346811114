/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS to a broker, against OpenSSL's own server on loopback in the same thread: who is trusted and
 * who is not and why, both directions under backpressure, and that epoll knows of all that waits.
 */
#include "broker/transport.h"
#include "certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char dir[64];
    char ca_path[96];
    char other_path[96];
    char cert_path[96];
    char key_path[96];
    struct made ca;
    struct made other; /* CA */
    struct made device;
    int listener;
    SSL_CTX *server_ctx;
    SSL_CTX *ctx;
    SSL *server; /* NULL: it speaks no TLS */
    int server_fd;
    struct upstream u;
    struct transport s;
};

static void
names(struct made *m, const struct made *issuer, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, value);

    assert_non_null(e);
    assert_int_equal(X509_set_version(m->cert, X509_VERSION_3), 1);
    assert_int_equal(X509_add_ext(m->cert, e, -1), 1);
    assert_true(X509_sign(m->cert, issuer->key, EVP_sha256()) > 0);
    X509_EXTENSION_free(e);
}

static void
little_room(int fd)
{
    const int room = 64 * 1024;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
}

static int
set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;

    *state = w;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)strcpy(w->dir, "/tmp/birthmark-transport.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->ca = certs_make(&(struct make){ .name = "ca", .ca = true });
    w->other = certs_make(&(struct make){ .name = "other", .ca = true });
    w->device = certs_make(&(struct make){ .name = "gateway", .issuer = &w->ca });
    certs_write(&w->ca, w->dir, "ca");
    certs_write(&w->other, w->dir, "other");
    certs_write(&w->device, w->dir, "device");
    (void)snprintf(w->ca_path, sizeof w->ca_path, "%s/ca.pem", w->dir);
    (void)snprintf(w->other_path, sizeof w->other_path, "%s/other.pem", w->dir);
    (void)snprintf(w->cert_path, sizeof w->cert_path, "%s/device.pem", w->dir);
    (void)snprintf(w->key_path, sizeof w->key_path, "%s/device.key", w->dir);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    little_room(w->listener); /* and for who is accepted */
    assert_int_equal(bind(w->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(w->listener, 8), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&at, &len), 0);
    w->u = (struct upstream){ .count = 1, .tls = true, .ca = w->ca_path };
    memcpy(&w->u.addresses[0].sa, &at, sizeof at);
    w->u.addresses[0].len = sizeof at;
    (void)strcpy(w->u.addresses[0].name, "broker.example");
    w->s.fd = -1;
    w->server_fd = -1;
    return 0;
}

static int
tear_down(void **state)
{
    static const char *const files[] = { "ca.pem", "ca.key", "other.pem", "other.key", "device.pem",
        "device.key" };
    struct world *w = *state;
    char path[128];

    transport_close(&w->s);
    SSL_free(w->server);
    if (w->server_fd >= 0)
        (void)close(w->server_fd);
    (void)close(w->listener);
    SSL_CTX_free(w->server_ctx);
    SSL_CTX_free(w->ctx);
    certs_fini(&w->ca);
    certs_fini(&w->other);
    certs_fini(&w->device);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

/* Our end is on its way to a server that shows `shown`; it has accepted. */
static void
meet(struct world *w, const struct made *shown, const struct made *asks_of)
{
    w->server_ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(w->server_ctx, shown->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(w->server_ctx, shown->key), 1);
    SSL_CTX_set_mode(
        w->server_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (asks_of != NULL) {
        SSL_CTX_set_verify(w->server_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        assert_int_equal(
            X509_STORE_add_cert(SSL_CTX_get_cert_store(w->server_ctx), asks_of->cert), 1);
    }
    assert_int_equal(transport_context(&w->u, &w->ctx, NULL), BM_OK);
    assert_non_null(w->ctx);
    assert_true(transport_open(&w->s, &w->u, 0, w->ctx));
    little_room(w->s.fd);
    w->server_fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(w->server_fd >= 0);
    w->server = SSL_new(w->server_ctx);
    assert_int_equal(SSL_set_fd(w->server, w->server_fd), 1);
    SSL_set_accept_state(w->server);
}

/* Write one message and wait for it to come back or for the end: NULL, or why it ended. */
static const char *
echo(struct world *w)
{
    char back[TRANSPORT_READ_MIN];
    char seen[64];
    size_t n = 0;
    bool sent = false;

    for (int i = 0; i < 10000; i++) {
        struct pollfd p[2] = { { .fd = w->s.fd, .events = POLLIN }, { .fd = w->server_fd } };
        ssize_t len = sent ? 0 : transport_write(&w->s, span_str("hello"));

        sent = sent || len == 5;
        if (SSL_read_ex(w->server, seen, sizeof seen, &n) == 1)
            assert_int_equal(SSL_write(w->server, seen, (int)n), n);
        else if (SSL_get_error(w->server, 0) == SSL_ERROR_SSL)
            (void)shutdown(w->server_fd, SHUT_WR);
        p[1].events = POLLIN;
        (void)poll(p, 2, 10);
        len = transport_read(&w->s, back, sizeof back);
        if (len == 5 && memcmp(back, "hello", 5) == 0)
            return NULL;
        if (len == 0)
            return "ended";
        if (len < 0 && errno != EAGAIN)
            return transport_why(&w->s);
    }
    return "nothing happened";
}

static void
expect(struct world *w, const char *why)
{
    const char *got = echo(w);

    if ((got == NULL) != (why == NULL) || (got != NULL && strstr(got, why) == NULL))
        fail_msg("wanted %s, got %s", why != NULL ? why : "an echo", got != NULL ? got : "an echo");
}

static void
a_certificate_with_its_name_is_taken(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    expect(w, NULL);
    assert_string_equal(SSL_get_servername(w->server, TLSEXT_NAMETYPE_host_name), "broker.example");
    certs_fini(&m);
}

static void
an_address_is_a_name_too_and_is_not_asked_for(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "IP:127.0.0.1");
    (void)strcpy(w->u.addresses[0].name, "127.0.0.1");
    meet(w, &m, NULL);
    expect(w, NULL);
    assert_null(SSL_get_servername(w->server, TLSEXT_NAMETYPE_host_name));
    certs_fini(&m);
}

static void
a_certificate_for_another_name_is_refused(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:other.example,IP:127.0.0.1");
    meet(w, &m, NULL);
    expect(w, "ostname mismatch");
    certs_fini(&m);
}

static void
a_certificate_for_another_address_is_refused(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "127.0.0.1", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:127.0.0.1,IP:127.0.0.2");
    (void)strcpy(w->u.addresses[0].name, "127.0.0.1");
    meet(w, &m, NULL);
    expect(w, "IP address mismatch");
    certs_fini(&m);
}

static void
a_certificate_of_another_ca_is_refused(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->other });

    names(&m, &w->other, "DNS:broker.example");
    meet(w, &m, NULL);
    expect(w, "unable to get local issuer certificate");
    certs_fini(&m);
}

static void
without_a_file_the_system_is_asked_who_is_trusted(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    w->u.ca = NULL;
    (void)setenv("SSL_CERT_FILE", w->ca_path, 1); /* as OpenSSL's programs are told */
    meet(w, &m, NULL);
    (void)unsetenv("SSL_CERT_FILE");
    expect(w, NULL);
    certs_fini(&m);
}

static void
a_self_signed_certificate_can_be_named(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x" });

    names(&m, &m, "DNS:broker.example");
    certs_write(&m, w->dir, "ca");
    meet(w, &m, NULL);
    expect(w, NULL);
    certs_fini(&m);
}

static void
an_expired_certificate_is_refused(void **state)
{
    struct world *w = *state;
    struct made m =
        certs_make(&(struct make){ .name = "x", .issuer = &w->ca, .from_s = -7200, .to_s = -60 });

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    expect(w, "certificate has expired");
    certs_fini(&m);
}

static void
our_certificate_is_shown(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    w->u.cert = w->cert_path;
    w->u.key = w->key_path;
    meet(w, &m, &w->ca);
    expect(w, NULL);
    certs_fini(&m);
}

static void
that_ours_is_missing_or_refused_is_told(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, &w->ca);
    expect(w, "certificate required");
    transport_close(&w->s);
    SSL_free(w->server);
    (void)close(w->server_fd);
    SSL_CTX_free(w->server_ctx);
    SSL_CTX_free(w->ctx);
    w->u.cert = w->cert_path;
    w->u.key = w->key_path;
    meet(w, &m, &w->other);
    expect(w, "unknown ca");
    certs_fini(&m);
}

static void
tls_1_1_is_refused(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    SSL_set_security_level(w->server, 0);
    assert_int_equal(SSL_set_min_proto_version(w->server, TLS1_VERSION), 1);
    assert_int_equal(SSL_set_max_proto_version(w->server, TLS1_1_VERSION), 1);
    expect(w, "version");
    certs_fini(&m);
}

/* A broker's plain port: what it makes of a ClientHello is no MQTT, and it closes or answers so. */
static void
a_port_without_tls_is_told(void **state)
{
    static const char *const answers[] = { "", "HTTP/1.1 400 Bad Request\r\n\r\n" };
    struct world *w = *state;
    char seen[4096];

    for (size_t i = 0; i < 2; i++) {
        struct pollfd p = { .events = POLLIN };
        int fd;

        SSL_CTX_free(w->ctx);
        assert_int_equal(transport_context(&w->u, &w->ctx, NULL), BM_OK);
        assert_true(transport_open(&w->s, &w->u, 0, w->ctx));
        fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
        while (transport_write(&w->s, span_str("x")) < 0 && !w->s.wants_read)
            assert_int_equal(errno, EAGAIN);
        assert_true(recv(fd, seen, sizeof seen, 0) > 0);
        assert_int_equal(send(fd, answers[i], strlen(answers[i]), 0), strlen(answers[i]));
        (void)close(fd);
        p.fd = w->s.fd;
        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_int_equal(transport_read(&w->s, seen, sizeof seen), -1);
        assert_int_equal(errno, EPROTO);
        assert_non_null(
            strstr(transport_why(&w->s), i == 0 ? "is this its TLS port" : "wrong version"));
        assert_int_equal(transport_write(&w->s, span_str("x")), -1); /* and it stays so */
        assert_int_equal(errno, EPROTO);
        transport_close(&w->s);
    }
}

/* One end sends 4 MB, the other reads only when epoll says so: nothing may be stuck in OpenSSL. */
static void
all_arrives_by_what_epoll_tells(void **state)
{
    enum { LEN = 4 << 20 };
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });
    uint8_t *sent = malloc(LEN);
    uint8_t *got = malloc(LEN);
    uint8_t in[TRANSPORT_READ_MIN];
    size_t out = 0;
    size_t len = 0;
    size_t n;
    ssize_t came;
    unsigned full = 0;

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    expect(w, NULL);
    for (size_t i = 0; i < LEN; i++)
        sent[i] = (uint8_t)(i * 2654435761u >> 16);
    while (
        len < LEN) { /* the broker's end fills the socket, then ours takes one record at a time */
        struct pollfd p = { .fd = w->s.fd, .events = POLLIN };

        while (out < LEN && SSL_write_ex(w->server, sent + out, LEN - out, &n) == 1)
            out += n;
        full += out < LEN;
        if (poll(&p, 1, 60000) != 1)
            fail_msg("%zu of %zu bytes came, and epoll says that there is nothing", len, out);
        came = transport_read(&w->s, in, sizeof in);
        if (came < 0) { /* a part of a record */
            assert_int_equal(errno, EAGAIN);
            continue;
        }
        assert_true(came > 0 && (size_t)came <= LEN - len);
        memcpy(got + len, in, (size_t)came);
        len += (size_t)came;
        assert_int_equal(SSL_has_pending(w->s.tls), 0);
    }
    assert_true(full > 1);
    assert_memory_equal(got, sent, LEN);
    full = 0;
    for (out = len = 0; len < LEN;) { /* the other way: ours fills it, and waits for room */
        ssize_t wrote = 0;

        while (out < LEN && (wrote = transport_write(&w->s, span_of(sent + out, LEN - out))) > 0)
            out += (size_t)wrote;
        full += wrote < 0;
        assert_true(wrote > 0 || errno == EAGAIN);
        assert_int_equal(transport_events(&w->s, EPOLLOUT), EPOLLOUT);
        while (len < LEN && SSL_read_ex(w->server, got + len, LEN - len, &n) == 1)
            len += n;
    }
    assert_true(full > 1);
    assert_memory_equal(got, sent, LEN);
    free(sent);
    free(got);
    certs_fini(&m);
}

/* While the handshake goes on there is room to write, and nothing to write: only reading helps. */
static void
a_handshake_waits_for_the_broker_and_not_for_room(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    assert_int_equal(transport_events(&w->s, EPOLLOUT), EPOLLOUT);
    for (int i = 0; i < 1000 && !w->s.wants_read; i++) {
        assert_int_equal(transport_write(&w->s, span_str("x")), -1);
        assert_int_equal(errno, EAGAIN);
    }
    assert_int_equal(transport_events(&w->s, EPOLLOUT), EPOLLIN);
    expect(w, NULL);
    assert_int_equal(transport_events(&w->s, EPOLLOUT), EPOLLOUT);
    certs_fini(&m);
}

static void
the_end_is_told_and_leaves_no_cut(void **state)
{
    struct world *w = *state;
    struct made m = certs_make(&(struct make){ .name = "x", .issuer = &w->ca });
    struct pollfd p;
    char in[TRANSPORT_READ_MIN];

    names(&m, &w->ca, "DNS:broker.example");
    meet(w, &m, NULL);
    expect(w, NULL);
    assert_true(SSL_shutdown(w->server) >= 0);
    p = (struct pollfd){ .fd = w->s.fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(transport_read(&w->s, in, sizeof in), 0);
    transport_close(&w->s);
    p = (struct pollfd){ .fd = w->server_fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(SSL_shutdown(w->server), 1);
    certs_fini(&m);
}

static void
files_that_are_not_what_they_must_be_are_told(void **state)
{
    struct world *w = *state;
    SSL_CTX *ctx = NULL;
    struct bm_msg msg = { "" };
    struct upstream u = w->u;

    u.ca = w->key_path;
    assert_int_equal(transport_context(&u, &ctx, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "device.key"));
    u.ca = w->ca_path;
    u.cert = w->ca_path;
    u.key = w->key_path;
    assert_int_equal(transport_context(&u, &ctx, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "key values mismatch"));
    u.cert = "/nonexistent";
    assert_int_equal(transport_context(&u, &ctx, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "/nonexistent"));
    u = (struct upstream){ 0 };
    assert_int_equal(transport_context(&u, &ctx, &msg), BM_OK);
    assert_null(ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_certificate_with_its_name_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_address_is_a_name_too_and_is_not_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_certificate_for_another_name_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_certificate_for_another_address_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_certificate_of_another_ca_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            without_a_file_the_system_is_asked_who_is_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_self_signed_certificate_can_be_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_expired_certificate_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(our_certificate_is_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(that_ours_is_missing_or_refused_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tls_1_1_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_port_without_tls_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_arrives_by_what_epoll_tells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_handshake_waits_for_the_broker_and_not_for_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_is_told_and_leaves_no_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            files_that_are_not_what_they_must_be_are_told, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
