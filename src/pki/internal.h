/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: OpenSSL's objects behind pki.h. */
#ifndef BM_PKI_INTERNAL_H
#define BM_PKI_INTERNAL_H

#include "pki/csr.h"
#include "pki/pki.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

X509 *pki_cert_x509(const struct pki_cert *c); /* borrowed */

/* names.c, as pki_name_text and pki_name_common_name; NULL has no name */
void pki_x509_name_text(const X509_NAME *name, char *out, size_t cap);
bool pki_x509_common_name(const X509_NAME *name, char *out, size_t cap);

/* Why OpenSSL refused, its newest words; empties its queue. */
void pki_openssl_words(char *out, size_t cap);

/* Appends what a memory BIO holds and frees it (takes NULL: BM_ERR_MEM). */
enum bm_err pki_take_bio(BIO *bio, struct buf *out);

/* The key rule of SPEC aws-iot 3.2. `what` begins the message: "the certificate". */
enum bm_err pki_key_acceptable(EVP_PKEY *key, const char *what, struct bm_msg *msg);

/*
 * The DER of the one PEM block in `pem`, which must be of a kind that `kinds` (NULL at its end)
 * lists. BM_ERR_INPUT as in pki_cert_from_pem. Free with OPENSSL_free.
 */
enum bm_err pki_pem_one(struct span pem, const char *const *kinds, const char *what, uint8_t **der,
    long *der_len, struct bm_msg *msg);

/* A serial number of 16 random bytes, positive and of full length. */
bool pki_set_serial(X509 *x);

/* Add the name constraints of issue.h. */
struct pki_profile;
bool pki_add_permits(X509 *x, const struct pki_profile *p);

#endif
