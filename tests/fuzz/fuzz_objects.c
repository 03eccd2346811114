/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the table of objects of a hostile chip, through every call on objects. First byte:
 * size of storage in segments; then a frozen segment, type and index of the object asked for, two
 * bytes of length; the rest lies at the end of storage. The chip keeps what is written to it.
 *
 * What must hold: no call reads or writes outside of storage; a table that was listed before a
 * change can be listed after it, and no other object of it has moved.
 */
#include "host/host.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENTS_MAX = 128, STORAGE_MAX = SEGMENTS_MAX * 32 };

struct hostile {
    struct a71ch chip; /* first: its link is what the exchange gets */
    size_t gp_size;
    uint8_t frozen[SEGMENTS_MAX];
    uint8_t gp[STORAGE_MAX];
};

static void
answer_command(struct hostile *h, const struct apdu *cmd, struct wr *w)
{
    size_t at = (size_t)cmd->p1 << 8 | cmd->p2;
    struct rd r = rd_of(cmd->data);
    size_t len = cmd->ins == INS_GP_GET ? rd_u16(&r) : cmd->data.len;

    if (cmd->ins == INS_MODULE_GET && cmd->p2 == 3) {
        wr_bytes(w, "\x01\x31\xf3\x22", 4);
        wr_u16(w, (uint16_t)h->gp_size);
    } else if (cmd->ins == INS_MODULE_GET && cmd->p2 == 4) {
        wr_bytes(w, h->frozen, h->gp_size / 32);
    } else if (cmd->ins == INS_GP_GET || cmd->ins == INS_GP_SET) {
        if (at > h->gp_size || len > h->gp_size - at)
            abort(); /* the host must know better */
        if (cmd->ins == INS_GP_GET)
            wr_bytes(w, &h->gp[at], len);
        else
            memcpy(&h->gp[at], cmd->data.ptr, len);
    } else {
        abort();
    }
    wr_u16(w, SW_OK);
}

static enum bm_err
exchange(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct hostile *h = (struct hostile *)(void *)l;
    struct wr w = wr_of(room, JRCP_MESSAGE_MAX);
    struct apdu cmd;

    (void)timeout_ms;
    *answer = (struct jrcp_msg){ .mty = request->mty };
    if (request->mty == JRCP_DEBUG_INFO) /* no leases here */
        return BM_OK;
    if (apdu_parse(request->payload, &cmd) != BM_OK)
        return bm_fail(msg, BM_ERR_CLOSED, "no command");
    answer_command(h, &cmd, &w);
    *answer = (struct jrcp_msg){ .mty = JRCP_APDU, .payload = span_of(room, wr_len(&w)) };
    return BM_OK;
}

static void
check(struct hostile *h, a71ch_result res)
{
    if (res != A71CH_OK && a71ch_message(&h->chip)[0] == '\0')
        abort(); /* every failure has its sentence */
}

/* All that was there is there, but for the one the change was about. */
static void
check_kept(struct hostile *h, const a71ch_object *before, size_t count, uint8_t type, uint8_t index)
{
    a71ch_object after[A71CH_OBJECT_COUNT_MAX];
    size_t now;

    if (a71ch_object_list(&h->chip, after, A71CH_OBJECT_COUNT_MAX, &now) != A71CH_OK)
        abort();
    for (size_t i = 0, k = 0; i < count; i++) {
        if (before[i].type == type && before[i].index == index)
            continue;
        while (k < now && (after[k].type != before[i].type || after[k].index != before[i].index ||
                              after[k].offset != before[i].offset))
            k++;
        if (k == now)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hostile *h = calloc(1, sizeof *h);
    struct rd r = rd_of(span_of(data, size));
    a71ch_object before[A71CH_OBJECT_COUNT_MAX];
    uint8_t bytes[700] = { 0x30, 0x82, 0x01, 0x00 };
    size_t len = sizeof bytes;
    size_t count = 0;
    uint8_t type;
    uint8_t index;
    size_t wanted;
    a71ch_result res;

    if (h == NULL)
        return 0;
    h->chip = (struct a71ch){ .link = { .fd = -1, .name = "fuzz" }, .exchange = exchange };
    h->gp_size = (rd_u8(&r) % SEGMENTS_MAX + (size_t)1) * 32;
    h->frozen[rd_u8(&r) % SEGMENTS_MAX] = 0x5f;
    type = rd_u8(&r) % 2 == 0 ? A71CH_CERTIFICATE : A71CH_DATA;
    index = rd_u8(&r);
    wanted = rd_u16(&r) % sizeof bytes;
    if (rd_left(&r) > h->gp_size)
        (void)rd_span(&r, rd_left(&r) - h->gp_size);
    memcpy(&h->gp[h->gp_size - rd_left(&r)], r.pos, rd_left(&r));

    res = a71ch_object_list(&h->chip, before, A71CH_OBJECT_COUNT_MAX, &count);
    check(h, res);
    check(h, a71ch_certificate_read(&h->chip, index, bytes, &len));
    len = sizeof bytes;
    check(h, a71ch_object_read(&h->chip, type, index, wanted, bytes, &len));
    check(h, a71ch_object_write(&h->chip, type, index, bytes, wanted, 0));
    if (res == A71CH_OK)
        check_kept(h, before, count, type, index);
    check(h, a71ch_object_update(&h->chip, type, index, wanted / 3, bytes, wanted));
    if (res == A71CH_OK)
        check_kept(h, before, count, type, index);
    check(h, a71ch_object_erase(&h->chip, type, index));
    if (res == A71CH_OK)
        check_kept(h, before, count, type, index);
    free(h);
    return 0;
}
