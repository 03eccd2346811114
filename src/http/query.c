/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-decoding and query parameters; pure. See http.h. */
#include "http/http.h"

#include <string.h>

enum bm_err
http_decode(struct span text, struct buf *out)
{
    struct rd r = rd_of(text);

    while (rd_left(&r) > 0) {
        uint8_t c = rd_u8(&r);

        if (c == '%') {
            if (hex_decode(&c, 1, rd_span(&r, 2)) != BM_OK || c == 0)
                return BM_ERR_INPUT;
        } else if (c == 0) {
            return BM_ERR_INPUT;
        }
        buf_add(out, &c, 1);
    }
    return out->failed ? BM_ERR_MEM : BM_OK;
}

/* Bytes up to `stop` or the end; the stop byte is consumed. */
static struct span
until(struct rd *r, uint8_t stop)
{
    struct rd start = *r;
    size_t len = 0;

    while (rd_left(r) > 0) {
        if (rd_u8(r) == stop)
            break;
        len++;
    }
    return rd_span(&start, len);
}

static bool
decodes_to(struct span text, const char *name)
{
    struct buf plain = { 0 };
    bool same = http_decode(text, &plain) == BM_OK && span_eq(buf_span(&plain), span_str(name));

    buf_fini(&plain);
    return same;
}

bool
http_query_find(const char *query, const char *name, struct buf *out)
{
    struct rd r = rd_of(span_str(query));

    while (rd_left(&r) > 0) {
        struct span item = until(&r, '&');
        struct rd in = rd_of(item);
        struct span key = until(&in, '=');

        if (decodes_to(key, name))
            return http_decode(rd_rest(&in), out) == BM_OK;
    }
    return false;
}

bool
http_query_value(const struct http_request *rq, const char *name, struct buf *out)
{
    return http_query_find(http_query(rq), name, out);
}
