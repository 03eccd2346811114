/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of SCI2C: codec, slave and bus. Frames are those captured in SPEC a71ch 5.9. */
#include "bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t atr[] = { 0xb8, 0x04, 0x11, 0x01, 0x05, 0x04, 0xb9, 0x02, 0x01, 0x01, 0xba,
    0x01, 0x01, 0xbb, 0x0c, 0x41, 0x37, 0x31, 0x30, 0x78, 0x43, 0x48, 0x32, 0x34, 0x32, 0x52, 0x31,
    0xbc, 0x00 }; /* SPEC 1.2 */

/* A slave after `sequence` commands, all answered and fetched. */
static struct slave
slave_at(unsigned sequence)
{
    static const uint8_t ok[] = { 0x90, 0x00 };
    struct slave s;
    uint8_t room[SCI2C_REPLY_MAX];

    assert_int_equal(slave_init(&s, SPAN(atr), NULL), BM_OK);
    for (unsigned i = 0; i < sequence; i++) {
        uint8_t frame[] = { (uint8_t)(i << 4), 1, 0xaa };
        uint8_t get[] = { 0x82 };
        struct wr w = wr_of(room, sizeof room);

        assert_true(slave_write(&s, SPAN(frame)));
        slave_answer(&s, SPAN(ok));
        assert_true(slave_request(&s, SPAN(get), &w));
    }
    return s;
}

/* Request `pcb` and compare the frame that comes back, both as hex. */
static void
expect(struct slave *s, uint8_t pcb, const char *wanted)
{
    uint8_t room[SCI2C_REPLY_MAX];
    char hex[2 * SCI2C_REPLY_MAX + 1];
    struct wr w = wr_of(room, sizeof room);

    assert_true(slave_request(s, span_of(&pcb, 1), &w));
    hex_encode(hex, room, wr_len(&w));
    assert_string_equal(hex, wanted);
}

static bool
write_hex(struct slave *s, const char *hex)
{
    uint8_t bytes[512];
    size_t len = strlen(hex) / 2;

    assert_int_equal(hex_decode(bytes, len, span_str(hex)), BM_OK);
    return slave_write(s, span_of(bytes, len));
}

static void
connect_sequence_as_captured(void **state)
{
    struct slave s = slave_at(0);

    (void)state;
    expect(&s, 0x07, "0107");
    assert_false(slave_take_reset(&s));
    expect(&s, 0x1f, "011f");
    assert_true(slave_take_reset(&s));
    assert_false(slave_take_reset(&s));
    expect(&s, 0x2f, "1e2fb80411010504b9020101ba0101bb0c413731307843483234325231bc00");
    expect(&s, 0x3f, "0133");
}

static void
module_info_as_captured(void **state)
{
    static const uint8_t command[] = { 0x80, 0x91, 0x00, 0x03, 0x00 };
    static const uint8_t response[] = { 0x01, 0x31, 0xf3, 0x22, 0x10, 0x00, 0x90, 0x00 };
    struct slave s = slave_at(2);

    (void)state;
    assert_false(write_hex(&s, "0f"));
    assert_true(write_hex(&s, "20058091000300"));
    assert_true(span_eq(slave_pending(&s), SPAN(command)));
    expect(&s, 0x07, "0117"); /* busy */
    expect(&s, 0x82, "0117");
    slave_answer(&s, SPAN(response));
    assert_int_equal(slave_pending(&s).len, 0);
    expect(&s, 0x07, "0107");
    expect(&s, 0x82, "09020131f32210009000");
    expect(&s, 0x07, "0107");
}

static void
signature_of_72_bytes_comes_in_three_frames_as_captured(void **state)
{
    struct slave s = slave_at(3);
    uint8_t response[74];
    uint8_t room[SCI2C_REPLY_MAX];
    uint8_t got[128];
    struct wr all = wr_of(got, sizeof got);
    static const struct {
        uint8_t request, len, pcb;
    } frames[] = { { 0x82, 0x1e, 0x82 }, { 0x02, 0x1e, 0x82 }, { 0x02, 0x11, 0x02 } };

    (void)state;
    for (size_t i = 0; i < sizeof response; i++)
        response[i] = (uint8_t)i;
    assert_true(write_hex(&s,
        "3026"
        "8015000020000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00"));
    slave_answer(&s, SPAN(response));
    for (size_t i = 0; i < 3; i++) {
        struct wr w = wr_of(room, sizeof room);
        struct rd r;
        struct span data;
        uint8_t pcb;

        assert_true(slave_request(&s, span_of(&frames[i].request, 1), &w));
        assert_int_equal(room[0], frames[i].len);
        r = rd_of(span_of(room, wr_len(&w)));
        assert_int_equal(sci2c_reply_parse(&r, &pcb, &data), BM_OK);
        assert_int_equal(pcb, frames[i].pcb);
        wr_span(&all, data);
    }
    assert_true(span_eq(span_of(got, wr_len(&all)), SPAN(response)));
}

static void
long_command_comes_in_frames_with_more(void **state)
{
    struct slave s = slave_at(5);
    uint8_t data[260];
    uint8_t frame[SCI2C_WRITE_MAX];
    struct wr w = wr_of(frame, sizeof frame);

    (void)state;
    memset(data, 0x5a, sizeof data);
    assert_int_equal(
        sci2c_send_build(&w, sci2c_pcb_send(true, 5), span_of(data, SCI2C_SEND_MAX)), BM_OK);
    assert_int_equal(frame[0], 0xd0); /* SPEC 5.9 */
    assert_int_equal(frame[1], 0xfd);
    assert_true(slave_write(&s, span_of(frame, wr_len(&w))));
    assert_int_equal(slave_pending(&s).len, 0);
    expect(&s, 0x07, "0107");
    assert_true(write_hex(&s, "60075a5a5a5a5a5a5a"));
    assert_true(span_eq(slave_pending(&s), SPAN(data)));
}

static void
over_long_command_is_a_length_exception_told_once(void **state)
{
    struct slave s = slave_at(0);
    uint8_t frame[SCI2C_WRITE_MAX];
    uint8_t data[SCI2C_SEND_MAX] = { 0 };

    (void)state;
    for (uint8_t i = 0; i < 2; i++) {
        struct wr w = wr_of(frame, sizeof frame);

        assert_int_equal(sci2c_send_build(&w, sci2c_pcb_send(i == 0, i), SPAN(data)), BM_OK);
        assert_true(slave_write(&s, span_of(frame, wr_len(&w))));
    }
    assert_int_equal(slave_pending(&s).len, 0);
    expect(&s, 0x07, "01b7");
    expect(&s, 0x07, "0107");
}

static void
frame_whose_length_byte_lies_is_a_length_exception(void **state)
{
    static const char *const bad[] = { "00", "0000", "0002aa", "0001aaaa", "00ff" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slave s = slave_at(0);

        assert_true(write_hex(&s, bad[i]));
        expect(&s, 0x82, "01b7");
        assert_true(write_hex(&s, "0001aa")); /* the sequence number has not moved */
        assert_int_equal(slave_pending(&s).len, 1);
    }
}

static void
every_wrong_sequence_number_is_refused_until_soft_reset(void **state)
{
    (void)state;
    for (uint8_t sequence = 0; sequence < SCI2C_SEQUENCES; sequence++) {
        struct slave s = slave_at(3);
        uint8_t frame[] = { sci2c_pcb_send(false, sequence), 1, 0xaa };

        assert_true(slave_write(&s, SPAN(frame)));
        expect(&s, 0x07, sequence == 3 ? "0117" : "01a7");
        expect(&s, 0x1f, "011f");
        assert_true(write_hex(&s, "0001aa"));
        expect(&s, 0x07, "0117");
    }
}

static void
sequence_number_wraps_after_seven(void **state)
{
    struct slave s = slave_at(8);

    (void)state;
    assert_true(write_hex(&s, "0001aa"));
    assert_int_equal(slave_pending(&s).len, 1);
}

static void
edc_bits_are_an_edc_exception(void **state)
{
    static const char *const frames[] = { "0401aa", "0801aa", "0c01aa" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct slave s = slave_at(0);

        assert_true(write_hex(&s, frames[i]));
        expect(&s, 0x07, "01d7");
    }
}

static void
requests_out_of_place_are_unexpected(void **state)
{
    struct slave s = slave_at(0);

    (void)state;
    expect(&s, 0x82, "01c7"); /* no answer to fetch */
    expect(&s, 0x03, "01c7"); /* binding select */
    expect(&s, 0x0b, "01c7");
    expect(&s, 0x10, "01c7");         /* a piece of a command without its length */
    assert_true(write_hex(&s, "1f")); /* reset without its read */
    assert_false(slave_take_reset(&s));
    expect(&s, 0x07, "01c7");
    assert_true(write_hex(&s, "0301aa"));
    expect(&s, 0x07, "01c7");
}

static void
busy_slave_refuses_writes_and_takes_a_soft_reset(void **state)
{
    static const uint8_t late[] = { 0x90, 0x00 };
    struct slave s = slave_at(0);

    (void)state;
    assert_true(write_hex(&s, "0001aa"));
    assert_false(write_hex(&s, "1001bb"));
    assert_false(write_hex(&s, "0f"));
    assert_true(write_hex(&s, "")); /* its address it knows: that is what i2cdetect asks */
    expect(&s, 0x0b, "0117");
    expect(&s, 0x1f, "011f");
    assert_int_equal(slave_pending(&s).len, 0);
    slave_answer(&s, SPAN(late)); /* of the command before the reset: nobody may get it */
    expect(&s, 0x07, "0107");
    expect(&s, 0x82, "01c7");
}

static void
soft_reset_in_the_middle_drops_pieces_and_answer(void **state)
{
    static const uint8_t response[40] = { 0 };
    struct slave s = slave_at(0);

    (void)state;
    assert_true(write_hex(&s, "8001aa"));
    expect(&s, 0x1f, "011f");
    assert_true(write_hex(&s, "0001bb"));
    assert_int_equal(slave_pending(&s).len, 1);
    assert_int_equal(slave_pending(&s).ptr[0], 0xbb);
    slave_answer(&s, SPAN(response));
    expect(&s, 0x1f, "011f");
    expect(&s, 0x02, "01c7");
}

static void
new_command_drops_an_unread_answer(void **state)
{
    static const uint8_t first[] = { 0x11, 0x90, 0x00 };
    static const uint8_t second[] = { 0x90, 0x00 };
    struct slave s = slave_at(0);

    (void)state;
    assert_true(write_hex(&s, "0001aa"));
    slave_answer(&s, SPAN(first));
    assert_true(write_hex(&s, "1001bb"));
    slave_answer(&s, SPAN(second));
    expect(&s, 0x82, "03029000");
}

static void
frame_sizes_follow_the_parameter_exchange(void **state)
{
    static const struct {
        uint8_t request;
        const char *reply;
        uint8_t len; /* first byte of the first frame of a long answer */
    } cases[] = { { 0x3f, "0133", 30 }, { 0x7f, "0173", 62 }, { 0xbf, "01b3", 126 },
        { 0xff, "01f3", 253 } };
    uint8_t response[APDU_RSP_MAX] = { 0 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct slave s = slave_at(0);
        uint8_t room[SCI2C_REPLY_MAX];
        uint8_t get[] = { 0x82 };
        struct wr w = wr_of(room, sizeof room);

        expect(&s, cases[i].request, cases[i].reply);
        assert_true(write_hex(&s, "0001aa"));
        slave_answer(&s, SPAN(response));
        assert_true(slave_request(&s, SPAN(get), &w));
        assert_int_equal(room[0], cases[i].len);
        assert_int_equal(wr_len(&w), sci2c_frame_size((uint8_t)i));
        assert_int_equal(room[1], 0x82);
    }
}

static void
master_accepts_the_replies_that_the_specification_names(void **state)
{
    (void)state;
    assert_true(sci2c_parameters_accepted(0, 0x33));
    assert_true(sci2c_parameters_accepted(0, 0x27));
    assert_true(sci2c_parameters_accepted(0, 0x1b));
    assert_true(sci2c_parameters_accepted(0, 0x0f));
    assert_false(sci2c_parameters_accepted(0, 0x3f));
    assert_false(sci2c_parameters_accepted(3, 0x33));
    for (uint8_t code = 0; code < SCI2C_SIZE_CODES; code++)
        for (uint8_t variant = 0; variant < 4; variant++)
            assert_true(sci2c_parameters_accepted(code, sci2c_parameters_reply(code, variant)));
}

static void
every_status_can_be_told_and_only_errors_are_exceptions(void **state)
{
    static const uint8_t all[] = { 0x07, 0x17, 0x87, 0x97, 0xa7, 0xb7, 0xc7, 0xd7, 0xf7 };

    (void)state;
    for (size_t i = 0; i < sizeof all; i++) {
        enum sci2c_status status = (enum sci2c_status)(all[i] >> 4);

        assert_int_equal(sci2c_status_byte(status), all[i]);
        assert_int_equal(sci2c_is_exception(all[i]), i >= 2);
        if (i >= 2) {
            struct slave s = slave_at(0);
            char wanted[8];

            slave_raise(&s, status);
            (void)snprintf(wanted, sizeof wanted, "01%02x", all[i]);
            expect(&s, 0x07, wanted);
            expect(&s, 0x07, "0107");
        }
    }
}

static void
answer_that_is_none_becomes_status_other(void **state)
{
    static const uint8_t one[] = { 0x90 };
    struct slave s = slave_at(0);

    (void)state;
    assert_true(write_hex(&s, "0001aa"));
    slave_answer(&s, SPAN(one));
    expect(&s, 0x07, "01f7");
}

/* Every bit flip of a captured frame is answered by a status of the table, never by the command. */
static void
bit_flips_and_prefixes_of_a_frame_have_an_answer(void **state)
{
    static const uint8_t frame[] = { 0x20, 0x05, 0x80, 0x91, 0x00, 0x03, 0x00 };
    static const uint8_t get[] = { 0x07 };

    (void)state;
    for (size_t bit = 0; bit < 16; bit++) { /* PCB and LEN; data bits are the command's affair */
        struct slave s = slave_at(2);
        uint8_t bad[sizeof frame];
        uint8_t room[SCI2C_REPLY_MAX];
        struct wr w = wr_of(room, sizeof room);

        memcpy(bad, frame, sizeof frame);
        bad[bit / 8] = (uint8_t)(bad[bit / 8] ^ 1U << bit % 8);
        assert_true(slave_write(&s, SPAN(bad)));
        assert_int_equal(slave_pending(&s).len, 0);
        assert_true(slave_request(&s, SPAN(get), &w));
        assert_int_equal(wr_len(&w), 2);
        if (bit == 7)
            assert_int_equal(room[1], 0x07); /* More: a valid frame, the rest is awaited */
        else
            assert_true(sci2c_is_exception(room[1]));
    }
    for (size_t len = 1; len < sizeof frame; len++) {
        struct slave s = slave_at(2);

        assert_true(slave_write(&s, span_of(frame, len)));
        expect(&s, 0x07, "01b7");
    }
}

/* One transaction in hex against its answer in hex. */
static void
bus_expect(struct slave *s, const char *request, const char *wanted)
{
    uint8_t bytes[512];
    uint8_t out[I2CBUS_PACKET_MAX];
    static char hex[2 * I2CBUS_PACKET_MAX + 1];
    size_t len = strlen(request) / 2;

    assert_int_equal(hex_decode(bytes, len, span_str(request)), BM_OK);
    hex_encode(hex, out, bus_transact(s, span_of(bytes, len), (struct bus_fault){ 0 }, out));
    assert_string_equal(hex, wanted);
}

static void
bus_carries_transactions_to_one_address(void **state)
{
    struct slave s = slave_at(0);

    (void)state;
    bus_expect(&s, "48000000", "0001");                       /* quick write */
    bus_expect(&s, "47000000", "0100");                       /* nobody there */
    bus_expect(&s, "48010001", "00010001ff");                 /* a read that nothing prepared */
    bus_expect(&s, "480000010f", "0200");                     /* wake-up byte refused */
    bus_expect(&s, "480000010748010002", "000200020107");     /* status */
    bus_expect(&s, "480000010748030000", "000200020107");     /* the same, length from the chip */
    bus_expect(&s, "480000010748010004", "000200040107ffff"); /* over-read */
    bus_expect(&s, "48030000", "0300");                       /* FF is no length */
    bus_expect(&s, "480000010749010002", "0101");
    expect(&s, 0x07, "01c7"); /* its request was without a read */
}

static void
malformed_transactions_change_nothing(void **state)
{
    static const char *const bad[] = { "", "48", "480000", "48000001", "48020000", "c8000000",
        "48030001", "4800000107480100", "4801ffff" };
    struct slave s = slave_at(0);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        bus_expect(&s, bad[i], "0400");
    expect(&s, 0x07, "0107");
}

/* What SPEC 5 leaves open, as it may be on a real chip. */
static void
choices_change_what_a_host_sees(void **state)
{
    const struct slave_choices other = {
        .wakes = true, .data_counts = true, .parameters = 2, .reset_reply = 0x5f
    };
    uint8_t response[62] = { 0 };
    struct slave s;
    char frame[80];

    (void)state;
    assert_int_equal(slave_init(&s, SPAN(atr), &other), BM_OK);
    assert_true(write_hex(&s, "0f"));
    expect(&s, 0x1f, "015f");
    expect(&s, 0x3f, "011b");
    assert_true(write_hex(&s, "0f"));
    assert_true(write_hex(&s, "00058091000300"));
    slave_answer(&s, SPAN(response));
    (void)snprintf(frame, sizeof frame, "2082%062d", 0);
    expect(&s, 0x82, frame); /* 31 bytes of data: LEN is 32 */
    (void)snprintf(frame, sizeof frame, "2002%062d", 0);
    expect(&s, 0x02, frame);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_change_what_a_host_sees),
        cmocka_unit_test(connect_sequence_as_captured),
        cmocka_unit_test(module_info_as_captured),
        cmocka_unit_test(signature_of_72_bytes_comes_in_three_frames_as_captured),
        cmocka_unit_test(long_command_comes_in_frames_with_more),
        cmocka_unit_test(over_long_command_is_a_length_exception_told_once),
        cmocka_unit_test(frame_whose_length_byte_lies_is_a_length_exception),
        cmocka_unit_test(every_wrong_sequence_number_is_refused_until_soft_reset),
        cmocka_unit_test(sequence_number_wraps_after_seven),
        cmocka_unit_test(edc_bits_are_an_edc_exception),
        cmocka_unit_test(requests_out_of_place_are_unexpected),
        cmocka_unit_test(busy_slave_refuses_writes_and_takes_a_soft_reset),
        cmocka_unit_test(soft_reset_in_the_middle_drops_pieces_and_answer),
        cmocka_unit_test(new_command_drops_an_unread_answer),
        cmocka_unit_test(frame_sizes_follow_the_parameter_exchange),
        cmocka_unit_test(master_accepts_the_replies_that_the_specification_names),
        cmocka_unit_test(every_status_can_be_told_and_only_errors_are_exceptions),
        cmocka_unit_test(answer_that_is_none_becomes_status_other),
        cmocka_unit_test(bit_flips_and_prefixes_of_a_frame_have_an_answer),
        cmocka_unit_test(bus_carries_transactions_to_one_address),
        cmocka_unit_test(malformed_transactions_change_nothing),
    };

    return cmocka_run_group_tests_name("sci2c", tests, NULL, NULL);
}
