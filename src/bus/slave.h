/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's end of SCI2C as a state machine on bytes: no I/O, no clock, no chip. SPEC a71ch 5.
 *
 * The owner feeds it what happens on the bus at its address. When slave_pending gives a command,
 * the owner runs it and calls slave_answer; until then the slave says "busy". When
 * slave_take_reset is true, the master asked for a soft reset.
 *
 * Where SPEC 5 is silent we chose, and a real chip may differ (some of it by struct slave_choices):
 * - the wake-up byte is never acknowledged (SPEC 5.3: "NACK is normal"); the address always is;
 * - while busy every write is refused, status says busy, soft reset works;
 * - an exception drops the unfinished command and an unread answer, is told once, by the next
 *   status or data request (a valid frame before that takes it back), and the sequence number that
 *   is expected stays;
 * - a new command drops an answer that nobody fetched;
 * - a soft reset is a reset of the chip's session (the applet must be selected again), and sets
 *   sequence number 0 and frames of 31 bytes;
 * - a read without a request before it in the same transaction gives FF, as does reading on after a
 *   frame's end;
 * - status 8 and 9 have no cause here; slave_raise makes them.
 */
#ifndef BM_BUS_SLAVE_H
#define BM_BUS_SLAVE_H

#include "wire/apdu.h"
#include "wire/sci2c.h"

enum { SLAVE_ATR_MAX = 31 }; /* SPEC 1.2 */

enum slave_phase {
    SLAVE_IDLE,
    SLAVE_COLLECTING, /* frames with More came */
    SLAVE_RUNNING,    /* a whole command waits for slave_answer */
    SLAVE_ANSWERING,  /* the answer is being fetched */
};

/* On purpose, until a soft reset. */
enum slave_stuck {
    SLAVE_FREE,
    SLAVE_STAYS_BUSY,
    SLAVE_HANGS, /* acknowledges nothing */
};

/* Where SPEC 5 leaves a choice that hosts can see; all zero but for reset_reply: as above. */
struct slave_choices {
    bool wakes;          /* acknowledges the wake-up byte */
    bool data_counts;    /* the size of a frame is that of its data */
    uint8_t parameters;  /* 0..3: bits 3 and 2 of the answer to the parameter exchange */
    uint8_t reset_reply; /* control byte of the answer to a soft reset: 1F */
};

struct slave {
    struct slave_choices choices;
    enum slave_stuck stuck;
    enum slave_phase phase;
    enum sci2c_status status; /* an exception not yet told, or SCI2C_READY */
    bool reset;
    uint8_t sequence; /* expected next */
    uint8_t size_code;
    uint8_t atr[SLAVE_ATR_MAX];
    size_t atr_len;
    uint8_t command[APDU_CMD_MAX];
    size_t command_len;
    uint8_t answer[APDU_RSP_MAX];
    size_t answer_len;
    size_t answer_sent;
};

/* As after power-on; `choices` NULL: the defaults. BM_ERR_ARG: the ATR is longer than 31 bytes. */
enum bm_err slave_init(struct slave *s, struct span atr, const struct slave_choices *choices);

/* A write without a read after it; zero bytes is a mere address. False: a byte was refused. */
bool slave_write(struct slave *s, struct span bytes);

/* A write, a repeated start, a read: the frame to send back is appended to `out`. */
bool slave_request(struct slave *s, struct span bytes, struct wr *out);

/* The command to run, borrowed until slave_answer; empty when there is none. */
struct span slave_pending(const struct slave *s);

/* Ignored when nothing is pending. What is not 2..258 bytes becomes status F. */
void slave_answer(struct slave *s, struct span response);

/* Was there a soft reset since the last call? */
bool slave_take_reset(struct slave *s);

/* Make it report an exception, 8..F. */
void slave_raise(struct slave *s, enum sci2c_status status);

#endif
