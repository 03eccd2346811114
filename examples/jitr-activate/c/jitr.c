/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Just-in-time registration in C: runtime and function in one program, for `provided.al2023`.
 *
 * A topic rule on $aws/events/certificates/registered/<caCertificateId> hands in the event. The
 * loop at the end speaks the Lambda Runtime API; activate() calls AWS IoT, signed by libcurl
 * (7.75 or later). `make` builds `bootstrap`, which is all of the package.
 *
 * It may run twice for one event, late, and after later ones, so it looks at the certificate as it
 * is now: one that an operator has deactivated or revoked since stays so, and one that was deleted
 * needs nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <jansson.h>

enum { TRIES = 3, CALL_TIMEOUT_S = 10 };

struct text {
    char *bytes; /* terminated */
    size_t len;
};

static char error[512]; /* why the invocation failed */

static const char *
env(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : otherwise;
}

static int
fail(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(error, sizeof error, format, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", error);
    return -1;
}

static size_t
keep(char *bytes, size_t size, size_t count, void *arg)
{
    struct text *t = arg;
    size_t more = size * count;
    char *room = realloc(t->bytes, t->len + more + 1);

    if (room == NULL)
        return 0;
    t->bytes = room;
    memcpy(room + t->len, bytes, more);
    t->len += more;
    room[t->len] = '\0';
    return more;
}

static void
clear(struct text *t)
{
    free(t->bytes);
    *t = (struct text){ NULL, 0 };
}

/* ---- AWS IoT ---- */

/*
 * One signed request; the HTTP status, or -1. 5xx and lost connections are tried again. The service
 * is at AWS_ENDPOINT_URL (`birthmark cloud` sets it), else at the region's own address.
 */
static long
iot(const char *method, const char *path, const char *body, struct text *answer)
{
    const char *region = env("AWS_REGION", "us-east-1");
    const char *token = getenv("AWS_SESSION_TOKEN");
    char own[256], url[1024], header[2048], signer[128], user[512];
    long status = -1;

    snprintf(own, sizeof own, "https://iot.%s.amazonaws.com", region);
    snprintf(url, sizeof url, "%s%s", env("AWS_ENDPOINT_URL", own), path);
    snprintf(signer, sizeof signer, "aws:amz:%s:iot", region);
    snprintf(user, sizeof user, "%s:%s", env("AWS_ACCESS_KEY_ID", ""), env("AWS_SECRET_ACCESS_KEY", ""));
    for (int i = 0; i < TRIES && (status < 0 || status >= 500); i++) {
        CURL *c = curl_easy_init();
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
        CURLcode result;

        if (token != NULL) {
            snprintf(header, sizeof header, "X-Amz-Security-Token: %s", token);
            headers = curl_slist_append(headers, header);
        }
        clear(answer);
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body); /* "" for none: it is what is signed */
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_AWS_SIGV4, signer);
        curl_easy_setopt(c, CURLOPT_USERPWD, user);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)CALL_TIMEOUT_S);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
        result = curl_easy_perform(c);
        status = -1;
        if (result == CURLE_OK)
            curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
        else
            fail("%s %s: %s", method, url, curl_easy_strerror(result));
        curl_slist_free_all(headers);
        curl_easy_cleanup(c);
    }
    return status;
}

/* 0 when the status is 2xx or `tolerated`. */
static int
must(const char *method, const char *path, const char *body, long tolerated)
{
    struct text answer = { NULL, 0 };
    long status = iot(method, path, body, &answer);
    int done = (status >= 200 && status < 300) || status == tolerated ? 0 : -1;

    if (done != 0 && status > 0)
        fail("%s %s: %ld %s", method, path, status, answer.bytes != NULL ? answer.bytes : "");
    clear(&answer);
    return done;
}

/* The certificate's status now; "" when there is no such certificate. */
static int
status_of(const char *certificate, char out[32])
{
    struct text answer = { NULL, 0 };
    char path[128];
    const char *text = NULL;
    json_t *o = NULL;
    long status;

    snprintf(path, sizeof path, "/certificates/%s", certificate);
    status = iot("GET", path, "", &answer);
    if (status == 200)
        o = json_loadb(answer.bytes, answer.len, 0, NULL);
    if (o != NULL)
        text = json_string_value(json_object_get(json_object_get(o, "certificateDescription"), "status"));
    snprintf(out, 32, "%s", text != NULL ? text : "");
    if (text == NULL && status != 404 && status > 0)
        fail("GET %s: %ld %s", path, status, answer.bytes != NULL ? answer.bytes : "");
    json_decref(o);
    clear(&answer);
    return text != NULL || status == 404 ? 0 : -1;
}

/* A policy for each certificate: its own client id, its own topics. */
static char *
policy_body(const char *arn, const char *id)
{
    char document[2048];
    json_t *o;
    char *body;

    snprintf(document, sizeof document,
        "{\"Version\":\"2012-10-17\",\"Statement\":["
        "{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"%s:client/%s\"},"
        "{\"Effect\":\"Allow\",\"Action\":[\"iot:Publish\",\"iot:Receive\"],"
        "\"Resource\":\"%s:topic/foo/bar/%s/*\"},"
        "{\"Effect\":\"Allow\",\"Action\":\"iot:Subscribe\",\"Resource\":\"%s:topicfilter/foo/bar/%s/#\"}]}",
        arn, id, arn, id, arn, id);
    o = json_pack("{s:s}", "policyDocument", document);
    body = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return body;
}

/* Only what belongs there may get into URLs and documents. */
static int
is_hex(const char *text, size_t len)
{
    return text != NULL && strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static int
is_account(const char *text)
{
    return text != NULL && strlen(text) == 12 && strspn(text, "0123456789") == 12;
}

/*
 * The policy first, the status last: from the last call on the device gets in. With POLICY_NAME in
 * the function's environment it is that policy, which must be there, and none is made.
 */
static int
let_in(const char *id, const char *account)
{
    char arn[128], policy[160], path[256], target[512];
    int done = 0;

    snprintf(arn, sizeof arn, "arn:aws:iot:%s:%s", env("AWS_REGION", "us-east-1"), account);
    snprintf(policy, sizeof policy, "%s", env("POLICY_NAME", ""));
    if (policy[0] == '\0') {
        char *body = policy_body(arn, id);

        snprintf(policy, sizeof policy, "Policy_%s", id);
        snprintf(path, sizeof path, "/policies/%s", policy);
        done = must("POST", path, body, 409); /* it exists: made for the same event before */
        free(body);
    }
    snprintf(path, sizeof path, "/target-policies/%s", policy);
    snprintf(target, sizeof target, "{\"target\":\"%s:cert/%s\"}", arn, id);
    if (done == 0)
        done = must("PUT", path, target, 0);
    snprintf(path, sizeof path, "/certificates/%s?newStatus=ACTIVE", id);
    return done == 0 ? must("PUT", path, "", 0) : done;
}

static int
activate(const struct text *event, char *answer, size_t cap)
{
    json_t *o = event->bytes != NULL ? json_loadb(event->bytes, event->len, 0, NULL) : NULL;
    const char *id = json_string_value(json_object_get(o, "certificateId"));
    const char *account = json_string_value(json_object_get(o, "awsAccountId"));
    char status[32];
    int done = -1;

    if (!is_hex(id, 64) || !is_account(account))
        fail("the event has no certificateId and awsAccountId");
    else
        done = status_of(id, status);
    if (done == 0 && status[0] == '\0')
        printf("certificate %s is no more\n", id);
    else if (done == 0 && strcmp(status, "PENDING_ACTIVATION") != 0)
        printf("certificate %s is %s already\n", id, status);
    else if (done == 0 && (done = let_in(id, account)) == 0)
        printf("certificate %s is %s\n", id, strcpy(status, "ACTIVE"));
    fflush(stdout);
    if (done == 0)
        snprintf(answer, cap, "{\"certificateId\":\"%s\",\"status\":\"%s\"}", id, status[0] != '\0' ? status : "DELETED");
    json_decref(o);
    return done;
}

/* ---- the Lambda Runtime API ---- */

static size_t
keep_request_id(char *line, size_t size, size_t count, void *arg)
{
    static const char name[] = "lambda-runtime-aws-request-id:";
    size_t len = size * count;

    if (len > sizeof name && curl_strnequal(line, name, sizeof name - 1))
        sscanf(line + sizeof name - 1, " %63[0-9a-fA-F-]", (char *)arg);
    return len;
}

static int
post(CURL *c, const char *url, const char *body)
{
    struct text answer = { NULL, 0 };
    CURLcode result;

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
    result = curl_easy_perform(c);
    clear(&answer);
    return result == CURLE_OK ? 0 : -1;
}

/* One invocation: take the event, work, answer. -1: the runtime is gone. */
static int
serve_one(CURL *c, const char *api)
{
    struct text event = { NULL, 0 };
    char request[64] = "", url[512], answer[256];
    int done;

    snprintf(url, sizeof url, "http://%s/2018-06-01/runtime/invocation/next", api);
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &event);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, keep_request_id);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, request);
    if (curl_easy_perform(c) != CURLE_OK || request[0] == '\0') {
        clear(&event);
        return -1;
    }
    if (activate(&event, answer, sizeof answer) == 0) {
        snprintf(url, sizeof url, "http://%s/2018-06-01/runtime/invocation/%s/response", api, request);
        done = post(c, url, answer);
    } else {
        json_t *o = json_pack("{s:s, s:s}", "errorType", "ActivationFailed", "errorMessage", error);
        char *body = json_dumps(o, JSON_COMPACT);

        snprintf(url, sizeof url, "http://%s/2018-06-01/runtime/invocation/%s/error", api, request);
        done = post(c, url, body != NULL ? body : "{\"errorType\":\"ActivationFailed\"}");
        free(body);
        json_decref(o);
    }
    clear(&event);
    return done;
}

int
main(void)
{
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    CURL *c;

    if (api == NULL) {
        fprintf(stderr, "AWS_LAMBDA_RUNTIME_API is not set: this program is the bootstrap of a Lambda function\n");
        return 1;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c = curl_easy_init(); /* kept: its connection is used again */
    while (c != NULL && serve_one(c, api) == 0)
        continue;
    return 1;
}
