/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invocations of type Event. SPEC aws-iot 4.3, 5.4.
 *
 * Each is a row of the registry until the function answered it; a process that dies, ours included,
 * therefore only makes it run again. A function's error puts the row off twice, then it is dropped
 * and the timeline says so.
 *
 * When may a row run? When it is durable. Rows are added in the open group; async_settled, which
 * the loop calls after the hooks that commit, knows that all rows added until then are on disk, and
 * lets `scan` run in the next round.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCAN_FAR_MS = 60 * 1000, WHY_MAX = 120 };

static void scan(void *arg);
static void on_answered(void *arg, const struct lambda_result *result);

/* Or earlier, when that was asked for before. */
static void
scan_after(struct lambda *l, int64_t delay_ms)
{
    int64_t at_ms = clock_mono_ms() + delay_ms;

    if (l->scan != NULL && l->scan_at_ms <= at_ms)
        return;
    loop_cancel(l->options.loop, l->scan);
    l->scan = loop_after(l->options.loop, delay_ms, scan, l);
    l->scan_at_ms = at_ms;
}

static void
changed(struct lambda *l)
{
    if (l->options.commit_soon != NULL)
        l->options.commit_soon(l->options.commit_arg);
}

/* ---- the timeline ---- */

static void
record(struct lambda *l, const struct invocation *inv, enum cause cause, const char *facts)
{
    struct timeline_record rec;
    struct bm_msg msg;

    timeline_fill(&rec, cause, inv->has_cert ? inv->cert_id : NULL, NULL, NULL, NULL, "%s", facts);
    if (registry_record(l->options.registry, &rec, &msg) != BM_OK)
        log_error("a timeline record is lost: %s", msg.text);
    changed(l);
}

static void
record_failure(struct lambda *l, const struct invocation *inv, const char *why, int64_t wait_ms)
{
    char facts[TIMELINE_FACTS_MAX + WHY_MAX + 64]; /* timeline_fill cuts */
    char then[48];

    if (wait_ms < 0)
        (void)snprintf(then, sizeof then, "given up");
    else
        (void)snprintf(then, sizeof then, "next in %.3g s", (double)wait_ms / 1000);
    (void)snprintf(facts, sizeof facts, "function=%s try=%d/%d then=\"%s\" error=\"%s\"",
        inv->function, inv->attempt + 1, ASYNC_ATTEMPTS, then, why);
    log_warn("function failed %s request=%s", facts, inv->request_id);
    record(l, inv, CAUSE_FUNCTION_FAILED, facts);
}

/* The errorMessage of an error object, or the start of what it is instead. */
static void
error_text(struct span payload, char out[WHY_MAX])
{
    json_t *root = json_loadb((const char *)payload.ptr, payload.len, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "errorMessage"));

    if (text != NULL)
        (void)snprintf(out, WHY_MAX, "%s", text);
    else
        (void)snprintf(out, WHY_MAX, "%.*s", (int)(payload.len < WHY_MAX ? payload.len : WHY_MAX),
            payload.len > 0 ? (const char *)payload.ptr : "");
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == '"')
            *c = ' ';
    }
    json_decref(root);
}

/* ---- rows to queues ---- */

static bool
in_flight(const struct function *f, int64_t row)
{
    for (const struct worker *w = f->workers; w != NULL; w = w->next) {
        if (w->now != NULL && w->now->row == row)
            return true;
    }
    for (const struct invocation *inv = f->first; inv != NULL; inv = inv->next) {
        if (inv->row == row)
            return true;
    }
    return false;
}

static struct invocation *
copy_row(const struct registry_invocation *row)
{
    struct invocation *inv = calloc(1, sizeof *inv);

    if (inv == NULL)
        return NULL;
    inv->fn = on_answered;
    inv->arg = inv;
    inv->row = row->id;
    inv->attempt = row->attempt;
    inv->has_cert = row->has_cert;
    memcpy(inv->cert_id, row->cert_id, sizeof inv->cert_id);
    (void)snprintf(inv->request_id, sizeof inv->request_id, "%s", row->request_id);
    buf_add(&inv->payload, row->payload.ptr, row->payload.len);
    if (inv->payload.failed) {
        invocation_free(inv);
        return NULL;
    }
    return inv;
}

struct scan {
    struct lambda *lambda;
    int64_t now_ms;
    struct function *function; /* whose rows are read */
    size_t seen;
};

static void
scan_row(void *arg, const struct registry_invocation *row)
{
    struct scan *s = arg;
    struct lambda *l = s->lambda;
    struct function *f = s->function;
    struct invocation *inv;

    s->seen++;
    if (row->id >= l->first_uncommitted || in_flight(f, row->id))
        return;
    if (f->async >= ASYNC_PER_FUNCTION || (f->async > 0 && l->async_bytes > ASYNC_BYTES_MAX)) {
        f->more = true;
        return;
    }
    inv = copy_row(row);
    if (inv == NULL)
        return;
    function_enqueue(f, inv);
    f->async++;
    l->async_bytes += inv->payload.len;
}

/* What is in memory is in the registry too, and is among the first that are due. */
static void
scan_function(void *arg, const char *name)
{
    struct scan *s = arg;
    size_t limit;
    struct bm_msg msg;

    s->function = pool_function(s->lambda, name);
    if (s->function == NULL)
        return;
    if (s->function->async >= ASYNC_LOW && s->function->more)
        return;
    limit = s->function->async + ASYNC_PER_FUNCTION;
    s->seen = 0;
    s->function->more = false;
    if (registry_invocation_due(
            s->lambda->options.registry, name, s->now_ms, limit, scan_row, s, &msg) != BM_OK)
        log_error("cannot read the waiting invocations of %s: %s", name, msg.text);
    s->function->more = s->function->more || s->seen == limit;
}

static void
scan(void *arg)
{
    struct lambda *l = arg;
    struct scan s = { .lambda = l, .now_ms = clock_wall_ms() };
    int64_t next_ms = INT64_MAX;
    struct bm_msg msg;

    l->scan = NULL;
    if (registry_invocation_functions(l->options.registry, scan_function, &s, &msg) != BM_OK ||
        registry_invocation_next(l->options.registry, s.now_ms, &next_ms, &msg) != BM_OK)
        log_error("cannot read the waiting invocations: %s", msg.text);
    /* no later than that: the wall clock may have been set */
    scan_after(l, next_ms - s.now_ms < SCAN_FAR_MS ? next_ms - s.now_ms : SCAN_FAR_MS);
}

void
async_start(struct lambda *l)
{
    scan_after(l, 0); /* what the last run left */
}

void
async_settled(struct lambda *l)
{
    if (l->first_uncommitted != INT64_MAX) {
        l->first_uncommitted = INT64_MAX;
        scan_after(l, 0);
    }
}

enum bm_err
lambda_invoke_async(struct lambda *l, const char *name, struct span payload, const uint8_t *cert_id,
    struct bm_msg *msg)
{
    struct registry_function stored = { 0 };
    struct registry_invocation row = { .has_cert = cert_id != NULL };
    enum bm_err err;

    if (payload.len > LAMBDA_PAYLOAD_ASYNC_MAX)
        return bm_fail(msg, BM_ERR_LIMIT, "the payload has %zu bytes; at most %d are taken",
            payload.len, LAMBDA_PAYLOAD_ASYNC_MAX);
    err = registry_function_get(l->options.registry, name, &stored, msg);
    registry_function_fini(&stored);
    if (err != BM_OK)
        return err;
    (void)snprintf(row.function, sizeof row.function, "%s", name);
    if (cert_id != NULL)
        memcpy(row.cert_id, cert_id, sizeof row.cert_id);
    buf_add(&row.payload, payload.ptr, payload.len);
    row.due_ms = clock_wall_ms();
    err = row.payload.failed ? BM_ERR_MEM : registry_invocation_add(l->options.registry, &row, msg);
    if (err == BM_OK && row.id < l->first_uncommitted)
        l->first_uncommitted = row.id;
    buf_fini(&row.payload);
    return err;
}

enum bm_err
lambda_resend(struct lambda *l, int64_t letter, struct bm_msg *msg)
{
    int64_t row = INT64_MAX;
    enum bm_err err = registry_letter_resend(l->options.registry, letter, &row, msg);

    if (err == BM_OK && row < l->first_uncommitted)
        l->first_uncommitted = row;
    return err;
}

/* ---- answers ---- */

void
async_delivered(struct lambda *l, const struct invocation *inv)
{
    char facts[TIMELINE_FACTS_MAX + 1];

    if (inv->row == 0)
        return;
    (void)snprintf(facts, sizeof facts, "function=%s request=%s try=%d/%d", inv->function,
        inv->request_id, inv->attempt + 1, ASYNC_ATTEMPTS);
    record(l, inv, CAUSE_FUNCTION_INVOKED, facts);
}

static void
succeeded(struct lambda *l, const struct invocation *inv)
{
    char facts[TIMELINE_FACTS_MAX + 1];

    (void)snprintf(facts, sizeof facts, "function=%s request=%s ms=%" PRId64, inv->function,
        inv->request_id, clock_mono_ms() - inv->started_ms);
    record(l, inv, CAUSE_FUNCTION_SUCCEEDED, facts);
}

/* In the group that deletes the invocation. */
static void
keep_letter(struct lambda *l, const struct invocation *inv, const char *why)
{
    struct registry_letter letter = { .kind = "function",
        .attempts = inv->attempt + 1,
        .has_cert = inv->has_cert,
        .payload = inv->payload };
    struct bm_msg msg;

    (void)snprintf(letter.target, sizeof letter.target, "%s", inv->function);
    (void)snprintf(letter.request_id, sizeof letter.request_id, "%s", inv->request_id);
    (void)snprintf(letter.cause, sizeof letter.cause, "%s", why);
    memcpy(letter.cert_id, inv->cert_id, sizeof letter.cert_id);
    if (registry_letter_add(l->options.registry, &letter, &msg) != BM_OK)
        log_error("a dead letter is lost function=%s: %s", inv->function, msg.text);
}

static void
on_answered(void *arg, const struct lambda_result *result)
{
    const struct invocation *inv = arg;
    struct lambda *l = inv->lambda;
    struct registry *r = l->options.registry;
    struct function *f = pool_find(l, inv->function);
    bool again = result->error != NULL && inv->attempt + 1 < ASYNC_ATTEMPTS;
    int64_t wait_ms = again ? l->options.retry_ms[inv->attempt] : -1;
    char why[WHY_MAX];
    struct bm_msg msg;
    enum bm_err err;

    if (result->error == NULL) {
        succeeded(l, inv);
    } else {
        error_text(result->payload, why);
        record_failure(l, inv, why, wait_ms);
        if (!again)
            keep_letter(l, inv, why);
    }
    err = again ? registry_invocation_retry(r, inv->row, clock_wall_ms() + wait_ms, &msg)
                : registry_invocation_done(r, inv->row, &msg);
    if (err != BM_OK)
        log_error("invocation %s runs again: %s", inv->request_id, msg.text);
    l->async_bytes -= inv->payload.len;
    changed(l);
    if (f == NULL)
        return;
    f->async--;
    if (again)
        scan_after(l, wait_ms);
    else if (f->more && f->async < ASYNC_LOW)
        scan_after(l, 0);
}
