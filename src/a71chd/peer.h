/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use a Unix socket: the user that runs a71chd, root, and, with --group, its members. The
 * socket file's owner and mode say so first; this looks again at each connection, because a socket
 * may be reached in other ways (by a descriptor that was passed on, by a mode changed later).
 */
#ifndef BM_A71CHD_PEER_H
#define BM_A71CHD_PEER_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

#define PEER_NO_GROUP ((gid_t)-1)

/* A group by its name or number. BM_ERR_NOT_FOUND. */
enum bm_err peer_group(const char *name, gid_t *out, struct bm_msg *msg);

/*
 * Let the group at a socket file (mode 0660) or into a folder of them (0710): its owner first, then
 * the mode. BM_ERR_IO.
 */
enum bm_err peer_share(const char *path, gid_t group, mode_t mode, struct bm_msg *msg);

/* The user at the other end of a Unix socket; false when it is not known. */
bool peer_user(int fd, uid_t *out);

/* Is the peer the user that runs this process, or root? */
bool peer_owner(int fd);

/* Is the peer one of these, or is `group` among its groups (PEER_NO_GROUP: nobody's)? */
bool peer_allowed(int fd, gid_t group);

#endif
