/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See control.h.
 *
 * Every round of the loop ends in settle(): what the round changed is committed as one group, and
 * only then do the workers get the verdicts that rest on it. Timeline records alone do not force a
 * commit; they are flushed by a timer. What belongs to one account is account.c's, what workers ask
 * workers.c's.
 */
#include "birthmark/control.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "birthmark/account.h"
#include "birthmark/workers.h"
#include "console/console.h"
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

enum { LAZY_COMMIT_MS = 100 };

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
    struct workers *workers;
    int64_t rates_us[ACCOUNTS_MAX][LIMIT_COUNT]; /* as in throttle.h */
    bool commit_now;
    struct loop_timer *lazy;
};

/* ---- the round ---- */

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

/* Everyone who waits for the account's group hears of it, whoever asked for the commit. */
static enum bm_err
commit_account(struct control *c, size_t account, struct bm_msg *msg)
{
    enum bm_err err = registry_commit(c->registries[account], msg);

    if (err != BM_OK)
        log_error(
            "the registry could not commit; newcomers are refused until it can: %s", msg->text);
    workers_committed(c->workers, account, err == BM_OK);
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
    workers_answer(c->workers);
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

/* ---- life ---- */

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
        workers_take(c->workers, fd);
    }
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
open_workers(struct control *c)
{
    const struct workers_options wo = { .loop = c->loop,
        .accounts = c->accounts,
        .registries = c->registries,
        .account_count = c->options.account_count,
        .limits = c->options.limits,
        .rates_us = c->rates_us,
        .commit = commit_soon,
        .settle = settle,
        .arg = c };

    return workers_open(&wo, &c->workers);
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
            .arg = c,
            .cert_changed = workers_cert_changed,
            .rules_changed = workers_rules_changed,
            .saving = workers_saving,
            .saved = workers_saved,
            .workers = c->workers };

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
    if (open_workers(c) != BM_OK)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
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
    pki_authority_close(c->authority);
    for (size_t i = 0; i < options->account_count; i++)
        account_close_store(&c->accounts[i]);
    workers_close(c->workers);
    loop_free(c->loop);
    free(c);
    return err;
}
