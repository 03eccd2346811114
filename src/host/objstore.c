/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See objstore.h. One command changes storage whole or not at all, and a table of up to 37 entries
 * fits one command. A longer one takes several, which keep every entry visible at any moment, one
 * of them twice.
 */
#include "host/objstore.h"

enum {
    HEADER_MAX = 4, /* of a DER value that fits storage: tag, 82, two bytes of length */
    TAIL = OBJTABLE_SEGMENT,
    SLOTS_AT_ONCE = APDU_CHUNK / OBJTABLE_ENTRY,
};

static a71ch_result
know_size(a71ch *chip)
{
    a71ch_module_info info;
    a71ch_result res;

    if (chip->gp_size != 0)
        return A71CH_OK;
    res = a71ch_get_module_info(chip, &info);
    if (res != A71CH_OK)
        return res;
    if (info.gp_size < OBJTABLE_SEGMENT || info.gp_size % OBJTABLE_SEGMENT != 0 ||
        info.gp_size / OBJTABLE_SEGMENT > OBJTABLE_SEGMENTS_MAX)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip says that its storage has %u bytes, which no A71CH has", info.gp_size);
    chip->gp_size = info.gp_size;
    return A71CH_OK;
}

/* Entries whose length is to be taken from the object: SPEC 8.8, "Length word". */
static a71ch_result
know_lengths(a71ch *chip, struct objtable *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct objtable_entry *e = &t->entries[i];
        uint8_t header[HEADER_MAX];
        size_t room = objtable_limit(t, i) - e->offset;
        size_t len;
        a71ch_result res;

        if (e->word != OBJTABLE_LEN_IN_DER)
            continue;
        room = room < sizeof header ? room : sizeof header;
        res = a71ch_gp_read(chip, e->offset, header, room);
        if (res != A71CH_OK)
            return res;
        len = objtable_der_len(span_of(header, room));
        if (e->offset + len <= objtable_limit(t, i))
            e->word = (uint16_t)(OBJTABLE_LEN_IN_DER | len);
    }
    return A71CH_OK;
}

a71ch_result
objstore_load(a71ch *chip, struct objtable *t)
{
    uint8_t tail[OBJTABLE_BYTES_MAX];
    size_t size = TAIL; /* holds five entries, so that one command is enough for most chips */
    a71ch_result res = know_size(chip);
    enum bm_err err = BM_ERR_MORE;

    t->gp_size = chip->gp_size;
    while (res == A71CH_OK && err == BM_ERR_MORE) {
        res = a71ch_gp_read(chip, (unsigned)(t->gp_size - size), tail, size);
        if (res == A71CH_OK)
            err = objtable_parse(span_of(tail, size), t);
        size = objtable_size(t->count);
    }
    if (res != A71CH_OK)
        return res;
    if (err != BM_OK)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the end of the chip's storage is no table of objects; other data was written there. "
            "Write 00 to its last byte (offset %zu) to begin without objects",
            t->gp_size - 1);
    return know_lengths(chip, t);
}

static a71ch_result
write_slots(a71ch *chip, const struct objtable *t, size_t from, size_t count)
{
    uint8_t bytes[SLOTS_AT_ONCE * OBJTABLE_ENTRY];
    struct wr w = wr_of(bytes, sizeof bytes);

    for (size_t i = from + count; i-- > from;)
        objtable_build_entry(&w, &t->entries[i]);
    return a71ch_gp_write(chip, (unsigned)objtable_slot(t, from + count - 1), bytes, wr_len(&w));
}

/* The last entry and the filling below it. */
static a71ch_result
write_low_end(a71ch *chip, const struct objtable *t)
{
    uint8_t table[OBJTABLE_BYTES_MAX];
    struct wr w = wr_of(table, sizeof table);
    size_t start = t->gp_size - objtable_size(t->count);

    objtable_build(&w, t);
    return a71ch_gp_write(
        chip, (unsigned)start, table, objtable_slot(t, t->count - 1) + OBJTABLE_ENTRY - start);
}

static a71ch_result
write_trailer(a71ch *chip, const struct objtable *t)
{
    const uint8_t bytes[OBJTABLE_TRAILER] = { t->changes, (uint8_t)t->count };

    return a71ch_gp_write(chip, (unsigned)(t->gp_size - sizeof bytes), bytes, sizeof bytes);
}

/*
 * A table of more than one command, where an entry was inserted: the last one is written behind the
 * end and counted (now it is there twice, unless it is the new one), then the others move down from
 * there; the new one comes with the last of them.
 */
static a71ch_result
store_insertion(a71ch *chip, const struct objtable *t, size_t slot)
{
    size_t left = t->count - 1 - slot;
    a71ch_result res = write_low_end(chip, t);

    if (res == A71CH_OK)
        res = write_trailer(chip, t);
    while (res == A71CH_OK && left > 0) {
        size_t now = left < SLOTS_AT_ONCE ? left : SLOTS_AT_ONCE;

        left -= now;
        res = write_slots(chip, t, slot + left, now);
    }
    return res;
}

/* The same the other way round: the others move up, the last one is there twice, the count falls.
 */
static a71ch_result
store_removal(a71ch *chip, const struct objtable *t, size_t slot)
{
    a71ch_result res = A71CH_OK;

    while (res == A71CH_OK && slot < t->count) {
        size_t left = t->count - slot;
        size_t now = left < SLOTS_AT_ONCE ? left : SLOTS_AT_ONCE;

        res = write_slots(chip, t, slot, now);
        slot += now;
    }
    if (res == A71CH_OK)
        res = write_trailer(chip, t);
    return res == A71CH_OK ? write_low_end(chip, t) : res;
}

bool
objstore_one_command(const struct objtable *t)
{
    return objtable_size(t->count) <= APDU_CHUNK;
}

/* The whole table, which fits one command. */
static a71ch_result
store_short(a71ch *chip, const struct objtable *t)
{
    uint8_t bytes[APDU_CHUNK];
    struct wr w = wr_of(bytes, sizeof bytes);

    objtable_build(&w, t);
    return a71ch_gp_write(chip, (unsigned)(t->gp_size - wr_len(&w)), bytes, wr_len(&w));
}

a71ch_result
objstore_remove(a71ch *chip, struct objtable *t, size_t slot)
{
    objtable_remove(t, slot);
    t->changes++;
    return objstore_one_command(t) ? store_short(chip, t) : store_removal(chip, t, slot);
}

a71ch_result
objstore_insert(a71ch *chip, struct objtable *t, const struct objtable_entry *e)
{
    size_t slot = objtable_insert(t, e);

    t->changes++;
    return objstore_one_command(t) ? store_short(chip, t) : store_insertion(chip, t, slot);
}

a71ch_result
objstore_replace(a71ch *chip, struct objtable *t, size_t *slot, const struct objtable_entry *e)
{
    objtable_remove(t, *slot);
    *slot = objtable_insert(t, e);
    t->changes++;
    return store_short(chip, t);
}

a71ch_result
objstore_begin(a71ch *chip, struct storage *s)
{
    struct objtable *t = &s->table;
    a71ch_result res = objstore_load(chip, t);
    size_t size;

    if (res == A71CH_OK)
        res = host_frozen(chip, t->gp_size / OBJTABLE_SEGMENT, s->frozen);
    if (res != A71CH_OK)
        return res;
    size = objtable_size(t->count > 0 ? t->count : 1);
    if (objtable_frozen(s->frozen, t->gp_size - size, t->gp_size))
        return host_fail(chip, A71CH_ERR_FROZEN,
            "the table of objects at the end of the chip's storage is frozen: objects can be read, "
            "but not added, changed or erased any more");
    while (res == A71CH_OK && objtable_twin(t) < t->count)
        res = objstore_remove(chip, t, objtable_twin(t));
    return res;
}
