/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Region, account and API URL of the cloud that owns a state folder, in its registry: the cloud
 * writes them when it starts, so that what reads the folder beside it (`birthmark explain`) names
 * commands that can be pasted.
 */
#ifndef BM_BIRTHMARK_PLACE_H
#define BM_BIRTHMARK_PLACE_H

#include "registry/registry.h"
#include "timeline/timeline.h"

/* Durable when it returns; nothing is written when it says what it said before. */
enum bm_err place_write(
    struct registry *r, const struct timeline_place *place, struct bm_msg *msg);

/* What of it is known; its members point into the buffers. */
struct place {
    struct timeline_place of;
    struct buf room[3];
};
void place_read(struct registry *r, struct place *p);
void place_fini(struct place *p);

#endif
