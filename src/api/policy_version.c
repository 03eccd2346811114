/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of policies. SPEC aws-iot 1.3.3. */
#include "api/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *
version_id(int version)
{
    return json_sprintf("%d", version);
}

/* Label 1: a decimal number from 1; something else is the id of no version. */
static bool
read_version(struct call *c, int *out)
{
    const char *text = call_label(c, 1);
    size_t len = strlen(text);

    *out = len <= 9 ? (int)strtol(text, NULL, 10) : 0;
    if (len > 0 && len <= 9 && strspn(text, "0123456789") == len && text[0] != '0')
        return true;
    call_refuse_input(c, "The policyVersionId '%.40s' is no number from 1.", text);
    return false;
}

void
api_create_policy_version(struct call *c)
{
    const char *name = call_policy_name(c);
    const char *document = body_text(c, "policyDocument");
    bool make_default = param_bool(c, "setAsDefault", false);
    struct bm_msg msg = { "" };
    int version = 0;
    enum bm_err err;

    if (name == NULL || !call_check_document(c, document))
        return;
    err = registry_policy_version_create(
        c->registry, name, span_str(document), make_default, &version, &msg);
    if (err == BM_ERR_LIMIT)
        call_refuse(c, VERSIONS_LIMIT, "%s", msg.text);
    else
        call_finish_json(c, err, &msg, 200,
            json_pack("{s:s,s:s,s:o,s:b}", "policyArn", iot_arn(c, "policy", name).text,
                "policyDocument", document, "policyVersionId", version_id(version),
                "isDefaultVersion", make_default));
}

void
api_get_policy_version(struct call *c)
{
    const char *name = call_policy_name(c);
    struct registry_policy p = { 0 };
    struct bm_msg msg;
    enum bm_err err;
    int version;

    if (name == NULL || !read_version(c, &version))
        return;
    err = registry_policy_version_get(c->registry, name, version, &p, &msg);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else
        call_reply_json(c, 200,
            json_pack("{s:s,s:s,s:o,s:o,s:b,s:o,s:o,s:s}", "policyName", name, "policyArn",
                iot_arn(c, "policy", name).text, "policyDocument", json_span(buf_span(&p.document)),
                "policyVersionId", version_id(version), "isDefaultVersion", p.is_default,
                "creationDate", json_time(p.created_ms), "lastModifiedDate",
                json_time(p.modified_ms), "generationId", p.generation));
    registry_policy_fini(&p);
}

static void
add_version(void *arg, const struct registry_policy *p)
{
    (void)json_array_append_new(
        arg, json_pack("{s:o,s:b,s:o}", "versionId", version_id(p->version), "isDefaultVersion",
                 p->is_default, "createDate", json_time(p->created_ms)));
}

void
api_list_policy_versions(struct call *c)
{
    const char *name = call_policy_name(c);
    json_t *items;
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    items = json_array();
    err = registry_policy_versions(c->registry, name, add_version, items, &msg);
    if (err == BM_OK)
        call_reply_json(c, 200, json_pack("{s:O}", "policyVersions", items));
    else
        call_refuse_err(c, err, &msg);
    json_decref(items);
}

void
api_set_default_policy_version(struct call *c)
{
    const char *name = call_policy_name(c);
    struct bm_msg msg = { "" };
    int version;

    if (name != NULL && read_version(c, &version))
        call_finish(c, registry_policy_version_default(c->registry, name, version, &msg), &msg);
}

void
api_delete_policy_version(struct call *c)
{
    const char *name = call_policy_name(c);
    struct bm_msg msg = { "" };
    int version;
    enum bm_err err;

    if (name == NULL || !read_version(c, &version))
        return;
    err = registry_policy_version_delete(c->registry, name, version, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse(c, DELETE_CONFLICT, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}
