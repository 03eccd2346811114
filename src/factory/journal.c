/* SPDX-License-Identifier: Apache-2.0 */
/* See journal.h. */
#include "factory/journal.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 30, HEX_HASH = 65 };

struct journal {
    int fd;
    off_t size; /* of what is durable */
    const struct pki_signer *key;
    pthread_mutex_t lock;
    pthread_cond_t written;
    struct buf pending;
    uint64_t n;       /* of the last record */
    uint8_t hash[32]; /* of its line */
    uint64_t added;   /* counts journal_add */
    uint64_t durable; /* up to which of them */
    bool writing;     /* a thread is */
    bool dead;
    struct bm_msg why;
    uint64_t groups;
    int64_t sync_us;
};

/* ---- reading ---- */

static enum bm_err
bad(struct bm_msg *msg, uint64_t n, const char *what)
{
    return bm_fail(
        msg, BM_ERR_INPUT, "journal: record %llu is bad: %s", (unsigned long long)n, what);
}

static bool
sealed_by(const json_t *r, const char *prev, const struct pki_cert *log)
{
    const char *text = json_string_value(json_object_get(r, "signature"));
    struct buf sig = { 0 };
    bool good = text != NULL && base64_decode(&sig, span_str(text)) == BM_OK &&
                pki_cert_verify(log, span_str(prev), buf_span(&sig));

    buf_fini(&sig);
    return good;
}

/* One line, without its end: number, chain, form. */
static enum bm_err
read_record(struct span line, uint64_t n, const char *prev, json_t **out, struct bm_msg *msg)
{
    const char *said;

    *out = line.len <= JOURNAL_LINE_MAX
               ? json_loadb((const char *)line.ptr, line.len, JSON_REJECT_DUPLICATES, NULL)
               : NULL;
    if (!json_is_object(*out) || json_string_value(json_object_get(*out, "step")) == NULL ||
        json_string_value(json_object_get(*out, "uid")) == NULL)
        return bad(msg, n, "it is no record");
    if (json_integer_value(json_object_get(*out, "n")) != (json_int_t)n)
        return bad(msg, n, "its number is another one: a record is missing, added or moved");
    said = json_string_value(json_object_get(*out, "prev"));
    if (said == NULL || strcmp(said, prev) != 0)
        return bad(msg, n, "it does not follow from the record before: one of the two was changed");
    return BM_OK;
}

struct group {
    json_t **records;
    uint64_t first;
    size_t count;
};

static enum bm_err
give_group(struct group *g, journal_fn fn, void *arg, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    for (size_t i = 0; i < g->count; i++) {
        if (err == BM_OK && fn != NULL)
            err = fn(arg, g->first + i, g->records[i], msg);
        json_decref(g->records[i]);
    }
    g->count = 0;
    return err;
}

static enum bm_err
keep(struct group *g, uint64_t n, json_t *r, struct bm_msg *msg)
{
    json_t **more = realloc(g->records, (g->count + 1) * sizeof(json_t *));

    if (more == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the journal");
    g->records = more;
    if (g->count == 0)
        g->first = n;
    g->records[g->count++] = json_incref(r);
    return BM_OK;
}

enum bm_err
journal_read(struct span text, const struct pki_cert *log, journal_fn fn, void *arg,
    struct journal_end *end, struct bm_msg *msg)
{
    struct group g = { 0 };
    char prev[HEX_HASH] = "";
    uint8_t hash[32] = { 0 };
    size_t at = 0;
    enum bm_err err = BM_OK;

    *end = (struct journal_end){ 0 };
    hex_encode(prev, hash, sizeof hash);
    while (err == BM_OK && at < text.len) {
        const uint8_t *start = text.ptr + at;
        const uint8_t *nl = memchr(start, '\n', text.len - at);
        json_t *r = NULL;

        if (nl == NULL)
            break;
        err = read_record(span_of(start, (size_t)(nl - start)), end->records + 1, prev, &r, msg);
        if (err == BM_OK) {
            bool seal = strcmp(json_string_value(json_object_get(r, "step")), "seal") == 0;

            end->records++;
            at += (size_t)(nl - start) + 1;
            (void)SHA256(start, (size_t)(nl - start), hash);
            if (seal && !sealed_by(r, prev, log))
                err = bad(msg, end->records, "its signature is not the log key's");
            else if (seal)
                err = give_group(&g, fn, arg, msg);
            else
                err = keep(&g, end->records, r, msg);
            hex_encode(prev, hash, sizeof hash);
            if (err == BM_OK && seal) {
                end->sealed = end->records;
                end->good_bytes = at;
                memcpy(end->hash, hash, sizeof hash);
            }
        }
        json_decref(r);
    }
    (void)!give_group(&g, NULL, NULL, NULL);
    free(g.records);
    return err;
}

/* ---- writing ---- */

static enum bm_err
open_file(struct journal *j, const char *path, struct buf *text, struct bm_msg *msg)
{
    enum bm_err err = BM_OK;

    j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (j->fd < 0)
        return bm_fail(msg, BM_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    err = file_read(path, FILE_MAX, text, msg);
    return err;
}

enum bm_err
journal_open(const char *path, const struct pki_signer *key, const struct pki_cert *log,
    journal_fn fn, void *arg, struct journal **out, struct bm_msg *msg)
{
    struct journal *j = calloc(1, sizeof *j);
    struct journal_end end;
    struct buf text = { 0 };
    enum bm_err err;

    *out = NULL;
    if (j == NULL)
        return bm_fail(msg, BM_ERR_MEM, "out of memory for the journal");
    j->fd = -1;
    j->key = key;
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->written, NULL);
    err = open_file(j, path, &text, msg);
    if (err == BM_OK)
        err = journal_read(buf_span(&text), log, fn, arg, &end, msg);
    if (err == BM_OK && end.good_bytes < text.len && ftruncate(j->fd, (off_t)end.good_bytes) != 0)
        err = bm_fail(msg, BM_ERR_IO, "cannot cut %s: %s", path, strerror(errno));
    buf_fini(&text);
    if (err != BM_OK) {
        journal_close(j);
        return err;
    }
    j->size = (off_t)end.good_bytes;
    j->n = end.sealed;
    memcpy(j->hash, end.hash, sizeof j->hash);
    *out = j;
    return BM_OK;
}

void
journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    if (j->fd >= 0)
        (void)close(j->fd);
    buf_fini(&j->pending);
    (void)pthread_cond_destroy(&j->written);
    (void)pthread_mutex_destroy(&j->lock);
    free(j);
}

/* Append a line to what is pending; takes `r`. */
static bool
add_line(struct journal *j, json_t *r, const char *step, const char *uid)
{
    char prev[HEX_HASH];
    char now[CLOCK_TEXT_LEN];
    char *line;
    bool done;

    hex_encode(prev, j->hash, sizeof j->hash);
    clock_text(now, clock_wall_ms());
    done = r != NULL && json_object_set_new(r, "n", json_integer((json_int_t)(j->n + 1))) == 0 &&
           json_object_set_new(r, "time", json_string(now)) == 0 &&
           json_object_set_new(r, "step", json_string(step)) == 0 &&
           json_object_set_new(r, "uid", json_string(uid)) == 0 &&
           json_object_set_new(r, "prev", json_string(prev)) == 0;
    line = done ? json_dumps(r, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(r);
    if (line == NULL)
        return false;
    (void)SHA256((const uint8_t *)line, strlen(line), j->hash);
    j->n++;
    buf_addf(&j->pending, "%s\n", line);
    free(line);
    return !j->pending.failed;
}

static bool
add_seal(struct journal *j)
{
    uint8_t sig[PKI_SIGNATURE_MAX];
    char prev[HEX_HASH];
    struct buf text = { 0 };
    size_t len = 0;
    bool done;

    hex_encode(prev, j->hash, sizeof j->hash);
    done = pki_sign_bytes(j->key, span_str(prev), sig, &len, NULL) == BM_OK &&
           base64_encode(&text, span_of(sig, len)) == BM_OK && buf_cstr(&text) != NULL &&
           add_line(j, json_pack("{s:s}", "signature", buf_cstr(&text)), "seal", "");
    buf_fini(&text);
    return done;
}

/* The group that is pending goes to disk; called and left with the lock held. */
static void
write_group(struct journal *j)
{
    struct buf group;
    uint64_t upto = j->added;
    int64_t start;
    bool done = add_seal(j);

    group = j->pending;
    j->pending = (struct buf){ 0 };
    j->writing = true;
    (void)pthread_mutex_unlock(&j->lock);
    start = clock_mono_us();
    done = done && lseek(j->fd, j->size, SEEK_SET) == j->size &&
           fd_write_all(j->fd, buf_span(&group)) == BM_OK && fdatasync(j->fd) == 0;
    if (!done) {
        int cause = errno;

        (void)!ftruncate(j->fd, j->size);
        (void)bm_fail(&j->why, BM_ERR_IO,
            "the journal cannot be written: %s; make room and run "
            "the job again",
            strerror(cause));
    }
    start = clock_mono_us() - start;
    (void)pthread_mutex_lock(&j->lock);
    j->writing = false;
    j->dead = !done;
    if (done) {
        j->durable = upto;
        j->size += (off_t)group.len;
        j->groups++;
        j->sync_us += start;
    }
    buf_fini(&group);
    (void)pthread_cond_broadcast(&j->written);
}

/* With the lock held; takes `fields`. */
static void
add(struct journal *j, const char *step, const char *uid, json_t *fields)
{
    if (j->dead)
        json_decref(fields);
    else if (!add_line(j, fields != NULL ? fields : json_object(), step, uid))
        j->dead = true;
    if (j->dead && j->why.text[0] == '\0')
        (void)bm_fail(&j->why, BM_ERR_MEM, "out of memory for the journal");
    j->added++;
}

/* With the lock held. */
static enum bm_err
wait_for(struct journal *j, uint64_t mine, struct bm_msg *msg)
{
    while (!j->dead && j->durable < mine) {
        if (j->writing)
            (void)pthread_cond_wait(&j->written, &j->lock);
        else
            write_group(j);
    }
    return j->durable < mine ? bm_fail(msg, BM_ERR_IO, "%s", j->why.text) : BM_OK;
}

enum bm_err
journal_add(
    struct journal *j, const char *step, const char *uid, json_t *fields, struct bm_msg *msg)
{
    enum bm_err err;

    (void)pthread_mutex_lock(&j->lock);
    add(j, step, uid, fields);
    err = wait_for(j, j->added, msg);
    (void)pthread_mutex_unlock(&j->lock);
    return err;
}

enum bm_err
journal_add_later(
    struct journal *j, const char *step, const char *uid, json_t *fields, struct bm_msg *msg)
{
    enum bm_err err;

    (void)pthread_mutex_lock(&j->lock);
    add(j, step, uid, fields);
    err = j->dead ? bm_fail(msg, BM_ERR_IO, "%s", j->why.text) : BM_OK;
    (void)pthread_mutex_unlock(&j->lock);
    return err;
}

enum bm_err
journal_flush(struct journal *j, struct bm_msg *msg)
{
    enum bm_err err;

    (void)pthread_mutex_lock(&j->lock);
    err = wait_for(j, j->added, msg);
    (void)pthread_mutex_unlock(&j->lock);
    return err;
}

void
journal_costs(struct journal *j, uint64_t *groups, int64_t *sync_us)
{
    (void)pthread_mutex_lock(&j->lock);
    *groups = j->groups;
    *sync_us = j->sync_us;
    (void)pthread_mutex_unlock(&j->lock);
}
