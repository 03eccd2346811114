/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's key: a simulated chip of its own, and an EVP_PKEY whose signatures that chip makes,
 * command by command as a host would, but within the process.
 *
 * The EVP_PKEY is an EC key with a method of ours that holds the public half and the chip: all that
 * OpenSSL needs to shake hands. It is one thread's, as a chip is.
 */
#ifndef BM_FLEET_KEY_H
#define BM_FLEET_KEY_H

#include "base/err.h"
#include "chip/chip.h"
#include "pki/csr.h"

#include <openssl/evp.h>

/* What the keys of a fleet share. */
struct fleet_keys;
enum bm_err fleet_keys_new(struct fleet_keys **out, struct bm_msg *msg);
void fleet_keys_free(struct fleet_keys *k); /* takes NULL; after the last key */
OSSL_LIB_CTX *fleet_keys_lib(const struct fleet_keys *k);

struct fleet_key;

/*
 * The key pair in slot 0 of the chip in `dir`, or of a new one (NULL); made when the slot is empty.
 * Either way the chip works in memory afterwards: the folder is not locked, and what it counts is
 * not kept. BM_ERR_*: as chip_open says; BM_ERR_STATUS: the chip refuses.
 */
enum bm_err fleet_key_open(
    struct fleet_keys *k, const char *dir, struct fleet_key **out, struct bm_msg *msg);
void fleet_key_close(struct fleet_key *key); /* takes NULL */

EVP_PKEY *fleet_key_pkey(const struct fleet_key *key);       /* borrowed */
const uint8_t *fleet_key_point(const struct fleet_key *key); /* PKI_POINT_LEN bytes */
uint64_t fleet_key_signatures(const struct fleet_key *key);  /* that the chip counts */

#endif
