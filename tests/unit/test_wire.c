/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/wire: APDU and JRCP. Vectors are those of SPEC a71ch 1.1, 2.7, 6.1. */
#include "wire/apdu.h"
#include "wire/jrcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct apdu
parsed(const void *bytes, size_t len)
{
    struct apdu cmd = { 0 };

    assert_int_equal(apdu_parse(span_of(bytes, len), &cmd), BM_OK);
    return cmd;
}

static void
select_has_aid_and_le(void **state)
{
    static const uint8_t in[] = { 0x00, 0xa4, 0x04, 0x00, 0x05, 0x61, 0x37, 0x31, 0x63, 0x68,
        0x00 };
    struct apdu cmd = parsed(in, sizeof in);

    (void)state;
    assert_int_equal(cmd.cla, 0x00);
    assert_int_equal(cmd.ins, INS_SELECT);
    assert_int_equal(cmd.p1, 0x04);
    assert_true(span_eq(cmd.data, span_str("a71ch")));
    assert_int_equal(cmd.le, 256);
}

static void
five_byte_command_has_no_data_and_its_le(void **state)
{
    static const uint8_t empty_select[] = { 0x00, 0xa4, 0x04, 0x00, 0x00 };
    static const uint8_t uid[] = { 0x80, 0x91, 0x00, 0x01, 0x12 };
    struct apdu cmd = parsed(empty_select, sizeof empty_select);

    (void)state;
    assert_int_equal(cmd.data.len, 0);
    assert_int_equal(cmd.le, 256);
    cmd = parsed(uid, sizeof uid);
    assert_int_equal(cmd.p2, 1);
    assert_int_equal(cmd.le, 0x12);
}

static void
le_byte_may_be_absent_with_and_without_data(void **state)
{
    static const uint8_t gp_set[] = { 0x80, 0x72, 0x00, 0x00, 0x04, 0x41, 0x31, 0x43, 0x48 };
    static const uint8_t bare[] = { 0x80, 0x94, 0x00, 0xea };
    struct apdu cmd = parsed(gp_set, sizeof gp_set);

    (void)state;
    assert_true(span_eq(cmd.data, span_str("A1CH")));
    assert_int_equal(cmd.le, -1);
    cmd = parsed(bare, sizeof bare);
    assert_int_equal(cmd.data.len, 0);
    assert_int_equal(cmd.le, -1);
}

static void
longest_command_has_255_data_bytes(void **state)
{
    uint8_t in[APDU_CMD_MAX + 1] = { 0x80, 0x96, 0x00, 0x00, 0xff };
    struct apdu cmd;

    (void)state;
    in[260] = 0x20;
    cmd = parsed(in, APDU_CMD_MAX);
    assert_int_equal(cmd.data.len, 255);
    assert_int_equal(cmd.le, 0x20);
    assert_int_equal(apdu_parse(span_of(in, APDU_CMD_MAX + 1), &cmd), BM_ERR_INPUT);
}

static void
lc_that_does_not_fit_and_extended_forms_are_refused(void **state)
{
    static const uint8_t in[] = { 0x80, 0x71, 0x00, 0x00, 0x03, 0x00, 0x04 };
    static const uint8_t extended[] = { 0x80, 0x71, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x04 };
    static const uint8_t extended_le[] = { 0x80, 0x91, 0x00, 0x01, 0x00, 0x00, 0x12 };
    static const uint8_t lc_zero[] = { 0x80, 0x91, 0x00, 0x03, 0x00, 0x00 };
    struct apdu cmd;

    (void)state;
    assert_int_equal(apdu_parse(SPAN(lc_zero), &cmd), BM_ERR_INPUT);
    for (size_t len = 0; len < 4; len++)
        assert_int_equal(apdu_parse(span_of(in, len), &cmd), BM_ERR_INPUT);
    assert_int_equal(apdu_parse(SPAN(in), &cmd), BM_ERR_INPUT);
    assert_int_equal(apdu_parse(SPAN(extended), &cmd), BM_ERR_INPUT);
    assert_int_equal(apdu_parse(SPAN(extended_le), &cmd), BM_ERR_INPUT);
}

static void
built_commands_match_the_specification(void **state)
{
    static const uint8_t want_select[] = { 0x00, 0xa4, 0x04, 0x00, 0x05, 0x61, 0x37, 0x31, 0x63,
        0x68, 0x00 };
    static const uint8_t want_random[] = { 0x80, 0x95, 0x00, 0x10, 0x00 };
    static const uint8_t want_gp[] = { 0x80, 0x72, 0x00, 0x00, 0x04, 0x41, 0x31, 0x43, 0x48 };
    static const uint8_t want_bare[] = { 0x80, 0x94, 0x00, 0xea };
    const struct {
        struct apdu cmd;
        struct span want;
    } rows[] = {
        { { 0x00, 0xa4, 4, 0, span_str("a71ch"), 256 }, SPAN(want_select) },
        { { 0x80, 0x95, 0, 16, { 0 }, 256 }, SPAN(want_random) },
        { { 0x80, 0x72, 0, 0, span_str("A1CH"), -1 }, SPAN(want_gp) },
        { { 0x80, 0x94, 0, 0xea, { 0 }, 0 }, SPAN(want_bare) },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[APDU_CMD_MAX];
        struct wr w = wr_of(out, sizeof out);

        assert_int_equal(apdu_build(&w, &rows[i].cmd), BM_OK);
        assert_true(span_eq(span_of(out, wr_len(&w)), rows[i].want));
    }
}

static void
build_refuses_what_short_form_cannot_carry(void **state)
{
    static const uint8_t data[256];
    uint8_t out[APDU_CMD_MAX + 8];
    struct wr w = wr_of(out, sizeof out);
    struct wr tight = wr_of(out, 260);
    struct apdu cmd = { 0x80, 0x96, 0, 0, SPAN(data), 256 };

    (void)state;
    assert_int_equal(apdu_build(&w, &cmd), BM_ERR_ARG);
    cmd.data.len = 255;
    cmd.le = 257;
    assert_int_equal(apdu_build(&w, &cmd), BM_ERR_ARG);
    cmd.le = -2;
    assert_int_equal(apdu_build(&w, &cmd), BM_ERR_ARG);
    cmd.le = 256;
    assert_int_equal(apdu_build(&tight, &cmd), BM_ERR_SPACE);
    assert_int_equal(wr_len(&tight), 0);
    assert_false(tight.failed);
    assert_int_equal(apdu_build(&w, &cmd), BM_OK);
    assert_int_equal(wr_len(&w), APDU_CMD_MAX);
}

static void
response_splits_into_data_and_status(void **state)
{
    static const uint8_t rsp[] = { 0x01, 0x31, 0x90, 0x00 };
    struct span data;
    uint16_t sw = 0;

    (void)state;
    assert_int_equal(apdu_split(SPAN(rsp), &data, &sw), BM_OK);
    assert_int_equal(sw, SW_OK);
    assert_true(span_eq(data, span_of(rsp, 2)));
    assert_int_equal(apdu_split(span_of(rsp, 2), &data, &sw), BM_OK);
    assert_int_equal(sw, 0x0131);
    assert_int_equal(data.len, 0);
    assert_int_equal(apdu_split(span_of(rsp, 1), &data, &sw), BM_ERR_PROTO);
}

static void
jrcp_prefix_asks_for_more_and_stays_put(void **state)
{
    static const uint8_t in[] = { 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x01, 0x00, 0x01 };
    struct jrcp_msg msg;
    struct rd r;

    (void)state;
    for (size_t len = 0; len < 8; len++) {
        r = rd_of(span_of(in, len));
        assert_int_equal(jrcp_parse(&r, &msg), BM_ERR_MORE);
        assert_ptr_equal(r.pos, in);
        assert_false(r.failed);
    }
    r = rd_of(SPAN(in));
    assert_int_equal(jrcp_parse(&r, &msg), BM_OK);
    assert_int_equal(msg.mty, JRCP_WAIT_FOR_CARD);
    assert_int_equal(msg.payload.len, 4);
    assert_int_equal(rd_left(&r), 1);
    assert_int_equal(jrcp_parse(&r, &msg), BM_ERR_MORE);
}

static void
jrcp_payload_above_316_breaks_the_protocol(void **state)
{
    uint8_t in[JRCP_MESSAGE_MAX] = { 0x01, 0x00, 0x01, 0x3c };
    struct rd r = rd_of(SPAN(in));
    struct jrcp_msg msg;

    (void)state;
    assert_int_equal(jrcp_parse(&r, &msg), BM_OK);
    assert_int_equal(msg.payload.len, JRCP_PAYLOAD_MAX);
    in[3] = 0x3d;
    r = rd_of(span_of(in, 4)); /* known as soon as the header is */
    assert_int_equal(jrcp_parse(&r, &msg), BM_ERR_PROTO);
}

static void
jrcp_built_message_matches_the_specification(void **state)
{
    static const uint8_t want[] = { 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x01, 0x00 };
    static const uint8_t close[] = { 0x03, 0x00, 0x00, 0x00 };
    static const uint8_t timeout[] = { 0x00, 0x00, 0x01, 0x00 };
    static const uint8_t big[JRCP_PAYLOAD_MAX + 1];
    uint8_t out[12];
    struct wr w = wr_of(out, sizeof out);
    struct jrcp_msg msg = { JRCP_WAIT_FOR_CARD, 0, SPAN(timeout) };

    (void)state;
    assert_int_equal(jrcp_build(&w, &msg), BM_OK);
    assert_true(span_eq(span_of(out, wr_len(&w)), SPAN(want)));
    assert_int_equal(jrcp_build(&w, &msg), BM_ERR_SPACE);
    assert_int_equal(wr_len(&w), 8);
    msg = (struct jrcp_msg){ JRCP_ERROR, 0, { 0 } };
    assert_int_equal(jrcp_build(&w, &msg), BM_OK);
    assert_memory_equal(&out[8], close, 4);
    msg.payload = SPAN(big);
    assert_int_equal(jrcp_build(&w, &msg), BM_ERR_ARG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_has_aid_and_le),
        cmocka_unit_test(five_byte_command_has_no_data_and_its_le),
        cmocka_unit_test(le_byte_may_be_absent_with_and_without_data),
        cmocka_unit_test(longest_command_has_255_data_bytes),
        cmocka_unit_test(lc_that_does_not_fit_and_extended_forms_are_refused),
        cmocka_unit_test(built_commands_match_the_specification),
        cmocka_unit_test(build_refuses_what_short_form_cannot_carry),
        cmocka_unit_test(response_splits_into_data_and_status),
        cmocka_unit_test(jrcp_prefix_asks_for_more_and_stays_put),
        cmocka_unit_test(jrcp_payload_above_316_breaks_the_protocol),
        cmocka_unit_test(jrcp_built_message_matches_the_specification),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
