/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of what decides: rules of faults, and profiles. */
#include "a71chd/fault.h"
#include "a71chd/profile.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
add(struct faults *all, const char *rule)
{
    struct bm_msg msg = { "" };

    if (faults_add(all, rule, &msg) != BM_OK)
        fail_msg("%s", msg.text);
}

/* At which of `count` exchanges something happens, as "..X.". */
static const char *
course(struct faults *all, enum fault_point point, uint8_t ins, size_t count)
{
    static char out[256];

    for (size_t i = 0; i < count; i++)
        out[i] = faults_at(all, point, ins) != NULL ? 'X' : '.';
    out[count] = '\0';
    return out;
}

static void
rule_hits_all_the_nth_or_so_many(void **state)
{
    struct faults all = { .count = 0 };

    (void)state;
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0x15, 4), "....");
    add(&all, "hang");
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0x15, 4), "XXXX");
    assert_string_equal(course(&all, FAULT_FRAME, 0x15, 4), "....");
    all.count = 0;
    add(&all, "hang:nth=3");
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0x15, 6), "..X...");
    all.count = 0;
    add(&all, "frame-nack:count=2");
    assert_string_equal(course(&all, FAULT_FRAME, 0x15, 4), "XX..");
    all.count = 0;
    add(&all, "truncate:ins=15,nth=2");
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0x11, 4), "....");
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0x15, 4), ".X..");
}

static void
chance_is_the_seeds_and_near_its_probability(void **state)
{
    struct faults all = { .count = 0 };
    char first[256];
    size_t hits = 0;

    (void)state;
    add(&all, "flip:p=0.3,seed=7");
    (void)snprintf(first, sizeof first, "%s", course(&all, FAULT_EXCHANGE, 0, 100));
    for (size_t i = 0; i < 100; i++)
        hits += first[i] == 'X';
    assert_in_range(hits, 15, 45);
    all.count = 0;
    add(&all, "flip:seed=7,p=0.3");
    assert_string_equal(course(&all, FAULT_EXCHANGE, 0, 100), first);
    all.count = 0;
    add(&all, "flip:seed=8,p=0.3");
    assert_string_not_equal(course(&all, FAULT_EXCHANGE, 0, 100), first);
    all.count = 0;
    add(&all, "flip:p=0");
    add(&all, "hang:p=1,nth=100");
    (void)course(&all, FAULT_EXCHANGE, 0, 99);
    assert_string_equal(faults_at(&all, FAULT_EXCHANGE, 0)->text, "hang:p=1,nth=100");
}

static void
first_rule_that_fits_wins_and_all_count(void **state)
{
    struct faults all = { .count = 0 };
    struct buf out = { 0 };

    (void)state;
    add(&all, "delay:value=5,nth=2");
    add(&all, "status:value=6F00");
    assert_int_equal(faults_at(&all, FAULT_EXCHANGE, 0)->kind, FAULT_STATUS);
    assert_int_equal(fault_value(&all.rules[1]), 0x6f00);
    assert_int_equal(faults_at(&all, FAULT_EXCHANGE, 0)->kind, FAULT_DELAY);
    faults_list(&all, &out);
    assert_string_equal(buf_cstr(&out),
        "[{\"rule\":\"delay:value=5,nth=2\",\"seen\":2,\"fired\":1},"
        "{\"rule\":\"status:value=6F00\",\"seen\":2,\"fired\":2}]");
    buf_fini(&out);
}

static void
what_is_no_rule_is_refused(void **state)
{
    static const char *const bad[] = {
        "", ":", "hangs", "hang:", "hang:nth", "hang:nth=", "hang:nth=0", "hang:nth=x",
        "hang:nth=1,", "hang:ins=100", "hang:ins=g", "hang:p=1.1", "hang:p=.", "hang:p=0..1",
        "hang:p=-1", "hang:p=", "hang:count=0", "hang:value=1", "status", "status:value=10000",
        "delay", "delay:value=3600001", "frame-exception:value=7", "frame-exception:value=16",
        "frame-exception", "hang:a=b", "hang:nth=1:p=1", "hang,nth=1", "HANG",
        "hang:nth=0000000000000000000000000000000000000000000000000000000000000000000000000000001"
    };
    struct faults all = { .count = 0 };
    struct bm_msg msg = { "" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (faults_add(&all, bad[i], &msg) != BM_ERR_INPUT || all.count != 0)
            fail_msg("'%s' was taken", bad[i]);
    }
    for (size_t i = 0; i < FAULTS_MAX; i++)
        add(&all, "hang");
    assert_int_equal(faults_add(&all, "hang", &msg), BM_ERR_LIMIT);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        assert_true(strlen(fault_help(i)) > 20);
    assert_null(fault_help(FAULT_KINDS));
}

/* ---- profiles ---- */

static struct profile
parsed(const char *text)
{
    static struct faults faults;
    struct quirks quirks = quirks_default();
    struct profile p = profile_none();
    struct bm_msg msg = { "" };

    faults.count = 0;
    if (profile_parse(span_str(text), &p, &quirks, &faults, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return p;
}

static void
times_add_up(void **state)
{
    struct profile p = parsed("command * 3\ncommand pair-sign 60.5 # a comment\n\n"
                              "  nvm-write\t6\r\nthrottle 2 100\nreset 5.125\ni2c-clock-khz 400");
    struct pace pace = { { 0 }, 0 };

    (void)state;
    assert_int_equal(profile_command(&p, &pace, "module-info", 0, 0), 3000);
    assert_int_equal(profile_command(&p, &pace, "gp-set", 0, 2), 15000);
    assert_int_equal(profile_command(&p, &pace, "pair-sign", 1, 0), 60500);
    assert_int_equal(profile_command(&p, &pace, "pair-sign", 0, 0), 60500); /* refused */
    assert_int_equal(profile_command(&p, &pace, "pair-sign", 1, 0), 60500);
    assert_int_equal(profile_command(&p, &pace, "pair-sign", 1, 0), 160500);
    assert_int_equal(profile_command(&p, &pace, "module-info", 0, 0), 3000);
    assert_int_equal(profile_reset(&p, &pace), 5125);
    assert_int_equal(profile_bus(&p, 40), 900);
    p = profile_none();
    assert_int_equal(profile_command(&p, &pace, "pair-sign", 1, 5), 0);
    assert_int_equal(profile_bus(&p, 40), 0);
}

static void
jitter_stays_in_its_bounds_and_is_the_seeds(void **state)
{
    struct profile p = parsed("command * 100\njitter 10 5\n");
    struct pace one = { { p.seed }, 0 };
    struct pace two = one;
    uint64_t low = UINT64_MAX;
    uint64_t high = 0;

    (void)state;
    assert_int_equal(p.seed, 5);
    for (int i = 0; i < 500; i++) {
        uint64_t us = profile_command(&p, &one, "x", 0, 0);

        assert_int_equal(us, profile_command(&p, &two, "x", 0, 0));
        assert_in_range(us, 90000, 110000);
        low = us < low ? us : low;
        high = us > high ? us : high;
    }
    assert_true(low < 92000 && high > 108000);
}

static void
quirks_and_faults_may_stand_in_a_profile(void **state)
{
    struct faults faults = { .count = 0 };
    struct quirks quirks = quirks_default();
    struct profile p = profile_none();

    (void)state;
    assert_int_equal(
        profile_parse(span_str("quirk bad-index=6985\nfault hang:nth=2\nclock virtual\n"
                               "nvm-endurance 9"),
            &p, &quirks, &faults, NULL),
        BM_OK);
    assert_int_equal(quirks.value[QUIRK_BAD_INDEX], 0x6985);
    assert_int_equal(faults.count, 1);
    assert_true(p.is_virtual && p.given);
    assert_int_equal(p.endurance, 9);
}

static void
bad_line_is_named(void **state)
{
    static const char *const bad[] = { "clock", "clock fast", "command pair-sign", "command x 1 2",
        "command x -1", "command x 1.", "command x .5", "command x 1.0000", "command x 3600001",
        "command a-name-that-is-much-too-long 1", "reset", "jitter 101", "jitter x", "throttle 5",
        "i2c-clock-khz 5001", "nvm-endurance", "quirk", "quirk bad-index=9000", "fault nothing",
        "speed 5", "reset 5 5", "\x01", "clock re\177al" };
    struct faults faults = { .count = 0 };
    struct quirks quirks = quirks_default();

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct profile p = profile_none();
        struct bm_msg msg = { "" };
        char text[128];

        (void)snprintf(text, sizeof text, "# one\nreset 5\n%s\nreset 6\n", bad[i]);
        if (profile_parse(span_str(text), &p, &quirks, &faults, &msg) != BM_ERR_INPUT)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(strncmp(msg.text, "line 3: ", 8), 0);
    }
}

static void
profiles_that_are_shipped_are_good(void **state)
{
    static const char *const names[] = { "a71ch-typical", "worn-out", "bad-bus" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf text = { 0 };
        char path[512];

        (void)snprintf(path, sizeof path, SOURCE_DIR "/share/birthmark/profiles/%s", names[i]);
        assert_int_equal(file_read(path, PROFILE_FILE_MAX, &text, NULL), BM_OK);
        assert_true(parsed(buf_cstr(&text)).given);
        buf_fini(&text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_hits_all_the_nth_or_so_many),
        cmocka_unit_test(chance_is_the_seeds_and_near_its_probability),
        cmocka_unit_test(first_rule_that_fits_wins_and_all_count),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(times_add_up),
        cmocka_unit_test(jitter_stays_in_its_bounds_and_is_the_seeds),
        cmocka_unit_test(quirks_and_faults_may_stand_in_a_profile),
        cmocka_unit_test(bad_line_is_named),
        cmocka_unit_test(profiles_that_are_shipped_are_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
