/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the chip's keys, locks, counters and derivations: SPEC a71ch 1.4 to 1.7 and 2.3 to
 * 3.9. Expected bytes come from RFC 3394, 4231 and 5869, or are computed here by libcrypto from the
 * definition, never by the chip's own code.
 */
#include "chip/sym.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/file.h"
#include "chip_bench.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

/* RFC 6979 A.2.5 */
#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define XY                                                                                         \
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                             \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define PUB "04" XY
#define HASH "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"

/* RFC 3394 4.1 */
#define KEK "000102030405060708090a0b0c0d0e0f"
#define KEY "00112233445566778899aabbccddeeff"
#define WRAPPED_KEY "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"

#define SET_CONFIG(index, key) "8032" index "0110" key "00"
#define SET_SYM(index, key) "8042" index "0110" key "00"

static void
unhex(uint8_t *out, const char *hex)
{
    assert_int_equal(hex_decode(out, strlen(hex) / 2, span_str(hex)), BM_OK);
}

static void
map_is(struct bench *b, size_t at, uint8_t want)
{
    assert_int_equal(run(b, "8091000400"), SW_OK);
    assert_int_equal(b->data.len, 149);
    assert_int_equal(b->data.ptr[at], want);
}

/* What a host does with a challenge: AES-128-ECB decryption with the config key. */
static void
code_for(struct bench *b, const char *kind, const char *key_hex, char code[33])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    char cmd[16];
    uint8_t key[16];
    uint8_t bytes[16];
    int len;

    (void)snprintf(cmd, sizeof cmd, "8091%s0500", kind);
    assert_int_equal(run(b, cmd), SW_OK);
    assert_int_equal(b->data.len, 16);
    unhex(key, key_hex);
    assert_int_equal(EVP_DecryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL), 1);
    assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
    assert_int_equal(EVP_DecryptUpdate(ctx, bytes, &len, b->data.ptr, 16), 1);
    EVP_CIPHER_CTX_free(ctx);
    hex_encode(code, bytes, 16);
}

/* Fetch a challenge, answer it in `head` ("8014001010" and the like). */
static uint16_t
run_with_code(struct bench *b, const char *head, const char *kind, const char *key)
{
    char code[33];
    char cmd[64];

    code_for(b, kind, key, code);
    (void)snprintf(cmd, sizeof cmd, "%s%s00", head, code);
    return run(b, cmd);
}

/* RFC 3394 by libcrypto. */
static void
wrap(const char *kek_hex, const char *key_hex, char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t kek[16];
    uint8_t key[64];
    uint8_t wrapped[72 + 16];
    int len = 0;

    unhex(kek, kek_hex);
    unhex(key, key_hex);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_wrap(), NULL, kek, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, wrapped, &len, key, (int)strlen(key_hex) / 2), 1);
    EVP_CIPHER_CTX_free(ctx);
    hex_encode(out, wrapped, (size_t)len);
}

/* ---- counters ----------------------------------------------------------------------------- */

static void
counter_goes_up_by_one_or_to_a_higher_value_only(void **state)
{
    struct bench *b = *state;

    expect(b, "8062010000", SW_OK, "");
    expect(b, "80620100", SW_OK, "");
    expect(b, "8061010000", SW_OK, "00000002");
    expect(b, "8061000000", SW_OK, "00000000");
    expect(b, "80620100040000010000", SW_OK, "");
    expect(b, "80620100040000010000", SW_WRONG_DATA, "");
    expect(b, "8062010004000000ff00", SW_WRONG_DATA, "");
    expect(b, "8061010000", SW_OK, "00000100");
    expect(b, "80620100030001000000", SW_WRONG_LENGTH, "");
    expect(b, "806201000300010000", SW_WRONG_DATA, "");
    expect(b, "8062020000", SW_WRONG_P1P2, "");
    expect(b, "8062000100", SW_WRONG_P1P2, "");
}

static void
full_counter_refuses_to_go_round(void **state)
{
    struct bench *b = *state;

    expect(b, "8062000004fffffffe00", SW_OK, "");
    expect(b, "8062000000", SW_OK, "");
    expect(b, "8062000000", SW_CONDITIONS, "");
    expect(b, "8061000000", SW_OK, "ffffffff");
    reopen(b);
    expect(b, "8061000000", SW_OK, "ffffffff");
}

static void
counter_erase_is_a_debug_command(void **state)
{
    struct bench *b = *state;

    expect(b, "8062000004000000ff00", SW_OK, "");
    expect(b, "8064020000", SW_WRONG_P1P2, "");
    expect(b, "8064000000", SW_OK, "");
    expect(b, "8061000000", SW_OK, "00000000");
    expect(b, "8062000000", SW_OK, "");
    expect(b, "809300dd00", SW_OK, "");
    expect(b, "8064000000", SW_INS_UNKNOWN, "");
    expect(b, "8061000000", SW_OK, "00000001");
}

/* ---- freezing ----------------------------------------------------------------------------- */

static void
frozen_pair_is_used_but_never_changed(void **state)
{
    struct bench *b = *state;

    expect(b, "8013010000", SW_CONDITIONS, ""); /* empty */
    expect(b, "8012010061" PRIV PUB "00", SW_OK, "");
    expect(b, "8013010100", SW_WRONG_P1P2, "");
    expect(b, "8013040000", SW_WRONG_P1P2, "");
    expect(b, "8013010000", SW_OK, "");
    for (int pass = 0; pass < 2; pass++) {
        expect(b, "8012010000", SW_NOT_ALLOWED, "");
        expect(b, "8012010061" PRIV PUB "00", SW_NOT_ALLOWED, "");
        expect(b, "8014010000", SW_NOT_ALLOWED, "");
        expect(b, "8013010000", SW_NOT_ALLOWED, "");
        expect(b, "8011010000", SW_OK, PUB);
        assert_int_equal(run(b, "8015010020" HASH "00"), SW_OK);
        assert_int_equal(run(b, "8017010041" PUB "00"), SW_OK);
        map_is(b, 2, 0x5f);
        map_is(b, 1, 0xa5);
        reopen(b);
    }
}

static void
frozen_public_key_is_used_but_never_changed(void **state)
{
    struct bench *b = *state;

    expect(b, "8023020000", SW_CONDITIONS, "");
    expect(b, "8022020041" PUB "00", SW_OK, "");
    expect(b, "8023030000", SW_WRONG_P1P2, "");
    expect(b, "8023020000", SW_OK, "");
    reopen(b);
    expect(b, "8022020041" PUB "00", SW_NOT_ALLOWED, "");
    expect(b, "8024020000", SW_NOT_ALLOWED, "");
    expect(b, "8023020000", SW_NOT_ALLOWED, "");
    expect(b, "8021020000", SW_OK, PUB);
    map_is(b, 7, 0x5f);
}

static void
frozen_segments_are_read_but_not_written(void **state)
{
    struct bench *b = *state;

    expect(b, "8072002004a1a2a3a400", SW_OK, "");
    expect(b,
        "80730020020040"
        "00",
        SW_OK, "");
    expect(b,
        "807200200100"
        "00",
        SW_NOT_ALLOWED, "");
    expect(b,
        "80720000"
        "21"
        "000000000000000000000000000000000000000000000000000000000000000000"
        "00",
        SW_NOT_ALLOWED, ""); /* its last byte is in a frozen segment */
    expect(b,
        "8072005f0100"
        "00",
        SW_NOT_ALLOWED, "");
    expect(b,
        "8072001f01bb"
        "00",
        SW_OK, "");
    expect(b,
        "8072006001cc"
        "00",
        SW_OK, "");
    reopen(b);
    expect(b,
        "8072005f0100"
        "00",
        SW_NOT_ALLOWED, "");
    expect(b,
        "8071001f020005"
        "00",
        SW_OK, "bba1a2a3a4");
    map_is(b, 21, 0x55);
    map_is(b, 22, 0x5f);
    map_is(b, 23, 0x5f);
    map_is(b, 24, 0x55);
    expect(b,
        "80730000020060"
        "00",
        SW_OK, ""); /* some are frozen already */
    map_is(b, 21, 0x5f);
    expect(b,
        "80730fe0020020"
        "00",
        SW_OK, "");
    map_is(b, 148, 0x5f);
}

static void
segments_freeze_whole_and_inside_the_store(void **state)
{
    static const char *const bad[] = { "80730001020020"
                                       "00",
        "80730000020021"
        "00",
        "80730000020000"
        "00",
        "80730fe0020040"
        "00",
        "80731000020020"
        "00",
        "8073000000", "80730000012000", "8073ffe002ffe000" };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(b, bad[i], SW_WRONG_DATA, "");
    for (size_t i = 21; i < 149; i++)
        map_is(b, i, 0x55);
}

/* ---- config and symmetric keys ------------------------------------------------------------ */

static void
symmetric_keys_are_set_plain_and_erased(void **state)
{
    struct bench *b = *state;

    map_is(b, 18, 0xa5);
    expect(b, SET_SYM("07", KEY), SW_OK, "");
    map_is(b, 18, 0x55);
    expect(b, SET_SYM("08", KEY), SW_WRONG_P1P2, "");
    expect(b, "8042070010" KEY "00", SW_WRONG_P1P2, "");
    expect(b, "804207010f00112233445566778899aabbccddee00", SW_WRONG_DATA, "");
    expect(b, "8042070118" WRAPPED_KEY "00", SW_WRONG_DATA, "");
    expect(b, "8044070000", SW_OK, "");
    map_is(b, 18, 0xa5);
    expect(b, "8044070000", SW_OK, "");
    expect(b, "8044080000", SW_WRONG_P1P2, "");
    expect(b, "8044070100", SW_WRONG_P1P2, "");
}

/* The RFC's wrapped key goes into a slot that holds the RFC's wrapping key. */
static void
wrapped_symmetric_key_replaces_the_one_that_wraps_it(void **state)
{
    struct bench *b = *state;
    uint8_t first[32];

    expect(b, "8042030218" WRAPPED_KEY "00", SW_CONDITIONS, ""); /* nothing to unwrap with */
    expect(b, SET_SYM("00", KEY), SW_OK, "");
    expect(b, SET_SYM("03", KEK), SW_OK, "");
    expect(b,
        "8042030218"
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe4"
        "00",
        SW_WRONG_DATA, "");
    expect(b, "8042030218" WRAPPED_KEY "00", SW_OK, "");
    expect(b, "8042030218" WRAPPED_KEY "00", SW_WRONG_DATA, ""); /* the wrapping key is gone */
    assert_int_equal(run(b, "804710000161"
                            "00"),
        SW_OK);
    memcpy(first, b->data.ptr, 32);
    assert_int_equal(run(b, "804713000161"
                            "00"),
        SW_OK);
    assert_memory_equal(first, b->data.ptr, 32); /* slots 0 and 3 hold the same key */
}

static void
wrapped_config_key_replaces_the_one_that_wraps_it(void **state)
{
    struct bench *b = *state;

    expect(b, "8032010218" WRAPPED_KEY "00", SW_CONDITIONS, "");
    expect(b, SET_CONFIG("01", KEK), SW_OK, "");
    map_is(b, 9, 0x55);
    map_is(b, 8, 0xa5);
    expect(b, "8032010218" WRAPPED_KEY "00", SW_OK, "");
    assert_int_equal(run_with_code(b, "8012001010", "01", KEY), SW_OK);
    assert_int_equal(run_with_code(b, "8012001010", "01", KEK), SW_WRONG_DATA);
    expect(b, SET_CONFIG("03", KEK), SW_WRONG_P1P2, "");
    expect(b, "8032010310" KEY "00", SW_WRONG_P1P2, "");
    expect(b, "8032010210" KEY "00", SW_WRONG_DATA, "");
}

static void
wrapped_pair_and_public_key_come_out_under_their_config_keys(void **state)
{
    struct bench *b = *state;
    char wrapped[145];
    char cmd[300];
    char other[300];

    wrap(KEK, PRIV, wrapped);
    (void)snprintf(cmd, sizeof cmd, "8012020069%s" PUB "00", wrapped);
    expect(b, cmd, SW_CONDITIONS, "");
    expect(b, SET_CONFIG("02", KEK), SW_OK, "");
    expect(b, cmd, SW_CONDITIONS, ""); /* key 2 is for public keys */
    expect(b, SET_CONFIG("01", KEY), SW_OK, "");
    expect(b, cmd, SW_WRONG_DATA, "");
    expect(b, SET_CONFIG("01", KEK), SW_OK, "");
    expect(b, cmd, SW_OK, "");
    expect(b, "8011020000", SW_OK, PUB);
    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
    assert_int_equal(run(b, "8017000041" PUB "00"), SW_OK);
    hex_encode(other, b->data.ptr, 32);
    expect(b, "8017020041" PUB "00", SW_OK, other); /* the same private key */
    wrap(KEK, XY, wrapped);
    (void)snprintf(cmd, sizeof cmd, "8022000048%s00", wrapped);
    expect(b, cmd, SW_OK, "");
    expect(b, "8021000000", SW_OK, PUB);
    cmd[20] = cmd[20] == '0' ? '1' : '0';
    expect(b, cmd, SW_WRONG_DATA, "");
    wrap(KEK, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", wrapped);
    (void)snprintf(cmd, sizeof cmd, "8012030069%s" PUB "00", wrapped);
    expect(b, cmd, SW_WRONG_DATA, ""); /* the group order is no private key */
    map_is(b, 4, 0xa5);
}

static void
secret_keys_never_come_back_and_leave_the_file(void **state)
{
    struct bench *b = *state;
    uint8_t key[16];

    unhex(key, KEY);
    for (int pass = 0; pass < 2; pass++) {
        expect(b, SET_SYM("00", KEY), SW_OK, "");
        assert_true(sealed_holds(&b->mem, key, 16));
        assert_null(memmem(b->mem.bytes.ptr, b->mem.bytes.len, key, 16));
        expect(b, pass == 0 ? "8044000000" : SET_SYM("00", KEK), SW_OK, "");
        assert_false(sealed_holds(&b->mem, key, 16));
    }
    expect(b, SET_CONFIG("00", KEY), SW_OK, "");
    expect(b, SET_CONFIG("00", KEK), SW_OK, "");
    assert_false(sealed_holds(&b->mem, key, 16));
    for (unsigned ins = 0; ins < 256; ins++) { /* whatever is asked, no answer has a key in it */
        char cmd[16];

        if (ins == 0x94 || ins == 0x92)
            continue;
        (void)snprintf(cmd, sizeof cmd, "80%02x000000", ins);
        (void)run(b, cmd);
        unhex(key, KEK);
        assert_null(memmem(b->data.ptr, b->data.len, key, 16));
    }
}

/* ---- inject lock and codes ---------------------------------------------------------------- */

static void
inject_lock_refuses_all_plain_injection_for_good(void **state)
{
    struct bench *b = *state;

    expect(b, SET_SYM("00", KEK), SW_OK, "");
    expect(b, SET_CONFIG("00", KEK), SW_OK, "");
    expect(b, "8012000000", SW_OK, "");
    expect(b, "8092000100", SW_OK, "");
    for (int pass = 0; pass < 2; pass++) {
        expect(b, "8091000300", SW_OK, "0131f3211000");
        expect(b, "8012000061" PRIV PUB "00", SW_NOT_ALLOWED, "");
        expect(b, "8012000000", SW_NOT_ALLOWED, "");
        expect(b, "8022000041" PUB "00", SW_NOT_ALLOWED, "");
        expect(b, SET_SYM("00", KEY), SW_NOT_ALLOWED, "");
        expect(b, SET_CONFIG("00", KEY), SW_NOT_ALLOWED, "");
        expect(b, "8044000000", SW_NOT_ALLOWED, "");
        expect(b, "8014000000", SW_WRONG_DATA, "");
        expect(b, "8024000000", SW_WRONG_DATA, "");
        expect(b, "8013000000", SW_WRONG_DATA, "");
        expect(b, "8023000000", SW_WRONG_DATA, "");
        expect(b, "8092000100", SW_NOT_ALLOWED, "");
        expect(b, "807200000441314348", SW_OK, ""); /* unaffected */
        expect(b, "8062000000", SW_OK, "");
        assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
        reopen(b);
    }
    expect(b, "8042000218" WRAPPED_KEY "00", SW_OK, ""); /* wrapped goes on */
    expect(b, "8032000218" WRAPPED_KEY "00", SW_OK, "");
}

static void
right_code_generates_freezes_and_erases_behind_the_inject_lock(void **state)
{
    struct bench *b = *state;

    expect(b, SET_CONFIG("01", KEK), SW_OK, "");
    expect(b, SET_CONFIG("02", KEY), SW_OK, "");
    expect(b, "8022000041" PUB "00", SW_OK, "");
    expect(b, "8022010041" PUB "00", SW_OK, "");
    expect(b, "8092000100", SW_OK, "");
    assert_int_equal(run_with_code(b, "8012001010", "01", KEK), SW_OK);
    assert_int_equal(run(b, "8011000000"), SW_OK);
    assert_int_equal(run_with_code(b, "8014001010", "01", KEK), SW_OK);
    expect(b, "8011000000", SW_CONDITIONS, "");
    assert_int_equal(run_with_code(b, "8012001010", "01", KEK), SW_OK);
    assert_int_equal(run_with_code(b, "8013001010", "01", KEK), SW_OK);
    assert_int_equal(run_with_code(b, "8014001010", "01", KEK), SW_NOT_ALLOWED);
    assert_int_equal(run_with_code(b, "8012001010", "01", KEK), SW_NOT_ALLOWED);
    assert_int_equal(run_with_code(b, "8023001010", "02", KEY), SW_OK);
    assert_int_equal(run_with_code(b, "8024001010", "02", KEY), SW_NOT_ALLOWED);
    assert_int_equal(run_with_code(b, "8024011010", "02", KEY), SW_OK);
    map_is(b, 5, 0x5f);
    map_is(b, 6, 0xa5);
}

static void
wrong_late_or_foreign_codes_change_nothing(void **state)
{
    struct bench *b = *state;
    char code[33];
    char cmd[64];

    expect(b, "8012000000", SW_OK, "");
    assert_int_equal(run_with_code(b, "8014001010", "01", KEK), SW_CONDITIONS); /* no config key */
    expect(b, SET_CONFIG("01", KEK), SW_OK, "");
    expect(b, "8014001010" KEY "00", SW_CONDITIONS, ""); /* no challenge */
    assert_int_equal(run_with_code(b, "8014001010", "01", KEY), SW_WRONG_DATA);
    assert_int_equal(run_with_code(b, "8014001010", "02", KEK), SW_CONDITIONS);
    code_for(b, "01", KEK, code);
    (void)snprintf(cmd, sizeof cmd, "801400100f%.30s00", code);
    expect(b, cmd, SW_WRONG_DATA, "");
    expect(b, "8014001010" KEY "00", SW_WRONG_DATA, ""); /* wrong: uses the challenge up */
    (void)snprintf(cmd, sizeof cmd, "8014001010%s00", code);
    expect(b, cmd, SW_CONDITIONS, "");
    assert_int_equal(run(b, "8011000000"), SW_OK); /* still there */
    code_for(b, "01", KEK, code);
    (void)snprintf(cmd, sizeof cmd, "8014001010%s00", code);
    assert_int_equal(run(b, SELECT), SW_OK);
    expect(b, cmd, SW_CONDITIONS, ""); /* SELECT drops it */
    assert_int_equal(run_with_code(b, "8014001010", "01", KEK), SW_OK);
}

static void
challenges_are_fresh(void **state)
{
    struct bench *b = *state;
    uint8_t first[16];

    assert_int_equal(run(b, "8091000500"), SW_OK);
    memcpy(first, b->data.ptr, 16);
    assert_int_equal(run(b, "8091000500"), SW_OK);
    assert_memory_not_equal(first, b->data.ptr, 16);
    assert_int_equal(run(b, "8091020500"), SW_OK);
    assert_int_equal(b->data.len, 16);
    expect(b, "8091030500", SW_WRONG_P1P2, "");
}

/* ---- transport lock ----------------------------------------------------------------------- */

static void
transport_lock_goes_once_from_open_to_locked_to_open(void **state)
{
    struct bench *b = *state;

    expect(b, "8092000200", SW_CONDITIONS, ""); /* nobody could open it */
    expect(b, SET_CONFIG("00", KEK), SW_OK, "");
    assert_int_equal(run_with_code(b, "8092000310", "00", KEK), SW_CONDITIONS); /* not locked */
    expect(b, "8092000200", SW_OK, "");
    expect(b, "8091000300", SW_OK, "0131f1221000");
    reopen(b);
    expect(b, "8092000310" KEY "00", SW_CONDITIONS, ""); /* no challenge */
    assert_int_equal(run_with_code(b, "8092000310", "00", KEY), SW_WRONG_DATA);
    expect(b, "8091000300", SW_OK, "0131f1221000");
    assert_int_equal(run_with_code(b, "8092000310", "00", KEK), SW_OK);
    expect(b, "8091000300", SW_OK, "0131f2221000");
    expect(b, "8092000200", SW_NOT_ALLOWED, "");
    reopen(b);
    expect(b, "8091000300", SW_OK, "0131f2221000");
    expect(b, "809400ea00", SW_OK, "");
    expect(b, "8091000300", SW_OK, "0131f3221000");
}

static void
locked_module_answers_only_what_opens_it(void **state)
{
    static const char *const refused[] = { "8011000000", "8012000000", "8013000000", "8014000000",
        "8015000020" HASH "00", "8017000041" PUB "00", "8021000000", "8024000000",
        SET_CONFIG("00", KEY), SET_SYM("00", KEY), "8047100000", "8061000000", "8062000000",
        "8064000000", "8071000002000400", "8072000001aa00", "8091000400", "8091010500",
        "8091020500", "8091000600", "8092000100", "8092000200", "8092000501aa00", "809300dd00",
        "809400ea00", "8095001000", "8096000000", "80fe000000", "8099000000" };
    struct bench *b = *state;

    expect(b, SET_CONFIG("00", KEK), SW_OK, "");
    expect(b, "8012000000", SW_OK, "");
    expect(b, "8092000200", SW_OK, "");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        expect(b, refused[i], SW_CONDITIONS, "");
    assert_int_equal(run(b, "8091000100"), SW_OK);
    assert_int_equal(run(b, "8091000300"), SW_OK);
    assert_int_equal(run(b, SELECT), SW_OK);
    assert_int_equal(run_with_code(b, "8092000310", "00", KEK), SW_OK);
    assert_int_equal(run(b, "8011000000"), SW_OK);
}

/* ---- derivations -------------------------------------------------------------------------- */

/* Put the bytes into slots from `first` on, zeros behind them up to a whole slot. */
static void
put_secret(struct bench *b, unsigned first, const char *hex)
{
    size_t len = strlen(hex);

    for (size_t at = 0; at < len; at += 32, first++) {
        char cmd[64] = "";
        char key[33] = "00000000000000000000000000000000";

        memcpy(key, &hex[at], len - at < 32 ? len - at : 32);
        (void)snprintf(cmd, sizeof cmd, "8042%02x0110%s00", first, key);
        expect(b, cmd, SW_OK, "");
    }
}

/*
 * RFC 4231. HMAC fills a key shorter than a block with zeros, so that a short key is the same as
 * one with zeros behind it. Cases 6 and 7 have longer keys than four slots.
 */
static void
hmac_agrees_with_rfc_4231(void **state)
{
    static const struct {
        const char *key;
        const char *head;
        const char *data;
        const char *mac;
    } cases[] = {
        { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "8047220008", "4869205468657265",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        { "4a656665", "804712001c", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "8047220032",
            "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
            "d"
            "ddddddddddddd",
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
        { "0102030405060708090a0b0c0d0e0f10111213141516171819", "8047220032",
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
            "c"
            "dcdcdcdcdcdcd",
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
    };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char cmd[256];

        put_secret(b, 2, cases[i].key);
        (void)snprintf(cmd, sizeof cmd, "%s%s00", cases[i].head, cases[i].data);
        expect(b, cmd, SW_OK, cases[i].mac);
    }
}

static void
hmac_in_parts_is_the_same_and_ends_with_select(void **state)
{
    static const char mac[] = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    struct bench *b = *state;

    put_secret(b, 0, "4a656665");
    put_secret(b, 1, KEY);
    expect(b, "8047100300", SW_CONDITIONS, "");
    expect(b, "804710010e7768617420646f2079612077616e00", SW_OK, "");
    expect(b, "8091000300", SW_OK, "0131f3221000"); /* survives other commands */
    expect(b,
        "8047100203"
        "7420"
        "66"
        "00",
        SW_OK, "");
    expect(b, "8047110200", SW_CONDITIONS, ""); /* of another key: refused, not mixed in */
    expect(b, "804710030b6f72206e6f7468696e673f00", SW_OK, mac);
    expect(b, "8047100300", SW_CONDITIONS, "");
    expect(b, "8047100100", SW_OK, ""); /* init and final without data */
    expect(b, "804710021c7768617420646f2079612077616e7420666f72206e6f7468696e673f00", SW_OK, "");
    expect(b, "8047100300", SW_OK, mac);
    expect(b, "8047100100", SW_OK, "");
    assert_int_equal(run(b, SELECT), SW_OK);
    expect(b, "8047100300", SW_CONDITIONS, "");
    expect(b, "8047100400", SW_WRONG_P1P2, "");
}

static void
secrets_are_one_to_four_set_slots_in_a_row(void **state)
{
    static const char *const outside[] = { "8047000000", "8047500000", "8047180000", "8047270000",
        "8047450000", "80474f0000" };
    struct bench *b = *state;

    put_secret(b, 4, KEY KEY KEY KEY);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        expect(b, outside[i], SW_WRONG_P1P2, "");
    assert_int_equal(run(b, "8047440000"), SW_OK);
    assert_int_equal(run(b, "8047170000"), SW_OK);
    expect(b, "8047230000", SW_CONDITIONS, ""); /* slot 3 is empty */
    expect(b, "8047130100", SW_CONDITIONS, "");
    expect(b,
        "8045130120"
        "00"
        "00000000000000000000000000000000000000000000000000000000000000"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "804513010100"
        "00",
        SW_CONDITIONS, "");
}

/* RFC 5869 A.1 to A.3: the expand step, whose PRK of 32 bytes fills two slots. */
static void
hkdf_without_salt_is_the_expand_step_of_rfc_5869(void **state)
{
    struct bench *b = *state;

    put_secret(b, 0, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    expect(b, "8045202a0b0af0f1f2f3f4f5f6f7f8f900", SW_OK,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    put_secret(b, 0, "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244");
    expect(b,
        "8045205251"
        "50b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadb"
        "dcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00",
        SW_OK,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
        "59"
        "0e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
    put_secret(b, 0, "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04");
    expect(b, "8045202a010000", SW_OK,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

/* Extract and expand by libcrypto, which knows HKDF. */
static void
reference_hkdf(
    const char *ikm_hex, const char *salt_hex, const char *info_hex, size_t len, char *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    uint8_t ikm[64];
    uint8_t salt[64];
    uint8_t info[64];
    uint8_t okm[255];
    char sha[] = "SHA256";
    OSSL_PARAM p[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm, strlen(ikm_hex) / 2),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, strlen(salt_hex) / 2),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info_hex) / 2),
        OSSL_PARAM_construct_end(),
    };

    unhex(ikm, ikm_hex);
    unhex(salt, salt_hex);
    unhex(info, info_hex);
    assert_int_equal(EVP_KDF_derive(ctx, okm, len, p), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    hex_encode(out, okm, len);
}

static void
hkdf_with_salt_extracts_first(void **state)
{
    struct bench *b = *state;
    char want[511];

    put_secret(b, 5, KEY KEK KEY);
    reference_hkdf(KEY KEK KEY, KEK KEK, "aabbcc", 255, want);
    expect(b, "804535ff2520" KEK KEK "03aabbcc00", SW_OK, want);
    reference_hkdf(KEY KEK KEY, KEK, "", 1, want);
    expect(b, "804535011210" KEK "0000", SW_OK, want);
    expect(b,
        "8045350001"
        "00"
        "00",
        SW_WRONG_P1P2, "");
    expect(b, "8045352000", SW_WRONG_DATA, "");
    expect(b,
        "80453520020200"
        "00",
        SW_WRONG_DATA, ""); /* field longer than the data */
    expect(b,
        "804535200401aa02bb"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "804535200401aa00bb"
        "00",
        SW_WRONG_DATA, ""); /* a third field */
}

/* The published P_SHA256 vector of the IETF TLS list (label "test label"), first 48 bytes. */
static void
p_sha256_agrees_with_the_published_vector(void **state)
{
    static const char want[] = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
                               "6b301791e90d35c9c9a46b4e14baf9af";
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    uint8_t secret[16];
    uint8_t rest[16];
    uint8_t out[48];
    struct wr w = wr_of(out, sizeof out);
    char hex[97];

    (void)state;
    unhex(secret, "9bbe436ba940f017b17652849a71db35");
    unhex(rest, "a0ba9f936cda311827a6f796ffd5198c");
    assert_int_equal(
        sym_tls_master(hmac, SPAN(secret),
            (struct span[]){ span_str("test label"), span_of(rest, 8), span_of(&rest[8], 8) }, &w),
        BM_OK);
    hex_encode(hex, out, 48);
    assert_string_equal(hex, want);
    EVP_MAC_free(hmac);
}

/* The PRF of TLS 1.2 by libcrypto. */
static void
reference_master(struct span premaster, const char *label, const uint8_t client[32],
    const uint8_t server[32], char out[97])
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    uint8_t seed[24 + 64];
    uint8_t master[48];
    char sha[] = "SHA256";
    size_t len = strlen(label);
    OSSL_PARAM p[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha, 0),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_SECRET, (void *)(uintptr_t)premaster.ptr, premaster.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, len + 64),
        OSSL_PARAM_construct_end(),
    };

    memcpy(seed, label, len);
    memcpy(&seed[len], client, 32);
    memcpy(&seed[len + 32], server, 32);
    assert_int_equal(EVP_KDF_derive(ctx, master, sizeof master, p), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    hex_encode(out, master, 48);
}

static void
client_hello(struct bench *b, uint8_t out[32])
{
    assert_int_equal(run(b, "8095010000"), SW_OK);
    assert_int_equal(b->data.len, 32);
    memcpy(out, b->data.ptr, 32);
}

#define PSK_MASTER "8046220020" HASH "00"

static void
psk_master_secret_is_that_of_rfc_4279(void **state)
{
    struct bench *b = *state;
    uint8_t premaster[68] = { 0, 32, [34] = 0, 32 };
    uint8_t client[32];
    uint8_t server[32];
    char want[97];

    put_secret(b, 2, KEY KEK);
    unhex(&premaster[36], KEY KEK);
    unhex(server, HASH);
    client_hello(b, client);
    reference_master(SPAN(premaster), "master secret", client, server, want);
    expect(b, PSK_MASTER, SW_OK, want);
    expect(b, "8092000506666f6f62617200", SW_OK, "");
    reopen(b);
    client_hello(b, client);
    reference_master(SPAN(premaster), "foobar", client, server, want);
    expect(b, PSK_MASTER, SW_OK, want);
    expect(b, "809400ea00", SW_OK, ""); /* the label goes back */
    put_secret(b, 2, KEY KEK);
    client_hello(b, client);
    reference_master(SPAN(premaster), "master secret", client, server, want);
    expect(b, PSK_MASTER, SW_OK, want);
}

/* NIST CAVS ECC CDH primitive, P-256, COUNT 0, gives Z. */
static void
ecdhe_psk_master_secret_is_that_of_rfc_5489(void **state)
{
    static const char command[] =
        "8016031561"
        "04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
        "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac" HASH "00";
    struct bench *b = *state;
    uint8_t premaster[52] = { 0, 32, [34] = 0, 16 };
    uint8_t client[32];
    uint8_t server[32];
    char want[97];

    put_secret(b, 5, KEY);
    client_hello(b, client);
    expect(b, command, SW_CONDITIONS, ""); /* no pair */
    expect(b,
        "8012030061"
        "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534"
        "04ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230"
        "28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141"
        "00",
        SW_OK, "");
    unhex(&premaster[2], "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
    unhex(&premaster[36], KEY);
    unhex(server, HASH);
    client_hello(b, client);
    reference_master(SPAN(premaster), "master secret", client, server, want);
    expect(b, command, SW_OK, want);
    client_hello(b, client);
    expect(b,
        "8016031561"
        "04" HASH HASH HASH "00",
        SW_WRONG_DATA, ""); /* not on the curve */
    client_hello(b, client);
    expect(b, "8016031541" PUB "00", SW_WRONG_DATA, "");
    client_hello(b, client);
    expect(b, "8016041561" PUB HASH "00", SW_WRONG_P1P2, "");
}

static void
master_secret_wants_the_client_hello_immediately_before(void **state)
{
    static const char *const between[] = { "8091000300", "8095001000", "80", SELECT, "8046220000" };
    struct bench *b = *state;
    uint8_t client[32];

    put_secret(b, 2, KEY KEK);
    expect(b, PSK_MASTER, SW_CONDITIONS, "");
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) {
        client_hello(b, client);
        (void)run(b, between[i]);
        expect(b, PSK_MASTER, SW_CONDITIONS, "");
    }
    client_hello(b, client);
    assert_int_equal(run(b, PSK_MASTER), SW_OK);
    expect(b, PSK_MASTER, SW_CONDITIONS, ""); /* once */
    client_hello(b, client);
    expect(b, "8046120120" HASH "00", SW_WRONG_P1P2, "");
    client_hello(b, client);
    expect(b, "8046100020" HASH "00", SW_CONDITIONS, ""); /* empty slot */
    expect(b, "8095010100", SW_WRONG_P1P2, "");
}

static void
tls_label_has_1_to_24_bytes(void **state)
{
    struct bench *b = *state;

    expect(b, "8092000500", SW_WRONG_DATA, "");
    expect(b,
        "8092000519"
        "00000000000000000000000000000000000000000000000000"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "8092000518"
        "000000000000000000000000000000000000000000000000"
        "00",
        SW_OK, "");
    expect(b, "8092010501aa00", SW_WRONG_P1P2, "");
    expect(b, "8092000400", SW_WRONG_P1P2, "");
}

/* ---- debug -------------------------------------------------------------------------------- */

static void
reflect_returns_what_it_got(void **state)
{
    struct bench *b = *state;

    expect(b, "80fe0000041122334400", SW_OK, "11223344");
    expect(b, "80fe000000", SW_OK, "");
    expect(b, "80fe000100", SW_WRONG_P1P2, "");
}

static void
disabling_debug_takes_the_version_bit_and_the_commands_for_good(void **state)
{
    struct bench *b = *state;

    expect(b, "809300de00", SW_WRONG_P1P2, "");
    expect(b, "8012000000", SW_OK, "");
    expect(b, "809300dd00", SW_OK, "");
    for (int pass = 0; pass < 2; pass++) {
        expect(b, SELECT, SW_OK, "0130");
        expect(b, "8091000300", SW_OK, "0130f3221000");
        expect(b, "809400ea00", SW_INS_UNKNOWN, "");
        expect(b, "809300dd00", SW_INS_UNKNOWN, "");
        expect(b, "80fe0000011100", SW_INS_UNKNOWN, "");
        expect(b, "8064000000", SW_INS_UNKNOWN, "");
        assert_int_equal(run(b, "8011000000"), SW_OK);
        reopen(b);
    }
}

static void
debug_reset_brings_back_the_fresh_chip(void **state)
{
    struct bench *b = *state;
    uint8_t fresh[149];

    assert_int_equal(run(b, "8091000400"), SW_OK);
    memcpy(fresh, b->data.ptr, 149);
    expect(b, "8012000000", SW_OK, "");
    expect(b, "8013000000", SW_OK, "");
    expect(b, "8022000041" PUB "00", SW_OK, "");
    expect(b, "8023000000", SW_OK, "");
    expect(b, SET_SYM("00", KEY), SW_OK, "");
    expect(b, SET_CONFIG("00", KEK), SW_OK, "");
    expect(b, "8062000000", SW_OK, "");
    expect(b,
        "80730000020020"
        "00",
        SW_OK, "");
    expect(b, "8092000100", SW_OK, "");
    expect(b, "8092000200", SW_OK, "");
    assert_int_equal(run_with_code(b, "8092000310", "00", KEK), SW_OK);
    expect(b, "8047100100", SW_OK, "");
    expect(b, "809400ea00", SW_OK, "");
    for (int pass = 0; pass < 2; pass++) {
        expect(b, "8091000300", SW_OK, "0131f3221000");
        assert_int_equal(run(b, "8091000400"), SW_OK);
        assert_memory_equal(b->data.ptr, fresh, 149);
        expect(b, "8061000000", SW_OK, "00000000");
        expect(b, "8047100300", SW_CONDITIONS, ""); /* nor does an HMAC remember the key */
        expect(b, "8047100000", SW_CONDITIONS, "");
        reopen(b);
    }
    expect(b, "807200000441314348", SW_OK, "");
    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
}

/* ---- older folders ------------------------------------------------------------------------ */

/* tests/vectors/chip/first-light/nvm was written by the program before these commands. */
static void
folder_of_the_first_build_opens_and_takes_the_new_commands(void **state)
{
    struct bench b = { 0 };
    struct bm_msg msg = { "" };

    (void)state;
    assert_int_equal(file_read(SOURCE_DIR "/tests/vectors/chip/first-light/nvm", NVM_FILE_MAX,
                         &b.mem.bytes, &msg),
        BM_OK);
    reopen(&b);
    assert_int_equal(chip_recovered(b.chip), 0);
    expect(&b, "8091000100", SW_OK, "479051686489059fec047c1a339f923f4e11");
    expect(&b, "8091000300", SW_OK, "0131f3221000");
    assert_int_equal(run(&b, "8011000000"), SW_OK);
    expect(&b, "8011010000", SW_OK, PUB);
    expect(&b, "8021020000", SW_OK, PUB);
    expect(&b,
        "80710020020004"
        "00",
        SW_OK, "41314348");
    for (size_t i = 8; i <= 18; i++)
        map_is(&b, i, 0xa5);
    for (size_t i = 21; i < 149; i++)
        map_is(&b, i, 0x55);
    expect(&b, "8061010000", SW_OK, "00000000");
    expect(&b, SET_CONFIG("01", KEK), SW_OK, "");
    expect(&b, SET_SYM("07", KEY), SW_OK, "");
    expect(&b, "8013010000", SW_OK, "");
    reopen(&b);
    expect(&b, "8014010000", SW_NOT_ALLOWED, "");
    expect(&b, "8011010000", SW_OK, PUB);
    chip_close(b.chip);
    buf_fini(&b.mem.bytes);
}

#define with_chip(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_chip(counter_goes_up_by_one_or_to_a_higher_value_only),
        with_chip(full_counter_refuses_to_go_round),
        with_chip(counter_erase_is_a_debug_command),
        with_chip(frozen_pair_is_used_but_never_changed),
        with_chip(frozen_public_key_is_used_but_never_changed),
        with_chip(frozen_segments_are_read_but_not_written),
        with_chip(segments_freeze_whole_and_inside_the_store),
        with_chip(symmetric_keys_are_set_plain_and_erased),
        with_chip(wrapped_symmetric_key_replaces_the_one_that_wraps_it),
        with_chip(wrapped_config_key_replaces_the_one_that_wraps_it),
        with_chip(wrapped_pair_and_public_key_come_out_under_their_config_keys),
        with_chip(secret_keys_never_come_back_and_leave_the_file),
        with_chip(inject_lock_refuses_all_plain_injection_for_good),
        with_chip(right_code_generates_freezes_and_erases_behind_the_inject_lock),
        with_chip(wrong_late_or_foreign_codes_change_nothing),
        with_chip(challenges_are_fresh),
        with_chip(transport_lock_goes_once_from_open_to_locked_to_open),
        with_chip(locked_module_answers_only_what_opens_it),
        with_chip(hmac_agrees_with_rfc_4231),
        with_chip(hmac_in_parts_is_the_same_and_ends_with_select),
        with_chip(secrets_are_one_to_four_set_slots_in_a_row),
        with_chip(hkdf_without_salt_is_the_expand_step_of_rfc_5869),
        with_chip(hkdf_with_salt_extracts_first),
        cmocka_unit_test(p_sha256_agrees_with_the_published_vector),
        with_chip(psk_master_secret_is_that_of_rfc_4279),
        with_chip(ecdhe_psk_master_secret_is_that_of_rfc_5489),
        with_chip(master_secret_wants_the_client_hello_immediately_before),
        with_chip(tls_label_has_1_to_24_bytes),
        with_chip(reflect_returns_what_it_got),
        with_chip(disabling_debug_takes_the_version_bit_and_the_commands_for_good),
        with_chip(debug_reset_brings_back_the_fresh_chip),
        cmocka_unit_test(folder_of_the_first_build_opens_and_takes_the_new_commands),
    };

    return cmocka_run_group_tests_name("chip_commands", tests, NULL, NULL);
}
