/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chips that one a71chd serves: one, or many in the folders DIR/0000, DIR/0001 ...
 *
 * Of many, each is opened (and made, when it is new) when its first client comes. Without clients
 * it stays open for the next one until CHIPS_IDLE_MAX others do; then the one that was left first
 * is closed. So ten thousand chips cost little more than their sockets.
 */
#ifndef BM_A71CHD_CHIPS_H
#define BM_A71CHD_CHIPS_H

#include "a71chd/backend.h"

struct chips;

enum {
    CHIPS_MAX = 100000,
    CHIPS_IDLE_MAX = 256,
    CHIPS_FDS = 3, /* descriptors of an open one */
    CHIPS_NAME_LEN = 8,
};

/* Open the chip in a folder, as the options of this a71chd want it. */
typedef enum bm_err (*chips_open_fn)(
    void *arg, const char *dir, struct backend **out, struct bm_msg *msg);

/* One chip, open: takes it over, also after an error. BM_ERR_MEM. */
enum bm_err chips_one(struct backend *chip, struct chips **out);

/*
 * Keep other processes out of a folder of many chips, which is made when missing, until *fd is
 * closed. BM_ERR_CONFLICT: another process has it. BM_ERR_INPUT: it is a chip itself. BM_ERR_IO.
 */
enum bm_err chips_lock(const char *dir, int *fd, struct bm_msg *msg);

/* `count` chips in a folder that this process, or the one that started it, has locked. BM_ERR_MEM.
 */
enum bm_err chips_many(
    const char *dir, size_t count, chips_open_fn open, void *arg, struct chips **out);

void chips_free(struct chips *c); /* takes NULL; after all clients */

size_t chips_count(const struct chips *c);
size_t chips_open_count(const struct chips *c);

/* Name of a folder and a socket: "0042". */
void chips_name(char out[CHIPS_NAME_LEN], size_t index);

/* One more client of a chip; errors are those of opening it. */
enum bm_err chips_take(struct chips *c, size_t index, struct backend **out, struct bm_msg *msg);
void chips_release(struct chips *c, size_t index); /* one less */

/* Write one chip's counts, the next open one's at each call. */
void chips_save_next(struct chips *c);

#endif
