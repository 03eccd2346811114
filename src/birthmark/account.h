/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One account inside the control process: its registry, functions, rules, broker and outbox, all in
 * a state folder of its own, so that nothing of one account can be seen from another. What is
 * shared (workers, API listener, local CA, the commit of a round) is control.c's and workers.c's.
 */
#ifndef BM_BIRTHMARK_ACCOUNT_H
#define BM_BIRTHMARK_ACCOUNT_H

#include "broker/broker.h"
#include "endpoint/kept.h"
#include "endpoint/worker.h"
#include "lambda/lambda.h"
#include "registry/registry.h"
#include "registry/table.h"
#include "rules/rules.h"

enum { OUTBOX_IN_FLIGHT = 64, REPUBLISHED_IN_FLIGHT = 1024 };

struct account_options {
    struct loop *loop;
    struct account_place place;
    uint8_t index;       /* what workers call it */
    size_t timeline_max; /* records that are kept; 0: all */
    const char *runtime_dir;
    enum lambda_sandbox sandbox;
    unsigned processes;
    const char *region;
    const char *access_key; /* what its functions get */
    const char *secret_key;
    /* Something of it wants to be committed: with this round, or within a moment. */
    void (*commit)(void *arg, bool now);
    void *arg;
    /* For the workers. */
    void (*cert_changed)(void *workers, uint8_t index, const uint8_t cert_id[REGISTRY_ID_LEN]);
    void (*rules_changed)(void *workers, uint8_t index);
    /* The broker's sessions are being written for who asked before; and are on disk, or not. */
    void (*saving)(void *workers, uint8_t index);
    void (*saved)(void *workers, uint8_t index, bool ok);
    void *workers;
};

struct in_flight {
    int packet_id; /* 0: free */
    int64_t event_id;
};

/* What rules publish, of the registry's: see republish.c. */
struct republished {
    int64_t id;
    int packet_id; /* 0: acknowledged */
    uint8_t stage;
    bool kept; /* the broker has to write its sessions after it acknowledged */
};

struct republishing {
    struct republished ring[REPUBLISHED_IN_FLIGHT]; /* handed to the broker on this connection */
    unsigned first;
    unsigned count;
    int64_t seen; /* highest id of them */
    bool more;    /* there may be higher ones */
};

/* The broker's sessions on their way to disk. */
struct saving {
    char path[4096];
    bool running;
    bool wanted; /* once more, or for the first time */
    int64_t began_ms;
    struct loop_timer *pause; /* until the next may begin */
};

/* Sessions that the broker keeps too long: see sweep.c. */
struct sweep {
    struct loop_timer *timer;
    bool wanted; /* a file written from now on, and later that it is being written */
    bool saving;
    struct overdue *overdue; /* to be ended; the first is under way */
    struct broker *client;   /* with its id */
    struct loop_timer *step;
};

struct account {
    struct account_options o;
    struct table *table;
    struct registry *registry;
    struct lambda *lambda;
    struct rules *rules;
    struct broker *broker;
    struct in_flight in_flight[OUTBOX_IN_FLIGHT];
    unsigned events_waiting; /* lifecycle events that the broker has not acknowledged */
    uint64_t events_lost;
    struct kept *kept;
    struct saving saving;
    struct sweep sweep;
    struct waiting_will *wills; /* see will.c */
    unsigned will_count;
    struct delivery *deliveries; /* see publish.c */
    struct republishing republished;
    int64_t outbox_seen; /* highest event id handed to the broker on this connection */
};

/* Table and registry; the rest after the hook that commits is in the loop. */
enum bm_err account_open_store(
    struct account *a, const struct account_options *options, struct bm_msg *msg);
enum bm_err account_open_services(struct account *a, struct bm_msg *msg);
/* Write down whose folder this is, and where the API is, for programs that read it beside us
 * (place.h). */
enum bm_err account_tell_place(struct account *a, const char *api_url, struct bm_msg *msg);
/* Services only, then the store. */
void account_close_services(struct account *a);
void account_close_store(struct account *a);

/* Hand what is in the outboxes to the broker; at the end of a round, when all is committed. */
void account_pump(struct account *a);
void account_record(struct account *a, const struct timeline_record *rec);
/* A device's message that may concern a rule. False: not stored for it; see rules_evaluate. */
bool account_ingress(struct account *a, const struct rules_message *m);
/* A lost device's will, before the rules unless its client comes back within the delay. */
void account_will(struct account *a, const struct rules_message *m, uint32_t delay_s);
void account_will_cancel(struct account *a, struct span client_id); /* it came back */
void account_will_forget(struct account *a);                        /* all that wait */
/* A lifecycle event: to the broker and the rules, at most once. */
void account_event(struct account *a, const struct rules_message *m);
/*
 * iot-data Publish: to the broker and the rules. BM_OK: done, with QoS 0 and not retained.
 * BM_ERR_MORE: `done` is called, once and from the loop, when it is stored, or with BM_ERR_IO when
 * it may be lost. Else it is not sent, the broker is down. account_close_services forgets who
 * waits.
 */
typedef void (*account_done_fn)(void *arg, enum bm_err err);
enum bm_err account_publish(struct account *a, struct span topic, struct span payload, int qos,
    bool retain, account_done_fn done, void *arg);
/* A rule's message, as rules_options.publish. */
enum bm_err account_republish(
    struct account *a, struct span topic, struct span payload, int qos, bool durable);
/* For account.c, as those of publish.c and sweep.c below. */
void account_republish_pump(struct account *a);
void account_republish_again(struct account *a);
bool account_republish_acknowledged(struct account *a, int packet_id);
void account_republish_saving(struct account *a);
void account_republish_saved(struct account *a, bool ok);
/* False: another's packet. */
bool account_published(struct account *a, int packet_id);
void account_publish_saving(struct account *a);
void account_publish_saved(struct account *a, bool ok);
void account_publish_lost(struct account *a); /* the broker went away */
void account_publish_forget(struct account *a);
void account_sweep_begin(struct account *a); /* the broker is up */
void account_sweep_saving(struct account *a);
void account_sweep_saved(struct account *a, bool ok);
void account_sweep_end(struct account *a);

/* Have the broker write its sessions: `saving` and `saved` tell of it. */
void account_save(struct account *a);

/* The topic's retained message was set or, `empty`, removed. False: that is not stored. */
bool account_retained_changed(struct account *a, struct span topic, bool empty);

#endif
