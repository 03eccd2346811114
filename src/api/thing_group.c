/* SPDX-License-Identifier: Apache-2.0 */
/* Thing groups and their members. SPEC aws-iot 1.3.4. */
#include "api/internal.h"

#include <stdio.h>
#include <string.h>

/* Description and attributes of the member thingGroupProperties. */
static bool
set_properties(struct call *c, struct registry_group *g)
{
    json_t *properties = json_object_get(c->body, "thingGroupProperties");
    const char *description =
        json_string_value(json_object_get(properties, "thingGroupDescription"));
    json_t *there = json_loadb((const char *)g->attributes.ptr, g->attributes.len, 0, NULL);
    json_t *attributes = call_attributes(c, json_object_get(properties, "attributePayload"), there);
    bool good = attributes != NULL;

    if (description != NULL) {
        g->description.len = 0;
        buf_addf(&g->description, "%s", description);
    }
    g->attributes.len = 0;
    if (good && !json_into(attributes, &g->attributes)) {
        call_refuse(c, UNAVAILABLE, "Out of memory for the thing group; try again.");
        good = false;
    }
    json_decref(attributes);
    json_decref(there);
    return good;
}

/* ---- create and describe ---- */

static enum bm_err
store(struct call *c, struct registry_group *g, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_group_create(c->registry, g, msg);
    if (err == BM_OK)
        err = call_tag(c, iot_arn(c, "thinggroup", g->name).text, msg);
    return group_end(c, err, msg);
}

/* The model has no ResourceNotFoundException for a missing parent. */
static void
insert(struct call *c, struct registry_group *g)
{
    struct arn arn = iot_arn(c, "thinggroup", g->name);
    struct bm_msg msg = { "" };
    enum bm_err err = store(c, g, &msg);

    if (err == BM_ERR_EXISTS)
        call_refuse_exists(c, g->name, arn.text, msg.text);
    else if (err == BM_ERR_NOT_FOUND)
        call_refuse_input(c, "parentGroupName: %s, so nothing can have a parent there.", msg.text);
    else
        call_finish_json(c, err, &msg, 200,
            json_pack("{s:s,s:s,s:s}", "thingGroupName", g->name, "thingGroupArn", arn.text,
                "thingGroupId", g->id));
}

void
api_create_thing_group(struct call *c)
{
    const char *name = call_thing_name(c);
    const char *parent = body_text(c, "parentGroupName");
    struct registry_group g = { 0 };

    if (name == NULL)
        return;
    (void)snprintf(g.name, sizeof g.name, "%s", name);
    (void)snprintf(g.parent, sizeof g.parent, "%s", parent != NULL ? parent : "");
    if (set_properties(c, &g))
        insert(c, &g);
    registry_group_fini(&g);
}

/* [root, ..., parent] */
static json_t *
ancestors(const struct call *c, const char *parent)
{
    json_t *list = json_array();
    char name[REGISTRY_NAME_MAX + 1];

    (void)snprintf(name, sizeof name, "%s", parent);
    while (name[0] != '\0') {
        struct registry_group g;

        (void)json_array_insert_new(list, 0,
            json_pack(
                "{s:s,s:s}", "groupName", name, "groupArn", iot_arn(c, "thinggroup", name).text));
        if (registry_group_get(c->registry, name, &g, NULL) != BM_OK)
            g.parent[0] = '\0';
        memcpy(name, g.parent, sizeof name);
        registry_group_fini(&g);
    }
    return list;
}

static json_t *
group_json(const struct call *c, const struct registry_group *g)
{
    json_t *properties = json_pack("{s:{s:o}}", "attributePayload", "attributes",
        json_loadb((const char *)g->attributes.ptr, g->attributes.len, 0, NULL));
    json_t *metadata = json_pack("{s:o}", "creationDate", json_time(g->created_ms));

    if (g->description.len > 0)
        (void)json_object_set_new(
            properties, "thingGroupDescription", json_span(buf_span(&g->description)));
    if (g->parent[0] != '\0') {
        (void)json_object_set_new(metadata, "parentGroupName", json_string(g->parent));
        (void)json_object_set_new(metadata, "rootToParentThingGroups", ancestors(c, g->parent));
    }
    return json_pack("{s:s,s:s,s:s,s:I,s:o,s:o}", "thingGroupName", g->name, "thingGroupId", g->id,
        "thingGroupArn", iot_arn(c, "thinggroup", g->name).text, "version", (json_int_t)g->version,
        "thingGroupProperties", properties, "thingGroupMetadata", metadata);
}

void
api_describe_thing_group(struct call *c)
{
    const char *name = call_thing_name(c);
    struct registry_group g;
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    err = registry_group_get(c->registry, name, &g, &msg);
    if (err == BM_OK)
        call_reply_json(c, 200, group_json(c, &g));
    else
        call_refuse_err(c, err, &msg);
    registry_group_fini(&g);
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_group_name(void *arg, const char *name)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, json_pack("{s:s,s:s}", "groupName", name, "groupArn",
                                                   iot_arn(l->c, "thinggroup", name).text));
}

static void
add_group(void *arg, const struct registry_group *g)
{
    add_group_name(arg, g->name);
}

void
api_list_thing_groups(struct call *c)
{
    struct listing l = { .c = c };
    const char *parent = param_text(c, "parentGroup");
    const char *prefix = param_text(c, "namePrefixFilter");
    bool recursive = param_bool(c, "recursive", true);
    struct bm_msg msg;
    enum bm_err err;

    page_read_tokens(c, &l.page);
    err = registry_group_list(
        c->registry, parent, recursive, prefix, &l.page.registry, add_group, &l, &msg);
    page_reply(c, &l.page, "thingGroups", err, &msg);
}

/* ---- change ---- */

void
api_update_thing_group(struct call *c)
{
    const char *name = call_thing_name(c);
    struct registry_group g;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL)
        return;
    err = registry_group_get(c->registry, name, &g, &msg);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
    } else if (set_properties(c, &g)) {
        err = registry_group_update(c->registry, &g, body_number(c, "expectedVersion", 0), &msg);
        call_finish_json(c, err, &msg, 200, json_pack("{s:I}", "version", (json_int_t)g.version));
    }
    registry_group_fini(&g);
}

static enum bm_err
remove_group(struct call *c, const char *name, int64_t expected, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_group_delete(c->registry, name, expected, msg);
    if (err == BM_OK)
        err = registry_tag_clear(c->registry, iot_arn(c, "thinggroup", name).text, msg);
    return group_end(c, err, msg);
}

void
api_delete_thing_group(struct call *c)
{
    const char *name = call_thing_name(c);
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL)
        return;
    err = remove_group(c, name, param_number(c, "expectedVersion", 0), &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse_input(c, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}

/* ---- members ---- */

/* The name in member `name`, or in the ARN in member `arn`; both must agree. NULL: refused. */
static const char *
named(struct call *c, const char *name, const char *arn, const char *kind)
{
    const char *text = body_text(c, name);
    const char *given = body_text(c, arn);
    struct arn prefix = iot_arn(c, kind, "");
    size_t len = strlen(prefix.text);

    if (given != NULL && strncmp(given, prefix.text, len) != 0) {
        call_refuse_input(c, "%s is '%.200s'; want %sNAME.", arn, given, prefix.text);
        return NULL;
    }
    if (given != NULL && text != NULL && strcmp(text, given + len) != 0) {
        call_refuse_input(
            c, "%s is '%.130s', which differs from %s '%.200s'.", name, text, arn, given);
        return NULL;
    }
    if (given == NULL && text == NULL)
        call_refuse_input(c, "One of the members %s and %s must be there.", name, arn);
    return text != NULL ? text : given != NULL ? given + len : NULL;
}

static void
change_member(struct call *c, enum bm_err (*change)(struct registry *r, const char *group,
                                  const char *thing, struct bm_msg *msg))
{
    const char *group = named(c, "thingGroupName", "thingGroupArn", "thinggroup");
    const char *thing = group != NULL ? named(c, "thingName", "thingArn", "thing") : NULL;
    struct bm_msg msg = { "" };

    if (thing != NULL)
        call_finish(c, change(c->registry, group, thing, &msg), &msg);
}

void
api_add_thing_to_thing_group(struct call *c)
{
    change_member(c, registry_group_add);
}

void
api_remove_thing_from_thing_group(struct call *c)
{
    change_member(c, registry_group_remove);
}

static void
add_name(void *arg, const char *name)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, json_string(name));
}

void
api_list_things_in_thing_group(struct call *c)
{
    const char *name = call_thing_name(c);
    struct listing l = { .c = c };
    bool recursive = param_bool(c, "recursive", false);
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    page_read_tokens(c, &l.page);
    err = registry_group_things(c->registry, name, recursive, &l.page.registry, add_name, &l, &msg);
    page_reply(c, &l.page, "things", err, &msg);
}

void
api_list_thing_groups_for_thing(struct call *c)
{
    const char *name = call_thing_name(c);
    struct listing l = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    page_read_tokens(c, &l.page);
    err = registry_groups_of(c->registry, name, &l.page.registry, add_group_name, &l, &msg);
    page_reply(c, &l.page, "thingGroups", err, &msg);
}
