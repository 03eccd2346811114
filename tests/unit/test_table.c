/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry/table.c: many processes, one table. */
#include "registry/table.h"

#include "base/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[32];
    struct table *t;
};

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/bm-table-XXXXXX");
    *state = f;
    return mkdtemp(f->dir) != NULL && table_create(f->dir, 10, &f->t, NULL) == BM_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    enum bm_err err;

    table_close(f->t);
    err = dir_remove(f->dir, NULL);
    free(f);
    return err == BM_OK ? 0 : -1;
}

/* The low bits choose the slot, so that ids 0, 1<<20, 2<<20 collide. */
static struct table_entry
entry(unsigned n)
{
    struct table_entry e = { .status = 1, .policy_set = n, .not_after_ms = 5 * (int64_t)n };

    memset(e.id, 0x5a, sizeof e.id);
    for (size_t i = 0; i < 4; i++)
        e.id[i] = (uint8_t)(n >> (8 * i));
    return e;
}

static void
put(struct table *t, const struct table_entry *e)
{
    struct bm_msg msg;

    if (table_put(t, e, &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

static bool
has(struct table *t, unsigned n)
{
    struct table_entry e = entry(n);
    struct table_entry got;

    if (!table_get(t, e.id, &got))
        return false;
    assert_memory_equal(got.id, e.id, 32);
    assert_int_equal(got.policy_set, n);
    assert_true(got.not_after_ms == 5 * (int64_t)n);
    return true;
}

static void
entry_is_found_replaced_and_removed(void **state)
{
    struct fixture *f = *state;
    struct table_entry e = entry(7);
    struct table_entry got;

    assert_false(has(f->t, 7));
    put(f->t, &e);
    assert_true(has(f->t, 7));
    e.status = 6;
    put(f->t, &e);
    assert_int_equal(table_count(f->t), 1);
    assert_true(table_get(f->t, e.id, &got));
    assert_int_equal(got.status, 6);
    table_remove(f->t, e.id);
    table_remove(f->t, e.id);
    assert_false(has(f->t, 7));
    assert_int_equal(table_count(f->t), 0);
}

static void
removing_one_of_colliding_entries_keeps_the_others(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 4; i++) {
        struct table_entry e = entry(i << 20 | 1023); /* the last slot: the search wraps */

        put(f->t, &e);
    }
    table_remove(f->t, entry(1U << 20 | 1023).id);
    assert_true(has(f->t, 0U << 20 | 1023));
    assert_false(has(f->t, 1U << 20 | 1023));
    assert_true(has(f->t, 2U << 20 | 1023));
    assert_true(has(f->t, 3U << 20 | 1023));
    put(f->t, &(struct table_entry){ .id = { 0xff, 3 }, .status = 1 }); /* takes the tombstone */
    assert_true(has(f->t, 3U << 20 | 1023));
    assert_int_equal(table_count(f->t), 4);
}

static void
table_grows_and_forgets_nothing(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 0; n < 20000; n++) {
        struct table_entry e = entry(n * 7919);

        put(f->t, &e);
        if (n % 3 == 0)
            table_remove(f->t, e.id);
    }
    for (unsigned n = 0; n < 20000; n++)
        assert_int_equal(has(f->t, n * 7919), n % 3 != 0);
    assert_int_equal(table_count(f->t), 20000 - 6667);
}

static void
coming_and_going_for_ever_does_not_fill_the_table(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 0; n < 50000; n++) {
        struct table_entry e = entry(n);

        put(f->t, &e);
        table_remove(f->t, e.id);
    }
    assert_int_equal(table_count(f->t), 0);
    assert_false(has(f->t, 1));
}

static void
reader_attached_before_growth_sees_the_new_table(void **state)
{
    struct fixture *f = *state;
    struct table *reader = NULL;

    assert_int_equal(table_attach(f->dir, &reader, NULL), BM_OK);
    for (unsigned n = 0; n < 5000; n++) {
        struct table_entry e = entry(n);

        put(f->t, &e);
        assert_true(has(reader, n));
    }
    table_remove(f->t, entry(17).id);
    assert_false(has(reader, 17));
    assert_int_equal(table_put(reader, &(struct table_entry){ .status = 1 }, NULL), BM_ERR_ARG);
    table_close(reader);
}

static void
readers_of_a_dead_writer_move_to_the_table_of_the_next(void **state)
{
    struct fixture *f = *state;
    struct table *reader = NULL;
    struct table_entry e = entry(3);

    put(f->t, &e);
    assert_int_equal(table_attach(f->dir, &reader, NULL), BM_OK);
    table_close(f->t); /* as a crash leaves it: the file stays */
    assert_true(has(reader, 3));
    assert_int_equal(table_create(f->dir, 10, &f->t, NULL), BM_OK);
    assert_false(has(reader, 3));
    put(f->t, &e);
    assert_true(has(reader, 3));
    table_close(reader);
}

static void
overwrite(const char *path, off_t at, uint64_t value)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, sizeof value, at), sizeof value);
    (void)close(fd);
}

/* A growth that was cut down between its steps: new file, link, word to the readers. */
static void
reader_left_behind_by_a_crash_moves_on_too(void **state)
{
    struct fixture *f = *state;
    struct table *stuck = NULL;
    struct table *other = NULL;
    struct table_entry e = entry(3);
    char keep[64];
    char path[64];

    put(f->t, &e);
    assert_int_equal(table_attach(f->dir, &stuck, NULL), BM_OK);
    (void)snprintf(path, sizeof path, "%s/certs.1", f->dir);
    (void)snprintf(keep, sizeof keep, "%s/keep", f->dir);
    assert_int_equal(link(path, keep), 0);
    assert_int_equal(table_create(f->dir, 10, &other, NULL), BM_OK);
    assert_false(has(stuck, 3));
    table_close(stuck);
    /* back to before the old header was told: the file is there, its `next` (at 24) is 0 */
    assert_int_equal(rename(keep, path), 0);
    overwrite(path, 24, 0);
    stuck = f->t; /* still maps that file */
    assert_true(has(stuck, 3));
    table_close(other);
    assert_int_equal(table_create(f->dir, 10, &other, NULL), BM_OK);
    assert_false(has(stuck, 3));
    assert_int_equal(access(path, F_OK), -1);
    put(other, &e);
    table_close(other);
}

static void
second_writer_is_kept_out_and_takes_no_reader_away(void **state)
{
    struct fixture *f = *state;
    struct table *reader = NULL;
    struct table_entry e = entry(3);
    int status = -1;
    pid_t pid;

    put(f->t, &e);
    assert_int_equal(table_attach(f->dir, &reader, NULL), BM_OK);
    pid = fork(); /* the lock is one of the process */
    if (pid == 0) {
        struct table *other = NULL;
        struct bm_msg msg;
        enum bm_err err = table_create(f->dir, 10, &other, &msg);

        _exit(err == BM_ERR_CONFLICT && strstr(msg.text, f->dir) != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(has(reader, 3));
    table_close(reader);
}

static void
reader_that_cannot_follow_answers_none(void **state)
{
    struct fixture *f = *state;
    struct table *reader = NULL;
    struct table_entry e = entry(0);
    char path[64];

    put(f->t, &e);
    assert_int_equal(table_attach(f->dir, &reader, NULL), BM_OK);
    assert_true(has(reader, 0));
    for (unsigned n = 1; n < 1000; n++) {
        e = entry(n);
        put(f->t, &e);
    }
    (void)snprintf(path, sizeof path, "%s/certs", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_false(has(reader, 0)); /* it would be an answer of the past */
    table_close(reader);
}

static void
file_that_is_no_table_is_refused(void **state)
{
    static const char *const contents[] = { "", "short", "bmtable1" };
    struct fixture *f = *state;
    char path[64];

    (void)snprintf(path, sizeof path, "%s/certs", f->dir);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        struct table *reader = NULL;
        uint8_t file[256] = { 0 };

        memcpy(file, contents[i], strlen(contents[i]));
        memset(file + 8, 0xff, 8); /* a capacity beyond the file */
        assert_int_equal(unlink(path), 0);
        assert_int_equal(
            file_write(path, span_of(file, i == 2 ? sizeof file : strlen(contents[i])), 0600, NULL),
            BM_OK);
        assert_int_equal(table_attach(f->dir, &reader, NULL), BM_ERR_INPUT);
    }
}

enum { HOT = 8, ROUNDS = 300000 };

/* policy_set, not_after and status of the hot entries always belong together. */
static struct table_entry
hot_entry(unsigned n, unsigned round)
{
    struct table_entry e = entry(n << 20 | 5); /* all in one run of slots */

    e.policy_set = round;
    e.not_after_ms = (int64_t)round << 32 | round;
    e.status = (uint8_t)(round % 251);
    return e;
}

/* Hammer until the writer is done; exit status 0 when no entry was ever torn, lost or older than
 * seen before. */
static int
hammer(struct table *t)
{
    unsigned last[HOT] = { 0 };
    bool done = false;

    while (!done) {
        done = true;
        for (unsigned n = 0; n < HOT; n++) {
            struct table_entry want = hot_entry(n, 0);
            struct table_entry got;

            if (!table_get(t, want.id, &got))
                return 2;
            want = hot_entry(n, got.policy_set);
            if (memcmp(got.id, want.id, 32) != 0 || got.status != want.status ||
                got.not_after_ms != want.not_after_ms)
                return 3;
            if (got.policy_set < last[n])
                return 4;
            last[n] = got.policy_set;
            done = done && got.policy_set == ROUNDS;
        }
    }
    return 0;
}

static pid_t
start_reader(struct fixture *f, bool attach, int ready)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct table *t = f->t; /* inherited, as workers have it */

        (void)alarm(60);
        if (attach && table_attach(f->dir, &t, NULL) != BM_OK)
            _exit(9);
        if (write(ready, "r", 1) != 1)
            _exit(8);
        _exit(hammer(t));
    }
    return pid;
}

static void
readers_never_see_a_torn_entry_while_the_writer_writes_and_grows(void **state)
{
    struct fixture *f = *state;
    pid_t pids[2];
    int ready[2];
    char c;

    assert_int_equal(pipe(ready), 0);
    for (unsigned n = 0; n < HOT; n++) {
        struct table_entry e = hot_entry(n, 1);

        put(f->t, &e);
    }
    for (size_t i = 0; i < 2; i++) {
        pids[i] = start_reader(f, i == 0, ready[1]);
        assert_true(pids[i] > 0);
        assert_int_equal(read(ready[0], &c, 1), 1);
    }
    for (unsigned round = 2; round <= ROUNDS; round++) {
        struct table_entry fill = entry(1U << 30 | round);

        for (unsigned n = 0; n < HOT; n++) {
            struct table_entry e = hot_entry(n, round);

            put(f->t, &e);
        }
        if (round % 32 == 0)
            put(f->t, &fill); /* makes it grow several times */
    }
    for (size_t i = 0; i < 2; i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    (void)close(ready[0]);
    (void)close(ready[1]);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(entry_is_found_replaced_and_removed),
        TEST(removing_one_of_colliding_entries_keeps_the_others),
        TEST(table_grows_and_forgets_nothing),
        TEST(coming_and_going_for_ever_does_not_fill_the_table),
        TEST(reader_attached_before_growth_sees_the_new_table),
        TEST(readers_of_a_dead_writer_move_to_the_table_of_the_next),
        TEST(reader_left_behind_by_a_crash_moves_on_too),
        TEST(second_writer_is_kept_out_and_takes_no_reader_away),
        TEST(reader_that_cannot_follow_answers_none),
        TEST(file_that_is_no_table_is_refused),
        TEST(readers_never_see_a_torn_entry_while_the_writer_writes_and_grows),
    };

    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
