/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket link: one connection to a server that speaks JRCP version 1. It moves messages and
 * knows no command. SPEC a71ch 6.1.
 *
 * After any failure but BM_ERR_ARG the stream may be out of step (a late answer would be taken for
 * the next one), so the link closes itself; every later exchange fails and says so.
 */
#ifndef BM_HOST_LINK_H
#define BM_HOST_LINK_H

#include "host/address.h"
#include "wire/jrcp.h"

#include <sys/types.h>

struct link {
    int fd;                      /* -1: not connected */
    int sys_errno;               /* why the system refused last, or 0 */
    char name[ADDRESS_TEXT_LEN]; /* for messages */
    uint8_t sequence;            /* I2C only: of the next piece of a command */
    pid_t server;                /* sim only: the a71chd that is ours, or 0 */
    unsigned i2c;                /* I2C only: the chip's address on the bus */
};

/*
 * Connect. BM_ERR_IO: nobody listens, no permission, unknown host. BM_ERR_TIMEOUT: no answer in
 * time. Looking a host name up is the system's own affair and not bounded by `timeout_ms`.
 * `resume`: nothing on the way that makes the chip forget its session.
 */
enum bm_err link_open(struct link *l, const struct address *address, unsigned timeout_ms,
    bool resume, struct bm_msg *msg);

/*
 * Send one message and wait for its answer, which borrows from `room`. MTY and NAD of the answer
 * are not judged, as no client does (SPEC 6.1); an error message (MTY 03) is a BM_ERR_PROTO.
 * BM_ERR_IO, BM_ERR_CLOSED, BM_ERR_TIMEOUT, BM_ERR_PROTO: see above; the link is closed then.
 */
enum bm_err link_exchange(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg);

/* A server's sentence, with dots for what is no printable ASCII. */
void link_printable(char out[JRCP_PAYLOAD_MAX + 1], struct span text);

/* End the connection for everybody who holds it; takes a closed link. */
void link_close(struct link *l);
/* Close this process's descriptor only. */
void link_abandon(struct link *l);

#endif
