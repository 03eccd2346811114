/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate table in shared memory. SPEC endpoint 6.
 *
 *   DIR/certs      symbolic link to the current file, replaced whole by rename
 *   DIR/certs.N    header of 64 bytes, then `capacity` entries of 64 bytes (a cache line each)
 *
 * An entry's place is its id modulo the capacity (a power of two; ids are SHA-256, so they are
 * their own hash) or the next free one after it. Entries never move within a file. A removed one
 * stays as a tombstone, so that a search goes on past it; the next file, made when three quarters
 * are taken, leaves tombstones behind.
 *
 * Memory order. Per entry a sequence number, odd while the writer is inside. The writer stores
 * the odd number, then the fields each with release, then the even number with release. A reader
 * loads the number with acquire, the fields each with acquire, then the number again, and keeps
 * what it read only when both are the same even number. If one field came from an unfinished write,
 * that field's acquire pairs with the writer's release, so the odd number stored before it is
 * visible to the second load, which then differs. No fence is needed, every access is atomic, and
 * on x86 all of these are plain moves.
 *
 * Growth: the writer fills the new file, renames the link, and then stores its number in the old
 * header's `next` with release. From then on it writes only to the new file. A reader loads `next`
 * (acquire) at each look-up and maps what the link names. If that fails it answers "none": the
 * worker then asks the registry, which is slow but right, where an old answer could admit a
 * revoked certificate. One process uses a struct table from one thread.
 *
 * Snapshot: a file that was closed in peace has the registry's stamp, after all else of it is on
 * disk. The registry takes a new stamp before its first change, so the file of a process that died,
 * or of another state of the registry, has a stamp that is not the registry's and is not used.
 */
#include "registry/table.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY_MIN = 1024, ATTACH_TRIES = 100, READ_SPINS = 64, READ_PATIENCE_MS = 500 };
#define TABLE_MAGIC 0x32656c6261746d62ULL /* "bmtable2" */

struct header {
    uint64_t magic;
    uint64_t capacity;
    uint64_t number;                /* N of certs.N */
    _Atomic uint64_t next;          /* 0, or the file that took over */
    _Atomic uint64_t count;         /* entries in use */
    uint8_t stamp[TABLE_STAMP_LEN]; /* of the registry that the file is a snapshot of */
    uint64_t taken;                 /* with the stamp: used and tombstones */
};

enum slot_state { SLOT_FREE, SLOT_USED, SLOT_TOMBSTONE };

struct slot {
    _Atomic uint32_t sequence;
    _Atomic uint32_t state_status; /* slot_state in the high half, then mode, then status */
    _Atomic uint64_t policy_set;
    _Atomic uint64_t not_after_ms;
    _Atomic uint64_t id[4];
    uint64_t unused;
};

_Static_assert(sizeof(struct header) == 64, "the header is one cache line");
_Static_assert(sizeof(struct slot) == 64, "a slot is one cache line");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock would be private to one process");

struct table {
    char dir[PATH_MAX - 64];
    struct header *map;
    size_t map_len;
    bool writer;
    int lock_fd;  /* writer: DIR/certs.lock; a POSIX lock, so a fork does not keep it */
    size_t taken; /* writer: used and tombstones */
};

static size_t
file_len(uint64_t capacity)
{
    return sizeof(struct header) + (size_t)capacity * sizeof(struct slot);
}

static struct slot *
slot_at(const struct header *h, uint64_t i)
{
    struct slot *slots = (struct slot *)(void *)((uint8_t *)(uintptr_t)h + sizeof *h);

    return &slots[i & (h->capacity - 1)];
}

static void
path_of(char out[PATH_MAX], const char *dir, uint64_t number)
{
    if (number == 0)
        (void)snprintf(out, PATH_MAX, "%s/certs", dir);
    else
        (void)snprintf(out, PATH_MAX, "%s/certs.%llu", dir, (unsigned long long)number);
}

/* ---- one slot ---- */

struct slot_copy {
    enum slot_state state;
    struct table_entry entry;
};

static void
id_words(uint64_t out[4], const uint8_t id[32])
{
    memcpy(out, id, 32);
}

/*
 * The writer was interrupted between its stores: let it run. On a busy machine that takes more than
 * a few turns; after READ_PATIENCE_MS it counts as dead.
 */
static bool
wait_for_writer(unsigned tries, int64_t *deadline_ms)
{
    if (tries < READ_SPINS)
        return true;
    if (*deadline_ms == 0)
        *deadline_ms = clock_mono_ms() + READ_PATIENCE_MS;
    if (tries < 2 * READ_SPINS)
        (void)sched_yield();
    else
        (void)nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
    return clock_mono_ms() < *deadline_ms;
}

/* false when the writer seems to have died inside it */
static bool
slot_read(struct slot *s, struct slot_copy *out)
{
    int64_t deadline_ms = 0;

    for (unsigned tries = 0; wait_for_writer(tries, &deadline_ms); tries++) {
        uint32_t before = atomic_load_explicit(&s->sequence, memory_order_acquire);
        uint32_t state_status = atomic_load_explicit(&s->state_status, memory_order_acquire);
        uint64_t id[4];

        out->entry.policy_set =
            (uint32_t)atomic_load_explicit(&s->policy_set, memory_order_acquire);
        out->entry.not_after_ms =
            (int64_t)atomic_load_explicit(&s->not_after_ms, memory_order_acquire);
        for (size_t i = 0; i < 4; i++)
            id[i] = atomic_load_explicit(&s->id[i], memory_order_acquire);
        if ((before & 1) == 0 &&
            atomic_load_explicit(&s->sequence, memory_order_relaxed) == before) {
            out->state = (enum slot_state)(state_status >> 16);
            out->entry.mode = (uint8_t)(state_status >> 8);
            out->entry.status = (uint8_t)state_status;
            memcpy(out->entry.id, id, 32);
            return true;
        }
    }
    return false;
}

static void
slot_write(struct slot *s, enum slot_state state, const struct table_entry *e)
{
    uint32_t sequence = atomic_load_explicit(&s->sequence, memory_order_relaxed);
    uint64_t id[4];

    id_words(id, e->id);
    atomic_store_explicit(&s->sequence, sequence | 1, memory_order_relaxed);
    atomic_store_explicit(&s->state_status,
        (uint32_t)state << 16 | (uint32_t)e->mode << 8 | e->status, memory_order_release);
    atomic_store_explicit(&s->policy_set, e->policy_set, memory_order_release);
    atomic_store_explicit(&s->not_after_ms, (uint64_t)e->not_after_ms, memory_order_release);
    for (size_t i = 0; i < 4; i++)
        atomic_store_explicit(&s->id[i], id[i], memory_order_release);
    atomic_store_explicit(&s->sequence, (sequence | 1) + 1, memory_order_release);
}

/* ---- files ---- */

static enum bm_err
map_file(int fd, size_t len, int prot, struct header **out, const char *path, struct bm_msg *msg)
{
    void *p = mmap(NULL, len, prot, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return bm_fail(msg, BM_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    *out = p;
    return BM_OK;
}

static enum bm_err
map_path(const char *path, int prot, struct header **out, size_t *len, struct bm_msg *msg)
{
    int flags = (prot & PROT_WRITE) != 0 ? O_RDWR | O_CLOEXEC : O_RDONLY | O_CLOEXEC;
    struct stat st = { 0 };
    struct header *h = NULL;
    enum bm_err err = BM_OK;
    int fd = open(path, flags);

    if (fd < 0)
        return bm_fail(msg, errno == ENOENT ? BM_ERR_NOT_FOUND : BM_ERR_IO, "cannot open %s: %s",
            path, strerror(errno));
    if (fstat(fd, &st) != 0 || (size_t)st.st_size < sizeof *h)
        err = bm_fail(msg, BM_ERR_INPUT, "%s is no certificate table", path);
    *len = (size_t)st.st_size;
    if (err == BM_OK)
        err = map_file(fd, *len, prot, &h, path, msg);
    (void)close(fd);
    if (err != BM_OK)
        return err;
    if (h->magic != TABLE_MAGIC || h->capacity == 0 || (h->capacity & (h->capacity - 1)) != 0 ||
        h->capacity > (*len - sizeof *h) / sizeof(struct slot)) {
        (void)munmap(h, *len);
        return bm_fail(msg, BM_ERR_INPUT, "%s is no certificate table", path);
    }
    *out = h;
    return BM_OK;
}

/* Map what the link names. Between reading the link and opening its target the target may go. */
static enum bm_err
map_current(const char *dir, int prot, struct header **out, size_t *len, struct bm_msg *msg)
{
    enum bm_err err = BM_ERR_NOT_FOUND;
    char path[PATH_MAX];

    path_of(path, dir, 0);
    for (unsigned i = 0; err == BM_ERR_NOT_FOUND && i < ATTACH_TRIES; i++)
        err = map_path(path, prot, out, len, msg);
    return err;
}

/* N of a file named certs.N, 0 for others. */
static uint64_t
file_number(const char *name)
{
    unsigned long long n = 0;
    char canonical[64];

    if (sscanf(name, "certs.%llu", &n) != 1)
        return 0;
    (void)snprintf(canonical, sizeof canonical, "certs.%llu", n);
    return strcmp(name, canonical) == 0 ? n : 0;
}

/* Make DIR/certs.NUMBER; its blocks are reserved, so that a full disk fails here and not by SIGBUS.
 */
static enum bm_err
make_file(
    const char *dir, uint64_t number, uint64_t capacity, struct header **out, struct bm_msg *msg)
{
    char path[PATH_MAX];
    size_t len = file_len(capacity);
    enum bm_err err;
    int fd;
    int rc;

    path_of(path, dir, number);
    (void)unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make %s: %s", path, strerror(errno));
    rc = posix_fallocate(fd, 0, (off_t)len);
    err = rc != 0
              ? bm_fail(msg, BM_ERR_IO, "no room for %s (%zu bytes): %s", path, len, strerror(rc))
              : map_file(fd, len, PROT_READ | PROT_WRITE, out, path, msg);
    (void)close(fd);
    if (err != BM_OK) {
        (void)unlink(path);
        return err;
    }
    (*out)->magic = TABLE_MAGIC;
    (*out)->capacity = capacity;
    (*out)->number = number;
    return BM_OK;
}

static enum bm_err
link_current(const char *dir, uint64_t number, struct bm_msg *msg)
{
    char target[64];
    char link[PATH_MAX];
    char tmp[PATH_MAX];

    (void)snprintf(target, sizeof target, "certs.%llu", (unsigned long long)number);
    (void)snprintf(tmp, sizeof tmp, "%s/certs.link", dir);
    path_of(link, dir, 0);
    (void)unlink(tmp);
    if (symlink(target, tmp) != 0 || rename(tmp, link) != 0)
        return bm_fail(msg, BM_ERR_IO, "cannot make %s: %s", link, strerror(errno));
    return BM_OK;
}

/* Tell the readers of `old` to move on, and let go of it. */
static void
retire(const char *dir, struct header *old, size_t len, uint64_t next)
{
    char path[PATH_MAX];

    path_of(path, dir, old->number);
    atomic_store_explicit(&old->next, next, memory_order_release);
    (void)munmap(old, len);
    (void)unlink(path);
}

/*
 * All table files of DIR below `number`: the one of a control process that died, whose workers may
 * still look there, and what a crash in the middle of a growth left.
 */
static void
retire_below(const char *dir, uint64_t number)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        uint64_t n = file_number(e->d_name);
        struct header *old = NULL;
        size_t len = 0;
        char path[PATH_MAX];

        if (n == 0 || n >= number)
            continue;
        path_of(path, dir, n);
        if (map_path(path, PROT_READ | PROT_WRITE, &old, &len, NULL) == BM_OK && old->number == n)
            retire(dir, old, len, number);
        else
            (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
}

/* The number for a new file: above all that are there. */
static uint64_t
next_number(const char *dir)
{
    DIR *d = opendir(dir);
    uint64_t number = 1;
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        uint64_t n = file_number(e->d_name);

        if (n >= number)
            number = n + 1;
    }
    if (d != NULL)
        (void)closedir(d);
    return number;
}

/* Beyond three quarters, searches get long. */
static uint64_t
room_of(uint64_t capacity)
{
    return capacity / 4 * 3;
}

static uint64_t
capacity_for(uint64_t entries)
{
    uint64_t capacity = CAPACITY_MIN;

    while (room_of(capacity) < entries)
        capacity *= 2;
    return capacity;
}

/* A second writer would take the readers of the first away from it. */
static enum bm_err
writer_lock(struct table *t, struct bm_msg *msg)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/certs.lock", t->dir);
    t->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->lock_fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fcntl(t->lock_fd, F_SETLK, &lock) != 0)
        return bm_fail(
            msg, BM_ERR_CONFLICT, "another cloud runs in %s; stop it or use another --dir", t->dir);
    return BM_OK;
}

static enum bm_err
writer_new(const char *dir, struct table **out, struct bm_msg *msg)
{
    struct table *t = calloc(1, sizeof *t);
    enum bm_err err = t != NULL ? BM_OK : bm_fail(msg, BM_ERR_MEM, "out of memory");

    if (err == BM_OK && strlen(dir) >= sizeof t->dir)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    if (err == BM_OK)
        err = dir_make(dir, 0700, msg);
    if (err != BM_OK) {
        free(t);
        return err;
    }
    (void)snprintf(t->dir, sizeof t->dir, "%s", dir);
    t->writer = true;
    err = writer_lock(t, msg);
    if (err == BM_OK)
        *out = t;
    else
        table_close(t);
    return err;
}

enum bm_err
table_restart(struct table *t, size_t expected, struct bm_msg *msg)
{
    uint64_t number = next_number(t->dir);
    struct header *map = NULL;
    enum bm_err err = BM_OK;

    if (expected > SIZE_MAX / 256)
        err = bm_fail(msg, BM_ERR_ARG, "a table of %zu entries is too long", expected);
    if (err == BM_OK)
        err = make_file(t->dir, number, capacity_for(expected), &map, msg);
    if (err == BM_OK)
        err = link_current(t->dir, number, msg);
    if (err != BM_OK) {
        if (map != NULL)
            (void)munmap(map, file_len(map->capacity));
        return err;
    }
    if (t->map != NULL)
        (void)munmap(t->map, t->map_len);
    t->map = map;
    t->map_len = file_len(map->capacity);
    t->taken = 0;
    retire_below(t->dir, number);
    return BM_OK;
}

enum bm_err
table_create(const char *dir, size_t expected, struct table **out, struct bm_msg *msg)
{
    struct table *t = NULL;
    enum bm_err err = writer_new(dir, &t, msg);

    if (err == BM_OK)
        err = table_restart(t, expected, msg);
    if (err == BM_OK)
        *out = t;
    else
        table_close(t);
    return err;
}

enum bm_err
table_resume(const char *dir, struct table **out, struct bm_msg *msg)
{
    struct table *t = NULL;
    enum bm_err err = writer_new(dir, &t, msg);

    if (err == BM_OK &&
        map_current(dir, PROT_READ | PROT_WRITE, &t->map, &t->map_len, NULL) != BM_OK)
        err = table_restart(t, 0, msg);
    if (err != BM_OK) {
        table_close(t);
        return err;
    }
    t->taken = t->map->taken;
    *out = t;
    return BM_OK;
}

bool
table_is(const struct table *t, const uint8_t stamp[TABLE_STAMP_LEN])
{
    static const uint8_t none[TABLE_STAMP_LEN];

    return atomic_load_explicit(&t->map->next, memory_order_acquire) == 0 &&
           memcmp(stamp, none, TABLE_STAMP_LEN) != 0 &&
           memcmp(t->map->stamp, stamp, TABLE_STAMP_LEN) == 0;
}

enum bm_err
table_mark(struct table *t, const uint8_t stamp[TABLE_STAMP_LEN], struct bm_msg *msg)
{
    bool done = msync(t->map, t->map_len, MS_SYNC) == 0;

    if (done) {
        memcpy(t->map->stamp, stamp, TABLE_STAMP_LEN);
        t->map->taken = t->taken;
        done = msync(t->map, sizeof *t->map, MS_SYNC) == 0;
    }
    return done ? BM_OK
                : bm_fail(msg, BM_ERR_IO, "cannot write the certificate table in %s: %s", t->dir,
                      strerror(errno));
}

enum bm_err
table_attach(const char *dir, struct table **out, struct bm_msg *msg)
{
    struct table *t = calloc(1, sizeof *t);
    enum bm_err err = t != NULL ? BM_OK : bm_fail(msg, BM_ERR_MEM, "out of memory");

    if (err == BM_OK && strlen(dir) >= sizeof t->dir)
        err = bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    if (err == BM_OK) {
        (void)snprintf(t->dir, sizeof t->dir, "%s", dir);
        t->lock_fd = -1;
        err = map_current(dir, PROT_READ, &t->map, &t->map_len, msg);
    }
    if (err != BM_OK) {
        free(t);
        return err;
    }
    *out = t;
    return BM_OK;
}

void
table_close(struct table *t)
{
    if (t == NULL)
        return;
    if (t->map != NULL)
        (void)munmap(t->map, t->map_len);
    if (t->lock_fd >= 0)
        (void)close(t->lock_fd);
    free(t);
}

/* ---- search ---- */

/*
 * The slot of this id; when there is none NULL, and *free_slot (may be NULL) is the one to put it
 * in. A slot that cannot be read counts as another's.
 */
static struct slot *
find(const struct header *h, const uint8_t id[32], struct slot_copy *copy, struct slot **free_slot)
{
    uint64_t words[4];

    id_words(words, id);
    if (free_slot != NULL)
        *free_slot = NULL;
    for (uint64_t i = 0; i < h->capacity; i++) {
        struct slot *s = slot_at(h, words[0] + i);

        if (!slot_read(s, copy))
            continue;
        if (copy->state == SLOT_USED && memcmp(copy->entry.id, id, 32) == 0)
            return s;
        if (copy->state != SLOT_USED && free_slot != NULL && *free_slot == NULL)
            *free_slot = s;
        if (copy->state == SLOT_FREE)
            return NULL;
    }
    return NULL;
}

/* Map the file that took over; false when that fails. */
static bool
follow(struct table *t)
{
    for (unsigned i = 0; i < ATTACH_TRIES; i++) {
        struct header *map = NULL;
        size_t len = 0;

        if (atomic_load_explicit(&t->map->next, memory_order_acquire) == 0)
            return true;
        if (map_current(t->dir, PROT_READ, &map, &len, NULL) != BM_OK)
            return false;
        (void)munmap(t->map, t->map_len);
        t->map = map;
        t->map_len = len;
    }
    return false;
}

bool
table_get(struct table *t, const uint8_t id[32], struct table_entry *out)
{
    struct slot_copy copy;

    if (!follow(t) || find(t->map, id, &copy, NULL) == NULL)
        return false;
    *out = copy.entry;
    return true;
}

size_t
table_count(const struct table *t)
{
    return (size_t)atomic_load_explicit(&t->map->count, memory_order_relaxed);
}

size_t
table_tally(const struct table *t, size_t from, size_t slots, uint64_t counts[TABLE_STATUS_COUNT])
{
    size_t end = t->map->capacity - from > slots ? from + slots : t->map->capacity;

    if (from >= t->map->capacity)
        return 0;
    for (; from < end; from++) {
        uint32_t state =
            atomic_load_explicit(&slot_at(t->map, from)->state_status, memory_order_relaxed);

        if (state >> 16 == SLOT_USED && (uint8_t)state < TABLE_STATUS_COUNT)
            counts[(uint8_t)state]++;
    }
    return end < t->map->capacity ? end : 0;
}

/* ---- writer ---- */

static void
count_add(struct header *h, uint64_t by)
{
    atomic_store_explicit(&h->count, atomic_load_explicit(&h->count, memory_order_relaxed) + by,
        memory_order_relaxed);
}

static void
copy_entries(const struct header *from, struct header *to)
{
    for (uint64_t i = 0; i < from->capacity; i++) {
        struct slot_copy copy;
        struct slot_copy unused;
        struct slot *room;

        if (!slot_read(slot_at(from, i), &copy) || copy.state != SLOT_USED)
            continue;
        if (find(to, copy.entry.id, &unused, &room) == NULL && room != NULL) {
            slot_write(room, SLOT_USED, &copy.entry);
            count_add(to, 1);
        }
    }
}

static enum bm_err
grow(struct table *t, struct bm_msg *msg)
{
    struct header *old = t->map;
    size_t old_len = t->map_len;
    struct header *map = NULL;
    enum bm_err err =
        make_file(t->dir, old->number + 1, capacity_for(table_count(t) / 2 * 3 + 1), &map, msg);

    if (err != BM_OK)
        return err;
    copy_entries(old, map);
    err = link_current(t->dir, map->number, msg);
    if (err != BM_OK) {
        (void)munmap(map, file_len(map->capacity));
        return err;
    }
    t->map = map;
    t->map_len = file_len(map->capacity);
    t->taken = table_count(t);
    retire(t->dir, old, old_len, map->number);
    return BM_OK;
}

enum bm_err
table_put(struct table *t, const struct table_entry *e, struct bm_msg *msg)
{
    struct slot_copy copy;
    struct slot *room;
    struct slot *s;

    if (!t->writer)
        return bm_fail(msg, BM_ERR_ARG, "the certificate table is attached for reading");
    s = find(t->map, e->id, &copy, &room);
    if (s != NULL) {
        slot_write(s, SLOT_USED, e);
        return BM_OK;
    }
    if (t->taken + 1 > room_of(t->map->capacity)) {
        enum bm_err err = grow(t, msg);

        if (err != BM_OK)
            return err;
        (void)find(t->map, e->id, &copy, &room);
    }
    if (room == NULL)
        return bm_fail(msg, BM_ERR_INTERNAL, "the certificate table has no free slot");
    if (slot_read(room, &copy) && copy.state == SLOT_FREE)
        t->taken++;
    slot_write(room, SLOT_USED, e);
    count_add(t->map, 1);
    return BM_OK;
}

void
table_remove(struct table *t, const uint8_t id[32])
{
    struct slot_copy copy;
    struct slot *s = t->writer ? find(t->map, id, &copy, NULL) : NULL;

    if (s == NULL)
        return;
    slot_write(s, SLOT_TOMBSTONE, &copy.entry);
    count_add(t->map, (uint64_t)-1);
}
