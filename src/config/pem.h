/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key and certificate files, in and out. OpenSSL reads, in a context of its own with its own
 * providers only, so that no configuration of the user's can hand the tool a key that lives
 * elsewhere.
 */
#ifndef BM_CONFIG_PEM_H
#define BM_CONFIG_PEM_H

#include "config/tool.h"
#include "wire/refkey.h"

#include <openssl/x509.h>

struct key {
    uint8_t point[A71CH_POINT_LEN];
    bool has_scalar;
    bool is_reference; /* the scalar is not a key but names a slot, SPEC a71ch 9.1 */
    uint8_t scalar[A71CH_SCALAR_LEN];
};

/*
 * Read EC PRIVATE KEY, PKCS#8 or PUBLIC KEY on P-256. The caller wipes `out`. What is wrong goes to
 * stderr. CODE_FILE_OPEN, CODE_PEM_READ (no key, encrypted, halves that do not belong together),
 * CODE_CURVE (another algorithm or curve).
 */
enum code pem_read(const char *path, struct key *out);

enum form { FORM_DER, FORM_PEM };

/*
 * Read an X.509 certificate, append its DER to `out` and print the file's name and that length, as
 * the vendor's tool does. CODE_FILE_OPEN, CODE_PEM_READ (no certificate of that form), CODE_MEMORY.
 */
enum code pem_read_certificate(const char *path, enum form form, struct buf *out);

/* Replace the file whole. CODE_PEM_WRITE. */
enum code pem_write_request(const char *path, X509_REQ *req);
enum code pem_write_public(const char *path, const uint8_t point[A71CH_POINT_LEN]);
enum code pem_write_reference(const char *path, const struct refkey *key); /* mode 0600 */

#endif
