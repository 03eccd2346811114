/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: what is stored, what survives, what is undone. */
#include "registry/registry.h"
#include "registry/store.h"
#include "registry/table.h"

#include "base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char dir[32];
    struct table *table;
    struct registry *r;
    struct bm_msg msg;
    size_t changed;
    uint8_t last_changed[32];
};

static void
on_changed(void *arg, const uint8_t id[REGISTRY_ID_LEN])
{
    struct fixture *f = arg;

    f->changed++;
    memcpy(f->last_changed, id, 32);
}

static void
reopen(struct fixture *f)
{
    struct registry_options o = { .dir = f->dir, .changed = on_changed, .changed_arg = f };

    registry_close(f->r);
    table_close(f->table);
    f->r = NULL;
    assert_int_equal(table_create(f->dir, 0, &f->table, &f->msg), BM_OK);
    o.table = f->table;
    if (registry_open(&o, &f->r, &f->msg) != BM_OK)
        fail_msg("%s", f->msg.text);
}

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/bm-registry-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    reopen(f);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;
    enum bm_err err;

    registry_close(f->r);
    table_close(f->table);
    err = dir_remove(f->dir, NULL);
    free(f);
    return err == BM_OK ? 0 : -1;
}

#define OK(f, call)                                                                                \
    do {                                                                                           \
        if ((call) != BM_OK)                                                                       \
            fail_msg("%s: %s", #call, (f)->msg.text);                                              \
    } while (0)

static void
make_id(uint8_t id[32], unsigned n)
{
    memset(id, 0xa5, 32);
    for (size_t i = 0; i < 4; i++)
        id[i] = (uint8_t)(n >> (8 * i));
}

static enum bm_err
insert_cert(
    struct registry *r, unsigned n, enum cert_status status, const uint8_t *ca, struct bm_msg *msg)
{
    struct registry_cert c = {
        .status = status, .mode = MODE_DEFAULT, .not_before_ms = 1000, .not_after_ms = 2000 + n
    };
    enum bm_err err;

    make_id(c.id, n);
    if (ca != NULL) {
        c.has_ca = true;
        memcpy(c.ca_id, ca, 32);
    }
    buf_addf(&c.der, "der of %u", n);
    err = registry_cert_insert(r, &c, msg);
    registry_cert_fini(&c);
    return err;
}

static enum cert_status
status_of(struct fixture *f, unsigned n)
{
    struct registry_cert c;
    enum cert_status s;
    uint8_t id[32];

    make_id(id, n);
    OK(f, registry_cert_get(f->r, id, &c, &f->msg));
    s = c.status;
    registry_cert_fini(&c);
    return s;
}

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
certificate_comes_back_as_stored(void **state)
{
    struct fixture *f = *state;
    struct registry_cert c;
    struct table_entry e;
    uint8_t id[32];
    uint8_t ca[32];

    make_id(id, 7);
    make_id(ca, 99);
    OK(f, insert_cert(f->r, 7, CERT_PENDING_ACTIVATION, ca, &f->msg));
    assert_false(table_get(f->table, id, &e)); /* not before the commit */
    assert_int_equal(f->changed, 0);
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 1);
    assert_memory_equal(f->last_changed, id, 32);
    assert_true(table_get(f->table, id, &e));
    assert_int_equal(e.status, CERT_PENDING_ACTIVATION);
    assert_int_equal(e.not_after_ms, 2007);
    reopen(f);
    assert_true(table_get(f->table, id, &e)); /* filled at open */
    OK(f, registry_cert_get(f->r, id, &c, &f->msg));
    assert_memory_equal(c.id, id, 32);
    assert_true(c.has_ca);
    assert_memory_equal(c.ca_id, ca, 32);
    assert_int_equal(c.version, 1);
    assert_int_equal(c.mode, MODE_DEFAULT);
    assert_true(c.created_ms > 1600000000000 && c.created_ms == c.modified_ms);
    assert_int_equal(c.not_before_ms, 1000);
    assert_int_equal(c.generation[14], '4');
    assert_int_equal(strlen(c.generation), 36);
    assert_true(span_eq(buf_span(&c.der), span_str("der of 7")));
    registry_cert_fini(&c);
}

static void
second_insert_of_a_certificate_leaves_the_first_as_it_was(void **state)
{
    struct fixture *f = *state;

    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    assert_int_equal(insert_cert(f->r, 1, CERT_REVOKED, NULL, &f->msg), BM_ERR_EXISTS);
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(status_of(f, 1), CERT_ACTIVE);
}

/* SPEC aws-iot 3.5, the whole matrix: row from, column to, in the order of enum cert_status */
static void
status_moves_along_legal_arrows_only(void **state)
{
    struct fixture *f = *state;
    static const bool legal[6][6] = {
        /*                       ACTIVE INACT  REVOK  TRANSF REGINA PENDING */
        /* ACTIVE             */ { true, true, true, false, false, false },
        /* INACTIVE           */ { true, true, true, false, false, false },
        /* REVOKED            */ { false, false, true, false, false, false },
        /* PENDING_TRANSFER   */ { false, false, true, false, false, false },
        /* REGISTER_INACTIVE  */ { true, true, true, false, false, false },
        /* PENDING_ACTIVATION */ { true, true, true, false, false, false },
    };

    for (unsigned from = 0; from < 6; from++) {
        for (unsigned to = 0; to < 6; to++) {
            unsigned n = 10 * from + to;
            enum cert_status old = 0;
            struct registry_cert c;
            uint8_t id[32];
            enum bm_err err;

            make_id(id, n);
            OK(f, insert_cert(f->r, n, (enum cert_status)(from + 1), NULL, &f->msg));
            err = registry_cert_set_status(f->r, id, (enum cert_status)(to + 1), &old, &f->msg);
            assert_int_equal(err, legal[from][to] ? BM_OK : BM_ERR_CONFLICT);
            assert_int_equal(old, from + 1);
            assert_int_equal(status_of(f, n), legal[from][to] ? to + 1 : from + 1);
            if (err != BM_OK) {
                assert_non_null(
                    strstr(f->msg.text, cert_status_name((enum cert_status)(from + 1))));
                assert_non_null(strstr(f->msg.text, cert_status_name((enum cert_status)(to + 1))));
            }
            OK(f, registry_cert_get(f->r, id, &c, &f->msg));
            assert_int_equal(c.version, legal[from][to] ? 2 : 1);
            registry_cert_fini(&c);
        }
    }
}

static void
status_names_parse_back(void **state)
{
    enum cert_status s;

    (void)state;
    for (unsigned i = CERT_ACTIVE; i <= CERT_PENDING_ACTIVATION; i++) {
        assert_true(cert_status_parse(span_str(cert_status_name((enum cert_status)i)), &s));
        assert_int_equal(s, i);
    }
    assert_false(cert_status_parse(span_str("active"), &s));
    assert_false(cert_status_parse(span_str(""), &s));
}

/* ---- groups ---- */

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

/* ---- opening ---- */

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

/* ---- CAs ---- */

static enum bm_err
insert_ca(struct fixture *f, unsigned n, const char *subject, enum cert_status status)
{
    struct registry_ca ca = { .status = status, .mode = MODE_DEFAULT, .not_after_ms = 77 };
    enum bm_err err;

    make_id(ca.id, n);
    buf_addf(&ca.subject, "%s", subject);
    buf_addf(&ca.der, "ca %u", n);
    buf_addf(&ca.registration_config, "{}");
    err = registry_ca_insert(f->r, &ca, &f->msg);
    registry_ca_fini(&ca);
    return err;
}

static void
ca_is_stored_found_by_subject_changed_and_deleted(void **state)
{
    struct fixture *f = *state;
    const enum cert_status active = CERT_ACTIVE;
    const enum cert_status inactive = CERT_INACTIVE;
    const enum cert_status revoked = CERT_REVOKED;
    const bool yes = true;
    struct registry_ca found[10];
    struct registry_ca ca;
    size_t count = 0;
    uint8_t id[32];

    make_id(id, 1);
    OK(f, insert_ca(f, 1, "CN=A", CERT_INACTIVE));
    OK(f, insert_ca(f, 2, "CN=A", CERT_INACTIVE));
    OK(f, insert_ca(f, 3, "CN=B", CERT_INACTIVE));
    assert_int_equal(insert_ca(f, 1, "CN=A", CERT_ACTIVE), BM_ERR_EXISTS);
    OK(f, registry_ca_by_subject(f->r, span_str("CN=A"), found, &count, &f->msg));
    assert_int_equal(count, 2);
    assert_true(span_eq(buf_span(&found[1].der), span_str("ca 2")));
    assert_true(span_eq(buf_span(&found[0].subject), span_str("CN=A")));
    for (size_t i = 0; i < count; i++)
        registry_ca_fini(&found[i]);
    OK(f, registry_ca_by_subject(f->r, span_str("CN=C"), found, &count, &f->msg));
    assert_int_equal(count, 0);

    OK(f,
        registry_ca_update(f->r, id,
            &(struct registry_ca_change){ .status = &active, .auto_registration = NULL }, &f->msg));
    OK(f, registry_ca_update(f->r, id,
              &(struct registry_ca_change){ .status = NULL, .auto_registration = &yes }, &f->msg));
    assert_int_equal(
        registry_ca_update(f->r, id,
            &(struct registry_ca_change){ .status = &revoked, .auto_registration = NULL }, &f->msg),
        BM_ERR_ARG);
    OK(f, registry_ca_get(f->r, id, &ca, &f->msg));
    assert_int_equal(ca.status, CERT_ACTIVE);
    assert_true(ca.auto_registration);
    assert_int_equal(ca.version, 3);
    assert_int_equal(ca.not_after_ms, 77);
    assert_int_equal(strlen(ca.generation), 36);
    assert_true(span_eq(buf_span(&ca.registration_config), span_str("{}")));
    registry_ca_fini(&ca);

    assert_int_equal(registry_ca_delete(f->r, id, &f->msg), BM_ERR_CONFLICT);
    OK(f, registry_ca_update(f->r, id,
              &(struct registry_ca_change){ .status = &inactive, .auto_registration = NULL },
              &f->msg));
    OK(f, registry_ca_delete(f->r, id, &f->msg));
    assert_int_equal(registry_ca_get(f->r, id, &ca, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_ca_delete(f->r, id, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(
        registry_ca_update(f->r, id,
            &(struct registry_ca_change){ .status = &inactive, .auto_registration = NULL },
            &f->msg),
        BM_ERR_NOT_FOUND);
}

static void
eleventh_ca_with_one_subject_is_refused(void **state)
{
    struct fixture *f = *state;
    struct registry_ca found[10];
    size_t count = 0;

    for (unsigned n = 0; n < 10; n++)
        OK(f, insert_ca(f, n, "CN=same", CERT_INACTIVE));
    assert_int_equal(insert_ca(f, 3, "CN=same", CERT_INACTIVE), BM_ERR_EXISTS);
    assert_int_equal(insert_ca(f, 10, "CN=same", CERT_INACTIVE), BM_ERR_LIMIT);
    OK(f, insert_ca(f, 10, "CN=other", CERT_INACTIVE));
    OK(f, registry_ca_by_subject(f->r, span_str("CN=same"), found, &count, &f->msg));
    assert_int_equal(count, 10);
    for (size_t i = 0; i < count; i++)
        registry_ca_fini(&found[i]);
}

/* ---- pages ---- */

struct seen {
    unsigned n[64];
    size_t count;
};

static void
see_cert(void *arg, const struct registry_cert *c)
{
    struct seen *s = arg;

    assert_true(s->count < 64);
    assert_int_equal(c->der.len, 0);
    s->n[s->count++] = c->id[0];
}

static void
see_ca(void *arg, const struct registry_ca *ca)
{
    struct seen *s = arg;

    s->n[s->count++] = ca->id[0];
}

static void
pages_show_every_certificate_once_in_either_order(void **state)
{
    struct fixture *f = *state;
    uint8_t ca[32];

    make_id(ca, 200);
    for (unsigned n = 0; n < 23; n++)
        OK(f, insert_cert(f->r, n, CERT_ACTIVE, n % 2 == 0 ? ca : NULL, &f->msg));
    for (unsigned way = 0; way < 4; way++) {
        struct registry_page page = { .limit = 5, .ascending = (way & 1) != 0 };
        char marker[sizeof page.next_marker] = "";
        const uint8_t *of = way >= 2 ? ca : NULL;
        size_t want = of != NULL ? 12 : 23;
        struct seen s = { 0 };
        size_t pages = 0;

        do {
            page.marker = marker;
            OK(f, registry_cert_list(f->r, of, &page, see_cert, &s, &f->msg));
            memcpy(marker, page.next_marker, sizeof marker);
            pages++;
        } while (marker[0] != '\0');
        assert_int_equal(s.count, want);
        assert_int_equal(pages, (want + 4) / 5);
        for (size_t i = 0; i < want; i++) {
            unsigned at = (unsigned)(page.ascending ? i : want - 1 - i);

            assert_int_equal(s.n[i], of != NULL ? 2 * at : at);
        }
    }
}

static void
page_that_ends_exactly_has_no_next_marker(void **state)
{
    struct fixture *f = *state;
    struct registry_page page = { .marker = "", .limit = 2 };
    struct seen s = { 0 };

    OK(f, insert_ca(f, 1, "a", CERT_ACTIVE));
    OK(f, insert_ca(f, 2, "b", CERT_ACTIVE));
    OK(f, registry_ca_list(f->r, &page, see_ca, &s, &f->msg));
    assert_int_equal(s.count, 2);
    assert_string_equal(page.next_marker, "");
}

static void
marker_of_another_list_or_none_of_ours_is_refused(void **state)
{
    static const char *const bad[] = { "x", "AAAA", "YQAAAAAAAAAB", "====", "YwAAAAAAAAABAA==" };
    struct fixture *f = *state;
    struct seen s = { 0 };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) { /* the third is one of CAs */
        struct registry_page page = { .marker = bad[i], .limit = 5 };

        assert_int_equal(
            registry_cert_list(f->r, NULL, &page, see_cert, &s, &f->msg), BM_ERR_INPUT);
    }
}

/* ---- policies ---- */

struct names {
    char text[512];
};

static void
add(struct names *n, const char *text, const char *end)
{
    size_t len = strlen(n->text);

    (void)snprintf(n->text + len, sizeof n->text - len, "%s%s", text, end);
}

static void
see_policy(void *arg, const struct registry_policy *p)
{
    add(arg, p->name, " ");
}

static void
see_document(void *arg, const char *name, struct span document)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    (void)snprintf(n->text + len, sizeof n->text - len, "%s=%.*s ", name, (int)document.len,
        (const char *)document.ptr);
}

static void
see_target(void *arg, const struct registry_target *t)
{
    struct seen *s = arg;

    s->n[s->count++] = t->group != NULL ? 1000U + (unsigned)t->group[0] : t->cert_id[0];
}

static const struct registry_target *
target_of(struct registry_target *t, const uint8_t id[32])
{
    *t = (struct registry_target){ 0 };
    memcpy(t->cert_id, id, 32);
    return t;
}
#define CERT(id) target_of(&(struct registry_target){ 0 }, (id))

static uint32_t
set_of(struct fixture *f, unsigned n)
{
    struct registry_cert c;
    uint32_t set;
    uint8_t id[32];

    make_id(id, n);
    OK(f, registry_cert_get(f->r, id, &c, &f->msg));
    set = c.policy_set;
    registry_cert_fini(&c);
    return set;
}

static void
policy_is_created_listed_attached_and_deleted_in_legal_order_only(void **state)
{
    struct fixture *f = *state;
    struct registry_page page = { .marker = "", .limit = 10 };
    struct registry_policy p;
    struct names names = { "" };
    struct seen targets = { 0 };
    uint8_t id[32];
    bool attached = false;

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_INACTIVE, NULL, &f->msg));
    OK(f, registry_policy_create(f->r, "one", span_str("{1}"), &f->msg));
    OK(f, registry_policy_create(f->r, "two", span_str("{2}"), &f->msg));
    assert_int_equal(registry_policy_create(f->r, "one", span_str("{3}"), &f->msg), BM_ERR_EXISTS);
    assert_int_equal(registry_policy_create(f->r, "", span_str("{3}"), &f->msg), BM_ERR_ARG);
    OK(f, registry_policy_get(f->r, "one", &p, &f->msg));
    assert_string_equal(p.name, "one");
    assert_int_equal(p.version, 1);
    assert_true(span_eq(buf_span(&p.document), span_str("{1}")));
    registry_policy_fini(&p);
    assert_int_equal(registry_policy_get(f->r, "three", &p, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_policy_list(f->r, &page, see_policy, &names, &f->msg));
    assert_string_equal(names.text, "two one "); /* newest first */

    OK(f, registry_policy_attach(f->r, "one", CERT(id), &f->msg));
    OK(f, registry_policy_attach(f->r, "one", CERT(id), &f->msg));
    assert_int_equal(registry_policy_attach(f->r, "three", CERT(id), &f->msg), BM_ERR_NOT_FOUND);
    assert_non_null(strstr(f->msg.text, "three"));
    make_id(id, 9);
    assert_int_equal(registry_policy_attach(f->r, "one", CERT(id), &f->msg), BM_ERR_NOT_FOUND);
    assert_non_null(strstr(f->msg.text, "certificate"));
    make_id(id, 1);
    OK(f, registry_policy_targets(f->r, "one", &page, see_target, &targets, &f->msg));
    assert_int_equal(targets.count, 1);
    assert_int_equal(targets.n[0], 1);
    assert_int_equal(registry_policy_delete(f->r, "one", &f->msg), BM_ERR_CONFLICT);
    assert_int_equal(registry_cert_delete(f->r, id, false, &attached, &f->msg), BM_ERR_CONFLICT);
    assert_true(attached);
    OK(f, registry_cert_delete(f->r, id, true, &attached, &f->msg));
    assert_false(attached);
    OK(f, registry_policy_delete(
              f->r, "one", &f->msg)); /* the attachment went with the certificate */
    assert_int_equal(registry_policy_delete(f->r, "one", &f->msg), BM_ERR_NOT_FOUND);
}

static void
active_certificate_is_not_deleted_even_by_force(void **state)
{
    struct fixture *f = *state;
    bool attached = true;
    uint8_t id[32];

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    assert_int_equal(registry_cert_delete(f->r, id, true, &attached, &f->msg), BM_ERR_CONFLICT);
    assert_false(attached);
    make_id(id, 2);
    assert_int_equal(registry_cert_delete(f->r, id, true, &attached, &f->msg), BM_ERR_NOT_FOUND);
}

static void
eleventh_policy_on_a_certificate_is_refused(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    uint8_t id[32];
    uint32_t set = 0;

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_INACTIVE, NULL, &f->msg));
    for (unsigned i = 0; i < 11; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "p%02u", i);
        OK(f, registry_policy_create(f->r, name, span_str("{}"), &f->msg));
        if (i < 10)
            OK(f, registry_policy_attach(f->r, name, CERT(id), &f->msg));
        else
            assert_int_equal(registry_policy_attach(f->r, name, CERT(id), &f->msg), BM_ERR_LIMIT);
        if (i == 9)
            set = set_of(f, 1);
    }
    assert_int_equal(set_of(f, 1), set);
    OK(f, registry_policy_attached(f->r, CERT(id), false, see_policy, &names, &f->msg));
    assert_string_equal(names.text, "p00 p01 p02 p03 p04 p05 p06 p07 p08 p09 ");
}

static void
policy_versions_count_up_and_the_default_reaches_every_target(void **state)
{
    struct fixture *f = *state;
    struct registry_policy p = { 0 };
    struct names names = { "" };
    uint8_t id[32];
    uint32_t first;
    int version = 0;

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_policy_create(f->r, "p", span_str("{1}"), &f->msg));
    OK(f, registry_policy_attach(f->r, "p", CERT(id), &f->msg));
    first = set_of(f, 1);
    OK(f, registry_policy_version_create(f->r, "p", span_str("{2}"), false, &version, &f->msg));
    assert_int_equal(version, 2);
    assert_int_equal(set_of(f, 1), first);
    assert_int_equal(registry_policy_delete(f->r, "p", &f->msg), BM_ERR_CONFLICT);
    OK(f, registry_policy_version_default(f->r, "p", 2, &f->msg));
    assert_int_not_equal(set_of(f, 1), first);
    OK(f, registry_policy_version_default(f->r, "p", 1, &f->msg));
    assert_int_equal(set_of(f, 1), first); /* the same documents, the same number */
    assert_int_equal(registry_policy_version_delete(f->r, "p", 1, &f->msg), BM_ERR_CONFLICT);
    OK(f, registry_policy_version_delete(f->r, "p", 2, &f->msg));
    assert_int_equal(registry_policy_version_get(f->r, "p", 2, &p, &f->msg), BM_ERR_NOT_FOUND);
    for (int i = 3; i < 3 + REGISTRY_VERSIONS_MAX - 1; i++) {
        OK(f, registry_policy_version_create(f->r, "p", span_str("{n}"), true, &version, &f->msg));
        assert_int_equal(version, i); /* 2 does not come again */
    }
    assert_int_equal(
        registry_policy_version_create(f->r, "p", span_str("{6}"), true, &version, &f->msg),
        BM_ERR_LIMIT);
    OK(f, registry_policy_version_get(f->r, "p", 1, &p, &f->msg));
    assert_true(span_eq(buf_span(&p.document), span_str("{1}")));
    assert_false(p.is_default);
    registry_policy_fini(&p);
    OK(f, registry_policy_versions(f->r, "p", see_policy, &names, &f->msg));
    assert_string_equal(names.text, "p p p p p ");
}

static enum bm_err
make_thing(struct fixture *f, const char *name, const char *type, const char *attributes)
{
    struct registry_thing t = { 0 };
    enum bm_err err;

    (void)snprintf(t.name, sizeof t.name, "%s", name);
    (void)snprintf(t.type, sizeof t.type, "%s", type);
    buf_addf(&t.attributes, "%s", attributes);
    err = registry_thing_create(f->r, &t, &f->msg);
    registry_thing_fini(&t);
    return err;
}

static enum bm_err
make_group(struct fixture *f, const char *name, const char *parent)
{
    struct registry_group g = { 0 };
    enum bm_err err;

    (void)snprintf(g.name, sizeof g.name, "%s", name);
    (void)snprintf(g.parent, sizeof g.parent, "%s", parent);
    buf_addf(&g.attributes, "{}");
    err = registry_group_create(f->r, &g, &f->msg);
    registry_group_fini(&g);
    return err;
}

static void
see_thing(void *arg, const struct registry_thing *t)
{
    struct names *n = arg;

    (void)strncat(n->text, t->name, sizeof n->text - strlen(n->text) - 1);
    (void)strncat(n->text, " ", sizeof n->text - strlen(n->text) - 1);
}

static void
see_name(void *arg, const char *name)
{
    struct names *n = arg;

    (void)strncat(n->text, name, sizeof n->text - strlen(n->text) - 1);
    (void)strncat(n->text, " ", sizeof n->text - strlen(n->text) - 1);
}

static void
things_are_made_once_found_by_attribute_and_changed_at_their_version(void **state)
{
    struct fixture *f = *state;
    struct registry_type type = { .name = "lamp" };
    struct registry_thing t;
    struct registry_page page = { .marker = "", .limit = 2 };
    struct registry_page rest = { .limit = 2 };
    struct registry_thing_filter by_colour = { .attribute = "colour", .value = "red" };
    struct names names = { "" };

    OK(f, registry_type_create(f->r, &type, &f->msg));
    assert_int_equal(make_thing(f, "a", "none", "{}"), BM_ERR_NOT_FOUND);
    OK(f, make_thing(f, "a", "lamp", "{\"size\":\"1\",\"colour\":\"red\"}"));
    OK(f, make_thing(f, "a", "lamp", "{\"colour\":\"red\",\"size\":\"1\"}"));
    assert_int_equal(make_thing(f, "a", "lamp", "{\"colour\":\"red\"}"), BM_ERR_EXISTS);
    assert_int_equal(make_thing(f, "a", "", "{\"colour\":\"red\",\"size\":\"1\"}"), BM_ERR_EXISTS);
    OK(f, make_thing(f, "b", "", "{\"colour\":\"blue\"}"));
    OK(f, make_thing(f, "c", "", "{\"colour\":\"reddish\"}"));
    OK(f, make_thing(f, "d", "lamp", "{\"colour\":\"red\"}"));

    OK(f, registry_thing_list(f->r, &by_colour, &page, see_thing, &names, &f->msg));
    assert_string_equal(names.text, "a d ");
    by_colour.prefix = true;
    names.text[0] = '\0';
    OK(f, registry_thing_list(f->r, &by_colour, &page, see_thing, &names, &f->msg));
    rest.marker = page.next_marker;
    OK(f, registry_thing_list(f->r, &by_colour, &rest, see_thing, &names, &f->msg));
    assert_string_equal(names.text, "a c d ");
    assert_string_equal(rest.next_marker, "");

    OK(f, registry_thing_get(f->r, "a", &t, &f->msg));
    assert_int_equal(registry_thing_update(f->r, &t, 2, &f->msg), BM_ERR_STATUS);
    OK(f, registry_type_deprecate(f->r, "lamp", false, &f->msg));
    t.version = 1;
    OK(f, registry_thing_update(f->r, &t, 1, &f->msg)); /* it keeps its deprecated type */
    assert_int_equal(t.version, 2);
    registry_thing_fini(&t);
    assert_int_equal(make_thing(f, "e", "lamp", "{}"), BM_ERR_CONFLICT);
    assert_int_equal(registry_type_delete(f->r, "lamp", &f->msg), BM_ERR_CONFLICT);
    assert_int_equal(registry_thing_delete(f->r, "a", 1, &f->msg), BM_ERR_STATUS);
    OK(f, registry_thing_delete(f->r, "a", 2, &f->msg));
    OK(f, registry_thing_delete(f->r, "a", 0, &f->msg));
    OK(f, registry_thing_delete(f->r, "d", 0, &f->msg));
    OK(f, registry_type_delete(f->r, "lamp", &f->msg));
}

/* What a policy may know of a thing, and that each change of it is told to who has to look again.
 */
static void
a_thing_is_that_of_a_certificate_while_it_is_attached_and_its_changes_are_told(void **state)
{
    struct fixture *f = *state;
    struct registry_thing t;
    uint8_t id[32];
    uint8_t other[32];

    make_id(id, 1);
    make_id(other, 2);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg));
    OK(f, make_thing(f, "a", "", "{\"room\":\"hall\"}"));
    OK(f, make_thing(f, "b", "", "{}"));
    OK(f, registry_commit(f->r, &f->msg));
    f->changed = 0;
    assert_int_equal(registry_thing_of(f->r, "a", id, &t, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_thing_attach(f->r, "a", id, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 1);
    OK(f, registry_thing_of(f->r, "a", id, &t, &f->msg));
    assert_string_equal(buf_cstr(&t.attributes), "{\"room\":\"hall\"}");
    registry_thing_fini(&t);
    assert_int_equal(registry_thing_of(f->r, "a", other, &t, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_thing_of(f->r, "b", id, &t, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_thing_of(f->r, "none", id, &t, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_thing_get(f->r, "a", &t, &f->msg));
    OK(f, registry_thing_update(f->r, &t, 0, &f->msg));
    registry_thing_fini(&t);
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 2);
    OK(f, registry_thing_detach(f->r, "a", id, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_int_equal(f->changed, 3);
    assert_int_equal(registry_thing_of(f->r, "a", id, &t, &f->msg), BM_ERR_NOT_FOUND);
}

static void
policies_of_groups_count_for_certificates_of_the_things_in_and_below_them(void **state)
{
    struct fixture *f = *state;
    const struct registry_target top = { .group = "top" };
    struct registry_page page = { .marker = "", .limit = 10 };
    struct names names = { "" };
    struct table_entry e;
    uint8_t id[32];
    bool attached = false;

    make_id(id, 1);
    OK(f, insert_cert(f->r, 1, CERT_INACTIVE, NULL, &f->msg));
    OK(f, make_group(f, "top", ""));
    OK(f, make_group(f, "below", "top"));
    assert_int_equal(make_group(f, "below", ""), BM_ERR_EXISTS);
    assert_int_equal(make_group(f, "x", "none"), BM_ERR_NOT_FOUND);
    OK(f, make_thing(f, "t", "", "{}"));
    OK(f, registry_policy_create(f->r, "p", span_str("{1}"), &f->msg));
    OK(f, registry_policy_attach(f->r, "p", &top, &f->msg));
    OK(f, registry_group_add(f->r, "below", "t", &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_get(f->table, id, &e));
    assert_int_equal(e.policy_set, 0);
    OK(f, registry_thing_attach(f->r, "t", id, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_get(f->table, id, &e));
    assert_int_not_equal(e.policy_set, 0);
    OK(f, registry_policy_effective(f->r, id, see_policy, &names, &f->msg));
    assert_string_equal(names.text, "p ");
    names.text[0] = '\0';
    OK(f, registry_group_things(f->r, "top", true, &page, see_name, &names, &f->msg));
    assert_string_equal(names.text, "t ");

    assert_int_equal(registry_cert_delete(f->r, id, true, &attached, &f->msg), BM_ERR_CONFLICT);
    assert_true(attached);
    assert_int_equal(registry_thing_delete(f->r, "t", 0, &f->msg), BM_ERR_CONFLICT);
    assert_int_equal(registry_group_delete(f->r, "top", 0, &f->msg), BM_ERR_CONFLICT);
    OK(f, registry_group_delete(f->r, "below", 0, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_get(f->table, id, &e));
    assert_int_equal(e.policy_set, 0);
    OK(f, registry_group_delete(f->r, "top", 0, &f->msg)); /* its attachment goes with it */
    OK(f, registry_policy_delete(f->r, "p", &f->msg));
    OK(f, registry_thing_detach(f->r, "t", id, &f->msg));
    OK(f, registry_cert_delete(f->r, id, true, &attached, &f->msg));
}

struct seen_letters {
    size_t count;
    int64_t newest;
    int64_t oldest;
};

static void
see_letter(void *arg, const struct registry_letter *l)
{
    struct seen_letters *s = arg;

    if (s->count++ == 0)
        s->newest = l->id;
    s->oldest = l->id;
}

static void
dead_letters_are_kept_whole_and_the_oldest_go(void **state)
{
    struct fixture *f = *state;
    struct registry_letter l = { .kind = "function",
        .target = "f",
        .request_id = "r",
        .cause = "why \"so\"",
        .attempts = 3,
        .has_cert = true,
        .cert_id = { 7 } };
    struct registry_letter got;
    struct seen_letters seen = { 0 };
    int64_t first;

    buf_add(&l.payload, "a\0b", 3);
    buf_addf(&l.detail, "{}");
    OK(f, registry_letter_add(f->r, &l, &f->msg));
    first = l.id;
    OK(f, registry_letter_get(f->r, first, &got, &f->msg));
    assert_string_equal(got.kind, "function");
    assert_string_equal(got.target, "f");
    assert_string_equal(got.cause, "why \"so\"");
    assert_int_equal(got.attempts, 3);
    assert_true(got.has_cert);
    assert_memory_equal(got.cert_id, l.cert_id, sizeof got.cert_id);
    assert_int_equal(got.payload.len, 3);
    assert_memory_equal(got.payload.ptr, "a\0b", 3);
    assert_true(got.created_ms > 0);
    registry_letter_fini(&got);
    for (int i = 0; i < REGISTRY_LETTERS_MAX; i++)
        OK(f, registry_letter_add(f->r, &l, &f->msg));
    OK(f, registry_letter_list(f->r, 10000, see_letter, &seen, &f->msg));
    assert_int_equal(seen.count, REGISTRY_LETTERS_MAX);
    assert_int_equal(seen.newest, l.id);
    assert_int_equal(seen.oldest, first + 1);
    assert_int_equal(registry_letter_get(f->r, first, &got, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_letter_delete(f->r, l.id, &f->msg));
    assert_int_equal(registry_letter_delete(f->r, l.id, &f->msg), BM_ERR_NOT_FOUND);
    registry_letter_fini(&l);
}

static void
see_function_name(void *arg, const char *name)
{
    buf_addf(arg, "%s ", name);
}

static void
see_payload(void *arg, const struct registry_invocation *i)
{
    buf_addf(arg, "%.*s ", (int)i->payload.len, (const char *)i->payload.ptr);
}

static void
waiting_invocations_are_found_by_function_and_time(void **state)
{
    static const struct {
        const char *function;
        int64_t due_ms;
        const char *payload;
    } rows[] = { { "b", 20, "1" }, { "b", 10, "2" }, { "a", 10, "3" }, { "b", 50, "4" },
        { "c", 60, "5" } };
    struct fixture *f = *state;
    struct buf text = { 0 };
    int64_t next = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct registry_invocation row = { .due_ms = rows[i].due_ms };

        (void)snprintf(row.function, sizeof row.function, "%s", rows[i].function);
        buf_addf(&row.payload, "%s", rows[i].payload);
        OK(f, registry_invocation_add(f->r, &row, &f->msg));
        registry_invocation_fini(&row);
    }
    OK(f, registry_invocation_functions(f->r, see_function_name, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "a b c ");
    text.len = 0;
    OK(f, registry_invocation_due(f->r, "b", 40, 10, see_payload, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "2 1 ");
    text.len = 0;
    OK(f, registry_invocation_due(f->r, "b", 100, 1, see_payload, &text, &f->msg));
    assert_string_equal(buf_cstr(&text), "2 ");
    OK(f, registry_invocation_next(f->r, 20, &next, &f->msg));
    assert_int_equal(next, 50);
    OK(f, registry_invocation_next(f->r, 60, &next, &f->msg));
    assert_true(next == INT64_MAX);
    buf_fini(&text);
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
count_name(void *arg, const char *name)
{
    (void)name;
    ++*(size_t *)arg;
}

static void
topics_of_retained_messages_have_the_time_of_the_last_one(void **state)
{
    struct fixture *f = *state;
    struct registry_page page = { .marker = "", .limit = 2 };
    size_t count = 0;
    int64_t time_ms = 0;

    OK(f, registry_retained_set(f->r, span_str("a"), 1, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("b"), 2, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("c"), 3, &f->msg));
    OK(f, registry_retained_set(f->r, span_str("a"), 4, &f->msg));
    OK(f, registry_retained_time(f->r, "a", &time_ms, &f->msg));
    assert_int_equal(time_ms, 4);
    OK(f, registry_retained_list(f->r, &page, count_name, &count, &f->msg));
    assert_int_equal(count, 2);
    assert_string_not_equal(page.next_marker, "");
    OK(f, registry_retained_forget(f->r, span_str("a"), &f->msg));
    OK(f, registry_retained_forget(f->r, span_str("a"), &f->msg));
    assert_int_equal(registry_retained_time(f->r, "a", &time_ms, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_retained_set(f->r, span_str(""), 1, &f->msg), BM_ERR_ARG);
}

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
policy_set_stands_for_its_documents_for_ever(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    struct table_entry e;
    uint8_t one[32];
    uint8_t two[32];
    uint32_t first;
    uint32_t both;

    make_id(one, 1);
    make_id(two, 2);
    OK(f, insert_cert(f->r, 1, CERT_ACTIVE, NULL, &f->msg));
    OK(f, insert_cert(f->r, 2, CERT_ACTIVE, NULL, &f->msg));
    OK(f, registry_policy_create(f->r, "b", span_str("{b}"), &f->msg));
    OK(f, registry_policy_create(f->r, "a", span_str("{a}"), &f->msg));
    assert_int_equal(set_of(f, 1), 0);
    OK(f, registry_policy_attach(f->r, "b", CERT(one), &f->msg));
    first = set_of(f, 1);
    assert_int_not_equal(first, 0);
    OK(f, registry_policy_attach(f->r, "a", CERT(one), &f->msg));
    both = set_of(f, 1);
    assert_int_not_equal(both, first);
    OK(f, registry_policy_attach(f->r, "a", CERT(two), &f->msg));
    OK(f, registry_policy_attach(f->r, "b", CERT(two), &f->msg));
    assert_int_equal(set_of(f, 2), both); /* in another order: the same set */
    OK(f, registry_policy_detach(f->r, "a", CERT(two), &f->msg));
    assert_int_equal(set_of(f, 2), first);
    OK(f, registry_commit(f->r, &f->msg));
    assert_true(table_get(f->table, one, &e));
    assert_int_equal(e.policy_set, both);
    assert_true(table_get(f->table, two, &e));
    assert_int_equal(e.policy_set, first);

    /* the same name with another document is another set; the old number keeps the old text */
    OK(f, registry_policy_detach(f->r, "b", CERT(one), &f->msg));
    OK(f, registry_policy_detach(f->r, "b", CERT(two), &f->msg));
    OK(f, registry_policy_detach(f->r, "b", CERT(two), &f->msg));
    assert_int_equal(set_of(f, 2), 0);
    OK(f, registry_policy_delete(f->r, "b", &f->msg));
    OK(f, registry_policy_create(f->r, "b", span_str("{B}"), &f->msg));
    OK(f, registry_policy_attach(f->r, "b", CERT(one), &f->msg));
    assert_int_not_equal(set_of(f, 1), both);
    OK(f, registry_policy_set(f->r, both, see_document, &names, &f->msg));
    assert_string_equal(names.text, "a={a} b={b} ");
    names.text[0] = '\0';
    OK(f, registry_policy_set(f->r, set_of(f, 1), see_document, &names, &f->msg));
    assert_string_equal(names.text, "a={a} b={B} ");
    OK(f, registry_policy_set(f->r, 0, see_document, &names, &f->msg));
    assert_int_equal(
        registry_policy_set(f->r, 4711, see_document, &names, &f->msg), BM_ERR_NOT_FOUND);
}

/* ---- rules, functions ---- */

static void
see_rule(void *arg, const struct registry_rule *rule)
{
    add(arg, rule->name, rule->disabled ? "- " : "+ ");
}

static void
rule_is_created_replaced_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct names names = { "" };
    struct registry_rule rule;

    OK(f, registry_rule_create(f->r, "z", false, span_str("{z}"), &f->msg));
    OK(f, registry_rule_create(f->r, "a", true, span_str("{a}"), &f->msg));
    assert_int_equal(registry_rule_create(f->r, "a", true, span_str("{}"), &f->msg), BM_ERR_EXISTS);
    assert_int_equal(
        registry_rule_replace(f->r, "b", true, span_str("{}"), &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_rule_list(f->r, see_rule, &names, &f->msg));
    assert_string_equal(names.text, "a- z+ ");
    OK(f, registry_rule_replace(f->r, "a", false, span_str("{A}"), &f->msg));
    OK(f, registry_rule_get(f->r, "a", &rule, &f->msg));
    assert_false(rule.disabled);
    assert_true(span_eq(buf_span(&rule.payload), span_str("{A}")));
    registry_rule_fini(&rule);
    OK(f, registry_rule_delete(f->r, "a", &f->msg));
    assert_int_equal(registry_rule_delete(f->r, "a", &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_rule_get(f->r, "a", &rule, &f->msg), BM_ERR_NOT_FOUND);
}

static void
see_function(void *arg, const struct registry_function *fn)
{
    add(arg, fn->name, "");
}

static void
function_is_created_replaced_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct registry_function fn = { .name = "fn", .code_sha256 = { 1, 2, 3 } };
    struct registry_function got;
    struct names names = { "" };

    buf_addf(&fn.config, "{\"Timeout\":3}");
    buf_addf(&fn.permissions, "[]");
    assert_int_equal(registry_function_replace(f->r, &fn, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_function_create(f->r, &fn, &f->msg));
    assert_int_equal(registry_function_create(f->r, &fn, &f->msg), BM_ERR_EXISTS);
    fn.code_sha256[0] = 9;
    OK(f, registry_function_replace(f->r, &fn, &f->msg));
    OK(f, registry_function_get(f->r, "fn", &got, &f->msg));
    assert_memory_equal(got.code_sha256, fn.code_sha256, 32);
    assert_true(span_eq(buf_span(&got.config), buf_span(&fn.config)));
    assert_true(span_eq(buf_span(&got.permissions), span_str("[]")));
    assert_true(got.modified_ms > 0);
    registry_function_fini(&got);
    OK(f, registry_function_list(f->r, see_function, &names, &f->msg));
    assert_string_equal(names.text, "fn");
    OK(f, registry_function_delete(f->r, "fn", &f->msg));
    assert_int_equal(registry_function_get(f->r, "fn", &got, &f->msg), BM_ERR_NOT_FOUND);
    assert_int_equal(registry_function_delete(f->r, "fn", &f->msg), BM_ERR_NOT_FOUND);
    registry_function_fini(&fn);
}

/* ---- outbox ---- */

static void
events_leave_in_order_and_a_number_never_comes_twice(void **state)
{
    struct fixture *f = *state;
    struct registry_event e;
    int64_t last = 0;
    uint8_t id[32];

    make_id(id, 4);
    assert_int_equal(registry_event_next(f->r, 0, &e, &f->msg), BM_ERR_NOT_FOUND);
    OK(f, registry_event_add(f->r, "t/1", span_str("one"), id, &f->msg));
    OK(f, registry_event_add(f->r, "t/2", span_of("\0\xff", 2), NULL, &f->msg));
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_event_next(f->r, 0, &e, &f->msg));
    assert_true(span_eq(buf_span(&e.topic), span_str("t/1")));
    assert_true(span_eq(buf_span(&e.payload), span_str("one")));
    assert_true(e.has_cert);
    assert_memory_equal(e.cert_id, id, 32);
    last = e.id;
    registry_event_fini(&e);
    OK(f, registry_event_next(f->r, last, &e, &f->msg));
    assert_false(e.has_cert);
    assert_true(span_eq(buf_span(&e.payload), span_of("\0\xff", 2)));
    OK(f, registry_event_done(f->r, last, &f->msg));
    OK(f, registry_event_done(f->r, e.id, &f->msg));
    assert_int_equal(registry_event_done(f->r, e.id, &f->msg), BM_ERR_NOT_FOUND);
    last = e.id;
    registry_event_fini(&e);
    OK(f, registry_event_add(f->r, "t/3", span_of(NULL, 0), NULL, &f->msg));
    OK(f,
        registry_event_next(f->r, last, &e, &f->msg)); /* above the last, though that one is gone */
    assert_int_equal(e.payload.len, 0);
    registry_event_fini(&e);
}

static void
see_invocation(void *arg, const struct registry_invocation *i)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    assert_int_equal(strlen(i->request_id), 36);
    (void)snprintf(n->text + len, sizeof n->text - len, "%s/%d@%lld:%.*s ", i->function, i->attempt,
        (long long)i->due_ms, (int)i->payload.len, (const char *)i->payload.ptr);
}

static void
invocations_wait_by_due_time_until_done(void **state)
{
    struct fixture *f = *state;
    struct registry_invocation late = { .due_ms = 200, .function = "late" };
    struct registry_invocation soon = { .due_ms = 100, .function = "soon", .has_cert = true };
    struct names names = { "" };

    buf_addf(&late.payload, "{}");
    buf_addf(&soon.payload, "[]");
    OK(f, registry_invocation_add(f->r, &late, &f->msg));
    OK(f, registry_invocation_add(f->r, &soon, &f->msg));
    assert_true(late.id > 0 && soon.id > late.id);
    assert_int_equal(soon.request_id[14], '4');
    OK(f, registry_commit(f->r, &f->msg));
    reopen(f);
    OK(f, registry_invocation_list(f->r, 10, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "soon/0@100:[] late/0@200:{} ");
    OK(f, registry_invocation_retry(f->r, soon.id, 300, &f->msg));
    names.text[0] = '\0';
    OK(f, registry_invocation_list(f->r, 1, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "late/0@200:{} ");
    OK(f, registry_invocation_done(f->r, late.id, &f->msg));
    assert_int_equal(registry_invocation_retry(f->r, late.id, 1, &f->msg), BM_ERR_NOT_FOUND);
    names.text[0] = '\0';
    OK(f, registry_invocation_list(f->r, 10, see_invocation, &names, &f->msg));
    assert_string_equal(names.text, "soon/1@300:[] ");
    registry_invocation_fini(&late);
    registry_invocation_fini(&soon);
}

/* ---- timeline ---- */

static void
see_record(void *arg, const struct timeline_record *rec)
{
    add(arg, rec->facts, " ");
}

static void
record(
    struct fixture *f, enum cause cause, const uint8_t *id, const char *client, const char *facts)
{
    struct timeline_record rec;

    timeline_fill(&rec, cause, id, client, "127.0.0.1:1", "ACTIVE", "%s", facts);
    OK(f, registry_record(f->r, &rec, &f->msg));
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

/* ---- reads inside reads ---- */

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

/* ---- kill -9 ---- */

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

/* ---- the snapshot ---- */

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
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(registration_code_is_stable_until_deleted),
        TEST(certificate_comes_back_as_stored),
        TEST(second_insert_of_a_certificate_leaves_the_first_as_it_was),
        TEST(status_moves_along_legal_arrows_only),
        cmocka_unit_test(status_names_parse_back),
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
        TEST(ca_is_stored_found_by_subject_changed_and_deleted),
        TEST(eleventh_ca_with_one_subject_is_refused),
        TEST(pages_show_every_certificate_once_in_either_order),
        TEST(page_that_ends_exactly_has_no_next_marker),
        TEST(marker_of_another_list_or_none_of_ours_is_refused),
        TEST(policy_is_created_listed_attached_and_deleted_in_legal_order_only),
        TEST(active_certificate_is_not_deleted_even_by_force),
        TEST(eleventh_policy_on_a_certificate_is_refused),
        TEST(policy_versions_count_up_and_the_default_reaches_every_target),
        TEST(things_are_made_once_found_by_attribute_and_changed_at_their_version),
        TEST(a_thing_is_that_of_a_certificate_while_it_is_attached_and_its_changes_are_told),
        TEST(policies_of_groups_count_for_certificates_of_the_things_in_and_below_them),
        TEST(a_registry_of_version_1_is_brought_up_to_date),
        TEST(timeline_keeps_the_newest_records),
        TEST(topics_of_retained_messages_have_the_time_of_the_last_one),
        TEST(dead_letters_are_kept_whole_and_the_oldest_go),
        TEST(waiting_invocations_are_found_by_function_and_time),
        TEST(policy_set_stands_for_its_documents_for_ever),
        TEST(rule_is_created_replaced_listed_and_deleted),
        TEST(function_is_created_replaced_listed_and_deleted),
        TEST(events_leave_in_order_and_a_number_never_comes_twice),
        TEST(invocations_wait_by_due_time_until_done),
        TEST(a_time_is_found_in_the_timeline_whatever_rows_are_gone),
        TEST(a_reader_sees_what_was_committed_since_and_whether_somebody_writes),
        TEST(timeline_is_read_by_certificate_by_client_and_by_time),
        TEST(timeline_is_read_by_prefix_by_address_and_by_class),
        TEST(record_comes_back_as_written),
        TEST(record_with_a_cause_of_later_days_is_shown_with_its_id),
        TEST(callback_may_read_the_same_list),
        TEST(what_was_committed_survives_kill_9_at_any_moment),
    };

    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
