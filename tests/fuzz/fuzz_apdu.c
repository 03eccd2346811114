/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a sequence of commands, each as a length byte and so many bytes, into a chip on
 * memory that has been selected; then the chip must open again from what it stored. An odd last
 * byte gives it a restricted key pair.
 */
#include "chip/chip.h"
#include "chip/nvm.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct chip *
open_chip(struct nvm_mem *mem)
{
    static const uint8_t select[] = { 0, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    uint8_t rsp[APDU_RSP_MAX];
    struct chip *c;

    if (chip_open_store(nvm_store_mem(mem), &c, NULL) != BM_OK ||
        chip_apdu(c, SPAN(select), rsp) != 4)
        abort();
    return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rd r = rd_of(span_of(data, size));
    struct nvm_mem mem = { 0 };
    struct chip *c = open_chip(&mem);

    if (size > 0 && data[size - 1] % 2 != 0) /* some have a restricted key pair */
        (void)chip_restrict(c,
            &(struct chip_restricted){
                .index = 3, .max = 2, .count = 2, .blocks = { { 64, 2 }, { 70, 1 } } },
            NULL);
    while (rd_left(&r) > 0) {
        size_t len = rd_u8(&r);
        uint8_t rsp[APDU_RSP_MAX];
        size_t got;

        got = chip_apdu(c, rd_span(&r, len < rd_left(&r) ? len : rd_left(&r)), rsp);
        if (got < 2 || got > sizeof rsp)
            abort();
        if (got > 2 && (rsp[got - 2] != 0x90 || rsp[got - 1] != 0x00))
            abort(); /* a refusal carries no data */
    }
    chip_close(c);
    chip_close(open_chip(&mem));
    buf_fini(&mem.bytes);
    return 0;
}
