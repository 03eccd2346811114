/* SPDX-License-Identifier: Apache-2.0 */
/* See objtable.h. */
#include "host/objtable.h"

#include <string.h>

enum { NO_ENTRIES = 0xff, FILL = 0xff, DER_SEQUENCE = 0x30 };

size_t
objtable_segments(size_t n)
{
    return (n + OBJTABLE_SEGMENT - 1) / OBJTABLE_SEGMENT * OBJTABLE_SEGMENT;
}

size_t
objtable_size(size_t count)
{
    return objtable_segments(OBJTABLE_ENTRY * count + OBJTABLE_TRAILER);
}

size_t
objtable_count(uint8_t last_byte)
{
    return last_byte == NO_ENTRIES ? 0 : last_byte;
}

size_t
objtable_len(const struct objtable_entry *e)
{
    return e->word & ~(unsigned)OBJTABLE_LEN_IN_DER;
}

size_t
objtable_slot(const struct objtable *t, size_t slot)
{
    return t->gp_size - OBJTABLE_TRAILER - OBJTABLE_ENTRY * (slot + 1);
}

/* Storage below the table; without entries it has no segment yet. */
static size_t
table_start(const struct objtable *t)
{
    return t->gp_size - (t->count > 0 ? objtable_size(t->count) : 0);
}

static bool
same(const struct objtable_entry *a, const struct objtable_entry *b)
{
    return a->type == b->type && a->index == b->index && a->word == b->word &&
           a->offset == b->offset;
}

static struct objtable_entry
read_entry(struct span bytes)
{
    struct rd r = rd_of(bytes);

    return (struct objtable_entry){
        .type = rd_u8(&r),
        .index = rd_u8(&r),
        .word = rd_u16(&r),
        .offset = rd_u16(&r),
    };
}

/* Where the bytes of entry `slot` end; all that could be its own when its length is not known. */
static size_t
object_end(const struct objtable *t, size_t slot)
{
    size_t len = objtable_len(&t->entries[slot]);

    return len > 0 ? t->entries[slot].offset + len : objtable_limit(t, slot);
}

/* In order, apart from each other, below the table? */
static bool
fits(const struct objtable *t, size_t slot)
{
    const struct objtable_entry *e = &t->entries[slot];
    const struct objtable_entry *before = slot > 0 ? &t->entries[slot - 1] : NULL;

    if (e->offset + objtable_len(e) > table_start(t))
        return false;
    return before == NULL || same(before, e) ||
           (before->offset < e->offset && before->offset + objtable_len(before) <= e->offset);
}

enum bm_err
objtable_parse(struct span tail, struct objtable *t)
{
    struct rd r;

    t->count = 0;
    if (tail.len < OBJTABLE_TRAILER)
        return BM_ERR_MORE;
    r = rd_of(span_of(&tail.ptr[tail.len - OBJTABLE_TRAILER], OBJTABLE_TRAILER));
    t->changes = rd_u8(&r);
    t->count = objtable_count(rd_u8(&r));
    if (t->count == 0)
        return BM_OK;
    if (objtable_size(t->count) > t->gp_size)
        return BM_ERR_INPUT;
    if (tail.len < objtable_size(t->count))
        return BM_ERR_MORE;
    for (size_t i = 0; i < t->count; i++) {
        size_t at = tail.len - (t->gp_size - objtable_slot(t, i));

        t->entries[i] = read_entry(span_of(&tail.ptr[at], OBJTABLE_ENTRY));
        if (!fits(t, i))
            return BM_ERR_INPUT;
    }
    return BM_OK;
}

void
objtable_build_entry(struct wr *out, const struct objtable_entry *e)
{
    wr_u8(out, e->type);
    wr_u8(out, e->index);
    wr_u16(out, e->word);
    wr_u16(out, e->offset);
}

void
objtable_build(struct wr *out, const struct objtable *t)
{
    size_t fill = objtable_size(t->count) - OBJTABLE_ENTRY * t->count - OBJTABLE_TRAILER;

    for (size_t i = 0; i < fill; i++)
        wr_u8(out, FILL);
    for (size_t slot = t->count; slot-- > 0;)
        objtable_build_entry(out, &t->entries[slot]);
    wr_u8(out, t->changes);
    wr_u8(out, (uint8_t)t->count);
}

size_t
objtable_limit(const struct objtable *t, size_t slot)
{
    return slot + 1 < t->count ? t->entries[slot + 1].offset : table_start(t);
}

size_t
objtable_find(const struct objtable *t, uint8_t type, uint8_t index)
{
    size_t i = 0;

    while (i < t->count && (t->entries[i].type != type || t->entries[i].index != index))
        i++;
    return i;
}

size_t
objtable_twin(const struct objtable *t)
{
    size_t i = 1;

    while (i < t->count && !same(&t->entries[i - 1], &t->entries[i]))
        i++;
    return i < t->count ? i : t->count;
}

void
objtable_remove(struct objtable *t, size_t slot)
{
    t->count--;
    memmove(&t->entries[slot], &t->entries[slot + 1], (t->count - slot) * sizeof t->entries[0]);
}

size_t
objtable_insert(struct objtable *t, const struct objtable_entry *e)
{
    size_t slot = 0;

    while (slot < t->count && t->entries[slot].offset < e->offset)
        slot++;
    memmove(&t->entries[slot + 1], &t->entries[slot], (t->count - slot) * sizeof t->entries[0]);
    t->entries[slot] = *e;
    t->count++;
    return slot;
}

bool
objtable_frozen(const bool *frozen, size_t from, size_t end)
{
    for (size_t i = from / OBJTABLE_SEGMENT; i * OBJTABLE_SEGMENT < end; i++) {
        if (frozen[i])
            return true;
    }
    return false;
}

/* The first place for `len` bytes from `from` to `end`, past frozen segments; `end` when none. */
static size_t
place_between(size_t from, size_t end, size_t len, const bool *frozen)
{
    for (size_t at = objtable_segments(from); at + objtable_segments(len) <= end;
         at += OBJTABLE_SEGMENT) {
        if (!objtable_frozen(frozen, at, at + len))
            return at;
    }
    return end;
}

enum bm_err
objtable_place(const struct objtable *t, size_t len, const bool *frozen, uint16_t *offset)
{
    size_t table = objtable_size(t->count + 1);
    size_t end = table <= t->gp_size ? t->gp_size - table : 0;
    size_t before = t->count > 0 && t->entries[0].offset < end ? t->entries[0].offset : end;

    if (t->count == OBJTABLE_COUNT_MAX || (t->count > 0 && object_end(t, t->count - 1) > end))
        return BM_ERR_LIMIT; /* or the longer table would grow into the last object */
    if (objtable_segments(len) <= before) {
        *offset = 0;
        return objtable_frozen(frozen, 0, len) ? BM_ERR_CONFLICT : BM_OK;
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t limit = i + 1 < t->count ? t->entries[i + 1].offset : end;
        size_t at = place_between(object_end(t, i), limit, len, frozen);

        if (at < limit) {
            *offset = (uint16_t)at;
            return BM_OK;
        }
    }
    return BM_ERR_LIMIT;
}

size_t
objtable_der_len(struct span front)
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
