/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip as the only slave of an I2C bus; masters are programs that connect to a socket and send
 * transactions as packets (wire/i2cbus.h).
 *
 * As on wires there is one slave and one session of the chip, whoever the master is: transactions
 * of several masters mix. A command runs after the write that completed it was acknowledged, so a
 * master may see "busy".
 */
#ifndef BM_A71CHD_I2C_H
#define BM_A71CHD_I2C_H

#include "a71chd/backend.h"
#include "base/loop.h"
#include "wire/i2cbus.h"

struct i2c;

enum { I2C_MASTERS_MAX = 16 }; /* more wait in the listen queue */

/* `fd` listens; it stays the caller's, as loop and chip do, until i2c_free. BM_ERR_MEM. */
enum bm_err i2c_new(struct loop *loop, struct backend *chip, int fd, struct i2c **out);
void i2c_free(struct i2c *bus); /* takes NULL */

/*
 * One transaction (wire/i2cbus.h) without a socket, for tests that are the master themselves. A
 * command that it completes runs from the loop. Returns the length of the answer.
 */
size_t i2c_transact(struct i2c *bus, struct span request, uint8_t out[I2CBUS_PACKET_MAX]);

#endif
