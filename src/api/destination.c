/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic rule destinations. SPEC aws-iot 1.3.5. Their confirmations are sent by the rules room when
 * the rules are read again after a change.
 */
#include "api/internal.h"

#include "http/client.h"

#include <string.h>

/* ---- answers ---- */

static struct arn
destination_arn(const struct call *c, const char *id)
{
    char name[64];

    (void)snprintf(name, sizeof name, "http/%s", id);
    return iot_arn(c, "ruledestination", name);
}

/* `properties`: what the URL's member is called here. */
static json_t *
destination_json(const struct call *c, const struct registry_destination *d, const char *properties)
{
    json_t *out = json_pack("{s:s,s:s,s:o,s:o,s:{s:s}}", "arn", destination_arn(c, d->id).text,
        "status", destination_status_name(d->status), "createdAt", json_time(d->created_ms),
        "lastUpdatedAt", json_time(d->modified_ms), properties, "confirmationUrl", d->url);

    if (d->reason[0] != '\0')
        (void)json_object_set_new(out, "statusReason", json_string(d->reason));
    return out;
}

/* As of a rule that is not there; the model has no ResourceNotFoundException here either. */
static void
refuse_missing(struct call *c, const char *arn)
{
    call_refuse(c, UNAUTHORIZED,
        "Access to topic rule destination '%.300s' was denied, because there is none of this ARN.",
        arn);
}

/* Commit, and let the rules know. Takes `value` (may be NULL). */
static void
finish(struct call *c, enum bm_err err, struct bm_msg *msg, json_t *value)
{
    if (err != BM_OK) {
        json_decref(value);
        call_refuse_err(c, err, msg);
        return;
    }
    if (!call_commit(c)) {
        json_decref(value);
        return;
    }
    err = rules_reload(c->account->rules, msg);
    if (err != BM_OK) {
        json_decref(value);
        call_refuse(c, INTERNAL_FAILURE,
            "The destination is stored, but the rules could not be read again: %s", msg->text);
    } else if (value != NULL) {
        call_reply_json(c, 200, value);
    } else {
        call_reply_empty(c, 200);
    }
}

/* Refuses when `arn` is none of a destination here. */
static bool
get(struct call *c, const char *arn, struct registry_destination *out)
{
    struct arn prefix = destination_arn(c, "");
    size_t len = strlen(prefix.text);
    struct bm_msg msg = { "" };
    enum bm_err err = BM_ERR_NOT_FOUND;

    if (arn != NULL && strncmp(arn, prefix.text, len) == 0)
        err = registry_destination_get(c->registry, arn + len, out, &msg);
    if (err == BM_ERR_NOT_FOUND)
        refuse_missing(c, arn != NULL ? arn : "");
    else if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    return err == BM_OK;
}

/* ---- operations ---- */

/* The URL of the request's configuration; NULL: refused. */
static const char *
requested_url(struct call *c)
{
    json_t *config = json_object_get(c->body, "destinationConfiguration");
    json_t *http = json_object_get(config, "httpUrlConfiguration");
    const char *url = json_string_value(json_object_get(http, "confirmationUrl"));
    struct bm_msg msg = { "" };
    bool loopback;

    if (json_is_object(json_object_get(config, "vpcConfiguration"))) {
        call_refuse(c, NOT_BUILT,
            "vpcConfiguration of CreateTopicRuleDestination is not built here; "
            "httpUrlConfiguration "
            "is.");
        return NULL;
    }
    if (url == NULL) {
        call_refuse_input(c, "destinationConfiguration needs httpUrlConfiguration.");
        return NULL;
    }
    if (http_url_check(url, &loopback, &msg) != BM_OK) {
        call_refuse_input(c, "confirmationUrl: %s.", msg.text);
        return NULL;
    }
    if (strpbrk(url, "?#") != NULL || strlen(url) > DESTINATION_URL_MAX) {
        call_refuse_input(c,
            "confirmationUrl is what the URLs of rules begin with: without '?' and '#', and at "
            "most %d bytes.",
            DESTINATION_URL_MAX);
        return NULL;
    }
    return url;
}

void
api_create_topic_rule_destination(struct call *c)
{
    const char *url = requested_url(c);
    struct registry_destination d = { 0 };
    struct registry_destination there;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (url == NULL)
        return;
    (void)snprintf(d.url, sizeof d.url, "%s", url);
    err = registry_destination_create(c->registry, &d, &msg);
    if (err == BM_ERR_EXISTS &&
        registry_destination_of_url(c->registry, url, &there, NULL) == BM_OK)
        call_refuse_exists(c, there.id, destination_arn(c, there.id).text, msg.text);
    else
        finish(c, err, &msg,
            err == BM_OK ? json_pack("{s:o}", "topicRuleDestination",
                               destination_json(c, &d, "httpUrlProperties"))
                         : NULL);
    bm_wipe(&d, sizeof d);
}

/* Without a signature the token tells the account. */
void
api_confirm_topic_rule_destination(struct call *c)
{
    const struct api_options *o = &c->api->options;
    struct registry_destination d;
    struct bm_msg msg = { "" };
    enum bm_err err = registry_destination_of_token(c->registry, call_label(c, 0), &d, &msg);

    for (size_t i = 0; err == BM_ERR_NOT_FOUND && c->access_key == NULL && i < o->account_count;
         i++) {
        c->account = &o->accounts[i];
        c->registry = c->account->registry;
        err = registry_destination_of_token(c->registry, call_label(c, 0), &d, &msg);
    }
    if (err == BM_ERR_NOT_FOUND) {
        call_refuse_input(c,
            "This confirmation token is none that waits: it was used, or a later one was sent; "
            "UpdateTopicRuleDestination with status IN_PROGRESS sends one again.");
        return;
    }
    if (err == BM_OK)
        err = registry_destination_set_status(c->registry, d.id, DESTINATION_ENABLED, "", &msg);
    finish(c, err, &msg, NULL);
    bm_wipe(&d, sizeof d);
}

void
api_get_topic_rule_destination(struct call *c)
{
    struct registry_destination d;

    if (get(c, call_label(c, 0), &d))
        call_reply_json(c, 200,
            json_pack(
                "{s:o}", "topicRuleDestination", destination_json(c, &d, "httpUrlProperties")));
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_destination(void *arg, const struct registry_destination *d)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items, destination_json(l->c, d, "httpUrlSummary"));
}

void
api_list_topic_rule_destinations(struct call *c)
{
    struct listing l = { .c = c };
    struct bm_msg msg = { "" };
    enum bm_err err;

    page_read_tokens(c, &l.page);
    err = registry_destination_list(c->registry, &l.page.registry, add_destination, &l, &msg);
    page_reply(c, &l.page, "destinationSummaries", err, &msg);
}

void
api_update_topic_rule_destination(struct call *c)
{
    const char *name = body_text(c, "status");
    struct registry_destination d;
    enum destination_status status;
    struct bm_msg msg = { "" };
    bool confirmed;

    if (!get(c, body_text(c, "arn"), &d))
        return;
    confirmed = d.status == DESTINATION_ENABLED || d.status == DESTINATION_DISABLED;
    if (!destination_status_of(name, &status) || status == DESTINATION_ERROR)
        call_refuse_input(
            c, "The status %s cannot be set; IN_PROGRESS, ENABLED and DISABLED can.", name);
    else if (status != DESTINATION_IN_PROGRESS && !confirmed)
        call_refuse_input(c,
            "The destination is %s and not confirmed yet, so it cannot become %s; status "
            "IN_PROGRESS sends the confirmation again.",
            destination_status_name(d.status), name);
    else
        finish(c, registry_destination_set_status(c->registry, d.id, status, "", &msg), &msg, NULL);
}

void
api_delete_topic_rule_destination(struct call *c)
{
    struct registry_destination d;
    struct bm_msg msg = { "" };

    if (get(c, call_label(c, 0), &d))
        finish(c, registry_destination_delete(c->registry, d.id, &msg), &msg, NULL);
}
