/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of liba71ch on configuration keys and symmetric keys, and what is derived from them.
 * SPEC a71ch 2.5, 3.3, 3.5. HMAC is in hash.c.
 */
#include "host/host.h"

enum {
    CLA = 0x80,
    PLAIN = 0x01, /* P2 of 32 and 42 */
    WRAPPED = 0x02,
    WRAPPED_LEN = A71CH_KEY_LEN + A71CH_WRAP_EXTRA,
    INFO_MAX = 192,
    HKDF_TEXT_MAX = APDU_CHUNK - 2, /* salt and info, beside their two lengths */
};

a71ch_result
host_check_slots(a71ch *chip, unsigned index, unsigned blocks)
{
    a71ch_result res = host_check_index(chip, "symmetric key", index, A71CH_SYM_COUNT);

    if (res != A71CH_OK)
        return res;
    if (blocks < 1 || blocks > A71CH_BLOCKS_MAX || blocks > A71CH_SYM_COUNT - index)
        return host_fail(chip, A71CH_ERR_ARG,
            "a secret has 1 to %d symmetric keys and ends at slot %d; %u from slot %u on is none",
            A71CH_BLOCKS_MAX, A71CH_SYM_COUNT - 1, blocks, index);
    return A71CH_OK;
}

uint8_t
host_slots(unsigned index, unsigned blocks)
{
    return (uint8_t)(blocks << 4 | index);
}

static a71ch_result
set_key(a71ch *chip, struct task task, uint8_t ins, const uint8_t *key, size_t len)
{
    struct apdu cmd = { CLA, ins, (uint8_t)task.number, len == WRAPPED_LEN ? WRAPPED : PLAIN,
        span_of(key, len), 256 };

    if (len != A71CH_KEY_LEN && len != WRAPPED_LEN)
        return host_fail(chip, A71CH_ERR_ARG, "this key has %d bytes, or %d when wrapped, not %zu",
            A71CH_KEY_LEN, WRAPPED_LEN, len);
    return host_order(chip, task, &cmd);
}

a71ch_result
a71ch_config_set(a71ch *chip, unsigned index, const uint8_t *key, size_t len)
{
    a71ch_result res = host_check_index(chip, "configuration key", index, A71CH_CONFIG_COUNT);

    if (res != A71CH_OK)
        return res;
    return set_key(
        chip, (struct task){ "set configuration key", (int)index }, INS_CONFIG_SET, key, len);
}

a71ch_result
a71ch_sym_set(a71ch *chip, unsigned index, const uint8_t *key, size_t len)
{
    a71ch_result res = host_check_index(chip, "symmetric key", index, A71CH_SYM_COUNT);

    if (res != A71CH_OK)
        return res;
    return set_key(chip, (struct task){ "set symmetric key", (int)index }, INS_SYM_SET, key, len);
}

static a71ch_result
order_sym(a71ch *chip, const char *what, uint8_t ins, unsigned index)
{
    struct apdu cmd = { CLA, ins, (uint8_t)index, 0, .le = 256 };
    a71ch_result res = host_check_index(chip, "symmetric key", index, A71CH_SYM_COUNT);

    return res == A71CH_OK ? host_order(chip, (struct task){ what, (int)index }, &cmd) : res;
}

a71ch_result
a71ch_sym_erase(a71ch *chip, unsigned index)
{
    return order_sym(chip, "erase symmetric key", INS_SYM_ERASE, index);
}

a71ch_result
a71ch_sym_freeze(a71ch *chip, unsigned index)
{
    return order_sym(chip, "freeze symmetric key", INS_SYM_FREEZE, index);
}

a71ch_result
a71ch_sym_hkdf(a71ch *chip, unsigned index, unsigned blocks, const uint8_t *salt, size_t salt_len,
    const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len)
{
    uint8_t data[APDU_CHUNK];
    struct wr w = wr_of(data, sizeof data);
    struct apdu cmd = { CLA, INS_SYM_HKDF, host_slots(index, blocks), (uint8_t)out_len, .le = 256 };
    a71ch_result res = host_check_slots(chip, index, blocks);

    if (res != A71CH_OK)
        return res;
    if (out_len < 1 || out_len > A71CH_DERIVED_MAX)
        return host_fail(
            chip, A71CH_ERR_ARG, "HKDF gives 1 to %d bytes, not %zu", A71CH_DERIVED_MAX, out_len);
    if ((salt == NULL) != (salt_len == 0) || info_len > INFO_MAX ||
        salt_len > HKDF_TEXT_MAX - info_len)
        return host_fail(chip, A71CH_ERR_ARG,
            "HKDF takes up to %d bytes of info, and up to %d with the salt, which is NULL or not "
            "empty; not %zu and %zu",
            INFO_MAX, HKDF_TEXT_MAX, info_len, salt_len);
    if (salt != NULL) {
        wr_u8(&w, (uint8_t)salt_len);
        wr_bytes(&w, salt, salt_len);
    }
    wr_u8(&w, (uint8_t)info_len);
    wr_bytes(&w, info, info_len);
    cmd.data = span_of(data, wr_len(&w));
    return host_fetch(
        chip, (struct task){ "derive from symmetric key", (int)index }, &cmd, out_len, out);
}

a71ch_result
a71ch_sym_psk_master(a71ch *chip, unsigned index, unsigned blocks,
    const uint8_t server_random[A71CH_RANDOM_LEN], uint8_t out[A71CH_MASTER_LEN])
{
    struct apdu cmd = { CLA, INS_SYM_MASTER, host_slots(index, blocks), 0,
        span_of(server_random, A71CH_RANDOM_LEN), 256 };
    a71ch_result res = host_check_slots(chip, index, blocks);

    if (res != A71CH_OK)
        return res;
    return host_fetch(chip,
        (struct task){ "derive a master secret with symmetric key", (int)index }, &cmd,
        A71CH_MASTER_LEN, out);
}
