/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real chip as a backend, by way of the process that holds its link (driver.h). It has one
 * selection of the applet, one hash in progress, one challenge, whoever the client is, so sequences
 * need leases; and a client's reset is answered by the ATR without resetting the chip under the
 * others, as NXP's access manager does.
 */
#include "a71chd/backend.h"

#include "a71chd/driver.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/apdu.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { ADDRESS_LEN = 288, FIRST_ANSWER_MS = 20000 };

struct real {
    struct backend base;
    char address[ADDRESS_LEN];
    struct driver driver;
    struct loop_watch *watch;
    uint8_t atr[BACKEND_ATR_MAX];
    size_t atr_len;
    uint8_t ins; /* of the running command */
    unsigned long commands;
    unsigned long signatures;
    unsigned long ecdh;
    unsigned long generated;
    unsigned long restarts; /* of the driver */
};

static struct real *
real_of(struct backend *b)
{
    return (struct real *)(void *)b;
}

static struct backend_session *
session_new(struct backend *b)
{
    (void)b;
    return calloc(1, sizeof(struct backend_session));
}

static void
session_free(struct backend_session *s)
{
    free(s);
}

static void
fail(struct real *r, const char *cause)
{
    backend_finish(&r->base, &(struct backend_answer){ .err = BM_ERR_IO, .cause = cause });
}

static enum bm_err
send_request(struct real *r, uint8_t mty, struct span payload)
{
    uint8_t bytes[JRCP_MESSAGE_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = jrcp_build(&w, &(struct jrcp_msg){ .mty = mty, .payload = payload });

    if (err == BM_OK &&
        send(r->driver.fd, bytes, wr_len(&w), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)wr_len(&w))
        err = BM_ERR_IO;
    bm_wipe(bytes, sizeof bytes);
    return err;
}

/* One packet. BM_ERR_CLOSED: the driver is gone. */
static enum bm_err
receive(struct real *r, uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *out)
{
    ssize_t n = recv(r->driver.fd, room, JRCP_MESSAGE_MAX, MSG_DONTWAIT);
    struct rd in = rd_of(span_of(room, n > 0 ? (size_t)n : 0));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return BM_ERR_MORE;
    if (n <= 0)
        return BM_ERR_CLOSED;
    return jrcp_parse(&in, out) == BM_OK ? BM_OK : BM_ERR_CLOSED;
}

static void
count(struct real *r, const struct jrcp_msg *msg)
{
    const uint8_t *sw = msg->payload.len >= 2 ? &msg->payload.ptr[msg->payload.len - 2] : NULL;

    r->commands++;
    if (msg->mty != JRCP_APDU || sw == NULL || sw[0] != SW_OK >> 8 || sw[1] != 0)
        return;
    r->signatures += r->ins == INS_PAIR_SIGN;
    r->ecdh += r->ins == INS_PAIR_ECDH;
    r->generated += r->ins == INS_PAIR_SET;
}

static void
lose_driver(struct real *r)
{
    loop_remove(r->base.loop, r->watch);
    r->watch = NULL;
    driver_stop(&r->driver);
    log_error("the process that holds the link to %s has ended; the next command starts it again",
        r->address);
}

static void
on_packet(void *arg, uint32_t events)
{
    struct real *r = arg;
    uint8_t room[JRCP_MESSAGE_MAX];
    char cause[JRCP_PAYLOAD_MAX + 1];
    struct jrcp_msg msg;
    enum bm_err err = receive(r, room, &msg);

    (void)events;
    if (err == BM_ERR_MORE)
        return;
    if (err != BM_OK) {
        lose_driver(r);
        if (r->base.busy)
            fail(r, "the process that holds the link to the chip has ended; the command may have "
                    "been run or not");
        return;
    }
    count(r, &msg);
    if (msg.mty == JRCP_ERROR) {
        (void)snprintf(
            cause, sizeof cause, "%.*s", (int)msg.payload.len, (const char *)msg.payload.ptr);
        log_error("%s", cause);
        fail(r, cause);
    } else {
        backend_finish(&r->base, &(struct backend_answer){ .bytes = msg.payload });
    }
    bm_wipe(room, sizeof room);
}

static enum bm_err
start_driver(struct real *r, struct bm_msg *msg)
{
    enum bm_err err = driver_start(r->address, &r->driver, msg);

    if (err != BM_OK)
        return err;
    r->watch = loop_add(r->base.loop, r->driver.fd, EPOLLIN, on_packet, r);
    if (r->watch != NULL)
        return BM_OK;
    driver_stop(&r->driver);
    return bm_fail(msg, BM_ERR_MEM, "out of memory");
}

static void
start(struct backend *b, struct backend_session *s)
{
    struct real *r = real_of(b);
    struct span command = span_of(s->command, s->command_len);
    struct bm_msg msg = { "" };

    if (s->request == BACKEND_RESET) {
        backend_finish(b, &(struct backend_answer){ .bytes = span_of(r->atr, r->atr_len) });
        return;
    }
    r->ins = s->command_len > 1 ? s->command[1] : 0;
    /* what a driver that has ended did not get, the next one may have */
    if (r->driver.fd >= 0) {
        if (send_request(r, JRCP_APDU, command) == BM_OK)
            return;
        lose_driver(r);
    }
    r->restarts++;
    if (start_driver(r, &msg) != BM_OK) {
        fail(r, msg.text);
    } else if (send_request(r, JRCP_APDU, command) != BM_OK) {
        lose_driver(r);
        fail(r, "the process that holds the link to the chip has ended; ask again");
    }
}

static struct span
atr(const struct backend *b)
{
    const struct real *r = (const struct real *)(const void *)b;

    return span_of(r->atr, r->atr_len);
}

static void
stats(struct backend *b, struct buf *out)
{
    const struct real *r = real_of(b);

    buf_addf(out,
        "{\"commands\":%lu,\"signatures\":%lu,\"ecdh\":%lu,\"generated\":%lu,\"restarts\":%lu}",
        r->commands, r->signatures, r->ecdh, r->generated, r->restarts);
}

static void
real_free(struct backend *b)
{
    struct real *r = real_of(b);

    loop_remove(b->loop, r->watch);
    driver_stop(&r->driver);
    free(r);
}

static const struct backend_ops real_ops = { session_new, session_free, start, atr, stats, NULL,
    real_free };

/* Before anybody is served: is there a chip? */
static enum bm_err
first_answer(struct real *r, struct bm_msg *msg)
{
    struct pollfd p = { .fd = r->driver.fd, .events = POLLIN };
    int64_t deadline = clock_mono_ms() + FIRST_ANSWER_MS;
    uint8_t room[JRCP_MESSAGE_MAX];
    struct jrcp_msg answer;
    enum bm_err err = send_request(r, JRCP_WAIT_FOR_CARD, (struct span){ 0 });

    while (err == BM_OK || err == BM_ERR_MORE) {
        int64_t left = deadline - clock_mono_ms();

        if (left <= 0)
            return bm_fail(msg, BM_ERR_TIMEOUT, "the chip at %s does not answer", r->address);
        (void)poll(&p, 1, (int)left);
        err = receive(r, room, &answer);
        if (err == BM_OK)
            break;
    }
    if (err != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "the process that holds the link to %s ended", r->address);
    if (answer.mty == JRCP_ERROR)
        return bm_fail(
            msg, BM_ERR_IO, "%.*s", (int)answer.payload.len, (const char *)answer.payload.ptr);
    if (answer.payload.len > sizeof r->atr)
        return bm_fail(msg, BM_ERR_PROTO, "the chip's ATR has %zu bytes", answer.payload.len);
    memcpy(r->atr, answer.payload.ptr, answer.payload.len);
    r->atr_len = answer.payload.len;
    return BM_OK;
}

enum bm_err
backend_real_new(struct loop *loop, const char *device, struct backend **out, struct bm_msg *msg)
{
    struct real *r = calloc(1, sizeof *r);
    enum bm_err err;
    int len;

    *out = NULL;
    if (r == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    r->base = (struct backend){ .ops = &real_ops, .loop = loop, .shared = true };
    r->driver.fd = -1;
    len = snprintf(r->address, sizeof r->address, "i2c:%s", device);
    err = len > 0 && (size_t)len < sizeof r->address
              ? start_driver(r, msg)
              : bm_fail(msg, BM_ERR_ARG, "--i2c %s: the name is too long", device);
    if (err == BM_OK)
        err = first_answer(r, msg);
    if (err != BM_OK) {
        real_free(&r->base);
        return err;
    }
    *out = &r->base;
    return BM_OK;
}
