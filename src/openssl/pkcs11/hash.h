/* SPDX-License-Identifier: Apache-2.0 */
/* The digests of the PKCS #11 module's ECDSA mechanisms. See pkcs11.h for why not EVP. */
#ifndef BM_OPENSSL_PKCS11_HASH_H
#define BM_OPENSSL_PKCS11_HASH_H

#include "base/bytes.h"

#include <openssl/sha.h>

enum { HASH_MAX = SHA512_DIGEST_LENGTH };

union hash_state {
    SHA_CTX sha1;
    SHA256_CTX sha256;
    SHA512_CTX sha512;
};

struct hash {
    unsigned long mechanism; /* ECDSA with it: CKM_ECDSA_SHA... */
    size_t len;
    void (*begin)(union hash_state *s);
    void (*add)(union hash_state *s, struct span data);
    void (*end)(union hash_state *s, uint8_t out[HASH_MAX]);
};

/* NULL: no such mechanism. */
const struct hash *hash_of(unsigned long mechanism);

#endif
