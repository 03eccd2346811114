/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: what a71chConfig reads besides PEM: data files, the chip's ATR, subjects. The first
 * byte chooses.
 */
#include "config/atr.h"
#include "config/hexlines.h"
#include "pki/subject.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read can be written and read again. */
static void
try_hexlines(struct span text, size_t width)
{
    struct buf bytes = { 0 };
    struct buf again = { 0 };
    struct buf written = { 0 };

    if (hexlines_parse(text, width, &bytes, NULL) == BM_OK) {
        hexlines_build(&written, buf_span(&bytes), width);
        if (hexlines_parse(buf_span(&written), width, &again, NULL) != BM_OK ||
            !span_eq(buf_span(&bytes), buf_span(&again)) || bytes.len > HEXLINES_MAX)
            abort();
    } else if (bytes.len != 0) {
        abort();
    }
    buf_fini(&bytes);
    buf_fini(&again);
    buf_fini(&written);
}

static void
try_atr(struct span in)
{
    struct atr atr;

    if (atr_parse(in, &atr) != BM_OK)
        return;
    for (const char *c = atr.name; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            abort();
    }
}

static void
try_subject(struct span in)
{
    struct buf text = { 0 };
    struct bm_msg msg = { "" };
    X509_NAME *name = NULL;

    buf_add(&text, in.ptr, in.len);
    if (buf_cstr(&text) != NULL && subject_parse(buf_cstr(&text), &name, &msg) != BM_OK &&
        msg.text[0] == '\0')
        abort();
    X509_NAME_free(name);
    buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_of(span_of(data, size));

    switch (rd_u8(&r) % 4) {
    case 0:
        try_hexlines(rd_rest(&r), HEXLINES_16);
        break;
    case 1:
        try_hexlines(rd_rest(&r), HEXLINES_32);
        break;
    case 2:
        try_atr(rd_rest(&r));
        break;
    default:
        try_subject(rd_rest(&r));
        break;
    }
    return 0;
}
