/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the broker behind the endpoint is: a mosquitto of ours on a Unix socket, or any MQTT cluster
 * by address, with credentials. SPEC endpoint 5.
 *
 * A cluster has one or more addresses, tried in turn. What it must do is what the protocol says:
 * `#` does not match what begins with `$`, and no character of a topic means anything to it but `/`;
 * or it has a profile that makes up for that: see topics.h.
 */
#ifndef BM_BROKER_UPSTREAM_H
#define BM_BROKER_UPSTREAM_H

#include "base/err.h"
#include "broker/topics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { UPSTREAM_ADDRESSES_MAX = 8, UPSTREAM_LOGIN_MAX = 1024, UPSTREAM_NAME_MAX = 256 };

struct upstream {
    const char *path; /* Unix socket of a broker of ours, may be relative; NULL: by address */
    struct {
        struct sockaddr_storage sa;
        socklen_t len;
        char host[64]; /* IP literal */
        uint16_t port;
        char name[UPSTREAM_NAME_MAX]; /* as it was given: what a certificate has to name */
    } addresses[UPSTREAM_ADDRESSES_MAX];
    size_t count;
    char username[UPSTREAM_LOGIN_MAX]; /* "": none */
    char password[UPSTREAM_LOGIN_MAX]; /* "": none */
    bool tls;                          /* files, borrowed, PEM: */
    const char *ca;                    /* whom we trust; NULL: whom the system does */
    const char *cert;                  /* ours, with its chain, and its key; NULL, both: none */
    const char *key;
    const struct topics *topics; /* how it has to get them; NULL: as they are */
};

/* A mosquitto of ours: we start it, and know what it has on disk. */
static inline bool
upstream_is_ours(const struct upstream *u)
{
    return u->path != NULL;
}

/*
 * `mqtt://[USER@]HOST[:PORT][,HOST[:PORT]]...`, port 1883 if none is given, or `mqtts://` for TLS,
 * port 8883; names are resolved here, once. The password is not in it. BM_ERR_INPUT says what is wrong with it, BM_ERR_NOT_FOUND which
 * name has no address. Other fields are cleared.
 */
enum bm_err upstream_parse(const char *url, struct upstream *out, struct bm_msg *msg);
bool upstream_is_url(const char *text);

/*
 * A non-blocking socket to the address number `which` (of all, round and round), connected or on its
 * way there. -1 and errno; EAGAIN: the queue of a Unix socket is full.
 */
int upstream_open(const struct upstream *u, size_t which);
/* Does somebody listen there? Waits for a network address at most `wait_ms`. */
bool upstream_answers(const struct upstream *u, size_t which, int wait_ms);
/* The first that answers, beginning with `from`; that one when none does, or when it is ours. */
size_t upstream_first(const struct upstream *u, size_t from, int wait_ms);

#endif
