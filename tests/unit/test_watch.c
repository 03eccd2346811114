/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/watch: what is alike is one row, rates, layouts, hostile texts, keys. */
#include "watch/screen.h"
#include "watch/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct watch_table table;

static int
fresh(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    return 0;
}

static void
happened(enum cause cause, uint8_t cert, const char *client, const char *peer, int64_t time_ms)
{
    const uint8_t id[32] = { cert };
    struct timeline_record r;

    timeline_fill(&r, cause, cert != 0 ? id : NULL, client, peer, "", "fact=%d", 1);
    r.time_ms = time_ms;
    watch_table_add(&table, &r);
}

static unsigned
rows_used(void)
{
    unsigned n = 0;

    for (int i = 0; i < WATCH_ROWS_MAX; i++)
        n += table.rows[i].turn != 0;
    return n;
}

static char *
frame(struct watch_view *v, struct buf *out)
{
    out->len = 0;
    v->where = "a cloud runs on DIR";
    watch_table_draw(&table, v, out);
    return buf_cstr(out);
}

static void
alike_ones_are_one_row_whatever_their_port(void **state)
{
    (void)state;
    happened(CAUSE_ADMITTED, 1, "a", "127.0.0.1:1000", 1);
    happened(CAUSE_ADMITTED, 1, "a", "127.0.0.1:1001", 2);
    assert_int_equal(rows_used(), 1);
    assert_int_equal(table.rows[0].count, 2);
    assert_string_equal(table.rows[0].last.peer, "127.0.0.1:1001");
    happened(CAUSE_ADMITTED, 1, "a", "127.0.0.2:1000", 3);
    happened(CAUSE_ADMITTED, 1, "b", "127.0.0.1:1000", 4);
    happened(CAUSE_ADMITTED, 2, "a", "127.0.0.1:1000", 5);
    happened(CAUSE_INACTIVE, 1, "a", "127.0.0.1:1000", 6);
    happened(CAUSE_ADMITTED, 1, "a", "[::1]:1000", 7);
    happened(CAUSE_ADMITTED, 1, "a", "[::2]", 8);
    assert_int_equal(rows_used(), 7);
}

static void
changes_and_effects_are_not_counted_and_every_cause_has_a_kind(void **state)
{
    uint64_t sum = 0;

    (void)state;
    happened(CAUSE_STATUS_CHANGED, 1, "", "", 1);
    happened(CAUSE_EVENT_PUBLISHED, 1, "", "", 1);
    assert_int_equal(rows_used(), 0);
    assert_int_equal(watch_kind_of(CAUSE_REGISTERED_JITR), WATCH_REGISTERED);
    assert_int_equal(watch_kind_of(CAUSE_RULE_FAILED), WATCH_FAILED);
    assert_int_equal(watch_kind_of(CAUSE_NO_POLICY), WATCH_REFUSED);
    assert_int_equal(watch_kind_of(CAUSE_KEEP_ALIVE), WATCH_ENDED);
    for (int c = 1; c < CAUSE_COUNT; c++)
        happened((enum cause)c, 1, "", "", 1);
    for (int k = 0; k < WATCH_KIND_COUNT; k++)
        sum += table.total[k];
    assert_int_equal(sum, rows_used());
    assert_int_equal(table.total[WATCH_CONNECTED], 1);
}

static void
when_rows_are_used_up_the_one_unchanged_longest_goes(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < WATCH_ROWS_MAX; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        happened(CAUSE_ADMITTED, 1, name, "", i);
    }
    happened(CAUSE_ADMITTED, 1, "c0", "", 1000);  /* now c1 is the oldest */
    happened(CAUSE_ADMITTED, 1, "new", "", 1001);
    assert_int_equal(rows_used(), WATCH_ROWS_MAX);
    for (int i = 0; i < WATCH_ROWS_MAX; i++)
        assert_string_not_equal(table.rows[i].last.client_id, "c1");
    assert_int_equal(table.total[WATCH_CONNECTED], WATCH_ROWS_MAX + 2);
}

static void
a_rate_is_the_mean_of_the_whole_seconds_before(void **state)
{
    (void)state;
    for (int64_t ms = 100000; ms < 105000; ms += 100) /* 10 a second for 5 seconds */
        happened(CAUSE_ADMITTED, 1, "a", "", ms);
    happened(CAUSE_INACTIVE, 1, "a", "", 104000);
    assert_true(watch_table_rate(&table, WATCH_CONNECTED, 105000) == 5.0);
    assert_true(watch_table_rate(&table, WATCH_CONNECTED, 104999) == 4.0); /* 104 is not over */
    assert_true(watch_table_rate(&table, WATCH_CONNECTED, 112000) == 3.0);
    assert_true(watch_table_rate(&table, WATCH_CONNECTED, 200000) == 0.0);
    assert_true(watch_table_rate(&table, WATCH_REFUSED, 105500) == 0.1);
    happened(CAUSE_ADMITTED, 1, "a", "", -5); /* a clock before 1970 is no crash */
}

struct cell_case {
    const char *text;
    unsigned width;
    bool utf8;
    const char *want;
    unsigned used;
};

static void
a_cell_shows_hostile_text_harmlessly_within_its_width(void **state)
{
    static const struct cell_case cases[] = {
        { "plain", 10, true, "plain", 5 },
        { "plain", 5, true, "plain", 5 },
        { "plain", 4, true, "pla\xe2\x80\xa6", 4 },
        { "plain", 4, false, "pla~", 4 },
        { "plain", 1, true, "\xe2\x80\xa6", 1 },
        { "plain", 0, true, "", 0 },
        { "\033[2J", 20, true, "\\x1b[2J", 7 },
        { "\033[2J", 5, true, "\\x1b\xe2\x80\xa6", 5 },
        { "\033[2J", 4, true, "\xe2\x80\xa6", 1 },
        { "a\nb\r\t\x7f", 30, true, "a\\x0ab\\x0d\\x09\\x7f", 18 },
        { "\xc2\x9b" "2J", 20, true, "\\xc2\\x9b2J", 10 },           /* C1: CSI in one byte */
        { "\xff\xfe", 20, true, "\\xff\\xfe", 8 },                   /* not UTF-8 */
        { "\xe2\x82", 20, true, "\\xe2\\x82", 8 },                   /* cut inside a character */
        { "\xed\xa0\x80", 20, true, "\\xed\\xa0\\x80", 12 },         /* half of a surrogate pair */
        { "\xc0\x9b", 20, true, "\\xc0\\x9b", 8 },                   /* too long a form of ESC */
        { "\xe2\x80\xae" "x", 20, true, "\\xe2\\x80\\xaex", 13 },    /* right to left from here */
        { "e\xcc\x81", 20, true, "e\\xcc\\x81", 9 },                 /* a mark of no width */
        { "\xe2\x80\x8b", 20, true, "\\xe2\\x80\\x8b", 12 },         /* a blank of no width */
        { "\xc3\xa9", 20, true, "\xc3\xa9", 1 },                     /* e with acute */
        { "\xc3\xa9", 20, false, "\\xc3\\xa9", 8 },
        { "\xe6\xbc\xa2\xe5\xad\x97", 4, true, "\xe6\xbc\xa2\xe5\xad\x97", 4 }, /* wide: 2 each */
        { "\xe6\xbc\xa2\xe5\xad\x97", 3, true, "\xe6\xbc\xa2\xe2\x80\xa6", 3 },
        { "\xe6\xbc\xa2\xe5\xad\x97", 2, true, "\xe2\x80\xa6", 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct cell_case *c = &cases[i];
        struct buf out = { 0 };
        unsigned used = watch_cell(&out, c->text, c->width, c->utf8);

        assert_non_null(buf_cstr(&out));
        assert_string_equal(out.ptr, c->want);
        assert_int_equal(used, c->used);
        buf_fini(&out);
    }
}

static void
a_frame_tells_totals_rows_and_the_newest_refusals_cure(void **state)
{
    struct watch_view v = { .lines = 24, .columns = 100, .utf8 = true, .now_ms = 5000 };
    struct buf out = { 0 };
    char *text;

    (void)state;
    happened(CAUSE_ADMITTED, 1, "first", "127.0.0.1:1", 1000);
    happened(CAUSE_NO_POLICY, 0xab, "second", "127.0.0.1:2", 2000);
    happened(CAUSE_DISCONNECTED, 1, "first", "127.0.0.1:1", 3000);
    text = frame(&v, &out);
    assert_non_null(strstr(text, "a cloud runs on DIR"));
    assert_non_null(strstr(text,
        "connected 1 (0.1/s)  registered 0  refused 1 (0.1/s)  failed 0  ended 1\033[K"));
    assert_non_null(strstr(text, "00:00:02"));
    assert_non_null(strstr(text, "ab00000000"));
    assert_non_null(strstr(text, "cause     connect.no_policy: "));
    assert_non_null(strstr(text, "cure "));
    assert_null(strstr(text, "\033[31m")); /* no colour was asked for */
    assert_true(strstr(text, "disconnect.client") < strstr(text, "connect.no_policy"));
    v.refusals_only = true;
    text = frame(&v, &out);
    assert_null(strstr(text, "first"));
    assert_non_null(strstr(text, "second"));
    v.refusals_only = false;
    v.colour = true;
    v.selected = 3; /* the oldest: the first connect */
    text = frame(&v, &out);
    assert_non_null(strstr(text, "\033[31m"));
    assert_non_null(strstr(text, "cause     connect.admitted: "));
    buf_fini(&out);
}

/* Lines of the frame, and no byte below a blank but line ends and sequences of ours. */
static unsigned
lines_in(const char *text)
{
    unsigned n = 1;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void
a_frame_has_the_screen_s_lines_at_every_size_and_scrolls_to_the_chosen_row(void **state)
{
    struct buf out = { 0 };
    char name[16];

    (void)state;
    for (int i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof name, "c%02d", i);
        happened(CAUSE_INACTIVE, 1, name, "127.0.0.1:1", i * 1000);
    }
    for (unsigned lines = 0; lines < 40; lines++) {
        for (unsigned columns = 0; columns < 200; columns += columns < 30 ? 1 : 13) {
            struct watch_view v = { .lines = lines, .columns = columns, .selected = 55 };
            char *text = frame(&v, &out);

            assert_non_null(text);
            assert_true(lines_in(text) == (lines < 5 || columns < 24 ? 1 : lines));
            if (lines >= 5 && columns >= 40)
                assert_non_null(strstr(text, "c05")); /* the 55th of c59 c58 ... */
        }
    }
    buf_fini(&out);
}

static void
a_line_for_a_pipe_has_no_escape_sequences(void **state)
{
    struct timeline_record r;
    struct buf out = { 0 };

    (void)state;
    timeline_fill(&r, CAUSE_CA_UNKNOWN, NULL, "\033[31mred\n", "127.0.0.1:1", "", "issuer=%s",
        "CN=\033]0;title\a");
    watch_line(&r, &out);
    assert_non_null(strstr(buf_cstr(&out), "refused     connect.ca_unknown"));
    assert_non_null(strstr(buf_cstr(&out), "client=\\x1b[31mred\\x0a issuer=CN=\\x1b]0;title\\x07"));
    assert_null(memchr(out.ptr, 0x1b, out.len));
    assert_int_equal(lines_in(buf_cstr(&out)), 2);
    buf_fini(&out);
}

static void
keys_are_told_from_sequences_and_strange_ones_are_swallowed(void **state)
{
    static const struct {
        const char *bytes;
        int key;
        size_t used;
    } cases[] = { { "q", 'q', 1 }, { "\033[A", KEY_UP, 3 }, { "\033OB", KEY_DOWN, 3 },
        { "\033[5~q", KEY_PAGE_UP, 4 }, { "\033[1;5A", -1, 6 }, { "\033", KEY_ESCAPE, 1 },
        { "\033q", KEY_ESCAPE, 1 }, { "\033[", -1, 2 }, { "\033[12;", -1, 5 },
        { "\033[200~q", -1, 6 }, { "", 0, 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t used;

        assert_int_equal(screen_key_parse(span_str(cases[i].bytes), &used), cases[i].key);
        assert_int_equal(used, cases[i].used);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alike_ones_are_one_row_whatever_their_port, fresh),
        cmocka_unit_test_setup(
            changes_and_effects_are_not_counted_and_every_cause_has_a_kind, fresh),
        cmocka_unit_test_setup(when_rows_are_used_up_the_one_unchanged_longest_goes, fresh),
        cmocka_unit_test_setup(a_rate_is_the_mean_of_the_whole_seconds_before, fresh),
        cmocka_unit_test(a_cell_shows_hostile_text_harmlessly_within_its_width),
        cmocka_unit_test_setup(a_frame_tells_totals_rows_and_the_newest_refusals_cure, fresh),
        cmocka_unit_test_setup(
            a_frame_has_the_screen_s_lines_at_every_size_and_scrolls_to_the_chosen_row, fresh),
        cmocka_unit_test(a_line_for_a_pipe_has_no_escape_sequences),
        cmocka_unit_test(keys_are_told_from_sequences_and_strange_ones_are_swallowed),
    };

    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
