/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that wait for the network: on disk, in order, bounded, each kept until its PUBACK.
 *
 * A SQLite file (WAL, synchronous=FULL), so that what queue_settle() or another process's end has
 * confirmed survives kill -9 and a power cut, and so that any number of programs may put while one
 * sends. What the server refuses for good is set aside with the reason, not deleted. A message may
 * be sent twice (its PUBACK was not yet noted), never lost; only the bounds drop any, and they
 * count what they drop.
 */
#ifndef BM_DEVICE_QUEUE_H
#define BM_DEVICE_QUEUE_H

#include "base/bytes.h"

struct queue;

enum { QUEUE_COUNT_DEFAULT = 10000, QUEUE_BYTES_DEFAULT = 64 << 20 };

struct queue_options {
    const char *dir;    /* made when it is not there; the file is queue.db */
    uint64_t max_count; /* 0: QUEUE_COUNT_DEFAULT */
    uint64_t max_bytes; /* of topics and payloads, 0: QUEUE_BYTES_DEFAULT */
    bool drop_newest;   /* when full, refuse what comes; else forget the oldest */
};

struct queue_message {
    int64_t id; /* grows; given by the queue */
    int64_t time_ms;
    const char *topic;
    struct span payload;
    int qos;
    bool retain;
    int reason;        /* of a message that was set aside; 0: unknown */
    const char *words; /* the server's, for it; "" */
};

struct queue_counts {
    uint64_t count;
    uint64_t bytes;
    uint64_t refused; /* set aside */
    uint64_t dropped; /* by the bounds, ever */
};

/*
 * BM_ERR_INPUT: the file is damaged or of another program; the message says how to go on.
 * BM_ERR_IO: the folder, or the disk.
 */
enum bm_err queue_open(const struct queue_options *o, struct queue **out, struct bm_msg *msg);
/* Move a damaged file out of the way, to queue.db.damaged-TIME beside it. */
enum bm_err queue_put_away(const char *dir, int64_t now_ms, struct bm_msg *msg);
void queue_close(struct queue *q); /* settles; takes NULL */

/* `id`, `reason` and `words` of *m are not read. BM_ERR_LIMIT: full (drop_newest), or larger than
 * the bounds. */
enum bm_err queue_put(struct queue *q, const struct queue_message *m, struct bm_msg *msg);
/* Its PUBACK came. Of an id that is gone: BM_OK. */
enum bm_err queue_done(struct queue *q, int64_t id, struct bm_msg *msg);
/* Set it aside. */
enum bm_err queue_refuse(
    struct queue *q, int64_t id, int reason, const char *words, struct bm_msg *msg);
/* Put everything that was set aside back at the end. */
enum bm_err queue_retry(struct queue *q, struct bm_msg *msg);
/* What was changed since the last time is durable after this. */
enum bm_err queue_settle(struct queue *q, struct bm_msg *msg);

typedef bool (*queue_fn)(void *arg, const struct queue_message *m); /* false: enough */
/* Those behind `after` in order, or those that were set aside. Borrowed for the call. */
enum bm_err queue_read(
    struct queue *q, int64_t after, bool refused, queue_fn fn, void *arg, struct bm_msg *msg);
enum bm_err queue_count(struct queue *q, struct queue_counts *out, struct bm_msg *msg);

/*
 * A line of input as a message: the payload of `topic`, or, without one, TOPIC, blanks, payload.
 * `room` gets the topic. BM_ERR_INPUT: no topic to publish to, or more than 128 KB.
 */
enum { QUEUE_TOPIC_ROOM = 257 };
enum bm_err queue_line(struct span line, const char *topic, char room[QUEUE_TOPIC_ROOM],
    struct queue_message *out, struct bm_msg *msg);

#endif
