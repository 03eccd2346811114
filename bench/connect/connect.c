/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load generator: N times a full mutual TLS handshake, CONNECT, CONNACK, DISCONNECT, with K in
 * flight, and the CPU time that the server's processes spent on it.
 *
 * CPU time is read from the clocks of the processes named by --pids, before the first connection
 * and after they have come to rest, so that work done later for the connections (records, commits)
 * counts. With --unknown each connection brings a certificate of its own, made beforehand, and is
 * expected to be closed without CONNACK.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIDS_MAX = 64, REST_MS = 100, REST_MAX_MS = 20000, STEP_MAX_MS = 30000 };

struct bench {
    uint16_t port;
    unsigned count;
    unsigned in_flight;
    const char *cert;
    const char *key;
    bool unknown; /* --cert and --key are the CA's; each connection has a leaf of its own */
    pid_t pids[PIDS_MAX];
    size_t pid_count;

    struct loop *loop;
    SSL_CTX *ctx;
    bool hold;      /* keep them open and tell the server's memory for each */
    bool leaf_only; /* --unknown without the issuer's certificate behind the leaf */
    X509 *ca;
    X509 **leaves;
    EVP_PKEY *leaf_key;
    unsigned started;
    unsigned done;
    unsigned failed;
    int64_t last_progress_ms;
};

struct dial {
    struct bench *b;
    struct loop_watch *watch;
    SSL *ssl;
    int fd;
    unsigned number;
    bool greeted;
};

static _Noreturn void
die(const char *what)
{
    (void)fprintf(stderr, "connect: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
    exit(1);
}

/* ---- CPU time of the server ---- */

static int64_t
cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        die("a server process is gone");
    }
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t
cpu_ns(const struct bench *b)
{
    int64_t sum = 0;

    for (size_t i = 0; i < b->pid_count; i++) {
        sum += cpu_of(b->pids[i]);
    }
    return sum;
}

/* Wait until the server does nothing any more: less than 1 % of a core over REST_MS. */
static int64_t
cpu_at_rest_ns(const struct bench *b)
{
    int64_t end = clock_mono_ms() + REST_MAX_MS;
    int64_t before = cpu_ns(b);

    for (;;) {
        struct timespec pause = { .tv_nsec = REST_MS * 1000000L };
        int64_t now;

        (void)nanosleep(&pause, NULL);
        now = cpu_ns(b);
        if (now - before < REST_MS * 10000 || clock_mono_ms() > end) {
            return now;
        }
        before = now;
    }
}

/* Resident memory of one server process. */
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
        die(path);
    }
    (void)fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

/* ---- certificates ---- */

static void
make_leaves(struct bench *b)
{
    FILE *f = fopen(b->cert, "r");
    X509 *ca = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    FILE *k = fopen(b->key, "r");
    EVP_PKEY *ca_key = k != NULL ? PEM_read_PrivateKey(k, NULL, NULL, NULL) : NULL;

    if (ca == NULL || ca_key == NULL) {
        die("cannot read the CA's certificate and key");
    }
    (void)fclose(f);
    (void)fclose(k);
    b->leaf_key = EVP_EC_gen("P-256");
    b->leaves = calloc(b->count, sizeof(X509 *));
    for (unsigned i = 0; b->leaves != NULL && i < b->count; i++) {
        X509 *x = X509_new();
        BIGNUM *n = BN_new();

        if (x == NULL || n == NULL || BN_rand(n, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
            BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) == NULL ||
            X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                (const unsigned char *)"bench device", -1, -1, 0) != 1 ||
            X509_gmtime_adj(X509_getm_notBefore(x), -3600) == NULL ||
            X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
            X509_set_issuer_name(x, X509_get_subject_name(ca)) != 1 ||
            X509_set_pubkey(x, b->leaf_key) != 1 || X509_sign(x, ca_key, EVP_sha256()) <= 0) {
            die("cannot make a certificate");
        }
        BN_free(n);
        b->leaves[i] = x;
    }
    b->ca = ca;
    EVP_PKEY_free(ca_key);
}

/* ---- one connection ---- */

static void start_one(struct bench *b);

/* With --hold what came well stays open until the program ends. */
static void
finish(struct dial *d, bool good)
{
    struct bench *b = d->b;

    loop_remove(b->loop, d->watch);
    if (!b->hold || !good) {
        SSL_free(d->ssl);
        (void)close(d->fd);
        free(d);
    }
    b->done++;
    b->failed += good ? 0 : 1;
    b->last_progress_ms = clock_mono_ms();
    if (b->started < b->count) {
        start_one(b);
    } else if (b->done == b->count) {
        loop_stop(b->loop);
    }
}

static bool
again(struct dial *d, int ret)
{
    int err = SSL_get_error(d->ssl, ret);

    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        loop_modify(d->b->loop, d->watch, err == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return true;
    }
    return false;
}

static void
say_connect(struct dial *d)
{
    uint8_t packet[64];
    struct wr w = wr_of(packet, sizeof packet);
    char id[24];
    int len = snprintf(id, sizeof id, "bench-%08x%08x", (unsigned)getpid(), d->number);

    wr_u8(&w, 0x10);
    wr_u8(&w, (uint8_t)(12 + len));
    wr_bytes(&w, "\x00\x04MQTT\x04\x02\x00\x3c", 10);
    wr_u16(&w, (uint16_t)len);
    wr_bytes(&w, id, (size_t)len);
    (void)SSL_write(d->ssl, packet, (int)wr_len(&w));
}

static void
on_ready(void *arg, uint32_t events)
{
    struct dial *d = arg;
    uint8_t answer[16];
    int ret;

    (void)events;
    ERR_clear_error();
    if (!d->greeted) {
        ret = SSL_do_handshake(d->ssl);
        if (ret != 1) {
            if (!again(d, ret)) {
                finish(d, false);
            }
            return;
        }
        d->greeted = true;
        say_connect(d);
    }
    ret = SSL_read(d->ssl, answer, sizeof answer);
    if (ret <= 0) {
        if (!again(d, ret)) {
            finish(d, d->b->unknown);
        }
        return;
    }
    if (!d->b->unknown && ret == 4 && memcmp(answer, "\x20\x02\x00\x00", 4) == 0) {
        if (!d->b->hold) {
            (void)SSL_write(d->ssl, "\xe0\x00", 2);
        }
        finish(d, true);
        return;
    }
    finish(d, false);
}

static void
start_one(struct bench *b)
{
    struct dial *d = calloc(1, sizeof *d);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(b->port) };
    const int on = 1;

    if (d == NULL) {
        die("memory");
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    d->b = b;
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0 ||
        (connect(d->fd, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)) {
        die("connect");
    }
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    d->ssl = SSL_new(b->ctx);
    if (d->ssl == NULL || SSL_set_fd(d->ssl, d->fd) != 1) {
        die("SSL_new");
    }
    if (b->unknown && (SSL_use_certificate(d->ssl, b->leaves[b->started]) != 1 ||
                          SSL_use_PrivateKey(d->ssl, b->leaf_key) != 1)) {
        die("certificate");
    }
    if (b->unknown && !b->leaf_only && SSL_add1_chain_cert(d->ssl, b->ca) != 1) {
        die("chain");
    }
    SSL_set_connect_state(d->ssl);
    d->number = b->started++;
    d->watch = loop_add(b->loop, d->fd, EPOLLOUT, on_ready, d);
    if (d->watch == NULL) {
        die("epoll");
    }
}

static void
on_watchdog(void *arg)
{
    struct bench *b = arg;

    if (clock_mono_ms() - b->last_progress_ms > STEP_MAX_MS) {
        (void)fprintf(stderr, "connect: no progress after %u of %u\n", b->done, b->count);
        exit(1);
    }
    (void)loop_after(b->loop, 1000, on_watchdog, b);
}

/* ---- the program ---- */

static void
make_context(struct bench *b)
{
    b->ctx = SSL_CTX_new(TLS_client_method());
    if (b->ctx == NULL || SSL_CTX_set_min_proto_version(b->ctx, TLS1_3_VERSION) != 1) {
        die("SSL_CTX_new");
    }
    if (!b->unknown && (SSL_CTX_use_certificate_chain_file(b->ctx, b->cert) != 1 ||
                           SSL_CTX_use_PrivateKey_file(b->ctx, b->key, SSL_FILETYPE_PEM) != 1)) {
        die("cannot read --cert and --key");
    }
}

static void
parse_pids(struct bench *b, char *list)
{
    for (char *p = strtok(list, ", "); p != NULL; p = strtok(NULL, ", ")) {
        if (b->pid_count == PIDS_MAX) {
            die("too many --pids");
        }
        b->pids[b->pid_count++] = (pid_t)strtol(p, NULL, 10);
    }
}

static void
usage(void)
{
    (void)fprintf(stderr,
        "usage: bench_connect --port N --count N --in-flight K --cert FILE --key FILE --pids A,B\n"
        "       --unknown: --cert and --key are a CA's; each connection brings a new leaf,\n"
        "       and the CA's certificate behind it unless --leaf-only\n"
        "       --hold: keep them open and print the server's memory for each\n");
    exit(2);
}

static void
parse(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "count", required_argument, NULL, 'n' },
        { "in-flight", required_argument, NULL, 'k' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'y' },
        { "pids", required_argument, NULL, 'i' },
        { "unknown", no_argument, NULL, 'u' },
        { "leaf-only", no_argument, NULL, 'l' },
        { "hold", no_argument, NULL, 'h' },
        { 0 },
    };

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            b->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'n':
            b->count = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'k':
            b->in_flight = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            b->cert = optarg;
            break;
        case 'y':
            b->key = optarg;
            break;
        case 'i':
            parse_pids(b, optarg);
            break;
        case 'u':
            b->unknown = true;
            break;
        case 'h':
            b->hold = true;
            break;
        case 'l':
            b->leaf_only = true;
            break;
        default:
            usage();
        }
    }
    if (b->port == 0 || b->count == 0 || b->in_flight == 0 || b->cert == NULL || b->key == NULL ||
        b->pid_count == 0) {
        usage();
    }
}

static void
tell_memory(const struct bench *b, const int64_t *before)
{
    int64_t sum = 0;

    for (size_t i = 0; i < b->pid_count; i++) {
        sum += rss_of(b->pids[i]) - before[i];
    }
    printf("bytes_per_connection=%lld connections=%u failed=%u by_process=",
        (long long)sum / b->count, b->count, b->failed);
    for (size_t i = 0; i < b->pid_count; i++) {
        printf("%s%lld", i > 0 ? "+" : "", (long long)(rss_of(b->pids[i]) - before[i]) / b->count);
    }
    printf("\n");
}

int
main(int argc, char **argv)
{
    struct bench b = { 0 };
    int64_t each[PIDS_MAX];
    int64_t before;
    int64_t spent;
    int64_t wall_ms;
    int64_t memory[PIDS_MAX];
    struct rlimit limit;

    parse(&b, argc, argv);
    make_context(&b);
    if (b.unknown) {
        make_leaves(&b);
    }
    if (loop_new(&b.loop) != BM_OK) {
        die("epoll");
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    before = cpu_at_rest_ns(&b);
    for (size_t i = 0; i < b.pid_count; i++) {
        each[i] = cpu_of(b.pids[i]);
        memory[i] = rss_of(b.pids[i]);
    }
    wall_ms = clock_mono_ms();
    b.last_progress_ms = wall_ms;
    (void)loop_after(b.loop, 1000, on_watchdog, &b);
    while (b.started < b.count && b.started < b.in_flight) {
        start_one(&b);
    }
    if (loop_run(b.loop) != BM_OK) {
        die("loop");
    }
    wall_ms = clock_mono_ms() - wall_ms;
    spent = cpu_at_rest_ns(&b) - before;
    if (b.hold) {
        tell_memory(&b, memory);
        return b.failed == 0 ? 0 : 1;
    }
    printf("us_per_connect=%.1f connects=%u failed=%u wall_ms=%lld by_process=",
        (double)spent / 1000 / b.count, b.count, b.failed, (long long)wall_ms);
    for (size_t i = 0; i < b.pid_count; i++) {
        printf("%s%.1f", i > 0 ? "+" : "", (double)(cpu_of(b.pids[i]) - each[i]) / 1000 / b.count);
    }
    printf("\n");
    return b.failed == 0 ? 0 : 1;
}
