/* SPDX-License-Identifier: Apache-2.0 */
/* See provider.h: keys, ordinary and in the chip, and the operations in the chip. */
#include "openssl/provider/psk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define P256_NAME "prime256v1"

struct key *
key_new(struct prov *p)
{
    struct key *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    atomic_init(&k->refs, 1);
    atomic_init(&k->slot, -1);
    k->prov = prov_ref(p);
    return k;
}

struct key *
key_ref(struct key *k)
{
    (void)atomic_fetch_add(&k->refs, 1);
    return k;
}

void
key_unref(struct key *k)
{
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) > 1)
        return;
    EVP_PKEY_free(k->soft);
    prov_unref(k->prov);
    free(k);
}

static bool
has_param(const EVP_PKEY *pkey, const char *name)
{
    size_t len = 0;
    bool has;

    (void)ERR_set_mark();
    has = EVP_PKEY_get_octet_string_param(pkey, name, NULL, 0, &len) == 1 && len > 0;
    (void)ERR_pop_to_mark();
    return has;
}

static BIGNUM *
private_scalar(const EVP_PKEY *pkey)
{
    BIGNUM *scalar = NULL;

    (void)ERR_set_mark();
    (void)EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &scalar);
    (void)ERR_pop_to_mark();
    return scalar;
}

bool
key_take(struct key *k, EVP_PKEY *soft)
{
    BIGNUM *scalar;

    if (soft == NULL)
        return false;
    EVP_PKEY_free(k->soft);
    k->soft = soft;
    k->has_public = has_param(soft, OSSL_PKEY_PARAM_PUB_KEY);
    scalar = private_scalar(soft);
    k->has_private = scalar != NULL;
    BN_clear_free(scalar);
    return true;
}

EVP_PKEY *
key_soft_import(struct prov *p, int selection, const OSSL_PARAM params[])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(p->soft, "EC", NULL);
    OSSL_PARAM *copy = OSSL_PARAM_dup(params); /* libcrypto asks for a list it could write to */
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && copy != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pkey, selection, copy) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    OSSL_PARAM_free(copy);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static bool
is_p256(const EVP_PKEY *pkey)
{
    char name[64];
    size_t len = 0;
    bool is;

    (void)ERR_set_mark();
    is =
        EVP_PKEY_get_group_name(pkey, name, sizeof name, &len) == 1 && strcmp(name, P256_NAME) == 0;
    (void)ERR_pop_to_mark();
    return is;
}

/* A key on P-256 from its point in any form, and from the scalar when there is one. */
static EVP_PKEY *
p256_key(struct prov *p, struct span point, const uint8_t *scalar)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *number = scalar != NULL ? BN_bin2bn(scalar, REFKEY_SCALAR_LEN, NULL) : NULL;
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    if (bld != NULL && (scalar == NULL || number != NULL) &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, P256_NAME, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.ptr, point.len) &&
        (number == NULL || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, number)))
        params = OSSL_PARAM_BLD_to_param(bld);
    if (params != NULL)
        pkey = key_soft_import(p, scalar != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params);
    OSSL_PARAM_free(params);
    BN_free(number);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static bool
become_chip_key(struct key *k, const struct refkey *ref)
{
    size_t len = ref->has_point ? REFKEY_POINT_LEN : 33;
    EVP_PKEY *pkey = NULL;

    if (ref->point[0] != 0)
        pkey = p256_key(k->prov, span_of(ref->point, len), NULL);
    if (!key_take(k, pkey))
        return prov_raise(k->prov, REASON_NO_PUBLIC_KEY,
            "reference to slot %u: its public key is missing or not on P-256; write the file again "
            "with a71chConfig refpem",
            ref->index);
    k->is_chip = true;
    k->has_private = true;
    k->ref = *ref;
    return true;
}

struct key *
key_from_reference(struct prov *p, const struct refkey *ref)
{
    struct key *k = key_new(p);

    if (k == NULL) {
        (void)prov_raise(p, REASON_MEMORY, "reference to slot %u", ref->index);
        return NULL;
    }
    if (!become_chip_key(k, ref)) {
        key_unref(k);
        return NULL;
    }
    return k;
}

bool
key_recognise(struct key *k)
{
    BIGNUM *scalar = is_p256(k->soft) ? private_scalar(k->soft) : NULL;
    uint8_t bytes[REFKEY_SCALAR_LEN];
    struct refkey ref = { 0 };
    bool is_reference = false;

    if (scalar != NULL && BN_bn2binpad(scalar, bytes, sizeof bytes) == (int)sizeof bytes)
        is_reference = refkey_from_scalar(SPAN(bytes), &ref);
    BN_clear_free(scalar);
    bm_wipe(bytes, sizeof bytes); /* an ordinary key's, most of the time */
    if (!is_reference)
        return true;
    ref.has_point = key_point(k, ref.point);
    return become_chip_key(k, &ref);
}

bool
key_point(const struct key *k, uint8_t out[A71CH_POINT_LEN])
{
    struct wr w = wr_of(out, A71CH_POINT_LEN);
    uint8_t coordinate[32];
    BIGNUM *x = NULL;
    BIGNUM *y = NULL;
    bool ok;

    if (k->soft == NULL || !k->has_public || !is_p256(k->soft))
        return false;
    (void)ERR_set_mark();
    /* by coordinate: the encoded forms follow the key's conversion form */
    ok = EVP_PKEY_get_bn_param(k->soft, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
         EVP_PKEY_get_bn_param(k->soft, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;
    (void)ERR_pop_to_mark();
    wr_u8(&w, 0x04);
    ok = ok && BN_bn2binpad(x, coordinate, sizeof coordinate) > 0;
    wr_span(&w, SPAN(coordinate));
    ok = ok && BN_bn2binpad(y, coordinate, sizeof coordinate) > 0;
    wr_span(&w, SPAN(coordinate));
    BN_free(x);
    BN_free(y);
    return ok;
}

EVP_PKEY *
key_as_reference(const struct key *k)
{
    uint8_t point[A71CH_POINT_LEN];
    uint8_t scalar[REFKEY_SCALAR_LEN];

    if (!key_point(k, point)) {
        (void)prov_raise(k->prov, REASON_NO_PUBLIC_KEY, "reference to slot %u", k->ref.index);
        return NULL;
    }
    refkey_scalar(scalar, &k->ref);
    return p256_key(k->prov, SPAN(point), scalar);
}

int
key_give(struct key **k, OSSL_CALLBACK *cb, void *cbarg)
{
    int type = OSSL_OBJECT_PKEY;
    char name[] = "EC";
    const OSSL_PARAM object[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, name, sizeof name - 1),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_REFERENCE, k, sizeof *k),
        OSSL_PARAM_END,
    };

    return cb(object, cbarg);
}

const char *
key_name(const struct key *k, char out[KEY_NAME_MAX])
{
    const char *what = k->ref.class_id == REFKEY_CLASS_PUB ? "public key" : "key pair";

    if (refkey_names_slot(&k->ref))
        (void)snprintf(out, KEY_NAME_MAX, "%s %u", what, k->ref.index);
    else
        (void)snprintf(out, KEY_NAME_MAX, "the %s with key id %08x", what, k->ref.key_id);
    return out;
}

bool
key_verifies_in_chip(const struct key *k)
{
    return k->is_chip && k->ref.class_id == REFKEY_CLASS_PUB;
}

/* A reference that names nothing of the wanted class is an error and never software. SPEC a71ch
 * 9.2 */
static int
require(const struct key *k, unsigned class_id)
{
    bool pair = class_id == REFKEY_CLASS_PAIR;
    unsigned count = pair ? A71CH_PAIR_COUNT : A71CH_PUB_COUNT;

    if (k->ref.class_id != class_id && !(pair && k->ref.class_id == REFKEY_CLASS_NONE))
        return prov_raise(k->prov, REASON_NOT_A_PAIR,
            "the file refers to class %02x, slot %u; %s class %02x", k->ref.class_id, k->ref.index,
            pair ? "a private operation wants a reference to a key pair,"
                 : "verifying in the chip wants a reference to a public key,",
            class_id);
    if (refkey_names_slot(&k->ref) && k->ref.index >= count)
        return prov_raise(k->prov, REASON_NOT_A_PAIR,
            "the file refers to %s %u; the chip has 0 to %u", pair ? "key pair" : "public key",
            k->ref.index, count - 1);
    return 1;
}

/* Where the key lies: as the file says, or where its public key is found. */
static int
find_slot(struct key *k, unsigned class_id, unsigned *slot)
{
    uint8_t point[A71CH_POINT_LEN];
    struct bm_msg msg = { "" };
    char name[KEY_NAME_MAX];
    enum bm_err err;

    if (!require(k, class_id))
        return 0;
    *slot = k->ref.index;
    if (refkey_names_slot(&k->ref))
        return 1;
    if (atomic_load(&k->slot) >= 0) {
        *slot = (unsigned)atomic_load(&k->slot);
        return 1;
    }
    if (!key_point(k, point))
        return prov_raise(k->prov, REASON_NO_PUBLIC_KEY, "reference to %s", key_name(k, name));
    err = shared_chip_find(k->prov->chip, class_id, point, slot, &msg);
    if (err == BM_ERR_NOT_FOUND)
        return prov_raise(k->prov, REASON_WRONG_SLOT,
            "the file names %s, as NXP's SSS middleware does, and %s of the file; write it again "
            "with a71chConfig refpem",
            key_name(k, name), msg.text);
    if (err != BM_OK)
        return prov_raise_chip(k->prov, err, &msg);
    atomic_store(&k->slot, (int)*slot);
    return 1;
}

/* Does the signature fit the file's public key? Nothing raised. */
static bool
verifies(const struct key *k, const uint8_t *hash, const uint8_t *sig, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(k->prov->soft, k->soft, NULL);
    bool ok;

    (void)ERR_set_mark();
    ok = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
         EVP_PKEY_verify(ctx, sig, len, hash, A71CH_HASH_LEN) == 1;
    (void)ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

int
key_chip_sign(struct key *k, const uint8_t hash[A71CH_HASH_LEN], uint8_t out[A71CH_SIGNATURE_MAX],
    size_t *out_len)
{
    struct bm_msg msg = { "" };
    unsigned slot;
    enum bm_err err;

    if (!find_slot(k, REFKEY_CLASS_PAIR, &slot))
        return 0;
    err = shared_chip_sign(k->prov->chip, slot, hash, out, out_len, &msg);
    if (err != BM_OK)
        return prov_raise_chip(k->prov, err, &msg);
    /* A slot that was filled again since the file was written would show as "bad signature" on
     * the far side of a network; a fault in the chip would too. */
    if (!verifies(k, hash, out, *out_len)) {
        atomic_store(&k->slot, -1);
        return prov_raise(k->prov, REASON_WRONG_SLOT,
            "the signature of key pair %u does not fit the public key in the file; the slot holds "
            "another key now, or this is another chip: write the file again with a71chConfig "
            "refpem",
            slot);
    }
    return 1;
}

/* The secret is made in the chip together with the master secret; until then a stand-in goes
 * through libssl. Nobody can guess it: used as a secret it fails, and helps nobody. */
static int
secret_of_hello(
    const struct key *k, const uint8_t peer[A71CH_POINT_LEN], uint8_t out[A71CH_SECRET_LEN])
{
    uint8_t ticket[HELLO_TICKET_LEN];
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (RAND_bytes_ex(k->prov->soft, ticket, sizeof ticket, 0) != 1)
        return 0;
    err = hello_set_peer(k->prov->hello, peer, ticket, &msg);
    if (err != BM_OK)
        return prov_raise_chip(k->prov, err, &msg);
    psk_write_shared(out, ticket);
    return 1;
}

int
key_chip_ecdh(struct key *k, const struct key *peer, uint8_t out[A71CH_SECRET_LEN])
{
    uint8_t point[A71CH_POINT_LEN];
    struct bm_msg msg = { "" };
    unsigned slot;
    enum bm_err err;

    if (!find_slot(k, REFKEY_CLASS_PAIR, &slot))
        return 0;
    if (!key_point(peer, point))
        return prov_raise(k->prov, REASON_PEER, "ECDH with key pair %u", slot);
    if (k->of_hello)
        return secret_of_hello(k, point, out);
    err = shared_chip_ecdh(k->prov->chip, slot, point, out, &msg);
    if (err != BM_OK)
        return prov_raise_chip(k->prov, err, &msg);
    return 1;
}

int
key_chip_verify(struct key *k, const uint8_t hash[A71CH_HASH_LEN], struct span sig)
{
    struct bm_msg msg = { "" };
    bool valid = false;
    unsigned slot;
    enum bm_err err;

    if (!find_slot(k, REFKEY_CLASS_PUB, &slot))
        return 0;
    if (sig.len < 8 || sig.len > A71CH_SIGNATURE_MAX) /* no signature on P-256: not worth asking */
        return 0;
    err = shared_chip_verify(k->prov->chip, slot, hash, sig, &valid, &msg);
    if (err != BM_OK)
        return prov_raise_chip(k->prov, err, &msg);
    /* What the program sees of the key is the file's; a chip that judges by another one would be
     * believed for the wrong reason. */
    if (valid != verifies(k, hash, sig.ptr, sig.len)) {
        atomic_store(&k->slot, -1);
        return prov_raise(k->prov, REASON_WRONG_SLOT,
            "public key %u of the chip is not the public key in the file: write the file again "
            "with a71chConfig refpem",
            slot);
    }
    return valid;
}

struct key *
key_of_hello(struct prov *p)
{
    struct refkey ref = { .class_id = REFKEY_CLASS_PAIR, .has_point = true };
    struct bm_msg msg;
    struct key *k;
    unsigned pair;

    if (hello_point(p->hello, &pair, ref.point, &msg) != BM_OK)
        return NULL;
    ref.index = (uint8_t)pair;
    k = key_from_reference(p, &ref);
    if (k != NULL)
        k->of_hello = true;
    return k;
}

struct key *
key_chip_generate(struct prov *p, unsigned index)
{
    struct refkey ref = {
        .class_id = REFKEY_CLASS_PAIR, .index = (uint8_t)index, .has_point = true
    };
    struct bm_msg msg = { "" };
    enum bm_err err = shared_chip_generate(p->chip, index, ref.point, &msg);

    if (err != BM_OK) {
        (void)prov_raise_chip(p, err, &msg);
        return NULL;
    }
    return key_from_reference(p, &ref);
}
