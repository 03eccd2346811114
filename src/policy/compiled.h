/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled form of a policy: what parse.c builds and policy.c decides with. Private to the
 * room.
 *
 * A resource pattern is a row of units, one for each character or construct, so that an escaped
 * `${*}` and a wildcard `*` cannot be taken for each other, nor can the value of a variable, which
 * is looked up only while matching.
 */
#ifndef BM_POLICY_COMPILED_H
#define BM_POLICY_COMPILED_H

#include "policy/policy.h"

enum unit {
    /* 0..255: this byte */
    UNIT_STAR = 256, /* any run of bytes */
    UNIT_ONE,        /* one UTF-8 character */
    UNIT_CLIENT_ID,
    UNIT_CERTIFICATE_ID,
    UNIT_SOURCE_IP,
};

struct pattern {
    size_t len;
    uint16_t *units;
};

struct statement {
    bool deny;
    uint8_t actions; /* bit 1 << enum policy_action */
    size_t count;
    struct pattern *patterns;
};

struct policy {
    size_t count;
    struct statement *statements;
};

enum { ACTION_COUNT = POLICY_RECEIVE + 1 };

/* Does `name` match `pattern` with its `*` and `?`, whatever the case? */
bool policy_action_matches(const char *pattern, const char *name);

#endif
