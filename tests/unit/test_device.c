/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of what the device client decides: outcome of an attempt, waits between attempts in
 * virtual time, what time it is, what the queue keeps.
 */
#include "device/backoff.h"

#include "base/file.h"
#include "device/clock.h"
#include "device/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/x509_vfy.h>

#define OUTCOME(...) outcome_of(&(struct attempt){ __VA_ARGS__ })

enum { HOUR_MS = 3600 * 1000 };

static void
every_outcome_has_a_cause_with_a_cure_and_an_exit_code(void **state)
{
    (void)state;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        const struct outcome_info *info = outcome_info((enum outcome)o);

        assert_int_not_equal(info->cause, CAUSE_NONE);
        assert_in_range(info->exit_code, DEVICE_EXIT_CHIP, DEVICE_EXIT_PUBLISH);
        assert_in_range(info->retry, 0, RETRY_COUNT - 1);
        if (o != OUTCOME_LOST)
            assert_true(cause_info(info->cause)->cure[0] != '\0');
        for (int other = 0; other < o; other++)
            assert_int_not_equal(info->cause, outcome_info((enum outcome)other)->cause);
    }
}

static void
network_failures_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(OUTCOME(.phase = PHASE_NAME), OUTCOME_NAME_UNKNOWN);
    assert_int_equal(OUTCOME(.phase = PHASE_TCP, .sys_errno = ECONNREFUSED), OUTCOME_NOBODY);
    assert_int_equal(OUTCOME(.phase = PHASE_TCP, .sys_errno = ENETUNREACH), OUTCOME_NO_NETWORK);
    assert_int_equal(OUTCOME(.phase = PHASE_TCP, .timed_out = true), OUTCOME_NO_NETWORK);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .timed_out = true), OUTCOME_NO_NETWORK);
}

static void
a_stranger_is_no_server_and_a_foreign_certificate_no_clock(void **state)
{
    (void)state;
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .foreign = true), OUTCOME_NOT_TLS);
    assert_int_equal(
        OUTCOME(.phase = PHASE_TLS, .verify_error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
        OUTCOME_UNTRUSTED);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .clock_wrong = true,
                         .verify_error = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN),
        OUTCOME_UNTRUSTED);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .verify_error = X509_V_ERR_HOSTNAME_MISMATCH),
        OUTCOME_SERVER_NAME);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .verify_error = X509_V_ERR_CERT_HAS_EXPIRED),
        OUTCOME_SERVER_DATES);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .verify_error = X509_V_ERR_CERT_NOT_YET_VALID,
                         .clock_wrong = true),
        OUTCOME_CLOCK);
}

static void
the_key_is_to_blame_before_the_server(void **state)
{
    (void)state;
    assert_int_equal(OUTCOME(.phase = PHASE_KEY, .key_unusable = true), OUTCOME_CHIP);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .key_unusable = true), OUTCOME_CHIP);
    assert_int_equal(OUTCOME(.phase = PHASE_KEY, .key_misfit = true), OUTCOME_KEY);
}

static void
refusals_are_told_apart_by_alert_connack_and_history(void **state)
{
    (void)state;
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT), OUTCOME_DROPPED);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .admitted_before = true), OUTCOME_SHUT_OUT);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .admitted_before = true,
                         .ms = { [PHASE_TLS] = 9000, [PHASE_CONNECT] = 9400 }),
        OUTCOME_SHUT_OUT);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .admitted_before = true,
                         .ms = { [PHASE_TLS] = 400, [PHASE_CONNECT] = 9400 }),
        OUTCOME_SLOW);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .timed_out = true), OUTCOME_NO_CONNACK);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .connack = 5), OUTCOME_NOT_ALLOWED);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .connack = 0x87), OUTCOME_NOT_ALLOWED);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .connack = 3), OUTCOME_BUSY);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .connack = 0x84), OUTCOME_REFUSED);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .connack = 77), OUTCOME_REFUSED);
    /* TLS 1.3: an alert about the client's certificate comes after the handshake; SPEC 4.1 */
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECT, .alert_received = 46), OUTCOME_DROPPED);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .alert_received = 44), OUTCOME_TLS_REFUSED);
    assert_int_equal(OUTCOME(.phase = PHASE_TLS, .alert_received = 40), OUTCOME_TLS_FAILED);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECTED), OUTCOME_LOST);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECTED, .disconnect = 0x8e), OUTCOME_TAKEN_OVER);
    assert_int_equal(
        OUTCOME(.phase = PHASE_CONNECTED, .refuses_message = true), OUTCOME_AT_PUBLISH);
    assert_int_equal(OUTCOME(.phase = PHASE_CONNECTED, .no_puback = true, .refuses_message = true),
        OUTCOME_NO_PUBACK);
}

static void
alerts_and_reasons_have_names(void **state)
{
    (void)state;
    assert_string_equal(tls_alert_name(48), "unknown_ca");
    assert_null(tls_alert_name(200));
    assert_string_equal(mqtt_reason_text(0x87), "not authorised");
    assert_string_equal(mqtt_reason_text(250), "unknown reason");
}

/* How often a device tries within `span_ms` when each attempt ends the same way at once. */
static unsigned
attempts_within(enum outcome o, uint64_t seed, int64_t span_ms, int64_t *shortest)
{
    struct backoff b;
    int64_t now = 0;
    unsigned n = 0;

    backoff_init(&b, seed);
    *shortest = INT64_MAX;
    for (;;) {
        int64_t wait = backoff_wait(&b, o);

        n++;
        if (wait < *shortest)
            *shortest = wait;
        now += wait;
        if (now >= span_ms)
            return n;
    }
}

static void
an_hour_of_pending_is_some_dozens_of_attempts(void **state)
{
    int64_t shortest;

    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        unsigned n = attempts_within(OUTCOME_DROPPED, seed, HOUR_MS, &shortest);

        assert_in_range(n, 18, 80); /* neither busy nor asleep */
        assert_true(shortest >= 1000);
    }
}

static void
no_outcome_makes_a_busy_loop_and_none_gives_up(void **state)
{
    int64_t shortest;

    (void)state;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        unsigned n = attempts_within((enum outcome)o, 7, 24 * (int64_t)HOUR_MS, &shortest);

        assert_true(shortest >= 1000);
        assert_in_range(n, 20, 24 * 3600 / 25);
    }
}

static void
waits_grow_to_the_cap_and_stay_within_their_bounds(void **state)
{
    (void)state;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        const struct backoff_figures *f = backoff_figures(outcome_info((enum outcome)o)->retry);
        struct backoff b;
        int64_t early = 0;
        int64_t late = 0;

        backoff_init(&b, 99);
        for (int i = 0; i < 400; i++) {
            int64_t wait = backoff_wait(&b, (enum outcome)o);

            assert_in_range(wait, f->least_ms, f->least_ms + f->cap_ms);
            if (i < 2)
                early += wait;
            if (i >= 200)
                late += wait;
        }
        assert_true(late / 200 > early / 2);
        assert_true(late / 200 > f->least_ms + f->cap_ms / 3); /* the random part is not lost */
    }
}

static void
devices_that_lose_one_server_spread(void **state)
{
    enum { DEVICES = 10000, SLOTS = 20 };
    unsigned slots[SLOTS] = { 0 };

    (void)state;
    for (uint64_t seed = 0; seed < DEVICES; seed++) {
        struct backoff b;
        int64_t wait;

        backoff_init(&b, seed);
        wait = backoff_wait(&b, OUTCOME_LOST) - backoff_figures(RETRY_LOST)->least_ms;
        slots[wait * SLOTS / (backoff_figures(RETRY_LOST)->base_ms + 1)]++;
    }
    for (int i = 0; i < SLOTS; i++)
        assert_in_range(slots[i], DEVICES / SLOTS * 8 / 10, DEVICES / SLOTS * 12 / 10);
}

static void
success_forgets_failures_but_a_connection_must_hold(void **state)
{
    const struct backoff_figures *lost = backoff_figures(RETRY_LOST);
    const struct backoff_figures *jitr = backoff_figures(RETRY_JITR);
    struct backoff b;
    int64_t longest = 0;

    (void)state;
    backoff_init(&b, 5);
    for (int i = 0; i < 20; i++)
        (void)backoff_wait(&b, OUTCOME_DROPPED);
    backoff_connected(&b);
    assert_int_equal(b.in_row, 0);
    assert_in_range(
        backoff_wait(&b, OUTCOME_DROPPED), jitr->least_ms, jitr->least_ms + jitr->base_ms);

    for (int i = 0; i < 50; i++) { /* let in, and closed a moment later, again and again */
        int64_t wait;

        backoff_connected(&b);
        backoff_ended(&b, 200);
        wait = backoff_wait(&b, OUTCOME_LOST);
        if (wait > longest)
            longest = wait;
    }
    assert_true(longest > lost->base_ms * 4);
    backoff_connected(&b);
    backoff_ended(&b, BACKOFF_HELD_MS);
    assert_in_range(backoff_wait(&b, OUTCOME_LOST), lost->least_ms, lost->least_ms + lost->base_ms);
}

static void
changing_failures_do_not_make_hasty(void **state)
{
    struct backoff b;
    int64_t sum = 0;

    (void)state;
    backoff_init(&b, 3);
    for (int i = 0; i < 40; i++) {
        sum += backoff_wait(&b, OUTCOME_NOBODY);
        sum += backoff_wait(&b, OUTCOME_NOT_TLS);
    }
    assert_true(sum > HOUR_MS);
}

/* --- time ------------------------------------------------------------------------------------- */

static const int64_t built = 1795000000000;
static const int64_t day = 86400000;

static struct clock_verdict
judge(int64_t system_ms, int64_t server_ms)
{
    return clock_judge(&(struct clock_facts){
        .system_ms = system_ms, .passed_ms = built, .server_ms = server_ms });
}

static void
a_clock_that_can_be_right_is_believed(void **state)
{
    (void)state;
    assert_int_equal(judge(built + 100 * day, 0).source, CLOCK_OF_SYSTEM);
    assert_int_equal(judge(built + 100 * day, 0).system, CLOCK_PLAUSIBLE);
    assert_true(judge(built + 100 * day, 0).now_ms == built + 100 * day);
}

static void
in_1970_and_2100_the_least_time_counts_or_the_servers(void **state)
{
    static const int64_t wrong[] = { 0, 4102444800000 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct clock_verdict v = judge(wrong[i], 0);

        assert_int_equal(v.source, CLOCK_AT_LEAST);
        assert_int_equal(v.system, i == 0 ? CLOCK_BEHIND : CLOCK_AHEAD);
        assert_true(v.now_ms == built);
        v = judge(wrong[i], built + 9 * day);
        assert_int_equal(v.source, CLOCK_OF_SERVER);
        assert_true(v.now_ms == built + 9 * day);
        assert_int_equal(judge(wrong[i], 1000).source, CLOCK_AT_LEAST); /* a server in 1970, too */
    }
}

static void
a_server_corrects_a_clock_that_differs_but_not_by_seconds(void **state)
{
    (void)state;
    assert_int_equal(judge(built + day, built + 2 * day).system, CLOCK_DIFFERS);
    assert_true(judge(built + day, built + 2 * day).now_ms == built + 2 * day);
    assert_int_equal(judge(built + day, built + day + 1000).source, CLOCK_OF_SYSTEM);
}

/* --- queue ------------------------------------------------------------------------------------ */

struct seen {
    size_t count;
    char text[256];
};

static bool
see(void *arg, const struct queue_message *m)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);

    s->count++;
    (void)snprintf(&s->text[at], sizeof s->text - at, "%s=%.*s%s ", m->topic, (int)m->payload.len,
        (const char *)m->payload.ptr, m->words);
    return true;
}

static void
assert_queue(struct queue *q, bool refused, const char *text)
{
    struct seen s = { 0 };

    assert_int_equal(queue_read(q, 0, refused, see, &s, NULL), BM_OK);
    assert_string_equal(s.text, text);
}

static enum bm_err
put(struct queue *q, const char *topic, const char *text)
{
    return queue_put(q, &(struct queue_message){ .topic = topic, .payload = span_str(text) }, NULL);
}

static void
queue_keeps_order_bounds_and_what_was_refused(void **state)
{
    char dir[] = "/tmp/birthmark-queue.XXXXXX";
    struct queue_options o = { .dir = dir, .max_count = 3 };
    struct queue_counts n;
    struct queue *q = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    assert_int_equal(put(q, "a", "1"), BM_OK);
    assert_int_equal(put(q, "b", "2"), BM_OK);
    assert_int_equal(put(q, "c", "3"), BM_OK);
    assert_int_equal(put(q, "d", "4"), BM_OK); /* forgets the oldest */
    assert_queue(q, false, "b=2 c=3 d=4 ");
    assert_int_equal(queue_refuse(q, 3, 0x87, "!why", NULL), BM_OK);
    assert_int_equal(queue_done(q, 2, NULL), BM_OK);
    assert_int_equal(queue_done(q, 2, NULL), BM_OK);
    queue_close(q);

    o.drop_newest = true; /* all of it is there again */
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    assert_queue(q, false, "d=4 ");
    assert_queue(q, true, "c=3!why ");
    assert_int_equal(queue_count(q, &n, NULL), BM_OK);
    assert_true(n.count == 1 && n.bytes == 2 && n.refused == 1 && n.dropped == 1);
    assert_int_equal(queue_retry(q, NULL), BM_OK);
    assert_int_equal(put(q, "e", ""), BM_OK);
    assert_int_equal(put(q, "f", "6"), BM_ERR_LIMIT);
    assert_queue(q, false, "d=4 c=3 e= ");
    queue_close(q);

    o = (struct queue_options){ .dir = dir, .max_bytes = 10 };
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    assert_int_equal(put(q, "long", "12345678"), BM_ERR_LIMIT);
    assert_int_equal(put(q, "g", "12345678"), BM_OK);
    assert_queue(q, false, "e= g=12345678 ");
    queue_close(q);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
a_queue_of_version_1_keeps_what_is_in_it(void **state)
{
    char dir[] = "/tmp/birthmark-queue.XXXXXX";
    struct queue_options o = { .dir = dir };
    struct queue *q = NULL;
    sqlite3 *db = NULL;
    char path[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    assert_int_equal(put(q, "a", "1"), BM_OK);
    assert_int_equal(put(q, "b", "2"), BM_OK);
    assert_int_equal(queue_refuse(q, 1, 0x87, "", NULL), BM_OK);
    queue_close(q);
    (void)snprintf(path, sizeof path, "%s/queue.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db, "ALTER TABLE refused DROP COLUMN words; PRAGMA user_version = 1", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    assert_queue(q, true, "a=1 ");
    assert_int_equal(queue_refuse(q, 2, 0x87, "!why", NULL), BM_OK);
    assert_queue(q, true, "a=1 b=2!why ");
    queue_close(q);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

/* `device run` and `device put` of a boot script start together. */
static void
two_may_make_the_queue_at_the_same_moment(void **state)
{
    enum { ROUNDS = 20, OPENERS = 4 };

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char dir[] = "/tmp/birthmark-queue.XXXXXX";
        struct queue_options o = { .dir = dir };
        pid_t children[OPENERS];
        int gate[2];
        char c;

        assert_non_null(mkdtemp(dir));
        assert_int_equal(pipe(gate), 0);
        for (int i = 0; i < OPENERS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                struct queue *q = NULL;

                (void)close(gate[1]);
                (void)!read(gate[0], &c, 1); /* until all are there */
                _exit(queue_open(&o, &q, NULL) == BM_OK && put(q, "t", "m") == BM_OK &&
                              queue_settle(q, NULL) == BM_OK
                          ? 0
                          : 1);
            }
        }
        (void)close(gate[0]);
        (void)close(gate[1]);
        for (int i = 0; i < OPENERS; i++) {
            int status = -1;

            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(dir_remove(dir, NULL), BM_OK);
    }
}

static void
a_damaged_queue_is_named_and_can_be_put_away(void **state)
{
    char dir[] = "/tmp/birthmark-queue.XXXXXX";
    char path[64];
    struct queue_options o = { .dir = dir };
    struct bm_msg msg = { { 0 } };
    struct queue *q = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/queue.db", dir);
    assert_int_equal(
        file_write(path, span_str("this is no queue, but long enough to look"), 0600, NULL), BM_OK);
    assert_int_equal(queue_open(&o, &q, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "queue.db"));
    assert_int_equal(queue_put_away(dir, 5000, NULL), BM_OK);
    assert_int_equal(queue_open(&o, &q, NULL), BM_OK);
    queue_close(q);
    (void)snprintf(path, sizeof path, "%s/queue.db.damaged-5", dir);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
}

static void
a_line_is_a_topic_and_a_message(void **state)
{
    char room[QUEUE_TOPIC_ROOM];
    struct queue_message m;

    (void)state;
    assert_int_equal(queue_line(span_str("a/b  some text "), NULL, room, &m, NULL), BM_OK);
    assert_string_equal(m.topic, "a/b");
    assert_true(span_eq(m.payload, span_str("some text ")));
    assert_int_equal(queue_line(span_str("a/b"), NULL, room, &m, NULL), BM_OK);
    assert_int_equal(m.payload.len, 0);
    assert_int_equal(queue_line(span_str("x y"), "t", room, &m, NULL), BM_OK);
    assert_true(span_eq(m.payload, span_str("x y")));
    assert_int_equal(queue_line(span_str(" text"), NULL, room, &m, NULL), BM_ERR_INPUT);
    assert_int_equal(queue_line(span_str("a/# text"), NULL, room, &m, NULL), BM_ERR_INPUT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome_has_a_cause_with_a_cure_and_an_exit_code),
        cmocka_unit_test(network_failures_are_told_apart),
        cmocka_unit_test(a_stranger_is_no_server_and_a_foreign_certificate_no_clock),
        cmocka_unit_test(the_key_is_to_blame_before_the_server),
        cmocka_unit_test(refusals_are_told_apart_by_alert_connack_and_history),
        cmocka_unit_test(alerts_and_reasons_have_names),
        cmocka_unit_test(an_hour_of_pending_is_some_dozens_of_attempts),
        cmocka_unit_test(no_outcome_makes_a_busy_loop_and_none_gives_up),
        cmocka_unit_test(waits_grow_to_the_cap_and_stay_within_their_bounds),
        cmocka_unit_test(devices_that_lose_one_server_spread),
        cmocka_unit_test(success_forgets_failures_but_a_connection_must_hold),
        cmocka_unit_test(changing_failures_do_not_make_hasty),
        cmocka_unit_test(a_clock_that_can_be_right_is_believed),
        cmocka_unit_test(in_1970_and_2100_the_least_time_counts_or_the_servers),
        cmocka_unit_test(a_server_corrects_a_clock_that_differs_but_not_by_seconds),
        cmocka_unit_test(queue_keeps_order_bounds_and_what_was_refused),
        cmocka_unit_test(a_queue_of_version_1_keeps_what_is_in_it),
        cmocka_unit_test(two_may_make_the_queue_at_the_same_moment),
        cmocka_unit_test(a_damaged_queue_is_named_and_can_be_put_away),
        cmocka_unit_test(a_line_is_a_topic_and_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
