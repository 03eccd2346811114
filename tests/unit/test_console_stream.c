/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of the console's stream of events and of its search: a real registry for each of two
 * accounts, the console on a real socket, clients in the same thread. Waiting is for a fact with a deadline.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "certs.h"
#include "console/console.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 60 * 1000, ACCOUNTS = 2, STREAMS_MAX = 64, BURST = 200, RESUME_MAX = 1000 };
enum { RECENT = 512 * 1024 }; /* what is waited for is in the last bytes */

struct client {
    int fd;
    bool ended;
    struct buf in;
};

struct login {
    char cookie[256];
    char token[128];
};

struct world {
    char dir[64];
    struct loop *loop;
    struct registry *registries[ACCOUNTS];
    struct table *tables[ACCOUNTS];
    struct kept *kept[ACCOUNTS];
    struct console_account accounts[ACCOUNTS];
    struct console *console;
    bool (*fact)(struct world *w);
    bool late;
    struct loop_timer *tick;
    struct client *client; /* what a fact is about */
    const char *part;
};

static const struct api_key keys[ACCOUNTS] = { { .access_key = "a", .secret_key = "sa" },
    { .access_key = "b", .secret_key = "sb", .account = 1 } };

/* ---- the world ---- */

static void
on_late(void *arg)
{
    struct world *w = arg;

    w->late = true;
    loop_stop(w->loop);
}

static void
on_tick(void *arg)
{
    struct world *w = arg;

    w->tick = loop_after(w->loop, 5, on_tick, w);
    if (w->fact(w))
        loop_stop(w->loop);
}

static void
until(struct world *w, bool (*fact)(struct world *w), const char *what)
{
    struct loop_timer *late = loop_after(w->loop, DEADLINE_MS, on_late, w);

    w->fact = fact;
    w->tick = loop_after(w->loop, 0, on_tick, w);
    assert_int_equal(loop_run(w->loop), BM_OK);
    if (w->late)
        fail_msg("not within %d ms: %s", DEADLINE_MS, what);
    loop_cancel(w->loop, late);
    loop_cancel(w->loop, w->tick);
}

static int
open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    static const struct upstream nowhere = { .path = "/nonexistent" };
    struct console_options o = { .keys = keys,
        .key_count = ACCOUNTS,
        .account_count = ACCOUNTS,
        .host = "127.0.0.1",
        .region = "us-east-1",
        .mqtt_address = "127.0.0.1:1",
        .metrics = metrics_map(1),
        .metrics_count = 1 };
    struct bm_msg msg = { "" };

    log_setup("test", LOG_ERROR);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/birthmark-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(loop_new(&w->loop), BM_OK);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        char dir[80];
        struct registry_options ro = { .dir = dir };

        (void)snprintf(dir, sizeof dir, "%s/%zu", w->dir, i);
        assert_int_equal(mkdir(dir, 0700), 0);
        assert_int_equal(table_create(dir, 100, &w->tables[i], &msg), BM_OK);
        ro.table = w->tables[i];
        if (registry_open(&ro, &w->registries[i], &msg) != BM_OK)
            fail_msg("%s", msg.text);
        assert_int_equal(kept_open(dir, &w->kept[i], &msg), BM_OK);
        w->accounts[i] =
            (struct console_account){ .number = i == 0 ? "000000000000" : "111111111111",
                .registry = w->registries[i],
                .table = w->tables[i],
                .dir = w->dir,
                .broker = &nowhere,
                .kept = w->kept[i] };
    }
    o.loop = w->loop;
    o.accounts = w->accounts;
    if (console_open(&o, &w->console, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    *state = w;
    return 0;
}

static int
close_world(void **state)
{
    struct world *w = *state;

    console_close(w->console);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        registry_close(w->registries[i]);
        table_close(w->tables[i]);
        kept_close(w->kept[i]);
    }
    loop_free(w->loop);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    return 0;
}

/* `count` records of clients "NAME-0", "NAME-1", ... in one commit. */
static void
happens(struct world *w, size_t account, const char *name, size_t count)
{
    struct bm_msg msg = { "" };

    for (size_t i = 0; i < count; i++) {
        struct timeline_record rec;
        char client[64];

        (void)snprintf(client, sizeof client, "%s-%zu", name, i);
        timeline_fill(
            &rec, CAUSE_ADMITTED, NULL, client, "127.0.0.1:1", "ACTIVE", "what=%0200d", (int)i);
        assert_int_equal(registry_record(w->registries[account], &rec, &msg), BM_OK);
    }
    assert_int_equal(registry_commit(w->registries[account], &msg), BM_OK);
    console_committed(w->console, account);
}

/* ---- clients: HTTP/1.0, so that there are no chunks ---- */

static void
take_in(struct client *c)
{
    uint8_t chunk[65536];
    ssize_t n;

    while (!c->ended && (n = read(c->fd, chunk, sizeof chunk)) != 0) {
        if (n < 0) {
            c->ended = errno != EAGAIN && errno != EINTR;
            return;
        }
        buf_add(&c->in, chunk, (size_t)n);
    }
    c->ended = true;
}

static const char *
said(struct client *c)
{
    take_in(c);
    return buf_cstr(&c->in) != NULL ? buf_cstr(&c->in) : "";
}

static size_t
count_of(struct client *c, const char *part)
{
    size_t n = 0;

    for (const char *at = said(c); (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

__attribute__((format(printf, 3, 4))) static struct client
ask(struct world *w, int receive_buffer, const char *fmt, ...)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(console_port(w->console)) };
    struct client c = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct buf text = { 0 };
    char request[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(request, sizeof request, fmt, ap);
    va_end(ap);
    buf_addf(&text, "%s", request);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (receive_buffer > 0)
        assert_int_equal(
            setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer), 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(c.fd, text.ptr, text.len), (ssize_t)text.len);
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    buf_fini(&text);
    return c;
}

static void
leave(struct client *c)
{
    (void)close(c->fd);
    buf_fini(&c->in);
}

static bool
has_part(struct world *w)
{
    const char *text = said(w->client);
    size_t len = w->client->in.len;

    return strstr(&text[len > RECENT ? len - RECENT : 0], w->part) != NULL;
}

static bool
has_ended(struct world *w)
{
    take_in(w->client);
    return w->client->ended;
}

static void
wait_part(struct world *w, struct client *c, const char *part)
{
    w->client = c;
    w->part = part;
    until(w, has_part, part);
}

static void
wait_end(struct world *w, struct client *c)
{
    w->client = c;
    until(w, has_ended, "the end of an answer");
}

static void
copy_between(const char *text, const char *before, char end, char *out, size_t cap)
{
    const char *at = strstr(text, before);
    size_t len;

    assert_non_null(at);
    at += strlen(before);
    len = strchr(at, end) != NULL ? (size_t)(strchr(at, end) - at) : 0;
    assert_in_range(len, 1, cap - 1);
    memcpy(out, at, len);
    out[len] = '\0';
}

static struct login
log_in(struct world *w, size_t key)
{
    char body[128];
    struct login l;
    struct client c;

    (void)snprintf(body, sizeof body, "{\"accessKey\":\"%s\",\"secretKey\":\"%s\"}",
        keys[key].access_key, keys[key].secret_key);
    c = ask(w, 0,
        "POST /session HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Console-Token: login\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    wait_end(w, &c);
    copy_between(said(&c), "Set-Cookie: ", ';', l.cookie, sizeof l.cookie);
    copy_between(said(&c), "\"token\":\"", '"', l.token, sizeof l.token);
    leave(&c);
    return l;
}

static struct client
watch(struct world *w, const struct login *l, const char *query, const char *header)
{
    return ask(w, 0, "GET /events%s HTTP/1.0\r\nHost: 127.0.0.1\r\nCookie: %s\r\n%s\r\n", query,
        l->cookie, header);
}

static struct client
watching(struct world *w, const struct login *l)
{
    struct client c = watch(w, l, "", "");

    wait_part(w, &c, "event: hello");
    return c;
}

/* The id of the last whole event. */
static int64_t
last_id(struct client *c)
{
    const char *at = NULL;

    for (const char *next = said(c); (next = strstr(next, "id: ")) != NULL; next++)
        at = next;
    assert_non_null(at);
    return strtoll(at + 4, NULL, 10);
}

/* ---- claims ---- */

static void
records_come_as_they_are_committed_to_those_of_their_account(void **state)
{
    struct world *w = *state;
    struct login a = log_in(w, 0);
    struct login b = log_in(w, 1);
    struct client of_a = watching(w, &a);
    struct client of_b = watching(w, &b);

    happens(w, 0, "first", 1);
    happens(w, 1, "other", 1);
    wait_part(w, &of_a, "first-0");
    wait_part(w, &of_b, "other-0");
    happens(w, 0, "second", 2);
    wait_part(w, &of_a, "second-1");
    assert_int_equal(count_of(&of_a, "event: record"), 3);
    assert_null(strstr(said(&of_a), "other-"));
    assert_null(strstr(said(&of_b), "first-"));
    leave(&of_a);
    leave(&of_b);
}

static void
reader_that_was_away_gets_what_it_missed(void **state)
{
    struct world *w = *state;
    struct login l = log_in(w, 0);

    happens(w, 0, "before", 3);
    for (size_t i = 0; i < 2; i++) {
        struct client c = watching(w, &l);
        char text[64];
        int64_t seen;

        happens(w, 0, "seen", 2);
        wait_part(w, &c, "seen-1");
        seen = last_id(&c);
        leave(&c);
        happens(w, 0, "missed", 7);
        if (i == 0)
            (void)snprintf(text, sizeof text, "Last-Event-ID: %lld\r\n", (long long)seen);
        else
            (void)snprintf(text, sizeof text, "?after=%lld", (long long)seen);
        c = watch(w, &l, i == 1 ? text : "", i == 0 ? text : "");
        wait_part(w, &c, "event: hello");
        assert_int_equal(count_of(&c, "event: record"), 7);
        assert_int_equal(count_of(&c, "event: gap"), 0);
        assert_null(strstr(said(&c), "seen-"));
        assert_int_equal(last_id(&c), seen + 7);
        leave(&c);
    }
}

static void
what_is_too_much_to_catch_up_is_counted(void **state)
{
    struct world *w = *state;
    struct login l = log_in(w, 0);
    struct client c;

    happens(w, 0, "old", RESUME_MAX + 500);
    c = watch(w, &l, "", "Last-Event-ID: 1\r\n");
    wait_part(w, &c, "event: hello");
    assert_int_equal(count_of(&c, "event: record"), RESUME_MAX);
    assert_non_null(strstr(said(&c), "event: gap\ndata: {\"missing\":499}"));
    happens(w, 0, "flood", BURST + 50);
    wait_part(w, &c, "flood-249");
    assert_int_equal(count_of(&c, "event: record"), RESUME_MAX + BURST);
    assert_non_null(strstr(said(&c), "event: gap\ndata: {\"missing\":50}"));
    leave(&c);
}

static void
id_that_is_none_means_from_now_on(void **state)
{
    static const char *const bad[] = { "Last-Event-ID: x\r\n", "Last-Event-ID: -1\r\n",
        "Last-Event-ID: 99999999999999999999999\r\n", "Last-Event-ID: \r\n",
        "Last-Event-ID: 900000000000000000\r\n", "Last-Event-ID: 1 OR 1\r\n" };
    struct world *w = *state;
    struct login l = log_in(w, 0);

    happens(w, 0, "old", 5);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct client c = watch(w, &l, "", bad[i]);

        wait_part(w, &c, "event: hello");
        assert_int_equal(count_of(&c, "event: record"), 0);
        assert_int_equal(last_id(&c), 5);
        leave(&c);
    }
}

static bool
is_let_in(struct world *w, const struct login *l)
{
    struct client c = watch(w, l, "", "");
    bool let_in;

    wait_part(w, &c, "\r\n\r\n");
    let_in = strstr(said(&c), " 200 ") != NULL;
    leave(&c);
    return let_in;
}

static void
streams_are_limited_and_who_is_one_too_many_is_told(void **state)
{
    struct world *w = *state;
    struct login l = log_in(w, 0);
    struct login b = log_in(w, 1);
    struct client all[STREAMS_MAX];
    struct client c;
    int64_t end = clock_mono_ms() + DEADLINE_MS;

    for (size_t i = 0; i < STREAMS_MAX; i++)
        all[i] = watching(w, &l);
    c = watch(w, &l, "", "");
    wait_end(w, &c);
    assert_non_null(strstr(said(&c), " 503 "));
    assert_non_null(strstr(said(&c), "{\"message\":\"64 pages watch already; close one.\"}"));
    leave(&c);
    c = watching(w, &b); /* another account has its own */
    leave(&c);
    happens(w, 0, "still", 1);
    wait_part(w, &all[0], "still-0");
    wait_part(w, &all[STREAMS_MAX - 1], "still-0");
    for (size_t i = 0; i < STREAMS_MAX; i++)
        leave(&all[i]);
    while (!is_let_in(w, &l)) /* when it is seen that they left */
        assert_true(clock_mono_ms() < end);
}

static void
slow_reader_is_dropped_and_comes_back_for_the_rest(void **state)
{
    struct world *w = *state;
    struct login l = log_in(w, 0);
    struct login other = log_in(w, 0);
    struct client fast = watching(w, &other);
    struct client slow =
        ask(w, 4096, "GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\nCookie: %s\r\n\r\n", l.cookie);
    struct client c;
    char header[64];
    char name[32];
    size_t rounds = 0;

    wait_part(w, &slow, "event: hello");
    for (; rounds < 50; rounds++) { /* 200 records of 600 bytes: 6 MB, of which a socket holds 4 */
        char last[48];

        (void)snprintf(name, sizeof name, "r%zu", rounds);
        (void)snprintf(last, sizeof last, "\"r%zu-199\"", rounds);
        happens(w, 0, name, BURST);
        wait_part(w, &fast, last); /* the fast one has all of them */
    }
    assert_int_equal(count_of(&fast, "event: record"), rounds * BURST);
    assert_int_equal(count_of(&fast, "event: gap"), 0);
    wait_end(w, &slow);
    assert_true(count_of(&slow, "event: record") < rounds * BURST);
    (void)snprintf(header, sizeof header, "Last-Event-ID: %lld\r\n", (long long)last_id(&slow));
    c = watch(w, &l, "", header);
    wait_part(w, &c, "event: hello");
    assert_non_null(strstr(said(&c), "\"cut\":true"));
    assert_non_null(strstr(said(&c), "\"r49-199\""));
    leave(&c);
    c = watching(w, &l); /* it is told once */
    assert_non_null(strstr(said(&c), "\"cut\":false"));
    leave(&c);
    leave(&slow);
    leave(&fast);
}

static void
logging_out_ends_the_streams_of_that_session_only(void **state)
{
    struct world *w = *state;
    struct login one = log_in(w, 0);
    struct login two = log_in(w, 0);
    struct client first = watching(w, &one);
    struct client second = watching(w, &two);
    struct client c = ask(w, 0,
        "DELETE /session HTTP/1.0\r\nHost: 127.0.0.1\r\nCookie: %s\r\nX-Console-Token: %s\r\n\r\n",
        one.cookie, one.token);

    wait_end(w, &c);
    assert_non_null(strstr(said(&c), " 200 "));
    leave(&c);
    wait_end(w, &first);
    happens(w, 0, "after", 1);
    wait_part(w, &second, "after-0");
    assert_false(second.ended);
    c = watch(w, &one, "", "");
    wait_end(w, &c);
    assert_non_null(strstr(said(&c), " 401 "));
    leave(&c);
    leave(&first);
    leave(&second);
}

/* ---- the search ---- */

/* Certificates of self-signed "CN=device-0", "CN=device-1", ...; every third one is REVOKED. */
static void
devices_are_registered(struct world *w, size_t count)
{
    struct bm_msg msg = { "" };

    for (size_t i = 0; i < count; i++) {
        char name[32];
        struct make make = { .name = name };
        struct registry_cert cert = { .status = i % 3 == 2 ? CERT_REVOKED : CERT_ACTIVE };
        struct made made;

        (void)snprintf(name, sizeof name, "device-%zu", i);
        made = certs_make(&make);
        certs_der(&made, &cert.der);
        certs_id(&made, cert.id);
        assert_int_equal(registry_cert_insert(w->registries[0], &cert, &msg), BM_OK);
        registry_cert_fini(&cert);
        certs_fini(&made);
    }
    assert_int_equal(registry_commit(w->registries[0], &msg), BM_OK);
}

static size_t
number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    assert_non_null(at);
    return strtoul(at + strlen(name), NULL, 10);
}

/* Ask, page by page, until there is no more; how many were shown and looked at. */
static size_t
search(struct world *w, const struct login *l, const char *query, size_t *examined)
{
    char marker[128] = "";
    size_t shown = 0;

    *examined = 0;
    do {
        struct client c = ask(w, 0,
            "GET /view/certificates?limit=2&%s&marker=%s HTTP/1.0\r\nHost: 127.0.0.1\r\n"
            "Cookie: %s\r\n\r\n",
            query, marker, l->cookie);
        const char *next;

        wait_end(w, &c);
        assert_non_null(strstr(said(&c), " 200 "));
        assert_int_equal(number_after(said(&c), "\"total\":"), 9);
        shown += count_of(&c, "\"certificateId\"");
        *examined += number_after(said(&c), "\"examined\":");
        next = strstr(said(&c), "\"nextMarker\":\"") + strlen("\"nextMarker\":\"");
        (void)snprintf(marker, sizeof marker, "%.*s", (int)strcspn(next, "\""), next);
        leave(&c);
    } while (marker[0] != '\0');
    return shown;
}

static void
search_goes_on_behind_its_marker_and_says_how_far_it_is(void **state)
{
    struct world *w = *state;
    struct login l = log_in(w, 0);
    size_t examined;

    devices_are_registered(w, 9);
    assert_int_equal(search(w, &l, "search=DEVICE-", &examined), 9);
    assert_int_equal(examined, 9);
    assert_int_equal(search(w, &l, "search=device-4", &examined), 1);
    assert_int_equal(examined, 9);
    assert_int_equal(search(w, &l, "search=nobody", &examined), 0);
    assert_int_equal(examined, 9);
    assert_int_equal(search(w, &l, "status=REVOKED", &examined), 3);
    assert_int_equal(search(w, &l, "status=REVOKED&search=device-4", &examined), 0);
}

#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(records_come_as_they_are_committed_to_those_of_their_account),
        IN_WORLD(reader_that_was_away_gets_what_it_missed),
        IN_WORLD(what_is_too_much_to_catch_up_is_counted),
        IN_WORLD(id_that_is_none_means_from_now_on),
        IN_WORLD(streams_are_limited_and_who_is_one_too_many_is_told),
        IN_WORLD(slow_reader_is_dropped_and_comes_back_for_the_rest),
        IN_WORLD(logging_out_ends_the_streams_of_that_session_only),
        IN_WORLD(search_goes_on_behind_its_marker_and_says_how_far_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
