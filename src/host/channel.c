/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secure channel of liba71ch: opening it, and sending a command through it. SPEC a71ch 4; the
 * protocol itself is in src/scp03.
 */
#include "host/host.h"

#include "scp03/client.h"

#include <stdlib.h>
#include <string.h>

static a71ch_result
channel_over(a71ch *chip)
{
    return host_fail(chip, A71CH_ERR_CHANNEL,
        "the secure channel is over, and nothing is sent in the clear instead; open it again, or "
        "close it if the clear is meant");
}

bool
host_channel_wanted(const a71ch *chip)
{
    return chip->channel != NULL && chip->channel->state != SCP03_CLOSED;
}

void
host_channel_free(a71ch *chip)
{
    if (chip->channel == NULL)
        return;
    scp03_client_fini(chip->channel);
    free(chip->channel);
    chip->channel = NULL;
}

static a71ch_result
unwrap_failed(a71ch *chip, enum bm_err err)
{
    if (err == BM_ERR_DENIED)
        return host_fail(chip, A71CH_ERR_MAC,
            "the answer has no right MAC: something between this program and the chip changed it, "
            "or the chip has lost the channel; the channel is over");
    if (err == BM_ERR_PROTO)
        return host_fail(chip, A71CH_ERR_PADDING,
            "the answer's MAC is right, but it does not decrypt to padded data; the channel is "
            "over");
    return host_fail(chip, A71CH_ERR_MEMORY, "the answer cannot be decrypted: out of memory");
}

a71ch_result
host_channel_apdu(a71ch *chip, const struct apdu *cmd, struct answer *out)
{
    uint8_t bytes[A71CH_APDU_RSP_MAX > APDU_CMD_MAX ? A71CH_APDU_RSP_MAX : APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = apdu_build(&w, cmd);
    a71ch_result res;
    bool answered = err == BM_OK && host_filtered(chip, span_of(bytes, wr_len(&w)), out, &res);

    bm_wipe(bytes, sizeof bytes);
    if (answered)
        return res;
    w = wr_of(bytes, sizeof bytes);
    err = scp03_client_wrap(chip->channel, cmd, &w);
    if (err == BM_ERR_CONFLICT)
        return channel_over(chip);
    if (err == BM_ERR_ARG)
        return host_fail(chip, A71CH_ERR_ARG,
            "%zu bytes do not fit one command in a secure channel, %d do", cmd->data.len,
            SCP03_DATA_MAX);
    if (err != BM_OK)
        return host_fail(chip, A71CH_ERR_MEMORY, "the command cannot be encrypted: out of memory");
    res = host_send(chip, span_of(bytes, wr_len(&w)), out);
    w = wr_of(bytes, sizeof bytes);
    if (res != A71CH_OK) {
        err = scp03_client_unwrap(chip->channel, (struct span){ 0 }, &w); /* nothing came */
        return res;
    }
    err = scp03_client_unwrap(chip->channel, span_of(out->bytes, out->len), &w);
    if (err != BM_OK) {
        bm_wipe(out, sizeof *out);
        chip->status_word = 0; /* nobody has vouched for it */
        return unwrap_failed(chip, err);
    }
    memcpy(out->bytes, bytes, wr_len(&w));
    out->len = wr_len(&w);
    bm_wipe(bytes, sizeof bytes);
    (void)apdu_split(span_of(out->bytes, out->len), &out->data, &out->sw);
    return A71CH_OK;
}

a71ch_result
host_channel_prepare(a71ch *chip)
{
    if (chip->channel != NULL)
        return A71CH_OK;
    chip->channel = malloc(sizeof *chip->channel);
    if (chip->channel != NULL && scp03_client_init(chip->channel, false) == BM_OK)
        return A71CH_OK;
    free(chip->channel);
    chip->channel = NULL;
    return host_fail(chip, A71CH_ERR_MEMORY, "out of memory");
}

static struct scp03_keys
keys_of(const a71ch_scp_keys *keys)
{
    struct scp03_keys k;

    memcpy(k.enc, keys->enc, sizeof k.enc);
    memcpy(k.mac, keys->mac, sizeof k.mac);
    memcpy(k.dek, keys->dek, sizeof k.dek);
    return k;
}

static a71ch_result
open_failed(a71ch *chip, enum bm_err err, const struct answer *ans, const char *command)
{
    switch (err) {
    case BM_ERR_DENIED:
        return host_fail(chip, A71CH_ERR_CRYPTOGRAM,
            "the chip's cryptogram is wrong: it does not have these keys");
    case BM_ERR_STATUS:
        return host_fail(chip, A71CH_ERR_STATUS,
            "cannot open a secure channel: the chip answered %04X to %s%s", ans->sw, command,
            ans->sw == SW_NO_REFERENCE      ? " (it has no keys; put them first)"
            : ans->sw == SW_SECURITY_STATUS ? " (it does not believe us: other keys)"
            : ans->sw == SW_CONDITIONS      ? " (no answer to its challenge, or transport lock)"
                                            : "");
    case BM_ERR_PROTO:
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "cannot open a secure channel: the chip answered %s with %zu bytes of data", command,
            ans->data.len);
    default:
        return host_fail(
            chip, A71CH_ERR_MEMORY, "cannot open a secure channel: libcrypto or memory failed");
    }
}

a71ch_result
a71ch_channel_open(a71ch *chip, const a71ch_scp_keys *keys, unsigned flags)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct scp03_keys k;
    struct answer ans = { 0 };
    a71ch_result res;
    enum bm_err err;

    host_begin(chip);
    if ((flags & ~A71CH_CHANNEL_STRICT) != 0)
        return host_fail(chip, A71CH_ERR_ARG, "channel flags %#x are not known", flags);
    res = host_channel_prepare(chip);
    if (res != A71CH_OK)
        return res;
    chip->channel->strict = (flags & A71CH_CHANNEL_STRICT) != 0;
    err = scp03_client_begin(chip->channel, &w);
    if (err != BM_OK)
        return open_failed(chip, err, &ans, "INITIALIZE UPDATE");
    res = host_apdu(chip, span_of(bytes, wr_len(&w)), &ans);
    if (res != A71CH_OK)
        return res;
    k = keys_of(keys);
    w = wr_of(bytes, sizeof bytes);
    err = scp03_client_prove(chip->channel, &k, span_of(ans.bytes, ans.len), &w);
    bm_wipe(&k, sizeof k);
    if (err != BM_OK)
        return open_failed(chip, err, &ans, "INITIALIZE UPDATE");
    res = host_apdu(chip, span_of(bytes, wr_len(&w)), &ans);
    if (res != A71CH_OK)
        return res;
    err = scp03_client_finish(chip->channel, span_of(ans.bytes, ans.len));
    return err == BM_OK ? A71CH_OK : open_failed(chip, err, &ans, "EXTERNAL AUTHENTICATE");
}

void
a71ch_channel_close(a71ch *chip)
{
    if (chip->channel != NULL)
        scp03_client_close(chip->channel);
}

a71ch_channel
a71ch_channel_state(const a71ch *chip)
{
    if (!host_channel_wanted(chip))
        return A71CH_CHANNEL_NONE;
    return chip->channel->state == SCP03_UP ? A71CH_CHANNEL_UP : A71CH_CHANNEL_OVER;
}

a71ch_result
a71ch_scp_put_keys(a71ch *chip, uint8_t version, const a71ch_scp_keys *keys)
{
    uint8_t data[SCP03_PUT_KEY_LEN];
    const struct apdu cmd = { SCP03_CLA_PLAIN, INS_PUT_KEY, 0x00, 0x81, SPAN(data), 256 };
    struct scp03_keys k = keys_of(keys);
    a71ch_result res;

    host_begin(chip);
    res = host_channel_prepare(chip);
    if (res == A71CH_OK && scp03_put_key_build(&chip->channel->aes, version, &k, data) != BM_OK)
        res = host_fail(chip, A71CH_ERR_MEMORY, "out of memory");
    if (res == A71CH_OK)
        res = host_order(chip, (struct task){ "put the keys of the secure channel", -1 }, &cmd);
    bm_wipe(&k, sizeof k);
    bm_wipe(data, sizeof data);
    return res;
}
