/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's run: from the job file to manifest and report, N chips at a time, one thread and one
 * session each.
 *
 * The result folder: journal (also the audit log), log.key and log.pem (its signer, certified by
 * the job's CA), keys/UID.ref.pem, manifest.jsonl, bulk.jsonl, report.json, lock.
 */
#ifndef BM_FACTORY_FACTORY_H
#define BM_FACTORY_FACTORY_H

#include "factory/line.h"

struct factory_options {
    const char *job_path;
    const char *folder; /* of the results */
    unsigned parallel;  /* 0: 32, or as many as there are chips */
    struct ca_access *access;
    bool progress;      /* a line on stderr that is written over */
    bool (*stop)(void); /* true: no further chip is begun; NULL: never. From any thread */
};

struct factory_report {
    unsigned wanted;
    unsigned done;    /* in all */
    unsigned now;     /* of them, in this run */
    unsigned already; /* sockets whose chip was done before */
    unsigned refused; /* chips that may not become part of the job, or failed */
    unsigned open;    /* begun and not done */
    double seconds;
    struct line_times times; /* of this run, over all chips */
    uint64_t groups;         /* journal groups written */
    int64_t sync_us;
    struct bm_msg first; /* why the first chip failed; "" */
};

/* Read and check the job with all that it names; nothing is changed. `plan`: what would be done,
 * for a person. */
enum bm_err factory_plan(const struct factory_options *o, struct buf *plan,
    struct buf *irreversible, struct bm_msg *msg);

/*
 * Run, or go on. BM_OK: all chips that are wanted are done. BM_ERR_CONFLICT: some are not, the
 * report says how many; BM_ERR_BUSY would be another run's: BM_ERR_EXISTS. BM_ERR_IO: the disk.
 * Manifest and report are written in each case but a broken journal.
 */
enum bm_err factory_run(
    const struct factory_options *o, struct factory_report *report, struct bm_msg *msg);

/*
 * Write a chip off that is lost, whatever became of it: it is left out of the manifest, its place
 * in the job is free for another one, and its leaf, if it has one, is listed in scrapped.jsonl to
 * be revoked. Its key and serial number stay in the journal. BM_ERR_NOT_FOUND: no such chip, or no
 * results; BM_ERR_EXISTS: it was written off before, or a run works on the folder.
 */
struct factory_scrapped {
    bool (*agree)(void *arg, const struct chip *c); /* asked before; NULL: it is agreed */
    void *arg;
    char certificate_id[65]; /* out: of its leaf; "": it has none */
};
enum bm_err factory_scrap(const struct factory_options *o, const char *uid, const char *reason,
    struct factory_scrapped *out, struct bm_msg *msg);

/* Journal, manifest and their agreement, with the certificates alone. BM_ERR_INPUT names the first
 * bad record. `ca`: the certificate that log.pem must be signed by. */
enum bm_err factory_verify(
    const char *folder, const char *ca_path, unsigned *done, uint64_t *records, struct bm_msg *msg);

json_t *factory_report_json(const struct factory_report *r);

#endif
