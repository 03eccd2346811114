/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: TLS1-PRF and TLS13-KDF, the key derivations that libssl runs a pre-shared key
 * through. A context is the default provider's, which gets every parameter and does the work,
 * and beside it what tells that the secret is a stand-in for one in the chip. Both have a property
 * of their own, a71ch.psk=yes: programs meet them only when the configuration asks for it.
 * SPEC openssl 3.5.
 */
#include "openssl/provider/psk.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct kdf_ctx {
    struct prov *prov;
    EVP_KDF_CTX *soft;
    char digest[64];                /* name; "" when not set */
    struct psk_premaster premaster; /* TLS 1.2 */
    struct buf seed;
    int mode; /* TLS 1.3, EVP_KDF_HKDF_MODE_* */
    struct psk key;
    bool has_salt;
    struct psk salt;
    struct buf secret; /* the key as it came, for the one case that mixes it with the chip's */
    struct buf prefix;
    struct buf label;
    struct buf data;
};

static OSSL_FUNC_kdf_newctx_fn new_prf;
static OSSL_FUNC_kdf_newctx_fn new_hkdf;
static OSSL_FUNC_kdf_freectx_fn free_ctx;
static OSSL_FUNC_kdf_dupctx_fn dup_ctx;
static OSSL_FUNC_kdf_reset_fn reset;
static OSSL_FUNC_kdf_derive_fn derive_prf;
static OSSL_FUNC_kdf_derive_fn derive_hkdf;
static OSSL_FUNC_kdf_set_ctx_params_fn set_prf_params;
static OSSL_FUNC_kdf_set_ctx_params_fn set_hkdf_params;
static OSSL_FUNC_kdf_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_kdf_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_kdf_gettable_ctx_params_fn gettable_ctx_params;

static EVP_KDF_CTX *
soft_ctx(const struct prov *p, const char *name)
{
    EVP_KDF *kdf = EVP_KDF_fetch(p->soft, name, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf); /* takes NULL */

    EVP_KDF_free(kdf);
    return ctx;
}

static void *
new_ctx(struct prov *p, const char *name)
{
    struct kdf_ctx *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->prov = prov_ref(p);
    c->soft = soft_ctx(p, name);
    if (c->soft == NULL) {
        free_ctx(c);
        return NULL;
    }
    return c;
}

static void *
new_prf(void *provctx)
{
    return new_ctx(provctx, OSSL_KDF_NAME_TLS1_PRF);
}

static void *
new_hkdf(void *provctx)
{
    return new_ctx(provctx, "TLS13-KDF");
}

static void
forget(struct kdf_ctx *c)
{
    struct buf *const all[] = { &c->seed, &c->secret, &c->prefix, &c->label, &c->data };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]->ptr != NULL)
            bm_wipe(all[i]->ptr, all[i]->cap);
        buf_fini(all[i]);
    }
    *c = (struct kdf_ctx){ .prov = c->prov, .soft = c->soft };
}

static void
free_ctx(void *ctx)
{
    struct kdf_ctx *c = ctx;

    if (c == NULL)
        return;
    forget(c);
    EVP_KDF_CTX_free(c->soft);
    prov_unref(c->prov);
    free(c);
}

static void
reset(void *ctx)
{
    struct kdf_ctx *c = ctx;

    forget(c);
    EVP_KDF_CTX_reset(c->soft);
}

static struct buf
copy_of(const struct buf *from)
{
    struct buf b = { 0 };

    buf_add(&b, from->ptr, from->len);
    return b;
}

static void *
dup_ctx(void *ctx)
{
    const struct kdf_ctx *from = ctx;
    struct kdf_ctx *c = malloc(sizeof *c);

    if (c == NULL)
        return NULL;
    *c = *from;
    c->prov = prov_ref(from->prov);
    c->soft = EVP_KDF_CTX_dup(from->soft);
    c->seed = copy_of(&from->seed);
    c->secret = copy_of(&from->secret);
    c->prefix = copy_of(&from->prefix);
    c->label = copy_of(&from->label);
    c->data = copy_of(&from->data);
    if (c->soft == NULL || c->seed.failed || c->secret.failed || c->prefix.failed ||
        c->label.failed || c->data.failed) {
        free_ctx(c);
        return NULL;
    }
    return c;
}

static struct span
octets(const OSSL_PARAM *p)
{
    return p->data_type == OSSL_PARAM_OCTET_STRING && p->data != NULL
               ? span_of(p->data, p->data_size)
               : (struct span){ 0 };
}

/* Replace what `to` holds by the parameter, when it is there. */
static void
take(const OSSL_PARAM params[], const char *name, struct buf *to)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);

    if (p == NULL)
        return;
    if (to->ptr != NULL)
        bm_wipe(to->ptr, to->len);
    to->len = 0;
    buf_add(to, octets(p).ptr, octets(p).len);
}

static int
set_common_params(struct kdf_ctx *c, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_DIGEST);
    char *digest = c->digest;

    if (p != NULL && !OSSL_PARAM_get_utf8_string(p, &digest, sizeof c->digest))
        return 0;
    return EVP_KDF_CTX_set_params(c->soft, params);
}

/* NULL: no digest was set, or none that is known. */
static EVP_MD *
digest_of(const struct kdf_ctx *c)
{
    return c->digest[0] != '\0' ? EVP_MD_fetch(c->prov->soft, c->digest, NULL) : NULL;
}

static int
set_prf_params(void *ctx, const OSSL_PARAM params[])
{
    struct kdf_ctx *c = ctx;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SECRET);
    if (p != NULL)
        c->premaster = psk_look_premaster(octets(p));
    for (p = params; (p = OSSL_PARAM_locate_const(p, OSSL_KDF_PARAM_SEED)) != NULL; p++)
        buf_add(&c->seed, octets(p).ptr, octets(p).len);
    return !c->seed.failed && set_common_params(c, params);
}

static int
derive_prf(void *ctx, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
    struct kdf_ctx *c = ctx;
    EVP_MD *md;
    int ok;

    if (!set_prf_params(c, params))
        return 0;
    if (c->premaster.psk.found == PSK_NONE)
        return EVP_KDF_derive(c->soft, out, len, NULL);
    md = digest_of(c);
    ok = psk_prf(c->prov, &c->premaster, md, buf_span(&c->seed), out, len);
    EVP_MD_free(md);
    return ok;
}

static int
take_mode(struct kdf_ctx *c, const OSSL_PARAM *p)
{
    if (p == NULL)
        return 1;
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, &c->mode);
    if (strcmp(p->data, "EXTRACT_ONLY") == 0)
        c->mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    else if (strcmp(p->data, "EXPAND_ONLY") == 0)
        c->mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    return 1; /* what else it may be the software judges */
}

static int
set_hkdf_params(void *ctx, const OSSL_PARAM params[])
{
    struct kdf_ctx *c = ctx;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_KEY);
    if (p != NULL)
        c->key = psk_look(octets(p));
    p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SALT);
    if (p != NULL) {
        c->has_salt = true;
        c->salt = psk_look(octets(p));
    }
    take(params, OSSL_KDF_PARAM_KEY, &c->secret);
    take(params, OSSL_KDF_PARAM_PREFIX, &c->prefix);
    take(params, OSSL_KDF_PARAM_LABEL, &c->label);
    take(params, OSSL_KDF_PARAM_DATA, &c->data);
    return !c->secret.failed && !c->prefix.failed && !c->label.failed && !c->data.failed &&
           take_mode(c, OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_MODE)) &&
           set_common_params(c, params);
}

/* HKDF-Extract on the host, with a salt that came from the chip. */
static int
extract(const struct prov *p, const uint8_t salt[A71CH_HASH_LEN], struct span ikm, uint8_t *out,
    size_t len)
{
    static const uint8_t zeros[A71CH_HASH_LEN]; /* what TLS 1.3 takes for no input */
    EVP_KDF_CTX *ctx = soft_ctx(p, OSSL_KDF_NAME_HKDF);
    char digest[] = "SHA2-256";
    int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    struct span key = ikm.len > 0 ? ikm : SPAN(zeros);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, A71CH_HASH_LEN),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key.ptr, key.len),
        OSSL_PARAM_END,
    };
    int ok = ctx != NULL && EVP_KDF_derive(ctx, out, len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    return ok;
}

/* The handshake secret: the early secret's "derived" comes from the chip, the rest is the host's.
 * RFC 8446 7.1 */
static int
extract_after_early(struct kdf_ctx *c, const EVP_MD *md, uint8_t *out, size_t len)
{
    uint8_t nothing[EVP_MAX_MD_SIZE];
    uint8_t derived[A71CH_HASH_LEN];
    unsigned size = 0;
    int ok = EVP_Digest("", 0, nothing, &size, md, NULL) == 1 &&
             psk_expand(c->prov, &c->salt, md, buf_span(&c->prefix), buf_span(&c->label),
                 span_of(nothing, size), derived, sizeof derived) &&
             extract(c->prov, derived, buf_span(&c->secret), out, len);

    bm_wipe(derived, sizeof derived);
    return ok;
}

static int
derive_in_chip(struct kdf_ctx *c, const EVP_MD *md, uint8_t *out, size_t len)
{
    if (md == NULL)
        return prov_raise(c->prov, REASON_DIGEST, "'%s'", c->digest);
    if (c->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY && !c->has_salt && c->key.found == PSK_REFERENCE)
        return psk_early(c->prov, &c->key, md, out, len);
    if (c->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY && c->salt.found == PSK_EARLY &&
        c->key.found == PSK_NONE)
        return extract_after_early(c, md, out, len);
    if (c->mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && c->key.found == PSK_EARLY)
        return psk_expand(c->prov, &c->key, md, buf_span(&c->prefix), buf_span(&c->label),
            buf_span(&c->data), out, len);
    return prov_raise(
        c->prov, REASON_PSK, "TLS 1.3 does not derive keys in this way from a reference");
}

static int
derive_hkdf(void *ctx, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
    struct kdf_ctx *c = ctx;
    EVP_MD *md;
    int ok;

    if (!set_hkdf_params(c, params))
        return 0;
    if (c->key.found == PSK_NONE && c->salt.found == PSK_NONE)
        return EVP_KDF_derive(c->soft, out, len, NULL);
    md = digest_of(c);
    ok = derive_in_chip(c, md, out, len);
    EVP_MD_free(md);
    return ok;
}

static const OSSL_PARAM *
settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SECRET, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MODE, NULL, 0),
        OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, NULL),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_DATA, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return ctx != NULL ? EVP_KDF_CTX_settable_params(((struct kdf_ctx *)ctx)->soft) : types;
}

static int
get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    return EVP_KDF_CTX_get_params(((struct kdf_ctx *)ctx)->soft, params);
}

static const OSSL_PARAM *
gettable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_size_t(OSSL_KDF_PARAM_SIZE, NULL),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

#define COMMON_FUNCTIONS                                                                           \
    PROV_FN(OSSL_FUNC_KDF_FREECTX, free_ctx), PROV_FN(OSSL_FUNC_KDF_DUPCTX, dup_ctx),              \
        PROV_FN(OSSL_FUNC_KDF_RESET, reset),                                                       \
        PROV_FN(OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, settable_ctx_params),                           \
        PROV_FN(OSSL_FUNC_KDF_GET_CTX_PARAMS, get_ctx_params),                                     \
        PROV_FN(OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, gettable_ctx_params)

const OSSL_DISPATCH prf_functions[] = {
    PROV_FN(OSSL_FUNC_KDF_NEWCTX, new_prf),
    PROV_FN(OSSL_FUNC_KDF_DERIVE, derive_prf),
    PROV_FN(OSSL_FUNC_KDF_SET_CTX_PARAMS, set_prf_params),
    COMMON_FUNCTIONS,
    PROV_END,
};

const OSSL_DISPATCH hkdf_functions[] = {
    PROV_FN(OSSL_FUNC_KDF_NEWCTX, new_hkdf),
    PROV_FN(OSSL_FUNC_KDF_DERIVE, derive_hkdf),
    PROV_FN(OSSL_FUNC_KDF_SET_CTX_PARAMS, set_hkdf_params),
    COMMON_FUNCTIONS,
    PROV_END,
};
