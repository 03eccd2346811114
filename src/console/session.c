/* SPDX-License-Identifier: Apache-2.0 */
/* See session.h. */
#include "console/session.h"

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

bool
sessions_may_try(const struct sessions *s, int64_t now_ms)
{
    return s->failed < LOGINS_FAILED_MAX || now_ms - s->minute_ms >= MINUTE_MS;
}

void
sessions_tried_wrong(struct sessions *s, int64_t now_ms)
{
    if (s->failed == 0 || now_ms - s->minute_ms >= MINUTE_MS) {
        s->minute_ms = now_ms;
        s->failed = 0;
    }
    s->failed++;
}
