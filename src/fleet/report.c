/* SPDX-License-Identifier: Apache-2.0 */
/* See fleet.h: the report as JSON, which stays as it is, and as text for people, which may change.
 */
#include "fleet/fleet.h"

#include <stdio.h>

static const char *const ends[] = { [FLEET_SETTLED] = "settled",
    [FLEET_TIME_OVER] = "time-over",
    [FLEET_INTERRUPTED] = "interrupted" };

static double
ms(int64_t us)
{
    return (double)us / 1000;
}

/* -1 (it did not happen) stays what it is. */
static double
seconds(int64_t in_ms)
{
    return in_ms < 0 ? -1 : (double)in_ms / 1000;
}

/* ---- JSON ---- */

static json_t *
latencies_json(const struct figures *f)
{
    json_t *all = json_object();

    for (int l = 0; l < LATENCY_COUNT; l++) {
        const struct spread *s = &f->spreads[l];

        (void)json_object_set_new(all, latency_name((enum latency)l),
            json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)s->count, "p50",
                ms(spread_at(s, 0.5)), "p90", ms(spread_at(s, 0.9)), "p99", ms(spread_at(s, 0.99)),
                "max", ms(s->max_us)));
    }
    return all;
}

static json_t *
groups_json(const struct fleet_report *r)
{
    json_t *all = json_array();

    for (size_t i = 0; i < r->group_count; i++) {
        const struct fleet_group_report *g = &r->groups[i];

        (void)json_array_append_new(
            all, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "name", g->name, "identity",
                     fleet_identity_name(g->identity), "expect",
                     g->expect_refused ? "refused" : "connected", "devices", (int)g->devices,
                     "came_in", (int)g->came_in, "connected", (int)g->connected, "refused",
                     (int)g->refused, "through", (int)g->through));
    }
    return all;
}

static json_t *
causes_json(const struct figures *f)
{
    json_t *all = json_array();

    for (int o = 0; o < OUTCOME_COUNT; o++) {
        const struct outcome_count *c = &f->outcomes[o];
        const struct cause_info *info = cause_info(outcome_info((enum outcome)o)->cause);

        if (c->attempts > 0)
            (void)json_array_append_new(
                all, json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "cause", info->id, "sentence",
                         info->sentence, "cure", info->cure, "attempts", (int)c->attempts,
                         "devices", (int)c->devices, "seen", c->detail));
    }
    return all;
}

static json_t *
outages_json(const struct figures *f)
{
    json_t *all = json_array();

    for (size_t i = 0; i < f->outage_count && i < OUTAGES_MAX; i++) {
        const struct outage *o = &f->outages[i];

        (void)json_array_append_new(
            all, json_pack("{s:f, s:i, s:f, s:f, s:f}", "at", seconds(o->at_ms), "lost",
                     (int)o->lost, "first_back", seconds(o->back_ms), "waits_end",
                     seconds(o->allowed_ms), "settled", seconds(o->settled_ms)));
    }
    return all;
}

static json_t *
course_json(const struct timeline *t)
{
    json_t *steps = json_array();

    for (size_t i = 0; i < t->count; i++) {
        const struct timeline_step *s = &t->steps[i];

        (void)json_array_append_new(
            steps, json_pack("[i, i, i, i]", (int)s->connected, (int)s->connects, (int)s->failures,
                       (int)s->messages));
    }
    return json_pack("{s:f, s:[s, s, s, s], s:o}", "step", seconds(t->step_ms), "columns",
        "connected", "connects", "failures", "messages", "steps", steps);
}

json_t *
fleet_report_json(const struct fleet_report *r)
{
    const struct figures *f = &r->figures;

    return json_pack("{s:s, s:I, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f,"
                     " s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I, s:I},"
                     " s:{s:f, s:I}, s:o, s:o, s:o, s:o, s:i, s:o}",
        "end", ends[r->end], "seed", (json_int_t)r->seed, "seconds", r->run_s, "prepare_seconds",
        r->prepare_s, "devices", (int)r->devices, "through", (int)r->through, "connected",
        (int)r->connected, "trying", (int)r->trying, "waiting", (int)r->waiting, "stuck",
        (int)r->stuck, "intruders", (int)r->intruders, "longest_wait", seconds(r->longest_wait_ms),
        "connects", "attempts", (json_int_t)f->attempts, "tls", (json_int_t)f->handshakes,
        "connack", (json_int_t)f->connects, "signatures", (json_int_t)r->signatures, "messages",
        "sent", (json_int_t)f->sent, "acknowledged", (json_int_t)f->acknowledged, "refused",
        (json_int_t)f->refused, "lost", (json_int_t)f->lost, "received", (json_int_t)f->received,
        "filters_refused", (json_int_t)f->filters_refused, "process", "cpu_seconds", r->cpu_s,
        "memory_bytes", (json_int_t)r->memory_bytes, "groups", groups_json(r), "latency_ms",
        latencies_json(f), "causes", causes_json(f), "outages", outages_json(f), "outage_count",
        (int)f->outage_count, "timeline", course_json(&f->timeline));
}

/* ---- text ---- */

static void
text_groups(const struct fleet_report *r, struct buf *out)
{
    buf_addf(out, "\n%-16s %-14s %8s %8s %9s %8s  %s\n", "group", "identity", "devices", "came in",
        "connected", "refused", "as expected");
    for (size_t i = 0; i < r->group_count; i++) {
        const struct fleet_group_report *g = &r->groups[i];

        buf_addf(out, "%-16s %-14s %8u %8u %9u %8u  %u\n", g->name,
            fleet_identity_name(g->identity), g->devices, g->came_in, g->connected, g->refused,
            g->through);
    }
}

static void
text_latencies(const struct figures *f, struct buf *out)
{
    buf_addf(out, "\n%-8s %8s %10s %10s %10s %10s  ms\n", "latency", "count", "p50", "p90", "p99",
        "max");
    for (int l = 0; l < LATENCY_COUNT; l++) {
        const struct spread *s = &f->spreads[l];

        if (s->count > 0)
            buf_addf(out, "%-8s %8llu %10.2f %10.2f %10.2f %10.2f\n", latency_name((enum latency)l),
                (unsigned long long)s->count, ms(spread_at(s, 0.5)), ms(spread_at(s, 0.9)),
                ms(spread_at(s, 0.99)), ms(s->max_us));
    }
}

static void
text_causes(const struct figures *f, struct buf *out)
{
    bool any = false;

    for (int o = 0; o < OUTCOME_COUNT; o++) {
        const struct outcome_count *c = &f->outcomes[o];
        const struct cause_info *info = cause_info(outcome_info((enum outcome)o)->cause);

        if (c->attempts == 0)
            continue;
        if (!any)
            buf_addf(out, "\nrefused, failed or lost\n");
        any = true;
        buf_addf(out, "  %u times, %u devices: %s (%s)\n", c->attempts, c->devices, info->sentence,
            info->id);
        if (c->detail[0] != '\0')
            buf_addf(out, "      seen first: %s\n", c->detail);
        if (info->cure[0] != '\0')
            buf_addf(out, "      cure: %s\n", info->cure);
    }
}

static void
text_outages(const struct figures *f, struct buf *out)
{
    for (size_t i = 0; i < f->outage_count && i < OUTAGES_MAX; i++) {
        const struct outage *o = &f->outages[i];

        buf_addf(out, "%s%7.1f s: %u connections lost", i == 0 ? "\noutages\n" : "",
            seconds(o->at_ms), o->lost);
        if (o->back_ms >= 0)
            buf_addf(out, "; the first back at %.1f s, the last wait ends at %.1f s",
                seconds(o->back_ms), seconds(o->allowed_ms));
        if (o->settled_ms >= 0)
            buf_addf(out, "; all back at %.1f s\n", seconds(o->settled_ms));
        else
            buf_addf(out, "; not all came back\n");
    }
    if (f->outage_count > OUTAGES_MAX)
        buf_addf(out, "and %zu more\n", f->outage_count - OUTAGES_MAX);
}

void
fleet_report_text(const struct fleet_report *r, struct buf *out)
{
    static const char *const words[] = { [FLEET_SETTLED] = "settled",
        [FLEET_TIME_OVER] = "ended, its time was over,",
        [FLEET_INTERRUPTED] = "interrupted" };
    const struct figures *f = &r->figures;

    buf_addf(out,
        "%u devices, %s after %.1f s: %u connected, %u where they should be (seed %llu)\n",
        r->devices, words[r->end], r->run_s, r->connected, r->through, (unsigned long long)r->seed);
    if (r->intruders > 0)
        buf_addf(out, "%u devices came in that should have been refused\n", r->intruders);
    if (r->waiting + r->trying + r->stuck > 0)
        buf_addf(out, "%u wait for their next attempt (the longest %.0f s), %u try, %u are stuck\n",
            r->waiting, (double)r->longest_wait_ms / 1000, r->trying, r->stuck);
    text_groups(r, out);
    text_latencies(f, out);
    text_causes(f, out);
    text_outages(f, out);
    buf_addf(out,
        "\nconnects: %llu attempts, %llu handshakes, %llu CONNACKs; the chips signed %llu times\n",
        (unsigned long long)f->attempts, (unsigned long long)f->handshakes,
        (unsigned long long)f->connects, (unsigned long long)r->signatures);
    buf_addf(out,
        "messages: %llu sent, %llu acknowledged, %llu refused, %llu lost, %llu received%s\n",
        (unsigned long long)f->sent, (unsigned long long)f->acknowledged,
        (unsigned long long)f->refused, (unsigned long long)f->lost,
        (unsigned long long)f->received, f->filters_refused > 0 ? "; filters were refused" : "");
    buf_addf(out,
        "this process: %.1f s CPU in %.1f s, %.0f MB; keys and certificates took %.1f s\n",
        r->cpu_s, r->run_s, (double)r->memory_bytes / 1e6, r->prepare_s);
}
