/* SPDX-License-Identifier: Apache-2.0 */
/* See profile.h. */
#include "aws/profile.h"

#include <string.h>

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct span
trim(struct span s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = span_of(s.ptr + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool
next_line(struct span *text, struct span *line)
{
    const uint8_t *end;

    if (text->len == 0)
        return false;
    end = memchr(text->ptr, '\n', text->len);
    line->ptr = text->ptr;
    line->len = end != NULL ? (size_t)(end - text->ptr) : text->len;
    *text = end != NULL ? span_of(end + 1, text->len - line->len - 1) : span_of(NULL, 0);
    return true;
}

/* "[NAME]" or "[profile NAME]"; false: no header. */
static bool
section(struct span line, struct span *name)
{
    static const char word[] = "profile";
    const uint8_t *end;

    line = trim(line);
    if (line.len < 2 || line.ptr[0] != '[')
        return false;
    end = memchr(line.ptr, ']', line.len);
    if (end == NULL)
        return false;
    *name = trim(span_of(line.ptr + 1, (size_t)(end - line.ptr) - 1));
    if (name->len > sizeof word - 1 && memcmp(name->ptr, word, sizeof word - 1) == 0 &&
        is_blank(name->ptr[sizeof word - 1]))
        *name = trim(span_of(name->ptr + sizeof word - 1, name->len - (sizeof word - 1)));
    return true;
}

bool
profile_has(struct span text, const char *profile)
{
    struct span line;
    struct span name;

    while (next_line(&text, &line)) {
        if (section(line, &name) && span_eq(name, span_str(profile)))
            return true;
    }
    return false;
}

bool
profile_get(struct span text, const char *profile, const char *key, char *out, size_t cap)
{
    bool inside = false;
    struct span line;
    struct span name;

    out[0] = '\0';
    while (next_line(&text, &line)) {
        const uint8_t *eq;
        struct span value;

        if (section(line, &name)) {
            inside = span_eq(name, span_str(profile));
            continue;
        }
        if (!inside || line.len == 0 || is_blank(line.ptr[0]) || line.ptr[0] == '#' ||
            line.ptr[0] == ';')
            continue;
        eq = memchr(line.ptr, '=', line.len);
        if (eq == NULL || !span_eq(trim(span_of(line.ptr, (size_t)(eq - line.ptr))), span_str(key)))
            continue;
        value = trim(span_of(eq + 1, line.len - (size_t)(eq - line.ptr) - 1));
        out[0] = '\0';
        if (value.len < cap && (value.len == 0 || memchr(value.ptr, 0, value.len) == NULL)) {
            if (value.len > 0)
                memcpy(out, value.ptr, value.len);
            out[value.len] = '\0';
        }
    }
    return out[0] != '\0';
}
