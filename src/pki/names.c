/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names: as text, and found in a certificate without reading the rest of it. Lists of many
 * certificates need no more, and OpenSSL takes 50 times as long, most of it for the key.
 */
#include "pki/internal.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

enum { SEQUENCE = 0x30, VERSION = 0xa0, LENGTH_BYTES_MAX = 4 };

/* ---- found in DER ---- */

/* One element: its tag, its contents, and all of it. */
static uint8_t
element(struct rd *r, struct span *contents, struct span *whole)
{
    const uint8_t *start = r->pos;
    uint8_t tag = rd_u8(r);
    size_t len = rd_u8(r);

    if (len >= 0x80) {
        size_t bytes = len & 0x7f;

        r->failed |= bytes == 0 || bytes > LENGTH_BYTES_MAX;
        for (len = 0; !r->failed && bytes > 0; bytes--)
            len = len << 8 | rd_u8(r);
    }
    *contents = rd_span(r, len);
    *whole = r->failed ? span_of(NULL, 0) : span_of(start, (size_t)(r->pos - start));
    return r->failed ? 0 : tag;
}

bool
pki_names_find(struct span der, struct span *subject, struct span *issuer)
{
    struct rd r = rd_of(der);
    struct span in;
    struct span whole;
    bool good = element(&r, &in, &whole) == SEQUENCE; /* Certificate, RFC 5280 4.1 */

    r = rd_of(in);
    good = good && element(&r, &in, &whole) == SEQUENCE; /* tbsCertificate */
    r = rd_of(in);
    if (good && element(&r, &in, &whole) == VERSION) /* else it was the serial number: version 1 */
        (void)element(&r, &in, &whole);
    (void)element(&r, &in, &whole); /* signature */
    good = good && element(&r, &in, issuer) == SEQUENCE;
    (void)element(&r, &in, &whole); /* validity */
    return good && element(&r, &in, subject) == SEQUENCE && !r.failed;
}

/* ---- as text ---- */

static X509_NAME *
read_name(struct span der)
{
    const unsigned char *at = der.ptr;

    return der.len > 0 ? d2i_X509_NAME(NULL, &at, (long)der.len) : NULL;
}

void
pki_x509_name_text(const X509_NAME *name, char *out, size_t cap)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    long len = 0;

    if (bio != NULL && name != NULL &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
        len = BIO_get_mem_data(bio, &data);
    (void)snprintf(out, cap, "%.*s", (int)len, len > 0 ? data : "");
    BIO_free(bio);
    ERR_clear_error();
}

bool
pki_x509_common_name(const X509_NAME *name, char *out, size_t cap)
{
    int at = name != NULL ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
    unsigned char *text = NULL;
    int len;
    bool fits;

    out[0] = '\0';
    if (at < 0)
        return false;
    len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    fits = len >= 0 && (size_t)len < cap && memchr(text, 0, (size_t)len) == NULL;
    if (fits) {
        memcpy(out, text, (size_t)len);
        out[len] = '\0';
    }
    OPENSSL_free(text);
    ERR_clear_error();
    return fits;
}

void
pki_name_text(struct span name, char *out, size_t cap)
{
    X509_NAME *n = read_name(name);

    pki_x509_name_text(n, out, cap);
    X509_NAME_free(n);
}

bool
pki_name_common_name(struct span name, char *out, size_t cap)
{
    X509_NAME *n = read_name(name);
    bool found = pki_x509_common_name(n, out, cap);

    X509_NAME_free(n);
    ERR_clear_error();
    return found;
}
