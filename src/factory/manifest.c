/* SPDX-License-Identifier: Apache-2.0 */
/* See manifest.h. */
#include "factory/manifest.h"

#include <openssl/ecdsa.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RAW_HALF = 32, LINE_MAX_BYTES = 1 << 16 };

/* base64url without padding; RFC 7515. */
static enum bm_err
url64(struct buf *out, struct span in)
{
    size_t from = out->len;
    enum bm_err err = base64_encode(out, in);

    for (size_t i = from; err == BM_OK && i < out->len; i++) {
        uint8_t *c = &out->ptr[i];

        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    }
    while (err == BM_OK && out->len > from && out->ptr[out->len - 1] == '=')
        out->len--;
    return err == BM_OK && buf_cstr(out) == NULL ? BM_ERR_MEM : err;
}

static enum bm_err
un_url64(struct buf *out, const char *text)
{
    struct buf plain = { 0 };
    enum bm_err err;

    for (; *text != '\0'; text++) {
        char c = (char)(*text == '-' ? '+' : *text == '_' ? '/' : *text);

        buf_add(&plain, &c, 1);
    }
    while (plain.len % 4 != 0 && !plain.failed)
        buf_add(&plain, "=", 1);
    err = plain.failed ? BM_ERR_MEM : base64_decode(out, buf_span(&plain));
    buf_fini(&plain);
    return err;
}

static void
set_url64(json_t *o, const char *member, struct span in)
{
    struct buf text = { 0 };

    if (url64(&text, in) == BM_OK)
        (void)json_object_set_new(o, member, json_string((char *)text.ptr));
    buf_fini(&text);
}

static void
add_x5c(json_t *list, struct span der)
{
    struct buf text = { 0 };

    if (base64_encode(&text, der) == BM_OK && buf_cstr(&text) != NULL)
        (void)json_array_append_new(list, json_string(buf_cstr(&text)));
    buf_fini(&text);
}

static json_t *
payload(const struct job *job, const struct chip *c, const struct pki_cert *issuer)
{
    json_t *key = json_pack("{s:s,s:s,s:s}", "kid", "0", "kty", "EC", "crv", "P-256");
    json_t *chain = json_array();
    json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:s}", "version", 1, "model", "A71CH", "partNumber",
        "A71CH", "uniqueId", c->uid, "provisioningTimestamp", c->time);

    (void)json_object_update(o, job->manifest);
    (void)json_object_set_new(key, "kid", json_sprintf("%u", job->slot));
    set_url64(key, "x", span_of(c->point + 1, RAW_HALF));
    set_url64(key, "y", span_of(c->point + 1 + RAW_HALF, RAW_HALF));
    add_x5c(chain, buf_span(&c->leaf));
    add_x5c(chain, pki_cert_der(issuer));
    (void)json_object_set_new(key, "x5c", chain);
    (void)json_object_set_new(o, "publicKeySet", json_pack("{s:[o]}", "keys", key));
    return o;
}

static void
encode_json(struct buf *out, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);

    if (text == NULL || url64(out, span_str(text)) != BM_OK)
        out->failed = true;
    free(text);
    json_decref(o);
}

static enum bm_err
raw_signature(struct span der, uint8_t out[2 * RAW_HALF])
{
    const unsigned char *at = der.ptr;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
    bool done = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, RAW_HALF) == RAW_HALF &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + RAW_HALF, RAW_HALF) == RAW_HALF;

    ECDSA_SIG_free(sig);
    return done ? BM_OK : BM_ERR_INPUT;
}

enum bm_err
manifest_line(const struct job *job, const struct chip *c, const struct pki_cert *issuer,
    const struct pki_signer *key, const struct pki_cert *log, struct buf *out, struct bm_msg *msg)
{
    uint8_t thumb[PKI_ID_LEN];
    uint8_t sig[PKI_SIGNATURE_MAX];
    uint8_t raw[2 * RAW_HALF];
    size_t len = 0;
    json_t *head = json_pack("{s:s,s:s}", "typ", "JWT", "alg", "ES256");
    struct buf body = { 0 };
    struct buf protected = { 0 };
    struct buf input = { 0 };
    struct buf sign = { 0 };
    enum bm_err err;

    pki_cert_id(log, thumb);
    set_url64(head, "kid", pki_cert_key_id(log));
    set_url64(head, "x5t#S256", SPAN(thumb));
    encode_json(&protected, head);
    encode_json(&body, payload(job, c, issuer));
    buf_add(&input, protected.ptr, protected.len);
    buf_add(&input, ".", 1);
    buf_add(&input, body.ptr, body.len);
    err = protected.failed || body.failed || input.failed
              ? bm_fail(msg, BM_ERR_MEM, "out of memory for the manifest")
              : pki_sign_bytes(key, buf_span(&input), sig, &len, msg);
    if (err == BM_OK)
        err = raw_signature(span_of(sig, len), raw);
    if (err == BM_OK)
        err = url64(&sign, SPAN(raw));
    if (err == BM_OK)
        buf_addf(out,
            "{\"payload\":\"%s\",\"protected\":\"%s\",\"header\":{\"uniqueId\":\"%s\"},"
            "\"signature\":\"%s\"}\n",
            (char *)body.ptr, (char *)protected.ptr, c->uid, (char *)sign.ptr);
    buf_fini(&body);
    buf_fini(&protected);
    buf_fini(&input);
    buf_fini(&sign);
    return err;
}

/* ---- checking ---- */

static bool
signature_holds(const json_t *o, const char *body, const struct pki_cert *log)
{
    const char *protected = json_string_value(json_object_get(o, "protected"));
    const char *signature = json_string_value(json_object_get(o, "signature"));
    struct buf raw = { 0 };
    struct buf input = { 0 };
    unsigned char *der = NULL;
    ECDSA_SIG *sig = NULL;
    BIGNUM *r, *s;
    bool good = false;
    int len;

    if (protected == NULL || signature == NULL)
        return false;
    buf_addf(&input, "%s.%s", protected, body);
    if (un_url64(&raw, signature) == BM_OK && raw.len == 2 * (size_t)RAW_HALF && !input.failed &&
        (sig = ECDSA_SIG_new()) != NULL) {
        r = BN_bin2bn(raw.ptr, RAW_HALF, NULL);
        s = BN_bin2bn(raw.ptr + RAW_HALF, RAW_HALF, NULL);
        if (ECDSA_SIG_set0(sig, r, s) == 1 && (len = i2d_ECDSA_SIG(sig, &der)) > 0)
            good = pki_cert_verify(log, buf_span(&input), span_of(der, (size_t)len));
    }
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    buf_fini(&raw);
    buf_fini(&input);
    return good;
}

/* Does the payload say of the chip what the journal does? */
static bool
fits(const json_t *o, const char *body, const struct chip *c)
{
    struct buf text = { 0 };
    struct buf leaf = { 0 };
    json_t *p =
        un_url64(&text, body) == BM_OK ? json_loadb((char *)text.ptr, text.len, 0, NULL) : NULL;
    const char *uid = json_string_value(json_object_get(p, "uniqueId"));
    const char *outside =
        json_string_value(json_object_get(json_object_get(o, "header"), "uniqueId"));
    const json_t *key =
        json_array_get(json_object_get(json_object_get(p, "publicKeySet"), "keys"), 0);
    const char *x5c = json_string_value(json_array_get(json_object_get(key, "x5c"), 0));
    bool good = uid != NULL && outside != NULL && strcmp(uid, c->uid) == 0 &&
                strcmp(outside, c->uid) == 0 && x5c != NULL &&
                base64_decode(&leaf, span_str(x5c)) == BM_OK &&
                span_eq(buf_span(&leaf), buf_span(&c->leaf));

    json_decref(p);
    buf_fini(&text);
    buf_fini(&leaf);
    return good;
}

static enum bm_err
check_lines(struct span text, const struct pki_cert *log, const struct chip **list, size_t count,
    struct bm_msg *msg)
{
    size_t line = 0;
    const char *wrong = NULL;

    while (wrong == NULL && text.len > 0) {
        const uint8_t *nl = memchr(text.ptr, '\n', text.len);
        size_t len = nl != NULL ? (size_t)(nl - text.ptr) : text.len;
        json_t *o = len <= LINE_MAX_BYTES ? json_loadb((const char *)text.ptr, len, 0, NULL) : NULL;
        const char *body = json_string_value(json_object_get(o, "payload"));

        line++;
        if (body == NULL || nl == NULL)
            wrong = "it is no manifest line";
        else if (!signature_holds(o, body, log))
            wrong = "its signature does not hold: it was changed";
        else if (list != NULL && (line > count || !fits(o, body, list[line - 1])))
            wrong = "it is not what the journal says of that chip";
        json_decref(o);
        text = nl != NULL ? span_of(nl + 1, text.len - len - 1) : span_of(NULL, 0);
    }
    if (wrong == NULL && line < count) {
        line++;
        wrong = "it is missing";
    }
    return wrong == NULL ? BM_OK
                         : bm_fail(msg, BM_ERR_INPUT, "manifest: line %zu is bad: %s", line, wrong);
}

enum bm_err
manifest_check(
    struct span text, const struct pki_cert *log, const struct chips *chips, struct bm_msg *msg)
{
    const struct chip **list = NULL;
    size_t count = 0;
    enum bm_err err = chips != NULL ? chips_list(chips, false, &list, &count, msg) : BM_OK;

    if (err == BM_OK)
        err = check_lines(text, log, list, count, msg);
    free(list);
    return err;
}

/* ---- bulk registration ---- */

enum bm_err
bulk_line(const struct chip *c, const struct pki_cert *issuer, struct buf *out, struct bm_msg *msg)
{
    struct pki_cert *leaf = NULL;
    struct buf pem = { 0 };
    struct buf ca = { 0 };
    char *text = NULL;
    enum bm_err err = pki_cert_from_der(buf_span(&c->leaf), &leaf, msg);

    if (err == BM_OK)
        err = pki_cert_to_pem(leaf, &pem);
    if (err == BM_OK)
        err = pki_cert_to_pem(issuer, &ca);
    if (err == BM_OK && buf_cstr(&pem) != NULL && buf_cstr(&ca) != NULL) {
        json_t *o = json_pack("{s:s,s:s,s:s,s:s}", "ThingName", c->uid, "SerialNumber", c->serial,
            "CertificatePem", buf_cstr(&pem), "CACertificatePem", buf_cstr(&ca));

        text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
    }
    if (err == BM_OK && text == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for the bulk registration");
    if (err == BM_OK)
        buf_addf(out, "%s\n", text);
    free(text);
    pki_cert_free(leaf);
    buf_fini(&pem);
    buf_fini(&ca);
    return err;
}
