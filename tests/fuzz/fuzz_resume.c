/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: an exported session. The input is one without its check value, which is put behind
 * it. What is taken must come out again, byte for byte, and a handle that took it can be used.
 */
#include "host/resume.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum bm_err
silent(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    (void)l;
    (void)request;
    (void)timeout_ms;
    (void)answer;
    memset(room, 0, JRCP_MESSAGE_MAX);
    return bm_fail(msg, BM_ERR_TIMEOUT, "nobody answers");
}

static void
take(enum address_kind kind, struct span session)
{
    struct a71ch chip = {
        .link = { .fd = -1, .name = "fuzz" }, .exchange = silent, .address = { .kind = kind }
    };
    uint8_t again[A71CH_SESSION_MAX];
    struct wr w = wr_of(again, sizeof again);
    a71ch_module_info info;

    if (session_read(&chip, session) == A71CH_OK) {
        if (session_write(&chip, &w) != A71CH_OK || wr_len(&w) != session.len ||
            memcmp(again, session.ptr, session.len) != 0)
            abort();
        if (a71ch_get_module_info(&chip, &info) == A71CH_OK)
            abort();
    } else if (chip.msg.text[0] == '\0') {
        abort(); /* every failure has its sentence */
    }
    host_channel_free(&chip);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t session[2 * A71CH_SESSION_MAX];
    struct wr w = wr_of(session, sizeof session);

    take(ADDRESS_I2C, span_of(data, size));
    if (size > A71CH_SESSION_MAX)
        return 0;
    wr_bytes(&w, data, size);
    wr_u32(&w, session_crc(span_of(data, size)));
    take(ADDRESS_I2C, span_of(session, wr_len(&w)));
    take(ADDRESS_UNIX, span_of(session, wr_len(&w)));
    return 0;
}
