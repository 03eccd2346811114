/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard conversions between types, equality, and the JSON text of a value.
 * Developer guide, iot-sql-data-types.
 */
#include "sql/inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

json_t *
value_number(double d)
{
    return isfinite(d) ? json_real(d) : NULL;
}

/* ^-?\d+(\.\d+)?((?i)E-?\d+)?$ */
static bool
is_decimal_text(const char *s)
{
    s += *s == '-';
    if (strspn(s, "0123456789") == 0)
        return false;
    s += strspn(s, "0123456789");
    if (*s == '.') {
        if (strspn(s + 1, "0123456789") == 0)
            return false;
        s += 1 + strspn(s + 1, "0123456789");
    }
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-');
        if (strspn(s, "0123456789") == 0)
            return false;
        s += strspn(s, "0123456789");
    }
    return *s == '\0';
}

bool
value_decimal(json_t *v, double *out)
{
    if (json_is_string(v)) {
        const char *s = json_string_value(v);

        if (strlen(s) != json_string_length(v) || !is_decimal_text(s))
            return false;
        *out = strtod(s, NULL);
        return true;
    }
    *out = json_number_value(v);
    return json_is_number(v);
}

/* Beyond the range of our Int: the nearest one, as the documented clamping of indices wants. */
static json_int_t
to_int(double d)
{
    if (d >= 9223372036854775807.0)
        return INT64_MAX;
    return d <= -9223372036854775808.0 ? INT64_MIN : (json_int_t)d;
}

static bool
convert_int(json_t *v, double (*rounding)(double), json_int_t *out)
{
    double d;

    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!value_decimal(v, &d))
        return false;
    *out = to_int(rounding(d));
    return true;
}

bool
value_int(json_t *v, json_int_t *out)
{
    return convert_int(v, json_is_string(v) ? trunc : round, out);
}

bool
value_int_down(json_t *v, json_int_t *out)
{
    return convert_int(v, floor, out);
}

bool
value_boolean(json_t *v, bool *out)
{
    const char *s = json_string_value(v);

    if (s != NULL) {
        *out = strcasecmp(s, "true") == 0;
        return *out || strcasecmp(s, "false") == 0;
    }
    *out = json_is_true(v);
    return json_is_boolean(v);
}

void
double_text(double d, char out[DOUBLE_TEXT_MAX])
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, DOUBLE_TEXT_MAX, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            return;
    }
}

/* A whole Decimal is an Int from 2016-03-23 on, and keeps its ".0" before. */
static void
write_real(double d, enum sql_version version, struct buf *out)
{
    char text[DOUBLE_TEXT_MAX];

    double_text(d, text);
    buf_addf(
        out, "%s%s", text, strpbrk(text, ".e") == NULL && version == SQL_2015_10_08 ? ".0" : "");
}

static int
add_bytes(const char *bytes, size_t len, void *out)
{
    buf_add(out, bytes, len);
    return 0;
}

static void
write_text(const char *text, size_t len, struct buf *out)
{
    json_t *s = json_stringn_nocheck(text, len);

    if (s == NULL || json_dump_callback(s, add_bytes, out, JSON_ENCODE_ANY) != 0)
        out->failed = true;
    json_decref(s);
}

/* jansson's own writer has one precision for all numbers; this one writes each as short as it is */
static void
write_value(json_t *v, enum sql_version version, struct buf *out)
{
    const char *key;
    json_t *member;
    size_t i;

    if (out->len > SQL_RESULT_MAX)
        return;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        buf_add(out, "{", 1);
        i = 0;
        json_object_foreach(v, key, member)
        {
            if (i++ > 0)
                buf_add(out, ",", 1);
            write_text(key, strlen(key), out);
            buf_add(out, ":", 1);
            write_value(member, version, out);
        }
        buf_add(out, "}", 1);
        break;
    case JSON_ARRAY:
        buf_add(out, "[", 1);
        json_array_foreach(v, i, member)
        {
            if (i > 0)
                buf_add(out, ",", 1);
            write_value(member, version, out);
        }
        buf_add(out, "]", 1);
        break;
    case JSON_STRING:
        write_text(json_string_value(v), json_string_length(v), out);
        break;
    case JSON_INTEGER:
        buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        write_real(json_real_value(v), version, out);
        break;
    case JSON_TRUE:
        buf_addf(out, "true");
        break;
    case JSON_FALSE:
        buf_addf(out, "false");
        break;
    case JSON_NULL:
        buf_addf(out, "null");
        break;
    }
}

bool
value_write(json_t *v, enum sql_version version, struct buf *out)
{
    size_t before = out->len;

    if (v != NULL)
        write_value(v, version, out);
    return !out->failed && out->len - before <= SQL_RESULT_MAX;
}

bool
value_text(json_t *v, enum sql_version version, struct buf *out)
{
    if (v == NULL || json_is_null(v))
        return false;
    if (!json_is_string(v))
        return value_write(v, version, out);
    buf_add(out, json_string_value(v), json_string_length(v));
    return !out->failed;
}

static bool
equal_objects(json_t *a, json_t *b)
{
    const char *key;
    json_t *member;

    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach(a, key, member)
    {
        if (!value_equal(member, json_object_get(b, key)))
            return false;
    }
    return true;
}

static bool
equal_arrays(json_t *a, json_t *b)
{
    size_t i;
    json_t *element;

    if (json_array_size(a) != json_array_size(b))
        return false;
    json_array_foreach(a, i, element)
    {
        if (!value_equal(element, json_array_get(b, i)))
            return false;
    }
    return true;
}

bool
value_equal(json_t *a, json_t *b)
{
    if (json_is_real(a) || json_is_real(b))
        return json_is_number(a) && json_is_number(b) &&
               json_number_value(a) == json_number_value(b);
    if (a == NULL || b == NULL || json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_object(a))
        return equal_objects(a, b);
    return json_is_array(a) ? equal_arrays(a, b) : json_equal(a, b) != 0;
}
