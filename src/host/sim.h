/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link `sim:DIR`: a simulated chip for this handle alone. The library knows nothing of the
 * simulator; it starts an a71chd on the folder, with one end of a socket pair as its only client,
 * and that one ends with the link.
 *
 * The program is that of the environment variable A71CHD, or the one beside this program, or the
 * one found in PATH.
 */
#ifndef BM_HOST_SIM_H
#define BM_HOST_SIM_H

#include "host/link.h"

/* BM_ERR_IO: it cannot be started. What is wrong with the folder the first exchange tells. */
enum bm_err sim_open(struct link *l, const char *dir, struct bm_msg *msg);

/* Wait for the end of the a71chd, whose client has left, so that the folder is free again. */
void sim_end(struct link *l);

#endif
