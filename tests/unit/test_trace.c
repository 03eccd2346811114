/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of what commands are called and of the lines of a trace. */
#include "a71chd/trace.h"
#include "base/file.h"
#include "wire/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

#define KEY "00112233445566778899aabbccddeeff"

/* Bytes of a hex text, valid until the next call but three. */
static struct span
hex(const char *text)
{
    static uint8_t bytes[4][320];
    static unsigned turn;
    uint8_t *to = bytes[turn++ % 4];

    assert_int_equal(hex_decode(to, strlen(text) / 2, span_str(text)), BM_OK);
    return span_of(to, strlen(text) / 2);
}

static void
commands_have_the_names_of_the_specification(void **state)
{
    static const struct {
        const char *command, *name;
        int slot, count, offset;
    } rows[] = {
        { "00a4040005613731636800", "select", -1, -1, -1 },
        { "8011020000", "pair-get", 2, -1, -1 },
        { "8011020100", "pair-usage", 2, -1, -1 },
        { "8012010000", "pair-generate", 1, -1, -1 },
        { "8012010010" KEY "00", "pair-set", 1, -1, -1 },
        { "8012011010" KEY "00", "pair-generate", 1, -1, -1 },
        { "8415000020" KEY KEY "00", "pair-sign", 0, -1, -1 },
        { "8412010008"
          "0011223344556677"
          "00",
            "pair-generate", 1, -1, -1 },
        { "80250001", "verify-external", -1, -1, -1 },
        { "8045320a020000", "sym-hkdf", 2, 3, -1 },
        { "8062010000", "counter-increment", 1, -1, -1 },
        { "806201000400000005"
          "00",
            "counter-set", 1, -1, -1 },
        { "80710f20020020"
          "00",
            "gp-get", -1, -1, 0xf20 },
        { "8091010500", "pair-challenge", -1, -1, -1 },
        { "8091090900", "unknown", -1, -1, -1 },
        { "8492000308"
          "0011223344556677",
            "transport-unlock", -1, -1, -1 },
        { "80ee000000", "unknown", -1, -1, -1 },
        { "80910003ff00", "malformed", -1, -1, -1 },
        { "80", "malformed", -1, -1, -1 },
        { "", "malformed", -1, -1, -1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decoded d = decode_command(hex(rows[i].command));

        assert_string_equal(d.name, rows[i].name);
        assert_int_equal(d.slot, rows[i].slot);
        assert_int_equal(d.count, rows[i].count);
        assert_int_equal(d.offset, rows[i].offset);
    }
}

/* The line of an exchange, parsed; what is in it must not hold `secret`. */
static json_t *
line_of(const char *command, const char *answer, const char *secret)
{
    struct buf out = { 0 };
    struct trace_exchange x = {
        .client = 7, .command = hex(command), .answer = hex(answer), .took_us = 1234
    };
    json_t *line;

    trace_line(&out, &x, 1577248409400, 42);
    assert_false(out.failed);
    assert_int_equal(out.ptr[out.len - 1], '\n');
    if (secret != NULL)
        assert_null(strstr(buf_cstr(&out), secret));
    line = json_loadb((const char *)out.ptr, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    buf_fini(&out);
    return line;
}

static const char *
text(const json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static void
line_has_time_client_name_and_bytes(void **state)
{
    json_t *line = line_of("8071010002001000", KEY "9000", NULL);

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(line, "n")), 42);
    assert_string_equal(text(line, "time"), "2019-12-25T04:33:29.400Z");
    assert_int_equal(json_integer_value(json_object_get(line, "us")), 1234);
    assert_int_equal(json_integer_value(json_object_get(line, "client")), 7);
    assert_string_equal(text(line, "name"), "gp-get");
    assert_int_equal(json_integer_value(json_object_get(line, "offset")), 256);
    assert_string_equal(text(line, "command"), "8071010002001000");
    assert_string_equal(text(line, "sw"), "9000");
    assert_string_equal(text(line, "meaning"), "ok");
    assert_string_equal(text(line, "answer"), KEY);
    json_decref(line);
}

static void
keys_stand_as_their_length(void **state)
{
    static const struct {
        const char *command, *answer;
    } rows[] = {
        { "8012000061" KEY KEY KEY KEY KEY KEY "0000", "9000" },
        { "8032000110" KEY "00", "9000" },
        { "8042000110" KEY "00", "6986" },
        { "80d8008146" KEY "00", "6d00" }, /* cut short: sent all the same */
        { "8016001061"
          "00",
            KEY "9000" },
        { "8017000041"
          "00",
            KEY "9000" },
        { "8045100a020000", KEY "9000" },
        { "8046100020", KEY "9000" },
        { "8047100000", KEY "9000" },
        { "8047100300", KEY "9000" },
        { "8095001000", KEY "9000" },
        { "8095010000", KEY "9000" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *line = line_of(rows[i].command, rows[i].answer, KEY);

        assert_true(json_object_get(line, "command_secret") != NULL ||
                    json_integer_value(json_object_get(line, "answer_secret")) == 16);
        json_decref(line);
    }
}

static void
file_is_private_and_begins_anew_when_it_is_full(void **state)
{
    char dir[] = "/tmp/birthmark-trace.XXXXXX";
    char path[64];
    char old[64];
    struct trace *t;
    struct trace_exchange x = {
        .client = 1, .command = hex("8091000300"), .answer = hex("0131f32210009000")
    };
    struct buf got = { 0 };

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/trace", dir);
    (void)snprintf(old, sizeof old, "%s/trace.old", dir);
    assert_int_equal(trace_open(path, &t, NULL), BM_OK);
    assert_true(trace_on(t));
    trace_write(t, &x);
    trace_close(t);
    assert_int_equal(truncate(path, TRACE_FILE_MAX - 10), 0);
    assert_int_equal(trace_open(path, &t, NULL), BM_OK);
    trace_write(t, &x);
    trace_write(t, &x);
    trace_close(t);
    assert_int_equal(access(old, F_OK), 0);
    assert_int_equal(file_read(path, 4096, &got, NULL), BM_OK);
    assert_int_equal(strncmp(buf_cstr(&got), "{\"n\":1,", 7), 0);
    assert_non_null(strstr(buf_cstr(&got), "\n{\"n\":2,"));
    buf_fini(&got);
    assert_int_equal(dir_remove(dir, NULL), BM_OK);
    assert_int_equal(trace_open("/nonexistent/trace", &t, NULL), BM_ERR_IO);
    assert_int_equal(trace_open(NULL, &t, NULL), BM_OK); /* to the log, which is off */
    assert_false(trace_on(t));
    trace_close(t);
    assert_false(trace_on(NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_have_the_names_of_the_specification),
        cmocka_unit_test(line_has_time_client_name_and_bytes),
        cmocka_unit_test(keys_stand_as_their_length),
        cmocka_unit_test(file_is_private_and_begins_anew_when_it_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
