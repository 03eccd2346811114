/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a heap of certificates and a key: the device's own, and its issuers in the order in which
 * TLS wants them (RFC 8446 4.4.2: each certifies the one before).
 *
 * A chip's storage and a PEM file both hold certificates in any order, of former keys too. The own
 * certificate is the one for a key of the device; when there are several (a renewal under way) the
 * newest comes first.
 */
#ifndef BM_DEVICE_CHAIN_H
#define BM_DEVICE_CHAIN_H

#include "base/bytes.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum { CHAIN_KEYS_MAX = 4, CHAIN_LEAVES_MAX = 4, CHAIN_ISSUERS_MAX = 8 };

struct chain {
    X509 *leaves[CHAIN_LEAVES_MAX];  /* for a key, the latest notBefore (then notAfter) first;
                                        borrowed */
    size_t key_of[CHAIN_LEAVES_MAX]; /* which of the keys a leaf is for */
    size_t leaf_count;
    X509 *issuers[CHAIN_ISSUERS_MAX]; /* of leaf `pick`, its signer first, borrowed */
    size_t issuer_count;
    size_t strangers; /* certificates that are neither */
    bool in_order;    /* they were found in the order above */
    bool complete;    /* ends with a self-signed certificate, or with the leaf's signer at least */
};

/* `keys`: up to CHAIN_KEYS_MAX. `pick`: which of the leaves to build on, 0 the newest (beyond: the
 * last). Borrows from `found`. */
void chain_build(STACK_OF(X509) * found, EVP_PKEY *const *keys, size_t key_count, size_t pick,
    struct chain *out);
/* Did the key of `issuer` sign `x`, whose issuer's name it has? */
bool chain_signed_by(X509 *x, X509 *issuer);
/* Is the certificate for this key? */
bool chain_is_for(X509 *x, EVP_PKEY *key);

/* One line for a person: "CN=device 7", RFC 2253, cut to fit. */
void chain_name(const X509 *x, bool issuer, char *out, size_t cap);
int64_t chain_from_ms(const X509 *x);       /* notBefore */
int64_t chain_until_ms(const X509 *x);      /* notAfter */
void chain_id(const X509 *x, char out[65]); /* hex SHA-256 of the DER: the certificate id */

#endif
