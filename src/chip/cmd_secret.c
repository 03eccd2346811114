/* SPDX-License-Identifier: Apache-2.0 */
/* Config and symmetric keys, SPEC a71ch 2.5: set plain or wrapped, erase, never read. */
#include "chip/cmd.h"

#include <string.h>

/* Plain, or wrapped under what the slot holds now. */
static uint16_t
set_key(struct chip *c, size_t at, const struct apdu *cmd, uint16_t plain_when_locked)
{
    enum { PLAIN = 1, WRAPPED = 2, WRAPPED_LEN = 24 };
    uint8_t slot[1 + CHIP_KEY_LEN] = { SLOT_SET };
    bool replaces = chip_byte(c, at) != SLOT_EMPTY;
    uint16_t sw;

    if (cmd->p2 != PLAIN && cmd->p2 != WRAPPED)
        return SW_WRONG_P1P2;
    if (cmd->data.len != (cmd->p2 == PLAIN ? (size_t)CHIP_KEY_LEN : WRAPPED_LEN))
        return quirk(c, QUIRK_BAD_LENGTH);
    if (cmd->p2 == WRAPPED) {
        sw = slot_unwrap(c, at, cmd->data, &slot[1]);
    } else {
        memcpy(&slot[1], cmd->data.ptr, CHIP_KEY_LEN);
        sw = lock_inject(c) ? plain_when_locked : SW_OK;
    }
    if (sw == SW_OK)
        sw = sw_of_write(chip_commit(
            c, &(struct nvm_change){ at, SPAN(slot) }, 1, replaces ? NVM_SCRUB : NVM_APPEND));
    bm_wipe(slot, sizeof slot);
    return sw;
}

/* 32 */
uint16_t
run_config_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_CONFIG_KEYS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    return set_key(s->chip, config_at(cmd->p1), cmd, quirk(s->chip, QUIRK_CONFIG_PLAIN_LOCKED));
}

/* 42 */
uint16_t
run_sym_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_SYM_KEYS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    return set_key(s->chip, sym_at(cmd->p1), cmd, SW_NOT_ALLOWED);
}

/* 44: no code opens it again once the inject lock is on. */
uint16_t
run_sym_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_SYM_KEYS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (lock_inject(s->chip))
        return SW_NOT_ALLOWED;
    return slot_erase(s->chip, sym_at(cmd->p1), 1 + CHIP_KEY_LEN, NULL);
}
