/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small program with a key in the chip, for scenario/openssl_program.sh: it does what servers do
 * to a key after they loaded it. Knows nothing of the chip: the configuration does it.
 *
 * usage: tls_many KEY CERT CA threads|forks|exec|mixed COUNT
 *
 * Every handshake is mutual, in memory, with the same key on both sides: so it costs exactly two
 * signatures. Odd ones are TLS 1.2. Each side verifies the other against CA.
 *
 *   threads  COUNT handshakes by each of 8 threads, with one shared context
 *   forks    load, fork 4 children; parent and children each make COUNT handshakes
 *   exec     one handshake, then this program anew in the same process, COUNT times
 *   mixed    threads; one of them forks and execs /bin/true all the time
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, CHILDREN = 4, STEPS_MAX = 20 };

struct run {
    SSL_CTX *ctx[2]; /* TLS 1.3, TLS 1.2 */
    int count;
    atomic_int done;
    atomic_int failed;
};

extern char **environ;

static SSL_CTX *
new_context(const char *key, const char *cert, const char *ca, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, version) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, version) != 1 ||
        SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1 || SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
        ERR_print_errors_fp(stderr);
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

static bool
step(SSL *ssl, bool *over)
{
    int got = SSL_do_handshake(ssl);

    *over = got == 1;
    return got == 1 || SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ;
}

static bool
handshake(SSL_CTX *ctx)
{
    SSL *client = SSL_new(ctx);
    SSL *server = SSL_new(ctx);
    BIO *a = NULL;
    BIO *b = NULL;
    bool over[2] = { false, false };
    bool ok = client != NULL && server != NULL && BIO_new_bio_pair(&a, 0, &b, 0) == 1;

    if (ok) {
        SSL_set_bio(client, a, a);
        SSL_set_bio(server, b, b);
        SSL_set_connect_state(client);
        SSL_set_accept_state(server);
    }
    for (int i = 0; ok && i < STEPS_MAX && !(over[0] && over[1]); i++)
        ok = step(client, &over[0]) && step(server, &over[1]);
    ok = ok && over[0] && over[1];
    if (!ok)
        ERR_print_errors_fp(stderr);
    SSL_free(client);
    SSL_free(server);
    return ok;
}

static void
handshakes(struct run *r)
{
    for (int i = 0; i < r->count; i++)
        (void)atomic_fetch_add(handshake(r->ctx[i % 2]) ? &r->done : &r->failed, 1);
}

static void *
thread(void *arg)
{
    handshakes(arg);
    return NULL;
}

static void
spawn_now_and_then(const struct run *r, int wanted)
{
    char *words[] = { (char *)(size_t) "true", NULL };

    while (atomic_load(&r->done) + atomic_load(&r->failed) < wanted) {
        pid_t pid;

        if (posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0)
            (void)waitpid(pid, NULL, 0);
    }
}

static void
in_threads(struct run *r, bool spawn)
{
    pthread_t threads[THREADS];
    int started = 0;

    while (started < THREADS && pthread_create(&threads[started], NULL, thread, r) == 0)
        started++;
    if (spawn)
        spawn_now_and_then(r, started * r->count);
    for (int i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
}

static void
in_children(struct run *r)
{
    pid_t children[CHILDREN];

    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            handshakes(r);
            exit(atomic_load(&r->failed) == 0 ? 0 : 1);
        }
    }
    handshakes(r);
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;

        (void)waitpid(children[i], &status, 0);
        if (status != 0)
            (void)atomic_fetch_add(&r->failed, 1);
        else
            (void)atomic_fetch_add(&r->done, r->count);
    }
}

/* The connection to the chip must not stay open in what this process becomes. */
static int
again(char **argv, int left)
{
    char count[16];

    (void)snprintf(count, sizeof count, "%d", left);
    argv[5] = count;
    (void)execv("/proc/self/exe", argv);
    return 1;
}

int
main(int argc, char **argv)
{
    struct run r = { .count = argc == 6 ? atoi(argv[5]) : 0 };
    int failed;

    if (r.count < 1) {
        (void)fprintf(stderr, "usage: %s KEY CERT CA threads|forks|exec|mixed COUNT\n", argv[0]);
        return 2;
    }
    r.ctx[0] = new_context(argv[1], argv[2], argv[3], TLS1_3_VERSION);
    r.ctx[1] = new_context(argv[1], argv[2], argv[3], TLS1_2_VERSION);
    if (r.ctx[0] == NULL || r.ctx[1] == NULL)
        return 1;
    if (strcmp(argv[4], "exec") == 0) {
        if (!handshake(r.ctx[r.count % 2]))
            return 1;
        if (r.count > 1)
            return again(argv, r.count - 1);
        (void)atomic_fetch_add(&r.done, 1);
    } else if (strcmp(argv[4], "forks") == 0) {
        in_children(&r);
    } else {
        in_threads(&r, strcmp(argv[4], "mixed") == 0);
    }
    failed = atomic_load(&r.failed);
    printf("%d done, %d failed\n", atomic_load(&r.done), failed);
    SSL_CTX_free(r.ctx[0]);
    SSL_CTX_free(r.ctx[1]);
    return failed == 0 ? 0 : 1;
}
