/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated A71CH: command APDU in, response APDU out, state on disk.
 *
 * A chip is a folder. Its NVM is there before or after a command, never between: a mutating command
 * is durable before its status word is returned, whatever kills the process. Volatile state
 * (SELECT, hash contexts, challenges, secure channel) belongs to a session and goes with its reset;
 * a session is one client, and clients do not disturb each other. The chip knows no transport and
 * no clock. One process opens a folder at a time (lock file); one thread uses a chip at a time.
 * Several chips in one process are fine.
 *
 * It is a simulator. The NVM's file is sealed under a file key (AES-256-GCM), and that key lies
 * beside it, readable for its owner: a copy of `nvm` alone, in a backup or a bug report, gives no
 * key away; a copy of the folder gives all. The seal finds changes but not the putting back of an
 * older file. Keys are in the clear in the process's memory. So it protects nothing that the
 * folder's permissions do not protect.
 *
 * An instruction that is missing whole answers 6D00, a missing form of one that is here 6A86.
 * Choices where the specification is silent are in quirks.h, and each chip has its own values of
 * them.
 */
#ifndef BM_CHIP_CHIP_H
#define BM_CHIP_CHIP_H

#include "chip/quirks.h"
#include "wire/apdu.h"

#include <openssl/types.h>

struct chip;

enum { CHIP_ATR_LEN = 29 };

/*
 * Counts since the chip was made. They are written with every change of the NVM, by chip_save and
 * by chip_close: a crash loses the counts since then and nothing else.
 */
struct chip_stats {
    uint64_t commands;
    uint64_t signatures; /* successful INS 15 */
    uint64_t ecdh;
    uint64_t generated;
    uint64_t nvm_writes;
};

/*
 * Open the chip in `dir`; a missing or empty folder becomes a fresh chip with a random unique id.
 * BM_ERR_CONFLICT: another process has it. BM_ERR_INPUT: the state is damaged, of a later
 * version or without its file key, or the folder holds something else (message says which file and
 * what to do). BM_ERR_IO: the system refused. *out is NULL after an error.
 */
enum bm_err chip_open(const char *dir, struct chip **out, struct bm_msg *msg);
void chip_close(struct chip *c); /* takes NULL; after all sessions are closed */

/*
 * The same with libcrypto's algorithms shared by many chips, which saves 200 KB and a millisecond
 * each. `lib` is borrowed until chip_close; no configuration file should have been loaded into it.
 */
enum bm_err chip_open_shared(
    const char *dir, OSSL_LIB_CTX *lib, struct chip **out, struct bm_msg *msg);

/* The same, whose power can be cut, and whose memory can be worn out; `cut` is borrowed. */
struct nvm_cut;
enum bm_err chip_open_cut(
    const char *dir, OSSL_LIB_CTX *lib, struct nvm_cut *cut, struct chip **out, struct bm_msg *msg);

/* The same on another medium (nvm.h), which is taken over, also after an error. */
struct nvm_store;
enum bm_err chip_open_store(struct nvm_store store, struct chip **out, struct bm_msg *msg);
enum bm_err chip_open_store_shared(
    struct nvm_store store, OSSL_LIB_CTX *lib, struct chip **out, struct bm_msg *msg);

/* Other answers than the default ones; copied. Nothing is stored: give them at each start. */
void chip_set_quirks(struct chip *c, const struct quirks *q);

/* Bytes of an unfinished write that chip_open discarded, 0 after a clean end. */
size_t chip_recovered(const struct chip *c);

/* Write the counts when they have changed. BM_ERR_IO: they could not be written. */
enum bm_err chip_save(struct chip *c);

/* Power cycle: volatile state is lost, the applet must be selected again. */
void chip_reset(struct chip *c);

enum { CHIP_BLOCKS_MAX = 4 };

/* A key pair that signs only a part of GP storage, in which its commands change these blocks. */
struct chip_restricted {
    uint8_t index;
    uint8_t max; /* uses, 1 to 255 */
    uint8_t count;
    struct chip_block {
        uint16_t offset;
        uint16_t len;
    } blocks[CHIP_BLOCKS_MAX];
};

/*
 * What a factory does, once: make key pair `index`, freeze it and its area of GP storage. The same
 * again is no change. BM_ERR_ARG: the values make no sense. BM_ERR_CONFLICT: the pair is set, or
 * the chip has another restricted pair. BM_ERR_IO: not stored.
 */
enum bm_err chip_restrict(struct chip *c, const struct chip_restricted *r, struct bm_msg *msg);

/* ---- copies (copy.c) ---- */

enum { CHIP_NAME_MAX = 64 };

/*
 * Keep the chip as it is under a name, durably and whole, in its folder (snapshots/NAME.nvm, sealed
 * under its file key); an older snapshot of this name is replaced. BM_ERR_ARG: no such name
 * possible. BM_ERR_CONFLICT: the chip has no folder. BM_ERR_IO.
 */
enum bm_err chip_snapshot(struct chip *c, const char *name, struct bm_msg *msg);

/*
 * Become what the snapshot has, all of it or nothing, counts, locks and counters included; every
 * session is as after a power cycle. BM_ERR_NOT_FOUND, BM_ERR_INPUT: it is damaged. BM_ERR_IO.
 */
enum bm_err chip_restore(struct chip *c, const char *name, struct bm_msg *msg);

/*
 * A copy in a new or empty folder, with a file key of its own; the unique id is the same. A fork
 * that was cut short leaves a folder without `nvm`. BM_ERR_EXISTS: a chip is there.
 */
enum bm_err chip_fork(struct chip *c, const char *dir, struct bm_msg *msg);

struct chip_copy {
    char name[CHIP_NAME_MAX + 1];
    int64_t made; /* seconds since 1970 */
};

/* The snapshots by name; *out is the caller's to free, NULL when there are none. */
enum bm_err chip_snapshots(
    const struct chip *c, struct chip_copy **out, size_t *count, struct bm_msg *msg);

/* The answer to reset, SPEC a71ch 1.2. */
void chip_atr(const struct chip *c, uint8_t out[CHIP_ATR_LEN]);

/*
 * Run one command. Always answers: `rsp` gets 2..258 bytes, the return value is their count.
 * Malformed commands answer a status word, as a chip would.
 */
size_t chip_apdu(struct chip *c, struct span cmd, uint8_t rsp[APDU_RSP_MAX]);

struct chip_stats chip_stats(const struct chip *c);

/*
 * One more client of the same chip, with volatile state of its own; chip_reset and chip_apdu are
 * those of a session that comes with the chip. BM_ERR_MEM: *out is NULL.
 */
struct chip_session;
enum bm_err chip_session_open(struct chip *c, struct chip_session **out);
void chip_session_close(struct chip_session *s); /* takes NULL */
void chip_session_reset(struct chip_session *s);
size_t chip_session_apdu(struct chip_session *s, struct span cmd, uint8_t rsp[APDU_RSP_MAX]);

#endif
