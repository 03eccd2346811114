/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests that we make: libcurl on the event loop, one thread.
 */
#ifndef BM_HTTP_CLIENT_H
#define BM_HTTP_CLIENT_H

#include "base/bytes.h"
#include "base/loop.h"

struct http_client;

enum { HTTP_CLIENT_TIMEOUT_MS = 3000 }; /* a whole request; SPEC aws-iot 5.3 */

enum bm_err http_client_open(struct loop *loop, struct http_client **out, struct bm_msg *msg);
/* Requests under way are dropped; their `done` is not called. Takes NULL. */
void http_client_close(struct http_client *c);

/*
 * Is it an http or https URL with a host? BM_ERR_INPUT. *loopback: the host is 127.0.0.0/8, ::1 or
 * localhost.
 */
enum bm_err http_url_check(const char *url, bool *loopback, struct bm_msg *msg);

/* status 0: no answer, and `why` says the cause. Not called from within http_client_post. */
typedef void (*http_done_fn)(void *arg, unsigned status, const char *why);

/*
 * POST `body` (copied) to an http or https URL, with `headers` ("Name: value", copied). Redirects
 * are not followed, answers are not kept. BM_ERR_INPUT: the URL. BM_ERR_MEM. After an error `done`
 * is not called.
 */
enum bm_err http_client_post(struct http_client *c, const char *url, const char *const *headers,
    size_t header_count, struct span body, http_done_fn done, void *arg, struct bm_msg *msg);

#endif
