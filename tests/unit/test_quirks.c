/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the quirks: the table, and what a chip does with other values than the default. */
#include "chip/quirks.h"

#include "chip/ec.h"
#include "chip/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "chip_bench.h"

/* RFC 6979 A.2.5 */
#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define PUB                                                                                        \
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                           \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define HASH "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
/* the base point, a public key that is not that of PRIV */
#define OTHER_PUB                                                                                  \
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"                           \
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
#define ZERO_CODE                                                                                  \
    "10"                                                                                           \
    "00000000000000000000000000000000"                                                             \
    "00"

static void
set_quirk(struct bench *b, const char *text)
{
    struct quirks all = b->chip->quirks;
    struct bm_msg msg = { "" };

    if (quirks_set(&all, text, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    chip_set_quirks(b->chip, &all);
}

static void
every_quirk_has_a_name_a_reason_and_takes_its_own_default(void **state)
{
    struct bm_msg msg = { "" };
    char value[8];
    char text[64];

    (void)state;
    for (size_t i = 0; i < QUIRK_COUNT; i++) {
        const struct quirk_row *row = quirk_row((enum quirk)i);
        struct quirks all = { { 0 } };

        assert_true(row->name != NULL && row->why != NULL && strlen(row->why) > 10);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(row->name, quirk_row((enum quirk)j)->name);
        quirk_text(value, (enum quirk)i, row->value);
        (void)snprintf(text, sizeof text, "%s=%s", row->name, value);
        if (quirks_set(&all, text, &msg) != BM_OK)
            fail_msg("%s", msg.text);
        assert_int_equal(all.value[i], row->value);
    }
}

static void
wrong_name_or_value_is_refused_and_changes_nothing(void **state)
{
    static const char *const bad[] = { "", "=", "bad-index", "bad-index=", "bad-index=9000",
        "bad-index=6a8", "bad-index=6a866", "bad-index=xxxx", "bad-inde=6985", "bad-indexx=6985",
        "erase-empty=9001", "erase-empty=1", "free-eeprom=32768", "free-eeprom=-1",
        "free-eeprom= 1", "free-eeprom=1x", "pair-check=2", "BAD-INDEX=6985" };
    struct quirks all = quirks_default();
    struct quirks before = all;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bm_msg msg = { "" };

        if (quirks_set(&all, bad[i], &msg) != BM_ERR_INPUT)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(strlen(msg.text) > 20);
        assert_memory_equal(&all, &before, sizeof all);
    }
}

static void
status_word_of_a_quirk_is_what_the_chip_answers(void **state)
{
    struct bench *b = *state;

    expect(b, "8011040000", SW_WRONG_P1P2, "");
    set_quirk(b, "bad-index=6985");
    expect(b, "8011040000", SW_CONDITIONS, "");
    expect(b, "8014000000", SW_OK, "");
    set_quirk(b, "erase-empty=6985");
    expect(b, "8014000000", SW_CONDITIONS, "");
    set_quirk(b, "malformed=6d00");
    expect(b, "80", SW_INS_UNKNOWN, "");
}

static void
free_memory_is_a_figure_and_a_debug_command(void **state)
{
    struct bench *b = *state;

    expect(b, "8091000200", SW_OK, "7fff");
    expect(b, "8091010200", SW_OK, "0400");
    expect(b, "8091020200", SW_WRONG_P1P2, "");
    expect(b, "809100020100", SW_WRONG_DATA, "");
    set_quirk(b, "free-eeprom=513");
    set_quirk(b, "free-transient=0");
    expect(b, "8091000200", SW_OK, "0201");
    expect(b, "8091010200", SW_OK, "0000");
    expect(b, "809300dd00", SW_OK, "");
    expect(b, "8091000200", SW_INS_UNKNOWN, "");
}

static void
challenge_may_be_for_the_very_next_command(void **state)
{
    struct bench *b = *state;

    set_quirk(b, "no-challenge=6fff");
    set_quirk(b, "no-code-key=6ffe"); /* the code was about to be compared */
    assert_int_equal(run(b, "8091010500"), SW_OK);
    expect(b, "80120010" ZERO_CODE, 0x6ffe, "");
    assert_int_equal(run(b, "8091010500"), SW_OK);
    assert_int_equal(run(b, "8091000300"), SW_OK);
    expect(b, "80120010" ZERO_CODE, 0x6ffe, "");
    set_quirk(b, "challenge-lasts=0");
    assert_int_equal(run(b, "8091010500"), SW_OK);
    expect(b, "80120010" ZERO_CODE, 0x6ffe, "");
    assert_int_equal(run(b, "8091010500"), SW_OK);
    assert_int_equal(run(b, "8091000300"), SW_OK);
    expect(b, "80120010" ZERO_CODE, 0x6fff, "");
}

static void
debug_reset_may_leave_the_label(void **state)
{
    static const uint8_t label[] = { 4, 'A', 'B', 'C', 'D', 0 };
    static const uint8_t none[sizeof label] = { 0 };
    struct bench *b = *state;

    expect(b, "80920005044142434400", SW_OK, "");
    set_quirk(b, "reset-label=0");
    expect(b, "809400ea00", SW_OK, "");
    assert_memory_equal(nvm_read(b->chip->nvm, IMG_LABEL, sizeof label).ptr, label, sizeof label);
    set_quirk(b, "reset-label=1");
    expect(b, "809400ea00", SW_OK, "");
    assert_memory_equal(nvm_read(b->chip->nvm, IMG_LABEL, sizeof label).ptr, none, sizeof label);
}

static void
public_key_of_another_pair_may_be_refused(void **state)
{
    struct bench *b = *state;

    expect(b, "8012000061" PRIV OTHER_PUB "00", SW_OK, "");
    set_quirk(b, "pair-check=1");
    expect(b, "8012000061" PRIV OTHER_PUB "00", SW_WRONG_DATA, "");
    expect(b, "8011000000", SW_OK, OTHER_PUB);
    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
}

/* SPEC a71ch 3.1 */
static void
signature_may_be_padded_behind(void **state)
{
    struct bench *b = *state;

    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
    set_quirk(b, "signature-form=2");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
        assert_int_equal(b->data.len, EC_SIGNATURE_MAX);
        for (size_t j = b->data.ptr[1] + (size_t)2; j < b->data.len; j++)
            assert_int_equal(b->data.ptr[j], 0);
    }
    set_quirk(b, "signature-form=1");
    assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
    assert_int_equal(b->data.len, b->data.ptr[1] + 2);
}

static void
widened(const char *der, const char *want)
{
    uint8_t in[EC_SIGNATURE_MAX];
    uint8_t out[EC_SIGNATURE_MAX];
    char got[2 * EC_SIGNATURE_MAX + 1];
    struct wr w = wr_of(out, sizeof out);

    assert_int_equal(hex_decode(in, strlen(der) / 2, span_str(der)), BM_OK);
    ec_widen_signature(span_of(in, strlen(der) / 2), &w);
    assert_false(w.failed);
    hex_encode(got, out, wr_len(&w));
    assert_string_equal(got, want);
}

static void
widened_signature_has_32_or_33_bytes_whatever_the_value(void **state)
{
#define ZEROS_31 "00000000000000000000000000000000000000000000000000000000000000"
    (void)state;
    widened("3006020101020102", "30440220" ZEROS_31 "01"
                                "0220" ZEROS_31 "02");
    widened("300702020080020102", "30440220" ZEROS_31 "80"
                                  "0220" ZEROS_31 "02");
    widened("3046022100" HASH "022100" HASH, "3046022100" HASH "022100" HASH);
    widened("3025022100" HASH "02017f", "3045022100" HASH "0220" ZEROS_31 "7f");
}

int
main(void)
{
#define with_chip(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quirk_has_a_name_a_reason_and_takes_its_own_default),
        cmocka_unit_test(wrong_name_or_value_is_refused_and_changes_nothing),
        with_chip(status_word_of_a_quirk_is_what_the_chip_answers),
        with_chip(free_memory_is_a_figure_and_a_debug_command),
        with_chip(challenge_may_be_for_the_very_next_command),
        with_chip(debug_reset_may_leave_the_label),
        with_chip(public_key_of_another_pair_may_be_refused),
        with_chip(signature_may_be_padded_behind),
        cmocka_unit_test(widened_signature_has_32_or_33_bytes_whatever_the_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
