/* SPDX-License-Identifier: Apache-2.0 */
/* See certificate.h. RFC 5280, 4.1. */
#include "openssl/pkcs11/certificate.h"

enum {
    TAG_INTEGER = 0x02,
    TAG_SEQUENCE = 0x30,
    TAG_VERSION = 0xa0,
    POINT_LEN = 65,
};

const uint8_t spki_head[SPKI_HEAD_LEN] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42,
    0x00 };

/* The next element, which must have this tag: its content, and in *whole all of it. */
static struct span
take(struct rd *r, uint8_t tag, struct span *whole)
{
    const uint8_t *start = r->pos;
    struct span content;
    size_t len;

    if (rd_u8(r) != tag)
        r->failed = true;
    len = rd_u8(r);
    if (len == 0x81)
        len = rd_u8(r);
    else if (len == 0x82)
        len = rd_u16(r);
    else if (len >= 0x80)
        r->failed = true; /* indefinite, or more than the chip's storage */
    content = rd_span(r, len);
    *whole = r->failed ? (struct span){ 0 } : span_of(start, (size_t)(r->pos - start));
    return content;
}

static struct rd
enter(struct rd *r, uint8_t tag)
{
    struct span whole;
    struct rd inner = rd_of(take(r, tag, &whole));

    inner.failed = r->failed;
    return inner;
}

static struct span
point_of(struct span spki)
{
    struct rd r = rd_of(spki);

    if (!span_eq(rd_span(&r, SPKI_HEAD_LEN), SPAN(spki_head)) || rd_left(&r) != POINT_LEN)
        return (struct span){ 0 };
    return rd_rest(&r);
}

bool
certificate_parse(struct span der, struct certificate *out)
{
    struct rd file = rd_of(der);
    struct rd cert = enter(&file, TAG_SEQUENCE);
    struct rd tbs = enter(&cert, TAG_SEQUENCE);
    struct certificate c = { 0 };
    struct span spki = { 0 };
    struct span skipped;

    *out = (struct certificate){ 0 };
    if (rd_left(&tbs) > 0 && *tbs.pos == TAG_VERSION)
        (void)take(&tbs, TAG_VERSION, &skipped);
    (void)take(&tbs, TAG_INTEGER, &c.serial);
    (void)take(&tbs, TAG_SEQUENCE, &skipped); /* signature algorithm */
    (void)take(&tbs, TAG_SEQUENCE, &c.issuer);
    (void)take(&tbs, TAG_SEQUENCE, &skipped); /* validity */
    (void)take(&tbs, TAG_SEQUENCE, &c.subject);
    (void)take(&tbs, TAG_SEQUENCE, &spki);
    if (tbs.failed || !rd_done(&file))
        return false;
    c.point = point_of(spki);
    *out = c;
    return true;
}
