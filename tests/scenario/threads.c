/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and forked children sign with one chip, for scenario/threads.sh; built with
 * ThreadSanitizer where that can be had. Half of the threads share one chip (openssl/core), the
 * other half have a handle each; the children are forked while all of them are at work, and use the
 * shared chip that they inherited. Every hash is signed once, and every signature is verified
 * against its own hash, so one that went astray shows.
 *
 * usage: threads ADDRESS THREADS CHILDREN SIGNATURES
 *
 * Children only ask the chip: what they got goes to the parent through a pipe and is verified
 * there, because OpenSSL's locks do not survive a fork beside busy threads.
 */
#include "a71ch.h"
#include "base/bytes.h"
#include "fork_first.h"
#include "openssl/core/shared_chip.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

enum { WORKERS_MAX = 64 };

struct run {
    const char *address;
    struct shared_chip *shared;
    EVP_PKEY *key; /* its public half */
    unsigned threads;
    unsigned children;
    unsigned signatures;
    atomic_uint at_work; /* threads that have signed once */
    atomic_uint good;
    atomic_uint bad;
};

/* A signature on its way from child to parent. */
struct parcel {
    uint8_t hash[A71CH_HASH_LEN];
    uint8_t sig[A71CH_SIGNATURE_MAX];
    size_t len;
};

struct worker {
    struct run *run;
    unsigned number;
};

/* The worker's share: all shares together are `signatures`. */
static unsigned
share_of(const struct run *r, unsigned number)
{
    unsigned workers = r->threads + r->children;

    return r->signatures / workers + (number < r->signatures % workers);
}

/* No two are the same. */
static void
make_hash(uint8_t out[A71CH_HASH_LEN], unsigned worker, unsigned i)
{
    struct wr w = wr_of(out, A71CH_HASH_LEN);

    memset(out, 0x5a, A71CH_HASH_LEN);
    wr_u32(&w, worker);
    wr_u32(&w, i);
}

static void
verify(struct run *r, const struct parcel *p)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(r->key, NULL);
    bool good = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
                EVP_PKEY_verify(ctx, p->sig, p->len, p->hash, sizeof p->hash) == 1;

    EVP_PKEY_CTX_free(ctx);
    (void)atomic_fetch_add(good ? &r->good : &r->bad, 1);
}

/* By the shared chip, or by a handle of one's own. */
static bool
sign(const struct run *r, a71ch *own, struct parcel *p)
{
    struct bm_msg msg = { "" };

    if (own == NULL) {
        if (shared_chip_sign(r->shared, 0, p->hash, p->sig, &p->len, &msg) == BM_OK)
            return true;
        fprintf(stderr, "threads: %s\n", msg.text);
        return false;
    }
    if (a71ch_pair_sign(own, 0, p->hash, p->sig, &p->len) == A71CH_OK)
        return true;
    fprintf(stderr, "threads: %s\n", a71ch_message(own));
    return false;
}

static void *
run_thread(void *arg)
{
    const struct worker *w = arg;
    struct run *r = w->run;
    a71ch *own = NULL;

    if (w->number % 2 == 1 && a71ch_open(r->address, NULL, &own) != A71CH_OK)
        fprintf(stderr, "threads: %s\n", a71ch_message(own));
    for (unsigned i = 0; i < share_of(r, w->number); i++) {
        struct parcel p = { .len = 0 };

        make_hash(p.hash, w->number, i);
        if (sign(r, own, &p))
            verify(r, &p);
        else
            (void)atomic_fetch_add(&r->bad, 1);
        if (i == 0)
            (void)atomic_fetch_add(&r->at_work, 1);
    }
    a71ch_close(own);
    return NULL;
}

static _Noreturn void
run_child(const struct run *r, unsigned number, int out)
{
    for (unsigned i = 0; i < share_of(r, number); i++) {
        struct parcel p = { .len = 0 };

        make_hash(p.hash, number, i);
        if (!sign(r, NULL, &p) || write(out, &p, sizeof p) != (ssize_t)sizeof p)
            _exit(1);
    }
    _exit(0);
}

/* All that the children send until the last one has closed its end. Parcels are written whole, as
 * they are shorter than PIPE_BUF. */
static void
collect(struct run *r, int in)
{
    struct parcel p;
    ssize_t n;

    while ((n = read(in, &p, sizeof p)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n != (ssize_t)sizeof p)
            return;
        verify(r, &p);
    }
}

static bool
fork_children(const struct run *r, pid_t *pids, const int ends[2])
{
    for (unsigned i = 0; i < r->children; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            return false;
        if (pids[i] == 0)
            run_child(r, r->threads + i, ends[1]);
    }
    return true;
}

static bool
start_threads(pthread_t *threads, struct worker *workers, struct run *r)
{
    for (unsigned i = 0; i < r->threads; i++) {
        workers[i] = (struct worker){ r, i };
        if (pthread_create(&threads[i], NULL, run_thread, &workers[i]) != 0)
            return false;
    }
    while (atomic_load(&r->at_work) < r->threads)
        (void)usleep(1000);
    return true;
}

static bool
run_all(struct run *r)
{
    pthread_t threads[WORKERS_MAX];
    struct worker workers[WORKERS_MAX];
    pid_t pids[WORKERS_MAX];
    int ends[2];
    bool good = pipe(ends) == 0;

    if (FORK_FIRST)
        good = good && fork_children(r, pids, ends);
    good = good && start_threads(threads, workers, r);
    if (!FORK_FIRST)
        good = good && fork_children(r, pids, ends);
    if (!good)
        return false;
    (void)close(ends[1]);
    collect(r, ends[0]);
    for (unsigned i = 0; i < r->children; i++) {
        int status = 0;

        good = waitpid(pids[i], &status, 0) == pids[i] && status == 0 && good;
    }
    for (unsigned i = 0; i < r->threads; i++)
        (void)pthread_join(threads[i], NULL);
    return good;
}

static EVP_PKEY *
public_key(const uint8_t point[A71CH_POINT_LEN])
{
    char group[] = "P-256";
    uint8_t bytes[A71CH_POINT_LEN];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    memcpy(bytes, point, sizeof bytes);
    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Make the key, and connect the shared chip, so that children inherit a connection in use. */
static bool
prepare(struct run *r)
{
    uint8_t point[A71CH_POINT_LEN];
    struct parcel p = { .len = 0 };
    a71ch *chip;
    a71ch_result res = a71ch_open(r->address, NULL, &chip);

    if (res == A71CH_OK)
        res = a71ch_pair_generate(chip, 0);
    if (res == A71CH_OK)
        res = a71ch_pair_get_public(chip, 0, point);
    if (res != A71CH_OK)
        fprintf(stderr, "threads: %s\n", a71ch_message(chip));
    a71ch_close(chip);
    r->shared = shared_chip_new(r->address);
    r->key = res == A71CH_OK ? public_key(point) : NULL;
    return r->key != NULL && r->shared != NULL && sign(r, NULL, &p);
}

int
main(int argc, char **argv)
{
    struct run r = { 0 };
    bool good;

    if (argc != 5) {
        fprintf(stderr, "usage: threads ADDRESS THREADS CHILDREN SIGNATURES\n");
        return 2;
    }
    r.address = argv[1];
    r.threads = (unsigned)strtoul(argv[2], NULL, 10);
    r.children = (unsigned)strtoul(argv[3], NULL, 10);
    r.signatures = (unsigned)strtoul(argv[4], NULL, 10);
    if (r.threads > WORKERS_MAX || r.children > WORKERS_MAX || !prepare(&r))
        return 1;
    good = run_all(&r);
    printf("%u good, %u bad\n", atomic_load(&r.good), atomic_load(&r.bad));
    shared_chip_free(r.shared);
    EVP_PKEY_free(r.key);
    return good && atomic_load(&r.good) == r.signatures ? 0 : 1;
}
