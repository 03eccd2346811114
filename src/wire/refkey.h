/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NXP reference keys: an EC private key file whose scalar is not a key but names a slot of the
 * chip. SPEC a71ch 9.1, 9.2; SPEC openssl 1.1.
 *
 * There are two generations. The A71CH's own tools write class and index of a slot. NXP's later
 * "SSS" middleware numbers keys itself: it puts a 32-bit key id before the magic, an index of 0
 * and, for some chips, a class of 0. Which slot such a key lies in is not in the file; it is the
 * slot that holds the file's public key (refkey_names_slot).
 *
 * Recognition looks at the last 10 bytes of the scalar (magic twice, class, index), never at the
 * leading 0x10: about one file in 256 has a 31-byte scalar. Pure functions on DER; the PEM armour
 * is OpenSSL's business.
 */
#ifndef BM_WIRE_REFKEY_H
#define BM_WIRE_REFKEY_H

#include "base/bytes.h"

enum {
    REFKEY_CLASS_NONE = 0, /* the later middleware's, on some chips: a key pair */
    REFKEY_CLASS_PAIR = 0x10,
    REFKEY_CLASS_PUB = 0x20,
    REFKEY_MAGIC_LEN = 8,
    REFKEY_SCALAR_LEN = 32,
    REFKEY_POINT_LEN = 65,
    REFKEY_DER_MAX = 160,
};

/* What tells a reference from a key. */
extern const uint8_t refkey_magic[REFKEY_MAGIC_LEN];

struct refkey {
    uint32_t key_id;  /* of the later middleware; 0: none */
    uint8_t class_id; /* REFKEY_CLASS_*, as written: also one that nobody knows */
    uint8_t index;    /* slot, as written: also one that no chip has */
    bool has_point;
    /* 04 X Y when has_point. A compressed point is left here as it came, 02 or 03 and X, without
     * has_point: making Y of it takes arithmetic. All zero when the file holds none. */
    uint8_t point[REFKEY_POINT_LEN];
};

/*
 * Is this big-endian scalar (10..32 bytes, leading zeros or not) a reference? Fills class_id, index
 * and key_id. With the magic it is one, whatever class it names: what cannot be served must fail
 * and not be signed with in software. SPEC a71ch 9.2
 */
bool refkey_from_scalar(struct span scalar, struct refkey *out);

/* Do class and index name the slot? Otherwise it is the one with the file's public key. */
bool refkey_names_slot(const struct refkey *key);

/* The 32-byte scalar of SPEC a71ch 9.1. */
void refkey_scalar(uint8_t out[REFKEY_SCALAR_LEN], const struct refkey *key);

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
