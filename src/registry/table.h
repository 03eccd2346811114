/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate table in shared memory: control writes, workers read, a change is visible at
 * once. SPEC endpoint 6.
 *
 * Open addressing over 64-byte entries in a MAP_SHARED file; each entry is guarded by a sequence
 * number (odd while it is written), so readers never lock and never see half an entry. The control
 * process makes the table before it forks; when it must grow, a new file takes its place and the
 * old header says so: readers map the new one at their next look-up.
 */
#ifndef BM_REGISTRY_TABLE_H
#define BM_REGISTRY_TABLE_H

#include "base/bytes.h"

struct table;

struct table_entry {
    uint8_t id[32];
    uint8_t status;      /* enum cert_status */
    uint8_t mode;        /* enum cert_mode */
    uint32_t policy_set; /* 0: no policy */
    int64_t not_after_ms;
};

/*
 * Writer: make the table anew with room for `expected` entries; who has an old one moves over.
 * BM_ERR_CONFLICT: another process is the writer in this folder, and keeps its readers.
 */
enum bm_err table_create(const char *dir, size_t expected, struct table **out, struct bm_msg *msg);
/* Reader: map the current table of DIR. */
enum bm_err table_attach(const char *dir, struct table **out, struct bm_msg *msg);
void table_close(struct table *t); /* takes NULL */

/*
 * Writer: go on with the file that is there, else make one. Its content is good only when
 * table_is() says that it has the registry's stamp; else table_restart() makes it anew, empty and
 * with room for `expected` entries. table_mark() writes everything to disk and then the stamp: it
 * is the last call before table_close.
 */
enum { TABLE_STAMP_LEN = 16 };
enum bm_err table_resume(const char *dir, struct table **out, struct bm_msg *msg);
bool table_is(const struct table *t, const uint8_t stamp[TABLE_STAMP_LEN]);
enum bm_err table_restart(struct table *t, size_t expected, struct bm_msg *msg);
enum bm_err table_mark(struct table *t, const uint8_t stamp[TABLE_STAMP_LEN], struct bm_msg *msg);

/* Writer only: insert or replace; remove. Grows by itself. */
enum bm_err table_put(struct table *t, const struct table_entry *e, struct bm_msg *msg);
void table_remove(struct table *t, const uint8_t id[32]);

/*
 * Any process: copy the entry; false when there is none. Never blocks. Also false when the entry
 * cannot be read (its writer died inside it, the larger file cannot be mapped): ask the registry.
 */
bool table_get(struct table *t, const uint8_t id[32], struct table_entry *out);
size_t table_count(const struct table *t);
/*
 * Add the entries of `slots` places from place `from` on to counts[enum cert_status], and return
 * where to go on; 0: that was the last. So a large table can be counted bit by bit; what changes
 * meanwhile is counted as it was or as it is.
 */
enum { TABLE_STATUS_COUNT = 8 };
size_t table_tally(
    const struct table *t, size_t from, size_t slots, uint64_t counts[TABLE_STATUS_COUNT]);

#endif
