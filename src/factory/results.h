/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's result folder: who works on it (lock), the log key and its certificate, the journal with
 * what it says of the chips, and the files that are made from it: manifest.jsonl, bulk.jsonl,
 * scrapped.jsonl, keys/UID.ref.pem.
 */
#ifndef BM_FACTORY_RESULTS_H
#define BM_FACTORY_RESULTS_H

#include "ca/key.h"
#include "factory/chips.h"
#include "factory/job.h"

struct results {
    const char *folder; /* borrowed */
    int lock_fd;        /* -1: none; set it before */
    struct ca_key *log_key;
    struct pki_cert *log;
    struct chips *chips;
    struct journal *journal;
};

/*
 * Open to go on; made when it is missing and there is a `ca_key` to certify the log key with (NULL:
 * BM_ERR_NOT_FOUND). BM_ERR_EXISTS: another run works on it. BM_ERR_INPUT names the first bad
 * record. End with results_fini in each case.
 */
enum bm_err results_open(struct results *r, const struct job *job, const struct pki_cert *ca,
    const struct ca_key *ca_key, struct bm_msg *msg);
void results_fini(struct results *r);

/* The path of a file in the folder. */
enum bm_err results_path(
    const char *folder, const char *name, char out[PATH_MAX], struct bm_msg *msg);

/* Make the files that are made from the journal. */
enum bm_err results_write(
    const struct results *r, const struct job *job, const struct pki_cert *ca, struct bm_msg *msg);

/* The text of scrapped.jsonl: leaves of chips that were written off. */
enum bm_err results_scrapped(const struct chips *chips, struct buf *out, struct bm_msg *msg);

/* One certificate in a PEM file; the message names it. */
enum bm_err results_load_cert(const char *path, struct pki_cert **out, struct bm_msg *msg);

#endif
