/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which policies a certificate or a thing group has. SPEC aws-iot 1.3.3. Two generations of
 * operations act on one set: AttachPolicy has the target in its body, AttachPrincipalPolicy the
 * principal, which is a certificate, in a header.
 */
#include "api/internal.h"

#include <string.h>

/* ---- whose ---- */

static bool
read_target(struct call *c, struct registry_target *out)
{
    return call_target(c, "target", body_text(c, "target"), out);
}

static bool
read_principal(struct call *c, struct registry_target *out)
{
    out->group = NULL;
    return call_cert_arn(c, "principal", header_text(c, "x-amzn-iot-principal"), out->cert_id);
}

/* ---- attach and detach ---- */

static enum bm_err
change(struct call *c, const char *policy, const struct registry_target *target, bool attach,
    struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = attach ? registry_policy_attach(c->registry, policy, target, msg)
                 : registry_policy_detach(c->registry, policy, target, msg);
    if (err == BM_OK)
        err = call_record(c, attach ? CAUSE_POLICY_ATTACHED : CAUSE_POLICY_DETACHED,
            target->group == NULL ? target->cert_id : NULL, NULL, msg, "policy=%s by=%s%s%s",
            policy, c->access_key, target->group != NULL ? " group=" : "",
            target->group != NULL ? target->group : "");
    return group_end(c, err, msg);
}

static void
change_for(struct call *c, bool (*read)(struct call *c, struct registry_target *out), bool attach)
{
    const char *policy = call_policy_name(c);
    struct registry_target target;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (policy == NULL || !read(c, &target))
        return;
    err = change(c, policy, &target, attach, &msg);
    /* DetachPolicy has no ResourceNotFoundException in the model */
    if (err == BM_ERR_NOT_FOUND && strcmp(c->op->name, "DetachPolicy") == 0)
        call_refuse_input(c, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}

void
api_attach_policy(struct call *c)
{
    change_for(c, read_target, true);
}

void
api_detach_policy(struct call *c)
{
    change_for(c, read_target, false);
}

void
api_attach_principal_policy(struct call *c)
{
    change_for(c, read_principal, true);
}

void
api_detach_principal_policy(struct call *c)
{
    change_for(c, read_principal, false);
}

/* ---- lists ---- */

struct policies {
    struct call *c;
    json_t *items;
};

static void
add_policy(void *arg, const struct registry_policy *p)
{
    struct policies *l = arg;

    (void)json_array_append_new(l->items, json_pack("{s:s,s:s}", "policyName", p->name, "policyArn",
                                              iot_arn(l->c, "policy", p->name).text));
}

/* At most ten a target, so there is one page whatever size is asked for. */
static void
list_of(struct call *c, const struct registry_target *target, bool inherited)
{
    struct policies l = { c, json_array() };
    struct bm_msg msg;
    enum bm_err err =
        registry_policy_attached(c->registry, target, inherited, add_policy, &l, &msg);

    if (err != BM_OK) {
        json_decref(l.items);
        call_refuse_err(c, err, &msg);
    } else {
        call_reply_json(c, 200, json_pack("{s:o}", "policies", l.items));
    }
}

void
api_list_attached_policies(struct call *c)
{
    struct registry_target target;

    if (call_target(c, "target", call_label(c, 0), &target))
        list_of(c, &target, param_bool(c, "recursive", false));
}

void
api_list_principal_policies(struct call *c)
{
    struct registry_target target;

    if (read_principal(c, &target))
        list_of(c, &target, false);
}

struct targets {
    struct call *c;
    struct page page;
    bool principals; /* certificates only */
};

static void
add_target(void *arg, const struct registry_target *target)
{
    struct targets *t = arg;

    if (target->group == NULL)
        (void)json_array_append_new(
            t->page.items, json_string(cert_arn(t->c, "cert", target->cert_id).text));
    else if (!t->principals)
        (void)json_array_append_new(
            t->page.items, json_string(iot_arn(t->c, "thinggroup", target->group).text));
}

static void
list_targets(struct call *c, const char *policy, const char *member, bool principals)
{
    struct targets t = { .c = c, .principals = principals };
    struct bm_msg msg;
    enum bm_err err;

    page_read(c, &t.page);
    err = registry_policy_targets(c->registry, policy, &t.page.registry, add_target, &t, &msg);
    page_reply(c, &t.page, member, err, &msg);
}

void
api_list_targets_for_policy(struct call *c)
{
    const char *policy = call_policy_name(c);

    if (policy != NULL)
        list_targets(c, policy, "targets", false);
}

void
api_list_policy_principals(struct call *c)
{
    list_targets(c, header_text(c, "x-amzn-iot-policy"), "principals", true);
}
