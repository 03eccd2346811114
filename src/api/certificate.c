/* SPDX-License-Identifier: Apache-2.0 */
/* Device certificates that are registered: list, describe, change, delete. SPEC aws-iot 1.3.2, 3.5.
 */
#include "api/internal.h"

#include <string.h>

static const char *
mode_name(enum cert_mode mode)
{
    return mode == MODE_SNI_ONLY ? "SNI_ONLY" : "DEFAULT";
}

static json_t *
certificate_json(const struct call *c, const struct registry_cert *cert)
{
    json_t *description = json_pack("{s:s,s:o,s:s,s:o,s:s,s:o,s:o,s:i,s:{},s:s,s:o,s:s}",
        "certificateArn", cert_arn(c, "cert", cert->id).text, "certificateId", json_id(cert->id),
        "status", cert_status_name(cert->status), "certificatePem", json_pem(buf_span(&cert->der)),
        "ownedBy", c->account->number, "creationDate", json_time(cert->created_ms),
        "lastModifiedDate", json_time(cert->modified_ms), "customerVersion", cert->version,
        "transferData", "generationId", cert->generation, "validity",
        json_validity(cert->not_before_ms, cert->not_after_ms), "certificateMode",
        mode_name(cert->mode));

    if (cert->has_ca)
        (void)json_object_set_new(description, "caCertificateId", json_id(cert->ca_id));
    return description != NULL ? json_pack("{s:o}", "certificateDescription", description) : NULL;
}

void
api_describe_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    struct registry_cert cert = { 0 };
    struct bm_msg msg;
    enum bm_err err;

    if (!call_label_id(c, id))
        return;
    err = registry_cert_get(c->registry, id, &cert, &msg);
    if (err != BM_OK)
        call_refuse_err(c, err, &msg);
    else
        call_reply_json(c, 200, certificate_json(c, &cert));
    registry_cert_fini(&cert);
}

struct listing {
    struct call *c;
    struct page page;
};

static void
add_certificate(void *arg, const struct registry_cert *cert)
{
    struct listing *l = arg;

    (void)json_array_append_new(l->page.items,
        json_pack("{s:s,s:o,s:s,s:s,s:o}", "certificateArn", cert_arn(l->c, "cert", cert->id).text,
            "certificateId", json_id(cert->id), "status", cert_status_name(cert->status),
            "certificateMode", mode_name(cert->mode), "creationDate", json_time(cert->created_ms)));
}

static void
list(struct call *c, const uint8_t *ca_id)
{
    struct listing l = { .c = c };
    struct bm_msg msg;
    enum bm_err err;

    page_read(c, &l.page);
    err = registry_cert_list(c->registry, ca_id, &l.page.registry, add_certificate, &l, &msg);
    page_reply(c, &l.page, "certificates", err, &msg);
}

void
api_list_certificates(struct call *c)
{
    list(c, NULL);
}

void
api_list_certificates_by_ca(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];

    if (call_label_id(c, id))
        list(c, id);
}

/* ---- changing ---- */

static enum bm_err
change_status(
    struct call *c, const uint8_t id[REGISTRY_ID_LEN], enum cert_status to, struct bm_msg *msg)
{
    enum cert_status from = to;
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_cert_set_status(c->registry, id, to, &from, msg);
    if (err == BM_OK)
        err = call_record(c, CAUSE_STATUS_CHANGED, id, cert_status_name(to), msg,
            "from=%s to=%s by=%s", cert_status_name(from), cert_status_name(to), c->access_key);
    return group_end(c, err, msg);
}

void
api_update_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    enum cert_status to;
    const char *text;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!call_label_id(c, id))
        return;
    text = param_text(c, "newStatus");
    if (text == NULL || !cert_status_parse(span_str(text), &to)) { /* call_check knows the words */
        call_refuse(c, UNAVAILABLE, "Out of memory for the parameter newStatus; try again.");
        return;
    }
    err = change_status(c, id, to, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse(c, CERTIFICATE_STATE, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}

static enum bm_err
remove_certificate(struct call *c, const uint8_t id[REGISTRY_ID_LEN], bool force, bool *attached,
    struct bm_msg *msg)
{
    enum bm_err err = group_begin(c, msg);

    if (err != BM_OK)
        return err;
    err = registry_cert_delete(c->registry, id, force, attached, msg);
    if (err == BM_OK)
        err = call_record(
            c, CAUSE_CERTIFICATE_DELETED, id, NULL, msg, "forced=%s", force ? "true" : "false");
    return group_end(c, err, msg);
}

void
api_delete_certificate(struct call *c)
{
    uint8_t id[REGISTRY_ID_LEN];
    bool force = param_bool(c, "forceDelete", false);
    bool attached = false;
    struct bm_msg msg = { "" };
    enum bm_err err;

    if (!call_label_id(c, id))
        return;
    err = remove_certificate(c, id, force, &attached, &msg);
    if (err == BM_ERR_CONFLICT)
        call_refuse(c, attached ? DELETE_CONFLICT : CERTIFICATE_STATE, "%s", msg.text);
    else
        call_finish(c, err, &msg);
}
