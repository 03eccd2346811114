/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: what a device called itself, in the table of `birthmark watch`: no byte steers the
 * terminal but the sequences of our own, no cell is wider than told. And what a terminal sends.
 */
#include "watch/screen.h"
#include "watch/table.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sequences of ours are ESC [ digits and one of these letters. */
static void
judge(struct span text, const char *letters)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (c >= ' ' && c != 0x7f)
            continue;
        if (c == '\n' || c == '\r')
            continue;
        if (c != 0x1b || i + 2 >= text.len || text.ptr[i + 1] != '[')
            abort();
        for (i += 2; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9';)
            i++;
        if (i >= text.len || strchr(letters, text.ptr[i]) == NULL)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct watch_table table;
    struct rd r = rd_of(span_of(data, size));
    struct watch_view v = { .lines = rd_u8(&r) % 50, .columns = rd_u8(&r), .where = "x" };
    uint8_t flags = rd_u8(&r);
    enum cause cause = (enum cause)(rd_u8(&r) % CAUSE_COUNT);
    struct timeline_record rec;
    struct buf text = { 0 };
    struct buf out = { 0 };
    size_t used;

    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        abort();
    v.utf8 = (flags & 1) != 0;
    v.colour = (flags & 2) != 0;
    v.selected = flags >> 4;
    for (struct span keys = rd_rest(&r); keys.len > 0;
         keys = span_of(keys.ptr + used, keys.len - used)) {
        int key = screen_key_parse(keys, &used);

        if (key == 0 || used == 0 || used > keys.len)
            abort();
    }
    buf_add(&text, data, size);
    if (buf_cstr(&text) == NULL)
        return 0;
    timeline_fill(
        &rec, cause, NULL, (char *)text.ptr, (char *)text.ptr, "", "%s", (char *)text.ptr);
    memset(&table, 0, sizeof table);
    watch_table_add(&table, &rec);
    watch_table_draw(&table, &v, &out);
    judge(buf_span(&out), "HJKGm");
    out.len = 0;
    if (watch_cell(&out, (char *)text.ptr, v.columns, v.utf8) > v.columns)
        abort();
    judge(buf_span(&out), "");
    out.len = 0;
    watch_line(&rec, &out);
    judge(buf_span(&out), "");
    buf_fini(&out);
    buf_fini(&text);
    return 0;
}
