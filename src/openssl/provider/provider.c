/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h. The module's only exported symbol, the provider's own parameters, the TLS groups
 * it must repeat, and its way onto the error queue.
 */
#include "openssl/provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) OSSL_provider_init_fn OSSL_provider_init;

/* OSSL_ITEM has no const; nobody writes there */
#define REASON_ROW(name, number, sentence) { (number), (void *)(uintptr_t)(sentence) },
static const OSSL_ITEM reason_strings[] = { REASONS(REASON_ROW){ 0, NULL } };
#undef REASON_ROW

struct prov *
prov_ref(struct prov *p)
{
    (void)atomic_fetch_add(&p->refs, 1);
    return p;
}

void
prov_unref(struct prov *p)
{
    if (p == NULL || atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    hello_free(p->hello);
    shared_chip_free(p->chip);
    if (p->soft_default != NULL)
        (void)OSSL_PROVIDER_unload(p->soft_default);
    OSSL_LIB_CTX_free(p->soft);
    free(p);
}

int
prov_raise_at(const struct prov *p, enum reason reason, const char *file, int line,
    const char *func, const char *fmt, ...)
{
    va_list ap;

    if (p->new_error == NULL || p->set_error_debug == NULL || p->vset_error == NULL)
        return 0;
    p->new_error(p->handle);
    p->set_error_debug(p->handle, file, line, func);
    va_start(ap, fmt);
    p->vset_error(p->handle, (uint32_t)reason, fmt, ap);
    va_end(ap);
    return 0;
}

int
prov_raise_chip(const struct prov *p, enum bm_err err, const struct bm_msg *msg)
{
    return prov_raise(p, reason_of(err), "%s", msg->text);
}

static OSSL_FUNC_provider_teardown_fn teardown;
static OSSL_FUNC_provider_gettable_params_fn gettable_params;
static OSSL_FUNC_provider_get_params_fn get_params;
static OSSL_FUNC_provider_query_operation_fn query_operation;
static OSSL_FUNC_provider_get_capabilities_fn get_capabilities;
static OSSL_FUNC_provider_get_reason_strings_fn get_reason_strings;

static void
teardown(void *provctx)
{
    prov_unref(provctx);
}

static const OSSL_PARAM *
gettable_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_utf8_ptr(PROV_PARAM_ADDRESS, NULL, 0),
        OSSL_PARAM_utf8_ptr(PROV_PARAM_WARNING, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return types;
}

static int
get_params(void *provctx, OSSL_PARAM params[])
{
    const struct prov *prov = provctx;
    const char *const texts[][2] = {
        { OSSL_PROV_PARAM_NAME, "NXP A71CH keys (Birthmark)" },
        { OSSL_PROV_PARAM_VERSION, BIRTHMARK_VERSION },
        { OSSL_PROV_PARAM_BUILDINFO, "birthmark " BIRTHMARK_VERSION },
        { PROV_PARAM_ADDRESS, prov->address },
        { PROV_PARAM_WARNING, prov->warning },
    };
    OSSL_PARAM *p;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        p = OSSL_PARAM_locate(params, texts[i][0]);
        if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, texts[i][1]))
            return 0;
    }
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    return p == NULL || OSSL_PARAM_set_int(p, 1); /* also without a chip: SPEC openssl 5 */
}

static const OSSL_ALGORITHM *
query_operation(void *provctx, int operation, int *no_cache)
{
    static const OSSL_ALGORITHM keymgmt[] = {
        { PROV_EC_NAMES, PROV_PROPERTIES, keymgmt_functions,
            "EC keys, in the A71CH or in software" },
        { NULL, NULL, NULL, NULL },
    };
    static const OSSL_ALGORITHM signature[] = {
        { "ECDSA", PROV_PROPERTIES, signature_functions, "ECDSA, in the A71CH or in software" },
        { NULL, NULL, NULL, NULL },
    };
    static const OSSL_ALGORITHM keyexch[] = {
        { "ECDH", PROV_PROPERTIES, keyexch_functions, "ECDH, in the A71CH or in software" },
        { NULL, NULL, NULL, NULL },
    };

    static const OSSL_ALGORITHM kdf[] = {
        { "TLS1-PRF", PROV_PSK_PROPERTIES, prf_functions, "PRF of TLS 1.2, PSKs in the A71CH" },
        { "TLS13-KDF", PROV_PSK_PROPERTIES, hkdf_functions,
            "key schedule of TLS 1.3, PSKs in the A71CH" },
        { NULL, NULL, NULL, NULL },
    };
    static const OSSL_ALGORITHM rand[] = {
        { "A71CH-SEED", "provider=e2a71ch", seed_functions,
            "seed of the A71CH, mixed with the operating system's" },
        { "A71CH-CLIENTRANDOM", "provider=e2a71ch", hello_functions,
            "random numbers whose ClientHello randoms are the A71CH's" },
        { NULL, NULL, NULL, NULL },
    };

    (void)provctx;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keymgmt;
    case OSSL_OP_SIGNATURE:
        return signature;
    case OSSL_OP_KEYEXCH:
        return keyexch;
    case OSSL_OP_KDF:
        return kdf;
    case OSSL_OP_RAND:
        return rand;
    case OSSL_OP_DECODER:
        return decoder_algorithms;
    case OSSL_OP_STORE:
        return store_algorithms;
    case OSSL_OP_ENCODER:
        return encoder_algorithms;
    default:
        return NULL;
    }
}

struct forward {
    OSSL_CALLBACK *cb;
    void *arg;
};

/* libssl drops a group whose "EC" is not of the provider that offered it. SPEC openssl 1.5 */
static int
forward_ec_group(const OSSL_PARAM params[], void *arg)
{
    const struct forward *f = arg;
    const OSSL_PARAM *alg = OSSL_PARAM_locate_const(params, OSSL_CAPABILITY_TLS_GROUP_ALG);

    if (alg == NULL || alg->data_type != OSSL_PARAM_UTF8_STRING || strcmp(alg->data, "EC") != 0)
        return 1;
    return f->cb(params, f->arg);
}

static int
get_capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb, void *arg)
{
    const struct prov *p = provctx;
    struct forward f = { cb, arg };

    if (OPENSSL_strcasecmp(capability, "TLS-GROUP") != 0)
        return 0;
    return OSSL_PROVIDER_get_capabilities(p->soft_default, capability, forward_ec_group, &f);
}

static const OSSL_ITEM *
get_reason_strings(void *provctx)
{
    (void)provctx;
    return reason_strings;
}

static const OSSL_DISPATCH provider_functions[] = {
    PROV_FN(OSSL_FUNC_PROVIDER_TEARDOWN, teardown),
    PROV_FN(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, gettable_params),
    PROV_FN(OSSL_FUNC_PROVIDER_GET_PARAMS, get_params),
    PROV_FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query_operation),
    PROV_FN(OSSL_FUNC_PROVIDER_GET_CAPABILITIES, get_capabilities),
    PROV_FN(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, get_reason_strings),
    PROV_END,
};

static void
take_core_functions(struct prov *p, const OSSL_DISPATCH *in)
{
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            p->get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            p->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            p->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            p->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_BIO_READ_EX:
            p->bio_read = OSSL_FUNC_BIO_read_ex(in);
            break;
        case OSSL_FUNC_BIO_WRITE_EX:
            p->bio_write = OSSL_FUNC_BIO_write_ex(in);
            break;
        default: /* OpenSSL's list, not ours: most of it is not needed */
            break;
        }
    }
}

/* A connection as the configuration wants it; `timeout` is its answer_timeout, in seconds. NULL:
 * memory is short. */
static struct shared_chip *
configured_chip(struct prov *p, const char *address, const char *timeout)
{
    struct shared_chip *chip = shared_chip_new(address);
    char *end = NULL;
    unsigned long seconds = timeout != NULL ? strtoul(timeout, &end, 10) : 0;

    if (chip == NULL || timeout == NULL)
        return chip;
    if (timeout[0] >= '0' && timeout[0] <= '9' && *end == '\0' && seconds >= 1 && seconds <= 3600)
        shared_chip_set_timeout(chip, (unsigned)seconds * 1000);
    else
        (void)snprintf(p->warning, sizeof p->warning,
            "answer_timeout = %.40s counts for nothing; write seconds, 1 to 3600", timeout);
    return chip;
}

static bool
is_on(const char *value)
{
    return value != NULL && strcmp(value, "0") != 0;
}

/* One digit; what is none counts as not set, and ECDHE_PSK then says what is missing. */
static int
pair_number(const char *value)
{
    if (value == NULL || value[0] < '0' || value[0] >= '0' + A71CH_PAIR_COUNT || value[1] != '\0')
        return HELLO_NO_PAIR;
    return value[0] - '0';
}

/* What the configuration file says of us. SPEC openssl 1.4 for the name. */
static bool
take_configuration(struct prov *p)
{
    const char *name = NULL;
    const char *address = NULL;
    const char *strict = NULL;
    const char *timeout = NULL;
    const char *pair = NULL;
    const char *renew = NULL;
    OSSL_PARAM wanted[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_CORE_PROV_NAME, &name, 0),
        OSSL_PARAM_utf8_ptr("address", &address, 0),
        OSSL_PARAM_utf8_ptr("strict_random", &strict, 0),
        OSSL_PARAM_utf8_ptr("answer_timeout", &timeout, 0),
        OSSL_PARAM_utf8_ptr("psk_pair", &pair, 0),
        OSSL_PARAM_utf8_ptr("psk_pair_renew", &renew, 0),
        OSSL_PARAM_END,
    };

    if (p->get_params == NULL || !p->get_params(p->handle, wanted))
        return false;
    if (name != NULL && strcmp(name, "default") < 0)
        (void)snprintf(p->warning, sizeof p->warning,
            "the provider is called '%s', which sorts before 'default': OpenSSL may then sign with "
            "the number in the key file instead of the chip; call it " PROV_NAME,
            name);
    if (address != NULL && address[0] == '\0')
        address = NULL;
    if (address != NULL)
        (void)snprintf(p->address, sizeof p->address, "%s", address);
    p->chip = configured_chip(p, address, timeout);
    p->random.chip = p->chip;
    atomic_store(&p->random.strict, is_on(strict));
    p->hello = hello_new(configured_chip(p, address, timeout), pair_number(pair), is_on(renew));
    return p->chip != NULL && p->hello != NULL;
}

int
OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
    const OSSL_DISPATCH **out, void **provctx)
{
    struct prov *p = calloc(1, sizeof *p);

    if (p == NULL)
        return 0;
    atomic_init(&p->refs, 1);
    p->handle = handle;
    take_core_functions(p, in);
    if (p->bio_read == NULL || p->bio_write == NULL || !take_configuration(p))
        goto fail;
    p->soft = OSSL_LIB_CTX_new();
    if (p->soft != NULL)
        p->soft_default = OSSL_PROVIDER_load(p->soft, "default");
    if (p->soft_default == NULL)
        goto fail;
    *out = provider_functions;
    *provctx = p;
    return 1;
fail:
    prov_unref(p);
    return 0;
}
