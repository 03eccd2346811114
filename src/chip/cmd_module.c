/* SPDX-License-Identifier: Apache-2.0 */
/* The module: its states, locks, debug commands and random, SPEC a71ch 1.6, 1.7 and 2.7. */
#include "chip/cmd.h"

#include <openssl/rand.h>

enum {
    RESTRICTED_NONE = 0xf, /* SPEC 1.7: no restricted key pair */
    INJECT_LOCKED = 1,
    INJECT_UNLOCKED = 2,
    MAP_EMPTY = 0xa5, /* credential map: empty and open */
    MAP_SET = 0x55,
    MAP_FROZEN = 0x5f,
};

static unsigned
transport_code(const struct chip *c)
{
    switch (lock_transport(c)) {
    case TRANSPORT_LOCKED:
        return 1;
    case TRANSPORT_UNLOCKED:
        return 2;
    case TRANSPORT_NEVER_LOCKED:
        return 3;
    }
    return 3;
}

/* SPEC 1.6 */
static unsigned
scp_code(const struct chip *c)
{
    switch (scp_state(c)) {
    case SCP_MANDATORY:
        return 1;
    case SCP_NO_KEYS:
        return 2;
    case SCP_KEYS_SET:
        return 3;
    }
    return 2;
}

/* SPEC 1.7 */
static void
put_info(const struct chip *c, struct wr *out)
{
    struct chip_restricted r;
    unsigned restricted = restricted_get(c, &r) ? r.index : RESTRICTED_NONE;

    wr_u16(out, chip_version(c));
    wr_u8(out, (uint8_t)(restricted << 4 | transport_code(c)));
    wr_u8(out, (uint8_t)(scp_code(c) << 4 | (lock_inject(c) ? INJECT_LOCKED : INJECT_UNLOCKED)));
    wr_u16(out, CHIP_GP_LEN);
}

static uint8_t
map_byte(const struct chip *c, size_t at)
{
    switch (chip_byte(c, at)) {
    case SLOT_EMPTY:
        return MAP_EMPTY;
    case SLOT_FROZEN:
        return MAP_FROZEN;
    default:
        return MAP_SET;
    }
}

/* SPEC 1.7: 149 bytes */
static void
put_credential_map(const struct chip *c, struct wr *out)
{
    wr_u8(out, (uint8_t)scp_code(c));
    for (size_t i = 0; i < CHIP_PAIRS; i++)
        wr_u8(out, map_byte(c, pair_at(i)));
    for (size_t i = 0; i < CHIP_PUBS; i++)
        wr_u8(out, map_byte(c, pub_at(i)));
    for (size_t i = 0; i < CHIP_CONFIG_KEYS; i++)
        wr_u8(out, map_byte(c, config_at(i)));
    for (size_t i = 0; i < CHIP_SYM_KEYS; i++)
        wr_u8(out, map_byte(c, sym_at(i)));
    for (size_t i = 0; i < CHIP_COUNTERS; i++)
        wr_u8(out, MAP_SET);
    for (size_t i = 0; i < CHIP_GP_SEGMENTS; i++)
        wr_u8(out, gp_frozen(c, i) ? MAP_FROZEN : MAP_SET);
}

/* 91 */
uint16_t
run_module_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { UID = 1, FREE = 2, INFO = 3, MAP = 4, CHALLENGE = 5, RESTRICTED = 6 };

    if (cmd->p1 >= (cmd->p2 == CHALLENGE ? (int)CHALLENGE_KINDS : cmd->p2 == FREE ? 2 : 1))
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    switch (cmd->p2) {
    case UID:
        wr_span(out, nvm_read(s->chip->nvm, IMG_UID, CHIP_UID_LEN));
        return SW_OK;
    case FREE:
        if (!lock_debug_allowed(s->chip))
            return quirk(s->chip, QUIRK_NO_DEBUG);
        wr_u16(out, quirk(s->chip, cmd->p1 == 0 ? QUIRK_FREE_EEPROM : QUIRK_FREE_TRANSIENT));
        return SW_OK;
    case INFO:
        put_info(s->chip, out);
        return SW_OK;
    case MAP:
        put_credential_map(s->chip, out);
        return SW_OK;
    case CHALLENGE:
        return lock_challenge(s, (enum challenge_kind)cmd->p1, out);
    case RESTRICTED:
        restricted_put_info(s->chip, out);
        return SW_OK;
    default:
        return SW_WRONG_P1P2;
    }
}

static uint16_t
set_transport_lock(struct chip *c)
{
    if (lock_transport(c) != TRANSPORT_NEVER_LOCKED)
        return quirk(c, QUIRK_TRANSPORT_SPENT);
    if (slot_key(c, config_at(CHALLENGE_MODULE)).len == 0)
        return quirk(c, QUIRK_NO_CODE_KEY); /* nobody could ever open it again */
    return slot_put_byte(c, IMG_TRANSPORT, TRANSPORT_LOCKED);
}

static uint16_t
transport_unlock(struct chip_session *s, struct span code)
{
    uint16_t sw;

    if (code.len != CHIP_KEY_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    sw = lock_code(s, CHALLENGE_MODULE, code);
    if (lock_transport(s->chip) != TRANSPORT_LOCKED)
        return quirk(s->chip, QUIRK_NOT_LOCKED); /* the challenge is used up all the same */
    return sw == SW_OK ? slot_put_byte(s->chip, IMG_TRANSPORT, TRANSPORT_UNLOCKED) : sw;
}

static uint16_t
set_label(struct chip *c, struct span label)
{
    const uint8_t len = (uint8_t)label.len;
    const struct nvm_change changes[] = {
        { IMG_LABEL, span_of(&len, 1) },
        { IMG_LABEL + 1, label },
    };

    if (label.len == 0 || label.len > CHIP_LABEL_MAX)
        return quirk(c, QUIRK_BAD_LENGTH);
    return sw_of_write(chip_commit(c, changes, 2, NVM_APPEND));
}

/* 92 */
uint16_t
run_module_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { INJECT_LOCK = 1, TRANSPORT_LOCK = 2, TRANSPORT_UNLOCK = 3, LABEL = 5 };

    (void)out;
    if (cmd->p1 != 0)
        return SW_WRONG_P1P2;
    if (cmd->p2 == TRANSPORT_UNLOCK)
        return transport_unlock(s, cmd->data);
    if (cmd->p2 == LABEL)
        return set_label(s->chip, cmd->data);
    if (cmd->p2 != INJECT_LOCK && cmd->p2 != TRANSPORT_LOCK)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (cmd->p2 == TRANSPORT_LOCK)
        return set_transport_lock(s->chip);
    return lock_inject(s->chip) ? quirk(s->chip, QUIRK_INJECT_AGAIN)
                                : slot_put_byte(s->chip, IMG_INJECT, 1);
}

/* 93: for good. */
uint16_t
run_debug_disable(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 != 0 || cmd->p2 != 0xdd)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    return slot_put_byte(s->chip, IMG_NO_DEBUG, 1);
}

/* 94: one new snapshot of zeros, so nothing stays in the file. */
uint16_t
run_debug_reset(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    enum bm_err err;

    (void)out;
    if (cmd->p1 != 0 || cmd->p2 != 0xea)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(c, QUIRK_BAD_LENGTH);
    err = chip_commit_reset(c);
    if (err != BM_OK)
        return sw_of_write(err);
    for (size_t i = 0; i < CHIP_PAIRS; i++)
        ec_key_fini(&c->pairs[i]);
    for (size_t i = 0; i < CHIP_PUBS; i++)
        ec_key_fini(&c->pubs[i]);
    c->scp_era++;
    chip_session_reset(s); /* an HMAC in progress knows an erased key */
    s->selected = true;
    return SW_OK;
}

/* 95, SPEC 3.7; P1 01 is the ClientHello random. */
uint16_t
run_random(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint8_t bytes[APDU_DATA_MAX];

    if (cmd->p1 == 1)
        return run_client_hello(s, cmd, out);
    if (cmd->p1 != 0 || cmd->p2 == 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (RAND_bytes_ex(s->chip->lib, bytes, cmd->p2, 0) <= 0)
        return SW_INTERNAL;
    wr_bytes(out, bytes, cmd->p2);
    bm_wipe(bytes, sizeof bytes);
    return SW_OK;
}

/* FE */
uint16_t
run_reflect(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)s;
    if (cmd->p1 != 0 || cmd->p2 != 0)
        return SW_WRONG_P1P2;
    wr_span(out, cmd->data);
    return SW_OK;
}
