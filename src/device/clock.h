/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time it is, for a device that may boot in 1970: a policy on what is known.
 *
 * Three things are known: what the system's clock says; a time that has certainly passed (the
 * program was built then, or the device has noted it since); and perhaps what a server says. A
 * clock before that time, or CLOCK_SPAN_MS after it, cannot be right. Then a server's date counts,
 * if it is possible itself, and without one the certain time stands in as the least it can be:
 * what ended before has ended, what begins after may have begun. Pure.
 */
#ifndef BM_DEVICE_CLOCK_H
#define BM_DEVICE_CLOCK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_SPAN_MS (20LL * 365 * 86400 * 1000) /* a device is not older than 20 years */
#define CLOCK_SLACK_MS (300LL * 1000)             /* two clocks within this agree */

struct clock_facts {
    int64_t system_ms;
    int64_t passed_ms; /* this time has certainly passed */
    int64_t server_ms; /* now, as a server says; 0: nobody was asked */
};

enum clock_source { CLOCK_OF_SYSTEM, CLOCK_OF_SERVER, CLOCK_AT_LEAST };
enum clock_state { CLOCK_PLAUSIBLE, CLOCK_BEHIND, CLOCK_AHEAD, CLOCK_DIFFERS };

struct clock_verdict {
    int64_t now_ms; /* to judge certificates by */
    enum clock_source source;
    enum clock_state system; /* CLOCK_DIFFERS: possible, but the server says otherwise */
};

struct clock_verdict clock_judge(const struct clock_facts *facts);
/* When this program was built. */
int64_t clock_built_ms(void);

/*
 * The date a web server gives (the Date header of an answer to HEAD), asked of an http or https
 * URL; the answer's status does not matter. Waits up to `timeout_ms`. An https URL is not verified:
 * the clock that would judge its certificate is the one in doubt, and the answer is bounded by the
 * policy above. BM_ERR_IO, BM_ERR_TIMEOUT: no answer; BM_ERR_PROTO: none with a date.
 */
enum bm_err clock_ask(const char *url, unsigned timeout_ms, int64_t *server_ms, struct bm_msg *msg);

/* "2026-11-23T09:00:00Z" or seconds since 1970. False: neither. */
bool clock_parse(const char *text, int64_t *ms);

#endif
