/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz percent-decoding and the search in a query: first line the name, the rest the query. */
#include "http/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = strndup((const char *)data, size);
    char *query = strchr(name, '\n');
    struct buf out = { 0 };

    (void)!http_decode(span_of(data, size), &out);
    if (query != NULL) {
        *query++ = '\0';
        out.len = 0;
        if (http_query_find(query, name, &out) && memchr(out.ptr, 0, out.len) != NULL)
            abort(); /* a decoded zero byte must not get through */
    }
    buf_fini(&out);
    free(name);
    return 0;
}
