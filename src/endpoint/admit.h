/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control side of admission: who is this certificate, and may it be registered just in time?
 * SPEC aws-iot 4.1.
 *
 * admit_decide runs inside the registry's open group. The caller sends the verdict only after
 * registry_commit: a device that saw PENDING_ACTIVATION saw something durable.
 */
#ifndef BM_ENDPOINT_ADMIT_H
#define BM_ENDPOINT_ADMIT_H

#include "endpoint/link.h"
#include "pki/pki.h"
#include "registry/registry.h"

/*
 * Certificates of CAs that signed before, read: what an id stands for never changes, and to read a
 * certificate costs a third of what to check a signature does. Zeroed it is empty.
 */
struct issuer_cache {
    struct {
        uint8_t id[REGISTRY_ID_LEN];
        struct pki_cert *cert; /* NULL: free */
    } entries[16];
    unsigned next; /* to be replaced */
};
void issuer_cache_clear(struct issuer_cache *cache);

struct admit_request {
    struct span leaf_der;
    struct span client_id;
    struct span peer;
    enum sni sni;
    int64_t *registered_us; /* as in throttle.h; NULL: registrations are not limited */
    uint32_t register_rate; /* per second; not 0 */
    struct issuer_cache *issuers; /* NULL: each is read anew */
};

/*
 * Whose certificate is it, when no server name says so? The index of the registry that has it, or a
 * CA that signed it, in mode DEFAULT; what is SNI_ONLY counts in the first one alone, whose names
 * need no choice. 0 when nobody knows it. SPEC aws-iot 3.6
 */
size_t admit_account(
    struct registry *const *registries, size_t count, const struct admit_request *rq);

/*
 * CAUSE_ADMITTED: ACTIVE; the worker goes on and records the outcome. CAUSE_REGISTERED_JITR: stored
 * as PENDING_ACTIVATION now, event in the outbox. CAUSE_PENDING: event again. Any other cause:
 * refuse. Each but the first has its timeline record, in one savepoint with what it tells.
 * BM_ERR_IO: the registry failed and nothing was stored; *out is CAUSE_CONTROL_DOWN.
 */
enum bm_err admit_decide(struct registry *r, const char *account, const struct admit_request *rq,
    enum cause *out, struct bm_msg *msg);

#endif
