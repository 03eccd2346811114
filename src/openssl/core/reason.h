/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why an operation of the provider or the engine failed: the reason codes on OpenSSL's error queue
 * and their sentences. The particulars (which slot, which address, what cures it) travel as error
 * data.
 */
#ifndef BM_OPENSSL_REASON_H
#define BM_OPENSSL_REASON_H

#include "base/err.h"

/* X(name, number, sentence). Numbers are stable: the self-test and others tell causes by them. */
#define REASONS(X)                                                                                 \
    X(REASON_CHIP_ABSENT, 1, "the A71CH cannot be reached")                                        \
    X(REASON_CHIP_REFUSED, 2, "the A71CH refused")                                                 \
    X(REASON_CHIP_ANSWER, 3, "the A71CH answered with something that is no answer")                \
    X(REASON_WRONG_SLOT, 4, "the key in the A71CH is not the key of the reference file")           \
    X(REASON_NOT_A_PAIR, 5, "the reference key names nothing that can sign or agree on a secret")  \
    X(REASON_NO_PUBLIC_KEY, 6, "the reference key holds no usable public key")                     \
    X(REASON_NO_KEY, 7, "no key was given")                                                        \
    X(REASON_DIGEST, 8, "digest not usable here")                                                  \
    X(REASON_DIGEST_LENGTH, 9, "the input is not as long as the digest")                           \
    X(REASON_BUFFER, 10, "the output does not fit into the buffer")                                \
    X(REASON_PEER, 11, "the peer's key is not a public key on P-256")                              \
    X(REASON_PARAMETER, 12, "parameter not usable here")                                           \
    X(REASON_MEMORY, 13, "out of memory")                                                          \
    X(REASON_INTERNAL, 14, "internal error of the A71CH module")                                   \
    X(REASON_SLOT_TAKEN, 15, "the slot of the A71CH holds a key already")                          \
    X(REASON_URI, 16, "not a name of something in the A71CH")                                      \
    X(REASON_NO_CERTIFICATE, 17, "the A71CH's storage holds no certificate of this name")          \
    X(REASON_PERMISSION, 18, "no permission to use the A71CH")                                     \
    X(REASON_PSK, 19, "the pre-shared key refers to nothing that serves here")

#define REASON_ENUM(name, number, sentence) name = (number),
enum reason { REASONS(REASON_ENUM) };
#undef REASON_ENUM

/* The reason to raise for what shared_chip_*() returned. */
enum reason reason_of(enum bm_err err);

#endif
