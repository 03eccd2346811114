/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a command and an answer, whatever they are, become one line of JSON. */
#include "a71chd/trace.h"
#include "wire/apdu.h"
#include "wire/jrcp.h"

#include <stdlib.h>

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_of(span_of(data, size));
    size_t split = rd_u16(&r) % (JRCP_PAYLOAD_MAX + 1);
    struct trace_exchange x = { .client = 1 };
    struct buf out = { 0 };
    json_t *line;

    x.command = rd_span(&r, split < rd_left(&r) ? split : rd_left(&r));
    x.answer = rd_rest(&r);
    if (x.answer.len > JRCP_PAYLOAD_MAX)
        x.answer.len = JRCP_PAYLOAD_MAX;
    trace_line(&out, &x, 0, 1);
    line = json_loadb((const char *)out.ptr, out.len, JSON_REJECT_DUPLICATES, NULL);
    if (line == NULL)
        abort();
    json_decref(line);
    buf_fini(&out);
    return 0;
}
