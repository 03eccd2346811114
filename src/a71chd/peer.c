/* SPDX-License-Identifier: Apache-2.0 */
/* See peer.h. */
#include "a71chd/peer.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GROUPS_MAX = 65536 }; /* Linux' own limit */

enum bm_err
peer_group(const char *name, gid_t *out, struct bm_msg *msg)
{
    const struct group *g = getgrnam(name);
    char *end;
    unsigned long number;

    if (g != NULL) {
        *out = g->gr_gid;
        return BM_OK;
    }
    number = strtoul(name, &end, 10);
    if (*name < '0' || *name > '9' || *end != '\0' || number >= PEER_NO_GROUP)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "there is no group %s; make it with groupadd, or name another", name);
    *out = (gid_t)number;
    return BM_OK;
}

enum bm_err
peer_share(const char *path, gid_t group, mode_t mode, struct bm_msg *msg)
{
    if (chown(path, (uid_t)-1, group) != 0)
        return bm_fail(msg, BM_ERR_IO,
            "cannot give %s to group %lu: %s; run a71chd as root or as a member of the group", path,
            (unsigned long)group, strerror(errno));
    if (chmod(path, mode) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot change the mode of %s: %s", path, strerror(errno));
    return BM_OK;
}

static bool
credentials(int fd, struct ucred *out)
{
    socklen_t len = sizeof *out;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, out, &len) == 0;
}

bool
peer_user(int fd, uid_t *out)
{
    struct ucred peer;
    bool known = credentials(fd, &peer);

    *out = known ? peer.uid : (uid_t)-1;
    return known;
}

bool
peer_owner(int fd)
{
    uid_t uid;

    return peer_user(fd, &uid) && (uid == geteuid() || uid == 0);
}

/* The supplementary groups that the peer had when it connected. */
static bool
in_groups(int fd, gid_t group)
{
    gid_t *list = malloc(GROUPS_MAX * sizeof *list);
    socklen_t len = GROUPS_MAX * sizeof *list;
    bool found = false;

    if (list != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &len) == 0) {
        for (size_t i = 0; i < len / sizeof *list && !found; i++)
            found = list[i] == group;
    }
    free(list);
    return found;
}

bool
peer_allowed(int fd, gid_t group)
{
    struct ucred peer;

    if (peer_owner(fd))
        return true;
    return group != PEER_NO_GROUP && credentials(fd, &peer) &&
           (peer.gid == group || in_groups(fd, group));
}
