/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/chip: every command and status word, what survives which end, and the memory.
 * Commands are written as hex, as SPEC a71ch 2 writes them. Key and hash of the ECDSA tests are
 * those of RFC 6979 A.2.5 (P-256, SHA-256, message "sample").
 */
#include "base/file.h"
#include "chip/chip.h"
#include "chip/nvm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip_bench.h"
#include "scp_host.h"

#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define PUB                                                                                        \
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                           \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define HASH "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
#define R "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
#define S "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
#define SIGNATURE "3046022100" R "022100" S

/* ---- selection ---------------------------------------------------------------------------- */

static void
commands_are_refused_until_the_applet_is_selected(void **state)
{
    struct bench *b = *state;

    chip_reset(b->chip);
    expect(b, "8091000300", SW_CONDITIONS, "");
    expect(b, SELECT, SW_OK, "0131");
    expect(b, "8091000300", SW_OK, "0131f3221000");
    chip_reset(b->chip);
    expect(b, "8091000300", SW_CONDITIONS, "");
}

static void
select_answers_version_with_or_without_le_and_knows_one_aid(void **state)
{
    struct bench *b = *state;

    expect(b, "00a40400056137316368", SW_OK, "0131");
    expect(b, "00a4040000", SW_NOT_FOUND, "");
    expect(b, "8091000300", SW_OK, "0131f3221000"); /* still selected */
    expect(b, "00a4040005613731636900", SW_NOT_FOUND, "");
    expect(b, "00a4040004613731", SW_WRONG_LENGTH, "");
    expect(b,
        "00a404000461373163"
        "00",
        SW_NOT_FOUND, "");
    expect(b, "00a4000005613731636800", SW_WRONG_P1P2, "");
}

static void
unknown_class_and_instruction_and_bad_lengths_have_their_words(void **state)
{
    static const char *const not_built[] = { "8031000000", "8033000000", "8041000000", "8043000000",
        "8063000000", "8082330000" };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof not_built / sizeof *not_built; i++)
        expect(b, not_built[i], SW_INS_UNKNOWN, "");
    expect(b, "8891000300", SW_CLA_UNKNOWN, "");
    expect(b, "0091000300", SW_CLA_UNKNOWN, "");
    expect(b, "80a4040005613731636800", SW_INS_UNKNOWN, "");
    expect(b, "809100", SW_WRONG_LENGTH, "");
    expect(b, "", SW_WRONG_LENGTH, "");
    expect(b,
        "8071000003"
        "0004",
        SW_WRONG_LENGTH, "");
    expect(b, "807100000000020004", SW_WRONG_LENGTH, "");
}

/* ---- module ------------------------------------------------------------------------------- */

static void
module_info_is_that_of_the_fresh_product(void **state)
{
    struct bench *b = *state;

    expect(b, "8091000300", SW_OK, "0131f3221000");
    expect(b, "80910003", SW_OK, "0131f3221000"); /* no Le */
    expect(b, "8091000600", SW_OK, "ff00");
    expect(b, "8091030500", SW_WRONG_P1P2, "");
    expect(b, "8091010300", SW_WRONG_P1P2, "");
    expect(b, "80910003010000", SW_WRONG_DATA, "");
}

static void
unique_id_has_18_bytes_differs_per_chip_and_survives_reset(void **state)
{
    struct bench *b = *state;
    struct bench other = { 0 };
    uint8_t uid[18];

    reopen(&other);
    assert_int_equal(run(b, "8091000100"), SW_OK);
    assert_int_equal(b->data.len, 18);
    memcpy(uid, b->data.ptr, 18);
    assert_int_equal(run(&other, "8091000100"), SW_OK);
    assert_memory_not_equal(uid, other.data.ptr, 18);
    assert_int_equal(run(b, "809400ea00"), SW_OK);
    reopen(b);
    assert_int_equal(run(b, "8091000100"), SW_OK);
    assert_memory_equal(uid, b->data.ptr, 18);
    chip_close(other.chip);
    buf_fini(&other.mem.bytes);
}

static void
credential_map_shows_which_slots_are_set(void **state)
{
    struct bench *b = *state;

    assert_int_equal(run(b, "8091000400"), SW_OK);
    assert_int_equal(b->data.len, 149);
    assert_int_equal(b->data.ptr[0], 2);
    for (size_t i = 1; i <= 18; i++)
        assert_int_equal(b->data.ptr[i], 0xa5);
    for (size_t i = 19; i < 149; i++)
        assert_int_equal(b->data.ptr[i], 0x55);
    expect(b, "8012020000", SW_OK, "");
    expect(b, "8022010041" PUB "00", SW_OK, "");
    assert_int_equal(run(b, "8091000400"), SW_OK);
    assert_int_equal(b->data.ptr[1 + 2], 0x55);
    assert_int_equal(b->data.ptr[5 + 1], 0x55);
    assert_int_equal(b->data.ptr[1], 0xa5);
    assert_int_equal(b->data.ptr[5], 0xa5);
}

static void
random_gives_as_many_bytes_as_asked_and_never_the_same(void **state)
{
    struct bench *b = *state;
    uint8_t first[32];

    assert_int_equal(run(b, "8095002000"), SW_OK);
    assert_int_equal(b->data.len, 32);
    memcpy(first, b->data.ptr, 32);
    assert_int_equal(run(b, "8095002000"), SW_OK);
    assert_memory_not_equal(first, b->data.ptr, 32);
    assert_int_equal(run(b, "809500ff00"), SW_OK);
    assert_int_equal(b->data.len, 255);
    expect(b, "8095000000", SW_WRONG_P1P2, "");
    expect(b, "8095020100", SW_WRONG_P1P2, "");
}

/* FIPS 180-4 examples: "abc" and the empty message. */
static void
sha256_agrees_with_the_standard_in_one_and_in_many_commands(void **state)
{
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct bench *b = *state;

    expect(b, "809600000361626300", SW_OK, abc);
    expect(
        b, "8096000000", SW_OK, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(b,
        "809600010161"
        "00",
        SW_OK, "");
    expect(b, "8091000300", SW_OK, "0131f3221000"); /* the context survives other commands */
    expect(b,
        "809600020162"
        "00",
        SW_OK, "");
    expect(b,
        "809600030163"
        "00",
        SW_OK, abc);
    expect(b, "8096000100", SW_OK, ""); /* init and final without data */
    expect(b, "809600020361626300", SW_OK, "");
    expect(b, "8096000300", SW_OK, abc);
    expect(b, "8096000300", SW_CONDITIONS, "");
    expect(b, "8096000200", SW_CONDITIONS, "");
    expect(b, "8096000400", SW_WRONG_P1P2, "");
    expect(b, "8096010000", SW_WRONG_P1P2, "");
}

static void
counters_read_zero_and_stop_at_index_one(void **state)
{
    struct bench *b = *state;

    expect(b, "8061000000", SW_OK, "00000000");
    expect(b, "8061010000", SW_OK, "00000000");
    expect(b, "8061020000", SW_WRONG_P1P2, "");
}

/* ---- key pairs ---------------------------------------------------------------------------- */

static void
empty_slots_answer_conditions_not_satisfied(void **state)
{
    struct bench *b = *state;

    expect(b, "8011000000", SW_CONDITIONS, "");
    expect(b, "8015000020" HASH "00", SW_CONDITIONS, "");
    expect(b, "8017000041" PUB "00", SW_CONDITIONS, "");
    expect(b, "8021000000", SW_CONDITIONS, "");
    expect(b, "8025000268" HASH SIGNATURE "00", SW_CONDITIONS, "");
    expect(b, "8014000000", SW_OK, "");
    expect(b, "8024000000", SW_OK, "");
}

static void
indices_past_the_end_are_refused(void **state)
{
    static const char *const past[] = { "8011040000", "8012040000", "8014040000",
        "8015040020" HASH "00", "8017040041" PUB "00", "8021030000", "8022030041" PUB "00",
        "8024030000", "8025030268" HASH SIGNATURE "00", "8061ff0000" };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof past / sizeof *past; i++)
        expect(b, past[i], SW_WRONG_P1P2, "");
    expect(b, "8012030000", SW_OK, ""); /* the last one is there */
    expect(b, "8022020041" PUB "00", SW_OK, "");
}

static void
generated_pair_signs_what_its_public_key_verifies(void **state)
{
    struct bench *b = *state;
    char cmd[2 * APDU_CMD_MAX + 1];
    char pub[2 * 65 + 1];
    char sig[2 * 72 + 1];
    size_t len;

    expect(b, "8012000000", SW_OK, "");
    assert_int_equal(run(b, "8011000000"), SW_OK);
    assert_int_equal(b->data.len, 65);
    hex_encode(pub, b->data.ptr, 65);
    for (int i = 0; i < 32; i++) { /* enough to meet short r and s */
        assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
        assert_in_range(b->data.len, 8, 72);
        assert_int_equal(b->data.ptr[0], 0x30);
        assert_int_equal(b->data.ptr[1] + 2, b->data.len);
        len = b->data.len;
        hex_encode(sig, b->data.ptr, len);
        (void)snprintf(cmd, sizeof cmd, "80250001%02zx" HASH "%s%s00", 32 + len + 65, sig, pub);
        expect(b, cmd, SW_OK, "01");
        cmd[10] = cmd[10] == '0' ? '1' : '0'; /* another hash */
        expect(b, cmd, SW_OK, "02");
    }
    expect(b, "8011000100", SW_OK, ""); /* not restricted: no usage counter */
}

static void
generating_again_makes_another_key(void **state)
{
    struct bench *b = *state;
    uint8_t first[65];

    expect(b, "8012010000", SW_OK, "");
    assert_int_equal(run(b, "8011010000"), SW_OK);
    memcpy(first, b->data.ptr, 65);
    expect(b, "8012010000", SW_OK, "");
    assert_int_equal(run(b, "8011010000"), SW_OK);
    assert_memory_not_equal(first, b->data.ptr, 65);
}

static void
injected_pair_reads_back_and_derives_the_shared_secret(void **state)
{
    struct bench *b = *state;

    expect(b, "8012030061" PRIV PUB "00", SW_OK, "");
    expect(b, "8011030000", SW_OK, PUB);
    /* NIST CAVS ECC CDH primitive, P-256, COUNT 0 */
    expect(b,
        "8012010061"
        "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534"
        "04ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230"
        "28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141"
        "00",
        SW_OK, "");
    expect(b,
        "8017010041"
        "04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"
        "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac"
        "00",
        SW_OK, "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
}

static void
injection_refuses_bad_points_scalars_and_lengths(void **state)
{
    static const char zero[] = "0000000000000000000000000000000000000000000000000000000000000000";
    static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    struct bench *b = *state;
    char cmd[512];
    char bad[131];

    (void)snprintf(bad, sizeof bad, "%s", PUB);
    bad[129] = bad[129] == '9' ? '8' : '9'; /* not on the curve */
    (void)snprintf(cmd, sizeof cmd, "8012000061" PRIV "%s00", bad);
    expect(b, cmd, SW_WRONG_DATA, "");
    (void)snprintf(cmd, sizeof cmd, "8022000041%s00", bad);
    expect(b, cmd, SW_WRONG_DATA, "");
    (void)snprintf(cmd, sizeof cmd, "8012000061%s" PUB "00", zero);
    expect(b, cmd, SW_WRONG_DATA, "");
    (void)snprintf(cmd, sizeof cmd, "8012000061%s" PUB "00", order);
    expect(b, cmd, SW_WRONG_DATA, "");
    /* the hybrid form of a right point: its y is odd */
    (void)snprintf(bad, sizeof bad, "07%s", &PUB[2]);
    (void)snprintf(cmd, sizeof cmd, "8022000041%s00", bad);
    expect(b, cmd, SW_WRONG_DATA, "");
    expect(b, "8012000020" PRIV "00", SW_WRONG_DATA, "");
    expect(b,
        "80120010"
        "10"
        "00112233445566778899aabbccddeeff00",
        SW_CONDITIONS, "");
    (void)snprintf(cmd, sizeof cmd, "8012000069" PRIV "0000000000000000" PUB "00");
    expect(b, cmd, SW_CONDITIONS, ""); /* wrapped, under a key that is not there */
    (void)snprintf(cmd, sizeof cmd,
        "8022000048"
        "00000000000000" PUB "00");
    expect(b, cmd, SW_CONDITIONS, "");
    expect(b, "8011000000", SW_CONDITIONS, ""); /* nothing of all that was stored */
    expect(b, "8021000000", SW_CONDITIONS, "");
}

static void
sign_and_ecdh_refuse_wrong_lengths_and_points(void **state)
{
    struct bench *b = *state;
    char cmd[512];
    char bad[131];

    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
    expect(b,
        "801500001f"
        "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1"
        "00",
        SW_WRONG_DATA, "");
    expect(b, "8015000000", SW_WRONG_DATA, "");
    expect(b, "8015000021" HASH "0000", SW_WRONG_DATA, "");
    expect(b, "8015000120" HASH "00", SW_WRONG_P1P2, "");
    expect(b, "8017000020" HASH "00", SW_WRONG_DATA, "");
    (void)snprintf(bad, sizeof bad, "%s", PUB);
    bad[129] = bad[129] == '9' ? '8' : '9';
    (void)snprintf(cmd, sizeof cmd, "8017000041%s00", bad);
    expect(b, cmd, SW_WRONG_DATA, "");
    assert_int_equal(chip_stats(b->chip).signatures, 0);
    assert_int_equal(chip_stats(b->chip).ecdh, 0);
}

static void
erased_pair_is_gone_and_its_slot_takes_another(void **state)
{
    struct bench *b = *state;

    expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
    expect(b,
        "80140010"
        "10"
        "00112233445566778899aabbccddeeff00",
        SW_CONDITIONS, "");
    expect(b, "8011000000", SW_OK, PUB);
    expect(b, "8014000000", SW_OK, "");
    expect(b, "8011000000", SW_CONDITIONS, "");
    expect(b, "8015000020" HASH "00", SW_CONDITIONS, "");
    expect(b, "8012000000", SW_OK, "");
    assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
}

/* ---- public keys -------------------------------------------------------------------------- */

static void
stored_public_key_verifies_and_is_erased(void **state)
{
    struct bench *b = *state;

    expect(b, "8022000041" PUB "00", SW_OK, "");
    expect(b, "8021000000", SW_OK, PUB);
    expect(b, "8025000268" HASH SIGNATURE "00", SW_OK, "01");
    expect(b, "8025000268" R SIGNATURE "00", SW_OK, "02");
    expect(b, "8024000000", SW_OK, "");
    expect(b, "8021000000", SW_CONDITIONS, "");
    expect(b, "8025000268" HASH SIGNATURE "00", SW_CONDITIONS, "");
}

static void
verify_takes_strict_der_only(void **state)
{
    struct bench *b = *state;

    expect(b, "8022000041" PUB "00", SW_OK, "");
    expect(b, "8025000269" HASH SIGNATURE "0000", SW_OK, "02"); /* byte behind it */
    expect(b, "8025000269" HASH "304702220000" R "022100" S "00", SW_OK, "02");
    expect(b, "8025000266" HASH "30440220" R "0220" S "00", SW_OK, "02"); /* negative numbers */
    expect(b, "8025000223" HASH "30450000", SW_OK, "02");
    expect(b, "8025000220" HASH "00", SW_WRONG_DATA, "");
}

static void
external_key_is_the_last_65_bytes(void **state)
{
    struct bench *b = *state;
    char cmd[512];
    char bad[131];

    expect(b, "80250001a9" HASH SIGNATURE PUB "00", SW_OK, "01");
    expect(b, "80250001a9" R SIGNATURE PUB "00", SW_OK, "02");
    expect(b, "8025000161" HASH PUB "00", SW_WRONG_DATA, "");
    expect(b, "80250101a9" HASH SIGNATURE PUB "00", SW_WRONG_P1P2, "");
    expect(b, "80250003a9" HASH SIGNATURE PUB "00", SW_WRONG_P1P2, "");
    (void)snprintf(bad, sizeof bad, "%s", PUB);
    bad[129] = bad[129] == '9' ? '8' : '9';
    (void)snprintf(cmd, sizeof cmd, "80250001a9" HASH SIGNATURE "%s00", bad);
    expect(b, cmd, SW_WRONG_DATA, "");
}

/* ---- general-purpose storage -------------------------------------------------------------- */

static void
gp_reads_what_was_written_at_any_offset(void **state)
{
    struct bench *b = *state;

    expect(b, "807200000441314348", SW_OK, "");
    expect(b,
        "80710000020004"
        "00",
        SW_OK, "41314348");
    expect(b,
        "80710001020002"
        "00",
        SW_OK, "3143");
    expect(b,
        "80720ffe02beef"
        "00",
        SW_OK, "");
    expect(b,
        "80710ffd020003"
        "00",
        SW_OK, "00beef");
    expect(b,
        "80720002"
        "01"
        "ff"
        "00",
        SW_OK, "");
    expect(b,
        "80710000020005"
        "00",
        SW_OK, "4131ff4800");
}

static void
gp_refuses_ranges_past_the_end_and_malformed_lengths(void **state)
{
    struct bench *b = *state;

    expect(b, "80710000010400", SW_WRONG_DATA, "");
    expect(b, "8071000000", SW_WRONG_DATA, "");
    expect(b,
        "80710000020000"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "80710000020100"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "80710fff020002"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "80711000020001"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "8071ffff02ffff"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "80720fff02beef"
        "00",
        SW_WRONG_DATA, "");
    expect(b,
        "8072100001be"
        "00",
        SW_WRONG_DATA, "");
    expect(b, "8072000000", SW_WRONG_DATA, "");
    expect(b,
        "80710fff020001"
        "00",
        SW_OK, "00"); /* nothing was written */
}

static void
gp_moves_255_bytes_in_one_command(void **state)
{
    struct bench *b = *state;
    uint8_t cmd[APDU_CMD_MAX] = { 0x80, 0x72, 0x0f, 0x01, 0xff };

    for (size_t i = 0; i < 255; i++)
        cmd[5 + i] = (uint8_t)i;
    assert_int_equal(run_bytes(b, SPAN(cmd)), SW_OK);
    assert_int_equal(run(b, "80710f010200ff00"), SW_OK);
    assert_int_equal(b->data.len, 255);
    assert_memory_equal(b->data.ptr, &cmd[5], 255);
}

/* ---- reset, sessions, counts -------------------------------------------------------------- */

static void
debug_reset_clears_keys_and_storage(void **state)
{
    struct bench *b = *state;

    expect(b, "8012000000", SW_OK, "");
    expect(b, "8022000041" PUB "00", SW_OK, "");
    expect(b,
        "80720fff01aa"
        "00",
        SW_OK, "");
    expect(b, "809400eb00", SW_WRONG_P1P2, "");
    expect(b, "809400ea00", SW_OK, "");
    for (int pass = 0; pass < 2; pass++) {
        expect(b, "8011000000", SW_CONDITIONS, "");
        expect(b, "8021000000", SW_CONDITIONS, "");
        expect(b,
            "80710fff020001"
            "00",
            SW_OK, "00");
        reopen(b);
    }
}

static size_t
session_run(struct chip_session *s, const char *hex, uint8_t rsp[APDU_RSP_MAX])
{
    uint8_t cmd[APDU_CMD_MAX];

    assert_int_equal(hex_decode(cmd, strlen(hex) / 2, span_str(hex)), BM_OK);
    return chip_session_apdu(s, span_of(cmd, strlen(hex) / 2), rsp);
}

static void
sessions_share_keys_but_not_selection_and_hashes(void **state)
{
    struct bench *b = *state;
    struct chip_session *other;
    uint8_t rsp[APDU_RSP_MAX];

    assert_int_equal(chip_session_open(b->chip, &other), BM_OK);
    assert_int_equal(session_run(other, "8091000300", rsp), 2); /* not selected */
    assert_int_equal(session_run(other, SELECT, rsp), 4);
    expect(b,
        "809600010161"
        "00",
        SW_OK, "");
    assert_int_equal(session_run(other, "80960001017a00", rsp), 2);
    assert_int_equal(session_run(other, "8012000000", rsp), 2);
    chip_session_reset(other);
    assert_int_equal(session_run(other, "8096000300", rsp), 2);
    expect(b,
        "80960003026263"
        "00",
        SW_OK, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(run(b, "8011000000"), SW_OK);
    chip_session_close(other);
}

static void
counts_are_right_and_survive_closing(void **state)
{
    struct bench *b = *state;
    struct chip_stats before = chip_stats(b->chip);
    struct chip_stats s;

    expect(b, "8012000000", SW_OK, "");
    for (int i = 0; i < 5; i++)
        assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
    assert_int_equal(run(b, "8017000041" PUB "00"), SW_OK);
    assert_int_equal(run(b, "80"), SW_WRONG_LENGTH);
    s = chip_stats(b->chip);
    assert_int_equal(s.commands, before.commands + 8);
    assert_int_equal(s.signatures, 5);
    assert_int_equal(s.ecdh, 1);
    assert_int_equal(s.generated, 1);
    assert_int_equal(s.nvm_writes, before.nvm_writes + 1);
    reopen(b);
    assert_int_equal(chip_stats(b->chip).signatures, 5);
    assert_int_equal(chip_stats(b->chip).commands, s.commands + 1);
}

static void
signing_never_writes_the_memory(void **state)
{
    struct bench *b = *state;
    size_t len;

    expect(b, "8012000000", SW_OK, "");
    len = b->mem.bytes.len;
    for (int i = 0; i < 50; i++)
        assert_int_equal(run(b, "8015000020" HASH "00"), SW_OK);
    assert_int_equal(b->mem.bytes.len, len);
    assert_int_equal(chip_save(b->chip), BM_OK);
    assert_true(b->mem.bytes.len > len);
    len = b->mem.bytes.len;
    assert_int_equal(chip_save(b->chip), BM_OK); /* nothing new, but for its own write */
    assert_int_equal(b->mem.bytes.len, len);
}

/* ---- the memory --------------------------------------------------------------------------- */

static void
state_survives_closing_and_reopening(void **state)
{
    struct bench *b = *state;
    char pub[131];

    expect(b, "8012000000", SW_OK, "");
    assert_int_equal(run(b, "8011000000"), SW_OK);
    hex_encode(pub, b->data.ptr, 65);
    expect(b, "8012010061" PRIV PUB "00", SW_OK, "");
    expect(b, "8022020041" PUB "00", SW_OK, "");
    expect(b, "807200200441314348", SW_OK, "");
    reopen(b);
    expect(b, "8011000000", SW_OK, pub);
    expect(b, "8011010000", SW_OK, PUB);
    expect(b, "8021020000", SW_OK, PUB);
    expect(b,
        "80710020020004"
        "00",
        SW_OK, "41314348");
    expect(b, "8025020268" HASH SIGNATURE "00", SW_OK, "01");
    assert_int_equal(run(b, "8015010020" HASH "00"), SW_OK);
}

static void
private_keys_are_sealed_and_leave_the_file_when_erased_or_replaced(void **state)
{
    static const char *const ends[] = { "8014000000", "8012000000", "809400ea00" };
    struct bench *b = *state;
    uint8_t key[32];

    assert_int_equal(hex_decode(key, sizeof key, span_str(PRIV)), BM_OK);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        expect(b, "8012000061" PRIV PUB "00", SW_OK, "");
        assert_true(sealed_holds(&b->mem, key, sizeof key));
        assert_null(memmem(b->mem.bytes.ptr, b->mem.bytes.len, key, sizeof key));
        expect(b, ends[i], SW_OK, "");
        assert_false(sealed_holds(&b->mem, key, sizeof key));
    }
}

static void
journal_is_folded_when_it_has_grown(void **state)
{
    struct bench *b = *state;
    uint8_t cmd[APDU_CMD_MAX] = { 0x80, 0x72, 0, 0, 0xff };
    size_t longest = 0;

    for (unsigned i = 0; i < 1000; i++) {
        memset(&cmd[5], (int)(i & 0xff), 255);
        cmd[2] = (uint8_t)(i % 15);
        assert_int_equal(run_bytes(b, SPAN(cmd)), SW_OK);
        longest = b->mem.bytes.len > longest ? b->mem.bytes.len : longest;
    }
    assert_in_range(longest, NVM_JOURNAL_MAX, NVM_JOURNAL_MAX + 8192);
    reopen(b);
    for (unsigned i = 985; i < 1000; i++) {
        char read[32];

        (void)snprintf(read, sizeof read, "8071%02xfe02000100", i % 15);
        assert_int_equal(run(b, read), SW_OK);
        assert_int_equal(b->data.ptr[0], i & 0xff);
    }
}

/* All that a client can see, but for counts and random. */
struct view {
    uint8_t map[149];
    uint8_t keys[7][66]; /* length and key: four pairs, three public keys */
    uint8_t gp[4096];
    uint8_t info[6];
    uint8_t counters[2][4];
    uint8_t macs[8][32]; /* HMAC with each symmetric key, in place of the key */
};

static struct view
look(struct bench *b)
{
    struct view v = { 0 };
    char cmd[32];

    assert_int_equal(run(b, "8091000300"), SW_OK);
    memcpy(v.info, b->data.ptr, sizeof v.info);
    if ((v.info[2] & 0x0f) == 1) /* transport lock: nothing else is to be seen */
        return v;
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(cmd, sizeof cmd, "8061%02x0000", i);
        assert_int_equal(run(b, cmd), SW_OK);
        memcpy(v.counters[i], b->data.ptr, 4);
    }
    for (unsigned i = 0; i < 8; i++) {
        (void)snprintf(cmd, sizeof cmd, "80471%x0000", i);
        if (run(b, cmd) == SW_OK)
            memcpy(v.macs[i], b->data.ptr, 32);
    }
    assert_int_equal(run(b, "8091000400"), SW_OK);
    memcpy(v.map, b->data.ptr, sizeof v.map);
    for (unsigned i = 0; i < 7; i++) {
        (void)snprintf(cmd, sizeof cmd, "80%02x%02x0000", i < 4 ? 0x11 : 0x21, i < 4 ? i : i - 4);
        (void)run(b, cmd);
        v.keys[i][0] = (uint8_t)b->data.len;
        memcpy(&v.keys[i][1], b->data.ptr, b->data.len);
    }
    for (unsigned at = 0; at < 4096; at += 128) {
        (void)snprintf(cmd, sizeof cmd, "8071%04x02008000", at);
        assert_int_equal(run(b, cmd), SW_OK);
        memcpy(&v.gp[at], b->data.ptr, 128);
    }
    return v;
}

/* A generated key differs from run to run: that it works takes the place of which one it is. */
static void
check_generated(struct bench *b, struct view *v, unsigned slot)
{
    char cmd[2 * APDU_CMD_MAX + 1];
    char pub[131];
    char sig[145];
    size_t len;

    if (v->keys[slot][0] == 0)
        return;
    hex_encode(pub, &v->keys[slot][1], 65);
    (void)snprintf(cmd, sizeof cmd, "8015%02x0020" HASH "00", slot);
    assert_int_equal(run(b, cmd), SW_OK);
    len = b->data.len;
    hex_encode(sig, b->data.ptr, len);
    (void)snprintf(cmd, sizeof cmd, "80250001%02zx" HASH "%s%s00", 32 + len + 65, sig, pub);
    expect(b, cmd, SW_OK, "01");
    memset(&v->keys[slot][1], 0, 65);
}

static bool
same(const struct view *a, const struct view *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* One of each kind of write: record, snapshot, wipe. Slot 0 is the generated one. */
static const char *const sequence[] = {
    "8012000000",
    "8012010061" PRIV PUB "00",
    "807201000a00112233445566778899",
    "8022000041" PUB "00",
    "8012000000",
    "80720ff0"
    "10"
    "ffeeddccbbaa99887766554433221100",
    "8014010000",
    "8024000000",
    "80320101"
    "10"
    "000102030405060708090a0b0c0d0e0f00",
    "80420301"
    "10"
    "000102030405060708090a0b0c0d0e0f00",
    "8042030218"
    "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe500", /* RFC 3394 4.1 */
    "8062000004000000ff00",
    "8062000000",
    "8064000000",
    "8013000000",
    "80730fe002002000",
    "8092000506666f6f62617200",
    "8044030000",
    "8092000100",
    SCP_PUT_KEY,
    "809400ea00",
    "8022020041" PUB "00",
    "8023020000",
    "80320001"
    "10"
    "000102030405060708090a0b0c0d0e0f00",
    "809300dd00",
    "8092000200",
};

static void
copy_mem(struct nvm_mem *to, const struct nvm_mem *from)
{
    buf_fini(&to->bytes);
    *to = *from;
    to->bytes = (struct buf){ 0 };
    buf_add(&to->bytes, from->bytes.ptr, from->bytes.len);
    assert_false(to->bytes.failed);
}

/* Run one command that loses power, open again, and see that it is before or after; then go on. */
static void
cut_one(const struct nvm_mem *base, const char *cmd, size_t byte, const struct view *before,
    const struct view *after)
{
    struct bench b = { 0 };
    struct view seen;
    bool is_before;

    copy_mem(&b.mem, base);
    reopen(&b);
    b.mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
    assert_int_equal(run(&b, cmd), 0x6581); /* the client is never told 9000 */
    assert_true(b.mem.cut.off);
    chip_close(b.chip);
    b.chip = NULL;
    b.mem.cut = (struct nvm_cut){ 0 };
    reopen(&b);
    seen = look(&b);
    check_generated(&b, &seen, 0);
    is_before = same(&seen, before);
    assert_true(is_before || same(&seen, after));
    if (is_before) /* the chip goes on working; not every command can be done twice */
        assert_int_equal(run(&b, cmd), SW_OK);
    reopen(&b);
    seen = look(&b);
    check_generated(&b, &seen, 0);
    assert_true(same(&seen, after));
    chip_close(b.chip);
    buf_fini(&b.mem.bytes);
}

static void
power_cut_at_any_byte_leaves_before_or_after(void **state)
{
    struct nvm_mem base = { 0 };
    struct bench b = { 0 };
    unsigned cuts = 0;

    (void)state;
    reopen(&b);
    for (size_t i = 0; i < sizeof sequence / sizeof *sequence; i++) {
        struct view before = look(&b);
        struct view after;
        size_t old_len;
        size_t len;
        size_t step;

        check_generated(&b, &before, 0);
        chip_close(b.chip);
        b.chip = NULL;
        copy_mem(&base, &b.mem);
        reopen(&b);
        old_len = b.mem.bytes.len;
        assert_int_equal(run(&b, sequence[i]), SW_OK);
        len = b.mem.bytes.len > old_len ? b.mem.bytes.len - old_len : b.mem.bytes.len;
        after = look(&b);
        check_generated(&b, &after, 0);
        step = len > 1000 ? 211 : 1; /* a new file counts only once it is renamed */
        for (size_t byte = 0; byte < len + step; byte += step, cuts++)
            cut_one(&base, sequence[i], byte, &before, &after);
        cut_one(&base, sequence[i], len - 1, &before, &after);
    }
    print_message("%u cuts\n", cuts);
    assert_true(cuts > 900);
    chip_close(b.chip);
    buf_fini(&b.mem.bytes);
    buf_fini(&base.bytes);
}

static void
power_cut_while_the_chip_is_made_leaves_none_or_a_whole_one(void **state)
{
    (void)state;
    for (size_t byte = 0; byte < 8000; byte += 499) {
        struct bench b = { 0 };
        struct chip *chip;

        b.mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
        assert_int_not_equal(chip_open_store(nvm_store_mem(&b.mem), &chip, NULL), BM_OK);
        assert_null(chip);
        b.mem.cut = (struct nvm_cut){ 0 };
        reopen(&b);
        expect(&b, "8091000300", SW_OK, "0131f3221000");
        chip_close(b.chip);
        buf_fini(&b.mem.bytes);
    }
}

/* A medium that refuses when told, and then works again. */
struct flaky {
    struct nvm_mem mem;
    bool refuse;
};

static enum bm_err
flaky_append(void *arg, struct span data)
{
    struct flaky *f = arg;
    struct nvm_store s = nvm_store_mem(&f->mem);

    if (!f->refuse)
        return s.append(s.arg, data);
    (void)s.append(s.arg, span_of(data.ptr, data.len / 2)); /* disk full in the middle */
    return BM_ERR_IO;
}

static enum bm_err
flaky_replace(void *arg, struct span data)
{
    struct flaky *f = arg;
    struct nvm_store s = nvm_store_mem(&f->mem);

    return f->refuse ? BM_ERR_IO : s.replace(s.arg, data);
}

static struct nvm_store
flaky_store(struct flaky *f)
{
    struct nvm_store s = nvm_store_mem(&f->mem); /* the first member: arg serves both */

    s.append = flaky_append;
    s.replace = flaky_replace;
    return s;
}

static void
refused_write_changes_nothing_and_a_later_one_repairs_the_file(void **state)
{
    static const char *const writes[] = { "8012000000", "8014010000", "8022000041" PUB "00",
        "80720000"
        "01"
        "aa"
        "00",
        "809400ea00" };
    struct flaky f = { 0 };
    struct nvm_store store = flaky_store(&f);
    struct bench b = { 0 };
    struct view before;
    struct view now;

    (void)state;
    assert_int_equal(chip_open_store(store, &b.chip, NULL), BM_OK);
    assert_int_equal(run(&b, SELECT), SW_OK);
    expect(&b, "8012010061" PRIV PUB "00", SW_OK, "");
    before = look(&b);
    f.refuse = true;
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        expect(&b, writes[i], 0x6581, "");
        now = look(&b);
        assert_true(same(&before, &now));
    }
    assert_int_equal(run(&b, "8015010020" HASH "00"), SW_OK); /* signing needs no write */
    f.refuse = false;
    expect(&b,
        "80720000"
        "01"
        "bb"
        "00",
        SW_OK, "");
    expect(&b,
        "80720001"
        "01"
        "cc"
        "00",
        SW_OK, "");
    chip_close(b.chip);
    assert_int_equal(chip_open_store(store, &b.chip, NULL), BM_OK);
    assert_int_equal(chip_recovered(b.chip), 0);
    assert_int_equal(run(&b, SELECT), SW_OK);
    expect(&b,
        "80710000020002"
        "00",
        SW_OK, "bbcc");
    expect(&b, "8011010000", SW_OK, PUB);
    chip_close(b.chip);
    buf_fini(&f.mem.bytes);
}

static void
record_after_a_half_written_one_is_not_lost(void **state)
{
    struct flaky f = { 0 };
    struct nvm_store store = flaky_store(&f);
    struct bench b = { 0 };

    (void)state;
    assert_int_equal(chip_open_store(store, &b.chip, NULL), BM_OK);
    assert_int_equal(run(&b, SELECT), SW_OK);
    f.refuse = true;
    expect(&b, "807200000441314348", 0x6581, "");
    f.refuse = false;
    expect(&b,
        "80720004"
        "02"
        "beef"
        "00",
        SW_OK, "");
    chip_close(b.chip);
    assert_int_equal(chip_open_store(store, &b.chip, NULL), BM_OK);
    assert_int_equal(run(&b, SELECT), SW_OK);
    expect(&b,
        "80710000020006"
        "00",
        SW_OK, "00000000beef");
    chip_close(b.chip);
    buf_fini(&f.mem.bytes);
}

/* A file of a 4-byte image and one record with a right checksum. */
static enum bm_err
open_with_record(uint32_t seq, struct span payload)
{
    static const uint8_t image[4] = { 1, 2, 3, 4 };
    uint8_t bytes[256];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct nvm_mem mem = { .has_key = true };
    struct seal seal;
    struct nvm *n = NULL;
    enum bm_err err;

    assert_int_equal(seal_init(&seal, NULL, mem.key), BM_OK);
    assert_int_equal(nvm_frame_snapshot(&w, &seal, SPAN(image)), BM_OK);
    assert_int_equal(nvm_frame(&w, &seal, span_of(&bytes[wr_len(&w) - SEAL_TAG_LEN], SEAL_TAG_LEN),
                         seq, payload),
        BM_OK);
    seal_fini(&seal);
    buf_add(&mem.bytes, bytes, wr_len(&w));
    err = nvm_open(nvm_store_mem(&mem), NULL, sizeof image, &n, NULL);
    if (err == BM_OK)
        assert_int_equal(nvm_read(n, 3, 1).ptr[0], 9);
    nvm_close(n);
    buf_fini(&mem.bytes);
    return err;
}

static void
records_out_of_order_or_out_of_range_are_refused(void **state)
{
    static const uint8_t good[] = { 0, 3, 0, 1, 9 };
    static const uint8_t past_end[] = { 0, 3, 0, 2, 9, 9 };
    static const uint8_t second_past_end[] = { 0, 3, 0, 1, 9, 0, 5, 0, 0 };
    static const uint8_t half[] = { 0, 3, 0, 1, 9, 0 };

    (void)state;
    assert_int_equal(open_with_record(1, SPAN(good)), BM_OK);
    assert_int_equal(open_with_record(2, SPAN(good)), BM_ERR_INPUT);
    assert_int_equal(open_with_record(0, SPAN(good)), BM_ERR_INPUT);
    assert_int_equal(open_with_record(1, SPAN(past_end)), BM_ERR_INPUT);
    assert_int_equal(open_with_record(1, SPAN(second_past_end)), BM_ERR_INPUT);
    assert_int_equal(open_with_record(1, SPAN(half)), BM_ERR_INPUT);
    assert_int_equal(open_with_record(1, span_of(NULL, 0)), BM_ERR_INPUT);
}

static void
write_outside_the_image_is_a_usage_error(void **state)
{
    static const uint8_t bytes[NVM_PAYLOAD_MAX];
    struct nvm_mem mem = { 0 };
    struct nvm *n;

    (void)state;
    assert_int_equal(nvm_open(nvm_store_mem(&mem), NULL, 2000, &n, NULL), BM_OK);
    assert_true(nvm_fresh(n));
    assert_int_equal(
        nvm_write(n, &(struct nvm_change){ 1999, span_of(bytes, 2) }, 1, NVM_APPEND), BM_ERR_ARG);
    assert_int_equal(
        nvm_write(n, &(struct nvm_change){ 0, SPAN(bytes) }, 1, NVM_APPEND), BM_ERR_ARG);
    assert_int_equal(nvm_write(n, NULL, 0, NVM_APPEND), BM_ERR_ARG);
    assert_int_equal(mem.bytes.len, 0);
    assert_int_equal(
        nvm_write(n, &(struct nvm_change){ 1998, span_of(bytes, 2) }, 1, NVM_APPEND), BM_OK);
    nvm_close(n);
    buf_fini(&mem.bytes);
}

/* ---- the folder --------------------------------------------------------------------------- */

static void
make_dir(char out[64])
{
    (void)snprintf(out, 64, "/tmp/birthmark-chip.XXXXXX");
    assert_non_null(mkdtemp(out));
}

static void
path_in(char out[96], const char *dir, const char *name)
{
    (void)snprintf(out, 96, "%s/%s", dir, name);
}

static struct chip *
open_ok(const char *dir)
{
    struct bm_msg msg = { "" };
    struct chip *c;

    if (chip_open(dir, &c, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return c;
}

static void
folder_is_private_and_keeps_the_chip(void **state)
{
    struct bench b = { 0 };
    char dir[64];
    char sub[96];
    char path[192];
    struct stat st;

    (void)state;
    make_dir(dir);
    path_in(sub, dir, "a/chip");
    b.chip = open_ok(sub);
    assert_int_equal(run(&b, SELECT), SW_OK);
    expect(&b, "8012010061" PRIV PUB "00", SW_OK, "");
    chip_close(b.chip);
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", sub, i == 0 ? "nvm" : "key");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    b.chip = open_ok(sub);
    assert_int_equal(run(&b, SELECT), SW_OK);
    expect(&b, "8011010000", SW_OK, PUB);
    chip_close(b.chip);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
second_opener_is_refused_and_told_who_has_it(void **state)
{
    struct bm_msg msg = { "" };
    struct chip *first;
    struct chip *second;
    char dir[64];
    char pid[24];

    (void)state;
    make_dir(dir);
    first = open_ok(dir);
    assert_int_equal(chip_open(dir, &second, &msg), BM_ERR_CONFLICT);
    assert_null(second);
    (void)snprintf(pid, sizeof pid, "process %ld;", (long)getpid());
    assert_non_null(strstr(msg.text, pid));
    chip_close(first);
    second = open_ok(dir);
    chip_close(second);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
folder_with_other_things_is_not_made_a_chip(void **state)
{
    struct bm_msg msg = { "" };
    struct chip *c;
    char dir[64];
    char path[96];

    (void)state;
    make_dir(dir);
    path_in(path, dir, "letter.txt");
    assert_int_equal(file_write(path, span_str("hello"), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "letter.txt"));
    path_in(path, dir, "lock");
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
power_cut_in_the_folder_leaves_before_or_after(void **state)
{
    static const char *const commands[] = { "807200000441314348", "8012010061" PRIV PUB "00",
        "8014010000" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t byte = 0; byte < 7000; byte = byte < 200 ? byte + 7 : byte + 1700) {
            struct nvm_cut cut = { 0 };
            struct nvm_store store;
            struct bench b = { 0 };
            struct view before;
            struct view after;
            char dir[64];

            make_dir(dir);
            assert_int_equal(nvm_store_dir(dir, &cut, &store, NULL), BM_OK);
            assert_int_equal(chip_open_store(store, &b.chip, NULL), BM_OK);
            assert_int_equal(run(&b, SELECT), SW_OK);
            expect(&b, "8012010061" PRIV PUB "00", SW_OK, "");
            before = look(&b);
            cut = (struct nvm_cut){ .armed = true, .byte = byte };
            assert_int_equal(run(&b, commands[i]), 0x6581);
            chip_close(b.chip);
            b.chip = open_ok(dir);
            assert_int_equal(run(&b, SELECT), SW_OK);
            after = look(&b);
            if (!same(&before, &after)) {
                assert_int_equal(run(&b, commands[i]), SW_OK);
                before = look(&b);
                assert_true(same(&before, &after)); /* it was done */
            }
            chip_close(b.chip);
            assert_int_equal(dir_remove(dir, NULL), BM_OK);
        }
    }
}

/* ---- damage ------------------------------------------------------------------------------- */

/* Open a copy of `base` with one byte changed. */
static enum bm_err
open_damaged(const struct nvm_mem *base, size_t at, struct bm_msg *msg)
{
    struct nvm_mem mem = { 0 };
    struct chip *chip = NULL;
    enum bm_err err;

    copy_mem(&mem, base);
    mem.bytes.ptr[at] ^= 0x40;
    err = chip_open_store(nvm_store_mem(&mem), &chip, msg);
    chip_close(chip);
    buf_fini(&mem.bytes);
    return err;
}

static void
damage_before_the_last_record_is_refused(void **state)
{
    struct bench *b = *state;
    size_t last;

    expect(b, "8012000000", SW_OK, "");
    expect(b, "807200000441314348", SW_OK, "");
    last = b->mem.bytes.len;
    expect(b, "807200040441314348", SW_OK, "");
    for (size_t at = 0; at < last; at = at < 6100 ? at + 61 : at + 1) {
        struct bm_msg msg = { "" };

        assert_int_equal(open_damaged(&b->mem, at, &msg), BM_ERR_INPUT);
        assert_true(strlen(msg.text) > 20);
    }
    for (size_t at = last; at < b->mem.bytes.len; at++) /* as torn: the state before it */
        assert_int_equal(open_damaged(&b->mem, at, NULL), BM_OK);
}

static void
lost_or_foreign_file_key_is_named(void **state)
{
    struct bm_msg msg = { "" };
    struct chip *c;
    char dir[64];
    char path[96];

    (void)state;
    make_dir(dir);
    chip_close(open_ok(dir));
    path_in(path, dir, "key");
    assert_int_equal(
        file_write(path, span_str("32 bytes that are another's key."), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "not the one it was written with"));
    assert_int_equal(file_write(path, span_str("short"), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "has not 32 bytes"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "is gone"));
    assert_int_not_equal(access(path, F_OK), 0); /* a new one would hide the loss */
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
damaged_file_is_named_with_a_cure(void **state)
{
    struct bm_msg msg = { "" };
    struct buf file = { 0 };
    struct chip *c;
    char dir[64];
    char path[96];

    (void)state;
    make_dir(dir);
    chip_close(open_ok(dir));
    path_in(path, dir, "nvm");
    assert_int_equal(file_read(path, NVM_FILE_MAX, &file, NULL), BM_OK);
    file.ptr[200] ^= 1;
    assert_int_equal(file_write(path, buf_span(&file), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, path));
    assert_non_null(strstr(msg.text, "checksum"));
    assert_non_null(strstr(msg.text, "put back a copy"));
    file.ptr[200] ^= 1;
    file.ptr[9] = 9;
    assert_int_equal(file_write(path, buf_span(&file), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "version 9"));
    assert_int_equal(file_write(path, span_str(""), 0600, NULL), BM_OK);
    assert_int_equal(chip_open(dir, &c, &msg), BM_ERR_INPUT);
    buf_fini(&file);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
records_of_another_file_do_not_fit(void **state)
{
    struct bench *b = *state;
    struct nvm_mem other = { 0 };
    struct chip *chip = NULL;
    size_t start = b->mem.bytes.len;

    expect(b, "8012000000", SW_OK, "");
    memcpy(other.key, b->mem.key, sizeof other.key); /* not even under the same file key */
    other.has_key = true;
    assert_int_equal(chip_open_store(nvm_store_mem(&other), &chip, NULL), BM_OK);
    chip_close(chip);
    buf_add(&other.bytes, &b->mem.bytes.ptr[start], b->mem.bytes.len - start);
    assert_int_equal(chip_open_store(nvm_store_mem(&other), &chip, NULL), BM_OK);
    assert_int_equal(chip_recovered(chip), b->mem.bytes.len - start);
    chip_close(chip);
    buf_fini(&other.bytes);
}

#define with_chip(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_chip(commands_are_refused_until_the_applet_is_selected),
        with_chip(select_answers_version_with_or_without_le_and_knows_one_aid),
        with_chip(unknown_class_and_instruction_and_bad_lengths_have_their_words),
        with_chip(module_info_is_that_of_the_fresh_product),
        with_chip(unique_id_has_18_bytes_differs_per_chip_and_survives_reset),
        with_chip(credential_map_shows_which_slots_are_set),
        with_chip(random_gives_as_many_bytes_as_asked_and_never_the_same),
        with_chip(sha256_agrees_with_the_standard_in_one_and_in_many_commands),
        with_chip(counters_read_zero_and_stop_at_index_one),
        with_chip(empty_slots_answer_conditions_not_satisfied),
        with_chip(indices_past_the_end_are_refused),
        with_chip(generated_pair_signs_what_its_public_key_verifies),
        with_chip(generating_again_makes_another_key),
        with_chip(injected_pair_reads_back_and_derives_the_shared_secret),
        with_chip(injection_refuses_bad_points_scalars_and_lengths),
        with_chip(sign_and_ecdh_refuse_wrong_lengths_and_points),
        with_chip(erased_pair_is_gone_and_its_slot_takes_another),
        with_chip(stored_public_key_verifies_and_is_erased),
        with_chip(verify_takes_strict_der_only),
        with_chip(external_key_is_the_last_65_bytes),
        with_chip(gp_reads_what_was_written_at_any_offset),
        with_chip(gp_refuses_ranges_past_the_end_and_malformed_lengths),
        with_chip(gp_moves_255_bytes_in_one_command),
        with_chip(debug_reset_clears_keys_and_storage),
        with_chip(sessions_share_keys_but_not_selection_and_hashes),
        with_chip(counts_are_right_and_survive_closing),
        with_chip(signing_never_writes_the_memory),
        with_chip(state_survives_closing_and_reopening),
        with_chip(private_keys_are_sealed_and_leave_the_file_when_erased_or_replaced),
        with_chip(journal_is_folded_when_it_has_grown),
        cmocka_unit_test(power_cut_at_any_byte_leaves_before_or_after),
        cmocka_unit_test(power_cut_while_the_chip_is_made_leaves_none_or_a_whole_one),
        cmocka_unit_test(refused_write_changes_nothing_and_a_later_one_repairs_the_file),
        cmocka_unit_test(record_after_a_half_written_one_is_not_lost),
        cmocka_unit_test(records_out_of_order_or_out_of_range_are_refused),
        cmocka_unit_test(write_outside_the_image_is_a_usage_error),
        cmocka_unit_test(folder_is_private_and_keeps_the_chip),
        cmocka_unit_test(second_opener_is_refused_and_told_who_has_it),
        cmocka_unit_test(folder_with_other_things_is_not_made_a_chip),
        cmocka_unit_test(power_cut_in_the_folder_leaves_before_or_after),
        with_chip(damage_before_the_last_record_is_refused),
        cmocka_unit_test(lost_or_foreign_file_key_is_named),
        cmocka_unit_test(damaged_file_is_named_with_a_cure),
        with_chip(records_of_another_file_do_not_fit),
    };

    return cmocka_run_group_tests_name("chip", tests, NULL, NULL);
}
