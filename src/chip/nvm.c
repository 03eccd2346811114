/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See nvm.h. The file, big-endian:
 *
 *   "A71CHNVM"  u16 version  u16 0  u32 image size  image  sum     the snapshot
 *   "REC1"      u32 sequence u16 length  payload  sum              records 1, 2, 3 ...
 *
 * sum: first 16 bytes of SHA-256 over all before it in the snapshot or record; a record's also
 * covers the snapshot's sum, so records of another file never fit. payload: (u16 at, u16 length,
 * bytes) once or more.
 */
#include "chip/nvm.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

static const char file_magic[8] = { 'A', '7', '1', 'C', 'H', 'N', 'V', 'M' };
static const char record_magic[4] = { 'R', 'E', 'C', '1' };

enum { IMAGE_MAX = 0xffff, RECORD_MAX = NVM_RECORD_HEADER + NVM_PAYLOAD_MAX + NVM_SUM_LEN };

struct nvm {
    struct nvm_store store;
    uint8_t *image;
    size_t size;
    bool fresh;
    bool must_replace; /* the file's tail is not known to be ours: write a new snapshot */
    size_t torn;
    uint32_t seq;
    size_t journal_len;
    uint8_t snapshot_sum[NVM_SUM_LEN];
};

static void
sum_of(uint8_t out[NVM_SUM_LEN], struct span salt, struct span data)
{
    uint8_t all[NVM_SUM_LEN + RECORD_MAX];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    struct wr w = wr_of(all, sizeof all);

    if (salt.len == 0) {
        (void)SHA256(data.ptr, data.len, digest);
    } else {
        wr_span(&w, salt);
        wr_span(&w, data);
        (void)SHA256(all, wr_len(&w), digest);
        bm_wipe(all, sizeof all);
    }
    memcpy(out, digest, NVM_SUM_LEN);
}

enum bm_err
nvm_frame_snapshot(struct wr *out, struct span image)
{
    struct wr w = *out;
    uint8_t sum[NVM_SUM_LEN];

    if (image.len == 0 || image.len > IMAGE_MAX)
        return BM_ERR_ARG;
    wr_bytes(&w, file_magic, sizeof file_magic);
    wr_u16(&w, NVM_VERSION);
    wr_u16(&w, 0);
    wr_u32(&w, (uint32_t)image.len);
    wr_span(&w, image);
    if (w.failed)
        return BM_ERR_SPACE;
    sum_of(sum, (struct span){ 0 }, span_of(out->pos, wr_len(&w) - wr_len(out)));
    wr_bytes(&w, sum, sizeof sum);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

enum bm_err
nvm_frame(struct wr *out, struct span snapshot_sum, uint32_t seq, struct span payload)
{
    struct wr w = *out;
    uint8_t sum[NVM_SUM_LEN];

    if (payload.len > NVM_PAYLOAD_MAX || snapshot_sum.len != NVM_SUM_LEN)
        return BM_ERR_ARG;
    wr_bytes(&w, record_magic, sizeof record_magic);
    wr_u32(&w, seq);
    wr_u16(&w, (uint16_t)payload.len);
    wr_span(&w, payload);
    if (w.failed)
        return BM_ERR_SPACE;
    sum_of(sum, snapshot_sum, span_of(out->pos, wr_len(&w) - wr_len(out)));
    wr_bytes(&w, sum, sizeof sum);
    if (w.failed)
        return BM_ERR_SPACE;
    *out = w;
    return BM_OK;
}

/* Take the snapshot off the front and copy its image. */
static enum bm_err
parse_snapshot(struct nvm *n, struct rd *in, struct bm_msg *msg)
{
    struct rd r = *in;
    struct span magic = rd_span(&r, sizeof file_magic);
    uint16_t version = rd_u16(&r);
    uint16_t zero = rd_u16(&r);
    uint32_t size = rd_u32(&r);
    struct span image;
    struct span sum;
    uint8_t want[NVM_SUM_LEN];

    if (r.failed || !span_eq(magic, span_of(file_magic, sizeof file_magic)))
        return bm_fail(msg, BM_ERR_INPUT, "it is not a chip's memory (no A71CHNVM at its start)");
    if (version != NVM_VERSION || zero != 0)
        return bm_fail(msg, BM_ERR_INPUT,
            "it has format version %u, this program reads %d; use the program that wrote it",
            version, NVM_VERSION);
    if (size != n->size)
        return bm_fail(
            msg, BM_ERR_INPUT, "its image has %lu bytes, wanted %zu", (unsigned long)size, n->size);
    image = rd_span(&r, size);
    sum = rd_span(&r, NVM_SUM_LEN);
    if (r.failed)
        return bm_fail(msg, BM_ERR_INPUT, "its snapshot is cut short");
    sum_of(want, (struct span){ 0 },
        span_of(magic.ptr, NVM_SNAPSHOT_HEADER + image.len)); /* all before the sum */
    if (!span_eq(sum, SPAN(want)))
        return bm_fail(msg, BM_ERR_INPUT, "the checksum of its snapshot is wrong");
    memcpy(n->image, image.ptr, image.len);
    memcpy(n->snapshot_sum, want, sizeof want);
    *in = r;
    return BM_OK;
}

/* Take one record off the front: false when what is there is not a whole, right record. */
static bool
parse_record(const struct nvm *n, struct rd *in, uint32_t *seq, struct span *payload)
{
    struct rd r = *in;
    const uint8_t *start = r.pos;
    struct span magic = rd_span(&r, sizeof record_magic);
    uint16_t len;
    struct span sum;
    uint8_t want[NVM_SUM_LEN];

    *seq = rd_u32(&r);
    len = rd_u16(&r);
    *payload = rd_span(&r, len);
    sum = rd_span(&r, NVM_SUM_LEN);
    if (r.failed || len > NVM_PAYLOAD_MAX ||
        !span_eq(magic, span_of(record_magic, sizeof record_magic)))
        return false;
    sum_of(want, SPAN(n->snapshot_sum), span_of(start, NVM_RECORD_HEADER + (size_t)len));
    if (!span_eq(sum, SPAN(want)))
        return false;
    *in = r;
    return true;
}

/* Bring one payload into the image; all of it or nothing. */
static bool
apply(struct nvm *n, struct span payload)
{
    for (int pass = 0; pass < 2; pass++) { /* look first, then write */
        struct rd r = rd_of(payload);

        do {
            size_t at = rd_u16(&r);
            struct span data = rd_span(&r, rd_u16(&r));

            if (r.failed || at > n->size || data.len > n->size - at)
                return false;
            if (pass == 1 && data.len > 0)
                memcpy(&n->image[at], data.ptr, data.len);
        } while (!rd_done(&r));
    }
    return true;
}

/*
 * Records are synced one by one, so a whole record behind a bad one means that the bad one was once
 * whole: damage. Nothing whole behind it: the torn tail of a power cut.
 */
static bool
record_follows(const struct nvm *n, struct rd r)
{
    while (rd_left(&r) > 0) {
        struct span payload;
        uint32_t seq;

        (void)rd_u8(&r);
        if (parse_record(n, &(struct rd){ r.pos, r.end, false }, &seq, &payload) && seq > n->seq)
            return true;
    }
    return false;
}

static enum bm_err
parse_journal(struct nvm *n, struct rd *r, struct bm_msg *msg)
{
    size_t all = rd_left(r);

    while (rd_left(r) > 0) {
        struct rd before = *r;
        struct span payload;
        uint32_t seq;

        if (!parse_record(n, r, &seq, &payload)) {
            if (record_follows(n, before))
                return bm_fail(msg, BM_ERR_INPUT, "record %lu of its journal is damaged",
                    (unsigned long)n->seq + 1);
            n->torn = rd_left(&before); /* nvm_open writes a new snapshot over it */
            break;
        }
        if (seq != n->seq + 1 || !apply(n, payload))
            return bm_fail(msg, BM_ERR_INPUT, "record %lu of its journal makes no sense here",
                (unsigned long)n->seq + 1);
        n->seq = seq;
    }
    n->journal_len = all - n->torn;
    return BM_OK;
}

static enum bm_err
load(struct nvm *n, struct bm_msg *msg)
{
    struct buf file = { 0 };
    struct rd r;
    enum bm_err err = n->store.load(n->store.arg, &file, msg);

    if (err == BM_ERR_NOT_FOUND) {
        n->fresh = true;
        n->must_replace = true;
        err = BM_OK;
    } else if (err == BM_OK) {
        r = rd_of(buf_span(&file));
        err = parse_snapshot(n, &r, msg);
        if (err == BM_OK)
            err = parse_journal(n, &r, msg);
    }
    bm_wipe(file.ptr, file.cap);
    buf_fini(&file);
    return err;
}

/* A new snapshot of the image as it is. */
static enum bm_err
fold(struct nvm *n)
{
    size_t cap = NVM_SNAPSHOT_HEADER + n->size + NVM_SUM_LEN;
    uint8_t *file = malloc(cap);
    struct wr w = wr_of(file, file != NULL ? cap : 0);
    enum bm_err err = file == NULL ? BM_ERR_MEM : BM_OK;

    if (err == BM_OK)
        err = nvm_frame_snapshot(&w, span_of(n->image, n->size));
    if (err == BM_OK) {
        n->must_replace = true; /* until it is known which file is there */
        err = n->store.replace(n->store.arg, span_of(file, wr_len(&w)));
    }
    if (err == BM_OK) {
        memcpy(n->snapshot_sum, &file[cap - NVM_SUM_LEN], NVM_SUM_LEN);
        n->must_replace = false;
        n->seq = 0;
        n->journal_len = 0;
    }
    if (file != NULL)
        bm_wipe(file, cap);
    free(file);
    return err;
}

enum bm_err
nvm_open(struct nvm_store store, size_t image_size, struct nvm **out, struct bm_msg *msg)
{
    struct nvm *n = calloc(1, sizeof *n);
    enum bm_err err = BM_OK;

    *out = NULL;
    if (n != NULL)
        n->image = calloc(1, image_size);
    if (n == NULL || n->image == NULL) {
        free(n);
        store.close(store.arg);
        return bm_fail(msg, BM_ERR_MEM, "out of memory");
    }
    n->store = store;
    n->size = image_size;
    err = load(n, msg);
    if (err == BM_OK && n->torn > 0 && fold(n) != BM_OK)
        err = bm_fail(msg, BM_ERR_IO, "cannot repair it after an unfinished write");
    if (err != BM_OK) {
        nvm_close(n);
        return err;
    }
    *out = n;
    return BM_OK;
}

void
nvm_close(struct nvm *n)
{
    if (n == NULL)
        return;
    n->store.close(n->store.arg);
    bm_wipe(n->image, n->size);
    free(n->image);
    free(n);
}

bool
nvm_fresh(const struct nvm *n)
{
    return n->fresh;
}

size_t
nvm_torn(const struct nvm *n)
{
    return n->torn;
}

struct span
nvm_read(const struct nvm *n, size_t at, size_t len)
{
    if (at > n->size || len > n->size - at)
        return span_of(NULL, 0);
    return span_of(&n->image[at], len);
}

static enum bm_err
build_payload(
    const struct nvm *n, const struct nvm_change *changes, size_t count, struct wr *payload)
{
    if (count == 0 || count > NVM_CHANGES_MAX)
        return BM_ERR_ARG;
    for (size_t i = 0; i < count; i++) {
        if (changes[i].at > n->size || changes[i].data.len > n->size - changes[i].at)
            return BM_ERR_ARG;
        wr_u16(payload, (uint16_t)changes[i].at);
        wr_u16(payload, (uint16_t)changes[i].data.len);
        wr_span(payload, changes[i].data);
    }
    return payload->failed ? BM_ERR_ARG : BM_OK;
}

static enum bm_err
append_payload(struct nvm *n, struct span payload)
{
    uint8_t record[RECORD_MAX];
    struct wr w = wr_of(record, sizeof record);
    enum bm_err err = nvm_frame(&w, SPAN(n->snapshot_sum), n->seq + 1, payload);

    if (err == BM_OK)
        err = n->store.append(n->store.arg, span_of(record, wr_len(&w)));
    bm_wipe(record, sizeof record);
    if (err != BM_OK) {
        n->must_replace = true;
        return err;
    }
    (void)apply(n, payload); /* cannot fail: build_payload looked at every range */
    n->seq++;
    n->journal_len += wr_len(&w);
    return BM_OK;
}

static enum bm_err
append_changes(struct nvm *n, const struct nvm_change *changes, size_t count)
{
    uint8_t bytes[NVM_PAYLOAD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = build_payload(n, changes, count, &w);

    if (err == BM_OK)
        err = append_payload(n, span_of(bytes, wr_len(&w)));
    bm_wipe(bytes, sizeof bytes);
    return err;
}

/* Zero from `wipe_from`, change, write all; and take it back when that fails. */
static enum bm_err
rewrite(struct nvm *n, size_t wipe_from, struct span payload)
{
    uint8_t *old = malloc(n->size);
    enum bm_err err;

    if (old == NULL)
        return BM_ERR_MEM;
    memcpy(old, n->image, n->size);
    if (wipe_from < n->size)
        memset(&n->image[wipe_from], 0, n->size - wipe_from);
    (void)apply(n, payload);
    err = fold(n);
    if (err != BM_OK)
        memcpy(n->image, old, n->size);
    bm_wipe(old, n->size);
    free(old);
    return err;
}

enum bm_err
nvm_wipe(struct nvm *n, size_t from, const struct nvm_change *changes, size_t count)
{
    uint8_t bytes[NVM_PAYLOAD_MAX];
    struct wr w = wr_of(bytes, sizeof bytes);
    enum bm_err err = from <= n->size ? build_payload(n, changes, count, &w) : BM_ERR_ARG;

    if (err == BM_OK)
        err = rewrite(n, from, span_of(bytes, wr_len(&w)));
    bm_wipe(bytes, sizeof bytes);
    return err;
}

enum bm_err
nvm_write(struct nvm *n, const struct nvm_change *changes, size_t count, enum nvm_mode mode)
{
    if (mode == NVM_SCRUB || n->must_replace || n->journal_len >= NVM_JOURNAL_MAX)
        return nvm_wipe(n, n->size, changes, count);
    return append_changes(n, changes, count);
}
