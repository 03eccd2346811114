/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chip on memory for unit tests, and commands written as hex, as SPEC a71ch 2 writes them.
 * Include it after cmocka.h.
 */
#ifndef BM_TESTS_CHIP_BENCH_H
#define BM_TESTS_CHIP_BENCH_H

#include "chip/chip.h"
#include "chip/nvm.h"

#include <stdlib.h>
#include <string.h>

#define SELECT "00a4040005613731636800"

/* A chip on memory, selected. */
struct bench {
    struct nvm_mem mem;
    struct chip *chip;
    uint8_t rsp[APDU_RSP_MAX];
    struct span data; /* of the last response */
};

static inline uint16_t
run_bytes(struct bench *b, struct span cmd)
{
    size_t len = chip_apdu(b->chip, cmd, b->rsp);
    uint16_t sw = 0;

    assert_int_equal(apdu_split(span_of(b->rsp, len), &b->data, &sw), BM_OK);
    return sw;
}

static inline uint16_t
run(struct bench *b, const char *hex)
{
    uint8_t cmd[APDU_CMD_MAX + 8];
    size_t len = strlen(hex) / 2;

    assert_true(len <= sizeof cmd);
    assert_int_equal(hex_decode(cmd, len, span_str(hex)), BM_OK);
    return run_bytes(b, span_of(cmd, len));
}

/* Run and compare status word and data. */
static inline void
expect(struct bench *b, const char *hex, unsigned sw, const char *data)
{
    char got[2 * APDU_RSP_MAX + 1];

    assert_int_equal(run(b, hex), sw);
    hex_encode(got, b->data.ptr, b->data.len);
    assert_string_equal(got, data);
}

static inline void
reopen(struct bench *b)
{
    struct bm_msg msg = { "" };

    chip_close(b->chip);
    b->chip = NULL;
    if (chip_open_store(nvm_store_mem(&b->mem), &b->chip, &msg) != BM_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(run(b, SELECT), SW_OK);
}

static inline int
setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    if (b == NULL)
        return -1;
    reopen(b);
    *state = b;
    return 0;
}

static inline int
teardown(void **state)
{
    struct bench *b = *state;

    chip_close(b->chip);
    buf_fini(&b->mem.bytes);
    free(b);
    return 0;
}

#endif
