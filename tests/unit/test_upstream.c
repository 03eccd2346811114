/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of brokers: what is taken, what is refused and why, and whether somebody is there. */
#include "broker/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
addresses_are_taken_with_user_and_default_port(void **state)
{
    struct upstream u;

    (void)state;
    assert_int_equal(upstream_parse("mqtt://127.0.0.1", &u, NULL), BM_OK);
    assert_false(upstream_is_ours(&u));
    assert_int_equal(u.count, 1);
    assert_string_equal(u.addresses[0].host, "127.0.0.1");
    assert_int_equal(u.addresses[0].port, 1883);
    assert_string_equal(u.username, "");
    assert_int_equal(
        upstream_parse("mqtt://gate@way@127.0.0.2:11883,[::1]:2,[::1]", &u, NULL), BM_OK);
    assert_int_equal(u.count, 3);
    assert_string_equal(u.username, "gate@way");
    assert_string_equal(u.addresses[0].host, "127.0.0.2");
    assert_int_equal(u.addresses[0].port, 11883);
    assert_string_equal(u.addresses[1].host, "::1");
    assert_int_equal(u.addresses[1].port, 2);
    assert_int_equal(u.addresses[2].port, 1883);
}

static void
tls_is_asked_for_and_has_its_own_port_and_names(void **state)
{
    struct upstream u;

    (void)state;
    assert_int_equal(upstream_parse("mqtts://g@127.0.0.1,[::1]:2,localhost", &u, NULL), BM_OK);
    assert_true(u.tls);
    assert_int_equal(u.addresses[0].port, 8883);
    assert_int_equal(u.addresses[1].port, 2);
    assert_string_equal(u.addresses[0].name, "127.0.0.1");
    assert_string_equal(u.addresses[1].name, "::1");
    assert_string_equal(u.addresses[2].name, "localhost");
    assert_int_equal(upstream_parse("mqtt://127.0.0.1", &u, NULL), BM_OK);
    assert_false(u.tls);
}

static void
what_is_no_address_is_refused_with_the_cause(void **state)
{
    static const struct {
        const char *url;
        enum bm_err err;
        const char *says;
    } cases[] = {
        { "mqtts:/127.0.0.1", BM_ERR_INPUT, "mqtts:// for TLS" },
        { "http://127.0.0.1", BM_ERR_INPUT, "mqtt://[USER@]HOST" },
        { "mqtt://", BM_ERR_INPUT, "no host" },
        { "mqtt://u@", BM_ERR_INPUT, "no host" },
        { "mqtt://u:secret@127.0.0.1", BM_ERR_INPUT, "--broker-password" },
        { "mqtt://127.0.0.1:0", BM_ERR_INPUT, "port '0'" },
        { "mqtt://127.0.0.1:70000", BM_ERR_INPUT, "port '70000'" },
        { "mqtt://127.0.0.1:-1", BM_ERR_INPUT, "port '-1'" },
        { "mqtt://127.0.0.1:1883x", BM_ERR_INPUT, "port '1883x'" },
        { "mqtt://127.0.0.1:1883/x", BM_ERR_INPUT, "nothing may follow" },
        { "mqtt://[::1", BM_ERR_INPUT, "no ']'" },
        { "mqtt://[::1]x", BM_ERR_INPUT, "no port" },
        { "mqtt://:1883", BM_ERR_INPUT, "no host" },
        { "mqtt://host.invalid", BM_ERR_NOT_FOUND, "host.invalid" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bm_msg msg = { "" };
        struct upstream u;

        if (upstream_parse(cases[i].url, &u, &msg) != cases[i].err ||
            strstr(msg.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].url, msg.text);
        assert_null(strstr(msg.text, "secret"));
    }
}

static void
more_addresses_than_fit_are_as_many_as_fit(void **state)
{
    struct upstream u;

    (void)state;
    assert_int_equal(upstream_parse("mqtt://127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,"
                                    "127.0.0.6,127.0.0.7,127.0.0.8,127.0.0.9",
                         &u, NULL),
        BM_OK);
    assert_int_equal(u.count, UPSTREAM_ADDRESSES_MAX);
}

static void
who_listens_answers_and_who_does_not_is_told(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct upstream u = { .count = 1 };

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    memcpy(&u.addresses[0].sa, &at, sizeof at);
    u.addresses[0].len = sizeof at;
    assert_false(upstream_answers(&u, 0, 5000));
    assert_int_equal(listen(fd, 8), 0);
    assert_true(upstream_answers(&u, 7, 5000)); /* round and round */
    u.addresses[1] = u.addresses[0];
    ((struct sockaddr_in *)(void *)&u.addresses[1].sa)->sin_addr.s_addr = htonl(0x7f000002);
    u.count = 2;
    assert_int_equal(upstream_first(&u, 2, 5000), 2);
    assert_int_equal(upstream_first(&u, 3, 5000), 4); /* nobody listens there */
    (void)close(fd);
    assert_int_equal(upstream_first(&u, 3, 5000), 3);
    u.path = "/nonexistent/socket";
    assert_false(upstream_answers(&u, 0, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_with_user_and_default_port),
        cmocka_unit_test(tls_is_asked_for_and_has_its_own_port_and_names),
        cmocka_unit_test(what_is_no_address_is_refused_with_the_cause),
        cmocka_unit_test(more_addresses_than_fit_are_as_many_as_fit),
        cmocka_unit_test(who_listens_answers_and_who_does_not_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
