/* SPDX-License-Identifier: Apache-2.0 */
/* See bytes.h. */
#include "base/bytes.h"

#include "base/ct.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span
span_str(const char *text)
{
    return span_of(text, strlen(text));
}

bool
span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool
span_begins(struct span s, const char *with)
{
    size_t len = strlen(with);

    return s.len >= len && (len == 0 || memcmp(s.ptr, with, len) == 0);
}

struct rd
rd_of(struct span in)
{
    static const uint8_t nothing[1];
    const uint8_t *ptr = in.ptr != NULL ? in.ptr : nothing;

    return (struct rd){ ptr, ptr + (in.ptr != NULL ? in.len : 0), false };
}

size_t
rd_left(const struct rd *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->pos);
}

struct span
rd_span(struct rd *r, size_t len)
{
    struct span s;

    if (rd_left(r) < len) {
        r->failed = true;
        return span_of(NULL, 0);
    }
    s = span_of(r->pos, len);
    r->pos += len;
    return s;
}

struct span
rd_rest(struct rd *r)
{
    return rd_span(r, rd_left(r));
}

static uint64_t
rd_be(struct rd *r, size_t len)
{
    struct span s = rd_span(r, len);
    uint64_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return v;
}

uint8_t
rd_u8(struct rd *r)
{
    return (uint8_t)rd_be(r, 1);
}

uint16_t
rd_u16(struct rd *r)
{
    return (uint16_t)rd_be(r, 2);
}

uint32_t
rd_u32(struct rd *r)
{
    return (uint32_t)rd_be(r, 4);
}

uint64_t
rd_u64(struct rd *r)
{
    return rd_be(r, 8);
}

bool
rd_done(const struct rd *r)
{
    return !r->failed && r->pos == r->end;
}

struct wr
wr_of(void *out, size_t cap)
{
    return (struct wr){ out, out, (uint8_t *)out + cap, false };
}

size_t
wr_len(const struct wr *w)
{
    return (size_t)(w->pos - w->start);
}

void
wr_bytes(struct wr *w, const void *src, size_t len)
{
    if (w->failed || (size_t)(w->end - w->pos) < len) {
        w->failed = true;
        return;
    }
    if (len > 0)
        memcpy(w->pos, src, len);
    w->pos += len;
}

void
wr_span(struct wr *w, struct span s)
{
    wr_bytes(w, s.ptr, s.len);
}

static void
wr_be(struct wr *w, uint64_t v, size_t len)
{
    uint8_t b[8];

    for (size_t i = 0; i < len; i++)
        b[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
    wr_bytes(w, b, len);
}

void
wr_u8(struct wr *w, uint8_t v)
{
    wr_be(w, v, 1);
}

void
wr_u16(struct wr *w, uint16_t v)
{
    wr_be(w, v, 2);
}

void
wr_u32(struct wr *w, uint32_t v)
{
    wr_be(w, v, 4);
}

void
wr_u64(struct wr *w, uint64_t v)
{
    wr_be(w, v, 8);
}

void
buf_fini(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){ 0 };
}

uint8_t *
buf_reserve(struct buf *b, size_t more)
{
    size_t need;
    size_t cap = b->cap != 0 ? b->cap : 256;
    uint8_t *ptr;

    if (b->failed || __builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 4) {
        b->failed = true;
        return NULL;
    }
    if (need <= b->cap && b->ptr != NULL)
        return b->ptr + b->len;
    while (cap < need)
        cap *= 2;
    ptr = realloc(b->ptr, cap);
    if (ptr == NULL) {
        b->failed = true;
        return NULL;
    }
    b->ptr = ptr;
    b->cap = cap;
    return ptr + b->len;
}

void
buf_add(struct buf *b, const void *src, size_t len)
{
    uint8_t *to = buf_reserve(b, len);

    if (to == NULL)
        return;
    if (len > 0)
        memcpy(to, src, len);
    b->len += len;
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int len;
    uint8_t *to;

    va_start(ap, fmt);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    to = len < 0 ? NULL : buf_reserve(b, (size_t)len + 1);
    if (to == NULL) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf((char *)to, (size_t)len + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)len;
}

void
buf_add_json(struct buf *b, const char *text)
{
    buf_add(b, "\"", 1);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            buf_addf(b, "\\%c", *c);
        else if (*c < 0x20 || *c > 0x7e)
            buf_addf(b, "\\u%04x", (unsigned)*c);
        else
            buf_add(b, c, 1);
    }
    buf_add(b, "\"", 1);
}

void
buf_drop(struct buf *b, size_t len)
{
    if (len >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->ptr, b->ptr + len, b->len - len);
    b->len -= len;
}

struct span
buf_span(const struct buf *b)
{
    return span_of(b->ptr, b->len);
}

char *
buf_cstr(struct buf *b)
{
    uint8_t *end = buf_reserve(b, 1);

    if (end == NULL)
        return NULL;
    *end = 0;
    return (char *)b->ptr;
}

void
bm_wipe(void *ptr, size_t len)
{
    if (len > 0)
        explicit_bzero(ptr, len);
}

bool
bm_equal_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t diff = 0;

    for (size_t i = 0; i < len; i++)
        diff |= (uint8_t)(x[i] ^ y[i]);
    CT_PUBLIC(&diff, sizeof diff);
    return diff == 0;
}

bool
bm_less_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint32_t borrow = 0;

    for (size_t i = len; i-- > 0;)
        borrow = ((uint32_t)x[i] - y[i] - borrow) >> 31;
    CT_PUBLIC(&borrow, sizeof borrow);
    return borrow != 0;
}

/* A digit for 0 to 15, without a table: it may be half a byte of a key. */
static char
hex_char(uint32_t v)
{
    return (char)('0' + v + (((9 - v) >> 8) & ('a' - '9' - 1)));
}

void
hex_encode(char *out, const void *src, size_t len)
{
    const uint8_t *b = src;

    for (size_t i = 0; i < len; i++) {
        *out++ = hex_char(b[i] >> 4);
        *out++ = hex_char(b[i] & 15u);
    }
    *out = '\0';
}

/* All ones when c lies between the two. */
static uint32_t
in_range(uint32_t c, uint32_t low, uint32_t high)
{
    return 0 - (((low - 1 - c) & (c - high - 1)) >> 31);
}

/* The value of a digit, all ones for what is none; no branch, for the same reason. */
static uint32_t
hex_digit(uint32_t c)
{
    uint32_t digit = in_range(c, '0', '9');
    uint32_t lower = in_range(c, 'a', 'f');
    uint32_t upper = in_range(c, 'A', 'F');

    return (digit & (c - '0')) | (lower & (c - 'a' + 10)) | (upper & (c - 'A' + 10)) |
           ~(digit | lower | upper);
}

enum bm_err
hex_decode(uint8_t *out, size_t len, struct span text)
{
    uint32_t wrong = 0;

    if (text.len != 2 * len)
        return BM_ERR_INPUT;
    for (size_t i = 0; i < len; i++) {
        uint32_t both = hex_digit(text.ptr[2 * i]) << 4 | hex_digit(text.ptr[2 * i + 1]);

        wrong |= both >> 8;
        out[i] = (uint8_t)both;
    }
    CT_PUBLIC(&wrong, sizeof wrong);
    return wrong == 0 ? BM_OK : BM_ERR_INPUT;
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum bm_err
base64_encode(struct buf *out, struct span in)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.ptr[i] << 16 | (n > 1 ? (uint32_t)in.ptr[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t)in.ptr[i + 2] : 0);
        char four[4] = { b64[v >> 18], b64[v >> 12 & 63], n > 1 ? b64[v >> 6 & 63] : '=',
            n > 2 ? b64[v & 63] : '=' };

        buf_add(out, four, 4);
    }
    return out->failed ? BM_ERR_MEM : BM_OK;
}

static int
b64_value(uint8_t c)
{
    const char *at = c != 0 ? strchr(b64, c) : NULL;

    return at != NULL ? (int)(at - b64) : -1;
}

enum bm_err
base64_decode(struct buf *out, struct span text)
{
    if (text.len % 4 != 0)
        return BM_ERR_INPUT;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t pad = 0;
        uint32_t v = 0;

        if (i + 4 == text.len)
            pad = text.ptr[i + 3] != '=' ? 0 : text.ptr[i + 2] != '=' ? 1 : 2;
        for (size_t k = 0; k < 4; k++) {
            int d = k + pad >= 4 ? 0 : b64_value(text.ptr[i + k]);

            if (d < 0)
                return BM_ERR_INPUT;
            v = v << 6 | (uint32_t)d;
        }
        if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
            return BM_ERR_INPUT; /* bits beyond the last byte: not what an encoder writes */
        buf_add(out, (uint8_t[]){ (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v }, 3 - pad);
    }
    return out->failed ? BM_ERR_MEM : BM_OK;
}
