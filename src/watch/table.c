/* SPDX-License-Identifier: Apache-2.0 */
/* See table.h. Rows are found by the hash of what makes them alike, and sorted when drawn. */
#include "watch/table.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { CERT_DIGITS = 10 };

enum watch_kind
watch_kind_of(enum cause cause)
{
    if (cause == CAUSE_REGISTERED_JITR)
        return WATCH_REGISTERED;
    if (cause == CAUSE_RULE_FAILED || cause == CAUSE_FUNCTION_FAILED)
        return WATCH_FAILED;
    switch (cause_info(cause)->kind) {
    case CAUSE_ACCEPT:
        return WATCH_CONNECTED;
    case CAUSE_REFUSE:
        return WATCH_REFUSED;
    case CAUSE_END:
        return WATCH_ENDED;
    case CAUSE_CHANGE:
    case CAUSE_EFFECT:
        break;
    }
    return WATCH_NOTHING;
}

const char *
watch_kind_name(enum watch_kind kind)
{
    static const char *const names[] = { "connected", "registered", "refused", "failed", "ended",
        "" };

    return names[kind];
}

/* "127.0.0.1:40122" without the port: each connection of a device has another. */
static void
host_of(const char *peer, char out[TIMELINE_PEER_MAX + 1])
{
    const char *colon = strrchr(peer, ':');
    size_t len = colon != NULL && strchr(colon, ']') == NULL ? (size_t)(colon - peer) : strlen(peer);

    memcpy(out, peer, len);
    out[len] = '\0';
}

/* FNV-1a */
static uint64_t
hash(uint64_t h, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return h;
}

static uint64_t
key_of(const struct timeline_record *rec)
{
    char host[TIMELINE_PEER_MAX + 1];
    uint64_t h = hash(0xcbf29ce484222325, &rec->cause, sizeof rec->cause);

    host_of(rec->peer, host);
    if (rec->has_cert)
        h = hash(h, rec->cert_id, sizeof rec->cert_id);
    h = hash(h, rec->client_id, strlen(rec->client_id) + 1);
    return hash(h, host, strlen(host));
}

/* The row of the same key, else a free one, else the one that was changed longest ago. */
static struct watch_row *
row_for(struct watch_table *t, uint64_t key)
{
    struct watch_row *oldest = &t->rows[0];

    for (size_t i = 0; i < WATCH_ROWS_MAX; i++) {
        struct watch_row *row = &t->rows[i];

        if (row->turn != 0 && row->key == key)
            return row;
        if (row->turn < oldest->turn)
            oldest = row;
    }
    *oldest = (struct watch_row){ .key = key };
    return oldest;
}

void
watch_table_add(struct watch_table *t, const struct timeline_record *rec)
{
    enum watch_kind kind = watch_kind_of(rec->cause);
    int64_t second = rec->time_ms / 1000;
    struct watch_row *row;

    if (kind == WATCH_NOTHING)
        return;
    row = row_for(t, key_of(rec));
    row->turn = ++t->turn;
    row->count++;
    row->last = *rec;
    t->total[kind]++;
    if (second < 0)
        return;
    size_t at = (size_t)second % (WATCH_RATE_S + 1);
    if (t->recent[at].second > second)
        return; /* older than what rates are made of */
    if (t->recent[at].second < second) {
        memset(&t->recent[at], 0, sizeof t->recent[at]);
        t->recent[at].second = second;
    }
    t->recent[at].count[kind]++;
}

double
watch_table_rate(const struct watch_table *t, enum watch_kind kind, int64_t now_ms)
{
    int64_t now = now_ms / 1000;
    uint64_t sum = 0;

    for (size_t i = 0; i <= WATCH_RATE_S; i++) {
        if (t->recent[i].second < now && t->recent[i].second >= now - WATCH_RATE_S)
            sum += t->recent[i].count[kind];
    }
    return (double)sum / WATCH_RATE_S;
}

/* Bytes and columns of the first character, when the terminal shows it as it was counted. */
static size_t
shown(const char *text, size_t len, bool utf8, unsigned *columns)
{
    mbstate_t state = { 0 };
    wchar_t c;
    size_t n;
    int width;

    *columns = 1;
    if ((unsigned char)*text < 0x80)
        return *text >= ' ' && *text != 0x7f ? 1 : 0;
    if (!utf8)
        return 0;
    n = mbrtowc(&c, text, len, &state);
    if (n == 0 || n > len || (width = wcwidth(c)) <= 0 || c == 0xad)
        return 0; /* malformed, a control, or a mark of no width: any number fits on one place */
    *columns = (unsigned)width;
    return n;
}

unsigned
watch_cell(struct buf *out, const char *text, unsigned width, bool utf8)
{
    const char *cut_mark = utf8 ? "\xe2\x80\xa6" : "~";
    size_t left = strlen(text);
    size_t cut_len = out->len; /* where the ellipsis goes when the rest does not fit */
    unsigned cut_used = 0;
    unsigned used = 0;

    if (width == 0)
        return 0;
    while (left > 0) {
        char escaped[8];
        unsigned columns;
        size_t n = shown(text, left, utf8, &columns);
        const char *piece = text;
        size_t piece_len = n;

        if (n == 0) {
            n = 1;
            columns = 4;
            piece = escaped;
            piece_len = (size_t)snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)*text);
        }
        if (used + columns > width) {
            out->len = cut_len;
            buf_addf(out, "%s", cut_mark);
            return cut_used + 1;
        }
        buf_add(out, piece, piece_len);
        used += columns;
        if (used < width) {
            cut_len = out->len;
            cut_used = used;
        }
        text += n;
        left -= n;
    }
    return used;
}

/* ---- the frame ---- */

struct layout {
    unsigned client, cert, peer, outcome, count; /* where each column begins, from 1; 0: left out */
    unsigned client_width, peer_width, outcome_width;
};

/* Time and count always; client and outcome share what address and certificate leave over. */
static struct layout
layout_for(unsigned columns)
{
    enum { TIME = 10, COUNT = 7, CERT = CERT_DIGITS + 2 };
    unsigned left = columns > TIME + COUNT + 2 ? columns - TIME - COUNT - 2 : 0;
    struct layout l = { 0 };
    unsigned at = TIME + 3;

    if (left >= 56)
        l.cert = CERT;
    if (left - l.cert >= 40)
        l.peer_width = left >= 120 ? 40 : 16;
    left -= l.cert + l.peer_width;
    l.outcome_width = left / 2 < 34 ? left / 2 : 34;
    l.client_width = left - l.outcome_width;
    l.client = at;
    at += l.client_width;
    if (l.cert != 0) {
        l.cert = at;
        at += CERT;
    }
    if (l.peer_width != 0)
        l.peer = at;
    at += l.peer_width;
    l.outcome = at;
    l.count = at + l.outcome_width;
    return l;
}

static void
column(struct buf *out, unsigned at, unsigned width, const char *text, bool utf8)
{
    if (at == 0 || width < 2)
        return;
    buf_addf(out, "\033[%uG", at);
    (void)watch_cell(out, text, width - 1, utf8);
}

static void
colour(const struct watch_view *v, struct buf *out, const char *sequence)
{
    if (v->colour)
        buf_addf(out, "\033[%sm", sequence);
}

static const char *
kind_colour(enum watch_kind kind)
{
    static const char *const colours[] = { "32", "33", "31", "35", "2", "0" };

    return colours[kind];
}

static void
draw_row(const struct watch_row *row, const struct watch_view *v, const struct layout *l,
    bool selected, struct buf *out)
{
    const struct timeline_record *rec = &row->last;
    char host[TIMELINE_PEER_MAX + 1];
    char time[CLOCK_TEXT_LEN];
    char hex[65] = "-";
    char count[24];

    clock_text(time, rec->time_ms);
    host_of(rec->peer, host);
    if (rec->has_cert) {
        hex_encode(hex, rec->cert_id, sizeof rec->cert_id);
        hex[CERT_DIGITS] = '\0';
    }
    (void)snprintf(count, sizeof count, "%" PRIu64, row->count);
    buf_addf(out, "%s %.8s", selected ? ">" : " ", time + 11);
    column(out, l->client, l->client_width, rec->client_id[0] != '\0' ? rec->client_id : "-",
        v->utf8);
    column(out, l->cert, CERT_DIGITS + 2, hex, v->utf8);
    column(out, l->peer, l->peer_width, host[0] != '\0' ? host : "-", v->utf8);
    colour(v, out, kind_colour(watch_kind_of(rec->cause)));
    column(out, l->outcome, l->outcome_width, cause_info(rec->cause)->id, v->utf8);
    colour(v, out, "0");
    column(out, l->count, 7, count, v->utf8);
}

static void
draw_head(const struct watch_table *t, const struct watch_view *v, struct buf *out)
{
    struct buf text = { 0 };

    colour(v, out, "1");
    (void)watch_cell(out, v->where, v->columns - 1, v->utf8);
    colour(v, out, "0");
    buf_addf(out, "\033[K\r\n");
    for (int k = 0; k < WATCH_KIND_COUNT; k++) {
        buf_addf(&text, "%s%s %" PRIu64, k > 0 ? "  " : "", watch_kind_name((enum watch_kind)k),
            t->total[k]);
        if (k == WATCH_CONNECTED || k == WATCH_REFUSED)
            buf_addf(&text, " (%.1f/s)", watch_table_rate(t, (enum watch_kind)k, v->now_ms));
    }
    if (t->missed > 0)
        buf_addf(&text, "  and %" PRIu64 " too fast to count", t->missed);
    if (buf_cstr(&text) != NULL)
        (void)watch_cell(out, (char *)text.ptr, v->columns - 1, v->utf8);
    buf_fini(&text);
    buf_addf(out, "\033[K\r\n");
}

static int
later_first(const void *a, const void *b)
{
    const struct watch_row *const *x = a;
    const struct watch_row *const *y = b;

    return (*x)->turn < (*y)->turn ? 1 : (*x)->turn > (*y)->turn ? -1 : 0;
}

static bool
is_refusal(const struct watch_row *row)
{
    enum watch_kind kind = watch_kind_of(row->last.cause);

    return kind == WATCH_REFUSED || kind == WATCH_FAILED;
}

/* The rows to show, the latest first. Returns how many. */
static unsigned
sorted(const struct watch_table *t, bool refusals_only, const struct watch_row **rows)
{
    unsigned n = 0;

    for (size_t i = 0; i < WATCH_ROWS_MAX; i++) {
        if (t->rows[i].turn != 0 && (!refusals_only || is_refusal(&t->rows[i])))
            rows[n++] = &t->rows[i];
    }
    qsort(rows, n, sizeof *rows, later_first);
    return n;
}

/* Why, evidence and cure of one row, on three lines. */
static void
draw_detail(const struct watch_row *row, const struct watch_view *v, struct buf *out)
{
    struct buf text = { 0 };
    char *line;

    if (row != NULL)
        timeline_verdict(&row->last, v->place, &text);
    line = buf_cstr(&text);
    for (int i = 0; i < 3; i++) {
        char *end = line != NULL ? strchr(line, '\n') : NULL;

        if (end != NULL) {
            *end = '\0';
            (void)watch_cell(out, line, v->columns - 1, v->utf8);
            line = end + 1;
        }
        buf_addf(out, "\033[K\r\n");
    }
    buf_fini(&text);
}

static void
keep_in_window(struct watch_view *v, unsigned count, unsigned window)
{
    if (v->selected > count)
        v->selected = count;
    if (v->first + window > count)
        v->first = count > window ? count - window : 0;
    if (v->selected > 0 && v->selected <= v->first)
        v->first = v->selected - 1;
    if (v->selected > v->first + window)
        v->first = v->selected - window;
    if (v->selected == 0)
        v->first = 0;
}

void
watch_table_draw(const struct watch_table *t, struct watch_view *v, struct buf *out)
{
    enum { FIXED = 4, DETAIL = 3, TIGHT = 12, COLUMNS_MIN = 24 };
    const struct watch_row *rows[WATCH_ROWS_MAX];
    bool detail = v->lines >= TIGHT;
    unsigned window = v->lines > FIXED ? v->lines - FIXED - (detail ? DETAIL : 0) : 0;
    unsigned count = sorted(t, v->refusals_only, rows);
    struct layout l = layout_for(v->columns);
    const struct watch_row *told = NULL;

    buf_addf(out, "\033[H");
    if (window == 0 || v->columns < COLUMNS_MIN) {
        (void)watch_cell(out, "too small", v->columns > 0 ? v->columns - 1 : 0, v->utf8);
        buf_addf(out, "\033[J");
        return;
    }
    keep_in_window(v, count, window);
    draw_head(t, v, out);
    colour(v, out, "2");
    buf_addf(out, "  TIME UTC");
    column(out, l.client, l.client_width, "CLIENT", v->utf8);
    column(out, l.cert, CERT_DIGITS + 2, "CERTIFICATE", v->utf8);
    column(out, l.peer, l.peer_width, "ADDRESS", v->utf8);
    column(out, l.outcome, l.outcome_width, "WHAT", v->utf8);
    column(out, l.count, 7, "COUNT", v->utf8);
    colour(v, out, "0");
    buf_addf(out, "\033[K\r\n");
    for (unsigned i = 0; i < window; i++) {
        unsigned at = v->first + i;

        buf_addf(out, "\033[K"); /* before: a column may be jumped over, and the end not reached */
        if (at < count)
            draw_row(rows[at], v, &l, at + 1 == v->selected, out);
        buf_addf(out, "\r\n");
    }
    for (unsigned i = 0; i < count && told == NULL && v->selected == 0; i++)
        told = is_refusal(rows[i]) ? rows[i] : NULL;
    if (v->selected > 0)
        told = rows[v->selected - 1];
    if (detail)
        draw_detail(told, v, out);
    colour(v, out, "7");
    (void)watch_cell(out, v->paused ? "PAUSED   p go on   q quit" :
            v->refusals_only        ? "q quit   p pause   r all again   up, down: why" :
                                      "q quit   p pause   r refusals only   up, down: why",
        v->columns - 1, v->utf8);
    colour(v, out, "0");
    buf_addf(out, "\033[K");
}

/* ---- plain lines ---- */

void
watch_line(const struct timeline_record *rec, struct buf *out)
{
    char time[CLOCK_TEXT_LEN];
    char hex[65] = "-";

    clock_text(time, rec->time_ms);
    if (rec->has_cert) {
        hex_encode(hex, rec->cert_id, sizeof rec->cert_id);
        hex[CERT_DIGITS] = '\0';
    }
    buf_addf(out, "%s  %-10s  %-24s  %-10s", time, watch_kind_name(watch_kind_of(rec->cause)),
        cause_info(rec->cause)->id, hex);
    if (rec->peer[0] != '\0') {
        buf_addf(out, "  peer=");
        timeline_clean(rec->peer, out);
    }
    if (rec->client_id[0] != '\0') {
        buf_addf(out, " client=");
        timeline_clean(rec->client_id, out);
    }
    if (rec->facts[0] != '\0') {
        buf_add(out, " ", 1);
        timeline_clean(rec->facts, out);
    }
    buf_add(out, "\n", 1);
}
