/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a finished handshake leaves behind. OpenSSL keeps the peer's certificates, its session and
 * its secrets for as long as the connection lasts, 6 to 10 KB, for resumptions that are never
 * offered. Of that only the leaf is of use later, as DER (tls_peer).
 *
 * So the issuers are dropped (4.5 KB each), and the session is exchanged for an empty one that all
 * connections of a version and cipher share. SSL_set_session gives a connection the method of its
 * SSL_CTX, and a change of method throws the keys away (SPEC endpoint 3.3: every connection
 * failed). Hence a context of that method which the version negotiated has brought already. From
 * OpenSSL 3.2 on a connection remembers the method it began with instead: there the session stays.
 */
#include "endpoint/inside.h"

#include <stdlib.h>

struct lean {
    SSL_CTX *ctx;
    SSL_SESSION *session;
};

static void
lean_free(struct lean *l)
{
    SSL_SESSION_free(l->session);
    SSL_CTX_free(l->ctx);
    free(l);
}

void
lean_fini(struct worker *w)
{
    while (w->lean_count > 0) {
        lean_free(w->lean[--w->lean_count]);
    }
}

static struct lean *
lean_new(SSL *ssl)
{
    struct lean *l = calloc(1, sizeof *l);

    if (l == NULL) {
        return NULL;
    }
    l->ctx = SSL_CTX_new(SSL_get_ssl_method(ssl));
    l->session = SSL_SESSION_new();
    if (l->ctx == NULL || l->session == NULL ||
        SSL_SESSION_set_cipher(l->session, SSL_get_current_cipher(ssl)) != 1 ||
        SSL_SESSION_set_protocol_version(l->session, SSL_version(ssl)) != 1) {
        lean_free(l);
        return NULL;
    }
    return l;
}

static struct lean *
lean_for(struct worker *w, SSL *ssl)
{
    struct lean *l;

    for (size_t i = 0; i < w->lean_count; i++) {
        l = w->lean[i];
        if (SSL_CTX_get_ssl_method(l->ctx) == SSL_get_ssl_method(ssl) &&
            SSL_SESSION_get0_cipher(l->session) == SSL_get_current_cipher(ssl)) {
            return l;
        }
    }
    l = w->lean_count < LEAN_MAX ? lean_new(ssl) : NULL;
    if (l != NULL) {
        w->lean[w->lean_count++] = l;
    }
    return l;
}

static void
drop_issuers(SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

    while (chain != NULL && sk_X509_num(chain) > 0) {
        X509_free(sk_X509_pop(chain));
    }
}

void
lean_make(struct conn *c)
{
    bool small_records = SSL_SESSION_get_max_fragment_length(SSL_get0_session(c->ssl)) !=
                         TLSEXT_max_fragment_length_DISABLED; /* kept in the session only */
    struct lean *l = NULL;

    drop_issuers(c->ssl);
    if (OpenSSL_version_num() < 0x30200000UL && !small_records) {
        l = lean_for(c->w, c->ssl);
    }
    if (l != NULL && SSL_set_SSL_CTX(c->ssl, l->ctx) == l->ctx) {
        (void)SSL_set_session(c->ssl, l->session);
    }
}
