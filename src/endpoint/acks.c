/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBACKs that a client must not get yet: what it published is for rules, and control has not
 * stored it. A message that rules look at goes to control with a number; control tells up to which
 * number it has committed (LINK_STORED). Until then the PUBACK waits here, and those of later
 * messages behind it, because the client gets them in the order of its messages (MQTT 4.6).
 *
 * A connection has a queue only while one of its PUBACKs waits. When control could not store, or is
 * gone, the connection ends without them, and the client sends again.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <stdlib.h>
#include <string.h>

enum { ACKS_FIRST = 8 };

struct ack {
    uint32_t number; /* of control's store; 0: needs none */
    uint16_t packet_id;
    uint8_t code;
    bool answered; /* by the broker, or nobody else has to */
};

struct acks {
    struct conn *conn;
    struct acks *next; /* of the account's connections that wait */
    struct acks *prev;
    struct ack *list;
    size_t first;
    size_t end;
    size_t cap;
};

/* Numbers go round: is `a` not after `b`? */
static bool
reached(uint32_t a, uint32_t b)
{
    return (int32_t)(b - a) >= 0;
}

static struct worker_account *
account_of(struct conn *c)
{
    return &c->w->accounts[c->account];
}

/* ---- the queue ---- */

static struct acks *
open_queue(struct conn *c)
{
    struct worker_account *a = account_of(c);
    struct acks *q = calloc(1, sizeof *q);

    if (q == NULL) {
        return NULL;
    }
    *q = (struct acks){ .conn = c, .next = a->waiting };
    if (q->next != NULL) {
        q->next->prev = q;
    }
    a->waiting = q;
    c->acks = q;
    return q;
}

void
acks_forget(struct conn *c)
{
    struct acks *q = c->acks;

    if (q == NULL) {
        return;
    }
    *(q->prev != NULL ? &q->prev->next : &account_of(c)->waiting) = q->next;
    if (q->next != NULL) {
        q->next->prev = q->prev;
    }
    free(q->list);
    free(q);
    c->acks = NULL;
}

/* The place for one more; NULL: no memory. */
static struct ack *
append(struct acks *q)
{
    if (q->end == q->cap && q->first > 0) {
        memmove(q->list, &q->list[q->first], (q->end - q->first) * sizeof *q->list);
        q->end -= q->first;
        q->first = 0;
    }
    if (q->end == q->cap) {
        size_t cap = q->cap == 0 ? (size_t)ACKS_FIRST : 2 * q->cap;
        struct ack *list = realloc(q->list, cap * sizeof *list);

        if (list == NULL) {
            return NULL;
        }
        q->list = list;
        q->cap = cap;
    }
    return &q->list[q->end++];
}

bool
acks_full(const struct conn *c)
{
    return c->acks != NULL && c->acks->end - c->acks->first >= ACKS_MAX;
}

static void
add(struct conn *c, struct ack ack)
{
    struct acks *q = c->acks != NULL ? c->acks : open_queue(c);
    struct ack *place = q != NULL ? append(q) : NULL;

    if (place == NULL) {
        conn_end(c, CAUSE_CONTROL_DOWN, "error=\"out of memory\"");
        return;
    }
    *place = ack;
}

/* ---- what happens ---- */

static void
count_one(struct conn *c)
{
    if (c->in_flight < UINT16_MAX) {
        c->in_flight++;
    }
}

static void
give(struct conn *c, uint16_t packet_id, uint8_t code)
{
    if (packet_id == c->timed_id) {
        metrics_latency(c->w->o->metrics, LATENCY_PUBLISH, clock_mono_us() - c->timed_us);
        c->timed_id = 0;
    }
    if (c->in_flight > 0) {
        c->in_flight--;
    }
    mqtt_build_puback(&c->out, c->level, packet_id, code);
}

/* Give what may be given now. The queue may be gone afterwards. */
static void
release(struct conn *c)
{
    struct acks *q = c->acks;
    uint32_t stored = account_of(c)->stored;

    while (q->first < q->end && q->list[q->first].answered &&
           (q->list[q->first].number == 0 || reached(q->list[q->first].number, stored))) {
        give(c, q->list[q->first].packet_id, q->list[q->first].code);
        q->first++;
    }
    if (q->first == q->end) {
        acks_forget(c);
    }
}

void
acks_expect(struct conn *c, uint16_t packet_id, uint32_t number, bool answered)
{
    count_one(c);
    if (c->timed_id == 0) {
        c->timed_id = packet_id;
        c->timed_us = clock_mono_us();
    }
    if (number != 0 || c->acks != NULL) {
        add(c, (struct ack){ .number = number, .packet_id = packet_id, .answered = answered });
    }
}

void
acks_answer(struct conn *c, uint16_t packet_id, uint8_t code)
{
    struct acks *q = c->acks;
    size_t i = q != NULL ? q->first : 0;

    while (q != NULL && i < q->end && (q->list[i].packet_id != packet_id || q->list[i].answered)) {
        i++;
    }
    if (q == NULL || i == q->end) { /* published before anything that waits */
        give(c, packet_id, code);
        return;
    }
    q->list[i].answered = true;
    q->list[i].code = code;
    release(c);
}

void
acks_refuse(struct conn *c, uint16_t packet_id, uint8_t code)
{
    if (c->acks != NULL) {
        count_one(c);
        add(c, (struct ack){ .packet_id = packet_id, .code = code, .answered = true });
    } else {
        mqtt_build_puback(&c->out, c->level, packet_id, code);
    }
}

/* Is a message of its queue among those that were not stored? */
static bool
lost_one(const struct acks *q, uint32_t from, uint32_t to)
{
    for (size_t i = q->first; i < q->end; i++) {
        uint32_t n = q->list[i].number;

        if (n != 0 && !reached(n, from) && reached(n, to)) {
            return true;
        }
    }
    return false;
}

void
acks_stored(struct worker *w, uint8_t account, uint32_t number, bool ok)
{
    struct worker_account *a = &w->accounts[account];
    uint32_t before = a->stored;
    struct acks *next;

    a->stored = number;
    for (struct acks *q = a->waiting; q != NULL; q = next) {
        struct conn *c = q->conn;

        next = q->next;
        if (!ok && lost_one(q, before, number)) {
            conn_end(c, CAUSE_CONTROL_DOWN, "rules=\"a message could not be stored for them\"");
            continue;
        }
        release(c);
        conn_settle(c);
    }
}

static void
on_control_down(void *arg)
{
    struct worker *w = arg;

    for (size_t i = 0; i < w->o->account_count; i++) {
        while (w->accounts[i].waiting != NULL) {
            conn_end(w->accounts[i].waiting->conn, CAUSE_CONTROL_DOWN,
                "rules=\"control is gone: a message may not be stored for them\"");
        }
    }
}

/* Not at once: whoever finds that control is gone may be at work for one of them. */
void
acks_control_down(struct worker *w)
{
    if (loop_after(w->loop, 0, on_control_down, w) == NULL) {
        log_error("out of memory: who waits for an acknowledgement of control stays connected");
    }
}
