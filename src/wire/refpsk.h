/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference PSKs: 16 bytes that a program is given as its pre-shared key and that are no key but
 * name secrets in the chip. SPEC openssl 3.2, 3.3.
 *
 *     A5A6B5B6 A5A6B5B6 | kind | index blocks | index blocks | 00 00 00
 *
 * A secret is `blocks` symmetric keys in a row from `index`. Kind 40, native: the first secret is
 * the PSK itself, the second is absent. Kind 43, HMAC: the first is what TLS 1.2 makes of the PSK,
 * the second what TLS 1.3 makes of it; one of them may be absent, which is 0 blocks.
 */
#ifndef BM_WIRE_REFPSK_H
#define BM_WIRE_REFPSK_H

#include "base/bytes.h"

enum {
    REFPSK_NATIVE = 0x40,
    REFPSK_HMAC = 0x43,
    REFPSK_LEN = 16,
    REFPSK_SLOTS = 8,
    REFPSK_BLOCKS_MAX = 4,
};

struct refpsk_secret {
    uint8_t index;
    uint8_t blocks; /* 1..4; 0: absent */
};

struct refpsk {
    uint8_t kind;
    struct refpsk_secret tls12;
    struct refpsk_secret tls13;
};

/* Does it begin with the magic? Then it must never be used as a key, well-formed or not. */
bool refpsk_claims(struct span psk);

/*
 * BM_ERR_NOT_FOUND: an ordinary PSK. BM_ERR_INPUT: it begins with the magic and is no reference: of
 * another length or kind, it names slots that do not exist, or none.
 */
enum bm_err refpsk_parse(struct span psk, struct refpsk *out);

/* BM_ERR_ARG: what refpsk_parse() would refuse. */
enum bm_err refpsk_build(uint8_t out[REFPSK_LEN], const struct refpsk *ref);

#endif
