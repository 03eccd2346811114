/* SPDX-License-Identifier: Apache-2.0 */
/* See chips.h. */
#include "factory/chips.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 18, ALL_MAX = 120000, JOB_TEXT = 65 };

struct chips {
    pthread_mutex_t lock;
    unsigned want;
    unsigned done;
    unsigned last_number;
    char job[JOB_TEXT]; /* whose results these are, by their first record; "": not known */
    struct chip **all;
    size_t count;
    uint32_t *by_uid;  /* index + 1 in `all`; 0: free */
    uint64_t *serials; /* first half of each serial, 0: free; random, so two alike are a repeat */
};

enum bm_err
chips_new(unsigned count, struct chips **out, struct bm_msg *msg)
{
    struct chips *c = calloc(1, sizeof *c);

    *out = c;
    if (c != NULL) {
        (void)pthread_mutex_init(&c->lock, NULL);
        c->want = count;
        c->all = calloc(ALL_MAX, sizeof *c->all);
        c->by_uid = calloc(SLOTS, sizeof *c->by_uid);
        c->serials = calloc(SLOTS, sizeof *c->serials);
    }
    if (c == NULL || c->all == NULL || c->by_uid == NULL || c->serials == NULL) {
        chips_free(c);
        *out = NULL;
        return bm_fail(msg, BM_ERR_MEM, "out of memory for %u chips", count);
    }
    return BM_OK;
}

void
chips_free(struct chips *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; c->all != NULL && i < c->count; i++) {
        buf_fini(&c->all[i]->leaf);
        free(c->all[i]->reason);
        free(c->all[i]);
    }
    free(c->all);
    free(c->by_uid);
    free(c->serials);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static uint64_t
hash_of(const char *text)
{
    uint64_t h = 14695981039346656037u;

    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 1099511628211u;
    return h | 1;
}

/* With the lock held; NULL: out of memory, or too many. */
static struct chip *
look_up(struct chips *c, const char *uid, bool make)
{
    size_t at = hash_of(uid) % SLOTS;
    struct chip *chip;

    for (; c->by_uid[at] != 0; at = (at + 1) % SLOTS) {
        if (strcmp(c->all[c->by_uid[at] - 1]->uid, uid) == 0)
            return c->all[c->by_uid[at] - 1];
    }
    chip = make && c->count < ALL_MAX ? calloc(1, sizeof *chip) : NULL;
    if (chip == NULL)
        return NULL;
    (void)snprintf(chip->uid, sizeof chip->uid, "%s", uid);
    c->all[c->count++] = chip;
    chip->number = ++c->last_number;
    c->by_uid[at] = (uint32_t)c->count;
    return chip;
}

static enum bm_err
take_serial(struct chips *c, const char *serial, struct bm_msg *msg)
{
    uint64_t h = hash_of(serial);
    size_t at = h % SLOTS;

    for (; c->serials[at] != 0; at = (at + 1) % SLOTS) {
        if (c->serials[at] == h)
            return bm_fail(msg, BM_ERR_EXISTS, "serial number %s was used before", serial);
    }
    c->serials[at] = h;
    return BM_OK;
}

enum bm_err
chips_take_serial(struct chips *c, const char *serial, struct bm_msg *msg)
{
    enum bm_err err;

    (void)pthread_mutex_lock(&c->lock);
    err = take_serial(c, serial, msg);
    (void)pthread_mutex_unlock(&c->lock);
    return err;
}

/* ---- from the journal ---- */

static enum bm_err
wrong(struct bm_msg *msg, uint64_t n, const char *what)
{
    return bm_fail(
        msg, BM_ERR_INPUT, "journal: record %llu is bad: %s", (unsigned long long)n, what);
}

static const char *
text_of(const json_t *r, const char *member)
{
    const char *text = json_string_value(json_object_get(r, member));

    return text != NULL ? text : "";
}

static void
scrap(struct chips *c, struct chip *chip, const char *reason)
{
    c->done -= chip->state == CHIP_DONE;
    chip->scrapped = true;
    chip->reason = strdup(reason);
}

static enum bm_err
replay_leaf(struct chips *c, struct chip *chip, uint64_t n, const json_t *r, struct bm_msg *msg)
{
    const char *serial = text_of(r, "serial");

    if (chip->state >= CHIP_LEAF)
        return wrong(msg, n, "a second leaf for the same chip");
    if (strlen(serial) != sizeof chip->serial - 1 ||
        base64_decode(&chip->leaf, span_str(text_of(r, "leaf"))) != BM_OK)
        return wrong(msg, n, "its leaf or serial number is none");
    if (take_serial(c, serial, NULL) != BM_OK)
        return wrong(msg, n, "its serial number was used before");
    memcpy(chip->serial, serial, sizeof chip->serial);
    chip->state = CHIP_LEAF;
    return BM_OK;
}

enum bm_err
chips_replay(void *arg, uint64_t n, const json_t *r, struct bm_msg *msg)
{
    struct chips *c = arg;
    const char *step = text_of(r, "step");
    const char *uid = text_of(r, "uid");
    struct chip *chip;

    if (*uid == '\0') { /* of the job, not of a chip */
        if (c->job[0] == '\0')
            (void)snprintf(c->job, sizeof c->job, "%s", text_of(r, "job"));
        return BM_OK;
    }
    if (strlen(uid) != UID_TEXT - 1 || (chip = look_up(c, uid, true)) == NULL)
        return wrong(msg, n, "its unique id is none, or there are too many");
    if (chip->scrapped)
        return wrong(msg, n, "its chip was written off before");
    if (strcmp(step, "leaf") == 0)
        return replay_leaf(c, chip, n, r, msg);
    if (strcmp(step, "begin") == 0 && chip->state <= CHIP_KEY) {
        json_int_t number = json_integer_value(json_object_get(r, "number"));

        if (number < 1 || number > INT32_MAX)
            return wrong(msg, n, "its number in the job is none");
        chip->number = (unsigned)number;
        if (chip->number > c->last_number)
            c->last_number = chip->number;
        chip->state = CHIP_BEGUN;
    } else if (strcmp(step, "key") == 0 && chip->state <= CHIP_KEY) {
        if (hex_decode(chip->point, A71CH_POINT_LEN, span_str(text_of(r, "point"))) != BM_OK)
            return wrong(msg, n, "its key is none");
        chip->state = CHIP_KEY;
    } else if (strcmp(step, "stored") == 0 && chip->state == CHIP_LEAF) {
        chip->state = CHIP_STORED;
    } else if (strcmp(step, "done") == 0 && chip->state == CHIP_STORED) {
        chip->state = CHIP_DONE;
        (void)snprintf(chip->time, sizeof chip->time, "%s", text_of(r, "time"));
        c->done++;
    } else if (strcmp(step, "scrap") == 0) {
        scrap(c, chip, text_of(r, "reason"));
    } else if (strcmp(step, "failed") != 0 && strcmp(step, "locking") != 0) {
        return wrong(msg, n, "it is not the step that comes next for this chip");
    }
    return BM_OK;
}

/* ---- the line ---- */

/* Leaves that are out, and chips that are being worked on: with them the job may be full. */
static unsigned
reserved(const struct chips *c)
{
    unsigned n = 0;

    for (size_t i = 0; i < c->count; i++)
        n += !c->all[i]->scrapped && (c->all[i]->state >= CHIP_LEAF || c->all[i]->claimed);
    return n;
}

enum bm_err
chips_claim(struct chips *c, const char *uid, struct chip **out, struct bm_msg *msg)
{
    struct chip *chip;
    enum bm_err err = BM_OK;

    (void)pthread_mutex_lock(&c->lock);
    *out = NULL;
    chip = look_up(c, uid, false);
    if (chip != NULL && chip->scrapped)
        err = bm_fail(msg, BM_ERR_DENIED, "chip %s was written off: %.200s", uid,
            chip->reason != NULL ? chip->reason : "");
    else if (chip != NULL && chip->state == CHIP_DONE)
        err = bm_fail(msg, BM_ERR_EXISTS, "chip %s is done already", uid);
    else if (chip != NULL && chip->claimed)
        err = bm_fail(msg, BM_ERR_CONFLICT, "chip %s is in work at another socket", uid);
    else if ((chip == NULL || chip->state < CHIP_LEAF) && reserved(c) >= c->want)
        err = bm_fail(msg, BM_ERR_LIMIT, "the job has its %u chips", c->want);
    else if (chip == NULL && (chip = look_up(c, uid, true)) == NULL)
        err = bm_fail(msg, BM_ERR_MEM, "out of memory for a chip");
    if (err == BM_OK) {
        chip->claimed = true;
        *out = chip;
    }
    (void)pthread_mutex_unlock(&c->lock);
    return err;
}

void
chips_release(struct chips *c, struct chip *chip)
{
    (void)pthread_mutex_lock(&c->lock);
    chip->claimed = false;
    (void)pthread_mutex_unlock(&c->lock);
}

void
chips_set_done(struct chips *c, struct chip *chip)
{
    (void)pthread_mutex_lock(&c->lock);
    chip->state = CHIP_DONE;
    c->done++;
    (void)pthread_mutex_unlock(&c->lock);
}

unsigned
chips_done(struct chips *c)
{
    unsigned n;

    (void)pthread_mutex_lock(&c->lock);
    n = c->done;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

unsigned
chips_begun(struct chips *c)
{
    unsigned n = 0;

    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++)
        n += !c->all[i]->scrapped && c->all[i]->state != CHIP_NEW && c->all[i]->state != CHIP_DONE;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

static int
by_uid(const void *a, const void *b)
{
    const struct chip *const *x = a;
    const struct chip *const *y = b;

    return strcmp((*x)->uid, (*y)->uid);
}

const char *
chips_job(const struct chips *c)
{
    return c->job;
}

enum bm_err
chips_may_scrap(struct chips *c, const char *uid, const struct chip **out, struct bm_msg *msg)
{
    const struct chip *chip = look_up(c, uid, false);

    *out = chip;
    if (chip == NULL)
        return bm_fail(msg, BM_ERR_NOT_FOUND,
            "the journal has no chip %.40s; the unique id is %d hex digits", uid, UID_TEXT - 1);
    return chip->scrapped ? bm_fail(msg, BM_ERR_EXISTS, "chip %s was written off: %.200s", uid,
                                chip->reason != NULL ? chip->reason : "")
                          : BM_OK;
}

void
chips_scrap(struct chips *c, const char *uid, const char *reason)
{
    struct chip *chip = look_up(c, uid, false);

    if (chip != NULL)
        scrap(c, chip, reason);
}

const struct chip *
chips_stuck(const struct chips *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct chip *chip = c->all[i];

        if (!chip->scrapped && chip->state >= CHIP_LEAF && chip->state < CHIP_DONE)
            return chip;
    }
    return NULL;
}

void
chip_certificate_id(const struct chip *c, char out[65])
{
    uint8_t hash[SHA256_DIGEST_LENGTH];

    out[0] = '\0';
    if (c->leaf.len == 0)
        return;
    (void)SHA256(c->leaf.ptr, c->leaf.len, hash);
    hex_encode(out, hash, sizeof hash);
}

enum bm_err
chips_list(const struct chips *c, bool scrapped, const struct chip ***out, size_t *count,
    struct bm_msg *msg)
{
    const struct chip **list = calloc(c->count + 1, sizeof(struct chip *));

    *count = 0;
    *out = list;
    if (list == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the list of chips");
    for (size_t i = 0; i < c->count; i++) {
        if (c->all[i]->scrapped == scrapped &&
            c->all[i]->state >= (scrapped ? CHIP_LEAF : CHIP_DONE))
            list[(*count)++] = c->all[i];
    }
    qsort(list, *count, sizeof(struct chip *), by_uid);
    return BM_OK;
}
