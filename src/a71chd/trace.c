/* SPDX-License-Identifier: Apache-2.0 */
/* See trace.h. */
#include "a71chd/trace.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "wire/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct trace {
    char path[PATH_MAX]; /* empty: none */
    int fd;
    bool bounded; /* a file, not a pipe or a terminal */
    off_t size;
    unsigned long long number;
    struct buf line;
};

static void
add_hex(struct buf *out, const char *name, struct span bytes)
{
    char hex[2 * APDU_RSP_MAX + 128]; /* a message of JRCP may be longer than an APDU */
    size_t len = bytes.len < sizeof hex / 2 ? bytes.len : sizeof hex / 2 - 1;

    hex_encode(hex, bytes.ptr, len);
    buf_addf(out, ",\"%s\":\"%s\"", name, hex);
}

static void
add_text(struct buf *out, const char *name, const char *text)
{
    buf_addf(out, ",\"%s\":", name);
    buf_add_json(out, text);
}

/* The header stays readable when the data is a secret. */
static void
add_command(struct buf *out, struct span command, const struct decoded *d)
{
    enum { HEADER = 5 };

    if (d->slot >= 0)
        buf_addf(out, ",\"slot\":%d", d->slot);
    if (d->count >= 0)
        buf_addf(out, ",\"slots\":%d", d->count);
    if (d->offset >= 0)
        buf_addf(out, ",\"offset\":%d", d->offset);
    if (d->protected)
        buf_addf(out, ",\"protected\":true");
    if (d->command_secret && command.len > HEADER) {
        buf_addf(out, ",\"command_secret\":%zu", command.len - HEADER);
        command.len = HEADER;
    }
    add_hex(out, "command", command);
}

static void
add_response(struct buf *out, struct span response, const struct decoded *d)
{
    struct span data = { 0 };
    uint16_t sw = 0;

    if (apdu_split(response, &data, &sw) != BM_OK) {
        add_hex(out, "answer", response);
        return;
    }
    buf_addf(out, ",\"sw\":\"%04x\",\"meaning\":\"%s\"", sw, decode_status(sw));
    if (d->answer_secret && data.len > 0)
        buf_addf(out, ",\"answer_secret\":%zu", data.len);
    else
        add_hex(out, "answer", data);
}

void
trace_line(
    struct buf *out, const struct trace_exchange *x, int64_t wall_ms, unsigned long long number)
{
    struct decoded d = decode_command(x->command);
    char when[CLOCK_TEXT_LEN];

    clock_text(when, wall_ms);
    buf_addf(out, "{\"n\":%llu,\"time\":\"%s\",\"us\":%lld", number, when, (long long)x->took_us);
    if (x->chip != NULL)
        add_text(out, "chip", x->chip);
    buf_addf(out, ",\"client\":%u,\"name\":\"%s\"", x->client, x->reset ? "reset" : d.name);
    if (!x->reset)
        add_command(out, x->command, &d);
    if (x->fault != NULL)
        add_text(out, "fault", x->fault);
    if (x->error != NULL)
        add_text(out, "error", x->error);
    else if (x->reset)
        add_hex(out, "atr", x->answer);
    else if (x->answer.len > 0)
        add_response(out, x->answer, &d);
    buf_add(out, "}\n", 2);
}

static enum bm_err
open_file(struct trace *t)
{
    struct stat st;

    t->fd = open(t->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (t->fd < 0 || fstat(t->fd, &st) != 0)
        return BM_ERR_IO;
    t->bounded = S_ISREG(st.st_mode);
    t->size = st.st_size;
    return BM_OK;
}

enum bm_err
trace_open(const char *path, struct trace **out, struct bm_msg *msg)
{
    struct trace *t = calloc(1, sizeof *t);

    *out = NULL;
    if (t == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    t->fd = -1;
    if (path != NULL && (snprintf(t->path, sizeof t->path, "%s", path) >= (int)sizeof t->path ||
                            open_file(t) != BM_OK)) {
        enum bm_err err = bm_fail(msg, BM_ERR_IO,
            "cannot write the trace to %s: %s; name another file", path, strerror(errno));

        trace_close(t);
        return err;
    }
    *out = t;
    return BM_OK;
}

void
trace_close(struct trace *t)
{
    if (t == NULL)
        return;
    if (t->fd >= 0)
        (void)close(t->fd);
    buf_fini(&t->line);
    free(t);
}

bool
trace_on(const struct trace *t)
{
    return t != NULL && (t->fd >= 0 || log_on(LOG_TRACE));
}

/* Keep the file within its bound. */
static enum bm_err
make_room(struct trace *t)
{
    char old[PATH_MAX + 4];

    t->size += (off_t)t->line.len;
    if (!t->bounded || t->size <= TRACE_FILE_MAX)
        return BM_OK;
    (void)snprintf(old, sizeof old, "%s.old", t->path);
    (void)close(t->fd);
    t->fd = -1;
    return rename(t->path, old) == 0 ? open_file(t) : BM_ERR_IO;
}

static void
write_file(struct trace *t)
{
    if (make_room(t) == BM_OK && fd_write_all(t->fd, buf_span(&t->line)) == BM_OK)
        return;
    log_error("cannot write the trace to %s: %s; no more is traced", t->path, strerror(errno));
    if (t->fd >= 0)
        (void)close(t->fd);
    t->fd = -1;
}

void
trace_write(struct trace *t, const struct trace_exchange *x)
{
    if (!trace_on(t))
        return;
    t->line.len = 0;
    t->line.failed = false;
    trace_line(&t->line, x, clock_wall_ms(), ++t->number);
    if (t->line.failed)
        return;
    if (log_on(LOG_TRACE))
        log_line(LOG_TRACE, "%.*s", (int)t->line.len - 1, (const char *)t->line.ptr);
    if (t->fd >= 0)
        write_file(t);
}
