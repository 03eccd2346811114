/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the device is: a key, in a chip or in a file, and the certificates that go with it.
 *
 * Chip: the public key and the certificates are read from the chip (objects of SPEC a71ch 8.8),
 * then the connection is closed; signatures come from the provider e2a71ch, loaded into a library
 * context of its own, which connects at the first one. So it works without any OpenSSL
 * configuration, and does not touch the one of the process. File: an ordinary key or a reference
 * key; the latter needs the provider, too.
 */
#ifndef BM_DEVICE_IDENTITY_H
#define BM_DEVICE_IDENTITY_H

#include "a71ch.h"
#include "device/chain.h"
#include "timeline/timeline.h"

#include <openssl/crypto.h>

struct identity_options {
    bool chip;            /* key and certificates are in a chip */
    const char *address;  /* of the chip, as a71ch_open() takes it; NULL: from the environment */
    unsigned slot;        /* key pair 0..3 */
    unsigned more_slots;  /* bit n: key pair n may be the device's, too; empty ones are left out */
    const char *key_file; /* PEM, when not `chip` */
    /* PEM, own certificate and issuers in any order; NULL with `chip`: those in the chip. FILE.new,
     * where a renewal puts the next one, is read, too. */
    const char *cert_file;
};

struct identity {
    OSSL_LIB_CTX *lib;
    EVP_PKEY *key;                  /* in `lib`, of the leaf that was picked; one of `keys` */
    EVP_PKEY *keys[CHAIN_KEYS_MAX]; /* all that may be the device's */
    unsigned slots[CHAIN_KEYS_MAX]; /* of a chip, where they are */
    size_t key_count;
    char chip_id[40]; /* unique id of the chip, hex; "": no chip */
    STACK_OF(X509) * found;
    struct chain chain;
    char key_text[200]; /* "key pair 0 of the chip 4f...", "key file device.key" */
};

/*
 * Read everything. BM_ERR_*: what failed; *cause is CAUSE_DEVICE_CHIP (the key cannot be used) or
 * CAUSE_DEVICE_KEY (no certificate fits it), and the message has path or address. With
 * CAUSE_DEVICE_KEY *out is filled as far as it goes, for who wants to look. Free with
 * identity_free.
 */
enum bm_err identity_open(const struct identity_options *o, size_t pick, struct identity **out,
    enum cause *cause, struct bm_msg *msg);
void identity_free(struct identity *id); /* takes NULL */

/* The leaf in use; NULL: none. */
X509 *identity_leaf(const struct identity *id, size_t pick);
/* Every certificate in the chip's storage, added to `found`, its index at the same place. */
a71ch_result identity_read_chip(a71ch *chip, STACK_OF(X509) * found, uint8_t index[], size_t cap);

#endif
