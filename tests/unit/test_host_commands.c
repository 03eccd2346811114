/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of liba71ch's commands: the bytes that leave are those of SPEC a71ch 2 and 3, what the
 * chip must answer is demanded, and on the simulated chip each does what its comment says. Results
 * are compared with libcrypto's, or with a chip's other command, never with our own code.
 */
#include "host/host.h"

#include "chip/chip.h"
#include "chip/nvm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

/* A handle whose chip is a simulated one, or one line of answer. */
struct world {
    struct a71ch host; /* first: its link is what the exchange gets */
    struct nvm_mem mem;
    struct chip *chip;
    const char *reply; /* hex; NULL: the simulated chip answers */
    char sent[8192];   /* hex of the commands since forget(), one a line */
};

static enum bm_err
answer(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *out, struct bm_msg *msg)
{
    struct world *w = (struct world *)(void *)l;
    size_t used = strlen(w->sent);
    size_t len;

    (void)timeout_ms;
    (void)msg;
    *out = (struct jrcp_msg){ .mty = request->mty };
    if (request->mty != JRCP_APDU)
        return BM_OK; /* as a server that knows no leases */
    assert_true(used + 2 * request->payload.len + 2 < sizeof w->sent);
    hex_encode(&w->sent[used], request->payload.ptr, request->payload.len);
    strcat(w->sent, "\n");
    if (w->reply == NULL) {
        len = chip_apdu(w->chip, request->payload, room);
    } else {
        len = strlen(w->reply) / 2;
        assert_int_equal(hex_decode(room, len, span_str(w->reply)), BM_OK);
    }
    out->payload = span_of(room, len);
    return BM_OK;
}

static void
forget(struct world *w)
{
    w->sent[0] = '\0';
}

static int
setup(void **state)
{
    static const uint8_t select[] = { 0, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL || chip_open_store(nvm_store_mem(&w->mem), &w->chip, NULL) != BM_OK)
        return -1;
    w->host = (struct a71ch){ .link = { .fd = -1, .name = "the chip" }, .exchange = answer };
    if (a71ch_transceive(&w->host, select, sizeof select, rsp, &len) != A71CH_OK)
        return -1;
    forget(w);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    chip_close(w->chip);
    buf_fini(&w->mem.bytes);
    free(w);
    return 0;
}

static void
ok(struct world *w, a71ch_result res)
{
    if (res != A71CH_OK)
        fail_msg("%s: %s", a71ch_result_name(res), a71ch_message(&w->host));
}

static void
refused(struct world *w, a71ch_result res, uint16_t sw)
{
    assert_int_equal(res, A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(&w->host), sw);
}

#define B16 "000102030405060708090a0b0c0d0e0f"
#define B32 B16 "101112131415161718191a1b1c1d1e1f"
#define B48 B32 "202122232425262728292a2b2c2d2e2f"
#define X16 "11111111111111111111111111111111"
#define PEER "04" X16 X16 X16 X16

static const uint8_t bytes[] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
    0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a,
    0x1b, 0x1c, 0x1d, 0x1e, 0x1f };

static void
peer_point(uint8_t out[A71CH_POINT_LEN])
{
    memset(out, 0x11, A71CH_POINT_LEN);
    out[0] = 4;
}

/* What each call sends, and that it takes this answer. */
#define SENDS(reply_hex, want_hex, ...)                                                            \
    do {                                                                                           \
        w->reply = (reply_hex);                                                                    \
        forget(w);                                                                                 \
        ok(w, __VA_ARGS__);                                                                        \
        assert_string_equal(w->sent, want_hex "\n");                                               \
    } while (0)

static void
commands_have_the_bytes_of_the_specification(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t out[256];
    uint8_t peer[A71CH_POINT_LEN];
    int16_t room;
    unsigned used;
    unsigned max;
    a71ch_restricted restricted;

    peer_point(peer);
    SENDS("9000", "8012020000", a71ch_pair_generate(c, 2));
    SENDS("9000", "8012021010" B16 "00", a71ch_pair_generate_with_code(c, 2, bytes));
    SENDS("9000", "8013030000", a71ch_pair_freeze(c, 3));
    SENDS("9000", "8013031010" B16 "00", a71ch_pair_freeze_with_code(c, 3, bytes));
    SENDS("9000", "8014030000", a71ch_pair_erase(c, 3));
    SENDS("9000", "8014031010" B16 "00", a71ch_pair_erase_with_code(c, 3, bytes));
    SENDS("9000", "8023020000", a71ch_pub_freeze(c, 2));
    SENDS("9000", "8023021010" B16 "00", a71ch_pub_freeze_with_code(c, 2, bytes));
    SENDS("9000", "8024020000", a71ch_pub_erase(c, 2));
    SENDS("9000", "8024021010" B16 "00", a71ch_pub_erase_with_code(c, 2, bytes));
    SENDS("9000", "8032010110" B16 "00", a71ch_config_set(c, 1, bytes, 16));
    SENDS("9000", "8032010218" B16 "101112131415161700", a71ch_config_set(c, 1, bytes, 24));
    SENDS("9000", "8042070110" B16 "00", a71ch_sym_set(c, 7, bytes, 16));
    SENDS("9000", "8042070218" B16 "101112131415161700", a71ch_sym_set(c, 7, bytes, 24));
    SENDS("9000", "8043070000", a71ch_sym_freeze(c, 7));
    SENDS("9000", "8044070000", a71ch_sym_erase(c, 7));
    SENDS(B16 "9000",
        "804514100201"
        "02"
        "00",
        a71ch_sym_hkdf(c, 4, 1, NULL, 0, &bytes[2], 1, out, 16));
    SENDS(B16 "9000",
        "80454010050200010102"
        "00",
        a71ch_sym_hkdf(c, 0, 4, bytes, 2, &bytes[2], 1, out, 16));
    SENDS(B48 "9000", "8046240020" B32 "00", a71ch_sym_psk_master(c, 4, 2, bytes, out));
    SENDS(B48 "9000", "8016031461" PEER B32 "00",
        a71ch_pair_psk_master(c, 3, peer, 4, 1, bytes, out));
    SENDS(B32 "9000", "804710000300010200", a71ch_sym_hmac(c, 0, 1, bytes, 3, out));
    SENDS("9000", "8047100100", a71ch_sym_hmac_init(c, 0, 1));
    SENDS("9000", "804710020300010200", a71ch_sym_hmac_update(c, 0, 1, bytes, 3));
    SENDS(B32 "9000", "8047100300", a71ch_sym_hmac_final(c, 0, 1, out));
    SENDS("9000", "8096000100", a71ch_sha256_init(c));
    SENDS("9000", "809600020300010200", a71ch_sha256_update(c, bytes, 3));
    SENDS(B32 "9000", "8096000300", a71ch_sha256_final(c, out));
    SENDS("9000", "8062010000", a71ch_counter_increment(c, 1));
    SENDS("9000", "80620100040102030400", a71ch_counter_set(c, 1, 0x01020304));
    SENDS("9000", "8064010000", a71ch_debug_counter_erase(c, 1));
    SENDS("9000",
        "80730020020040"
        "00",
        a71ch_gp_freeze(c, 0x20, 0x40));
    SENDS("9000", "8092000100", a71ch_inject_lock(c));
    SENDS("9000", "8092000200", a71ch_transport_lock(c));
    SENDS("9000", "8092000310" B16 "00", a71ch_transport_unlock(c, bytes));
    SENDS("9000", "809200050300010200", a71ch_set_tls_label(c, bytes, 3));
    SENDS(B16 "9000", "8091010500", a71ch_get_challenge(c, A71CH_CODE_PAIR, out));
    SENDS(B32 "9000", "8095010000", a71ch_get_client_hello_random(c, out));
    SENDS("9000", "809300dd00", a71ch_debug_disable(c));
    SENDS("fffe9000", "8091000200", a71ch_debug_free_persistent(c, &room));
    assert_int_equal(room, -2);
    SENDS("01009000", "8091010200", a71ch_debug_free_transient(c, &room));
    assert_int_equal(room, 256);
    SENDS("0001029000", "80fe00000300010200", a71ch_debug_reflect(c, bytes, 3, out));
    SENDS("02059000", "8011030100", a71ch_pair_get_usage(c, 3, &used, &max));
    assert_true(used == 2 && max == 5);
    SENDS("9000", "8011030100", a71ch_pair_get_usage(c, 3, &used, &max));
    assert_true(used == 0 && max == 0);
    SENDS("079000", "801503000300010200", a71ch_pair_restricted_sign(c, 3, bytes, 3, &used));
    assert_int_equal(used, 7);
    SENDS("0302002000080100000a9000", "8091000600", a71ch_get_restricted(c, &restricted));
    assert_true(restricted.pair == 3 && restricted.block_count == 2);
    assert_true(restricted.blocks[1].offset == 0x100 && restricted.blocks[1].len == 10);
    SENDS("ff009000", "8091000600", a71ch_get_restricted(c, &restricted));
    assert_true(restricted.pair == -1 && restricted.block_count == 0);
    SENDS("9000", "8091000600", a71ch_get_restricted(c, &restricted));
    assert_true(restricted.pair == -1 && restricted.block_count == 0);
}

/* SPEC 2.8: 0x7022 of the vendor's host. */
static void
answers_of_a_wrong_length_are_refused(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t out[256] = { 0 };
    int16_t room = 5;
    unsigned n = 5;
    a71ch_restricted r;

    w->reply = "0102039000";
    assert_int_equal(a71ch_pair_freeze(c, 0), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_config_set(c, 0, bytes, 16), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_sym_hmac(c, 0, 1, bytes, 3, out), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_sha256_update(c, bytes, 3), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_sym_hkdf(c, 0, 1, NULL, 0, bytes, 3, out, 4), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_sym_psk_master(c, 0, 1, bytes, out), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_get_challenge(c, 0, out), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_debug_free_persistent(c, &room), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_pair_get_usage(c, 0, &n, &n), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_pair_restricted_sign(c, 0, bytes, 3, &n), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_get_restricted(c, &r), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_debug_reflect(c, bytes, 2, out), A71CH_ERR_RESPONSE);
    assert_true(room == 5 && n == 5 && out[0] == 0);
}

static void
bad_arguments_are_refused_and_nothing_is_sent(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    static const uint8_t long_data[256];
    uint8_t out[256];
    unsigned n;

    const a71ch_result got[] = {
        a71ch_pair_freeze(c, 4),
        a71ch_pub_freeze(c, 3),
        a71ch_pair_get_usage(c, 4, &n, &n),
        a71ch_config_set(c, 3, bytes, 16),
        a71ch_config_set(c, 0, bytes, 15),
        a71ch_config_set(c, 0, bytes, 32),
        a71ch_sym_set(c, 8, bytes, 16),
        a71ch_sym_set(c, 0, bytes, 0),
        a71ch_sym_erase(c, 8),
        a71ch_sym_hmac(c, 0, 0, bytes, 1, out),
        a71ch_sym_hmac(c, 0, 5, bytes, 1, out),
        a71ch_sym_hmac(c, 5, 4, bytes, 1, out),
        a71ch_sym_hmac(c, 8, 1, bytes, 1, out),
        a71ch_sym_hkdf(c, 0, 1, NULL, 0, bytes, 1, out, 0),
        a71ch_sym_hkdf(c, 0, 1, NULL, 0, bytes, 1, out, 256),
        a71ch_sym_hkdf(c, 0, 1, NULL, 1, bytes, 1, out, 16),
        a71ch_sym_hkdf(c, 0, 1, bytes, 0, bytes, 1, out, 16),
        a71ch_sym_hkdf(c, 0, 1, NULL, 0, long_data, 193, out, 16),
        a71ch_sym_hkdf(c, 0, 1, long_data, 46, long_data, 192, out, 16),
        a71ch_sym_hkdf(c, 0, 1, long_data, 238, NULL, 0, out, 16),
        a71ch_sym_psk_master(c, 7, 2, bytes, out),
        a71ch_pair_psk_master(c, 4, long_data, 0, 1, bytes, out),
        a71ch_pair_restricted_sign(c, 0, long_data, 240, &n),
        a71ch_pair_restricted_sign(c, 0, long_data, 0, &n),
        a71ch_counter_set(c, 2, 1),
        a71ch_gp_freeze(c, 1, 32),
        a71ch_gp_freeze(c, 0, 33),
        a71ch_gp_freeze(c, 0, 0),
        a71ch_gp_freeze(c, 0xffe0, 64),
        a71ch_get_challenge(c, 3, out),
        a71ch_set_tls_label(c, bytes, 0),
        a71ch_set_tls_label(c, bytes, 25),
        a71ch_debug_reflect(c, long_data, 240, out),
        a71ch_wrap_key(bytes, bytes, 8, out),
        a71ch_wrap_key(bytes, bytes, 17, out),
        a71ch_wrap_key(bytes, long_data, 72, out),
    };

    for (size_t i = 0; i < sizeof got / sizeof got[0]; i++) {
        if (got[i] != A71CH_ERR_ARG)
            fail_msg("case %zu: %s", i, a71ch_result_name(got[i]));
    }
    assert_string_equal(w->sent, "");
    assert_int_equal(a71ch_sym_hmac(c, 5, 4, bytes, 1, out), A71CH_ERR_ARG);
    assert_non_null(strstr(a71ch_message(c), "ends at slot 7; 4 from slot 5 on is none"));
}

/* RFC 3394, 4.1 and 4.3's key data under a 128-bit key. */
static void
wrapping_gives_the_rfcs_bytes(void **state)
{
    static const uint8_t data[] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
        0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    static const uint8_t want[] = { 0x1f, 0xa6, 0x8b, 0x0a, 0x81, 0x12, 0xb4, 0x47, 0xae, 0xf3,
        0x4b, 0xd8, 0xfb, 0x5a, 0x7b, 0x82, 0x9d, 0x3e, 0x86, 0x23, 0x71, 0xd2, 0xcf, 0xe5 };
    uint8_t out[24];

    (void)state;
    assert_int_equal(a71ch_wrap_key(bytes, data, sizeof data, out), A71CH_OK);
    assert_memory_equal(out, want, sizeof want);
}

static void
wrapped_keys_arrive(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t wrapped[72];
    uint8_t got[A71CH_POINT_LEN];
    uint8_t pub[A71CH_POINT_LEN];
    uint8_t mac1[32];
    uint8_t mac2[32];

    ok(w, a71ch_pair_generate(c, 0));
    ok(w, a71ch_pair_get_public(c, 0, pub));
    ok(w, a71ch_config_set(c, 1, bytes, 16));
    ok(w, a71ch_config_set(c, 2, bytes, 16));
    ok(w, a71ch_inject_lock(c));
    refused(w, a71ch_pub_set(c, 0, pub, sizeof pub), 0x6986);
    ok(w, a71ch_wrap_key(bytes, &pub[1], 64, wrapped));
    ok(w, a71ch_pub_set(c, 0, wrapped, 72));
    ok(w, a71ch_pub_get(c, 0, got));
    assert_memory_equal(got, pub, sizeof pub);
    ok(w, a71ch_wrap_key(bytes, bytes, 32, wrapped));
    ok(w, a71ch_pair_set(c, 1, pub, wrapped, 40));
    wrapped[0] ^= 1;
    refused(w, a71ch_pair_set(c, 2, pub, wrapped, 40), 0x6a80);

    ok(w, a71ch_debug_reset(c));
    ok(w, a71ch_sym_set(c, 0, bytes, 16));
    ok(w, a71ch_sym_hmac(c, 0, 1, bytes, 3, mac1));
    ok(w, a71ch_wrap_key(bytes, &bytes[16], 16, wrapped)); /* another key, under the old one */
    ok(w, a71ch_sym_set(c, 0, wrapped, 24));
    ok(w, a71ch_sym_hmac(c, 0, 1, bytes, 3, mac2));
    assert_memory_not_equal(mac1, mac2, 32);
    ok(w, a71ch_sym_set(c, 0, &bytes[16], 16));
    ok(w, a71ch_sym_hmac(c, 0, 1, bytes, 3, mac1));
    assert_memory_equal(mac1, mac2, 32);
}

static void
long_data_is_hashed_in_parts(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    static uint8_t data[1000];
    static const size_t lengths[] = { 0, 1, 239, 240, 478, 479, 1000 };
    static const size_t commands[] = { 1, 1, 1, 2, 2, 3, 5 };
    uint8_t got[32];
    uint8_t want[32];
    unsigned len;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    ok(w, a71ch_sym_set(c, 3, bytes, 16));
    ok(w, a71ch_sym_set(c, 4, &bytes[16], 16));
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t sent = 0;

        assert_int_equal(EVP_Digest(data, lengths[i], want, &len, EVP_sha256(), NULL), 1);
        forget(w);
        ok(w, a71ch_sha256(c, data, lengths[i], got));
        assert_memory_equal(got, want, 32);
        for (const char *s = w->sent; *s != '\0'; s++)
            sent += *s == '\n';
        assert_int_equal(sent, commands[i]);
        forget(w);
        assert_non_null(HMAC(EVP_sha256(), bytes, 32, data, lengths[i], want, &len));
        ok(w, a71ch_sym_hmac(c, 3, 2, data, lengths[i], got));
        assert_memory_equal(got, want, 32);
    }
    ok(w, a71ch_sym_hmac_init(c, 3, 2));
    ok(w, a71ch_sym_hmac_update(c, 3, 2, data, 700));
    ok(w, a71ch_sym_hmac_update(c, 3, 2, NULL, 0));
    ok(w, a71ch_sym_hmac_update(c, 3, 2, &data[700], 300));
    ok(w, a71ch_sym_hmac_final(c, 3, 2, got));
    assert_memory_equal(got, want, 32);
    ok(w, a71ch_sha256_init(c));
    ok(w, a71ch_sha256_update(c, data, 1000));
    ok(w, a71ch_sha256_final(c, got));
    assert_int_equal(EVP_Digest(data, 1000, want, &len, EVP_sha256(), NULL), 1);
    assert_memory_equal(got, want, 32);
}

/* SPEC 3.3; mode 0 is extract and expand, 2 expand only. */
static void
hkdf_is_libcryptos(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t key[32];
    uint8_t got[200];
    uint8_t want[200];
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char sha256[] = "SHA256";
    char info[] = "some info";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);

    memcpy(key, bytes, sizeof key);
    ok(w, a71ch_sym_set(c, 6, key, 16));
    ok(w, a71ch_sym_set(c, 7, &key[16], 16));
    for (int i = 0; i < 2; i++) {
        EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
        OSSL_PARAM params[] = { OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, &mode),
            OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 6),
            OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, key, sizeof key),
            OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, info, 9),
            mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY
                ? (OSSL_PARAM)OSSL_PARAM_END
                : (OSSL_PARAM)OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, &key[5], 20),
            OSSL_PARAM_END };

        assert_int_equal(EVP_KDF_derive(ctx, want, sizeof want, params), 1);
        EVP_KDF_CTX_free(ctx);
        ok(w, a71ch_sym_hkdf(c, 6, 2, i == 0 ? NULL : &key[5], i == 0 ? 0 : 20,
                  (const uint8_t *)info, 9, got, sizeof got));
        assert_memory_equal(got, want, sizeof want);
        mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    }
    EVP_KDF_free(kdf);
}

static void
master_secret_needs_a_fresh_random_and_is_the_same_for_the_same(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t hello[32];
    uint8_t one[48];
    uint8_t two[48];
    uint8_t peer[A71CH_POINT_LEN];

    ok(w, a71ch_sym_set(c, 0, bytes, 16));
    ok(w, a71ch_pair_generate(c, 0));
    ok(w, a71ch_pair_generate(c, 1));
    ok(w, a71ch_pair_get_public(c, 1, peer));
    refused(w, a71ch_sym_psk_master(c, 0, 1, bytes, one), 0x6985);
    ok(w, a71ch_get_client_hello_random(c, hello));
    ok(w, a71ch_sym_psk_master(c, 0, 1, bytes, one));
    ok(w, a71ch_get_client_hello_random(c, hello));
    ok(w, a71ch_pair_psk_master(c, 0, peer, 0, 1, bytes, two));
    assert_memory_not_equal(one, two, sizeof one);
    ok(w, a71ch_set_tls_label(c, (const uint8_t *)"extended", 8));
    ok(w, a71ch_get_client_hello_random(c, hello));
    ok(w, a71ch_sym_psk_master(c, 0, 1, bytes, two));
    assert_memory_not_equal(one, two, sizeof one);
}

static void
codes_open_what_the_inject_lock_closes(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint8_t code[16];

    ok(w, a71ch_config_set(c, 1, bytes, 16));
    ok(w, a71ch_config_set(c, 2, &bytes[16], 16));
    ok(w, a71ch_pair_generate(c, 0));
    ok(w, a71ch_inject_lock(c));
    refused(w, a71ch_pair_generate(c, 1), 0x6986);
    ok(w, a71ch_get_code(c, A71CH_CODE_PAIR, bytes, code));
    ok(w, a71ch_pair_generate_with_code(c, 1, code));
    assert_int_equal(a71ch_pair_erase_with_code(c, 1, code), A71CH_ERR_STATUS); /* used up */
    ok(w, a71ch_get_code(c, A71CH_CODE_PAIR, bytes, code));
    ok(w, a71ch_pair_erase_with_code(c, 1, code));
    ok(w, a71ch_get_code(c, A71CH_CODE_PAIR, bytes, code));
    ok(w, a71ch_pair_freeze_with_code(c, 0, code));
    ok(w, a71ch_get_code(c, A71CH_CODE_PAIR, &bytes[16], code));
    refused(w, a71ch_pair_generate_with_code(c, 1, code), 0x6a80); /* the wrong key's */
}

static void
transport_lock_goes_once_round(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    a71ch_module_info info;
    uint8_t code[16];
    uint32_t count;

    refused(w, a71ch_transport_lock(c), 0x6985);
    ok(w, a71ch_config_set(c, 0, bytes, 16));
    ok(w, a71ch_transport_lock(c));
    assert_int_equal(a71ch_counter_get(c, 0, &count), A71CH_ERR_STATUS);
    ok(w, a71ch_get_code(c, A71CH_CODE_MODULE, bytes, code));
    ok(w, a71ch_transport_unlock(c, code));
    ok(w, a71ch_counter_get(c, 0, &count));
    ok(w, a71ch_get_module_info(c, &info));
    assert_int_equal(info.transport_lock, 2);
}

static void
counters_only_rise(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    uint32_t got;

    ok(w, a71ch_counter_increment(c, 1));
    ok(w, a71ch_counter_set(c, 1, 0xfffffffe));
    ok(w, a71ch_counter_get(c, 1, &got));
    assert_int_equal(got, 0xfffffffe);
    refused(w, a71ch_counter_set(c, 1, 5), 0x6a80);
    ok(w, a71ch_debug_counter_erase(c, 1));
    ok(w, a71ch_counter_get(c, 1, &got));
    assert_int_equal(got, 0);
}

static void
frozen_storage_is_seen_before_the_first_command_of_a_long_write(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    static uint8_t data[300];
    uint8_t got[300];

    memset(data, 0x5a, sizeof data);
    ok(w, a71ch_gp_freeze(c, 0x120, 32));
    assert_int_equal(a71ch_gp_write_checked(c, 0, data, sizeof data), A71CH_ERR_FROZEN);
    assert_non_null(
        strstr(a71ch_message(c), "segment at offset 288 is frozen; nothing was written"));
    ok(w, a71ch_gp_read(c, 0, got, sizeof got));
    for (size_t i = 0; i < sizeof got; i++)
        assert_int_equal(got[i], 0);
    ok(w, a71ch_gp_write_checked(c, 0, data, 0x120));
    ok(w, a71ch_gp_write_checked(c, 0x140, data, sizeof data));
    refused(w, a71ch_gp_write_checked(c, 0x120, data, 10), 0x6986);
    refused(w, a71ch_gp_write(c, 0, data, sizeof data), 0x6986);
}

static size_t
see(void *arg, const uint8_t *cmd, size_t len, uint8_t rsp[A71CH_APDU_RSP_MAX])
{
    static const uint8_t no[] = { 0x69, 0x82 };
    char *seen = arg;

    hex_encode(seen, cmd, len < 16 ? len : 16);
    if (cmd[1] != INS_COUNTER_SET)
        return 0;
    memcpy(rsp, no, sizeof no);
    return sizeof no;
}

static void
filter_sees_commands_and_may_answer(void **state)
{
    struct world *w = *state;
    a71ch *c = &w->host;
    char seen[40] = "";
    uint32_t got;

    a71ch_set_filter(c, see, seen);
    forget(w);
    refused(w, a71ch_counter_increment(c, 0), 0x6982);
    assert_string_equal(seen, "8062000000");
    assert_string_equal(w->sent, "");
    ok(w, a71ch_counter_get(c, 0, &got));
    assert_string_equal(seen, "8061000000");
    assert_string_equal(w->sent, "8061000000\n");
    a71ch_set_filter(c, NULL, NULL);
    ok(w, a71ch_counter_increment(c, 0));
}

int
main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(commands_have_the_bytes_of_the_specification),
        CLAIM(answers_of_a_wrong_length_are_refused),
        CLAIM(bad_arguments_are_refused_and_nothing_is_sent),
        CLAIM(wrapping_gives_the_rfcs_bytes),
        CLAIM(wrapped_keys_arrive),
        CLAIM(long_data_is_hashed_in_parts),
        CLAIM(hkdf_is_libcryptos),
        CLAIM(master_secret_needs_a_fresh_random_and_is_the_same_for_the_same),
        CLAIM(codes_open_what_the_inject_lock_closes),
        CLAIM(transport_lock_goes_once_round),
        CLAIM(counters_only_rise),
        CLAIM(frozen_storage_is_seen_before_the_first_command_of_a_long_write),
        CLAIM(filter_sees_commands_and_may_answer),
    };

    return cmocka_run_group_tests_name("test_host_commands", tests, NULL, NULL);
}
