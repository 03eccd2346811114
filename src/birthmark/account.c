/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See account.h.
 *
 * Events leave the outbox once the broker acknowledged them; in the same group the rules run on
 * them, so that an event is either still in the outbox or its invocations are stored.
 */
#include "birthmark/account.h"

#include "birthmark/place.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    EVENTS_WAITING_MAX = 8192,
    SAVE_PAUSE = 4, /* after a save, times what it took */
    SAVE_PAUSE_MAX_MS = 1000,
};

void
account_record(struct account *a, const struct timeline_record *rec)
{
    struct bm_msg msg;

    if (rec->cause == CAUSE_ADMITTED)
        account_will_cancel(a, span_str(rec->client_id));
    if (registry_record(a->registry, rec, &msg) != BM_OK)
        log_error("a timeline record is lost: %s", msg.text);
    a->o.commit(a->o.arg, false);
}

/* ---- messages ---- */

bool
account_retained_changed(struct account *a, struct span topic, bool empty)
{
    struct bm_msg msg;
    enum bm_err err = empty ? registry_retained_forget(a->registry, topic, &msg)
                            : registry_retained_set(a->registry, topic, clock_wall_ms(), &msg);

    if (err != BM_OK)
        log_error("ListRetainedMessages lacks a topic: %s", msg.text);
    a->o.commit(a->o.arg, false);
    return err == BM_OK;
}

bool
account_ingress(struct account *a, const struct rules_message *m)
{
    bool stored = rules_evaluate(a->rules, m);

    a->o.commit(a->o.arg, true);
    return stored;
}

/*
 * Not stored, and given up while the broker is gone or EVENTS_WAITING_MAX wait for its
 * acknowledgement, so that a broker that is slow costs events and not memory.
 */
void
account_event(struct account *a, const struct rules_message *m)
{
    if (a->events_waiting < EVENTS_WAITING_MAX &&
        broker_publish(a->broker, m->topic, m->payload, 1, false, NULL) == BM_OK)
        a->events_waiting++;
    else if (a->events_lost++ % 1000 == 0)
        log_warn("lifecycle event not published (%llu so far): the broker is %s",
            (unsigned long long)a->events_lost, broker_up(a->broker) ? "slow" : "gone");
    (void)rules_evaluate(a->rules, m);
    a->o.commit(a->o.arg, false); /* as the record of what it tells */
}

static enum bm_err
publish_from_rules(void *arg, struct span topic, struct span payload, int qos, bool durable)
{
    return account_republish(arg, topic, payload, qos, durable);
}

/* ---- the outbox ---- */

static void
record_published(struct account *a, const struct registry_event *e)
{
    struct timeline_record rec;

    if (!e->has_cert)
        return;
    timeline_fill(&rec, CAUSE_EVENT_PUBLISHED, e->cert_id, NULL, NULL, NULL, "topic=%.*s",
        (int)e->topic.len, (const char *)e->topic.ptr);
    account_record(a, &rec);
}

static void
pump_events(struct account *a)
{
    for (size_t i = 0; i < OUTBOX_IN_FLIGHT && broker_up(a->broker); i++) {
        struct registry_event e = { 0 };
        struct bm_msg msg;

        if (a->in_flight[i].packet_id != 0)
            continue;
        if (registry_event_next(a->registry, a->outbox_seen, &e, &msg) != BM_OK)
            return;
        if (broker_publish(a->broker, buf_span(&e.topic), buf_span(&e.payload), 1, false,
                &a->in_flight[i].packet_id) != BM_OK)
            a->in_flight[i].packet_id = 0;
        else {
            a->in_flight[i].event_id = e.id;
            a->outbox_seen = e.id;
        }
        registry_event_fini(&e);
    }
}

void
account_pump(struct account *a)
{
    pump_events(a);
    account_republish_pump(a);
}

/* A new connection knows nothing of what the old one had in flight: publish it again. */
static void
on_broker_up(void *arg)
{
    struct account *a = arg;

    memset(a->in_flight, 0, sizeof a->in_flight);
    a->outbox_seen = 0;
    a->events_waiting = 0;
    account_republish_again(a);
    account_sweep_begin(a);
}

static void
finish_event(struct account *a, int64_t id)
{
    struct registry_event e = { 0 };
    struct bm_msg msg;

    if (registry_event_next(a->registry, id - 1, &e, &msg) == BM_OK && e.id == id) {
        const struct rules_message m = {
            .topic = buf_span(&e.topic),
            .payload = buf_span(&e.payload),
            .cert_id = e.has_cert ? e.cert_id : NULL,
            .durable = true,
        };

        record_published(a, &e);
        if (!rules_evaluate(a->rules, &m))
            log_error("event %lld stays in the outbox until the broker is connected to anew",
                (long long)id);
        else if (registry_event_done(a->registry, id, &msg) != BM_OK)
            log_error("event %lld stays in the outbox: %s", (long long)id, msg.text);
        a->o.commit(a->o.arg, true);
    }
    registry_event_fini(&e);
}

static void
on_acknowledged(void *arg, int packet_id)
{
    struct account *a = arg;

    for (size_t i = 0; i < OUTBOX_IN_FLIGHT; i++) {
        if (a->in_flight[i].packet_id == packet_id && packet_id != 0) {
            a->in_flight[i].packet_id = 0;
            finish_event(a, a->in_flight[i].event_id);
            return;
        }
    }
    if (!account_republish_acknowledged(a, packet_id) && !account_published(a, packet_id) &&
        a->events_waiting > 0)
        a->events_waiting--;
}

static void
on_broker_lost(void *arg)
{
    account_publish_lost(arg);
}

/* ---- the broker's sessions ---- */

static void start_save(struct account *a);

static void
on_pause(void *arg)
{
    struct account *a = arg;

    a->saving.pause = NULL;
    if (a->saving.wanted)
        start_save(a);
}

static void
tell_saved(struct account *a, bool ok)
{
    a->o.saved(a->o.workers, a->o.index, ok);
    account_publish_saved(a, ok);
    account_republish_saved(a, ok);
    account_sweep_saved(a, ok);
}

static void
pause_saving(struct account *a, int64_t ms)
{
    a->saving.pause =
        loop_after(a->o.loop, ms < SAVE_PAUSE_MAX_MS ? ms : SAVE_PAUSE_MAX_MS, on_pause, a);
}

/* The broker serves nobody while it writes: most of its time is for its clients. */
static void
on_saved(void *arg, enum bm_err err)
{
    struct account *a = arg;

    a->saving.running = false;
    pause_saving(a, SAVE_PAUSE * (clock_mono_ms() - a->saving.began_ms));
    tell_saved(a, err == BM_OK);
}

static void
start_save(struct account *a)
{
    a->saving.wanted = false;
    a->saving.began_ms = clock_mono_ms();
    a->o.saving(a->o.workers, a->o.index);
    account_publish_saving(a);
    account_republish_saving(a);
    account_sweep_saving(a);
    if (kept_sync(a->kept) != BM_OK)
        log_error("what sessions subscribed to is not on disk: %s", strerror(errno));
    else if (broker_save(a->broker, on_saved, a) == BM_OK) {
        a->saving.running = true;
        return;
    }
    pause_saving(a, SAVE_PAUSE_MAX_MS); /* a rule's message still wants it */
    tell_saved(a, false);
}

void
account_save(struct account *a)
{
    a->saving.wanted = true;
    if (!a->saving.running && a->saving.pause == NULL)
        start_save(a);
}

/* ---- life ---- */

static void
on_cert_changed(void *arg, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct account *a = arg;

    a->o.cert_changed(a->o.workers, a->o.index, cert_id);
}

static void
on_rules_changed(void *arg)
{
    struct account *a = arg;

    a->o.rules_changed(a->o.workers, a->o.index);
}

enum bm_err
account_open_store(struct account *a, const struct account_options *options, struct bm_msg *msg)
{
    struct registry_options ro = { .dir = options->place.dir,
        .timeline_max = options->timeline_max,
        .changed = on_cert_changed,
        .changed_arg = a };
    enum bm_err err = table_resume(ro.dir, &a->table, msg);

    a->o = *options;
    ro.table = a->table;
    (void)snprintf(a->saving.path, sizeof a->saving.path, "%s/broker/mosquitto.db", ro.dir);
    if (err == BM_OK)
        err = kept_open(ro.dir, &a->kept, msg);
    if (err == BM_OK)
        kept_begin(a->kept, access(a->saving.path, F_OK) == 0);
    return err == BM_OK ? registry_open(&ro, &a->registry, msg) : err;
}

static void
commit_now(void *arg)
{
    struct account *a = arg;

    a->o.commit(a->o.arg, true);
}

enum bm_err
account_open_services(struct account *a, struct bm_msg *msg)
{
    const struct account_options *o = &a->o;
    const struct lambda_options lo = { .loop = o->loop,
        .registry = a->registry,
        .dir = o->place.dir,
        .runtime_dir = o->runtime_dir,
        .sandbox = o->sandbox,
        .processes = o->processes,
        .region = o->region,
        .account = o->place.number,
        .access_key = o->access_key,
        .secret_key = o->secret_key,
        .commit_soon = commit_now,
        .commit_arg = a };
    const struct broker_options bo = { .loop = o->loop,
        .upstream = o->place.broker,
        .sessions = upstream_is_ours(o->place.broker) ? a->saving.path : NULL,
        .connected = on_broker_up,
        .lost = on_broker_lost,
        .acknowledged = on_acknowledged,
        .arg = a };
    struct rules_options uo = { .loop = o->loop,
        .registry = a->registry,
        .publish = publish_from_rules,
        .publish_arg = a,
        .region = o->region,
        .account = o->place.number,
        .changed = on_rules_changed,
        .changed_arg = a,
        .commit_soon = commit_now,
        .commit_arg = a };
    enum bm_err err;

    if ((err = lambda_open(&lo, &a->lambda, msg)) != BM_OK)
        return err;
    uo.lambda = a->lambda;
    if ((err = rules_open(&uo, &a->rules, msg)) != BM_OK ||
        (err = rules_reload(a->rules, msg)) != BM_OK)
        return err;
    return broker_open(&bo, &a->broker, msg);
}

enum bm_err
account_tell_place(struct account *a, const char *api_url, struct bm_msg *msg)
{
    const struct timeline_place place = { a->o.region, a->o.place.number, api_url };

    enum bm_err err = rules_set_endpoint(a->rules, api_url, msg);

    return err == BM_OK ? place_write(a->registry, &place, msg) : err;
}

void
account_close_services(struct account *a)
{
    loop_cancel(a->o.loop, a->saving.pause);
    a->saving.pause = NULL;
    account_sweep_end(a);
    broker_close(a->broker);
    account_publish_forget(a);
    account_will_forget(a);
    rules_close(a->rules);
    lambda_close(a->lambda);
}

void
account_close_store(struct account *a)
{
    registry_close(a->registry);
    kept_close(a->kept);
    table_close(a->table);
}
