/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random identifiers: UUIDs of version 4, RFC 4122 section 4.4.
 */
#ifndef BM_BASE_UUID_H
#define BM_BASE_UUID_H

#include "base/err.h"

#include <stdint.h>

enum { UUID_LEN = 16, UUID_TEXT_LEN = 37 };

/* BM_ERR_IO: the kernel gave no random bytes. */
enum bm_err uuid_make(uint8_t out[UUID_LEN]);

/* "123e4567-e89b-42d3-a456-426614174000", terminated. */
void uuid_text(char out[UUID_TEXT_LEN], const uint8_t uuid[UUID_LEN]);

/* A new one as text. Without random bytes all zeros: an id for logs and headers may repeat then. */
void uuid_new_text(char out[UUID_TEXT_LEN]);

#endif
