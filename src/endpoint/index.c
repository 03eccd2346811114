/* SPDX-License-Identifier: Apache-2.0 */
/* Chained hash tables through links inside the connections: adding can only fail when growing. */
#include "endpoint/inside.h"

#include <stdlib.h>

enum { SLOTS_MIN = 64 };

void
index_fini(struct index *ix)
{
    free(ix->slots);
    ix->slots = NULL;
    ix->cap = 0;
    ix->count = 0;
}

static struct conn **
slot_of(const struct index *ix, uint64_t key)
{
    return &ix->slots[key & (ix->cap - 1)];
}

static void
link_in(struct index *ix, struct conn *c)
{
    struct conn **slot = slot_of(ix, c->links[ix->kind].key);

    c->links[ix->kind].next = *slot;
    *slot = c;
}

static enum bm_err
grow(struct index *ix)
{
    struct index wide = { .kind = ix->kind, .cap = ix->cap != 0 ? 2 * ix->cap : SLOTS_MIN };

    wide.slots = calloc(wide.cap, sizeof(struct conn *));
    if (wide.slots == NULL) {
        return BM_ERR_MEM;
    }
    wide.count = ix->count;
    for (size_t i = 0; i < ix->cap; i++) {
        struct conn *c = ix->slots[i];

        while (c != NULL) {
            struct conn *next = c->links[ix->kind].next;

            link_in(&wide, c);
            c = next;
        }
    }
    free(ix->slots);
    *ix = wide;
    return BM_OK;
}

enum bm_err
index_add(struct index *ix, struct conn *c, uint64_t key)
{
    if (ix->count >= ix->cap && grow(ix) != BM_OK && ix->cap == 0) {
        return BM_ERR_MEM; /* a crowded table still works, none does not */
    }
    c->links[ix->kind].key = key;
    c->links[ix->kind].linked = true;
    link_in(ix, c);
    ix->count++;
    return BM_OK;
}

void
index_remove(struct index *ix, struct conn *c)
{
    struct index_link *link = &c->links[ix->kind];
    struct conn **at;

    if (!link->linked) {
        return;
    }
    for (at = slot_of(ix, link->key); *at != c; at = &(*at)->links[ix->kind].next) {
    }
    *at = link->next;
    link->linked = false;
    ix->count--;
}

static struct conn *
with_key(const struct index *ix, struct conn *c, uint64_t key)
{
    while (c != NULL && c->links[ix->kind].key != key) {
        c = c->links[ix->kind].next;
    }
    return c;
}

struct conn *
index_first(const struct index *ix, uint64_t key)
{
    return ix->cap == 0 ? NULL : with_key(ix, *slot_of(ix, key), key);
}

struct conn *
index_again(const struct index *ix, const struct conn *c)
{
    return with_key(ix, c->links[ix->kind].next, c->links[ix->kind].key);
}

/* FNV-1a from a random start and a final mix: client ids are chosen by strangers. */
uint64_t
index_hash(uint64_t seed, struct span bytes)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;

    for (size_t i = 0; i < bytes.len; i++) {
        h = (h ^ bytes.ptr[i]) * 0x100000001b3u;
    }
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}
