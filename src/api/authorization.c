/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a principal may do: GetEffectivePolicies and TestAuthorization. SPEC aws-iot 1.3.3, 7. The
 * decision is the endpoint's own (policy_decide), asked of the same documents.
 */
#include "api/internal.h"

#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

/* ---- GetEffectivePolicies ---- */

struct effective {
    struct call *c;
    json_t *by_name;
};

static void
add_effective(void *arg, const struct registry_policy *p)
{
    struct effective *e = arg;

    (void)json_object_set_new(e->by_name, p->name,
        json_pack("{s:s,s:s,s:o}", "policyName", p->name, "policyArn",
            iot_arn(e->c, "policy", p->name).text, "policyDocument",
            json_span(buf_span(&p->document))));
}

struct groups {
    struct effective *e;
    enum bm_err err;
    struct bm_msg *msg;
};

static void
add_group(void *arg, const char *name)
{
    struct groups *g = arg;
    const struct registry_target target = { .group = name };

    if (g->err == BM_OK)
        g->err =
            registry_policy_attached(g->e->c->registry, &target, true, add_effective, g->e, g->msg);
}

/* A thing's policies are those of its groups and of the groups above them. */
static enum bm_err
add_thing(struct effective *e, const char *thing, struct bm_msg *msg)
{
    struct registry_page page = { .marker = "", .limit = 250 };
    struct groups groups = { e, BM_OK, msg };
    enum bm_err err = registry_groups_of(e->c->registry, thing, &page, add_group, &groups, msg);

    return err != BM_OK ? err : groups.err;
}

static bool
read_principal(struct call *c, struct registry_target *out)
{
    if (!call_target(c, "principal", body_text(c, "principal"), out))
        return false;
    if (out->group == NULL)
        return true;
    call_refuse_input(c, "principal '%.200s' is no certificate.", body_text(c, "principal"));
    return false;
}

void
api_get_effective_policies(struct call *c)
{
    static const char *const not_built[] = { "cognitoIdentityPoolId", NULL };
    struct effective e = { .c = c };
    const char *thing = param_text(c, "thingName");
    struct registry_target principal;
    struct bm_msg msg = { "" };
    enum bm_err err = BM_OK;
    json_t *items = json_array();
    const char *name;
    json_t *item;

    e.by_name = json_object();
    if (call_without(c, not_built) &&
        (body_text(c, "principal") == NULL || read_principal(c, &principal))) {
        if (body_text(c, "principal") != NULL)
            err =
                registry_policy_effective(c->registry, principal.cert_id, add_effective, &e, &msg);
        if (err == BM_OK && thing != NULL)
            err = add_thing(&e, thing, &msg);
        json_object_foreach(e.by_name, name, item)(void) json_array_append(items, item);
        if (err == BM_OK)
            call_reply_json(c, 200, json_pack("{s:O}", "effectivePolicies", items));
        else
            call_refuse_err(c, err, &msg);
    }
    json_decref(items);
    json_decref(e.by_name);
}

/* ---- TestAuthorization ---- */

/* The policies of the question, compiled. */
struct question {
    struct call *c;
    const char *cert_id;
    struct policy_certificate *certificate;
    struct policy_thing *thing;
    struct policy **list;
    char (*names)[REGISTRY_NAME_MAX + 1];
    size_t count;
    enum bm_err err;
    struct bm_msg msg;
};

static bool
skipped(const struct call *c, const char *name)
{
    const json_t *skip = json_object_get(c->body, "policyNamesToSkip");

    for (size_t i = 0; i < json_array_size(skip); i++) {
        if (strcmp(json_string_value(json_array_get(skip, i)), name) == 0)
            return true;
    }
    return false;
}

static void
add_policy(void *arg, const struct registry_policy *p)
{
    struct question *q = arg;
    size_t next = q->count + 1;
    struct policy **list;
    char(*names)[REGISTRY_NAME_MAX + 1];

    if (q->err != BM_OK || skipped(q->c, p->name))
        return;
    list = realloc(q->list, next * sizeof *list);
    if (list != NULL)
        q->list = list;
    names = realloc(q->names, next * sizeof *names);
    if (names != NULL)
        q->names = names;
    if (list == NULL || names == NULL) {
        q->err = bm_fail(&q->msg, BM_ERR_MEM, "out of memory for the policies");
        return;
    }
    q->err = policy_parse(buf_span(&p->document), &q->list[q->count], &q->msg);
    memcpy(q->names[q->count], p->name, sizeof q->names[0]);
    if (q->err == BM_OK)
        q->count++;
}

static void
add_named(struct question *q)
{
    const json_t *add = json_object_get(q->c->body, "policyNamesToAdd");

    for (size_t i = 0; q->err == BM_OK && i < json_array_size(add); i++) {
        struct registry_policy p = { 0 };

        q->err = registry_policy_get(
            q->c->registry, json_string_value(json_array_get(add, i)), &p, &q->msg);
        if (q->err == BM_OK)
            add_policy(q, &p);
        registry_policy_fini(&p);
    }
}

static bool
action_of(const char *type, enum policy_action *out)
{
    static const struct {
        const char *type;
        enum policy_action action;
    } actions[] = { { "CONNECT", POLICY_CONNECT }, { "PUBLISH", POLICY_PUBLISH },
        { "SUBSCRIBE", POLICY_SUBSCRIBE }, { "RECEIVE", POLICY_RECEIVE } };

    for (size_t i = 0; type != NULL && i < sizeof actions / sizeof actions[0]; i++) {
        *out = actions[i].action;
        if (strcmp(actions[i].type, type) == 0)
            return true;
    }
    return false;
}

static json_t *
name_json(const struct question *q, size_t i)
{
    return json_pack("{s:s,s:s}", "policyName", q->names[i], "policyArn",
        iot_arn(q->c, "policy", q->names[i]).text);
}

/* One resource; each policy that alone would say so stands in its list. */
static enum policy_verdict
decide(const struct question *q, enum policy_action action, struct span name, json_t *lists[3])
{
    const char *client = param_text(q->c, "clientId");
    const struct policy_subject who = { .region = q->c->api->options.region,
        .account = q->c->account->number,
        .client_id = span_str(client != NULL ? client : ""),
        .cert_id = q->cert_id,
        .certificate = q->certificate,
        .thing = q->thing };

    for (size_t i = 0; i < q->count; i++) {
        const struct policy *one = q->list[i];
        enum policy_verdict v = policy_decide(&one, 1, action, name, &who);

        (void)json_array_append_new(lists[v], name_json(q, i));
    }
    return policy_decide((const struct policy *const *)q->list, q->count, action, name, &who);
}

/* What stands after the ARN's kind; NULL: refused. */
static const char *
resource_name(struct call *c, const char *arn, enum policy_action action)
{
    struct arn prefix = iot_arn(c, policy_resource_kind(action), "");
    size_t len = strlen(prefix.text);

    if (strncmp(arn, prefix.text, len) == 0)
        return arn + len;
    call_refuse_input(c, "resource '%.200s' differs from what %s is asked on; want %sNAME.", arn,
        policy_action_name(action), prefix.text);
    return NULL;
}

/* The result of one item of authInfos; NULL: refused. */
static json_t *
judge(struct question *q, json_t *info)
{
    static const char *const decisions[] = { [POLICY_ALLOWED] = "ALLOWED",
        [POLICY_DENIED_EXPLICIT] = "EXPLICIT_DENY",
        [POLICY_DENIED_IMPLICIT] = "IMPLICIT_DENY" };
    json_t *resources = json_object_get(info, "resources");
    enum policy_verdict verdict = POLICY_ALLOWED;
    enum policy_action action;
    json_t *lists[3] = { json_array(), json_array(), json_array() };
    json_t *result = NULL;
    bool good = action_of(json_string_value(json_object_get(info, "actionType")), &action);

    if (!good)
        call_refuse_input(q->c, "authInfos: actionType is missing; already want one of CONNECT, "
                                "PUBLISH, SUBSCRIBE and RECEIVE.");
    for (size_t i = 0; good && i < json_array_size(resources); i++) {
        const char *name =
            resource_name(q->c, json_string_value(json_array_get(resources, i)), action);
        enum policy_verdict v;

        good = name != NULL;
        if (!good)
            break;
        v = decide(q, action, span_str(name), lists);
        if (verdict != POLICY_DENIED_EXPLICIT && v != POLICY_ALLOWED)
            verdict = v;
    }
    if (good)
        result = json_pack("{s:O,s:{s:O},s:{s:{s:O},s:{s:O}},s:s,s:[]}", "authInfo", info,
            "allowed", "policies", lists[POLICY_ALLOWED], "denied", "implicitDeny", "policies",
            lists[POLICY_DENIED_IMPLICIT], "explicitDeny", "policies",
            lists[POLICY_DENIED_EXPLICIT], "authDecision", decisions[verdict],
            "missingContextValues");
    for (size_t i = 0; i < 3; i++)
        json_decref(lists[i]);
    return result;
}

static void
answer(struct question *q)
{
    json_t *infos = json_object_get(q->c->body, "authInfos");
    json_t *results = json_array();

    for (size_t i = 0; i < json_array_size(infos); i++) {
        json_t *result = judge(q, json_array_get(infos, i));

        if (result == NULL) {
            json_decref(results);
            return;
        }
        (void)json_array_append_new(results, result);
    }
    call_reply_json(q->c, 200, json_pack("{s:o}", "authResults", results));
}

/* What the certificate says of itself, for the policy variables. */
static enum bm_err
read_certificate(struct question *q, const uint8_t id[REGISTRY_ID_LEN])
{
    struct registry_cert row = { 0 };
    struct pki_cert *cert = NULL;
    enum bm_err err = registry_cert_get(q->c->registry, id, &row, &q->msg);

    if (err == BM_OK)
        err = pki_cert_from_der(buf_span(&row.der), &cert, &q->msg);
    if (err == BM_OK)
        pki_cert_attributes(cert, policy_certificate_add, q->certificate);
    pki_cert_free(cert);
    registry_cert_fini(&row);
    return err;
}

/* Of the client id, when the certificate is attached to it. */
static enum bm_err
read_thing(struct question *q, const uint8_t id[REGISTRY_ID_LEN])
{
    const char *client = param_text(q->c, "clientId");
    struct registry_thing row;
    enum bm_err err;

    if (client == NULL)
        return BM_OK;
    err = registry_thing_of(q->c->registry, client, id, &row, &q->msg);
    if (err == BM_OK)
        err = policy_thing_new(row.type, buf_span(&row.attributes), &q->thing, &q->msg);
    registry_thing_fini(&row);
    return err == BM_ERR_NOT_FOUND ? BM_OK : err;
}

void
api_test_authorization(struct call *c)
{
    static const char *const not_built[] = { "cognitoIdentityPoolId", NULL };
    struct question q = { .c = c };
    struct registry_target principal = { 0 };
    char hex[2 * REGISTRY_ID_LEN + 1];

    if (!call_without(c, not_built))
        return;
    if (body_text(c, "principal") == NULL) {
        call_refuse_input(c, "The member 'principal' is missing; want the ARN of a certificate.");
        return;
    }
    if (!read_principal(c, &principal))
        return;
    hex_encode(hex, principal.cert_id, REGISTRY_ID_LEN);
    q.cert_id = hex;
    q.certificate = policy_certificate_new();
    if (q.certificate == NULL)
        q.err = bm_fail(&q.msg, BM_ERR_MEM, "out of memory for the certificate");
    if (q.err == BM_OK)
        q.err = read_certificate(&q, principal.cert_id);
    if (q.err == BM_OK)
        q.err = read_thing(&q, principal.cert_id);
    if (q.err == BM_OK)
        q.err = registry_policy_effective(c->registry, principal.cert_id, add_policy, &q, &q.msg);
    add_named(&q);
    if (q.err == BM_OK)
        answer(&q);
    else
        call_refuse_err(c, q.err, &q.msg);
    for (size_t i = 0; i < q.count; i++)
        policy_free(q.list[i]);
    free(q.list);
    free(q.names);
    policy_certificate_free(q.certificate);
    policy_thing_free(q.thing);
}
