/* SPDX-License-Identifier: Apache-2.0 */
/* AES over whole blocks, for src/scp03 only. */
#ifndef BM_SCP03_AES_H
#define BM_SCP03_AES_H

#include "scp03/scp03.h"

enum aes_way { AES_DECRYPT_WAY, AES_ENCRYPT_WAY }; /* libcrypto's 0 and 1 */

/* `in` is whole blocks; `iv` NULL for ECB. */
enum bm_err aes_crypt(const EVP_CIPHER *cipher, enum aes_way way, const uint8_t key[SCP03_KEY_LEN],
    const uint8_t *iv, struct span in, uint8_t *out);

#endif
