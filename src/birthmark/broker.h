/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process's own connection to the broker: publish events, be told when they arrived.
 *
 * libmosquitto on base/loop. The connection comes back by itself; what was not acknowledged is the
 * caller's to publish again (the outbox keeps it).
 */
#ifndef BM_BIRTHMARK_BROKER_H
#define BM_BIRTHMARK_BROKER_H

#include "base/bytes.h"
#include "base/loop.h"

struct broker;

struct broker_options {
    struct loop *loop;
    const char *path;                               /* Unix socket */
    void (*connected)(void *arg);                   /* may be called many times */
    void (*acknowledged)(void *arg, int packet_id); /* PUBACK of a QoS 1 publish */
    void *arg;
};

enum bm_err broker_open(
    const struct broker_options *options, struct broker **out, struct bm_msg *msg);
void broker_close(struct broker *b); /* takes NULL */
bool broker_up(const struct broker *b);

/* BM_ERR_IO: the broker is down. *packet_id (may be NULL) names the publish in `acknowledged`. */
enum bm_err broker_publish(
    struct broker *b, struct span topic, struct span payload, int qos, bool retain, int *packet_id);

#endif
