/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, SPEC a71ch 2.4: set plain or wrapped, freeze, erase, verify. */
#include "chip/cmd.h"

#include <string.h>

enum {
    VERIFY_VALID = 0x01,
    VERIFY_INVALID = 0x02,
    VERIFY_EXTERNAL = 1, /* P2 of INS 25 */
    VERIFY_STORED = 2,
};

uint16_t
run_pub_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_PUBS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (s->chip->pubs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    wr_span(out, nvm_read(s->chip->nvm, pub_at(cmd->p1) + 1, EC_POINT_LEN));
    return SW_OK;
}

static uint16_t
store_pub(struct chip *c, uint8_t index, struct span point)
{
    static const uint8_t set[] = { SLOT_SET };
    const struct nvm_change changes[] = {
        { pub_at(index), SPAN(set) },
        { pub_at(index) + 1, point },
    };
    struct ec_key key = { 0 };
    uint16_t sw = sw_of_key(c, ec_pub_load(c->lib, point, &key));

    if (sw == SW_OK)
        sw = sw_of_write(chip_commit(c, changes, 2, NVM_APPEND));
    if (sw != SW_OK) {
        ec_key_fini(&key);
        return sw;
    }
    ec_key_fini(&c->pubs[index]);
    c->pubs[index] = key;
    return SW_OK;
}

/* 22: plain, or X and Y without the leading 04 wrapped under config key 2. */
uint16_t
run_pub_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { WRAPPED = EC_POINT_LEN - 1 + 8 };
    struct chip *c = s->chip;
    uint8_t point[EC_POINT_LEN] = { 0x04 };
    bool plain = cmd->data.len == EC_POINT_LEN;
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PUBS)
        return quirk(c, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (!plain && cmd->data.len != WRAPPED)
        return quirk(c, QUIRK_BAD_LENGTH);
    if (chip_byte(c, pub_at(cmd->p1)) == SLOT_FROZEN || (plain && lock_inject(c)))
        return SW_NOT_ALLOWED;
    if (plain)
        return store_pub(c, cmd->p1, cmd->data);
    sw = slot_unwrap(c, config_at(CHALLENGE_PUB), cmd->data, &point[1]);
    return sw == SW_OK ? store_pub(c, cmd->p1, SPAN(point)) : sw;
}

/* 23 */
uint16_t
run_pub_freeze(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PUBS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    sw = lock_gate(s, cmd, CHALLENGE_PUB, quirk(s->chip, QUIRK_FREEZE_NO_CODE));
    return sw == SW_OK ? slot_freeze(s->chip, pub_at(cmd->p1)) : sw;
}

/* 24 */
uint16_t
run_pub_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PUBS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    sw = lock_gate(s, cmd, CHALLENGE_PUB, SW_WRONG_DATA);
    if (sw != SW_OK)
        return sw;
    return slot_erase(s->chip, pub_at(cmd->p1), 1 + EC_POINT_LEN, &s->chip->pubs[cmd->p1]);
}

/* Key in the command: the last 65 bytes. */
static uint16_t
verify_external(
    struct chip *c, struct span hash, struct span signature, struct span point, struct wr *out)
{
    struct ec_key key = { 0 };
    uint16_t sw = sw_of_key(c, ec_pub_load(c->lib, point, &key));

    if (sw == SW_OK)
        wr_u8(out, ec_verify(&key, hash, signature) ? VERIFY_VALID : VERIFY_INVALID);
    ec_key_fini(&key);
    return sw;
}

/* 25: a signature that does not verify is 9000 with result 02. */
uint16_t
run_pub_verify(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    bool external = cmd->p2 == VERIFY_EXTERNAL;
    size_t around = EC_HASH_LEN + (external ? (size_t)EC_POINT_LEN : 0);
    struct rd r = rd_of(cmd->data);
    const struct ec_key *key;
    struct span hash;
    struct span signature;

    if (cmd->p2 != VERIFY_EXTERNAL && cmd->p2 != VERIFY_STORED)
        return SW_WRONG_P1P2;
    if (cmd->p1 >= (external ? 1 : CHIP_PUBS))
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->data.len <= around)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    hash = rd_span(&r, EC_HASH_LEN);
    signature = rd_span(&r, cmd->data.len - around);
    if (external)
        return verify_external(s->chip, hash, signature, rd_rest(&r), out);
    key = &s->chip->pubs[cmd->p1];
    if (key->pkey == NULL)
        return SW_CONDITIONS;
    wr_u8(out, ec_verify(key, hash, signature) ? VERIFY_VALID : VERIFY_INVALID);
    return SW_OK;
}
