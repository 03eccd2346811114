/* SPDX-License-Identifier: Apache-2.0 */
/* Thing types. SPEC aws-iot 1.3.4. */
#include "api/internal.h"

#include <stdio.h>
#include <string.h>

static bool
read_type(struct call *c, struct registry_type *t)
{
    const char *name = call_thing_name(c);
    json_t *properties = json_object_get(c->body, "thingTypeProperties");
    const char *description =
        json_string_value(json_object_get(properties, "thingTypeDescription"));
    json_t *searchable = json_object_get(properties, "searchableAttributes");

    if (name == NULL)
        return false;
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    buf_addf(&t->description, "%s", description != NULL ? description : "");
    if (json_array_size(searchable) > 0 && !json_into(searchable, &t->searchable)) {
        call_refuse(c, UNAVAILABLE, "Out of memory for the thing type; try again.");
        return false;
    }
    return true;
}

static enum bm_err
store(struct call *c, struct registry_type *t, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_type_create(c->registry, t, msg);
    if (err == BM_OK)
        err = call_tag(c, iot_arn(c, "thingtype", t->name).text, msg);
    return group_end(c, err, msg);
}

void
api_create_thing_type(struct call *c)
{
    struct registry_type t = { 0 };
    struct bm_msg msg = { "" };
    struct arn arn;
    enum bm_err err;

    if (read_type(c, &t)) {
        arn = iot_arn(c, "thingtype", t.name);
        err = store(c, &t, &msg);
        if (err == BM_ERR_EXISTS)
            call_refuse_exists(c, t.name, arn.text, msg.text);
        else
            call_finish_json(c, err, &msg, 200,
                json_pack("{s:s,s:s,s:s}", "thingTypeName", t.name, "thingTypeArn", arn.text,
                    "thingTypeId", t.id));
    }
    registry_type_fini(&t);
}

/* The parts that describing and listing share. */
static json_t *
type_json(const struct call *c, const struct registry_type *t)
{
    json_t *properties = json_object();
    json_t *metadata = json_pack(
        "{s:b,s:o}", "deprecated", t->deprecated_ms != 0, "creationDate", json_time(t->created_ms));

    if (t->description.len > 0)
        (void)json_object_set_new(
            properties, "thingTypeDescription", json_span(buf_span(&t->description)));
    if (t->searchable.len > 0)
        (void)json_object_set_new(properties, "searchableAttributes",
            json_loadb((const char *)t->searchable.ptr, t->searchable.len, 0, NULL));
    if (t->deprecated_ms != 0)
        (void)json_object_set_new(metadata, "deprecationDate", json_time(t->deprecated_ms));
    return json_pack("{s:s,s:s,s:o,s:o}", "thingTypeName", t->name, "thingTypeArn",
        iot_arn(c, "thingtype", t->name).text, "thingTypeProperties", properties,
        "thingTypeMetadata", metadata);
}

void
api_describe_thing_type(struct call *c)
{
    const char *name = call_thing_name(c);
    struct registry_type t;
    struct bm_msg msg;
    enum bm_err err;
    json_t *body;

    if (name == NULL)
        return;
    err = registry_type_get(c->registry, name, &t, &msg);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
    } else {
        body = type_json(c, &t);
        (void)json_object_set_new(body, "thingTypeId", json_string(t.id));
        call_reply_json(c, 200, body);
    }
    registry_type_fini(&t);
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_type(void *arg, const struct registry_type *t)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, type_json(l->c, t));
}

void
api_list_thing_types(struct call *c)
{
    struct listing l = { .c = c };
    const char *name = param_text(c, "thingTypeName");
    struct bm_msg msg;
    enum bm_err err;

    page_read_tokens(c, &l.page);
    err = registry_type_list(c->registry, name, &l.page.registry, add_type, &l, &msg);
    page_reply(c, &l.page, "thingTypes", err, &msg);
}

void
api_deprecate_thing_type(struct call *c)
{
    const char *name = call_thing_name(c);
    struct bm_msg msg = { "" };

    if (name != NULL)
        call_finish(c,
            registry_type_deprecate(c->registry, name, body_bool(c, "undoDeprecate", false), &msg),
            &msg);
}

static enum bm_err
remove_type(struct call *c, const char *name, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_type_delete(c->registry, name, msg);
    if (err == BM_OK)
        err = registry_tag_clear(c->registry, iot_arn(c, "thingtype", name).text, msg);
    return group_end(c, err, msg);
}

void
api_delete_thing_type(struct call *c)
{
    const char *name = call_thing_name(c);
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL)
        return;
    err = remove_type(c, name, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse_input(c, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}
