/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of text, codes and hashes (developer guide, iot-sql-functions). Positions count code
 * points of UTF-8.
 */
#include "sql/inside.h"

#include <locale.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>
#include <wctype.h>

size_t
text_at(struct span s, json_int_t index)
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
        size_t start = text_at(t.s[0], from);
        size_t end = text_at(t.s[0], to);

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

const struct function text_functions[] = {
    { .name = "chr", .min = 1, .max = 1, .run = fn_chr },
    { .name = "concat", .max = ARGS_ANY, .run = fn_concat },
    { .name = "decode", .min = 2, .max = 2, .since = SQL_2016_03_23, .run = fn_decode },
    { .name = "encode",
        .min = 2,
        .max = 2,
        .since = SQL_2016_03_23,
        .raw = true,
        .run = fn_encode },
    { .name = "endswith", .min = 2, .max = 2, .run = fn_endswith },
    { .name = "indexof", .min = 2, .max = 2, .since = SQL_2016_03_23, .run = fn_indexof },
    { .name = "length", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_length },
    { .name = "lower", .min = 1, .max = 1, .run = fn_lower },
    { .name = "lpad", .min = 2, .max = 2, .run = fn_lpad },
    { .name = "ltrim", .min = 1, .max = 1, .run = fn_ltrim },
    { .name = "md5", .min = 1, .max = 1, .run = fn_md5 },
    { .name = "numbytes", .min = 1, .max = 1, .since = SQL_2016_03_23, .run = fn_numbytes },
    { .name = "regexp_matches", .min = 2, .max = 2, .run = sql_regexp_matches },
    { .name = "regexp_replace", .min = 3, .max = 3, .run = sql_regexp_replace },
    { .name = "regexp_substr", .min = 2, .max = 2, .run = sql_regexp_substr },
    { .name = "replace", .min = 3, .max = 3, .run = fn_replace },
    { .name = "rpad", .min = 2, .max = 2, .run = fn_rpad },
    { .name = "rtrim", .min = 1, .max = 1, .run = fn_rtrim },
    { .name = "sha1", .min = 1, .max = 1, .run = fn_sha1 },
    { .name = "sha224", .min = 1, .max = 1, .run = fn_sha224 },
    { .name = "sha256", .min = 1, .max = 1, .run = fn_sha256 },
    { .name = "sha384", .min = 1, .max = 1, .run = fn_sha384 },
    { .name = "sha512", .min = 1, .max = 1, .run = fn_sha512 },
    { .name = "startswith", .min = 2, .max = 2, .run = fn_startswith },
    { .name = "substring", .min = 2, .max = 3, .run = fn_substring },
    { .name = "trim", .min = 1, .max = 1, .run = fn_trim },
    { .name = "upper", .min = 1, .max = 1, .run = fn_upper },
    { 0 },
};
