/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of src/host: liba71ch against a scripted server, addresses, the signature reader.
 *
 * The server runs in a thread and works through a list of steps: it compares what arrives with the
 * bytes of the specification and sends what the step says. Expected bytes are written by hand from
 * SPEC a71ch, never made by our own encoder.
 */
#include "a71ch.h"
#include "base/bytes.h"
#include "host/address.h"
#include "host/host.h"
#include "host/signature.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

enum how {
    APDU,    /* `reply` is an APDU: send it as one message */
    RAW,     /* `reply` is all that is sent, header included */
    PIECES,  /* as RAW, byte by byte */
    SIGNALS, /* as APDU, after interrupting the client a few times */
    HANG_UP, /* as RAW, then close */
    GOODBYE, /* as APDU, then close */
    DEAF,    /* as APDU, then refuse to hear more, without hanging up */
};

struct step {
    const char *expect; /* hex of the command APDU; with a colon first, of the whole message */
    const char *reply;  /* hex */
    enum how how;
};

#define POWER_UP                                                                                   \
    {                                                                                              \
        ":00 00 00 04 00 00 01 00", "00 00 00 05 B8 03 11 01 05", RAW                              \
    }
#define SELECT                                                                                     \
    {                                                                                              \
        "00 A4 04 00 05 61 37 31 63 68 00", "0131 9000", APDU                                      \
    }
#define OPENED POWER_UP, SELECT

struct server {
    const struct step *steps;
    size_t count;
    int listener;
    char address[128];
    char folder[32];
    pthread_t thread;
    pthread_t client;
    pthread_mutex_t hold;
    char complaint[1024]; /* what arrived wrong; read after the thread ended */
};

static size_t
from_hex(const char *hex, uint8_t *out, size_t cap)
{
    char digits[2048];
    size_t n = 0;

    for (const char *c = hex; *c != '\0'; c++) {
        if (*c != ' ' && *c != ':')
            digits[n++] = *c;
    }
    assert_true(n / 2 <= cap && n < sizeof digits);
    assert_int_equal(hex_decode(out, n / 2, span_of(digits, n)), BM_OK);
    return n / 2;
}

static bool
read_exactly(int fd, uint8_t *out, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = read(fd, &out[got], len - got);

        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void
send_bytes(int fd, const uint8_t *bytes, size_t len)
{
    if (len > 0 && send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        return; /* the client gave up; its own claims tell */
}

static void
check_message(struct server *s, size_t at, const uint8_t *got, size_t len)
{
    uint8_t want[512];
    const char *expect = s->steps[at].expect;
    size_t want_len = from_hex(expect, want, sizeof want);
    size_t skip = expect[0] == ':' ? 0 : 4;
    char hex[1024 + 1];

    if (want_len == len - skip && memcmp(want, &got[skip], want_len) == 0)
        return;
    hex_encode(hex, got, len < 512 ? len : 512);
    (void)snprintf(
        s->complaint, sizeof s->complaint, "step %zu wants %.200s, got %.700s", at, expect, hex);
}

static bool
play_reply(struct server *s, int fd, const struct step *step)
{
    uint8_t out[1024];
    size_t len = from_hex(step->reply, &out[4], sizeof out - 4);

    out[0] = 1;
    out[1] = 0;
    out[2] = (uint8_t)(len >> 8);
    out[3] = (uint8_t)len;
    switch (step->how) {
    case SIGNALS:
        for (int i = 0; i < 5; i++)
            (void)pthread_kill(s->client, SIGUSR1);
        send_bytes(fd, out, len + 4);
        return true;
    case APDU:
        send_bytes(fd, out, len + 4);
        return true;
    case GOODBYE:
        send_bytes(fd, out, len + 4);
        return false;
    case DEAF:
        (void)shutdown(fd, SHUT_RD);
        send_bytes(fd, out, len + 4);
        (void)pthread_mutex_lock(&s->hold); /* until the test has seen what comes of it */
        return false;
    case RAW:
        send_bytes(fd, &out[4], len);
        return true;
    case HANG_UP:
        send_bytes(fd, &out[4], len);
        return false;
    case PIECES:
        for (size_t i = 0; i < len; i++)
            send_bytes(fd, &out[4 + i], 1);
        return true;
    }
    return false;
}

static void *
serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    uint8_t in[512];
    bool on = fd >= 0;

    for (size_t i = 0; on && i < s->count; i++) {
        size_t len;

        on = read_exactly(fd, in, 4);
        len = (size_t)in[2] << 8 | in[3];
        on = on && len <= sizeof in - 4 && read_exactly(fd, &in[4], len);
        if (!on) {
            (void)snprintf(s->complaint, sizeof s->complaint, "step %zu never came", i);
            break;
        }
        check_message(s, i, in, len + 4);
        on = play_reply(s, fd, &s->steps[i]);
    }
    /* stay until the client leaves, and see that it sends nothing more */
    if (on && read(fd, in, sizeof in) > 0)
        (void)snprintf(s->complaint, sizeof s->complaint, "more came after the last step");
    if (fd >= 0)
        (void)close(fd);
    return NULL;
}

static void
listen_unix(struct server *s)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    (void)snprintf(s->folder, sizeof s->folder, "/tmp/birthmark-host.XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/s", s->folder);
    (void)snprintf(s->address, sizeof s->address, "unix:%s", at.sun_path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
}

static void
listen_tcp(struct server *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(at.sin_port));
}

static void
start_serving(struct server *s, const struct step *steps, size_t count)
{
    s->steps = steps;
    s->count = count;
    s->client = pthread_self();
    (void)pthread_mutex_init(&s->hold, NULL);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
clean_up(struct server *s)
{
    (void)close(s->listener);
    if (s->folder[0] != '\0') {
        (void)unlink(&s->address[strlen("unix:")]);
        (void)rmdir(s->folder);
    }
}

/* Close the handle, end the server, and see that all it wanted came, byte for byte. */
static void
finish(struct server *s, a71ch *chip)
{
    a71ch_close(chip);
    (void)pthread_join(s->thread, NULL);
    clean_up(s);
    assert_string_equal(s->complaint, "");
}

static a71ch_result
open_with(struct server *s, const struct step *steps, size_t count, a71ch **out)
{
    a71ch_options o = { .answer_timeout_ms = 10000 };

    listen_unix(s);
    start_serving(s, steps, count);
    return a71ch_open(s->address, &o, out);
}

#define OPEN(s, chip, ...)                                                                         \
    const struct step steps[] = { __VA_ARGS__ };                                                   \
    struct server s = { 0 };                                                                       \
    a71ch *chip = NULL;                                                                            \
    assert_int_equal(open_with(&s, steps, sizeof steps / sizeof steps[0], &chip), A71CH_OK)

static void
assert_says(const a71ch *chip, const char *part)
{
    if (strstr(a71ch_message(chip), part) == NULL)
        fail_msg("message '%s' does not say '%s'", a71ch_message(chip), part);
}

static void
assert_bytes(const uint8_t *got, size_t len, const char *hex)
{
    uint8_t want[512];

    assert_int_equal(len, from_hex(hex, want, sizeof want));
    assert_memory_equal(got, want, len);
}

#define POINT                                                                                      \
    "04 1111111111111111111111111111111111111111111111111111111111111111"                          \
    "2222222222222222222222222222222222222222222222222222222222222222"
#define BYTES32 "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

/* addresses */

static void
address_forms_have_one_normal_form(void **state)
{
    static const char *const cases[][2] = {
        { "127.0.0.1:8050", "tcp:127.0.0.1:8050" },
        { "tcp:127.0.0.1:8050", "tcp:127.0.0.1:8050" },
        { "chip.example:1", "tcp:chip.example:1" },
        { "tcp:[::1]:65535", "tcp:[::1]:65535" },
        { "[fe80::1%eth0]:8050", "tcp:[fe80::1%eth0]:8050" },
        { "unix:/run/a71ch/sock", "unix:/run/a71ch/sock" },
        { "unix:relative path:1", "unix:relative path:1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address a;

        assert_int_equal(chip_address_parse(cases[i][0], &a, NULL), BM_OK);
        assert_string_equal(a.text, cases[i][1]);
    }
}

static void
ipv6_literal_loses_its_brackets(void **state)
{
    struct address a;

    (void)state;
    assert_int_equal(chip_address_parse("[::1]:8050", &a, NULL), BM_OK);
    assert_string_equal(a.host, "::1");
    assert_string_equal(a.port, "8050");
}

static void
i2c_address_has_device_and_chip(void **state)
{
    struct address a;

    (void)state;
    assert_int_equal(chip_address_parse("i2c:/dev/i2c-1", &a, NULL), BM_OK);
    assert_int_equal(a.kind, ADDRESS_I2C);
    assert_string_equal(a.path, "/dev/i2c-1");
    assert_int_equal(a.i2c, 0x48);
    assert_int_equal(chip_address_parse("i2c:/dev/i2c-0:0x4A", &a, NULL), BM_OK);
    assert_string_equal(a.path, "/dev/i2c-0");
    assert_int_equal(a.i2c, 0x4a);
    assert_string_equal(a.text, "i2c:/dev/i2c-0:0x4a");
}

static void
bad_address_is_refused_with_its_cure(void **state)
{
    static const char *const cases[][2] = {
        { "", "write HOST:PORT or unix:PATH" },
        { "8050", "write HOST:PORT or unix:PATH" },
        { "localhost", "write HOST:PORT" },
        { ":8050", "no host name" },
        { "host name:8050", "no host name" },
        { "host\x1b[31m:8050", "no host name" },
        { "localhost:", "no port from 1 to 65535" },
        { "localhost:0", "no port from 1 to 65535" },
        { "localhost:65536", "no port from 1 to 65535" },
        { "localhost:80x", "no port from 1 to 65535" },
        { "localhost:-1", "no port from 1 to 65535" },
        { "localhost:123456", "too long" },
        { "::1:8050", "in brackets" },
        { "[::1]", "write HOST:PORT" },
        { "[::1]8050", "write HOST:PORT" },
        { "unix:", "no path" },
        { "i2c:", "write i2c:DEVICE" },
        { "i2c:1", "write i2c:DEVICE" },
        { "i2c:/dev/i2c-1:", "write i2c:DEVICE or i2c:DEVICE:0xADDR" },
        { "i2c:/dev/i2c-1:48", "i2c:DEVICE:0xADDR" },
        { "i2c:/dev/i2c-1:0x80", "i2c:DEVICE:0xADDR" },
        { "i2c:/dev/i2c-1:0x00", "i2c:DEVICE:0xADDR" },
        { "i2c:/dev/i2c-1:0x488", "i2c:DEVICE:0xADDR" },
        { "sim:", "write sim:DIR" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address a = { .text = "before" };
        struct bm_msg msg = { "" };

        assert_int_equal(chip_address_parse(cases[i][0], &a, &msg), BM_ERR_INPUT);
        if (strstr(msg.text, cases[i][1]) == NULL)
            fail_msg("'%s' gives '%s', not '%s'", cases[i][0], msg.text, cases[i][1]);
        assert_string_equal(a.text, "before");
    }
}

static void
over_long_address_is_refused(void **state)
{
    char text[400];
    struct address a;
    struct bm_msg msg;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(&text[sizeof text - 6], ":8050", 6);
    assert_int_equal(chip_address_parse(text, &a, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "too long"));
    memcpy(text, "unix:", 5);
    assert_int_equal(chip_address_parse(text, &a, &msg), BM_ERR_INPUT);
    assert_non_null(strstr(msg.text, "107 bytes"));
}

static void
environment_is_asked_in_its_order(void **state)
{
    struct address a;

    (void)state;
    (void)unsetenv("A71CH_ADDRESS");
    (void)unsetenv("RJCT_SERVER_ADDR");
    assert_int_equal(chip_address_from_environment(&a, NULL), BM_OK);
    assert_string_equal(a.text, "tcp:127.0.0.1:8050");
    (void)setenv("RJCT_SERVER_ADDR", "rjct.example", 1);
    assert_int_equal(chip_address_from_environment(&a, NULL), BM_OK);
    assert_string_equal(a.text, "tcp:rjct.example:8050");
    (void)setenv("RJCT_SERVER_ADDR", "rjct.example:99", 1);
    assert_int_equal(chip_address_from_environment(&a, NULL), BM_OK);
    assert_string_equal(a.text, "tcp:rjct.example:99");
    (void)setenv("A71CH_ADDRESS", "unix:/x", 1);
    assert_int_equal(chip_address_from_environment(&a, NULL), BM_OK);
    assert_string_equal(a.text, "unix:/x");
    (void)setenv("A71CH_ADDRESS", "", 1); /* empty is as good as absent */
    assert_int_equal(chip_address_from_environment(&a, NULL), BM_OK);
    assert_string_equal(a.text, "tcp:rjct.example:99");
    (void)unsetenv("A71CH_ADDRESS");
    (void)unsetenv("RJCT_SERVER_ADDR");
}

/* the signature reader */

#define R32 "1111111111111111111111111111111111111111111111111111111111111111"
#define H32 "F111111111111111111111111111111111111111111111111111111111111111"

static void
signature_becomes_strict_der(void **state)
{
    static const struct {
        const char *why;
        const char *in;
        const char *out;
    } cases[] = {
        { "minimal stays", "3044 0220" R32 "0220" R32, "3044 0220" R32 "0220" R32 },
        { "33 bytes with a needed 00 stay", "3046 022100" H32 "022100" H32,
            "3046 022100" H32 "022100" H32 },
        { "33 bytes with a redundant 00", "3046 022100" R32 "022100" R32,
            "3044 0220" R32 "0220" R32 },
        { "fixed width without sign octet", "3044 0220" H32 "0220" R32,
            "3045 022100" H32 "0220" R32 },
        { "many leading zeros",
            "3045 0221 0000000000000000000000000000000000000000000000000000000000000000 05 "
            "0220" R32,
            "3025 020105 0220" R32 },
        { "leading zeros before a first bit", "300A 0204 00000080 0202 0001",
            "3007 02020080 020101" },
        { "smallest", "3006 020101 020102", "3006 020101 020102" },
        { "padding after the sequence", "3006 020101 020102 000000", "3006 020101 020102" },
        { "other padding", "3006 020101 020102 FF90", "3006 020101 020102" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t in[160];
        uint8_t out[72];
        struct wr w = wr_of(out, sizeof out);
        size_t len = from_hex(cases[i].in, in, sizeof in);

        if (signature_normalise(span_of(in, len), &w) != BM_OK)
            fail_msg("refused: %s", cases[i].why);
        assert_bytes(out, wr_len(&w), cases[i].out);
    }
}

static void
what_is_no_signature_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "30",
        "3000",
        "3106 020101 020102",            /* no sequence */
        "3006 030101 020102",            /* no integer */
        "3006 020101 030102",            /* second one neither */
        "3006 020101 0201",              /* shorter than it says */
        "3007 020101 020102",            /* sequence longer than the input */
        "3007 020101 020102 00",         /* rest inside the sequence */
        "3009 020101 020102 020103",     /* a third number */
        "3003 020101",                   /* one number */
        "3005 0200 020101",              /* empty number */
        "3006 020100 020101",            /* zero */
        "3006 020101 020100",            /* zero */
        "3006 020101 020202",            /* number leaves the sequence */
        "308106 020101 020102",          /* long form of a length */
        "3080 020101 020102 0000",       /* indefinite length */
        "3046 022101" R32 "0221 00" R32, /* 33 significant bytes */
        "FFFFFFFFFFFFFFFFFFFF",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t in[160];
        uint8_t out[72];
        struct wr w = wr_of(out, sizeof out);
        size_t len = from_hex(cases[i], in, sizeof in);

        if (signature_normalise(span_of(in, len), &w) != BM_ERR_INPUT)
            fail_msg("accepted: %s", cases[i]);
        assert_int_equal(wr_len(&w), 0);
    }
}

static void
every_prefix_of_a_signature_is_refused(void **state)
{
    uint8_t in[80];
    size_t len = from_hex("3046 022100" H32 "022100" H32, in, sizeof in);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t out[72];
        struct wr w = wr_of(out, sizeof out);

        assert_int_equal(signature_normalise(span_of(in, cut), &w), BM_ERR_INPUT);
    }
}

static void
signature_without_room_changes_nothing(void **state)
{
    uint8_t in[80];
    uint8_t out[71];
    struct wr w = wr_of(out, sizeof out);
    size_t len = from_hex("3046 022100" H32 "022100" H32, in, sizeof in);

    (void)state;
    assert_int_equal(signature_normalise(span_of(in, len), &w), BM_ERR_SPACE);
    assert_int_equal(wr_len(&w), 0);
    assert_false(w.failed);
}

/* open */

static void
open_powers_up_and_selects(void **state)
{
    OPEN(s, chip, OPENED);
    uint8_t atr[A71CH_ATR_MAX];
    size_t len = 0;

    (void)state;
    assert_int_equal(a71ch_atr(chip, atr, sizeof atr, &len), A71CH_OK);
    assert_bytes(atr, len, "B803110105");
    assert_int_equal(a71ch_atr(chip, atr, 2, &len), A71CH_ERR_SPACE);
    assert_int_equal(len, 5);
    assert_string_equal(a71ch_address(chip), s.address);
    assert_string_equal(a71ch_message(chip), "");
    assert_int_equal(a71ch_status_word(chip), 0x9000);
    finish(&s, chip);
}

static void
open_over_tcp_works_as_over_unix(void **state)
{
    const struct step steps[] = { OPENED, { "80 94 00 EA 00", "9000", APDU } };
    struct server s = { 0 };
    a71ch *chip = NULL;

    (void)state;
    listen_tcp(&s);
    start_serving(&s, steps, 3);
    assert_int_equal(a71ch_open(s.address, NULL, &chip), A71CH_OK);
    assert_int_equal(strncmp(a71ch_address(chip), "tcp:127.0.0.1:", 14), 0);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    finish(&s, chip);
}

static void
open_without_listener_names_address_and_cure(void **state)
{
    struct server s = { 0 };
    a71ch *chip = NULL;

    (void)state;
    listen_tcp(&s);
    (void)close(s.listener); /* a port that was free a moment ago */
    assert_int_equal(a71ch_open(s.address, NULL, &chip), A71CH_ERR_CONNECT);
    assert_says(chip, "nobody listens at 127.0.0.1:");
    assert_says(chip, "(Connection refused); start a71chd, or set A71CH_ADDRESS");
    assert_int_equal(a71ch_errno(chip), ECONNREFUSED);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO);
    a71ch_close(chip);
    assert_int_equal(a71ch_open("unix:/nonexistent/socket", NULL, &chip), A71CH_ERR_CONNECT);
    assert_says(chip, "nobody listens at unix:/nonexistent/socket (No such file");
    a71ch_close(chip);
}

static void
open_of_bad_address_says_so_without_traffic(void **state)
{
    a71ch *chip = NULL;

    (void)state;
    assert_int_equal(a71ch_open("sim:", NULL, &chip), A71CH_ERR_ADDRESS);
    assert_says(chip, "write sim:DIR");
    assert_int_equal(a71ch_get_random(chip, (uint8_t[1]){ 0 }, 1), A71CH_ERR_IO);
    a71ch_close(chip);
    assert_int_equal(a71ch_open("i2c:/nonexistent/i2c-1", NULL, &chip), A71CH_ERR_CONNECT);
    assert_says(
        chip, "i2c:/nonexistent/i2c-1: cannot open the bus: No such file or directory; load");
    assert_int_equal(a71ch_errno(chip), ENOENT);
    a71ch_close(chip);
    assert_int_equal(a71ch_open("i2c:/dev/null", NULL, &chip), A71CH_ERR_CONNECT);
    assert_says(chip, "i2c:/dev/null: ioctl I2C_FUNCS: Inappropriate ioctl for device; is it an");
    assert_int_equal(a71ch_get_random(chip, (uint8_t[1]){ 0 }, 1), A71CH_ERR_IO);
    a71ch_close(chip);
    assert_int_equal(a71ch_open("host.invalid:8050", NULL, &chip), A71CH_ERR_CONNECT);
    assert_says(chip, "cannot find the host of host.invalid:8050");
    a71ch_close(chip);
}

static void
open_takes_address_from_environment(void **state)
{
    const struct step steps[] = { OPENED };
    struct server s = { 0 };
    a71ch *chip = NULL;

    (void)state;
    listen_unix(&s);
    start_serving(&s, steps, 2);
    (void)setenv("A71CH_ADDRESS", s.address, 1);
    assert_int_equal(a71ch_open(NULL, NULL, &chip), A71CH_OK);
    (void)unsetenv("A71CH_ADDRESS");
    finish(&s, chip);
}

/* What a server does wrong while a71ch_open() runs, and what the caller sees. */
static void
open_fails(struct step power, struct step select, a71ch_result want, const char *says)
{
    const struct step steps[] = { power, select };
    struct server s = { 0 };
    a71ch *chip = NULL;
    size_t count = select.expect != NULL ? 2 : 1;

    assert_int_equal(open_with(&s, steps, count, &chip), want);
    assert_says(chip, says);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO);
    finish(&s, chip);
}

static void
open_refuses_what_is_no_chip(void **state)
{
    const char *power = ":00 00 00 04 00 00 01 00";
    const char *select = "00 A4 04 00 05 61 37 31 63 68 00";
    const struct step none = { NULL, NULL, APDU };
    const struct step good = POWER_UP;

    (void)state;
    open_fails((struct step){ power, "00 00 00 00", RAW }, none, A71CH_ERR_RESPONSE,
        "has no chip (empty ATR)");
    open_fails((struct step){ power, BYTES32 BYTES32, APDU }, none, A71CH_ERR_RESPONSE,
        "an ATR of 64 bytes, longer than 60");
    open_fails((struct step){ power, "", HANG_UP }, none, A71CH_ERR_IO, "closed the connection");
    open_fails((struct step){ power, "48 54 54 50", RAW }, none, A71CH_ERR_RESPONSE,
        "is it a JRCP version 1 server?");
    open_fails(good, (struct step){ select, "013100 9000", APDU }, A71CH_ERR_RESPONSE,
        "SELECT with 3 bytes");
    open_fails(good, (struct step){ select, "01310000 00 9000", APDU }, A71CH_ERR_RESPONSE,
        "SELECT with 5 bytes");
    open_fails(
        good, (struct step){ select, "9000", APDU }, A71CH_ERR_RESPONSE, "SELECT with 0 bytes");
}

static void
open_without_applet_gives_its_status_word(void **state)
{
    const struct step steps[] = { POWER_UP, { "00 A4 04 00 05 61 37 31 63 68 00", "6A82", APDU } };
    struct server s = { 0 };
    a71ch *chip = NULL;

    (void)state;
    assert_int_equal(open_with(&s, steps, 2, &chip), A71CH_ERR_SELECT);
    assert_int_equal(a71ch_status_word(chip), 0x6a82);
    assert_says(chip, "6A82 (not found: no A71CH applet there)");
    finish(&s, chip);
}

static void
open_gives_up_on_a_full_queue(void **state)
{
    struct server s = { 0 };
    a71ch_options o = { .connect_timeout_ms = 30 };
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fillers[8];
    int count = 0;
    a71ch *chip = NULL;

    (void)state;
    listen_unix(&s);
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/s", s.folder);
    do {
        fillers[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    } while (connect(fillers[count++], (struct sockaddr *)&at, sizeof at) == 0 && count < 8);
    assert_int_equal(a71ch_open(s.address, &o, &chip), A71CH_ERR_TIMEOUT);
    assert_says(chip, "did not take the connection in time");
    a71ch_close(chip);
    while (count > 0)
        (void)close(fillers[--count]);
    clean_up(&s);
}

/* commands */

static void
module_info_is_read_by_nibble(void **state)
{
    OPEN(s, chip, POWER_UP, { "00 A4 04 00 05 61 37 31 63 68 00", "0131 0205 9000", APDU },
        { "80 91 00 03 00", "01 31 F3 22 10 00 9000", APDU },
        { "80 91 00 03 00", "01 30 21 31 04 00 9000", APDU },
        { "80 91 00 03 00", "01 30 21 31 04 9000", APDU });
    a71ch_module_info info;

    (void)state;
    assert_int_equal(a71ch_get_module_info(chip, &info), A71CH_OK);
    assert_int_equal(info.applet_version, 0x0131);
    assert_int_equal(info.securebox_version, 0x0205);
    assert_int_equal(info.debug, 1);
    assert_int_equal(info.restricted_pair, -1);
    assert_int_equal(info.transport_lock, 3);
    assert_int_equal(info.scp_state, 2);
    assert_int_equal(info.inject_lock, 2);
    assert_int_equal(info.gp_size, 4096);
    assert_int_equal(a71ch_get_module_info(chip, &info), A71CH_OK);
    assert_int_equal(info.debug, 0);
    assert_int_equal(info.restricted_pair, 2);
    assert_int_equal(info.transport_lock, 1);
    assert_int_equal(info.scp_state, 3);
    assert_int_equal(info.inject_lock, 1);
    assert_int_equal(info.gp_size, 1024);
    assert_int_equal(a71ch_get_module_info(chip, &info), A71CH_ERR_RESPONSE);
    assert_says(chip, "with 5 bytes of data instead of 6");
    assert_int_equal(info.gp_size, 1024);
    finish(&s, chip);
}

static void
unique_id_and_certificate_uid_match_the_sample(void **state)
{
    OPEN(s, chip, OPENED,
        { "80 91 00 01 00", "47 90 51 68 47 91 12 10 23 41 00 53 66 96 47 51 48 12 9000", APDU });
    uint8_t uid[A71CH_UID_LEN];
    uint8_t cert_uid[A71CH_CERT_UID_LEN];

    (void)state;
    assert_int_equal(a71ch_get_unique_id(chip, uid), A71CH_OK);
    assert_bytes(uid, sizeof uid, "47 90 51 68 47 91 12 10 23 41 00 53 66 96 47 51 48 12");
    a71ch_cert_uid(uid, cert_uid);
    assert_bytes(cert_uid, sizeof cert_uid, "51 68 23 41 00 53 66 96 47 51");
    finish(&s, chip);
}

static void
credential_map_keeps_its_length(void **state)
{
    OPEN(s, chip, OPENED, { "80 91 00 04 00", "02 A5 55 9000", APDU },
        { "80 91 00 04 00", "9000", APDU });
    uint8_t map[A71CH_MAP_MAX];
    size_t len = 0;

    (void)state;
    assert_int_equal(a71ch_get_credential_map(chip, map, &len), A71CH_OK);
    assert_bytes(map, len, "02A555");
    assert_int_equal(a71ch_get_credential_map(chip, map, &len), A71CH_ERR_RESPONSE);
    assert_says(chip, "has 0 bytes");
    finish(&s, chip);
}

static void
long_random_takes_several_commands(void **state)
{
    char first[2 * 239 + 5];
    uint8_t out[240];

    (void)state;
    memset(first, 'A', 2 * 239);
    memcpy(&first[2 * 239], "9000", 5);
    OPEN(s, chip, OPENED, { "80 95 00 EF 00", first, APDU }, { "80 95 00 01 00", "BB 9000", APDU },
        { "80 95 00 02 00", "BB 9000", APDU });
    assert_int_equal(a71ch_get_random(chip, out, 240), A71CH_OK);
    assert_int_equal(out[0], 0xaa);
    assert_int_equal(out[238], 0xaa);
    assert_int_equal(out[239], 0xbb);
    assert_int_equal(a71ch_get_random(chip, out, 0), A71CH_OK); /* no command */
    assert_int_equal(a71ch_get_random(chip, out, 2), A71CH_ERR_RESPONSE);
    finish(&s, chip);
}

static void
hash_in_the_chip_matches_the_worked_example(void **state)
{
    OPEN(s, chip, OPENED, { "80 96 00 00 04 F0 F1 F2 F3 00", BYTES32 "9000", APDU });
    const uint8_t data[] = { 0xf0, 0xf1, 0xf2, 0xf3 };
    uint8_t out[A71CH_HASH_LEN];

    (void)state;
    assert_int_equal(a71ch_sha256(chip, data, 4, out), A71CH_OK);
    assert_bytes(out, sizeof out, BYTES32);
    finish(&s, chip);
}

static void
pair_commands_are_as_specified(void **state)
{
    OPEN(s, chip, OPENED, { "80 12 01 00 00", "9000", APDU },
        { "80 12 03 00 61" BYTES32 POINT "00", "9000", APDU },
        { "80 12 00 00 69" BYTES32 "A0A1A2A3A4A5A6A7" POINT "00", "9000", APDU },
        { "80 11 02 00 00", POINT "9000", APDU }, { "80 14 02 00 00", "9000", APDU },
        { "80 17 00 00 41" POINT "00", BYTES32 "9000", APDU });
    uint8_t point[A71CH_POINT_LEN];
    uint8_t priv[40];
    uint8_t out[A71CH_POINT_LEN];

    (void)state;
    (void)from_hex(POINT, point, sizeof point);
    (void)from_hex(BYTES32 "A0A1A2A3A4A5A6A7", priv, sizeof priv);
    assert_int_equal(a71ch_pair_generate(chip, 1), A71CH_OK);
    assert_int_equal(a71ch_pair_set(chip, 3, point, priv, 32), A71CH_OK);
    assert_int_equal(a71ch_pair_set(chip, 0, point, priv, 40), A71CH_OK);
    assert_int_equal(a71ch_pair_set(chip, 0, point, priv, 33), A71CH_ERR_ARG);
    assert_says(chip, "32 bytes, or 40 when wrapped, not 33");
    assert_int_equal(a71ch_pair_get_public(chip, 2, out), A71CH_OK);
    assert_bytes(out, sizeof out, POINT);
    assert_int_equal(a71ch_pair_erase(chip, 2), A71CH_OK);
    assert_int_equal(a71ch_pair_ecdh(chip, 0, point, out), A71CH_OK);
    assert_bytes(out, 32, BYTES32);
    finish(&s, chip);
}

static void
signature_comes_out_strict(void **state)
{
    OPEN(s, chip, OPENED,
        { "80 15 03 00 20" BYTES32 "00", "3046 022100" R32 "022100" H32 "0000 9000", APDU });
    uint8_t hash[32];
    uint8_t sig[A71CH_SIGNATURE_MAX];
    size_t len = 0;

    (void)state;
    (void)from_hex(BYTES32, hash, sizeof hash);
    assert_int_equal(a71ch_pair_sign(chip, 3, hash, sig, &len), A71CH_OK);
    assert_bytes(sig, len, "3045 0220" R32 "022100" H32);
    finish(&s, chip);
}

static void
public_key_commands_are_as_specified(void **state)
{
    OPEN(s, chip, OPENED, { "80 22 02 00 41" POINT "00", "9000", APDU },
        { "80 22 00 00 48" POINT "A0A1A2A3A4A5A6 00", "9000", APDU },
        { "80 21 02 00 00", POINT "9000", APDU }, { "80 24 02 00 00", "9000", APDU },
        { "80 25 01 02 28" BYTES32 "3006020101020102 00", "01 9000", APDU },
        { "80 25 01 02 28" BYTES32 "3006020101020102 00", "02 9000", APDU },
        { "80 25 00 01 69" BYTES32 "3006020101020102" POINT "00", "01 9000", APDU },
        { "80 25 00 01 69" BYTES32 "3006020101020102" POINT "00", "03 9000", APDU });
    uint8_t point[72];
    uint8_t hash[32];
    uint8_t sig[73];
    int valid = -1;

    (void)state;
    (void)from_hex(POINT "A0A1A2A3A4A5A6", point, sizeof point);
    (void)from_hex(BYTES32, hash, sizeof hash);
    (void)from_hex("3006020101020102", sig, sizeof sig);
    assert_int_equal(a71ch_pub_set(chip, 2, point, 65), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 0, point, 72), A71CH_OK);
    assert_int_equal(a71ch_pub_set(chip, 0, point, 64), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_get(chip, 2, point), A71CH_OK);
    assert_int_equal(a71ch_pub_erase(chip, 2), A71CH_OK);
    assert_int_equal(a71ch_pub_verify(chip, 1, hash, sig, 8, &valid), A71CH_OK);
    assert_int_equal(valid, 1);
    assert_int_equal(a71ch_pub_verify(chip, 1, hash, sig, 8, &valid), A71CH_OK);
    assert_int_equal(valid, 0);
    assert_int_equal(a71ch_verify_with_key(chip, point, hash, sig, 8, &valid), A71CH_OK);
    assert_int_equal(valid, 1);
    assert_int_equal(a71ch_verify_with_key(chip, point, hash, sig, 8, &valid), A71CH_ERR_RESPONSE);
    assert_says(chip, "with 03 instead of 01 or 02");
    assert_int_equal(a71ch_verify_with_key(chip, point, hash, sig, 73, &valid), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_verify(chip, 1, hash, sig, 7, &valid), A71CH_ERR_ARG);
    finish(&s, chip);
}

static void
counter_and_storage_commands_are_as_specified(void **state)
{
    char piece[2 * 239 + 5];
    char write_first[10 + 2 * 239 + 3];
    uint8_t data[241];

    (void)state;
    memset(piece, 'C', 2 * 239);
    memcpy(&piece[2 * 239], "9000", 5);
    memcpy(write_first, "80720001EF", 10);
    memset(&write_first[10], 'D', 2 * 239);
    memcpy(&write_first[10 + 2 * 239], "00", 3);
    memset(data, 0xdd, sizeof data);
    OPEN(s, chip, OPENED, { "80 61 01 00 00", "01020304 9000", APDU },
        { "80 71 0F 00 02 00 EF 00", piece, APDU },
        { "80 71 0F EF 02 00 02 00", "0506 9000", APDU }, { write_first, "9000", APDU },
        { "80 72 00 F0 02 DD DD 00", "6986", APDU });
    uint32_t value = 0;
    uint8_t out[241];

    assert_int_equal(a71ch_counter_get(chip, 1, &value), A71CH_OK);
    assert_int_equal(value, 0x01020304);
    assert_int_equal(a71ch_gp_read(chip, 0xf00, out, sizeof out), A71CH_OK);
    assert_int_equal(out[238], 0xcc);
    assert_int_equal(out[240], 6);
    assert_int_equal(a71ch_gp_write(chip, 1, data, sizeof data), A71CH_ERR_STATUS);
    assert_says(chip, "cannot write storage at offset 240: the chip answered 6986 (not allowed");
    assert_int_equal(a71ch_gp_read(chip, 0xffff, out, 2), A71CH_ERR_ARG);
    assert_int_equal(a71ch_gp_write(chip, 0x10001, out, 0), A71CH_ERR_ARG);
    finish(&s, chip);
}

static void
index_out_of_range_sends_nothing(void **state)
{
    OPEN(s, chip, OPENED);
    uint8_t b[72] = { 0 };
    size_t len = 0;
    int valid;
    uint32_t value;

    (void)state;
    assert_int_equal(a71ch_pair_generate(chip, 4), A71CH_ERR_ARG);
    assert_says(chip, "there is no key pair 4; the chip has 0 to 3");
    assert_int_equal(a71ch_status_word(chip), 0);
    assert_int_equal(a71ch_pair_set(chip, 256, b, b, 32), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pair_get_public(chip, 4, b), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pair_erase(chip, 4), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pair_sign(chip, 4, b, b, &len), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pair_ecdh(chip, 4, b, b), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_set(chip, 3, b, 65), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_get(chip, 3, b), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_erase(chip, 3), A71CH_ERR_ARG);
    assert_int_equal(a71ch_pub_verify(chip, 3, b, b, 8, &valid), A71CH_ERR_ARG);
    assert_int_equal(a71ch_counter_get(chip, 2, &value), A71CH_ERR_ARG);
    assert_says(chip, "there is no counter 2; the chip has 0 to 1");
    finish(&s, chip);
}

/* answers that are not what they must be */

static void
chip_refusal_gives_status_word_and_goes_on(void **state)
{
    OPEN(s, chip, OPENED, { "80 15 00 00 20" BYTES32 "00", "6985", APDU },
        { "80 94 00 EA 00", "9000", APDU });
    uint8_t hash[32];
    uint8_t sig[A71CH_SIGNATURE_MAX] = { 0x5a };
    size_t len = 77;

    (void)state;
    (void)from_hex(BYTES32, hash, sizeof hash);
    assert_int_equal(a71ch_pair_sign(chip, 0, hash, sig, &len), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(chip), 0x6985);
    assert_says(chip, "cannot sign with key pair 0: the chip answered 6985 (conditions of use: the "
                      "slot is empty");
    assert_int_equal(len, 77);
    assert_int_equal(sig[0], 0x5a);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    assert_string_equal(a71ch_message(chip), "");
    finish(&s, chip);
}

static void
answer_of_wrong_form_is_refused_and_the_link_goes_on(void **state)
{
    OPEN(s, chip, OPENED, { "80 94 00 EA 00", "", APDU }, { "80 94 00 EA 00", "90", APDU },
        { "80 94 00 EA 00", "00 9000", APDU }, { "80 11 00 00 00", BYTES32 "9000", APDU },
        { "80 11 00 00 00", BYTES32 BYTES32 "00 9000", APDU },
        { "80 15 00 00 20" BYTES32 "00", "3006 020100 020101 9000", APDU },
        { "80 15 00 00 20" BYTES32 "00", "9000", APDU },
        { "80 17 00 00 41" POINT "00", BYTES32 "00 9000", APDU },
        { "80 61 00 00 00", "000001 9000", APDU }, { "80 94 00 EA 00", "9000", APDU });
    uint8_t hash[A71CH_HASH_LEN];
    uint8_t out[A71CH_SIGNATURE_MAX];
    uint8_t peer[A71CH_POINT_LEN];
    size_t len = 0;
    uint32_t value;

    (void)state;
    (void)from_hex(BYTES32, hash, sizeof hash);
    (void)from_hex(POINT, peer, sizeof peer);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_RESPONSE);
    assert_says(chip, "answered with 0 bytes where at least a status word");
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_RESPONSE);
    assert_says(chip, "answered with 1 bytes");
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_RESPONSE);
    assert_says(chip, "cannot reset the chip: the chip answered with 1 bytes of data instead of 0");
    assert_int_equal(a71ch_pair_get_public(chip, 0, out), A71CH_ERR_RESPONSE);
    assert_says(chip, "with 32 bytes of data instead of 65");
    assert_int_equal(a71ch_pair_get_public(chip, 0, out), A71CH_ERR_RESPONSE);
    assert_says(chip, "something else than an uncompressed point");
    assert_int_equal(a71ch_pair_sign(chip, 0, hash, out, &len), A71CH_ERR_RESPONSE);
    assert_says(chip, "8 bytes that are no ECDSA signature");
    assert_int_equal(a71ch_pair_sign(chip, 0, hash, out, &len), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_pair_ecdh(chip, 0, peer, out), A71CH_ERR_RESPONSE);
    assert_says(chip, "33 bytes of data instead of 32");
    assert_int_equal(a71ch_counter_get(chip, 0, &value), A71CH_ERR_RESPONSE);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    finish(&s, chip);
}

static void
answer_longer_than_an_apdu_is_refused_and_the_link_goes_on(void **state)
{
    char longest[2 * 258 + 1];
    char longer[2 * 259 + 1];
    uint8_t out[A71CH_APDU_RSP_MAX];
    const uint8_t cmd[] = { 0x80, 0xfe, 0, 0 };
    size_t len = sizeof out;

    (void)state;
    memset(longest, '9', 2 * 258);
    longest[2 * 258] = '\0';
    memset(longer, '9', 2 * 259);
    longer[2 * 259] = '\0';
    OPEN(s, chip, OPENED, { "80 FE 00 00", longest, APDU }, { "80 FE 00 00", longer, APDU },
        { "80 FE 00 00", "9000", APDU });
    assert_int_equal(a71ch_transceive(chip, cmd, 4, out, &len), A71CH_OK);
    assert_int_equal(len, 258);
    assert_int_equal(a71ch_transceive(chip, cmd, 4, out, &len), A71CH_ERR_RESPONSE);
    assert_says(chip, "259 bytes, more than the 258");
    assert_int_equal(a71ch_transceive(chip, cmd, 4, out, &len), A71CH_OK);
    assert_int_equal(len, 2);
    finish(&s, chip);
}

/* One exchange goes wrong in the link: the result, what it says, and that the handle stays shut. */
static void
link_breaks(struct step bad, unsigned answer_ms, a71ch_result want, const char *says)
{
    const struct step steps[] = { OPENED, bad };
    struct server s = { 0 };
    a71ch *chip = NULL;

    assert_int_equal(open_with(&s, steps, 3, &chip), A71CH_OK);
    chip->answer_timeout_ms = answer_ms; /* short only for what is meant to time out */
    assert_int_equal(a71ch_debug_reset(chip), want);
    assert_says(chip, says);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO);
    assert_says(chip, "lost in an earlier call; close this handle and open it again");
    finish(&s, chip);
}

static void
broken_link_is_reported_and_stays_shut(void **state)
{
    const char *reset = "80 94 00 EA 00";

    (void)state;
    link_breaks((struct step){ reset, "", HANG_UP }, 10000, A71CH_ERR_IO, "closed the connection");
    link_breaks((struct step){ reset, "01 00 00", HANG_UP }, 10000, A71CH_ERR_IO,
        "in the middle of an exchange");
    link_breaks((struct step){ reset, "01 00 00 02 90", HANG_UP }, 10000, A71CH_ERR_IO,
        "in the middle of an exchange");
    link_breaks((struct step){ reset, "01 00 01 3D", RAW }, 10000, A71CH_ERR_RESPONSE,
        "longer than 316 bytes");
    link_breaks((struct step){ reset, "01 00 FF FF 90 00", RAW }, 10000, A71CH_ERR_RESPONSE,
        "longer than 316 bytes");
    link_breaks((struct step){ reset, "03 00 00 07 6E 6F 20 63 61 72 64", RAW }, 10000,
        A71CH_ERR_RESPONSE, "an error message: 'no card'");
    link_breaks((struct step){ reset, "03 00 00 02 1B 41", RAW }, 10000, A71CH_ERR_RESPONSE,
        "an error message: '.A'");
}

static void
slow_answer_ends_at_the_deadline(void **state)
{
    const char *reset = "80 94 00 EA 00";

    (void)state;
    link_breaks(
        (struct step){ reset, "", RAW }, 50, A71CH_ERR_TIMEOUT, "gave no answer within 50 ms");
    link_breaks((struct step){ reset, "01 00", RAW }, 50, A71CH_ERR_TIMEOUT, "no answer within");
    link_breaks(
        (struct step){ reset, "01 00 00 02 90", RAW }, 50, A71CH_ERR_TIMEOUT, "no answer within");
}

static void
bytes_not_asked_for_are_noticed(void **state)
{
    OPEN(s, chip, OPENED, { "80 94 00 EA 00", "01 00 00 02 90 00 01 00 00 02 69 85", RAW });

    (void)state;
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_RESPONSE);
    assert_says(chip, "sent bytes that were not asked for");
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO);
    finish(&s, chip);
}

static void
writing_to_a_closed_connection_raises_no_signal(void **state)
{
    OPEN(s, chip, OPENED, { "80 94 00 EA 00", "9000", GOODBYE });

    (void)state;
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    (void)pthread_join(s.thread, NULL); /* the server has closed now */
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO);
    assert_says(chip, "closed the connection");
    a71ch_close(chip);
    clean_up(&s);
}

static void
writing_to_a_deaf_server_raises_no_signal(void **state)
{
    const struct step steps[] = { OPENED, { "80 94 00 EA 00", "9000", DEAF } };
    struct server s = { 0 };
    a71ch *chip = NULL;

    (void)state;
    listen_unix(&s);
    start_serving(&s, steps, 3);
    (void)pthread_mutex_lock(&s.hold);
    assert_int_equal(a71ch_open(s.address, NULL, &chip), A71CH_OK);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_ERR_IO); /* EPIPE, and no SIGPIPE */
    assert_int_equal(a71ch_errno(chip), EPIPE);
    assert_says(chip, "closed the connection in the middle of an exchange");
    (void)pthread_mutex_unlock(&s.hold);
    finish(&s, chip);
}

static void
closing_ends_the_session_though_a_child_holds_the_descriptor(void **state)
{
    OPEN(s, chip, OPENED);
    struct timespec deadline;
    int release[2];
    char byte;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(release), 0);
    child = fork();
    if (child == 0) {
        (void)close(release[1]);
        _exit(read(release[0], &byte, 1) == 0 ? 0 : 1);
    }
    a71ch_close(chip);
    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(s.thread, NULL, &deadline), 0);
    (void)close(release[0]);
    (void)close(release[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    clean_up(&s);
    assert_string_equal(s.complaint, "");
}

static void
answer_in_single_bytes_is_put_together(void **state)
{
    OPEN(s, chip, OPENED, { "80 61 00 00 00", "01 00 00 06 00 00 00 2A 90 00", PIECES },
        { "80 61 00 00 00", "01 00 00 06 00 00 00 2B 90 00", PIECES });
    uint32_t value = 0;

    (void)state;
    assert_int_equal(a71ch_counter_get(chip, 0, &value), A71CH_OK);
    assert_int_equal(value, 42);
    assert_int_equal(a71ch_counter_get(chip, 0, &value), A71CH_OK);
    assert_int_equal(value, 43);
    finish(&s, chip);
}

static void
on_signal(int signo)
{
    (void)signo;
}

static void
signals_do_not_disturb_an_exchange(void **state)
{
    struct sigaction act = { .sa_handler = on_signal }; /* no SA_RESTART: calls give EINTR */
    struct sigaction before;

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &act, &before), 0);
    OPEN(s, chip, OPENED, { "80 94 00 EA 00", "9000", SIGNALS },
        { "80 94 00 EA 00", "9000", SIGNALS });
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    finish(&s, chip);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

static void
raw_apdu_takes_any_status_word(void **state)
{
    OPEN(s, chip, OPENED, { "80 6F 00 00 00", "6D00", APDU }, { "80 91 00 01", "0102 9000", APDU });
    const uint8_t bad[] = { 0x80, 0x6f, 0, 0, 0 };
    const uint8_t uid[] = { 0x80, 0x91, 0, 1 };
    uint8_t big[262] = { 0x80 };
    uint8_t out[A71CH_APDU_RSP_MAX] = { 0 };
    size_t len = sizeof out;

    (void)state;
    assert_int_equal(a71ch_transceive(chip, bad, sizeof bad, out, &len), A71CH_OK);
    assert_bytes(out, len, "6D00");
    assert_int_equal(a71ch_status_word(chip), 0x6d00);
    len = 3;
    assert_int_equal(a71ch_transceive(chip, uid, sizeof uid, out, &len), A71CH_ERR_SPACE);
    assert_says(chip, "has 4 bytes, the buffer holds 3");
    assert_int_equal(len, 3);
    len = sizeof out;
    assert_int_equal(a71ch_transceive(chip, bad, 3, out, &len), A71CH_ERR_ARG);
    assert_int_equal(a71ch_transceive(chip, big, sizeof big, out, &len), A71CH_ERR_ARG);
    assert_says(chip, "4 to 261 bytes, not 262");
    finish(&s, chip);
}

static void
two_chips_in_one_process_do_not_mix(void **state)
{
    const struct step one[] = { OPENED, { "80 61 00 00 00", "00000001 9000", APDU } };
    const struct step two[] = { OPENED, { "80 61 00 00 00", "6985", APDU } };
    struct server s1 = { 0 };
    struct server s2 = { 0 };
    a71ch *a = NULL;
    a71ch *b = NULL;
    uint32_t value = 0;

    (void)state;
    assert_int_equal(open_with(&s1, one, 3, &a), A71CH_OK);
    assert_int_equal(open_with(&s2, two, 3, &b), A71CH_OK);
    assert_int_equal(a71ch_counter_get(b, 0, &value), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_counter_get(a, 0, &value), A71CH_OK);
    assert_int_equal(value, 1);
    assert_int_equal(a71ch_status_word(b), 0x6985);
    assert_string_equal(a71ch_message(a), "");
    finish(&s1, a);
    finish(&s2, b);
}

static void
abandoning_in_a_child_leaves_the_parent_connected(void **state)
{
    OPEN(s, chip, OPENED, { "80 94 00 EA 00", "9000", APDU });
    pid_t child = fork();
    int status = -1;

    (void)state;
    if (child == 0) {
        a71ch_abandon(chip);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(a71ch_debug_reset(chip), A71CH_OK);
    finish(&s, chip);
}

static void
every_result_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(a71ch_result_name(A71CH_OK), "A71CH_OK");
    for (int r = A71CH_ERR_ARG; r >= A71CH_ERR_MEMORY; r--)
        assert_int_equal(strncmp(a71ch_result_name((a71ch_result)r), "A71CH_ERR_", 10), 0);
    assert_string_equal(a71ch_result_name((a71ch_result)-99), "A71CH_ERR_UNKNOWN");
    assert_string_equal(a71ch_version(), A71CH_VERSION_STRING);
    a71ch_close(NULL);
    a71ch_abandon(NULL);
}

/* leases */

#define LEASE "6C 65 61 73 65 00 35 30 30 00 32 30 30 30 00" /* lease 500 2000 */
#define RELEASE ":07 00 00 08 72 65 6C 65 61 73 65 00"
#define GRANTED "07 00 00 02 7B 7D"

static void
lease_is_asked_for_once_and_released_once(void **state)
{
    OPEN(s, chip, OPENED, { ":07 00 00 0F" LEASE, GRANTED, RAW }, { RELEASE, GRANTED, RAW });

    (void)state;
    assert_int_equal(a71ch_lease(chip, 500, 2000), A71CH_OK);
    assert_int_equal(a71ch_lease(chip, 0, 0), A71CH_OK);
    assert_int_equal(a71ch_release(chip), A71CH_OK);
    assert_int_equal(a71ch_release(chip), A71CH_OK);
    assert_int_equal(a71ch_release(chip), A71CH_ERR_ARG);
    assert_int_equal(a71ch_lease(chip, 60001, 0), A71CH_ERR_ARG);
    finish(&s, chip);
}

static void
lease_that_is_refused_says_what_the_server_says(void **state)
{
    OPEN(s, chip, OPENED, { ":07 00 00 0F" LEASE, "07 02 00 05 6E 6F 0A 6E 6F", RAW },
        { ":07 00 00 0F" LEASE, GRANTED, RAW }, { RELEASE, "07 02 00 04 6C 6F 73 74", RAW });

    (void)state;
    assert_int_equal(a71ch_lease(chip, 500, 2000), A71CH_ERR_BUSY);
    assert_says(chip, "no.no");
    assert_int_equal(a71ch_lease(chip, 500, 2000), A71CH_OK);
    assert_int_equal(a71ch_release(chip), A71CH_ERR_BUSY);
    assert_says(chip, "lost");
    finish(&s, chip);
}

/* A server of others answers message 07 empty, and is not asked again. */
static void
server_without_leases_is_known_by_its_empty_answer(void **state)
{
    OPEN(s, chip, OPENED, { ":07 00 00 0F" LEASE, "07 00 00 00", RAW });

    (void)state;
    assert_int_equal(a71ch_lease(chip, 500, 2000), A71CH_ERR_UNSUPPORTED);
    assert_says(chip, "knows no leases");
    assert_int_equal(a71ch_lease(chip, 500, 2000), A71CH_ERR_UNSUPPORTED);
    assert_int_equal(a71ch_release(chip), A71CH_ERR_ARG);
    finish(&s, chip);
}

static a71ch_result
ask_for_info(a71ch *chip, void *info)
{
    return a71ch_get_module_info(chip, info);
}

/* Between lease and release; the sentence is that of what failed. */
static void
sequence_that_fails_is_released(void **state)
{
    OPEN(s, chip, OPENED,
        { ":07 00 00 12 6C 65 61 73 65 00 31 30 30 30 30 00 31 30 30 30 30 00", GRANTED, RAW },
        { "80 91 00 03 00", "6985", APDU }, { RELEASE, GRANTED, RAW });
    a71ch_module_info info;

    (void)state;
    assert_int_equal(a71ch_sequence(chip, ask_for_info, &info), A71CH_ERR_STATUS);
    assert_int_equal(a71ch_status_word(chip), 0x6985);
    assert_says(chip, "module info");
    finish(&s, chip);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_forms_have_one_normal_form),
        cmocka_unit_test(ipv6_literal_loses_its_brackets),
        cmocka_unit_test(i2c_address_has_device_and_chip),
        cmocka_unit_test(bad_address_is_refused_with_its_cure),
        cmocka_unit_test(over_long_address_is_refused),
        cmocka_unit_test(environment_is_asked_in_its_order),
        cmocka_unit_test(signature_becomes_strict_der),
        cmocka_unit_test(what_is_no_signature_is_refused),
        cmocka_unit_test(every_prefix_of_a_signature_is_refused),
        cmocka_unit_test(signature_without_room_changes_nothing),
        cmocka_unit_test(open_powers_up_and_selects),
        cmocka_unit_test(open_over_tcp_works_as_over_unix),
        cmocka_unit_test(open_without_listener_names_address_and_cure),
        cmocka_unit_test(open_of_bad_address_says_so_without_traffic),
        cmocka_unit_test(open_takes_address_from_environment),
        cmocka_unit_test(open_refuses_what_is_no_chip),
        cmocka_unit_test(open_without_applet_gives_its_status_word),
        cmocka_unit_test(open_gives_up_on_a_full_queue),
        cmocka_unit_test(module_info_is_read_by_nibble),
        cmocka_unit_test(unique_id_and_certificate_uid_match_the_sample),
        cmocka_unit_test(credential_map_keeps_its_length),
        cmocka_unit_test(long_random_takes_several_commands),
        cmocka_unit_test(hash_in_the_chip_matches_the_worked_example),
        cmocka_unit_test(pair_commands_are_as_specified),
        cmocka_unit_test(signature_comes_out_strict),
        cmocka_unit_test(public_key_commands_are_as_specified),
        cmocka_unit_test(counter_and_storage_commands_are_as_specified),
        cmocka_unit_test(index_out_of_range_sends_nothing),
        cmocka_unit_test(chip_refusal_gives_status_word_and_goes_on),
        cmocka_unit_test(answer_of_wrong_form_is_refused_and_the_link_goes_on),
        cmocka_unit_test(answer_longer_than_an_apdu_is_refused_and_the_link_goes_on),
        cmocka_unit_test(broken_link_is_reported_and_stays_shut),
        cmocka_unit_test(slow_answer_ends_at_the_deadline),
        cmocka_unit_test(bytes_not_asked_for_are_noticed),
        cmocka_unit_test(writing_to_a_closed_connection_raises_no_signal),
        cmocka_unit_test(writing_to_a_deaf_server_raises_no_signal),
        cmocka_unit_test(closing_ends_the_session_though_a_child_holds_the_descriptor),
        cmocka_unit_test(answer_in_single_bytes_is_put_together),
        cmocka_unit_test(signals_do_not_disturb_an_exchange),
        cmocka_unit_test(raw_apdu_takes_any_status_word),
        cmocka_unit_test(two_chips_in_one_process_do_not_mix),
        cmocka_unit_test(abandoning_in_a_child_leaves_the_parent_connected),
        cmocka_unit_test(lease_is_asked_for_once_and_released_once),
        cmocka_unit_test(lease_that_is_refused_says_what_the_server_says),
        cmocka_unit_test(server_without_leases_is_known_by_its_empty_answer),
        cmocka_unit_test(sequence_that_fails_is_released),
        cmocka_unit_test(every_result_has_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
