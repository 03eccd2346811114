/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One device of a fleet: its chip, its certificate, its TLS, one connection at a time, and between
 * two of them the wait that `birthmark device` would make (device/backoff.h).
 */
#ifndef BM_FLEET_DEVICE_H
#define BM_FLEET_DEVICE_H

#include "device/backoff.h"
#include "device/connection.h"
#include "fleet/figures.h"
#include "fleet/key.h"
#include "fleet/leaf.h"

enum { FLEET_CLIENT_MAX = 64 };

enum fleet_state {
    FLEET_IDLE,    /* has not begun */
    FLEET_TRYING,  /* an attempt is under way; it has a deadline */
    FLEET_UP,      /* connected */
    FLEET_WAITING, /* for its next attempt, at due_ms */
    FLEET_GONE,    /* left for good */
};

struct fleet_device;

/* What the devices of a run share. */
struct fleet_world {
    struct loop *loop;
    const char *address; /* a literal */
    uint16_t port;
    bool loopback; /* the address is: then devices come from 127.7.0.0/16 */
    struct tls_options tls;
    int64_t began_ms; /* monotonic */
    struct figures *figures;
    void (*changed)(void *arg, struct fleet_device *d, enum fleet_state before);
    void *arg;
};

struct fleet_device {
    const struct fleet_world *world;
    const struct fleet_group *group;
    unsigned number; /* in the group */
    unsigned index;  /* in the fleet */
    char client[FLEET_CLIENT_MAX];
    struct fleet_key *key; /* of a clone: the first one's */
    struct fleet_leaf leaf;
    struct identity identity;
    SSL_CTX *tls;
    struct tls_seen seen;
    struct connection *connection;
    struct backoff backoff;
    struct loop_timer *timer; /* the next attempt, or the next message */
    enum fleet_state state;
    int64_t due_ms; /* FLEET_WAITING: monotonic */
    bool clock_wrong;
    bool been_in;
    bool joined; /* it counts among those that should stay connected; fleet.c */
    bool been_refused;
    uint32_t outcomes; /* those it has met, one bit each */
    int64_t first_us;
    int64_t mark_us; /* of the phase that is measured */
    int64_t up_ms;
    unsigned acknowledged;
    unsigned sent;
    int packet; /* under way; 0 with QoS 0, -1: none */
    int64_t sent_us;
    unsigned lost_in_flight; /* connections in a row that ended with a message under way */
};

/*
 * Key, certificate and TLS, whose address must not change from then on. `twin`: whose key and
 * certificate it has, too; NULL: its own, kept in `dir` (NULL: in memory).
 */
enum bm_err fleet_device_init(struct fleet_device *d, struct fleet_keys *keys,
    const struct fleet_ca *ca, const char *subject, const char *dir,
    const struct fleet_device *twin, struct bm_msg *msg);
void fleet_device_fini(struct fleet_device *d);

void fleet_device_begin(struct fleet_device *d, int64_t delay_ms); /* first attempt after it */
void fleet_device_cut(struct fleet_device *d);   /* as when the network ends the connection */
void fleet_device_leave(struct fleet_device *d); /* DISCONNECT, for good */

/* Has it got where its group should get? */
bool fleet_device_through(const struct fleet_device *d);

#endif
