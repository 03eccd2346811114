/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The member Condition: operators, quantifiers, keys. SPEC aws-iot 7.3, IAM's rules.
 *
 * All operators and all their keys must hold. Of the values beside a key one must match; a negated
 * operator holds when none does. A key without a value fails an operator, except a negated one, one
 * with IfExists, and ForAllValues.
 */
#include "policy/compiled.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

static const struct operator_row {
    const char *name;
    enum test test;
    bool negated;
    bool ignore_case;
    bool wildcards;
    bool date;
} operators[] = {
    { "StringEquals", TEST_STRING, false, false, false, false },
    { "StringNotEquals", TEST_STRING, true, false, false, false },
    { "StringEqualsIgnoreCase", TEST_STRING, false, true, false, false },
    { "StringNotEqualsIgnoreCase", TEST_STRING, true, true, false, false },
    { "StringLike", TEST_STRING, false, false, true, false },
    { "StringNotLike", TEST_STRING, true, false, true, false },
    { "Bool", TEST_BOOL, false, false, false, false },
    { "IpAddress", TEST_IP, false, false, false, false },
    { "NotIpAddress", TEST_IP, true, false, false, false },
    { "Null", TEST_NULL, false, false, false, false },
    { "NumericEquals", TEST_EQUAL, false, false, false, false },
    { "NumericNotEquals", TEST_EQUAL, true, false, false, false },
    { "NumericLessThan", TEST_LESS, false, false, false, false },
    { "NumericLessThanEquals", TEST_LESS_EQUAL, false, false, false, false },
    { "NumericGreaterThan", TEST_GREATER, false, false, false, false },
    { "NumericGreaterThanEquals", TEST_GREATER_EQUAL, false, false, false, false },
    { "DateEquals", TEST_EQUAL, false, false, false, true },
    { "DateNotEquals", TEST_EQUAL, true, false, false, true },
    { "DateLessThan", TEST_LESS, false, false, false, true },
    { "DateLessThanEquals", TEST_LESS_EQUAL, false, false, false, true },
    { "DateGreaterThan", TEST_GREATER, false, false, false, true },
    { "DateGreaterThanEquals", TEST_GREATER_EQUAL, false, false, false, true },
};

/* ---- values ---- */

static bool
truth_of(struct span text, bool *out)
{
    *out = text.len == 4 && strncasecmp((const char *)text.ptr, "true", 4) == 0;
    return *out || (text.len == 5 && strncasecmp((const char *)text.ptr, "false", 5) == 0);
}

/* IPv4 becomes ::ffff:a.b.c.d, so that there is one way to compare. */
static bool
address_of(const char *text, uint8_t out[16], bool *is_v4)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

    *is_v4 = strchr(text, ':') == NULL;
    if (!*is_v4)
        return inet_pton(AF_INET6, text, out) == 1;
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, text, &out[sizeof mapped]) == 1;
}

static bool
net_of(struct span text, union operand *out)
{
    char copy[64];
    char *slash;
    char *end = NULL;
    bool v4;
    unsigned long bits;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    slash = strchr(copy, '/');
    if (slash != NULL)
        *slash = '\0';
    if (!address_of(copy, out->net.address, &v4))
        return false;
    bits = v4 ? 32 : 128;
    if (slash != NULL) {
        if (strspn(&slash[1], "0123456789") == 0 || strtoul(&slash[1], &end, 10) > bits ||
            *end != '\0')
            return false;
        bits = strtoul(&slash[1], NULL, 10);
    }
    out->net.bits = (unsigned)bits + (v4 ? 96 : 0);
    return true;
}

/* ---- compiling ---- */

static const char *
wanted(const struct operator_row *row)
{
    switch (row->test) {
    case TEST_STRING:
        return "strings";
    case TEST_BOOL:
    case TEST_NULL:
        return "\"true\" or \"false\"";
    case TEST_IP:
        return "addresses like \"192.0.2.0/24\" or \"2001:db8::/32\"";
    case TEST_EQUAL:
    case TEST_LESS:
    case TEST_LESS_EQUAL:
    case TEST_GREATER:
    case TEST_GREATER_EQUAL:
        return row->date ? "times like \"2026-11-23T09:00:00Z\" or seconds since 1970" : "numbers";
    }
    return "";
}

/* A JSON value as text in `room`, or itself; NULL when it cannot be a condition's value. */
static const char *
value_text(const json_t *v, char room[32])
{
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_boolean(v))
        return json_is_true(v) ? "true" : "false";
    if (json_is_integer(v))
        (void)snprintf(room, 32, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        (void)snprintf(room, 32, "%.15g", json_real_value(v));
    else
        return NULL;
    return room;
}

static enum bm_err
operand_compile(
    const struct place_of *at, const struct operator_row *row, const json_t *v, union operand *out)
{
    char room[32];
    const char *text = value_text(v, room);
    bool fits = false;

    if (text == NULL)
        return bm_fail(at->msg, BM_ERR_INPUT, "statement %zu, Condition, %s: want %s",
            at->statement, at->member, wanted(row));
    switch (row->test) {
    case TEST_STRING:
        return pattern_compile(at, text, row->wildcards, &out->pattern);
    case TEST_BOOL:
    case TEST_NULL:
        fits = truth_of(span_str(text), &out->truth);
        break;
    case TEST_IP:
        fits = net_of(span_str(text), out);
        break;
    case TEST_EQUAL:
    case TEST_LESS:
    case TEST_LESS_EQUAL:
    case TEST_GREATER:
    case TEST_GREATER_EQUAL:
        fits = row->date ? date_of(span_str(text), &out->number)
                         : number_of(span_str(text), &out->number);
        break;
    }
    if (!fits)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition, %s: want %s, not \"%.80s\"", at->statement, at->member,
            wanted(row), text);
    return BM_OK;
}

static const struct operator_row *
operator_find(struct span name)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (span_eq(name, span_str(operators[i].name)))
            return &operators[i];
    }
    return NULL;
}

/* "ForAllValues:StringEqualsIfExists" into its three parts. */
static const struct operator_row *
operator_read(const char *text, struct condition *out)
{
    static const char any[] = "ForAnyValue:";
    static const char all[] = "ForAllValues:";
    static const char if_exists[] = "IfExists";
    struct span s = span_str(text);
    size_t head = 0;

    if (strncmp(text, any, sizeof any - 1) == 0) {
        out->quantifier = QUANTIFIER_ANY;
        head = sizeof any - 1;
    } else if (strncmp(text, all, sizeof all - 1) == 0) {
        out->quantifier = QUANTIFIER_ALL;
        head = sizeof all - 1;
    }
    s = span_str(&text[head]);
    if (s.len > sizeof if_exists - 1 &&
        strcmp(&text[head + s.len - (sizeof if_exists - 1)], if_exists) == 0) {
        out->if_exists = true;
        s.len -= sizeof if_exists - 1;
    }
    return operator_find(s);
}

static enum bm_err
operator_compile(const struct place_of *at, const struct operator_row *row, struct condition *c)
{
    if (row == NULL)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition: the operator \"%.80s\" is not known here; there are "
            "StringEquals, StringLike, Bool, IpAddress, Null, Numeric..., Date..., written so",
            at->statement, at->member);
    if (row->test == TEST_NULL && (c->if_exists || c->quantifier != QUANTIFIER_NONE))
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition: \"%.80s\": Null itself asks whether a key has values; write "
            "Null",
            at->statement, at->member);
    c->test = row->test;
    c->negated = row->negated;
    c->date = row->date;
    c->ignore_case = row->ignore_case;
    return BM_OK;
}

static enum bm_err
key_compile(const struct place_of *at, const char *key, struct condition *c)
{
    enum bm_err err = variable_find(at, span_str(key), true, &c->key);

    if (err != BM_OK)
        return err;
    if (c->key == VAR_END)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition, %s: the key \"%.80s\" is not known here; there are "
            "iot:ClientId, iot:CertificateId, iot:ConnectAttributes, iot:Certificate..., "
            "iot:Connection.Thing..., aws:SourceIp, aws:CurrentTime and aws:EpochTime",
            at->statement, at->member, key);
    if (c->test == TEST_IP && c->key != VAR_SOURCE_IP)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition, %s: \"%.80s\" is no address; aws:SourceIp is", at->statement,
            at->member, key);
    if (c->date && c->key != VAR_CURRENT_TIME && c->key != VAR_EPOCH_TIME)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition, %s: \"%.80s\" is no time; aws:CurrentTime is", at->statement,
            at->member, key);
    return BM_OK;
}

static enum bm_err
condition_compile(const struct place_of *at, const char *key, const json_t *v, struct condition *c)
{
    const struct operator_row *row = operator_read(at->member, c);
    size_t count = json_is_array(v) ? json_array_size(v) : 1;
    enum bm_err err = operator_compile(at, row, c);

    if (err == BM_OK)
        err = key_compile(at, key, c);
    if (err != BM_OK)
        return err;
    c->operands = calloc(count + 1, sizeof *c->operands);
    if (c->operands == NULL)
        return bm_fail(at->msg, BM_ERR_MEM, "out of memory");
    for (; err == BM_OK && c->count < count; c->count++)
        err = operand_compile(
            at, row, json_is_array(v) ? json_array_get(v, c->count) : v, &c->operands[c->count]);
    return err;
}

static size_t
condition_count(json_t *v)
{
    const char *name;
    json_t *keys;
    size_t n = 0;

    json_object_foreach(v, name, keys) n += json_object_size(keys);
    return n;
}

enum bm_err
conditions_compile(struct place_of *at, void *member, struct statement *out)
{
    json_t *v = member;
    const char *name;
    const char *key;
    json_t *keys;
    json_t *value;
    enum bm_err err = BM_OK;

    if (v == NULL)
        return BM_OK;
    if (!json_is_object(v))
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, Condition: want an object like {\"StringEquals\": {\"KEY\": "
            "\"VALUE\"}}",
            at->statement);
    out->conditions = calloc(condition_count(v) + 1, sizeof *out->conditions);
    if (out->conditions == NULL)
        return bm_fail(at->msg, BM_ERR_MEM, "out of memory");
    json_object_foreach(v, name, keys)
    {
        at->member = name;
        if (!json_is_object(keys) || json_object_size(keys) == 0)
            return bm_fail(at->msg, BM_ERR_INPUT,
                "statement %zu, Condition, %.80s: want an object of keys with their values",
                at->statement, name);
        json_object_foreach(keys, key, value)
        {
            err = condition_compile(at, key, value, &out->conditions[out->condition_count++]);
            if (err != BM_OK)
                return err;
        }
    }
    return BM_OK;
}

void
conditions_free(struct statement *s)
{
    for (size_t i = 0; i < s->condition_count; i++) {
        struct condition *c = &s->conditions[i];

        for (size_t k = 0; c->test == TEST_STRING && k < c->count; k++)
            free(c->operands[k].pattern.units);
        free(c->operands);
    }
    free(s->conditions);
}

/* ---- deciding ---- */

static bool
in_net(struct span value, const union operand *o)
{
    union operand asked;
    unsigned whole = o->net.bits / 8;
    unsigned rest = o->net.bits % 8;
    uint8_t mask = (uint8_t)(0xff00U >> rest);

    if (!net_of(value, &asked) || memcmp(asked.net.address, o->net.address, whole) != 0)
        return false;
    return rest == 0 || ((asked.net.address[whole] ^ o->net.address[whole]) & mask) == 0;
}

static bool
number_passes(enum test t, struct span value, double limit)
{
    double n;

    if (!number_of(value, &n))
        return false;
    if (t == TEST_LESS)
        return n < limit;
    if (t == TEST_LESS_EQUAL)
        return n <= limit;
    if (t == TEST_GREATER)
        return n > limit;
    if (t == TEST_GREATER_EQUAL)
        return n >= limit;
    return !(n < limit) && !(n > limit);
}

static bool
operand_matches(
    const struct condition *c, const union operand *o, struct span value, const struct asked *q)
{
    struct text t = { value, span_of(NULL, 0) };
    bool truth;

    switch (c->test) {
    case TEST_STRING:
        return pattern_matches(&o->pattern, &t, q, c->ignore_case);
    case TEST_BOOL:
    case TEST_NULL:
        return truth_of(value, &truth) && truth == o->truth;
    case TEST_IP:
        return in_net(value, o);
    case TEST_EQUAL:
    case TEST_LESS:
    case TEST_LESS_EQUAL:
    case TEST_GREATER:
    case TEST_GREATER_EQUAL:
        return number_passes(c->test, value, o->number);
    }
    return false;
}

static bool
one_matches(const struct condition *c, struct span value, const struct asked *q)
{
    for (size_t i = 0; i < c->count; i++) {
        if (operand_matches(c, &c->operands[i], value, q))
            return true;
    }
    return false;
}

static bool
null_holds(const struct condition *c, bool absent, const struct asked *q)
{
    return one_matches(c, span_str(absent ? "true" : "false"), q);
}

static bool
holds(const struct condition *c, const struct asked *q)
{
    struct values v;
    size_t matching = 0;

    variable_values(c->key, q, &v);
    if (c->test == TEST_NULL)
        return null_holds(c, v.count == 0, q);
    if (v.count == 0)
        return c->if_exists || c->quantifier == QUANTIFIER_ALL ||
               (c->negated && c->quantifier == QUANTIFIER_NONE);
    for (size_t i = 0; i < v.count; i++)
        matching += one_matches(c, v.v[i], q) ? 1 : 0;
    if (c->quantifier == QUANTIFIER_ALL)
        return matching == (c->negated ? 0 : v.count);
    if (c->quantifier == QUANTIFIER_ANY && c->negated)
        return matching < v.count;
    return (matching > 0) != c->negated;
}

bool
conditions_hold(const struct statement *s, const struct asked *q)
{
    for (size_t i = 0; i < s->condition_count; i++) {
        if (!holds(&s->conditions[i], q))
            return false;
    }
    return true;
}
