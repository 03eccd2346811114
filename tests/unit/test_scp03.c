/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/scp03 against what others computed: NIST SP 800-38B appendix D.1, a NIST CAVP
 * vector of SP 800-108 (KDFCTR, CMAC-AES128, counter of 8 bits in the middle of the fixed input),
 * project Wycheproof, and a session of security level 33 that was recorded from a real card (an
 * eUICC; test data of the pySim project, tests for GlobalPlatform SCP03, AES-128).
 */
#include "scp03/keyfile.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

enum { HEX_MAX = 1024 };

struct bytes {
    uint8_t at[HEX_MAX];
    size_t len;
};

static struct bytes
hex(const char *text)
{
    struct bytes b = { .len = strlen(text) / 2 };

    assert_true(b.len <= sizeof b.at);
    assert_int_equal(hex_decode(b.at, b.len, span_str(text)), BM_OK);
    return b;
}

static struct span
span_bytes(const struct bytes *b)
{
    return span_of(b->at, b->len);
}

static int
setup(void **state)
{
    struct scp03_aes *a = calloc(1, sizeof *a);

    *state = a;
    return a != NULL && scp03_aes_init(a, NULL) == BM_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    scp03_aes_fini(*state);
    free(*state);
    return 0;
}

/* ---- primitives --------------------------------------------------------------------------- */

static void
cmac_agrees_with_sp_800_38b(void **state)
{
    static const struct {
        size_t len;
        const char *mac;
    } examples[] = {
        { 0, "bb1d6929e95937287fa37d129b756746" },
        { 16, "070a16b46b4d4144f79bdd9dd04a287c" },
        { 40, "dfa66747de9ae63030ca32611497c827" },
        { 64, "51f0bebf7e3b9d92fc49741779363cfe" },
    };
    struct bytes key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    struct bytes text = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");

    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct bytes want = hex(examples[i].mac);
        size_t cut = examples[i].len / 3; /* pieces make no difference */
        const struct span parts[] = { span_of(text.at, cut),
            span_of(&text.at[cut], examples[i].len - cut) };
        uint8_t got[SCP03_BLOCK_LEN];

        assert_int_equal(scp03_cmac(*state, key.at, parts, 2, got), BM_OK);
        assert_memory_equal(got, want.at, sizeof got);
    }
}

static void
kdf_agrees_with_sp_800_108(void **state)
{
    struct bytes key = hex("f8844ba943586c432a3651f23850bdd4");
    struct bytes fixed = hex("170b43391c09e65f9672c01d9743767ce9b96f48096e96a0041f3f9ca7ee8703606e"
                             "d794ba67b5132afe0f83dd1df733e57cdea6e0549413fc2a26d0");
    struct bytes want = hex("8dfc0cc6a66631351f09c625b6cc4bf0");
    uint8_t got[SCP03_BLOCK_LEN];

    assert_int_equal(fixed.len, 60);
    assert_int_equal(
        scp03_kdf(*state, key.at, span_of(fixed.at, 50), span_of(&fixed.at[50], 10), got), BM_OK);
    assert_memory_equal(got, want.at, sizeof got);
}

/* 128-bit keys and tags of the file; "valid" must be reproduced, "invalid" must differ. */
static void
cmac_agrees_with_wycheproof(void **state)
{
    char path[PATH_MAX];
    const char *dir = getenv("BIRTHMARK_VECTORS");
    json_t *file;
    json_t *group;
    json_t *test;
    size_t g;
    size_t t;
    unsigned count = 0;

    if (dir != NULL)
        (void)snprintf(path, sizeof path, "%s/aes_cmac_test.json", dir);
    else
        (void)snprintf(
            path, sizeof path, "%s/../shared/vectors/wycheproof/aes_cmac_test.json", SOURCE_DIR);
    if (access(path, R_OK) != 0) {
        print_message("skip - SKIPPED: vectors absent: aes_cmac_test.json; set BIRTHMARK_VECTORS "
                      "to their folder\n");
        skip();
    }
    file = json_load_file(path, 0, NULL);
    assert_non_null(file);
    json_array_foreach(json_object_get(file, "testGroups"), g, group)
    {
        if (json_integer_value(json_object_get(group, "keySize")) != 128 ||
            json_integer_value(json_object_get(group, "tagSize")) != 128)
            continue;
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct bytes key = hex(json_string_value(json_object_get(test, "key")));
            struct bytes msg = hex(json_string_value(json_object_get(test, "msg")));
            struct bytes tag = hex(json_string_value(json_object_get(test, "tag")));
            bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
            struct span part = span_bytes(&msg);
            uint8_t got[SCP03_BLOCK_LEN];

            assert_int_equal(scp03_cmac(*state, key.at, &part, 1, got), BM_OK);
            assert_int_equal(bm_equal_ct(got, tag.at, sizeof got), valid);
            count++;
        }
    }
    json_decref(file);
    assert_true(count > 50);
}

static void
key_check_values_are_those_of_a_real_tool(void **state)
{
    static const char *const pairs[][2] = {
        { "000102030405060708090a0b0c0d0e0f", "c35280" },
        { "101112131415161718191a1b1c1d1e1f", "013808" },
        { "202122232425262728292a2b2c2d2e2f", "840de5" },
    };

    for (size_t i = 0; i < 3; i++) {
        struct bytes key = hex(pairs[i][0]);
        struct bytes want = hex(pairs[i][1]);
        uint8_t got[SCP03_KCV_LEN];

        assert_int_equal(scp03_kcv(*state, key.at, got), BM_OK);
        assert_memory_equal(got, want.at, sizeof got);
    }
}

/* ---- PUT KEY ------------------------------------------------------------------------------ */

#define ENC "000102030405060708090a0b0c0d0e0f"
#define MAC "101112131415161718191a1b1c1d1e1f"
#define DEK "202122232425262728292a2b2c2d2e2f"
#define BLOCKS "881110" ENC "03c35280881110" MAC "03013808881110" DEK "03840de5"

static struct scp03_keys
keys_of_the_recording(void)
{
    struct bytes all = hex(ENC MAC DEK);
    struct scp03_keys keys;

    memcpy(&keys, all.at, sizeof keys);
    return keys;
}

static void
put_key_data_has_the_form_of_spec_4_1(void **state)
{
    struct scp03_keys keys = keys_of_the_recording();
    struct scp03_keys back;
    struct bytes want = hex("21" BLOCKS);
    uint8_t got[SCP03_PUT_KEY_LEN];
    uint8_t version = 0;

    assert_int_equal(sizeof got, 70);
    assert_int_equal(want.len, sizeof got);
    assert_int_equal(scp03_put_key_build(*state, 0x21, &keys, got), BM_OK);
    assert_memory_equal(got, want.at, sizeof got);
    assert_int_equal(scp03_put_key_parse(*state, SPAN(got), &version, &back), BM_OK);
    assert_int_equal(version, 0x21);
    assert_memory_equal(&keys, &back, sizeof keys);
}

/* Any changed byte but the version is seen: form, key (by its check value) or check value. */
static void
put_key_data_with_any_other_byte_is_refused(void **state)
{
    struct bytes in = hex("21" BLOCKS);
    struct scp03_keys keys;
    uint8_t version;

    for (size_t i = 1; i < in.len; i++) {
        in.at[i] ^= 0x10;
        assert_int_equal(
            scp03_put_key_parse(*state, span_bytes(&in), &version, &keys), BM_ERR_INPUT);
        in.at[i] ^= 0x10;
    }
    for (size_t len = 0; len < in.len; len++)
        assert_int_equal(
            scp03_put_key_parse(*state, span_of(in.at, len), &version, &keys), BM_ERR_INPUT);
    assert_int_equal(
        scp03_put_key_parse(*state, span_of(in.at, in.len + 1), &version, &keys), BM_ERR_INPUT);
}

/* ---- key files ---------------------------------------------------------------------------- */

static void
key_file_gives_its_keys_in_any_order(void **state)
{
    static const char text[] = "# of the first device\r\n"
                               "DEK   " DEK "\r\n"
                               "  ENC " ENC " # trailing\n"
                               "MAC " MAC "#\n"
                               "  # end\n";
    struct scp03_keys want = keys_of_the_recording();
    struct scp03_keys got;
    struct bm_msg msg = { "" };

    (void)state;
    if (scp03_keyfile_parse(span_str(text), &got, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_memory_equal(&got, &want, sizeof got);
}

static void
wrong_key_file_is_refused_with_line_and_reason_and_without_the_key(void **state)
{
    static const char *const cases[][2] = {
        { "ENC " ENC "\nMAC " MAC "\n", "the key file has no line for DEK" },
        { "", "the key file has no line for ENC" },
        { "ENC " ENC "\n\nMAC " MAC "\nDEK " DEK "\n", "line 2 of the key file is empty" },
        { "ENC " ENC "\n   \n", "line 2 of the key file is empty" },
        { "ENC\t" ENC "\n", "line 1 of the key file does not start with" },
        { "enc " ENC "\n", "line 1 of the key file does not start with" },
        { "KEK " ENC "\n", "line 1 of the key file does not start with" },
        { "ENC " ENC "\nMAC " MAC "\nENC " ENC "\n", "line 3 of the key file gives ENC a second" },
        { "ENC " ENC "0\n", "line 1 of the key file: ENC must be followed by 32 hex digits" },
        { "MAC\n", "line 1 of the key file: MAC must be followed by 32 hex digits" },
        { "MAC 0x0102030405060708090a0b0c0d0e0f\n", "must be followed by 32 hex digits" },
        { "ENC " ENC " " MAC "\n", "line 1 of the key file goes on behind the key" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scp03_keys keys;
        struct bm_msg msg = { "" };

        assert_int_equal(scp03_keyfile_parse(span_str(cases[i][0]), &keys, &msg), BM_ERR_INPUT);
        if (strstr(msg.text, cases[i][1]) == NULL)
            fail_msg("got: %s", msg.text);
        assert_null(strstr(msg.text, "0405"));
    }
}

/* ---- a recorded session ------------------------------------------------------------------- */

/* Both ends of the recording, after EXTERNAL AUTHENTICATE. */
struct session {
    struct scp03_aes *aes;
    struct scp03_channel host;
    struct scp03_channel card;
};

#define CHALLENGES                                                                                 \
    "fdf38259a1e0de44"                                                                             \
    "3b1aca81e821f219"

static void
expect_command(struct session *s, const char *plain, const char *wire)
{
    struct bytes in = hex(plain);
    struct bytes want = hex(wire);
    uint8_t room[SCP03_WRAPPED_MAX];
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct apdu cmd;
    struct apdu out;

    assert_int_equal(apdu_parse(span_bytes(&in), &cmd), BM_OK);
    assert_int_equal(scp03_protect_command(&s->host, s->aes, &cmd, room, &out), BM_OK);
    assert_int_equal(apdu_build(&w, &out), BM_OK);
    assert_int_equal(wr_len(&w), want.len);
    assert_memory_equal(bytes, want.at, want.len);
    assert_int_equal(apdu_parse(span_bytes(&want), &cmd), BM_OK);
    assert_int_equal(scp03_open_command(&s->card, s->aes, &cmd, room, &out), BM_OK);
    w = wr_of(bytes, sizeof bytes);
    assert_int_equal(apdu_build(&w, &out), BM_OK);
    assert_int_equal(wr_len(&w), in.len);
    assert_memory_equal(bytes, in.at, in.len);
}

static void
next(struct session *s)
{
    scp03_next(&s->host);
    scp03_next(&s->card);
}

static struct session
recorded_session(struct scp03_aes *aes)
{
    struct session s = { .aes = aes };
    struct scp03_keys keys = keys_of_the_recording();
    struct bytes context = hex(CHALLENGES);
    struct bytes card = hex("081cdc01c26b372d");
    struct bytes host = hex("8c36f96bcc00724a");
    uint8_t got[SCP03_CRYPTOGRAM_LEN];

    assert_int_equal(scp03_start(&s.host, aes, &keys, context.at), BM_OK);
    assert_int_equal(scp03_start(&s.card, aes, &keys, context.at), BM_OK);
    assert_int_equal(scp03_cryptogram(&s.card, aes, SCP03_CARD, context.at, got), BM_OK);
    assert_memory_equal(got, card.at, sizeof got);
    assert_int_equal(scp03_cryptogram(&s.host, aes, SCP03_HOST, context.at, got), BM_OK);
    assert_memory_equal(got, host.at, sizeof got);
    expect_command(&s, "80823300088c36f96bcc00724a", "84823300108c36f96bcc00724a4e13ad591d7da3f0");
    next(&s);
    return s;
}

static const char answer_plain[] = "bf3e125a1089882119900000000000000000000005";
static const char answer_wire[] =
    "f3ba2b1013aa6224f5e1c138d71805c569e5439b47576260b75fc021b25097cb2e68f8a0144975b99000";

static void
session_of_a_real_card_is_reproduced_to_the_byte(void **state)
{
    struct session s = recorded_session(*state);
    struct bytes plain = hex(answer_plain);
    struct bytes wire = hex(answer_wire);
    uint8_t room[SCP03_CRYPT_MAX];
    uint8_t bytes[APDU_RSP_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct span data;
    uint16_t sw = 0;

    expect_command(&s, "80e2910006bf3e035c015a00",
        "84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    assert_int_equal(scp03_protect_response(&s.card, s.aes, span_bytes(&plain), SW_OK, &w), BM_OK);
    wr_u16(&w, SW_OK);
    assert_int_equal(wr_len(&w), wire.len);
    assert_memory_equal(bytes, wire.at, wire.len);
    assert_int_equal(
        scp03_open_response(&s.host, s.aes, span_bytes(&wire), room, &data, &sw), BM_OK);
    assert_int_equal(sw, SW_OK);
    assert_true(span_eq(data, span_bytes(&plain)));
    next(&s);
    expect_command(&s, "80f22002", "84f2200208ac6a59024bed84cc");
    next(&s);
    expect_command(&s, "80ca006600", "84ca006608409912ad8fb7aed000");
    next(&s);
    expect_command(&s, "80f220020a4f0212345c054f9f70c5",
        "84f22002185f3dafc3ac14c381536a488bf44e06d056df9d74dbd21e5a");
    next(&s);
    expect_command(
        &s, "80f28002024f0000", "84f280021865165105be3373347d0424d4400af2ac393f569ec779389e00");
}

/* ---- what must not pass ------------------------------------------------------------------- */

static void
response_with_any_flipped_bit_is_refused(void **state)
{
    struct session s = recorded_session(*state);
    struct bytes wire = hex(answer_wire);
    uint8_t room[SCP03_CRYPT_MAX];
    struct span data;
    uint16_t sw;

    expect_command(&s, "80e2910006bf3e035c015a00",
        "84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    for (size_t bit = 0; bit < 8 * wire.len; bit++) {
        wire.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(scp03_open_response(&s.host, s.aes, span_bytes(&wire), room, &data, &sw),
            BM_ERR_DENIED);
        wire.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < wire.len; len++)
        assert_int_equal(
            scp03_open_response(&s.host, s.aes, span_of(wire.at, len), room, &data, &sw),
            BM_ERR_DENIED);
    assert_int_equal(
        scp03_open_response(&s.host, s.aes, span_bytes(&wire), room, &data, &sw), BM_OK);
}

static void
command_with_any_flipped_bit_is_refused_and_changes_nothing(void **state)
{
    struct session s = recorded_session(*state);
    struct bytes wire = hex("84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    struct scp03_channel before = s.card;
    uint8_t room[SCP03_WRAPPED_MAX];
    struct apdu cmd;
    struct apdu out;

    for (size_t bit = 8; bit < 8 * (wire.len - 1); bit++) { /* CLA and Le have no MAC */
        if (bit / 8 == 4)
            continue; /* Lc: another command altogether */
        wire.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(apdu_parse(span_bytes(&wire), &cmd), BM_OK);
        assert_int_equal(scp03_open_command(&s.card, s.aes, &cmd, room, &out), BM_ERR_DENIED);
        wire.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(apdu_parse(span_bytes(&wire), &cmd), BM_OK);
    for (size_t len = 0; len < cmd.data.len; len++) {
        struct apdu cut = cmd;

        cut.data.len = len;
        assert_int_equal(scp03_open_command(&s.card, s.aes, &cut, room, &out), BM_ERR_DENIED);
    }
    assert_memory_equal(&before, &s.card, sizeof before);
    assert_int_equal(scp03_open_command(&s.card, s.aes, &cmd, room, &out), BM_OK);
}

static void
replayed_command_and_response_are_refused(void **state)
{
    struct session s = recorded_session(*state);
    struct bytes wire = hex("84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    struct bytes answer = hex(answer_wire);
    uint8_t room[SCP03_WRAPPED_MAX];
    struct span data;
    struct apdu cmd;
    struct apdu out;
    uint16_t sw;

    expect_command(&s, "80e2910006bf3e035c015a00",
        "84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    next(&s);
    assert_int_equal(apdu_parse(span_bytes(&wire), &cmd), BM_OK);
    assert_int_equal(scp03_open_command(&s.card, s.aes, &cmd, room, &out), BM_ERR_DENIED);
    expect_command(&s, "80f22002", "84f2200208ac6a59024bed84cc");
    assert_int_equal(
        scp03_open_response(&s.host, s.aes, span_bytes(&answer), room, &data, &sw), BM_ERR_DENIED);
}

/* A right MAC over what is no padded text: the peer is wrong, not a stranger. */
static void
wrong_counter_gives_wrong_padding_never_data(void **state)
{
    struct session s = recorded_session(*state);
    struct bytes wire = hex(answer_wire);
    struct bytes plain = hex(answer_plain);
    uint8_t room[SCP03_CRYPT_MAX];
    struct span data;
    uint16_t sw;

    expect_command(&s, "80e2910006bf3e035c015a00",
        "84e2910018267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f00");
    scp03_next(&s.host);
    /* the first block comes out wrong, the padding in the second not: CBC */
    assert_int_equal(
        scp03_open_response(&s.host, s.aes, span_bytes(&wire), room, &data, &sw), BM_OK);
    assert_false(span_eq(data, span_bytes(&plain)));
}

static void
unpadding_is_strict(void **state)
{
    static const struct {
        const char *padded;
        int len; /* -1: refused */
    } cases[] = {
        { "00112233445566778899aabbccddee80", 15 },
        { "00800000000000000000000000000000", 1 },
        { "80800000000000000000000000000000", 1 },
        { "80808080808080808080808080808080", 15 },
        { "00112233445566778899aabbccddeeff80000000000000000000000000000000", 16 },
        { "80000000000000000000000000000000", -1 }, /* nothing before it */
        { "00000000000000000000000000000000", -1 },
        { "00112233445566778899aabbccddeeff", -1 },
        { "00112233445566778899aabbccdd8001", -1 },
        { "00112233445566778899aabbcc800100", -1 },
        { "0011223344556677889980000000007f", -1 },
        { "80000000000000000000000000000000"
          "00000000000000000000000000000000",
            -1 }, /* a block too much of zeros */
        { "", -1 },
        { "0080", -1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes in = hex(cases[i].padded);
        size_t len = 0;
        enum bm_err err = scp03_unpad(span_bytes(&in), &len);

        assert_int_equal(err, cases[i].len < 0 ? BM_ERR_INPUT : BM_OK);
        if (err == BM_OK)
            assert_int_equal(len, cases[i].len);
    }
}

/* Every length both ways, 300 exchanges long; one byte more than fits is refused. */
static void
every_length_survives_both_ways(void **state)
{
    struct session s = recorded_session(*state);
    uint8_t plain[SCP03_DATA_MAX + 1];

    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(0x80 - i % 3 * 0x40); /* 80, 40, 00: looks like padding */
    for (size_t len = 0; len <= sizeof plain; len++, next(&s)) {
        const struct apdu cmd = { 0x80, 0x72, 1, 2, span_of(plain, len), 256 };
        const enum bm_err want = len > SCP03_DATA_MAX ? BM_ERR_ARG : BM_OK;
        uint8_t room[SCP03_WRAPPED_MAX];
        uint8_t opened[SCP03_WRAPPED_MAX];
        uint8_t bytes[APDU_RSP_MAX];
        struct wr w = wr_of(bytes, sizeof bytes);
        struct span data;
        struct apdu wire;
        struct apdu out;
        uint16_t sw;

        assert_int_equal(scp03_protect_command(&s.host, s.aes, &cmd, room, &wire), want);
        assert_int_equal(scp03_protect_response(&s.card, s.aes, cmd.data, SW_CONDITIONS, &w), want);
        if (want != BM_OK)
            continue;
        assert_int_equal(scp03_open_command(&s.card, s.aes, &wire, opened, &out), BM_OK);
        assert_true(span_eq(out.data, cmd.data));
        w = wr_of(bytes, sizeof bytes);
        assert_int_equal(
            scp03_protect_response(&s.card, s.aes, cmd.data, SW_CONDITIONS, &w), BM_OK);
        wr_u16(&w, SW_CONDITIONS);
        assert_int_equal(
            scp03_open_response(&s.host, s.aes, span_of(bytes, wr_len(&w)), room, &data, &sw),
            BM_OK);
        assert_int_equal(sw, SW_CONDITIONS);
        assert_true(span_eq(data, cmd.data));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cmac_agrees_with_sp_800_38b),
        cmocka_unit_test(kdf_agrees_with_sp_800_108),
        cmocka_unit_test(cmac_agrees_with_wycheproof),
        cmocka_unit_test(key_check_values_are_those_of_a_real_tool),
        cmocka_unit_test(put_key_data_has_the_form_of_spec_4_1),
        cmocka_unit_test(put_key_data_with_any_other_byte_is_refused),
        cmocka_unit_test(key_file_gives_its_keys_in_any_order),
        cmocka_unit_test(wrong_key_file_is_refused_with_line_and_reason_and_without_the_key),
        cmocka_unit_test(session_of_a_real_card_is_reproduced_to_the_byte),
        cmocka_unit_test(response_with_any_flipped_bit_is_refused),
        cmocka_unit_test(command_with_any_flipped_bit_is_refused_and_changes_nothing),
        cmocka_unit_test(replayed_command_and_response_are_refused),
        cmocka_unit_test(wrong_counter_gives_wrong_padding_never_data),
        cmocka_unit_test(unpadding_is_strict),
        cmocka_unit_test(every_length_survives_both_ways),
    };

    return cmocka_run_group_tests_name("scp03", tests, setup, teardown);
}
