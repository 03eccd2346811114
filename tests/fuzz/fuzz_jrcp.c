/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a stream of JRCP messages; what parses must build to the same bytes. */
#include "wire/jrcp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_of(span_of(data, size));
    struct jrcp_msg msg;

    for (;;) {
        const uint8_t *start = r.pos;
        uint8_t again[JRCP_MESSAGE_MAX];
        struct wr w = wr_of(again, sizeof again);

        if (jrcp_parse(&r, &msg) != BM_OK)
            return 0;
        if (jrcp_build(&w, &msg) != BM_OK ||
            !span_eq(span_of(again, wr_len(&w)), span_of(start, (size_t)(r.pos - start))))
            abort();
    }
}
