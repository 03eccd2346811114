/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See refkey.h. The reader takes DER only: one-byte tags, definite lengths in their shortest form.
 * Both structures have a fixed size on P-256, so the writer states each length outright.
 */
#include "wire/refkey.h"

#include <string.h>

enum {
    TAG_INTEGER = 0x02,
    TAG_BIT_STRING = 0x03,
    TAG_OCTET_STRING = 0x04,
    TAG_OID = 0x06,
    TAG_SEQUENCE = 0x30,
    TAG_CONTEXT_0 = 0xa0, /* SEC 1: curve; PKCS#8: attributes */
    TAG_CONTEXT_1 = 0xa1, /* SEC 1: public key */
    TAG_PKCS8_PUBLIC = 0x81,
};

enum { TAIL_LEN = 10, KEY_ID_LEN = 4, COMPRESSED_LEN = 33, POINT_UNCOMPRESSED = 0x04 };

const uint8_t refkey_magic[REFKEY_MAGIC_LEN] = { 0xa5, 0xa6, 0xb5, 0xb6, 0xa5, 0xa6, 0xb5, 0xb6 };
static const uint8_t oid_ec_public_key[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };
static const uint8_t oid_prime256v1[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };

/* What one ECPrivateKey says, before anybody judges it. */
struct sec1 {
    struct span scalar;
    bool has_curve;
    struct span curve; /* the ECParameters, tag included */
    struct span point; /* empty when the key has none */
};

static size_t
der_len(struct rd *r)
{
    uint8_t first = rd_u8(r);
    size_t len;

    if (first < 0x80)
        return first;
    if (first == 0x81) {
        len = rd_u8(r);
        r->failed = r->failed || len < 0x80;
        return len;
    }
    len = first == 0x82 ? rd_u16(r) : 0;
    r->failed = r->failed || len < 0x100; /* not shortest, indefinite, or longer than a key is */
    return len;
}

/* The content of the next element, which must carry `tag`. */
static struct span
der_take(struct rd *r, uint8_t tag)
{
    if (rd_u8(r) != tag)
        r->failed = true;
    return rd_span(r, der_len(r));
}

static struct rd
der_enter(struct rd *r, uint8_t tag)
{
    struct span content = der_take(r, tag);
    struct rd inner = rd_of(content);

    inner.failed = r->failed;
    return inner;
}

static bool
der_next_is(const struct rd *r, uint8_t tag)
{
    struct rd peek = *r;

    return rd_left(r) > 0 && rd_u8(&peek) == tag;
}

static bool
der_small_int(struct rd *r, uint8_t value)
{
    return span_eq(der_take(r, TAG_INTEGER), span_of(&value, 1));
}

/* A public key as SEC 1 writes it; the P-256 forms are judged in take_point. */
static struct span
der_point(struct rd *r)
{
    struct rd bits = rd_of(der_take(r, TAG_BIT_STRING));

    if (rd_u8(&bits) != 0) /* unused bits: a point is whole bytes */
        r->failed = true;
    return rd_rest(&bits);
}

static bool
read_sec1(struct span der, struct sec1 *out)
{
    struct rd file = rd_of(der);
    struct rd r = der_enter(&file, TAG_SEQUENCE);
    struct sec1 k = { 0 };

    if (!rd_done(&file) || !der_small_int(&r, 1))
        return false;
    k.scalar = der_take(&r, TAG_OCTET_STRING);
    k.has_curve = der_next_is(&r, TAG_CONTEXT_0);
    if (k.has_curve)
        k.curve = der_take(&r, TAG_CONTEXT_0);
    if (der_next_is(&r, TAG_CONTEXT_1)) {
        struct rd inner = der_enter(&r, TAG_CONTEXT_1);

        k.point = der_point(&inner);
        r.failed = r.failed || !rd_done(&inner) || k.point.len == 0;
    }
    if (!rd_done(&r))
        return false;
    *out = k;
    return true;
}

bool
refkey_from_scalar(struct span scalar, struct refkey *out)
{
    struct rd r = rd_of(scalar);
    struct span upper;
    struct span head;

    if (scalar.len < TAIL_LEN || scalar.len > REFKEY_SCALAR_LEN)
        return false;
    upper = rd_span(&r, scalar.len - TAIL_LEN); /* SPEC a71ch 9.1: anything may stand there */
    head = rd_span(&r, sizeof refkey_magic);
    if (!bm_equal_ct(head.ptr, refkey_magic, sizeof refkey_magic)) /* it may be a real key */
        return false;
    out->key_id = 0;
    if (upper.len >= KEY_ID_LEN) {
        struct rd id = rd_of(span_of(upper.ptr + upper.len - KEY_ID_LEN, KEY_ID_LEN));

        out->key_id = rd_u32(&id);
    }
    out->class_id = rd_u8(&r);
    out->index = rd_u8(&r);
    return true;
}

bool
refkey_names_slot(const struct refkey *key)
{
    return key->key_id == 0 && key->class_id != REFKEY_CLASS_NONE;
}

void
refkey_scalar(uint8_t out[REFKEY_SCALAR_LEN], const struct refkey *key)
{
    struct wr w = wr_of(out, REFKEY_SCALAR_LEN);

    wr_u8(&w, 0x10);
    while (wr_len(&w) < REFKEY_SCALAR_LEN - TAIL_LEN - KEY_ID_LEN)
        wr_u8(&w, 0);
    wr_u32(&w, key->key_id);
    wr_span(&w, SPAN(refkey_magic));
    wr_u8(&w, key->class_id);
    wr_u8(&w, key->index);
}

/* Uncompressed, hybrid (the same with the sign of Y in the tag) or compressed. */
static bool
take_point(struct span p, struct refkey *out)
{
    uint8_t form = p.len > 0 ? p.ptr[0] : 0;

    memset(out->point, 0, sizeof out->point);
    out->has_point = p.len == REFKEY_POINT_LEN;
    if (p.len == 0)
        return true;
    if (p.len == REFKEY_POINT_LEN) {
        uint8_t hybrid = (uint8_t)(0x06 | (p.ptr[REFKEY_POINT_LEN - 1] & 1));

        if (form != POINT_UNCOMPRESSED && form != hybrid)
            return false;
    } else if (p.len != COMPRESSED_LEN || (form != 0x02 && form != 0x03)) {
        return false;
    }
    memcpy(out->point, p.ptr, p.len);
    if (out->has_point)
        out->point[0] = POINT_UNCOMPRESSED;
    return true;
}

static enum bm_err
judge(const struct sec1 *k, struct refkey *out)
{
    struct refkey key = { 0 };

    if (!refkey_from_scalar(k->scalar, &key))
        return BM_ERR_NOT_FOUND;
    if (!take_point(k->point, &key))
        return BM_ERR_INPUT;
    *out = key;
    return BM_OK;
}

static bool
is_prime256v1(struct span parameters)
{
    struct rd r = rd_of(parameters);
    struct span oid = der_take(&r, TAG_OID);

    return rd_done(&r) && span_eq(oid, SPAN(oid_prime256v1));
}

enum bm_err
refkey_parse_sec1(struct span der, struct refkey *out)
{
    struct sec1 k;

    if (!read_sec1(der, &k))
        return BM_ERR_INPUT;
    if (!k.has_curve || !is_prime256v1(k.curve))
        return BM_ERR_NOT_FOUND;
    return judge(&k, out);
}

enum bm_err
refkey_parse_pkcs8(struct span der, struct refkey *out)
{
    struct rd file = rd_of(der);
    struct rd r = der_enter(&file, TAG_SEQUENCE);
    struct span version = der_take(&r, TAG_INTEGER);
    struct rd algorithm = der_enter(&r, TAG_SEQUENCE);
    struct span type = der_take(&algorithm, TAG_OID);
    struct span curve = rd_rest(&algorithm);
    struct span inner = der_take(&r, TAG_OCTET_STRING);
    struct sec1 k;

    if (der_next_is(&r, TAG_CONTEXT_0))
        (void)der_take(&r, TAG_CONTEXT_0);
    if (der_next_is(&r, TAG_PKCS8_PUBLIC)) /* version 2 of RFC 5958 repeats the public key here */
        (void)der_take(&r, TAG_PKCS8_PUBLIC);
    if (!rd_done(&file) || !rd_done(&r) || algorithm.failed || version.len != 1 ||
        version.ptr[0] > 1)
        return BM_ERR_INPUT;
    if (!span_eq(type, SPAN(oid_ec_public_key)) || !is_prime256v1(curve))
        return BM_ERR_NOT_FOUND;
    if (!read_sec1(inner, &k))
        return BM_ERR_INPUT;
    if (k.has_curve && !is_prime256v1(k.curve)) /* contradicts the algorithm */
        return BM_ERR_INPUT;
    return judge(&k, out);
}

enum { /* lengths of contents on P-256 */
    LEN_CURVE = 2 + (int)sizeof oid_prime256v1,
    LEN_POINT = 1 + REFKEY_POINT_LEN,
    LEN_SEC1 = 3 + 2 + REFKEY_SCALAR_LEN + 2 + 2 + LEN_POINT, /* without the curve */
    LEN_ALGORITHM = 2 + (int)sizeof oid_ec_public_key + LEN_CURVE,
    LEN_PKCS8 = 3 + 2 + LEN_ALGORITHM + 2 + 2 + LEN_SEC1,
};

static void
put_header(struct wr *w, uint8_t tag, size_t len)
{
    wr_u8(w, tag);
    if (len >= 0x80)
        wr_u8(w, 0x81);
    wr_u8(w, (uint8_t)len);
}

static void
put_element(struct wr *w, uint8_t tag, struct span content)
{
    put_header(w, tag, content.len);
    wr_span(w, content);
}

static void
put_version(struct wr *w, uint8_t version)
{
    put_element(w, TAG_INTEGER, span_of(&version, 1));
}

static void
put_sec1(struct wr *w, const struct refkey *key, bool with_curve)
{
    uint8_t scalar[REFKEY_SCALAR_LEN];

    refkey_scalar(scalar, key);
    put_header(w, TAG_SEQUENCE, with_curve ? LEN_SEC1 + 2 + LEN_CURVE : LEN_SEC1);
    put_version(w, 1);
    put_element(w, TAG_OCTET_STRING, SPAN(scalar));
    if (with_curve) {
        put_header(w, TAG_CONTEXT_0, LEN_CURVE);
        put_element(w, TAG_OID, SPAN(oid_prime256v1));
    }
    put_header(w, TAG_CONTEXT_1, 2 + LEN_POINT);
    put_header(w, TAG_BIT_STRING, LEN_POINT);
    wr_u8(w, 0);
    wr_span(w, SPAN(key->point));
}

static enum bm_err
commit(struct wr *out, const struct wr *w)
{
    if (w->failed)
        return BM_ERR_SPACE;
    *out = *w;
    return BM_OK;
}

enum bm_err
refkey_build_sec1(struct wr *out, const struct refkey *key)
{
    struct wr w = *out;

    if (!key->has_point)
        return BM_ERR_ARG;
    put_sec1(&w, key, true);
    return commit(out, &w);
}

enum bm_err
refkey_build_pkcs8(struct wr *out, const struct refkey *key)
{
    struct wr w = *out;

    if (!key->has_point)
        return BM_ERR_ARG;
    put_header(&w, TAG_SEQUENCE, LEN_PKCS8);
    put_version(&w, 0);
    put_header(&w, TAG_SEQUENCE, LEN_ALGORITHM);
    put_element(&w, TAG_OID, SPAN(oid_ec_public_key));
    put_element(&w, TAG_OID, SPAN(oid_prime256v1));
    put_header(&w, TAG_OCTET_STRING, 2 + LEN_SEC1);
    put_sec1(&w, key, false);
    return commit(out, &w);
}
