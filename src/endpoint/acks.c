/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBACKs that a client must not get yet: what it published is for rules, and control has not
 * stored it. A message that rules look at goes to control with a number; control tells up to which
 * number it has committed (LINK_STORED). Until then the PUBACK waits here, and those of later
 * messages behind it, because the client gets them in the order of its messages (MQTT 4.6).
 *
 * The same holds for a message that the broker may have to keep for a session that outlives its
 * connection (kept.h), or as retained: mosquitto acknowledges what it has in memory. So control has
 * it write its sessions to disk, once for all who wait, after it acknowledged (LINK_SAVE).
 *
 * A connection has a queue only while one of its PUBACKs waits: for the above, or, of a message
 * that went nowhere, for the broker's of earlier ones, which have no place in it and are counted.
 * When control could not store, or is gone, the connection ends without them, and the client sends
 * again.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <stdlib.h>
#include <string.h>

enum { ACKS_FIRST = 8 };

struct ack {
    uint32_t number; /* of control's store; 0: needs none */
    uint32_t save;   /* when answered: of the broker's store */
    char *why;       /* Reason String; NULL: none */
    uint16_t packet_id;
    uint8_t code;
    bool answered; /* by the broker, or nobody else has to */
    bool kept;     /* the broker has to store it */
};

struct acks {
    struct conn *conn;
    struct acks *next; /* of the account's connections that wait */
    struct acks *prev;
    struct ack *list;
    size_t first;
    size_t end;
    size_t cap;
    unsigned ahead; /* in flight since before there was a queue: theirs come first */
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
    *q = (struct acks){ .conn = c, .next = a->waiting, .ahead = c->in_flight };
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
    for (size_t i = q->first; i < q->end; i++) {
        free(q->list[i].why);
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
        free(ack.why);
        conn_end(c, CAUSE_OUT_OF_MEMORY, "at=PUBACK");
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
give(struct conn *c, uint16_t packet_id, uint8_t code, const char *why)
{
    struct buf properties = { 0 };

    if (packet_id == c->timed_id) {
        metrics_latency(c->w->o->metrics, LATENCY_PUBLISH, clock_mono_us() - c->timed_us);
        c->timed_id = 0;
    }
    if (c->in_flight > 0) {
        c->in_flight--;
    }
    reason_property(why, &properties);
    mqtt_build_puback(&c->out, c->level, packet_id, code, buf_span(&properties));
    buf_fini(&properties);
}

static bool
may_go(const struct worker_account *a, const struct ack *k)
{
    return k->answered && (k->number == 0 || reached(k->number, a->stored)) &&
           (!k->kept || reached(k->save, a->save_done));
}

/* Give what may be given now. The queue may be gone afterwards. */
static void
release(struct conn *c)
{
    struct acks *q = c->acks;

    while (q->ahead == 0 && q->first < q->end && may_go(account_of(c), &q->list[q->first])) {
        struct ack *k = &q->list[q->first++];

        give(c, k->packet_id, k->code, k->why);
        free(k->why);
    }
    if (q->first == q->end) {
        acks_forget(c);
    }
}

void
acks_expect(struct conn *c, uint16_t packet_id, uint32_t number, bool answered, bool kept)
{
    if (c->timed_id == 0) {
        c->timed_id = packet_id;
        c->timed_us = clock_mono_us();
    }
    if (number != 0 || kept || c->acks != NULL) {
        add(c, (struct ack){
                   .number = number, .packet_id = packet_id, .answered = answered, .kept = kept });
    }
    count_one(c);
}

static void
ask_for_save(struct worker *w, uint8_t account)
{
    struct worker_account *a = &w->accounts[account];
    uint32_t next = a->save_asked + 1 != 0 ? a->save_asked + 1 : 1;

    a->save_wanted = false;
    w->tx.type = LINK_SAVE;
    w->tx.account = account;
    w->tx.request = next;
    if (control_send(w) == BM_OK) {
        a->save_asked = next;
    } else { /* its queue is full: a question has its place, so this is no memory, or the end */
        a->save_wanted = true;
        log_error("control can not be asked to have the broker's sessions written");
    }
}

/* Number of a save that begins after now. One is under way at most. */
static uint32_t
next_save(struct conn *c)
{
    struct worker_account *a = account_of(c);
    uint32_t next = a->save_asked + 1 != 0 ? a->save_asked + 1 : 1;

    if (a->save_asked == a->save_done) {
        ask_for_save(c->w, c->account);
    } else {
        a->save_wanted = true;
    }
    return next;
}

void
acks_save(struct conn *c)
{
    if (c->kept) {
        (void)next_save(c);
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
        give(c, packet_id, code, NULL);
        if (q != NULL && q->ahead > 0) {
            q->ahead--;
            release(c);
        }
        return;
    }
    q->list[i].answered = true;
    q->list[i].code = code;
    if (q->list[i].kept) {
        q->list[i].save = next_save(c);
    }
    release(c);
}

void
acks_refuse(
    struct conn *c, uint16_t packet_id, uint8_t code, enum cause cause, const char *evidence)
{
    char *why = reason_text(c, REASON_STAYS, cause, evidence);

    if (c->acks == NULL && c->in_flight == 0) {
        count_one(c);
        give(c, packet_id, code, why);
        free(why);
        return;
    }
    add(c, (struct ack){ .packet_id = packet_id, .code = code, .answered = true, .why = why });
    count_one(c);
}

/* Is a message of its queue among those that were not stored, or not saved? */
static bool
lost_one(const struct acks *q, uint32_t from, uint32_t to, bool saved)
{
    for (size_t i = q->first; i < q->end; i++) {
        uint32_t n = saved ? q->list[i].save : q->list[i].number;

        if (n != 0 && !reached(n, from) && reached(n, to)) {
            return true;
        }
    }
    return false;
}

/* All up to `to` are stored, or saved; or those after `from` are lost. */
static void
look_at_all(struct worker *w, uint8_t account, uint32_t from, uint32_t to, bool saved, bool ok)
{
    struct acks *next;

    for (struct acks *q = w->accounts[account].waiting; q != NULL; q = next) {
        struct conn *c = q->conn;

        next = q->next;
        if (!ok && lost_one(q, from, to, saved)) {
            conn_end(c, saved ? CAUSE_BROKER_DOWN : CAUSE_CONTROL_DOWN, "%s",
                saved ? "sessions=\"the broker could not write a message to disk\""
                      : "rules=\"a message could not be stored for them\"");
            continue;
        }
        release(c);
        conn_settle(c);
    }
}

void
acks_stored(struct worker *w, uint8_t account, uint32_t number, bool ok)
{
    uint32_t before = w->accounts[account].stored;

    w->accounts[account].stored = number;
    look_at_all(w, account, before, number, false, ok);
}

void
acks_saved(struct worker *w, uint8_t account, uint32_t number, bool ok)
{
    struct worker_account *a = &w->accounts[account];
    uint32_t before = a->save_done;

    a->save_done = number;
    look_at_all(w, account, before, number, true, ok);
    if (a->save_wanted && a->save_asked == a->save_done) {
        ask_for_save(w, account);
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
