/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in general-purpose storage. SPEC a71ch 8.8.
 *
 * The table makes a change visible, at once (objstore.h), so the order of writes is
 *
 *   create  bytes to free storage, then the table with the entry
 *   erase   the table without the entry
 *   update  one command: in place. More: a copy to free storage, the table that names the copy, the
 *           bytes in place, the table that names them. Without room for a copy: the table without
 *           the entry, the bytes, the table with it.
 */
#include "host/objstore.h"

#include <stdlib.h>
#include <string.h>

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
    res = objstore_load(chip, &t);
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
        res = objstore_load(chip, t);
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
    need = objtable_der_len(span_of(first, now));
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
    res = objstore_begin(chip, &s);
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
    return res == A71CH_OK ? objstore_insert(chip, &s.table, &e) : res;
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
    if (!objstore_one_command(t) || objtable_place(t, len, s->frozen, &copy.offset) != BM_OK) {
        res = objstore_remove(chip, t, slot);
        if (res == A71CH_OK)
            res = a71ch_gp_write(chip, home.offset, bytes, len);
        return res == A71CH_OK ? objstore_insert(chip, t, &home) : res;
    }
    res = a71ch_gp_write(chip, copy.offset, bytes, len);
    if (res == A71CH_OK)
        res = objstore_replace(chip, t, &slot, &copy);
    if (res == A71CH_OK)
        res = a71ch_gp_write(chip, home.offset, bytes, len);
    return res == A71CH_OK ? objstore_replace(chip, t, &slot, &home) : res;
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
        res = objstore_begin(chip, &s);
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
        res = objstore_begin(chip, &s);
    if (res == A71CH_OK)
        res = find_slot(chip, &s.table, type, index, &slot);
    return res == A71CH_OK ? objstore_remove(chip, &s.table, slot) : res;
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
