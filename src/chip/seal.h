/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's memory at rest: AES-256-GCM under the chip's file key (NIST SP 800-38D).
 *
 * Every sealing takes a fresh random nonce, so that two copies of a folder that go different ways
 * never use one twice. For src/chip only.
 */
#ifndef BM_CHIP_SEAL_H
#define BM_CHIP_SEAL_H

#include "base/bytes.h"

#include <openssl/evp.h>

enum { SEAL_KEY_LEN = 32, SEAL_NONCE_LEN = 12, SEAL_TAG_LEN = 16 };
enum { SEAL_EXTRA = SEAL_NONCE_LEN + SEAL_TAG_LEN, SEAL_ID_LEN = 8 };

struct seal {
    EVP_CIPHER_CTX *enc;
    EVP_CIPHER_CTX *dec;
    OSSL_LIB_CTX *lib;
    uint8_t id[SEAL_ID_LEN]; /* tells keys apart, and nothing about them: first bytes of a hash */
};

/* Prepare a key, which is not kept. `lib` is borrowed, NULL: the default one. BM_ERR_INTERNAL. */
enum bm_err seal_init(struct seal *s, OSSL_LIB_CTX *lib, const uint8_t key[SEAL_KEY_LEN]);
void seal_fini(struct seal *s); /* takes one of zeros */

/*
 * Append nonce, ciphertext and tag of `plain`; `bound` is what it must be found with. BM_ERR_SPACE,
 * BM_ERR_INTERNAL: libcrypto failed.
 */
enum bm_err seal_close(const struct seal *s, struct span bound, struct span plain, struct wr *out);

/* Open what seal_close appended into `plain`, SEAL_EXTRA bytes less. BM_ERR_INPUT: changed. */
enum bm_err seal_open(const struct seal *s, struct span bound, struct span sealed, uint8_t *plain);

#endif
