/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `obj write|get|update|erase -x N ...`: data objects in storage, found by their table. SPEC
 * a71ch 8.3, 8.8.
 */
#include "config/hexlines.h"
#include "config/tool.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENTS_MAX = 127, FILE_MAX = 65536 };

/* Code 38 and 37 are the vendor's: no such object, no table to look in. */
enum code
tool_object_done(struct tool *t, a71ch_result res)
{
    enum code code = tool_done(t, res);

    if (res == A71CH_ERR_NOT_FOUND)
        return CODE_NOT_FOUND;
    return res == A71CH_ERR_RESPONSE ? CODE_NO_OBJECTS : code;
}

/* [-t hex_16|hex_32]: bytes a line. */
static enum code
opt_width(struct args *a, size_t *width)
{
    const char *text;
    enum code code;

    *width = HEXLINES_32;
    if (!opt_ahead(a, "-t"))
        return CODE_OK;
    code = opt_text(a, "-t", &text);
    if (code != CODE_OK)
        return code;
    if (strcasecmp(text, "hex_16") == 0) {
        *width = HEXLINES_16;
    } else if (strcasecmp(text, "hex_32") != 0) {
        fprintf(stderr, "-t %s is no form of a data file; there are hex_16 and hex_32\n", text);
        return CODE_ARG_VALUE;
    }
    return CODE_OK;
}

static enum code
read_file(struct args *a, struct buf *data)
{
    struct buf text = { 0 };
    struct bm_msg msg;
    const char *path;
    size_t width;
    enum code code = opt_text(a, "-f", &path);

    if (code == CODE_OK)
        code = opt_width(a, &width);
    if (code != CODE_OK)
        return code;
    printf("Filename: %s\n", path);
    if (file_read(path, FILE_MAX, &text, &msg) != BM_OK) {
        printf("Unable to open the file: %s\n", path);
        fprintf(stderr, "%s\n", msg.text);
        code = CODE_FILE_OPEN;
    } else if (hexlines_parse(buf_span(&text), width, data, &msg) != BM_OK) {
        fprintf(stderr, "%s: %s\n", path, msg.text);
        code = CODE_FILE_FORMAT;
    }
    buf_fini(&text);
    return code;
}

/* -h DATA or -f FILE [-t FORM]. */
static enum code
read_data(struct args *a, struct buf *data)
{
    uint8_t bytes[HEXLINES_MAX];
    size_t len;
    enum code code;

    if (!opt_ahead(a, "-h"))
        return read_file(a, data);
    code = opt_hex(a, "-h", 1, sizeof bytes, bytes, &len);
    if (code == CODE_OK)
        buf_add(data, bytes, len);
    return code == CODE_OK && data->failed ? CODE_MEMORY : code;
}

static enum code
zeros(struct args *a, struct buf *data)
{
    static const uint8_t segment[A71CH_SEGMENT_LEN];
    unsigned count = 0;
    enum code code = opt_number(a, "-n", 0, SEGMENTS_MAX, &count);

    for (unsigned i = 0; i < count; i++)
        buf_add(data, segment, sizeof segment);
    return code == CODE_OK && data->failed ? CODE_MEMORY : code;
}

static enum code
obj_write(struct tool *t, struct args *a)
{
    struct buf data = { 0 };
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK)
        code = opt_ahead(a, "-n") ? zeros(a, &data) : read_data(a, &data);
    if (code == CODE_OK)
        code = tool_done(
            t, a71ch_object_write(t->chip, A71CH_DATA, (uint8_t)index, data.ptr, data.len, 0));
    buf_fini(&data);
    return code;
}

static enum code
obj_update(struct tool *t, struct args *a)
{
    struct buf data = { 0 };
    unsigned index;
    unsigned offset;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK)
        code = opt_offset(a, &offset);
    if (code == CODE_OK)
        code = read_data(a, &data);
    if (code == CODE_OK)
        code = tool_object_done(t,
            a71ch_object_update(t->chip, A71CH_DATA, (uint8_t)index, offset, data.ptr, data.len));
    buf_fini(&data);
    return code;
}

static enum code
write_file(const char *path, struct span bytes, size_t width)
{
    struct buf text = { 0 };
    struct bm_msg msg = { "out of memory" };
    bool ok;

    hexlines_build(&text, bytes, width);
    ok = !text.failed && file_write(path, buf_span(&text), 0644, &msg) == BM_OK;
    buf_fini(&text);
    if (!ok)
        fprintf(stderr, "%s\n", msg.text);
    return ok ? CODE_OK : CODE_FAILED;
}

static enum code
obj_get(struct tool *t, struct args *a)
{
    uint8_t bytes[HEXLINES_MAX];
    uint8_t size[2] = { 0 };
    size_t size_len;
    size_t width = HEXLINES_32;
    size_t len;
    unsigned index;
    unsigned offset = 0;
    const char *path = NULL;
    struct rd r;
    enum code code = opt_index(a, &index);

    if (code == CODE_OK && opt_ahead(a, "-h"))
        code = opt_offset(a, &offset);
    if (code == CODE_OK && opt_ahead(a, "-s"))
        code = opt_hex(a, "-s", sizeof size, sizeof size, size, &size_len);
    if (code == CODE_OK && opt_ahead(a, "-f"))
        code = opt_text(a, "-f", &path);
    if (code == CODE_OK && path != NULL)
        code = opt_width(a, &width);
    if (code != CODE_OK)
        return code;
    r = rd_of(SPAN(size));
    len = rd_u16(&r);
    if (len == 0) { /* all of it, wherever it was to begin: SPEC 8.3 */
        offset = 0;
        len = sizeof bytes;
    }
    code = tool_object_done(
        t, a71ch_object_read(t->chip, A71CH_DATA, (uint8_t)index, offset, bytes, &len));
    if (code != CODE_OK)
        return code;
    if (!t->json)
        print_bytes_compact("OBJ_DATA", span_of(bytes, len));
    if (path != NULL)
        code = write_file(path, span_of(bytes, len), width);
    if (code == CODE_OK && t->json) {
        fprintf(t->data, "{\"index\":%u,\"offset\":%u,", index, offset);
        json_hex(t->data, "data", span_of(bytes, len));
        fprintf(t->data, "}\n");
    }
    return code;
}

static enum code
obj_erase(struct tool *t, struct args *a)
{
    unsigned index;
    enum code code = opt_index(a, &index);

    if (code != CODE_OK)
        return code;
    return tool_object_done(t, a71ch_object_erase(t->chip, A71CH_DATA, (uint8_t)index));
}

enum code
cmd_obj(struct tool *t, struct args *a)
{
    static const struct sub subs[] = {
        { "erase", obj_erase },
        { "get", obj_get },
        { "update", obj_update },
        { "write", obj_write },
        { NULL, NULL },
    };

    return tool_sub(t, a, "obj", subs);
}
