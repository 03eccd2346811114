/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of certificates and CAs as a person reads them: with subjects, searched and filtered.
 *
 * Subjects are in no index (it would cost every insert a page at a random place), so a search by
 * subject, and a list of one state, reads certificates and looks, newest first. Each request has a
 * slice of time for that and says where to go on; the page asks again until it has enough. So a
 * list of ten million holds up the cloud no longer than one of a hundred. Ids and client ids are
 * found by their index; an id that is found is not looked for among the names.
 */
#include "console/inside.h"

#include "base/clock.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    PAGE_MAX = 100,
    PAGE = 25,
    SUBJECT_MAX = 300,
    PREFIX_MIN = 4,
    PREFIX_SURE = 8,
    EXAMINED_MAX = 100000, /* of one request, and no longer than: */
    SLICE_US = 10 * 1000,
};

/* ---- one certificate as JSON ---- */

static json_t *
hex_json(const uint8_t id[REGISTRY_ID_LEN])
{
    char hex[2 * REGISTRY_ID_LEN + 1];

    hex_encode(hex, id, REGISTRY_ID_LEN);
    return json_string(hex);
}

/* Names come from outside and may be no UTF-8. */
static json_t *
text_json(const char *text)
{
    json_t *s = json_string(text);

    return s != NULL ? s : json_string("(not UTF-8)");
}

static void
add_names(json_t *o, struct span der)
{
    char text[SUBJECT_MAX];
    char name[PKI_CN_MAX];
    struct span subject;
    struct span issuer;

    if (!pki_names_find(der, &subject, &issuer))
        return;
    pki_name_text(subject, text, sizeof text);
    (void)json_object_set_new(o, "subject", text_json(text));
    pki_name_text(issuer, text, sizeof text);
    (void)json_object_set_new(o, "issuer", text_json(text));
    if (pki_name_common_name(subject, name, sizeof name))
        (void)json_object_set_new(o, "commonName", text_json(name));
}

static json_t *
certificate_json(const struct registry_cert *cert)
{
    json_t *o = json_pack("{s:o,s:s,s:I,s:I,s:I,s:b}", "certificateId", hex_json(cert->id),
        "status", cert_status_name(cert->status), "createdMs", (json_int_t)cert->created_ms,
        "notBeforeMs", (json_int_t)cert->not_before_ms, "notAfterMs",
        (json_int_t)cert->not_after_ms, "hasPolicy", cert->policy_set != 0);

    if (cert->has_ca)
        (void)json_object_set_new(o, "caCertificateId", hex_json(cert->ca_id));
    return o;
}

/* ---- the list ---- */

struct listing {
    struct site *site;
    json_t *items;
    size_t limit;
    size_t examined;
    struct registry_page page;
    int64_t until_us;
    bool any_status;
    enum cert_status status;
    bool has_ca;
    uint8_t ca[REGISTRY_ID_LEN];
    const char *search; /* NULL: all; else a part of the subject, in any case of letters */
    const char *client; /* by which client id it was found */
};

static bool
contains(const char *text, size_t text_len, const char *part)
{
    size_t len = strlen(part);

    for (size_t at = 0; at + len <= text_len; at++) {
        if (strncasecmp(text + at, part, len) == 0)
            return true;
    }
    return false;
}

/* Letters, digits and the like are in the DER of a name as they are; so most need not be read. */
static bool
may_be_in(const char *search, struct span der)
{
    struct span subject;
    struct span issuer;

    for (const char *at = search; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr(" -_.:@/", *at) == NULL)
            return true;
    }
    return pki_names_find(der, &subject, &issuer) &&
           contains((const char *)subject.ptr, subject.len, search);
}

/* Into the list, when it is what is looked for. */
static void
consider(struct listing *l, const struct registry_cert *cert, struct span der)
{
    const char *subject;
    json_t *o;

    l->examined++;
    if ((!l->any_status && cert->status != l->status) ||
        (l->has_ca && (!cert->has_ca || memcmp(cert->ca_id, l->ca, sizeof l->ca) != 0)) ||
        (l->search != NULL && !may_be_in(l->search, der)))
        return;
    o = certificate_json(cert);
    add_names(o, der);
    subject = json_string_value(json_object_get(o, "subject"));
    if (l->search != NULL && (subject == NULL || !contains(subject, strlen(subject), l->search))) {
        json_decref(o);
        return;
    }
    if (l->client != NULL)
        (void)json_object_set_new(o, "clientId", text_json(l->client));
    (void)json_array_append_new(l->items, o);
}

static bool
read_filter(struct listing *l, struct http_request *rq, struct buf *room)
{
    const char *text = query_text(rq, "status", room);

    l->any_status = text == NULL || text[0] == '\0';
    if (!l->any_status && !cert_status_parse(span_str(text), &l->status)) {
        refuse(rq, 400, "'%.60s' is no state of a certificate.", text);
        return false;
    }
    text = query_text(rq, "ca", room);
    l->has_ca = text != NULL && text[0] != '\0';
    if (l->has_ca && hex_decode(l->ca, sizeof l->ca, span_str(text)) != BM_OK) {
        refuse(rq, 400, "'%.80s' is no id of a CA.", text);
        return false;
    }
    l->limit = query_number(rq, "limit", PAGE, PAGE_MAX);
    return true;
}

static void
consider_next(void *arg, const struct registry_cert *cert, struct span der)
{
    struct listing *l = arg;

    consider(l, cert, der);
    l->page.enough = json_array_size(l->items) >= l->limit || clock_mono_us() >= l->until_us;
}

/* In order of their rows: the marker stands behind the last one that was looked at. */
static enum bm_err
list_page(struct listing *l, const char *marker, struct bm_msg *msg)
{
    l->page = (struct registry_page){ .marker = marker, .limit = EXAMINED_MAX };
    l->until_us = clock_mono_us() + SLICE_US;
    return registry_cert_read(
        l->site->registry, l->has_ca ? l->ca : NULL, &l->page, consider_next, l, msg);
}

/* ---- found by an index: ids and client ids; one page, no marker ---- */

/* A text of hex digits is the beginning of an id: between which two ids is it? */
static bool
id_range(const char *text, uint8_t low[REGISTRY_ID_LEN], uint8_t high[REGISTRY_ID_LEN])
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    char hex[2 * REGISTRY_ID_LEN + 1];

    if (digits < PREFIX_MIN || digits > 2 * REGISTRY_ID_LEN || text[digits] != '\0')
        return false;
    memset(hex, '0', sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    memcpy(hex, text, digits);
    if (hex_decode(low, REGISTRY_ID_LEN, span_str(hex)) != BM_OK)
        return false;
    memset(hex + digits, 'f', sizeof hex - 1 - digits);
    return hex_decode(high, REGISTRY_ID_LEN, span_str(hex)) == BM_OK;
}

/* So much of an id that no name is looked for when the id is found. */
static bool
is_id(const char *search)
{
    return search != NULL && strspn(search, "0123456789abcdefABCDEF") >= PREFIX_SURE &&
           search[strspn(search, "0123456789abcdefABCDEF")] == '\0';
}

static void
add_id(struct listing *l, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct registry_cert cert = { 0 };

    if (registry_cert_get(l->site->registry, cert_id, &cert, NULL) == BM_OK)
        consider(l, &cert, buf_span(&cert.der));
    registry_cert_fini(&cert);
}

static void
add_narrow(void *arg, const struct registry_cert *cert)
{
    add_id(arg, cert->id);
}

static void
add_client(void *arg, const char *client_id, const uint8_t cert_id[REGISTRY_ID_LEN])
{
    struct listing *l = arg;

    l->client = client_id;
    if (json_array_size(l->items) < l->limit)
        add_id(l, cert_id);
}

static enum bm_err
find_indexed(struct listing *l, const char *search, struct bm_msg *msg)
{
    uint8_t low[REGISTRY_ID_LEN];
    uint8_t high[REGISTRY_ID_LEN];
    struct registry *r = l->site->registry;
    enum bm_err err = BM_OK;

    if (id_range(search, low, high))
        err = registry_cert_between(r, low, high, l->limit, add_narrow, l, msg);
    if (err == BM_OK)
        err = registry_timeline_clients(r, search, l->limit, add_client, l, msg);
    l->client = NULL;
    return err;
}

/* Those that both ways find are shown once: as the first, which may have the client id. */
static bool
is_there(const json_t *items, size_t before, const json_t *one)
{
    const json_t *id = json_object_get(one, "certificateId");

    for (size_t i = 0; i < before; i++) {
        if (json_equal(json_object_get(json_array_get(items, i), "certificateId"), id))
            return true;
    }
    return false;
}

static void
drop_repeated(json_t *items)
{
    for (size_t i = json_array_size(items); i-- > 0;) {
        if (is_there(items, i, json_array_get(items, i)))
            (void)json_array_remove(items, i);
    }
}

/*
 * ?search= part of the subject, or beginning of an id or a client id; ?status= ?ca= ?limit=
 * ?marker= of the page before. {certificates, nextMarker, examined, total}: with a marker there is
 * more, also when there are fewer than `limit`; `examined` by this request, of `total` that are
 * registered.
 */
void
view_certificates(struct site *c, struct http_request *rq)
{
    struct listing l = { .site = c, .items = json_array() };
    struct buf rooms[3] = { { 0 } };
    const char *search = query_text(rq, "search", &rooms[0]);
    const char *marker = query_text(rq, "marker", &rooms[1]);
    struct bm_msg msg = { "" };
    enum bm_err err = BM_OK;

    if (read_filter(&l, rq, &rooms[2])) {
        bool searching = search != NULL && search[0] != '\0';

        if (searching && (marker == NULL || marker[0] == '\0'))
            err = find_indexed(&l, search, &msg);
        l.limit += json_array_size(l.items);
        l.search = searching ? search : NULL;
        if (err == BM_OK && !(json_array_size(l.items) > 0 && is_id(search)))
            err = list_page(&l, marker, &msg);
        drop_repeated(l.items);
        if (err != BM_OK)
            refuse_err(rq, err, &msg);
        else
            reply_json(rq, 200,
                json_pack("{s:O,s:s,s:I,s:I}", "certificates", l.items, "nextMarker",
                    l.page.next_marker, "examined", (json_int_t)l.examined, "total",
                    (json_int_t)table_count(c->account->table)));
    }
    for (size_t i = 0; i < 3; i++)
        buf_fini(&rooms[i]);
    json_decref(l.items);
}

/* ---- one ---- */

static void
add_name(void *arg, const char *name)
{
    (void)json_array_append_new(arg, json_string(name));
}

static void
add_policy(void *arg, const struct registry_policy *p)
{
    add_name(arg, p->name);
}

static void
add_attribute(void *arg, const char *name, struct span value)
{
    json_t *text = json_stringn((const char *)value.ptr, value.len);

    if (text != NULL)
        (void)json_array_append_new(arg, json_pack("[s,o]", name, text));
}

static void
reply_certificate(struct site *c, struct http_request *rq, const struct registry_cert *cert)
{
    const struct registry_target target = { .group = NULL };
    struct registry_target own = target;
    struct registry_page page = { .marker = "", .limit = 100 };
    json_t *o = certificate_json(cert);
    json_t *policies = json_array();
    json_t *effective = json_array();
    json_t *things = json_array();
    json_t *attributes = json_array();
    struct pki_cert *read = NULL;

    memcpy(own.cert_id, cert->id, sizeof own.cert_id);
    add_names(o, buf_span(&cert->der));
    (void)!registry_policy_attached(c->registry, &own, false, add_policy, policies, NULL);
    (void)!registry_policy_effective(c->registry, cert->id, add_policy, effective, NULL);
    (void)!registry_principal_things(c->registry, cert->id, &page, add_name, things, NULL);
    if (pki_cert_from_der(buf_span(&cert->der), &read, NULL) == BM_OK) {
        pki_cert_attributes(read, add_attribute, attributes);
    }
    pki_cert_free(read);
    (void)json_object_set_new(o, "policies", policies);
    (void)json_object_set_new(o, "effectivePolicies", effective);
    (void)json_object_set_new(o, "things", things);
    (void)json_object_set_new(o, "attributes", attributes);
    reply_json(rq, 200, o);
}

void
view_certificate(struct site *c, struct http_request *rq)
{
    struct buf room = { 0 };
    const char *text = query_text(rq, "id", &room);
    struct registry_cert cert = { 0 };
    uint8_t id[REGISTRY_ID_LEN];
    struct bm_msg msg;
    enum bm_err err = BM_ERR_INPUT;

    if (text == NULL || hex_decode(id, sizeof id, span_str(text)) != BM_OK) {
        refuse(rq, 400, "A certificate's id is 64 hex digits.");
    } else {
        err = registry_cert_get(c->registry, id, &cert, &msg);
        if (err == BM_OK)
            reply_certificate(c, rq, &cert);
        else
            refuse_err(rq, err, &msg);
    }
    registry_cert_fini(&cert);
    buf_fini(&room);
}

/* ---- CAs: there are few ---- */

static void
add_ca(void *arg, const struct registry_ca *narrow)
{
    struct listing *l = arg;
    struct registry_ca ca = { 0 };
    json_t *o;

    if (registry_ca_get(l->site->registry, narrow->id, &ca, NULL) != BM_OK)
        return;
    o = json_pack("{s:o,s:s,s:b,s:s,s:I,s:I,s:I}", "certificateId", hex_json(ca.id), "status",
        cert_status_name(ca.status), "autoRegistration", ca.auto_registration, "mode",
        ca.mode == MODE_SNI_ONLY ? "SNI_ONLY" : "DEFAULT", "createdMs", (json_int_t)ca.created_ms,
        "notBeforeMs", (json_int_t)ca.not_before_ms, "notAfterMs", (json_int_t)ca.not_after_ms);
    add_names(o, buf_span(&ca.der));
    (void)json_array_append_new(l->items, o);
    registry_ca_fini(&ca);
}

/* One CA with its names is a list of one. */
static void
view_ca(struct site *c, struct http_request *rq, const char *text)
{
    struct listing l = { .site = c, .items = json_array() };
    struct registry_ca ca = { 0 };

    if (hex_decode(ca.id, sizeof ca.id, span_str(text)) != BM_OK) {
        refuse(rq, 400, "A CA's id is 64 hex digits.");
    } else {
        add_ca(&l, &ca);
        reply_json(rq, 200, json_pack("{s:O,s:s}", "cas", l.items, "nextMarker", ""));
    }
    json_decref(l.items);
}

/* ?id= or ?limit= ?marker= {cas, nextMarker} */
void
view_cas(struct site *c, struct http_request *rq)
{
    struct listing l = { .site = c, .items = NULL };
    struct buf room = { 0 };
    const char *text = query_text(rq, "id", &room);
    struct registry_page page = { .limit = query_number(rq, "limit", PAGE, PAGE_MAX) };
    struct bm_msg msg;
    enum bm_err err;

    if (text != NULL) {
        view_ca(c, rq, text);
        buf_fini(&room);
        return;
    }
    text = query_text(rq, "marker", &room);
    page.marker = text != NULL ? text : "";
    l.items = json_array();
    err = registry_ca_list(c->registry, &page, add_ca, &l, &msg);
    if (err == BM_OK)
        reply_json(rq, 200, json_pack("{s:O,s:s}", "cas", l.items, "nextMarker", page.next_marker));
    else
        refuse_err(rq, err, &msg);
    json_decref(l.items);
    buf_fini(&room);
}
