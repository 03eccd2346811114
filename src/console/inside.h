/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share. console.c takes a request, looks at guard and session, and
 * hands it to a page (pages.c), to the API, to a view (view.c, certificates.c, try.c) or to the
 * stream of events (stream.c, with the MQTT test client tester.c and the numbers of sample.c).
 */
#ifndef BM_CONSOLE_INSIDE_H
#define BM_CONSOLE_INSIDE_H

#include "console/console.h"
#include "console/session.h"
#include "endpoint/worker.h"

#include <jansson.h>

enum {
    SAMPLE_MS = 2000,
    SAMPLES_MAX = 300, /* ten minutes */
};

/* The cloud's numbers at one moment; all but `connections` only grow. */
struct sample {
    int64_t time_ms;
    uint64_t connections, accepted, admitted, refused, published, delivered;
};

struct samples {
    struct sample ring[SAMPLES_MAX];
    size_t count; /* ever taken */
    struct loop_timer *timer;
    /* how many certificates are in which state: counted bit by bit */
    size_t tally_at;
    uint64_t tally[TABLE_STATUS_COUNT];
    uint64_t certificates[TABLE_STATUS_COUNT]; /* of the last whole count */
    bool counted;
    int64_t counted_ms;
    struct loop_timer *tally_timer;
};

struct stream;

/* What belongs to one account. */
struct site {
    struct console *console;
    const struct console_account *account;
    struct registry *registry; /* the account's */
    struct timeline_place place; /* for the cures of its records */
    struct loop *loop;
    struct samples samples;
    struct stream *streams;
    size_t stream_count;
    int64_t seen_row; /* of the timeline: every stream has had it */
    struct loop_timer *pump;
    struct loop_timer *heartbeat;
};

struct console {
    struct console_options options;
    struct http_server *http;
    char cookie_name[32];
    struct sessions sessions;
    struct site sites[ACCOUNTS_MAX];
};

/* ---- answers (reply.c) ---- */

/* Takes `value`; NULL becomes 503. */
void reply_json(struct http_request *rq, unsigned status, json_t *value);
void refuse(struct http_request *rq, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void refuse_err(struct http_request *rq, enum bm_err err, const struct bm_msg *msg);
/* A parameter of the query as text, to be freed with buf_fini; NULL when absent. */
const char *query_text(const struct http_request *rq, const char *name, struct buf *room);
size_t query_number(const struct http_request *rq, const char *name, size_t otherwise, size_t max);
/* The body as a JSON object; NULL: refused. */
json_t *body_object(struct http_request *rq);

/* ---- pages.c: files that every browser may have ---- */

bool page_serve(struct http_request *rq); /* false: there is none of that path */

/* ---- what is read: one handler for each path below /view ---- */

void view_overview(struct site *c, struct http_request *rq);     /* sample.c */
void view_certificates(struct site *c, struct http_request *rq); /* certificates.c */
void view_certificate(struct site *c, struct http_request *rq);
void view_cas(struct site *c, struct http_request *rq);
void view_timeline(struct site *c, struct http_request *rq); /* view.c */
void view_rules(struct site *c, struct http_request *rq);
void view_log(struct site *c, struct http_request *rq);
void view_policy_test(struct site *c, struct http_request *rq); /* try.c */

/* One record as it is in `birthmark explain --json`; NULL: no memory. */
json_t *record_json(const struct site *c, const struct timeline_record *rec);

/* ---- stream.c, sample.c ---- */

void stream_open(struct site *c, struct http_request *rq, struct session *session);
void streams_end(struct site *c, const struct session *session); /* NULL: all */
/* An event for all that watch; takes `data`. */
void streams_tell(struct site *c, const char *event, json_t *data);
void mqtt_ask(struct site *c, struct http_request *rq, const struct session *session);

void samples_start(struct site *c); /* while somebody is logged in */
void samples_end(struct site *c);

#endif
