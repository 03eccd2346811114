/* SPDX-License-Identifier: Apache-2.0 */
/* See tls.h. */
#include "device/tls.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Hangs on the SSL_CTX as its application data. */
struct tls {
    const struct tls_options *o;
    struct tls_seen *seen;
    bool at_least; /* the time is only known to have passed: nothing is "not yet valid" */
};

static struct tls *
of_ssl(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static bool
is_address(const char *name)
{
    uint8_t binary[16];

    return inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
}

/* --- what is noted ---------------------------------------------------------------------------- */

void
tls_note(struct tls_seen *seen)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long e = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    unsigned long last = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(e);

    if (ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        seen->ended = true;
    if (e == 0 || seen->words[0] != '\0')
        return;
    /* numbers of libraries from ERR_LIB_USER on are given out at run time, to providers */
    if (ERR_GET_LIB(e) >= ERR_LIB_USER || ERR_GET_LIB(last) >= ERR_LIB_USER)
        seen->sign_failed = true;
    (void)snprintf(seen->words, sizeof seen->words, "%s%s%s",
        reason != NULL ? reason : "unknown error",
        (flags & ERR_TXT_STRING) != 0 && data[0] != '\0' ? ": " : "",
        (flags & ERR_TXT_STRING) != 0 ? data : "");
}

static void
on_info(const SSL *ssl, int where, int value)
{
    struct tls *t = of_ssl(ssl);
    struct tls_seen *seen = t->seen;

    if ((where & SSL_CB_HANDSHAKE_DONE) != 0) {
        const unsigned char *alpn = NULL;
        unsigned alpn_len = 0;

        seen->done = true;
        SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
        (void)snprintf(seen->alpn, sizeof seen->alpn, "%.*s", (int)alpn_len, (const char *)alpn);
        (void)snprintf(seen->version, sizeof seen->version, "%s", SSL_get_version(ssl));
        (void)snprintf(seen->cipher, sizeof seen->cipher, "%s", SSL_get_cipher_name(ssl));
    }
    if ((where & SSL_CB_ALERT) != 0) {
        int *alert = (where & SSL_CB_READ) != 0 ? &seen->alert_received : &seen->alert_sent;

        *alert = value & 0xff;
    }
    if ((where & SSL_CB_EXIT) != 0 && value <= 0)
        tls_note(seen);
}

/* The first five bytes that come from the server: of a TLS record, or of something else. */
static void
on_record(int out, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct tls_seen *seen = arg;
    static const uint8_t none[sizeof seen->first];

    (void)version;
    (void)ssl;
    if (out != 0 || type != SSL3_RT_HEADER || len < sizeof seen->first ||
        memcmp(seen->first, none, sizeof none) != 0)
        return;
    memcpy(seen->first, bytes, sizeof seen->first);
    seen->foreign = seen->first[0] < 20 || seen->first[0] > 24 || seen->first[1] != 3;
}

static void
note_names(struct tls_seen *seen, X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;

    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN + 1] = "";
        const char *value = text;

        if (n->type == GEN_DNS)
            value = (const char *)ASN1_STRING_get0_data(n->d.dNSName);
        else if (n->type == GEN_IPADD)
            (void)inet_ntop(ASN1_STRING_length(n->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                ASN1_STRING_get0_data(n->d.iPAddress), text, sizeof text);
        if (value[0] != '\0' && at + strlen(value) + 3 < sizeof seen->names)
            at += (size_t)snprintf(
                &seen->names[at], sizeof seen->names - at, "%s%s", at > 0 ? ", " : "", value);
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

static int
on_verify(int ok, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = of_ssl(ssl);
    struct tls_seen *seen = t->seen;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    int error = X509_STORE_CTX_get_error(store);

    if (leaf != NULL && !seen->has_server) {
        seen->has_server = true;
        chain_name(leaf, false, seen->subject, sizeof seen->subject);
        chain_name(leaf, true, seen->issuer, sizeof seen->issuer);
        chain_id(leaf, seen->server_id);
        seen->from_ms = chain_from_ms(leaf);
        seen->until_ms = chain_until_ms(leaf);
        note_names(seen, leaf);
    }
    if (ok != 0)
        return 1;
    if (error == X509_V_ERR_CERT_NOT_YET_VALID && t->at_least) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    if (seen->verify_error == X509_V_OK) {
        seen->verify_error = error;
        seen->verify_depth = X509_STORE_CTX_get_error_depth(store);
    }
    return 0;
}

/* Called when the server asks for a certificate; 1: use the one that is set. */
static int
on_asked(SSL *ssl, void *arg)
{
    struct tls_seen *seen = arg;

    (void)ssl;
    seen->asked = true;
    return 1;
}

/* --- the context ------------------------------------------------------------------------------ */

bool
tls_prepare(SSL *ssl)
{
    const struct tls_options *o = of_ssl(ssl)->o;
    char name[256];

    (void)snprintf(name, sizeof name, "%s", o->server_name);
    return SSL_set_tlsext_host_name(ssl, name) == 1;
}

static bool
set_alpn(SSL_CTX *tls, const char *alpn)
{
    uint8_t wire[256];
    size_t len = strlen(alpn);

    if (len == 0 || len > 255)
        return false;
    wire[0] = (uint8_t)len;
    memcpy(&wire[1], alpn, len);
    return SSL_CTX_set_alpn_protos(tls, wire, (unsigned)len + 1) == 0;
}

static enum bm_err
set_identity(SSL_CTX *tls, const struct identity *id, size_t pick, struct bm_msg *msg)
{
    X509 *leaf = identity_leaf(id, pick);
    char words[160] = "";
    bool done = leaf != NULL && SSL_CTX_use_certificate(tls, leaf) == 1 &&
                SSL_CTX_use_PrivateKey(tls, id->key) == 1;

    for (size_t i = 0; done && i < id->chain.issuer_count; i++)
        done = SSL_CTX_add1_chain_cert(tls, id->chain.issuers[i]) == 1;
    if (done)
        return BM_OK;
    ERR_error_string_n(ERR_peek_error(), words, sizeof words);
    ERR_clear_error();
    return bm_fail(msg, BM_ERR_CONFLICT, "OpenSSL does not take key and certificate: %s", words);
}

static enum bm_err
set_trust(SSL_CTX *tls, const struct tls_options *o, struct bm_msg *msg)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls);
    bool named = is_address(o->server_name)
                     ? X509_VERIFY_PARAM_set1_ip_asc(param, o->server_name) == 1
                     : X509_VERIFY_PARAM_set1_host(param, o->server_name, 0) == 1;

    if (o->ca_file == NULL ? SSL_CTX_set_default_verify_paths(tls) != 1
                           : SSL_CTX_load_verify_file(tls, o->ca_file) != 1) {
        ERR_clear_error();
        return bm_fail(msg, BM_ERR_INPUT,
            "%s cannot be read as certificates in PEM; --cafile wants the root of the server "
            "(`root-ca` in the output of birthmark cloud)",
            o->ca_file != NULL ? o->ca_file : "the system's list of authorities");
    }
    if (!named)
        return bm_fail(msg, BM_ERR_INPUT, "'%s' is no host name", o->server_name);
    /* a root that is itself an intermediate is trusted, too, as mosquitto_pub does */
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, on_verify);
    return BM_OK;
}

enum bm_err
tls_open(const struct identity *id, const struct tls_options *o, struct tls_seen *seen,
    SSL_CTX **out, struct bm_msg *msg)
{
    struct tls *t = calloc(1, sizeof *t);
    SSL_CTX *tls = SSL_CTX_new_ex(id->lib, NULL, TLS_client_method());
    enum bm_err err = BM_OK;

    *out = NULL;
    if (t == NULL || tls == NULL) {
        free(t);
        SSL_CTX_free(tls);
        return bm_fail(msg, BM_ERR_MEM, "out of memory for TLS");
    }
    *t = (struct tls){ .o = o, .seen = seen };
    SSL_CTX_set_app_data(tls, t);
    (void)SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    (void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(tls, on_info);
    SSL_CTX_set_msg_callback(tls, on_record);
    SSL_CTX_set_msg_callback_arg(tls, seen);
    SSL_CTX_set_cert_cb(tls, on_asked, seen);
    err = set_trust(tls, o, msg);
    if (err == BM_OK)
        err = set_identity(tls, id, o->pick, msg);
    if (err == BM_OK && o->alpn != NULL && !set_alpn(tls, o->alpn))
        err = bm_fail(msg, BM_ERR_INPUT, "an ALPN name has 1 to 255 bytes");
    if (err != BM_OK) {
        tls_close(tls);
        return err;
    }
    *out = tls;
    return BM_OK;
}

void
tls_close(SSL_CTX *tls)
{
    if (tls == NULL)
        return;
    free(SSL_CTX_get_app_data(tls));
    SSL_CTX_set_app_data(tls, NULL);
    SSL_CTX_free(tls);
}

void
tls_set_time(SSL_CTX *tls, const struct clock_verdict *now)
{
    struct tls *t = SSL_CTX_get_app_data(tls);

    t->at_least = now->source == CLOCK_AT_LEAST;
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(tls), (time_t)(now->now_ms / 1000));
}

/* --- what it comes to ------------------------------------------------------------------------- */

void
tls_facts(const struct tls_seen *seen, struct attempt *a)
{
    a->foreign = seen->foreign && !seen->done;
    a->verify_error = seen->verify_error;
    a->alert_received = seen->alert_received;
    if (seen->sign_failed && seen->verify_error == X509_V_OK && !a->foreign)
        a->key_unusable = true;
}

static void
add_alert(struct buf *out, int alert, const char *way)
{
    const char *name = tls_alert_name(alert);

    if (alert > 0)
        buf_addf(out, "%salert %s (%d) %s", out->len > 0 ? "; " : "",
            name != NULL ? name : "unknown", alert, way);
}

void
tls_text(const struct tls_seen *seen, struct buf *out)
{
    if (seen->foreign) {
        buf_addf(out, "the first bytes of the answer are \"");
        for (size_t i = 0; i < sizeof seen->first; i++) {
            if (seen->first[i] >= 0x20 && seen->first[i] < 0x7f)
                buf_addf(out, "%c", seen->first[i]);
            else
                buf_addf(out, "\\x%02x", seen->first[i]);
        }
        buf_addf(out, "\"");
        return;
    }
    if (seen->verify_error != X509_V_OK) {
        char until[CLOCK_TEXT_LEN];
        char from[CLOCK_TEXT_LEN];

        clock_text(from, seen->from_ms);
        clock_text(until, seen->until_ms);
        buf_addf(out, "%s; its certificate: subject %s, names %s, issuer %s, valid %.10s to %.10s",
            X509_verify_cert_error_string(seen->verify_error), seen->subject,
            seen->names[0] != '\0' ? seen->names : "none", seen->issuer, from, until);
        return;
    }
    add_alert(out, seen->alert_received, "received");
    if (seen->ended) {
        buf_addf(out, "%sthe server closed the connection%s", out->len > 0 ? "; " : "",
            seen->first[0] == 0 ? " without a word" : "");
        return;
    }
    add_alert(out, seen->alert_sent, "sent");
    if (seen->words[0] != '\0')
        buf_addf(out, "%s%s", out->len > 0 ? "; " : "", seen->words);
}
