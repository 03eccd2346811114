/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates that our tools issue: root, intermediate, verification certificate, device; each by
 * its profile, and held against the profile before it is given out. Revocation lists.
 */
#ifndef BM_PKI_ISSUE_H
#define BM_PKI_ISSUE_H

#include "pki/signer.h"

enum pki_kind {
    PKI_ROOT,         /* CA, keyCertSign and cRLSign, signed by its own key */
    PKI_INTERMEDIATE, /* the same, with path length, signed by another CA */
    PKI_DEVICE,       /* no CA, digitalSignature, clientAuth */
    PKI_VERIFICATION, /* proves a CA's key to the cloud: no CA. SPEC aws-iot 3.2 */
    PKI_LOG,          /* no CA, digitalSignature: signs records */
};

enum { PKI_NO_PATH_LEN = -1, PKI_PERMITS_MAX = 4, PKI_SERIAL_LEN = 16 };

struct pki_profile {
    enum pki_kind kind;
    const X509_NAME *subject;
    int path_len; /* of CAs; PKI_NO_PATH_LEN: not said */
    /* Name constraints of CAs, permitted subtrees only: "dns:example.com" or "subject:/O=Acme",
     * NULL behind the last. */
    const char *permit[PKI_PERMITS_MAX + 1];
    const struct pki_cert *permit_like; /* or those of this certificate; NULL: none */
    int64_t not_before_ms;
    int64_t not_after_ms; /* see pki_not_before, pki_not_after */
};

/* A little before `now_ms`, because a device's clock may be behind; `days` from then on. On whole
 * seconds, never outside the dates of `issuer` (NULL: none). */
int64_t pki_not_before(int64_t now_ms, const struct pki_cert *issuer);
int64_t pki_not_after(int64_t now_ms, unsigned days, const struct pki_cert *issuer);

/*
 * Make the certificate of `key`, signed by `by`, whose certificate is `issuer` (NULL: signed by
 * itself). Its serial number is 16 random bytes, the first one 40 to 7f. It is read back and
 * checked (pki_profile_check) before it is given out.
 *
 * BM_ERR_INPUT: a constraint has no known form. BM_ERR_DENIED: the issuer must not issue it: no CA,
 * path length used up, name not permitted, dates outside its own. Others: what `by` says.
 */
enum bm_err pki_issue(const struct pki_signer *by, const struct pki_cert *issuer, EVP_PKEY *key,
    const struct pki_profile *profile, struct pki_cert **out, struct bm_msg *msg);

/* BM_ERR_INPUT names one of the constraints (NULL behind the last) that has no known form. */
enum bm_err pki_permits_sound(const char *const *permit, struct bm_msg *msg);

/* Does the certificate say what the profile wants, and may `issuer` have issued it? BM_ERR_DENIED
 * says what does not fit. */
enum bm_err pki_profile_check(const struct pki_cert *c, const struct pki_cert *issuer,
    const struct pki_profile *profile, struct bm_msg *msg);

int pki_cert_path_len(const struct pki_cert *c); /* PKI_NO_PATH_LEN: not said */
/* Its subject, for another one like it; for generation 2 and higher with " G2" behind its common
 * name. Free with X509_NAME_free. */
enum bm_err pki_subject_of_generation(
    const struct pki_cert *c, unsigned generation, X509_NAME **out, struct bm_msg *msg);
/* The CA's subject with this common name instead of its own. Free with X509_NAME_free. */
enum bm_err pki_subject_beside(
    const struct pki_cert *c, const char *common_name, X509_NAME **out, struct bm_msg *msg);
/* Is this the certificate of the key? */
bool pki_cert_has_key(const struct pki_cert *c, const EVP_PKEY *key);
/* The serial number, big-endian without leading zeros, at most `cap` bytes; 0: longer. */
size_t pki_cert_serial(const struct pki_cert *c, uint8_t *out, size_t cap);
/* Point of a P-256 certificate: 04 || X || Y. False: another kind of key. */
bool pki_cert_point(const struct pki_cert *c, uint8_t out[PKI_POINT_LEN]);
/* Subject key identifier; an empty span when there is none. */
struct span pki_cert_key_id(const struct pki_cert *c);
/* Does the public key verify an ECDSA-SHA-256 signature (DER) over the bytes? */
bool pki_cert_verify(const struct pki_cert *c, struct span data, struct span signature);

/*
 * A revocation list of `issuer` in PEM that names these certificates, good for `days`. `number`
 * grows with each list.
 */
struct pki_revoked {
    const struct pki_cert *cert;
    int64_t when_ms;
};
enum bm_err pki_crl(const struct pki_signer *by, const struct pki_cert *issuer,
    const struct pki_revoked *revoked, size_t count, uint64_t number, int64_t now_ms, unsigned days,
    struct buf *pem, struct bm_msg *msg);

#endif
