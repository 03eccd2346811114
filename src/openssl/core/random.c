/* SPDX-License-Identifier: Apache-2.0 */
/* See random.h. */
#include "openssl/core/random.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static enum bm_err
fill_from_system(uint8_t *out, size_t len, struct bm_msg *msg)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);

        if (n < 0 && errno != EINTR)
            return bm_fail(msg, BM_ERR_IO, "getrandom: %s", strerror(errno));
        if (n > 0) {
            out += n;
            len -= (size_t)n;
        }
    }
    return BM_OK;
}

struct random_task {
    uint8_t *out;
    size_t len;
};

static a71ch_result
get_random(a71ch *chip, void *arg)
{
    const struct random_task *t = arg;

    return a71ch_get_random(chip, t->out, t->len);
}

/* Mix the chip's bytes into `out`, which holds the system's. */
static enum bm_err
mix_chip(struct mixed_random *r, uint8_t *out, size_t len, struct bm_msg *msg)
{
    uint8_t part[239]; /* one command */
    enum bm_err err = BM_OK;

    while (len > 0 && err == BM_OK) {
        struct random_task t = { part, len < sizeof part ? len : sizeof part };

        err = shared_chip_do(r->chip, SHARED_CHIP_AGAIN, get_random, &t, msg);
        for (size_t i = 0; i < t.len && err == BM_OK; i++)
            out[i] ^= part[i];
        out += t.len;
        len -= t.len;
    }
    bm_wipe(part, sizeof part);
    return err;
}

enum bm_err
mixed_random_fill(struct mixed_random *r, uint8_t *out, size_t len, struct bm_msg *msg)
{
    bool strict = atomic_load(&r->strict);
    enum bm_err err = fill_from_system(out, len, msg);

    if (err == BM_OK && (strict || clock_mono_ms() >= atomic_load(&r->retry_at))) {
        err = mix_chip(r, out, len, msg);
        atomic_store(&r->retry_at, err == BM_OK ? 0 : clock_mono_ms() + RANDOM_PAUSE_MS);
        if (err != BM_OK && !strict)
            err = BM_OK; /* what the system gave is still in `out`, mixed or not */
    }
    if (err != BM_OK)
        bm_wipe(out, len);
    return err;
}
