/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket link's messages ("JRCP version 1"): MTY, NAD, length, payload. SPEC a71ch 6.1.
 */
#ifndef BM_WIRE_JRCP_H
#define BM_WIRE_JRCP_H

#include "base/bytes.h"

enum {
    JRCP_HEADER = 4,
    JRCP_MESSAGE_MAX = 320, /* SPEC 6.3 */
    JRCP_PAYLOAD_MAX = JRCP_MESSAGE_MAX - JRCP_HEADER,
};

enum jrcp_mty {
    JRCP_WAIT_FOR_CARD = 0x00,
    JRCP_APDU = 0x01,
    JRCP_STATUS = 0x02,
    JRCP_ERROR = 0x03,      /* also "close" of serial builds */
    JRCP_DEBUG_INFO = 0x07, /* a71chd's control commands (our use; no vendor client sends it) */
    JRCP_LOCK = 0x30,       /* of NXP's access manager: a lease of the chip */
    JRCP_UNLOCK = 0x31,     /* its end */
};

enum {
    JRCP_NAD_REFUSED = 2, /* in an a71chd's answer to JRCP_DEBUG_INFO: the payload is a sentence */
};

struct jrcp_msg {
    uint8_t mty;
    uint8_t nad;         /* 00 but for that */
    struct span payload; /* 0..316 bytes, borrowed */
};

/*
 * Take one message off the front of `in`. BM_ERR_MORE: not all here yet, `in` unchanged.
 * BM_ERR_PROTO: a payload length above JRCP_PAYLOAD_MAX; the stream cannot be followed any more.
 */
enum bm_err jrcp_parse(struct rd *in, struct jrcp_msg *out);

/* Append header and payload. BM_ERR_ARG: payload too long. BM_ERR_SPACE: no room. */
enum bm_err jrcp_build(struct wr *out, const struct jrcp_msg *msg);

#endif
