/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the words of a command: options in fixed order, each followed by its value. SPEC
 * a71ch 8.2.
 */
#include "config/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
opt_ahead(const struct args *a, const char *name)
{
    return a->next < a->count && strcmp(a->words[a->next], name) == 0;
}

enum code
opt_text(struct args *a, const char *name, const char **out)
{
    if (a->next >= a->count) {
        fprintf(stderr, "the option %s is missing; see 'help'\n", name);
        return CODE_ARG_COUNT;
    }
    if (!opt_ahead(a, name)) {
        printf("Argument %s not expected\n", a->words[a->next]);
        fprintf(stderr, "'%s' stands where %s must come; options have a fixed order\n",
            a->words[a->next], name);
        return CODE_ARG_OPTION;
    }
    if (a->next + 1 >= a->count) {
        fprintf(stderr, "the option %s has no value\n", name);
        return CODE_ARG_COUNT;
    }
    *out = a->words[a->next + 1];
    a->next += 2;
    return CODE_OK;
}

enum code
opt_number(struct args *a, const char *name, unsigned min, unsigned max, unsigned *out)
{
    const char *text;
    char *end;
    long value;
    enum code code = opt_text(a, name, &text);

    if (code != CODE_OK)
        return code;
    errno = 0;
    value = strtol(text, &end, 10); /* digits in front count, what follows is ignored */
    if (end == text) {
        printf("%s %s: %s is not an integer\n", name, text, text);
        return CODE_ARG_VALUE;
    }
    if (errno != 0 || value < (long)min || value > (long)max) {
        fprintf(stderr, "%s %s is not in the range of %u to %u\n", name, text, min, max);
        return CODE_ARG_RANGE;
    }
    *out = (unsigned)value;
    return CODE_OK;
}

enum code
opt_index(struct args *a, unsigned *out)
{
    return opt_number(a, "-x", 0, 255, out);
}

enum code
opt_hex(struct args *a, const char *name, size_t min, size_t max, uint8_t *out, size_t *len)
{
    const char *text;
    size_t digits;
    enum code code = opt_text(a, name, &text);

    if (code != CODE_OK)
        return code;
    digits = strlen(text);
    if (digits % 2 != 0 || digits < 2 * min || digits > 2 * max) {
        printf("Argument: %s\nNumber of characters: %zu\nValid range: [%zu:%zu]\n", name, digits,
            2 * min, 2 * max);
        return CODE_ARG_VALUE;
    }
    if (hex_decode(out, digits / 2, span_str(text)) != BM_OK) {
        fprintf(
            stderr, "the value of %s is not hexadecimal; write digits only, without 0x\n", name);
        return CODE_ARG_VALUE;
    }
    *len = digits / 2;
    return CODE_OK;
}

enum code
opt_class(struct args *a, unsigned *out)
{
    uint8_t class_id;
    size_t len;
    enum code code = opt_hex(a, "-c", 1, 1, &class_id, &len);

    if (code == CODE_OK)
        *out = class_id;
    return code;
}

enum code
opt_offset(struct args *a, unsigned *out)
{
    uint8_t bytes[2];
    size_t len;
    struct rd r = rd_of(SPAN(bytes));
    enum code code = opt_hex(a, "-h", sizeof bytes, sizeof bytes, bytes, &len);

    if (code == CODE_OK)
        *out = rd_u16(&r);
    return code;
}
