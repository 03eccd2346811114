/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules publish. With QoS 1, of a message whose publisher is told that it is stored: a row of
 * the registry, in the group that stores what else the message causes. It is sent when the group is
 * on disk, in the order of the rows, and the row goes when the broker has acknowledged it and, if
 * it may be for a session that outlives its connection, has written its sessions to disk after
 * that. So at least once whatever is killed, and once when nothing is.
 *
 * Anything else goes to the broker at once, and is at most once, as what caused it.
 */
#include "birthmark/account.h"

#include "base/log.h"

#include <string.h>

enum stage { SENT, ACKNOWLEDGED, SAVING, DONE };

static struct republished *
at(struct account *a, unsigned i)
{
    return &a->republished.ring[(a->republished.first + i) % REPUBLISHED_IN_FLIGHT];
}

enum bm_err
account_republish(struct account *a, struct span topic, struct span payload, int qos, bool durable)
{
    struct bm_msg msg;

    if (!durable)
        return broker_publish(a->broker, topic, payload, qos, false, NULL);
    if (registry_republished_add(a->registry, topic, payload, &msg) != BM_OK) {
        log_error("a rule's message is not stored: %s", msg.text);
        return BM_ERR_IO;
    }
    a->republished.more = true;
    a->o.commit(a->o.arg, true);
    return BM_OK;
}

static void
gone(struct account *a, int64_t id)
{
    struct bm_msg msg;

    if (registry_republished_done(a->registry, id, &msg) != BM_OK)
        log_error("a rule's message is published again at the next start: %s", msg.text);
    a->o.commit(a->o.arg, false);
}

static void
send_one(void *arg, const struct registry_republished *m)
{
    struct account *a = arg;
    struct republished *r = at(a, a->republished.count);
    enum bm_err err;

    if (!a->republished.more)
        return;
    *r = (struct republished){ .id = m->id,
        .stage = SENT,
        .kept = upstream_is_ours(a->o.place.broker) && kept_may(a->kept, m->topic) };
    err = broker_publish(a->broker, m->topic, m->payload, 1, false, &r->packet_id);
    if (err == BM_ERR_IO) { /* from here on again, when it is connected to anew */
        a->republished.more = false;
        return;
    }
    a->republished.seen = m->id;
    a->republished.count++;
    if (err == BM_OK)
        return;
    log_error("a rule's message is dropped: no broker takes the topic '%.*s'",
        (int)(m->topic.len < 256 ? m->topic.len : 256), (const char *)m->topic.ptr);
    r->stage = DONE;
    gone(a, m->id);
}

/* The first ones that are done make room. */
static void
make_room(struct account *a)
{
    while (a->republished.count > 0 && at(a, 0)->stage == DONE) {
        a->republished.first = (a->republished.first + 1) % REPUBLISHED_IN_FLIGHT;
        a->republished.count--;
    }
}

void
account_republish_pump(struct account *a)
{
    size_t room = REPUBLISHED_IN_FLIGHT - a->republished.count;
    int64_t seen = a->republished.seen;
    struct bm_msg msg;

    if (!a->republished.more || room == 0 || !broker_up(a->broker))
        return;
    if (registry_republished_list(a->registry, seen, room, send_one, a, &msg) != BM_OK)
        log_error("cannot read what rules publish: %s", msg.text);
    else if (a->republished.count < REPUBLISHED_IN_FLIGHT)
        a->republished.more = false;
}

/* A new connection knows nothing of what the old one had in flight. */
void
account_republish_again(struct account *a)
{
    memset(&a->republished, 0, sizeof a->republished);
    a->republished.more = true;
}

bool
account_republish_acknowledged(struct account *a, int packet_id)
{
    struct republished *r = NULL;

    for (unsigned i = 0; i < a->republished.count && r == NULL; i++) {
        if (at(a, i)->packet_id == packet_id)
            r = at(a, i);
    }
    if (r == NULL)
        return false;
    r->packet_id = 0;
    if (r->kept) {
        r->stage = ACKNOWLEDGED;
        account_save(a);
        return true;
    }
    r->stage = DONE;
    gone(a, r->id);
    make_room(a);
    return true;
}

void
account_republish_saving(struct account *a)
{
    for (unsigned i = 0; i < a->republished.count; i++) {
        if (at(a, i)->stage == ACKNOWLEDGED)
            at(a, i)->stage = SAVING;
    }
}

/* Not saved: it waits for the next time. */
void
account_republish_saved(struct account *a, bool ok)
{
    for (unsigned i = 0; i < a->republished.count; i++) {
        struct republished *r = at(a, i);

        if (r->stage != SAVING)
            continue;
        r->stage = ok ? DONE : ACKNOWLEDGED;
        if (ok)
            gone(a, r->id);
        else
            a->saving.wanted = true;
    }
    make_room(a);
}
