/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See provider.h: writing private keys. The private half of a chip key cannot be exported, so no
 * other provider's encoder can write it; ours makes an ordinary key with the magic scalar and lets
 * the default provider write that: the same reference file again, in any form OpenSSL knows.
 */
#include "openssl/provider/provider.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/params.h>
#include <stdlib.h>

struct encode_ctx {
    struct prov *prov;
    bool encrypt;
    char cipher[64];
};

static OSSL_FUNC_encoder_newctx_fn new_ctx;
static OSSL_FUNC_encoder_freectx_fn free_ctx;
static OSSL_FUNC_encoder_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_encoder_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_encoder_does_selection_fn does_selection;

static void *
new_ctx(void *provctx)
{
    struct encode_ctx *c = calloc(1, sizeof *c);

    if (c != NULL)
        c->prov = prov_ref(provctx);
    return c;
}

static void
free_ctx(void *ctx)
{
    struct encode_ctx *c = ctx;

    if (c == NULL)
        return;
    prov_unref(c->prov);
    free(c);
}

static int
set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    struct encode_ctx *c = ctx;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_ENCODER_PARAM_CIPHER);
    char *to = c->cipher;

    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_utf8_string(p, &to, sizeof c->cipher))
        return 0;
    c->encrypt = c->cipher[0] != '\0';
    return 1;
}

static const OSSL_PARAM *
settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_CIPHER, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return types;
}

/* Public halves are written by others after a public export. */
static int
does_selection(void *provctx, int selection)
{
    (void)provctx;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static int
write_out(const struct prov *p, OSSL_CORE_BIO *out, BIO *mem)
{
    char *text = NULL;
    long len = BIO_get_mem_data(mem, &text);
    size_t done = 0;

    return len > 0 && p->bio_write(out, text, (size_t)len, &done) && done == (size_t)len;
}

static int
write_with_default(const struct encode_ctx *c, EVP_PKEY *pkey, int selection, const char *type,
    const char *structure, OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg, BIO *mem)
{
    OSSL_ENCODER_CTX *ectx = OSSL_ENCODER_CTX_new_for_pkey(pkey, selection, type, structure, NULL);
    int ok = ectx != NULL;

    if (ok && c->encrypt)
        ok = OSSL_ENCODER_CTX_set_cipher(ectx, c->cipher, NULL) == 1;
    if (ok && cb != NULL)
        ok = OSSL_ENCODER_CTX_set_passphrase_cb(ectx, cb, cbarg) == 1;
    ok = ok && OSSL_ENCODER_to_bio(ectx, mem) == 1;
    OSSL_ENCODER_CTX_free(ectx);
    return ok;
}

static int
encode(const struct encode_ctx *c, OSSL_CORE_BIO *out, const struct key *k, int selection,
    const char *type, const char *structure, OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)
{
    EVP_PKEY *reference = NULL;
    BIO *mem = NULL;
    char name[KEY_NAME_MAX];
    int ok = 0;

    if (k == NULL || k->soft == NULL)
        return 0; /* an abstract object: keys of other providers are not ours to write */
    if (k->is_chip && (reference = key_as_reference(k)) == NULL)
        return 0;
    mem = BIO_new(BIO_s_secmem());
    if (mem == NULL)
        goto out;
    if (k->is_chip && structure == NULL) /* text: a scalar shown without a word would mislead */
        (void)BIO_printf(
            mem, "A71CH reference to %s; \"priv\" below is a name, not a key\n", key_name(k, name));
    ok = write_with_default(
             c, k->is_chip ? reference : k->soft, selection, type, structure, cb, cbarg, mem) &&
         write_out(c->prov, out, mem);
out:
    BIO_free(mem);
    EVP_PKEY_free(reference);
    return ok;
}

/* One encoder per row: name, output type and structure as OSSL_ENCODER knows them. */
#define ENCODERS(X)                                                                                \
    X(sec1_der, "DER", "type-specific")                                                            \
    X(sec1_pem, "PEM", "type-specific")                                                            \
    X(pkcs8_der, "DER", "PrivateKeyInfo")                                                          \
    X(pkcs8_pem, "PEM", "PrivateKeyInfo")                                                          \
    X(encrypted_der, "DER", "EncryptedPrivateKeyInfo")                                             \
    X(encrypted_pem, "PEM", "EncryptedPrivateKeyInfo")                                             \
    X(text, "TEXT", NULL)

#define ENCODER_FUNCTIONS(name, type, structure)                                                   \
    static int encode_##name(void *ctx, OSSL_CORE_BIO *out, const void *obj,                       \
        const OSSL_PARAM abstract[], int selection, OSSL_PASSPHRASE_CALLBACK *cb, void *cbarg)     \
    {                                                                                              \
        if (abstract != NULL)                                                                      \
            return 0;                                                                              \
        return encode(ctx, out, obj, selection, type, structure, cb, cbarg);                       \
    }                                                                                              \
    static const OSSL_DISPATCH name##_functions[] = {                                              \
        PROV_FN(OSSL_FUNC_ENCODER_NEWCTX, new_ctx),                                                \
        PROV_FN(OSSL_FUNC_ENCODER_FREECTX, free_ctx),                                              \
        PROV_FN(OSSL_FUNC_ENCODER_SET_CTX_PARAMS, set_ctx_params),                                 \
        PROV_FN(OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, settable_ctx_params),                       \
        PROV_FN(OSSL_FUNC_ENCODER_DOES_SELECTION, does_selection),                                 \
        PROV_FN(OSSL_FUNC_ENCODER_ENCODE, encode_##name),                                          \
        PROV_END,                                                                                  \
    };
ENCODERS(ENCODER_FUNCTIONS)

#define ROW(properties, functions)                                                                 \
    {                                                                                              \
        PROV_EC_NAMES, PROV_PROPERTIES "," properties, functions, "EC keys and A71CH references"   \
    }

const OSSL_ALGORITHM encoder_algorithms[] = {
    ROW("output=der,structure=type-specific", sec1_der_functions),
    ROW("output=pem,structure=type-specific", sec1_pem_functions),
    ROW("output=der,structure=PrivateKeyInfo", pkcs8_der_functions),
    ROW("output=pem,structure=PrivateKeyInfo", pkcs8_pem_functions),
    ROW("output=der,structure=EncryptedPrivateKeyInfo", encrypted_der_functions),
    ROW("output=pem,structure=EncryptedPrivateKeyInfo", encrypted_pem_functions),
    ROW("output=text", text_functions),
    { NULL, NULL, NULL, NULL },
};
