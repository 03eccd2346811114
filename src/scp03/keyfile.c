/* SPDX-License-Identifier: Apache-2.0 */
/* See keyfile.h. */
#include "scp03/keyfile.h"

#include <string.h>

enum { KEYS = 3 };
static const char *const names[KEYS] = { "ENC", "MAC", "DEK" };

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\r';
}

/* Up to the next blank or comment. */
static struct span
take_word(struct rd *line)
{
    struct rd r = *line;
    size_t len = 0;

    while (rd_left(&r) > 0 && is_blank(*r.pos))
        (void)rd_u8(&r);
    *line = r;
    while (rd_left(&r) > 0 && !is_blank(*r.pos) && *r.pos != '#') {
        (void)rd_u8(&r);
        len++;
    }
    return rd_span(line, len);
}

static enum bm_err
parse_line(struct rd line, unsigned number, uint8_t *const slots[KEYS], bool seen[KEYS],
    struct bm_msg *msg)
{
    struct span name = take_word(&line);
    size_t which = 0;
    struct span digits;
    struct span rest;

    if (name.len == 0 && rd_left(&line) > 0)
        return BM_OK; /* a comment */
    if (name.len == 0)
        return bm_fail(msg, BM_ERR_INPUT,
            "line %u of the key file is empty; remove it, or start it with #", number);
    while (which < KEYS && !span_eq(name, span_str(names[which])))
        which++;
    if (which == KEYS)
        return bm_fail(msg, BM_ERR_INPUT,
            "line %u of the key file does not start with ENC, MAC or DEK and a space (a tab is "
            "none)",
            number);
    if (seen[which])
        return bm_fail(msg, BM_ERR_INPUT, "line %u of the key file gives %s a second time", number,
            names[which]);
    digits = take_word(&line);
    if (digits.len != 2 * SCP03_KEY_LEN || hex_decode(slots[which], SCP03_KEY_LEN, digits) != BM_OK)
        return bm_fail(msg, BM_ERR_INPUT,
            "line %u of the key file: %s must be followed by 32 hex digits", number, names[which]);
    rest = take_word(&line);
    if (rest.len > 0)
        return bm_fail(msg, BM_ERR_INPUT, "line %u of the key file goes on behind the key", number);
    seen[which] = true;
    return BM_OK;
}

enum bm_err
scp03_keyfile_parse(struct span text, struct scp03_keys *keys, struct bm_msg *msg)
{
    uint8_t *const slots[KEYS] = { keys->enc, keys->mac, keys->dek };
    bool seen[KEYS] = { false };
    struct rd r = rd_of(text);
    enum bm_err err = BM_OK;

    for (unsigned number = 1; err == BM_OK && rd_left(&r) > 0; number++) {
        const uint8_t *end = memchr(r.pos, '\n', rd_left(&r));
        size_t len = end != NULL ? (size_t)(end - r.pos) : rd_left(&r);

        err = parse_line(rd_of(rd_span(&r, len)), number, slots, seen, msg);
        if (end != NULL)
            (void)rd_u8(&r);
    }
    for (size_t i = 0; err == BM_OK && i < KEYS; i++) {
        if (!seen[i])
            err = bm_fail(msg, BM_ERR_INPUT, "the key file has no line for %s", names[i]);
    }
    if (err != BM_OK)
        bm_wipe(keys, sizeof *keys);
    return err;
}
