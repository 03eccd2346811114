/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions as ordinary processes against the Lambda Runtime API: no container engine.
 * SPEC aws-iot 5.4, 5.5.
 *
 * Code is a zip, kept as DIR/functions/<sha256>.zip and unpacked into a folder. A function has as
 * many processes as it has invocations at a time, up to its reserved concurrency and to what all
 * functions share; they are started when needed, kept warm, and ended when idle for long or when
 * another function needs the place: each gets its share. Runtimes: provided, provided.al2,
 * provided.al2023 (an executable `bootstrap` in the package root), python3.7 to python3.13 and
 * nodejs18.x to nodejs22.x, which run on the one python3 and the one node of this machine (our
 * runtime clients). Asynchronous invocations live in the registry until they ran: at least once,
 * with the service's two retries, and what is given up becomes a dead letter. Output goes to
 * DIR/functions/log/<name>.log. One thread: the control loop's.
 *
 * A function's process has no descriptor of ours, no new privileges, a scratch folder that is its
 * /tmp and all it may write to (mounts.h), when the cloud is root a user id of its own (sandbox.h),
 * and limits: memory (MemorySize and what the runtime itself takes, for all that it starts
 * together), processes, 512 MB of scratch, 1024 descriptors.
 *
 * Not built: versions and aliases, layers, images.
 */
#ifndef BM_LAMBDA_LAMBDA_H
#define BM_LAMBDA_LAMBDA_H

#include "base/loop.h"
#include "registry/registry.h"

struct lambda;

enum {
    LAMBDA_ZIP_MAX = 50 * 1024 * 1024,
    LAMBDA_UNZIPPED_MAX = 250 * 1024 * 1024,
    LAMBDA_PAYLOAD_SYNC_MAX = 6 * 1024 * 1024,
    LAMBDA_PAYLOAD_ASYNC_MAX = 256 * 1024,
    LAMBDA_CONCURRENT_MAX = 1000, /* invocations that run or wait for a process, of all functions */
    LAMBDA_RESERVED_MAX = 900,    /* as the service: 100 stay for functions without reservation */
};

enum lambda_sandbox {
    LAMBDA_SANDBOX_AUTO,  /* as USERS */
    LAMBDA_SANDBOX_NONE,  /* the user of the cloud, limits only */
    LAMBDA_SANDBOX_USERS, /* when the cloud is root: a user id for each process; else as NONE */
    LAMBDA_SANDBOX_BWRAP, /* as USERS, and inside bubblewrap */
};

struct lambda_options {
    struct loop *loop;
    struct registry *registry;
    const char *dir;         /* state folder; functions/ below it */
    const char *runtime_dir; /* where our runtime clients are (share/birthmark/runtimes) */
    const char *python;      /* NULL: /usr/bin/python3 */
    const char *node;        /* NULL: /usr/bin/node */
    const char *region;
    const char *account;
    const char *access_key; /* credentials the functions get */
    const char *secret_key;
    /* 0: the standard value */
    int64_t retry_ms[2]; /* waits after the first and second failure: 60 s, 120 s */
    int64_t init_ms;     /* for a new process to ask for its first event: 10 s */
    int64_t idle_ms;     /* after which a process without work is ended: 10 min */
    enum lambda_sandbox sandbox;
    unsigned processes; /* of all functions at a time: four a core, from 8 to 64 */
    /* The registry has something to commit, with this round; NULL: every round commits. */
    void (*commit_soon)(void *arg);
    void *commit_arg;
};
enum bm_err lambda_open(
    const struct lambda_options *options, struct lambda **out, struct bm_msg *msg);
/*
 * Ends the functions' processes (SIGTERM, then SIGKILL). What ran asynchronously stays in the
 * registry and runs again; for the others no `fn` is called any more. The loop must not run
 * afterwards, because a hook cannot be taken from it. Takes NULL.
 */
void lambda_close(struct lambda *l);
/*
 * The API's URL for AWS_ENDPOINT_URL, known only once it listens; no function runs before. Also
 * starts the invocations left from the last run. Call it after the hooks that commit the registry
 * were added to the loop: ours has to come after them.
 */
void lambda_set_endpoint(struct lambda *l, const char *url);

/*
 * Check and store a package: runtime known, handler there, zip readable and within limits, no entry
 * that leaves the folder (absolute, `..`, links out). Takes time, so a process of its own does it
 * and `fn` is called from the loop: BM_ERR_INPUT with the sentence for
 * InvalidParameterValueException. The caller then stores the function with `code`.
 *
 * `config`: the function's, JSON. `base64`: the package as text, only looked at in this call;
 * empty: the same checks for a changed configuration and the package `sha256`, which is stored.
 * Errors of the call itself (the configuration; BM_ERR_LIMIT: too many at a time): `fn` is not
 * called.
 */
struct lambda_code {
    uint8_t sha256[32];
    size_t size; /* of the zip; 0 for a stored one */
};
typedef void (*lambda_code_fn)(
    void *arg, enum bm_err err, const struct bm_msg *msg, const struct lambda_code *code);
enum bm_err lambda_put_code(struct lambda *l, struct span config, struct span base64,
    const uint8_t sha256[32], lambda_code_fn fn, void *arg, struct bm_msg *msg);
/* The stored function changed or is gone: its processes end after the invocations they run. */
void lambda_forget(struct lambda *l, const char *name);
/* Only its reserved concurrency changed (member ReservedConcurrentExecutions of its config). */
void lambda_limit(struct lambda *l, const char *name);

struct lambda_result {
    struct span payload;  /* what the function answered, or its error object */
    const char *error;    /* NULL or "Unhandled" (X-Amz-Function-Error) */
    struct span log_tail; /* last 4 KB of its output */
};
typedef void (*lambda_done_fn)(void *arg, const struct lambda_result *result);
/*
 * RequestResponse. `fn` is called exactly once, from the loop, never from within this call.
 * BM_ERR_NOT_FOUND, BM_ERR_LIMIT (payload), BM_ERR_CONFLICT (throttled: its reserved concurrency or
 * LAMBDA_CONCURRENT_MAX is reached): it is not called.
 */
enum bm_err lambda_invoke(struct lambda *l, const char *name, struct span payload,
    lambda_done_fn fn, void *arg, struct bm_msg *msg);
/*
 * Event. Durable with the caller's next registry_commit, and runs after it. cert_id (may be NULL):
 * whose timeline it belongs to. BM_ERR_NOT_FOUND, BM_ERR_LIMIT (payload).
 */
enum bm_err lambda_invoke_async(struct lambda *l, const char *name, struct span payload,
    const uint8_t *cert_id, struct bm_msg *msg);
/* The same with the event of a dead letter, which is gone then: as registry_letter_resend. */
enum bm_err lambda_resend(struct lambda *l, int64_t letter, struct bm_msg *msg);

/*
 * May `source_arn` of `account` invoke it as `principal` ("iot.amazonaws.com")? Looks at the
 * function's permissions. SPEC aws-iot 5.4. BM_ERR_DENIED: the message is the command that allows
 * it.
 */
enum bm_err lambda_permitted(struct lambda *l, const char *name, const char *principal,
    const char *source_arn, const char *account, struct bm_msg *msg);

/*
 * The name in "arn:aws:lambda:REGION:ACCOUNT:function:NAME[:$LATEST]", a partial ARN or a bare
 * name; false when it is none. Another qualifier is refused too: versions and aliases are not
 * built.
 */
bool lambda_name_of(const char *name_or_arn, char out[REGISTRY_NAME_MAX + 1]);

#endif
