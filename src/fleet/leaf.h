/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of a fleet: those a CA issues (pki/issue.h), and those that it would not, for
 * devices that are to be refused. Each comes with the issuers that a device sends with it.
 */
#ifndef BM_FLEET_LEAF_H
#define BM_FLEET_LEAF_H

#include "fleet/plan.h"
#include "pki/issue.h"

#include <openssl/x509.h>

enum { FLEET_LEAF_DAYS = 365 };

struct fleet_ca {
    const struct pki_signer *signer; /* borrowed */
    const struct pki_cert *cert;     /* borrowed */
    X509 *x509;                      /* of `cert` */
    EVP_PKEY *other_key;             /* of a CA that nobody knows */
    X509 *other;
};

/* BM_ERR_INPUT: certificate and key do not belong together. End with fleet_ca_fini. */
enum bm_err fleet_ca_init(struct fleet_ca *ca, const struct pki_signer *signer,
    const struct pki_cert *cert, struct bm_msg *msg);
void fleet_ca_fini(struct fleet_ca *ca);

struct fleet_leaf {
    X509 *x509;
    X509 *issuer; /* sent with it; NULL: none */
};

/*
 * The certificate of a device: `subject` as /CN=name. BM_ERR_INPUT: the subject; BM_ERR_DENIED: the
 * CA must not issue it; BM_ERR_ARG: this identity wants the CA's key in a file. Free with
 * fleet_leaf_fini.
 */
enum bm_err fleet_leaf_make(const struct fleet_ca *ca, enum fleet_identity identity,
    const char *subject, const uint8_t point[PKI_POINT_LEN], EVP_PKEY *key, struct fleet_leaf *out,
    struct bm_msg *msg);
void fleet_leaf_fini(struct fleet_leaf *leaf);

/* PEM, the leaf first. */
enum bm_err fleet_leaf_write(const struct fleet_leaf *leaf, const char *path, struct bm_msg *msg);
/* BM_ERR_NOT_FOUND: there is no such file. BM_ERR_CONFLICT: it is not for this key. */
enum bm_err fleet_leaf_read(
    const char *path, EVP_PKEY *key, struct fleet_leaf *out, struct bm_msg *msg);

#endif
