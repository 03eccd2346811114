/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: bus transactions, each after its length u16, whose upper two bits are a fault; a
 * command whose first byte is below 80 is answered at once.
 */
#include "bus/bus.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t filler[APDU_RSP_MAX] = { 0x90 };
    static uint8_t out[I2CBUS_PACKET_MAX];
    struct rd r = rd_of(span_of(data, size));
    struct slave s;

    if (slave_init(&s, span_of(filler, 29), NULL) != BM_OK)
        abort();
    while (rd_left(&r) > 2) {
        uint16_t head = rd_u16(&r);
        size_t len = head & 0x3fff;
        struct bus_fault fault = { (enum bus_trouble)(head >> 14), head * 2654435761u };
        struct span request = rd_span(&r, len < rd_left(&r) ? len : rd_left(&r));
        size_t got = bus_transact(&s, request, fault, out);
        struct span command = slave_pending(&s);

        if (got < 2 || got > sizeof out || out[0] > I2CBUS_MALFORMED || s.sequence > 7)
            abort();
        if (command.len > 0 && command.ptr[0] < 0x80)
            slave_answer(&s, span_of(filler, (size_t)command.ptr[0] * 3));
        (void)slave_take_reset(&s);
    }
    return 0;
}
