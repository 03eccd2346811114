/* SPDX-License-Identifier: Apache-2.0 */
/* See hexlines.h. */
#include "config/hexlines.h"

/* The next line without its end; *ended tells whether it had one. */
static struct span
next_line(struct rd *text, bool *ended)
{
    struct rd r = *text;
    struct span line = rd_rest(&r);

    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] != '\n')
            continue;
        *ended = true;
        line = rd_span(text, i);
        (void)rd_u8(text);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        return line;
    }
    *ended = false;
    return rd_rest(text);
}

enum bm_err
hexlines_parse(struct span text, size_t width, struct buf *out, struct bm_msg *msg)
{
    uint8_t bytes[HEXLINES_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct rd r = rd_of(text);
    bool ended = true;

    for (unsigned number = 1; rd_left(&r) > 0; number++) {
        struct span line = next_line(&r, &ended);
        uint8_t part[HEXLINES_32];
        bool last = rd_left(&r) == 0;

        if (line.len == 2 * width ? false : !last || line.len > 2 * width || line.len == 0)
            return bm_fail(msg, BM_ERR_INPUT,
                "line %u has %zu characters; all but the last one must have %zu hexadecimal digits",
                number, line.len, 2 * width);
        if (line.len % 2 != 0 || hex_decode(part, line.len / 2, line) != BM_OK)
            return bm_fail(msg, BM_ERR_INPUT,
                "line %u is no even number of hexadecimal digits; blanks and 0x have no place here",
                number);
        wr_bytes(&w, part, line.len / 2);
        if (w.failed)
            return bm_fail(msg, BM_ERR_LIMIT,
                "more than %d bytes, which is all the storage a chip has", HEXLINES_MAX);
    }
    buf_add(out, bytes, wr_len(&w));
    return out->failed ? bm_fail(msg, BM_ERR_MEM, "out of memory") : BM_OK;
}

void
hexlines_build(struct buf *out, struct span bytes, size_t width)
{
    struct rd r = rd_of(bytes);

    for (size_t column = 1; rd_left(&r) > 0; column++) {
        buf_addf(out, "%02X", rd_u8(&r));
        if (column % width == 0 && rd_left(&r) > 0)
            buf_addf(out, "\n");
    }
}
