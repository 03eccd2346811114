/* SPDX-License-Identifier: Apache-2.0 */
/* See fleet.h: devices are made, begin one after the other, events befall them, and it ends. */
#include "fleet/fleet.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    TICK_MS = 100,
    PROGRESS_MS = 250,
    FILES_BESIDE = 64, /* open files that are no device's connection */
    SLACK_MS = 1000,   /* a timer that is so late is not coming any more */
    BAR = 24,
};

struct fleet {
    const struct fleet_options *o;
    struct fleet_report *report;
    struct fleet_world world;
    struct fleet_keys *keys;
    struct fleet_device *devices;
    unsigned count;
    char address[INET6_ADDRSTRLEN];
    size_t next_event;
    int64_t shown_ms;
    unsigned up;           /* connected */
    unsigned good;         /* have been let in, should have been, and have not left */
    unsigned good_up;      /* of them, connected */
    struct outage *outage; /* under way */
    bool over;
};

/* ---- before anything connects ---- */

static enum bm_err
resolve(struct fleet *f, struct bm_msg *msg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int code = getaddrinfo(f->o->host, NULL, &hints, &list);
    const struct sockaddr_in6 *six;
    bool here = false;

    if (code != 0)
        return bm_fail(
            msg, BM_ERR_NOT_FOUND, "%s has no address: %s", f->o->host, gai_strerror(code));
    (void)getnameinfo(
        list->ai_addr, list->ai_addrlen, f->address, sizeof f->address, NULL, 0, NI_NUMERICHOST);
    if (list->ai_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)list->ai_addr;

        here = f->world.loopback = ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    } else if (list->ai_family == AF_INET6) {
        six = (const struct sockaddr_in6 *)(const void *)list->ai_addr;
        here = IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
    }
    freeaddrinfo(list);
    if (here || f->o->force)
        return BM_OK;
    return bm_fail(msg, BM_ERR_DENIED,
        "%s (%s) is not this machine, and %u devices are a load that its owner must expect; "
        "--force says that it is so",
        f->o->host, f->address, f->count);
}

static enum bm_err
allow_files(const struct fleet *f, struct bm_msg *msg)
{
    rlim_t need = FILES_BESIDE + (rlim_t)f->count;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return BM_OK;
    if (limit.rlim_max < need)
        return bm_fail(msg, BM_ERR_LIMIT,
            "%u devices need %llu open files, and this process may have %llu; raise the limit as "
            "root (`prlimit --nofile=%llu --pid $$` in the shell, LimitNOFILE= in a unit) or take "
            "fewer devices",
            f->count, (unsigned long long)need, (unsigned long long)limit.rlim_max,
            (unsigned long long)need);
    limit.rlim_cur = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return bm_fail(msg, BM_ERR_LIMIT, "cannot have %llu open files: %s",
            (unsigned long long)need, strerror(errno));
    return BM_OK;
}

static void
show(const char *what, unsigned part, unsigned whole, const char *more)
{
    unsigned filled = whole > 0 ? BAR * part / whole : 0;
    char bar[BAR + 1];

    memset(bar, ' ', BAR);
    memset(bar, '#', filled < BAR ? filled : BAR);
    bar[BAR] = '\0';
    fprintf(stderr, "\r%s [%s] %u/%u%s\033[K", what, bar, part, whole, more);
}

static enum bm_err
make_devices(struct fleet *f, struct bm_msg *msg)
{
    const struct fleet_plan *p = f->o->plan;
    const struct fleet_device *twin = NULL;
    unsigned at = 0;
    enum bm_err err = BM_OK;

    for (size_t g = 0; g < p->group_count; g++) {
        for (unsigned n = 0; n < p->groups[g].count && err == BM_OK; n++, at++) {
            struct fleet_device *d = &f->devices[at];

            if (n == 0)
                twin = NULL;
            d->world = &f->world;
            d->group = &p->groups[g];
            d->number = n;
            d->index = at;
            backoff_init(&d->backoff, f->report->seed + at);
            err = fleet_device_init(d, f->keys, f->o->ca, f->o->subject, f->o->dir, twin, msg);
            if (p->groups[g].identity == FLEET_CLONE && n == 0)
                twin = d;
            if (f->o->progress && clock_mono_ms() - f->shown_ms >= PROGRESS_MS) {
                f->shown_ms = clock_mono_ms();
                show("keys and certificates", at, f->count, "");
            }
        }
    }
    return err;
}

/* ---- while it runs ---- */

static int64_t
run_ms(const struct fleet *f)
{
    return clock_mono_ms() - f->world.began_ms;
}

/* Should it be connected, and stay so? */
static bool
is_good(const struct fleet_device *d)
{
    return !d->group->refused && d->group->identity != FLEET_CLONE;
}

/* When the first is back, how long may the others still wait? */
static void
note_return(struct fleet *f, int64_t now_ms)
{
    struct outage *o = f->outage;

    o->back_ms = o->allowed_ms = now_ms;
    for (unsigned i = 0; i < f->count; i++) {
        const struct fleet_device *d = &f->devices[i];
        int64_t due = d->due_ms - f->world.began_ms;

        if (is_good(d) && d->been_in && d->state == FLEET_WAITING && due > o->allowed_ms)
            o->allowed_ms = due;
    }
}

static void
follow_outage(struct fleet *f)
{
    struct figures *g = &f->report->figures;
    unsigned lost = f->good - f->good_up;
    int64_t now = run_ms(f);

    if (f->outage == NULL && lost > 0 && !f->over) {
        if (g->outage_count < OUTAGES_MAX) {
            f->outage = &g->outages[g->outage_count];
            *f->outage =
                (struct outage){ .at_ms = now, .back_ms = -1, .allowed_ms = -1, .settled_ms = -1 };
        }
        g->outage_count++;
    }
    if (f->outage == NULL)
        return;
    if (lost > f->outage->lost)
        f->outage->lost = lost;
    if (lost == 0) {
        f->outage->settled_ms = now;
        f->outage = NULL;
    }
}

/* A device's state has changed. */
static void
on_changed(void *arg, struct fleet_device *d, enum fleet_state before)
{
    struct fleet *f = arg;

    f->up += d->state == FLEET_UP;
    f->up -= before == FLEET_UP;
    timeline_at(&f->report->figures.timeline, run_ms(f))->connected = f->up;
    if (!is_good(d))
        return;
    if (d->state == FLEET_UP && f->outage != NULL && f->outage->back_ms < 0 && d->joined)
        note_return(f, run_ms(f));
    f->good_up += d->state == FLEET_UP;
    f->good_up -= before == FLEET_UP;
    if (d->state == FLEET_UP && !d->joined) {
        d->joined = true;
        f->good++;
    }
    if (d->state == FLEET_GONE && d->joined)
        f->good--;
    follow_outage(f);
}

static void
stop(struct fleet *f, enum fleet_end end)
{
    f->report->end = end;
    f->over = true;
    loop_stop(f->world.loop);
}

static void
befall(struct fleet *f, const struct fleet_event *e)
{
    const struct fleet_group *group = e->group >= 0 ? &f->o->plan->groups[e->group] : NULL;

    if (e->what == FLEET_STOP) {
        stop(f, FLEET_TIME_OVER);
        return;
    }
    for (unsigned i = 0; i < f->count; i++) {
        struct fleet_device *d = &f->devices[i];

        if (group != NULL && d->group != group)
            continue;
        if (e->what == FLEET_STORM)
            fleet_device_cut(d);
        else
            fleet_device_leave(d);
    }
}

static bool
goes_on(const struct fleet *f)
{
    const struct fleet_plan *p = f->o->plan;

    if (p->stay || f->next_event < p->event_count)
        return true;
    for (size_t i = 0; i < p->group_count; i++) {
        const struct fleet_group *g = &p->groups[i];

        if (g->messages == 0 && g->topic[0] != '\0' && !g->refused)
            return true;
    }
    for (unsigned i = 0; i < f->count; i++) {
        if (!fleet_device_through(&f->devices[i]))
            return true;
    }
    return false;
}

static void
show_run(struct fleet *f)
{
    const struct figures *g = &f->report->figures;
    char more[160];
    uint64_t failures = 0;

    for (int o = 0; o < OUTCOME_COUNT; o++)
        failures += g->outcomes[o].attempts;
    (void)snprintf(more, sizeof more,
        " connected, %llu connects, %llu failed or lost, %llu messages, %llds",
        (unsigned long long)g->connects, (unsigned long long)failures,
        (unsigned long long)g->acknowledged, (long long)(run_ms(f) / 1000));
    show("fleet", f->up, f->count, more);
}

static void
on_tick(void *arg)
{
    struct fleet *f = arg;
    int64_t now = run_ms(f);

    while (f->next_event < f->o->plan->event_count && !f->over &&
           f->o->plan->events[f->next_event].at_ms <= now)
        befall(f, &f->o->plan->events[f->next_event++]);
    if (f->o->progress && clock_mono_ms() - f->shown_ms >= PROGRESS_MS) {
        f->shown_ms = clock_mono_ms();
        show_run(f);
    }
    if (f->over)
        return;
    if (now >= f->o->plan->for_ms)
        stop(f, goes_on(f) ? FLEET_TIME_OVER : FLEET_SETTLED);
    else if (!goes_on(f))
        stop(f, FLEET_SETTLED);
    else if (loop_after(f->world.loop, TICK_MS, on_tick, f) == NULL)
        stop(f, FLEET_INTERRUPTED);
}

static void
on_signal(void *arg)
{
    stop(arg, FLEET_INTERRUPTED);
}

/* ---- the report ---- */

static void
count_device(struct fleet *f, const struct fleet_device *d)
{
    struct fleet_report *r = f->report;
    struct fleet_group_report *g = &r->groups[d->group - f->o->plan->groups];
    int64_t wait = d->due_ms - clock_mono_ms();
    bool through = fleet_device_through(d);

    g->devices++;
    g->came_in += d->been_in;
    g->connected += d->state == FLEET_UP;
    g->refused += d->been_refused;
    g->through += through;
    r->through += through;
    r->connected += d->state == FLEET_UP;
    r->trying += d->state == FLEET_TRYING;
    r->intruders += d->group->refused && d->been_in;
    if (d->state == FLEET_WAITING || d->state == FLEET_IDLE) {
        r->waiting++;
        r->stuck += d->timer == NULL || wait < -SLACK_MS - TICK_MS;
        if (wait > r->longest_wait_ms)
            r->longest_wait_ms = wait;
    }
    r->stuck += d->state == FLEET_TRYING && d->connection == NULL;
}

static double
cpu_seconds(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static uint64_t
signatures(const struct fleet *f)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < f->count; i++) {
        const struct fleet_device *d = &f->devices[i];

        if (d->key != NULL && (d->group->identity != FLEET_CLONE || d->number == 0))
            sum += fleet_key_signatures(d->key);
    }
    return sum;
}

static enum bm_err
run(struct fleet *f, struct bm_msg *msg)
{
    struct fleet_report *r = f->report;
    struct rusage before;
    struct rusage after;
    uint64_t signed_before = signatures(f);
    enum bm_err err;

    for (unsigned i = 0; i < f->count; i++) {
        const struct fleet_group *g = f->devices[i].group;
        int64_t share = g->spread_ms * f->devices[i].number / g->count;

        fleet_device_begin(&f->devices[i], g->start_ms + share);
    }
    (void)getrusage(RUSAGE_SELF, &before);
    f->world.began_ms = clock_mono_ms();
    on_tick(f);
    err = loop_run(f->world.loop);
    if (f->o->progress)
        fprintf(stderr, "\r\033[K");
    if (err != BM_OK)
        return bm_fail(msg, err, "the event loop failed: %s", strerror(errno));
    f->over = true;
    (void)getrusage(RUSAGE_SELF, &after);
    r->run_s = (double)run_ms(f) / 1000;
    r->cpu_s = cpu_seconds(&after) - cpu_seconds(&before);
    r->memory_bytes = (int64_t)after.ru_maxrss * 1024;
    r->signatures = signatures(f) - signed_before;
    for (unsigned i = 0; i < f->count; i++)
        count_device(f, &f->devices[i]);
    return BM_OK;
}

static void
choose_seed(struct fleet *f)
{
    uint64_t *seed = &f->report->seed;

    *seed = f->o->plan->seed;
    if (*seed == 0 && getrandom(seed, sizeof *seed, 0) != sizeof *seed)
        *seed = (uint64_t)clock_mono_us();
    *seed &= 0x7fffffff; /* one that people can type */
}

static enum bm_err
prepare(struct fleet *f, struct bm_msg *msg)
{
    const struct fleet_plan *p = f->o->plan;
    struct fleet_report *r = f->report;
    int64_t began_us = clock_mono_us();
    enum bm_err err;

    f->world.figures = &r->figures;
    f->world.changed = on_changed;
    f->world.arg = f;
    f->world.address = f->address;
    f->world.port = f->o->port;
    f->world.tls = (struct tls_options){ .ca_file = f->o->ca_file,
        .server_name = f->o->server_name != NULL ? f->o->server_name : f->o->host };
    choose_seed(f);
    r->devices = f->count;
    r->group_count = p->group_count;
    for (size_t i = 0; i < p->group_count; i++) {
        (void)snprintf(r->groups[i].name, sizeof r->groups[i].name, "%s", p->groups[i].name);
        r->groups[i].identity = p->groups[i].identity;
        r->groups[i].expect_refused = p->groups[i].refused;
    }
    f->devices = calloc(f->count, sizeof *f->devices);
    if (f->devices == NULL || loop_new(&f->world.loop) != BM_OK ||
        loop_signal(f->world.loop, SIGINT, on_signal, f) != BM_OK ||
        loop_signal(f->world.loop, SIGTERM, on_signal, f) != BM_OK)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for %u devices", f->count);
    err = fleet_keys_new(&f->keys, msg);
    if (err == BM_OK)
        err = make_devices(f, msg);
    r->prepare_s = (double)(clock_mono_us() - began_us) / 1e6;
    return err;
}

enum bm_err
fleet_run(const struct fleet_options *o, struct fleet_report *report, struct bm_msg *msg)
{
    struct fleet f = { .o = o, .report = report, .count = fleet_plan_count(o->plan) };
    enum bm_err err = resolve(&f, msg);

    *report = (struct fleet_report){ 0 };
    if (err == BM_OK)
        err = allow_files(&f, msg);
    if (err == BM_OK)
        err = prepare(&f, msg);
    if (err == BM_OK)
        err = run(&f, msg);
    f.over = true;
    for (unsigned i = 0; f.devices != NULL && i < f.count; i++)
        fleet_device_fini(&f.devices[i]);
    free(f.devices);
    fleet_keys_free(f.keys);
    loop_free(f.world.loop);
    return err;
}
