/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of a session handed from one handle to the next: over SCI2C against the chip's end of
 * it and a simulated chip on memory, through the public calls. The system's calls for the bus are
 * wrapped by the linker, and its clock moves only when somebody sleeps.
 */
#include "a71ch.h"
#include "bus/bus.h"
#include "host/resume.h"
#include "scp03/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "chip_bench.h"

#define DEVICE "/dev/i2c-resume"
#define ADDRESS "i2c:" DEVICE

enum { SEQUENCE_AT = 6, CHANNEL_LEN = 1 + SCP03_SAVED_LEN };

static const a71ch_scp_keys keys = { .enc = { 1, 2, 3 }, .mac = { 4, 5, 6 }, .dek = { 7, 8, 9 } };

/* The bus and what is on it; one at a time, for the wrapped calls know no argument of ours. */
static struct world {
    struct bench card;
    struct slave slave;
    int fd;
    int64_t now_us;
    unsigned resets;
    unsigned frames; /* of commands */
    uint8_t first;   /* control byte of the last command's first frame */
    uint8_t cla;     /* and its class */
} w;

int __real_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_flock(int fd, int operation);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_flock(int fd, int operation);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = va_arg(ap, mode_t);
    va_end(ap);
    if (strcmp(path, DEVICE) != 0)
        return __real_open64(path, flags, mode);
    return w.fd = __real_open64("/dev/null", O_RDWR | O_CLOEXEC, 0);
}

int
__wrap_open(const char *path, int flags, ...)
{
    return __wrap_open64(path, flags, 0600);
}

/* What the chip has to do, it does at once. */
static void
serve(void)
{
    struct span command = slave_pending(&w.slave);

    if (slave_take_reset(&w.slave)) {
        w.resets++;
        chip_reset(w.card.chip);
    }
    if (command.len > 0) {
        w.cla = command.ptr[0];
        slave_answer(&w.slave, span_of(w.card.rsp, chip_apdu(w.card.chip, command, w.card.rsp)));
    }
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
    const struct i2c_rdwr_ioctl_data *all;
    uint8_t frame[I2CBUS_PACKET_MAX];
    struct wr out = wr_of(frame, sizeof frame);
    void *arg;
    va_list ap;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (fd != w.fd)
        return __real_ioctl(fd, request, arg);
    if (request == I2C_FUNCS)
        *(unsigned long *)arg = I2C_FUNC_I2C | I2C_FUNC_SMBUS_READ_BLOCK_DATA;
    if (request != I2C_RDWR)
        return 0;
    all = arg;
    assert_int_equal(all->nmsgs, 2);
    errno = EREMOTEIO;
    if (!slave_request(&w.slave, span_of(all->msgs[0].buf, all->msgs[0].len), &out))
        return -1;
    memcpy(all->msgs[1].buf, frame, wr_len(&out));
    serve();
    return 2;
}

ssize_t
__wrap_write(int fd, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    if (fd != w.fd)
        return __real_write(fd, data, len);
    if (len > 1 && w.slave.phase != SLAVE_COLLECTING)
        w.first = bytes[0];
    w.frames += len > 1;
    errno = EREMOTEIO;
    if (!slave_write(&w.slave, span_of(data, len)))
        return -1;
    serve();
    return (ssize_t)len;
}

int
__wrap_flock(int fd, int operation)
{
    return fd == w.fd ? 0 : __real_flock(fd, operation);
}

int
__wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    w.now_us += t->tv_sec * 1000000 + t->tv_nsec / 1000;
    return 0;
}

int
__wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    *out = (struct timespec){ .tv_sec = w.now_us / 1000000, .tv_nsec = w.now_us % 1000000 * 1000 };
    return 0;
}

static int
setup_world(void **state)
{
    static const uint8_t atr[] = { 0xb8, 0x04, 0x11, 0x01 };

    (void)state;
    w = (struct world){ .fd = -1, .now_us = 1700000000000000 };
    reopen(&w.card);
    return slave_init(&w.slave, SPAN(atr), NULL) == BM_OK ? 0 : -1;
}

static int
teardown_world(void **state)
{
    (void)state;
    chip_close(w.card.chip);
    buf_fini(&w.card.mem.bytes);
    return 0;
}

static void
judge(const a71ch *const *chip, a71ch_result res, a71ch_result want, const char *sentence)
{
    if (res != want || strstr(a71ch_message(*chip), sentence) == NULL)
        fail_msg("%s: %s", a71ch_result_name(res), a71ch_message(*chip));
}

/* By the address of the handle, which the call itself may make. */
#define works(chip, call) judge((const a71ch *const *)&(chip), (call), A71CH_OK, "")
#define fails(chip, call, want, sentence)                                                          \
    judge((const a71ch *const *)&(chip), (call), (want), (sentence))

struct blob {
    uint8_t bytes[A71CH_SESSION_MAX];
    size_t len;
};

/* The first stage: some commands, and the session's end for it. */
static struct blob
first_stage(bool channel, unsigned increments)
{
    struct blob b = { .len = sizeof b.bytes };
    a71ch *chip;

    works(chip, a71ch_open(ADDRESS, NULL, &chip));
    if (channel) {
        works(chip, a71ch_scp_put_keys(chip, 1, &keys));
        works(chip, a71ch_channel_open(chip, &keys, 0));
    }
    for (unsigned i = 0; i < increments; i++)
        works(chip, a71ch_counter_increment(chip, 0));
    works(chip, a71ch_session_export(chip, b.bytes, &b.len));
    a71ch_close(chip);
    return b;
}

static a71ch_result
resume(const struct blob *b, a71ch **chip)
{
    return a71ch_session_resume(ADDRESS, NULL, b->bytes, b->len, chip);
}

/* Put the right check value behind bytes that were changed. */
static void
seal(struct blob *b)
{
    struct wr out = wr_of(&b->bytes[b->len - SESSION_CRC_LEN], SESSION_CRC_LEN);

    wr_u32(&out, session_crc(span_of(b->bytes, b->len - SESSION_CRC_LEN)));
}

static void
refused(const struct blob *b, const char *sentence)
{
    unsigned frames = w.frames;
    a71ch *chip;

    fails(chip, resume(b, &chip), A71CH_ERR_SESSION, sentence);
    assert_int_equal(w.frames, frames); /* nothing was sent */
    assert_int_equal(a71ch_channel_state(chip), A71CH_CHANNEL_NONE);
    a71ch_close(chip);
}

static void
the_check_value_is_crc_32(void **state)
{
    (void)state;
    assert_int_equal(session_crc(span_str("123456789")), 0xcbf43926); /* the well-known one */
}

static void
a_session_in_the_clear_goes_on_without_reset_and_select(void **state)
{
    struct blob b = first_stage(false, 3);
    unsigned resets = w.resets;
    uint8_t atr[A71CH_ATR_MAX];
    uint32_t value = 0;
    size_t len;
    a71ch *chip;

    (void)state;
    assert_int_equal(b.bytes[SEQUENCE_AT], 4); /* SELECT and three */
    works(chip, resume(&b, &chip));
    assert_int_equal(w.first >> 4 & 7, 4); /* the next frame has the next number. SPEC 5.3 */
    works(chip, a71ch_counter_get(chip, 0, &value));
    assert_int_equal(value, 3);
    assert_int_equal(w.first >> 4 & 7, 5);
    assert_int_equal(w.resets, resets);
    assert_int_equal(a71ch_applet_version(chip), 0x0131);
    works(chip, a71ch_atr(chip, atr, sizeof atr, &len));
    assert_int_equal(len, 4);
    assert_string_equal(a71ch_address(chip), ADDRESS);
    a71ch_close(chip);
}

static void
the_sequence_number_wraps_across_the_stages(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 9; n++) {
        struct blob b = first_stage(false, n);
        a71ch *chip;

        assert_int_equal(b.bytes[SEQUENCE_AT], (n + 1) % 8);
        works(chip, resume(&b, &chip));
        for (int i = 0; i < 9; i++)
            works(chip, a71ch_counter_increment(chip, 1));
        a71ch_close(chip);
    }
}

static void
a_secure_channel_goes_on_with_chain_and_counter(void **state)
{
    struct blob b = first_stage(true, 5);
    uint8_t data[600];
    uint8_t back[sizeof data];
    uint32_t value = 0;
    a71ch *chip;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    works(chip, resume(&b, &chip));
    assert_int_equal(a71ch_channel_state(chip), A71CH_CHANNEL_UP);
    assert_int_equal(w.cla, SCP03_CLA_SECURE);
    works(chip, a71ch_counter_get(chip, 0, &value)); /* its R-MAC was right, or it would fail */
    assert_int_equal(value, 5);
    works(chip, a71ch_gp_write(chip, 64, data, sizeof data));
    works(chip, a71ch_gp_read(chip, 64, back, sizeof back));
    assert_memory_equal(data, back, sizeof data);
    assert_int_equal(w.cla, SCP03_CLA_SECURE);
    a71ch_close(chip);
}

static void
a_session_can_be_handed_on_again_and_again(void **state)
{
    struct blob b = first_stage(true, 0);
    uint32_t value = 0;
    a71ch *chip;

    (void)state;
    for (uint32_t i = 1; i <= 12; i++) {
        works(chip, resume(&b, &chip));
        works(chip, a71ch_counter_increment(chip, 0));
        works(chip, a71ch_counter_get(chip, 0, &value));
        assert_int_equal(value, i);
        b.len = sizeof b.bytes;
        works(chip, a71ch_session_export(chip, b.bytes, &b.len));
        a71ch_close(chip);
    }
}

static void
a_strict_channel_stays_strict(void **state)
{
    struct blob b;
    a71ch *chip;

    (void)state;
    works(chip, a71ch_open(ADDRESS, NULL, &chip));
    works(chip, a71ch_scp_put_keys(chip, 1, &keys));
    works(chip, a71ch_channel_open(chip, &keys, A71CH_CHANNEL_STRICT));
    b.len = sizeof b.bytes;
    works(chip, a71ch_session_export(chip, b.bytes, &b.len));
    a71ch_close(chip);
    works(chip, resume(&b, &chip));
    /* an empty slot: the chip refuses without a MAC, which this channel does not take */
    fails(chip, a71ch_pair_get_public(chip, 0, b.bytes), A71CH_ERR_MAC, "no right MAC");
    a71ch_close(chip);
}

static void
a_hash_in_parts_goes_on(void **state)
{
    static const uint8_t want[] = { 0xba, 0x78, 0x16, 0xbf }; /* of "abc" */
    uint8_t hash[A71CH_HASH_LEN];
    struct blob b = { .len = sizeof b.bytes };
    a71ch *chip;

    (void)state;
    works(chip, a71ch_open(ADDRESS, NULL, &chip));
    works(chip, a71ch_sha256_init(chip));
    works(chip, a71ch_sha256_update(chip, (const uint8_t *)"ab", 2));
    works(chip, a71ch_session_export(chip, b.bytes, &b.len));
    a71ch_close(chip);
    works(chip, resume(&b, &chip));
    works(chip, a71ch_sha256_update(chip, (const uint8_t *)"c", 1));
    works(chip, a71ch_sha256_final(chip, hash));
    assert_memory_equal(hash, want, sizeof want);
    a71ch_close(chip);
}

static void
who_has_exported_cannot_go_on(void **state)
{
    struct blob b = { .len = sizeof b.bytes };
    unsigned frames;
    uint32_t value;
    a71ch *chip;

    (void)state;
    works(chip, a71ch_open(ADDRESS, NULL, &chip));
    works(chip, a71ch_scp_put_keys(chip, 1, &keys));
    works(chip, a71ch_channel_open(chip, &keys, 0));
    works(chip, a71ch_session_export(chip, b.bytes, &b.len));
    frames = w.frames;
    assert_null(chip->channel); /* its keys are gone */
    fails(chip, a71ch_counter_get(chip, 0, &value), A71CH_ERR_IO, "open it again");
    fails(chip, a71ch_session_export(chip, b.bytes, &b.len), A71CH_ERR_IO, "no connection");
    assert_int_equal(w.frames, frames);
    a71ch_close(chip);
}

static void
too_little_room_leaves_the_session_where_it_is(void **state)
{
    struct blob b = { .len = 20 };
    uint32_t value;
    a71ch *chip;

    (void)state;
    works(chip, a71ch_open(ADDRESS, NULL, &chip));
    fails(chip, a71ch_session_export(chip, b.bytes, &b.len), A71CH_ERR_SPACE, "room for 20");
    works(chip, a71ch_counter_get(chip, 0, &value));
    works(chip, a71ch_session_export(chip, b.bytes, &b.len)); /* the length it asked for */
    a71ch_close(chip);
    works(chip, resume(&b, &chip));
    a71ch_close(chip);
}

static void
a_channel_that_is_over_is_not_exported(void **state)
{
    struct blob b = first_stage(true, 0);
    a71ch *chip;

    (void)state;
    works(chip, resume(&b, &chip));
    assert_int_equal(run(&w.card, SELECT), SW_OK); /* somebody else */
    fails(chip, a71ch_counter_increment(chip, 0), A71CH_ERR_STATUS, "ended the secure channel");
    b.len = sizeof b.bytes;
    fails(chip, a71ch_session_export(chip, b.bytes, &b.len), A71CH_ERR_CHANNEL, "is over");
    a71ch_close(chip);
}

static void
bytes_of_another_version_are_refused(void **state)
{
    struct blob b = first_stage(true, 0);

    (void)state;
    b.bytes[4] = 2;
    seal(&b);
    refused(&b, "another version");
}

static void
bytes_that_were_cut_or_lengthened_are_refused(void **state)
{
    struct blob b = first_stage(true, 0);
    size_t whole = b.len;

    (void)state;
    for (b.len = 0; b.len < whole; b.len++)
        refused(&b, "cannot be resumed");
    for (b.len = SESSION_HEAD_LEN + SESSION_CRC_LEN; b.len < whole; b.len++) {
        struct blob cut = b;

        seal(&cut); /* cut by somebody who knows the form */
        refused(&cut, "out of range");
    }
    b.len = whole + 1;
    seal(&b);
    refused(&b, "out of range");
}

static void
every_altered_bit_is_refused(void **state)
{
    struct blob b = first_stage(true, 0);
    a71ch *chip;

    (void)state;
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused(&b, "cannot be resumed");
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    works(chip, resume(&b, &chip)); /* and none of that was noticed by the chip */
    a71ch_close(chip);
}

static void
values_out_of_range_are_refused(void **state)
{
    static const uint8_t zeros[8] = { 0 };
    struct blob b = first_stage(true, 0);
    struct blob bad;

    (void)state;
    bad = b;
    bad.bytes[SEQUENCE_AT] = 8;
    seal(&bad);
    refused(&bad, "out of range");
    bad = b;
    bad.bytes[SEQUENCE_AT - 1] = 2; /* a socket has no sequence number */
    bad.bytes[SEQUENCE_AT] = 0;
    seal(&bad);
    refused(&bad, "another kind of link");
    bad = b;
    bad.bytes[b.len - SESSION_CRC_LEN - CHANNEL_LEN] = 2; /* up or not */
    seal(&bad);
    refused(&bad, "out of range");
    bad = b;
    bad.bytes[b.len - SESSION_CRC_LEN - SCP03_SAVED_LEN] = 2; /* strict or not */
    seal(&bad);
    refused(&bad, "out of range");
    bad = b;
    memcpy(&bad.bytes[b.len - SESSION_CRC_LEN - 8], zeros, sizeof zeros); /* counter */
    seal(&bad);
    refused(&bad, "out of range");
}

static void
other_keys_end_the_channel_and_nothing_is_told(void **state)
{
    struct blob b = first_stage(true, 0);
    a71ch *chip;

    (void)state;
    b.bytes[b.len - SESSION_CRC_LEN - SCP03_SAVED_LEN + 20] ^= 1; /* in the MAC key */
    seal(&b);
    fails(chip, resume(&b, &chip), A71CH_ERR_SESSION, "resumed before");
    assert_int_equal(a71ch_status_word(chip), 0x6982);
    a71ch_close(chip);
}

static void
resumed_twice_the_second_is_refused(void **state)
{
    struct blob b = first_stage(true, 2);
    uint32_t value = 0;
    a71ch *first;
    a71ch *second;

    (void)state;
    works(first, resume(&b, &first));
    fails(second, resume(&b, &second), A71CH_ERR_SESSION, "resumed before");
    a71ch_close(second);
    /* the link's number gave it away, before the chip saw a wrong MAC: the first goes on */
    w.fd = first->link.fd;
    works(first, a71ch_counter_get(first, 0, &value));
    assert_int_equal(value, 2);
    a71ch_close(first);
}

static void
resumed_after_eight_frames_the_channel_gives_it_away_and_ends(void **state)
{
    struct blob b = first_stage(true, 0);
    a71ch *first;
    a71ch *second;

    (void)state;
    works(first, resume(&b, &first)); /* one command */
    for (int i = 0; i < 7; i++)
        works(first, a71ch_counter_increment(first, 0));
    fails(second, resume(&b, &second), A71CH_ERR_SESSION, "6982");
    a71ch_close(second);
    w.fd = first->link.fd;
    fails(first, a71ch_counter_increment(first, 0), A71CH_ERR_RESPONSE, "another program");
    a71ch_close(first); /* it was in step neither on the link nor in the channel */
}

static void
a_chip_without_power_in_between_is_noticed(void **state)
{
    struct blob clear = first_stage(false, 0);
    static const uint8_t atr[] = { 0xb8, 0x04, 0x11, 0x01 };
    struct blob b;
    a71ch *chip;

    (void)state;
    chip_reset(w.card.chip);
    fails(chip, resume(&clear, &chip), A71CH_ERR_SESSION, "switched off");
    a71ch_close(chip);
    assert_int_equal(slave_init(&w.slave, SPAN(atr), NULL), BM_OK);
    b = first_stage(true, 3);
    reopen(&w.card);
    assert_int_equal(slave_init(&w.slave, SPAN(atr), NULL), BM_OK);
    fails(chip, resume(&b, &chip), A71CH_ERR_SESSION, "switched off");
    a71ch_close(chip);
    works(chip, a71ch_open(ADDRESS, NULL, &chip)); /* the cure */
    works(chip, a71ch_channel_open(chip, &keys, 0));
    a71ch_close(chip);
}

static void
a_busy_chip_is_waited_for_but_never_reset(void **state)
{
    static const a71ch_options options = { .connect_timeout_ms = 1000 };
    struct blob b = first_stage(true, 0);
    unsigned resets = w.resets;
    a71ch *chip;

    (void)state;
    w.slave.stuck = SLAVE_STAYS_BUSY;
    fails(chip, a71ch_session_resume(ADDRESS, &options, b.bytes, b.len, &chip), A71CH_ERR_TIMEOUT,
        "did not become ready");
    assert_int_equal(w.resets, resets);
    a71ch_close(chip);
    w.slave.stuck = SLAVE_FREE;
    works(chip, resume(&b, &chip)); /* nothing was sent, so it is still good */
    a71ch_close(chip);
}

static void
a_simulated_chip_of_one_handle_has_no_session_to_hand_on(void **state)
{
    struct blob b = first_stage(false, 0);
    a71ch *chip;

    (void)state;
    fails(chip, a71ch_session_resume("sim:/nowhere", NULL, b.bytes, b.len, &chip),
        A71CH_ERR_UNSUPPORTED, "begins with its handle");
    a71ch_close(chip);
    fails(chip, a71ch_session_resume("unix:/nowhere", NULL, b.bytes, b.len, &chip),
        A71CH_ERR_SESSION, "another kind of link");
    a71ch_close(chip);
    fails(chip, a71ch_session_resume("serial:/nowhere", NULL, b.bytes, b.len, &chip),
        A71CH_ERR_ADDRESS, "address");
    a71ch_close(chip);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_world, teardown_world)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_value_is_crc_32),
        TEST(a_session_in_the_clear_goes_on_without_reset_and_select),
        TEST(the_sequence_number_wraps_across_the_stages),
        TEST(a_secure_channel_goes_on_with_chain_and_counter),
        TEST(a_session_can_be_handed_on_again_and_again),
        TEST(a_strict_channel_stays_strict),
        TEST(a_hash_in_parts_goes_on),
        TEST(who_has_exported_cannot_go_on),
        TEST(too_little_room_leaves_the_session_where_it_is),
        TEST(a_channel_that_is_over_is_not_exported),
        TEST(bytes_of_another_version_are_refused),
        TEST(bytes_that_were_cut_or_lengthened_are_refused),
        TEST(every_altered_bit_is_refused),
        TEST(values_out_of_range_are_refused),
        TEST(other_keys_end_the_channel_and_nothing_is_told),
        TEST(resumed_twice_the_second_is_refused),
        TEST(resumed_after_eight_frames_the_channel_gives_it_away_and_ends),
        TEST(a_chip_without_power_in_between_is_noticed),
        TEST(a_busy_chip_is_waited_for_but_never_reset),
        TEST(a_simulated_chip_of_one_handle_has_no_session_to_hand_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
