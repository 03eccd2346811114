/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the factory: the manifest, and lines for AWS's bulk registration.
 *
 * A manifest line is one signed secure element of the common manifest format: a JWS (RFC 7515,
 * flattened JSON, ES256) whose payload has uniqueId, publicKeySet with certificates (x5c),
 * provisioningTimestamp, manufacturer and so on; its header names the log key's certificate by kid
 * and x5t#S256.
 */
#ifndef BM_FACTORY_MANIFEST_H
#define BM_FACTORY_MANIFEST_H

#include "factory/chips.h"
#include "factory/job.h"

enum bm_err manifest_line(const struct job *job, const struct chip *c,
    const struct pki_cert *issuer, const struct pki_signer *key, const struct pki_cert *log,
    struct buf *out, struct bm_msg *msg);

/*
 * Check a manifest against the chips that are done: signatures, order and content. BM_ERR_INPUT
 * names the first line that does not fit. `chips` NULL: signatures only.
 */
enum bm_err manifest_check(
    struct span text, const struct pki_cert *log, const struct chips *chips, struct bm_msg *msg);

/* {"ThingName","SerialNumber","CertificatePem","CACertificatePem"}: parameters of a provisioning
 * template for StartThingRegistrationTask. */
enum bm_err bulk_line(
    const struct chip *c, const struct pki_cert *issuer, struct buf *out, struct bm_msg *msg);

#endif
