/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One chip for all threads of a process and for its children: what every way of bringing chip keys
 * into OpenSSL needs between a reference key and an APDU. Knows no OpenSSL.
 *
 * Nothing is sent before the first private operation: programs read their keys long before they
 * fork, drop their rights or have anything to sign (SPEC openssl 5). The connection then stays
 * open. It is renewed once, silently, when the server was restarted between two operations.
 *
 * Threads. Any thread at any time; operations are served one after another. After fork() the child
 * gets a connection of its own at its first operation and never speaks on the inherited one.
 */
#ifndef BM_OPENSSL_SHARED_CHIP_H
#define BM_OPENSSL_SHARED_CHIP_H

#include "a71ch.h"
#include "base/bytes.h"
#include "base/err.h"

struct shared_chip;

/*
 * `address` as a71ch_open() takes it, copied; NULL: the environment decides, now and not when it
 * connects, because servers like nginx empty their environment before they serve.
 * Returns NULL when memory is short.
 */
struct shared_chip *shared_chip_new(const char *address);
/* How long one answer may take; 0: the library's 30 s. Before the first operation. */
void shared_chip_set_timeout(struct shared_chip *c, unsigned ms);
void shared_chip_free(struct shared_chip *c);

/*
 * What to do when the connection that lay idle turns out to be dead: ask again on a new one, or
 * report it. AGAIN is for what leaves the chip as it was, so that it may have happened already.
 */
enum shared_chip_retry { SHARED_CHIP_AGAIN, SHARED_CHIP_ONCE };

/* Some commands, on a connected chip that nobody else uses meanwhile; with AGAIN maybe twice. */
typedef a71ch_result shared_chip_fn(a71ch *chip, void *arg);

/*
 * Connect if need be and run `fn`. BM_ERR_ARG: no such slot. BM_ERR_IO, BM_ERR_TIMEOUT: the chip
 * cannot be reached. BM_ERR_DENIED: not by this user. BM_ERR_STATUS: it refused. BM_ERR_PROTO: it
 * answered nonsense. `msg` gets the library's sentence. What `fn` does to `arg` before it fails
 * stays done.
 */
enum bm_err shared_chip_do(struct shared_chip *c, enum shared_chip_retry retry, shared_chip_fn *fn,
    void *arg, struct bm_msg *msg);

/* Sign a hash, or agree on a secret, with the key pair in slot `index`. See a71ch_pair_sign() and
 * a71ch_pair_ecdh(). */
enum bm_err shared_chip_sign(struct shared_chip *c, unsigned index,
    const uint8_t hash[A71CH_HASH_LEN], uint8_t out[A71CH_SIGNATURE_MAX], size_t *out_len,
    struct bm_msg *msg);
enum bm_err shared_chip_ecdh(struct shared_chip *c, unsigned index,
    const uint8_t peer[A71CH_POINT_LEN], uint8_t out[A71CH_SECRET_LEN], struct bm_msg *msg);

/*
 * The slot of class REFKEY_CLASS_PAIR or REFKEY_CLASS_PUB that holds the public key `point`: for
 * reference keys that do not name it. Up to 4 commands. BM_ERR_NOT_FOUND: no slot does.
 */
enum bm_err shared_chip_find(struct shared_chip *c, unsigned class_id,
    const uint8_t point[A71CH_POINT_LEN], unsigned *index, struct bm_msg *msg);
/* *valid: does the signature fit the public key stored in slot `index`? */
enum bm_err shared_chip_verify(struct shared_chip *c, unsigned index,
    const uint8_t hash[A71CH_HASH_LEN], struct span sig, bool *valid, struct bm_msg *msg);
/* Generate a key pair in an empty slot and give its public key. BM_ERR_EXISTS: the slot holds a key
 * already, which nothing here overwrites. */
enum bm_err shared_chip_generate(
    struct shared_chip *c, unsigned index, uint8_t out[A71CH_POINT_LEN], struct bm_msg *msg);

/* What ECDSA on P-256 takes of a digest: its first 32 bytes, or zeros before a shorter one.
 * SPEC a71ch 9.3 */
void shared_chip_fit(uint8_t out[A71CH_HASH_LEN], const uint8_t *digest, size_t len);

#endif
