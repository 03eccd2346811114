/* SPDX-License-Identifier: Apache-2.0 */
/* Status names, and the arrows between the statuses of a certificate. SPEC aws-iot 3.5. */
#include "registry/store.h"

#include <string.h>

static const char *const status_names[] = {
    [CERT_ACTIVE] = "ACTIVE",
    [CERT_INACTIVE] = "INACTIVE",
    [CERT_REVOKED] = "REVOKED",
    [CERT_PENDING_TRANSFER] = "PENDING_TRANSFER",
    [CERT_REGISTER_INACTIVE] = "REGISTER_INACTIVE",
    [CERT_PENDING_ACTIVATION] = "PENDING_ACTIVATION",
};

const char *
cert_status_name(enum cert_status s)
{
    return s >= CERT_ACTIVE && s <= CERT_PENDING_ACTIVATION ? status_names[s] : "?";
}

bool
cert_status_parse(struct span text, enum cert_status *out)
{
    for (unsigned s = CERT_ACTIVE; s <= CERT_PENDING_ACTIVATION; s++) {
        if (span_eq(text, span_str(status_names[s]))) {
            *out = (enum cert_status)s;
            return true;
        }
    }
    return false;
}

/*
 * SPEC aws-iot 3.5. The service alone makes PENDING_ACTIVATION; REGISTER_INACTIVE is deprecated as
 * a target; PENDING_TRANSFER is left by the transfer operations. REVOKED is final here, which the
 * specification leaves open.
 */
bool
status_may_change(enum cert_status from, enum cert_status to)
{
    switch (to) {
    case CERT_REVOKED:
        return true;
    case CERT_ACTIVE:
    case CERT_INACTIVE:
        return from != CERT_REVOKED && from != CERT_PENDING_TRANSFER;
    case CERT_PENDING_TRANSFER:
    case CERT_REGISTER_INACTIVE:
    case CERT_PENDING_ACTIVATION:
        return false;
    }
    return false;
}
