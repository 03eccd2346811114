/* SPDX-License-Identifier: Apache-2.0 */
/* See trace.h. */
#include "a71chd/trace.h"

#include "base/log.h"
#include "wire/apdu.h"

#include <stdio.h>

/*
 * Commands that carry keys: set key pair, config key, symmetric key, PUT KEY. Also those of a kind
 * this chip refuses: the client has sent the key all the same.
 */
static bool
command_is_secret(uint8_t ins)
{
    return ins == INS_PAIR_SET || ins == INS_CONFIG_SET || ins == INS_SYM_SET || ins == INS_PUT_KEY;
}

/* Responses that are keys or become keys: ECDH, HKDF, PSK and HMAC results, random. */
static bool
response_is_secret(uint8_t ins)
{
    return ins == INS_PAIR_ECDH || ins == INS_RANDOM || ins == INS_PAIR_MASTER ||
           ins == INS_SYM_HKDF || ins == INS_SYM_MASTER || ins == INS_SYM_HMAC;
}

static uint8_t
ins_of(struct span cmd)
{
    struct rd r = rd_of(cmd);

    (void)rd_u8(&r);
    return rd_u8(&r);
}

void
trace_command(unsigned client, struct span cmd)
{
    struct span shown = cmd;
    char what[64];

    if (!log_on(LOG_TRACE))
        return;
    if (command_is_secret(ins_of(cmd)) && cmd.len > 5)
        shown.len = 5;
    (void)snprintf(what, sizeof what, "client=%u command bytes=%zu", client, cmd.len);
    log_bytes(what, shown);
}

void
trace_response(unsigned client, struct span cmd, struct span rsp)
{
    struct span shown = rsp;
    char what[64];

    if (!log_on(LOG_TRACE))
        return;
    if (response_is_secret(ins_of(cmd)))
        shown = span_of(&rsp.ptr[rsp.len - 2], 2); /* the status word; a response has one */
    (void)snprintf(what, sizeof what, "client=%u response bytes=%zu", client, rsp.len);
    log_bytes(what, shown);
}
