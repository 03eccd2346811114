/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `birthmark doctor`: on the device's side, before it connects, what will go wrong. With --cloud it
 * also asks the API: certificate, issuer, and what the policies say of client id and topics.
 */
#include "birthmark/device.h"

#include "aws/aws.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct doctor {
    const struct device_options *o;
    json_t *list;
    enum finding_level worst;
    int exit_code;
};

static void
tell(void *arg, const struct finding *f)
{
    static const char *const words[] = { "ok", "warn", "FAIL" };
    struct doctor *d = arg;
    const struct cause_info *info = f->cause != CAUSE_NONE ? cause_info(f->cause) : NULL;

    if (f->level > d->worst) {
        d->worst = f->level;
        d->exit_code = f->level == FINDING_FAIL ? f->exit_code : 0;
    }
    if (d->o->json) {
        json_t *one = json_pack("{s:s,s:s,s:s}", "layer", f->layer, "level",
            f->level == FINDING_FAIL ? "fail" : words[f->level], "evidence", f->evidence);

        if (one != NULL && info != NULL) {
            (void)json_object_set_new(one, "cause", json_string(info->id));
            (void)json_object_set_new(one, "cure", json_string(info->cure));
        }
        (void)json_array_append_new(d->list, one);
        return;
    }
    device_print_finding(stdout, f);
}

#define TELL(d, ...) finding_tell(tell, (d), __VA_ARGS__)

static void
ask_issuer(struct doctor *d, struct aws_client *aws, const struct identity *id)
{
    struct aws_request rq = { .service = "iot", .method = "GET", .path = { "cacertificate" } };
    struct bm_msg msg = { { 0 } };
    json_t *answer = NULL;
    const json_t *ca;
    const char *status;
    const char *automatic;
    char hex[65];

    if (id->chain.issuer_count == 0)
        return;
    chain_id(id->chain.issuers[0], hex);
    rq.path[1] = hex;
    if (aws_send(aws, &rq, &answer, &msg) != BM_OK) {
        TELL(d, "cloud", FINDING_FAIL, CAUSE_CA_UNKNOWN, DEVICE_EXIT_DROPPED, "CA %s: %s", hex,
            msg.text);
        return;
    }
    ca = json_object_get(answer, "certificateDescription");
    status = json_string_value(json_object_get(ca, "status"));
    automatic = json_string_value(json_object_get(ca, "autoRegistrationStatus"));
    if (status == NULL || strcmp(status, "ACTIVE") != 0)
        TELL(d, "cloud", FINDING_FAIL, CAUSE_CA_INACTIVE, DEVICE_EXIT_DROPPED, "CA %s", hex);
    else if (automatic == NULL || strcmp(automatic, "ENABLE") != 0)
        TELL(d, "cloud", FINDING_FAIL, CAUSE_CA_NO_AUTO_REGISTRATION, DEVICE_EXIT_DROPPED, "CA %s",
            hex);
    else
        TELL(d, "cloud", FINDING_OK, CAUSE_NONE, 0,
            "a newcomer of CA %s, which is ACTIVE and registers by itself", hex);
    json_decref(answer);
}

static void
ask_policy(struct doctor *d, struct aws_client *aws, const char *arn, const char *client,
    const char *action, const char *kind, const char *name)
{
    const char *end = strstr(arn, ":cert/");
    struct aws_request rq = { .service = "iot",
        .method = "POST",
        .path = { "test-authorization" },
        .query = { { "clientId", client } } };
    struct bm_msg msg = { { 0 } };
    json_t *answer = NULL;
    json_t *body;
    const char *decision;
    char resource[700];

    (void)snprintf(resource, sizeof resource, "%.*s:%s/%s", end != NULL ? (int)(end - arn) : 0, arn,
        kind, name);
    body = json_pack("{s:s,s:[{s:s,s:[s]}]}", "principal", arn, "authInfos", "actionType", action,
        "resources", resource);
    rq.body = body;
    if (aws_send(aws, &rq, &answer, &msg) != BM_OK) {
        TELL(d, "policy", FINDING_WARN, CAUSE_NONE, 0, "not known: %s", msg.text);
        json_decref(body);
        return;
    }
    decision = json_string_value(
        json_object_get(json_array_get(json_object_get(answer, "authResults"), 0), "authDecision"));
    if (decision != NULL && strcmp(decision, "ALLOWED") == 0)
        TELL(d, "policy", FINDING_OK, CAUSE_NONE, 0, "%s %s is allowed", action, name);
    else
        TELL(d, "policy", FINDING_FAIL,
            strcmp(kind, "client") == 0  ? CAUSE_CONNECT_DENIED
            : strcmp(kind, "topic") == 0 ? CAUSE_PUBLISH_DENIED
                                         : CAUSE_SUBSCRIBE_DENIED,
            strcmp(kind, "client") == 0 ? DEVICE_EXIT_DROPPED : DEVICE_EXIT_PUBLISH, "%s %s: %s",
            action, name, decision != NULL ? decision : "no decision");
    json_decref(answer);
    json_decref(body);
}

/* Is any policy attached to it? False: that is what will keep it out. */
static bool
has_policy(struct doctor *d, struct aws_client *aws, const char *arn)
{
    struct aws_request rq = {
        .service = "iot", .method = "POST", .path = { "attached-policies", arn }
    };
    struct bm_msg msg = { { 0 } };
    json_t *answer = NULL;
    bool none;

    if (aws_send(aws, &rq, &answer, &msg) != BM_OK)
        return true; /* not known; the questions that follow tell more */
    none = json_array_size(json_object_get(answer, "policies")) == 0;
    json_decref(answer);
    if (none)
        TELL(d, "policy", FINDING_FAIL, CAUSE_NO_POLICY, DEVICE_EXIT_DROPPED,
            "no policy is attached to %s", arn);
    return !none;
}

static void
ask_cloud(struct doctor *d, const struct identity *id)
{
    struct aws_options ao = { .endpoint = d->o->cloud };
    struct aws_request rq = { .service = "iot", .method = "GET", .path = { "certificates" } };
    struct aws_client *aws = NULL;
    struct bm_msg msg = { { 0 } };
    json_t *answer = NULL;
    const json_t *cert;
    const char *status;
    const char *arn;
    const char *client = d->o->client.connection.client_id;
    char name[129] = "";
    char hex[65];
    enum bm_err err = aws_open(&ao, &aws, &msg);

    chain_id(identity_leaf(id, 0), hex);
    rq.path[1] = hex;
    if (err == BM_OK)
        err = aws_send(aws, &rq, &answer, &msg);
    if (err == BM_ERR_NOT_FOUND) {
        ask_issuer(d, aws, id);
        aws_close(aws);
        return;
    }
    if (err != BM_OK) {
        TELL(d, "cloud", FINDING_WARN, CAUSE_NONE, 0, "the API does not say: %s", msg.text);
        aws_close(aws);
        return;
    }
    cert = json_object_get(answer, "certificateDescription");
    status = json_string_value(json_object_get(cert, "status"));
    arn = json_string_value(json_object_get(cert, "certificateArn"));
    if (status != NULL && strcmp(status, "ACTIVE") == 0)
        TELL(d, "cloud", FINDING_OK, CAUSE_NONE, 0, "the certificate is ACTIVE");
    else
        TELL(d, "cloud", FINDING_FAIL,
            status == NULL                              ? CAUSE_INACTIVE
            : strcmp(status, "REVOKED") == 0            ? CAUSE_REVOKED
            : strcmp(status, "PENDING_ACTIVATION") == 0 ? CAUSE_PENDING
                                                        : CAUSE_INACTIVE,
            DEVICE_EXIT_DROPPED, "the certificate is %s", status != NULL ? status : "of no status");
    if (client == NULL) {
        (void)X509_NAME_get_text_by_NID(
            X509_get_subject_name(identity_leaf(id, 0)), NID_commonName, name, sizeof name);
        client = name;
    }
    if (arn != NULL && client[0] != '\0' && has_policy(d, aws, arn)) {
        ask_policy(d, aws, arn, client, "CONNECT", "client", client);
        for (size_t i = 0; i < d->o->topic_count; i++)
            ask_policy(d, aws, arn, client, "PUBLISH", "topic", d->o->topics[i]);
        for (size_t i = 0; i < d->o->filter_count; i++)
            ask_policy(d, aws, arn, client, "SUBSCRIBE", "topicfilter", d->o->filters[i]);
    }
    json_decref(answer);
    aws_close(aws);
}

int
cmd_doctor(int argc, char **argv)
{
    struct device_options o = { 0 };
    struct doctor d = { .o = &o };
    struct identity *id = NULL;
    int code;

    (void)signal(SIGPIPE, SIG_IGN);
    code = device_options_parse(argc, argv, &o);
    if (code == CMD_GO_ON) {
        d.list = json_array();
        check_device(&o.client, tell, &d, &id);
        if (id != NULL && o.cloud != NULL)
            ask_cloud(&d, id);
        if (o.json) {
            char *text = json_dumps(d.list, JSON_INDENT(1));

            if (text != NULL)
                (void)puts(text);
            free(text);
        }
        json_decref(d.list);
        identity_free(id);
        code = d.exit_code;
    }
    device_options_fini(&o);
    return code;
}
