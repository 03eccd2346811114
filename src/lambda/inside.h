/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share. A `function` is a queue and at most one `worker`; a worker is
 * a process with its own Runtime API; an `invocation` is in a function's queue or in a worker's
 * hands.
 *
 *   lambda.c   the room's header: functions, queues, life
 *   worker.c   one process: what it asks over the Runtime API, its deadlines, its end
 *   async.c    invocations of type Event: the registry's rows, retries, the timeline
 *   code.c     the code store       package.c  zips       config.c  configuration
 *   process.c  child processes      permission.c  names, ARNs and resource policies
 */
#ifndef BM_LAMBDA_INSIDE_H
#define BM_LAMBDA_INSIDE_H

#include "http/http.h"
#include "lambda/config.h"
#include "lambda/lambda.h"
#include "lambda/process.h"

enum {
    FUNCTION_QUEUE_MAX = 1000,
    ASYNC_IN_FLIGHT_MAX = 64, /* rows of the registry that are in memory */
    ASYNC_ATTEMPTS = 3,
    END_GRACE_MS = 1000, /* between SIGTERM and SIGKILL */
    REQUEST_ID_LEN = 36,
};

struct invocation {
    struct invocation *next;
    char request_id[REQUEST_ID_LEN + 1];
    char function[REGISTRY_NAME_MAX + 1];
    struct buf payload;
    int64_t started_ms; /* monotonic */
    lambda_done_fn fn;  /* RequestResponse */
    void *arg;
    int64_t row; /* Event: the registry's id; 0 otherwise */
    int attempt;
    bool has_cert;
    uint8_t cert_id[REGISTRY_ID_LEN];
};

struct function {
    struct function *next;
    struct lambda *lambda;
    struct worker *worker;
    struct invocation *first;
    struct invocation **last;
    size_t queued;
    bool retire; /* the worker's code or configuration is not the stored one any more */
    char name[REGISTRY_NAME_MAX + 1];
};

enum phase {
    PHASE_STARTING, /* has not asked for its first event */
    PHASE_READY,    /* waits in `next`, or its poll was lost and it will ask again */
    PHASE_BUSY,     /* has an event */
    PHASE_ANSWERED, /* has answered and not asked again */
};

struct worker {
    struct worker *next; /* in lambda.ending */
    struct lambda *lambda;
    struct function *function; /* NULL: it is ending */
    struct process *process;
    struct http_server *api;
    struct config config;
    enum phase phase;
    struct http_request *poll;
    struct invocation *now;
    struct buf init_error;    /* what the runtime said before it gave up */
    struct loop_timer *timer; /* of the phase; when ending: SIGKILL */
    char name[REGISTRY_NAME_MAX + 1];
};

struct lambda {
    struct lambda_options options; /* strings are copies */
    char *endpoint;
    bool hooked;
    bool dirty; /* we changed the registry in this round */
    struct function *functions;
    struct worker *ending;
    struct loop_timer *kick;
    struct loop_timer *scan;
    size_t async_in_flight;
    int64_t first_uncommitted; /* row id; INT64_MAX when all rows are durable */
};

/* worker.c */
enum bm_err worker_start(struct function *f, struct bm_msg *msg);
void worker_deliver(struct worker *w, struct invocation *inv);
void worker_end(struct worker *w, int signo); /* detaches it from its function */
void worker_free(struct worker *w);           /* kills at once; takes NULL */

/* lambda.c */
void function_kick(struct lambda *l); /* look at all functions from the loop, soon */
void function_answered(
    struct lambda *l, struct invocation *inv, const struct lambda_result *result);
/* Fail with an error object of the service's own: {"errorType", "errorMessage"}. */
void function_failed(struct lambda *l, struct invocation *inv, struct span log_tail,
    const char *type, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
struct invocation *function_take(struct function *f); /* head of the queue, or NULL */
enum bm_err function_enqueue(
    struct lambda *l, const char *name, struct invocation *inv, struct bm_msg *msg);
void invocation_free(struct invocation *inv);
void function_arn(const struct lambda *l, const char *name, struct buf *out);

/* async.c */
void async_start(struct lambda *l);
void async_settled(struct lambda *l); /* at the end of a round, after everybody's commits */
void async_delivered(struct lambda *l, const struct invocation *inv);
void async_answered(
    struct lambda *l, const struct invocation *inv, const struct lambda_result *result);

#endif
