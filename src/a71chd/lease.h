/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clients ask for a lease of the chip (backend.h): two forms on the wire.
 *
 * NXP's access manager: messages 30 and 31 without payload. The answer is the four bytes of a
 * header, the last of which is the result: 00 done, 01 refused. SPEC a71ch 6.1.
 *
 * Ours: message 07 (control.h) with the words `lease [WAIT_MS [HOLD_MS]]` or `release`. The answer
 * is one JSON object, or a sentence (NAD CONTROL_ERROR). A server that knows no leases answers this
 * message empty, so a client finds out without harm.
 */
#ifndef BM_A71CHD_LEASE_H
#define BM_A71CHD_LEASE_H

#include "a71chd/backend.h"

struct lease_request {
    bool release;
    unsigned wait_ms;
    unsigned hold_ms;
};

/*
 * Is this message one about leases? BM_ERR_NOT_FOUND: no. BM_ERR_ARG: it is, and is wrong; *cause
 * is a sentence.
 */
enum bm_err lease_parse(const struct jrcp_msg *msg, struct lease_request *out, const char **cause);

/* Append the answer to a message of type `mty`. */
void lease_reply(struct wr *out, uint8_t mty, const struct backend_answer *answer);

#endif
