/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See engine.h: the EC method. OpenSSL's own sign and verify come down to sign_sig and verify_sig
 * of the key's method, so these two and ECDH are all that is replaced. SPEC a71ch 9.2, 9.3
 */
#include "openssl/engine/engine.h"

#include <openssl/bn.h>
#include <string.h>

typedef ECDSA_SIG *sign_sig_fn(
    const unsigned char *digest, int len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key);
typedef int verify_sig_fn(const unsigned char *digest, int len, const ECDSA_SIG *sig, EC_KEY *key);
typedef int compute_key_fn(
    unsigned char **secret, size_t *len, const EC_POINT *peer, const EC_KEY *key);

/* OpenSSL's own, for every key but ours */
static sign_sig_fn *
soft_sign(void)
{
    sign_sig_fn *fn = NULL;

    EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), NULL, NULL, &fn);
    return fn;
}

static verify_sig_fn *
soft_verify(void)
{
    verify_sig_fn *fn = NULL;

    EC_KEY_METHOD_get_verify(EC_KEY_OpenSSL(), NULL, &fn);
    return fn;
}

static compute_key_fn *
soft_compute_key(void)
{
    compute_key_fn *fn = NULL;

    EC_KEY_METHOD_get_compute_key(EC_KEY_OpenSSL(), &fn);
    return fn;
}

static bool
is_p256(const EC_KEY *key)
{
    const EC_GROUP *group = EC_KEY_get0_group(key);

    return group != NULL && EC_GROUP_get_curve_name(group) == NID_X9_62_prime256v1;
}

static bool
is_reference(const EC_KEY *key, struct refkey *ref)
{
    const BIGNUM *scalar = EC_KEY_get0_private_key(key);
    uint8_t bytes[REFKEY_SCALAR_LEN];
    bool is = false;

    if (scalar != NULL && is_p256(key) &&
        BN_bn2binpad(scalar, bytes, sizeof bytes) == (int)sizeof bytes)
        is = refkey_from_scalar(SPAN(bytes), ref);
    bm_wipe(bytes, sizeof bytes); /* an ordinary key's, most of the time */
    return is;
}

static bool
point_of(const EC_POINT *p, uint8_t out[A71CH_POINT_LEN])
{
    EC_GROUP *p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    bool ok = p != NULL && p256 != NULL &&
              EC_POINT_point2oct(p256, p, POINT_CONVERSION_UNCOMPRESSED, out, A71CH_POINT_LEN,
                  NULL) == A71CH_POINT_LEN;

    EC_GROUP_free(p256);
    return ok;
}

/*
 * The slot of a key pair that the reference means: as it says, or where its public key is found. A
 * reference to anything else is an error and never software. false: raised.
 */
static bool
find_pair(struct shared_chip *chip, const struct refkey *ref, const EC_KEY *key, unsigned *slot)
{
    uint8_t point[A71CH_POINT_LEN];
    struct bm_msg msg = { "" };
    enum bm_err err;

    *slot = ref->index;
    if ((ref->class_id != REFKEY_CLASS_PAIR && ref->class_id != REFKEY_CLASS_NONE) ||
        (refkey_names_slot(ref) && ref->index >= A71CH_PAIR_COUNT)) {
        (void)engine_raise(REASON_NOT_A_PAIR,
            "the key refers to class %02x, slot %u; a private operation wants a key pair, class "
            "10, slots 0 to %d",
            ref->class_id, ref->index, A71CH_PAIR_COUNT - 1);
        return false;
    }
    if (refkey_names_slot(ref))
        return true;
    if (!point_of(EC_KEY_get0_public_key(key), point)) {
        (void)engine_raise(REASON_NO_PUBLIC_KEY, "reference with key id %08x", ref->key_id);
        return false;
    }
    err = shared_chip_find(chip, REFKEY_CLASS_PAIR, point, slot, &msg);
    if (err != BM_OK)
        (void)engine_raise(reason_of(err), "key id %08x: %s", ref->key_id, msg.text);
    return err == BM_OK;
}

static ECDSA_SIG *
sign_in_chip(const struct refkey *ref, const unsigned char *digest, int len, EC_KEY *key)
{
    struct shared_chip *chip = engine_chip();
    uint8_t hash[A71CH_HASH_LEN];
    uint8_t der[A71CH_SIGNATURE_MAX];
    const uint8_t *at = der;
    size_t der_len = 0;
    struct bm_msg msg = { "" };
    unsigned slot;
    ECDSA_SIG *sig;
    enum bm_err err;

    if (chip == NULL || !find_pair(chip, ref, key, &slot))
        return NULL;
    shared_chip_fit(hash, digest, (size_t)len);
    err = shared_chip_sign(chip, slot, hash, der, &der_len, &msg);
    if (err != BM_OK) {
        (void)engine_raise(reason_of(err), "%s", msg.text);
        return NULL;
    }
    sig = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
    /* A slot that was filled again since the file was written would show as "bad signature" on
     * the far side of a network; a fault in the chip would too. */
    if (sig == NULL || soft_verify()(hash, sizeof hash, sig, key) != 1) {
        ECDSA_SIG_free(sig);
        (void)engine_raise(REASON_WRONG_SLOT,
            "the signature of key pair %u does not fit the public key in the file; the slot holds "
            "another key now, or this is another chip: write the file again with a71chConfig "
            "refpem",
            slot);
        return NULL;
    }
    engine_log(ENGINE_LOG_FLOW, "signed with key pair %u", slot);
    return sig;
}

static ECDSA_SIG *
sign_sig(const unsigned char *digest, int len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
{
    struct refkey ref;

    if (is_reference(key, &ref))
        return sign_in_chip(&ref, digest, len, key); /* which draws its own nonce */
    engine_log(ENGINE_LOG_DEBUG, "an ordinary key signs in software");
    return soft_sign()(digest, len, kinv, r, key);
}

/* 1 fits, 0 does not, -1 raised */
static int
verify_in_chip(const struct refkey *ref, const unsigned char *digest, int len, const ECDSA_SIG *sig)
{
    struct shared_chip *chip = engine_chip();
    uint8_t hash[A71CH_HASH_LEN];
    struct bm_msg msg = { "" };
    unsigned char *der = NULL;
    int der_len = i2d_ECDSA_SIG(sig, &der);
    bool valid = false;
    enum bm_err err;

    if (chip == NULL || der_len <= 0) {
        OPENSSL_free(der);
        return -1;
    }
    shared_chip_fit(hash, digest, (size_t)len);
    err = shared_chip_verify(chip, ref->index, hash, span_of(der, (size_t)der_len), &valid, &msg);
    OPENSSL_free(der);
    if (err != BM_OK) {
        (void)engine_raise(reason_of(err), "%s", msg.text);
        return -1;
    }
    engine_log(ENGINE_LOG_FLOW, "verified with public key %u", ref->index);
    return valid ? 1 : 0;
}

/* Only a reference to a stored public key goes to the chip. */
static int
verify_sig(const unsigned char *digest, int len, const ECDSA_SIG *sig, EC_KEY *key)
{
    struct refkey ref;

    if (is_reference(key, &ref) && ref.class_id == REFKEY_CLASS_PUB && refkey_names_slot(&ref))
        return verify_in_chip(&ref, digest, len, sig);
    return soft_verify()(digest, len, sig, key);
}

static int
compute_in_chip(const struct refkey *ref, unsigned char **secret, size_t *len, const EC_POINT *peer,
    const EC_KEY *key)
{
    struct shared_chip *chip = engine_chip();
    uint8_t point[A71CH_POINT_LEN];
    struct bm_msg msg = { "" };
    unsigned char *out;
    unsigned slot;
    enum bm_err err;

    if (chip == NULL || !find_pair(chip, ref, key, &slot))
        return 0;
    if (!point_of(peer, point))
        return engine_raise(REASON_PEER, "ECDH with key pair %u", slot);
    out = OPENSSL_malloc(A71CH_SECRET_LEN);
    if (out == NULL)
        return engine_raise(REASON_MEMORY, "ECDH with key pair %u", slot);
    err = shared_chip_ecdh(chip, slot, point, out, &msg);
    if (err != BM_OK) {
        OPENSSL_free(out);
        return engine_raise(reason_of(err), "%s", msg.text);
    }
    *secret = out;
    *len = A71CH_SECRET_LEN;
    engine_log(ENGINE_LOG_FLOW, "agreed on a secret with key pair %u", slot);
    return 1;
}

static int
compute_key(unsigned char **secret, size_t *len, const EC_POINT *peer, const EC_KEY *key)
{
    struct refkey ref;

    if (is_reference(key, &ref))
        return compute_in_chip(&ref, secret, len, peer, key);
    return soft_compute_key()(secret, len, peer, key);
}

EC_KEY_METHOD *
engine_ec_method(void)
{
    EC_KEY_METHOD *m = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    int (*sign)(int, const unsigned char *, int, unsigned char *, unsigned int *, const BIGNUM *,
        const BIGNUM *, EC_KEY *) = NULL;
    int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **) = NULL;
    int (*check)(int, const unsigned char *, int, const unsigned char *, int, EC_KEY *) = NULL;

    if (m == NULL)
        return NULL;
    EC_KEY_METHOD_get_sign(m, &sign, &setup, NULL);
    EC_KEY_METHOD_set_sign(m, sign, setup, sign_sig);
    EC_KEY_METHOD_get_verify(m, &check, NULL);
    EC_KEY_METHOD_set_verify(m, check, verify_sig);
    EC_KEY_METHOD_set_compute_key(m, compute_key);
    return m;
}
