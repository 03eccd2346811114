/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of numbers (developer guide, iot-sql-functions). */
#include "sql/inside.h"

#include <math.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* Functions of one number with a Decimal as result. */
#define DECIMAL_OF(name, expression)                                                               \
    static json_t *fn_##name(struct run *r, json_t **args, size_t count)                           \
    {                                                                                              \
        double x;                                                                                  \
                                                                                                   \
        (void)r;                                                                                   \
        (void)count;                                                                               \
        return value_decimal(args[0], &x) ? value_number(expression) : NULL;                       \
    }
DECIMAL_OF(acos, acos(x))
DECIMAL_OF(asin, asin(x))
DECIMAL_OF(atan, atan(x))
DECIMAL_OF(cos, cos(x))
DECIMAL_OF(cosh, cosh(x))
DECIMAL_OF(exp, exp(x))
DECIMAL_OF(ln, log(x))
DECIMAL_OF(log, log10(x))
DECIMAL_OF(sin, sin(x))
DECIMAL_OF(sinh, sinh(x))
DECIMAL_OF(sqrt, sqrt(x))
DECIMAL_OF(tan, tan(x))
DECIMAL_OF(tanh, tanh(x))

/* Functions of two numbers with a Decimal as result. */
static json_t *
decimal_of_two(json_t **args, double (*f)(double, double))
{
    double x;
    double y;

    return value_decimal(args[0], &x) && value_decimal(args[1], &y) ? value_number(f(x, y)) : NULL;
}

static json_t *
fn_atan2(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return decimal_of_two(args, atan2);
}

static json_t *
fn_power(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return decimal_of_two(args, pow);
}

static json_t *
fn_mod(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    if (json_is_integer(args[0]) && json_is_integer(args[1])) {
        json_int_t y = json_integer_value(args[1]);

        return y == 0 ? NULL : json_integer(y == -1 ? 0 : json_integer_value(args[0]) % y);
    }
    return decimal_of_two(args, fmod);
}

static json_t *
fn_abs(struct run *r, json_t **args, size_t count)
{
    double x;

    (void)r;
    (void)count;
    if (json_is_integer(args[0]) && json_integer_value(args[0]) != INT64_MIN)
        return json_integer(llabs(json_integer_value(args[0])));
    return value_decimal(args[0], &x) ? value_number(fabs(x)) : NULL;
}

/* A Decimal beyond 64 bits stays one: it is whole already. */
static json_t *
whole(json_t *v, double (*rounding)(double))
{
    double x;

    if (json_is_integer(v))
        return json_integer(json_integer_value(v));
    if (!value_decimal(v, &x))
        return NULL;
    x = rounding(x);
    return fabs(x) < 9.2e18 ? json_integer((json_int_t)x) : value_number(x);
}

static json_t *
fn_ceil(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return whole(args[0], ceil);
}

static json_t *
fn_floor(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return whole(args[0], floor);
}

static json_t *
fn_round(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return whole(args[0], round);
}

static json_t *
fn_sign(struct run *r, json_t **args, size_t count)
{
    double x;

    (void)r;
    (void)count;
    return value_decimal(args[0], &x) ? json_integer((x > 0) - (x < 0)) : NULL;
}

static json_t *
fn_rand(struct run *r, json_t **args, size_t count)
{
    uint64_t bits;

    (void)args;
    (void)count;
    if (RAND_bytes((uint8_t *)&bits, sizeof bits) != 1)
        return run_fail(r, BM_ERR_INTERNAL, "no random numbers");
    return json_real((double)(bits >> 11) * 0x1p-53);
}

/* On the digits, because 0.29 * 100 is 28.999999999999996. */
static json_t *
fn_trunc(struct run *r, json_t **args, size_t count)
{
    char text[400];
    char *dot;
    json_int_t places;
    double x;

    (void)r;
    (void)count;
    if (json_is_integer(args[0]))
        return json_integer(json_integer_value(args[0]));
    if (!value_decimal(args[0], &x) || json_is_string(args[1]) || !value_int_down(args[1], &places))
        return NULL;
    places = places < 0 ? 0 : places > 34 ? 34 : places;
    double_text(x, text);
    if (strchr(text, 'e') != NULL)
        (void)snprintf(text, sizeof text, "%.40f", x);
    dot = strchr(text, '.');
    if (dot != NULL && strlen(dot) > (size_t)places + 1)
        dot[places + (places > 0)] = '\0';
    x = strtod(text, NULL);
    return x == floor(x) && fabs(x) < 9.2e18 ? json_integer((json_int_t)x) : value_number(x);
}

static json_t *
bits_of_two(json_t **args, char op)
{
    json_int_t x;
    json_int_t y;

    if (!value_int_down(args[0], &x) || !value_int_down(args[1], &y))
        return NULL;
    return json_integer(op == '&' ? x & y : op == '|' ? x | y : x ^ y);
}

static json_t *
fn_bitand(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return bits_of_two(args, '&');
}

static json_t *
fn_bitor(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return bits_of_two(args, '|');
}

static json_t *
fn_bitxor(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return bits_of_two(args, '^');
}

/* The documented bitnot(13) = 2 inverts the bits from the highest one that is set down. */
static json_t *
fn_bitnot(struct run *r, json_t **args, size_t count)
{
    json_int_t x;
    uint64_t mask = 1;

    (void)r;
    (void)count;
    if (!value_int_down(args[0], &x))
        return NULL;
    if (x < 0)
        return json_integer(~x);
    while (mask < (uint64_t)x)
        mask = mask << 1 | 1;
    return json_integer((json_int_t)(~(uint64_t)x & mask));
}

static json_t *
fn_nanvl(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return json_incref(args[0] == NULL || json_is_null(args[0]) ? args[1] : args[0]);
}

const struct function number_functions[] = {
    { .name = "abs", .min = 1, .max = 1, .run = fn_abs },
    { .name = "acos", .min = 1, .max = 1, .run = fn_acos },
    { .name = "asin", .min = 1, .max = 1, .run = fn_asin },
    { .name = "atan", .min = 1, .max = 1, .run = fn_atan },
    { .name = "atan2", .min = 2, .max = 2, .run = fn_atan2 },
    { .name = "bitand", .min = 2, .max = 2, .run = fn_bitand },
    { .name = "bitnot", .min = 1, .max = 1, .run = fn_bitnot },
    { .name = "bitor", .min = 2, .max = 2, .run = fn_bitor },
    { .name = "bitxor", .min = 2, .max = 2, .run = fn_bitxor },
    { .name = "ceil", .min = 1, .max = 1, .run = fn_ceil },
    { .name = "cos", .min = 1, .max = 1, .run = fn_cos },
    { .name = "cosh", .min = 1, .max = 1, .run = fn_cosh },
    { .name = "exp", .min = 1, .max = 1, .run = fn_exp },
    { .name = "floor", .min = 1, .max = 1, .run = fn_floor },
    { .name = "ln", .min = 1, .max = 1, .run = fn_ln },
    { .name = "log", .min = 1, .max = 1, .run = fn_log },
    { .name = "mod", .min = 2, .max = 2, .run = fn_mod },
    { .name = "nanvl", .min = 2, .max = 2, .run = fn_nanvl },
    { .name = "power", .min = 2, .max = 2, .run = fn_power },
    { .name = "rand", .run = fn_rand },
    { .name = "remainder", .min = 2, .max = 2, .run = fn_mod },
    { .name = "round", .min = 1, .max = 1, .run = fn_round },
    { .name = "sign", .min = 1, .max = 1, .run = fn_sign },
    { .name = "sin", .min = 1, .max = 1, .run = fn_sin },
    { .name = "sinh", .min = 1, .max = 1, .run = fn_sinh },
    { .name = "sqrt", .min = 1, .max = 1, .run = fn_sqrt },
    { .name = "tan", .min = 1, .max = 1, .run = fn_tan },
    { .name = "tanh", .min = 1, .max = 1, .run = fn_tanh },
    { .name = "trunc", .min = 2, .max = 2, .run = fn_trunc },
    { 0 },
};
