/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip behind a71chd, simulated or real, as those who serve clients see it: sessions that ask
 * one thing at a time and are called back with the answer.
 *
 * Commands of all sessions run one after another, whole, in the order in which they were asked.
 * An answer may come before the asking call returns, later, or never (a chip can hang: then only
 * backend_reset or closing the session helps). One thread, one loop; nothing here blocks.
 *
 * A session may lease the chip: then only its own commands run, so that a sequence is not torn,
 * until it releases the lease, is closed, or its time is over. Who asks for a lease stands in the
 * same queue as commands do, so nobody overtakes anybody and nobody waits for ever.
 *
 * A new kind of chip fills in `struct backend_ops` and embeds both structs first in its own.
 */
#ifndef BM_A71CHD_BACKEND_H
#define BM_A71CHD_BACKEND_H

#include "a71chd/fault.h"
#include "a71chd/profile.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "chip/quirks.h"
#include "wire/jrcp.h"

#include <openssl/types.h>

struct backend;
struct backend_session;
struct chip;
struct trace;
struct scp03_keys;

enum {
    BACKEND_ATR_MAX = 60, /* what socket clients take, SPEC a71ch 1.2 */
};

struct backend_answer {
    enum bm_err err;
    struct span bytes; /* BM_OK: response of 2 bytes or more, or ATR. Borrowed during the call. */
    const char *cause; /* otherwise a sentence for the client: why there is no answer */
    const char *fault; /* what was done to it on purpose, or NULL; for the trace */
    int64_t took_us;   /* by the chip's own clock; 0: as long as it really took */
};

/* Never called for a session that is closed. It may ask again, and may close the session. */
typedef void (*backend_fn)(void *arg, const struct backend_answer *answer);

/* What is the same for all simulated chips of a process. Their rules of faults count together. */
struct sim_options {
    OSSL_LIB_CTX *lib; /* shared by all, borrowed until the last is freed; NULL: each its own */
    bool named;        /* traces tell chips apart by their folders' names */
    struct quirks quirks;
    struct profile profile;
    struct faults faults;
};

/*
 * A simulated chip in folder `dir`; errors are those of chip_open. `o` is borrowed until
 * backend_free.
 */
enum bm_err backend_sim_new(struct loop *loop, const char *dir, struct sim_options *o,
    struct backend **out, struct bm_msg *msg);
/* The same with a chip that is open, such as one in memory; takes it over. `o` may be NULL. */
enum bm_err backend_sim_of(
    struct loop *loop, struct chip *chip, struct sim_options *o, struct backend **out);
/* The chip of a simulated backend, NULL for others; another one after its power was cut. */
struct chip *backend_sim_chip(struct backend *b);
struct sim_options *backend_sim_options(struct backend *b); /* NULL: not simulated, or none */

/*
 * A real chip on an I2C bus, `/dev/i2c-1` or `/dev/i2c-1:0x48`; asks it for its ATR, which takes
 * some seconds when it does not answer. BM_ERR_IO, BM_ERR_TIMEOUT: it can not be reached.
 */
enum bm_err backend_real_new(
    struct loop *loop, const char *device, struct backend **out, struct bm_msg *msg);

/*
 * A chip behind a secure channel that this holds; clients speak in the clear. `chip` is borrowed
 * until backend_free, the keys are copied. BM_ERR_MEM, BM_ERR_INTERNAL (libcrypto).
 */
enum bm_err backend_channel_new(
    struct loop *loop, struct backend *chip, const struct scp03_keys *keys, struct backend **out);

/* The simulated chip was busy for `us`; how many milliseconds of that are to be slept now. */
uint64_t backend_sim_spend(struct backend *b, uint64_t us);

void backend_free(struct backend *b); /* takes NULL; after all its sessions */

/*
 * One more client; `client` names it in traces. With a shared chip (a real one) volatile state,
 * such as a hash in progress, is everybody's; otherwise each session has its own. BM_ERR_MEM.
 */
enum bm_err backend_session_open(
    struct backend *b, unsigned client, backend_fn done, void *arg, struct backend_session **out);
void backend_session_close(struct backend_session *s); /* takes NULL */
bool backend_shared(const struct backend *b);

/* Borrowed until backend_free; NULL: none. */
void backend_set_trace(struct backend *b, struct trace *trace);

/*
 * Ask. A session waits for at most one answer: asking for a command while it does is a bug. A reset
 * may always be asked for: it takes the place of what was asked before, and is answered by the ATR.
 */
void backend_apdu(struct backend_session *s, struct span command); /* 0..JRCP_PAYLOAD_MAX bytes */
void backend_reset(struct backend_session *s);
bool backend_waiting(const struct backend_session *s);

enum {
    BACKEND_LEASES_MAX = 64, /* that wait; one more is refused at once */
    BACKEND_WAIT_MS = 10000, /* when the client names no times */
    BACKEND_HOLD_MS = 10000,
    BACKEND_TIME_MAX_MS = 60000,
};

/*
 * Ask for the chip for the session's own commands; asking again while it has the lease counts, and
 * as many releases end it, but the time is not renewed. Answered by no bytes (BM_OK), BM_ERR_LIMIT
 * (too many wait) or BM_ERR_TIMEOUT (not within wait_ms). When hold_ms are over the lease is taken
 * away; the session's next command is not run but answered BM_ERR_TIMEOUT, since others may have
 * come between.
 */
void backend_lease(struct backend_session *s, unsigned wait_ms, unsigned hold_ms);
/* BM_ERR_CONFLICT: it has no lease, or has it no more. */
enum bm_err backend_release(struct backend_session *s);
void backend_leases(const struct backend *b, struct buf *out); /* append one JSON object */

struct span backend_atr(const struct backend *b); /* the last known; borrowed from the backend */
void backend_stats(struct backend *b, struct buf *out); /* append one JSON object */
void backend_save(struct backend *b);                   /* counts to disk, when there are such */

/* ---- for the kinds of chip only ---- */

enum backend_request { BACKEND_NONE, BACKEND_RESET, BACKEND_APDU, BACKEND_LEASE };

struct backend_ops {
    struct backend_session *(*session_new)(struct backend *b); /* zeroed but for its own; or NULL */
    void (*session_free)(struct backend_session *s);
    /*
     * Run s->request. Calls backend_finish (now or later) or backend_hang. The session may be
     * closed or reset meanwhile: then finish all the same.
     */
    void (*start)(struct backend *b, struct backend_session *s);
    struct span (*atr)(const struct backend *b);
    void (*stats)(struct backend *b, struct buf *out);
    void (*save)(struct backend *b); /* may be NULL */
    void (*free)(struct backend *b);
};

struct backend_session {
    struct backend *backend;
    unsigned client;
    backend_fn done;
    void *arg;
    enum backend_request request; /* not yet answered */
    uint8_t command[JRCP_PAYLOAD_MAX];
    size_t command_len;
    struct backend_session *next; /* in the queue */
    struct {
        unsigned depth;          /* times it was asked for and not released */
        bool lost;               /* it was taken away, which the session does not know yet */
        unsigned hold_ms;        /* wanted */
        struct loop_timer *wait; /* while in the queue for it */
    } lease;
};

struct backend {
    const struct backend_ops *ops;
    struct loop *loop;
    const char *name; /* of this chip among many, for the trace; may be NULL */
    struct trace *trace;
    int64_t started_us; /* the running request */
    bool shared;
    bool busy;                       /* between start and finish */
    bool pumping;                    /* keeps a long queue off the stack */
    struct backend_session *running; /* NULL also when it lost interest */
    struct backend_session *head;
    struct backend_session *tail;
    struct {
        struct backend_session *holder; /* only its requests run; NULL: everybody's */
        struct loop_timer *end;
        int64_t since_ms;
        unsigned waiting;
        unsigned long granted;
        unsigned long expired;
    } lease;
};

/* The running request is done; hands the answer out, when somebody still wants it, and goes on. */
void backend_finish(struct backend *b, const struct backend_answer *answer);
/* The running request will never be answered; the chip goes on with the next one. */
void backend_hang(struct backend *b, const char *fault);

#endif
