/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process's own connections to the broker: publish events and be told when they
 * arrived; and one for each MQTT test client of the console, which subscribes.
 *
 * Retained messages are asked for when somebody wants them: subscribe to their very topics, take
 * what is marked as retained, unsubscribe. The broker writes them before it answers the
 * UNSUBSCRIBE.
 *
 * The broker writes its sessions to disk when it is told to (SIGUSR1), at the end of a round of its
 * loop, before it answers what comes in a later round: see broker_save.
 *
 * libmosquitto on base/loop. A connection comes back by itself; what was not acknowledged is the
 * caller's to publish again (the outbox keeps it), and so is subscribing (in `connected`).
 */
#ifndef BM_BROKER_BROKER_H
#define BM_BROKER_BROKER_H

#include "base/bytes.h"
#include "base/loop.h"
#include "broker/upstream.h"

struct broker;

struct broker_options {
    struct loop *loop;
    const struct upstream *upstream;                /* borrowed */
    const char *client_id; /* NULL: one of its own choice */
    const char *sessions; /* the file it writes them to; NULL: not known, and never broker_save */
    void (*connected)(void *arg);                   /* may be called many times */
    void (*lost)(void *arg);                        /* and so may this; may be NULL */
    void (*acknowledged)(void *arg, int packet_id); /* the broker has it; may be NULL */
    /* of a subscription; may be NULL. Borrowed for the call. */
    void (*message)(void *arg, const char *topic, struct span payload, int qos, bool retain);
    void *arg;
};

enum bm_err broker_open(
    const struct broker_options *options, struct broker **out, struct bm_msg *msg);
void broker_close(struct broker *b); /* takes NULL */
bool broker_up(const struct broker *b);

/*
 * BM_ERR_IO: the broker is down. BM_ERR_ARG: no topic. *packet_id (may be NULL) names the publish in
 * `acknowledged`, also with QoS 0: then the broker is asked something behind it.
 */
enum bm_err broker_publish(
    struct broker *b, struct span topic, struct span payload, int qos, bool retain, int *packet_id);

/*
 * The retained messages of these topics (no wildcards, each 1..256 bytes; copied): `each` for every
 * one that there is, then `done`, once, from the loop. BM_ERR_IO, of the call or given to `done`:
 * the broker is down or does not answer. broker_close forgets who waits.
 */
typedef void (*broker_retained_fn)(void *arg, const char *topic, struct span payload, int qos);
typedef void (*broker_done_fn)(void *arg, enum bm_err err);
enum bm_err broker_retained(struct broker *b, const char *const *topics, size_t count,
    broker_retained_fn each, broker_done_fn done, void *arg);

/*
 * Have it write its sessions: `done`, once and from the loop, with BM_OK when all that it had
 * acknowledged to anybody before the call is on disk. One at a time. BM_ERR_IO, of the call or
 * given to `done`: it is down, is no process of this machine, or cannot write. broker_close forgets
 * it.
 */
enum bm_err broker_save(struct broker *b, broker_done_fn done, void *arg);

/* QoS 1. BM_ERR_IO: the broker is down. BM_ERR_INPUT: no topic filter. */
enum bm_err broker_subscribe(struct broker *b, const char *filter);
enum bm_err broker_unsubscribe(struct broker *b, const char *filter);

#endif
