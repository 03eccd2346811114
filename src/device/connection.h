/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt to connect, and the connection that comes of it: TCP, TLS and MQTT (wire/mqtt.h) on
 * the event loop, never waiting but for the resolver.
 *
 * It is not libmosquitto, because a device must see where an attempt failed and must never spin:
 * version 2.0.11 keeps a refused connection to itself, and with a loop of the caller's it then
 * calls write() forever.
 *
 * A connection is opened, tells once how it ended, and is closed; whoever wants another opens one.
 * Messages are held nowhere here: what has no PUBACK when it ends is the caller's to send again.
 * Asking for the server's addresses blocks as long as the resolver does (a few seconds by default).
 */
#ifndef BM_DEVICE_CONNECTION_H
#define BM_DEVICE_CONNECTION_H

#include "base/loop.h"
#include "device/tls.h"

struct connection;

enum { CONNECTION_TIMEOUT_MS = 20000, CONNECTION_ACK_MS = 60000, CONNECTION_FILTERS_MAX = 8 };

struct connection_options {
    struct loop *loop;
    const char *host; /* name or address to connect to */
    uint16_t port;
    const char *client_id;
    unsigned keep_alive_s; /* 0: 60 */
    bool mqtt5;            /* else 3.1.1 */
    bool keep_session;     /* clean session off */
    unsigned address;      /* which of the host's addresses, modulo their number */
    unsigned timeout_ms;   /* until CONNACK, 0: CONNECTION_TIMEOUT_MS */
    const char *from;      /* address to connect from, as a literal; NULL: the system's choice */
    unsigned ack_ms;       /* without any of the PUBACKs that are due, 0: CONNECTION_ACK_MS; told up
                              to a quarter of the keep-alive later */
    SSL_CTX *tls;
    struct tls_seen *seen; /* the one of `tls` */
    /* PHASE_TLS, PHASE_CONNECT: the attempt has come so far. May be NULL. Nothing is closed here */
    void (*reached)(void *arg, enum attempt_phase phase);
    void (*connected)(void *arg, bool session_present);
    /* PUBACK; reason 0, or a refusal of MQTT 5. Packet 0: a publish of QoS 0 was written */
    void (*acknowledged)(void *arg, int packet, int reason);
    /* SUBACK: one code for each filter, 0x80 and more refuse */
    void (*subscribed)(void *arg, int packet, const int *codes, size_t count);
    void (*message)(void *arg, const char *topic, struct span payload, bool retained);
    /* The last call; the connection may be closed from within it. */
    void (*ended)(void *arg, const struct attempt *a);
    void *arg;
};

/*
 * `ended` is not called from within. BM_ERR_IO: it ended at once, and *a says how; BM_ERR_MEM.
 * Strings are borrowed as long as the connection lives.
 */
enum bm_err connection_open(const struct connection_options *o, struct connection **out,
    struct attempt *a, struct bm_msg *msg);
/* Says DISCONNECT when it is connected. `ended` is not called. Takes NULL. */
void connection_close(struct connection *c);
/* The same without a word, as a network ends it. */
void connection_cut(struct connection *c);

bool connection_up(const struct connection *c);
const char *connection_peer(const struct connection *c);              /* "127.0.0.1:8883" */
const struct attempt *connection_attempt(const struct connection *c); /* so far */

/* *packet names it in `acknowledged`; 0 with QoS 0. BM_ERR_IO: not connected. BM_ERR_ARG: no topic
 * to publish to, or too long. */
enum bm_err connection_publish(struct connection *c, const char *topic, struct span payload,
    int qos, bool retain, int *packet);
/* `count` filters, up to CONNECTION_FILTERS_MAX in one packet (SPEC aws-iot 6.4). */
enum bm_err connection_subscribe(
    struct connection *c, const char *const *filters, size_t count, int qos, int *packet);

#endif
