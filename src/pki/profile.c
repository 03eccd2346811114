/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a certificate must say, by its kind, and what its issuer allows; name constraints. See
 * issue.h.
 */
#include "pki/internal.h"
#include "pki/issue.h"
#include "pki/subject.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* ---- permitted names ---- */

static const char DNS[] = "dns:";
static const char SUBJECT[] = "subject:";

static bool
has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static GENERAL_NAME *
general_name(const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    X509_NAME *subject = NULL;
    ASN1_IA5STRING *dns = NULL;

    if (name != NULL && has_prefix(text, SUBJECT) &&
        subject_parse(text + strlen(SUBJECT), &subject, NULL) == BM_OK) {
        GENERAL_NAME_set0_value(name, GEN_DIRNAME, subject);
        return name;
    }
    if (name != NULL && has_prefix(text, DNS) && text[strlen(DNS)] != '\0' &&
        (dns = ASN1_IA5STRING_new()) != NULL &&
        ASN1_STRING_set(dns, text + strlen(DNS), (int)strlen(text + strlen(DNS))) == 1) {
        GENERAL_NAME_set0_value(name, GEN_DNS, dns);
        return name;
    }
    ASN1_IA5STRING_free(dns);
    GENERAL_NAME_free(name);
    return NULL;
}

enum bm_err
pki_permits_sound(const char *const *permit, struct bm_msg *msg)
{
    for (size_t i = 0; i < PKI_PERMITS_MAX && permit[i] != NULL; i++) {
        GENERAL_NAME *name = general_name(permit[i]);

        GENERAL_NAME_free(name);
        if (name == NULL)
            return bm_fail(msg, BM_ERR_INPUT,
                "'%.100s' is no name that can be permitted: write dns:example.com or "
                "subject:/O=Acme",
                permit[i]);
    }
    ERR_clear_error();
    return BM_OK;
}

static bool
add_subtree(NAME_CONSTRAINTS *nc, const char *text)
{
    GENERAL_SUBTREE *sub = GENERAL_SUBTREE_new();
    GENERAL_NAME *name = general_name(text);

    if (sub == NULL || name == NULL) {
        GENERAL_SUBTREE_free(sub);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_free(sub->base);
    sub->base = name;
    if (sk_GENERAL_SUBTREE_push(nc->permittedSubtrees, sub) <= 0) {
        GENERAL_SUBTREE_free(sub);
        return false;
    }
    return true;
}

static bool
copy_permits(X509 *x, const struct pki_cert *from)
{
    X509 *other = pki_cert_x509(from);
    int at = X509_get_ext_by_NID(other, NID_name_constraints, -1);

    return at < 0 || X509_add_ext(x, X509_get_ext(other, at), -1) == 1;
}

bool
pki_add_permits(X509 *x, const struct pki_profile *p)
{
    NAME_CONSTRAINTS *nc;
    bool done;

    if (p->permit_like != NULL)
        return copy_permits(x, p->permit_like);
    if (p->permit[0] == NULL)
        return true;
    nc = NAME_CONSTRAINTS_new();
    done = nc != NULL && (nc->permittedSubtrees = sk_GENERAL_SUBTREE_new_null()) != NULL;
    for (size_t i = 0; done && i < PKI_PERMITS_MAX && p->permit[i] != NULL; i++)
        done = add_subtree(nc, p->permit[i]);
    done = done && X509_add1_ext_i2d(x, NID_name_constraints, nc, 1, X509V3_ADD_DEFAULT) == 1;
    NAME_CONSTRAINTS_free(nc);
    return done;
}

/* ---- checks ---- */

static enum bm_err
wrong(struct bm_msg *msg, const char *what)
{
    return bm_fail(msg, BM_ERR_DENIED, "the certificate does not fit its profile: %s", what);
}

static enum bm_err
check_itself(X509 *x, const struct pki_profile *p, struct bm_msg *msg)
{
    bool ca = p->kind == PKI_ROOT || p->kind == PKI_INTERMEDIATE;
    uint32_t flags = X509_get_extension_flags(x);
    uint32_t usage = X509_get_key_usage(x);
    uint32_t want = ca ? KU_KEY_CERT_SIGN | KU_CRL_SIGN : KU_DIGITAL_SIGNATURE;
    int at = X509_get_ext_by_NID(x, NID_basic_constraints, -1);

    if (X509_get_version(x) != X509_VERSION_3 || (flags & EXFLAG_INVALID) != 0)
        return wrong(msg, "it is no sound X.509 v3");
    if (at < 0 || X509_EXTENSION_get_critical(X509_get_ext(x, at)) != 1 ||
        ((flags & EXFLAG_CA) != 0) != ca)
        return wrong(msg, ca ? "it is no CA" : "it is a CA");
    if ((flags & EXFLAG_KUSAGE) == 0 || usage != want)
        return wrong(msg, "its key usage is another one");
    if (p->kind == PKI_DEVICE && X509_get_extended_key_usage(x) != XKU_SSL_CLIENT)
        return wrong(msg, "its extended key usage is not clientAuth");
    if (ca && X509_get_pathlen(x) != (p->path_len >= 0 ? p->path_len : -1))
        return wrong(msg, "its path length is another one");
    if (X509_get0_subject_key_id(x) == NULL)
        return wrong(msg, "it has no subject key identifier");
    if (X509_NAME_cmp(X509_get_subject_name(x), p->subject) != 0)
        return wrong(msg, "its subject is another one");
    return BM_OK;
}

static enum bm_err
check_names(X509 *x, X509 *issuer, struct bm_msg *msg)
{
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(issuer, NID_name_constraints, NULL, NULL);
    int rc = nc != NULL ? NAME_CONSTRAINTS_check(x, nc) : X509_V_OK;

    NAME_CONSTRAINTS_free(nc);
    return rc == X509_V_OK ? BM_OK
                           : bm_fail(msg, BM_ERR_DENIED,
                                 "the CA's name constraints do not permit this subject: %s",
                                 X509_verify_cert_error_string(rc));
}

static enum bm_err
check_issuer(const struct pki_cert *c, const struct pki_cert *issuer, const struct pki_profile *p,
    struct bm_msg *msg)
{
    X509 *above = pki_cert_x509(issuer);
    bool ca = p->kind == PKI_INTERMEDIATE;
    long left = X509_get_pathlen(above);

    if ((X509_get_extension_flags(above) & EXFLAG_CA) == 0)
        return bm_fail(msg, BM_ERR_DENIED, "the issuer is no CA");
    if (ca && left >= 0 && (p->path_len < 0 || p->path_len >= left))
        return bm_fail(msg, BM_ERR_DENIED,
            "the issuer's path length of %ld does not allow another CA with the path length wanted",
            left);
    if (pki_cert_not_before_ms(c) < pki_cert_not_before_ms(issuer) ||
        pki_cert_not_after_ms(c) > pki_cert_not_after_ms(issuer))
        return bm_fail(msg, BM_ERR_DENIED,
            "the certificate's dates are not within those of its issuer; fewer days, or a newer "
            "CA");
    if (!span_eq(pki_cert_issuer(c), pki_cert_subject(issuer)))
        return wrong(msg, "its issuer is another one");
    /* the others are certificates of our own, named after a code or a job */
    return p->kind == PKI_VERIFICATION || p->kind == PKI_LOG
               ? BM_OK
               : check_names(pki_cert_x509(c), above, msg);
}

enum bm_err
pki_profile_check(const struct pki_cert *c, const struct pki_cert *issuer,
    const struct pki_profile *profile, struct bm_msg *msg)
{
    enum bm_err err = check_itself(pki_cert_x509(c), profile, msg);

    if (err == BM_OK && pki_cert_not_after_ms(c) <= pki_cert_not_before_ms(c))
        err = wrong(msg, "it ends before it begins");
    if (err == BM_OK && profile->kind != PKI_ROOT)
        err = check_issuer(c, issuer, profile, msg);
    if (err == BM_OK)
        err = pki_cert_signed_by(c, issuer, msg);
    ERR_clear_error();
    return err;
}

/* ---- what a certificate has ---- */

int
pki_cert_path_len(const struct pki_cert *c)
{
    long len = X509_get_pathlen(pki_cert_x509(c));

    ERR_clear_error();
    return len >= 0 ? (int)len : PKI_NO_PATH_LEN;
}

enum bm_err
pki_subject_beside(
    const struct pki_cert *c, const char *common_name, X509_NAME **out, struct bm_msg *msg)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(pki_cert_x509(c)));
    int at = name != NULL ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;

    *out = NULL;
    X509_NAME_ENTRY_free(at >= 0 ? X509_NAME_delete_entry(name, at) : NULL);
    if (name == NULL || X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                            (const unsigned char *)common_name, -1, at, 0) != 1) {
        ERR_clear_error();
        X509_NAME_free(name);
        return bm_fail(msg, BM_ERR_INPUT, "'%.80s' cannot be a common name", common_name);
    }
    *out = name;
    return BM_OK;
}

enum bm_err
pki_subject_of_generation(
    const struct pki_cert *c, unsigned generation, X509_NAME **out, struct bm_msg *msg)
{
    char cn[PKI_CN_MAX] = "";
    char longer[PKI_CN_MAX + 16];

    (void)pki_cert_common_name(c, cn, sizeof cn);
    if (generation <= 1)
        return pki_subject_beside(c, cn, out, msg);
    (void)snprintf(longer, sizeof longer, "%s%sG%u", cn, cn[0] != '\0' ? " " : "", generation);
    return pki_subject_beside(c, longer, out, msg);
}

bool
pki_cert_has_key(const struct pki_cert *c, const EVP_PKEY *key)
{
    EVP_PKEY *own = X509_get0_pubkey(pki_cert_x509(c));
    bool same = own != NULL && EVP_PKEY_eq(own, key) == 1;

    ERR_clear_error();
    return same;
}

size_t
pki_cert_serial(const struct pki_cert *c, uint8_t *out, size_t cap)
{
    const ASN1_INTEGER *n = X509_get0_serialNumber(pki_cert_x509(c));
    size_t len = (size_t)ASN1_STRING_length(n);

    if (len > cap)
        return 0;
    memcpy(out, ASN1_STRING_get0_data(n), len);
    return len;
}

bool
pki_cert_point(const struct pki_cert *c, uint8_t out[PKI_POINT_LEN])
{
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(pki_cert_x509(c));
    EVP_PKEY *key = X509_get0_pubkey(pki_cert_x509(c));

    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_bits(key) != 256 ||
        ASN1_STRING_length(bits) != PKI_POINT_LEN)
        return false;
    memcpy(out, ASN1_STRING_get0_data(bits), PKI_POINT_LEN);
    return true;
}

struct span
pki_cert_key_id(const struct pki_cert *c)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(pki_cert_x509(c));

    return id != NULL ? span_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id))
                      : span_of(NULL, 0);
}

bool
pki_cert_verify(const struct pki_cert *c, struct span data, struct span signature)
{
    EVP_PKEY *key = X509_get0_pubkey(pki_cert_x509(c));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = key != NULL && ctx != NULL &&
                EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(ctx, signature.ptr, signature.len, data.ptr, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}
