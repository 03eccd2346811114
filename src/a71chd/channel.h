/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Unix socket whose clients use the chip through a secure channel (SCP03) that a71chd holds: who
 * may connect there may use it, without having the keys. The other sockets stay in the clear.
 */
#ifndef BM_A71CHD_CHANNEL_H
#define BM_A71CHD_CHANNEL_H

#include "a71chd/chips.h"
#include "a71chd/server.h"

struct channel_options {
    const char *address;  /* unix:PATH; NULL: none */
    const char *key_file; /* scp03/keyfile.h; for its owner only */
    gid_t group;          /* as in server_options */
};

struct channel;

/*
 * Listen for clients of the one chip in `chips`, which is borrowed until channel_free; `o` are the
 * options of the other sockets. BM_ERR_ARG: not a Unix socket. BM_ERR_DENIED: others may read the
 * key file. BM_ERR_INPUT: it is none. And what listening can give.
 */
enum bm_err channel_new(struct loop *loop, struct chips *chips, const struct server_options *o,
    const struct channel_options *co, struct channel **out, struct bm_msg *msg);
void channel_free(struct channel *c); /* takes NULL */

#endif
