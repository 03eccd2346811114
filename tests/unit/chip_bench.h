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

/* Are these bytes somewhere in what the file seals? In its clear they are found by memmem. */
static inline bool
sealed_holds(const struct nvm_mem *mem, const void *what, size_t len)
{
    struct rd r = rd_of(buf_span(&mem->bytes));
    struct span bound = rd_span(&r, NVM_SNAPSHOT_HEADER);
    struct rd header = rd_of(bound);
    struct span tag = { 0 };
    struct seal seal;
    bool found = false;
    size_t plain_len;

    assert_int_equal(seal_init(&seal, NULL, mem->key), BM_OK);
    (void)rd_span(&header, 12);
    plain_len = rd_u32(&header);
    while (rd_left(&r) > 0) {
        uint8_t all[SEAL_TAG_LEN + NVM_RECORD_HEADER];
        struct wr w = wr_of(all, sizeof all);
        struct span sealed;
        uint8_t *plain;

        if (tag.len > 0) { /* a record; before it was the snapshot */
            wr_span(&w, tag);
            wr_span(&w, rd_span(&r, NVM_RECORD_HEADER));
            bound = SPAN(all);
            plain_len = (size_t)all[sizeof all - 2] << 8 | all[sizeof all - 1];
        }
        sealed = rd_span(&r, plain_len + SEAL_EXTRA);
        assert_false(r.failed);
        plain = malloc(plain_len);
        assert_non_null(plain);
        assert_int_equal(seal_open(&seal, bound, sealed, plain), BM_OK);
        found = found || memmem(plain, plain_len, what, len) != NULL;
        free(plain);
        if (tag.len == 0)
            tag = span_of(&sealed.ptr[sealed.len - SEAL_TAG_LEN], SEAL_TAG_LEN);
    }
    seal_fini(&seal);
    return found;
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
