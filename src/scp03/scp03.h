/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCP03 as the A71CH speaks it, for both ends: keys, cryptograms, and the protection of commands
 * and responses. SPEC a71ch 4; GlobalPlatform Amendment D, NIST SP 800-38B and SP 800-108.
 *
 * AES-128 and security level 33 only: a command's data is encrypted and all of it has a MAC, and so
 * is the response. Nothing is sent or stored here. Each end keeps a struct scp03_channel:
 *
 *     scp03_start      session keys from static keys and both challenges
 *     scp03_cryptogram each end proves that it has them; then the host's EXTERNAL AUTHENTICATE goes
 *                      through scp03_protect_command and scp03_open_command, with a MAC only
 *     scp03_next       ends that exchange, and later every other, whatever its status word was
 *
 * No branch and no index here depends on a key or on bytes that have not been authenticated. A MAC
 * of 8 bytes is all there is: whoever may guess without limit should start a new session.
 * BM_ERR_INTERNAL everywhere: libcrypto or memory failed.
 */
#ifndef BM_SCP03_SCP03_H
#define BM_SCP03_SCP03_H

#include "wire/apdu.h"

#include <openssl/evp.h>

enum {
    SCP03_KEY_LEN = 16,
    SCP03_BLOCK_LEN = 16,
    SCP03_CHALLENGE_LEN = 8,
    SCP03_CONTEXT_LEN = 2 * SCP03_CHALLENGE_LEN, /* host challenge, card challenge */
    SCP03_CRYPTOGRAM_LEN = 8,
    SCP03_MAC_LEN = 8,
    SCP03_KCV_LEN = 3,
    SCP03_DATA_MAX = 239,  /* plain, either way */
    SCP03_CRYPT_MAX = 240, /* the same with padding */
    SCP03_WRAPPED_MAX = SCP03_CRYPT_MAX + SCP03_MAC_LEN,
    SCP03_LEVEL = 0x33, /* P1 of EXTERNAL AUTHENTICATE */
    SCP03_CLA_PLAIN = 0x80,
    SCP03_CLA_SECURE = 0x84,
};

/* PUT KEY's command data, and the answer to INITIALIZE UPDATE without status word. */
enum {
    SCP03_PUT_KEY_LEN = 1 + 3 * (2 + 1 + SCP03_KEY_LEN + 1 + SCP03_KCV_LEN),
    SCP03_INIT_LEN = 10 + 3 + SCP03_CHALLENGE_LEN + SCP03_CRYPTOGRAM_LEN,
};

/* The static keys. */
struct scp03_keys {
    uint8_t enc[SCP03_KEY_LEN];
    uint8_t mac[SCP03_KEY_LEN];
    uint8_t dek[SCP03_KEY_LEN];
};

/* libcrypto's algorithms from one library context, which must outlive them. */
struct scp03_aes {
    EVP_CIPHER *ecb;
    EVP_CIPHER *cbc;
    EVP_MAC *cmac;
};

enum bm_err scp03_aes_init(struct scp03_aes *a, OSSL_LIB_CTX *lib);
void scp03_aes_fini(struct scp03_aes *a); /* takes a zeroed one */

/* One end of a session; all of it is secret. bm_wipe() it when it is over. */
struct scp03_channel {
    uint8_t enc[SCP03_KEY_LEN]; /* session keys */
    uint8_t mac[SCP03_KEY_LEN];
    uint8_t rmac[SCP03_KEY_LEN];
    uint8_t chain[SCP03_BLOCK_LEN]; /* the MAC of the last command */
    uint64_t counter;               /* of exchanges; 0: before EXTERNAL AUTHENTICATE */
};

/* AES-CMAC over the parts, one behind the other. */
enum bm_err scp03_cmac(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN],
    const struct span *parts, size_t count, uint8_t out[SCP03_BLOCK_LEN]);

/* One block of SP 800-108 in counter mode: the counter 01, one byte, between two fixed parts. */
enum bm_err scp03_kdf(const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN],
    struct span before, struct span after, uint8_t out[SCP03_BLOCK_LEN]);

/* Key check value: what sixteen bytes of 01 become, its first three bytes. SPEC 4.1. */
enum bm_err scp03_kcv(
    const struct scp03_aes *a, const uint8_t key[SCP03_KEY_LEN], uint8_t out[SCP03_KCV_LEN]);

/*
 * PUT KEY's data, SPEC 4.1. Parsing answers BM_ERR_INPUT when the form or a key check value is
 * wrong; `keys` is then undefined.
 */
enum bm_err scp03_put_key_build(const struct scp03_aes *a, uint8_t version,
    const struct scp03_keys *keys, uint8_t out[SCP03_PUT_KEY_LEN]);
enum bm_err scp03_put_key_parse(
    const struct scp03_aes *a, struct span in, uint8_t *version, struct scp03_keys *keys);

/* Session keys; the chain starts with zeros and the counter with 0. SPEC 4.3. */
enum bm_err scp03_start(struct scp03_channel *ch, const struct scp03_aes *a,
    const struct scp03_keys *keys, const uint8_t context[SCP03_CONTEXT_LEN]);

enum scp03_side { SCP03_CARD = 0, SCP03_HOST = 1 };
enum bm_err scp03_cryptogram(const struct scp03_channel *ch, const struct scp03_aes *a,
    enum scp03_side side, const uint8_t context[SCP03_CONTEXT_LEN],
    uint8_t out[SCP03_CRYPTOGRAM_LEN]);

/*
 * Host: protect a command (CLA 80). `out` borrows from `room` and has CLA 84. The chain moves on.
 * BM_ERR_ARG: more than SCP03_DATA_MAX bytes of data.
 */
enum bm_err scp03_protect_command(struct scp03_channel *ch, const struct scp03_aes *a,
    const struct apdu *cmd, uint8_t room[SCP03_WRAPPED_MAX], struct apdu *out);

/*
 * Card: check a command and decrypt it into `room`; `out` has CLA 80. The chain moves on.
 * BM_ERR_DENIED: no MAC, a wrong one, or wrong padding behind a right one; the session is over.
 */
enum bm_err scp03_open_command(struct scp03_channel *ch, const struct scp03_aes *a,
    const struct apdu *cmd, uint8_t room[SCP03_WRAPPED_MAX], struct apdu *out);

/*
 * Card: append encrypted data and MAC; the status word comes behind them. BM_ERR_ARG: more than
 * SCP03_DATA_MAX bytes. BM_ERR_SPACE: no room.
 */
enum bm_err scp03_protect_response(const struct scp03_channel *ch, const struct scp03_aes *a,
    struct span data, uint16_t sw, struct wr *out);

/*
 * Host: check a response and decrypt it; `data` borrows from `room`. BM_ERR_DENIED: no MAC or a
 * wrong one. BM_ERR_PROTO: the MAC is right and what it covers makes no sense (length, padding).
 */
enum bm_err scp03_open_response(const struct scp03_channel *ch, const struct scp03_aes *a,
    struct span rsp, uint8_t room[SCP03_CRYPT_MAX], struct span *data, uint16_t *sw);

/* An exchange is over: both ends count it, errors included. SPEC 4.6. */
void scp03_next(struct scp03_channel *ch);

/*
 * Strict ISO/IEC 7816-4 padding: 80, then 00 up to the end of the last block, at least one byte
 * before it. Looks at the last block only, always at all of it. BM_ERR_INPUT: it is not.
 */
enum bm_err scp03_unpad(struct span padded, size_t *len);

#endif
