/* SPDX-License-Identifier: Apache-2.0 */
/* Topics for brokers that keep them with dots: there and back, and what can match what. */
#include "broker/topics.h"
#include "wire/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
there(const char *profile, const char *plain, const char *wire)
{
    const struct topics *t = topics_named(profile);
    uint8_t space[2048];
    struct wr room = wr_of(space, sizeof space);
    struct span out;
    struct span back;

    assert_non_null(t);
    assert_true(topics_to_broker(t, span_str(plain), &room, &out));
    if (!span_eq(out, span_str(wire)))
        fail_msg("%s became %.*s, not %s", plain, (int)out.len, (const char *)out.ptr, wire);
    assert_true(topics_from_broker(t, out, &room, &back));
    assert_true(span_eq(back, span_str(plain)));
}

static void
each_topic_has_one_form_at_the_broker(void **state)
{
    (void)state;
    there("nats", "a/b", "t/a/b");
    there("nats", "v1.2/a b", "t/v1%2E2/a%20b");
    there("rabbitmq", "x*/>/%2E", "t/x%2A/%3E/%252E");
    there("nats", "$aws/events/x", "s/$aws/events/x");
    there("nats", "t/a", "t/t/a");
    there("nats", "s/$aws", "t/s/$aws");
    there("nats", "/", "t//");
    there("nats", "//a/", "t///a/");
    there("nats", "a\tb\x7f", "t/a%09b%7F");
    there("nats", "gr\xc3\xbc\xc3\x9f", "t/gr\xc3\xbc\xc3\x9f");
    there("nats", "100%", "t/100%25");
    there("nats", "#", "t/#");
    there("nats", "+/x/+/#", "t/+/x/+/#");
    there("nats", "$aws/+/#", "s/$aws/+/#");
}

/* All bytes that may be in a topic, alone and in pairs with what an escape is made of. */
static void
every_byte_comes_back(void **state)
{
    static const char *const around[] = { "", "%", "2E", "%2", "%%", "/", "$", "t/" };
    const struct topics *t = topics_named("nats");
    char plain[32];

    (void)state;
    for (unsigned byte = 1; byte < 256; byte++) {
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
            int len = snprintf(plain, sizeof plain, "%s%c%s", around[i], (int)byte, around[i]);
            uint8_t space[256];
            struct wr room = wr_of(space, sizeof space);
            struct span out;
            struct span back;

            assert_true(topics_to_broker(t, span_of(plain, (size_t)len), &room, &out));
            for (size_t k = 2; k < out.len; k++)
                assert_null(memchr(" .*>\t", out.ptr[k], 5));
            assert_true(topics_from_broker(t, out, &room, &back));
            assert_true(span_eq(back, span_of(plain, (size_t)len)));
        }
    }
}

/* Whatever a broker makes of `#` and `$`, these cannot meet: their first levels differ. */
static void
no_filter_matches_more_than_it_did(void **state)
{
    static const char *const filters[] = { "#", "+/x", "$aws/#", "+/+/#", "t/#", "s/#", "$aws/x",
        "a.b", "a*", "+/+" };
    static const char *const names[] = { "$aws/x", "a/x", "t/x", "s/$aws/x", "$SYS/x", "a.b", "a/b",
        "ab", "$JS" };
    const struct topics *t = topics_named("nats");

    (void)state;
    for (size_t f = 0; f < sizeof filters / sizeof filters[0]; f++) {
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            uint8_t space[256];
            struct wr room = wr_of(space, sizeof space);
            struct span filter;
            struct span name;

            assert_true(topics_to_broker(t, span_str(filters[f]), &room, &filter));
            assert_true(topics_to_broker(t, span_str(names[n]), &room, &name));
            assert_int_equal(mqtt_match(filter, name),
                mqtt_match(span_str(filters[f]), span_str(names[n])));
        }
    }
}

static void
what_others_put_there_is_taken_or_is_none_of_ours(void **state)
{
    static const struct {
        const char *wire;
        const char *plain; /* NULL: none of ours */
    } cases[] = { { "t/a%2", "a%2" }, { "t/a%", "a%" }, { "t/%00", "%00" }, { "t/%41", "%41" },
        { "t/%2e", "%2e" }, { "t/%FF", "%FF" }, { "a/b", NULL }, { "t/", NULL }, { "s/a", NULL },
        { "t/$aws/x", NULL }, { "t", NULL }, { "", NULL }, { "$MQTT/x", NULL } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t space[64];
        struct wr room = wr_of(space, sizeof space);
        struct span out;
        bool ours =
            topics_from_broker(topics_named("rabbitmq"), span_str(cases[i].wire), &room, &out);

        if (ours != (cases[i].plain != NULL) || (ours && !span_eq(out, span_str(cases[i].plain))))
            fail_msg("%s: %.*s", cases[i].wire, (int)out.len, (const char *)out.ptr);
    }
}

static void
what_is_too_long_with_its_escapes_is_told(void **state)
{
    const struct topics *t = topics_named("rabbitmq");
    char plain[257];
    uint8_t space[1024];
    struct wr room = wr_of(space, sizeof space);
    struct span out;

    (void)state;
    memset(plain, 'x', sizeof plain);
    assert_true(topics_to_broker(t, span_of(plain, 251), &room, &out));
    assert_int_equal(out.len, 253);
    room = wr_of(space, sizeof space);
    assert_false(topics_to_broker(t, span_of(plain, 252), &room, &out));
    memset(plain, '.', 84);
    room = wr_of(space, sizeof space);
    assert_false(topics_to_broker(t, span_of(plain, 84), &room, &out));
    room = wr_of(space, 20);
    assert_false(topics_to_broker(topics_named("nats"), span_of(plain, 7), &room, &out));
    room = wr_of(space, 2);
    assert_false(topics_from_broker(t, span_str("t/abc"), &room, &out));
}

static void
without_a_profile_topics_are_as_they_are(void **state)
{
    uint8_t space[1];
    struct wr room = wr_of(space, 0);
    struct span out;

    (void)state;
    assert_null(topics_named("mosquitto"));
    assert_true(topics_to_broker(NULL, span_str("a.b"), &room, &out));
    assert_true(span_eq(out, span_str("a.b")));
    assert_true(topics_from_broker(NULL, span_str("a.b"), &room, &out));
    assert_true(span_eq(out, span_str("a.b")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_topic_has_one_form_at_the_broker),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(no_filter_matches_more_than_it_did),
        cmocka_unit_test(what_others_put_there_is_taken_or_is_none_of_ours),
        cmocka_unit_test(what_is_too_long_with_its_escapes_is_told),
        cmocka_unit_test(without_a_profile_topics_are_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
