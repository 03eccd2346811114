/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of an X.509 certificate that PKCS #11 has attributes for. Pure, on bytes from the chip;
 * nothing is judged but the form.
 */
#ifndef BM_OPENSSL_PKCS11_CERTIFICATE_H
#define BM_OPENSSL_PKCS11_CERTIFICATE_H

#include "base/bytes.h"

/* A SubjectPublicKeyInfo on P-256 is this and the uncompressed point. RFC 5480 */
enum { SPKI_HEAD_LEN = 26 };
extern const uint8_t spki_head[SPKI_HEAD_LEN];

/* All borrow from the certificate; elements with their headers. */
struct certificate {
    struct span serial; /* INTEGER */
    struct span issuer; /* Name */
    struct span subject;
    struct span point; /* 65 bytes; empty: another kind of key */
};

/* false: no certificate. `out` is then empty. */
bool certificate_parse(struct span der, struct certificate *out);

#endif
