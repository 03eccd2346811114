/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics as a broker by address needs them, when it is none that is MQTT through and through: NATS
 * and RabbitMQ keep topics with dots between the levels, so that some characters become others or
 * are refused, and `#` matches what begins with `$`. SPEC endpoint 5.
 *
 * For such a broker every topic gets a level in front, `t/`, or `s/` when it begins with `$`, so
 * that no filter of the one kind matches the other, nor what the broker keeps for itself; and `.`,
 * `*`, `>`, `%`, space and control characters are %XX. Both ways, for filters as for topics.
 */
#ifndef BM_BROKER_TOPICS_H
#define BM_BROKER_TOPICS_H

#include "base/bytes.h"

/* NULL stands for topics as they are, everywhere below. */
struct topics {
    const char *name; /* of the profile: "nats", "rabbitmq" */
    size_t max;       /* bytes of a topic as the broker gets it */
};

/* What `plain_len` bytes are at most, there. */
enum { TOPICS_GROWTH = 3, TOPICS_PREFIX = 2 };

const struct topics *topics_named(const char *name); /* NULL: there is none */

/*
 * The topic or filter as the broker gets it; written to `room`, which must not move while *out is
 * used, or `plain` itself. False: longer than the broker takes, or than the room.
 */
bool topics_to_broker(
    const struct topics *t, struct span plain, struct wr *room, struct span *out);
/* And back; what was never escaped stays as it is. False: none of ours, or longer than the room. */
bool topics_from_broker(const struct topics *t, struct span topic, struct wr *room, struct span *out);
/* Does it know shared subscriptions? */
static inline bool
topics_share(const struct topics *t)
{
    return t == NULL;
}

#endif
