/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, SPEC a71ch 3.8, and general-purpose storage, 3.9. */
#include "chip/cmd.h"

#include <string.h>

enum { COUNTER_LEN = 4 };

static size_t
counter_at(uint8_t index)
{
    return IMG_COUNTER + (size_t)index * IMG_COUNTER_STEP;
}

static uint16_t
put_counter(struct chip *c, uint8_t index, uint32_t value)
{
    uint8_t bytes[COUNTER_LEN];
    struct wr w = wr_of(bytes, sizeof bytes);

    wr_u32(&w, value);
    return sw_of_write(
        chip_commit(c, &(struct nvm_change){ counter_at(index), SPAN(bytes) }, 1, NVM_APPEND));
}

/* 61 */
uint16_t
run_counter_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    if (cmd->p1 >= CHIP_COUNTERS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    wr_span(out, nvm_read(s->chip->nvm, counter_at(cmd->p1), COUNTER_LEN));
    return SW_OK;
}

/* 62: one more, or a higher value. */
uint16_t
run_counter_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    struct rd r = rd_of(cmd->data);
    struct rd stored;
    uint32_t wanted;
    uint32_t now;

    (void)out;
    if (cmd->p1 >= CHIP_COUNTERS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0 && cmd->data.len != COUNTER_LEN)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    stored = rd_of(nvm_read(s->chip->nvm, counter_at(cmd->p1), COUNTER_LEN));
    now = rd_u32(&stored);
    if (cmd->data.len == 0)
        return now == UINT32_MAX ? quirk(s->chip, QUIRK_COUNTER_FULL)
                                 : put_counter(s->chip, cmd->p1, now + 1);
    wanted = rd_u32(&r);
    return wanted > now ? put_counter(s->chip, cmd->p1, wanted)
                        : quirk(s->chip, QUIRK_COUNTER_DOWN);
}

/* 64, a debug command */
uint16_t
run_counter_erase(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    (void)out;
    if (cmd->p1 >= CHIP_COUNTERS)
        return quirk(s->chip, QUIRK_BAD_INDEX);
    if (cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->data.len != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    return put_counter(s->chip, cmd->p1, 0);
}

static bool
gp_range_valid(size_t offset, size_t len)
{
    return offset <= CHIP_GP_LEN && len <= CHIP_GP_LEN - offset;
}

/* 71 */
uint16_t
run_gp_get(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    size_t offset = (size_t)cmd->p1 << 8 | cmd->p2;
    struct rd r = rd_of(cmd->data);
    size_t len = rd_u16(&r);

    if (!rd_done(&r) || len == 0 || len > APDU_DATA_MAX)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (!gp_range_valid(offset, len))
        return quirk(s->chip, QUIRK_GP_RANGE);
    wr_span(out, nvm_read(s->chip->nvm, IMG_GP + offset, len));
    return SW_OK;
}

bool
gp_frozen(const struct chip *c, size_t segment)
{
    return (chip_byte(c, IMG_GP_FROZEN + segment / 8) & 1u << segment % 8) != 0;
}

/* 72 */
uint16_t
run_gp_set(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    size_t offset = (size_t)cmd->p1 << 8 | cmd->p2;
    size_t end = offset + cmd->data.len;

    (void)out;
    if (cmd->data.len == 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (!gp_range_valid(offset, cmd->data.len))
        return quirk(s->chip, QUIRK_GP_RANGE);
    for (size_t i = offset / CHIP_SEGMENT_LEN; i * CHIP_SEGMENT_LEN < end; i++) {
        if (gp_frozen(s->chip, i))
            return SW_NOT_ALLOWED;
    }
    return sw_of_write(
        chip_commit(s->chip, &(struct nvm_change){ IMG_GP + offset, cmd->data }, 1, NVM_APPEND));
}

/* 73: whole segments; some of them may be frozen already. */
uint16_t
run_gp_freeze(struct chip_session *s, const struct apdu *cmd, struct wr *out)
{
    size_t offset = (size_t)cmd->p1 << 8 | cmd->p2;
    struct rd r = rd_of(cmd->data);
    size_t len = rd_u16(&r);
    uint8_t bits[IMG_GP_FROZEN_LEN];

    (void)out;
    if (!rd_done(&r) || len == 0 || len % CHIP_SEGMENT_LEN != 0)
        return quirk(s->chip, QUIRK_BAD_LENGTH);
    if (offset % CHIP_SEGMENT_LEN != 0 || !gp_range_valid(offset, len))
        return quirk(s->chip, QUIRK_GP_RANGE);
    memcpy(bits, nvm_read(s->chip->nvm, IMG_GP_FROZEN, sizeof bits).ptr, sizeof bits);
    for (size_t i = offset / CHIP_SEGMENT_LEN; i * CHIP_SEGMENT_LEN < offset + len; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
    return sw_of_write(
        chip_commit(s->chip, &(struct nvm_change){ IMG_GP_FROZEN, SPAN(bits) }, 1, NVM_APPEND));
}
