/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: reference keys in both DER forms; what is read must be written and read again. */
#include "wire/refkey.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
round_trip(const struct refkey *key)
{
    uint8_t der[REFKEY_DER_MAX];
    struct wr w = wr_of(der, sizeof der);
    struct refkey again;

    if (!key->has_point)
        return;
    if (refkey_build_pkcs8(&w, key) != BM_OK ||
        refkey_parse_pkcs8(span_of(der, wr_len(&w)), &again) != BM_OK ||
        memcmp(key, &again, sizeof again) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct refkey key = { 0 };

    if (refkey_parse_sec1(span_of(data, size), &key) == BM_OK)
        round_trip(&key);
    if (refkey_parse_pkcs8(span_of(data, size), &key) == BM_OK)
        round_trip(&key);
    return 0;
}
