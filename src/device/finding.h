/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen at one layer between a device and its cloud: by a look beforehand (check.h) or in
 * an attempt to connect (explain.h).
 */
#ifndef BM_DEVICE_FINDING_H
#define BM_DEVICE_FINDING_H

#include "device/clock.h"
#include "device/identity.h"

enum finding_level { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct finding {
    const char *layer; /* "clock", "key", "certificate", "dates", "chain", "network", "tls", ... */
    enum finding_level level;
    enum cause cause; /* CAUSE_NONE: all is well */
    int exit_code;    /* when it fails */
    char evidence[900];
};

typedef void (*finding_fn)(void *arg, const struct finding *f);

/* Tell one finding. */
void finding_tell(finding_fn fn, void *arg, const char *layer, enum finding_level level,
    enum cause cause, int exit_code, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

/* Leaf, dates and chain of an identity, by this time. */
void finding_certificates(const struct identity *id, size_t pick, const struct clock_verdict *clock,
    finding_fn fn, void *arg);
/* The clock: `system_ms` is what it says. */
void finding_clock(const struct clock_verdict *clock, int64_t system_ms, finding_fn fn, void *arg);

#endif
