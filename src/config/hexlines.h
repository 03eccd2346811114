/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of objects as text: lines of 32 or 64 hexadecimal digits, the last one may be shorter. SPEC
 * a71ch 8.3, "Text formats". Pure.
 */
#ifndef BM_CONFIG_HEXLINES_H
#define BM_CONFIG_HEXLINES_H

#include "base/bytes.h"

enum { HEXLINES_16 = 16, HEXLINES_32 = 32, HEXLINES_MAX = 4096 }; /* bytes a line; in all */

/*
 * Read lines of `width` bytes that end with LF or CR LF; the last one may be shorter and lack its
 * end. Up to HEXLINES_MAX bytes are appended to `out`, which is as before after an error.
 * BM_ERR_INPUT: another form, or an odd number of digits. BM_ERR_LIMIT: too many bytes.
 */
enum bm_err hexlines_parse(struct span text, size_t width, struct buf *out, struct bm_msg *msg);

/* Append the text: upper case, LF between lines and none at the end. */
void hexlines_build(struct buf *out, struct span bytes, size_t width);

#endif
