/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy variables and condition keys: their names, and their values for one subject. SPEC aws-iot
 * 7.3.
 */
#include "policy/compiled.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

/* SPEC aws-iot 7.3: what follows `iot:Certificate.Subject.` and `iot:Certificate.Issuer.` */
static const char *const name_parts[NAME_PARTS] = { "DistinguishedNameQualifier", "Country",
    "Organization", "OrganizationalUnit", "State", "CommonName", "SerialNumber", "Title", "Surname",
    "GivenName", "Initials", "Pseudonym", "GenerationQualifier" };

static const char *const alternatives[ALTERNATIVES] = { "RFC822Name", "DNSName", "DirectoryName",
    "UniformResourceIdentifier", "IPAddress" };

struct policy_certificate {
    bool failed;
    struct {
        size_t count;
        struct buf v[VALUES_MAX];
        bool plain[VALUES_MAX]; /* may stand in a pattern */
    } attributes[ATTRIBUTES];
};

static bool
same(struct span s, const char *text, bool ignore_case)
{
    if (strlen(text) != s.len)
        return false;
    return ignore_case ? strncasecmp((const char *)s.ptr, text, s.len) == 0
                       : memcmp(s.ptr, text, s.len) == 0;
}

static struct span
cut(struct span s, size_t from, size_t len)
{
    struct rd r = rd_of(s);

    (void)rd_span(&r, from);
    return rd_span(&r, len);
}

/* Takes `head` off the front of s. */
static bool
skip(struct span *s, const char *head, bool ignore_case)
{
    size_t len = strlen(head);

    if (s->len < len || !same(cut(*s, 0, len), head, ignore_case))
        return false;
    *s = cut(*s, len, s->len - len);
    return true;
}

static size_t
index_in(const char *const *names, size_t count, struct span s, bool ignore_case)
{
    size_t i = 0;

    while (i < count && !same(s, names[i], ignore_case))
        i++;
    return i;
}

/* "Subject.CommonName" to its number; ATTRIBUTES when there is none. */
static size_t
attribute_find(struct span s, bool ignore_case)
{
    size_t i;

    if (same(s, "SerialNumber", ignore_case))
        return ATTRIBUTES - 1;
    if (skip(&s, "Subject.", ignore_case)) {
        i = index_in(name_parts, NAME_PARTS, s, ignore_case);
        return i < NAME_PARTS ? i : ATTRIBUTES;
    }
    if (skip(&s, "Issuer.", ignore_case)) {
        i = index_in(name_parts, NAME_PARTS, s, ignore_case);
        return i < NAME_PARTS ? NAME_PARTS + i : ATTRIBUTES;
    }
    if (!skip(&s, "AlternativeName.", ignore_case))
        return ATTRIBUTES;
    i = index_in(alternatives, ALTERNATIVES, s, ignore_case);
    return i < ALTERNATIVES ? 2 * NAME_PARTS + i : ATTRIBUTES;
}

/* Takes `.List` or `.1` to `.4` off the end; nothing there is form 0, the first value. */
static size_t
form_of(struct span *s, bool ignore_case)
{
    static const char *const forms[FORMS] = { "", ".1", ".2", ".3", ".4", ".List" };

    for (size_t form = FORMS - 1; form > 0; form--) {
        size_t len = strlen(forms[form]);

        if (s->len > len && same(cut(*s, s->len - len, len), forms[form], ignore_case)) {
            *s = cut(*s, 0, s->len - len);
            return form;
        }
    }
    return 0;
}

/* Its number among those that the policy names; a new name gets one. */
static enum bm_err
thing_attribute_find(const struct place_of *at, struct span name, uint16_t *out)
{
    struct policy *p = at->policy;
    size_t i = 0;

    while (i < p->thing_attribute_count && !same(name, p->thing_attributes[i], false))
        i++;
    if (i == THING_ATTRIBUTES_MAX)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu: the document names more than %d attributes of a thing", at->statement,
            THING_ATTRIBUTES_MAX);
    if (i == p->thing_attribute_count) {
        p->thing_attributes[i] = strndup((const char *)name.ptr, name.len);
        if (p->thing_attributes[i] == NULL)
            return bm_fail(at->msg, BM_ERR_MEM, "out of memory");
        p->thing_attribute_count++;
    }
    *out = (uint16_t)(VAR_THING_ATTRIBUTE + i);
    return BM_OK;
}

/* What follows `iot:Connection.Thing.`; the name of an attribute is taken as it is written. */
static enum bm_err
thing_find(const struct place_of *at, struct span s, bool ignore_case, uint16_t *out)
{
    static const char *const members[] = { "ThingName", "ThingTypeName", "IsAttached" };
    size_t i = index_in(members, sizeof members / sizeof *members, s, ignore_case);

    if (i < sizeof members / sizeof *members) {
        *out = (uint16_t)(VAR_THING_NAME + i);
    } else if (skip(&s, "Attributes[", ignore_case) && s.len > 1 && s.ptr[s.len - 1] == ']') {
        enum bm_err err = thing_attribute_find(at, cut(s, 0, s.len - 1), out);

        if (err != BM_OK)
            return err;
    }
    at->policy->uses_thing = at->policy->uses_thing || *out != VAR_END;
    return BM_OK;
}

enum bm_err
variable_find(const struct place_of *at, struct span name, bool ignore_case, uint16_t *out)
{
    static const char *const simple[] = { "iot:ClientId", "iot:CertificateId", "aws:SourceIp",
        "iot:ConnectAttributes", "aws:CurrentTime", "aws:EpochTime" };
    size_t i = index_in(simple, sizeof simple / sizeof *simple, name, ignore_case);
    size_t form;

    *out = VAR_END;
    if (i < sizeof simple / sizeof *simple) {
        *out = (uint16_t)i; /* in the order of enum variable */
        at->policy->uses_time =
            at->policy->uses_time || *out == VAR_CURRENT_TIME || *out == VAR_EPOCH_TIME;
        return BM_OK;
    }
    if (skip(&name, "iot:Connection.Thing.", ignore_case))
        return thing_find(at, name, ignore_case, out);
    if (!skip(&name, "iot:Certificate.", ignore_case))
        return BM_OK;
    form = form_of(&name, ignore_case);
    i = attribute_find(name, ignore_case);
    if (i < ATTRIBUTES) {
        *out = (uint16_t)(VAR_ATTRIBUTE + i * FORMS + form);
        at->policy->uses_certificate = true;
    }
    return BM_OK;
}

static bool
is_of_certificate(uint16_t variable)
{
    return variable >= VAR_ATTRIBUTE && variable < VAR_THING_ATTRIBUTE;
}

bool
variable_stands(uint16_t variable)
{
    if (is_of_certificate(variable))
        return (variable - VAR_ATTRIBUTE) % FORMS != FORM_LIST;
    return variable != VAR_END && variable != VAR_CONNECT_ATTRIBUTES &&
           variable != VAR_CURRENT_TIME && variable != VAR_EPOCH_TIME;
}

/* ---- what a certificate says ---- */

struct policy_certificate *
policy_certificate_new(void)
{
    return calloc(1, sizeof(struct policy_certificate));
}

/* SPEC aws-iot 7.3: a certificate's text with such characters is not put in. */
static bool
is_plain(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (strchr("*$+?#", s.ptr[i]) != NULL && s.ptr[i] != '\0')
            return false;
    }
    return true;
}

/* A value that is too long keeps its place, so that `.1` stays the second. */
void
policy_certificate_add(void *certificate, const char *name, struct span value)
{
    struct policy_certificate *c = certificate;
    size_t a = attribute_find(span_str(name), false);
    struct buf *to;

    if (a == ATTRIBUTES || c->attributes[a].count == VALUES_MAX)
        return;
    c->attributes[a].plain[c->attributes[a].count] = is_plain(value);
    to = &c->attributes[a].v[c->attributes[a].count++];
    if (value.len > VALUE_LEN_MAX)
        return;
    buf_add(to, value.ptr, value.len);
    if (buf_cstr(to) == NULL) /* an empty value is one, too */
        c->failed = true;
}

bool
policy_certificate_whole(const struct policy_certificate *c)
{
    return !c->failed;
}

void
policy_certificate_free(struct policy_certificate *c)
{
    if (c == NULL)
        return;
    for (size_t a = 0; a < ATTRIBUTES; a++) {
        for (size_t i = 0; i < VALUES_MAX; i++)
            buf_fini(&c->attributes[a].v[i]);
    }
    free(c);
}

/* ---- what a thing says ---- */

struct policy_thing {
    char *type; /* NULL: none */
    json_t *attributes;
};

static bool
are_strings(json_t *o)
{
    const char *name;
    json_t *v;

    json_object_foreach(o, name, v)
    {
        if (!json_is_string(v))
            return false;
    }
    return json_is_object(o);
}

enum bm_err
policy_thing_new(
    const char *type, struct span attributes, struct policy_thing **out, struct bm_msg *msg)
{
    struct policy_thing *t = calloc(1, sizeof *t);

    *out = NULL;
    if (t == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    t->attributes = attributes.len > 0 ? json_loadb((const char *)attributes.ptr, attributes.len,
                                             JSON_REJECT_DUPLICATES, NULL)
                                       : json_object();
    if (type[0] != '\0')
        t->type = strdup(type);
    if (!are_strings(t->attributes) || (type[0] != '\0' && t->type == NULL)) {
        policy_thing_free(t);
        return bm_fail(
            msg, BM_ERR_INPUT, "the attributes of the thing are no JSON object of strings");
    }
    *out = t;
    return BM_OK;
}

void
policy_thing_free(struct policy_thing *t)
{
    if (t == NULL)
        return;
    json_decref(t->attributes);
    free(t->type);
    free(t);
}

/* ---- values ---- */

static void
add_value(struct values *out, struct span v)
{
    if (v.ptr != NULL && out->count < VALUES_MAX)
        out->v[out->count++] = v;
}

/* SPEC aws-iot 7.3: of a thing that is not attached nothing is known but that. */
static struct span
thing_value(uint16_t variable, const struct asked *q)
{
    const struct policy_thing *t = q->who->thing;
    const char *text = NULL;

    if (variable == VAR_THING_ATTACHED)
        return span_str(t != NULL ? "true" : "false");
    if (t == NULL)
        return span_of(NULL, 0);
    if (variable == VAR_THING_NAME)
        return q->who->client_id;
    if (variable == VAR_THING_TYPE)
        text = t->type;
    else
        text = json_string_value(json_object_get(
            t->attributes, q->policy->thing_attributes[variable - VAR_THING_ATTRIBUTE]));
    return text != NULL ? span_str(text) : span_of(NULL, 0);
}

static bool
is_of_thing(uint16_t variable)
{
    return variable >= VAR_THING_ATTRIBUTE ||
           (variable >= VAR_THING_NAME && variable <= VAR_THING_ATTACHED);
}

static void
attribute_values(uint16_t variable, const struct policy_certificate *c, struct values *out)
{
    size_t a = (size_t)(variable - VAR_ATTRIBUTE) / FORMS;
    size_t form = (size_t)(variable - VAR_ATTRIBUTE) % FORMS;

    if (c == NULL)
        return;
    for (size_t i = 0; i < c->attributes[a].count; i++) {
        if (form == FORM_LIST || form == i)
            add_value(out, buf_span(&c->attributes[a].v[i]));
    }
}

void
variable_values(uint16_t variable, const struct asked *q, struct values *out)
{
    const struct policy_subject *who = q->who;

    out->count = 0;
    if (variable == VAR_CLIENT_ID)
        add_value(out, who->client_id);
    else if (variable == VAR_CERTIFICATE_ID && who->cert_id != NULL)
        add_value(out, span_str(who->cert_id));
    else if (variable == VAR_SOURCE_IP && who->source_ip != NULL)
        add_value(out, span_str(who->source_ip));
    else if (variable == VAR_CURRENT_TIME || variable == VAR_EPOCH_TIME)
        add_value(out, span_str(q->now));
    else if (is_of_thing(variable))
        add_value(out, thing_value(variable, q));
    else if (is_of_certificate(variable))
        attribute_values(variable, who->certificate, out);
    else if (variable == VAR_CONNECT_ATTRIBUTES && q->action == POLICY_CONNECT) {
        if (who->persistent)
            add_value(out, span_str("PersistentConnect"));
        if (who->last_will)
            add_value(out, span_str("LastWill"));
    }
}

/* A form that is a list never comes here. */
struct span
variable_value(uint16_t variable, const struct asked *q)
{
    const struct policy_certificate *c = q->who->certificate;
    size_t place = (size_t)(variable - VAR_ATTRIBUTE);
    struct values v;

    if (is_of_certificate(variable) &&
        (c == NULL || !c->attributes[place / FORMS].plain[place % FORMS]))
        return span_of(NULL, 0);
    variable_values(variable, q, &v);
    return v.count > 0 ? v.v[0] : span_of(NULL, 0);
}
