/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sessions.h. The file: a header, then chunks of (type, length, body), big-endian; the time in
 * the body of a client alone is as the machine has it.
 */
#include "broker/sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_CLIENT = 6, VERSION_5 = 5, VERSION_6 = 6 };

static const uint8_t magic[15] = "\x00\xb5\x00mosquitto db";

static bool
parse_client(struct rd r, uint32_t version, struct broker_session *s)
{
    struct span due = rd_span(&r, sizeof s->due_s);
    uint16_t id_len;

    s->expiry_s = rd_u32(&r);
    (void)rd_u16(&r); /* last packet id */
    id_len = rd_u16(&r);
    if (version == VERSION_6)
        (void)rd_span(&r, 8); /* port, length of the user's name, padding */
    s->id = rd_span(&r, id_len);
    if (r.failed)
        return false;
    memcpy(&s->due_s, due.ptr, sizeof s->due_s);
    return true;
}

enum bm_err
broker_sessions_parse(struct span file, session_fn fn, void *arg)
{
    struct rd r = rd_of(file);
    struct span head = rd_span(&r, sizeof magic);
    uint32_t version;

    (void)rd_u32(&r); /* checksum, always 0 */
    version = rd_u32(&r);
    if (r.failed || !span_eq(head, SPAN(magic)) || (version != VERSION_5 && version != VERSION_6))
        return BM_ERR_INPUT;
    while (rd_left(&r) > 0) {
        uint32_t type = rd_u32(&r);
        struct span body = rd_span(&r, rd_u32(&r));
        struct broker_session s;

        if (r.failed)
            return BM_ERR_INPUT;
        if (type != CHUNK_CLIENT)
            continue;
        if (!parse_client(rd_of(body), version, &s))
            return BM_ERR_INPUT;
        s.at = (size_t)(body.ptr - file.ptr);
        fn(arg, &s);
    }
    return BM_OK;
}

enum bm_err
broker_sessions_read(const char *path, session_fn fn, void *arg, struct bm_msg *msg)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum bm_err err = BM_OK;
    void *at = MAP_FAILED;
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return BM_OK;
    if (fd < 0 || fstat(fd, &st) != 0 ||
        (st.st_size > 0 &&
            (at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED))
        err = bm_fail(msg, BM_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    if (at == MAP_FAILED)
        return err;
    err = broker_sessions_parse(span_of(at, (size_t)st.st_size), fn, arg);
    (void)munmap(at, (size_t)st.st_size);
    return err == BM_OK ? BM_OK
                        : bm_fail(msg, err, "%s is no file of mosquitto 2.0, or cut short", path);
}

struct begin {
    int fd;
    int64_t now_s;
    uint32_t max_s;
    bool failed;
};

static void
begin_one(void *arg, const struct broker_session *s)
{
    struct begin *b = arg;
    uint32_t expiry_s = b->max_s != 0 && b->max_s < s->expiry_s ? b->max_s : s->expiry_s;
    int64_t due_s = b->now_s + expiry_s;

    if (s->due_s == 0 && expiry_s != UINT32_MAX && /* which is for ever */
        pwrite(b->fd, &due_s, sizeof due_s, (off_t)s->at) != (ssize_t)sizeof due_s)
        b->failed = true;
}

enum bm_err
broker_sessions_begin(const char *path, int64_t now_s, uint32_t max_s, struct bm_msg *msg)
{
    struct begin b = { .fd = open(path, O_WRONLY | O_CLOEXEC), .now_s = now_s, .max_s = max_s };
    enum bm_err err;

    if (b.fd < 0)
        return errno == ENOENT
                   ? BM_OK
                   : bm_fail(msg, BM_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    err = broker_sessions_read(path, begin_one, &b, msg);
    if (err == BM_OK && b.failed)
        err = bm_fail(msg, BM_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    (void)close(b.fd);
    return err;
}
