/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the sessions in mosquitto's file end. Version 2.0 writes it and forgets it when it reads the
 * file (its issue 2546), so a session that nobody resumes after a start of the broker is kept for
 * ever; whoever started it has to look (birthmark/sweep.c).
 */
#ifndef BM_BROKER_SESSIONS_H
#define BM_BROKER_SESSIONS_H

#include "base/bytes.h"

struct broker_session {
    struct span id; /* client id; borrowed for the call */
    int64_t due_s;  /* of the epoch; 0: it was connected when the file was written */
    uint32_t expiry_s;
    size_t at; /* of due_s in the file */
};
typedef void (*session_fn)(void *arg, const struct broker_session *s);

/* BM_ERR_INPUT: none of mosquitto 2.0, or cut short; what came before that was told. */
enum bm_err broker_sessions_parse(struct span file, session_fn fn, void *arg);
/* The same of a file; one that is not there has none. */
enum bm_err broker_sessions_read(const char *path, session_fn fn, void *arg, struct bm_msg *msg);
/*
 * Before the broker reads it: a session that was connected when the file was written ends
 * its expiry, or `max_s`, from now on. 0: no bound.
 */
enum bm_err broker_sessions_begin(
    const char *path, int64_t now_s, uint32_t max_s, struct bm_msg *msg);

#endif
