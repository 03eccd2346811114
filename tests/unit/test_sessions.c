/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/broker/sessions: files as mosquitto 2.0.11 writes them. */
#include "broker/sessions.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
put_u32(struct buf *b, uint32_t v)
{
    buf_add(b,
        (const uint8_t[]){ (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v },
        4);
}

static void
put_header(struct buf *b, uint32_t version)
{
    buf_add(b, "\x00\xb5\x00mosquitto db", 15);
    put_u32(b, 0);
    put_u32(b, version);
    put_u32(b, 1); /* its configuration */
    put_u32(b, 16);
    buf_add(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void
put_client(struct buf *b, uint32_t version, const char *id, int64_t due_s, uint32_t expiry_s)
{
    size_t more = version == 6 ? 8 : 0;

    put_u32(b, 6);
    put_u32(b, (uint32_t)(16 + more + strlen(id)));
    buf_add(b, &due_s, sizeof due_s);
    put_u32(b, expiry_s);
    buf_add(b, (const uint8_t[]){ 0, 1, 0, (uint8_t)strlen(id) }, 4);
    buf_add(b, "\0\0\0\0\0\0\0\0", more);
    buf_add(b, id, strlen(id));
}

struct seen {
    char text[256];
};

static void
see(void *arg, const struct broker_session *s)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);

    (void)snprintf(&seen->text[at], sizeof seen->text - at, "%.*s:%lld/%u ", (int)s->id.len,
        (const char *)s->id.ptr, (long long)s->due_s, s->expiry_s);
}

static void
sessions_are_told_with_their_end(void **state)
{
    (void)state;
    for (uint32_t version = 5; version <= 6; version++) {
        struct seen seen = { "" };
        struct buf b = { 0 };

        put_header(&b, version);
        put_client(&b, version, "one", 1000, 3600);
        put_client(&b, version, "second", 0, UINT32_MAX);
        assert_int_equal(broker_sessions_parse(buf_span(&b), see, &seen), BM_OK);
        assert_string_equal(seen.text, "one:1000/3600 second:0/4294967295 ");
        buf_fini(&b);
    }
}

static void
what_is_no_such_file_is_told(void **state)
{
    struct seen seen = { "" };
    struct buf b = { 0 };

    (void)state;
    put_header(&b, 7);
    assert_int_equal(broker_sessions_parse(buf_span(&b), see, &seen), BM_ERR_INPUT);
    assert_int_equal(broker_sessions_parse(span_str("mosquitto"), see, &seen), BM_ERR_INPUT);
    b.len = 0;
    put_header(&b, 6);
    put_client(&b, 6, "whole", 1, 2);
    put_client(&b, 6, "cut", 1, 2);
    assert_int_equal(broker_sessions_parse(span_of(b.ptr, b.len - 1), see, &seen), BM_ERR_INPUT);
    assert_string_equal(seen.text, "whole:1/2 ");
    buf_fini(&b);
}

static void
who_was_connected_when_it_was_written_has_its_time_from_now_on(void **state)
{
    char path[] = "/tmp/birthmark-sessions.XXXXXX";
    struct seen seen = { "" };
    struct buf b = { 0 };
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    put_header(&b, 6);
    put_client(&b, 6, "left", 1000, 3600);
    put_client(&b, 6, "short", 0, 60);
    put_client(&b, 6, "long", 0, UINT32_MAX);
    assert_int_equal(fd_write_all(fd, buf_span(&b)), BM_OK);
    assert_int_equal(broker_sessions_begin(path, 5000, 3600, NULL), BM_OK);
    assert_int_equal(broker_sessions_read(path, see, &seen, NULL), BM_OK);
    assert_string_equal(seen.text, "left:1000/3600 short:5060/60 long:8600/4294967295 ");
    /* without a bound one that is for ever stays so */
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(fd_write_all(fd, buf_span(&b)), BM_OK);
    assert_int_equal(broker_sessions_begin(path, 5000, 0, NULL), BM_OK);
    seen.text[0] = '\0';
    assert_int_equal(broker_sessions_read(path, see, &seen, NULL), BM_OK);
    assert_string_equal(seen.text, "left:1000/3600 short:5060/60 long:0/4294967295 ");
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(broker_sessions_read(path, see, &seen, NULL), BM_OK); /* none */
    assert_int_equal(broker_sessions_begin(path, 5000, 0, NULL), BM_OK);
    buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_are_told_with_their_end),
        cmocka_unit_test(what_is_no_such_file_is_told),
        cmocka_unit_test(who_was_connected_when_it_was_written_has_its_time_from_now_on),
    };

    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
