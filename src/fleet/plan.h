/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fleet is to do: groups of devices alike, and events that befall them. From the command
 * line, or from a scenario file (JSON, birthmark-fleet(1)); pure but for reading that file.
 */
#ifndef BM_FLEET_PLAN_H
#define BM_FLEET_PLAN_H

#include "base/bytes.h"

enum {
    FLEET_DEVICES_MAX = 10000,
    FLEET_GROUPS_MAX = 16,
    FLEET_EVENTS_MAX = 64,
    FLEET_NAME_MAX = 48,
    FLEET_TOPIC_MAX = 192, /* of the pattern */
    FLEET_FILE_MAX = 65536,
    FLEET_SIZE_MAX = 131072, /* of a message, SPEC aws-iot 6.3 */
};
#define FLEET_TIME_MAX_MS (24LL * 3600 * 1000)

/* Whose certificate a device shows. */
enum fleet_identity {
    FLEET_OWN,         /* its own, issued by the CA: it is to be let in */
    FLEET_CLONE,       /* one, with its key and client id, for the whole group: they take over */
    FLEET_NOT_YET,     /* of the CA, valid from tomorrow */
    FLEET_EXPIRED,     /* of the CA, until yesterday */
    FLEET_OTHER_CA,    /* of a CA that nobody knows */
    FLEET_FORGED,      /* says that the CA issued it, which it did not */
    FLEET_SELF_SIGNED, /* issued by nobody */
    FLEET_IDENTITY_COUNT
};
const char *fleet_identity_name(enum fleet_identity i); /* "own", "not-yet-valid", ... */

struct fleet_group {
    char name[FLEET_NAME_MAX + 1]; /* client ids are NAME-0, NAME-1, ... */
    unsigned count;
    enum fleet_identity identity;
    bool refused;      /* all of it is to be refused; else all is to be let in */
    int64_t start_ms;  /* the first begins */
    int64_t spread_ms; /* the last begins so much after the first */
    int64_t clock_ms;  /* what its clocks are wrong by */
    bool mqtt5;
    bool keep_session;
    unsigned keep_alive_s;
    unsigned messages; /* of each device, until it is through; 0: without end */
    int64_t every_ms;  /* between two of them; 0: the next when one is acknowledged */
    unsigned size;     /* bytes of one */
    int qos;
    char topic[FLEET_TOPIC_MAX + 1];     /* {client} and {n} are filled in; "": publishes nothing */
    char subscribe[FLEET_TOPIC_MAX + 1]; /* the same; "": nothing */
};

enum fleet_what {
    FLEET_STORM, /* all connections of the group are cut and come again */
    FLEET_LEAVE, /* they say DISCONNECT and stay away */
    FLEET_STOP,  /* the run ends */
};
struct fleet_event {
    int64_t at_ms; /* since the first device began */
    enum fleet_what what;
    int group; /* -1: all */
};

struct fleet_plan {
    struct fleet_group groups[FLEET_GROUPS_MAX];
    size_t group_count;
    struct fleet_event events[FLEET_EVENTS_MAX]; /* in the order of time */
    size_t event_count;
    int64_t for_ms; /* it ends then at the latest */
    bool stay;      /* it ends then, and not when all devices are through */
    uint64_t seed;  /* of all that is decided by chance; 0: a new one */
};

/* A group as it is when nothing is said of it, of FLEET_OWN. */
void fleet_group_default(struct fleet_group *g);
/* Devices in all. */
unsigned fleet_plan_count(const struct fleet_plan *p);
/* Events into order, bounds, names. BM_ERR_INPUT says what is wrong. */
enum bm_err fleet_plan_check(struct fleet_plan *p, struct bm_msg *msg);

/* A scenario. BM_ERR_INPUT names the key, and the group or event it stands in. */
enum bm_err fleet_plan_parse(struct span json, struct fleet_plan *out, struct bm_msg *msg);
enum bm_err fleet_plan_read(const char *path, struct fleet_plan *out, struct bm_msg *msg);

/* "250ms", "10s", "5m", "1h"; a number alone is seconds. False: none of them, or negative. */
bool fleet_time_parse(const char *text, int64_t *ms);
/* The topic or filter of one device; false: too long. */
bool fleet_topic(char *out, size_t cap, const char *pattern, const char *client, unsigned n);

#endif
