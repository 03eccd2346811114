/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table at the end of general-purpose storage that says which objects are in it. Pure: bytes
 * in, bytes out. SPEC a71ch 8.8.
 *
 * The last byte of storage is the number of entries (00 and FF: none), the one before it counts the
 * table's changes. Entry 0 lies before these two, entry 1 before entry 0, and so on downwards, in
 * ascending order of their objects' offsets. The table owns whole segments. The same entry twice in
 * a row counts once: that is how a change of a long table looks while it is under way (objects.c).
 */
#ifndef BM_HOST_OBJTABLE_H
#define BM_HOST_OBJTABLE_H

#include "a71ch.h"
#include "base/bytes.h"

enum {
    OBJTABLE_SEGMENT = 32,
    OBJTABLE_ENTRY = 6,
    OBJTABLE_TRAILER = 2,
    OBJTABLE_COUNT_MAX = 254,
    OBJTABLE_LEN_MAX = 0x7fff,    /* of an object */
    OBJTABLE_LEN_IN_DER = 0x8000, /* top bit of `word` */
    OBJTABLE_BYTES_MAX = 1536,    /* of a table of 254 entries: whole segments */
    OBJTABLE_SEGMENTS_MAX = 203   /* of storage: what a credential map can name */
};

struct objtable_entry {
    uint8_t type;
    uint8_t index;
    uint16_t word; /* length; top bit: the length is that of the DER value in the object */
    uint16_t offset;
};

struct objtable {
    size_t gp_size; /* of storage, a multiple of 32 */
    uint8_t changes;
    size_t count;
    struct objtable_entry entries[OBJTABLE_COUNT_MAX];
};

/* `len` rounded up to whole segments. */
size_t objtable_segments(size_t len);

/* Bytes from the table's first one to the end of storage, in whole segments. */
size_t objtable_size(size_t count);

/* How many entries the last byte of storage announces. */
size_t objtable_count(uint8_t last_byte);

/*
 * Read a table out of the last bytes of storage; t->gp_size is given. BM_ERR_MORE: `tail` must have
 * objtable_size(objtable_count(last byte)) bytes. BM_ERR_INPUT: no table: entries out of order,
 * overlapping, or out of bounds.
 */
enum bm_err objtable_parse(struct span tail, struct objtable *t);

/* The table as whole segments, filled with FF at their low end; `out` has OBJTABLE_BYTES_MAX. */
void objtable_build(struct wr *out, const struct objtable *t);
/* One entry. */
void objtable_build_entry(struct wr *out, const struct objtable_entry *e);
/* Where entry `slot` lies in storage. */
size_t objtable_slot(const struct objtable *t, size_t slot);

size_t objtable_len(const struct objtable_entry *e);
/* Where the next object, or the table, begins after entry `slot`. */
size_t objtable_limit(const struct objtable *t, size_t slot);
/* Entry of this type and index, or t->count. */
size_t objtable_find(const struct objtable *t, uint8_t type, uint8_t index);
/* The first slot that equals the one before it, or t->count. */
size_t objtable_twin(const struct objtable *t);

void objtable_remove(struct objtable *t, size_t slot);
/* In order of offsets; there must be room. Gives its slot back. */
size_t objtable_insert(struct objtable *t, const struct objtable_entry *e);

/*
 * Where an object of `len` bytes goes: SPEC 8.8, "Allocation". frozen[] is per segment of storage.
 * BM_ERR_LIMIT: no room, or 254 entries. BM_ERR_CONFLICT: there is room before the first object,
 * but it is frozen; the vendor's host gives up then, too.
 */
enum bm_err objtable_place(
    const struct objtable *t, size_t len, const bool *frozen, uint16_t *offset);

/* Length of a DER sequence with its header, from the front of it; 0: it is none. */
size_t objtable_der_len(struct span front);

/* Is any segment frozen that these bytes touch? */
bool objtable_frozen(const bool *frozen, size_t from, size_t end);

#endif
