/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIR/credentials: which access key belongs to which account. One key a line, `ACCESS-KEY
 * SECRET-KEY [ACCOUNT]`; no account is 000000000000; empty lines and those that begin with # are
 * skipped. The first account of the file is the one whose endpoint has the server's own names.
 */
#ifndef BM_BIRTHMARK_CREDENTIALS_H
#define BM_BIRTHMARK_CREDENTIALS_H

#include "api/api.h"
#include "endpoint/worker.h"

enum { CREDENTIALS_MAX = 64, ACCOUNT_LEN = 12 };
extern const char ACCOUNT_DEFAULT[ACCOUNT_LEN + 1]; /* 000000000000 */

struct credential {
    char access_key[129];
    char secret_key[129];
    char account[ACCOUNT_LEN + 1];
};

struct credentials {
    bool made; /* there is a file; else test/test */
    struct credential keys[CREDENTIALS_MAX];
    size_t count;
};

bool account_is_sound(const char *text); /* 12 digits */

/* BM_ERR_INPUT: names the line. No file: test/test of ACCOUNT_DEFAULT. */
enum bm_err credentials_read(const char *path, struct credentials *out, struct bm_msg *msg);
/*
 * A new key for `account`, in the place of those that it had; the other accounts keep theirs. The
 * file is made, or replaced whole, mode 0600. *out is the new one; wipe it.
 */
enum bm_err credentials_make(
    const char *path, const char *account, struct credential *out, struct bm_msg *msg);

/* The accounts in the order of the file; api_key.account is an index into it. Borrows from `c`. */
enum bm_err credentials_accounts(const struct credentials *c, struct account_place *accounts,
    size_t *account_count, struct api_key *keys, struct bm_msg *msg);

#endif
