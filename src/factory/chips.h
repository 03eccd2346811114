/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job knows of its chips, by unique id: rebuilt from the journal at the start, kept up to
 * date by the steps. One lock; a record belongs to the thread that has claimed it.
 */
#ifndef BM_FACTORY_CHIPS_H
#define BM_FACTORY_CHIPS_H

#include "a71ch.h"
#include "factory/journal.h"

enum chip_state {
    CHIP_NEW,
    CHIP_BEGUN,  /* may have been reset, may have a key that nobody noted */
    CHIP_KEY,    /* has the key `point` */
    CHIP_LEAF,   /* a leaf was issued for that key; there will be no other */
    CHIP_STORED, /* leaf and issuer are in the chip, the reference in its file */
    CHIP_DONE,   /* verified and locked */
};

enum { UID_TEXT = 2 * A71CH_UID_LEN + 1 };

struct chip {
    char uid[UID_TEXT];
    enum chip_state state;
    unsigned number; /* in the job, from 1 */
    uint8_t point[A71CH_POINT_LEN];
    struct buf leaf; /* DER */
    char serial[2 * PKI_SERIAL_LEN + 1];
    char time[32]; /* when it was done */
    bool claimed;
    bool scrapped; /* written off: counts as nothing, whatever its state */
    char *reason;  /* why; owned; NULL: none */
};

struct chips;

enum bm_err chips_new(unsigned count, struct chips **out, struct bm_msg *msg);
void chips_free(struct chips *c); /* takes NULL */

/* A journal_fn: `arg` is a struct chips. */
enum bm_err chips_replay(void *arg, uint64_t n, const json_t *r, struct bm_msg *msg);

/*
 * The chip with this id, claimed for the caller, made when it is new. BM_ERR_EXISTS: it is done.
 * BM_ERR_LIMIT: the job has as many chips as it wants. BM_ERR_CONFLICT: another socket has it.
 */
enum bm_err chips_claim(struct chips *c, const char *uid, struct chip **out, struct bm_msg *msg);
/* The caller's claim ends; a new chip that came to nothing is forgotten. */
void chips_release(struct chips *c, struct chip *chip);
/* A serial number for the job, which must be its first use: BM_ERR_EXISTS. */
enum bm_err chips_take_serial(struct chips *c, const char *serial, struct bm_msg *msg);
unsigned chips_done(struct chips *c);
unsigned chips_begun(struct chips *c); /* those that are not done but have a record */
void chips_set_done(struct chips *c, struct chip *chip);

/* May it be written off? BM_ERR_NOT_FOUND, BM_ERR_EXISTS: it was. Borrowed. */
enum bm_err chips_may_scrap(
    struct chips *c, const char *uid, const struct chip **out, struct bm_msg *msg);
void chips_scrap(struct chips *c, const char *uid, const char *reason);
/* Name of the job whose journal was replayed; "": none was. */
const char *chips_job(const struct chips *c);
/* A chip that has a leaf and is neither done nor written off; NULL: none. */
const struct chip *chips_stuck(const struct chips *c);
/* SHA-256 of its leaf, hex, as the cloud names it; "": it has none. */
void chip_certificate_id(const struct chip *c, char out[65]);

/* Those that are done (`scrapped`: written off after a leaf was issued), by unique id; not while
 * threads work. The caller frees *out. */
enum bm_err chips_list(const struct chips *c, bool scrapped, const struct chip ***out,
    size_t *count, struct bm_msg *msg);

#endif
