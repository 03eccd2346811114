/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL, one non-blocking step at a time. SPEC endpoint 3.3, 10, 11; SPEC aws-iot 4.1, 6.1.
 *
 * The handshake proves only that the peer holds the private key of the certificate it shows; who
 * that is and whether it may come in is decided at CONNECT, where there is a cause to give. The
 * error queue is per thread and is emptied before each call: an entry left by one connection would
 * be read as the failure of another.
 */
#include "endpoint/inside.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { CHAIN_LEN_MAX = 32 * 1024 };

static int
accept_any(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

/*
 * The service's two names of MQTT, on any port, in this order; who offers others is served without
 * a selection. SPEC 6.1
 */
static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
    unsigned in_len, void *arg)
{
    static const unsigned char names[] = "\x0ex-amzn-mqtt-ca\x04mqtt";
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, names, sizeof names - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static const char *
openssl_words(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());

    return words != NULL ? words : "unknown error";
}

/*
 * Of all that OpenSSL has, AES-128-GCM first, which AWS recommends and which is the cheapest for
 * both ends; but ChaCha20 for a client that asks for it first, since it has no AES in hardware.
 * SPEC aws-iot 6.1
 */
static bool
prefer_aes_128(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    return SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                         "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM+AES128:ALL:!COMPLEMENTOFDEFAULT:!eNULL") == 1;
}

static bool
configure(SSL_CTX *ctx)
{
    int groups[] = { NID_X25519, NID_X9_62_prime256v1, NID_secp384r1 }; /* cheapest first */

    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, CHAIN_LEN_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 && prefer_aes_128(ctx) &&
           SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set1_groups(ctx, groups, sizeof groups / sizeof groups[0]) == 1;
}

enum bm_err
tls_context(const struct worker_options *o, SSL_CTX **out, struct bm_msg *msg)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    *out = NULL;
    ERR_clear_error();
    if (ctx == NULL || !configure(ctx)) {
        SSL_CTX_free(ctx);
        return bm_fail(msg, BM_ERR_IO, "OpenSSL refuses the server settings: %s", openssl_words());
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, o->server_cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, o->server_key, SSL_FILETYPE_PEM) != 1) {
        const char *first = ERR_reason_error_string(ERR_peek_error()); /* the last says "PEM lib" */

        SSL_CTX_free(ctx);
        return bm_fail(msg, BM_ERR_INPUT, "server certificate %s with key %s: %s", o->server_cert,
            o->server_key, first != NULL ? first : "unknown error");
    }
    *out = ctx;
    return BM_OK;
}

static enum tls_io
io_result(struct conn *c, int ret)
{
    c->ssl_wants_write = false;
    switch (SSL_get_error(c->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return TLS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        c->ssl_wants_write = true;
        return TLS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:
        return TLS_CLOSED;
    default:
        return ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING
                   ? TLS_CLOSED
                   : TLS_FAILED;
    }
}

enum tls_io
tls_accept(struct conn *c, enum cause *cause, char *facts, size_t cap)
{
    enum tls_io io;
    int ret;

    ERR_clear_error();
    ret = SSL_accept(c->ssl);
    if (ret == 1) {
        return TLS_OK;
    }
    io = io_result(c, ret);
    *cause = CAUSE_TLS;
    if (io == TLS_CLOSED) {
        (void)snprintf(facts, cap, "error=\"closed by the peer\"");
    } else if (io == TLS_FAILED) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
            *cause = CAUSE_NO_CERTIFICATE;
        }
        (void)snprintf(
            facts, cap, "error=\"%s\" version=%s", openssl_words(), SSL_get_version(c->ssl));
    }
    return io;
}

enum tls_io
tls_read(struct conn *c, void *out, size_t cap, size_t *len)
{
    int ret;

    ERR_clear_error();
    ret = SSL_read_ex(c->ssl, out, cap, len);
    return ret == 1 ? TLS_OK : io_result(c, ret);
}

enum tls_io
tls_write(struct conn *c, struct span in, size_t *len)
{
    int ret;

    ERR_clear_error();
    ret = SSL_write_ex(c->ssl, in.ptr, in.len, len);
    if (ret == 1) {
        c->ssl_wants_write = false;
        return TLS_OK;
    }
    return io_result(c, ret);
}

bool
tls_peer(struct conn *c)
{
    X509 *leaf = SSL_get0_peer_certificate(c->ssl);
    int len = leaf != NULL ? i2d_X509(leaf, NULL) : -1;
    unsigned char *to = len > 0 ? buf_reserve(&c->leaf, (size_t)len) : NULL;

    if (to == NULL || i2d_X509(leaf, &to) != len) {
        return false;
    }
    c->leaf.len += (size_t)len;
    return EVP_Digest(c->leaf.ptr, c->leaf.len, c->cert_id, NULL, EVP_sha256(), NULL) == 1;
}

enum sni
tls_sni(const struct conn *c, uint8_t *account)
{
    const struct worker_options *o = c->w->o;
    const char *name = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    X509 *server = SSL_CTX_get0_certificate(c->w->tls);

    if (name == NULL || (X509_check_host(server, name, 0, 0, NULL) != 1 &&
                            X509_check_ip_asc(server, name, 0) != 1)) {
        return SNI_NONE;
    }
    for (size_t i = 1; i < o->account_count; i++) {
        size_t len = strlen(o->accounts[i].number);

        if (strncmp(name, o->accounts[i].number, len) == 0 && name[len] == '.') {
            *account = (uint8_t)i;
            return SNI_ACCOUNT;
        }
    }
    return SNI_SERVER;
}
