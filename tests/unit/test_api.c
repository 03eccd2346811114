/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/api: the control plane in one process with a real registry, asked over loopback
 * by a small client that signs its requests (its own few lines of SigV4, not the verifier's).
 * Packages and running functions are the business of tests/scenario/api.sh, which has the real
 * clients.
 */
#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <jansson.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#define ASSERT_HAS(text, part) assert_non_null(strstr((text), (part)))
#define ACCOUNT "123456789012"
#define CERT_ARN "arn:aws:iot:eu-west-1:" ACCOUNT ":cert/"
#define NO_ID "0123456789012345678901234567890123456789012345678901234567890123"
#define FUNCTIONS "/2015-03-31/functions"
#define OPEN_POLICY                                                                                \
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iot:*\","       \
    "\"Resource\":\"*\"}]}"

enum { DEADLINE_MS = 20000, REPLY_MAX = 1 << 20 };

struct reply {
    int status;
    char error[64]; /* x-amzn-ErrorType */
    char message[1100];
    char head[2048];
    struct buf body;
    json_t *json;
};

struct world {
    char dir[64];
    struct loop *loop;
    struct registry *registry;
    struct pki_authority *authority;
    struct lambda *lambda;
    struct rules *rules;
    struct api_account account;
    struct api *api;
    bool commit_fails;
    bool commit_asked;
    bool broker_down;
    struct buf published; /* topic, LF, payload, qos, retain of the last Publish */
    /* how requests are signed */
    const char *service;
    const char *secret;
    int skew_s;
    const char *extra_name; /* one signed header more */
    const char *extra_value;
    bool unsigned_request;
    struct reply reply;
    /* the client's side */
    int fd;
    struct buf in;
    struct loop_watch *watch;
    bool late;
};

/* ---- the world ---- */

static enum bm_err
on_publish(void *arg, struct span topic, struct span payload, int qos, bool retain)
{
    struct world *w = arg;

    if (w->broker_down)
        return BM_ERR_IO;
    w->published.len = 0;
    buf_addf(&w->published, "%.*s\n%.*s\n%d %d", (int)topic.len, (const char *)topic.ptr,
        (int)payload.len, (const char *)payload.ptr, qos, retain);
    return BM_OK;
}

static enum bm_err
on_commit(void *arg, struct bm_msg *msg)
{
    struct world *w = arg;

    if (w->commit_fails)
        return bm_fail(msg, BM_ERR_IO, "disk full (pretended)");
    return registry_commit(w->registry, msg);
}

static void
on_commit_soon(void *arg)
{
    struct world *w = arg;

    w->commit_asked = true;
}

/* As the control process does: one commit for all changes of a round. */
static void
on_settle(void *arg)
{
    struct world *w = arg;
    struct bm_msg msg = { "" };

    if (!w->commit_asked)
        return;
    w->commit_asked = false;
    api_committed(w->api, 0, on_commit(w, &msg), &msg);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct bm_msg msg = { "" };                                                                \
        if ((call) != BM_OK)                                                                       \
            fail_msg("%s: %s", #call, msg.text);                                                   \
    } while (0)

static int
setup(void **state)
{
    static const char *const names[] = { "localhost" };
    static const struct api_key key = { "AKID", "secret", 0 };
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    log_setup("test", LOG_ERROR);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/bm-api.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->service = "execute-api";
    w->secret = "secret";
    OK(loop_new(&w->loop));
    OK(loop_settle(w->loop, on_settle, w));
    OK(registry_open(&(struct registry_options){ .dir = w->dir }, &w->registry, &msg));
    OK(pki_authority_open(w->dir, names, 1, &w->authority, &msg));
    OK(lambda_open(&(struct lambda_options){ .loop = w->loop,
                       .registry = w->registry,
                       .dir = w->dir,
                       .runtime_dir = SOURCE_DIR "/share/birthmark/runtimes",
                       .region = "eu-west-1",
                       .account = ACCOUNT,
                       .access_key = "AKID",
                       .secret_key = "secret" },
        &w->lambda, &msg));
    OK(rules_open(&(struct rules_options){ .registry = w->registry,
                      .lambda = w->lambda,
                      .region = "eu-west-1",
                      .account = ACCOUNT },
        &w->rules, &msg));
    w->account = (struct api_account){ .number = ACCOUNT,
        .registry = w->registry,
        .lambda = w->lambda,
        .rules = w->rules,
        .endpoint_address = "localhost",
        .arg = w };
    OK(api_open(&(struct api_options){ .loop = w->loop,
                    .authority = w->authority,
                    .host = "127.0.0.1",
                    .region = "eu-west-1",
                    .accounts = &w->account,
                    .account_count = 1,
                    .keys = &key,
                    .key_count = 1,
                    .publish = on_publish,
                    .commit = on_commit,
                    .commit_soon = on_commit_soon },
        &w->api, &msg));
    *state = w;
    return 0;
}

static void
reply_fini(struct reply *r)
{
    buf_fini(&r->body);
    json_decref(r->json);
    *r = (struct reply){ 0 };
}

static int
teardown(void **state)
{
    struct world *w = *state;

    api_close(w->api);
    rules_close(w->rules);
    lambda_close(w->lambda);
    pki_authority_close(w->authority);
    registry_close(w->registry);
    loop_free(w->loop);
    reply_fini(&w->reply);
    buf_fini(&w->published);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    return 0;
}

/* ---- a client that signs ---- */

static void
hmac(const void *key, size_t key_len, const char *text, uint8_t out[32])
{
    unsigned len = 32;

    assert_non_null(
        HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &len));
}

static void
sha256_hex(const char *text, char out[65])
{
    uint8_t hash[32];

    (void)SHA256((const uint8_t *)text, strlen(text), hash);
    hex_encode(out, hash, 32);
}

/* Target with its query, which the tests give in sorted order; only '%' needs a second escape. */
static void
add_canonical_target(struct buf *b, const char *target)
{
    const char *query = strchr(target, '?');
    const char *end = query != NULL ? query : target + strlen(target);

    for (const char *c = target; c < end; c++) {
        if (*c == '%')
            buf_addf(b, "%%25");
        else if (*c == ':' || *c == '$')
            buf_addf(b, "%%%02X", (unsigned)*c);
        else
            buf_add(b, c, 1);
    }
    buf_addf(b, "\n%s\n", query != NULL ? query + 1 : "");
}

static void
authorization(const struct world *w, const char *method, const char *target, const char *body,
    const char *stamp, const char *host, struct buf *out)
{
    char names[128];
    char hash[65];
    uint8_t key[32];
    char first[80];
    struct buf text = { 0 };

    (void)snprintf(names, sizeof names, "host;x-amz-date%s%s", w->extra_name != NULL ? ";" : "",
        w->extra_name != NULL ? w->extra_name : "");
    buf_addf(&text, "%s\n", method);
    add_canonical_target(&text, target);
    buf_addf(&text, "host:%s\nx-amz-date:%s\n", host, stamp);
    if (w->extra_name != NULL)
        buf_addf(&text, "%s:%s\n", w->extra_name, w->extra_value);
    sha256_hex(body, hash);
    buf_addf(&text, "\n%s\n%s", names, hash);
    sha256_hex(buf_cstr(&text), hash);
    text.len = 0;
    buf_addf(
        &text, "AWS4-HMAC-SHA256\n%s\n%.8s/r/%s/aws4_request\n%s", stamp, stamp, w->service, hash);
    (void)snprintf(first, sizeof first, "AWS4%s", w->secret);
    {
        char day[9];

        (void)snprintf(day, sizeof day, "%.8s", stamp);
        hmac(first, strlen(first), day, key);
    }
    hmac(key, 32, "r", key);
    hmac(key, 32, w->service, key);
    hmac(key, 32, "aws4_request", key);
    hmac(key, 32, buf_cstr(&text), key);
    hex_encode(hash, key, 32);
    buf_addf(out,
        "Authorization: AWS4-HMAC-SHA256 Credential=AKID/%.8s/r/%s/aws4_request, SignedHeaders=%s, "
        "Signature=%s\r\n",
        stamp, w->service, names, hash);
    buf_fini(&text);
}

static void
on_late(void *arg)
{
    struct world *w = arg;

    w->late = true;
    loop_stop(w->loop);
}

/* The reply is whole when the server closes: the requests say Connection: close. */
static void
on_bytes(void *arg, uint32_t events)
{
    struct world *w = arg;
    uint8_t *to = buf_reserve(&w->in, 65536);
    ssize_t n;

    (void)events;
    assert_non_null(to);
    n = recv(w->fd, to, 65536, MSG_DONTWAIT);
    if (n > 0) {
        w->in.len += (size_t)n;
        return;
    }
    loop_remove(w->loop, w->watch);
    loop_stop(w->loop);
}

static void
take_header(const char *head, const char *name, char *out, size_t cap)
{
    const char *at = strstr(head, name);

    out[0] = '\0';
    if (at != NULL)
        (void)snprintf(out, cap, "%.*s", (int)strcspn(at + strlen(name), "\r"), at + strlen(name));
}

static void
parse_reply(struct world *w)
{
    char *text = buf_cstr(&w->in);
    char *end = strstr(text, "\r\n\r\n");
    const char *message;

    reply_fini(&w->reply);
    assert_non_null(end);
    *end = '\0';
    (void)snprintf(w->reply.head, sizeof w->reply.head, "%s", text);
    assert_int_equal(sscanf(text, "HTTP/1.1 %d", &w->reply.status), 1);
    take_header(text, "x-amzn-ErrorType: ", w->reply.error, sizeof w->reply.error);
    buf_add(&w->reply.body, end + 4, strlen(end + 4));
    w->reply.json = json_loads(end + 4, 0, NULL);
    message = json_string_value(json_object_get(w->reply.json, "message"));
    (void)snprintf(w->reply.message, sizeof w->reply.message, "%s", message != NULL ? message : "");
}

static void
open_client(struct world *w)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(api_port(w->api)) };

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(w->fd, (const struct sockaddr *)&a, sizeof a), 0);
    w->watch = loop_add(w->loop, w->fd, EPOLLIN, on_bytes, w);
    assert_non_null(w->watch);
    w->in = (struct buf){ 0 };
}

static void
send_request(struct world *w, const char *method, const char *target, const char *body)
{
    struct buf text = { 0 };
    char host[32];
    char stamp[20];
    time_t t = time(NULL) + w->skew_s;
    struct tm tm;

    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&t, &tm));
    (void)snprintf(host, sizeof host, "127.0.0.1:%u", api_port(w->api));
    buf_addf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nConnection: close\r\n", method,
        target, host, stamp);
    if (w->extra_name != NULL)
        buf_addf(&text, "%s: %s\r\n", w->extra_name, w->extra_value);
    if (!w->unsigned_request)
        authorization(w, method, target, body, stamp, host, &text);
    buf_addf(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    assert_int_equal(send(w->fd, text.ptr, text.len, MSG_NOSIGNAL), (ssize_t)text.len);
    buf_fini(&text);
}

static const struct reply *
ask(struct world *w, const char *method, const char *target, const char *body)
{
    struct loop_timer *deadline = loop_after(w->loop, DEADLINE_MS, on_late, w);

    open_client(w);
    send_request(w, method, target, body);
    assert_int_equal(loop_run(w->loop), BM_OK);
    if (w->late)
        fail_msg("%s %s: no reply", method, target);
    loop_cancel(w->loop, deadline);
    (void)close(w->fd);
    parse_reply(w);
    buf_fini(&w->in);
    return &w->reply;
}

/* Ask and expect a status, and with it an error's name (NULL: none) and part of its message. */
static void
expect(struct world *w, const char *method, const char *target, const char *body, int status,
    const char *error, const char *says)
{
    const struct reply *r = ask(w, method, target, body);

    if (r->status != status || strcmp(r->error, error != NULL ? error : "") != 0 ||
        (says != NULL && strstr(r->message, says) == NULL))
        fail_msg("%s %s %s\n  gave %d %s: %s\n  wanted %d %s: %s", method, target, body, r->status,
            r->error, r->message, status, error != NULL ? error : "", says != NULL ? says : "");
}

static void
expect_ok(struct world *w, const char *method, const char *target, const char *body)
{
    expect(w, method, target, body, 200, NULL, NULL);
}

static const char *
text_of(const struct world *w, const char *outer, const char *member)
{
    json_t *from = outer != NULL ? json_object_get(w->reply.json, outer) : w->reply.json;
    const char *text = json_string_value(json_object_get(from, member));

    return text != NULL ? text : "(absent)";
}

/* ---- certificates for the tests ---- */

struct party {
    X509 *cert;
    EVP_PKEY *key;
};

static void
party_fini(struct party *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

/* by NULL: self-signed CA. days < 0: expired. */
static struct party
make_party(const char *cn, const struct party *by, int days)
{
    struct party p = { X509_new(), EVP_EC_gen("P-256") };
    X509_NAME *name = X509_get_subject_name(p.cert);
    X509 *issuer = by != NULL ? by->cert : p.cert;
    X509V3_CTX ctx;

    assert_int_equal(X509_set_version(p.cert, by == NULL ? 2 : 0), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(p.cert), (long)clock_mono_ms()), 1);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0),
        1);
    assert_int_equal(X509_set_issuer_name(p.cert, X509_get_subject_name(issuer)), 1);
    assert_non_null(X509_time_adj_ex(X509_getm_notBefore(p.cert), -2, 0, NULL));
    assert_non_null(X509_time_adj_ex(X509_getm_notAfter(p.cert), days, 0, NULL));
    assert_int_equal(X509_set_pubkey(p.cert, p.key), 1);
    if (by == NULL) {
        X509_EXTENSION *e;

        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, p.cert, p.cert, NULL, NULL, 0);
        e = X509V3_EXT_conf(NULL, &ctx, "basicConstraints", "critical,CA:TRUE");
        assert_int_equal(X509_add_ext(p.cert, e, -1), 1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(p.cert, by != NULL ? by->key : p.key, EVP_sha256()) > 0);
    return p;
}

static json_t *
pem_json(X509 *x)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;
    json_t *text;

    assert_int_equal(PEM_write_bio_X509(bio, x), 1);
    len = BIO_get_mem_data(bio, &data);
    text = json_stringn(data, (size_t)len);
    BIO_free(bio);
    return text;
}

static json_t *
file_json(const char *name)
{
    char path[512];
    struct buf text = { 0 };
    json_t *value;

    (void)snprintf(path, sizeof path, "%s/tests/vectors/pem/%s.pem", SOURCE_DIR, name);
    OK(file_read(path, PKI_PEM_MAX, &text, &msg));
    value = json_stringn((const char *)text.ptr, text.len);
    buf_fini(&text);
    return value;
}

/* {"a": x, "b": y}; both are taken, b may be NULL. */
static char *
body_of(const char *a, json_t *x, const char *b, json_t *y)
{
    json_t *o = json_object();
    char *text;

    (void)json_object_set_new(o, a, x);
    if (b != NULL)
        (void)json_object_set_new(o, b, y);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void
expect_body(struct world *w, const char *method, const char *target, char *body, int status,
    const char *error, const char *says)
{
    expect(w, method, target, body, status, error, says);
    free(body);
}

static void
id_of(X509 *x, char hex[65])
{
    uint8_t hash[32];
    unsigned len = 32;

    assert_int_equal(X509_digest(x, EVP_sha256(), hash, &len), 1);
    hex_encode(hex, hash, 32);
}

static void
registration_code(struct world *w, char out[65])
{
    expect_ok(w, "GET", "/registrationcode", "");
    (void)snprintf(out, 65, "%s", text_of(w, NULL, "registrationCode"));
    assert_int_equal(strlen(out), 64);
}

/* Register `ca`; query is "" or "?setAsActive=true". */
static void
register_ca(struct world *w, const struct party *ca, const char *query, int status,
    const char *error, const char *says)
{
    char code[65];
    char target[128];
    struct party verification;

    registration_code(w, code);
    verification = make_party(code, ca, 10);
    (void)snprintf(target, sizeof target, "/cacertificate%s", query);
    expect_body(w, "POST", target,
        body_of("caCertificate", pem_json(ca->cert), "verificationCertificate",
            pem_json(verification.cert)),
        status, error, says);
    party_fini(&verification);
}

/* A registered leaf; returns its id in hex. */
static void
register_leaf(struct world *w, const struct party *ca, const char *status, char id[65])
{
    struct party leaf = make_party("IoT device", ca, 10);

    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "status", json_string(status)), 200, NULL,
        NULL);
    id_of(leaf.cert, id);
    assert_string_equal(text_of(w, NULL, "certificateId"), id);
    party_fini(&leaf);
}

/* ---- claims: signatures, routing, bodies ---- */

static void
unsigned_and_badly_signed_requests_are_403(void **state)
{
    struct world *w = *state;

    w->unsigned_request = true;
    expect(w, "GET", "/registrationcode", "", 403, "MissingAuthenticationTokenException", NULL);
    expect(w, "GET", "/no/such/path", "", 403, "MissingAuthenticationTokenException", NULL);
    w->unsigned_request = false;
    w->secret = "wrong";
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException", "does not match");
    w->service = "iotdata";
    expect(w, "POST", "/topics/a", "x", 403, "ForbiddenException", NULL);
    assert_string_not_equal(text_of(w, NULL, "traceId"), "(absent)");
    w->secret = "secret";
    w->skew_s = -3600;
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException", "expired");
}

static void
both_names_of_the_control_plane_are_taken_and_no_other(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/registrationcode", "");
    w->service = "iot";
    expect_ok(w, "GET", "/registrationcode", "");
    w->service = "lambda";
    expect(w, "GET", "/registrationcode", "", 403, "InvalidSignatureException",
        "scoped to the service 'iot', not 'lambda'");
    w->service = "iot";
    expect(w, "GET", FUNCTIONS "/", "", 403, "InvalidSignatureException", "'lambda'");
}

static void
every_reply_has_date_request_id_and_length(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/registrationcode", "");
    ASSERT_HAS(w->reply.head, "\r\nDate: ");
    ASSERT_HAS(w->reply.head, "\r\nx-amzn-RequestId: ");
    ASSERT_HAS(w->reply.head, "\r\nContent-Type: application/json");
    expect_ok(w, "DELETE", "/registrationcode", "");
    ASSERT_HAS(w->reply.head, "\r\nContent-Length: 0");
    assert_int_equal(w->reply.body.len, 0);
}

static void
operations_not_built_are_named(void **state)
{
    struct world *w = *state;

    expect(w, "GET", "/jobs", "", 501, "NotImplementedException", "ListJobs (GET /jobs)");
    expect(w, "POST", "/jobs/a/targets", "", 501, "NotImplementedException",
        "AssociateTargetsWithJob");
    expect(w, "GET", "/destinations/arn%3Aaws/x/y", "", 501, "NotImplementedException",
        "GetTopicRuleDestination");
    expect(
        w, "GET", "/nonsense", "", 501, "NotImplementedException", "GET /nonsense is no operation");
    expect(w, "PATCH", "/certificates", "", 405, "MethodNotAllowedException",
        "PATCH is no method of /certificates");
}

static void
damaged_bodies_are_400(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/policies/p", "{", 400, "InvalidRequestException", "not JSON");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"\xff\"}", 400,
        "InvalidRequestException", "not JSON");
    expect(w, "POST", "/policies/p", "[]", 400, "InvalidRequestException", "not an object");
    expect(w, "POST", "/policies/p", "", 400, "InvalidRequestException",
        "'policyDocument' is missing");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":7}", 400, "InvalidRequestException",
        "'policyDocument' is a number; want a string");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":null}", 400, "InvalidRequestException",
        "missing");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"a\\u0000b\"}", 400,
        "InvalidRequestException", "not JSON");
    w->service = "lambda";
    expect(w, "POST", FUNCTIONS, "{", 400, "InvalidRequestContentException", "not JSON");
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":[]}", 400, "InvalidParameterValueException",
        "'FunctionName' is an array");
    assert_string_equal(text_of(w, NULL, "Type"), "User");
}

static void
failed_commit_is_503_and_says_why(void **state)
{
    struct world *w = *state;

    w->commit_fails = true;
    expect_body(w, "POST", "/policies/p",
        body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL), 503,
        "ServiceUnavailableException", "disk full");
    expect(w, "POST", "/keys-and-certificate", "", 503, "ServiceUnavailableException", NULL);
    assert_null(strstr(buf_cstr(&w->reply.body), "PRIVATE KEY"));
}

/* ---- registration code and CAs ---- */

static void
registration_code_is_stable_until_deleted(void **state)
{
    struct world *w = *state;
    char one[65];
    char two[65];

    expect(w, "DELETE", "/registrationcode", "", 404, "ResourceNotFoundException", NULL);
    registration_code(w, one);
    registration_code(w, two);
    assert_string_equal(one, two);
    expect_ok(w, "DELETE", "/registrationcode", "");
    registration_code(w, two);
    assert_string_not_equal(one, two);
}

static void
ca_is_registered_described_and_changed(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    char id[65];
    char target[128];
    json_t *d;

    register_ca(w, &ca, "", 200, NULL, NULL);
    id_of(ca.cert, id);
    assert_string_equal(text_of(w, NULL, "certificateId"), id);
    ASSERT_HAS(text_of(w, NULL, "certificateArn"), "arn:aws:iot:eu-west-1:" ACCOUNT ":cacert/");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "GET", target, "");
    d = json_object_get(w->reply.json, "certificateDescription");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "INACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "autoRegistrationStatus"), "DISABLE");
    assert_string_equal(text_of(w, "certificateDescription", "certificateMode"), "DEFAULT");
    assert_string_equal(text_of(w, "certificateDescription", "ownedBy"), ACCOUNT);
    assert_int_equal(json_integer_value(json_object_get(d, "customerVersion")), 1);
    assert_true(json_is_number(json_object_get(d, "creationDate"))); /* SPEC aws-iot 1.1 */
    assert_true(json_is_number(json_object_get(json_object_get(d, "validity"), "notAfter")));
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newStatus=ACTIVE", id);
    expect_ok(w, "PUT", target, "{}");
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newAutoRegistrationStatus=ENABLE", id);
    expect_ok(w, "PUT", target, "{\"removeAutoRegistration\":true}");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "autoRegistrationStatus"), "ENABLE");
    expect(w, "DELETE", target, "", 406, "CertificateStateException", NULL);
    (void)snprintf(target, sizeof target, "/cacertificate/%s?newStatus=INACTIVE", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/cacertificate/%s", id);
    expect_ok(w, "DELETE", target, "");
    expect(w, "GET", target, "", 404, "ResourceNotFoundException", NULL);
    party_fini(&ca);
}

static void
ca_update_refuses_words_outside_the_enum(void **state)
{
    struct world *w = *state;

    expect(w, "PUT", "/cacertificate/" NO_ID "?newAutoRegistrationStatus=ENABLED", "{}", 400,
        "InvalidRequestException",
        "newAutoRegistrationStatus is 'ENABLED'; want ENABLE or DISABLE");
    expect(w, "PUT", "/cacertificate/" NO_ID "?newStatus=active", "{}", 400,
        "InvalidRequestException", "want ACTIVE or INACTIVE");
    expect(w, "PUT", "/cacertificate/" NO_ID "?newStatus=ACTIVE", "{}", 404,
        "ResourceNotFoundException", NULL);
    expect(w, "PUT", "/cacertificate/xyz?newStatus=ACTIVE", "{}", 400, "InvalidRequestException",
        "'xyz' is not 64 hexadecimal digits");
    expect(w, "PUT", "/cacertificate/" NO_ID,
        "{\"registrationConfig\":{\"roleArn\":\"arn:aws:iam::1:role/r-of-ca\"}}", 400,
        "InvalidRequestException", "templateBody is missing");
    expect(w, "PUT", "/cacertificate/" NO_ID, "{\"removeAutoRegistration\":\"yes\"}", 400,
        "InvalidRequestException", "'removeAutoRegistration' is a string");
}

static void
same_ca_twice_is_409_with_its_arn(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    char id[65];

    register_ca(w, &ca, "?allowAutoRegistration=true&setAsActive=true", 200, NULL, NULL);
    register_ca(w, &ca, "", 409, "ResourceAlreadyExistsException", NULL);
    id_of(ca.cert, id);
    assert_string_equal(text_of(w, NULL, "resourceId"), id);
    ASSERT_HAS(text_of(w, NULL, "resourceArn"), id);
    party_fini(&ca);
}

static void
eleventh_ca_with_one_subject_is_410(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 11; i++) {
        struct party ca = make_party("One name", NULL, 100);

        if (i < 10)
            register_ca(w, &ca, "", 200, NULL, NULL);
        else
            register_ca(w, &ca, "", 410, "LimitExceededException",
                "Limit reached for number of CA Certificates with same subject");
        party_fini(&ca);
    }
}

static void
ca_registration_is_refused_for_each_defect(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("Demo CA NXP", NULL, 100);
    struct party other = make_party("Other CA", NULL, 100);
    struct party twin = make_party("Demo CA NXP", NULL, 100);
    struct party expired = make_party("Expired CA", NULL, -1);
    struct party verification;
    char code[65];

    registration_code(w, code);
    verification = make_party("not the code", &ca, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "RegistrationCodeValidationException", "CN is 'not the code'");
    ASSERT_HAS(w->reply.message, code);
    party_fini(&verification);
    verification = make_party(code, &other, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException", "its issuer is 'CN=Other CA'");
    party_fini(&verification);
    verification = make_party(code, &twin, 10);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException", "did not sign it");
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(verification.cert), "verificationCertificate",
            pem_json(verification.cert)),
        400, "CertificateValidationException",
        "The CA certificate does not have the basicConstraints extension as true");
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", pem_json(ca.cert), NULL, NULL), 400, "InvalidRequestException",
        "'verificationCertificate' is missing");
    register_ca(w, &expired, "", 400, "CertificateValidationException", "expired");
    party_fini(&verification);
    party_fini(&ca);
    party_fini(&other);
    party_fini(&twin);
    party_fini(&expired);
}

static void
unreadable_and_weak_ca_pem_is_400(void **state)
{
    static const struct {
        const char *name;
        const char *says;
    } cases[] = {
        { "path-instead", "begin 'crlf.pem" },
        { "two-certificates", "more than one" },
        { "bad-base64", "damaged" },
        { "not-der", "not one X.509 certificate" },
        { "key-instead", "PRIVATE KEY" },
        { "weak-rsa1024", "RSA of 1024 bits" },
        { "weak-sha1", "SHA1" },
        { "not-a-ca", "basicConstraints" },
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_body(w, "POST", "/cacertificate",
            body_of("caCertificate", file_json(cases[i].name), "verificationCertificate",
                file_json("leaf-v1")),
            400, "CertificateValidationException", cases[i].says);
    expect_body(w, "POST", "/cacertificate",
        body_of("caCertificate", json_string(""), "verificationCertificate", file_json("leaf-v1")),
        400, "InvalidRequestException", "0 characters");
}

static void
modes_and_configs_are_checked(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/cacertificate",
        "{\"caCertificate\":\"x\",\"verificationCertificate\":\"x\",\"certificateMode\":\"SNI_"
        "ONLY\"}",
        400, "InvalidRequestException", "must not be there");
    expect(w, "POST", "/cacertificate", "{\"caCertificate\":\"x\",\"certificateMode\":\"BOTH\"}",
        400, "InvalidRequestException", "want DEFAULT or SNI_ONLY");
    expect(w, "POST", "/cacertificate", "{\"caCertificate\":\"x\",\"tags\":[{\"Value\":\"b\"}]}",
        400, "InvalidRequestException", "'tags[0].Key' is missing");
    expect(w, "POST", "/cacertificate?setAsActive=ACTIVE",
        "{\"caCertificate\":\"x\",\"verificationCertificate\":\"x\"}", 400,
        "InvalidRequestException", "setAsActive is 'ACTIVE'; want true or false");
}

/* ---- certificates ---- */

static void
certificate_walks_its_states(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    char id[65];
    char target[128];

    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    register_leaf(w, &ca, "INACTIVE", id);
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_int_equal(strlen(text_of(w, "certificateDescription", "caCertificateId")), 64);
    expect(w, "DELETE", target, "", 406, "CertificateStateException", NULL);
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=PENDING_ACTIVATION", id);
    expect(w, "PUT", target, "", 406, "CertificateStateException", "PENDING_ACTIVATION");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=REVOKED", id);
    expect_ok(w, "PUT", target, "");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", id);
    expect(w, "PUT", target, "", 406, "CertificateStateException", "REVOKED");
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ON", id);
    expect(w, "PUT", target, "", 400, "InvalidRequestException", "newStatus is 'ON'");
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect(w, "PUT", target, "", 400, "InvalidRequestException", "newStatus is missing");
    expect_ok(w, "DELETE", target, "");
    expect(w, "GET", target, "", 404, "ResourceNotFoundException", id);
    party_fini(&ca);
}

static void
register_certificate_wants_an_active_registered_signer(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    struct party leaf = make_party("leaf", &ca, 10);
    struct party old = make_party("old leaf", &ca, -1);

    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 400,
        "CertificateValidationException", "whose issuer is 'CN=CA'");
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 400,
        "CertificateValidationException", "caCertificatePem");
    register_ca(w, &ca, "", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 400,
        "CertificateValidationException", "is INACTIVE");
    party_fini(&ca);
    ca = make_party("CA", NULL, 100); /* the same name, another key; registered and ACTIVE */
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 400,
        "CertificateValidationException", "did not sign it");
    party_fini(&leaf);
    leaf = make_party("leaf", &ca, 10);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "status", json_string("PENDING_ACTIVATION")),
        406, "CertificateStateException",
        "Not allowed to register certificate with PENDING_ACTIVATION status");
    expect_body(w, "POST", "/certificate/register?setAsActive=true",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(ca.cert)), 200,
        NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 409,
        "ResourceAlreadyExistsException", NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(old.cert), NULL, NULL), 400,
        "CertificateValidationException", "expired");
    party_fini(&leaf);
    party_fini(&old);
    party_fini(&ca);
}

/* SPEC aws-iot 3.2: allowed to register, ambiguous later. */
static void
two_cas_with_one_name_and_key_conflict(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    struct party renewed = { X509_dup(ca.cert), ca.key };
    struct party leaf = make_party("leaf", &ca, 10);

    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(renewed.cert), 77), 1);
    assert_true(X509_sign(renewed.cert, renewed.key, EVP_sha256()) > 0);
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    register_ca(w, &renewed, "?setAsActive=true", 200, NULL, NULL);
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), NULL, NULL), 409,
        "CertificateConflictException", "caCertificatePem");
    expect_body(w, "POST", "/certificate/register",
        body_of("certificatePem", pem_json(leaf.cert), "caCertificatePem", pem_json(renewed.cert)),
        200, NULL, NULL);
    X509_free(renewed.cert);
    party_fini(&leaf);
    party_fini(&ca);
}

static void
keys_and_csr_certificates_are_made(void **state)
{
    struct world *w = *state;
    char target[128];
    const char *private_key;

    expect_ok(w, "POST", "/keys-and-certificate?setAsActive=true", "");
    private_key = text_of(w, "keyPair", "PrivateKey");
    ASSERT_HAS(private_key, "BEGIN RSA PRIVATE KEY");
    ASSERT_HAS(text_of(w, "keyPair", "PublicKey"), "BEGIN PUBLIC KEY");
    ASSERT_HAS(text_of(w, NULL, "certificatePem"), "BEGIN CERTIFICATE");
    (void)snprintf(target, sizeof target, "/certificates/%s", text_of(w, NULL, "certificateId"));
    expect_ok(w, "GET", target, "");
    assert_string_equal(text_of(w, "certificateDescription", "status"), "ACTIVE");
    assert_string_equal(text_of(w, "certificateDescription", "caCertificateId"), "(absent)");
    assert_int_equal(
        json_integer_value(json_object_get(
            json_object_get(json_object_get(w->reply.json, "certificateDescription"), "validity"),
            "notAfter")),
        2524607999); /* 2049-12-31T23:59:59Z */
    expect_body(w, "POST", "/certificates",
        body_of("certificateSigningRequest", file_json("csr-good"), NULL, NULL), 200, NULL, NULL);
    expect_body(w, "POST", "/certificates",
        body_of("certificateSigningRequest", file_json("csr-bad-signature"), NULL, NULL), 400,
        "InvalidRequestException", "signature does not verify");
}

static void
lists_come_in_pages_newest_first(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    char ids[3][65];
    char ca_id[65];
    char target[256];
    json_t *list;

    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    for (size_t i = 0; i < 3; i++)
        register_leaf(w, &ca, "ACTIVE", ids[i]);
    expect_ok(w, "GET", "/certificates?pageSize=2", "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateId")), ids[2]);
    (void)snprintf(target, sizeof target, "/certificates?marker=%s&pageSize=2",
        text_of(w, NULL, "nextMarker"));
    expect_ok(w, "GET", target, "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 1);
    assert_null(json_object_get(w->reply.json, "nextMarker"));
    id_of(ca.cert, ca_id);
    (void)snprintf(target, sizeof target, "/certificates-by-ca/%s?isAscendingOrder=true", ca_id);
    expect_ok(w, "GET", target, "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateId")), ids[0]);
    expect_ok(w, "GET", "/cacertificates", "");
    list = json_object_get(w->reply.json, "certificates");
    assert_int_equal(json_array_size(list), 1);
    ASSERT_HAS(
        json_string_value(json_object_get(json_array_get(list, 0), "certificateArn")), ":cacert/");
    expect(w, "GET", "/certificates?pageSize=0", "", 400, "InvalidRequestException", "1 to 250");
    expect(w, "GET", "/certificates?pageSize=251", "", 400, "InvalidRequestException", "'251'");
    expect(w, "GET", "/certificates?pageSize=2x", "", 400, "InvalidRequestException", "'2x'");
    expect(w, "GET", "/certificates?marker=nonsense", "", 400, "InvalidRequestException", NULL);
    party_fini(&ca);
}

/* ---- policies ---- */

static void
put_policy(struct world *w, const char *name)
{
    char target[200];

    (void)snprintf(target, sizeof target, "/policies/%s", name);
    expect_body(w, "POST", target, body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL),
        200, NULL, NULL);
}

static void
policy_is_made_read_and_deleted(void **state)
{
    struct world *w = *state;

    put_policy(w, "p_1.%2C%40%3D%2B-");
    assert_string_equal(text_of(w, NULL, "policyName"), "p_1.,@=+-");
    assert_string_equal(text_of(w, NULL, "policyVersionId"), "1");
    expect_ok(w, "GET", "/policies/p_1.%2C%40%3D%2B-", "");
    assert_string_equal(text_of(w, NULL, "policyDocument"), OPEN_POLICY);
    assert_string_equal(text_of(w, NULL, "defaultVersionId"), "1");
    expect_body(w, "POST", "/policies/p_1.%2C%40%3D%2B-",
        body_of("policyDocument", json_string(OPEN_POLICY), NULL, NULL), 409,
        "ResourceAlreadyExistsException", NULL);
    ASSERT_HAS(text_of(w, NULL, "resourceArn"), ":policy/p_1");
    expect_ok(w, "GET", "/policies", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 1);
    expect_ok(w, "DELETE", "/policies/p_1.%2C%40%3D%2B-", "");
    expect(w, "DELETE", "/policies/p_1.%2C%40%3D%2B-", "", 404, "ResourceNotFoundException", NULL);
    expect(w, "GET", "/policies/a%20b", "", 400, "InvalidRequestException", "'a b'");
    expect(w, "POST", "/policies/p", "{\"policyDocument\":\"{}\"}", 400, "MalformedPolicyException",
        NULL);
}

static void
policy_is_attached_by_either_operation(void **state)
{
    struct world *w = *state;
    char arn[160];
    char target[300];
    char id[65];

    expect_ok(w, "POST", "/keys-and-certificate", "");
    (void)snprintf(id, sizeof id, "%s", text_of(w, NULL, "certificateId"));
    (void)snprintf(arn, sizeof arn, CERT_ARN "%s", id);
    put_policy(w, "one");
    put_policy(w, "two");
    expect_body(w, "PUT", "/target-policies/one", body_of("target", json_string(arn), NULL, NULL),
        200, NULL, NULL);
    w->extra_name = "x-amzn-iot-principal";
    w->extra_value = arn;
    expect_ok(w, "PUT", "/principal-policies/two", "");
    expect_ok(w, "PUT", "/principal-policies/two", "");
    expect_ok(w, "GET", "/principal-policies", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 2);
    w->extra_name = NULL;
    (void)snprintf(target, sizeof target,
        "/attached-policies/arn%%3Aaws%%3Aiot%%3Aeu-west-1%%3A" ACCOUNT "%%3Acert%%2F%s", id);
    expect_ok(w, "POST", target, "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "policies")), 2);
    expect_ok(w, "POST", "/policy-targets/one", "");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(w->reply.json, "targets"), 0)), arn);
    expect(w, "DELETE", "/policies/one", "", 409, "DeleteConflictException", NULL);
    (void)snprintf(target, sizeof target, "/certificates/%s", id);
    expect(w, "DELETE", target, "", 409, "DeleteConflictException", NULL);
    expect_body(w, "POST", "/target-policies/one", body_of("target", json_string(arn), NULL, NULL),
        200, NULL, NULL);
    expect_ok(w, "DELETE", "/policies/one", "");
    (void)snprintf(target, sizeof target, "/certificates/%s?forceDelete=true", id);
    expect_ok(w, "DELETE", target, "");
}

static void
attaching_refuses_what_is_no_certificate_here(void **state)
{
    struct world *w = *state;

    put_policy(w, "p");
    expect(w, "PUT", "/target-policies/p", "{\"target\":\"" CERT_ARN NO_ID "\"}", 404,
        "ResourceNotFoundException", NO_ID);
    expect(w, "PUT", "/target-policies/q", "{\"target\":\"" CERT_ARN NO_ID "\"}", 404,
        "ResourceNotFoundException", "\"q\"");
    expect(w, "PUT", "/target-policies/p",
        "{\"target\":\"arn:aws:iot:us-east-1:" ACCOUNT ":cert/" NO_ID "\"}", 400,
        "InvalidRequestException", CERT_ARN);
    expect(w, "PUT", "/target-policies/p", "{\"target\":\"" CERT_ARN "12\"}", 400,
        "InvalidRequestException", NULL);
    expect(w, "PUT", "/target-policies/p",
        "{\"target\":\"arn:aws:iot:eu-west-1:" ACCOUNT ":thinggroup/g\"}", 404,
        "ResourceNotFoundException", "\"g\"");
    expect(w, "PUT", "/principal-policies/p", "", 400, "InvalidRequestException",
        "x-amzn-iot-principal");
}

static void
targets_of_a_policy_come_in_pages(void **state)
{
    struct world *w = *state;
    struct party ca = make_party("CA", NULL, 100);
    size_t seen = 0;
    char target[200] = "/policy-targets/p?pageSize=2";

    put_policy(w, "p");
    register_ca(w, &ca, "?setAsActive=true", 200, NULL, NULL);
    for (int i = 0; i < 5; i++) {
        char id[65];
        char body[200];

        register_leaf(w, &ca, "ACTIVE", id);
        (void)snprintf(body, sizeof body, "{\"target\":\"" CERT_ARN "%s\"}", id);
        expect_ok(w, "PUT", "/target-policies/p", body);
    }
    for (int page = 0; page < 3; page++) {
        expect_ok(w, "POST", target, "");
        seen += json_array_size(json_object_get(w->reply.json, "targets"));
        (void)snprintf(target, sizeof target, "/policy-targets/p?marker=%s&pageSize=2",
            text_of(w, NULL, "nextMarker"));
    }
    assert_int_equal(seen, 5);
    assert_null(json_object_get(w->reply.json, "nextMarker"));
    expect(w, "POST", "/policy-targets/p?marker=zz", "", 400, "InvalidRequestException", "\"zz\"");
    party_fini(&ca);
}

/* ---- rules ---- */

#define FUNCTION_ARN "arn:aws:lambda:eu-west-1:" ACCOUNT ":function:f"
#define RULE                                                                                       \
    "{\"sql\":\"SELECT * FROM 'a/+'\",\"actions\":[{\"lambda\":{\"functionArn\":\"" FUNCTION_ARN   \
    "\"}}]}"

static void
rule_is_made_switched_and_deleted(void **state)
{
    struct world *w = *state;
    json_t *item;

    expect_ok(w, "POST", "/rules/r_1", RULE);
    assert_int_equal(rules_filter_count(w->rules), 1);
    expect(w, "POST", "/rules/r_1", RULE, 409, "ResourceAlreadyExistsException", NULL);
    expect_ok(w, "GET", "/rules/r_1", "");
    assert_string_equal(text_of(w, "rule", "ruleName"), "r_1");
    assert_string_equal(text_of(w, "rule", "sql"), "SELECT * FROM 'a/+'");
    assert_string_equal(text_of(w, NULL, "ruleArn"), "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r_1");
    assert_true(
        json_is_number(json_object_get(json_object_get(w->reply.json, "rule"), "createdAt")));
    expect_ok(w, "POST", "/rules/r_1/disable", "");
    assert_int_equal(rules_filter_count(w->rules), 0);
    expect_ok(w, "GET", "/rules?ruleDisabled=true", "");
    item = json_array_get(json_object_get(w->reply.json, "rules"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "topicPattern")), "a/+");
    assert_true(json_is_true(json_object_get(item, "ruleDisabled")));
    expect_ok(w, "GET", "/rules?ruleDisabled=false", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 0);
    expect_ok(w, "POST", "/rules/r_1/enable", "");
    assert_int_equal(rules_filter_count(w->rules), 1);
    expect_ok(w, "PATCH", "/rules/r_1", RULE);
    expect_ok(w, "DELETE", "/rules/r_1", "");
    assert_int_equal(rules_filter_count(w->rules), 0);
    expect(w, "GET", "/rules/r_1", "", 401, "UnauthorizedException",
        "Access to topic rule 'r_1' was denied");
    expect(w, "POST", "/rules/r_1/enable", "", 401, "UnauthorizedException", NULL);
}

static void
rules_that_could_not_run_are_refused(void **state)
{
    struct world *w = *state;

    expect(w, "POST", "/rules/r-1", RULE, 400, "InvalidRequestException", "'r-1'");
    expect(w, "POST", "/rules/r", "{\"sql\":\"SELECT\",\"actions\":[]}", 400, "SqlParseException",
        NULL);
    expect(w, "POST", "/rules/r", "{\"actions\":[]}", 400, "InvalidRequestException", "sql");
    expect(w, "POST", "/rules/r",
        "{\"sql\":\"SELECT * FROM 'a'\",\"actions\":[{\"s3\":{\"bucketName\":\"b\"}}]}", 400,
        "InvalidRequestException", NULL);
    w->extra_name = "x-amz-tagging";
    w->extra_value = "k=v";
    expect(w, "POST", "/rules/r", RULE, 200, "", NULL);
    w->extra_name = NULL;
    expect(w, "GET", "/tags?resourceArn=arn%3Aaws%3Aiot%3Aeu-west-1%3A" ACCOUNT "%3Arule%2Fr", "",
        200, "", NULL);
    ASSERT_HAS((const char *)w->reply.body.ptr, "{\"Key\":\"k\",\"Value\":\"v\"}");
    w->extra_name = "x-amz-tagging";
    w->extra_value = "=v";
    expect(w, "POST", "/rules/r2", RULE, 400, "InvalidRequestException", "x-amz-tagging");
}

static void
rules_are_listed_in_pages_by_name(void **state)
{
    struct world *w = *state;

    expect_ok(w, "POST", "/rules/a", RULE);
    expect_ok(w, "POST", "/rules/b", RULE);
    expect_ok(w, "POST", "/rules/c", RULE);
    expect_ok(w, "GET", "/rules?maxResults=2", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 2);
    assert_string_equal(text_of(w, NULL, "nextToken"), "b");
    expect_ok(w, "GET", "/rules?maxResults=2&nextToken=b", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 1);
    assert_null(json_object_get(w->reply.json, "nextToken"));
    expect_ok(w, "GET", "/rules?topic=other", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "rules")), 0);
}

/* ---- endpoint and data plane ---- */

static void
endpoint_types_are_told_apart(void **state)
{
    struct world *w = *state;

    expect_ok(w, "GET", "/endpoint", "");
    assert_string_equal(text_of(w, NULL, "endpointAddress"), "localhost");
    expect_ok(w, "GET", "/endpoint?endpointType=iot%3AData-ATS", "");
    expect(w, "GET", "/endpoint?endpointType=iot%3AData", "", 400, "InvalidRequestException",
        "retired");
    expect(w, "GET", "/endpoint?endpointType=iot%3ACredentialProvider", "", 501,
        "NotImplementedException", NULL);
    expect(w, "GET", "/endpoint?endpointType=x", "", 400, "InvalidRequestException", "'x'");
}

static void
publish_hands_topic_and_payload_on(void **state)
{
    struct world *w = *state;

    w->service = "iotdata";
    expect_ok(w, "POST", "/topics/foo%2Fbar%20baz?qos=1&retain=true", "Hello");
    assert_string_equal(buf_cstr(&w->published), "foo/bar baz\nHello\n1 1");
    expect_ok(w, "POST", "/topics/t", "");
    assert_string_equal(buf_cstr(&w->published), "t\n\n0 0");
}

static void
publish_keeps_the_limits(void **state)
{
    struct world *w = *state;
    char *big = malloc(131074);

    w->service = "iotdata";
    memset(big, 'x', 131073);
    big[131073] = '\0';
    expect(w, "POST", "/topics/t", big, 413, "RequestEntityTooLargeException", "131073");
    big[131072] = '\0';
    expect_ok(w, "POST", "/topics/t", big);
    free(big);
    w->published.len = 0;
    expect(w, "POST", "/topics/%24aws%2Fevents%2Fx", "x", 403, "ForbiddenException", "'$'");
    expect(w, "POST", "/topics/a%2F%2B", "x", 400, "InvalidRequestException", "wildcard");
    expect(w, "POST", "/topics/%FF", "x", 400, "InvalidRequestException", "UTF-8");
    expect(w, "POST", "/topics/1%2F2%2F3%2F4%2F5%2F6%2F7%2F8%2F9", "x", 400,
        "InvalidRequestException", "8 slashes");
    expect(w, "POST", "/topics/t?qos=2", "x", 400, "InvalidRequestException", "qos is '2'");
    expect(w, "POST", "/topics/t?messageExpiry=5", "x", 501, "NotImplementedException",
        "messageExpiry");
    w->broker_down = true;
    expect(w, "POST", "/topics/t", "x", 503, "ServiceUnavailableException", "broker");
    assert_int_equal(w->published.len, 0);
}

/* ---- functions ---- */

static void
put_function(struct world *w)
{
    struct registry_function f = { .name = "f" };

    buf_addf(&f.config, "{\"Runtime\":\"provided.al2\",\"Handler\":\"h\",\"Timeout\":3}");
    buf_addf(&f.permissions, "[]");
    OK(registry_function_create(w->registry, &f, &msg));
    registry_function_fini(&f);
}

static void
function_is_found_by_name_and_arn(void **state)
{
    struct world *w = *state;

    w->service = "lambda";
    put_function(w);
    expect_ok(w, "GET", FUNCTIONS "/f/configuration", "");
    assert_string_equal(text_of(w, NULL, "FunctionArn"), FUNCTION_ARN);
    assert_string_equal(text_of(w, NULL, "State"), "Active");
    ASSERT_HAS(text_of(w, NULL, "LastModified"), "+0000");
    expect_ok(
        w, "GET", FUNCTIONS "/arn%3Aaws%3Alambda%3Aeu-west-1%3A" ACCOUNT "%3Afunction%3Af", "");
    assert_string_equal(text_of(w, "Configuration", "FunctionName"), "f");
    expect_ok(w, "GET", FUNCTIONS "/", "");
    assert_int_equal(json_array_size(json_object_get(w->reply.json, "Functions")), 1);
    expect(w, "GET", FUNCTIONS "/g", "", 404, "ResourceNotFoundException", "Function not found: g");
    assert_string_equal(text_of(w, NULL, "Message"), "Function not found: g");
    expect(w, "GET", FUNCTIONS "/f?Qualifier=2", "", 404, "ResourceNotFoundException", "'2'");
    expect(w, "DELETE", FUNCTIONS "/f", "", 204, NULL, NULL);
    expect(w, "DELETE", FUNCTIONS "/f", "", 404, "ResourceNotFoundException", NULL);
}

static void
function_settings_not_built_are_refused(void **state)
{
    struct world *w = *state;

    w->service = "lambda";
    put_function(w);
#define FUNCTION "{\"FunctionName\":\"g\",\"Role\":\"arn:aws:iam::1:role/r\","
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{},\"Layers\":[\"x\"]}", 501,
        "NotImplementedException", "'Layers'");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{},\"PackageType\":\"Image\"}", 501,
        "NotImplementedException", "Image");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{\"S3Bucket\":\"bbb\"}}", 501,
        "NotImplementedException", "S3Bucket");
    expect(w, "POST", FUNCTIONS, FUNCTION "\"Code\":{}}", 400, "InvalidParameterValueException",
        "ZipFile");
    expect(w, "POST", FUNCTIONS,
        FUNCTION "\"Runtime\":\"provided\",\"Handler\":\"h\",\"Code\":{\"ZipFile\":\"???\"}}", 400,
        "InvalidParameterValueException", "base64");
    expect(w, "POST", FUNCTIONS,
        FUNCTION "\"Runtime\":\"provided\",\"Handler\":\"h\",\"Code\":{\"ZipFile\":\"UEsD\"}}", 400,
        "InvalidParameterValueException", NULL);
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":\"g\",\"Role\":\"r\",\"Code\":{}}", 400,
        "InvalidParameterValueException", "Role is 'r'");
    expect(w, "POST", FUNCTIONS, "{\"FunctionName\":\"a b\",\"Role\":\"r\",\"Code\":{}}", 400,
        "InvalidParameterValueException", "'a b'");
    expect(w, "PUT", FUNCTIONS "/f/code", "{\"S3Key\":\"k\"}", 501, "NotImplementedException",
        "'S3Key'");
    expect(w, "PUT", FUNCTIONS "/f/configuration", "{\"Environment\":[]}", 400,
        "InvalidParameterValueException", "'Environment' is an array");
}

static void
permissions_are_statements(void **state)
{
    static const char add[] =
        "{\"StatementId\":\"iot\",\"Action\":\"lambda:InvokeFunction\","
        "\"Principal\":\"iot.amazonaws.com\",\"SourceArn\":"
        "\"arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r\",\"SourceAccount\":\"" ACCOUNT "\"}";
    struct world *w = *state;
    struct bm_msg msg;
    json_t *s;

    w->service = "lambda";
    put_function(w);
    expect(w, "GET", FUNCTIONS "/f/policy", "", 404, "ResourceNotFoundException", NULL);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r", ACCOUNT, &msg),
        BM_ERR_DENIED);
    expect(w, "POST", FUNCTIONS "/f/policy", add, 201, NULL, NULL);
    s = json_loads(text_of(w, NULL, "Statement"), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(s, "Resource")), FUNCTION_ARN);
    json_decref(s);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/r", ACCOUNT, &msg),
        BM_OK);
    assert_int_equal(lambda_permitted(w->lambda, "f", "iot.amazonaws.com",
                         "arn:aws:iot:eu-west-1:" ACCOUNT ":rule/s", ACCOUNT, &msg),
        BM_ERR_DENIED);
    expect(w, "POST", FUNCTIONS "/f/policy", add, 409, "ResourceConflictException", "(iot)");
    expect_ok(w, "GET", FUNCTIONS "/f/policy", "");
    ASSERT_HAS(text_of(w, NULL, "Policy"), "\"Sid\":\"iot\"");
    expect(w, "POST", FUNCTIONS "/f/policy",
        "{\"StatementId\":\"x\",\"Action\":\"lambda:InvokeFunction\",\"Principal\":\"me\"}", 400,
        "InvalidParameterValueException", "principal was invalid");
    expect(w, "DELETE", FUNCTIONS "/f/policy/no", "", 404, "ResourceNotFoundException", "no");
    expect(w, "DELETE", FUNCTIONS "/f/policy/iot", "", 204, NULL, NULL);
    expect(w, "GET", FUNCTIONS "/f/policy", "", 404, "ResourceNotFoundException", NULL);
}

static void
invocation_kinds_and_limits(void **state)
{
    struct world *w = *state;
    char *big = malloc(LAMBDA_PAYLOAD_ASYNC_MAX + 3);

    w->service = "lambda";
    put_function(w);
    expect(w, "POST", FUNCTIONS "/g/invocations", "{}", 404, "ResourceNotFoundException", NULL);
    expect(w, "POST", FUNCTIONS "/f/invocations", "{", 400, "InvalidRequestContentException", NULL);
    w->extra_name = "x-amz-invocation-type";
    w->extra_value = "DryRun";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 204, NULL, NULL);
    w->extra_value = "Sometime";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 400, "InvalidParameterValueException",
        "'Sometime'");
    w->extra_value = "Event";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 202, NULL, NULL);
    memset(big, ' ', LAMBDA_PAYLOAD_ASYNC_MAX + 2);
    memcpy(big, "{}", 2);
    big[LAMBDA_PAYLOAD_ASYNC_MAX + 1] = '\0';
    expect(w, "POST", FUNCTIONS "/f/invocations", big, 413, "RequestTooLargeException", NULL);
    w->extra_name = "x-amz-log-type";
    w->extra_value = "All";
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 400, "InvalidParameterValueException",
        "'All'");
    free(big);
}

static void
reserved_concurrency_is_kept_and_keeps_calls_out(void **state)
{
    struct world *w = *state;
    json_t *body;

    w->service = "lambda";
    put_function(w);
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency",
        "{\"ReservedConcurrentExecutions\":901}", 400, "InvalidParameterValueException", "[100]");
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency", "{}", 400,
        "InvalidParameterValueException", NULL);
    expect(w, "PUT", "/2017-10-31/functions/g/concurrency", "{\"ReservedConcurrentExecutions\":1}",
        404, "ResourceNotFoundException", NULL);
    expect(w, "PUT", "/2017-10-31/functions/f/concurrency", "{\"ReservedConcurrentExecutions\":0}",
        200, NULL, NULL);
    expect_ok(w, "GET", "/2019-09-30/functions/f/concurrency", "");
    body = w->reply.json;
    assert_int_equal(json_integer_value(json_object_get(body, "ReservedConcurrentExecutions")), 0);
    expect_ok(w, "GET", FUNCTIONS "/f", "");
    body = w->reply.json;
    assert_true(json_is_integer(
        json_object_get(json_object_get(body, "Concurrency"), "ReservedConcurrentExecutions")));
    assert_null(
        json_object_get(json_object_get(body, "Configuration"), "ReservedConcurrentExecutions"));
    expect(w, "POST", FUNCTIONS "/f/invocations", "{}", 429, "TooManyRequestsException",
        "Rate Exceeded");
    expect(w, "DELETE", "/2017-10-31/functions/f/concurrency", "", 204, NULL, NULL);
    expect_ok(w, "GET", "/2019-09-30/functions/f/concurrency", "");
    body = w->reply.json;
    assert_null(json_object_get(body, "ReservedConcurrentExecutions"));
}

/* ---- the timeline ---- */

struct records {
    struct buf text;
};

static void
add_record(void *arg, const struct timeline_record *rec)
{
    struct records *r = arg;

    buf_addf(
        &r->text, "%s %s %s %s\n", cause_info(rec->cause)->id, rec->status, rec->facts, rec->peer);
}

static void
changes_are_in_the_timeline_with_request_and_operation(void **state)
{
    struct world *w = *state;
    struct records r = { 0 };
    uint8_t id[32];
    char hex[65];
    char target[128];
    const char *text;

    expect_ok(w, "POST", "/keys-and-certificate", "");
    (void)snprintf(hex, sizeof hex, "%s", text_of(w, NULL, "certificateId"));
    (void)snprintf(target, sizeof target, "/certificates/%s?newStatus=ACTIVE", hex);
    expect_ok(w, "PUT", target, "");
    assert_int_equal(hex_decode(id, 32, span_str(hex)), BM_OK);
    OK(registry_timeline_cert(w->registry, id, 10, add_record, &r, &msg));
    text = buf_cstr(&r.text);
    ASSERT_HAS(text, cause_info(CAUSE_REGISTERED_API)->id);
    ASSERT_HAS(text, "operation=CreateKeysAndCertificate");
    ASSERT_HAS(text, "ACTIVE operation=UpdateCertificate from=INACTIVE to=ACTIVE by=AKID api ");
    buf_fini(&r.text);
}

static void
refused_change_leaves_no_record(void **state)
{
    struct world *w = *state;
    struct records r = { 0 };

    expect(w, "PUT", "/certificates/" NO_ID "?newStatus=ACTIVE", "", 404,
        "ResourceNotFoundException", NULL);
    expect(w, "DELETE", "/cacertificate/" NO_ID, "", 404, "ResourceNotFoundException", NULL);
    (void)!registry_timeline_recent(w->registry, 10, add_record, &r, NULL);
    assert_int_equal(r.text.len, 0);
    buf_fini(&r.text);
}

int
main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(unsigned_and_badly_signed_requests_are_403),
        CLAIM(both_names_of_the_control_plane_are_taken_and_no_other),
        CLAIM(every_reply_has_date_request_id_and_length),
        CLAIM(operations_not_built_are_named),
        CLAIM(damaged_bodies_are_400),
        CLAIM(failed_commit_is_503_and_says_why),
        CLAIM(registration_code_is_stable_until_deleted),
        CLAIM(ca_is_registered_described_and_changed),
        CLAIM(ca_update_refuses_words_outside_the_enum),
        CLAIM(same_ca_twice_is_409_with_its_arn),
        CLAIM(eleventh_ca_with_one_subject_is_410),
        CLAIM(ca_registration_is_refused_for_each_defect),
        CLAIM(unreadable_and_weak_ca_pem_is_400),
        CLAIM(modes_and_configs_are_checked),
        CLAIM(certificate_walks_its_states),
        CLAIM(register_certificate_wants_an_active_registered_signer),
        CLAIM(two_cas_with_one_name_and_key_conflict),
        CLAIM(keys_and_csr_certificates_are_made),
        CLAIM(lists_come_in_pages_newest_first),
        CLAIM(policy_is_made_read_and_deleted),
        CLAIM(policy_is_attached_by_either_operation),
        CLAIM(attaching_refuses_what_is_no_certificate_here),
        CLAIM(targets_of_a_policy_come_in_pages),
        CLAIM(rule_is_made_switched_and_deleted),
        CLAIM(rules_that_could_not_run_are_refused),
        CLAIM(rules_are_listed_in_pages_by_name),
        CLAIM(endpoint_types_are_told_apart),
        CLAIM(publish_hands_topic_and_payload_on),
        CLAIM(publish_keeps_the_limits),
        CLAIM(function_is_found_by_name_and_arn),
        CLAIM(function_settings_not_built_are_refused),
        CLAIM(permissions_are_statements),
        CLAIM(invocation_kinds_and_limits),
        CLAIM(reserved_concurrency_is_kept_and_keeps_calls_out),
        CLAIM(changes_are_in_the_timeline_with_request_and_operation),
        CLAIM(refused_change_leaves_no_record),
    };

    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
