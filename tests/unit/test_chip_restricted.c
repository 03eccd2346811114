/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the restricted key pair, SPEC a71ch 1.6, 2.3 and 2.7. The hash over the area is
 * computed here by libcrypto from what src/chip/restricted.c promises, and the signature checked by
 * the chip's command for verification with a key from outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "chip_bench.h"

#include <openssl/evp.h>

#define UPDATE "aabbccdd0102030405060708"
#define SIGN "801503000c" UPDATE "00"

/* Two blocks in segments 2 and 4: the area is 64 to 159, the signature 160 to 255. */
static const struct chip_restricted usual = {
    .index = 3, .max = 3, .count = 2, .blocks = { { 140, 4 }, { 70, 8 } }
};

static void
personalise(struct bench *b)
{
    struct bm_msg msg = { "" };

    if (chip_restrict(b->chip, &usual, &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

static void
read_gp(struct bench *b, unsigned offset, unsigned len, uint8_t *out)
{
    char cmd[24];

    (void)snprintf(cmd, sizeof cmd, "8071%04x02%04x00", offset, len);
    assert_int_equal(run(b, cmd), SW_OK);
    memcpy(out, b->data.ptr, len);
}

/* Result byte of INS 25 for the signature in the storage over the area as it is. */
static uint8_t
verify_area(struct bench *b)
{
    uint8_t cmd[APDU_CMD_MAX] = { 0x80, 0x25, 0, 1 };
    struct wr w = wr_of(&cmd[5], sizeof cmd - 5);
    uint8_t area[96];
    uint8_t signature[96];
    uint8_t hash[32];
    size_t len;

    read_gp(b, 64, 96, area);
    read_gp(b, 160, 96, signature);
    assert_int_equal(EVP_Digest(area, sizeof area, hash, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(signature[0], 0x30);
    len = (size_t)signature[1] + 2;
    assert_in_range(len, 8, 72);
    for (size_t i = len; i < sizeof signature; i++)
        assert_int_equal(signature[i], 0);
    assert_int_equal(run(b, "8011030000"), SW_OK);
    wr_span(&w, SPAN(hash));
    wr_bytes(&w, signature, len);
    wr_span(&w, b->data);
    assert_int_equal(b->data.len, 65);
    cmd[4] = (uint8_t)wr_len(&w);
    assert_int_equal(run_bytes(b, span_of(cmd, 5 + wr_len(&w) + 1)), SW_OK);
    assert_int_equal(b->data.len, 1);
    return b->data.ptr[0];
}

static void
personalised_pair_is_told_by_info_and_usage(void **state)
{
    struct bench *b = *state;

    expect(b, "8011030100", SW_OK, "");
    personalise(b);
    for (int pass = 0; pass < 2; pass++) {
        expect(b, "8091000300", SW_OK, "013133221000");
        expect(b, "8091000600", SW_OK, "0302008c000400460008");
        expect(b, "8011030100", SW_OK, "0003");
        expect(b, "8011020100", SW_OK, "");
        assert_int_equal(run(b, "8011030000"), SW_OK);
        assert_int_equal(run(b, "8091000400"), SW_OK);
        assert_int_equal(b->data.ptr[4], 0x5f);
        assert_int_equal(b->data.ptr[21 + 1], 0x55);
        for (size_t i = 2; i < 8; i++)
            assert_int_equal(b->data.ptr[21 + i], 0x5f);
        assert_int_equal(b->data.ptr[21 + 8], 0x55);
        reopen(b);
    }
}

static void
signing_changes_the_blocks_and_signs_the_area(void **state)
{
    struct bench *b = *state;

    expect(b, "807200400441434d4500", SW_OK, ""); /* what stands in the area before */
    personalise(b);
    expect(b, SIGN, SW_OK, "01");
    expect(b, "8071008c02000400", SW_OK, "aabbccdd");
    expect(b, "8071004602000800", SW_OK, "0102030405060708");
    expect(b, "8071004002000400", SW_OK, "41434d45");
    assert_int_equal(verify_area(b), 1);
    expect(b, "8011030100", SW_OK, "0103");
    reopen(b);
    assert_int_equal(verify_area(b), 1);
    expect(b,
        "801503000c000000000000000000000000"
        "00",
        SW_OK, "02");
    assert_int_equal(verify_area(b), 1);
    assert_int_equal(chip_stats(b->chip).signatures, 2);
}

static void
use_ends_with_the_last_of_its_number(void **state)
{
    struct bench *b = *state;

    personalise(b);
    expect(b, SIGN, SW_OK, "01");
    expect(b, SIGN, SW_OK, "02");
    reopen(b);
    expect(b, SIGN, SW_OK, "03");
    expect(b,
        "801503000cffffffffffffffffffffffff"
        "00",
        SW_CONDITIONS, "");
    reopen(b);
    expect(b, SIGN, SW_CONDITIONS, "");
    expect(b, "8011030100", SW_OK, "0303");
    expect(b, "8071008c02000400", SW_OK, "aabbccdd"); /* a refusal changes nothing */
}

static void
restricted_pair_signs_no_hash_and_stays(void **state)
{
    struct bench *b = *state;

    personalise(b);
    expect(b,
        "8015030020"
        "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
        "00",
        SW_WRONG_DATA, "");
    expect(b, "8015030000", SW_WRONG_DATA, "");
    expect(b, "8012030000", SW_NOT_ALLOWED, "");
    expect(b, "8014030000", SW_NOT_ALLOWED, "");
    expect(b, "8072008c01ff00", SW_NOT_ALLOWED, "");
    expect(b, "807200a001ff00", SW_NOT_ALLOWED, ""); /* where the signature goes */
    expect(b, "807200ff01ff00", SW_NOT_ALLOWED, "");
    expect(b, "8072010001ff00", SW_OK, "");
    expect(b, "8012000000", SW_OK, ""); /* the others are as ever */
    assert_int_equal(run(b, "8015000020"
                            "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
                            "00"),
        SW_OK);
}

static void
personalising_happens_once(void **state)
{
    struct bench *b = *state;
    struct chip_restricted other = usual;
    struct bm_msg msg = { "" };
    uint8_t pub[65];

    expect(b, "8012020000", SW_OK, "");
    other.index = 2;
    assert_int_equal(chip_restrict(b->chip, &other, &msg), BM_ERR_CONFLICT);
    assert_non_null(strstr(msg.text, "key pair 2 is set"));
    personalise(b);
    assert_int_equal(run(b, "8011030000"), SW_OK);
    memcpy(pub, b->data.ptr, 65);
    expect(b, SIGN, SW_OK, "01");
    personalise(b); /* the same again: no other key, no new count */
    assert_int_equal(run(b, "8011030000"), SW_OK);
    assert_memory_equal(pub, b->data.ptr, 65);
    expect(b, "8011030100", SW_OK, "0103");
    other = usual;
    other.max = 4;
    assert_int_equal(chip_restrict(b->chip, &other, &msg), BM_ERR_CONFLICT);
}

static void
senseless_personalisations_are_refused(void **state)
{
    static const struct chip_restricted bad[] = {
        { .index = 4, .max = 1, .count = 1, .blocks = { { 0, 1 } } },
        { .index = 0, .max = 0, .count = 1, .blocks = { { 0, 1 } } },
        { .index = 0, .max = 1, .count = 0 },
        { .index = 0, .max = 1, .count = 5, .blocks = { { 0, 1 } } },
        { .index = 0, .max = 1, .count = 1, .blocks = { { 0, 0 } } },
        { .index = 0, .max = 1, .count = 2, .blocks = { { 0, 10 }, { 9, 5 } } },
        { .index = 0, .max = 1, .count = 2, .blocks = { { 0, 200 }, { 200, 56 } } },
        { .index = 0, .max = 1, .count = 1, .blocks = { { 3999, 2 } } },
        { .index = 0, .max = 1, .count = 1, .blocks = { { 65535, 255 } } },
    };
    static const struct chip_restricted last = {
        .index = 0, .max = 1, .count = 1, .blocks = { { 3999, 1 } }
    };
    struct bench *b = *state;
    struct bm_msg msg;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        msg.text[0] = '\0';
        assert_int_equal(chip_restrict(b->chip, &bad[i], &msg), BM_ERR_ARG);
        assert_true(strlen(msg.text) > 20);
    }
    expect(b, "8091000600", SW_OK, "ff00");
    assert_int_equal(chip_restrict(b->chip, &last, &msg), BM_OK);
    expect(b, "8015000001ff00", SW_OK, "01");
}

static void
debug_reset_erases_the_pair_but_not_its_history(void **state)
{
    struct bench *b = *state;

    personalise(b);
    expect(b, SIGN, SW_OK, "01");
    expect(b, "809400ea00", SW_OK, "");
    expect(b, SIGN, SW_CONDITIONS, "");
    expect(b, "8011030100", SW_OK, "0103");
    expect(b, "8091000300", SW_OK, "013133221000");
    expect(b, "8072008c01ff00", SW_OK, "");
}

/* Blocks, signature and count, as one value. */
struct seen {
    uint8_t area[192];
    uint8_t used;
};

static struct seen
look(struct bench *b)
{
    struct seen s;

    read_gp(b, 64, 192, s.area);
    assert_int_equal(run(b, "8011030100"), SW_OK);
    s.used = b->data.ptr[0];
    return s;
}

static void
power_cut_while_it_signs_leaves_all_or_nothing(void **state)
{
    unsigned done = 0;

    (void)state;

    for (size_t byte = 0; byte < 400; byte += 3) {
        struct bench cut = { 0 };
        struct seen before;
        struct seen after;

        reopen(&cut);
        personalise(&cut);
        before = look(&cut);
        cut.mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
        expect(&cut, SIGN, 0x6581, ""); /* the client is never told 9000 */
        chip_close(cut.chip);
        cut.chip = NULL;
        cut.mem.cut = (struct nvm_cut){ 0 };
        reopen(&cut);
        after = look(&cut);
        if (after.used == 0) {
            assert_memory_equal(&before, &after, sizeof before);
        } else {
            assert_int_equal(after.used, 1);
            assert_int_equal(verify_area(&cut), 1);
            done++;
        }
        chip_close(cut.chip);
        buf_fini(&cut.mem.bytes);
    }
    assert_in_range(done, 1, 133); /* some came before the end of the write, some after it */
}

#define with_chip(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_chip(personalised_pair_is_told_by_info_and_usage),
        with_chip(signing_changes_the_blocks_and_signs_the_area),
        with_chip(use_ends_with_the_last_of_its_number),
        with_chip(restricted_pair_signs_no_hash_and_stays),
        with_chip(personalising_happens_once),
        with_chip(senseless_personalisations_are_refused),
        with_chip(debug_reset_erases_the_pair_but_not_its_history),
        cmocka_unit_test(power_cut_while_it_signs_leaves_all_or_nothing),
    };

    return cmocka_run_group_tests_name("chip_restricted", tests, NULL, NULL);
}
