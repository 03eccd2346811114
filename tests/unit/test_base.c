/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/base: cursors, buffers, text codings, files, the event loop. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void
failed_read_sticks_and_gives_zero(void **state)
{
    const uint8_t in[] = { 1, 2, 3 };
    struct rd r = rd_of(SPAN(in));

    (void)state;
    assert_int_equal(rd_u16(&r), 0x0102);
    assert_int_equal(rd_u16(&r), 0);
    assert_true(r.failed);
    assert_int_equal(rd_u8(&r), 0);
    assert_false(rd_done(&r));
}

static void
write_without_room_changes_nothing_more(void **state)
{
    uint8_t out[3] = { 9, 9, 9 };
    struct wr w = wr_of(out, sizeof out);

    (void)state;
    wr_u16(&w, 0xabcd);
    wr_u16(&w, 0x1234);
    wr_u8(&w, 7);
    assert_true(w.failed);
    assert_int_equal(wr_len(&w), 2);
    assert_int_equal(out[2], 9);
}

static void
integers_round_trip_big_endian(void **state)
{
    uint8_t out[15];
    struct wr w = wr_of(out, sizeof out);
    struct rd r;

    (void)state;
    wr_u8(&w, 0xfe);
    wr_u16(&w, 0xfedc);
    wr_u32(&w, 0xfedcba98);
    wr_u64(&w, 0xfedcba9876543210);
    assert_false(w.failed);
    r = rd_of(SPAN(out));
    assert_int_equal(rd_u8(&r), 0xfe);
    assert_int_equal(rd_u16(&r), 0xfedc);
    assert_int_equal(rd_u32(&r), 0xfedcba98);
    assert_true(rd_u64(&r) == 0xfedcba9876543210);
    assert_true(rd_done(&r));
}

static void
hex_refuses_odd_length_and_other_digits(void **state)
{
    uint8_t out[2];
    char text[5];

    (void)state;
    assert_int_equal(hex_decode(out, 2, span_str("aBfF")), BM_OK);
    hex_encode(text, out, 2);
    assert_string_equal(text, "abff");
    assert_int_equal(hex_decode(out, 2, span_str("abf")), BM_ERR_INPUT);
    assert_int_equal(hex_decode(out, 2, span_str("abfg")), BM_ERR_INPUT);
    assert_int_equal(hex_decode(out, 2, span_str("abff0")), BM_ERR_INPUT);
}

/* Written without branches: every character there is must still be judged right. */
static void
hex_knows_all_digits_and_nothing_else(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const uint8_t text[] = { '5', (uint8_t)c };
        char back[3];
        uint8_t out = 0;
        bool digit = c != 0 && strchr("0123456789abcdefABCDEF", c) != NULL;

        assert_int_equal(hex_decode(&out, 1, SPAN(text)), digit ? BM_OK : BM_ERR_INPUT);
        if (!digit)
            continue;
        assert_int_equal(out, 0x50 + strtol((char[]){ (char)c, '\0' }, NULL, 16));
        hex_encode(back, &out, 1);
        assert_int_equal(strtol(back, NULL, 16), out);
        assert_null(strpbrk(back, "ABCDEF"));
    }
}

static void
constant_time_order_is_that_of_numbers(void **state)
{
    static const uint8_t sorted[][3] = { { 0, 0, 0 }, { 0, 0, 1 }, { 0, 1, 0 }, { 0, 255, 255 },
        { 1, 0, 0 }, { 127, 255, 0 }, { 128, 0, 255 }, { 255, 255, 254 }, { 255, 255, 255 } };
    const size_t count = sizeof sorted / sizeof *sorted;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(bm_less_ct(sorted[i], sorted[k], 3), i < k);
            assert_int_equal(bm_equal_ct(sorted[i], sorted[k], 3), i == k);
        }
    }
}

static void
base64_matches_rfc4648_and_refuses_the_rest(void **state)
{
    /* RFC 4648, section 10 */
    static const char *const cases[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
        { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" } };
    static const char *const wrong[] = { "Zg=", "Zg",
        "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 8" };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf a = { 0 };
        struct buf b = { 0 };

        assert_int_equal(base64_encode(&a, span_str(cases[i][0])), BM_OK);
        assert_true(span_eq(buf_span(&a), span_str(cases[i][1])));
        assert_int_equal(base64_decode(&b, span_str(cases[i][1])), BM_OK);
        assert_true(span_eq(buf_span(&b), span_str(cases[i][0])));
        buf_fini(&a);
        buf_fini(&b);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct buf b = { 0 };

        assert_int_equal(base64_decode(&b, span_str(wrong[i])), BM_ERR_INPUT);
        buf_fini(&b);
    }
}

static void
json_string_has_ascii_only_and_no_bare_quote(void **state)
{
    struct buf b = { 0 };

    (void)state;
    buf_add_json(&b, "a \"b\" \\ \n\x7f\xc3\xa9");
    assert_string_equal(buf_cstr(&b), "\"a \\\"b\\\" \\\\ \\u000a\\u007f\\u00c3\\u00a9\"");
    buf_fini(&b);
}

static void
file_is_replaced_whole_and_a_folder_removed_with_all_in_it(void **state)
{
    char dir[] = "/tmp/bm-test-XXXXXX";
    char path[64];
    struct buf b = { 0 };
    struct bm_msg msg;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/a/b", dir);
    assert_int_equal(dir_make(path, 0700, &msg), BM_OK);
    (void)snprintf(path, sizeof path, "%s/a/b/f", dir);
    assert_int_equal(file_write(path, span_str("one"), 0600, &msg), BM_OK);
    assert_int_equal(file_write(path, span_str("second"), 0600, &msg), BM_OK);
    assert_int_equal(file_read(path, 6, &b, &msg), BM_OK);
    assert_true(span_eq(buf_span(&b), span_str("second")));
    assert_int_equal(file_read(path, 5, &b, &msg), BM_ERR_LIMIT);
    assert_int_equal(dir_remove(dir, &msg), BM_OK);
    assert_int_equal(access(dir, F_OK), -1);
    buf_fini(&b);
}

static void
file_written_beside_a_planted_link_does_not_follow_it(void **state)
{
    char dir[] = "/tmp/bm-test-XXXXXX";
    char path[64];
    char planted[96];
    char victim[64];
    struct stat st;
    struct bm_msg msg;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/f", dir);
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    (void)snprintf(planted, sizeof planted, "%s.tmp.%ld", path, (long)getpid());
    assert_int_equal(symlink(victim, planted), 0);
    assert_int_equal(file_write(path, span_str("secret"), 0600, &msg), BM_OK);
    assert_int_equal(lstat(victim, &st), -1);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(dir_remove(dir, &msg), BM_OK);
}

struct seen {
    struct loop *loop;
    char order[16];
    size_t len;
    struct loop_watch *watch;
    struct loop_timer *cancelled;
    int fd;
};

static void
note(struct seen *s, char c)
{
    s->order[s->len++] = c;
}

static void
on_late(void *arg)
{
    note(arg, 'c');
    loop_stop(((struct seen *)arg)->loop);
}

static void
on_early(void *arg)
{
    struct seen *s = arg;

    note(s, 'b');
    loop_cancel(s->loop, s->cancelled);
}

static void
on_readable(void *arg, uint32_t events)
{
    struct seen *s = arg;

    (void)events;
    note(s, 'a');
    loop_remove(s->loop, s->watch); /* still readable: would be called again for ever */
}

static void
loop_runs_descriptors_and_timers_in_order_and_forgets_what_is_removed(void **state)
{
    struct seen s = { 0 };
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_new(&s.loop), BM_OK);
    s.watch = loop_add(s.loop, fds[0], EPOLLIN, on_readable, &s);
    assert_non_null(loop_after(s.loop, 30, on_late, &s));
    assert_non_null(loop_after(s.loop, 10, on_early, &s));
    s.cancelled = loop_after(s.loop, 20, on_late, &s);
    assert_int_equal(loop_run(s.loop), BM_OK);
    assert_string_equal(s.order, "abc");
    loop_free(s.loop);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_read_sticks_and_gives_zero),
        cmocka_unit_test(write_without_room_changes_nothing_more),
        cmocka_unit_test(integers_round_trip_big_endian),
        cmocka_unit_test(hex_refuses_odd_length_and_other_digits),
        cmocka_unit_test(hex_knows_all_digits_and_nothing_else),
        cmocka_unit_test(constant_time_order_is_that_of_numbers),
        cmocka_unit_test(base64_matches_rfc4648_and_refuses_the_rest),
        cmocka_unit_test(json_string_has_ascii_only_and_no_bare_quote),
        cmocka_unit_test(file_is_replaced_whole_and_a_folder_removed_with_all_in_it),
        cmocka_unit_test(file_written_beside_a_planted_link_does_not_follow_it),
        cmocka_unit_test(loop_runs_descriptors_and_timers_in_order_and_forgets_what_is_removed),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
