/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the chip's end of SCP03: keys, authentication, what is protected and counted, what
 * ends a channel, and power cuts. SPEC a71ch 4 and 1.6.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "chip_bench.h"
#include "scp_host.h"

#define HASH "af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf"
#define INFO "8091000300"
#define INFO_NONE "0131f3221000"
#define INFO_KEYS "0131f3321000"
#define INFO_MANDATORY "0131f3121000"

/* A chip with keys and the host that knows them. */
struct pair {
    struct bench b;
    struct scp_host h;
};

static int
setup_pair(void **state)
{
    struct pair *p = calloc(1, sizeof *p);

    if (p == NULL)
        return -1;
    *state = p;
    reopen(&p->b);
    scp_host_init(&p->h);
    expect(&p->b, SCP_PUT_KEY, SW_OK, "");
    return 0;
}

static int
teardown_pair(void **state)
{
    struct pair *p = *state;

    scp03_aes_fini(&p->h.aes);
    chip_close(p->b.chip);
    buf_fini(&p->b.mem.bytes);
    free(p);
    return 0;
}

static void
open_channel(struct pair *p)
{
    assert_int_equal(scp_open(&p->b, &p->h), SW_OK);
}

/* ---- keys --------------------------------------------------------------------------------- */

static void
put_key_stores_keys_once_and_reset_wipes_them(void **state)
{
    struct bench *b = *state;
    struct scp_host h;

    scp_host_init(&h);
    expect(b, INFO, SW_OK, INFO_NONE);
    expect(b, "8050210008a0a1a2a3a4a5a6a700", 0x6a88, "");
    expect(b, SCP_PUT_KEY, SW_OK, "");
    expect(b, INFO, SW_OK, INFO_KEYS);
    assert_int_equal(run(b, "8091000400"), SW_OK); /* the map says it, too */
    assert_int_equal(b->data.ptr[0], 3);
    expect(b, SCP_PUT_KEY, SW_CONDITIONS, "");
    assert_int_equal(scp_open(b, &h), SW_OK);
    expect(b, INFO, SW_OK, INFO_MANDATORY);
    assert_int_equal(scp_run(b, &h, SCP_PUT_KEY), SW_CONDITIONS);
    assert_true(sealed_holds(&b->mem, &h.keys, sizeof h.keys));
    expect(b, "809400ea00", SW_OK, "");
    assert_false(sealed_holds(&b->mem, &h.keys, sizeof h.keys));
    expect(b, INFO, SW_OK, INFO_NONE);
    expect(b, "8050210008a0a1a2a3a4a5a6a700", 0x6a88, "");
    expect(b, SCP_PUT_KEY, SW_OK, "");
    assert_int_equal(scp_open(b, &h), SW_OK);
    scp03_aes_fini(&h.aes);
}

static void
put_key_refuses_wrong_check_values_forms_and_lengths(void **state)
{
    static const char *const wrong[] = {
        "80d8008146"
        "21" SCP_BLOCK(SCP_ENC, "c35281") SCP_BLOCK(SCP_MAC, "013808")
            SCP_BLOCK(SCP_DEK, "840de5") "00",
        "80d8008146"
        "21" SCP_BLOCK(SCP_ENC, "c35280") SCP_BLOCK(SCP_MAC, "013808")
            SCP_BLOCK(SCP_DEK, "000000") "00",
        "80d8008146"
        "21" SCP_BLOCK(SCP_MAC, "c35280") SCP_BLOCK(SCP_ENC, "013808")
            SCP_BLOCK(SCP_DEK, "840de5") "00",
        "80d8008146"
        "21"
        "801110" SCP_ENC "03c35280" SCP_BLOCK(SCP_MAC, "013808") SCP_BLOCK(SCP_DEK, "840de5") "00",
        "80d8008145"
        "21" SCP_BLOCK(SCP_ENC, "c35280") SCP_BLOCK(SCP_MAC, "013808") "881110" SCP_DEK "03840d"
                                                                       "00",
        "80d80081012100",
    };
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect(b, wrong[i], SW_WRONG_DATA, "");
    expect(b, "80d8008100", SW_WRONG_DATA, "");
    expect(b,
        "80d8008046"
        "21" SCP_BLOCKS "00",
        SW_WRONG_P1P2, "");
    expect(b,
        "80d8218146"
        "21" SCP_BLOCKS "00",
        SW_WRONG_P1P2, "");
    expect(b, INFO, SW_OK, INFO_NONE);
}

static void
keys_and_mandatory_state_survive_a_power_cycle_the_channel_does_not(void **state)
{
    struct pair *p = *state;

    reopen(&p->b);
    expect(&p->b, INFO, SW_OK, INFO_KEYS);
    open_channel(p);
    scp_expect(&p->b, &p->h, INFO, SW_OK, INFO_MANDATORY);
    reopen(&p->b);
    expect(&p->b, INFO, SW_OK, INFO_MANDATORY);
    assert_int_equal(scp_run(&p->b, &p->h, INFO), SW_SECURITY_STATUS);
    open_channel(p);
    scp_expect(&p->b, &p->h,
        "80610000"
        "00",
        SW_OK, "00000000");
}

/* ---- authentication ----------------------------------------------------------------------- */

static void
initialize_update_answers_29_bytes_with_a_new_challenge_each_time(void **state)
{
    struct pair *p = *state;
    uint8_t uid[18];
    uint8_t first[SCP03_INIT_LEN];

    assert_int_equal(run(&p->b, "8091000100"), SW_OK);
    memcpy(uid, p->b.data.ptr, sizeof uid);
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    memcpy(first, p->b.data.ptr, sizeof first);
    assert_memory_equal(first, &uid[2], 2);
    assert_memory_equal(&first[2], &uid[8], 8);
    assert_memory_equal(&first[10], "\x21\x03\x60", 3);
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    assert_memory_not_equal(&first[13], &p->b.data.ptr[13], 8);
    assert_memory_not_equal(&first[21], &p->b.data.ptr[21], 8);
    expect(&p->b, "8050210108a0a1a2a3a4a5a6a700", SW_WRONG_P1P2, "");
    expect(&p->b, "8050210007a0a1a2a3a4a5a600", SW_WRONG_DATA, "");
    expect(&p->b, "8050210000", SW_WRONG_DATA, "");
    expect(&p->b, INFO, SW_OK, INFO_KEYS);
}

static void
key_version_on_the_wire_is_not_compared(void **state)
{
    struct pair *p = *state;

    assert_int_equal(run(&p->b, "8050010008a0a1a2a3a4a5a6a700"), SW_OK);
    assert_int_equal(p->b.data.ptr[10], 0x21);
    assert_int_equal(run(&p->b, "8050000008a0a1a2a3a4a5a6a700"), SW_OK);
}

/* Any wrong bit of cryptogram or MAC: refused, used up, and SCP03 does not become mandatory. */
static void
wrong_authentication_is_refused_and_uses_the_challenge_up(void **state)
{
    struct pair *p = *state;

    for (size_t bit = 0; bit < 8 * 16; bit++) {
        assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
        scp_wrap_authenticate(&p->h);
        assert_int_equal(p->h.wire_len, 5 + 16); /* no Le */
        p->h.wire[5 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(run_bytes(&p->b, span_of(p->h.wire, p->h.wire_len)), SW_SECURITY_STATUS);
        p->h.wire[5 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(run_bytes(&p->b, span_of(p->h.wire, p->h.wire_len)), SW_CONDITIONS);
    }
    expect(&p->b, INFO, SW_OK, INFO_KEYS);
    open_channel(p);
    expect(&p->b, INFO, SW_OK, INFO_MANDATORY);
}

/* A right MAC over a wrong cryptogram needs S-MAC, so this host has the MAC key of the session. */
static void
right_mac_over_a_wrong_cryptogram_is_refused(void **state)
{
    struct pair *p = *state;
    uint8_t zeros[SCP03_CRYPTOGRAM_LEN] = { 0 };
    struct apdu cmd = { 0x80, INS_EXT_AUTH, SCP03_LEVEL, 0, SPAN(zeros), -1 };

    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    scp_wrap(&p->h, &cmd);
    assert_int_equal(run_bytes(&p->b, span_of(p->h.wire, p->h.wire_len)), SW_SECURITY_STATUS);
    expect(&p->b, INFO, SW_OK, INFO_KEYS);
}

static void
other_security_levels_and_lengths_are_refused(void **state)
{
    struct pair *p = *state;

    expect(&p->b, "848233001000112233445566770011223344556677", SW_CONDITIONS, "");
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    expect(&p->b, "848203001000112233445566770011223344556677", SW_WRONG_P1P2, "");
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    expect(&p->b, "848233011000112233445566770011223344556677", SW_WRONG_P1P2, "");
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    expect(&p->b,
        "848233000800112233445566"
        "77",
        SW_WRONG_DATA, "");
    expect(&p->b,
        "80823300100011223344556677"
        "0011223344556677",
        SW_INS_UNKNOWN, "");
}

static void
keys_that_differ_in_one_bit_do_not_authenticate(void **state)
{
    struct pair *p = *state;
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];
    uint8_t *key = (uint8_t *)&p->h.keys;

    for (size_t i = 0; i < 2 * SCP03_KEY_LEN; i += 5) { /* of ENC only the session shows it */
        key[i] ^= 1;
        assert_int_equal(run(&p->b, "8050210008a0a1a2a3a4a5a6a700"), SW_OK);
        memcpy(p->h.context, "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7", 8);
        memcpy(&p->h.context[8], &p->b.data.ptr[13], 8);
        assert_int_equal(scp03_start(&p->h.channel, &p->h.aes, &p->h.keys, p->h.context), BM_OK);
        assert_int_equal(
            scp03_cryptogram(&p->h.channel, &p->h.aes, SCP03_CARD, p->h.context, cryptogram),
            BM_OK);
        assert_int_equal(
            memcmp(cryptogram, &p->b.data.ptr[21], sizeof cryptogram) == 0, i < SCP03_KEY_LEN);
        scp_wrap_authenticate(&p->h);
        assert_int_equal(run_bytes(&p->b, span_of(p->h.wire, p->h.wire_len)),
            i < SCP03_KEY_LEN ? SW_OK : SW_SECURITY_STATUS);
        key[i] ^= 1;
    }
}

/* ---- inside the channel ------------------------------------------------------------------- */

static void
commands_inside_do_what_they_do_outside(void **state)
{
    struct pair *p = *state;
    char cmd[2 * APDU_CMD_MAX + 1];
    char point[131];
    size_t len;

    open_channel(p);
    scp_expect(&p->b, &p->h, "8012000000", SW_OK, "");
    assert_int_equal(scp_run(&p->b, &p->h, "8011000000"), SW_OK);
    assert_int_equal(p->h.data.len, 65);
    hex_encode(point, p->h.data.ptr, 65);
    assert_int_equal(scp_run(&p->b, &p->h, "8015000020" HASH "00"), SW_OK);
    len = p->h.data.len;
    (void)snprintf(cmd, sizeof cmd, "80250001%02zx" HASH, 32 + len + 65);
    hex_encode(&cmd[strlen(cmd)], p->h.data.ptr, len);
    (void)snprintf(&cmd[strlen(cmd)], sizeof cmd - strlen(cmd), "%s00", point);
    scp_expect(&p->b, &p->h, cmd, SW_OK, "01");
    scp_expect(&p->b, &p->h, "8072001003aabbcc00", SW_OK, "");
    scp_expect(&p->b, &p->h, "8071000f02000500", SW_OK, "00aabbcc00");
    scp_expect(&p->b, &p->h,
        "8096000003616263"
        "00",
        SW_OK, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(chip_stats(p->b.chip).signatures, 1);
}

/* SPEC 10.1: one sign has 62 bytes out and 90 back. */
static void
sign_inside_has_the_length_of_the_spec(void **state)
{
    struct pair *p = *state;
    size_t answer;

    open_channel(p);
    scp_expect(&p->b, &p->h, "8012000000", SW_OK, "");
    do {
        assert_int_equal(scp_run(&p->b, &p->h, "8015000020" HASH "00"), SW_OK);
        answer = p->b.data.len + 2;
        assert_int_equal(p->h.wire_len, 62);
    } while (p->h.data.len < 64); /* once in a long while both numbers are short */
    assert_int_equal(answer, 90);
}

static void
refusals_are_bare_or_proved_as_told_and_are_counted(void **state)
{
    struct pair *p = *state;
    struct quirks quirks = quirks_default();

    open_channel(p);
    for (int i = 0; i < 6; i++) {
        quirks.value[QUIRK_MAC_ON_ERROR] = i % 2 != 0;
        chip_set_quirks(p->b.chip, &quirks);
        scp_expect(&p->b, &p->h, "8011000000", SW_CONDITIONS, "");
        assert_int_equal(p->h.proved, i % 2 != 0);
        scp_expect(&p->b, &p->h, "8031000000", SW_INS_UNKNOWN, "");
        scp_expect(&p->b, &p->h, "8072001003aabbcc00", SW_OK, "");
    }
}

static void
answers_of_more_than_239_bytes_are_refused_inside(void **state)
{
    struct pair *p = *state;

    expect(&p->b, "8042000110000102030405060708090a0b0c0d0e0f00", SW_OK, "");
    open_channel(p);
    assert_int_equal(scp_run(&p->b, &p->h, "809500ef00"), SW_OK);
    assert_int_equal(p->h.data.len, 239);
    scp_expect(&p->b, &p->h, "809500f000", SW_WRONG_DATA, "");
    scp_expect(&p->b, &p->h,
        "8071000002"
        "00f0"
        "00",
        SW_WRONG_DATA, "");
    scp_expect(&p->b, &p->h, "804510f0010000", SW_WRONG_DATA, "");
    assert_int_equal(scp_run(&p->b, &p->h,
                         "8071000002"
                         "00ef"
                         "00"),
        SW_OK);
    assert_int_equal(p->h.data.len, 239);
}

static void
clear_commands_are_refused_once_it_is_mandatory_but_for_the_few(void **state)
{
    static const char *const refused[] = { "8011000000", "8012000000", "8015000020" HASH "00",
        "8061000000", "8071000002000100", "8091000400", "8091000500", "8091000600", "8095001000",
        "80960000"
        "00",
        "80fe000001aa00", "8064000000", SCP_PUT_KEY, "8031000000" };
    struct pair *p = *state;

    expect(&p->b, "8061000000", SW_OK, "00000000"); /* not yet */
    open_channel(p);
    for (int up = 1; up >= 0; up--) {
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            expect(&p->b, refused[i], SW_SECURITY_STATUS, "");
        expect(&p->b, INFO, SW_OK, INFO_MANDATORY);
        assert_int_equal(run(&p->b, "8091000100"), SW_OK);
        if (up) /* and nothing of all that touched the channel */
            scp_expect(&p->b, &p->h, "8061000000", SW_OK, "00000000");
        reopen(&p->b);
    }
    expect(&p->b, "809300dd00", SW_OK, "");
    expect(&p->b, "809400ea00", SW_INS_UNKNOWN, "");
    open_channel(p);
    scp_expect(&p->b, &p->h, "80fe000001aa00", SW_INS_UNKNOWN, "");
}

static void
other_answers_may_be_chosen(void **state)
{
    static const struct {
        const char *quirk;
        const char *command; /* in the clear */
        unsigned sw;
    } cases[] = {
        { "scp-keys-again=6986", SCP_PUT_KEY, 0x6986 },
        { "no-channel=6882", "8491000308001122334455667700", 0x6882 },
        { "no-challenge=6984", "848233001000112233445566770011223344556677", 0x6984 },
    };
    struct pair *p = *state;
    struct quirks quirks = quirks_default();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(quirks_set(&quirks, cases[i].quirk, NULL), BM_OK);
        chip_set_quirks(p->b.chip, &quirks);
        expect(&p->b, cases[i].command, cases[i].sw, "");
    }
    assert_int_equal(quirks_set(&quirks, "clear=6985", NULL), BM_OK);
    assert_int_equal(quirks_set(&quirks, "long-in-channel=6700", NULL), BM_OK);
    assert_int_equal(quirks_set(&quirks, "bad-mac=6988", NULL), BM_OK);
    chip_set_quirks(p->b.chip, &quirks);
    open_channel(p);
    expect(&p->b, "8061000000", SW_CONDITIONS, "");
    scp_expect(&p->b, &p->h, "809500f000", SW_WRONG_LENGTH, "");
    p->h.channel.chain[0] ^= 1;
    assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), 0x6988);
    expect(&p->b, "809400ea00", SW_OK, "");
    assert_int_equal(quirks_set(&quirks, "no-scp-keys=6985", NULL), BM_OK);
    assert_int_equal(quirks_set(&quirks, "bad-key-block=6984", NULL), BM_OK);
    chip_set_quirks(p->b.chip, &quirks);
    expect(&p->b, "8050210008a0a1a2a3a4a5a6a700", SW_CONDITIONS, "");
    expect(&p->b,
        "80d8008146"
        "21" SCP_BLOCK(SCP_ENC, "c35281") SCP_BLOCK(SCP_MAC, "013808")
            SCP_BLOCK(SCP_DEK, "840de5") "00",
        0x6984, "");
}

/* ---- what ends a channel ------------------------------------------------------------------ */

static void
class_84_without_a_channel_is_refused(void **state)
{
    struct pair *p = *state;

    expect(&p->b, "8491000308001122334455667700", SW_SECURITY_STATUS, "");
    expect(&p->b, "8491000300", SW_SECURITY_STATUS, "");
    assert_int_equal(scp_challenge(&p->b, &p->h), SW_OK);
    expect(&p->b, "8491000308001122334455667700", SW_SECURITY_STATUS, "");
    chip_reset(p->b.chip);
    expect(&p->b, "8491000300", SW_CONDITIONS, "");
}

static void
wrong_mac_replay_and_lost_command_end_the_channel(void **state)
{
    struct pair *p = *state;
    const struct apdu cmd = { 0x80, INS_COUNTER_SET, 0, 0, { 0 }, 256 };

    for (int how = 0; how < 4; how++) {
        open_channel(p);
        scp_expect(&p->b, &p->h, "8062000000", SW_OK, "");
        if (how == 0) { /* a bit of the MAC */
            scp_wrap(&p->h, &cmd);
            p->h.wire[6] ^= 4;
        } else if (how == 1) { /* the same bytes again: nothing to do */
        } else if (how == 2) { /* one before it never arrived */
            scp_wrap(&p->h, &cmd);
            scp03_next(&p->h.channel);
            scp_wrap(&p->h, &cmd);
        } else { /* no MAC at all */
            p->h.wire_len = 5;
            p->h.wire[4] = 0;
        }
        expect(&p->b, INFO, SW_OK, INFO_MANDATORY);
        assert_int_equal(run_bytes(&p->b, span_of(p->h.wire, p->h.wire_len)), SW_SECURITY_STATUS);
        assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), SW_SECURITY_STATUS);
    }
    open_channel(p);
    scp_expect(&p->b, &p->h, "8061000000", SW_OK, "00000004"); /* none of it was done */
}

static void
select_and_initialize_update_end_the_channel_a_lonely_authenticate_does_not(void **state)
{
    struct pair *p = *state;

    open_channel(p);
    expect(&p->b, "848233001000112233445566770011223344556677", SW_CONDITIONS, "");
    expect(&p->b, "00a4040000", SW_NOT_FOUND, ""); /* nor does the middleware's empty SELECT */
    scp_expect(&p->b, &p->h, "8061000000", SW_OK, "00000000");
    expect(&p->b, SELECT, SW_OK, "0131");
    assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), SW_SECURITY_STATUS);
    open_channel(p);
    assert_int_equal(run(&p->b, "8050210008a0a1a2a3a4a5a6a700"), SW_OK);
    assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), SW_SECURITY_STATUS);
    open_channel(p);
    assert_int_equal(scp_run(&p->b, &p->h, "809400ea00"), SW_OK); /* answered bare: no keys left */
    assert_false(p->h.proved);
    expect(&p->b, INFO, SW_OK, INFO_NONE);
    expect(&p->b, "8061000000", SW_OK, "00000000");
}

/* A client of its own has a channel of its own; a reset by one ends that of the other. */
static void
clients_have_channels_of_their_own(void **state)
{
    struct pair *p = *state;
    struct chip_session *other;
    uint8_t rsp[APDU_RSP_MAX];
    uint8_t cmd[16];
    size_t len;

    assert_int_equal(chip_session_open(p->b.chip, &other), BM_OK);
    open_channel(p);
    assert_int_equal(hex_decode(cmd, 11, span_str(SELECT)), BM_OK);
    assert_int_equal(chip_session_apdu(other, span_of(cmd, 11), rsp), 4);
    assert_int_equal(hex_decode(cmd, 5, span_str("8061000000")), BM_OK);
    len = chip_session_apdu(other, span_of(cmd, 5), rsp);
    assert_int_equal(len, 2);
    assert_memory_equal(rsp, "\x69\x82", 2);
    scp_expect(&p->b, &p->h, "8061000000", SW_OK, "00000000");
    assert_int_equal(hex_decode(cmd, 5, span_str("809400ea00")), BM_OK);
    assert_int_equal(chip_session_apdu(other, span_of(cmd, 5), rsp), 2);
    expect(&p->b, SCP_PUT_KEY, SW_OK, ""); /* the same keys: the old channel stays dead */
    assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), SW_SECURITY_STATUS);
    chip_session_close(other);
}

/* SPEC 1.6: unlocking wants a challenge, that a channel, that INITIALIZE UPDATE. */
static void
transport_lock_keeps_authentication_out_until_it_is_mandatory(void **state)
{
    static const char set_key[] = "8032000110000102030405060708090a0b0c0d0e0f00";
    struct pair *p = *state;

    expect(&p->b, set_key, SW_OK, "");
    expect(&p->b, "8092000200", SW_OK, "");
    expect(&p->b, "8050210008a0a1a2a3a4a5a6a700", SW_CONDITIONS, "");
    expect(&p->b, "809400ea00", SW_CONDITIONS, "");
    (void)teardown_pair(state);
    assert_int_equal(setup_pair(state), 0);
    p = *state;
    open_channel(p);
    scp_expect(&p->b, &p->h, set_key, SW_OK, "");
    scp_expect(&p->b, &p->h, "8092000200", SW_OK, "");
    reopen(&p->b);
    expect(&p->b, "8091000500", SW_SECURITY_STATUS, "");
    open_channel(p);
    scp_expect(&p->b, &p->h, "8061000000", SW_CONDITIONS, "");
    assert_int_equal(scp_run(&p->b, &p->h, "8091000500"), SW_OK);
    assert_int_equal(p->h.data.len, 16);
    scp_expect(&p->b, &p->h, "809200031000112233445566778899aabbccddeeff00", SW_WRONG_DATA, "");
}

/* ---- power cuts --------------------------------------------------------------------------- */

static void
copy_mem(struct nvm_mem *to, const struct nvm_mem *from)
{
    buf_fini(&to->bytes);
    *to = *from;
    to->bytes = (struct buf){ 0 };
    buf_add(&to->bytes, from->bytes.ptr, from->bytes.len);
    assert_false(to->bytes.failed);
}

/* Keys are all there or not at all; those that are there authenticate. */
static void
power_cut_in_put_key_leaves_no_keys_or_all(void **state)
{
    unsigned before = 0;
    unsigned after = 0;

    (void)state;
    for (size_t byte = 0; byte < 160; byte++) {
        struct pair p = { 0 };

        reopen(&p.b);
        scp_host_init(&p.h);
        p.b.mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
        expect(&p.b, SCP_PUT_KEY, 0x6581, "");
        expect(&p.b, INFO, SW_OK, INFO_NONE);
        chip_close(p.b.chip);
        p.b.chip = NULL;
        p.b.mem.cut = (struct nvm_cut){ 0 };
        reopen(&p.b);
        assert_int_equal(run(&p.b, INFO), SW_OK);
        if (p.b.data.ptr[3] == 0x32) {
            after++;
        } else {
            before++;
            expect(&p.b, INFO, SW_OK, INFO_NONE);
            expect(&p.b, SCP_PUT_KEY, SW_OK, "");
        }
        open_channel(&p);
        scp_expect(&p.b, &p.h, "8061000000", SW_OK, "00000000");
        scp03_aes_fini(&p.h.aes);
        chip_close(p.b.chip);
        buf_fini(&p.b.mem.bytes);
    }
    assert_true(before > 100 && after > 0);
}

/* Whoever was not told 9000 has no channel; whoever comes later finds it mandatory or not yet. */
static void
power_cut_in_external_authenticate_leaves_keys_set_or_mandatory(void **state)
{
    struct pair *p = *state;
    struct nvm_mem base = { 0 };
    unsigned before = 0;
    unsigned after = 0;

    chip_close(p->b.chip);
    p->b.chip = NULL;
    copy_mem(&base, &p->b.mem);
    for (size_t byte = 0; byte < 120; byte++) {
        copy_mem(&p->b.mem, &base);
        reopen(&p->b);
        p->b.mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
        assert_int_equal(scp_open(&p->b, &p->h), 0x6581);
        assert_int_equal(scp_run(&p->b, &p->h, "8061000000"), SW_SECURITY_STATUS);
        chip_close(p->b.chip);
        p->b.chip = NULL;
        p->b.mem.cut = (struct nvm_cut){ 0 };
        reopen(&p->b);
        assert_int_equal(run(&p->b, INFO), SW_OK);
        if (p->b.data.ptr[3] == 0x12)
            after++;
        else
            before++;
        assert_true(p->b.data.ptr[3] == 0x12 || p->b.data.ptr[3] == 0x32);
        open_channel(p);
        expect(&p->b, INFO, SW_OK, INFO_MANDATORY);
        scp_expect(&p->b, &p->h, "8061000000", SW_OK, "00000000");
        chip_close(p->b.chip);
        p->b.chip = NULL;
    }
    assert_true(before > 50 && after > 0);
    buf_fini(&base.bytes);
}

#define WITH_KEYS(f) cmocka_unit_test_setup_teardown(f, setup_pair, teardown_pair)
#define FRESH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(put_key_stores_keys_once_and_reset_wipes_them),
        FRESH(put_key_refuses_wrong_check_values_forms_and_lengths),
        WITH_KEYS(keys_and_mandatory_state_survive_a_power_cycle_the_channel_does_not),
        WITH_KEYS(initialize_update_answers_29_bytes_with_a_new_challenge_each_time),
        WITH_KEYS(key_version_on_the_wire_is_not_compared),
        WITH_KEYS(wrong_authentication_is_refused_and_uses_the_challenge_up),
        WITH_KEYS(right_mac_over_a_wrong_cryptogram_is_refused),
        WITH_KEYS(other_security_levels_and_lengths_are_refused),
        WITH_KEYS(keys_that_differ_in_one_bit_do_not_authenticate),
        WITH_KEYS(commands_inside_do_what_they_do_outside),
        WITH_KEYS(sign_inside_has_the_length_of_the_spec),
        WITH_KEYS(refusals_are_bare_or_proved_as_told_and_are_counted),
        WITH_KEYS(answers_of_more_than_239_bytes_are_refused_inside),
        WITH_KEYS(clear_commands_are_refused_once_it_is_mandatory_but_for_the_few),
        WITH_KEYS(other_answers_may_be_chosen),
        WITH_KEYS(class_84_without_a_channel_is_refused),
        WITH_KEYS(wrong_mac_replay_and_lost_command_end_the_channel),
        WITH_KEYS(select_and_initialize_update_end_the_channel_a_lonely_authenticate_does_not),
        WITH_KEYS(clients_have_channels_of_their_own),
        WITH_KEYS(transport_lock_keeps_authentication_out_until_it_is_mandatory),
        cmocka_unit_test(power_cut_in_put_key_leaves_no_keys_or_all),
        WITH_KEYS(power_cut_in_external_authenticate_leaves_keys_set_or_mandatory),
    };

    return cmocka_run_group_tests_name("chip_scp", tests, NULL, NULL);
}
