/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chips (chips.h) and their clients: JRCP version 1 on any number of listening sockets (SPEC a71ch
 * 6), each of one chip, and I2C buses on others (i2c.h).
 *
 * Every client has a session of its own on the chip (backend.h), so its reset (MTY 00) is its own.
 * A client is never closed first but for a broken stream or a passed deadline: NXP's 2018 client
 * spins when its server goes.
 */
#ifndef BM_A71CHD_SERVER_H
#define BM_A71CHD_SERVER_H

#include "a71chd/chips.h"
#include "a71chd/peer.h"
#include "base/loop.h"

struct server;

enum {
    SERVER_CLIENTS_MAX = 256, /* default for one chip; more wait in the listen queue */
    SERVER_LISTENERS_MAX = 8,
    SERVER_DEADLINE_S = 30, /* default: for the rest of a message, and for taking a reply */
    SERVER_SAVE_MS = 10000, /* how often the chip's counts are written, when they change */
};

struct server_options {
    size_t workers; /* processes that share the chips; 0 or 1: there is this one only */
    size_t worker;  /* which of them: it serves every workers-th chip from this number on */
    unsigned deadline_s;
    size_t clients_max; /* SERVER_CLIENTS_MAX, or more when there are many chips */
    bool control_tcp;   /* clients over TCP may control: control.h */
    gid_t group;        /* whose members may use Unix sockets, or PEER_NO_GROUP */
};

/* Loop and chips are borrowed until server_free. BM_ERR_MEM. */
enum bm_err server_new(
    struct loop *loop, struct chips *chips, const struct server_options *o, struct server **out);
void server_free(struct server *s); /* takes NULL; closes sockets, removes its Unix sockets */

/*
 * Listen and print `listening ADDRESS` on stdout, once also for the sockets of many chips: those
 * are at `unix-dir:PATH`, as PATH/0000, PATH/0001 ..., or at `tcp:HOST:PORT`, PORT + 1 ...
 */
enum bm_err server_listen(struct server *s, const char *address, struct bm_msg *msg);

/*
 * Serve a connected socket, which is taken over, to the one who started this process and may
 * control it; when this client leaves the loop stops.
 */
enum bm_err server_attach(struct server *s, int fd, struct bm_msg *msg);

size_t server_client_count(const struct server *s);
const struct chips *server_chips(const struct server *s);

#endif
