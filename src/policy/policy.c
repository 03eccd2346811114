/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deciding with compiled policies. SPEC aws-iot 7.1 (evaluation), 7.3 (matching).
 *
 * Matching remembers only the last star: when a later part fails, the star takes one byte more.
 * An earlier star never needs another try, because the last one can take whatever it could; so
 * the work is at most pattern times text, for `*a*a*a*` too.
 */
#include "policy/policy.h"

#include "policy/compiled.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The resource asked for: its ARN up to the name, and the name, without joining them. */
struct text {
    struct span head;
    struct span tail;
};

static size_t
text_len(const struct text *t)
{
    return t->head.len + t->tail.len;
}

static uint8_t
text_at(const struct text *t, size_t i)
{
    return i < t->head.len ? t->head.ptr[i] : t->tail.ptr[i - t->head.len];
}

/* A place in a pattern: a unit and, inside a variable, a byte of its value. */
struct place {
    size_t unit;
    size_t byte;
};

enum { PATTERN_END = -1 };

/* SPEC aws-iot 7.3: a variable without a value stays as its text. */
static struct span
variable_value(uint16_t unit, const struct policy_subject *who)
{
    if (unit == UNIT_CLIENT_ID && who->client_id.ptr != NULL)
        return who->client_id;
    if (unit == UNIT_CLIENT_ID)
        return span_str("${iot:ClientId}");
    if (unit == UNIT_CERTIFICATE_ID)
        return span_str(who->cert_id != NULL ? who->cert_id : "${iot:CertificateId}");
    return span_str(who->source_ip != NULL ? who->source_ip : "${aws:SourceIp}");
}

/* What stands at `at`: a byte, UNIT_STAR, UNIT_ONE or PATTERN_END; steps over empty variables. */
static int
pattern_peek(const struct pattern *p, struct place *at, const struct policy_subject *who)
{
    for (; at->unit < p->len; *at = (struct place){ at->unit + 1, 0 }) {
        uint16_t unit = p->units[at->unit];
        struct span value;

        if (unit < UNIT_CLIENT_ID)
            return unit;
        value = variable_value(unit, who);
        if (at->byte < value.len)
            return value.ptr[at->byte];
    }
    return PATTERN_END;
}

static void
pattern_step(const struct pattern *p, struct place *at)
{
    if (p->units[at->unit] < UNIT_CLIENT_ID)
        at->unit++;
    else
        at->byte++;
}

/* The index after the UTF-8 character at i. */
static size_t
next_character(const struct text *t, size_t i)
{
    do
        i++;
    while (i < text_len(t) && (text_at(t, i) & 0xc0) == 0x80);
    return i;
}

static bool
pattern_matches(const struct pattern *p, const struct text *t, const struct policy_subject *who)
{
    struct place at = { 0 };
    struct place after_star = { 0 };
    size_t i = 0;
    size_t star_end = 0; /* the star has taken the text up to here */
    bool have_star = false;
    size_t len = text_len(t);

    for (;;) {
        int unit = pattern_peek(p, &at, who);

        if (unit == UNIT_STAR) {
            pattern_step(p, &at);
            after_star = at;
            star_end = i;
            have_star = true;
        } else if (unit == PATTERN_END && i == len) {
            return true;
        } else if (i < len && unit == UNIT_ONE) {
            pattern_step(p, &at);
            i = next_character(t, i);
        } else if (i < len && unit == text_at(t, i)) {
            pattern_step(p, &at);
            i++;
        } else if (have_star && star_end < len) {
            at = after_star;
            i = ++star_end;
        } else {
            return false;
        }
    }
}

static bool
statement_matches(const struct statement *s, const struct text *t, const struct policy_subject *who)
{
    for (size_t i = 0; i < s->count; i++) {
        if (pattern_matches(&s->patterns[i], t, who))
            return true;
    }
    return false;
}

/* SPEC aws-iot 7.2: the kind of resource that an action is asked on. */
static const char *
resource_kind(enum policy_action a)
{
    switch (a) {
    case POLICY_CONNECT:
        return "client";
    case POLICY_SUBSCRIBE:
        return "topicfilter";
    case POLICY_PUBLISH:
    case POLICY_RETAIN_PUBLISH:
    case POLICY_RECEIVE:
        return "topic";
    }
    return "";
}

enum policy_verdict
policy_decide(const struct policy *const *set, size_t count, enum policy_action action,
    struct span name, const struct policy_subject *who)
{
    enum policy_verdict verdict = POLICY_DENIED_IMPLICIT;
    char head[256];
    struct text t;
    int n = snprintf(head, sizeof head, "arn:aws:iot:%s:%s:%s/", who->region, who->account,
        resource_kind(action));

    if (n < 0 || (size_t)n >= sizeof head)
        return POLICY_DENIED_IMPLICIT;
    t = (struct text){ span_of(head, (size_t)n), name };
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < set[i]->count; k++) {
            const struct statement *s = &set[i]->statements[k];

            if ((s->actions & 1U << action) == 0 || !statement_matches(s, &t, who))
                continue;
            if (s->deny)
                return POLICY_DENIED_EXPLICIT;
            verdict = POLICY_ALLOWED;
        }
    }
    return verdict;
}

const char *
policy_action_name(enum policy_action a)
{
    switch (a) {
    case POLICY_CONNECT:
        return "iot:Connect";
    case POLICY_PUBLISH:
        return "iot:Publish";
    case POLICY_RETAIN_PUBLISH:
        return "iot:RetainPublish";
    case POLICY_SUBSCRIBE:
        return "iot:Subscribe";
    case POLICY_RECEIVE:
        return "iot:Receive";
    }
    return "";
}

bool
policy_action_matches(const char *pattern, const char *name)
{
    size_t p = 0;
    size_t n = 0;
    size_t after_star = 0;
    size_t star_end = 0;
    bool have_star = false;

    for (;;) {
        if (pattern[p] == '*') {
            after_star = ++p;
            star_end = n;
            have_star = true;
        } else if (pattern[p] == '\0' && name[n] == '\0') {
            return true;
        } else if (name[n] != '\0' && pattern[p] != '\0' &&
                   (pattern[p] == '?' ||
                       tolower((unsigned char)pattern[p]) == tolower((unsigned char)name[n]))) {
            p++;
            n++;
        } else if (have_star && name[star_end] != '\0') {
            p = after_star;
            n = ++star_end;
        } else {
            return false;
        }
    }
}

void
policy_free(struct policy *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++) {
        for (size_t k = 0; k < p->statements[i].count; k++)
            free(p->statements[i].patterns[k].units);
        free(p->statements[i].patterns);
    }
    free(p->statements);
    free(p);
}
