/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address a connection comes from: what it is called in records and policies, and how many
 * handshakes and connections it may have over all workers.
 */
#include "endpoint/inside.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

void
address_note(struct conn *c, const struct sockaddr_storage *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->ss_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, c->source_ip, sizeof c->source_ip);
        c->source_port = ntohs(v4.sin_port);
    } else {
        memcpy(&v6, address, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, c->source_ip, sizeof c->source_ip);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) { /* policies speak of the IPv4 form */
            (void)inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], c->source_ip, sizeof c->source_ip);
        }
        c->source_port = ntohs(v6.sin6_port);
    }
}

void
address_text(const struct conn *c, char out[PEER_TEXT])
{
    bool v6 = strchr(c->source_ip, ':') != NULL;

    (void)snprintf(out, PEER_TEXT, v6 ? "[%s]:%u" : "%s:%u", c->source_ip, c->source_port);
}

/* An IPv6 network of /64 is one customer. */
static uint64_t
address_key(const struct conn *c)
{
    uint8_t v6[16];

    if (inet_pton(AF_INET6, c->source_ip, v6) == 1) {
        return throttle_key(c->w->o->throttle, v6, 8, NULL, 0);
    }
    return throttle_key(c->w->o->throttle, c->source_ip, strlen(c->source_ip), NULL, 0);
}

bool
address_enter(struct conn *c, enum throttle_of kind, enum limit which, enum cause cause)
{
    uint32_t max = limit(c->w, which);
    unsigned have;

    if (max == 0) {
        return true;
    }
    have = throttle_enter(c->w->o->throttle, c->w->o->index, kind, address_key(c));
    c->of_address[kind] = true;
    if (have > max) {
        conn_end(c, cause, "limit=%s max=%u", limit_row(which)->name, max);
        return false;
    }
    return true;
}

void
address_leave(struct conn *c, enum throttle_of kind)
{
    if (c->of_address[kind]) {
        throttle_leave(c->w->o->throttle, c->w->o->index, kind, address_key(c));
    }
    c->of_address[kind] = false;
}
