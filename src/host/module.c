/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of liba71ch to the module as a whole: what it is, random, locks, codes, debug. SPEC
 * a71ch 1.3, 1.6, 1.7, 2.7.
 */
#include "host/host.h"

#include "host/wrap.h"

#include <string.h>

enum {
    CLA = 0x80,
    /* P2 of 91 */
    GET_UID = 0x01,
    GET_FREE = 0x02,
    GET_INFO = 0x03,
    GET_MAP = 0x04,
    GET_CHALLENGE = 0x05,
    GET_RESTRICTED = 0x06,
    FREE_PERSISTENT = 0x00, /* P1 of 91/02 */
    FREE_TRANSIENT = 0x01,
    /* P2 of 92 */
    SET_INJECT_LOCK = 0x01,
    SET_TRANSPORT_LOCK = 0x02,
    SET_TRANSPORT_UNLOCK = 0x03,
    SET_LABEL = 0x05,
    RESET_P2 = 0xea,
    DISABLE_P2 = 0xdd,
    HELLO_P1 = 0x01, /* of 95 */
    NO_PAIR = 0xff,
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

    host_begin(chip);
    return host_fetch(chip, (struct task){ "read the unique id", -1 }, &cmd, A71CH_UID_LEN, out);
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
a71ch_debug_reset(a71ch *chip)
{
    struct apdu cmd = { CLA, INS_DEBUG_RESET, 0, RESET_P2, .le = 256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "reset the chip", -1 }, &cmd);
}

a71ch_result
a71ch_get_client_hello_random(a71ch *chip, uint8_t out[A71CH_RANDOM_LEN])
{
    struct apdu cmd = { CLA, INS_RANDOM, HELLO_P1, 0, .le = 256 };

    host_begin(chip);
    return host_fetch(
        chip, (struct task){ "get a ClientHello random", -1 }, &cmd, A71CH_RANDOM_LEN, out);
}

a71ch_result
a71ch_set_tls_label(a71ch *chip, const uint8_t *label, size_t len)
{
    struct apdu cmd = { CLA, INS_MODULE_SET, 0, SET_LABEL, span_of(label, len), 256 };

    host_begin(chip);
    if (len < 1 || len > A71CH_LABEL_MAX)
        return host_fail(
            chip, A71CH_ERR_ARG, "a TLS label has 1 to %d bytes, not %zu", A71CH_LABEL_MAX, len);
    return host_order(chip, (struct task){ "set the TLS label", -1 }, &cmd);
}

/* FF 00 on applet 1.3, nothing on others: there is none. SPEC a71ch 2.7. */
static bool
read_restricted(struct span data, a71ch_restricted *out)
{
    struct rd r = rd_of(data);
    unsigned pair = data.len > 0 ? rd_u8(&r) : NO_PAIR;
    size_t count = data.len > 0 ? rd_u8(&r) : 0;
    a71ch_restricted info = { .pair = pair == NO_PAIR ? -1 : (int)pair, .block_count = count };

    if (count > sizeof info.blocks / sizeof info.blocks[0] || (info.pair < 0 && count > 0))
        return false;
    for (size_t i = 0; i < count; i++) {
        info.blocks[i].offset = rd_u16(&r);
        info.blocks[i].len = rd_u16(&r);
    }
    *out = info;
    return rd_done(&r);
}

a71ch_result
a71ch_get_restricted(a71ch *chip, a71ch_restricted *out)
{
    struct apdu cmd = { CLA, INS_MODULE_GET, 0, GET_RESTRICTED, .le = 256 };
    struct answer ans;
    a71ch_restricted info;
    a71ch_result res;

    host_begin(chip);
    res = host_command(
        chip, (struct task){ "read about the restricted key pair", -1 }, &cmd, ANY_LEN, &ans);
    if (res != A71CH_OK)
        return res;
    if (!read_restricted(ans.data, &info))
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip's %zu bytes about the restricted key pair have no known form", ans.data.len);
    *out = info;
    return A71CH_OK;
}

a71ch_result
a71ch_inject_lock(a71ch *chip)
{
    struct apdu cmd = { CLA, INS_MODULE_SET, 0, SET_INJECT_LOCK, .le = 256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "set the inject lock", -1 }, &cmd);
}

a71ch_result
a71ch_transport_lock(a71ch *chip)
{
    struct apdu cmd = { CLA, INS_MODULE_SET, 0, SET_TRANSPORT_LOCK, .le = 256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "set the transport lock", -1 }, &cmd);
}

a71ch_result
a71ch_transport_unlock(a71ch *chip, const uint8_t code[A71CH_KEY_LEN])
{
    struct apdu cmd = { CLA, INS_MODULE_SET, 0, SET_TRANSPORT_UNLOCK, span_of(code, A71CH_KEY_LEN),
        256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "unlock the transport lock", -1 }, &cmd);
}

a71ch_result
a71ch_get_challenge(a71ch *chip, unsigned kind, uint8_t out[A71CH_KEY_LEN])
{
    struct apdu cmd = { CLA, INS_MODULE_GET, (uint8_t)kind, GET_CHALLENGE, .le = 256 };

    host_begin(chip);
    if (kind > A71CH_CODE_PUB)
        return host_fail(chip, A71CH_ERR_ARG,
            "there is no challenge of kind %u; 0 is the module's, 1 for key pairs, 2 for public "
            "keys",
            kind);
    return host_fetch(chip, (struct task){ "get a challenge", -1 }, &cmd, A71CH_KEY_LEN, out);
}

a71ch_result
a71ch_get_code(
    a71ch *chip, unsigned kind, const uint8_t config_key[A71CH_KEY_LEN], uint8_t out[A71CH_KEY_LEN])
{
    uint8_t challenge[A71CH_KEY_LEN];
    a71ch_result res = a71ch_get_challenge(chip, kind, challenge);

    if (res == A71CH_OK && wrap_decrypt_block(config_key, challenge, out) != BM_OK)
        res = host_fail(chip, A71CH_ERR_MEMORY, "cannot make a code: libcrypto failed");
    return res;
}

a71ch_result
a71ch_debug_disable(a71ch *chip)
{
    struct apdu cmd = { CLA, INS_DEBUG_DISABLE, 0, DISABLE_P2, .le = 256 };

    host_begin(chip);
    return host_order(chip, (struct task){ "disable debug mode", -1 }, &cmd);
}

static a71ch_result
free_memory(a71ch *chip, const char *what, uint8_t which, int16_t *out)
{
    struct apdu cmd = { CLA, INS_MODULE_GET, which, GET_FREE, .le = 256 };
    uint8_t bytes[2];
    struct rd r = rd_of(SPAN(bytes));
    a71ch_result res;

    host_begin(chip);
    res = host_fetch(chip, (struct task){ what, -1 }, &cmd, sizeof bytes, bytes);
    if (res == A71CH_OK)
        *out = (int16_t)rd_u16(&r);
    return res;
}

a71ch_result
a71ch_debug_free_persistent(a71ch *chip, int16_t *out)
{
    return free_memory(chip, "read the free persistent memory", FREE_PERSISTENT, out);
}

a71ch_result
a71ch_debug_free_transient(a71ch *chip, int16_t *out)
{
    return free_memory(chip, "read the free transient memory", FREE_TRANSIENT, out);
}

a71ch_result
a71ch_debug_reflect(a71ch *chip, const uint8_t *data, size_t len, uint8_t *out)
{
    struct apdu cmd = { CLA, INS_REFLECT, 0, 0, span_of(data, len), 256 };

    host_begin(chip);
    if (len > APDU_CHUNK)
        return host_fail(
            chip, A71CH_ERR_ARG, "the chip reflects up to %d bytes, not %zu", APDU_CHUNK, len);
    return host_fetch(chip, (struct task){ "have bytes reflected", -1 }, &cmd, len, out);
}
