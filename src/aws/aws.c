/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See aws.h.
 *
 * The path is signed encoded once more than it is sent (SPEC aws-iot 2.3), and libcurl signs the
 * URL's path as it is; so the URL has the path as it is signed, and CURLOPT_REQUEST_TARGET the one
 * that is sent. Query parameters are sorted here, because libcurl 7.88 does not.
 */
#include "aws/aws.h"

#include "aws/settings.h"
#include "base/clock.h"
#include "base/uuid.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ANSWER_MAX = 8 << 20,
    CONNECT_MS = 5000,
    TIMEOUT_MS = 15000,
    ATTEMPTS = 4,
    PAUSE_MS = 100, /* before the second attempt at most; doubles with each */
    PAUSE_MAX_MS = 5000,
};

struct aws_client {
    CURL *curl;
    struct aws_settings settings;
    unsigned timeout_ms;
    unsigned attempts;
    char endpoint[AWS_URL_MAX]; /* what aws_endpoint gave last */
    struct aws_failure failure;
};

enum bm_err
aws_open(const struct aws_options *options, struct aws_client **out, struct bm_msg *msg)
{
    static const struct aws_options none = { 0 };
    const struct aws_options *o = options != NULL ? options : &none;
    struct aws_client *c = calloc(1, sizeof *c);
    enum bm_err err;

    *out = NULL;
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(c);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for an API client");
    }
    c->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : TIMEOUT_MS;
    c->attempts = o->attempts != 0 ? o->attempts : ATTEMPTS;
    c->curl = curl_easy_init();
    err = c->curl != NULL ? aws_settings_find(o, &c->settings, msg)
                          : bm_fail(msg, BM_ERR_MEM, "out of memory for an API client");
    if (err != BM_OK) {
        aws_close(c);
        return err;
    }
    *out = c;
    return BM_OK;
}

void
aws_close(struct aws_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    curl_global_cleanup();
    bm_wipe(&c->settings, sizeof c->settings);
    free(c);
}

const char *
aws_endpoint(struct aws_client *c, const char *service)
{
    int i = aws_service(service);
    bool china = strncmp(c->settings.region, "cn-", 3) == 0;

    if (i < 0)
        return NULL;
    if (c->settings.endpoint[i][0] != '\0')
        return c->settings.endpoint[i];
    (void)snprintf(c->endpoint, sizeof c->endpoint, "https://%s.%s.amazonaws.com%s",
        aws_service_host(i), c->settings.region, china ? ".cn" : "");
    return c->endpoint;
}

const char *
aws_region(const struct aws_client *c)
{
    return c->settings.region;
}

bool
aws_has_own_endpoint(const struct aws_client *c)
{
    return c->settings.endpoint[0][0] != '\0';
}

const struct aws_failure *
aws_failure(const struct aws_client *c)
{
    return &c->failure;
}

/* ---- the request's URL ---- */

static bool
is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-_.~", c) != NULL);
}

static void
encode(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (is_unreserved(*text))
            buf_add(out, text, 1);
        else
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

static int
by_name(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

/* `url` as it is signed, `target` as it is sent. */
static void
write_url(const struct aws_request *rq, const char *endpoint, struct buf *url, struct buf *target)
{
    struct buf query = { 0 };
    struct buf path = { 0 };
    struct {
        const char *name;
        const char *value;
    } sorted[AWS_QUERY_MAX];
    size_t count = 0;

    for (size_t i = 0; i < AWS_PATH_MAX && rq->path[i] != NULL; i++) {
        buf_add(&path, "/", 1);
        encode(&path, rq->path[i]);
    }
    for (; count < AWS_QUERY_MAX && rq->query[count].name != NULL; count++) {
        sorted[count].name = rq->query[count].name;
        sorted[count].value = rq->query[count].value;
    }
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 0; i < count; i++) {
        buf_add(&query, i == 0 ? "?" : "&", 1);
        encode(&query, sorted[i].name);
        buf_add(&query, "=", 1);
        encode(&query, sorted[i].value);
    }
    buf_addf(url, "%s", endpoint);
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '%')
            buf_addf(url, "%%25");
        else
            buf_add(url, path.ptr + i, 1);
    }
    buf_add(url, query.ptr, query.len);
    buf_add(target, path.ptr, path.len);
    buf_add(target, query.ptr, query.len);
    url->failed = url->failed || path.failed || query.failed;
    buf_fini(&path);
    buf_fini(&query);
}

/* ---- one attempt ---- */

struct answer {
    struct buf body;
    char error_type[80]; /* header x-amzn-ErrorType */
    bool too_long;
};

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;

    a->too_long = a->body.len + size * n > ANSWER_MAX;
    if (a->too_long)
        return 0;
    buf_add(&a->body, data, size * n);
    return a->body.failed ? 0 : size * n;
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    static const char name[] = "x-amzn-errortype:";
    struct answer *a = arg;
    size_t len = size * n;
    size_t at = sizeof name - 1;

    if (len > at && strncasecmp(data, name, at) == 0) {
        while (at < len && data[at] == ' ')
            at++;
        (void)snprintf(a->error_type, sizeof a->error_type, "%.*s", (int)(len - at), data + at);
    }
    return len;
}

static bool
add_header(struct curl_slist **list, const char *name, const char *value)
{
    struct buf text = { 0 };
    struct curl_slist *more;

    buf_addf(&text, "%s%s%s", name, name[0] != '\0' ? ": " : "", value);
    more = buf_cstr(&text) != NULL ? curl_slist_append(*list, buf_cstr(&text)) : NULL;
    if (text.ptr != NULL)
        bm_wipe(text.ptr, text.len);
    buf_fini(&text);
    if (more != NULL)
        *list = more;
    return more != NULL;
}

static struct curl_slist *
make_headers(const struct aws_client *c, const struct aws_request *rq)
{
    struct curl_slist *list = NULL;
    bool done = add_header(&list, "Accept", "application/json");

    if (done && rq->body != NULL)
        done = add_header(&list, "Content-Type", "application/json");
    if (done && c->settings.token[0] != '\0')
        done = add_header(&list, "X-Amz-Security-Token", c->settings.token);
    for (size_t i = 0; done && i < AWS_HEADERS_MAX && rq->headers[i] != NULL; i++)
        done = add_header(&list, "", rq->headers[i]);
    if (!done) {
        curl_slist_free_all(list);
        list = NULL;
    }
    return list;
}

/* A whole exchange, once. `body` NULL: none. */
static CURLcode
attempt(struct aws_client *c, const struct aws_request *rq, const char *url, const char *target,
    const char *body, struct curl_slist *headers, struct answer *a, char *words)
{
    CURL *e = c->curl;
    char scope[160];
    const char *bundle = getenv("AWS_CA_BUNDLE");
    CURLcode rc = CURLE_OK;

    curl_easy_reset(e); /* keeps the connection */
    (void)snprintf(scope, sizeof scope, "aws:amz:%s:%s", c->settings.region, rq->service);
#define SET(option, value) (rc = rc == CURLE_OK ? curl_easy_setopt(e, option, value) : rc)
    SET(CURLOPT_ERRORBUFFER, words);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_REQUEST_TARGET, target);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CUSTOMREQUEST, rq->method);
    if (body != NULL) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        SET(CURLOPT_POSTFIELDS, body);
    }
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_AWS_SIGV4, scope);
    SET(CURLOPT_USERNAME, c->settings.access_key);
    SET(CURLOPT_PASSWORD, c->settings.secret_key);
    SET(CURLOPT_USERAGENT, "birthmark/" BIRTHMARK_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, (void *)a);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, (void *)a);
    if (aws_is_loopback(url))
        SET(CURLOPT_NOPROXY, "*");
    if (bundle != NULL && *bundle != '\0')
        SET(CURLOPT_CAINFO, bundle);
#undef SET
    return rc == CURLE_OK ? curl_easy_perform(e) : rc;
}

/* ---- what came back ---- */

static void
take_text(char *out, size_t cap, const char *text)
{
    (void)snprintf(out, cap, "%s", text != NULL ? text : "");
}

/* `aws:Name#Name:more` has the name in the middle. */
static void
take_name(struct aws_failure *f, const char *text)
{
    const char *hash = text != NULL ? strchr(text, '#') : NULL;

    take_text(f->name, sizeof f->name, hash != NULL ? hash + 1 : text);
    f->name[strcspn(f->name, ": \r\n")] = '\0';
}

static void
read_failure(struct aws_failure *f, const struct answer *a)
{
    json_t *j = json_loadb((const char *)a->body.ptr, a->body.len, 0, NULL);
    const char *message = json_string_value(json_object_get(j, "message"));
    const char *name =
        a->error_type[0] != '\0' ? a->error_type : json_string_value(json_object_get(j, "__type"));

    if (name == NULL)
        name = json_string_value(json_object_get(j, "code"));
    if (message == NULL)
        message = json_string_value(json_object_get(j, "Message"));
    take_name(f, name);
    take_text(f->message, sizeof f->message, message);
    take_text(f->resource, sizeof f->resource, json_string_value(json_object_get(j, "resourceId")));
    json_decref(j);
}

static enum bm_err
class_of(const struct aws_failure *f)
{
    switch (f->status) {
    case 401:
    case 403:
        return BM_ERR_DENIED;
    case 404:
        return BM_ERR_NOT_FOUND;
    case 406:
        return BM_ERR_CONFLICT;
    case 409:
        return strcmp(f->name, "ResourceAlreadyExistsException") == 0 ? BM_ERR_EXISTS
                                                                      : BM_ERR_CONFLICT;
    case 429:
        return BM_ERR_LIMIT;
    case 501:
        return BM_ERR_PROTO;
    default:
        return f->status >= 500 ? BM_ERR_IO : BM_ERR_INPUT;
    }
}

static bool
may_help(const struct aws_failure *f, CURLcode rc)
{
    if (rc != CURLE_OK)
        return rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST ||
               rc == CURLE_OPERATION_TIMEDOUT || rc == CURLE_GOT_NOTHING ||
               rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR || rc == CURLE_PARTIAL_FILE;
    return f->status == 429 || (f->status >= 500 && f->status != 501) ||
           strstr(f->name, "Throttl") != NULL;
}

/* Somewhere between nothing and the most, so that many clients do not come back at once. */
static void
pause_before(unsigned attempt)
{
    uint8_t r[UUID_LEN] = { 0 };
    int64_t most = PAUSE_MS;
    int64_t ms;

    for (unsigned i = 2; i < attempt && most < PAUSE_MAX_MS; i++)
        most *= 2;
    (void)!uuid_make(r);
    ms = most > PAUSE_MAX_MS ? PAUSE_MAX_MS : most;
    ms = ms * (r[0] * 256 + r[1] + 1) / 65536;
    (void)nanosleep(
        &(struct timespec){ .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 },
        NULL);
}

static enum bm_err
fail(struct aws_client *c, const struct aws_request *rq, CURLcode rc, const char *words,
    struct bm_msg *msg)
{
    const struct aws_failure *f = &c->failure;

    if (rc != CURLE_OK)
        return bm_fail(msg, rc == CURLE_OPERATION_TIMEDOUT ? BM_ERR_TIMEOUT : BM_ERR_IO,
            "%s gave no answer: %.200s; is the cloud up, and is that its address?",
            aws_endpoint(c, rq->service), words[0] != '\0' ? words : curl_easy_strerror(rc));
    return bm_fail(msg, class_of(f), "%s: %s (%s, status %u of %s)",
        f->name[0] != '\0' ? f->name : "no error name",
        f->message[0] != '\0' ? f->message : "no message", rq->path[0], f->status,
        aws_endpoint(c, rq->service));
}

/* Send until it is done, refused, or has been tried often enough. */
static enum bm_err
send_often(struct aws_client *c, const struct aws_request *rq, const char *url, const char *target,
    const char *body, struct curl_slist *headers, json_t **answer, struct bm_msg *msg)
{
    for (;;) {
        struct answer a = { 0 };
        char words[CURL_ERROR_SIZE] = "";
        long status = 0;
        CURLcode rc;

        if (++c->failure.attempts > 1)
            pause_before(c->failure.attempts);
        rc = attempt(c, rq, url, target, body, headers, &a, words);
        if (rc == CURLE_OK)
            (void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
        c->failure.status = (unsigned)status;
        if (status >= 200 && status < 300) {
            json_error_t why;

            *answer = a.body.len == 0 ? json_object()
                                      : json_loadb((const char *)a.body.ptr, a.body.len, 0, &why);
            buf_fini(&a.body);
            if (*answer == NULL)
                return bm_fail(msg, BM_ERR_PROTO,
                    "%s answered status %ld with something that is no JSON; is that an API of AWS?",
                    aws_endpoint(c, rq->service), status);
            return BM_OK;
        }
        if (rc == CURLE_OK)
            read_failure(&c->failure, &a);
        buf_fini(&a.body);
        if (c->failure.attempts >= c->attempts || !may_help(&c->failure, rc))
            return fail(c, rq, rc, words, msg);
    }
}

enum bm_err
aws_send(struct aws_client *c, const struct aws_request *rq, json_t **answer, struct bm_msg *msg)
{
    const char *endpoint = aws_endpoint(c, rq->service);
    struct buf url = { 0 };
    struct buf target = { 0 };
    struct curl_slist *headers;
    char *body = NULL;
    enum bm_err err;

    *answer = NULL;
    c->failure = (struct aws_failure){ 0 };
    if (endpoint == NULL || rq->path[0] == NULL)
        return bm_fail(msg, BM_ERR_ARG, "no such service, or no path");
    write_url(rq, endpoint, &url, &target);
    headers = make_headers(c, rq);
    if (rq->body != NULL)
        body = json_dumps(rq->body, JSON_COMPACT);
    if (buf_cstr(&url) == NULL || buf_cstr(&target) == NULL || headers == NULL ||
        (rq->body != NULL && body == NULL))
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a request");
    else
        err = send_often(c, rq, buf_cstr(&url), buf_cstr(&target), body, headers, answer, msg);
    curl_slist_free_all(headers);
    free(body);
    buf_fini(&url);
    buf_fini(&target);
    return err;
}
