/* SPDX-License-Identifier: Apache-2.0 */
/* See chips.h. */
#include "a71chd/chips.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct slot {
    struct backend *backend; /* NULL: closed */
    unsigned clients;
    struct slot *next; /* in the ring of those that are open without clients */
    struct slot *prev;
};

struct chips {
    size_t count;
    struct slot *slots;
    struct slot idle; /* head of the ring; the longest left is its next */
    size_t idle_count;
    size_t open_count;
    size_t save_at;
    chips_open_fn open;
    void *arg;
    char dir[PATH_MAX];
};

static void
ring_remove(struct chips *c, struct slot *s)
{
    s->prev->next = s->next;
    s->next->prev = s->prev;
    c->idle_count--;
}

static void
ring_append(struct chips *c, struct slot *s)
{
    s->prev = c->idle.prev;
    s->next = &c->idle;
    s->prev->next = s;
    c->idle.prev = s;
    c->idle_count++;
}

static void
slot_close(struct chips *c, struct slot *s)
{
    if (s->backend == NULL)
        return;
    backend_free(s->backend);
    s->backend = NULL;
    c->open_count--;
}

static struct chips *
new_chips(size_t count)
{
    struct chips *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->count = count;
    c->idle.next = c->idle.prev = &c->idle;
    c->slots = calloc(count, sizeof *c->slots);
    if (c->slots != NULL)
        return c;
    free(c);
    return NULL;
}

enum bm_err
chips_one(struct backend *chip, struct chips **out)
{
    struct chips *c = new_chips(1);

    *out = c;
    if (c == NULL) {
        backend_free(chip);
        return BM_ERR_MEM;
    }
    c->slots[0].backend = chip;
    c->slots[0].clients = 1; /* nobody's: it stays open */
    c->open_count = 1;
    return BM_OK;
}

enum bm_err
chips_lock(const char *dir, int *out, struct bm_msg *msg)
{
    char path[PATH_MAX];
    enum bm_err err = dir_make(dir, 0700, msg);
    int fd;

    if (err != BM_OK)
        return err;
    if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path - CHIPS_NAME_LEN)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", dir);
    (void)snprintf(path, sizeof path, "%s/nvm", dir);
    if (access(path, F_OK) == 0)
        return bm_fail(msg, BM_ERR_INPUT,
            "folder %s is a chip itself; name one for the folders of many chips", dir);
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return bm_fail(msg, BM_ERR_CONFLICT,
            "another process serves the chips in %s; stop it or name another folder", dir);
    }
    *out = fd;
    return BM_OK;
}

enum bm_err
chips_many(const char *dir, size_t count, chips_open_fn open, void *arg, struct chips **out)
{
    struct chips *c = new_chips(count);

    *out = c;
    if (c == NULL)
        return BM_ERR_MEM;
    (void)snprintf(c->dir, sizeof c->dir, "%s", dir); /* chips_lock refused longer ones */
    c->open = open;
    c->arg = arg;
    return BM_OK;
}

void
chips_free(struct chips *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        slot_close(c, &c->slots[i]);
    free(c->slots);
    free(c);
}

size_t
chips_count(const struct chips *c)
{
    return c->count;
}

size_t
chips_open_count(const struct chips *c)
{
    return c->open_count;
}

void
chips_name(char out[CHIPS_NAME_LEN], size_t index)
{
    (void)snprintf(out, CHIPS_NAME_LEN, "%04u", (unsigned)(index % CHIPS_MAX));
}

static enum bm_err
slot_open(struct chips *c, size_t index, struct bm_msg *msg)
{
    char dir[PATH_MAX];
    char name[CHIPS_NAME_LEN];
    enum bm_err err;

    chips_name(name, index);
    if (snprintf(dir, sizeof dir, "%s/%s", c->dir, name) >= (int)sizeof dir)
        return bm_fail(msg, BM_ERR_ARG, "path too long: %s", c->dir);
    err = c->open(c->arg, dir, &c->slots[index].backend, msg);
    if (err == BM_OK)
        c->open_count++;
    return err;
}

enum bm_err
chips_take(struct chips *c, size_t index, struct backend **out, struct bm_msg *msg)
{
    struct slot *s = &c->slots[index];
    enum bm_err err = BM_OK;

    *out = NULL;
    if (s->backend == NULL)
        err = slot_open(c, index, msg);
    else if (s->clients == 0)
        ring_remove(c, s);
    if (err != BM_OK)
        return err;
    s->clients++;
    *out = s->backend;
    return BM_OK;
}

void
chips_release(struct chips *c, size_t index)
{
    struct slot *s = &c->slots[index];

    if (--s->clients > 0)
        return;
    ring_append(c, s);
    if (c->idle_count > CHIPS_IDLE_MAX) {
        s = c->idle.next;
        ring_remove(c, s);
        slot_close(c, s);
    }
}

void
chips_save_next(struct chips *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct slot *s = &c->slots[c->save_at];

        c->save_at = (c->save_at + 1) % c->count;
        if (s->backend != NULL) {
            backend_save(s->backend);
            return;
        }
    }
}
