/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the API client against a server of a few lines: what it signs is verified by the
 * cloud's own verifier, what it makes of answers, when it tries again, and where it finds endpoint
 * and credentials.
 */
#include "aws/aws.h"

#include "api/sigv4.h"
#include "aws/profile.h"
#include "aws/settings.h"
#include "base/clock.h"
#include "base/file.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWERS_MAX = 5, REQUEST_MAX = 8192 };

/* Answers the requests in order, a connection each, and keeps the last request. */
struct server {
    int fd;
    char url[64];
    const char *answers[ANSWERS_MAX]; /* NULL: end */
    char request[REQUEST_MAX];
    pthread_t thread;
};

static size_t
wanted(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");
    const char *len = strcasestr(request, "\r\ncontent-length: ");

    if (end == NULL)
        return SIZE_MAX;
    return (size_t)(end - request) + 4 +
           (len != NULL && len < end ? strtoul(len + 18, NULL, 10) : 0);
}

static void *
serve(void *arg)
{
    struct server *s = arg;

    for (size_t i = 0; i < ANSWERS_MAX && s->answers[i] != NULL; i++) {
        int c = accept(s->fd, NULL, NULL);
        size_t len = 0;
        ssize_t n;

        s->request[0] = '\0';
        while (len < wanted(s->request) &&
               (n = read(c, s->request + len, REQUEST_MAX - 1 - len)) > 0) {
            len += (size_t)n;
            s->request[len] = '\0';
        }
        if (s->answers[i][0] != '\0')
            assert_int_equal(fd_write_all(c, span_str(s->answers[i])), BM_OK);
        (void)close(c);
    }
    return NULL;
}

static void
start(struct server *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
finish(struct server *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->fd);
}

static void
no_environment(void)
{
    static const char *const names[] = { "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IOT",
        "AWS_ENDPOINT_URL_IOT_DATA_PLANE", "AWS_ENDPOINT_URL_LAMBDA", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "HOME" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(unsetenv(names[i]), 0);
    assert_int_equal(setenv("AWS_CONFIG_FILE", "/dev/null", 1), 0);
    assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1), 0);
}

static struct aws_client *
client_of(const char *url)
{
    const struct aws_options o = { .endpoint = url, .attempts = 3, .timeout_ms = 20000 };
    struct aws_client *c;

    no_environment();
    assert_int_equal(aws_open(&o, &c, NULL), BM_OK);
    return c;
}

/* The verdict of the cloud's verifier on what the server got; changes `request`. */
static enum sigv4_verdict
judge(char *request, const char *key, const char *secret, struct sigv4_result *res)
{
    struct sigv4_header headers[20];
    struct sigv4_request rq = { .headers = headers };
    char *body = strstr(request, "\r\n\r\n") + 4;
    char *line = strstr(request, "\r\n") + 2;
    char *rest = NULL;

    rq.body = span_str(body);
    body[-4] = '\0';
    rq.method = strtok_r(request, " ", &rest);
    rq.path = strtok_r(NULL, " ", &rest);
    rq.query = "";
    if (strchr(rq.path, '?') != NULL) {
        char *mark = strchr(rq.path, '?');

        *mark = '\0';
        rq.query = mark + 1;
    }
    for (line = strtok_r(line, "\r\n", &rest); line != NULL; line = strtok_r(NULL, "\r\n", &rest)) {
        char *colon = strchr(line, ':');

        assert_true(rq.header_count < 20);
        *colon = '\0';
        headers[rq.header_count].name = line;
        headers[rq.header_count++].value = colon + 1 + strspn(colon + 1, " ");
    }
    sigv4_verify(&rq, key, secret, clock_wall_ms(), res);
    return res->verdict;
}

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{\"a\":\"b\"}\n"

static void
signature_verifies_with_body_query_and_odd_letters(void **state)
{
    struct server s = { .answers = { OK_EMPTY, OK_EMPTY, OK_EMPTY } };
    struct sigv4_result res;
    json_t *body = json_pack("{s:s}", "k", "v");
    json_t *answer;
    struct aws_client *c;

    (void)state;
    start(&s);
    c = client_of(s.url);
    assert_int_equal(
        aws_send(c,
            &(struct aws_request){ .service = "iot",
                .method = "POST",
                .path = { "cacertificate" },
                .query = { { "setAsActive", "true" }, { "allowAutoRegistration", "true" } },
                .body = body },
            &answer, NULL),
        BM_OK);
    assert_true(json_is_object(answer));
    json_decref(answer);
    assert_non_null(
        strstr(s.request, "POST /cacertificate?allowAutoRegistration=true&setAsActive=true "));
    assert_non_null(strstr(s.request, "\r\n\r\n{\"k\":\"v\"}"));
    assert_int_equal(judge(s.request, "test", "test", &res), SIGV4_OK);
    assert_string_equal(res.service, "iot");
    assert_string_equal(res.region, "us-east-1");

    assert_int_equal(aws_send(c,
                         &(struct aws_request){ .service = "iot",
                             .method = "PUT",
                             .path = { "things", "a:b/c d+é", "principals" },
                             .query = { { "q", "arn:aws:x/y *" } },
                             .headers = { "x-amzn-principal: arn:aws:iot:us-east-1:0:cert/1" } },
                         &answer, NULL),
        BM_OK);
    json_decref(answer);
    assert_non_null(strstr(
        s.request, "PUT /things/a%3Ab%2Fc%20d%2B%C3%A9/principals?q=arn%3Aaws%3Ax%2Fy%20%2A "));
    assert_int_equal(judge(s.request, "test", "test", &res), SIGV4_OK);

    assert_int_equal(aws_send(c,
                         &(struct aws_request){
                             .service = "iot", .method = "DELETE", .path = { "policies", "p" } },
                         &answer, NULL),
        BM_OK);
    json_decref(answer);
    assert_int_equal(judge(s.request, "test", "test", &res), SIGV4_OK);
    json_decref(body);
    aws_close(c);
    finish(&s);
}

static void
session_token_is_sent_and_signed(void **state)
{
    struct server s = { .answers = { OK_EMPTY, OK_EMPTY } };
    struct sigv4_result res;
    struct aws_client *c;
    json_t *answer;
    struct aws_options o = { 0 };

    (void)state;
    start(&s);
    no_environment();
    o.endpoint = s.url;
    (void)setenv("AWS_ACCESS_KEY_ID", "ASIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "a:secret/with+odd=letters", 1);
    (void)setenv("AWS_SESSION_TOKEN", "TOKEN/abc+==", 1);
    (void)setenv("AWS_REGION", "eu-west-1", 1);
    assert_int_equal(aws_open(&o, &c, NULL), BM_OK);
    for (int i = 0; i < 2; i++) {
        static const char *const tries[] = { "a:secret/with+odd=letters", "another" };

        assert_int_equal(
            aws_send(c,
                &(struct aws_request){ .service = "lambda", .method = "GET", .path = { "x" } },
                &answer, NULL),
            BM_OK);
        json_decref(answer);
        assert_non_null(strstr(s.request, "X-Amz-Security-Token: TOKEN/abc+==\r\n"));
        assert_non_null(strcasestr(s.request, "x-amz-security-token,") != NULL
                            ? s.request
                            : strstr(s.request, "x-amz-security-token"));
        assert_int_equal(
            judge(s.request, "ASIDEXAMPLE", tries[i], &res), i == 0 ? SIGV4_OK : SIGV4_MISMATCH);
    }
    assert_string_equal(res.region, "eu-west-1");
    assert_string_equal(res.service, "lambda");
    aws_close(c);
    finish(&s);
}

static enum bm_err
get(struct aws_client *c, json_t **answer, struct bm_msg *msg)
{
    return aws_send(c, &(struct aws_request){ .service = "iot", .method = "GET", .path = { "x" } },
        answer, msg);
}

static void
failures_have_name_message_status_and_no_secret(void **state)
{
    static const struct {
        const char *answer;
        enum bm_err err;
        unsigned status;
        const char *name;
        const char *message;
    } cases[] = {
        { "HTTP/1.1 404 Not Found\r\nx-amzn-ErrorType: ResourceNotFoundException:http://x/\r\n"
          "Connection: close\r\n\r\n{\"message\":\"no such CA\"}",
            BM_ERR_NOT_FOUND, 404, "ResourceNotFoundException", "no such CA" },
        { "HTTP/1.1 409 Conflict\r\nConnection: close\r\n\r\n"
          "{\"__type\":\"com.amazon#ResourceAlreadyExistsException\",\"Message\":\"again\","
          "\"resourceId\":\"ab12\"}",
            BM_ERR_EXISTS, 409, "ResourceAlreadyExistsException", "again" },
        { "HTTP/1.1 403 Forbidden\r\nX-AMZN-ERRORTYPE: InvalidSignatureException\r\n"
          "Connection: close\r\n\r\n{}",
            BM_ERR_DENIED, 403, "InvalidSignatureException", "" },
        { "HTTP/1.1 406 No\r\nConnection: close\r\n\r\n{\"code\":\"CertificateStateException\"}",
            BM_ERR_CONFLICT, 406, "CertificateStateException", "" },
        { "HTTP/1.1 501 No\r\nConnection: close\r\n\r\nnonsense", BM_ERR_PROTO, 501, "", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s = { .answers = { cases[i].answer } };
        struct bm_msg msg;
        struct aws_client *c;
        json_t *answer;

        start(&s);
        c = client_of(s.url);
        assert_int_equal(get(c, &answer, &msg), cases[i].err);
        assert_null(answer);
        assert_int_equal(aws_failure(c)->status, cases[i].status);
        assert_string_equal(aws_failure(c)->name, cases[i].name);
        assert_string_equal(aws_failure(c)->message, cases[i].message);
        assert_string_equal(aws_failure(c)->resource, i == 1 ? "ab12" : "");
        assert_int_equal(aws_failure(c)->attempts, 1);
        assert_non_null(strstr(msg.text, cases[i].name));
        assert_null(strstr(msg.text, "test"));
        aws_close(c);
        finish(&s);
    }
}

static void
throttling_and_server_errors_are_tried_again(void **state)
{
    struct server s = { .answers = { "HTTP/1.1 429 Too Many\r\nConnection: close\r\n\r\n{}",
                            "HTTP/1.1 503 No\r\nConnection: close\r\n\r\n", OK_JSON } };
    struct server t = { .answers = { "", "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n",
                            "HTTP/1.1 500 No\r\nx-amzn-ErrorType: InternalFailureException\r\n"
                            "Connection: close\r\n\r\n" } };
    struct aws_client *c;
    struct bm_msg msg;
    json_t *answer;

    (void)state;
    start(&s);
    c = client_of(s.url);
    assert_int_equal(get(c, &answer, NULL), BM_OK);
    assert_string_equal(json_string_value(json_object_get(answer, "a")), "b");
    json_decref(answer);
    aws_close(c);
    finish(&s);

    start(&t);
    c = client_of(t.url);
    assert_int_equal(get(c, &answer, &msg), BM_ERR_IO);
    assert_int_equal(aws_failure(c)->attempts, 3);
    assert_string_equal(aws_failure(c)->name, "InternalFailureException");
    aws_close(c);
    finish(&t);

    /* nobody listens there any more */
    c = client_of(t.url);
    assert_int_equal(get(c, &answer, &msg), BM_ERR_IO);
    assert_int_equal(aws_failure(c)->status, 0);
    assert_non_null(strstr(msg.text, t.url));
    aws_close(c);
}

static void
no_json_is_no_success(void **state)
{
    struct server s = { .answers = { "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>" } };
    struct aws_client *c;
    json_t *answer;

    (void)state;
    start(&s);
    c = client_of(s.url);
    assert_int_equal(get(c, &answer, NULL), BM_ERR_PROTO);
    assert_null(answer);
    aws_close(c);
    finish(&s);
}

/* ---- where things are found ---- */

static enum bm_err
find(const struct aws_options *o, struct aws_settings *s, struct bm_msg *msg)
{
    memset(s, 0, sizeof *s);
    return aws_settings_find(o, s, msg);
}

static void
local_defaults_hold_on_loopback_only(void **state)
{
    static const char *const local[] = { "http://127.0.0.1:4566", "http://localhost:1/",
        "https://[::1]:9", "http://127.9.8.7" };
    static const char *const far[] = { "http://127.evil.example", "http://localhost.example:1",
        "http://10.0.0.1:4566", "https://iot.us-east-1.amazonaws.com" };
    struct aws_settings s;
    struct bm_msg msg;

    (void)state;
    no_environment();
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(find(&(struct aws_options){ .endpoint = local[i] }, &s, NULL), BM_OK);
        assert_string_equal(s.access_key, "test");
        assert_string_equal(s.region, "us-east-1");
        assert_int_equal(
            find(&(struct aws_options){ .endpoint = far[i], .region = "us-east-1" }, &s, &msg),
            BM_ERR_INPUT);
        assert_non_null(strstr(msg.text, "no credentials"));
        assert_int_equal(find(&(struct aws_options){ .endpoint = far[i] }, &s, &msg), BM_ERR_INPUT);
        assert_non_null(strstr(msg.text, "AWS_REGION"));
    }
    assert_int_equal(find(&(struct aws_options){ 0 }, &s, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "birthmark cloud"));
    assert_int_equal(
        find(&(struct aws_options){ .endpoint = "127.0.0.1:1" }, &s, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "http://HOST:PORT"));
}

static void
profiles_are_read_as_the_aws_cli_reads_them(void **state)
{
    char dir[] = "/tmp/test_aws.XXXXXX";
    char path[64];
    struct aws_settings s;
    struct bm_msg msg;

    (void)state;
    no_environment();
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/credentials", dir);
    assert_int_equal(file_write(path,
                         span_str("[default]\naws_access_key_id = A1\naws_secret_access_key = S1\n"
                                  "[line]\naws_access_key_id=A2\naws_secret_access_key=S2\n"
                                  "aws_session_token=T2\n"),
                         0600, NULL),
        BM_OK);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    (void)snprintf(path, sizeof path, "%s/config", dir);
    assert_int_equal(
        file_write(path,
            span_str("[default]\nregion = eu-west-1\n[profile line]\nregion=eu-north-1\n"
                     "endpoint_url = http://10.1.1.1:4566/\n s3 =\n  region = no\n"),
            0600, NULL),
        BM_OK);
    (void)setenv("AWS_CONFIG_FILE", path, 1);
    assert_int_equal(find(&(struct aws_options){ 0 }, &s, NULL), BM_OK);
    assert_string_equal(s.access_key, "A1");
    assert_string_equal(s.region, "eu-west-1");
    assert_string_equal(s.endpoint[0], "");
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "ENVS", 1);
    assert_int_equal(find(&(struct aws_options){ 0 }, &s, NULL), BM_OK);
    assert_string_equal(s.access_key, "ENV");
    assert_int_equal(find(&(struct aws_options){ .profile = "line" }, &s, NULL), BM_OK);
    assert_string_equal(s.access_key, "A2");
    assert_string_equal(s.token, "T2");
    assert_string_equal(s.region, "eu-north-1");
    assert_string_equal(s.endpoint[0], "http://10.1.1.1:4566");
    assert_int_equal(find(&(struct aws_options){ .profile = "nobody" }, &s, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "nobody"));
    (void)setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9", 1);
    assert_int_equal(find(&(struct aws_options){ .profile = "line" }, &s, NULL), BM_OK);
    assert_string_equal(s.endpoint[aws_service("lambda")], "http://127.0.0.1:9");
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
    assert_int_equal(find(&(struct aws_options){ 0 }, &s, &msg), BM_ERR_IO);
    no_environment();
}

static void
without_endpoint_it_is_the_regions_own(void **state)
{
    struct aws_client *c;

    (void)state;
    no_environment();
    (void)setenv("AWS_ACCESS_KEY_ID", "a", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    assert_int_equal(aws_open(&(struct aws_options){ .region = "eu-west-1" }, &c, NULL), BM_OK);
    assert_string_equal(aws_endpoint(c, "iot"), "https://iot.eu-west-1.amazonaws.com");
    assert_string_equal(aws_endpoint(c, "iotdata"), "https://data-ats.iot.eu-west-1.amazonaws.com");
    assert_null(aws_endpoint(c, "s3"));
    assert_false(aws_has_own_endpoint(c));
    aws_close(c);
    assert_int_equal(aws_open(&(struct aws_options){ .region = "cn-north-1" }, &c, NULL), BM_OK);
    assert_string_equal(aws_endpoint(c, "lambda"), "https://lambda.cn-north-1.amazonaws.com.cn");
    aws_close(c);
    assert_int_equal(aws_open(&(struct aws_options){ .region = "x/../y" }, &c, NULL), BM_ERR_INPUT);
    no_environment();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_verifies_with_body_query_and_odd_letters),
        cmocka_unit_test(session_token_is_sent_and_signed),
        cmocka_unit_test(failures_have_name_message_status_and_no_secret),
        cmocka_unit_test(throttling_and_server_errors_are_tried_again),
        cmocka_unit_test(no_json_is_no_success),
        cmocka_unit_test(local_defaults_hold_on_loopback_only),
        cmocka_unit_test(profiles_are_read_as_the_aws_cli_reads_them),
        cmocka_unit_test(without_endpoint_it_is_the_regions_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
