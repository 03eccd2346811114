/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events (HTML standard 9.2): timeline records, numbers, messages of the MQTT test
 * client, one stream for each page that is open.
 *
 * Records are not caught where they are made: after a commit the rows above the last one sent are
 * read once and sent to all. So nothing is done while nobody watches, and the row number is the
 * event's id, by which a browser that was cut off goes on.
 *
 * Bounds: STREAMS_MAX streams; at most BURST records at a time (of more, the newest, and an event
 * `gap` that says how many are missing); a reader that lets WAITING_MAX bytes pile up is dropped,
 * its browser comes back by itself, and the `hello` it then gets says why it was gone.
 */
#include "console/inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "console/guard.h"
#include "console/tester.h"
#include "wire/topic.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    STREAMS_MAX = 64,
    BURST = 200,
    RESUME_MAX = 1000,
    WAITING_MAX = 1024 * 1024,
    PUMP_MS = 40,
    HEARTBEAT_MS = 15000,
};

struct stream {
    struct site *site;
    struct http_stream *http;
    struct session *session;
    int64_t session_begun_ms; /* its place may be another's by now */
    char id[17];              /* by which the page calls it */
    struct tester *tester;    /* NULL: no subscription */
    struct stream *next;
};

/* ---- life ---- */

static void
drop(struct stream *s)
{
    struct site *c = s->site;

    for (struct stream **at = &c->streams; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            c->stream_count--;
            break;
        }
    }
    tester_close(s->tester);
    free(s);
}

static void
on_gone(void *arg)
{
    drop(arg);
}

static bool
session_holds(const struct stream *s)
{
    return s->session->begun_ms == s->session_begun_ms &&
           session_is_live(s->session, clock_mono_ms());
}

void
streams_end(struct site *c, const struct session *session)
{
    struct stream *next;

    for (struct stream *s = c->streams; s != NULL; s = next) {
        next = s->next;
        if (session == NULL || s->session == session) {
            http_stream_end(s->http, false);
            drop(s);
        }
    }
}

/* ---- sending ---- */

static void
add_event(struct buf *out, const char *event, int64_t id, const char *data)
{
    if (id >= 0)
        buf_addf(out, "id: %lld\n", (long long)id);
    buf_addf(out, "event: %s\ndata: %s\n\n", event, data);
}

static void
add_json(struct buf *out, const char *event, int64_t id, json_t *data)
{
    char *text = data != NULL ? json_dumps(data, JSON_COMPACT) : NULL; /* has no line break */

    if (text != NULL)
        add_event(out, event, id, text);
    free(text);
    json_decref(data);
}

static void
send_text(struct stream *s, struct span text)
{
    http_stream_write(s->http, text);
    if (http_stream_waiting(s->http) <= WAITING_MAX)
        return;
    log_warn("console: a browser that reads too slowly is cut off");
    s->session->cut |= session_holds(s);
    http_stream_end(s->http, true);
    drop(s);
}

static void
send_to_all(struct site *c, struct span text)
{
    struct stream *next;

    for (struct stream *s = c->streams; s != NULL; s = next) {
        next = s->next;
        send_text(s, text);
    }
}

void
streams_tell(struct site *c, const char *event, json_t *data)
{
    struct buf text = { 0 };

    add_json(&text, event, -1, data);
    if (!text.failed)
        send_to_all(c, buf_span(&text));
    buf_fini(&text);
}

/* ---- records ---- */

struct burst {
    const struct site *site;
    struct buf text;
    int64_t last;
};

static void
add_record(void *arg, int64_t row, const struct timeline_record *rec)
{
    struct burst *b = arg;
    struct buf json = { 0 };

    if (row > b->last + 1)
        add_json(
            &b->text, "gap", -1, json_pack("{s:I}", "missing", (json_int_t)(row - b->last - 1)));
    timeline_json(rec, &b->site->place, &json);
    if (buf_cstr(&json) != NULL)
        add_event(&b->text, "record", row, (const char *)json.ptr);
    buf_fini(&json);
    b->last = row;
}

static void
read_burst(struct site *c, struct burst *b, size_t limit)
{
    struct bm_msg msg;

    if (registry_timeline_after(c->registry, b->last, limit, add_record, b, &msg) != BM_OK)
        log_error("console: the timeline cannot be read: %s", msg.text);
}

static void
pump(struct site *c)
{
    struct burst b = { .site = c, .last = c->seen_row };

    if (c->streams == NULL)
        return;
    read_burst(c, &b, BURST);
    c->seen_row = b.last;
    if (b.text.len > 0 && !b.text.failed)
        send_to_all(c, buf_span(&b.text));
    buf_fini(&b.text);
}

static void
on_pump(void *arg)
{
    struct site *c = arg;

    c->pump = NULL;
    pump(c);
}

void
console_committed(struct console *console, size_t account)
{
    struct site *c = console != NULL ? &console->sites[account] : NULL;

    if (c != NULL && c->streams != NULL && c->pump == NULL)
        c->pump = loop_after(c->loop, PUMP_MS, on_pump, c);
}

/* ---- opening ---- */

static void
on_heartbeat(void *arg)
{
    struct site *c = arg;
    struct stream *next;

    c->heartbeat = NULL;
    for (struct stream *s = c->streams; s != NULL; s = next) {
        next = s->next;
        if (session_holds(s)) {
            s->session->seen_ms = clock_mono_ms(); /* to watch is to be there */
            send_text(s, span_str(": \n\n"));
        } else {
            http_stream_end(s->http, true);
            drop(s);
        }
    }
    if (c->streams != NULL)
        c->heartbeat = loop_after(c->loop, HEARTBEAT_MS, on_heartbeat, c);
}

/* What a browser missed since the event it names; else only what comes from now on. */
static void
catch_up(struct stream *s, const struct http_request *rq, struct burst *b)
{
    struct site *c = s->site;
    struct buf room = { 0 };
    const char *after = http_header(rq, "Last-Event-ID");
    int64_t row;

    if (after == NULL)
        after = query_text(rq, "after", &room);
    b->last = c->seen_row;
    if (guard_event_id(after, &row) && row < c->seen_row) {
        b->last = row;
        read_burst(c, b, RESUME_MAX);
    }
    buf_fini(&room);
}

static void
first_row(struct site *c)
{
    struct bm_msg msg;

    if (c->streams == NULL) { /* nobody has watched: nothing was to be sent */
        if (registry_timeline_last(c->registry, &c->seen_row, &msg) != BM_OK)
            log_error("console: the timeline cannot be read: %s", msg.text);
    } else {
        pump(c);
    }
}

void
stream_open(struct site *c, struct http_request *rq, struct session *session)
{
    struct stream *s = c->stream_count < STREAMS_MAX ? calloc(1, sizeof *s) : NULL;
    struct burst b = { .site = c };
    uint8_t id[8] = { 0 };

    if (s == NULL) {
        refuse(rq, 503, "%d pages watch already; close one.", STREAMS_MAX);
        return;
    }
    *s = (struct stream){ .site = c, .session = session, .session_begun_ms = session->begun_ms };
    (void)!getrandom(id, sizeof id, 0);
    hex_encode(s->id, id, sizeof id);
    first_row(c);
    catch_up(s, rq, &b);
    add_json(
        &b.text, "hello", b.last, json_pack("{s:s,s:b}", "stream", s->id, "cut", session->cut));
    s->http = http_stream_begin(rq, "text/event-stream", on_gone, s);
    if (s->http == NULL) {
        free(s);
        buf_fini(&b.text);
        return;
    }
    session->cut = false;
    s->next = c->streams;
    c->streams = s;
    c->stream_count++;
    if (c->heartbeat == NULL)
        c->heartbeat = loop_after(c->loop, HEARTBEAT_MS, on_heartbeat, c);
    send_text(s, buf_span(&b.text));
    buf_fini(&b.text);
}

/* ---- the MQTT test client of a page ---- */

static void
on_message(void *arg, json_t *message)
{
    struct stream *s = arg;
    struct buf text = { 0 };

    add_json(&text, "mqtt", -1, message);
    if (http_stream_waiting(s->http) > WAITING_MAX / 2) /* not from within its own connection */
        tester_lost(s->tester);
    else if (!text.failed)
        http_stream_write(s->http, buf_span(&text));
    buf_fini(&text);
}

static struct stream *
stream_of(struct site *c, const char *id, const struct session *session)
{
    for (struct stream *s = c->streams; id != NULL && s != NULL; s = s->next) {
        if (strcmp(s->id, id) == 0 && s->session == session)
            return s;
    }
    return NULL;
}

/* {stream, subscribe: FILTER} or {stream, unsubscribe: FILTER} */
void
mqtt_ask(struct site *c, struct http_request *rq, const struct session *session)
{
    json_t *body = body_object(rq);
    const char *on = json_string_value(json_object_get(body, "subscribe"));
    const char *off = json_string_value(json_object_get(body, "unsubscribe"));
    struct bm_msg msg = { "" };
    enum bm_err err = BM_OK;
    struct stream *s;

    if (body == NULL)
        return;
    s = stream_of(c, json_string_value(json_object_get(body, "stream")), session);
    if (s == NULL)
        err = bm_fail(&msg, BM_ERR_NOT_FOUND, "This page's stream has ended; it opens a new one.");
    else if (s->tester == NULL)
        err = tester_open(c->loop, c->account->broker, on_message, s, &s->tester, &msg);
    if (err == BM_OK && on != NULL) {
        kept_add(c->account->kept, mqtt_plain_filter(span_str(on)), false);
        err = tester_subscribe(s->tester, on, &msg);
    } else if (err == BM_OK && off != NULL)
        tester_unsubscribe(s->tester, off);
    else if (err == BM_OK)
        err = bm_fail(&msg, BM_ERR_INPUT, "Say subscribe or unsubscribe, and a topic filter.");
    json_decref(body);
    if (err != BM_OK)
        refuse_err(rq, err, &msg);
    else
        reply_json(rq, 200, json_object());
}
