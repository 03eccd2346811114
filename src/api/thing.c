/* SPDX-License-Identifier: Apache-2.0 */
/* Things and their principals. SPEC aws-iot 1.3.4. */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,@/:#-"

enum { ATTRIBUTES_MAX = 50 };

/* ---- attributes ---- */

bool
json_into(const json_t *value, struct buf *out)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

    if (text != NULL)
        buf_add(out, text, strlen(text));
    free(text);
    return text != NULL && !out->failed;
}

static bool
attribute_fits(struct call *c, const char *name, const char *value)
{
    const char *bad = strspn(name, ATTRIBUTE_LETTERS) != strlen(name)     ? name
                      : strspn(value, ATTRIBUTE_LETTERS) != strlen(value) ? value
                                                                          : NULL;

    if (bad == NULL)
        return true;
    call_refuse_input(c,
        "The attribute '%.130s' has '%.200s'; names and values consist of letters, digits and "
        "'_.,@/:#-'.",
        name, bad);
    return false;
}

/* A value of "" takes the attribute away. */
json_t *
call_attributes(struct call *c, const json_t *payload, const json_t *there)
{
    json_t *given = json_object_get(payload, "attributes");
    bool merge = json_is_true(json_object_get(payload, "merge"));
    json_t *out;
    const char *name;
    json_t *value;

    out = there != NULL && (merge || given == NULL) ? json_deep_copy(there) : json_object();
    json_object_foreach(given, name, value)
    {
        if (!attribute_fits(c, name, json_string_value(value))) {
            json_decref(out);
            return NULL;
        }
        if (json_string_length(value) == 0)
            (void)json_object_del(out, name);
        else
            (void)json_object_set(out, name, value);
    }
    if (json_object_size(out) <= ATTRIBUTES_MAX)
        return out;
    call_refuse_input(c, "There would be %zu attributes; at most %d are allowed.",
        json_object_size(out), ATTRIBUTES_MAX);
    json_decref(out);
    return NULL;
}

static bool
set_attributes(struct call *c, struct registry_thing *t)
{
    json_t *there = json_loadb((const char *)t->attributes.ptr, t->attributes.len, 0, NULL);
    json_t *attributes = call_attributes(c, json_object_get(c->body, "attributePayload"), there);
    bool good = attributes != NULL;

    t->attributes.len = 0;
    if (good && !json_into(attributes, &t->attributes)) {
        call_refuse(c, UNAVAILABLE, "Out of memory for the attributes; try again.");
        good = false;
    }
    json_decref(attributes);
    json_decref(there);
    return good;
}

/* ---- create and describe ---- */

/* What concerns a thing that is there in another state. */
static void
finish(struct call *c, enum bm_err err, const struct bm_msg *msg)
{
    if (err == BM_ERR_CONFLICT)
        call_refuse_input(c, "%s", msg->text);
    else
        call_finish(c, err, msg);
}

void
api_create_thing(struct call *c)
{
    static const char *const not_built[] = { "billingGroupName", NULL };
    const char *name = call_thing_name(c);
    const char *type = body_text(c, "thingTypeName");
    struct registry_thing t = { 0 };
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL || !call_without(c, not_built))
        return;
    (void)snprintf(t.name, sizeof t.name, "%s", name);
    (void)snprintf(t.type, sizeof t.type, "%s", type != NULL ? type : "");
    if (set_attributes(c, &t)) {
        err = registry_thing_create(c->registry, &t, &msg);
        if (err == BM_ERR_EXISTS)
            call_refuse_exists(c, name, iot_arn(c, "thing", name).text, msg.text);
        else if (err == BM_ERR_CONFLICT)
            call_refuse_input(c, "%s", msg.text);
        else
            call_finish_json(c, err, &msg, 200,
                json_pack("{s:s,s:s,s:s}", "thingName", name, "thingArn",
                    iot_arn(c, "thing", name).text, "thingId", t.id));
    }
    registry_thing_fini(&t);
}

static json_t *
attributes_json(const struct registry_thing *t)
{
    json_t *value = json_loadb((const char *)t->attributes.ptr, t->attributes.len, 0, NULL);

    return value != NULL ? value : json_object();
}

void
api_describe_thing(struct call *c)
{
    const char *name = call_thing_name(c);
    struct registry_thing t;
    struct bm_msg msg;
    enum bm_err err;
    json_t *body;

    if (name == NULL)
        return;
    err = registry_thing_get(c->registry, name, &t, &msg);
    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
    } else {
        body = json_pack("{s:s,s:s,s:s,s:s,s:o,s:I}", "defaultClientId", name, "thingName", name,
            "thingId", t.id, "thingArn", iot_arn(c, "thing", name).text, "attributes",
            attributes_json(&t), "version", (json_int_t)t.version);
        if (t.type[0] != '\0')
            (void)json_object_set_new(body, "thingTypeName", json_string(t.type));
        call_reply_json(c, 200, body);
    }
    registry_thing_fini(&t);
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_thing(void *arg, const struct registry_thing *t)
{
    struct listing *l = arg;
    json_t *item = json_pack("{s:s,s:s,s:o,s:I}", "thingName", t->name, "thingArn",
        iot_arn(l->c, "thing", t->name).text, "attributes", attributes_json(t), "version",
        (json_int_t)t->version);

    if (t->type[0] != '\0')
        (void)json_object_set_new(item, "thingTypeName", json_string(t->type));
    (void)json_array_append_new(l->page.items, item);
}

void
api_list_things(struct call *c)
{
    struct listing l = { .c = c };
    const struct registry_thing_filter filter = { .type = param_text(c, "thingTypeName"),
        .attribute = param_text(c, "attributeName"),
        .value = param_text(c, "attributeValue"),
        .prefix = param_bool(c, "usePrefixAttributeValue", false) };
    struct bm_msg msg;
    enum bm_err err;

    if (filter.value != NULL && filter.attribute == NULL) {
        call_refuse_input(
            c, "attributeValue needs an attributeName; without one nothing is searchable.");
        return;
    }
    page_read_tokens(c, &l.page);
    err = registry_thing_list(c->registry, &filter, &l.page.registry, add_thing, &l, &msg);
    page_reply(c, &l.page, "things", err, &msg);
}

/* ---- change ---- */

static bool
set_type(struct call *c, struct registry_thing *t)
{
    const char *type = body_text(c, "thingTypeName");
    bool remove = body_bool(c, "removeThingType", false);

    if (remove && type != NULL) {
        call_refuse_input(c, "thingTypeName and removeThingType: a thing has no type that differs "
                             "from both; give one.");
        return false;
    }
    if (remove)
        t->type[0] = '\0';
    if (type != NULL)
        (void)snprintf(t->type, sizeof t->type, "%s", type);
    return true;
}

void
api_update_thing(struct call *c)
{
    const char *name = call_thing_name(c);
    struct registry_thing t;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL)
        return;
    err = registry_thing_get(c->registry, name, &t, &msg);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else if (set_type(c, &t) && set_attributes(c, &t))
        finish(c,
            registry_thing_update(c->registry, &t, body_number(c, "expectedVersion", 0), &msg),
            &msg);
    registry_thing_fini(&t);
}

void
api_delete_thing(struct call *c)
{
    const char *name = call_thing_name(c);
    struct bm_msg msg = { "" };

    if (name != NULL)
        finish(c,
            registry_thing_delete(c->registry, name, param_number(c, "expectedVersion", 0), &msg),
            &msg);
}

/* ---- principals ---- */

static void
change_principal(struct call *c, bool attach)
{
    const char *name = call_thing_name(c);
    uint8_t id[REGISTRY_ID_LEN];
    struct bm_msg msg = { "" };

    if (name != NULL && call_cert_arn(c, "principal", header_text(c, "x-amzn-principal"), id))
        call_finish(c,
            attach ? registry_thing_attach(c->registry, name, id, &msg)
                   : registry_thing_detach(c->registry, name, id, &msg),
            &msg);
}

void
api_attach_thing_principal(struct call *c)
{
    change_principal(c, true);
}

void
api_detach_thing_principal(struct call *c)
{
    change_principal(c, false);
}

static void
add_principal(void *arg, const uint8_t id[REGISTRY_ID_LEN])
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, json_string(cert_arn(l->c, "cert", id).text));
}

void
api_list_thing_principals(struct call *c)
{
    const char *name = call_thing_name(c);
    struct listing l = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    page_read_tokens(c, &l.page);
    err = registry_thing_principals(c->registry, name, &l.page.registry, add_principal, &l, &msg);
    page_reply(c, &l.page, "principals", err, &msg);
}

static void
add_name(void *arg, const char *name)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, json_string(name));
}

void
api_list_principal_things(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    struct listing l = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    if (!call_cert_arn(c, "principal", header_text(c, "x-amzn-principal"), id))
        return;
    page_read_tokens(c, &l.page);
    err = registry_principal_things(c->registry, id, &l.page.registry, add_name, &l, &msg);
    page_reply(c, &l.page, "things", err, &msg);
}
