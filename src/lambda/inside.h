/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share. A `function` is a queue and its `worker`s; a worker is a
 * process with its own Runtime API; an `invocation` is in a function's queue or in a worker's
 * hands.
 *
 *   lambda.c   the room's header: invocations by request, life
 *   invocation.c  how an invocation ends
 *   pool.c     functions and their queues; which of them gets a process next
 *   worker.c   one process: what it asks over the Runtime API, its deadlines, its end
 *   start.c    its start: environment, program
 *   async.c    invocations of type Event: the registry's rows, retries, dead letters, the timeline
 *   upload.c   packages that are being checked and stored   code.c     the code store
 *   package.c  zips                                         config.c   configuration
 *   process.c  child processes                              sandbox.c  where and as whom they run
 *   excess.c   who takes too much is killed
 *   tasks.c    processes in /proc                           mounts.c   which files they see
 *   job.c      slow work in a child process                 permission.c  names, ARNs, policies
 */
#ifndef BM_LAMBDA_INSIDE_H
#define BM_LAMBDA_INSIDE_H

#include "http/http.h"
#include "lambda/code.h"
#include "lambda/config.h"
#include "lambda/job.h"
#include "lambda/lambda.h"
#include "lambda/process.h"
#include "lambda/sandbox.h"

enum {
    ASYNC_PER_FUNCTION = 64,            /* rows of the registry that are in memory */
    ASYNC_LOW = 16,                     /* when fewer are left, more are fetched */
    ASYNC_BYTES_MAX = 64 * 1024 * 1024, /* of all functions */
    ASYNC_ATTEMPTS = 3,
    END_GRACE_MS = 1000, /* between SIGTERM and SIGKILL */
    REQUEST_ID_LEN = 36,
    LOOK_MS = 250, /* between looks at what processes take */
    LOOK_MAX_MS = 2000,
    LOOK_SHARE = 20,
    LOOKS_REST = 4, /* of so many, one is at folders */
};

struct invocation {
    struct invocation *next;
    struct lambda *lambda; /* since it is in a queue */
    char request_id[REQUEST_ID_LEN + 1];
    char function[REGISTRY_NAME_MAX + 1];
    struct buf payload;
    int64_t started_ms; /* monotonic */
    lambda_done_fn fn;
    void *arg;
    int64_t row; /* Event: the registry's id; 0 otherwise */
    int attempt;
    bool has_cert;
    uint8_t cert_id[REGISTRY_ID_LEN];
};

struct function {
    struct function *next;
    struct lambda *lambda;
    struct worker *workers;
    size_t worker_count;
    size_t starting; /* of them */
    struct invocation *first;
    struct invocation **last;
    size_t queued;
    size_t async;       /* rows of the registry in the queue or in a worker's hands */
    bool more;          /* the registry has more of them that are due */
    int reserved;       /* concurrency; -1: none */
    struct job *unpack; /* its code's folder is being made */
    char name[REGISTRY_NAME_MAX + 1];
};

enum phase {
    PHASE_STARTING, /* has not asked for its first event */
    PHASE_READY,    /* waits in `next`, or its poll was lost and it will ask again */
    PHASE_BUSY,     /* has an event */
    PHASE_ANSWERED, /* has answered and not asked again */
};

struct worker {
    struct worker *next; /* in its function, or in lambda.ending */
    struct lambda *lambda;
    struct function *function; /* NULL: it is ending */
    struct process *process;
    struct http_server *api;
    struct config config;
    struct seat seat;
    struct job *dividing; /* its processes' memory among those who share it */
    int64_t divide_ms;    /* when that began, or is allowed next; monotonic */
    enum phase phase;
    bool retire; /* its code or configuration is not the stored one any more */
    struct http_request *poll;
    int64_t ready_ms; /* when it asked or answered last; monotonic */
    struct invocation *now;
    struct buf init_error;    /* what the runtime said before it gave up */
    struct loop_timer *timer; /* of the phase; when ending: SIGKILL */
    char name[REGISTRY_NAME_MAX + 1];
};

struct upload;
struct removal;

struct lambda {
    struct lambda_options options; /* strings are copies */
    struct code_store store;
    struct sandbox sandbox;
    char *endpoint;
    bool hooked;
    struct function *functions;
    size_t worker_count; /* of all functions, without those that are ending */
    size_t concurrent;   /* invocations in queues and in workers' hands */
    struct worker *ending;
    struct upload *uploads;
    struct removal *removals; /* scratch folders that are being removed */
    struct loop_timer *kick;
    struct loop_timer *scan;
    int64_t scan_at_ms; /* monotonic */
    struct loop_timer *look;
    unsigned looks;
    size_t async_bytes;
    int64_t first_uncommitted; /* row id; INT64_MAX when all rows are durable */
};

/* start.c */
/* Read what is stored now, open the API, start the program: fills `w`, which the caller frees and
 * both functions get. */
enum bm_err worker_bring_up(
    struct worker *w, http_handler on_request, process_exited on_exited, struct bm_msg *msg);

/* worker.c */
enum bm_err worker_start(struct function *f, struct bm_msg *msg);
void worker_deliver(struct worker *w, struct invocation *inv);
void worker_end(struct worker *w, int signo); /* detaches it from its function */
void worker_free(struct worker *w);           /* kills at once; takes NULL */
bool worker_is_idle(const struct worker *w);  /* has asked for an event and has none */
void removals_end(struct lambda *l);

/* excess.c */
void excess_watch(struct lambda *l); /* while there are processes */

/* pool.c */
void pool_kick(struct lambda *l); /* look at all functions from the loop, soon */
struct function *pool_function(struct lambda *l, const char *name); /* NULL: no memory */
struct function *pool_find(struct lambda *l, const char *name); /* NULL: nothing runs or waits */
void function_read_limit(struct function *f);
void function_enqueue(struct function *f, struct invocation *inv);
struct invocation *function_take(struct function *f); /* head of the queue, or NULL */
void pool_end(struct lambda *l);

/* invocation.c: tell who made it, and free it */
void invocation_answered(struct invocation *inv, const struct lambda_result *result);
/* Fail with an error object of the service's own: {"errorType", "errorMessage"}. */
void invocation_failed(struct invocation *inv, struct span log_tail, const char *type,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void invocation_free(struct invocation *inv); /* nobody is told; takes NULL */

/* permission.c */
void function_arn(const struct lambda *l, const char *name, struct buf *out);

/* upload.c */
void uploads_end(struct lambda *l);

/* async.c */
void async_start(struct lambda *l);
void async_settled(struct lambda *l); /* at the end of a round, after everybody's commits */
void async_delivered(struct lambda *l, const struct invocation *inv);

#endif
