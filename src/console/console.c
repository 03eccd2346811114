/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See console.h. The entry: which request is whose, and who may ask.
 *
 * Order: Host, then pages (they hold no secret), then Origin, then login, then session and, for
 * every method but GET, the token. Nothing below knows of any of this.
 */
#include "console/console.h"

#include "base/clock.h"
#include "base/log.h"
#include "console/guard.h"
#include "console/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 8 * 1024 * 1024, KEY_MAX = 129 };

#define TOKEN_HEADER "X-Console-Token"

/* ---- log in, log out ---- */

static void
set_cookie(const struct console *c, struct http_request *rq, const char *value, int seconds)
{
    char text[256];

    (void)snprintf(text, sizeof text, "%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict",
        c->cookie_name, value, seconds);
    http_set_header(rq, "Set-Cookie", text);
}

static json_t *
session_json(const struct console *c, const struct session *session)
{
    const struct console_options *o = &c->options;

    const struct api_key *key = &o->keys[session->key];

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "token", session->token, "accessKey",
        key->access_key, "region", o->region, "account", o->accounts[key->account].number, "mqtt",
        o->mqtt_address, "version", BIRTHMARK_VERSION, "cookie", c->cookie_name);
}

static bool
same(const char *secret, const json_t *given)
{
    char a[KEY_MAX] = { 0 };
    char b[KEY_MAX] = { 0 };
    bool equal;

    (void)snprintf(a, sizeof a, "%s", secret);
    (void)snprintf(b, sizeof b, "%s", json_is_string(given) ? json_string_value(given) : "");
    equal = bm_equal_ct(a, b, sizeof a) && json_string_length(given) == strlen(secret);
    bm_wipe(b, sizeof b);
    return equal;
}

/*
 * All keys are compared, so that the time tells nothing of which one was near. *out is the one with
 * this access key, key_count when there is none.
 */
static bool
find_key(const struct console *c, const json_t *body, size_t *out)
{
    const struct console_options *o = &c->options;
    bool found = false;

    *out = o->key_count;
    for (size_t i = 0; i < o->key_count; i++) {
        bool access = same(o->keys[i].access_key, json_object_get(body, "accessKey"));
        bool secret = same(o->keys[i].secret_key, json_object_get(body, "secretKey"));

        if (access && (secret || !found))
            *out = i;
        found = found || (access && secret);
    }
    return found;
}

static struct site *
site_of(struct console *c, const struct session *session)
{
    return &c->sites[c->options.keys[session->key].account];
}

static void
log_in(struct console *c, struct http_request *rq)
{
    int64_t now = clock_mono_ms();
    json_t *body = body_object(rq);
    struct session *session;
    char who[LOGIN_WHO];
    size_t key;
    bool right;

    if (body == NULL)
        return;
    right = find_key(c, body, &key);
    json_decref(body);
    login_who(who, http_peer(rq), key);
    if (!sessions_may_try(&c->sessions, who, now)) {
        http_set_header(rq, "Retry-After", "60");
        refuse(rq, 429, "Too many wrong keys; wait a minute.");
        return;
    }
    session = right ? sessions_begin(&c->sessions, key, now) : NULL;
    if (session != NULL) {
        set_cookie(c, rq, session->cookie, SESSION_LIFE_MS / 1000);
        samples_start(site_of(c, session));
        log_info("console: somebody logged in peer=%s", http_peer(rq));
        reply_json(rq, 200, session_json(c, session));
        return;
    }
    sessions_tried_wrong(&c->sessions, who, now);
    log_warn("console: a login with wrong keys was refused peer=%s", http_peer(rq));
    refuse(rq, 401,
        "These are not the keys of this cloud. On loopback they are test and test, unless "
        "`birthmark "
        "cloud --new-credentials` made others, which are in the file credentials of its state "
        "folder.");
}

static void
log_out(struct console *c, struct http_request *rq, struct session *session)
{
    streams_end(site_of(c, session), session);
    session_end(session);
    set_cookie(c, rq, "", 0);
    reply_json(rq, 200, json_object());
}

/* ---- who may ask, for what ---- */

static const struct {
    const char *method;
    const char *path;
    void (*handler)(struct site *c, struct http_request *rq);
} views[] = {
    { "GET", "/view/overview", view_overview },
    { "GET", "/view/certificates", view_certificates },
    { "GET", "/view/certificate", view_certificate },
    { "GET", "/view/cas", view_cas },
    { "GET", "/view/timeline", view_timeline },
    { "GET", "/view/rules", view_rules },
    { "GET", "/view/log", view_log },
    { "POST", "/view/policy-test", view_policy_test },
};

static bool
is_get(const struct http_request *rq)
{
    return strcmp(http_method(rq), "GET") == 0;
}

static void
serve_session(struct console *c, struct http_request *rq, struct session *session)
{
    const char *path = http_path(rq);
    struct site *site = site_of(c, session);

    if (strcmp(path, "/session") == 0 && is_get(rq)) {
        reply_json(rq, 200, session_json(c, session));
    } else if (strcmp(path, "/session") == 0 && strcmp(http_method(rq), "DELETE") == 0) {
        log_out(c, rq, session);
    } else if (strcmp(path, "/events") == 0 && is_get(rq)) {
        stream_open(site, rq, session);
    } else if (strcmp(path, "/mqtt") == 0 && !is_get(rq)) {
        mqtt_ask(site, rq, session);
    } else if (strncmp(path, "/api/", 5) == 0) {
        api_serve(c->options.api, rq, path + 4, session->key);
    } else {
        for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
            if (strcmp(path, views[i].path) == 0 && strcmp(http_method(rq), views[i].method) == 0) {
                views[i].handler(site, rq);
                return;
            }
        }
        refuse(rq, 404, "There is nothing at %s %s.", http_method(rq), path);
    }
}

static struct session *
session_of(struct console *c, const struct http_request *rq)
{
    struct span value;

    return guard_cookie(http_header(rq, "Cookie"), c->cookie_name, &value)
               ? sessions_find(&c->sessions, value, clock_mono_ms())
               : NULL;
}

static void
set_headers(struct http_request *rq)
{
    static const char *const headers[][2] = {
        { "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
            "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Frame-Options", "DENY" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Cross-Origin-Resource-Policy", "same-origin" },
    };

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        http_set_header(rq, headers[i][0], headers[i][1]);
}

static void
on_request(void *arg, struct http_request *rq)
{
    struct console *c = arg;
    const struct console_options *o = &c->options;
    const char *host = http_header(rq, "Host");
    struct session *session;

    set_headers(rq);
    if (!guard_host(host, o->names, o->name_count)) {
        refuse(rq, 421,
            "The console is not called '%.100s'; call it by its IP address, as localhost, or give "
            "the cloud this name with --name.",
            host != NULL ? host : "");
        return;
    }
    if (is_get(rq) && page_serve(rq))
        return;
    http_set_header(rq, "Cache-Control", "no-store");
    if (!guard_origin(host, http_header(rq, "Origin"), http_header(rq, "Sec-Fetch-Site"))) {
        refuse(rq, 403, "A page of another origin may not ask this.");
        return;
    }
    if (strcmp(http_path(rq), "/session") == 0 && strcmp(http_method(rq), "POST") == 0) {
        if (http_header(rq, TOKEN_HEADER) == NULL)
            refuse(rq, 403, "The header " TOKEN_HEADER " is missing.");
        else
            log_in(c, rq);
        return;
    }
    session = session_of(c, rq);
    if (session == NULL)
        refuse(rq, 401, "Log in first: there is no session, or it has ended.");
    else if (!is_get(rq) && !session_token_fits(session, http_header(rq, TOKEN_HEADER)))
        refuse(rq, 403, "The header " TOKEN_HEADER " is not this session's; reload the page.");
    else
        serve_session(c, rq, session);
}

/* ---- opening ---- */

enum bm_err
console_open(const struct console_options *options, struct console **out, struct bm_msg *msg)
{
    struct console *c = calloc(1, sizeof *c);
    struct http_options http = { .loop = options->loop,
        .host = options->host,
        .port = options->port,
        .body_max = BODY_MAX,
        .handler = on_request,
        .arg = c };
    enum bm_err err;

    *out = NULL;
    if (c == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the console");
    c->options = *options;
    for (size_t i = 0; i < options->account_count; i++)
        c->sites[i] = (struct site){ .console = c,
            .account = &options->accounts[i],
            .registry = options->accounts[i].registry,
            .place = { .region = options->region, .account = options->accounts[i].number },
            .loop = options->loop };
    err = http_open(&http, &c->http, msg);
    if (err == BM_ERR_IO && options->port_is_wish) {
        http.port = 0;
        err = http_open(&http, &c->http, msg);
    }
    if (err != BM_OK) {
        free(c);
        return err;
    }
    /* cookies do not know ports: two clouds of one machine must not share one */
    (void)snprintf(c->cookie_name, sizeof c->cookie_name, "birthmark_%u", http_port(c->http));
    *out = c;
    return BM_OK;
}

void
console_close(struct console *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->options.account_count; i++) {
        streams_end(&c->sites[i], NULL);
        samples_end(&c->sites[i]);
        loop_cancel(c->options.loop, c->sites[i].pump);
        loop_cancel(c->options.loop, c->sites[i].heartbeat);
    }
    http_close(c->http);
    bm_wipe(&c->sessions, sizeof c->sessions);
    free(c);
}

uint16_t
console_port(const struct console *c)
{
    return http_port(c->http);
}
