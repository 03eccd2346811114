/* SPDX-License-Identifier: Apache-2.0 */
/* link_parse on one packet; what parses must build the same bytes. */
#include "endpoint/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct link_msg m;
    struct buf out = { 0 };

    if (link_parse(span_of(data, size), &m) != BM_OK) {
        return 0;
    }
    if (link_build(&out, &m) != BM_OK || !span_eq(buf_span(&out), span_of(data, size))) {
        abort();
    }
    buf_fini(&out);
    return 0;
}
