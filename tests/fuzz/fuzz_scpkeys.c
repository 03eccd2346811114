/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: the key file of SCP03. What is refused has its sentence and leaves no key behind. */
#include "scp03/keyfile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct scp03_keys none;
    struct scp03_keys keys;
    struct bm_msg msg = { "" };

    if (scp03_keyfile_parse(span_of(data, size), &keys, &msg) == BM_OK)
        return 0;
    if (msg.text[0] == '\0' || memcmp(&keys, &none, sizeof keys) != 0)
        abort();
    return 0;
}
