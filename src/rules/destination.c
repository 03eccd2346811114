/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic rule destinations: who may be POSTed to, and the request that asks a receiver whether it
 * wants that. SPEC aws-iot 1.3.5, 5.3.
 *
 * What is under way is not stored: after a start, what is IN_PROGRESS is asked again.
 */
#include "rules/inside.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

struct confirmation {
    struct confirmation *next;
    struct rules *rules;
    char id[37];
    char token[DESTINATION_TOKEN_LEN + 1];
};

static void
confirmation_free(struct confirmation *c)
{
    for (struct confirmation **at = &c->rules->confirmations; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    free(c);
}

static void
free_all(struct destination *list)
{
    while (list != NULL) {
        struct destination *next = list->next;

        free(list);
        list = next;
    }
}

void
destinations_end(struct rules *r)
{
    while (r->confirmations != NULL)
        confirmation_free(r->confirmations);
    free_all(r->destinations);
    r->destinations = NULL;
    free(r->api_url);
}

/* ---- the confirmation ---- */

static struct destination *
find(struct rules *r, const char *id)
{
    struct destination *d = r->destinations;

    while (d != NULL && strcmp(d->stored.id, id) != 0)
        d = d->next;
    return d;
}

/* The receiver did not take it. Not when it confirmed, was asked anew or was deleted meanwhile. */
static void
set_error(struct rules *r, const char *id, const char *token, const char *why)
{
    struct destination *d = find(r, id);
    struct bm_msg msg = { 0 };

    if (d == NULL || d->stored.status != DESTINATION_IN_PROGRESS ||
        strcmp(d->stored.token, token) != 0)
        return;
    log_warn(
        "the confirmation of a destination failed url=%.200s cause=\"%s\"", d->stored.url, why);
    if (registry_destination_set_status(r->options.registry, id, DESTINATION_ERROR, why, &msg) !=
        BM_OK) {
        log_error("the state of a destination is lost: %s", msg.text);
        return;
    }
    d->stored.status = DESTINATION_ERROR;
    if (r->options.commit_soon != NULL)
        r->options.commit_soon(r->options.commit_arg);
}

static void
on_answer(void *arg, unsigned status, const char *why)
{
    struct confirmation *c = arg;
    char text[160];

    if (status == 0)
        (void)snprintf(text, sizeof text, "the confirmation request failed: %.100s", why);
    else
        (void)snprintf(text, sizeof text, "the confirmation request was answered %u", status);
    if (status < 200 || status >= 300)
        set_error(c->rules, c->id, c->token, text);
    confirmation_free(c);
}

/* Body and headers: developer guide, managing HTTP topic rule destinations. */
static enum bm_err
post(struct rules *r, const struct registry_destination *d, struct confirmation *c,
    struct bm_msg *msg)
{
    static const char type[] = "x-amz-rules-engine-message-type: DestinationConfirmation";
    size_t len = strlen(d->url);
    bool slash = d->url[len - 1] == '/';
    struct buf url = { 0 };
    char arn[256];
    char header[320];
    const char *const headers[] = { type, header, "Content-Type: application/json" };
    json_t *body;
    char *text;
    enum bm_err err = BM_ERR_MEM;

    (void)snprintf(
        arn, sizeof arn, "arn:aws:iot:%s:%s:ruledestination/http/%s", r->region, r->account, d->id);
    (void)snprintf(header, sizeof header, "x-amz-rules-engine-destination-arn: %s", arn);
    buf_addf(&url, "%s/confirmdestination/%s", r->api_url, d->token);
    body = json_pack("{s:s, s:s, s:s, s:s}", "arn", arn, "confirmationToken", d->token, "enableUrl",
        buf_cstr(&url) != NULL ? buf_cstr(&url) : "", "messageType", "DestinationConfirmation");
    text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    url.len = 0;
    buf_addf(&url, "%s%s?confirmationToken=%s", d->url, slash ? "" : "/", d->token);
    if (text != NULL && buf_cstr(&url) != NULL)
        err = http_client_post(r->http, buf_cstr(&url), headers, sizeof headers / sizeof *headers,
            span_str(text), on_answer, c, msg);
    else
        (void)bm_fail(msg, err, "out of memory");
    free(text);
    buf_fini(&url);
    return err;
}

static void
send_confirmation(struct rules *r, struct destination *d)
{
    struct confirmation *c = calloc(1, sizeof *c);
    struct bm_msg msg = { 0 };

    d->sent = true;
    if (c == NULL) {
        set_error(r, d->stored.id, d->stored.token, "out of memory");
        return;
    }
    c->rules = r;
    memcpy(c->id, d->stored.id, sizeof c->id);
    memcpy(c->token, d->stored.token, sizeof c->token);
    c->next = r->confirmations;
    r->confirmations = c;
    if (post(r, &d->stored, c, &msg) != BM_OK) {
        confirmation_free(c);
        /* msg has the URL, and with it the token */
        set_error(r, d->stored.id, d->stored.token, "the confirmation request cannot be made");
    }
}

static void
send_all(struct rules *r)
{
    for (struct destination *d = r->destinations; d != NULL && r->api_url != NULL; d = d->next) {
        if (d->stored.status == DESTINATION_IN_PROGRESS && !d->sent)
            send_confirmation(r, d);
    }
}

enum bm_err
rules_set_endpoint(struct rules *r, const char *api_url, struct bm_msg *msg)
{
    char *url = strdup(api_url);

    if (url == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    free(r->api_url);
    r->api_url = url;
    send_all(r);
    return BM_OK;
}

/* ---- reading them ---- */

struct load {
    struct rules *rules;
    struct destination *first;
    bool failed;
};

static void
load_one(void *arg, const struct registry_destination *stored)
{
    struct load *load = arg;
    struct destination *d = calloc(1, sizeof *d);
    const struct destination *before = find(load->rules, stored->id);

    if (d == NULL) {
        load->failed = true;
        return;
    }
    d->stored = *stored;
    d->sent = before != NULL && before->sent && strcmp(before->stored.token, stored->token) == 0;
    d->next = load->first;
    load->first = d;
}

enum bm_err
destinations_load(struct rules *r, struct bm_msg *msg)
{
    struct load load = { .rules = r };
    struct registry_page page = { .marker = "", .limit = 1000000 }; /* all */
    enum bm_err err = registry_destination_list(r->options.registry, &page, load_one, &load, msg);

    if (err == BM_OK && load.failed)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for the destinations");
    if (err != BM_OK) {
        free_all(load.first);
        return err;
    }
    free_all(r->destinations);
    r->destinations = load.first;
    send_all(r);
    return BM_OK;
}

/* ---- who may be POSTed to ---- */

/* "https://host" begins https://host/a and https://host?b, not https://host.example. */
static bool
begins(const char *base, const char *url)
{
    size_t len = strlen(base);

    if (strncmp(base, url, len) != 0)
        return false;
    return base[len - 1] == '/' || strchr("/?#", url[len]) != NULL; /* or ends there */
}

/* Of those that cover the URL an enabled one, else any; NULL: none does. */
static const struct destination *
covering(const struct rules *r, const char *url)
{
    const struct destination *any = NULL;

    for (const struct destination *d = r->destinations; d != NULL; d = d->next) {
        if (!begins(d->stored.url, url))
            continue;
        if (d->stored.status == DESTINATION_ENABLED)
            return d;
        any = d;
    }
    return any;
}

enum bm_err
destination_allows(struct rules *r, const char *url, struct bm_msg *msg)
{
    const struct destination *d = covering(r, url);
    bool loopback = false;
    const char *cure = "the receiver opens the enableUrl that it was sent; `aws iot "
                       "update-topic-rule-destination --status IN_PROGRESS` sends it again";
    enum bm_err err = http_url_check(url, &loopback, msg);

    if (err != BM_OK || (d == NULL && loopback) ||
        (d != NULL && d->stored.status == DESTINATION_ENABLED))
        return err;
    if (d == NULL)
        return bm_fail(msg, BM_ERR_CONFLICT,
            "no topic rule destination has a confirmation URL that this URL begins with: `aws iot "
            "create-topic-rule-destination`");
    if (d->stored.status == DESTINATION_DISABLED)
        cure = "`aws iot update-topic-rule-destination --status ENABLED`";
    return bm_fail(msg, BM_ERR_CONFLICT, "the topic rule destination %s is %s, not ENABLED: %s",
        d->stored.id, destination_status_name(d->stored.status), cure);
}

/* ---- those that a rule needs ---- */

static enum bm_err
make_for(struct rules *r, const json_t *http, struct bm_msg *msg)
{
    const char *base = json_string_value(json_object_get(http, "confirmationUrl"));
    const char *url = json_string_value(json_object_get(http, "url"));
    bool given = json_object_get(http, "confirmationUrl") != NULL;
    struct registry_destination d = { 0 };
    bool loopback = false;
    enum bm_err err;

    if (given && base == NULL)
        return bm_fail(msg, BM_ERR_INPUT, "the http action's confirmationUrl is a text");
    if (base == NULL && (url == NULL || strstr(url, "${") != NULL))
        return BM_OK; /* which one it needs is known with each message only */
    if (base == NULL)
        base = url;
    err = http_url_check(base, &loopback, msg);
    if (err != BM_OK || loopback || covering(r, base) != NULL)
        return err;
    if (strcspn(base, "?#") > DESTINATION_URL_MAX)
        return bm_fail(msg, BM_ERR_INPUT,
            "the http action's confirmation URL has more than %d "
            "characters",
            DESTINATION_URL_MAX);
    (void)snprintf(d.url, sizeof d.url, "%.*s", (int)strcspn(base, "?#"), base);
    err = registry_destination_create(r->options.registry, &d, msg);
    bm_wipe(d.token, sizeof d.token);
    return err == BM_ERR_EXISTS ? BM_OK : err; /* of another action of this rule */
}

enum bm_err
rules_make_destinations(struct rules *r, struct span payload, struct bm_msg *msg)
{
    json_t *root = json_loadb((const char *)payload.ptr, payload.len, 0, NULL);
    json_t *actions = json_object_get(root, "actions");
    json_t *http = json_object_get(json_object_get(root, "errorAction"), "http");
    enum bm_err err = http != NULL ? make_for(r, http, msg) : BM_OK;

    for (size_t i = 0; i < json_array_size(actions) && err == BM_OK; i++) {
        http = json_object_get(json_array_get(actions, i), "http");
        if (http != NULL)
            err = make_for(r, http, msg);
    }
    json_decref(root);
    return err;
}
