/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all commands that change the chip share: the locks and the code rule of SPEC a71ch 1.6, and
 * the states of a slot of 1.5.
 */
#include "chip/cmd.h"
#include "chip/sym.h"

#include <string.h>

#include <openssl/rand.h>

bool
lock_inject(const struct chip *c)
{
    return chip_byte(c, IMG_INJECT) != 0;
}

enum transport
lock_transport(const struct chip *c)
{
    return (enum transport)chip_byte(c, IMG_TRANSPORT);
}

bool
lock_debug_allowed(const struct chip *c)
{
    return chip_byte(c, IMG_NO_DEBUG) == 0;
}

uint16_t
lock_challenge(struct chip_session *s, enum challenge_kind kind, struct wr *out)
{
    struct challenge *c = &s->challenges[kind];

    c->pending = RAND_bytes_ex(s->chip->lib, c->bytes, sizeof c->bytes, 0) > 0;
    if (!c->pending)
        return SW_INTERNAL;
    s->challenged = true;
    wr_bytes(out, c->bytes, sizeof c->bytes);
    return SW_OK;
}

/* The host decrypts the challenge, so the chip encrypts the code. */
uint16_t
lock_code(struct chip_session *s, enum challenge_kind kind, struct span code)
{
    struct challenge *c = &s->challenges[kind];
    struct span key = slot_key(s->chip, config_at(kind));
    uint8_t got[CHIP_KEY_LEN];

    if (code.len != CHIP_KEY_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (!c->pending)
        return quirk(s->chip, QUIRK_NO_CHALLENGE);
    c->pending = false;
    if (key.len == 0)
        return quirk(s->chip, QUIRK_NO_CODE_KEY);
    if (sym_encrypt_block(s->chip->aes_ecb, key, code.ptr, got) != BM_OK)
        return SW_INTERNAL;
    return bm_equal_ct(got, c->bytes, sizeof got) ? SW_OK : quirk(s->chip, QUIRK_BAD_CODE);
}

uint16_t
lock_gate(
    struct chip_session *s, const struct apdu *cmd, enum challenge_kind kind, uint16_t without_code)
{
    if (cmd->p2 == CHIP_KEY_LEN) /* P2 is the code's length */
        return lock_code(s, kind, cmd->data);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    return lock_inject(s->chip) ? without_code : SW_OK;
}

uint16_t
slot_put_byte(struct chip *c, size_t at, uint8_t value)
{
    return sw_of_write(
        chip_commit(c, &(struct nvm_change){ at, span_of(&value, 1) }, 1, NVM_APPEND));
}

uint16_t
slot_freeze(struct chip *c, size_t at)
{
    switch (chip_byte(c, at)) {
    case SLOT_EMPTY:
        return quirk(c, QUIRK_FREEZE_EMPTY);
    case SLOT_FROZEN:
        return SW_NOT_ALLOWED;
    default:
        return slot_put_byte(c, at, SLOT_FROZEN);
    }
}

uint16_t
slot_erase(struct chip *c, size_t at, size_t len, struct ec_key *key)
{
    static const uint8_t zeros[1 + EC_PRIVATE_LEN + EC_POINT_LEN];
    enum bm_err err;

    if (chip_byte(c, at) == SLOT_EMPTY)
        return quirk(c, QUIRK_ERASE_EMPTY);
    if (chip_byte(c, at) == SLOT_FROZEN)
        return SW_NOT_ALLOWED;
    err = chip_commit(c, &(struct nvm_change){ at, span_of(zeros, len) }, 1, NVM_SCRUB);
    if (err == BM_OK && key != NULL)
        ec_key_fini(key);
    return sw_of_write(err);
}

struct span
slot_key(const struct chip *c, size_t at)
{
    if (chip_byte(c, at) == SLOT_EMPTY)
        return (struct span){ 0 };
    return nvm_read(c->nvm, at + 1, CHIP_KEY_LEN);
}

uint16_t
slot_unwrap(const struct chip *c, size_t key_at, struct span wrapped, uint8_t *out)
{
    struct span key = slot_key(c, key_at);
    enum bm_err err;

    if (key.len == 0)
        return quirk(c, QUIRK_NO_WRAP_KEY);
    err = sym_unwrap(c->aes_wrap, key, wrapped, out);
    return err == BM_OK ? SW_OK : err == BM_ERR_INPUT ? quirk(c, QUIRK_BAD_WRAP) : SW_INTERNAL;
}
