/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of liba71ch's secure channel against the simulated chip on memory, with somebody in
 * between who changes, cuts, swaps, repeats and forges what the chip answers. Whatever he does, the
 * caller gets the right answer or an error, and nothing goes in the clear that was not meant to.
 */
#include "host/host.h"

#include "scp03/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chip_bench.h"

enum lie {
    NONE,
    FLIP,    /* bit `at` of the answer */
    CUT,     /* to `at` bytes */
    KEEP_SW, /* all but the status word away */
    LONGER,  /* `at` zeros between data and status word */
    REPLAY,  /* the answer before */
    FORGE,   /* nothing reaches the chip; the answer is the word `at` */
    SWAP,    /* the chip does it; the answer is the word `at` */
    TWICE,   /* the chip gets the command two times; the first answer comes */
};

struct wire {
    struct a71ch chip; /* first: the exchange gets its link */
    struct bench card;
    enum lie lie;
    size_t at;
    unsigned count;   /* exchanges that began */
    unsigned clear;   /* of those, class 80 */
    unsigned without; /* exchanges to let pass before the lie */
    uint8_t last[APDU_RSP_MAX + 8];
    size_t last_len;
};

static const a71ch_scp_keys keys = { .enc = { 1, 2, 3 }, .mac = { 4, 5, 6 }, .dek = { 7, 8, 9 } };
static const a71ch_scp_keys other = { .enc = { 1, 2, 3 }, .mac = { 4, 5, 7 }, .dek = { 7, 8, 9 } };

static size_t
put_word(uint8_t *out, size_t word)
{
    out[0] = (uint8_t)(word >> 8);
    out[1] = (uint8_t)word;
    return 2;
}

static size_t
answer_of(struct wire *w, struct span cmd, uint8_t *out)
{
    enum lie lie = w->without > 0 ? NONE : w->lie;
    size_t len;

    if (w->without > 0)
        w->without--;
    if (lie == FORGE)
        return put_word(out, w->at);
    len = chip_apdu(w->card.chip, cmd, out);
    switch (lie) {
    case FLIP:
        out[w->at / 8] ^= (uint8_t)(1u << w->at % 8);
        return len;
    case CUT:
        return w->at < len ? w->at : len;
    case KEEP_SW:
        memmove(out, &out[len - 2], 2);
        return 2;
    case LONGER:
        memmove(&out[len - 2 + w->at], &out[len - 2], 2);
        memset(&out[len - 2], 0, w->at);
        return len + w->at;
    case REPLAY:
        memcpy(out, w->last, w->last_len);
        return w->last_len;
    case SWAP:
        return put_word(out, w->at);
    case TWICE:
        (void)chip_apdu(w->card.chip, cmd, w->card.rsp);
        return len;
    default:
        memcpy(w->last, out, len);
        w->last_len = len;
        return len;
    }
}

static enum bm_err
exchange(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct wire *w = (struct wire *)(void *)l;

    (void)timeout_ms;
    (void)msg;
    w->count++;
    w->clear += request->payload.ptr[0] == 0x80;
    *answer = (struct jrcp_msg){ .mty = JRCP_APDU,
        .payload = span_of(room, answer_of(w, request->payload, room)) };
    return BM_OK;
}

static int
setup_wire(void **state)
{
    struct wire *w = calloc(1, sizeof *w);

    if (w == NULL)
        return -1;
    *state = w;
    w->chip.link.fd = -1;
    w->chip.exchange = exchange;
    reopen(&w->card);
    return 0;
}

static int
teardown_wire(void **state)
{
    struct wire *w = *state;

    host_channel_free(&w->chip);
    chip_close(w->card.chip);
    buf_fini(&w->card.mem.bytes);
    free(w);
    return 0;
}

static void
works(struct wire *w, a71ch_result res)
{
    if (res != A71CH_OK)
        fail_msg("%s: %s", a71ch_result_name(res), a71ch_message(&w->chip));
}

static int
setup_keys(void **state)
{
    if (setup_wire(state) != 0)
        return -1;
    works(*state, a71ch_scp_put_keys(&((struct wire *)*state)->chip, 0x21, &keys));
    return 0;
}

/* Up again, whatever was before. */
static void
open_channel(struct wire *w)
{
    w->lie = NONE;
    works(w, a71ch_channel_open(&w->chip, &keys, 0));
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_UP);
    w->count = w->clear = 0;
}

/* The call failed like this, and the channel is over: no call sends anything any more. */
static void
is_over(struct wire *w, a71ch_result res, a71ch_result want)
{
    unsigned before = w->count;
    uint8_t out[16];
    uint32_t value;

    assert_int_equal(res, want);
    assert_true(strlen(a71ch_message(&w->chip)) > 20);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_OVER);
    assert_int_equal(a71ch_get_random(&w->chip, out, sizeof out), A71CH_ERR_CHANNEL);
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_CHANNEL);
    assert_int_equal(w->count, before);
}

/* ---- the right way ------------------------------------------------------------------------ */

static void
every_call_goes_through_the_channel_and_answers_the_same(void **state)
{
    struct wire *w = *state;
    uint8_t long_data[600];
    uint8_t back[600];
    uint8_t hash[32] = { 7 };
    uint8_t point[A71CH_POINT_LEN];
    uint8_t sig[A71CH_SIGNATURE_MAX];
    uint8_t secret[A71CH_SECRET_LEN];
    uint8_t map[A71CH_MAP_MAX];
    size_t len = sizeof sig;
    size_t map_len = sizeof map;
    a71ch_module_info info;
    uint32_t value = 1;
    int valid = 0;

    for (size_t i = 0; i < sizeof long_data; i++)
        long_data[i] = (uint8_t)(i * 7);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_NONE);
    open_channel(w);
    works(w, a71ch_get_module_info(&w->chip, &info));
    assert_int_equal(info.scp_state, 1);
    works(w, a71ch_get_credential_map(&w->chip, map, &map_len));
    assert_int_equal(map_len, 149);
    works(w, a71ch_pair_generate(&w->chip, 0));
    works(w, a71ch_pair_get_public(&w->chip, 0, point));
    works(w, a71ch_pair_sign(&w->chip, 0, hash, sig, &len));
    works(w, a71ch_verify_with_key(&w->chip, point, hash, sig, len, &valid));
    assert_int_equal(valid, 1);
    works(w, a71ch_pair_ecdh(&w->chip, 0, point, secret));
    works(w, a71ch_gp_write(&w->chip, 100, long_data, sizeof long_data));
    works(w, a71ch_gp_read(&w->chip, 100, back, sizeof back));
    assert_memory_equal(back, long_data, sizeof back);
    works(w, a71ch_get_random(&w->chip, back, 500));
    works(w, a71ch_counter_get(&w->chip, 1, &value));
    assert_int_equal(value, 0);
    assert_int_equal(w->clear, 0);
    assert_int_equal(chip_stats(w->card.chip).signatures, 1);
}

/* What needs several commands, or state between them, is the same inside and outside. */
static void
keys_derivations_and_objects_work_inside_as_outside(void **state)
{
    static const uint8_t key[A71CH_KEY_LEN] = { 1, 2, 3, 4 };
    struct wire *w = *state;
    uint8_t text[500];
    uint8_t point[A71CH_POINT_LEN];
    uint8_t code[A71CH_KEY_LEN];
    uint8_t random[A71CH_RANDOM_LEN];
    uint8_t wrapped[A71CH_KEY_LEN + A71CH_WRAP_EXTRA];
    uint8_t results[2][3][64];
    uint8_t back[500];
    size_t len = sizeof back;
    uint32_t value = 0;
    int16_t room = 0;

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 3);
    memset(results, 0, sizeof results);
    works(w, a71ch_sym_set(&w->chip, 0, key, sizeof key));
    for (int inside = 0; inside < 2; inside++) {
        if (inside != 0)
            open_channel(w);
        works(w, a71ch_sym_hmac(&w->chip, 0, 1, text, sizeof text, results[inside][0]));
        works(w, a71ch_sym_hkdf(&w->chip, 0, 1, text, 32, text, 20, results[inside][1], 64));
        works(w, a71ch_sha256(&w->chip, text, sizeof text, results[inside][2]));
    }
    assert_memory_equal(results[0], results[1], sizeof results[0]);
    works(w, a71ch_config_set(&w->chip, 1, key, sizeof key));
    works(w, a71ch_wrap_key(key, text, A71CH_KEY_LEN, wrapped));
    works(w, a71ch_sym_set(&w->chip, 0, wrapped, sizeof wrapped));
    works(w, a71ch_inject_lock(&w->chip));
    works(w, a71ch_get_code(&w->chip, A71CH_CODE_PAIR, key, code));
    works(w, a71ch_pair_generate_with_code(&w->chip, 0, code));
    works(w, a71ch_pair_get_public(&w->chip, 0, point));
    works(w, a71ch_get_client_hello_random(&w->chip, random));
    works(w, a71ch_pair_psk_master(&w->chip, 0, point, 0, 1, random, back));
    works(w, a71ch_set_tls_label(&w->chip, text, 5));
    works(w, a71ch_counter_set(&w->chip, 0, 0x80000000));
    works(w, a71ch_counter_increment(&w->chip, 0));
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    assert_int_equal(value, 0x80000001);
    works(w, a71ch_object_write(&w->chip, A71CH_DATA, 3, text, sizeof text, sizeof text));
    works(w, a71ch_object_read(&w->chip, A71CH_DATA, 3, 0, back, &len));
    assert_int_equal(len, sizeof text);
    assert_memory_equal(back, text, sizeof text);
    assert_int_equal(w->clear, 0);
    works(w, a71ch_debug_free_persistent(&w->chip, &room)); /* SPEC 1.6: beside the channel */
    works(w, a71ch_debug_disable(&w->chip));
    assert_int_equal(w->clear, 2);
    works(w, a71ch_counter_get(&w->chip, 0, &value));
}

static void
refusals_inside_are_status_words_and_the_channel_goes_on(void **state)
{
    struct wire *w = *state;
    uint8_t point[A71CH_POINT_LEN];
    struct quirks quirks = quirks_default();
    uint32_t value;

    for (int i = 0; i < 4; i++) {
        quirks.value[QUIRK_MAC_ON_ERROR] = i % 2 != 0;
        chip_set_quirks(w->card.chip, &quirks);
        open_channel(w);
        assert_int_equal(a71ch_pair_get_public(&w->chip, 2, point), A71CH_ERR_STATUS);
        assert_int_equal(a71ch_status_word(&w->chip), SW_CONDITIONS);
        works(w, a71ch_counter_get(&w->chip, 0, &value));
    }
    works(w, a71ch_channel_open(&w->chip, &keys, A71CH_CHANNEL_STRICT)); /* they have a MAC now */
    assert_int_equal(a71ch_pair_get_public(&w->chip, 2, point), A71CH_ERR_STATUS);
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    quirks.value[QUIRK_MAC_ON_ERROR] = 0;
    chip_set_quirks(w->card.chip, &quirks);
    is_over(w, a71ch_pair_get_public(&w->chip, 2, point), A71CH_ERR_MAC);
    assert_int_equal(a71ch_status_word(&w->chip), 0);
}

static void
closed_channel_means_the_clear_and_a_new_one_replaces_the_old(void **state)
{
    struct wire *w = *state;
    uint32_t value;
    a71ch_module_info info;

    open_channel(w);
    works(w, a71ch_channel_open(&w->chip, &keys, 0));
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    a71ch_channel_close(&w->chip);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_NONE);
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(&w->chip), SW_SECURITY_STATUS);
    works(w, a71ch_get_module_info(&w->chip, &info));
    assert_int_equal(info.scp_state, 1);
}

static void
debug_reset_goes_around_the_channel_and_ends_it(void **state)
{
    struct wire *w = *state;
    uint32_t value;

    open_channel(w);
    works(w, a71ch_debug_reset(&w->chip));
    assert_int_equal(w->clear, 1);
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(&w->chip), SW_SECURITY_STATUS);
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_CHANNEL);
    a71ch_channel_close(&w->chip);
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    works(w, a71ch_scp_put_keys(&w->chip, 0x01, &other));
    assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_CRYPTOGRAM);
    works(w, a71ch_channel_open(&w->chip, &other, 0));
}

static void
raw_apdus_go_around_the_channel_and_leave_it_alone(void **state)
{
    static const uint8_t info[] = { 0x80, 0x91, 0x00, 0x03, 0x00 };
    static const uint8_t select[] = { 0x00, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    struct wire *w = *state;
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;
    uint32_t value;

    open_channel(w);
    works(w, a71ch_transceive(&w->chip, info, sizeof info, rsp, &len));
    assert_int_equal(len, 8);
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    len = sizeof rsp;
    works(w, a71ch_transceive(&w->chip, select, sizeof select, rsp, &len));
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    assert_non_null(strstr(a71ch_message(&w->chip), "it has ended the secure channel"));
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_CHANNEL);
}

/* ---- opening ------------------------------------------------------------------------------ */

static void
opening_without_keys_or_with_others_says_so(void **state)
{
    struct wire *w = *state;
    uint32_t value;

    assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(&w->chip), SW_NO_REFERENCE);
    assert_non_null(strstr(a71ch_message(&w->chip), "it has no keys; put them first"));
    works(w, a71ch_counter_get(&w->chip, 0, &value)); /* the clear, as before */
    works(w, a71ch_scp_put_keys(&w->chip, 0x21, &keys));
    assert_int_equal(a71ch_scp_put_keys(&w->chip, 0x21, &keys), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_channel_open(&w->chip, &other, 0), A71CH_ERR_CRYPTOGRAM);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_NONE);
    assert_int_equal(a71ch_channel_open(&w->chip, &keys, 2), A71CH_ERR_ARG);
    open_channel(w);
    is_over(w, a71ch_channel_open(&w->chip, &other, 0), A71CH_ERR_CRYPTOGRAM);
    open_channel(w);
}

static void
opening_judges_every_bit_of_the_cryptogram_and_every_length(void **state)
{
    struct wire *w = *state;

    w->lie = FLIP;
    for (w->at = 8 * 13; w->at < 8 * 29; w->at++) /* challenge and cryptogram */
        assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_CRYPTOGRAM);
    w->lie = CUT;
    for (w->at = 0; w->at < 31; w->at++) {
        a71ch_result res = a71ch_channel_open(&w->chip, &keys, 0);

        assert_true(res == A71CH_ERR_RESPONSE || res == A71CH_ERR_STATUS);
    }
    w->lie = LONGER;
    for (w->at = 1; w->at < 8; w->at++) {
        w->without = w->at == 3 ? 1 : 0; /* SPEC 4.2: three more are a counter; see below */
        assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_RESPONSE);
    }
    w->at = 5; /* EXTERNAL AUTHENTICATE */
    w->without = 1;
    assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_RESPONSE);
    w->lie = FORGE;
    w->at = SW_SECURITY_STATUS;
    w->without = 1;
    assert_int_equal(a71ch_channel_open(&w->chip, &keys, 0), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_NONE);
}

static void
answer_with_a_sequence_counter_is_taken(void **state)
{
    struct scp03_client c;
    struct scp03_keys k = { .mac = { 1 } };
    uint8_t bytes[64];
    uint8_t rsp[34] = { 0 };
    struct scp03_channel card;
    struct wr w = wr_of(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(scp03_client_init(&c, false), BM_OK);
    assert_int_equal(scp03_client_begin(&c, &w), BM_OK);
    assert_int_equal(wr_len(&w), 14);
    memset(&c.context[8], 0, 8);
    assert_int_equal(scp03_start(&card, &c.aes, &k, c.context), BM_OK);
    assert_int_equal(scp03_cryptogram(&card, &c.aes, SCP03_CARD, c.context, &rsp[21]), BM_OK);
    rsp[32] = 0x90;
    w = wr_of(bytes, sizeof bytes);
    assert_int_equal(scp03_client_prove(&c, &k, SPAN(rsp), &w), BM_OK);
    assert_int_equal(wr_len(&w), 21);
    scp03_client_fini(&c);
}

/* ---- lies --------------------------------------------------------------------------------- */

static void
any_flipped_bit_of_an_answer_is_an_error_and_no_output(void **state)
{
    struct wire *w = *state;
    uint8_t untouched[32];
    uint8_t out[32];
    uint8_t data[32] = { 1 };

    memset(untouched, 0xee, sizeof untouched);
    open_channel(w);
    works(w, a71ch_gp_write(&w->chip, 0, data, sizeof data));
    for (size_t bit = 0; bit < 8 * (48 + 8 + 2); bit++) {
        open_channel(w);
        w->lie = FLIP;
        w->at = bit;
        memcpy(out, untouched, sizeof out);
        is_over(w, a71ch_gp_read(&w->chip, 0, out, sizeof out), A71CH_ERR_MAC);
        assert_memory_equal(out, untouched, sizeof out);
    }
}

static void
truncated_and_bare_answers_are_errors(void **state)
{
    static const uint16_t never_bare[] = { 0x9000, 0x9001, 0x6100, 0x6200, 0x63c1, 0x0000, 0x7000 };
    struct wire *w = *state;
    uint8_t out[32];

    for (size_t len = 2; len < 58; len++) {
        a71ch_result res;

        open_channel(w);
        w->lie = CUT;
        w->at = len;
        res = a71ch_gp_read(&w->chip, 0, out, sizeof out);
        if (res == A71CH_ERR_STATUS) /* two bytes of ciphertext that look like an error */
            assert_int_equal(len, 2);
        else
            is_over(w, res, A71CH_ERR_MAC);
    }
    for (size_t len = 0; len < 2; len++) {
        open_channel(w);
        w->lie = CUT;
        w->at = len;
        is_over(w, a71ch_gp_read(&w->chip, 0, out, sizeof out), A71CH_ERR_RESPONSE);
    }
    open_channel(w);
    w->lie = KEEP_SW;
    is_over(w, a71ch_gp_read(&w->chip, 0, out, sizeof out), A71CH_ERR_MAC);
    for (size_t i = 0; i < sizeof never_bare / sizeof *never_bare; i++) {
        open_channel(w);
        w->lie = FORGE;
        w->at = never_bare[i];
        is_over(w, a71ch_pair_generate(&w->chip, 0), A71CH_ERR_MAC);
    }
    open_channel(w);
    w->lie = LONGER;
    w->at = 16;
    is_over(w, a71ch_gp_read(&w->chip, 0, out, sizeof out), A71CH_ERR_MAC);
}

static void
replayed_answer_is_an_error_even_to_the_same_question(void **state)
{
    struct wire *w = *state;
    uint32_t value = 77;

    open_channel(w);
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    w->lie = REPLAY;
    value = 77;
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_MAC);
    assert_int_equal(value, 77);
    open_channel(w);
    w->lie = REPLAY; /* the one from the channel before */
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_MAC);
}

/* The counts of both ends differ from then on: the next command's MAC does not fit. */
static void
swallowed_or_doubled_command_ends_the_channel_with_the_next_one(void **state)
{
    struct wire *w = *state;
    uint32_t value;

    open_channel(w);
    w->lie = FORGE; /* the chip never saw it */
    w->at = SW_CONDITIONS;
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    w->lie = NONE;
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(&w->chip), SW_SECURITY_STATUS);
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_CHANNEL);
    open_channel(w);
    w->lie = TWICE;
    works(w, a71ch_counter_get(&w->chip, 0, &value));
    w->lie = NONE;
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    is_over(w, a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_CHANNEL);
    open_channel(w);
    w->lie = SWAP; /* the chip did it: both count, the channel goes on */
    w->at = SW_CONDITIONS;
    assert_int_equal(a71ch_counter_get(&w->chip, 0, &value), A71CH_ERR_STATUS);
    w->lie = NONE;
    works(w, a71ch_counter_get(&w->chip, 0, &value));
}

/* A chip that has the keys and pads wrongly, or not at all. */
static void
right_mac_over_wrong_padding_is_an_error(void **state)
{
    struct wire *w = *state;
    const struct scp03_client *c;
    uint8_t rsp[SCP03_BLOCK_LEN + SCP03_MAC_LEN + 2] = { 0 };
    uint8_t mac[SCP03_BLOCK_LEN];
    static const uint8_t words[] = { 0x90, 0x00 };
    uint8_t out[64];
    struct wr to = wr_of(out, sizeof out);
    const struct apdu cmd = { 0x80, INS_COUNTER_GET, 0, 0, { 0 }, 256 };
    uint8_t bytes[APDU_CMD_MAX];
    struct wr wrapped = wr_of(bytes, sizeof bytes);

    open_channel(w);
    c = w->chip.channel;
    assert_int_equal(scp03_client_wrap(w->chip.channel, &cmd, &wrapped), BM_OK);
    assert_int_equal(scp03_cmac(&c->aes, c->channel.rmac,
                         (const struct span[]){
                             SPAN(c->channel.chain), span_of(rsp, SCP03_BLOCK_LEN), SPAN(words) },
                         3, mac),
        BM_OK);
    memcpy(&rsp[SCP03_BLOCK_LEN], mac, SCP03_MAC_LEN);
    memcpy(&rsp[SCP03_BLOCK_LEN + SCP03_MAC_LEN], words, 2);
    assert_int_equal(scp03_client_unwrap(w->chip.channel, SPAN(rsp), &to), BM_ERR_PROTO);
    assert_int_equal(wr_len(&to), 0);
    assert_int_equal(a71ch_channel_state(&w->chip), A71CH_CHANNEL_OVER);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, setup_wire, teardown_wire)
#define WITH_KEYS(f) cmocka_unit_test_setup_teardown(f, setup_keys, teardown_wire)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_KEYS(every_call_goes_through_the_channel_and_answers_the_same),
        WITH_KEYS(keys_derivations_and_objects_work_inside_as_outside),
        WITH_KEYS(refusals_inside_are_status_words_and_the_channel_goes_on),
        WITH_KEYS(closed_channel_means_the_clear_and_a_new_one_replaces_the_old),
        WITH_KEYS(debug_reset_goes_around_the_channel_and_ends_it),
        WITH_KEYS(raw_apdus_go_around_the_channel_and_leave_it_alone),
        FRESH(opening_without_keys_or_with_others_says_so),
        WITH_KEYS(opening_judges_every_bit_of_the_cryptogram_and_every_length),
        cmocka_unit_test(answer_with_a_sequence_counter_is_taken),
        WITH_KEYS(any_flipped_bit_of_an_answer_is_an_error_and_no_output),
        WITH_KEYS(truncated_and_bare_answers_are_errors),
        WITH_KEYS(replayed_answer_is_an_error_even_to_the_same_question),
        WITH_KEYS(swallowed_or_doubled_command_ends_the_channel_with_the_next_one),
        WITH_KEYS(right_mac_over_wrong_padding_is_an_error),
    };

    return cmocka_run_group_tests_name("host_scp", tests, NULL, NULL);
}
