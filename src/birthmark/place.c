/* SPDX-License-Identifier: Apache-2.0 */
/* See place.h. */
#include "birthmark/place.h"

#include <string.h>

enum { MEMBERS = 3 };

static const char *const keys[MEMBERS] = { "cloud.region", "cloud.account", "cloud.api" };

void
place_read(struct registry *r, struct place *p)
{
    const char *text[MEMBERS];

    *p = (struct place){ 0 };
    for (size_t i = 0; i < MEMBERS; i++) {
        text[i] = registry_setting_get(r, keys[i], &p->room[i], NULL) == BM_OK
                      ? buf_cstr(&p->room[i])
                      : NULL;
    }
    p->of = (struct timeline_place){ text[0], text[1], text[2] };
}

void
place_fini(struct place *p)
{
    for (size_t i = 0; i < MEMBERS; i++)
        buf_fini(&p->room[i]);
}

enum bm_err
place_write(struct registry *r, const struct timeline_place *place, struct bm_msg *msg)
{
    const char *const now[MEMBERS] = { place->region, place->account, place->api };
    enum bm_err err = BM_OK;
    struct place before;
    bool changed = false;

    place_read(r, &before);
    const char *const was[MEMBERS] = { before.of.region, before.of.account, before.of.api };

    for (size_t i = 0; err == BM_OK && i < MEMBERS; i++) {
        if (was[i] != NULL && strcmp(was[i], now[i]) == 0)
            continue;
        err = registry_setting_put(r, keys[i], span_str(now[i]), msg);
        changed = true;
    }
    place_fini(&before);
    return err == BM_OK && changed ? registry_commit(r, msg) : err;
}
