/* SPDX-License-Identifier: Apache-2.0 */
/* See driver.h. */
#include "a71chd/driver.h"

#include "a71ch.h"
#include "wire/apdu.h"
#include "wire/jrcp.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINK_FD = 3 };

static enum bm_err
answer(int fd, uint8_t mty, struct span payload)
{
    uint8_t bytes[JRCP_MESSAGE_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = jrcp_build(&w, &(struct jrcp_msg){ .mty = mty, .payload = payload });

    if (err == BM_OK && send(fd, bytes, wr_len(&w), MSG_NOSIGNAL) != (ssize_t)wr_len(&w))
        err = BM_ERR_IO;
    bm_wipe(bytes, sizeof bytes);
    return err;
}

/* The library's sentence, and a closed handle: the next request opens another one. */
static enum bm_err
answer_failure(int fd, a71ch **chip)
{
    struct span text = span_str(*chip != NULL ? a71ch_message(*chip) : "out of memory");
    enum bm_err err;

    text.len = text.len < JRCP_PAYLOAD_MAX ? text.len : JRCP_PAYLOAD_MAX;
    err = answer(fd, JRCP_ERROR, text);
    a71ch_close(*chip);
    *chip = NULL;
    return err;
}

static enum bm_err
run_command(int fd, a71ch **chip, struct span cmd)
{
    static const uint8_t wrong_length[] = { SW_WRONG_LENGTH >> 8, SW_WRONG_LENGTH & 0xff };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;
    enum bm_err err;

    if (cmd.len < 4 || cmd.len > APDU_CMD_MAX) /* no APDU; a chip would say so */
        return answer(fd, JRCP_APDU, SPAN(wrong_length));
    if (a71ch_transceive(*chip, cmd.ptr, cmd.len, rsp, &len) != A71CH_OK)
        return answer_failure(fd, chip);
    err = answer(fd, JRCP_APDU, span_of(rsp, len));
    bm_wipe(rsp, sizeof rsp);
    return err;
}

static enum bm_err
run_request(int fd, const char *address, a71ch **chip, const struct jrcp_msg *request)
{
    uint8_t atr[A71CH_ATR_MAX];
    size_t len;

    if (request->mty == JRCP_WAIT_FOR_CARD) {
        a71ch_close(*chip);
        *chip = NULL;
    }
    if (*chip == NULL && a71ch_open(address, NULL, chip) != A71CH_OK)
        return answer_failure(fd, chip);
    if (request->mty == JRCP_APDU)
        return run_command(fd, chip, request->payload);
    if (a71ch_atr(*chip, atr, sizeof atr, &len) != A71CH_OK)
        return answer_failure(fd, chip);
    return answer(fd, request->mty, span_of(atr, len));
}

/* Until the other end is closed. */
static void
serve(int fd, const char *address)
{
    a71ch *chip = NULL;
    enum bm_err err = BM_OK;

    while (err == BM_OK) {
        uint8_t room[JRCP_MESSAGE_MAX];
        ssize_t n = recv(fd, room, sizeof room, 0);
        struct rd r = rd_of(span_of(room, n > 0 ? (size_t)n : 0));
        struct jrcp_msg request;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        err = jrcp_parse(&r, &request);
        if (err == BM_OK)
            err = run_request(fd, address, &chip, &request);
        bm_wipe(room, sizeof room);
    }
    a71ch_close(chip);
}

/* It holds nothing of its parent's but its end of the pair, and ends with it, not by a signal. */
static _Noreturn void
run_child(int fd, const char *address)
{
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    if (dup2(fd, LINK_FD) != LINK_FD)
        _exit(1);
    (void)close_range(LINK_FD + 1, ~0U, 0);
    serve(LINK_FD, address);
    _exit(0);
}

enum bm_err
driver_start(const char *address, struct driver *out, struct bm_msg *msg)
{
    int ends[2];

    *out = (struct driver){ .fd = -1 };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make a socket pair: %s", strerror(errno));
    (void)fflush(NULL); /* or the child has a copy to write */
    out->pid = fork();
    if (out->pid == 0)
        run_child(ends[1], address);
    (void)close(ends[1]);
    if (out->pid < 0) {
        (void)close(ends[0]);
        return bm_fail(msg, BM_ERR_IO, "cannot start a process: %s", strerror(errno));
    }
    out->fd = ends[0];
    return BM_OK;
}

void
driver_stop(struct driver *d)
{
    if (d->fd < 0)
        return;
    (void)close(d->fd);
    d->fd = -1;
    while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
