/* SPDX-License-Identifier: Apache-2.0 */
/* See uuid.h. */
#include "base/uuid.h"

#include "base/bytes.h"

#include <stdio.h>
#include <sys/random.h>

enum bm_err
uuid_make(uint8_t out[UUID_LEN])
{
    /* so few bytes come whole, and it cannot fail once the kernel's pool is ready */
    if (getrandom(out, UUID_LEN, 0) != UUID_LEN)
        return BM_ERR_IO;
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
    return BM_OK;
}

void
uuid_text(char out[UUID_TEXT_LEN], const uint8_t uuid[UUID_LEN])
{
    char hex[2 * UUID_LEN + 1];

    hex_encode(hex, uuid, UUID_LEN);
    (void)snprintf(out, UUID_TEXT_LEN, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
        hex + 16, hex + 20);
}

void
uuid_new_text(char out[UUID_TEXT_LEN])
{
    uint8_t uuid[UUID_LEN] = { 0 };

    if (uuid_make(uuid) != BM_OK)
        bm_wipe(uuid, sizeof uuid);
    uuid_text(out, uuid);
}
