/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a secure channel to a chip on memory, for unit tests of the chip. Include it
 * after chip_bench.h. What it computes is proved against a real card's session in test_scp03.c.
 */
#ifndef BM_TESTS_SCP_HOST_H
#define BM_TESTS_SCP_HOST_H

#include "scp03/scp03.h"

#define SCP_ENC "000102030405060708090a0b0c0d0e0f"
#define SCP_MAC "101112131415161718191a1b1c1d1e1f"
#define SCP_DEK "202122232425262728292a2b2c2d2e2f"
#define SCP_BLOCK(key, kcv) "881110" key "03" kcv
#define SCP_BLOCKS                                                                                 \
    SCP_BLOCK(SCP_ENC, "c35280") SCP_BLOCK(SCP_MAC, "013808") SCP_BLOCK(SCP_DEK, "840de5")
#define SCP_PUT_KEY                                                                                \
    "80d8008146"                                                                                   \
    "21" SCP_BLOCKS "00"

struct scp_host {
    struct scp03_aes aes;
    struct scp03_keys keys;
    struct scp03_channel channel;
    uint8_t context[SCP03_CONTEXT_LEN];
    uint8_t wire[APDU_CMD_MAX]; /* the last protected command */
    size_t wire_len;
    uint8_t room[SCP03_CRYPT_MAX];
    struct span data; /* of the last answer */
    bool proved;      /* it had a right R-MAC */
};

static inline void
scp_host_init(struct scp_host *h)
{
    *h = (struct scp_host){ 0 };
    assert_int_equal(scp03_aes_init(&h->aes, NULL), BM_OK);
    assert_int_equal(
        hex_decode((uint8_t *)&h->keys, sizeof h->keys, span_str(SCP_ENC SCP_MAC SCP_DEK)), BM_OK);
}

/* INITIALIZE UPDATE, its answer judged; the channel is started, not up. */
static inline uint16_t
scp_challenge(struct bench *b, struct scp_host *h)
{
    uint8_t want[SCP03_CRYPTOGRAM_LEN];
    uint16_t sw = run(b, "8050210008a0a1a2a3a4a5a6a700");

    if (sw != SW_OK)
        return sw;
    assert_int_equal(b->data.len, SCP03_INIT_LEN);
    for (uint8_t i = 0; i < SCP03_CHALLENGE_LEN; i++)
        h->context[i] = (uint8_t)(0xa0 + i);
    memcpy(&h->context[SCP03_CHALLENGE_LEN], &b->data.ptr[13], SCP03_CHALLENGE_LEN);
    assert_int_equal(scp03_start(&h->channel, &h->aes, &h->keys, h->context), BM_OK);
    assert_int_equal(scp03_cryptogram(&h->channel, &h->aes, SCP03_CARD, h->context, want), BM_OK);
    assert_true(bm_equal_ct(want, &b->data.ptr[21], sizeof want));
    return sw;
}

/* Protect a command into `wire`. */
static inline void
scp_wrap(struct scp_host *h, const struct apdu *cmd)
{
    uint8_t room[SCP03_WRAPPED_MAX];
    struct wr w = wr_of(h->wire, sizeof h->wire);
    struct apdu out;

    assert_int_equal(scp03_protect_command(&h->channel, &h->aes, cmd, room, &out), BM_OK);
    assert_int_equal(apdu_build(&w, &out), BM_OK);
    h->wire_len = wr_len(&w);
}

static inline void
scp_wrap_authenticate(struct scp_host *h)
{
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];
    struct apdu cmd = { 0x80, INS_EXT_AUTH, SCP03_LEVEL, 0, SPAN(cryptogram), -1 };

    assert_int_equal(
        scp03_cryptogram(&h->channel, &h->aes, SCP03_HOST, h->context, cryptogram), BM_OK);
    scp_wrap(h, &cmd);
}

/* Both commands. */
static inline uint16_t
scp_open(struct bench *b, struct scp_host *h)
{
    uint16_t sw = scp_challenge(b, h);

    if (sw != SW_OK)
        return sw;
    scp_wrap_authenticate(h);
    sw = run_bytes(b, span_of(h->wire, h->wire_len));
    assert_int_equal(b->data.len, 0);
    scp03_next(&h->channel);
    return sw;
}

/* A command through the channel; a bare status word is taken as it is. */
static inline uint16_t
scp_run_bytes(struct bench *b, struct scp_host *h, struct span plain)
{
    struct apdu cmd;
    uint16_t sw;

    assert_int_equal(apdu_parse(plain, &cmd), BM_OK);
    scp_wrap(h, &cmd);
    sw = run_bytes(b, span_of(h->wire, h->wire_len));
    h->data = (struct span){ 0 };
    h->proved = b->data.len > 0;
    if (h->proved)
        assert_int_equal(scp03_open_response(&h->channel, &h->aes, span_of(b->rsp, b->data.len + 2),
                             h->room, &h->data, &sw),
            BM_OK);
    scp03_next(&h->channel);
    return sw;
}

static inline uint16_t
scp_run(struct bench *b, struct scp_host *h, const char *hex)
{
    uint8_t cmd[APDU_CMD_MAX];
    size_t len = strlen(hex) / 2;

    assert_true(len <= sizeof cmd);
    assert_int_equal(hex_decode(cmd, len, span_str(hex)), BM_OK);
    return scp_run_bytes(b, h, span_of(cmd, len));
}

/* Run through the channel and compare status word, data, and that an answer 9000 is proved. */
static inline void
scp_expect(struct bench *b, struct scp_host *h, const char *hex, unsigned sw, const char *data)
{
    char got[2 * APDU_RSP_MAX + 1];

    assert_int_equal(scp_run(b, h, hex), sw);
    hex_encode(got, h->data.ptr, h->data.len);
    assert_string_equal(got, data);
    assert_true(h->proved || sw != SW_OK);
}

#endif
