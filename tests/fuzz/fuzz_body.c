/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON body against the model of an operation. Input: method, path, query, a line each, then the
 * body. What is taken must be what a handler reads: required members there, each value of its type
 * and size, looked at here with other code than the checker's; what is refused has a sentence.
 */
#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *
line(char **at)
{
    char *start = *at;
    char *end = strchr(start, '\n');

    if (end != NULL)
        *end++ = '\0';
    *at = end != NULL ? end : strchr(start, '\0');
    return start;
}

static bool
counts(const struct shape *s, int64_t n)
{
    return n >= s->min && n <= s->max;
}

static int64_t
characters(const char *p)
{
    int64_t n = 0;

    for (; *p != '\0'; p++)
        n += ((unsigned char)*p & 0xc0) != 0x80;
    return n;
}

static bool
is_word(const struct shape *s, const char *text)
{
    size_t i = 0;

    while (s->words[i] != NULL && strcmp(s->words[i], text) != 0)
        i++;
    return s->words[i] != NULL;
}

static bool fits(const struct shape *s, const json_t *value);

static bool
members_fit(const struct member *members, const json_t *object)
{
    for (const struct member *m = members; m->name != NULL; m++) {
        const json_t *value = json_object_get(object, m->name);
        bool there = value != NULL && !json_is_null(value);

        if (m->where == IN_BODY && (there ? !fits(m->shape, value) : m->required))
            return false;
    }
    return true;
}

static bool
items_fit(const struct shape *s, json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;

    if (s->kind == KIND_LIST) {
        json_array_foreach(value, i, item)
        {
            if (!fits(s->element, item))
                return false;
        }
        return counts(s, (int64_t)json_array_size(value));
    }
    json_object_foreach(value, key, item)
    {
        bool good = s->key->words != NULL ? is_word(s->key, key) : counts(s->key, characters(key));

        if (!good || !fits(s->element, item))
            return false;
    }
    return counts(s, (int64_t)json_object_size(value));
}

static bool
fits(const struct shape *s, const json_t *value)
{
    switch (s->kind) {
    case KIND_STRING:
        return json_is_string(value) &&
               (s->words != NULL ? is_word(s, json_string_value(value))
                                 : counts(s, characters(json_string_value(value))));
    case KIND_BLOB:
        return json_is_string(value);
    case KIND_BOOLEAN:
        return json_is_boolean(value);
    case KIND_INTEGER:
    case KIND_LONG:
        return json_is_integer(value) && counts(s, json_integer_value(value));
    case KIND_FLOAT:
    case KIND_DOUBLE:
    case KIND_TIMESTAMP:
        return json_is_number(value);
    case KIND_OPAQUE:
        return true;
    case KIND_LIST:
        return json_is_array(value) && items_fit(s, (json_t *)(uintptr_t)value);
    case KIND_MAP:
        return json_is_object(value) && items_fit(s, (json_t *)(uintptr_t)value);
    case KIND_STRUCTURE:
        return json_is_object(value) && members_fit(s->members, value);
    }
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    char *at = text;
    struct buf labels[LABELS_MAX] = { { 0 } };
    struct refusal why = { "" };
    const struct operation *other;
    const char *method = line(&at);
    const char *path = line(&at);
    const char *query = line(&at);
    const struct operation *op = operation_find(method, path, query, labels, &other);
    json_t *body = json_loadb(at, strlen(at), JSON_REJECT_DUPLICATES, NULL);

    if (op != NULL && op->members != NULL && op->body == BODY_JSON && json_is_object(body)) {
        bool taken = body_check(op, body, &why);

        if (taken != members_fit(op->members, body) || taken != (why.text[0] == '\0'))
            abort();
    }
    json_decref(body);
    for (size_t i = 0; i < LABELS_MAX; i++)
        buf_fini(&labels[i]);
    free(text);
    return 0;
}
