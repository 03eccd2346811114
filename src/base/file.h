/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are there whole or not at all, and the few system calls around them.
 */
#ifndef BM_BASE_FILE_H
#define BM_BASE_FILE_H

#include "base/bytes.h"

#include <sys/types.h>

/*
 * Read a whole file of at most `max` bytes and append it to `out`.
 * BM_ERR_IO: cannot open or read (message has path and cause). BM_ERR_LIMIT: longer than `max`.
 */
enum bm_err file_read(const char *path, size_t max, struct buf *out, struct bm_msg *msg);

/*
 * Replace `path` durably: temporary file beside it, write, fsync, rename, fsync of the folder.
 * After a crash the old or the new content is there. `mode` as in open(2).
 */
enum bm_err file_write(const char *path, struct span data, mode_t mode, struct bm_msg *msg);

/*
 * The same for a file that must not be there yet: BM_ERR_EXISTS, and it is untouched, when it is.
 * For keys.
 */
enum bm_err file_create(const char *path, struct span data, mode_t mode, struct bm_msg *msg);

/* Make a folder and its parents with `mode`, durably; an existing folder is fine. */
enum bm_err dir_make(const char *path, mode_t mode, struct bm_msg *msg);

/* Remove a folder with all in it; does not follow links. A missing folder is fine. */
enum bm_err dir_remove(const char *path, struct bm_msg *msg);

/* Write all of `data` to a descriptor, through EINTR and short writes. */
enum bm_err fd_write_all(int fd, struct span data);

/* Set O_NONBLOCK and FD_CLOEXEC. */
enum bm_err fd_prepare(int fd);

#endif
