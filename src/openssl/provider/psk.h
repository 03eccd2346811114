/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PSKs in the chip: what libssl does with a pre-shared key, done by the chip when the key is a
 * reference (wire/refpsk.h). SPEC openssl 3.
 *
 * libssl knows keys only as bytes, so the reference travels in the key's place through libssl's
 * own arithmetic and is met again as the secret of a key derivation. For TLS 1.3 a second stand-in
 * is needed for the early secret, which libssl keeps between two derivations. Nothing here ever
 * falls back to software: a stand-in used as a key would be a key that everybody knows.
 */
#ifndef BM_OPENSSL_PSK_H
#define BM_OPENSSL_PSK_H

#include "openssl/provider/provider.h"
#include "wire/refpsk.h"

/* What was found in the place of a secret. */
enum psk_found {
    PSK_NONE,      /* a secret */
    PSK_REFERENCE, /* a reference, or something with its magic */
    PSK_EARLY,     /* the stand-in for an early secret of TLS 1.3 */
    PSK_SHARED,    /* the stand-in for an ECDHE secret, where none belongs */
};

struct psk {
    enum psk_found found;
    bool broken; /* the magic and nothing that can be read */
    struct refpsk ref;
    struct refpsk_secret early;
};

/* Look at a PSK, or at a secret of TLS 1.3. */
struct psk psk_look(struct span secret);

/* The stand-in for an ECDHE secret that only the chip can make. */
void psk_write_shared(uint8_t out[A71CH_SECRET_LEN], const uint8_t ticket[HELLO_TICKET_LEN]);

/* A premaster secret of TLS 1.2: RFC 4279 2, RFC 5489 2. */
struct psk_premaster {
    struct psk psk;
    enum psk_other {
        PSK_OTHER_ZEROS,  /* plain PSK */
        PSK_OTHER_SHARED, /* ECDHE_PSK with the chip's key pair */
        PSK_OTHER_SECRET, /* DHE_PSK, ECDHE_PSK or RSA_PSK in software */
    } other;
    uint8_t ticket[HELLO_TICKET_LEN]; /* with PSK_OTHER_SHARED */
};
struct psk_premaster psk_look_premaster(struct span premaster);

/* All return 1, or 0 raised. `digest` is the one asked for; the chip has SHA-256 only. */

/* The PRF of TLS 1.2 with a premaster in the chip. */
int psk_prf(struct prov *p, const struct psk_premaster *from, const EVP_MD *digest,
    struct span seed, uint8_t *out, size_t len);

/* Early secret of TLS 1.3 from a reference: its stand-in. No chip traffic. */
int psk_early(
    struct prov *p, const struct psk *from, const EVP_MD *digest, uint8_t *out, size_t len);

/* HKDF-Expand-Label (RFC 8446 7.1) of an early secret in the chip. */
int psk_expand(struct prov *p, const struct psk *early, const EVP_MD *digest, struct span prefix,
    struct span label, struct span data, uint8_t *out, size_t len);

#endif
