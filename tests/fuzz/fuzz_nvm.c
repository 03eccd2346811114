/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the chip's memory file. First the input as it is; then its bytes as payloads of
 * records with right seals behind a good snapshot, so that the parser behind the seal is
 * reached: a length byte and so many bytes each.
 */
#include "chip/state.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
open_and_write(struct nvm_mem *mem)
{
    static const uint8_t byte[] = { 0x5a };
    struct nvm *n;

    if (nvm_open(nvm_store_mem(mem), NULL, IMG_LEN, &n, NULL) != BM_OK)
        return;
    if (nvm_write(n, &(struct nvm_change){ IMG_LEN - 1, SPAN(byte) }, 1, NVM_APPEND) != BM_OK)
        abort();
    nvm_close(n);
    if (nvm_open(nvm_store_mem(mem), NULL, IMG_LEN, &n, NULL) != BM_OK || nvm_torn(n) != 0 ||
        nvm_read(n, IMG_LEN - 1, 1).ptr[0] != 0x5a)
        abort(); /* what was accepted and written must be there */
    nvm_close(n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t image[IMG_LEN];
    uint8_t frame[NVM_SNAPSHOT_HEADER + IMG_LEN + SEAL_EXTRA];
    uint8_t tag[SEAL_TAG_LEN];
    struct seal seal;
    struct rd r = rd_of(span_of(data, size));
    struct nvm_mem mem = { .has_key = true, .key = "not a secret" };
    struct wr w = wr_of(frame, sizeof frame);

    buf_add(&mem.bytes, data, size);
    open_and_write(&mem);
    mem.bytes.len = 0;
    if (seal_init(&seal, NULL, mem.key) != BM_OK ||
        nvm_frame_snapshot(&w, &seal, SPAN(image)) != BM_OK)
        abort();
    buf_add(&mem.bytes, frame, wr_len(&w));
    memcpy(tag, &frame[wr_len(&w) - sizeof tag], sizeof tag);
    for (uint32_t seq = 1; rd_left(&r) > 0; seq++) {
        size_t len = rd_u8(&r);

        w = wr_of(frame, sizeof frame);
        if (nvm_frame(&w, &seal, SPAN(tag), seq,
                rd_span(&r, len < rd_left(&r) ? len : rd_left(&r))) != BM_OK)
            abort();
        buf_add(&mem.bytes, frame, wr_len(&w));
    }
    open_and_write(&mem);
    seal_fini(&seal);
    buf_fini(&mem.bytes);
    return 0;
}
