/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See nvm.h. The file, big-endian:
 *
 *   "A71CHNVM"  u16 version  u16 0  u32 image size  key id  nonce  image, sealed  tag    the
 * snapshot "REC2"      u32 sequence u16 length             nonce  payload, sealed  tag    records
 * 1, 2, 3 ...
 *
 * The seal (seal.h) of the snapshot covers all before it in the file; a record's covers its header
 * and the snapshot's tag, so records of another file never fit. The sealed payload is (u16 at, u16
 * length, bytes) once or more.
 *
 * Version 1 was in the clear, with a checksum (16 bytes of SHA-256) where the tag is, and "REC1".
 * It is read, and written anew as version 2 before nvm_open returns.
 */
#include "chip/nvm.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

static const char file_magic[8] = { 'A', '7', '1', 'C', 'H', 'N', 'V', 'M' };
static const char record_magic[4] = { 'R', 'E', 'C', '2' };
static const char record_magic_1[4] = { 'R', 'E', 'C', '1' };

enum {
    IMAGE_MAX = 0xffff,
    HEADER_1 = 16, /* a snapshot's without key id */
    SUM_LEN = 16,  /* of version 1, and of a tag */
    RECORD_MAX = NVM_RECORD_HEADER + NVM_PAYLOAD_MAX + SEAL_EXTRA,
};

struct nvm {
    struct nvm_store store;
    struct seal seal;
    uint8_t *image;
    size_t size;
    unsigned version; /* of the file */
    bool fresh;
    bool must_replace; /* the file's tail is not known to be ours: write a new snapshot */
    size_t torn;
    uint32_t seq;
    size_t journal_len;
    uint8_t snapshot_tag[SUM_LEN];
    uint8_t plain[NVM_PAYLOAD_MAX]; /* of the record in hand */
};

/* The checksum of version 1. */
static bool
sum_matches(struct span salt, struct span data, struct span sum)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t digest[SHA256_DIGEST_LENGTH];
    bool ok = ctx != NULL && EVP_DigestInit_ex2(ctx, EVP_sha256(), NULL) > 0 &&
              (salt.len == 0 || EVP_DigestUpdate(ctx, salt.ptr, salt.len) > 0) &&
              EVP_DigestUpdate(ctx, data.ptr, data.len) > 0 &&
              EVP_DigestFinal_ex(ctx, digest, NULL) > 0;

    EVP_MD_CTX_free(ctx);
    return ok && span_eq(sum, span_of(digest, SUM_LEN));
}

enum bm_err
nvm_frame_snapshot(struct wr *out, const struct seal *seal, struct span image)
{
    struct wr w = *out;
    enum bm_err err;

    if (image.len == 0 || image.len > IMAGE_MAX)
        return BM_ERR_ARG;
    wr_bytes(&w, file_magic, sizeof file_magic);
    wr_u16(&w, NVM_VERSION);
    wr_u16(&w, 0);
    wr_u32(&w, (uint32_t)image.len);
    wr_bytes(&w, seal->id, sizeof seal->id);
    if (w.failed)
        return BM_ERR_SPACE;
    err = seal_close(seal, span_of(out->pos, NVM_SNAPSHOT_HEADER), image, &w);
    if (err == BM_OK)
        *out = w;
    return err;
}

/* What a record's seal covers besides the payload. */
static struct span
record_bound(
    uint8_t out[SUM_LEN + NVM_RECORD_HEADER], struct span snapshot_tag, const uint8_t *header)
{
    memcpy(out, snapshot_tag.ptr, SUM_LEN);
    memcpy(&out[SUM_LEN], header, NVM_RECORD_HEADER);
    return span_of(out, SUM_LEN + NVM_RECORD_HEADER);
}

enum bm_err
nvm_frame(struct wr *out, const struct seal *seal, struct span snapshot_tag, uint32_t seq,
    struct span payload)
{
    struct wr w = *out;
    uint8_t bound[SUM_LEN + NVM_RECORD_HEADER];
    enum bm_err err;

    if (payload.len > NVM_PAYLOAD_MAX || snapshot_tag.len != SUM_LEN)
        return BM_ERR_ARG;
    wr_bytes(&w, record_magic, sizeof record_magic);
    wr_u32(&w, seq);
    wr_u16(&w, (uint16_t)payload.len);
    if (w.failed)
        return BM_ERR_SPACE;
    err = seal_close(seal, record_bound(bound, snapshot_tag, out->pos), payload, &w);
    if (err == BM_OK)
        *out = w;
    return err;
}

/* The version of the file that starts so. */
static enum bm_err
parse_version(struct nvm *n, struct rd r, struct bm_msg *msg)
{
    struct span magic = rd_span(&r, sizeof file_magic);
    uint16_t zero;
    uint32_t size;

    n->version = rd_u16(&r);
    zero = rd_u16(&r);
    size = rd_u32(&r);
    if (r.failed || !span_eq(magic, span_of(file_magic, sizeof file_magic)))
        return bm_fail(msg, BM_ERR_INPUT, "it is not a chip's memory (no A71CHNVM at its start)");
    if (n->version < 1 || n->version > NVM_VERSION || zero != 0)
        return bm_fail(msg, BM_ERR_INPUT,
            "it has format version %u, this program reads up to %d; use the program that wrote it",
            n->version, NVM_VERSION);
    if (size != n->size)
        return bm_fail(
            msg, BM_ERR_INPUT, "its image has %lu bytes, wanted %zu", (unsigned long)size, n->size);
    return BM_OK;
}

/* Take the snapshot off the front and copy its image. */
static enum bm_err
parse_snapshot(struct nvm *n, struct rd *in, struct bm_msg *msg)
{
    struct rd r = *in;
    struct span header = rd_span(&r, n->version == 1 ? HEADER_1 : NVM_SNAPSHOT_HEADER);
    struct span body = rd_span(&r, n->version == 1 ? n->size : n->size + SEAL_NONCE_LEN);
    struct span tag = rd_span(&r, SUM_LEN);
    bool ok;

    if (r.failed)
        return bm_fail(msg, BM_ERR_INPUT, "its snapshot is cut short");
    if (n->version == 1) {
        ok = sum_matches((struct span){ 0 }, span_of(header.ptr, header.len + body.len), tag);
    } else {
        if (!span_eq(span_of(&header.ptr[HEADER_1], SEAL_ID_LEN), SPAN(n->seal.id)))
            return bm_fail(msg, BM_ERR_INPUT,
                "the file key beside it is not the one it was "
                "written with");
        ok = seal_open(&n->seal, header, span_of(body.ptr, body.len + tag.len), n->image) == BM_OK;
    }
    if (!ok)
        return bm_fail(msg, BM_ERR_INPUT, "the checksum of its snapshot is wrong");
    if (n->version == 1)
        memcpy(n->image, body.ptr, body.len);
    memcpy(n->snapshot_tag, tag.ptr, tag.len);
    *in = r;
    return BM_OK;
}

/*
 * Take one record off the front: false when what is there is not a whole, right record. `payload`
 * lasts until the next one is taken.
 */
static bool
parse_record(struct nvm *n, struct rd *in, uint32_t *seq, struct span *payload)
{
    const char *want = n->version == 1 ? record_magic_1 : record_magic;
    struct rd r = *in;
    const uint8_t *start = r.pos;
    struct span magic = rd_span(&r, sizeof record_magic);
    uint8_t bound[SUM_LEN + NVM_RECORD_HEADER];
    uint16_t len;
    struct span body;

    *seq = rd_u32(&r);
    len = rd_u16(&r);
    body = rd_span(&r, len + (size_t)(n->version == 1 ? SUM_LEN : SEAL_EXTRA));
    if (r.failed || len > NVM_PAYLOAD_MAX || !span_eq(magic, span_of(want, sizeof record_magic)))
        return false;
    if (n->version == 1) {
        *payload = span_of(body.ptr, len);
        if (!sum_matches(SPAN(n->snapshot_tag), span_of(start, NVM_RECORD_HEADER + (size_t)len),
                span_of(&body.ptr[len], SUM_LEN)))
            return false;
    } else {
        *payload = span_of(n->plain, len);
        if (seal_open(&n->seal, record_bound(bound, SPAN(n->snapshot_tag), start), body,
                n->plain) != BM_OK)
            return false;
    }
    *in = r;
    return true;
}

/* Bring one payload into the image; all of it or nothing. */
static bool
apply(uint8_t *image, size_t size, struct span payload)
{
    for (int pass = 0; pass < 2; pass++) { /* look first, then write */
        struct rd r = rd_of(payload);

        do {
            size_t at = rd_u16(&r);
            struct span data = rd_span(&r, rd_u16(&r));

            if (r.failed || at > size || data.len > size - at)
                return false;
            if (pass == 1 && data.len > 0)
                memcpy(&image[at], data.ptr, data.len);
        } while (!rd_done(&r));
    }
    return true;
}

/*
 * Records are synced one by one, so a whole record behind a bad one means that the bad one was once
 * whole: damage. Nothing whole behind it: the torn tail of a power cut.
 */
static bool
record_follows(struct nvm *n, struct rd r)
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
        if (seq != n->seq + 1 || !apply(n->image, n->size, payload))
            return bm_fail(msg, BM_ERR_INPUT, "record %lu of its journal makes no sense here",
                (unsigned long)n->seq + 1);
        n->seq = seq;
    }
    n->journal_len = all - n->torn;
    return BM_OK;
}

/* The file key; only a file that was written with one needs the one that is there. */
static enum bm_err
take_key(struct nvm *n, OSSL_LIB_CTX *lib, struct bm_msg *msg)
{
    uint8_t key[SEAL_KEY_LEN];
    enum bm_err err = n->store.key(n->store.arg, key, msg);

    if (err == BM_ERR_NOT_FOUND && n->version > 1)
        return bm_fail(msg, BM_ERR_INPUT,
            "the file key it was written with is gone (file `key` beside it); without it nobody "
            "reads it");
    if (err == BM_ERR_NOT_FOUND) {
        if (RAND_priv_bytes_ex(lib, key, sizeof key, 0) <= 0)
            return bm_fail(msg, BM_ERR_INTERNAL, "libcrypto gives no random bytes");
        err = n->store.put_key(n->store.arg, key);
        if (err != BM_OK)
            err = bm_fail(msg, err, "cannot write its file key; is there space?");
    }
    if (err == BM_OK && seal_init(&n->seal, lib, key) != BM_OK)
        err = bm_fail(msg, BM_ERR_INTERNAL, "libcrypto gives no AES-256-GCM");
    bm_wipe(key, sizeof key);
    return err;
}

static enum bm_err
load(struct nvm *n, OSSL_LIB_CTX *lib, struct bm_msg *msg)
{
    struct buf file = { 0 };
    struct rd r;
    enum bm_err err = n->store.load(n->store.arg, &file, msg);

    n->fresh = n->must_replace = err == BM_ERR_NOT_FOUND;
    r = rd_of(buf_span(&file));
    if (n->fresh)
        err = BM_OK;
    else if (err == BM_OK)
        err = parse_version(n, r, msg);
    if (err == BM_OK)
        err = take_key(n, lib, msg);
    if (err == BM_OK && !n->fresh)
        err = parse_snapshot(n, &r, msg);
    if (err == BM_OK && !n->fresh)
        err = parse_journal(n, &r, msg);
    bm_wipe(file.ptr, file.cap);
    bm_wipe(n->plain, sizeof n->plain);
    buf_fini(&file);
    return err;
}

enum bm_err
nvm_export(const struct nvm *n, struct buf *out)
{
    size_t cap = NVM_SNAPSHOT_HEADER + n->size + SEAL_EXTRA;
    uint8_t *to = buf_reserve(out, cap);
    struct wr w = wr_of(to, to != NULL ? cap : 0);
    enum bm_err err =
        to == NULL ? BM_ERR_MEM : nvm_frame_snapshot(&w, &n->seal, span_of(n->image, n->size));

    if (err == BM_OK)
        out->len += wr_len(&w);
    return err;
}

/* A new snapshot of the image as it is. */
static enum bm_err
fold(struct nvm *n)
{
    struct buf file = { 0 };
    enum bm_err err = nvm_export(n, &file);

    if (err == BM_OK) {
        n->must_replace = true; /* until it is known which file is there */
        err = n->store.replace(n->store.arg, buf_span(&file));
    }
    if (err == BM_OK) {
        memcpy(n->snapshot_tag, &file.ptr[file.len - SUM_LEN], SUM_LEN);
        n->must_replace = false;
        n->seq = 0;
        n->journal_len = 0;
    }
    buf_fini(&file);
    return err;
}

enum bm_err
nvm_open(struct nvm_store store, OSSL_LIB_CTX *lib, size_t image_size, struct nvm **out,
    struct bm_msg *msg)
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
    err = load(n, lib, msg);
    if (err == BM_OK && !n->fresh && (n->torn > 0 || n->version < NVM_VERSION) && fold(n) != BM_OK)
        err = bm_fail(msg, BM_ERR_IO, "cannot write it anew, %s; is there space?",
            n->torn > 0 ? "after an unfinished write" : "in the format of this program");
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
    seal_fini(&n->seal);
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
    enum bm_err err = nvm_frame(&w, &n->seal, SPAN(n->snapshot_tag), n->seq + 1, payload);

    if (err == BM_OK)
        err = n->store.append(n->store.arg, span_of(record, wr_len(&w)));
    if (err != BM_OK) {
        n->must_replace = true;
        return err;
    }
    (void)apply(n->image, n->size, payload); /* cannot fail: build_payload looked at every range */
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

enum bm_err
nvm_set_image(struct nvm *n, struct span image)
{
    uint8_t *old;
    enum bm_err err;

    if (image.len != n->size)
        return BM_ERR_ARG;
    old = malloc(n->size);
    if (old == NULL)
        return BM_ERR_MEM;
    memcpy(old, n->image, n->size);
    memcpy(n->image, image.ptr, n->size);
    err = fold(n);
    if (err != BM_OK)
        memcpy(n->image, old, n->size);
    bm_wipe(old, n->size);
    free(old);
    return err;
}

enum bm_err
nvm_key(const struct nvm *n, uint8_t key[SEAL_KEY_LEN], struct bm_msg *msg)
{
    return n->store.key(n->store.arg, key, msg);
}

/* Zero from `wipe_from`, change, write all; and take it back when that fails. */
static enum bm_err
rewrite(struct nvm *n, size_t wipe_from, struct span payload)
{
    uint8_t *image = malloc(n->size);
    enum bm_err err;

    if (image == NULL)
        return BM_ERR_MEM;
    memcpy(image, n->image, n->size);
    if (wipe_from < n->size)
        memset(&image[wipe_from], 0, n->size - wipe_from);
    (void)apply(image, n->size, payload);
    err = nvm_set_image(n, span_of(image, n->size));
    bm_wipe(image, n->size);
    free(image);
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
