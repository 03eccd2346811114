/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command APDU is, in words: for traces and for people. SPEC a71ch 2.3 to 2.7, 4.
 *
 * It reads whatever bytes came, also what no chip would take, and says which parts may hold a
 * secret: a key that is injected in the clear, or what is derived from one.
 */
#ifndef BM_WIRE_DECODE_H
#define BM_WIRE_DECODE_H

#include "wire/apdu.h"

struct decoded {
    const char *name; /* "pair-sign"; "unknown" when no row fits, "malformed" when it is no APDU */
    int slot;         /* index of the object, -1: none */
    int count;        /* consecutive symmetric keys from there on, -1: no such command */
    int offset;       /* in GP storage, -1: no such command */
    bool protected;   /* class 84: data and answer are ciphertext */
    bool command_secret;
    bool answer_secret;
};

struct decoded decode_command(struct span command);

/* Two or three words for a status word, SPEC a71ch 2.2; "unknown" for others. Static storage. */
const char *decode_status(uint16_t sw);

#endif
