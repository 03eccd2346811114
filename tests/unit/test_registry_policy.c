/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: policies, their versions, sets and targets. */
#include "registry_world.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(policy_is_created_listed_attached_and_deleted_in_legal_order_only),
        TEST(active_certificate_is_not_deleted_even_by_force),
        TEST(eleventh_policy_on_a_certificate_is_refused),
        TEST(policy_versions_count_up_and_the_default_reaches_every_target),
        TEST(policy_set_stands_for_its_documents_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
