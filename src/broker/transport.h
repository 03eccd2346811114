/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes to and from a broker: one non-blocking socket, plain or in TLS. SPEC endpoint 10.
 *
 * Read and write are as recv and send of a non-blocking socket. The TLS handshake is a part of
 * them: it begins with the first write. A record is at most 16 KB and OpenSSL takes no more of the
 * socket than the record it is at, so a read into at least TRANSPORT_READ_MIN bytes leaves nothing
 * behind that epoll would not tell of, and who stops reading needs no other way to go on.
 */
#ifndef BM_BROKER_TRANSPORT_H
#define BM_BROKER_TRANSPORT_H

#include "base/bytes.h"
#include "broker/upstream.h"

#include <openssl/ssl.h>
#include <sys/types.h>

enum { TRANSPORT_READ_MIN = 16384 };

struct transport {
    int fd;             /* -1: none */
    SSL *tls;           /* NULL: plain */
    const char *failed; /* TLS did, and why */
    bool wants_read;    /* what is to be written waits for something to read */
};

/*
 * What all TLS connections to `u` share: whom it trusts, and our certificate. *out is NULL when `u`
 * is plain. BM_ERR_INPUT: a file of `u` is not what it must be.
 */
enum bm_err transport_context(const struct upstream *u, SSL_CTX **out, struct bm_msg *msg);
/* The next SSL made of it is for address number `which`: asks for its name, and insists on it. */
bool transport_aim(SSL_CTX *ctx, const struct upstream *u, size_t which);

/* As upstream_open; `ctx` of transport_context. */
bool transport_open(struct transport *s, const struct upstream *u, size_t which, SSL_CTX *ctx);
void transport_close(struct transport *s);

/* Not to be called directly. */
ssize_t transport_tls_read(struct transport *s, void *out, size_t cap);
ssize_t transport_tls_write(struct transport *s, struct span in);

/* -1 and errno; EPROTO: see transport_why. */
static inline ssize_t
transport_read(struct transport *s, void *out, size_t cap)
{
    return s->tls == NULL ? recv(s->fd, out, cap, 0) : transport_tls_read(s, out, cap);
}

static inline ssize_t
transport_write(struct transport *s, struct span in)
{
    return s->tls == NULL ? send(s->fd, in.ptr, in.len, MSG_NOSIGNAL) : transport_tls_write(s, in);
}

/* What to wait for, when the one who uses it waits for this. */
uint32_t transport_events(const struct transport *s, uint32_t events);
/* Of the newest failure, errno being its. */
const char *transport_why(const struct transport *s);
/* Of a TLS handshake or connection that failed: what is wrong with the peer's certificate, else
 * OpenSSL's words, given as the newest of its errors. */
const char *transport_tls_words(const SSL *ssl, const char *openssl);

#endif
