/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The restricted key pair, SPEC a71ch 1.6 and 2.3: it signs what stands in a part of GP storage of
 * which the command may change some blocks, and it counts.
 *
 * Public facts: the command's bytes go into fixed blocks, the signed result stands in GP storage,
 * the answer is the count. What exactly is hashed and where the signature goes is not known; OUR
 * construction: the area is the whole segments from the lowest block's first byte to the highest
 * one's last; the hash is SHA-256 over the area with the new bytes in it; the DER signature, with
 * zeros behind it, fills the three segments behind the area. Area and signature are frozen for
 * INS 72. Blocks, signature and count change in one transaction.
 */
#include "chip/cmd.h"

#include <string.h>

enum {
    SIGNATURE_AREA = 3 * CHIP_SEGMENT_LEN,
    AREA_MAX = CHIP_GP_LEN - SIGNATURE_AREA,
    RECORD_LEN = 4 + 4 * CHIP_BLOCKS_MAX,
};

/* The area in GP storage, in bytes; the signature begins at its end. */
static void
area_of(const struct chip_restricted *r, size_t *start, size_t *end)
{
    *start = CHIP_GP_LEN;
    *end = 0;
    for (size_t i = 0; i < r->count; i++) {
        size_t from = r->blocks[i].offset;
        size_t to = from + r->blocks[i].len;

        *start = from < *start ? from : *start;
        *end = to > *end ? to : *end;
    }
    *start -= *start % CHIP_SEGMENT_LEN;
    *end += (CHIP_SEGMENT_LEN - *end % CHIP_SEGMENT_LEN) % CHIP_SEGMENT_LEN;
}

static bool
overlap(const struct chip_block *a, const struct chip_block *b)
{
    return a->offset < b->offset + b->len && b->offset < a->offset + a->len;
}

static enum bm_err
check(const struct chip_restricted *r, struct bm_msg *msg)
{
    size_t start;
    size_t end;
    size_t total = 0;

    if (r->index >= CHIP_PAIRS || r->max == 0 || r->count == 0 || r->count > CHIP_BLOCKS_MAX)
        return bm_fail(msg, BM_ERR_ARG,
            "a restricted key pair has an index from 0 to 3, 1 to 255 uses and 1 to %d blocks",
            CHIP_BLOCKS_MAX);
    for (size_t i = 0; i < r->count; i++) {
        total += r->blocks[i].len;
        if (r->blocks[i].len == 0)
            return bm_fail(msg, BM_ERR_ARG, "a block of a restricted key pair has no bytes");
        for (size_t k = 0; k < i; k++) {
            if (overlap(&r->blocks[i], &r->blocks[k]))
                return bm_fail(msg, BM_ERR_ARG, "blocks of a restricted key pair overlap");
        }
    }
    area_of(r, &start, &end);
    if (total > APDU_DATA_MAX || end > AREA_MAX)
        return bm_fail(msg, BM_ERR_ARG,
            "the blocks of a restricted key pair have at most %d bytes together and end, with 96 "
            "bytes for the signature behind them, inside the %d of the storage",
            APDU_DATA_MAX, CHIP_GP_LEN);
    return BM_OK;
}

bool
restricted_get(const struct chip *c, struct chip_restricted *out)
{
    struct rd r = rd_of(nvm_read(c->nvm, IMG_RESTRICTED, RECORD_LEN));
    bool there = rd_u8(&r) != 0;

    *out = (struct chip_restricted){ 0 };
    out->index = rd_u8(&r);
    out->max = rd_u8(&r);
    out->count = rd_u8(&r);
    for (size_t i = 0; i < CHIP_BLOCKS_MAX; i++) {
        out->blocks[i].offset = rd_u16(&r);
        out->blocks[i].len = rd_u16(&r);
    }
    return there && check(out, NULL) == BM_OK;
}

bool
restricted_is(const struct chip *c, uint8_t index)
{
    struct chip_restricted r;

    return restricted_get(c, &r) && r.index == index;
}

static void
put_record(const struct chip_restricted *r, uint8_t out[RECORD_LEN])
{
    struct wr w = wr_of(out, RECORD_LEN);

    wr_u8(&w, 1);
    wr_u8(&w, r->index);
    wr_u8(&w, r->max);
    wr_u8(&w, r->count);
    for (size_t i = 0; i < CHIP_BLOCKS_MAX; i++) {
        wr_u16(&w, i < r->count ? r->blocks[i].offset : 0);
        wr_u16(&w, i < r->count ? r->blocks[i].len : 0);
    }
}

/* Key, record and freezes in one transaction. */
static enum bm_err
personalise(struct chip *c, const struct chip_restricted *r, struct bm_msg *msg)
{
    static const uint8_t frozen[] = { SLOT_FROZEN };
    uint8_t private_key[EC_PRIVATE_LEN];
    uint8_t point[EC_POINT_LEN];
    uint8_t record[RECORD_LEN];
    uint8_t bits[IMG_GP_FROZEN_LEN];
    struct ec_key key = { 0 };
    const struct nvm_change changes[] = {
        { pair_at(r->index), SPAN(frozen) },
        { pair_at(r->index) + 1, SPAN(private_key) },
        { pair_at(r->index) + 1 + EC_PRIVATE_LEN, SPAN(point) },
        { IMG_RESTRICTED, SPAN(record) },
        { IMG_GP_FROZEN, SPAN(bits) },
    };
    size_t start;
    size_t end;
    enum bm_err err;

    area_of(r, &start, &end);
    put_record(r, record);
    memcpy(bits, nvm_read(c->nvm, IMG_GP_FROZEN, sizeof bits).ptr, sizeof bits);
    for (size_t i = start / CHIP_SEGMENT_LEN; i * CHIP_SEGMENT_LEN < end + SIGNATURE_AREA; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
    err = ec_generate(c->lib, private_key, point, &key);
    if (err == BM_OK)
        err = chip_commit(c, changes, 5, NVM_APPEND);
    bm_wipe(private_key, sizeof private_key);
    if (err != BM_OK) {
        ec_key_fini(&key);
        return bm_fail(msg, err, "the restricted key pair cannot be stored; is there space?");
    }
    c->pairs[r->index] = key;
    return BM_OK;
}

enum bm_err
chip_restrict(struct chip *c, const struct chip_restricted *r, struct bm_msg *msg)
{
    struct chip_restricted now;
    uint8_t want[RECORD_LEN];
    enum bm_err err = check(r, msg);

    if (err != BM_OK)
        return err;
    put_record(r, want);
    if (restricted_get(c, &now)) {
        if (span_eq(SPAN(want), nvm_read(c->nvm, IMG_RESTRICTED, RECORD_LEN)))
            return BM_OK;
        return bm_fail(msg, BM_ERR_CONFLICT,
            "this chip has a restricted key pair %u with other blocks or uses; leave the option "
            "away, or begin with a new folder",
            now.index);
    }
    if (chip_byte(c, pair_at(r->index)) != SLOT_EMPTY)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "key pair %u is set, so it cannot become the restricted one; erase it, or begin with "
            "a new folder",
            r->index);
    return personalise(c, r, msg);
}

/* 11 with P2 01 */
void
restricted_put_usage(const struct chip *c, struct wr *out)
{
    struct chip_restricted r;

    if (!restricted_get(c, &r))
        return;
    wr_u8(out, chip_byte(c, IMG_RESTRICTED_USED));
    wr_u8(out, r.max);
}

/* 91 with P2 06 */
void
restricted_put_info(const struct chip *c, struct wr *out)
{
    struct chip_restricted r;

    if (!restricted_get(c, &r)) {
        wr_u16(out, 0xff00); /* none, as applet 1.3 says it */
        return;
    }
    wr_u8(out, r.index);
    wr_u8(out, r.count);
    for (size_t i = 0; i < r.count; i++) {
        wr_u16(out, r.blocks[i].offset);
        wr_u16(out, r.blocks[i].len);
    }
}

/* Hash the area with `update` in its blocks. */
static bool
hash_area(const struct chip *c, const struct chip_restricted *r, struct span update,
    uint8_t hash[EC_HASH_LEN])
{
    uint8_t area[AREA_MAX];
    struct rd in = rd_of(update);
    size_t start;
    size_t end;

    area_of(r, &start, &end);
    memcpy(area, nvm_read(c->nvm, IMG_GP + start, end - start).ptr, end - start);
    for (size_t i = 0; i < r->count; i++) {
        struct span part = rd_span(&in, r->blocks[i].len);

        if (!in.failed)
            memcpy(&area[r->blocks[i].offset - start], part.ptr, part.len);
    }
    return rd_done(&in) && EVP_Digest(area, end - start, hash, NULL, c->sha256, NULL) > 0;
}

static enum bm_err
store_signed(struct chip *c, const struct chip_restricted *r, struct span update,
    const uint8_t signature[SIGNATURE_AREA], uint8_t used)
{
    struct nvm_change changes[CHIP_BLOCKS_MAX + 2];
    struct rd in = rd_of(update);
    size_t count = 0;
    size_t start;
    size_t end;

    area_of(r, &start, &end);
    for (size_t i = 0; i < r->count; i++)
        changes[count++] = (struct nvm_change){ IMG_GP + (size_t)r->blocks[i].offset,
            rd_span(&in, r->blocks[i].len) };
    changes[count++] = (struct nvm_change){ IMG_GP + end, span_of(signature, SIGNATURE_AREA) };
    changes[count++] = (struct nvm_change){ IMG_RESTRICTED_USED, span_of(&used, 1) };
    return chip_commit(c, changes, count, NVM_APPEND);
}

/* 15 with the restricted pair */
uint16_t
restricted_sign(struct chip *c, struct span update, struct wr *out)
{
    struct chip_restricted r;
    uint8_t used = chip_byte(c, IMG_RESTRICTED_USED);
    uint8_t signature[SIGNATURE_AREA] = { 0 };
    struct wr w = wr_of(signature, sizeof signature);
    uint8_t hash[EC_HASH_LEN];
    size_t total = 0;

    if (!restricted_get(c, &r))
        return SW_CONDITIONS;
    for (size_t i = 0; i < r.count; i++)
        total += r.blocks[i].len;
    if (update.len != total)
        return quirk(c, QUIRK_BAD_LENGTH);
    if (c->pairs[r.index].pkey == NULL)
        return SW_CONDITIONS;
    if (used >= r.max)
        return quirk(c, QUIRK_USED_UP);
    if (!hash_area(c, &r, update, hash) || ec_sign(&c->pairs[r.index], SPAN(hash), &w) != BM_OK)
        return SW_INTERNAL;
    c->stats.signatures++; /* before the write, which carries the counts */
    if (store_signed(c, &r, update, signature, (uint8_t)(used + 1)) != BM_OK) {
        c->stats.signatures--;
        return SW_MEMORY_FAILURE;
    }
    wr_u8(out, (uint8_t)(used + 1));
    return SW_OK;
}
