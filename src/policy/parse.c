/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy document into its compiled form. SPEC aws-iot 7.1 to 7.3.
 *
 * Whatever cannot be decided rightly is refused here: a statement with a Condition that was ignored
 * would allow too much.
 */
#include "policy/compiled.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { RAW_MAX = 404600 }; /* SPEC aws-iot 1.3.3: with white space, as the model allows */

/* SPEC aws-iot 7.1: the limit counts characters that are no white space. */
static size_t
characters_without_space(struct span text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && (c & 0xc0) != 0x80)
            n++;
    }
    return n;
}

static bool
starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static enum bm_err
compile_resource(const struct place_of *at, const char *text, struct pattern *out)
{
    if (text[0] != '*' && !starts_with(text, "arn:"))
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, %s: \"%.80s\" is no ARN; write "
            "arn:aws:iot:REGION:ACCOUNT:topic/NAME (client/, topic/, topicfilter/) or *",
            at->statement, at->member, text);
    return pattern_compile(at, text, true, out);
}

/* A member that is a string or an array of strings: how many, 0 when it is neither or empty. */
static size_t
string_count(const json_t *v)
{
    size_t n = json_array_size(v);

    if (json_is_string(v))
        return 1;
    for (size_t i = 0; i < n; i++) {
        if (!json_is_string(json_array_get(v, i)))
            return 0;
    }
    return n;
}

static const char *
string_at(const json_t *v, size_t i)
{
    return json_string_value(json_is_string(v) ? v : json_array_get(v, i));
}

static enum bm_err
need_strings(const struct place_of *at, const json_t *v, size_t *count)
{
    *count = string_count(v);
    if (v == NULL)
        return bm_fail(
            at->msg, BM_ERR_INPUT, "statement %zu has no %s; add one", at->statement, at->member);
    if (*count == 0)
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu, %s: want a string or a non-empty array of strings", at->statement,
            at->member);
    return BM_OK;
}

/* SPEC aws-iot 7.2. Actions that no MQTT packet asks for are legal and set no bit. */
static enum bm_err
compile_actions(struct place_of *at, const json_t *v, uint8_t *out)
{
    size_t count;
    enum bm_err err;

    err = need_strings(at, v, &count);
    for (size_t i = 0; err == BM_OK && i < count; i++) {
        const char *text = string_at(v, i);
        const char *colon = strchr(text, ':');

        if (strcmp(text, "*") != 0 && (colon == NULL || colon == text || colon[1] == '\0'))
            return bm_fail(at->msg, BM_ERR_INPUT,
                "statement %zu, %s: \"%.80s\" is no action; write iot:Connect, iot:Publish, "
                "iot:Subscribe, iot:Receive, iot:RetainPublish, iot:* or *",
                at->statement, at->member, text);
        for (unsigned a = 0; a < ACTION_COUNT; a++) {
            if (policy_action_matches(text, policy_action_name((enum policy_action)a)))
                *out = (uint8_t)(*out | 1U << a);
        }
    }
    return err;
}

static enum bm_err
compile_resources(struct place_of *at, const json_t *v, struct statement *s)
{
    size_t count;
    enum bm_err err;

    err = need_strings(at, v, &count);
    if (err != BM_OK)
        return err;
    s->patterns = calloc(count, sizeof *s->patterns);
    if (s->patterns == NULL)
        return bm_fail(at->msg, BM_ERR_MEM, "out of memory");
    for (; err == BM_OK && s->count < count; s->count++)
        err = compile_resource(at, string_at(v, s->count), &s->patterns[s->count]);
    return err;
}

static bool
one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0)
            return true;
    }
    return false;
}

static enum bm_err
check_members(const struct place_of *at, json_t *statement)
{
    static const char *const known[] = { "Sid", "Effect", "Action", "NotAction", "Resource",
        "NotResource", "Condition", NULL };
    const char *name;
    json_t *value;

    json_object_foreach(statement, name, value)
    {
        if (!one_of(name, known))
            return bm_fail(at->msg, BM_ERR_INPUT,
                "statement %zu: unknown member \"%.80s\"; members are Sid, Effect, Action or "
                "NotAction, Resource or NotResource, Condition, written so",
                at->statement, name);
    }
    return BM_OK;
}

/* Which of the two members is there; both is an error, none names the first. */
static enum bm_err
choose(struct place_of *at, json_t *statement, const char *plain, const char *negated, bool *is_not)
{
    *is_not = json_object_get(statement, negated) != NULL;
    at->member = *is_not ? negated : plain;
    if (*is_not && json_object_get(statement, plain) != NULL)
        return bm_fail(at->msg, BM_ERR_INPUT, "statement %zu has both %s and %s; remove one",
            at->statement, plain, negated);
    return BM_OK;
}

static enum bm_err
compile_members(struct place_of *at, json_t *v, struct statement *out)
{
    bool not_action;
    enum bm_err err = choose(at, v, "Action", "NotAction", &not_action);

    if (err == BM_OK)
        err = compile_actions(at, json_object_get(v, at->member), &out->actions);
    if (err != BM_OK)
        return err;
    if (not_action)
        out->actions = (uint8_t)(~out->actions & ((1U << ACTION_COUNT) - 1));
    err = choose(at, v, "Resource", "NotResource", &out->not_resource);
    if (err == BM_OK)
        err = compile_resources(at, json_object_get(v, at->member), out);
    return err == BM_OK ? conditions_compile(at, json_object_get(v, "Condition"), out) : err;
}

static enum bm_err
compile_statement(struct place_of *at, json_t *v, struct statement *out)
{
    const char *effect = json_string_value(json_object_get(v, "Effect"));
    json_t *sid = json_object_get(v, "Sid");
    enum bm_err err;

    if (!json_is_object(v))
        return bm_fail(at->msg, BM_ERR_INPUT, "statement %zu is no object", at->statement);
    err = check_members(at, v);
    if (err != BM_OK)
        return err;
    if (sid != NULL && !json_is_string(sid))
        return bm_fail(at->msg, BM_ERR_INPUT, "statement %zu: Sid is no string", at->statement);
    if (effect == NULL || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
        return bm_fail(at->msg, BM_ERR_INPUT,
            "statement %zu: Effect must be \"Allow\" or \"Deny\", written so", at->statement);
    out->deny = strcmp(effect, "Deny") == 0;
    return compile_members(at, v, out);
}

static enum bm_err
check_top(json_t *doc, struct bm_msg *msg)
{
    static const char *const known[] = { "Version", "Id", "Statement", NULL };
    const char *version = json_string_value(json_object_get(doc, "Version"));
    const char *name;
    json_t *value;

    if (!json_is_object(doc))
        return bm_fail(msg, BM_ERR_INPUT, "the policy document is no JSON object");
    json_object_foreach(doc, name, value)
    {
        if (!one_of(name, known))
            return bm_fail(msg, BM_ERR_INPUT,
                "unknown member \"%.80s\" of the policy document; members are Version and "
                "Statement",
                name);
    }
    if (version == NULL || strcmp(version, "2012-10-17") != 0)
        return bm_fail(msg, BM_ERR_INPUT, "Version must be \"2012-10-17\"");
    return BM_OK;
}

static enum bm_err
compile_document(json_t *doc, struct policy *out, struct bm_msg *msg)
{
    json_t *v = json_object_get(doc, "Statement");
    size_t count = json_is_object(v) ? 1 : json_array_size(v);
    enum bm_err err = check_top(doc, msg);

    if (err != BM_OK)
        return err;
    if (count == 0)
        return bm_fail(msg, BM_ERR_INPUT, "Statement must be an object or a non-empty array");
    out->statements = calloc(count, sizeof *out->statements);
    if (out->statements == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    for (; err == BM_OK && out->count < count; out->count++) {
        struct place_of at = {
            .statement = out->count + 1, .member = "", .policy = out, .msg = msg
        };

        err = compile_statement(&at, json_is_object(v) ? v : json_array_get(v, out->count),
            &out->statements[out->count]);
    }
    return err;
}

enum bm_err
policy_parse(struct span document, struct policy **out, struct bm_msg *msg)
{
    size_t size = characters_without_space(document);
    struct policy *p = NULL;
    json_t *doc = NULL;
    json_error_t why;
    enum bm_err err;

    if (document.len > RAW_MAX || size > POLICY_DOCUMENT_MAX)
        return bm_fail(msg, BM_ERR_INPUT,
            "the policy document has %zu characters without white space; at most %d are allowed",
            size, POLICY_DOCUMENT_MAX);
    doc = json_loadb((const char *)document.ptr, document.len, JSON_REJECT_DUPLICATES, &why);
    if (doc == NULL)
        return bm_fail(msg, BM_ERR_INPUT,
            "the policy document is no JSON: %s in line %d, column %d", why.text, why.line,
            why.column);
    p = calloc(1, sizeof *p);
    err = p != NULL ? compile_document(doc, p, msg) : bm_fail(msg, BM_ERR_MEM, "out of memory");
    json_decref(doc);
    if (err != BM_OK) {
        policy_free(p);
        return err;
    }
    *out = p;
    return BM_OK;
}
