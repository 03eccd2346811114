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
insert_cert(struct registry *r, unsigned n, enum cert_status status, const uint8_t *ca,
    struct bm_msg *msg)
{
    struct registry_cert c = { .status = status,
        .mode = MODE_DEFAULT,
        .not_before_ms = 1000,
        .not_after_ms = 2000 + n };
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
                assert_non_null(strstr(f->msg.text, cert_status_name((enum cert_status)(from + 1))));
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
    };

    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
