/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See http.h. How libmicrohttpd is used:
 *
 * No thread of its own. Its epoll descriptor is watched by our loop; `run` lets it work and sets
 * one timer to what it asks for. A request is born in `on_target` (the request line is there),
 * collects its body in `on_access`, and is freed in `on_completed`, whatever happened between.
 * A request that the handler does not answer at once is suspended; http_reply resumes it, and
 * libmicrohttpd calls `on_access` again, which queues the kept response.
 *
 * libmicrohttpd cuts a header value or a target at a zero byte. That is harmless here: what comes
 * after it reaches nobody, and a signature made over it does not verify.
 *
 * A suspended connection is not watched by libmicrohttpd, so nobody would notice that the client
 * left. For requests with http_on_gone we watch the socket ourselves.
 *
 * A stream is a request whose response has a reader callback; while it has nothing to say its
 * connection is suspended as well.
 */
#include "http/http.h"

#include "base/uuid.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REPLY_HEADERS_MAX = 16,
    CONNECTION_MEMORY = 64 * 1024, /* bounds the request line and headers together */
    CONNECTIONS_MAX = 4000,
    DRAIN_MAX = 1024 * 1024, /* what is read and dropped of a chunked body beyond body_max */
    STREAM_BLOCK = 16 * 1024,
};

struct reply_header {
    char *name;
    char *value;
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_request *next;
    struct http_request *prev;
    const char *method; /* borrowed from libmicrohttpd */
    char *path;
    char *query; /* in the same block as path */
    size_t header_count;
    struct buf body;
    size_t dropped; /* body bytes beyond body_max */
    bool begun;     /* headers are checked */
    bool handed;    /* the handler has it */
    bool suspended;
    bool gone;   /* end without a reply */
    bool failed; /* the reply could not be built */
    bool streams;
    bool ended;     /* the stream, by its owner */
    struct buf out; /* of the stream: what the socket has not taken */
    struct MHD_Response *response;
    unsigned status;
    struct reply_header headers[REPLY_HEADERS_MAX];
    size_t reply_header_count;
    struct loop_watch *watch;
    void (*gone_fn)(void *arg);
    void *gone_arg;
    char peer[64];
    char id[37];
};

struct http_server {
    struct http_options options;
    struct MHD_Daemon *daemon;
    struct loop_watch *watch;
    struct loop_timer *timer;
    struct http_request *requests;
    bool resumed; /* a connection was resumed since `run` began */
    uint16_t port;
};

/* ---- running libmicrohttpd from our loop ---- */

static void run(struct http_server *s);

static void
on_timer(void *arg)
{
    struct http_server *s = arg;

    s->timer = NULL;
    run(s);
}

static void
on_ready(void *arg, uint32_t events)
{
    (void)events;
    run(arg);
}

static void
set_timer(struct http_server *s, int64_t delay_ms)
{
    loop_cancel(s->options.loop, s->timer);
    s->timer = loop_after(s->options.loop, delay_ms, on_timer, s);
}

static void
run(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    s->resumed = false;
    (void)MHD_run(s->daemon);
    loop_cancel(s->options.loop, s->timer);
    s->timer = NULL;
    if (s->resumed)
        set_timer(s, 0);
    else if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES)
        set_timer(s, wait_ms < 60000 ? (int64_t)wait_ms : 60000);
}

/* ---- a request's life ---- */

static void
peer_text(struct MHD_Connection *connection, char *out, size_t cap)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[INET6_ADDRSTRLEN] = "";

    out[0] = '\0';
    if (info == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET) {
        struct sockaddr_in a;

        memcpy(&a, info->client_addr, sizeof a);
        (void)inet_ntop(AF_INET, &a.sin_addr, host, sizeof host);
        (void)snprintf(out, cap, "%s:%u", host, ntohs(a.sin_port));
    } else if (info->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 a;

        memcpy(&a, info->client_addr, sizeof a);
        (void)inet_ntop(AF_INET6, &a.sin6_addr, host, sizeof host);
        (void)snprintf(out, cap, "[%s]:%u", host, ntohs(a.sin6_port));
    }
}

static void
request_free(struct http_request *rq)
{
    if (rq->streams && !rq->gone && !rq->ended)
        rq->gone_fn(rq->gone_arg);
    if (rq->prev != NULL)
        rq->prev->next = rq->next;
    else
        rq->server->requests = rq->next;
    if (rq->next != NULL)
        rq->next->prev = rq->prev;
    loop_remove(rq->server->options.loop, rq->watch);
    for (size_t i = 0; i < rq->reply_header_count; i++) {
        free(rq->headers[i].name);
        free(rq->headers[i].value);
    }
    if (rq->response != NULL)
        MHD_destroy_response(rq->response);
    buf_fini(&rq->body);
    buf_fini(&rq->out);
    free(rq->path);
    free(rq);
}

/* The request line has arrived. The result becomes the context of on_access; NULL ends it there. */
static void *
on_target(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *s = arg;
    struct http_request *rq = calloc(1, sizeof *rq);

    if (rq == NULL)
        return NULL;
    rq->path = strdup(uri);
    if (rq->path == NULL) {
        free(rq);
        return NULL;
    }
    rq->server = s;
    rq->connection = connection;
    rq->query = strchr(rq->path, '?');
    if (rq->query != NULL)
        *rq->query++ = '\0';
    uuid_new_text(rq->id);
    peer_text(connection, rq->peer, sizeof rq->peer);
    rq->next = s->requests;
    if (rq->next != NULL)
        rq->next->prev = rq;
    s->requests = rq;
    return rq;
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode why)
{
    (void)arg;
    (void)connection;
    (void)why;
    if (*context != NULL)
        request_free(*context);
    *context = NULL;
}

/* Parameters stay as they are on the wire. */
static size_t
keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

/* Without a thread libmicrohttpd looks at resumed connections only when it runs next. */
static void
resume(struct http_request *rq)
{
    if (!rq->suspended)
        return;
    rq->suspended = false;
    MHD_resume_connection(rq->connection);
    rq->server->resumed = true;
    set_timer(rq->server, 0);
}

/* ---- replies ---- */

void
http_set_header(struct http_request *rq, const char *name, const char *value)
{
    struct reply_header h = { strdup(name), strdup(value) };

    if (rq->reply_header_count == REPLY_HEADERS_MAX || h.name == NULL || h.value == NULL) {
        free(h.name);
        free(h.value);
        rq->failed = true;
        return;
    }
    rq->headers[rq->reply_header_count++] = h;
}

static struct MHD_Response *
make_response(const void *ptr, size_t len)
{
    static const char nothing[1];
    union {
        const void *from;
        void *to;
    } bytes = { len > 0 ? ptr : nothing }; /* its interface is not const; it copies */

    return MHD_create_response_from_buffer(len, bytes.to, MHD_RESPMEM_MUST_COPY);
}

static void
add_header(struct http_request *rq, const char *name, const char *value)
{
    if (MHD_add_response_header(rq->response, name, value) != MHD_YES)
        rq->failed = true;
}

/* A response whose headers could not be set (memory, a line break in a value) is not sent. */
static void
replace_by_500(struct http_request *rq)
{
    static const char body[] = "{\"message\":\"The reply could not be built.\"}";

    if (rq->response != NULL)
        MHD_destroy_response(rq->response);
    rq->status = 500;
    rq->response = make_response(body, sizeof body - 1);
    if (rq->response == NULL)
        rq->gone = true;
}

static void
begin_response(struct http_request *rq, unsigned status, const char *content_type)
{
    loop_remove(rq->server->options.loop, rq->watch);
    rq->watch = NULL;
    rq->status = status;
    if (rq->response != NULL) {
        if (content_type != NULL)
            add_header(rq, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
        add_header(rq, "x-amzn-RequestId", rq->id);
        for (size_t i = 0; i < rq->reply_header_count; i++)
            add_header(rq, rq->headers[i].name, rq->headers[i].value);
    }
    if (rq->response == NULL || rq->failed)
        replace_by_500(rq);
    resume(rq);
}

void
http_reply(struct http_request *rq, unsigned status, const char *content_type, struct span body)
{
    rq->response = make_response(body.ptr, body.len);
    begin_response(rq, status, content_type);
}

static enum MHD_Result
send_response(struct http_request *rq)
{
    if (rq->gone || rq->response == NULL)
        return MHD_NO;
    return MHD_queue_response(rq->connection, rq->status, rq->response);
}

static void refuse(struct http_request *rq, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A reply of this layer, before the handler: `{"message": ...}` is what the API's clients read. */
static void
refuse(struct http_request *rq, unsigned status, const char *fmt, ...)
{
    char text[300];
    struct buf body = { 0 };
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_addf(&body, "{\"message\":\"%s\"}", text);
    http_reply(rq, status, "application/json", buf_span(&body));
    buf_fini(&body);
}

/* ---- reading ---- */

static enum MHD_Result
count_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    size_t *count = arg;

    (void)kind;
    (void)name;
    (void)value;
    ++*count;
    return MHD_YES;
}

/* Visible ASCII with whole escapes that hide no zero byte: what a signed target can consist of. */
static bool
target_is_sound(const char *text)
{
    struct buf plain = { 0 };
    bool sound;

    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            return false;
    }
    sound = http_decode(span_str(text), &plain) == BM_OK;
    buf_fini(&plain);
    return sound;
}

/* Refuse what need not be read at all. */
static void
check_head(struct http_request *rq)
{
    size_t body_max = rq->server->options.body_max;
    const char *length = http_header(rq, "Content-Length");

    (void)MHD_get_connection_values(
        rq->connection, MHD_HEADER_KIND, count_header, &rq->header_count);
    if (rq->path[0] != '/' || !target_is_sound(rq->path) || !target_is_sound(http_query(rq)))
        refuse(
            rq, 400, "The request target is not a path of visible ASCII with whole %%XX escapes.");
    else if (rq->header_count > HTTP_HEADERS_MAX)
        refuse(rq, 400, "The request has %zu headers; at most %d are read.", rq->header_count,
            HTTP_HEADERS_MAX);
    else if (length != NULL && strtoull(length, NULL, 10) > body_max)
        refuse(rq, 413, "The body's Content-Length is above the limit of %zu bytes.", body_max);
}

static enum MHD_Result
collect(struct http_request *rq, const char *data, size_t *len)
{
    size_t room = rq->server->options.body_max - rq->body.len;
    size_t take = *len < room ? *len : room;

    buf_add(&rq->body, data, take);
    rq->dropped += *len - take;
    *len = 0;
    return rq->dropped > DRAIN_MAX ? MHD_NO : MHD_YES;
}

static void
hand_over(struct http_request *rq)
{
    const struct http_options *o = &rq->server->options;

    rq->handed = true;
    if (rq->dropped > 0)
        refuse(rq, 413, "The body is above the limit of %zu bytes.", o->body_max);
    else if (rq->body.failed)
        refuse(rq, 503, "Out of memory for the request's body; try again.");
    else
        o->handler(o->arg, rq);
}

static void
on_socket(void *arg, uint32_t events)
{
    struct http_request *rq = arg;

    (void)events;
    loop_remove(rq->server->options.loop, rq->watch);
    rq->watch = NULL;
    rq->gone = true;
    resume(rq);
    rq->gone_fn(rq->gone_arg);
}

static void
watch_socket(struct http_request *rq)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info != NULL && rq->gone_fn != NULL && rq->watch == NULL)
        rq->watch = loop_add(rq->server->options.loop, info->connect_fd, EPOLLRDHUP, on_socket, rq);
}

void
http_on_gone(struct http_request *rq, void (*fn)(void *arg), void *arg)
{
    rq->gone_fn = fn;
    rq->gone_arg = arg;
    if (rq->suspended)
        watch_socket(rq);
}

static void
suspend(struct http_request *rq)
{
    rq->suspended = true;
    MHD_suspend_connection(rq->connection);
    watch_socket(rq);
}

/* ---- streams ---- */

/* Nothing to say: the connection sleeps until somebody writes. */
static ssize_t
read_stream(void *arg, uint64_t at, char *out, size_t max)
{
    struct http_request *rq = arg;
    size_t n = rq->out.len < max ? rq->out.len : max;

    (void)at;
    if (rq->gone || rq->out.failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > 0) {
        memcpy(out, rq->out.ptr, n);
        buf_drop(&rq->out, n);
        return (ssize_t)n;
    }
    if (rq->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    suspend(rq);
    return 0;
}

struct http_stream *
http_stream_begin(
    struct http_request *rq, const char *content_type, void (*gone)(void *arg), void *arg)
{
    rq->response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, rq, NULL);
    begin_response(rq, 200, content_type);
    if (rq->status != 200)
        return NULL;
    rq->gone_fn = gone;
    rq->gone_arg = arg;
    rq->streams = true;
    return (struct http_stream *)rq;
}

void
http_stream_write(struct http_stream *s, struct span data)
{
    struct http_request *rq = (struct http_request *)s;

    buf_add(&rq->out, data.ptr, data.len);
    resume(rq);
}

size_t
http_stream_waiting(const struct http_stream *s)
{
    return ((const struct http_request *)s)->out.len;
}

void
http_stream_end(struct http_stream *s, bool now)
{
    struct http_request *rq = (struct http_request *)s;

    loop_remove(rq->server->options.loop, rq->watch);
    rq->watch = NULL;
    rq->gone_fn = NULL; /* the socket is not watched again */
    rq->ended = true;
    rq->gone = now;
    resume(rq);
}

/* Called with the headers, then for each part of the body, then once without any; see above. */
static enum MHD_Result
on_access(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **context)
{
    struct http_request *rq = *context;

    (void)arg;
    (void)connection;
    (void)url;
    (void)version;
    if (rq == NULL)
        return MHD_NO;
    if (!rq->begun) {
        rq->begun = true;
        rq->method = method;
        check_head(rq);
        return rq->response != NULL ? send_response(rq) : MHD_YES;
    }
    if (*len > 0)
        return collect(rq, data, len);
    if (!rq->handed)
        hand_over(rq);
    if (rq->response != NULL || rq->gone)
        return send_response(rq);
    suspend(rq);
    return MHD_YES;
}

/* ---- opening and closing ---- */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

static bool
address_of(const char *host, uint16_t port, struct address *out)
{
    *out = (struct address){ 0 };
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        out->len = sizeof out->v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        out->len = sizeof out->v6;
        return true;
    }
    return false;
}

static enum bm_err
listen_on(const struct http_options *o, int *out, uint16_t *port, struct bm_msg *msg)
{
    struct address a;
    int on = 1;
    int fd;

    if (!address_of(o->host, o->port, &a))
        return bm_fail(msg, BM_ERR_ARG,
            "cannot listen on '%s': not an IP address; give one such as 127.0.0.1 or ::1", o->host);
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, &a.any, a.len) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, &a.any, &a.len) != 0) {
        int cause = errno;

        if (fd >= 0)
            (void)close(fd);
        return bm_fail(msg, BM_ERR_IO, "cannot listen on %s port %u: %s%s", o->host, o->port,
            strerror(cause), cause == EADDRINUSE ? "; stop the other program or use port 0" : "");
    }
    *port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    *out = fd;
    return BM_OK;
}

/* Takes the listening socket. */
static enum bm_err
start(struct http_server *s, int fd, struct bm_msg *msg)
{
    const union MHD_DaemonInfo *info;

    s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, s->port, NULL, NULL,
        on_access, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (s->daemon == NULL) {
        (void)close(fd);
        return bm_fail(msg, BM_ERR_IO, "the HTTP server on %s port %u did not start: %s",
            s->options.host, s->port, strerror(errno));
    }
    info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info != NULL)
        s->watch = loop_add(s->options.loop, info->epoll_fd, EPOLLIN, on_ready, s);
    if (s->watch == NULL)
        return bm_fail(msg, BM_ERR_MEM, "the HTTP server cannot be watched: out of memory");
    return BM_OK;
}

enum bm_err
http_open(const struct http_options *options, struct http_server **out, struct bm_msg *msg)
{
    struct http_server *s = calloc(1, sizeof *s);
    enum bm_err err;
    int fd = -1;

    *out = NULL;
    if (s == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the HTTP server");
    s->options = *options;
    if (s->options.idle_seconds == 0)
        s->options.idle_seconds = HTTP_IDLE_SECONDS;
    err = listen_on(options, &fd, &s->port, msg);
    if (err == BM_OK)
        err = start(s, fd, msg);
    if (err != BM_OK) {
        http_close(s);
        return err;
    }
    *out = s;
    return BM_OK;
}

void
http_close(struct http_server *s)
{
    if (s == NULL)
        return;
    for (struct http_request *rq = s->requests; rq != NULL; rq = rq->next) {
        rq->gone = true;
        resume(rq); /* libmicrohttpd aborts when it is stopped with suspended connections */
    }
    loop_remove(s->options.loop, s->watch);
    loop_cancel(s->options.loop, s->timer);
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    free(s);
}

uint16_t
http_port(const struct http_server *s)
{
    return s->port;
}

/* ---- what a handler reads ---- */

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
    return rq->query != NULL ? rq->query : "";
}

const char *
http_header(const struct http_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, name);
}

struct each_header {
    http_header_fn fn;
    void *arg;
};

static enum MHD_Result
pass_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct each_header *each = arg;

    (void)kind;
    each->fn(each->arg, name, value != NULL ? value : "");
    return MHD_YES;
}

void
http_headers(const struct http_request *rq, http_header_fn fn, void *arg)
{
    struct each_header each = { fn, arg };

    (void)MHD_get_connection_values(rq->connection, MHD_HEADER_KIND, pass_header, &each);
}

struct span
http_body(const struct http_request *rq)
{
    return buf_span(&rq->body);
}

const char *
http_peer(const struct http_request *rq)
{
    return rq->peer;
}

const char *
http_id(const struct http_request *rq)
{
    return rq->id;
}
