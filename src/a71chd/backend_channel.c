/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chip behind a secure channel (SCP03) that a71chd holds, as a backend: clients speak in the
 * clear, the chip hears protected commands, and no client has the keys. SPEC a71ch 4.
 *
 * It is a client of the chip's own backend. The channel is opened when the first command comes,
 * under a lease, and again when it was lost: a chip that has lost it refuses without a MAC, and has
 * done nothing; so after such a refusal the channel is opened anew and the command is sent once
 * more. An answer with a wrong MAC is reported instead, since the command may have been run.
 *
 * Clients share what is volatile, as with a real chip (backend_real.c). SELECT is answered from
 * memory, because it would end the channel.
 */
#include "a71chd/backend.h"

#include "base/log.h"
#include "scp03/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_ID = 0, FREE_MEMORY = 0x02, PATIENCE_MS = 30000 };

enum step { IDLE, LEASING, SELECTING, UPDATING, PROVING, RUNNING, RUNNING_CLEAR, RESETTING };

struct channel {
    struct backend base;
    struct backend *chip; /* borrowed */
    struct backend_session *session;
    struct scp03_client client;
    struct scp03_keys keys;
    enum step step;
    struct loop_timer *patience;   /* a chip that hangs must not hang the channel */
    bool again;                    /* the running command was sent once more */
    uint8_t command[APDU_CMD_MAX]; /* the running one; its client may have gone */
    size_t command_len;
    uint8_t selected[APDU_RSP_MAX]; /* the answer to SELECT; empty before the first */
    size_t selected_len;
};

static const uint8_t aid[] = { 'a', '7', '1', 'c', 'h' };

static struct channel *
channel_of(struct backend *b)
{
    return (struct channel *)(void *)b;
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

/* The running command is done. */
static void
finish(struct channel *c, const struct backend_answer *answer)
{
    loop_cancel(c->base.loop, c->patience);
    c->patience = NULL;
    c->step = IDLE;
    c->again = false;
    bm_wipe(c->command, c->command_len);
    c->command_len = 0;
    backend_finish(&c->base, answer);
}

static void
finish_bytes(struct channel *c, struct span bytes)
{
    finish(c, &(struct backend_answer){ .bytes = bytes });
}

static void
finish_sw(struct channel *c, uint16_t sw)
{
    const uint8_t bytes[] = { (uint8_t)(sw >> 8), (uint8_t)sw };

    finish_bytes(c, SPAN(bytes));
}

/* The next command begins with a new channel. */
static void
fail(struct channel *c, enum bm_err err, const char *cause)
{
    log_warn("secure channel: %s", cause);
    scp03_client_close(&c->client);
    (void)backend_release(c->session); /* when it has a lease */
    finish(c, &(struct backend_answer){ .err = err, .cause = cause });
}

static void
on_patience_over(void *arg)
{
    struct channel *c = arg;

    c->patience = NULL;
    c->step = RESETTING;
    backend_reset(c->session); /* on_answer goes on */
}

static void
open_channel(struct channel *c)
{
    scp03_client_close(&c->client);
    c->step = LEASING;
    backend_lease(c->session, BACKEND_TIME_MAX_MS, BACKEND_HOLD_MS);
}

static void
send_select(struct channel *c)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);

    (void)apdu_build(&w, &(struct apdu){ 0x00, INS_SELECT, 0x04, 0x00, SPAN(aid), 256 });
    c->step = SELECTING;
    backend_apdu(c->session, span_of(bytes, wr_len(&w)));
}

/* Why the channel cannot be opened. */
static void
fail_to_open(struct channel *c, enum bm_err err, struct span rsp)
{
    struct span data;
    uint16_t sw = 0;
    char cause[128];

    if (err != BM_ERR_STATUS) {
        fail(c, err,
            err == BM_ERR_DENIED ? "the chip has other SCP03 keys than a71chd"
                                 : "the secure channel to the chip cannot be opened");
        return;
    }
    (void)(apdu_split(rsp, &data, &sw) == BM_OK);
    (void)snprintf(cause, sizeof cause,
        "the chip answered %04X when a71chd opened the secure channel%s", sw,
        sw == SW_NO_REFERENCE ? ": it has no keys yet; put them over a socket without channel"
                              : "");
    fail(c, err, cause);
}

static void
begin(struct channel *c, struct span rsp)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct wr keep = wr_of(c->selected, sizeof c->selected);
    struct span data;
    uint16_t sw;
    enum bm_err err = apdu_split(rsp, &data, &sw);

    if (err == BM_OK && sw != SW_OK)
        err = BM_ERR_STATUS;
    if (err == BM_OK)
        err = scp03_client_begin(&c->client, &w);
    if (err != BM_OK) {
        fail_to_open(c, err, rsp);
        return;
    }
    wr_span(&keep, rsp);
    c->selected_len = wr_len(&keep);
    c->step = UPDATING;
    backend_apdu(c->session, span_of(bytes, wr_len(&w)));
}

static void
prove(struct channel *c, struct span rsp)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = scp03_client_prove(&c->client, &c->keys, rsp, &w);

    if (err != BM_OK) {
        fail_to_open(c, err, rsp);
        return;
    }
    c->step = PROVING;
    backend_apdu(c->session, span_of(bytes, wr_len(&w)));
}

/* The running command, on a channel that is up. */
static void
run(struct channel *c)
{
    uint8_t bytes[APDU_CMD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    struct apdu cmd;
    enum bm_err err = apdu_parse(span_of(c->command, c->command_len), &cmd);

    if (err == BM_OK && cmd.ins == INS_SELECT) {
        finish_bytes(c, span_of(c->selected, c->selected_len));
        return;
    }
    if (err == BM_OK)
        err = scp03_client_wrap(&c->client, &cmd, &w);
    if (err == BM_ERR_ARG) {
        finish_sw(c, SW_WRONG_LENGTH);
        return;
    }
    if (err != BM_OK) {
        fail(c, err, "the command cannot be encrypted");
        return;
    }
    c->step = RUNNING;
    backend_apdu(c->session, span_of(bytes, wr_len(&w)));
}

static void
take_response(struct channel *c, struct span rsp)
{
    uint8_t plain[APDU_RSP_MAX];
    struct wr w = wr_of(plain, sizeof plain);
    enum bm_err err = scp03_client_unwrap(&c->client, rsp, &w);

    if (err != BM_OK) {
        fail(c, err,
            "the chip's answer has no right MAC: the command may have been run or not; the secure "
            "channel is opened anew");
    } else if (rsp.len == 2 && !c->again) {
        c->again = true;
        open_channel(c);
    } else {
        finish_bytes(c, span_of(plain, wr_len(&w)));
    }
    bm_wipe(plain, sizeof plain);
}

static void
on_answer(void *arg, const struct backend_answer *answer)
{
    struct channel *c = arg;

    if (answer->err != BM_OK) {
        fail(c, answer->err, answer->cause);
        return;
    }
    switch (c->step) {
    case LEASING:
        send_select(c);
        return;
    case SELECTING:
        begin(c, answer->bytes);
        return;
    case UPDATING:
        prove(c, answer->bytes);
        return;
    case PROVING: {
        enum bm_err err = scp03_client_finish(&c->client, answer->bytes);

        if (err != BM_OK) {
            fail_to_open(c, err, answer->bytes);
            return;
        }
        (void)backend_release(c->session);
        run(c);
        return;
    }
    case RUNNING:
        take_response(c, answer->bytes);
        return;
    case RUNNING_CLEAR:
        finish_bytes(c, answer->bytes);
        return;
    case RESETTING:
        fail(c, BM_ERR_TIMEOUT, "the chip did not answer in time and was reset");
        return;
    case IDLE:
        return;
    }
}

/* Never protected, SPEC 1.6: debug reset and disable, free memory. */
static bool
is_always_clear(const struct apdu *cmd)
{
    return cmd->ins == INS_DEBUG_RESET || cmd->ins == INS_DEBUG_DISABLE ||
           (cmd->ins == INS_MODULE_GET && cmd->p2 == FREE_MEMORY);
}

/* What a client may not do in a channel that is not its own. */
static uint16_t
refusal(const struct apdu *cmd)
{
    if (cmd->ins == INS_SELECT)
        return span_eq(cmd->data, SPAN(aid)) ? SW_OK : SW_NOT_FOUND;
    if (cmd->cla != SCP03_CLA_PLAIN)
        return SW_CLA_UNKNOWN;
    return cmd->ins == INS_INIT_UPDATE || cmd->ins == INS_PUT_KEY ? SW_CONDITIONS : SW_OK;
}

static void
start(struct backend *b, struct backend_session *s)
{
    struct channel *c = channel_of(b);
    struct span command = span_of(s->command, s->command_len);
    struct wr keep = wr_of(c->command, sizeof c->command);
    struct apdu cmd;
    uint16_t sw;

    if (s->request == BACKEND_RESET) {
        finish_bytes(c, backend_atr(c->chip));
        return;
    }
    sw = apdu_parse(command, &cmd) == BM_OK ? refusal(&cmd) : SW_WRONG_LENGTH;
    if (sw != SW_OK) {
        finish_sw(c, sw);
        return;
    }
    wr_span(&keep, command);
    c->command_len = wr_len(&keep);
    c->patience = loop_after(b->loop, PATIENCE_MS, on_patience_over, c);
    if (is_always_clear(&cmd)) {
        c->step = RUNNING_CLEAR;
        backend_apdu(c->session, command);
    } else if (c->client.state == SCP03_UP) {
        run(c);
    } else {
        open_channel(c);
    }
}

static struct span
atr(const struct backend *b)
{
    return backend_atr(((const struct channel *)(const void *)b)->chip);
}

static void
stats(struct backend *b, struct buf *out)
{
    backend_stats(channel_of(b)->chip, out);
}

static void
channel_free(struct backend *b)
{
    struct channel *c = channel_of(b);

    loop_cancel(b->loop, c->patience);
    backend_session_close(c->session);
    scp03_client_fini(&c->client);
    bm_wipe(c, sizeof *c);
    free(c);
}

static const struct backend_ops channel_ops = { session_new, session_free, start, atr, stats, NULL,
    channel_free };

enum bm_err
backend_channel_new(
    struct loop *loop, struct backend *chip, const struct scp03_keys *keys, struct backend **out)
{
    struct channel *c = calloc(1, sizeof *c);
    enum bm_err err = c != NULL ? scp03_client_init(&c->client, false) : BM_ERR_MEM;

    *out = NULL;
    if (err == BM_OK)
        err = backend_session_open(chip, CLIENT_ID, on_answer, c, &c->session);
    if (err != BM_OK) {
        if (c != NULL)
            scp03_client_fini(&c->client);
        free(c);
        return err;
    }
    c->base = (struct backend){ .ops = &channel_ops, .loop = loop, .shared = true };
    c->chip = chip;
    c->keys = *keys;
    *out = &c->base;
    return BM_OK;
}
