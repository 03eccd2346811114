/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X.509 for the cloud half: read a certificate, say what it is, check who signed it; and the local
 * authority that issues the server certificate and the certificates the service makes. On OpenSSL;
 * SPEC aws-iot 3.
 *
 * Signature checks, dates and constraints are asked one by one, because the cloud's rules are not a
 * TLS chain walk: a verification certificate may be X.509 v1, an intermediate may be registered
 * alone. Objects are independent; one thread uses an object at a time.
 */
#ifndef BM_PKI_PKI_H
#define BM_PKI_PKI_H

#include "base/bytes.h"

enum { PKI_ID_LEN = 32, PKI_ID_TEXT = 65, PKI_CN_MAX = 256, PKI_PEM_MAX = 65536 };

/*
 * Make reading EC keys cheap where OpenSSL needs help with it, for the whole process until it is
 * switched off; certificates cannot be issued meanwhile. False: OpenSSL refuses, and all works as
 * before, only slower. Not to be called while another thread uses OpenSSL.
 */
bool pki_ec_shortcut(bool on);

struct pki_cert;

/*
 * Read the one certificate in a PEM text of at most PKI_PEM_MAX bytes (text before and after is
 * allowed, CRLF too). BM_ERR_INPUT: none, more than one, another kind of block, or damaged; the
 * message says which, with what was seen. Free with pki_cert_free (takes NULL).
 */
enum bm_err pki_cert_from_pem(struct span pem, struct pki_cert **out, struct bm_msg *msg);
/* BM_ERR_INPUT: not exactly one certificate in DER, or dates that are none. */
enum bm_err pki_cert_from_der(struct span der, struct pki_cert **out, struct bm_msg *msg);
void pki_cert_free(struct pki_cert *c);

struct span pki_cert_der(const struct pki_cert *c);     /* borrowed from c, as are all spans here */
struct span pki_cert_subject(const struct pki_cert *c); /* DER of the name, for look-ups */
struct span pki_cert_issuer(const struct pki_cert *c);
void pki_cert_id(
    const struct pki_cert *c, uint8_t id[PKI_ID_LEN]); /* SHA-256 of the DER, SPEC 3.1 */
int64_t pki_cert_not_before_ms(const struct pki_cert *c);
int64_t pki_cert_not_after_ms(const struct pki_cert *c);
bool pki_cert_is_ca(const struct pki_cert *c); /* basicConstraints CA:TRUE is present */

/* Subject common name as UTF-8 into out (terminated); false when there is none or it is too long.
 */
bool pki_cert_common_name(const struct pki_cert *c, char *out, size_t cap);

/* One line for a person: `CN=Demo CA NXP` (RFC 2253), cut to cap. */
void pki_cert_subject_text(const struct pki_cert *c, char *out, size_t cap);
void pki_cert_issuer_text(const struct pki_cert *c, char *out, size_t cap);

/*
 * The names of a certificate in DER, as DER and borrowed, without reading the rest of it (its key
 * above all); false when it is none. Then each as text, as above: for lists of many certificates.
 */
bool pki_names_find(struct span der, struct span *subject, struct span *issuer);
void pki_name_text(struct span name, char *out, size_t cap);
bool pki_name_common_name(struct span name, char *out, size_t cap);

/*
 * What the certificate says of its subject, issuer and alternative names, as SPEC aws-iot 7.3 names
 * it ("Subject.CommonName", "AlternativeName.DNSName", "SerialNumber"), each value in its turn, as
 * UTF-8 without terminator, borrowed for the call. A value that cannot be read is left out.
 */
typedef void (*pki_attribute_fn)(void *arg, const char *name, struct span value);
void pki_cert_attributes(const struct pki_cert *c, pki_attribute_fn fn, void *arg);

/*
 * RSA of 2048 bits or more, or P-256/384/521, and a signature hash of SHA-256 or better.
 * BM_ERR_INPUT names what was seen. SPEC 3.2
 */
enum bm_err pki_cert_acceptable(const struct pki_cert *c, struct bm_msg *msg);

/*
 * Is c's issuer name issuer's subject, and does issuer's key verify c's signature? BM_ERR_DENIED
 * says which failed.
 */
enum bm_err pki_cert_signed_by(
    const struct pki_cert *c, const struct pki_cert *issuer, struct bm_msg *msg);

/* -1: not valid yet at `now_ms`, 1: no longer, 0: valid; both ends are part of it. */
int pki_cert_dates(const struct pki_cert *c, int64_t now_ms);
/* The same for a person. BM_ERR_DENIED says which end was missed, with both dates. */
enum bm_err pki_cert_valid_at(const struct pki_cert *c, int64_t now_ms, struct bm_msg *msg);

enum bm_err pki_cert_to_pem(const struct pki_cert *c, struct buf *out);

/* ---- the local authority ---- */

/*
 * Files in its folder: root-ca.pem (what a device passes as --cafile), root-ca.key (0600),
 * server.pem, server.key (0600), issuing-ca.pem and .key for certificates the service makes. Made
 * at first open, kept afterwards; the server certificate is made again when its names differ from
 * `names`, when it ends within 30 days or does not fit its key or the root.
 */
struct pki_authority;

/*
 * `names`: DNS names or IP literals of the server certificate. BM_ERR_IO: a file cannot be read or
 * written. BM_ERR_INPUT: a file is damaged or its partner is missing (a root is never replaced
 * silently: devices trust it); the message has its path.
 */
enum bm_err pki_authority_open(const char *dir, const char *const *names, size_t name_count,
    struct pki_authority **out, struct bm_msg *msg);
void pki_authority_close(struct pki_authority *a); /* takes NULL */
/* Absolute path of "root-ca.pem" or another of the files above; owned by a. NULL: no such file. */
const char *pki_authority_file(const struct pki_authority *a, const char *name);

/*
 * An RSA 2048 key pair and a certificate for it, as CreateKeysAndCertificate gives them (SPEC 3.4).
 * PEM texts; the caller wipes the private one.
 */
enum bm_err pki_issue_with_new_key(struct pki_authority *a, struct buf *cert_pem,
    struct buf *public_pem, struct buf *private_pem, struct bm_msg *msg);

/*
 * A certificate for a PEM CSR whose signature verifies. BM_ERR_INPUT: not a CSR, bad signature, or
 * a key not accepted.
 */
enum bm_err pki_issue_from_csr(
    struct pki_authority *a, struct span csr_pem, struct buf *cert_pem, struct bm_msg *msg);

#endif
