/* SPDX-License-Identifier: Apache-2.0 */
/* See apdu.h. The four cases are those of ISO/IEC 7816-3:2006, 12.1.3; SPEC a71ch 2.1. */
#include "wire/apdu.h"

enum { LE_MAX = 256 };

/* Le travels in one byte; 00 means 256. */
static int
le_of(uint8_t byte)
{
    return byte != 0 ? byte : LE_MAX;
}

enum bm_err
apdu_parse(struct span in, struct apdu *out)
{
    struct rd r = rd_of(in);
    struct apdu cmd = { .le = -1 };
    uint8_t len;

    cmd.cla = rd_u8(&r);
    cmd.ins = rd_u8(&r);
    cmd.p1 = rd_u8(&r);
    cmd.p2 = rd_u8(&r);
    if (r.failed)
        return BM_ERR_INPUT;
    if (rd_left(&r) == 1) { /* case 2S; NXP's empty SELECT looks the same, SPEC a71ch 1.1 */
        cmd.le = le_of(rd_u8(&r));
    } else if (rd_left(&r) > 1) {
        len = rd_u8(&r);
        if (len == 0) /* extended form, which this chip has not */
            return BM_ERR_INPUT;
        cmd.data = rd_span(&r, len);
        if (rd_left(&r) == 1) /* case 4S */
            cmd.le = le_of(rd_u8(&r));
    }
    if (!rd_done(&r))
        return BM_ERR_INPUT;
    *out = cmd;
    return BM_OK;
}

enum bm_err
apdu_build(struct wr *out, const struct apdu *cmd)
{
    struct wr w = *out; /* commit only when everything fitted */

    if (cmd->data.len > APDU_DATA_MAX || cmd->le < -1 || cmd->le > LE_MAX)
        return BM_ERR_ARG;
    wr_u8(&w, cmd->cla);
    wr_u8(&w, cmd->ins);
    wr_u8(&w, cmd->p1);
    wr_u8(&w, cmd->p2);
    if (cmd->data.len > 0) {
        wr_u8(&w, (uint8_t)cmd->data.len);
        wr_span(&w, cmd->data);
    }
    if (cmd->le > 0) /* nothing wanted needs no byte: 00 would ask for 256 */
        wr_u8(&w, (uint8_t)(cmd->le & 0xff));
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
apdu_split(struct span rsp, struct span *data, uint16_t *sw)
{
    struct rd r = rd_of(rsp);

    if (rsp.len < 2)
        return BM_ERR_PROTO;
    *data = rd_span(&r, rsp.len - 2);
    *sw = rd_u16(&r);
    return BM_OK;
}
