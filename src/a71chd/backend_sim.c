/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated chip as a backend: each session is one of the chip's. */
#include "a71chd/backend.h"

#include "base/log.h"
#include "chip/chip.h"

#include <stdlib.h>

struct sim {
    struct backend base;
    struct chip *chip;
    uint8_t atr[CHIP_ATR_LEN];
};

struct sim_session {
    struct backend_session base;
    struct chip_session *chip;
};

static struct sim *
sim_of(struct backend *b)
{
    return (struct sim *)(void *)b;
}

static struct sim_session *
session_of(struct backend_session *s)
{
    return (struct sim_session *)(void *)s;
}

static struct backend_session *
session_new(struct backend *b)
{
    struct sim_session *s = calloc(1, sizeof *s);

    if (s != NULL && chip_session_open(sim_of(b)->chip, &s->chip) != BM_OK) {
        free(s);
        return NULL;
    }
    return s != NULL ? &s->base : NULL;
}

static void
session_free(struct backend_session *s)
{
    chip_session_close(session_of(s)->chip);
    free(session_of(s));
}

static void
start(struct backend *b, struct backend_session *s)
{
    struct chip_session *chip = session_of(s)->chip;
    uint8_t rsp[APDU_RSP_MAX];
    struct backend_answer answer = { 0 };

    if (s->request == BACKEND_RESET) {
        chip_session_reset(chip);
        answer.bytes = SPAN(sim_of(b)->atr);
    } else {
        answer.bytes =
            span_of(rsp, chip_session_apdu(chip, span_of(s->command, s->command_len), rsp));
    }
    backend_finish(b, &answer);
    bm_wipe(rsp, sizeof rsp);
}

static struct span
atr(const struct backend *b)
{
    return SPAN(((const struct sim *)(const void *)b)->atr);
}

static void
stats(struct backend *b, struct buf *out)
{
    struct chip_stats s = chip_stats(sim_of(b)->chip);

    buf_addf(out,
        "{\"commands\":%llu,\"signatures\":%llu,\"ecdh\":%llu,\"generated\":%llu,"
        "\"nvm_writes\":%llu}",
        (unsigned long long)s.commands, (unsigned long long)s.signatures,
        (unsigned long long)s.ecdh, (unsigned long long)s.generated,
        (unsigned long long)s.nvm_writes);
}

static void
save(struct backend *b)
{
    if (chip_save(sim_of(b)->chip) != BM_OK)
        log_error("cannot write the chip's counts; is the disk full?");
}

static void
sim_free(struct backend *b)
{
    chip_close(sim_of(b)->chip);
    free(sim_of(b));
}

static const struct backend_ops sim_ops = { session_new, session_free, start, atr, stats, save,
    sim_free };

enum bm_err
backend_sim_of(struct loop *loop, struct chip *chip, struct backend **out)
{
    struct sim *sim = calloc(1, sizeof *sim);

    *out = NULL;
    if (sim == NULL) {
        chip_close(chip);
        return BM_ERR_MEM;
    }
    sim->base = (struct backend){ .ops = &sim_ops, .loop = loop };
    sim->chip = chip;
    chip_atr(chip, sim->atr);
    *out = &sim->base;
    return BM_OK;
}

enum bm_err
backend_sim_new(struct loop *loop, const char *dir, const struct sim_options *o,
    struct backend **out, struct bm_msg *msg)
{
    struct chip *chip;
    enum bm_err err = chip_open_shared(dir, o->lib, &chip, msg);

    *out = NULL;
    if (err != BM_OK)
        return err;
    if (chip_recovered(chip) > 0)
        log_warn("discarded %zu bytes of an unfinished write in %s; the chip is as before it",
            chip_recovered(chip), dir);
    chip_set_quirks(chip, &o->quirks);
    err = backend_sim_of(loop, chip, out);
    return err == BM_OK ? BM_OK : bm_fail(msg, err, "out of memory");
}

struct chip *
backend_sim_chip(struct backend *b)
{
    return b->ops == &sim_ops ? sim_of(b)->chip : NULL;
}
