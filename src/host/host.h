/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside liba71ch: the handle, and the one function through which every command goes.
 */
#ifndef BM_HOST_HOST_H
#define BM_HOST_HOST_H

#include "a71ch.h"
#include "host/link.h"
#include "wire/apdu.h"

/* link_exchange, or what a test puts in its place. */
typedef enum bm_err (*host_exchange_fn)(struct link *l, const struct jrcp_msg *request,
    unsigned timeout_ms, uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer,
    struct bm_msg *msg);

struct a71ch {
    struct link link;
    host_exchange_fn exchange;
    struct address address;
    unsigned answer_timeout_ms;
    uint8_t atr[A71CH_ATR_MAX];
    size_t atr_len;
    uint16_t applet_version; /* from SELECT */
    uint16_t securebox_version;
    uint16_t gp_size;             /* of storage; 0: not asked yet */
    unsigned lease_depth;         /* how often the chip is leased: lease.c */
    bool no_leases;               /* the server knows none */
    uint16_t status_word;         /* of the last answer in this call; 0: none */
    struct scp03_client *channel; /* NULL: never opened */
    int sys_errno;
    a71ch_filter filter; /* NULL: none */
    void *filter_arg;
    struct bm_msg msg;
};

struct scp03_client;

/* What is being done, for messages: "sign with key pair 0". */
struct task {
    const char *what;
    int number; /* -1: none */
};

struct answer {
    uint8_t bytes[A71CH_APDU_RSP_MAX];
    size_t len;       /* with status word */
    struct span data; /* without it; points into `bytes` */
    uint16_t sw;
};

enum { ANY_LEN = -1 };

/* Forget what the last call left: every public call that can fail begins with it. */
void host_begin(a71ch *chip);

/* Leave the sentence in the handle and give the code back. */
a71ch_result host_fail(a71ch *chip, a71ch_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The library's code for a failure below it. */
a71ch_result host_result(enum bm_err err);

/* One message of the link. */
a71ch_result host_exchange(a71ch *chip, const struct jrcp_msg *request, struct answer *out);

/* One APDU as it is; the answer has a status word at least. Past the filter: a71ch_set_filter(). */
a71ch_result host_apdu(a71ch *chip, struct span cmd, struct answer *out);
/* The two steps of it, for what is not sent as the filter must see it. Filtered: answered, *res. */
bool host_filtered(a71ch *chip, struct span cmd, struct answer *out, a71ch_result *res);
a71ch_result host_send(a71ch *chip, struct span cmd, struct answer *out);

/*
 * Steps of a71ch_open(), with its results: a handle that is not connected (NULL: memory is short),
 * where its chip is, and the link to it, which when it is resumed leaves the chip as it is.
 */
a71ch *host_new(void);
a71ch_result host_locate(a71ch *chip, const char *address);
a71ch_result host_connect(a71ch *chip, const a71ch_options *o, bool resume);

/* ---- channel.c ---- */

/* Make chip->channel, which does not begin a channel. A71CH_ERR_MEMORY. */
a71ch_result host_channel_prepare(a71ch *chip);

/* A channel is up, or was and must not be replaced by the clear. */
bool host_channel_wanted(const a71ch *chip);
/* One command through it; A71CH_ERR_CHANNEL, A71CH_ERR_MAC, A71CH_ERR_PADDING. */
a71ch_result host_channel_apdu(a71ch *chip, const struct apdu *cmd, struct answer *out);
void host_channel_free(a71ch *chip);

/*
 * Send one command, through the secure channel when there is one, and take its answer, which must
 * be 9000 with `want` bytes of data (or ANY_LEN). A71CH_ERR_STATUS, A71CH_ERR_RESPONSE, and what
 * the link says.
 */
a71ch_result host_command(
    a71ch *chip, struct task task, const struct apdu *cmd, int want, struct answer *out);

/* The same for an answer of `len` bytes (up to 256), which are copied to `out`; secrets are wiped.
 */
a71ch_result host_fetch(
    a71ch *chip, struct task task, const struct apdu *cmd, size_t len, uint8_t *out);

/* A command without data in its answer. */
a71ch_result host_order(a71ch *chip, struct task task, const struct apdu *cmd);

/* A command whose answer is an uncompressed point. */
a71ch_result host_point(
    a71ch *chip, struct task task, const struct apdu *cmd, uint8_t out[A71CH_POINT_LEN]);

/*
 * Around commands between which no other client's may come: the chip is leased where the server
 * can, and nothing is done where it cannot. The end passes the sequence's result on and touches
 * nothing that is known of a failure. Only after a begin that gave A71CH_OK.
 */
a71ch_result host_sequence(a71ch *chip);
a71ch_result host_sequence_end(a71ch *chip, a71ch_result res);

/* A71CH_ERR_ARG unless index < count; also begins the call. */
a71ch_result host_check_index(a71ch *chip, const char *what, unsigned index, unsigned count);

/* The same for `blocks` symmetric keys from `index` on; and how a command names them. */
a71ch_result host_check_slots(a71ch *chip, unsigned index, unsigned blocks);
uint8_t host_slots(unsigned index, unsigned blocks);

/* Which of the segments of storage are frozen: the end of the credential map, SPEC a71ch 1.7. */
a71ch_result host_frozen(a71ch *chip, size_t segments, bool frozen[A71CH_MAP_MAX]);

#endif
