/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCP03, the card's end: PUT KEY, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, and the commands inside
 * the channel. SPEC a71ch 4; what is computed is in src/scp03.
 */
#include "chip/cmd.h"

#include <string.h>

#include <openssl/rand.h>

enum { VERSION_AT = IMG_SCP + 1, KEYS_AT = IMG_SCP + 2 };

enum scp_state
scp_state(const struct chip *c)
{
    return (enum scp_state)chip_byte(c, IMG_SCP);
}

bool
scp_clear_allowed(const struct apdu *cmd)
{
    enum { UID = 1, FREE_MEMORY = 2, INFO = 3 };

    switch (cmd->ins) {
    case INS_MODULE_GET:
        return cmd->p2 == FREE_MEMORY || (cmd->p1 == 0 && (cmd->p2 == UID || cmd->p2 == INFO));
    case INS_INIT_UPDATE:
    case INS_DEBUG_DISABLE:
    case INS_DEBUG_RESET:
        return true;
    default:
        return false;
    }
}

static void
end_channel(struct chip_session *s)
{
    bm_wipe(&s->channel, sizeof s->channel);
}

static bool
channel_up(const struct chip_session *s)
{
    return s->channel.up && s->channel.era == s->chip->scp_era;
}

static uint16_t
sw_of_scp03(const struct chip *c, enum bm_err err)
{
    return err == BM_OK ? SW_OK : err == BM_ERR_DENIED ? quirk(c, QUIRK_BAD_MAC) : SW_INTERNAL;
}

/* D8, SPEC 4.1: once. */
uint16_t
run_put_key(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct chip *c = s->chip;
    struct scp03_keys keys;
    uint8_t record[2 + sizeof keys] = { SCP_KEYS_SET };
    uint16_t sw;
    enum bm_err err;

    (void)out;
    if (cmd->p1 != 0x00 || cmd->p2 != 0x81)
        return SW_WRONG_P1P2;
    if (cmd->data.len != SCP03_PUT_KEY_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (scp_state(c) != SCP_NO_KEYS)
        return quirk(c, QUIRK_SCP_KEYS_AGAIN);
    err = scp03_put_key_parse(&c->aes, cmd->data, &record[1], &keys);
    if (err == BM_OK) {
        memcpy(&record[2], &keys, sizeof keys);
        sw = sw_of_write(
            chip_commit(c, &(struct nvm_change){ IMG_SCP, SPAN(record) }, 1, NVM_APPEND));
    } else {
        sw = err == BM_ERR_INPUT ? quirk(c, QUIRK_BAD_KEY_BLOCK) : SW_INTERNAL;
    }
    bm_wipe(&keys, sizeof keys);
    bm_wipe(record, sizeof record);
    return sw;
}

/* Session keys from the static ones and the challenges, and the card's proof of them. */
static enum bm_err
start(struct chip_session *s, uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN])
{
    struct chip *c = s->chip;
    struct chip_channel *ch = &s->channel;
    struct scp03_keys keys;
    enum bm_err err;

    memcpy(&keys, nvm_read(c->nvm, KEYS_AT, sizeof keys).ptr, sizeof keys);
    err = scp03_start(&ch->scp03, &c->aes, &keys, ch->context);
    if (err == BM_OK)
        err = scp03_cryptogram(&ch->scp03, &c->aes, SCP03_CARD, ch->context, cryptogram);
    bm_wipe(&keys, sizeof keys);
    return err;
}

/* SPEC 1.3: UID bytes 2, 3 and 8 to 15, what is unique of it. */
static void
put_diversification(const struct chip *c, struct wr *out)
{
    wr_span(out, nvm_read(c->nvm, IMG_UID + 2, 2));
    wr_span(out, nvm_read(c->nvm, IMG_UID + 8, 8));
}

/* 50, SPEC 4.2. A channel that was up is over. */
uint16_t
run_initialize_update(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    enum { PROTOCOL = 3, OPTIONS = 0x60 /* random card challenge; R-MAC and R-ENC */ };
    struct chip *c = s->chip;
    struct chip_channel *ch = &s->channel;
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];

    if (cmd->p2 != 0) /* P1, the key version, is not looked at: see quirks.h */
        return SW_WRONG_P1P2;
    if (cmd->data.len != SCP03_CHALLENGE_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    end_channel(s);
    if (scp_state(c) == SCP_NO_KEYS)
        return quirk(c, QUIRK_NO_SCP_KEYS);
    memcpy(ch->context, cmd->data.ptr, SCP03_CHALLENGE_LEN);
    if (RAND_bytes_ex(c->lib, &ch->context[SCP03_CHALLENGE_LEN], SCP03_CHALLENGE_LEN, 0) <= 0 ||
        start(s, cryptogram) != BM_OK) {
        end_channel(s);
        return SW_INTERNAL;
    }
    put_diversification(c, out);
    wr_u8(out, chip_byte(c, VERSION_AT));
    wr_u8(out, PROTOCOL);
    wr_u8(out, OPTIONS);
    wr_bytes(out, &ch->context[SCP03_CHALLENGE_LEN], SCP03_CHALLENGE_LEN);
    wr_bytes(out, cryptogram, sizeof cryptogram);
    ch->challenged = true;
    ch->era = c->scp_era;
    return SW_OK;
}

/* The MAC, then the host's proof that it has the keys; the first one makes SCP03 mandatory. */
static uint16_t
authenticate(struct chip_session *s, const struct apdu *cmd)
{
    struct chip *c = s->chip;
    struct chip_channel *ch = &s->channel;
    uint8_t want[SCP03_CRYPTOGRAM_LEN];
    uint8_t room[SCP03_WRAPPED_MAX];
    struct apdu plain;
    enum bm_err err;

    if (cmd->p1 != SCP03_LEVEL || cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != SCP03_CRYPTOGRAM_LEN + SCP03_MAC_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    err = scp03_open_command(&ch->scp03, &c->aes, cmd, room, &plain);
    if (err == BM_OK)
        err = scp03_cryptogram(&ch->scp03, &c->aes, SCP03_HOST, ch->context, want);
    if (err == BM_OK && !bm_equal_ct(want, plain.data.ptr, sizeof want))
        err = BM_ERR_DENIED;
    if (err != BM_OK || scp_state(c) == SCP_MANDATORY)
        return sw_of_scp03(c, err);
    return slot_put_byte(c, IMG_SCP, SCP_MANDATORY);
}

/* 82, SPEC 4.4. Whatever comes out, the challenge is used up. */
static uint16_t
run_external_authenticate(struct chip_session *s, const struct apdu *cmd)
{
    struct chip_channel *ch = &s->channel;
    uint16_t sw;

    if (!ch->challenged || ch->era != s->chip->scp_era)
        return quirk(s->chip, QUIRK_NO_CHALLENGE);
    sw = authenticate(s, cmd);
    if (sw != SW_OK) {
        end_channel(s);
        return sw;
    }
    ch->challenged = false;
    ch->up = true;
    scp03_next(&ch->scp03);
    return SW_OK;
}

/* SPEC 4.6. The exchange is counted whether the command was refused or not. */
static uint16_t
protect(struct chip_session *s, struct span data, uint16_t sw, struct wr *out)
{
    struct chip *c = s->chip;
    struct scp03_channel *ch = &s->channel.scp03;
    enum bm_err err = BM_OK;

    if (sw == SW_OK || quirk(c, QUIRK_MAC_ON_ERROR) != 0)
        err = scp03_protect_response(ch, &c->aes, data, sw, out);
    scp03_next(ch);
    if (err == BM_OK)
        return sw;
    end_channel(s);
    return SW_INTERNAL;
}

uint16_t
scp_run_secure(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    uint8_t room[SCP03_WRAPPED_MAX];
    uint8_t answer[APDU_RSP_MAX];
    struct wr w = wr_of(answer, sizeof answer);
    struct apdu plain;
    uint16_t sw;

    if (cmd->ins == INS_EXT_AUTH)
        return run_external_authenticate(s, cmd);
    if (!channel_up(s))
        return quirk(s->chip, QUIRK_NO_CHANNEL);
    sw = sw_of_scp03(
        s->chip, scp03_open_command(&s->channel.scp03, &s->chip->aes, cmd, room, &plain));
    if (sw != SW_OK) {
        end_channel(s);
        return sw;
    }
    sw = applet_command(s, &plain, &w);
    if (wr_len(&w) > SCP03_DATA_MAX) {
        sw = quirk(s->chip, QUIRK_LONG_IN_CHANNEL);
        w = wr_of(answer, sizeof answer);
    }
    if (channel_up(s))
        sw = protect(s, span_of(answer, wr_len(&w)), sw, out);
    else /* the command ended it: debug reset, INITIALIZE UPDATE */
        wr_bytes(out, answer, wr_len(&w));
    bm_wipe(room, sizeof room);
    bm_wipe(answer, sizeof answer);
    return sw;
}
