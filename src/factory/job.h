/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job file: JSON, every member checked before the first chip is touched. birthmark-factory(1)
 * lists the members. Paths in it are relative to the file's folder.
 */
#ifndef BM_FACTORY_JOB_H
#define BM_FACTORY_JOB_H

#include "base/bytes.h"

#include <jansson.h>
#include <limits.h>

enum { JOB_NAME_MAX = 65, JOB_SUBJECT_MAX = 256, JOB_FILE_MAX = 1 << 20, JOB_CHIPS_MAX = 100000 };

struct job {
    char name[JOB_NAME_MAX];
    unsigned count;
    char ca_cert[PATH_MAX];
    char ca_key[PATH_MAX];
    unsigned slot;
    bool reset;
    bool inject;                   /* the key is made here and enters wrapped */
    uint8_t wrap_key[16];          /* configuration key 1, for that */
    char subject[JOB_SUBJECT_MAX]; /* {uid}, {certUid}, {number}, {job} */
    unsigned days;
    int leaf_index;
    int issuer_index; /* -1: not stored */
    int counter;      /* -1: none */
    uint32_t counter_value;
    bool has_scp;
    char scp_file[PATH_MAX];
    bool lock_storage; /* the certificates' segments and the table's */
    bool lock_pair;
    bool lock_inject;
    bool debug_off;
    json_t *chips;    /* array of addresses, patterns not yet filled in */
    json_t *manifest; /* object: entity names, part number; or NULL */
};

/* BM_ERR_INPUT: the message names the member and what it must be. End with job_fini. */
enum bm_err job_parse(struct span text, const char *folder, struct job *out, struct bm_msg *msg);
void job_fini(struct job *j);

/* Steps that cannot be undone: a line each, "" when there is none. */
void job_irreversible(const struct job *j, struct buf *out);
/* The subject for one chip. BM_ERR_LIMIT: too long. */
enum bm_err job_subject(const struct job *j, const char *uid, const char *cert_uid, unsigned number,
    char *out, size_t cap, struct bm_msg *msg);
/*
 * Addresses, their patterns filled in: {0000..0999} counts, unix-dir:DIR stands for the sockets in
 * it. NULL-terminated list for job_addresses_free.
 */
enum bm_err job_addresses(const struct job *j, char ***out, size_t *count, struct bm_msg *msg);
void job_addresses_free(char **list);

#endif
