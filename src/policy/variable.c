/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy variables and condition keys: their names, and their values for one subject. SPEC aws-iot
 * 7.3.
 */
#include "policy/compiled.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

uint16_t
variable_find(struct span name, bool ignore_case)
{
    static const char *const simple[] = { "iot:ClientId", "iot:CertificateId", "aws:SourceIp",
        "iot:ConnectAttributes" };
    size_t i = index_in(simple, sizeof simple / sizeof *simple, name, ignore_case);
    size_t form;

    if (i < sizeof simple / sizeof *simple)
        return (uint16_t)i; /* in the order of enum variable */
    if (skip(&name, "iot:Connection.Thing.", ignore_case))
        return name.len > 0 ? VAR_THING : VAR_END;
    if (!skip(&name, "iot:Certificate.", ignore_case))
        return VAR_END;
    form = form_of(&name, ignore_case);
    i = attribute_find(name, ignore_case);
    return i < ATTRIBUTES ? (uint16_t)(VAR_ATTRIBUTE + i * FORMS + form) : VAR_END;
}

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

static void
add_value(struct values *out, struct span v)
{
    if (v.ptr != NULL && out->count < VALUES_MAX)
        out->v[out->count++] = v;
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
variable_values(
    uint16_t variable, enum policy_action a, const struct policy_subject *who, struct values *out)
{
    out->count = 0;
    if (variable == VAR_CLIENT_ID)
        add_value(out, who->client_id);
    else if (variable == VAR_CERTIFICATE_ID && who->cert_id != NULL)
        add_value(out, span_str(who->cert_id));
    else if (variable == VAR_SOURCE_IP && who->source_ip != NULL)
        add_value(out, span_str(who->source_ip));
    else if (variable >= VAR_ATTRIBUTE)
        attribute_values(variable, who->certificate, out);
    else if (variable == VAR_CONNECT_ATTRIBUTES && a == POLICY_CONNECT) {
        if (who->persistent)
            add_value(out, span_str("PersistentConnect"));
        if (who->last_will)
            add_value(out, span_str("LastWill"));
    }
}

/* A form that is a list never comes here. */
struct span
variable_value(uint16_t variable, const struct policy_subject *who)
{
    size_t place = variable >= VAR_ATTRIBUTE ? (size_t)(variable - VAR_ATTRIBUTE) : 0;
    struct values v;

    if (variable >= VAR_ATTRIBUTE &&
        (who->certificate == NULL ||
            !who->certificate->attributes[place / FORMS].plain[place % FORMS]))
        return span_of(NULL, 0);
    variable_values(variable, POLICY_RECEIVE, who, &v);
    return v.count > 0 ? v.v[0] : span_of(NULL, 0);
}
