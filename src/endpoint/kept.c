/* SPDX-License-Identifier: Apache-2.0 */
/* See kept.h. */
#include "endpoint/kept.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WORDS = 16384,
    BITS = WORDS * 64
}; /* 128 KB: 100,000 filters cost 4 % of false yes a level */

struct shared {
    _Atomic uint64_t added; /* filters, ever */
    _Atomic uint64_t words[WORDS];
    _Atomic uint64_t listen; /* subscriptions below $aws since the start */
};

struct kept {
    int fd;
    struct shared *shared;
    uint64_t synced;
};

/* FNV-1a, 64 bits: the same in all processes and for as long as the file lives. */
static uint64_t
hash_add(uint64_t h, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}

static uint64_t
hash_start(void)
{
    return 0xcbf29ce484222325u;
}

/* The two bits of a hash, spread: FNV's high bits are poor for short strings. */
static void
bits_of(uint64_t h, uint32_t bits[2])
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    bits[0] = (uint32_t)(h % BITS);
    bits[1] = (uint32_t)((h >> 32) % BITS);
}

static void
set(struct kept *k, uint64_t h)
{
    uint32_t bits[2];

    bits_of(h, bits);
    for (int i = 0; i < 2; i++) {
        atomic_fetch_or(&k->shared->words[bits[i] / 64], (uint64_t)1 << bits[i] % 64);
    }
}

static bool
is_set(const struct kept *k, uint64_t h)
{
    uint32_t bits[2];

    bits_of(h, bits);
    for (int i = 0; i < 2; i++) {
        uint64_t word = atomic_load_explicit(&k->shared->words[bits[i] / 64], memory_order_relaxed);

        if ((word >> bits[i] % 64 & 1) == 0) {
            return false;
        }
    }
    return true;
}

/* A name is kept as it is, what is before a wildcard as this and a byte that no name has. */
static uint64_t
open_end(uint64_t h)
{
    return hash_add(h, (const uint8_t *)"", 1);
}

void
kept_add(struct kept *k, struct span filter, bool outlives)
{
    static const char service[] = "$aws/"; /* no wildcard stands for what begins with $ */
    size_t len = 0;
    uint64_t h;

    if (filter.len > 5 && memcmp(filter.ptr, service, 5) == 0) {
        atomic_fetch_add(&k->shared->listen, 1);
    }
    if (!outlives) {
        return;
    }
    while (len < filter.len && filter.ptr[len] != '+' && filter.ptr[len] != '#') {
        len++;
    }
    h = hash_add(hash_start(), filter.ptr, len);
    set(k, len < filter.len ? open_end(h) : h);
    atomic_fetch_add(&k->shared->added, 1);
}

bool
kept_may(const struct kept *k, struct span topic)
{
    uint64_t h = hash_start();

    if (atomic_load_explicit(&k->shared->added, memory_order_relaxed) == 0) {
        return false;
    }
    if (is_set(k, open_end(h))) { /* `#`, `+/x` */
        return true;
    }
    for (size_t i = 0; i < topic.len; i++) {
        h = hash_add(h, &topic.ptr[i], 1);
        if (topic.ptr[i] == '/' && is_set(k, open_end(h))) {
            return true;
        }
    }
    return is_set(k, h);
}

bool
kept_hears(const struct kept *k, struct span topic)
{
    return atomic_load_explicit(&k->shared->listen, memory_order_relaxed) != 0 ||
           kept_may(k, topic);
}

enum bm_err
kept_open(const char *dir, struct kept **out, struct bm_msg *msg)
{
    struct kept *k = calloc(1, sizeof *k);
    char path[4096];
    void *at = MAP_FAILED;

    *out = NULL;
    if (k == NULL) {
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    (void)snprintf(path, sizeof path, "%s/broker", dir);
    if (dir_make(path, 0700, msg) != BM_OK) {
        free(k);
        return BM_ERR_IO;
    }
    (void)snprintf(path, sizeof path, "%s/broker/kept", dir);
    k->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (k->fd >= 0 && ftruncate(k->fd, sizeof(struct shared)) == 0) {
        at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    }
    if (at == MAP_FAILED) {
        (void)bm_fail(msg, BM_ERR_IO, "cannot map %s: %s", path, strerror(errno));
        if (k->fd >= 0) {
            (void)close(k->fd);
        }
        free(k);
        return BM_ERR_IO;
    }
    k->shared = at;
    *out = k;
    return BM_OK;
}

void
kept_close(struct kept *k)
{
    if (k == NULL) {
        return;
    }
    (void)munmap(k->shared, sizeof *k->shared);
    (void)close(k->fd);
    free(k);
}

void
kept_begin(struct kept *k, bool any)
{
    atomic_store(&k->shared->listen, 0);
    if (any) {
        return;
    }
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store_explicit(&k->shared->words[i], 0, memory_order_relaxed);
    }
    atomic_store(&k->shared->added, 0);
}

enum bm_err
kept_sync(struct kept *k)
{
    uint64_t added = atomic_load(&k->shared->added);

    if (added == k->synced) {
        return BM_OK;
    }
    if (msync(k->shared, sizeof *k->shared, MS_SYNC) != 0) {
        return BM_ERR_IO;
    }
    k->synced = added;
    return BM_OK;
}
