/* SPDX-License-Identifier: Apache-2.0 */
/* A bus with one slave at 0x48: one packet of wire/i2cbus.h in, its answer out. */
#ifndef BM_BUS_BUS_H
#define BM_BUS_BUS_H

#include "bus/slave.h"
#include "wire/i2cbus.h"

/*
 * Run one transaction. Always answers: `out` gets 2..I2CBUS_PACKET_MAX bytes, the return value is
 * their count. A malformed request changes nothing.
 */
size_t bus_transact(struct slave *s, struct span request, uint8_t out[I2CBUS_PACKET_MAX]);

#endif
