/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a certificate says of its subject, issuer and alternative names, under the names that policy
 * variables have for it. SPEC aws-iot 7.3.
 */
#include "pki/internal.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static const struct part {
    int nid;
    const char *name;
} parts[] = {
    { NID_dnQualifier, "DistinguishedNameQualifier" },
    { NID_countryName, "Country" },
    { NID_organizationName, "Organization" },
    { NID_organizationalUnitName, "OrganizationalUnit" },
    { NID_stateOrProvinceName, "State" },
    { NID_commonName, "CommonName" },
    { NID_serialNumber, "SerialNumber" },
    { NID_title, "Title" },
    { NID_surname, "Surname" },
    { NID_givenName, "GivenName" },
    { NID_initials, "Initials" },
    { NID_pseudonym, "Pseudonym" },
    { NID_generationQualifier, "GenerationQualifier" },
};

struct teller {
    pki_attribute_fn fn;
    void *arg;
};

static const char *
part_name(const X509_NAME_ENTRY *e)
{
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].nid == nid)
            return parts[i].name;
    }
    return NULL;
}

static void
tell_name(const struct teller *t, const char *whose, const X509_NAME *name)
{
    char full[64];

    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        const char *part = part_name(e);
        unsigned char *utf8 = NULL;
        int len = part != NULL ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e)) : -1;

        if (len >= 0) {
            (void)snprintf(full, sizeof full, "%s.%s", whose, part);
            t->fn(t->arg, full, span_of(utf8, (size_t)len));
        }
        OPENSSL_free(utf8);
    }
}

static void
tell_string(const struct teller *t, const char *name, const ASN1_STRING *s)
{
    t->fn(t->arg, name, span_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
}

static void
tell_directory(const struct teller *t, X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct buf text = { 0 };

    if (bio != NULL)
        (void)X509_NAME_print_ex(
            bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    if (pki_take_bio(bio, &text) == BM_OK)
        t->fn(t->arg, "AlternativeName.DirectoryName", buf_span(&text));
    buf_fini(&text);
}

static void
tell_address(const struct teller *t, const ASN1_OCTET_STRING *s)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(s);
    int family = len == 4 ? AF_INET : AF_INET6;

    if ((len == 4 || len == 16) &&
        inet_ntop(family, ASN1_STRING_get0_data(s), text, sizeof text) != NULL)
        t->fn(t->arg, "AlternativeName.IPAddress", span_str(text));
}

static void
tell_alternative(const struct teller *t, const GENERAL_NAME *g)
{
    if (g->type == GEN_EMAIL)
        tell_string(t, "AlternativeName.RFC822Name", g->d.rfc822Name);
    else if (g->type == GEN_DNS)
        tell_string(t, "AlternativeName.DNSName", g->d.dNSName);
    else if (g->type == GEN_URI)
        tell_string(t, "AlternativeName.UniformResourceIdentifier", g->d.uniformResourceIdentifier);
    else if (g->type == GEN_DIRNAME)
        tell_directory(t, g->d.directoryName);
    else if (g->type == GEN_IPADD)
        tell_address(t, g->d.iPAddress);
}

static void
tell_serial(const struct teller *t, const X509 *x)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *text = n != NULL ? BN_bn2dec(n) : NULL;

    if (text != NULL)
        t->fn(t->arg, "SerialNumber", span_str(text));
    OPENSSL_free(text);
    BN_free(n);
}

void
pki_cert_attributes(const struct pki_cert *c, pki_attribute_fn fn, void *arg)
{
    const struct teller t = { fn, arg };
    X509 *x = pki_cert_x509(c);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    tell_name(&t, "Subject", X509_get_subject_name(x));
    tell_name(&t, "Issuer", X509_get_issuer_name(x));
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        tell_alternative(&t, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    tell_serial(&t, x);
}
