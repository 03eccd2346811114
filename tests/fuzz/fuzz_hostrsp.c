/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: what a server answers, through every call of liba71ch. The input is a list of
 * answers, each a length byte and that many bytes of JRCP payload; the call goes by its number.
 */
#include "host/host.h"
#include "host/signature.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The answers in place of a socket. */
struct script {
    struct a71ch chip; /* first: its link is what the exchange gets */
    struct rd answers;
};

static enum bm_err
next_answer(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct script *s = (struct script *)(void *)l;
    struct wr w = wr_of(room, JRCP_MESSAGE_MAX);

    (void)timeout_ms;
    if (request->payload.len == 0 || rd_left(&s->answers) == 0)
        return bm_fail(msg, BM_ERR_CLOSED, "no more answers");
    wr_span(&w, rd_span(&s->answers, rd_u8(&s->answers)));
    *answer = (struct jrcp_msg){ .mty = JRCP_APDU, .payload = span_of(room, wr_len(&w)) };
    return BM_OK;
}

static void
call(a71ch *c, unsigned number)
{
    uint8_t in[A71CH_POINT_LEN] = { 4 };
    uint8_t out[300] = { 0 };
    size_t len = sizeof out;
    const a71ch_scp_keys keys = { .mac = { 1 } };
    a71ch_module_info info;
    uint32_t value;
    unsigned used;
    unsigned max;
    int16_t room;
    a71ch_restricted restricted;
    int valid = -1;
    a71ch_result res;

    switch (number % 24) {
    case 0:
        res = a71ch_get_module_info(c, &info);
        break;
    case 1:
        res = a71ch_get_unique_id(c, out);
        break;
    case 2:
        res = a71ch_get_credential_map(c, out, &len);
        break;
    case 3:
        res = a71ch_get_random(c, out, sizeof out);
        break;
    case 4:
        res = a71ch_sha256(c, in, sizeof in, out);
        break;
    case 5:
        res = a71ch_pair_get_public(c, 0, out);
        break;
    case 6:
        res = a71ch_pair_sign(c, 0, in, out, &len);
        if (res == A71CH_OK && (len < 8 || len > A71CH_SIGNATURE_MAX))
            abort();
        break;
    case 7:
        res = a71ch_pair_ecdh(c, 0, in, out);
        break;
    case 8:
        res = a71ch_verify_with_key(c, in, in, in, 8, &valid);
        if (res == A71CH_OK && valid != 0 && valid != 1)
            abort();
        break;
    case 9:
        res = a71ch_counter_get(c, 0, &value);
        break;
    case 10:
        res = a71ch_gp_read(c, 0, out, sizeof out);
        break;
    case 11:
        res = a71ch_gp_write(c, 0, out, 0);
        break;
    case 12:
        res = a71ch_transceive(c, in, 5, out, &len);
        break;
    case 13:
        res = a71ch_debug_reset(c);
        break;
    case 14:
        res = a71ch_get_restricted(c, &restricted);
        if (res == A71CH_OK && restricted.block_count > 63)
            abort();
        break;
    case 15:
        res = a71ch_pair_get_usage(c, 1, &used, &max);
        break;
    case 16:
        res = a71ch_pair_restricted_sign(c, 1, in, 3, &used);
        break;
    case 17:
        res = a71ch_debug_free_persistent(c, &room);
        break;
    case 18:
        res = a71ch_sym_hkdf(c, 0, 1, NULL, 0, in, 3, out, 100);
        break;
    case 19:
        res = a71ch_sym_hmac(c, 0, 1, out, sizeof out, out);
        break;
    case 20:
        res = a71ch_gp_write_checked(c, 0, out, sizeof out);
        break;
    case 21:
        res = a71ch_channel_open(c, &keys, 0);
        if (res == A71CH_OK)
            abort(); /* nobody has these keys */
        break;
    case 22:
        res = a71ch_scp_put_keys(c, 1, &keys);
        break;
    default:
        res = a71ch_get_code(c, A71CH_CODE_PAIR, in, out);
        break;
    }
    if (res != A71CH_OK && a71ch_message(c)[0] == '\0')
        abort(); /* every failure has its sentence */
}

/* What comes out is strict: reading it again gives it again. */
static void
normalise_twice(struct span in)
{
    uint8_t once[A71CH_SIGNATURE_MAX];
    uint8_t twice[A71CH_SIGNATURE_MAX];
    struct wr a = wr_of(once, sizeof once);
    struct wr b = wr_of(twice, sizeof twice);

    if (signature_normalise(in, &a) != BM_OK)
        return;
    if (signature_normalise(span_of(once, wr_len(&a)), &b) != BM_OK || wr_len(&a) != wr_len(&b) ||
        memcmp(once, twice, wr_len(&a)) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = { .chip = { .link = { .fd = -1, .name = "fuzz" }, .exchange = next_answer },
        .answers = rd_of(span_of(data, size)) };
    unsigned first = rd_u8(&s.answers);

    for (unsigned i = 0; rd_left(&s.answers) > 0; i++)
        call(&s.chip, first + i);
    host_channel_free(&s.chip);
    normalise_twice(span_of(data, size));
    return 0;
}
