/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: opening, groups and commits, full disk, kill -9, the snapshot. */
#include "base/file.h"
#include "registry/store.h"
#include "registry_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
registration_code_is_stable_until_deleted(void **state)
{
    struct fixture *f = *state;
    char first[65];
    char again[65];

    OK(f, registry_code_get(f->r, first, &f->msg));
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_code_get(f->r, again, &f->msg));
    assert_string_equal(first, again);
    OK(f, registry_code_delete(f->r, &f->msg));
    assert_int_equal(registry_code_delete(f->r, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_code_get(f->r, again, &f->msg));
    assert_string_not_equal(first, again);
}

static void
group_undone_leaves_the_rest_of_the_open_group(void **state)
{
    struct fixture *f = *state;
    struct registry_cert c;
    uint8_t id[32];

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_begin(f->r, &f->msg));
    assert_int_equal(registry_begin(f->r, NULL), BM_ERR_ARG);
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg));
    assert_int_equal(insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg), BM_ERR_EXISTS);
    assert_int_equal(status_of(f, 2), CERT_ACTIVE); /* the failed one undid only itself */
    assert_int_equal(registry_commit(f->r, NULL), BM_ERR_ARG);
    OK(f, registry_end(f->r, false, &f->msg));
    assert_int_equal(registry_end(f->r, false, NULL), BM_ERR_ARG);
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 1);
    assert_int_equal(status_of(f, 1), CERT_ACTIVE);
    make_id(id, 2);
    assert_int_equal(registry_cert_get(f->r, id, &c, &f->msg), BM_ERR_NOT_FOUND);
}

static void
certificate_touched_often_in_a_group_is_reported_once(void **state)
{
    struct fixture *f = *state;
    struct table_entry e;
    uint8_t id[32];

    make_id(id, 5);
    OK(f, registry_begin(f->r, &f->msg));
    OK(f, insert_cert(f->r, 5, CERT_PENDING_ACTIVATION, NULL, &f->msg));
    OK(f, insert_cert(f->r, 6, CERT_PENDING_ACTIVATION, NULL, &f->msg));
    OK(f, registry_cert_set_status(f->r, id, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_cert_set_status(f->r, id, CERT_REVOKED, NULL, &f->msg));
    OK(f, registry_end(f->r, true, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 2);
    assert_true(table_get(f->table, id, &e));
    assert_int_equal(e.status, CERT_REVOKED);
    OK(f, registry_cert_delete(f->r, id, false, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_false(table_get(f->table, id, &e));
    assert_int_equal(f->changed, 3);
    OK(f, registry_commit(f->r, &f->msg)); /* nothing open: nothing happens */
    assert_int_equal(f->changed, 3);
}

static int
refuse_commit(void *arg)
{
    (void)arg;
    return 1;
}

static void
failed_commit_takes_the_whole_group_back(void **state)
{
    struct fixture *f = *state;
    struct registry_cert c;
    struct table_entry e;
    uint8_t one[32];
    uint8_t two[32];

    make_id(one, 1);
    make_id(two, 2);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    (void)sqlite3_commit_hook(f->r->db, refuse_commit, NULL);
    OK(f, registry_cert_set_status(f->r, one, CERT_REVOKED, NULL, &f->msg));
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg));
    assert_int_equal(registry_commit(f->r, &f->msg), BM_ERR_IO);
    (void)sqlite3_commit_hook(f->r->db, NULL, NULL);
    assert_int_equal(f->changed, 1);
    assert_int_equal(status_of(f, 1), CERT_ACTIVE);
    assert_int_equal(registry_cert_get(f->r, two, &c, NULL), BM_ERR_NOT_FOUND);
    assert_true(table_get(f->table, one, &e));
    assert_int_equal(e.status, CERT_ACTIVE);
    assert_false(table_get(f->table, two, &e));
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg)); /* the store goes on */
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_get(f->table, two, &e));
    assert_int_equal(f->changed, 2);
}

/* Let no file grow beyond `bytes`, as a full disk would; SIGXFSZ is ignored. */
static void
limit_files(rlim_t bytes)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes == RLIM_INFINITY ? l.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Fill a group of `count` certificates while the disk has no room for it. */
static void
fill_the_disk(struct fixture *f, unsigned count)
{
    struct registry_cert c;
    struct table_entry e;
    struct stat st;
    char path[64];
    enum bm_err err = BM_OK;
    uint8_t id[32];

    (void)signal(SIGXFSZ, SIG_IGN);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    (void)snprintf(path, sizeof path, "%s/registry.db-wal", f->dir);
    assert_int_equal(stat(path, &st), 0);
    limit_files((rlim_t)st.st_size + 5000);
    for (unsigned n = 100; n < 100 + count && err == BM_OK; n++)
        err = insert_cert(f->r, n, CERT_ACTIVE, NULL, &f->msg);
    assert_int_equal(err, count < 1000 ? BM_OK : BM_ERR_IO);
    if (err != BM_OK) /* what follows in the group is refused too */
        assert_int_equal(insert_cert(f->r, 3, CERT_ACTIVE, NULL, &f->msg), BM_ERR_IO);
    err = registry_commit(f->r, &f->msg);
    limit_files(RLIM_INFINITY);
    assert_int_equal(err, BM_ERR_IO);
    assert_int_equal(f->changed, 1);
    make_id(id, 100);
    assert_int_equal(registry_cert_get(f->r, id, &c, NULL), BM_ERR_NOT_FOUND);
    assert_false(table_get(f->table, id, &e));
    OK(f, insert_cert(f->r, 100, CERT_ACTIVE, NULL, &f->msg)); /* room again */
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    assert_int_equal(status_of(f, 1), CERT_ACTIVE);
    assert_int_equal(status_of(f, 100), CERT_ACTIVE);
}

static void
disk_full_at_commit_loses_the_group_and_says_so(void **state)
{
    fill_the_disk(*state, 5);
}

static void
disk_full_in_the_middle_loses_the_group_and_says_so(void **state)
{
    fill_the_disk(*state, 100000); /* beyond the page cache */
}

static void
table_that_cannot_grow_catches_up_after_the_next_commit(void **state)
{
    struct fixture *f = *state;
    struct table_entry e;
    char path[64];
    uint8_t id[32];

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    (void)snprintf(path, sizeof path, "%s/certs.link", f->dir); /* where the new link would stand */
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned n = 2; n < 1000; n++)
        OK(f, insert_cert(f->r, n, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_cert_set_status(f->r, id, CERT_REVOKED, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_count(f->table) < 999);
    assert_true(table_get(f->table, id, &e)); /* a known one needs no room */
    assert_int_equal(e.status, CERT_REVOKED);
    (void)sqlite3_commit_hook(f->r->db, refuse_commit, NULL);
    OK(f, insert_cert(f->r, 1000, CERT_ACTIVE, NULL, &f->msg));
    assert_int_equal(registry_commit(f->r, &f->msg), BM_ERR_IO); /* forgets its own only */
    (void)sqlite3_commit_hook(f->r->db, NULL, NULL);
    assert_int_equal(rmdir(path), 0);
    OK(f, insert_cert(f->r, 1000, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(table_count(f->table), 1000);
}

static void
close_commits_the_open_group(void **state)
{
    struct fixture *f = *state;

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    reopen(f);
    assert_int_equal(status_of(f, 1), CERT_ACTIVE);
}

static void
second_writer_is_kept_out_and_a_reader_let_in(void **state)
{
    struct fixture *f = *state;
    int status = -1;
    pid_t pid;

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg)); /* not committed */
    pid = fork();                                            /* the lock is one of the process */
    if (pid == 0) {
        struct registry_options o = { .dir = f->dir };
        struct registry *r = NULL;
        struct registry_cert c;
        struct bm_msg msg;
        char code[65];
        uint8_t id[32];

        if (registry_open(&o, &r, &msg) != BM_ERR_CONFLICT || strstr(msg.text, f->dir) == NULL)
            _exit(1);
        o.read_only = true;
        if (registry_open(&o, &r, &msg) != BM_OK)
            _exit(2);
        make_id(id, 1);
        if (registry_cert_get(r, id, &c, &msg) != BM_OK)
            _exit(3);
        registry_cert_fini(&c);
        make_id(id, 2);
        if (registry_cert_get(r, id, &c, &msg) != BM_ERR_NOT_FOUND)
            _exit(4);
        if (insert_cert(r, 3, CERT_ACTIVE, NULL, &msg) != BM_ERR_ARG)
            _exit(5);
        if (registry_code_get(r, code, &msg) != BM_ERR_NOT_FOUND)
            _exit(6);
        registry_close(r);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    OK(f, registry_commit(f->r, &f->msg));
}

static void
reader_opens_a_store_that_nobody_writes(void **state)
{
    struct fixture *f = *state;
    struct registry_options o = { .dir = f->dir, .read_only = true };
    struct registry_cert c;
    struct registry *r = NULL;
    uint8_t id[32];

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    registry_close(f->r);
    f->r = NULL;
    OK(f, registry_open(&o, &r, &f->msg));
    make_id(id, 1);
    OK(f, registry_cert_get(r, id, &c, &f->msg));
    registry_cert_fini(&c);
    registry_close(r);
    o.dir = "/nonexistent/birthmark";
    assert_int_equal(registry_open(&o, &r, &f->msg), BM_ERR_NOT_FOUND);
    assert_non_null(strstr(f->msg.text, "/nonexistent/birthmark"));
}

static void
newer_or_damaged_file_is_refused_with_words(void **state)
{
    struct fixture *f = *state;
    struct registry_options o = { .dir = f->dir };
    struct registry *r = NULL;
    char path[64];

    assert_int_equal(
        sqlite3_exec(f->r->db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    registry_close(f->r);
    f->r = NULL;
    assert_int_equal(registry_open(&o, &r, &f->msg), BM_ERR_CONFLICT);
    assert_non_null(strstr(f->msg.text, "version 99"));
    (void)snprintf(path, sizeof path, "%s/registry.db", f->dir);
    OK(f, file_write(path, span_str("this is no database, but long enough to be read as one"), 0600,
              &f->msg));
    assert_int_equal(registry_open(&o, &r, &f->msg), BM_ERR_IO);
    assert_non_null(strstr(f->msg.text, "registry.db"));
}

/* The tables of version 1, with a policy in them. */
static void
a_registry_of_version_1_is_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    struct registry_options o = { .dir = f->dir };
    struct registry_policy p = { 0 };
    struct registry *r = NULL;

    OK(f, registry_policy_create(f->r, "old", span_str("{old}"), &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(sqlite3_exec(f->r->db,
                         "DROP TABLE policy_versions; DROP TABLE group_attachments;"
                         "DROP TABLE group_members; DROP TABLE thing_groups;"
                         "DROP TABLE thing_principals; DROP TABLE thing_attributes;"
                         "DROP TABLE things; DROP TABLE thing_types; DROP TABLE tags;"
                         "DROP TABLE retained;"
                         "DROP TABLE republished;"
                         "DROP TABLE destinations;"
                         "DROP TABLE dead_letters;"
                         "DROP INDEX invocations_function;"
                         "ALTER TABLE policies DROP COLUMN last_version;"
                         "PRAGMA user_version = 1",
                         NULL, NULL, NULL),
        SQLITE_OK);
    registry_close(f->r);
    f->r = NULL;
    OK(f, registry_open(&o, &r, &f->msg));
    OK(f, registry_policy_version_get(r, "old", 1, &p, &f->msg));
    assert_true(p.is_default);
    assert_true(span_eq(buf_span(&p.document), span_str("{old}")));
    registry_policy_fini(&p);
    registry_close(r);
}

static void
read_inside(void *arg, const struct registry_cert *c)
{
    struct fixture *f = arg;
    struct registry_page page = { .marker = "", .limit = 3 };
    struct seen s = { 0 };
    struct registry_cert again;

    OK(f, registry_cert_list(f->r, NULL, &page, see_cert, &s, &f->msg)); /* the same statement */
    assert_int_equal(s.count, 3);
    OK(f, registry_cert_get(f->r, c->id, &again, &f->msg));
    registry_cert_fini(&again);
    f->changed++;
}

static void
callback_may_read_the_same_list(void **state)
{
    struct fixture *f = *state;
    struct registry_page page = { .marker = "", .limit = 10 };

    for (unsigned n = 0; n < 4; n++)
        OK(f, insert_cert(f->r, n, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_cert_list(f->r, NULL, &page, read_inside, f, &f->msg));
    assert_int_equal(f->changed, 4);
}

/* Insert certificate, event and record in groups of a few, and report the number after each commit.
 */
static void
write_until_killed(const char *dir, unsigned first, int report)
{
    struct registry_options o = { .dir = dir };
    struct registry *r = NULL;
    struct timeline_record rec;

    if (registry_open(&o, &r, NULL) != BM_OK)
        _exit(1);
    for (unsigned n = first;; n++) {
        uint8_t id[32];

        make_id(id, n);
        timeline_fill(&rec, CAUSE_REGISTERED_JITR, id, NULL, NULL, NULL, "n=%u", n);
        if (registry_begin(r, NULL) != BM_OK ||
            insert_cert(r, n, CERT_PENDING_ACTIVATION, NULL, NULL) != BM_OK ||
            registry_event_add(r, "t", span_of(&n, sizeof n), id, NULL) != BM_OK ||
            registry_record(r, &rec, NULL) != BM_OK || registry_end(r, true, NULL) != BM_OK)
            _exit(2);
        if (n % 3 != 0)
            continue; /* three share a group */
        if (registry_commit(r, NULL) != BM_OK || write(report, &n, sizeof n) != sizeof n)
            _exit(3);
    }
}

/* Every certificate up to `reported` is there with DER, event and record; beyond it all or nothing.
 */
static unsigned
check_after_kill(struct fixture *f, unsigned reported)
{
    int64_t event = 0;
    unsigned n;

    for (n = 1;; n++) {
        struct names names = { "" };
        struct registry_event e;
        struct registry_cert c;
        char want[32];
        uint8_t id[32];
        enum bm_err err;

        make_id(id, n);
        err = registry_cert_get(f->r, id, &c, &f->msg);
        assert_int_equal(registry_event_next(f->r, event, &e, &f->msg), err);
        if (err == BM_ERR_NOT_FOUND)
            break;
        assert_memory_equal(e.cert_id, id, 32);
        event = e.id;
        (void)snprintf(want, sizeof want, "der of %u", n);
        assert_true(span_eq(buf_span(&c.der), span_str(want)));
        OK(f, registry_timeline_cert(f->r, id, 10, see_record, &names, &f->msg));
        (void)snprintf(want, sizeof want, "n=%u ", n);
        assert_string_equal(names.text, want);
        registry_cert_fini(&c);
        registry_event_fini(&e);
    }
    assert_true(n > reported);
    return n - 1;
}

static void
what_was_committed_survives_kill_9_at_any_moment(void **state)
{
    struct fixture *f = *state;
    unsigned stored = 0;
    unsigned random = 1;

    registry_close(f->r);
    f->r = NULL;
    for (int round = 0; round < 20; round++) {
        unsigned reported = stored;
        unsigned n;
        int pipe_fds[2];
        pid_t pid;

        assert_int_equal(pipe(pipe_fds), 0);
        pid = fork();
        if (pid == 0) {
            (void)close(pipe_fds[0]);
            write_until_killed(f->dir, stored + 1, pipe_fds[1]);
        }
        (void)close(pipe_fds[1]);
        random = random * 1103515245 + 12345;
        for (unsigned i = 0; i <= (random >> 16) % 7; i++) { /* some reports, then at once */
            assert_int_equal(read(pipe_fds[0], &n, sizeof n), sizeof n);
            reported = n;
        }
        for (volatile unsigned spin = 0; spin < (random >> 8) % 400000; spin++)
            continue;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(pipe_fds[0], &n, sizeof n) == sizeof n)
            reported = n;
        (void)close(pipe_fds[0]);
        reopen(f);
        stored = check_after_kill(f, reported);
        registry_close(f->r);
        f->r = NULL;
    }
    assert_true(stored > 20);
}

static void
open_resumed(struct fixture *f)
{
    struct registry_options o = { .dir = f->dir };

    OK(f, table_resume(f->dir, &f->table, &f->msg));
    o.table = f->table;
    OK(f, registry_open(&o, &f->r, &f->msg));
}

static void
close_both(struct fixture *f)
{
    registry_close(f->r);
    table_close(f->table);
    f->r = NULL;
    f->table = NULL;
}

static bool
in_table(struct fixture *f, unsigned n)
{
    struct table_entry e;
    uint8_t id[32];

    make_id(id, n);
    return table_get(f->table, id, &e);
}

/* Behind the registry's back, so that only a scan could see it. */
static void
slip_in(struct fixture *f, unsigned n)
{
    char path[64];
    char sql[300];
    char hex[65];
    uint8_t id[32];
    sqlite3 *db;

    make_id(id, n);
    hex_encode(hex, id, 32);
    (void)snprintf(path, sizeof path, "%s/registry.db", f->dir);
    (void)snprintf(sql, sizeof sql,
        "INSERT INTO certs(id, status, mode, created, modified, not_before, not_after, version,"
        " generation) VALUES(x'%s', 1, 1, 1, 1, 1, 1, 1, x'00')",
        hex);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static void
table_that_was_closed_in_peace_is_used_without_a_scan(void **state)
{
    struct fixture *f = *state;

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    close_both(f);
    slip_in(f, 2);
    open_resumed(f);
    assert_true(in_table(f, 1));
    assert_false(in_table(f, 2));
    OK(f, insert_cert(f->r, 3, CERT_ACTIVE, NULL, &f->msg));
    close_both(f);
    open_resumed(f);
    assert_true(in_table(f, 1));
    assert_true(in_table(f, 3));
    assert_int_equal(table_count(f->table), 2);
}

static void
table_of_a_process_that_died_is_made_again(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    int status;

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    close_both(f);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct registry_options o = { .dir = f->dir };

        if (table_resume(f->dir, &o.table, NULL) != BM_OK ||
            registry_open(&o, &f->r, NULL) != BM_OK ||
            insert_cert(f->r, 2, CERT_ACTIVE, NULL, NULL) != BM_OK ||
            registry_commit(f->r, NULL) != BM_OK)
            _exit(1);
        _exit(0); /* as by kill -9: nothing is closed */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    slip_in(f, 3);
    open_resumed(f);
    assert_true(in_table(f, 1));
    assert_true(in_table(f, 2));
    assert_true(in_table(f, 3)); /* it was scanned */
}

static void
table_of_another_state_of_the_registry_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct buf old = { 0 };
    char path[64];

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    close_both(f);
    (void)snprintf(path, sizeof path, "%s/registry.db", f->dir);
    OK(f, file_read(path, 1 << 24, &old, &f->msg));
    open_resumed(f);
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg));
    close_both(f);
    OK(f, file_write(path, buf_span(&old), 0600, &f->msg)); /* a backup comes back */
    buf_fini(&old);
    open_resumed(f);
    assert_true(in_table(f, 1));
    assert_false(in_table(f, 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(registration_code_is_stable_until_deleted),
        TEST(table_that_was_closed_in_peace_is_used_without_a_scan),
        TEST(table_of_a_process_that_died_is_made_again),
        TEST(table_of_another_state_of_the_registry_is_made_again),
        TEST(group_undone_leaves_the_rest_of_the_open_group),
        TEST(certificate_touched_often_in_a_group_is_reported_once),
        TEST(failed_commit_takes_the_whole_group_back),
        TEST(disk_full_at_commit_loses_the_group_and_says_so),
        TEST(disk_full_in_the_middle_loses_the_group_and_says_so),
        TEST(table_that_cannot_grow_catches_up_after_the_next_commit),
        TEST(close_commits_the_open_group),
        TEST(second_writer_is_kept_out_and_a_reader_let_in),
        TEST(reader_opens_a_store_that_nobody_writes),
        TEST(newer_or_damaged_file_is_refused_with_words),
        TEST(a_registry_of_version_1_is_brought_up_to_date),
        TEST(callback_may_read_the_same_list),
        TEST(what_was_committed_survives_kill_9_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
