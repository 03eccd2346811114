/* SPDX-License-Identifier: Apache-2.0 */
/* See explain.h. */
#include "device/explain.h"

#include "base/clock.h"

#include <stdio.h>

struct explain {
    const struct explain_facts *f;
    const struct outcome_info *info; /* of the failure */
    finding_fn fn;
    void *arg;
};

#define GOOD(e, layer, ...)                                                                        \
    finding_tell((e)->fn, (e)->arg, layer, FINDING_OK, CAUSE_NONE, 0, __VA_ARGS__)
#define BAD(e, layer, ...)                                                                         \
    finding_tell(                                                                                  \
        (e)->fn, (e)->arg, layer, FINDING_FAIL, CAUSE_NONE, (e)->info->exit_code, __VA_ARGS__)

static void
tell_network(const struct explain *e)
{
    const struct attempt *a = e->f->attempt;
    const char *host = e->f->connection->host;

    if (a->phase == PHASE_NAME) {
        BAD(e, "name", "no address for %s", host);
        return;
    }
    GOOD(e, "name", "%s is %s%s", host, a->peer,
        a->addresses > 1 ? ", one of several addresses, which are tried in turn" : "");
    if (a->phase == PHASE_TCP)
        BAD(e, "tcp", "%s", e->f->detail);
    else
        GOOD(e, "tcp", "connected after %d ms", a->ms[PHASE_TLS]);
}

static void
tell_server(const struct explain *e)
{
    const struct tls_seen *s = e->f->seen;
    char from[CLOCK_TEXT_LEN];
    char until[CLOCK_TEXT_LEN];

    if (!s->has_server)
        return;
    clock_text(from, s->from_ms);
    clock_text(until, s->until_ms);
    if (s->verify_error != X509_V_OK)
        BAD(e, "server", "%s", e->f->detail);
    else
        GOOD(e, "server", "%s, names %s, of %s, valid %.10s to %.10s", s->subject,
            s->names[0] != '\0' ? s->names : "none", s->issuer, from, until);
}

static void
tell_tls(const struct explain *e)
{
    const struct attempt *a = e->f->attempt;
    const struct tls_seen *s = e->f->seen;
    const char *wanted = e->f->tls->alpn;

    GOOD(e, "asked", "server name (SNI) %s, ALPN %s", e->f->tls->server_name,
        wanted != NULL ? wanted : "none");
    tell_server(e);
    if (a->phase == PHASE_TLS) {
        if (s->verify_error == X509_V_OK)
            BAD(e, "tls", "%s", e->f->detail);
        return;
    }
    GOOD(e, "tls", "%s, %s, after %d ms%s", s->version, s->cipher, a->ms[PHASE_CONNECT],
        s->asked ? "; it asked for the certificate"
                 : "; it asks for no certificate, so it is no such endpoint");
    if (wanted != NULL && s->alpn[0] == '\0')
        finding_tell(e->fn, e->arg, "alpn", FINDING_WARN, CAUSE_DEVICE_ALPN, 0,
            "the server did not take %s", wanted);
    else if (wanted != NULL)
        GOOD(e, "alpn", "the server took %s", s->alpn);
}

static void
tell_mqtt(const struct explain *e)
{
    const struct attempt *a = e->f->attempt;
    const char *level = e->f->connection->mqtt5 ? "5" : "3.1.1";

    if (a->phase == PHASE_CONNECTED)
        GOOD(e, "mqtt", "CONNECT of client id %s, MQTT %s: CONNACK 0 after %d ms", e->f->client_id,
            level, a->ms[PHASE_CONNECTED]);
    else
        BAD(e, "mqtt", "CONNECT of client id %s, MQTT %s: %s", e->f->client_id, level,
            e->f->detail[0] != '\0' ? e->f->detail : "no CONNACK, the connection was closed");
}

static void
tell_result(const struct explain *e)
{
    const struct attempt *a = e->f->attempt;

    if (e->info == NULL)
        GOOD(e, "result", "let in");
    else
        finding_tell(e->fn, e->arg, "result", FINDING_FAIL, e->info->cause, e->info->exit_code,
            "%s%s", a->phase == PHASE_CONNECTED ? "it was let in, and " : "", e->f->detail);
}

void
explain_attempt(const struct explain_facts *f, finding_fn fn, void *arg)
{
    struct explain e = { .f = f, .fn = fn, .arg = arg };

    if (f->attempt->phase != PHASE_CONNECTED || f->detail != NULL)
        e.info = outcome_info(outcome_of(f->attempt));
    if (f->id == NULL || identity_leaf(f->id, f->pick) == NULL) {
        BAD(&e, "key", "%s", f->detail);
    } else {
        finding_clock(f->clock, f->system_ms, fn, arg);
        GOOD(&e, "key", "%s", f->id->key_text);
        finding_certificates(f->id, f->pick, f->clock, fn, arg);
        if (f->attempt->phase >= PHASE_NAME)
            tell_network(&e);
        if (f->attempt->phase >= PHASE_TLS)
            tell_tls(&e);
        if (f->attempt->phase >= PHASE_CONNECT)
            tell_mqtt(&e);
    }
    tell_result(&e);
}
