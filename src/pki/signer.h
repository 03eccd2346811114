/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private key of a CA: in memory, read from PEM with or without a passphrase, or elsewhere (a
 * chip), where only hashes can be sent to.
 */
#ifndef BM_PKI_SIGNER_H
#define BM_PKI_SIGNER_H

#include "pki/csr.h"
#include "pki/pki.h"

struct pki_signer;

/* A new P-256 key from OpenSSL's random numbers. */
enum bm_err pki_signer_new(struct pki_signer **out, struct bm_msg *msg);

/*
 * The private key in a PEM text: PKCS#8, encrypted or not, or the older forms. `passphrase` NULL:
 * none. BM_ERR_INPUT: no key there, or one that SPEC aws-iot 3.2 does not accept; BM_ERR_DENIED:
 * encrypted, and the passphrase is wrong or missing.
 */
enum bm_err pki_signer_from_pem(
    struct span pem, const char *passphrase, struct pki_signer **out, struct bm_msg *msg);

/* The P-256 key with this public point; `sign` is called for each signature, with `arg`. */
enum bm_err pki_signer_elsewhere(const uint8_t point[PKI_POINT_LEN], pki_sign_fn sign, void *arg,
    struct pki_signer **out, struct bm_msg *msg);

void pki_signer_free(struct pki_signer *s); /* takes NULL */

/*
 * Append the key as PKCS#8 in PEM, encrypted with AES-256 under a key of PBKDF2 when there is a
 * passphrase. The caller wipes it. BM_ERR_ARG: the key is elsewhere.
 */
enum bm_err pki_signer_to_pem(
    const struct pki_signer *s, const char *passphrase, struct buf *out, struct bm_msg *msg);

EVP_PKEY *pki_signer_public(const struct pki_signer *s); /* borrowed; may have a private half */
bool pki_signer_is_elsewhere(const struct pki_signer *s);

/* ECDSA with P-256 and SHA-256 over bytes, DER. BM_ERR_ARG: another kind of key. */
enum bm_err pki_sign_bytes(const struct pki_signer *s, struct span data,
    uint8_t out[PKI_SIGNATURE_MAX], size_t *out_len, struct bm_msg *msg);

#endif
