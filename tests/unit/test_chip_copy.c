/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of snapshot, restore and fork of a simulated chip, with the process killed in the
 * middle: what is there afterwards is one state or the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/file.h"
#include "chip/state.h"
#include "chip_bench.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct folder {
    char dir[64];
    char other[80];
    struct chip *chip;
};

static struct chip *
open_dir(const char *dir)
{
    struct bm_msg msg = { "" };
    struct chip *c;

    if (chip_open(dir, &c, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    return c;
}

static int
setup_folder(void **state)
{
    struct folder *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/birthmark-copy.XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    (void)snprintf(f->other, sizeof f->other, "%s.other", f->dir);
    f->chip = open_dir(f->dir);
    *state = f;
    return 0;
}

static int
teardown_folder(void **state)
{
    struct folder *f = *state;

    chip_close(f->chip);
    assert_int_equal(dir_remove(f->dir, NULL), BM_OK);
    assert_int_equal(dir_remove(f->other, NULL), BM_OK);
    free(f);
    return 0;
}

static uint16_t
ask(struct chip_session *s, const char *hex, struct buf *data)
{
    uint8_t cmd[APDU_CMD_MAX];
    uint8_t rsp[APDU_RSP_MAX];
    size_t len = strlen(hex) / 2;

    assert_int_equal(hex_decode(cmd, len, span_str(hex)), BM_OK);
    len = chip_session_apdu(s, span_of(cmd, len), rsp);
    if (data != NULL) {
        data->len = 0;
        buf_add(data, rsp, len - 2);
    }
    return (uint16_t)(rsp[len - 2] << 8 | rsp[len - 1]);
}

/* Fill storage and counters with one byte's value, so that a mixture shows. */
static void
fill(struct chip *c, uint8_t value)
{
    uint8_t gp[CHIP_GP_SEGMENTS];
    const struct nvm_change changes[] = { { IMG_GP, SPAN(gp) }, { IMG_GP + 2000, SPAN(gp) },
        { IMG_LEN - sizeof gp, SPAN(gp) } };

    memset(gp, value, sizeof gp);
    assert_int_equal(chip_commit(c, changes, 3, NVM_APPEND), BM_OK);
}

/* The value, or -1 for a mixture. */
static int
filled_with(const struct chip *c)
{
    uint8_t first = *nvm_read(c->nvm, IMG_GP, 1).ptr;
    static const size_t places[] = { IMG_GP, IMG_GP + 2000, IMG_LEN - CHIP_GP_SEGMENTS };

    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < CHIP_GP_SEGMENTS; k++) {
            if (*nvm_read(c->nvm, places[i] + k, 1).ptr != first)
                return -1;
        }
    }
    return first;
}

static void
restore_brings_back_keys_counts_and_state_and_power_cycles_all_sessions(void **state)
{
    struct folder *f = *state;
    struct chip_session *s;
    struct chip_session *late;
    struct buf before = { 0 };
    struct buf after = { 0 };
    struct chip_stats stats;

    assert_int_equal(chip_session_open(f->chip, &s), BM_OK);
    assert_int_equal(ask(s, SELECT, NULL), SW_OK);
    assert_int_equal(ask(s, "8012000000", NULL), SW_OK);
    assert_int_equal(ask(s, "8011000000", &before), SW_OK);
    assert_int_equal(chip_snapshot(f->chip, "one", NULL), BM_OK);
    stats = chip_stats(f->chip);
    assert_int_equal(ask(s, "8012000000", NULL), SW_OK);
    assert_int_equal(ask(s, "8012010000", NULL), SW_OK);
    assert_int_equal(ask(s, "809600010161", NULL), SW_OK); /* a hash in progress */
    assert_int_equal(chip_restore(f->chip, "one", NULL), BM_OK);
    assert_int_equal(chip_stats(f->chip).generated, stats.generated);
    assert_int_equal(chip_session_open(f->chip, &late), BM_OK);
    assert_int_equal(ask(s, "8011000000", NULL), SW_CONDITIONS); /* not selected any more */
    assert_int_equal(ask(late, SELECT, NULL), SW_OK);
    assert_int_equal(ask(late, "8011000000", &after), SW_OK);
    assert_true(span_eq(buf_span(&before), buf_span(&after)));
    assert_int_equal(ask(late, "8011010000", NULL), SW_CONDITIONS);
    assert_int_equal(ask(s, SELECT, NULL), SW_OK);
    assert_int_equal(ask(s, "8096000300", NULL), SW_CONDITIONS); /* no hash any more */
    chip_session_close(s);
    chip_session_close(late);
    chip_close(f->chip);
    f->chip = open_dir(f->dir);
    assert_int_equal(chip_session_open(f->chip, &s), BM_OK);
    assert_int_equal(ask(s, SELECT, NULL), SW_OK);
    assert_int_equal(ask(s, "8011000000", &after), SW_OK);
    assert_true(span_eq(buf_span(&before), buf_span(&after)));
    chip_session_close(s);
    buf_fini(&before);
    buf_fini(&after);
}

static void
a_later_snapshot_of_the_same_name_replaces_the_first(void **state)
{
    struct folder *f = *state;
    struct chip_copy *all;
    size_t count;

    assert_int_equal(chip_snapshots(f->chip, &all, &count, NULL), BM_OK);
    assert_int_equal(count, 0);
    fill(f->chip, 1);
    assert_int_equal(chip_snapshot(f->chip, "b", NULL), BM_OK);
    fill(f->chip, 2);
    assert_int_equal(chip_snapshot(f->chip, "b", NULL), BM_OK);
    assert_int_equal(chip_snapshot(f->chip, "a", NULL), BM_OK);
    fill(f->chip, 3);
    assert_int_equal(chip_restore(f->chip, "b", NULL), BM_OK);
    assert_int_equal(filled_with(f->chip), 2);
    assert_int_equal(chip_snapshots(f->chip, &all, &count, NULL), BM_OK);
    assert_int_equal(count, 2);
    assert_string_equal(all[0].name, "a");
    assert_string_equal(all[1].name, "b");
    free(all);
}

static void
a_damaged_snapshot_changes_nothing(void **state)
{
    struct folder *f = *state;
    struct buf file = { 0 };
    char path[128];

    fill(f->chip, 1);
    assert_int_equal(chip_snapshot(f->chip, "s", NULL), BM_OK);
    fill(f->chip, 2);
    (void)snprintf(path, sizeof path, "%s/snapshots/s.nvm", f->dir);
    assert_int_equal(file_read(path, NVM_FILE_MAX, &file, NULL), BM_OK);
    for (size_t at = 0; at < file.len; at += 191) {
        file.ptr[at] ^= 4;
        assert_int_equal(file_write(path, buf_span(&file), 0600, NULL), BM_OK);
        assert_int_equal(chip_restore(f->chip, "s", NULL), BM_ERR_INPUT);
        assert_int_equal(filled_with(f->chip), 2);
        file.ptr[at] ^= 4;
    }
    file.len = 100;
    assert_int_equal(file_write(path, buf_span(&file), 0600, NULL), BM_OK);
    assert_int_equal(chip_restore(f->chip, "s", NULL), BM_ERR_INPUT);
    assert_int_equal(chip_restore(f->chip, "none", NULL), BM_ERR_NOT_FOUND);
    assert_int_equal(chip_restore(f->chip, "../nvm", NULL), BM_ERR_ARG);
    buf_fini(&file);
}

static void
a_fork_goes_its_own_way(void **state)
{
    struct folder *f = *state;
    struct chip *twin;

    fill(f->chip, 1);
    assert_int_equal(chip_fork(f->chip, f->other, NULL), BM_OK);
    fill(f->chip, 2);
    assert_int_equal(chip_fork(f->chip, f->other, NULL), BM_ERR_EXISTS);
    twin = open_dir(f->other);
    assert_int_equal(filled_with(twin), 1);
    assert_memory_equal(nvm_read(twin->nvm, IMG_UID, CHIP_UID_LEN).ptr,
        nvm_read(f->chip->nvm, IMG_UID, CHIP_UID_LEN).ptr, CHIP_UID_LEN);
    assert_int_equal(chip_fork(f->chip, f->other, NULL), BM_ERR_CONFLICT); /* in use */
    fill(twin, 3);
    assert_int_equal(filled_with(f->chip), 2);
    chip_close(twin);
}

static void
killed_at_any_moment_it_is_one_state_or_the_other(void **state)
{
    struct folder *f = *state;
    unsigned seen[4] = { 0 };

    for (uint8_t i = 1; i <= 3; i++) {
        char name[2] = { (char)('0' + i), '\0' };

        fill(f->chip, i);
        assert_int_equal(chip_snapshot(f->chip, name, NULL), BM_OK);
    }
    chip_close(f->chip);
    f->chip = NULL;
    for (unsigned round = 0; round < 40; round++) {
        pid_t child = fork();
        int found;

        assert_true(child >= 0);
        if (child == 0) {
            struct chip *c = NULL;

            if (chip_open(f->dir, &c, NULL) != BM_OK)
                _exit(1);
            for (unsigned i = round;; i++) {
                char name[2] = { (char)('1' + i % 3), '\0' };

                if (chip_restore(c, name, NULL) != BM_OK || chip_snapshot(c, name, NULL) != BM_OK)
                    _exit(1);
            }
        }
        (void)usleep(3000 + round * 137);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &found, 0), child);
        assert_true(WIFSIGNALED(found)); /* it did not end by itself: nothing failed in it */
        f->chip = open_dir(f->dir);
        found = filled_with(f->chip);
        assert_in_range(found, 1, 3);
        seen[found]++;
        for (uint8_t i = 1; i <= 3; i++) {
            char name[2] = { (char)('0' + i), '\0' };

            assert_int_equal(chip_restore(f->chip, name, NULL), BM_OK);
            assert_int_equal(filled_with(f->chip), i);
        }
        chip_close(f->chip);
        f->chip = NULL;
    }
    print_message("ended as 1, 2, 3: %u, %u, %u times\n", seen[1], seen[2], seen[3]);
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup_folder, teardown_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(restore_brings_back_keys_counts_and_state_and_power_cycles_all_sessions),
        with_folder(a_later_snapshot_of_the_same_name_replaces_the_first),
        with_folder(a_damaged_snapshot_changes_nothing),
        with_folder(a_fork_goes_its_own_way),
        with_folder(killed_at_any_moment_it_is_one_state_or_the_other),
    };

    return cmocka_run_group_tests_name("chip_copy", tests, NULL, NULL);
}
