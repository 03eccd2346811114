/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in general-purpose storage. SPEC a71ch 8.8.
 *
 * Order of writes. One command changes storage whole or not at all, and a table of up to 37 entries
 * fits one command; so the table is what makes a change visible, at once:
 *
 *   create  bytes to free storage, then the table with the entry
 *   erase   the table without the entry
 *   update  one command: in place. More: a copy to free storage, the table that names the copy, the
 *           bytes in place, the table that names them. Without room for a copy: the table without
 *           the entry, the bytes, the table with it.
 *
 * A longer table takes several commands, which keep every entry visible at any moment, one of them
 * twice (store_long).
 */
#include "host/host.h"

#include "host/objtable.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_MAX = 4, /* of a DER value that fits storage: tag, 82, two bytes of length */
    TAIL = OBJTABLE_SEGMENT,
    SLOTS_AT_ONCE = APDU_CHUNK / OBJTABLE_ENTRY,
    DER_SEQUENCE = 0x30,
    LENGTH_IN_DER = 0x8000,
};

/* The table and what may not be written. */
struct storage {
    struct objtable table;
    bool frozen[OBJTABLE_SEGMENTS_MAX];
};

/* Length of a DER sequence with its header, from the front of it; 0: it is none. */
static size_t
der_len(struct span front)
{
    struct rd r = rd_of(front);
    bool sequence = rd_u8(&r) == DER_SEQUENCE;
    size_t len = rd_u8(&r);

    if (len == 0x81)
        len = rd_u8(&r) + (size_t)3;
    else if (len == 0x82)
        len = rd_u16(&r) + (size_t)4;
    else if (len < 0x80)
        len += 2;
    else
        return 0;
    return sequence && !r.failed && len <= OBJTABLE_LEN_MAX ? len : 0;
}

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

        if (e->word != LENGTH_IN_DER)
            continue;
        room = room < sizeof header ? room : sizeof header;
        res = a71ch_gp_read(chip, e->offset, header, room);
        if (res != A71CH_OK)
            return res;
        len = der_len(span_of(header, room));
        if (e->offset + len <= objtable_limit(t, i))
            e->word = (uint16_t)(LENGTH_IN_DER | len);
    }
    return A71CH_OK;
}

static a71ch_result
load_table(a71ch *chip, struct objtable *t)
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
load_frozen(a71ch *chip, const struct objtable *t, bool frozen[OBJTABLE_SEGMENTS_MAX])
{
    uint8_t map[A71CH_MAP_MAX];
    size_t len;
    size_t segments = t->gp_size / OBJTABLE_SEGMENT;
    a71ch_result res = a71ch_get_credential_map(chip, map, &len);

    if (res != A71CH_OK)
        return res;
    if (len < segments)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "the chip's credential map has %zu bytes, too few for its %zu segments of storage", len,
            segments);
    for (size_t i = 0; i < segments; i++) /* the map's end: SPEC 1.7 */
        frozen[i] = (map[len - segments + i] & 0xf) == 0xf;
    return A71CH_OK;
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

static bool
fits_one_command(const struct objtable *t)
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

static a71ch_result
remove_entry(a71ch *chip, struct objtable *t, size_t slot)
{
    objtable_remove(t, slot);
    t->changes++;
    return fits_one_command(t) ? store_short(chip, t) : store_removal(chip, t, slot);
}

static a71ch_result
insert_entry(a71ch *chip, struct objtable *t, const struct objtable_entry *e)
{
    size_t slot = objtable_insert(t, e);

    t->changes++;
    return fits_one_command(t) ? store_short(chip, t) : store_insertion(chip, t, slot);
}

/* Another place or length for the object of entry *slot; the table must fit one command. */
static a71ch_result
replace_entry(a71ch *chip, struct objtable *t, size_t *slot, const struct objtable_entry *e)
{
    objtable_remove(t, *slot);
    *slot = objtable_insert(t, e);
    t->changes++;
    return store_short(chip, t);
}

/* Load all that a change needs to know, and end what an earlier one left undone. */
static a71ch_result
begin_change(a71ch *chip, struct storage *s)
{
    struct objtable *t = &s->table;
    a71ch_result res = load_table(chip, t);
    size_t size;

    if (res == A71CH_OK)
        res = load_frozen(chip, t, s->frozen);
    if (res != A71CH_OK)
        return res;
    size = objtable_size(t->count > 0 ? t->count : 1);
    if (objtable_frozen(s->frozen, t->gp_size - size, t->gp_size))
        return host_fail(chip, A71CH_ERR_FROZEN,
            "the table of objects at the end of the chip's storage is frozen: objects can be read, "
            "but not added, changed or erased any more");
    while (res == A71CH_OK && objtable_twin(t) < t->count)
        res = remove_entry(chip, t, objtable_twin(t));
    return res;
}

static const char *
type_name(uint8_t type)
{
    return type == A71CH_CERTIFICATE ? "certificate" : "data object";
}

static a71ch_result
check_type(a71ch *chip, uint8_t type)
{
    host_begin(chip);
    if (type == A71CH_CERTIFICATE || type == A71CH_DATA)
        return A71CH_OK;
    return host_fail(chip, A71CH_ERR_ARG,
        "an object is a certificate (%02X) or data (%02X), not of type %02X", A71CH_CERTIFICATE,
        A71CH_DATA, type);
}

static a71ch_result
find_slot(a71ch *chip, const struct objtable *t, uint8_t type, uint8_t index, size_t *slot)
{
    *slot = objtable_find(t, type, index);
    if (*slot < t->count)
        return A71CH_OK;
    return host_fail(chip, A71CH_ERR_NOT_FOUND, "the chip has no %s %u", type_name(type), index);
}

static a71ch_object
describe(const struct objtable_entry *e)
{
    return (a71ch_object){ e->type, e->index, e->offset, (uint16_t)objtable_len(e) };
}

static a71ch_result
list_objects(a71ch *chip, a71ch_object *out, size_t cap, size_t *count)
{
    struct objtable t;
    size_t n = 0;
    a71ch_result res;

    host_begin(chip);
    res = load_table(chip, &t);
    if (res != A71CH_OK)
        return res;
    for (size_t twin = objtable_twin(&t); twin < t.count; twin = objtable_twin(&t))
        objtable_remove(&t, twin);
    for (; n < t.count && n < cap; n++)
        out[n] = describe(&t.entries[n]);
    *count = t.count;
    return A71CH_OK;
}

/* Load the table and find an object in it. */
static a71ch_result
look_up(a71ch *chip, uint8_t type, uint8_t index, struct objtable *t, size_t *slot)
{
    a71ch_result res = check_type(chip, type);

    if (res == A71CH_OK)
        res = load_table(chip, t);
    return res == A71CH_OK ? find_slot(chip, t, type, index, slot) : res;
}

static a71ch_result
find_object(a71ch *chip, uint8_t type, uint8_t index, a71ch_object *out)
{
    struct objtable t;
    size_t slot;
    a71ch_result res = look_up(chip, type, index, &t, &slot);

    if (res == A71CH_OK)
        *out = describe(&t.entries[slot]);
    return res;
}

static a71ch_result
read_object(a71ch *chip, uint8_t type, uint8_t index, size_t offset, uint8_t *out, size_t *len)
{
    struct objtable t;
    size_t slot;
    size_t have;
    a71ch_result res = look_up(chip, type, index, &t, &slot);

    if (res != A71CH_OK)
        return res;
    have = objtable_len(&t.entries[slot]);
    if (offset > have)
        return host_fail(chip, A71CH_ERR_ARG, "%s %u has %zu bytes: there is no offset %zu",
            type_name(type), index, have, offset);
    if (have - offset < *len)
        *len = have - offset;
    return a71ch_gp_read(chip, (unsigned)(t.entries[slot].offset + offset), out, *len);
}

static a71ch_result
read_certificate(a71ch *chip, uint8_t index, uint8_t *out, size_t *len)
{
    uint8_t first[APDU_CHUNK];
    struct objtable t;
    size_t slot;
    size_t have;
    size_t now;
    size_t need;
    a71ch_result res = look_up(chip, A71CH_CERTIFICATE, index, &t, &slot);

    if (res != A71CH_OK)
        return res;
    have = objtable_len(&t.entries[slot]);
    now = have < sizeof first ? have : sizeof first;
    res = a71ch_gp_read(chip, t.entries[slot].offset, first, now);
    if (res != A71CH_OK)
        return res;
    need = der_len(span_of(first, now));
    if (need == 0 || need > have)
        return host_fail(chip, A71CH_ERR_RESPONSE,
            "certificate %u of the chip holds no DER value that fits its %zu bytes; write it anew",
            index, have);
    if (need > *len) {
        res = host_fail(chip, A71CH_ERR_SPACE, "certificate %u has %zu bytes, the buffer holds %zu",
            index, need, *len);
        *len = need;
        return res;
    }
    now = need < now ? need : now;
    memcpy(out, first, now);
    *len = need;
    return a71ch_gp_read(chip, (unsigned)(t.entries[slot].offset + now), &out[now], need - now);
}

static a71ch_result
place(a71ch *chip, const struct storage *s, uint8_t type, size_t len, uint16_t *offset)
{
    size_t table = objtable_size(s->table.count + 1);
    enum bm_err err = objtable_place(&s->table, len, s->frozen, offset);

    if (err == BM_ERR_CONFLICT)
        return host_fail(chip, A71CH_ERR_FULL,
            "no room for a %s of %zu bytes: it would go to the begin of the chip's storage, which "
            "is frozen",
            type_name(type), len);
    if (err != BM_OK)
        return host_fail(chip, A71CH_ERR_FULL,
            "no room for a %s of %zu bytes in the chip's storage of %zu; erase another object",
            type_name(type), len, s->table.gp_size);
    if (objtable_frozen(s->frozen, s->table.gp_size - table, s->table.gp_size))
        return host_fail(chip, A71CH_ERR_FULL,
            "no room for one more object: the table at the end of the chip's storage would grow "
            "into a frozen segment; erase another object");
    return A71CH_OK;
}

static a71ch_result
write_object(a71ch *chip, uint8_t type, uint8_t index, const uint8_t *data, size_t len, size_t size)
{
    struct objtable_entry e = { .type = type, .index = index };
    struct storage s;
    uint8_t *bytes;
    a71ch_result res = check_type(chip, type);

    if (res != A71CH_OK)
        return res;
    size = size == 0 ? len : size;
    if (len == 0 || len > size || size > OBJTABLE_LEN_MAX)
        return host_fail(chip, A71CH_ERR_ARG,
            "%zu bytes in an object of %zu: want 1 to %d, and no more than the object has", len,
            size, OBJTABLE_LEN_MAX);
    res = begin_change(chip, &s);
    if (res != A71CH_OK)
        return res;
    if (objtable_find(&s.table, type, index) < s.table.count)
        return host_fail(chip, A71CH_ERR_EXISTS,
            "the chip has a %s %u already; erase or update it, or take another index",
            type_name(type), index);
    res = place(chip, &s, type, size, &e.offset);
    if (res != A71CH_OK)
        return res;
    bytes = calloc(1, size);
    if (bytes == NULL)
        return host_fail(chip, A71CH_ERR_MEMORY, "out of memory");
    memcpy(bytes, data, len);
    e.word = (uint16_t)size;
    res = a71ch_gp_write(chip, e.offset, bytes, size);
    bm_wipe(bytes, size); /* objects may be secrets */
    free(bytes);
    return res == A71CH_OK ? insert_entry(chip, &s.table, &e) : res;
}

/* An object's new content, at its old place; see the order of writes above. */
static a71ch_result
replace_content(a71ch *chip, struct storage *s, size_t slot, const uint8_t *bytes, size_t len)
{
    struct objtable *t = &s->table;
    struct objtable_entry home = t->entries[slot];
    struct objtable_entry copy;
    a71ch_result res;

    home.word = (uint16_t)len;
    t->entries[slot] = copy = home; /* so that the copy does not go where the object will grow to */
    if (!fits_one_command(t) || objtable_place(t, len, s->frozen, &copy.offset) != BM_OK) {
        res = remove_entry(chip, t, slot);
        if (res == A71CH_OK)
            res = a71ch_gp_write(chip, home.offset, bytes, len);
        return res == A71CH_OK ? insert_entry(chip, t, &home) : res;
    }
    res = a71ch_gp_write(chip, copy.offset, bytes, len);
    if (res == A71CH_OK)
        res = replace_entry(chip, t, &slot, &copy);
    if (res == A71CH_OK)
        res = a71ch_gp_write(chip, home.offset, bytes, len);
    return res == A71CH_OK ? replace_entry(chip, t, &slot, &home) : res;
}

/* `bytes` has room for the object's new length, `len`. */
static a71ch_result
update_bytes(a71ch *chip, struct storage *s, size_t slot, size_t offset, struct span data,
    uint8_t *bytes, size_t len)
{
    const struct objtable_entry *e = &s->table.entries[slot];
    size_t old = objtable_len(e);
    a71ch_result res;

    if (len == old && data.len <= APDU_CHUNK)
        return a71ch_gp_write(chip, (unsigned)(e->offset + offset), data.ptr, data.len);
    res = data.len < len ? a71ch_gp_read(chip, e->offset, bytes, old) : A71CH_OK;
    if (res != A71CH_OK)
        return res;
    memcpy(&bytes[offset], data.ptr, data.len);
    return replace_content(chip, s, slot, bytes, len);
}

static a71ch_result
update_object(
    a71ch *chip, uint8_t type, uint8_t index, size_t offset, const uint8_t *data, size_t len)
{
    struct storage s;
    const struct objtable_entry *e;
    size_t slot;
    size_t room;
    size_t old;
    size_t new_len;
    uint8_t *bytes;
    a71ch_result res = check_type(chip, type);

    if (res == A71CH_OK)
        res = begin_change(chip, &s);
    if (res == A71CH_OK)
        res = find_slot(chip, &s.table, type, index, &slot);
    if (res != A71CH_OK)
        return res;
    e = &s.table.entries[slot];
    old = objtable_len(e);
    room = objtable_limit(&s.table, slot) - e->offset;
    if (type == A71CH_DATA && room > objtable_segments(old))
        room = objtable_segments(old);
    if (offset > room || len > room - offset)
        return host_fail(chip, A71CH_ERR_FULL,
            "%zu bytes at offset %zu do not fit %s %u, which has %zu bytes and room for %zu; erase "
            "it and write it anew",
            len, offset, type_name(type), index, old, room);
    new_len = offset + len > old ? offset + len : old;
    if (objtable_frozen(s.frozen, e->offset, e->offset + new_len))
        return host_fail(chip, A71CH_ERR_FROZEN,
            "%s %u lies in frozen segments of the chip's storage: it can be read, but not changed "
            "any more",
            type_name(type), index);
    if (len == 0)
        return A71CH_OK;
    bytes = calloc(1, new_len);
    if (bytes == NULL)
        return host_fail(chip, A71CH_ERR_MEMORY, "out of memory");
    res = update_bytes(chip, &s, slot, offset, span_of(data, len), bytes, new_len);
    bm_wipe(bytes, new_len);
    free(bytes);
    return res;
}

static a71ch_result
erase_object(a71ch *chip, uint8_t type, uint8_t index)
{
    struct storage s;
    size_t slot;
    a71ch_result res = check_type(chip, type);

    if (res == A71CH_OK)
        res = begin_change(chip, &s);
    if (res == A71CH_OK)
        res = find_slot(chip, &s.table, type, index, &slot);
    return res == A71CH_OK ? remove_entry(chip, &s.table, slot) : res;
}

a71ch_result
a71ch_object_list(a71ch *chip, a71ch_object *out, size_t cap, size_t *count)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK ? host_sequence_end(chip, list_objects(chip, out, cap, count)) : res;
}

a71ch_result
a71ch_object_find(a71ch *chip, uint8_t type, uint8_t index, a71ch_object *out)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK ? host_sequence_end(chip, find_object(chip, type, index, out)) : res;
}

a71ch_result
a71ch_object_read(
    a71ch *chip, uint8_t type, uint8_t index, size_t offset, uint8_t *out, size_t *len)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK
               ? host_sequence_end(chip, read_object(chip, type, index, offset, out, len))
               : res;
}

a71ch_result
a71ch_object_write(
    a71ch *chip, uint8_t type, uint8_t index, const uint8_t *data, size_t len, size_t size)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK
               ? host_sequence_end(chip, write_object(chip, type, index, data, len, size))
               : res;
}

a71ch_result
a71ch_object_update(
    a71ch *chip, uint8_t type, uint8_t index, size_t offset, const uint8_t *data, size_t len)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK
               ? host_sequence_end(chip, update_object(chip, type, index, offset, data, len))
               : res;
}

a71ch_result
a71ch_object_erase(a71ch *chip, uint8_t type, uint8_t index)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK ? host_sequence_end(chip, erase_object(chip, type, index)) : res;
}

a71ch_result
a71ch_certificate_read(a71ch *chip, uint8_t index, uint8_t *out, size_t *len)
{
    a71ch_result res = host_sequence(chip);

    return res == A71CH_OK ? host_sequence_end(chip, read_certificate(chip, index, out, len)) : res;
}
