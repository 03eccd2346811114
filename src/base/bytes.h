/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte spans, and the only pointer arithmetic of the project: a read and a write cursor and a
 * growable buffer.
 *
 * A cursor's error sticks: after the first failed read every read gives zero, after the first
 * write without room nothing more is written. A parser therefore reads as the message's layout and
 * asks `failed` once at the end. It works on a copy of the cursor and commits by assignment, so a
 * caller may retry with more bytes. All integers on our wires are big-endian.
 */
#ifndef BM_BASE_BYTES_H
#define BM_BASE_BYTES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; the owner is named where the span comes from. */
struct span {
    const uint8_t *ptr;
    size_t len;
};

#define SPAN(array) ((struct span){ (array), sizeof(array) })

static inline struct span
span_of(const void *ptr, size_t len)
{
    return (struct span){ ptr, len };
}

struct span span_str(const char *text); /* without the terminator */
bool span_eq(struct span a, struct span b);
bool span_begins(struct span s, const char *with);

struct rd {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

struct rd rd_of(struct span in);
size_t rd_left(const struct rd *r);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
struct span rd_span(struct rd *r, size_t len); /* borrowed from the input */
struct span rd_rest(struct rd *r);
bool rd_done(const struct rd *r); /* nothing failed and nothing is left */

struct wr {
    uint8_t *start;
    uint8_t *pos;
    uint8_t *end;
    bool failed;
};

struct wr wr_of(void *out, size_t cap);
size_t wr_len(const struct wr *w);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, const void *src, size_t len);
void wr_span(struct wr *w, struct span s);

/*
 * A growable byte buffer on the heap. Zero-initialise, end with buf_fini. A failed allocation
 * sticks in `failed`, as in the cursors; the bytes before it stay.
 */
struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    bool failed;
};

void buf_fini(struct buf *b);
uint8_t *buf_reserve(struct buf *b, size_t more); /* room for `more` bytes at ptr+len, or NULL */
void buf_add(struct buf *b, const void *src, size_t len);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string, quotes included; bytes that are no printable ASCII become \u00xx. */
void buf_add_json(struct buf *b, const char *text);
void buf_drop(struct buf *b, size_t len); /* remove `len` bytes from the front */
struct span buf_span(const struct buf *b);
char *buf_cstr(struct buf *b); /* terminated view, owned by the buffer; NULL when it failed */

/* Overwrite secrets; not optimised away. */
void bm_wipe(void *ptr, size_t len);

/* Compare secrets: no branch depends on the bytes, only the verdict is told. */
bool bm_equal_ct(const void *a, const void *b, size_t len);
bool bm_less_ct(const void *a, const void *b, size_t len); /* as big-endian numbers */

/* Lower-case hex: writes 2*len characters and a terminator. */
void hex_encode(char *out, const void *src, size_t len);
/* Strict hex of either case: exactly 2*len digits. BM_ERR_INPUT otherwise; `out` then undefined. */
enum bm_err hex_decode(uint8_t *out, size_t len, struct span text);

/* Base64 of RFC 4648, padded, without line breaks. */
enum bm_err base64_encode(struct buf *out, struct span in);
enum bm_err base64_decode(struct buf *out, struct span text);

#endif
