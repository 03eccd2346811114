/* SPDX-License-Identifier: Apache-2.0 */
/* See control.h: the table, and a request's way through it. */
#include "a71chd/control.h"

#include <string.h>

static control_fn run_chips, run_help, run_leases, run_stats;

/* A command that needs more than a few lines has a file ctl_NAME.c. */
static const struct control_command commands[] = {
    { "help", "", 0, 0, CONTROL_OPEN | CONTROL_OFFLINE,
        "the commands, their arguments and what they do", run_help },
    { "leases", "", 0, 0, CONTROL_OPEN, "who leases the chip, and who waits for it", run_leases },
    { "chips", "", 0, 0, CONTROL_OPEN, "counts of chips, of those that are open, and of clients",
        run_chips },
    { "stats", "", 0, 0, CONTROL_OPEN | CONTROL_OFFLINE, "counts since the chip was made",
        run_stats },
    { "snapshot", "NAME", 1, 1, CONTROL_OFFLINE, "keep the chip as it is under a name",
        run_snapshot },
    { "restore", "NAME", 1, 1, CONTROL_OFFLINE,
        "become what a snapshot has; every client is as after a power cycle", run_restore },
    { "list", "", 0, 0, CONTROL_OFFLINE, "the snapshots", run_list },
    { "fork", "DIR", 1, 1, CONTROL_OFFLINE, "a copy of the chip in another folder", run_fork },
    { "fault", "add RULE | list | clear", 1, 2, 0,
        "faults on purpose, as a71chd --faults lists them; tells how often each has happened",
        run_fault },
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static enum bm_err
run_help(struct control_call *call, struct bm_msg *msg)
{
    (void)msg;
    for (size_t i = 0; i < COMMANDS; i++) {
        buf_addf(call->out, "%s\"%s%s%s\":", i == 0 ? "{" : ",", commands[i].name,
            *commands[i].arguments != '\0' ? " " : "", commands[i].arguments);
        buf_add_json(call->out, commands[i].sentence);
    }
    buf_add(call->out, "}", 1);
    return BM_OK;
}

static enum bm_err
run_leases(struct control_call *call, struct bm_msg *msg)
{
    (void)msg;
    backend_leases(call->chip, call->out);
    return BM_OK;
}

static enum bm_err
run_chips(struct control_call *call, struct bm_msg *msg)
{
    const struct chips *chips = server_chips(call->server);

    (void)msg;
    buf_addf(call->out, "{\"chips\":%zu,\"open\":%zu,\"clients\":%zu}", chips_count(chips),
        chips_open_count(chips), server_client_count(call->server));
    return BM_OK;
}

static enum bm_err
run_stats(struct control_call *call, struct bm_msg *msg)
{
    (void)msg;
    backend_stats(call->chip, call->out);
    return BM_OK;
}

/* Point `words` at the zero-ended words of the payload; it must end with a zero byte. */
static enum bm_err
split(struct span payload, const char *words[CONTROL_WORDS_MAX], size_t *count, struct bm_msg *msg)
{
    size_t at = 0;

    *count = 0;
    if (payload.len == 0)
        words[(*count)++] = "stats";
    else if (payload.ptr[payload.len - 1] != '\0')
        return bm_fail(msg, BM_ERR_INPUT, "the request's last word does not end with a zero byte");
    while (at < payload.len) {
        if (*count == CONTROL_WORDS_MAX)
            return bm_fail(
                msg, BM_ERR_INPUT, "the request has more than %d words", CONTROL_WORDS_MAX);
        words[(*count)++] = (const char *)&payload.ptr[at];
        at += strlen((const char *)&payload.ptr[at]) + 1;
    }
    return BM_OK;
}

enum bm_err
control_run(struct control_call *call, bool trusted, struct span payload, struct bm_msg *msg)
{
    const char *words[CONTROL_WORDS_MAX];
    const struct control_command *cmd = NULL;
    enum bm_err err = split(payload, words, &call->count, msg);

    if (err != BM_OK)
        return err;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, words[0]) == 0)
            cmd = &commands[i];
    }
    call->words = &words[1];
    call->count--;
    if (cmd == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "there is no control command %s; the command help lists them", words[0]);
    if ((cmd->flags & CONTROL_OPEN) == 0 && !trusted)
        return bm_fail(msg, BM_ERR_DENIED,
            "%s is for the user that runs a71chd, and root, over a Unix socket; over TCP only when "
            "a71chd was started with --ctl-tcp",
            cmd->name);
    if ((cmd->flags & CONTROL_OFFLINE) == 0 && call->server == NULL)
        return bm_fail(msg, BM_ERR_DENIED, "%s asks a running a71chd: give its address", cmd->name);
    if (call->count < cmd->min || call->count > cmd->max)
        return bm_fail(msg, BM_ERR_ARG, "want: %s %s", cmd->name,
            *cmd->arguments != '\0' ? cmd->arguments : "without arguments");
    err = cmd->run(call, msg);
    if (err == BM_OK && call->out->failed)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory");
    if (err == BM_OK && call->out->len > CONTROL_REPLY_MAX)
        err = bm_fail(msg, BM_ERR_LIMIT, "the answer is longer than %d bytes", CONTROL_REPLY_MAX);
    return err;
}

/* Cut the answer into messages; an empty one is one empty message. */
static void
send_pieces(struct span all, enum control_nad last, struct buf *reply)
{
    do {
        struct jrcp_msg piece = { JRCP_DEBUG_INFO, (uint8_t)last, all };
        uint8_t bytes[JRCP_MESSAGE_MAX];
        struct wr w = wr_of(bytes, sizeof bytes);

        if (all.len > JRCP_PAYLOAD_MAX) {
            piece.nad = CONTROL_MORE;
            piece.payload.len = JRCP_PAYLOAD_MAX;
        }
        (void)jrcp_build(&w, &piece); /* fits */
        buf_add(reply, bytes, wr_len(&w));
        all = span_of(all.ptr + piece.payload.len, all.len - piece.payload.len);
    } while (all.len > 0);
}

void
control_answer(struct server *server, struct backend *chip, bool trusted, struct span payload,
    struct buf *reply)
{
    struct buf out = { 0 };
    struct bm_msg msg = { "" };
    struct control_call call = { .server = server, .chip = chip, .out = &out };

    if (control_run(&call, trusted, payload, &msg) == BM_OK)
        send_pieces(buf_span(&out), CONTROL_LAST, reply);
    else
        send_pieces(span_str(msg.text), CONTROL_ERROR, reply);
    buf_fini(&out);
}
