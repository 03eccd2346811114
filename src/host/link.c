/* SPDX-License-Identifier: Apache-2.0 */
/* See link.h. */
#include "host/link.h"

#include "host/i2c.h"
#include "host/sim.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Wait until `events` or the deadline. BM_ERR_TIMEOUT, or BM_ERR_IO with errno set. */
static enum bm_err
wait_ready(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = events };
        int64_t left = deadline - clock_mono_ms();
        int n = poll(&p, 1, left < 0 ? 0 : (int)left);

        if (n > 0)
            return BM_OK; /* also on error and hang-up: the call that follows tells which */
        if (n < 0 && errno != EINTR)
            return BM_ERR_IO;
        if (n == 0 && left <= 0)
            return BM_ERR_TIMEOUT;
    }
}

static int64_t
deadline_after(unsigned timeout_ms)
{
    return clock_mono_ms() + (timeout_ms > INT32_MAX ? INT32_MAX : (int64_t)timeout_ms);
}

void
link_abandon(struct link *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = -1;
}

void
link_close(struct link *l)
{
    if (l->fd >= 0)
        (void)shutdown(l->fd, SHUT_RDWR);
    link_abandon(l);
    if (l->server > 0)
        sim_end(l);
}

/* Close after a failure, remember why. */
static enum bm_err
broken(struct link *l, enum bm_err err, int sys_errno)
{
    link_close(l);
    l->sys_errno = sys_errno;
    return err;
}

static enum bm_err
connect_failed(struct link *l, enum bm_err err, int cause, struct bm_msg *msg)
{
    l->sys_errno = cause;
    if (err == BM_ERR_TIMEOUT)
        return bm_fail(msg, err,
            "%s did not take the connection in time; is it overloaded, or behind a firewall?",
            l->name);
    if (cause == ECONNREFUSED || cause == ENOENT)
        return bm_fail(msg, err, "nobody listens at %s (%s); start a71chd, or set A71CH_ADDRESS",
            l->name, strerror(cause));
    if (cause == EACCES || cause == EPERM)
        return bm_fail(msg, err,
            "no permission to connect to %s (%s); run as a user who may write to the socket",
            l->name, strerror(cause));
    return bm_fail(
        msg, err, "cannot connect to %s (%s); check the address", l->name, strerror(cause));
}

/* One address of a host. On failure *cause is the errno and the descriptor is gone. */
static enum bm_err
connect_tcp_one(const struct addrinfo *ai, int64_t deadline, int *out, int *cause)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    int one = 1;
    socklen_t len = sizeof *cause;
    enum bm_err err = BM_OK;

    *cause = errno;
    if (fd < 0)
        return BM_ERR_IO;
    *cause = 0;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        *cause = errno;
        if (*cause == EINPROGRESS || *cause == EINTR)
            err = wait_ready(fd, POLLOUT, deadline);
        else
            err = BM_ERR_IO;
        if (err == BM_OK && (getsockopt(fd, SOL_SOCKET, SO_ERROR, cause, &len) != 0 || *cause != 0))
            err = BM_ERR_IO;
    }
    if (err != BM_OK) {
        (void)close(fd);
        return err;
    }
    /* without effect on a failure but some milliseconds */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out = fd;
    return BM_OK;
}

static enum bm_err
open_tcp(struct link *l, const struct address *a, unsigned timeout_ms, struct bm_msg *msg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int cause = 0;
    int64_t deadline;
    enum bm_err err = BM_ERR_IO;
    int rc = getaddrinfo(a->host, a->port, &hints, &list);

    if (rc != 0) {
        l->sys_errno = rc == EAI_SYSTEM ? errno : 0;
        return bm_fail(msg, BM_ERR_IO,
            "cannot find the host of %s (%s); check the address or set A71CH_ADDRESS", l->name,
            gai_strerror(rc));
    }
    deadline = deadline_after(timeout_ms);
    for (struct addrinfo *ai = list; ai != NULL && err != BM_OK; ai = ai->ai_next)
        err = connect_tcp_one(ai, deadline, &l->fd, &cause);
    freeaddrinfo(list);
    return err == BM_OK ? BM_OK : connect_failed(l, err, cause, msg);
}

/*
 * A non-blocking connect to a Unix socket whose queue is full fails at once instead of waiting, so
 * this one blocks, bounded by the send time-out that Linux applies to it.
 */
static enum bm_err
open_unix(struct link *l, const struct address *a, unsigned timeout_ms, struct bm_msg *msg)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = (time_t)(timeout_ms / 1000),
        .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000 };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;
    int cause;

    if (fd < 0)
        return connect_failed(l, BM_ERR_IO, errno, msg);
    memcpy(to.sun_path, a->path, sizeof to.sun_path - 1); /* longer ones were refused */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    do {
        rc = connect(fd, (const struct sockaddr *)&to, sizeof to);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 || fd_prepare(fd) != BM_OK) {
        cause = errno;
        (void)close(fd);
        return connect_failed(l, cause == EAGAIN ? BM_ERR_TIMEOUT : BM_ERR_IO, cause, msg);
    }
    l->fd = fd;
    return BM_OK;
}

enum bm_err
link_open(struct link *l, const struct address *address, unsigned timeout_ms, bool resume,
    struct bm_msg *msg)
{
    *l = (struct link){ .fd = -1 };
    /* people know HOST:PORT, and unix:PATH by its prefix */
    (void)snprintf(l->name, sizeof l->name, "%s",
        address->kind == ADDRESS_TCP ? &address->text[strlen("tcp:")] : address->text);
    switch (address->kind) {
    case ADDRESS_TCP:
        return open_tcp(l, address, timeout_ms, msg);
    case ADDRESS_UNIX:
        return open_unix(l, address, timeout_ms, msg);
    case ADDRESS_I2C:
        return i2c_open(l, address, timeout_ms, resume, msg);
    case ADDRESS_SIM:
        return sim_open(l, address->path, msg);
    }
    return bm_fail(msg, BM_ERR_INTERNAL, "unknown kind of address");
}

static enum bm_err
transfer_failed(struct link *l, enum bm_err err, int cause, unsigned timeout_ms, struct bm_msg *msg)
{
    (void)broken(l, err, cause);
    if (err == BM_ERR_TIMEOUT)
        return bm_fail(msg, err,
            "%s gave no answer within %u ms; is the chip or its server stuck? The connection is "
            "closed, open it again",
            l->name, timeout_ms);
    if (err == BM_ERR_CLOSED)
        return bm_fail(msg, err,
            "%s closed the connection in the middle of an exchange; look at its log, then connect "
            "again",
            l->name);
    return bm_fail(
        msg, err, "the connection to %s failed (%s); connect again", l->name, strerror(cause));
}

/* The error of a socket call that gave `n`; BM_OK: try again after waiting. */
static enum bm_err
judge(ssize_t n, int cause)
{
    if (n == 0 || cause == ECONNRESET || cause == EPIPE)
        return BM_ERR_CLOSED;
    return cause == EAGAIN || cause == EWOULDBLOCK || cause == EINTR ? BM_OK : BM_ERR_IO;
}

static enum bm_err
send_all(int fd, struct span data, int64_t deadline)
{
    struct rd left = rd_of(data);

    while (rd_left(&left) > 0) {
        ssize_t n = send(fd, left.pos, rd_left(&left), MSG_NOSIGNAL);
        enum bm_err err;

        if (n >= 0) {
            (void)rd_span(&left, (size_t)n);
            continue;
        }
        err = judge(n, errno);
        if (err == BM_OK)
            err = wait_ready(fd, POLLOUT, deadline);
        if (err != BM_OK)
            return err;
    }
    return BM_OK;
}

/* Exactly `len` bytes, in as many pieces as the network makes of them. */
static enum bm_err
receive_all(int fd, struct wr *out, size_t len, int64_t deadline)
{
    size_t had = wr_len(out);

    while (wr_len(out) - had < len) {
        uint8_t piece[JRCP_MESSAGE_MAX];
        size_t want = len - (wr_len(out) - had);
        ssize_t n = recv(fd, piece, want < sizeof piece ? want : sizeof piece, 0);
        enum bm_err err;

        if (n > 0) {
            wr_bytes(out, piece, (size_t)n);
            bm_wipe(piece, (size_t)n); /* may be an ECDH secret */
            if (out->failed)
                return BM_ERR_INTERNAL;
            continue;
        }
        err = judge(n, errno);
        if (err == BM_OK)
            err = wait_ready(fd, POLLIN, deadline);
        if (err != BM_OK)
            return err;
    }
    return BM_OK;
}

/* Bytes that nobody asked for would be taken for the next answer; a hang-up shows here too. */
static enum bm_err
check_quiet(struct link *l, struct bm_msg *msg)
{
    uint8_t byte;
    ssize_t n = recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    enum bm_err err;

    if (n > 0) {
        (void)broken(l, BM_ERR_PROTO, 0);
        return bm_fail(msg, BM_ERR_PROTO,
            "%s sent bytes that were not asked for; is it a JRCP version 1 server?", l->name);
    }
    err = judge(n, errno);
    if (err == BM_ERR_CLOSED) {
        (void)broken(l, err, n == 0 ? 0 : errno);
        return bm_fail(
            msg, err, "%s has closed the connection; look at its log, then connect again", l->name);
    }
    return err == BM_OK ? BM_OK : transfer_failed(l, err, errno, 0, msg);
}

void
link_printable(char out[JRCP_PAYLOAD_MAX + 1], struct span text)
{
    size_t len = 0;

    for (struct rd r = rd_of(text); rd_left(&r) > 0 && len < JRCP_PAYLOAD_MAX; len++) {
        uint8_t c = rd_u8(&r);

        out[len] = (char)(c >= ' ' && c <= '~' ? c : '.');
    }
    out[len] = '\0';
}

static enum bm_err
check_answer(struct link *l, const struct jrcp_msg *answer, struct bm_msg *msg)
{
    char text[JRCP_PAYLOAD_MAX + 1];

    if (answer->mty != JRCP_ERROR)
        return BM_OK;
    link_printable(text, answer->payload);
    (void)broken(l, BM_ERR_PROTO, 0);
    return bm_fail(msg, BM_ERR_PROTO, "%s answered with an error message: '%s'; look at its log",
        l->name, text);
}

static enum bm_err
receive_answer(struct link *l, struct wr *in, int64_t deadline, struct jrcp_msg *answer)
{
    struct rd r;
    enum bm_err err = receive_all(l->fd, in, JRCP_HEADER, deadline);
    struct rd length;

    if (err != BM_OK)
        return err;
    r = rd_of(span_of(in->start, wr_len(in)));
    err = jrcp_parse(&r, answer); /* judges the length as soon as the header is here */
    if (err != BM_ERR_MORE)
        return err;
    length = rd_of(span_of(in->start, JRCP_HEADER));
    (void)rd_u16(&length);
    err = receive_all(l->fd, in, rd_u16(&length), deadline);
    if (err != BM_OK)
        return err;
    r = rd_of(span_of(in->start, wr_len(in)));
    return jrcp_parse(&r, answer);
}

enum bm_err
link_exchange(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct wr out = wr_of(room, JRCP_MESSAGE_MAX);
    int64_t deadline = deadline_after(timeout_ms);
    enum bm_err err;

    l->sys_errno = 0;
    if (l->fd < 0)
        return bm_fail(msg, BM_ERR_CLOSED,
            "the connection to %s was lost in an earlier call; close this handle and open it again",
            l->name);
    err = jrcp_build(&out, request);
    if (err != BM_OK)
        return bm_fail(msg, BM_ERR_ARG, "a message of %zu bytes is too long for the link",
            request->payload.len);
    err = check_quiet(l, msg);
    if (err != BM_OK)
        return err;
    err = send_all(l->fd, span_of(room, wr_len(&out)), deadline);
    if (err == BM_OK) {
        bm_wipe(room, JRCP_MESSAGE_MAX); /* may have held a private key */
        out = wr_of(room, JRCP_MESSAGE_MAX);
        err = receive_answer(l, &out, deadline, answer);
    }
    if (err == BM_ERR_PROTO) {
        (void)broken(l, err, 0);
        return bm_fail(msg, err,
            "%s announced an answer longer than %d bytes; is it a JRCP version 1 server?", l->name,
            JRCP_PAYLOAD_MAX);
    }
    if (err != BM_OK)
        return transfer_failed(l, err, errno, timeout_ms, msg);
    return check_answer(l, answer, msg);
}
