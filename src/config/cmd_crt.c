/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `wcrt`, `ucrt`, `rcrt`, `ecrt`: certificates in storage, found by their table. SPEC a71ch 8.3,
 * 8.8.
 */
#include "config/pem.h"

#include "base/file.h"

#include <stdio.h>

enum { CERTIFICATE_MAX = 4096, SEGMENTS_MAX = 127 };

/* -c FILE (DER), -p FILE (PEM) or -h HEX. */
static enum code
read_certificate(struct args *a, struct buf *der)
{
    uint8_t bytes[CERTIFICATE_MAX];
    const char *path;
    size_t len;
    bool pem = opt_ahead(a, "-p");
    enum code code;

    if (opt_ahead(a, "-h")) {
        code = opt_hex(a, "-h", 1, sizeof bytes, bytes, &len);
        if (code == CODE_OK)
            buf_add(der, bytes, len);
        return code == CODE_OK && der->failed ? CODE_MEMORY : code;
    }
    code = opt_text(a, pem ? "-p" : "-c", &path);
    return code == CODE_OK ? pem_read_certificate(path, pem ? FORM_PEM : FORM_DER, der) : code;
}

/* These four have no sub-command: nothing behind the name is that case. */
static enum code
begin(const struct tool *t, const struct args *a)
{
    if (a->next < a->count)
        return CODE_OK;
    tool_usage(t);
    return CODE_ARG_COUNT;
}

enum code
cmd_wcrt(struct tool *t, struct args *a)
{
    struct buf der = { 0 };
    unsigned index;
    unsigned more = 0;
    size_t size;
    enum code code = begin(t, a);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code == CODE_OK)
        code = read_certificate(a, &der);
    if (code == CODE_OK && opt_ahead(a, "-n"))
        code = opt_number(a, "-n", 0, SEGMENTS_MAX, &more);
    if (code == CODE_OK) {
        size = (der.len + A71CH_SEGMENT_LEN - 1) / A71CH_SEGMENT_LEN + more;
        code = tool_done(t, a71ch_object_write(t->chip, A71CH_CERTIFICATE, (uint8_t)index, der.ptr,
                                der.len, size * A71CH_SEGMENT_LEN));
    }
    buf_fini(&der);
    return code;
}

enum code
cmd_ucrt(struct tool *t, struct args *a)
{
    struct buf der = { 0 };
    unsigned index;
    enum code code = begin(t, a);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code == CODE_OK)
        code = read_certificate(a, &der);
    if (code == CODE_OK)
        code = tool_object_done(t,
            a71ch_object_update(t->chip, A71CH_CERTIFICATE, (uint8_t)index, 0, der.ptr, der.len));
    buf_fini(&der);
    return code;
}

static enum code
write_der(const char *path, struct span der)
{
    struct bm_msg msg;

    if (file_write(path, der, 0644, &msg) == BM_OK)
        return CODE_OK;
    fprintf(stderr, "%s\n", msg.text);
    return CODE_CERTIFICATE_WRITE;
}

enum code
cmd_rcrt(struct tool *t, struct args *a)
{
    uint8_t der[CERTIFICATE_MAX];
    size_t len = sizeof der;
    unsigned index;
    const char *path = NULL;
    a71ch_result res;
    enum code code = begin(t, a);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code == CODE_OK && opt_ahead(a, "-c"))
        code = opt_text(a, "-c", &path);
    if (code == CODE_OK && a->next < a->count) {
        tool_usage(t);
        code = CODE_ARG_COUNT;
    }
    if (code != CODE_OK)
        return code;
    res = a71ch_certificate_read(t->chip, (uint8_t)index, der, &len);
    if (res != A71CH_OK) {
        code = tool_done(t, res);
        return res == A71CH_ERR_NOT_FOUND ? CODE_NOT_FOUND : code;
    }
    if (!t->json)
        print_bytes_compact("CER_DATA", span_of(der, len));
    if (path != NULL)
        code = write_der(path, span_of(der, len));
    if (code == CODE_OK && t->json) {
        fprintf(t->data, "{\"index\":%u,", index);
        json_hex(t->data, "certificate", span_of(der, len));
        fprintf(t->data, "}\n");
    }
    return code;
}

enum code
cmd_ecrt(struct tool *t, struct args *a)
{
    unsigned index;
    a71ch_result res;
    enum code code = begin(t, a);

    if (code == CODE_OK)
        code = opt_index(a, &index);
    if (code != CODE_OK)
        return code;
    res = a71ch_object_erase(t->chip, A71CH_CERTIFICATE, (uint8_t)index);
    code = tool_object_done(t, res);
    return code == CODE_FAILED ? CODE_CERTIFICATE_ERASE : code;
}
