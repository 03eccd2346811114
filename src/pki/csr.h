/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate request (PKCS#10) for a P-256 key that is elsewhere, in a chip for instance, and
 * signs hashes only.
 */
#ifndef BM_PKI_CSR_H
#define BM_PKI_CSR_H

#include "base/bytes.h"

#include <openssl/x509.h>

enum { PKI_POINT_LEN = 65, PKI_HASH_LEN = 32, PKI_SIGNATURE_MAX = 72 };

/* ECDSA of a SHA-256 hash with a P-256 key: DER into `out`. */
typedef enum bm_err (*pki_sign_fn)(void *arg, const uint8_t hash[PKI_HASH_LEN],
    uint8_t out[PKI_SIGNATURE_MAX], size_t *out_len, struct bm_msg *msg);

/*
 * Free with X509_REQ_free. The request's signature has been verified with its public key:
 * BM_ERR_CONFLICT when it does not (the key pair's halves do not belong together). What `sign` says
 * is passed on. `point`: 04 || X || Y.
 */
enum bm_err pki_csr_make(const X509_NAME *subject, const uint8_t point[PKI_POINT_LEN],
    pki_sign_fn sign, void *arg, X509_REQ **out, struct bm_msg *msg);

/* The one CSR in a PEM text, whose key is accepted (SPEC aws-iot 3.2) and whose signature verifies:
 * BM_ERR_INPUT. Free with X509_REQ_free. */
enum bm_err pki_csr_read(struct span csr_pem, X509_REQ **out, struct bm_msg *msg);

/* A public key from its point; NULL: not on the curve, or out of memory. EVP_PKEY_free. */
EVP_PKEY *pki_point_key(const uint8_t point[PKI_POINT_LEN]);

#endif
