/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: two generators.
 *
 * A71CH-SEED is a seed source for OpenSSL's own. The configuration chooses it by `[random] seed`;
 * each process then draws once and each child of a fork once more. A strict failure comes from
 * get_seed and never from instantiate: a seed source that cannot be made is silently replaced by
 * the operating system's. SPEC openssl 4.
 *
 * A71CH-CLIENTRANDOM takes the place of OpenSSL's own (`[random] random`). It gives what a private
 * one of those gives, but where 32 bytes are asked for, which may be for a ClientHello, the chip
 * makes them (core/hello.h). SPEC openssl 3.2.
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>

struct rand_ctx {
    struct prov *prov;
    int state; /* EVP_RAND_STATE_* */
};

enum { STRENGTH = 256, REQUEST_MAX = 1 << 16 };

static OSSL_FUNC_rand_newctx_fn new_seed;
static OSSL_FUNC_rand_newctx_fn new_hello;
static OSSL_FUNC_rand_freectx_fn free_ctx;
static OSSL_FUNC_rand_instantiate_fn instantiate;
static OSSL_FUNC_rand_uninstantiate_fn uninstantiate;
static OSSL_FUNC_rand_generate_fn generate_seed;
static OSSL_FUNC_rand_generate_fn generate_hello;
static OSSL_FUNC_rand_reseed_fn reseed;
static OSSL_FUNC_rand_get_seed_fn get_seed;
static OSSL_FUNC_rand_clear_seed_fn clear_seed;
static OSSL_FUNC_rand_enable_locking_fn enable_locking;
static OSSL_FUNC_rand_lock_fn lock;
static OSSL_FUNC_rand_unlock_fn unlock;
static OSSL_FUNC_rand_gettable_ctx_params_fn gettable_ctx_params;
static OSSL_FUNC_rand_get_ctx_params_fn get_ctx_params;

static void *
new_ctx(struct prov *p)
{
    struct rand_ctx *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->prov = prov_ref(p);
    c->state = EVP_RAND_STATE_UNINITIALISED;
    return c;
}

static void *
new_seed(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls)
{
    (void)parent_calls;
    if (parent != NULL) {
        (void)prov_raise(provctx, REASON_PARAMETER, "A71CH-SEED is a source; it has no parent");
        return NULL;
    }
    return new_ctx(provctx);
}

/* The parent is asked for nothing: what stands behind it has seeds of its own. */
static void *
new_hello(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls)
{
    (void)parent;
    (void)parent_calls;
    return new_ctx(provctx);
}

static void
free_ctx(void *ctx)
{
    struct rand_ctx *c = ctx;

    if (c == NULL)
        return;
    prov_unref(c->prov);
    free(c);
}

static int
instantiate(void *ctx, unsigned int strength, int prediction_resistance, const unsigned char *pstr,
    size_t pstr_len, const OSSL_PARAM params[])
{
    struct rand_ctx *c = ctx;

    (void)prediction_resistance; /* every byte is new */
    (void)pstr;
    (void)pstr_len;
    (void)params;
    if (strength > STRENGTH)
        return prov_raise(
            c->prov, REASON_PARAMETER, "a strength of %u; there are %d bits", strength, STRENGTH);
    c->state = EVP_RAND_STATE_READY;
    return 1;
}

static int
uninstantiate(void *ctx)
{
    struct rand_ctx *c = ctx;

    c->state = EVP_RAND_STATE_UNINITIALISED;
    return 1;
}

/* A caller's additional input is mixed in; it can do no harm. */
static int
fill(struct rand_ctx *c, unsigned char *out, size_t len, const unsigned char *extra,
    size_t extra_len)
{
    struct bm_msg msg = { "" };
    enum bm_err err = mixed_random_fill(&c->prov->random, out, len, &msg);

    if (err != BM_OK)
        return prov_raise_chip(c->prov, err, &msg);
    for (size_t i = 0; i < extra_len && len > 0; i++)
        out[i % len] ^= extra[i];
    return 1;
}

static int
require_ready(const struct rand_ctx *c, unsigned int strength)
{
    if (c->state == EVP_RAND_STATE_READY && strength <= STRENGTH)
        return 1;
    return prov_raise(
        c->prov, REASON_PARAMETER, "the generator is not instantiated, or not with this strength");
}

static int
generate_seed(void *ctx, unsigned char *out, size_t len, unsigned int strength,
    int prediction_resistance, const unsigned char *extra, size_t extra_len)
{
    struct rand_ctx *c = ctx;

    (void)prediction_resistance;
    return require_ready(c, strength) && fill(c, out, len, extra, extra_len);
}

static int
generate_hello(void *ctx, unsigned char *out, size_t len, unsigned int strength,
    int prediction_resistance, const unsigned char *extra, size_t extra_len)
{
    const struct rand_ctx *c = ctx;
    struct bm_msg msg = { "" };
    enum bm_err err;

    (void)prediction_resistance;
    (void)extra; /* the private generator takes none */
    (void)extra_len;
    if (!require_ready(c, strength))
        return 0;
    if (len == A71CH_RANDOM_LEN) {
        err = hello_make(c->prov->hello, out, &msg);
        if (err == BM_OK)
            return 1;
        if (atomic_load(&c->prov->random.strict))
            return prov_raise_chip(c->prov, err, &msg);
    }
    return RAND_bytes_ex(c->prov->soft, out, len, strength) == 1;
}

static int
reseed(void *ctx, int prediction_resistance, const unsigned char *ent, size_t ent_len,
    const unsigned char *extra, size_t extra_len)
{
    const struct rand_ctx *c = ctx;

    (void)prediction_resistance;
    (void)ent;
    (void)ent_len;
    (void)extra;
    (void)extra_len;
    return c->state == EVP_RAND_STATE_READY;
}

static size_t
get_seed(void *ctx, unsigned char **out, int entropy, size_t min_len, size_t max_len,
    int prediction_resistance, const unsigned char *extra, size_t extra_len)
{
    struct rand_ctx *c = ctx;
    size_t len = entropy > 0 ? ((size_t)entropy + 7) / 8 : 0;
    unsigned char *bytes;

    (void)prediction_resistance;
    if (len < min_len)
        len = min_len;
    if (len == 0 || len > max_len || len > REQUEST_MAX) {
        (void)prov_raise(
            c->prov, REASON_PARAMETER, "a seed of %zu bytes, %zu to %zu", len, min_len, max_len);
        return 0;
    }
    bytes = malloc(len);
    if (bytes == NULL || !fill(c, bytes, len, extra, extra_len)) {
        free(bytes);
        return 0;
    }
    *out = bytes;
    return len;
}

static void
clear_seed(void *ctx, unsigned char *out, size_t len)
{
    (void)ctx;
    if (out != NULL)
        bm_wipe(out, len);
    free(out);
}

/* What is behind it locks itself. */
static int
enable_locking(void *ctx)
{
    (void)ctx;
    return 1;
}

static int
lock(void *ctx)
{
    (void)ctx;
    return 1;
}

static void
unlock(void *ctx)
{
    (void)ctx;
}

static const OSSL_PARAM *
gettable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, NULL),
        OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, NULL),
        OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, NULL),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return types;
}

static int
get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    const struct rand_ctx *c = ctx;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);

    if (p != NULL && !OSSL_PARAM_set_int(p, c->state))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
    if (p != NULL && !OSSL_PARAM_set_uint(p, STRENGTH))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
    return p == NULL || OSSL_PARAM_set_size_t(p, REQUEST_MAX);
}

#define COMMON_FUNCTIONS                                                                           \
    PROV_FN(OSSL_FUNC_RAND_FREECTX, free_ctx), PROV_FN(OSSL_FUNC_RAND_INSTANTIATE, instantiate),   \
        PROV_FN(OSSL_FUNC_RAND_UNINSTANTIATE, uninstantiate),                                      \
        PROV_FN(OSSL_FUNC_RAND_RESEED, reseed),                                                    \
        PROV_FN(OSSL_FUNC_RAND_ENABLE_LOCKING, enable_locking),                                    \
        PROV_FN(OSSL_FUNC_RAND_LOCK, lock), PROV_FN(OSSL_FUNC_RAND_UNLOCK, unlock),                \
        PROV_FN(OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, gettable_ctx_params),                          \
        PROV_FN(OSSL_FUNC_RAND_GET_CTX_PARAMS, get_ctx_params)

const OSSL_DISPATCH seed_functions[] = {
    PROV_FN(OSSL_FUNC_RAND_NEWCTX, new_seed),
    PROV_FN(OSSL_FUNC_RAND_GENERATE, generate_seed),
    PROV_FN(OSSL_FUNC_RAND_GET_SEED, get_seed),
    PROV_FN(OSSL_FUNC_RAND_CLEAR_SEED, clear_seed),
    COMMON_FUNCTIONS,
    PROV_END,
};

const OSSL_DISPATCH hello_functions[] = {
    PROV_FN(OSSL_FUNC_RAND_NEWCTX, new_hello),
    PROV_FN(OSSL_FUNC_RAND_GENERATE, generate_hello),
    COMMON_FUNCTIONS,
    PROV_END,
};
