/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and certificates for tests, made by OpenSSL at run time, so that what the code under test
 * reads comes from somebody else. Every failure aborts the test program.
 */
#ifndef BM_TESTS_CERTS_H
#define BM_TESTS_CERTS_H

#include "base/bytes.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

struct made {
    EVP_PKEY *key;
    X509 *cert;
};

struct make {
    const char *name;          /* subject CN */
    const struct made *issuer; /* NULL: self-signed */
    bool ca;                   /* v3 with basicConstraints CA:TRUE; else X.509 v1 */
    unsigned rsa_bits;         /* 0: see kind */
    const char *kind;          /* P-384, P-521, ED25519; NULL: P-256 */
    bool sha1;                 /* signature; else SHA-256 */
    const struct made *key_of; /* NULL: a new key */
    unsigned serial;           /* 0: random */
    long from_s;               /* validity, seconds from now; 0, 0: an hour back to a day ahead */
    long to_s;
};

struct made certs_make(const struct make *what);
void certs_fini(struct made *m);
void certs_der(const struct made *m, struct buf *out);
void certs_id(const struct made *m, uint8_t id[32]);
void certs_write(const struct made *m, const char *dir, const char *name); /* NAME.pem, NAME.key */

#endif
