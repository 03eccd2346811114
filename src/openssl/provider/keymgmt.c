/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: key management for "EC". Everything public is handed to the software key; what
 * differs for a chip key is said at its place.
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <stdlib.h>

#define SELECT_PARAMETERS OSSL_KEYMGMT_SELECT_ALL_PARAMETERS
#define SELECT_PRIVATE OSSL_KEYMGMT_SELECT_PRIVATE_KEY
#define SELECT_PUBLIC OSSL_KEYMGMT_SELECT_PUBLIC_KEY

static OSSL_FUNC_keymgmt_new_fn new_key;
static OSSL_FUNC_keymgmt_free_fn free_key;
static OSSL_FUNC_keymgmt_load_fn load;
static OSSL_FUNC_keymgmt_dup_fn dup_key;
static OSSL_FUNC_keymgmt_has_fn has;
static OSSL_FUNC_keymgmt_match_fn match;
static OSSL_FUNC_keymgmt_validate_fn validate;
static OSSL_FUNC_keymgmt_get_params_fn get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn gettable_params;
static OSSL_FUNC_keymgmt_set_params_fn set_params;
static OSSL_FUNC_keymgmt_settable_params_fn settable_params;
static OSSL_FUNC_keymgmt_gen_init_fn gen_init;
static OSSL_FUNC_keymgmt_gen_set_template_fn gen_set_template;
static OSSL_FUNC_keymgmt_gen_set_params_fn gen_set_params;
static OSSL_FUNC_keymgmt_gen_settable_params_fn gen_settable_params;
static OSSL_FUNC_keymgmt_gen_fn gen;
static OSSL_FUNC_keymgmt_gen_cleanup_fn gen_cleanup;
static OSSL_FUNC_keymgmt_import_fn import;
static OSSL_FUNC_keymgmt_import_types_fn exchange_types;
static OSSL_FUNC_keymgmt_export_fn export;
static OSSL_FUNC_keymgmt_query_operation_name_fn operation_name;

static void *
new_key(void *provctx)
{
    return key_new(provctx);
}

static void
free_key(void *keydata)
{
    key_unref(keydata);
}

/* The reference is the address of the decoder's pointer; taking the key empties it. */
static void *
load(const void *reference, size_t len)
{
    struct key *const *from = reference;
    struct key **slot = (struct key **)(uintptr_t)from;
    struct key *k;

    if (len != sizeof k)
        return NULL;
    k = *slot;
    *slot = NULL;
    return k;
}

/* An EVP_PKEY like `from` with the selected parts only. NULL: libcrypto raised. */
static EVP_PKEY *
copy_part(struct prov *p, const EVP_PKEY *from, int selection)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *copy = NULL;

    if (EVP_PKEY_todata(from, selection, &params) == 1)
        copy = key_soft_import(p, selection, params);
    OSSL_PARAM_free(params);
    return copy;
}

static int
part_of(int selection)
{
    if ((selection & SELECT_PUBLIC) != 0)
        return EVP_PKEY_PUBLIC_KEY;
    return EVP_PKEY_KEY_PARAMETERS;
}

static void *
dup_key(const void *keydata, int selection)
{
    const struct key *from = keydata;
    struct key *k = from != NULL ? key_new(from->prov) : NULL;
    EVP_PKEY *soft;

    if (k == NULL || from->soft == NULL)
        return k;
    if ((selection & SELECT_PRIVATE) != 0)
        soft = EVP_PKEY_dup(from->soft);
    else
        soft = copy_part(from->prov, from->soft, part_of(selection));
    if (!key_take(k, soft)) {
        key_unref(k);
        return NULL;
    }
    if (from->is_chip && (selection & SELECT_PRIVATE) != 0) {
        k->is_chip = true;
        k->has_private = true;
        k->ref = from->ref;
        atomic_store(&k->slot, atomic_load(&from->slot));
    }
    return k;
}

static int
has(const void *keydata, int selection)
{
    const struct key *k = keydata;

    if (k == NULL)
        return 0;
    if ((selection & SELECT_PRIVATE) != 0 && !k->has_private)
        return 0;
    if ((selection & SELECT_PUBLIC) != 0 && !k->has_public)
        return 0;
    return (selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) == 0 || k->soft != NULL;
}

static int
match(const void *keydata1, const void *keydata2, int selection)
{
    const struct key *a = keydata1;
    const struct key *b = keydata2;
    int ok;

    if (a->soft == NULL || b->soft == NULL)
        return 0;
    (void)ERR_set_mark();
    if ((selection & (SELECT_PUBLIC | SELECT_PRIVATE)) != 0)
        ok = EVP_PKEY_eq(a->soft, b->soft) == 1; /* by public half: a chip key has no other */
    else
        ok = EVP_PKEY_parameters_eq(a->soft, b->soft) == 1;
    (void)ERR_pop_to_mark();
    return ok;
}

static int
check_soft(const struct key *k, int selection, bool quick)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(k->prov->soft, k->soft, NULL);
    bool public = (selection & SELECT_PUBLIC) != 0;
    bool private = (selection & SELECT_PRIVATE) != 0 && !k->is_chip;
    int ok = ctx != NULL;

    if (ok && (selection & SELECT_PARAMETERS) != 0)
        ok = (quick ? EVP_PKEY_param_check_quick(ctx) : EVP_PKEY_param_check(ctx)) == 1;
    if (ok && public)
        ok = (quick ? EVP_PKEY_public_check_quick(ctx) : EVP_PKEY_public_check(ctx)) == 1;
    if (ok && private)
        ok = EVP_PKEY_private_check(ctx) == 1;
    if (ok && public && private)
        ok = EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Of a chip key the public half: whether the slot holds its partner shows at the first signature.
 */
static int
validate(const void *keydata, int selection, int checktype)
{
    const struct key *k = keydata;

    if (!has(k, selection) || k->soft == NULL)
        return 0;
    return check_soft(k, selection, checktype == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK);
}

static int
get_params(void *keydata, OSSL_PARAM params[])
{
    const struct key *k = keydata;

    return k->soft != NULL && EVP_PKEY_get_params(k->soft, params) == 1;
}

static const OSSL_PARAM *
gettable_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return types;
}

static int
set_params(void *keydata, const OSSL_PARAM params[])
{
    struct key *k = keydata;
    OSSL_PARAM *copy;
    char name[KEY_NAME_MAX];
    int ok;

    if (k->soft == NULL)
        return 0;
    if (k->is_chip && OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != NULL)
        return prov_raise(k->prov, REASON_PARAMETER,
            "the public half of %s belongs to the chip and cannot be replaced", key_name(k, name));
    copy = OSSL_PARAM_dup(params);
    ok = copy != NULL && EVP_PKEY_set_params(k->soft, copy) == 1;
    OSSL_PARAM_free(copy);
    /* a peer's key in TLS: a group first, the point afterwards */
    if (ok && OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != NULL)
        k->has_public = true;
    return ok;
}

static const OSSL_PARAM *
settable_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return types;
}

/*
 * Generation is in software, because ephemeral keys must not wear the chip (SPEC openssl 4), unless
 * the parameter PROV_PARAM_PAIR names a slot.
 */
enum { IN_SOFTWARE = -1 };

struct generation {
    struct prov *prov;
    EVP_PKEY_CTX *ctx;
    int slot; /* or IN_SOFTWARE */
    bool other_curve;
    bool makes_pair; /* not parameters only */
};

static bool
names_p256(const OSSL_PARAM *p)
{
    static const char *const names[] = { "prime256v1", "P-256", "secp256r1" };
    char name[64];
    char *to = name;
    bool is = false;

    if (!OSSL_PARAM_get_utf8_string(p, &to, sizeof name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        is = is || OPENSSL_strcasecmp(name, names[i]) == 0;
    return is;
}

static void *
gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    struct prov *p = provctx;
    struct generation *g = calloc(1, sizeof *g);
    int ok;

    if (g == NULL)
        return NULL;
    g->prov = prov_ref(p);
    g->slot = IN_SOFTWARE;
    g->ctx = EVP_PKEY_CTX_new_from_name(p->soft, "EC", NULL);
    g->makes_pair = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
    if (g->makes_pair)
        ok = EVP_PKEY_keygen_init(g->ctx);
    else
        ok = EVP_PKEY_paramgen_init(g->ctx);
    if (ok != 1 || !gen_set_params(g, params)) {
        gen_cleanup(g);
        return NULL;
    }
    return g;
}

static int
gen_set_params(void *genctx, const OSSL_PARAM params[])
{
    struct generation *g = genctx;
    const OSSL_PARAM *p;

    if (params == NULL)
        return 1;
    p = OSSL_PARAM_locate_const(params, PROV_PARAM_PAIR);
    if (p != NULL) {
        unsigned slot = 0;

        if (!OSSL_PARAM_get_uint(p, &slot) || slot >= A71CH_PAIR_COUNT)
            return prov_raise(g->prov, REASON_PARAMETER,
                PROV_PARAM_PAIR " is a number from 0 to %d", A71CH_PAIR_COUNT - 1);
        g->slot = (int)slot;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    if (p != NULL)
        g->other_curve = !names_p256(p);
    return EVP_PKEY_CTX_set_params(g->ctx, params) == 1;
}

/* OpenSSL 3.0's own generation never frees this one, which says "default". */
static void
drop_group_check(OSSL_PARAM *params)
{
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE);

    for (; p != NULL && p->key != NULL; p++)
        p[0] = p[1];
}

static int
gen_set_template(void *genctx, void *templ)
{
    const struct key *k = templ;
    OSSL_PARAM *params = NULL;
    int ok;

    if (k == NULL || k->soft == NULL)
        return 0;
    ok = EVP_PKEY_todata(k->soft, EVP_PKEY_KEY_PARAMETERS, &params) == 1;
    if (ok) {
        drop_group_check(params);
        ok = gen_set_params(genctx, params);
    }
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *
gen_settable_params(void *genctx, void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0),
        OSSL_PARAM_uint(PROV_PARAM_PAIR, NULL),
        OSSL_PARAM_END,
    };

    (void)genctx;
    (void)provctx;
    return types;
}

static void *
gen(void *genctx, OSSL_CALLBACK *cb, void *cbarg)
{
    struct generation *g = genctx;
    struct key *k;
    EVP_PKEY *pkey = NULL;

    (void)cb; /* progress: EC keys have none to tell */
    (void)cbarg;
    if (g->slot != IN_SOFTWARE && g->other_curve) {
        (void)prov_raise(g->prov, REASON_PARAMETER, "the A71CH knows no curve but P-256");
        return NULL;
    }
    if (g->slot != IN_SOFTWARE)
        return key_chip_generate(g->prov, (unsigned)g->slot);
    k = g->makes_pair && !g->other_curve ? key_of_hello(g->prov) : NULL;
    if (k != NULL)
        return k;
    k = key_new(g->prov);
    if (k == NULL)
        return NULL;
    if (EVP_PKEY_generate(g->ctx, &pkey) != 1 || !key_take(k, pkey)) {
        key_unref(k);
        return NULL;
    }
    return k;
}

static void
gen_cleanup(void *genctx)
{
    struct generation *g = genctx;

    if (g == NULL)
        return;
    EVP_PKEY_CTX_free(g->ctx);
    prov_unref(g->prov);
    free(g);
}

/* The second net: a reference key that another provider's decoder read comes in here when it is
 * used, and becomes a chip key. SPEC openssl 1.2 */
static int
import(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct key *k = keydata;
    EVP_PKEY *soft = key_soft_import(k->prov, selection, params);

    if (!key_take(k, soft))
        return 0;
    return !k->has_private || key_recognise(k);
}

static const OSSL_PARAM *
exchange_types(int selection)
{
#define GROUP_TYPES                                                                                \
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),                                   \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),                              \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),               \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),                            \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),                                              \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),                                              \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),                                              \
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),                            \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),                                          \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),                                       \
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0)
#define OTHER_TYPES                                                                                \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),                                       \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC, NULL)
    static const OSSL_PARAM group[] = { GROUP_TYPES, OTHER_TYPES, OSSL_PARAM_END };
    static const OSSL_PARAM public[] = { GROUP_TYPES, OTHER_TYPES,
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END };
    static const OSSL_PARAM pair[] = { GROUP_TYPES, OTHER_TYPES,
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0), OSSL_PARAM_END };

    if ((selection & SELECT_PRIVATE) != 0)
        return pair;
    if ((selection & SELECT_PUBLIC) != 0)
        return public;
    return (selection & SELECT_PARAMETERS) != 0 ? group : NULL;
}

/* libcrypto tries this on every signature before it comes to us: refuse without a word, and never
 * answer with the public half when the private one was asked for too. SPEC openssl 1.3 */
static int export(void *keydata, int selection, OSSL_CALLBACK *cb, void *cbarg)
{
    const struct key *k = keydata;

    if (k == NULL || k->soft == NULL || (k->is_chip && (selection & SELECT_PRIVATE) != 0))
        return 0;
    return EVP_PKEY_export(k->soft, selection, cb, cbarg);
}

static const char *
operation_name(int operation)
{
    switch (operation) {
    case OSSL_OP_KEYEXCH:
        return "ECDH";
    case OSSL_OP_SIGNATURE:
        return "ECDSA";
    default:
        return NULL;
    }
}

const OSSL_DISPATCH keymgmt_functions[] = {
    PROV_FN(OSSL_FUNC_KEYMGMT_NEW, new_key),
    PROV_FN(OSSL_FUNC_KEYMGMT_FREE, free_key),
    PROV_FN(OSSL_FUNC_KEYMGMT_LOAD, load),
    PROV_FN(OSSL_FUNC_KEYMGMT_DUP, dup_key),
    PROV_FN(OSSL_FUNC_KEYMGMT_HAS, has),
    PROV_FN(OSSL_FUNC_KEYMGMT_MATCH, match),
    PROV_FN(OSSL_FUNC_KEYMGMT_VALIDATE, validate),
    PROV_FN(OSSL_FUNC_KEYMGMT_GET_PARAMS, get_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_SET_PARAMS, set_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, settable_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN_INIT, gen_init),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, gen_set_template),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, gen_set_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, gen_settable_params),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN, gen),
    PROV_FN(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, gen_cleanup),
    PROV_FN(OSSL_FUNC_KEYMGMT_IMPORT, import),
    PROV_FN(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, exchange_types),
    PROV_FN(OSSL_FUNC_KEYMGMT_EXPORT, export),
    PROV_FN(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, exchange_types),
    PROV_FN(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, operation_name),
    PROV_END,
};
