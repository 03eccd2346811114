/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chip's non-volatile memory: one byte image that changes by whole transactions.
 *
 * On disk it is one file: a snapshot of the image, then a journal of transactions, each with
 * sequence number and length, and both sealed under a key of this chip's own (seal.h), whose tag is
 * the checksum, too. A transaction is appended and synced before nvm_write
 * returns. What a power cut leaves behind is a prefix of the last record, which the next open
 * discards: the state before that transaction. Damage anywhere else is refused, never guessed at.
 * The journal is folded into a new snapshot (new file, sync, rename) when it has grown, and at once
 * for NVM_SCRUB, so that an erased key does not stay in the journal.
 *
 * The medium is behind `struct nvm_store`: a folder, or memory for tests and fuzzing. Both can lose
 * power at a chosen byte of a chosen write.
 */
#ifndef BM_CHIP_NVM_H
#define BM_CHIP_NVM_H

#include "base/bytes.h"
#include "chip/seal.h"

enum {
    NVM_VERSION = 2,
    NVM_CHANGES_MAX = 8,
    NVM_PAYLOAD_MAX = 1024,      /* of one record */
    NVM_JOURNAL_MAX = 64 * 1024, /* then it is folded */
    NVM_FILE_MAX = 1024 * 1024,  /* nothing longer is ever read */
};

/* Power goes off after `byte` bytes of write number `write` (0 = the next one). */
struct nvm_cut {
    bool armed;
    unsigned write;
    size_t byte;
    bool off;  /* set when it has happened: nothing works any more */
    bool worn; /* every write is refused, and nothing else happens */
};

/* Where the bytes are. `arg` belongs to the store; close frees it. */
struct nvm_store {
    void *arg;
    /* All bytes, appended to `out`. BM_ERR_NOT_FOUND: nothing was ever stored. */
    enum bm_err (*load)(void *arg, struct buf *out, struct bm_msg *msg);
    /* Durable when it returns BM_OK; after an error any prefix may be there. */
    enum bm_err (*append)(void *arg, struct span data);
    /* The old or the new content is there, whatever happens; durable when it returns BM_OK. */
    enum bm_err (*replace)(void *arg, struct span data);
    /* The file key. BM_ERR_NOT_FOUND: none was ever put. */
    enum bm_err (*key)(void *arg, uint8_t key[SEAL_KEY_LEN], struct bm_msg *msg);
    /* Put it, once, as durable as the others. */
    enum bm_err (*put_key)(void *arg, const uint8_t key[SEAL_KEY_LEN]);
    void (*close)(void *arg); /* also when nvm_open failed */
};

/*
 * A folder: files `nvm`, `key` and `lock`. Makes the folder (mode 0700) when it is missing and
 * takes the lock. BM_ERR_CONFLICT: somebody has it open. BM_ERR_INPUT: a folder with other things
 * in it. `cut` may be NULL.
 */
enum bm_err nvm_store_dir(
    const char *dir, struct nvm_cut *cut, struct nvm_store *out, struct bm_msg *msg);

/* Memory that the caller owns and that survives close. */
struct nvm_mem {
    struct buf bytes; /* empty: nothing stored */
    bool has_key;
    uint8_t key[SEAL_KEY_LEN];
    struct nvm_cut cut;
};
struct nvm_store nvm_store_mem(struct nvm_mem *mem);

struct nvm;

/*
 * Read the store; an empty one is an image of zeros (nvm_fresh) which the first write stores, and
 * one of an older version is written anew. Takes the store over, also after an error; `lib` is
 * borrowed, NULL: libcrypto's default. BM_ERR_INPUT: damaged, of a later version or another size,
 * or without the key it was written with.
 */
enum bm_err nvm_open(struct nvm_store store, OSSL_LIB_CTX *lib, size_t image_size, struct nvm **out,
    struct bm_msg *msg);
void nvm_close(struct nvm *n); /* takes NULL; wipes the image */

bool nvm_fresh(const struct nvm *n);
size_t nvm_torn(const struct nvm *n); /* bytes of an unfinished write discarded at open */
struct span nvm_read(
    const struct nvm *n, size_t at, size_t len); /* borrowed until the next write */

struct nvm_change {
    size_t at;
    struct span data; /* must not point into the image */
};
enum nvm_mode {
    NVM_APPEND,
    NVM_SCRUB, /* the bytes that are overwritten must not stay in the file */
};

/*
 * All changes or none, durable before BM_OK. BM_ERR_ARG: outside the image, too many or too long.
 * BM_ERR_IO: the medium refused; the image is as before, and a later write repairs the file.
 */
enum bm_err nvm_write(
    struct nvm *n, const struct nvm_change *changes, size_t count, enum nvm_mode mode);

/* NVM_SCRUB that first zeroes the image from `from` to its end. */
enum bm_err nvm_wipe(struct nvm *n, size_t from, const struct nvm_change *changes, size_t count);

/* The image as a file of its own, without journal, appended to `out`. BM_ERR_MEM. */
enum bm_err nvm_export(const struct nvm *n, struct buf *out);
/* Replace the whole image, of the same length; durable, or as it was. */
enum bm_err nvm_set_image(struct nvm *n, struct span image);
/* The file key, as the store has it; wipe it. */
enum bm_err nvm_key(const struct nvm *n, uint8_t key[SEAL_KEY_LEN], struct bm_msg *msg);

/* Append a snapshot; its tag, the last bytes, goes into each record of the file. */
enum { NVM_SNAPSHOT_HEADER = 16 + SEAL_ID_LEN, NVM_RECORD_HEADER = 10 };
enum bm_err nvm_frame_snapshot(struct wr *out, const struct seal *seal, struct span image);
/* Append one record. */
enum bm_err nvm_frame(struct wr *out, const struct seal *seal, struct span snapshot_tag,
    uint32_t seq, struct span payload);

#endif
