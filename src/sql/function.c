/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of the SQL and their table (developer guide, iot-sql-functions). Arguments are
 * borrowed; what cannot be converted makes the result Undefined.
 */
#include "sql/inside.h"

#include <locale.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wctype.h>

/* ---- the message ---- */

static json_t *
fn_topic(struct run *r, json_t **args, size_t count)
{
    struct span topic = r->m->topic;
    const uint8_t *end = topic.ptr + topic.len;
    const uint8_t *from = topic.ptr;
    json_int_t n;

    if (count == 0)
        return run_text(r, topic.ptr, topic.len);
    if (!value_int_down(args[0], &n) || n < 1)
        return NULL;
    for (; n > 1; n--) {
        const uint8_t *slash = memchr(from, '/', (size_t)(end - from));

        if (slash == NULL)
            return NULL;
        from = slash + 1;
    }
    topic.ptr = memchr(from, '/', (size_t)(end - from));
    return run_text(r, from, (size_t)((topic.ptr != NULL ? topic.ptr : end) - from));
}

static json_t *
optional_text(struct run *r, const char *text)
{
    return text != NULL ? run_text(r, text, strlen(text)) : NULL;
}

static json_t *
fn_clientid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return r->m->client_id.len > 0 ? run_text(r, r->m->client_id.ptr, r->m->client_id.len)
                                   : json_string("n/a");
}

static json_t *
fn_principal(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->principal);
}

static json_t *
fn_accountid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->account);
}

static json_t *
fn_traceid(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return optional_text(r, r->m->trace_id);
}

static json_t *
fn_timestamp(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return json_integer(r->m->now_ms);
}

static json_t *
fn_sql_version(struct run *r, json_t **args, size_t count)
{
    (void)args;
    (void)count;
    return json_string(r->version == SQL_2015_10_08   ? "2015-10-08"
                       : r->version == SQL_2016_03_23 ? "2016-03-23"
                                                      : "beta");
}

/* Version 4 of RFC 9562. */
static json_t *
fn_newuuid(struct run *r, json_t **args, size_t count)
{
    uint8_t b[16];
    char hex[33];
    char text[40];

    (void)args;
    (void)count;
    if (RAND_bytes(b, sizeof b) != 1)
        return run_fail(r, BM_ERR_INTERNAL, "no random numbers");
    b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    hex_encode(hex, b, sizeof b);
    (void)snprintf(
        text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return json_string(text);
}

/* The n-th call of this evaluation has the n-th answer; see sql_message. */
static json_t *
fn_aws_lambda(struct run *r, json_t **args, size_t count)
{
    struct sql_message *m = r->m;
    struct sql_call *call = &m->calls[r->calls];

    (void)count;
    if (r->calls < m->call_count && call->answer != NULL) {
        r->calls++;
        return json_incref(call->answer);
    }
    if (!json_is_string(args[0]) || args[1] == NULL)
        return NULL;
    if (r->calls == SQL_CALLS_MAX)
        return run_fail(r, BM_ERR_LIMIT, "aws_lambda() is called more than 8 times");
    if (r->calls == m->call_count) {
        call->input = json_pack("[OO]", args[0], args[1]);
        call->answer = NULL;
        if (call->input == NULL)
            return run_fail(r, BM_ERR_MEM, "out of memory");
        call->arn = json_string_value(args[0]);
        m->call_count++;
    }
    return run_fail(r, BM_ERR_MORE, "aws_lambda() has no answer yet");
}

/* ---- numbers ---- */

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

/* ---- text ---- */

/* Where character `index` of UTF-8 text begins; its length for an index behind the end. */
static size_t
at_character(struct span s, json_int_t index)
{
    size_t at = 0;

    for (; index > 0 && at < s.len; index--) {
        at++;
        while (at < s.len && (s.ptr[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

static json_int_t
characters(struct span s)
{
    json_int_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += (s.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* The texts of up to three arguments; false: one has none. */
struct texts {
    struct buf b[3];
    struct span s[3];
};

static bool
texts_of(struct run *r, json_t **args, size_t count, struct texts *t)
{
    *t = (struct texts){ 0 };
    for (size_t i = 0; i < count; i++) {
        if (!value_text(args[i], r->version, &t->b[i]))
            return false;
        t->s[i] = t->b[i].len > 0 ? buf_span(&t->b[i]) : span_str("");
    }
    return true;
}

static void
texts_end(struct texts *t)
{
    for (size_t i = 0; i < 3; i++)
        buf_fini(&t->b[i]);
}

/* Functions of texts: `expression` sees t.s[0..count-1]. */
#define OF_TEXTS(name, number, expression)                                                         \
    static json_t *fn_##name(struct run *r, json_t **args, size_t count)                           \
    {                                                                                              \
        struct texts t;                                                                            \
        json_t *v = NULL;                                                                          \
                                                                                                   \
        (void)count;                                                                               \
        if (texts_of(r, args, number, &t))                                                         \
            v = (expression);                                                                      \
        texts_end(&t);                                                                             \
        return v;                                                                                  \
    }

static bool
has_prefix(struct span s, struct span prefix)
{
    return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static struct span
tail(struct span s, size_t len)
{
    return span_of(s.ptr + (s.len > len ? s.len - len : 0), s.len > len ? len : s.len);
}

static json_t *
index_of(struct span s, struct span what)
{
    const uint8_t *at = memmem(s.ptr, s.len, what.ptr, what.len);

    return json_integer(at != NULL ? characters(span_of(s.ptr, (size_t)(at - s.ptr))) : -1);
}

static json_t *
trimmed(struct run *r, struct span s, bool left, bool right)
{
    while (left && s.len > 0 && memchr(" \t\r\n", s.ptr[0], 4) != NULL)
        s = span_of(s.ptr + 1, s.len - 1);
    while (right && s.len > 0 && memchr(" \t\r\n", s.ptr[s.len - 1], 4) != NULL)
        s.len--;
    return run_text(r, s.ptr, s.len);
}

/* One code point of valid UTF-8; *at moves behind it. */
static uint32_t
code_point(struct span s, size_t *at)
{
    uint8_t c = s.ptr[(*at)++];
    uint32_t p = c < 0x80 ? c : c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c & 0x07;

    while (*at < s.len && (s.ptr[*at] & 0xc0) == 0x80)
        p = p << 6 | (s.ptr[(*at)++] & 0x3f);
    return p;
}

static void
add_code_point(struct buf *out, uint32_t p)
{
    uint8_t b[4];
    size_t len = p < 0x80 ? 1 : p < 0x800 ? 2 : p < 0x10000 ? 3 : 4;

    for (size_t i = len; i-- > 1; p >>= 6)
        b[i] = (uint8_t)(0x80 | (p & 0x3f));
    b[0] = (uint8_t)(len == 1 ? p : (0xf00u >> len & 0xff) | p);
    buf_add(out, b, len);
}

/* By Unicode's simple mappings, whatever the locale of the process. */
static json_t *
cased(struct run *r, struct span s, bool upper)
{
    static locale_t unicode;
    struct buf out = { 0 };
    json_t *v;

    if (unicode == NULL)
        unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
    for (size_t at = 0; at < s.len;) {
        wint_t p = code_point(s, &at);

        if (unicode != NULL)
            p = upper ? towupper_l(p, unicode) : towlower_l(p, unicode);
        add_code_point(&out, p);
    }
    v = out.failed ? run_fail(r, BM_ERR_MEM, "out of memory") : run_text(r, out.ptr, out.len);
    buf_fini(&out);
    return v;
}

static json_t *
replaced(struct run *r, struct span s, struct span what, struct span with)
{
    struct buf out = { 0 };
    json_t *v = NULL;
    const uint8_t *at;

    while (what.len > 0 && out.len <= SQL_RESULT_MAX &&
           (at = memmem(s.ptr, s.len, what.ptr, what.len)) != NULL) {
        size_t before = (size_t)(at - s.ptr);

        buf_add(&out, s.ptr, before);
        buf_add(&out, with.ptr, with.len);
        s = span_of(at + what.len, s.len - before - what.len);
    }
    buf_add(&out, s.ptr, s.len);
    if (!out.failed)
        v = run_text(r, out.ptr, out.len);
    buf_fini(&out);
    return v;
}

OF_TEXTS(endswith, 2, json_boolean(span_eq(tail(t.s[0], t.s[1].len), t.s[1])))
OF_TEXTS(startswith, 2, json_boolean(has_prefix(t.s[0], t.s[1])))
OF_TEXTS(indexof, 2, index_of(t.s[0], t.s[1]))
OF_TEXTS(length, 1, json_integer(characters(t.s[0])))
OF_TEXTS(numbytes, 1, json_integer((json_int_t)t.s[0].len))
OF_TEXTS(lower, 1, cased(r, t.s[0], false))
OF_TEXTS(upper, 1, cased(r, t.s[0], true))
OF_TEXTS(trim, 1, trimmed(r, t.s[0], true, true))
OF_TEXTS(ltrim, 1, trimmed(r, t.s[0], true, false))
OF_TEXTS(rtrim, 1, trimmed(r, t.s[0], false, true))
OF_TEXTS(replace, 3, replaced(r, t.s[0], t.s[1], t.s[2]))

static json_t *
padded(struct run *r, json_t **args, bool left)
{
    struct texts t;
    struct buf out = { 0 };
    json_t *v = NULL;
    json_int_t n;

    if (texts_of(r, args, 1, &t) && value_int_down(args[1], &n)) {
        n = n < 0 ? 0 : n > 1000 ? 1000 : n;
        if (left)
            buf_addf(&out, "%*s", (int)n, "");
        buf_add(&out, t.s[0].ptr, t.s[0].len);
        if (!left)
            buf_addf(&out, "%*s", (int)n, "");
        v = run_text(r, out.len > 0 ? (const void *)out.ptr : "", out.len);
    }
    texts_end(&t);
    buf_fini(&out);
    return v;
}

static json_t *
fn_lpad(struct run *r, json_t **args, size_t count)
{
    (void)count;
    return padded(r, args, true);
}

static json_t *
fn_rpad(struct run *r, json_t **args, size_t count)
{
    (void)count;
    return padded(r, args, false);
}

static json_t *
fn_substring(struct run *r, json_t **args, size_t count)
{
    struct texts t;
    json_t *v = NULL;
    json_int_t from;
    json_int_t to = INT64_MAX;

    if (texts_of(r, args, 1, &t) && value_int_down(args[1], &from) &&
        (count == 2 || value_int_down(args[2], &to))) {
        size_t start = at_character(t.s[0], from);
        size_t end = at_character(t.s[0], to);

        v = run_text(r, t.s[0].ptr + start, end > start ? end - start : 0);
    }
    texts_end(&t);
    return v;
}

static json_t *
fn_chr(struct run *r, json_t **args, size_t count)
{
    json_int_t n;
    char c;

    (void)count;
    if (!value_int_down(args[0], &n) || n < 0 || n > 127)
        return NULL;
    c = (char)n;
    return run_text(r, &c, 1);
}

static json_t *
concat_arrays(struct run *r, json_t **args, size_t count)
{
    json_t *all = json_array();

    for (size_t i = 0; i < count; i++) {
        if (json_is_array(args[i])) {
            if (run_step(r, (unsigned)json_array_size(args[i])))
                (void)json_array_extend(all, args[i]);
        } else if (args[i] != NULL) {
            (void)json_array_append(all, args[i]);
        }
    }
    return all;
}

static json_t *
fn_concat(struct run *r, json_t **args, size_t count)
{
    struct buf text = { 0 };
    json_t *v = NULL;
    bool some = count > 0;
    size_t texts = 0;

    if (count == 1)
        return json_incref(args[0]);
    for (size_t i = 0; i < count; i++) {
        if (json_is_array(args[i]))
            return concat_arrays(r, args, count);
        texts += json_is_string(args[i]);
    }
    for (size_t i = 0; i < count && some; i++)
        some = value_text(args[i], r->version, &text);
    if (some && texts > 0)
        v = run_text(r, text.ptr, text.len);
    buf_fini(&text);
    return v;
}

/* ---- codes and hashes ---- */

static bool
is_base64(json_t *scheme)
{
    return json_is_string(scheme) && strcasecmp(json_string_value(scheme), "base64") == 0;
}

static json_t *
fn_encode(struct run *r, json_t **args, size_t count)
{
    struct texts t = { 0 };
    struct buf out = { 0 };
    json_t *v = NULL;

    (void)count;
    if (is_base64(args[1]) && texts_of(r, args, 1, &t) && base64_encode(&out, t.s[0]) == BM_OK)
        v = run_text(r, out.len > 0 ? (const void *)out.ptr : "", out.len);
    texts_end(&t);
    buf_fini(&out);
    return v;
}

/* The JSON that it is, else the text; Null when it is neither. */
static json_t *
fn_decode(struct run *r, json_t **args, size_t count)
{
    struct texts t = { 0 };
    struct buf out = { 0 };
    json_t *v = NULL;

    (void)count;
    if (!is_base64(args[1]) || !texts_of(r, args, 1, &t)) {
        texts_end(&t);
        return NULL;
    }
    if (base64_decode(&out, t.s[0]) == BM_OK && out.len > 0) {
        v = json_loadb((const char *)out.ptr, out.len, 0, NULL);
        if (v == NULL)
            v = run_text(r, out.ptr, out.len);
    }
    texts_end(&t);
    buf_fini(&out);
    return v != NULL ? v : json_null();
}

static json_t *
hashed(struct run *r, struct span s, const EVP_MD *md)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len;

    if (EVP_Digest(s.ptr, s.len, digest, &len, md, NULL) != 1)
        return run_fail(r, BM_ERR_INTERNAL, "the hash could not be computed");
    hex_encode(hex, digest, len);
    return run_text(r, hex, (size_t)2 * len);
}
OF_TEXTS(md5, 1, hashed(r, t.s[0], EVP_md5()))
OF_TEXTS(sha1, 1, hashed(r, t.s[0], EVP_sha1()))
OF_TEXTS(sha224, 1, hashed(r, t.s[0], EVP_sha224()))
OF_TEXTS(sha256, 1, hashed(r, t.s[0], EVP_sha256()))
OF_TEXTS(sha384, 1, hashed(r, t.s[0], EVP_sha384()))
OF_TEXTS(sha512, 1, hashed(r, t.s[0], EVP_sha512()))

/* ---- structure ---- */

static json_t *
fn_get(struct run *r, json_t **args, size_t count)
{
    struct span s = span_of(json_string_value(args[0]), json_string_length(args[0]));
    json_int_t n;
    size_t at;

    (void)count;
    if (json_is_object(args[0]))
        return json_incref(json_object_get(args[0], json_string_value(args[1])));
    if (!value_int(args[1], &n) || n < 0)
        return NULL;
    if (json_is_array(args[0]))
        return json_incref(json_array_get(args[0], (size_t)n));
    at = json_is_string(args[0]) ? at_character(s, n) : 0;
    return at < s.len ? run_text(r, s.ptr + at, at_character(s, n + 1) - at) : NULL;
}

static json_t *
fn_isnull(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return json_boolean(json_is_null(args[0]));
}

static json_t *
fn_isundefined(struct run *r, json_t **args, size_t count)
{
    (void)r;
    (void)count;
    return json_boolean(args[0] == NULL);
}

static json_t *
fn_transform(struct run *r, json_t **args, size_t count)
{
    json_t *result;
    json_t *element;
    size_t i;

    (void)count;
    if (!json_is_string(args[0]) || strcmp(json_string_value(args[0]), "enrichArray") != 0 ||
        !json_is_object(args[1]) || !json_is_array(args[2]))
        return NULL;
    result = json_array();
    json_array_foreach(args[2], i, element)
    {
        json_t *copy = json_is_object(element) ? json_copy(element) : NULL;

        if (copy == NULL || !run_step(r, (unsigned)(1 + json_object_size(args[1]))) ||
            json_object_update(copy, args[1]) != 0 || json_array_append_new(result, copy) != 0) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

/* ---- the table ---- */

static const struct function functions[] = {
    { .name = "abs", .min = 1, .max = 1, .run = fn_abs },
    { .name = "accountid", .run = fn_accountid },
    { .name = "acos", .min = 1, .max = 1, .run = fn_acos },
    { .name = "asin", .min = 1, .max = 1, .run = fn_asin },
    { .name = "atan", .min = 1, .max = 1, .run = fn_atan },
    { .name = "atan2", .min = 2, .max = 2, .run = fn_atan2 },
    { .name = "aws_lambda", .min = 2, .max = 2, .raw = true, .run = fn_aws_lambda },
    { .name = "bitand", .min = 2, .max = 2, .run = fn_bitand },
    { .name = "bitnot", .min = 1, .max = 1, .run = fn_bitnot },
    { .name = "bitor", .min = 2, .max = 2, .run = fn_bitor },
    { .name = "bitxor", .min = 2, .max = 2, .run = fn_bitxor },
    { .name = "ceil", .min = 1, .max = 1, .run = fn_ceil },
    { .name = "chr", .min = 1, .max = 1, .run = fn_chr },
    { .name = "clientid", .run = fn_clientid },
    { .name = "concat", .max = ARGS_ANY, .run = fn_concat },
    { .name = "cos", .min = 1, .max = 1, .run = fn_cos },
    { .name = "cosh", .min = 1, .max = 1, .run = fn_cosh },
    { .name = "decode", .min = 2, .max = 2, .since = SQL_2016_03_23, .run = fn_decode },
    { .name = "encode",
        .min = 2,
        .max = 2,
        .since = SQL_2016_03_23,
        .raw = true,
        .run = fn_encode },
    { .name = "endswith", .min = 2, .max = 2, .run = fn_endswith },
    { .name = "exp", .min = 1, .max = 1, .run = fn_exp },
    { .name = "floor", .min = 1, .max = 1, .run = fn_floor },
    { .name = "get", .min = 2, .max = 2, .run = fn_get },
    { .name = "get_dynamodb", .missing = "there is no DynamoDB" },
    { .name = "get_mqtt_property", .missing = "MQTT 5 properties do not reach the rules" },
    { .name = "get_secret", .missing = "there is no Secrets Manager" },
    { .name = "get_thing_shadow", .missing = "there are no shadows" },
    { .name = "indexof", .min = 2, .max = 2, .since = SQL_2016_03_23, .run = fn_indexof },
    { .name = "isNull", .min = 1, .max = 1, .run = fn_isnull },
    { .name = "isUndefined", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_isundefined },
    { .name = "length", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_length },
    { .name = "ln", .min = 1, .max = 1, .run = fn_ln },
    { .name = "log", .min = 1, .max = 1, .run = fn_log },
    { .name = "lower", .min = 1, .max = 1, .run = fn_lower },
    { .name = "lpad", .min = 2, .max = 2, .run = fn_lpad },
    { .name = "ltrim", .min = 1, .max = 1, .run = fn_ltrim },
    { .name = "machinelearning_predict", .missing = "there is no Machine Learning" },
    { .name = "md2", .missing = "OpenSSL has no MD2 any more; md5() and sha256() are there" },
    { .name = "md5", .min = 1, .max = 1, .run = fn_md5 },
    { .name = "mod", .min = 2, .max = 2, .run = fn_mod },
    { .name = "nanvl", .min = 2, .max = 2, .run = fn_nanvl },
    { .name = "newuuid", .run = fn_newuuid },
    { .name = "numbytes", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_numbytes },
    { .name = "parse_time", .min = 2, .max = 3, .since = SQL_2016_03_23, .run = sql_parse_time },
    { .name = "power", .min = 2, .max = 2, .run = fn_power },
    { .name = "principal", .run = fn_principal },
    { .name = "rand", .run = fn_rand },
    { .name = "regexp_matches", .min = 2, .max = 2, .run = sql_regexp_matches },
    { .name = "regexp_replace", .min = 3, .max = 3, .run = sql_regexp_replace },
    { .name = "regexp_substr", .min = 2, .max = 2, .run = sql_regexp_substr },
    { .name = "remainder", .min = 2, .max = 2, .run = fn_mod },
    { .name = "replace", .min = 3, .max = 3, .run = fn_replace },
    { .name = "round", .min = 1, .max = 1, .run = fn_round },
    { .name = "rpad", .min = 2, .max = 2, .run = fn_rpad },
    { .name = "rtrim", .min = 1, .max = 1, .run = fn_rtrim },
    { .name = "sha1", .min = 1, .max = 1, .run = fn_sha1 },
    { .name = "sha224", .min = 1, .max = 1, .run = fn_sha224 },
    { .name = "sha256", .min = 1, .max = 1, .run = fn_sha256 },
    { .name = "sha384", .min = 1, .max = 1, .run = fn_sha384 },
    { .name = "sha512", .min = 1, .max = 1, .run = fn_sha512 },
    { .name = "sign", .min = 1, .max = 1, .run = fn_sign },
    { .name = "sin", .min = 1, .max = 1, .run = fn_sin },
    { .name = "sinh", .min = 1, .max = 1, .run = fn_sinh },
    { .name = "sql_version", .run = fn_sql_version },
    { .name = "sqrt", .min = 1, .max = 1, .run = fn_sqrt },
    { .name = "startswith", .min = 2, .max = 2, .run = fn_startswith },
    { .name = "substring", .min = 2, .max = 3, .run = fn_substring },
    { .name = "tan", .min = 1, .max = 1, .run = fn_tan },
    { .name = "tanh", .min = 1, .max = 1, .run = fn_tanh },
    { .name = "time_to_epoch",
        .min = 2,
        .max = 2,
        .since = SQL_2016_03_23,
        .run = sql_time_to_epoch },
    { .name = "timestamp", .run = fn_timestamp },
    { .name = "topic", .max = 1, .run = fn_topic },
    { .name = "traceid", .run = fn_traceid },
    { .name = "transform", .min = 3, .max = 3, .since = SQL_2016_03_23, .run = fn_transform },
    { .name = "trim", .min = 1, .max = 1, .run = fn_trim },
    { .name = "trunc", .min = 2, .max = 2, .run = fn_trunc },
    { .name = "upper", .min = 1, .max = 1, .run = fn_upper },
};

const struct function *
function_find(struct span name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct function *f = &functions[i];

        if (strlen(f->name) == name.len &&
            strncasecmp(f->name, (const char *)name.ptr, name.len) == 0)
            return f;
    }
    return NULL;
}
