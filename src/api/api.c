/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane's entry: one request from the socket to its handler. See internal.h for the
 * life of a call.
 */
#include "api/api.h"

#include "api/internal.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* a package of LAMBDA_ZIP_MAX in base64 inside JSON */
    BODY_MAX = LAMBDA_ZIP_MAX / 3 * 4 + 1024 * 1024,
    JSON_BODY_MAX = 4 * 1024 * 1024, /* of every operation that takes no package */
};

/* ---- the signature ---- */

struct header_list {
    struct sigv4_header all[HTTP_HEADERS_MAX];
    size_t count;
};

static void
add_header(void *arg, const char *name, const char *value)
{
    struct header_list *list = arg;

    if (list->count < HTTP_HEADERS_MAX)
        list->all[list->count++] = (struct sigv4_header){ name, value };
}

/* Finds the account: that of the key that the request names. */
/* The call is of this key's account. */
static void
take_key(struct call *c, const struct api_key *key)
{
    c->account = &c->api->options.accounts[key->account];
    c->access_key = key->access_key;
    c->registry = c->account->registry;
}

static void
verify(struct call *c, struct sigv4_result *out)
{
    const struct api_options *o = &c->api->options;
    struct header_list headers = { .count = 0 };
    struct sigv4_request rq = { .method = http_method(c->rq),
        .path = http_path(c->rq),
        .query = http_query(c->rq),
        .headers = headers.all,
        .body = http_body(c->rq) };

    http_headers(c->rq, add_header, &headers);
    rq.header_count = headers.count;
    for (size_t i = 0; i < o->key_count; i++) {
        const struct api_key *key = &o->keys[i];

        sigv4_verify(&rq, key->access_key, key->secret_key, clock_wall_ms(), out);
        if (out->verdict == SIGV4_UNKNOWN_KEY)
            continue;
        take_key(c, key);
        return;
    }
}

static enum problem
problem_of(enum sigv4_verdict verdict)
{
    switch (verdict) {
    case SIGV4_MISSING:
        return MISSING_TOKEN;
    case SIGV4_INCOMPLETE:
        return INCOMPLETE_SIGNATURE;
    case SIGV4_UNKNOWN_KEY:
        return UNKNOWN_KEY;
    case SIGV4_OK:
    case SIGV4_EXPIRED:
    case SIGV4_MISMATCH:
        break;
    }
    return INVALID_SIGNATURE;
}

/* SPEC aws-iot 2.1: two names for the control plane, depending on the client's age. */
static bool
scope_fits(enum service service, const char *scope)
{
    switch (service) {
    case SERVICE_IOT:
        return strcmp(scope, "execute-api") == 0 || strcmp(scope, "iot") == 0;
    case SERVICE_DATA:
        return strcmp(scope, "iotdata") == 0;
    case SERVICE_LAMBDA:
        return strcmp(scope, "lambda") == 0;
    }
    return false;
}

static bool
authorize(struct call *c)
{
    struct sigv4_result r;
    bool data = c->op != NULL && c->op->service == SERVICE_DATA; /* SPEC aws-iot 2.5 */

    verify(c, &r);
    if (r.verdict == SIGV4_MISSING && c->op != NULL &&
        operation_handler(c->op) == api_confirm_topic_rule_destination) {
        c->account = &c->api->options.accounts[0]; /* until the handler finds whose token it is */
        c->registry = c->account->registry;
        return true;
    }
    if (r.verdict != SIGV4_OK) {
        call_refuse(c, data ? FORBIDDEN : problem_of(r.verdict), "%s", r.message.text);
        return false;
    }
    if (c->op == NULL || scope_fits(c->op->service, r.service))
        return true;
    call_refuse(c, data ? FORBIDDEN : INVALID_SIGNATURE,
        "Credential should be scoped to the service '%s', not '%s', for %s.",
        operation_service(c->op), r.service, c->op->name);
    return false;
}

/* ---- what the handler finds decoded ---- */

static bool
decode_labels(struct call *c)
{
    for (size_t i = 0; i < LABELS_MAX; i++) {
        struct buf plain = { 0 };

        if (http_decode(buf_span(&c->labels[i]), &plain) != BM_OK || buf_cstr(&plain) == NULL) {
            buf_fini(&plain);
            call_refuse(c, UNAVAILABLE, "Out of memory for the request's path; try again.");
            return false;
        }
        buf_fini(&c->labels[i]);
        c->labels[i] = plain;
    }
    return true;
}

static bool
takes_package(const struct call *c)
{
    return c->op->service == SERVICE_LAMBDA;
}

static bool
decode_body(struct call *c)
{
    struct span body = http_body(c->rq);
    json_error_t at;

    if (c->op->body != BODY_JSON)
        return true;
    if (!takes_package(c) && body.len > JSON_BODY_MAX) {
        call_refuse_input(
            c, "The body has %zu bytes; at most %d are read.", body.len, JSON_BODY_MAX);
        return false;
    }
    c->body = body.len > 0
                  ? json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &at)
                  : json_object();
    if (json_is_object(c->body))
        return true;
    if (c->body != NULL)
        call_refuse(c, c->op->service == SERVICE_LAMBDA ? INVALID_CONTENT : INVALID_REQUEST,
            "The body is JSON, but not an object.");
    else
        call_refuse(c, c->op->service == SERVICE_LAMBDA ? INVALID_CONTENT : INVALID_REQUEST,
            "The body is not JSON: %s, line %d column %d.", at.text, at.line, at.column);
    return false;
}

static void
refuse_unknown(struct call *c, const struct operation *other)
{
    if (c->op != NULL)
        call_refuse(c, NOT_BUILT,
            "%s (%s %s) is not built here; `birthmark cloud --coverage` lists what is.",
            c->op->name, http_method(c->rq), c->path);
    else if (other != NULL)
        call_refuse(c, METHOD_NOT_ALLOWED, "%s is no method of %s; %s is, for %s.",
            http_method(c->rq), c->path, other->method, other->name);
    else
        call_refuse(c, NOT_BUILT,
            "%s %s is no operation of AWS IoT, IoT data or Lambda that is known here; `birthmark "
            "cloud "
            "--coverage` lists what is built.",
            http_method(c->rq), c->path);
}

/* SPEC aws-iot 4.3 */
static bool
within_rate(struct call *c)
{
    const struct api_options *o = &c->api->options;
    unsigned max = 0;

    if (o->rate != NULL && c->op->service == SERVICE_IOT)
        max = o->rate(c->account->arg, c->op->name);
    if (max != 0)
        call_refuse(
            c, THROTTLED, "Rate exceeded: at most %u calls of %s a second here.", max, c->op->name);
    return max == 0;
}

static void
serve(struct api *a, struct http_request *rq, const char *path, const struct api_key *trusted)
{
    struct call *c = calloc(1, sizeof *c);
    const struct operation *other;

    if (c == NULL) {
        http_reply(rq, 503, NULL, span_of(NULL, 0));
        return;
    }
    c->api = a;
    c->rq = rq;
    c->path = path;
    c->op = operation_find(http_method(rq), path, http_query(rq), c->labels, &other);
    if (trusted != NULL)
        take_key(c, trusted);
    if (trusted != NULL || authorize(c)) {
        operation_fn handler = c->op != NULL ? operation_handler(c->op) : NULL;

        if (handler == NULL)
            refuse_unknown(c, other);
        else if (decode_labels(c) && decode_body(c) && call_check(c) && within_rate(c))
            handler(c);
    }
    if (c->answered)
        call_end(c);
}

static void
on_request(void *arg, struct http_request *rq)
{
    serve(arg, rq, http_path(rq), NULL);
}

void
api_serve(struct api *a, struct http_request *rq, const char *path, size_t key)
{
    serve(a, rq, path, &a->options.keys[key]);
}

/* ---- opening ---- */

enum bm_err
api_open(const struct api_options *options, struct api **out, struct bm_msg *msg)
{
    struct api *a = calloc(1, sizeof *a);
    struct http_options http = { .loop = options->loop,
        .host = options->host,
        .port = options->port,
        .body_max = BODY_MAX,
        .handler = on_request,
        .arg = a };
    enum bm_err err;

    *out = NULL;
    if (a == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the API");
    a->options = *options;
    a->uncommitted_end = &a->uncommitted;
    err = http_open(&http, &a->http, msg);
    if (err != BM_OK) {
        free(a);
        return err;
    }
    *out = a;
    return BM_OK;
}

void
api_close(struct api *a)
{
    if (a == NULL)
        return;
    http_close(a->http);
    while (a->waiting != NULL)
        call_end(a->waiting);
    while (a->uncommitted != NULL) {
        struct call *c = a->uncommitted;

        a->uncommitted = c->commit_next;
        call_end(c);
    }
    free(a);
}

uint16_t
api_port(const struct api *a)
{
    return http_port(a->http);
}
