/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See workers.h.
 *
 * What a worker asks and is answered lies in one packet each (endpoint/link.h). An answer that
 * rests on what its account has not committed yet waits for that: verdicts, and up to which number
 * messages are stored.
 */
#include "birthmark/workers.h"

#include "base/log.h"
#include "endpoint/admit.h"
#include "endpoint/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    VERDICTS_MAX = 1024, /* answers that wait for one commit */
    QUESTIONS_MAX = 256,
    READS_PER_ROUND = 64, /* packets taken from one worker before the others have their turn */
};

/* Messages of a worker that wait for the account's commit. */
struct taken {
    uint32_t newest; /* 0: none */
    bool failed;     /* one of them could not be stored: none is acknowledged */
    uint32_t save;   /* it wants the broker's sessions on disk; 0: does not */
    uint32_t saving; /* it is told when the save under way is done; 0: is not */
};

struct worker_link {
    struct workers *workers;
    int fd;
    struct loop_watch *watch;
    struct buf backlog; /* packets that found the socket full: u32 length, bytes */
    struct taken taken[ACCOUNTS_MAX];
    struct worker_link *next;
};

struct verdict {
    struct worker_link *link; /* NULL: the worker is gone */
    uint8_t account;
    uint32_t request;
    enum cause cause;
};

/* Of LINK_THING. */
struct thing_question {
    struct worker_link *link; /* NULL: the worker is gone */
    uint8_t account;
    uint32_t request;
    uint8_t cert_id[REGISTRY_ID_LEN];
    char name[REGISTRY_NAME_MAX + 1];
};

struct workers {
    struct workers_options o;
    struct worker_link *links;
    struct issuer_cache issuers;
    struct verdict verdicts[VERDICTS_MAX];
    size_t verdict_count;
    struct thing_question questions[QUESTIONS_MAX];
    size_t question_count;
    uint8_t packet[LINK_MESSAGE_MAX];
};

/* ---- links ---- */

static void
drop_link(struct worker_link *l)
{
    struct workers *w = l->workers;

    for (struct worker_link **at = &w->links; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    for (size_t i = 0; i < w->verdict_count; i++) {
        if (w->verdicts[i].link == l)
            w->verdicts[i].link = NULL;
    }
    for (size_t i = 0; i < w->question_count; i++) {
        if (w->questions[i].link == l)
            w->questions[i].link = NULL;
    }
    loop_remove(w->o.loop, l->watch);
    (void)close(l->fd);
    buf_fini(&l->backlog);
    free(l);
}

static void
send_packet(struct worker_link *l, struct span packet)
{
    uint8_t head[4];
    struct wr w = wr_of(head, sizeof head);

    if (l->backlog.len == 0 &&
        send(l->fd, packet.ptr, packet.len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return;
    wr_u32(&w, (uint32_t)packet.len);
    buf_add(&l->backlog, head, sizeof head);
    buf_add(&l->backlog, packet.ptr, packet.len);
    loop_modify(l->workers->o.loop, l->watch, EPOLLIN | EPOLLOUT);
}

static void
flush_backlog(struct worker_link *l)
{
    while (l->backlog.len > 0) {
        struct rd r = rd_of(buf_span(&l->backlog));
        struct span packet = rd_span(&r, rd_u32(&r));

        if (send(l->fd, packet.ptr, packet.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return;
        buf_drop(&l->backlog, 4 + packet.len);
    }
    loop_modify(l->workers->o.loop, l->watch, EPOLLIN);
}

static void
send_msg(struct worker_link *l, const struct link_msg *m)
{
    struct buf b = { 0 };

    if (link_build(&b, m) == BM_OK)
        send_packet(l, buf_span(&b));
    else
        log_error("cannot build a message of type %d for a worker", (int)m->type);
    buf_fini(&b);
}

static void
send_filters(struct worker_link *l, uint8_t account)
{
    const struct rules *rules = l->workers->o.accounts[account].rules;
    struct link_msg *m = calloc(1, sizeof *m);
    size_t count = rules_filter_count(rules);

    if (m == NULL)
        return;
    if (count > LINK_LIST_MAX) {
        log_error(
            "%zu rules; only the first %d are evaluated for device messages", count, LINK_LIST_MAX);
        count = LINK_LIST_MAX;
    }
    m->type = LINK_FILTERS;
    m->account = account;
    m->u.filters.count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        m->u.filters.filters[i] = span_str(rules_filter(rules, i));
    send_msg(l, m);
    free(m);
}

void
workers_rules_changed(void *arg, uint8_t account)
{
    struct workers *w = arg;

    for (struct worker_link *l = w->links; l != NULL; l = l->next)
        send_filters(l, account);
}

void
workers_cert_changed(void *arg, uint8_t account, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct workers *w = arg;
    struct link_msg m = { .type = LINK_CHANGED, .account = account };

    memcpy(m.u.changed.cert_id, cert_id, REGISTRY_ID_LEN);
    for (struct worker_link *l = w->links; l != NULL; l = l->next)
        send_msg(l, &m);
}

/* ---- what workers ask ---- */

static void
send_verdict(const struct verdict *v)
{
    struct link_msg m = { .type = LINK_VERDICT, .account = v->account, .request = v->request };

    if (v->link == NULL)
        return;
    m.u.verdict.cause = (uint16_t)v->cause;
    send_msg(v->link, &m);
}

static void
admit(struct worker_link *l, const struct link_msg *m)
{
    struct workers *w = l->workers;
    struct admit_request rq = { m->u.admit.leaf_der, m->u.admit.client_id, m->u.admit.peer,
        (enum sni)m->u.admit.sni, NULL, 0, &w->issuers };
    size_t account = rq.sni == SNI_ACCOUNT
                         ? m->account
                         : admit_account(w->o.registries, w->o.account_count, &rq);
    const struct account *a = &w->o.accounts[account];
    struct verdict *v;
    struct bm_msg msg;

    if (w->verdict_count == VERDICTS_MAX)
        w->o.settle(w->o.arg);
    if (w->o.limits->v[LIMIT_REGISTER_RATE] != 0) {
        rq.registered_us = &w->o.rates_us[account][LIMIT_REGISTER_RATE];
        rq.register_rate = w->o.limits->v[LIMIT_REGISTER_RATE];
    }
    v = &w->verdicts[w->verdict_count++];
    *v = (struct verdict){ l, (uint8_t)account, m->request, CAUSE_CONTROL_DOWN };
    if (admit_decide(a->registry, a->o.place.number, &rq, &v->cause, &msg) != BM_OK) {
        log_error("admission failed: %s", msg.text);
        v->cause = CAUSE_CONTROL_DOWN;
    }
    w->o.commit(w->o.arg, true);
}

struct documents {
    struct link_msg *m;
    bool whole; /* a set with one document less could lack its Deny: better none */
};

/* Both are borrowed only for the call: the copy, name after text, is freed in send_documents. */
static void
add_document(void *arg, const char *name, struct span document)
{
    struct documents *d = arg;
    struct link_msg *m = d->m;
    uint32_t i = m->u.documents.count;
    size_t name_len = strlen(name);
    uint8_t *copy = i < LINK_DOCUMENTS_MAX ? malloc(document.len + name_len + 1) : NULL;

    if (copy == NULL) {
        d->whole = false;
        return;
    }
    memcpy(copy, document.ptr, document.len);
    memcpy(&copy[document.len], name, name_len);
    m->u.documents.docs[i] = span_of(copy, document.len);
    m->u.documents.names[i] = span_of(&copy[document.len], name_len);
    m->u.documents.count++;
}

static void
send_documents(struct worker_link *l, const struct link_msg *asked)
{
    struct link_msg *m = calloc(1, sizeof *m);
    struct documents d = { m, true };
    struct bm_msg msg;

    if (m == NULL)
        return;
    m->type = LINK_DOCUMENTS;
    m->account = asked->account;
    m->request = asked->request;
    m->u.documents.set = asked->u.policy.set;
    m->u.documents.found = registry_policy_set(l->workers->o.registries[asked->account],
                               asked->u.policy.set, add_document, &d, &msg) == BM_OK &&
                           d.whole;
    send_msg(l, m);
    for (uint32_t i = 0; i < m->u.documents.count; i++)
        free((void *)(uintptr_t)m->u.documents.docs[i].ptr);
    free(m);
}

/* Answered at the end of the round: what is not committed yet may still fail. SPEC aws-iot 7.3 */
static void
take_question(struct worker_link *l, const struct link_msg *m)
{
    struct workers *w = l->workers;
    struct span id = m->u.thing.client_id;
    struct thing_question *q;

    if (w->question_count == QUESTIONS_MAX)
        w->o.settle(w->o.arg);
    q = &w->questions[w->question_count++];
    *q = (struct thing_question){ .link = l, .account = m->account, .request = m->request };
    memcpy(q->cert_id, m->u.thing.cert_id, sizeof q->cert_id);
    if (id.len < sizeof q->name) /* else no thing has it, and "" is none either */
        memcpy(q->name, id.ptr, id.len);
}

static void
answer_question(struct workers *w, const struct thing_question *q)
{
    struct link_msg m = { .type = LINK_FACTS, .account = q->account, .request = q->request };
    struct registry_thing thing;
    struct bm_msg msg;
    enum bm_err err =
        registry_thing_of(w->o.registries[q->account], q->name, q->cert_id, &thing, &msg);

    m.u.facts.found = err == BM_OK              ? FACTS_ATTACHED
                      : err == BM_ERR_NOT_FOUND ? FACTS_NONE
                                                : FACTS_FAILED;
    m.u.facts.type = span_str(thing.type);
    m.u.facts.attributes = buf_span(&thing.attributes);
    if (m.u.facts.found == FACTS_FAILED)
        log_error("the thing of a connection: %s", msg.text);
    send_msg(q->link, &m);
    registry_thing_fini(&thing);
}

void
workers_answer(struct workers *w)
{
    for (size_t i = 0; i < w->question_count; i++) {
        if (w->questions[i].link != NULL)
            answer_question(w, &w->questions[i]);
    }
    w->question_count = 0;
}

static struct rules_message
message_of(const struct link_msg *m)
{
    static const uint8_t none[REGISTRY_ID_LEN];
    const uint8_t *id = m->u.ingress.cert_id;

    return (struct rules_message){ .topic = m->u.ingress.topic,
        .payload = m->u.ingress.payload,
        .client_id = m->u.ingress.client_id,
        .cert_id = memcmp(id, none, sizeof none) != 0 ? id : NULL,
        .durable = m->request != 0 };
}

/* The worker wants to know when it is on disk, if it gave the message a number. */
static void
note_taken(struct worker_link *l, const struct link_msg *m, bool ok)
{
    struct taken *t = &l->taken[m->account];

    if (m->request == 0)
        return;
    t->newest = m->request;
    t->failed = t->failed || !ok;
    l->workers->o.commit(l->workers->o.arg, true);
}

static void
send_stored(struct workers *w, size_t account, bool committed)
{
    for (struct worker_link *l = w->links; l != NULL; l = l->next) {
        struct taken *t = &l->taken[account];
        struct link_msg m = {
            .type = LINK_STORED, .account = (uint8_t)account, .request = t->newest
        };

        m.u.stored.ok = committed && !t->failed;
        if (t->newest != 0)
            send_msg(l, &m);
        t->newest = 0;
        t->failed = false;
    }
}

void
workers_committed(struct workers *w, size_t account, bool ok)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->verdict_count; i++) {
        struct verdict *v = &w->verdicts[i];

        if (v->account != account) {
            w->verdicts[kept++] = *v;
            continue;
        }
        if (!ok)
            v->cause = CAUSE_CONTROL_DOWN;
        send_verdict(v);
    }
    w->verdict_count = kept;
    send_stored(w, account, ok);
}

/* The broker's sessions are being written, for all who have asked until now. */
void
workers_saving(void *arg, uint8_t account)
{
    struct workers *w = arg;

    for (struct worker_link *l = w->links; l != NULL; l = l->next) {
        struct taken *t = &l->taken[account];

        t->saving = t->save;
        t->save = 0;
    }
}

void
workers_saved(void *arg, uint8_t account, bool ok)
{
    struct workers *w = arg;

    for (struct worker_link *l = w->links; l != NULL; l = l->next) {
        struct taken *t = &l->taken[account];
        struct link_msg m = { .type = LINK_STORED, .account = account, .request = t->saving };

        m.u.stored.ok = ok;
        m.u.stored.saved = 1;
        if (t->saving != 0)
            send_msg(l, &m);
        t->saving = 0;
    }
}

static void
serve(struct worker_link *l, const struct link_msg *m)
{
    struct account *a = &l->workers->o.accounts[m->account];
    struct rules_message in;

    switch (m->type) {
    case LINK_ADMIT:
        admit(l, m);
        break;
    case LINK_POLICY:
        send_documents(l, m);
        break;
    case LINK_THING:
        take_question(l, m);
        break;
    case LINK_RECORD:
        account_record(a, &m->u.record);
        break;
    case LINK_INGRESS:
        in = message_of(m);
        if (m->u.ingress.delay_s != 0)
            account_will(a, &in, m->u.ingress.delay_s);
        else
            note_taken(l, m, account_ingress(a, &in));
        break;
    case LINK_EVENT:
        in = message_of(m);
        account_event(a, &in);
        break;
    case LINK_RETAINED:
        note_taken(
            l, m, account_retained_changed(a, m->u.retained.topic, m->u.retained.empty != 0));
        break;
    case LINK_SAVE:
        l->taken[m->account].save = m->request;
        account_save(a);
        break;
    case LINK_VERDICT:
    case LINK_DOCUMENTS:
    case LINK_FACTS:
    case LINK_FILTERS:
    case LINK_CHANGED:
    case LINK_STORED:
        log_error("a worker sent a message of type %d, which only control sends", (int)m->type);
        break;
    }
}

static void
serve_all(struct worker_link *l, struct span packet)
{
    struct link_msg *m = calloc(1, sizeof *m);

    while (packet.len > 0) {
        if (m == NULL || link_next(&packet, m) != BM_OK ||
            m->account >= l->workers->o.account_count) {
            log_error("a worker sent %zu bytes that are no message", packet.len);
            break;
        }
        serve(l, m);
    }
    free(m);
}

static void
on_link(void *arg, uint32_t events)
{
    struct worker_link *l = arg;

    if ((events & EPOLLOUT) != 0)
        flush_backlog(l);
    for (int i = 0; i < READS_PER_ROUND; i++) {
        ssize_t n = recv(l->fd, l->workers->packet, sizeof l->workers->packet, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            log_info("a worker's link ended");
            drop_link(l);
            return;
        }
        serve_all(l, span_of(l->workers->packet, (size_t)n));
    }
}

void
workers_take(struct workers *w, int fd)
{
    struct worker_link *l = calloc(1, sizeof *l);

    if (l == NULL) {
        (void)close(fd);
        return;
    }
    *l = (struct worker_link){ .workers = w, .fd = fd, .next = w->links };
    l->watch = loop_add(w->o.loop, fd, EPOLLIN, on_link, l);
    if (l->watch == NULL) {
        (void)close(fd);
        free(l);
        return;
    }
    w->links = l;
    for (size_t i = 0; i < w->o.account_count; i++)
        send_filters(l, (uint8_t)i);
}

enum bm_err
workers_open(const struct workers_options *options, struct workers **out)
{
    struct workers *w = calloc(1, sizeof *w);

    if (w == NULL)
        return BM_ERR_MEM;
    w->o = *options;
    *out = w;
    return BM_OK;
}

void
workers_close(struct workers *w)
{
    if (w == NULL)
        return;
    while (w->links != NULL)
        drop_link(w->links);
    issuer_cache_clear(&w->issuers);
    free(w);
}
