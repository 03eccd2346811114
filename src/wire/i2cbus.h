/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I2C bus transactions as packets of a Unix SOCK_SEQPACKET socket: what `a71chd --listen
 * i2c-unix:PATH` speaks. The format is our own; integers are big-endian.
 *
 * A request is one transaction from start to stop: one or more messages with a repeated start
 * between them, each
 *
 *     address u8 (7 bits), flags u8, length u16, then `length` bytes when it is a write
 *
 * where flags is 0 to write, 1 to read `length` bytes, 3 to read one length byte and as many bytes
 * as it says (1..32, as SMBus allows; `length` is 0). The answer is one packet:
 *
 *     result u8, count of messages done u8, then for each read that was done: length u16, bytes
 *
 * Exactly one answer follows each request. The bus has one slave, at 0x48.
 */
#ifndef BM_WIRE_I2CBUS_H
#define BM_WIRE_I2CBUS_H

#include "base/bytes.h"

enum {
    I2CBUS_MESSAGES_MAX = 42, /* of one transaction; Linux has the same limit */
    I2CBUS_PACKET_MAX = 16384,
    I2CBUS_BLOCK_MAX = 32, /* bytes of a read whose first byte is its length */
};

enum i2cbus_result {
    I2CBUS_DONE = 0,
    I2CBUS_NO_SLAVE = 1,   /* nobody acknowledged the address */
    I2CBUS_REFUSED = 2,    /* a data byte was not acknowledged */
    I2CBUS_BAD_LENGTH = 3, /* the length byte of a block read is not 1..32 */
    I2CBUS_MALFORMED = 4,  /* the request is not as above, or its answer would not fit */
};

enum i2cbus_flags { I2CBUS_WRITE = 0, I2CBUS_READ = 1, I2CBUS_READ_BLOCK = 3 };

struct i2cbus_message {
    uint8_t address;
    enum i2cbus_flags flags;
    uint16_t length;  /* of a plain read */
    struct span data; /* of a write; borrowed */
};

/* Append one message. BM_ERR_ARG: data above 65535 bytes. BM_ERR_SPACE: no room. */
enum bm_err i2cbus_message_build(struct wr *out, const struct i2cbus_message *m);

/* Take one message off `in`. BM_ERR_INPUT: not one. */
enum bm_err i2cbus_message_parse(struct rd *in, struct i2cbus_message *out);

#endif
