/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a key file for OpenSSL with the module loaded. A key of ours must write
 * and read itself again; signing is tried on none, since there is no chip.
 */
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static OSSL_LIB_CTX *
context(void)
{
    static OSSL_LIB_CTX *ctx; /* loading takes longer than a thousand inputs */

    if (ctx != NULL)
        return ctx;
    ctx = OSSL_LIB_CTX_new();
    if (ctx == NULL || OSSL_PROVIDER_set_default_search_path(ctx, MODULE_DIR) != 1 ||
        OSSL_PROVIDER_load(ctx, "default") == NULL || OSSL_PROVIDER_load(ctx, "e2a71ch") == NULL)
        abort();
    return ctx;
}

static EVP_PKEY *
decode(const uint8_t *data, size_t size)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *d =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, "EC", EVP_PKEY_KEYPAIR, context(), NULL);

    (void)OSSL_DECODER_CTX_set_passphrase(d, (const unsigned char *)"word", 4);
    (void)OSSL_DECODER_from_data(d, &data, &size);
    OSSL_DECODER_CTX_free(d);
    return pkey;
}

static void
round_trip(EVP_PKEY *pkey)
{
    OSSL_ENCODER_CTX *e =
        OSSL_ENCODER_CTX_new_for_pkey(pkey, EVP_PKEY_KEYPAIR, "DER", "PrivateKeyInfo", NULL);
    unsigned char *der = NULL;
    size_t len = 0;
    EVP_PKEY *again;

    if (OSSL_ENCODER_to_data(e, &der, &len) != 1)
        abort();
    OSSL_ENCODER_CTX_free(e);
    again = decode(der, len);
    if (again == NULL || EVP_PKEY_eq(pkey, again) != 1)
        abort();
    EVP_PKEY_free(again);
    OPENSSL_free(der);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EVP_PKEY *pkey = decode(data, size);

    if (pkey != NULL &&
        strcmp(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(pkey)), "e2a71ch") == 0)
        round_trip(pkey);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return 0;
}
