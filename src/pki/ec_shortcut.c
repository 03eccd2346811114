/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read the EC keys of certificates without OpenSSL 3.0's decoders.
 *
 * OpenSSL 3.0 and 3.1 build a chain of provider decoders for every public key they read: 108 us to
 * parse a P-256 certificate, a quarter of a handshake, once for each certificate a device sends
 * (SPEC endpoint 2). They take the direct way, 13 us, when an ENGINE has a method for the key's
 * type. So this registers one that has nothing of its own: it hands back OpenSSL's built-in
 * method. What is accepted, and by which arithmetic it is verified, stays the same. From 3.2 on
 * decoders are cached and this file does nothing; without it everything works, only slower.
 *
 * While it is on, X509_sign refuses keys that were made by a provider, so whoever issues
 * certificates switches it on only to read them.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the ENGINE interface is the whole point */

#include "pki/pki.h"

#include <openssl/evp.h>
#include <openssl/opensslv.h>

#if OPENSSL_VERSION_NUMBER < 0x30200000L && !defined(OPENSSL_NO_ENGINE)

#include <openssl/engine.h>
#include <openssl/err.h>

#define ENGINE_ID "birthmark-ec"

/* The copy of the built-in method hangs on the engine, which frees it with itself. */
static int
find_method(ENGINE *e, EVP_PKEY_METHOD **method, const int **nids, int nid)
{
    static const int only_ec = EVP_PKEY_EC;

    if (method == NULL) {
        *nids = &only_ec;
        return 1;
    }
    *method = nid == EVP_PKEY_EC ? ENGINE_get_ex_data(e, 0) : NULL;
    return *method != NULL;
}

static ENGINE *
make_engine(void)
{
    const EVP_PKEY_METHOD *builtin = EVP_PKEY_meth_find(EVP_PKEY_EC);
    EVP_PKEY_METHOD *copy = EVP_PKEY_meth_new(EVP_PKEY_EC, 0);
    ENGINE *e = ENGINE_new();

    if (builtin == NULL || copy == NULL || e == NULL || ENGINE_set_ex_data(e, 0, copy) != 1) {
        EVP_PKEY_meth_free(copy);
        (void)ENGINE_free(e);
        return NULL;
    }
    EVP_PKEY_meth_copy(copy, builtin);
    if (ENGINE_set_id(e, ENGINE_ID) != 1 || ENGINE_set_name(e, "built-in EC method") != 1 ||
        ENGINE_set_pkey_meths(e, find_method) != 1 || ENGINE_add(e) != 1) {
        (void)ENGINE_free(e);
        return NULL;
    }
    return e;
}

bool
pki_ec_shortcut(bool on)
{
    ENGINE *e = ENGINE_by_id(ENGINE_ID);
    bool ok = true;

    if (e == NULL) {
        ERR_clear_error(); /* "no such engine" is what the first call expects */
        e = make_engine();
    }
    if (e == NULL) {
        return false;
    }
    if (on) {
        ok = ENGINE_set_default_pkey_meths(e) == 1;
    } else {
        ENGINE_unregister_pkey_meths(e);
    }
    (void)ENGINE_free(e); /* OpenSSL's list keeps it */
    return ok;
}

#else

bool
pki_ec_shortcut(bool on)
{
    (void)on;
    return true;
}

#endif
