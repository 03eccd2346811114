/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated A71CH: command APDU in, response APDU out, state on disk.
 *
 * A chip is a folder. Its NVM is there before or after a command, never between: a mutating command is durable
 * before its status word is returned, whatever kills the process (SPEC design 6). Volatile state (SELECT, contexts)
 * lives in the handle and goes with chip_reset. The chip knows no transport and no clock. One process opens a folder at a time
 * (lock file); one thread uses a handle at a time. Several chips in one process are fine.
 *
 * Not yet here: symmetric and config keys, counters other than read, HKDF/HMAC/PSK, SCP03, freezing, locks. Those commands answer
 * 6D00 as an applet without them would, and the credential map says "empty".
 */
#ifndef BM_CHIP_CHIP_H
#define BM_CHIP_CHIP_H

#include "wire/apdu.h"

struct chip;

enum { CHIP_ATR_LEN = 29 };

/* Counts since the chip was made, kept with its state. */
struct chip_stats {
    uint64_t commands;
    uint64_t signatures; /* successful INS 15 */
    uint64_t ecdh;
    uint64_t generated;
    uint64_t nvm_writes;
};

/*
 * Open the chip in `dir`; a missing or empty folder becomes a fresh chip with a random unique id.
 * BM_ERR_CONFLICT: another process has it. BM_ERR_INPUT: the state is damaged or of an unknown version (message says
 * which file and what to do). BM_ERR_IO: the system refused. *out is NULL after an error.
 */
enum bm_err chip_open(const char *dir, struct chip **out, struct bm_msg *msg);
void chip_close(struct chip *c); /* takes NULL */

/* Power cycle: volatile state is lost, the applet must be selected again. */
void chip_reset(struct chip *c);

/* The answer to reset, SPEC a71ch 1.2. */
void chip_atr(const struct chip *c, uint8_t out[CHIP_ATR_LEN]);

/*
 * Run one command. Always answers: `rsp` gets 2..258 bytes, the return value is their count. Malformed commands
 * answer a status word, as a chip would.
 */
size_t chip_apdu(struct chip *c, struct span cmd, uint8_t rsp[APDU_RSP_MAX]);

struct chip_stats chip_stats(const struct chip *c);

#endif
