/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of objects in GP storage: liba71ch on the simulated chip, in one process. The bytes of
 * the table are those of SPEC a71ch 8.8; power is cut at every write of every change.
 */
#include "host/host.h"
#include "host/objtable.h"

#include "chip/chip.h"
#include "chip/nvm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GP = 4096, LONG_COUNT = 80 };

/* A chip on memory and a handle on it. */
struct world {
    struct a71ch host; /* first: its link is what the exchange gets */
    struct nvm_mem mem;
    struct chip *chip;
};

static enum bm_err
to_chip(struct link *l, const struct jrcp_msg *request, unsigned timeout_ms,
    uint8_t room[JRCP_MESSAGE_MAX], struct jrcp_msg *answer, struct bm_msg *msg)
{
    struct world *w = (struct world *)(void *)l;

    (void)timeout_ms;
    *answer = (struct jrcp_msg){ .mty = request->mty };
    if (request->mty == JRCP_DEBUG_INFO) /* no leases here */
        return BM_OK;
    if (w->mem.cut.off)
        return bm_fail(msg, BM_ERR_CLOSED, "power is off");
    *answer = (struct jrcp_msg){ .mty = JRCP_APDU,
        .payload = span_of(room, chip_apdu(w->chip, request->payload, room)) };
    return BM_OK;
}

static void
power_up(struct world *w)
{
    static const uint8_t select[] = { 0, 0xa4, 4, 0, 5, 'a', '7', '1', 'c', 'h', 0 };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t len = sizeof rsp;
    struct bm_msg msg = { "" };

    chip_close(w->chip);
    w->mem.cut = (struct nvm_cut){ 0 };
    if (chip_open_store(nvm_store_mem(&w->mem), &w->chip, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    w->host = (struct a71ch){ .link = { .fd = -1, .name = "the chip" }, .exchange = to_chip };
    assert_int_equal(a71ch_transceive(&w->host, select, sizeof select, rsp, &len), A71CH_OK);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL)
        return -1;
    power_up(w);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    chip_close(w->chip);
    buf_fini(&w->mem.bytes);
    free(w);
    return 0;
}

static void
ok(struct world *w, a71ch_result res)
{
    if (res != A71CH_OK)
        fail_msg("%s: %s", a71ch_result_name(res), a71ch_message(&w->host));
}

/* A DER sequence of `len` bytes, 4 of them header, filled with one byte. */
static void
make_der(uint8_t *out, size_t len, uint8_t fill)
{
    struct wr w = wr_of(out, len);

    wr_u8(&w, 0x30);
    wr_u8(&w, 0x82);
    wr_u16(&w, (uint16_t)(len - 4));
    memset(&out[4], fill, len - 4);
}

static void
freeze(struct world *w, unsigned offset, unsigned len)
{
    const uint8_t cmd[] = { 0x80, 0x73, (uint8_t)(offset >> 8), (uint8_t)offset, 2,
        (uint8_t)(len >> 8), (uint8_t)len, 0 };
    uint8_t rsp[A71CH_APDU_RSP_MAX];
    size_t rsp_len = sizeof rsp;

    ok(w, a71ch_transceive(&w->host, cmd, sizeof cmd, rsp, &rsp_len));
    assert_int_equal(a71ch_status_word(&w->host), 0x9000);
}

/* SPEC 8.8, "Check values": obj write -x 3 -h 0011223344, then wcrt -x 2 of 369 bytes with -n 1. */
static void
table_has_the_bytes_of_the_vendors_tool(void **state)
{
    struct world *w = *state;
    static const uint8_t data[] = { 0x00, 0x11, 0x22, 0x33, 0x44 };
    static const uint8_t end[] = { 0x09, 0x02, 0x01, 0xa0, 0x00, 0x20, 0x0a, 0x03, 0x00, 0x05, 0x00,
        0x00, 0x02, 0x02 };
    uint8_t cert[369];
    uint8_t got[512];
    uint8_t want[32];

    make_der(cert, sizeof cert, 0x5a);
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 3, data, sizeof data, 0));
    ok(w, a71ch_object_write(&w->host, A71CH_CERTIFICATE, 2, cert, sizeof cert, 0x1a0));
    memset(want, 0xff, sizeof want);
    memcpy(&want[sizeof want - sizeof end], end, sizeof end);
    ok(w, a71ch_gp_read(&w->host, GP - 32, got, 32));
    assert_memory_equal(got, want, 32);
    ok(w, a71ch_gp_read(&w->host, 0, got, 0x1c0));
    assert_memory_equal(got, data, sizeof data);
    assert_memory_equal(&got[0x20], cert, sizeof cert);
    for (size_t i = 0x20 + sizeof cert; i < 0x1c0; i++)
        assert_int_equal(got[i], 0);
}

/* A table written by hand, as another program would leave it. */
static void
objects_of_another_program_are_read(void **state)
{
    struct world *w = *state;
    static const uint8_t end[] = { 0x0a, 0x00, 0x00, 0x21, 0x02, 0x00, /* data of 33 bytes at 512 */
        0x09, 0x01, 0x80, 0x00, 0x01, 0x00,                            /* length in its DER */
        0x09, 0x00, 0x80, 0x64, 0x00, 0x00,                            /* the same, cached */
        0x07, 0x03 };
    uint8_t cert[300];
    uint8_t got[400];
    a71ch_object list[4];
    size_t count;
    size_t len = sizeof got;

    make_der(cert, 100, 1);
    ok(w, a71ch_gp_write(&w->host, 0, cert, 100));
    make_der(cert, 250, 2);
    ok(w, a71ch_gp_write(&w->host, 256, cert, 250));
    ok(w, a71ch_gp_write(&w->host, GP - sizeof end, end, sizeof end));
    ok(w, a71ch_object_list(&w->host, list, 4, &count));
    assert_int_equal(count, 3);
    assert_int_equal(list[0].len, 100);
    assert_int_equal(list[1].len, 250);
    assert_int_equal(list[1].offset, 256);
    assert_int_equal(list[2].type, A71CH_DATA);
    assert_int_equal(list[2].len, 33);
    ok(w, a71ch_certificate_read(&w->host, 1, got, &len));
    assert_int_equal(len, 250);
    assert_memory_equal(got, cert, 250);
    len = 10;
    assert_int_equal(a71ch_certificate_read(&w->host, 1, got, &len), A71CH_ERR_SPACE);
    assert_int_equal(len, 250);
}

static void
certificate_comes_without_its_padding(void **state)
{
    struct world *w = *state;
    uint8_t cert[530];
    uint8_t got[600];
    size_t len = sizeof got;

    make_der(cert, sizeof cert, 0x77);
    ok(w, a71ch_object_write(&w->host, A71CH_CERTIFICATE, 17, cert, sizeof cert, 17 * 32 + 64));
    ok(w, a71ch_certificate_read(&w->host, 17, got, &len));
    assert_int_equal(len, sizeof cert);
    assert_memory_equal(got, cert, len);
    len = sizeof got;
    ok(w, a71ch_object_read(&w->host, A71CH_CERTIFICATE, 17, 500, got, &len));
    assert_int_equal(len, 17 * 32 + 64 - 500);
    assert_memory_equal(got, &cert[500], 30);
    assert_int_equal(got[30], 0);
    assert_int_equal(a71ch_certificate_read(&w->host, 1, got, &len), A71CH_ERR_NOT_FOUND);
}

static void
gaps_are_used_again_and_frozen_ones_passed_by(void **state)
{
    struct world *w = *state;
    uint8_t bytes[64] = { 1 };
    a71ch_object o;

    for (uint8_t i = 0; i < 4; i++) /* offsets 0, 64, 128, 192 */
        ok(w, a71ch_object_write(&w->host, A71CH_DATA, i, bytes, 64, 0));
    ok(w, a71ch_object_erase(&w->host, A71CH_DATA, 1));
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 9, bytes, 33, 0));
    ok(w, a71ch_object_find(&w->host, A71CH_DATA, 9, &o));
    assert_int_equal(o.offset, 64);
    ok(w, a71ch_object_erase(&w->host, A71CH_DATA, 9));
    freeze(w, 64, 32);
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 10, bytes, 33, 0)); /* 96 alone is too small */
    ok(w, a71ch_object_find(&w->host, A71CH_DATA, 10, &o));
    assert_int_equal(o.offset, 256);
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 11, bytes, 32, 0));
    ok(w, a71ch_object_find(&w->host, A71CH_DATA, 11, &o));
    assert_int_equal(o.offset, 96);
    ok(w, a71ch_object_erase(&w->host, A71CH_DATA, 0));
    freeze(w, 0, 32);
    assert_int_equal(
        a71ch_object_write(&w->host, A71CH_DATA, 12, bytes, 5, 0), A71CH_ERR_FULL); /* rule (a) */
}

static void
what_cannot_be_is_refused_and_changes_nothing(void **state)
{
    struct world *w = *state;
    static uint8_t bytes[GP];
    uint64_t writes;

    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 1, bytes, 40, 0));
    ok(w, a71ch_object_write(&w->host, A71CH_CERTIFICATE, 1, bytes, 40, 0));
    writes = chip_stats(w->chip).nvm_writes;
    assert_int_equal(a71ch_object_write(&w->host, A71CH_DATA, 1, bytes, 1, 0), A71CH_ERR_EXISTS);
    assert_int_equal(
        a71ch_object_write(&w->host, A71CH_DATA, 2, bytes, GP - 5 * 32 + 1, 0), A71CH_ERR_FULL);
    assert_int_equal(a71ch_object_write(&w->host, A71CH_DATA, 2, bytes, 0, 0), A71CH_ERR_ARG);
    assert_int_equal(a71ch_object_write(&w->host, A71CH_DATA, 2, bytes, 9, 8), A71CH_ERR_ARG);
    assert_int_equal(a71ch_object_write(&w->host, 0x0b, 2, bytes, 9, 0), A71CH_ERR_ARG);
    assert_int_equal(a71ch_object_update(&w->host, A71CH_DATA, 1, 0, bytes, 65), A71CH_ERR_FULL);
    assert_int_equal(
        a71ch_object_update(&w->host, A71CH_DATA, 7, 0, bytes, 1), A71CH_ERR_NOT_FOUND);
    assert_int_equal(a71ch_object_erase(&w->host, A71CH_CERTIFICATE, 2), A71CH_ERR_NOT_FOUND);
    freeze(w, 0, 64);
    assert_int_equal(a71ch_object_update(&w->host, A71CH_DATA, 1, 0, bytes, 1), A71CH_ERR_FROZEN);
    freeze(w, GP - 32, 32);
    assert_int_equal(a71ch_object_erase(&w->host, A71CH_CERTIFICATE, 1), A71CH_ERR_FROZEN);
    assert_int_equal(chip_stats(w->chip).nvm_writes, writes + 2); /* the freezing */
}

static void
update_keeps_the_place_and_grows_where_it_may(void **state)
{
    struct world *w = *state;
    uint8_t bytes[300];
    uint8_t got[300];
    a71ch_object o;
    size_t len = sizeof got;

    memset(bytes, 0x11, sizeof bytes);
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 0, bytes, 5, 0));
    memset(bytes, 0x22, sizeof bytes);
    ok(w, a71ch_object_update(&w->host, A71CH_DATA, 0, 3, bytes, 29));
    ok(w, a71ch_object_read(&w->host, A71CH_DATA, 0, 0, got, &len));
    assert_int_equal(len, 32);
    assert_int_equal(got[2], 0x11);
    assert_int_equal(got[3], 0x22);
    ok(w, a71ch_object_write(&w->host, A71CH_CERTIFICATE, 0, bytes, 250, 256));
    ok(w, a71ch_object_update(&w->host, A71CH_CERTIFICATE, 0, 0, bytes, 300)); /* to the table */
    ok(w, a71ch_object_find(&w->host, A71CH_CERTIFICATE, 0, &o));
    assert_int_equal(o.offset, 32);
    assert_int_equal(o.len, 300);
    ok(w, a71ch_object_update(&w->host, A71CH_CERTIFICATE, 0, 0, bytes, 10));
    ok(w, a71ch_object_find(&w->host, A71CH_CERTIFICATE, 0, &o));
    assert_int_equal(o.len, 300);
}

static void
raw_data_at_the_end_is_no_table(void **state)
{
    struct world *w = *state;
    static const uint8_t text[] = "not a table";
    a71ch_object o[2];
    size_t count;

    ok(w, a71ch_gp_write(&w->host, GP - sizeof text, text, sizeof text - 1));
    ok(w, a71ch_gp_write(&w->host, GP - 1, text, 1));
    assert_int_equal(a71ch_object_list(&w->host, o, 2, &count), A71CH_ERR_RESPONSE);
    assert_non_null(strstr(a71ch_message(&w->host), "no table of objects"));
}

/* What is known of one object. */
struct fact {
    a71ch_object o;
    uint8_t bytes[2900];
};

struct facts {
    struct fact at[LONG_COUNT + 4];
    size_t count;
};

static void
take_facts(struct world *w, struct facts *out)
{
    a71ch_object list[A71CH_OBJECT_COUNT_MAX];

    ok(w, a71ch_object_list(&w->host, list, A71CH_OBJECT_COUNT_MAX, &out->count));
    assert_true(out->count <= LONG_COUNT + 4);
    for (size_t i = 0; i < out->count; i++) {
        size_t len = sizeof out->at[i].bytes;

        out->at[i].o = list[i];
        ok(w, a71ch_object_read(&w->host, list[i].type, list[i].index, 0, out->at[i].bytes, &len));
        assert_int_equal(len, list[i].len);
    }
}

static const struct fact *
fact_of(const struct facts *f, uint8_t type, uint8_t index)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->at[i].o.type == type && f->at[i].o.index == index)
            return &f->at[i];
    }
    return NULL;
}

static bool
same_content(const struct fact *a, const struct fact *b)
{
    return a != NULL && b != NULL && a->o.len == b->o.len &&
           memcmp(a->bytes, b->bytes, a->o.len) == 0;
}

typedef a71ch_result (*change_fn)(struct world *w);

/*
 * Cut power after some bytes of each write of a change in turn. Whenever it was: the object that
 * the change is about is as before or as after it (or, if `may_vanish`, not there), the others are
 * as they were, and the same change can be made then.
 */
static void
cut_everywhere(struct world *w, change_fn change, uint8_t type, uint8_t index, bool may_vanish)
{
    static struct facts before;
    static struct facts after;
    static struct facts now;
    struct buf start = { 0 };
    unsigned cuts = 0;

    take_facts(w, &before);
    power_up(w);
    buf_add(&start, w->mem.bytes.ptr, w->mem.bytes.len);
    ok(w, change(w));
    take_facts(w, &after);
    for (;; cuts++) {
        const struct fact *f;
        a71ch_result res;

        chip_close(w->chip); /* before: it saves its counts */
        w->chip = NULL;
        w->mem.bytes.len = 0;
        buf_add(&w->mem.bytes, start.ptr, start.len);
        power_up(w);
        w->mem.cut = (struct nvm_cut){ .armed = true, .write = cuts / 2, .byte = cuts % 2 * 1000 };
        res = change(w);
        if (!w->mem.cut.off)
            break;
        assert_int_not_equal(res, A71CH_OK);
        power_up(w);
        take_facts(w, &now);
        f = fact_of(&now, type, index);
        if (f == NULL)
            assert_true(may_vanish || fact_of(&before, type, index) == NULL ||
                        fact_of(&after, type, index) == NULL);
        else if (!same_content(f, fact_of(&before, type, index)) &&
                 !same_content(f, fact_of(&after, type, index)))
            fail_msg("cut %u: half an object is visible", cuts);
        assert_int_equal(now.count, f == NULL
                                        ? before.count - (fact_of(&before, type, index) != NULL)
                                        : before.count + (fact_of(&before, type, index) == NULL));
        for (size_t i = 0; i < before.count; i++) {
            const struct fact *b = &before.at[i];

            if ((b->o.type != type || b->o.index != index) &&
                !same_content(b, fact_of(&now, b->o.type, b->o.index)))
                fail_msg("cut %u: object %u of type %u suffered", cuts, b->o.index, b->o.type);
        }
    }
    w->mem.cut = (struct nvm_cut){ 0 };
    assert_true(cuts > 1);
    take_facts(w, &now);
    assert_int_equal(now.count, after.count);
    buf_fini(&start);
}

static a71ch_result
add_certificate(struct world *w)
{
    uint8_t cert[700];

    make_der(cert, sizeof cert, 0xa1);
    return a71ch_object_write(&w->host, A71CH_CERTIFICATE, 5, cert, sizeof cert, 704);
}

static a71ch_result
update_certificate(struct world *w)
{
    uint8_t cert[704];

    make_der(cert, sizeof cert, 0xb2);
    return a71ch_object_update(&w->host, A71CH_CERTIFICATE, 5, 0, cert, sizeof cert);
}

static a71ch_result
erase_certificate(struct world *w)
{
    return a71ch_object_erase(&w->host, A71CH_CERTIFICATE, 5);
}

static a71ch_result
patch_data(struct world *w)
{
    return a71ch_object_update(&w->host, A71CH_DATA, 1, 10, (const uint8_t[8]){ 7 }, 8);
}

static void
power_cut_never_shows_half_an_object(void **state)
{
    struct world *w = *state;
    uint8_t bytes[100] = { 9 };

    for (uint8_t i = 0; i < 3; i++)
        ok(w, a71ch_object_write(&w->host, A71CH_DATA, i, bytes, sizeof bytes, 0));
    cut_everywhere(w, add_certificate, A71CH_CERTIFICATE, 5, false);
    cut_everywhere(w, update_certificate, A71CH_CERTIFICATE, 5, false);
    cut_everywhere(w, patch_data, A71CH_DATA, 1, false);
    cut_everywhere(w, erase_certificate, A71CH_CERTIFICATE, 5, false);
}

static void
power_cut_without_room_for_a_copy(void **state)
{
    struct world *w = *state;
    static const uint8_t bytes[GP - 6 * 32 - 768];

    ok(w, add_certificate(w));
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 1, bytes, sizeof bytes, 0));
    ok(w, a71ch_object_erase(&w->host, A71CH_DATA, 1));
    ok(w, a71ch_object_write(&w->host, A71CH_DATA, 1, bytes, 800, 2900));
    cut_everywhere(w, update_certificate, A71CH_CERTIFICATE, 5, true);
}

static a71ch_result
add_small(struct world *w)
{
    return a71ch_object_write(&w->host, A71CH_DATA, 200, (const uint8_t[4]){ 1, 2, 3, 4 }, 4, 0);
}

static a71ch_result
lengthen_small(struct world *w)
{
    return a71ch_object_update(&w->host, A71CH_DATA, 200, 4, (const uint8_t[2]){ 5, 6 }, 2);
}

static a71ch_result
erase_second(struct world *w)
{
    return a71ch_object_erase(&w->host, A71CH_DATA, 1);
}

static a71ch_result
erase_last(struct world *w)
{
    return a71ch_object_erase(&w->host, A71CH_DATA, LONG_COUNT - 1);
}

/* A table of three commands: it goes through states of its own. */
static void
power_cut_in_a_long_table(void **state)
{
    struct world *w = *state;

    for (uint8_t i = 0; i < LONG_COUNT; i++)
        ok(w, a71ch_object_write(&w->host, A71CH_DATA, i, &i, 1, 0));
    cut_everywhere(w, erase_second, A71CH_DATA, 1, false);
    cut_everywhere(w, add_small, A71CH_DATA, 200, false); /* into the gap: all others move */
    cut_everywhere(w, erase_last, A71CH_DATA, LONG_COUNT - 1, false);
    cut_everywhere(w, lengthen_small, A71CH_DATA, 200, true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(table_has_the_bytes_of_the_vendors_tool, setup, teardown),
        cmocka_unit_test_setup_teardown(objects_of_another_program_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(certificate_comes_without_its_padding, setup, teardown),
        cmocka_unit_test_setup_teardown(
            gaps_are_used_again_and_frozen_ones_passed_by, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_cannot_be_is_refused_and_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(
            update_keeps_the_place_and_grows_where_it_may, setup, teardown),
        cmocka_unit_test_setup_teardown(raw_data_at_the_end_is_no_table, setup, teardown),
        cmocka_unit_test_setup_teardown(power_cut_never_shows_half_an_object, setup, teardown),
        cmocka_unit_test_setup_teardown(power_cut_without_room_for_a_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(power_cut_in_a_long_table, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
