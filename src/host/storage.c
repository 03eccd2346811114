/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of liba71ch on counters and general-purpose storage. SPEC a71ch 2.6, 3.8, 3.9.
 */
#include "host/host.h"

enum {
    CLA = 0x80,
    FROZEN = 0xf,          /* low nibble of a segment's byte in the credential map, SPEC 1.7 */
    STORAGE_END = 0x10000, /* what an offset of 16 bits can reach; the chip knows its own end */
};

static a71ch_result
set_counter(a71ch *chip, const char *what, uint8_t ins, unsigned index, struct span value)
{
    struct apdu cmd = { CLA, ins, (uint8_t)index, 0, value, 256 };
    a71ch_result res = host_check_index(chip, "counter", index, A71CH_COUNTER_COUNT);

    return res == A71CH_OK ? host_order(chip, (struct task){ what, (int)index }, &cmd) : res;
}

a71ch_result
a71ch_counter_set(a71ch *chip, unsigned index, uint32_t value)
{
    uint8_t bytes[4];
    struct wr w = wr_of(bytes, sizeof bytes);

    wr_u32(&w, value);
    return set_counter(chip, "set counter", INS_COUNTER_SET, index, SPAN(bytes));
}

a71ch_result
a71ch_counter_increment(a71ch *chip, unsigned index)
{
    return set_counter(chip, "increment counter", INS_COUNTER_SET, index, span_of(NULL, 0));
}

a71ch_result
a71ch_debug_counter_erase(a71ch *chip, unsigned index)
{
    return set_counter(chip, "erase counter", INS_COUNTER_ERASE, index, span_of(NULL, 0));
}

a71ch_result
a71ch_counter_get(a71ch *chip, unsigned index, uint32_t *out)
{
    struct apdu cmd = { CLA, INS_COUNTER_GET, (uint8_t)index, 0, .le = 256 };
    struct answer ans;
    struct rd r;
    a71ch_result res = host_check_index(chip, "counter", index, A71CH_COUNTER_COUNT);

    if (res == A71CH_OK)
        res = host_command(chip, (struct task){ "read counter", (int)index }, &cmd, 4, &ans);
    if (res != A71CH_OK)
        return res;
    r = rd_of(ans.data);
    *out = rd_u32(&r);
    return A71CH_OK;
}

static a71ch_result
check_storage(a71ch *chip, unsigned offset, size_t len)
{
    host_begin(chip);
    if (offset <= STORAGE_END && len <= STORAGE_END - offset)
        return A71CH_OK;
    return host_fail(chip, A71CH_ERR_ARG,
        "%zu bytes at offset %u lie outside of any chip's storage", len, offset);
}

a71ch_result
a71ch_gp_read(a71ch *chip, unsigned offset, uint8_t *out, size_t len)
{
    struct wr w = wr_of(out, len);
    a71ch_result res = check_storage(chip, offset, len);

    while (res == A71CH_OK && wr_len(&w) < len) {
        size_t at = offset + wr_len(&w);
        size_t left = len - wr_len(&w);
        size_t now = left < APDU_CHUNK ? left : APDU_CHUNK;
        const uint8_t size[] = { 0, (uint8_t)now };
        struct apdu cmd = { CLA, INS_GP_GET, (uint8_t)(at >> 8), (uint8_t)at, SPAN(size), 256 };
        struct answer ans;

        res = host_command(
            chip, (struct task){ "read storage at offset", (int)at }, &cmd, (int)now, &ans);
        if (res == A71CH_OK)
            wr_span(&w, ans.data);
    }
    return res;
}

a71ch_result
a71ch_gp_write(a71ch *chip, unsigned offset, const uint8_t *data, size_t len)
{
    struct rd r = rd_of(span_of(data, len));
    a71ch_result res = check_storage(chip, offset, len);

    while (res == A71CH_OK && rd_left(&r) > 0) {
        size_t at = offset + len - rd_left(&r);
        size_t now = rd_left(&r) < APDU_CHUNK ? rd_left(&r) : APDU_CHUNK;
        struct apdu cmd = { CLA, INS_GP_SET, (uint8_t)(at >> 8), (uint8_t)at, rd_span(&r, now),
            256 };

        res = host_order(chip, (struct task){ "write storage at offset", (int)at }, &cmd);
    }
    return res;
}

a71ch_result
host_frozen(a71ch *chip, size_t segments, bool frozen[A71CH_MAP_MAX])
{
    uint8_t map[A71CH_MAP_MAX];
    size_t len;
    a71ch_result res = a71ch_get_credential_map(chip, map, &len);

    if (res != A71CH_OK)
        return res;
    if (len < segments)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip's credential map has %zu bytes, too few for its %zu segments of storage", len,
            segments);
    for (size_t i = 0; i < segments; i++)
        frozen[i] = (map[len - segments + i] & 0xf) == FROZEN;
    return A71CH_OK;
}

/* The first frozen segment that `len` bytes at `offset` touch, as a failure. */
static a71ch_result
check_frozen(a71ch *chip, unsigned offset, size_t len)
{
    bool frozen[A71CH_MAP_MAX];
    size_t segments;
    a71ch_module_info info;
    a71ch_result res = a71ch_get_module_info(chip, &info);

    if (res != A71CH_OK)
        return res;
    segments = info.gp_size / A71CH_SEGMENT_LEN;
    res = host_frozen(chip, segments, frozen);
    for (size_t i = offset / A71CH_SEGMENT_LEN;
         res == A71CH_OK && i < segments && i * A71CH_SEGMENT_LEN < offset + len; i++) {
        if (frozen[i])
            res = host_fail(chip, A71CH_ERR_FROZEN,
                "cannot write storage at offset %u: the segment at offset %zu is frozen; nothing "
                "was written",
                offset, i * A71CH_SEGMENT_LEN);
    }
    return res;
}

a71ch_result
a71ch_gp_write_checked(a71ch *chip, unsigned offset, const uint8_t *data, size_t len)
{
    a71ch_result res = check_storage(chip, offset, len);

    if (res == A71CH_OK && len > APDU_CHUNK)
        res = check_frozen(chip, offset, len);
    return res == A71CH_OK ? a71ch_gp_write(chip, offset, data, len) : res;
}

a71ch_result
a71ch_gp_freeze(a71ch *chip, unsigned offset, size_t len)
{
    const uint8_t size[] = { (uint8_t)(len >> 8), (uint8_t)len };
    struct apdu cmd = { CLA, INS_GP_FREEZE, (uint8_t)(offset >> 8), (uint8_t)offset, SPAN(size),
        256 };
    a71ch_result res = check_storage(chip, offset, len);

    if (res != A71CH_OK)
        return res;
    if (offset % A71CH_SEGMENT_LEN != 0 || len % A71CH_SEGMENT_LEN != 0 || len == 0 || len > 0xffff)
        return host_fail(chip, A71CH_ERR_ARG,
            "storage is frozen in whole segments: offset %u and length %zu must be multiples of %d",
            offset, len, A71CH_SEGMENT_LEN);
    return host_order(chip, (struct task){ "freeze storage at offset", (int)offset }, &cmd);
}
