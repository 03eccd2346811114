/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of objects (objtable.h) in a chip: loaded, and changed by one entry at a time so that a
 * power cut shows the state before or after. SPEC a71ch 8.8. Callers lease the chip around all of
 * it.
 */
#ifndef BM_HOST_OBJSTORE_H
#define BM_HOST_OBJSTORE_H

#include "host/host.h"
#include "host/objtable.h"

/* The table and what may not be written. */
struct storage {
    struct objtable table;
    bool frozen[OBJTABLE_SEGMENTS_MAX];
};

/* A71CH_ERR_RESPONSE: there is no table at the end of storage. */
a71ch_result objstore_load(a71ch *chip, struct objtable *t);

/* All that a change needs to know; also ends what an earlier one left undone. A71CH_ERR_FROZEN. */
a71ch_result objstore_begin(a71ch *chip, struct storage *s);

a71ch_result objstore_remove(a71ch *chip, struct objtable *t, size_t slot);
a71ch_result objstore_insert(a71ch *chip, struct objtable *t, const struct objtable_entry *e);

/* Does the table fit one command? */
bool objstore_one_command(const struct objtable *t);

/* Another place or length for the object of entry *slot, of a table that fits one command. */
a71ch_result objstore_replace(
    a71ch *chip, struct objtable *t, size_t *slot, const struct objtable_entry *e);

#endif
