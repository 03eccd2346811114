/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library itself computes with AES-128, on libcrypto. SPEC a71ch 1.6, 3.6.
 */
#ifndef BM_HOST_WRAP_H
#define BM_HOST_WRAP_H

#include "a71ch.h"
#include "base/err.h"

/* A challenge made a code. BM_ERR_INTERNAL: memory is short or libcrypto failed. */
enum bm_err wrap_decrypt_block(
    const uint8_t key[A71CH_KEY_LEN], const uint8_t in[A71CH_KEY_LEN], uint8_t out[A71CH_KEY_LEN]);

#endif
