/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a file of ~/.aws. A value that is given has its section, fits and is terminated. */
#include "aws/profile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    char value[24];

    memset(value, 'x', sizeof value);
    if (profile_get(text, "default", "aws_access_key_id", value, sizeof value) &&
        (!profile_has(text, "default") || strlen(value) == 0))
        abort();
    if (memchr(value, 0, sizeof value) == NULL)
        abort();
    return 0;
}
