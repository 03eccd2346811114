/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live table of `birthmark watch`: who connected and who was refused, alike ones as one row
 * with a count, and the frame of terminal text that shows it. No I/O and no clock.
 *
 * Every text comes from outside: watch_cell lets nothing through that would steer the terminal or
 * that it might draw with another width than was counted.
 */
#ifndef BM_WATCH_TABLE_H
#define BM_WATCH_TABLE_H

#include "base/bytes.h"
#include "timeline/timeline.h"

enum watch_kind {
    WATCH_CONNECTED,
    WATCH_REGISTERED, /* dropped, and known from now on */
    WATCH_REFUSED,    /* a connection, or something a connection wanted */
    WATCH_FAILED,     /* a rule or a function, after it */
    WATCH_ENDED,
    WATCH_KIND_COUNT,
    WATCH_NOTHING = WATCH_KIND_COUNT /* not shown: changes and effects */
};
enum watch_kind watch_kind_of(enum cause cause);
/* "connected", "registered", "refused", "failed", "ended" */
const char *watch_kind_name(enum watch_kind kind);

/* Rows that are kept, the latest; seconds that a rate is the mean of. */
enum { WATCH_ROWS_MAX = 500, WATCH_RATE_S = 10 };

struct watch_row {
    uint64_t key;  /* hash of cause, certificate, client id and address */
    uint64_t turn; /* when it was last changed; 0: the row is free */
    uint64_t count;
    struct timeline_record last;
};

/* Zero-initialise; owns nothing. */
struct watch_table {
    struct watch_row rows[WATCH_ROWS_MAX];
    uint64_t turn;
    uint64_t total[WATCH_KIND_COUNT];
    uint64_t missed; /* records that came faster than they were read; the caller's */
    struct {
        int64_t second;
        uint32_t count[WATCH_KIND_COUNT];
    } recent[WATCH_RATE_S + 1];
};

/* Take in a record of a kind that is shown. */
void watch_table_add(struct watch_table *t, const struct timeline_record *rec);
/* A second's mean of this kind over the WATCH_RATE_S whole seconds before `now_ms` (wall clock). */
double watch_table_rate(const struct watch_table *t, enum watch_kind kind, int64_t now_ms);

struct watch_view {
    unsigned lines, columns;
    bool colour;
    bool utf8;          /* the terminal's; needs setlocale(LC_CTYPE) to a UTF-8 locale */
    bool refusals_only; /* refused and failed */
    bool paused;
    unsigned selected; /* row from the top, from 1; 0: none. Made smaller when there are fewer */
    unsigned first;    /* rows above the window; kept so that the selected one is seen */
    int64_t now_ms;
    const struct timeline_place *place; /* for the cures; may be NULL */
    const char *where; /* "cloud runs on DIR", for the first line */
};

/* Append one frame: every line of the screen is written anew, none is longer than it. */
void watch_table_draw(const struct watch_table *t, struct watch_view *v, struct buf *out);

/*
 * Append `text` in at most `width` columns, cut with an ellipsis: printable characters that the
 * terminal has as they are, every other byte as \xNN. Returns the columns used.
 */
unsigned watch_cell(struct buf *out, const char *text, unsigned width, bool utf8);

/* One record as one line without escape sequences. */
void watch_line(const struct timeline_record *rec, struct buf *out);

#endif
