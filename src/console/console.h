/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web console: a page for a person who wants to see and steer the cloud, served by the control
 * process. SPEC aws-iot 9 (CA registration).
 *
 * Everything a person can change goes through the operations of the API (api_serve), so a browser
 * can do exactly what the aws CLI can. Only what AWS has no operation for is answered here: the
 * timeline, lists with subjects, numbers, the stream of events, the MQTT test client.
 *
 * Whoever has an account's credentials may log in, and sees that account. See guard.h and session.h
 * for what keeps other pages out. Plain HTTP: beyond loopback put a proxy with TLS in front of it.
 */
#ifndef BM_CONSOLE_CONSOLE_H
#define BM_CONSOLE_CONSOLE_H

#include "api/api.h"
#include "broker/upstream.h"
#include "endpoint/kept.h"
#include "endpoint/metrics.h"
#include "registry/table.h"

struct console;

/* What a session of one account sees. */
struct console_account {
    const char *number; /* 12 digits */
    struct registry *registry;
    const struct table *table;
    struct rules *rules;
    const char *dir;         /* state folder: the functions' logs are below it */
    const struct upstream *broker;
    struct kept *kept; /* is told what the test clients subscribe to */
};

/* All borrowed until console_close. Accounts and keys are those of the API, in its order. */
struct console_options {
    struct loop *loop;
    struct api *api;
    const struct console_account *accounts;
    size_t account_count;
    const struct api_key *keys;
    size_t key_count;
    const char *host;         /* IP literal */
    uint16_t port;            /* 0: any free one */
    bool port_is_wish;        /* when it is taken, any free one will do */
    const char *const *names; /* of the cloud, which a browser may call it by */
    size_t name_count;
    const char *region;
    const char *mqtt_address;      /* of the endpoint, to be shown: "127.0.0.1:8883" */
    const struct metrics *metrics; /* of the whole cloud, whatever the account */
    size_t metrics_count;
};
enum bm_err console_open(
    const struct console_options *options, struct console **out, struct bm_msg *msg);
/* Before api_close, and the loop must not run in between: see there. Takes NULL. */
void console_close(struct console *c);
uint16_t console_port(const struct console *c);

/* The account's registry was committed: there may be new records for those who watch. Takes NULL.
 */
void console_committed(struct console *c, size_t account);

#endif
