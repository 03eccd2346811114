/* SPDX-License-Identifier: Apache-2.0 */
/* See i2cbus.h. */
#include "wire/i2cbus.h"

enum { ADDRESS_MAX = 0x7f };

enum bm_err
i2cbus_message_build(struct wr *out, const struct i2cbus_message *m)
{
    struct wr w = *out;

    if (m->data.len > UINT16_MAX)
        return BM_ERR_ARG;
    wr_u8(&w, m->address);
    wr_u8(&w, (uint8_t)m->flags);
    wr_u16(&w, m->flags == I2CBUS_WRITE ? (uint16_t)m->data.len : m->length);
    if (m->flags == I2CBUS_WRITE)
        wr_span(&w, m->data);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
i2cbus_message_parse(struct rd *in, struct i2cbus_message *out)
{
    struct rd r = *in;
    struct i2cbus_message m = { .address = rd_u8(&r) };
    uint8_t flags = rd_u8(&r);

    m.length = rd_u16(&r);
    m.flags = flags == I2CBUS_READ         ? I2CBUS_READ
              : flags == I2CBUS_READ_BLOCK ? I2CBUS_READ_BLOCK
                                           : I2CBUS_WRITE;
    if (m.flags == I2CBUS_WRITE)
        m.data = rd_span(&r, m.length);
    if (r.failed || (uint8_t)m.flags != flags || m.address > ADDRESS_MAX ||
        (m.flags == I2CBUS_READ_BLOCK && m.length != 0))
        return BM_ERR_INPUT;
    *in = r;
    *out = m;
    return BM_OK;
}
