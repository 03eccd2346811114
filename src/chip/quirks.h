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
    /* SHA-256 update or final without init. */
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
 * are.
 * - The SHA-256 context belongs to the client that opened it.
 */

#endif
