/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every choice of this simulator that the specification marks UNCERTAIN, in one table (quirks.c):
 * name, default, and why. No public document says what the real chip does there; NXP's clients
 * tolerate each default (SPEC a71ch 2.2, 11.2). A chip carries its own values, so a test can try a
 * host against the other guess; whoever has a real chip and finds out changes a line of the table.
 */
#ifndef BM_CHIP_QUIRKS_H
#define BM_CHIP_QUIRKS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum quirk {
    QUIRK_MALFORMED,
    QUIRK_NOT_SELECTED,
    QUIRK_SELECT_EMPTY,
    QUIRK_BAD_INDEX,
    QUIRK_BAD_LENGTH,
    QUIRK_BAD_KEY,
    QUIRK_GP_RANGE,
    QUIRK_NO_WRAP_KEY,
    QUIRK_ERASE_EMPTY,
    QUIRK_BAD_WRAP,
    QUIRK_BAD_CODE,
    QUIRK_NO_CHALLENGE,
    QUIRK_NO_CODE_KEY,
    QUIRK_FREEZE_NO_CODE,
    QUIRK_FREEZE_EMPTY,
    QUIRK_CONFIG_PLAIN_LOCKED,
    QUIRK_INJECT_AGAIN,
    QUIRK_TRANSPORT_LOCKED,
    QUIRK_TRANSPORT_SPENT,
    QUIRK_NOT_LOCKED,
    QUIRK_NO_DEBUG,
    QUIRK_COUNTER_DOWN,
    QUIRK_COUNTER_FULL,
    QUIRK_NOT_ARMED,
    QUIRK_USED_UP,
    QUIRK_NO_HASH,
    QUIRK_NO_CHANNEL,
    QUIRK_BAD_MAC,
    QUIRK_CLEAR,
    QUIRK_NO_SCP_KEYS,
    QUIRK_SCP_KEYS_AGAIN,
    QUIRK_BAD_KEY_BLOCK,
    QUIRK_LONG_IN_CHANNEL,
    QUIRK_MAC_ON_ERROR,
    QUIRK_CHALLENGE_LASTS,
    QUIRK_PAIR_CHECK,
    QUIRK_RESET_LABEL,
    QUIRK_SIGNATURE_FORM,
    QUIRK_FREE_EEPROM,
    QUIRK_FREE_TRANSIENT,
    QUIRK_I2C_WAKE_UP, /* these are the link's: bus/slave.h */
    QUIRK_I2C_RESET_REPLY,
    QUIRK_I2C_PARAMETERS,
    QUIRK_I2C_FRAME_DATA,
    QUIRK_COUNT,
};

enum quirk_kind {
    QUIRK_ERROR,  /* a status word that is an error: 6xxx */
    QUIRK_STATUS, /* the same, or 9000 */
    QUIRK_NUMBER, /* decimal, 0 to max */
};

struct quirk_row {
    const char *name;
    enum quirk_kind kind;
    uint16_t value; /* default */
    uint16_t max;   /* of a number */
    const char *why;
};

/* The values of one chip. */
struct quirks {
    uint16_t value[QUIRK_COUNT];
};

struct quirks quirks_default(void);

/* One row of the table; static storage. */
const struct quirk_row *quirk_row(enum quirk q);

/* A value as the table writes it: "6a86", "1"; `out` holds 8 bytes. */
void quirk_text(char out[8], enum quirk q, uint16_t value);

/* Take one "NAME=VALUE". BM_ERR_INPUT: unknown name, or a value of the wrong kind; nothing changes.
 */
enum bm_err quirks_set(struct quirks *all, const char *text, struct bm_msg *msg);

/*
 * More choices, without a value:
 * - Le is not looked at: NXP's hosts always send 00, and leaving it out is known to work.
 * - A signature to verify must be strict DER (minimal integers, nothing behind); anything else is
 *   result 02.
 * - An external verify key must be an uncompressed point on P-256, otherwise bad-key.
 * - Debug reset leaves the applet selected, and the unique id and the simulator's counts as they
 *   are.
 * - SHA-256 and HMAC contexts, challenges and the ClientHello random belong to the client that
 *   asked for them; a debug reset ends those of the client that sends it.
 * - There is one challenge of each kind; a code for it, right or wrong, or a new one ends it.
 * - A code is checked whenever one is sent, also when the inject lock does not ask for it. No limit
 *   on attempts is known, and none is here.
 * - A refused master secret command disarms too.
 * - Freezing GP segments that are frozen already is 9000; freezing a frozen key is 6986.
 * - A four-slot secret may start at any index that leaves room for it.
 * - The transport lock refuses debug reset too; while it is off, reset brings back state 3.
 * - What the restricted key pair hashes and where its signature goes: see restricted.c. It may be
 *   used for ECDH; debug reset erases it and opens its area, but index, blocks and count stay.
 * - SCP03: the key version in INITIALIZE UPDATE is not compared: NXP's host always sends 21, also
 *   for keys it has put as 01. The answer has the version that was put, and as diversification data
 *   the ten bytes of the unique id that NXP puts in certificates.
 * - SCP03: a challenge lives until EXTERNAL AUTHENTICATE, right or wrong, INITIALIZE UPDATE or
 *   SELECT. INITIALIZE UPDATE ends a channel, also when it comes inside of it; so does debug reset,
 *   for all clients. Clear commands beside a channel leave it and its counter alone.
 * - SCP03: wrong MACs may be tried as often as one likes, each costs the channel. The inject lock
 *   does not keep PUT KEY out. The transport lock keeps INITIALIZE UPDATE out unless SCP03 is
 *   mandatory: then nothing else could open it again.
 * - Free memory is the same figure whatever is stored: nobody knows the real one.
 */

#endif
