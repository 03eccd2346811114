/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy editor's test box: would this document, or would a certificate's policies, let a
 * client do something, and which statement decided? As `birthmark policy test`.
 */
#include "console/inside.h"

#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

enum { POLICIES_MAX = 64 };

struct question {
    struct site *site;
    struct policy *set[POLICIES_MAX];
    json_t *documents; /* of each: [name, document as text] */
    size_t count;
    enum bm_err err;
    struct bm_msg msg;
};

static void
add_document(struct question *q, const char *name, struct span document)
{
    if (q->err != BM_OK)
        return;
    if (q->count == POLICIES_MAX) {
        q->err = bm_fail(&q->msg, BM_ERR_LIMIT, "More than %d policies count.", POLICIES_MAX);
        return;
    }
    q->err = policy_parse(document, &q->set[q->count], &q->msg);
    if (q->err != BM_OK)
        return;
    q->count++;
    (void)json_array_append_new(q->documents,
        json_pack("[s,o]", name, json_stringn((const char *)document.ptr, document.len)));
}

static void
add_policy(void *arg, const struct registry_policy *p)
{
    add_document(arg, p->name, buf_span(&p->document));
}

static bool
find_action(const char *name, enum policy_action *out)
{
    for (unsigned a = POLICY_CONNECT; name != NULL && a <= POLICY_RECEIVE; a++) {
        *out = (enum policy_action)a;
        if (strcmp(name, policy_action_name(*out)) == 0)
            return true;
    }
    return false;
}

static struct policy_certificate *
read_certificate(struct question *q, const uint8_t id[REGISTRY_ID_LEN])
{
    struct policy_certificate *out = policy_certificate_new();
    struct registry_cert row = { 0 };
    struct pki_cert *cert = NULL;

    q->err = registry_cert_get(q->site->registry, id, &row, &q->msg);
    if (q->err == BM_OK)
        q->err = pki_cert_from_der(buf_span(&row.der), &cert, &q->msg);
    if (q->err == BM_OK && out != NULL)
        pki_cert_attributes(cert, policy_certificate_add, out);
    pki_cert_free(cert);
    registry_cert_fini(&row);
    return out;
}

static struct policy_thing *
read_thing(struct question *q, const char *client_id, const uint8_t id[REGISTRY_ID_LEN])
{
    struct policy_thing *out = NULL;
    struct registry_thing row;
    enum bm_err err = registry_thing_of(q->site->registry, client_id, id, &row, &q->msg);

    if (err == BM_OK)
        err = policy_thing_new(row.type, buf_span(&row.attributes), &out, &q->msg);
    registry_thing_fini(&row);
    if (err != BM_ERR_NOT_FOUND)
        q->err = err;
    return out;
}

static json_t *
verdict_json(const struct question *q, enum policy_verdict v, const struct policy_decider *by)
{
    json_t *o = json_pack("{s:b,s:s}", "allowed", v == POLICY_ALLOWED, "kind",
        v == POLICY_ALLOWED           ? "allowed"
        : v == POLICY_DENIED_EXPLICIT ? "explicitDeny"
                                      : "implicitDeny");

    if (by->found) {
        json_t *decided = json_array_get(q->documents, by->policy);

        (void)json_object_set_new(o, "statement", json_integer((json_int_t)by->statement + 1));
        (void)json_object_set(o, "policy", json_array_get(decided, 0));
        (void)json_object_set(o, "document", json_array_get(decided, 1));
    }
    return o;
}

static const char *
text_of(const json_t *body, const char *name)
{
    const char *text = json_string_value(json_object_get(body, name));

    return text != NULL && text[0] != '\0' ? text : NULL;
}

static void
answer(struct question *q, struct http_request *rq, const json_t *body)
{
    const char *certificate = text_of(body, "certificateId");
    const char *client = text_of(body, "clientId");
    const char *document = text_of(body, "document");
    const char *resource = json_string_value(json_object_get(body, "resource"));
    struct policy_subject who = { .region = q->site->console->options.region,
        .account = q->site->account->number,
        .client_id = span_str(client != NULL ? client : ""),
        .cert_id = certificate,
        .source_ip = "127.0.0.1" };
    struct policy_certificate *of = NULL;
    struct policy_thing *thing = NULL;
    struct policy_decider by = { 0 };
    uint8_t id[REGISTRY_ID_LEN];
    enum policy_action action = POLICY_CONNECT;
    enum policy_verdict v;

    if (!find_action(text_of(body, "action"), &action) || resource == NULL)
        q->err = bm_fail(&q->msg, BM_ERR_INPUT, "Name an action and its resource.");
    else if (certificate != NULL && hex_decode(id, sizeof id, span_str(certificate)) != BM_OK)
        q->err = bm_fail(&q->msg, BM_ERR_INPUT, "A certificate's id is 64 hex digits.");
    if (q->err == BM_OK && certificate != NULL)
        of = read_certificate(q, id);
    if (q->err == BM_OK && certificate != NULL && client != NULL)
        thing = read_thing(q, client, id);
    who.certificate = of;
    who.thing = thing;
    if (document != NULL)
        add_document(q, "this document", span_str(document));
    else if (q->err == BM_OK && certificate != NULL)
        q->err = registry_policy_effective(q->site->registry, id, add_policy, q, &q->msg);
    if (q->err == BM_OK) {
        v = policy_decide_by(
            (const struct policy *const *)q->set, q->count, action, span_str(resource), &who, &by);
        reply_json(rq, 200, verdict_json(q, v, &by));
    } else {
        refuse_err(rq, q->err, &q->msg);
    }
    policy_certificate_free(of);
    policy_thing_free(thing);
}

/*
 * {document, certificateId, clientId, action: "iot:Publish", resource: "a/b"}; without a document
 * the certificate's own policies. {allowed, kind, policy, statement, document}
 */
void
view_policy_test(struct site *c, struct http_request *rq)
{
    struct question q = { .site = c, .documents = json_array() };
    json_t *body = body_object(rq);

    if (body != NULL)
        answer(&q, rq, body);
    for (size_t i = 0; i < q.count; i++)
        policy_free(q.set[i]);
    json_decref(q.documents);
    json_decref(body);
}
