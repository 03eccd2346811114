/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iot-data Publish with QoS 1, or of what is retained: done when the broker has acknowledged the
 * message and, if it may be for a session that outlives its connection or is retained, has written
 * its sessions to disk after that, as for a device's (endpoint/acks.c). The rules see it then. A
 * broker that goes away before has perhaps lost it: whoever published is told so.
 */
#include "birthmark/account.h"

#include <stdlib.h>

enum stage { SENT, ACKNOWLEDGED, SAVING, DONE };

struct delivery {
    struct delivery *next;
    enum stage stage;
    int packet_id; /* while SENT */
    bool kept;     /* the broker has to write its sessions after it acknowledged */
    bool retain;
    int qos;
    struct buf topic;
    struct buf payload;
    account_done_fn done;
    void *arg;
};

static void
delivery_free(struct delivery *d)
{
    buf_fini(&d->topic);
    buf_fini(&d->payload);
    free(d);
}

/* False: it is not stored for the rules. */
static bool
enter(struct account *a, struct span topic, struct span payload, int qos, bool retain)
{
    const struct rules_message m = { .topic = topic, .payload = payload, .durable = qos == 1 };

    if (retain)
        (void)account_retained_changed(a, topic, payload.len == 0);
    return account_ingress(a, &m);
}

/* All in this stage are over. */
static void
finish(struct account *a, enum stage stage, enum bm_err err)
{
    struct delivery **at = &a->deliveries;

    while (*at != NULL) {
        struct delivery *d = *at;
        bool stored;

        if (d->stage != stage) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        stored = err == BM_OK &&
                 enter(a, buf_span(&d->topic), buf_span(&d->payload), d->qos, d->retain);
        d->done(d->arg, stored || err != BM_OK || d->qos == 0 ? err : BM_ERR_IO);
        delivery_free(d);
    }
}

/* `done` as in account_publish. */
static enum bm_err
hand_over(struct account *a, struct span topic, struct span payload, int qos, bool retain,
    account_done_fn done, void *arg)
{
    struct delivery *d = calloc(1, sizeof *d);

    if (d == NULL)
        return BM_ERR_MEM;
    *d = (struct delivery){ .next = a->deliveries,
        .kept = upstream_is_ours(a->o.place.broker) && (retain || kept_may(a->kept, topic)),
        .retain = retain,
        .qos = qos,
        .done = done,
        .arg = arg };
    buf_add(&d->topic, topic.ptr, topic.len);
    buf_add(&d->payload, payload.ptr, payload.len);
    if (d->topic.failed || d->payload.failed ||
        broker_publish(a->broker, topic, payload, qos, retain, &d->packet_id) != BM_OK) {
        delivery_free(d);
        return BM_ERR_IO;
    }
    a->deliveries = d;
    return BM_ERR_MORE;
}

enum bm_err
account_publish(struct account *a, struct span topic, struct span payload, int qos, bool retain,
    account_done_fn done, void *arg)
{
    if (qos == 1 || retain)
        return hand_over(a, topic, payload, qos, retain, done, arg);
    if (broker_publish(a->broker, topic, payload, 0, false, NULL) != BM_OK)
        return BM_ERR_IO;
    (void)enter(a, topic, payload, 0, false);
    return BM_OK;
}

bool
account_published(struct account *a, int packet_id)
{
    struct delivery *d = a->deliveries;

    while (d != NULL && (d->stage != SENT || d->packet_id != packet_id))
        d = d->next;
    if (d == NULL)
        return false;
    if (d->kept) {
        d->stage = ACKNOWLEDGED;
        account_save(a);
    } else {
        d->stage = DONE;
        finish(a, DONE, BM_OK);
    }
    return true;
}

void
account_publish_saving(struct account *a)
{
    for (struct delivery *d = a->deliveries; d != NULL; d = d->next) {
        if (d->stage == ACKNOWLEDGED)
            d->stage = SAVING;
    }
}

void
account_publish_saved(struct account *a, bool ok)
{
    finish(a, SAVING, ok ? BM_OK : BM_ERR_IO);
}

void
account_publish_lost(struct account *a)
{
    finish(a, SENT, BM_ERR_IO);
    finish(a, ACKNOWLEDGED, BM_ERR_IO);
}

void
account_publish_forget(struct account *a)
{
    while (a->deliveries != NULL) {
        struct delivery *d = a->deliveries;

        a->deliveries = d->next;
        delivery_free(d);
    }
}
