/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request to the console must have before anything looks at it: pure functions on headers.
 *
 * Host: a page of another site whose name was made to point at this address (DNS rebinding) sends
 * that name, so only IP literals, `localhost` and the cloud's own names are taken. Origin and
 * Sec-Fetch-Site: a page of another origin, another port of this machine included, may not ask.
 */
#ifndef BM_CONSOLE_GUARD_H
#define BM_CONSOLE_GUARD_H

#include "base/bytes.h"

/* Is the Host header's name (the port is not compared) one of ours? NULL is none. */
bool guard_host(const char *host, const char *const *names, size_t name_count);

/*
 * Does the browser say that a page of this very origin asks? Headers that are absent (NULL) say
 * nothing: then it is no browser, or one that asks for a page.
 */
bool guard_origin(const char *host, const char *origin, const char *fetch_site);

/* The value of one cookie in a Cookie header; false when it is not there. Borrowed. */
bool guard_cookie(const char *header, const char *name, struct span *value);

/* Last-Event-ID: a row number from 0 on; false when it is none. */
bool guard_event_id(const char *text, int64_t *out);

#endif
