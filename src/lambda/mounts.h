/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files a function's process sees, as in the service: all are read-only but for its scratch
 * folder, which is /tmp, too. So what it writes is bounded by looking at one folder, and nothing of
 * it is left when that is removed.
 *
 * Made by a mount namespace of its own; an ordinary user gets one inside a user namespace. Where
 * the kernel allows neither (a container without CAP_SYS_ADMIN, a system that forbids them), the
 * machine's files are seen as they are.
 */
#ifndef BM_LAMBDA_MOUNTS_H
#define BM_LAMBDA_MOUNTS_H

#include <stdbool.h>

enum mounts {
    MOUNTS_SHARED, /* the machine's own */
    MOUNTS_OWN,
    MOUNTS_OWN_AS_USER, /* in a user namespace that has this user only */
};

/* Which of them works here? Tries in a child process. `scratch`: any folder. */
enum mounts mounts_probe(const char *scratch);

/*
 * Between fork and exec, before the user changes. False with errno. A scratch folder that is below
 * /tmp itself leaves the machine's /tmp in its place, because it would hide what else is there.
 */
bool mounts_enter(enum mounts kind, const char *scratch);

#endif
