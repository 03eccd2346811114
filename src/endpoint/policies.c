/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled policy sets by account and number. A number stands for the same documents for ever, so a
 * set is fetched and compiled once for all connections that use it, and dropped when none does and
 * the cache is full. A set with a document that does not compile is not usable at all: leaving one
 * document out could leave a Deny out.
 */
#include "base/log.h"
#include "endpoint/inside.h"

#include <stdlib.h>
#include <string.h>

static void
set_free(struct policy_set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        policy_free(s->list[i]);
        free(s->names[i]);
    }
    free(s->list);
    free(s->names);
    free(s);
}

static struct policy_set **
chain_of(struct worker *w, uint8_t account, uint32_t number)
{
    return &w->sets[(number + account) % SET_CHAINS];
}

static struct policy_set *
find(struct worker *w, uint8_t account, uint32_t number)
{
    struct policy_set *s = *chain_of(w, account, number);

    while (s != NULL && (s->number != number || s->account != account || s->state == SET_MISSING)) {
        s = s->next;
    }
    return s;
}

static void
forget_unused_in(struct worker *w, struct policy_set **at)
{
    while (*at != NULL) {
        struct policy_set *s = *at;

        if (s->refs > 0) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        w->set_count--;
        set_free(s);
    }
}

/* A fleet with a policy for each device uses as many sets as it has devices connected. */
static void
forget_unused(struct worker *w)
{
    for (size_t i = 0; i < SET_CHAINS; i++) {
        forget_unused_in(w, &w->sets[i]);
    }
    w->sets_max = w->set_count > SETS_MIN / 2 ? 2 * w->set_count : SETS_MIN;
}

static enum bm_err
ask(struct worker *w, uint8_t account, uint32_t number)
{
    w->tx.account = account;
    w->tx.type = LINK_POLICY;
    w->tx.request = control_request(w);
    w->tx.u.policy.set = number;
    return control_send(w);
}

enum bm_err
policies_get(struct worker *w, uint8_t account, uint32_t number, struct policy_set **out)
{
    struct policy_set *s = find(w, account, number);
    enum bm_err err;

    *out = NULL;
    if (s == NULL) {
        err = ask(w, account, number);
        if (err != BM_OK) {
            return err;
        }
        if (w->set_count >= w->sets_max) {
            forget_unused(w);
        }
        s = calloc(1, sizeof *s);
        if (s == NULL) {
            return BM_ERR_MEM;
        }
        s->account = account;
        s->number = number;
        s->next = *chain_of(w, account, number);
        *chain_of(w, account, number) = s;
        w->set_count++;
    }
    s->refs++;
    *out = s;
    return BM_OK;
}

void
policies_put(struct policy_set *set)
{
    if (set != NULL) {
        set->refs--;
    }
}

void
policies_wait(struct policy_set *set, struct conn *c)
{
    c->waits_for = set;
    c->wait_next = set->waiting;
    set->waiting = c;
}

void
policies_stop_waiting(struct conn *c)
{
    struct conn **at;

    if (c->waits_for == NULL) {
        return;
    }
    for (at = &c->waits_for->waiting; *at != c; at = &(*at)->wait_next) {
    }
    *at = c->wait_next;
    c->waits_for = NULL;
    c->wait_next = NULL;
}

static bool
compile(struct policy_set *s, const struct link_msg *m)
{
    struct bm_msg msg = { "" };

    s->list = calloc(m->u.documents.count + 1, sizeof *s->list);
    s->names = calloc(m->u.documents.count + 1, sizeof *s->names);
    if (s->list == NULL || s->names == NULL || m->u.documents.found == 0) {
        return false;
    }
    for (uint32_t i = 0; i < m->u.documents.count; i++) {
        struct span name = m->u.documents.names[i];

        if (policy_parse(m->u.documents.docs[i], &s->list[i], &msg) != BM_OK) {
            log_error(
                "policy set %u: policy %.*s: %s", s->number, (int)name.len, name.ptr, msg.text);
            return false;
        }
        s->count++;
        s->names[i] = strndup((const char *)name.ptr, name.len);
        if (s->names[i] == NULL) {
            return false;
        }
        s->uses_certificate = s->uses_certificate || policy_uses_certificate(s->list[i]);
        s->uses_thing = s->uses_thing || policy_uses_thing(s->list[i]);
    }
    return true;
}

/* One at a time: serving a waiter may close it or others. */
static void
serve(struct policy_set *s)
{
    while (s->waiting != NULL) {
        struct conn *c = s->waiting;

        policies_stop_waiting(c);
        hello_policies_ready(c);
        conn_settle(c);
    }
}

void
policies_documents(struct worker *w, const struct link_msg *m)
{
    struct policy_set *s = find(w, m->account, m->u.documents.set);

    if (s == NULL || s->state != SET_LOADING) {
        return;
    }
    s->refs++;
    s->state = compile(s, m) ? SET_READY : SET_MISSING;
    serve(s);
    s->refs--; /* a missing one is asked for again by the next who needs it */
}

static void
refuse_waiting(struct policy_set *s)
{
    while (s->waiting != NULL) {
        struct conn *c = s->waiting;

        policies_stop_waiting(c);
        /* else it was told to change and cannot learn to what */
        conn_dismiss(c, CAUSE_CONTROL_DOWN,
            c->state == CONN_RELAY ? REASON_NOT_AUTHORIZED : REASON_UNAVAILABLE, "asked=policies");
        conn_settle(c);
    }
}

void
policies_control_down(struct worker *w)
{
    for (size_t i = 0; i < SET_CHAINS; i++) {
        for (struct policy_set *s = w->sets[i]; s != NULL; s = s->next) {
            if (s->state == SET_LOADING) {
                s->state = SET_MISSING;
                refuse_waiting(s);
            }
        }
    }
}

void
policies_fini(struct worker *w)
{
    for (size_t i = 0; i < SET_CHAINS; i++) {
        while (w->sets[i] != NULL) {
            struct policy_set *s = w->sets[i];

            w->sets[i] = s->next;
            set_free(s);
        }
    }
    w->set_count = 0;
}
