/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's life: start, accept, end. See worker.h for the contract, inside.h for the map.
 *
 * Accepting stops while LIMIT_HANDSHAKES handshakes are in flight, so that a reconnect storm costs
 * connected clients little (SPEC endpoint 3.5, 10.5), and while descriptors are short: each device
 * needs two.
 */
#include "endpoint/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"
#include "pki/pki.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_ROUND = 32,
    ACCEPT_RETRY_MS = 100,
    DRAIN_MS = 2000,
};

static void
on_accept_retry(void *arg)
{
    struct worker *w = arg;

    w->accept_retry = NULL;
    worker_accepting(w);
}

void
worker_accepting(struct worker *w)
{
    bool want = w->handshakes < limit(w, LIMIT_HANDSHAKES) && w->conn_count < w->conns_max &&
                w->accept_retry == NULL;

    if (want != w->listening && w->listen_watch != NULL) {
        w->listening = want;
        loop_modify(w->loop, w->listen_watch, want ? EPOLLIN : 0);
    }
}

static void
on_listen(void *arg, uint32_t events)
{
    struct worker *w = arg;

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_ROUND && w->listening; i++) {
        struct sockaddr_storage from = { 0 };
        socklen_t len = sizeof from;
        int fd =
            accept4(w->o->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            log_warn("cannot accept: %s; trying again in %d ms", strerror(errno), ACCEPT_RETRY_MS);
            w->accept_retry = loop_after(w->loop, ACCEPT_RETRY_MS, on_accept_retry, w);
            worker_accepting(w);
            return;
        }
        if (fd < 0) {
            return; /* nobody there, or already gone again */
        }
        if (conn_open(w, fd, &from) != BM_OK) {
            log_error("out of memory: a connection was not taken");
        }
        worker_accepting(w);
    }
}

static void
on_term(void *arg)
{
    struct worker *w = arg;

    loop_stop(w->loop);
}

static void
on_settle(void *arg)
{
    conns_free_closed(arg);
}

static void
end_connections(struct worker *w)
{
    loop_remove(w->loop, w->listen_watch);
    w->listen_watch = NULL;
    while (w->conns != NULL) {
        struct conn *c = w->conns;

        if (c->state == CONN_RELAY) {
            c->left = LEFT_SERVICE;
            conn_dismiss(c, CAUSE_DISCONNECTED, REASON_SHUTTING_DOWN, "by=service");
            conn_settle(c);
        }
        conn_drop(c); /* one write was its chance to hear of it */
    }
    conns_free_closed(w);
}

static enum bm_err
prepare_process(struct bm_msg *msg)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGINT, &ignore, NULL) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
        return bm_fail(msg, BM_ERR_IO, "worker: cannot set up signals: %s", strerror(errno));
    }
    return BM_OK;
}

/* With too few descriptors for the reserve one device at a time is served. */
static size_t
connections_max(uint32_t reserve)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0) {
        return 1;
    }
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) != 0) {
            (void)getrlimit(RLIMIT_NOFILE, &r);
        }
    }
    return r.rlim_cur > reserve + 2 ? (size_t)(r.rlim_cur - reserve) / 2 : 1;
}

static enum bm_err
open_accounts(struct worker *w, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    for (size_t i = 0; err == BM_OK && i < w->o->account_count; i++) {
        const struct account_place *a = &w->o->accounts[i];

        if (a->broker->path != NULL &&
            strlen(a->broker->path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
            return bm_fail(msg, BM_ERR_ARG, "broker socket %s: path too long", a->broker->path);
        }
        w->accounts[i].address = upstream_first(a->broker, w->o->index, BROKER_ANSWER_MS);
        err = transport_context(a->broker, &w->accounts[i].broker_tls, msg);
        if (err == BM_OK) {
            err = table_attach(a->dir, &w->accounts[i].table, msg);
        }
        if (err == BM_OK) {
            err = kept_open(a->dir, &w->accounts[i].kept, msg);
        }
    }
    return err;
}

static enum bm_err
start(struct worker *w, struct bm_msg *msg)
{
    enum bm_err err;

    w->control.fd = w->o->control_fd;
    w->by_client.kind = BY_CLIENT;
    w->by_cert.kind = BY_CERT;
    w->by_request.kind = BY_REQUEST;
    w->conns_max = connections_max(limit(w, LIMIT_DESCRIPTOR_RESERVE));
    throttle_reset(w->o->throttle, w->o->index);
    atomic_store(&w->o->metrics->counts[METRIC_CONNECTIONS], 0); /* of one that died */
    if (getrandom(&w->seed, sizeof w->seed, 0) != (ssize_t)sizeof w->seed ||
        loop_new(&w->loop) != BM_OK || loop_settle(w->loop, on_settle, w) != BM_OK ||
        loop_signal(w->loop, SIGTERM, on_term, w) != BM_OK) {
        return bm_fail(msg, BM_ERR_IO, "worker: no event loop: %s", strerror(errno));
    }
    err = open_accounts(w, msg);
    if (!pki_ec_shortcut(true)) {
        log_warn("OpenSSL refuses the short way to EC keys: handshakes cost more");
    }
    if (err == BM_OK) {
        err = tls_context(w->o, &w->tls, msg);
    }
    if (err != BM_OK) {
        return err;
    }
    w->listening = true;
    w->listen_watch = loop_add(w->loop, w->o->listen_fd, EPOLLIN, on_listen, w);
    if (control_open(w) != BM_OK || w->listen_watch == NULL) {
        return bm_fail(msg, BM_ERR_IO, "worker: cannot watch its sockets: %s", strerror(errno));
    }
    return BM_OK;
}

static void
finish(struct worker *w)
{
    if (w->loop != NULL) {
        end_connections(w);
        control_drain(w, clock_mono_ms() + DRAIN_MS);
    }
    control_fini(w);
    policies_fini(w);
    index_fini(&w->by_client);
    index_fini(&w->by_cert);
    index_fini(&w->by_request);
    lean_fini(w);
    SSL_CTX_free(w->tls);
    for (size_t i = 0; i < w->o->account_count; i++) {
        SSL_CTX_free(w->accounts[i].broker_tls);
        table_close(w->accounts[i].table);
        kept_close(w->accounts[i].kept);
    }
    loop_free(w->loop);
    (void)close(w->o->listen_fd);
    free(w);
}

enum bm_err
worker_check_certificate(const char *cert, const char *key, struct bm_msg *msg)
{
    const struct worker_options o = { .server_cert = cert, .server_key = key };
    SSL_CTX *ctx = NULL;
    enum bm_err err = tls_context(&o, &ctx, msg);

    if (err == BM_OK &&
        X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx))) < 0) {
        log_warn("the server certificate %s has expired: clients will not connect", cert);
    }
    SSL_CTX_free(ctx);
    return err;
}

enum bm_err
worker_run(const struct worker_options *options, struct bm_msg *msg)
{
    struct worker *w = calloc(1, sizeof *w);
    enum bm_err err;

    if (w == NULL) {
        return bm_fail(msg, BM_ERR_MEM, "worker: out of memory");
    }
    w->o = options;
    err = prepare_process(msg);
    if (err == BM_OK) {
        err = start(w, msg);
    }
    if (err == BM_OK) {
        err = loop_run(w->loop);
    }
    finish(w);
    return err;
}
