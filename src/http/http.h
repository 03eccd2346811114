/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests on the event loop: libmicrohttpd driven from base/loop, one thread.
 *
 * The handler gets whole requests (body read, limited) and answers now or later with http_reply,
 * exactly once. Targets are kept as they were on the wire, because SigV4 signs those bytes; a
 * target with a bad escape, a control character or more than HTTP_HEADERS_MAX headers is answered
 * 400 before the handler sees it. Half-sent requests and idle connections end after
 * HTTP_IDLE_SECONDS; a request that waits for its reply has no limit (long poll).
 */
#ifndef BM_HTTP_HTTP_H
#define BM_HTTP_HTTP_H

#include "base/bytes.h"
#include "base/loop.h"

struct http_server;
struct http_request;

enum { HTTP_HEADERS_MAX = 100, HTTP_IDLE_SECONDS = 30 };

typedef void (*http_handler)(void *arg, struct http_request *rq);

struct http_options {
    struct loop *loop;
    const char *host; /* IP literal */
    uint16_t port;    /* 0: any free one */
    size_t body_max;  /* above it: 413 before the handler is called */
    http_handler handler;
    void *arg;
    unsigned idle_seconds; /* 0: HTTP_IDLE_SECONDS */
};

/* BM_ERR_ARG: host is no IP literal. BM_ERR_IO: cannot listen (message has address and cause). */
enum bm_err http_open(
    const struct http_options *options, struct http_server **out, struct bm_msg *msg);
/*
 * Unanswered requests are dropped without http_on_gone and must not be replied to afterwards. Not
 * from within a handler. Takes NULL.
 */
void http_close(struct http_server *s);
uint16_t http_port(const struct http_server *s);

/* All borrowed until http_reply. */
const char *http_method(const struct http_request *rq);
const char *http_path(const struct http_request *rq);  /* raw, before '?' */
const char *http_query(const struct http_request *rq); /* raw, after '?', "" when none */
/* The first header of that name (any case); NULL when absent. */
const char *http_header(const struct http_request *rq, const char *name);
typedef void (*http_header_fn)(void *arg, const char *name, const char *value);
void http_headers(const struct http_request *rq, http_header_fn fn, void *arg); /* all, in order */
struct span http_body(const struct http_request *rq);
const char *http_peer(const struct http_request *rq); /* "127.0.0.1:40122", "[::1]:40122" */
const char *http_id(const struct http_request *rq);   /* UUID; travels as x-amzn-RequestId */

/* One header more in the reply; call before http_reply. Copies. */
void http_set_header(struct http_request *rq, const char *name, const char *value);
/*
 * Answer and forget the request: `rq` is invalid afterwards. Adds Date, Content-Length and
 * x-amzn-RequestId. content_type NULL: no such header. Copies the body.
 */
void http_reply(
    struct http_request *rq, unsigned status, const char *content_type, struct span body);

/*
 * Told when the client went away (closed its side) before the reply; `rq` is then invalid and must
 * not be replied to. fn NULL, or never called: not told, and http_reply stays safe.
 */
void http_on_gone(struct http_request *rq, void (*fn)(void *arg), void *arg);

/*
 * A reply without end (server-sent events): answers `rq` with 200 and keeps it. What is written
 * waits here until the socket takes it. `gone` is called once when the client left or its
 * connection broke; the stream is then invalid. It is not called for a stream that was ended, nor
 * by http_close. NULL: no memory, and `rq` is answered 500.
 */
struct http_stream;
struct http_stream *http_stream_begin(
    struct http_request *rq, const char *content_type, void (*gone)(void *arg), void *arg);
void http_stream_write(struct http_stream *s, struct span data);
size_t http_stream_waiting(const struct http_stream *s); /* bytes not yet taken */
/* Close when what waits is sent, or (now) at once; `s` is invalid afterwards. */
void http_stream_end(struct http_stream *s, bool now);

/* Percent-decode, append to `out`; BM_ERR_INPUT on a bad escape or a decoded zero byte. */
enum bm_err http_decode(struct span text, struct buf *out);
/*
 * Append the decoded value of a parameter of a raw query; false when it is absent or damaged (an
 * empty value: true). '+' stands for itself.
 */
bool http_query_find(const char *query, const char *name, struct buf *out);
bool http_query_value(const struct http_request *rq, const char *name, struct buf *out);

#endif
