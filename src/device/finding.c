/* SPDX-License-Identifier: Apache-2.0 */
/* See finding.h. */
#include "device/finding.h"

#include "base/clock.h"
#include "device/outcome.h"

#include <stdarg.h>
#include <stdio.h>

enum { SOON_DAYS = 30 };

void
finding_tell(finding_fn fn, void *arg, const char *layer, enum finding_level level,
    enum cause cause, int exit_code, const char *fmt, ...)
{
    struct finding f = { .layer = layer, .level = level, .cause = cause, .exit_code = exit_code };
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(f.evidence, sizeof f.evidence, fmt, ap);
    va_end(ap);
    fn(arg, &f);
}

void
finding_clock(const struct clock_verdict *clock, int64_t system_ms, finding_fn fn, void *arg)
{
    char says[CLOCK_TEXT_LEN];
    char takes[CLOCK_TEXT_LEN];

    clock_text(says, system_ms);
    clock_text(takes, clock->now_ms);
    if (clock->system == CLOCK_PLAUSIBLE)
        finding_tell(fn, arg, "clock", FINDING_OK, CAUSE_NONE, 0, "%s", says);
    else
        finding_tell(fn, arg, "clock", FINDING_WARN, CAUSE_DEVICE_CLOCK, DEVICE_EXIT_CLOCK,
            "it says %s; `birthmark device` goes by %s%s", says, takes,
            clock->source == CLOCK_OF_SERVER ? " of the time server" : ", the least it can be");
}

static void
dates(X509 *leaf, const struct clock_verdict *clock, finding_fn fn, void *arg)
{
    int64_t until = chain_until_ms(leaf);
    char start[CLOCK_TEXT_LEN];
    char end[CLOCK_TEXT_LEN];

    clock_text(end, until);
    clock_text(start, chain_from_ms(leaf));
    if (until < clock->now_ms)
        finding_tell(fn, arg, "dates", FINDING_FAIL, CAUSE_LEAF_EXPIRED, DEVICE_EXIT_KEY,
            "it ended %s", end);
    else if (chain_from_ms(leaf) > clock->now_ms && clock->source != CLOCK_AT_LEAST)
        finding_tell(fn, arg, "dates", FINDING_FAIL, CAUSE_LEAF_NOT_YET_VALID, DEVICE_EXIT_KEY,
            "it begins %s", start);
    else if (until < clock->now_ms + SOON_DAYS * 86400000LL)
        finding_tell(fn, arg, "dates", FINDING_WARN, CAUSE_LEAF_EXPIRED, 0, "it ends %s", end);
    else
        finding_tell(fn, arg, "dates", FINDING_OK, CAUSE_NONE, 0, "valid until %s", end);
}

void
finding_certificates(const struct identity *id, size_t pick, const struct clock_verdict *clock,
    finding_fn fn, void *arg)
{
    X509 *leaf = identity_leaf(id, pick);
    char subject[200];
    char issuer[200];
    char hex[65];
    char which[64] = "";

    chain_name(leaf, false, subject, sizeof subject);
    chain_name(leaf, true, issuer, sizeof issuer);
    chain_id(leaf, hex);
    if (id->chain.leaf_count > 1)
        (void)snprintf(which, sizeof which, ", %s of %zu for its keys",
            pick == 0 ? "the newest" : "a former one", id->chain.leaf_count);
    finding_tell(
        fn, arg, "certificate", FINDING_OK, CAUSE_NONE, 0, "%s%s, id %s", subject, which, hex);
    dates(leaf, clock, fn, arg);
    if (!id->chain.complete)
        finding_tell(fn, arg, "chain", FINDING_WARN, CAUSE_DEVICE_CHAIN, 0,
            "issuer %s is not beside it", issuer);
    else
        finding_tell(fn, arg, "chain", FINDING_OK, CAUSE_NONE, 0, "%zu issuers, %s%s",
            id->chain.issuer_count, issuer,
            id->chain.in_order ? "" : "; stored in another order, which `birthmark device` mends");
}
