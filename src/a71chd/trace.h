/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went to the chip and came back, one JSON object a line, to a file and to the log at trace
 * level. a71chd(1) describes the format. What may be a secret stands there as its length only.
 *
 * The file never grows beyond TRACE_FILE_MAX: it is renamed to FILE.old then and begun anew. A file
 * that cannot be written is given up with one message; the chip goes on.
 */
#ifndef BM_A71CHD_TRACE_H
#define BM_A71CHD_TRACE_H

#include "base/bytes.h"

enum { TRACE_FILE_MAX = 64 * 1024 * 1024 };

struct trace_exchange {
    const char *chip; /* its name when there are many, or NULL */
    unsigned client;
    bool reset;          /* the client asked for a reset; no command */
    struct span command; /* borrowed, as all here */
    struct span answer;  /* response with status word, or ATR; empty: none came */
    const char *error;   /* why none came, or NULL */
    const char *fault;   /* what was done to this exchange on purpose, or NULL */
    int64_t took_us;     /* as the chip's clock counts */
};

/* Append the line, with its line feed. `wall_ms` and `number` are the time and count of it. */
void trace_line(
    struct buf *out, const struct trace_exchange *x, int64_t wall_ms, unsigned long long number);

struct trace;

/* Append to `path` (mode 0600); NULL: to the log only. BM_ERR_IO. */
enum bm_err trace_open(const char *path, struct trace **out, struct bm_msg *msg);
void trace_close(struct trace *t); /* takes NULL */

/* Would trace_write do anything? `t` may be NULL. */
bool trace_on(const struct trace *t);
void trace_write(struct trace *t, const struct trace_exchange *x);

#endif
