/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that take less than comes for them: they do not read, or are over a rate. The broker is
 * not read meanwhile, and would keep all of it: without bound at QoS 0. So after LIMIT_BEHIND_MS
 * the broker is read all the same, and what has QoS 0 is discarded until nothing waits any more;
 * of QoS 1 the broker sends no more than may be in flight. Who takes nothing at all for three times
 * as long, while its buffer is full, is ended.
 */
#include "base/clock.h"
#include "endpoint/inside.h"

enum { STUCK_TIMES = 3, CHECKS = 4, UNSENT_MAX = 16 << 20 };

static bool
is_full(const struct conn *c)
{
    return c->out.len >= HOLD_MAX;
}

static bool
is_held(const struct conn *c)
{
    return c->state == CONN_RELAY && (is_full(c) || c->up_pause != NULL);
}

static bool
is_behind(const struct conn *c)
{
    return c->behind_ms != 0 &&
           clock_mono_ms() - c->behind_ms >= (int64_t)limit(c->w, LIMIT_BEHIND_MS);
}

bool
slow_broker_is_read(const struct conn *c)
{
    return !is_held(c) || (c->out.len < UNSENT_MAX && is_behind(c));
}

/* One record for each time that it is behind. */
bool
slow_discards(struct conn *c, const struct mqtt_publish *m)
{
    if (m->qos != 0 || c->behind_ms == 0 || !is_behind(c)) {
        return false;
    }
    if (c->behind_told_ms == c->behind_ms) {
        metrics_add(&c->w->o->metrics->causes[CAUSE_SLOW], 1);
        return true;
    }
    c->behind_told_ms = c->behind_ms;
    conn_note(c, CAUSE_SLOW, "discarded=\"QoS 0\" behind_ms=%lld unsent_bytes=%zu",
        (long long)(clock_mono_ms() - c->behind_ms), c->out.len);
    return true;
}

void
slow_drained(struct conn *c)
{
    if (!is_held(c)) {
        c->behind_ms = 0;
    }
}

static void
on_check(void *arg)
{
    struct conn *c = arg;
    int64_t now = clock_mono_ms();
    int64_t since = c->took_ms > c->behind_ms ? c->took_ms : c->behind_ms;

    c->behind = NULL;
    if (!is_held(c)) {
        c->behind_ms = 0;
        return;
    }
    if (is_full(c) && now - since >= STUCK_TIMES * (int64_t)limit(c->w, LIMIT_BEHIND_MS)) {
        conn_end(c, CAUSE_SLOW, "took_nothing_ms=%lld unsent_bytes=%zu", (long long)(now - since),
            c->out.len);
        return;
    }
    conn_settle(c);
}

void
slow_watch(struct conn *c)
{
    if (!is_held(c)) {
        return;
    }
    if (c->behind_ms == 0) {
        c->behind_ms = clock_mono_ms();
    }
    if (c->behind == NULL) {
        c->behind = loop_after(c->w->loop, limit(c->w, LIMIT_BEHIND_MS) / CHECKS, on_check, c);
    }
}

void
slow_took(struct conn *c)
{
    if (c->behind_ms != 0) {
        c->took_ms = clock_mono_ms();
    }
}
