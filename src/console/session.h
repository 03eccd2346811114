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
    /* in a minute; then who had them may not try until it is over: */
    LOGINS_FAILED_MAX = 10,  /* of one address with one access key */
    LOGINS_FAILED_ALL = 300, /* of everybody, so that many addresses are not many more tries */
    LOGIN_WHO = 80,
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

struct login_tries {
    char who[LOGIN_WHO];
    int64_t minute_ms; /* when the first of `failed` was */
    unsigned failed;
};

struct sessions {
    struct session all[SESSIONS_MAX];
    struct login_tries everybody;
    struct login_tries tries[LOGINS_FAILED_ALL]; /* of the newest who failed */
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

/*
 * Who tries to log in: from `peer` ("192.0.2.1:40122") with access key number `key`. All of
 * loopback is one address: there may be a proxy in front of us. So is an IPv6 network of /64.
 */
void login_who(char out[LOGIN_WHO], const char *peer, size_t key);
/* May they try now? */
bool sessions_may_try(const struct sessions *s, const char *who, int64_t now_ms);
void sessions_tried_wrong(struct sessions *s, const char *who, int64_t now_ms);

#endif
