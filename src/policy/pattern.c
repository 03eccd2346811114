/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns: compiled from the text of a resource or of a condition's value, and matched. SPEC
 * aws-iot 7.3.
 *
 * Matching remembers only the last star: when a later part fails, the star takes one byte more.
 * An earlier star never needs another try, because the last one can take whatever it could; so
 * the work is at most pattern times text, for `*a*a*a*` too.
 */
#include "policy/compiled.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- compiling ---- */

/* The `${name}` at text[0]: its length with braces, 0 when there is none. */
static size_t
reference_len(const char *text)
{
    const char *end = text[0] == '$' && text[1] == '{' ? strchr(text, '}') : NULL;

    return end != NULL ? (size_t)(end - text) + 1 : 0;
}

/* Appends the reference of `len` characters when it is an escape or a variable: else *taken false.
 */
static enum bm_err
add_reference(
    const struct place_of *at, const char *text, size_t len, struct pattern *out, bool *taken)
{
    uint16_t variable = VAR_END;
    enum bm_err err = BM_OK;

    *taken = len == 4 && strchr("*?$", text[2]) != NULL;
    if (*taken) {
        out->units[out->len++] = (uint8_t)text[2];
        return BM_OK;
    }
    if (len > 3)
        err = variable_find(at, span_of(&text[2], len - 3), false, &variable);
    *taken = err == BM_OK && variable_stands(variable);
    if (!*taken)
        return err;
    out->units[out->len++] = (uint16_t)(UNIT_VARIABLE + variable);
    out->units[out->len++] = (uint16_t)len;
    for (size_t i = 0; i < len; i++)
        out->units[out->len++] = (uint8_t)text[i];
    return BM_OK;
}

enum bm_err
pattern_compile(const struct place_of *at, const char *text, bool wildcards, struct pattern *out)
{
    size_t len = strlen(text);

    out->units = calloc(2 * len + 1, sizeof *out->units); /* a variable has 4 characters or more */
    if (out->units == NULL)
        return bm_fail(at->msg, BM_ERR_MEM, "out of memory");
    for (size_t i = 0; i < len;) {
        size_t reference = reference_len(&text[i]);
        uint8_t c = (uint8_t)text[i];
        bool taken = false;
        enum bm_err err =
            reference > 0 ? add_reference(at, &text[i], reference, out, &taken) : BM_OK;

        if (err != BM_OK)
            return err;
        if (taken) {
            i += reference;
            continue;
        }
        out->units[out->len++] = wildcards && c == '*'   ? UNIT_STAR
                                 : wildcards && c == '?' ? UNIT_ONE
                                                         : c;
        i++;
    }
    return BM_OK;
}

/* ---- matching ---- */

static size_t
text_len(const struct text *t)
{
    return t->head.len + t->tail.len;
}

static uint8_t
text_at(const struct text *t, size_t i)
{
    return i < t->head.len ? t->head.ptr[i] : t->tail.ptr[i - t->head.len];
}

/* A place in a pattern: a unit and, inside a variable, its value and a byte of it. */
struct place {
    size_t unit;
    size_t byte;
    struct span value;
};

enum { PATTERN_END = -1 };

/*
 * What stands at `at`: a byte, UNIT_STAR, UNIT_ONE or PATTERN_END. Steps past the end of values,
 * and into the text of a variable without one.
 */
static int
pattern_peek(const struct pattern *p, struct place *at, const struct asked *q)
{
    while (at->unit < p->len) {
        uint16_t unit = p->units[at->unit];

        if (unit < UNIT_VARIABLE)
            return unit;
        if (at->byte == 0)
            at->value = variable_value((uint16_t)(unit - UNIT_VARIABLE), q);
        if (at->value.ptr != NULL && at->byte < at->value.len)
            return at->value.ptr[at->byte];
        at->unit += at->value.ptr != NULL ? 2U + p->units[at->unit + 1] : 2U;
        at->byte = 0;
    }
    return PATTERN_END;
}

static void
pattern_step(const struct pattern *p, struct place *at)
{
    if (p->units[at->unit] < UNIT_VARIABLE)
        at->unit++;
    else
        at->byte++;
}

/* The index after the UTF-8 character at i. */
static size_t
next_character(const struct text *t, size_t i)
{
    do
        i++;
    while (i < text_len(t) && (text_at(t, i) & 0xc0) == 0x80);
    return i;
}

static bool
same_byte(int unit, uint8_t c, bool ignore_case)
{
    return unit == c ||
           (ignore_case && unit >= 0 && unit < UNIT_STAR && tolower(unit) == tolower(c));
}

bool
pattern_matches(
    const struct pattern *p, const struct text *t, const struct asked *q, bool ignore_case)
{
    struct place at = { 0 };
    struct place after_star = { 0 };
    size_t i = 0;
    size_t star_end = 0; /* the star has taken the text up to here */
    bool have_star = false;
    size_t len = text_len(t);

    for (;;) {
        int unit = pattern_peek(p, &at, q);

        if (unit == UNIT_STAR) {
            pattern_step(p, &at);
            after_star = at;
            star_end = i;
            have_star = true;
        } else if (unit == PATTERN_END && i == len) {
            return true;
        } else if (i < len && unit == UNIT_ONE) {
            pattern_step(p, &at);
            i = next_character(t, i);
        } else if (i < len && same_byte(unit, text_at(t, i), ignore_case)) {
            pattern_step(p, &at);
            i++;
        } else if (have_star && star_end < len) {
            at = after_star;
            i = ++star_end;
        } else {
            return false;
        }
    }
}
