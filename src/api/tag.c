/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of CAs, policies, thing types, thing groups and rules. SPEC aws-iot 1.3.6. */
#include "api/internal.h"

#include <string.h>

enum { TAG_KEY_MAX = 128, TAG_VALUE_MAX = 256 };

/* ---- does the resource exist? ---- */

static enum bm_err
find_ca(struct call *c, const char *name, struct bm_msg *msg)
{
    struct registry_ca ca = { 0 };
    uint8_t id[REGISTRY_ID_LEN];
    enum bm_err err = BM_ERR_NOT_FOUND;

    if (hex_decode(id, REGISTRY_ID_LEN, span_str(name)) == BM_OK)
        err = registry_ca_get(c->registry, id, &ca, msg);
    registry_ca_fini(&ca);
    return err;
}

static enum bm_err
find_policy(struct call *c, const char *name, struct bm_msg *msg)
{
    struct registry_policy p = { 0 };
    enum bm_err err = registry_policy_get(c->registry, name, &p, msg);

    registry_policy_fini(&p);
    return err;
}

static enum bm_err
find_type(struct call *c, const char *name, struct bm_msg *msg)
{
    struct registry_type t = { 0 };
    enum bm_err err = registry_type_get(c->registry, name, &t, msg);

    registry_type_fini(&t);
    return err;
}

static enum bm_err
find_group(struct call *c, const char *name, struct bm_msg *msg)
{
    struct registry_group g = { 0 };
    enum bm_err err = registry_group_get(c->registry, name, &g, msg);

    registry_group_fini(&g);
    return err;
}

static enum bm_err
find_rule(struct call *c, const char *name, struct bm_msg *msg)
{
    struct registry_rule rule = { 0 };
    enum bm_err err = registry_rule_get(c->registry, name, &rule, msg);

    registry_rule_fini(&rule);
    return err;
}

static const struct {
    const char *kind;
    enum bm_err (*find)(struct call *c, const char *name, struct bm_msg *msg);
} TAGGABLE[] = { { "cacert", find_ca }, { "policy", find_policy }, { "thingtype", find_type },
    { "thinggroup", find_group }, { "rule", find_rule } };

static bool
check_resource(struct call *c, const char *arn)
{
    struct bm_msg msg = { "" };
    enum bm_err err = BM_ERR_NOT_FOUND;

    for (size_t i = 0; i < sizeof TAGGABLE / sizeof TAGGABLE[0]; i++) {
        struct arn prefix = iot_arn(c, TAGGABLE[i].kind, "");
        size_t len = strlen(prefix.text);

        if (strncmp(arn, prefix.text, len) == 0)
            err = TAGGABLE[i].find(c, arn + len, &msg);
    }
    if (err == BM_ERR_NOT_FOUND)
        call_refuse(c, NOT_FOUND,
            "There is no resource '%.300s' that can have tags here: CA certificates, policies, "
            "thing types, thing groups and rules can.",
            arn);
    else if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    return err == BM_OK;
}

/* ---- the operations ---- */

static enum bm_err
set_tags(struct call *c, const char *arn, const json_t *tags, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    for (size_t i = 0; err == BM_OK && i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        const char *value = json_string_value(json_object_get(tag, "Value"));

        err = registry_tag_set(c->registry, arn, json_string_value(json_object_get(tag, "Key")),
            value != NULL ? value : "", msg);
    }
    return err;
}

/* `k=v&k2=v2`, percent-encoded. */
static enum bm_err
set_header_tags(struct call *c, const char *arn, const char *text, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    while (err == BM_OK && *text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name = strcspn(text, "=&");
        struct buf key = { 0 };
        struct buf value = { 0 };

        err = http_decode(span_of(text, name), &key);
        if (err == BM_OK && name < len)
            err = http_decode(span_of(text + name + 1, len - name - 1), &value);
        if (err == BM_OK && (key.len == 0 || key.len > TAG_KEY_MAX || value.len > TAG_VALUE_MAX))
            err = bm_fail(msg, BM_ERR_INPUT,
                "x-amz-tagging is '%.100s'; want KEY=VALUE&KEY=VALUE with keys of 1 to %d and "
                "values of at most %d bytes",
                text, TAG_KEY_MAX, TAG_VALUE_MAX);
        if (err == BM_OK)
            err = registry_tag_set(
                c->registry, arn, buf_cstr(&key), value.len > 0 ? buf_cstr(&value) : "", msg);
        buf_fini(&key);
        buf_fini(&value);
        text += len + (text[len] == '&');
    }
    return err;
}

enum bm_err
call_tag(struct call *c, const char *arn, struct bm_msg *msg)
{
    const char *header = header_text(c, "x-amz-tagging");
    enum bm_err err = header != NULL ? set_header_tags(c, arn, header, msg)
                                     : set_tags(c, arn, json_object_get(c->body, "tags"), msg);

    /* LimitExceeded is no error of most operations that create */
    return err == BM_ERR_LIMIT ? BM_ERR_INPUT : err;
}

void
api_tag_resource(struct call *c)
{
    const char *arn = body_text(c, "resourceArn");
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!check_resource(c, arn))
        return;
    err = group_begin(c, &msg);
    if (err == BM_OK)
        err = group_end(c, set_tags(c, arn, json_object_get(c->body, "tags"), &msg), &msg);
    call_finish(c, err, &msg);
}

void
api_untag_resource(struct call *c)
{
    const char *arn = body_text(c, "resourceArn");
    json_t *keys = json_object_get(c->body, "tagKeys");
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!check_resource(c, arn))
        return;
    err = group_begin(c, &msg);
    for (size_t i = 0; err == BM_OK && i < json_array_size(keys); i++)
        err =
            registry_tag_remove(c->registry, arn, json_string_value(json_array_get(keys, i)), &msg);
    if (err == BM_OK)
        err = group_end(c, err, &msg);
    call_finish(c, err, &msg);
}

static void
add_tag(void *arg, const char *key, const char *value)
{
    (void)json_array_append_new(arg, json_pack("{s:s,s:s}", "Key", key, "Value", value));
}

/* At most fifty, so there is one page. */
void
api_list_tags_for_resource(struct call *c)
{
    const char *arn = param_text(c, "resourceArn");
    json_t *items;
    struct bm_msg msg;
    enum bm_err err;

    if (!check_resource(c, arn))
        return;
    items = json_array();
    err = registry_tag_list(c->registry, arn, add_tag, items, &msg);
    if (err == BM_OK)
        call_reply_json(c, 200, json_pack("{s:O}", "tags", items));
    else
        call_refuse_err(c, err, &msg);
    json_decref(items);
}
