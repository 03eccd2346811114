/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public test vectors (project Wycheproof) through the chip's commands: verify (INS 25) and key
 * agreement (INS 12, 17), signatures of the chip (INS 15) checked by OpenSSL, wrapped injection
 * (INS 12, 42), HMAC (INS 47) and HKDF (INS 45).
 *
 * The files are not part of the source tree: they are looked for in BIRTHMARK_VECTORS, otherwise in
 * ../shared/vectors/wycheproof beside it. Without them the tests are skipped, loudly.
 */
#include "chip/chip.h"
#include "chip/nvm.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/x509.h>

enum { HASH_LEN = 32, POINT_LEN = 65, SCALAR_LEN = 32, SPKI_LEN = 91, BYTES_MAX = 8192 };

/* What precedes the point in the SubjectPublicKeyInfo of a P-256 key, RFC 5480. */
static const uint8_t spki_prefix[SPKI_LEN - POINT_LEN] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    0x03, 0x42, 0x00 };

struct bytes {
    uint8_t at[BYTES_MAX];
    size_t len;
};

struct bench {
    struct nvm_mem mem;
    struct chip *chip;
    uint8_t rsp[APDU_RSP_MAX];
    struct span data;
};

static uint16_t
run(struct bench *b, uint8_t ins, uint8_t p1, uint8_t p2, struct span data)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct apdu cmd = { ins == INS_SELECT ? 0 : 0x80, ins, p1, p2, data, 256 };
    uint16_t sw = 0;

    assert_int_equal(apdu_build(&w, &cmd), BM_OK);
    assert_int_equal(
        apdu_split(
            span_of(b->rsp, chip_apdu(b->chip, span_of(bytes, wr_len(&w)), b->rsp)), &b->data, &sw),
        BM_OK);
    return sw;
}

static int
setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    if (b == NULL || chip_open_store(nvm_store_mem(&b->mem), &b->chip, NULL) != BM_OK)
        return -1;
    *state = b;
    return run(b, INS_SELECT, 4, 0, span_str("a71ch")) == SW_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    struct bench *b = *state;

    chip_close(b->chip);
    buf_fini(&b->mem.bytes);
    free(b);
    return 0;
}

/* The file's tests, or a loud skip. */
static json_t *
load(const char *name)
{
    char path[PATH_MAX];
    const char *dir = getenv("BIRTHMARK_VECTORS");
    json_error_t why;
    json_t *file;

    if (dir != NULL)
        (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    else
        (void)snprintf(path, sizeof path, "%s/../shared/vectors/wycheproof/%s", SOURCE_DIR, name);
    if (access(path, R_OK) != 0) {
        print_message(
            "skip - SKIPPED: vectors absent: %s; set BIRTHMARK_VECTORS to their folder\n", name);
        skip();
    }
    file = json_load_file(path, 0, &why);
    if (file == NULL)
        fail_msg("%s: %s", path, why.text);
    return file;
}

static const char *
text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    if (s == NULL)
        fail_msg("the vectors have no text %s where it must be", key);
    return s;
}

static void
hex_field(const json_t *o, const char *key, struct bytes *out)
{
    const char *hex = text(o, key);

    out->len = strlen(hex) / 2;
    assert_true(out->len <= sizeof out->at);
    assert_int_equal(hex_decode(out->at, out->len, span_str(hex)), BM_OK);
}

static bool
is(const json_t *test, const char *result)
{
    return strcmp(text(test, "result"), result) == 0;
}

static int
id(const json_t *test)
{
    return (int)json_integer_value(json_object_get(test, "tcId"));
}

/* INS 25 with hash, signature and, for the external form, the key. */
static bool
verify_command(struct bench *b, uint8_t p2, struct span hash, struct span sig, struct span point)
{
    uint8_t data[APDU_DATA_MAX];
    struct wr w = wr_of(data, sizeof data);
    uint16_t sw;

    wr_span(&w, hash);
    wr_span(&w, sig);
    wr_span(&w, point);
    assert_false(w.failed);
    sw = run(b, INS_PUB_VERIFY, 0, p2, span_of(data, wr_len(&w)));
    if (sw != SW_OK) { /* without a signature the command has the wrong length */
        assert_int_equal(sw, SW_WRONG_DATA);
        assert_int_equal(sig.len, 0);
        return false;
    }
    assert_int_equal(b->data.len, 1);
    assert_in_range(b->data.ptr[0], 1, 2);
    return b->data.ptr[0] == 1;
}

/* Verify with a stored key and with the key in the command; both must agree. */
static bool
chip_verifies(struct bench *b, const json_t *test, struct span point, struct span sig)
{
    struct bytes msg;
    uint8_t hash[HASH_LEN];
    bool valid;

    hex_field(test, "msg", &msg);
    assert_int_equal(EVP_Digest(msg.at, msg.len, hash, NULL, EVP_sha256(), NULL), 1);
    assert_int_equal(run(b, INS_PUB_SET, 0, 0, point), SW_OK);
    valid = verify_command(b, 2, SPAN(hash), sig, (struct span){ 0 });
    assert_int_equal(verify_command(b, 1, SPAN(hash), sig, point), valid);
    return valid;
}

struct tally {
    unsigned ran;
    unsigned left_out;
};

typedef void (*test_fn)(
    struct bench *b, const json_t *group, const json_t *test, struct tally *tally);

static struct tally
each_test(struct bench *b, const char *name, test_fn fn)
{
    json_t *file = load(name);
    struct tally tally = { 0 };
    size_t i;
    size_t k;
    json_t *group;
    json_t *test;

    json_array_foreach(json_object_get(file, "testGroups"), i, group)
        json_array_foreach(json_object_get(group, "tests"), k, test) fn(b, group, test, &tally);
    print_message("%s: %u cases ran, %u do not apply\n", name, tally.ran, tally.left_out);
    assert_int_equal(
        tally.ran + tally.left_out, json_integer_value(json_object_get(file, "numberOfTests")));
    json_decref(file);
    return tally;
}

static void
ecdsa_der(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes point;
    struct bytes sig;

    hex_field(json_object_get(group, "publicKey"), "uncompressed", &point);
    hex_field(test, "sig", &sig);
    if (sig.len > APDU_DATA_MAX - HASH_LEN - POINT_LEN) { /* does not fit into a command */
        assert_true(is(test, "invalid"));
        tally->left_out++;
        return;
    }
    if (chip_verifies(b, test, span_of(point.at, point.len), span_of(sig.at, sig.len)) !=
        is(test, "valid"))
        fail_msg("case %d (%s) is %s", id(test), text(test, "comment"), text(test, "result"));
    tally->ran++;
}

static void
der_signatures_are_judged_as_the_vectors_say(void **state)
{
    struct tally t = each_test(*state, "ecdsa_secp256r1_sha256_test.json", ecdsa_der);

    assert_true(t.ran > 400);
}

/* One half of r||s as a minimal DER INTEGER. */
static void
put_integer(struct wr *w, struct span half)
{
    struct rd r = rd_of(half);
    uint8_t first = rd_u8(&r);

    while (first == 0 && rd_left(&r) > 0)
        first = rd_u8(&r);
    wr_u8(w, 0x02);
    wr_u8(w, (uint8_t)(rd_left(&r) + (first >= 0x80 ? 2 : 1)));
    if (first >= 0x80)
        wr_u8(w, 0);
    wr_u8(w, first);
    wr_span(w, rd_rest(&r));
}

static void
ecdsa_p1363(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes point;
    struct bytes sig;
    uint8_t body[80];
    uint8_t der[82];
    struct wr w = wr_of(body, sizeof body);
    struct wr all = wr_of(der, sizeof der);

    hex_field(json_object_get(group, "publicKey"), "uncompressed", &point);
    hex_field(test, "sig", &sig);
    if (sig.len != 2 * SCALAR_LEN) { /* a matter of that format, which the chip does not speak */
        assert_true(is(test, "invalid"));
        tally->left_out++;
        return;
    }
    put_integer(&w, span_of(sig.at, SCALAR_LEN));
    put_integer(&w, span_of(&sig.at[SCALAR_LEN], SCALAR_LEN));
    wr_u8(&all, 0x30);
    wr_u8(&all, (uint8_t)wr_len(&w));
    wr_bytes(&all, body, wr_len(&w));
    if (chip_verifies(b, test, span_of(point.at, point.len), span_of(der, wr_len(&all))) !=
        is(test, "valid"))
        fail_msg("case %d (%s) is %s", id(test), text(test, "comment"), text(test, "result"));
    tally->ran++;
}

static void
raw_signatures_are_judged_as_the_vectors_say(void **state)
{
    struct tally t = each_test(*state, "ecdsa_secp256r1_sha256_p1363_test.json", ecdsa_p1363);

    assert_true(t.ran > 200);
}

/* The public point of a private key, computed outside the chip. */
static void
point_of(const uint8_t scalar[SCALAR_LEN], uint8_t out[POINT_LEN])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *d = BN_bin2bn(scalar, SCALAR_LEN, NULL);

    assert_int_equal(EC_POINT_mul(group, point, d, NULL, NULL, NULL), 1);
    assert_int_equal(
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, POINT_LEN, NULL),
        POINT_LEN);
    BN_free(d);
    EC_POINT_free(point);
    EC_GROUP_free(group);
}

/* Inject the test's private key, which the vectors write with any number of leading zeros. */
static void
inject(struct bench *b, const json_t *test)
{
    struct bytes given;
    uint8_t pair[SCALAR_LEN + POINT_LEN] = { 0 };

    hex_field(test, "private", &given);
    for (size_t i = 0; i < given.len; i++) {
        uint8_t byte = given.at[given.len - 1 - i];

        if (i < SCALAR_LEN)
            pair[SCALAR_LEN - 1 - i] = byte;
        else
            assert_int_equal(byte, 0);
    }
    point_of(pair, &pair[SCALAR_LEN]);
    assert_int_equal(run(b, INS_PAIR_SET, 0, 0, SPAN(pair)), SW_OK);
}

static void
agree(struct bench *b, const json_t *test, struct span point, struct tally *tally)
{
    struct bytes shared;
    uint16_t sw;
    bool agrees;

    inject(b, test);
    hex_field(test, "shared", &shared);
    sw = run(b, INS_PAIR_ECDH, 0, 0, point);
    agrees = sw == SW_OK && span_eq(b->data, span_of(shared.at, shared.len));
    if (sw != SW_OK)
        assert_int_equal(sw, SW_WRONG_DATA);
    if ((is(test, "valid") && !agrees) || (is(test, "invalid") && sw == SW_OK) ||
        (is(test, "acceptable") && sw == SW_OK && !agrees))
        fail_msg("case %d (%s) is %s", id(test), text(test, "comment"), text(test, "result"));
    tally->ran++;
}

static void
ecdh_point(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes point;

    (void)group;
    hex_field(test, "public", &point);
    agree(b, test, span_of(point.at, point.len), tally);
}

static void
key_agreement_with_points_is_as_the_vectors_say(void **state)
{
    struct tally t = each_test(*state, "ecdh_secp256r1_ecpoint_test.json", ecdh_point);

    assert_int_equal(t.left_out, 0);
    assert_true(t.ran > 300);
}

/* Only keys whose wrapping is the usual one: the chip never sees it and could not refuse others. */
static void
ecdh_spki(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes key;

    (void)group;
    hex_field(test, "public", &key);
    if (key.len != SPKI_LEN || memcmp(key.at, spki_prefix, sizeof spki_prefix) != 0) {
        assert_false(is(test, "valid"));
        tally->left_out++;
        return;
    }
    agree(b, test, span_of(&key.at[sizeof spki_prefix], POINT_LEN), tally);
}

static void
key_agreement_with_key_files_is_as_the_vectors_say(void **state)
{
    struct tally t = each_test(*state, "ecdh_secp256r1_test.json", ecdh_spki);

    assert_true(t.ran > 330);
}

static bool
openssl_verifies(const uint8_t point[POINT_LEN], struct span hash, struct span sig)
{
    uint8_t spki[SPKI_LEN];
    struct wr w = wr_of(spki, sizeof spki);
    const unsigned char *at = spki;
    EVP_PKEY *key;
    EVP_PKEY_CTX *ctx;
    bool valid;

    wr_span(&w, SPAN(spki_prefix));
    wr_bytes(&w, point, POINT_LEN);
    key = d2i_PUBKEY(NULL, &at, SPKI_LEN);
    assert_non_null(key);
    ctx = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
    valid = EVP_PKEY_verify(ctx, sig.ptr, sig.len, hash.ptr, hash.len) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return valid;
}

/* Every private key of the vectors, edge cases of the group among them, signs. */
static void
sign_one(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    uint8_t point[POINT_LEN];
    uint8_t hash[HASH_LEN];

    (void)group;
    inject(b, test);
    assert_int_equal(run(b, INS_PAIR_GET, 0, 0, (struct span){ 0 }), SW_OK);
    assert_int_equal(b->data.len, POINT_LEN);
    memcpy(point, b->data.ptr, POINT_LEN);
    memset(hash, id(test) & 0xff, sizeof hash);
    assert_int_equal(run(b, INS_PAIR_SIGN, 0, 0, SPAN(hash)), SW_OK);
    assert_true(openssl_verifies(point, SPAN(hash), b->data));
    hash[31] ^= 1;
    assert_false(openssl_verifies(point, SPAN(hash), b->data));
    tally->ran++;
}

static void
signatures_of_every_vector_key_verify_in_openssl(void **state)
{
    (void)each_test(*state, "ecdh_secp256r1_ecpoint_test.json", sign_one);
}

enum { KEY_LEN = 16, SLOTS_MAX = 4 };

/* INS 42: the secret into slots from 0 on, zeros behind it up to a whole slot; gives P1 of its use.
 */
static uint8_t
put_secret(struct bench *b, struct span secret)
{
    uint8_t bytes[SLOTS_MAX * KEY_LEN] = { 0 };
    size_t count = secret.len == 0 ? 1 : (secret.len + KEY_LEN - 1) / KEY_LEN;

    assert_true(count <= SLOTS_MAX);
    if (secret.len > 0)
        memcpy(bytes, secret.ptr, secret.len);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(
            run(b, INS_SYM_SET, (uint8_t)i, 1, span_of(&bytes[i * KEY_LEN], KEY_LEN)), SW_OK);
    return (uint8_t)(count << 4);
}

/* HMAC pads a key to a block with zeros, as put_secret does. A short tag is the head of the long.
 */
static void
hmac(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes key;
    struct bytes msg;
    struct bytes tag;
    uint8_t p1;
    size_t half;
    bool valid;

    (void)group;
    hex_field(test, "key", &key);
    hex_field(test, "msg", &msg);
    hex_field(test, "tag", &tag);
    if (key.len > SLOTS_MAX * KEY_LEN || msg.len > APDU_DATA_MAX) {
        tally->left_out++;
        return;
    }
    p1 = put_secret(b, span_of(key.at, key.len));
    assert_int_equal(run(b, INS_SYM_HMAC, p1, 0, span_of(msg.at, msg.len)), SW_OK);
    assert_int_equal(b->data.len, HASH_LEN);
    valid = span_eq(span_of(b->data.ptr, tag.len), span_of(tag.at, tag.len));
    half = msg.len / 2;
    assert_int_equal(run(b, INS_SYM_HMAC, p1, 1, span_of(msg.at, half)), SW_OK);
    assert_int_equal(run(b, INS_SYM_HMAC, p1, 3, span_of(&msg.at[half], msg.len - half)), SW_OK);
    if (valid != is(test, "valid") ||
        valid != span_eq(span_of(b->data.ptr, tag.len), span_of(tag.at, tag.len)))
        fail_msg("case %d (%s) is %s", id(test), text(test, "comment"), text(test, "result"));
    tally->ran++;
}

static void
hmacs_in_one_and_in_two_commands_are_those_of_the_vectors(void **state)
{
    struct tally t = each_test(*state, "hmac_sha256_test.json", hmac);

    assert_true(t.ran > 160);
}

static void
hkdf(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    size_t size = (size_t)json_integer_value(json_object_get(test, "size"));
    struct bytes ikm;
    struct bytes salt;
    struct bytes info;
    struct bytes okm;
    uint8_t data[APDU_DATA_MAX];
    struct wr w = wr_of(data, sizeof data);

    (void)group;
    hex_field(test, "ikm", &ikm);
    hex_field(test, "salt", &salt);
    hex_field(test, "info", &info);
    if (ikm.len % KEY_LEN != 0 || ikm.len > SLOTS_MAX * KEY_LEN || size > APDU_DATA_MAX) {
        tally->left_out++; /* no secret of the chip, or more than it gives */
        return;
    }
    hex_field(test, "okm", &okm);
    assert_true(is(test, "valid"));
    wr_u8(&w, (uint8_t)salt.len);
    wr_bytes(&w, salt.at, salt.len);
    wr_u8(&w, (uint8_t)info.len);
    wr_bytes(&w, info.at, info.len);
    assert_false(w.failed);
    assert_int_equal(run(b, INS_SYM_HKDF, put_secret(b, span_of(ikm.at, ikm.len)), (uint8_t)size,
                         span_of(data, wr_len(&w))),
        SW_OK);
    if (!span_eq(b->data, span_of(okm.at, okm.len)))
        fail_msg("case %d (%s) gives other bytes", id(test), text(test, "comment"));
    tally->ran++;
}

static void
hkdf_outputs_are_those_of_the_vectors(void **state)
{
    struct tally t = each_test(*state, "hkdf_sha256_test.json", hkdf);

    assert_true(t.ran > 50);
}

/* The key that came out of its wrapping must do the same as the one the vector names. */
static void
wrapped_symmetric(
    struct bench *b, const json_t *test, const struct bytes *msg, const struct bytes *wrapped)
{
    uint8_t want[HASH_LEN];
    bool valid = run(b, INS_SYM_SET, 0, 2, span_of(wrapped->at, wrapped->len)) == SW_OK;

    if (valid != is(test, "valid"))
        fail_msg("case %d (%s) is %s", id(test), text(test, "comment"), text(test, "result"));
    if (!valid)
        return;
    assert_int_equal(run(b, INS_SYM_HMAC, 0x10, 0, span_str("x")), SW_OK);
    memcpy(want, b->data.ptr, sizeof want);
    assert_int_equal(run(b, INS_SYM_SET, 0, 1, span_of(msg->at, msg->len)), SW_OK);
    assert_int_equal(run(b, INS_SYM_HMAC, 0x10, 0, span_str("x")), SW_OK);
    assert_memory_equal(b->data.ptr, want, sizeof want);
}

static void
wrapped_private(
    struct bench *b, const struct bytes *key, const struct bytes *msg, const struct bytes *wrapped)
{
    uint8_t data[40 + POINT_LEN];
    uint8_t point[POINT_LEN];
    uint8_t want[SCALAR_LEN];

    point_of(msg->at, point);
    assert_int_equal(run(b, INS_CONFIG_SET, 1, 1, span_of(key->at, key->len)), SW_OK);
    memcpy(data, wrapped->at, 40);
    memcpy(&data[40], point, POINT_LEN);
    assert_int_equal(run(b, INS_PAIR_SET, 0, 0, SPAN(data)), SW_OK);
    assert_int_equal(run(b, INS_PAIR_ECDH, 0, 0, SPAN(point)), SW_OK);
    memcpy(want, b->data.ptr, sizeof want);
    memcpy(&data[8], msg->at, SCALAR_LEN);
    assert_int_equal(run(b, INS_PAIR_SET, 1, 0, span_of(&data[8], SCALAR_LEN + POINT_LEN)), SW_OK);
    assert_int_equal(run(b, INS_PAIR_ECDH, 1, 0, SPAN(point)), SW_OK);
    assert_memory_equal(b->data.ptr, want, sizeof want);
}

static void
key_wrap(struct bench *b, const json_t *group, const json_t *test, struct tally *tally)
{
    struct bytes key;
    struct bytes msg;
    struct bytes wrapped;

    (void)group;
    hex_field(test, "key", &key);
    hex_field(test, "msg", &msg);
    hex_field(test, "ct", &wrapped);
    if (key.len != KEY_LEN || msg.len == 24 || wrapped.len > APDU_DATA_MAX) {
        tally->left_out++; /* AES-192 and 256; no object of that size */
        return;
    }
    if (msg.len == SCALAR_LEN && is(test, "valid")) {
        wrapped_private(b, &key, &msg, &wrapped);
    } else {
        (void)put_secret(b, span_of(key.at, key.len));
        if (msg.len != KEY_LEN) /* lengths of no wrapped key of the chip */
            assert_int_equal(
                run(b, INS_SYM_SET, 0, 2, span_of(wrapped.at, wrapped.len)), SW_WRONG_DATA);
        else
            wrapped_symmetric(b, test, &msg, &wrapped);
    }
    tally->ran++;
}

static void
wrapped_keys_are_judged_as_the_vectors_say(void **state)
{
    struct tally t = each_test(*state, "aes_wrap_test.json", key_wrap);

    assert_true(t.ran > 35);
}

#define with_chip(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_chip(der_signatures_are_judged_as_the_vectors_say),
        with_chip(raw_signatures_are_judged_as_the_vectors_say),
        with_chip(key_agreement_with_points_is_as_the_vectors_say),
        with_chip(key_agreement_with_key_files_is_as_the_vectors_say),
        with_chip(signatures_of_every_vector_key_verify_in_openssl),
        with_chip(hmacs_in_one_and_in_two_commands_are_those_of_the_vectors),
        with_chip(hkdf_outputs_are_those_of_the_vectors),
        with_chip(wrapped_keys_are_judged_as_the_vectors_say),
    };

    return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
