/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One child process with its output caught: a session of its own that dies with this process, a
 * clean environment, no descriptor of ours, no new privileges, limited resources, stdout and stderr
 * in a bounded log file and a short tail.
 */
#ifndef BM_LAMBDA_PROCESS_H
#define BM_LAMBDA_PROCESS_H

#include "base/bytes.h"
#include "base/loop.h"
#include "lambda/mounts.h"

#include <sys/types.h>

enum { PROCESS_TAIL_MAX = 4096, PROCESS_LOG_MAX = 8 * 1024 * 1024 };

struct process;

/* The process has ended and is reaped, all its output is read. process_free is allowed here. */
typedef void (*process_exited)(void *arg, int wait_status);

struct process_options {
    struct loop *loop;
    const char *const *argv;
    char *const *envp;
    const char *cwd;
    unsigned memory_mb; /* of data; 0: no limit */
    unsigned tasks_max; /* processes and threads of its user; 0: no limit */
    uid_t uid;          /* 0: as this process; else also its only group is `gid` */
    gid_t gid;
    enum mounts mounts; /* which files it sees; `scratch` is its folder */
    const char *scratch;
    const char *log_path; /* appended to; at PROCESS_LOG_MAX it becomes log_path.1 */
    process_exited exited;
    void *arg;
};

/* BM_ERR_IO: it could not be started (message has the program and the cause). */
enum bm_err process_start(
    const struct process_options *options, struct process **out, struct bm_msg *msg);

/* Kills what still runs and waits for it; `exited` is not called. Takes NULL. */
void process_free(struct process *p);

pid_t process_id(const struct process *p);                /* also of its group and session */
void process_signal(const struct process *p, int signo);  /* to the whole group */
bool process_wait(struct process *p, int64_t timeout_ms); /* true: it ended; does not reap */

/* The tail starts again empty; a line of ours goes to log and tail. */
void process_tail_reset(struct process *p);
void process_note(struct process *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Read what the process has written until now, then the last PROCESS_TAIL_MAX bytes since the
 * reset. */
struct span process_tail(struct process *p);

/* "exit status 1", "signal: killed"; "" for exit status 0. */
void process_status_text(int wait_status, char *out, size_t cap);

#endif
