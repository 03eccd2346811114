/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that holds a real chip's link: a child of a71chd, because the link waits with sleeps
 * (SPEC a71ch 5.7) and the event loop must not.
 *
 * They talk over a socket pair, one JRCP message a packet: to a wait-for-card (00) the child resets
 * the chip, selects the applet and answers with the ATR, to an APDU (01) with the response; when
 * the link fails, with an error message (03), a sentence. The command is then not sent again; the
 * next one meets a chip that was reset and has the applet selected.
 */
#ifndef BM_A71CHD_DRIVER_H
#define BM_A71CHD_DRIVER_H

#include "base/err.h"

#include <sys/types.h>

struct driver {
    int fd; /* -1: none */
    pid_t pid;
};

/* Start it for a chip at an address of liba71ch. BM_ERR_IO. */
enum bm_err driver_start(const char *address, struct driver *out, struct bm_msg *msg);

/* Let it finish what it is at, which may take some seconds, and wait for it; takes none. */
void driver_stop(struct driver *d);

#endif
