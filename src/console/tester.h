/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT test client of one page: a connection of its own to the broker, its subscriptions, and
 * each message as JSON. It is made anew with its subscriptions when the broker comes back.
 */
#ifndef BM_CONSOLE_TESTER_H
#define BM_CONSOLE_TESTER_H

#include "base/bytes.h"
#include "base/loop.h"
#include "broker/upstream.h"

#include <jansson.h>

struct tester;

enum { TESTER_FILTERS_MAX = 20, TESTER_SHOWN_MAX = 16 * 1024 /* bytes of a payload */ };

/*
 * Takes `message`: {topic, payload, encoding: "utf-8" or "base64", bytes, qos, retain, timeMs,
 * lost}. `lost` counts messages given up before this one. Must not close the client.
 */
typedef void (*tester_fn)(void *arg, json_t *message);

enum bm_err tester_open(struct loop *loop, const struct upstream *upstream, tester_fn fn, void *arg,
    struct tester **out, struct bm_msg *msg);
void tester_close(struct tester *m); /* takes NULL */
/* BM_ERR_INPUT: no topic filter. BM_ERR_LIMIT. Twice is fine. */
enum bm_err tester_subscribe(struct tester *m, const char *filter, struct bm_msg *msg);
void tester_unsubscribe(struct tester *m, const char *filter);
/* The message could not be shown: count it. */
void tester_lost(struct tester *m);

#endif
