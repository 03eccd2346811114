/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: ZIPS/<sha256>.zip as it was uploaded, and FOLDERS/<sha256>/ with what it holds.
 * The zip is the truth, the folder can always be made again from it; two functions with the same
 * package share both. FOLDERS is ZIPS, unless functions run as another user, who could not reach it
 * there.
 */
#ifndef BM_LAMBDA_CODE_H
#define BM_LAMBDA_CODE_H

#include "lambda/config.h"
#include "registry/registry.h"

#include <limits.h>

struct code_store {
    char zips[PATH_MAX];
    char folders[PATH_MAX];
};

/* Remove what an interrupted upload or a deleted function left there. */
enum bm_err code_clean(const struct code_store *s, struct registry *registry, struct bm_msg *msg);

/* Slow, for a process of its own (job.h): */

/* Check the package against the configuration and store it. BM_ERR_INPUT with the cause. */
enum bm_err code_put(const struct code_store *s, const struct config *c, struct span zip,
    uint8_t sha256[32], struct bm_msg *msg);
/* Does the stored package have what the configuration names (bootstrap, handler)? */
enum bm_err code_check(const struct code_store *s, const struct config *c, const uint8_t sha256[32],
    struct bm_msg *msg);
/* Make the folder from the stored package when it is missing. */
enum bm_err code_unpack(const struct code_store *s, const uint8_t sha256[32], struct bm_msg *msg);

/* Quick: the folder with the unpacked code; false when it is missing. */
bool code_folder(const struct code_store *s, const uint8_t sha256[32], char path[PATH_MAX]);

#endif
