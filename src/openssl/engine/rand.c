/* SPDX-License-Identifier: Apache-2.0 */
/* See engine.h: random numbers of the chip, mixed with the operating system's. SPEC a71ch 9.3 */
#include "openssl/engine/engine.h"

static int
bytes(unsigned char *out, int len)
{
    struct mixed_random *r = engine_random();
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (r == NULL || len < 0)
        return 0;
    err = mixed_random_fill(r, out, (size_t)len, &msg);
    if (err != BM_OK)
        return engine_raise(reason_of(err), "%s", msg.text);
    engine_log(ENGINE_LOG_FLOW, "%d random bytes", len);
    return 1;
}

/* The chip takes no seed. */
static int
seed(const void *data, int len)
{
    (void)data;
    (void)len;
    return 1;
}

static int
add(const void *data, int len, double entropy)
{
    (void)entropy;
    return seed(data, len);
}

static int
status(void)
{
    return 1;
}

const RAND_METHOD engine_rand_method = {
    .seed = seed,
    .bytes = bytes,
    .add = add,
    .pseudorand = bytes,
    .status = status,
};
