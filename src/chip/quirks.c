/* SPDX-License-Identifier: Apache-2.0 */
/* See quirks.h: the table. */
#include "chip/quirks.h"

#include "base/bytes.h"
#include "wire/apdu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct quirk_row rows[QUIRK_COUNT] = {
    [QUIRK_MALFORMED] = { "malformed", QUIRK_ERROR, SW_WRONG_LENGTH, 0,
        "not an APDU: shorter than 4 bytes, Lc that does not fit, extended form" },
    [QUIRK_NOT_SELECTED] = { "not-selected", QUIRK_ERROR, SW_CONDITIONS, 0,
        "a command before the applet is selected; NXP's hosts always select" },
    [QUIRK_SELECT_EMPTY] = { "select-empty", QUIRK_ERROR, SW_NOT_FOUND, 0,
        "SELECT without AID, as the 2022 middleware sends first; a selected applet stays "
        "selected" },
    [QUIRK_BAD_INDEX] = { "bad-index", QUIRK_ERROR, SW_WRONG_P1P2, 0,
        "index out of range: the header's text fits; 6985 is the other guess" },
    [QUIRK_BAD_LENGTH] = { "bad-length", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "data of a length the command does not take: known for GET GP only" },
    [QUIRK_BAD_KEY] = { "bad-key", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "a point that is not on P-256, a private key that is 0 or not below the group order" },
    [QUIRK_GP_RANGE] = { "gp-range", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "GP read or write past the end of the store" },
    [QUIRK_NO_WRAP_KEY] = { "no-wrap-key", QUIRK_ERROR, SW_CONDITIONS, 0,
        "wrapped injection while the wrapping key's slot is empty: as using any empty slot" },
    [QUIRK_ERASE_EMPTY] = { "erase-empty", QUIRK_STATUS, SW_OK, 0,
        "erasing what is empty already" },
    [QUIRK_BAD_WRAP] = { "bad-wrap", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "RFC 3394 integrity check failed" },
    [QUIRK_BAD_CODE] = { "bad-code", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "a code that does not answer the challenge" },
    [QUIRK_NO_CHALLENGE] = { "no-challenge", QUIRK_ERROR, SW_CONDITIONS, 0,
        "a code without a challenge of its kind before it" },
    [QUIRK_NO_CODE_KEY] = { "no-code-key", QUIRK_ERROR, SW_CONDITIONS, 0,
        "a code, or the transport lock, while its config key is empty" },
    [QUIRK_FREEZE_NO_CODE] = { "freeze-no-code", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "freeze without code after the inject lock: known for erase only" },
    [QUIRK_FREEZE_EMPTY] = { "freeze-empty", QUIRK_ERROR, SW_CONDITIONS, 0,
        "freezing an empty slot: as using any empty slot" },
    [QUIRK_CONFIG_PLAIN_LOCKED] = { "config-plain-locked", QUIRK_ERROR, SW_NOT_ALLOWED, 0,
        "config key in the clear after the inject lock; NXP's suite sends it wrapped then" },
    [QUIRK_INJECT_AGAIN] = { "inject-again", QUIRK_ERROR, SW_NOT_ALLOWED, 0,
        "setting the inject lock when it is set" },
    [QUIRK_TRANSPORT_LOCKED] = { "transport-locked", QUIRK_ERROR, SW_CONDITIONS, 0,
        "anything but the few commands that open it, while the transport lock is set" },
    [QUIRK_TRANSPORT_SPENT] = { "transport-spent", QUIRK_ERROR, SW_NOT_ALLOWED, 0,
        "transport lock of a module that had it before" },
    [QUIRK_NOT_LOCKED] = { "not-locked", QUIRK_ERROR, SW_CONDITIONS, 0,
        "unlocking what is not locked" },
    [QUIRK_NO_DEBUG] = { "no-debug", QUIRK_ERROR, SW_INS_UNKNOWN, 0,
        "debug commands after debug mode was switched off: as if they were not there" },
    [QUIRK_COUNTER_DOWN] = { "counter-down", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "a counter to a lower value, or to the one it has" },
    [QUIRK_COUNTER_FULL] = { "counter-full", QUIRK_ERROR, SW_CONDITIONS, 0,
        "one more than FFFFFFFF; the counter stays" },
    [QUIRK_NOT_ARMED] = { "not-armed", QUIRK_ERROR, SW_CONDITIONS, 0,
        "master secret when the command before it was not the ClientHello random" },
    [QUIRK_USED_UP] = { "used-up", QUIRK_ERROR, SW_CONDITIONS, 0,
        "a restricted key pair that was used as often as it may be" },
    [QUIRK_NO_HASH] = { "no-hash", QUIRK_ERROR, SW_CONDITIONS, 0,
        "SHA-256 or HMAC update or final without init, or HMAC with other keys than at init" },
    [QUIRK_NO_CHANNEL] = { "no-channel", QUIRK_ERROR, SW_SECURITY_STATUS, 0,
        "class 84 without a channel that is up; 6882 is the other guess" },
    [QUIRK_BAD_MAC] = { "bad-mac", QUIRK_ERROR, SW_SECURITY_STATUS, 0,
        "a wrong C-MAC, host cryptogram, or padding under a right MAC; the channel is over" },
    [QUIRK_CLEAR] = { "clear", QUIRK_ERROR, SW_SECURITY_STATUS, 0,
        "a command in the clear while SCP03 is mandatory" },
    [QUIRK_NO_SCP_KEYS] = { "no-scp-keys", QUIRK_ERROR, SW_NO_REFERENCE, 0,
        "INITIALIZE UPDATE before PUT KEY" },
    [QUIRK_SCP_KEYS_AGAIN] = { "scp-keys-again", QUIRK_ERROR, SW_CONDITIONS, 0,
        "PUT KEY when there are keys" },
    [QUIRK_BAD_KEY_BLOCK] = { "bad-key-block", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "PUT KEY with a wrong key check value, key type or length byte" },
    [QUIRK_LONG_IN_CHANNEL] = { "long-in-channel", QUIRK_ERROR, SW_WRONG_DATA, 0,
        "an answer of more than 239 bytes inside the channel: known for random only" },
    [QUIRK_MAC_ON_ERROR] = { "mac-on-error", QUIRK_NUMBER, 0, 1,
        "refusals inside the channel are bare (0, GlobalPlatform's rule) or have an R-MAC (1); "
        "NXP's host takes both" },
    [QUIRK_CHALLENGE_LASTS] = { "challenge-lasts", QUIRK_NUMBER, 1, 1,
        "a challenge outlives other commands (1), or is for the very next command (0)" },
    [QUIRK_PAIR_CHECK] = { "pair-check", QUIRK_NUMBER, 0, 1,
        "injection refuses a public key that is not the private key's (1); hosts send both" },
    [QUIRK_RESET_LABEL] = { "reset-label", QUIRK_NUMBER, 1, 1,
        "debug reset brings back the default TLS label (1), or leaves it (0)" },
    [QUIRK_SIGNATURE_FORM] = { "signature-form", QUIRK_NUMBER, 0, 2,
        "0: minimal DER; 1: integers of fixed width, as the real chip writes them; 2: and zero "
        "bytes behind, up to 72" },
    [QUIRK_FREE_EEPROM] = { "free-eeprom", QUIRK_NUMBER, 32767, 32767,
        "free EEPROM in bytes (91 P1 00 P2 02): a signed 16-bit figure at its end, meaning "
        "plenty" },
    [QUIRK_FREE_TRANSIENT] = { "free-transient", QUIRK_NUMBER, 1024, 32767,
        "free transient memory in bytes (91 P1 01 P2 02): of the order of such a chip's RAM" },
    [QUIRK_I2C_WAKE_UP] = { "i2c-wake-up", QUIRK_NUMBER, 0, 1,
        "I2C: the wake-up byte is acknowledged (1) or not (0): NACK is normal, says the vendor" },
    [QUIRK_I2C_RESET_REPLY] = { "i2c-reset-reply", QUIRK_NUMBER, 0x1f, 255,
        "I2C: control byte of the answer to a soft reset; hosts take any that is no exception" },
    [QUIRK_I2C_PARAMETERS] = { "i2c-parameters", QUIRK_NUMBER, 0, 3,
        "I2C: bits 3 and 2 of the answer to the parameter exchange: 33, 27, 1B or 0F for code 0" },
    [QUIRK_I2C_FRAME_DATA] = { "i2c-frame-data", QUIRK_NUMBER, 0, 1,
        "I2C: 31 (63, 127, 254) bytes are the whole frame (0), or its data alone (1)" },
};

struct quirks
quirks_default(void)
{
    struct quirks all;

    for (size_t i = 0; i < QUIRK_COUNT; i++)
        all.value[i] = rows[i].value;
    return all;
}

const struct quirk_row *
quirk_row(enum quirk q)
{
    return &rows[q];
}

void
quirk_text(char out[8], enum quirk q, uint16_t value)
{
    (void)snprintf(out, 8, rows[q].kind == QUIRK_NUMBER ? "%u" : "%04x", value);
}

static enum bm_err
set_value(uint16_t *out, const struct quirk_row *row, const char *text, struct bm_msg *msg)
{
    uint8_t sw[2];
    char *end;
    unsigned long number;

    if (row->kind == QUIRK_NUMBER) {
        number = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || *end != '\0' || number > row->max)
            return bm_fail(msg, BM_ERR_INPUT, "quirk %s wants a number from 0 to %u, not '%s'",
                row->name, row->max, text);
        *out = (uint16_t)number;
        return BM_OK;
    }
    /* an error that says 9000 would let the command go on with what it has just refused */
    if (hex_decode(sw, sizeof sw, span_str(text)) != BM_OK ||
        ((sw[0] & 0xf0) != 0x60 &&
            (row->kind == QUIRK_ERROR || sw[0] != SW_OK >> 8 || sw[1] != (SW_OK & 0xff))))
        return bm_fail(msg, BM_ERR_INPUT,
            "quirk %s wants a status word of 4 hex digits, 6xxx%s, not '%s'", row->name,
            row->kind == QUIRK_STATUS ? " or 9000" : "", text);
    *out = (uint16_t)(sw[0] << 8 | sw[1]);
    return BM_OK;
}

enum bm_err
quirks_set(struct quirks *all, const char *text, struct bm_msg *msg)
{
    size_t len = strcspn(text, "=");

    for (size_t i = 0; i < QUIRK_COUNT && text[len] == '='; i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, text, len) == 0)
            return set_value(&all->value[i], &rows[i], &text[len + 1], msg);
    }
    return bm_fail(msg, BM_ERR_INPUT,
        "'%s' is no quirk; write NAME=VALUE with a name that a71chd --quirks lists", text);
}
