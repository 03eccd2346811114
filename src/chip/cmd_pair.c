/* SPDX-License-Identifier: Apache-2.0 */
/* Key pairs, SPEC a71ch 2.3: generate, inject, freeze, erase, sign, agree. */
#include "chip/cmd.h"

#include <string.h>

/* 11: public part, or the usage counter; no bytes of it when the pair is not restricted. */
uint16_t
run_pair_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 > 1)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (cmd->p2 == 1) {
        if (restricted_is(s->chip, cmd->p1))
            restricted_put_usage(s->chip, out);
        return SW_OK;
    }
    if (s->chip->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    wr_span(out, nvm_read(s->chip->nvm, pair_at(cmd->p1) + 1 + EC_PRIVATE_LEN, EC_POINT_LEN));
    return SW_OK;
}

/* Store a pair and swap its parsed form in; takes `key` over. */
static uint16_t
store_pair(
    struct chip *c, uint8_t index, struct span private_key, struct span point, struct ec_key key)
{
    static const uint8_t set[] = { SLOT_SET };
    size_t at = pair_at(index);
    const struct nvm_change changes[] = {
        { at, SPAN(set) },
        { at + 1, private_key },
        { at + 1 + EC_PRIVATE_LEN, point },
    };
    bool replaces = c->pairs[index].pkey != NULL;
    enum bm_err err = chip_commit(c, changes, 3, replaces ? NVM_SCRUB : NVM_APPEND);

    if (err != BM_OK) {
        ec_key_fini(&key);
        return sw_of_write(err);
    }
    ec_key_fini(&c->pairs[index]);
    c->pairs[index] = key;
    return SW_OK;
}

static uint16_t
generate_pair(struct chip *c, uint8_t index)
{
    uint8_t private_key[EC_PRIVATE_LEN];
    uint8_t point[EC_POINT_LEN];
    struct ec_key key = { 0 };
    uint16_t sw;

    if (ec_generate(c->lib, private_key, point, &key) != BM_OK)
        return SW_INTERNAL;
    c->stats.generated++; /* before the write, which carries the counts */
    sw = store_pair(c, index, SPAN(private_key), SPAN(point), key);
    if (sw != SW_OK)
        c->stats.generated--;
    bm_wipe(private_key, sizeof private_key);
    return sw;
}

/* A private key that came in, plain or out of its wrapping. */
static uint16_t
inject(struct chip *c, uint8_t index, struct span private_key, struct span point)
{
    struct ec_key key = { 0 };
    uint16_t sw = sw_of_key(c, ec_pair_load(c->lib, private_key, point, &key));

    if (sw == SW_OK && quirk(c, QUIRK_PAIR_CHECK) != 0 && !ec_pair_matches(c->lib, &key)) {
        ec_key_fini(&key);
        sw = quirk(c, QUIRK_BAD_KEY);
    }
    return sw == SW_OK ? store_pair(c, index, private_key, point, key) : sw;
}

/* 12: generate without or with code, plain injection, wrapped injection; told apart by P2 and Lc.
 */
uint16_t
run_pair_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { WRAPPED = EC_PRIVATE_LEN + 8 };
    struct chip *c = s->chip;
    struct rd r = rd_of(cmd->data);
    uint8_t unwrapped[EC_PRIVATE_LEN];
    struct span given;
    bool plain = cmd->data.len == EC_PRIVATE_LEN + EC_POINT_LEN;
    bool generates = cmd->data.len == 0 || cmd->p2 != 0;
    uint16_t sw = SW_OK;

    (void)out;
    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(c, QUIRK_BAD_INDEX);
    if (!generates && !plain && cmd->data.len != WRAPPED + EC_POINT_LEN)
        return quirk(c, QUIRK_BAD_LENGTH);
    if (generates)
        sw = lock_gate(s, cmd, CHALLENGE_PAIR, SW_NOT_ALLOWED);
    if (sw != SW_OK)
        return sw;
    if (chip_byte(c, pair_at(cmd->p1)) == SLOT_FROZEN || (plain && lock_inject(c)))
        return SW_NOT_ALLOWED;
    if (generates)
        return generate_pair(c, cmd->p1);
    given = rd_span(&r, plain ? (size_t)EC_PRIVATE_LEN : WRAPPED);
    if (plain)
        return inject(c, cmd->p1, given, rd_rest(&r));
    sw = slot_unwrap(c, config_at(CHALLENGE_PAIR), given, unwrapped);
    if (sw == SW_OK)
        sw = inject(c, cmd->p1, SPAN(unwrapped), rd_rest(&r));
    bm_wipe(unwrapped, sizeof unwrapped);
    return sw;
}

/* 13 */
uint16_t
run_pair_freeze(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    sw = lock_gate(s, cmd, CHALLENGE_PAIR, quirk(s->chip, QUIRK_FREEZE_NO_CODE));
    return sw == SW_OK ? slot_freeze(s->chip, pair_at(cmd->p1)) : sw;
}

/* 14 */
uint16_t
run_pair_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint16_t sw;

    (void)out;
    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    sw = lock_gate(s, cmd, CHALLENGE_PAIR, SW_WRONG_DATA);
    if (sw != SW_OK)
        return sw;
    return slot_erase(
        s->chip, pair_at(cmd->p1), 1 + EC_PRIVATE_LEN + EC_POINT_LEN, &s->chip->pairs[cmd->p1]);
}

/* SPEC 3.1: minimal, or as the real chip writes it. */
static enum bm_err
put_signature(struct chip *c, uint8_t index, struct span hash, struct wr *out)
{
    uint8_t der[EC_SIGNATURE_MAX];
    struct wr w = wr_of(der, sizeof der);
    size_t before = wr_len(out);
    enum bm_err err = ec_sign(&c->pairs[index], hash, &w);

    if (err != BM_OK)
        return err;
    if (quirk(c, QUIRK_SIGNATURE_FORM) == 0)
        wr_bytes(out, der, wr_len(&w));
    else
        ec_widen_signature(span_of(der, wr_len(&w)), out);
    while (quirk(c, QUIRK_SIGNATURE_FORM) == 2 && wr_len(out) - before < EC_SIGNATURE_MAX)
        wr_u8(out, 0);
    return BM_OK;
}

/* 15, SPEC 3.1: the 32 bytes are the hash itself; a restricted pair takes other bytes. */
uint16_t
run_pair_sign(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;

    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(c, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (restricted_is(c, cmd->p1))
        return restricted_sign(c, cmd->data, out);
    if (cmd->data.len != EC_HASH_LEN)
        return quirk(c, QUIRK_BAD_LENGTH);
    if (c->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    if (put_signature(c, cmd->p1, cmd->data, out) != BM_OK)
        return SW_INTERNAL;
    c->stats.signatures++;
    return SW_OK;
}

/* 17, SPEC 3.2 */
uint16_t
run_pair_ecdh(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    uint16_t sw;

    if (cmd->p1 >= CHIP_PAIRS)
        return quirk(c, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != EC_POINT_LEN)
        return quirk(c, QUIRK_BAD_LENGTH);
    if (c->pairs[cmd->p1].pkey == NULL)
        return SW_CONDITIONS;
    sw = sw_of_key(c, ec_derive(c->lib, &c->pairs[cmd->p1], cmd->data, out));
    if (sw == SW_OK)
        c->stats.ecdh++;
    return sw;
}
