/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of liba71ch to the module as a whole, its counters and its storage. SPEC
 * a71ch 1.3, 1.7, 2.6, 2.7.
 */
#include "host/host.h"

#include <string.h>

enum {
    CLA = 0x80,
    GET_UID = 0x01,
    GET_INFO = 0x03,
    GET_MAP = 0x04,
    RESET_P2 = 0xea,
    COUNTER_COUNT = 2,
    STORAGE_END = 0x10000, /* what an offset of 16 bits can reach; the chip knows its own end */
};

a71ch_result
a71ch_get_module_info(a71ch *chip, a71ch_module_info *out)
{
    struct apdu cmd = { CLA, INS_MODULE_GET, 0, GET_INFO, .le = 256 };
    struct answer ans;
    struct rd r;
    uint8_t pair_and_transport;
    uint8_t scp_and_inject;
    a71ch_result res;

    host_begin(chip);
    res = host_command(chip, (struct task){ "read the module info", -1 }, &cmd, 6, &ans);
    if (res != A71CH_OK)
        return res;
    r = rd_of(ans.data);
    *out = (a71ch_module_info){ .applet_version = rd_u16(&r) };
    pair_and_transport = rd_u8(&r);
    scp_and_inject = rd_u8(&r);
    out->gp_size = rd_u16(&r);
    out->securebox_version = chip->securebox_version;
    out->debug = out->applet_version & 1;
    out->restricted_pair = pair_and_transport >> 4 == 0xf ? -1 : pair_and_transport >> 4;
    out->transport_lock = pair_and_transport & 0xf;
    out->scp_state = scp_and_inject >> 4;
    out->inject_lock = scp_and_inject & 0xf;
    return A71CH_OK;
}

a71ch_result
a71ch_get_unique_id(a71ch *chip, uint8_t out[A71CH_UID_LEN])
{
    struct apdu cmd = { CLA, INS_MODULE_GET, 0, GET_UID, .le = 256 };
    struct answer ans;
    a71ch_result res;

    host_begin(chip);
    res = host_command(chip, (struct task){ "read the unique id", -1 }, &cmd, A71CH_UID_LEN, &ans);
    if (res == A71CH_OK)
        memcpy(out, ans.data.ptr, A71CH_UID_LEN);
    return res;
}

void
a71ch_cert_uid(const uint8_t uid[A71CH_UID_LEN], uint8_t out[A71CH_CERT_UID_LEN])
{
    /* IC type, fabrication data, serial number, batch id. SPEC a71ch 1.3 */
    memcpy(&out[0], &uid[2], 2);
    memcpy(&out[2], &uid[8], 8);
}

a71ch_result
a71ch_get_credential_map(a71ch *chip, uint8_t out[A71CH_MAP_MAX], size_t *len)
{
    struct apdu cmd = { CLA, INS_MODULE_GET, 0, GET_MAP, .le = 256 };
    struct answer ans;
    a71ch_result res;

    host_begin(chip);
    res = host_command(chip, (struct task){ "read the credential map", -1 }, &cmd, ANY_LEN, &ans);
    if (res != A71CH_OK)
        return res;
    if (ans.data.len == 0 || ans.data.len > A71CH_MAP_MAX)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip's credential map has %zu bytes, not 1 to %d", ans.data.len, A71CH_MAP_MAX);
    memcpy(out, ans.data.ptr, ans.data.len);
    *len = ans.data.len;
    return A71CH_OK;
}

a71ch_result
a71ch_get_random(a71ch *chip, uint8_t *out, size_t len)
{
    struct wr w = wr_of(out, len);
    a71ch_result res = A71CH_OK;

    host_begin(chip);
    while (res == A71CH_OK && wr_len(&w) < len) {
        size_t left = len - wr_len(&w);
        size_t now = left < APDU_CHUNK ? left : APDU_CHUNK;
        struct apdu cmd = { CLA, INS_RANDOM, 0, (uint8_t)now, .le = 256 };
        struct answer ans;

        res = host_command(chip, (struct task){ "get random bytes", -1 }, &cmd, (int)now, &ans);
        if (res == A71CH_OK)
            wr_span(&w, ans.data);
        bm_wipe(&ans, sizeof ans);
    }
    return res;
}

a71ch_result
a71ch_sha256(a71ch *chip, const uint8_t *data, size_t len, uint8_t out[A71CH_HASH_LEN])
{
    struct apdu cmd = { CLA, INS_SHA256, 0, 0, .data = span_of(data, len), .le = 256 };
    struct answer ans;
    a71ch_result res;

    host_begin(chip);
    if (len > APDU_CHUNK)
        return host_fail(chip, A71CH_ERR_ARG,
            "the chip hashes up to %d bytes in one command, not %zu; hash on the host", APDU_CHUNK,
            len);
    res = host_command(chip, (struct task){ "hash", -1 }, &cmd, A71CH_HASH_LEN, &ans);
    if (res == A71CH_OK)
        memcpy(out, ans.data.ptr, A71CH_HASH_LEN);
    return res;
}

a71ch_result
a71ch_debug_reset(a71ch *chip)
{
    struct apdu cmd = { CLA, INS_DEBUG_RESET, 0, RESET_P2, .le = 256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "reset the chip", -1 }, &cmd);
}

a71ch_result
a71ch_counter_get(a71ch *chip, unsigned index, uint32_t *out)
{
    struct apdu cmd = { CLA, INS_COUNTER_GET, (uint8_t)index, 0, .le = 256 };
    struct answer ans;
    struct rd r;
    a71ch_result res = host_check_index(chip, "counter", index, COUNTER_COUNT);

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
