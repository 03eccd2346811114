/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a function (the JSON kept in the registry), read and checked. SPEC
 * aws-iot 5.5.
 */
#ifndef BM_LAMBDA_CONFIG_H
#define BM_LAMBDA_CONFIG_H

#include "base/bytes.h"

#include <jansson.h>

enum {
    CONFIG_HANDLER_MAX = 128,
    CONFIG_ENVIRONMENT_MAX = 4096,
    CONFIG_TIMEOUT_DEFAULT = 3,
    CONFIG_TIMEOUT_MAX = 900,
    CONFIG_MEMORY_DEFAULT = 128,
    CONFIG_MEMORY_MIN = 128,
    CONFIG_MEMORY_MAX = 10240,
};

enum runtime { RUNTIME_PROVIDED, RUNTIME_PYTHON, RUNTIME_NODE };

struct config {
    enum runtime runtime;
    char runtime_name[32];
    char handler[CONFIG_HANDLER_MAX + 1];
    unsigned timeout_s;
    unsigned memory_mb;
    int reserved;      /* ReservedConcurrentExecutions; -1: none */
    json_t *variables; /* object of strings, or NULL; owned */
};

/* BM_ERR_INPUT: the sentence for InvalidParameterValueException. */
enum bm_err config_parse(struct span json, struct config *out, struct bm_msg *msg);
void config_fini(struct config *c); /* takes a zeroed one */

#endif
