/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: both ends of a secure channel. The input is a list of items, each a byte that says
 * what it is, a length byte and so many bytes: a command as it is, a command protected rightly, a
 * protected command whose ciphertext is ours and whose MAC is right, and answers to the host of the
 * same three kinds. Without the MAC nothing may pass; with it nothing may break.
 */
#include "chip/chip.h"
#include "chip/nvm.h"
#include "chip/state.h"
#include "scp03/client.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct scp03_aes aes;
    struct scp03_keys keys;
    struct nvm_mem mem;
    struct chip *chip;
    struct scp03_channel host;
    uint8_t rsp[APDU_RSP_MAX];
    size_t len;
};

static void
must(bool fact)
{
    if (!fact)
        abort();
}

static uint16_t
send(struct world *w, const struct apdu *cmd)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr out = wr_of(bytes, sizeof bytes);

    must(apdu_build(&out, cmd) == BM_OK);
    w->len = chip_apdu(w->chip, span_of(bytes, wr_len(&out)), w->rsp);
    must(w->len >= 2 && w->len <= sizeof w->rsp);
    return (uint16_t)(w->rsp[w->len - 2] << 8 | w->rsp[w->len - 1]);
}

/* Select, put keys when there are none, authenticate; false when the chip has locked itself. */
static bool
open_channel(struct world *w)
{
    const struct apdu select = { 0, INS_SELECT, 4, 0, span_str("a71ch"), 256 };
    uint8_t blocks[SCP03_PUT_KEY_LEN];
    uint8_t context[SCP03_CONTEXT_LEN] = { 0 };
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];
    uint8_t room[SCP03_WRAPPED_MAX];
    struct apdu cmd = { 0x80, INS_PUT_KEY, 0, 0x81, SPAN(blocks), 256 };

    must(send(w, &select) == SW_OK);
    must(scp03_put_key_build(&w->aes, 0x21, &w->keys, blocks) == BM_OK);
    (void)send(w, &cmd);
    cmd = (struct apdu){ 0x80, INS_INIT_UPDATE, 0x21, 0, span_of(context, 8), 256 };
    if (send(w, &cmd) != SW_OK)
        return false;
    must(w->len == SCP03_INIT_LEN + 2);
    memcpy(&context[8], &w->rsp[13], 8);
    must(scp03_start(&w->host, &w->aes, &w->keys, context) == BM_OK);
    must(scp03_cryptogram(&w->host, &w->aes, SCP03_HOST, context, cryptogram) == BM_OK);
    cmd = (struct apdu){ 0x80, INS_EXT_AUTH, SCP03_LEVEL, 0, SPAN(cryptogram), -1 };
    must(scp03_protect_command(&w->host, &w->aes, &cmd, room, &cmd) == BM_OK);
    must(send(w, &cmd) == SW_OK);
    scp03_next(&w->host);
    return true;
}

/* `bytes` is header and data of a command. */
static struct apdu
command_of(struct span bytes)
{
    struct rd r = rd_of(bytes);
    struct apdu cmd = { .cla = 0x80, .le = 256 };

    cmd.ins = rd_u8(&r);
    cmd.p1 = rd_u8(&r);
    cmd.p2 = rd_u8(&r);
    cmd.data = r.failed ? (struct span){ 0 } : rd_rest(&r);
    return cmd;
}

static void
take_answer(struct world *w, uint16_t sw)
{
    uint8_t room[SCP03_CRYPT_MAX];
    struct span data;
    uint16_t word = 0;

    if (w->len == 2 && (sw != SW_OK)) {
        scp03_next(&w->host);
        return;
    }
    if (scp03_open_response(&w->host, &w->aes, span_of(w->rsp, w->len), room, &data, &word) !=
        BM_OK) /* only a command that ended the channel is answered like this */
        must(open_channel(w) || sw == SW_OK);
    else
        must(word == sw);
    scp03_next(&w->host);
}

static void
protected_command(struct world *w, struct span bytes)
{
    struct apdu cmd = command_of(bytes);
    uint8_t room[SCP03_WRAPPED_MAX];

    if (cmd.ins == INS_DEBUG_RESET || cmd.ins == INS_INIT_UPDATE || cmd.ins == INS_EXT_AUTH)
        return; /* end it; test_chip_scp has them */
    if (scp03_protect_command(&w->host, &w->aes, &cmd, room, &cmd) != BM_OK)
        return;
    take_answer(w, send(w, &cmd));
}

/* A right MAC over any bytes, as a host without padding would send them. */
static void
forged_command(struct world *w, struct span bytes)
{
    struct apdu cmd = command_of(bytes);
    uint8_t data[APDU_DATA_MAX];
    uint8_t header[] = { SCP03_CLA_SECURE, cmd.ins, cmd.p1, cmd.p2, 0 };
    const struct span parts[] = { SPAN(w->host.chain), SPAN(header), cmd.data };
    uint8_t mac[SCP03_BLOCK_LEN];
    uint16_t sw;

    if (cmd.ins == INS_EXT_AUTH || cmd.data.len > sizeof data - SCP03_MAC_LEN)
        return;
    header[4] = (uint8_t)(cmd.data.len + SCP03_MAC_LEN);
    must(scp03_cmac(&w->aes, w->host.mac, parts, 3, mac) == BM_OK);
    if (cmd.data.len > 0)
        memcpy(data, cmd.data.ptr, cmd.data.len);
    memcpy(&data[cmd.data.len], mac, SCP03_MAC_LEN);
    cmd.cla = SCP03_CLA_SECURE;
    cmd.data = span_of(data, cmd.data.len + SCP03_MAC_LEN);
    sw = send(w, &cmd);
    must(sw != SW_OK || w->len > 2 || cmd.ins == INS_DEBUG_RESET);
    (void)open_channel(w);
}

static void
host_answer(struct world *w, struct span bytes, bool forge)
{
    struct scp03_client c = { .aes = w->aes, .channel = w->host, .state = SCP03_UP };
    uint8_t plain[APDU_RSP_MAX];
    uint8_t rsp[300];
    struct wr to = wr_of(plain, sizeof plain);
    struct wr out = wr_of(rsp, sizeof rsp);
    const uint8_t words[] = { 0x90, 0x00 };
    const struct span parts[] = { SPAN(w->host.chain), bytes, SPAN(words) };
    uint8_t mac[SCP03_BLOCK_LEN];
    bool bare;
    enum bm_err err;

    wr_span(&out, bytes);
    if (forge) {
        must(scp03_cmac(&w->aes, w->host.rmac, parts, 3, mac) == BM_OK);
        wr_bytes(&out, mac, SCP03_MAC_LEN);
        wr_bytes(&out, words, sizeof words);
    }
    bare = wr_len(&out) == 2 && rsp[0] >= 0x64 && rsp[0] <= 0x6f;
    err = scp03_client_unwrap(&c, span_of(rsp, wr_len(&out)), &to);
    must(forge ? err == BM_OK || err == BM_ERR_PROTO : err == (bare ? BM_OK : BM_ERR_DENIED));
    must(err == BM_OK ? wr_len(&to) <= SCP03_DATA_MAX + 2 : wr_len(&to) == 0);
    must((c.state == SCP03_UP) == (err == BM_OK && (!bare || rsp[0] != 0x69 || rsp[1] != 0x82)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { RAW, PROTECTED, FORGED, HOST_RAW, HOST_FORGED, KINDS };
    struct rd r = rd_of(span_of(data, size));
    static OSSL_LIB_CTX *lib; /* a new one for each input takes most of the time */
    struct world w = { 0 };

    if (lib == NULL)
        lib = OSSL_LIB_CTX_new();
    must(chip_open_store_shared(nvm_store_mem(&w.mem), lib, &w.chip, NULL) == BM_OK);
    must(scp03_aes_init(&w.aes, lib) == BM_OK);
    must(open_channel(&w));
    while (rd_left(&r) > 1) {
        unsigned kind = rd_u8(&r) % KINDS;
        size_t len = rd_u8(&r);
        struct span bytes = rd_span(&r, len < rd_left(&r) ? len : rd_left(&r));

        if (kind == RAW) {
            w.len = chip_apdu(w.chip, bytes, w.rsp);
            must(w.len >= 2);
            (void)open_channel(&w);
        } else if (kind == PROTECTED) {
            protected_command(&w, bytes);
        } else if (kind == FORGED) {
            forged_command(&w, bytes);
        } else {
            host_answer(&w, bytes, kind == HOST_FORGED);
        }
    }
    chip_close(w.chip);
    must(chip_open_store_shared(nvm_store_mem(&w.mem), lib, &w.chip, NULL) == BM_OK);
    chip_close(w.chip);
    scp03_aes_fini(&w.aes);
    buf_fini(&w.mem.bytes);
    return 0;
}
