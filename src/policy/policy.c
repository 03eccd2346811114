/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deciding with compiled policies. SPEC aws-iot 7.1 (evaluation).
 */
#include "policy/policy.h"

#include "base/clock.h"
#include "policy/compiled.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
resource_matches(const struct statement *s, const struct text *t, const struct asked *q)
{
    for (size_t i = 0; i < s->count; i++) {
        if (pattern_matches(&s->patterns[i], t, q, false))
            return !s->not_resource;
    }
    return s->not_resource;
}

/* SPEC aws-iot 7.2: the kind of resource that an action is asked on. */
const char *
policy_resource_kind(enum policy_action a)
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

/* What was found so far, and where. */
struct decision {
    enum policy_verdict verdict;
    struct policy_decider by;
};

static void
ask_policy(const struct policy *p, size_t number, enum policy_action action, const struct text *t,
    const struct policy_subject *who, struct decision *d)
{
    struct asked q = { .policy = p, .action = action, .who = who };

    if (p->uses_time)
        (void)snprintf(q.now, sizeof q.now, "%lld",
            (long long)(who->now_ms != 0 ? who->now_ms : clock_wall_ms()) / 1000);
    for (size_t k = 0; k < p->count && d->verdict != POLICY_DENIED_EXPLICIT; k++) {
        const struct statement *s = &p->statements[k];
        bool holds;

        if ((s->actions & 1U << action) == 0 || !resource_matches(s, t, &q))
            continue;
        holds = conditions_hold(s, &q);
        if (holds && s->deny)
            *d = (struct decision){ POLICY_DENIED_EXPLICIT, { true, number, k } };
        else if (holds && d->verdict != POLICY_ALLOWED)
            *d = (struct decision){ POLICY_ALLOWED, { true, number, k } };
        else if (!holds && !s->deny && !d->by.found)
            d->by = (struct policy_decider){ true, number, k };
    }
}

enum policy_verdict
policy_decide_by(const struct policy *const *set, size_t count, enum policy_action action,
    struct span name, const struct policy_subject *who, struct policy_decider *by)
{
    struct decision d = { .verdict = POLICY_DENIED_IMPLICIT };
    char head[256];
    struct text t;
    int n = snprintf(head, sizeof head, "arn:aws:iot:%s:%s:%s/", who->region, who->account,
        policy_resource_kind(action));

    if (n >= 0 && (size_t)n < sizeof head) {
        t = (struct text){ span_of(head, (size_t)n), name };
        for (size_t i = 0; i < count && d.verdict != POLICY_DENIED_EXPLICIT; i++)
            ask_policy(set[i], i, action, &t, who, &d);
    }
    if (by != NULL)
        *by = d.by;
    return d.verdict;
}

enum policy_verdict
policy_decide(const struct policy *const *set, size_t count, enum policy_action action,
    struct span name, const struct policy_subject *who)
{
    return policy_decide_by(set, count, action, name, who, NULL);
}

bool
policy_time(const char *text, int64_t *ms)
{
    double seconds;

    if (!date_of(span_str(text), &seconds) || seconds < -1e12 || seconds > 1e12)
        return false;
    *ms = (int64_t)(seconds * 1000);
    *ms += *ms == 0 ? 1 : 0; /* 0 is "the clock's" */
    return true;
}

bool
policy_uses_certificate(const struct policy *p)
{
    return p->uses_certificate;
}

bool
policy_uses_thing(const struct policy *p)
{
    return p->uses_thing;
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
        conditions_free(&p->statements[i]);
    }
    for (size_t i = 0; i < p->thing_attribute_count; i++)
        free(p->thing_attributes[i]);
    free(p->statements);
    free(p);
}
