/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/http: real sockets on the real loop, server and clients in one thread. */
#include "http/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 60 * 1000, BODY_MAX = 1000 };

/* What the handler does with the next request, and what it saw. */
struct world {
    struct loop *loop;
    struct http_server *server;
    int calls;
    bool keep; /* do not answer, keep it in `kept` */
    bool tell; /* with http_on_gone */
    bool streams;
    struct http_stream *stream;
    bool reject_header;
    struct http_request *kept;
    int gone;
    bool timed_out;
    struct loop_timer *timer;
    char method[16];
    char path[256];
    char query[256];
    char header[64];
    char names[256];
    char peer[64];
    char id[40];
    struct buf body;
};

static void
on_gone(void *arg)
{
    struct world *w = arg;

    w->gone++;
    w->kept = NULL;
    w->stream = NULL;
    loop_stop(w->loop);
}

static void
add_name(void *arg, const char *name, const char *value)
{
    struct world *w = arg;
    size_t len = strlen(w->names);

    (void)value;
    (void)snprintf(w->names + len, sizeof w->names - len, "%s ", name);
}

static void
handle(void *arg, struct http_request *rq)
{
    struct world *w = arg;
    const char *header = http_header(rq, "X-THING");

    w->calls++;
    (void)snprintf(w->method, sizeof w->method, "%s", http_method(rq));
    (void)snprintf(w->path, sizeof w->path, "%s", http_path(rq));
    (void)snprintf(w->query, sizeof w->query, "%s", http_query(rq));
    (void)snprintf(w->header, sizeof w->header, "%s", header != NULL ? header : "(none)");
    (void)snprintf(w->peer, sizeof w->peer, "%s", http_peer(rq));
    (void)snprintf(w->id, sizeof w->id, "%s", http_id(rq));
    w->names[0] = '\0';
    http_headers(rq, add_name, w);
    w->body.len = 0;
    buf_add(&w->body, http_body(rq).ptr, http_body(rq).len);
    if (w->keep) {
        w->kept = rq;
        if (w->tell)
            http_on_gone(rq, on_gone, w);
        loop_stop(w->loop);
        return;
    }
    if (w->streams) {
        w->stream = http_stream_begin(rq, "text/event-stream", on_gone, w);
        assert_non_null(w->stream);
        http_stream_write(w->stream, span_str("data: first\n\n"));
        return;
    }
    http_set_header(rq, "X-Extra", w->reject_header ? "two\r\nlines" : "one");
    http_reply(rq, 201, "text/plain", span_str("hello"));
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct bm_msg msg;
    struct http_options o;

    assert_non_null(w);
    assert_int_equal(loop_new(&w->loop), BM_OK);
    o = (struct http_options){ w->loop, "127.0.0.1", 0, BODY_MAX, handle, w, 0 };
    assert_int_equal(http_open(&o, &w->server, &msg), BM_OK);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    http_close(w->server);
    loop_free(w->loop);
    buf_fini(&w->body);
    free(w);
    return 0;
}

/* ---- a client on the same loop ---- */

struct client {
    struct world *w;
    int fd;
    struct buf in;
    bool closed;
    const char *wanted; /* stop when this text came */
    struct loop_watch *watch;
};

static void
on_client(void *arg, uint32_t events)
{
    struct client *c = arg;
    char part[4096];
    ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);

    (void)events;
    if (n > 0) {
        buf_add(&c->in, part, (size_t)n);
    } else {
        c->closed = true;
        loop_remove(c->w->loop, c->watch);
        c->watch = NULL;
        loop_stop(c->w->loop);
    }
    if (c->wanted != NULL && strstr(buf_cstr(&c->in), c->wanted) != NULL)
        loop_stop(c->w->loop);
}

static void
client_open(struct client *c, struct world *w)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(http_port(w->server)) };

    *c = (struct client){ .w = w };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (const struct sockaddr *)&a, sizeof a), 0);
    c->watch = loop_add(w->loop, c->fd, EPOLLIN, on_client, c);
    assert_non_null(c->watch);
}

static void
client_close(struct client *c)
{
    loop_remove(c->w->loop, c->watch);
    if (c->fd >= 0)
        (void)close(c->fd);
    buf_fini(&c->in);
}

static void
on_deadline(void *arg)
{
    struct world *w = arg;

    w->timer = NULL;
    w->timed_out = true;
    loop_stop(w->loop);
}

static void
run(struct world *w)
{
    w->timer = loop_after(w->loop, DEADLINE_MS, on_deadline, w);
    assert_int_equal(loop_run(w->loop), BM_OK);
    loop_cancel(w->loop, w->timer);
    assert_false(w->timed_out);
}

static void
say(struct client *c, const char *text, size_t len)
{
    assert_int_equal(send(c->fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static const char *
ask(struct client *c, const char *text, const char *wanted)
{
    say(c, text, strlen(text));
    c->wanted = wanted;
    run(c->w);
    return buf_cstr(&c->in);
}

#define ASSERT_HAS(text, part) assert_non_null(strstr((text), (part)))

/* ---- claims ---- */

static void
request_reaches_handler_as_it_was_on_the_wire(void **state)
{
    struct world *w = *state;
    struct client c;
    const char *got;

    client_open(&c, w);
    got = ask(&c,
        "POST /a%2Fb/%24x?q=%3A&w=1+2&q=3 HTTP/1.1\r\nHost: h\r\nx-thing: yes\r\n"
        "Content-Length: 4\r\n\r\nbody",
        "hello");
    assert_string_equal(w->method, "POST");
    assert_string_equal(w->path, "/a%2Fb/%24x");
    assert_string_equal(w->query, "q=%3A&w=1+2&q=3");
    assert_string_equal(w->header, "yes");
    assert_string_equal(w->names, "Host x-thing Content-Length ");
    assert_true(span_eq(buf_span(&w->body), span_str("body")));
    ASSERT_HAS(w->peer, "127.0.0.1:");
    ASSERT_HAS(got, "HTTP/1.1 201 ");
    ASSERT_HAS(got, "\r\nDate: ");
    ASSERT_HAS(got, "\r\nX-Extra: one\r\n");
    ASSERT_HAS(got, "\r\nContent-Length: 5\r\n");
    ASSERT_HAS(got, "\r\nContent-Type: text/plain\r\n");
    ASSERT_HAS(got, w->id);
    assert_int_equal(strlen(w->id), 36);
    client_close(&c);
}

static void
connection_is_kept_for_the_next_request(void **state)
{
    struct world *w = *state;
    struct client c;
    char first_id[40];

    client_open(&c, w);
    (void)ask(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    memcpy(first_id, w->id, sizeof first_id);
    c.in.len = 0;
    (void)ask(&c, "GET /two HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_string_equal(w->path, "/two");
    assert_string_equal(w->query, "");
    assert_string_not_equal(first_id, w->id);
    assert_int_equal(w->calls, 2);
    client_close(&c);
}

static void
request_split_into_bytes_is_one_request(void **state)
{
    static const char text[] = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    struct world *w = *state;
    struct client c;

    client_open(&c, w);
    for (size_t i = 0; i + 1 < sizeof text - 1; i++)
        say(&c, text + i, 1);
    c.wanted = "hello";
    say(&c, text + sizeof text - 2, 1);
    run(w);
    assert_int_equal(w->calls, 1);
    assert_true(span_eq(buf_span(&w->body), span_str("abcde")));
    client_close(&c);
}

static void
late_reply_arrives(void **state)
{
    struct world *w = *state;
    struct client c;

    client_open(&c, w);
    w->keep = true;
    (void)ask(&c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    assert_non_null(w->kept);
    assert_int_equal(c.in.len, 0);
    c.wanted = "late";
    http_reply(w->kept, 200, "text/plain", span_str("late"));
    run(w);
    ASSERT_HAS(buf_cstr(&c.in), "HTTP/1.1 200 ");
    c.in.len = 0;
    w->keep = false;
    (void)ask(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    client_close(&c);
}

static void
one_waiting_request_does_not_hold_up_others(void **state)
{
    struct world *w = *state;
    struct client a;
    struct client b;

    client_open(&a, w);
    client_open(&b, w);
    w->keep = true;
    (void)ask(&a, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    w->keep = false;
    (void)ask(&b, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_int_equal(a.in.len, 0);
    a.wanted = "done";
    http_reply(w->kept, 200, NULL, span_str("done"));
    run(w);
    client_close(&a);
    client_close(&b);
}

static void
handler_is_told_when_the_client_leaves(void **state)
{
    struct world *w = *state;
    struct client c;
    struct client d;

    client_open(&c, w);
    w->keep = true;
    w->tell = true;
    (void)ask(&c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    loop_remove(w->loop, c.watch);
    c.watch = NULL;
    (void)close(c.fd);
    c.fd = -1;
    run(w);
    assert_int_equal(w->gone, 1);
    client_close(&c);
    w->keep = false; /* and the server goes on */
    client_open(&d, w);
    (void)ask(&d, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    client_close(&d);
}

static void
reply_to_a_client_that_left_is_harmless(void **state)
{
    struct world *w = *state;
    struct client c;
    struct client d;

    client_open(&c, w);
    w->keep = true;
    (void)ask(&c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    client_close(&c);
    http_reply(w->kept, 200, NULL, span_str("nobody reads this"));
    w->keep = false;
    client_open(&d, w);
    (void)ask(&d, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    client_close(&d);
}

static void
server_closes_with_requests_waiting(void **state)
{
    struct world *w = *state;
    struct client c;

    client_open(&c, w);
    w->keep = true;
    w->tell = true;
    (void)ask(&c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    http_close(w->server);
    w->server = NULL;
    run(w);
    assert_true(c.closed);
    assert_int_equal(c.in.len, 0);
    assert_int_equal(w->gone, 0);
    client_close(&c);
}

static void
body_above_the_limit_is_413(void **state)
{
    struct world *w = *state;
    struct client c;
    char text[3 * BODY_MAX];
    int len = snprintf(text, sizeof text,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%0*d\r\n0\r\n\r\n",
        BODY_MAX + 1, BODY_MAX + 1, 0);

    client_open(&c, w);
    ASSERT_HAS(
        ask(&c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", "\"}"), " 413 ");
    client_close(&c);
    client_open(&c, w);
    assert_true(len > 0);
    ASSERT_HAS(ask(&c, text, "\"}"), " 413 ");
    client_close(&c);
    assert_int_equal(w->calls, 0);
    client_open(&c, w);
    len = snprintf(text, sizeof text,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%0*d", BODY_MAX, BODY_MAX, 0);
    assert_true(len > 0);
    ASSERT_HAS(ask(&c, text, "hello"), " 201 ");
    assert_int_equal(w->body.len, BODY_MAX);
    client_close(&c);
}

static void
unsound_targets_and_too_many_headers_are_400(void **state)
{
    static const char *const bad[] = {
        "GET /a%2 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a?x=%f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    struct world *w = *state;
    struct client c;
    struct buf many = { 0 };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        client_open(&c, w);
        ASSERT_HAS(ask(&c, bad[i], "\"}"), " 400 ");
        client_close(&c);
    }
    buf_addf(&many, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        buf_addf(&many, "X-%d: 1\r\n", i);
    buf_addf(&many, "\r\n");
    client_open(&c, w);
    ASSERT_HAS(ask(&c, buf_cstr(&many), "\"}"), " 400 ");
    client_close(&c);
    buf_fini(&many);
    assert_int_equal(w->calls, 0);
}

static void
nonsense_is_refused_and_the_server_goes_on(void **state)
{
    static const char *const bad[] = {
        "\r\n\r\n\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", /* no Host */
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: many\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct world *w = *state;
    struct client c;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        client_open(&c, w);
        say(&c, bad[i], strlen(bad[i]));
        (void)shutdown(c.fd, SHUT_WR);
        while (!c.closed)
            run(w);
        client_close(&c);
    }
    assert_int_equal(w->calls, 0);
    client_open(&c, w);
    (void)ask(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    client_close(&c);
}

static void
nothing_after_a_zero_byte_reaches_the_handler(void **state)
{
    static const char text[] = "GET /a\0b HTTP/1.1\r\nHost: h\r\nx-thing: v\0w\r\n\r\n";
    struct world *w = *state;
    struct client c;

    client_open(&c, w);
    say(&c, text, sizeof text - 1);
    c.wanted = "hello";
    run(w);
    assert_string_equal(w->path, "/a");
    assert_string_equal(w->header, "v");
    client_close(&c);
}

static void
half_sent_request_ends_and_waiting_one_does_not(void **state)
{
    struct world *w = *state;
    struct http_options o = { w->loop, "127.0.0.1", 0, BODY_MAX, handle, w, 1 };
    static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf";
    struct client half;
    struct client waiting;

    http_close(w->server);
    assert_int_equal(http_open(&o, &w->server, NULL), BM_OK);
    client_open(&waiting, w);
    w->keep = true;
    (void)ask(&waiting, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
    client_open(&half, w);
    say(&half, text, sizeof text - 1);
    run(w);
    assert_true(half.closed);
    assert_false(waiting.closed);
    waiting.wanted = "late";
    http_reply(w->kept, 200, NULL, span_str("late"));
    run(w);
    client_close(&half);
    client_close(&waiting);
}

static void
reply_header_with_a_line_break_is_not_sent(void **state)
{
    struct world *w = *state;
    struct client c;

    client_open(&c, w);
    w->reject_header = true;
    ASSERT_HAS(ask(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\"}"), " 500 ");
    client_close(&c);
}

static void
busy_port_and_bad_address_are_told(void **state)
{
    struct world *w = *state;
    struct http_options o = { w->loop, "127.0.0.1", http_port(w->server), 10, handle, w, 0 };
    struct http_server *s;
    struct bm_msg msg;

    assert_int_equal(http_open(&o, &s, &msg), BM_ERR_IO);
    ASSERT_HAS(msg.text, "in use");
    assert_null(s);
    o.host = "localhost";
    assert_int_equal(http_open(&o, &s, &msg), BM_ERR_ARG);
    ASSERT_HAS(msg.text, "localhost");
}

static void
stream_goes_on_until_it_is_ended(void **state)
{
    struct world *w = *state;
    struct client c;
    struct client other;

    w->streams = true;
    client_open(&c, w);
    ASSERT_HAS(ask(&c, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n", "first"), "text/event-stream");
    for (int i = 0; i < 3; i++) {
        char text[32];

        (void)snprintf(text, sizeof text, "data: part %d;\n\n", i);
        http_stream_write(w->stream, span_str(text));
        c.wanted = text;
        run(w);
        assert_int_equal(http_stream_waiting(w->stream), 0);
    }
    w->streams = false;
    client_open(&other, w);
    (void)ask(&other, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    client_close(&other);
    http_stream_write(w->stream, span_str("data: last\n\n"));
    http_stream_end(w->stream, false);
    c.wanted = "\r\n0\r\n\r\n";
    run(w);
    ASSERT_HAS(buf_cstr(&c.in), "data: last");
    c.in.len = 0; /* and the connection serves on */
    (void)ask(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_int_equal(w->gone, 0);
    client_close(&c);
}

static void
stream_tells_that_the_reader_left(void **state)
{
    struct world *w = *state;
    struct client c;

    w->streams = true;
    client_open(&c, w);
    (void)ask(&c, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n", "first");
    client_close(&c);
    run(w);
    assert_int_equal(w->gone, 1);
    assert_null(w->stream);
}

static void
stream_cut_off_by_its_owner_tells_nobody(void **state)
{
    struct world *w = *state;
    struct client c;

    w->streams = true;
    client_open(&c, w);
    (void)ask(&c, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n", "first");
    http_stream_end(w->stream, true);
    c.wanted = NULL;
    run(w);
    assert_true(c.closed);
    assert_int_equal(w->gone, 0);
    client_close(&c);
}

static void
server_closes_with_a_stream_open(void **state)
{
    struct world *w = *state;
    struct client c;

    w->streams = true;
    client_open(&c, w);
    (void)ask(&c, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n", "first");
    http_close(w->server);
    w->server = NULL;
    assert_int_equal(w->gone, 0);
    client_close(&c);
}

static void
query_values_are_found_and_decoded(void **state)
{
    struct buf out = { 0 };

    (void)state;
    assert_true(http_query_find("a=1&endpointType=iot%3AData-ATS&x", "endpointType", &out));
    assert_string_equal(buf_cstr(&out), "iot:Data-ATS");
    out.len = 0;
    assert_true(http_query_find("a=1&b%63=2+3&x", "bc", &out));
    assert_string_equal(buf_cstr(&out), "2+3");
    out.len = 0;
    assert_true(http_query_find("a=1&x", "x", &out));
    assert_int_equal(out.len, 0);
    assert_false(http_query_find("a=1&x", "y", &out));
    assert_false(http_query_find("", "", &out));
    assert_false(http_query_find("a=%0", "a", &out));
    buf_fini(&out);
}

static void
decode_refuses_damaged_escapes(void **state)
{
    static const char *const bad[] = { "%", "%4", "%4g", "a%00", "%%41" };
    struct buf out = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(http_decode(span_str(bad[i]), &out), BM_ERR_INPUT);
    out.len = 0;
    assert_int_equal(http_decode(span_str("foo%2Fbar%20%24x"), &out), BM_OK);
    assert_string_equal(buf_cstr(&out), "foo/bar $x");
    buf_fini(&out);
}

int
main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CLAIM(request_reaches_handler_as_it_was_on_the_wire),
        CLAIM(connection_is_kept_for_the_next_request),
        CLAIM(request_split_into_bytes_is_one_request),
        CLAIM(late_reply_arrives),
        CLAIM(one_waiting_request_does_not_hold_up_others),
        CLAIM(handler_is_told_when_the_client_leaves),
        CLAIM(reply_to_a_client_that_left_is_harmless),
        CLAIM(server_closes_with_requests_waiting),
        CLAIM(stream_goes_on_until_it_is_ended),
        CLAIM(stream_tells_that_the_reader_left),
        CLAIM(stream_cut_off_by_its_owner_tells_nobody),
        CLAIM(server_closes_with_a_stream_open),
        CLAIM(body_above_the_limit_is_413),
        CLAIM(unsound_targets_and_too_many_headers_are_400),
        CLAIM(nonsense_is_refused_and_the_server_goes_on),
        CLAIM(nothing_after_a_zero_byte_reaches_the_handler),
        CLAIM(half_sent_request_ends_and_waiting_one_does_not),
        CLAIM(reply_header_with_a_line_break_is_not_sent),
        CLAIM(busy_port_and_bad_address_are_told),
        cmocka_unit_test(query_values_are_found_and_decoded),
        cmocka_unit_test(decode_refuses_damaged_escapes),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
