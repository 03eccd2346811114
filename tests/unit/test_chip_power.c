/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts of the simulated chip: at every write and after every byte of it, over a long random
 * command sequence, and while the memory of an older build is taken over. What the next start finds
 * is compared as a whole image: before or after, never between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/file.h"
#include "chip/state.h"
#include "chip_bench.h"
#include "scp_host.h"

enum { COMMANDS = 120, FILES_SWEPT_WHOLE = 2, STEP_IN_FILES = 389 };

#define PRIV "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define PUB                                                                                        \
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                           \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define KEY "000102030405060708090a0b0c0d0e0f"

/*
 * Commands that write and have no randomness in them. %x is an index, %04x an offset. Those that
 * close a door for ever are missing, they would end the sequence; test_chip.c has them.
 */
static const char *const commands[] = {
    "80120%x0061" PRIV PUB "00",
    "80140%x0000",
    "80220%x0041" PUB "00",
    "80240%x0000",
    "80320%x0110" KEY "00",
    "80420%x0110" KEY "00",
    "80440%x0000",
    "80620%x0000",
    "80640%x0000",
    "8072%04x0400112233",
    "8072%04x10ffeeddccbbaa99887766554433221100",
    "8092000506666f6f62617200",
    SCP_PUT_KEY,
    "809400ea00",
};

struct sweep {
    OSSL_LIB_CTX *lib;
    uint32_t seed;
    unsigned cuts;
    unsigned files; /* writes that replaced the file */
};

static unsigned
dice(struct sweep *s, unsigned below)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 17;
    s->seed ^= s->seed << 5;
    return s->seed % below;
}

static void
copy_mem(struct nvm_mem *to, const struct nvm_mem *from)
{
    struct buf old = to->bytes;

    *to = *from;
    to->bytes = (struct buf){ 0 };
    buf_fini(&old);
    buf_add(&to->bytes, from->bytes.ptr, from->bytes.len);
    assert_false(to->bytes.failed);
}

static struct chip *
start(const struct sweep *s, struct nvm_mem *mem)
{
    struct bm_msg msg = { "" };
    struct chip *c;

    if (chip_open_store_shared(nvm_store_mem(mem), s->lib, &c, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    c->session.selected = true;
    return c;
}

/* The image that a start would find, without the counts; does not start a chip. */
static void
image_of(const struct nvm_mem *mem, uint8_t out[IMG_LEN])
{
    struct nvm_mem copy = { 0 };
    struct bm_msg msg = { "" };
    struct nvm *n;

    copy_mem(&copy, mem);
    if (nvm_open(nvm_store_mem(&copy), NULL, IMG_LEN, &n, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    memcpy(out, nvm_read(n, 0, IMG_LEN).ptr, IMG_LEN);
    memset(&out[IMG_STATS], 0, IMG_STATS_LEN);
    nvm_close(n);
    buf_fini(&copy.bytes);
}

static uint16_t
send(struct chip *c, struct span cmd)
{
    uint8_t rsp[APDU_RSP_MAX];
    size_t len = chip_apdu(c, cmd, rsp);

    return (uint16_t)(rsp[len - 2] << 8 | rsp[len - 1]);
}

/* Run the command on a copy of `base` that loses power. */
static void
cut_at(struct sweep *s, const struct nvm_mem *base, struct span cmd, size_t byte,
    const uint8_t before[IMG_LEN], const uint8_t after[IMG_LEN])
{
    struct nvm_mem mem = { 0 };
    uint8_t seen[IMG_LEN];
    struct chip *c;

    copy_mem(&mem, base);
    c = start(s, &mem);
    mem.cut = (struct nvm_cut){ .armed = true, .byte = byte };
    assert_int_equal(send(c, cmd), 0x6581); /* the client is never told 9000 */
    assert_true(mem.cut.off);
    chip_close(c);
    mem.cut = (struct nvm_cut){ 0 };
    image_of(&mem, seen);
    if (memcmp(seen, before, IMG_LEN) != 0)
        assert_memory_equal(seen, after, IMG_LEN);
    c = start(s, &mem); /* and it works: the state after is reached from wherever it is */
    if (memcmp(seen, before, IMG_LEN) == 0)
        assert_int_equal(send(c, cmd), SW_OK);
    chip_close(c);
    image_of(&mem, seen);
    assert_memory_equal(seen, after, IMG_LEN);
    buf_fini(&mem.bytes);
    s->cuts++;
}

static void
sweep_command(struct sweep *s, struct nvm_mem *mem, struct span cmd)
{
    struct nvm_mem base = { 0 };
    uint8_t before[IMG_LEN];
    uint8_t after[IMG_LEN];
    size_t len;
    size_t step = 1;
    struct chip *c;

    copy_mem(&base, mem);
    image_of(mem, before);
    c = start(s, mem);
    (void)send(c, cmd);
    len = mem->bytes.len;
    c->saved = c->stats; /* chip_close writes nothing */
    chip_close(c);
    if (span_eq(buf_span(&mem->bytes), buf_span(&base.bytes))) { /* nothing to erase, not allowed */
        buf_fini(&base.bytes);
        return;
    }
    image_of(mem, after);
    if (memcmp(mem->bytes.ptr, base.bytes.ptr, NVM_SNAPSHOT_HEADER + IMG_LEN) == 0)
        len -= base.bytes.len;
    else if (++s->files > FILES_SWEPT_WHOLE) /* before its rename no byte of a new file counts */
        step = STEP_IN_FILES;
    for (size_t byte = 0; byte < len; byte += step)
        cut_at(s, &base, cmd, byte, before, after);
    cut_at(s, &base, cmd, len, before, after); /* all there, but nobody was told */
    buf_fini(&base.bytes);
}

static void
a_cut_after_any_byte_of_any_write_leaves_before_or_after(void **state)
{
    struct sweep s = { .lib = OSSL_LIB_CTX_new(), .seed = 0xa71c4 };
    struct nvm_mem mem = { 0 };

    (void)state;
    chip_close(start(&s, &mem));
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *form = commands[dice(&s, sizeof commands / sizeof *commands)];
        const char *index = strchr(form, '%');
        uint8_t cmd[APDU_CMD_MAX];
        char hex[2 * APDU_CMD_MAX];
        int n;

        if (index == NULL)
            n = snprintf(hex, sizeof hex, "%s", form);
        else if (index[1] == 'x')
            n = snprintf(
                hex, sizeof hex, "%.*s%x%s", (int)(index - form), form, dice(&s, 2), index + 2);
        else
            n = snprintf(hex, sizeof hex, "%.*s%04x%s", (int)(index - form), form, dice(&s, 4000),
                index + 4);
        assert_int_equal(hex_decode(cmd, (size_t)n / 2, span_str(hex)), BM_OK);
        sweep_command(&s, &mem, span_of(cmd, (size_t)n / 2));
    }
    print_message("%u cuts\n", s.cuts);
    assert_true(s.files > FILES_SWEPT_WHOLE);
    assert_true(s.cuts > 10000);
    buf_fini(&mem.bytes);
    OSSL_LIB_CTX_free(s.lib);
}

static void
an_older_builds_memory_is_taken_over_whole_or_left_as_it_was(void **state)
{
    struct sweep s = { .lib = OSSL_LIB_CTX_new() };
    struct nvm_mem old = { 0 };
    struct nvm_mem now = { 0 };
    uint8_t want[IMG_LEN];
    uint8_t seen[IMG_LEN];

    (void)state;
    assert_int_equal(
        file_read(SOURCE_DIR "/tests/vectors/chip/first-light/nvm", NVM_FILE_MAX, &old.bytes, NULL),
        BM_OK);
    image_of(&old, want);
    for (unsigned write = 0; write < 2; write++) { /* the file key, then the sealed memory */
        size_t len = write == 0 ? SEAL_KEY_LEN : NVM_SNAPSHOT_HEADER + IMG_LEN + SEAL_EXTRA;

        for (size_t byte = 0; byte <= len; byte++) {
            struct chip *c;

            copy_mem(&now, &old);
            now.cut = (struct nvm_cut){ .armed = true, .write = write, .byte = byte };
            assert_int_equal(
                chip_open_store_shared(nvm_store_mem(&now), s.lib, &c, NULL), BM_ERR_IO);
            assert_true(now.cut.off);
            now.cut = (struct nvm_cut){ 0 };
            image_of(&now, seen);
            assert_memory_equal(seen, want, IMG_LEN);
        }
    }
    chip_close(start(&s, &now));
    assert_int_equal(now.bytes.ptr[9], NVM_VERSION);
    assert_null(memmem(now.bytes.ptr, now.bytes.len, &want[IMG_GP], 64));
    image_of(&now, seen);
    assert_memory_equal(seen, want, IMG_LEN);
    buf_fini(&old.bytes);
    buf_fini(&now.bytes);
    OSSL_LIB_CTX_free(s.lib);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_after_any_byte_of_any_write_leaves_before_or_after),
        cmocka_unit_test(an_older_builds_memory_is_taken_over_whole_or_left_as_it_was),
    };

    return cmocka_run_group_tests_name("chip_power", tests, NULL, NULL);
}
