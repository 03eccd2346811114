/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: values, refusals with their names and status codes, and the commit before each. */
#include "api/internal.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char JSON_TYPE[] = "application/json";

/* SPEC aws-iot 1.2, 2.5, 5.5 */
static const struct {
    unsigned status;
    const char *name;
} PROBLEMS[PROBLEM_COUNT] = {
    [INVALID_REQUEST] = { 400, "InvalidRequestException" },
    [CERTIFICATE_VALIDATION] = { 400, "CertificateValidationException" },
    [REGISTRATION_CODE] = { 400, "RegistrationCodeValidationException" },
    [MALFORMED_POLICY] = { 400, "MalformedPolicyException" },
    [THROTTLED] = { 400, "ThrottlingException" },
    [SQL_PARSE] = { 400, "SqlParseException" },
    [UNAUTHORIZED] = { 401, "UnauthorizedException" },
    [MISSING_TOKEN] = { 403, "MissingAuthenticationTokenException" },
    [INCOMPLETE_SIGNATURE] = { 403, "IncompleteSignatureException" },
    [UNKNOWN_KEY] = { 403, "UnrecognizedClientException" },
    [INVALID_SIGNATURE] = { 403, "InvalidSignatureException" },
    [FORBIDDEN] = { 403, "ForbiddenException" },
    [NOT_FOUND] = { 404, "ResourceNotFoundException" },
    [METHOD_NOT_ALLOWED] = { 405, "MethodNotAllowedException" },
    [CERTIFICATE_STATE] = { 406, "CertificateStateException" },
    [ALREADY_EXISTS] = { 409, "ResourceAlreadyExistsException" },
    [CERTIFICATE_CONFLICT] = { 409, "CertificateConflictException" },
    [DELETE_CONFLICT] = { 409, "DeleteConflictException" },
    [VERSION_CONFLICT] = { 409, "VersionConflictException" },
    [VERSIONS_LIMIT] = { 409, "VersionsLimitExceededException" },
    [NOT_CONFIGURED] = { 404, "NotConfiguredException" },
    [CONFLICT] = { 409, "ConflictException" },
    [LIMIT_EXCEEDED] = { 410, "LimitExceededException" },
    [ENTITY_TOO_LARGE] = { 413, "RequestEntityTooLargeException" },
    [INVALID_PARAMETER] = { 400, "InvalidParameterValueException" },
    [INVALID_CONTENT] = { 400, "InvalidRequestContentException" },
    [RESOURCE_CONFLICT] = { 409, "ResourceConflictException" },
    [REQUEST_TOO_LARGE] = { 413, "RequestTooLargeException" },
    [TOO_MANY_REQUESTS] = { 429, "TooManyRequestsException" },
    [SERVICE_FAILURE] = { 500, "ServiceException" },
    [INTERNAL_FAILURE] = { 500, "InternalFailureException" },
    [NOT_BUILT] = { 501, "NotImplementedException" },
    [UNAVAILABLE] = { 503, "ServiceUnavailableException" },
};

static bool
is_lambda(const struct call *c)
{
    return c->op != NULL && c->op->service == SERVICE_LAMBDA;
}

/* ---- replies ---- */

void
call_reply_raw(struct call *c, unsigned status, const char *content_type, struct span body)
{
    log_debug("%s answered status=%u peer=%s request=%s",
        c->op != NULL ? c->op->name : http_method(c->rq), status, http_peer(c->rq), http_id(c->rq));
    c->answered = true;
    http_reply(c->rq, status, content_type, body);
    c->rq = NULL;
}

void
call_reply_empty(struct call *c, unsigned status)
{
    call_reply_raw(c, status, NULL, span_of(NULL, 0));
}

void
call_reply_json(struct call *c, unsigned status, json_t *value)
{
    /* 15 digits: milliseconds of an epoch time without the noise of the binary fraction */
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

    json_decref(value);
    if (text == NULL) {
        call_refuse(c, UNAVAILABLE, "Out of memory for the answer; try again.");
        return;
    }
    call_reply_raw(c, status, JSON_TYPE, span_str(text));
    free(text);
}

/* ---- refusals ---- */

/* `more` (taken, may be NULL) are the members beside the message. */
static void
refuse(struct call *c, enum problem problem, const char *message, json_t *more)
{
    json_t *body = more != NULL ? more : json_object();
    char *text = NULL;

    log_info("%s refused: %s: %s peer=%s request=%s",
        c->op != NULL ? c->op->name : http_method(c->rq), PROBLEMS[problem].name, message,
        http_peer(c->rq), http_id(c->rq));
    (void)json_object_set_new(body, "message", json_string(message));
    if (is_lambda(c)) { /* SPEC aws-iot 5.5: clients of Lambda look for `Message` */
        (void)json_object_set_new(body, "Message", json_string(message));
        (void)json_object_set_new(
            body, "Type", json_string(PROBLEMS[problem].status < 500 ? "User" : "Service"));
    } else if (c->op != NULL && c->op->service == SERVICE_DATA) {
        (void)json_object_set_new(body, "traceId", json_string(http_id(c->rq)));
    }
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    http_set_header(c->rq, "x-amzn-ErrorType", PROBLEMS[problem].name);
    call_reply_raw(c, PROBLEMS[problem].status, JSON_TYPE, span_str(text != NULL ? text : "{}"));
    free(text);
}

/* Text from a request may hold what is not UTF-8; messages are sent as JSON. */
static void
make_ascii(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
            *text = '?';
    }
}

static void vrefuse(struct call *c, enum problem problem, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void
vrefuse(struct call *c, enum problem problem, const char *fmt, va_list ap)
{
    char text[1024];

    (void)vsnprintf(text, sizeof text, fmt, ap);
    make_ascii(text);
    refuse(c, problem, text, NULL);
}

void
call_refuse(struct call *c, enum problem problem, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vrefuse(c, problem, fmt, ap);
    va_end(ap);
}

void
call_refuse_input(struct call *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vrefuse(c, is_lambda(c) ? INVALID_PARAMETER : INVALID_REQUEST, fmt, ap);
    va_end(ap);
}

void
call_refuse_exists(struct call *c, const char *id, const char *arn, const char *message)
{
    refuse(
        c, ALREADY_EXISTS, message, json_pack("{s:s,s:s}", "resourceId", id, "resourceArn", arn));
}

static enum problem
problem_of(enum bm_err err, bool lambda)
{
    switch (err) {
    case BM_ERR_ARG:
    case BM_ERR_INPUT:
    case BM_ERR_MORE:
    case BM_ERR_SPACE:
    case BM_ERR_PROTO:
        return lambda ? INVALID_PARAMETER : INVALID_REQUEST;
    case BM_ERR_DENIED:
        return lambda ? FORBIDDEN : UNAUTHORIZED;
    case BM_ERR_NOT_FOUND:
        return NOT_FOUND;
    case BM_ERR_EXISTS:
        return lambda ? RESOURCE_CONFLICT : ALREADY_EXISTS;
    case BM_ERR_CONFLICT:
        return lambda ? RESOURCE_CONFLICT : CONFLICT;
    case BM_ERR_LIMIT:
        return lambda ? TOO_MANY_REQUESTS : LIMIT_EXCEEDED;
    case BM_ERR_MEM:
    case BM_ERR_IO:
    case BM_ERR_TIMEOUT:
    case BM_ERR_CLOSED:
        return UNAVAILABLE;
    case BM_ERR_STATUS: /* a version that is not the expected one */
        return VERSION_CONFLICT;
    case BM_OK:
    case BM_ERR_INTERNAL:
        break;
    }
    return lambda ? SERVICE_FAILURE : INTERNAL_FAILURE;
}

void
call_refuse_err(struct call *c, enum bm_err err, const struct bm_msg *msg)
{
    call_refuse(c, problem_of(err, is_lambda(c)), "%s", msg->text);
}

/* ---- commit ---- */

static void
refuse_commit(struct call *c, const struct bm_msg *msg)
{
    call_refuse(c, UNAVAILABLE,
        "Nothing was changed, because the registry could not be written: %s. Try again.",
        msg->text);
}

bool
call_commit(struct call *c)
{
    const struct api_options *o = &c->api->options;
    struct bm_msg msg = { "" };
    enum bm_err err =
        o->commit != NULL ? o->commit(c->account->arg, &msg) : registry_commit(c->registry, &msg);

    if (err == BM_OK)
        return true;
    refuse_commit(c, &msg);
    return false;
}

static void
reply_committed(struct call *c)
{
    if (c->commit_value != NULL)
        call_reply_json(c, c->commit_status, json_incref(c->commit_value));
    else
        call_reply_empty(c, c->commit_status);
}

/* Takes `value`. Alone, or with the others of this round: one fsync for all of them. */
static void
finish(struct call *c, unsigned status, json_t *value)
{
    struct api *a = c->api;

    c->commit_status = status;
    c->commit_value = value;
    if (a->options.commit_soon == NULL) {
        if (call_commit(c))
            reply_committed(c);
        return;
    }
    *a->uncommitted_end = c;
    a->uncommitted_end = &c->commit_next;
    a->options.commit_soon(c->account->arg);
}

void
api_committed(struct api *a, size_t account, enum bm_err err, const struct bm_msg *msg)
{
    struct call *c = a->uncommitted;

    a->uncommitted = NULL;
    a->uncommitted_end = &a->uncommitted;
    while (c != NULL) {
        struct call *next = c->commit_next;

        if (c->account != &a->options.accounts[account]) {
            c->commit_next = NULL;
            *a->uncommitted_end = c;
            a->uncommitted_end = &c->commit_next;
            c = next;
            continue;
        }
        if (err == BM_OK)
            reply_committed(c);
        else
            refuse_commit(c, msg);
        call_end(c);
        c = next;
    }
}

void
call_finish(struct call *c, enum bm_err err, const struct bm_msg *msg)
{
    if (err != BM_OK)
        call_refuse_err(c, err, msg);
    else
        finish(c, 200, NULL);
}

void
call_finish_json(
    struct call *c, enum bm_err err, const struct bm_msg *msg, unsigned status, json_t *value)
{
    if (err == BM_OK && value != NULL) {
        finish(c, status, value);
        return;
    }
    json_decref(value);
    if (err != BM_OK)
        call_refuse_err(c, err, msg);
    else
        call_refuse(c, UNAVAILABLE, "Out of memory for the answer; try again.");
}

enum bm_err
group_begin(struct call *c, struct bm_msg *msg)
{
    return registry_begin(c->registry, msg);
}

enum bm_err
group_end(struct call *c, enum bm_err err, struct bm_msg *msg)
{
    enum bm_err end = registry_end(c->registry, err == BM_OK, err == BM_OK ? msg : NULL);

    return err != BM_OK ? err : end;
}

enum bm_err
call_record(struct call *c, enum cause cause, const uint8_t id[REGISTRY_ID_LEN], const char *status,
    struct bm_msg *msg, const char *facts, ...)
{
    struct timeline_record record;
    char peer[TIMELINE_PEER_MAX + 1];
    char text[TIMELINE_FACTS_MAX + 1] = "";
    va_list ap;

    va_start(ap, facts);
    (void)vsnprintf(text, sizeof text, facts, ap);
    va_end(ap);
    (void)snprintf(peer, sizeof peer, "api %s", http_id(c->rq));
    timeline_fill(&record, cause, id, NULL, peer, status, "operation=%s%s%s", c->op->name,
        text[0] != '\0' ? " " : "", text);
    return registry_record(c->registry, &record, msg);
}

/* ---- the waiting list ---- */

void
call_wait(struct call *c)
{
    c->next = c->api->waiting;
    if (c->next != NULL)
        c->next->prev = c;
    c->api->waiting = c;
}

void
call_resume(struct call *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else if (c->api->waiting == c)
        c->api->waiting = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    c->next = c->prev = NULL;
}

void
call_end(struct call *c)
{
    if (c == NULL)
        return;
    call_resume(c);
    for (size_t i = 0; i < LABELS_MAX; i++)
        buf_fini(&c->labels[i]);
    for (size_t i = 0; i < c->param_count; i++)
        buf_fini(&c->params[i]);
    json_decref(c->body);
    json_decref(c->commit_value);
    if (c->forget != NULL)
        c->forget(c->waiting_for);
    free(c);
}
