/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See shared_chip.h.
 *
 * A fork may come while another thread holds the lock, and the child then owns a lock that nobody
 * will ever open and a connection on which the parent still speaks. So each process is known by a
 * mark, made of its pid and of the number of forks before it (a pid alone may come back). The
 * first thread of a child that finds a foreign mark makes the lock anew and lets go of the
 * inherited connection without sending anything; the others wait for it.
 */
#include "openssl/core/shared_chip.h"

#include "host/address.h"
#include "wire/refkey.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RENEWING = 1 }; /* lowest bit of a mark */

struct shared_chip {
    _Atomic uint64_t owner; /* mark of the process that `lock` and `chip` belong to */
    pthread_mutex_t lock;   /* guards `chip`; innermost: nothing else is locked under it */
    a71ch *chip;            /* NULL: not connected */
    char *address;          /* NULL: the environment names none that can be read */
    a71ch_options options;
};

/* A fact about the process, not about a chip: how many forks lie before it. */
static atomic_uint forks;
static pthread_once_t forks_watched = PTHREAD_ONCE_INIT;

static void
count_fork(void)
{
    (void)atomic_fetch_add(&forks, 1);
}

static void
watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork); /* without it the pid alone must do */
}

static uint64_t
mark_of_process(void)
{
    return (uint64_t)atomic_load(&forks) << 32 | (uint64_t)(uint32_t)getpid() << 1;
}

static void
make_mine(struct shared_chip *c)
{
    uint64_t mine = mark_of_process();
    uint64_t seen = atomic_load(&c->owner);

    while (seen != mine) {
        if (seen == (mine | RENEWING)) {
            (void)sched_yield();
            seen = atomic_load(&c->owner);
        } else if (atomic_compare_exchange_weak(&c->owner, &seen, mine | RENEWING)) {
            (void)pthread_mutex_init(&c->lock, NULL);
            a71ch_abandon(c->chip);
            c->chip = NULL;
            atomic_store(&c->owner, mine);
            return;
        }
    }
}

struct shared_chip *
shared_chip_new(const char *address)
{
    struct shared_chip *c = calloc(1, sizeof *c);
    struct address env;

    if (c == NULL)
        return NULL;
    if (address == NULL && chip_address_from_environment(&env, NULL) == BM_OK)
        address = env.text; /* else a71ch_open() will say what is wrong with it */
    if (address != NULL && (c->address = strdup(address)) == NULL) {
        free(c);
        return NULL;
    }
    (void)pthread_once(&forks_watched, watch_forks);
    (void)pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->owner, mark_of_process());
    return c;
}

void
shared_chip_set_timeout(struct shared_chip *c, unsigned ms)
{
    c->options.answer_timeout_ms = ms;
}

void
shared_chip_free(struct shared_chip *c)
{
    if (c == NULL)
        return;
    make_mine(c); /* a child ends too: it must not close what it inherited in the usual way */
    a71ch_close(c->chip);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->address);
    free(c);
}

static enum bm_err
err_of(a71ch_result result)
{
    switch (result) {
    case A71CH_OK:
        return BM_OK;
    case A71CH_ERR_ARG:
    case A71CH_ERR_UNSUPPORTED:
        return BM_ERR_ARG;
    case A71CH_ERR_ADDRESS:
    case A71CH_ERR_CONNECT:
    case A71CH_ERR_IO:
        return BM_ERR_IO;
    case A71CH_ERR_TIMEOUT:
        return BM_ERR_TIMEOUT;
    case A71CH_ERR_SELECT:
    case A71CH_ERR_STATUS:
        return BM_ERR_STATUS;
    case A71CH_ERR_RESPONSE:
        return BM_ERR_PROTO;
    case A71CH_ERR_SPACE:
        return BM_ERR_SPACE;
    case A71CH_ERR_MEMORY:
        return BM_ERR_MEM;
    case A71CH_ERR_NOT_FOUND:
        return BM_ERR_NOT_FOUND;
    case A71CH_ERR_EXISTS:
        return BM_ERR_EXISTS;
    case A71CH_ERR_FULL:
        return BM_ERR_LIMIT;
    case A71CH_ERR_FROZEN:
    case A71CH_ERR_BUSY:
    case A71CH_ERR_CHANNEL:
        return BM_ERR_CONFLICT;
    case A71CH_ERR_CRYPTOGRAM:
    case A71CH_ERR_MAC:
        return BM_ERR_DENIED;
    case A71CH_ERR_SESSION: /* nobody resumes here */
    case A71CH_ERR_PADDING:
        return BM_ERR_PROTO;
    }
    return BM_ERR_INTERNAL;
}

static void
disconnect(struct shared_chip *c)
{
    a71ch_close(c->chip);
    c->chip = NULL;
}

/* After these the next answer on the connection may belong to an earlier question, or none comes.
 */
static bool
connection_spoilt(a71ch_result result)
{
    switch (result) {
    case A71CH_ERR_ADDRESS:
    case A71CH_ERR_CONNECT:
    case A71CH_ERR_IO:
    case A71CH_ERR_TIMEOUT:
    case A71CH_ERR_SELECT:
    case A71CH_ERR_RESPONSE:
    case A71CH_ERR_MEMORY:
    case A71CH_ERR_CHANNEL:
    case A71CH_ERR_CRYPTOGRAM:
    case A71CH_ERR_MAC:
    case A71CH_ERR_PADDING:
    case A71CH_ERR_SESSION:
        return true;
    case A71CH_OK:
    case A71CH_ERR_ARG:
    case A71CH_ERR_STATUS:
    case A71CH_ERR_SPACE:
    case A71CH_ERR_NOT_FOUND:
    case A71CH_ERR_EXISTS:
    case A71CH_ERR_FULL:
    case A71CH_ERR_FROZEN:
    case A71CH_ERR_BUSY:
    case A71CH_ERR_UNSUPPORTED:
        return false;
    }
    return true;
}

static a71ch_result
connect_and_run(
    struct shared_chip *c, shared_chip_fn *fn, void *arg, enum bm_err *err, struct bm_msg *msg)
{
    a71ch_result result =
        c->chip != NULL ? A71CH_OK : a71ch_open(c->address, &c->options, &c->chip);

    if (result == A71CH_OK)
        result = fn(c->chip, arg);
    *err = err_of(result);
    if (result == A71CH_ERR_CONNECT &&
        (a71ch_errno(c->chip) == EACCES || a71ch_errno(c->chip) == EPERM))
        *err = BM_ERR_DENIED;
    if (result != A71CH_OK)
        (void)bm_fail(msg, *err, "%s", c->chip != NULL ? a71ch_message(c->chip) : "out of memory");
    if (connection_spoilt(result))
        disconnect(c);
    return result;
}

enum bm_err
shared_chip_do(struct shared_chip *c, enum shared_chip_retry retry, shared_chip_fn *fn, void *arg,
    struct bm_msg *msg)
{
    a71ch_result result;
    enum bm_err err;
    bool was_idle;

    make_mine(c);
    (void)pthread_mutex_lock(&c->lock);
    was_idle = c->chip != NULL;
    result = connect_and_run(c, fn, arg, &err, msg);
    /* A connection that lay idle may be of a server that was restarted since. */
    if (was_idle && result == A71CH_ERR_IO && retry == SHARED_CHIP_AGAIN)
        result = connect_and_run(c, fn, arg, &err, msg);
    (void)pthread_mutex_unlock(&c->lock);
    return err;
}

struct sign_task {
    unsigned index;
    const uint8_t *hash;
    uint8_t *out;
    size_t *out_len;
};

static a71ch_result
sign(a71ch *chip, void *arg)
{
    const struct sign_task *t = arg;

    return a71ch_pair_sign(chip, t->index, t->hash, t->out, t->out_len);
}

enum bm_err
shared_chip_sign(struct shared_chip *c, unsigned index, const uint8_t hash[A71CH_HASH_LEN],
    uint8_t out[A71CH_SIGNATURE_MAX], size_t *out_len, struct bm_msg *msg)
{
    struct sign_task t = { index, hash, out, out_len };

    return shared_chip_do(c, SHARED_CHIP_AGAIN, sign, &t, msg);
}

struct ecdh_task {
    unsigned index;
    const uint8_t *peer;
    uint8_t *out;
};

static a71ch_result
ecdh(a71ch *chip, void *arg)
{
    const struct ecdh_task *t = arg;

    return a71ch_pair_ecdh(chip, t->index, t->peer, t->out);
}

enum bm_err
shared_chip_ecdh(struct shared_chip *c, unsigned index, const uint8_t peer[A71CH_POINT_LEN],
    uint8_t out[A71CH_SECRET_LEN], struct bm_msg *msg)
{
    struct ecdh_task t = { index, peer, out };

    return shared_chip_do(c, SHARED_CHIP_AGAIN, ecdh, &t, msg);
}

struct find_task {
    unsigned class_id;
    const uint8_t *point;
    unsigned *index;
    bool found;
};

static a71ch_result
find(a71ch *chip, void *arg)
{
    struct find_task *t = arg;
    bool pair = t->class_id == REFKEY_CLASS_PAIR;
    unsigned count = pair ? A71CH_PAIR_COUNT : A71CH_PUB_COUNT;

    for (unsigned i = 0; i < count && !t->found; i++) {
        uint8_t point[A71CH_POINT_LEN];
        a71ch_result res =
            pair ? a71ch_pair_get_public(chip, i, point) : a71ch_pub_get(chip, i, point);

        if (res != A71CH_OK && res != A71CH_ERR_STATUS) /* an empty slot has a status */
            return res;
        t->found = res == A71CH_OK && memcmp(point, t->point, sizeof point) == 0;
        if (t->found)
            *t->index = i;
    }
    return A71CH_OK;
}

enum bm_err
shared_chip_find(struct shared_chip *c, unsigned class_id, const uint8_t point[A71CH_POINT_LEN],
    unsigned *index, struct bm_msg *msg)
{
    struct find_task t = { class_id, point, index, false };
    enum bm_err err = shared_chip_do(c, SHARED_CHIP_AGAIN, find, &t, msg);

    if (err == BM_OK && !t.found)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "no slot of this chip holds the public key");
    return err;
}

struct verify_task {
    unsigned index;
    const uint8_t *hash;
    struct span sig;
    int valid;
};

static a71ch_result
verify(a71ch *chip, void *arg)
{
    struct verify_task *t = arg;

    return a71ch_pub_verify(chip, t->index, t->hash, t->sig.ptr, t->sig.len, &t->valid);
}

enum bm_err
shared_chip_verify(struct shared_chip *c, unsigned index, const uint8_t hash[A71CH_HASH_LEN],
    struct span sig, bool *valid, struct bm_msg *msg)
{
    struct verify_task t = { index, hash, sig, 0 };
    enum bm_err err = shared_chip_do(c, SHARED_CHIP_AGAIN, verify, &t, msg);

    if (err == BM_OK)
        *valid = t.valid == 1;
    return err;
}

struct generate_task {
    unsigned index;
    uint8_t *point;
    bool exists;
};

static a71ch_result
generate(a71ch *chip, void *arg)
{
    struct generate_task *t = arg;
    a71ch_result res = a71ch_pair_get_public(chip, t->index, t->point);

    t->exists = res == A71CH_OK;
    if (t->exists || res != A71CH_ERR_STATUS)
        return res;
    res = a71ch_pair_generate(chip, t->index);
    return res == A71CH_OK ? a71ch_pair_get_public(chip, t->index, t->point) : res;
}

enum bm_err
shared_chip_generate(
    struct shared_chip *c, unsigned index, uint8_t out[A71CH_POINT_LEN], struct bm_msg *msg)
{
    struct generate_task t = { index, out, false };
    enum bm_err err = shared_chip_do(c, SHARED_CHIP_ONCE, generate, &t, msg);

    if (err == BM_OK && t.exists)
        err = bm_fail(msg, BM_ERR_EXISTS,
            "key pair %u exists already; to lose it for good, run: a71chConfig erase pair -x %u",
            index, index);
    return err;
}

void
shared_chip_fit(uint8_t out[A71CH_HASH_LEN], const uint8_t *digest, size_t len)
{
    struct wr w = wr_of(out, A71CH_HASH_LEN);

    for (size_t i = len; i < A71CH_HASH_LEN; i++)
        wr_u8(&w, 0);
    wr_bytes(&w, digest, len < A71CH_HASH_LEN ? len : A71CH_HASH_LEN);
}
