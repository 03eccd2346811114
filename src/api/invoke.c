/* SPDX-License-Identifier: Apache-2.0 */
/* Invoke, in its three kinds, and InvokeAsync, its predecessor. SPEC aws-iot 5.5. */
#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

static void
on_done(void *arg, const struct lambda_result *result)
{
    struct call *c = arg;
    struct buf log = { 0 };

    http_set_header(c->rq, "X-Amz-Executed-Version", "$LATEST");
    if (result->error != NULL)
        http_set_header(c->rq, "X-Amz-Function-Error", result->error);
    if (c->want_log && base64_encode(&log, result->log_tail) == BM_OK && buf_cstr(&log) != NULL)
        http_set_header(c->rq, "X-Amz-Log-Result", (const char *)log.ptr);
    call_reply_raw(c, 200, "application/json", result->payload);
    buf_fini(&log);
    call_end(c);
}

/* An empty body is an empty event. */
static struct span
event_of(const struct call *c)
{
    struct span body = http_body(c->rq);

    return body.len > 0 ? body : span_str("{}");
}

static bool
check_event(struct call *c, size_t max)
{
    struct span event = event_of(c);
    json_error_t at;
    json_t *value;

    if (event.len > max) {
        call_refuse(c, REQUEST_TOO_LARGE,
            "%zu byte payload is too large for this kind of invocation "
            "(limit %zu bytes)",
            event.len, max);
        return false;
    }
    value = json_loadb((const char *)event.ptr, event.len, JSON_DECODE_ANY, &at);
    if (value == NULL) {
        call_refuse(c, INVALID_CONTENT,
            "Could not parse request body into json: %s, line %d column %d", at.text, at.line,
            at.column);
        return false;
    }
    json_decref(value);
    return true;
}

static void
refuse_invocation(struct call *c, enum bm_err err, const struct bm_msg *msg)
{
    call_refuse(c,
        err == BM_ERR_LIMIT       ? REQUEST_TOO_LARGE
        : err == BM_ERR_CONFLICT  ? TOO_MANY_REQUESTS
        : err == BM_ERR_NOT_FOUND ? NOT_FOUND
                                  : SERVICE_FAILURE,
        "%s", msg->text);
}

static void
invoke_now(struct call *c, const char *name)
{
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!check_event(c, LAMBDA_PAYLOAD_SYNC_MAX))
        return;
    err = lambda_invoke(c->account->lambda, name, event_of(c), on_done, c, &msg);
    if (err == BM_OK)
        call_wait(c);
    else
        refuse_invocation(c, err, &msg);
}

/* `birthmark dead-letters resend`: not the body, but the event of this dead letter, instead of it. */
static const char letter_header[] = "X-Birthmark-Dead-Letter";

static void
resend(struct call *c, const char *number)
{
    struct bm_msg msg = { "" };
    long long id = strtoll(number, NULL, 10);
    enum bm_err err = lambda_resend(c->account->lambda, id, &msg);

    if (err == BM_ERR_CONFLICT)
        call_refuse_input(c, "%s", msg.text);
    else if (err != BM_OK)
        refuse_invocation(c, err, &msg);
    else if (call_commit(c))
        call_reply_empty(c, 202);
}

static void
invoke_later(struct call *c, const char *name)
{
    const char *letter = http_header(c->rq, letter_header);
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (letter != NULL) {
        resend(c, letter);
        return;
    }
    if (!check_event(c, LAMBDA_PAYLOAD_ASYNC_MAX))
        return;
    err = lambda_invoke_async(c->account->lambda, name, event_of(c), NULL, &msg);
    if (err != BM_OK)
        refuse_invocation(c, err, &msg);
    else if (call_commit(c))
        call_reply_empty(c, 202);
}

static bool
check_headers(struct call *c)
{
    const char *log = http_header(c->rq, "X-Amz-Log-Type");

    if (log != NULL && strcmp(log, "None") != 0 && strcmp(log, "Tail") != 0) {
        call_refuse_input(c, "X-Amz-Log-Type is '%.60s'; want None or Tail.", log);
        return false;
    }
    c->want_log = log != NULL && strcmp(log, "Tail") == 0;
    if (http_header(c->rq, "X-Amz-Client-Context") == NULL)
        return true;
    call_refuse(c, NOT_BUILT, "X-Amz-Client-Context is not built here; leave it out.");
    return false;
}

void
api_invoke_function(struct call *c)
{
    const char *type = http_header(c->rq, "X-Amz-Invocation-Type");
    struct registry_function f;

    if (!check_headers(c) || !call_function(c, &f))
        return;
    if (type == NULL || strcmp(type, "RequestResponse") == 0)
        invoke_now(c, f.name);
    else if (strcmp(type, "Event") == 0)
        invoke_later(c, f.name);
    else if (strcmp(type, "DryRun") == 0)
        call_reply_empty(c, 204);
    else
        call_refuse_input(
            c, "X-Amz-Invocation-Type is '%.60s'; want RequestResponse, Event or DryRun.", type);
    registry_function_fini(&f);
}

void
api_invoke_async(struct call *c)
{
    struct bm_msg msg = { "" };
    struct registry_function f;
    enum bm_err err;

    if (!check_event(c, LAMBDA_PAYLOAD_ASYNC_MAX) || !call_function(c, &f))
        return;
    err = lambda_invoke_async(c->account->lambda, f.name, event_of(c), NULL, &msg);
    if (err != BM_OK)
        refuse_invocation(c, err, &msg);
    else if (call_commit(c))
        call_reply_json(c, 202, json_object()); /* Status is the HTTP status */
    registry_function_fini(&f);
}
