/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/wire/refpsk: bytes written by hand from SPEC openssl 3.2 and 3.3. */
#include "wire/refpsk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static enum bm_err
parse_hex(const char *hex, struct refpsk *out)
{
    uint8_t bytes[64];
    size_t len = strlen(hex) / 2;

    assert_int_equal(hex_decode(bytes, len, span_str(hex)), BM_OK);
    return refpsk_parse(span_of(bytes, len), out);
}

static void
both_kinds_are_read_and_written(void **state)
{
    static const char native[] = "a5a6b5b6a5a6b5b64005020000000000";
    static const char hmac[] = "a5a6b5b6a5a6b5b64300030302000000";
    uint8_t out[REFPSK_LEN];
    char text[2 * REFPSK_LEN + 1];
    struct refpsk ref;

    (void)state;
    assert_int_equal(parse_hex(native, &ref), BM_OK);
    assert_int_equal(ref.kind, REFPSK_NATIVE);
    assert_int_equal(ref.tls12.index, 5);
    assert_int_equal(ref.tls12.blocks, 2);
    assert_int_equal(refpsk_build(out, &ref), BM_OK);
    hex_encode(text, out, sizeof out);
    assert_string_equal(text, native);
    assert_int_equal(parse_hex(hmac, &ref), BM_OK);
    assert_int_equal(ref.kind, REFPSK_HMAC);
    assert_int_equal(ref.tls12.index, 0);
    assert_int_equal(ref.tls12.blocks, 3);
    assert_int_equal(ref.tls13.index, 3);
    assert_int_equal(ref.tls13.blocks, 2);
    assert_int_equal(refpsk_build(out, &ref), BM_OK);
    hex_encode(text, out, sizeof out);
    assert_string_equal(text, hmac);
}

static void
an_ordinary_psk_is_none(void **state)
{
    static const char *const psks[] = { "", "1a2b3c", "a5a6b5b6a5a6b5",
        "a5a6b5b6a5a6b5b74005020000000000", "000102030405060708090a0b0c0d0e0f" };
    struct refpsk ref;

    (void)state;
    for (size_t i = 0; i < sizeof psks / sizeof *psks; i++)
        assert_int_equal(parse_hex(psks[i], &ref), BM_ERR_NOT_FOUND);
}

static void
what_has_the_magic_is_a_reference_or_an_error(void **state)
{
    static const char *const psks[] = {
        "a5a6b5b6a5a6b5b6",                   /* nothing after it */
        "a5a6b5b6a5a6b5b640050200000000",     /* a byte short */
        "a5a6b5b6a5a6b5b6400502000000000000", /* a byte long */
        "a5a6b5b6a5a6b5b64105020000000000",   /* unknown kind */
        "a5a6b5b6a5a6b5b64005000000000000",   /* no blocks, yet an index */
        "a5a6b5b6a5a6b5b64000000000000000",   /* native without a secret */
        "a5a6b5b6a5a6b5b64300000000000000",   /* HMAC without a secret */
        "a5a6b5b6a5a6b5b64005050000000000",   /* five blocks */
        "a5a6b5b6a5a6b5b64006030000000000",   /* beyond slot 7 */
        "a5a6b5b6a5a6b5b640ff020000000000",
        "a5a6b5b6a5a6b5b64000020002000000", /* native with a second secret */
        "a5a6b5b6a5a6b5b64005020000010000", /* not zero at the end */
        "a5a6b5b6a5a6b5b64005020000000001",
    };
    struct refpsk ref;

    (void)state;
    for (size_t i = 0; i < sizeof psks / sizeof *psks; i++)
        assert_int_equal(parse_hex(psks[i], &ref), BM_ERR_INPUT);
}

static void
what_cannot_be_read_is_not_written(void **state)
{
    struct refpsk ref = { .kind = REFPSK_HMAC, .tls12 = { 7, 2 } };
    uint8_t out[REFPSK_LEN];

    (void)state;
    assert_int_equal(refpsk_build(out, &ref), BM_ERR_ARG);
    ref = (struct refpsk){ .kind = 0x42, .tls12 = { 0, 2 } };
    assert_int_equal(refpsk_build(out, &ref), BM_ERR_ARG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_are_read_and_written),
        cmocka_unit_test(an_ordinary_psk_is_none),
        cmocka_unit_test(what_has_the_magic_is_a_reference_or_an_error),
        cmocka_unit_test(what_cannot_be_read_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
