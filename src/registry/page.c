/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of lists. SPEC aws-iot 1.4.
 *
 * Row numbers grow with time, so the row number of the last item shown is the place to go on
 * from: items that come or go between two pages neither repeat nor hide others.
 */
#include "registry/store.h"

#include <string.h>

enum { MARKER_LEN = 9 };

enum bm_err
marker_read(const struct registry_page *page, char list, int64_t *out, struct bm_msg *msg)
{
    struct buf raw = { 0 };
    bool ok;

    if (page->marker == NULL || page->marker[0] == '\0') {
        *out = page->ascending ? 0 : INT64_MAX;
        return BM_OK;
    }
    ok = base64_decode(&raw, span_str(page->marker)) == BM_OK && raw.len == MARKER_LEN;
    if (ok) {
        struct rd r = rd_of(buf_span(&raw));

        ok = rd_u8(&r) == (uint8_t)list;
        *out = (int64_t)(rd_u64(&r) & INT64_MAX);
    }
    buf_fini(&raw);
    return ok ? BM_OK
              : bm_fail(msg, BM_ERR_INPUT,
                    "\"%.40s\" is not a marker of this list; pass the nextMarker of the page "
                    "before",
                    page->marker);
}

void
marker_write(struct registry_page *page, char list, int64_t row)
{
    uint8_t raw[MARKER_LEN];
    struct wr w = wr_of(raw, sizeof raw);
    struct buf text = { 0 };

    wr_u8(&w, (uint8_t)list);
    wr_u64(&w, (uint64_t)row);
    page->next_marker[0] = '\0';
    if (base64_encode(&text, SPAN(raw)) == BM_OK && text.len < sizeof page->next_marker) {
        memcpy(page->next_marker, text.ptr, text.len);
        page->next_marker[text.len] = '\0';
    }
    buf_fini(&text);
}

enum bm_err
page_run(struct registry *r, struct registry_page *page, const struct page_query *q,
    page_item_fn item, void *arg, struct bm_msg *msg)
{
    struct arg args[2 + PAGE_EXTRA_MAX] = { { 0 } };
    sqlite3_stmt *st = NULL;
    int64_t row_number = 0;
    enum bm_err err;

    page->next_marker[0] = '\0';
    page->enough = false;
    if (page->limit == 0 || page->limit > 1000000)
        return bm_fail(msg, BM_ERR_ARG, "page of %zu items", page->limit);
    err = marker_read(page, q->list, &row_number, msg);
    if (err != BM_OK)
        return err;
    args[0] = a_int(row_number);
    args[1] = a_int((int64_t)page->limit + 1); /* one more tells whether there is a next page */
    for (size_t i = 0; i < q->extra_count; i++)
        args[2 + i] = q->extra[i];
    err = db_query(
        r, page->ascending ? q->ascending : q->descending, args, 2 + q->extra_count, &st, msg);
    for (size_t n = 0; err == BM_OK; n++) {
        bool row = false;

        err = db_step(r, st, &row, msg);
        if (err != BM_OK || !row)
            break;
        if (n == page->limit || page->enough) {
            marker_write(page, q->list, row_number);
            break;
        }
        row_number = sqlite3_column_int64(st, 0);
        err = item(arg, st, msg);
    }
    db_end(st);
    return err;
}

struct names_to {
    registry_name_fn fn;
    void *arg;
};

static enum bm_err
name_item(void *arg, sqlite3_stmt *st, struct bm_msg *msg)
{
    struct names_to *to = arg;
    char name[REGISTRY_TOPIC_MAX + 1]; /* the longest of names */

    (void)msg;
    col_text(st, 1, name, sizeof name);
    to->fn(to->arg, name);
    return BM_OK;
}

enum bm_err
page_names(struct registry *r, struct registry_page *page, char list, const char *ascending,
    const struct arg *extra, size_t extra_count, registry_name_fn fn, void *arg, struct bm_msg *msg)
{
    const struct page_query query = {
        .list = list, .ascending = ascending, .extra = extra, .extra_count = extra_count
    };
    struct names_to to = { fn, arg };

    page->ascending = true;
    return page_run(r, page, &query, name_item, &to, msg);
}
