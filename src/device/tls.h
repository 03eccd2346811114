/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS as a device does it, and a record of what was seen on the way: alerts by number, the server's
 * certificate and OpenSSL's verdict on it, bytes that are no TLS, a signature that the chip did not
 * give. The record is what `struct attempt` and --explain are filled from.
 *
 * Whoever makes the connection only gets the SSL_CTX. The context notes
 * everything in the one `struct tls_seen` it was made with, so one connection at a time; clear it
 * before each.
 */
#ifndef BM_DEVICE_TLS_H
#define BM_DEVICE_TLS_H

#include "device/clock.h"
#include "device/identity.h"
#include "device/outcome.h"

#include <openssl/ssl.h>

struct tls_seen {
    bool done;          /* the handshake is complete */
    bool asked;         /* the server asked for a certificate */
    bool sign_failed;   /* the key did not sign */
    bool ended;         /* the server closed the connection without saying so in TLS */
    bool foreign;       /* what came first is no TLS record */
    uint8_t first[5];   /* of what came first; all zero: nothing came */
    int alert_received; /* fatal or close_notify; 0: none */
    int alert_sent;
    long verify_error; /* X509_V_ERR_*, the first */
    int verify_depth;
    bool has_server;
    char subject[200]; /* of the server's certificate */
    char issuer[200];
    char names[200];    /* its alternative names, "localhost, 127.0.0.1" */
    char server_id[65]; /* SHA-256 of it */
    int64_t from_ms;
    int64_t until_ms;
    char words[240];  /* OpenSSL's, of the failure */
    char version[16]; /* "TLSv1.3" */
    char cipher[64];
    char alpn[64]; /* what the server took; "": nothing */
};

struct tls_options {
    const char *ca_file;     /* PEM, what the server must lead to; NULL: the system's roots */
    const char *server_name; /* for SNI and the name in its certificate; an IP literal, too */
    const char *alpn;        /* NULL: none; "x-amzn-mqtt-ca" for port 443, SPEC aws-iot 6.1 */
    size_t pick;             /* which of the identity's leaves */
};

/*
 * Borrows `id`, `o` and `seen` as long as the context lives. BM_ERR_INPUT: a file or an option
 * cannot be used; BM_ERR_CONFLICT: certificate and key do not fit.
 */
enum bm_err tls_open(const struct identity *id, const struct tls_options *o, struct tls_seen *seen,
    SSL_CTX **out, struct bm_msg *msg);
void tls_close(SSL_CTX *tls); /* takes NULL */

/* Judge the server's certificate by this time from now on. */
void tls_set_time(SSL_CTX *tls, const struct clock_verdict *now);

/* Ask for the server's name (SNI) on this connection. */
bool tls_prepare(SSL *ssl);

/* Note the error that OpenSSL has for the caller now. */
void tls_note(struct tls_seen *seen);

/* What TLS saw as facts of the attempt: alerts, verdict on the server, key. */
void tls_facts(const struct tls_seen *seen, struct attempt *a);
/* The same as text: "alert unknown_ca (48) received; ...". "" when there is nothing to tell. */
void tls_text(const struct tls_seen *seen, struct buf *out);

#endif
