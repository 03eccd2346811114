/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ec.h. Keys go in as OSSL_PARAM arrays on the stack, so that no copy of a private key stays in
 * memory that libcrypto frees without wiping.
 */
#include "chip/ec.h"

#include "base/ct.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

/* Order of the P-256 group, FIPS 186-4 D.1.2.3. */
static const uint8_t order[EC_PRIVATE_LEN] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3,
    0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

void
ec_key_fini(struct ec_key *k)
{
    EVP_PKEY_CTX_free(k->op);
    EVP_PKEY_free(k->pkey);
    *k = (struct ec_key){ 0 };
}

static bool
scalar_valid(struct span s)
{
    static const uint8_t zero[EC_PRIVATE_LEN];

    return s.len == EC_PRIVATE_LEN && bm_less_ct(s.ptr, order, s.len) &&
           !bm_equal_ct(s.ptr, zero, s.len);
}

static bool
point_form_valid(struct span p)
{
    return p.len == EC_POINT_LEN && p.ptr[0] == 0x04; /* compressed and hybrid forms: no */
}

/* A scalar in the byte order of OSSL_PARAM, which is the machine's. */
static bool
native_scalar(uint8_t out[EC_PRIVATE_LEN], struct span s)
{
    BIGNUM *bn = BN_bin2bn(s.ptr, (int)s.len, NULL);
    bool ok = bn != NULL && BN_bn2nativepad(bn, out, EC_PRIVATE_LEN) == EC_PRIVATE_LEN;

    BN_clear_free(bn);
    return ok;
}

/* Parse; libcrypto checks that the point is on the curve. `private_key` is empty for a public key.
 */
static enum bm_err
from_data(OSSL_LIB_CTX *lib, struct span private_key, struct span point, EVP_PKEY **out)
{
    static char group[] = "P-256";
    uint8_t scalar[EC_PRIVATE_LEN] = { 0 };
    uint8_t pub[EC_POINT_LEN];
    OSSL_PARAM params[4];
    size_t count = 0;
    int selection = EVP_PKEY_PUBLIC_KEY;
    EVP_PKEY_CTX *ctx = NULL;
    enum bm_err err = BM_ERR_MEM;

    *out = NULL;
    memcpy(pub, point.ptr, sizeof pub);
    params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[count++] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, pub, sizeof pub);
    if (private_key.len > 0) {
        if (!native_scalar(scalar, private_key))
            goto out;
        params[count++] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, scalar, sizeof scalar);
        selection = EVP_PKEY_KEYPAIR;
    }
    params[count] = OSSL_PARAM_construct_end();
    ctx = EVP_PKEY_CTX_new_from_name(lib, "EC", NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) <= 0)
        goto out;
    err = EVP_PKEY_fromdata(ctx, out, selection, params) > 0 ? BM_OK : BM_ERR_INPUT;
out:
    bm_wipe(scalar, sizeof scalar);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

/* Prepare the one operation that the key is kept for. Takes `pkey` over. */
static enum bm_err
prepare(OSSL_LIB_CTX *lib, EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *), struct ec_key *out)
{
    struct ec_key k = { pkey, EVP_PKEY_CTX_new_from_pkey(lib, pkey, NULL) };

    if (k.op == NULL || init(k.op) <= 0) {
        ec_key_fini(&k);
        ERR_clear_error();
        return BM_ERR_MEM;
    }
    *out = k;
    return BM_OK;
}

enum bm_err
ec_pair_load(OSSL_LIB_CTX *lib, struct span private_key, struct span point, struct ec_key *out)
{
    EVP_PKEY *pkey;
    enum bm_err err;

    if (!scalar_valid(private_key) || !point_form_valid(point))
        return BM_ERR_INPUT;
    err = from_data(lib, private_key, point, &pkey);
    return err == BM_OK ? prepare(lib, pkey, EVP_PKEY_sign_init, out) : err;
}

enum bm_err
ec_pub_load(OSSL_LIB_CTX *lib, struct span point, struct ec_key *out)
{
    EVP_PKEY *pkey;
    enum bm_err err;

    if (!point_form_valid(point))
        return BM_ERR_INPUT;
    err = from_data(lib, (struct span){ 0 }, point, &pkey);
    return err == BM_OK ? prepare(lib, pkey, EVP_PKEY_verify_init, out) : err;
}

static bool
export_pair(const EVP_PKEY *pkey, uint8_t private_key[EC_PRIVATE_LEN], uint8_t point[EC_POINT_LEN])
{
    BIGNUM *bn = NULL;
    size_t len = 0;
    bool ok = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &bn) > 0 &&
              BN_bn2binpad(bn, private_key, EC_PRIVATE_LEN) == EC_PRIVATE_LEN &&
              EVP_PKEY_get_octet_string_param(
                  pkey, OSSL_PKEY_PARAM_PUB_KEY, point, EC_POINT_LEN, &len) > 0 &&
              point_form_valid(span_of(point, len));

    BN_clear_free(bn);
    return ok;
}

enum bm_err
ec_generate(OSSL_LIB_CTX *lib, uint8_t private_key[EC_PRIVATE_LEN], uint8_t point[EC_POINT_LEN],
    struct ec_key *out)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(lib, NULL, "EC", "P-256");

    if (pkey == NULL || !export_pair(pkey, private_key, point)) {
        EVP_PKEY_free(pkey);
        bm_wipe(private_key, EC_PRIVATE_LEN);
        ERR_clear_error();
        return BM_ERR_INTERNAL;
    }
    return prepare(lib, pkey, EVP_PKEY_sign_init, out);
}

enum bm_err
ec_sign(const struct ec_key *pair, struct span hash, struct wr *out)
{
    uint8_t signature[EC_SIGNATURE_MAX];
    size_t len = sizeof signature;

    if (hash.len != EC_HASH_LEN ||
        EVP_PKEY_sign(pair->op, signature, &len, hash.ptr, hash.len) <= 0) {
        ERR_clear_error();
        return BM_ERR_INTERNAL;
    }
    CT_PUBLIC(signature, sizeof signature);
    CT_PUBLIC(&len, sizeof len);
    wr_bytes(out, signature, len);
    return out->failed ? BM_ERR_SPACE : BM_OK;
}

/* One INTEGER of a signature, whose own leading zeros are known to be few. */
static void
widen_integer(struct rd *in, struct wr *out)
{
    uint8_t wide[EC_PRIVATE_LEN] = { 0 };
    struct span value;

    (void)rd_u8(in); /* its tag */
    value = rd_span(in, rd_u8(in));
    if (value.len > sizeof wide)
        value = span_of(value.ptr + value.len - sizeof wide, sizeof wide);
    memcpy(&wide[sizeof wide - value.len], value.ptr, value.len);
    wr_u8(out, 0x02);
    wr_u8(out, (uint8_t)(sizeof wide + (wide[0] >> 7)));
    if (wide[0] >> 7 != 0)
        wr_u8(out, 0);
    wr_bytes(out, wide, sizeof wide);
}

void
ec_widen_signature(struct span der, struct wr *out)
{
    uint8_t both[EC_SIGNATURE_MAX];
    struct wr w = wr_of(both, sizeof both);
    struct rd in = rd_of(der);

    (void)rd_u16(&in); /* SEQUENCE and its length */
    widen_integer(&in, &w);
    widen_integer(&in, &w);
    wr_u8(out, 0x30);
    wr_u8(out, (uint8_t)wr_len(&w));
    wr_bytes(out, both, wr_len(&w));
}

bool
ec_pair_matches(OSSL_LIB_CTX *lib, const struct ec_key *pair)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(lib, pair->pkey, NULL);
    bool ok = ctx != NULL && EVP_PKEY_pairwise_check(ctx) > 0;

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

bool
ec_verify(const struct ec_key *pub, struct span hash, struct span signature)
{
    bool valid = hash.len == EC_HASH_LEN &&
                 EVP_PKEY_verify(pub->op, signature.ptr, signature.len, hash.ptr, hash.len) == 1;

    ERR_clear_error();
    return valid;
}

enum bm_err
ec_derive(OSSL_LIB_CTX *lib, const struct ec_key *pair, struct span peer, struct wr *out)
{
    uint8_t shared[EC_SHARED_LEN];
    size_t len = sizeof shared;
    EVP_PKEY *theirs = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    enum bm_err err;

    if (!point_form_valid(peer))
        return BM_ERR_INPUT;
    err = from_data(lib, (struct span){ 0 }, peer, &theirs);
    if (err != BM_OK)
        return err;
    err = BM_ERR_INTERNAL;
    ctx = EVP_PKEY_CTX_new_from_pkey(lib, pair->pkey, NULL);
    /* from_data has seen that the point is on the curve; with cofactor 1 that is all, and
     * libcrypto's own check would multiply by the order, which costs more than the derivation */
    if (ctx != NULL && EVP_PKEY_derive_init(ctx) > 0 &&
        EVP_PKEY_derive_set_peer_ex(ctx, theirs, 0) > 0 && EVP_PKEY_derive(ctx, shared, &len) > 0 &&
        len == sizeof shared) {
        wr_bytes(out, shared, len);
        err = out->failed ? BM_ERR_SPACE : BM_OK;
    }
    bm_wipe(shared, sizeof shared);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    ERR_clear_error();
    return err;
}
