/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet of simulated devices in one process: up to FLEET_DEVICES_MAX, each with a chip, a
 * certificate and TLS of its own, on one event loop; what they met, as figures.
 *
 *   plan.h     what they are to do      device.h   one of them
 *   key.h      its chip                 leaf.h     its certificate
 *   figures.h  what is counted          report.c, svg.c   and how it is told
 */
#ifndef BM_FLEET_FLEET_H
#define BM_FLEET_FLEET_H

#include "fleet/device.h"
#include "fleet/plan.h"

#include <jansson.h>

struct fleet_options {
    const struct fleet_plan *plan; /* checked */
    const char *host;
    uint16_t port;
    const char *server_name; /* NULL: host */
    const char *ca_file;     /* root of the server's certificate */
    const struct fleet_ca *ca;
    const char *subject; /* of certificates: "/CN={client}" */
    const char *dir;     /* where chips and certificates are kept; NULL: in memory */
    bool force;          /* also to a host that is not this one */
    bool progress;       /* a line on stderr that is written over */
};

enum fleet_end {
    FLEET_SETTLED,     /* all devices are through */
    FLEET_TIME_OVER,   /* the time was, or an event said so */
    FLEET_INTERRUPTED, /* by a signal */
};

struct fleet_group_report {
    char name[FLEET_NAME_MAX + 1];
    enum fleet_identity identity;
    bool expect_refused;
    unsigned devices;
    unsigned came_in;   /* at some time */
    unsigned connected; /* at the end */
    unsigned refused;   /* at some time */
    unsigned through;   /* got where they should get */
};

struct fleet_report {
    enum fleet_end end;
    uint64_t seed;
    unsigned devices;
    unsigned connected; /* at the end, as the next three */
    unsigned trying;
    unsigned waiting;
    unsigned stuck; /* neither, and they have not left: a mistake of this program */
    unsigned through;
    unsigned intruders; /* came in and should not have */
    int64_t longest_wait_ms;
    double prepare_s; /* keys and certificates */
    double run_s;
    double cpu_s;         /* of this process, while it ran */
    int64_t memory_bytes; /* the most that it had */
    uint64_t signatures;  /* of all chips, in this run */
    struct fleet_group_report groups[FLEET_GROUPS_MAX];
    size_t group_count;
    struct figures figures;
};

/*
 * Run it. BM_OK: it ran, the report says what came of it. BM_ERR_DENIED: the host is not this
 * machine and nobody forces it; BM_ERR_NOT_FOUND: it has no address; BM_ERR_LIMIT: too few open
 * files are allowed. Others: a device could not be made.
 */
enum bm_err fleet_run(
    const struct fleet_options *o, struct fleet_report *report, struct bm_msg *msg);

json_t *fleet_report_json(const struct fleet_report *r);
void fleet_report_text(const struct fleet_report *r, struct buf *out);
/* Three plots: connections over time, latencies, what refused attempts met. */
void fleet_report_svg(const struct fleet_report *r, struct buf *out);

#endif
