/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a job, which is its audit log, too: one file, so that the two cannot disagree.
 *
 * A record is a line of JSON: n (from 1), time, step, uid, what the step adds, and prev, the
 * SHA-256 of the line before. Records of several chips are written as one group that ends with a
 * record "seal": a signature of the log key over the hash of the line before it. A group is on
 * disk, with its seal, before anybody is told that it is written. What a crash leaves behind the
 * last seal was never told to anybody and is cut off at the next start; anything else that does
 * not fit is an error that names the record.
 *
 * Threads: journal_add may be called by many; each waits for its group.
 */
#ifndef BM_FACTORY_JOURNAL_H
#define BM_FACTORY_JOURNAL_H

#include "pki/issue.h"

#include <jansson.h>

enum { JOURNAL_LINE_MAX = 16384 };

/* Called with each record of a journal, in order, seals excepted; `r` is borrowed. An error ends
 * the reading. */
typedef enum bm_err (*journal_fn)(void *arg, uint64_t n, const json_t *r, struct bm_msg *msg);

struct journal_end {
    uint64_t records;  /* seals included */
    uint64_t sealed;   /* number of the last seal */
    size_t good_bytes; /* up to and with it */
    uint8_t hash[32];  /* of it */
};

/*
 * Read a journal: chain, numbers and seals are checked with `log`, the certificate of the log key.
 * BM_ERR_INPUT: the message names the first record that does not fit. Records behind the last seal
 * are not given to `fn`; a last line without its end is no error.
 */
enum bm_err journal_read(struct span text, const struct pki_cert *log, journal_fn fn, void *arg,
    struct journal_end *end, struct bm_msg *msg);

struct journal;

/* Open to go on, made when it is missing; reads what is there as journal_read. `key` is borrowed.
 */
enum bm_err journal_open(const char *path, const struct pki_signer *key, const struct pki_cert *log,
    journal_fn fn, void *arg, struct journal **out, struct bm_msg *msg);
void journal_close(struct journal *j); /* takes NULL */

/*
 * Add a record and wait until it is durable. Takes `fields` (an object, or NULL). BM_ERR_IO: the
 * disk is full or broken; the record is not there, and nothing can be added from then on.
 */
enum bm_err journal_add(
    struct journal *j, const char *step, const char *uid, json_t *fields, struct bm_msg *msg);

/*
 * Add a record without waiting: for a step that may be done again when a crash takes the record. It
 * goes to disk before, or with, each record that is added after it and waited for.
 */
enum bm_err journal_add_later(
    struct journal *j, const char *step, const char *uid, json_t *fields, struct bm_msg *msg);
/* Wait until all that was added is durable. */
enum bm_err journal_flush(struct journal *j, struct bm_msg *msg);

/* Groups written and microseconds spent in syncing them. */
void journal_costs(struct journal *j, uint64_t *groups, int64_t *sync_us);

#endif
