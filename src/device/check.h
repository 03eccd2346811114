/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look before connecting: key, certificates, clock, network and server, layer by layer, without a
 * CONNECT, so that nothing is registered (SPEC aws-iot 4.1). Blocks, up to some seconds a layer.
 */
#ifndef BM_DEVICE_CHECK_H
#define BM_DEVICE_CHECK_H

#include "device/client.h"

enum finding_level { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct finding {
    const char *layer; /* "key", "chain", "clock", "network", "tls", "cloud", "policy" */
    enum finding_level level;
    enum cause cause; /* CAUSE_NONE: all is well */
    int exit_code;    /* when it fails */
    char evidence[600];
};

typedef void (*finding_fn)(void *arg, const struct finding *f);

/*
 * Tell every layer to `fn`, in order; what a failed one makes impossible is left out. *id gets the
 * identity when there is one, for who has more to ask; free it with identity_free.
 */
void check_device(const struct client_options *o, finding_fn fn, void *arg, struct identity **id);

/* Tell one finding. */
void check_tell(finding_fn fn, void *arg, const char *layer, enum finding_level level,
    enum cause cause, int exit_code, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

#endif
