/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluations that wait: for a function's answer to aws_lambda(), or for an HTTP request. Each has
 * a copy of everything, so nothing else waits with it. What waits when the cloud ends is gone, as a
 * message of quality 0 would be.
 */
#include "rules/inside.h"

#include <stdlib.h>
#include <string.h>

enum {
    FUNCTION_TIMEOUT_MS = 2000, /* developer guide, aws_lambda() */
    ATTEMPTS_MAX = 3,           /* of an HTTP request, after no answer, 429 or 5xx */
    RETRY_MS = 1000,
};

struct waiting {
    struct waiting *next;
    struct evaluation e;
    struct buf bytes; /* topic, payload, client id of the copy */
    uint8_t cert_id[REGISTRY_ID_LEN];
    struct loop_timer *timer;
    bool asked; /* the function; its answer will come, also after the time is over */
    bool late;
    /* HTTP */
    struct buf url;
    char **headers;
    size_t header_count;
    int attempts;
};

static void
waiting_free(struct waiting *w)
{
    struct rules *r = w->e.rules;

    for (struct waiting **at = &r->waiting; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            r->waiting_count--;
            break;
        }
    }
    loop_cancel(r->options.loop, w->timer);
    evaluation_fini(&w->e);
    rule_drop(w->e.rule);
    buf_fini(&w->bytes);
    buf_fini(&w->url);
    for (size_t i = 0; i < w->header_count; i++)
        free(w->headers[i]);
    free(w->headers);
    free(w);
}

static struct span
copied(struct waiting *w, struct span s)
{
    size_t at = w->bytes.len;

    buf_add(&w->bytes, s.ptr, s.len); /* reserved: it does not move */
    return span_of(w->bytes.ptr + at, s.len);
}

/* What `e` owns (calls, result) moves over. NULL: too many wait, or no memory; `e` is as it was. */
static struct waiting *
wait_with(struct evaluation *e)
{
    struct rules *r = e->rules;
    size_t len = e->m.topic.len + e->m.payload.len + e->m.client_id.len;
    struct waiting *w = r->waiting_count < WAITING_MAX ? calloc(1, sizeof *w) : NULL;

    if (w == NULL || buf_reserve(&w->bytes, len + 1) == NULL) {
        free(w);
        return NULL;
    }
    w->e = *e;
    w->e.m.topic = copied(w, e->m.topic);
    w->e.m.payload = copied(w, e->m.payload);
    w->e.m.client_id = copied(w, e->m.client_id);
    w->e.m.principal = e->m.principal != NULL ? w->e.principal : NULL;
    w->e.m.trace_id = w->e.trace_id;
    w->e.m.json = NULL;
    w->e.m.looked = false;
    w->e.failures = NULL;
    if (e->cert_id != NULL) {
        memcpy(w->cert_id, e->cert_id, sizeof w->cert_id);
        w->e.cert_id = w->cert_id;
    }
    e->rule->refs++;
    e->m.call_count = 0;
    e->result = (struct buf){ 0 };
    w->next = r->waiting;
    r->waiting = w;
    r->waiting_count++;
    return w;
}

/* ---- functions ---- */

static void
function_failed(struct waiting *w, const char *function, const char *why)
{
    w->e.result.len = 0;
    action_failed(&w->e, "aws_lambda", function, why);
    error_action_run(&w->e);
}

static void
on_function_late(void *arg)
{
    struct waiting *w = arg;

    w->timer = NULL;
    w->late = true;
    function_failed(
        w, w->e.m.calls[w->e.m.call_count - 1].arn, "no answer to aws_lambda() within 2 s");
}

static void
on_answer(void *arg, const struct lambda_result *result)
{
    struct waiting *w = arg;
    struct sql_call *call = &w->e.m.calls[w->e.m.call_count - 1];

    loop_cancel(w->e.rules->options.loop, w->timer);
    w->timer = NULL;
    if (!w->late && result->error == NULL) {
        call->answer = json_loadb(
            (const char *)result->payload.ptr, result->payload.len, JSON_DECODE_ANY, NULL);
        if (call->answer != NULL) {
            evaluation_run(&w->e);
            waiting_free(w);
            return;
        }
    }
    if (!w->late)
        function_failed(w, call->arn,
            result->error != NULL ? "the function failed" : "the function's answer is not JSON");
    waiting_free(w);
}

void
wait_for_function(struct evaluation *e)
{
    struct rules *r = e->rules;
    struct sql_call *call = &e->m.calls[e->m.call_count - 1];
    char name[REGISTRY_NAME_MAX + 1];
    char rule_arn[320];
    struct bm_msg msg = { 0 };
    struct waiting *w = NULL;
    char *input = NULL;
    enum bm_err err = BM_OK;

    (void)snprintf(rule_arn, sizeof rule_arn, "arn:aws:iot:%s:%s:rule/%s", r->region, r->account,
        e->rule->name);
    if (!lambda_name_of(call->arn, name))
        err = bm_fail(&msg, BM_ERR_INPUT, "it is no function's ARN");
    if (err == BM_OK)
        err = lambda_permitted(
            r->options.lambda, name, "iot.amazonaws.com", rule_arn, r->account, &msg);
    if (err == BM_OK && (w = wait_with(e)) == NULL)
        err = bm_fail(&msg, BM_ERR_LIMIT, "%d evaluations wait already", WAITING_MAX);
    if (w != NULL) {
        call = &w->e.m.calls[w->e.m.call_count - 1];
        input = json_dumps(json_array_get(call->input, 1), JSON_ENCODE_ANY | JSON_COMPACT);
        err = input == NULL
                  ? BM_ERR_MEM
                  : lambda_invoke(r->options.lambda, name, span_str(input), on_answer, w, &msg);
        free(input);
    }
    if (err == BM_OK) {
        w->timer = loop_after(r->options.loop, FUNCTION_TIMEOUT_MS, on_function_late, w);
    } else if (w != NULL) {
        function_failed(w, call->arn, msg.text);
        waiting_free(w);
    } else {
        action_failed(e, "aws_lambda", call->arn, msg.text);
        error_action_run(e);
    }
}

/* ---- HTTP ---- */

static void post(void *arg);

static void
http_failed(struct waiting *w, const char *why)
{
    action_failed(&w->e, "http", buf_cstr(&w->url) != NULL ? buf_cstr(&w->url) : "", why);
    error_action_run(&w->e);
    waiting_free(w);
}

static void
on_status(void *arg, unsigned status, const char *why)
{
    struct waiting *w = arg;
    char text[320];

    if (status >= 200 && status < 300) {
        waiting_free(w);
        return;
    }
    w->attempts++;
    if (w->attempts < ATTEMPTS_MAX && (status == 0 || status == 429 || status >= 500)) {
        w->timer = loop_after(w->e.rules->options.loop, RETRY_MS * w->attempts, post, w);
        return;
    }
    if (status != 0)
        (void)snprintf(text, sizeof text, "answer %u after %d attempts", status, w->attempts);
    else
        (void)snprintf(text, sizeof text, "%s, after %d attempts", why, w->attempts);
    http_failed(w, text);
}

static void
post(void *arg)
{
    struct waiting *w = arg;
    struct bm_msg msg = { 0 };

    w->timer = NULL;
    if (http_client_post(w->e.rules->http, buf_cstr(&w->url), (const char *const *)w->headers,
            w->header_count, buf_span(&w->e.result), on_status, w, &msg) != BM_OK)
        http_failed(w, msg.text);
}

/* "Name: value" of each header; a value with a line end would be a header more. */
static enum bm_err
make_headers(struct waiting *w, const struct action *a, struct bm_msg *msg)
{
    w->headers = calloc(a->header_count + 1, sizeof *w->headers);
    if (w->headers == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    for (size_t i = 0; i < a->header_count; i++) {
        struct buf line = { 0 };
        enum bm_err err;

        buf_addf(&line, "%s: ", a->headers[i].key);
        err = sql_template_run(a->headers[i].value, &w->e.m, &line, msg);
        if (err == BM_OK && (buf_cstr(&line) == NULL || strlen(buf_cstr(&line)) != line.len ||
                                strpbrk(buf_cstr(&line), "\r\n") != NULL))
            err = bm_fail(msg, BM_ERR_INPUT, "the header '%.60s' has a line end or a zero byte",
                a->headers[i].key);
        if (err != BM_OK) {
            buf_fini(&line);
            return err;
        }
        w->headers[w->header_count++] = (char *)line.ptr;
    }
    return BM_OK;
}

void
wait_for_http(struct evaluation *e, const struct action *a)
{
    struct buf result = e->result;
    struct bm_msg msg = { 0 };
    struct waiting *w;
    enum bm_err err;

    e->result = (struct buf){ 0 };
    buf_add(&e->result, result.ptr, result.len); /* the copy goes with the request */
    w = e->result.failed ? NULL : wait_with(e);
    if (w == NULL)
        buf_fini(&e->result);
    e->result = result;
    if (w == NULL) {
        action_failed(e, "http", "", "too many requests wait already");
        return;
    }
    err = sql_template_run(a->text, &w->e.m, &w->url, &msg);
    if (err == BM_OK && (buf_cstr(&w->url) == NULL || strlen(buf_cstr(&w->url)) != w->url.len))
        err = bm_fail(&msg, BM_ERR_INPUT, "the URL has a zero byte");
    if (err == BM_OK)
        err = destination_allows(e->rules, buf_cstr(&w->url), &msg);
    if (err == BM_OK)
        err = make_headers(w, a, &msg);
    if (err == BM_OK)
        post(w);
    else
        http_failed(w, msg.text);
}

void
waiting_end(struct rules *r)
{
    while (r->waiting != NULL)
        waiting_free(r->waiting);
}
