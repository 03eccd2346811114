/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look before connecting: key, certificates, clock, network and server, layer by layer, without a
 * CONNECT, so that nothing is registered (SPEC aws-iot 4.1). Blocks, up to some seconds a layer.
 */
#ifndef BM_DEVICE_CHECK_H
#define BM_DEVICE_CHECK_H

#include "device/client.h"

/*
 * Tell every layer to `fn`, in order; what a failed one makes impossible is left out. *id gets the
 * identity when there is one, for who has more to ask; free it with identity_free.
 */
void check_device(const struct client_options *o, finding_fn fn, void *arg, struct identity **id);

#endif
