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

static void
flip(uint8_t *bytes, size_t len, uint32_t where)
{
    if (len > 0)
        bytes[where / 8 % len] ^= (uint8_t)(1u << where % 8);
}

/* One write, and what the slave then has ready when a read follows. False: not acknowledged. */
static bool
write_to(
    struct slave *s, struct span data, bool read_next, struct bus_fault fault, struct wr *reply)
{
    uint8_t wrong[SCI2C_WRITE_MAX];
    bool acknowledged;

    if (fault.trouble == BUS_CUT && !read_next)
        return false;
    if (fault.trouble == BUS_FLIP && !read_next && data.len <= sizeof wrong) {
        struct wr w = wr_of(wrong, sizeof wrong);

        wr_span(&w, data);
        flip(wrong, data.len, fault.where);
        data.ptr = wrong;
    }
    acknowledged = read_next ? slave_request(s, data, reply) : slave_write(s, data);
    if (fault.trouble == BUS_FLIP && read_next)
        flip(reply->start, wr_len(reply), fault.where);
    if (fault.trouble == BUS_CUT && wr_len(reply) > 0)
        reply->pos = &reply->start[fault.where % wr_len(reply)];
    bm_wipe(wrong, sizeof wrong);
    return acknowledged;
}

/* Does the slave answer to its address? One that hangs does for a soft reset only. */
static bool
slave_listens(const struct slave *s, const struct i2cbus_message *m, bool read_next)
{
    bool reset = m->flags == I2CBUS_WRITE && read_next && m->data.len == 1 &&
                 m->data.ptr[0] == SCI2C_PCB_SOFT_RESET;

    return s->stuck != SLAVE_HANGS || reset;
}

size_t
bus_transact(
    struct slave *s, struct span request, struct bus_fault fault, uint8_t out[I2CBUS_PACKET_MAX])
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

        if (m[done].address != SCI2C_ADDRESS || fault.trouble == BUS_NACK ||
            (m[done].flags == I2CBUS_WRITE && !slave_listens(s, &m[done], read_next))) {
            result = I2CBUS_NO_SLAVE;
        } else if (m[done].flags != I2CBUS_WRITE) {
            result = read_back(&m[done], span_of(room, wr_len(&reply)), &w);
            reply = wr_of(room, 0);
        } else {
            reply = wr_of(room, sizeof room);
            if (!write_to(s, m[done].data, read_next, fault, &reply))
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

size_t
bus_bytes(struct span request, struct span answer)
{
    struct rd asked = rd_of(request);
    struct rd got = rd_of(answer);
    struct i2cbus_message m;
    size_t bytes = 0;
    unsigned done;

    (void)rd_u8(&got);
    done = rd_u8(&got);
    for (unsigned i = 0; i <= done && i2cbus_message_parse(&asked, &m) == BM_OK; i++) {
        bytes++; /* its address, also of the one that was refused */
        if (i == done)
            continue;
        bytes += m.flags == I2CBUS_WRITE ? m.data.len : rd_span(&got, rd_u16(&got)).len;
    }
    return bytes;
}
