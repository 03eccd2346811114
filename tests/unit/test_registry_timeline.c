/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: the timeline. */
#include "registry/store.h"

#include "registry_world.h"
#include <sys/wait.h>
#include <unistd.h>

struct recorded {
    size_t count;
    char text[TIMELINE_FACTS_MAX + 1];
};

static void
count_record(void *arg, const struct timeline_record *rec)
{
    struct recorded *n = arg;

    n->count++;
    (void)snprintf(n->text, sizeof n->text, "%s", rec->facts);
}

static void
timeline_keeps_the_newest_records(void **state)
{
    struct fixture *f = *state;
    struct registry_options o = { .dir = f->dir, .timeline_max = 1000 };
    struct timeline_record rec;
    struct recorded n = { 0 };

    registry_close(f->r);
    f->r = NULL;
    OK(f, registry_open(&o, &f->r, &f->msg));
    for (int i = 0; i < 3000; i++) {
        timeline_fill(&rec, CAUSE_ADMITTED, NULL, "c", NULL, NULL, "n=%d", i);
        OK(f, registry_record(f->r, &rec, &f->msg));
    }
    OK(f, registry_timeline_recent(f->r, 10000, count_record, &n, &f->msg));
    assert_in_range(n.count, 1000, 1256);
    assert_string_equal(n.text, "n=2999");
    n.count = 0;
    OK(f, registry_timeline_client(f->r, "c", 10000, count_record, &n, &f->msg));
    assert_in_range(n.count, 1000, 1256);
}

static void
a_time_is_found_in_the_timeline_whatever_rows_are_gone(void **state)
{
    struct fixture *f = *state;
    struct timeline_record rec;
    int64_t row;

    OK(f, registry_timeline_since(f->r, 5, &row, &f->msg));
    assert_int_equal(row, 0);
    for (int i = 1; i <= 100; i++) {
        timeline_fill(&rec, CAUSE_ADMITTED, NULL, "c", NULL, NULL, NULL);
        rec.time_ms = 1000 * (i / 2); /* two of each time */
        OK(f, registry_record(f->r, &rec, &f->msg));
    }
    for (int gone = 0; gone < 2; gone++) {
        for (int64_t ms = gone == 0 ? 0 : 12000; ms <= 51000; ms += 500) {
            int64_t first = 2 * ((ms + 999) / 1000); /* the first row of this time or later */

            OK(f, registry_timeline_since(f->r, ms, &row, &f->msg));
            assert_int_equal(row, first > 101 ? 100 : first > 1 ? first - 1 : 0);
        }
        OK(f, db_change(f->r, "DELETE FROM timeline WHERE row <= 20", NULL, 0, NULL, &f->msg));
    }
    OK(f, registry_timeline_since(f->r, 0, &row, &f->msg));
    assert_int_equal(row, 20);
}

static void
a_reader_sees_what_was_committed_since_and_whether_somebody_writes(void **state)
{
    struct fixture *f = *state;
    const struct registry_options ro = { .dir = f->dir, .read_only = true };
    struct registry *reader = NULL;
    int64_t row;
    int status;
    pid_t other;

    record(f, CAUSE_ADMITTED, NULL, "a", "");
    OK(f, registry_commit(f->r, &f->msg));
    OK(f, registry_open(&ro, &reader, &f->msg));
    OK(f, registry_timeline_last(reader, &row, &f->msg));
    assert_int_equal(row, 1);
    record(f, CAUSE_ADMITTED, NULL, "b", "");
    OK(f, registry_commit(f->r, &f->msg));
    OK(f, registry_timeline_last(reader, &row, &f->msg));
    assert_int_equal(row, 1); /* one state, until asked to look again */
    OK(f, registry_refresh(reader, &f->msg));
    OK(f, registry_timeline_last(reader, &row, &f->msg));
    assert_int_equal(row, 2);
    registry_close(reader);
    /* the lock is a process's own, so another one has to ask */
    for (int open = 1; open >= 0; open--) {
        other = fork();
        if (other == 0)
            _exit(registry_written(f->dir) ? 1 : 0);
        assert_int_equal(waitpid(other, &status, 0), other);
        assert_int_equal(status, open << 8);
        registry_close(f->r);
        f->r = NULL;
    }
    assert_false(registry_written("/nonexistent"));
}

static void
timeline_is_read_by_certificate_by_client_and_by_time(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    uint8_t one[32];
    uint8_t two[32];

    make_id(one, 1);
    make_id(two, 1);
    two[31] = 0; /* same first 8 bytes */
    assert_int_equal(
        registry_timeline_recent(f->r, 10, see_record, &names, &f->msg), BM_ERR_NOT_FOUND);
    record(f, CAUSE_REGISTERED_JITR, one, NULL, "a");
    record(f, CAUSE_REGISTERED_JITR, two, NULL, "b");
    record(f, CAUSE_PENDING, one, "dev", "c");
    record(f, CAUSE_NO_CERTIFICATE, NULL, "dev", "d");
    record(f, CAUSE_ADMITTED, two, "other", "e");
    record(f, CAUSE_TLS, NULL, NULL, "f");
    OK(f, registry_timeline_cert(f->r, one, 10, see_record, &names, &f->msg));
    assert_string_equal(names.text, "a c ");
    names.text[0] = '\0';
    OK(f, registry_timeline_client(f->r, "dev", 10, see_record, &names, &f->msg));
    assert_string_equal(names.text, "a c d "); /* with what happened to its certificate before */
    names.text[0] = '\0';
    OK(f, registry_timeline_client(f->r, "dev", 2, see_record, &names, &f->msg));
    assert_string_equal(names.text, "c d "); /* the last ones, oldest first */
    names.text[0] = '\0';
    OK(f, registry_timeline_recent(f->r, 3, see_record, &names, &f->msg));
    assert_string_equal(names.text, "d e f ");
    assert_int_equal(
        registry_timeline_client(f->r, "nobody", 9, see_record, &names, NULL), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_timeline_client(f->r, "", 9, see_record, &names, NULL), BM_ERR_ARG);
    make_id(one, 3);
    assert_int_equal(
        registry_timeline_cert(f->r, one, 9, see_record, &names, NULL), BM_ERR_NOT_FOUND);
}

static void
timeline_is_read_by_prefix_by_address_and_by_class(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    struct timeline_record rec;
    char hex[65];
    uint8_t one[32];
    uint8_t two[32];
    uint8_t got[32];

    make_id(one, 1);
    make_id(two, 1);
    two[31] ^= 0x10; /* the last digit but one differs */
    hex_encode(hex, one, sizeof one);
    assert_int_equal(registry_timeline_prefix(f->r, "0", got, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_timeline_newest(f->r, CAUSE_REFUSE, &rec, &f->msg), BM_ERR_NOT_FOUND);

    record(f, CAUSE_PENDING, one, "dev", "a");
    hex[5] = '\0'; /* an odd number of digits */
    OK(f, registry_timeline_prefix(f->r, hex, got, &f->msg));
    assert_memory_equal(got, one, sizeof got);
    record(f, CAUSE_ADMITTED, two, "dev", "b");
    assert_int_equal(registry_timeline_prefix(f->r, hex, got, &f->msg), BM_ERR_EXISTS);
    hex_encode(hex, two, sizeof two);
    OK(f, registry_timeline_prefix(f->r, hex, got, &f->msg));
    assert_memory_equal(got, two, sizeof got);
    assert_int_equal(registry_timeline_prefix(f->r, "xyz", got, &f->msg), BM_ERR_INPUT);
    assert_int_equal(registry_timeline_prefix(f->r, "", got, &f->msg), BM_ERR_INPUT);

    OK(f, registry_timeline_newest(f->r, CAUSE_REFUSE, &rec, &f->msg));
    assert_string_equal(rec.facts, "a");
    OK(f, registry_timeline_newest(f->r, CAUSE_ACCEPT, &rec, &f->msg));
    assert_string_equal(rec.facts, "b");

    timeline_fill(&rec, CAUSE_TLS, NULL, NULL, "[::1]:77", NULL, "c");
    OK(f, registry_record(f->r, &rec, &f->msg));
    OK(f, registry_timeline_peer(f->r, "127.0.0.1", 9, see_record, &names, &f->msg));
    assert_string_equal(names.text, "a b ");
    names.text[0] = '\0';
    OK(f, registry_timeline_peer(f->r, "[::1]", 9, see_record, &names, &f->msg));
    OK(f, registry_timeline_peer(f->r, "[::1]:77", 9, see_record, &names, &f->msg));
    assert_string_equal(names.text, "c c ");
    assert_int_equal(registry_timeline_peer(f->r, "127.0.0.1:11", 9, see_record, &names, NULL),
        BM_ERR_NOT_FOUND);
    assert_int_equal(
        registry_timeline_peer(f->r, "127.0.0", 9, see_record, &names, NULL), BM_ERR_NOT_FOUND);
}

static void
keep_record(void *arg, const struct timeline_record *rec)
{
    *(struct timeline_record *)arg = *rec;
}

static void
record_comes_back_as_written(void **state)
{
    struct fixture *f = *state;
    struct timeline_record rec;
    struct timeline_record got;
    uint8_t id[32];

    make_id(id, 8);
    for (int c = 1; c < CAUSE_COUNT; c++) {
        timeline_fill(
            &rec, (enum cause)c, id, "Ger\xc3\xa4t", "1.2.3.4:5", "REVOKED", "a=%d b='", c);
        OK(f, registry_record(f->r, &rec, &f->msg));
        OK(f, registry_timeline_recent(f->r, 1, keep_record, &got, &f->msg));
        assert_int_equal(got.cause, c);
        assert_true(got.time_ms == rec.time_ms);
        assert_memory_equal(got.cert_id, id, 32);
        assert_string_equal(got.client_id, rec.client_id);
        assert_string_equal(got.peer, rec.peer);
        assert_string_equal(got.status, rec.status);
        assert_string_equal(got.facts, rec.facts);
    }
}

/* A file may have been written by a later version with more causes. */
static void
record_with_a_cause_of_later_days_is_shown_with_its_id(void **state)
{
    struct fixture *f = *state;
    struct timeline_record got;

    record(f, CAUSE_ADMITTED, NULL, "c", "x=1");
    assert_int_equal(
        sqlite3_exec(f->r->db, "UPDATE timeline SET cause = 'moon.full'", NULL, NULL, NULL),
        SQLITE_OK);
    OK(f, registry_timeline_recent(f->r, 1, keep_record, &got, &f->msg));
    assert_int_equal(got.cause, CAUSE_NONE);
    assert_string_equal(got.facts, "cause=moon.full x=1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(timeline_keeps_the_newest_records),
        TEST(a_time_is_found_in_the_timeline_whatever_rows_are_gone),
        TEST(a_reader_sees_what_was_committed_since_and_whether_somebody_writes),
        TEST(timeline_is_read_by_certificate_by_client_and_by_time),
        TEST(timeline_is_read_by_prefix_by_address_and_by_class),
        TEST(record_comes_back_as_written),
        TEST(record_with_a_cause_of_later_days_is_shown_with_its_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
