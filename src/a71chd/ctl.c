/* SPDX-License-Identifier: Apache-2.0 */
/* See ctl.h. */
#include "a71chd/ctl.h"

#include "a71chd/address.h"
#include "a71chd/control.h"
#include "chip/chip.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 30000 };

/* Receive until the front of `in` holds one whole message. */
static enum bm_err
receive_message(int fd, struct buf *in, struct jrcp_msg *msg, size_t *len)
{
    for (;;) {
        struct rd r = rd_of(buf_span(in));
        enum bm_err err = jrcp_parse(&r, msg);
        uint8_t *to;
        ssize_t n;

        *len = in->len - rd_left(&r);
        if (err != BM_ERR_MORE)
            return err;
        to = buf_reserve(in, JRCP_MESSAGE_MAX);
        if (to == NULL)
            return BM_ERR_MEM;
        n = recv(fd, to, JRCP_MESSAGE_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? BM_ERR_CLOSED : BM_ERR_IO;
        in->len += (size_t)n;
    }
}

/* All pieces of the reply; `*nad` is the last one's. */
static enum bm_err
receive_reply(int fd, struct buf *out, uint8_t *nad)
{
    struct buf in = { 0 };
    enum bm_err err = BM_OK;

    *nad = CONTROL_MORE;
    while (err == BM_OK && *nad == CONTROL_MORE) {
        struct jrcp_msg piece;
        size_t len;

        err = receive_message(fd, &in, &piece, &len);
        if (err == BM_OK && (piece.mty != JRCP_DEBUG_INFO || piece.nad > CONTROL_ERROR ||
                                piece.payload.len == 0 || out->len > CONTROL_REPLY_MAX))
            err = BM_ERR_PROTO;
        if (err != BM_OK)
            break;
        buf_add(out, piece.payload.ptr, piece.payload.len);
        *nad = piece.nad;
        buf_drop(&in, len);
    }
    buf_fini(&in);
    return err == BM_OK && out->failed ? BM_ERR_MEM : err;
}

static enum bm_err
send_request(int fd, struct span payload, struct bm_msg *msg)
{
    uint8_t bytes[JRCP_MESSAGE_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);

    if (jrcp_build(&w, &(struct jrcp_msg){ JRCP_DEBUG_INFO, 0, payload }) != BM_OK)
        return bm_fail(msg, BM_ERR_ARG, "the words have %zu bytes, a request takes %d", payload.len,
            JRCP_PAYLOAD_MAX);
    if (send(fd, bytes, wr_len(&w), MSG_NOSIGNAL) != (ssize_t)wr_len(&w))
        return bm_fail(msg, BM_ERR_IO, "cannot send the request: %s", strerror(errno));
    return BM_OK;
}

static enum bm_err
ask_server(const char *address, struct span payload, struct buf *out, struct bm_msg *msg)
{
    struct address a;
    uint8_t nad;
    int fd;
    enum bm_err err = address_from_text(address, &a, msg);

    if (err == BM_OK && a.i2c)
        err = bm_fail(msg, BM_ERR_ARG, "%s is an I2C bus; ask at a tcp: or unix: address", address);
    if (err == BM_OK)
        err = address_connect(&a, TIMEOUT_MS, &fd, msg);
    if (err != BM_OK)
        return err;
    err = send_request(fd, payload, msg);
    if (err == BM_OK) {
        err = receive_reply(fd, out, &nad);
        if (err != BM_OK)
            (void)bm_fail(
                msg, err, "%s gave no answer (%s); is it an a71chd?", address, bm_err_name(err));
    }
    (void)close(fd);
    if (err == BM_OK && nad == CONTROL_ERROR)
        return bm_fail(msg, BM_ERR_STATUS, "%s", buf_cstr(out));
    return err;
}

/* The command runs in this process, which has the folder's lock meanwhile. */
static enum bm_err
ask_folder(const char *dir, struct span payload, struct buf *out, struct bm_msg *msg)
{
    struct control_call call = { .out = out };
    struct chip *chip;
    char nvm[PATH_MAX];
    enum bm_err err;

    if (snprintf(nvm, sizeof nvm, "%s/nvm", dir) >= (int)sizeof nvm || access(nvm, F_OK) != 0)
        return bm_fail(msg, BM_ERR_NOT_FOUND, "there is no chip in folder %s", dir);
    err = chip_open(dir, &chip, msg);
    if (err == BM_OK && backend_sim_of(NULL, chip, NULL, &call.chip) != BM_OK)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK)
        err = control_run(&call, true, payload, msg);
    backend_free(call.chip);
    return err == BM_ERR_ARG ? BM_ERR_STATUS : err;
}

enum bm_err
ctl_ask(const char *address, char *const *words, size_t count, struct buf *out, struct bm_msg *msg)
{
    struct buf payload = { 0 };
    enum bm_err err;

    for (size_t i = 0; i < count; i++)
        buf_add(&payload, words[i], strlen(words[i]) + 1);
    err = strncmp(address, "sim:", 4) == 0 ? ask_folder(&address[4], buf_span(&payload), out, msg)
                                           : ask_server(address, buf_span(&payload), out, msg);
    buf_fini(&payload);
    return err;
}
