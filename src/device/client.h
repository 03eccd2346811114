/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that stays connected: attempt, outcome, wait, attempt, for as long as it is wanted.
 *
 * Puts the parts of this room together: who the device is (identity.h), what time it is (clock.h),
 * one connection at a time (connection.h), when to try again (backoff.h), and what is remembered
 * between runs (known.h). What is sent and received is the caller's business.
 */
#ifndef BM_DEVICE_CLIENT_H
#define BM_DEVICE_CLIENT_H

#include "device/backoff.h"
#include "device/explain.h"
#include "device/known.h"

struct client;

/* One attempt that failed, or a connection that ended. */
struct client_event {
    enum outcome outcome;
    const char *detail; /* what was seen: "alert ...", "connection refused"; may be "" */
    unsigned in_row;    /* attempts that failed, this one included */
    int64_t wait_ms;    /* until the next; -1: there is none */
    const struct tls_seen *seen;
};

struct client_options {
    struct loop *loop;
    struct identity_options identity;
    struct tls_options tls;               /* pick is the client's; server_name NULL: host */
    struct connection_options connection; /* loop, tls, seen, callbacks and arg are the client's; no
                                           client_id: the certificate's common name */
    const char *state_dir;                /* NULL: nothing is remembered */
    const char *time_from;                /* URL to ask for the date when the clock is wrong */
    int64_t clock_offset_ms;              /* added to the system's clock, for boards and tests */
    uint64_t seed;                        /* of the backoff; 0: random */
    bool once;                            /* do not try again */

    void (*connected)(void *arg, bool session_present);
    void (*acknowledged)(void *arg, int packet, int reason);
    void (*subscribed)(void *arg, int packet, const int *codes, size_t count);
    void (*message)(void *arg, const char *topic, struct span payload, bool retained);
    void (*failed)(void *arg, const struct client_event *event);
    /* what an attempt saw, layer by layer, when it was let in or failed in another way than the
     * last one; NULL: nobody wants to know */
    finding_fn explain;
    void (*note)(void *arg, const char *text); /* what a person should know, but need not act on */
    void *arg;
};

/* Strings are borrowed as long as the client lives. Nothing is tried before the loop runs. */
enum bm_err client_open(const struct client_options *o, struct client **out, struct bm_msg *msg);
void client_close(struct client *c); /* takes NULL */

struct connection *client_connection(struct client *c);         /* NULL: not connected */
const struct identity *client_identity(const struct client *c); /* NULL: not read yet */
const char *client_id(const struct client *c);                  /* in use; "" before */
size_t client_pick(const struct client *c);                     /* which of its leaves is in use */
int64_t client_now_ms(const struct client *c);                  /* what it takes for the time */

/* Reason String of the packet that `acknowledged` or `subscribed` tells of; "" when it has none. */
const char *client_words(const struct client *c);

/* Read key and certificates anew and connect again, now, with the newest one. A client that was let
 * in with an older one only does so every hour. */
void client_restart(struct client *c);
/* The connection ended after this message was published; the next outcome says so. */
void client_blame_message(struct client *c, bool blame);

#endif
