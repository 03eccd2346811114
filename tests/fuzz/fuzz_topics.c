/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: topics of a broker that keeps them with dots; what is taken goes back to what means
 * the same. */
#include "broker/topics.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct topics *t = topics_named("nats");
    uint8_t space[3 * 4096];
    uint8_t wire_space[3 * 4096 + 2];
    struct wr room = wr_of(space, 4096);
    struct wr wire_room = wr_of(wire_space, sizeof wire_space);
    struct span plain;
    struct span wire;
    struct span again;

    if (size > 0 && memchr(data, 0, size) != NULL) /* no MQTT string has it */
        return 0;
    if (!topics_from_broker(t, span_of(data, size), &room, &plain))
        return 0;
    if (plain.len == 0 || plain.len > size || !topics_to_broker(t, plain, &wire_room, &wire))
        abort();
    room = wr_of(space + 4096, 4096);
    if (!topics_from_broker(t, wire, &room, &again) || !span_eq(again, plain))
        abort();
    return 0;
}
