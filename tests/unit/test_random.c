/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of random numbers from the chip: the mixture itself, with an operating system whose
 * randomness is known, and A71CH-SEED under OpenSSL's generators, over a real a71chd.
 */
#include "openssl/core/random.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "chip_daemon.h"

enum { LEN = 600 }; /* three commands */

/* In place of libc's, for this program and its static libraries; the provider's module has its own
 * way to it as well and meets this one. */
static bool system_is_known;

ssize_t getrandom(void *out, size_t len, unsigned flags);

ssize_t
getrandom(void *out, size_t len, unsigned flags)
{
    uint8_t *p = out;
    FILE *f;
    size_t n;

    (void)flags;
    if (system_is_known) {
        memset(p, 0x5A, len < 100 ? len : 100); /* in parts, as the real one may */
        return (ssize_t)(len < 100 ? len : 100);
    }
    f = fopen("/dev/urandom", "r");
    n = f != NULL ? fread(p, 1, len, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    return (ssize_t)n;
}

struct world {
    char dir[64];
    char address[96];
    pid_t daemon;
    struct mixed_random r;
    uint8_t plain[LEN]; /* what the system alone gives */
};

static int
set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/bm-random-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "unix:%s/sock", w->dir);
    w->daemon = chip_daemon_start(w->dir, w->address);
    w->r.chip = shared_chip_new(w->address);
    memset(w->plain, 0x5A, sizeof w->plain);
    system_is_known = true;
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    shared_chip_free(w->r.chip);
    chip_daemon_stop(&w->daemon);
    assert_int_equal(dir_remove(w->dir, NULL), BM_OK);
    free(w);
    return 0;
}

/* No stretch of 16 bytes is the system's: each was mixed. */
static void
assert_mixed(const uint8_t *bytes)
{
    static const uint8_t plain[16] = { 0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A,
        0x5A, 0x5A, 0x5A, 0x5A, 0x5A, 0x5A };

    for (size_t i = 0; i + sizeof plain <= LEN; i++)
        assert_memory_not_equal(bytes + i, plain, sizeof plain);
}

static void
chip_and_system_are_mixed_in_every_byte(void **state)
{
    struct world *w = *state;
    uint8_t first[LEN];
    uint8_t second[LEN];
    struct bm_msg msg;

    assert_int_equal(mixed_random_fill(&w->r, first, LEN, &msg), BM_OK);
    assert_int_equal(mixed_random_fill(&w->r, second, LEN, &msg), BM_OK);
    assert_mixed(first);
    assert_mixed(second);
    assert_memory_not_equal(first, second, LEN);
}

static void
without_the_chip_the_system_gives_all(void **state)
{
    struct world *w = *state;
    uint8_t bytes[LEN] = { 0 };
    struct bm_msg msg;

    chip_daemon_stop(&w->daemon);
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_OK);
    assert_memory_equal(bytes, w->plain, LEN);
}

static void
strict_gives_nothing_without_the_chip(void **state)
{
    struct world *w = *state;
    uint8_t bytes[LEN];
    uint8_t zeros[LEN] = { 0 };
    struct bm_msg msg = { "" };

    memset(bytes, 1, LEN);
    chip_daemon_stop(&w->daemon);
    atomic_store(&w->r.strict, true);
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_ERR_IO);
    assert_non_null(strstr(msg.text, w->dir));
    assert_memory_equal(bytes, zeros, LEN);
    /* and is not kept from the chip by the failure */
    w->daemon = chip_daemon_start(w->dir, w->address);
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_OK);
    assert_mixed(bytes);
}

static void
after_a_failure_the_chip_rests(void **state)
{
    struct world *w = *state;
    uint8_t bytes[LEN];
    struct bm_msg msg;

    chip_daemon_stop(&w->daemon);
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_OK);
    assert_true(atomic_load(&w->r.retry_at) > clock_mono_ms());
    w->daemon = chip_daemon_start(w->dir, w->address);
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_OK);
    assert_memory_equal(bytes, w->plain, LEN); /* not asked */
    atomic_store(&w->r.retry_at, clock_mono_ms());
    assert_int_equal(mixed_random_fill(&w->r, bytes, LEN, &msg), BM_OK);
    assert_mixed(bytes);
}

static void
a_child_draws_by_itself(void **state)
{
    struct world *w = *state;
    uint8_t mine[LEN];
    uint8_t childs[LEN];
    struct bm_msg msg;
    int ends[2];
    int status;
    pid_t pid;

    assert_int_equal(mixed_random_fill(&w->r, mine, LEN, &msg), BM_OK);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool ok = mixed_random_fill(&w->r, childs, LEN, &msg) == BM_OK &&
                  write(ends[1], childs, LEN) == LEN;

        _exit(ok ? 0 : 1);
    }
    assert_int_equal(read(ends[0], childs, LEN), LEN);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(mixed_random_fill(&w->r, mine, LEN, &msg), BM_OK);
    assert_mixed(mine);
    assert_mixed(childs);
    assert_memory_not_equal(mine, childs, LEN);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A library context whose generators take their seed from the chip. */
static OSSL_LIB_CTX *
seeded_context(const struct world *w, const char *strict)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
    struct buf conf = { 0 };
    char path[128];

    assert_non_null(ctx);
    buf_addf(&conf,
        "openssl_conf = init\n[init]\nrandom = rnd\nproviders = provs\n"
        "[rnd]\nseed = A71CH-SEED\nseed_properties = provider=e2a71ch\n"
        "[provs]\ndefault = def\ne2a71ch = chip\n[def]\nactivate = 1\n[chip]\nmodule = %s\n"
        "activate = 1\naddress = %s\nstrict_random = %s\n",
        MODULE, w->address, strict);
    (void)snprintf(path, sizeof path, "%s/conf", w->dir);
    assert_int_equal(file_write(path, buf_span(&conf), 0600, NULL), BM_OK);
    buf_fini(&conf);
    assert_int_equal(OSSL_LIB_CTX_load_config(ctx, path), 1);
    return ctx;
}

static void
openssl_takes_one_seed_per_process(void **state)
{
    struct world *w = *state;
    OSSL_LIB_CTX *ctx = seeded_context(w, "1");
    uint8_t bytes[64];
    int status;
    long before;
    pid_t pid;

    system_is_known = false; /* OpenSSL asks it as well */
    before = chip_daemon_count(w->address, "commands");
    assert_int_equal(RAND_bytes_ex(ctx, bytes, sizeof bytes, 0), 1);
    assert_int_equal(chip_daemon_count(w->address, "commands"), before + 2); /* SELECT, random */
    for (int i = 0; i < 2000; i++)
        assert_int_equal(RAND_bytes_ex(ctx, bytes, sizeof bytes, 0), 1);
    assert_int_equal(RAND_priv_bytes_ex(ctx, bytes, sizeof bytes, 0), 1);
    assert_int_equal(chip_daemon_count(w->address, "commands"), before + 2);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) /* its own connection, its own seed */
        _exit(RAND_bytes_ex(ctx, bytes, sizeof bytes, 0) == 1 ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(chip_daemon_count(w->address, "commands"), before + 4);
    OSSL_LIB_CTX_free(ctx);
}

static void
openssl_goes_on_without_the_chip_unless_strict(void **state)
{
    struct world *w = *state;
    OSSL_LIB_CTX *lenient = seeded_context(w, "0");
    OSSL_LIB_CTX *strict = seeded_context(w, "1");
    uint8_t bytes[64];

    system_is_known = false;
    chip_daemon_stop(&w->daemon);
    assert_int_equal(RAND_bytes_ex(lenient, bytes, sizeof bytes, 0), 1);
    assert_int_not_equal(RAND_bytes_ex(strict, bytes, sizeof bytes, 0), 1);
    w->daemon = chip_daemon_start(w->dir, w->address);
    assert_int_equal(RAND_bytes_ex(strict, bytes, sizeof bytes, 0), 1);
    OSSL_LIB_CTX_free(lenient);
    OSSL_LIB_CTX_free(strict);
}

static void
the_seed_source_answers_as_openssl_asks(void **state)
{
    struct world *w = *state;
    OSSL_LIB_CTX *ctx = seeded_context(w, "0");
    EVP_RAND *rand = EVP_RAND_fetch(ctx, "A71CH-SEED", NULL);
    EVP_RAND_CTX *source;
    uint8_t bytes[LEN];

    assert_non_null(rand);
    source = EVP_RAND_CTX_new(rand, NULL);
    assert_non_null(source);
    assert_int_equal(EVP_RAND_get_state(source), EVP_RAND_STATE_UNINITIALISED);
    assert_int_not_equal(EVP_RAND_generate(source, bytes, LEN, 128, 0, NULL, 0), 1);
    assert_int_equal(EVP_RAND_instantiate(source, 256, 0, NULL, 0, NULL), 1);
    assert_int_equal(EVP_RAND_get_state(source), EVP_RAND_STATE_READY);
    assert_int_equal(EVP_RAND_get_strength(source), 256);
    assert_int_equal(EVP_RAND_generate(source, bytes, LEN, 256, 0, NULL, 0), 1);
    assert_mixed(bytes);
    assert_int_not_equal(EVP_RAND_generate(source, bytes, LEN, 512, 0, NULL, 0), 1);
    assert_int_equal(EVP_RAND_reseed(source, 0, NULL, 0, NULL, 0), 1);
    assert_int_equal(EVP_RAND_uninstantiate(source), 1);
    assert_int_not_equal(EVP_RAND_instantiate(source, 512, 0, NULL, 0, NULL), 1);
    EVP_RAND_CTX_free(source);
    EVP_RAND_free(rand);
    OSSL_LIB_CTX_free(ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chip_and_system_are_mixed_in_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_chip_the_system_gives_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strict_gives_nothing_without_the_chip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_failure_the_chip_rests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_draws_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(openssl_takes_one_seed_per_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            openssl_goes_on_without_the_chip_unless_strict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_seed_source_answers_as_openssl_asks, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
