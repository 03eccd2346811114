/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's symmetric cryptography on libcrypto: AES-128 and what is made of HMAC-SHA-256.
 * BM_ERR_INTERNAL everywhere: libcrypto or memory failed.
 */
#ifndef BM_CHIP_SYM_H
#define BM_CHIP_SYM_H

#include "base/bytes.h"

#include <openssl/evp.h>

enum { SYM_HASH_LEN = 32, SYM_BLOCK_LEN = 16, SYM_WRAP_EXTRA = 8, SYM_MASTER_LEN = 48 };

/* One block. `cipher` is AES-128-ECB. */
enum bm_err sym_encrypt_block(const EVP_CIPHER *cipher, struct span key,
    const uint8_t in[SYM_BLOCK_LEN], uint8_t out[SYM_BLOCK_LEN]);

/*
 * RFC 3394 with the default IV; `out` takes wrapped.len - 8 bytes. BM_ERR_INPUT: the integrity
 * check failed (out is zeroed), or no length of a wrapped key. `cipher` is AES-128-WRAP.
 */
enum bm_err sym_unwrap(
    const EVP_CIPHER *cipher, struct span key, struct span wrapped, uint8_t *out);

/* A context ready for data; NULL: libcrypto failed. */
EVP_MAC_CTX *sym_hmac_begin(EVP_MAC *hmac, struct span key);
/* Ends the computation; the caller frees the context. */
enum bm_err sym_hmac_end(EVP_MAC_CTX *ctx, uint8_t out[SYM_HASH_LEN]);
enum bm_err sym_hmac(EVP_MAC *hmac, struct span key, const struct span *parts, size_t count,
    uint8_t out[SYM_HASH_LEN]);

/* RFC 5869 section 2.3; `len` up to 255 * 32. */
enum bm_err sym_hkdf_expand(
    EVP_MAC *hmac, struct span prk, struct span info, size_t len, struct wr *out);

/* P_SHA256 of RFC 5246 section 5, 48 bytes; the seed is label, client random, server random. */
enum bm_err sym_tls_master(
    EVP_MAC *hmac, struct span premaster, const struct span seed[3], struct wr *out);

#endif
