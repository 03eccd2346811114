/* SPDX-License-Identifier: Apache-2.0 */
/* See transport.h. The error queue of OpenSSL is emptied before each call: it is the whole
 * thread's. */
#include "broker/transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static const char *
newest_error(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());

    return words != NULL ? words : "unknown error";
}

const char *
transport_tls_words(const SSL *ssl, const char *openssl)
{
    long verdict = ssl != NULL ? SSL_get_verify_result(ssl) : X509_V_OK;

    return verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : openssl;
}

/* ---- settings ---- */

/* The name to ask for is the one to insist on; none, when that is an address (RFC 6066). */
static void
on_info(const SSL *ssl, int where, int ret)
{
    (void)ret;
    if ((where & SSL_CB_HANDSHAKE_START) != 0) {
        SSL *s = (SSL *)(uintptr_t)ssl; /* const, although a change is what this moment is for */
        char *name = X509_VERIFY_PARAM_get0_host(SSL_get0_param(s), 0);

        (void)SSL_set_tlsext_host_name(s, name);
    }
}

static enum bm_err
refused(SSL_CTX *ctx, struct bm_msg *msg, const char *what, const char *file)
{
    SSL_CTX_free(ctx);
    return bm_fail(msg, BM_ERR_INPUT, "%s %s: %s", what, file, newest_error());
}

enum bm_err
transport_context(const struct upstream *u, SSL_CTX **out, struct bm_msg *msg)
{
    SSL_CTX *ctx;

    *out = NULL;
    if (!u->tls)
        return BM_OK;
    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return refused(ctx, msg, "OpenSSL", "refuses settings for a TLS client");
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_info_callback(ctx, on_info);
    if (u->ca == NULL && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return refused(ctx, msg, "the system's", "trust store");
    if (u->ca != NULL && SSL_CTX_load_verify_file(ctx, u->ca) != 1)
        return refused(ctx, msg, "the CA certificates of the broker,", u->ca);
    if (u->ca != NULL) /* who names a certificate means it, be it a root or not */
        (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (u->cert != NULL && SSL_CTX_use_certificate_chain_file(ctx, u->cert) != 1)
        return refused(ctx, msg, "the certificate for the broker,", u->cert);
    if (u->key != NULL && SSL_CTX_use_PrivateKey_file(ctx, u->key, SSL_FILETYPE_PEM) != 1)
        return refused(ctx, msg, "the key for the broker,", u->key);
    *out = ctx;
    return BM_OK;
}

bool
transport_aim(SSL_CTX *ctx, const struct upstream *u, size_t which)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    const char *name = u->addresses[which % u->count].name;

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_host(param, NULL, 0) != 1 ||
        X509_VERIFY_PARAM_set1_ip(param, NULL, 0) != 1)
        return false;
    return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ||
           X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

/* ---- a connection ---- */

bool
transport_open(struct transport *s, const struct upstream *u, size_t which, SSL_CTX *ctx)
{
    *s = (struct transport){ .fd = upstream_open(u, which) };
    if (s->fd < 0 || ctx == NULL)
        return s->fd >= 0;
    s->tls = transport_aim(ctx, u, which) ? SSL_new(ctx) : NULL;
    if (s->tls == NULL || SSL_set_fd(s->tls, s->fd) != 1) {
        transport_close(s);
        errno = ENOMEM;
        return false;
    }
    SSL_set_connect_state(s->tls);
    return true;
}

void
transport_close(struct transport *s)
{
    if (s->tls != NULL) {
        ERR_clear_error();
        if (s->failed == NULL && !SSL_in_init(s->tls))
            (void)SSL_shutdown(s->tls); /* so that the broker sees no cut */
        SSL_free(s->tls);
    }
    if (s->fd >= 0)
        (void)close(s->fd);
    *s = (struct transport){ .fd = -1 };
}

/* As recv and send: 0 at the end, -1 and errno. */
static ssize_t
tls_result(struct transport *s, int ret)
{
    int cause = errno;

    switch (SSL_get_error(s->tls, ret)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        errno = cause;
        if (cause == 0 || cause == ECONNRESET || cause == EPIPE)
            break;
        return -1;
    default:
        if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            break;
        s->failed = transport_tls_words(s->tls, newest_error());
        errno = EPROTO;
        return -1;
    }
    if (!SSL_in_init(s->tls))
        return 0;
    s->failed = "closed during the TLS handshake: is this its TLS port?";
    errno = EPROTO;
    return -1;
}

ssize_t
transport_tls_read(struct transport *s, void *out, size_t cap)
{
    size_t len = 0;
    int ret;

    if (s->failed != NULL) {
        errno = EPROTO;
        return -1;
    }
    ERR_clear_error();
    errno = 0;
    ret = SSL_read_ex(s->tls, out, cap, &len);
    return ret == 1 ? (ssize_t)len : tls_result(s, ret);
}

ssize_t
transport_tls_write(struct transport *s, struct span in)
{
    size_t len = 0;
    int ret;

    s->wants_read = false;
    if (s->failed != NULL) {
        errno = EPROTO;
        return -1;
    }
    ERR_clear_error();
    errno = 0;
    ret = SSL_write_ex(s->tls, in.ptr, in.len, &len);
    if (ret == 1)
        return (ssize_t)len;
    s->wants_read = SSL_want_read(s->tls);
    if (tls_result(s, ret) == 0)
        errno = EPIPE;
    return -1;
}

uint32_t
transport_events(const struct transport *s, uint32_t events)
{
    return s->wants_read ? (events & ~(uint32_t)EPOLLOUT) | (uint32_t)EPOLLIN : events;
}

const char *
transport_why(const struct transport *s)
{
    return s->failed != NULL ? s->failed : strerror(errno);
}
