/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h.
 *
 * Every round of the loop ends in settle(): what the round changed is committed as one group, and
 * only then do the workers get the verdicts that rest on it. Timeline records alone do not force a
 * commit; they are flushed by a timer. Events leave the outbox once the broker acknowledged them;
 * in the same group the rules run on them, so that an event is either still in the outbox or its
 * invocations are stored.
 */
#include "birthmark/control.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "birthmark/broker.h"
#include "endpoint/admit.h"
#include "endpoint/link.h"
#include "http/http.h"
#include "lambda/lambda.h"
#include "pki/pki.h"
#include "registry/registry.h"
#include "registry/table.h"
#include "rules/rules.h"

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
    OUTBOX_IN_FLIGHT = 64,
    EVENTS_WAITING_MAX = 8192,
    READS_PER_ROUND = 64, /* packets taken from one worker before the others have their turn */
};

struct control;

struct worker_link {
    struct control *control;
    int fd;
    struct loop_watch *watch;
    struct buf backlog; /* packets that found the socket full: u32 length, bytes */
    struct worker_link *next;
};

struct verdict {
    struct worker_link *link; /* NULL: the worker is gone */
    uint32_t request;
    enum cause cause;
};

struct in_flight {
    int packet_id; /* 0: free */
    int64_t event_id;
};

struct control {
    struct control_options options;
    struct loop *loop;
    struct table *table;
    struct registry *registry;
    struct pki_authority *authority;
    struct lambda *lambda;
    struct rules *rules;
    struct api *api;
    struct http_server *metrics; /* NULL: not served */
    struct broker *broker;
    struct loop_watch *master;
    struct worker_link *links;
    struct verdict verdicts[VERDICTS_MAX];
    size_t verdict_count;
    bool commit_now;
    struct loop_timer *lazy;
    struct in_flight in_flight[OUTBOX_IN_FLIGHT];
    unsigned events_waiting; /* lifecycle events that the broker has not acknowledged */
    uint64_t events_lost;
    int64_t outbox_seen; /* highest event id handed to the broker on this connection */
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
send_filters(struct worker_link *l)
{
    struct control *c = l->control;
    struct link_msg *m = calloc(1, sizeof *m);
    size_t count = rules_filter_count(c->rules);

    if (m == NULL)
        return;
    if (count > LINK_LIST_MAX) {
        log_error(
            "%zu rules; only the first %d are evaluated for device messages", count, LINK_LIST_MAX);
        count = LINK_LIST_MAX;
    }
    m->type = LINK_FILTERS;
    m->u.filters.count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        m->u.filters.filters[i] = span_str(rules_filter(c->rules, i));
    send_msg(l, m);
    free(m);
}

static void
on_rules_changed(void *arg)
{
    struct control *c = arg;

    for (struct worker_link *l = c->links; l != NULL; l = l->next)
        send_filters(l);
}

static void
on_cert_changed(void *arg, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct control *c = arg;
    struct link_msg m = { .type = LINK_CHANGED };

    memcpy(m.u.changed.cert_id, cert_id, REGISTRY_ID_LEN);
    for (struct worker_link *l = c->links; l != NULL; l = l->next)
        send_msg(l, &m);
}

/* ---- what workers ask ---- */

static void
send_verdict(const struct verdict *v)
{
    struct link_msg m = { .type = LINK_VERDICT, .request = v->request };

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
    struct admit_request rq = { m->u.admit.leaf_der, m->u.admit.client_id, m->u.admit.peer };
    struct verdict *v;
    struct bm_msg msg;

    if (c->verdict_count == VERDICTS_MAX)
        settle(c);
    v = &c->verdicts[c->verdict_count++];
    *v = (struct verdict){ l, m->request, CAUSE_CONTROL_DOWN };
    if (admit_decide(c->registry, c->options.account, &rq, &v->cause, &msg) != BM_OK) {
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
    m->request = asked->request;
    m->u.documents.set = asked->u.policy.set;
    m->u.documents.found = registry_policy_set(l->control->registry, asked->u.policy.set,
                               add_document, &d, &msg) == BM_OK &&
                           d.whole;
    send_msg(l, m);
    for (uint32_t i = 0; i < m->u.documents.count; i++)
        free((void *)(uintptr_t)m->u.documents.docs[i].ptr);
    free(m);
}

static void
on_lazy(void *arg)
{
    struct control *c = arg;

    c->lazy = NULL;
    c->commit_now = true;
}

static void
commit_soon(struct control *c)
{
    if (c->lazy == NULL)
        c->lazy = loop_after(c->loop, LAZY_COMMIT_MS, on_lazy, c);
}

static void
keep_record(struct control *c, const struct timeline_record *rec)
{
    struct bm_msg msg;

    if (registry_record(c->registry, rec, &msg) != BM_OK)
        log_error("a timeline record is lost: %s", msg.text);
    commit_soon(c);
}

static void
ingress(struct worker_link *l, const struct link_msg *m)
{
    static const uint8_t none[REGISTRY_ID_LEN];
    const struct rules_message in = {
        .topic = m->u.ingress.topic,
        .payload = m->u.ingress.payload,
        .client_id = m->u.ingress.client_id,
        .cert_id =
            memcmp(m->u.ingress.cert_id, none, sizeof none) != 0 ? m->u.ingress.cert_id : NULL,
    };

    rules_evaluate(l->control->rules, &in);
    l->control->commit_now = true;
}

/*
 * At most once: not stored, and given up while the broker is gone or EVENTS_WAITING_MAX wait for
 * its acknowledgement, so that a broker that is slow costs events and not memory.
 */
static void
lifecycle_event(struct control *c, const struct link_msg *m)
{
    const struct rules_message in = { .topic = m->u.ingress.topic,
        .payload = m->u.ingress.payload,
        .cert_id = m->u.ingress.cert_id };

    if (c->events_waiting < EVENTS_WAITING_MAX &&
        broker_publish(c->broker, in.topic, in.payload, 1, false, NULL) == BM_OK)
        c->events_waiting++;
    else if (c->events_lost++ % 1000 == 0)
        log_warn("lifecycle event not published (%llu so far): the broker is %s",
            (unsigned long long)c->events_lost, broker_up(c->broker) ? "slow" : "gone");
    rules_evaluate(c->rules, &in);
    commit_soon(c); /* as the record of what it tells */
}

static void
serve(struct worker_link *l, struct span packet)
{
    struct link_msg *m = calloc(1, sizeof *m);

    if (m == NULL || link_parse(packet, m) != BM_OK) {
        log_error("a worker sent %zu bytes that are no message", packet.len);
        free(m);
        return;
    }
    switch (m->type) {
    case LINK_ADMIT:
        admit(l, m);
        break;
    case LINK_POLICY:
        send_documents(l, m);
        break;
    case LINK_RECORD:
        keep_record(l->control, &m->u.record);
        break;
    case LINK_INGRESS:
        ingress(l, m);
        break;
    case LINK_EVENT:
        lifecycle_event(l->control, m);
        break;
    case LINK_VERDICT:
    case LINK_DOCUMENTS:
    case LINK_FILTERS:
    case LINK_CHANGED:
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
    send_filters(l);
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

/* ---- the outbox ---- */

static void
record_published(struct control *c, const struct registry_event *e)
{
    struct timeline_record rec;

    if (!e->has_cert)
        return;
    timeline_fill(&rec, CAUSE_EVENT_PUBLISHED, e->cert_id, NULL, NULL, NULL, "topic=%.*s",
        (int)e->topic.len, (const char *)e->topic.ptr);
    keep_record(c, &rec);
}

static void
pump_outbox(struct control *c)
{
    for (size_t i = 0; i < OUTBOX_IN_FLIGHT && broker_up(c->broker); i++) {
        struct registry_event e = { 0 };
        struct bm_msg msg;

        if (c->in_flight[i].packet_id != 0)
            continue;
        if (registry_event_next(c->registry, c->outbox_seen, &e, &msg) != BM_OK)
            return;
        if (broker_publish(c->broker, buf_span(&e.topic), buf_span(&e.payload), 1, false,
                &c->in_flight[i].packet_id) != BM_OK)
            c->in_flight[i].packet_id = 0;
        else {
            c->in_flight[i].event_id = e.id;
            c->outbox_seen = e.id;
        }
        registry_event_fini(&e);
    }
}

/* A new connection knows nothing of what the old one had in flight: publish it again. */
static void
on_broker_up(void *arg)
{
    struct control *c = arg;

    memset(c->in_flight, 0, sizeof c->in_flight);
    c->outbox_seen = 0;
    c->events_waiting = 0;
    pump_outbox(c);
}

static void
finish_event(struct control *c, int64_t id)
{
    struct registry_event e = { 0 };
    struct bm_msg msg;

    if (registry_event_next(c->registry, id - 1, &e, &msg) == BM_OK && e.id == id) {
        const struct rules_message m = {
            .topic = buf_span(&e.topic),
            .payload = buf_span(&e.payload),
            .cert_id = e.has_cert ? e.cert_id : NULL,
        };

        record_published(c, &e);
        rules_evaluate(c->rules, &m);
        if (registry_event_done(c->registry, id, &msg) != BM_OK)
            log_error("event %lld stays in the outbox: %s", (long long)id, msg.text);
        c->commit_now = true;
    }
    registry_event_fini(&e);
}

static void
on_acknowledged(void *arg, int packet_id)
{
    struct control *c = arg;

    for (size_t i = 0; i < OUTBOX_IN_FLIGHT; i++) {
        if (c->in_flight[i].packet_id == packet_id && packet_id != 0) {
            c->in_flight[i].packet_id = 0;
            finish_event(c, c->in_flight[i].event_id);
            return;
        }
    }
    if (c->events_waiting > 0)
        c->events_waiting--;
}

static enum bm_err
publish_from_rules(void *arg, struct span topic, struct span payload, int qos)
{
    struct control *c = arg;

    return broker_publish(c->broker, topic, payload, qos, false, NULL);
}

/* iot-data Publish: to the broker and, as every message that enters, to the rules. */
static enum bm_err
publish_from_api(void *arg, struct span topic, struct span payload, int qos, bool retain)
{
    struct control *c = arg;
    const struct rules_message m = { .topic = topic, .payload = payload };

    if (broker_publish(c->broker, topic, payload, qos, retain, NULL) != BM_OK)
        return BM_ERR_IO;
    rules_evaluate(c->rules, &m);
    c->commit_now = true;
    return BM_OK;
}

/* ---- life ---- */

/* Everyone who waits for the group hears of it, whoever asked for the commit. */
static enum bm_err
commit_group(struct control *c, struct bm_msg *msg)
{
    enum bm_err err = registry_commit(c->registry, msg);

    c->commit_now = false;
    loop_cancel(c->loop, c->lazy);
    c->lazy = NULL;
    if (err != BM_OK)
        log_error(
            "the registry could not commit; newcomers are refused until it can: %s", msg->text);
    for (size_t i = 0; i < c->verdict_count; i++) {
        if (err != BM_OK)
            c->verdicts[i].cause = CAUSE_CONTROL_DOWN;
        send_verdict(&c->verdicts[i]);
    }
    c->verdict_count = 0;
    if (c->api != NULL)
        api_committed(c->api, err, msg);
    return err;
}

static void
commit_soon_for_api(void *arg)
{
    struct control *c = arg;

    c->commit_now = true;
}

static enum bm_err
commit_for_api(void *arg, struct bm_msg *msg)
{
    return commit_group(arg, msg);
}

static void
settle(void *arg)
{
    struct control *c = arg;
    struct bm_msg msg;

    if (c->commit_now)
        (void)commit_group(c, &msg);
    pump_outbox(c);
}

static void
on_term(void *arg)
{
    struct control *c = arg;

    loop_stop(c->loop);
}

static enum bm_err
open_stores(struct control *c, struct bm_msg *msg)
{
    const struct registry_options ro = {
        .dir = c->options.dir, .table = NULL, .changed = on_cert_changed, .changed_arg = c
    };
    struct registry_options with_table = ro;
    char pki_dir[4096];
    enum bm_err err;

    if ((err = table_resume(c->options.dir, &c->table, msg)) != BM_OK)
        return err;
    with_table.table = c->table;
    if ((err = registry_open(&with_table, &c->registry, msg)) != BM_OK)
        return err;
    (void)snprintf(pki_dir, sizeof pki_dir, "%s/pki", c->options.dir);
    if ((err = dir_make(pki_dir, 0700, msg)) != BM_OK)
        return err;
    return pki_authority_open(pki_dir, c->options.names, c->options.name_count, &c->authority, msg);
}

static enum bm_err
open_services(struct control *c, struct bm_msg *msg)
{
    const struct control_options *o = &c->options;
    const struct lambda_options lo = { .loop = c->loop,
        .registry = c->registry,
        .dir = o->dir,
        .runtime_dir = o->runtime_dir,
        .region = o->region,
        .account = o->account,
        .access_key = o->access_key,
        .secret_key = o->secret_key };
    const struct broker_options bo = { .loop = c->loop,
        .path = o->broker_path,
        .connected = on_broker_up,
        .acknowledged = on_acknowledged,
        .arg = c };
    struct rules_options uo = { .loop = c->loop,
        .registry = c->registry,
        .publish = publish_from_rules,
        .publish_arg = c,
        .region = o->region,
        .account = o->account,
        .changed = on_rules_changed,
        .changed_arg = c };
    struct api_options ao = { .loop = c->loop,
        .registry = c->registry,
        .authority = c->authority,
        .host = o->api_host,
        .port = o->api_port,
        .region = o->region,
        .account = o->account,
        .access_key = o->access_key,
        .secret_key = o->secret_key,
        .endpoint_address = o->names[0],
        .publish = publish_from_api,
        .publish_arg = c,
        .commit = commit_for_api,
        .commit_soon = commit_soon_for_api,
        .commit_arg = c };
    enum bm_err err;
    char url[128];

    if ((err = lambda_open(&lo, &c->lambda, msg)) != BM_OK)
        return err;
    uo.lambda = c->lambda;
    if ((err = rules_open(&uo, &c->rules, msg)) != BM_OK ||
        (err = rules_reload(c->rules, msg)) != BM_OK)
        return err;
    if ((err = broker_open(&bo, &c->broker, msg)) != BM_OK)
        return err;
    ao.lambda = c->lambda;
    ao.rules = c->rules;
    if ((err = api_open(&ao, &c->api, msg)) != BM_OK)
        return err;
    (void)snprintf(url, sizeof url,
        strchr(o->api_host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u", o->api_host,
        api_port(c->api));
    lambda_set_endpoint(c->lambda, url);
    return BM_OK;
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
start(struct control *c, struct bm_msg *msg)
{
    struct control_up up = { 0 };
    enum bm_err err;

    raise_descriptors();
    if (loop_new(&c->loop) != BM_OK || loop_settle(c->loop, settle, c) != BM_OK ||
        loop_signal(c->loop, SIGTERM, on_term, c) != BM_OK)
        return bm_fail(msg, BM_ERR_IO, "cannot make an event loop: %s", strerror(errno));
    if ((err = open_stores(c, msg)) != BM_OK || (err = open_services(c, msg)) != BM_OK ||
        (err = open_metrics(c, msg)) != BM_OK)
        return err;
    c->master = loop_add(c->loop, c->options.master_fd, EPOLLIN, on_master, c);
    up.api_port = api_port(c->api);
    up.metrics_port = c->metrics != NULL ? http_port(c->metrics) : 0;
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
    api_close(c->api);
    broker_close(c->broker);
    rules_close(c->rules);
    lambda_close(c->lambda);
    while (c->links != NULL)
        drop_link(c->links);
    pki_authority_close(c->authority);
    registry_close(c->registry);
    table_close(c->table);
    loop_free(c->loop);
    free(c);
    return err;
}
