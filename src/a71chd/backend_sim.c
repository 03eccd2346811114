/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated chip as a backend: each session is one of the chip's. It has no clock and no bad
 * days of its own, so times, wear and faults are put on it here.
 *
 * Losing power is done as it is: the chip is closed without another byte written, and opened again
 * from its folder; all its sessions begin anew.
 */
#include "a71chd/backend.h"

#include "base/log.h"
#include "chip/chip.h"
#include "chip/nvm.h"
#include "wire/decode.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim {
    struct backend base;
    struct sim_options *options; /* NULL: none; shared with other chips */
    struct chip *chip;           /* NULL: it could not be opened again */
    char *dir;                   /* NULL: in memory */
    struct nvm_cut cut;
    struct pace pace;
    struct sim_session *sessions;
    uint64_t worked_us; /* that the chip has taken by the profile */
    uint64_t owed_us;   /* of them not yet slept: timers count milliseconds */
    uint8_t atr[CHIP_ATR_LEN];
    /* an answer that the clock holds back */
    struct loop_timer *timer;
    struct backend_answer answer;
    uint8_t response[APDU_RSP_MAX];
};

struct sim_session {
    struct backend_session base;
    struct chip_session *chip;
    struct sim_session *next;
    struct sim_session *prev;
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
    struct sim *sim = sim_of(b);
    struct sim_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    if (sim->chip != NULL && chip_session_open(sim->chip, &s->chip) != BM_OK) {
        free(s);
        return NULL;
    }
    s->next = sim->sessions;
    if (s->next != NULL)
        s->next->prev = s;
    sim->sessions = s;
    return &s->base;
}

static void
session_free(struct backend_session *base)
{
    struct sim_session *s = session_of(base);

    chip_session_close(s->chip);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        sim_of(base->backend)->sessions = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    free(s);
}

/* ---- power ---- */

static enum bm_err
power_on(struct sim *sim, OSSL_LIB_CTX *lib, struct bm_msg *msg)
{
    enum bm_err err;

    sim->cut = (struct nvm_cut){ 0 };
    err = chip_open_cut(sim->dir, lib, &sim->cut, &sim->chip, msg);
    if (err != BM_OK)
        return err;
    if (chip_recovered(sim->chip) > 0)
        log_warn("discarded %zu bytes of an unfinished write in %s; the chip is as before it",
            chip_recovered(sim->chip), sim->dir);
    if (sim->options != NULL) {
        chip_set_quirks(sim->chip, &sim->options->quirks);
        sim->pace = (struct pace){ .dice = { sim->options->profile.seed } };
    }
    return BM_OK;
}

/* Volatile state is lost, of all clients. */
static void
reset_all(struct sim *sim)
{
    for (struct sim_session *s = sim->sessions; s != NULL; s = s->next) {
        if (s->chip != NULL)
            chip_session_reset(s->chip);
    }
}

static void
power_cycle(struct sim *sim)
{
    struct bm_msg msg = { "" };
    enum bm_err err;

    reset_all(sim);
    if (sim->dir == NULL)
        return;
    for (struct sim_session *s = sim->sessions; s != NULL; s = s->next) {
        chip_session_close(s->chip);
        s->chip = NULL;
    }
    sim->cut.armed = sim->cut.off = true; /* closing would write the counts */
    chip_close(sim->chip);
    sim->chip = NULL;
    err = power_on(sim, sim->options->lib, &msg);
    for (struct sim_session *s = sim->sessions; s != NULL && err == BM_OK; s = s->next)
        err = chip_session_open(sim->chip, &s->chip);
    if (err != BM_OK)
        log_error("the chip does not come back after its power was cut: %s", msg.text);
}

/* ---- one command ---- */

/* What a command meets on its way; nothing of it is stored. */
struct trial {
    enum fault_kind kind; /* FAULT_KINDS: nothing happens */
    uint32_t value;
    bool lost; /* there is no answer */
};

static const char *
lost_because(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_RESET:
        return "the chip reset itself in the middle of the command (fault on purpose)";
    case FAULT_POWER_BEFORE:
    case FAULT_POWER_DURING:
    case FAULT_POWER_AFTER:
        return "the chip lost power in the middle of the command (fault on purpose)";
    default:
        return "the connection is cut (fault on purpose)";
    }
}

static void
flip(uint8_t *bytes, size_t len, uint32_t value)
{
    if (len > 0)
        bytes[value / 8 % len] ^= (uint8_t)(1u << value % 8);
}

/* Faults after which the command runs not at all, or differently. False: it does not run. */
static bool
before_run(struct sim *sim, struct backend_session *s, struct trial *t, struct wr *out)
{
    switch (t->kind) {
    case FAULT_RESET:
        reset_all(sim);
        t->lost = true;
        return false;
    case FAULT_POWER_BEFORE:
        power_cycle(sim);
        t->lost = true;
        return false;
    case FAULT_DROP:
        t->lost = true;
        return false;
    case FAULT_STATUS:
        wr_u16(out, (uint16_t)t->value);
        return false;
    case FAULT_POWER_DURING:
        sim->cut = (struct nvm_cut){ .armed = true, .byte = t->value };
        return true;
    case FAULT_FLIP_COMMAND:
        flip(s->command, s->command_len, t->value);
        return true;
    default:
        return true;
    }
}

/* Faults of what the chip has answered. */
static void
after_run(struct sim *sim, struct backend_session *s, struct trial *t, struct wr *out)
{
    enum { MAC_LEN = 8, SW_LEN = 2 };
    size_t len = wr_len(out);

    switch (t->kind) {
    case FAULT_POWER_DURING:
    case FAULT_POWER_AFTER:
        power_cycle(sim);
        t->lost = true;
        return;
    case FAULT_FLIP:
        flip(out->start, len, t->value);
        return;
    case FAULT_TRUNCATE:
        *out = wr_of(out->start, APDU_RSP_MAX);
        out->pos += t->value % len; /* always less than there was */
        return;
    case FAULT_BAD_RMAC:
        if (s->command_len > 0 && s->command[0] == 0x84 && len >= MAC_LEN + SW_LEN)
            flip(&out->start[len - MAC_LEN - SW_LEN], MAC_LEN, t->value);
        return;
    default:
        return;
    }
}

/* Writes that the memory can still take end with the profile's endurance. */
static void
wear(struct sim *sim)
{
    if (sim->options != NULL)
        sim->cut.worn = chip_stats(sim->chip).nvm_writes >= sim->options->profile.endurance;
}

/* Returns microseconds that the chip took. */
static uint64_t
run(struct sim *sim, struct backend_session *s, struct trial *t, struct wr *out)
{
    struct span command = span_of(s->command, s->command_len);
    const char *name = decode_command(command).name;
    struct chip_stats before = chip_stats(sim->chip);
    struct chip_stats after = before;

    wear(sim);
    if (before_run(sim, s, t, out)) {
        out->pos += chip_session_apdu(session_of(s)->chip, command, out->start);
        after = chip_stats(sim->chip);
        after_run(sim, s, t, out);
    }
    if (sim->options == NULL)
        return 0;
    return profile_command(&sim->options->profile, &sim->pace, name,
               after.signatures - before.signatures, after.nvm_writes - before.nvm_writes) +
           (t->kind == FAULT_DELAY ? t->value * UINT64_C(1000) : 0);
}

/* ---- time ---- */

uint64_t
backend_sim_spend(struct backend *b, uint64_t us)
{
    struct sim *sim = sim_of(b);
    uint64_t ms;

    sim->worked_us += us;
    if (sim->options->profile.is_virtual)
        return 0;
    sim->owed_us += us;
    ms = sim->owed_us / 1000;
    sim->owed_us %= 1000;
    return ms;
}

static void
on_time(void *arg)
{
    struct sim *sim = arg;
    struct backend_answer answer = sim->answer;
    uint8_t response[APDU_RSP_MAX];

    sim->timer = NULL;
    if (answer.bytes.ptr == sim->response) { /* finishing begins the next command */
        memcpy(response, sim->response, sizeof response);
        bm_wipe(sim->response, sizeof sim->response);
        answer.bytes.ptr = response;
    }
    backend_finish(&sim->base, &answer);
    bm_wipe(response, sizeof response);
}

static void
finish_after(struct sim *sim, uint64_t us)
{
    uint64_t ms = us == 0 ? 0 : backend_sim_spend(&sim->base, us);

    sim->answer.took_us = (int64_t)us;
    if (ms > 0)
        sim->timer = loop_after(sim->base.loop, (int64_t)ms, on_time, sim);
    if (sim->timer == NULL) /* no time to pass, or no memory for it */
        on_time(sim);
}

static void
start(struct backend *b, struct backend_session *s)
{
    struct sim *sim = sim_of(b);
    struct wr out = wr_of(sim->response, sizeof sim->response);
    struct trial t = { .kind = FAULT_KINDS };
    uint64_t us = 0;

    sim->answer = (struct backend_answer){ 0 };
    if (session_of(s)->chip == NULL) {
        sim->answer = (struct backend_answer){ .err = BM_ERR_IO,
            .cause = "the chip did not come back after a power cut; see the log of a71chd" };
    } else if (s->request == BACKEND_RESET) {
        chip_session_reset(session_of(s)->chip);
        sim->answer.bytes = SPAN(sim->atr);
        if (sim->options != NULL)
            us = profile_reset(&sim->options->profile, &sim->pace);
    } else {
        struct fault *f = NULL;

        if (sim->options != NULL)
            f = faults_at(
                &sim->options->faults, FAULT_EXCHANGE, s->command_len > 1 ? s->command[1] : 0);
        if (f != NULL) {
            t.kind = f->kind;
            t.value = fault_value(f);
            sim->answer.fault = f->text;
        }
        if (t.kind == FAULT_HANG) {
            backend_hang(b, sim->answer.fault);
            return;
        }
        us = run(sim, s, &t, &out);
        sim->answer.bytes = span_of(sim->response, wr_len(&out));
        if (t.lost) {
            sim->answer.bytes.len = 0;
            sim->answer.err = t.kind == FAULT_DROP ? BM_ERR_CLOSED : BM_ERR_IO;
            sim->answer.cause = lost_because(t.kind);
        }
    }
    finish_after(sim, us);
}

/* ---- the rest ---- */

static struct span
atr(const struct backend *b)
{
    return SPAN(((const struct sim *)(const void *)b)->atr);
}

static void
stats(struct backend *b, struct buf *out)
{
    struct sim *sim = sim_of(b);
    struct chip_stats s = { 0 };

    if (sim->chip != NULL)
        s = chip_stats(sim->chip);
    buf_addf(out,
        "{\"commands\":%llu,\"signatures\":%llu,\"ecdh\":%llu,\"generated\":%llu,"
        "\"nvm_writes\":%llu",
        (unsigned long long)s.commands, (unsigned long long)s.signatures,
        (unsigned long long)s.ecdh, (unsigned long long)s.generated,
        (unsigned long long)s.nvm_writes);
    if (sim->options != NULL && sim->options->profile.given)
        buf_addf(out, ",\"worked_us\":%llu", (unsigned long long)sim->worked_us);
    buf_add(out, "}", 1);
}

static void
save(struct backend *b)
{
    struct sim *sim = sim_of(b);

    if (sim->chip == NULL)
        return;
    sim->cut.worn = false; /* the counts are not the chip's */
    if (chip_save(sim->chip) != BM_OK)
        log_error("cannot write the chip's counts; is the disk full?");
}

static void
sim_free(struct backend *b)
{
    struct sim *sim = sim_of(b);

    if (sim->timer != NULL)
        loop_cancel(b->loop, sim->timer);
    sim->cut.worn = false;
    chip_close(sim->chip);
    free(sim->dir);
    bm_wipe(sim, sizeof *sim);
    free(sim);
}

static const struct backend_ops sim_ops = { session_new, session_free, start, atr, stats, save,
    sim_free };

static struct sim *
sim_new(struct loop *loop, struct sim_options *o)
{
    struct sim *sim = calloc(1, sizeof *sim);

    if (sim != NULL) {
        sim->base = (struct backend){ .ops = &sim_ops, .loop = loop };
        sim->options = o;
    }
    return sim;
}

enum bm_err
backend_sim_of(struct loop *loop, struct chip *chip, struct sim_options *o, struct backend **out)
{
    struct sim *sim = sim_new(loop, o);

    *out = NULL;
    if (sim == NULL) {
        chip_close(chip);
        return BM_ERR_MEM;
    }
    sim->chip = chip;
    if (o != NULL)
        chip_set_quirks(chip, &o->quirks);
    chip_atr(chip, sim->atr);
    *out = &sim->base;
    return BM_OK;
}

enum bm_err
backend_sim_new(struct loop *loop, const char *dir, struct sim_options *o, struct backend **out,
    struct bm_msg *msg)
{
    struct sim *sim = sim_new(loop, o);
    enum bm_err err;

    *out = NULL;
    if (sim == NULL || (sim->dir = strdup(dir)) == NULL) {
        free(sim);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    err = power_on(sim, o->lib, msg);
    if (err != BM_OK) {
        sim_free(&sim->base);
        return err;
    }
    chip_atr(sim->chip, sim->atr);
    if (o->named)
        sim->base.name = strrchr(sim->dir, '/') != NULL ? strrchr(sim->dir, '/') + 1 : sim->dir;
    *out = &sim->base;
    return BM_OK;
}

struct chip *
backend_sim_chip(struct backend *b)
{
    return b->ops == &sim_ops ? sim_of(b)->chip : NULL;
}

struct sim_options *
backend_sim_options(struct backend *b)
{
    return b->ops == &sim_ops ? sim_of(b)->options : NULL;
}
