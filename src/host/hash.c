/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 and HMAC-SHA-256 in the chip, which take their data in the same way: up to 239 bytes in
 * one command, more as init, update and final. SPEC a71ch 3.3, 3.4.
 */
#include "host/host.h"

enum { CLA = 0x80, ONE_SHOT = 0, INIT, UPDATE, FINAL };

/* A command to one of the two: 96 with P1 00, or 47 with its slots in P1. */
struct digest {
    struct task task;
    uint8_t ins;
    uint8_t p1;
};

static const struct digest sha256 = { { "hash", -1 }, INS_SHA256, 0 };

static struct digest
hmac(unsigned index, unsigned blocks)
{
    return (struct digest){ { "make an HMAC with symmetric key", (int)index }, INS_SYM_HMAC,
        host_slots(index, blocks) };
}

/* Init and update answer nothing, the others the hash. */
static a71ch_result
part(a71ch *chip, const struct digest *d, uint8_t p2, struct span data, uint8_t *out)
{
    struct apdu cmd = { CLA, d->ins, d->p1, p2, data, 256 };
    bool ends = p2 == ONE_SHOT || p2 == FINAL;

    return host_fetch(chip, d->task, &cmd, ends ? A71CH_HASH_LEN : 0, out);
}

/* The first part may be a whole chunk, the last one has 1 to 239 bytes, as the vendor cuts it. */
static a71ch_result
whole(a71ch *chip, const struct digest *d, struct span data, uint8_t out[A71CH_HASH_LEN])
{
    struct rd r = rd_of(data);
    uint8_t p2 = INIT;
    a71ch_result res;

    if (data.len <= APDU_CHUNK)
        return part(chip, d, ONE_SHOT, data, out);
    res = host_sequence(chip);
    if (res != A71CH_OK)
        return res;
    for (; res == A71CH_OK && rd_left(&r) > APDU_CHUNK; p2 = UPDATE)
        res = part(chip, d, p2, rd_span(&r, APDU_CHUNK), NULL);
    if (res == A71CH_OK)
        res = part(chip, d, FINAL, rd_rest(&r), out);
    return host_sequence_end(chip, res);
}

static a71ch_result
update(a71ch *chip, const struct digest *d, struct span data)
{
    struct rd r = rd_of(data);
    a71ch_result res = A71CH_OK;

    while (res == A71CH_OK && rd_left(&r) > 0)
        res = part(chip, d, UPDATE,
            rd_span(&r, rd_left(&r) < APDU_CHUNK ? rd_left(&r) : (size_t)APDU_CHUNK), NULL);
    return res;
}

a71ch_result
a71ch_sha256(a71ch *chip, const uint8_t *data, size_t len, uint8_t out[A71CH_HASH_LEN])
{
    host_begin(chip);
    return whole(chip, &sha256, span_of(data, len), out);
}

a71ch_result
a71ch_sha256_init(a71ch *chip)
{
    host_begin(chip);
    return part(chip, &sha256, INIT, span_of(NULL, 0), NULL);
}

a71ch_result
a71ch_sha256_update(a71ch *chip, const uint8_t *data, size_t len)
{
    host_begin(chip);
    return update(chip, &sha256, span_of(data, len));
}

a71ch_result
a71ch_sha256_final(a71ch *chip, uint8_t out[A71CH_HASH_LEN])
{
    host_begin(chip);
    return part(chip, &sha256, FINAL, span_of(NULL, 0), out);
}

a71ch_result
a71ch_sym_hmac(a71ch *chip, unsigned index, unsigned blocks, const uint8_t *data, size_t len,
    uint8_t out[A71CH_HASH_LEN])
{
    struct digest d = hmac(index, blocks);
    a71ch_result res = host_check_slots(chip, index, blocks);

    return res == A71CH_OK ? whole(chip, &d, span_of(data, len), out) : res;
}

a71ch_result
a71ch_sym_hmac_init(a71ch *chip, unsigned index, unsigned blocks)
{
    struct digest d = hmac(index, blocks);
    a71ch_result res = host_check_slots(chip, index, blocks);

    return res == A71CH_OK ? part(chip, &d, INIT, span_of(NULL, 0), NULL) : res;
}

a71ch_result
a71ch_sym_hmac_update(a71ch *chip, unsigned index, unsigned blocks, const uint8_t *data, size_t len)
{
    struct digest d = hmac(index, blocks);
    a71ch_result res = host_check_slots(chip, index, blocks);

    return res == A71CH_OK ? update(chip, &d, span_of(data, len)) : res;
}

a71ch_result
a71ch_sym_hmac_final(a71ch *chip, unsigned index, unsigned blocks, uint8_t out[A71CH_HASH_LEN])
{
    struct digest d = hmac(index, blocks);
    a71ch_result res = host_check_slots(chip, index, blocks);

    return res == A71CH_OK ? part(chip, &d, FINAL, span_of(NULL, 0), out) : res;
}
