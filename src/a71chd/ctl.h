/* SPDX-License-Identifier: Apache-2.0 */
/* `a71chd --ctl ADDRESS WORD...`: the client's side of control.h. */
#ifndef BM_A71CHD_CTL_H
#define BM_A71CHD_CTL_H

#include "base/bytes.h"

/*
 * Ask the a71chd at `address`, or with `sim:DIR` the chip in a folder that no a71chd serves, and
 * append its JSON to `out`; without words it is "stats". BM_ERR_ARG: an address that is none, or
 * words longer than a request can be. BM_ERR_STATUS: it refused, `msg` has its sentence. BM_ERR_IO
 * and others: nobody there, or it is no a71chd.
 */
enum bm_err ctl_ask(
    const char *address, char *const *words, size_t count, struct buf *out, struct bm_msg *msg);

#endif
