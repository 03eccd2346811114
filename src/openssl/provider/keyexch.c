/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: ECDH, in the chip for chip keys. The ANSI X9.63 KDF is computed here for both
 * kinds of key, because without it `openssl cms -decrypt` fails (SPEC openssl 1.8).
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MAX = 72 }; /* field of the largest curve, sect571: 72 bytes */

struct derive_ctx {
    struct prov *prov;
    struct key *key;
    struct key *peer;
    int cofactor_mode; /* -1: as the key says; P-256 has cofactor 1 */
    bool x963;
    char kdf_digest[64]; /* "" none set */
    size_t kdf_len;
    struct buf ukm;
};

static OSSL_FUNC_keyexch_newctx_fn new_ctx;
static OSSL_FUNC_keyexch_freectx_fn free_ctx;
static OSSL_FUNC_keyexch_dupctx_fn dup_ctx;
static OSSL_FUNC_keyexch_init_fn init;
static OSSL_FUNC_keyexch_set_peer_fn set_peer;
static OSSL_FUNC_keyexch_derive_fn derive;
static OSSL_FUNC_keyexch_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_keyexch_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_keyexch_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_keyexch_gettable_ctx_params_fn gettable_ctx_params;

static void *
new_ctx(void *provctx)
{
    struct derive_ctx *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->prov = prov_ref(provctx);
    c->cofactor_mode = -1;
    return c;
}

static void
free_ctx(void *ctx)
{
    struct derive_ctx *c = ctx;

    if (c == NULL)
        return;
    key_unref(c->key);
    key_unref(c->peer);
    bm_wipe(c->ukm.ptr, c->ukm.len);
    buf_fini(&c->ukm);
    prov_unref(c->prov);
    free(c);
}

static void *
dup_ctx(void *ctx)
{
    const struct derive_ctx *from = ctx;
    struct derive_ctx *c = malloc(sizeof *c);

    if (c == NULL)
        return NULL;
    *c = *from;
    (void)prov_ref(c->prov);
    if (c->key != NULL)
        (void)key_ref(c->key);
    if (c->peer != NULL)
        (void)key_ref(c->peer);
    c->ukm = (struct buf){ 0 };
    buf_add(&c->ukm, from->ukm.ptr, from->ukm.len);
    if (c->ukm.failed) {
        free_ctx(c);
        return NULL;
    }
    return c;
}

static int
init(void *ctx, void *provkey, const OSSL_PARAM params[])
{
    struct derive_ctx *c = ctx;

    if (provkey != NULL) {
        key_unref(c->key);
        c->key = key_ref(provkey);
    }
    if (c->key == NULL || c->key->soft == NULL)
        return prov_raise(c->prov, REASON_NO_KEY, "ECDH");
    return set_ctx_params(c, params);
}

static int
set_peer(void *ctx, void *provkey)
{
    struct derive_ctx *c = ctx;
    struct key *peer = provkey;

    if (c->key == NULL || peer == NULL || peer->soft == NULL ||
        EVP_PKEY_parameters_eq(c->key->soft, peer->soft) != 1)
        return prov_raise(c->prov, REASON_PEER, "the two keys are not on the same curve");
    key_unref(c->peer);
    c->peer = key_ref(peer);
    return 1;
}

static int
secret_in_chip(const struct derive_ctx *c, unsigned char *out, size_t *len, size_t cap)
{
    uint8_t z[A71CH_SECRET_LEN];
    int ok;

    *len = cap < sizeof z ? cap : sizeof z; /* a short buffer gets the beginning, as in software */
    ok = key_chip_ecdh(c->key, c->peer, z);
    if (ok)
        memcpy(out, z, *len);
    bm_wipe(z, sizeof z);
    return ok;
}

static int
secret_in_software(const struct derive_ctx *c, unsigned char *out, size_t *len, size_t cap)
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(c->prov->soft, c->key->soft, NULL);
    int ok = pctx != NULL && EVP_PKEY_derive_init(pctx) == 1;

    if (ok && c->cofactor_mode >= 0)
        ok = EVP_PKEY_CTX_set_ecdh_cofactor_mode(pctx, c->cofactor_mode) == 1;
    /* the peer was checked when libcrypto gave it to us */
    ok = ok && EVP_PKEY_derive_set_peer_ex(pctx, c->peer->soft, 0) == 1;
    *len = cap;
    ok = ok && EVP_PKEY_derive(pctx, out, len) == 1;
    EVP_PKEY_CTX_free(pctx);
    return ok;
}

static int
make_secret(const struct derive_ctx *c, unsigned char *out, size_t *len, size_t cap)
{
    if (c->key->is_chip)
        return secret_in_chip(c, out, len, cap);
    return secret_in_software(c, out, len, cap);
}

static int
run_x963(const struct derive_ctx *c, uint8_t *z, size_t z_len, unsigned char *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(c->prov->soft, OSSL_KDF_NAME_X963KDF, NULL);
    EVP_KDF_CTX *kctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[sizeof c->kdf_digest];
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, z, z_len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, c->ukm.ptr, c->ukm.len),
        OSSL_PARAM_END,
    };
    int ok;

    memcpy(digest, c->kdf_digest, sizeof digest);
    params[0].data_size = strlen(digest);
    if (c->ukm.len == 0)
        params[2] = (OSSL_PARAM)OSSL_PARAM_END;
    ok = kctx != NULL && EVP_KDF_derive(kctx, out, c->kdf_len, params) == 1;
    EVP_KDF_CTX_free(kctx);
    EVP_KDF_free(kdf);
    return ok;
}

static int
derive_x963(const struct derive_ctx *c, unsigned char *out, size_t *len, size_t cap)
{
    uint8_t z[SECRET_MAX];
    size_t z_len = 0;
    int ok;

    *len = c->kdf_len;
    if (out == NULL)
        return 1;
    if (cap < c->kdf_len)
        return prov_raise(c->prov, REASON_BUFFER, "%zu bytes for a secret of %zu", cap, c->kdf_len);
    if (c->kdf_len == 0 || c->kdf_digest[0] == '\0')
        return prov_raise(c->prov, REASON_PARAMETER, "X963KDF wants kdf-digest and kdf-outlen");
    ok = make_secret(c, z, &z_len, sizeof z) && run_x963(c, z, z_len, out);
    bm_wipe(z, sizeof z);
    return ok;
}

static int
derive(void *ctx, unsigned char *secret, size_t *len, size_t cap)
{
    const struct derive_ctx *c = ctx;

    if (c->key == NULL || c->peer == NULL)
        return prov_raise(c->prov, REASON_NO_KEY, "ECDH wants a key and a peer's key");
    if (c->x963)
        return derive_x963(c, secret, len, cap);
    if (secret == NULL) {
        *len = ((size_t)EVP_PKEY_get_bits(c->key->soft) + 7) / 8;
        return 1;
    }
    return make_secret(c, secret, len, cap);
}

static int
set_kdf_type(struct derive_ctx *c, const OSSL_PARAM *p)
{
    char name[64];
    char *to = name;

    if (!OSSL_PARAM_get_utf8_string(p, &to, sizeof name))
        return 0;
    if (name[0] != '\0' && OPENSSL_strcasecmp(name, OSSL_KDF_NAME_X963KDF) != 0)
        return prov_raise(c->prov, REASON_PARAMETER, "kdf-type %s; only X963KDF is known", name);
    c->x963 = name[0] != '\0';
    return 1;
}

static int
set_kdf_digest(struct derive_ctx *c, const OSSL_PARAM *p)
{
    char name[sizeof c->kdf_digest] = "";
    char *to = name;
    EVP_MD *md;

    if (!OSSL_PARAM_get_utf8_string(p, &to, sizeof name))
        return 0;
    md = EVP_MD_fetch(c->prov->soft, name, NULL);
    if (md == NULL || (EVP_MD_get_flags(md) & EVP_MD_FLAG_XOF) != 0) {
        EVP_MD_free(md);
        return prov_raise(c->prov, REASON_DIGEST, "kdf-digest %s", name);
    }
    EVP_MD_free(md);
    memcpy(c->kdf_digest, name, sizeof name);
    return 1;
}

static int
set_ukm(struct derive_ctx *c, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING)
        return 0;
    bm_wipe(c->ukm.ptr, c->ukm.len);
    c->ukm.len = 0;
    if (p->data != NULL)
        buf_add(&c->ukm, p->data, p->data_size);
    return !c->ukm.failed;
}

static int
set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    struct derive_ctx *c = ctx;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
    if (p != NULL && (!OSSL_PARAM_get_int(p, &c->cofactor_mode) || c->cofactor_mode < -1 ||
                         c->cofactor_mode > 1))
        return prov_raise(c->prov, REASON_PARAMETER, "the cofactor mode is -1, 0 or 1");
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL && !set_kdf_type(c, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    if (p != NULL && !set_kdf_digest(c, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_get_size_t(p, &c->kdf_len))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || set_ukm(c, p);
}

static const OSSL_PARAM *
settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

static int
get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    struct derive_ctx *c = ctx;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);

    if (p != NULL && !OSSL_PARAM_set_int(p, c->cofactor_mode < 0 ? 0 : c->cofactor_mode))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, c->x963 ? OSSL_KDF_NAME_X963KDF : ""))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, c->kdf_digest))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_set_size_t(p, c->kdf_len))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || OSSL_PARAM_set_octet_ptr(p, c->ukm.ptr, c->ukm.len);
}

static const OSSL_PARAM *
gettable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

const OSSL_DISPATCH keyexch_functions[] = {
    PROV_FN(OSSL_FUNC_KEYEXCH_NEWCTX, new_ctx),
    PROV_FN(OSSL_FUNC_KEYEXCH_FREECTX, free_ctx),
    PROV_FN(OSSL_FUNC_KEYEXCH_DUPCTX, dup_ctx),
    PROV_FN(OSSL_FUNC_KEYEXCH_INIT, init),
    PROV_FN(OSSL_FUNC_KEYEXCH_SET_PEER, set_peer),
    PROV_FN(OSSL_FUNC_KEYEXCH_DERIVE, derive),
    PROV_FN(OSSL_FUNC_KEYEXCH_SET_CTX_PARAMS, set_ctx_params),
    PROV_FN(OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS, settable_ctx_params),
    PROV_FN(OSSL_FUNC_KEYEXCH_GET_CTX_PARAMS, get_ctx_params),
    PROV_FN(OSSL_FUNC_KEYEXCH_GETTABLE_CTX_PARAMS, gettable_ctx_params),
    PROV_END,
};
