/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cloud's numbers for the overview: the workers' counters every two seconds while somebody is
 * logged in, kept for ten minutes; and how many certificates are in which state, counted in the
 * shared table in small steps, so that ten million of them stop nobody.
 */
#include "console/inside.h"

#include "base/clock.h"

enum {
    TALLY_STEP = 64 * 1024, /* places of the table in one go: some hundred microseconds */
    TALLY_STEP_MS = 5,
    TALLY_REST_MS = 2000, /* for each million places */
};

static void
take(const struct site *c, struct sample *out)
{
    const struct metrics *m = c->console->options.metrics;
    size_t n = c->console->options.metrics_count;

    *out = (struct sample){ .time_ms = clock_wall_ms(),
        .connections = metrics_sum(m, n, METRIC_CONNECTIONS),
        .accepted = metrics_sum(m, n, METRIC_ACCEPTED),
        .admitted = metrics_cause_sum(m, n, CAUSE_ADMITTED),
        .published = metrics_sum(m, n, METRIC_PUBLISHED),
        .delivered = metrics_sum(m, n, METRIC_DELIVERED) };
    for (unsigned cause = CAUSE_NONE + 1; cause < CAUSE_COUNT; cause++) {
        if (cause_info((enum cause)cause)->kind == CAUSE_REFUSE)
            out->refused += metrics_cause_sum(m, n, (enum cause)cause);
    }
}

static json_t *
sample_json(const struct sample *s)
{
    return json_pack("[I,I,I,I,I,I,I]", (json_int_t)s->time_ms, (json_int_t)s->connections,
        (json_int_t)s->accepted, (json_int_t)s->admitted, (json_int_t)s->refused,
        (json_int_t)s->published, (json_int_t)s->delivered);
}

static json_t *
certificates_json(const struct site *c)
{
    json_t *o = json_object();

    for (unsigned s = CERT_ACTIVE; s <= CERT_PENDING_ACTIVATION && c->samples.counted; s++)
        (void)json_object_set_new(o, cert_status_name((enum cert_status)s),
            json_integer((json_int_t)c->samples.certificates[s]));
    (void)json_object_set_new(o, "total", json_integer((json_int_t)table_count(c->account->table)));
    return o;
}

/* ---- how many certificates ---- */

/* True when the count is whole. */
static bool
tally_step(struct site *c)
{
    struct samples *s = &c->samples;

    s->tally_at = table_tally(c->account->table, s->tally_at, TALLY_STEP, s->tally);
    if (s->tally_at != 0)
        return false;
    for (size_t i = 0; i < TABLE_STATUS_COUNT; i++) {
        s->certificates[i] = s->tally[i];
        s->tally[i] = 0;
    }
    s->counted = true;
    s->counted_ms = clock_mono_ms();
    return true;
}

static void
on_tally(void *arg)
{
    struct site *c = arg;

    c->samples.tally_timer = NULL;
    if (!tally_step(c))
        c->samples.tally_timer = loop_after(c->loop, TALLY_STEP_MS, on_tally, c);
}

static void
count_again(struct site *c)
{
    struct samples *s = &c->samples;
    int64_t rest = (int64_t)(table_count(c->account->table) >> 20) * TALLY_REST_MS;

    if (table_count(c->account->table) < TALLY_STEP / 2) { /* at once: it shows the present */
        while (!tally_step(c)) {
        }
        return;
    }
    if (s->tally_timer == NULL && (!s->counted || clock_mono_ms() - s->counted_ms >= rest))
        s->tally_timer = loop_after(c->loop, 0, on_tally, c);
}

/* ---- samples ---- */

static void
on_sample(void *arg)
{
    struct site *c = arg;
    struct samples *s = &c->samples;
    struct sample *newest = &s->ring[s->count++ % SAMPLES_MAX];

    s->timer = NULL;
    take(c, newest);
    if (c->streams != NULL) {
        count_again(c);
        streams_tell(c, "numbers",
            json_pack(
                "{s:o,s:o}", "sample", sample_json(newest), "certificates", certificates_json(c)));
    }
    if (sessions_any(&c->console->sessions, clock_mono_ms()))
        s->timer = loop_after(c->loop, SAMPLE_MS, on_sample, c);
}

void
samples_start(struct site *c)
{
    if (c->samples.timer != NULL)
        return;
    c->samples.count = 0; /* what is older has a hole behind it */
    on_sample(c);
}

void
samples_end(struct site *c)
{
    loop_cancel(c->loop, c->samples.timer);
    loop_cancel(c->loop, c->samples.tally_timer);
}

void
view_overview(struct site *c, struct http_request *rq)
{
    const struct samples *s = &c->samples;
    size_t first = s->count > SAMPLES_MAX ? s->count - SAMPLES_MAX : 0;
    json_t *list = json_array();

    for (size_t i = first; i < s->count; i++)
        (void)json_array_append_new(list, sample_json(&s->ring[i % SAMPLES_MAX]));
    count_again(c);
    reply_json(rq, 200,
        json_pack("{s:o,s:o,s:i}", "samples", list, "certificates", certificates_json(c),
            "sampleMs", SAMPLE_MS));
}
