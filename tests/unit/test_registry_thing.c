/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/registry: things, groups and what policies they bring. */
#include "registry_world.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(things_are_made_once_found_by_attribute_and_changed_at_their_version),
        TEST(a_thing_is_that_of_a_certificate_while_it_is_attached_and_its_changes_are_told),
        TEST(policies_of_groups_count_for_certificates_of_the_things_in_and_below_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
