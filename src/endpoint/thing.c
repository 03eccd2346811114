/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies may know of the thing that a connection is: its type and attributes, when the
 * client id is the thing's name and the certificate is attached to it. SPEC aws-iot 7.3
 *
 * Control is asked before the first decision of a policy set that uses it, never else, and again
 * whenever the certificate is said to have changed; until that answer the old facts stand. An
 * answer is newer than each such message before it, so one question in flight is enough.
 */
#include "base/log.h"
#include "endpoint/inside.h"
#include "registry/registry.h"

#include <stdio.h>
#include <string.h>

static void
refuse(struct conn *c, const char *why)
{
    if (c->state == CONN_POLICY) {
        conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_UNAVAILABLE, "asked=thing error=%s", why);
    } else { /* it was told to change and cannot learn to what */
        conn_dismiss(c, CAUSE_CONTROL_DOWN, REASON_NOT_AUTHORIZED, "asked=thing error=%s", why);
    }
}

static void
ask(struct conn *c)
{
    struct worker *w = c->w;
    uint32_t request;
    enum bm_err err;

    if (c->links[BY_REQUEST].linked) {
        return;
    }
    request = control_request(w);
    w->tx.type = LINK_THING;
    w->tx.account = c->account;
    w->tx.request = request;
    memcpy(w->tx.u.thing.cert_id, c->cert_id, sizeof c->cert_id);
    w->tx.u.thing.client_id = span_str(c->client_id);
    err = control_send(w);
    if (err == BM_OK) {
        err = index_add(&w->by_request, c, request);
    }
    if (err != BM_OK) {
        refuse(c, bm_err_name(err));
    } else if (c->state == CONN_POLICY) {
        conn_deadline(c, CONTROL_WAIT_MS);
    }
}

bool
thing_ready(struct conn *c, const struct policy_set *set)
{
    if (c->thing_known || set->state != SET_READY || !set->uses_thing) {
        return true;
    }
    ask(c);
    return false;
}

void
thing_changed(struct conn *c)
{
    c->thing_known = false;
    if (c->state != CONN_CLOSING && c->state != CONN_CLOSED && c->policies != NULL) {
        (void)thing_ready(c, c->policies);
    }
}

static enum bm_err
take(struct conn *c, const struct link_msg *m, struct bm_msg *msg)
{
    char type[REGISTRY_NAME_MAX + 1];

    policy_thing_free(c->thing);
    c->thing = NULL;
    if (m->u.facts.found != FACTS_ATTACHED) {
        return BM_OK;
    }
    (void)snprintf(type, sizeof type, "%.*s", (int)m->u.facts.type.len, m->u.facts.type.ptr);
    return policy_thing_new(type, m->u.facts.attributes, &c->thing, msg);
}

void
thing_facts(struct worker *w, const struct link_msg *m)
{
    struct conn *c = index_first(&w->by_request, m->request);
    struct bm_msg msg = { "" };

    if (c == NULL || c->state == CONN_VERDICT) {
        return; /* it left meanwhile */
    }
    index_remove(&w->by_request, c);
    if (m->u.facts.found == FACTS_FAILED) {
        refuse(c, "\"the registry failed\"");
    } else if (take(c, m, &msg) != BM_OK) {
        log_error("the thing \"%s\": %s", c->client_id, msg.text);
        refuse(c, "\"the thing cannot be read\"");
    } else {
        c->thing_known = true;
        if (c->waits_for == NULL && (c->state == CONN_POLICY || c->next_policies != NULL)) {
            hello_policies_ready(c);
        }
    }
    conn_settle(c);
}

void
thing_control_down(struct conn *c)
{
    if (c->links[BY_REQUEST].linked) {
        index_remove(&c->w->by_request, c);
        refuse(c, bm_err_name(BM_ERR_CLOSED));
        conn_settle(c);
    }
}
