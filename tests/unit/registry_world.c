/* SPDX-License-Identifier: Apache-2.0 */
/* See registry_world.h. */
#include "registry_world.h"

#include "base/file.h"

#include <unistd.h>

static void
on_changed(void *arg, const uint8_t id[REGISTRY_ID_LEN])
{
    struct fixture *f = arg;

    f->changed++;
    memcpy(f->last_changed, id, 32);
}

void
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

int
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

int
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

void
make_id(uint8_t id[32], unsigned n)
{
    memset(id, 0xa5, 32);
    for (size_t i = 0; i < 4; i++)
        id[i] = (uint8_t)(n >> (8 * i));
}

enum bm_err
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

enum cert_status
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

void
see_cert(void *arg, const struct registry_cert *c)
{
    struct seen *s = arg;

    assert_true(s->count < 64);
    assert_int_equal(c->der.len, 0);
    s->n[s->count++] = c->id[0];
}

void
add(struct names *n, const char *text, const char *end)
{
    size_t len = strlen(n->text);

    (void)snprintf(n->text + len, sizeof n->text - len, "%s%s", text, end);
}

void
see_policy(void *arg, const struct registry_policy *p)
{
    add(arg, p->name, " ");
}

void
see_record(void *arg, const struct timeline_record *rec)
{
    add(arg, rec->facts, " ");
}

void
record(
    struct fixture *f, enum cause cause, const uint8_t *id, const char *client, const char *facts)
{
    struct timeline_record rec;

    timeline_fill(&rec, cause, id, client, "127.0.0.1:1", "ACTIVE", "%s", facts);
    OK(f, registry_record(f->r, &rec, &f->msg));
}
