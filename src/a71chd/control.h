/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator asks of a running a71chd: words in, JSON out. One table of commands (control.c);
 * `a71chd --ctl ADDRESS WORD...` is the client (ctl.h).
 *
 * On the wire it is message type 07, which no vendor client sends. The request's payload is the
 * words, each ended by a zero byte; without words it is "stats". The reply comes in pieces, all of
 * type 07, and the NAD byte tells which: enum control_nad.
 *
 * Who may: over a Unix socket the user that runs a71chd, and root (SO_PEERCRED); over TCP nobody
 * but with --ctl-tcp. Commands marked CONTROL_OPEN tell nothing worth hiding and are for every
 * client.
 */
#ifndef BM_A71CHD_CONTROL_H
#define BM_A71CHD_CONTROL_H

#include "a71chd/server.h"
#include "wire/jrcp.h"

enum control_nad {
    CONTROL_LAST = 0,                 /* the JSON object ends with this piece */
    CONTROL_MORE = 1,                 /* another piece follows */
    CONTROL_ERROR = JRCP_NAD_REFUSED, /* the last piece, and what came is not JSON but a sentence
                                         for a person */
};

enum { CONTROL_WORDS_MAX = 32, CONTROL_REPLY_MAX = 64 * 1024 };

/* One request as a command sees it. */
struct control_call {
    struct server *server;
    struct backend *chip;     /* the one that the asking client is connected to */
    const char *const *words; /* the arguments, without the command's name */
    size_t count;
    struct buf *out; /* append one JSON object, without a line feed */
};

/* After an error `msg` has a sentence that names cause and cure, and `out` is not sent. */
typedef enum bm_err control_fn(struct control_call *call, struct bm_msg *msg);

enum control_flag {
    CONTROL_OPEN = 1,    /* for every client */
    CONTROL_OFFLINE = 2, /* also for a chip's folder without a71chd: `server` is NULL */
};

struct control_command {
    const char *name;
    const char *arguments; /* as in "NAME [VALUE]", "" when there are none */
    size_t min, max;       /* count of arguments */
    unsigned flags;        /* enum control_flag */
    const char *sentence;  /* of help */
    control_fn *run;
};

/*
 * Run the request in `payload` for a client that is trusted or not, and append the whole reply, one
 * or more JRCP messages, to `reply`. Always answers but when memory ends (reply->failed).
 */
void control_answer(struct server *server, struct backend *chip, bool trusted, struct span payload,
    struct buf *reply);

/*
 * The same without the wire: fill in `call` but for its words, which are in the payload. Errors are
 * the command's; BM_ERR_DENIED, BM_ERR_NOT_FOUND: no such command, or not for this caller.
 */
enum bm_err control_run(
    struct control_call *call, bool trusted, struct span payload, struct bm_msg *msg);

/* ctl_copies.c */
control_fn run_snapshot, run_restore, run_list, run_fork;
/* ctl_fault.c */
control_fn run_fault;

#endif
