/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key file of NXP's configure tool. SPEC a71ch 4.8: lines `ENC`, `MAC` or `DEK`, blanks, 32 hex
 * digits; `#` starts a comment, on a line of its own or behind a key; each name exactly once.
 * Blanks are spaces, a tab is none, and a line must not be empty.
 */
#ifndef BM_SCP03_KEYFILE_H
#define BM_SCP03_KEYFILE_H

#include "scp03/scp03.h"

enum { SCP03_KEYFILE_MAX = 64 * 1024 };

/* BM_ERR_INPUT: the message says which line is wrong and why, never what the key is. */
enum bm_err scp03_keyfile_parse(struct span text, struct scp03_keys *keys, struct bm_msg *msg);

#endif
