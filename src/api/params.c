/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request says, checked: labels, query, members of the JSON body; and the ids, ARNs and
 * times that answers consist of. Each refusal names the parameter, what was seen and what is
 * wanted.
 */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 25 };

/* ---- labels ---- */

const char *
call_label(const struct call *c, size_t i)
{
    return (const char *)c->labels[i].ptr;
}

bool
call_label_id(struct call *c, uint8_t id[REGISTRY_ID_LEN])
{
    if (hex_decode(id, REGISTRY_ID_LEN, span_str(call_label(c, 0))) == BM_OK)
        return true;
    call_refuse_input(
        c, "The certificate id '%.80s' is not 64 hexadecimal digits.", call_label(c, 0));
    return false;
}

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static const char *
name_label(struct call *c, const char *what, const char *letters)
{
    const char *name = call_label(c, 0);
    size_t len = strlen(name);

    if (len > 0 && len <= REGISTRY_NAME_MAX && strspn(name, letters) == len)
        return name;
    call_refuse_input(c, "The %s name '%.140s' is not 1 to %d of letters, digits and '%s'.", what,
        name, REGISTRY_NAME_MAX, strchr(letters, '_'));
    return NULL;
}

const char *
call_policy_name(struct call *c)
{
    return name_label(c, "policy", ALNUM "_+=,.@-");
}

const char *
call_rule_name(struct call *c)
{
    return name_label(c, "rule", ALNUM "_");
}

const char *
call_thing_name(struct call *c)
{
    return name_label(c, "thing", ALNUM "_:-");
}

/* ---- what call_check has checked ---- */

const char *
body_text(const struct call *c, const char *name)
{
    return json_string_value(json_object_get(c->body, name));
}

bool
body_bool(const struct call *c, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(c->body, name);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

int64_t
body_number(const struct call *c, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(c->body, name);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

const char *
param_text(struct call *c, const char *name)
{
    struct buf *b = &c->params[c->param_count];

    if (c->param_count == PARAMS_MAX || !http_query_value(c->rq, name, b))
        return NULL;
    c->param_count++;
    return buf_cstr(b);
}

bool
param_bool(struct call *c, const char *name, bool otherwise)
{
    const char *text = param_text(c, name);

    return text != NULL ? text[0] == 't' : otherwise;
}

int64_t
param_number(struct call *c, const char *name, int64_t otherwise)
{
    const char *text = param_text(c, name);

    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

const char *
header_text(struct call *c, const char *name)
{
    return http_header(c->rq, name);
}

/* ---- query ---- */

bool
call_query_text(struct call *c, const char *name, struct buf *out, const char **text)
{
    out->len = 0;
    *text = NULL;
    if (!http_query_value(c->rq, name, out))
        return true;
    *text = buf_cstr(out);
    if (*text != NULL)
        return true;
    call_refuse(c, UNAVAILABLE, "Out of memory for the parameter %s; try again.", name);
    return false;
}

/* ---- members of the body ---- */

const char *
json_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool
find_member(struct call *c, const char *name, bool required, json_t **out)
{
    *out = json_object_get(c->body, name);
    if (json_is_null(*out))
        *out = NULL;
    if (*out != NULL || !required)
        return true;
    call_refuse_input(c, "The member '%s' is missing.", name);
    return false;
}

bool
call_text(struct call *c, const char *name, bool required, size_t max, const char **out)
{
    json_t *value;

    *out = NULL;
    if (!find_member(c, name, required, &value))
        return false;
    if (value == NULL)
        return true;
    if (!json_is_string(value)) {
        call_refuse_input(c, "The member '%s' is %s; want a string.", name, json_type_name(value));
        return false;
    }
    if (json_string_length(value) > max || (required && json_string_length(value) == 0)) {
        call_refuse_input(c, "The member '%s' has %zu bytes; want %d to %zu.", name,
            json_string_length(value), required ? 1 : 0, max);
        return false;
    }
    *out = json_string_value(value);
    return true;
}

bool
call_bool(struct call *c, const char *name, bool *out)
{
    json_t *value;

    if (!find_member(c, name, false, &value))
        return false;
    if (value == NULL)
        return true;
    if (!json_is_boolean(value)) {
        call_refuse_input(
            c, "The member '%s' is %s; want true or false.", name, json_type_name(value));
        return false;
    }
    *out = json_is_true(value);
    return true;
}

bool
call_object(struct call *c, const char *name, bool required, json_t **out)
{
    if (!find_member(c, name, required, out))
        return false;
    if (*out == NULL || json_is_object(*out))
        return true;
    call_refuse_input(c, "The member '%s' is %s; want an object.", name, json_type_name(*out));
    return false;
}

/* An empty list or object, null and false ask for nothing. */
static bool
says_something(const json_t *value)
{
    if (value == NULL || json_is_null(value) || json_is_false(value))
        return false;
    if (json_is_array(value))
        return json_array_size(value) > 0;
    if (json_is_object(value))
        return json_object_size(value) > 0;
    return true;
}

bool
call_without(struct call *c, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (!says_something(json_object_get(c->body, *names)))
            continue;
        call_refuse(c, NOT_BUILT,
            "The member '%s' of %s is not built here; leave it out (it would have been ignored).",
            *names, c->op->name);
        return false;
    }
    return true;
}

/* ---- ARNs ---- */

struct arn
iot_arn(const struct call *c, const char *kind, const char *name)
{
    struct arn a;

    (void)snprintf(a.text, sizeof a.text, "arn:aws:iot:%s:%s:%s/%s", c->api->options.region,
        c->account->number, kind, name);
    return a;
}

struct arn
cert_arn(const struct call *c, const char *kind, const uint8_t id[REGISTRY_ID_LEN])
{
    char hex[2 * REGISTRY_ID_LEN + 1];

    hex_encode(hex, id, REGISTRY_ID_LEN);
    return iot_arn(c, kind, hex);
}

bool
call_cert_arn(struct call *c, const char *what, const char *arn, uint8_t id[REGISTRY_ID_LEN])
{
    struct arn prefix = iot_arn(c, "cert", "");
    size_t len = strlen(prefix.text);

    if (strncmp(arn, prefix.text, len) == 0 &&
        hex_decode(id, REGISTRY_ID_LEN, span_str(arn + len)) == BM_OK)
        return true;
    if (strstr(arn, ":thinggroup/") != NULL || strstr(arn, ":cognito-identity:") != NULL)
        call_refuse(c, NOT_BUILT,
            "%s '%.200s': thing groups cannot stand here, and Cognito identities are not built.",
            what, arn);
    else
        call_refuse_input(c,
            "%s '%.200s' is not the ARN of a certificate here; want %sCERTIFICATE_ID.", what, arn,
            prefix.text);
    return false;
}

bool
call_target(struct call *c, const char *what, const char *arn, struct registry_target *out)
{
    struct arn prefix = iot_arn(c, "thinggroup", "");
    size_t len = strlen(prefix.text);

    *out = (struct registry_target){ 0 };
    if (strncmp(arn, prefix.text, len) != 0)
        return call_cert_arn(c, what, arn, out->cert_id);
    out->group = arn + len;
    return true;
}

/* ---- pages ---- */

static void
read_page(struct call *c, struct page *p, const char *size, const char *marker)
{
    const char *text = param_text(c, marker);

    p->registry.limit = (size_t)param_number(c, size, PAGE_DEFAULT);
    p->registry.marker = text != NULL ? text : "";
    p->items = json_array();
}

void
page_read(struct call *c, struct page *p)
{
    *p = (struct page){ .next = "nextMarker" };
    p->registry.ascending = param_bool(c, "isAscendingOrder", false);
    read_page(c, p, "pageSize", "marker");
}

void
page_read_tokens(struct call *c, struct page *p)
{
    *p = (struct page){ .next = "nextToken" };
    read_page(c, p, "maxResults", "nextToken");
}

void
page_reply(
    struct call *c, struct page *p, const char *member, enum bm_err err, const struct bm_msg *msg)
{
    json_t *body;

    if (err != BM_OK) {
        call_refuse_err(c, err, msg);
    } else {
        body = json_pack("{s:O}", member, p->items);
        if (p->registry.next_marker[0] != '\0')
            (void)json_object_set_new(body, p->next, json_string(p->registry.next_marker));
        call_reply_json(c, 200, body);
    }
    page_fini(p);
}

void
page_fini(struct page *p)
{
    json_decref(p->items);
    p->items = NULL;
}

/* ---- values ---- */

json_t *
json_id(const uint8_t id[REGISTRY_ID_LEN])
{
    char hex[2 * REGISTRY_ID_LEN + 1];

    hex_encode(hex, id, REGISTRY_ID_LEN);
    return json_string(hex);
}

json_t *
json_time(int64_t ms)
{
    return ms % 1000 == 0 ? json_integer(ms / 1000) : json_real((double)ms / 1000.0);
}

json_t *
json_span(struct span text)
{
    return json_stringn(text.len > 0 ? (const char *)text.ptr : "", text.len);
}

/* RFC 7468: lines of 64 characters */
json_t *
json_pem(struct span der)
{
    struct buf text = { 0 };
    struct buf pem = { 0 };
    json_t *value = NULL;

    if (base64_encode(&text, der) == BM_OK) {
        struct rd r = rd_of(buf_span(&text));

        buf_addf(&pem, "-----BEGIN CERTIFICATE-----\n");
        while (rd_left(&r) > 0) {
            struct span line = rd_span(&r, rd_left(&r) < 64 ? rd_left(&r) : 64);

            buf_add(&pem, line.ptr, line.len);
            buf_add(&pem, "\n", 1);
        }
        buf_addf(&pem, "-----END CERTIFICATE-----\n");
        value = pem.failed ? NULL : json_span(buf_span(&pem));
    }
    buf_fini(&text);
    buf_fini(&pem);
    return value;
}

json_t *
json_validity(int64_t not_before_ms, int64_t not_after_ms)
{
    return json_pack(
        "{s:o,s:o}", "notBefore", json_time(not_before_ms), "notAfter", json_time(not_after_ms));
}
