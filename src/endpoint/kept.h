/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which topics may be for a session that is kept: the filters that such sessions subscribed to, as
 * a Bloom filter in a file that all workers map. Asked for each message of QoS 1, so it is cheap:
 * of a filter only what is before its first wildcard counts. It may say yes where there is no
 * subscription (any more), never no where there is one.
 *
 * And whether anybody at all, kept or not, listens to the service's own events: as long as nobody
 * does, workers make none (presence.c).
 *
 * A bit that was set outlives its process; kept_sync makes it outlive the machine. No locks.
 */
#ifndef BM_ENDPOINT_KEPT_H
#define BM_ENDPOINT_KEPT_H

#include "base/bytes.h"
#include "base/err.h"

struct kept;

/* `DIR/broker/kept` is made when it is not there. BM_ERR_IO says why it can not be mapped. */
enum bm_err kept_open(const char *dir, struct kept **out, struct bm_msg *msg);
void kept_close(struct kept *k); /* takes NULL */
/*
 * The cloud starts, so whoever was not kept is gone; when no session is kept (the broker has none),
 * forget all. Before anybody else has it open.
 */
void kept_begin(struct kept *k, bool any);
/* A filter as policies mean it: without `$share/name/`; of a session that `outlives` or not. */
void kept_add(struct kept *k, struct span filter, bool outlives);
bool kept_may(const struct kept *k, struct span topic);
/* May somebody be subscribed to this event (`$aws/events/...`)? */
bool kept_hears(const struct kept *k, struct span topic);
/* To disk, if a filter was added since. BM_ERR_IO. */
enum bm_err kept_sync(struct kept *k);

#endif
