/* SPDX-License-Identifier: Apache-2.0 */
/* See device.h. */
#include "fleet/device.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_ADDRESS = 100, BLAME_AFTER = 2, NONE_UNDER_WAY = -1 };

static void attempt(void *arg);
static void publish(void *arg);

static int64_t
run_ms(const struct fleet_device *d)
{
    return clock_mono_ms() - d->world->began_ms;
}

static void
turn(struct fleet_device *d, enum fleet_state next)
{
    enum fleet_state before = d->state;

    d->state = next;
    d->world->changed(d->world->arg, d, before);
}

static void
set_timer(struct fleet_device *d, int64_t delay_ms, loop_fn fn)
{
    loop_cancel(d->world->loop, d->timer);
    d->timer = loop_after(d->world->loop, delay_ms > 0 ? delay_ms : 0, fn, d);
}

/* ---- what became of an attempt ---- */

static void
describe(const struct fleet_device *d, const struct attempt *a, char out[DETAIL_LEN])
{
    struct buf text = { 0 };

    if (a->disconnect != 0)
        mqtt_refusal_text("DISCONNECT", a->disconnect, a->words, &text);
    else if (a->connack > 0)
        mqtt_refusal_text("CONNACK", a->connack, a->words, &text);
    else if ((a->phase == PHASE_TCP || a->phase == PHASE_CONNECTED) && a->sys_errno != 0)
        buf_addf(&text, "%s", strerror(a->sys_errno));
    else if (a->phase == PHASE_TLS || a->phase == PHASE_CONNECT)
        tls_text(&d->seen, &text);
    if (text.len == 0 && a->timed_out)
        buf_addf(&text, "no answer in time");
    (void)snprintf(out, DETAIL_LEN, "%s", buf_cstr(&text) != NULL ? buf_cstr(&text) : "");
    buf_fini(&text);
    for (char *p = out; *p != '\0'; p++) { /* a name cut within a character is no UTF-8 */
        if (*p < ' ' || *p > '~')
            *p = '?';
    }
}

static void
count_outcome(struct fleet_device *d, const struct attempt *a, enum outcome o)
{
    struct outcome_count *c = &d->world->figures->outcomes[o];

    if (c->attempts++ == 0)
        describe(d, a, c->detail);
    if ((d->outcomes & 1U << o) == 0)
        c->devices++;
    d->outcomes |= 1U << o;
    timeline_at(&d->world->figures->timeline, run_ms(d))->failures++;
}

/* Did the server look at this device and not let it in? */
static bool
is_refusal(enum outcome o)
{
    return o == OUTCOME_DROPPED || o == OUTCOME_SHUT_OUT || o == OUTCOME_NOT_ALLOWED ||
           o == OUTCOME_REFUSED || o == OUTCOME_TLS_REFUSED;
}

static bool
blames_message(struct fleet_device *d, const struct attempt *a)
{
    bool under_way = a->phase == PHASE_CONNECTED && d->packet != NONE_UNDER_WAY;

    if (under_way) {
        d->world->figures->lost++;
        d->lost_in_flight++;
    }
    d->packet = NONE_UNDER_WAY;
    return under_way && d->lost_in_flight >= BLAME_AFTER && !a->timed_out &&
           (a->sys_errno == 0 || a->sys_errno == ECONNRESET);
}

static void
on_ended(void *arg, const struct attempt *ended)
{
    struct fleet_device *d = arg;
    struct attempt a = *ended;
    enum outcome o;

    a.admitted_before = d->been_in;
    a.clock_wrong = d->clock_wrong;
    a.refuses_message = blames_message(d, &a);
    o = outcome_of(&a);
    if (a.phase == PHASE_CONNECTED)
        backoff_ended(&d->backoff, clock_mono_ms() - d->up_ms);
    count_outcome(d, &a, o);
    d->been_refused = d->been_refused || is_refusal(o);
    connection_close(d->connection);
    d->connection = NULL;
    d->due_ms = clock_mono_ms() + backoff_wait(&d->backoff, o);
    set_timer(d, d->due_ms - clock_mono_ms(), attempt);
    turn(d, FLEET_WAITING);
}

/* ---- messages ---- */

static bool
wants_to_send(const struct fleet_device *d)
{
    const struct fleet_group *g = d->group;

    return d->state == FLEET_UP && d->packet == NONE_UNDER_WAY && g->topic[0] != '\0' &&
           (g->messages == 0 || d->acknowledged < g->messages);
}

/* JSON of exactly the wanted size, if that is enough for who and which. */
static void
compose(const struct fleet_device *d, struct buf *out)
{
    size_t least;

    buf_addf(out, "{\"device\":\"%s\",\"n\":%u,\"fill\":\"", d->client, d->sent);
    least = out->len + 2;
    for (size_t i = least; i < d->group->size; i++)
        buf_addf(out, "%c", (int)('a' + (i + d->sent) % 26));
    buf_addf(out, "\"}");
}

static void
publish(void *arg)
{
    struct fleet_device *d = arg;
    char topic[256];
    struct buf body = { 0 };
    int packet = NONE_UNDER_WAY;

    d->timer = NULL;
    if (!wants_to_send(d))
        return;
    compose(d, &body);
    if (!body.failed && fleet_topic(topic, sizeof topic, d->group->topic, d->client, d->number) &&
        connection_publish(d->connection, topic, buf_span(&body), d->group->qos, false, &packet) ==
            BM_OK) {
        d->packet = packet;
        d->sent++;
        d->sent_us = clock_mono_us();
        d->world->figures->sent++;
    }
    buf_fini(&body);
}

static void
on_acknowledged(void *arg, int packet, int reason)
{
    struct fleet_device *d = arg;
    struct figures *f = d->world->figures;
    int64_t took_us = clock_mono_us() - d->sent_us;

    if (packet != d->packet)
        return;
    d->packet = NONE_UNDER_WAY;
    d->lost_in_flight = 0;
    d->acknowledged++;
    timeline_at(&f->timeline, run_ms(d))->messages++;
    if (reason != 0)
        f->refused++;
    else
        f->acknowledged++;
    if (d->group->qos > 0)
        spread_add(&f->spreads[LATENCY_PUBACK], took_us);
    if (wants_to_send(d))
        set_timer(d, d->group->every_ms - took_us / 1000, publish);
}

static void
on_subscribed(void *arg, int packet, const int *codes, size_t count)
{
    struct fleet_device *d = arg;

    (void)packet;
    for (size_t i = 0; i < count; i++)
        d->world->figures->filters_refused += codes[i] >= 0x80;
}

static void
on_message(void *arg, const char *topic, struct span payload, bool retained)
{
    struct fleet_device *d = arg;

    (void)topic;
    (void)payload;
    (void)retained;
    d->world->figures->received++;
}

static void
subscribe(struct fleet_device *d)
{
    char filter[256];
    const char *filters[] = { filter };
    int packet;

    if (d->group->subscribe[0] == '\0' ||
        !fleet_topic(filter, sizeof filter, d->group->subscribe, d->client, d->number))
        return;
    if (connection_subscribe(d->connection, filters, 1, d->group->qos, &packet) != BM_OK)
        d->world->figures->filters_refused++;
}

/* ---- one attempt ---- */

static void
on_reached(void *arg, enum attempt_phase phase)
{
    struct fleet_device *d = arg;
    struct figures *f = d->world->figures;
    int64_t now = clock_mono_us();

    spread_add(&f->spreads[phase == PHASE_TLS ? LATENCY_TCP : LATENCY_TLS], now - d->mark_us);
    f->handshakes += phase == PHASE_CONNECT;
    d->mark_us = now;
}

static void
on_connected(void *arg, bool session_present)
{
    struct fleet_device *d = arg;
    struct figures *f = d->world->figures;
    int64_t now = clock_mono_us();

    (void)session_present;
    backoff_connected(&d->backoff);
    f->connects++;
    spread_add(&f->spreads[LATENCY_CONNACK], now - d->mark_us);
    if (!d->been_in)
        spread_add(&f->spreads[LATENCY_JOIN], now - d->first_us);
    d->been_in = true;
    d->up_ms = clock_mono_ms();
    d->packet = NONE_UNDER_WAY;
    turn(d, FLEET_UP);
    timeline_at(&f->timeline, run_ms(d))->connects++;
    subscribe(d);
    publish(d);
}

/* Devices that come from one address would run out of ports in a storm. */
static const char *
source(const struct fleet_device *d, char out[32])
{
    if (!d->world->loopback)
        return NULL;
    (void)snprintf(
        out, 32, "127.7.%u.%u", d->index / PER_ADDRESS / 250, d->index / PER_ADDRESS % 250 + 1);
    return out;
}

static void
attempt(void *arg)
{
    struct fleet_device *d = arg;
    const struct fleet_world *w = d->world;
    struct clock_facts facts = { .system_ms = clock_wall_ms() + d->group->clock_ms,
        .passed_ms = clock_built_ms() };
    struct clock_verdict clock = clock_judge(&facts);
    char from[32];
    struct connection_options o = { .loop = w->loop,
        .host = w->address,
        .port = w->port,
        .client_id = d->client,
        .keep_alive_s = d->group->keep_alive_s,
        .mqtt5 = d->group->mqtt5,
        .keep_session = d->group->keep_session,
        .from = source(d, from),
        .tls = d->tls,
        .seen = &d->seen,
        .reached = on_reached,
        .connected = on_connected,
        .acknowledged = on_acknowledged,
        .subscribed = on_subscribed,
        .message = on_message,
        .ended = on_ended,
        .arg = d };
    struct attempt a = { 0 };

    d->timer = NULL;
    d->clock_wrong = clock.system != CLOCK_PLAUSIBLE;
    tls_set_time(d->tls, &clock);
    d->mark_us = clock_mono_us();
    if (d->first_us == 0)
        d->first_us = d->mark_us;
    w->figures->attempts++;
    turn(d, FLEET_TRYING);
    if (connection_open(&o, &d->connection, &a, NULL) != BM_OK)
        on_ended(d, &a);
}

/* ---- the device ---- */

/* Key and certificate of its own, kept in `dir` when there is one. */
static enum bm_err
own_identity(struct fleet_device *d, struct fleet_keys *keys, const struct fleet_ca *ca,
    const char *subject, const char *dir, struct bm_msg *msg)
{
    char chip[PATH_MAX];
    char cert[PATH_MAX];
    char name[512];
    enum bm_err err = BM_OK;

    if (dir != NULL &&
        (snprintf(chip, sizeof chip, "%s/%s/chip", dir, d->client) >= PATH_MAX ||
            snprintf(cert, sizeof cert, "%s/%s/cert.pem", dir, d->client) >= PATH_MAX))
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    if (!fleet_topic(name, sizeof name, subject, d->client, d->number))
        return bm_fail(msg, BM_ERR_ARG, "the subject is too long: %s", subject);
    if (dir != NULL)
        err = dir_make(chip, 0700, msg);
    if (err == BM_OK)
        err = fleet_key_open(keys, dir != NULL ? chip : NULL, &d->key, msg);
    if (err != BM_OK)
        return err;
    err = dir != NULL ? fleet_leaf_read(cert, fleet_key_pkey(d->key), &d->leaf, msg)
                      : BM_ERR_NOT_FOUND;
    if (err != BM_ERR_NOT_FOUND)
        return err;
    err = fleet_leaf_make(ca, d->group->identity, name, fleet_key_point(d->key),
        fleet_key_pkey(d->key), &d->leaf, msg);
    return err == BM_OK && dir != NULL ? fleet_leaf_write(&d->leaf, cert, msg) : err;
}

static bool
share_identity(struct fleet_device *d, const struct fleet_device *twin)
{
    d->key = twin->key;
    d->leaf = twin->leaf;
    (void)snprintf(d->client, sizeof d->client, "%s", twin->client);
    return X509_up_ref(d->leaf.x509) == 1 &&
           (d->leaf.issuer == NULL || X509_up_ref(d->leaf.issuer) == 1);
}

enum bm_err
fleet_device_init(struct fleet_device *d, struct fleet_keys *keys, const struct fleet_ca *ca,
    const char *subject, const char *dir, const struct fleet_device *twin, struct bm_msg *msg)
{
    struct identity *id = &d->identity;
    enum bm_err err = BM_OK;

    d->packet = NONE_UNDER_WAY;
    (void)snprintf(d->client, sizeof d->client, "%s-%u", d->group->name, d->number);
    if (twin == NULL)
        err = own_identity(d, keys, ca, subject, dir, msg);
    else if (!share_identity(d, twin))
        err = bm_fail(msg, BM_ERR_INTERNAL, "OpenSSL shares no certificate");
    if (err != BM_OK)
        return err;
    id->lib = fleet_keys_lib(keys);
    id->key = fleet_key_pkey(d->key);
    id->chain.leaves[0] = d->leaf.x509;
    id->chain.leaf_count = 1;
    id->chain.issuers[0] = d->leaf.issuer;
    id->chain.issuer_count = d->leaf.issuer != NULL;
    err = tls_open(id, &d->world->tls, &d->seen, &d->tls, msg);
    if (err == BM_OK)
        (void)SSL_CTX_set_mode(d->tls, SSL_MODE_RELEASE_BUFFERS);
    return err;
}

void
fleet_device_fini(struct fleet_device *d)
{
    if (d->world != NULL)
        loop_cancel(d->world->loop, d->timer);
    connection_close(d->connection);
    tls_close(d->tls);
    fleet_leaf_fini(&d->leaf);
    if (d->group != NULL && (d->group->identity != FLEET_CLONE || d->number == 0))
        fleet_key_close(d->key);
    *d = (struct fleet_device){ 0 };
}

void
fleet_device_begin(struct fleet_device *d, int64_t delay_ms)
{
    d->due_ms = clock_mono_ms() + delay_ms;
    set_timer(d, delay_ms, attempt);
}

void
fleet_device_cut(struct fleet_device *d)
{
    const struct attempt a = { .phase = PHASE_CONNECTED };

    if (d->state != FLEET_UP)
        return;
    connection_cut(d->connection);
    d->connection = NULL;
    on_ended(d, &a);
}

void
fleet_device_leave(struct fleet_device *d)
{
    loop_cancel(d->world->loop, d->timer);
    d->timer = NULL;
    connection_close(d->connection);
    d->connection = NULL;
    turn(d, FLEET_GONE);
}

bool
fleet_device_through(const struct fleet_device *d)
{
    const struct fleet_group *g = d->group;

    if (d->state == FLEET_GONE)
        return true;
    if (g->refused)
        return d->been_refused;
    if (g->identity == FLEET_CLONE)
        return d->been_in;
    return d->state == FLEET_UP &&
           (g->topic[0] == '\0' || g->messages == 0 || d->acknowledged >= g->messages);
}
