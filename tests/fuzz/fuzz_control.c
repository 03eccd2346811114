/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a control request's payload, as a stranger sends it and as the owner does; the reply
 * must be whole messages of which only the last is a last one.
 */
#include "a71chd/control.h"
#include "a71chd/lease.h"
#include "chip/chip.h"
#include "chip/nvm.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_reply(struct span all)
{
    struct rd r = rd_of(all);
    struct jrcp_msg piece = { .nad = CONTROL_MORE };

    while (rd_left(&r) > 0) {
        if (piece.nad != CONTROL_MORE || jrcp_parse(&r, &piece) != BM_OK ||
            piece.mty != JRCP_DEBUG_INFO)
            abort();
    }
    if (piece.nad != CONTROL_LAST && piece.nad != CONTROL_ERROR)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nvm_mem mem = { 0 };
    struct chip *chip;
    struct backend *backend;
    struct lease_request lease;
    const char *cause;

    if (chip_open_store(nvm_store_mem(&mem), &chip, NULL) != BM_OK ||
        backend_sim_of(NULL, chip, NULL, &backend) != BM_OK)
        abort();
    for (int trusted = 0; trusted < 2; trusted++) {
        struct buf reply = { 0 };

        control_answer(NULL, backend, trusted != 0, span_of(data, size), &reply);
        check_reply(buf_span(&reply));
        buf_fini(&reply);
    }
    (void)lease_parse(
        &(struct jrcp_msg){ JRCP_DEBUG_INFO, 0, span_of(data, size) }, &lease, &cause);
    backend_free(backend);
    buf_fini(&mem.bytes);
    return 0;
}
