/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NXP reference keys: an EC private key file whose scalar is not a key but names a slot of the
 * chip. SPEC a71ch 9.1, 9.2; SPEC openssl 1.1.
 *
 * Recognition looks at the last 10 bytes of the scalar (magic twice, class, index), never at the
 * leading 0x10: about one file in 256 has a 31-byte scalar. Pure functions on DER; the PEM armour
 * is OpenSSL's business.
 */
#ifndef BM_WIRE_REFKEY_H
#define BM_WIRE_REFKEY_H

#include "base/bytes.h"

enum {
    REFKEY_CLASS_PAIR = 0x10,
    REFKEY_CLASS_PUB = 0x20,
    REFKEY_SCALAR_LEN = 32,
    REFKEY_POINT_LEN = 65,
    REFKEY_DER_MAX = 160,
};

struct refkey {
    uint8_t class_id; /* REFKEY_CLASS_* */
    uint8_t index;    /* slot, as written: also one that no chip has */
    bool has_point;
    /* 04 X Y when has_point. A compressed point is left here as it came, 02 or 03 and X, without
     * has_point: making Y of it takes arithmetic. All zero when the file holds none. */
    uint8_t point[REFKEY_POINT_LEN];
};

/*
 * Does this big-endian scalar (10..32 bytes, leading zeros or not) name a slot?
 * Fills class_id and index. False for any other scalar, also for a class other than 10 and 20.
 */
bool refkey_from_scalar(struct span scalar, struct refkey *out);

/* The 32-byte scalar of SPEC a71ch 9.1. */
void refkey_scalar(uint8_t out[REFKEY_SCALAR_LEN], uint8_t class_id, uint8_t index);

/*
 * Read a DER `ECPrivateKey` (SEC 1, RFC 5915) or PKCS#8 `PrivateKeyInfo` on P-256 whose scalar is a
 * reference. `der` is the structure and nothing after it.
 * BM_ERR_NOT_FOUND: well-formed, but an ordinary key, another curve or algorithm.
 * BM_ERR_INPUT: not such a structure.
 */
enum bm_err refkey_parse_sec1(struct span der, struct refkey *out);
enum bm_err refkey_parse_pkcs8(struct span der, struct refkey *out);

/*
 * Append the structure with named curve prime256v1 and public key, as OpenSSL orders its parts.
 * BM_ERR_ARG: no point. BM_ERR_SPACE: no room.
 */
enum bm_err refkey_build_sec1(struct wr *out, const struct refkey *key);
enum bm_err refkey_build_pkcs8(struct wr *out, const struct refkey *key);

#endif
