/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of what a71chConfig reads and writes as text: data files, the chip's ATR, subjects. */
#include "config/atr.h"
#include "config/hexlines.h"
#include "pki/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509.h>

#define LINE16 "00112233445566778899AABBCCDDEEFF"

static void
data_files_have_lines_of_16_or_32_bytes(void **state)
{
    static const char *const cases[][2] = {
        /* file with lines of 16 bytes, file as we write it */
        { LINE16, LINE16 },
        { LINE16 "\n", LINE16 },
        { LINE16 "\r\n" LINE16 "\r\n", LINE16 "\n" LINE16 },
        { LINE16 "\n0A", LINE16 "\n0A" },
        { "0a0b", "0A0B" },
        { "", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf bytes = { 0 };
        struct buf text = { 0 };

        assert_int_equal(hexlines_parse(span_str(cases[i][0]), HEXLINES_16, &bytes, NULL), BM_OK);
        hexlines_build(&text, buf_span(&bytes), HEXLINES_16);
        assert_string_equal(buf_cstr(&text), cases[i][1]);
        buf_fini(&bytes);
        buf_fini(&text);
    }
}

static void
other_files_are_refused_with_their_line(void **state)
{
    static const char *const cases[][2] = {
        { "0011\n" LINE16, "line 1 has 4 characters" },
        { LINE16 "\n\n", "line 2 has 0 characters" },
        { LINE16 LINE16, "line 1 has 64 characters" },
        { LINE16 "\n001", "line 2 is no even number" },
        { LINE16 "\n0x", "line 2 is no even number" },
        { "00 1122334455667788990011223344550", "line 1 has 34 characters" },
        { "\n", "line 1 has 0 characters" },
    };
    struct buf bytes = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bm_msg msg = { "" };

        assert_int_equal(
            hexlines_parse(span_str(cases[i][0]), HEXLINES_16, &bytes, &msg), BM_ERR_INPUT);
        if (strstr(msg.text, cases[i][1]) == NULL)
            fail_msg("case %zu: '%s'", i, msg.text);
        assert_int_equal(bytes.len, 0);
    }
}

static void
a_file_holds_no_more_than_a_chip(void **state)
{
    struct buf text = { 0 };
    struct buf bytes = { 0 };

    (void)state;
    for (int i = 0; i < 256; i++)
        buf_addf(&text, LINE16 "\n");
    assert_int_equal(hexlines_parse(buf_span(&text), HEXLINES_16, &bytes, NULL), BM_OK);
    assert_int_equal(bytes.len, 4096);
    buf_addf(&text, "00");
    assert_int_equal(hexlines_parse(buf_span(&text), HEXLINES_16, &bytes, NULL), BM_ERR_LIMIT);
    buf_fini(&text);
    buf_fini(&bytes);
}

/* SPEC a71ch 1.2. */
static void
the_products_atr_is_read(void **state)
{
    static const uint8_t product[] = { 0xb8, 0x04, 0x11, 0x01, 0x05, 0x04, 0xb9, 0x02, 0x01, 0x01,
        0xba, 0x01, 0x01, 0xbb, 0x0c, 'A', '7', '1', '0', 'x', 'C', 'H', '2', '4', '2', 'R', '1',
        0xbc, 0x00 };
    static const uint8_t early[] = { 0xb8, 0x03, 0x11, 0x01, 0x05, 0xbb, 0x03, 'A', 0x0a, 'B' };
    static const uint8_t iso[] = { 0x3b, 0xfb, 0x18, 0x00 };
    struct atr atr;

    (void)state;
    assert_int_equal(atr_parse(SPAN(product), &atr), BM_OK);
    assert_int_equal(atr.protocol, 0x11);
    assert_int_equal(atr.clock, 4);
    assert_string_equal(atr.name, "A710xCH242R1");
    assert_int_equal(atr_parse(SPAN(early), &atr), BM_OK);
    assert_int_equal(atr.clock, -1);
    assert_string_equal(atr.name, "A?B");
    assert_int_equal(atr_parse(SPAN(iso), &atr), BM_ERR_INPUT);
    assert_int_equal(atr_parse(span_of(product, 20), &atr), BM_ERR_INPUT);
    assert_int_equal(atr_parse(span_of(NULL, 0), &atr), BM_ERR_INPUT);
}

static void
subjects_are_those_of_openssl(void **state)
{
    static const char *const cases[][2] = {
        { "/C=NL/O=Acme/CN=meter 7", "/C=NL/O=Acme/CN=meter 7" },
        { "/CN=a\\/b\\+c", "/CN=a\\/b\\+c" },
        { "/O=x/CN=y+serialNumber=5", "/O=x/CN=y+serialNumber=5" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        X509_NAME *name = NULL;
        char text[200];

        assert_int_equal(subject_parse(cases[i][0], &name, NULL), BM_OK);
        (void)X509_NAME_oneline(name, text, sizeof text);
        if (strchr(cases[i][0], '+') == NULL || strchr(cases[i][0], '\\') != NULL)
            assert_string_equal(text, cases[i][1]);
        else /* the last two are one set */
            assert_int_equal(X509_NAME_ENTRY_set(X509_NAME_get_entry(name, 1)),
                X509_NAME_ENTRY_set(X509_NAME_get_entry(name, 2)));
        X509_NAME_free(name);
    }
}

static void
a_subject_that_is_none_is_refused_with_its_cure(void **state)
{
    static const char *const cases[][2] = {
        { "", "does not begin with /" },
        { "CN=x", "does not begin with /" },
        { "/", "a part without =" },
        { "/CN", "a part without =" },
        { "/XX=1", "'XX' is no name" },
        { "/C=NLD", "no value for it" },
        { "/CN=", "no value for it" },
        { "/CN=a\\", "ends with a backslash" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bm_msg msg = { "" };
        X509_NAME *name = NULL;

        assert_int_equal(subject_parse(cases[i][0], &name, &msg), BM_ERR_INPUT);
        assert_null(name);
        if (strstr(msg.text, cases[i][1]) == NULL)
            fail_msg("case %zu: '%s'", i, msg.text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_files_have_lines_of_16_or_32_bytes),
        cmocka_unit_test(other_files_are_refused_with_their_line),
        cmocka_unit_test(a_file_holds_no_more_than_a_chip),
        cmocka_unit_test(the_products_atr_is_read),
        cmocka_unit_test(subjects_are_those_of_openssl),
        cmocka_unit_test(a_subject_that_is_none_is_refused_with_its_cure),
    };

    return cmocka_run_group_tests_name("test_config", tests, NULL, NULL);
}
