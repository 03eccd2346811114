/* SPDX-License-Identifier: Apache-2.0 */
/* See api_world.h. */
#include "api_world.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void
on_stored(void *arg)
{
    struct world *w = arg;

    w->publish_done(w->publish_call, w->broker_dies ? BM_ERR_IO : BM_OK);
}

static enum bm_err
on_publish(void *arg, struct span topic, struct span payload, int qos, bool retain,
    api_done_fn done, void *call)
{
    struct world *w = arg;

    if (w->broker_down)
        return BM_ERR_IO;
    w->published.len = 0;
    buf_addf(&w->published, "%.*s\n%.*s\n%d %d", (int)topic.len, (const char *)topic.ptr,
        (int)payload.len, (const char *)payload.ptr, qos, retain);
    if (!w->broker_late)
        return BM_OK;
    w->publish_done = done;
    w->publish_call = call;
    (void)loop_after(w->loop, 1, on_stored, w);
    return BM_ERR_MORE;
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

static unsigned
on_rate(void *arg, const char *operation)
{
    struct world *w = arg;

    return strcmp(operation, "CreatePolicy") == 0 && w->create_policy_max > 0 &&
                   w->policies_created++ >= w->create_policy_max
               ? w->create_policy_max
               : 0;
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

int
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
    OK(rules_open(&(struct rules_options){ .loop = w->loop,
                      .registry = w->registry,
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
                    .commit_soon = on_commit_soon,
                    .rate = on_rate },
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

int
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

void
expect(struct world *w, const char *method, const char *target, const char *body, int status,
    const char *error, const char *says)
{
    const struct reply *r = ask(w, method, target, body);

    if (r->status != status || strcmp(r->error, error != NULL ? error : "") != 0 ||
        (says != NULL && strstr(r->message, says) == NULL))
        fail_msg("%s %s %s\n  gave %d %s: %s\n  wanted %d %s: %s", method, target, body, r->status,
            r->error, r->message, status, error != NULL ? error : "", says != NULL ? says : "");
}

void
expect_ok(struct world *w, const char *method, const char *target, const char *body)
{
    expect(w, method, target, body, 200, NULL, NULL);
}

const char *
text_of(const struct world *w, const char *outer, const char *member)
{
    json_t *from = outer != NULL ? json_object_get(w->reply.json, outer) : w->reply.json;
    const char *text = json_string_value(json_object_get(from, member));

    return text != NULL ? text : "(absent)";
}

void
party_fini(struct party *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

struct party
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

json_t *
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

json_t *
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

char *
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

void
expect_body(struct world *w, const char *method, const char *target, char *body, int status,
    const char *error, const char *says)
{
    expect(w, method, target, body, status, error, says);
    free(body);
}

void
id_of(X509 *x, char hex[65])
{
    uint8_t hash[32];
    unsigned len = 32;

    assert_int_equal(X509_digest(x, EVP_sha256(), hash, &len), 1);
    hex_encode(hex, hash, 32);
}

void
registration_code(struct world *w, char out[65])
{
    expect_ok(w, "GET", "/registrationcode", "");
    (void)snprintf(out, 65, "%s", text_of(w, NULL, "registrationCode"));
    assert_int_equal(strlen(out), 64);
}

void
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

void
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
