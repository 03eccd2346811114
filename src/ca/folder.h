/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of a CA: a root, and below it issuing CAs, of which the newest generation issues.
 *
 *     root.pem, root.key              the root; its key is needed only for new generations and
 *                                     revocations, and may lie elsewhere the rest of the time
 *     issuing-N.pem, issuing-N.key    generation N = 1, 2, ...: signs device certificates, and is
 *                                     what the cloud registers
 *     issuing-N.revoked               when it was revoked
 *     crl.pem                         revocation list of the root
 *
 * A key is written before its certificate and never overwritten: a key without certificate is an
 * interrupted beginning and is gone on with.
 */
#ifndef BM_CA_FOLDER_H
#define BM_CA_FOLDER_H

#include "ca/key.h"
#include "pki/issue.h"

enum { CA_GENERATIONS_MAX = 64 };

struct ca_folder;

/* BM_ERR_NOT_FOUND: no complete CA there. BM_ERR_INPUT: a file is damaged; the message names it. */
enum bm_err ca_folder_open(const char *dir, struct ca_folder **out, struct bm_msg *msg);
void ca_folder_close(struct ca_folder *f); /* takes NULL */

unsigned ca_newest(const struct ca_folder *f); /* 1 or more */
const struct pki_cert *ca_root(const struct ca_folder *f);
/* Borrowed; NULL: no such generation. */
const struct pki_cert *ca_issuing(const struct ca_folder *f, unsigned generation);
int64_t ca_revoked_ms(const struct ca_folder *f, unsigned generation); /* 0: not revoked */

/* Path of a file above; generation 0: of the root. `what`: "pem" or "key". */
enum bm_err ca_path(const char *dir, unsigned generation, const char *what, char *out, size_t cap,
    struct bm_msg *msg);

struct ca_plan {
    const char *root_subject; /* "/O=Acme/CN=Acme Root CA" */
    const char *subject;      /* of generation 1 */
    unsigned root_days;
    unsigned days;
    int path_len; /* of generation 1; 0: signs devices only */
    const char *permit[PKI_PERMITS_MAX + 1];
    int slot; /* of a chip, for the issuing key; -1: in a file */
};

/*
 * Make root and generation 1, or what is missing of them after an interruption. BM_ERR_EXISTS: all
 * is there already, and untouched.
 */
enum bm_err ca_folder_make(
    const char *dir, const struct ca_plan *plan, struct ca_access *a, struct bm_msg *msg);

/*
 * The next generation: subject, constraints and path length as the newest has them, `days` (0: as
 * many as it has). `slot` as in ca_plan. Open the folder again afterwards. Interrupted: call again.
 */
enum bm_err ca_folder_rotate(
    const struct ca_folder *f, unsigned days, int slot, struct ca_access *a, struct bm_msg *msg);

/* Note that it is revoked and make the revocation list anew; again: makes the list anew. */
enum bm_err ca_folder_revoke(
    const struct ca_folder *f, unsigned generation, struct ca_access *a, struct bm_msg *msg);

#endif
