/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wills before the rules. The broker publishes them, and the rules see them as well, as at AWS: the
 * worker hands a will over when its device is lost. One with a Will Delay Interval waits here, and
 * is forgotten when a client with that id is admitted meanwhile. Nothing of it is on disk, as with
 * the broker.
 */
#include "birthmark/account.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { WILLS_MAX = 10000 };

struct waiting_will {
    struct account *account;
    struct waiting_will *next;
    struct loop_timer *timer;
    uint8_t cert_id[REGISTRY_ID_LEN];
    bool has_cert;
    struct buf client_id;
    struct buf topic;
    struct buf payload;
};

/* Takes it off the list. */
static void
forget(struct waiting_will *w)
{
    struct waiting_will **at = &w->account->wills;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->account->will_count--;
    loop_cancel(w->account->o.loop, w->timer);
    buf_fini(&w->client_id);
    buf_fini(&w->topic);
    buf_fini(&w->payload);
    free(w);
}

static void
on_due(void *arg)
{
    struct waiting_will *w = arg;
    const struct rules_message m = { .topic = buf_span(&w->topic),
        .payload = buf_span(&w->payload),
        .client_id = buf_span(&w->client_id),
        .cert_id = w->has_cert ? w->cert_id : NULL };

    w->timer = NULL;
    (void)account_ingress(w->account, &m);
    forget(w);
}

void
account_will(struct account *a, const struct rules_message *m, uint32_t delay_s)
{
    struct waiting_will *w = a->will_count < WILLS_MAX ? calloc(1, sizeof *w) : NULL;

    if (w == NULL) {
        log_warn("a will with a delay is lost to the rules: %u wait already, or out of memory",
            a->will_count);
        return;
    }
    *w = (struct waiting_will){ .account = a, .next = a->wills, .has_cert = m->cert_id != NULL };
    a->wills = w;
    a->will_count++;
    if (w->has_cert)
        memcpy(w->cert_id, m->cert_id, sizeof w->cert_id);
    buf_add(&w->client_id, m->client_id.ptr, m->client_id.len);
    buf_add(&w->topic, m->topic.ptr, m->topic.len);
    buf_add(&w->payload, m->payload.ptr, m->payload.len);
    w->timer = loop_after(a->o.loop, 1000 * (int64_t)delay_s, on_due, w);
    if (w->client_id.failed || w->topic.failed || w->payload.failed || w->timer == NULL) {
        log_error("out of memory: a will with a delay is lost to the rules");
        forget(w);
    }
}

void
account_will_cancel(struct account *a, struct span client_id)
{
    struct waiting_will *next;

    for (struct waiting_will *w = a->wills; w != NULL; w = next) {
        next = w->next;
        if (span_eq(buf_span(&w->client_id), client_id))
            forget(w);
    }
}

void
account_will_forget(struct account *a)
{
    while (a->wills != NULL)
        forget(a->wills);
}
