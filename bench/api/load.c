/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load generator for the control plane: COUNT signed requests over CONNECTIONS kept open, and what
 * they cost: requests per second, milliseconds of the median and the slowest hundredth, and CPU
 * time of the server's processes.
 *
 *   bench_api_load PORT describe IDS COUNT CONNECTIONS PID...      ids, one a line
 *   bench_api_load PORT update IDS COUNT CONNECTIONS PID...        to INACTIVE and ACTIVE in turn
 *   bench_api_load PORT register CA COUNT CONNECTIONS PID...       CA.crt, CA.key sign new leaves
 * first
 */
#include "base/bytes.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, PIDS_MAX = 16, REPLY_MAX = 65536 };

struct load {
    uint16_t port;
    const char *what;
    char **items; /* ids, or JSON bodies */
    size_t item_count;
    unsigned count;
    unsigned connections;
    pid_t pids[PIDS_MAX];
    size_t pid_count;
    int fds[CONNECTIONS_MAX];
    double sent_at[CONNECTIONS_MAX];
    double *latency_ms;
    unsigned done;
    unsigned refused;
};

static _Noreturn void
die(const char *what)
{
    perror(what);
    exit(1);
}

static double
now_s(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0)
        die("clock_gettime");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
cpu_s(const struct load *l)
{
    double sum = 0;

    for (size_t i = 0; i < l->pid_count; i++) {
        clockid_t id;

        if (clock_getcpuclockid(l->pids[i], &id) == 0)
            sum += now_s(id);
    }
    return sum;
}

/* ---- one signed request ---- */

static void
hmac(const void *key, size_t key_len, const char *text, uint8_t out[32])
{
    unsigned len = 32;

    (void)HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &len);
}

static void
sign(const char *method, const char *path, const char *query, const char *host, const char *body,
    const char *stamp, char out[65])
{
    uint8_t hash[32];
    uint8_t key[32];
    char hex[65];
    struct buf b = { 0 };

    (void)SHA256((const uint8_t *)body, strlen(body), hash);
    hex_encode(hex, hash, 32);
    buf_addf(&b, "%s\n%s\n%s\nhost:%s\nx-amz-date:%s\n\nhost;x-amz-date\n%s", method, path, query,
        host, stamp, hex);
    (void)SHA256(b.ptr, b.len, hash);
    hex_encode(hex, hash, 32);
    b.len = 0;
    buf_addf(&b, "AWS4-HMAC-SHA256\n%s\n%.8s/us-east-1/iot/aws4_request\n%s", stamp, stamp, hex);
    (void)snprintf(hex, sizeof hex, "%.8s", stamp);
    hmac("AWS4test", 8, hex, key);
    hmac(key, 32, "us-east-1", key);
    hmac(key, 32, "iot", key);
    hmac(key, 32, "aws4_request", key);
    hmac(key, 32, buf_cstr(&b), hash);
    hex_encode(out, hash, 32);
    buf_fini(&b);
}

static void
send_request(struct load *l, unsigned number)
{
    static const char *const targets[2] = { "INACTIVE", "ACTIVE" };
    const char *item = l->items[number % l->item_count];
    unsigned at = number % l->connections;
    bool describe = strcmp(l->what, "describe") == 0;
    bool update = strcmp(l->what, "update") == 0;
    const char *method = describe ? "GET" : update ? "PUT" : "POST";
    const char *body = describe || update ? "" : item;
    char path[200];
    char query[64] = "";
    char host[32];
    char stamp[32];
    char signature[65];
    struct buf b = { 0 };
    time_t now = time(NULL);
    struct tm tm;

    (void)snprintf(path, sizeof path, "/certificates/%s", item);
    if (!describe && !update)
        (void)snprintf(path, sizeof path, "/certificate/register");
    if (update)
        (void)snprintf(query, sizeof query, "newStatus=%s", targets[number / l->item_count % 2]);
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", l->port);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
    sign(method, path, query, host, body, stamp, signature);
    buf_addf(&b,
        "%s %s%s%s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nContent-Length: %zu\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=test/%.8s/us-east-1/iot/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=%s\r\n\r\n%s",
        method, path, query[0] != '\0' ? "?" : "", query, host, stamp, strlen(body), stamp,
        signature, body);
    l->sent_at[at] = now_s(CLOCK_MONOTONIC);
    if (send(l->fds[at], b.ptr, b.len, MSG_NOSIGNAL) != (ssize_t)b.len)
        die("send");
    buf_fini(&b);
}

static void
open_connection(struct load *l, unsigned at)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(l->port) };
    struct timeval patience = { .tv_sec = 30 };

    (void)inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    l->fds[at] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fds[at] < 0 || connect(l->fds[at], (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    (void)setsockopt(l->fds[at], IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    (void)setsockopt(l->fds[at], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

/* A server of HTTP/1.0 closes after each reply. */
static void
read_reply(struct load *l, unsigned at)
{
    char text[REPLY_MAX + 1];
    size_t len = 0;
    const char *length;
    const char *head;
    size_t want = SIZE_MAX;

    while (len < want) {
        ssize_t n = recv(l->fds[at], text + len, REPLY_MAX - len, 0);

        if (n <= 0)
            die("recv");
        len += (size_t)n;
        text[len] = '\0';
        head = strstr(text, "\r\n\r\n");
        if (want == SIZE_MAX && head != NULL) {
            length = strcasestr(text, "\r\ncontent-length:");
            want =
                (size_t)(head - text) + 4 + (length != NULL ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    if (strncmp(text + 8, " 200", 4) != 0 && l->refused++ == 0)
        fprintf(stderr, "refused: %.600s\n", text);
    l->latency_ms[l->done++] = (now_s(CLOCK_MONOTONIC) - l->sent_at[at]) * 1000;
    if (strncmp(text, "HTTP/1.0", 8) == 0 || strcasestr(text, "\r\nconnection: close") != NULL) {
        (void)close(l->fds[at]);
        open_connection(l, at);
    }
}

/* ---- what is asked ---- */

static void
read_ids(struct load *l, const char *path)
{
    FILE *f = fopen(path, "re");
    char line[80];

    if (f == NULL)
        die(path);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        l->items = realloc(l->items, (l->item_count + 1) * sizeof *l->items);
        l->items[l->item_count++] = strdup(line);
    }
    (void)fclose(f);
}

static char *
leaf_body(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key)
{
    X509 *x = X509_new();
    BIGNUM *serial = BN_new();
    BIO *mem = BIO_new(BIO_s_mem());
    struct buf b = { 0 };
    char *pem;
    long len;
    char *copy;

    (void)BN_rand(serial, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
    (void)BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x));
    (void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    (void)X509_set_issuer_name(x, X509_get_subject_name(ca));
    (void)X509_NAME_add_entry_by_txt(
        X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"bench", -1, -1, 0);
    (void)X509_set_pubkey(x, key);
    if (X509_sign(x, ca_key, EVP_sha256()) == 0 || PEM_write_bio_X509(mem, x) != 1)
        die("X509_sign");
    len = BIO_get_mem_data(mem, &pem);
    buf_addf(&b, "{\"certificatePem\":\"");
    for (long i = 0; i < len; i++)
        buf_addf(&b, pem[i] == '\n' ? "\\n" : "%c", pem[i]);
    buf_addf(&b, "\"}");
    copy = strdup(buf_cstr(&b));
    buf_fini(&b);
    (void)BIO_free(mem);
    BN_free(serial);
    X509_free(x);
    return copy;
}

static void
make_leaves(struct load *l, const char *ca_name)
{
    char path[4096];
    FILE *f;
    X509 *ca;
    EVP_PKEY *ca_key;
    EVP_PKEY *key = EVP_EC_gen("P-256");

    (void)snprintf(path, sizeof path, "%s.crt", ca_name);
    f = fopen(path, "re");
    ca = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    if (f != NULL)
        (void)fclose(f);
    (void)snprintf(path, sizeof path, "%s.key", ca_name);
    f = fopen(path, "re");
    ca_key = f != NULL ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    if (f != NULL)
        (void)fclose(f);
    if (ca == NULL || ca_key == NULL)
        die(ca_name);
    l->items = calloc(l->count, sizeof *l->items);
    for (l->item_count = 0; l->item_count < l->count; l->item_count++)
        l->items[l->item_count] = leaf_body(ca, ca_key, key);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

/* ---- the run ---- */

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
    struct load l = { 0 };
    double wall;
    double cpu;

    if (argc < 6) {
        fprintf(stderr,
            "usage: bench_api_load PORT describe|update|register FILE COUNT CONNECTIONS PID...\n");
        return 2;
    }
    l.port = (uint16_t)atoi(argv[1]);
    l.what = argv[2];
    l.count = (unsigned)atoi(argv[4]);
    l.connections = (unsigned)atoi(argv[5]);
    for (int i = 6; i < argc && l.pid_count < PIDS_MAX; i++)
        l.pids[l.pid_count++] = atoi(argv[i]);
    if (l.count == 0 || l.connections == 0 || l.connections > CONNECTIONS_MAX)
        return 2;
    if (strcmp(l.what, "register") == 0)
        make_leaves(&l, argv[3]);
    else
        read_ids(&l, argv[3]);
    l.latency_ms = calloc(l.count, sizeof *l.latency_ms);
    if (l.item_count == 0 || l.latency_ms == NULL)
        die(argv[3]);
    for (unsigned i = 0; i < l.connections; i++)
        open_connection(&l, i);
    cpu = cpu_s(&l);
    wall = now_s(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < l.count + l.connections; i++) {
        if (i >= l.connections && l.done < l.count)
            read_reply(&l, i % l.connections);
        if (i < l.count)
            send_request(&l, i);
    }
    wall = now_s(CLOCK_MONOTONIC) - wall;
    cpu = cpu_s(&l) - cpu;
    qsort(l.latency_ms, l.done, sizeof *l.latency_ms, by_size);
    printf(
        "%s: %u requests, %u refused, %.0f a second, %.0f us CPU each, p50 %.2f ms, p99 %.2f ms\n",
        l.what, l.done, l.refused, l.done / wall, cpu / l.done * 1e6, l.latency_ms[l.done / 2],
        l.latency_ms[(size_t)l.done * 99 / 100]);
    return l.refused == 0 ? 0 : 1;
}
