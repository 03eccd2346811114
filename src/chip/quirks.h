/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every choice of this simulator that the specification marks UNCERTAIN, in one place: no public
 * document says what the real chip does here. NXP's clients tolerate each of them (SPEC a71ch 2.2,
 * 11.2). Whoever has a real chip and finds out otherwise changes a line here.
 */
#ifndef BM_CHIP_QUIRKS_H
#define BM_CHIP_QUIRKS_H

#include "wire/apdu.h"

enum {
    /* Not an APDU: shorter than 4 bytes, Lc that does not fit, extended form. */
    QUIRK_SW_MALFORMED = SW_WRONG_LENGTH,
    /* Any command but SELECT before the applet is selected; NXP's hosts always select. */
    QUIRK_SW_NOT_SELECTED = SW_CONDITIONS,
    /* SELECT without AID, as the 2022 middleware sends first; a selected applet stays selected. */
    QUIRK_SW_SELECT_EMPTY = SW_NOT_FOUND,
    /* Index out of range: 6985 is the other guess. */
    QUIRK_SW_BAD_INDEX = SW_WRONG_P1P2,
    /* Data of a length the command does not take. Known for GET GP only. */
    QUIRK_SW_BAD_LENGTH = SW_WRONG_DATA,
    /* A point that is not on P-256, a private key that is 0 or not below the group order. */
    QUIRK_SW_BAD_KEY = SW_WRONG_DATA,
    /* GP read or write past the end of the store. */
    QUIRK_SW_GP_RANGE = SW_WRONG_DATA,
    /* Wrapped set while the wrapping key's slot is empty, as using any empty slot. */
    QUIRK_SW_NO_WRAP_KEY = SW_CONDITIONS,
    /* Erasing what is empty already. */
    QUIRK_SW_ERASE_EMPTY = SW_OK,
    /* RFC 3394 integrity check failed. */
    QUIRK_SW_BAD_WRAP = SW_WRONG_DATA,
    /* A code that does not answer the challenge. No limit on attempts is known, and none is here.
     */
    QUIRK_SW_BAD_CODE = SW_WRONG_DATA,
    /* A code without a challenge of its kind before it. */
    QUIRK_SW_NO_CHALLENGE = SW_CONDITIONS,
    /* A code, or the transport lock, while its config key is empty. */
    QUIRK_SW_NO_CODE_KEY = SW_CONDITIONS,
    /* Freeze without code after the inject lock; for erase it is known. */
    QUIRK_SW_FREEZE_NO_CODE = SW_WRONG_DATA,
    /* Freezing an empty slot, as using any empty slot. */
    QUIRK_SW_FREEZE_EMPTY = SW_CONDITIONS,
    /* Config key in the clear after the inject lock; NXP's suite sends it wrapped then. */
    QUIRK_SW_CONFIG_PLAIN_LOCKED = SW_NOT_ALLOWED,
    /* Setting the inject lock when it is set. */
    QUIRK_SW_INJECT_AGAIN = SW_NOT_ALLOWED,
    /* Anything but the few commands that open it, while the transport lock is set. */
    QUIRK_SW_TRANSPORT_LOCKED = SW_CONDITIONS,
    /* Transport lock of a module that had it before. */
    QUIRK_SW_TRANSPORT_SPENT = SW_NOT_ALLOWED,
    /* Unlocking what is not locked. */
    QUIRK_SW_NOT_LOCKED = SW_CONDITIONS,
    /* Debug commands after debug mode was switched off: as if they were not there. */
    QUIRK_SW_NO_DEBUG = SW_INS_UNKNOWN,
    /* A counter to a lower value, or to the one it has. */
    QUIRK_SW_COUNTER_DOWN = SW_WRONG_DATA,
    /* One more than FFFFFFFF: the counter stays. */
    QUIRK_SW_COUNTER_FULL = SW_CONDITIONS,
    /* Master secret when the command before it was not the ClientHello random. */
    QUIRK_SW_NOT_ARMED = SW_CONDITIONS,
    /* A restricted key pair that was used as often as it may be. */
    QUIRK_SW_USED_UP = SW_CONDITIONS,
    /* SHA-256 or HMAC update or final without init, or HMAC with other keys than at init. */
    QUIRK_SW_NO_HASH = SW_CONDITIONS,
    /* The NVM cannot be written; name and value of ISO/IEC 7816-4 table 6, not in NXP's list. */
    QUIRK_SW_MEMORY_FAILURE = 0x6581,
    /* The simulator itself failed (libcrypto or memory); ISO/IEC 7816-4 "no precise diagnosis". */
    QUIRK_SW_INTERNAL = 0x6f00,
};

/*
 * More choices, without a number:
 * - Le is not looked at: NXP's hosts always send 00, and leaving it out is known to work.
 * - Plain injection does not compare public with private key; reading back gives what was sent.
 * - A signature to verify must be strict DER (minimal integers, nothing behind); anything else is
 *   result 02. Signatures of this chip are minimal DER and not padded.
 * - An external verify key must be an uncompressed point on P-256, otherwise QUIRK_SW_BAD_KEY.
 * - Debug reset leaves the applet selected, and the unique id and the simulator's counts as they
 *   are.
 * - SHA-256 and HMAC contexts, challenges and the ClientHello random belong to the client that
 * asked for them; a debug reset ends those of the client that sends it.
 * - A challenge lives until a code for it came, right or wrong, or a new one of its kind; other
 *   commands leave it. There is one of each kind.
 * - A code is checked whenever one is sent, also when the inject lock does not ask for it.
 * - A refused master secret command disarms too.
 * - Freezing GP segments that are frozen already is 9000; freezing a frozen key is 6986.
 * - A four-slot secret may start at any index that leaves room for it.
 * - The transport lock refuses debug reset too; while it is off, reset brings back state 3.
 * - Debug reset brings back the default TLS label.
 * - What the restricted key pair hashes and where its signature goes: see restricted.c. It may be
 *   used for ECDH; debug reset erases it and opens its area, but index, blocks and count stay.
 * - Free memory (91 with P2 02) answers 6A86: no figure of this simulator would say what NXP's
 * does.
 */

#endif
