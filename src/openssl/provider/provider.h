/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenSSL 3 provider "e2a71ch": programs that read a key file use the key pair in the chip when
 * the file is a reference key. SPEC openssl 1.
 *
 * Model. One `struct prov` per OSSL_LIB_CTX that loads the module; nothing is shared between them.
 * libcrypto may pick this provider's "EC" for ordinary keys too, so "EC" is complete here: each key
 * holds an ordinary EVP_PKEY in a private library context with nothing but the default provider,
 * and every public operation goes there. A chip key is the same with its public half only, plus the
 * slot; only sign, derive and, of a reference to a public key in the chip, verify look at the slot.
 * SPEC openssl 1.5.
 *
 * Rules that keep programs alive (SPEC openssl 5): no chip traffic before the first private
 * operation; never the NULL library context, never a child context; no atexit, no destructor; the
 * private half of a chip key is never exported, and the refusal raises nothing, because libcrypto
 * asks on every signature.
 *
 * Memory. `struct prov` and `struct key` are counted; keys and operation contexts hold what they
 * use, so a key may outlive the provider's teardown.
 */
#ifndef BM_OPENSSL_PROVIDER_H
#define BM_OPENSSL_PROVIDER_H

#include "openssl/core/hello.h"
#include "openssl/core/random.h"
#include "openssl/core/reason.h"
#include "openssl/core/shared_chip.h"
#include "wire/refkey.h"

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <stdatomic.h>

#define PROV_NAME "e2a71ch"
#define PROV_EC_NAMES "EC:id-ecPublicKey:1.2.840.10045.2.1"
#define PROV_PROPERTIES "provider=e2a71ch,a71ch.ec=yes"
#define PROV_PSK_PROPERTIES "provider=e2a71ch,a71ch.psk=yes"

/* Parameters of the provider beyond OpenSSL's own, for the self-test. Both are texts. */
#define PROV_PARAM_ADDRESS                                                                         \
    "a71ch-address" /* from the configuration; "" when from the environment */
#define PROV_PARAM_WARNING                                                                         \
    "a71ch-warning" /* what is wrong with the configuration; "" when nothing */

/* Parameter of key generation: make the key pair in this slot of the chip, a number. The slot must
 * be empty. */
#define PROV_PARAM_PAIR "a71ch-pair"

struct prov {
    atomic_int refs;
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_BIO_read_ex_fn *bio_read;
    OSSL_FUNC_BIO_write_ex_fn *bio_write;
    OSSL_LIB_CTX *soft; /* software: the default provider and nothing else */
    OSSL_PROVIDER *soft_default;
    struct shared_chip *chip;
    struct mixed_random random; /* of A71CH-SEED */
    struct hello *hello;        /* of A71CH-CLIENTRANDOM; no connection before that is used */
    char address[128];          /* for display; "" when the environment decides */
    char warning[256];
};

struct prov *prov_ref(struct prov *p);
void prov_unref(struct prov *p); /* takes NULL */

/* Put a reason and its particulars on OpenSSL's error queue. Always 0: `return prov_raise(...)`. */
#define prov_raise(p, reason, ...)                                                                 \
    prov_raise_at((p), (reason), __FILE__, __LINE__, __func__, __VA_ARGS__)
int prov_raise_at(const struct prov *p, enum reason reason, const char *file, int line,
    const char *func, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The same for a failure of the chip. */
int prov_raise_chip(const struct prov *p, enum bm_err err, const struct bm_msg *msg);

/* A key of this provider. Empty after keymgmt "new": neither soft nor chip. */
struct key {
    atomic_int refs;
    struct prov *prov;
    EVP_PKEY *soft; /* in prov->soft; the public half only when is_chip. NULL: empty */
    bool is_chip;
    bool of_hello;    /* a chip key that stands for the ephemeral one of an ECDHE_PSK handshake */
    bool has_private; /* chip keys too */
    bool has_public;
    struct refkey ref; /* chip keys: what the file says; its point is in `soft` */
    atomic_int slot;   /* chip keys: where the key lies; -1: not looked for yet */
};

struct key *key_new(struct prov *p);
struct key *key_ref(struct key *k);
void key_unref(struct key *k); /* takes NULL */

/* Fill an empty key with an EVP_PKEY of prov->soft, which it takes over, also on failure. */
bool key_take(struct key *k, EVP_PKEY *soft);
/* A chip key from a reference file. NULL: raised. */
struct key *key_from_reference(struct prov *p, const struct refkey *ref);
/* If the software key in `k` is a reference key, make a chip key of it. false: raised. */
bool key_recognise(struct key *k);
/* 04 X Y of a key on P-256. false, nothing raised: not on P-256 or no public half. */
bool key_point(const struct key *k, uint8_t out[A71CH_POINT_LEN]);
/* The whole reference as an ordinary EVP_PKEY with the magic scalar, for encoders. NULL: raised. */
EVP_PKEY *key_as_reference(const struct key *k);
/* Make an EVP_PKEY of prov->soft from parameters. NULL: libcrypto raised. */
EVP_PKEY *key_soft_import(struct prov *p, int selection, const OSSL_PARAM params[]);

/* Hand a key to libcrypto by reference, from a decoder or a store; *k is NULL when keymgmt took it.
 */
int key_give(struct key **k, OSSL_CALLBACK *cb, void *cbarg);

/* What the key refers to: "key pair 0", "the key pair with key id 7dccbbaa". Returns `out`. */
enum { KEY_NAME_MAX = 64 };
const char *key_name(const struct key *k, char out[KEY_NAME_MAX]);
/* Is this a reference to a public key stored in the chip, which then verifies? SPEC a71ch 9.3 */
bool key_verifies_in_chip(const struct key *k);

/* The operations in the chip. The caller has made sure of is_chip. 0: raised. */
int key_chip_sign(struct key *k, const uint8_t hash[A71CH_HASH_LEN],
    uint8_t out[A71CH_SIGNATURE_MAX], size_t *out_len);
int key_chip_ecdh(struct key *k, const struct key *peer, uint8_t out[A71CH_SECRET_LEN]);
/* 1: the signature is good; 0: it is not, or raised. */
int key_chip_verify(struct key *k, const uint8_t hash[A71CH_HASH_LEN], struct span sig);
/* The key pair set aside for ECDHE_PSK, when the chip has made a ClientHello random to go with it.
 * NULL, nothing raised: no. */
struct key *key_of_hello(struct prov *p);
/* Make a key pair in an empty slot. NULL: raised. */
struct key *key_chip_generate(struct prov *p, unsigned index);

#define PROV_FN(id, fn)                                                                            \
    {                                                                                              \
        (id), (void (*)(void))(fn)                                                                 \
    }
#define PROV_END                                                                                   \
    {                                                                                              \
        0, NULL                                                                                    \
    }

extern const OSSL_DISPATCH keymgmt_functions[];
extern const OSSL_DISPATCH signature_functions[];
extern const OSSL_DISPATCH keyexch_functions[];
extern const OSSL_DISPATCH seed_functions[];
extern const OSSL_DISPATCH hello_functions[];
extern const OSSL_DISPATCH prf_functions[];
extern const OSSL_DISPATCH hkdf_functions[];
extern const OSSL_ALGORITHM decoder_algorithms[];
extern const OSSL_ALGORITHM encoder_algorithms[];
extern const OSSL_ALGORITHM store_algorithms[];

#endif
