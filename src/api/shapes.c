/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request against the service's model: are the required members there, is each of its type, size
 * and words? What handlers read afterwards has its type. Labels of the path are theirs to check,
 * since each kind of name has letters of its own; members that the model does not know are ignored,
 * because newer clients send some. SPEC aws-iot 1.1.
 */
#include "api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where in the request: a.b[2].c */
struct place {
    const struct place *up;
    const char *name; /* NULL: an item of a list */
    size_t index;
    bool outside; /* the body: a parameter of the query, or a header */
};

static void
place_text(const struct place *p, char *out, size_t cap)
{
    size_t len;

    out[0] = '\0';
    if (p->up != NULL)
        place_text(p->up, out, cap);
    len = strlen(out);
    if (p->name == NULL)
        (void)snprintf(out + len, cap - len, "[%zu]", p->index);
    else
        (void)snprintf(out + len, cap - len, "%s%.100s", len > 0 ? "." : "", p->name);
}

static void refuse(struct refusal *why, const struct place *p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
refuse(struct refusal *why, const struct place *p, const char *fmt, ...)
{
    char where[300];
    char what[500];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    place_text(p, where, sizeof where);
    (void)snprintf(why->text, sizeof why->text,
        p->outside ? "The parameter %s %s" : "The member '%s' %s", where, what);
}

/* ---- texts and numbers, wherever they stand ---- */

static size_t
characters(const char *text, size_t bytes)
{
    size_t count = 0;

    for (size_t i = 0; i < bytes; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static void
refuse_words(struct refusal *why, const struct place *p, const char *text, const char *const *words)
{
    char list[400] = "";

    for (size_t i = 0; words[i] != NULL; i++) {
        size_t len = strlen(list);

        (void)snprintf(list + len, sizeof list - len, "%s%s",
            i == 0                 ? ""
            : words[i + 1] == NULL ? " or "
                                   : ", ",
            words[i]);
    }
    refuse(why, p, "is '%.60s'; want %s.", text, list);
}

static bool
check_text(struct refusal *why, const struct place *p, const struct shape *s, const char *text,
    size_t bytes)
{
    size_t count = characters(text, bytes);
    size_t i = 0;

    if (s->words != NULL) {
        while (s->words[i] != NULL && strcmp(s->words[i], text) != 0)
            i++;
        if (s->words[i] != NULL)
            return true;
        refuse_words(why, p, text, s->words);
        return false;
    }
    if ((int64_t)count >= s->min && (int64_t)count <= s->max)
        return true;
    if (s->max == INT64_MAX)
        refuse(why, p, "has %zu characters; want %lld or more.", count, (long long)s->min);
    else
        refuse(why, p, "has %zu characters; want %lld to %lld.", count, (long long)s->min,
            (long long)s->max);
    return false;
}

static bool
check_range(struct refusal *why, const struct place *p, const struct shape *s, int64_t value)
{
    if (value >= s->min && value <= s->max)
        return true;
    if (s->max == INT64_MAX)
        refuse(why, p, "is '%lld'; want a number from %lld.", (long long)value, (long long)s->min);
    else
        refuse(why, p, "is '%lld'; want a number from %lld to %lld.", (long long)value,
            (long long)s->min, (long long)s->max);
    return false;
}

/* A query parameter or header. */
static bool
check_wire(struct refusal *why, const struct place *p, const struct shape *s, const char *text)
{
    char *end = NULL;
    long long value;

    switch (s->kind) {
    case KIND_BOOLEAN:
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            return true;
        refuse(why, p, "is '%.60s'; want true or false.", text);
        return false;
    case KIND_INTEGER:
    case KIND_LONG:
        errno = 0;
        value = strtoll(text, &end, 10);
        if (errno == 0 && end != text && *end == '\0' && strchr(" \t\n+", text[0]) == NULL)
            return check_range(why, p, s, value);
        refuse(why, p, "is '%.60s'; want a number.", text);
        return false;
    case KIND_STRING:
        return check_text(why, p, s, text, strlen(text));
    case KIND_BLOB:
    case KIND_FLOAT:
    case KIND_DOUBLE:
    case KIND_TIMESTAMP:
    case KIND_LIST:
    case KIND_MAP:
    case KIND_STRUCTURE:
    case KIND_OPAQUE:
        break; /* none of a built operation stands outside the body */
    }
    return true;
}

/* ---- the body ---- */

static bool
is_of(const json_t *value, enum kind kind, const char **want)
{
    switch (kind) {
    case KIND_STRING:
    case KIND_BLOB:
        *want = "a string";
        return json_is_string(value);
    case KIND_BOOLEAN:
        *want = "true or false";
        return json_is_boolean(value);
    case KIND_INTEGER:
    case KIND_LONG:
        *want = "a whole number";
        return json_is_integer(value);
    case KIND_FLOAT:
    case KIND_DOUBLE:
    case KIND_TIMESTAMP:
        *want = "a number";
        return json_is_number(value);
    case KIND_LIST:
        *want = "an array";
        return json_is_array(value);
    case KIND_MAP:
    case KIND_STRUCTURE:
        *want = "an object";
        return json_is_object(value);
    case KIND_OPAQUE:
        break;
    }
    return true;
}

static bool check_value(
    struct refusal *why, const struct place *p, const struct shape *s, const json_t *value);

static bool
check_items(struct refusal *why, const struct place *p, const struct shape *s, size_t count)
{
    if ((int64_t)count >= s->min && (int64_t)count <= s->max)
        return true;
    refuse(
        why, p, "has %zu items; want %lld to %lld.", count, (long long)s->min, (long long)s->max);
    return false;
}

static bool
check_list(struct refusal *why, const struct place *p, const struct shape *s, const json_t *value)
{
    if (!check_items(why, p, s, json_array_size(value)))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const struct place at = { p, NULL, i, false };

        if (!check_value(why, &at, s->element, json_array_get(value, i)))
            return false;
    }
    return true;
}

static bool
check_map(struct refusal *why, const struct place *p, const struct shape *s, json_t *value)
{
    const char *key;
    json_t *item;

    if (!check_items(why, p, s, json_object_size(value)))
        return false;
    json_object_foreach(value, key, item)
    {
        const struct place at = { p, key, 0, false };

        if (!check_text(why, &at, s->key, key, strlen(key)) ||
            !check_value(why, &at, s->element, item))
            return false;
    }
    return true;
}

static bool
check_member(struct refusal *why, const struct place *up, const struct member *m, json_t *object)
{
    const struct place at = { up, m->name, 0, false };
    json_t *value = json_object_get(object, m->name);

    if (value != NULL && !json_is_null(value))
        return check_value(why, &at, m->shape, value);
    if (!m->required)
        return true;
    refuse(why, &at, "is missing.");
    return false;
}

static bool
check_value(struct refusal *why, const struct place *p, const struct shape *s, const json_t *value)
{
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators want it so */
    const char *want = "";

    if (!is_of(value, s->kind, &want)) {
        refuse(why, p, "is %s; want %s.", json_type_name(value), want);
        return false;
    }
    switch (s->kind) {
    case KIND_STRING:
        return check_text(why, p, s, json_string_value(value), json_string_length(value));
    case KIND_INTEGER:
    case KIND_LONG:
        return check_range(why, p, s, json_integer_value(value));
    case KIND_LIST:
        return check_list(why, p, s, value);
    case KIND_MAP:
        return check_map(why, p, s, object);
    case KIND_STRUCTURE:
        for (const struct member *m = s->members; m->name != NULL; m++) {
            if (!check_member(why, p, m, object))
                return false;
        }
        return true;
    case KIND_BLOB:
    case KIND_BOOLEAN:
    case KIND_FLOAT:
    case KIND_DOUBLE:
    case KIND_TIMESTAMP:
    case KIND_OPAQUE:
        break;
    }
    return true;
}

/* ---- the whole ---- */

static bool
check_outside(struct call *c, const struct member *m)
{
    const struct place at = { NULL, m->name, 0, true };
    struct refusal why = { "" };
    struct buf b = { 0 };
    const char *text = NULL;
    bool good = true;

    if (m->where == IN_HEADER)
        text = http_header(c->rq, m->name);
    else
        good = call_query_text(c, m->name, &b, &text);
    if (good && text != NULL)
        good = check_wire(&why, &at, m->shape, text);
    else if (good && m->required) {
        refuse(&why, &at, "is missing (%s).", m->where == IN_HEADER ? "a header" : "in the query");
        good = false;
    }
    buf_fini(&b);
    if (why.text[0] != '\0')
        call_refuse_input(c, "%s", why.text);
    return good;
}

bool
body_check(const struct operation *op, json_t *body, struct refusal *why)
{
    for (const struct member *m = op->members; m->name != NULL; m++) {
        if (m->where == IN_BODY && !check_member(why, NULL, m, body))
            return false;
    }
    return true;
}

bool
call_check(struct call *c)
{
    struct refusal why = { "" };

    for (const struct member *m = c->op->members; m->name != NULL; m++) {
        if ((m->where == IN_QUERY || m->where == IN_HEADER) && !check_outside(c, m))
            return false;
    }
    if (body_check(c->op, c->body, &why))
        return true;
    call_refuse_input(c, "%s", why.text);
    return false;
}
