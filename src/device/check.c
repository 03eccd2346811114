/* SPDX-License-Identifier: Apache-2.0 */
/* See check.h. */
#include "device/check.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 5000, HTTPS_PORT = 443 };

struct check {
    const struct client_options *o;
    finding_fn fn;
    void *arg;
    struct clock_verdict clock;
};

#define TELL(c, ...) finding_tell((c)->fn, (c)->arg, __VA_ARGS__)

static void
check_clock(struct check *c)
{
    struct clock_facts f = { .system_ms = clock_wall_ms() + c->o->clock_offset_ms,
        .passed_ms = clock_built_ms() };
    struct bm_msg why = { { 0 } };

    if (c->o->time_from != NULL &&
        clock_ask(c->o->time_from, TIMEOUT_MS, &f.server_ms, &why) != BM_OK)
        TELL(c, "clock", FINDING_WARN, CAUSE_DEVICE_CLOCK, 0, "%s", why.text);
    c->clock = clock_judge(&f);
    finding_clock(&c->clock, f.system_ms, c->fn, c->arg);
}

/* A connected socket, or -1 with the failure told. */
static int
connect_to(struct check *c)
{
    const char *host = c->o->connection.host;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char port[8];
    int error = 0;
    int fd = -1;
    int rc;

    (void)snprintf(port, sizeof port, "%u", c->o->connection.port);
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        TELL(c, "network", FINDING_FAIL, CAUSE_DEVICE_NAME_UNKNOWN, DEVICE_EXIT_NETWORK, "%s: %s",
            host, gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        struct pollfd p = { .events = POLLOUT };
        socklen_t len = sizeof error;

        fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        p.fd = fd;
        error = connect(fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
        if (error == EINPROGRESS) {
            error = ETIMEDOUT;
            if (poll(&p, 1, TIMEOUT_MS) == 1)
                (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
        }
        if (error != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        TELL(c, "network", FINDING_FAIL,
            error == ECONNREFUSED ? CAUSE_DEVICE_NOBODY : CAUSE_DEVICE_NO_NETWORK,
            DEVICE_EXIT_NETWORK, "%s port %s: %s", host, port, strerror(error));
    else
        TELL(c, "network", FINDING_OK, CAUSE_NONE, 0, "%s port %s answers", host, port);
    return fd;
}

/* Shake hands with the device's certificate; the socket does not block. */
static bool
shake_hands(SSL *ssl, int fd)
{
    int64_t until = clock_mono_ms() + TIMEOUT_MS;

    for (;;) {
        int n = SSL_connect(ssl);
        int why = n == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, n);
        struct pollfd p = { .fd = fd,
            .events = (short)(why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN) };
        int64_t left = until - clock_mono_ms();

        if (n == 1)
            return true;
        if ((why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) || left <= 0 ||
            poll(&p, 1, (int)left) != 1)
            return false;
    }
}

/* SPEC aws-iot 6.1 */
static void
check_alpn(struct check *c, const struct tls_seen *seen)
{
    const char *wanted = c->o->tls.alpn;

    if (wanted != NULL && seen->alpn[0] != '\0')
        TELL(c, "alpn", FINDING_OK, CAUSE_NONE, 0, "the server took %s", seen->alpn);
    else if (wanted != NULL)
        TELL(c, "alpn", FINDING_WARN, CAUSE_DEVICE_ALPN, 0, "the server did not take %s", wanted);
    else if (c->o->connection.port == HTTPS_PORT)
        TELL(c, "alpn", FINDING_WARN, CAUSE_DEVICE_ALPN, 0, "port 443 without --alpn");
}

static void
check_tls(struct check *c, const struct identity *id)
{
    struct tls_options t = c->o->tls;
    struct attempt a = { .phase = PHASE_TLS, .clock_wrong = c->clock.system != CLOCK_PLAUSIBLE };
    struct tls_seen seen = { 0 };
    struct bm_msg msg = { { 0 } };
    struct buf text = { 0 };
    SSL_CTX *tls = NULL;
    SSL *ssl = NULL;
    int fd = connect_to(c);

    if (fd < 0)
        return;
    if (t.server_name == NULL)
        t.server_name = c->o->connection.host;
    if (tls_open(id, &t, &seen, &tls, &msg) != BM_OK) {
        TELL(c, "tls", FINDING_FAIL, CAUSE_DEVICE_KEY, DEVICE_EXIT_KEY, "%s", msg.text);
        (void)close(fd);
        return;
    }
    tls_set_time(tls, &c->clock);
    ssl = SSL_new(tls);
    if (ssl != NULL && SSL_set_fd(ssl, fd) == 1 && tls_prepare(ssl) && shake_hands(ssl, fd)) {
        TELL(c, "tls", FINDING_OK, CAUSE_NONE, 0, "%s, %s; the server is %s, of %s%s", seen.version,
            seen.cipher, seen.subject, seen.issuer,
            seen.asked ? "" : "; it asks for no certificate, so it is no such endpoint");
        check_alpn(c, &seen);
    } else {
        const struct outcome_info *info;

        tls_note(&seen);
        tls_facts(&seen, &a);
        tls_text(&seen, &text);
        info = outcome_info(outcome_of(&a));
        TELL(c, "tls", FINDING_FAIL, info->cause, info->exit_code, "%s",
            buf_cstr(&text) != NULL && text.len > 0 ? buf_cstr(&text) : "no answer in time");
    }
    buf_fini(&text);
    SSL_free(ssl);
    tls_close(tls);
    (void)close(fd);
}

void
check_device(const struct client_options *o, finding_fn fn, void *arg, struct identity **id)
{
    struct check c = { .o = o, .fn = fn, .arg = arg };
    enum cause cause = CAUSE_NONE;
    struct bm_msg msg = { { 0 } };

    check_clock(&c);
    if (identity_open(&o->identity, 0, id, &cause, &msg) != BM_OK) {
        TELL(&c, "key", FINDING_FAIL, cause,
            cause == CAUSE_DEVICE_KEY ? DEVICE_EXIT_KEY : DEVICE_EXIT_CHIP, "%s", msg.text);
        identity_free(*id);
        *id = NULL;
        return;
    }
    TELL(&c, "key", FINDING_OK, CAUSE_NONE, 0, "%s", (*id)->key_text);
    finding_certificates(*id, 0, &c.clock, fn, arg);
    check_tls(&c, *id);
}
