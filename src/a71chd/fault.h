/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on purpose, by rule and seed: what goes wrong, at which exchange or I2C transaction. Pure:
 * this file decides, backend_sim.c and i2c.c carry it out.
 *
 * A rule is KIND or KIND:KEY=VALUE,... with these keys:
 *
 *     ins=HH      only commands with this instruction (hex)
 *     nth=N       only the N-th that fits, counted from 1 since the rule was given; once
 *     p=0.01      each that fits with this probability
 *     count=N     at most so often
 *     seed=N      of its chance (default 1)
 *     value=N     what the kind wants a number for, see the table in fault.c
 *
 * Without nth and p it happens to each that fits. Of several rules the first that fits wins, and
 * all count on.
 */
#ifndef BM_A71CHD_FAULT_H
#define BM_A71CHD_FAULT_H

#include "a71chd/dice.h"
#include "base/bytes.h"

enum { FAULTS_MAX = 32, FAULT_TEXT_LEN = 96 };

/* What they do, and what their value is: table in fault.c. */
enum fault_kind {
    /* to one exchange with the chip, over any link */
    FAULT_HANG,
    FAULT_DROP,
    FAULT_RESET,
    FAULT_POWER_BEFORE,
    FAULT_POWER_DURING,
    FAULT_POWER_AFTER,
    FAULT_STATUS,
    FAULT_FLIP,
    FAULT_FLIP_COMMAND,
    FAULT_TRUNCATE,
    FAULT_BAD_RMAC,
    FAULT_DELAY,
    /* to one transaction at the chip's address on the I2C bus */
    FAULT_FRAME_NACK,
    FAULT_FRAME_FLIP,
    FAULT_FRAME_CUT,
    FAULT_FRAME_BUSY,
    FAULT_FRAME_HANG,
    FAULT_FRAME_RESET,
    FAULT_FRAME_EXCEPTION,
    FAULT_KINDS,
};

enum fault_point { FAULT_EXCHANGE, FAULT_FRAME };

struct fault {
    enum fault_kind kind;
    int ins;            /* -1: any */
    uint64_t nth;       /* 0: any */
    uint64_t threshold; /* of the upper 32 bits of a roll; UINT32_MAX + 1: always */
    uint64_t left;      /* how often it may still happen */
    bool has_value;
    uint32_t value;
    uint64_t seen;  /* that fitted */
    uint64_t fired; /* how often it happened */
    struct dice dice;
    char text[FAULT_TEXT_LEN]; /* the rule as it was given */
};

struct faults {
    struct fault rules[FAULTS_MAX];
    size_t count;
};

/* BM_ERR_INPUT: not a rule; BM_ERR_LIMIT: FAULTS_MAX are there. Nothing changes then. */
enum bm_err faults_add(struct faults *all, const char *text, struct bm_msg *msg);

/*
 * What happens to this exchange or transaction; NULL: nothing. `ins` is the instruction of the
 * command that it is about. Borrowed until the rules change.
 */
struct fault *faults_at(struct faults *all, enum fault_point point, uint8_t ins);

/* The rule's value, or any of chance when it has none. */
uint32_t fault_value(struct fault *f);

/* A line of help for each kind; NULL after the last. */
const char *fault_help(size_t i);

/* A JSON array of {"rule","seen","fired"}. */
void faults_list(const struct faults *all, struct buf *out);

#endif
