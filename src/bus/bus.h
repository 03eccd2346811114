/* SPDX-License-Identifier: Apache-2.0 */
/* A bus with one slave at 0x48: one packet of wire/i2cbus.h in, its answer out. */
#ifndef BM_BUS_BUS_H
#define BM_BUS_BUS_H

#include "bus/slave.h"
#include "wire/i2cbus.h"

/* What goes wrong with a transaction at the slave's address, on purpose. */
enum bus_trouble {
    BUS_FINE,
    BUS_NACK, /* the address is not acknowledged */
    BUS_FLIP, /* bit `where` of what is read, or of what is written when nothing is read */
    BUS_CUT,  /* after `where` bytes the slave lets go: the rest reads FF, a write is refused */
};

struct bus_fault {
    enum bus_trouble trouble;
    uint32_t where; /* counted round the end */
};

/*
 * Run one transaction. Always answers: `out` gets 2..I2CBUS_PACKET_MAX bytes, the return value is
 * their count. A malformed request changes nothing.
 */
size_t bus_transact(
    struct slave *s, struct span request, struct bus_fault fault, uint8_t out[I2CBUS_PACKET_MAX]);

/* How many bytes went over the bus, addresses included: its time. */
size_t bus_bytes(struct span request, struct span answer);

#endif
