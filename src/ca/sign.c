/* SPDX-License-Identifier: Apache-2.0 */
/* See sign.h. */
#include "ca/sign.h"

#include "base/clock.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

enum { DAYS = 365 };

/* The first PEM block of a kind; an empty span: none. */
static struct span
block(struct span text, const char *kind)
{
    char begin[64];
    char end[64];
    const uint8_t *from;
    const uint8_t *to;

    (void)snprintf(begin, sizeof begin, "-----BEGIN %s-----", kind);
    (void)snprintf(end, sizeof end, "-----END %s-----", kind);
    from = memmem(text.ptr, text.len, begin, strlen(begin));
    if (from == NULL)
        return span_of(NULL, 0);
    to = memmem(from, text.len - (size_t)(from - text.ptr), end, strlen(end));
    return to == NULL ? span_of(NULL, 0) : span_of(from, (size_t)(to - from) + strlen(end));
}

static enum bm_err
read_request(struct span text, X509_REQ **csr, struct pki_cert **in_use, struct bm_msg *msg)
{
    struct span request = block(text, "CERTIFICATE REQUEST");
    struct span cert = block(text, "CERTIFICATE");
    enum bm_err err;

    *csr = NULL;
    *in_use = NULL;
    if (request.len == 0)
        return bm_fail(msg, BM_ERR_INPUT, "there is no CERTIFICATE REQUEST in PEM");
    err = pki_csr_read(request, csr, msg);
    return err == BM_OK && cert.len > 0 ? pki_cert_from_pem(cert, in_use, msg) : err;
}

/* Is the certificate one of ours that may be renewed by this request? */
static enum bm_err
judge(const struct ca_folder *f, const struct ca_sign_options *o, X509_REQ *csr,
    const struct pki_cert *in_use, struct bm_msg *msg)
{
    unsigned char *subject = NULL;
    int len = i2d_X509_NAME(X509_REQ_get_subject_name(csr), &subject);
    bool same = len > 0 && span_eq(span_of(subject, (size_t)len), pki_cert_subject(in_use));
    unsigned g = ca_newest(f);

    OPENSSL_free(subject);
    while (g > 0 && pki_cert_signed_by(in_use, ca_issuing(f, g), NULL) != BM_OK)
        g--;
    if (g == 0)
        return bm_fail(
            msg, BM_ERR_DENIED, "the certificate beside the request is none of this CA's");
    if (ca_revoked_ms(f, g) != 0)
        return bm_fail(msg, BM_ERR_DENIED,
            "the certificate beside the request is of generation %u, which is revoked", g);
    if (!same)
        return bm_fail(msg, BM_ERR_DENIED,
            "the request is for another subject than the certificate beside it");
    if (o->renewals_only && !pki_cert_has_key(in_use, X509_REQ_get0_pubkey(csr)))
        return bm_fail(msg, BM_ERR_DENIED,
            "the request is for another key than the certificate beside it, so it does not prove "
            "whose it is");
    return pki_cert_valid_at(in_use, clock_wall_ms(), msg);
}

/* A device that was shut out must not come back with another certificate. */
static enum bm_err
ask_cloud(struct aws_client *cloud, const struct pki_cert *in_use, struct bm_msg *msg)
{
    uint8_t id[PKI_ID_LEN];
    char hex[PKI_ID_TEXT];

    pki_cert_id(in_use, id);
    hex_encode(hex, id, sizeof id);
    return ca_cloud_device_active(cloud, hex, msg);
}

static enum bm_err
issue(const struct ca_key *key, const struct pki_cert *ca, const struct ca_sign_options *o,
    X509_REQ *csr, struct buf *out, struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_DEVICE,
        .subject = X509_REQ_get_subject_name(csr),
        .not_before_ms = pki_not_before(now, ca),
        .not_after_ms = pki_not_after(now, o->days != 0 ? o->days : DAYS, NULL) };
    struct pki_cert *leaf = NULL;
    enum bm_err err = pki_issue(ca_key_signer(key), ca, X509_REQ_get0_pubkey(csr), &p, &leaf, msg);

    if (err == BM_OK)
        err = pki_cert_to_pem(leaf, out);
    if (err == BM_OK)
        err = pki_cert_to_pem(ca, out);
    pki_cert_free(leaf);
    return err;
}

enum bm_err
ca_sign(const struct ca_folder *f, const char *dir, struct ca_access *a,
    const struct ca_sign_options *o, struct span request, struct buf *out, struct bm_msg *msg)
{
    unsigned generation = o->generation != 0 ? o->generation : ca_newest(f);
    const struct pki_cert *ca = ca_issuing(f, generation);
    char path[PATH_MAX];
    struct pki_cert *in_use = NULL;
    struct ca_key *key = NULL;
    X509_REQ *csr = NULL;
    enum bm_err err = read_request(request, &csr, &in_use, msg);

    if (err == BM_OK && ca == NULL)
        err = bm_fail(msg, BM_ERR_NOT_FOUND, "there is no generation %u in %s", generation, dir);
    if (err == BM_OK && ca_revoked_ms(f, generation) != 0)
        err = bm_fail(msg, BM_ERR_DENIED,
            "generation %u is revoked; `birthmark ca rotate` makes the next one", generation);
    if (err == BM_OK && in_use != NULL)
        err = judge(f, o, csr, in_use, msg);
    else if (err == BM_OK && o->renewals_only)
        err = bm_fail(msg, BM_ERR_DENIED,
            "no certificate comes with the request, so it renews nothing (--renewals-only)");
    if (err == BM_OK && in_use != NULL && o->cloud != NULL)
        err = ask_cloud(o->cloud, in_use, msg);
    if (err == BM_OK)
        err = ca_path(dir, generation, "key", path, sizeof path, msg);
    if (err == BM_OK)
        err = ca_key_open(path, a, &key, msg);
    if (err == BM_OK)
        err = issue(key, ca, o, csr, out, msg);
    ca_key_close(key);
    pki_cert_free(in_use);
    X509_REQ_free(csr);
    return err;
}
