/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, ARNs and the resource policy of a function. SPEC aws-iot 5.4, 5.5.
 *
 * A statement counts only when all of it is understood: an unknown condition, key or effect makes
 * it grant nothing, because guessing would open what its author wanted closed.
 */
#include "lambda/inside.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 64, ARN_PARTS = 6 };

static const char *const name_chars =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* What follows `prefix`, or NULL. */
static const char *
after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(text, prefix, len) == 0 ? &text[len] : NULL;
}

/* What follows `count` parts that end in ':', or NULL when there are fewer. */
static const char *
skip_parts(const char *text, int count)
{
    while (text != NULL && count-- > 0) {
        text = strchr(text, ':');
        if (text != NULL)
            text = &text[1];
    }
    return text;
}

/* "NAME[:QUALIFIER]" within any of the forms, or NULL. */
static const char *
bare_name(const char *name_or_arn)
{
    const char *rest = after(name_or_arn, "arn:aws:lambda:");

    if (rest != NULL)
        rest = skip_parts(rest, 2); /* REGION:ACCOUNT: */
    else if (strspn(name_or_arn, "0123456789") == 12 && name_or_arn[12] == ':')
        rest = &name_or_arn[13];
    else
        return strncmp(name_or_arn, "function:", 9) == 0 ? &name_or_arn[9] : name_or_arn;
    return rest != NULL ? after(rest, "function:") : NULL;
}

bool
lambda_name_of(const char *name_or_arn, char out[REGISTRY_NAME_MAX + 1])
{
    const char *name = bare_name(name_or_arn);
    size_t len = name != NULL ? strspn(name, name_chars) : 0;

    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    if (name[len] != '\0' && strcmp(&name[len], ":$LATEST") != 0)
        return false;
    (void)snprintf(out, REGISTRY_NAME_MAX + 1, "%.*s", (int)len, name);
    return true;
}

void
function_arn(const struct lambda *l, const char *name, struct buf *out)
{
    buf_addf(out, "arn:aws:lambda:%s:%s:function:%s", l->options.region, l->options.account, name);
}

/* ---- ARN patterns ---- */

/* `*` any text, `?` any character. */
static bool
glob(struct span pattern, struct span text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX;
    size_t mark = 0;

    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

/* The next part of an ARN; the last of the six keeps its colons. */
static struct span
next_part(const char **arn, int n)
{
    size_t len = n + 1 < ARN_PARTS ? strcspn(*arn, ":") : strlen(*arn);
    struct span part = span_of(*arn, len);

    *arn = &(*arn)[len];
    if (**arn == ':')
        *arn = &(*arn)[1];
    return part;
}

/* ArnLike: each of the six parts for itself, so that a `*` does not cross a colon. */
static bool
arn_like(const char *pattern, const char *arn)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    for (int n = 0; n < ARN_PARTS; n++) {
        if (!glob(next_part(&pattern, n), next_part(&arn, n)))
            return false;
    }
    return true;
}

/* ---- statements ---- */

struct ask {
    const char *principal;
    const char *source_arn;
    const char *account;
};

typedef bool (*value_fn)(const char *wanted, const char *value);

static bool
text_equal(const char *wanted, const char *value)
{
    return strcmp(wanted, value) == 0;
}

/* A text or a list of them, of which one must match. */
static bool
any_matches(const json_t *wanted, const char *value, value_fn matches)
{
    if (json_is_string(wanted))
        return matches(json_string_value(wanted), value);
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const char *one = json_string_value(json_array_get(wanted, i));

        if (one != NULL && matches(one, value))
            return true;
    }
    return false;
}

static bool
condition_holds(const char *name, json_t *pairs, const struct ask *ask)
{
    value_fn matches = strcmp(name, "ArnLike") == 0 || strcmp(name, "ArnEquals") == 0 ? arn_like
                       : strcmp(name, "StringEquals") == 0                            ? text_equal
                                                                                      : NULL;
    const char *key;
    json_t *wanted;

    if (matches == NULL)
        return false;
    json_object_foreach(pairs, key, wanted)
    {
        const char *value = strcasecmp(key, "aws:SourceArn") == 0       ? ask->source_arn
                            : strcasecmp(key, "aws:SourceAccount") == 0 ? ask->account
                                                                        : NULL;

        if (value == NULL || !any_matches(wanted, value, matches))
            return false;
    }
    return true;
}

static bool
principal_is(const json_t *principal, const char *wanted)
{
    if (json_is_object(principal))
        return any_matches(json_object_get(principal, "Service"), wanted, text_equal);
    return json_is_string(principal) && (strcmp(json_string_value(principal), "*") == 0 ||
                                            strcmp(json_string_value(principal), wanted) == 0);
}

static bool
action_is_invoke(const char *wanted, const char *value)
{
    return strcasecmp(wanted, value) == 0 || strcasecmp(wanted, "lambda:*") == 0 ||
           strcmp(wanted, "*") == 0;
}

static bool
statement_allows(const json_t *s, const struct ask *ask)
{
    const char *effect = json_string_value(json_object_get(s, "Effect"));
    json_t *conditions = json_object_get(s, "Condition");
    const char *name;
    json_t *pairs;

    if (effect == NULL || strcmp(effect, "Allow") != 0 ||
        !any_matches(json_object_get(s, "Action"), "lambda:InvokeFunction", action_is_invoke) ||
        !principal_is(json_object_get(s, "Principal"), ask->principal))
        return false;
    json_object_foreach(conditions, name, pairs)
    {
        if (!condition_holds(name, pairs, ask))
            return false;
    }
    return true;
}

enum bm_err
lambda_permitted(struct lambda *l, const char *name, const char *principal, const char *source_arn,
    const char *account, struct bm_msg *msg)
{
    struct registry_function f = { 0 };
    struct ask ask = { principal, source_arn, account };
    enum bm_err err = registry_function_get(l->options.registry, name, &f, msg);
    json_t *statements;
    bool allowed = false;

    if (err == BM_ERR_NOT_FOUND)
        return bm_fail(
            msg, err, "function %s does not exist; aws lambda create-function makes it", name);
    if (err != BM_OK)
        return err;
    statements = json_loadb((const char *)f.permissions.ptr, f.permissions.len, 0, NULL);
    for (size_t i = 0; i < json_array_size(statements) && !allowed; i++)
        allowed = statement_allows(json_array_get(statements, i), &ask);
    json_decref(statements);
    registry_function_fini(&f);
    if (allowed)
        return BM_OK;
    return bm_fail(msg, BM_ERR_DENIED,
        "no permission; allow it: aws lambda add-permission --function-name %s --statement-id iot "
        "--action lambda:InvokeFunction --principal %s --source-arn %s",
        name, principal, source_arn);
}
