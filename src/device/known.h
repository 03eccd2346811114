/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device remembers between runs: a small JSON file, written whole or not at all.
 *
 * A file that cannot be read is no reason not to work: it counts as empty, and is replaced.
 */
#ifndef BM_DEVICE_KNOWN_H
#define BM_DEVICE_KNOWN_H

#include "base/bytes.h"

struct known {
    int64_t passed_ms;  /* a trusted server's certificate proves that this time has passed */
    char admitted[65];  /* id of the certificate that was let in last; "": none */
    char server_id[65]; /* SHA-256 of the server's certificate then */
};

/* BM_OK with zeros when there is none; BM_ERR_INPUT: damaged, *k is zero. */
enum bm_err known_read(const char *dir, struct known *k, struct bm_msg *msg);
enum bm_err known_write(const char *dir, const struct known *k, struct bm_msg *msg);
/* The text of such a file. */
enum bm_err known_parse(struct span text, struct known *k, struct bm_msg *msg);

#endif
