/* SPDX-License-Identifier: Apache-2.0 */
/* The chip's P-256 arithmetic on raw keys, by libcrypto: parsed once per slot, used many times. */
#ifndef BM_CHIP_EC_H
#define BM_CHIP_EC_H

#include "base/bytes.h"

#include <openssl/evp.h>

enum { EC_PRIVATE_LEN = 32, EC_POINT_LEN = 65, EC_HASH_LEN = 32, EC_SHARED_LEN = 32 };
enum { EC_SIGNATURE_MAX = 72 }; /* SPEC a71ch 3.1 */

/* A parsed key with its ready-made operation (sign for a pair, verify for a public key). */
struct ec_key {
    EVP_PKEY *pkey; /* NULL: none */
    EVP_PKEY_CTX *op;
};

void ec_key_fini(struct ec_key *k);

/* BM_ERR_INPUT: scalar 0 or not below the order, or not an uncompressed point on the curve. */
enum bm_err ec_pair_load(
    OSSL_LIB_CTX *lib, struct span private_key, struct span point, struct ec_key *out);
enum bm_err ec_pub_load(OSSL_LIB_CTX *lib, struct span point, struct ec_key *out);

enum bm_err ec_generate(OSSL_LIB_CTX *lib, uint8_t private_key[EC_PRIVATE_LEN],
    uint8_t point[EC_POINT_LEN], struct ec_key *out);

/* DER signature over a 32-byte hash: at most EC_SIGNATURE_MAX bytes. */
enum bm_err ec_sign(const struct ec_key *pair, struct span hash, struct wr *out);
/* The same signature with integers of 32 bytes, 33 when bit 7 is set, however many are zero. */
void ec_widen_signature(struct span der, struct wr *out);
/* Do the halves of a pair belong together? */
bool ec_pair_matches(OSSL_LIB_CTX *lib, const struct ec_key *pair);
/* Strict DER only. */
bool ec_verify(const struct ec_key *pub, struct span hash, struct span signature);
/* X coordinate, EC_SHARED_LEN bytes. BM_ERR_INPUT: the peer's point is not on the curve. */
enum bm_err ec_derive(
    OSSL_LIB_CTX *lib, const struct ec_key *pair, struct span peer, struct wr *out);

#endif
