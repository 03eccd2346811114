/* SPDX-License-Identifier: Apache-2.0 */
/* The registration code and CA certificates. SPEC aws-iot 1.3.1, 3.2, 3.3. */
#include "api/internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- registration code ---- */

void
api_get_registration_code(struct call *c)
{
    char code[65] = "";
    struct bm_msg msg;
    enum bm_err err = registry_code_get(c->registry, code, &msg); /* makes one when there is none */

    call_finish_json(c, err, &msg, 200, json_pack("{s:s}", "registrationCode", code));
}

void
api_delete_registration_code(struct call *c)
{
    struct bm_msg msg;

    call_finish(c, registry_code_delete(c->registry, &msg), &msg);
}

/* ---- registering ---- */

struct registration {
    const char *ca_pem;
    const char *verification_pem; /* NULL in mode SNI_ONLY */
    enum cert_mode mode;
    bool set_active;
    bool auto_registration;
    struct buf config; /* JSON, empty when none */
    struct pki_cert *ca;
    struct pki_cert *verification;
};

/* SPEC aws-iot 3.2: in DEFAULT the verification certificate must be there, in SNI_ONLY it must not.
 */
static bool
check_mode(struct call *c, const struct registration *r)
{
    if (r->mode == MODE_SNI_ONLY && r->verification_pem != NULL) {
        call_refuse_input(c,
            "In certificateMode SNI_ONLY the member 'verificationCertificate' must not be there.");
        return false;
    }
    if (r->mode == MODE_SNI_ONLY || r->verification_pem != NULL)
        return true;
    call_refuse_input(c,
        "The member 'verificationCertificate' is missing; in certificateMode DEFAULT it must be "
        "there: a certificate signed by the CA, with the registration code as its CN.");
    return false;
}

/*
 * registrationConfig into `out`, as text; *given tells whether it says anything. call_check knows
 * the lengths. A template is kept and shown; who connects through it is refused with a cause
 * (endpoint/admit.c), because provisioning is not built.
 */
static bool
read_config(struct call *c, struct buf *out, bool *given)
{
    const json_t *config = json_object_get(c->body, "registrationConfig");
    const char *body = json_string_value(json_object_get(config, "templateBody"));
    const char *role = json_string_value(json_object_get(config, "roleArn"));
    const char *name = json_string_value(json_object_get(config, "templateName"));
    json_t *template = body != NULL ? json_loads(body, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool is_template = json_is_object(json_object_get(template, "Resources"));
    json_t *kept;

    json_decref(template);
    *given = body != NULL || role != NULL || name != NULL;
    if (!*given)
        return true;
    if (name != NULL) {
        call_refuse(c, NOT_FOUND,
            "There is no provisioning template '%s'; templates are not built here, a "
            "templateBody with its roleArn is kept.",
            name);
        return false;
    }
    if (!is_template) {
        call_refuse_input(c,
            "registrationConfig.templateBody %s; want a provisioning template, a "
            "JSON object with the member Resources.",
            body == NULL ? "is missing" : "is none");
        return false;
    }
    if (role == NULL || strncmp(role, "arn:", 4) != 0) {
        call_refuse_input(c,
            "registrationConfig.roleArn is %s%s%s; want arn:aws:iam::ACCOUNT:role/NAME.",
            role != NULL ? "'" : "", role != NULL ? role : "missing", role != NULL ? "'" : "");
        return false;
    }
    kept = json_pack("{s:s,s:s}", "templateBody", body, "roleArn", role);
    if (kept != NULL && json_into(kept, out)) {
        json_decref(kept);
        return true;
    }
    json_decref(kept);
    call_refuse(c, UNAVAILABLE, "Out of memory for the template; try again.");
    return false;
}

static bool
read_registration(struct call *c, struct registration *r)
{
    bool given;
    const char *mode = body_text(c, "certificateMode");

    r->ca_pem = body_text(c, "caCertificate");
    r->verification_pem = body_text(c, "verificationCertificate");
    r->mode = mode != NULL && strcmp(mode, "SNI_ONLY") == 0 ? MODE_SNI_ONLY : MODE_DEFAULT;
    r->set_active = param_bool(c, "setAsActive", false);
    r->auto_registration = param_bool(c, "allowAutoRegistration", false);
    return check_mode(c, r) && read_config(c, &r->config, &given);
}

static bool
read_pem(struct call *c, const char *member, const char *pem, struct pki_cert **out)
{
    struct bm_msg msg;

    if (pki_cert_from_pem(span_str(pem), out, &msg) == BM_OK)
        return true;
    call_refuse(c, CERTIFICATE_VALIDATION, "%s: %s", member, msg.text);
    return false;
}

static bool
check_ca(struct call *c, const struct pki_cert *ca)
{
    struct bm_msg msg;
    char subject[160];

    if (!pki_cert_is_ca(ca)) {
        pki_cert_subject_text(ca, subject, sizeof subject);
        call_refuse(c, CERTIFICATE_VALIDATION,
            "The CA certificate does not have the basicConstraints extension as true; its subject "
            "is '%s'. Make it with basicConstraints=critical,CA:TRUE.",
            subject);
        return false;
    }
    if (pki_cert_acceptable(ca, &msg) == BM_OK &&
        pki_cert_valid_at(ca, clock_wall_ms(), &msg) == BM_OK)
        return true;
    call_refuse(c, CERTIFICATE_VALIDATION, "caCertificate: %s", msg.text);
    return false;
}

static bool
check_code(struct call *c, const struct pki_cert *verification)
{
    char name[PKI_CN_MAX];
    char code[65];
    struct bm_msg msg;
    bool named = pki_cert_common_name(verification, name, sizeof name);
    enum bm_err err = registry_code_get(c->registry, code, &msg);

    if (err != BM_OK) {
        call_refuse_err(c, err, &msg);
        return false;
    }
    if (named && strcmp(name, code) == 0)
        return true;
    call_refuse(c, REGISTRATION_CODE,
        "The verification certificate's CN is %s%s%s; it must be this account's registration code, "
        "'%s' (aws iot get-registration-code).",
        named ? "'" : "", named ? name : "missing", named ? "'" : "", code);
    return false;
}

static bool
check_verification(struct call *c, struct registration *r)
{
    struct bm_msg msg;

    if (r->mode == MODE_SNI_ONLY)
        return true;
    if (!read_pem(c, "verificationCertificate", r->verification_pem, &r->verification))
        return false;
    if (pki_cert_signed_by(r->verification, r->ca, &msg) == BM_OK)
        return check_code(c, r->verification);
    call_refuse(c, CERTIFICATE_VALIDATION,
        "verificationCertificate: %s. Sign it with the key of "
        "the CA that is registered.",
        msg.text);
    return false;
}

/* SPEC aws-iot 3.2: in DEFAULT it belongs to one account; in SNI_ONLY many may share it. */
static bool
check_owner(struct call *c, const struct registration *r)
{
    uint8_t id[REGISTRY_ID_LEN];

    pki_cert_id(r->ca, id);
    for (size_t i = 0; r->mode == MODE_DEFAULT && i < c->api->options.account_count; i++) {
        const struct api_account *a = &c->api->options.accounts[i];
        struct registry_ca there = { 0 };
        bool taken = a != c->account && registry_ca_get(a->registry, id, &there, NULL) == BM_OK &&
                     there.mode == MODE_DEFAULT;

        registry_ca_fini(&there);
        if (!taken)
            continue;
        call_refuse_input(c,
            "Cannot accept this CACertificate: another account has it in certificateMode DEFAULT. "
            "To share a CA, register it in SNI_ONLY.");
        return false;
    }
    return true;
}

static void
fill_ca(struct registration *r, struct registry_ca *ca)
{
    struct span subject = pki_cert_subject(r->ca);
    struct span der = pki_cert_der(r->ca);

    *ca = (struct registry_ca){ .status = r->set_active ? CERT_ACTIVE : CERT_INACTIVE,
        .auto_registration = r->auto_registration,
        .mode = r->mode,
        .not_before_ms = pki_cert_not_before_ms(r->ca),
        .not_after_ms = pki_cert_not_after_ms(r->ca) };
    pki_cert_id(r->ca, ca->id);
    buf_add(&ca->subject, subject.ptr, subject.len);
    buf_add(&ca->der, der.ptr, der.len);
    ca->registration_config = r->config;
    r->config = (struct buf){ 0 };
}

static enum bm_err
store_ca(struct call *c, const struct registration *r, struct registry_ca *ca, struct bm_msg *msg)
{
    char subject[120];
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    pki_cert_subject_text(r->ca, subject, sizeof subject);
    err = registry_ca_insert(c->registry, ca, msg);
    if (err == BM_OK)
        err = call_tag(c, cert_arn(c, "cacert", ca->id).text, msg);
    if (err == BM_OK)
        err = call_record(c, CAUSE_CA_REGISTERED, ca->id, cert_status_name(ca->status), msg,
            "subject='%s' auto-registration=%s%s", subject,
            ca->auto_registration ? "ENABLE" : "DISABLE",
            ca->registration_config.len > 0 ? " template=set" : "");
    return group_end(c, err, msg);
}

static void
insert_ca(struct call *c, struct registration *r)
{
    struct registry_ca ca;
    struct bm_msg msg = { "" };
    struct arn arn;
    char hex[2 * REGISTRY_ID_LEN + 1];
    enum bm_err err;

    fill_ca(r, &ca);
    arn = cert_arn(c, "cacert", ca.id);
    hex_encode(hex, ca.id, REGISTRY_ID_LEN);
    err = store_ca(c, r, &ca, &msg);
    if (err == BM_ERR_EXISTS)
        call_refuse_exists(c, hex, arn.text, "The CA certificate is registered already.");
    else if (err == BM_ERR_LIMIT)
        call_refuse(c, LIMIT_EXCEEDED,
            "Limit reached for number of CA Certificates with same subject: %s", msg.text);
    else
        call_finish_json(c, err, &msg, 200,
            json_pack("{s:s,s:s}", "certificateArn", arn.text, "certificateId", hex));
    registry_ca_fini(&ca);
}

void
api_register_ca_certificate(struct call *c)
{
    struct registration r = { 0 };

    if (read_registration(c, &r) && read_pem(c, "caCertificate", r.ca_pem, &r.ca) &&
        check_ca(c, r.ca) && check_verification(c, &r) && check_owner(c, &r))
        insert_ca(c, &r);
    buf_fini(&r.config);
    pki_cert_free(r.ca);
    pki_cert_free(r.verification);
}

/* ---- describing ---- */

static json_t *
ca_json(const struct call *c, const struct registry_ca *ca)
{
    struct span text = buf_span(&ca->registration_config);
    json_t *config =
        text.len > 0 ? json_loadb((const char *)text.ptr, text.len, 0, NULL) : json_object();

    return json_pack("{s:{s:s,s:o,s:s,s:o,s:s,s:o,s:s,s:o,s:i,s:s,s:o,s:s},s:o}",
        "certificateDescription", "certificateArn", cert_arn(c, "cacert", ca->id).text,
        "certificateId", json_id(ca->id), "status", cert_status_name(ca->status), "certificatePem",
        json_pem(buf_span(&ca->der)), "ownedBy", c->account->number, "creationDate",
        json_time(ca->created_ms), "autoRegistrationStatus",
        ca->auto_registration ? "ENABLE" : "DISABLE", "lastModifiedDate",
        json_time(ca->modified_ms), "customerVersion", ca->version, "generationId", ca->generation,
        "validity", json_validity(ca->not_before_ms, ca->not_after_ms), "certificateMode",
        ca->mode == MODE_SNI_ONLY ? "SNI_ONLY" : "DEFAULT", "registrationConfig", config);
}

void
api_describe_ca_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    struct registry_ca ca = { 0 };
    struct bm_msg msg;
    enum bm_err err;

    if (!call_label_id(c, id))
        return;
    err = registry_ca_get(c->registry, id, &ca, &msg);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else
        call_reply_json(c, 200, ca_json(c, &ca));
    registry_ca_fini(&ca);
}

static void
add_ca(void *arg, const struct registry_ca *ca)
{
    struct page *p = arg;

    (void)json_array_append_new(
        p->items, json_pack("{s:o,s:s,s:o}", "certificateId", json_id(ca->id), "status",
                      cert_status_name(ca->status), "creationDate", json_time(ca->created_ms)));
}

void
api_list_ca_certificates(struct call *c)
{
    struct page p;
    struct bm_msg msg;
    enum bm_err err;
    size_t i;
    json_t *item;

    page_read(c, &p);
    err = param_text(c, "templateName") != NULL /* no CA has one by name */
              ? BM_OK
              : registry_ca_list(c->registry, &p.registry, add_ca, &p, &msg);
    json_array_foreach(p.items, i, item)
    {
        const char *id = json_string_value(json_object_get(item, "certificateId"));

        (void)json_object_set_new(
            item, "certificateArn", json_string(iot_arn(c, "cacert", id).text));
    }
    page_reply(c, &p, "certificates", err, &msg);
}

/* ---- changing ---- */

struct ca_change {
    struct registry_ca_change to; /* points at what follows */
    enum cert_status new_status;
    bool new_auto;
    struct buf config;
    struct span new_config;
};

static bool
read_ca_change(struct call *c, struct ca_change *change)
{
    const char *status = param_text(c, "newStatus");
    const char *automatic = param_text(c, "newAutoRegistrationStatus");
    bool remove = body_bool(c, "removeAutoRegistration", false);
    bool given;

    if (status != NULL && cert_status_parse(span_str(status), &change->new_status))
        change->to.status = &change->new_status;
    change->new_auto = automatic != NULL && strcmp(automatic, "ENABLE") == 0;
    change->to.auto_registration = automatic != NULL ? &change->new_auto : NULL;
    if (!read_config(c, &change->config, &given))
        return false;
    if (given && remove) {
        call_refuse_input(
            c, "removeAutoRegistration removes what registrationConfig sets; give one of them.");
        return false;
    }
    change->new_config = buf_span(&change->config);
    change->to.registration_config = given || remove ? &change->new_config : NULL;
    return true;
}

static enum bm_err
change_ca(struct call *c, const uint8_t id[REGISTRY_ID_LEN], const struct ca_change *change,
    struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);
    const char *status = change->to.status != NULL ? cert_status_name(change->new_status) : NULL;

    if (err != BM_OK)
        return err;
    err = registry_ca_update(c->registry, id, &change->to, msg);
    if (err == BM_OK)
        err = call_record(c, CAUSE_CA_CHANGED, id, status, msg, "status=%s auto-registration=%s%s",
            status != NULL ? status : "(kept)",
            change->to.auto_registration == NULL ? "(kept)"
            : change->new_auto                   ? "ENABLE"
                                                 : "DISABLE",
            change->to.registration_config == NULL ? ""
            : change->new_config.len > 0           ? " template=set"
                                                   : " template=removed");
    return group_end(c, err, msg);
}

void
api_update_ca_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    struct ca_change change = { 0 };
    struct bm_msg msg = { "" };

    if (call_label_id(c, id) && read_ca_change(c, &change))
        call_finish(c, change_ca(c, id, &change, &msg), &msg);
    buf_fini(&change.config);
}

static enum bm_err
remove_ca(struct call *c, const uint8_t id[REGISTRY_ID_LEN], struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_ca_delete(c->registry, id, msg);
    if (err == BM_OK)
        err = registry_tag_clear(c->registry, cert_arn(c, "cacert", id).text, msg);
    if (err == BM_OK)
        err = call_record(c, CAUSE_CA_DELETED, id, NULL, msg, "%s", "");
    return group_end(c, err, msg);
}

void
api_delete_ca_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!call_label_id(c, id))
        return;
    err = remove_ca(c, id, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse(c, CERTIFICATE_STATE, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}
