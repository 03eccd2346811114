/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is logged in. A session is a random number in a cookie and a second one, the token, that the
 * page sends in a header with every request that changes something: another page can make the
 * browser send the cookie, but not the header.
 *
 * Kept in memory only: a restart of the cloud ends all sessions. Ends after an hour without a
 * request, after twelve hours in any case, or when SESSIONS_MAX newer ones came. Times are
 * monotonic milliseconds of the caller.
 */
#ifndef BM_CONSOLE_SESSION_H
#define BM_CONSOLE_SESSION_H

#include "base/bytes.h"

enum {
    SESSIONS_MAX = 32,
    SESSION_TEXT = 65, /* 32 bytes in hex, terminated */
    SESSION_IDLE_MS = 60 * 60 * 1000,
    SESSION_LIFE_MS = 12 * 60 * 60 * 1000,
    LOGINS_FAILED_MAX = 10, /* a minute; then nobody may try until it is over */
};

struct session {
    bool live;
    size_t key; /* with which one it logged in */
    char cookie[SESSION_TEXT];
    char token[SESSION_TEXT];
    int64_t begun_ms;
    int64_t seen_ms;
    bool cut; /* a stream of it was dropped because it was read too slowly */
};

struct sessions {
    struct session all[SESSIONS_MAX];
    int64_t minute_ms; /* when the first of `failed` was */
    unsigned failed;
};

/* The oldest makes room. NULL: no random numbers. */
struct session *sessions_begin(struct sessions *s, size_t key, int64_t now_ms);
/* By the cookie's value, and count it as used; NULL: none, or it has ended. */
struct session *sessions_find(struct sessions *s, struct span cookie, int64_t now_ms);
bool session_is_live(const struct session *one, int64_t now_ms);
/* Is this its token? NULL is not. */
bool session_token_fits(const struct session *one, const char *token);
void session_end(struct session *one);
bool sessions_any(const struct sessions *s, int64_t now_ms);

/* May somebody try to log in now? */
bool sessions_may_try(const struct sessions *s, int64_t now_ms);
void sessions_tried_wrong(struct sessions *s, int64_t now_ms);

#endif
