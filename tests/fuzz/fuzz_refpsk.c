/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: reference PSKs; what is read is written again to the same bytes. */
#include "wire/refpsk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[REFPSK_LEN];
    struct refpsk ref;

    if (refpsk_parse(span_of(data, size), &ref) != BM_OK)
        return 0;
    if (size != REFPSK_LEN || refpsk_build(again, &ref) != BM_OK ||
        memcmp(again, data, sizeof again) != 0)
        abort();
    return 0;
}
