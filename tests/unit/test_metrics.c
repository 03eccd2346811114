/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the workers' numbers: blocks are added up, buckets are cumulative, other processes
 * count. */
#include "endpoint/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCKS = 3 };

static void
assert_line(const struct metrics *m, const char *line)
{
    struct buf text = { 0 };

    metrics_text(m, BLOCKS, &text);
    if (strstr(buf_cstr(&text), line) == NULL) {
        fail_msg("no \"%s\" in\n%s", line, buf_cstr(&text));
    }
    buf_fini(&text);
}

static void
blocks_of_all_processes_are_added_up(void **state)
{
    struct metrics *m = metrics_map(BLOCKS);
    int status = -1;
    pid_t child;

    (void)state;
    assert_non_null(m);
    assert_line(m, "birthmark_accepted_total 0\n");
    child = fork();
    if (child == 0) {
        (void)metrics_add(&m[2].counts[METRIC_ACCEPTED], 40);
        (void)metrics_add(&m[2].causes[CAUSE_REVOKED], 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(metrics_add(&m[0].counts[METRIC_ACCEPTED], 2), 2);
    assert_line(m, "# TYPE birthmark_accepted_total counter\nbirthmark_accepted_total 42\n");
    assert_line(m, "birthmark_causes_total{cause=\"connect.revoked\"} 1\n");
    (void)munmap(m, BLOCKS * sizeof *m);
}

static void
buckets_are_cumulative_and_bounds_belong_to_them(void **state)
{
    static const int64_t us[] = { 0, 100, 101, 1000, 10000000, 10000001, -3 };
    struct metrics *m = metrics_map(BLOCKS);

    (void)state;
    assert_non_null(m);
    for (size_t i = 0; i < sizeof us / sizeof us[0]; i++) {
        metrics_latency(&m[i % BLOCKS], LATENCY_CONNECT, us[i]);
    }
    assert_line(m, "birthmark_connect_seconds_bucket{le=\"0.0001\"} 3\n");
    assert_line(m, "birthmark_connect_seconds_bucket{le=\"0.00025\"} 4\n");
    assert_line(m, "birthmark_connect_seconds_bucket{le=\"0.001\"} 5\n");
    assert_line(m, "birthmark_connect_seconds_bucket{le=\"10\"} 6\n");
    assert_line(m, "birthmark_connect_seconds_bucket{le=\"+Inf\"} 7\n"
                   "birthmark_connect_seconds_count 7\nbirthmark_connect_seconds_sum 20.001202\n");
    (void)munmap(m, BLOCKS * sizeof *m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_all_processes_are_added_up),
        cmocka_unit_test(buckets_are_cumulative_and_bounds_belong_to_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
