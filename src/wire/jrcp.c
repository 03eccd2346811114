/* SPDX-License-Identifier: Apache-2.0 */
/* See jrcp.h. SPEC a71ch 6.1, 6.3. */
#include "wire/jrcp.h"

enum bm_err
jrcp_parse(struct rd *in, struct jrcp_msg *out)
{
    struct rd r = *in;
    struct jrcp_msg m = { 0 };
    uint16_t len;

    m.mty = rd_u8(&r);
    m.nad = rd_u8(&r);
    len = rd_u16(&r);
    if (len > JRCP_PAYLOAD_MAX) /* a failed read gave 0: never wrong before the header is here */
        return BM_ERR_PROTO;
    m.payload = rd_span(&r, len);
    if (r.failed)
        return BM_ERR_MORE;
    *in = r;
    *out = m;
    return BM_OK;
}

enum bm_err
jrcp_build(struct wr *out, const struct jrcp_msg *msg)
{
    struct wr w = *out;

    if (msg->payload.len > JRCP_PAYLOAD_MAX)
        return BM_ERR_ARG;
    wr_u8(&w, msg->mty);
    wr_u8(&w, msg->nad);
    wr_u16(&w, (uint16_t)msg->payload.len);
    wr_span(&w, msg->payload);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}
