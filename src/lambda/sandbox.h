/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where functions run, and as whom.
 *
 * Every process has a scratch folder of its own (HOME, TMPDIR), measured while it runs and removed
 * after it; where the kernel allows it, it is /tmp and all else is read-only (mounts.h). The memory
 * of a process and of all that it starts is summed while it runs (tasks.h). When the cloud is root,
 * each process gets a user id of its own besides, from a range that no distribution hands out: so
 * the kernel can count its processes (RLIMIT_NPROC says nothing of root), end whatever it left
 * behind in one stroke, and keep it from files of others. An id is claimed by an abstract socket of
 * its name, so several clouds on one machine share the range. Code and scratch folders then lie
 * below /var/tmp, because such a user could not reach the state folder of root. Bubblewrap, when
 * asked for, adds: the system read-only, nothing of any home, a process namespace.
 *
 * Control groups are not used: they are rarely writable where a cloud like this runs (containers,
 * an ordinary user's session), and looking at the processes works everywhere. A look comes four
 * times a second: what grows faster than that is bounded for each process by RLIMIT_DATA.
 */
#ifndef BM_LAMBDA_SANDBOX_H
#define BM_LAMBDA_SANDBOX_H

#include "lambda/lambda.h"
#include "lambda/mounts.h"

#include <limits.h>
#include <sys/types.h>

enum {
    SANDBOX_UID_FIRST = 60800, /* free in Debian's and systemd's tables of ids */
    SANDBOX_UID_LAST = 61183,
    SANDBOX_TASKS_MAX = 256,   /* processes and threads of one function's process */
    SANDBOX_SCRATCH_MB = 512,  /* as the service's /tmp */
    SANDBOX_FILES_MAX = 10000, /* in it */
    SANDBOX_WRAP_MAX = 48,
};

struct sandbox {
    enum lambda_sandbox kind; /* never AUTO */
    bool own_users;
    enum mounts mounts;
    bool own_place;          /* `place` is below /var/tmp and goes at the end */
    int lock;                /* of it */
    char place[PATH_MAX];    /* code folders, scratch/ */
    char runtimes[PATH_MAX]; /* our runtime clients, where functions can read them */
    unsigned count;          /* of scratch folders made */
};

/* `dir`: DIR/functions, which exists. BM_ERR_NOT_FOUND: bubblewrap is asked for and not there. */
enum bm_err sandbox_open(enum lambda_sandbox kind, const char *dir, const char *runtime_dir,
    struct sandbox *s, struct bm_msg *msg);
void sandbox_close(struct sandbox *s); /* after all processes; takes a zeroed one */

/* What one process gets. */
struct seat {
    uid_t uid; /* 0: no change */
    int claim;
    unsigned tasks_max;
    unsigned memory_mb; /* of all its processes together */
    pid_t leader;       /* the function's process; 0: not started */
    char scratch[PATH_MAX];
};
/* BM_ERR_LIMIT: no user id is free. */
enum bm_err seat_take(struct sandbox *s, struct seat *seat, struct bm_msg *msg);
/*
 * Kill what is left of its processes, those that went into the background included, and give the
 * user id back. The scratch folder stays, for a job to
 * remove. Takes a zeroed one.
 */
void seat_leave(struct seat *seat);
/* NULL, or what it has too much of: a sentence in `out`. Bounded: stops at the limit. */
const char *seat_excess(const struct seat *seat, char out[128]);

/*
 * The program with its arguments as the sandbox runs it, NULL-terminated. Borrows all texts.
 */
void sandbox_wrap(const struct sandbox *s, const struct seat *seat, const char *task_root,
    char *const *argv, const char *out[SANDBOX_WRAP_MAX]);

#endif
