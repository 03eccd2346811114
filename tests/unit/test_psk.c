/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of PSKs in the chip: the provider's key derivations with a reference, over a real
 * a71chd, beside the default provider's with the real secret, and the published values of RFC 8448.
 */
#include "a71ch.h"
#include "base/bytes.h"
#include "base/file.h"
#include "openssl/core/hello.h"
#include "openssl/core/reason.h"
#include "wire/refpsk.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "chip_daemon.h"

enum { HASH_LEN = 32, PSK_LEN = 16, PREMASTER_LEN = 4 + 2 * PSK_LEN };

static const uint8_t psk[PSK_LEN] = "0123456789abcdef";

struct world {
    char dir[64];
    char address[96];
    pid_t daemon;
    OSSL_LIB_CTX *ctx;   /* default and e2a71ch, with ?a71ch.psk=yes */
    OSSL_LIB_CTX *plain; /* default */
    uint8_t premaster[PREMASTER_LEN];
    uint8_t early[HASH_LEN];
    uint8_t ref[REFPSK_LEN];
};

static void
premaster_of(uint8_t out[PREMASTER_LEN], const uint8_t key[PSK_LEN])
{
    struct wr w = wr_of(out, PREMASTER_LEN);

    wr_u16(&w, PSK_LEN);
    wr_u64(&w, 0);
    wr_u64(&w, 0);
    wr_u16(&w, PSK_LEN);
    wr_bytes(&w, key, PSK_LEN);
    assert_false(w.failed);
}

static void
store(const struct world *w, unsigned first, const uint8_t *secret, size_t len)
{
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    for (size_t at = 0; at < len; at += A71CH_KEY_LEN) {
        uint8_t slot[A71CH_KEY_LEN] = { 0 };

        memcpy(slot, secret + at, len - at < sizeof slot ? len - at : sizeof slot);
        assert_int_equal(
            a71ch_sym_set(chip, first + (unsigned)(at / A71CH_KEY_LEN), slot, sizeof slot),
            A71CH_OK);
    }
    a71ch_close(chip);
}

static OSSL_LIB_CTX *
new_context(const struct world *w)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    struct buf conf = { 0 };
    char path[128];

    assert_non_null(ctx);
    buf_addf(&conf,
        "openssl_conf = init\n[init]\nproviders = provs\nalg_section = algs\n"
        "[algs]\ndefault_properties = ?a71ch.psk=yes\n"
        "[provs]\ndefault = def\ne2a71ch = chip\n[def]\nactivate = 1\n[chip]\nmodule = %s\n"
        "activate = 1\naddress = %s\n",
        MODULE, w->address);
    (void)snprintf(path, sizeof path, "%s/conf", w->dir);
    assert_int_equal(file_write(path, buf_span(&conf), 0600, NULL), BM_OK);
    buf_fini(&conf);
    assert_int_equal(OSSL_LIB_CTX_load_config(ctx, path), 1);
    assert_int_equal(OSSL_PROVIDER_available(ctx, "e2a71ch"), 1);
    return ctx;
}

static int
set_up(void **state)
{
    static const uint8_t zeros[HASH_LEN];
    struct refpsk ref = { REFPSK_HMAC, { 0, 3 }, { 3, 2 } };
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/bm-psk-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "unix:%s/sock", w->dir);
    w->daemon = chip_daemon_start(w->dir, w->address);
    premaster_of(w->premaster, psk);
    assert_non_null(HMAC(EVP_sha256(), zeros, sizeof zeros, psk, sizeof psk, w->early, NULL));
    store(w, 0, w->premaster, sizeof w->premaster);
    store(w, 3, w->early, sizeof w->early);
    assert_int_equal(refpsk_build(w->ref, &ref), BM_OK);
    w->ctx = new_context(w);
    w->plain = OSSL_LIB_CTX_new();
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    OSSL_LIB_CTX_free(w->ctx);
    OSSL_LIB_CTX_free(w->plain);
    chip_daemon_stop(&w->daemon);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    return 0;
}

static EVP_KDF_CTX *
new_kdf(OSSL_LIB_CTX *ctx, const char *name)
{
    EVP_KDF *kdf = EVP_KDF_fetch(ctx, name, NULL);
    EVP_KDF_CTX *c;

    assert_non_null(kdf);
    c = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    assert_non_null(c);
    return c;
}

static OSSL_PARAM
octets(const char *name, struct span bytes)
{
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes.ptr, bytes.len);
}

static OSSL_PARAM
digest_param(const char *digest)
{
    return OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
}

/* The seed in two parts, as libssl gives it. */
static int
prf(OSSL_LIB_CTX *ctx, const char *digest, struct span secret, struct span label, struct span seed,
    uint8_t *out, size_t len)
{
    EVP_KDF_CTX *c = new_kdf(ctx, "TLS1-PRF");
    const OSSL_PARAM params[] = { digest_param(digest), octets(OSSL_KDF_PARAM_SECRET, secret),
        octets(OSSL_KDF_PARAM_SEED, label), octets(OSSL_KDF_PARAM_SEED, seed), OSSL_PARAM_END };
    int ok = EVP_KDF_derive(c, out, len, params);

    EVP_KDF_CTX_free(c);
    return ok;
}

static int
tls13(OSSL_LIB_CTX *ctx, int mode, struct span key, struct span salt, const char *label,
    struct span data, uint8_t *out, size_t len)
{
    EVP_KDF_CTX *c = new_kdf(ctx, "TLS13-KDF");
    OSSL_PARAM params[8];
    size_t n = 0;
    int ok;

    params[n++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    params[n++] = digest_param("SHA256");
    if (key.ptr != NULL)
        params[n++] = octets(OSSL_KDF_PARAM_KEY, key);
    if (salt.ptr != NULL)
        params[n++] = octets(OSSL_KDF_PARAM_SALT, salt);
    params[n++] = octets(OSSL_KDF_PARAM_PREFIX, span_str("tls13 "));
    params[n++] = octets(OSSL_KDF_PARAM_LABEL, span_str(label));
    if (data.ptr != NULL)
        params[n++] = octets(OSSL_KDF_PARAM_DATA, data);
    params[n] = OSSL_PARAM_construct_end();
    ok = EVP_KDF_derive(c, out, len, params);
    EVP_KDF_CTX_free(c);
    return ok;
}

enum { EXTRACT = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, EXPAND = EVP_KDF_HKDF_MODE_EXPAND_ONLY };

static bool
raised(int reason)
{
    bool found = false;
    unsigned long code;

    while ((code = ERR_get_error()) != 0)
        found = found || ERR_GET_REASON(code) == reason;
    return found;
}

static void
master_secrets_are_those_of_the_real_key(void **state)
{
    static const char *const labels[] = { "master secret", "extended master secret", "x" };
    struct world *w = *state;
    uint8_t stand_in[PREMASTER_LEN];
    uint8_t seed[64];
    uint8_t ours[100];
    uint8_t theirs[100];

    memset(seed, 7, sizeof seed);
    premaster_of(stand_in, w->ref);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        for (size_t len = 1; len <= sizeof ours; len += 33) {
            size_t seed_len = i == 1 ? 32 : 64;

            assert_int_equal(prf(w->ctx, "SHA2-256", SPAN(stand_in), span_str(labels[i]),
                                 span_of(seed, seed_len), ours, len),
                1);
            assert_int_equal(prf(w->plain, "SHA256", SPAN(w->premaster), span_str(labels[i]),
                                 span_of(seed, seed_len), theirs, len),
                1);
            assert_memory_equal(ours, theirs, len);
        }
    }
}

static void
other_secrets_never_reach_the_chip(void **state)
{
    struct world *w = *state;
    long before = chip_daemon_count(w->address, "commands");
    uint8_t secret[48] = { 3, 3 };
    uint8_t ours[48];
    uint8_t theirs[48];

    for (int i = 0; i < 2; i++) { /* a random one, and the premaster of a real PSK */
        struct span s = i == 0 ? SPAN(secret) : SPAN(w->premaster);

        for (int d = 0; d < 2; d++) {
            const char *digest = d == 0 ? "SHA256" : "SHA384";

            assert_int_equal(
                prf(w->ctx, digest, s, span_str("a"), span_str("b"), ours, sizeof ours), 1);
            assert_int_equal(
                prf(w->plain, digest, s, span_str("a"), span_str("b"), theirs, sizeof theirs), 1);
            assert_memory_equal(ours, theirs, sizeof ours);
        }
    }
    assert_int_equal(tls13(w->ctx, EXTRACT, SPAN(psk), (struct span){ 0 }, "derived",
                         (struct span){ 0 }, ours, HASH_LEN),
        1);
    assert_memory_equal(ours, w->early, HASH_LEN);
    assert_int_equal(chip_daemon_count(w->address, "commands"), before);
}

static void
tls13_schedule_is_that_of_the_real_key(void **state)
{
    static const char *const labels[] = { "ext binder", "c e traffic", "e exp master", "derived" };
    struct world *w = *state;
    const struct span none = { 0 };
    uint8_t shared[HASH_LEN] = { 9, 8, 7 };
    uint8_t data[HASH_LEN] = { 1, 2 };
    uint8_t early[HASH_LEN];
    uint8_t ours[HASH_LEN];
    uint8_t theirs[HASH_LEN];

    assert_int_equal(
        tls13(w->ctx, EXTRACT, SPAN(w->ref), none, "derived", none, early, sizeof early), 1);
    assert_memory_not_equal(early, w->early, sizeof early);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        assert_int_equal(
            tls13(w->ctx, EXPAND, SPAN(early), none, labels[i], SPAN(data), ours, HASH_LEN), 1);
        assert_int_equal(
            tls13(w->plain, EXPAND, SPAN(w->early), none, labels[i], SPAN(data), theirs, HASH_LEN),
            1);
        assert_memory_equal(ours, theirs, HASH_LEN);
    }
    for (int i = 0; i < 2; i++) { /* psk_dhe_ke, psk_ke */
        struct span ikm = i == 0 ? SPAN(shared) : none;

        assert_int_equal(
            tls13(w->ctx, EXTRACT, ikm, SPAN(early), "derived", none, ours, HASH_LEN), 1);
        assert_int_equal(
            tls13(w->plain, EXTRACT, ikm, SPAN(w->early), "derived", none, theirs, HASH_LEN), 1);
        assert_memory_equal(ours, theirs, HASH_LEN);
    }
}

/* RFC 8448 4, "Resumed 0-RTT Handshake": the early secret and what comes of it. */
static void
published_values_of_tls13_come_out(void **state)
{
    struct world *w = *state;
    const struct span none = { 0 };
    const struct refpsk_secret where = { 5, 2 };
    struct refpsk ref = { REFPSK_HMAC, { 0, 0 }, where };
    uint8_t stand_in[REFPSK_LEN];
    uint8_t secret[HASH_LEN];
    uint8_t empty_hash[HASH_LEN];
    uint8_t early[HASH_LEN];
    uint8_t out[HASH_LEN];
    uint8_t wanted[HASH_LEN];

    assert_int_equal(
        hex_decode(secret, sizeof secret,
            span_str("9b2188e9b2fc6d64d71dc329900e20bb41915000f678aa839cbb797cb7d8332c")),
        BM_OK);
    assert_int_equal(
        hex_decode(wanted, sizeof wanted,
            span_str("69fe131a3bbad5d63c64eebcc30e395b9d8107726a13d074e389dbc8a4e47256")),
        BM_OK);
    assert_int_equal(EVP_Digest("", 0, empty_hash, NULL, EVP_sha256(), NULL), 1);
    store(w, where.index, secret, sizeof secret);
    assert_int_equal(refpsk_build(stand_in, &ref), BM_OK);
    assert_int_equal(
        tls13(w->ctx, EXTRACT, SPAN(stand_in), none, "derived", none, early, sizeof early), 1);
    assert_int_equal(
        tls13(w->ctx, EXPAND, SPAN(early), none, "res binder", SPAN(empty_hash), out, HASH_LEN), 1);
    assert_memory_equal(out, wanted, sizeof out);
}

static void
a_reference_is_never_used_as_a_key(void **state)
{
    struct world *w = *state;
    const struct span none = { 0 };
    struct refpsk only13 = { REFPSK_HMAC, { 0, 0 }, { 3, 2 } };
    struct refpsk only12 = { REFPSK_HMAC, { 0, 3 }, { 0, 0 } };
    struct refpsk empty = { REFPSK_HMAC, { 6, 2 }, { 6, 2 } };
    uint8_t stand_in[PREMASTER_LEN];
    uint8_t ref[REFPSK_LEN];
    uint8_t early[HASH_LEN];
    uint8_t out[64];

    premaster_of(stand_in, w->ref); /* only SHA-256 */
    assert_int_not_equal(
        prf(w->ctx, "SHA384", SPAN(stand_in), span_str("a"), span_str("b"), out, 48), 1);
    assert_true(raised(REASON_DIGEST));
    stand_in[9] = 1; /* the other half of the premaster is not zero: DHE, ECDHE, RSA */
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(stand_in), span_str("a"), span_str("b"), out, 48), 1);
    assert_true(raised(REASON_PSK));
    assert_int_equal(refpsk_build(ref, &only13), BM_OK);
    premaster_of(stand_in, ref);
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(stand_in), span_str("a"), span_str("b"), out, 48), 1);
    assert_true(raised(REASON_PSK));
    assert_int_equal(refpsk_build(ref, &only12), BM_OK);
    assert_int_not_equal(tls13(w->ctx, EXTRACT, SPAN(ref), none, "derived", none, out, 32), 1);
    assert_true(raised(REASON_PSK));
    ref[15] = 1; /* broken */
    assert_int_not_equal(tls13(w->ctx, EXTRACT, SPAN(ref), none, "derived", none, out, 32), 1);
    assert_true(raised(REASON_PSK));
    premaster_of(stand_in, ref);
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(stand_in), span_str("a"), span_str("b"), out, 48), 1);
    assert_true(raised(REASON_PSK));
    assert_int_equal(refpsk_build(ref, &empty), BM_OK); /* empty slots: the chip says so */
    premaster_of(stand_in, ref);
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(stand_in), span_str("a"), span_str("b"), out, 48), 1);
    assert_true(raised(REASON_CHIP_REFUSED));
    /* and TLS 1.3 in ways that nobody asks for */
    assert_int_equal(
        tls13(w->ctx, EXTRACT, SPAN(w->ref), none, "derived", none, early, sizeof early), 1);
    assert_int_not_equal(tls13(w->ctx, EXPAND, SPAN(w->ref), none, "x", none, out, 32), 1);
    assert_int_not_equal(tls13(w->ctx, EXPAND, SPAN(early), none, "x", none, out, 64), 1);
    assert_int_not_equal(tls13(w->ctx, EXTRACT, SPAN(w->ref), SPAN(psk), "x", none, out, 32), 1);
    assert_int_not_equal(tls13(w->ctx, EXTRACT, SPAN(w->ref), SPAN(early), "x", none, out, 32), 1);
    chip_daemon_stop(&w->daemon);
    ERR_clear_error();
    assert_int_not_equal(tls13(w->ctx, EXPAND, SPAN(early), none, "x", none, out, 32), 1);
    assert_true(raised(REASON_CHIP_ABSENT));
}

static void
contexts_are_copied_and_reset(void **state)
{
    struct world *w = *state;
    EVP_KDF_CTX *c = new_kdf(w->ctx, "TLS1-PRF");
    EVP_KDF_CTX *copy;
    uint8_t stand_in[PREMASTER_LEN];
    uint8_t first[48];
    uint8_t second[48];
    const OSSL_PARAM params[] = { digest_param("SHA256"),
        octets(OSSL_KDF_PARAM_SECRET, SPAN(stand_in)),
        octets(OSSL_KDF_PARAM_SEED, span_str("seed")), OSSL_PARAM_END };

    premaster_of(stand_in, w->ref);
    assert_int_equal(EVP_KDF_CTX_set_params(c, params), 1);
    copy = EVP_KDF_CTX_dup(c); /* NULL where the default provider's cannot be copied: 3.0 */
    assert_int_equal(EVP_KDF_CTX_get_kdf_size(c), SIZE_MAX);
    assert_int_equal(EVP_KDF_derive(c, first, sizeof first, NULL), 1);
    EVP_KDF_CTX_reset(c);
    assert_int_not_equal(EVP_KDF_derive(c, second, sizeof second, NULL), 1); /* nothing set */
    assert_int_equal(EVP_KDF_derive(c, second, sizeof second, params), 1);
    assert_memory_equal(first, second, sizeof first);
    EVP_KDF_CTX_free(c);
    if (copy != NULL) {
        assert_int_equal(EVP_KDF_derive(copy, second, sizeof second, NULL), 1);
        assert_memory_equal(first, second, sizeof first);
    }
    EVP_KDF_CTX_free(copy);
}

/* --- the chip's own command ---------------------------------------------------------------- */

static const uint8_t server_random[A71CH_RANDOM_LEN] = "the server's thirty-two bytes..";

static void
master_of(struct world *w, struct span premaster, const uint8_t client_random[A71CH_RANDOM_LEN],
    uint8_t out[A71CH_MASTER_LEN])
{
    uint8_t seed[2 * A71CH_RANDOM_LEN];

    memcpy(seed, client_random, A71CH_RANDOM_LEN);
    memcpy(seed + A71CH_RANDOM_LEN, server_random, A71CH_RANDOM_LEN);
    assert_int_equal(prf(w->plain, "SHA256", premaster, span_str("master secret"), SPAN(seed), out,
                         A71CH_MASTER_LEN),
        1);
}

static void
native_master_is_that_of_the_real_key_once(void **state)
{
    struct world *w = *state;
    struct hello *h = hello_new(shared_chip_new(w->address), HELLO_NO_PAIR, false);
    uint8_t first[A71CH_RANDOM_LEN];
    uint8_t second[A71CH_RANDOM_LEN];
    uint8_t ours[A71CH_MASTER_LEN];
    uint8_t theirs[A71CH_MASTER_LEN];
    struct bm_msg msg = { "" };

    store(w, 5, psk, sizeof psk);
    assert_int_equal(hello_make(h, first, &msg), BM_OK);
    assert_int_equal(hello_make(h, second, &msg), BM_OK);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(
        hello_master(h, 5, 1, NULL, first, server_random, ours, &msg), BM_ERR_CONFLICT);
    assert_int_equal(hello_master(h, 5, 1, NULL, second, server_random, ours, &msg), BM_OK);
    master_of(w, SPAN(w->premaster), second, theirs);
    assert_memory_equal(ours, theirs, sizeof ours);
    assert_int_equal(
        hello_master(h, 5, 1, NULL, second, server_random, ours, &msg), BM_ERR_CONFLICT);
    /* the server of the chip was restarted: the chip has forgotten its random */
    assert_int_equal(hello_make(h, first, &msg), BM_OK);
    chip_daemon_stop(&w->daemon);
    w->daemon = chip_daemon_start(w->dir, w->address);
    assert_int_not_equal(hello_master(h, 5, 1, NULL, first, server_random, ours, &msg), BM_OK);
    assert_int_equal(hello_make(h, first, &msg), BM_OK);
    assert_int_equal(hello_master(h, 5, 1, NULL, first, server_random, ours, &msg), BM_OK);
    hello_free(h);
}

/* X of the point that both sides reach. */
static void
shared_with(struct world *w, EVP_PKEY *mine, const uint8_t point[A71CH_POINT_LEN],
    uint8_t out[A71CH_SECRET_LEN])
{
    EVP_PKEY *theirs = EVP_PKEY_new();
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(w->plain, mine, NULL);
    size_t len = A71CH_SECRET_LEN;

    assert_int_equal(EVP_PKEY_copy_parameters(theirs, mine), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(theirs, point, A71CH_POINT_LEN), 1);
    assert_int_equal(EVP_PKEY_derive_init(c), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(c, theirs), 1);
    assert_int_equal(EVP_PKEY_derive(c, out, &len), 1);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(theirs);
}

static void
native_ecdhe_master_is_that_of_the_real_key(void **state)
{
    struct world *w = *state;
    struct hello *h = hello_new(shared_chip_new(w->address), 2, true);
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(w->plain, NULL, "EC", "P-256");
    const uint8_t ticket[HELLO_TICKET_LEN] = { 1 };
    const uint8_t other[HELLO_TICKET_LEN] = { 2 };
    uint8_t premaster[2 + A71CH_SECRET_LEN + 2 + PSK_LEN];
    uint8_t point[A71CH_POINT_LEN];
    uint8_t renewed[A71CH_POINT_LEN];
    uint8_t random[A71CH_RANDOM_LEN];
    uint8_t ours[A71CH_MASTER_LEN];
    uint8_t theirs[A71CH_MASTER_LEN];
    uint8_t z[A71CH_SECRET_LEN];
    uint8_t *peer_point = NULL;
    struct wr out = wr_of(premaster, sizeof premaster);
    struct bm_msg msg = { "" };
    unsigned pair;
    a71ch *chip;

    store(w, 5, psk, sizeof psk);
    assert_int_equal(hello_make(h, random, &msg), BM_ERR_STATUS); /* no key in the slot */
    assert_int_equal(hello_point(h, &pair, point, &msg), BM_ERR_NOT_FOUND);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pair_generate(chip, 2), A71CH_OK);
    a71ch_close(chip);
    assert_int_equal(EVP_PKEY_get1_encoded_public_key(peer, &peer_point), A71CH_POINT_LEN);
    assert_int_equal(hello_make(h, random, &msg), BM_OK);
    assert_int_equal(hello_point(h, &pair, point, &msg), BM_OK);
    assert_int_equal(pair, 2);
    assert_int_equal(
        hello_master(h, 5, 1, ticket, random, server_random, ours, &msg), BM_ERR_CONFLICT);
    assert_int_equal(hello_set_peer(h, peer_point, ticket, &msg), BM_OK);
    assert_int_equal(
        hello_master(h, 5, 1, other, random, server_random, ours, &msg), BM_ERR_CONFLICT);
    assert_int_equal(hello_master(h, 5, 1, ticket, random, server_random, ours, &msg), BM_OK);
    shared_with(w, peer, point, z);
    wr_u16(&out, sizeof z);
    wr_span(&out, SPAN(z));
    wr_u16(&out, PSK_LEN);
    wr_bytes(&out, psk, PSK_LEN);
    master_of(w, SPAN(premaster), random, theirs);
    assert_memory_equal(ours, theirs, sizeof ours);
    assert_int_equal(hello_point(h, &pair, renewed, &msg), BM_ERR_NOT_FOUND); /* used up */
    assert_int_equal(hello_make(h, random, &msg), BM_OK);
    assert_int_equal(hello_point(h, &pair, renewed, &msg), BM_OK);
    assert_memory_not_equal(point, renewed, sizeof point);
    OPENSSL_free(peer_point);
    EVP_PKEY_free(peer);
    hello_free(h);
}

/* What libssl would do with a stand-in where it does not belong. */
static void
a_stand_in_for_a_shared_secret_is_never_used_as_one(void **state)
{
    static const char stand_in_hex[] =
        "a5a6b5b6a5a6b5b65a00000000000000000102030405060708090a0b0c0d0e0f";
    struct world *w = *state;
    uint8_t stand_in[A71CH_SECRET_LEN];
    uint8_t premaster[2 + A71CH_SECRET_LEN + 2 + PSK_LEN];
    struct wr with_psk = wr_of(premaster, sizeof premaster);
    uint8_t out[A71CH_MASTER_LEN];

    assert_int_equal(hex_decode(stand_in, sizeof stand_in, span_str(stand_in_hex)), BM_OK);
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(stand_in), span_str("master secret"), span_str("x"), out, 48),
        1);
    assert_true(raised(REASON_PSK));
    wr_u16(&with_psk, sizeof stand_in);
    wr_span(&with_psk, SPAN(stand_in));
    wr_u16(&with_psk, PSK_LEN);
    wr_bytes(&with_psk, psk, PSK_LEN); /* a real one */
    assert_int_not_equal(
        prf(w->ctx, "SHA256", SPAN(premaster), span_str("master secret"), span_str("x"), out, 48),
        1);
    assert_true(raised(REASON_PSK));
    assert_int_not_equal(tls13(w->ctx, EXTRACT, SPAN(stand_in), SPAN(psk), "derived",
                             (struct span){ 0 }, out, HASH_LEN),
        1);
    assert_true(raised(REASON_PSK));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            master_secrets_are_those_of_the_real_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_secrets_never_reach_the_chip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tls13_schedule_is_that_of_the_real_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(published_values_of_tls13_come_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reference_is_never_used_as_a_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contexts_are_copied_and_reset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            native_master_is_that_of_the_real_key_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            native_ecdhe_master_is_that_of_the_real_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_stand_in_for_a_shared_secret_is_never_used_as_one, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
