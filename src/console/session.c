/* SPDX-License-Identifier: Apache-2.0 */
/* See session.h. */
#include "console/session.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { TOKEN_LEN = (SESSION_TEXT - 1) / 2, MINUTE_MS = 60000 };

static bool
random_text(char out[SESSION_TEXT])
{
    uint8_t raw[TOKEN_LEN];
    bool made = getrandom(raw, sizeof raw, 0) == (ssize_t)sizeof raw;

    if (made)
        hex_encode(out, raw, sizeof raw);
    bm_wipe(raw, sizeof raw);
    return made;
}

bool
session_is_live(const struct session *one, int64_t now_ms)
{
    return one->live && now_ms - one->seen_ms < SESSION_IDLE_MS &&
           now_ms - one->begun_ms < SESSION_LIFE_MS;
}

struct session *
sessions_begin(struct sessions *s, size_t key, int64_t now_ms)
{
    struct session *room = &s->all[0];
    struct session fresh = { .live = true, .key = key, .begun_ms = now_ms, .seen_ms = now_ms };

    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (!session_is_live(&s->all[i], now_ms)) {
            room = &s->all[i];
            break;
        }
        if (s->all[i].seen_ms < room->seen_ms)
            room = &s->all[i];
    }
    if (!random_text(fresh.cookie) || !random_text(fresh.token))
        return NULL;
    *room = fresh;
    return room;
}

struct session *
sessions_find(struct sessions *s, struct span cookie, int64_t now_ms)
{
    struct session *found = NULL;

    if (cookie.len != SESSION_TEXT - 1)
        return NULL;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (session_is_live(&s->all[i], now_ms) &&
            bm_equal_ct(s->all[i].cookie, cookie.ptr, cookie.len))
            found = &s->all[i];
    }
    if (found != NULL)
        found->seen_ms = now_ms;
    return found;
}

bool
session_token_fits(const struct session *one, const char *token)
{
    return token != NULL && strlen(token) == SESSION_TEXT - 1 &&
           bm_equal_ct(one->token, token, SESSION_TEXT - 1);
}

void
session_end(struct session *one)
{
    bm_wipe(one, sizeof *one);
}

bool
sessions_any(const struct sessions *s, int64_t now_ms)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (session_is_live(&s->all[i], now_ms))
            return true;
    }
    return false;
}

/* ---- tries ---- */

void
login_who(char out[LOGIN_WHO], const char *peer, size_t key)
{
    char address[INET6_ADDRSTRLEN] = "";
    struct in6_addr v6;
    size_t len;

    peer += peer[0] == '[';
    len = strcspn(peer, strchr(peer, ']') != NULL ? "]" : ":");
    (void)snprintf(address, sizeof address, "%.*s", (int)len, peer);
    if (inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_V4MAPPED(&v6)) {
        (void)inet_ntop(AF_INET, &v6.s6_addr[12], address, sizeof address);
    } else if (inet_pton(AF_INET6, address, &v6) == 1) {
        bool loopback = IN6_IS_ADDR_LOOPBACK(&v6);

        memset(&v6.s6_addr[8], 0, 8);
        (void)inet_ntop(AF_INET6, &v6, address, sizeof address);
        if (loopback)
            address[0] = '\0';
    }
    if (strncmp(address, "127.", 4) == 0)
        address[0] = '\0';
    (void)snprintf(out, LOGIN_WHO, "%s key %zu", address, key);
}

static bool
is_past(const struct login_tries *t, int64_t now_ms)
{
    return t->failed == 0 || now_ms - t->minute_ms >= MINUTE_MS;
}

static void
count_try(struct login_tries *t, int64_t now_ms)
{
    if (is_past(t, now_ms)) {
        t->minute_ms = now_ms;
        t->failed = 0;
    }
    t->failed++;
}

bool
sessions_may_try(const struct sessions *s, const char *who, int64_t now_ms)
{
    for (size_t i = 0; i < LOGINS_FAILED_ALL; i++) {
        const struct login_tries *t = &s->tries[i];

        if (t->failed >= LOGINS_FAILED_MAX && !is_past(t, now_ms) && strcmp(t->who, who) == 0)
            return false;
    }
    return s->everybody.failed < LOGINS_FAILED_ALL || is_past(&s->everybody, now_ms);
}

void
sessions_tried_wrong(struct sessions *s, const char *who, int64_t now_ms)
{
    struct login_tries *mine = &s->tries[0];

    for (size_t i = 0; i < LOGINS_FAILED_ALL; i++) {
        struct login_tries *t = &s->tries[i];

        if (t->failed > 0 && strcmp(t->who, who) == 0) {
            mine = t;
            break;
        }
        if (mine->failed > 0 && (t->failed == 0 || t->minute_ms < mine->minute_ms))
            mine = t;
    }
    if (strcmp(mine->who, who) != 0)
        mine->failed = 0; /* the oldest makes room */
    (void)snprintf(mine->who, sizeof mine->who, "%s", who);
    count_try(mine, now_ms);
    count_try(&s->everybody, now_ms);
}
