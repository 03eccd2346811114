/* SPDX-License-Identifier: Apache-2.0 */
/* See bus.h. */
#include "bus/bus.h"

enum { RELEASED = 0xff }; /* what a master reads while nobody pulls the line down */

/* Read all messages first, so that nothing happens on the bus when one is malformed. */
static bool
parse_all(struct span request, struct i2cbus_message m[I2CBUS_MESSAGES_MAX], size_t *count)
{
    struct rd r = rd_of(request);
    size_t answer = 2;

    for (*count = 0; rd_left(&r) > 0; (*count)++) {
        if (*count == I2CBUS_MESSAGES_MAX || i2cbus_message_parse(&r, &m[*count]) != BM_OK)
            return false;
        answer += (size_t)2 + I2CBUS_BLOCK_MAX + 1 + m[*count].length; /* never too small */
    }
    return *count > 0 && answer <= I2CBUS_PACKET_MAX;
}

/* What the master clocks in, out of what the slave has to say. */
static enum i2cbus_result
read_back(const struct i2cbus_message *m, struct span reply, struct wr *out)
{
    struct rd r = rd_of(reply);
    size_t len = m->length;

    if (m->flags == I2CBUS_READ_BLOCK) {
        uint8_t first = reply.len > 0 ? reply.ptr[0] : RELEASED;

        if (first == 0 || first > I2CBUS_BLOCK_MAX)
            return I2CBUS_BAD_LENGTH;
        len = (size_t)first + 1;
    }
    wr_u16(out, (uint16_t)len);
    for (size_t i = 0; i < len; i++)
        wr_u8(out, rd_left(&r) > 0 ? rd_u8(&r) : RELEASED);
    return I2CBUS_DONE;
}

size_t
bus_transact(struct slave *s, struct span request, uint8_t out[I2CBUS_PACKET_MAX])
{
    struct i2cbus_message m[I2CBUS_MESSAGES_MAX];
    uint8_t room[SCI2C_REPLY_MAX];
    struct wr reply = wr_of(room, 0); /* what the slave has ready for a read */
    struct wr w = wr_of(out, I2CBUS_PACKET_MAX);
    enum i2cbus_result result = I2CBUS_DONE;
    size_t count;
    size_t done;

    wr_u16(&w, 0); /* result and count, known at the end */
    if (!parse_all(request, m, &count)) {
        out[0] = I2CBUS_MALFORMED;
        return wr_len(&w);
    }
    for (done = 0; done < count; done++) {
        bool read_next = done + 1 < count && m[done + 1].flags != I2CBUS_WRITE &&
                         m[done + 1].address == m[done].address;

        if (m[done].address != SCI2C_ADDRESS) {
            result = I2CBUS_NO_SLAVE;
        } else if (m[done].flags != I2CBUS_WRITE) {
            result = read_back(&m[done], span_of(room, wr_len(&reply)), &w);
            reply = wr_of(room, 0);
        } else {
            reply = wr_of(room, sizeof room);
            if (!(read_next ? slave_request(s, m[done].data, &reply)
                            : slave_write(s, m[done].data)))
                result = I2CBUS_REFUSED;
        }
        if (result != I2CBUS_DONE)
            break;
    }
    bm_wipe(room, sizeof room);
    out[0] = (uint8_t)result;
    out[1] = (uint8_t)done;
    return wr_len(&w);
}
