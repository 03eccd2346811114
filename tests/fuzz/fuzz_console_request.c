/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz every endpoint of the console with a session: queries and bodies, against a registry with a
 * certificate, a CA, a policy and records in it. Input: "METHOD TARGET", a line end, the body.
 *
 * The functions of http.h are here, so that a request needs no socket: console.c gives its handler
 * to http_open below. Each request gets exactly one answer: JSON (or a page, or a stream), never
 * a 5xx but for one page too many. /api/ has targets of its own (body, operation).
 */
#include "base/file.h"
#include "base/log.h"
#include "console/console.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct http_request {
    const char *method, *path, *query, *cookie, *token;
    struct span body;
    unsigned answers, status;
    struct buf reply;
    char set_cookie[256];
    bool stream;
};

static http_handler handler;
static void *handler_arg;
static struct http_request streams[8]; /* that were opened: ended by the console only */

/* ---- http.h ---- */

enum bm_err
http_open(const struct http_options *options, struct http_server **out, struct bm_msg *msg)
{
    (void)msg;
    handler = options->handler;
    handler_arg = options->arg;
    *out = NULL;
    return BM_OK;
}

void
http_close(struct http_server *s)
{
    (void)s;
}

uint16_t
http_port(const struct http_server *s)
{
    (void)s;
    return 4567;
}

const char *
http_method(const struct http_request *rq)
{
    return rq->method;
}

const char *
http_path(const struct http_request *rq)
{
    return rq->path;
}

const char *
http_query(const struct http_request *rq)
{
    return rq->query;
}

const char *
http_header(const struct http_request *rq, const char *name)
{
    return strcmp(name, "Host") == 0            ? "127.0.0.1:4567"
           : strcmp(name, "Cookie") == 0        ? rq->cookie
           : strcmp(name, "Last-Event-ID") == 0 ? "1"
           : name[0] == 'X'                     ? rq->token
                                                : NULL;
}

void
http_headers(const struct http_request *rq, http_header_fn fn, void *arg)
{
    (void)rq;
    (void)fn;
    (void)arg;
}

struct span
http_body(const struct http_request *rq)
{
    return rq->body;
}

const char *
http_peer(const struct http_request *rq)
{
    (void)rq;
    return "127.0.0.1:1";
}

const char *
http_id(const struct http_request *rq)
{
    (void)rq;
    return "00000000-0000-0000-0000-000000000000";
}

void
http_set_header(struct http_request *rq, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n") != NULL)
        abort();
    if (strcmp(name, "Set-Cookie") == 0)
        (void)snprintf(rq->set_cookie, sizeof rq->set_cookie, "%s", value);
}

void
http_reply(struct http_request *rq, unsigned status, const char *content_type, struct span body)
{
    rq->answers++;
    rq->status = status;
    if (content_type != NULL && strcmp(content_type, "application/json") == 0) {
        json_t *value = json_loadb((const char *)body.ptr, body.len, 0, NULL);

        if (!json_is_object(value))
            abort();
        json_decref(value);
    }
    buf_add(&rq->reply, body.ptr, body.len);
}

void
http_on_gone(struct http_request *rq, void (*fn)(void *arg), void *arg)
{
    (void)rq;
    (void)fn;
    (void)arg;
}

struct http_stream *
http_stream_begin(
    struct http_request *rq, const char *content_type, void (*gone)(void *arg), void *arg)
{
    (void)content_type;
    (void)gone;
    (void)arg;
    rq->answers++;
    rq->status = 200;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (!streams[i].stream) {
            streams[i].stream = true;
            return (struct http_stream *)&streams[i];
        }
    }
    return NULL; /* as without memory: it has answered */
}

void
http_stream_write(struct http_stream *s, struct span data)
{
    if (!((struct http_request *)s)->stream || memchr(data.ptr, 0, data.len) != NULL)
        abort();
}

size_t
http_stream_waiting(const struct http_stream *s)
{
    (void)s;
    return 0;
}

void
http_stream_end(struct http_stream *s, bool now)
{
    (void)now;
    ((struct http_request *)s)->stream = false;
}

/* ---- the world ---- */

static char dir[] = "/tmp/birthmark-fuzz.XXXXXX";
static struct registry *registry;
static struct table *table;
static struct kept *kept;
static struct console *console;
static struct loop *loop;
static char cookie[256], token[128];
enum { LOGINS_MAX = 5 }; /* after ten wrong ones nobody may try for a minute */
static unsigned logins;

/* A P-256 certificate, self-signed, of CN=x. */
static const char der_base64[] = "MIIBcDCCARWgAwIBAgIUNoDZPjiDiCDCyawS6fc+gLldrkUwCgYIKoZIzj0EAwIw"
                                 "DDEKMAgGA1UEAwwBeDAgFw0yNjExMjMxMjUwMzhaGA8yMTI2MTAzMDEyNTAzOFow"
                                 "DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJxHoZhPvPZb"
                                 "m/DrULGlwNIgWFOY1j0BEzAb4wd+C/SKjzmx6rdR/Brm5DeLP76UvtTosNw+7chI"
                                 "XoLpLQ8WE8CjUzBRMB0GA1UdDgQWBBSPwlCy04yJUeRskTF5Il0Lp/YXijAfBgNV"
                                 "HSMEGDAWgBSPwlCy04yJUeRskTF5Il0Lp/YXijAPBgNVHRMBAf8EBTADAQH/MAoG"
                                 "CCqGSM49BAMCA0kAMEYCIQDkVJeCP2ICkUiYjsL1FvM554/XRT/lVvlyioB9sGBH"
                                 "AwIhAM8+3L1B0f/1ySC4L3f4ZRlP8bTJ1LqxJ00sEnooAkb0";

static void
must(bool truth)
{
    if (!truth)
        abort();
}

static struct http_request
ask(const char *method, const char *path, const char *query, struct span body)
{
    struct http_request rq = { .method = method,
        .path = path,
        .query = query,
        .body = body,
        .cookie = cookie[0] != '\0' ? cookie : NULL,
        .token = token[0] != '\0' ? token : "login" };

    handler(handler_arg, &rq);
    must(rq.answers == 1);
    return rq;
}

static void
log_in(void)
{
    struct http_request rq;
    json_t *answer;

    cookie[0] = token[0] = '\0';
    rq = ask("POST", "/session", "", span_str("{\"accessKey\":\"a\",\"secretKey\":\"s\"}"));
    must(rq.status == 200);
    (void)snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(rq.set_cookie, ";"), rq.set_cookie);
    answer = json_loadb((const char *)rq.reply.ptr, rq.reply.len, 0, NULL);
    (void)snprintf(token, sizeof token, "%s", json_string_value(json_object_get(answer, "token")));
    json_decref(answer);
    buf_fini(&rq.reply);
}

static void
end_world(void)
{
    console_close(console);
    registry_close(registry);
    table_close(table);
    loop_free(loop);
    (void)dir_remove(dir, NULL);
}

static void
fill(void)
{
    struct registry_cert cert = { .status = CERT_ACTIVE, .id = { 0x11 }, .mode = MODE_SNI_ONLY };
    struct registry_ca ca = { .status = CERT_ACTIVE, .id = { 0x22 } };
    static const char policy[] = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                                 "\"Action\":\"iot:*\",\"Resource\":\"*\"}]}";
    struct timeline_record rec;
    struct bm_msg msg;

    must(base64_decode(&cert.der, span_str(der_base64)) == BM_OK);
    buf_add(&ca.der, cert.der.ptr, cert.der.len);
    must(registry_cert_insert(registry, &cert, &msg) == BM_OK);
    buf_addf(&ca.subject, "x");
    must(registry_ca_insert(registry, &ca, &msg) == BM_OK);
    must(registry_policy_create(registry, "p", span_str(policy), &msg) == BM_OK);
    for (int i = 0; i < 20; i++) {
        timeline_fill(
            &rec, CAUSE_ADMITTED, cert.id, "client", "127.0.0.1:1", "ACTIVE", "rule=r x=y");
        must(registry_record(registry, &rec, &msg) == BM_OK);
    }
    must(registry_commit(registry, &msg) == BM_OK);
    registry_cert_fini(&cert);
    registry_ca_fini(&ca);
}

static void
start_world(void)
{
    static const struct api_key key = { .access_key = "a", .secret_key = "s" };
    static const struct upstream nowhere = { .path = "/nonexistent" };
    static struct console_account account;
    struct registry_options ro = { .dir = dir };
    struct console_options o = { .accounts = &account,
        .account_count = 1,
        .keys = &key,
        .key_count = 1,
        .host = "127.0.0.1",
        .region = "us-east-1",
        .mqtt_address = "127.0.0.1:1",
        .metrics = metrics_map(1),
        .metrics_count = 1 };
    struct bm_msg msg;

    log_setup("fuzz", LOG_ERROR);
    must(mkdtemp(dir) != NULL && loop_new(&loop) == BM_OK);
    must(table_create(dir, 100, &table, &msg) == BM_OK);
    ro.table = table;
    must(registry_open(&ro, &registry, &msg) == BM_OK);
    must(kept_open(dir, &kept, &msg) == BM_OK);
    account = (struct console_account){ .number = "000000000000",
        .registry = registry,
        .table = table,
        .dir = dir,
        .broker = &nowhere,
        .kept = kept };
    o.loop = loop;
    must(console_open(&o, &console, &msg) == BM_OK);
    fill();
    (void)atexit(end_world);
    log_in();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    size_t head = strcspn(text, "\n");
    char *target;
    char *query;
    struct http_request rq;

    if (console == NULL)
        start_world();
    text[head] = '\0';
    target = strchr(text, ' ');
    if (target != NULL && strncmp(target, " /api/", 6) != 0 &&
        (strncmp(text, "POST /session", 13) != 0 || logins++ < LOGINS_MAX)) {
        *target++ = '\0';
        query = strchr(target, '?');
        if (query != NULL)
            *query++ = '\0';
        rq = ask(text, target, query != NULL ? query : "",
            head + 1 < size ? span_of(data + head + 1, size - head - 1) : span_of(NULL, 0));
        must(rq.status >= 200 && (rq.status < 500 || strcmp(target, "/events") == 0));
        buf_fini(&rq.reply);
        if (strcmp(text, "DELETE") == 0 && strcmp(target, "/session") == 0) {
            must(rq.status == 200);
            log_in();
        }
    }
    free(text);
    return 0;
}
