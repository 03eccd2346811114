/* SPDX-License-Identifier: Apache-2.0 */
/* link_next on the messages of a packet; what parses must build the same bytes. */
#include "endpoint/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct link_msg m;
    struct span rest = span_of(data, size);
    struct buf out = { 0 };

    while (rest.len > 0 && link_next(&rest, &m) == BM_OK) {
        if (link_build(&out, &m) != BM_OK ||
            !span_eq(buf_span(&out), span_of(data, size - rest.len))) {
            abort();
        }
    }
    buf_fini(&out);
    return 0;
}
