/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h.
 *
 * Every round of the loop ends in settle(): what the round changed is committed as one group, and
 * only then do the workers get the verdicts that rest on it. Timeline records alone do not force a
 * commit; they are flushed by a timer. What belongs to one account is account.c's.
 */
#include "birthmark/control.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "birthmark/account.h"
#include "console/console.h"
#include "endpoint/admit.h"
#include "endpoint/link.h"
#include "http/http.h"
#include "pki/pki.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LAZY_COMMIT_MS = 100,
    VERDICTS_MAX = 1024, /* answers that wait for one commit */
    QUESTIONS_MAX = 256,
    READS_PER_ROUND = 64, /* packets taken from one worker before the others have their turn */
};

struct control;

/* Messages of a worker that wait for the account's commit. */
struct taken {
    uint32_t newest; /* 0: none */
    bool failed;     /* one of them could not be stored: none is acknowledged */
    uint32_t save;   /* it wants the broker's sessions on disk; 0: does not */
    uint32_t saving; /* it is told when the save under way is done; 0: is not */
};

struct worker_link {
    struct control *control;
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

/* Of operations of the API; SPEC aws-iot 4.3. */
static const struct {
    const char *operation;
    enum limit limit;
} rates[] = { { "UpdateCertificate", LIMIT_UPDATE_CERTIFICATE_RATE },
    { "RegisterCACertificate", LIMIT_REGISTER_CA_RATE },
    { "CreatePolicy", LIMIT_CREATE_POLICY_RATE }, { "AttachPolicy", LIMIT_ATTACH_POLICY_RATE },
    { "RegisterCertificate", LIMIT_REGISTER_RATE },
    { "RegisterCertificateWithoutCA", LIMIT_REGISTER_RATE },
    { "CreateKeysAndCertificate", LIMIT_REGISTER_RATE },
    { "CreateCertificateFromCsr", LIMIT_REGISTER_RATE } };

struct control {
    struct control_options options;
    struct loop *loop;
    struct pki_authority *authority;
    struct account accounts[ACCOUNTS_MAX];
    struct registry *registries[ACCOUNTS_MAX]; /* theirs */
    struct api_account api_accounts[ACCOUNTS_MAX];
    struct api *api;
    struct http_server *metrics; /* NULL: not served */
    struct console *console;     /* NULL: not served */
    struct console_account console_accounts[ACCOUNTS_MAX];
    char mqtt_address[128];
    struct loop_watch *master;
    struct worker_link *links;
    struct issuer_cache issuers;
    struct verdict verdicts[VERDICTS_MAX];
    size_t verdict_count;
    int64_t rates_us[ACCOUNTS_MAX][LIMIT_COUNT]; /* as in throttle.h */
    struct thing_question questions[QUESTIONS_MAX];
    size_t question_count;
    bool commit_now;
    struct loop_timer *lazy;
    uint8_t packet[LINK_MESSAGE_MAX];
};

/* ---- links to the workers ---- */

static void
drop_link(struct worker_link *l)
{
    struct control *c = l->control;

    for (struct worker_link **at = &c->links; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    for (size_t i = 0; i < c->verdict_count; i++) {
        if (c->verdicts[i].link == l)
            c->verdicts[i].link = NULL;
    }
    for (size_t i = 0; i < c->question_count; i++) {
        if (c->questions[i].link == l)
            c->questions[i].link = NULL;
    }
    loop_remove(c->loop, l->watch);
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
    loop_modify(l->control->loop, l->watch, EPOLLIN | EPOLLOUT);
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
    loop_modify(l->control->loop, l->watch, EPOLLIN);
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
    const struct rules *rules = l->control->accounts[account].rules;
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

static void
on_rules_changed(void *arg, uint8_t account)
{
    struct control *c = arg;

    for (struct worker_link *l = c->links; l != NULL; l = l->next)
        send_filters(l, account);
}

static void
on_cert_changed(void *arg, uint8_t account, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct control *c = arg;
    struct link_msg m = { .type = LINK_CHANGED, .account = account };

    memcpy(m.u.changed.cert_id, cert_id, REGISTRY_ID_LEN);
    for (struct worker_link *l = c->links; l != NULL; l = l->next)
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

static void settle(void *arg);

static void
admit(struct worker_link *l, const struct link_msg *m)
{
    struct control *c = l->control;
    struct admit_request rq = { m->u.admit.leaf_der, m->u.admit.client_id, m->u.admit.peer,
        (enum sni)m->u.admit.sni, NULL, 0, &c->issuers };
    size_t account = rq.sni == SNI_ACCOUNT
                         ? m->account
                         : admit_account(c->registries, c->options.account_count, &rq);
    const struct account *a = &c->accounts[account];
    struct verdict *v;
    struct bm_msg msg;

    if (c->verdict_count == VERDICTS_MAX)
        settle(c);
    if (c->options.limits->v[LIMIT_REGISTER_RATE] != 0) {
        rq.registered_us = &c->rates_us[account][LIMIT_REGISTER_RATE];
        rq.register_rate = c->options.limits->v[LIMIT_REGISTER_RATE];
    }
    v = &c->verdicts[c->verdict_count++];
    *v = (struct verdict){ l, (uint8_t)account, m->request, CAUSE_CONTROL_DOWN };
    if (admit_decide(a->registry, a->o.place.number, &rq, &v->cause, &msg) != BM_OK) {
        log_error("admission failed: %s", msg.text);
        v->cause = CAUSE_CONTROL_DOWN;
    }
    c->commit_now = true;
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
    m->u.documents.found = registry_policy_set(l->control->registries[asked->account],
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
    struct control *c = l->control;
    struct span id = m->u.thing.client_id;
    struct thing_question *q;

    if (c->question_count == QUESTIONS_MAX)
        settle(c);
    q = &c->questions[c->question_count++];
    *q = (struct thing_question){ .link = l, .account = m->account, .request = m->request };
    memcpy(q->cert_id, m->u.thing.cert_id, sizeof q->cert_id);
    if (id.len < sizeof q->name) /* else no thing has it, and "" is none either */
        memcpy(q->name, id.ptr, id.len);
}

static void
answer_question(struct control *c, const struct thing_question *q)
{
    struct link_msg m = { .type = LINK_FACTS, .account = q->account, .request = q->request };
    struct registry_thing thing;
    struct bm_msg msg;
    enum bm_err err =
        registry_thing_of(c->registries[q->account], q->name, q->cert_id, &thing, &msg);

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

static void
answer_questions(struct control *c)
{
    for (size_t i = 0; i < c->question_count; i++) {
        if (c->questions[i].link != NULL)
            answer_question(c, &c->questions[i]);
    }
    c->question_count = 0;
}

static void
on_lazy(void *arg)
{
    struct control *c = arg;

    c->lazy = NULL;
    c->commit_now = true;
}

static void
commit_soon(void *arg, bool now)
{
    struct control *c = arg;

    if (now)
        c->commit_now = true;
    else if (c->lazy == NULL)
        c->lazy = loop_after(c->loop, LAZY_COMMIT_MS, on_lazy, c);
}

static struct rules_message
message_of(const struct link_msg *m)
{
    static const uint8_t none[REGISTRY_ID_LEN];
    const uint8_t *id = m->u.ingress.cert_id;

    return (struct rules_message){ .topic = m->u.ingress.topic,
        .payload = m->u.ingress.payload,
        .client_id = m->u.ingress.client_id,
        .cert_id = memcmp(id, none, sizeof none) != 0 ? id : NULL };
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
    l->control->commit_now = true;
}

static void
send_stored(struct control *c, size_t account, bool committed)
{
    for (struct worker_link *l = c->links; l != NULL; l = l->next) {
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

/* The broker's sessions are being written, for all who have asked until now. */
static void
on_saving(void *arg, uint8_t account)
{
    struct control *c = arg;

    for (struct worker_link *l = c->links; l != NULL; l = l->next) {
        struct taken *t = &l->taken[account];

        t->saving = t->save;
        t->save = 0;
    }
}

static void
on_saved(void *arg, uint8_t account, bool ok)
{
    struct control *c = arg;

    for (struct worker_link *l = c->links; l != NULL; l = l->next) {
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
serve(struct worker_link *l, struct span packet)
{
    struct link_msg *m = calloc(1, sizeof *m);
    struct rules_message in;
    struct account *a;

    if (m == NULL || link_parse(packet, m) != BM_OK ||
        m->account >= l->control->options.account_count) {
        log_error("a worker sent %zu bytes that are no message", packet.len);
        free(m);
        return;
    }
    a = &l->control->accounts[m->account];
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
    free(m);
}

static void
on_link(void *arg, uint32_t events)
{
    struct worker_link *l = arg;

    if ((events & EPOLLOUT) != 0)
        flush_backlog(l);
    for (int i = 0; i < READS_PER_ROUND; i++) {
        ssize_t n = recv(l->fd, l->control->packet, sizeof l->control->packet, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            log_info("a worker's link ended");
            drop_link(l);
            return;
        }
        serve(l, span_of(l->control->packet, (size_t)n));
    }
}

static void
take_link(struct control *c, int fd)
{
    struct worker_link *l = calloc(1, sizeof *l);

    if (l == NULL) {
        (void)close(fd);
        return;
    }
    *l = (struct worker_link){ .control = c, .fd = fd, .next = c->links };
    l->watch = loop_add(c->loop, fd, EPOLLIN, on_link, l);
    if (l->watch == NULL) {
        (void)close(fd);
        free(l);
        return;
    }
    c->links = l;
    for (size_t i = 0; i < c->options.account_count; i++)
        send_filters(l, (uint8_t)i);
}

static void
on_master(void *arg, uint32_t events)
{
    struct control *c = arg;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = { &byte, 1 };
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct cmsghdr *cm;
    ssize_t n;

    (void)events;
    n = recvmsg(c->options.master_fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* the master is gone */
        loop_stop(c->loop);
        return;
    }
    cm = CMSG_FIRSTHDR(&mh);
    if (cm != NULL && cm->cmsg_type == SCM_RIGHTS) {
        int fd;

        memcpy(&fd, CMSG_DATA(cm), sizeof fd);
        take_link(c, fd);
    }
}

/* ---- life ---- */

/* Everyone who waits for the account's group hears of it, whoever asked for the commit. */
static enum bm_err
commit_account(struct control *c, size_t account, struct bm_msg *msg)
{
    enum bm_err err = registry_commit(c->registries[account], msg);
    size_t kept = 0;

    if (err != BM_OK)
        log_error(
            "the registry could not commit; newcomers are refused until it can: %s", msg->text);
    for (size_t i = 0; i < c->verdict_count; i++) {
        struct verdict *v = &c->verdicts[i];

        if (v->account != account) {
            c->verdicts[kept++] = *v;
            continue;
        }
        if (err != BM_OK)
            v->cause = CAUSE_CONTROL_DOWN;
        send_verdict(v);
    }
    c->verdict_count = kept;
    send_stored(c, account, err == BM_OK);
    if (c->api != NULL)
        api_committed(c->api, account, err, msg);
    console_committed(c->console, account);
    return err;
}

static void
commit_all(struct control *c)
{
    struct bm_msg msg;

    c->commit_now = false;
    loop_cancel(c->loop, c->lazy);
    c->lazy = NULL;
    for (size_t i = 0; i < c->options.account_count; i++)
        (void)commit_account(c, i, &msg);
}

static void
settle(void *arg)
{
    struct control *c = arg;

    if (c->commit_now)
        commit_all(c);
    answer_questions(c);
    for (size_t i = 0; i < c->options.account_count; i++)
        account_pump(&c->accounts[i]);
}

/* ---- what the API asks, of one account ---- */

static void
commit_soon_for_api(void *arg)
{
    struct account *a = arg;

    a->o.commit(a->o.arg, true);
}

static enum bm_err
commit_for_api(void *arg, struct bm_msg *msg)
{
    struct account *a = arg;

    return commit_account(a->o.arg, a->o.index, msg);
}

static unsigned
rate_for_api(void *arg, const char *operation)
{
    struct account *a = arg;
    struct control *c = a->o.arg;
    size_t i = 0;
    uint32_t max;

    while (i < sizeof rates / sizeof *rates && strcmp(rates[i].operation, operation) != 0)
        i++;
    if (i == sizeof rates / sizeof *rates)
        return 0;
    max = c->options.limits->v[rates[i].limit];
    if (max == 0 || rate_take(&c->rates_us[a->o.index][rates[i].limit], clock_mono_us(), max))
        return 0;
    return max;
}

static enum bm_err
publish_for_api(void *arg, struct span topic, struct span payload, int qos, bool retain,
    api_done_fn done, void *call)
{
    return account_publish(arg, topic, payload, qos, retain, done, call);
}

static enum bm_err
retained_for_api(void *arg, const char *const *topics, size_t count, api_retained_fn each,
    api_done_fn done, void *call)
{
    struct account *a = arg;

    return broker_retained(a->broker, topics, count, each, done, call);
}

static void
on_term(void *arg)
{
    struct control *c = arg;

    loop_stop(c->loop);
}

/* The first key of an account is what its functions get. */
static const struct api_key *
key_of(const struct control_options *o, size_t account)
{
    for (size_t i = 0; i < o->key_count; i++) {
        if (o->keys[i].account == account)
            return &o->keys[i];
    }
    return &o->keys[0]; /* not reached: accounts come from keys */
}

static enum bm_err
open_stores(struct control *c, struct bm_msg *msg)
{
    const struct control_options *o = &c->options;
    char pki_dir[4096];
    enum bm_err err;

    for (size_t i = 0; i < o->account_count; i++) {
        const struct api_key *key = key_of(o, i);
        const struct account_options ao = { .loop = c->loop,
            .place = o->accounts[i],
            .index = (uint8_t)i,
            .timeline_max = o->timeline_max,
            .runtime_dir = o->runtime_dir,
            .sandbox = o->sandbox,
            .processes = o->processes,
            .region = o->region,
            .access_key = key->access_key,
            .secret_key = key->secret_key,
            .commit = commit_soon,
            .cert_changed = on_cert_changed,
            .rules_changed = on_rules_changed,
            .saving = on_saving,
            .saved = on_saved,
            .arg = c };

        if ((err = account_open_store(&c->accounts[i], &ao, msg)) != BM_OK)
            return err;
        c->registries[i] = c->accounts[i].registry;
    }
    (void)snprintf(pki_dir, sizeof pki_dir, "%s/pki", o->dir);
    if ((err = dir_make(pki_dir, 0700, msg)) != BM_OK)
        return err;
    return pki_authority_open(pki_dir, o->names, o->name_count, &c->authority, msg);
}

static enum bm_err
open_services(struct control *c, struct bm_msg *msg)
{
    const struct control_options *o = &c->options;
    const struct api_options ao = { .loop = c->loop,
        .authority = c->authority,
        .host = o->api_host,
        .port = o->api_port,
        .region = o->region,
        .accounts = c->api_accounts,
        .account_count = o->account_count,
        .keys = o->keys,
        .key_count = o->key_count,
        .publish = publish_for_api,
        .retained = retained_for_api,
        .commit = commit_for_api,
        .rate = rate_for_api,
        .commit_soon = commit_soon_for_api };
    enum bm_err err;
    char url[128];

    for (size_t i = 0; i < o->account_count; i++) {
        struct account *a = &c->accounts[i];

        if ((err = account_open_services(a, msg)) != BM_OK)
            return err;
        c->api_accounts[i] = (struct api_account){ .number = o->accounts[i].number,
            .registry = a->registry,
            .lambda = a->lambda,
            .rules = a->rules,
            .endpoint_address = o->endpoints[i],
            .arg = a };
    }
    if ((err = api_open(&ao, &c->api, msg)) != BM_OK)
        return err;
    (void)snprintf(url, sizeof url,
        strchr(o->api_host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u", o->api_host,
        api_port(c->api));
    for (size_t i = 0; err == BM_OK && i < o->account_count; i++) {
        lambda_set_endpoint(c->accounts[i].lambda, url);
        err = account_tell_place(&c->accounts[i], url, msg);
    }
    return err;
}

/* Each connection of the API and each worker needs one. */
static void
raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("at most %llu descriptors: few connections to the API can be open at once",
            (unsigned long long)limit.rlim_cur);
}

/* Without credentials, as Prometheus asks: it tells numbers, and nothing of a single device. */
static void
on_metrics(void *arg, struct http_request *rq)
{
    struct control *c = arg;
    struct buf text = { 0 };
    bool get = strcmp(http_method(rq), "GET") == 0;

    if (!get || strcmp(http_path(rq), "/metrics") != 0) {
        http_reply(rq, get ? 404 : 405, "text/plain", span_str("GET /metrics\n"));
        return;
    }
    metrics_text(c->options.metrics, c->options.metrics_count, &text);
    http_reply(rq, text.failed ? 500 : 200, "text/plain; version=0.0.4", buf_span(&text));
    buf_fini(&text);
}

static enum bm_err
open_metrics(struct control *c, struct bm_msg *msg)
{
    const struct http_options o = { .loop = c->loop,
        .host = c->options.metrics_host,
        .port = c->options.metrics_port,
        .handler = on_metrics,
        .arg = c };

    return o.host != NULL ? http_open(&o, &c->metrics, msg) : BM_OK;
}

static enum bm_err
open_console(struct control *c, struct bm_msg *msg)
{
    const struct control_options *o = &c->options;
    const struct console_options co = { .loop = c->loop,
        .api = c->api,
        .accounts = c->console_accounts,
        .account_count = o->account_count,
        .keys = o->keys,
        .key_count = o->key_count,
        .host = o->console_host,
        .port = o->console_port,
        .port_is_wish = o->console_port_is_wish,
        .names = o->names,
        .name_count = o->name_count,
        .region = o->region,
        .mqtt_address = c->mqtt_address,
        .metrics = o->metrics,
        .metrics_count = o->metrics_count };

    if (o->console_host == NULL)
        return BM_OK;
    for (size_t i = 0; i < o->account_count; i++) {
        const struct account *a = &c->accounts[i];

        c->console_accounts[i] = (struct console_account){ .number = o->accounts[i].number,
            .registry = a->registry,
            .table = a->table,
            .rules = a->rules,
            .dir = o->accounts[i].dir,
            .broker = o->accounts[i].broker,
            .kept = c->accounts[i].kept };
    }
    (void)snprintf(c->mqtt_address, sizeof c->mqtt_address,
        strchr(o->mqtt_host, ':') != NULL ? "[%s]:%u" : "%s:%u", o->mqtt_host, o->mqtt_port);
    return console_open(&co, &c->console, msg);
}

static enum bm_err
start(struct control *c, struct bm_msg *msg)
{
    struct control_up up = { 0 };
    enum bm_err err;

    raise_descriptors();
    if (loop_new(&c->loop) != BM_OK || loop_settle(c->loop, settle, c) != BM_OK ||
        loop_signal(c->loop, SIGTERM, on_term, c) != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot make an event loop: %s", strerror(errno));
    if ((err = open_stores(c, msg)) != BM_OK || (err = open_services(c, msg)) != BM_OK ||
        (err = open_metrics(c, msg)) != BM_OK || (err = open_console(c, msg)) != BM_OK)
        return err;
    c->master = loop_add(c->loop, c->options.master_fd, EPOLLIN, on_master, c);
    up.api_port = api_port(c->api);
    up.metrics_port = c->metrics != NULL ? http_port(c->metrics) : 0;
    up.console_port = c->console != NULL ? console_port(c->console) : 0;
    if (c->master == NULL ||
        send(c->options.master_fd, &up, sizeof up, MSG_NOSIGNAL) != (ssize_t)sizeof up)
        return bm_fail(msg, BM_ERR_IO, "the master process is gone");
    return BM_OK;
}

enum bm_err
control_run(const struct control_options *options, struct bm_msg *msg)
{
    struct control *c = calloc(1, sizeof *c);
    enum bm_err err;

    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    c->options = *options;
    err = start(c, msg);
    if (err == BM_OK)
        err = loop_run(c->loop);
    http_close(c->metrics);
    console_close(c->console);
    api_close(c->api);
    for (size_t i = 0; i < options->account_count; i++)
        account_close_services(&c->accounts[i]);
    while (c->links != NULL)
        drop_link(c->links);
    pki_authority_close(c->authority);
    for (size_t i = 0; i < options->account_count; i++)
        account_close_store(&c->accounts[i]);
    issuer_cache_clear(&c->issuers);
    loop_free(c->loop);
    free(c);
    return err;
}
