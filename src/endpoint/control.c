/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link to the control process: a bounded queue out, messages in.
 *
 * Records and messages for rules may fill only half of the queue, so that questions of newcomers
 * still fit when control is slow; from a quarter on clients are not read while there are rules, so
 * that what is acknowledged to a publisher has its place. Nobody waits for a record: those of a
 * moment leave in one packet, which wakes control once. When control goes away, those who wait for
 * an answer are refused, newcomers too, and records go to the log.
 */
#include "base/clock.h"
#include "base/log.h"
#include "endpoint/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGES_PER_ROUND = 64 };

bool
control_congested(const struct worker *w)
{
    for (size_t i = 0; w->control.congested && i < w->o->account_count; i++) {
        if (w->accounts[i].filter_count > 0) {
            return true;
        }
    }
    return false;
}

/* Those who were not read have to be told; it happens seldom enough to look at all. */
static void
note_congestion(struct worker *w)
{
    struct control *k = &w->control;

    if (k->queued_len > CONTROL_QUEUE_MAX / 4) {
        k->congested = true;
    }
    if (!k->congested || k->queued_len > CONTROL_QUEUE_MAX / 8) {
        return;
    }
    k->congested = false;
    for (struct conn *c = w->conns; c != NULL; c = c->next) {
        conn_resume(c);
    }
}

static void
queue_clear(struct worker *w)
{
    struct control *k = &w->control;

    loop_cancel(w->loop, k->records_timer);
    k->records_timer = NULL;
    buf_fini(&k->records);
    while (k->first != NULL) {
        struct queued *q = k->first;

        k->first = q->next;
        buf_fini(&q->packet);
        free(q);
    }
    k->last = &k->first;
    k->queued_len = 0;
}

static void
control_gone(struct worker *w, const char *why)
{
    if (w->control.fd < 0) {
        return;
    }
    log_error("control process is gone (%s): only known certificates are served from here on", why);
    loop_remove(w->loop, w->control.watch);
    (void)close(w->control.fd);
    w->control.watch = NULL;
    w->control.fd = -1;
    queue_clear(w);
    hello_control_down(w);
    policies_control_down(w);
    acks_control_down(w);
    note_congestion(w);
}

/* True when the packet left or can never leave. */
static bool
send_packet(struct worker *w, struct span packet)
{
    ssize_t len;

    do {
        len = send(w->control.fd, packet.ptr, packet.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (len < 0 && errno == EINTR);
    if (len < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
        return false;
    }
    if (len < 0) {
        control_gone(w, strerror(errno));
    }
    return true;
}

static enum bm_err
enqueue(struct control *k, struct buf *packet)
{
    struct queued *q = calloc(1, sizeof *q);

    if (q == NULL) {
        return BM_ERR_MEM;
    }
    q->packet = *packet;
    *packet = (struct buf){ 0 };
    *k->last = q;
    k->last = &q->next;
    k->queued_len += q->packet.len;
    return BM_OK;
}

static void
flush_queue(struct worker *w)
{
    struct control *k = &w->control;

    while (k->fd >= 0 && k->first != NULL && send_packet(w, buf_span(&k->first->packet))) {
        struct queued *q = k->first;

        if (q == NULL) {
            return; /* control went away meanwhile */
        }
        k->first = q->next;
        if (k->first == NULL) {
            k->last = &k->first;
        }
        k->queued_len -= q->packet.len;
        buf_fini(&q->packet);
        free(q);
    }
    if (k->fd >= 0 && k->first == NULL) {
        loop_modify(w->loop, k->watch, EPOLLIN);
    }
    note_congestion(w);
}

/* Sends the packet, or has it wait behind others and takes it over. */
static enum bm_err
leave(struct worker *w, struct buf *packet)
{
    struct control *k = &w->control;
    enum bm_err err;

    if (k->first == NULL && send_packet(w, buf_span(packet))) {
        return k->fd < 0 ? BM_ERR_CLOSED : BM_OK;
    }
    if (k->first == NULL) {
        loop_modify(w->loop, k->watch, EPOLLIN | EPOLLOUT);
    }
    err = enqueue(k, packet);
    k->congested = k->congested || k->queued_len > CONTROL_QUEUE_MAX / 4;
    return err;
}

static void
send_records(struct worker *w)
{
    struct control *k = &w->control;

    loop_cancel(w->loop, k->records_timer);
    k->records_timer = NULL;
    if (k->records.len > 0 && leave(w, &k->records) == BM_ERR_MEM) {
        log_error("out of memory: %zu bytes of timeline records are lost", k->records.len);
    }
    k->records.len = 0;
    if (k->records.failed) {
        buf_fini(&k->records);
    }
}

static void
on_records_timer(void *arg)
{
    struct worker *w = arg;

    w->control.records_timer = NULL; /* it is gone */
    send_records(w);
}

enum bm_err
control_send(struct worker *w)
{
    struct control *k = &w->control;
    bool question = w->tx.type == LINK_ADMIT || w->tx.type == LINK_POLICY ||
                    w->tx.type == LINK_THING || w->tx.type == LINK_SAVE;
    size_t max = question ? CONTROL_QUEUE_MAX : CONTROL_QUEUE_MAX / 2;
    struct buf packet = { 0 };
    enum bm_err err;

    if (k->fd < 0) {
        return BM_ERR_CLOSED;
    }
    if (k->queued_len > max) {
        return BM_ERR_LIMIT;
    }
    err = link_build(&packet, &w->tx);
    if (err == BM_OK) {
        send_records(w); /* what they tell came before */
        err = k->fd < 0 ? BM_ERR_CLOSED : leave(w, &packet);
    }
    buf_fini(&packet);
    return err;
}

uint32_t
control_request(struct worker *w)
{
    w->control.last_request++;
    if (w->control.last_request == 0) { /* 0 expects no answer */
        w->control.last_request = 1;
    }
    return w->control.last_request;
}

void
control_record(struct worker *w, uint8_t account, const struct timeline_record *rec)
{
    struct control *k = &w->control;
    enum bm_err err = BM_ERR_CLOSED;

    w->tx.type = LINK_RECORD;
    w->tx.request = 0;
    w->tx.account = account;
    w->tx.u.record = *rec;
    if (k->fd >= 0) {
        bool full = k->queued_len > CONTROL_QUEUE_MAX / 2;

        err = full ? BM_ERR_LIMIT : link_build(&k->records, &w->tx);
        if (k->records_timer == NULL) {
            k->records_timer = loop_after(w->loop, RECORDS_MS, on_records_timer, w);
        }
        if (k->records_timer == NULL || k->records.len > RECORDS_LEN || k->records.failed) {
            send_records(w);
        }
    }
    if (err == BM_OK) {
        return;
    }
    if (count(w, METRIC_RECORDS_LOST, 1) % 1000 == 1) {
        log_warn("record not stored (%s), and others of the next 1000: %s client=%s peer=%s %s",
            bm_err_name(err), cause_info(rec->cause)->id, rec->client_id, rec->peer, rec->facts);
    }
}

/* Takes the packet over: the filters borrow from it until the next list comes. */
static void
take_filters(struct worker *w, struct span message)
{
    struct worker_account *a = &w->accounts[w->rx.account];
    struct span *filters = calloc(LINK_LIST_MAX, sizeof *filters);
    struct buf copy = { 0 };

    buf_add(&copy, message.ptr, message.len);
    message = buf_span(&copy);
    if (filters == NULL || copy.failed || link_next(&message, &w->rx) != BM_OK) {
        log_error("out of memory: the rules' filters are as before");
        free(filters);
        buf_fini(&copy);
        return;
    }
    memcpy(filters, w->rx.u.filters.filters, w->rx.u.filters.count * sizeof *filters);
    free(a->filters);
    buf_fini(&a->filters_packet);
    a->filters = filters;
    a->filter_count = w->rx.u.filters.count;
    a->filters_packet = copy;
}

static void
dispatch(struct worker *w, struct span packet)
{
    struct span rest = packet;

    if (link_next(&rest, &w->rx) != BM_OK || rest.len > 0 ||
        w->rx.account >= w->o->account_count) {
        log_error("control sent a packet that is not a message, %zu bytes", packet.len);
        return;
    }
    switch (w->rx.type) {
    case LINK_VERDICT:
        hello_verdict(w, w->rx.request, w->rx.account, (enum cause)w->rx.u.verdict.cause);
        return;
    case LINK_DOCUMENTS:
        policies_documents(w, &w->rx);
        return;
    case LINK_FACTS:
        thing_facts(w, &w->rx);
        return;
    case LINK_FILTERS:
        take_filters(w, packet);
        return;
    case LINK_CHANGED:
        hello_changed(w, w->rx.account, w->rx.u.changed.cert_id);
        return;
    case LINK_STORED:
        if (w->rx.u.stored.saved != 0) {
            acks_saved(w, w->rx.account, w->rx.request, w->rx.u.stored.ok != 0);
        } else {
            acks_stored(w, w->rx.account, w->rx.request, w->rx.u.stored.ok != 0);
        }
        return;
    case LINK_ADMIT:
    case LINK_POLICY:
    case LINK_THING:
    case LINK_RECORD:
    case LINK_INGRESS:
    case LINK_EVENT:
    case LINK_RETAINED:
    case LINK_SAVE:
        break;
    }
    log_error("control sent message type %d, which only workers send", (int)w->rx.type);
}

static void
receive(struct worker *w)
{
    for (unsigned i = 0; i < MESSAGES_PER_ROUND && w->control.fd >= 0; i++) {
        ssize_t len = recv(w->control.fd, w->link_in, sizeof w->link_in, MSG_DONTWAIT);

        if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (len <= 0) {
            control_gone(w, len == 0 ? "closed" : strerror(errno));
            return;
        }
        dispatch(w, span_of(w->link_in, (size_t)len));
    }
}

static void
on_control(void *arg, uint32_t events)
{
    struct worker *w = arg;

    if ((events & EPOLLOUT) != 0) {
        flush_queue(w);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        receive(w);
    }
}

enum bm_err
control_open(struct worker *w)
{
    const int room = 4 * LINK_MESSAGE_MAX;
    struct control *k = &w->control;

    k->fd = w->o->control_fd;
    k->last = &k->first;
    (void)setsockopt(k->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    k->watch = loop_add(w->loop, k->fd, EPOLLIN, on_control, w);
    return k->watch == NULL ? BM_ERR_IO : BM_OK;
}

void
control_drain(struct worker *w, int64_t deadline_ms)
{
    struct control *k = &w->control;

    send_records(w);
    while (k->fd >= 0 && k->first != NULL && clock_mono_ms() < deadline_ms) {
        struct pollfd p = { .fd = k->fd, .events = POLLOUT };

        (void)poll(&p, 1, (int)(deadline_ms - clock_mono_ms()));
        flush_queue(w);
    }
}

void
control_fini(struct worker *w)
{
    queue_clear(w);
    if (w->control.fd >= 0) {
        loop_remove(w->loop, w->control.watch);
        (void)close(w->control.fd);
        w->control.fd = -1;
    }
    for (size_t i = 0; i < w->o->account_count; i++) {
        free(w->accounts[i].filters);
        buf_fini(&w->accounts[i].filters_packet);
    }
}
