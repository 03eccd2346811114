/* SPDX-License-Identifier: Apache-2.0 */
/* See cloud.h. */
#include "ca/cloud.h"

#include "base/clock.h"
#include "pki/subject.h"

#include <string.h>

enum { VERIFICATION_DAYS = 30 };

static void
id_of(const struct pki_cert *c, char out[PKI_ID_TEXT])
{
    uint8_t id[PKI_ID_LEN];

    pki_cert_id(c, id);
    hex_encode(out, id, sizeof id);
}

static bool
is(const json_t *object, const char *member, const char *value)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL && strcmp(text, value) == 0;
}

enum bm_err
ca_cloud_ask(
    struct aws_client *aws, const struct pki_cert *ca, struct ca_cloud *out, struct bm_msg *msg)
{
    struct aws_request rq = { .service = "iot", .method = "GET" };
    json_t *answer;
    const json_t *d;
    enum bm_err err;

    *out = (struct ca_cloud){ 0 };
    id_of(ca, out->id);
    rq.path[0] = "cacertificate";
    rq.path[1] = out->id;
    err = aws_send(aws, &rq, &answer, msg);
    if (err == BM_ERR_NOT_FOUND)
        return BM_OK;
    if (err != BM_OK)
        return err;
    d = json_object_get(answer, "certificateDescription");
    out->registered = true;
    out->active = is(d, "status", "ACTIVE");
    out->joins = is(d, "autoRegistrationStatus", "ENABLE");
    if (json_string_value(json_object_get(d, "certificateArn")) != NULL)
        (void)snprintf(out->arn, sizeof out->arn, "%s",
            json_string_value(json_object_get(d, "certificateArn")));
    json_decref(answer);
    return BM_OK;
}

enum bm_err
ca_cloud_ready(
    const struct pki_cert *ca, const struct pki_signer *key, int64_t now_ms, struct bm_msg *msg)
{
    enum bm_err err = pki_cert_acceptable(ca, msg);

    if (err == BM_OK && !pki_cert_is_ca(ca))
        err = bm_fail(msg, BM_ERR_DENIED, "the certificate is no CA (basicConstraints CA:TRUE)");
    if (err == BM_OK)
        err = pki_cert_valid_at(ca, now_ms, msg);
    if (err == BM_OK && !pki_cert_has_key(ca, pki_signer_public(key)))
        err = bm_fail(msg, BM_ERR_CONFLICT, "the key is not the one of the CA's certificate");
    return err;
}

enum bm_err
ca_cloud_set(
    struct aws_client *aws, const struct pki_cert *ca, bool active, bool joins, struct bm_msg *msg)
{
    char id[PKI_ID_TEXT];
    json_t *answer;
    enum bm_err err;

    id_of(ca, id);
    err = aws_send(aws,
        &(struct aws_request){ .service = "iot",
            .method = "PUT",
            .path = { "cacertificate", id },
            .query = { { "newStatus", active ? "ACTIVE" : "INACTIVE" },
                { "newAutoRegistrationStatus", joins ? "ENABLE" : "DISABLE" } } },
        &answer, msg);
    json_decref(answer);
    return err;
}

enum bm_err
ca_cloud_device_active(struct aws_client *aws, const char id[PKI_ID_TEXT], struct bm_msg *msg)
{
    json_t *answer;
    const char *status;
    enum bm_err err = aws_send(aws,
        &(struct aws_request){ .service = "iot", .method = "GET", .path = { "certificates", id } },
        &answer, msg);

    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(msg, BM_ERR_DENIED, "the cloud does not know certificate %s", id);
    status = json_string_value(
        json_object_get(json_object_get(answer, "certificateDescription"), "status"));
    if (err == BM_OK && (status == NULL || strcmp(status, "ACTIVE") != 0))
        err = bm_fail(msg, BM_ERR_DENIED, "certificate %s is %.40s at the cloud, not ACTIVE", id,
            status != NULL ? status : "of no status");
    json_decref(answer);
    return err;
}

enum bm_err
ca_cloud_revoke_device(struct aws_client *aws, const char id[PKI_ID_TEXT], struct bm_msg *msg)
{
    json_t *answer;
    enum bm_err err = aws_send(aws,
        &(struct aws_request){ .service = "iot",
            .method = "PUT",
            .path = { "certificates", id },
            .query = { { "newStatus", "REVOKED" } } },
        &answer, msg);

    json_decref(answer);
    return err;
}

/* ---- registering ---- */

static enum bm_err
registration_code(struct aws_client *aws, struct buf *out, struct bm_msg *msg)
{
    json_t *answer;
    const char *code;
    enum bm_err err = aws_send(aws,
        &(struct aws_request){ .service = "iot", .method = "GET", .path = { "registrationcode" } },
        &answer, msg);

    if (err != BM_OK)
        return err;
    code = json_string_value(json_object_get(answer, "registrationCode"));
    if (code == NULL || *code == '\0' || strlen(code) > 64 ||
        strspn(code, "0123456789abcdefABCDEF") != strlen(code))
        err = bm_fail(msg, BM_ERR_PROTO, "the cloud gave no registration code of hex digits");
    else
        buf_addf(out, "/CN=%s", code);
    json_decref(answer);
    return err;
}

/* Its key is nobody's: made for it and forgotten. */
static enum bm_err
verification(const struct pki_cert *ca, const struct pki_signer *key, const char *subject,
    struct buf *pem, struct bm_msg *msg)
{
    int64_t now = clock_wall_ms();
    struct pki_profile p = { .kind = PKI_VERIFICATION,
        .not_before_ms = pki_not_before(now, ca),
        .not_after_ms = pki_not_after(now, VERIFICATION_DAYS, ca) };
    struct pki_signer *own = NULL;
    struct pki_cert *c = NULL;
    X509_NAME *name = NULL;
    enum bm_err err = subject_parse(subject, &name, msg);

    p.subject = name;
    if (err == BM_OK)
        err = pki_signer_new(&own, msg);
    if (err == BM_OK)
        err = pki_issue(key, ca, pki_signer_public(own), &p, &c, msg);
    if (err == BM_OK)
        err = pki_cert_to_pem(c, pem);
    pki_cert_free(c);
    pki_signer_free(own);
    X509_NAME_free(name);
    return err;
}

static enum bm_err
send_registration(
    struct aws_client *aws, const char *ca_pem, const char *verification_pem, struct bm_msg *msg)
{
    json_t *body = json_pack(
        "{s:s,s:s}", "caCertificate", ca_pem, "verificationCertificate", verification_pem);
    json_t *answer = NULL;
    enum bm_err err;

    if (body == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for a request");
    err = aws_send(aws,
        &(struct aws_request){ .service = "iot",
            .method = "POST",
            .path = { "cacertificate" },
            .query = { { "setAsActive", "true" }, { "allowAutoRegistration", "true" } },
            .body = body },
        &answer, msg);
    json_decref(body);
    json_decref(answer);
    return err == BM_ERR_EXISTS ? BM_OK : err; /* an earlier try got there */
}

static enum bm_err
register_once(struct aws_client *aws, const struct pki_cert *ca, const struct pki_signer *key,
    struct bm_msg *msg)
{
    struct buf subject = { 0 };
    struct buf ca_pem = { 0 };
    struct buf pem = { 0 };
    enum bm_err err = registration_code(aws, &subject, msg);

    if (err == BM_OK && buf_cstr(&subject) == NULL)
        err = BM_ERR_MEM;
    if (err == BM_OK)
        err = verification(ca, key, buf_cstr(&subject), &pem, msg);
    if (err == BM_OK)
        err = pki_cert_to_pem(ca, &ca_pem);
    if (err == BM_OK && (buf_cstr(&pem) == NULL || buf_cstr(&ca_pem) == NULL))
        err = BM_ERR_MEM;
    if (err == BM_OK)
        err = send_registration(aws, buf_cstr(&ca_pem), buf_cstr(&pem), msg);
    buf_fini(&subject);
    buf_fini(&ca_pem);
    buf_fini(&pem);
    return err;
}

/* The code may have been deleted between asking for it and using it: then once more. */
static enum bm_err
register_new(struct aws_client *aws, const struct pki_cert *ca, const struct pki_signer *key,
    struct bm_msg *msg)
{
    enum bm_err err = register_once(aws, ca, key, msg);

    if (err != BM_OK && strcmp(aws_failure(aws)->name, "RegistrationCodeValidationException") == 0)
        err = register_once(aws, ca, key, msg);
    return err;
}

enum bm_err
ca_cloud_register(struct aws_client *aws, const struct pki_cert *ca, const struct pki_signer *key,
    struct ca_cloud *out, bool *changed, struct bm_msg *msg)
{
    enum bm_err err = ca_cloud_ask(aws, ca, out, msg);

    *changed = false;
    if (err == BM_OK && !out->registered) {
        *changed = true;
        err = register_new(aws, ca, key, msg);
        if (err == BM_OK)
            err = ca_cloud_ask(aws, ca, out, msg);
    }
    if (err == BM_OK && !(out->active && out->joins)) {
        *changed = true;
        err = ca_cloud_set(aws, ca, true, true, msg);
        if (err == BM_OK)
            err = ca_cloud_ask(aws, ca, out, msg);
    }
    if (err == BM_OK && !(out->registered && out->active && out->joins))
        err = bm_fail(msg, BM_ERR_PROTO,
            "the cloud took every request, and still says that the CA is %s",
            !out->registered ? "not registered"
            : !out->active   ? "not ACTIVE"
                             : "without just-in-time registration");
    return err;
}

/* ---- the same by hand ---- */

/* In single quotes, as a POSIX shell reads them. */
static void
quoted(FILE *to, const char *text)
{
    fputc('\'', to);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else
            fputc(*text, to);
    }
    fputc('\'', to);
}

void
ca_cloud_print(FILE *to, struct aws_client *aws, const struct pki_cert *ca, const char *cert_path,
    const char *key_path, const char *passphrase_file)
{
    char id[PKI_ID_TEXT];

    id_of(ca, id);
    fprintf(to, "iot() { aws --region %s", aws_region(aws));
    if (aws_has_own_endpoint(aws)) {
        fprintf(to, " --endpoint-url ");
        quoted(to, aws_endpoint(aws, "iot"));
    }
    fprintf(to, " iot \"$@\"; }\n");
    fprintf(to, "code=$(iot get-registration-code --query registrationCode --output text)\n");
    fprintf(to, "dir=$(mktemp -d)\n");
    fprintf(to, "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
                "\"$dir/verification.key\" -subj \"/CN=$code\" -out \"$dir/verification.csr\"\n");
    fprintf(to, "openssl x509 -req -in \"$dir/verification.csr\" -CA ");
    quoted(to, cert_path);
    fprintf(to, " -CAkey ");
    quoted(to, key_path);
    if (passphrase_file != NULL) {
        fprintf(to, " -passin file:");
        quoted(to, passphrase_file);
    }
    fprintf(to,
        " -CAserial \"$dir/serial\" -CAcreateserial -days %d -sha256 -out "
        "\"$dir/verification.pem\"\n",
        VERIFICATION_DAYS);
    fprintf(to, "iot register-ca-certificate --ca-certificate file://");
    quoted(to, cert_path);
    fprintf(to, " --verification-certificate file://\"$dir/verification.pem\" --set-as-active "
                "--allow-auto-registration\n");
    fprintf(to,
        "iot update-ca-certificate --certificate-id %s --new-status ACTIVE "
        "--new-auto-registration-status ENABLE\n",
        id);
    fprintf(to, "iot describe-ca-certificate --certificate-id %s\n", id);
    fprintf(to, "rm -r \"$dir\"\n");
}
