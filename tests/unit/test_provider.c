/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the OpenSSL provider: the module as built, in library contexts of their own, over a
 * real a71chd on a Unix socket. Signatures are verified in a context that never saw the module.
 */
#include "a71ch.h"
#include "base/file.h"
#include "openssl/core/reason.h"
#include "openssl/core/shared_chip.h"
#include "wire/refkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip_daemon.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define OURS "provider=e2a71ch"

enum { THREADS = 8, SIGNATURES_PER_THREAD = 20 };

struct world {
    char dir[64];
    char address[96];
    pid_t daemon;
    OSSL_LIB_CTX *ctx; /* default and e2a71ch, by a configuration file */
    OSSL_LIB_CTX *plain;
    uint8_t der[REFKEY_DER_MAX]; /* reference to pair 0 */
    size_t der_len;
    struct refkey ref;
};

static const uint8_t text[] = "the quick brown fox";

/* --- the chip's server ---------------------------------------------------------------------- */

static void
start_daemon(struct world *w)
{
    w->daemon = chip_daemon_start(w->dir, w->address);
}

static void
stop_daemon(struct world *w)
{
    chip_daemon_stop(&w->daemon);
}

/* One figure of a71chd --stats. */
static long
count_of(const struct world *w, const char *name)
{
    return chip_daemon_count(w->address, name);
}

static void
write_reference(struct world *w, uint8_t class_id, uint8_t index)
{
    struct wr out = wr_of(w->der, sizeof w->der);

    w->ref.class_id = class_id;
    w->ref.index = index;
    assert_int_equal(refkey_build_sec1(&out, &w->ref), BM_OK);
    w->der_len = wr_len(&out);
}

static void
make_pair(struct world *w)
{
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pair_generate(chip, 0), A71CH_OK);
    assert_int_equal(a71ch_pair_get_public(chip, 0, w->ref.point), A71CH_OK);
    a71ch_close(chip);
    w->ref.has_point = true;
    write_reference(w, REFKEY_CLASS_PAIR, 0);
}

static OSSL_LIB_CTX *
new_context(const struct world *w, const char *address)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    struct buf conf = { 0 };
    char path[96];

    buf_addf(&conf,
        "openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\ne2a71ch = e\n[d]\nactivate = 1\n"
        "[e]\nmodule = %s\nactivate = 1\naddress = %s\n",
        MODULE, address);
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
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/bm-provider-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "unix:%s/sock", w->dir);
    start_daemon(w);
    make_pair(w);
    w->ctx = new_context(w, w->address);
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
    stop_daemon(w);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    ERR_clear_error();
    return 0;
}

/* --- keys and signatures -------------------------------------------------------------------- */

static EVP_PKEY *
try_load(OSSL_LIB_CTX *ctx, const uint8_t *der, size_t len)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *d =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, "DER", NULL, "EC", EVP_PKEY_KEYPAIR, ctx, NULL);

    assert_non_null(d);
    (void)OSSL_DECODER_from_data(d, &der, &len);
    OSSL_DECODER_CTX_free(d);
    return pkey;
}

static EVP_PKEY *
load(const struct world *w)
{
    EVP_PKEY *pkey = try_load(w->ctx, w->der, w->der_len);

    assert_non_null(pkey);
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(pkey)), "e2a71ch");
    return pkey;
}

static bool
sign_with(OSSL_LIB_CTX *ctx, EVP_PKEY *pkey, const char *digest, uint8_t sig[160], size_t *len)
{
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    bool ok;

    *len = 160;
    ok = EVP_DigestSignInit_ex(m, NULL, digest, ctx, NULL, pkey, NULL) == 1 &&
         EVP_DigestSign(m, sig, len, text, sizeof text) == 1;
    EVP_MD_CTX_free(m);
    return ok;
}

static EVP_PKEY *
public_of(OSSL_LIB_CTX *ctx, const struct refkey *ref)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(ctx, "EC", NULL);
    char group[] = "prime256v1";
    struct refkey copy = *ref;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group - 1),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy.point, sizeof copy.point),
        OSSL_PARAM_END,
    };
    EVP_PKEY *pkey = NULL;

    assert_int_equal(EVP_PKEY_fromdata_init(c), 1);
    assert_int_equal(EVP_PKEY_fromdata(c, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(c);
    return pkey;
}

static bool
verify_with(OSSL_LIB_CTX *ctx, EVP_PKEY *pkey, const char *digest, const uint8_t *sig, size_t len)
{
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(m, NULL, digest, ctx, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(m, sig, len, text, sizeof text) == 1;

    EVP_MD_CTX_free(m);
    return ok;
}

static bool
chip_signature_is_good(const struct world *w, const char *digest, const uint8_t *sig, size_t len)
{
    EVP_PKEY *pub = public_of(w->plain, &w->ref);
    bool ok = verify_with(w->plain, pub, digest, sig, len);

    EVP_PKEY_free(pub);
    return ok;
}

/* Does the queue hold this reason of ours? Empties it. */
static bool
raised(int reason, const char *words)
{
    const char *data;
    int flags;
    unsigned long e;
    bool found = false;

    while ((e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        const char *lib = ERR_lib_error_string(e);

        if (lib != NULL && strcmp(lib, "e2a71ch") == 0 && ERR_GET_REASON(e) == reason &&
            (flags & ERR_TXT_STRING) != 0 && strstr(data, words) != NULL)
            found = true;
    }
    return found;
}

static void
every_digest_is_signed_in_the_chip_by_one_command(void **state)
{
    static const char *const digests[] = { "SHA1", "SHA224", "SHA256", "SHA384", "SHA512",
        "SHA3-256", "sha256", "SHA2-384" };
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);

    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        uint8_t sig[160];
        size_t len;
        long before = count_of(w, "signatures");

        assert_true(sign_with(w->ctx, pkey, digests[i], sig, &len));
        assert_true(chip_signature_is_good(w, digests[i], sig, len));
        assert_true(verify_with(w->ctx, pkey, digests[i], sig, len));
        sig[len - 1] ^= 1;
        assert_false(verify_with(w->ctx, pkey, digests[i], sig, len));
        assert_int_equal(count_of(w, "signatures"), before + 1);
    }
    EVP_PKEY_free(pkey);
}

static void
loading_and_asking_send_nothing_to_the_chip(void **state)
{
    struct world *w = *state;
    long before = count_of(w, "commands");
    EVP_PKEY *pkey = load(w);
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    size_t len = 0;
    char group[32];

    assert_int_equal(EVP_DigestSignInit_ex(m, NULL, NULL, w->ctx, NULL, pkey, NULL), 1);
    assert_int_equal(EVP_DigestSign(m, NULL, &len, text, sizeof text), 1);
    assert_int_equal(len, 72);
    assert_int_equal(EVP_PKEY_get_size(pkey), 72);
    assert_int_equal(EVP_PKEY_get_bits(pkey), 256);
    assert_int_equal(EVP_PKEY_get_security_bits(pkey), 128);
    assert_int_equal(EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL), 1);
    assert_string_equal(group, "prime256v1");
    assert_int_equal(EVP_PKEY_get_default_digest_name(pkey, group, sizeof group), 1);
    assert_string_equal(group, "SHA256");
    assert_int_equal(count_of(w, "commands"), before);
    EVP_MD_CTX_free(m);
    EVP_PKEY_free(pkey);
}

static void
private_half_is_not_exported_and_the_refusal_is_silent(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    OSSL_PARAM *params = NULL;
    BIGNUM *scalar = NULL;

    ERR_clear_error();
    assert_int_not_equal(EVP_PKEY_todata(pkey, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(ERR_peek_error(), 0);
    assert_null(params);
    assert_int_not_equal(EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar), 1);
    ERR_clear_error();
    assert_int_equal(EVP_PKEY_todata(pkey, EVP_PKEY_PUBLIC_KEY, &params), 1);
    assert_non_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PUB_KEY));
    assert_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY));
    OSSL_PARAM_free(params);
    EVP_PKEY_free(pkey);
}

static void
copies_of_key_and_context_sign_too(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    EVP_PKEY *copy = EVP_PKEY_dup(pkey);
    EVP_MD_CTX *m = EVP_MD_CTX_new();
    EVP_MD_CTX *n = EVP_MD_CTX_new();
    uint8_t sig[160];
    size_t len = sizeof sig;

    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_eq(pkey, copy), 1);
    EVP_PKEY_free(pkey);
    assert_int_equal(EVP_DigestSignInit_ex(m, NULL, "SHA256", w->ctx, NULL, copy, NULL), 1);
    assert_int_equal(EVP_DigestSignUpdate(m, text, 5), 1);
    assert_int_equal(EVP_MD_CTX_copy_ex(n, m), 1);
    EVP_MD_CTX_free(m);
    assert_int_equal(EVP_DigestSignUpdate(n, text + 5, sizeof text - 5), 1);
    assert_int_equal(EVP_DigestSignFinal(n, sig, &len), 1);
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    EVP_MD_CTX_free(n);
    EVP_PKEY_free(copy);
}

static void
check_written_again(const struct world *w, const EVP_PKEY *pkey)
{
    OSSL_ENCODER_CTX *e =
        OSSL_ENCODER_CTX_new_for_pkey(pkey, EVP_PKEY_KEYPAIR, "DER", "type-specific", NULL);
    unsigned char *der = NULL;
    size_t len = 0;

    assert_int_equal(OSSL_ENCODER_to_data(e, &der, &len), 1);
    assert_true(span_eq(span_of(der, len), span_of(w->der, w->der_len)));
    OPENSSL_free(der);
    OSSL_ENCODER_CTX_free(e);
}

static void
written_again_the_key_is_the_same_reference(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);

    check_written_again(w, pkey);
    EVP_PKEY_free(pkey);
}

static EVP_PKEY *
generate(OSSL_LIB_CTX *ctx, const char *query, const char *group)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(ctx, "EC", query);
    EVP_PKEY *pkey = NULL;

    assert_non_null(c);
    assert_int_equal(EVP_PKEY_keygen_init(c), 1);
    assert_int_equal(EVP_PKEY_CTX_set_group_name(c, group), 1);
    assert_int_equal(EVP_PKEY_generate(c, &pkey), 1);
    EVP_PKEY_CTX_free(c);
    return pkey;
}

static size_t
derive(OSSL_LIB_CTX *ctx, EVP_PKEY *key, EVP_PKEY *peer, bool x963, uint8_t *out, size_t cap)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(ctx, key, NULL);
    char kdf[] = "X963KDF";
    char digest[] = "SHA256";
    uint8_t ukm[] = { 1, 2, 3 };
    size_t kdf_len = 48;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf, sizeof kdf - 1),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, ukm, sizeof ukm),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, &kdf_len),
        OSSL_PARAM_END,
    };
    size_t len = 0;

    assert_int_equal(EVP_PKEY_derive_init_ex(c, x963 ? params : NULL), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(c, peer), 1);
    assert_int_equal(EVP_PKEY_derive(c, NULL, &len), 1);
    assert_true(len <= cap);
    assert_int_equal(EVP_PKEY_derive(c, out, &len), 1);
    EVP_PKEY_CTX_free(c);
    return len;
}

static void
secrets_agree_with_software_with_and_without_kdf(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    EVP_PKEY *pub = public_of(w->plain, &w->ref);
    EVP_PKEY *peer = generate(w->plain, NULL, "P-256");
    uint8_t point[65];
    size_t point_len = 0;
    struct refkey peer_ref = { .has_point = true };
    EVP_PKEY *peer_pub;
    uint8_t a[64];
    uint8_t b[64];

    assert_int_equal(EVP_PKEY_get_octet_string_param(
                         peer, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &point_len),
        1);
    memcpy(peer_ref.point, point, sizeof point);
    peer_pub = public_of(w->ctx, &peer_ref);
    for (int x963 = 0; x963 < 2; x963++) {
        size_t len = derive(w->ctx, pkey, peer_pub, x963 != 0, a, sizeof a);

        assert_int_equal(derive(w->plain, peer, pub, x963 != 0, b, sizeof b), len);
        assert_memory_equal(a, b, len);
    }
    assert_int_equal(count_of(w, "ecdh"), 2);
    EVP_PKEY_free(peer_pub);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(pub);
    EVP_PKEY_free(pkey);
}

/* Our "EC" may be picked for anything: SPEC openssl 1.5. */
static void
ordinary_keys_of_every_curve_work_in_this_provider(void **state)
{
    static const char *const groups[] = { "P-256", "P-384", "P-521", "secp256k1",
        "brainpoolP256r1" };
    struct world *w = *state;
    long before = count_of(w, "commands");

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        EVP_PKEY *key = generate(w->ctx, OURS, groups[i]);
        EVP_PKEY *other = generate(w->ctx, OURS, groups[i]);
        EVP_PKEY *copy = EVP_PKEY_dup(key);
        EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(w->ctx, key, OURS);
        uint8_t sig[160];
        uint8_t a[80];
        uint8_t b[80];
        size_t len;

        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "e2a71ch");
        assert_true(sign_with(w->ctx, key, "SHA256", sig, &len));
        assert_true(verify_with(w->ctx, copy, "SHA256", sig, len));
        assert_false(verify_with(w->ctx, other, "SHA256", sig, len));
        assert_int_equal(EVP_PKEY_eq(key, copy), 1);
        assert_int_equal(EVP_PKEY_eq(key, other), 0);
        assert_int_equal(EVP_PKEY_check(check), 1);
        len = derive(w->ctx, key, other, false, a, sizeof a);
        assert_int_equal(derive(w->ctx, other, key, false, b, sizeof b), len);
        assert_memory_equal(a, b, len);
        EVP_PKEY_CTX_free(check);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(other);
        EVP_PKEY_free(key);
    }
    assert_int_equal(count_of(w, "commands"), before);
}

/* As TLS does with a peer's share: parameters copied, then the point set. */
static void
peer_key_is_made_from_parameters_and_encoded_point(void **state)
{
    struct world *w = *state;
    EVP_PKEY *mine = generate(w->ctx, OURS, "P-384");
    EVP_PKEY *theirs = generate(w->plain, NULL, "P-384");
    EVP_PKEY *share = EVP_PKEY_new();
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(theirs, &point);

    assert_int_equal(EVP_PKEY_copy_parameters(share, mine), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(share, point, len), 1);
    assert_int_equal(EVP_PKEY_get_bits(share), 384);
    assert_int_equal(EVP_PKEY_eq(share, theirs), 1);
    point[len - 1] ^= 1;
    assert_int_not_equal(EVP_PKEY_set1_encoded_public_key(share, point, len), 1);
    OPENSSL_free(point);
    EVP_PKEY_free(share);
    EVP_PKEY_free(theirs);
    EVP_PKEY_free(mine);
}

static void
reference_that_others_decoded_is_caught_at_import(void **state)
{
    struct world *w = *state;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(w->ctx, "EC", OURS);
    EVP_PKEY *foreign = try_load(w->plain, w->der, w->der_len);
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = NULL;
    uint8_t sig[160];
    size_t len;

    assert_int_equal(EVP_PKEY_todata(foreign, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(c), 1);
    assert_int_equal(EVP_PKEY_fromdata(c, &pkey, EVP_PKEY_KEYPAIR, params), 1);
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    assert_int_equal(count_of(w, "signatures"), 1);
    OSSL_PARAM_free(params);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(foreign);
    EVP_PKEY_CTX_free(c);
}

static void
reference_to_what_cannot_sign_is_an_error_and_never_software(void **state)
{
    struct world *w = *state;
    static const uint8_t names[][2] = { { REFKEY_CLASS_PUB, 0 }, { REFKEY_CLASS_PAIR, 4 },
        { REFKEY_CLASS_PAIR, 255 }, { 0x30, 0 } };
    uint8_t sig[160];
    size_t len;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        EVP_PKEY *pkey;

        write_reference(w, names[i][0], names[i][1]);
        pkey = load(w);
        ERR_clear_error();
        assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
        assert_true(raised(REASON_NOT_A_PAIR, "file refers to"));
        EVP_PKEY_free(pkey);
    }
    assert_int_equal(count_of(w, "signatures"), 0);
}

/* The later middleware's files: the slot is not in them. */
static void
reference_by_key_id_is_found_by_its_public_key(void **state)
{
    struct world *w = *state;
    static const uint8_t classes[] = { REFKEY_CLASS_PAIR, REFKEY_CLASS_NONE };
    uint8_t moved[REFKEY_POINT_LEN];
    uint8_t sig[160];
    size_t len;
    EVP_PKEY *pkey;
    a71ch *chip;

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pair_generate(chip, 2), A71CH_OK);
    assert_int_equal(a71ch_pair_get_public(chip, 2, w->ref.point), A71CH_OK);
    w->ref.key_id = 0x7dccbbaa;
    for (size_t i = 0; i < sizeof classes; i++) {
        EVP_PKEY *copy;

        write_reference(w, classes[i], 0);
        pkey = load(w);
        for (int again = 0; again < 2; again++) {
            assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
            assert_true(chip_signature_is_good(w, "SHA256", sig, len));
        }
        check_written_again(w, pkey);
        copy = EVP_PKEY_dup(pkey);
        assert_true(sign_with(w->ctx, copy, "SHA256", sig, &len));
        EVP_PKEY_free(copy);
        EVP_PKEY_free(pkey);
    }
    /* the key moves: noticed, and found again at the next attempt */
    pkey = load(w);
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_int_equal(a71ch_pair_generate(chip, 2), A71CH_OK);
    ERR_clear_error();
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(raised(REASON_WRONG_SLOT, "key pair 2"));
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(raised(REASON_WRONG_SLOT, "key id 7dccbbaa"));
    EVP_PKEY_free(pkey);
    assert_int_equal(a71ch_pair_get_public(chip, 2, moved), A71CH_OK);
    memcpy(w->ref.point, moved, sizeof moved);
    write_reference(w, REFKEY_CLASS_PAIR, 0);
    pkey = load(w);
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    EVP_PKEY_free(pkey);
    a71ch_close(chip);
}

/* SPEC a71ch 9.3: a reference of class 20. */
static void
reference_to_a_public_key_verifies_in_the_chip(void **state)
{
    static const char *const digests[] = { "SHA1", "SHA256", "SHA512" };
    struct world *w = *state;
    EVP_PKEY *theirs = generate(w->plain, NULL, "P-256");
    uint8_t sig[160];
    size_t len;
    long before;
    EVP_PKEY *pkey;
    a71ch *chip;

    assert_int_equal(EVP_PKEY_get_octet_string_param(theirs, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                         w->ref.point, sizeof w->ref.point, &len),
        1);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 1, w->ref.point, sizeof w->ref.point), A71CH_OK);
    write_reference(w, REFKEY_CLASS_PUB, 1);
    pkey = load(w);
    assert_true(sign_with(w->plain, theirs, "SHA224", sig, &len));
    assert_true(verify_with(w->ctx, pkey, "SHA224", sig, len)); /* connects */
    before = count_of(w, "commands");
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        assert_true(sign_with(w->plain, theirs, digests[i], sig, &len));
        assert_true(verify_with(w->ctx, pkey, digests[i], sig, len));
        sig[len - 1] ^= 1;
        assert_false(verify_with(w->ctx, pkey, digests[i], sig, len));
    }
    assert_false(verify_with(w->ctx, pkey, "SHA256", sig, 5));
    assert_int_equal(count_of(w, "commands"), before + 6);
    EVP_PKEY_free(pkey);
    /* another key in the slot: neither answer is given */
    write_reference(w, REFKEY_CLASS_PUB, 2);
    assert_int_equal(a71ch_pub_set(chip, 2, w->ref.point, sizeof w->ref.point), A71CH_OK);
    assert_int_equal(a71ch_pair_get_public(chip, 0, w->ref.point), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 1, w->ref.point, sizeof w->ref.point), A71CH_OK);
    a71ch_close(chip);
    pkey = load(w);
    assert_true(sign_with(w->plain, theirs, "SHA256", sig, &len));
    assert_true(verify_with(w->ctx, pkey, "SHA256", sig, len));
    EVP_PKEY_free(pkey);
    w->der[38] = 1; /* the last byte of the scalar, the slot */
    pkey = load(w);
    ERR_clear_error();
    assert_false(verify_with(w->ctx, pkey, "SHA256", sig, len));
    assert_true(raised(REASON_WRONG_SLOT, "public key 1"));
    EVP_PKEY_free(pkey);
    w->der[38] = 3;
    pkey = load(w);
    assert_false(verify_with(w->ctx, pkey, "SHA256", sig, len));
    assert_true(raised(REASON_NOT_A_PAIR, "0 to 2"));
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(theirs);
}

static EVP_PKEY *
generate_in_slot(const struct world *w, unsigned slot, const char *group)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(w->ctx, "EC", OURS);
    EVP_PKEY *pkey = NULL;
    const OSSL_PARAM params[] = { OSSL_PARAM_uint("a71ch-pair", &slot), OSSL_PARAM_END };

    assert_int_equal(EVP_PKEY_keygen_init(c), 1);
    if (group != NULL)
        assert_int_equal(EVP_PKEY_CTX_set_group_name(c, group), 1);
    if (EVP_PKEY_CTX_set_params(c, params) == 1)
        (void)EVP_PKEY_generate(c, &pkey);
    EVP_PKEY_CTX_free(c);
    return pkey;
}

static void
key_is_generated_in_an_empty_slot_when_asked_for(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = generate_in_slot(w, 1, "P-256");
    uint8_t sig[160];
    size_t len;

    assert_non_null(pkey);
    assert_int_equal(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                         w->ref.point, sizeof w->ref.point, &len),
        1);
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    assert_int_equal(count_of(w, "signatures"), 1);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    assert_null(generate_in_slot(w, 1, NULL));
    assert_true(raised(REASON_SLOT_TAKEN, "erase pair -x 1"));
    assert_null(generate_in_slot(w, 2, "P-384"));
    assert_true(raised(REASON_PARAMETER, "P-256"));
    assert_null(generate_in_slot(w, 4, NULL));
    assert_true(raised(REASON_PARAMETER, "0 to 3"));
}

static void
slot_that_holds_another_key_is_told_before_the_peer_sees_it(void **state)
{
    struct world *w = *state;
    uint8_t point[REFKEY_POINT_LEN];
    uint8_t sig[160];
    size_t len;
    EVP_PKEY *pkey;

    memcpy(point, w->ref.point, sizeof point);
    make_pair(w); /* the slot is filled again */
    memcpy(w->ref.point, point, sizeof point);
    write_reference(w, REFKEY_CLASS_PAIR, 0);
    pkey = load(w);
    ERR_clear_error();
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(raised(REASON_WRONG_SLOT, "key pair 0"));
    write_reference(w, REFKEY_CLASS_PAIR, 3); /* never filled */
    EVP_PKEY_free(pkey);
    pkey = load(w);
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(raised(REASON_CHIP_REFUSED, "key pair 3"));
    EVP_PKEY_free(pkey);
}

static void
reference_without_public_key_is_refused(void **state)
{
    struct world *w = *state;
    struct buf der = { 0 };

    assert_int_equal(
        file_read(SOURCE_DIR "/tests/fuzz/corpus/refkey/pair0_nopub.der", 4096, &der, NULL), BM_OK);
    assert_null(try_load(w->ctx, der.ptr, der.len));
    assert_true(raised(REASON_NO_PUBLIC_KEY, "slot 0"));
    buf_fini(&der);
}

static void
deterministic_signatures_are_refused_by_chip_keys(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(w->ctx, pkey, NULL);
    unsigned type = 1;
    const OSSL_PARAM params[] = { OSSL_PARAM_uint("nonce-type", &type), OSSL_PARAM_END };

    assert_int_not_equal(EVP_PKEY_sign_init_ex(c, params), 1);
    assert_true(raised(REASON_PARAMETER, "nonce"));
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(pkey);
}

static void
input_of_wrong_length_or_small_buffer_costs_no_signature(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(w->ctx, pkey, NULL);
    const uint8_t hash[32] = { 1 };
    uint8_t sig[72];
    size_t len = 71;

    assert_int_equal(EVP_PKEY_sign_init(c), 1);
    assert_int_not_equal(EVP_PKEY_sign(c, sig, &len, hash, sizeof hash), 1);
    assert_true(raised(REASON_BUFFER, "71"));
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(c, EVP_sha384()), 1);
    len = sizeof sig;
    assert_int_not_equal(EVP_PKEY_sign(c, sig, &len, hash, sizeof hash), 1);
    assert_true(raised(REASON_DIGEST_LENGTH, "32 bytes"));
    assert_int_equal(count_of(w, "signatures"), 0);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(pkey);
}

/* --- names instead of files ----------------------------------------------------------------- */

static void
put_certificate(const struct world *w, uint8_t index, EVP_PKEY *subject_key, const char *subject,
    EVP_PKEY *issuer_key, const char *issuer)
{
    X509 *x = X509_new_ex(w->plain, NULL);
    X509_NAME *name = X509_NAME_new();
    unsigned char *der = NULL;
    a71ch *chip;
    int len;

    assert_int_equal(X509_NAME_add_entry_by_txt(
                         name, "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0),
        1);
    assert_int_equal(X509_set_subject_name(x, name), 1);
    X509_NAME_free(name);
    name = X509_NAME_new();
    assert_int_equal(X509_NAME_add_entry_by_txt(
                         name, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0),
        1);
    assert_int_equal(X509_set_issuer_name(x, name), 1);
    X509_NAME_free(name);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
    assert_int_equal(X509_set_pubkey(x, subject_key), 1);
    assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    len = i2d_X509(x, &der);
    assert_true(len > 0);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    /* with room after it, as the vendor's tool leaves */
    assert_int_equal(
        a71ch_object_write(chip, A71CH_CERTIFICATE, index, der, (size_t)len, (size_t)len + 64),
        A71CH_OK);
    a71ch_close(chip);
    OPENSSL_free(der);
    X509_free(x);
}

/* What a name gives, as "key cn:leaf cn:issuer"; `expect` 0: everything. Keys go to *pkey. */
static const char *
loaded(const struct world *w, const char *uri, int expect, EVP_PKEY **pkey)
{
    static char seen[256];
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, w->ctx, NULL, NULL, NULL, NULL, NULL, NULL);
    struct wr out = wr_of((uint8_t *)seen, sizeof seen - 1);

    memset(seen, 0, sizeof seen);
    if (store == NULL)
        return NULL;
    if (expect != 0)
        assert_int_equal(OSSL_STORE_expect(store, expect), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        char word[64] = "";

        if (info == NULL) {
            if (OSSL_STORE_error(store))
                (void)snprintf(word, sizeof word, "error ");
        } else if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_CERT) {
            char cn[32] = "";

            (void)X509_NAME_get_text_by_NID(X509_get_subject_name(OSSL_STORE_INFO_get0_CERT(info)),
                NID_commonName, cn, sizeof cn);
            (void)snprintf(word, sizeof word, "%s ", cn);
        } else if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY) {
            (void)snprintf(word, sizeof word, "key ");
            if (pkey != NULL)
                *pkey = OSSL_STORE_INFO_get1_PKEY(info);
        } else if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PUBKEY) {
            (void)snprintf(word, sizeof word, "pubkey ");
            if (pkey != NULL)
                *pkey = OSSL_STORE_INFO_get1_PUBKEY(info);
        }
        OSSL_STORE_INFO_free(info);
        wr_bytes(&out, (const uint8_t *)word, strlen(word));
    }
    assert_int_equal(OSSL_STORE_close(store), 1);
    return seen;
}

static void
name_gives_key_certificate_and_its_issuers(void **state)
{
    struct world *w = *state;
    EVP_PKEY *root = generate(w->plain, NULL, "P-256");
    EVP_PKEY *middle = generate(w->plain, NULL, "P-256");
    EVP_PKEY *device = public_of(w->plain, &w->ref);
    static const uint8_t damage[] = { 0x30, 0x03, 2, 1, 1, 0 };
    EVP_PKEY *pkey = NULL;
    uint8_t sig[160];
    size_t len;
    long before;
    a71ch *chip;

    before = count_of(w, "commands");
    assert_string_equal(loaded(w, "a71ch:pair=0", OSSL_STORE_INFO_PKEY, &pkey), "key ");
    assert_int_equal(count_of(w, "commands"), before + 2); /* select, public key */
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    EVP_PKEY_free(pkey);
    assert_string_equal(loaded(w, "a71ch:pair=0", 0, NULL), "key "); /* no certificates */
    assert_string_equal(loaded(w, "a71ch:pair=0", OSSL_STORE_INFO_CERT, NULL), "error ");
    assert_true(raised(REASON_NO_CERTIFICATE, "pair=0"));

    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(
        a71ch_object_write(chip, A71CH_CERTIFICATE, 9, damage, sizeof damage, 0), A71CH_OK);
    assert_int_equal(a71ch_object_write(chip, A71CH_DATA, 0, damage, sizeof damage, 0), A71CH_OK);
    a71ch_close(chip);
    put_certificate(w, 0, root, "root", root, "root");
    put_certificate(w, 1, middle, "middle", root, "root");
    put_certificate(w, 2, middle, "other", middle, "middle");
    put_certificate(w, 3, device, "device", middle, "middle");
    assert_string_equal(loaded(w, "a71ch:pair=0", 0, NULL), "key device middle root ");
    assert_string_equal(
        loaded(w, "A71CH:pair=0", OSSL_STORE_INFO_CERT, NULL), "device middle root ");
    assert_string_equal(loaded(w, "a71ch:cert=2", 0, NULL), "other ");
    assert_string_equal(loaded(w, "a71ch:cert=9", 0, NULL), "error ");
    assert_true(raised(REASON_NO_CERTIFICATE, "cert=9"));
    EVP_PKEY_free(device);
    EVP_PKEY_free(middle);
    EVP_PKEY_free(root);
}

static void
name_gives_public_halves_and_stored_public_keys(void **state)
{
    struct world *w = *state;
    EVP_PKEY *theirs = generate(w->plain, NULL, "P-256");
    uint8_t point[A71CH_POINT_LEN];
    EVP_PKEY *pkey = NULL;
    uint8_t sig[160];
    size_t len;
    long before;
    a71ch *chip;

    assert_string_equal(loaded(w, "a71ch:pair=0", OSSL_STORE_INFO_PUBKEY, &pkey), "pubkey ");
    ERR_clear_error();
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    ERR_clear_error();
    EVP_PKEY_free(pkey);
    assert_int_equal(EVP_PKEY_get_octet_string_param(
                         theirs, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &len),
        1);
    assert_int_equal(a71ch_open(w->address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 1, point, sizeof point), A71CH_OK);
    a71ch_close(chip);
    assert_true(sign_with(w->plain, theirs, "SHA256", sig, &len));
    assert_string_equal(loaded(w, "a71ch:pub=1", OSSL_STORE_INFO_PUBKEY, &pkey), "pubkey ");
    before = count_of(w, "commands");
    assert_true(verify_with(w->ctx, pkey, "SHA256", sig, len));
    assert_int_equal(count_of(w, "commands"), before + 1);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(theirs);
}

static void
name_that_is_none_or_a_slot_that_is_empty_is_told(void **state)
{
    static const char *const wrong[] = { "a71ch:", "a71ch:pair", "a71ch:pair=", "a71ch:pair=4",
        "a71ch:pair=0x0", "a71ch:pair=-1", "a71ch:pair= 1", "a71ch:pub=3", "a71ch:cert=256",
        "a71ch:pair=0;", "a71ch:key=0", "a71ch:pair=18446744073709551616" };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(loaded(w, wrong[i], 0, NULL));
        if (!raised(REASON_URI, wrong[i]))
            fail_msg("%s", wrong[i]);
    }
    assert_string_equal(loaded(w, "a71ch:pair=3", 0, NULL), "error ");
    assert_true(raised(REASON_CHIP_REFUSED, "key pair 3"));
    stop_daemon(w);
    assert_string_equal(loaded(w, "a71ch:pair=0", 0, NULL), "error ");
    assert_true(raised(REASON_CHIP_ABSENT, w->dir));
}

/* --- the chip comes and goes ---------------------------------------------------------------- */

static void
absent_chip_is_told_with_its_address_and_a_later_one_is_used(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    uint8_t sig[160];
    size_t len;

    stop_daemon(w);
    ERR_clear_error();
    assert_false(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(raised(REASON_CHIP_ABSENT, w->dir));
    start_daemon(w);
    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    EVP_PKEY_free(pkey);
}

static void
server_restarted_between_two_signatures_is_not_noticed(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    uint8_t sig[160];
    size_t len;

    for (int i = 0; i < 3; i++) {
        assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
        assert_true(chip_signature_is_good(w, "SHA256", sig, len));
        stop_daemon(w);
        start_daemon(w);
    }
    EVP_PKEY_free(pkey);
}

struct signer {
    const struct world *w;
    EVP_PKEY *pkey;
    atomic_int good;
};

static void *
sign_many(void *arg)
{
    struct signer *s = arg;
    EVP_PKEY *pub = public_of(s->w->plain, &s->w->ref);

    for (int i = 0; i < SIGNATURES_PER_THREAD; i++) {
        uint8_t sig[160];
        size_t len;

        if (sign_with(s->w->ctx, s->pkey, "SHA256", sig, &len) &&
            verify_with(s->w->plain, pub, "SHA256", sig, len))
            (void)atomic_fetch_add(&s->good, 1);
    }
    EVP_PKEY_free(pub);
    return NULL;
}

static void
threads_share_one_key(void **state)
{
    struct signer s = { .w = *state, .pkey = load(*state) };
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_many, &s), 0);
    for (size_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&s.good), THREADS * SIGNATURES_PER_THREAD);
    assert_int_equal(count_of(s.w, "signatures"), THREADS * SIGNATURES_PER_THREAD);
    EVP_PKEY_free(s.pkey);
}

/* In a child: exit code 0 when two signatures are good. */
static void
sign_and_exit(const struct world *w, EVP_PKEY *pkey)
{
    (void)alarm(20);
    for (int i = 0; i < 2; i++) {
        uint8_t sig[160];
        size_t len;

        if (!sign_with(w->ctx, pkey, "SHA256", sig, &len) ||
            !chip_signature_is_good(w, "SHA256", sig, len))
            _exit(1);
    }
    _exit(0);
}

static void
forked_children_and_their_parent_sign_at_once(void **state)
{
    struct world *w = *state;
    EVP_PKEY *pkey = load(w);
    pid_t children[4];
    uint8_t sig[160];
    size_t len;

    assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len)); /* connected before the fork */
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            sign_and_exit(w, pkey);
        assert_true(sign_with(w->ctx, pkey, "SHA256", sig, &len));
        assert_true(chip_signature_is_good(w, "SHA256", sig, len));
    }
    for (size_t i = 0; i < sizeof children / sizeof *children; i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count_of(w, "signatures"), 1 + 4 + 4 * 2);
    EVP_PKEY_free(pkey);
}

struct holder {
    struct shared_chip *chip;
    atomic_int done;
    atomic_bool stop;
};

static bool
sign_below_openssl(struct shared_chip *chip)
{
    const uint8_t hash[A71CH_HASH_LEN] = { 7 };
    uint8_t sig[A71CH_SIGNATURE_MAX];
    size_t len;

    return shared_chip_sign(chip, 0, hash, sig, &len, NULL) == BM_OK;
}

static void *
hold_the_chip(void *arg)
{
    struct holder *h = arg;

    while (!atomic_load(&h->stop) && sign_below_openssl(h->chip))
        (void)atomic_fetch_add(&h->done, 1);
    return NULL;
}

/* Below OpenSSL, whose own locks do not survive such a fork; nor does a sanitizer's allocator. */
static void
child_forked_while_another_thread_is_at_the_chip_gets_its_own_connection(void **state)
{
    struct world *w = *state;
    struct holder h = { .chip = shared_chip_new(w->address) };
    pthread_t thread;

#if SANITIZED
    shared_chip_free(h.chip);
    print_message(
        "skip - fork beside a busy thread: a sanitizer's allocator does not survive it\n");
    skip();
#endif
    assert_int_equal(pthread_create(&thread, NULL, hold_the_chip, &h), 0);
    for (int i = 0; i < 30; i++) {
        int had = atomic_load(&h.done);
        int status = -1;
        pid_t pid;

        while (atomic_load(&h.done) == had)
            (void)sched_yield();
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)alarm(20);
            _exit(sign_below_openssl(h.chip) && sign_below_openssl(h.chip) ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    atomic_store(&h.stop, true);
    (void)pthread_join(thread, NULL);
    assert_true(sign_below_openssl(h.chip));
    shared_chip_free(h.chip);
}

static void
two_contexts_use_two_chips_and_end_independently(void **state)
{
    struct world *one = *state;
    void *second = NULL;
    struct world *two;
    EVP_PKEY *a;
    EVP_PKEY *b;
    uint8_t sig[160];
    size_t len;

    assert_int_equal(set_up(&second), 0);
    two = second;
    for (int i = 0; i < 3; i++) { /* loaded and unloaded beside the two */
        OSSL_LIB_CTX *passing = new_context(one, one->address);
        EVP_PKEY *pkey = try_load(passing, one->der, one->der_len);

        assert_true(sign_with(passing, pkey, "SHA256", sig, &len));
        EVP_PKEY_free(pkey);
        OSSL_LIB_CTX_free(passing);
    }
    a = load(one);
    b = load(two);
    assert_true(sign_with(one->ctx, a, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(one, "SHA256", sig, len));
    assert_true(sign_with(two->ctx, b, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(two, "SHA256", sig, len));
    EVP_PKEY_free(b);
    assert_int_equal(tear_down(&second), 0);
    assert_true(sign_with(one->ctx, a, "SHA256", sig, &len));
    assert_true(chip_signature_is_good(one, "SHA256", sig, len));
    EVP_PKEY_free(a);
}

static int
count_group(const OSSL_PARAM params[], void *arg)
{
    (void)params;
    (*(int *)arg)++;
    return 1;
}

static void
tls_groups_of_the_default_provider_are_offered_again(void **state)
{
    struct world *w = *state;
    OSSL_PROVIDER *p = OSSL_PROVIDER_load(w->ctx, "e2a71ch");
    int groups = 0;

    assert_int_equal(OSSL_PROVIDER_get_capabilities(p, "TLS-GROUP", count_group, &groups), 1);
    assert_true(groups >= 5);
    assert_int_equal(OSSL_PROVIDER_unload(p), 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(every_digest_is_signed_in_the_chip_by_one_command),
        T(loading_and_asking_send_nothing_to_the_chip),
        T(private_half_is_not_exported_and_the_refusal_is_silent),
        T(copies_of_key_and_context_sign_too),
        T(written_again_the_key_is_the_same_reference),
        T(secrets_agree_with_software_with_and_without_kdf),
        T(ordinary_keys_of_every_curve_work_in_this_provider),
        T(peer_key_is_made_from_parameters_and_encoded_point),
        T(reference_that_others_decoded_is_caught_at_import),
        T(reference_to_what_cannot_sign_is_an_error_and_never_software),
        T(reference_by_key_id_is_found_by_its_public_key),
        T(reference_to_a_public_key_verifies_in_the_chip),
        T(key_is_generated_in_an_empty_slot_when_asked_for),
        T(slot_that_holds_another_key_is_told_before_the_peer_sees_it),
        T(reference_without_public_key_is_refused),
        T(deterministic_signatures_are_refused_by_chip_keys),
        T(input_of_wrong_length_or_small_buffer_costs_no_signature),
        T(name_gives_key_certificate_and_its_issuers),
        T(name_gives_public_halves_and_stored_public_keys),
        T(name_that_is_none_or_a_slot_that_is_empty_is_told),
        T(absent_chip_is_told_with_its_address_and_a_later_one_is_used),
        T(server_restarted_between_two_signatures_is_not_noticed),
        T(threads_share_one_key),
        T(forked_children_and_their_parent_sign_at_once),
        T(child_forked_while_another_thread_is_at_the_chip_gets_its_own_connection),
        T(two_contexts_use_two_chips_and_end_independently),
        T(tls_groups_of_the_default_provider_are_offered_again),
    };

    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
