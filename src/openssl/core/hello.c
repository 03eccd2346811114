/* SPDX-License-Identifier: Apache-2.0 */
/* See hello.h. The state is touched only under the connection's lock, which bears forks. */
#include "openssl/core/hello.h"

#include <stdlib.h>
#include <string.h>

struct hello {
    struct shared_chip *chip;
    int pair;
    bool renew;
    bool armed; /* `random` is the chip's last, and no command came after it */
    bool has_peer;
    uint8_t random[A71CH_RANDOM_LEN];
    uint8_t point[A71CH_POINT_LEN]; /* of `pair`, as it was when `random` was made */
    uint8_t peer[A71CH_POINT_LEN];
    uint8_t ticket[HELLO_TICKET_LEN];
};

struct hello *
hello_new(struct shared_chip *own, int pair, bool renew)
{
    struct hello *h = own != NULL ? calloc(1, sizeof *h) : NULL;

    if (h == NULL) {
        shared_chip_free(own);
        return NULL;
    }
    *h = (struct hello){ .chip = own, .pair = pair, .renew = renew };
    return h;
}

void
hello_free(struct hello *h)
{
    if (h == NULL)
        return;
    shared_chip_free(h->chip);
    free(h);
}

static a71ch_result
make(a71ch *chip, void *arg)
{
    struct hello *h = arg;
    a71ch_result res = A71CH_OK;

    h->armed = false;
    h->has_peer = false;
    if (h->pair != HELLO_NO_PAIR)
        res = a71ch_pair_get_public(chip, (unsigned)h->pair, h->point);
    if (res == A71CH_OK)
        res = a71ch_get_client_hello_random(chip, h->random);
    h->armed = res == A71CH_OK;
    return res;
}

struct task {
    struct hello *h;
    const uint8_t *in; /* a point */
    const uint8_t *ticket;
    uint8_t *out;
    unsigned index;
    unsigned blocks;
    const uint8_t *client_random;
    const uint8_t *server_random;
    bool done;
};

static a71ch_result
make_and_copy(a71ch *chip, void *arg)
{
    const struct task *t = arg;
    a71ch_result res = make(chip, t->h);

    if (res == A71CH_OK)
        memcpy(t->out, t->h->random, A71CH_RANDOM_LEN);
    return res;
}

enum bm_err
hello_make(struct hello *h, uint8_t out[A71CH_RANDOM_LEN], struct bm_msg *msg)
{
    struct task t = { .h = h, .out = out };

    return shared_chip_do(h->chip, SHARED_CHIP_AGAIN, make_and_copy, &t, msg);
}

/* No command, only the state. */
static a71ch_result
copy_point(a71ch *chip, void *arg)
{
    struct task *t = arg;

    (void)chip;
    t->done = t->h->armed && t->h->pair != HELLO_NO_PAIR;
    if (t->done)
        memcpy(t->out, t->h->point, A71CH_POINT_LEN);
    return A71CH_OK;
}

enum bm_err
hello_point(struct hello *h, unsigned *pair, uint8_t out[A71CH_POINT_LEN], struct bm_msg *msg)
{
    struct task t = { .h = h, .out = out };
    enum bm_err err;

    if (h->pair == HELLO_NO_PAIR)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "no key pair is set aside for ECDHE_PSK");
    err = shared_chip_do(h->chip, SHARED_CHIP_AGAIN, copy_point, &t, msg);
    if (err == BM_OK && !t.done)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "the chip has made no ClientHello random");
    if (err == BM_OK)
        *pair = (unsigned)h->pair;
    return err;
}

static a71ch_result
keep_peer(a71ch *chip, void *arg)
{
    struct task *t = arg;

    (void)chip;
    t->h->has_peer = true;
    memcpy(t->h->peer, t->in, A71CH_POINT_LEN);
    memcpy(t->h->ticket, t->ticket, HELLO_TICKET_LEN);
    return A71CH_OK;
}

enum bm_err
hello_set_peer(struct hello *h, const uint8_t peer[A71CH_POINT_LEN],
    const uint8_t ticket[HELLO_TICKET_LEN], struct bm_msg *msg)
{
    struct task t = { .h = h, .in = peer, .ticket = ticket };

    return shared_chip_do(h->chip, SHARED_CHIP_AGAIN, keep_peer, &t, msg);
}

static bool
matches(const struct task *t)
{
    const struct hello *h = t->h;

    if (!h->armed || memcmp(h->random, t->client_random, A71CH_RANDOM_LEN) != 0)
        return false;
    return t->ticket == NULL ||
           (h->has_peer && memcmp(h->ticket, t->ticket, HELLO_TICKET_LEN) == 0);
}

static a71ch_result
master(a71ch *chip, void *arg)
{
    struct task *t = arg;
    struct hello *h = t->h;
    a71ch_result res;

    t->done = matches(t);
    if (!t->done)
        return A71CH_OK;
    h->armed = false;
    if (t->ticket == NULL)
        return a71ch_sym_psk_master(chip, t->index, t->blocks, t->server_random, t->out);
    res = a71ch_pair_psk_master(
        chip, (unsigned)h->pair, h->peer, t->index, t->blocks, t->server_random, t->out);
    if (res == A71CH_OK && h->renew)
        res = a71ch_pair_generate(chip, (unsigned)h->pair);
    return res;
}

enum bm_err
hello_master(struct hello *h, unsigned index, unsigned blocks, const uint8_t *ticket,
    const uint8_t client_random[A71CH_RANDOM_LEN], const uint8_t server_random[A71CH_RANDOM_LEN],
    uint8_t out[A71CH_MASTER_LEN], struct bm_msg *msg)
{
    struct task t = { .h = h,
        .ticket = ticket,
        .out = out,
        .index = index,
        .blocks = blocks,
        .client_random = client_random,
        .server_random = server_random };
    enum bm_err err = shared_chip_do(h->chip, SHARED_CHIP_ONCE, master, &t, msg);

    if (err == BM_OK && !t.done)
        err = bm_fail(msg, BM_ERR_CONFLICT,
            "the ClientHello's random is not the last one that the chip made");
    if (err != BM_OK)
        bm_wipe(out, A71CH_MASTER_LEN);
    return err;
}
