/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sigv4.h. The order of the checks: is the Authorization header whole, is the key ours, is the
 * date near, is the body the one that was hashed, and only then the signature.
 */
#include "api/sigv4.h"

#include "base/clock.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { HASH_LEN = 32, HASH_TEXT = 65, DATE_LEN = 8, STAMP_LEN = 16, FIELDS_MAX = 8 };

/* The Authorization header, or what stands for it in the query, taken apart; all borrowed from it.
 */
struct claim {
    bool in_query;
    char decoded[3][1024]; /* in_query: credential, signed headers, date */
    int64_t expires_s;     /* in_query */
    struct span access_key;
    struct span date; /* yyyymmdd */
    struct span region;
    struct span service;
    struct span signed_headers;
    struct span names[SIGV4_SIGNED_MAX];
    size_t name_count;
    struct span signature; /* 64 hex */
    const char *stamp;     /* X-Amz-Date */
};

static void fail(struct sigv4_result *out, enum sigv4_verdict verdict, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
fail(struct sigv4_result *out, enum sigv4_verdict verdict, const char *fmt, ...)
{
    va_list ap;

    out->verdict = verdict;
    va_start(ap, fmt);
    (void)vsnprintf(out->message.text, sizeof out->message.text, fmt, ap);
    va_end(ap);
}

/* ---- text ---- */

/* Split at `stop` into at most `max` parts; more than that: max + 1 is returned. */
static size_t
split(struct span text, char stop, struct span *parts, size_t max)
{
    struct rd r = rd_of(text);
    size_t count = 0;

    for (;;) {
        struct rd start = r;
        size_t len = 0;
        bool more = false;

        while (rd_left(&r) > 0) {
            more = rd_u8(&r) == (uint8_t)stop;
            if (more)
                break;
            len++;
        }
        if (count == max)
            return max + 1;
        parts[count++] = rd_span(&start, len);
        if (!more)
            return count;
    }
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct span
trim(struct span text)
{
    struct rd r = rd_of(text);
    size_t len = 0;

    while (rd_left(&r) > 0) {
        struct rd next = r;

        if (!is_blank(rd_u8(&next)))
            break;
        r = next;
    }
    for (size_t i = 0; i < rd_left(&r); i++) {
        struct rd at = r;

        (void)rd_span(&at, i);
        if (!is_blank(rd_u8(&at)))
            len = i + 1;
    }
    return rd_span(&r, len);
}

static bool
all_in(struct span text, const char *set)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == 0 || strchr(set, text.ptr[i]) == NULL)
            return false;
    }
    return true;
}

/* A word of a credential scope. */
static bool
copy_word(struct span text, char *out, size_t cap)
{
    if (text.len == 0 || text.len >= cap ||
        !all_in(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"))
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

/* ---- headers ---- */

static bool
name_is(const char *name, struct span wanted)
{
    return strlen(name) == wanted.len &&
           strncasecmp(name, (const char *)wanted.ptr, wanted.len) == 0;
}

/* The value of a header that is there exactly once, or NULL; *count tells how often it is there. */
static const char *
header(const struct sigv4_request *rq, struct span name, size_t *count)
{
    const char *value = NULL;

    *count = 0;
    for (size_t i = 0; i < rq->header_count; i++) {
        if (!name_is(rq->headers[i].name, name))
            continue;
        ++*count;
        value = rq->headers[i].value;
    }
    return *count == 1 ? value : NULL;
}

/* ---- the Authorization header ---- */

static bool
read_credential(struct span text, struct claim *c, struct sigv4_result *out)
{
    struct span part[5];

    if (split(text, '/', part, 5) != 5 || part[1].len != DATE_LEN ||
        !all_in(part[1], "0123456789") || !span_eq(part[4], span_str("aws4_request")) ||
        !copy_word(part[0], out->access_key, sizeof out->access_key) ||
        !copy_word(part[2], out->region, sizeof out->region) ||
        !copy_word(part[3], out->service, sizeof out->service)) {
        fail(out, SIGV4_INCOMPLETE,
            "Credential is '%.*s'; want ACCESS_KEY/YYYYMMDD/REGION/SERVICE/aws4_request.",
            (int)(text.len < 200 ? text.len : 200), (const char *)text.ptr);
        return false;
    }
    c->access_key = part[0];
    c->date = part[1];
    c->region = part[2];
    c->service = part[3];
    return true;
}

static bool
service_is_known(struct span name)
{
    static const char *const services[] = { "execute-api", "iot", "iotdata", "lambda" };

    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (span_eq(name, span_str(services[i])))
            return true;
    }
    return false;
}

/* `name=value` of one field of the header. */
static bool
take_field(struct span field, struct span found[3])
{
    static const char *const names[] = { "Credential", "SignedHeaders", "Signature" };
    struct rd r = rd_of(trim(field));

    for (size_t i = 0; i < 3; i++) {
        struct rd at = r;
        struct span name = rd_span(&at, strlen(names[i]));

        if (at.failed || !span_eq(name, span_str(names[i])) || rd_left(&at) == 0 ||
            rd_u8(&at) != '=')
            continue;
        if (found[i].ptr != NULL)
            return false; /* twice */
        found[i] = rd_rest(&at);
        return true;
    }
    return false;
}

static bool
read_fields(struct span text, struct span found[3])
{
    static const char algorithm[] = "AWS4-HMAC-SHA256";
    struct span part[4];
    struct rd r = rd_of(trim(text));
    struct span head = rd_span(&r, sizeof algorithm - 1);
    size_t count;

    if (r.failed || !span_eq(head, span_str(algorithm)) || rd_left(&r) == 0 || rd_u8(&r) != ' ')
        return false;
    count = split(rd_rest(&r), ',', part, 3);
    if (count != 3)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!take_field(part[i], found))
            return false;
    }
    return true;
}

static bool
listed(const struct claim *c, const char *name)
{
    for (size_t i = 0; i < c->name_count; i++) {
        if (span_eq(c->names[i], span_str(name)))
            return true;
    }
    return false;
}

static bool
read_signed_headers(
    const struct sigv4_request *rq, struct span text, struct claim *c, struct sigv4_result *out)
{
    c->signed_headers = text;
    c->name_count = split(text, ';', c->names, SIGV4_SIGNED_MAX);
    if (c->name_count > SIGV4_SIGNED_MAX) {
        fail(out, SIGV4_INCOMPLETE, "More than %d headers are signed.", SIGV4_SIGNED_MAX);
        return false;
    }
    for (size_t i = 0; i < c->name_count; i++) {
        struct span name = c->names[i];
        size_t count;

        if (header(rq, name, &count) == NULL ||
            !all_in(name, "abcdefghijklmnopqrstuvwxyz0123456789-")) {
            fail(out, SIGV4_INCOMPLETE,
                "SignedHeaders names '%.*s', which the request has %zu times; each signed header "
                "is named in lower case and there exactly once.",
                (int)(name.len < 100 ? name.len : 100), (const char *)name.ptr, count);
            return false;
        }
    }
    if (!listed(c, "host") || (!c->in_query && !listed(c, "x-amz-date"))) {
        fail(out, SIGV4_INCOMPLETE, "%s must be signed; SignedHeaders is '%.*s'.",
            c->in_query ? "'host'" : "'host' and 'x-amz-date'",
            (int)(text.len < 200 ? text.len : 200), (const char *)text.ptr);
        return false;
    }
    return true;
}

static bool
read_signature(struct span text, struct claim *c, struct sigv4_result *out)
{
    c->signature = text;
    if (text.len == 2 * HASH_LEN && all_in(text, "0123456789abcdef"))
        return true;
    fail(out, SIGV4_INCOMPLETE, "The Signature is not %d lower-case hexadecimal digits.",
        2 * HASH_LEN);
    return false;
}

static bool
read_header_claim(
    const struct sigv4_request *rq, const char *text, struct claim *c, struct sigv4_result *out)
{
    struct span found[3] = { 0 };
    size_t count;

    if (text == NULL || !read_fields(span_str(text), found)) {
        fail(out, SIGV4_INCOMPLETE,
            "The Authorization header is not 'AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., "
            "Signature=...', once.");
        return false;
    }
    c->stamp = header(rq, span_str("x-amz-date"), &count); /* read_signed_headers wants it */
    return read_credential(found[0], c, out) && read_signed_headers(rq, found[1], c, out) &&
           read_signature(found[2], c, out);
}

/* ---- the query form: SPEC aws-iot 2.6, of a presigned URL ---- */

/* The raw value of a parameter that is there exactly once; ptr NULL otherwise. */
static struct span
param(const char *query, const char *name)
{
    struct span found = { 0 };
    size_t len = strlen(name);

    for (const char *at = query; *at != '\0'; at += strcspn(at, "&"), at += *at == '&') {
        if (strncmp(at, name, len) != 0 || at[len] != '=')
            continue;
        if (found.ptr != NULL)
            return span_of(NULL, 0);
        found = span_of(at + len + 1, strcspn(at + len + 1, "&"));
    }
    return found;
}

/* Percent-decoded and terminated; false when it does not fit or an escape is damaged. */
static bool
decode(struct span text, char *out, size_t cap)
{
    size_t len = 0;
    struct rd r = rd_of(text);

    while (rd_left(&r) > 0 && len + 1 < cap) {
        uint8_t c = rd_u8(&r);

        if (c == '%' && hex_decode(&c, 1, rd_span(&r, 2)) != BM_OK)
            return false;
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return rd_left(&r) == 0 && !r.failed && strlen(out) == len;
}

static bool
read_expires(struct span text, struct claim *c, struct sigv4_result *out)
{
    for (size_t i = 0; i < text.len && text.len <= 6; i++)
        c->expires_s = c->expires_s * 10 + (text.ptr[i] - '0');
    if (text.len > 0 && text.len <= 6 && all_in(text, "0123456789") && c->expires_s >= 1 &&
        c->expires_s <= SIGV4_EXPIRES_MAX_S)
        return true;
    fail(out, SIGV4_INCOMPLETE, "X-Amz-Expires is '%.*s'; want 1 to %d seconds.",
        (int)(text.len < 40 ? text.len : 40), text.ptr != NULL ? (const char *)text.ptr : "",
        SIGV4_EXPIRES_MAX_S);
    return false;
}

static bool
read_query_claim(const struct sigv4_request *rq, struct claim *c, struct sigv4_result *out)
{
    static const char *const names[] = { "X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Date" };

    c->in_query = true;
    if (!span_eq(param(rq->query, "X-Amz-Algorithm"), span_str("AWS4-HMAC-SHA256"))) {
        fail(out, SIGV4_INCOMPLETE, "X-Amz-Algorithm is not AWS4-HMAC-SHA256, once.");
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        struct span raw = param(rq->query, names[i]);

        if (raw.ptr != NULL && decode(raw, c->decoded[i], sizeof c->decoded[i]))
            continue;
        fail(out, SIGV4_INCOMPLETE, "The query has no %s, or several, or it cannot be read.",
            names[i]);
        return false;
    }
    c->stamp = c->decoded[2];
    return read_expires(param(rq->query, "X-Amz-Expires"), c, out) &&
           read_credential(span_str(c->decoded[0]), c, out) &&
           read_signed_headers(rq, span_str(c->decoded[1]), c, out) &&
           read_signature(param(rq->query, "X-Amz-Signature"), c, out);
}

static bool
read_claim(const struct sigv4_request *rq, struct claim *c, struct sigv4_result *out)
{
    size_t count;
    const char *text = header(rq, span_str("authorization"), &count);
    bool in_query = strstr(rq->query, "X-Amz-Signature=") != NULL ||
                    strstr(rq->query, "X-Amz-Algorithm=") != NULL;

    if (count > 0 && in_query) {
        fail(out, SIGV4_INCOMPLETE,
            "The request is signed both in its Authorization header and in its query; want one.");
        return false;
    }
    if (in_query)
        return read_query_claim(rq, c, out);
    if (count > 0)
        return read_header_claim(rq, text, c, out);
    fail(out, SIGV4_MISSING,
        "Missing Authentication Token: the request is not signed; sign it (the aws CLI does "
        "unless --no-sign-request is given).");
    return false;
}

/* ---- what can be judged without the secret ---- */

/* "20260102T030405Z", nothing else and a date that exists. */
static bool
read_stamp(const char *text, int64_t *out_ms)
{
    struct tm tm = { 0 };
    char again[STAMP_LEN + 1];
    const char *end = strlen(text) == STAMP_LEN ? strptime(text, "%Y%m%dT%H%M%SZ", &tm) : NULL;
    time_t t;

    if (end == NULL || *end != '\0')
        return false;
    t = timegm(&tm);
    (void)strftime(again, sizeof again, "%Y%m%dT%H%M%SZ", gmtime_r(&t, &tm));
    *out_ms = (int64_t)t * 1000;
    return strcmp(again, text) == 0;
}

/* SPEC aws-iot 2.5 */
static bool
time_fits(const struct claim *c, int64_t now_ms, struct sigv4_result *out)
{
    char now[CLOCK_TEXT_LEN];
    int64_t at_ms;

    if (!read_stamp(c->stamp, &at_ms)) {
        fail(out, SIGV4_INCOMPLETE, "X-Amz-Date is '%.40s'; want YYYYMMDDTHHMMSSZ.", c->stamp);
        return false;
    }
    if (!span_eq(c->date, span_of(c->stamp, DATE_LEN))) {
        fail(out, SIGV4_INCOMPLETE,
            "The credential's date '%.*s' is not the date of X-Amz-Date '%s'.", DATE_LEN,
            (const char *)c->date.ptr, c->stamp);
        return false;
    }
    clock_text(now, now_ms);
    if (c->in_query && now_ms - at_ms > c->expires_s * 1000) {
        fail(out, SIGV4_EXPIRED, "The signed URL of %s was good for %lld s; it is %s now.",
            c->stamp, (long long)c->expires_s, now);
        return false;
    }
    if (!c->in_query && now_ms - at_ms > SIGV4_WINDOW_MS) {
        fail(out, SIGV4_EXPIRED,
            "Signature expired: %s is more than 5 minutes before %s, the time here; set the clock.",
            c->stamp, now);
        return false;
    }
    if (at_ms - now_ms > SIGV4_WINDOW_MS) {
        fail(out, SIGV4_EXPIRED,
            "Signature not yet current: %s is more than 5 minutes after %s, the time here; set the "
            "clock.",
            c->stamp, now);
        return false;
    }
    return true;
}

static void
hash_text(struct span bytes, char out[HASH_TEXT])
{
    uint8_t hash[HASH_LEN];

    (void)SHA256(bytes.len > 0 ? bytes.ptr : (const uint8_t *)"", bytes.len, hash);
    hex_encode(out, hash, sizeof hash);
}

static bool
body_fits(const struct sigv4_request *rq, const char body_hash[HASH_TEXT], struct sigv4_result *out)
{
    size_t count;
    const char *claimed = header(rq, span_str("x-amz-content-sha256"), &count);

    if (count == 0 || (claimed != NULL && strcmp(claimed, body_hash) == 0))
        return true;
    fail(out, SIGV4_MISMATCH,
        "X-Amz-Content-Sha256 is '%.70s', but the SHA-256 of the body received is %s.",
        claimed != NULL ? claimed : "(more than once)", body_hash);
    return false;
}

/* ---- the canonical request; SPEC aws-iot 2.3 ---- */

static bool
is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static void
add_uri(struct buf *b, const char *path)
{
    for (; *path != '\0'; path++) {
        if (is_unreserved(*path) || *path == '/')
            buf_add(b, path, 1);
        else
            buf_addf(b, "%%%02X", (unsigned)(unsigned char)*path);
    }
    buf_add(b, "\n", 1);
}

struct param {
    struct span name;
    struct span value;
};

static int
compare_span(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
compare_param(const void *a, const void *b)
{
    const struct param *x = a;
    const struct param *y = b;
    int order = compare_span(x->name, y->name);

    return order != 0 ? order : compare_span(x->value, y->value);
}

static struct param
read_param(struct span item)
{
    struct rd r = rd_of(item);
    struct rd start = r;
    struct param p = { 0 };
    size_t len = 0;

    while (rd_left(&r) > 0 && rd_u8(&r) != '=')
        len++;
    p.name = rd_span(&start, len);
    p.value = rd_rest(&r);
    return p;
}

static bool
add_query(struct buf *b, const char *query, bool signed_there)
{
    struct span items[SIGV4_PARAMS_MAX];
    struct param params[SIGV4_PARAMS_MAX];
    size_t count = split(span_str(query), '&', items, SIGV4_PARAMS_MAX);
    size_t used = 0;

    if (count > SIGV4_PARAMS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].len == 0)
            continue;
        params[used] = read_param(items[i]);
        if (!signed_there || !span_eq(params[used].name, span_str("X-Amz-Signature")))
            used++;
    }
    qsort(params, used, sizeof params[0], compare_param);
    for (size_t i = 0; i < used; i++) {
        if (i > 0)
            buf_add(b, "&", 1);
        buf_add(b, params[i].name.ptr, params[i].name.len);
        buf_add(b, "=", 1);
        buf_add(b, params[i].value.ptr, params[i].value.len);
    }
    buf_add(b, "\n", 1);
    return true;
}

/* Trimmed, inner runs of blanks as one blank. */
static void
add_value(struct buf *b, const char *value)
{
    struct span text = trim(span_str(value));
    bool blank = false;

    for (size_t i = 0; i < text.len; i++) {
        if (is_blank(text.ptr[i])) {
            blank = true;
            continue;
        }
        if (blank)
            buf_add(b, " ", 1);
        blank = false;
        buf_add(b, &text.ptr[i], 1);
    }
}

static bool
canonical_request(
    const struct sigv4_request *rq, const struct claim *c, const char *body_hash, struct buf *b)
{
    size_t count;

    buf_addf(b, "%s\n", rq->method);
    add_uri(b, rq->path);
    if (!add_query(b, rq->query, c->in_query))
        return false;
    for (size_t i = 0; i < c->name_count; i++) {
        buf_add(b, c->names[i].ptr, c->names[i].len);
        buf_add(b, ":", 1);
        add_value(b, header(rq, c->names[i], &count));
        buf_add(b, "\n", 1);
    }
    buf_add(b, "\n", 1);
    buf_add(b, c->signed_headers.ptr, c->signed_headers.len);
    buf_addf(b, "\n%s", body_hash);
    return true;
}

/* ---- the signature ---- */

static void
hmac(const uint8_t *key, size_t key_len, struct span text, uint8_t out[HASH_LEN])
{
    unsigned len = HASH_LEN;

    (void)HMAC(EVP_sha256(), key, (int)key_len, text.ptr, text.len, out, &len);
}

static bool
signing_key(const char *secret, const struct claim *c, uint8_t key[HASH_LEN])
{
    struct buf first = { 0 };
    bool done;

    buf_addf(&first, "AWS4%s", secret);
    done = !first.failed;
    if (done) {
        hmac(first.ptr, first.len, c->date, key);
        hmac(key, HASH_LEN, c->region, key);
        hmac(key, HASH_LEN, c->service, key);
        hmac(key, HASH_LEN, span_str("aws4_request"), key);
    }
    bm_wipe(first.ptr, first.len);
    buf_fini(&first);
    return done;
}

static bool
sign(const char *secret, const struct claim *c, const char *request_hash, char out[HASH_TEXT])
{
    uint8_t key[HASH_LEN] = { 0 };
    uint8_t mac[HASH_LEN] = { 0 };
    struct buf text = { 0 };
    bool done;

    buf_addf(&text, "AWS4-HMAC-SHA256\n%s\n%.*s/%.*s/%.*s/aws4_request\n%s", c->stamp,
        (int)c->date.len, (const char *)c->date.ptr, (int)c->region.len,
        (const char *)c->region.ptr, (int)c->service.len, (const char *)c->service.ptr,
        request_hash);
    done = !text.failed && signing_key(secret, c, key);
    if (done)
        hmac(key, sizeof key, buf_span(&text), mac);
    hex_encode(out, mac, sizeof mac);
    bm_wipe(key, sizeof key);
    buf_fini(&text);
    return done;
}

static void
judge_signature(const struct sigv4_request *rq, const struct claim *c, const char *secret,
    const char *body_hash, struct sigv4_result *out)
{
    struct buf canonical = { 0 };
    char request_hash[HASH_TEXT];
    char expected[HASH_TEXT];

    if (!canonical_request(rq, c, body_hash, &canonical)) {
        fail(out, SIGV4_INCOMPLETE, "The query has more than %d parameters.", SIGV4_PARAMS_MAX);
        buf_fini(&canonical);
        return;
    }
    hash_text(buf_span(&canonical), request_hash);
    if (canonical.failed || !sign(secret, c, request_hash, expected))
        fail(out, SIGV4_MISMATCH, "Out of memory while the signature was verified; try again.");
    else if (!bm_equal_ct(expected, c->signature.ptr, 2 * HASH_LEN))
        fail(out, SIGV4_MISMATCH,
            "The request signature does not match: the secret key used with access key '%s' is "
            "wrong, or the request was changed on its way. SHA-256 of the canonical request here: "
            "%s.",
            out->access_key, request_hash);
    bm_wipe(expected, sizeof expected);
    buf_fini(&canonical);
}

void
sigv4_verify(const struct sigv4_request *rq, const char *access_key, const char *secret_key,
    int64_t now_ms, struct sigv4_result *out)
{
    struct claim c = { 0 };
    char body_hash[HASH_TEXT];

    *out = (struct sigv4_result){ .verdict = SIGV4_OK };
    if (!read_claim(rq, &c, out))
        return;
    if (!service_is_known(c.service)) {
        fail(out, SIGV4_INCOMPLETE,
            "The credential is for service '%s'; here are execute-api, iot, iotdata and lambda.",
            out->service);
        return;
    }
    if (strcmp(out->access_key, access_key) != 0) {
        fail(out, SIGV4_UNKNOWN_KEY,
            "The security token included in the request is invalid: access key '%s' is not known "
            "here.",
            out->access_key);
        return;
    }
    hash_text(rq->body, body_hash);
    if (time_fits(&c, now_ms, out) && body_fits(rq, body_hash, out))
        judge_signature(rq, &c, secret_key, body_hash, out);
}
