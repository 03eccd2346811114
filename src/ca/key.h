/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of a CA as a file names it: a private key in PEM, with or without a passphrase, or a
 * reference (SPEC a71ch 9.1) to a key pair of an A71CH chip, which then makes each signature.
 */
#ifndef BM_CA_KEY_H
#define BM_CA_KEY_H

#include "pki/signer.h"

enum { CA_PASSPHRASE_MAX = 256, CA_NO_FD = -1 };

/* Where a passphrase comes from, and which chip. */
struct ca_access {
    const char *passphrase_file;        /* its first line; NULL: not there */
    int passphrase_fd;                  /* the same from a descriptor; CA_NO_FD */
    bool no_passphrase;                 /* of a key that is made: it is not to have one */
    const char *chip;                   /* address; NULL: as a71ch_open() finds it */
    char passphrase[CA_PASSPHRASE_MAX]; /* once it is known; "" before. The caller wipes it */
};

/*
 * Have the passphrase in a->passphrase, from file, descriptor or the terminal (asked twice when a
 * key is to be made). BM_ERR_INPUT: there is none, it is empty or too long; BM_ERR_ARG: there is no
 * terminal to ask on.
 */
enum bm_err ca_passphrase(
    struct ca_access *a, const char *for_what, bool twice, struct bm_msg *msg);

struct ca_key;

/*
 * Open it. BM_ERR_IO: the file; BM_ERR_INPUT: it holds no key, or a reference to something else
 * than a key pair; BM_ERR_DENIED: the passphrase is wrong; BM_ERR_NOT_FOUND: the chip does not
 * answer; BM_ERR_CONFLICT: its slot holds another key than the file says.
 */
enum bm_err ca_key_open(
    const char *path, struct ca_access *a, struct ca_key **out, struct bm_msg *msg);
/* A new key in `path`, which must not be there yet (BM_ERR_EXISTS); durable. */
enum bm_err ca_key_create(
    const char *path, struct ca_access *a, struct ca_key **out, struct bm_msg *msg);
/*
 * A new key pair in slot 0..3 of the chip, and a reference to it in `path`. BM_ERR_CONFLICT: the
 * slot has a key already, which is left as it is.
 */
enum bm_err ca_key_create_in_chip(
    const char *path, struct ca_access *a, unsigned slot, struct ca_key **out, struct bm_msg *msg);
void ca_key_close(struct ca_key *k); /* takes NULL */

/* Borrowed. May be used by several threads at once. */
const struct pki_signer *ca_key_signer(const struct ca_key *k);
/* Slot of the chip, or -1 for a key in a file. */
int ca_key_slot(const struct ca_key *k);

#endif
