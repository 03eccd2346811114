/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: ECDSA. Hashing is always in software, and so is verifying unless the file refers
 * to a public key of the chip. A chip key sends one command per signature, and none when only the
 * size is asked for. SPEC openssl 1.3
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct sign_ctx {
    struct prov *prov;
    struct key *key;    /* NULL before the first init */
    EVP_MD *md;         /* NULL: the input is signed as it comes */
    EVP_MD_CTX *mdctx;  /* of the digest operations */
    bool digest_locked; /* by digest_sign_init or digest_verify_init */
    bool deterministic; /* RFC 6979 was asked for; software keys only */
};

static OSSL_FUNC_signature_newctx_fn new_ctx;
static OSSL_FUNC_signature_freectx_fn free_ctx;
static OSSL_FUNC_signature_dupctx_fn dup_ctx;
static OSSL_FUNC_signature_sign_init_fn sign_init;
static OSSL_FUNC_signature_sign_fn sign;
static OSSL_FUNC_signature_verify_init_fn verify_init;
static OSSL_FUNC_signature_verify_fn verify;
static OSSL_FUNC_signature_digest_sign_init_fn digest_sign_init;
static OSSL_FUNC_signature_digest_sign_update_fn digest_update;
static OSSL_FUNC_signature_digest_sign_final_fn digest_sign_final;
static OSSL_FUNC_signature_digest_verify_init_fn digest_verify_init;
static OSSL_FUNC_signature_digest_verify_final_fn digest_verify_final;
static OSSL_FUNC_signature_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_signature_get_ctx_md_params_fn get_ctx_md_params;
static OSSL_FUNC_signature_gettable_ctx_md_params_fn gettable_ctx_md_params;
static OSSL_FUNC_signature_set_ctx_md_params_fn set_ctx_md_params;
static OSSL_FUNC_signature_settable_ctx_md_params_fn settable_ctx_md_params;

static void *
new_ctx(void *provctx, const char *propq)
{
    struct sign_ctx *c = calloc(1, sizeof *c);

    (void)propq; /* digests come from the private context, which has one provider */
    if (c != NULL)
        c->prov = prov_ref(provctx);
    return c;
}

static void
free_ctx(void *ctx)
{
    struct sign_ctx *c = ctx;

    if (c == NULL)
        return;
    EVP_MD_CTX_free(c->mdctx);
    EVP_MD_free(c->md);
    key_unref(c->key);
    prov_unref(c->prov);
    free(c);
}

static void *
dup_ctx(void *ctx)
{
    const struct sign_ctx *from = ctx;
    struct sign_ctx *c = new_ctx(from->prov, NULL);

    if (c == NULL)
        return NULL;
    c->digest_locked = from->digest_locked;
    c->deterministic = from->deterministic;
    if (from->key != NULL)
        c->key = key_ref(from->key);
    if (from->md != NULL && EVP_MD_up_ref(from->md) == 1)
        c->md = from->md;
    if (from->mdctx == NULL)
        return c;
    c->mdctx = EVP_MD_CTX_new();
    if (c->mdctx == NULL || EVP_MD_CTX_copy_ex(c->mdctx, from->mdctx) != 1) {
        free_ctx(c);
        return NULL;
    }
    return c;
}

/* NULL keeps the key of an earlier init. */
static int
use_key(struct sign_ctx *c, void *provkey)
{
    if (provkey != NULL) {
        key_unref(c->key);
        c->key = key_ref(provkey);
    }
    if (c->key == NULL || c->key->soft == NULL)
        return prov_raise(c->prov, REASON_NO_KEY, "ECDSA");
    return 1;
}

static int
use_digest(struct sign_ctx *c, const char *name)
{
    EVP_MD *md = EVP_MD_fetch(c->prov->soft, name, NULL);

    if (md == NULL)
        return prov_raise(c->prov, REASON_DIGEST, "%s", name);
    if (c->digest_locked && c->md != NULL && !EVP_MD_is_a(c->md, name)) {
        EVP_MD_free(md);
        return prov_raise(c->prov, REASON_DIGEST, "%s: this operation has begun with %s", name,
            EVP_MD_get0_name(c->md));
    }
    if ((EVP_MD_get_flags(md) & EVP_MD_FLAG_XOF) != 0) {
        EVP_MD_free(md);
        return prov_raise(c->prov, REASON_DIGEST, "%s has no fixed length", name);
    }
    EVP_MD_free(c->md);
    c->md = md;
    return 1;
}

static int
sign_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct sign_ctx *c = ctx;

    c->digest_locked = false;
    return use_key(c, provkey) && set_ctx_params(c, params);
}

static int
verify_init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    return sign_init(ctx, provkey, params);
}

static int
check_input_length(const struct sign_ctx *c, size_t len)
{
    if (c->md != NULL && len != (size_t)EVP_MD_get_size(c->md))
        return prov_raise(c->prov, REASON_DIGEST_LENGTH, "%zu bytes for %s, which makes %d", len,
            EVP_MD_get0_name(c->md), EVP_MD_get_size(c->md));
    return 1;
}

static int
sign_in_chip(const struct sign_ctx *c, unsigned char *sig, size_t *siglen, size_t cap,
    const uint8_t *digest, size_t len)
{
    uint8_t hash[A71CH_HASH_LEN];
    uint8_t der[A71CH_SIGNATURE_MAX];
    size_t der_len = 0;

    if (cap < A71CH_SIGNATURE_MAX) /* asked before: a refused signature would cost the chip one */
        return prov_raise(
            c->prov, REASON_BUFFER, "%zu bytes; a signature may take %d", cap, A71CH_SIGNATURE_MAX);
    shared_chip_fit(hash, digest, len);
    if (!key_chip_sign(c->key, hash, der, &der_len))
        return 0;
    memcpy(sig, der, der_len);
    *siglen = der_len;
    return 1;
}

/* RFC 6979 where libcrypto has it (3.2), an error where it would be ignored. */
static int
ask_deterministic(const struct sign_ctx *c, EVP_PKEY_CTX *pctx)
{
    unsigned type = 1;
    const OSSL_PARAM params[] = { OSSL_PARAM_uint("nonce-type", &type), OSSL_PARAM_END };
    const OSSL_PARAM *known = EVP_PKEY_CTX_settable_params(pctx);

    if (known == NULL || OSSL_PARAM_locate_const(known, "nonce-type") == NULL)
        return prov_raise(c->prov, REASON_PARAMETER,
            "nonce-type: this OpenSSL has no deterministic ECDSA; it came with 3.2");
    return EVP_PKEY_CTX_set_params(pctx, params) == 1 &&
           (c->md == NULL || EVP_PKEY_CTX_set_signature_md(pctx, c->md) == 1);
}

static int
sign_in_software(const struct sign_ctx *c, unsigned char *sig, size_t *siglen, size_t cap,
    const uint8_t *digest, size_t len)
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(c->prov->soft, c->key->soft, NULL);
    int ok = pctx != NULL && EVP_PKEY_sign_init(pctx) == 1;

    if (ok && c->deterministic)
        ok = ask_deterministic(c, pctx);
    *siglen = cap;
    ok = ok && EVP_PKEY_sign(pctx, sig, siglen, digest, len) == 1;
    EVP_PKEY_CTX_free(pctx);
    return ok;
}

static int
sign(void *ctx, unsigned char *sig, size_t *siglen, size_t cap, const unsigned char *tbs,
    size_t tbslen)
{
    const struct sign_ctx *c = ctx;

    if (sig == NULL) {
        int size = EVP_PKEY_get_size(c->key->soft);

        *siglen = size > 0 ? (size_t)size : 0;
        return size > 0;
    }
    if (!check_input_length(c, tbslen))
        return 0;
    if (c->key->is_chip)
        return sign_in_chip(c, sig, siglen, cap, tbs, tbslen);
    return sign_in_software(c, sig, siglen, cap, tbs, tbslen);
}

static int
verify(void *ctx, const unsigned char *sig, size_t siglen, const unsigned char *tbs, size_t tbslen)
{
    const struct sign_ctx *c = ctx;
    EVP_PKEY_CTX *pctx;
    int ok;

    if (!check_input_length(c, tbslen))
        return 0;
    if (key_verifies_in_chip(c->key)) {
        uint8_t hash[A71CH_HASH_LEN];

        shared_chip_fit(hash, tbs, tbslen);
        return key_chip_verify(c->key, hash, span_of(sig, siglen));
    }
    pctx = EVP_PKEY_CTX_new_from_pkey(c->prov->soft, c->key->soft, NULL);
    ok = pctx != NULL && EVP_PKEY_verify_init(pctx) == 1 &&
         EVP_PKEY_verify(pctx, sig, siglen, tbs, tbslen) == 1;
    EVP_PKEY_CTX_free(pctx);
    return ok;
}

static int
digest_sign_init(void *ctx, const char *mdname, void *provkey, const OSSL_PARAM params[])
{
    struct sign_ctx *c = ctx;

    c->digest_locked = false;
    if (!use_key(c, provkey) || !set_ctx_params(c, params))
        return 0;
    if (mdname != NULL && mdname[0] != '\0' && !use_digest(c, mdname))
        return 0;
    if (c->md == NULL && !use_digest(c, "SHA256")) /* the default digest of our keys */
        return 0;
    if (c->mdctx == NULL)
        c->mdctx = EVP_MD_CTX_new();
    c->digest_locked = true;
    return c->mdctx != NULL && EVP_DigestInit_ex2(c->mdctx, c->md, NULL) == 1;
}

static int
digest_verify_init(void *ctx, const char *mdname, void *provkey, const OSSL_PARAM params[])
{
    return digest_sign_init(ctx, mdname, provkey, params);
}

static int
digest_update(void *ctx, const unsigned char *data, size_t len)
{
    struct sign_ctx *c = ctx;

    return c->mdctx != NULL && EVP_DigestUpdate(c->mdctx, data, len) == 1;
}

static int
digest_sign_final(void *ctx, unsigned char *sig, size_t *siglen, size_t cap)
{
    struct sign_ctx *c = ctx;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (c->mdctx == NULL)
        return 0;
    if (sig != NULL && EVP_DigestFinal_ex(c->mdctx, digest, &len) != 1)
        return 0;
    return sign(c, sig, siglen, cap, digest, len);
}

static int
digest_verify_final(void *ctx, const unsigned char *sig, size_t siglen)
{
    struct sign_ctx *c = ctx;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (c->mdctx == NULL || EVP_DigestFinal_ex(c->mdctx, digest, &len) != 1)
        return 0;
    return verify(c, sig, siglen, digest, len);
}

/* DER AlgorithmIdentifier of ECDSA with each digest that has one: RFC 3279, RFC 5758, NIST CSOR. */
struct algorithm_id {
    const char *digest;
    uint8_t len;
    uint8_t der[13];
};

static const struct algorithm_id algorithm_ids[] = {
    { "SHA1", 11, { 0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1 } },
    { "SHA2-224", 12, { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1 } },
    { "SHA2-256", 12, { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2 } },
    { "SHA2-384", 12, { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3 } },
    { "SHA2-512", 12, { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4 } },
    { "SHA3-224", 13, { 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 9 } },
    { "SHA3-256", 13, { 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 10 } },
    { "SHA3-384", 13, { 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 11 } },
    { "SHA3-512", 13, { 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 12 } },
};

static int
give_algorithm_id(const struct sign_ctx *c, OSSL_PARAM *p)
{
    for (size_t i = 0; i < sizeof algorithm_ids / sizeof *algorithm_ids; i++) {
        const struct algorithm_id *a = &algorithm_ids[i];

        if (c->md != NULL && EVP_MD_is_a(c->md, a->digest))
            return OSSL_PARAM_set_octet_string(p, a->der, a->len);
    }
    return OSSL_PARAM_set_octet_string(p, NULL, 0);
}

static int
get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    const struct sign_ctx *c = ctx;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);

    if (p != NULL && !give_algorithm_id(c, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
    if (p != NULL && !OSSL_PARAM_set_size_t(p, c->md != NULL ? (size_t)EVP_MD_get_size(c->md) : 0))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    return p == NULL || OSSL_PARAM_set_utf8_string(p, c->md != NULL ? EVP_MD_get0_name(c->md) : "");
}

static const OSSL_PARAM *
gettable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

static int
set_nonce_type(struct sign_ctx *c, const OSSL_PARAM *p)
{
    unsigned type = 0;

    if (!OSSL_PARAM_get_uint(p, &type) || type > 1)
        return prov_raise(c->prov, REASON_PARAMETER, "nonce-type is 0 or 1");
    if (type == 1 && c->key != NULL && c->key->is_chip)
        return prov_raise(
            c->prov, REASON_PARAMETER, "nonce-type: the A71CH draws its own random nonces");
    c->deterministic = type == 1;
    return 1;
}

static int
set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    struct sign_ctx *c = ctx;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p != NULL) {
        char name[64];
        char *to = name;

        if (!OSSL_PARAM_get_utf8_string(p, &to, sizeof name) || !use_digest(c, name))
            return 0;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
    if (p != NULL) {
        size_t size;

        if (!OSSL_PARAM_get_size_t(p, &size) ||
            (c->md != NULL && size != (size_t)EVP_MD_get_size(c->md)))
            return prov_raise(c->prov, REASON_PARAMETER, "digest-size contradicts the digest");
    }
    p = OSSL_PARAM_locate_const(params, "nonce-type");
    return p == NULL || set_nonce_type(c, p);
}

static const OSSL_PARAM *
settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_uint("nonce-type", NULL), /* taken so that a chip key can refuse it */
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

static int
get_ctx_md_params(void *ctx, OSSL_PARAM params[])
{
    struct sign_ctx *c = ctx;

    return c->mdctx != NULL && EVP_MD_CTX_get_params(c->mdctx, params) == 1;
}

static const OSSL_PARAM *
gettable_ctx_md_params(void *ctx)
{
    const struct sign_ctx *c = ctx;

    return c->md != NULL ? EVP_MD_gettable_ctx_params(c->md) : NULL;
}

static int
set_ctx_md_params(void *ctx, const OSSL_PARAM params[])
{
    struct sign_ctx *c = ctx;

    return c->mdctx != NULL && EVP_MD_CTX_set_params(c->mdctx, params) == 1;
}

static const OSSL_PARAM *
settable_ctx_md_params(void *ctx)
{
    const struct sign_ctx *c = ctx;

    return c->md != NULL ? EVP_MD_settable_ctx_params(c->md) : NULL;
}

const OSSL_DISPATCH signature_functions[] = {
    PROV_FN(OSSL_FUNC_SIGNATURE_NEWCTX, new_ctx),
    PROV_FN(OSSL_FUNC_SIGNATURE_FREECTX, free_ctx),
    PROV_FN(OSSL_FUNC_SIGNATURE_DUPCTX, dup_ctx),
    PROV_FN(OSSL_FUNC_SIGNATURE_SIGN_INIT, sign_init),
    PROV_FN(OSSL_FUNC_SIGNATURE_SIGN, sign),
    PROV_FN(OSSL_FUNC_SIGNATURE_VERIFY_INIT, verify_init),
    PROV_FN(OSSL_FUNC_SIGNATURE_VERIFY, verify),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, digest_sign_init),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, digest_update),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, digest_sign_final),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, digest_verify_init),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, digest_update),
    PROV_FN(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, digest_verify_final),
    PROV_FN(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, get_ctx_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, gettable_ctx_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, set_ctx_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, settable_ctx_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_GET_CTX_MD_PARAMS, get_ctx_md_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_MD_PARAMS, gettable_ctx_md_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_SET_CTX_MD_PARAMS, set_ctx_md_params),
    PROV_FN(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_MD_PARAMS, settable_ctx_md_params),
    PROV_END,
};
