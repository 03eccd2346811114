/* SPDX-License-Identifier: Apache-2.0 */
/*
 * N mutual TLS handshakes in one process, through memory: a client whose key is the one under test,
 * a server with a key in software, in a library context of its own. TLS 1.3, X25519, no tickets;
 * each is a full one. What the client knows of chip, token or TPM is what OPENSSL_CONF and the
 * environment tell OpenSSL.
 *
 * usage: bench_tls COUNT KEY CERT SERVER_KEY SERVER_CERT CA
 *
 * KEY is a file, a name for OSSL_STORE (a71ch:pair=0), or engine:ID:NAME. Prints handshakes per
 * second by the clock and this process's CPU time for one, both after a warm-up.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* engines are what SoftHSM2's users have on Debian 12 */
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/store.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_UP = 20, STEPS_MAX = 20 };

static EVP_PKEY *
load_from_engine(const char *name)
{
    const char *colon = strchr(name, ':');
    char id[32];
    ENGINE *e;
    EVP_PKEY *pkey = NULL;

    if (colon == NULL || colon - name >= (long)sizeof id)
        return NULL;
    (void)snprintf(id, sizeof id, "%.*s", (int)(colon - name), name);
    ENGINE_load_builtin_engines();
    e = ENGINE_by_id(id);
    if (e != NULL && ENGINE_init(e) == 1) {
        pkey = ENGINE_load_private_key(e, colon + 1, NULL, NULL);
        (void)ENGINE_finish(e);
    }
    (void)ENGINE_free(e);
    return pkey;
}

static EVP_PKEY *
load_from_store(OSSL_LIB_CTX *lib, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, lib, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *pkey = NULL;

    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
        return NULL;
    while (pkey == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    (void)OSSL_STORE_close(store);
    return pkey;
}

static SSL_CTX *
new_context(OSSL_LIB_CTX *lib, const char *key, const char *cert, const char *ca)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(lib, NULL, TLS_method());
    EVP_PKEY *pkey =
        strncmp(key, "engine:", 7) == 0 ? load_from_engine(key + 7) : load_from_store(lib, key);

    if (ctx == NULL || pkey == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, pkey) != 1 ||
        SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
        (void)fprintf(stderr, "bench_tls: %s with %s:\n", key, cert);
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    EVP_PKEY_free(pkey);
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

static void
handshake(SSL_CTX *for_client, SSL_CTX *for_server)
{
    SSL *client = SSL_new(for_client);
    SSL *server = SSL_new(for_server);
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
    if (!ok || !over[0] || !over[1]) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_free(client);
    SSL_free(server);
}

static double
now(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
    int count = argc == 7 ? atoi(argv[1]) : 0;
    OSSL_LIB_CTX *apart = OSSL_LIB_CTX_new();
    SSL_CTX *client;
    SSL_CTX *server;
    double wall;
    double cpu;

    if (count < 1) {
        (void)fprintf(
            stderr, "usage: bench_tls COUNT KEY CERT SERVER_KEY SERVER_CERT CA; see the source\n");
        return 2;
    }
    client = new_context(NULL, argv[2], argv[3], argv[6]);
    server = new_context(apart, argv[4], argv[5], argv[6]);
    for (int i = 0; i < WARM_UP; i++)
        handshake(client, server);
    wall = now(CLOCK_MONOTONIC);
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count; i++)
        handshake(client, server);
    wall = now(CLOCK_MONOTONIC) - wall;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%.1f %.1f\n", count / wall, cpu / count * 1e6);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    OSSL_LIB_CTX_free(apart);
    return 0;
}
