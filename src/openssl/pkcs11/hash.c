/* SPDX-License-Identifier: Apache-2.0 */
/* See hash.h. Plain functions on a caller's memory: they cannot fail and leave nothing to free. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "openssl/pkcs11/hash.h"

#include <p11-kit/pkcs11.h>

#define HASH_FUNCTIONS(name, member, prefix)                                                       \
    static void name##_begin(union hash_state *s)                                                  \
    {                                                                                              \
        (void)prefix##_Init(&s->member);                                                           \
    }                                                                                              \
    static void name##_add(union hash_state *s, struct span data)                                  \
    {                                                                                              \
        (void)prefix##_Update(&s->member, data.ptr, data.len);                                     \
    }                                                                                              \
    static void name##_end(union hash_state *s, uint8_t out[HASH_MAX])                             \
    {                                                                                              \
        (void)prefix##_Final(out, &s->member);                                                     \
    }

HASH_FUNCTIONS(sha1, sha1, SHA1)
HASH_FUNCTIONS(sha224, sha256, SHA224)
HASH_FUNCTIONS(sha256, sha256, SHA256)
HASH_FUNCTIONS(sha384, sha512, SHA384)
HASH_FUNCTIONS(sha512, sha512, SHA512)

static const struct hash hashes[] = {
    { CKM_ECDSA_SHA1, SHA_DIGEST_LENGTH, sha1_begin, sha1_add, sha1_end },
    { CKM_ECDSA_SHA224, SHA224_DIGEST_LENGTH, sha224_begin, sha224_add, sha224_end },
    { CKM_ECDSA_SHA256, SHA256_DIGEST_LENGTH, sha256_begin, sha256_add, sha256_end },
    { CKM_ECDSA_SHA384, SHA384_DIGEST_LENGTH, sha384_begin, sha384_add, sha384_end },
    { CKM_ECDSA_SHA512, SHA512_DIGEST_LENGTH, sha512_begin, sha512_add, sha512_end },
};

const struct hash *
hash_of(unsigned long mechanism)
{
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        if (hashes[i].mechanism == mechanism)
            return &hashes[i];
    }
    return NULL;
}
