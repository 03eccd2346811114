/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of liba71ch on key pairs and public keys. SPEC a71ch 2.3, 2.4.
 */
#include "host/host.h"

#include "host/signature.h"

#include <string.h>

enum {
    CLA = 0x80,
    GET_USAGE = 0x01,         /* P2 of 11 */
    WRAPPED_PRIVATE_LEN = 40, /* RFC 3394; the chip tells the forms apart by their length */
    WRAPPED_PUBLIC_LEN = 72,
    SIGNATURE_MIN = 8,
    VERIFY_EXTERNAL = 0x01,
    VERIFY_STORED = 0x02,
    RESULT_VALID = 0x01,
    RESULT_INVALID = 0x02,
};

static struct task
on_slot(const char *what, unsigned index)
{
    return (struct task){ what, (int)index };
}

/* A command on a slot that carries nothing, or a code: P2 is its length. SPEC a71ch 2.3, 2.4. */
static a71ch_result
order_pair(a71ch *chip, const char *what, uint8_t ins, unsigned index, const uint8_t *code)
{
    size_t len = code != NULL ? A71CH_KEY_LEN : 0;
    struct apdu cmd = { CLA, ins, (uint8_t)index, (uint8_t)len, span_of(code, len), 256 };
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    return res == A71CH_OK ? host_order(chip, on_slot(what, index), &cmd) : res;
}

static a71ch_result
order_pub(a71ch *chip, const char *what, uint8_t ins, unsigned index, const uint8_t *code)
{
    size_t len = code != NULL ? A71CH_KEY_LEN : 0;
    struct apdu cmd = { CLA, ins, (uint8_t)index, (uint8_t)len, span_of(code, len), 256 };
    a71ch_result res = host_check_index(chip, "public key", index, A71CH_PUB_COUNT);

    return res == A71CH_OK ? host_order(chip, on_slot(what, index), &cmd) : res;
}

a71ch_result
a71ch_pair_generate(a71ch *chip, unsigned index)
{
    return order_pair(chip, "generate key pair", INS_PAIR_SET, index, NULL);
}

a71ch_result
a71ch_pair_generate_with_code(a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN])
{
    return order_pair(chip, "generate key pair", INS_PAIR_SET, index, code);
}

a71ch_result
a71ch_pair_erase(a71ch *chip, unsigned index)
{
    return order_pair(chip, "erase key pair", INS_PAIR_ERASE, index, NULL);
}

a71ch_result
a71ch_pair_erase_with_code(a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN])
{
    return order_pair(chip, "erase key pair", INS_PAIR_ERASE, index, code);
}

a71ch_result
a71ch_pair_freeze(a71ch *chip, unsigned index)
{
    return order_pair(chip, "freeze key pair", INS_PAIR_FREEZE, index, NULL);
}

a71ch_result
a71ch_pair_freeze_with_code(a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN])
{
    return order_pair(chip, "freeze key pair", INS_PAIR_FREEZE, index, code);
}

a71ch_result
a71ch_pair_set(a71ch *chip, unsigned index, const uint8_t pub[A71CH_POINT_LEN], const uint8_t *priv,
    size_t priv_len)
{
    uint8_t data[WRAPPED_PRIVATE_LEN + A71CH_POINT_LEN];
    struct wr w = wr_of(data, sizeof data);
    struct apdu cmd = { CLA, INS_PAIR_SET, (uint8_t)index, 0, .le = 256 };
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res != A71CH_OK)
        return res;
    if (priv_len != A71CH_SCALAR_LEN && priv_len != WRAPPED_PRIVATE_LEN)
        return host_fail(chip, A71CH_ERR_ARG,
            "a private key has %d bytes, or %d when wrapped, not %zu", A71CH_SCALAR_LEN,
            WRAPPED_PRIVATE_LEN, priv_len);
    wr_bytes(&w, priv, priv_len);
    wr_bytes(&w, pub, A71CH_POINT_LEN);
    cmd.data = span_of(data, wr_len(&w));
    res = host_order(chip, on_slot("set key pair", index), &cmd);
    bm_wipe(data, sizeof data);
    return res;
}

a71ch_result
a71ch_pair_get_public(a71ch *chip, unsigned index, uint8_t out[A71CH_POINT_LEN])
{
    struct apdu cmd = { CLA, INS_PAIR_GET, (uint8_t)index, 0, .le = 256 };
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res != A71CH_OK)
        return res;
    return host_point(chip, on_slot("read the public key of key pair", index), &cmd, out);
}

a71ch_result
a71ch_pair_sign(a71ch *chip, unsigned index, const uint8_t hash[A71CH_HASH_LEN],
    uint8_t out[A71CH_SIGNATURE_MAX], size_t *out_len)
{
    struct apdu cmd = { CLA, INS_PAIR_SIGN, (uint8_t)index, 0, span_of(hash, A71CH_HASH_LEN), 256 };
    uint8_t strict[A71CH_SIGNATURE_MAX];
    struct wr w = wr_of(strict, sizeof strict);
    struct answer ans;
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res == A71CH_OK)
        res = host_command(chip, on_slot("sign with key pair", index), &cmd, ANY_LEN, &ans);
    if (res != A71CH_OK)
        return res;
    if (signature_normalise(ans.data, &w) != BM_OK)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "cannot sign with key pair %u: the chip answered with %zu bytes that are no ECDSA "
            "signature",
            index, ans.data.len);
    memcpy(out, strict, wr_len(&w));
    *out_len = wr_len(&w);
    return A71CH_OK;
}

a71ch_result
a71ch_pair_ecdh(
    a71ch *chip, unsigned index, const uint8_t peer[A71CH_POINT_LEN], uint8_t out[A71CH_SECRET_LEN])
{
    struct apdu cmd = { CLA, INS_PAIR_ECDH, (uint8_t)index, 0, span_of(peer, A71CH_POINT_LEN),
        256 };
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res != A71CH_OK)
        return res;
    return host_fetch(
        chip, on_slot("derive a secret with key pair", index), &cmd, A71CH_SECRET_LEN, out);
}

/* No data: not restricted; applet 1.3 says 00 00 then. SPEC a71ch 2.3. */
a71ch_result
a71ch_pair_get_usage(a71ch *chip, unsigned index, unsigned *used, unsigned *max)
{
    struct apdu cmd = { CLA, INS_PAIR_GET, (uint8_t)index, GET_USAGE, .le = 256 };
    struct answer ans;
    struct rd r;
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res == A71CH_OK)
        res = host_command(chip, on_slot("read the usage of key pair", index), &cmd, ANY_LEN, &ans);
    if (res != A71CH_OK)
        return res;
    if (ans.data.len != 0 && ans.data.len != 2)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip answered with %zu bytes about the usage of a key pair instead of 0 or 2",
            ans.data.len);
    r = rd_of(ans.data);
    *used = rd_u8(&r);
    *max = rd_u8(&r);
    return A71CH_OK;
}

a71ch_result
a71ch_pair_restricted_sign(
    a71ch *chip, unsigned index, const uint8_t *update, size_t len, unsigned *count)
{
    struct apdu cmd = { CLA, INS_PAIR_SIGN, (uint8_t)index, 0, span_of(update, len), 256 };
    uint8_t used;
    a71ch_result res = host_check_index(chip, "key pair", index, A71CH_PAIR_COUNT);

    if (res != A71CH_OK)
        return res;
    if (len < 1 || len > APDU_CHUNK)
        return host_fail(chip, A71CH_ERR_ARG,
            "a restricted signature takes 1 to %d bytes for its blocks, not %zu", APDU_CHUNK, len);
    res = host_fetch(chip, on_slot("sign with restricted key pair", index), &cmd, 1, &used);
    if (res == A71CH_OK)
        *count = used;
    return res;
}

a71ch_result
a71ch_pair_psk_master(a71ch *chip, unsigned pair, const uint8_t peer[A71CH_POINT_LEN],
    unsigned index, unsigned blocks, const uint8_t server_random[A71CH_RANDOM_LEN],
    uint8_t out[A71CH_MASTER_LEN])
{
    uint8_t data[A71CH_POINT_LEN + A71CH_RANDOM_LEN];
    struct wr w = wr_of(data, sizeof data);
    struct apdu cmd = { CLA, INS_PAIR_MASTER, (uint8_t)pair, host_slots(index, blocks), SPAN(data),
        256 };
    a71ch_result res = host_check_index(chip, "key pair", pair, A71CH_PAIR_COUNT);

    if (res == A71CH_OK)
        res = host_check_slots(chip, index, blocks);
    if (res != A71CH_OK)
        return res;
    wr_bytes(&w, peer, A71CH_POINT_LEN);
    wr_bytes(&w, server_random, A71CH_RANDOM_LEN);
    return host_fetch(
        chip, on_slot("derive a master secret with key pair", pair), &cmd, A71CH_MASTER_LEN, out);
}

a71ch_result
a71ch_pub_set(a71ch *chip, unsigned index, const uint8_t *pub, size_t len)
{
    struct apdu cmd = { CLA, INS_PUB_SET, (uint8_t)index, 0, span_of(pub, len), 256 };
    a71ch_result res = host_check_index(chip, "public key", index, A71CH_PUB_COUNT);

    if (res != A71CH_OK)
        return res;
    if (len != A71CH_POINT_LEN && len != WRAPPED_PUBLIC_LEN)
        return host_fail(chip, A71CH_ERR_ARG,
            "a public key has %d bytes, or %d when wrapped, not %zu", A71CH_POINT_LEN,
            WRAPPED_PUBLIC_LEN, len);
    return host_order(chip, on_slot("set public key", index), &cmd);
}

a71ch_result
a71ch_pub_get(a71ch *chip, unsigned index, uint8_t out[A71CH_POINT_LEN])
{
    struct apdu cmd = { CLA, INS_PUB_GET, (uint8_t)index, 0, .le = 256 };
    a71ch_result res = host_check_index(chip, "public key", index, A71CH_PUB_COUNT);

    return res == A71CH_OK ? host_point(chip, on_slot("read public key", index), &cmd, out) : res;
}

a71ch_result
a71ch_pub_erase(a71ch *chip, unsigned index)
{
    return order_pub(chip, "erase public key", INS_PUB_ERASE, index, NULL);
}

a71ch_result
a71ch_pub_erase_with_code(a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN])
{
    return order_pub(chip, "erase public key", INS_PUB_ERASE, index, code);
}

a71ch_result
a71ch_pub_freeze(a71ch *chip, unsigned index)
{
    return order_pub(chip, "freeze public key", INS_PUB_FREEZE, index, NULL);
}

a71ch_result
a71ch_pub_freeze_with_code(a71ch *chip, unsigned index, const uint8_t code[A71CH_KEY_LEN])
{
    return order_pub(chip, "freeze public key", INS_PUB_FREEZE, index, code);
}

/* Hash, signature and, for a key that is not in the chip, the key last. SPEC a71ch 2.4. */
static a71ch_result
verify(a71ch *chip, struct task task, struct apdu cmd, struct span hash, struct span sig,
    struct span key, int *valid)
{
    uint8_t data[A71CH_HASH_LEN + A71CH_SIGNATURE_MAX + A71CH_POINT_LEN];
    struct wr w = wr_of(data, sizeof data);
    struct answer ans;
    a71ch_result res;

    if (sig.len < SIGNATURE_MIN || sig.len > A71CH_SIGNATURE_MAX)
        return host_fail(chip, A71CH_ERR_ARG, "a DER signature has %d to %d bytes, not %zu",
            SIGNATURE_MIN, A71CH_SIGNATURE_MAX, sig.len);
    wr_span(&w, hash);
    wr_span(&w, sig);
    wr_span(&w, key);
    cmd.data = span_of(data, wr_len(&w));
    res = host_command(chip, task, &cmd, 1, &ans);
    if (res != A71CH_OK)
        return res;
    if (ans.data.ptr[0] != RESULT_VALID && ans.data.ptr[0] != RESULT_INVALID)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip answered a verification with %02X instead of 01 or 02", ans.data.ptr[0]);
    *valid = ans.data.ptr[0] == RESULT_VALID;
    return A71CH_OK;
}

a71ch_result
a71ch_pub_verify(a71ch *chip, unsigned index, const uint8_t hash[A71CH_HASH_LEN],
    const uint8_t *sig, size_t sig_len, int *valid)
{
    struct apdu cmd = { CLA, INS_PUB_VERIFY, (uint8_t)index, VERIFY_STORED, .le = 256 };
    a71ch_result res = host_check_index(chip, "public key", index, A71CH_PUB_COUNT);

    if (res != A71CH_OK)
        return res;
    return verify(chip, on_slot("verify with public key", index), cmd,
        span_of(hash, A71CH_HASH_LEN), span_of(sig, sig_len), span_of(NULL, 0), valid);
}

a71ch_result
a71ch_verify_with_key(a71ch *chip, const uint8_t pub[A71CH_POINT_LEN],
    const uint8_t hash[A71CH_HASH_LEN], const uint8_t *sig, size_t sig_len, int *valid)
{
    struct apdu cmd = { CLA, INS_PUB_VERIFY, 0, VERIFY_EXTERNAL, .le = 256 };

    host_begin(chip);
    return verify(chip, (struct task){ "verify with the given key", -1 }, cmd,
        span_of(hash, A71CH_HASH_LEN), span_of(sig, sig_len), span_of(pub, A71CH_POINT_LEN), valid);
}
