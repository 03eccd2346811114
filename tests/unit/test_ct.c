/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No branch and no index of our own code depends on a key: base, scp03 and the whole chip, compiled
 * with the marks of base/ct.h and run under valgrind. Secret bytes count as uninitialised there, so
 * memcheck reports what depends on them; reports from inside libcrypto are left out (ct.supp).
 *
 * The program starts itself under valgrind. Where that cannot be, each test says so and is skipped.
 */
#include "base/ct.h"

#include "chip/ec.h"
#include "chip/sym.h"
#include "scp03/client.h"
#include "wire/refkey.h"
#include "wire/refpsk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip_bench.h"
#include "scp_host.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const char *why_not; /* NULL: we run under valgrind */

static void
need_valgrind(void)
{
    if (why_not == NULL)
        return;
    print_message("skip - constant time: %s\n", why_not);
    skip();
}

static unsigned
reports(void)
{
    return (unsigned)VALGRIND_COUNT_ERRORS;
}

static void
secret_hex(uint8_t *out, const char *hex)
{
    size_t len = strlen(hex) / 2;

    assert_int_equal(hex_decode(out, len, span_str(hex)), BM_OK);
    CT_SECRET(out, len);
}

/* ---- the check itself --------------------------------------------------------------------- */

static void
branch_and_index_by_a_secret_are_reported(void **state)
{
    static const volatile uint8_t table[256] = { 1 };
    volatile int sink = 0;
    uint8_t key[2] = { 1, 2 };
    unsigned before;

    (void)state;
    need_valgrind();
    CT_SECRET(key, sizeof key);
    before = reports();
    if (key[0] == 7)
        sink = 1;
    assert_int_equal(reports(), before + 1);
    sink = table[key[1]];
    assert_int_equal(reports(), before + 2);
    if (memcmp(key, "12", 2) == 0)
        sink = 2;
    assert_true(reports() > before + 2);
    (void)sink;
}

/* ---- base --------------------------------------------------------------------------------- */

static void
comparing_and_hex_do_not_depend_on_the_bytes(void **state)
{
    static const char text[] = "00ff0123456789abcdefABCDEF10203f";
    uint8_t a[16];
    uint8_t b[16];
    char back[33];
    char shown[33];
    unsigned before = reports();

    (void)state;
    need_valgrind();
    memcpy(back, text, sizeof back);
    CT_SECRET(back, 32);
    assert_int_equal(hex_decode(a, 16, span_of(back, 32)), BM_OK);
    memcpy(b, a, 16);
    assert_true(bm_equal_ct(a, b, 16));
    assert_false(bm_less_ct(a, b, 16));
    b[15] = (uint8_t)(b[15] + 1);
    assert_false(bm_equal_ct(a, b, 16));
    assert_true(bm_less_ct(a, b, 16));
    hex_encode(shown, a, 16);
    back[5] = 'g';
    assert_int_equal(hex_decode(a, 16, span_of(back, 32)), BM_ERR_INPUT);
    assert_int_equal(reports(), before);
    CT_PUBLIC(shown, 32);
    assert_string_equal(shown, "00ff0123456789abcdefabcdef10203f");
}

/* Whether a file is a reference is public; what a real key is like is not. */
static void
looking_for_a_reference_does_not_depend_on_a_real_key(void **state)
{
    uint8_t scalar[REFKEY_SCALAR_LEN];
    struct refkey key;
    unsigned before = reports();

    (void)state;
    need_valgrind();
    secret_hex(scalar, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e8a5a6b5b6a5a6b5b71001");
    assert_false(refkey_from_scalar(SPAN(scalar), &key));
    assert_false(refpsk_claims(SPAN(scalar)));
    assert_int_equal(reports(), before);
}

/* ---- scp03 -------------------------------------------------------------------------------- */

static void
unpadding_does_not_depend_on_the_text(void **state)
{
    unsigned before = reports();

    (void)state;
    need_valgrind();
    for (size_t at = 0; at < 16; at++) {
        for (int stray = 0; stray < 3; stray++) {
            uint8_t text[32] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80 };
            size_t len = 0;
            enum bm_err err;

            text[16 + at] = 0x80;
            text[31] = (uint8_t)(text[31] | (stray == 1 ? 1 : 0));
            text[16 + at] = (uint8_t)(text[16 + at] ^ (stray == 2 ? 1 : 0));
            CT_SECRET(text, sizeof text);
            err = scp03_unpad(SPAN(text), &len);
            assert_int_equal(err, stray == 0 ? BM_OK : BM_ERR_INPUT);
            assert_int_equal(len, stray == 0 ? 16 + at : 0);
        }
    }
    assert_int_equal(reports(), before);
}

static void
macs_and_encryption_do_not_depend_on_keys_and_data(void **state)
{
    struct scp03_aes aes;
    struct scp03_keys keys;
    struct scp03_channel host;
    struct scp03_channel card;
    const uint8_t context[SCP03_CONTEXT_LEN] = { 1, 2, 3 };
    unsigned before = reports();

    (void)state;
    need_valgrind();
    assert_int_equal(scp03_aes_init(&aes, NULL), BM_OK);
    secret_hex((uint8_t *)&keys, SCP_ENC SCP_MAC SCP_DEK);
    assert_int_equal(scp03_start(&host, &aes, &keys, context), BM_OK);
    assert_int_equal(scp03_start(&card, &aes, &keys, context), BM_OK);
    for (size_t len = 0; len <= SCP03_DATA_MAX; len += 13) {
        uint8_t data[SCP03_DATA_MAX];
        uint8_t room[SCP03_WRAPPED_MAX];
        uint8_t opened[SCP03_WRAPPED_MAX];
        uint8_t rsp[APDU_RSP_MAX];
        struct wr w = wr_of(rsp, sizeof rsp);
        const struct apdu cmd = { 0x80, 0x72, 0, 0, span_of(data, len), 256 };
        struct apdu wire;
        struct apdu got;
        struct span answer;
        uint16_t sw = 0;

        memset(data, 0x80, sizeof data);
        CT_SECRET(data, sizeof data);
        scp03_next(&host);
        scp03_next(&card);
        assert_int_equal(scp03_protect_command(&host, &aes, &cmd, room, &wire), BM_OK);
        assert_int_equal(scp03_open_command(&card, &aes, &wire, opened, &got), BM_OK);
        assert_int_equal(got.data.len, len);
        assert_int_equal(scp03_protect_response(&card, &aes, got.data, SW_OK, &w), BM_OK);
        wr_u16(&w, SW_OK);
        rsp[0] ^= 1;
        assert_int_equal(
            scp03_open_response(&host, &aes, span_of(rsp, wr_len(&w)), opened, &answer, &sw),
            BM_ERR_DENIED);
        rsp[0] ^= 1;
        assert_int_equal(
            scp03_open_response(&host, &aes, span_of(rsp, wr_len(&w)), opened, &answer, &sw),
            BM_OK);
        assert_int_equal(answer.len, len);
    }
    assert_int_equal(reports(), before);
    scp03_aes_fini(&aes);
}

/* ---- chip --------------------------------------------------------------------------------- */

static void
unwrapping_does_not_depend_on_keys(void **state)
{
    EVP_CIPHER *wrap;
    uint8_t kek[16];
    uint8_t wrapped[24];
    uint8_t key[16];
    unsigned before = reports();

    (void)state;
    need_valgrind();
    wrap = EVP_CIPHER_fetch(NULL, "AES-128-WRAP", NULL);
    secret_hex(kek, "000102030405060708090a0b0c0d0e0f"); /* RFC 3394 4.1 */
    secret_hex(wrapped, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
    assert_int_equal(sym_unwrap(wrap, SPAN(kek), SPAN(wrapped), key), BM_OK);
    wrapped[3] ^= 1;
    assert_int_equal(sym_unwrap(wrap, SPAN(kek), SPAN(wrapped), key), BM_ERR_INPUT);
    assert_int_equal(reports(), before);
    EVP_CIPHER_free(wrap);
}

/* Run a command whose data begins with so many secret bytes; its answer is public. */
static uint16_t
run_secret(struct bench *b, struct scp_host *h, const char *hex, size_t secret)
{
    uint8_t cmd[APDU_CMD_MAX];
    size_t all = strlen(hex) / 2;
    uint16_t sw;

    assert_true(all <= sizeof cmd && 5 + secret <= all);
    assert_int_equal(hex_decode(cmd, all, span_str(hex)), BM_OK);
    CT_SECRET(&cmd[5], secret);
    if (h != NULL)
        return scp_run_bytes(b, h, span_of(cmd, all));
    sw = run_bytes(b, span_of(cmd, all));
    CT_PUBLIC(b->rsp, sizeof b->rsp);
    return sw;
}

#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define PUB                                                                                        \
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                           \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define KEY "000102030405060708090a0b0c0d0e0f"
#define WRAPPED "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"

/* Keys that come alone: all data of their commands is secret, in the channel as well. */
static void
bring_keys(struct bench *b, struct scp_host *h)
{
    assert_int_equal(run_secret(b, h, "8032010110" KEY "00", 16), SW_OK);
    assert_int_equal(run_secret(b, h, "8042000110" KEY "00", 16), SW_OK);
    assert_int_equal(run_secret(b, h, "8042000218" WRAPPED "00", 24), SW_OK); /* RFC 3394 4.1 */
    assert_int_equal(run_secret(b, h, "8042000218" WRAPPED "00", 24), SW_WRONG_DATA);
    assert_int_equal(run_secret(b, h, "8091010500", 0), SW_OK);
    assert_int_equal(run_secret(b, h, "8012011010" KEY "00", 16), SW_WRONG_DATA); /* a code */
    assert_int_equal(run_secret(b, h,
                         "804710000400112233"
                         "00",
                         4),
        SW_OK);
    assert_int_equal(run_secret(b, h, "8095010000", 0), SW_OK);
    assert_int_equal(run_secret(b, h, "8046100020" PRIV "00", 0), SW_OK);
}

/* PRIV wrapped under KEY in config slot 1, as injection wants it. */
static void
wrapped_pair(char out[2 * 40 + 1])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[16];
    uint8_t scalar[32];
    uint8_t wrapped[40];
    int len = 0;

    assert_int_equal(hex_decode(key, sizeof key, span_str(KEY)), BM_OK);
    assert_int_equal(hex_decode(scalar, sizeof scalar, span_str(PRIV)), BM_OK);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_wrap(), NULL, key, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, wrapped, &len, scalar, sizeof scalar), 1);
    assert_int_equal(len, sizeof wrapped);
    EVP_CIPHER_CTX_free(ctx);
    hex_encode(out, wrapped, sizeof wrapped);
}

/* Key pairs, whose commands have a public point behind the key. */
static void
bring_pairs(struct bench *b)
{
    char wrapped[81];
    char cmd[300];

    assert_int_equal(run_secret(b, NULL, "8012000061" PRIV PUB "00", 32), SW_OK);
    assert_int_equal(run_secret(b, NULL, "8015000020" PRIV "00", 0), SW_OK);
    assert_int_equal(run_secret(b, NULL, "8017000041" PUB "00", 0), SW_OK);
    assert_int_equal(
        run_secret(b, NULL,
            "8012020061"
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551" PUB "00",
            32),
        SW_WRONG_DATA); /* the group order is no key */
    wrapped_pair(wrapped);
    (void)snprintf(cmd, sizeof cmd, "8012010069%s" PUB "00", wrapped);
    assert_int_equal(run_secret(b, NULL, cmd, 40), SW_OK);
    wrapped[7] = wrapped[7] == '0' ? '1' : '0';
    (void)snprintf(cmd, sizeof cmd, "8012010069%s" PUB "00", wrapped);
    assert_int_equal(run_secret(b, NULL, cmd, 40), SW_WRONG_DATA);
    assert_int_equal(run_secret(b, NULL,
                         "8045102003026161"
                         "00",
                         0),
        SW_OK);
}

static void
chip_does_not_depend_on_keys_in_the_clear(void **state)
{
    struct bench b = { 0 };
    unsigned before;

    (void)state;
    need_valgrind();
    reopen(&b);
    before = reports();
    bring_keys(&b, NULL);
    bring_pairs(&b);
    assert_int_equal(reports(), before);
    chip_close(b.chip);
    buf_fini(&b.mem.bytes);
}

static void
chip_does_not_depend_on_keys_in_the_channel(void **state)
{
    struct bench b = { 0 };
    struct scp_host h;
    uint8_t put[5 + SCP03_PUT_KEY_LEN + 1];
    unsigned before;

    (void)state;
    need_valgrind();
    reopen(&b);
    before = reports();
    scp_host_init(&h);
    CT_SECRET(&h.keys, sizeof h.keys);
    assert_int_equal(hex_decode(put, sizeof put, span_str(SCP_PUT_KEY)), BM_OK);
    for (size_t i = 0; i < 3; i++) { /* the form of the blocks is no secret */
        CT_SECRET(&put[6 + i * 23 + 3], SCP03_KEY_LEN);
        CT_SECRET(&put[6 + i * 23 + 3 + SCP03_KEY_LEN + 1], SCP03_KCV_LEN);
    }
    assert_int_equal(run_bytes(&b, SPAN(put)), SW_OK);
    assert_int_equal(scp_open(&b, &h), SW_OK);
    bring_keys(&b, &h);
    assert_int_equal(reports(), before);
    scp03_aes_fini(&h.aes);
    chip_close(b.chip);
    buf_fini(&b.mem.bytes);
}

/* Only returns when it cannot be. */
static const char *
start_under_valgrind(char **argv)
{
    char supp[] = "--suppressions=" SOURCE_DIR "/tests/unit/ct.supp";
    char *const args[] = { (char[]){ "valgrind" }, (char[]){ "--quiet" },
        (char[]){ "--error-limit=no" }, (char[]){ "--leak-check=no" }, supp, argv[0], NULL };

    if (SANITIZED)
        return "a sanitizer build does not run under valgrind";
    (void)execvp(args[0], args);
    return errno == ENOENT ? "valgrind is not installed" : strerror(errno);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branch_and_index_by_a_secret_are_reported),
        cmocka_unit_test(comparing_and_hex_do_not_depend_on_the_bytes),
        cmocka_unit_test(looking_for_a_reference_does_not_depend_on_a_real_key),
        cmocka_unit_test(unpadding_does_not_depend_on_the_text),
        cmocka_unit_test(macs_and_encryption_do_not_depend_on_keys_and_data),
        cmocka_unit_test(unwrapping_does_not_depend_on_keys),
        cmocka_unit_test(chip_does_not_depend_on_keys_in_the_clear),
        cmocka_unit_test(chip_does_not_depend_on_keys_in_the_channel),
    };

    (void)argc;
    if (!RUNNING_ON_VALGRIND)
        why_not = start_under_valgrind(argv);
    return cmocka_run_group_tests_name("ct", tests, NULL, NULL);
}
