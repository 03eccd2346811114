/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of reference keys. The files were written by the openssl program (the scalar put in
 * afterwards, then through `openssl ec` and `openssl pkcs8`), so our reader is not judged by our
 * own writer.
 */
#include "wire/refkey.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct buf
load(const char *name)
{
    char path[512];
    struct buf b = { 0 };

    (void)snprintf(path, sizeof path, SOURCE_DIR "/tests/fuzz/corpus/refkey/%s.der", name);
    assert_int_equal(file_read(path, 4096, &b, NULL), BM_OK);
    return b;
}

struct file_case {
    const char *name;
    bool pkcs8;
    enum bm_err want;
    uint8_t class_id;
    uint8_t index;
    uint8_t form;    /* first byte of the point; 0: none */
    uint32_t key_id; /* 0: none */
};

static const struct file_case file_cases[] = {
    { "pair0", false, BM_OK, 0x10, 0, 4, 0 },
    { "pair3", false, BM_OK, 0x10, 3, 4, 0 },
    { "pub2", false, BM_OK, 0x20, 2, 4, 0 },
    { "pair2_31bytes", false, BM_OK, 0x10, 2, 4, 0 },
    { "pair_lead0", false, BM_OK, 0x10, 1, 4, 0 },
    { "pair0_hybrid", false, BM_OK, 0x10, 0, 4, 0 },
    { "pair0_compressed", false, BM_OK, 0x10, 0, 3, 0 },
    { "pair0_nopub", false, BM_OK, 0x10, 0, 0, 0 },
    { "pair0_pkcs8", true, BM_OK, 0x10, 0, 4, 0 },
    { "pair2_31_pkcs8", true, BM_OK, 0x10, 2, 4, 0 },
    { "plain", false, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "plain_pkcs8", true, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "class0", false, BM_OK, 0, 0, 4, 0 },
    { "class30", false, BM_OK, 0x30, 1, 4, 0 },
    { "sss_pair", false, BM_OK, 0x10, 0, 4, 0x7dccbbaa },
    { "sss_pair_pkcs8", true, BM_OK, 0x10, 0, 4, 0x7dccbbaa },
    { "sss_class0", false, BM_OK, 0, 0, 4, 2 },
    { "sss_31bytes", false, BM_OK, 0x20, 0, 4, 0x12345678 },
    { "magic_once", false, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "p384", false, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "p384_pkcs8", true, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "explicit", false, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "ed25519_pkcs8", true, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "rsa_pkcs8", true, BM_ERR_NOT_FOUND, 0, 0, 0, 0 },
    { "pair0", true, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "pair0_pkcs8", false, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "truncated", false, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "trailing_byte", false, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "long_form_length", false, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "indefinite", false, BM_ERR_INPUT, 0, 0, 0, 0 },
    { "length_lies", false, BM_ERR_INPUT, 0, 0, 0, 0 },
};

static void
each_file_is_recognised_for_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof file_cases / sizeof *file_cases; i++) {
        const struct file_case *c = &file_cases[i];
        struct refkey key = { 0 };
        struct buf der = load(c->name);
        enum bm_err got = c->pkcs8 ? refkey_parse_pkcs8(buf_span(&der), &key)
                                   : refkey_parse_sec1(buf_span(&der), &key);

        if (got != c->want)
            fail_msg("%s: %s, wanted %s", c->name, bm_err_name(got), bm_err_name(c->want));
        assert_int_equal(key.class_id, c->class_id);
        assert_int_equal(key.index, c->index);
        assert_int_equal(key.key_id, c->key_id);
        assert_int_equal(key.point[0], c->form);
        assert_int_equal(key.has_point, c->form == 4);
        buf_fini(&der);
    }
}

static void
written_key_is_byte_for_byte_what_openssl_wrote(void **state)
{
    struct buf sec1 = load("pair0");
    struct buf pkcs8 = load("pair0_pkcs8");
    struct refkey key;
    uint8_t out[REFKEY_DER_MAX];
    struct wr w = wr_of(out, sizeof out);

    (void)state;
    assert_int_equal(refkey_parse_sec1(buf_span(&sec1), &key), BM_OK);
    assert_int_equal(refkey_build_sec1(&w, &key), BM_OK);
    assert_true(span_eq(span_of(out, wr_len(&w)), buf_span(&sec1)));
    w = wr_of(out, sizeof out);
    assert_int_equal(refkey_build_pkcs8(&w, &key), BM_OK);
    assert_true(span_eq(span_of(out, wr_len(&w)), buf_span(&pkcs8)));
    buf_fini(&sec1);
    buf_fini(&pkcs8);
}

static void
writer_without_room_or_point_leaves_output_untouched(void **state)
{
    struct buf sec1 = load("pair0");
    struct refkey key;
    uint8_t out[120];
    struct wr w = wr_of(out, sizeof out);

    (void)state;
    assert_int_equal(refkey_parse_sec1(buf_span(&sec1), &key), BM_OK);
    assert_int_equal(refkey_build_sec1(&w, &key), BM_ERR_SPACE);
    assert_int_equal(refkey_build_pkcs8(&w, &key), BM_ERR_SPACE);
    key.has_point = false;
    assert_int_equal(refkey_build_sec1(&w, &key), BM_ERR_ARG);
    assert_int_equal(wr_len(&w), 0);
    assert_false(w.failed);
    buf_fini(&sec1);
}

static void
every_prefix_of_a_key_is_refused(void **state)
{
    struct buf der = load("pair0_pkcs8");

    (void)state;
    for (size_t len = 0; len < der.len; len++) {
        struct refkey key;

        assert_int_equal(refkey_parse_pkcs8(span_of(der.ptr, len), &key), BM_ERR_INPUT);
    }
    buf_fini(&der);
}

static void
scalar_is_recognised_by_its_tail_at_any_length_from_10_to_32(void **state)
{
    uint8_t scalar[REFKEY_SCALAR_LEN];
    uint8_t longer[REFKEY_SCALAR_LEN + 1] = { 0 };
    struct refkey key;

    (void)state;
    refkey_scalar(scalar, &(struct refkey){ .class_id = REFKEY_CLASS_PAIR, .index = 3 });
    memcpy(longer + 1, scalar, sizeof scalar);
    for (size_t skip = 0; skip <= 22; skip++) {
        key = (struct refkey){ 0 };
        assert_true(refkey_from_scalar(span_of(scalar + skip, sizeof scalar - skip), &key));
        assert_int_equal(key.class_id, REFKEY_CLASS_PAIR);
        assert_int_equal(key.index, 3);
        assert_true(refkey_names_slot(&key));
    }
    assert_false(refkey_from_scalar(span_of(scalar + 23, 9), &key));
    assert_false(refkey_from_scalar(SPAN(longer), &key));
    memset(scalar, 0xff, 22);
    assert_true(refkey_from_scalar(SPAN(scalar), &key));
    assert_false(refkey_names_slot(&key)); /* random upper bytes: the public key decides */
}

static void
scalar_with_one_bit_of_the_magic_flipped_is_an_ordinary_key(void **state)
{
    uint8_t scalar[REFKEY_SCALAR_LEN];
    struct refkey key;

    (void)state;
    for (size_t bit = 22 * 8; bit < 30 * 8; bit++) {
        refkey_scalar(scalar, &(struct refkey){ .class_id = REFKEY_CLASS_PUB });
        scalar[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(refkey_from_scalar(SPAN(scalar), &key));
    }
}

/* SPEC a71ch 9.2: with the magic and without a use it is an error, not an ordinary key. */
static void
every_class_with_the_magic_is_a_reference(void **state)
{
    uint8_t scalar[REFKEY_SCALAR_LEN];

    (void)state;
    for (unsigned class_id = 0; class_id < 256; class_id++) {
        struct refkey key = { .class_id = (uint8_t)class_id, .index = 7, .key_id = class_id << 8 };
        struct refkey got = { 0 };

        refkey_scalar(scalar, &key);
        assert_true(refkey_from_scalar(SPAN(scalar), &got));
        assert_memory_equal(&got, &key, sizeof got);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_is_recognised_for_what_it_is),
        cmocka_unit_test(written_key_is_byte_for_byte_what_openssl_wrote),
        cmocka_unit_test(writer_without_room_or_point_leaves_output_untouched),
        cmocka_unit_test(every_prefix_of_a_key_is_refused),
        cmocka_unit_test(scalar_is_recognised_by_its_tail_at_any_length_from_10_to_32),
        cmocka_unit_test(scalar_with_one_bit_of_the_magic_flipped_is_an_ordinary_key),
        cmocka_unit_test(every_class_with_the_magic_is_a_reference),
    };

    return cmocka_run_group_tests_name("refkey", tests, NULL, NULL);
}
