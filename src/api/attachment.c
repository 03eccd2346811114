/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which policies a certificate has. SPEC aws-iot 1.3.3. Two generations of operations act on one
 * set: AttachPolicy has the target in its body, AttachPrincipalPolicy the principal in a header.
 */
#include "api/internal.h"

#include <string.h>

/* ---- whose ---- */

static bool
read_target(struct call *c, uint8_t id[REGISTRY_ID_LEN])
{
    const char *target;

    return call_text(c, "target", true, ARN_MAX, &target) && call_cert_arn(c, "target", target, id);
}

static bool
read_principal(struct call *c, uint8_t id[REGISTRY_ID_LEN])
{
    const char *principal = http_header(c->rq, "x-amzn-iot-principal");

    if (principal != NULL)
        return call_cert_arn(c, "principal", principal, id);
    call_refuse_input(c, "The header x-amzn-iot-principal with the certificate's ARN is missing.");
    return false;
}

/* ---- attach and detach ---- */

static enum bm_err
change(struct call *c, const char *policy, const uint8_t id[REGISTRY_ID_LEN], bool attach,
    struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = attach ? registry_policy_attach(c->registry, policy, id, msg)
                 : registry_policy_detach(c->registry, policy, id, msg);
    if (err == BM_OK)
        err = call_record(c, attach ? CAUSE_POLICY_ATTACHED : CAUSE_POLICY_DETACHED, id, NULL, msg,
            "policy=%s by=%s", policy, c->api->options.access_key);
    return group_end(c, err, msg);
}

static void
change_for(struct call *c, bool (*read)(struct call *c, uint8_t id[REGISTRY_ID_LEN]), bool attach)
{
    const char *policy = call_policy_name(c);
    uint8_t id[REGISTRY_ID_LEN];
    struct bm_msg msg = { "" };

    enum bm_err err;

    if (policy == NULL || !read(c, id))
        return;
    err = change(c, policy, id, attach, &msg);
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

/* At most ten, so there is one page whatever size is asked for. */
static void
list_of(struct call *c, const uint8_t id[REGISTRY_ID_LEN])
{
    struct policies l = { c, json_array() };
    struct bm_msg msg;
    enum bm_err err = registry_policy_attached(c->registry, id, add_policy, &l, &msg);

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
    uint8_t id[REGISTRY_ID_LEN];

    if (call_cert_arn(c, "target", call_label(c, 0), id))
        list_of(c, id);
}

void
api_list_principal_policies(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];

    if (read_principal(c, id))
        list_of(c, id);
}

/* Targets come in one list from the registry; the marker is the last id of the page before. */
struct targets {
    struct call *c;
    struct page page;
    uint8_t after[REGISTRY_ID_LEN];
    bool skipping;
};

static void
add_target(void *arg, const uint8_t id[REGISTRY_ID_LEN])
{
    struct targets *t = arg;

    if (t->skipping) {
        t->skipping = memcmp(id, t->after, REGISTRY_ID_LEN) != 0;
        return;
    }
    if (json_array_size(t->page.items) == t->page.registry.limit) {
        hex_encode(t->page.registry.next_marker, t->after, REGISTRY_ID_LEN);
        return;
    }
    memcpy(t->after, id, REGISTRY_ID_LEN);
    (void)json_array_append_new(t->page.items, json_string(cert_arn(t->c, "cert", id).text));
}

void
api_list_targets_for_policy(struct call *c)
{
    const char *policy = call_policy_name(c);
    struct targets t = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    if (policy == NULL || !page_read(c, &t.page))
        return;
    t.skipping = t.page.registry.marker[0] != '\0';
    if (t.skipping &&
        hex_decode(t.after, REGISTRY_ID_LEN, span_str(t.page.registry.marker)) != BM_OK) {
        call_refuse_input(c, "marker '%.80s' is none that was given here.", t.page.registry.marker);
        page_fini(&t.page);
        return;
    }
    err = registry_policy_targets(c->registry, policy, add_target, &t, &msg);
    page_reply(c, &t.page, "targets", err, &msg);
}
