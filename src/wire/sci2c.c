/* SPDX-License-Identifier: Apache-2.0 */
/* See sci2c.h. SPEC a71ch 5.2 to 5.5. */
#include "wire/sci2c.h"

enum {
    BIT_MORE = 0x80,
    LOW_STATUS = 0x07,
    LOW_CONTROL = 0x0f, /* lower half of wake-up, reset, ATR and parameters */
    RECEIVE_BITS = 0x7f,
};

static struct sci2c_pcb
parse_control(uint8_t pcb)
{
    struct sci2c_pcb p = { .kind = SCI2C_UNKNOWN };

    if (pcb == SCI2C_PCB_WAKE_UP)
        p.kind = SCI2C_WAKE_UP;
    else if (pcb == SCI2C_PCB_SOFT_RESET)
        p.kind = SCI2C_SOFT_RESET;
    else if (pcb == SCI2C_PCB_ATR)
        p.kind = SCI2C_ATR;
    else if ((pcb & 0x30) == 0x30) {
        p.kind = SCI2C_PARAMETERS;
        p.size_code = (uint8_t)(pcb >> 6);
    }
    return p;
}

struct sci2c_pcb
sci2c_pcb_parse(uint8_t pcb)
{
    struct sci2c_pcb p = { .kind = SCI2C_UNKNOWN };

    if ((pcb & 0x0f) == LOW_CONTROL)
        return parse_control(pcb);
    if ((pcb & 0x03) == 0) {
        p.kind = SCI2C_SEND;
        p.more = (pcb & BIT_MORE) != 0;
        p.sequence = (uint8_t)(pcb >> 4 & 0x07);
        p.edc = (uint8_t)(pcb >> 2 & 0x03);
    } else if (pcb == SCI2C_PCB_STATUS) {
        p.kind = SCI2C_STATUS;
    } else if ((pcb & RECEIVE_BITS) == SCI2C_PCB_RECEIVE) {
        p.kind = SCI2C_RECEIVE;
        p.more = (pcb & BIT_MORE) != 0;
    }
    return p;
}

uint8_t
sci2c_pcb_send(bool more, uint8_t sequence)
{
    return (uint8_t)((more ? BIT_MORE : 0) | (sequence & 0x07) << 4);
}

uint8_t
sci2c_pcb_parameters(uint8_t size_code)
{
    return (uint8_t)((size_code & 0x03) << 6 | 0x3f);
}

uint8_t
sci2c_parameters_reply(uint8_t size_code, uint8_t variant)
{
    return (
        uint8_t)((size_code & 0x03) << 6 | (~variant & 0x03) << 4 | (variant & 0x03) << 2 | 0x03);
}

bool
sci2c_parameters_accepted(uint8_t size_code, uint8_t reply)
{
    return reply >> 6 == size_code && (reply >> 4 & 0x03) == (~reply >> 2 & 0x03);
}

size_t
sci2c_frame_size(uint8_t size_code)
{
    static const uint8_t sizes[SCI2C_SIZE_CODES] = { 31, 63, 127, 254 };

    return sizes[size_code & 0x03];
}

uint8_t
sci2c_status_byte(enum sci2c_status status)
{
    return (uint8_t)((unsigned)status << 4 | LOW_STATUS);
}

bool
sci2c_is_exception(uint8_t pcb)
{
    return (pcb & 0x8f) == 0x87;
}

enum bm_err
sci2c_send_build(struct wr *out, uint8_t pcb, struct span data)
{
    struct wr w = *out;

    if (data.len == 0 || data.len > SCI2C_SEND_MAX)
        return BM_ERR_ARG;
    wr_u8(&w, pcb);
    wr_u8(&w, (uint8_t)data.len);
    wr_span(&w, data);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
sci2c_send_parse(struct rd *in, struct span *data)
{
    uint8_t len = rd_u8(in);

    *data = rd_rest(in);
    if (in->failed || len == 0 || len > SCI2C_SEND_MAX || data->len != len)
        return BM_ERR_INPUT;
    return BM_OK;
}

enum bm_err
sci2c_reply_build(struct wr *out, uint8_t pcb, struct span data)
{
    struct wr w = *out;

    if (data.len > SCI2C_REPLY_MAX - 2)
        return BM_ERR_ARG;
    wr_u8(&w, (uint8_t)(data.len + 1));
    wr_u8(&w, pcb);
    wr_span(&w, data);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
sci2c_reply_parse(struct rd *in, uint8_t *pcb, struct span *data)
{
    struct rd r = *in;
    uint8_t len = rd_u8(&r);

    if (r.failed)
        return BM_ERR_MORE;
    if (len == 0)
        return BM_ERR_PROTO;
    *pcb = rd_u8(&r);
    *data = rd_span(&r, (size_t)len - 1);
    if (r.failed)
        return BM_ERR_MORE;
    *in = r;
    return BM_OK;
}
