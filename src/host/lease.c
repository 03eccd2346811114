/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: the chip for one handle's commands alone, as a71chd gives them. Asked for by message 07
 * with words, which a server that knows no leases answers empty. On the I2C link the handle has the
 * bus for itself anyway.
 */
#include "host/host.h"

#include <stdio.h>
#include <string.h>

enum { TIME_MAX_MS = 60000, DEFAULT_MS = 10000 };

/* Ask, in zero-ended words. A71CH_ERR_BUSY: refused, *msg says why. */
static a71ch_result
ask(a71ch *chip, struct span words, unsigned wait_ms, struct bm_msg *msg)
{
    struct jrcp_msg request = { .mty = JRCP_DEBUG_INFO, .payload = words };
    uint8_t room[JRCP_MESSAGE_MAX];
    struct jrcp_msg reply;
    char text[JRCP_PAYLOAD_MAX + 1];
    a71ch_result res = host_result(chip->exchange(
        &chip->link, &request, chip->answer_timeout_ms + wait_ms, room, &reply, msg));

    if (res != A71CH_OK)
        return res;
    if (reply.payload.len == 0) {
        chip->no_leases = true;
        (void)bm_fail(msg, BM_ERR_ARG,
            "%s knows no leases; put an a71chd before the chip, or be its only client",
            chip->link.name);
        return A71CH_ERR_UNSUPPORTED;
    }
    if (reply.nad != JRCP_NAD_REFUSED)
        return A71CH_OK;
    link_printable(text, reply.payload);
    (void)bm_fail(msg, BM_ERR_CONFLICT, "%s: %s", chip->link.name, text);
    return A71CH_ERR_BUSY;
}

a71ch_result
a71ch_lease(a71ch *chip, unsigned wait_ms, unsigned hold_ms)
{
    char words[64];
    int len;
    a71ch_result res;

    host_begin(chip);
    wait_ms = wait_ms != 0 ? wait_ms : DEFAULT_MS;
    hold_ms = hold_ms != 0 ? hold_ms : DEFAULT_MS;
    if (wait_ms > TIME_MAX_MS || hold_ms > TIME_MAX_MS)
        return host_fail(chip, A71CH_ERR_ARG,
            "a lease is waited for and held for up to %d ms each, not %u and %u", TIME_MAX_MS,
            wait_ms, hold_ms);
    if (chip->no_leases)
        return host_fail(chip, A71CH_ERR_UNSUPPORTED, "%s knows no leases", chip->link.name);
    if (chip->lease_depth == 0 && chip->address.kind != ADDRESS_I2C) {
        len = snprintf(words, sizeof words, "lease%c%u%c%u", 0, wait_ms, 0, hold_ms);
        res = ask(chip, span_of(words, (size_t)len + 1), wait_ms, &chip->msg);
        chip->sys_errno = chip->link.sys_errno;
        if (res != A71CH_OK)
            return res;
    }
    chip->lease_depth++;
    return A71CH_OK;
}

/* The last release goes to the server. */
static a71ch_result
release(a71ch *chip, struct bm_msg *msg)
{
    static const uint8_t word[] = "release";

    if (--chip->lease_depth > 0 || chip->address.kind == ADDRESS_I2C)
        return A71CH_OK;
    return ask(chip, SPAN(word), 0, msg);
}

a71ch_result
a71ch_release(a71ch *chip)
{
    a71ch_result res;

    host_begin(chip);
    if (chip->lease_depth == 0)
        return host_fail(chip, A71CH_ERR_ARG, "this handle has no lease to release");
    res = release(chip, &chip->msg);
    chip->sys_errno = chip->link.sys_errno;
    return res;
}

a71ch_result
host_sequence(a71ch *chip)
{
    a71ch_result res = a71ch_lease(chip, 0, 0);

    if (res != A71CH_ERR_UNSUPPORTED)
        return res;
    host_begin(chip);
    return A71CH_OK;
}

a71ch_result
host_sequence_end(a71ch *chip, a71ch_result res)
{
    struct bm_msg unheard;

    /* a lease that was lost showed in a command, or after the last one, where it does no harm */
    if (chip->lease_depth > 0)
        (void)release(chip, &unheard);
    return res;
}

a71ch_result
a71ch_sequence(a71ch *chip, a71ch_sequence_fn fn, void *arg)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK ? host_sequence_end(chip, fn(chip, arg)) : res;
}
