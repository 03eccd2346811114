/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: the page marker that an API client hands back. */
#include "registry/store.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    struct registry_page page = { .marker = text, .limit = 1 };
    int64_t row = -1;

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    if (marker_read(&page, 'c', &row, NULL) == BM_OK && text[0] != '\0') {
        marker_write(&page, 'c', row); /* what we take is what we write, but for the top bit */
        if (row < 0 || strlen(page.next_marker) != strlen(text))
            abort();
    }
    free(text);
    return 0;
}
