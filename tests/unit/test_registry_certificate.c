/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: certificates, their states, CAs, pages and markers. */
#include "registry_world.h"

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

struct reading {
    struct registry_page page;
    struct seen seen;
    size_t until; /* how many are enough */
};

static void
read_der(void *arg, const struct registry_cert *c, struct span der)
{
    struct reading *to = arg;
    char want[32];

    (void)snprintf(want, sizeof want, "der of %u", c->id[0]);
    assert_true(span_eq(der, span_str(want)));
    see_cert(&to->seen, c);
    to->page.enough = to->seen.count >= to->until;
}

static void
reader_goes_on_behind_the_one_that_was_enough(void **state)
{
    struct fixture *f = *state;
    char marker[sizeof(struct registry_page){ 0 }.next_marker] = "";
    struct reading to = { .until = 0 };
    uint8_t ca[32];

    make_id(ca, 200);
    for (unsigned n = 0; n < 23; n++)
        OK(f, insert_cert(f->r, n, CERT_ACTIVE, n % 2 == 0 ? ca : NULL, &f->msg));
    do {
        to.until += 4;
        to.page = (struct registry_page){ .marker = marker, .limit = 1000 };
        OK(f, registry_cert_read(f->r, NULL, &to.page, read_der, &to, &f->msg));
        assert_int_equal(to.seen.count, to.until < 23 ? to.until : 23);
        memcpy(marker, to.page.next_marker, sizeof marker);
    } while (marker[0] != '\0');
    assert_int_equal(to.seen.count, 23);
    for (unsigned n = 0; n < 23; n++)
        assert_int_equal(to.seen.n[n], 22 - n);
    to = (struct reading){ .page = { .marker = "", .limit = 1000 }, .until = 12 };
    OK(f, registry_cert_read(f->r, ca, &to.page, read_der, &to, &f->msg));
    assert_int_equal(to.seen.count, 12);
    assert_string_equal(to.page.next_marker, ""); /* the last one was enough: there is no more */
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(certificate_comes_back_as_stored),
        TEST(second_insert_of_a_certificate_leaves_the_first_as_it_was),
        TEST(status_moves_along_legal_arrows_only),
        TEST(status_names_parse_back),
        TEST(ca_is_stored_found_by_subject_changed_and_deleted),
        TEST(eleventh_ca_with_one_subject_is_refused),
        TEST(pages_show_every_certificate_once_in_either_order),
        TEST(reader_goes_on_behind_the_one_that_was_enough),
        TEST(page_that_ends_exactly_has_no_next_marker),
        TEST(marker_of_another_list_or_none_of_ours_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
