/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device certificates that become registered: brought (RegisterCertificate,
 * RegisterCertificateWithoutCA) or made here (CreateKeysAndCertificate, CreateCertificateFromCsr).
 * SPEC aws-iot 3.4.
 */
#include "api/internal.h"

#include "base/clock.h"

#include <string.h>

enum { SAME_SUBJECT_MAX = 10 };

/* Insert with its timeline record, as one. */
static enum bm_err
store(struct call *c, const struct pki_cert *cert, struct registry_cert *row, struct bm_msg *msg)
{
    struct span der = pki_cert_der(cert);
    char issuer[120];
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    pki_cert_id(cert, row->id);
    row->not_before_ms = pki_cert_not_before_ms(cert);
    row->not_after_ms = pki_cert_not_after_ms(cert);
    buf_add(&row->der, der.ptr, der.len);
    pki_cert_issuer_text(cert, issuer, sizeof issuer);
    err = row->der.failed ? bm_fail(msg, BM_ERR_MEM, "out of memory for a certificate")
                          : registry_cert_insert(c->registry, row, msg);
    if (err == BM_OK)
        err = call_record(c, CAUSE_REGISTERED_API, row->id, cert_status_name(row->status), msg,
            "issuer='%s'", issuer);
    return group_end(c, err, msg);
}

/* ---- RegisterCertificate ---- */

struct registering {
    const char *pem;
    const char *ca_pem;
    struct pki_cert *cert;
    struct registry_ca cas[SAME_SUBJECT_MAX]; /* candidates for its signer */
    size_t ca_count;
    struct registry_cert row;
};

/* SPEC aws-iot 3.4: `status`, or the older setAsActive. */
static bool
read_status(struct call *c, struct registering *r)
{
    const char *status = body_text(c, "status");

    r->row.status = param_bool(c, "setAsActive", false) ? CERT_ACTIVE : CERT_INACTIVE;
    if (status == NULL)
        return true;
    (void)cert_status_parse(span_str(status), &r->row.status); /* call_check knows the words */
    if (r->row.status == CERT_ACTIVE || r->row.status == CERT_INACTIVE ||
        r->row.status == CERT_REVOKED)
        return true;
    call_refuse(c, CERTIFICATE_STATE, "Not allowed to register certificate with %s status", status);
    return false;
}

static bool
read_certificate(struct call *c, struct registering *r)
{
    struct bm_msg msg;

    if (pki_cert_from_pem(span_str(r->pem), &r->cert, &msg) == BM_OK &&
        pki_cert_acceptable(r->cert, &msg) == BM_OK &&
        pki_cert_valid_at(r->cert, clock_wall_ms(), &msg) == BM_OK)
        return true;
    call_refuse(c, CERTIFICATE_VALIDATION, "certificatePem: %s", msg.text);
    return false;
}

/* The caller says which CA it is. */
static bool
named_candidate(struct call *c, struct registering *r)
{
    struct pki_cert *ca = NULL;
    uint8_t id[REGISTRY_ID_LEN];
    struct bm_msg msg;
    enum bm_err err = pki_cert_from_pem(span_str(r->ca_pem), &ca, &msg);

    if (err == BM_OK) {
        pki_cert_id(ca, id);
        pki_cert_free(ca);
        err = registry_ca_get(c->registry, id, &r->cas[0], &msg);
        r->ca_count = 1;
    }
    if (err == BM_OK)
        return true;
    r->ca_count = 0;
    if (err == BM_ERR_NOT_FOUND || err == BM_ERR_INPUT)
        call_refuse(c, CERTIFICATE_VALIDATION,
            "caCertificatePem: %s. Register the CA that signed the certificate first.", msg.text);
    else
        call_refuse_err(c, err, &msg);
    return false;
}

static bool
find_candidates(struct call *c, struct registering *r)
{
    struct bm_msg msg;
    enum bm_err err;

    if (r->ca_pem != NULL)
        return named_candidate(c, r);
    err = registry_ca_by_subject(c->registry, pki_cert_issuer(r->cert), r->cas, &r->ca_count, &msg);
    if (err == BM_OK || err == BM_ERR_NOT_FOUND)
        return true;
    call_refuse_err(c, err, &msg);
    return false;
}

static bool
signed_by(const struct registering *r, const struct registry_ca *row, struct bm_msg *msg)
{
    struct pki_cert *ca = NULL;
    bool good = pki_cert_from_der(buf_span(&row->der), &ca, msg) == BM_OK &&
                pki_cert_signed_by(r->cert, ca, msg) == BM_OK;

    pki_cert_free(ca);
    return good;
}

static bool
choose_signer(struct call *c, struct registering *r)
{
    const struct registry_ca *signer = NULL;
    struct bm_msg msg = { "no CA with this subject is registered" };
    char issuer[160];
    size_t count = 0;

    pki_cert_issuer_text(r->cert, issuer, sizeof issuer);
    for (size_t i = 0; i < r->ca_count; i++) {
        if (!signed_by(r, &r->cas[i], &msg))
            continue;
        signer = &r->cas[i];
        count++;
    }
    if (count == 0)
        call_refuse(c, CERTIFICATE_VALIDATION,
            "No registered CA signed the certificate, whose issuer is '%s': %s.", issuer, msg.text);
    else if (count > 1)
        call_refuse(c, CERTIFICATE_CONFLICT,
            "%zu registered CAs have the subject '%s' and the key that signed the certificate; say "
            "which one by caCertificatePem.",
            count, issuer);
    else if (signer->status != CERT_ACTIVE)
        call_refuse(c, CERTIFICATE_VALIDATION,
            "The CA '%s' that signed the certificate is %s; make it ACTIVE first.", issuer,
            cert_status_name(signer->status));
    if (count != 1 || signer->status != CERT_ACTIVE)
        return false;
    r->row.has_ca = true;
    memcpy(r->row.ca_id, signer->id, sizeof r->row.ca_id);
    r->row.mode = signer->mode;
    return true;
}

/* SPEC aws-iot 1.2, 3.6: in DEFAULT a certificate tells its account, so it is in one alone. */
static bool
check_owner(struct call *c, const struct registering *r)
{
    uint8_t id[REGISTRY_ID_LEN];

    pki_cert_id(r->cert, id);
    for (size_t i = 0; i < c->api->options.account_count; i++) {
        const struct api_account *a = &c->api->options.accounts[i];
        struct registry_cert there = { 0 };
        bool taken = a != c->account && registry_cert_get(a->registry, id, &there, NULL) == BM_OK &&
                     there.mode == MODE_DEFAULT;

        registry_cert_fini(&there);
        if (!taken)
            continue;
        call_refuse_input(c, "This request is not valid: another account has the certificate.");
        return false;
    }
    return true;
}

static void
insert(struct call *c, struct registering *r)
{
    struct bm_msg msg = { "" };
    enum bm_err err = store(c, r->cert, &r->row, &msg);
    struct arn arn = cert_arn(c, "cert", r->row.id);
    char hex[2 * REGISTRY_ID_LEN + 1];

    hex_encode(hex, r->row.id, REGISTRY_ID_LEN);
    if (err == BM_ERR_EXISTS)
        call_refuse_exists(c, hex, arn.text, "The certificate is registered already.");
    else
        call_finish_json(c, err, &msg, 200,
            json_pack("{s:s,s:s}", "certificateArn", arn.text, "certificateId", hex));
}

void
api_register_certificate(struct call *c)
{
    struct registering r = { .pem = body_text(c, "certificatePem"),
        .ca_pem = body_text(c, "caCertificatePem") };

    bool good;

    (void)pki_ec_shortcut(true); /* certificates are read, none is made; slower without */
    good = read_status(c, &r) && read_certificate(c, &r) && find_candidates(c, &r) &&
           choose_signer(c, &r) && (r.row.mode != MODE_DEFAULT || check_owner(c, &r));
    (void)pki_ec_shortcut(false);
    if (good)
        insert(c, &r);
    for (size_t i = 0; i < r.ca_count; i++)
        registry_ca_fini(&r.cas[i]);
    registry_cert_fini(&r.row);
    pki_cert_free(r.cert);
}

/* Whoever signed it: it is in mode SNI_ONLY then. */
void
api_register_certificate_without_ca(struct call *c)
{
    struct registering r = { .pem = body_text(c, "certificatePem"),
        .row = { .mode = MODE_SNI_ONLY } };

    if (read_status(c, &r) && read_certificate(c, &r))
        insert(c, &r);
    registry_cert_fini(&r.row);
    pki_cert_free(r.cert);
}

/* ---- certificates made here ---- */

static enum bm_err
store_made(
    struct call *c, struct span pem, bool active, struct registry_cert *row, struct bm_msg *msg)
{
    struct pki_cert *cert = NULL;
    enum bm_err err = pki_cert_from_pem(pem, &cert, msg);

    *row = (struct registry_cert){ .status = active ? CERT_ACTIVE : CERT_INACTIVE,
        .mode = MODE_DEFAULT };
    if (err == BM_OK)
        err = store(c, cert, row, msg);
    pki_cert_free(cert);
    return err;
}

static json_t *
made_json(const struct call *c, const struct registry_cert *row, struct span pem)
{
    return json_pack("{s:s,s:o,s:o}", "certificateArn", cert_arn(c, "cert", row->id).text,
        "certificateId", json_id(row->id), "certificatePem", json_span(pem));
}

void
api_create_keys_and_certificate(struct call *c)
{
    struct buf pem = { 0 };
    struct buf public_pem = { 0 };
    struct buf private_pem = { 0 };
    struct registry_cert row = { 0 };
    struct bm_msg msg = { "" };
    bool active = param_bool(c, "setAsActive", false);
    json_t *body = NULL;
    enum bm_err err;

    err = pki_issue_with_new_key(c->api->options.authority, &pem, &public_pem, &private_pem, &msg);
    if (err == BM_OK)
        err = store_made(c, buf_span(&pem), active, &row, &msg);
    if (err == BM_OK) {
        body = made_json(c, &row, buf_span(&pem));
        (void)json_object_set_new(body, "keyPair",
            json_pack("{s:o,s:o}", "PublicKey", json_span(buf_span(&public_pem)), "PrivateKey",
                json_span(buf_span(&private_pem))));
    }
    call_finish_json(c, err, &msg, 200, body);
    bm_wipe(private_pem.ptr, private_pem.len);
    buf_fini(&private_pem);
    buf_fini(&public_pem);
    buf_fini(&pem);
    registry_cert_fini(&row);
}

void
api_create_certificate_from_csr(struct call *c)
{
    const char *csr = body_text(c, "certificateSigningRequest");
    bool active = param_bool(c, "setAsActive", false);
    struct buf pem = { 0 };
    struct registry_cert row = { 0 };
    struct bm_msg msg = { "" };
    enum bm_err err;

    err = pki_issue_from_csr(c->api->options.authority, span_str(csr), &pem, &msg);
    if (err == BM_OK)
        err = store_made(c, buf_span(&pem), active, &row, &msg);
    call_finish_json(c, err, &msg, 200, err == BM_OK ? made_json(c, &row, buf_span(&pem)) : NULL);
    buf_fini(&pem);
    registry_cert_fini(&row);
}
