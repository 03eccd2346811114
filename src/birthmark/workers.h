/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control's ends of the links to the workers (endpoint/link.h): what they ask, and what they are
 * told. Nothing here commits; the round of control does (control.c).
 */
#ifndef BM_BIRTHMARK_WORKERS_H
#define BM_BIRTHMARK_WORKERS_H

#include "base/loop.h"
#include "birthmark/account.h"

struct workers;

struct workers_options {
    struct loop *loop;
    struct account *accounts; /* may be opened later, before the first link */
    struct registry *const *registries;
    size_t account_count;
    const struct limits *limits;
    int64_t (*rates_us)[LIMIT_COUNT];    /* of each account, as in throttle.h */
    void (*commit)(void *arg, bool now); /* as in account.h */
    void (*settle)(void *arg);           /* the round now: no more answers can wait for it */
    void *arg;
};

enum bm_err workers_open(const struct workers_options *options, struct workers **out);
void workers_close(struct workers *w); /* takes NULL */
/* The end of a new worker's link, which is ours now. */
void workers_take(struct workers *w, int fd);
/* The account's group is on disk, or, not `ok`, lost: what waited for it is answered. */
void workers_committed(struct workers *w, size_t account, bool ok);
/* At the end of the round, after commits: what rests on what the registry says now. */
void workers_answer(struct workers *w);

/* What an account tells of (account.h); the first argument is the struct workers. */
void workers_cert_changed(void *arg, uint8_t account, const uint8_t cert_id[REGISTRY_ID_LEN]);
void workers_rules_changed(void *arg, uint8_t account);
void workers_saving(void *arg, uint8_t account);
void workers_saved(void *arg, uint8_t account, bool ok);

#endif
