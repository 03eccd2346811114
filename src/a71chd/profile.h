/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a simulated chip takes and how long it lasts: a small text file. Pure: it computes, the
 * backend counts or sleeps.
 *
 * A line is a word and its values; # begins a comment. Times are in milliseconds with up to three
 * decimals. What is not named takes no time.
 *
 *     clock real | virtual     sleep (default), or only count
 *     i2c-clock-khz N          speed of the I2C bus, 9 bits a byte
 *     command NAME MS          a command of this name (a71chd(1), TRACE); `command *` all others
 *     reset MS                 a reset
 *     nvm-write MS             each write to the memory, more
 *     jitter PERCENT [SEED]    every time varies so much both ways
 *     throttle AFTER MS        after so many signatures since power-on each takes so much more
 *     nvm-endurance N          writes that the memory lasts; every later one fails
 *     quirk NAME=VALUE         as --quirk
 *     fault RULE               as --fault
 */
#ifndef BM_A71CHD_PROFILE_H
#define BM_A71CHD_PROFILE_H

#include "a71chd/dice.h"
#include "a71chd/fault.h"
#include "chip/quirks.h"

enum { PROFILE_COMMANDS_MAX = 64, PROFILE_NAME_LEN = 24, PROFILE_FILE_MAX = 64 * 1024 };

struct profile {
    bool given;
    bool is_virtual;
    uint32_t i2c_khz; /* 0: the bus takes no time */
    struct {
        char name[PROFILE_NAME_LEN];
        uint32_t us;
    } commands[PROFILE_COMMANDS_MAX];
    size_t command_count;
    uint32_t other_us;
    uint32_t reset_us;
    uint32_t write_us;
    uint32_t jitter_percent;
    uint64_t seed;
    uint64_t throttle_after; /* UINT64_MAX: never */
    uint32_t throttle_us;
    uint64_t endurance; /* UINT64_MAX: for ever */
};

struct profile profile_none(void);

/*
 * Read a file's text; quirks and faults in it go where they belong. BM_ERR_INPUT: the message names
 * the line; the three are then half changed.
 */
enum bm_err profile_parse(struct span text, struct profile *out, struct quirks *quirks,
    struct faults *faults, struct bm_msg *msg);

/* What the chip has done since power-on, as far as its times depend on it. */
struct pace {
    struct dice dice;
    uint64_t signatures;
};

/* Microseconds of a command called `name`, which wrote the memory `writes` times. */
uint64_t profile_command(const struct profile *p, struct pace *pace, const char *name,
    uint64_t signatures, uint64_t writes);
uint64_t profile_reset(const struct profile *p, struct pace *pace);
/* Of so many bytes on the I2C bus, address bytes included. */
uint64_t profile_bus(const struct profile *p, size_t bytes);

#endif
