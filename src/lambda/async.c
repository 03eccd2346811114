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
 * lets `scan` run in the next round. What we change ourselves is committed here too.
 */
#include "lambda/inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 2 * ASYNC_IN_FLIGHT_MAX, SCAN_FAR_MS = 60 * 1000, WHY_MAX = 120 };

static void scan(void *arg);

static void
scan_after(struct lambda *l, int64_t delay_ms)
{
    loop_cancel(l->options.loop, l->scan);
    l->scan = loop_after(l->options.loop, delay_ms, scan, l);
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
    l->dirty = true;
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
in_flight(const struct lambda *l, int64_t row)
{
    for (const struct function *f = l->functions; f != NULL; f = f->next) {
        if (f->worker != NULL && f->worker->now != NULL && f->worker->now->row == row)
            return true;
        for (const struct invocation *inv = f->first; inv != NULL; inv = inv->next) {
            if (inv->row == row)
                return true;
        }
    }
    return false;
}

static struct invocation *
copy_row(const struct registry_invocation *row)
{
    struct invocation *inv = calloc(1, sizeof *inv);

    if (inv == NULL)
        return NULL;
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
    int64_t next_ms; /* when the first row that is not due becomes so */
};

static void
scan_row(void *arg, const struct registry_invocation *row)
{
    struct scan *s = arg;
    struct lambda *l = s->lambda;
    struct invocation *inv;

    if (row->id >= l->first_uncommitted || in_flight(l, row->id))
        return;
    if (row->due_ms > s->now_ms) {
        if (row->due_ms < s->next_ms)
            s->next_ms = row->due_ms;
        return;
    }
    if (l->async_in_flight >= ASYNC_IN_FLIGHT_MAX)
        return; /* the end of one of them scans again */
    inv = copy_row(row);
    if (inv == NULL || function_enqueue(l, row->function, inv, NULL) != BM_OK) {
        invocation_free(inv);
        return;
    }
    l->async_in_flight++;
}

static void
scan(void *arg)
{
    struct lambda *l = arg;
    struct scan s = { l, clock_wall_ms(), INT64_MAX };
    struct bm_msg msg;

    l->scan = NULL;
    if (registry_invocation_list(l->options.registry, LIST_MAX, scan_row, &s, &msg) != BM_OK)
        log_error("cannot read the waiting invocations: %s", msg.text);
    if (s.next_ms - s.now_ms < SCAN_FAR_MS)
        scan_after(l, s.next_ms - s.now_ms);
    else if (l->scan == NULL)
        scan_after(l, SCAN_FAR_MS); /* the wall clock may have been set */
}

void
async_start(struct lambda *l)
{
    scan_after(l, 0); /* what the last run left */
}

void
async_settled(struct lambda *l)
{
    struct bm_msg msg;

    if (l->dirty && registry_commit(l->options.registry, &msg) != BM_OK)
        log_error("what functions answered is not stored, they run again: %s", msg.text);
    l->dirty = false;
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

void
async_answered(struct lambda *l, const struct invocation *inv, const struct lambda_result *result)
{
    struct registry *r = l->options.registry;
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
    }
    err = again ? registry_invocation_retry(r, inv->row, clock_wall_ms() + wait_ms, &msg)
                : registry_invocation_done(r, inv->row, &msg);
    if (err != BM_OK)
        log_error("invocation %s runs again: %s", inv->request_id, msg.text);
    l->async_in_flight--;
    l->dirty = true;
    scan_after(l, 0);
}
