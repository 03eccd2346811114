/* SPDX-License-Identifier: Apache-2.0 */
/* Policies; their versions are in policy_version.c. SPEC aws-iot 1.3.3, 7.1. */
#include "api/internal.h"

#include "policy/policy.h"

#include <stdio.h>
#include <string.h>

static json_t *
version_id(int version)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", version);
    return json_string(text);
}

bool
call_check_document(struct call *c, const char *document)
{
    struct policy *p = NULL;
    struct bm_msg msg;
    enum bm_err err = policy_parse(span_str(document), &p, &msg);

    policy_free(p);
    if (err == BM_ERR_INPUT)
        call_refuse(c, MALFORMED_POLICY, "%s", msg.text);
    else if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    return err == BM_OK;
}

static enum bm_err
store(struct call *c, const char *name, const char *document, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_policy_create(c->registry, name, span_str(document), msg);
    if (err == BM_OK)
        err = call_tag(c, iot_arn(c, "policy", name).text, msg);
    return group_end(c, err, msg);
}

void
api_create_policy(struct call *c)
{
    const char *name = call_policy_name(c);
    const char *document = body_text(c, "policyDocument");
    struct bm_msg msg = { "" };
    struct arn arn;
    enum bm_err err;

    if (name == NULL || !call_check_document(c, document))
        return;
    arn = iot_arn(c, "policy", name);
    err = store(c, name, document, &msg);
    if (err == BM_ERR_EXISTS)
        call_refuse_exists(c, name, arn.text, msg.text);
    else
        call_finish_json(c, err, &msg, 200,
            json_pack("{s:s,s:s,s:s,s:o}", "policyName", name, "policyArn", arn.text,
                "policyDocument", document, "policyVersionId", version_id(1)));
}

void
api_get_policy(struct call *c)
{
    const char *name = call_policy_name(c);
    struct registry_policy p = { 0 };
    struct bm_msg msg;
    enum bm_err err;

    if (name == NULL)
        return;
    err = registry_policy_get(c->registry, name, &p, &msg);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else
        call_reply_json(c, 200,
            json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:s}", "policyName", name, "policyArn",
                iot_arn(c, "policy", name).text, "policyDocument", json_span(buf_span(&p.document)),
                "defaultVersionId", version_id(p.version), "creationDate", json_time(p.created_ms),
                "lastModifiedDate", json_time(p.modified_ms), "generationId", p.generation));
    registry_policy_fini(&p);
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_policy(void *arg, const struct registry_policy *p)
{
    struct listing *l = arg;

    (void)json_array_append_new(
        l->page.items, json_pack("{s:s,s:s}", "policyName", p->name, "policyArn",
                           iot_arn(l->c, "policy", p->name).text));
}

void
api_list_policies(struct call *c)
{
    struct listing l = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    page_read(c, &l.page);
    err = registry_policy_list(c->registry, &l.page.registry, add_policy, &l, &msg);
    page_reply(c, &l.page, "policies", err, &msg);
}

static enum bm_err
remove_policy(struct call *c, const char *name, struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_policy_delete(c->registry, name, msg);
    if (err == BM_OK)
        err = registry_tag_clear(c->registry, iot_arn(c, "policy", name).text, msg);
    return group_end(c, err, msg);
}

void
api_delete_policy(struct call *c)
{
    const char *name = call_policy_name(c);
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (name == NULL)
        return;
    err = remove_policy(c, name, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse(c, DELETE_CONFLICT, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}
