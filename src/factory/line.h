/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of one chip: from its socket to a locked chip with its leaf, each step known from the
 * journal and the chip, so that it can be cut off anywhere and gone on with.
 */
#ifndef BM_FACTORY_LINE_H
#define BM_FACTORY_LINE_H

#include "ca/key.h"
#include "factory/chips.h"
#include "factory/job.h"

/* What all threads share; all of it may be used by several at once. */
struct line {
    const struct job *job;
    struct chips *chips;
    struct journal *journal;
    const struct pki_signer *ca_key;
    const struct pki_cert *ca;
    a71ch_scp_keys scp;
};

/* Where time goes, in microseconds. */
enum { TIME_CONNECT, TIME_KEY, TIME_ISSUE, TIME_STORE, TIME_FINISH, TIME_PARTS };
struct line_times {
    int64_t us[TIME_PARTS];
};

/*
 * Work on the chip at `address` until it is done. BM_OK; BM_ERR_EXISTS: it was done before;
 * BM_ERR_LIMIT: the job needs no more; BM_ERR_IO: the journal or a file cannot be written: stop;
 * BM_ERR_CLOSED: the chip went away, try again; others: this chip does not become one of the job.
 */
enum bm_err line_chip(
    const struct line *l, const char *address, struct line_times *times, struct bm_msg *msg);

#endif
