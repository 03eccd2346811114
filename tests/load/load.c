/* SPDX-License-Identifier: Apache-2.0 */
/* See load.h: one connection is handshake, CONNECT, packets; it is freed when its handler returns.
 */
#include "load.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REST_MS = 100, REST_MAX_MS = 20000 };

struct load_conn {
    struct load *l;
    struct loop_watch *watch;
    SSL *ssl;
    int fd;
    load_fn fn;
    void *arg;
    struct buf out;
    struct buf in;
    uint32_t events;
    bool shaken; /* hands */
    bool up;
    bool closed;
    bool busy; /* in its own handler, which frees it */
};

void
load_die(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

/* ---- connections ---- */

void
load_open(struct load *l, uint16_t port, int tls)
{
    struct rlimit limit;

    (void)signal(SIGPIPE, SIG_IGN);
    l->port = port;
    l->ctx = SSL_CTX_new(TLS_client_method());
    if (loop_new(&l->loop) != BM_OK || l->ctx == NULL ||
        (tls != 0 && (SSL_CTX_set_min_proto_version(l->ctx, tls) != 1 ||
                         SSL_CTX_set_max_proto_version(l->ctx, tls) != 1))) {
        load_die("cannot begin");
    }
    SSL_CTX_set_mode(l->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void
on_watchdog(void *arg)
{
    struct load *l = arg;

    if (clock_mono_ms() - l->progress_ms > l->stuck_ms) {
        if (l->on_stuck != NULL) {
            l->on_stuck(l);
        }
        errno = 0;
        load_die("no progress any more");
    }
    (void)loop_after(l->loop, 1000, on_watchdog, l);
}

void
load_run(struct load *l, int64_t stuck_ms)
{
    bool watched = l->stuck_ms != 0;

    l->stuck_ms = stuck_ms;
    load_progress(l);
    if (!watched) {
        on_watchdog(l);
    }
    if (loop_run(l->loop) != BM_OK) {
        load_die("loop");
    }
}

void
load_progress(struct load *l)
{
    l->progress_ms = clock_mono_ms();
}

void
load_shut(struct load *l)
{
    loop_free(l->loop);
    SSL_CTX_free(l->ctx);
}

void
load_identity(struct load *l, const char *cert, const char *key)
{
    if (SSL_CTX_use_certificate_chain_file(l->ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(l->ctx, key, SSL_FILETYPE_PEM) != 1) {
        errno = 0;
        load_die("cannot read certificate and key");
    }
}

static void
conn_free(struct load_conn *c)
{
    loop_remove(c->l->loop, c->watch);
    SSL_free(c->ssl);
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    buf_fini(&c->out);
    buf_fini(&c->in);
    free(c);
}

static void
down(struct load_conn *c)
{
    if (!c->closed) {
        c->closed = true;
        c->fn(c, LOAD_DOWN, NULL);
    }
}

static void
want(struct load_conn *c, uint32_t events)
{
    if (c->events != events) {
        c->events = events;
        loop_modify(c->l->loop, c->watch, events);
    }
}

/* False: it will never go on. */
static bool
again(struct load_conn *c, int ret)
{
    int err = SSL_get_error(c->ssl, ret);

    want(c, err == SSL_ERROR_WANT_WRITE || c->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
    return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE;
}

static bool
flush(struct load_conn *c)
{
    while (c->out.len > 0) {
        int ret;

        ERR_clear_error();
        ret = SSL_write(c->ssl, c->out.ptr, (int)c->out.len);
        if (ret <= 0) {
            return again(c, ret);
        }
        buf_drop(&c->out, (size_t)ret);
    }
    want(c, EPOLLIN);
    return true;
}

static void
take(struct load_conn *c, const struct mqtt_packet *p)
{
    if (c->up) {
        c->fn(c, LOAD_PACKET, p);
    } else if (span_eq(p->body, span_of("\x00\x00", 2)) ||
               span_eq(p->body, span_of("\x01\x00", 2))) {
        c->up = true;
        c->fn(c, LOAD_UP, NULL);
    } else {
        down(c);
    }
}

static bool
read_all(struct load_conn *c)
{
    uint8_t bytes[16384];

    while (!c->closed) {
        struct mqtt_packet p;
        struct rd r;
        int ret;

        ERR_clear_error();
        ret = SSL_read(c->ssl, bytes, sizeof bytes);
        if (ret <= 0) {
            return again(c, ret);
        }
        buf_add(&c->in, bytes, (size_t)ret);
        r = rd_of(buf_span(&c->in));
        while (!c->closed && mqtt_next(&r, MQTT_REMAINING_MAX, &p) == BM_OK) {
            take(c, &p);
        }
        buf_drop(&c->in, c->in.len - rd_left(&r));
    }
    return true;
}

static void
on_ready(void *arg, uint32_t events)
{
    struct load_conn *c = arg;
    bool good = true;

    (void)events;
    c->busy = true;
    if (!c->shaken) {
        int ret;

        ERR_clear_error();
        ret = SSL_do_handshake(c->ssl);
        c->shaken = ret == 1;
        good = c->shaken || again(c, ret);
    }
    if (good && c->shaken) {
        good = flush(c) && read_all(c) && (c->closed || flush(c));
    }
    if (!good) {
        down(c);
    }
    c->busy = false;
    if (c->closed) {
        conn_free(c);
    }
}

struct load_conn *
load_dial(struct load *l, const struct load_hello *h, load_fn fn, void *arg)
{
    struct load_conn *c = calloc(1, sizeof *c);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(l->port) };
    struct mqtt_connect hello = {
        .level = 4, .clean = true, .client_id = span_str(h->client_id), .keep_alive_s = 1200
    };
    const int on = 1;

    if (c == NULL) {
        load_die("memory");
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct load_conn){ .l = l, .fn = fn, .arg = arg, .events = EPOLLIN | EPOLLOUT };
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        load_die("socket");
    }
    (void)connect(
        c->fd, (const struct sockaddr *)&to, sizeof to); /* a refusal is met in on_ready */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->ssl = SSL_new(l->ctx);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
        mqtt_build_connect(&c->out, &hello, span_of(NULL, 0), hello.keep_alive_s) != BM_OK ||
        (l->sni != NULL && SSL_set_tlsext_host_name(c->ssl, l->sni) != 1) ||
        (h->cert != NULL && (SSL_use_certificate(c->ssl, h->cert) != 1 ||
                                SSL_use_PrivateKey(c->ssl, h->key) != 1)) ||
        (h->issuer != NULL && SSL_add1_chain_cert(c->ssl, h->issuer) != 1)) {
        load_die("cannot prepare a connection");
    }
    SSL_set_connect_state(c->ssl);
    c->watch = loop_add(l->loop, c->fd, c->events, on_ready, c);
    if (c->watch == NULL) {
        load_die("epoll");
    }
    return c;
}

void *
load_arg(const struct load_conn *c)
{
    return c->arg;
}

bool
load_greeted(const struct load_conn *c)
{
    return c->shaken && c->out.len == 0;
}

void
load_send(struct load_conn *c, struct span packet)
{
    buf_add(&c->out, packet.ptr, packet.len);
    if (!c->busy && !c->closed && !flush(c)) {
        want(c, EPOLLIN); /* the end is read there */
    }
}

void
load_close(struct load_conn *c, bool politely)
{
    if (politely) {
        buf_add(&c->out, "\xe0\x00", 2);
        (void)flush(c);
    }
    c->closed = true;
    if (!c->busy) {
        conn_free(c);
    }
}

/* ---- certificates ---- */

void
load_ca_read(struct load_ca *ca, const char *cert, const char *key)
{
    FILE *c = fopen(cert, "r");
    FILE *k = fopen(key, "r");

    ca->cert = c != NULL ? PEM_read_X509(c, NULL, NULL, NULL) : NULL;
    ca->key = k != NULL ? PEM_read_PrivateKey(k, NULL, NULL, NULL) : NULL;
    if (ca->cert == NULL || ca->key == NULL) {
        load_die("cannot read the CA's certificate and key");
    }
    (void)fclose(c);
    (void)fclose(k);
}

X509 *
load_leaf(const struct load_ca *ca, EVP_PKEY *key, const char *common_name)
{
    X509 *x = X509_new();
    BIGNUM *n = BN_new();

    if (x == NULL || n == NULL || BN_rand(n, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
        BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) == NULL ||
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
            (const unsigned char *)common_name, -1, -1, 0) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -3600) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
        X509_set_issuer_name(x, X509_get_subject_name(ca->cert)) != 1 ||
        X509_set_pubkey(x, key) != 1 || X509_sign(x, ca->key, EVP_sha256()) <= 0) {
        load_die("cannot make a certificate");
    }
    BN_free(n);
    return x;
}

/* ---- what the server's processes cost ---- */

void
load_server_parse(struct load_server *s, char *list)
{
    for (char *p = strtok(list, ", "); p != NULL; p = strtok(NULL, ", ")) {
        if (s->count == LOAD_PIDS_MAX) {
            load_die("too many processes");
        }
        s->pids[s->count++] = (pid_t)strtol(p, NULL, 10);
    }
}

static int64_t
cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        load_die("a server process is gone");
    }
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
load_cpu_ns(const struct load_server *s, int64_t each[LOAD_PIDS_MAX])
{
    int64_t sum = 0;

    for (size_t i = 0; i < s->count; i++) {
        int64_t ns = cpu_of(s->pids[i]);

        sum += ns;
        if (each != NULL) {
            each[i] = ns;
        }
    }
    return sum;
}

int64_t
load_cpu_at_rest_ns(const struct load_server *s, int64_t each[LOAD_PIDS_MAX])
{
    int64_t end = clock_mono_ms() + REST_MAX_MS;
    int64_t before = load_cpu_ns(s, NULL);

    for (;;) {
        struct timespec pause = { .tv_nsec = REST_MS * 1000000L };
        int64_t now;

        (void)nanosleep(&pause, NULL);
        now = load_cpu_ns(s, each);
        if (now - before < REST_MS * 10000 || clock_mono_ms() > end) {
            return now;
        }
        before = now;
    }
}

static int64_t
rss_of(pid_t pid)
{
    char path[64];
    long long all;
    long long resident;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    f = fopen(path, "r");
    if (f == NULL || fscanf(f, "%lld %lld", &all, &resident) != 2) {
        load_die(path);
    }
    (void)fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

int64_t
load_rss(const struct load_server *s, int64_t each[LOAD_PIDS_MAX])
{
    int64_t sum = 0;

    for (size_t i = 0; i < s->count; i++) {
        each[i] = rss_of(s->pids[i]);
        sum += each[i];
    }
    return sum;
}

void
load_print_each(const struct load_server *s, const int64_t before[LOAD_PIDS_MAX],
    const int64_t after[LOAD_PIDS_MAX], double divisor)
{
    for (size_t i = 0; i < s->count; i++) {
        printf("%s%.1f", i == 0 ? " by_process=" : "+", (double)(after[i] - before[i]) / divisor);
    }
}

static int
by_size(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;

    return (*x > *y) - (*x < *y);
}

int64_t
load_quantile(int64_t *samples, size_t n, double at)
{
    size_t i = (size_t)((double)n * at);

    if (n == 0) {
        return 0;
    }
    qsort(samples, n, sizeof *samples, by_size);
    return samples[i < n ? i : n - 1];
}
