/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: DIR/functions/<sha256>.zip as it was uploaded, and DIR/functions/<sha256>/ with
 * what it holds. The zip is the truth, the folder can always be made again from it; two functions
 * with the same package share both.
 */
#ifndef BM_LAMBDA_CODE_H
#define BM_LAMBDA_CODE_H

#include "lambda/config.h"
#include "registry/registry.h"

/* Remove from DIR/functions what an interrupted upload or a deleted function left there. */
enum bm_err code_clean(const char *dir, struct registry *registry, struct bm_msg *msg);

/* Check the package against the configuration and store it. BM_ERR_INPUT with the cause. */
enum bm_err code_put(const char *dir, const struct config *c, struct span zip, uint8_t sha256[32],
    struct bm_msg *msg);

/* Does the stored package have what the configuration names (bootstrap, handler)? */
enum bm_err code_check(
    const char *dir, const struct config *c, const uint8_t sha256[32], struct bm_msg *msg);

/* The folder with the unpacked code, unpacked now when it is missing. */
enum bm_err code_folder(
    const char *dir, const uint8_t sha256[32], struct buf *path, struct bm_msg *msg);

#endif
