/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One result type for the project, and the message that goes with it.
 *
 * Every function that can fail returns `enum bm_err`; the enum is nodiscard, so a dropped result
 * is a warning everywhere. Where a fact is known that a person needs (which value, what cures it),
 * the function takes a `struct bm_msg *` and fails by `return bm_fail(msg, BM_ERR_X, "...")`.
 * Layers above pass both on untouched; only the edges (stderr, HTTP status, OpenSSL queue, MQTT)
 * translate them. `msg` may be NULL everywhere: then only the code travels.
 */
#ifndef BM_BASE_ERR_H
#define BM_BASE_ERR_H

enum [[nodiscard]] bm_err{
    BM_OK = 0, BM_ERR_ARG, /* usage: the caller passed what the contract forbids */
    BM_ERR_INPUT,          /* input: outside data is not what it must be */
    BM_ERR_MORE,           /* input: a prefix of something valid; read on and call again */
    BM_ERR_SPACE,          /* resource: the output does not fit */
    BM_ERR_MEM,            /* resource: allocation failed */
    BM_ERR_LIMIT,          /* resource: a stated limit is reached */
    BM_ERR_IO,             /* I/O: the system refused; retry may help */
    BM_ERR_TIMEOUT,        /* I/O: a deadline passed */
    BM_ERR_CLOSED,         /* I/O: the peer went away */
    BM_ERR_PROTO,          /* protocol: the peer broke its protocol */
    BM_ERR_STATUS,         /* chip status: the chip answered a status word other than 9000 */
    BM_ERR_DENIED,         /* denied: not allowed by policy, permission or signature */
    BM_ERR_NOT_FOUND,      /* state: the named thing does not exist */
    BM_ERR_EXISTS,         /* state: the named thing exists already */
    BM_ERR_CONFLICT,       /* state: the named thing is not in a state that allows this */
    BM_ERR_INTERNAL,       /* internal: a bug here */
};

enum { BM_MSG_LEN = 512 };

/* A sentence for a person: what was tried, with which value, what cures it. Always terminated. */
struct bm_msg {
    char text[BM_MSG_LEN];
};

/* Write the sentence (when `msg` is not NULL) and return `err`, so that `return bm_fail(...)`. */
enum bm_err bm_fail(struct bm_msg *msg, enum bm_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The name of a code as written here without BM_ERR_, lower case: "input". Static storage. */
const char *bm_err_name(enum bm_err err);

#endif
